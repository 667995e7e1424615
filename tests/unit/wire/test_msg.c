/* The command table and what it refuses; replies and events, there and back. */
#include "wire/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *text, struct mm_request *q, struct mm_err *err)
{
	return mm_request_parse(text, strlen(text), q, err);
}

static void test_table(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	for (size_t i = 0; i < mm_n_cmds; i++) {
		const struct mm_cmd *c = &mm_cmds[i];
		assert_ptr_equal(mm_cmd_find(c->name), c); /* no name twice */
		assert_true(c->help && *c->help);
		assert_null(c->arg[MM_CMD_MAX_ARGS].name); /* the row ends inside its bounds */
		for (const struct mm_arg *a = c->arg; a->name; a++) {
			assert_true(a->help && *a->help);
			assert_true(a->min <= a->max);
			/* Names of the envelope would never reach the handler. */
			assert_true(strcmp(a->name, "v") && strcmp(a->name, "id") && strcmp(a->name, "cmd"));
		}
	}
	json_t *j = mm_cmds_json(&err);
	assert_non_null(j);
	assert_int_equal(json_array_size(json_object_get(j, "commands")), mm_n_cmds);
	json_decref(j);
}

static void test_good(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	struct mm_request q;
	static const char *const good[] = {
		"{\"v\":1,\"id\":1,\"cmd\":\"status\"}",
		"{\"cmd\":\"near\",\"name\":\"a\",\"k\":5,\"id\":-3,\"v\":1}",
		"{\"v\":1,\"id\":1,\"cmd\":\"near\",\"name\":\"\\u00e9\\ud83d\\ude00\"}",
		"{\"v\":1,\"id\":9007199254740993,\"cmd\":\"queue\",\"all\":true}",
		"  {\"v\":1,\"id\":1,\"cmd\":\"alert\",\"action\":\"ack\",\"alert\":4,\"note\":\"\"}  ",
		"{\"v\":1,\"id\":1,\"cmd\":\"export\",\"what\":\"coords\",\"epoch\":1}",
	};
	for (size_t i = 0; i < MM_COUNT(good); i++) {
		if (parse(good[i], &q, &err))
			fail_msg("%s: %s", good[i], err.text);
		assert_non_null(q.cmd);
		mm_request_fini(&q);
	}
	assert_int_equal(parse(good[3], &q, &err), 0);
	assert_true(q.id == INT64_C(9007199254740993));
	mm_request_fini(&q);
}

static void test_bad(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t id;
		enum mm_err_code code;
		const char *part;
	} bad[] = {
		{ "", 0, MM_EFORMAT, "request" },
		{ "nonsense", 0, MM_EFORMAT, "request" },
		{ "[]", 0, MM_EFORMAT, "object" },
		{ "7", 0, MM_EFORMAT, "object" },
		{ "{\"v\":1,\"id\":2,\"cmd\":\"status\"", 0, MM_EFORMAT, "request" },
		{ "{\"v\":1,\"id\":2,\"cmd\":\"status\"} x", 0, MM_EFORMAT, "request" },
		{ "{\"v\":1,\"v\":1,\"id\":2,\"cmd\":\"status\"}", 0, MM_EFORMAT, "duplicate" },
		{ "{\"v\":1,\"id\":2,\"cmd\":\"status\",\"\xff\":1}", 0, MM_EFORMAT, "decode" },
		{ "{}", 0, MM_EINVAL, "\"v\"" },
		{ "{\"id\":5,\"cmd\":\"status\"}", 5, MM_EINVAL, "\"v\"" },
		{ "{\"v\":\"1\",\"id\":5,\"cmd\":\"status\"}", 5, MM_EINVAL, "\"v\"" },
		{ "{\"v\":1.0,\"id\":5,\"cmd\":\"status\"}", 5, MM_EINVAL, "\"v\"" },
		{ "{\"v\":2,\"id\":5,\"cmd\":\"status\"}", 5, MM_EUNSUPPORTED, "version 2" },
		{ "{\"v\":1,\"cmd\":\"status\"}", 0, MM_EINVAL, "\"id\"" },
		{ "{\"v\":1,\"id\":\"5\",\"cmd\":\"status\"}", 0, MM_EINVAL, "\"id\"" },
		{ "{\"v\":1,\"id\":99999999999999999999,\"cmd\":\"status\"}", 0, MM_EFORMAT, "big" },
		{ "{\"v\":1,\"id\":5}", 5, MM_EINVAL, "\"cmd\"" },
		{ "{\"v\":1,\"id\":5,\"cmd\":null}", 5, MM_EINVAL, "\"cmd\"" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"nearr\"}", 5, MM_EUNSUPPORTED, "did you mean \"near\"" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"zzzzzzzzzzzz\"}", 5, MM_EUNSUPPORTED, "unknown command" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"near\"}", 5, MM_EINVAL, "\"name\" (a string) is missing" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"near\",\"name\":7}", 5, MM_EINVAL, "\"name\" must be a string" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"near\",\"name\":\"\"}", 5, MM_EINVAL, "empty" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"near\",\"name\":\"a\\u0000b\"}", 5, MM_EINVAL, "NUL" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"near\",\"name\":null}", 5, MM_EINVAL, "must be a string" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"near\",\"name\":\"a\",\"k\":0}", 5, MM_EINVAL, "outside 1" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"near\",\"name\":\"a\",\"k\":2.5}", 5, MM_EINVAL, "an integer" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"near\",\"name\":\"a\",\"k\":true}", 5, MM_EINVAL, "an integer" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"near\",\"nane\":\"a\"}", 5, MM_EINVAL, "did you mean \"name\"" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"status\",\"x\":1}", 5, MM_EINVAL, "takes no arguments" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"queue\",\"all\":1}", 5, MM_EINVAL, "true or false" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"export\",\"what\":\"vec\"}", 5, MM_EINVAL, "vectors|names|coords" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"export\",\"what\":\"vectors|names\"}", 5, MM_EINVAL, "one of" },
		{ "{\"v\":1,\"id\":5,\"cmd\":\"export\",\"what\":\"\"}", 5, MM_EINVAL, "one of" },
	};
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		struct mm_err err = { 0 };
		struct mm_request q;
		if (!parse(bad[i].text, &q, &err))
			fail_msg("accepted: %s", bad[i].text);
		if (err.code != bad[i].code || !strstr(err.text, bad[i].part) || q.id != bad[i].id || q.cmd || q.body)
			fail_msg("%s: code %s, id %lld, text \"%s\"", bad[i].text, mm_err_name(err.code),
				(long long)q.id, err.text);
	}
}

static void test_sizes(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	struct mm_request q;
	static char text[MM_REQUEST_MAX + 2];
	int n = snprintf(text, sizeof text, "{\"v\":1,\"id\":5,\"cmd\":\"status\"}");
	memset(text + n, ' ', sizeof text - (size_t)n);
	assert_int_equal(mm_request_parse(text, MM_REQUEST_MAX, &q, &err), 0);
	mm_request_fini(&q);
	assert_int_equal(mm_request_parse(text, MM_REQUEST_MAX + 1, &q, &err), -1);
	assert_int_equal(err.code, MM_EINVAL);
	memset(text, '[', MM_REQUEST_MAX); /* deep: refused before a recursive parser sees it */
	assert_int_equal(mm_request_parse(text, MM_REQUEST_MAX, &q, &err), -1);
	assert_int_equal(err.code, MM_EFORMAT);
	char *s = calloc(1, 5001);
	memset(s, 'n', 4097);
	json_t *j = json_pack("{s:i, s:i, s:s, s:s}", "v", 1, "id", 1, "cmd", "show", "name", s);
	char *t = json_dumps(j, 0);
	assert_int_equal(parse(t, &q, &err), -1);
	assert_non_null(strstr(err.text, "4097 bytes"));
	free(t);
	json_decref(j);
	free(s);
}

static void test_replies(void **state)
{
	(void)state;
	struct mm_err err = { 0 }, got = { 0 };
	int64_t id;
	bool refused;
	json_t *list = json_array(), *body;
	for (int i = 0; i < 1000; i++) /* long, not deep */
		json_array_append_new(list, json_pack("{s:[i]}", "n", i));
	json_t *r = mm_reply_ok(77, "models", json_pack("{s:o}", "models", list), &err);
	assert_non_null(r);
	char *text = mm_json_dump(r, &err);
	assert_int_equal(mm_reply_parse(text, strlen(text), &id, &body, &refused, &got), 0);
	assert_int_equal(id, 77);
	assert_false(refused);
	assert_int_equal(json_object_size(body), 1); /* the envelope is off */
	assert_int_equal(json_array_size(json_object_get(body, "models")), 1000);
	json_decref(body);
	json_decref(r);
	mm_free(text);

	mm_fail(&err, MM_EDENIED, "no \"%s\" here\n", "x");
	r = mm_reply_error(78, &err);
	text = mm_json_dump(r, &err);
	assert_int_equal(mm_reply_parse(text, strlen(text), &id, &body, &refused, &got), -1);
	assert_true(refused);
	assert_int_equal(id, 78);
	assert_int_equal(got.code, MM_EDENIED);
	assert_string_equal(got.text, err.text);
	json_decref(r);
	mm_free(text);

	assert_null(mm_reply_ok(1, "x", json_pack("{s:i}", "id", 1), &err));
	assert_int_equal(err.code, MM_EINTERNAL);
	assert_null(mm_reply_ok(1, "x", json_array(), &err));
	r = mm_reply_ok(1, "x", NULL, &err);
	assert_int_equal(json_object_size(r), 4);
	json_decref(r);

	static const char *const bad[] = { "", "{", "[]", "{\"v\":1,\"id\":1}", "{\"v\":1,\"ok\":true}",
		"{\"v\":9,\"id\":1,\"ok\":true}", "{\"v\":1,\"id\":1,\"ok\":false}",
		"{\"v\":1,\"id\":1,\"ok\":false,\"error\":{\"code\":5,\"text\":\"x\"}}" };
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		assert_int_equal(mm_reply_parse(bad[i], strlen(bad[i]), &id, &body, &refused, &got), -1);
		assert_false(refused);
		assert_null(body);
	}
}

static void test_events(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	struct mm_event_head h;
	json_t *e = mm_event_new("00ff", 12, 1700000000, "model", json_pack("{s:s}", "name", "a"), &err);
	assert_non_null(e);
	assert_int_equal(mm_event_head(e, &h, &err), 0);
	assert_string_equal(h.boot, "00ff");
	assert_string_equal(h.type, "model");
	assert_true(h.seq == 12 && h.time == 1700000000);
	assert_string_equal(json_string_value(json_object_get(e, "name")), "a");
	json_object_del(e, "seq");
	assert_int_equal(mm_event_head(e, &h, &err), -1);
	json_decref(e);
	assert_null(mm_event_new("b", 1, 1, "x", json_pack("{s:i}", "seq", 1), &err));
	json_t *q = mm_request_new(4, "near", json_pack("{s:s}", "name", "a"), &err);
	char *t = mm_json_dump(q, &err);
	struct mm_request rq;
	assert_int_equal(mm_request_parse(t, strlen(t), &rq, &err), 0);
	assert_string_equal(rq.cmd->name, "near");
	mm_request_fini(&rq);
	mm_free(t);
	json_decref(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_events),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
