/* lin_priv.h - what blas_lin.c (choice, OpenBLAS) and blas_onednn.c share. */
#ifndef MM_LIN_PRIV_H
#define MM_LIN_PRIV_H

#include "tensor/tensor.h"

struct mm_lin {
	size_t n_out, n_in, n_byte;
	enum mm_dtype compute;
	float *w;     /* [n_out, n_in]: OpenBLAS; NULL with oneDNN */
	float *bias;  /* [n_out] or NULL */
	void *prim;   /* oneDNN's primitive; NULL: OpenBLAS */
	void *pd;     /* and its description */
	void *packed; /* weights in the kernel's own layout */
	size_t n_scratch;
};

/* The calling thread's object of the kernel: made when first asked for, dropped when the thread ends. NULL: could not
 * be made. One kind a process. */
void *mm_lin_own(void *(*make)(void), void (*drop)(void *own));
void *mm_lin_scratch(size_t n); /* of the calling thread, at least n bytes, page-aligned; NULL: no memory */

/* false: oneDNN has nothing good for this (err untouched), or a failure. src: MM_F32 or MM_BF16. */
bool mm_onednn_make(struct mm_lin *lin, enum mm_dtype src, const void *w, struct mm_err *err) MM_MUST_CHECK;
void mm_onednn_drop(struct mm_lin *lin);
bool mm_onednn_run(const struct mm_lin *lin, const float *x, float *y) MM_MUST_CHECK;
const char *mm_onednn_name(const struct mm_lin *lin);

#endif
