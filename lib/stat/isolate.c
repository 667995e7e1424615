/* isolate.c: a model far from every neighbour.
 *
 * Nearest-neighbour distances of healthy models spread over orders of magnitude (an interpolation lies at a
 * hundredth of the distance of an unrelated base), and the first model of a new base is far from all there is.
 * So two things must hold:
 *
 *	z            (log d - median) / spread of the nearest distance among those of the other models; the spread
 *	             is 1.4826 times the median deviation of the upper half, with a floor, or a population of
 *	             near-copies would call everything else isolated
 *
 *	unexplained  two_kl(i, j) / (Var_i + Var_j), the smallest over j. Two vectors that share nothing have 1;
 *	             unrelated healthy models on the same texts have about 0.1 and at most 0.4, since texts differ
 *	             far more in how hard they are than models in what they find hard
 *
 * The local outlier factor (ratio of the neighbours' density to one's own) is reported as evidence, not used: it
 * has no scale of its own. The rule is deliberately blunt; finer anomalies have rules of their own. */
#include "stat/stat_priv.h"

#include <math.h>
#include <string.h>

const struct mm_isolate_rule mm_isolate_default = { .z_min = 3, .unexplained_min = 0.35, .k_lof = 5 };

#define MAD_FLOOR     0.25 /* of log distance (not squared): a factor of 1.3 is nobody's surprise */
#define NEAREST_FLOOR 1e-6 /* nats: exact copies have distance 0, whose logarithm is of no use */

static double median_of(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), mm_cmp_double);
	return mm_sorted_quantile(v, n, 0.5);
}

/* Robust z of x among v[n]; tmp[n]. The spread is that of the upper half: near-copies stretch the lower tail of the
 * logarithms without saying anything about how far apart different models lie. */
static double robust_z(double x, const double *v, size_t n, double *tmp)
{
	memcpy(tmp, v, n * sizeof(*v));
	double med = median_of(tmp, n);
	size_t n_up = 0;
	for (size_t i = 0; i < n; i++)
		if (v[i] >= med)
			tmp[n_up++] = v[i] - med;
	double mad = n_up ? 1.4826 * median_of(tmp, n_up) : 0;
	return (x - med) / fmax(mad, MAD_FLOOR);
}

/* Local reachability densities and their ratio, as Breunig et al. define them, over sqrt(two_kl). near: [k, w] */
static void lof_of(const struct mm_near *near, size_t k, size_t w, double *lrd, struct mm_isolation *out)
{
	for (size_t i = 0; i < k; i++) {
		double sum = 0;
		for (size_t a = 0; a < w; a++) {
			const struct mm_near *e = &near[i * w + a];
			double kd = sqrt((double)near[e->i * w + w - 1].d);
			sum += fmax(kd, sqrt((double)e->d));
		}
		lrd[i] = (double)w / fmax(sum, sqrt(NEAREST_FLOOR));
	}
	for (size_t i = 0; i < k; i++) {
		double sum = 0;
		for (size_t a = 0; a < w; a++)
			sum += lrd[near[i * w + a].i];
		out[i].lof = sum / ((double)w * lrd[i]);
	}
}

static double log_dist(double two_kl)
{
	return 0.5 * log(fmax(two_kl, NEAREST_FLOOR));
}

void mm_isolate_one(size_t self, size_t k, const double *d, const double *nearest, const double *var,
	const struct mm_isolate_rule *rule, double *tmp, struct mm_isolation *out)
{
	size_t n = 0;
	memset(out, 0, sizeof(*out));
	out->unexplained = 1;
	for (size_t j = 0; j < k; j++) {
		if (j == self)
			continue;
		double both = var[self] + var[j];
		out->unexplained = fmin(out->unexplained, both > 0 ? d[j] / both : 0);
		if (n == 0 || d[j] < out->nearest) {
			out->nearest = d[j];
			out->nearest_i = j;
		}
		tmp[n++] = log_dist(nearest[j]);
	}
	if (k < MM_ISOLATE_MIN_MODELS)
		return;
	out->z = robust_z(log_dist(out->nearest), tmp, n, tmp + k);
	out->isolated = out->z >= rule->z_min && out->unexplained >= rule->unexplained_min;
}

int mm_isolate(const struct mm_tri *t, const double *var, const struct mm_isolate_rule *rule, struct mm_isolation *out,
	struct mm_err *err)
{
	size_t k = t->k, w = MM_MIN(MM_MAX(rule->k_lof, (size_t)1), k ? k - 1 : 0);
	memset(out, 0, k * sizeof(*out));
	if (k < 2)
		return 0;
	struct mm_near *near = mm_calloc(k * w, sizeof(*near), err);
	double *d = near ? mm_calloc(5 * k, sizeof(*d), err) : NULL;
	if (!d || mm_knn_all(t, w, near, err)) {
		mm_free(d);
		mm_free(near);
		return -1;
	}
	double *nearest = d + k, *tmp = nearest + k;
	for (size_t i = 0; i < k; i++)
		nearest[i] = (double)near[i * w].d;
	for (size_t i = 0; i < k; i++) {
		for (size_t j = 0; j < k; j++)
			d[j] = mm_tri_get(t, i, j);
		mm_isolate_one(i, k, d, nearest, var, rule, tmp, &out[i]);
	}
	if (k >= MM_ISOLATE_MIN_MODELS)
		lof_of(near, k, w, tmp, out);
	mm_free(d);
	mm_free(near);
	return 0;
}
