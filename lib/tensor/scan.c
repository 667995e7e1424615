/* scan.c: causal depthwise convolution and the recurrences that have no matrix product in them: Mamba's selective scan,
 * RWKV-4's weighted key-values, plain linear recurrences.
 *
 * All of them run token by token and are vectors over channels: the inner loops go over up to MM_SCAN_BLOCK
 * neighbouring channels, which fill whole registers, and the exponentials of one token are taken by one call of
 * mm_exp_row (that is where a naive loop spends its time). Multiplications and additions of one channel come in the
 * same order whatever its place in the block and whatever the instruction set (scan_kernels.inc is compiled once for
 * each, as ops.c does).
 *
 * Any thread may call. */
#include "tensor/tensor.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

typedef float v16 __attribute__((vector_size(64)));

/* Vectors never cross a call (everything is inlined), so the ABI of passing them does not matter. */
#pragma GCC diagnostic ignored "-Wpsabi"

struct kernels {
	void (*product)(size_t m, size_t n, size_t k, const float *a, size_t a_row, size_t a_col, const float *b,
		size_t ld_b, float keep, float *c, size_t ld_c);
	void (*softplus)(float *x, const float *e, size_t n);
	void (*conv)(const float *x, size_t ld_x, const float *w, size_t ld_w, size_t n_tap, const float *b, float *y,
		size_t ld_y, size_t n, size_t n_ch);
	void (*selective)(const struct mm_selective *s, float *scratch);
	void (*wkv)(const float *k, const float *v, size_t ld, const float *decay, const float *first, float *y,
		size_t ld_y, size_t n, size_t n_ch);
	void (*linear)(
		const float *a, size_t ld_a, const float *x, size_t ld_x, float *y, size_t ld_y, size_t n, size_t n_ch);
};

#define KERNEL(name) name##_portable
#define TARGET
#define WIDE 1
#include "tensor/scan_kernels.inc"

#if defined(__x86_64__)
#define KERNEL(name) name##_avx2
#define WIDE	     1
#define TARGET	     __attribute__((target("avx2")))
#include "tensor/scan_kernels.inc"

#define KERNEL(name) name##_avx512
#define WIDE	     4
#define TARGET	     __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
#include "tensor/scan_kernels.inc"
#endif

static const struct kernels *kern;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void) /* as ops.c chose */
{
	kern = &table_portable;
#if defined(__x86_64__)
	const char *isa = mm_ops_isa();
	if (!strcmp(isa, "avx512"))
		kern = &table_avx512;
	else if (!strcmp(isa, "avx2"))
		kern = &table_avx2;
#endif
}

static const struct kernels *k(void)
{
	pthread_once(&once, choose);
	return kern;
}

void mm_softplus_row(float *x, size_t n)
{
	float e[256];
	for (size_t i = 0; i < n; i += MM_COUNT(e)) {
		size_t m = MM_MIN(MM_COUNT(e), n - i);
		for (size_t j = 0; j < m; j++)
			e[j] = -fabsf(x[i + j]);
		mm_exp_row(e, m);
		k()->softplus(x + i, e, m);
	}
}

void mm_conv_causal(const float *x, size_t ld_x, const float *w, size_t ld_w, size_t n_tap, const float *b, float *y,
	size_t ld_y, size_t n, size_t n_ch)
{
	k()->conv(x, ld_x, w, ld_w, n_tap, b, y, ld_y, n, n_ch);
}

void mm_product(size_t m, size_t n, size_t p, const float *a, size_t a_row, size_t a_col, const float *b, size_t ld_b,
	float keep, float *c, size_t ld_c)
{
	k()->product(m, n, p, a, a_row, a_col, b, ld_b, keep, c, ld_c);
}

size_t mm_scan_selective_scratch(size_t n_state)
{
	return 2 * n_state * MM_SCAN_BLOCK;
}

void mm_scan_selective(const struct mm_selective *s, float *scratch)
{
	k()->selective(s, scratch);
}

void mm_scan_wkv(const float *key, const float *v, size_t ld, const float *decay, const float *first, float *y,
	size_t ld_y, size_t n, size_t n_ch)
{
	k()->wkv(key, v, ld, decay, first, y, ld_y, n, n_ch);
}

void mm_scan_linear(
	const float *a, size_t ld_a, const float *x, size_t ld_x, float *y, size_t ld_y, size_t n, size_t n_ch)
{
	k()->linear(a, ld_a, x, ld_x, y, ld_y, n, n_ch);
}
