/* tok_bpe.c - the BPE model of tokenizer.json, and of everything that is brought into its form.
 *
 * A piece becomes symbols (one a character; one a byte where the text is byte-level), symbols are merged by
 * tok_merge.c.
 *
 * Byte-level vocabularies are written in GPT-2's byte alphabet, but pieces stay plain bytes here: first[][] has the
 * symbol of every byte. What the reference does with a character that has no symbol: with byte_fallback its bytes
 * <0xNN> if all of them are there, else the unknown token, else nothing. An unknown token is held back until the next
 * known symbol (so that fuse_unk can join a run), and bytes do not count as known: they overtake it.
 *
 * Without a pre-tokenizer a whole segment is one word. Where no merged token has U+2581 behind another character, no
 * merge can cross the place in front of a U+2581, so the word is cut there: same ids, but the word cache works and
 * nothing is long. `glue` lists the characters for which some token forbids that.
 */
#include "model/tok_priv.h"

#include <string.h>

/* The symbols of one character that is not in the vocabulary as it stands. */
struct pending {
	bool any;
	uint32_t *sym;
	size_t n;
};

static int unknown(const struct mm_tok *tok, struct tok_ctx *c, const uint8_t *s, size_t n, struct pending *p)
{
	const struct tok_bpe *b = tok->model;
	bool all = b->byte_fallback;
	for (size_t i = 0; all && i < n; i++)
		all = b->byte_id[s[i]] != TOK_NONE;
	if (all) {
		for (size_t i = 0; i < n; i++)
			p->sym[p->n++] = b->byte_id[s[i]];
		return 0;
	}
	if (!b->has_unk)
		return 0;
	if (b->unk == TOK_NONE)
		return mm_fail(c->err, MM_EFORMAT, "the text needs the unknown token, which is not in the vocabulary");
	if (p->any && !b->fuse_unk)
		p->sym[p->n++] = b->unk;
	p->any = true;
	return 0;
}

static void known(const struct tok_bpe *b, struct pending *p, uint32_t id)
{
	if (p->any)
		p->sym[p->n++] = b->unk;
	p->any = false;
	p->sym[p->n++] = id;
}

/* One character with the prefix and the suffix that its place asks for; `s` in the vocabulary's spelling. */
static int spelled(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str s, unsigned place, struct pending *p)
{
	const struct tok_bpe *b = tok->model;
	struct mm_buf *t = &c->piece;
	uint32_t id;
	t->len = 0;
	if (place & 2)
		mm_buf_put(t, b->prefix.s, b->prefix.n);
	mm_buf_put(t, s.s, s.n);
	if (place & 1)
		mm_buf_put(t, b->suffix.s, b->suffix.n);
	if (mm_buf_check(t, c->err))
		return -1;
	id = tok_vocab_get(&tok->vocab, t->data, t->len);
	if (id == TOK_NONE)
		return unknown(tok, c, t->data, t->len, p);
	known(b, p, id);
	return 0;
}

static int symbols(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str piece, size_t *n_sym)
{
	const struct tok_bpe *b = tok->model;
	struct pending p = { false, NULL, 0 };
	size_t per = (b->bytes ? 3 : 2) + (b->byte_fallback ? b->prefix.n + b->suffix.n : 0), need;
	if (!mm_mul(piece.n + 1, per, &need) || mm_grow(&c->sym, &c->sym_cap, need, sizeof(*c->sym), c->err))
		return -1;
	p.sym = c->sym;
	for (size_t i = 0; i < piece.n;) {
		uint32_t cp, id = TOK_NONE;
		size_t n = 1;
		unsigned place;
		if (!b->bytes && !b->raw)
			n = tok_utf8(piece.s + i, piece.s + piece.n, &cp);
		place = (i ? 2u : 0) | (i + n == piece.n ? 1u : 0);
		if (n == 1)
			id = b->first[place][piece.s[i]];
		if (id != TOK_NONE) {
			known(b, &p, id);
		} else if (b->bytes) {
			uint8_t ch[2];
			if (spelled(tok, c, (struct tok_str){ ch, tok_byte_char(piece.s[i], ch) }, place, &p))
				return -1;
		} else if (spelled(tok, c, (struct tok_str){ piece.s + i, n }, place, &p)) {
			return -1;
		}
		i += n;
	}
	if (p.any)
		p.sym[p.n++] = b->unk;
	*n_sym = p.n;
	return 0;
}

/* The id of the piece as a whole, in the vocabulary's spelling. */
static uint32_t whole(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str piece)
{
	const struct tok_bpe *b = tok->model;
	if (!b->bytes)
		return tok_vocab_get(&tok->vocab, piece.s, piece.n);
	if (piece.n > tok->vocab.max_len)
		return TOK_NONE;
	c->piece.len = 0;
	tok_bytes_map(&c->piece, piece.s, piece.n);
	return c->piece.failed ? TOK_NONE : tok_vocab_get(&tok->vocab, c->piece.data, c->piece.len);
}

static int encode_word(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str piece)
{
	const struct tok_bpe *b = tok->model;
	struct tok_word *slot;
	size_t n, first = c->out->n;
	if (tok_cache_get(c, piece, &slot))
		return 0;
	if (b->ignore_merges) {
		uint32_t id = whole(tok, c, piece);
		if (id != TOK_NONE) {
			if (tok_emit(c, id))
				return -1;
			tok_cache_put(c, slot, piece, first);
			return 0;
		}
	}
	if (symbols(tok, c, piece, &n))
		return -1;
	n = tok_merge_run(&b->merges, c, c->sym, n);
	if (n == SIZE_MAX || tok_ids_room(c->out, n, c->err))
		return -1;
	if (n)
		memcpy(c->out->id + c->out->n, c->sym, n * sizeof(*c->sym));
	c->out->n += n;
	tok_cache_put(c, slot, piece, first);
	return 0;
}

bool tok_glued(const uint8_t *glue, const uint8_t *begin, const uint8_t *at)
{
	const uint8_t *p = at - 1;
	uint32_t cp;
	while (p > begin && (*p & 0xc0) == 0x80)
		p--;
	tok_utf8(p, at, &cp);
	return glue[cp >> 3] >> (cp & 7) & 1;
}

/* Marks the characters that stand in front of U+2581 in the token. */
void tok_glue_mark(uint8_t *glue, struct tok_str s)
{
	uint32_t cp, before = 0;
	if (s.n < 4 || !memchr(s.s + 1, 0xe2, s.n - 1))
		return;
	for (size_t k = 0; k < s.n;) {
		bool first = !k;
		k += tok_utf8(s.s + k, s.s + s.n, &cp);
		if (cp == 0x2581 && !first)
			glue[before >> 3] |= (uint8_t)(1u << (before & 7));
		before = cp;
	}
}

static int encode_cut(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str piece)
{
	const struct tok_bpe *b = tok->model;
	const uint8_t *from = piece.s, *end = piece.s + piece.n, *p = piece.s + 1;
	while (p < end && (p = memchr(p, 0xe2, (size_t)(end - p)))) {
		if (end - p >= 3 && p[1] == 0x96 && p[2] == 0x81 && !tok_glued(b->glue, piece.s, p)) {
			if (encode_word(tok, c, (struct tok_str){ from, (size_t)(p - from) }))
				return -1;
			from = p;
		}
		p++;
	}
	return encode_word(tok, c, (struct tok_str){ from, (size_t)(end - from) });
}

static int encode(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str piece)
{
	const struct tok_bpe *b = tok->model;
	if (!piece.n)
		return 0;
	return b->cut ? encode_cut(tok, c, piece) : encode_word(tok, c, piece);
}

/* ---- tables ---- */

static uint32_t get_spelled(
	const struct tok_vocab *v, struct mm_buf *t, struct tok_str a, struct tok_str s, struct tok_str z)
{
	t->len = 0;
	mm_buf_put(t, a.s, a.n);
	mm_buf_put(t, s.s, s.n);
	mm_buf_put(t, z.s, z.n);
	return t->failed ? TOK_NONE : tok_vocab_get(v, t->data, t->len);
}

static void fill_first(struct tok_bpe *b, const struct tok_vocab *v, struct mm_buf *t)
{
	const struct tok_str none = { (const uint8_t *)"", 0 };
	for (unsigned place = 0; place < 4; place++)
		for (unsigned i = 0; i < 256; i++) {
			uint8_t ch[2] = { (uint8_t)i, 0 };
			size_t n = b->bytes ? tok_byte_char((uint8_t)i, ch) : 1;
			b->first[place][i] = i >= 0x80 && !b->bytes && !b->raw
						     ? TOK_NONE
						     : get_spelled(v, t, place & 2 ? b->prefix : none,
							       (struct tok_str){ ch, n }, place & 1 ? b->suffix : none);
		}
}

/* Which characters stand in front of U+2581 inside a token that merging can make; false: do not cut at all, because
 * bytes or the unknown token, whose symbols are not spelled like the text, take part in merges. */
static bool fill_glue(struct tok_bpe *b, const struct tok_vocab *v, uint8_t *odd)
{
	for (unsigned k = 0; b->byte_fallback && k < 256; k++)
		if (b->byte_id[k] != TOK_NONE)
			odd[b->byte_id[k]] = 1;
	if (b->has_unk && b->unk != TOK_NONE)
		odd[b->unk] = 1;
	for (size_t i = 0; i < b->merges.n_slot; i++) {
		const struct tok_merge *m = &b->merges.slot[i];
		struct tok_str s;
		if (m->pair == UINT64_MAX)
			continue;
		if (odd[m->pair >> 32] || odd[(uint32_t)m->pair] || !tok_vocab_text(v, m->id, &s))
			return false;
		tok_glue_mark(b->glue, s);
	}
	return true;
}

/* A character can become nothing, so that what stands on both sides of it meets. */
static bool vanishes(const struct tok_bpe *b)
{
	bool all = b->byte_fallback;
	for (unsigned i = 0; all && i < 256; i++)
		all = b->byte_id[i] != TOK_NONE;
	return !all && !b->has_unk;
}

int tok_bpe_seal(struct tok_bpe *b, const struct tok_vocab *v, bool bytes, struct mm_err *err)
{
	struct mm_buf t = { 0 };
	uint8_t *odd;
	b->bytes = bytes;
	for (unsigned i = 0; i < 256; i++) {
		char code[8];
		snprintf(code, sizeof(code), "<0x%02X>", i);
		b->byte_id[i] = tok_vocab_get(v, (const uint8_t *)code, 6);
	}
	fill_first(b, v, &t);
	if (mm_buf_check(&t, err)) {
		mm_buf_fini(&t);
		return -1;
	}
	mm_buf_fini(&t);
	if (bytes || b->raw || b->prefix.n || b->suffix.n || b->ignore_merges || vanishes(b) || !tok_vocab_unique(v) ||
		v->max_id >= 1u << 24 || tok_vocab_get(v, (const uint8_t *)TOK_META, 3) == TOK_NONE)
		return 0;
	b->glue = mm_calloc(0x110000 / 8, 1, err);
	odd = mm_calloc((size_t)v->max_id + 1, 1, err);
	if (!b->glue || !odd) {
		mm_free(odd);
		return -1;
	}
	b->cut = fill_glue(b, v, odd);
	mm_free(odd);
	return 0;
}

void tok_bpe_free(void *bpe)
{
	struct tok_bpe *b = bpe;
	if (!b)
		return;
	tok_merges_fini(&b->merges);
	mm_buf_fini(&b->own);
	mm_free(b->glue);
	mm_free(b);
}

int tok_bpe_pairs(struct tok_merges *m, const struct tok_vocab *v, const uint32_t *rank, struct mm_err *err)
{
	for (size_t i = 0; i < v->n; i++) {
		const struct tok_ent *e = &v->ent[i];
		const uint8_t *s = v->blob.data + e->off;
		if (rank[i] == UINT32_MAX)
			continue;
		for (size_t k = 1; k < e->len; k++) {
			uint32_t left = tok_vocab_get(v, s, k), right;
			if (left == TOK_NONE)
				continue;
			right = tok_vocab_get(v, s + k, e->len - k);
			if (right != TOK_NONE && tok_merges_put(m, left, right, rank[i], e->id, err))
				return -1;
		}
	}
	return 0;
}

static void bytes_of(const struct mm_tok *tok, struct tok_str token, struct mm_buf *out)
{
	const struct tok_bpe *b = tok->model;
	size_t from = out->len;
	int byte;
	if (b->suffix.n && token.n > b->suffix.n &&
		!memcmp(token.s + token.n - b->suffix.n, b->suffix.s, b->suffix.n)) {
		bytes_of(tok, (struct tok_str){ token.s, token.n - b->suffix.n }, out);
		mm_buf_u8(out, ' ');
		return;
	}
	if (b->raw) {
		mm_buf_put(out, token.s, token.n);
		return;
	}
	if (b->bytes) {
		if (!tok_bytes_unmap(out, token.s, token.n)) {
			out->len = from;
			mm_buf_put(out, token.s, token.n);
		}
		return;
	}
	byte = b->byte_fallback ? tok_byte_token(token) : -1;
	if (byte >= 0)
		mm_buf_u8(out, (uint8_t)byte);
	else
		tok_meta_spaces(token, out);
}

const struct tok_model_ops tok_bpe_ops = { "bpe", encode, tok_bpe_free, bytes_of };
