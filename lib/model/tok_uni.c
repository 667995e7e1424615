/* tok_uni.c - properties of code points, and GPT-2's byte alphabet.
 *
 * The categories are Unicode 16 (tok_unidata.c). Three of the flags follow older or newer versions, because the
 * reference takes them from other libraries than its regex engine; the differences are the small tables here. The
 * lookup is two-stage: page of 256 code points -> leaf, equal leaves shared; it is filled once, by the first caller.
 */
#include "model/tok_priv.h"

#include <string.h>

uint16_t tok_uni_page[TOK_UNI_PAGES];
uint16_t tok_uni_leaf[TOK_UNI_LEAVES][256];

static const struct tok_range white_space[] = { { 0x9, 0xd }, { 0x20, 0x20 }, { 0x85, 0x85 }, { 0xa0, 0xa0 },
	{ 0x1680, 0x1680 }, { 0x2000, 0x200a }, { 0x2028, 0x2029 }, { 0x202f, 0x202f }, { 0x205f, 0x205f },
	{ 0x3000, 0x3000 } };

/* Numbers of Unicode 17. */
static const struct tok_range numeric_too[] = { { 0x11de0, 0x11de9 }, { 0x16ff4, 0x16ff6 } };

/* Alphabetic without being letter, mark or letter number; and the joiners. */
static const struct tok_range word_too[] = { { 0x200c, 0x200d }, { 0x24b6, 0x24e9 }, { 0x1f130, 0x1f149 },
	{ 0x1f150, 0x1f169 }, { 0x1f170, 0x1f189 } };

/* Punctuation since Unicode 8, which the reference's splitter does not know; and two code points that were it then. */
static const struct tok_range punct_not[] = { { 0x61d, 0x61d }, { 0x9fd, 0x9fd }, { 0xa76, 0xa76 }, { 0xc77, 0xc77 },
	{ 0xc84, 0xc84 }, { 0x1b4e, 0x1b4f }, { 0x1b7d, 0x1b7f }, { 0x2e43, 0x2e4f }, { 0x2e52, 0x2e5d },
	{ 0x10d6e, 0x10d6e }, { 0x10ead, 0x10ead }, { 0x10f55, 0x10f59 }, { 0x10f86, 0x10f89 }, { 0x113d4, 0x113d5 },
	{ 0x113d7, 0x113d8 }, { 0x1144b, 0x1144f }, { 0x1145a, 0x1145b }, { 0x1145d, 0x1145d }, { 0x11660, 0x1166c },
	{ 0x116b9, 0x116b9 }, { 0x1183b, 0x1183b }, { 0x11944, 0x11946 }, { 0x119e2, 0x119e2 }, { 0x11a3f, 0x11a46 },
	{ 0x11a9a, 0x11a9c }, { 0x11a9e, 0x11aa2 }, { 0x11b00, 0x11b09 }, { 0x11be1, 0x11be1 }, { 0x11c41, 0x11c45 },
	{ 0x11c70, 0x11c71 }, { 0x11ef7, 0x11ef8 }, { 0x11f43, 0x11f4f }, { 0x11fff, 0x11fff }, { 0x12ff1, 0x12ff2 },
	{ 0x16d6d, 0x16d6f }, { 0x16e97, 0x16e9a }, { 0x16fe2, 0x16fe2 }, { 0x1e5ff, 0x1e5ff }, { 0x1e95e, 0x1e95f } };
static const struct tok_range punct_too[] = { { 0x166d, 0x166d }, { 0x111c9, 0x111c9 } };

static bool within(const struct tok_range *r, size_t n, uint32_t cp)
{
	for (size_t i = 0; i < n; i++)
		if (cp >= r[i].first && cp <= r[i].last)
			return true;
	return false;
}
static bool listed(const struct tok_range *r, uint32_t cp)
{
	for (; r->first <= r->last; r++)
		if (cp <= r->last)
			return cp >= r->first;
	return false;
}

bool tok_uni_nf_is_new(uint32_t cp)
{
	return listed(tok_uni_nf_new, cp);
}

#define WITHIN(table, cp) within(table, MM_COUNT(table), cp)

static const uint16_t group_flags[] = {
	[TOK_LU] = TOK_L | TOK_WORD,
	[TOK_LL] = TOK_L | TOK_WORD,
	[TOK_LT] = TOK_L | TOK_WORD,
	[TOK_LM] = TOK_L | TOK_WORD,
	[TOK_LO] = TOK_L | TOK_WORD,
	[TOK_MN] = TOK_M | TOK_WORD,
	[TOK_MC] = TOK_M | TOK_WORD,
	[TOK_ME] = TOK_M | TOK_WORD,
	[TOK_ND] = TOK_N | TOK_NUMERIC | TOK_WORD,
	[TOK_NL] = TOK_N | TOK_NUMERIC | TOK_WORD,
	[TOK_NO] = TOK_N | TOK_NUMERIC,
	[TOK_PC] = TOK_P | TOK_PUNCT | TOK_WORD,
	[TOK_PD] = TOK_P | TOK_PUNCT,
	[TOK_PS] = TOK_P | TOK_PUNCT,
	[TOK_PE] = TOK_P | TOK_PUNCT,
	[TOK_PI] = TOK_P | TOK_PUNCT,
	[TOK_PF] = TOK_P | TOK_PUNCT,
	[TOK_PO] = TOK_P | TOK_PUNCT,
	[TOK_SM] = TOK_S,
	[TOK_SC] = TOK_S,
	[TOK_SK] = TOK_S,
	[TOK_SO] = TOK_S,
	[TOK_CS] = 0,
};

static unsigned flags_of(uint32_t cp, enum tok_cat cat)
{
	unsigned f = cat | group_flags[cat];
	if (WITHIN(white_space, cp))
		f |= TOK_WS;
	if (WITHIN(numeric_too, cp))
		f |= TOK_NUMERIC;
	if (WITHIN(word_too, cp))
		f |= TOK_WORD;
	if ((f & TOK_PUNCT) && WITHIN(punct_not, cp))
		f &= ~(unsigned)TOK_PUNCT;
	if ((cat == TOK_MN && !listed(tok_uni_mn_new, cp)) || cp == 0x1734 || cp == 0x1171e)
		f |= TOK_MN_OLD;
	if (((f & TOK_M) && !listed(tok_uni_m_new, cp)) || cp == 0x1cf2 || cp == 0x1cf3)
		f |= TOK_M_OLD;
	if (WITHIN(punct_too, cp) || (cp < 0x80 && (f & TOK_S)))
		f |= TOK_PUNCT;
	return f;
}

static enum tok_cat cat_of(size_t run, uint32_t cp)
{
	uint32_t first = tok_uni_run[run] >> 5;
	enum tok_cat cat = TOK_CAT(tok_uni_run[run]);
	if (cat == TOK_CAT_ALT_LU)
		return (cp - first) & 1 ? TOK_LL : TOK_LU;
	if (cat == TOK_CAT_ALT_LL)
		return (cp - first) & 1 ? TOK_LU : TOK_LL;
	return cat;
}

static void fill(void)
{
	size_t run = 0, n_leaf = 0;
	for (uint32_t page = 0; page < TOK_UNI_PAGES; page++) {
		uint16_t leaf[256];
		size_t l;
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t cp = page << 8 | i;
			while (run + 1 < tok_uni_n_run && tok_uni_run[run + 1] >> 5 <= cp)
				run++;
			leaf[i] = (uint16_t)flags_of(cp, cat_of(run, cp));
		}
		/* Equal neighbours are the rule (CJK, private use): the newest leaves first. */
		for (l = n_leaf; l > 0 && memcmp(tok_uni_leaf[l - 1], leaf, sizeof(leaf)); l--)
			;
		if (!l && n_leaf < TOK_UNI_LEAVES) {
			memcpy(tok_uni_leaf[n_leaf], leaf, sizeof(leaf));
			l = ++n_leaf;
		}
		tok_uni_page[page] = (uint16_t)(l ? l - 1 : 0); /* a unit test compares every code point */
	}
}

void tok_uni_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, fill);
}

bool tok_utf8_valid(const uint8_t *s, size_t n)
{
	size_t i = 0;
	while (i < n) {
		uint64_t w;
		uint32_t cp;
		unsigned k;
		if (n - i >= 8 && (memcpy(&w, s + i, 8), !(w & 0x8080808080808080u))) {
			i += 8;
			continue;
		}
		if (s[i] < 0x80) {
			i++;
			continue;
		}
		k = mm_utf8_decode(s + i, n - i, &cp);
		if (!k)
			return false;
		i += k;
	}
	return true;
}

/* Printable Latin-1 stands for itself, the other 68 bytes for U+0100 on, in order. */
static bool itself(unsigned b)
{
	return (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
}

static uint32_t char_of(uint8_t b)
{
	if (itself(b))
		return b;
	if (b <= 0x20)
		return 0x100u + b;
	if (b <= 0xa0)
		return 0x100u + 33 + (b - 0x7fu);
	return 0x143; /* 0xad */
}

unsigned tok_byte_char(uint8_t b, uint8_t out[2])
{
	uint32_t cp = char_of(b);
	if (cp < 0x80) {
		out[0] = (uint8_t)cp;
		return 1;
	}
	out[0] = (uint8_t)(0xc0 | cp >> 6);
	out[1] = (uint8_t)(0x80 | (cp & 63));
	return 2;
}

int tok_char_byte(uint32_t cp)
{
	if (cp < 0x100)
		return itself(cp) ? (int)cp : -1;
	if (cp <= 0x120)
		return (int)(cp - 0x100);
	if (cp <= 0x142)
		return (int)(cp - 0x121 + 0x7f);
	return cp == 0x143 ? 0xad : -1;
}

void tok_bytes_map(struct mm_buf *out, const uint8_t *s, size_t n)
{
	uint8_t tmp[256];
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		k += tok_byte_char(s[i], tmp + k);
		if (k > sizeof(tmp) - 2) {
			mm_buf_put(out, tmp, k);
			k = 0;
		}
	}
	mm_buf_put(out, tmp, k);
}

bool tok_bytes_unmap(struct mm_buf *out, const uint8_t *s, size_t n)
{
	uint8_t tmp[256];
	size_t k = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		int b;
		i += tok_utf8(s + i, s + n, &cp);
		b = tok_char_byte(cp);
		if (b < 0)
			return false;
		tmp[k++] = (uint8_t)b;
		if (k == sizeof(tmp)) {
			mm_buf_put(out, tmp, k);
			k = 0;
		}
	}
	mm_buf_put(out, tmp, k);
	return true;
}
