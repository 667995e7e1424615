/* lin_rate.c - how fast this machine multiplies just now: what a job's speed is compared with. */
#include "tensor/tensor.h"

#define SIZE  1024
#define LEAST 0.06 /* seconds */

double mm_lin_rate(enum mm_dtype compute)
{
	struct mm_err err;
	size_t rows = MM_TILE * MM_MAX(2 * (size_t)mm_threads(), (size_t)4);
	float *w = mm_calloc((size_t)SIZE * SIZE, sizeof(float), &err);
	float *x = w ? mm_calloc(2 * rows * SIZE, sizeof(float), &err) : NULL;
	struct mm_lin *lin = x ? mm_lin_new(SIZE, SIZE, w, NULL, compute, &err) : NULL;
	double flops = 0, start, t = 0;
	if (lin) {
		mm_lin_rows(lin, rows, x, x + rows * SIZE); /* the first one makes scratch */
		start = mm_monotonic();
		while (t < LEAST) {
			mm_lin_rows(lin, rows, x, x + rows * SIZE);
			flops += 2.0 * (double)rows * SIZE * SIZE;
			t = mm_monotonic() - start;
		}
	}
	mm_lin_free(lin);
	mm_free(x);
	mm_free(w);
	return t > 0 ? flops / t / 1e9 : 0;
}
