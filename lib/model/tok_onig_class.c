/* tok_onig_class.c - bracketed classes of Oniguruma's regex syntax, for tok_onig.c. */
#include "model/tok_onig.h"

#include <ctype.h>
#include <string.h>

#define CLASS_DEPTH 8

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

/* Under option i the reference adds to a class what its characters are in the other case; PCRE2 not to properties. */
static bool cased(const struct mm_buf *items)
{
	static const char *const some[] = { "\\p{Lu", "\\p{Ll", "\\p{Lt", "\\p{lu", "\\p{ll", "\\p{lt", "\\p{Upper",
		"\\p{Lower", "\\p{upper", "\\p{lower" };
	for (size_t i = 0; items->len && i < MM_COUNT(some); i++)
		if (memmem(items->data, items->len, some[i], strlen(some[i])))
			return true;
	return false;
}

/* \p{...} or \P{...} inside a class; p stands at the brace. */
static int class_property(struct tok_onig *t, struct tok_onig_set *s, bool negated)
{
	struct tok_onig_set one = { 0 };
	int rc = tok_onig_property(t, negated, &one.items, &negated);
	if (!rc && t->folded && cased(&one.items))
		rc = tok_onig_refuse(t, "a class with a property of letter case under option i");
	tok_onig_freshen(&one.items, 0);
	if (!rc && negated)
		also(s, &one, true);
	else if (!rc)
		mm_buf_put(&s->items, one.items.data, one.items.len);
	tok_onig_set_fini(&one);
	return rc;
}

/* An escape inside a class. A single character goes to *cp and 1 is returned; a set goes to `s` and 0 is returned. */
static int class_escape(struct tok_onig *t, struct tok_onig_set *s, uint32_t *cp)
{
	uint8_t c;
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
		mm_buf_str(&s->items, TOK_ONIG_SPACE);
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
		if (t->p >= t->end || *t->p != '{') {
			*cp = c;
			return 1;
		}
		return class_property(t, s, c == 'P');
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
	const char *items;
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
	if (t->folded && (!strcmp(name, "upper") || !strcmp(name, "lower")))
		return tok_onig_refuse(t, "a class with a property of letter case under option i");
	if (!strcmp(name, "graph") || !strcmp(name, "print")) {
		struct tok_onig_set one = { 0 };
		(void)tok_onig_written_out(name, &one.items);
		also(s, &one, negated);
		s->also.failed |= one.items.failed;
		tok_onig_set_fini(&one);
		return 0;
	}
	items = strcmp(name, "punct") ? tok_onig_named(name) : "\\p{P}\\p{S}";
	if (items && strlen(name) <= 6) {
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
