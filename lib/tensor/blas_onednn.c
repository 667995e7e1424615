/* blas_onednn.c: matrices packed by oneDNN, and their products on tiles of MM_TILE rows.
 *
 * A primitive is made for one thread (its plan does not depend on the number of threads) and gets its scratch from the
 * calling thread, so that any number of threads may run the same matrix at once. Streams are thread-local and live as
 * long as their thread. The C interface changed between 2.x and 3.x in how descriptors are passed. */
#include "tensor/lin_priv.h"

#if MM_DNNL
#include <dnnl.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

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

static void *stream_make(void)
{
	dnnl_stream_t s;
	return dnnl_stream_create(&s, engine, dnnl_stream_default_flags) == dnnl_success ? s : NULL;
}

static void stream_drop(void *s)
{
	dnnl_stream_destroy(s);
}

static dnnl_stream_t local_stream(void)
{
	return mm_lin_own(stream_make, stream_drop);
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
	dnnl_primitive_desc_t pd = NULL;
	bool ok = md_strided(&src, MM_TILE, lin->n_in, lin->n_in, 1, t) && md_any(&wei, lin->n_in, lin->n_out, t) &&
		  md_strided(&dst, MM_TILE, lin->n_out, lin->n_out, 1, dnnl_f32) &&
		  md_strided(&bia, 1, lin->n_out, lin->n_out, 1, dnnl_f32) &&
		  dnnl_primitive_attr_create(&attr) == dnnl_success &&
		  dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success;
	int threads = omp_get_max_threads();
	omp_set_num_threads(1);
	if (ok) {
#if DNNL_VERSION_MAJOR >= 3
		ok = dnnl_matmul_primitive_desc_create(&pd, engine, src, wei, lin->bias ? bia : NULL, dst, attr) ==
		     dnnl_success;
#else
		dnnl_matmul_desc_t op;
		ok = dnnl_matmul_desc_init(&op, &src, &wei, lin->bias ? &bia : NULL, &dst) == dnnl_success &&
		     dnnl_primitive_desc_create(&pd, &op, attr, engine, NULL) == dnnl_success;
#endif
	}
	omp_set_num_threads(threads);
	lin->pd = pd;
	if (attr)
		dnnl_primitive_attr_destroy(attr);
	MD_DROP(src);
	MD_DROP(wei);
	MD_DROP(bia);
	MD_DROP(dst);
	return ok;
}

const char *mm_onednn_name(const struct mm_lin *lin)
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

/* Reorders w [n_out, n_in] into the layout (and type) that the kernel wants; with all threads. What pads the layout is
 * filled with zeros by the library. */
static bool weights_pack(struct mm_lin *lin, enum mm_dtype src, const void *w, struct mm_err *err)
{
	dnnl_memory_desc_t user = { 0 };
	md_ref want = dnnl_primitive_desc_query_md(lin->pd, dnnl_query_weights_md, 0);
	dnnl_primitive_desc_t rpd = NULL;
	dnnl_primitive_t re = NULL;
	dnnl_memory_t from = NULL, to = NULL;
	bool ok = want && md_strided(&user, lin->n_in, lin->n_out, 1, lin->n_in, src == MM_BF16 ? dnnl_bf16 : dnnl_f32);
	size_t size = ok ? dnnl_memory_desc_get_size(want) : 0;
	lin->packed = ok ? mm_big_alloc(size, err) : NULL;
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

bool mm_onednn_make(struct mm_lin *lin, enum mm_dtype src, const void *w, struct mm_err *err)
{
	const char *hand = getenv("MM_GEMM");
	pthread_once(&engine_once, engine_init);
	if (!engine || (hand && !strcmp(hand, "openblas") && lin->compute == MM_F32) || !desc_make(lin))
		return false;
	if (strstr(mm_onednn_name(lin), "ref"))
		return false;
	md_ref scratch = dnnl_primitive_desc_query_md(lin->pd, dnnl_query_scratchpad_md, 0);
	lin->n_scratch = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
	dnnl_primitive_t prim = NULL;
	if (dnnl_primitive_create(&prim, lin->pd) != dnnl_success)
		return false;
	lin->prim = prim;
	return weights_pack(lin, src, w, err);
}

void mm_onednn_drop(struct mm_lin *lin)
{
	if (lin->prim)
		dnnl_primitive_destroy(lin->prim);
	if (lin->pd)
		dnnl_primitive_desc_destroy(lin->pd);
	mm_big_free(lin->packed);
	lin->prim = NULL;
	lin->pd = NULL;
	lin->packed = NULL;
}

bool mm_onednn_run(const struct mm_lin *lin, const float *x, float *y)
{
	size_t n_half = lin->compute == MM_BF16 ? (MM_TILE * lin->n_in * 2 + 4095) / 4096 * 4096 : 0;
	char *scratch = mm_lin_scratch(lin->n_scratch + n_half + 64);
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
