/* tok_onig.c - from Oniguruma's regex syntax (Ruby's dialect) to PCRE2's.
 *
 *	                     Oniguruma                              here
 *	\s \w \d \h          White_Space; Alphabetic, M, Nd, Pc; Nd; hex   classes written out
 *	(?m)                 . matches newlines                     (?s); ^ and $ are always line anchors
 *	a(?i)b|c             a(?i:b|c)                              said so
 *	x{1,2}+ x{2}? x{,2}  repeated; optional; 0 to 2             (?:x{1,2})+ (?:x{2})? x{0,2}
 *	[a[bc]] [a-z&&[^b]]  nested classes, intersection           alternatives and lookaheads
 *	\p{Letter} \p{Han}   long names; scripts, not extensions    \p{L} \p{sc:Han}
 *	\xHH                 a raw byte above 7F                    refused
 *
 * Anything that stays unclear is refused and named: a tokenizer that cuts a little differently is worse than none.
 */
#include "model/tok_priv.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define GROUPS_MAX  100
#define CLASS_DEPTH 8

#define WORD_ITEMS  "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}" /* inside a class; outside, a Latin-1 table has these too: */
#define WORD_OUTER  WORD_ITEMS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define SPACE_ITEMS "\\p{White_Space}"

struct tr {
	const uint8_t *p, *end;
	struct mm_buf *out;
	struct mm_err *err;
	size_t group[GROUPS_MAX];   /* where each open group begins in out */
	unsigned extra[GROUPS_MAX]; /* parentheses to close with it: isolated options */
	unsigned depth;
	size_t atom; /* where the last atom begins, SIZE_MAX: nothing to repeat */
};

static int refuse(struct tr *t, const char *what)
{
	return mm_fail(t->err, MM_EUNSUPPORTED, "regex: %s is not supported", what);
}

static void insert(struct mm_buf *b, size_t at, const char *s)
{
	size_t n = strlen(s), tail = b->len - at;
	mm_buf_str(b, s);
	if (b->failed)
		return;
	memmove(b->data + at + n, b->data + at, tail);
	memcpy(b->data + at, s, n);
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
static int code_point(struct tr *t, uint8_t letter, uint32_t *cp)
{
	const uint8_t *close;
	size_t n = 4;
	if (letter == 'x' && t->p < t->end && *t->p == '{') {
		close = memchr(t->p, '}', (size_t)(t->end - t->p));
		if (!close || hex_value(t->p + 1, (size_t)(close - t->p - 1), cp))
			return refuse(t, "this \\x{...}");
		t->p = close + 1;
		return 0;
	}
	if (letter == 'x')
		for (n = 0; n < 2 && t->p + n < t->end && isxdigit(t->p[n]); n++)
			;
	if ((size_t)(t->end - t->p) < n || hex_value(t->p, n, cp))
		return refuse(t, letter == 'x' ? "\\x without digits" : "\\u without four digits");
	if (letter == 'x' && *cp >= 0x80)
		return refuse(t, "a raw byte (\\x80 and above)");
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
	{ "word", WORD_ITEMS },
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
static void freshen(struct mm_buf *items, size_t from)
{
	static const struct name also_in[] = { { "\\p{Alphabetic}", "L" }, { "\\p{Uppercase}", "Lu" },
		{ "\\p{Lowercase}", "Ll" } };
	char *text = items->data ? strdup((const char *)items->data + from) : NULL;
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
	free(text);
}

static void put_fresh(struct mm_buf *items, const char *text)
{
	size_t from = items->len;
	mm_buf_str(items, text);
	freshen(items, from);
}

/* p stands behind \p or \P. Items for a class go to `items`; *negated: they are to be complemented. */
static int parse_property(struct tr *t, bool upper, struct mm_buf *items, bool *negated)
{
	const uint8_t *close;
	char name[64];
	size_t n = 0;
	if (t->p >= t->end || *t->p != '{' || !(close = memchr(t->p, '}', (size_t)(t->end - t->p))))
		return refuse(t, "\\p without {...}");
	*negated = upper;
	for (const uint8_t *q = t->p + 1; q < close; q++) {
		if (*q == '^' && q == t->p + 1)
			*negated = !*negated;
		else if (isalnum(*q) && n < sizeof(name) - 1)
			name[n++] = (char)tolower(*q);
		else if (*q != ' ' && *q != '_' && *q != '-')
			return refuse(t, "a property name with this character");
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

struct set {
	struct mm_buf items, also;
};

static void set_fini(struct set *s)
{
	mm_buf_fini(&s->items);
	mm_buf_fini(&s->also);
}

/* The set as an expression that matches one character. */
static void set_put(const struct set *s, bool negated, struct mm_buf *out)
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

static void also(struct set *s, const struct set *other, bool negated)
{
	if (s->also.len)
		mm_buf_str(&s->also, "|");
	set_put(other, negated, &s->also);
}

static void also_items(struct set *s, const char *items)
{
	struct set one = { 0 };
	put_fresh(&one.items, items);
	also(s, &one, true);
	s->also.failed |= one.items.failed;
	set_fini(&one);
}

static void put_cp(struct mm_buf *b, uint32_t cp)
{
	uint8_t u[4];
	if (cp < 0x80 && !isalnum((int)cp)) {
		mm_buf_printf(b, "\\x{%x}", (unsigned)cp);
		return;
	}
	mm_buf_put(b, u, mm_utf8_encode(cp, u));
}

static bool control_char(uint8_t c, uint32_t *cp)
{
	static const char from[] = "tnrfaev", to[] = "\t\n\r\f\a\x1b\v";
	const char *at = c ? strchr(from, c) : NULL;
	if (at)
		*cp = (uint8_t)to[at - from];
	return at != NULL;
}

/* An escape inside a class. A single character goes to *cp and 1 is returned; a set goes to `s` and 0 is returned. */
static int class_escape(struct tr *t, struct set *s, uint32_t *cp)
{
	uint8_t c;
	bool negated;
	struct set one = { 0 };
	int rc;
	if (t->p >= t->end)
		return refuse(t, "a backslash at the end");
	c = *t->p;
	if (c >= 0x80) {
		t->p += tok_utf8(t->p, t->end, cp);
		return 1;
	}
	t->p++;
	if (control_char(c, cp))
		return 1;
	switch (c) {
	case 'd':
		put_fresh(&s->items, "\\p{Nd}");
		return 0;
	case 's':
		mm_buf_str(&s->items, SPACE_ITEMS);
		return 0;
	case 'w':
		put_fresh(&s->items, WORD_ITEMS);
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
		also_items(s, WORD_ITEMS);
		return 0;
	case 'H':
		also_items(s, "0-9A-Fa-f");
		return 0;
	case 'b':
		*cp = 8;
		return 1;
	case 'x':
	case 'u':
		return code_point(t, c, cp) ? -1 : 1;
	case 'p':
	case 'P':
		rc = parse_property(t, c == 'P', &one.items, &negated);
		freshen(&one.items, 0);
		if (!rc && negated)
			also(s, &one, true);
		else if (!rc)
			mm_buf_put(&s->items, one.items.data, one.items.len);
		set_fini(&one);
		return rc;
	default:
		if (isdigit(c) || strchr("cCMRXKGkgN", c))
			return refuse(t, "this escape in a class");
		*cp = c;
		return 1;
	}
}

/* [:name:] inside a class; p stands at its '['. 1: there was none. */
static int posix_class(struct tr *t, struct set *s)
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
			put_fresh(&s->items, items);
		return 0;
	}
	return mm_fail(t->err, MM_EUNSUPPORTED, "regex: class [:%s:] is not supported", name);
}

static int parse_class(struct tr *t, unsigned depth, struct set *s, bool *negated);

static int nested(struct tr *t, unsigned depth, struct set *s)
{
	struct set in = { 0 };
	bool neg;
	int rc = parse_class(t, depth + 1, &in, &neg);
	if (!rc && !neg && !in.also.len)
		mm_buf_put(&s->items, in.items.data, in.items.len);
	else if (!rc)
		also(s, &in, neg);
	set_fini(&in);
	return rc;
}

/* One member: a range, a character, an escape, a nested class. */
static int member(struct tr *t, unsigned depth, struct set *s)
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
	put_cp(&s->items, a);
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
			return refuse(t, "a range that ends in a class");
	} else {
		t->p += tok_utf8(t->p, t->end, &b);
	}
	if (b < a)
		return refuse(t, "an empty range");
	mm_buf_str(&s->items, "-");
	put_cp(&s->items, b);
	return 0;
}

/* left becomes what is in left and in right */
static void intersect(struct set *left, struct set *right)
{
	struct set both = { 0 };
	mm_buf_str(&both.also, "(?:(?=");
	set_put(left, false, &both.also);
	mm_buf_str(&both.also, ")");
	set_put(right, false, &both.also);
	mm_buf_str(&both.also, ")");
	set_fini(left);
	*left = both;
}

/* p stands at the '['. */
static int parse_class(struct tr *t, unsigned depth, struct set *s, bool *negated)
{
	struct set right = { 0 };
	bool first = true, have_left = false;
	int rc = 0;
	if (depth > CLASS_DEPTH)
		return refuse(t, "a class nested that deep");
	t->p++;
	*negated = t->p < t->end && *t->p == '^';
	t->p += *negated;
	while (!rc && t->p < t->end && (*t->p != ']' || first)) {
		if (t->end - t->p >= 2 && t->p[0] == '&' && t->p[1] == '&') {
			t->p += 2;
			if (have_left)
				intersect(s, &right);
			set_fini(&right);
			right = (struct set){ 0 };
			have_left = true;
			first = false;
			continue;
		}
		first = false;
		rc = member(t, depth, have_left ? &right : s);
	}
	if (!rc && have_left)
		intersect(s, &right);
	set_fini(&right);
	if (rc)
		return rc;
	if (t->p >= t->end)
		return refuse(t, "a class without its end");
	t->p++;
	return 0;
}

static int class_atom(struct tr *t)
{
	struct set s = { 0 };
	bool negated;
	int rc = parse_class(t, 0, &s, &negated);
	if (!rc) {
		t->atom = t->out->len;
		set_put(&s, negated, t->out);
		t->out->failed |= s.items.failed || s.also.failed;
	}
	set_fini(&s);
	return rc;
}

/* ---- outside classes ---- */

static void put_set(struct mm_buf *o, const char *items, bool negated)
{
	struct set one = { 0 };
	put_fresh(&one.items, items);
	set_put(&one, negated, o);
	o->failed |= one.items.failed;
	set_fini(&one);
}

/* Between a word character and another one, or not so. */
static void put_boundary(struct mm_buf *o, bool negated)
{
	static const char *const around[] = { "(?<=", ")(?!", ")|(?<!", ")(?=", "))" }, *const inside[] = {
		"(?<=", ")(?=", ")|(?<!", ")(?!", "))"
	};
	mm_buf_str(o, "(?:");
	for (unsigned i = 0; i < 5; i++) {
		mm_buf_str(o, negated ? inside[i] : around[i]);
		if (i < 4)
			put_set(o, WORD_OUTER, false);
	}
}

static int escape(struct tr *t)
{
	struct mm_buf *o = t->out;
	struct set one = { 0 };
	bool negated;
	uint32_t cp;
	uint8_t c;
	int rc = 0;
	if (++t->p >= t->end)
		return refuse(t, "a backslash at the end");
	c = *t->p;
	t->atom = o->len;
	if (c >= 0x80) {
		t->p += tok_utf8(t->p, t->end, &cp);
		put_cp(o, cp);
		return 0;
	}
	t->p++;
	if (control_char(c, &cp)) {
		put_cp(o, cp);
		return 0;
	}
	switch (c) {
	case 'd':
	case 'D':
		put_set(o, "\\p{Nd}", c == 'D');
		break;
	case 's':
	case 'S':
		mm_buf_str(o, c == 's' ? "\\p{White_Space}" : "\\P{White_Space}");
		break;
	case 'w':
	case 'W':
		put_set(o, WORD_OUTER, c == 'W');
		break;
	case 'h':
	case 'H':
		mm_buf_printf(o, "[%s0-9A-Fa-f]", c == 'h' ? "" : "^");
		break;
	case 'b':
	case 'B':
		put_boundary(o, c == 'B');
		break;
	case 'x':
	case 'u':
		rc = code_point(t, c, &cp);
		if (!rc)
			put_cp(o, cp);
		break;
	case 'p':
	case 'P':
		rc = parse_property(t, c == 'P', &one.items, &negated);
		if (!rc && one.items.data && !strcmp((const char *)one.items.data, WORD_ITEMS)) {
			one.items.len = 0;
			mm_buf_str(&one.items, WORD_OUTER);
		}
		freshen(&one.items, 0);
		if (!rc)
			set_put(&one, negated, o);
		t->out->failed |= one.items.failed;
		set_fini(&one);
		break;
	case 'N':
	case 'O':
		mm_buf_str(o, c == 'N' ? "[^\\n]" : "(?s:.)");
		break;
	case 'A':
	case 'z':
	case 'Z':
	case 'R':
		mm_buf_printf(o, "\\%c", c);
		break;
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
	case '7':
	case '8':
	case '9':
		mm_buf_printf(o, "\\g{%c", c);
		while (t->p < t->end && isdigit(*t->p))
			mm_buf_u8(o, *t->p++);
		mm_buf_str(o, "}");
		break;
	default:
		if (strchr("KGkgcCMyYX0", c))
			return mm_fail(t->err, MM_EUNSUPPORTED, "regex: \\%c is not supported", c);
		put_cp(o, c);
	}
	return rc;
}

/* (?i-m) and (?i-m:  - p stands behind "(?" */
static int options(struct tr *t)
{
	bool minus = false;
	mm_buf_str(t->out, "(?");
	for (; t->p < t->end && *t->p != ')' && *t->p != ':'; t->p++) {
		if (*t->p == '-' && !minus)
			minus = true;
		else if (*t->p == 'x')
			return refuse(t, "option x");
		else if (*t->p != 'i' && *t->p != 'm')
			return refuse(t, "this group");
		mm_buf_u8(t->out, *t->p == 'm' ? 's' : *t->p);
	}
	if (t->p >= t->end)
		return refuse(t, "a group without its end");
	mm_buf_str(t->out, ":");
	if (*t->p == ')') { /* to the end of the group around it, whatever alternatives follow */
		t->extra[t->depth]++;
		t->atom = SIZE_MAX;
		t->p++;
		return 1;
	}
	t->p++;
	return 0;
}

static int open_group(struct tr *t)
{
	static const char *const same[] = { "?:", "?=", "?!", "?>", "?<=", "?<!" };
	size_t begin = t->out->len;
	const uint8_t *q;
	int rc = -1;
	t->p++;
	if (t->end - t->p >= 2 && t->p[0] == '?' && t->p[1] == '#') {
		q = memchr(t->p, ')', (size_t)(t->end - t->p));
		if (!q)
			return refuse(t, "a comment without its end");
		t->p = q + 1;
		return 0;
	}
	for (size_t i = 0; i < MM_COUNT(same) && rc < 0; i++) {
		size_t n = strlen(same[i]);
		if ((size_t)(t->end - t->p) >= n && !memcmp(t->p, same[i], n)) {
			mm_buf_printf(t->out, "(%s", same[i]);
			t->p += n;
			rc = 0;
		}
	}
	if (rc < 0 && (t->p >= t->end || *t->p != '?')) {
		mm_buf_str(t->out, "(");
		rc = 0;
	}
	if (rc < 0) {
		t->p++;
		if (t->p < t->end && (*t->p == '<' || *t->p == '(' || *t->p == '~' || *t->p == '{'))
			return refuse(t, *t->p == '<' ? "a named group" : "this group");
		rc = options(t);
		if (rc)
			return rc < 0 ? -1 : 0;
	}
	if (t->depth + 1 >= GROUPS_MAX)
		return refuse(t, "groups nested that deep");
	t->group[++t->depth] = begin;
	t->extra[t->depth] = 0;
	t->atom = SIZE_MAX;
	return 0;
}

static int close_group(struct tr *t)
{
	if (!t->depth)
		return refuse(t, "a closing parenthesis without its group");
	for (; t->extra[t->depth]; t->extra[t->depth]--)
		mm_buf_str(t->out, ")");
	mm_buf_str(t->out, ")");
	t->atom = t->group[t->depth--];
	t->p++;
	return 0;
}

/* {n} {n,} {n,m} {,m}: false when it is none, and the brace a character. */
static bool interval(struct tr *t, char out[48], bool *fixed)
{
	unsigned long v[2] = { 0, 0 };
	bool have[2] = { false, false }, comma = false;
	const uint8_t *q = t->p + 1;
	for (; q < t->end && *q != '}'; q++) {
		if (*q == ',' && !comma)
			comma = true;
		else if (isdigit(*q) && v[comma] <= 65535) {
			v[comma] = v[comma] * 10 + (*q - '0');
			have[comma] = true;
		} else
			return false;
	}
	if (q >= t->end || (!have[0] && !have[1]))
		return false;
	*fixed = !comma;
	if (!comma)
		snprintf(out, 48, "{%lu}", v[0]);
	else if (have[1])
		snprintf(out, 48, "{%lu,%lu}", v[0], v[1]);
	else
		snprintf(out, 48, "{%lu,}", v[0]);
	t->p = q + 1;
	return true;
}

static int quantifier(struct tr *t)
{
	char text[48] = { 0 };
	bool fixed = false, braces = *t->p == '{';
	size_t atom = t->atom;
	if (braces && (atom == SIZE_MAX || !interval(t, text, &fixed))) {
		t->atom = t->out->len;
		mm_buf_str(t->out, "\\{");
		t->p++;
		return 0;
	}
	if (atom == SIZE_MAX)
		return refuse(t, "a quantifier without something to repeat");
	if (!braces)
		text[0] = (char)*t->p++;
	mm_buf_str(t->out, text);
	if (t->p < t->end && *t->p == '?' && !fixed) {
		mm_buf_str(t->out, "?");
		t->p++;
	} else if (t->p < t->end && *t->p == '+' && !braces) {
		mm_buf_str(t->out, "+");
		t->p++;
	}
	if (t->p < t->end && memchr("*+?{", *t->p, 4)) { /* a quantifier on a quantified atom */
		insert(t->out, atom, "(?:");
		mm_buf_str(t->out, ")");
	}
	t->atom = atom;
	return 0;
}

int tok_regex_translate(struct tok_str pattern, struct mm_buf *out, struct mm_err *err)
{
	struct tr t = { .p = pattern.s, .end = pattern.s + pattern.n, .out = out, .err = err, .atom = SIZE_MAX };
	int rc = 0;
	while (!rc && t.p < t.end) {
		uint32_t cp;
		switch (*t.p) {
		case '\\':
			rc = escape(&t);
			break;
		case '[':
			rc = class_atom(&t);
			break;
		case '(':
			rc = open_group(&t);
			break;
		case ')':
			rc = close_group(&t);
			break;
		case '*':
		case '+':
		case '?':
		case '{':
			rc = quantifier(&t);
			break;
		case '|':
		case '^':
		case '$':
			mm_buf_u8(out, *t.p++);
			t.atom = SIZE_MAX;
			break;
		case '.':
			t.atom = out->len;
			mm_buf_u8(out, *t.p++);
			break;
		default:
			t.atom = out->len;
			t.p += tok_utf8(t.p, t.end, &cp);
			put_cp(out, cp);
		}
	}
	if (rc)
		return rc;
	if (t.depth)
		return refuse(&t, "a group without its end");
	for (; t.extra[0]; t.extra[0]--)
		mm_buf_str(out, ")");
	return mm_buf_check(out, err);
}
