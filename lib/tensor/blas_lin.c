/* blas_lin.c: y = x W^T + bias on tiles of MM_TILE rows; oneDNN or OpenBLAS.
 *
 * Which one: oneDNN where the build has it (packed weights from AVX-512 on, its own code generator below), unless it
 * has nothing but reference loops for this machine; then, and in builds without it, OpenBLAS. MM_GEMM=openblas decides
 * by hand (tests, measurements). bf16 exists in oneDNN only.
 *
 * What a thread keeps from call to call (scratch, the kernel's own object) ends with the thread: OpenMP ends threads of
 * its pool whenever a smaller team is asked for. */
#include "tensor/lin_priv.h"

#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct local {
	void *p;
	size_t cap;
	void *own;
	void (*drop)(void *own);
};
static _Thread_local struct local local;
static pthread_key_t local_key;
static bool have_key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void local_end(void *arg)
{
	struct local *l = arg;
	if (l->own)
		l->drop(l->own);
	free(l->p);
	memset(l, 0, sizeof(*l));
}

static void key_make(void)
{
	have_key = pthread_key_create(&local_key, local_end) == 0;
}

static struct local *mine(void)
{
	pthread_once(&key_once, key_make);
	if (have_key)
		(void)pthread_setspecific(local_key, &local);
	return &local;
}

void *mm_lin_scratch(size_t n)
{
	if (n > local.cap) {
		struct local *l = mine();
		size_t cap = (n + 65535) / 65536 * 65536;
		free(l->p);
		l->p = aligned_alloc(4096, cap);
		l->cap = l->p ? cap : 0;
	}
	return local.p;
}

void *mm_lin_own(void *(*make)(void), void (*drop)(void *own))
{
	if (!local.own) {
		struct local *l = mine();
		l->own = make();
		l->drop = drop;
	}
	return local.own;
}

/* ---- both ---- */

/* The product is made as W x^T, with 8 rows of zeros in front of the tile and behind it, and turned round afterwards:
 * OpenBLAS's kernels for Haswell and Zen sum differently for the first and the last 8 places along the vector dimension
 * (and for rows 0-5 and 6-11 of every twelve along the other one); what lies between is treated alike. */
#define EDGE ((size_t)8)
#define WIDE (MM_TILE + 2 * EDGE)

static bool openblas_run(const struct mm_lin *lin, const float *x, float *y)
{
	size_t n_in = lin->n_in, n_out = lin->n_out;
	float *t = mm_lin_scratch((n_out + n_in) * WIDE * sizeof(float));
	if (!t)
		return false;
	float *wide = t + n_out * WIDE;
	memset(wide, 0, EDGE * n_in * sizeof(float));
	memcpy(wide + EDGE * n_in, x, MM_TILE * n_in * sizeof(float));
	memset(wide + (EDGE + MM_TILE) * n_in, 0, EDGE * n_in * sizeof(float));
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n_out, (int)WIDE, (int)n_in, 1, lin->w, (int)n_in,
		wide, (int)n_in, 0, t, (int)WIDE);
	for (size_t r0 = 0; r0 < MM_TILE; r0 += 16)
		for (size_t o = 0; o < n_out; o++) {
			float b = lin->bias ? lin->bias[o] : 0;
			for (size_t r = r0; r < r0 + 16; r++)
				y[r * n_out + o] = t[o * WIDE + EDGE + r] + b;
		}
	return true;
}

void mm_lin_tile(const struct mm_lin *lin, const float *x, float *y)
{
#if MM_DNNL
	bool ok = lin->prim ? mm_onednn_run(lin, x, y) : openblas_run(lin, x, y);
#else
	bool ok = openblas_run(lin, x, y);
#endif
	for (size_t i = 0; !ok && i < MM_TILE * lin->n_out; i++)
		y[i] = NAN;
}

void mm_lin_rows(const struct mm_lin *lin, size_t n_row, const float *x, float *y)
{
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)mm_threads())
	for (size_t r = 0; r < n_row; r += MM_TILE)
		mm_lin_tile(lin, x + r * lin->n_in, y + r * lin->n_out);
}

struct mm_lin *mm_lin_new(
	size_t n_out, size_t n_in, const float *w, const float *bias, enum mm_dtype compute, struct mm_err *err)
{
	return mm_lin_new_of(n_out, n_in, MM_F32, w, bias, compute, err);
}

struct mm_lin *mm_lin_new_of(size_t n_out, size_t n_in, enum mm_dtype src, const void *w, const float *bias,
	enum mm_dtype compute, struct mm_err *err)
{
	size_t n;
	if (n_out == 0 || n_in == 0 || n_out > INT32_MAX / 2 || n_in > INT32_MAX / 2 || !mm_mul(n_out, n_in, &n)) {
		mm_fail(err, MM_EINVAL, "a matrix of %zu x %zu", n_out, n_in);
		return NULL;
	}
	openblas_set_num_threads(1);
	struct mm_lin *lin = mm_calloc(1, sizeof(*lin), err);
	if (!lin)
		return NULL;
	lin->n_out = n_out;
	lin->n_in = n_in;
	lin->compute = compute;
	if (bias) {
		lin->bias = mm_calloc(MM_MAX(n_out, 1024), sizeof(float), err);
		if (!lin->bias)
			goto fail;
		memcpy(lin->bias, bias, n_out * sizeof(float));
		lin->n_byte += n_out * sizeof(float);
	}
#if MM_DNNL
	struct mm_err why = { .code = MM_OK };
	if (mm_onednn_make(lin, src, w, &why))
		return lin;
	if (why.code != MM_OK) {
		*err = why;
		goto fail;
	}
	mm_onednn_drop(lin);
#endif
	if (compute != MM_F32) {
		mm_fail(err, MM_EUNSUPPORTED, "no %s matrix product on this machine", mm_dtypes[compute].name);
		goto fail;
	}
	lin->w = mm_big_alloc(n * sizeof(float), err);
	if (!lin->w)
		goto fail;
	mm_dequant(src, w, lin->w, n);
	lin->n_byte += n * sizeof(float);
	return lin;
fail:
	mm_lin_free(lin);
	return NULL;
}

void mm_lin_free(struct mm_lin *lin)
{
	if (!lin)
		return;
#if MM_DNNL
	mm_onednn_drop(lin);
#endif
	mm_big_free(lin->w);
	mm_free(lin->bias);
	mm_free(lin);
}

size_t mm_lin_out(const struct mm_lin *lin)
{
	return lin->n_out;
}

size_t mm_lin_in(const struct mm_lin *lin)
{
	return lin->n_in;
}

size_t mm_lin_bytes(const struct mm_lin *lin)
{
	return lin->n_byte;
}

bool mm_lin_can(enum mm_dtype compute)
{
	if (compute == MM_F32)
		return true;
#if MM_DNNL && defined(__x86_64__)
	const char *bound = getenv("ONEDNN_MAX_CPU_ISA");
	if (bound && strncasecmp(bound, "avx512_core_bf16", 16) && strncasecmp(bound, "avx512_core_amx", 15) &&
		strncasecmp(bound, "avx512_core_fp16", 16) && strcasecmp(bound, "all") && strcasecmp(bound, "default"))
		return false;
	__builtin_cpu_init();
	return compute == MM_BF16 && __builtin_cpu_supports("avx512bf16");
#else
	return false;
#endif
}

const char *mm_lin_kernel(enum mm_dtype compute)
{
	static char name[2][80];
	char *out = name[compute == MM_BF16];
	struct mm_err err;
	float *w = mm_calloc(64 * 64, sizeof(float), &err);
	struct mm_lin *lin = w ? mm_lin_new(64, 64, w, NULL, compute, &err) : NULL;
	snprintf(out, sizeof(name[0]), "openblas %s", openblas_get_corename());
#if MM_DNNL
	if (lin && lin->prim)
		snprintf(out, sizeof(name[0]), "onednn %s", mm_onednn_name(lin));
#endif
	mm_lin_free(lin);
	mm_free(w);
	return out;
}
