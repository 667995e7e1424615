/* stat_eig.h - the Gram matrix of a triangle of squared distances and its leading eigenpairs. Private to lib/stat. */
#ifndef MM_STAT_EIG_H
#define MM_STAT_EIG_H

#include "stat/stat_priv.h"

struct mm_gram {
	const struct mm_tri *t;
	size_t k;
	double *mean;		    /* [k] row means of D */
	double grand;		    /* their mean */
	double trace;		    /* of B: the sum of all eigenvalues */
	double *b;		    /* [k, k], or NULL: too large to be written down */
	const _Atomic bool *cancel; /* looked at between rounds; NULL: never */
};
int mm_gram_init(struct mm_gram *g, const struct mm_tri *t, struct mm_err *err) MM_MUST_CHECK;
void mm_gram_fini(struct mm_gram *g);
/* u[want, k] eigenvectors as rows, w[want] descending; the first `exact` to rounding, the others to a few digits when k
 * is large. May destroy g's matrix. */
int mm_gram_leading(
	struct mm_gram *g, size_t want, size_t exact, double *u, double *w, struct mm_err *err) MM_MUST_CHECK;

#endif
