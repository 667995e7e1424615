/* corr.c: correlation of two columns, and Student's t for intervals. */
#include "stat/stat_priv.h"

#include <math.h>

double mm_pearson(const double *x, const double *y, size_t n)
{
	double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
	for (size_t i = 0; i < n; i++) {
		mx += x[i] / (double)n;
		my += y[i] / (double)n;
	}
	for (size_t i = 0; i < n; i++) {
		xx += (x[i] - mx) * (x[i] - mx);
		yy += (y[i] - my) * (y[i] - my);
		xy += (x[i] - mx) * (y[i] - my);
	}
	/* what is left of a constant column after rounding is no variation */
	if (!(xx > 1e-24 * (double)n * mx * mx) || !(yy > 1e-24 * (double)n * my * my))
		return 0;
	return fmax(-1, fmin(1, xy / sqrt(xx * yy)));
}

struct ranked {
	double v;
	size_t i;
};

static int cmp_ranked(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	return (x->v > y->v) - (x->v < y->v);
}

static void ranks(const double *v, size_t n, struct ranked *s, double *out)
{
	for (size_t i = 0; i < n; i++)
		s[i] = (struct ranked){ v[i], i };
	qsort(s, n, sizeof(*s), cmp_ranked);
	for (size_t i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n && s[j].v == s[i].v; j++)
			;
		for (size_t a = i; a < j; a++)
			out[s[a].i] = 0.5 * (double)(i + j - 1);
	}
}

int mm_spearman(const double *x, const double *y, size_t n, double *out, struct mm_err *err)
{
	*out = 0;
	struct ranked *s = mm_calloc(n, sizeof(*s), err);
	double *r = s ? mm_calloc(2 * n, sizeof(*r), err) : NULL;
	if (r) {
		ranks(x, n, s, r);
		ranks(y, n, s, r + n);
		*out = mm_pearson(r, r + n, n);
	}
	int rc = r ? 0 : -1;
	mm_free(s);
	mm_free(r);
	return rc;
}

/* ---- Student's t ---- */

/* The 97.5 % point for nu degrees of freedom, by Cornish and Fisher's expansion around the normal one: within 0.3 %
 * from 2.5 on, exact at 1 and 2, which stand for what is near them. */
double mm_t975(double nu)
{
	double z = 1.959963984540054, z2 = z * z, g1, g2, g3, g4;
	if (!(nu > 1.5))
		return 12.706204736174698;
	if (nu < 2.5)
		return 4.302652729749464;
	g1 = z * (z2 + 1) / 4;
	g2 = z * ((5 * z2 + 16) * z2 + 3) / 96;
	g3 = z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384;
	g4 = z * ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) / 92160;
	return z + (g1 + (g2 + (g3 + g4 / nu) / nu) / nu) / nu;
}
