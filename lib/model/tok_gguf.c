/* tok_gguf.c - the vocabulary of a GGUF file.
 *
 *	tokenizer.ggml.model   becomes
 *	llama                  BPE over characters with byte fallback, merges from the scores; Prepend and Replace
 *	gpt2                   byte-level BPE, cut as tokenizer.ggml.pre says (tok_gguf_pre.c)
 *	bert                   WordPiece; stored as "▁word" for a beginning and "rest" for what follows: "word",
 *"##rest" t5                     Unigram with the normalization table rwkv                   longest match; tokens
 *stored with escapes
 *
 * Control and user-defined tokens are added tokens, found in the text wherever they stand: the file does not carry
 *their flags.
 */
#include "model/ckpt_priv.h"
#include "model/tok_priv.h"

#include <string.h>

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };
#define TOKENS_MAX (1u << 24)
#define KEY(name)  "tokenizer.ggml." name

struct gv {
	const struct mm_gguf *g;
	struct mm_tok *tok;
	struct mm_gguf_array tokens, types, scores;
	int64_t bos, eos, unk, sep;
	struct tok_gguf_defaults def;
};

static int get_str(const struct mm_gguf *g, const char *key, struct tok_str *out, struct mm_err *err)
{
	const char *s = "";
	size_t n = 0;
	if (mm_gguf_get_str(g, key, &s, &n, err))
		return -1;
	*out = (struct tok_str){ (const uint8_t *)s, n };
	return 0;
}

static int type_of(const struct gv *v, size_t i)
{
	return v->types.n ? (int)mm_gguf_i64_at(&v->types, i) : NORMAL;
}

static int load(struct gv *v, struct mm_err *err)
{
	const struct {
		const char *key;
		int64_t *id;
	} ids[] = { { KEY("bos_token_id"), &v->bos }, { KEY("eos_token_id"), &v->eos },
		{ KEY("unknown_token_id"), &v->unk }, { KEY("seperator_token_id"), &v->sep } };
	if (mm_gguf_get_array(v->g, KEY("tokens"), MM_GGUF_STRING, &v->tokens, err) ||
		mm_gguf_get_ints(v->g, KEY("token_type"), &v->types, err) ||
		mm_gguf_get_floats(v->g, KEY("scores"), &v->scores, err))
		return -1;
	if (!v->tokens.n || v->tokens.n > TOKENS_MAX)
		return mm_fail(err, MM_EFORMAT, "tokenizer.ggml.tokens: %zu entries", v->tokens.n);
	if ((v->types.n && v->types.n != v->tokens.n) || (v->scores.n && v->scores.n != v->tokens.n))
		return mm_fail(err, MM_EFORMAT, "tokenizer.ggml: %zu tokens, %zu types, %zu scores", v->tokens.n,
			v->types.n, v->scores.n);
	for (size_t i = 0; i < MM_COUNT(ids); i++) { /* beyond the vocabulary: not there */
		*ids[i].id = -1;
		if (mm_gguf_get_i64(v->g, ids[i].key, -1, UINT32_MAX, ids[i].id, err))
			return -1;
		if (*ids[i].id >= (int64_t)v->tokens.n)
			*ids[i].id = -1;
	}
	return 0;
}

/* All tokens as they are stored. Of two equal ones the first keeps its id: the later are paddings of the embedding. */
static int read_tokens(struct gv *v, struct mm_err *err)
{
	size_t off = 0, n;
	const char *s;
	if (tok_vocab_init(&v->tok->vocab, v->tokens.n, err))
		return -1;
	for (uint32_t i = 0; mm_gguf_str_next(&v->tokens, &off, &s, &n); i++) {
		struct tok_str t = { (const uint8_t *)s, n };
		if (tok_vocab_get(&v->tok->vocab, t.s, t.n) == TOK_NONE && tok_vocab_put(&v->tok->vocab, t, i, err))
			return -1;
	}
	return tok_vocab_seal(&v->tok->vocab, err);
}

static int add_specials(struct gv *v, bool unknown_too, struct mm_err *err)
{
	size_t off = 0, n;
	const char *s;
	for (uint32_t i = 0; mm_gguf_str_next(&v->tokens, &off, &s, &n); i++) {
		int type = type_of(v, i);
		struct tok_added_token t = { .text = { (const uint8_t *)s, n }, .id = i, .special = type != USER };
		t.norm = t.text;
		if (n && (type == CONTROL || type == USER || (type == UNKNOWN && unknown_too)) &&
			tok_added_put(&v->tok->added, &t, err))
			return -1;
	}
	return tok_added_seal(&v->tok->added, err);
}

static double *read_scores(const struct gv *v, struct mm_err *err)
{
	double *score = mm_calloc(v->tokens.n, sizeof(*score), err);
	for (size_t i = 0; score && i < v->tokens.n; i++) {
		score[i] = v->scores.n ? mm_gguf_f64_at(&v->scores, i) : -(double)i;
		if (score[i] != score[i])
			score[i] = 0;
	}
	return score;
}

static struct tok_bpe *new_bpe(struct mm_tok *tok, size_t expect, struct mm_err *err)
{
	struct tok_bpe *b = mm_calloc(1, sizeof(*b), err);
	tok->ops = &tok_bpe_ops;
	tok->model = b;
	if (!b || tok_merges_init(&b->merges, expect, err) ||
		tok_bpe_affixes(b, (struct tok_str){ NULL, 0 }, (struct tok_str){ NULL, 0 }, err))
		return NULL;
	return b;
}

/* Merges that scores stand for: only of tokens that text can be made of, the best score first. */
static int score_merges(struct gv *v, struct tok_bpe *b, struct mm_err *err)
{
	const struct tok_vocab *voc = &v->tok->vocab;
	double *score = read_scores(v, err);
	uint32_t *by_id = mm_calloc(v->tokens.n, sizeof(*by_id), err), *rank = mm_calloc(voc->n, sizeof(*rank), err);
	int rc = score && by_id && rank ? tok_rank_scores(score, v->tokens.n, by_id, err) : -1;
	for (size_t i = 0; !rc && i < voc->n; i++) {
		uint32_t id = voc->ent[i].id;
		rank[i] = type_of(v, id) == NORMAL || type_of(v, id) == USER ? by_id[id] : UINT32_MAX;
	}
	if (!rc)
		rc = tok_bpe_pairs(&b->merges, voc, rank, err);
	mm_free(score);
	mm_free(by_id);
	mm_free(rank);
	return rc;
}

static int open_llama(struct gv *v, struct mm_err *err)
{
	bool prefix = true;
	struct tok_bpe *b;
	if (read_tokens(v, err) || mm_gguf_get_bool(v->g, KEY("add_space_prefix"), &prefix, err))
		return -1;
	b = new_bpe(v->tok, v->tokens.n * 2, err);
	if (!b || score_merges(v, b, err))
		return -1;
	b->byte_fallback = b->fuse_unk = true;
	b->has_unk = v->unk >= 0;
	b->unk = v->unk >= 0 ? (uint32_t)v->unk : TOK_NONE;
	if ((prefix && tok_norms_add_prepend(&v->tok->norms, TOK_META, err)) ||
		tok_norms_add_replace(&v->tok->norms, " ", TOK_META, err))
		return -1;
	v->def.bos = true;
	return tok_pipeline_seal(v->tok, err) || add_specials(v, true, err) ? -1 : 0;
}

/* "a b", cut at the first space behind the first character. */
static int list_merges(struct gv *v, struct tok_bpe *b, const struct mm_gguf_array *merges, struct mm_err *err)
{
	const struct tok_vocab *voc = &v->tok->vocab;
	struct mm_buf tmp = { 0 };
	size_t off = 0, n;
	const char *s;
	uint32_t rank = 0;
	int rc = 0;
	for (; !rc && mm_gguf_str_next(merges, &off, &s, &n); rank++) {
		const char *sp = n > 1 ? memchr(s + 1, ' ', n - 1) : NULL;
		uint32_t left, right, id;
		if (!sp) {
			rc = mm_fail(err, MM_EFORMAT, "merge %lu is not two tokens with a space between",
				(unsigned long)rank);
			break;
		}
		tmp.len = 0;
		mm_buf_put(&tmp, s, (size_t)(sp - s));
		mm_buf_put(&tmp, sp + 1, (size_t)(s + n - sp - 1));
		if (mm_buf_check(&tmp, err)) {
			rc = -1;
			break;
		}
		left = tok_vocab_get(voc, (const uint8_t *)s, (size_t)(sp - s));
		right = tok_vocab_get(voc, (const uint8_t *)sp + 1, (size_t)(s + n - sp - 1));
		id = tok_vocab_get(voc, tmp.data, tmp.len);
		if (left == TOK_NONE || right == TOK_NONE || id == TOK_NONE)
			rc = mm_fail(err, MM_EFORMAT, "merge %lu: its tokens are not all in the vocabulary",
				(unsigned long)rank);
		else
			rc = tok_merges_put(&b->merges, left, right, rank, id, err);
	}
	mm_buf_fini(&tmp);
	return rc;
}

static int open_gpt2(struct gv *v, struct mm_err *err)
{
	struct mm_gguf_array merges = { 0 };
	struct tok_str pre, architecture;
	struct tok_bpe *b;
	if (mm_gguf_get_array(v->g, KEY("merges"), MM_GGUF_STRING, &merges, err) ||
		get_str(v->g, KEY("pre"), &pre, err) || get_str(v->g, "general.architecture", &architecture, err) ||
		read_tokens(v, err))
		return -1;
	b = new_bpe(v->tok, merges.n, err);
	if (!b || list_merges(v, b, &merges, err) || tok_gguf_pre(v->tok, pre, architecture, &v->def, err))
		return -1;
	b->ignore_merges = v->def.ignore_merges;
	return tok_pipeline_seal(v->tok, err) || add_specials(v, false, err) ? -1 : 0;
}

static int put_bert(struct gv *v, struct tok_str t, uint32_t i, struct mm_buf *tmp, bool *upper, struct mm_err *err)
{
	bool plain = type_of(v, i) != NORMAL || (t.n && *t.s == '[' && t.s[t.n - 1] == ']');
	tmp->len = 0;
	if (!plain && t.n > 3 && !memcmp(t.s, TOK_META, 3)) {
		t.s += 3;
		t.n -= 3;
	} else if (!plain) {
		mm_buf_str(tmp, "##");
	}
	for (size_t k = 0; !plain && k < t.n; k++)
		*upper = *upper || (t.s[k] >= 'A' && t.s[k] <= 'Z');
	mm_buf_put(tmp, t.s, t.n);
	if (mm_buf_check(tmp, err))
		return -1;
	return tok_vocab_put(&v->tok->vocab, (struct tok_str){ tmp->data, tmp->len }, i, err);
}

static int open_bert(struct gv *v, struct mm_err *err)
{
	static const char pre[] = "{\"type\":\"BertPreTokenizer\"}";
	struct mm_buf tmp = { 0 };
	struct tok_str unk = TOK_LIT("[UNK]");
	size_t off = 0, n;
	const char *s;
	bool upper = false;
	json_t *j;
	int rc = tok_vocab_init(&v->tok->vocab, v->tokens.n, err);
	for (uint32_t i = 0; !rc && mm_gguf_str_next(&v->tokens, &off, &s, &n); i++)
		rc = put_bert(v, (struct tok_str){ (const uint8_t *)s, n }, i, &tmp, &upper, err);
	mm_buf_fini(&tmp);
	if (rc || tok_vocab_seal(&v->tok->vocab, err))
		return -1;
	if (v->unk >= 0)
		tok_vocab_text(&v->tok->vocab, (uint32_t)v->unk, &unk);
	v->tok->ops = &tok_wordpiece_ops;
	v->tok->model = tok_wordpiece_new(&v->tok->vocab, unk, TOK_LIT("##"), 100, err);
	if (!v->tok->model || tok_norms_add_bert(&v->tok->norms, true, true, !upper, !upper, err))
		return -1;
	j = mm_json_parse(pre, sizeof(pre) - 1, "pre-tokenizer", err);
	rc = j ? tok_pres_parse(&v->tok->pres, j, 0, err) : -1;
	json_decref(j);
	v->def.bos = v->def.sep = true;
	return rc || tok_pipeline_seal(v->tok, err) || add_specials(v, true, err) ? -1 : 0;
}

static int add_table(struct gv *v, struct mm_err *err)
{
	struct mm_gguf_array table = { 0 };
	struct mm_buf blob = { 0 };
	int rc;
	if (mm_gguf_get_ints(v->g, KEY("precompiled_charsmap"), &table, err))
		return -1;
	for (size_t i = 0; i < table.n; i++)
		mm_buf_u8(&blob, (uint8_t)mm_gguf_i64_at(&table, i));
	rc = mm_buf_check(&blob, err);
	if (!rc && table.n)
		rc = tok_norms_add_charsmap(&v->tok->norms, blob.data, blob.len, err);
	mm_buf_fini(&blob);
	return rc;
}

static int open_t5(struct gv *v, struct mm_err *err)
{
	static const char folded[] =
		"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},"
		"{\"type\":\"Metaspace\",\"replacement\":\"" TOK_META "\",\"prepend_scheme\":\"always\"}]}";
	static const char plain[] =
		"{\"type\":\"Metaspace\",\"replacement\":\"" TOK_META "\",\"prepend_scheme\":\"always\"}";
	struct tok_unigram_opts opts = { .unk = v->unk };
	bool fold = true;
	double *score;
	json_t *j;
	int rc;
	if (read_tokens(v, err) || mm_gguf_get_bool(v->g, KEY("remove_extra_whitespaces"), &fold, err) ||
		add_table(v, err))
		return -1;
	score = read_scores(v, err);
	if (!score)
		return -1;
	v->tok->ops = &tok_unigram_ops;
	v->tok->model = tok_unigram_new(&v->tok->vocab, score, NULL, &opts, err);
	mm_free(score);
	if (!v->tok->model)
		return -1;
	j = mm_json_parse(fold ? folded : plain, strlen(fold ? folded : plain), "pre-tokenizer", err);
	rc = j ? tok_pres_parse(&v->tok->pres, j, 0, err) : -1;
	json_decref(j);
	v->def.eos = true;
	return rc || tok_pipeline_seal(v->tok, err) || add_specials(v, true, err) ? -1 : 0;
}

/* Tokens are written like Python strings without their quotes, bytes as \xHH. */
static int open_rwkv(struct gv *v, struct mm_err *err)
{
	struct mm_buf raw = { 0 };
	size_t off = 0, n;
	const char *s;
	int rc = tok_rwkv_begin(v->tok, v->tokens.n, err);
	for (uint32_t i = 0; !rc && mm_gguf_str_next(&v->tokens, &off, &s, &n); i++) {
		if (!i || type_of(v, i) != NORMAL || !n)
			continue; /* 0 ends a text; the vocabulary is padded behind */
		raw.len = 0;
		if (!tok_escaped_bytes((struct tok_str){ (const uint8_t *)s, n }, &raw))
			rc = mm_fail(err, MM_EFORMAT, "token %lu: bad escape", (unsigned long)i);
		else if (mm_buf_check(&raw, err))
			rc = -1;
		else if (raw.len && tok_vocab_get(&v->tok->vocab, raw.data, raw.len) == TOK_NONE)
			rc = tok_rwkv_add(v->tok, (struct tok_str){ raw.data, raw.len }, i, err);
	}
	mm_buf_fini(&raw);
	return rc ? -1 : tok_vocab_seal(&v->tok->vocab, err);
}

static const struct {
	const char *model;
	int (*open)(struct gv *v, struct mm_err *err);
} models[] = {
	{ "llama", open_llama },
	{ "gpt2", open_gpt2 },
	{ "bert", open_bert },
	{ "t5", open_t5 },
	{ "rwkv", open_rwkv },
};

static int template(struct gv *v, struct mm_err *err)
{
	bool bos = v->def.bos, eos = v->def.eos, sep = v->def.sep;
	if (mm_gguf_get_bool(v->g, KEY("add_bos_token"), &bos, err) ||
		mm_gguf_get_bool(v->g, KEY("add_eos_token"), &eos, err) ||
		mm_gguf_get_bool(v->g, KEY("add_sep_token"), &sep, err))
		return -1;
	v->tok->bos = v->bos;
	v->tok->eos = v->eos;
	if (bos && v->bos >= 0 && tok_template_add(v->tok, false, (uint32_t)v->bos, err))
		return -1;
	if (sep && (v->sep >= 0 || v->eos >= 0))
		return tok_template_add(v->tok, true, (uint32_t)(v->sep >= 0 ? v->sep : v->eos), err);
	return eos && v->eos >= 0 ? tok_template_add(v->tok, true, (uint32_t)v->eos, err) : 0;
}

static int hash(struct gv *v, struct tok_str model, struct mm_err *err)
{
	static const char *const key[] = { KEY("pre"), "general.architecture" };
	struct mm_gguf_array a[4] = { v->tokens, v->types, v->scores, { 0 } };
	struct mm_hasher *h;
	uint8_t flags[2];
	if (mm_gguf_get_array(v->g, KEY("merges"), MM_GGUF_STRING, &a[3], err) || !(h = mm_hasher_new(err)))
		return -1;
	mm_hasher_str(h, "modelmap gguf vocabulary 1");
	mm_hasher_put(h, model.s, model.n);
	for (size_t i = 0; i < MM_COUNT(a); i++) {
		mm_hasher_put(h, &a[i].n, sizeof(a[i].n));
		mm_hasher_put(h, a[i].data, a[i].size);
	}
	for (size_t i = 0; i < MM_COUNT(key); i++) {
		struct tok_str s = { (const uint8_t *)"", 0 };
		if (get_str(v->g, key[i], &s, err)) {
			mm_hasher_free(h);
			return -1;
		}
		mm_hasher_put(h, &s.n, sizeof(s.n));
		mm_hasher_put(h, s.s, s.n);
	}
	flags[0] = v->tok->strip_prefix;
	flags[1] = (uint8_t)v->tok->norms.n;
	mm_hasher_put(h, flags, sizeof(flags));
	mm_hasher_put(h, v->tok->front, v->tok->n_front * sizeof(uint32_t));
	mm_hasher_put(h, v->tok->back, v->tok->n_back * sizeof(uint32_t));
	v->tok->hash = mm_hasher_get(h);
	mm_hasher_free(h);
	return 0;
}

int tok_gguf_build(struct mm_tok *tok, const struct mm_gguf *g, struct mm_err *err)
{
	struct gv v = { .g = g, .tok = tok };
	struct tok_str model;
	char shown[80];
	size_t i = 0;
	if (get_str(g, KEY("model"), &model, err))
		return -1;
	if (!model.n)
		return mm_fail(err, MM_ENOENT, "no tokenizer in the file");
	while (i < MM_COUNT(models) && !tok_str_is(model, models[i].model))
		i++;
	if (i == MM_COUNT(models)) {
		mm_utf8_sanitize(shown, sizeof(shown), model.s, model.n);
		return mm_fail(err, MM_EUNSUPPORTED, "tokenizer.ggml.model '%s' is not known", shown);
	}
	if (load(&v, err) || models[i].open(&v, err) || template(&v, err) || hash(&v, model, err))
		return -1;
	tok->n_vocab = v.tokens.n;
	return 0;
}

struct mm_tok *tok_open_gguf(const char *path, struct mm_err *err)
{
	struct mm_gguf *g = mm_gguf_open(path, err);
	struct mm_tok *tok = g ? tok_new(err) : NULL;
	if (tok && tok_gguf_build(tok, g, err)) {
		mm_tok_close(tok);
		tok = NULL;
	}
	mm_gguf_close(g);
	return tok;
}
