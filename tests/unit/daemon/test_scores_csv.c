/* test_scores_csv.c - tables of benchmark scores: what is read, and what is refused with which words. */
#include "daemon/scores_csv.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void parse(struct mm_csv *c, const char *text)
{
	struct mm_err err = { 0 };
	if (mm_csv_parse(c, text, strlen(text), &err))
		fail_msg("%s", err.text);
}

/* "a 1 - | b 2.5 3" */
static void expect(const char *text, const char *want)
{
	struct mm_csv c;
	struct mm_buf b = { 0 };
	parse(&c, text);
	for (size_t i = 0; i < c.n; i++) {
		mm_buf_printf(&b, "%s%s", i ? " | " : "", c.row[i].model);
		for (size_t k = 0; k < c.n_bench; k++)
			if (isnan(c.row[i].v[k]))
				mm_buf_str(&b, " -");
			else
				mm_buf_printf(&b, " %g", c.row[i].v[k]);
	}
	mm_buf_u8(&b, 0);
	assert_string_equal((char *)b.data, want);
	mm_buf_fini(&b);
	mm_csv_fini(&c);
}

static void what_is_read(void **state)
{
	(void)state;
	expect("model,x,y\na,1,2\nb,3.5,-4e1\n", "a 1 2 | b 3.5 -40");
	expect("model,x,y\r\na,1,2\r\n\r\nb,3,4", "a 1 2 | b 3 4");
	expect("\xEF\xBB\xBFmodel;x;y\na;1;2;\n", "a 1 2");
	expect("\n \nmodel\tx\ty\na\t1\t2\n", "a 1 2");
	expect("model,x,y,z,u,v,w\na,,NA,n/a,NaN,-,None\n", "a - - - - - -");
	expect("m,x\n run/checkpoint-5/ , 41.5% \n", "run/checkpoint-5 41.5");
	expect("m,\"x,1\"\n\"a \"\"b\"\", c\",\"7\"\n", "a \"b\", c 7");
	expect("m,x\n\"two\nlines\",1\n", "two\nlines 1");
	struct mm_csv c;
	parse(&c, "m,\"x,1\",y\na,1,\n\nb,2,3\n");
	assert_string_equal(c.bench[0], "x,1");
	assert_int_equal(c.row[1].line, 4);
	assert_true(c.n_value == 3 && c.n_empty == 1 && c.n_bench == 2 && c.n == 2);
	mm_csv_fini(&c);
}

static const struct {
	const char *text, *why;
} bad[] = {
	{ "", "the table is empty" },
	{ "\n\n  \n", "the table is empty" },
	{ "model\na\n", "line 1: only one column" },
	{ "model,x\n", "no models" },
	{ "model,x,x\na,1,2\n", "columns 2 and 3 are both called x" },
	{ "model,,x\na,1,2\n", "column 2 has no name" },
	{ "model,x\na,1\nb,2\na,3\n", "lines 2 and 4 are both of model a" },
	{ "model,x\na,one\n", "line 2, model a, column x: \"one\" is no number" },
	{ "model,x\na,inf\n", "\"inf\" is no number" },
	{ "model,x\na,1e999\n", "is no number" },
	{ "model,x\na,0x10\n", "\"0x10\" is no number" },
	{ "model,x\na,1 2\n", "\"1 2\" is no number" },
	{ "model,x\na,%\n", "\"%\" is no number" },
	{ "model,x\na,1,5\n", "more cells than the first line" },
	{ "model,x,y\na,1\n", "2 cells, the first line has 3 columns" },
	{ "model,x,y\na\n", "1 cells, the first line has 3 columns" },
	{ "model,x\n,1\n", "line 2: the first cell" },
	{ "model,x\n\"a,1\n", "line 2: a quote is not closed" },
	{ "model,x\n\"a\"b,1\n", "text after a closing quote" },
	{ "model,x\na,\xff\n", "no UTF-8" },
	{ "model,0123456789012345678901234567890123456789012345678901234567890123\na,1\n", "more than 63 bytes" },
};

static void what_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		struct mm_csv c;
		struct mm_err err = { 0 };
		if (!mm_csv_parse(&c, bad[i].text, strlen(bad[i].text), &err))
			fail_msg("accepted: %s", bad[i].text);
		if (!strstr(err.text, bad[i].why))
			fail_msg("%s: said \"%s\", not \"%s\"", bad[i].text, err.text, bad[i].why);
	}
	struct mm_csv c;
	struct mm_err err = { 0 };
	assert_int_equal(mm_csv_parse(&c, "m,x\na\0,1\n", 9, &err), -1);
}

/* Every beginning of a table, from a block of exactly its size, so that a byte too far is seen. */
static void every_cut(void **state)
{
	(void)state;
	static const char text[] = "model,\"x \"\"1\"\"\",y\r\n\"a, b\",1,2\r\nc,,\"3\"\n d ,4%,NA\n";
	for (size_t len = 0; len < sizeof text; len++) {
		struct mm_csv c;
		struct mm_err err = { 0 };
		char *exact = malloc(len + 1); /* malloc(0) may be NULL */
		memcpy(exact, text, len);
		if (!mm_csv_parse(&c, exact, len, &err))
			mm_csv_fini(&c);
		free(exact);
	}
}

static void memory_runs_out(void **state)
{
	(void)state;
	static const char text[] = "model,x,y\na,1,2\nb,3,4\n";
	for (long n = 1; n < 100; n++) {
		struct mm_csv c;
		struct mm_err err = { 0 };
		mm_mem_fail_after(n);
		int rc = mm_csv_parse(&c, text, strlen(text), &err);
		mm_mem_fail_after(0);
		if (rc == 0) {
			mm_csv_fini(&c);
			assert_true(n > 3);
			return;
		}
		assert_int_equal(err.code, MM_ENOMEM);
	}
	fail_msg("never enough memory");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_read), cmocka_unit_test(what_is_refused),
		cmocka_unit_test(every_cut), cmocka_unit_test(memory_runs_out) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
