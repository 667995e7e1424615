/* What reaches the terminal: cleaned names, tables that fit, numbers. */
#include "client/client.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct mm_term term_of(bool utf8, int width)
{
	return (struct mm_term){ .utf8 = utf8, .width = width };
}

static int utf8_locale(void **state)
{
	(void)state;
	return !setlocale(LC_CTYPE, "C.UTF-8");
}

static void test_clean(void **state)
{
	(void)state;
	static const struct {
		const char *in, *utf8, *ascii;
		int width;
	} t[] = {
		{ "llama-a/checkpoint-200", "llama-a/checkpoint-200", "llama-a/checkpoint-200", 22 },
		{ "a\033[2Jb", "a?[2Jb", "a?[2Jb", 6 },			   /* clear the screen */
		{ "a\033]0;title\007", "a?]0;title?", "a?]0;title?", 11 }, /* set the title */
		{ "a\nb\rc\td\177", "a?b?c?d?", "a?b?c?d?", 8 },
		{ "\xC2\x9B"
		  "31m",
			"?31m", "?31m", 4 }, /* C1: a one-character escape */
		{ "\xE2\x80\xAE"
		  "abc",
			"?abc", "?abc", 4 }, /* right-to-left override */
		{ "a\xE2\x80\x8B"
		  "b",
			"a?b", "a?b", 3 },     /* zero width space */
		{ "\xFF\xC3", "??", "??", 2 }, /* no UTF-8 */
		{ "caf\xC3\xA9", "caf\xC3\xA9", "caf?", 4 },
		{ "\xE6\xA8\xA1\xE5\x9E\x8B", "\xE6\xA8\xA1\xE5\x9E\x8B", "??", 4 }, /* two columns each */
		{ "", "", "", 0 },
	};
	for (size_t i = 0; i < MM_COUNT(t); i++) {
		char out[64];
		struct mm_term u = term_of(true, 80), a = term_of(false, 80);
		int w = mm_term_clean(&u, t[i].in, out, sizeof out);
		assert_string_equal(out, t[i].utf8);
		assert_int_equal(w, t[i].width);
		assert_int_equal(mm_term_width(&u, out), w);
		w = mm_term_clean(&a, t[i].in, out, sizeof out);
		assert_int_equal(w, (int)strlen(out));
		assert_string_equal(out, t[i].ascii);
	}
	char small[4];
	struct mm_term u = term_of(true, 80);
	mm_term_clean(&u, "ab\xC3\xA9", small, sizeof small); /* no half characters at the bound */
	assert_string_equal(small, "ab");
}

static void test_fit(void **state)
{
	(void)state;
	struct mm_term u = term_of(true, 80), a = term_of(false, 80);
	char out[128];
	mm_term_fit(&a, "llama-a-run/checkpoint-200", 12, out, sizeof out);
	assert_string_equal(out, "llama~nt-200");
	mm_term_fit(&a, "short", 12, out, sizeof out);
	assert_string_equal(out, "short");
	for (int w = 1; w < 20; w++) { /* wide characters: never wider than asked */
		mm_term_fit(&u, "\xE6\xA8\xA1\xE5\x9E\x8B\xE6\xA8\xA1\xE5\x9E\x8B\xE6\xA8\xA1\xE5\x9E\x8B", w, out,
			sizeof out);
		assert_true(mm_term_width(&u, out) <= w);
		assert_true(mm_utf8_valid(out, strlen(out)));
	}
}

static char *table_text(int width, size_t *lines, size_t *longest)
{
	static const struct mm_col cols[] = { { "NAME", false, 0, 8 }, { "STATE", false, 2, 0 },
		{ "BITS/BYTE", true, 1, 0 }, { "EMPTY", false, 3, 0 } };
	struct mm_err err = { 0 };
	struct mm_term term = term_of(false, width);
	struct mm_table *t = mm_table_new(cols, 4, &err);
	for (int i = 0; i < 3; i++) {
		mm_table_put(t, MM_PLAIN, "a-rather-long-model-name-%d\033[31m", i);
		mm_table_put(t, MM_RED, "scored");
		mm_table_put(t, MM_PLAIN, "%.4f", 0.5 + i);
		mm_table_put(t, MM_PLAIN, "%s", "");
	}
	assert_int_equal(mm_table_rows(t), 3);
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	assert_int_equal(mm_table_print(t, &term, f, &err), 0);
	fclose(f);
	mm_table_free(t);
	*lines = *longest = 0;
	for (const char *p = text; *p;) {
		size_t len = strcspn(p, "\n");
		*longest = MM_MAX(*longest, len);
		*lines += 1;
		p += len + 1;
	}
	return text;
}

static void test_table(void **state)
{
	(void)state;
	size_t lines, longest;
	char *t = table_text(0, &lines, &longest);
	assert_int_equal(lines, 4);
	assert_non_null(strstr(t, "a-rather-long-model-name-2?[31m"));
	assert_null(strchr(t, 033));
	assert_null(strstr(t, "EMPTY")); /* a column without text is not shown */
	assert_non_null(strstr(t, "2.5000"));
	free(t);
	for (int w = 60; w >= 8; w--) {
		t = table_text(w, &lines, &longest);
		assert_true(longest <= (size_t)w);
		assert_int_equal(lines, 4);
		assert_non_null(strstr(t, "NAME"));
		free(t);
	}
	t = table_text(42, &lines, &longest); /* room for all when the name is shortened */
	assert_non_null(strstr(t, "STATE"));
	free(t);
	t = table_text(34, &lines, &longest); /* STATE goes before BITS/BYTE */
	assert_null(strstr(t, "STATE"));
	assert_non_null(strstr(t, "BITS/BYTE"));
	free(t);
}

static void test_numbers(void **state)
{
	(void)state;
	char c[MM_CELL];
	static const struct {
		double v;
		const char *bits;
	} b[] = { { 0.0123456, "0.01235" }, { 1.2345678, "1.23457" }, { 12.345678, "12.3457" }, { 0, "0.00000" },
		{ 1234567, "1234567" }, { 3e-9, "3e-09" } };
	for (size_t i = 0; i < MM_COUNT(b); i++) {
		json_t *v = json_real(b[i].v);
		assert_string_equal(mm_fmt_bits(v, c), b[i].bits);
		json_decref(v);
	}
	assert_string_equal(mm_fmt_bits(NULL, c), "");
	static const struct {
		int64_t v;
		const char *count;
	} n[] = { { 1, "1" }, { 999, "999" }, { 1000, "1.00k" }, { 840768, "841k" }, { 1100048384, "1.10B" },
		{ 999999, "1.00M" }, { 13500000000, "13.5B" }, { 0, "" }, { -5, "" } };
	for (size_t i = 0; i < MM_COUNT(n); i++) {
		json_t *v = json_integer(n[i].v);
		assert_string_equal(mm_fmt_count(v, c), n[i].count);
		json_decref(v);
	}
	struct mm_term a = term_of(false, 80), u = term_of(true, 80);
	char bar[64];
	mm_fmt_bar(&a, 0.5, 8, bar, sizeof bar);
	assert_string_equal(bar, "####----");
	mm_fmt_bar(&a, 7, 4, bar, sizeof bar);
	assert_string_equal(bar, "####");
	mm_fmt_bar(&a, -1, 4, bar, sizeof bar);
	assert_string_equal(bar, "----");
	for (int i = 0; i <= 100; i++) {
		mm_fmt_bar(&u, i / 100.0, 8, bar, sizeof bar);
		assert_int_equal(mm_term_width(&u, bar), 8);
	}
}

static void test_names(void **state)
{
	(void)state;
	static const char *const sorted[] = { "a", "a-run/checkpoint-9", "a-run/checkpoint-10", "a-run/checkpoint-010",
		"a-run/checkpoint-100", "b", "b2", "b10" };
	for (size_t i = 0; i < MM_COUNT(sorted); i++)
		for (size_t k = 0; k < MM_COUNT(sorted); k++) {
			int c = mm_name_cmp(sorted[i], sorted[k]), back = mm_name_cmp(sorted[k], sorted[i]);
			assert_int_equal(c == 0, i == k);
			assert_int_equal(c<0, back> 0);
			if (strcmp(sorted[i], "a-run/checkpoint-010") && strcmp(sorted[k], "a-run/checkpoint-010"))
				assert_int_equal(c < 0, i < k);
		}
}

static void test_color(void **state)
{
	(void)state;
	struct mm_term t;
	setenv("TERM", "xterm", 1);
	unsetenv("NO_COLOR");
	mm_term_init(&t, -1, "auto", false); /* no terminal */
	assert_false(t.color || t.tty);
	mm_term_init(&t, -1, "always", false);
	assert_true(t.color);
	assert_string_equal(mm_term_on(&t, MM_RED), "\033[31m");
	assert_string_equal(mm_term_off(&t, MM_PLAIN), "");
	mm_term_init(&t, -1, "never", true);
	assert_false(t.color || t.utf8);
	assert_string_equal(mm_term_on(&t, MM_RED), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_fit),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_color),
	};
	return cmocka_run_group_tests(tests, utf8_locale, NULL);
}
