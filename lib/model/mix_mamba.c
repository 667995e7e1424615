/* mix_mamba.c: Mamba's mixer with the selective scan (mamba, falcon_mamba).
 *
 *   x, z   = in_proj(y)                          [n_row, inner] each
 *   x      = act(conv(x))                        causal, depthwise
 *   d,B,C  = x_proj(x)                           [rank], [state], [state]; falcon_mamba: each through an RMS norm
 * without weights dt     = softplus(dt_proj(d))                [n_row, inner] s      = exp(dt A) s + dt B x;  u = C s +
 * D x out    = out_proj(u * act(z))
 *
 * x_proj and dt_proj stay in f32 whatever the model computes in: they are small, and their result stands in an
 * exponent. */
#include "model/ssm_priv.h"

#include <math.h>
#include <omp.h>
#include <string.h>

struct mamba {
	struct mm_lin *in, *dbc, *dt, *out;
	float *conv, *conv_b; /* [taps, inner]; [inner] or NULL */
	float *a, *d;	      /* [state, inner]; [inner] */
};

int mm_mamba_setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	size_t *x = h->xs;
	if (!x[MM_SSM_INNER] && !(h->xf[MM_SSM_EXPAND] > 0 && h->xf[MM_SSM_EXPAND] < 1024))
		return mm_fail(err, MM_EFORMAT, "config.json: expand is %g", h->xf[MM_SSM_EXPAND]);
	if (!x[MM_SSM_INNER])
		x[MM_SSM_INNER] = (size_t)(h->xf[MM_SSM_EXPAND] * (double)h->n_embd);
	const json_t *rank = mm_cfg_get(s, s->gguf ? "ssm.time_step_rank" : "time_step_rank");
	if (rank && !json_is_string(rank)) {
		if (!json_is_integer(rank) || json_integer_value(rank) < 1)
			return mm_fail(err, MM_EFORMAT, "%s: time_step_rank is not a number above 0",
				s->gguf ? "GGUF metadata" : "config.json");
		x[MM_SSM_RANK] = (size_t)json_integer_value(rank);
	} else if (rank && strcmp(json_string_value(rank), "auto")) {
		return mm_fail(err, MM_EUNSUPPORTED, "config.json: time_step_rank = \"%.40s\" is not supported",
			json_string_value(rank));
	} else {
		x[MM_SSM_RANK] = (h->n_embd + 15) / 16;
	}
	for (size_t i = MM_SSM_INNER; i <= MM_SSM_RANK; i++)
		if (x[i] < 1 || x[i] > (size_t)1 << 20)
			return mm_fail(err, MM_EFORMAT, "a state space size is %zu, expected 1 to %d", x[i], 1 << 20);
	if (mm_setup_layers(s, err))
		return -1;
	for (size_t l = 0; l < h->n_layer; l++)
		h->layer[l].mask = MM_L_OWN;
	h->dim[MM_D_SSM_INNER] = h->dim[MM_D_SSM_CONV] = x[MM_SSM_INNER];
	h->dim[MM_D_SSM_STATE] = x[MM_SSM_STATE];
	h->dim[MM_D_SSM_TAPS] = x[MM_SSM_TAPS];
	h->dim[MM_D_SSM_RANK] = x[MM_SSM_RANK];
	h->dim[MM_D_SSM_IN] = 2 * x[MM_SSM_INNER];
	h->own_row = 4 * x[MM_SSM_INNER] + 2 * (x[MM_SSM_RANK] + x[MM_SSM_STATE]);
	h->dim[MM_D_SSM_DBC] = x[MM_SSM_RANK] + 2 * x[MM_SSM_STATE];
	return 0;
}

void mm_mamba_free(struct mm_layer *layer)
{
	struct mamba *o = layer->own;
	if (!o)
		return;
	mm_lin_free(o->in);
	mm_lin_free(o->dbc);
	mm_lin_free(o->dt);
	mm_lin_free(o->out);
	mm_free(o->conv);
	mm_free(o->conv_b);
	mm_free(o->a);
	mm_free(o->d);
	mm_free(o);
	layer->own = NULL;
}

/* [inner, state] of the file to [state, inner]. */
static int load_a(const struct mm_model *m, size_t l, struct mamba *o, struct mm_err *err)
{
	size_t inner = m->hp.xs[MM_SSM_INNER], n = m->hp.xs[MM_SSM_STATE];
	float *a;
	if (mm_w_vec(m, l, m->gguf ? (enum mm_slot)MM_W_SSM_A_GGUF : (enum mm_slot)MM_W_SSM_A, &a, err))
		return -1;
	o->a = mm_calloc(inner * n, sizeof(*o->a), err);
	for (size_t c = 0; o->a && c < inner; c++)
		for (size_t j = 0; j < n; j++)
			o->a[j * inner + c] = m->gguf ? a[c * n + j] : -expf(a[c * n + j]);
	mm_free(a);
	return o->a ? 0 : -1;
}

int mm_mamba_load(const struct mm_model *m, size_t l, struct mm_layer *layer, struct mm_err *err)
{
	const size_t *x = m->hp.xs;
	struct mamba *o = layer->own = mm_calloc(1, sizeof(*o), err);
	if (!o)
		return -1;
	enum mm_dtype big = mm_lin_type(m);
	const struct mm_lin_part in = { (enum mm_slot)MM_W_SSM_IN, (enum mm_slot)MM_W_SSM_IN_B, 0, 0, 1, 1 };
	const struct mm_lin_part dbc = { (enum mm_slot)MM_W_SSM_DBC, MM_W_COUNT, 0, 0, 1, 1 };
	const struct mm_lin_part dt = { (enum mm_slot)MM_W_SSM_DT, (enum mm_slot)MM_W_SSM_DT_B, 0, 0, 1, 1 };
	const struct mm_lin_part out = { (enum mm_slot)MM_W_SSM_OUT, (enum mm_slot)MM_W_SSM_OUT_B, 0, 0, 1, 1 };
	if (!(o->in = mm_lin_parts(m, l, &in, 1, big, err)) || !(o->dbc = mm_lin_parts(m, l, &dbc, 1, MM_F32, err)) ||
		!(o->dt = mm_lin_parts(m, l, &dt, 1, MM_F32, err)) ||
		!(o->out = mm_lin_parts(m, l, &out, 1, big, err)) ||
		mm_conv_load(m, l, (enum mm_slot)MM_W_SSM_CONV, x[MM_SSM_INNER], x[MM_SSM_TAPS], &o->conv, err) ||
		mm_w_vec(m, l, (enum mm_slot)MM_W_SSM_CONV_B, &o->conv_b, err) || load_a(m, l, o, err) ||
		mm_w_vec(m, l, (enum mm_slot)MM_W_SSM_D, &o->d, err))
		return -1;
	layer->n_byte += mm_lin_bytes(o->in) + mm_lin_bytes(o->dbc) + mm_lin_bytes(o->dt) + mm_lin_bytes(o->out) +
			 (x[MM_SSM_INNER] * (x[MM_SSM_TAPS] + x[MM_SSM_STATE] + 2)) * sizeof(float);
	return 0;
}

struct bufs {
	float *xz;  /* [n_row, 2 inner] */
	float *x;   /* [n_row, inner]: after the convolution; then the scan's output */
	float *dbc; /* [n_row, rank + 2 state] */
	float *d;   /* [n_row, rank]: its first part */
	float *dt;  /* [n_row, inner] */
	float *scratch;
};

/* The norms of falcon_mamba; the part that makes dt goes to a place of its own. */
static void split_dbc(const struct mm_pass *p, const struct bufs *b)
{
	const struct mm_hp *h = p->hp;
	size_t rank = h->xs[MM_SSM_RANK], n = h->xs[MM_SSM_STATE];
	float eps = (float)h->xf[MM_SSM_EPS];
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < p->b->n_tok; r++) {
		float *d = b->dbc + r * (rank + 2 * n);
		if (h->xb[MM_SSM_NORM_BCDT]) {
			mm_rms_row(d, NULL, eps, d, rank);
			mm_rms_row(d + rank, NULL, eps, d + rank, n);
			mm_rms_row(d + rank + n, NULL, eps, d + rank + n, n);
		}
		memcpy(b->d + r * rank, d, rank * sizeof(*d));
	}
}

/* One block of channels of one sequence: softplus, scan, gate. */
static void scan_task(
	const struct mm_pass *p, const struct mamba *o, const struct bufs *b, size_t s, size_t c, float *scratch)
{
	const struct mm_hp *h = p->hp;
	size_t inner = h->xs[MM_SSM_INNER], n = h->xs[MM_SSM_STATE], rank = h->xs[MM_SSM_RANK], ld = rank + 2 * n;
	size_t r0 = p->b->start[s], r1 = p->b->start[s + 1], m = MM_MIN((size_t)MM_SCAN_BLOCK, inner - c);
	for (size_t r = r0; r < r1; r++)
		mm_softplus_row(b->dt + r * inner + c, m);
	struct mm_selective q = { .n = r1 - r0,
		.n_ch = m,
		.n_state = n,
		.x = b->x + r0 * inner + c,
		.dt = b->dt + r0 * inner + c,
		.a = o->a + c,
		.d = o->d + c,
		.b = b->dbc + r0 * ld + rank,
		.c = b->dbc + r0 * ld + rank + n,
		.y = b->x + r0 * inner + c,
		.ld_x = inner,
		.ld_dt = inner,
		.ld_a = inner,
		.ld_b = ld,
		.ld_c = ld,
		.ld_y = inner };
	mm_scan_selective(&q, scratch);
	for (size_t r = r0; r < r1; r++)
		mm_act_gate(h->act, b->xz + r * 2 * inner + inner + c, b->x + r * inner + c, b->x + r * inner + c, m);
}

int mm_mamba_mixer(struct mm_pass *p, const struct mm_layer *layer, const float *y, float *out, struct mm_err *err)
{
	const struct mamba *o = layer->own;
	const struct mm_hp *h = p->hp;
	size_t inner = h->xs[MM_SSM_INNER], n = h->xs[MM_SSM_STATE], rank = h->xs[MM_SSM_RANK], n_row = p->b->n_row;
	size_t per_thread = mm_scan_selective_scratch(n);
	float *at =
		mm_pass_mix(p, n_row * (4 * inner + 2 * (rank + n)) + per_thread * p->n_thread + MM_PART_SLACK, err);
	if (!at)
		return -1;
	struct bufs b = { .xz = mm_part(&at, n_row * 2 * inner),
		.x = mm_part(&at, n_row * inner),
		.dbc = mm_part(&at, n_row * (rank + 2 * n)),
		.d = mm_part(&at, n_row * rank),
		.dt = mm_part(&at, n_row * inner),
		.scratch = mm_part(&at, per_thread * p->n_thread) };
	mm_lin_rows(o->in, n_row, y, b.xz);
	mm_conv_rows(p, b.xz, 2 * inner, o->conv, o->conv_b, h->xs[MM_SSM_TAPS], inner, h->act, b.x, inner);
	mm_lin_rows(o->dbc, n_row, b.x, b.dbc);
	split_dbc(p, &b);
	mm_lin_rows(o->dt, n_row, b.d, b.dt);
	size_t n_block = (inner + MM_SCAN_BLOCK - 1) / MM_SCAN_BLOCK, n_task = p->b->n_seq * n_block;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)p->n_thread)
	for (size_t i = 0; i < n_task; i++)
		scan_task(p, o, &b, i / n_block, i % n_block * MM_SCAN_BLOCK,
			b.scratch + (size_t)omp_get_thread_num() * per_thread);
	mm_lin_rows(o->out, n_row, b.x, out);
	return 0;
}
