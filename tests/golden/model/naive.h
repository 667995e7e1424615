/* naive.h: a second formulation of the transformer families, in double precision and without any of lib/model's tables:
 * plain loops over lists of numbers, one function a family (test_naive.c), written from the description of the
 * architecture.
 *
 * Weights come into being when they are first asked for, by their name in a Hugging Face checkpoint: random numbers
 * from a generator seeded by the name. A family's function run once therefore defines the checkpoint, which is then
 * written as config.json + model.safetensors and read by the program under test. */
#ifndef NAIVE_H
#define NAIVE_H

#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#define NW_MAX 512

struct nw { /* one weight: [rows, cols], or [rows] when cols is 0; three dimensions when planes is not 0 */
	char name[128];
	size_t planes, rows, cols, n;
	double *x;
};
struct naive {
	struct nw w[NW_MAX];
	size_t n_w;
	void *junk[4096];
	size_t n_junk;
	double scale; /* of weights */
};

static inline void *nv_keep(struct naive *nv, void *p)
{
	assert_true(nv->n_junk < MM_COUNT(nv->junk));
	nv->junk[nv->n_junk++] = p;
	return p;
}

static inline double *nv_vec(struct naive *nv, size_t n)
{
	double *p = calloc(n + 1, sizeof(double));
	assert_non_null(p);
	return nv_keep(nv, p);
}

/* Every intermediate value is dropped; the weights stay. */
static inline void nv_reset(struct naive *nv)
{
	for (size_t i = 0; i < nv->n_junk; i++)
		free(nv->junk[i]);
	nv->n_junk = 0;
}

static inline void nv_free(struct naive *nv)
{
	nv_reset(nv);
	for (size_t i = 0; i < nv->n_w; i++)
		free(nv->w[i].x);
	free(nv);
}

static inline double *nv_w3(struct naive *nv, size_t planes, size_t rows, size_t cols, const char *name)
{
	for (size_t i = 0; i < nv->n_w; i++)
		if (!strcmp(nv->w[i].name, name))
			return nv->w[i].x;
	assert_true(nv->n_w < NW_MAX && strlen(name) < sizeof(nv->w[0].name));
	struct nw *w = &nv->w[nv->n_w++];
	struct mm_rng rng;
	mm_rng_init(&rng, mm_hash64(name, strlen(name)));
	strcpy(w->name, name);
	w->planes = planes;
	w->rows = rows;
	w->cols = cols;
	w->n = MM_MAX(planes, (size_t)1) * rows * MM_MAX(cols, (size_t)1);
	w->x = calloc(w->n, sizeof(double));
	assert_non_null(w->x);
	bool norm = strstr(name, "norm") || strstr(name, "ln_");
	for (size_t i = 0; i < w->n; i++) { /* float values, so that the file holds them exactly */
		double v = mm_rng_normal(&rng) * (cols ? nv->scale / sqrt((double)cols) * 4 : 0.3);
		w->x[i] = (double)(float)(norm && !strstr(name, "bias") ? 1 + v : v);
	}
	return w->x;
}

#define W(rows, cols, ...) nv_w(nv, rows, cols, __VA_ARGS__)
static inline double *nv_w(struct naive *nv, size_t rows, size_t cols, const char *fmt, ...) MM_PRINTF(4, 5);
static inline double *nv_w(struct naive *nv, size_t rows, size_t cols, const char *fmt, ...)
{
	char name[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	return nv_w3(nv, 0, rows, cols, name);
}

/* y[t] = w x[t] + b; w: [out, in] */
static inline double *nv_lin(
	struct naive *nv, const double *x, size_t T, size_t in, size_t out, const double *w, const double *b)
{
	double *y = nv_vec(nv, T * out);
	for (size_t t = 0; t < T; t++)
		for (size_t o = 0; o < out; o++) {
			double s = b ? b[o] : 0;
			for (size_t i = 0; i < in; i++)
				s += w[o * in + i] * x[t * in + i];
			y[t * out + o] = s;
		}
	return y;
}

/* the same with w: [in, out] (Conv1D) */
static inline double *nv_conv1d(
	struct naive *nv, const double *x, size_t T, size_t in, size_t out, const double *w, const double *b)
{
	double *y = nv_vec(nv, T * out);
	for (size_t t = 0; t < T; t++)
		for (size_t o = 0; o < out; o++) {
			double s = b ? b[o] : 0;
			for (size_t i = 0; i < in; i++)
				s += w[i * out + o] * x[t * in + i];
			y[t * out + o] = s;
		}
	return y;
}

static inline double *nv_rms(struct naive *nv, const double *x, size_t n, size_t d, const double *w, double eps)
{
	double *y = nv_vec(nv, n * d);
	for (size_t t = 0; t < n; t++) {
		double s = 0;
		for (size_t i = 0; i < d; i++)
			s += x[t * d + i] * x[t * d + i];
		s = 1 / sqrt(s / (double)d + eps);
		for (size_t i = 0; i < d; i++)
			y[t * d + i] = x[t * d + i] * s * (w ? w[i] : 1);
	}
	return y;
}

static inline double *nv_ln(
	struct naive *nv, const double *x, size_t n, size_t d, const double *w, const double *b, double eps)
{
	double *y = nv_vec(nv, n * d);
	for (size_t t = 0; t < n; t++) {
		double m = 0, s = 0;
		for (size_t i = 0; i < d; i++)
			m += x[t * d + i] / (double)d;
		for (size_t i = 0; i < d; i++)
			s += (x[t * d + i] - m) * (x[t * d + i] - m) / (double)d;
		for (size_t i = 0; i < d; i++)
			y[t * d + i] = (x[t * d + i] - m) / sqrt(s + eps) * (w ? w[i] : 1) + (b ? b[i] : 0);
	}
	return y;
}

static inline void nv_add(double *x, const double *y, size_t n, double f)
{
	for (size_t i = 0; i < n; i++)
		x[i] += f * y[i];
}

static inline double nv_silu(double x)
{
	return x / (1 + exp(-x));
}
static inline double nv_gelu(double x)
{
	return 0.5 * x * (1 + erf(x / sqrt(2)));
}
static inline double nv_gelu_tanh(double x)
{
	return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static inline double nv_relu2(double x)
{
	return x > 0 ? x * x : 0;
}
static inline double nv_relu(double x)
{
	return x > 0 ? x : 0;
}

static inline void nv_map(double *x, size_t n, double (*f)(double))
{
	for (size_t i = 0; i < n; i++)
		x[i] = f(x[i]);
}

/* Frequencies of a rotation; NULL factors: theta^(-2i/d). */
struct nv_rope {
	size_t d; /* rotated elements of a head */
	double theta;
	bool adjacent;
	double freq[128];
	double mult; /* of cos and sin; 0: 1 */
};
static inline struct nv_rope nv_rope_of(size_t d, double theta, bool adjacent)
{
	struct nv_rope r = { .d = d, .theta = theta, .adjacent = adjacent, .mult = 1 };
	for (size_t i = 0; i < d / 2; i++)
		r.freq[i] = pow(theta, -2.0 * (double)i / (double)d);
	return r;
}

/* x: [T, heads, d_head] with row stride ld */
static inline void nv_rotate(const struct nv_rope *r, double *x, size_t T, size_t ld, size_t heads, size_t d_head)
{
	for (size_t t = 0; t < T; t++)
		for (size_t h = 0; h < heads; h++)
			for (size_t i = 0; i < r->d / 2; i++) {
				double *p = x + t * ld + h * d_head, a = (double)t * r->freq[i];
				size_t u = r->adjacent ? 2 * i : i, v = r->adjacent ? 2 * i + 1 : i + r->d / 2;
				double c = cos(a) * r->mult, s = sin(a) * r->mult, pu = p[u], pv = p[v];
				p[u] = pu * c - pv * s;
				p[v] = pv * c + pu * s;
			}
}

struct nv_attn {
	size_t T, H, KV, d, dv; /* dv 0: d */
	double scale, cap;
	size_t window;
	double (*bias)(size_t head, size_t n_head, size_t query, size_t key); /* added to scaled scores */
};

/* q [T, H, d], k [T, KV, d], v [T, KV, dv] -> [T, H, dv] */
static inline double *nv_attend(
	struct naive *nv, const struct nv_attn *a, const double *q, const double *k, const double *v)
{
	size_t dv = a->dv ? a->dv : a->d;
	double *y = nv_vec(nv, a->T * a->H * dv), *p = nv_vec(nv, a->T);
	for (size_t h = 0; h < a->H; h++)
		for (size_t i = 0; i < a->T; i++) {
			size_t g = h / (a->H / a->KV);
			double sum = 0, top = -INFINITY;
			for (size_t j = 0; j <= i; j++) {
				p[j] = -INFINITY;
				if (a->window && i - j >= a->window)
					continue;
				double s = 0;
				for (size_t e = 0; e < a->d; e++)
					s += q[(i * a->H + h) * a->d + e] * k[(j * a->KV + g) * a->d + e];
				s *= a->scale;
				if (a->cap > 0)
					s = a->cap * tanh(s / a->cap);
				if (a->bias)
					s += a->bias(h, a->H, i, j);
				p[j] = s;
				top = s > top ? s : top;
			}
			for (size_t j = 0; j <= i; j++)
				sum += exp(p[j] - top);
			for (size_t j = 0; j <= i; j++)
				for (size_t e = 0; e < dv; e++)
					y[(i * a->H + h) * dv + e] +=
						exp(p[j] - top) / sum * v[(j * a->KV + g) * dv + e];
		}
	return y;
}

/* Log-probs of ids[1..] from hidden states [T, D] and a head [V, D] */
static inline void nv_head(const double *x, size_t T, size_t D, size_t V, const double *head, const double *bias,
	double mult, double cap, const uint32_t *id, double *out)
{
	double *z = calloc(V, sizeof(double));
	assert_non_null(z);
	for (size_t t = 0; t + 1 < T; t++) {
		double top = -INFINITY, sum = 0;
		for (size_t v = 0; v < V; v++) {
			z[v] = bias ? bias[v] : 0;
			for (size_t i = 0; i < D; i++)
				z[v] += head[v * D + i] * x[t * D + i];
			z[v] *= mult;
			if (cap > 0)
				z[v] = cap * tanh(z[v] / cap);
			top = z[v] > top ? z[v] : top;
		}
		for (size_t v = 0; v < V; v++)
			sum += exp(z[v] - top);
		out[t] = z[id[t + 1]] - top - log(sum);
	}
	free(z);
}

static inline double *nv_embed(
	struct naive *nv, const double *table, const uint32_t *id, size_t T, size_t D, double mult)
{
	double *x = nv_vec(nv, T * D);
	for (size_t t = 0; t < T; t++)
		for (size_t i = 0; i < D; i++)
			x[t * D + i] = table[id[t] * D + i] * mult;
	return x;
}

/* ---- the checkpoint ---- */

static inline void nv_write(const struct naive *nv, const char *dir, const char *config)
{
	struct mm_err err;
	struct mm_buf head = { 0 }, file = { 0 };
	char path[512];
	size_t off = 0;
	mm_buf_str(&head, "{");
	for (size_t i = 0; i < nv->n_w; i++) {
		const struct nw *w = &nv->w[i];
		mm_buf_printf(&head, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", i ? "," : "", w->name);
		if (w->planes)
			mm_buf_printf(&head, "%zu,", w->planes);
		mm_buf_printf(&head, "%zu", w->rows);
		if (w->cols)
			mm_buf_printf(&head, ",%zu", w->cols);
		mm_buf_printf(&head, "],\"data_offsets\":[%zu,%zu]}", off, off + 4 * w->n);
		off += 4 * w->n;
	}
	mm_buf_str(&head, "}");
	while (head.len % 8)
		mm_buf_str(&head, " ");
	mm_buf_u64(&file, head.len);
	mm_buf_put(&file, head.data, head.len);
	for (size_t i = 0; i < nv->n_w; i++)
		for (size_t k = 0; k < nv->w[i].n; k++)
			mm_buf_f32(&file, (float)nv->w[i].x[k]);
	assert_int_equal(mm_buf_check(&file, &err), 0);
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	assert_int_equal(mm_file_write(path, file.data, file.len, &err), 0);
	snprintf(path, sizeof(path), "%s/config.json", dir);
	assert_int_equal(mm_file_write(path, config, strlen(config), &err), 0);
	mm_buf_fini(&head);
	mm_buf_fini(&file);
}

#endif
