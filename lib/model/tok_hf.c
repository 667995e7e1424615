/* tok_hf.c - tokenizer.json: one object with the parts of the pipeline.
 *
 *	version, truncation, padding    the first is checked; texts are neither cut nor filled up here
 *	normalizer, pre_tokenizer, post_processor    small: parsed into trees by jansson
 *	added_tokens, model             large: pulled straight from the text (tok_json.c)
 *
 * Ids of added tokens follow the reference, which ignores the file's "id": a token that the model's vocabulary has
 *keeps its id there, the others are numbered on from the size of the vocabulary, in the order of the file.
 */
#include "model/tok_priv.h"

#include <math.h>
#include <string.h>

struct parts {
	struct tok_str added, normalizer, pre_tokenizer, post_processor, decoder, model;
};

static struct tok_json sub(const struct tok_json *j, struct tok_str span)
{
	struct tok_json s;
	tok_json_init(&s, span.s, span.n, j->what, j->err);
	return s;
}

static bool split_parts(struct tok_json *j, struct parts *p)
{
	const struct {
		const char *key;
		struct tok_str *span;
	} map[] = { { "added_tokens", &p->added }, { "normalizer", &p->normalizer },
		{ "pre_tokenizer", &p->pre_tokenizer }, { "post_processor", &p->post_processor },
		{ "decoder", &p->decoder }, { "model", &p->model } };
	struct tok_str key, v;
	if (!tok_json_object(j))
		return false;
	while (tok_json_key(j, &key)) {
		size_t i = 0;
		if (tok_str_is(key, "version")) {
			if (!tok_json_string(j, &v))
				return false;
			if (!tok_str_is(v, "1.0"))
				return tok_json_fail(j, "a version other than 1.0");
			continue;
		}
		while (i < MM_COUNT(map) && !tok_str_is(key, map[i].key))
			i++;
		if (!tok_json_skip(j, i < MM_COUNT(map) ? map[i].span : NULL))
			return false;
	}
	return tok_json_done(j);
}

/* ---- models ---- */

struct model_parts {
	char type[16];
	struct tok_str vocab, merges;
	bool has_unk_id;
	uint32_t unk_id, max_chars;
	bool has_unk, has_prefix, has_suffix, has_max, has_unk_key;
	struct mm_buf unk, prefix, suffix;
	bool byte_fallback, fuse_unk, ignore_merges;
};

static void model_parts_fini(struct model_parts *m)
{
	mm_buf_fini(&m->unk);
	mm_buf_fini(&m->prefix);
	mm_buf_fini(&m->suffix);
}

static bool opt_string(struct tok_json *j, struct mm_buf *out, bool *has)
{
	struct tok_str v;
	*has = false;
	if (tok_json_null(j))
		return true;
	if (!tok_json_string(j, &v))
		return false;
	out->len = 0;
	mm_buf_put(out, v.s, v.n);
	*has = true;
	if (!mm_buf_check(out, j->err))
		return true;
	j->failed = true;
	return false;
}

static bool opt_bool(struct tok_json *j, bool *out)
{
	return tok_json_null(j) || tok_json_bool(j, out);
}

static bool opt_u32(struct tok_json *j, uint32_t *out, bool *has)
{
	*has = false;
	if (tok_json_null(j))
		return true;
	*has = true;
	return tok_json_u32(j, out);
}

static bool model_field(struct tok_json *j, struct tok_str key, struct model_parts *m)
{
	struct tok_str v;
	if (tok_str_is(key, "type")) {
		if (!tok_json_string(j, &v))
			return false;
		if (v.n >= sizeof(m->type))
			return tok_json_fail(j, "a model type that is not known");
		memcpy(m->type, v.s, v.n);
		m->type[v.n] = 0;
		return true;
	}
	if (tok_str_is(key, "vocab"))
		return tok_json_skip(j, &m->vocab);
	if (tok_str_is(key, "merges"))
		return tok_json_skip(j, &m->merges);
	if (tok_str_is(key, "unk_token"))
		return opt_string(j, &m->unk, &m->has_unk);
	if (tok_str_is(key, "continuing_subword_prefix"))
		return opt_string(j, &m->prefix, &m->has_prefix);
	if (tok_str_is(key, "end_of_word_suffix"))
		return opt_string(j, &m->suffix, &m->has_suffix);
	if (tok_str_is(key, "byte_fallback"))
		return opt_bool(j, &m->byte_fallback);
	if (tok_str_is(key, "fuse_unk"))
		return opt_bool(j, &m->fuse_unk);
	if (tok_str_is(key, "ignore_merges"))
		return opt_bool(j, &m->ignore_merges);
	if (tok_str_is(key, "unk_id")) {
		m->has_unk_key = true;
		return opt_u32(j, &m->unk_id, &m->has_unk_id);
	}
	if (tok_str_is(key, "max_input_chars_per_word"))
		return opt_u32(j, &m->max_chars, &m->has_max);
	return tok_json_skip(j, NULL); /* dropout among them: encoding is the same each time */
}

/* {"token": id, ...} */
static int read_vocab(struct tok_json *outer, struct tok_str span, struct tok_vocab *v)
{
	struct tok_json j = sub(outer, span);
	struct tok_str key;
	uint32_t id;
	int rc = -1;
	if (tok_vocab_init(v, span.n / 16, j.err))
		return -1;
	if (tok_json_object(&j)) {
		while (tok_json_key(&j, &key)) {
			struct tok_str k = key;
			if (!tok_json_u32(&j, &id) || tok_vocab_put(v, k, id, j.err))
				goto out;
		}
		rc = j.failed ? -1 : tok_vocab_seal(v, j.err);
	}
out:
	tok_json_fini(&j);
	return rc;
}

static int put_merge(struct tok_bpe *b, const struct tok_vocab *v, struct tok_str left, struct tok_str right,
	uint32_t rank, struct mm_buf *tmp, struct mm_err *err)
{
	uint32_t l = tok_vocab_get(v, left.s, left.n), r = tok_vocab_get(v, right.s, right.n), id = TOK_NONE;
	if (l != TOK_NONE && r != TOK_NONE && right.n >= b->prefix.n) {
		tmp->len = 0;
		mm_buf_put(tmp, left.s, left.n);
		mm_buf_put(tmp, right.s + b->prefix.n, right.n - b->prefix.n);
		if (mm_buf_check(tmp, err))
			return -1;
		id = tok_vocab_get(v, tmp->data, tmp->len);
	}
	if (id == TOK_NONE)
		return mm_fail(err, MM_EFORMAT, "merge %lu makes a token, or is of one, that is not in the vocabulary",
			(unsigned long)rank);
	return tok_merges_put(&b->merges, l, r, rank, id, err);
}

int tok_bpe_merge_line(struct tok_bpe *b, const struct tok_vocab *v, struct tok_str line, uint32_t rank,
	struct mm_buf *tmp, struct mm_err *err)
{
	const uint8_t *sp = memchr(line.s, ' ', line.n), *end = line.s + line.n;
	if (!sp || memchr(sp + 1, ' ', (size_t)(end - sp - 1)))
		return mm_fail(
			err, MM_EFORMAT, "merge %lu is not two tokens with a space between", (unsigned long)rank);
	return put_merge(b, v, (struct tok_str){ line.s, (size_t)(sp - line.s) },
		(struct tok_str){ sp + 1, (size_t)(end - sp - 1) }, rank, tmp, err);
}

/* ["a b", ...] or [["a", "b"], ...] */
static int read_merges(struct tok_json *outer, struct tok_str span, struct tok_bpe *b, const struct tok_vocab *v)
{
	struct tok_json j = sub(outer, span);
	struct mm_buf tmp = { 0 };
	struct tok_str left, right;
	uint32_t rank = 0;
	int rc = tok_merges_init(&b->merges, span.n / 14, j.err), kind = 0;
	if (!rc && !tok_json_array(&j))
		rc = -1;
	while (!rc && tok_json_next(&j)) {
		int c = tok_json_peek(&j);
		if (kind && c != kind)
			rc = tok_json_fail(&j, "merges of two kinds") - 1;
		kind = c;
		if (!rc && c == '[') {
			bool ok = tok_json_array(&j) && tok_json_next(&j) && tok_json_string(&j, &left) &&
				  tok_json_next(&j) && tok_json_string(&j, &right);
			if (!ok || tok_json_next(&j))
				rc = tok_json_fail(&j, "a merge must be two tokens") - 1;
			else
				rc = j.failed ? -1 : put_merge(b, v, left, right, rank++, &tmp, j.err);
		} else if (!rc) {
			if (!tok_json_string(&j, &left))
				rc = -1;
			else if (left.n < 8 || memcmp(left.s, "#version", 8))
				rc = tok_bpe_merge_line(b, v, left, rank++, &tmp, j.err);
		}
	}
	rc = rc || j.failed ? -1 : 0;
	mm_buf_fini(&tmp);
	tok_json_fini(&j);
	return rc;
}

/* Keeps prefix and suffix in one buffer that does not move any more. */
int tok_bpe_affixes(struct tok_bpe *b, struct tok_str prefix, struct tok_str suffix, struct mm_err *err)
{
	mm_buf_put(&b->own, prefix.s, prefix.n);
	mm_buf_put(&b->own, suffix.s, suffix.n);
	mm_buf_put(&b->own, "", 1);
	if (mm_buf_check(&b->own, err))
		return -1;
	b->prefix = (struct tok_str){ b->own.data, prefix.n };
	b->suffix = (struct tok_str){ b->own.data + prefix.n, suffix.n };
	return 0;
}

static int build_bpe(struct mm_tok *tok, struct tok_json *j, struct model_parts *m)
{
	struct tok_bpe *b = mm_calloc(1, sizeof(*b), j->err);
	tok->ops = &tok_bpe_ops;
	tok->model = b;
	if (!b)
		return -1;
	if (!m->vocab.s || !m->merges.s)
		return mm_fail(j->err, MM_EFORMAT, "BPE model without vocab or merges");
	b->byte_fallback = m->byte_fallback;
	b->fuse_unk = m->fuse_unk;
	b->ignore_merges = m->ignore_merges;
	if (read_vocab(j, m->vocab, &tok->vocab) ||
		tok_bpe_affixes(b, (struct tok_str){ m->prefix.data, m->has_prefix ? m->prefix.len : 0 },
			(struct tok_str){ m->suffix.data, m->has_suffix ? m->suffix.len : 0 }, j->err) ||
		read_merges(j, m->merges, b, &tok->vocab))
		return -1;
	b->has_unk = m->has_unk;
	b->unk = m->has_unk ? tok_vocab_get(&tok->vocab, m->unk.data, m->unk.len) : TOK_NONE;
	return 0;
}

static int build_unigram(struct mm_tok *tok, struct tok_json *outer, struct model_parts *m)
{
	struct tok_json j = sub(outer, m->vocab);
	struct tok_unigram_opts opts = { .byte_fallback = m->byte_fallback,
		.unk = m->has_unk_id ? (int64_t)m->unk_id : -1 };
	double *score = NULL;
	size_t n = 0, cap = 0;
	struct tok_str s;
	int rc = m->vocab.s ? tok_vocab_init(&tok->vocab, m->vocab.n / 24, j.err)
			    : mm_fail(j.err, MM_EFORMAT, "Unigram model without vocab");
	if (!rc && !tok_json_array(&j))
		rc = -1;
	while (!rc && tok_json_next(&j)) {
		bool ok = tok_json_array(&j) && tok_json_next(&j) && tok_json_string(&j, &s) && tok_json_next(&j);
		if (!ok || mm_grow(&score, &cap, n + 1, sizeof(*score), j.err)) {
			rc = ok ? -1 : tok_json_fail(&j, "a piece must be [token, score]") - 1;
			break;
		}
		if (!tok_json_double(&j, &score[n]) || tok_json_next(&j))
			rc = tok_json_fail(&j, "a piece must be [token, score]") - 1;
		else
			rc = j.failed ? -1 : tok_vocab_put(&tok->vocab, s, (uint32_t)n++, j.err);
	}
	if (!rc && !j.failed && m->has_unk_id && m->unk_id >= n)
		rc = mm_fail(j.err, MM_EFORMAT, "Unigram model: unk_id is not in the vocabulary");
	if (!rc && !j.failed && !tok_vocab_seal(&tok->vocab, j.err)) {
		tok->ops = &tok_unigram_ops;
		tok->n_vocab = n; /* what added tokens are numbered on from */
		tok->model = tok_unigram_new(&tok->vocab, score, NULL, &opts, j.err);
	}
	mm_free(score);
	tok_json_fini(&j);
	return tok->model ? 0 : -1;
}

static int build_wordpiece(struct mm_tok *tok, struct tok_json *j, struct model_parts *m, bool level)
{
	struct tok_wordpiece *w;
	if (!m->vocab.s || !m->has_unk || (!level && (!m->has_prefix || !m->has_max)))
		return mm_fail(j->err, MM_EFORMAT, "%s model without vocab, unk_token or other parts", m->type);
	if (read_vocab(j, m->vocab, &tok->vocab))
		return -1;
	w = tok_wordpiece_new(&tok->vocab, (struct tok_str){ m->unk.data, m->unk.len },
		(struct tok_str){ m->prefix.data, m->prefix.len }, m->max_chars, j->err);
	tok->ops = level ? &tok_wordlevel_ops : &tok_wordpiece_ops;
	tok->model = w;
	return w ? 0 : -1;
}

/* Files of early versions do not say which model they hold. */
static void guess_type(const struct model_parts *m)
{
	const char *type = m->merges.s			      ? "BPE"
			   : m->vocab.s && *m->vocab.s == '[' ? "Unigram"
			   : m->has_prefix && m->has_max      ? "WordPiece"
							      : "WordLevel";
	strcpy((char *)m->type, type);
}

static int build_model(struct mm_tok *tok, struct tok_json *outer, struct tok_str span)
{
	struct tok_json j = sub(outer, span);
	struct model_parts m = { .max_chars = 100 };
	struct tok_str key;
	int rc = -1;
	if (tok_json_object(&j)) {
		while (tok_json_key(&j, &key) && model_field(&j, key, &m))
			;
		rc = j.failed ? -1 : 0;
	}
	if (!rc && !m.type[0])
		guess_type(&m);
	if (!rc) {
		if (!strcmp(m.type, "BPE"))
			rc = build_bpe(tok, &j, &m);
		else if (!strcmp(m.type, "Unigram"))
			rc = build_unigram(tok, &j, &m);
		else if (!strcmp(m.type, "WordPiece") || !strcmp(m.type, "WordLevel"))
			rc = build_wordpiece(tok, &j, &m, m.type[4] == 'L');
		else
			rc = mm_fail(j.err, MM_EUNSUPPORTED, "model '%s' is not known", m.type);
	}
	model_parts_fini(&m);
	tok_json_fini(&j);
	return rc;
}

/* ---- added tokens ---- */

static bool added_field(
	struct tok_json *j, struct tok_str key, struct tok_added_token *t, struct mm_buf *content, bool *has)
{
	uint32_t id;
	if (tok_str_is(key, "content"))
		return opt_string(j, content, has);
	if (tok_str_is(key, "single_word"))
		return tok_json_bool(j, &t->single_word);
	if (tok_str_is(key, "lstrip"))
		return tok_json_bool(j, &t->lstrip);
	if (tok_str_is(key, "rstrip"))
		return tok_json_bool(j, &t->rstrip);
	if (tok_str_is(key, "normalized"))
		return tok_json_bool(j, &t->normalized);
	if (tok_str_is(key, "special"))
		return tok_json_bool(j, &t->special);
	if (tok_str_is(key, "id"))
		return tok_json_u32(j, &id);
	return tok_json_skip(j, NULL);
}

int tok_added_number(
	struct mm_tok *tok, struct tok_added_token *t, struct tok_vocab *seen, uint32_t *next, struct mm_err *err)
{
	struct tok_ctx *c;
	uint32_t id;
	size_t zero = 0;
	int rc = 0;
	if (!t->text.n)
		return 0;
	id = tok_vocab_get(seen, t->text.s, t->text.n);
	if (id == TOK_NONE)
		id = tok_vocab_get(&tok->vocab, t->text.s, t->text.n);
	if (id == TOK_NONE)
		id = (*next)++;
	if (id > TOK_ID_MAX)
		return mm_fail(err, MM_EFORMAT, "added token with id %lu", (unsigned long)id);
	t->id = id;
	t->norm = t->text;
	c = tok_ctx_take(tok, err);
	if (!c)
		return -1;
	if (t->normalized)
		rc = tok_norms_run(&tok->norms, c, &t->norm, &zero);
	if (!rc)
		rc = tok_vocab_put(seen, t->text, id, err);
	if (!rc)
		rc = tok_added_put(&tok->added, t, err);
	tok_ctx_give(tok, c);
	return rc;
}

static int build_added(struct mm_tok *tok, struct tok_json *outer, struct tok_str span)
{
	struct tok_json j = sub(outer, span);
	struct tok_vocab seen = { 0 };
	struct mm_buf content = { 0 };
	uint32_t next = (uint32_t)MM_MAX(tok->vocab.n, tok->n_vocab);
	struct tok_str key;
	int rc = tok_vocab_init(&seen, 64, j.err);
	if (!rc && !tok_json_array(&j))
		rc = -1;
	while (!rc && tok_json_next(&j)) {
		struct tok_added_token t = { .normalized = true };
		bool has = false;
		if (!tok_json_object(&j))
			break;
		while (tok_json_key(&j, &key) && added_field(&j, key, &t, &content, &has))
			;
		if (j.failed)
			break;
		if (!has) {
			tok_json_fail(&j, "an added token without content");
			break;
		}
		t.text = (struct tok_str){ content.data, content.len };
		rc = tok_added_number(tok, &t, &seen, &next, j.err);
	}
	rc = rc || j.failed ? -1 : tok_added_settle(&tok->added, j.err);
	tok_vocab_fini(&seen);
	mm_buf_fini(&content);
	tok_json_fini(&j);
	return rc ? mm_wrap(outer->err, "added_tokens") : 0;
}

/* ---- all ---- */

static json_t *tree(struct tok_str span, const char *what, struct mm_err *err)
{
	return mm_json_parse((const char *)span.s, span.n, what, err);
}

static int build_pipeline(struct mm_tok *tok, const struct parts *p, struct mm_err *err)
{
	const struct {
		struct tok_str span;
		const char *what;
	} part[] = { { p->normalizer, "normalizer" }, { p->pre_tokenizer, "pre_tokenizer" },
		{ p->post_processor, "post_processor" } };
	for (size_t i = 0; i < MM_COUNT(part); i++) {
		json_t *j;
		int rc;
		if (!part[i].span.s || *part[i].span.s == 'n') /* null */
			continue;
		j = tree(part[i].span, part[i].what, err);
		if (!j)
			return -1;
		rc = i == 0   ? tok_norms_parse(&tok->norms, j, 0, err)
		     : i == 1 ? tok_pres_parse(&tok->pres, j, 0, err)
			      : tok_post_parse(tok, j, err);
		json_decref(j);
		if (rc)
			return -1;
	}
	return 0;
}

int tok_hf_parse(struct mm_tok *tok, const void *data, size_t n, const char *what, struct mm_err *err)
{
	struct tok_json j;
	struct parts p = { 0 };
	int rc = -1;
	if (!tok_utf8_valid(data, n))
		return mm_fail(err, MM_EFORMAT, "%s is not valid UTF-8", what);
	tok_json_init(&j, data, n, what, err);
	if (split_parts(&j, &p)) {
		if (!p.model.s)
			rc = mm_fail(err, MM_EFORMAT, "%s has no model", what);
		else
			rc = build_model(tok, &j, p.model);
		if (!rc)
			rc = build_pipeline(tok, &p, err);
		if (!rc)
			rc = tok_pipeline_seal(tok, err);
		if (!rc && p.added.s)
			rc = build_added(tok, &j, p.added);
		if (!rc)
			rc = tok_added_seal(&tok->added, err);
	}
	tok_json_fini(&j);
	return rc;
}
