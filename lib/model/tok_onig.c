/* tok_onig.c - from Oniguruma's regex syntax (Ruby's dialect) to PCRE2's.
 *
 *	                     Oniguruma                              here
 *	\s \w \d \h          White_Space; Alphabetic, M, Nd, Pc; Nd; hex   classes written out
 *	(?m)                 . matches newlines                     (?s); ^ and $ are always line anchors
 *	a(?i)b|c             a(?i:b|c)                              said so
 *	x{1,2}+ x{2}? x{,2}  repeated; optional; 0 to 2             (?:x{1,2})+ (?:x{2})? x{0,2}
 *	[a[bc]] [a-z&&[^b]]  nested classes, intersection           alternatives and lookaheads
 *	\p{Letter} \p{Han}   long names; scripts, not extensions    \p{L} \p{sc:Han}
 *	\p{InBasicLatin}     blocks                                 ranges
 *	(?x)                 white space and comments               left out
 *	\xHH                 a raw byte above 7F                    refused
 *
 * Anything that stays unclear is refused and named: a tokenizer that cuts a little differently is worse than none.
 */
#include "model/tok_onig.h"

#include <ctype.h>
#include <string.h>

static void insert(struct mm_buf *b, size_t at, const char *s)
{
	size_t n = strlen(s), tail = b->len - at;
	mm_buf_str(b, s);
	if (b->failed)
		return;
	memmove(b->data + at + n, b->data + at, tail);
	memcpy(b->data + at, s, n);
}

static int class_atom(struct tok_onig *t)
{
	struct tok_onig_set s = { 0 };
	bool negated;
	int rc = tok_onig_class(t, 0, &s, &negated);
	if (!rc) {
		t->atom = t->out->len;
		tok_onig_set_put(&s, negated, t->out);
		t->out->failed |= s.items.failed || s.also.failed;
	}
	tok_onig_set_fini(&s);
	return rc;
}

/* ---- outside classes ---- */

static void put_set(struct mm_buf *o, const char *items, bool negated)
{
	struct tok_onig_set one = { 0 };
	tok_onig_put(&one.items, items);
	tok_onig_set_put(&one, negated, o);
	o->failed |= one.items.failed;
	tok_onig_set_fini(&one);
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
			put_set(o, TOK_ONIG_WORD_OUTER, false);
	}
}

/* \d \s \w \h, their opposites, and the boundaries between words; false: the letter is none of these. */
static bool shorthand(struct mm_buf *o, uint8_t c)
{
	switch (c) {
	case 'd':
	case 'D':
		put_set(o, "\\p{Nd}", c == 'D');
		return true;
	case 's':
	case 'S':
		mm_buf_str(o, c == 's' ? "\\p{White_Space}" : "\\P{White_Space}");
		return true;
	case 'w':
	case 'W':
		put_set(o, TOK_ONIG_WORD_OUTER, c == 'W');
		return true;
	case 'h':
	case 'H':
		mm_buf_printf(o, "[%s0-9A-Fa-f]", c == 'h' ? "" : "^");
		return true;
	case 'b':
	case 'B':
		put_boundary(o, c == 'B');
		return true;
	default:
		return false;
	}
}

/* \p{...} \P{...}, behind the letter */
static int property(struct tok_onig *t, bool upper)
{
	struct tok_onig_set one = { 0 };
	bool negated;
	int rc = tok_onig_property(t, upper, &one.items, &negated);
	if (!rc && one.items.data && !strcmp((const char *)one.items.data, TOK_ONIG_WORD)) {
		one.items.len = 0;
		mm_buf_str(&one.items, TOK_ONIG_WORD_OUTER);
	}
	tok_onig_freshen(&one.items, 0);
	if (!rc) { /* a property means what it says, whatever the case */
		mm_buf_str(t->out, t->folded ? "(?-i:" : "");
		tok_onig_set_put(&one, negated, t->out);
		mm_buf_str(t->out, t->folded ? ")" : "");
	}
	t->out->failed |= one.items.failed;
	tok_onig_set_fini(&one);
	return rc;
}

static int escape(struct tok_onig *t)
{
	struct mm_buf *o = t->out;
	uint32_t cp;
	uint8_t c;
	int rc = 0;
	if (++t->p >= t->end)
		return tok_onig_refuse(t, "a backslash at the end");
	c = *t->p;
	t->atom = o->len;
	if (c >= 0x80) {
		t->p += tok_utf8(t->p, t->end, &cp);
		tok_onig_put_cp(o, cp);
		return 0;
	}
	t->p++;
	if (tok_onig_control(c, &cp)) {
		tok_onig_put_cp(o, cp);
		return 0;
	}
	if (shorthand(o, c))
		return 0;
	if (c >= '1' && c <= '9') {
		t->numbered = true;
		mm_buf_printf(o, "\\g{%c", c);
		while (t->p < t->end && isdigit(*t->p))
			mm_buf_u8(o, *t->p++);
		mm_buf_str(o, "}");
		return 0;
	}
	switch (c) {
	case 'x':
	case 'u':
		rc = tok_onig_code_point(t, c, &cp);
		if (!rc)
			tok_onig_put_cp(o, cp);
		break;
	case 'p':
	case 'P':
		if (t->p < t->end && *t->p == '{')
			rc = property(t, c == 'P');
		else
			tok_onig_put_cp(o, c); /* without braces it is just the letter */
		break;
	case 'N':
	case 'O':
		mm_buf_str(o, c == 'N' ? "[^\\n]" : "(?s:.)");
		break;
	case 'A':
	case 'z':
	case 'Z':
	case 'G':
	case 'K':
	case 'R':
		mm_buf_printf(o, "\\%c", c);
		break;
	default:
		if (strchr("kgcCMoyYX0", c))
			return mm_fail(t->err, MM_EUNSUPPORTED, "regex: \\%c is not supported", c);
		tok_onig_put_cp(o, c);
	}
	return rc;
}

/* (?i-m) and (?i-m:  - p stands behind "(?" */
static int options(struct tok_onig *t)
{
	bool minus = false, some = false;
	mm_buf_str(t->out, "(?");
	for (; t->p < t->end && *t->p != ')' && *t->p != ':'; t->p++) {
		if (*t->p == '-' && !minus) {
			minus = true;
		} else if (*t->p == 'x') {
			t->extended = !minus;
		} else if (*t->p == 'i' || *t->p == 'm') {
			mm_buf_str(t->out, minus && !some ? "-" : "");
			t->folded = *t->p == 'i' ? !minus : t->folded;
			mm_buf_u8(t->out, *t->p == 'm' ? 's' : *t->p);
			some |= minus;
		} else {
			return tok_onig_refuse(t, "this group");
		}
	}
	if (t->p >= t->end)
		return tok_onig_refuse(t, "a group without its end");
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

/* (?<name> and (?'name' - p stands at the '?' */
static int group_name(struct tok_onig *t)
{
	uint8_t close = t->p[1] == '<' ? '>' : '\'';
	const uint8_t *q = t->p + 2;
	while (q < t->end && (isalnum(*q) || *q == '_' || *q >= 0x80))
		q++;
	if (q >= t->end || *q != close || q == t->p + 2 || isdigit(t->p[2]))
		return tok_onig_refuse(t, "a group name like this one");
	t->p = q + 1;
	return 0;
}

static int open_group(struct tok_onig *t)
{
	static const char *const same[] = { "?:", "?=", "?!", "?>", "?<=", "?<!" };
	size_t begin = t->out->len;
	bool extended = t->extended, folded = t->folded;
	const uint8_t *q;
	int rc = -1;
	t->p++;
	if (t->end - t->p >= 2 && t->p[0] == '?' && t->p[1] == '#') {
		q = memchr(t->p, ')', (size_t)(t->end - t->p));
		if (!q)
			return tok_onig_refuse(t, "a comment without its end");
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
	if (rc < 0 && t->end - t->p >= 2 && (t->p[1] == '<' || t->p[1] == '\'')) {
		if (group_name(t))
			return -1;
		mm_buf_str(t->out, "(?:"); /* the name is only for references, and those are refused */
		t->named = true;
		rc = 0;
	}
	if (rc < 0) {
		t->p++;
		if (t->p < t->end && (*t->p == '(' || *t->p == '~' || *t->p == '{'))
			return tok_onig_refuse(t, "this group");
		rc = options(t);
		if (rc)
			return rc < 0 ? -1 : 0;
	}
	if (t->depth + 1 >= TOK_ONIG_GROUPS)
		return tok_onig_refuse(t, "groups nested that deep");
	t->group[++t->depth] = begin;
	t->extra[t->depth] = 0;
	t->was[t->depth] = extended;
	t->was_folded[t->depth] = folded;
	t->atom = SIZE_MAX;
	return 0;
}

static int close_group(struct tok_onig *t)
{
	if (!t->depth)
		return tok_onig_refuse(t, "a closing parenthesis without its group");
	for (; t->extra[t->depth]; t->extra[t->depth]--)
		mm_buf_str(t->out, ")");
	mm_buf_str(t->out, ")");
	t->extended = t->was[t->depth];
	t->folded = t->was_folded[t->depth];
	t->atom = t->group[t->depth--];
	t->p++;
	return 0;
}

/* {n} {n,} {n,m} {,m}: false when it is none, and the brace a character. */
static bool interval(struct tok_onig *t, char out[48], bool *fixed)
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

/* One white space or comment that option x leaves out. */
static bool blank(struct tok_onig *t)
{
	if (!t->extended || t->p >= t->end || !memchr(" \t\n\r\f#", *t->p, 6))
		return false;
	if (*t->p++ == '#')
		while (t->p < t->end && *t->p++ != '\n')
			;
	return true;
}

static int quantifier(struct tok_onig *t)
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
		return tok_onig_refuse(t, "a quantifier without something to repeat");
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
	while (blank(t))
		;
	if (t->p < t->end && memchr("*+?{", *t->p, 4)) { /* a quantifier on a quantified atom */
		insert(t->out, atom, "(?:");
		mm_buf_str(t->out, ")");
	}
	t->atom = atom;
	return 0;
}

int tok_regex_translate(struct tok_str pattern, struct mm_buf *out, struct mm_err *err)
{
	struct tok_onig t = { .p = pattern.s, .end = pattern.s + pattern.n, .out = out, .err = err, .atom = SIZE_MAX };
	int rc = 0;
	while (!rc && t.p < t.end) {
		uint32_t cp;
		if (blank(&t))
			continue;
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
			tok_onig_put_cp(out, cp);
		}
	}
	if (rc)
		return rc;
	if (t.depth)
		return tok_onig_refuse(&t, "a group without its end");
	if (t.named && t.numbered)
		return tok_onig_refuse(&t, "a reference by number beside named groups");
	for (; t.extra[0]; t.extra[0]--)
		mm_buf_str(out, ")");
	return mm_buf_check(out, err);
}
