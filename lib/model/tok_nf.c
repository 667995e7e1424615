/* tok_nf.c - NFC, NFD, NFKC, NFKD, in linear time.
 *
 * Only what can change is given to utf8proc. For NFC most text cannot: a character is "inert" when it is a starter, has
 * no decomposition and is never the second of a composition, so nothing reaches across it from the left. A run of
 * others is normalized together with the one inert character in front of it. The other forms take all behind the first
 * character above their plain range.
 *
 * Marks are put into canonical order by counting: sorting by neighbours would be quadratic on a megabyte of marks.
 */
#include "model/tok_priv.h"

#include <utf8proc.h>

#include <string.h>

static uint8_t touched[0x110000 / 8]; /* not inert for NFC */

static void touch(uint32_t cp)
{
	touched[cp >> 3] |= (uint8_t)(1u << (cp & 7));
}

static void fill(void)
{
	utf8proc_int32_t d[8];
	int bound;
	for (uint32_t cp = 0xc0; cp < 0x30000; cp++) {
		utf8proc_ssize_t n;
		if (cp == 0x3400)
			cp = 0xa000; /* plain ideographs */
		if (cp == 0x20000)
			cp = 0x2f800;
		if (cp >= 0xac00 && cp < 0xd7a4)
			continue; /* Hangul syllables decompose and compose again: the jamo behind them are touched */
		bound = UTF8PROC_BOUNDCLASS_START;
		n = utf8proc_decompose_char((utf8proc_int32_t)cp, d, 8, UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &bound);
		if (utf8proc_get_property((utf8proc_int32_t)cp)->combining_class)
			touch(cp);
		if (n == 1 && d[0] == (utf8proc_int32_t)cp)
			continue;
		if (cp >=
			0x300) /* Latin-1 and Latin Extended compose again at once: only what follows can change them */
			touch(cp);
		for (utf8proc_ssize_t i = 1; i < n && i < 8; i++)
			touch((uint32_t)d[i]);
	}
	for (uint32_t cp = 0x1161; cp <= 0x1175; cp++)
		touch(cp);
	for (uint32_t cp = 0x11a8; cp <= 0x11c2; cp++)
		touch(cp);
}

static bool is_touched(uint32_t cp)
{
	return touched[cp >> 3] >> (cp & 7) & 1;
}

/* Marks since Unicode 9 are starters to the reference. */
static unsigned ccc(int32_t cp)
{
	if ((tok_uni((uint32_t)cp) & (TOK_M | TOK_M_OLD)) == TOK_M)
		return 0;
	return (unsigned)utf8proc_get_property(cp)->combining_class & 0xff;
}

/* Stable sort of every run of marks by class; `tmp` has room for n. */
static void reorder(int32_t *cp, size_t n, int32_t *tmp)
{
	for (size_t i = 0; i < n;) {
		size_t e = i, count[257] = { 0 };
		bool sorted = true;
		for (; e < n && ccc(cp[e]); e++)
			sorted = sorted && (e == i || ccc(cp[e - 1]) <= ccc(cp[e]));
		if (sorted) {
			i = e + (e == i);
			continue;
		}
		for (size_t k = i; k < e; k++)
			count[ccc(cp[k]) + 1]++;
		for (unsigned k = 0; k < 256; k++)
			count[k + 1] += count[k];
		for (size_t k = i; k < e; k++)
			tmp[count[ccc(cp[k])]++] = cp[k];
		memcpy(cp + i, tmp, (e - i) * sizeof(*cp));
		i = e;
	}
}

/* Composes in place. U+11A7 is not a trailing consonant, though utf8proc takes it for one and drops it behind a
 * syllable: nothing composes across it, so the parts around it are composed alone. */
static int compose_parts(int32_t *cp, size_t *n)
{
	size_t out = 0, from = 0;
	while (from < *n) {
		size_t to = from;
		utf8proc_ssize_t k;
		while (to < *n && (cp[to] != 0x11a7 || to == from))
			to++;
		k = utf8proc_normalize_utf32(
			cp + from, (utf8proc_ssize_t)(to - from), UTF8PROC_COMPOSE | UTF8PROC_STABLE);
		if (k < 0)
			return -1;
		memmove(cp + out, cp + from, (size_t)k * sizeof(*cp));
		out += (size_t)k;
		from = to;
	}
	*n = out;
	return 0;
}

/* s..e in the form, appended to out */
static int segment(struct tok_ctx *c, const uint8_t *s, const uint8_t *e, enum tok_nf form, struct mm_buf *out)
{
	bool compat = form == TOK_NFKC || form == TOK_NFKD, compose = form == TOK_NFC || form == TOK_NFKC;
	int opts = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0),
	    bound = UTF8PROC_BOUNDCLASS_START;
	size_t n = 0;
	utf8proc_ssize_t bytes;
	int32_t *cp;
	while (s < e) {
		uint32_t x;
		utf8proc_ssize_t k;
		if (mm_grow(&c->sym, &c->sym_cap, 2 * (n + 32), sizeof(*c->sym), c->err))
			return -1;
		cp = (int32_t *)c->sym;
		s += tok_utf8(s, e, &x);
		if (form != TOK_NFC && tok_uni_nf_is_new(x)) {
			cp[n++] = (int32_t)x;
			continue;
		}
		k = utf8proc_decompose_char((int32_t)x, cp + n, 32, opts, &bound);
		if (k < 0 || k > 32)
			return mm_fail(c->err, MM_EINTERNAL, "normalization of U+%04lX", (unsigned long)x);
		n += (size_t)k;
	}
	if (!n)
		return 0;
	cp = (int32_t *)c->sym;
	reorder(cp, n, cp + n);
	if (compose && compose_parts(cp, &n))
		return mm_fail(c->err, MM_EINTERNAL, "composition");
	for (size_t i = 0; i < n; i++) {
		uint8_t u[4];
		bytes = utf8proc_encode_char(cp[i], u);
		mm_buf_put(out, u, (size_t)bytes);
	}
	return 0;
}

static int nfc(struct tok_ctx *c, struct tok_str s, struct mm_buf *out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const uint8_t *p = s.s, *end = p + s.n, *copied = p, *before = p;
	pthread_once(&once, fill);
	while (p < end) {
		const uint8_t *q = p;
		uint32_t cp;
		p += tok_utf8(p, end, &cp);
		if (cp < 0x300 || !is_touched(cp)) {
			before = q;
			continue;
		}
		while (p < end) {
			unsigned n = tok_utf8(p, end, &cp);
			if (!is_touched(cp))
				break;
			p += n;
		}
		mm_buf_put(out, copied, (size_t)(before - copied));
		if (segment(c, before, p, TOK_NFC, out))
			return -1;
		copied = before = p;
	}
	mm_buf_put(out, copied, (size_t)(end - copied));
	return 0;
}

bool tok_nf_is_plain(struct tok_str s, enum tok_nf form)
{
	/* First bytes of characters that can change: 0xcc begins U+0300, 0xc2 U+0080, 0xc3 U+00C0. */
	uint8_t limit = form == TOK_NFC ? 0xcc : form == TOK_NFD ? 0xc3 : 0xc2;
	for (size_t i = 0; i < s.n; i++)
		if (s.s[i] >= limit)
			return false;
	return true;
}

/* The other forms: ASCII is inert, so each run of other characters is done with the one ASCII character in front of it.
 */
static int by_runs(struct tok_ctx *c, struct tok_str s, enum tok_nf form, struct mm_buf *out)
{
	for (size_t i = 0; i < s.n;) {
		size_t e = i;
		while (e < s.n && s.s[e] < 0x80)
			e++;
		if (e > i && e < s.n)
			e--;
		mm_buf_put(out, s.s + i, e - i);
		for (i = e, e += e < s.n; e < s.n && s.s[e] >= 0x80; e++)
			;
		if (segment(c, s.s + i, s.s + e, form, out))
			return -1;
		i = e;
	}
	return 0;
}

int tok_nf_apply(struct tok_ctx *c, struct tok_str s, enum tok_nf form, struct mm_buf *out)
{
	return form == TOK_NFC ? nfc(c, s, out) : by_runs(c, s, form, out);
}
