/* tok_spm.c - SentencePiece models: the library's own normalization, and its BPE.
 *
 * Normalizing: longest match in the precompiled table, white space folded (remove_extra_whitespaces), a space in front
 * (add_dummy_prefix), spaces written as U+2581. User-defined pieces are taken out of the text as they are.
 *
 * BPE joins two neighbouring symbols when the pieces' list has what they make together, best score first, leftmost on
 * ties. Symbols are ids. Two kinds of symbols have no piece's id:
 *
 *	CHAR | code point    a character that is no piece itself, but may be part of one
 *	FROZEN | id          a user-defined piece found in the text: never joined
 *
 * Words are cut apart in front of U+2581 where no piece forbids it (see tok_bpe.c); a model with UNUSED pieces is not
 *cut, since those are taken apart again into what they were last joined from, anywhere in the text.
 *
 * Control pieces written out in a text are plain text here.
 */
#include "model/tok_priv.h"

#include <string.h>

#define CHAR   0x80000000u
#define FROZEN 0xc0000000u

static bool is_space(struct tok_str s)
{
	return s.n == 1 && s.s[0] == ' ';
}

static struct tok_str user_piece(const struct tok_spm *m, const uint8_t *s, size_t n, uint32_t *id)
{
	uint32_t node = 0;
	struct tok_str found = { s, 0 };
	for (size_t i = 0; m->user && i < n; i++) {
		node = tok_trie_step(m->user, node, s[i]);
		if (node == TOK_NONE)
			break;
		if (tok_trie_value(m->user, node) != TOK_NONE) {
			found.n = i + 1;
			*id = tok_trie_value(m->user, node);
		}
	}
	return found;
}

/* What stands first in s, normalized; returns how many bytes of s it takes. */
static size_t prefix(const struct tok_spm *m, const uint8_t *s, size_t n, struct tok_str *out)
{
	uint32_t id, cp;
	size_t len;
	*out = user_piece(m, s, n, &id);
	if (out->n)
		return out->n;
	len = m->map ? tok_charsmap_prefix(m->map, s, n, out) : 0;
	if (len)
		return len;
	len = tok_utf8(s, s + n, &cp);
	*out = (struct tok_str){ s, len };
	return len;
}

static void put_space(const struct tok_spm *m, struct mm_buf *out)
{
	if (m->escape)
		mm_buf_str(out, TOK_META);
	else
		mm_buf_u8(out, ' ');
}

static void put_escaped(const struct tok_spm *m, struct tok_str s, struct mm_buf *out)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.s[i] == ' ')
			put_space(m, out);
		else
			mm_buf_u8(out, s.s[i]);
}

static int normalize(const struct tok_spm *m, struct tok_str s, struct mm_buf *out, struct mm_err *err)
{
	const char *space = m->escape ? TOK_META : " ";
	size_t at = 0, k = strlen(space), n;
	bool after_space = m->fold;
	struct tok_str p;
	out->len = 0;
	while (m->fold && at < s.n && (n = prefix(m, s.s + at, s.n - at, &p), is_space(p)))
		at += n;
	if (at == s.n)
		return 0;
	if (m->dummy && !m->suffix)
		put_space(m, out);
	while (at < s.n) {
		at += prefix(m, s.s + at, s.n - at, &p);
		while (after_space && p.n && p.s[0] == ' ') {
			p.s++;
			p.n--;
		}
		if (p.n) {
			put_escaped(m, p, out);
			after_space = p.s[p.n - 1] == ' ';
		}
		after_space = after_space && m->fold;
	}
	while (m->fold && out->len >= k && !memcmp(out->data + out->len - k, space, k))
		out->len -= k;
	if (m->dummy && m->suffix)
		put_space(m, out);
	if (mm_buf_check(out, err))
		return -1;
	if (m->map && !tok_utf8_valid(out->data, out->len))
		return mm_fail(err, MM_EFORMAT, "normalization table: a replacement is not valid UTF-8");
	return 0;
}

/* ---- BPE ---- */

static uint32_t symbol_of(const struct tok_spm *m, const struct tok_vocab *v, const uint8_t *s, size_t n)
{
	uint32_t id = tok_vocab_get(v, s, n), cp;
	if (id != TOK_NONE && tok_spm_is_text(m, id))
		return id;
	return tok_utf8(s, s + n, &cp) == n ? CHAR | cp : TOK_NONE;
}

/* Pieces that can be made from two symbols; the same rank for the same score. */
int tok_spm_pairs(struct tok_spm *m, const struct tok_vocab *v, const uint32_t *rank, struct mm_err *err)
{
	if (tok_merges_init(&m->merges, v->n * 2, err))
		return -1;
	for (size_t i = 0; i < v->n; i++) {
		const struct tok_ent *e = &v->ent[i];
		const uint8_t *s = v->blob.data + e->off;
		if (!tok_spm_is_text(m, e->id))
			continue;
		for (size_t k = 1; k < e->len; k++) {
			uint32_t left, right;
			if ((s[k] & 0xc0) == 0x80)
				continue;
			left = symbol_of(m, v, s, k);
			right = symbol_of(m, v, s + k, e->len - k);
			if (left != TOK_NONE && right != TOK_NONE &&
				tok_merges_put(&m->merges, left, right, rank[e->id], e->id, err))
				return -1;
		}
	}
	return 0;
}

/* One id after the other; a run of unknowns is one, or bytes. */
static int put_unknown(const struct tok_spm *m, struct tok_ctx *c, uint32_t cp, bool after_unknown)
{
	uint8_t u[4];
	unsigned n = mm_utf8_encode(cp, u);
	if (!m->byte_fallback)
		return after_unknown ? 0 : tok_emit(c, m->unk);
	for (unsigned i = 0; i < n; i++)
		if (tok_emit(c, m->byte_id[u[i]]))
			return -1;
	return 0;
}

/* An UNUSED piece goes back into what it was joined from. The depth is bounded: the parts are shorter. */
static int put_piece(const struct tok_spm *m, struct tok_ctx *c, uint32_t id, bool *unknown)
{
	uint32_t stack[512];
	size_t n = 0;
	stack[n++] = id;
	while (n) {
		id = stack[--n];
		if ((id & FROZEN) == CHAR) {
			if (put_unknown(m, c, id & ~CHAR, *unknown))
				return -1;
			*unknown = true;
			continue;
		}
		id &= ~FROZEN;
		if (m->type[id] == TOK_SPM_UNUSED && c->unused && c->unused[2 * id] != TOK_NONE &&
			n + 2 <= MM_COUNT(stack)) {
			stack[n++] = c->unused[2 * id + 1];
			stack[n++] = c->unused[2 * id];
			continue;
		}
		*unknown = false;
		if (tok_emit(c, id))
			return -1;
	}
	return 0;
}

static int symbols(
	const struct tok_spm *m, const struct mm_tok *tok, struct tok_ctx *c, struct tok_str s, size_t *n_sym)
{
	size_t n = 0;
	if (mm_grow(&c->sym, &c->sym_cap, s.n + 1, sizeof(*c->sym), c->err))
		return -1;
	for (size_t at = 0; at < s.n;) {
		uint32_t id, cp;
		struct tok_str u = user_piece(m, s.s + at, s.n - at, &id);
		size_t k = u.n ? u.n : tok_utf8(s.s + at, s.s + s.n, &cp);
		c->sym[n++] = u.n ? (FROZEN | id) : symbol_of(m, &tok->vocab, s.s + at, k);
		at += k;
	}
	*n_sym = n;
	return 0;
}

static int forget(const struct tok_spm *m, struct tok_ctx *c)
{
	if (!c->unused)
		c->unused = mm_calloc(2 * m->n, sizeof(*c->unused), c->err);
	if (!c->unused)
		return -1;
	memset(c->unused, 0xff, 2 * m->n * sizeof(*c->unused));
	return 0;
}

static int encode_word(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str s)
{
	const struct tok_spm *m = tok->model;
	size_t first = c->out->n, n;
	struct tok_word *slot = NULL;
	bool unknown = false;
	if (m->cut && tok_cache_get(c, s, &slot))
		return 0;
	if (symbols(m, tok, c, s, &n) || (m->has_unused && forget(m, c)))
		return -1;
	if (m->kind == TOK_SPM_BPE) {
		n = tok_merge_run(&m->merges, c, c->sym, n);
		if (n == SIZE_MAX)
			return -1;
	}
	for (size_t i = 0; i < n; i++)
		if (put_piece(m, c, c->sym[i], &unknown))
			return -1;
	if (!m->has_unused)
		tok_cache_put(c, slot, s, first);
	return 0;
}

static int encode_words(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str s)
{
	const struct tok_spm *m = tok->model;
	const uint8_t *from = s.s, *end = s.s + s.n, *p = s.s + 1;
	while (m->cut && p < end && (p = memchr(p, 0xe2, (size_t)(end - p)))) {
		if (end - p >= 3 && p[1] == 0x96 && p[2] == 0x81 && !tok_glued(m->glue, s.s, p)) {
			if (encode_word(tok, c, (struct tok_str){ from, (size_t)(p - from) }))
				return -1;
			from = p;
		}
		p++;
	}
	return encode_word(tok, c, (struct tok_str){ from, (size_t)(end - from) });
}

/* WORD models: what lies between two U+2581 is one piece or unknown. */
static int encode_whole(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str s)
{
	const struct tok_spm *m = tok->model;
	bool unknown = false;
	for (size_t at = 0; at < s.n;) {
		const uint8_t *next = memmem(s.s + at + 1, s.n - at - 1, TOK_META, 3);
		size_t to = next ? (size_t)(next - s.s) : s.n;
		uint32_t id = tok_vocab_get(&tok->vocab, s.s + at, to - at);
		if (id == TOK_NONE || id == m->unk) {
			if (!unknown && tok_emit(c, m->unk))
				return -1;
			unknown = true;
		} else {
			if (tok_emit(c, id))
				return -1;
			unknown = false;
		}
		at = to;
	}
	return 0;
}

static int encode(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str text)
{
	const struct tok_spm *m = tok->model;
	struct mm_buf *b = &c->norm[0];
	struct tok_str s;
	if (normalize(m, text, b, c->err))
		return -1;
	s = (struct tok_str){ b->data, b->len };
	if (!s.n)
		return 0;
	if (m->kind == TOK_SPM_UNIGRAM)
		return tok_unigram_run(m->unigram, tok, c, s);
	if (m->kind == TOK_SPM_WORD)
		return encode_whole(tok, c, s);
	return encode_words(tok, c, s);
}

void tok_spm_free(void *model)
{
	struct tok_spm *m = model;
	if (!m)
		return;
	tok_trie_free(m->user);
	tok_charsmap_free(m->map);
	tok_merges_fini(&m->merges);
	if (m->unigram)
		tok_unigram_ops.free(m->unigram);
	mm_free(m->type);
	mm_free(m->glue);
	mm_free(m);
}

static void bytes_of(const struct mm_tok *tok, struct tok_str token, struct mm_buf *out)
{
	const struct tok_spm *m = tok->model;
	int byte = m->byte_fallback ? tok_byte_token(token) : -1;
	if (byte >= 0)
		mm_buf_u8(out, (uint8_t)byte);
	else if (m->escape)
		tok_meta_spaces(token, out);
	else
		mm_buf_put(out, token.s, token.n);
}

const struct tok_model_ops tok_spm_ops = { "spm", encode, tok_spm_free, bytes_of };
