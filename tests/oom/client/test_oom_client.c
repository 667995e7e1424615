/* Memory that runs out at any allocation: an error that says so, nothing leaked (under the address sanitizer), no
 * crash. */
#include "client/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ENOUGH 10000 /* allocations after which a step must have succeeded */

static int step_map(struct mm_err *err)
{
	struct mm_view v;
	struct mm_buf svg = { 0 };
	struct mm_term t = { .width = 80 };
	json_t *pts = json_array();
	for (int i = 0; i < 12; i++)
		json_array_append_new(
			pts, json_pack("{s:s, s:f, s:f, s:s, s:s, s:i}", "name", i % 2 ? "odd" : "even", "x", i * 1.0,
				     "y", i * i * 1.0, "family", i % 3 ? "a" : "b", "run", "r", "step", i));
	if (mm_view_make(&v, json_pack("{s:o}", "points", pts), NULL, NULL, err))
		return -1;
	FILE *nul = fopen("/dev/null", "w");
	int rc = mm_svg_map(&v, "t", &svg, err);
	if (!rc)
		rc = mm_term_map(&v, &t, 80, 20, true, nul, err);
	fclose(nul);
	mm_buf_fini(&svg);
	mm_view_free(&v);
	return rc;
}

static int step_table(struct mm_err *err)
{
	static const struct mm_col cols[] = { { "A", false, 0, 0 } };
	struct mm_term t = { .width = 80 };
	struct mm_table *x = mm_table_new(cols, 1, err);
	if (!x)
		return -1;
	for (int i = 0; i < 40; i++)
		mm_table_put(x, MM_PLAIN, "%d", i);
	FILE *nul = fopen("/dev/null", "w");
	int rc = mm_table_print(x, &t, nul, err);
	fclose(nul);
	mm_table_free(x);
	return rc;
}

static int step_texts(struct mm_err *err)
{
	struct mm_chunks c = { 0 };
	struct mm_buf out = { 0 };
	char text[5000];
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)('a' + i * i % 23);
	int rc = mm_chunks_cut(&c, text, sizeof text, "x", err);
	if (!rc) {
		mm_chunks_sample(&c, 3, 1);
		rc = mm_chunks_write(&c, &out, err);
	}
	mm_buf_fini(&out);
	mm_chunks_free(&c);
	return rc;
}

static int step_words(struct mm_err *err)
{
	static const char *const argv[] = { "modelmap", "--json", "near", "a", "-k", "3" };
	struct mm_cli c = { 0 };
	int rc = mm_cli_parse(&c, 6, argv, err);
	mm_free(c.word);
	return rc;
}

static int step_messages(struct mm_err *err)
{
	json_t *r = mm_reply_ok(1, "near", json_pack("{s:s}", "model", "a"), err);
	char *text = r ? mm_json_dump(r, err) : NULL;
	json_decref(r);
	int rc = text ? 0 : -1;
	mm_free(text);
	return rc;
}

static void each(int (*step)(struct mm_err *err))
{
	bool done = false;
	for (long n = 1; n < ENOUGH && !done; n++) {
		struct mm_err err = { 0 };
		mm_mem_fail_after(n);
		int rc = step(&err);
		mm_mem_fail_after(0);
		if (rc)
			assert_int_equal(err.code, MM_ENOMEM);
		done = !rc;
	}
	assert_true(done);
}

static void test_map(void **state)
{
	(void)state;
	each(step_map);
}
static void test_table(void **state)
{
	(void)state;
	each(step_table);
}
static void test_texts(void **state)
{
	(void)state;
	each(step_texts);
}
static void test_words(void **state)
{
	(void)state;
	each(step_words);
}
static void test_messages(void **state)
{
	(void)state;
	each(step_messages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_messages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
