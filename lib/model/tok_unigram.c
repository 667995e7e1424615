/* tok_unigram.c - Unigram: the segmentation with the highest sum of scores (Viterbi over the bytes of a piece).
 *
 *	best[i]: score of the best way to reach byte i, and where its last piece begins and which it is
 *
 * Two references, two arithmetics: the Rust library keeps doubles, SentencePiece floats, and it prefers user-defined
 *pieces. A path that ties with the best so far does not replace it. A character without a piece of its own costs 10
 *more than the worst piece; neighbouring unknowns become one.
 */
#include "model/tok_priv.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 }; /* as in SentencePiece's files */

struct tok_unigram {
	struct tok_trie *trie;
	double *score; /* [n] by id */
	uint8_t *type; /* [n], SentencePiece only */
	size_t n;
	struct tok_unigram_opts opts;
	double unk_score;
	float min, max;
	bool bytes;
	uint32_t byte_id[256];
};

struct best {
	double score;
	uint32_t from, id; /* from TOK_NONE: not reached */
};

static void unigram_free(void *model)
{
	struct tok_unigram *u = model;
	if (!u)
		return;
	tok_trie_free(u->trie);
	mm_free(u->score);
	mm_free(u->type);
	mm_free(u);
}

static void extremes(struct tok_unigram *u)
{
	double min = INFINITY;
	u->min = FLT_MAX;
	u->max = FLT_MIN;
	for (size_t i = 0; i < u->n; i++) {
		min = u->score[i] < min ? u->score[i] : min;
		if (u->type && u->type[i] == NORMAL) {
			u->min = MM_MIN(u->min, (float)u->score[i]);
			u->max = MM_MAX(u->max, (float)u->score[i]);
		}
	}
	u->unk_score = u->opts.spm ? (double)(u->min - 10.0f) : min - 10.0;
}

struct tok_unigram *tok_unigram_new(const struct tok_vocab *v, const double *score, const uint8_t *type,
	const struct tok_unigram_opts *opts, struct mm_err *err)
{
	struct tok_unigram *u = mm_calloc(1, sizeof(*u), err);
	size_t n = v->n ? (size_t)v->max_id + 1 : 0;
	if (!u)
		return NULL;
	u->opts = *opts;
	u->n = n;
	u->trie = tok_trie_new(v->blob.len / 2, err);
	u->score = mm_calloc(n, sizeof(*score), err);
	if (!u->trie || !u->score || (type && !(u->type = mm_calloc(n, 1, err))))
		goto fail;
	if (n) /* an empty vocabulary has no scores */
		memcpy(u->score, score, n * sizeof(*score));
	if (n && type)
		memcpy(u->type, type, n);
	for (size_t i = 0; i < v->n; i++) {
		const struct tok_ent *e = &v->ent[i];
		bool in = !type || type[e->id] == NORMAL || type[e->id] == USER_DEFINED;
		if (in && e->len &&
			tok_trie_put(u->trie, (struct tok_str){ v->blob.data + e->off, e->len }, e->id, err))
			goto fail;
	}
	extremes(u);
	u->bytes = opts->byte_fallback;
	for (unsigned b = 0; b < 256; b++) {
		char code[8];
		snprintf(code, sizeof(code), "<0x%02X>", b);
		u->byte_id[b] = tok_vocab_get(v, (const uint8_t *)code, 6);
		if (opts->spm && u->byte_id[b] == TOK_NONE)
			u->bytes = false;
	}
	return u;
fail:
	unigram_free(u);
	return NULL;
}

static void reach(struct best *b, double score, uint32_t from, uint32_t id, bool single)
{
	if (b->from != TOK_NONE && !(score > b->score))
		return;
	*b = (struct best){ single ? (float)score : score, from, id };
}

static double score_of(const struct tok_unigram *u, uint32_t id, size_t len)
{
	if (u->opts.spm && u->type[id] == USER_DEFINED)
		return (double)((float)len * u->max) - 0.1;
	return u->score[id];
}

static int forward(const struct tok_unigram *u, struct tok_ctx *c, struct tok_str s, struct best *best)
{
	bool spm = u->opts.spm;
	for (size_t at = 0; at < s.n;) {
		uint32_t cp, node = 0;
		size_t first = tok_utf8(s.s + at, s.s + s.n, &cp);
		double here = best[at].score;
		bool single = false;
		for (size_t i = at; i < s.n; i++) {
			uint32_t id;
			size_t len = i + 1 - at;
			node = tok_trie_step(u->trie, node, s.s[i]);
			if (node == TOK_NONE)
				break;
			id = tok_trie_value(u->trie, node);
			if (id == TOK_NONE)
				continue;
			reach(&best[i + 1], score_of(u, id, len) + here, (uint32_t)at, id, spm);
			single = single || len == first;
		}
		if (!single) {
			/* SentencePiece adds two floats here, and doubles above */
			double unk = spm ? (double)((float)u->unk_score + (float)here) : u->unk_score + here;
			struct best *b = &best[at + first];
			if (u->opts.unk < 0 && (b->from == TOK_NONE || unk > b->score))
				return mm_fail(c->err, MM_EFORMAT,
					"the text needs the unknown token, which the model does not have");
			reach(b, unk, (uint32_t)at, (uint32_t)u->opts.unk, spm);
		}
		at += first;
	}
	return 0;
}

static int emit_unknown(const struct tok_unigram *u, const struct mm_tok *tok, struct tok_ctx *c, struct tok_str s)
{
	bool all = u->bytes;
	uint32_t id;
	if (!u->opts.spm) { /* a run of unknowns, joined, may be an entry that no trie path led to */
		id = tok_vocab_get(&tok->vocab, s.s, s.n);
		if (id != TOK_NONE)
			return tok_emit(c, id);
	}
	for (size_t i = 0; all && i < s.n; i++)
		all = u->byte_id[s.s[i]] != TOK_NONE;
	if (!all)
		return tok_emit(c, (uint32_t)u->opts.unk);
	for (size_t i = 0; i < s.n; i++)
		if (tok_emit(c, u->byte_id[s.s[i]]))
			return -1;
	return 0;
}

/* From the end, then forward again over the positions that were collected. */
static int backward(const struct tok_unigram *u, const struct mm_tok *tok, struct tok_ctx *c, struct tok_str s,
	const struct best *best)
{
	size_t n = 0;
	for (size_t at = s.n; at; at = best[at].from)
		n++;
	if (mm_grow(&c->sym, &c->sym_cap, n, sizeof(*c->sym), c->err))
		return -1;
	for (size_t at = s.n, i = n; at; at = best[at].from)
		c->sym[--i] = (uint32_t)at;
	for (size_t i = 0; i < n; i++) {
		size_t from = best[c->sym[i]].from, to = c->sym[i];
		uint32_t id = best[to].id;
		if ((int64_t)id != u->opts.unk) {
			if (tok_emit(c, id))
				return -1;
			continue;
		}
		/* SentencePiece cuts unknowns into bytes one by one, which is the same */
		while (i + 1 < n && (int64_t)best[c->sym[i + 1]].id == u->opts.unk)
			to = c->sym[++i];
		if (emit_unknown(u, tok, c, (struct tok_str){ s.s + from, to - from }))
			return -1;
	}
	return 0;
}

int tok_unigram_run(const struct tok_unigram *u, const struct mm_tok *tok, struct tok_ctx *c, struct tok_str s)
{
	struct best *best;
	size_t need = (s.n + 1) * sizeof(*best);
	if (!s.n)
		return 0;
	if (mm_grow(&c->path, &c->path_cap, need, 1, c->err))
		return -1;
	best = c->path;
	for (size_t i = 0; i <= s.n; i++)
		best[i] = (struct best){ 0, TOK_NONE, 0 };
	return forward(u, c, s, best) || backward(u, tok, c, s, best) ? -1 : 0;
}

static int encode(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str piece)
{
	size_t first = c->out->n;
	struct tok_word *slot;
	if (tok_cache_get(c, piece, &slot))
		return 0;
	if (tok_unigram_run(tok->model, tok, c, piece))
		return -1;
	tok_cache_put(c, slot, piece, first);
	return 0;
}

static void bytes_of(const struct mm_tok *tok, struct tok_str token, struct mm_buf *out)
{
	const struct tok_unigram *u = tok->model;
	int byte = u->bytes ? tok_byte_token(token) : -1;
	if (byte >= 0)
		mm_buf_u8(out, (uint8_t)byte);
	else
		tok_meta_spaces(token, out);
}

const struct tok_model_ops tok_unigram_ops = { "unigram", encode, unigram_free, bytes_of };
