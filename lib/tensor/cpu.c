/* cpu.c - which of OpenBLAS's kernels fit this processor.
 *
 * OpenBLAS chooses in its constructor, by the processor's model or by OPENBLAS_CORETYPE. It falls back to its oldest
 * kernels (SSE3) for processors newer than itself, and believes a wrong variable. So every program of ours that
 * computes sets the variable to what the processor can do and executes itself once more, before anything else. */
#include "tensor/tensor.h"

#include <stdlib.h>
#include <strings.h>

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
