/* tok.c - tokenizers as the rest of the program sees them: open, encode, decode. */
#include "model/tok_priv.h"

#include <string.h>

struct mm_tok *tok_new(struct mm_err *err)
{
	struct mm_tok *tok = mm_calloc(1, sizeof(*tok), err);
	if (!tok)
		return NULL;
	tok_uni_init();
	tok->bos = tok->eos = -1;
	tok->class = "none";
	tok->lock = mm_calloc(1, sizeof(*tok->lock), err);
	tok->free_ctx = mm_calloc(1, sizeof(*tok->free_ctx), err);
	if (!tok->lock || !tok->free_ctx) {
		mm_free(tok->lock);
		mm_free(tok->free_ctx);
		mm_free(tok);
		return NULL;
	}
	pthread_mutex_init(tok->lock, NULL);
	return tok;
}

void mm_tok_close(struct mm_tok *tok)
{
	if (!tok)
		return;
	while (*tok->free_ctx) {
		struct tok_ctx *c = *tok->free_ctx;
		*tok->free_ctx = c->next;
		tok_ctx_free(c);
	}
	if (tok->ops)
		tok->ops->free(tok->model);
	tok_vocab_fini(&tok->vocab);
	tok_norms_fini(&tok->norms);
	tok_pres_fini(&tok->pres);
	tok_added_fini(&tok->added);
	mm_free(tok->front);
	mm_free(tok->back);
	pthread_mutex_destroy(tok->lock);
	mm_free(tok->lock);
	mm_free(tok->free_ctx);
	mm_free(tok);
}

int tok_pipeline_seal(struct mm_tok *tok, struct mm_err *err)
{
	bool bpe = tok->ops == &tok_bpe_ops;
	struct tok_bpe *b = tok->model;
	tok_pres_seal(&tok->pres, bpe && !b->raw, tok_norms_bytelevel(&tok->norms));
	tok->strip_prefix = tok_norms_prepend(&tok->norms) || tok_pres_prepend(&tok->pres);
	tok->class = tok->ops->name;
	if (!bpe)
		return 0;
	if (tok_bpe_seal(b, &tok->vocab, tok->pres.bytes, err))
		return -1;
	tok->class = b->raw		? "bpe-tiktoken"
		     : b->bytes		? "bpe-bytelevel"
		     : b->byte_fallback ? "bpe-sentencepiece"
					: "bpe";
	return 0;
}

uint32_t tok_lookup(const struct mm_tok *tok, struct tok_str s)
{
	for (size_t i = tok->added.n; i-- > 0;)
		if (tok->added.tok[i].text.n == s.n && !memcmp(tok->added.tok[i].text.s, s.s, s.n))
			return tok->added.tok[i].id;
	return tok_vocab_get(&tok->vocab, s.s, s.n);
}

/* ---- encoding ---- */

/* A segment between raw added tokens: normalized, cut at the others, and on to the pre-tokenizers. */
static int encode_segment(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str s, size_t zero)
{
	struct tok_added_iter it;
	struct tok_split sp;
	if (tok_norms_run(&tok->norms, c, &s, &zero))
		return -1;
	if (!tok->added.normalized)
		return tok_pres_run(tok, c, s, zero);
	tok_added_iter_init(&it, &tok->added, tok->added.normalized, s, c->plain);
	while (tok_added_iter_next(&it, &sp)) {
		struct tok_str part = { s.s + sp.from, sp.to - sp.from };
		if (part.n && tok_pres_run(tok, c, part, zero > sp.from ? zero - sp.from : 0))
			return -1;
		if (sp.token && tok_emit(c, sp.token->id))
			return -1;
	}
	return 0;
}

static int encode_text(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str text)
{
	struct tok_added_iter it;
	struct tok_split sp;
	uint32_t cp;
	tok_added_iter_init(&it, &tok->added, tok->added.raw, text, c->plain);
	while (tok_added_iter_next(&it, &sp)) {
		struct tok_str part = { text.s + sp.from, sp.to - sp.from };
		if (part.n && encode_segment(tok, c, part, sp.from ? 0 : tok_utf8(part.s, part.s + part.n, &cp)))
			return -1;
		if (sp.token && tok_emit(c, sp.token->id))
			return -1;
	}
	return 0;
}

static int emit_all(struct tok_ctx *c, const uint32_t *id, size_t n)
{
	if (!n)
		return 0;
	if (tok_ids_room(c->out, n, c->err))
		return -1;
	memcpy(c->out->id + c->out->n, id, n * sizeof(*id));
	c->out->n += n;
	return 0;
}

int mm_tok_encode(
	const struct mm_tok *tok, const char *text, size_t len, unsigned flags, struct mm_ids *out, struct mm_err *err)
{
	struct tok_str s = { (const uint8_t *)text, len };
	struct tok_ctx *c;
	size_t before = out->n;
	int rc = 0;
	if (len > TOK_TEXT_MAX)
		return mm_fail(err, MM_EINVAL, "text of %zu bytes", len);
	if (!tok_utf8_valid(s.s, s.n))
		return mm_fail(err, MM_EINVAL, "text is not valid UTF-8");
	c = tok_ctx_take(tok, err);
	if (!c)
		return -1;
	c->out = out;
	c->plain = flags & MM_TOK_PLAIN;
	if (flags & MM_TOK_SPECIAL)
		rc = emit_all(c, tok->front, tok->n_front);
	if (!rc)
		rc = encode_text(tok, c, s);
	if (!rc && (flags & MM_TOK_SPECIAL))
		rc = emit_all(c, tok->back, tok->n_back);
	if (rc)
		out->n = before;
	tok_ctx_give(tok, c);
	return rc;
}

/* ---- decoding ---- */

int mm_tok_bytes(const struct mm_tok *tok, uint32_t id, struct mm_buf *out, struct mm_err *err)
{
	const struct tok_added_token *t = tok_added_by_id(&tok->added, id);
	struct tok_str s;
	if (t)
		mm_buf_put(out, t->text.s, t->text.n);
	else if (tok_vocab_text(&tok->vocab, id, &s))
		tok->ops->bytes(tok, s, out);
	else
		return mm_fail(err, MM_EINVAL, "token id %lu is not in the vocabulary", (unsigned long)id);
	return mm_buf_check(out, err);
}

int mm_tok_decode(const struct mm_tok *tok, const uint32_t *id, size_t n, struct mm_buf *out, struct mm_err *err)
{
	size_t from = out->len;
	for (size_t i = 0; i < n; i++)
		if (mm_tok_bytes(tok, id[i], out, err))
			return -1;
	if (tok->strip_prefix && out->len > from && out->data[from] == ' ') {
		memmove(out->data + from, out->data + from + 1, out->len - from - 1);
		out->data[--out->len] = 0;
	}
	return 0;
}

/* ---- what it is ---- */

void mm_tok_template(
	const struct mm_tok *tok, const uint32_t **front, size_t *n_front, const uint32_t **back, size_t *n_back)
{
	*front = tok->front;
	*n_front = tok->n_front;
	*back = tok->back;
	*n_back = tok->n_back;
}

int64_t mm_tok_bos(const struct mm_tok *tok)
{
	return tok->bos;
}

int64_t mm_tok_eos(const struct mm_tok *tok)
{
	return tok->eos;
}

size_t mm_tok_n_vocab(const struct mm_tok *tok)
{
	return tok->n_vocab;
}

struct mm_hash mm_tok_hash(const struct mm_tok *tok)
{
	return tok->hash;
}

const char *mm_tok_class(const struct mm_tok *tok)
{
	return tok->class;
}
