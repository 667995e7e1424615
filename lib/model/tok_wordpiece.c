/* tok_wordpiece.c - WordPiece: longest entry from the left, the following ones with a prefix ("##"); and WordLevel: a
 * word is one token or unknown.
 *
 * A WordPiece word that cannot be covered, or is longer than max_input_chars_per_word, is one unknown token. Candidates
 * longer than the longest entry are not tried, so a word costs length times that at most.
 */
#include "model/tok_priv.h"

#include <string.h>

struct tok_wordpiece *tok_wordpiece_new(
	const struct tok_vocab *v, struct tok_str unk, struct tok_str prefix, size_t max_chars, struct mm_err *err)
{
	struct tok_wordpiece *w = mm_calloc(1, sizeof(*w), err);
	if (!w)
		return NULL;
	mm_buf_put(&w->own, unk.s, unk.n);
	mm_buf_put(&w->own, prefix.s, prefix.n);
	mm_buf_put(&w->own, "", 1);
	if (mm_buf_check(&w->own, err)) {
		tok_wordpiece_ops.free(w);
		return NULL;
	}
	w->unk = (struct tok_str){ w->own.data, unk.n };
	w->prefix = (struct tok_str){ w->own.data + unk.n, prefix.n };
	w->unk_id = tok_vocab_get(v, unk.s, unk.n);
	w->max_chars = max_chars;
	w->max_len = v->max_len;
	return w;
}

static void wordpiece_free(void *model)
{
	struct tok_wordpiece *w = model;
	if (w)
		mm_buf_fini(&w->own);
	mm_free(w);
}

static int unknown(const struct tok_wordpiece *w, struct tok_ctx *c)
{
	if (w->unk_id == TOK_NONE)
		return mm_fail(c->err, MM_EFORMAT, "the text needs the unknown token, which is not in the vocabulary");
	return tok_emit(c, w->unk_id);
}

/* Longest entry that begins at `from`: its end, `from` when there is none. */
static size_t longest(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str s, size_t from, uint32_t *id)
{
	const struct tok_wordpiece *w = tok->model;
	size_t lead = from ? w->prefix.n : 0, end = s.n;
	struct mm_buf *b = &c->piece;
	if (lead > w->max_len)
		return from;
	if (end - from > w->max_len - lead) {
		end = from + (w->max_len - lead);
		while (end > from && (s.s[end] & 0xc0) == 0x80)
			end--;
	}
	b->len = 0;
	if (from)
		mm_buf_put(b, w->prefix.s, w->prefix.n);
	mm_buf_put(b, s.s + from, end - from);
	if (b->failed)
		return from;
	while (end > from) {
		*id = tok_vocab_get(&tok->vocab, b->data, lead + (end - from));
		if (*id != TOK_NONE)
			return end;
		do
			end--;
		while (end > from && (s.s[end] & 0xc0) == 0x80);
	}
	return from;
}

static bool too_long(struct tok_str s, size_t max_chars)
{
	size_t chars = 0;
	if (s.n <= max_chars)
		return false;
	for (size_t i = 0; i < s.n; i++)
		chars += (s.s[i] & 0xc0) != 0x80;
	return chars > max_chars;
}

static int encode_wordpiece(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str piece)
{
	const struct tok_wordpiece *w = tok->model;
	size_t first = c->out->n;
	struct tok_word *slot;
	if (too_long(piece, w->max_chars))
		return unknown(w, c);
	if (tok_cache_get(c, piece, &slot))
		return 0;
	for (size_t at = 0; at < piece.n;) {
		uint32_t id;
		size_t end = longest(tok, c, piece, at, &id);
		if (mm_buf_check(&c->piece, c->err))
			return -1;
		if (end == at) {
			c->out->n = first;
			if (unknown(w, c))
				return -1;
			break;
		}
		if (tok_emit(c, id))
			return -1;
		at = end;
	}
	tok_cache_put(c, slot, piece, first);
	return 0;
}

static int encode_wordlevel(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str piece)
{
	uint32_t id = tok_vocab_get(&tok->vocab, piece.s, piece.n);
	return id == TOK_NONE ? unknown(tok->model, c) : tok_emit(c, id);
}

/* Pieces of a word stick together, words get a space in front. */
static void bytes_of(const struct mm_tok *tok, struct tok_str token, struct mm_buf *out)
{
	const struct tok_wordpiece *w = tok->model;
	bool inner = w->prefix.n && token.n >= w->prefix.n && !memcmp(token.s, w->prefix.s, w->prefix.n);
	size_t skip = inner ? w->prefix.n : 0;
	if (!inner)
		mm_buf_u8(out, ' ');
	mm_buf_put(out, token.s + skip, token.n - skip);
}

const struct tok_model_ops tok_wordpiece_ops = { "wordpiece", encode_wordpiece, wordpiece_free, bytes_of };
const struct tok_model_ops tok_wordlevel_ops = { "wordlevel", encode_wordlevel, wordpiece_free, bytes_of };
