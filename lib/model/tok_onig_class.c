/* tok_onig_class.c - properties and bracketed classes of Oniguruma's regex syntax, for tok_onig.c. */
#include "model/tok_onig.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define CLASS_DEPTH 8
#define SPACE_ITEMS "\\p{White_Space}"

int tok_onig_refuse(struct tok_onig *t, const char *what)
{
	return mm_fail(t->err, MM_EUNSUPPORTED, "regex: %s is not supported", what);
}

static int hex_value(const uint8_t *s, size_t n, uint32_t *out)
{
	uint32_t v = 0;
	if (!n || n > 6)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (!isxdigit(s[i]))
			return -1;
		v = v << 4 | (uint32_t)(isdigit(s[i]) ? s[i] - '0' : (s[i] | 32) - 'a' + 10);
	}
	*out = v;
	return v > 0x10ffff || (v >= 0xd800 && v < 0xe000) ? -1 : 0;
}

/* \x41 \x{41} \u0041; p stands behind the letter. */
int tok_onig_code_point(struct tok_onig *t, uint8_t letter, uint32_t *cp)
{
	const uint8_t *close;
	size_t n = 4;
	if (letter == 'x' && t->p < t->end && *t->p == '{') {
		close = memchr(t->p, '}', (size_t)(t->end - t->p));
		if (!close || hex_value(t->p + 1, (size_t)(close - t->p - 1), cp))
			return tok_onig_refuse(t, "this \\x{...}");
		t->p = close + 1;
		return 0;
	}
	if (letter == 'x')
		for (n = 0; n < 2 && t->p + n < t->end && isxdigit(t->p[n]); n++)
			;
	if ((size_t)(t->end - t->p) < n || hex_value(t->p, n, cp))
		return tok_onig_refuse(t, letter == 'x' ? "\\x without digits" : "\\u without four digits");
	if (letter == 'x' && *cp >= 0x80)
		return tok_onig_refuse(t, "a raw byte (\\x80 and above)");
	t->p += n;
	return 0;
}

/* ---- properties ---- */

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
	{ "nonspacingmark", "\\p{Mn}" },
	{ "spacingmark", "\\p{Mc}" },
	{ "enclosingmark", "\\p{Me}" },
	{ "number", "\\p{N}" },
	{ "decimalnumber", "\\p{Nd}" },
	{ "letternumber", "\\p{Nl}" },
	{ "othernumber", "\\p{No}" },
	{ "punctuation", "\\p{P}" },
	{ "punct", "\\p{P}" },
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
	{ "other", "\\p{C}" },
	{ "control", "\\p{Cc}" },
	{ "cntrl", "\\p{Cc}" },
	{ "format", "\\p{Cf}" },
	{ "privateuse", "\\p{Co}" },
	{ "unassigned", "\\p{Cn}" },
	{ "alnum", "\\p{Alphabetic}\\p{Nd}" },
	{ "alpha", "\\p{Alphabetic}" },
	{ "digit", "\\p{Nd}" },
	{ "upper", "\\p{Uppercase}" },
	{ "lower", "\\p{Lowercase}" },
	{ "space", SPACE_ITEMS },
	{ "blank", "\\p{Zs}\\t" },
	{ "word", TOK_ONIG_WORD },
	{ "xdigit", "0-9A-Fa-f" },
	{ "ascii", "\\x{0}-\\x{7f}" },
	{ "any", "\\x{0}-\\x{10ffff}" },
	{ "lc", "\\p{Lu}\\p{Ll}\\p{Lt}" },
};

/* Names that PCRE2 knows as they are; every other one is a script. */
static const char *const plain[] = { "l", "lu", "ll", "lt", "lm", "lo", "m", "mn", "mc", "me", "n", "nd", "nl", "no",
	"p", "pc", "pd", "ps", "pe", "pi", "pf", "po", "s", "sm", "sc", "sk", "so", "z", "zs", "zl", "zp", "c", "cc",
	"cf", "co", "cn", "alphabetic", "uppercase", "lowercase", "whitespace", "emoji", "emojipresentation",
	"emojimodifier", "emojimodifierbase", "emojicomponent", "extendedpictographic", "ideographic", "math",
	"hexdigit", "asciihexdigit", "idstart", "idcontinue", "xidstart", "xidcontinue", "dash", "diacritic",
	"extender", "quotationmark", "unifiedideograph", "variationselector", "cased", "caseignorable",
	"regionalindicator", "joincontrol", "defaultignorablecodepoint", "graphemebase", "graphemeextend" };

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
	static const struct name also_in[] = { { "\\p{Alphabetic}", "L" }, { "\\p{Uppercase}", "Lu" },
		{ "\\p{Lowercase}", "Ll" } };
	struct mm_err err;
	char *text = items->data ? mm_strdup((const char *)items->data + from, &err) : NULL;
	for (const char *p = text; p && (p = strstr(p, "\\p{")); p += 3) {
		char like[3] = { p[3], p[4] == '}' ? 0 : p[4], 0 };
		if (p[4] == '}' || p[5] == '}')
			add_since14(items, like);
		for (size_t i = 0; i < MM_COUNT(also_in); i++)
			if (!strncmp(p, also_in[i].from, strlen(also_in[i].from)))
				add_since14(items, also_in[i].to);
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
	for (size_t i = 0; i < MM_COUNT(property); i++)
		if (!strcmp(name, property[i].from)) {
			mm_buf_str(items, property[i].to);
			return 0;
		}
	for (size_t i = 0; i < MM_COUNT(plain); i++)
		if (!strcmp(name, plain[i])) {
			mm_buf_printf(items, "\\p{%s}", name);
			return 0;
		}
	if (!n || (name[0] == 'i' && name[1] == 'n' && n > 2 && strncmp(name, "inscription", 11)))
		return mm_fail(t->err, MM_EUNSUPPORTED, "regex: property '%s' is not supported", name);
	mm_buf_printf(items, "\\p{sc:%s}", name);
	return 0;
}

/* ---- classes ----
 * A class is a union of items that PCRE2 takes inside [...] and of expressions for one character each ("also"). */

void tok_onig_set_fini(struct tok_onig_set *s)
{
	mm_buf_fini(&s->items);
	mm_buf_fini(&s->also);
}

/* The set as an expression that matches one character. */
void tok_onig_set_put(const struct tok_onig_set *s, bool negated, struct mm_buf *out)
{
	const char *items = s->items.data ? (const char *)s->items.data : "";
	if (!s->also.len && s->items.len) {
		mm_buf_printf(out, "[%s%s]", negated ? "^" : "", items);
	} else if (!s->also.len) {
		mm_buf_str(out, negated ? "(?s:.)" : "(?!)");
	} else {
		mm_buf_str(out, negated ? "(?:(?!" : "(?:");
		if (s->items.len)
			mm_buf_printf(out, "[%s]|", items);
		mm_buf_put(out, s->also.data, s->also.len);
		mm_buf_str(out, negated ? ")(?s:.))" : ")");
	}
}

static void also(struct tok_onig_set *s, const struct tok_onig_set *other, bool negated)
{
	if (s->also.len)
		mm_buf_str(&s->also, "|");
	tok_onig_set_put(other, negated, &s->also);
}

static void also_items(struct tok_onig_set *s, const char *items)
{
	struct tok_onig_set one = { 0 };
	tok_onig_put(&one.items, items);
	also(s, &one, true);
	s->also.failed |= one.items.failed;
	tok_onig_set_fini(&one);
}

void tok_onig_put_cp(struct mm_buf *b, uint32_t cp)
{
	uint8_t u[4];
	if (cp < 0x80 && !isalnum((int)cp)) {
		mm_buf_printf(b, "\\x{%x}", (unsigned)cp);
		return;
	}
	mm_buf_put(b, u, mm_utf8_encode(cp, u));
}

bool tok_onig_control(uint8_t c, uint32_t *cp)
{
	static const char from[] = "tnrfaev", to[] = "\t\n\r\f\a\x1b\v";
	const char *at = c ? strchr(from, c) : NULL;
	if (at)
		*cp = (uint8_t)to[at - from];
	return at != NULL;
}

/* An escape inside a class. A single character goes to *cp and 1 is returned; a set goes to `s` and 0 is returned. */
static int class_escape(struct tok_onig *t, struct tok_onig_set *s, uint32_t *cp)
{
	uint8_t c;
	bool negated;
	struct tok_onig_set one = { 0 };
	int rc;
	if (t->p >= t->end)
		return tok_onig_refuse(t, "a backslash at the end");
	c = *t->p;
	if (c >= 0x80) {
		t->p += tok_utf8(t->p, t->end, cp);
		return 1;
	}
	t->p++;
	if (tok_onig_control(c, cp))
		return 1;
	switch (c) {
	case 'd':
		tok_onig_put(&s->items, "\\p{Nd}");
		return 0;
	case 's':
		mm_buf_str(&s->items, SPACE_ITEMS);
		return 0;
	case 'w':
		tok_onig_put(&s->items, TOK_ONIG_WORD);
		return 0;
	case 'h':
		mm_buf_str(&s->items, "0-9A-Fa-f");
		return 0;
	case 'D':
		also_items(s, "\\p{Nd}");
		return 0;
	case 'S':
		mm_buf_str(&s->items, "\\P{White_Space}");
		return 0;
	case 'W':
		also_items(s, TOK_ONIG_WORD);
		return 0;
	case 'H':
		also_items(s, "0-9A-Fa-f");
		return 0;
	case 'b':
		*cp = 8;
		return 1;
	case 'x':
	case 'u':
		return tok_onig_code_point(t, c, cp) ? -1 : 1;
	case 'p':
	case 'P':
		rc = tok_onig_property(t, c == 'P', &one.items, &negated);
		tok_onig_freshen(&one.items, 0);
		if (!rc && negated)
			also(s, &one, true);
		else if (!rc)
			mm_buf_put(&s->items, one.items.data, one.items.len);
		tok_onig_set_fini(&one);
		return rc;
	default:
		if (isdigit(c) || strchr("cCMRXKGkgN", c))
			return tok_onig_refuse(t, "this escape in a class");
		*cp = c;
		return 1;
	}
}

/* [:name:] inside a class; p stands at its '['. 1: there was none. */
static int posix_class(struct tok_onig *t, struct tok_onig_set *s)
{
	const uint8_t *q = t->p + 2;
	bool negated;
	char name[16];
	size_t n = 0;
	if (t->end - t->p < 4 || t->p[1] != ':')
		return 1;
	negated = *q == '^';
	q += negated;
	while (q < t->end && isalpha(*q) && n < sizeof(name) - 1)
		name[n++] = (char)*q++;
	name[n] = 0;
	if (t->end - q < 2 || q[0] != ':' || q[1] != ']')
		return 1;
	t->p = q + 2;
	for (size_t i = 0; i < MM_COUNT(property); i++) {
		const char *items = strcmp(name, "punct") ? property[i].to : "\\p{P}\\p{S}";
		if (strcmp(name, property[i].from) || strlen(name) > 6)
			continue;
		if (negated)
			also_items(s, items);
		else
			tok_onig_put(&s->items, items);
		return 0;
	}
	return mm_fail(t->err, MM_EUNSUPPORTED, "regex: class [:%s:] is not supported", name);
}

static int nested(struct tok_onig *t, unsigned depth, struct tok_onig_set *s)
{
	struct tok_onig_set in = { 0 };
	bool neg;
	int rc = tok_onig_class(t, depth + 1, &in, &neg);
	if (!rc && !neg && !in.also.len)
		mm_buf_put(&s->items, in.items.data, in.items.len);
	else if (!rc)
		also(s, &in, neg);
	tok_onig_set_fini(&in);
	return rc;
}

/* One member: a range, a character, an escape, a nested class. */
static int member(struct tok_onig *t, unsigned depth, struct tok_onig_set *s)
{
	uint32_t a, b;
	int rc;
	if (*t->p == '[') {
		rc = posix_class(t, s);
		return rc == 1 ? nested(t, depth, s) : rc;
	}
	if (*t->p == '\\') {
		t->p++;
		rc = class_escape(t, s, &a);
		if (rc <= 0)
			return rc;
	} else {
		t->p += tok_utf8(t->p, t->end, &a);
	}
	tok_onig_put_cp(&s->items, a);
	if (t->end - t->p < 2 || t->p[0] != '-' || t->p[1] == ']' || t->p[1] == '[')
		return 0;
	t->p++;
	if (*t->p == '\\') {
		size_t before = s->items.len + s->also.len;
		t->p++;
		rc = class_escape(t, s, &b);
		if (rc < 0)
			return -1;
		if (!rc || before != s->items.len + s->also.len)
			return tok_onig_refuse(t, "a range that ends in a class");
	} else {
		t->p += tok_utf8(t->p, t->end, &b);
	}
	if (b < a)
		return tok_onig_refuse(t, "an empty range");
	mm_buf_str(&s->items, "-");
	tok_onig_put_cp(&s->items, b);
	return 0;
}

/* left becomes what is in left and in right */
static void intersect(struct tok_onig_set *left, struct tok_onig_set *right)
{
	struct tok_onig_set both = { 0 };
	mm_buf_str(&both.also, "(?:(?=");
	tok_onig_set_put(left, false, &both.also);
	mm_buf_str(&both.also, ")");
	tok_onig_set_put(right, false, &both.also);
	mm_buf_str(&both.also, ")");
	tok_onig_set_fini(left);
	*left = both;
}

/* p stands at the '['. */
int tok_onig_class(struct tok_onig *t, unsigned depth, struct tok_onig_set *s, bool *negated)
{
	struct tok_onig_set right = { 0 };
	bool first = true, have_left = false;
	int rc = 0;
	if (depth > CLASS_DEPTH)
		return tok_onig_refuse(t, "a class nested that deep");
	t->p++;
	*negated = t->p < t->end && *t->p == '^';
	t->p += *negated;
	while (!rc && t->p < t->end && (*t->p != ']' || first)) {
		if (t->end - t->p >= 2 && t->p[0] == '&' && t->p[1] == '&') {
			t->p += 2;
			if (have_left)
				intersect(s, &right);
			tok_onig_set_fini(&right);
			right = (struct tok_onig_set){ 0 };
			have_left = true;
			first = false;
			continue;
		}
		first = false;
		rc = member(t, depth, have_left ? &right : s);
	}
	if (!rc && have_left)
		intersect(s, &right);
	tok_onig_set_fini(&right);
	if (rc)
		return rc;
	if (t->p >= t->end)
		return tok_onig_refuse(t, "a class without its end");
	t->p++;
	return 0;
}
