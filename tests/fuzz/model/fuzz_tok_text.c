/* fuzz_tok_text.c - texts: random bytes and random Unicode through a tokenizer of every class
 * (tests/fixtures/tokenizers).
 *
 * The first byte chooses the tokenizer. Bytes that are no UTF-8 must be refused; made into UTF-8 they must encode.
 * Properties: ids lie in the vocabulary; a second call (now from the word cache) gives the same; byte-level texts come
 * back whole. */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
	const char *name;
	bool whole; /* decoding gives the text back */
} sets[] = { { "gpt2-style", true }, { "llama3-style", true }, { "o200k-style", true }, { "falcon-style", true },
	{ "deepseek-style", true }, { "bloom-style", true }, { "neox-style", false }, { "qwen-style", false },
	{ "roberta-style", false }, { "clip-style", false }, { "llama2-style", false }, { "phi3-style", false },
	{ "mistral-first", false }, { "metaspace-always", false }, { "gemma-style", false },
	{ "unknown-characters", false }, { "bert-style", false }, { "wordlevel", false }, { "unigram", false } };
static struct mm_tok *tok[MM_COUNT(sets)];

static void open_all(void)
{
	struct mm_err err;
	for (size_t i = 0; i < MM_COUNT(sets); i++) {
		char path[200];
		snprintf(path, sizeof(path), "tests/fixtures/tokenizers/%s", sets[i].name);
		tok[i] = mm_tok_open(path, &err);
		if (!tok[i]) {
			fprintf(stderr, "%s (run from the repository's root)\n", err.text);
			abort();
		}
	}
}

static void check(size_t k, const char *text, size_t n)
{
	struct mm_ids a = { 0 }, b = { 0 };
	struct mm_buf out = { 0 };
	struct mm_err err;
	if (mm_tok_encode(tok[k], text, n, MM_TOK_PLAIN, &a, &err) ||
		mm_tok_encode(tok[k], text, n, MM_TOK_PLAIN, &b, &err))
		abort();
	if (a.n != b.n || (a.n && memcmp(a.id, b.id, a.n * sizeof(*a.id))))
		abort();
	for (size_t i = 0; i < a.n; i++)
		if (a.id[i] >= mm_tok_n_vocab(tok[k]))
			abort();
	if (mm_tok_decode(tok[k], a.id, a.n, &out, &err))
		abort();
	if (sets[k].whole && (out.len != n || (n && memcmp(out.data, text, n))))
		abort();
	mm_buf_fini(&out);
	mm_free(a.id);
	mm_free(b.id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_buf text = { 0 };
	struct mm_ids ids = { 0 };
	struct mm_err err;
	size_t k;
	if (!size)
		return 0;
	if (!tok[0])
		open_all();
	k = *data++ % MM_COUNT(sets);
	size--;
	if (mm_utf8_valid(data, size)) {
		check(k, (const char *)data, size);
		return 0;
	}
	if (!mm_tok_encode(tok[k], (const char *)data, size, 0, &ids, &err))
		abort();
	for (size_t i = 0; i + 2 < size; i += 3) { /* three bytes make a code point */
		uint32_t cp = ((uint32_t)data[i] << 16 | (uint32_t)data[i + 1] << 8 | data[i + 2]) % 0x110000;
		uint8_t u[4];
		mm_buf_put(&text, u, mm_utf8_encode(cp, u));
	}
	check(k, text.data ? (const char *)text.data : "", text.len);
	mm_buf_fini(&text);
	mm_free(ids.id);
	return 0;
}
