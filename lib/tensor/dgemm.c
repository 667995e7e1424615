/* dgemm.c: matrix products in f64 on our own kernel.
 *
 * Statistics need f64 products, oneDNN has none, and OpenBLAS of a distribution falls back to a kernel of 2005 on a
 * processor that is younger than it is (a tenth of the speed). So: the usual scheme. C is cut into tiles of fixed size;
 * a tile packs its strips of A and B in chunks of KC along the inner dimension and walks them with a kernel that keeps
 * an MR x NR piece of C in registers.
 *
 *	packed A: strip of MR rows, k by k	[MC / MR][KC][MR]
 *	packed B: strip of NR columns, k by k	[NC / NR][KC][NR]
 *
 * One thread computes a tile, the chunks come in order: the same bits whatever the number of threads. Without AVX2 the
 * caller falls back to BLAS. */
#include "tensor/tensor.h"
#include "tensor/dgemm.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define KC 256
#define MR 8
#define MC 192

struct kernel {
	size_t nr, nc;
	/* acc[NR][MR] = sum over k of a[k][MR] b[k][NR] */
	void (*run)(size_t k, const double *a, const double *b, double *acc);
};

__attribute__((target("avx512f"))) static void run_512(size_t k, const double *a, const double *b, double *acc)
{
	__m512d c[24];
	for (int j = 0; j < 24; j++)
		c[j] = _mm512_setzero_pd();
	for (size_t s = 0; s < k; s++, a += MR, b += 24) {
		__m512d x = _mm512_load_pd(a);
#pragma GCC unroll 24
		for (int j = 0; j < 24; j++)
			c[j] = _mm512_fmadd_pd(x, _mm512_set1_pd(b[j]), c[j]);
	}
#pragma GCC unroll 24
	for (int j = 0; j < 24; j++)
		_mm512_storeu_pd(acc + j * MR, c[j]);
}

__attribute__((target("avx2,fma"))) static void run_avx2(size_t k, const double *a, const double *b, double *acc)
{
	__m256d c[12];
	for (int j = 0; j < 12; j++)
		c[j] = _mm256_setzero_pd();
	for (size_t s = 0; s < k; s++, a += MR, b += 6) {
		__m256d x = _mm256_load_pd(a), y = _mm256_load_pd(a + 4);
#pragma GCC unroll 6
		for (int j = 0; j < 6; j++) {
			__m256d v = _mm256_broadcast_sd(b + j);
			c[2 * j] = _mm256_fmadd_pd(x, v, c[2 * j]);
			c[2 * j + 1] = _mm256_fmadd_pd(y, v, c[2 * j + 1]);
		}
	}
#pragma GCC unroll 6
	for (int j = 0; j < 6; j++) {
		_mm256_storeu_pd(acc + j * MR, c[2 * j]);
		_mm256_storeu_pd(acc + j * MR + 4, c[2 * j + 1]);
	}
}

static const struct kernel kernel_512 = { 24, 240, run_512 }, kernel_avx2 = { 6, 192, run_avx2 };

static const struct kernel *kernel_of(void)
{
	const char *isa = mm_ops_isa();
	return strcmp(isa, "avx512") == 0 ? &kernel_512 : strcmp(isa, "avx2") == 0 ? &kernel_avx2 : NULL;
}

/* rows x k entries of op(X) from (r, s) into strips of `w` rows, the last one filled up with 0. `trans`: X is stored
 * [k, rows]. */
static void pack(
	double *to, size_t w, const double *x, size_t ld, bool trans, size_t r, size_t rows, size_t s, size_t k)
{
	for (size_t i = 0; i < rows; i += w, to += w * k) {
		size_t n = rows - i < w ? rows - i : w;
		if (n < w)
			memset(to, 0, w * k * sizeof(double));
		if (trans) {
			for (size_t j = 0; j < k; j++)
				memcpy(to + j * w, x + (s + j) * ld + r + i, n * sizeof(double));
			continue;
		}
		for (size_t j0 = 0; j0 < k; j0 += 16) /* short pieces: what is written stays in the first cache */
			for (size_t a = 0; a < n; a++) {
				const double *from = x + (r + i + a) * ld + s;
				for (size_t j = j0; j < k && j < j0 + 16; j++)
					to[j * w + a] = from[j];
			}
	}
}

struct job {
	const struct kernel *ker;
	bool ta, tb;
	size_t m, n, k;
	double alpha, beta;
	const double *a, *b;
	size_t lda, ldb, ldc;
	double *c;
};

static void scale(const struct job *g, size_t r, size_t rows, size_t s, size_t cols)
{
	for (size_t i = r; i < r + rows; i++)
		for (size_t j = s; j < s + cols; j++)
			g->c[i * g->ldc + j] = g->beta == 0 ? 0 : g->beta * g->c[i * g->ldc + j];
}

static void tile(const struct job *g, size_t r, size_t s, double *pa, double *pb)
{
	size_t rows = MM_MIN((size_t)MC, g->m - r), cols = MM_MIN(g->ker->nc, g->n - s), nr = g->ker->nr;
	_Alignas(64) double acc[24 * MR];
	if (g->beta != 1)
		scale(g, r, rows, s, cols);
	for (size_t at = 0; at < g->k; at += KC) {
		size_t len = MM_MIN((size_t)KC, g->k - at);
		pack(pa, MR, g->a, g->lda, g->ta, r, rows, at, len);
		pack(pb, nr, g->b, g->ldb, !g->tb, s, cols, at, len);
		for (size_t j = 0; j < cols; j += nr)
			for (size_t i = 0; i < rows; i += MR) {
				g->ker->run(len, pa + i * len, pb + j * len, acc);
				size_t ni = MM_MIN((size_t)MR, rows - i), nj = MM_MIN(nr, cols - j);
				for (size_t x = 0; x < ni; x++) {
					double *c = g->c + (r + i + x) * g->ldc + s + j;
					for (size_t y = 0; y < nj; y++)
						c[y] += g->alpha * acc[y * MR + x];
				}
			}
	}
}

bool mm_dgemm_own(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
	const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
	struct job g = { kernel_of(), ta, tb, m, n, k, alpha, beta, a, b, lda, ldb, ldc, c };
	if (!g.ker)
		return false;
	size_t n_col = (n + g.ker->nc - 1) / g.ker->nc, n_tile = (m + MC - 1) / MC * n_col;
	bool par = n_tile > 1 && (double)m * (double)n * (double)k >= (double)(1 << 21), short_of_memory = false;
#pragma omp parallel num_threads((int)mm_threads()) if (par)
	{
		struct mm_err err;
		size_t chunk = MM_MIN(k, (size_t)KC);
		/* strips are filled up to whole ones */
		size_t mp = (MM_MIN(m, (size_t)MC) + MR - 1) / MR * MR,
		       np = (MM_MIN(n, g.ker->nc) + g.ker->nr - 1) / g.ker->nr * g.ker->nr;
		double *buf = mm_calloc((mp + np) * chunk + 16, sizeof(double), &err);
		if (!buf) {
#pragma omp atomic write
			short_of_memory = true;
		}
		/* whole strips of 64 bytes: MR doubles, so that A's loads are aligned when the block is */
		double *pa = buf ? (double *)(((uintptr_t)buf + 63) & ~(uintptr_t)63) : NULL,
		       *pb = pa ? pa + mp * chunk : NULL;
#pragma omp barrier
#pragma omp for schedule(dynamic, 1)
		for (size_t t = 0; t < n_tile; t++)
			if (!short_of_memory)
				tile(&g, t / n_col * MC, t % n_col * g.ker->nc, pa, pb);
		mm_free(buf);
	}
	return !short_of_memory;
}

#else
bool mm_dgemm_own(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
	const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
	(void)ta, (void)tb, (void)m, (void)n, (void)k, (void)alpha, (void)a, (void)lda, (void)b, (void)ldb, (void)beta,
		(void)c, (void)ldc;
	return false;
}
#endif
