/* attn.c: causal attention of one sequence and one head.
 *
 * Queries go in blocks of QB rows. A block sees the keys [lo, hi) with hi = its last query + 1 and lo = what the window
 * leaves of its first query; scores of one product q k^T [QB, hi - lo] are then normalised row by row over each row's
 * own keys, the rest set to 0, and multiplied by v. Shapes depend on the sequence's length only, so the bits do not
 * depend on what else is in the batch. One thread; the caller spreads (sequence, head) pairs. */
#include "tensor/tensor.h"

#include <string.h>

#define QB 64

size_t mm_attn_scratch(size_t n)
{
	return QB * (n + 16);
}

void mm_attn_head(const struct mm_attn *a, float *s)
{
	for (size_t r0 = 0; r0 < a->n; r0 += QB) {
		size_t r1 = MM_MIN(r0 + QB, a->n), hi = r1;
		size_t lo = a->window && r0 + 1 > a->window ? r0 + 1 - a->window : 0;
		size_t nk = hi - lo;
		mm_sgemm(false, true, r1 - r0, nk, a->d, 1, a->q + r0 * a->ld_q, a->ld_q, a->k + lo * a->ld_k, a->ld_k,
			0, s, nk);
		for (size_t r = r0; r < r1; r++) {
			float *row = s + (r - r0) * nk;
			size_t first = a->window && r + 1 > a->window ? r + 1 - a->window : 0;
			size_t b = first - lo, n = r + 1 - first;
			memset(row, 0, b * sizeof(float));
			mm_softmax_row(row + b, n, a->scale, a->cap, a->bias ? a->bias + first : NULL, a->sink);
			memset(row + b + n, 0, (nk - b - n) * sizeof(float));
		}
		mm_sgemm(false, false, r1 - r0, a->d_v, nk, 1, s, nk, a->v + lo * a->ld_v, a->ld_v, 0,
			a->out + r0 * a->ld_out, a->ld_out);
	}
}
