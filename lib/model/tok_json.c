/* tok_json.c - a pull parser for JSON, for the parts of tokenizer.json that are too large for a tree.
 *
 * A tokenizer.json has hundreds of thousands of strings; the caller takes them one at a time, unescaped strings
 * straight from the input. It is strict (RFC 8259, valid UTF-8 checked by the caller on the whole file, no lone
 * surrogates), keeps its first error and then says false to everything. Nesting is bounded by MM_JSON_DEPTH and nothing
 * recurses.
 *
 * Numbers are rounded the way the reference rounds them (not always to the nearest double): scores that tie there must
 * tie here.
 */
#include "model/tok_priv.h"

#include <math.h>
#include <string.h>

void tok_json_init(struct tok_json *j, const void *data, size_t n, const char *what, struct mm_err *err)
{
	memset(j, 0, sizeof(*j));
	j->begin = j->p = data ? data : "";
	j->end = j->begin + n;
	j->what = what;
	j->err = err;
}

void tok_json_fini(struct tok_json *j)
{
	for (size_t i = 0; i < MM_COUNT(j->tmp); i++)
		mm_buf_fini(&j->tmp[i]);
}

bool tok_json_fail(struct tok_json *j, const char *what)
{
	if (!j->failed)
		mm_fail(j->err, MM_EFORMAT, "%s: %s at byte %zu", j->what, what, (size_t)(j->p - j->begin));
	j->failed = true;
	return false;
}

static void space(struct tok_json *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
		j->p++;
}

int tok_json_peek(struct tok_json *j)
{
	if (j->failed)
		return 0;
	space(j);
	return j->p < j->end ? *j->p : 0;
}

static bool take(struct tok_json *j, char c, const char *what)
{
	if (j->failed)
		return false;
	if (tok_json_peek(j) != c)
		return tok_json_fail(j, what);
	j->p++;
	return true;
}

static bool enter(struct tok_json *j)
{
	if (++j->depth > MM_JSON_DEPTH)
		return tok_json_fail(j, "nested too deep");
	j->fresh = true;
	return true;
}

bool tok_json_object(struct tok_json *j)
{
	return take(j, '{', "expected an object") && enter(j);
}

bool tok_json_array(struct tok_json *j)
{
	return take(j, '[', "expected an array") && enter(j);
}

/* Consumes the comma, or the closing bracket: true when a value follows. */
static bool more(struct tok_json *j, char close)
{
	int c = tok_json_peek(j);
	if (j->failed)
		return false;
	if (c == close) {
		j->p++;
		j->depth--;
		j->fresh = false;
		return false;
	}
	if (!j->fresh) {
		if (c != ',')
			return tok_json_fail(j, "expected a comma or the end");
		j->p++;
		if (tok_json_peek(j) == close)
			return tok_json_fail(j, "comma before the end");
	}
	j->fresh = false;
	return true;
}

bool tok_json_key(struct tok_json *j, struct tok_str *key)
{
	return more(j, '}') && tok_json_string(j, key) && take(j, ':', "expected a colon");
}

bool tok_json_next(struct tok_json *j)
{
	return more(j, ']');
}

static bool hex4(struct tok_json *j, uint32_t *out)
{
	uint32_t v = 0;
	if (j->end - j->p < 4)
		return tok_json_fail(j, "cut escape");
	for (int i = 0; i < 4; i++) {
		unsigned c = *j->p++;
		if (c >= '0' && c <= '9')
			v = v << 4 | (c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v << 4 | ((c | 32) - 'a' + 10);
		else
			return tok_json_fail(j, "bad escape");
	}
	*out = v;
	return true;
}

static bool escape(struct tok_json *j, struct mm_buf *b)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	uint8_t u[4];
	uint32_t c, low;
	unsigned n;
	if (j->p >= j->end)
		return tok_json_fail(j, "cut string");
	c = *j->p++;
	if (c != 'u') {
		at = c ? strchr(from, (int)c) : NULL;
		if (!at)
			return tok_json_fail(j, "bad escape");
		mm_buf_u8(b, (uint8_t)to[at - from]);
		return true;
	}
	if (!hex4(j, &c))
		return false;
	if (c >= 0xd800 && c < 0xdc00) {
		if (j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u')
			return tok_json_fail(j, "lone surrogate");
		j->p += 2;
		if (!hex4(j, &low))
			return false;
		if (low < 0xdc00 || low > 0xdfff)
			return tok_json_fail(j, "lone surrogate");
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	n = mm_utf8_encode(c, u);
	if (!n)
		return tok_json_fail(j, "lone surrogate");
	mm_buf_put(b, u, n);
	return true;
}

static bool string_slow(struct tok_json *j, const uint8_t *from, struct tok_str *out)
{
	struct mm_buf *b = &j->tmp[j->turn++ % MM_COUNT(j->tmp)];
	b->len = 0;
	mm_buf_put(b, from, (size_t)(j->p - from));
	for (;;) {
		const uint8_t *run = j->p;
		while (j->p < j->end && *j->p != '"' && *j->p != '\\' && *j->p >= 0x20)
			j->p++;
		mm_buf_put(b, run, (size_t)(j->p - run));
		if (j->p >= j->end)
			return tok_json_fail(j, "cut string");
		if (*j->p == '"')
			break;
		if (*j->p++ != '\\')
			return tok_json_fail(j, "control character in a string");
		if (!escape(j, b))
			return false;
	}
	j->p++;
	if (mm_buf_check(b, j->err)) {
		j->failed = true;
		return false;
	}
	*out = (struct tok_str){ b->data ? b->data : (const uint8_t *)"", b->len };
	return true;
}

bool tok_json_string(struct tok_json *j, struct tok_str *out)
{
	const uint8_t *from;
	if (!take(j, '"', "expected a string"))
		return false;
	from = j->p;
	while (j->p < j->end && *j->p != '"' && *j->p != '\\' && *j->p >= 0x20)
		j->p++;
	if (j->p < j->end && *j->p == '"') {
		*out = (struct tok_str){ from, (size_t)(j->p - from) };
		j->p++;
		return true;
	}
	return string_slow(j, from, out);
}

bool tok_json_u32(struct tok_json *j, uint32_t *out)
{
	const uint8_t *from;
	uint64_t v = 0;
	tok_json_peek(j);
	if (j->failed)
		return false;
	from = j->p;
	while (j->p < j->end && *j->p >= '0' && *j->p <= '9') {
		v = v * 10 + (*j->p - '0');
		if (v > TOK_ID_MAX)
			return tok_json_fail(j, "number out of range");
		j->p++;
	}
	if (j->p == from || (*from == '0' && j->p - from > 1) ||
		(j->p < j->end && (*j->p == '.' || (*j->p | 32) == 'e')))
		return tok_json_fail(j, "expected a whole number");
	*out = (uint32_t)v;
	return true;
}

/* Powers of ten as the reference uses them: one multiplication or division per 308. */
static double scale(double f, int64_t exponent)
{
	static const double ten[] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
		1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
	while (exponent < -308 && f != 0) {
		f /= 1e308;
		exponent += 308;
	}
	if (f == 0)
		return f;
	if (exponent > 308)
		return INFINITY;
	if (exponent >= 0)
		return f * (exponent < (int64_t)MM_COUNT(ten) ? ten[exponent] : pow(10, (double)exponent));
	return f / (-exponent < (int64_t)MM_COUNT(ten) ? ten[-exponent] : pow(10, (double)-exponent));
}

/* Digits into the mantissa until it is full; returns how many were taken, *drop how many did not fit. */
static int64_t digits(struct tok_json *j, uint64_t *m, int64_t *drop)
{
	int64_t n = 0;
	for (; j->p < j->end && *j->p >= '0' && *j->p <= '9'; j->p++) {
		unsigned d = *j->p - '0';
		if (*drop || *m > (UINT64_MAX - d) / 10)
			++*drop;
		else {
			*m = *m * 10 + d;
			n++;
		}
	}
	return n;
}

bool tok_json_double(struct tok_json *j, double *out)
{
	uint64_t m = 0;
	int64_t exponent = 0, drop = 0, n, e = 0;
	bool minus = tok_json_peek(j) == '-', e_minus;
	const uint8_t *from;
	if (j->failed)
		return false;
	j->p += minus;
	from = j->p;
	n = digits(j, &m, &drop);
	if (n + drop == 0 || (*from == '0' && n + drop > 1))
		return tok_json_fail(j, "expected a number");
	exponent = drop;
	if (j->p < j->end && *j->p == '.') {
		int64_t lost = drop;
		from = ++j->p;
		exponent -= digits(j, &m, &lost);
		if (j->p == from)
			return tok_json_fail(j, "bad number");
	}
	if (j->p < j->end && (*j->p | 32) == 'e') {
		j->p++;
		e_minus = j->p < j->end && *j->p == '-';
		j->p += j->p < j->end && (*j->p == '-' || *j->p == '+');
		from = j->p;
		for (; j->p < j->end && *j->p >= '0' && *j->p <= '9'; j->p++)
			e = e > 100000 ? e : e * 10 + (*j->p - '0');
		if (j->p == from)
			return tok_json_fail(j, "bad number");
		exponent += e_minus ? -e : e;
	}
	*out = scale((double)m, exponent);
	if (!isfinite(*out))
		return tok_json_fail(j, "number out of range");
	if (minus)
		*out = -*out;
	return true;
}

static bool word(struct tok_json *j, const char *w)
{
	size_t n = strlen(w);
	tok_json_peek(j);
	if (j->failed || (size_t)(j->end - j->p) < n || memcmp(j->p, w, n))
		return false;
	j->p += n;
	return true;
}

bool tok_json_null(struct tok_json *j)
{
	return word(j, "null");
}

bool tok_json_bool(struct tok_json *j, bool *out)
{
	if (word(j, "true"))
		*out = true;
	else if (word(j, "false"))
		*out = false;
	else
		return tok_json_fail(j, "expected true or false");
	return true;
}

/* One value that is no container. */
static bool skip_scalar(struct tok_json *j, int c)
{
	struct tok_str s;
	double d;
	bool b;
	if (c == '"')
		return tok_json_string(j, &s);
	if (c == 't' || c == 'f')
		return tok_json_bool(j, &b);
	if (c == 'n')
		return tok_json_null(j) || tok_json_fail(j, "expected a value");
	return tok_json_double(j, &d);
}

bool tok_json_skip(struct tok_json *j, struct tok_str *span)
{
	char close[MM_JSON_DEPTH + 1];
	unsigned n = 0;
	const uint8_t *from;
	struct tok_str key;
	tok_json_peek(j);
	from = j->p;
	for (;;) {
		int c = tok_json_peek(j);
		if (c == '{' || c == '[') {
			if (!(c == '{' ? tok_json_object(j) : tok_json_array(j)))
				return false;
			close[n++] = c == '{' ? '}' : ']'; /* n <= depth <= MM_JSON_DEPTH */
		} else if (!skip_scalar(j, c)) {
			return false;
		}
		while (n && !(close[n - 1] == '}' ? tok_json_key(j, &key) : tok_json_next(j))) {
			if (j->failed)
				return false;
			n--;
		}
		if (!n)
			break;
	}
	if (span)
		*span = (struct tok_str){ from, (size_t)(j->p - from) };
	return !j->failed;
}

bool tok_json_done(struct tok_json *j)
{
	if (j->failed)
		return false;
	space(j);
	return j->p == j->end || tok_json_fail(j, "text behind the end");
}
