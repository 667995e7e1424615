/* tok_tiktoken.c - tiktoken files: one token a line, base64 of its bytes, a space, its rank, which is its id.
 *
 * The file does not say how texts are cut. That comes from tokenizer_config.json ("pat_str"), or from which vocabulary
 * it is: the published ones are told by their number of ranks. Any other is refused: a guessed pattern would give wrong
 * ids without anybody noticing.
 *
 * A piece that is a token as a whole is that token; else neighbours are joined whose bytes together have the lowest
 * rank.
 */
#include "model/tok_priv.h"

#include <stdlib.h>
#include <string.h>

#define FOLDED "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define CL(digits)                                                                                                     \
	FOLDED "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| "                                                           \
	       "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define LEAD  "[^\\r\\n\\p{L}\\p{N}]?"

static const char *const cl100k_specials[] = { "<|endoftext|>", NULL, "<|fim_prefix|>", "<|fim_middle|>",
	"<|fim_suffix|>" };
static const char *const qwen_specials[] = { "<|endoftext|>", "<|im_start|>", "<|im_end|>" };
static const char *const gpt2_specials[] = { "<|endoftext|>" };
static const char *const llama3_specials[] = { "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
	"<|reserved_special_token_1|>", "<|finetune_right_pad_id|>", "<|step_id|>", "<|start_header_id|>",
	"<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>", "<|image|>" };

static const struct known {
	const char *name;
	uint32_t n_rank;
	const char *pattern;
	const char *const *special; /* ids from n_rank on; NULL: an id without a token */
	size_t n_special;
	int bos; /* index in special; -1: none in front */
	int eos;
} known[] = {
	{ "llama-3", 128000, CL("\\p{N}{1,3}"), llama3_specials, MM_COUNT(llama3_specials), 0, 1 },
	{ "qwen", 151643, CL("\\p{N}"), qwen_specials, MM_COUNT(qwen_specials), -1, 0 },
	{ "cl100k_base", 100256, CL("\\p{N}{1,3}"), cl100k_specials, MM_COUNT(cl100k_specials), -1, -1 },
	{ "o200k_base", 199998,
		LEAD UPPER "*" LOWER "+" FOLDED "?|" LEAD UPPER "+" LOWER "*" FOLDED "?|\\p{N}{1,3}"
			   "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
		gpt2_specials, 0, -1, -1 },
	{ "gpt2", 50256, "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
		gpt2_specials, 1, -1, 0 },
	{ "kimi", 163584,
		"[\\p{Han}]+|" LEAD "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*"
		"[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+" FOLDED "?|" LEAD
		"[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+"
		"[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*" FOLDED "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
		"|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
		NULL, 0, -1, -1 },
};

/* "aGk= 4711" */
static bool split_line(struct tok_str line, struct tok_str *code, uint32_t *rank)
{
	const uint8_t *sp;
	uint64_t v = 0;
	if (line.n && line.s[line.n - 1] == '\r')
		line.n--;
	sp = memchr(line.s, ' ', line.n);
	if (!sp || sp == line.s || sp + 1 == line.s + line.n)
		return false;
	*code = (struct tok_str){ line.s, (size_t)(sp - line.s) };
	for (const uint8_t *p = sp + 1; p < line.s + line.n; p++) {
		if (*p < '0' || *p > '9' || v > TOK_ID_MAX)
			return false;
		v = v * 10 + (*p - '0');
	}
	*rank = (uint32_t)v;
	return v <= TOK_ID_MAX;
}

bool tok_tiktoken_looks(struct tok_str s)
{
	struct tok_str line, code;
	struct mm_buf b = { 0 };
	struct mm_err err;
	uint32_t rank;
	bool ok = tok_line_next(&s, &line) && split_line(line, &code, &rank) && code.n % 4 == 0 &&
		  !tok_base64((const char *)code.s, code.n, &b, &err);
	mm_buf_fini(&b);
	return ok;
}

static int read_ranks(struct mm_tok *tok, struct tok_str rest, struct mm_err *err)
{
	struct tok_str line, code;
	struct mm_buf b = { 0 };
	size_t no = 0;
	uint32_t rank;
	int rc = tok_vocab_init(&tok->vocab, rest.n / 12, err);
	while (!rc && tok_line_next(&rest, &line)) {
		no++;
		if (!line.n)
			continue;
		b.len = 0;
		if (!split_line(line, &code, &rank))
			rc = mm_fail(err, MM_EFORMAT, "line %zu is not 'base64 rank'", no);
		else
			rc = tok_base64((const char *)code.s, code.n, &b, err);
		if (!rc && !b.len)
			rc = mm_fail(err, MM_EFORMAT, "line %zu: empty token", no);
		if (!rc)
			rc = tok_vocab_put(&tok->vocab, (struct tok_str){ b.data, b.len }, rank, err);
	}
	mm_buf_fini(&b);
	if (rc || tok_vocab_seal(&tok->vocab, err))
		return -1;
	return tok_vocab_unique(&tok->vocab) ? 0 : mm_fail(err, MM_EFORMAT, "two tokens have the same rank");
}

static int build(struct mm_tok *tok, struct mm_err *err)
{
	struct tok_bpe *b = mm_calloc(1, sizeof(*b), err);
	const struct tok_vocab *v = &tok->vocab;
	uint32_t *rank;
	int rc;
	tok->ops = &tok_bpe_ops;
	tok->model = b;
	if (!b || tok_merges_init(&b->merges, v->n * 2, err) ||
		tok_bpe_affixes(b, (struct tok_str){ NULL, 0 }, (struct tok_str){ NULL, 0 }, err))
		return -1;
	b->raw = true;
	b->ignore_merges = true;
	rank = mm_calloc(v->n, sizeof(*rank), err);
	if (!rank)
		return -1;
	for (size_t i = 0; i < v->n; i++)
		rank[i] = v->ent[i].id;
	rc = tok_bpe_pairs(&b->merges, v, rank, err);
	mm_free(rank);
	for (unsigned i = 0; !rc && i < 256; i++) {
		uint8_t byte = (uint8_t)i;
		if (tok_vocab_get(v, &byte, 1) == TOK_NONE)
			rc = mm_fail(err, MM_EFORMAT, "byte %02x has no rank", i);
	}
	return rc;
}

static int add_special(struct mm_tok *tok, const char *text, size_t n, uint32_t id, struct mm_err *err)
{
	struct tok_added_token t = { .text = { (const uint8_t *)text, n }, .id = id, .special = true };
	t.norm = t.text;
	if (id > TOK_ID_MAX)
		return mm_fail(err, MM_EFORMAT, "special token with id %lu", (unsigned long)id);
	return n ? tok_added_put(&tok->added, &t, err) : 0;
}

int tok_added_decoder(struct mm_tok *tok, const json_t *conf, struct mm_err *err)
{
	const json_t *all = json_object_get(conf, "added_tokens_decoder"), *one;
	const char *key;
	json_object_foreach ((json_t *)all, key, one) {
		const json_t *content = json_object_get(one, "content");
		struct tok_added_token t = { .special = true };
		char *end;
		unsigned long long id = strtoull(key, &end, 10);
		if (*end || end == key || id > TOK_ID_MAX || !json_is_string(content))
			return mm_fail(err, MM_EFORMAT, "added_tokens_decoder: '%s'", key);
		if (mm_json_get_bool(one, "single_word", &t.single_word, err) ||
			mm_json_get_bool(one, "lstrip", &t.lstrip, err) ||
			mm_json_get_bool(one, "rstrip", &t.rstrip, err) ||
			mm_json_get_bool(one, "special", &t.special, err) ||
			mm_json_get_bool(one, "normalized", &t.normalized, err))
			return -1;
		t.text = t.norm =
			(struct tok_str){ (const uint8_t *)json_string_value(content), json_string_length(content) };
		t.id = (uint32_t)id;
		if (t.text.n && tok_added_put(&tok->added, &t, err))
			return -1;
	}
	return 0;
}

static int specials(struct mm_tok *tok, const struct known *k, const json_t *conf, struct mm_err *err)
{
	if (json_object_size(json_object_get(conf, "added_tokens_decoder")))
		return tok_added_decoder(tok, conf, err);
	for (size_t i = 0; k && i < k->n_special; i++)
		if (k->special[i] &&
			add_special(tok, k->special[i], strlen(k->special[i]), k->n_rank + (uint32_t)i, err))
			return -1;
	for (uint32_t i = 12; k && !strcmp(k->name, "llama-3") && i < 256; i++) {
		char text[40];
		snprintf(text, sizeof(text), "<|reserved_special_token_%u|>", (unsigned)(i - 10));
		if (add_special(tok, text, strlen(text), k->n_rank + i, err))
			return -1;
	}
	return 0;
}

int tok_open_tiktoken(struct mm_tok *tok, struct tok_source *src, const json_t *conf, struct mm_err *err)
{
	const struct known *k = NULL;
	const char *pattern = NULL;
	bool bos = true;
	if (read_ranks(tok, src->part[0], err) || build(tok, err) || mm_json_get_str(conf, "pat_str", &pattern, err))
		return -1;
	for (size_t i = 0; i < MM_COUNT(known); i++)
		if (known[i].n_rank == tok->vocab.n && tok->vocab.max_id == tok->vocab.n - 1)
			k = &known[i];
	if (!pattern && !k)
		return mm_fail(err, MM_EUNSUPPORTED,
			"tiktoken vocabulary of %zu ranks is not known, and tokenizer_config.json has no pat_str",
			tok->vocab.n);
	if (tok_pres_add_regex(&tok->pres, pattern ? pattern : k->pattern, err) || specials(tok, k, conf, err) ||
		tok_added_seal(&tok->added, err) || tok_pipeline_seal(tok, err))
		return -1;
	if (k && k->bos >= 0)
		tok->bos = (int64_t)k->n_rank + k->bos;
	if (k && k->eos >= 0)
		tok->eos = (int64_t)k->n_rank + k->eos;
	tok_conf_apply(tok, conf);
	bos = k && k->bos >= 0;
	if (mm_json_get_bool(conf, "add_bos_token", &bos, err))
		return -1;
	return bos && tok->bos >= 0 ? tok_template_add(tok, false, (uint32_t)tok->bos, err) : 0;
}
