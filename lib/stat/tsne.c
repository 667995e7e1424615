/* tsne.c: t-distributed stochastic neighbour embedding.
 *
 *	q_ij ~ 1 / (1 + |y_i - y_j|^2) / Z	grad_i = 4 (sum_j p_ij q_ij Z (y_i - y_j) - sum_j q_ij^2 Z (y_i - y_j))
 *
 * Momentum, gains, early exaggeration and rate as in the reference implementations. Every point computes the forces on
 * itself alone (twice the work of using symmetry, but vectorised and without a race), sums run in a fixed order, and Z
 * is added up point by point: the same bits for any number of threads. Forces are f32, positions and sums f64. Up to
 * exact_max models the repulsion is summed over all pairs, which is then faster than any tree; above, through
 * tsne_tree.c. */
#include "stat/stat_tsne.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

const struct mm_tsne_opts mm_tsne_default = { .dims = 2,
	.perplexity = 30,
	.n_iter = 1000,
	.n_exaggerated = 250,
	.exaggeration = 12,
	.rate = 0,
	.theta = 0.5,
	.exact_max = 1500 };

#define FAR 1e15F

struct run {
	const struct mm_affinity *a;
	const struct mm_tsne_opts *o;
	size_t k, kp, dims;
	double *y, *move, *gain; /* [k, dims] */
	float *pos;		 /* [dims, kp] positions, padded far away */
	float *att, *rep;	 /* [k, dims] */
	float *z;		 /* [k] */
	double Z;
	struct tsne_tree tree;
	bool exact;
};

/* ---- forces on one point ---- */

MM_BODY float repulse_body(const float *pos, size_t kp, size_t dims, const float *p, float *f)
{
	float z[WIDE] = { 0 }, part[3][WIDE] = { { 0 } };
	for (size_t j = 0; j < kp; j += WIDE)
		for (int l = 0; l < WIDE; l++) {
			float dx = p[0] - pos[j + (size_t)l], dy = p[1] - pos[kp + j + (size_t)l];
			float dz = dims > 2 ? p[2] - pos[2 * kp + j + (size_t)l] : 0;
			float q = 1.0F / (1.0F + dx * dx + dy * dy + dz * dz);
			z[l] += q;
			q *= q;
			part[0][l] += q * dx;
			part[1][l] += q * dy;
			if (dims > 2)
				part[2][l] += q * dz;
		}
	float sum = 0;
	for (size_t c = 0; c < dims; c++) {
		float s = 0;
		for (int l = 0; l < WIDE; l++)
			s += part[c][l];
		f[c] = s;
	}
	for (int l = 0; l < WIDE; l++)
		sum += z[l];
	return sum;
}
#define REP_PARAMS (const float *pos, size_t kp, const float *p, float *f)
#define REP_ARGS   (pos, kp, p, f)
MM_BODY float repulse2_body REP_PARAMS
{
	return repulse_body(pos, kp, 2, p, f);
}
MM_BODY float repulse3_body REP_PARAMS
{
	return repulse_body(pos, kp, 3, p, f);
}
MM_TARGETS(float, repulse2, REP_PARAMS, REP_ARGS)
MM_TARGETS(float, repulse3, REP_PARAMS, REP_ARGS)

MM_BODY int attract_body(const uint32_t *col, const float *w, size_t n, const float *pos, size_t kp, size_t dims,
	const float *p, float *f)
{
	float part[3][WIDE] = { { 0 } };
	size_t e = 0;
	for (; e + WIDE <= n; e += WIDE)
		for (int l = 0; l < WIDE; l++) {
			int32_t j = (int32_t)col[e + (size_t)l];
			float dx = p[0] - pos[j], dy = p[1] - (pos + kp)[j],
			      dz = dims > 2 ? p[2] - (pos + 2 * kp)[j] : 0;
			float q = w[e + (size_t)l] / (1.0F + dx * dx + dy * dy + dz * dz);
			part[0][l] += q * dx;
			part[1][l] += q * dy;
			if (dims > 2)
				part[2][l] += q * dz;
		}
	for (int l = 0; e < n; e++, l++) {
		uint32_t j = col[e];
		float dx = p[0] - pos[j], dy = p[1] - (pos + kp)[j], dz = dims > 2 ? p[2] - (pos + 2 * kp)[j] : 0;
		float q = w[e] / (1.0F + dx * dx + dy * dy + dz * dz);
		part[0][l] += q * dx;
		part[1][l] += q * dy;
		if (dims > 2)
			part[2][l] += q * dz;
	}
	for (size_t c = 0; c < dims; c++) {
		float s = 0;
		for (int l = 0; l < WIDE; l++)
			s += part[c][l];
		f[c] = s;
	}
	return 0;
}
#define ATT_PARAMS                                                                                                     \
	(const uint32_t *col, const float *w, size_t n, const float *pos, size_t kp, const float *p, float *f)
#define ATT_ARGS (col, w, n, pos, kp, p, f)
MM_BODY int attract2_body ATT_PARAMS
{
	return attract_body(col, w, n, pos, kp, 2, p, f);
}
MM_BODY int attract3_body ATT_PARAMS
{
	return attract_body(col, w, n, pos, kp, 3, p, f);
}
MM_TARGETS(int, attract2, ATT_PARAMS, ATT_ARGS)
MM_TARGETS(int, attract3, ATT_PARAMS, ATT_ARGS)

/* ---- one iteration, called by all threads of a team ---- */

static void own_forces(struct run *r, size_t i)
{
	float p[3] = { 0 };
	uint64_t from = r->a->at[i], n = r->a->at[i + 1] - from;
	for (size_t c = 0; c < r->dims; c++)
		p[c] = r->pos[c * r->kp + i];
	if (r->dims == 3)
		attract3(r->a->col + from, r->a->p + from, n, r->pos, r->kp, p, r->att + 3 * i);
	else
		attract2(r->a->col + from, r->a->p + from, n, r->pos, r->kp, p, r->att + 2 * i);
	if (r->exact)
		r->z[i] = r->dims == 3 ? repulse3(r->pos, r->kp, p, r->rep + 3 * i)
				       : repulse2(r->pos, r->kp, p, r->rep + 2 * i);
}

static void group_forces(struct run *r, size_t g)
{
	float f[3 * WIDE], z[WIDE];
	size_t n = MM_MIN((size_t)WIDE, r->k - g * WIDE);
	mm_tsne_tree_repulse(&r->tree, g, (float)(r->o->theta * r->o->theta), f, z);
	for (size_t l = 0; l < n; l++) {
		uint32_t i = r->tree.order[g * WIDE + l];
		r->z[i] = z[l];
		for (size_t c = 0; c < r->dims; c++)
			r->rep[i * r->dims + c] = f[c * WIDE + l];
	}
}

static void positions(struct run *r)
{
	for (size_t c = 0; c < r->dims; c++) {
		float *p = r->pos + c * r->kp;
		for (size_t i = 0; i < r->k; i++)
			p[i] = (float)r->y[i * r->dims + c];
		for (size_t i = r->k; i < r->kp; i++)
			p[i] = FAR;
	}
	if (!r->exact)
		mm_tsne_tree_build(&r->tree, r->y);
}

/* Z without the points themselves, which every one counted once. */
static void sum_z(struct run *r)
{
	double part[LANES] = { 0 };
	for (size_t i = 0; i < r->k; i++)
		part[i % LANES] += (double)r->z[i] - 1;
	r->Z = fmax(lanes_sum(part), 1e-300);
}

static void step(struct run *r, size_t it, double rate)
{
	double exag = it < r->o->n_exaggerated ? r->o->exaggeration : 1,
	       momentum = it < r->o->n_exaggerated ? 0.5 : 0.8;
	double mean[3] = { 0 };
	for (size_t a = 0; a < r->k * r->dims; a++) {
		double g = 4 * (exag * (double)r->att[a] - (double)r->rep[a] / r->Z);
		bool same = (g > 0) == (r->move[a] > 0);
		r->gain[a] = same ? fmax(r->gain[a] * 0.8, 0.01) : r->gain[a] + 0.2;
		r->move[a] = momentum * r->move[a] - rate * r->gain[a] * g;
		r->y[a] += r->move[a];
		mean[a % r->dims] += r->y[a];
	}
	for (size_t a = 0; a < r->k * r->dims;
		a++) /* nothing holds the middle in its place: keep the digits for the layout */
		r->y[a] -= mean[a % r->dims] / (double)r->k;
}

static void iterate(struct run *r)
{
	size_t n_group = r->kp / WIDE;
	double rate = r->o->rate > 0 ? r->o->rate : fmax((double)r->k / r->o->exaggeration / 4, 50);
	bool stop = false;
#pragma omp parallel num_threads((int)mm_threads()) if (r->k >= 256)
	for (size_t it = 0; it <= r->o->n_iter; it++) {
#pragma omp single
		{
			positions(r);
			stop = r->o->cancel && *r->o->cancel;
		}
		if (stop)
			break;
#pragma omp for schedule(dynamic, 64) nowait
		for (size_t i = 0; i < r->k; i++)
			own_forces(r, i);
#pragma omp for schedule(dynamic, 4)
		for (size_t g = 0; g < (r->exact ? 0 : n_group); g++)
			group_forces(r, g);
#pragma omp single
		{
			sum_z(r);
			if (it < r->o->n_iter) /* the last round only measures */
				step(r, it, rate);
		}
	}
}

/* sum p log(p / q) over the sparse rows; the same p summed to 1. */
static double objective(const struct run *r)
{
	double kl = 0;
	for (size_t i = 0; i < r->k; i++) {
		double row = 0;
		for (uint64_t e = r->a->at[i]; e < r->a->at[i + 1]; e++) {
			double d2 = 0, p = (double)r->a->p[e];
			for (size_t c = 0; c < r->dims; c++) {
				double d = r->y[i * r->dims + c] - r->y[r->a->col[e] * r->dims + c];
				d2 += d * d;
			}
			if (p > 0)
				row += p * log(p * (1 + d2) * r->Z);
		}
		kl += row;
	}
	return kl;
}

static void start_small(struct run *r)
{
	double mean = 0, var = 0;
	for (size_t i = 0; i < r->k; i++)
		mean += r->y[i * r->dims] / (double)r->k;
	for (size_t i = 0; i < r->k; i++)
		var += (r->y[i * r->dims] - mean) * (r->y[i * r->dims] - mean) / (double)r->k;
	double f = var > 0 ? 1e-4 / sqrt(var) : 0;
	struct mm_rng rng;
	mm_rng_init(&rng, 0x75e);
	for (size_t a = 0; a < r->k * r->dims; a++) {
		/* copies start apart by a hair, or no force could ever tell them apart */
		r->y[a] = r->y[a] * f + 1e-8 * mm_rng_normal(&rng);
		r->gain[a] = 1;
	}
}

int mm_tsne_fit(
	const struct mm_affinity *a, const struct mm_tsne_opts *o, double *coord, double *kl, struct mm_err *err)
{
	struct run r = { .a = a, .o = o, .k = a->k, .dims = o->dims };
	size_t kd = r.k * r.dims;
	int rc = -1;
	*kl = 0;
	if ((o->dims != 2 && o->dims != 3) || !(o->theta >= 0) || !(o->exaggeration >= 1))
		return mm_fail(err, MM_EINVAL, "embedding in %zu dimensions, angle %g, exaggeration %g", o->dims,
			o->theta, o->exaggeration);
	if (r.k < 2)
		return 0;
	r.kp = (r.k + WIDE - 1) / WIDE * WIDE;
	r.exact = o->theta == 0 || r.k <= o->exact_max;
	r.y = mm_calloc(3 * kd, sizeof(double), err);
	r.pos = r.y ? mm_calloc(r.dims * r.kp + 2 * kd + r.k, sizeof(float), err) : NULL;
	if (!r.pos || (!r.exact && mm_tsne_tree_init(&r.tree, r.k, r.dims, err)))
		goto out;
	r.move = r.y + kd;
	r.gain = r.move + kd;
	r.att = r.pos + r.dims * r.kp;
	r.rep = r.att + kd;
	r.z = r.rep + kd;
	memcpy(r.y, coord, kd * sizeof(double));
	start_small(&r);
	iterate(&r);
	if (o->cancel && *o->cancel) {
		mm_fail(err, MM_ECANCELLED, "embedding: cancelled");
		goto out;
	}
	*kl = objective(&r);
	memcpy(coord, r.y, kd * sizeof(double));
	rc = 0;
out:
	if (!r.exact)
		mm_tsne_tree_fini(&r.tree);
	mm_free(r.pos);
	mm_free(r.y);
	return rc;
}

int mm_tsne_run(const struct mm_tri *t, const struct mm_tsne_opts *o, double *coord, double *kl, struct mm_err *err)
{
	*kl = 0;
	if (t->k < 4) /* nothing to embed: the layout stays what it is */
		return 0;
	double perplexity = fmin(o->perplexity, (double)(t->k - 1) / 3);
	size_t w = MM_MIN(t->k - 1, (size_t)(3 * perplexity) + 1);
	struct mm_near *near = mm_calloc(t->k * w, sizeof(*near), err);
	struct mm_affinity a = { 0 };
	int rc = near && mm_knn_all(t, w, near, err) == 0 && mm_tsne_affinity(&a, near, t->k, w, perplexity, err) == 0
			 ? mm_tsne_fit(&a, o, coord, kl, err)
			 : -1;
	mm_affinity_fini(&a);
	mm_free(near);
	return rc;
}

/* ---- one more point ---- */

struct placing {
	const double *coord;
	size_t k, dims, w;
	const struct mm_near *near;
	const double *p;
};

/* KL of the point's neighbours and its gradient. */
static double place_loss(const struct placing *s, const double *x, double *grad)
{
	double Z = 0, g[3] = { 0 }, loss = 0;
	for (size_t j = 0; j < s->k; j++) {
		double d2 = 0, diff[3];
		for (size_t c = 0; c < s->dims; c++) {
			diff[c] = x[c] - s->coord[j * s->dims + c];
			d2 += diff[c] * diff[c];
		}
		double q = 1 / (1 + d2);
		Z += q;
		for (size_t c = 0; c < s->dims; c++)
			g[c] -= q * q * diff[c];
	}
	for (size_t c = 0; c < s->dims; c++)
		grad[c] = 2 * g[c] / Z;
	for (size_t a = 0; a < s->w; a++) {
		double d2 = 0, diff[3];
		for (size_t c = 0; c < s->dims; c++) {
			diff[c] = x[c] - s->coord[s->near[a].i * s->dims + c];
			d2 += diff[c] * diff[c];
		}
		loss += s->p[a] * log((1 + d2) * Z);
		for (size_t c = 0; c < s->dims; c++)
			grad[c] += 2 * s->p[a] * diff[c] / (1 + d2);
	}
	return loss;
}

/* Descent with a step that grows while it helps and halves when it does not. */
static void descend(const struct placing *s, double *x)
{
	double grad[3], loss = place_loss(s, x, grad), size = 1;
	for (int it = 0; it < 200; it++) {
		double to[3], g2[3], norm = 0;
		for (size_t c = 0; c < s->dims; c++) {
			to[c] = x[c] - size * grad[c];
			norm += grad[c] * grad[c];
		}
		double next = place_loss(s, to, g2);
		if (next < loss) {
			memcpy(x, to, s->dims * sizeof(*x));
			memcpy(grad, g2, sizeof(grad));
			if (loss - next < 1e-12)
				return;
			loss = next;
			size *= 1.5;
		} else {
			size *= 0.5;
		}
		if (norm * size * size < 1e-18)
			return;
	}
}

int mm_tsne_place(
	const double *d, const double *coord, size_t k, const struct mm_tsne_opts *o, double *out, struct mm_err *err)
{
	memset(out, 0, o->dims * sizeof(*out));
	if (k == 0)
		return 0;
	double perplexity = fmax(fmin(o->perplexity, (double)k / 3), 1);
	size_t want = MM_MIN(k, (size_t)(3 * perplexity) + 1);
	struct mm_near *near = mm_calloc(want, sizeof(*near), err);
	double *p = near ? mm_calloc(2 * want, sizeof(*p), err) : NULL;
	if (!p) {
		mm_free(near);
		return -1;
	}
	float *nd = (float *)(p + want);
	size_t w = mm_knn_row(d, k, SIZE_MAX, want, near);
	for (size_t a = 0; a < w; a++)
		nd[a] = near[a].d;
	mm_tsne_weights(nd, w, perplexity, p);
	for (size_t a = 0; a < w; a++)
		for (size_t c = 0; c < o->dims; c++)
			out[c] += p[a] * coord[near[a].i * o->dims + c];
	descend(&(struct placing){ coord, k, o->dims, w, near, p }, out);
	mm_free(p);
	mm_free(near);
	return 0;
}
