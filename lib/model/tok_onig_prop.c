/* tok_onig_prop.c - properties, \p{...}, of Oniguruma's regex syntax, for tok_onig.c.
 *
 * The reference's regex engine carries Unicode 16, PCRE2 perhaps 14. What has been added since is added by name
 * (tok_unidata.c, tok_unifresh.c); sets that have lost characters are written out; blocks are in tok_uniblock.c.
 */
#include "model/tok_onig.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

struct name {
	const char *from, *to; /* to: items for the inside of a class */
};

static const struct name property[] = {
	{ "letter", "\\p{L}" },
	{ "lowercaseletter", "\\p{Ll}" },
	{ "uppercaseletter", "\\p{Lu}" },
	{ "titlecaseletter", "\\p{Lt}" },
	{ "casedletter", "\\p{Lu}\\p{Ll}\\p{Lt}" },
	{ "modifierletter", "\\p{Lm}" },
	{ "otherletter", "\\p{Lo}" },
	{ "mark", "\\p{M}" },
	{ "combiningmark", "\\p{M}" },
	{ "spacingmark", "\\p{Mc}" },
	{ "enclosingmark", "\\p{Me}" },
	{ "number", "\\p{N}" },
	{ "decimalnumber", "\\p{Nd}" },
	{ "letternumber", "\\p{Nl}" },
	{ "othernumber", "\\p{No}" },
	{ "punctuation", "\\p{P}" },
	{ "punct", "\\p{P}" },
	{ "posixpunct", "\\p{P}\\p{S}" },
	{ "connectorpunctuation", "\\p{Pc}" },
	{ "dashpunctuation", "\\p{Pd}" },
	{ "openpunctuation", "\\p{Ps}" },
	{ "closepunctuation", "\\p{Pe}" },
	{ "initialpunctuation", "\\p{Pi}" },
	{ "finalpunctuation", "\\p{Pf}" },
	{ "otherpunctuation", "\\p{Po}" },
	{ "symbol", "\\p{S}" },
	{ "mathsymbol", "\\p{Sm}" },
	{ "currencysymbol", "\\p{Sc}" },
	{ "modifiersymbol", "\\p{Sk}" },
	{ "othersymbol", "\\p{So}" },
	{ "separator", "\\p{Z}" },
	{ "spaceseparator", "\\p{Zs}" },
	{ "lineseparator", "\\p{Zl}" },
	{ "paragraphseparator", "\\p{Zp}" },
	{ "control", "\\p{Cc}" },
	{ "cntrl", "\\p{Cc}" },
	{ "format", "\\p{Cf}" },
	{ "privateuse", "\\p{Co}" },
	{ "alnum", "\\p{Alphabetic}\\p{Nd}" },
	{ "alpha", "\\p{Alphabetic}" },
	{ "digit", "\\p{Nd}" },
	{ "upper", "\\p{Uppercase}" },
	{ "lower", "\\p{Lowercase}" },
	{ "space", TOK_ONIG_SPACE },
	{ "blank", "\\p{Zs}\\t" },
	{ "word", TOK_ONIG_WORD },
	{ "xdigit", "0-9A-Fa-f" },
	{ "ascii", "\\x{0}-\\x{7f}" },
	{ "any", "\\x{0}-\\x{10ffff}" },
	{ "lc", "\\p{Lu}\\p{Ll}\\p{Lt}" },
};

/* Names that PCRE2 knows as they are; every other one is a script. */
static const char *const plain[] = { "l", "lu", "ll", "lt", "lm", "lo", "m", "mc", "me", "n", "nd", "nl", "no", "p",
	"pc", "pd", "ps", "pe", "pi", "pf", "po", "s", "sm", "sc", "sk", "so", "z", "zs", "zl", "zp", "cc", "cf", "co",
	"alphabetic", "uppercase", "lowercase", "whitespace", "emoji", "emojipresentation", "emojimodifier",
	"emojimodifierbase", "emojicomponent", "extendedpictographic", "ideographic", "math", "hexdigit",
	"asciihexdigit", "idstart", "idcontinue", "xidstart", "xidcontinue", "dash", "diacritic", "extender",
	"quotationmark", "unifiedideograph", "variationselector", "cased", "regionalindicator", "joincontrol",
	"defaultignorablecodepoint" };

/* PCRE2's tables may be older than the reference's: what has been assigned since is added by name. `like` is what
 * stands between the braces: "L" takes all letters. */
static void add_since14(struct mm_buf *items, const char *like)
{
	static const char code[][3] = { "Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc",
		"Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cs" };
	for (size_t i = 0; i < tok_uni_n_since14; i++) {
		const struct tok_cat_range *r = &tok_uni_since14[i];
		if (r->cat && !strncasecmp(code[r->cat], like, strlen(like)))
			mm_buf_printf(items, "\\x{%lx}-\\x{%lx}", (unsigned long)r->first, (unsigned long)r->last);
	}
}

/* The same for items that were put together from properties. */
void tok_onig_freshen(struct mm_buf *items, size_t from)
{
	static const struct name also_in[] = { { "\\p{Alphabetic}", "alphabetic" }, { "\\p{Uppercase}", "uppercase" },
		{ "\\p{Lowercase}", "lowercase" } };
	struct mm_err err;
	char *text = items->data ? mm_strdup((const char *)items->data + from, &err) : NULL;
	for (const char *p = text; p && (p = strstr(p, "\\p{")); p += 3) {
		char like[3] = { p[3], p[4] == '}' ? 0 : p[4], 0 };
		if (p[4] == '}' || p[5] == '}')
			add_since14(items, like);
		for (size_t i = 0; i < MM_COUNT(also_in); i++)
			if (!strncmp(p, also_in[i].from, strlen(also_in[i].from)))
				tok_uni_fresh(also_in[i].to, items);
	}
	if (items->data && !text)
		items->failed = true;
	mm_free(text);
}

void tok_onig_put(struct mm_buf *items, const char *text)
{
	size_t from = items->len;
	mm_buf_str(items, text);
	tok_onig_freshen(items, from);
}

/* Categories that have lost characters since PCRE2's tables, to newly assigned ones above all: written out. */
bool tok_onig_written_out(const char *name, struct mm_buf *items)
{
	static const struct {
		const char *name;
		uint32_t cats;
	} sets[] = { { "c", 1u << TOK_CN | 1u << TOK_CC | 1u << TOK_CF | 1u << TOK_CO }, { "cn", 1u << TOK_CN },
		{ "mn", 1u << TOK_MN }, { "nonspacingmark", 1u << TOK_MN },
		{ "other", 1u << TOK_CN | 1u << TOK_CC | 1u << TOK_CF | 1u << TOK_CO }, { "unassigned", 1u << TOK_CN },
		{ "graph", ~(1u << TOK_CN | 1u << TOK_CC | 1u << TOK_CS | 1u << TOK_ZS | 1u << TOK_ZL | 1u << TOK_ZP) },
		{ "print", ~(1u << TOK_CN | 1u << TOK_CC | 1u << TOK_CS | 1u << TOK_ZL | 1u << TOK_ZP) },
		{ "unknown", 1u << TOK_CN | 1u << TOK_CO }, { "zzzz", 1u << TOK_CN | 1u << TOK_CO } };
	size_t k = 0;
	while (k < MM_COUNT(sets) && strcmp(name, sets[k].name))
		k++;
	if (k == MM_COUNT(sets))
		return false;
	for (size_t i = 0; i < tok_uni_n_run; i++) {
		enum tok_cat cat = TOK_CAT(tok_uni_run[i]);
		unsigned long last = i + 1 < tok_uni_n_run ? (tok_uni_run[i + 1] >> 5) - 1 : 0x10ffff;
		if (sets[k].cats >> (cat < TOK_CAT_ALT_LU ? cat : TOK_LU) & 1)
			mm_buf_printf(items, "\\x{%lx}-\\x{%lx}", (unsigned long)(tok_uni_run[i] >> 5), last);
	}
	return true;
}

const char *tok_onig_named(const char *name)
{
	for (size_t i = 0; i < MM_COUNT(property); i++)
		if (!strcmp(name, property[i].from))
			return property[i].to;
	return NULL;
}

/* p stands behind \p or \P. Items for a class go to `items`; *negated: they are to be complemented. */
int tok_onig_property(struct tok_onig *t, bool upper, struct mm_buf *items, bool *negated)
{
	const uint8_t *close;
	char name[64];
	size_t n = 0;
	if (t->p >= t->end || *t->p != '{' || !(close = memchr(t->p, '}', (size_t)(t->end - t->p))))
		return tok_onig_refuse(t, "\\p without {...}");
	*negated = upper;
	for (const uint8_t *q = t->p + 1; q < close; q++) {
		if (*q == '^' && q == t->p + 1)
			*negated = !*negated;
		else if (isalnum(*q) && n < sizeof(name) - 1)
			name[n++] = (char)tolower(*q);
		else if (*q != ' ' && *q != '_' && *q != '-')
			return tok_onig_refuse(t, "a property name with this character");
	}
	name[n] = 0;
	t->p = close + 1;
	if (tok_onig_written_out(name, items))
		return 0;
	if (tok_onig_named(name)) {
		mm_buf_str(items, tok_onig_named(name));
		return 0;
	}
	for (size_t i = 0; i < MM_COUNT(plain); i++)
		if (!strcmp(name, plain[i])) {
			mm_buf_printf(items, "\\p{%s}", name);
			tok_uni_fresh(name, items);
			return 0;
		}
	if (!n)
		return mm_fail(t->err, MM_EUNSUPPORTED, "regex: property '%s' is not supported", name);
	if (name[0] == 'i' && name[1] == 'n' && tok_uni_block(name + 2, items))
		return 0;
	mm_buf_printf(items, "\\p{sc:%s}", name);
	tok_uni_fresh(name, items);
	return 0;
}
