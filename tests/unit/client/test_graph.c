/* The family tree for other programs: the figures of a small one by hand, rings and unknown parents, a deep line, names
 * that hurt; and a frame of top that stays within its bounds whatever it is told. */
#include "client/top.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *parse(const char *s)
{
	json_error_t e;
	json_t *j = json_loads(s, 0, &e);
	if (!j)
		fail_msg("%s: %s", s, e.text);
	return j;
}

static void newick_is(const char *tree, const char *want)
{
	struct mm_buf b = { 0 };
	struct mm_err err;
	json_t *j = parse(tree);
	assert_int_equal(mm_newick(j, &b, &err), 0);
	assert_string_equal(b.data, want);
	mm_buf_fini(&b);
	json_decref(j);
}

static void test_newick(void **state)
{
	(void)state;
	newick_is("{\"models\":[]}", "();\n");
	newick_is("{\"models\":[{\"name\":\"a\",\"kind\":\"root\"}]}", "('a');\n");
	newick_is("{\"models\":[{\"name\":\"c\",\"parent\":\"a\",\"kl_bits_per_byte\":0.5},{\"name\":\"a\"},"
		  "{\"name\":\"d\",\"parent\":\"c\",\"kl_bits_per_byte\":0.25},{\"name\":\"e\",\"parent\":\"a\"},"
		  "{\"name\":\"b\"}]}",
		"((('d':0.25)'c':0.5,'e':0)'a','b');\n");
	newick_is("{\"models\":[{\"name\":\"it's\\t(b):1,[x];\"}]}", "('it''s?(b):1,[x];');\n");
	/* The link that closes a ring is left out, an unknown parent is none, and nobody is his own. */
	newick_is("{\"models\":[{\"name\":\"a\",\"parent\":\"b\"},{\"name\":\"b\",\"parent\":\"a\"},"
		  "{\"name\":\"c\",\"parent\":\"c\"},{\"name\":\"d\",\"parent\":\"nobody\"}]}",
		"(('a':0)'b','c','d');\n");
}

static size_t count(const char *s, const char *part)
{
	size_t n = 0;
	for (; (s = strstr(s, part)); s++)
		n++;
	return n;
}

static void test_graphml(void **state)
{
	struct mm_buf b = { 0 };
	struct mm_err err;
	(void)state;
	json_t *j = parse(
		"{\"models\":[{\"name\":\"a<\\u0001&\\\"\",\"kind\":\"root\"},{\"name\":\"b\",\"kind\":\"child\","
		"\"parent\":\"a<\\u0001&\\\"\",\"kl_bits_per_byte\":0.5,\"support\":0.9,\"rival\":\"m\"},"
		"{\"name\":\"m\",\"kind\":\"merge\",\"parent\":\"b\",\"parent2\":\"a<\\u0001&\\\"\",\"alpha\":0.25}]}");
	assert_int_equal(mm_graphml(j, &b, &err), 0);
	const char *s = (const char *)b.data;
	assert_int_equal(count(s, "<node "), 3);
	assert_int_equal(count(s, "<edge "), 3);
	assert_non_null(strstr(s, "<data key=\"name\">a&#60;\xEF\xBF\xBD&#38;&#34;</data>"));
	assert_non_null(strstr(s, "<edge source=\"n1\" target=\"n2\"><data key=\"relation\">merge</data><data "
				  "key=\"share\">0.75</data>"));
	assert_non_null(strstr(s, "<edge source=\"n0\" target=\"n2\"><data key=\"relation\">merge</data><data "
				  "key=\"share\">0.25</data>"));
	assert_non_null(strstr(s, "<data key=\"kl\">0.5</data><data key=\"support\">0.9</data>"));
	mm_buf_fini(&b);
	json_decref(j);
}

/* As deep as there are models: no recursion may end in the stack's limit. */
static void test_deep(void **state)
{
	struct mm_buf b = { 0 }, svg = { 0 };
	struct mm_err err;
	char name[32], parent[32];
	json_t *list = json_array();
	(void)state;
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof name, "m%d", i);
		snprintf(parent, sizeof parent, "m%d", i - 1);
		json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "parent", i ? parent : ""));
	}
	json_t *j = json_pack("{s:o}", "models", list);
	assert_int_equal(mm_newick(j, &b, &err), 0);
	assert_int_equal(count((const char *)b.data, "("), 3000);
	assert_int_equal(count((const char *)b.data, ")"), 3000);
	assert_int_equal(mm_svg_tree(j, "t", &svg, &err), 0);
	assert_int_equal(count((const char *)svg.data, "<circle"), 3000 + 5);
	mm_buf_fini(&b);
	mm_buf_fini(&svg);
	json_decref(j);
}

static void test_frame(void **state)
{
	static const char *const answers[] = { "{}", "{\"models\":-5,\"queue\":7,\"alerts\":[],\"epoch\":\"x\"}",
		"{\"models\":3,\"uptime_s\":1e300,\"version\":\"\\u001b[2J\\u202eevil evil evil evil evil evil evil "
		"evil evil\","
		"\"queue\":{\"running\":2,\"waiting\":99999999999}}" };
	struct mm_cli c = { 0 };
	(void)state;
	for (size_t i = 0; i < MM_COUNT(answers); i++)
		for (int w = 1; w <= 130; w += 43)
			for (int h = 1; h <= 40; h += 3) {
				struct mm_top t = {
					.cli = &c, .status = parse(answers[i]), .scroll = 50, .help = h % 2
				};
				struct mm_buf b = { 0 };
				t.jobs = parse(
					"[{\"model\":\"\\u001b]0;x\\u0007a\\nb\",\"state\":\"running\",\"progress\":7,"
					"\"tokens_per_s\":1e300,\"eta_s\":1e300},{\"state\":5},{},7,{\"model\":\"w\","
					"\"state\":\"waiting\",\"reason\":\"\\t\\u009b31m\"}]");
				t.alerts = parse("[{\"kind\":\"k\",\"model\":\"m\",\"message\":\"l\\r\\nm\",\"state\":"
						 "\"open\"},{}]");
				t.arrivals = parse("[{\"name\":\"n\",\"scored_at\":-1,\"bits_per_byte\":1e308},{}]");
				mm_top_frame(&t, &c.term, w, h, "\n", 1700000000, &b);
				assert_false(b.failed);
				assert_true(count((const char *)b.data, "\n") < (size_t)h);
				for (const char *p = (const char *)b.data; *p; p++)
					assert_true(*p == '\n' || (unsigned char)*p >= 0x20);
				for (const char *p = (const char *)b.data, *end; *p; p = *end ? end + 1 : end) {
					end = p + strcspn(p, "\n");
					assert_true((end - p) <= MM_MAX(w, 20));
				}
				mm_buf_fini(&b);
				json_decref(t.status);
				json_decref(t.jobs);
				json_decref(t.alerts);
				json_decref(t.arrivals);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_newick), cmocka_unit_test(test_graphml),
		cmocka_unit_test(test_deep), cmocka_unit_test(test_frame) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
