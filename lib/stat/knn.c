/* knn.c: the nearest rows, from distances that are there already. Ties go to the smaller index, so that an answer does
 * not depend on the order of the search. */
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

/* true when (da, ia) is nearer than (db, ib) */
static inline bool nearer(double da, size_t ia, double db, size_t ib)
{
	return da < db || (da == db && ia < ib);
}

/* `out` is a max-heap of the nearest so far: out[0] is the farthest of them. */
static void sift_down(struct mm_near *h, size_t n, size_t at)
{
	for (;;) {
		size_t far = at;
		for (size_t c = 2 * at + 1; c <= 2 * at + 2 && c < n; c++)
			if (nearer(h[far].d, h[far].i, h[c].d, h[c].i))
				far = c;
		if (far == at)
			return;
		struct mm_near tmp = h[at];
		h[at] = h[far];
		h[far] = tmp;
		at = far;
	}
}

static void heap_sort(struct mm_near *h, size_t n)
{
	while (n > 1) {
		struct mm_near tmp = h[0];
		h[0] = h[--n];
		h[n] = tmp;
		sift_down(h, n, 0);
	}
}

static size_t heap_offer(struct mm_near *h, size_t n, size_t want, size_t i, float d)
{
	if (n < want) {
		h[n++] = (struct mm_near){ (uint32_t)i, d };
		if (n == want)
			for (size_t at = n / 2; at-- > 0;)
				sift_down(h, n, at);
	} else if (nearer(d, i, h[0].d, h[0].i)) {
		h[0] = (struct mm_near){ (uint32_t)i, d };
		sift_down(h, n, 0);
	}
	return n;
}

static size_t heap_end(struct mm_near *h, size_t n, size_t want)
{
	if (n < want) /* never filled: not a heap yet */
		for (size_t at = n / 2; at-- > 0;)
			sift_down(h, n, at);
	heap_sort(h, n);
	return n;
}

size_t mm_knn_row(const double *d, size_t k, size_t skip, size_t want, struct mm_near *out)
{
	size_t n = 0;
	if (want == 0)
		return 0;
	for (size_t i = 0; i < k; i++)
		if (i != skip)
			n = heap_offer(out, n, want, i, (float)d[i]);
	return heap_end(out, n, want);
}

int mm_knn_all(const struct mm_tri *t, size_t want, struct mm_near *out, struct mm_err *err)
{
	if (want == 0 || want >= t->k)
		return mm_fail(err, MM_EINVAL, "%zu neighbours asked of %zu models", want, t->k);
#pragma omp parallel for schedule(dynamic, 16) if (t->k >= 256) num_threads((int)mm_threads())
	for (size_t i = 0; i < t->k; i++) {
		struct mm_near *h = out + i * want;
		size_t n = 0;
		for (size_t j = 0; j < i; j++)
			n = heap_offer(h, n, want, j, t->row[i][j]);
		for (size_t j = i + 1; j < t->k; j++)
			n = heap_offer(h, n, want, j, t->row[j][i]);
		heap_end(h, n, want);
	}
	return 0;
}
