/* test_tok_parts.c - the parts of the tokenizers against slow, obvious twins: scanners against PCRE2, merging against a
 * plain loop, NFC against utf8proc, properties against their definition; the JSON parser; the translation of regexes.
 */
#include "model/tok_priv.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static struct mm_rng rng;

static uint32_t any_cp(void)
{
	static const uint32_t often[] = { ' ', ' ', ' ', '\n', '\r', '\t', '\'', 's', 'S', 't', 'r', 'e', 'L', 'l', 'd',
		'a', 'Z', '1', '2', '.', '!', '/', '-', 0x17f, 0xe9, 0xc9, 0x301, 0x323, 0x1c5, 0x2b0, 0x4e2d, 0xac00,
		0x1112, 0x1161, 0x11ab, 0x660, 0xb2, 0x2160, 0x3000, 0xa0, 0x85, 0x2028, 0x200b, 0x1f642, 0x10ffff,
		0x2581, 0x378 };
	uint32_t cp;
	if (mm_rng_below(&rng, 4))
		return often[mm_rng_below(&rng, MM_COUNT(often))];
	cp = (uint32_t)mm_rng_below(&rng, mm_rng_below(&rng, 3) ? 0x3000 : 0x20000);
	return cp >= 0xd800 && cp < 0xe000 ? 'x' : cp;
}

static struct tok_str random_text(struct mm_buf *b, size_t max)
{
	size_t n = mm_rng_below(&rng, max + 1);
	b->len = 0;
	for (size_t i = 0; i < n; i++) {
		uint8_t u[4];
		mm_buf_put(b, u, mm_utf8_encode(any_cp(), u));
	}
	return (struct tok_str){ b->data ? b->data : (const uint8_t *)"", b->len };
}

/* ---- scanners ---- */

static void test_scanners(void **state)
{
	struct tok_ctx c = { 0 };
	struct mm_err err;
	struct mm_buf b = { 0 };
	const char *pattern;
	(void)state;
	c.err = &err;
	for (size_t i = 0; (pattern = tok_scan_pattern(i)); i++) {
		struct tok_str p = { (const uint8_t *)pattern, strlen(pattern) };
		struct tok_regex *fast = tok_regex_new(p, &err), *slow = tok_regex_new(p, &err);
		assert_true(fast && slow && tok_regex_is_scan(fast));
		assert_int_equal(tok_regex_slow(slow, &err), 0);
		for (unsigned round = 0; round < 6000; round++) {
			struct tok_str t = random_text(&b, 30);
			size_t at = 0, fa, fb, sa, sb;
			while (at < t.n) {
				assert_int_equal(tok_regex_next(fast, &c, t, at, at ? at : SIZE_MAX, &fa, &fb), 1);
				assert_int_equal(tok_regex_next(slow, &c, t, at, at ? at : SIZE_MAX, &sa, &sb), 1);
				if (fa != sa || fb != sb)
					fail_msg("%s: '%.*s' at %zu: %zu-%zu instead of %zu-%zu", pattern, (int)t.n,
						t.s, at, fa, fb, sa, sb);
				at = fb;
			}
		}
		tok_regex_free(fast);
		tok_regex_free(slow);
	}
	tok_regex_ctx_free(&c);
	mm_buf_fini(&b);
}

/* ---- Oniguruma's syntax ---- */

static void matches(const char *pattern, const char *text, const char *want)
{
	struct mm_err err;
	struct tok_ctx c = { .err = &err };
	struct tok_regex *re = tok_regex_new((struct tok_str){ (const uint8_t *)pattern, strlen(pattern) }, &err);
	struct tok_str t = { (const uint8_t *)text, strlen(text) };
	struct mm_buf got = { 0 };
	size_t last = SIZE_MAX, a, b;
	if (!re)
		fail_msg("%s: %s", pattern, err.text);
	while (tok_regex_next(re, &c, t, last == SIZE_MAX ? 0 : last, last, &a, &b) > 0) {
		mm_buf_printf(&got, "[%.*s]", (int)(b - a), text + a);
		last = b;
	}
	if (strcmp(got.data ? (char *)got.data : "", want))
		fail_msg("%s on '%s' gives %s instead of %s", pattern, text, got.data ? (char *)got.data : "", want);
	mm_buf_fini(&got);
	tok_regex_free(re);
	tok_regex_ctx_free(&c);
}

static void test_translation(void **state)
{
	static const char *const refused[] = { "(?<n>a)\\1", "(?<1>a)", "(?<n", "(?~a)", "\\X", "\\y", "[a", "a)", "(a",
		"\\p{InNonsense}", "\\p{Nonsense}", "(?s)a", "\\x80", "(?x) +a", "+a", "[b-a]", "\\K*", "\\g<1>",
		"\\p{", "[[:nonsense:]]", "(?i)[\\p{Lu}]", "\\" };
	(void)state;
	matches("a{2}?", "aaaaa", "[aa][aa][]");
	matches("a{1,2}+", "aaaaab", "[aaaaa]");
	matches("a{,2}b", "aaab", "[aab]");
	matches("\\u0061+", "aab", "[aa]");
	matches("\\h+", "zz1fgz", "[1f]");
	matches("[a[bc]]+", "xabcx", "[abc]");
	matches("[a-z&&[^b]]+", "aabcd", "[aa][cd]");
	matches("[^a-c&&[b-d]]", "abcd", "[a][d]");
	matches("a(?i)b|c", "aB ab C c ac", "[aB][ab][ac]");
	matches("^.", "ab\ncd\n", "[a][c]");
	matches("b$", "ab\nab", "[b][b]");
	matches("(?m).", "a\n", "[a][\n]");
	matches("(?i:'s)", "'s 'S '\xc5\xbf", "['s]['S]['\xc5\xbf]");
	matches("{a", "x{a", "[{a]");
	matches("\\s", "\xe1\xa0\x8e \xc2\x85", "[ ][\xc2\x85]"); /* U+180E is none */
	matches("\\w+", "a\xc2\xb2_", "[a\xc2\xb2_]");
	matches("[\\w]+", "a\xc2\xb2_", "[a][_]"); /* inside a class superscripts are no word characters */
	matches("[\\W_]+", "a_-b", "[_-]");
	matches("\\p{^L}", "a1", "[1]");
	matches("\\p{Letter}", "a1", "[a]");
	matches("\\p{Han}+", "a\xe4\xb8\xad\xe3\x80\x82", "[\xe4\xb8\xad]"); /* the script, not its extensions */
	matches("[[:punct:]]", "a+.", "[+][.]");
	matches("x*", "axxb", "[][xx][]");
	matches("[]a]+", "x]a", "[]a]");
	matches("(ab)\\1", "ababab", "[abab]");
	matches("\\Aab|b", "abb", "[ab][b]");
	matches("(?<word>a+)|(?'no_1'[0-9](b))", "aab1bc", "[aa][1b]");
	matches("(?x) a b # c |\n | \\ c + ?", "ab c  cc", "[ab][ c][ ][ cc]");
	matches("((?x) a ) b|(?x: c | d )d", "a babcdd", "[a b][cd]");
	matches("\\p{InBasicLatin}+|\\P{In_Basic-Latin}", "ab\xc3\xa9\xc3\xa9", "[ab][\xc3\xa9][\xc3\xa9]");
	matches("a\\Kb|\\pL", "abpL", "[b][pL]");
	matches("\\p{Cn}|\\p{Mn}", "\xf0\x9f\xab\xa8\xcd\xb8\xcc\x81",
		"[\xcd\xb8][\xcc\x81]"); /* U+1FAE8 is assigned */
	matches("[[:^print:]\\p{^Graph}]", "a \n", "[ ][\n]");
	matches("(?i)\\p{Lu}", "aB", "[B]");
	for (size_t i = 0; i < MM_COUNT(refused); i++) {
		struct mm_err err;
		struct tok_regex *re =
			tok_regex_new((struct tok_str){ (const uint8_t *)refused[i], strlen(refused[i]) }, &err);
		if (re)
			fail_msg("%s was taken", refused[i]);
		assert_int_equal(err.code, MM_EUNSUPPORTED);
	}
}

/* ---- merging ---- */

static size_t merge_naive(const struct tok_merges *m, uint32_t *s, size_t n)
{
	for (;;) {
		const struct tok_merge *best = NULL;
		size_t at = 0;
		for (size_t i = 0; i + 1 < n; i++) {
			const struct tok_merge *p = tok_merges_get(m, s[i], s[i + 1]);
			if (p && (!best || p->rank < best->rank)) {
				best = p;
				at = i;
			}
		}
		if (!best)
			return n;
		s[at] = best->id;
		memmove(s + at + 1, s + at + 2, (n - at - 2) * sizeof(*s));
		n--;
	}
}

static void test_merge(void **state)
{
	struct mm_err err;
	struct tok_ctx c = { .err = &err };
	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		struct tok_merges m = { 0 };
		uint32_t a[200], b[200];
		size_t n_sym = 3 + mm_rng_below(&rng, 4), n_merge = mm_rng_below(&rng, 40);
		assert_int_equal(tok_merges_init(&m, n_merge, &err), 0);
		for (uint32_t i = 0; i < n_merge; i++) /* new tokens may be merged on; ranks tie now and then */
			assert_int_equal(tok_merges_put(&m, (uint32_t)mm_rng_below(&rng, n_sym + i),
						 (uint32_t)mm_rng_below(&rng, n_sym + i),
						 (uint32_t)mm_rng_below(&rng, 30), (uint32_t)n_sym + i, &err),
				0);
		for (unsigned k = 0; k < 20; k++) {
			size_t n = 1 + mm_rng_below(&rng, k & 1 ? 40 : 200), na, nb;
			for (size_t i = 0; i < n; i++)
				a[i] = b[i] = (uint32_t)mm_rng_below(&rng, n_sym);
			na = tok_merge_run(&m, &c, a, n);
			nb = merge_naive(&m, b, n);
			assert_int_equal(na, nb);
			assert_memory_equal(a, b, na * sizeof(*a));
		}
		tok_merges_fini(&m);
	}
	mm_free(c.link);
	mm_free(c.heap);
}

/* ---- normal forms ---- */

static void test_nfc(void **state)
{
	static const int opts[] = { [TOK_NFC] = UTF8PROC_COMPOSE,
		[TOK_NFD] = UTF8PROC_DECOMPOSE,
		[TOK_NFKC] = UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
		[TOK_NFKD] = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT };
	struct mm_err err;
	struct tok_ctx c = { .err = &err };
	struct mm_buf b = { 0 }, out = { 0 };
	(void)state;
	for (unsigned round = 0; round < 40000; round++) {
		enum tok_nf form = (enum tok_nf)(round & 3);
		struct tok_str t = random_text(&b, 12);
		utf8proc_uint8_t *want;
		utf8proc_ssize_t n;
		bool newer = false;
		for (size_t i = 0;
			i < t.n;) { /* where the reference's tables are older; and U+11A7, which utf8proc gets wrong */
			uint32_t cp;
			i += tok_utf8(t.s + i, t.s + t.n, &cp);
			newer = newer || cp == 0x11a7 || tok_uni_nf_is_new(cp) ||
				(tok_uni(cp) & (TOK_M | TOK_M_OLD)) == TOK_M;
		}
		if (newer)
			continue;
		n = utf8proc_map(t.s, (utf8proc_ssize_t)t.n, &want, (utf8proc_option_t)(opts[form] | UTF8PROC_STABLE));
		assert_true(n >= 0);
		out.len = 0;
		if (tok_nf_is_plain(t, form))
			mm_buf_put(&out, t.s, t.n);
		else
			assert_int_equal(tok_nf_apply(&c, t, form, &out), 0);
		if (out.len != (size_t)n || (n && memcmp(out.data, want, (size_t)n)))
			fail_msg("form %d of '%.*s'", form, (int)t.n, t.s);
		free(want);
	}
	out.len = 0; /* a syllable and U+11A7 stay two */
	assert_int_equal(
		tok_nf_apply(&c, TOK_LIT("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa7\xe1\x86\xa8"), TOK_NFKC, &out), 0);
	assert_string_equal((char *)out.data, "\xea\xb0\x80\xe1\x86\xa7\xe1\x86\xa8");
	mm_buf_fini(&b);
	mm_buf_fini(&out);
	mm_free(c.sym);
}

/* ---- properties, bytes ---- */

static void test_properties(void **state)
{
	size_t run = 0;
	(void)state;
	for (uint32_t cp = 0; cp < 0x110000; cp++) {
		enum tok_cat cat;
		unsigned f = tok_uni(cp);
		while (run + 1 < tok_uni_n_run && tok_uni_run[run + 1] >> 5 <= cp)
			run++;
		cat = TOK_CAT(tok_uni_run[run]);
		if (cat >= TOK_CAT_ALT_LU)
			cat = ((cp - (tok_uni_run[run] >> 5)) & 1) == (cat == TOK_CAT_ALT_LU) ? TOK_LL : TOK_LU;
		if (TOK_CAT(f) != cat)
			fail_msg("U+%04X: category %d instead of %d: too few leaves?", cp, TOK_CAT(f), cat);
		assert_int_equal(!!(f & TOK_L), cat >= TOK_LU && cat <= TOK_LO);
		assert_int_equal(!!(f & TOK_N), cat >= TOK_ND && cat <= TOK_NO);
	}
	assert_true(tok_uni(' ') & TOK_WS);
	assert_true(tok_uni(0x85) & TOK_WS);
	assert_false(tok_uni(0x200b) & TOK_WS);
	assert_true(tok_uni('$') & TOK_PUNCT);
	assert_false(tok_uni(0x20ac) & TOK_PUNCT); /* symbols beyond ASCII are none */
	for (unsigned b = 0; b < 256; b++) {
		uint8_t u[4] = { 0 }, byte = (uint8_t)b;
		uint32_t cp;
		unsigned n = tok_byte_char(byte, u);
		assert_int_equal(tok_utf8(u, u + n, &cp), n);
		assert_int_equal(tok_char_byte(cp), b);
	}
	assert_int_equal(tok_char_byte(0x120), ' '); /* what everybody knows */
	assert_int_equal(tok_char_byte(0x10a), '\n');
	assert_int_equal(tok_char_byte(' '), -1);
}

/* ---- JSON ---- */

static bool json_ok(const char *s)
{
	struct mm_err err;
	struct tok_json j;
	bool ok;
	tok_json_init(&j, s, strlen(s), "test", &err);
	ok = tok_json_skip(&j, NULL) && tok_json_done(&j);
	tok_json_fini(&j);
	return ok;
}

static void test_json(void **state)
{
	static const char *const good[] = { "{}", "[]",
		" [1, -2.5e3, \"\\u00e9\\ud83d\\ude00\", null, true, {\"a\": [[]]}] ", "0", "\"\\n\"" };
	static const char *const bad[] = { "", "{", "[1,]", "{\"a\" 1}", "{\"a\":1,}", "{a:1}", "01", "1.", "-",
		"\"\\ud800\"", "\"\\x\"", "\"\n\"", "[1 2]", "nul", "[]]", "\"abc", "{\"a\":}", "[,1]", "1e", "+1",
		"\"\\udc00\"" };
	static const char object[] = "{\"a\\tb\": -10.25, \"c\": 1e-5}";
	char deep[400];
	struct tok_json j;
	struct mm_err err;
	struct tok_str k;
	double d;
	(void)state;
	for (size_t i = 0; i < MM_COUNT(good); i++)
		if (!json_ok(good[i]))
			fail_msg("%s", good[i]);
	for (size_t i = 0; i < MM_COUNT(bad); i++)
		if (json_ok(bad[i]))
			fail_msg("%s", bad[i]);
	memset(deep, '[', 200);
	memset(deep + 200, ']', 199);
	deep[399] = 0;
	assert_false(json_ok(deep));
	tok_json_init(&j, object, strlen(object), "test", &err);
	assert_true(tok_json_object(&j) && tok_json_key(&j, &k) && tok_str_is(k, "a\tb"));
	assert_true(tok_json_double(&j, &d) && d == -10.25);
	assert_true(tok_json_key(&j, &k) && tok_str_is(k, "c") && tok_json_double(&j, &d) && d == 1e-5);
	assert_false(tok_json_key(&j, &k));
	assert_true(tok_json_done(&j));
	tok_json_fini(&j);
}

/* ---- python literals ---- */

static void literal(const char *s, const char *want, size_t n)
{
	struct mm_buf b = { 0 };
	bool ok = tok_python_literal((struct tok_str){ (const uint8_t *)s, strlen(s) }, &b);
	assert_int_equal(ok, want != NULL);
	if (want) {
		assert_int_equal(b.len, n);
		assert_memory_equal(b.data, want, n);
	}
	mm_buf_fini(&b);
}

static void test_literals(void **state)
{
	(void)state;
	literal("'a\\n\\x41\\u00e9\\\\'", "a\nA\xc3\xa9\\", 6);
	literal("\"it's\"", "it's", 4);
	literal("b'\\xe9\\x00'", "\xe9\0", 2);
	literal("'\\xe9'", "\xc3\xa9", 2);
	literal("'a", NULL, 0);
	literal("'a''", NULL, 0);
	literal("'\\x4'", NULL, 0);
	literal("'\\q'", NULL, 0);
	literal("b'\\u0041'", NULL, 0);
	literal("'\\'", NULL, 0);
	literal("'", NULL, 0);
	literal("'\\ud800'", NULL, 0);
}

/* Every name of tokenizer.ggml.pre has a pipeline that can be built; others are refused by name. */
static void test_gguf_pre(void **state)
{
	struct tok_gguf_defaults def = { 0 };
	struct mm_err err;
	struct mm_tok *tok;
	const char *name;
	(void)state;
	for (size_t i = 0; (name = tok_gguf_pre_name(i)); i++) {
		tok = tok_new(&err);
		assert_non_null(tok);
		if (tok_gguf_pre(
			    tok, (struct tok_str){ (const uint8_t *)name, strlen(name) }, TOK_LIT("llama"), &def, &err))
			fail_msg("%s", err.text);
		assert_true(tok->pres.n > 0);
		mm_tok_close(tok);
	}
	tok = tok_new(&err);
	assert_int_equal(tok_gguf_pre(tok, TOK_LIT("klingon"), TOK_LIT("llama"), &def, &err), -1);
	assert_int_equal(err.code, MM_EUNSUPPORTED);
	assert_non_null(strstr(err.text, "klingon"));
	mm_tok_close(tok);
}

static int setup(void **state)
{
	(void)state;
	tok_uni_init();
	mm_rng_init(&rng, 4);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scanners),
		cmocka_unit_test(test_translation),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_nfc),
		cmocka_unit_test(test_properties),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_literals),
		cmocka_unit_test(test_gguf_pre),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
