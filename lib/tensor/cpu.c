/* cpu.c - which of OpenBLAS's kernels fit this processor; whether its bf16 instructions are worth their while.
 *
 * OpenBLAS chooses in its constructor, by the processor's model or by OPENBLAS_CORETYPE. It falls back to its oldest
 * kernels (SSE3) for processors newer than itself, and believes a wrong variable. So every program of ours that
 * computes sets the variable to what the processor can do and executes itself once more, before anything else. */
#include "tensor/tensor.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

const char *mm_blas_coretype(void)
{
#if defined(__x86_64__)
	const char *s = getenv("ONEDNN_MAX_CPU_ISA"); /* one switch bounds all kernels */
	bool wide = !s || !*s || !strncasecmp(s, "avx512", 6) || !strcasecmp(s, "all") || !strcasecmp(s, "default");
	__builtin_cpu_init();
	if (wide && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
		__builtin_cpu_supports("avx512cd"))
		return "SkylakeX";
	if ((wide || !strncasecmp(s, "avx2", 4)) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return "Haswell";
#endif
	return NULL;
}

/* ---- bf16 ---- */

#if defined(__x86_64__)
#define STEPS 500
#define TRIES 40 /* the fastest counts: no other load on the machine makes a loop faster */

/* Twelve sums, so that the latency of one does not show; the empty statements keep the compiler from joining them. */
#define TWELVE(S) S(0) S(1) S(2) S(3) S(4) S(5) S(6) S(7) S(8) S(9) S(10) S(11)

__attribute__((target("avx512f"))) static double time_f32(void)
{
	__m512 a[12], x = _mm512_set1_ps(1e-9f);
	for (int i = 0; i < 12; i++)
		a[i] = x;
	double t = mm_monotonic();
	for (int n = 0; n < STEPS; n++) {
#define S(i)                                                                                                           \
	a[i] = _mm512_fmadd_ps(x, x, a[i]);                                                                            \
	__asm__ volatile("" : "+v"(a[i]));
		TWELVE(S)
#undef S
	}
	return mm_monotonic() - t;
}

__attribute__((target("avx512f,avx512bf16"))) static double time_bf16(void)
{
	__m512 a[12], x = _mm512_set1_ps(1e-9f);
	__m512bh h = (__m512bh)x;
	for (int i = 0; i < 12; i++)
		a[i] = x;
	double t = mm_monotonic();
	for (int n = 0; n < STEPS; n++) {
#define S(i)                                                                                                           \
	a[i] = _mm512_dpbf16_ps(a[i], h, h);                                                                           \
	__asm__ volatile("" : "+v"(a[i]));
		TWELVE(S)
#undef S
	}
	return mm_monotonic() - t;
}

static bool fast;
static pthread_once_t fast_once = PTHREAD_ONCE_INIT;

/* A bf16 instruction does twice the work of an f32 one. The bar lies between the two kinds of processors there are, of
 * half and of double the rate, so that noise does not decide. */
static void fast_find(void)
{
	double f = 1, b = 1;
	if (!mm_lin_can(MM_BF16))
		return;
	fast = strstr(mm_lin_kernel(MM_BF16), "amx") != NULL;
	for (int i = 0; !fast && i < TRIES; i++) {
		double tf = time_f32(), tb = time_bf16();
		f = MM_MIN(f, tf);
		b = MM_MIN(b, tb);
	}
	fast = fast || b < 1.6 * f;
}
#endif

bool mm_lin_bf16_fast(void)
{
#if defined(__x86_64__)
	pthread_once(&fast_once, fast_find);
	return fast;
#else
	return mm_lin_can(MM_BF16);
#endif
}
