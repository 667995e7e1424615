/* tok_uni.h - text, inside lib/model/tok*.c only: byte strings, UTF-8, properties of code points, the byte alphabet. */
#ifndef MM_TOK_UNI_H
#define MM_TOK_UNI_H

#include "base/base.h"

struct tok_str { /* bytes, not NUL-terminated; UTF-8 unless said otherwise */
	const uint8_t *s;
	size_t n;
};
#define TOK_LIT(x) ((struct tok_str){ (const uint8_t *)(x), sizeof(x) - 1 })
#define TOK_META   "\xe2\x96\x81" /* U+2581, SentencePiece's space */

/* ---- tok_unidata.c, tok_uni.c: properties of code points ---- */

enum tok_cat {
	TOK_CN,
	TOK_LU,
	TOK_LL,
	TOK_LT,
	TOK_LM,
	TOK_LO,
	TOK_MN,
	TOK_MC,
	TOK_ME,
	TOK_ND,
	TOK_NL,
	TOK_NO,
	TOK_PC,
	TOK_PD,
	TOK_PS,
	TOK_PE,
	TOK_PI,
	TOK_PF,
	TOK_PO,
	TOK_SM,
	TOK_SC,
	TOK_SK,
	TOK_SO,
	TOK_ZS,
	TOK_ZL,
	TOK_ZP,
	TOK_CC,
	TOK_CF,
	TOK_CO,
	TOK_CS,
	TOK_CAT_ALT_LU,
	TOK_CAT_ALT_LL
};
#define TOK_CAT(flags) ((enum tok_cat)((flags)&31u))
enum tok_uni_flag {
	TOK_WS = 1 << 5,       /* White_Space */
	TOK_L = 1 << 6,	       /* any letter */
	TOK_M = 1 << 7,	       /* any mark */
	TOK_N = 1 << 8,	       /* any number */
	TOK_P = 1 << 9,	       /* any punctuation */
	TOK_S = 1 << 10,       /* any symbol */
	TOK_PUNCT = 1 << 11,   /* what Punctuation and BertPreTokenizer split at: ASCII symbols too, Unicode 8 else */
	TOK_NUMERIC = 1 << 12, /* what Digits splits at: N of Unicode 17 */
	TOK_WORD = 1 << 13,    /* \w of Whitespace and of single_word */
	TOK_MN_OLD = 1 << 14,  /* nonspacing marks as BertNormalizer knows them */
	TOK_M_OLD = 1 << 15,   /* marks as StripAccents knows them */
};
struct tok_range {
	uint32_t first, last;
};
extern const struct tok_range tok_uni_mn_new[], tok_uni_m_new[], tok_uni_nf_new[]; /* ascending, ended by { 1, 0 } */
struct tok_cat_range {
	uint32_t first, last;
	enum tok_cat cat;
};
extern const struct tok_cat_range tok_uni_since14[];
extern const size_t tok_uni_n_since14;
unsigned tok_uni_script(uint32_t cp); /* tok_uniscript.c: a number, 0 none */
/* tok_uniblock.c: appends the block as a range for a regex's class; false: there is none of that name */
bool tok_uni_block(const char *name, struct mm_buf *items);
/* tok_unifresh.c: appends what Unicode 15 and 16 have added to a property or script, as ranges for a class */
void tok_uni_fresh(const char *name, struct mm_buf *items);
bool tok_uni_nf_is_new(uint32_t cp); /* in tok_uni_nf_new */
extern const uint32_t tok_uni_run[];
extern const size_t tok_uni_n_run;
#define TOK_UNI_PAGES  0x1100
#define TOK_UNI_LEAVES 320
extern uint16_t tok_uni_page[TOK_UNI_PAGES];
extern uint16_t tok_uni_leaf[TOK_UNI_LEAVES][256];
void tok_uni_init(void);		    /* before the first tok_uni(); any thread, any number of times */
static inline unsigned tok_uni(uint32_t cp) /* cp <= 0x10FFFF */
{
	return tok_uni_leaf[tok_uni_page[cp >> 8]][cp & 255];
}

/* One code point of s..end, end > s; never reads beyond end. The text was validated before; malformed bytes that come
 * in all the same (a hostile normalization table) are taken one by one as U+FFFD. */
static inline unsigned tok_utf8(const uint8_t *s, const uint8_t *end, uint32_t *cp)
{
	uint32_t c = s[0];
	size_t n = (size_t)(end - s);
	if (c < 0x80) {
		*cp = c;
		return 1;
	}
	if (c >= 0xc2 && c < 0xe0 && n >= 2) {
		*cp = (c & 31) << 6 | (s[1] & 63u);
		return 2;
	}
	if (c >= 0xe0 && c < 0xf0 && n >= 3) {
		*cp = (c & 15) << 12 | (s[1] & 63u) << 6 | (s[2] & 63u);
		return 3;
	}
	if (c >= 0xf0 && c < 0xf5 && n >= 4) {
		*cp = (c & 7) << 18 | (s[1] & 63u) << 12 | (s[2] & 63u) << 6 | (s[3] & 63u);
		if (*cp > 0x10ffff)
			*cp = 0xfffd;
		return 4;
	}
	*cp = 0xfffd;
	return 1;
}
bool tok_utf8_valid(const uint8_t *s, size_t n); /* eight ASCII bytes at a time */

/* GPT-2's byte alphabet: every byte is one printable character. */
unsigned tok_byte_char(uint8_t b, uint8_t out[2]);		    /* UTF-8 of b's character: its length */
int tok_char_byte(uint32_t cp);					    /* -1: not in the alphabet */
void tok_bytes_map(struct mm_buf *out, const uint8_t *s, size_t n); /* appends */
bool tok_bytes_unmap(
	struct mm_buf *out, const uint8_t *s, size_t n); /* appends; false when a character is not of the alphabet */

#endif
