/* naive_core.h - a second formulation of model families, in double, token by token, for tests of families without
 * golden data.
 *
 * A checkpoint of random weights comes into being while the naive pass asks for tensors by name and shape (ck_get);
 * then it is written as safetensors with its config.json and scored by the library. So a tensor that one side knows and
 * the other does not shows at once: missing, or log-probs that are wrong. Nothing here uses the library's arithmetic.
 */
#ifndef NAIVE_CORE_H
#define NAIVE_CORE_H

#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define CK_MAX 1024

struct ck_tensor {
	char name[128];
	size_t n, n_dim, dim[3];
	double *v; /* float values */
	bool four; /* [e, in, out], written as four-bit groups of [e, out, in] */
};
struct ck {
	struct mm_rng rng;
	size_t n;
	struct ck_tensor t[CK_MAX];
	const json_t *cfg;
	char prefix[64]; /* of names that do not start with '^' */
	void *garbage[200000];
	size_t n_garbage;
};

static double *vec(struct ck *ck, size_t n) /* zeroed, lives until ck_free */
{
	double *p = calloc(n + 1, sizeof(*p));
	assert_true(p && ck->n_garbage < MM_COUNT(ck->garbage));
	ck->garbage[ck->n_garbage++] = p;
	return p;
}

static void ck_sweep(struct ck *ck)
{
	while (ck->n_garbage)
		free(ck->garbage[--ck->n_garbage]);
}

static void ck_free(struct ck *ck)
{
	ck_sweep(ck);
	for (size_t i = 0; i < ck->n; i++)
		free(ck->t[i].v);
	free(ck);
}

/* The tensor, made of normal numbers * scale + shift when it is asked for the first time. Dimensions of 0 end the
 * shape. */
static const double *ck_get(
	struct ck *ck, double scale, double shift, size_t a, size_t b, size_t c, const char *fmt, ...)
{
	char name[128], full[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	snprintf(full, sizeof(full), "%s%s", name[0] == '^' ? "" : ck->prefix, name + (name[0] == '^'));
	for (size_t i = 0; i < ck->n; i++)
		if (!strcmp(ck->t[i].name, full))
			return ck->t[i].v;
	assert_true(ck->n < CK_MAX && strlen(full) < sizeof(ck->t[0].name));
	struct ck_tensor *t = &ck->t[ck->n++];
	memset(t, 0, sizeof(*t));
	memcpy(t->name, full, strlen(full) + 1);
	t->dim[0] = a, t->dim[1] = b, t->dim[2] = c;
	t->n_dim = c ? 3 : b ? 2 : 1;
	t->n = a * (b ? b : 1) * (c ? c : 1);
	t->v = calloc(t->n, sizeof(double));
	assert_non_null(t->v);
	for (size_t i = 0; i < t->n; i++)
		t->v[i] = (double)(float)(mm_rng_normal(&ck->rng) * scale + shift);
	return t->v;
}

/* ---- four-bit groups: 32 inputs of one output share a power of two, which only depends on the place ---- */

static const double four_value[16] = { 0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6 };

static int four_scale(size_t e, size_t out, size_t group)
{
	return -5 + (int)((e + 2 * out + group) % 3);
}

static unsigned four_code(double v, int scale)
{
	unsigned best = 0;
	for (unsigned c = 1; c < 16; c++)
		if (fabs(v - ldexp(four_value[c], scale)) < fabs(v - ldexp(four_value[best], scale)))
			best = c;
	return best;
}

/* Rounds a tensor [e, in, out] to what can be stored so. */
static void four_round(struct ck *ck, const double *v)
{
	for (size_t i = 0; i < ck->n; i++) {
		struct ck_tensor *t = &ck->t[i];
		if (t->v != v || t->four)
			continue;
		t->four = true;
		for (size_t k = 0; k < t->n; k++) {
			size_t out = k % t->dim[2], in = k / t->dim[2] % t->dim[1], e = k / t->dim[2] / t->dim[1];
			int s = four_scale(e, out, in / 32);
			t->v[k] = ldexp(four_value[four_code(t->v[k], s)], s);
		}
	}
}

static inline void four_write(const struct ck_tensor *t, bool first, struct mm_buf *head, struct mm_buf *data)
{
	size_t g = t->dim[1] / 32, n = t->dim[0] * t->dim[2] * g;
	mm_buf_printf(head, "%s\"%s_blocks\":{\"dtype\":\"U8\",\"shape\":[%zu,%zu,%zu,16],\"data_offsets\":[%zu,%zu]},",
		first ? "" : ",", t->name, t->dim[0], t->dim[2], g, data->len, data->len + 16 * n);
	mm_buf_printf(head, "\"%s_scales\":{\"dtype\":\"U8\",\"shape\":[%zu,%zu,%zu],\"data_offsets\":[%zu,%zu]}",
		t->name, t->dim[0], t->dim[2], g, data->len + 16 * n, data->len + 17 * n);
	for (size_t i = 0; i < 16 * n; i++) {
		size_t j = i % 16, k = i / 16 % g, out = i / 16 / g % t->dim[2], e = i / 16 / g / t->dim[2];
		int s = four_scale(e, out, k);
		const double *v = t->v + (e * t->dim[1] + k * 32 + 2 * j) * t->dim[2] + out;
		mm_buf_u8(data, (uint8_t)(four_code(v[0], s) | four_code(v[t->dim[2]], s) << 4));
	}
	for (size_t i = 0; i < n; i++)
		mm_buf_u8(data, (uint8_t)(127 + four_scale(i / g / t->dim[2], i / g % t->dim[2], i % g)));
}

/* model.safetensors and config.json into dir */
static inline void ck_write(const struct ck *ck, const char *dir)
{
	struct mm_buf head = { 0 }, data = { 0 };
	struct mm_err err;
	char path[512];
	mm_buf_str(&head, "{");
	for (size_t i = 0; i < ck->n; i++) {
		const struct ck_tensor *t = &ck->t[i];
		if (t->four) {
			four_write(t, i == 0, &head, &data);
			continue;
		}
		mm_buf_printf(&head, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", i ? "," : "", t->name);
		for (size_t d = 0; d < t->n_dim; d++)
			mm_buf_printf(&head, "%s%zu", d ? "," : "", t->dim[d]);
		mm_buf_printf(&head, "],\"data_offsets\":[%zu,%zu]}", data.len, data.len + 4 * t->n);
		for (size_t k = 0; k < t->n; k++)
			mm_buf_f32(&data, (float)t->v[k]);
	}
	mm_buf_str(&head, "}");
	struct mm_buf all = { 0 };
	mm_buf_u64(&all, head.len);
	mm_buf_put(&all, head.data, head.len);
	mm_buf_put(&all, data.data, data.len);
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	if (mm_file_write(path, all.data, all.len, &err))
		fail_msg("%s", err.text);
	char *text = json_dumps(ck->cfg, JSON_INDENT(1));
	snprintf(path, sizeof(path), "%s/config.json", dir);
	if (mm_file_write(path, text, strlen(text), &err))
		fail_msg("%s", err.text);
	free(text);
	mm_buf_fini(&head);
	mm_buf_fini(&data);
	mm_buf_fini(&all);
}

/* ---- config ---- */

static double num(const json_t *o, const char *key, double def)
{
	const json_t *j = json_object_get(o, key);
	return json_is_number(j) ? json_number_value(j) : json_is_boolean(j) ? json_is_true(j) : def;
}

static size_t siz(const json_t *o, const char *key, size_t def)
{
	return (size_t)num(o, key, (double)def);
}

static double at(const json_t *o, const char *key, size_t i, double def)
{
	const json_t *j = json_array_get(json_object_get(o, key), i);
	return json_is_number(j) ? json_number_value(j) : def;
}

/* ---- arithmetic ---- */

static double sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

static double silu(double x)
{
	return x * sigmoid(x);
}

static double gelu_tanh(double x)
{
	return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static double softplus(double x)
{
	return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double act(const char *name, double x)
{
	if (!strcmp(name, "gelu_pytorch_tanh"))
		return gelu_tanh(x);
	return !strcmp(name, "relu") ? fmax(x, 0) : silu(x);
}

/* y[t] = W x[t] + b for n tokens; names are name.weight and name.bias */
static double *lin(struct ck *ck, const double *x, size_t n, size_t n_in, size_t n_out, bool bias, const char *fmt, ...)
{
	char name[100];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	const double *w = ck_get(ck, 1 / sqrt((double)n_in), 0, n_out, n_in, 0, "%s.weight", name);
	const double *b = bias ? ck_get(ck, 0.3, 0, n_out, 0, 0, "%s.bias", name) : NULL;
	double *y = vec(ck, n * n_out);
	for (size_t t = 0; t < n; t++)
		for (size_t o = 0; o < n_out; o++) {
			double s = b ? b[o] : 0;
			for (size_t i = 0; i < n_in; i++)
				s += w[o * n_in + i] * x[t * n_in + i];
			y[t * n_out + o] = s;
		}
	return y;
}

/* RMS norm over groups of d in rows of width; w: [width] or NULL */
static double *rms(struct ck *ck, const double *x, size_t n, size_t width, size_t d, const double *w, double eps)
{
	double *y = vec(ck, n * width);
	for (size_t t = 0; t < n; t++)
		for (size_t g = 0; g < width; g += d) {
			double s = 0;
			for (size_t i = 0; i < d; i++)
				s += x[t * width + g + i] * x[t * width + g + i];
			for (size_t i = 0; i < d; i++)
				y[t * width + g + i] =
					x[t * width + g + i] / sqrt(s / (double)d + eps) * (w ? w[g + i] : 1);
		}
	return y;
}

static double *norm(struct ck *ck, const double *x, size_t n, size_t d, double eps, const char *fmt, ...)
{
	char name[100];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	return rms(ck, x, n, d, d, ck_get(ck, 0.2, 1, d, 0, 0, "%s.weight", name), eps);
}

static void add(double *x, const double *y, double f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] += f * y[i];
}

/* Causal depthwise convolution, weight [c, 1, k]. */
static double *conv(
	struct ck *ck, const double *x, size_t ld, size_t n, size_t c, size_t k, bool bias, const char *name)
{
	const double *w = ck_get(ck, 0.5, 0, c, 1, k, "%s.weight", name);
	const double *b = bias ? ck_get(ck, 0.3, 0, c, 0, 0, "%s.bias", name) : NULL;
	double *y = vec(ck, n * c);
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < c; i++) {
			y[t * c + i] = b ? b[i] : 0;
			for (size_t j = 0; j < k && j <= t; j++)
				y[t * c + i] += w[i * k + k - 1 - j] * x[(t - j) * ld + i];
		}
	return y;
}

/* Inverse frequencies by config: default, or yarn when rope_scaling says so; *factor multiplies cos and sin. */
static void rope_freq(const json_t *cfg, double theta, size_t d, double *f, double *factor)
{
	const json_t *s = json_object_get(cfg, "rope_scaling");
	*factor = 1;
	for (size_t i = 0; i < d / 2; i++)
		f[i] = pow(theta, -2.0 * (double)i / (double)d);
	if (!json_is_object(s))
		return;
	double k = num(s, "factor", 1), orig = num(s, "original_max_position_embeddings", 0), m = num(s, "mscale", 0);
	double all = num(s, "mscale_all_dim", 0), dd = (double)d;
	double lo = dd * log(orig / (num(s, "beta_fast", 32) * 2 * M_PI)) / (2 * log(theta));
	double hi = dd * log(orig / (num(s, "beta_slow", 1) * 2 * M_PI)) / (2 * log(theta));
	if (num(s, "truncate", 1) != 0) {
		lo = floor(lo);
		hi = ceil(hi);
	}
	lo = fmax(lo, 0);
	hi = fmin(hi, dd - 1);
	if (lo == hi)
		hi += 0.001;
	for (size_t i = 0; i < d / 2; i++) {
		double ramp = fmin(fmax(((double)i - lo) / (hi - lo), 0), 1);
		f[i] = f[i] / k * ramp + f[i] * (1 - ramp);
	}
	*factor = m != 0 && all != 0 ? (0.1 * m * log(k) + 1) / (0.1 * all * log(k) + 1) : 0.1 * log(k) + 1;
}

static void rotate(double *x, size_t d, const double *f, double factor, size_t pos, bool half)
{
	for (size_t i = 0; i < d / 2; i++) {
		size_t a = half ? i : 2 * i, b = half ? i + d / 2 : 2 * i + 1;
		double c = cos((double)pos * f[i]) * factor, s = sin((double)pos * f[i]) * factor, u = x[a], v = x[b];
		x[a] = u * c - v * s;
		x[b] = v * c + u * s;
	}
}

/* q [n, h, d], k [n, kv, d], v [n, kv, dv] -> [n, h, dv]; window 0: all; sink: [h] or NULL */
static double *attend(struct ck *ck, const double *q, const double *k, const double *v, size_t n, size_t h, size_t kv,
	size_t d, size_t dv, double scale, size_t window, const double *sink)
{
	double *out = vec(ck, n * h * dv), *s = vec(ck, n);
	for (size_t i = 0; i < n; i++)
		for (size_t a = 0; a < h; a++) {
			size_t g = a / (h / kv), from = window && i + 1 > window ? i + 1 - window : 0;
			double sum = sink ? exp(sink[a]) : 0;
			for (size_t j = from; j <= i; j++) {
				s[j] = 0;
				for (size_t c = 0; c < d; c++)
					s[j] += q[(i * h + a) * d + c] * k[(j * kv + g) * d + c];
				sum += s[j] = exp(s[j] * scale);
			}
			for (size_t j = from; j <= i; j++)
				for (size_t c = 0; c < dv; c++)
					out[(i * h + a) * dv + c] += s[j] / sum * v[(j * kv + g) * dv + c];
		}
	return out;
}

/* embedding rows times f */
static double *embed(struct ck *ck, const char *name, const uint32_t *id, size_t n, size_t v, size_t d, double f)
{
	const double *e = ck_get(ck, 1, 0, v, d, 0, "%s.weight", name);
	double *x = vec(ck, n * d);
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < d; i++)
			x[t * d + i] = e[id[t] * d + i] * f;
	return x;
}

/* log p(id[t+1]) from final hidden states; head: tensor name without .weight; cap 0: none */
static void finish(struct ck *ck, const double *x, const uint32_t *id, size_t n, size_t v, size_t d, const char *head,
	double mult, double cap, double *lp)
{
	const double *w = ck_get(ck, 2 / sqrt((double)d), 0, v, d, 0, "%s.weight", head);
	for (size_t t = 0; t + 1 < n; t++) {
		double sum = 0, hit = 0;
		for (size_t o = 0; o < v; o++) {
			double s = 0;
			for (size_t i = 0; i < d; i++)
				s += w[o * d + i] * x[t * d + i];
			s *= mult;
			s = cap > 0 ? cap * tanh(s / cap) : s;
			sum += exp(s);
			hit = o == id[t + 1] ? s : hit;
		}
		lp[t] = hit - log(sum);
	}
}

typedef void naive_pass(struct ck *ck, const uint32_t *id, size_t n, double *lp);

#endif
