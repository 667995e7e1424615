/* tensor.h - element types, matrix products, and the operations that forward passes and statistics are made of.
 * Plain loops over float *, explicit sizes, row-major. cblas.h, lapacke.h and dnnl.h are included by blas*.c only. */
#ifndef MM_TENSOR_H
#define MM_TENSOR_H

#include "base/base.h"

/* ---- dtype.c: element and block types ---- */

enum mm_dtype {
	MM_F32,
	MM_F16,
	MM_BF16,
	MM_F64,
	MM_F8_E4M3,
	MM_F8_E5M2,
	MM_I8,
	MM_U8,
	MM_I16,
	MM_U16,
	MM_I32,
	MM_U32,
	MM_I64,
	MM_U64,
	MM_BOOL,
	MM_Q4_0,
	MM_Q4_1,
	MM_Q5_0,
	MM_Q5_1,
	MM_Q8_0,
	MM_Q2_K,
	MM_Q3_K,
	MM_Q4_K,
	MM_Q5_K,
	MM_Q6_K,
	MM_Q8_K,
	MM_IQ4_NL,
	MM_IQ4_XS,
	MM_MXFP4,
	MM_DTYPE_COUNT
};
struct mm_dtype_info {
	const char *name;	 /* ours: "bf16", "q4_k" */
	const char *safetensors; /* "BF16" or NULL */
	int ggml;		 /* ggml type number or -1 */
	unsigned block;		 /* elements a block; 1 for plain types */
	unsigned bytes;		 /* bytes a block */
	bool is_float;		 /* can be widened to f32 */
};
extern const struct mm_dtype_info mm_dtypes[MM_DTYPE_COUNT];
/* Widens n elements (a multiple of the block) to float; src may be unaligned. */
void mm_dequant(enum mm_dtype t, const void *src, float *dst, size_t n);
bool mm_f32_finite(const float *x, size_t n);
bool mm_bf16_finite(const uint16_t *x, size_t n);
float mm_f16_to_f32(uint16_t h);
float mm_bf16_to_f32(uint16_t h);
uint16_t mm_f32_to_f16(float f);  /* round to nearest even; too large: infinity */
uint16_t mm_f32_to_bf16(float f); /* round to nearest even; NaN stays NaN */

/* ---- blas.c: the only caller of BLAS, LAPACK and oneDNN ---- */

/* C[m,n] = alpha * op(A) op(B) + beta * C, row-major, leading dimensions in elements. */
void mm_sgemm(bool ta, bool tb, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b,
	size_t ldb, float beta, float *c, size_t ldc);
void mm_dgemm(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
	const double *b, size_t ldb, double beta, double *c, size_t ldc);
/* Symmetric eigenproblem: a[n,n] (destroyed; row i of a becomes the eigenvector of w[i]); w ascending. */
int mm_dsyevd(size_t n, double *a, double *w, struct mm_err *err) MM_MUST_CHECK;
/* Solves a x = b for symmetric positive definite a[n,n] and b[n,k] in place. */
int mm_dposv(size_t n, size_t k, double *a, double *b, struct mm_err *err) MM_MUST_CHECK;
/* Thin SVD a[m,n] = u diag(s) vt: u[m,p], s[p], vt[p,n], p = min(m,n); a destroyed. */
int mm_dgesdd(size_t m, size_t n, double *a, double *s, double *u, double *vt, struct mm_err *err) MM_MUST_CHECK;
void mm_threads_set(unsigned n); /* for BLAS, oneDNN and our own loops; 0: all cores */
unsigned mm_threads(void);

/* ---- blas_lin.c: y = x W^T + bias on token tiles of fixed height ----
 *
 * Every product has exactly MM_TILE rows, runs on one thread and with the kernel chosen at creation, so the bits of a
 * row depend on nothing but that row and W. Callers spread tiles over threads. Packed weights (oneDNN) or plain ones
 * (OpenBLAS): chosen at run time by CPU and build. 192 = a multiple of the register blocks of all kernels used (6, 16,
 * 24, 48 rows). */
#define MM_TILE 192
struct mm_lin;
/* w: [n_out, n_in] row-major, copied; bias [n_out] or NULL, copied. compute: MM_F32 or MM_BF16. Not while tiles are
 * running. */
struct mm_lin *mm_lin_new(size_t n_out, size_t n_in, const float *w, const float *bias, enum mm_dtype compute,
	struct mm_err *err) MM_MUST_CHECK;
/* The same from weights of type src, MM_F32 or MM_BF16, so that 16-bit ones need no wide copy. */
struct mm_lin *mm_lin_new_of(size_t n_out, size_t n_in, enum mm_dtype src, const void *w, const float *bias,
	enum mm_dtype compute, struct mm_err *err) MM_MUST_CHECK;
void mm_lin_free(struct mm_lin *lin);
size_t mm_lin_out(const struct mm_lin *lin);
size_t mm_lin_in(const struct mm_lin *lin);
size_t mm_lin_bytes(const struct mm_lin *lin); /* memory held */
/* x: [MM_TILE, n_in], y: [MM_TILE, n_out], both dense row-major and not overlapping. Any number of threads at once. A
 * product that fails for want of memory fills y with NaN. */
void mm_lin_tile(const struct mm_lin *lin, const float *x, float *y);
/* All tiles of n_row (a multiple of MM_TILE) rows, in parallel; not inside a parallel region. */
void mm_lin_rows(const struct mm_lin *lin, size_t n_row, const float *x, float *y);
const char *mm_lin_kernel(enum mm_dtype compute); /* "onednn brgemm:avx512_core", "openblas SkylakeX" */
bool mm_lin_can(enum mm_dtype compute);		  /* BF16: only where the CPU has it in hardware */
/* Is bf16 the faster arithmetic here? Not on all that have it: some processors with AMX switched off need four cycles
 * for what they do in two with f32. Asks the CPU once, with a loop of microseconds. */
bool mm_lin_bf16_fast(void);

/* GFLOP/s of products with all threads, measured for some hundredths of a second; 0: no memory. Not inside a parallel
 * region. */
double mm_lin_rate(enum mm_dtype compute);

/* ---- big.c: buffers of matrices and activations ---- */

/* At least 64-byte aligned, NOT cleared (clearing costs as much as a good part of the work), on huge pages where the
 * system gives them. Any thread. */
void *mm_big_alloc(size_t n, struct mm_err *err) MM_MUST_CHECK;
void mm_big_free(void *p);
/* Freed buffers up to `bytes` in all are kept for the next request of about the same size; 0: none, and those kept are
 * given back. */
void mm_big_keep(size_t bytes);

/* ---- cpu.c ---- */

/* Value for OPENBLAS_CORETYPE that fits this processor ("SkylakeX", "Haswell"); NULL: leave the choice to OpenBLAS. */
const char *mm_blas_coretype(void);

/* ---- ops.c: elementwise operations, norms, softmax; rows of floats, single-threaded, same bits on every instruction
 * set ---- */

enum mm_act {
	MM_ACT_NONE,
	MM_ACT_SILU,
	MM_ACT_GELU,
	MM_ACT_GELU_TANH,
	MM_ACT_GELU_QUICK,
	MM_ACT_RELU,
	MM_ACT_RELU2,
	MM_ACT_RELU6,
	MM_ACT_SIGMOID,
	MM_ACT_TANH,
	MM_ACT_MISH,
	MM_ACT_COUNT
};
/* By the names of config files ("gelu_new", "swish"...); -1 when unknown. */
int mm_act_of(const char *name);
const char *mm_ops_isa(void); /* "avx512", "avx2" or "portable"; ONEDNN_MAX_CPU_ISA bounds it */
void mm_exp_row(float *x, size_t n);
void mm_act_row(enum mm_act act, float *x, size_t n);				       /* x = act(x) */
void mm_act_gate(enum mm_act act, const float *g, const float *u, float *z, size_t n); /* z = act(g) * u; z may be g */
void mm_rms_row(const float *x, const float *w, float eps, float *y, size_t n);	       /* w may be NULL; y may be x */
void mm_layernorm_row(const float *x, const float *w, const float *b, float eps, float *y, size_t n);
/* y += a * x */
void mm_axpy_row(float a, const float *x, float *y, size_t n);
/* s[0..n) = softmax(s * scale + bias), capped by cap * tanh(s * scale / cap) before the bias when cap > 0; bias may be
 * NULL; `sink`: an extra logit that takes part in the sum only (NULL: none). */
void mm_softmax_row(float *s, size_t n, float scale, float cap, const float *bias, const float *sink);
/* Running log-sum-exp over pieces of a row: start with max = -INFINITY, sum = 0; the result is max + log(sum). NaN
 * stays NaN. */
void mm_lse_add(const float *x, size_t n, float *max, double *sum);
/* The same with two more sums, from 0: of exp(t) t and exp(t) t^2, t = x - max. With A, B, C the three at the end,
 * log p has the mean B / A - log A and the variance C / A - (B / A)^2 under its own distribution. max and sum have the
 * bits that mm_lse_add gives. */
void mm_lse_moments(const float *x, size_t n, float *max, double *sum, double *first, double *second);
/* x = cap * tanh(x * scale / cap); cap 0: x *= scale */
void mm_softcap_row(float *x, size_t n, float scale, float cap);
void mm_bf16_row(const float *x, uint16_t *y, size_t n); /* as mm_f32_to_bf16 */
void mm_clamp_row(float *x, size_t n, float lo, float hi);
/* Rotates the first d_rot elements of a head; cs: d_rot / 2 pairs (cos, sin). half: pairs (i, i + d_rot / 2), else (2i,
 * 2i + 1). */
void mm_rope_row(float *x, const float *cs, size_t d_rot, bool half);

/* ---- attn.c: causal attention of one sequence and one head ---- */

struct mm_attn {
	size_t n;		/* tokens of the sequence */
	size_t d, d_v;		/* head size of q and k, of v */
	const float *q, *k, *v; /* row 0 of the head; row strides below */
	size_t ld_q, ld_k, ld_v;
	float *out; /* [n, d_v] with stride ld_out */
	size_t ld_out;
	float scale, cap;  /* cap 0: none */
	size_t window;	   /* 0: all; else key j is visible to query i when i - j < window */
	const float *bias; /* by key position [n], added after scale and cap; NULL: none */
	const float *sink; /* one logit or NULL */
};
size_t mm_attn_scratch(size_t n); /* floats */
void mm_attn_head(const struct mm_attn *a, float *scratch);

/* ---- scan.c, scan_ssd.c: causal convolution and recurrences ----
 *
 * Each call does one sequence from its first row (state zero) for a range of channels or heads, on one thread; callers
 * spread sequences and channels over threads. A channel's bits depend on nothing but its own inputs, so ranges may be
 * cut anywhere. */
#define MM_SCAN_BLOCK 64 /* most channels of one call of mm_scan_selective and mm_scan_wkv */
/* x = log(1 + exp(x)) */
void mm_softplus_row(float *x, size_t n);
/* Depthwise: y[t][c] = b[c] + sum_j w[j][c] x[t - n_tap + 1 + j][c]. w: [n_tap, ld_w] (files hold its transpose); b:
 * NULL for 0; y is not x. */
void mm_conv_causal(const float *x, size_t ld_x, const float *w, size_t ld_w, size_t n_tap, const float *b, float *y,
	size_t ld_y, size_t n, size_t n_ch);
struct mm_selective {		 /* s[k][c] = exp(dt a[k][c]) s[k][c] + dt B[k] x; y = sum_k C[k] s[k] + d x */
	size_t n, n_ch, n_state; /* tokens; channels, at most MM_SCAN_BLOCK; states a channel */
	const float *x, *dt;	 /* [n, n_ch], strides ld_x, ld_dt; dt after softplus */
	const float *a, *d;	 /* [n_state, n_ch] with stride ld_a, negative; [n_ch] */
	const float *b, *c;	 /* [n, n_state], strides ld_b, ld_c */
	float *y;		 /* [n, n_ch], stride ld_y; may be x */
	size_t ld_x, ld_dt, ld_a, ld_b, ld_c, ld_y;
};
size_t mm_scan_selective_scratch(size_t n_state); /* floats */
void mm_scan_selective(const struct mm_selective *s, float *scratch);
/* RWKV-4: y = (sum_{i<t} e^{(t-1-i) decay + k_i} v_i + e^{first + k_t} v_t) / (the same without v), with a running
 * maximum. decay < 0. y may be k or v; n_ch at most MM_SCAN_BLOCK. */
void mm_scan_wkv(const float *k, const float *v, size_t ld, const float *decay, const float *first, float *y,
	size_t ld_y, size_t n, size_t n_ch);
/* y[t] = a[t] y[t - 1] + x[t]; y may be x */
void mm_scan_linear(
	const float *a, size_t ld_a, const float *x, size_t ld_x, float *y, size_t ld_y, size_t n, size_t n_ch);
/* C = keep * C + A B for the small products of scans, vectors over columns; A[i][p] = a[i * a_row + p * a_col].
 * Products are summed in the order of p, so neither the sizes nor the instruction set show in the bits. keep 0: C is
 * not read. */
void mm_product(size_t m, size_t n, size_t k, const float *a, size_t a_row, size_t a_col, const float *b, size_t ld_b,
	float keep, float *c, size_t ld_c);
struct mm_ssd { /* per head: S = exp(dt a) S + dt B x^T; y = C S + d x; heads of one group share B and C */
	size_t n, n_head, d_head, n_state;
	const float *x;	    /* [n, n_head * d_head], stride ld_x */
	const float *dt;    /* [n, n_head], stride ld_dt; after softplus and limits */
	const float *b, *c; /* [n, n_state], strides ld_b, ld_c */
	const float *a, *d; /* [n_head]; a negative */
	float *y;	    /* [n, n_head * d_head], stride ld_y; not x */
	size_t ld_x, ld_dt, ld_b, ld_c, ld_y;
};
size_t mm_ssd_scratch(size_t n_head, size_t d_head, size_t n_state); /* floats */
void mm_ssd(const struct mm_ssd *s, float *scratch);

#endif
