/* out_fmt.c - JSON values as people read them. Daemon and client may be of different ages: a value that is not there,
 * or of another type, gives an empty cell and never an error. */
#include "client/client.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *mm_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

int64_t mm_int(const json_t *o, const char *key, int64_t dflt)
{
	const json_t *v = json_object_get(o, key);
	return json_is_integer(v) ? json_integer_value(v) : dflt;
}

double mm_num(const json_t *o, const char *key, double dflt)
{
	const json_t *v = json_object_get(o, key);
	return json_is_number(v) ? json_number_value(v) : dflt;
}

/* `digits` that count, without exponent for what people meet. */
static const char *number(const json_t *v, int digits, char *out)
{
	double x = json_number_value(v);
	if (!json_is_number(v) || !isfinite(x)) {
		*out = 0;
		return out;
	}
	double a = fabs(x);
	int before = a >= 1 ? (int)floor(log10(a)) + 1 : 1;
	if (a && (a < 1e-6 || a >= 1e9))
		snprintf(out, MM_CELL, "%.*g", digits - 1, x);
	else
		snprintf(out, MM_CELL, "%.*f", MM_MAX(digits - before, 0), x);
	return out;
}

const char *mm_fmt_bits(const json_t *v, char out[MM_CELL])
{
	return number(v, 6, out);
}

const char *mm_fmt_num(const json_t *v, char out[MM_CELL])
{
	return number(v, 5, out);
}

const char *mm_fmt_count(const json_t *v, char out[MM_CELL])
{
	static const char units[] = " kMBT";
	double x = json_number_value(v);
	int u = 0;
	*out = 0;
	if (!json_is_number(v) || !(x > 0))
		return out;
	for (; x >= 999.5 && u < 4; u++)
		x /= 1000;
	if (u)
		snprintf(out, MM_CELL, x < 9.995 ? "%.2f%c" : x < 99.95 ? "%.1f%c" : "%.0f%c", x, units[u]);
	else
		snprintf(out, MM_CELL, "%.0f", x);
	return out;
}

const char *mm_fmt_bytes(const json_t *v, char out[MM_CELL])
{
	*out = 0;
	if (json_is_integer(v) && json_integer_value(v) > 0)
		mm_format_size((uint64_t)json_integer_value(v), out, MM_CELL);
	return out;
}

const char *mm_fmt_age(const json_t *v, int64_t now, char out[MM_CELL])
{
	*out = 0;
	if (json_is_integer(v) && json_integer_value(v) > 0)
		mm_format_duration((double)MM_MAX(now - json_integer_value(v), INT64_C(0)), out, MM_CELL);
	return out;
}

const char *mm_fmt_eta(const json_t *v, char out[MM_CELL])
{
	*out = 0;
	if (json_is_number(v) && json_number_value(v) >= 0)
		mm_format_duration(json_number_value(v), out, MM_CELL);
	return out;
}

enum mm_style mm_style_of_state(const char *state)
{
	static const struct {
		const char *state;
		enum mm_style style;
	} table[] = { { "scored", MM_GREEN }, { "done", MM_GREEN }, { "running", MM_CYAN }, { "queued", MM_BLUE },
		{ "waiting", MM_YELLOW }, { "failed", MM_RED }, { "never_ready", MM_RED }, { "gone", MM_DIM },
		{ "cancelled", MM_DIM }, { "open", MM_RED }, { "acked", MM_YELLOW }, { "resolved", MM_DIM },
		{ "critical", MM_RED }, { "warning", MM_YELLOW } };
	for (size_t i = 0; i < MM_COUNT(table); i++)
		if (!strcmp(table[i].state, state))
			return table[i].style;
	return MM_PLAIN;
}

void mm_fmt_bar(const struct mm_term *t, double share, int width, char *out, size_t cap)
{
	static const char *const part[] = { "", "\xE2\x96\x8F", "\xE2\x96\x8E", "\xE2\x96\x8D", "\xE2\x96\x8C",
		"\xE2\x96\x8B", "\xE2\x96\x8A", "\xE2\x96\x89" };
	double s = share >= 0 ? MM_MIN(share, 1.0) : 0; /* NaN too */
	int eighths = (int)floor(s * width * 8 + 1e-9), full = eighths / 8, rest = eighths % 8;
	size_t o = 0;
	for (int i = 0; i < width && o + 4 < cap; i++) {
		const char *g = i < full ? mm_glyph(t, "\xE2\x96\x88", "#") : mm_glyph(t, "\xC2\xB7", "-");
		if (i == full && rest && t->utf8)
			g = part[rest];
		o += (size_t)snprintf(out + o, cap - o, "%s", g);
	}
	if (cap)
		out[o] = 0;
}

int mm_name_cmp(const char *a, const char *b)
{
	const char *p = a, *q = b;
	while (*p && *q) {
		if (isdigit((unsigned char)*p) && isdigit((unsigned char)*q)) {
			p += strspn(p, "0");
			q += strspn(q, "0");
			size_t n = strspn(p, "0123456789"), m = strspn(q, "0123456789");
			int c = n != m ? (n < m ? -1 : 1) : strncmp(p, q, n);
			if (c)
				return c;
			p += n;
			q += m;
		} else if (*p != *q) {
			return (unsigned char)*p < (unsigned char)*q ? -1 : 1;
		} else {
			p++;
			q++;
		}
	}
	/* "01" and "1": the same number, yet two names that need an order. */
	return *p || *q ? (*p ? 1 : -1) : strcmp(a, b);
}

int mm_json_print(const json_t *j, const struct mm_term *t, FILE *out, struct mm_err *err)
{
	size_t flags = t->tty ? JSON_INDENT(2) | JSON_ENSURE_ASCII : JSON_COMPACT;
	char *s = json_dumps(j, flags | JSON_ENCODE_ANY);
	if (!s)
		return mm_fail(err, MM_ENOMEM, "cannot write JSON");
	fprintf(out, "%s\n", s);
	free(s);
	return ferror(out) ? mm_fail(err, MM_EIO, "cannot write the output") : 0;
}

bool mm_count_parse(const char *s, int64_t *out)
{
	static const char unit[] = "kKmMbBtT";
	char *end;
	if (!(*s >= '0' && *s <= '9') || strspn(s, "0123456789.eE+kKmMbBtT") != strlen(s))
		return false;
	double v = strtod(s, &end);
	const char *u = *end ? strchr(unit, *end) : NULL;
	if (*end && (!u || end[1]))
		return false;
	for (long i = u ? (u - unit) / 2 + 1 : 0; i > 0; i--)
		v *= 1000;
	*out = v >= 0.5 && v <= 9e15 ? (int64_t)llround(v) : 0;
	return *out > 0;
}
