/* lapack.c: decompositions and plain products; packed GEMM lives in blas.c.
 *
 * The same bits whatever the number of threads: OpenBLAS chooses its blocking by the number of its threads, so it is
 * held to one, once, and a large product is cut here into tiles of a fixed size, which OpenMP hands out. A tile is
 * computed by one thread with the whole inner dimension, therefore who computes it does not show in the result.
 * Decompositions run on one thread. (Debian's OpenBLAS with pthreads allows concurrent calls from several threads; with
 * one thread each they do not wait for each other.)
 *
 * Any thread may call these functions; mm_threads_set is for the start of a program or a worker. */
#include "tensor/dgemm.h"

#include <cblas.h>
#include <lapacke.h>
#include <limits.h>
#include <omp.h>
#include <pthread.h>

/* A tile's share of packing its operands is about (1/TILE_M + 1/TILE_N) of the work: small from 256 on, while a Gram
 * matrix of 1,000 rows still gives enough tiles for many cores. */
#define TILE_M 256
#define TILE_N 256
/* Below this many multiplications the fork costs more than it brings. */
#define PAR_MIN ((size_t)1 << 21)

static pthread_once_t blas_once = PTHREAD_ONCE_INIT;

static void blas_init(void)
{
	openblas_set_num_threads(1);
}

static int n_thread; /* 0: what OpenMP thinks right */

void mm_threads_set(unsigned n)
{
	pthread_once(&blas_once, blas_init);
	n_thread = n > INT_MAX ? INT_MAX : (int)n;
	omp_set_num_threads(n_thread > 0 ? n_thread : omp_get_num_procs());
}

unsigned mm_threads(void)
{
	return (unsigned)(n_thread > 0 ? n_thread : omp_get_max_threads());
}

struct tiles {
	size_t m, n, n_row, n_col; /* whole matrix; tiles in each direction */
	size_t mt, nt;		   /* a tile's size */
};

static struct tiles tiles_of(size_t m, size_t n)
{
	struct tiles t = { .m = m, .n = n, .mt = TILE_M, .nt = TILE_N };
	t.n_row = (m + t.mt - 1) / t.mt;
	t.n_col = (n + t.nt - 1) / t.nt;
	return t;
}

static bool is_large(size_t m, size_t n, size_t k)
{
	return (double)m * (double)n * (double)k >= (double)PAR_MIN && (m > TILE_M || n > TILE_N);
}

void mm_sgemm(bool ta, bool tb, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b,
	size_t ldb, float beta, float *c, size_t ldc)
{
	pthread_once(&blas_once, blas_init);
	if (m == 0 || n == 0)
		return;
	struct tiles t = tiles_of(m, n);
	size_t n_tile = t.n_row * t.n_col;
#pragma omp parallel for schedule(dynamic, 1) if (is_large(m, n, k)) num_threads((int)mm_threads())
	for (size_t i = 0; i < n_tile; i++) {
		size_t r = i / t.n_col * t.mt, s = i % t.n_col * t.nt;
		cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
			(int)MM_MIN(t.mt, m - r), (int)MM_MIN(t.nt, n - s), (int)k, alpha, a + (ta ? r : r * lda),
			(int)lda, b + (tb ? s * ldb : s), (int)ldb, beta, c + r * ldc + s, (int)ldc);
	}
}

void mm_dgemm(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
	const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
	pthread_once(&blas_once, blas_init);
	if (m == 0 || n == 0)
		return;
	if (mm_dgemm_own(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc))
		return;
	struct tiles t = tiles_of(m, n);
	size_t n_tile = t.n_row * t.n_col;
#pragma omp parallel for schedule(dynamic, 1) if (is_large(m, n, k)) num_threads((int)mm_threads())
	for (size_t i = 0; i < n_tile; i++) {
		size_t r = i / t.n_col * t.mt, s = i % t.n_col * t.nt;
		cblas_dgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
			(int)MM_MIN(t.mt, m - r), (int)MM_MIN(t.nt, n - s), (int)k, alpha, a + (ta ? r : r * lda),
			(int)lda, b + (tb ? s * ldb : s), (int)ldb, beta, c + r * ldc + s, (int)ldc);
	}
}

/* LAPACK's sizes are int; n * n must fit a size_t of ours and their workspace an int of theirs. */
static int size_check(size_t n, const char *what, struct mm_err *err)
{
	if (n > INT_MAX / 8)
		return mm_fail(err, MM_EINVAL, "%s: dimension %zu is too large", what, n);
	return 0;
}

static int info_check(lapack_int info, const char *what, struct mm_err *err)
{
	if (info == 0)
		return 0;
	if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
		return mm_fail(err, MM_ENOMEM, "%s: no memory for its workspace", what);
	if (info < 0) /* LAPACKE looks for NaN in its input and counts the argument */
		return mm_fail(err, MM_ENONFINITE, "%s: argument %d is not finite or not valid", what, -(int)info);
	return mm_fail(err, MM_EINTERNAL, "%s: no convergence (info %d)", what, (int)info);
}

int mm_dsyevd(size_t n, double *a, double *w, struct mm_err *err)
{
	pthread_once(&blas_once, blas_init);
	if (n == 0)
		return 0;
	if (size_check(n, "dsyevd", err))
		return -1;
	/* A symmetric matrix is its own transpose, so column-major costs no copy, and its column i is our row i. */
	return info_check(LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', (int)n, a, (int)n, w), "dsyevd", err);
}

int mm_dposv(size_t n, size_t k, double *a, double *b, struct mm_err *err)
{
	pthread_once(&blas_once, blas_init);
	if (n == 0 || k == 0)
		return 0;
	if (size_check(n, "dposv", err) || size_check(k, "dposv", err))
		return -1;
	lapack_int info = LAPACKE_dposv(LAPACK_ROW_MAJOR, 'U', (int)n, (int)k, a, (int)n, b, (int)k);
	if (info > 0)
		return mm_fail(err, MM_EINVAL, "dposv: the matrix is not positive definite (row %d)", (int)info);
	return info_check(info, "dposv", err);
}

int mm_dgesdd(size_t m, size_t n, double *a, double *s, double *u, double *vt, struct mm_err *err)
{
	pthread_once(&blas_once, blas_init);
	if (m == 0 || n == 0)
		return 0;
	if (size_check(m, "dgesdd", err) || size_check(n, "dgesdd", err))
		return -1;
	size_t p = MM_MIN(m, n);
	return info_check(LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', (int)m, (int)n, a, (int)n, s, u, (int)p, vt, (int)n),
		"dgesdd", err);
}
