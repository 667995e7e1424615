/* What an alert rests on, as people see it: all parts are there, hostile text cannot play with the terminal or the SVG,
 * and evidence of any shape is survived. */
#include "client/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *shown(json_t *evidence)
{
	char *text = NULL;
	size_t len = 0;
	struct mm_err err;
	struct mm_cli c = { .out = open_memstream(&text, &len) };
	assert_int_equal(mm_alert_evidence(&c, evidence, &err), 0);
	fclose(c.out);
	json_decref(evidence);
	return text;
}

static json_t *leak(void)
{
	return json_pack("{s:f, s:s, s:[{s:s,s:s,s:f,s:f,s:f}], s:[{s:i,s:f},{s:i,s:f}], s:[{s:s,s:i,s:i}], "
			 "s:{s:f,s:f,s:s,s:[i,i,i,i],s:[i,i,i,i]}}",
		"share", 0.3, "note\x1b[31m", "\x1b[2J<b>", "tests", "name", "memorised", "null", "one mode",
		"statistic", 121.3, "p", 6.4e-27, "effect", 3.83, "suspect_texts", "index", 4, "posterior", 0.9,
		"index", 17, "posterior", 0.8, "domains", "domain", "wiki", "texts", 200, "suspect", 59, "histogram",
		"from", -1.0, "to", 3.0, "unit", "nats<per>", "texts", 10, 40, 5, 20, "suspect", 0, 0, 5, 20);
}

static void test_terminal(void **state)
{
	(void)state;
	static const char *const want[] = { "memorised", "121.3", "6.4e-27", "wiki 59 of 200", " 4, 17", "share", "0.3",
		"nats<per>", "....", "####" };
	char *text = shown(leak());
	for (size_t i = 0; i < MM_COUNT(want); i++)
		if (!strstr(text, want[i]))
			fail_msg("%s is not in:\n%s", want[i], text);
	assert_null(strchr(text, '\x1b'));
	/* the fullest bin is the longest bar; half of it half as long */
	char *bar = strstr(text, ".....");
	assert_non_null(bar);
	free(text);
	static const char *const odd[] = { "{}", "[]", "{\"tests\":3,\"histogram\":[]}",
		"{\"histogram\":{\"from\":1,\"to\":0,\"texts\":[1,2,3],\"suspect\":[0,0,0]}}",
		"{\"histogram\":{\"from\":0,\"to\":1,\"texts\":[0,0,0],\"suspect\":[0,0,0]}}",
		"{\"histogram\":{\"from\":0,\"to\":1,\"texts\":[1,2,3],\"suspect\":[0]}}",
		"{\"histogram\":{\"from\":0,\"to\":1,\"texts\":[\"a\",null,3],\"suspect\":[0,0,9]}}",
		"{\"domains\":[3],\"suspect_texts\":[[]],\"tests\":[null]}" };
	for (size_t i = 0; i < MM_COUNT(odd); i++)
		free(shown(json_loads(odd[i], 0, NULL)));
}

static void test_svg(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_buf b = { 0 };
	json_t *a = json_pack(
		"{s:i, s:s, s:s, s:o}", "id", 7, "model", "<x>&\"", "message", "likely <saw>", "evidence", leak());
	assert_int_equal(mm_svg_alert(a, &b, &err), 0);
	const char *s = (const char *)b.data;
	assert_non_null(strstr(s, "<svg "));
	assert_non_null(strstr(s, "</svg>"));
	assert_null(strstr(s, "<x>"));
	assert_null(strstr(s, "<saw>"));
	assert_null(strstr(s, "nats<per>"));
	size_t bars = 0;
	for (const char *p = s; (p = strstr(p, "<rect ")); p++)
		bars++;
	assert_int_equal(bars, 1 + 4 + 2); /* ground, bins, bins with suspects */
	mm_buf_fini(&b);
	json_object_set_new(a, "evidence", json_object());
	assert_int_equal(mm_svg_alert(a, &b, &err), -1);
	assert_non_null(strstr(err.text, "no histogram"));
	mm_buf_fini(&b);
	json_decref(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_terminal), cmocka_unit_test(test_svg) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
