/* tensor.h - element types, matrix products, and the operations that forward passes and statistics are made of.
 * Plain loops over float *, explicit sizes, row-major. cblas.h, lapacke.h and dnnl.h are included by blas*.c only. */
#ifndef MM_TENSOR_H
#define MM_TENSOR_H

#include "base/base.h"

/* ---- dtype.c: element and block types ---- */

enum mm_dtype {
	MM_F32, MM_F16, MM_BF16, MM_F64, MM_F8_E4M3, MM_F8_E5M2, MM_I8, MM_U8, MM_I16, MM_U16, MM_I32, MM_U32, MM_I64, MM_U64, MM_BOOL,
	MM_Q4_0, MM_Q4_1, MM_Q5_0, MM_Q5_1, MM_Q8_0, MM_Q2_K, MM_Q3_K, MM_Q4_K, MM_Q5_K, MM_Q6_K, MM_Q8_K, MM_IQ4_NL, MM_IQ4_XS,
	MM_DTYPE_COUNT
};
struct mm_dtype_info {
	const char *name;	   /* ours: "bf16", "q4_k" */
	const char *safetensors; /* "BF16" or NULL */
	int ggml;		   /* ggml type number or -1 */
	unsigned block;		   /* elements a block; 1 for plain types */
	unsigned bytes;		   /* bytes a block */
	bool is_float;		   /* can be widened to f32 */
};
extern const struct mm_dtype_info mm_dtypes[MM_DTYPE_COUNT];
/* Widens n elements (a multiple of the block) to float; src may be unaligned. */
void mm_dequant(enum mm_dtype t, const void *src, float *dst, size_t n);
float mm_f16_to_f32(uint16_t h);
float mm_bf16_to_f32(uint16_t h);
uint16_t mm_f32_to_bf16(float f); /* round to nearest even; NaN stays NaN */

/* ---- blas.c: the only caller of BLAS, LAPACK and oneDNN ---- */

/* C[m,n] = alpha * op(A) op(B) + beta * C, row-major, leading dimensions in elements. */
void mm_sgemm(bool ta, bool tb, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
	float beta, float *c, size_t ldc);
void mm_dgemm(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda, const double *b,
	size_t ldb, double beta, double *c, size_t ldc);
/* Symmetric eigenproblem: a[n,n] (destroyed; row i of a becomes the eigenvector of w[i]); w ascending. */
int mm_dsyevd(size_t n, double *a, double *w, struct mm_err *err) MM_MUST_CHECK;
/* Solves a x = b for symmetric positive definite a[n,n] and b[n,k] in place. */
int mm_dposv(size_t n, size_t k, double *a, double *b, struct mm_err *err) MM_MUST_CHECK;
/* Thin SVD a[m,n] = u diag(s) vt: u[m,p], s[p], vt[p,n], p = min(m,n); a destroyed. */
int mm_dgesdd(size_t m, size_t n, double *a, double *s, double *u, double *vt, struct mm_err *err) MM_MUST_CHECK;
void mm_threads_set(unsigned n); /* for BLAS, oneDNN and our own loops; 0: all cores */
unsigned mm_threads(void);

#endif
