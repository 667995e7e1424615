/* ops.c: elementwise operations, norms, softmax on rows of floats.
 *
 * The kernels (ops_kernels.inc) are compiled three times, for AVX-512, AVX2 and plain x86-64 (or whatever the machine
 * is), and chosen once, at the first call, by CPU; ONEDNN_MAX_CPU_ISA bounds the choice as it does oneDNN's. The bits
 * are the same for all three. Any thread may call. */
#include "tensor/tensor.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t m16 __attribute__((vector_size(64)));

struct kernels {
	void (*exp_row)(float *x, size_t n);
	void (*act_gate)(enum mm_act act, const float *g, const float *u, float *z, size_t n);
	void (*rms)(const float *x, const float *w, float eps, float *y, size_t n);
	void (*layernorm)(const float *x, const float *w, const float *b, float eps, float *y, size_t n);
	void (*axpy)(float a, const float *x, float *y, size_t n);
	void (*softmax)(float *s, size_t n, float scale, float cap, const float *bias, const float *sink);
	void (*lse)(const float *x, size_t n, float *max, double *sum, double *first, double *second);
	void (*softcap)(float *x, size_t n, float scale, float cap);
	void (*to_bf16)(const float *x, uint16_t *y, size_t n);
};

/* Vectors never cross a call (everything is inlined), so the ABI of passing them does not matter. */
#pragma GCC diagnostic ignored "-Wpsabi"

#define KERNEL(name) name##_portable
#define TARGET
#include "tensor/ops_kernels.inc"

#if defined(__x86_64__)
#define KERNEL(name) name##_avx2
#define TARGET	     __attribute__((target("avx2")))
#include "tensor/ops_kernels.inc"

#define KERNEL(name) name##_avx512
#define TARGET	     __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
#include "tensor/ops_kernels.inc"
#endif

static const struct kernels *kern;
static const char *isa_name;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* 0: portable, 1: AVX2, 2: AVX-512 */
static int isa_bound(void)
{
	const char *s = getenv("ONEDNN_MAX_CPU_ISA");
	if (!s)
		s = getenv("DNNL_MAX_CPU_ISA");
	if (!s || !strncasecmp(s, "avx512", 6) || !strcasecmp(s, "all") || !strcasecmp(s, "default") || !*s)
		return 2;
	return !strncasecmp(s, "avx2", 4) ? 1 : 0;
}

static void choose(void)
{
	kern = &table_portable;
	isa_name = "portable";
#if defined(__x86_64__)
	int bound = isa_bound();
	__builtin_cpu_init();
	if (bound >= 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
		__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
		kern = &table_avx512;
		isa_name = "avx512";
	} else if (bound >= 1 && __builtin_cpu_supports("avx2")) {
		kern = &table_avx2;
		isa_name = "avx2";
	}
#endif
}

static const struct kernels *k(void)
{
	pthread_once(&once, choose);
	return kern;
}

const char *mm_ops_isa(void)
{
	k();
	return isa_name;
}

/* gelu_fast and gelu_accurate are the tanh form with its constants written otherwise. */
static const struct {
	const char *name;
	enum mm_act act;
} act_names[] = {
	{ "silu", MM_ACT_SILU },
	{ "swish", MM_ACT_SILU },
	{ "gelu", MM_ACT_GELU },
	{ "gelu_python", MM_ACT_GELU },
	{ "gelu_new", MM_ACT_GELU_TANH },
	{ "gelu_pytorch_tanh", MM_ACT_GELU_TANH },
	{ "gelu_python_tanh", MM_ACT_GELU_TANH },
	{ "gelu_fast", MM_ACT_GELU_TANH },
	{ "gelu_accurate", MM_ACT_GELU_TANH },
	{ "quick_gelu", MM_ACT_GELU_QUICK },
	{ "relu", MM_ACT_RELU },
	{ "relu2", MM_ACT_RELU2 },
	{ "relu6", MM_ACT_RELU6 },
	{ "sigmoid", MM_ACT_SIGMOID },
	{ "tanh", MM_ACT_TANH },
	{ "mish", MM_ACT_MISH },
	{ "linear", MM_ACT_NONE },
};

int mm_act_of(const char *name)
{
	for (size_t i = 0; i < MM_COUNT(act_names); i++)
		if (!strcmp(act_names[i].name, name))
			return (int)act_names[i].act;
	return -1;
}

void mm_exp_row(float *x, size_t n)
{
	k()->exp_row(x, n);
}

void mm_act_row(enum mm_act act, float *x, size_t n)
{
	k()->act_gate(act, x, NULL, x, n);
}

void mm_act_gate(enum mm_act act, const float *g, const float *u, float *z, size_t n)
{
	k()->act_gate(act, g, u, z, n);
}

void mm_rms_row(const float *x, const float *w, float eps, float *y, size_t n)
{
	k()->rms(x, w, eps, y, n);
}

void mm_layernorm_row(const float *x, const float *w, const float *b, float eps, float *y, size_t n)
{
	k()->layernorm(x, w, b, eps, y, n);
}

void mm_axpy_row(float a, const float *x, float *y, size_t n)
{
	k()->axpy(a, x, y, n);
}

void mm_softmax_row(float *s, size_t n, float scale, float cap, const float *bias, const float *sink)
{
	k()->softmax(s, n, scale, cap, bias, sink);
}

void mm_lse_add(const float *x, size_t n, float *max, double *sum)
{
	k()->lse(x, n, max, sum, NULL, NULL);
}

void mm_lse_moments(const float *x, size_t n, float *max, double *sum, double *first, double *second)
{
	k()->lse(x, n, max, sum, first, second);
}

void mm_softcap_row(float *x, size_t n, float scale, float cap)
{
	k()->softcap(x, n, scale, cap);
}

void mm_bf16_row(const float *x, uint16_t *y, size_t n)
{
	k()->to_bf16(x, y, n);
}

void mm_clamp_row(float *x, size_t n, float lo, float hi)
{
	for (size_t i = 0; i < n; i++)
		x[i] = x[i] < lo ? lo : x[i] > hi ? hi : x[i];
}

void mm_rope_row(float *x, const float *cs, size_t d_rot, bool half)
{
	size_t h = d_rot / 2, step = half ? 1 : 2, off = half ? h : 1;
	for (size_t i = 0; i < h; i++) {
		float c = cs[2 * i], s = cs[2 * i + 1];
		float a = x[i * step], b = x[i * step + off];
		x[i * step] = a * c - b * s;
		x[i * step + off] = b * c + a * s;
	}
}
