/* select.c: a smaller text set that keeps the distances.
 *
 * With d_s the difference of two centred rows at text s, two_kl = sum d_s^2 / N. Texts drawn with probabilities p_s
 * and weighted by 1 / p_s give an unbiased estimate with variance (sum d_s^4 / p_s - ...) / draws. Summed over all
 * pairs that is smallest for
 *
 *	p_s ~ sqrt(sum over pairs of (q_is - q_js)^4) = sqrt(2 K S4 + 6 S2^2)
 *
 * with S2, S4 the sums of the column's second and fourth powers, since the columns are centred; squared length,
 * p_s ~ S2, is the simpler relative. */
#include "stat/stat_priv.h"

#include <math.h>
#include <string.h>

int mm_select_weights(const struct mm_mat *m, double clip, enum mm_select how, double *p, struct mm_err *err)
{
	if (mm_mat_check(m, err))
		return -1;
	size_t n = m->n, k = m->k;
	double *row = mm_calloc(k + 3 * n, sizeof(*row), err), var, total = 0, grand = 0;
	if (!row)
		return -1;
	double *col = row + k, *s2 = col + n, *s4 = s2 + n;
	mm_col_means(m, clip, col);
	for (size_t i = 0; i < k; i++) {
		mm_row_moments(m->row[i], n, clip, &row[i], &var);
		grand += row[i] / (double)k;
	}
	for (size_t i = 0; i < k; i++)
		for (size_t s = 0; s < n; s++) {
			double q = fmax((double)m->row[i][s], clip) - row[i] - col[s] + grand, q2 = q * q;
			s2[s] += q2;
			s4[s] += q2 * q2;
		}
	for (size_t s = 0; s < n; s++) {
		p[s] = how == MM_SELECT_LENGTH ? s2[s]
		       : how == MM_SELECT_KL   ? sqrt(2 * (double)k * s4[s] + 6 * s2[s] * s2[s])
					       : 1;
		total += p[s];
	}
	for (size_t s = 0; s < n; s++) /* equal models: nothing to prefer */
		p[s] = total > 0 ? p[s] / total : 1 / (double)n;
	mm_free(row);
	return 0;
}

/* First place whose cumulated probability exceeds u. */
static size_t place_of(const double *cum, size_t n, double u)
{
	size_t lo = 0, hi = n - 1;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (cum[mid] > u)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

int mm_select_draw(const double *p, size_t n, size_t want, uint64_t seed, uint32_t *index, double *weight, size_t *got,
	struct mm_err *err)
{
	size_t possible = 0, distinct = 0, draws = 0;
	double sum = 0;
	*got = 0;
	for (size_t s = 0; s < n; s++)
		possible += p[s] > 0;
	if (want == 0 || want > possible || n > UINT32_MAX)
		return mm_fail(err, MM_EINVAL, "cannot select %zu of %zu texts", want, possible);
	double *cum = mm_calloc(n, sizeof(*cum), err);
	uint32_t *count = cum ? mm_calloc(n, sizeof(*count), err) : NULL;
	if (!count) {
		mm_free(cum);
		return -1;
	}
	for (size_t s = 0; s < n; s++)
		cum[s] = sum += p[s];
	struct mm_rng rng;
	mm_rng_init(&rng, seed);
	/* The last few of a set that is nearly all selected may be rare: a bound, then the likeliest of the rest. */
	for (; distinct < want && draws < 50 * n; draws++) {
		size_t s = place_of(cum, n, mm_rng_double(&rng) * sum);
		distinct += count[s] == 0;
		count[s]++;
	}
	while (distinct < want) {
		size_t best = n;
		for (size_t s = 0; s < n; s++)
			if (count[s] == 0 && p[s] > 0 && (best == n || p[s] > p[best]))
				best = s;
		count[best] = 1;
		distinct++;
		draws++;
	}
	for (size_t s = 0; s < n; s++)
		if (count[s]) {
			index[*got] = (uint32_t)s;
			weight[(*got)++] = (double)count[s] / ((double)draws * p[s] / sum);
		}
	mm_free(count);
	mm_free(cum);
	return 0;
}

double mm_dist_weighted(
	const float *x, const float *y, const uint32_t *index, const double *weight, size_t n, double clip)
{
	double sw = 0, s1 = 0, s2 = 0, first = 0;
	for (size_t a = 0; a < n; a++) {
		double d = fmax((double)x[index[a]], clip) - fmax((double)y[index[a]], clip);
		first = a == 0 ? d : first; /* shift: a constant offset costs no digits */
		d -= first;
		sw += weight[a];
		s1 += weight[a] * d;
		s2 += weight[a] * d * d;
	}
	return sw > 0 ? fmax(s2 / sw - s1 / sw * (s1 / sw), 0) : 0;
}

int mm_select_error(const struct mm_mat *m, double clip, const uint32_t *index, const double *weight, size_t n,
	size_t max_pairs, double *out, struct mm_err *err)
{
	*out = 0;
	if (mm_mat_check(m, err))
		return -1;
	size_t pairs = m->k * (m->k - 1) / 2, stride = max_pairs && pairs > max_pairs ? pairs / max_pairs + 1 : 1,
	       at = 0, used = 0;
	double sum = 0;
	for (size_t i = 1; i < m->k; i++)
		for (size_t j = 0; j < i; j++, at++) {
			if (at % stride)
				continue;
			double full = mm_dist_pair(m->row[i], m->row[j], m->n, clip);
			if (!(full > 0)) /* copies: nothing to be wrong about */
				continue;
			double part = mm_dist_weighted(m->row[i], m->row[j], index, weight, n, clip);
			sum += (part - full) * (part - full) / (full * full);
			used++;
		}
	*out = used ? sqrt(sum / (double)used) : 0;
	return 0;
}
