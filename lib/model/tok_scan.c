/* tok_scan.c - hand-made scanners for the usual pre-tokenizer patterns, several times as fast as a regex engine.
 *
 * Every pattern here covers the whole text: at each place one alternative matches, so a scanner only has to say where
 *the match that begins at `from` ends. tests/unit/model/test_tok_regex.c compares each with PCRE2 on random text.
 *
 *	gpt2    's|'t|'re|'ve|'m|'ll|'d | ?L+ | ?N+ | ?[^\sLN]+ | \s+(?!\S) | \s+
 *	llama3  (?i:'s|...) | [^\r\nLN]?L+ | N{1,k} | ?[^\sLN]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
 *	o200k   [^\r\nLN]?U*W+(?i:'s|...)? | [^\r\nLN]?U+W*(?i:'s|...)? | N{1,k} | ... as llama3, with [\r\n/]*
 *	        U = Lu Lt Lm Lo M, W = Ll Lm Lo M
 *
 * \s+(?!\S) gives the last white space in front of a word back, for the alternatives that take it along.
 */
#include "model/tok_priv.h"

#include <string.h>

struct scan {
	const uint8_t *s, *end;
};

/* Flags of the character at p; 0 at the end, which no character has (Cn alone is 0: then *n is not 0). */
static inline unsigned at(const struct scan *x, const uint8_t *p, unsigned *n)
{
	uint32_t cp;
	if (p >= x->end) {
		*n = 0;
		return 0;
	}
	*n = tok_utf8(p, x->end, &cp);
	return tok_uni(cp);
}

static inline const uint8_t *run(const struct scan *x, const uint8_t *p, unsigned in)
{
	for (;;) {
		unsigned n, f = at(x, p, &n);
		if (!n || !(f & in))
			return p;
		p += n;
	}
}

static inline const uint8_t *run_not(const struct scan *x, const uint8_t *p, unsigned out)
{
	for (;;) {
		unsigned n, f = at(x, p, &n);
		if (!n || (f & out))
			return p;
		p += n;
	}
}

/* End of the contraction at p, which is an apostrophe; p when there is none. */
static const uint8_t *contraction(const struct scan *x, const uint8_t *p, bool fold)
{
	size_t left = (size_t)(x->end - p);
	uint8_t a = left > 1 ? p[1] : 0, b = left > 2 ? p[2] : 0;
	if (fold) {
		if (a == 0xc5 && b == 0xbf) /* long s */
			return p + 3;
		a |= a >= 'A' && a <= 'Z' ? 32 : 0;
		b |= b >= 'A' && b <= 'Z' ? 32 : 0;
	}
	if (a == 's' || a == 't' || a == 'm' || a == 'd')
		return p + 2;
	if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
		return p + 3;
	return p;
}

/* \s+(?!\S)|\s+ from p, which is white space, to `e`, where the run of white space ends. */
static const uint8_t *spaces(const struct scan *x, const uint8_t *p, const uint8_t *e)
{
	const uint8_t *last = e - 1;
	if (e == x->end)
		return e;
	while (last > p && (*last & 0xc0) == 0x80)
		last--;
	return last > p ? last : e;
}

static size_t scan_gpt2(const uint8_t *s, size_t n, size_t from)
{
	struct scan x = { s, s + n };
	const uint8_t *p = s + from, *q;
	unsigned k, f = at(&x, p, &k);
	if (*p == '\'' && (q = contraction(&x, p, false)) > p)
		return (size_t)(q - s);
	if (f & TOK_WS) {
		if (*p != ' ')
			return (size_t)(spaces(&x, p, run(&x, p, TOK_WS)) - s);
		f = at(&x, p + 1, &k);
		if (!k || (f & TOK_WS))
			return (size_t)(spaces(&x, p, run(&x, p, TOK_WS)) - s);
		p++;
	}
	if (f & TOK_L)
		q = run(&x, p + k, TOK_L);
	else if (f & TOK_N)
		q = run(&x, p + k, TOK_N);
	else
		q = run_not(&x, p + k, TOK_WS | TOK_L | TOK_N);
	return (size_t)(q - s);
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ */
static const uint8_t *lines(const struct scan *x, const uint8_t *p)
{
	const uint8_t *e = run(x, p, TOK_WS), *q = e;
	while (q > p && q[-1] != '\n' && q[-1] != '\r')
		q--;
	return q > p ? q : spaces(x, p, e);
}

static const uint8_t *digits(const struct scan *x, const uint8_t *p, unsigned max)
{
	for (unsigned i = 0; !max || i < max; i++) {
		unsigned n, f = at(x, p, &n);
		if (!n || !(f & TOK_N))
			break;
		p += n;
	}
	return p;
}

/* [^\s<out>]+ and then any of \r \n, and / where `slash` */
static const uint8_t *others(const struct scan *x, const uint8_t *p, unsigned out, bool slash)
{
	p = run_not(x, p, TOK_WS | out);
	while (p < x->end && (*p == '\r' || *p == '\n' || (slash && *p == '/')))
		p++;
	return p;
}

/* What comes behind the words: numbers, ` ?[^\s...]+[\r\n]*`, white space. p has flags f, k bytes. */
static const uint8_t *rest(
	const struct scan *x, const uint8_t *p, unsigned f, unsigned out, unsigned max_digits, bool slash)
{
	unsigned k, g;
	if (f & TOK_N)
		return digits(x, p, max_digits);
	if (f & TOK_WS) {
		if (*p == ' ') {
			g = at(x, p + 1, &k);
			if (k && !(g & (TOK_WS | out)))
				return others(x, p + 1, out, slash);
		}
		return lines(x, p);
	}
	return others(x, p, out, slash);
}

static inline size_t llama3(
	const uint8_t *s, size_t n, size_t from, unsigned letters, unsigned max_digits, bool contractions)
{
	struct scan x = { s, s + n };
	const uint8_t *p = s + from, *q;
	unsigned k, k2, f = at(&x, p, &k);
	if (contractions && *p == '\'' && (q = contraction(&x, p, true)) > p)
		return (size_t)(q - s);
	if (f & TOK_L)
		return (size_t)(run(&x, p + k, letters) - s);
	if (!(f & TOK_N) && *p != '\r' && *p != '\n') {
		if (at(&x, p + k, &k2) & letters)
			return (size_t)(run(&x, p + k + k2, letters) - s);
		if (f & letters) /* a mark alone, where marks are letters */
			return from + k;
	}
	return (size_t)(rest(&x, p, f, letters | TOK_N, max_digits, false) - s);
}

static size_t scan_llama3(const uint8_t *s, size_t n, size_t from)
{
	return llama3(s, n, from, TOK_L, 3, true);
}

static size_t scan_qwen2(const uint8_t *s, size_t n, size_t from)
{
	return llama3(s, n, from, TOK_L, 1, true);
}

static size_t scan_all_digits(const uint8_t *s, size_t n, size_t from)
{
	return llama3(s, n, from, TOK_L, 0, true);
}

static size_t scan_qwen35(const uint8_t *s, size_t n, size_t from)
{
	return llama3(s, n, from, TOK_L | TOK_M, 1, true);
}

static size_t scan_plain1(const uint8_t *s, size_t n, size_t from)
{
	return llama3(s, n, from, TOK_L, 1, false);
}

static inline bool upper(unsigned f)
{
	return (f & TOK_M) || ((f & TOK_L) && TOK_CAT(f) != TOK_LL);
}

static inline bool lower(unsigned f)
{
	return (f & TOK_M) || ((f & TOK_L) && TOK_CAT(f) != TOK_LU && TOK_CAT(f) != TOK_LT);
}

static const uint8_t *run_lower(const struct scan *x, const uint8_t *p)
{
	unsigned k;
	while (lower(at(x, p, &k)))
		p += k;
	return p;
}

/* U*W+ at p: its end, NULL when it does not match. U* takes all it can and then gives back until W+ has something: that
 * is the last character that is both, and W+ goes no further, since what follows it was not W. */
static const uint8_t *upper_lower(const struct scan *x, const uint8_t *p)
{
	const uint8_t *both_end = NULL;
	unsigned k, f;
	for (; upper(f = at(x, p, &k)); p += k)
		if (lower(f))
			both_end = p + k;
	if (lower(f))
		return run_lower(x, p);
	return both_end;
}

/* U+W* */
static const uint8_t *uppers(const struct scan *x, const uint8_t *p)
{
	const uint8_t *q = p;
	unsigned k;
	while (upper(at(x, q, &k)))
		q += k;
	return q > p ? run_lower(x, q) : NULL;
}

static inline size_t o200k(const uint8_t *s, size_t n, size_t from, unsigned max_digits, bool contractions)
{
	struct scan x = { s, s + n };
	const uint8_t *p = s + from, *q = NULL;
	unsigned k, f = at(&x, p, &k);
	bool skip = !(f & (TOK_L | TOK_N)) && *p != '\r' && *p != '\n';
	if (skip)
		q = upper_lower(&x, p + k);
	if (!q)
		q = upper_lower(&x, p);
	if (!q && skip)
		q = uppers(&x, p + k);
	if (!q)
		q = uppers(&x, p);
	if (!q)
		return (size_t)(rest(&x, p, f, TOK_L | TOK_N, max_digits, true) - s);
	if (contractions && q < x.end && *q == '\'')
		q = contraction(&x, q, true);
	return (size_t)(q - s);
}

static size_t scan_o200k(const uint8_t *s, size_t n, size_t from)
{
	return o200k(s, n, from, 3, true);
}

static size_t scan_tekken(const uint8_t *s, size_t n, size_t from)
{
	return o200k(s, n, from, 1, false);
}

#define FOLDED	"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS	"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define BEHIND	"\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define OTHERS	" ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define O_LEAD	"[^\\r\\n\\p{L}\\p{N}]?"
#define O_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define O_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O_OTHER " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"

static const struct {
	const char *pattern;
	tok_scan_fn scan;
} scanners[] = {
	{ "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", scan_gpt2 },
	{ "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", scan_gpt2 },
	{ FOLDED "|" WORDS "|\\p{N}{1,3}|" OTHERS "|" BEHIND, scan_llama3 },
	{ FOLDED "|" WORDS "|\\p{N}|" OTHERS "|" BEHIND, scan_qwen2 },
	{ FOLDED "|" WORDS "|\\p{N}+|" OTHERS "|" BEHIND, scan_all_digits },
	{ FOLDED "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" BEHIND,
		scan_qwen35 },
	{ WORDS "|\\p{N}|" OTHERS "|" BEHIND, scan_plain1 },
	{ O_LEAD O_UPPER "*" O_LOWER "+" FOLDED "?|" O_LEAD O_UPPER "+" O_LOWER "*" FOLDED "?|\\p{N}{1,3}|" O_OTHER
			 "|" BEHIND,
		scan_o200k },
	{ O_LEAD O_UPPER "*" O_LOWER "+|" O_LEAD O_UPPER "+" O_LOWER "*|\\p{N}|" O_OTHER "|" BEHIND, scan_tekken },
};

tok_scan_fn tok_scan_find(struct tok_str pattern)
{
	for (size_t i = 0; i < MM_COUNT(scanners); i++)
		if (tok_str_is(pattern, scanners[i].pattern))
			return scanners[i].scan;
	return NULL;
}

const char *tok_scan_pattern(size_t i)
{
	size_t k = 0;
	for (size_t j = 0; j < MM_COUNT(scanners); j++)
		if (k++ == i)
			return scanners[j].pattern;
	return NULL;
}
