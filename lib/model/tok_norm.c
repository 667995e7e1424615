/* tok_norm.c - normalizers: steps that rewrite a segment before it is cut.
 *
 * Steps write to two buffers in turn; a step that would change nothing is skipped, so plain text is not copied.
 * BertNormalizer becomes up to five steps. `zero` (see tok_pretok.c) is carried along: which leading bytes still stand
 * at offset 0 of the original text, by the reference's rules of alignment.
 */
#include "model/tok_priv.h"

#include <utf8proc.h>

#include <string.h>

/* ---- one character at a time ---- */

static uint32_t lower(uint32_t cp)
{
	static const struct {
		uint32_t first, last, to;
	} newer[] = { { 0x1c89, 0x1c89, 0x1c8a }, { 0xa7cb, 0xa7cb, 0x264 }, { 0xa7cc, 0xa7cc, 0xa7cd },
		{ 0xa7ce, 0xa7ce, 0xa7cf }, { 0xa7d2, 0xa7d2, 0xa7d3 }, { 0xa7d4, 0xa7d4, 0xa7d5 },
		{ 0xa7da, 0xa7da, 0xa7db }, { 0xa7dc, 0xa7dc, 0x19b }, { 0x10d50, 0x10d65, 0x10d70 },
		{ 0x16ea0, 0x16eb8, 0x16ebb } };
	if (cp < 0x80)
		return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
	for (size_t i = 0; cp >= 0x1c89 && i < MM_COUNT(newer); i++)
		if (cp >= newer[i].first && cp <= newer[i].last)
			return newer[i].to + (cp - newer[i].first);
	return (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
}

static void put_cp(struct mm_buf *out, uint32_t cp)
{
	uint8_t u[4];
	mm_buf_put(out, u, mm_utf8_encode(cp, u));
}

static bool nmt_dropped(uint32_t cp)
{
	return (cp >= 1 && cp <= 8) || cp == 0xb || (cp >= 0xe && cp <= 0x1f) || cp == 0x7f || cp == 0x8f || cp == 0x9f;
}

static bool nmt_space(uint32_t cp)
{
	return cp == 9 || cp == 0xa || cp == 0xc || cp == 0xd || cp == 0x1680 || (cp >= 0x200b && cp <= 0x200f) ||
	       cp == 0x2028 || cp == 0x2029 || cp == 0x2581 || cp == 0xfeff || cp == 0xfffd;
}

/* Control, format, private use, as Unicode 8 knew them. */
static bool bert_control(uint32_t cp)
{
	enum tok_cat cat = TOK_CAT(tok_uni(cp));
	if (cp == '\t' || cp == '\n' || cp == '\r')
		return false;
	if (cp == 0x890 || cp == 0x891 || cp == 0x8e2 || cp == 0x110cd || (cp >= 0x13430 && cp <= 0x1343f))
		return false;
	return cat == TOK_CC || cat == TOK_CF || cat == TOK_CO;
}

static bool ideograph(uint32_t c)
{
	return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
	       (c >= 0x2a700 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) ||
	       (c >= 0x2f800 && c <= 0x2fa1f);
}

/* Appends what becomes of one character. */
static void rewrite(const struct tok_norm *st, uint32_t cp, struct mm_buf *out)
{
	switch (st->kind) {
	case TOK_NORM_LOWER:
		if (cp == 0x130)
			mm_buf_put(out, "i\xcc\x87", 3);
		else
			put_cp(out, lower(cp));
		break;
	case TOK_NORM_STRIP_M:
		if (!(tok_uni(cp) & TOK_M_OLD))
			put_cp(out, cp);
		break;
	case TOK_NORM_STRIP_MN:
		if (!(tok_uni(cp) & TOK_MN_OLD))
			put_cp(out, cp);
		break;
	case TOK_NORM_NMT:
		if (!nmt_dropped(cp))
			put_cp(out, nmt_space(cp) ? ' ' : cp);
		break;
	case TOK_NORM_CLEAN:
		if (cp && cp != 0xfffd && !bert_control(cp))
			put_cp(out, tok_uni(cp) & TOK_WS ? ' ' : cp);
		break;
	case TOK_NORM_IDEOGRAPHS:
		if (ideograph(cp))
			mm_buf_u8(out, ' ');
		put_cp(out, cp);
		if (ideograph(cp))
			mm_buf_u8(out, ' ');
		break;
	default:
		break;
	}
}

static size_t first_len(struct tok_str s)
{
	uint32_t cp;
	return s.n ? tok_utf8(s.s, s.s + s.n, &cp) : 0;
}

/* One character at a time. Runs of ASCII, nearly everything, go by the table. */
static void each_char(const struct tok_norm *st, struct tok_str s, struct mm_buf *out, size_t *zero)
{
	size_t head = *zero;
	for (size_t i = 0; i < s.n;) {
		uint8_t run[256];
		size_t n = 0;
		uint32_t cp;
		while (i >= head && i < s.n && n < sizeof(run) && s.s[i] < 0x80 && st->ascii[s.s[i]] != 0xff)
			run[n++] = st->ascii[s.s[i++]];
		if (n) {
			mm_buf_put(out, run, n);
			continue;
		}
		i += tok_utf8(s.s + i, s.s + s.n, &cp);
		rewrite(st, cp, out);
		if (i <= head)
			*zero = out->len; /* 0: the characters that stood at 0 are gone */
	}
}

int tok_norm_ascii(struct tok_norm *st, struct mm_err *err)
{
	struct mm_buf b = { 0 };
	int rc = 0;
	for (uint32_t cp = 0; cp < 128; cp++) {
		b.len = 0;
		rewrite(st, cp, &b);
		st->ascii[cp] = b.len == 1 ? b.data[0] : 0xff;
	}
	rc = mm_buf_check(&b, err);
	mm_buf_fini(&b);
	return rc;
}

/* ---- replacing ---- */

static const uint8_t *find(const uint8_t *p, const uint8_t *end, const struct mm_buf *what)
{
	return what->len == 1 ? memchr(p, what->data[0], (size_t)(end - p))
			      : memmem(p, (size_t)(end - p), what->data, what->len);
}

/* What stands in for s[a, b) takes the place of the last byte of it. */
static void put_replaced(const struct tok_norm *st, struct mm_buf *out, size_t b, size_t zero, size_t *zero_out)
{
	mm_buf_put(out, st->text.data, st->text.len);
	if (b <= zero || !b)
		*zero_out += st->text.len;
}

static void put_kept(struct mm_buf *out, struct tok_str s, size_t a, size_t b, size_t zero, size_t *zero_out)
{
	mm_buf_put(out, s.s + a, b - a);
	if (a < zero)
		*zero_out += MM_MIN(b, zero) - a;
}

static int replace(const struct tok_norm *st, struct tok_ctx *c, struct tok_str s, struct mm_buf *out, size_t *zero)
{
	size_t done = 0, a, b, last = SIZE_MAX, z = 0;
	int rc = 0;
	for (;;) {
		if (st->re) {
			rc = tok_regex_next(st->re, c, s, last == SIZE_MAX ? 0 : last, last, &a, &b);
		} else {
			const uint8_t *p = find(s.s + done, s.s + s.n, &st->from);
			rc = p != NULL;
			a = p ? (size_t)(p - s.s) : 0;
			b = a + st->from.len;
		}
		if (rc <= 0)
			break;
		put_kept(out, s, done, a, *zero, &z);
		put_replaced(st, out, b, *zero, &z);
		done = last = b;
	}
	put_kept(out, s, done, s.n, *zero, &z);
	*zero = *zero ? z : 0;
	return rc < 0 ? -1 : 0;
}

static void strip(const struct tok_norm *st, struct tok_str *s, size_t *zero)
{
	size_t from = 0, to = s->n;
	uint32_t cp;
	while (st->left && from < to) {
		unsigned n = tok_utf8(s->s + from, s->s + to, &cp);
		if (!(tok_uni(cp) & TOK_WS))
			break;
		from += n;
	}
	while (st->right && to > from) {
		size_t p = to;
		do
			p--;
		while (p > from && (s->s[p] & 0xc0) == 0x80);
		tok_utf8(s->s + p, s->s + to, &cp);
		if (!(tok_uni(cp) & TOK_WS))
			break;
		to = p;
	}
	*zero = *zero > from ? MM_MIN(*zero, to) - MM_MIN(from, to) : 0;
	*s = (struct tok_str){ s->s + from, to - from };
}

/* ---- running ---- */

static bool all_ascii(struct tok_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.s[i] >= 0x80)
			return false;
	return true;
}

/* Nothing would change. Only what is cheap to see. */
static bool idle(const struct tok_norm *st, struct tok_str s)
{
	switch (st->kind) {
	case TOK_NORM_NF:
		return tok_nf_is_plain(s, st->nf);
	case TOK_NORM_REPLACE:
		return !st->re && !find(s.s, s.s + s.n, &st->from);
	case TOK_NORM_STRIP_M:
	case TOK_NORM_STRIP_MN:
	case TOK_NORM_IDEOGRAPHS:
		return all_ascii(s);
	default:
		return false;
	}
}

static int apply_nf(const struct tok_norm *st, struct tok_ctx *c, struct tok_str s, struct mm_buf *out, size_t *zero)
{
	size_t n, k = 0;
	if (tok_nf_apply(c, s, st->nf, out))
		return -1;
	n = out->len;
	if (*zero && !out->failed) {
		/* As many characters as the head becomes alone; the last of them may have taken in what follows. */
		if (tok_nf_apply(c, (struct tok_str){ s.s, *zero }, st->nf, out))
			return -1;
		for (size_t i = n; !out->failed && i < out->len; i++)
			k += (out->data[i] & 0xc0) != 0x80;
		out->len = out->failed ? out->len : n;
		for (*zero = 0; *zero < n && k; k--)
			*zero += first_len((struct tok_str){ out->data + *zero, n - *zero });
	}
	return 0;
}

static int apply(const struct tok_norm *st, struct tok_ctx *c, struct tok_str s, struct mm_buf *out, size_t *zero)
{
	size_t first;
	switch (st->kind) {
	case TOK_NORM_NF:
		return apply_nf(st, c, s, out, zero);
	case TOK_NORM_CHARSMAP:
		if (tok_charsmap_apply(st->map, s, out, &first, c->err))
			return -1;
		*zero = *zero ? first : 0;
		return 0;
	case TOK_NORM_REPLACE:
		return replace(st, c, s, out, zero);
	case TOK_NORM_PREPEND:
		mm_buf_put(out, st->text.data, st->text.len);
		mm_buf_put(out, s.s, s.n);
		*zero += *zero ? st->text.len : 0;
		return 0;
	case TOK_NORM_BYTES:
		first = *zero;
		tok_bytes_map(out, s.s, first);
		*zero = out->len;
		tok_bytes_map(out, s.s + first, s.n - first);
		return 0;
	default:
		each_char(st, s, out, zero);
		return 0;
	}
}

int tok_norms_run(const struct tok_norms *ns, struct tok_ctx *c, struct tok_str *text, size_t *zero)
{
	unsigned turn = 0;
	for (size_t i = 0; i < ns->n && text->n; i++) {
		const struct tok_norm *st = &ns->step[i];
		struct mm_buf *out = &c->norm[turn];
		if (st->kind == TOK_NORM_STRIP) {
			strip(st, text, zero);
			continue;
		}
		if (idle(st, *text))
			continue;
		out->len = 0;
		if (apply(st, c, *text, out, zero) || mm_buf_check(out, c->err))
			return -1;
		if (out->len > TOK_TEXT_MAX * 2)
			return mm_fail(c->err, MM_EUNSUPPORTED, "a normalizer makes the text too large");
		*text = (struct tok_str){ out->data ? out->data : (const uint8_t *)"", out->len };
		turn ^= 1;
	}
	return 0;
}
