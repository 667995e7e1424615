/* test_tok_bad.c - tokenizer files that are malformed, unknown or hostile, and texts that are meant to take for ever.
 *
 * Files: refused with the right code and a text that names what is wrong. Texts: a megabyte or five of what is
 * quadratic when done carelessly. Nothing is timed here: a quadratic step would take hours. */
#include "model/tok_priv.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIXTURES "tests/fixtures/tokenizers"

static struct mm_tok *parse(const void *data, size_t n, const char *conf, struct mm_err *err)
{
	struct tok_source src = { .name = "test", .dir = "/nonexistent", .n = 1, .part = { { data, n } } };
	json_t *j = conf ? json_loads(conf, 0, NULL) : NULL;
	struct mm_tok *tok = tok_from_source(&src, j, err);
	json_decref(j);
	return tok;
}

/* A tokenizer.json with these parts; model NULL: a small BPE. */
static char *compose(const char *model, const char *rest)
{
	static char text[4096];
	snprintf(text, sizeof(text), "{\"version\": \"1.0\"%s, \"model\": %s}", rest,
		model ? model
		      : "{\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}");
	return text;
}

static void refused(const char *text, enum mm_err_code code, const char *says)
{
	struct mm_err err;
	struct mm_tok *tok = parse(text, strlen(text), NULL, &err);
	if (tok)
		fail_msg("taken: %s", text);
	if (err.code != code || (says && !strstr(err.text, says)))
		fail_msg("%s: %s (%s)", text, err.text, mm_err_name(err.code));
}

static void test_unknown_parts(void **state)
{
	(void)state;
	refused(compose(NULL, ", \"normalizer\": {\"type\": \"Rot13\"}"), MM_EUNSUPPORTED, "Rot13");
	refused(compose(NULL, ", \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFX\"}]}"),
		MM_EUNSUPPORTED, "NFX");
	refused(compose(NULL, ", \"pre_tokenizer\": {\"type\": \"Jieba\"}"), MM_EUNSUPPORTED, "Jieba");
	refused(compose(NULL, ", \"post_processor\": {\"type\": \"Odd\"}"), MM_EUNSUPPORTED, "Odd");
	refused(compose(NULL, ", \"pre_tokenizer\": {\"type\": \"Punctuation\", \"behavior\": \"Eaten\"}"),
		MM_EUNSUPPORTED, "Eaten");
	refused(compose(NULL, ", \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\", "
			      "\"prepend_scheme\": \"often\"}"),
		MM_EUNSUPPORTED, "often");
	refused(compose("{\"type\": \"Neural\", \"vocab\": {}}", ""), MM_EUNSUPPORTED, "Neural");
	refused(compose(NULL, ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(?~a)\"}, "
			      "\"behavior\": \"Isolated\","
			      "\"invert\": false}"),
		MM_EUNSUPPORTED, "regex");
	refused(compose(NULL, ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": "
			      "{\"id\": \"B\"}}],"
			      "\"special_tokens\": {}}"),
		MM_EUNSUPPORTED, NULL);
}

static void test_malformed(void **state)
{
	static const char *const bad[] = { "", "{", "{}", "{\"model\": null}", "[]", "{\"model\": {}}",
		"{\"model\": {\"type\": \"BPE\"}}", "{\"version\": \"2.0\", \"model\": {}}",
		"{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a\"]}}",
		"{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}",
		"{\"model\": {\"vocab\": {\"a\": -1}, \"merges\": []}}",
		"{\"model\": {\"vocab\": {\"a\": 4294967295}, \"merges\": []}}",
		"{\"model\": {\"vocab\": {\"a\": 2147483648}, \"merges\": []}}",
		"{\"model\": {\"vocab\": {\"a\": 1.5}, \"merges\": []}}",
		"{\"model\": {\"vocab\": {\"a\": \"0\"}, \"merges\": []}}",
		"{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}}",
		"{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\", \"a\", \"a\"]]}}",
		"{\"model\": {\"vocab\": {\"a\": 0, \"aa\": 1}, \"merges\": [\"a a\", [\"a\", \"a\"]]}}",
		"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\"]]}}",
		"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", 0, 1]]}}",
		"{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", 1e999]]}}",
		"{\"model\": {\"type\": \"Unigram\", \"unk_id\": 1, \"vocab\": [[\"a\", -1]]}}",
		"{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}}}",
		"{\"model\": {\"type\": \"WordLevel\", \"vocab\": {\"a\": 0}}}",
		"{\"added_tokens\": [{\"id\": 0}], \"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}",
		"{\"added_tokens\": [{\"content\": \"x\", \"special\": 3}], \"model\": {\"vocab\": {\"a\": 0}, "
		"\"merges\": []}}",
		"{\"added_tokens\": {}, \"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}",
		"{\"normalizer\": 3, \"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}",
		"{\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"AAAA\"}, \"model\": "
		"{\"vocab\": {\"a\": 0}, \"merges\": []}}",
		"{\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"?\"}, \"model\": {\"vocab\": "
		"{\"a\": 0}, \"merges\": []}}",
		"{\"pre_tokenizer\": {\"type\": \"Split\"}, \"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}",
		"{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"ab\"}, \"model\": {\"vocab\": "
		"{\"a\": 0}, \"merges\": []}}",
		"{\"post_processor\": {\"type\": \"BertProcessing\", \"cls\": [\"a\", -1], \"sep\": [\"a\", 1]}, "
		"\"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}",
		"{\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
		"\"x\"}}], \"special_tokens\": {}}, "
		"\"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}",
		"{\"model\": {\"vocab\": {\"\xff\": 0}, \"merges\": []}}",
		"{\"model\": {\"vocab\": {\"\\ud800\": 0}, \"merges\": []}}" };
	(void)state;
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		struct mm_err err;
		struct mm_tok *tok = parse(bad[i], strlen(bad[i]), NULL, &err);
		if (tok)
			fail_msg("taken: %s", bad[i]);
		assert_true(err.code == MM_EFORMAT || err.code == MM_EUNSUPPORTED);
	}
}

static void test_other_files(void **state)
{
	static const struct {
		const char *data;
		size_t n;
	} bad[] = {
		{ "1 'a' 1\n2 'b\n", 13 },     /* RWKV: open literal */
		{ "1 'a' 2\n", 8 },	       /* its length */
		{ "1 'a' 1\n2 '' 0\n", 15 },   /* empty */
		{ "99999999999 'a' 1\n", 18 }, /* id */
		{ "1 'a' 1\n1 'b' 1\n", 16 },  /* an id twice */
		{ "YQ== 0\n!!!! 1\n", 14 },    /* tiktoken: no base64 */
		{ "YQ== 0\nYg==\n", 12 },      /* no rank */
		{ "YQ== 0\nYg== 99999999999\n", 24 },
		{ "\x0a\x05\x0a\x01"
		  "a\x18\x01",
			7 }, /* SentencePiece: no unknown piece */
		{ "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11 },
		{ "\x0a\x02\x18\x02", 4 }, /* a piece without text */
		{ "\x0a\x08\x0a\x01"
		  "a\x18\x02\x0a\x05"
		  "b",
			9 }, /* cut */
		{ "\x00\x01\x02\x03", 4 },
		{ "GGUF", 4 },
	};
	(void)state;
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		struct mm_err err;
		uint8_t *copy = malloc(bad[i].n); /* of exact size, for the address sanitizer */
		struct mm_tok *tok;
		memcpy(copy, bad[i].data, bad[i].n);
		tok = parse(copy, bad[i].n, NULL, &err);
		if (tok)
			fail_msg("case %zu was taken", i);
		free(copy);
	}
}

/* A normalization table whose trie points everywhere. */
static void test_charsmap(void **state)
{
	struct mm_err err;
	(void)state;
	for (unsigned seed = 0; seed < 2000; seed++) {
		uint8_t blob[4 + 64 * 4 + 16];
		struct tok_charsmap *m;
		struct tok_str out;
		struct mm_buf b = { 0 };
		size_t first;
		struct mm_rng r;
		mm_rng_init(&r, seed);
		for (size_t i = 0; i < sizeof(blob); i++)
			blob[i] = (uint8_t)mm_rng_u64(&r);
		memcpy(blob, "\0\1\0\0", 4);
		m = tok_charsmap_new(blob, sizeof(blob), &err);
		assert_non_null(m);
		for (unsigned k = 0; k < 256; k++) {
			uint8_t s[3] = { (uint8_t)k, (uint8_t)mm_rng_u64(&r), (uint8_t)mm_rng_u64(&r) };
			assert_true(tok_charsmap_prefix(m, s, 3, &out) <= 3);
		}
		if (tok_charsmap_apply(m, TOK_LIT("hello \xc3\xa9\xe2\x82\xac"), &b, &first, &err))
			assert_int_equal(err.code, MM_EFORMAT);
		else
			assert_true(tok_utf8_valid(b.data, b.len));
		mm_buf_fini(&b);
		tok_charsmap_free(m);
	}
	assert_null(tok_charsmap_new((const uint8_t *)"\xff\xff\xff\x7f", 4, &err));
	assert_null(tok_charsmap_new((const uint8_t *)"\1\0\0\0abc", 7, &err));
	assert_null(tok_charsmap_new((const uint8_t *)"", 0, &err));
}

/* A regex that explodes is answered with an error. */
static void test_exploding_regex(void **state)
{
	const char *text =
		compose(NULL, ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a|aa)+$\"}, "
			      "\"behavior\": \"Isolated\", \"invert\": false}");
	struct mm_err err;
	struct mm_tok *tok = parse(text, strlen(text), NULL, &err);
	struct mm_ids ids = { 0 };
	char a[201];
	(void)state;
	assert_non_null(tok);
	memset(a, 'a', 200);
	a[200] = 'b';
	assert_int_equal(mm_tok_encode(tok, a, sizeof(a), 0, &ids, &err), -1);
	assert_int_equal(err.code, MM_EUNSUPPORTED);
	assert_non_null(strstr(err.text, "gives up"));
	mm_tok_close(tok);
	mm_free(ids.id);
}

/* ---- texts ---- */

static void encode(const struct mm_tok *tok, const char *text, size_t n, struct mm_ids *ids)
{
	struct mm_err err;
	ids->n = 0;
	if (mm_tok_encode(tok, text, n, 0, ids, &err))
		fail_msg("%zu bytes, '%.20s': %s", n, text, err.text);
}

static void repeat(struct mm_buf *b, const char *unit, size_t bytes)
{
	size_t n = strlen(unit);
	b->len = 0;
	while (b->len < bytes)
		mm_buf_put(b, unit, n);
}

static void test_hostile_texts(void **state)
{
	static const char *const name[] = { "gpt2-style", "llama3-style", "o200k-style", "deepseek-style",
		"falcon-style", "bloom-style", "llama2-style", "phi3-style", "mistral-first", "gemma-style",
		"metaspace-always", "unigram", "bert-style", "clip-style", "neox-style", "wordlevel" };
	static const struct {
		const char *unit;
		size_t bytes;
	} texts[] = { { "abcdefghij", 5000000 }, { "a", 1000000 }, { " ", 1000000 }, { "\n", 1000000 },
		{ "\t ", 500000 }, { "1", 1000000 }, { "'", 500000 }, { "<|endoftex", 1000000 }, { "<s", 300000 },
		{ "<s>", 300000 }, { "<|end|> ", 800000 }, { "\xe2\x96\x81", 900000 }, { "\xcc\x81\xcc\xa3", 600000 },
		{ "\xe6\x97\xa5\xe6\x9c\xac", 1200000 }, { "\xf0\x9f\x99\x82\xe2\x80\x8d", 700000 },
		{ "e\xcc\x81", 600000 }, { "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", 900000 }, { "{x}", 500000 },
		{ "  <mask>", 400000 } };
	struct mm_buf b = { 0 };
	struct mm_ids ids = { 0 };
	(void)state;
	for (size_t f = 0; f < MM_COUNT(name); f++) {
		struct mm_err err;
		char path[200];
		struct mm_tok *tok;
		snprintf(path, sizeof(path), FIXTURES "/%s", name[f]);
		tok = mm_tok_open(path, &err);
		assert_non_null(tok);
		for (size_t i = 0; i < MM_COUNT(texts); i++) {
			repeat(&b, texts[i].unit,
				texts[i].bytes / (f % 4 ? 8 : 1)); /* whole sizes for every fourth: time */
			encode(tok, (char *)b.data, b.len, &ids);
		}
		mm_tok_close(tok);
	}
	mm_buf_fini(&b);
	mm_free(ids.id);
}

/* The ids of a long word are those of its merges, whichever way they are found: many halves, each joined again. */
static void test_long_word(void **state)
{
	struct mm_tok *tok;
	struct mm_err err;
	struct mm_buf json = { 0 }, text = { 0 };
	struct mm_ids ids = { 0 };
	(void)state;
	/* a, aa, aaaa, ... up to 2^16 letters: 2^20 of them give 16 tokens of the largest */
	mm_buf_str(&json, "{\"model\": {\"type\": \"BPE\", \"vocab\": {");
	for (unsigned i = 0; i <= 16; i++) {
		mm_buf_str(&json, i ? ", \"" : "\"");
		for (unsigned k = 0; k < 1u << i; k++)
			mm_buf_u8(&json, 'a');
		mm_buf_printf(&json, "\": %u", i);
	}
	mm_buf_str(&json, "}, \"merges\": [");
	for (unsigned i = 0; i < 16; i++) {
		mm_buf_str(&json, i ? ", [\"" : "[\"");
		for (unsigned k = 0; k < 1u << i; k++)
			mm_buf_u8(&json, 'a');
		mm_buf_str(&json, "\", \"");
		for (unsigned k = 0; k < 1u << i; k++)
			mm_buf_u8(&json, 'a');
		mm_buf_str(&json, "\"]");
	}
	mm_buf_str(&json, "]}}");
	tok = parse(json.data, json.len, NULL, &err);
	assert_non_null(tok);
	repeat(&text, "a", 1u << 20);
	encode(tok, (char *)text.data, text.len, &ids);
	assert_int_equal(ids.n, 16);
	for (size_t i = 0; i < ids.n; i++)
		assert_int_equal(ids.id[i], 16);
	encode(tok, (char *)text.data, text.len - 1, &ids); /* one less: all sizes once, the large ones first */
	assert_int_equal(ids.n, 15 + 16);
	mm_tok_close(tok);
	mm_buf_fini(&json);
	mm_buf_fini(&text);
	mm_free(ids.id);
}

/* Many added tokens that begin alike. */
static void test_many_added(void **state)
{
	struct mm_buf json = { 0 }, text = { 0 };
	struct mm_ids ids = { 0 };
	struct mm_err err;
	struct mm_tok *tok;
	(void)state;
	mm_buf_str(
		&json, "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"<\": 0}, \"merges\": []}, \"added_tokens\": [");
	for (unsigned i = 0; i < 20000; i++)
		mm_buf_printf(&json,
			"%s{\"content\": \"<|reserved_special_token_%u|>\", \"single_word\": false, \"lstrip\": false, "
			"\"rstrip\": false, \"normalized\": %s, \"special\": true, \"id\": %u}",
			i ? ", " : "", i, i & 1 ? "true" : "false", i);
	mm_buf_str(&json, "]}");
	tok = parse(json.data, json.len, NULL, &err);
	assert_non_null(tok);
	repeat(&text, "<|reserved_special_token_19999|><|reserved_special_token_1999<", 1000000);
	encode(tok, (char *)text.data, text.len, &ids);
	assert_true(ids.n > 30000);
	assert_int_equal(ids.id[0], 20000);
	mm_tok_close(tok);
	mm_buf_fini(&json);
	mm_buf_fini(&text);
	mm_free(ids.id);
}

/* Every allocation of loading and encoding fails once: an error each time, and nothing leaks (sanitizer builds see to
 * that). */
static void test_no_memory(void **state)
{
	static const char *const name[] = { "llama3-style", "phi3-style", "unigram", "bert-style" };
	(void)state;
	for (size_t f = 0; f < MM_COUNT(name); f++) {
		char path[200];
		bool done = false;
		snprintf(path, sizeof(path), FIXTURES "/%s", name[f]);
		for (long n = 1; !done; n++) {
			struct mm_err err = { 0 };
			struct mm_tok *tok;
			struct mm_ids ids = { 0 };
			int rc = -1;
			mm_mem_fail_after(n);
			tok = mm_tok_open(path, &err);
			if (tok)
				rc = mm_tok_encode(
					tok, "The cat's  <|end|> 12 caf\xc3\xa9 \xe6\x97\xa5", 31, 0, &ids, &err);
			mm_mem_fail_after(0);
			done = !rc;
			if (rc && err.code != MM_ENOMEM)
				fail_msg("%s, allocation %ld: %s", name[f], n, err.text);
			mm_free(ids.id);
			mm_tok_close(tok);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unknown_parts),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_other_files),
		cmocka_unit_test(test_charsmap),
		cmocka_unit_test(test_exploding_regex),
		cmocka_unit_test(test_hostile_texts),
		cmocka_unit_test(test_long_word),
		cmocka_unit_test(test_many_added),
		cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
