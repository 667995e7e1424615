/* blas_lin.c: y = x W^T + bias on tiles of MM_TILE rows; oneDNN or OpenBLAS.
 *
 * Which one: oneDNN where the build has it (packed weights from AVX-512 on, its own code generator below), unless it
 * has nothing but reference loops for this machine; then, and in builds without it, OpenBLAS. MM_GEMM=openblas decides
 * by hand (tests, measurements). bf16 exists in oneDNN only.
 *
 * A primitive is made for one thread (its plan does not depend on the number of threads) and gets its scratch from the
 * calling thread, so that any number of threads may run the same matrix at once. Streams and scratch are thread-local
 * and live as long as their thread. */
#include "tensor/tensor.h"

#include <cblas.h>
#if MM_DNNL
#include <dnnl.h>
#endif
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct mm_lin {
	size_t n_out, n_in, n_byte;
	enum mm_dtype compute;
	float *w;    /* [n_out, n_in]: OpenBLAS; NULL with oneDNN */
	float *bias; /* [n_out] or NULL */
#if MM_DNNL
	dnnl_primitive_t prim;
	dnnl_primitive_desc_t pd;
	void *packed; /* weights in the kernel's own layout */
	size_t n_scratch;
#endif
};

struct local {
#if MM_DNNL
	dnnl_stream_t stream;
#endif
	void *p; /* scratch */
	size_t cap;
};
static _Thread_local struct local local;

static void *local_scratch(size_t n)
{
	if (n > local.cap) {
		size_t cap = (n + 65535) / 65536 * 65536;
		free(local.p);
		local.p = aligned_alloc(4096, cap);
		local.cap = local.p ? cap : 0;
	}
	return local.p;
}

/* ---- oneDNN: the C interface changed between 2.x and 3.x in how descriptors are passed ---- */

#if MM_DNNL
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t md_ref;
#define MD(m)	   (m)
#define MD_DROP(m) ((m) ? (void)dnnl_memory_desc_destroy(m) : (void)0)
#else
typedef const dnnl_memory_desc_t *md_ref;
#define MD(m)	   (&(m))
#define MD_DROP(m) ((void)(m))
#endif

static dnnl_engine_t engine;
static pthread_once_t engine_once = PTHREAD_ONCE_INIT;

static void engine_init(void)
{
	if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success)
		engine = NULL;
}

static dnnl_stream_t local_stream(void)
{
	if (!local.stream && dnnl_stream_create(&local.stream, engine, dnnl_stream_default_flags) != dnnl_success)
		local.stream = NULL;
	return local.stream;
}

static bool md_strided(dnnl_memory_desc_t *m, size_t r, size_t c, size_t sr, size_t sc, dnnl_data_type_t t)
{
	dnnl_dims_t d = { (dnnl_dim_t)r, (dnnl_dim_t)c }, s = { (dnnl_dim_t)sr, (dnnl_dim_t)sc };
#if DNNL_VERSION_MAJOR >= 3
	return dnnl_memory_desc_create_with_strides(m, 2, d, t, s) == dnnl_success;
#else
	return dnnl_memory_desc_init_by_strides(m, 2, d, t, s) == dnnl_success;
#endif
}

static bool md_any(dnnl_memory_desc_t *m, size_t r, size_t c, dnnl_data_type_t t)
{
	dnnl_dims_t d = { (dnnl_dim_t)r, (dnnl_dim_t)c };
#if DNNL_VERSION_MAJOR >= 3
	return dnnl_memory_desc_create_with_tag(m, 2, d, t, dnnl_format_tag_any) == dnnl_success;
#else
	return dnnl_memory_desc_init_by_tag(m, 2, d, t, dnnl_format_tag_any) == dnnl_success;
#endif
}

/* src [MM_TILE, n_in] x weights [n_in, n_out] (+ bias [1, n_out]) -> dst [MM_TILE, n_out] */
static bool desc_make(struct mm_lin *lin)
{
	dnnl_data_type_t t = lin->compute == MM_BF16 ? dnnl_bf16 : dnnl_f32;
	dnnl_memory_desc_t src = { 0 }, wei = { 0 }, bia = { 0 }, dst = { 0 };
	dnnl_primitive_attr_t attr = NULL;
	bool ok = md_strided(&src, MM_TILE, lin->n_in, lin->n_in, 1, t) && md_any(&wei, lin->n_in, lin->n_out, t) &&
		  md_strided(&dst, MM_TILE, lin->n_out, lin->n_out, 1, dnnl_f32) &&
		  md_strided(&bia, 1, lin->n_out, lin->n_out, 1, dnnl_f32) &&
		  dnnl_primitive_attr_create(&attr) == dnnl_success &&
		  dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success;
	int threads = omp_get_max_threads();
	omp_set_num_threads(1);
	if (ok) {
#if DNNL_VERSION_MAJOR >= 3
		ok = dnnl_matmul_primitive_desc_create(&lin->pd, engine, src, wei, lin->bias ? bia : NULL, dst, attr) ==
		     dnnl_success;
#else
		dnnl_matmul_desc_t op;
		ok = dnnl_matmul_desc_init(&op, &src, &wei, lin->bias ? &bia : NULL, &dst) == dnnl_success &&
		     dnnl_primitive_desc_create(&lin->pd, &op, attr, engine, NULL) == dnnl_success;
#endif
	}
	omp_set_num_threads(threads);
	if (attr)
		dnnl_primitive_attr_destroy(attr);
	MD_DROP(src);
	MD_DROP(wei);
	MD_DROP(bia);
	MD_DROP(dst);
	return ok;
}

static const char *impl_name(const struct mm_lin *lin)
{
	const char *s = NULL;
	if (dnnl_primitive_desc_query(lin->pd, dnnl_query_impl_info_str, 0, (void *)&s) != dnnl_success || !s)
		return "";
	return s;
}

static dnnl_memory_t memory_of(md_ref md, const void *p)
{
	dnnl_memory_t m = NULL;
	if (!md || dnnl_memory_create(&m, md, engine, (void *)(uintptr_t)p) != dnnl_success)
		return NULL;
	return m;
}

static void memory_drop(dnnl_memory_t m)
{
	if (m)
		dnnl_memory_destroy(m);
}

/* Reorders w [n_out, n_in] f32 into the layout (and type) that the kernel wants. */
static bool weights_pack(struct mm_lin *lin, const float *w, struct mm_err *err)
{
	dnnl_memory_desc_t user = { 0 };
	md_ref want = dnnl_primitive_desc_query_md(lin->pd, dnnl_query_weights_md, 0);
	dnnl_primitive_desc_t rpd = NULL;
	dnnl_primitive_t re = NULL;
	dnnl_memory_t from = NULL, to = NULL;
	bool ok = want && md_strided(&user, lin->n_in, lin->n_out, 1, lin->n_in, dnnl_f32);
	size_t size = ok ? dnnl_memory_desc_get_size(want) : 0;
	lin->packed = ok ? mm_calloc(MM_MAX(size, 4096), 1, err) : NULL;
	lin->n_byte += size;
	ok = lin->packed && (from = memory_of(MD(user), w)) && (to = memory_of(want, lin->packed)) &&
	     dnnl_reorder_primitive_desc_create(&rpd, MD(user), engine, want, engine, NULL) == dnnl_success &&
	     dnnl_primitive_create(&re, rpd) == dnnl_success;
	if (ok) {
		dnnl_exec_arg_t a[2] = { { DNNL_ARG_FROM, from }, { DNNL_ARG_TO, to } };
		dnnl_stream_t st = local_stream();
		ok = st && dnnl_primitive_execute(re, st, 2, a) == dnnl_success && dnnl_stream_wait(st) == dnnl_success;
	}
	if (re)
		dnnl_primitive_destroy(re);
	if (rpd)
		dnnl_primitive_desc_destroy(rpd);
	memory_drop(from);
	memory_drop(to);
	MD_DROP(user);
	return ok;
}

/* false: oneDNN has nothing good for this; the caller takes OpenBLAS (or fails, when it must be oneDNN). */
static bool onednn_make(struct mm_lin *lin, const float *w, struct mm_err *err)
{
	const char *hand = getenv("MM_GEMM");
	pthread_once(&engine_once, engine_init);
	if (!engine || (hand && !strcmp(hand, "openblas") && lin->compute == MM_F32) || !desc_make(lin))
		return false;
	if (strstr(impl_name(lin), "ref"))
		return false;
	md_ref scratch = dnnl_primitive_desc_query_md(lin->pd, dnnl_query_scratchpad_md, 0);
	lin->n_scratch = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
	return dnnl_primitive_create(&lin->prim, lin->pd) == dnnl_success && weights_pack(lin, w, err);
}

static void onednn_drop(struct mm_lin *lin)
{
	if (lin->prim)
		dnnl_primitive_destroy(lin->prim);
	if (lin->pd)
		dnnl_primitive_desc_destroy(lin->pd);
	mm_free(lin->packed);
	lin->prim = NULL;
	lin->pd = NULL;
	lin->packed = NULL;
}

static bool onednn_run(const struct mm_lin *lin, const float *x, float *y)
{
	size_t n_half = lin->compute == MM_BF16 ? (MM_TILE * lin->n_in * 2 + 4095) / 4096 * 4096 : 0;
	char *scratch = local_scratch(lin->n_scratch + n_half + 64);
	dnnl_stream_t st = local_stream();
	if (!scratch || !st)
		return false;
	const void *src = x;
	if (n_half) {
		uint16_t *h = (uint16_t *)(void *)scratch;
		mm_bf16_row(x, h, MM_TILE * lin->n_in);
		src = h;
	}
	dnnl_memory_t s = memory_of(dnnl_primitive_desc_query_md(lin->pd, dnnl_query_src_md, 0), src);
	dnnl_memory_t w = memory_of(dnnl_primitive_desc_query_md(lin->pd, dnnl_query_weights_md, 0), lin->packed);
	dnnl_memory_t d = memory_of(dnnl_primitive_desc_query_md(lin->pd, dnnl_query_dst_md, 0), y);
	dnnl_memory_t c =
		memory_of(dnnl_primitive_desc_query_md(lin->pd, dnnl_query_scratchpad_md, 0), scratch + n_half);
	dnnl_memory_t b = NULL;
	bool ok = s && w && d && c;
	dnnl_exec_arg_t a[5] = { { DNNL_ARG_SRC, s }, { DNNL_ARG_WEIGHTS, w }, { DNNL_ARG_DST, d },
		{ DNNL_ARG_SCRATCHPAD, c } };
	int n = 4;
	if (lin->bias) {
		b = memory_of(dnnl_primitive_desc_query_md(lin->pd, dnnl_query_weights_md, 1), lin->bias);
		ok = ok && b;
		a[n++] = (dnnl_exec_arg_t){ DNNL_ARG_BIAS, b };
	}
	ok = ok && dnnl_primitive_execute(lin->prim, st, n, a) == dnnl_success && dnnl_stream_wait(st) == dnnl_success;
	memory_drop(s);
	memory_drop(w);
	memory_drop(d);
	memory_drop(c);
	memory_drop(b);
	return ok;
}
#endif

/* ---- both ---- */

/* The product is made as W x^T, with 8 rows of zeros in front of the tile and behind it, and turned round afterwards:
 * OpenBLAS's kernels for Haswell and Zen sum differently for the first and the last 8 places along the vector dimension
 * (and for rows 0-5 and 6-11 of every twelve along the other one); what lies between is treated alike. */
#define EDGE ((size_t)8)
#define WIDE (MM_TILE + 2 * EDGE)

static bool openblas_run(const struct mm_lin *lin, const float *x, float *y)
{
	size_t n_in = lin->n_in, n_out = lin->n_out;
	float *t = local_scratch((n_out + n_in) * WIDE * sizeof(float));
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
	bool ok = lin->prim ? onednn_run(lin, x, y) : openblas_run(lin, x, y);
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
	if (onednn_make(lin, w, &why))
		return lin;
	if (why.code != MM_OK) {
		*err = why;
		goto fail;
	}
	onednn_drop(lin);
#endif
	if (compute != MM_F32) {
		mm_fail(err, MM_EUNSUPPORTED, "no %s matrix product on this machine", mm_dtypes[compute].name);
		goto fail;
	}
	lin->w = mm_calloc(MM_MAX(n, 1024), sizeof(float), err);
	if (!lin->w)
		goto fail;
	memcpy(lin->w, w, n * sizeof(float));
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
	onednn_drop(lin);
#endif
	mm_free(lin->w);
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
		snprintf(out, sizeof(name[0]), "onednn %s", impl_name(lin));
#endif
	mm_lin_free(lin);
	mm_free(w);
	return out;
}
