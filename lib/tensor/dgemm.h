/* dgemm.h - f64 products on our own kernel; private to lib/tensor. */
#ifndef MM_TENSOR_DGEMM_H
#define MM_TENSOR_DGEMM_H

#include "tensor/tensor.h"

/* As mm_dgemm. false: not done (no kernel for this processor, or no memory): C is as it was. */
bool mm_dgemm_own(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
	const double *b, size_t ldb, double beta, double *c, size_t ldc);

#endif
