/* tok_charsmap.c - SentencePiece's precompiled normalization table.
 *
 *	[u32 bytes of the trie][trie: u32 units of a double array][replacements, each ended by NUL]
 *
 * A unit is  label (8 bits, and bit 31 on leaves) | has_leaf (bit 8) | offset (bits 10-30, bit 9: times 256); a leaf's
 *low 31 bits are where its replacement begins. Every index is checked against the array when it is used.
 */
#include "model/tok_priv.h"

#include <utf8proc.h>

#include <string.h>

struct tok_charsmap {
	uint32_t *unit;
	size_t n_unit;
	uint8_t *text; /* NUL behind the end */
	size_t n_text;
	bool plain[128]; /* ASCII characters that no key begins with */
};

static uint32_t offset(uint32_t unit)
{
	return unit >> 10 << ((unit & 1u << 9) >> 6);
}

struct tok_charsmap *tok_charsmap_new(const uint8_t *blob, size_t n, struct mm_err *err)
{
	struct mm_cur cur = mm_cur_of(blob, n);
	uint32_t size = mm_cur_u32(&cur);
	const uint8_t *trie = mm_cur_bytes(&cur, size);
	struct tok_charsmap *m;
	if (cur.failed || !size || size % 4) {
		mm_fail(err, MM_EFORMAT, "normalization table: trie of %lu bytes in %zu", (unsigned long)size, n);
		return NULL;
	}
	m = mm_calloc(1, sizeof(*m), err);
	if (!m)
		return NULL;
	m->n_unit = size / 4;
	m->n_text = mm_cur_left(&cur);
	m->unit = mm_calloc(m->n_unit, sizeof(*m->unit), err);
	m->text = m->unit ? mm_calloc(m->n_text + 1, 1, err) : NULL;
	if (!m->text) {
		tok_charsmap_free(m);
		return NULL;
	}
	cur = mm_cur_of(trie, size);
	for (size_t i = 0; i < m->n_unit; i++)
		m->unit[i] = mm_cur_u32(&cur);
	memcpy(m->text, blob + 4 + size, m->n_text);
	for (unsigned c = 0; c < 128; c++) {
		uint32_t at = offset(m->unit[0]) ^ c;
		m->plain[c] = !c || at >= m->n_unit || (m->unit[at] & (1u << 31 | 0xff)) != c;
	}
	return m;
}

void tok_charsmap_free(struct tok_charsmap *m)
{
	if (!m)
		return;
	mm_free(m->unit);
	mm_free(m->text);
	mm_free(m);
}

/* A key that is a prefix of s: the first (shortest) or the longest. Its length, 0 none. */
static size_t prefix(const struct tok_charsmap *m, const uint8_t *s, size_t n, bool first, struct tok_str *out)
{
	uint32_t at = offset(m->unit[0]);
	size_t found = 0;
	for (size_t i = 0; i < n && s[i]; i++) {
		uint32_t unit, leaf;
		at ^= s[i];
		if (at >= m->n_unit || ((unit = m->unit[at]) & (1u << 31 | 0xff)) != s[i])
			break;
		at ^= offset(unit);
		if (!(unit >> 8 & 1) || at >= m->n_unit)
			continue;
		leaf = m->unit[at] & 0x7fffffffu;
		if (leaf > m->n_text)
			continue;
		*out = (struct tok_str){ m->text + leaf, strlen((const char *)m->text + leaf) };
		found = i + 1;
		if (first)
			break;
	}
	return found;
}

size_t tok_charsmap_prefix(const struct tok_charsmap *m, const uint8_t *s, size_t n, struct tok_str *out)
{
	return prefix(m, s, n, false, out);
}

/* End of the grapheme cluster that begins at i. */
static size_t cluster(struct tok_str s, size_t i)
{
	const uint8_t *end = s.s + s.n;
	utf8proc_int32_t state = 0;
	uint32_t a, b;
	i += tok_utf8(s.s + i, end, &a);
	while (i < s.n) {
		unsigned n = tok_utf8(s.s + i, end, &b);
		if (a < 0x80 && b < 0x80 && a != '\r')
			break;
		if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)a, (utf8proc_int32_t)b, &state))
			break;
		a = b;
		i += n;
	}
	return i;
}

static size_t one_char(struct tok_str s)
{
	uint32_t cp;
	return s.n ? tok_utf8(s.s, s.s + s.n, &cp) : 0;
}

/* What stands in for the first character stands at the beginning; of several characters put in for several, the first.
 * One that vanishes leaves its place to the next, which is how the reference counts. */
static void begin(size_t *first, struct tok_str old, struct tok_str new)
{
	if (!*first)
		*first = one_char(old) == old.n ? new.n : one_char(new);
}

int tok_charsmap_apply(
	const struct tok_charsmap *m, struct tok_str s, struct mm_buf *out, size_t *first, struct mm_err *err)
{
	size_t from = out->len;
	*first = 0;
	for (size_t i = 0; i < s.n;) {
		size_t e = i;
		struct tok_str r;
		/* ASCII that stays as it is and has ASCII behind it, so that it is a cluster of its own */
		while (*first && e + 1 < s.n && s.s[e] < 0x80 && s.s[e + 1] < 0x80 && m->plain[s.s[e]] &&
			s.s[e] != '\r')
			e++;
		if (e > i) {
			mm_buf_put(out, s.s + i, e - i);
			i = e;
			continue;
		}
		e = cluster(s, i);
		if (e - i < 6 && prefix(m, s.s + i, e - i, true, &r)) {
			mm_buf_put(out, r.s, r.n); /* the whole cluster goes, however long the key was */
			begin(first, (struct tok_str){ s.s + i, e - i }, r);
			i = e;
			continue;
		}
		while (i < e) {
			uint32_t cp;
			struct tok_str old = { s.s + i, tok_utf8(s.s + i, s.s + s.n, &cp) };
			if (!prefix(m, old.s, old.n, true, &r))
				r = old;
			mm_buf_put(out, r.s, r.n);
			begin(first, old, r);
			i += old.n;
		}
	}
	if (mm_buf_check(out, err))
		return -1;
	if (out->len > from && !tok_utf8_valid(out->data + from, out->len - from))
		return mm_fail(err, MM_EFORMAT, "normalization table: a replacement is not valid UTF-8");
	return 0;
}
