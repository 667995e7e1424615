/* json.c - jansson behind limits: depth is checked before its recursive parser sees the text, duplicate keys are
 * refused, and every error names source and place. */
#include "base/base.h"

#include <math.h>
#include <string.h>

/* Depth of the deepest bracket outside strings. Wrong text only makes the count wrong, never the parse. */
static unsigned depth_of(const char *s, size_t n)
{
	unsigned depth = 0, deepest = 0;
	bool in = false;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		if (in) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in = false;
		} else if (c == '"') {
			in = true;
		} else if (c == '{' || c == '[') {
			depth++;
			deepest = MM_MAX(deepest, depth);
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return deepest;
}

json_t *mm_json_parse(const char *data, size_t len, const char *what, struct mm_err *err)
{
	json_error_t e;
	if (depth_of(data, len) > MM_JSON_DEPTH) {
		mm_fail(err, MM_EFORMAT, "%s: nested deeper than %d levels", what, MM_JSON_DEPTH);
		return NULL;
	}
	json_t *j = json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
	if (!j)
		mm_fail(err, MM_EFORMAT, "%s: line %d, column %d: %s", what, e.line, e.column, e.text);
	return j;
}

json_t *mm_json_load(const char *path, size_t max, struct mm_err *err)
{
	size_t len;
	char *text = mm_file_read(path, max, &len, err);
	if (!text)
		return NULL;
	json_t *j = mm_json_parse(text, len, path, err);
	mm_free(text);
	return j;
}

char *mm_json_dump(const json_t *j, struct mm_err *err)
{
	size_t n = json_dumpb(j, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
	char *s = n ? mm_calloc(n + 1, 1, err) : NULL;
	if (!n)
		mm_fail(err, MM_EINTERNAL, "cannot write JSON");
	if (s)
		json_dumpb(j, s, n, JSON_COMPACT | JSON_ENCODE_ANY);
	return s;
}

static const char *type_name(const json_t *v)
{
	static const char *const n[] = { "an object", "an array", "a string", "an integer", "a number", "true", "false",
		"null" };
	return n[json_typeof(v)];
}

static const json_t *member(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	return v && !json_is_null(v) ? v : NULL;
}

int mm_json_get_str(const json_t *o, const char *key, const char **out, struct mm_err *err)
{
	const json_t *v = member(o, key);
	if (!v)
		return 0;
	if (!json_is_string(v))
		return mm_fail(err, MM_EFORMAT, "key %s: expected a string, found %s", key, type_name(v));
	if (strlen(json_string_value(v)) != json_string_length(v))
		return mm_fail(err, MM_EFORMAT, "key %s: the string holds a NUL character", key);
	*out = json_string_value(v);
	return 0;
}

int mm_json_get_i64(const json_t *o, const char *key, int64_t min, int64_t max, int64_t *out, struct mm_err *err)
{
	const json_t *v = member(o, key);
	if (!v)
		return 0;
	int64_t i;
	if (json_is_integer(v)) {
		i = json_integer_value(v);
	} else if (json_is_real(v) && fabs(json_real_value(v)) < 0x1p53 &&
		   json_real_value(v) == floor(json_real_value(v))) {
		i = (int64_t)json_real_value(v); /* 2048.0: some writers do that */
	} else {
		return mm_fail(err, MM_EFORMAT, "key %s: expected an integer, found %s", key, type_name(v));
	}
	if (i < min || i > max)
		return mm_fail(err, MM_EFORMAT, "key %s: %lld is outside %lld .. %lld", key, (long long)i,
			(long long)min, (long long)max);
	*out = i;
	return 0;
}

int mm_json_get_double(const json_t *o, const char *key, double *out, struct mm_err *err)
{
	const json_t *v = member(o, key);
	if (!v)
		return 0;
	if (!json_is_number(v) || !isfinite(json_number_value(v)))
		return mm_fail(err, MM_EFORMAT, "key %s: expected a number, found %s", key, type_name(v));
	*out = json_number_value(v);
	return 0;
}

int mm_json_get_bool(const json_t *o, const char *key, bool *out, struct mm_err *err)
{
	const json_t *v = member(o, key);
	if (!v)
		return 0;
	if (!json_is_boolean(v))
		return mm_fail(err, MM_EFORMAT, "key %s: expected true or false, found %s", key, type_name(v));
	*out = json_is_true(v);
	return 0;
}
