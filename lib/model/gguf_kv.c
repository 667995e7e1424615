/* gguf_kv.c - the getters over a GGUF file's metadata, and the same as one JSON object for the families. Values are
 * unaligned little-endian bytes whose bounds gguf.c has checked.
 */
#include "model/ckpt_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define JSON_ARRAY_MAX	1024u
#define JSON_STRING_MAX (64u << 10)

/* Bytes of a value; 0: not of fixed size. */
const uint8_t mm_gguf_type_bytes[MM_GGUF_TYPE_COUNT] = {
	[MM_GGUF_U8] = 1,
	[MM_GGUF_I8] = 1,
	[MM_GGUF_U16] = 2,
	[MM_GGUF_I16] = 2,
	[MM_GGUF_U32] = 4,
	[MM_GGUF_I32] = 4,
	[MM_GGUF_F32] = 4,
	[MM_GGUF_BOOL] = 1,
	[MM_GGUF_U64] = 8,
	[MM_GGUF_I64] = 8,
	[MM_GGUF_F64] = 8,
};
static const char *const type_name[MM_GGUF_TYPE_COUNT] = { "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool",
	"string", "array", "u64", "i64", "f64" };

int mm_gguf_key_compare(const char *a, size_t n_a, const char *b, size_t n_b)
{
	int c = memcmp(a, b, MM_MIN(n_a, n_b));
	return c ? c : n_a < n_b ? -1 : n_a > n_b;
}

static const struct mm_gguf_kv *find(const struct mm_gguf *g, const char *key)
{
	size_t lo = 0, hi = g->n_kv, n = strlen(key);
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = mm_gguf_key_compare(g->kv[mid].key, g->kv[mid].key_len, key, n);
		if (!c)
			return &g->kv[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static int wrong_type(const struct mm_gguf_kv *kv, const char *key, const char *want, struct mm_err *err)
{
	bool array = kv->type == MM_GGUF_ARRAY;
	return mm_fail(err, MM_EFORMAT, "key %s: expected %s, found %s%s", key, want, array ? "an array of " : "",
		type_name[array ? kv->elem : kv->type]);
}

static uint64_t load(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;
	for (unsigned k = 0; k < n; k++)
		v |= (uint64_t)p[k] << (8 * k);
	return v;
}

static bool is_int(enum mm_gguf_type t)
{
	return t <= MM_GGUF_I32 || t == MM_GGUF_U64 || t == MM_GGUF_I64;
}

static bool is_real(enum mm_gguf_type t)
{
	return t == MM_GGUF_F32 || t == MM_GGUF_F64;
}

static int64_t int_at(enum mm_gguf_type t, const uint8_t *p)
{
	uint64_t v = load(p, mm_gguf_type_bytes[t]);
	switch (t) {
	case MM_GGUF_I8:
		return (int8_t)v;
	case MM_GGUF_I16:
		return (int16_t)v;
	case MM_GGUF_I32:
		return (int32_t)v;
	case MM_GGUF_U64:
		return v > INT64_MAX ? INT64_MAX : (int64_t)v;
	default:
		return (int64_t)v;
	}
}

static double real_at(enum mm_gguf_type t, const uint8_t *p)
{
	uint32_t u = (uint32_t)load(p, 4);
	uint64_t v = t == MM_GGUF_F64 ? load(p, 8) : 0;
	float f;
	double d;
	memcpy(&f, &u, sizeof f);
	memcpy(&d, &v, sizeof d);
	return t == MM_GGUF_F64 ? d : (double)f;
}

bool mm_gguf_has(const struct mm_gguf *g, const char *key)
{
	return find(g, key);
}

int mm_gguf_get_i64(
	const struct mm_gguf *g, const char *key, int64_t min, int64_t max, int64_t *out, struct mm_err *err)
{
	const struct mm_gguf_kv *kv = find(g, key);
	if (!kv)
		return 0;
	if (!is_int(kv->type))
		return wrong_type(kv, key, "an integer", err);
	int64_t v = int_at(kv->type, kv->data);
	if (v < min || v > max)
		return mm_fail(err, MM_EFORMAT, "key %s: %lld is outside %lld .. %lld", key, (long long)v,
			(long long)min, (long long)max);
	*out = v;
	return 0;
}

int mm_gguf_get_u32(const struct mm_gguf *g, const char *key, uint32_t *out, struct mm_err *err)
{
	int64_t v = *out;
	if (mm_gguf_get_i64(g, key, 0, UINT32_MAX, &v, err))
		return -1;
	*out = (uint32_t)v;
	return 0;
}

int mm_gguf_get_i32(const struct mm_gguf *g, const char *key, int32_t *out, struct mm_err *err)
{
	int64_t v = *out;
	if (mm_gguf_get_i64(g, key, INT32_MIN, INT32_MAX, &v, err))
		return -1;
	*out = (int32_t)v;
	return 0;
}

int mm_gguf_get_double(const struct mm_gguf *g, const char *key, double *out, struct mm_err *err)
{
	const struct mm_gguf_kv *kv = find(g, key);
	if (!kv)
		return 0;
	if (!is_real(kv->type))
		return wrong_type(kv, key, "a number", err);
	double v = real_at(kv->type, kv->data);
	if (!isfinite(v))
		return mm_fail(err, MM_EFORMAT, "key %s: not a finite number", key);
	*out = v;
	return 0;
}

int mm_gguf_get_f32(const struct mm_gguf *g, const char *key, float *out, struct mm_err *err)
{
	double v = *out;
	if (mm_gguf_get_double(g, key, &v, err))
		return -1;
	*out = (float)v;
	return 0;
}

int mm_gguf_get_bool(const struct mm_gguf *g, const char *key, bool *out, struct mm_err *err)
{
	const struct mm_gguf_kv *kv = find(g, key);
	if (!kv)
		return 0;
	if (kv->type != MM_GGUF_BOOL)
		return wrong_type(kv, key, "a bool", err);
	*out = kv->data[0] != 0;
	return 0;
}

int mm_gguf_get_str(const struct mm_gguf *g, const char *key, const char **s, size_t *len, struct mm_err *err)
{
	const struct mm_gguf_kv *kv = find(g, key);
	if (!kv)
		return 0;
	if (kv->type != MM_GGUF_STRING)
		return wrong_type(kv, key, "a string", err);
	*s = (const char *)kv->data;
	*len = kv->n;
	return 0;
}

static int get_array(const struct mm_gguf *g, const char *key, bool (*fits)(enum mm_gguf_type), enum mm_gguf_type type,
	const char *want, struct mm_gguf_array *out, struct mm_err *err)
{
	const struct mm_gguf_kv *kv = find(g, key);
	if (!kv)
		return 0;
	if (kv->type != MM_GGUF_ARRAY || !(fits ? fits(kv->elem) : kv->elem == type))
		return wrong_type(kv, key, want, err);
	*out = (struct mm_gguf_array){ .type = kv->elem, .n = kv->n, .data = kv->data, .size = kv->size };
	return 0;
}

int mm_gguf_get_array(
	const struct mm_gguf *g, const char *key, enum mm_gguf_type type, struct mm_gguf_array *out, struct mm_err *err)
{
	char want[40];
	snprintf(want, sizeof want, "an array of %s", type_name[type]);
	return get_array(g, key, NULL, type, want, out, err);
}

int mm_gguf_get_ints(const struct mm_gguf *g, const char *key, struct mm_gguf_array *out, struct mm_err *err)
{
	return get_array(g, key, is_int, MM_GGUF_I32, "an array of integers", out, err);
}

int mm_gguf_get_floats(const struct mm_gguf *g, const char *key, struct mm_gguf_array *out, struct mm_err *err)
{
	return get_array(g, key, is_real, MM_GGUF_F32, "an array of numbers", out, err);
}

int64_t mm_gguf_i64_at(const struct mm_gguf_array *a, size_t i)
{
	return int_at(a->type, a->data + i * mm_gguf_type_bytes[a->type]);
}

double mm_gguf_f64_at(const struct mm_gguf_array *a, size_t i)
{
	return real_at(a->type, a->data + i * mm_gguf_type_bytes[a->type]);
}

bool mm_gguf_str_next(const struct mm_gguf_array *a, size_t *off, const char **s, size_t *len)
{
	struct mm_cur c = { .data = a->data, .size = a->size, .off = *off };
	uint64_t n = a->type == MM_GGUF_STRING ? mm_cur_u64(&c) : 0;
	const uint8_t *p = a->type == MM_GGUF_STRING ? mm_cur_bytes(&c, n) : NULL;
	if (!p || c.failed)
		return false;
	*s = (const char *)p;
	*len = (size_t)n;
	*off = c.off;
	return true;
}

/* ---- as JSON, for the families ---- */

static json_t *json_text(const uint8_t *s, size_t n)
{
	if (n > JSON_STRING_MAX)
		return NULL;
	if (mm_utf8_valid(s, n) && !memchr(s, 0, n))
		return json_stringn((const char *)s, n);
	char *clean = malloc(n + 1);
	if (!clean)
		return NULL;
	mm_utf8_sanitize(clean, n + 1, s, n);
	json_t *j = json_string(clean);
	free(clean);
	return j;
}

static json_t *json_scalar(enum mm_gguf_type t, const uint8_t *p)
{
	if (t == MM_GGUF_U64 && load(p, 8) > INT64_MAX)
		return json_real((double)load(p, 8));
	if (is_int(t))
		return json_integer(int_at(t, p));
	return t == MM_GGUF_BOOL ? json_boolean(p[0] != 0) : json_real(real_at(t, p)); /* NULL when not finite */
}

static json_t *json_list(const struct mm_gguf_kv *kv)
{
	struct mm_gguf_array a = { .type = kv->elem, .n = kv->n, .data = kv->data, .size = kv->size };
	json_t *list = kv->n > JSON_ARRAY_MAX || kv->elem == MM_GGUF_ARRAY ? NULL : json_array();
	size_t off = 0, len;
	const char *s;
	for (size_t i = 0; list && i < kv->n; i++) {
		json_t *v = NULL;
		if (kv->elem != MM_GGUF_STRING)
			v = json_scalar(kv->elem, kv->data + i * mm_gguf_type_bytes[kv->elem]);
		else if (mm_gguf_str_next(&a, &off, &s, &len))
			v = json_text((const uint8_t *)s, len);
		if (json_array_append_new(list, v ? v : json_null())) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

json_t *mm_gguf_json(const struct mm_gguf *g, struct mm_err *err)
{
	json_t *o = json_object();
	if (!o) {
		mm_fail(err, MM_ENOMEM, "out of memory");
		return NULL;
	}
	for (size_t i = 0; i < g->n_kv; i++) {
		const struct mm_gguf_kv *kv = &g->kv[i];
		bool arch = strncmp(kv->key, "general.", MM_MIN(kv->key_len, (size_t)8)) &&
			    strncmp(kv->key, "tokenizer.", MM_MIN(kv->key_len, (size_t)10));
		json_t *v = kv->type == MM_GGUF_ARRAY	 ? json_list(kv)
			    : kv->type == MM_GGUF_STRING ? json_text(kv->data, kv->n)
							 : json_scalar(kv->type, kv->data);
		if (!v && is_real(kv->type) && arch) { /* a hyperparameter: leaving it out would mean its default */
			mm_fail(err, MM_EFORMAT, "key %.*s: not a finite number", (int)MM_MIN(kv->key_len, (size_t)200),
				kv->key);
			json_decref(o);
			return NULL;
		}
		if (v)
			json_object_setn_new(o, kv->key, kv->key_len, v);
	}
	return o;
}
