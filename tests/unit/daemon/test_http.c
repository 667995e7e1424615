/* HTTP without sockets: targets to requests, addresses, Host headers. */
#include "daemon/http_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void takes(const char *target, const char *cmd, const char *args)
{
	struct mm_http_ask a;
	struct mm_err err = { 0 };
	unsigned status;
	if (mm_http_parse(target, &a, &status, &err))
		fail_msg("%s: %u %s", target, status, err.text);
	assert_int_equal(status, 200);
	assert_int_equal(a.kind, MM_HTTP_COMMAND);
	assert_string_equal(a.request.cmd->name, cmd);
	json_t *want = json_loads(args, 0, NULL);
	assert_non_null(want);
	json_object_set_new(want, "v", json_integer(MM_WIRE_VERSION));
	json_object_set_new(want, "id", json_integer(1));
	json_object_set_new(want, "cmd", json_string(cmd));
	if (!json_equal(want, a.request.body))
		fail_msg("%s: %s", target, json_dumps(a.request.body, 0));
	json_decref(want);
	mm_http_ask_fini(&a);
}

static void refuses(const char *target, unsigned status, const char *part)
{
	struct mm_http_ask a;
	struct mm_err err = { 0 };
	unsigned got;
	if (!mm_http_parse(target, &a, &got, &err))
		fail_msg("%s is taken", target);
	if (got != status || !strstr(err.text, part))
		fail_msg("%s: %u %s", target, got, err.text);
	assert_null(a.request.body);
}

static void test_commands(void **state)
{
	(void)state;
	takes("/api/v1/status", "status", "{}");
	takes("/api/v1/status?", "status", "{}");
	takes("/api/v1/near?name=a&k=3", "near", "{\"name\":\"a\",\"k\":3}");
	takes("/api/v1/near?name=a%2Fb+c%26d%3D%C3%A9", "near", "{\"name\":\"a/b c&d=\xc3\xa9\"}");
	takes("/api/v1/near?&name=a&&smaller", "near", "{\"name\":\"a\",\"smaller\":true}");
	takes("/api/v1/near?name=a&smaller=false&max_params=1e9", "near",
		"{\"name\":\"a\",\"smaller\":false,\"max_params\":1e9}");
	takes("/api/v1/near?name=3", "near", "{\"name\":\"3\"}");
}

static void test_refusals(void **state)
{
	static char big[MM_HTTP_TARGET_MAX + 2];
	char target[64];
	(void)state;
	refuses("/api/v1/near", 400, "\"name\" (a string) is missing");
	refuses("/api/v1/near?name=a&k=x", 400, "\"k\" must be an integer");
	refuses("/api/v1/near?name=a&k=3x", 400, "\"k\" must be an integer");
	refuses("/api/v1/near?name=a&k=1.5", 400, "\"k\" must be an integer");
	refuses("/api/v1/near?name=a&k=99999999999999999999", 400, "\"k\" must be an integer");
	refuses("/api/v1/near?name=a&k=0", 400, "outside");
	refuses("/api/v1/near?name=a&max_params=nan", 400, "must be a number");
	refuses("/api/v1/near?name=a&max_params=0x10", 400, "must be a number");
	refuses("/api/v1/near?name=a&max_params=1e999", 400, "must be a number");
	refuses("/api/v1/near?name=a&smaller=2", 400, "must be true or false");
	refuses("/api/v1/near?name=a&name=b", 400, "stands twice");
	refuses("/api/v1/near?name=a&nix=b", 400, "unknown argument \"nix\"");
	refuses("/api/v1/near?name=", 400, "empty");
	refuses("/api/v1/near?name=%00", 400, "NUL");
	refuses("/api/v1/near?name=%zz", 400, "hexadecimal");
	refuses("/api/v1/near?name=%4", 400, "hexadecimal");
	refuses("/api/v1/near?name=%ff", 400, "UTF-8");
	refuses("/api/v1/near?name=a&cmd=refit", 400, "unknown argument \"cmd\"");
	refuses("/api/v1/near?name=a&v=2", 400, "unknown argument \"v\"");
	refuses("/api/v1/near?name=a&id=2", 400, "unknown argument \"id\"");
	refuses("/api/v1/nea?name=a", 404, "did you mean \"near\"");
	refuses("/api/v1/st%61tus", 404, "there is no");
	refuses("/api/v1/", 404, "nothing at this path");
	refuses("/api/v1", 404, "nothing at this path");
	refuses("/api/v1/chunk?handle=1&offset=0", 404, "export");
	refuses("", 404, "nothing");
	refuses("*", 404, "nothing");
	refuses("//", 404, "nothing");
	refuses("/metrics/", 404, "nothing");
	refuses("/metrics2", 404, "nothing");
	refuses("/../etc/passwd", 404, "nothing");
	refuses("/api/v1/../../etc/passwd", 404, "there is no");
	refuses("/%2e%2e/%2e%2e/etc/passwd", 404, "nothing");
	refuses("/api/v1/near/../refit", 404, "there is no");
	refuses("http://127.0.0.1/api/v1/status", 404, "nothing");
	memset(big, 'a', sizeof big - 1);
	big[0] = '/';
	refuses(big, 414, "at most");
	/* every command that changes something, whatever the table says tomorrow */
	for (size_t i = 0; i < mm_n_cmds; i++) {
		snprintf(target, sizeof target, "/api/v1/%s", mm_cmds[i].name);
		if (mm_cmds[i].access == MM_WRITE)
			refuses(target, 403, "changes something");
	}
	for (size_t i = 0, n = (size_t)sprintf(big, "/api/v1/status?"); i < 40; i++)
		n += (size_t)sprintf(big + n, "a%zu&", i);
	refuses(big, 400, "more than 32 arguments");
}

static void test_other_paths(void **state)
{
	struct mm_http_ask a;
	struct mm_err err = { 0 };
	unsigned status;
	(void)state;
	assert_int_equal(mm_http_parse("/", &a, &status, &err), 0);
	assert_int_equal(a.kind, MM_HTTP_INDEX);
	assert_int_equal(mm_http_parse("/metrics?x=y", &a, &status, &err), 0);
	assert_int_equal(a.kind, MM_HTTP_METRICS);
	assert_int_equal(mm_http_parse("/api/v1/events?boot=ab&seq=7", &a, &status, &err), 0);
	assert_int_equal(a.kind, MM_HTTP_EVENTS);
	assert_int_equal(json_integer_value(json_object_get(a.request.body, "seq")), 7);
	mm_http_ask_fini(&a);
	refuses("/api/v1/events?name=x", 400, "unknown argument");
}

static void test_addresses(void **state)
{
	static const struct {
		const char *text, *url; /* NULL: refused */
		bool loopback;
	} rows[] = {
		{ "127.0.0.1:8077", "http://127.0.0.1:8077/", true },
		{ "localhost:1", "http://127.0.0.1:1/", true },
		{ "127.9.9.9:0", "http://127.9.9.9:0/", true },
		{ "[::1]:8077", "http://[::1]:8077/", true },
		{ "0.0.0.0:65535", "http://0.0.0.0:65535/", false },
		{ "[::]:80", "http://[::]:80/", false },
		{ "192.0.2.1:80", "http://192.0.2.1:80/", false },
		{ "127.0.0.1", NULL, false },
		{ "127.0.0.1:", NULL, false },
		{ "127.0.0.1:65536", NULL, false },
		{ "127.0.0.1:-1", NULL, false },
		{ "127.0.0.1:80x", NULL, false },
		{ "127.1:80", NULL, false },
		{ "example.org:80", NULL, false },
		{ "::1:80", NULL, false },
		{ "[::1]", NULL, false },
		{ "[::1]80", NULL, false },
		{ "[127.0.0.1]:80", NULL, false },
		{ ":80", NULL, false },
		{ "", NULL, false },
	};
	(void)state;
	for (size_t i = 0; i < MM_COUNT(rows); i++) {
		struct mm_http_addr a;
		struct mm_err err = { 0 };
		char url[80];
		int rc = mm_http_addr_parse(rows[i].text, &a, &err);
		if (!rc != !!rows[i].url)
			fail_msg("%s: %s", rows[i].text, rc ? err.text : "is taken");
		if (rc)
			continue;
		mm_http_addr_url(&a, url, sizeof url);
		assert_string_equal(url, rows[i].url);
		assert_int_equal(a.loopback, rows[i].loopback);
	}
}

static void test_hosts(void **state)
{
	static const char *const ours[] = { "localhost", "LocalHost:8077", "127.0.0.1", "127.0.0.1:8077", "[::1]:8077",
		"192.0.2.1:80" };
	static const char *const others[] = { "", ":", "evil.example", "evil.example:8077", "localhost.evil.example",
		"127.0.0.1.evil.example", "127.0.0.1:80:evil", "[::1", "[::1]evil", "::1", "127.0.0.1@evil", "1" };
	(void)state;
	for (size_t i = 0; i < MM_COUNT(ours); i++)
		if (!mm_http_host_is_local(ours[i]))
			fail_msg("%s is refused", ours[i]);
	for (size_t i = 0; i < MM_COUNT(others); i++)
		if (mm_http_host_is_local(others[i]))
			fail_msg("%s is taken", others[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_commands), cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_other_paths), cmocka_unit_test(test_addresses), cmocka_unit_test(test_hosts) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
