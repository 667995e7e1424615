/* mix_mamba2.c: Mamba-2's mixer with the state space dual (mamba2, falcon_h1).
 *
 *   z, x, B, C, dt = in_proj(y)        [inner], [inner], [groups * state] twice, [heads]
 *   x, B, C        = act(conv(x, B, C))
 *   dt             = clamp(softplus(dt + dt_bias))
 *   u              = SSD(x, dt, -exp(A_log), B, C) + D x
 *   out            = out_proj(norm(u * silu(z)))     falcon_h1: norm in groups, before or after the gate, or no norm
 *
 * The reference's mamba2 takes one norm over all channels whatever the number of groups; GGUF files are made for
 * readers that normalise each group (xb[MM_SSM_NORM_GROUPS]). */
#include "model/ssm_priv.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#define HEAD_BLOCK 8 /* heads a task: they share C B^T */

struct mamba2 {
	struct mm_lin *in, *out;
	float *conv, *conv_b; /* [taps, conv]; [conv] or NULL */
	float *a, *d, *dt_b;  /* [heads] */
	float *norm;	      /* [inner] or NULL */
};

static int sizes_check(const struct mm_hp *h, struct mm_err *err)
{
	const size_t *x = h->xs;
	static const int at[] = { MM_SSM_INNER, MM_SSM_STATE, MM_SSM_TAPS, MM_SSM_HEADS, MM_SSM_GROUPS };
	for (size_t i = 0; i < MM_COUNT(at); i++)
		if (x[at[i]] < 1 || x[at[i]] > (size_t)1 << 20)
			return mm_fail(
				err, MM_EFORMAT, "a state space size is %zu, expected 1 to %d", x[at[i]], 1 << 20);
	if (x[MM_SSM_INNER] % x[MM_SSM_HEADS] ||
		(x[MM_SSM_HEAD] && x[MM_SSM_HEAD] * x[MM_SSM_HEADS] != x[MM_SSM_INNER]))
		return mm_fail(err, MM_EFORMAT, "%zu state space heads of size %zu do not make %zu channels",
			x[MM_SSM_HEADS], x[MM_SSM_HEAD], x[MM_SSM_INNER]);
	if (x[MM_SSM_HEADS] % x[MM_SSM_GROUPS] || x[MM_SSM_INNER] % x[MM_SSM_GROUPS])
		return mm_fail(err, MM_EFORMAT, "%zu state space heads are no multiple of %zu groups", x[MM_SSM_HEADS],
			x[MM_SSM_GROUPS]);
	if (x[MM_SSM_GROUPS] * x[MM_SSM_STATE] > (size_t)1 << 20)
		return mm_fail(
			err, MM_EFORMAT, "%zu groups of %zu states are too many", x[MM_SSM_GROUPS], x[MM_SSM_STATE]);
	return 0;
}

/* A limit; version-5 configs write infinity as {"__float__": "Infinity"}. */
static bool limit_of(const json_t *j, double *out)
{
	const char *tag = json_string_value(json_object_get(j, "__float__"));
	if (tag && (!strcmp(tag, "Infinity") || !strcmp(tag, "-Infinity"))) {
		*out = *tag == '-' ? -INFINITY : INFINITY;
		return true;
	}
	*out = json_number_value(j);
	return json_is_number(j);
}

int mm_mamba2_limits(struct mm_setup *s, struct mm_err *err)
{
	double *x = s->hp->xf;
	x[MM_SSM_DT_MIN] = 0;
	x[MM_SSM_DT_MAX] = INFINITY;
	const json_t *j = s->gguf ? NULL : mm_cfg_get(s, "time_step_limit");
	if (!j)
		return 0;
	if (json_array_size(j) != 2 || !limit_of(json_array_get(j, 0), &x[MM_SSM_DT_MIN]) ||
		!limit_of(json_array_get(j, 1), &x[MM_SSM_DT_MAX]))
		return mm_fail(err, MM_EFORMAT, "config.json: time_step_limit is not a pair of numbers");
	return 0;
}

int mm_mamba2_setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	size_t *x = h->xs;
	if (!x[MM_SSM_INNER] && !(h->xf[MM_SSM_EXPAND] > 0 && h->xf[MM_SSM_EXPAND] < 1024))
		return mm_fail(err, MM_EFORMAT, "config.json: expand is %g", h->xf[MM_SSM_EXPAND]);
	if (!x[MM_SSM_INNER])
		x[MM_SSM_INNER] = (size_t)(h->xf[MM_SSM_EXPAND] * (double)h->n_embd);
	if (sizes_check(h, err))
		return -1;
	x[MM_SSM_HEAD] = x[MM_SSM_INNER] / x[MM_SSM_HEADS];
	size_t inner = x[MM_SSM_INNER], gn = x[MM_SSM_GROUPS] * x[MM_SSM_STATE];
	h->dim[MM_D_SSM_INNER] = inner;
	h->dim[MM_D_SSM_STATE] = x[MM_SSM_STATE];
	h->dim[MM_D_SSM_TAPS] = x[MM_SSM_TAPS];
	h->dim[MM_D_SSM_HEADS] = x[MM_SSM_HEADS];
	h->dim[MM_D_SSM_GROUPS] = x[MM_SSM_GROUPS];
	h->dim[MM_D_SSM_GROUP] = inner / x[MM_SSM_GROUPS];
	h->dim[MM_D_SSM_CONV] = inner + 2 * gn;
	h->dim[MM_D_SSM_IN] = 2 * inner + 2 * gn + x[MM_SSM_HEADS];
	h->own_row = h->dim[MM_D_SSM_IN] + h->dim[MM_D_SSM_CONV] + inner;
	return 0;
}

void mm_mamba2_free(struct mm_layer *layer)
{
	struct mamba2 *o = layer->own;
	if (!o)
		return;
	mm_lin_free(o->in);
	mm_lin_free(o->out);
	mm_free(o->conv);
	mm_free(o->conv_b);
	mm_free(o->a);
	mm_free(o->d);
	mm_free(o->dt_b);
	mm_free(o->norm);
	mm_free(o);
	layer->own = NULL;
}

static double factor(const struct mm_hp *h, int i)
{
	return h->xf[i] != 0 ? h->xf[i] : 1;
}

int mm_mamba2_load(const struct mm_model *m, size_t l, struct mm_layer *layer, struct mm_err *err)
{
	const struct mm_hp *h = &m->hp;
	struct mamba2 *o = layer->own = mm_calloc(1, sizeof(*o), err);
	if (!o)
		return -1;
	const enum mm_slot w = (enum mm_slot)MM_W_SSM_IN, b = (enum mm_slot)MM_W_SSM_IN_B;
	size_t inner = h->xs[MM_SSM_INNER], gn = h->xs[MM_SSM_GROUPS] * h->xs[MM_SSM_STATE],
	       heads = h->xs[MM_SSM_HEADS];
	double f = factor(h, MM_SSM_M_IN);
	const struct mm_lin_part in[] = {
		{ w, b, 0, inner, f * factor(h, MM_SSM_M_Z), factor(h, MM_SSM_M_Z) },
		{ w, b, inner, inner, f * factor(h, MM_SSM_M_X), factor(h, MM_SSM_M_X) },
		{ w, b, 2 * inner, gn, f * factor(h, MM_SSM_M_B), factor(h, MM_SSM_M_B) },
		{ w, b, 2 * inner + gn, gn, f * factor(h, MM_SSM_M_C), factor(h, MM_SSM_M_C) },
		{ w, b, 2 * inner + 2 * gn, heads, f * factor(h, MM_SSM_M_DT), factor(h, MM_SSM_M_DT) },
	};
	const struct mm_lin_part out = { (enum mm_slot)MM_W_SSM_OUT, (enum mm_slot)MM_W_SSM_OUT_B, 0, 0,
		factor(h, MM_SSM_M_OUT), factor(h, MM_SSM_M_OUT) };
	enum mm_dtype big = mm_lin_type(m);
	if (!(o->in = mm_lin_parts(m, l, in, MM_COUNT(in), big, err)) ||
		!(o->out = mm_lin_parts(m, l, &out, 1, big, err)) ||
		mm_conv_load(m, l, (enum mm_slot)MM_W_SSM_CONV, inner + 2 * gn, h->xs[MM_SSM_TAPS], &o->conv, err) ||
		mm_w_vec(m, l, (enum mm_slot)MM_W_SSM_CONV_B, &o->conv_b, err) ||
		mm_w_vec(m, l, (enum mm_slot)(m->gguf ? MM_W_SSM_A_GGUF : MM_W_SSM_A), &o->a, err) ||
		mm_w_vec(m, l, (enum mm_slot)MM_W_SSM_D, &o->d, err) ||
		mm_w_vec(m, l, (enum mm_slot)MM_W_SSM_DT_B, &o->dt_b, err) ||
		mm_w_vec(m, l, (enum mm_slot)(m->gguf ? MM_W_SSM_NORM_GGUF : MM_W_SSM_NORM), &o->norm, err))
		return -1;
	for (size_t i = 0; !m->gguf && i < heads; i++)
		o->a[i] = -expf(o->a[i]);
	layer->n_byte += mm_lin_bytes(o->in) + mm_lin_bytes(o->out) +
			 (inner + 2 * gn) * (h->xs[MM_SSM_TAPS] + 1) * sizeof(float);
	return 0;
}

struct bufs {
	float *in;	/* [n_row, ld]: z | x, B, C before the convolution | dt */
	float *xbc;	/* [n_row, conv] */
	float *u;	/* [n_row, inner] */
	float *scratch; /* per thread */
	size_t ld, conv;
};

static void dt_rows(const struct mm_pass *p, const struct mamba2 *o, const struct bufs *b)
{
	const struct mm_hp *h = p->hp;
	size_t heads = h->xs[MM_SSM_HEADS];
	float lo = (float)h->xf[MM_SSM_DT_MIN], hi = (float)h->xf[MM_SSM_DT_MAX];
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < p->b->n_tok; r++) {
		float *dt = b->in + r * b->ld + b->ld - heads;
		for (size_t i = 0; i < heads; i++)
			dt[i] += o->dt_b[i];
		mm_softplus_row(dt, heads);
		mm_clamp_row(dt, heads, lo, hi);
	}
}

/* Heads h0 .. of one group, one sequence. */
static void ssd_task(const struct mm_pass *p, const struct mamba2 *o, const struct bufs *b, size_t s, size_t h0,
	size_t n_head, float *scratch)
{
	const size_t *x = p->hp->xs;
	size_t inner = x[MM_SSM_INNER], ns = x[MM_SSM_STATE], dh = x[MM_SSM_HEAD], r0 = p->b->start[s];
	size_t g = h0 / (x[MM_SSM_HEADS] / x[MM_SSM_GROUPS]);
	const float *xbc = b->xbc + r0 * b->conv;
	struct mm_ssd q = { .n = p->b->start[s + 1] - r0,
		.n_head = n_head,
		.d_head = dh,
		.n_state = ns,
		.x = xbc + h0 * dh,
		.dt = b->in + r0 * b->ld + b->ld - x[MM_SSM_HEADS] + h0,
		.b = xbc + inner + g * ns,
		.c = xbc + inner + (x[MM_SSM_GROUPS] + g) * ns,
		.a = o->a + h0,
		.d = o->d + h0,
		.y = b->u + r0 * inner + h0 * dh,
		.ld_x = b->conv,
		.ld_dt = b->ld,
		.ld_b = b->conv,
		.ld_c = b->conv,
		.ld_y = inner };
	mm_ssd(&q, scratch);
}

static void gate_row(const struct mm_hp *h, const float *norm, const float *z, float *u)
{
	size_t inner = h->xs[MM_SSM_INNER], n = h->xb[MM_SSM_NORM_GROUPS] ? h->xs[MM_SSM_GROUPS] : 1, d = inner / n;
	if (!norm || !h->xb[MM_SSM_NORM_FIRST])
		mm_act_gate(MM_ACT_SILU, z, u, u, inner);
	for (size_t g = 0; norm && g < n; g++)
		mm_rms_row(u + g * d, norm + g * d, (float)h->norm_eps, u + g * d, d);
	if (norm && h->xb[MM_SSM_NORM_FIRST])
		mm_act_gate(MM_ACT_SILU, z, u, u, inner);
}

static void scan(const struct mm_pass *p, const struct mamba2 *o, const struct bufs *b, size_t per_thread)
{
	const size_t *x = p->hp->xs;
	size_t in_group = x[MM_SSM_HEADS] / x[MM_SSM_GROUPS], n_block = (in_group + HEAD_BLOCK - 1) / HEAD_BLOCK;
	size_t n_task = p->b->n_seq * x[MM_SSM_GROUPS] * n_block;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)p->n_thread)
	for (size_t i = 0; i < n_task; i++) {
		size_t k = i % n_block * HEAD_BLOCK, g = i / n_block % x[MM_SSM_GROUPS],
		       s = i / n_block / x[MM_SSM_GROUPS];
		ssd_task(p, o, b, s, g * in_group + k, MM_MIN((size_t)HEAD_BLOCK, in_group - k),
			b->scratch + (size_t)omp_get_thread_num() * per_thread);
	}
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < p->b->n_tok; r++)
		gate_row(p->hp, o->norm, b->in + r * b->ld, b->u + r * x[MM_SSM_INNER]);
}

int mm_mamba2_mixer(struct mm_pass *p, const struct mm_layer *layer, const float *y, float *out, struct mm_err *err)
{
	const struct mamba2 *o = layer->own;
	const struct mm_hp *h = p->hp;
	size_t n_row = p->b->n_row, inner = h->xs[MM_SSM_INNER], ld = h->dim[MM_D_SSM_IN], conv = h->dim[MM_D_SSM_CONV];
	size_t per_thread = mm_ssd_scratch(HEAD_BLOCK, h->xs[MM_SSM_HEAD], h->xs[MM_SSM_STATE]);
	float *at = mm_pass_mix(p, n_row * (ld + conv + inner) + per_thread * p->n_thread + MM_PART_SLACK, err);
	if (!at)
		return -1;
	struct bufs b = { .ld = ld,
		.conv = conv,
		.in = mm_part(&at, n_row * ld),
		.xbc = mm_part(&at, n_row * conv),
		.u = mm_part(&at, n_row * inner),
		.scratch = mm_part(&at, per_thread * p->n_thread) };
	mm_lin_rows(o->in, n_row, y, b.in);
	mm_conv_rows(p, b.in + inner, ld, o->conv, o->conv_b, h->xs[MM_SSM_TAPS], conv, h->act, b.xbc, conv);
	dt_rows(p, o, &b);
	scan(p, o, &b, per_thread);
	mm_lin_rows(o->out, n_row, b.u, out);
	return 0;
}
