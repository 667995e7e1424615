/* align.c: laying one map over another (orthogonal Procrustes), and how far its points moved.
 *
 * Both point sets are centred; with M = Y^T X = U S V^T the best orthogonal map is R = U V^T, a mirror image included:
 * a map has no handedness, and a flipped axis is the most common difference between two fits. */
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

static void identity(struct mm_motion *mo, size_t dims)
{
	memset(mo, 0, sizeof(*mo));
	mo->dims = dims;
	mo->scale = 1;
	for (size_t d = 0; d < dims; d++)
		mo->rot[d * dims + d] = 1;
}

int mm_align_fit(struct mm_motion *mo, size_t k, size_t dims, const double *x, const double *y, bool with_scale,
	struct mm_err *err)
{
	if (dims == 0 || dims > 3)
		return mm_fail(err, MM_EINVAL, "alignment in %zu dimensions", dims);
	identity(mo, dims);
	if (k == 0)
		return 0;
	for (size_t i = 0; i < k; i++)
		for (size_t d = 0; d < dims; d++) {
			mo->from[d] += x[i * dims + d] / (double)k;
			mo->to[d] += y[i * dims + d] / (double)k;
		}
	double cross[9] = { 0 }, size = 0, s[3], u[9], vt[9];
	for (size_t i = 0; i < k; i++)
		for (size_t a = 0; a < dims; a++) {
			double dx = x[i * dims + a] - mo->from[a];
			size += dx * dx;
			for (size_t b = 0; b < dims; b++)
				cross[b * dims + a] += (y[i * dims + b] - mo->to[b]) * dx;
		}
	if (mm_dgesdd(dims, dims, cross, s, u, vt, err))
		return mm_wrap(err, "alignment");
	for (size_t a = 0; a < dims; a++)
		for (size_t b = 0; b < dims; b++) {
			double sum = 0;
			for (size_t c = 0; c < dims; c++)
				sum += u[a * dims + c] * vt[c * dims + b];
			mo->rot[a * dims + b] = sum;
		}
	double sum_s = 0;
	for (size_t d = 0; d < dims; d++)
		sum_s += s[d];
	if (with_scale && size > 0 && sum_s > 0)
		mo->scale = sum_s / size;
	return 0;
}

void mm_align_apply(const struct mm_motion *mo, size_t k, double *x)
{
	for (size_t i = 0; i < k; i++) {
		double in[3], *p = x + i * mo->dims;
		for (size_t d = 0; d < mo->dims; d++)
			in[d] = p[d] - mo->from[d];
		for (size_t a = 0; a < mo->dims; a++) {
			double sum = 0;
			for (size_t b = 0; b < mo->dims; b++)
				sum += mo->rot[a * mo->dims + b] * in[b];
			p[a] = mo->scale * sum + mo->to[a];
		}
	}
}

int mm_displacement(size_t k, size_t dims, const double *x, const double *y, double q, double *out, struct mm_err *err)
{
	*out = 0;
	if (k == 0)
		return 0;
	if (!(q >= 0 && q <= 1))
		return mm_fail(err, MM_EINVAL, "quantile %g is not between 0 and 1", q);
	double *len = mm_calloc(k, sizeof(*len), err);
	if (!len)
		return -1;
	for (size_t i = 0; i < k; i++) {
		double sum = 0;
		for (size_t d = 0; d < dims; d++)
			sum += (x[i * dims + d] - y[i * dims + d]) * (x[i * dims + d] - y[i * dims + d]);
		len[i] = sqrt(sum);
	}
	qsort(len, k, sizeof(*len), mm_cmp_double);
	*out = mm_sorted_quantile(len, k, q);
	mm_free(len);
	return 0;
}
