/* fisher_geom.c: tangents of the manifold of next-byte distributions, and lines in the space of log-likelihoods.
 *
 * The square roots of a distribution are a point of the unit sphere, and the Fisher metric is four times the sphere's.
 * A model is a point of the product of M spheres. The tangent at x that leads to y has on each sphere the direction of
 * y - <x, y> x and the length of the arc, so that its length in the whole is the distance, and the angle between two
 * tangents is that of the ways. */
#include "stat/stat_fisher.h"
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One probe: u[MM_BYTE_STRIDE], its length the distance (rad). */
static void tangent(const float *x, const float *y, double *u)
{
	double t = 0, len = 0;
	for (size_t c = 0; c < MM_BYTES; c++) {
		double d = (double)y[c] - (double)x[c];
		t += d * d;
	}
	for (size_t c = 0; c < MM_BYTE_STRIDE; c++) {
		/* y - <x, y> x without its cancellation where x and y are near: (y - x) + (1 - <x, y>) x */
		u[c] = ((double)y[c] - (double)x[c]) + 0.5 * t * (double)x[c];
		len += u[c] * u[c];
	}
	double arc = 4 * asin(sqrt(t < 2 ? t : 2) / 2), f = len > 0 ? arc / sqrt(len) : 0;
	for (size_t c = 0; c < MM_BYTE_STRIDE; c++)
		u[c] *= f;
}

void mm_byte_heading(
	const float *x, const float *a, const float *b, const uint32_t *sel, size_t n, struct mm_heading *out)
{
	double aa = 0, bb = 0, ab = 0, u[MM_BYTE_STRIDE], v[MM_BYTE_STRIDE];
	for (size_t i = 0; i < n; i++) {
		size_t at = (sel ? sel[i] : i) * MM_BYTE_STRIDE;
		tangent(x + at, a + at, u);
		tangent(x + at, b + at, v);
		for (size_t c = 0; c < MM_BYTES; c++) {
			aa += u[c] * u[c];
			bb += v[c] * v[c];
			ab += u[c] * v[c];
		}
	}
	*out = (struct mm_heading){ aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0, sqrt(aa), sqrt(bb) };
}

/* ---- spectrum ---- */

struct fan {	  /* the tangents */
	float *u; /* [k, len] */
	size_t k, len;
};

static int fan_new(
	struct fan *f, const float *x, const struct mm_byte_rows *r, const _Atomic bool *cancel, struct mm_err *err)
{
	size_t cells;
	double u[MM_BYTE_STRIDE];
	float *y = NULL;
	f->k = r->k;
	f->len = r->n * MM_BYTE_STRIDE;
	if (!mm_mul(f->k, f->len, &cells) || !(f->u = mm_calloc(cells, sizeof(*f->u), err)) ||
		!(y = mm_calloc(r->m * MM_BYTE_STRIDE, sizeof(*y), err)))
		return -1;
	for (size_t j = 0; j < r->k; j++) {
		if ((cancel && *cancel) || mm_bytes_unpack(r->row[j], r->m, y, err)) {
			mm_free(y);
			return cancel && *cancel ? mm_fail(err, MM_ECANCELLED, "spectrum: cancelled") : -1;
		}
		for (size_t i = 0; i < r->n; i++) {
			size_t at = (r->sel ? r->sel[i] : i) * MM_BYTE_STRIDE;
			tangent(x + at, y + at, u);
			for (size_t c = 0; c < MM_BYTE_STRIDE; c++)
				f->u[j * f->len + i * MM_BYTE_STRIDE + c] = (float)u[c];
		}
	}
	mm_free(y);
	return 0;
}

MM_BODY double dot_body(const float *a, const float *b, size_t n)
{
	double s[LANES] = { 0 };
	for (size_t i = 0; i < n; i += LANES)
		for (int l = 0; l < LANES; l++)
			s[l] += (double)a[i + (size_t)l] * (double)b[i + (size_t)l];
	return lanes_sum(s);
}
MM_TARGETS(double, dot, (const float *a, const float *b, size_t n), (a, b, n))

MM_BODY int add_body(float *y, const float *x, float w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] += w * x[i];
	return 0;
}
MM_TARGETS(int, add, (float *y, const float *x, float w, size_t n), (y, x, w, n))

/* Random signs z: E z' G z = tr G, E |G z|^2 = tr G^2. The variance of their ratio follows from both together. */
static int hutchinson(const struct fan *f, size_t n, uint64_t seed, struct mm_spectrum *out, struct mm_err *err)
{
	struct mm_rng rng;
	float *z = mm_calloc(2 * f->len, sizeof(*z), err), *gz = z ? z + f->len : NULL;
	double *one = z ? mm_calloc(2 * n, sizeof(*one), err) : NULL, m1 = 0, m2 = 0, v1 = 0, v2 = 0, vd = 0;
	if (!one) {
		mm_free(z);
		return -1;
	}
	mm_rng_init(&rng, seed);
	for (size_t s = 0; s < n; s++) {
		double first = 0;
		memset(gz, 0, f->len * sizeof(*gz));
		for (size_t i = 0; i < f->len; i++)
			z[i] = mm_rng_u64(&rng) >> 63 ? 1.0f : -1.0f;
		for (size_t j = 0; j < f->k; j++) {
			double w = dot(f->u + j * f->len, z, f->len);
			first += w * w / (double)f->k;
			add(gz, f->u + j * f->len, (float)(w / (double)f->k), f->len);
		}
		one[2 * s] = first;
		one[2 * s + 1] = dot(gz, gz, f->len);
		m1 += one[2 * s] / (double)n;
		m2 += one[2 * s + 1] / (double)n;
	}
	out->trace = m1;
	out->trace2 = m2;
	out->dim = m2 > 0 ? m1 * m1 / m2 : 0;
	for (size_t s = 0; s < n; s++) {
		double a = one[2 * s] - m1, b = one[2 * s + 1] - m2;
		double d = m2 > 0 ? 2 * m1 / m2 * a - m1 * m1 / (m2 * m2) * b : 0; /* linearised ratio */
		v1 += a * a;
		v2 += b * b;
		vd += d * d;
	}
	double den = (double)n * (double)(n - 1);
	out->trace_err = sqrt(v1 / den);
	out->trace2_err = sqrt(v2 / den);
	out->dim_err = sqrt(vd / den);
	mm_free(one);
	mm_free(z);
	return 0;
}

/* G has the eigenvalues of the products of the tangents over k. */
static int exactly(const struct fan *f, struct mm_spectrum *out, struct mm_err *err)
{
	size_t k = f->k;
	double *g = mm_calloc(k * k + k, sizeof(*g), err), *w = g ? g + k * k : NULL, sum = 0, sum2 = 0;
	if (!g)
		return -1;
#pragma omp parallel for schedule(dynamic, 4) num_threads((int)mm_threads()) if (k > 16)
	for (size_t i = 0; i < k; i++)
		for (size_t j = 0; j <= i; j++)
			g[i * k + j] = g[j * k + i] = dot(f->u + i * f->len, f->u + j * f->len, f->len) / (double)k;
	int rc = mm_dsyevd(k, g, w, err);
	for (size_t i = 0; rc == 0 && i < k; i++) {
		sum += fmax(w[i], 0);
		sum2 += w[i] * w[i];
	}
	out->exact_trace = sum;
	out->exact_dim = sum2 > 0 ? sum * sum / sum2 : 0;
	out->n_lead = MM_MIN(k, MM_COUNT(out->lead));
	for (size_t i = 0; rc == 0 && i < out->n_lead; i++)
		out->lead[i] = sum > 0 ? fmax(w[k - 1 - i], 0) / sum : 0;
	mm_free(g);
	return rc;
}

int mm_byte_spectrum(const float *x, const struct mm_byte_rows *others, size_t n_random, uint64_t seed,
	const _Atomic bool *cancel, struct mm_spectrum *out, struct mm_err *err)
{
	struct fan f = { 0 };
	*out = (struct mm_spectrum){ .k = others->k, .n_random = n_random };
	if (!others->k || !others->n || n_random < 2)
		return mm_fail(err, MM_EINVAL, "no other models, no probes or too few random vectors");
	int rc = fan_new(&f, x, others, cancel, err);
	if (rc == 0)
		rc = hutchinson(&f, n_random, seed, out, err) || exactly(&f, out, err) ? -1 : 0;
	mm_free(f.u);
	return rc;
}

/* ---- lines ---- */

int mm_boot_draws(const struct mm_boot *b, const float *x, const float *y, double clip, double *v, struct mm_err *err)
{
	double *d = mm_calloc(b->n, sizeof(*d), err), mean = 0;
	if (!d)
		return -1;
	for (size_t s = 0; s < b->n; s++)
		mean += d[s] = fmax((double)x[s], clip) - fmax((double)y[s], clip);
	mean /= (double)b->n;
	v[0] = mm_dist_pair(x, y, b->n, clip);
	for (size_t r = 0; r < b->n_draw; r++) {
		const uint8_t *c = b->count + r * b->n;
		double s1 = 0, s2 = 0;
		for (size_t s = 0; s < b->n; s++) {
			double w = (double)c[s] * (d[s] - mean);
			s1 += w;
			s2 += w * (d[s] - mean);
		}
		s1 /= (double)b->n;
		v[r + 1] = fmax(s2 / (double)b->n - s1 * s1, 0);
	}
	mm_free(d);
	return 0;
}

int mm_line_boot(
	const double *xa, const double *xb, const double *ab, size_t n_draw, struct mm_line *out, struct mm_err *err)
{
	double *along = mm_calloc(2 * n_draw, sizeof(*along), err), *off = along ? along + n_draw : NULL;
	struct mm_blend m;
	*out = (struct mm_line){ .bow = INFINITY };
	if (!along)
		return -1;
	if (!(ab[0] > 0)) {
		mm_free(along);
		return mm_fail(err, MM_EINVAL, "the two ends are the same model: there is no line between them");
	}
	for (size_t r = 0; r < n_draw; r++) {
		mm_blend_of(xa[r + 1], xb[r + 1], ab[r + 1], &m);
		along[r] = m.alpha;
		off[r] = m.off_line;
	}
	bool inside = mm_blend_of(xa[0], xb[0], ab[0], &m);
	mm_interval_of(m.alpha, along, n_draw, &out->along);
	mm_interval_of(m.off_line, off, n_draw, &out->off);
	if (inside)
		out->bow = m.bow;
	mm_free(along);
	return 0;
}
