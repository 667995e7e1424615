/* decoder.c: the block that most families share, and the way of a batch through a model.
 *
 * A layer is three parallel loops:
 *   A  per tile:             y = n1(x), q|k|v = y W, clip, q/k norm, rope
 *   B  per (sequence, head): causal attention into att
 *   C  per tile:             o = att W, residual, n2, feed-forward, residual
 * Layers with experts leave C after the first residual: experts need all tokens (moe.c). Families with a mixer or a
 * layer_run of their own replace A+B, or everything. What each block flag means stands beside it in struct mm_hp.
 The way
 * of a batch through all layers is in pass.c. */
#include "model/ckpt_priv.h"
#include "model/model_priv.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#define PAR_TILES _Pragma("omp parallel for schedule(dynamic, 1) num_threads((int)p->n_thread)")

/* ---- norms ---- */

void mm_norm_row(const struct mm_norm *n, const float *x, float *y, size_t d)
{
	if (n->kind == MM_NORM_RMS)
		mm_rms_row(x, n->w, n->eps, y, d);
	else if (n->kind == MM_NORM_LAYER)
		mm_layernorm_row(x, n->w, n->b, n->eps, y, d);
	else if (y != x)
		memcpy(y, x, d * sizeof(float));
}

void mm_norm_rows(const struct mm_norm *n, const float *x, float *y, size_t n_row, size_t d)
{
#pragma omp parallel for schedule(static) num_threads((int)mm_threads())
	for (size_t r = 0; r < n_row; r++)
		mm_norm_row(n, x + r * d, y + r * d, d);
}

static void norm_tile(const struct mm_norm *n, const float *x, float *y, size_t d)
{
	for (size_t r = 0; r < MM_TILE; r++)
		mm_norm_row(n, x + r * d, y + r * d, d);
}

/* ---- loading ---- */

/* Row of the stored fused matrix that holds row i of q | k | v. */
static size_t qkv_source(const struct mm_hp *h, size_t i)
{
	size_t d = h->d_head, nq = h->n_head * d, nk = h->n_head_kv * d, g = h->n_head / h->n_head_kv;
	int part = i < nq ? 0 : i < nq + nk ? 1 : 2;
	size_t j = part == 0 ? i : part == 1 ? i - nq : i - nq - nk, head = j / d, in = j % d;
	switch (h->qkv) {
	case MM_QKV_PER_HEAD:
		return (head * 3 + (size_t)part) * d + in;
	case MM_QKV_PER_GROUP: {
		size_t group = part == 0 ? head / g : head, at = part == 0 ? head % g : g + (size_t)part - 1;
		return (group * (g + 2) + at) * d + in;
	}
	case MM_QKV_CODEGEN: { /* 4 blocks of width n_embd / 4 * 3: q, v, k */
		size_t local = nq / 4, block = j / local, order = part == 0 ? 0 : part == 1 ? 2 : 1;
		return (block * 3 + order) * local + j % local;
	}
	default:
		return i;
	}
}

static int attention_load(const struct mm_model *m, size_t l, struct mm_layer *y, struct mm_err *err)
{
	const enum mm_slot qkv[] = { MM_W_Q, MM_W_K, MM_W_V, MM_W_COUNT }, qkv_b[] = { MM_W_Q_B, MM_W_K_B, MM_W_V_B };
	const enum mm_slot o[] = { MM_W_O, MM_W_COUNT }, o_b[] = { MM_W_O_B };
	if (!m->fam->qkv_tile) {
		if (mm_w_get(m, l, MM_W_QKV)) {
			const enum mm_slot one[] = { MM_W_QKV, MM_W_COUNT }, one_b[] = { MM_W_QKV_B };
			bool plain = m->hp.qkv != MM_QKV_PER_HEAD && m->hp.qkv != MM_QKV_PER_GROUP &&
				     m->hp.qkv != MM_QKV_CODEGEN;
			if (!(y->qkv = mm_w_lin_map(m, l, one, one_b, 0, plain ? NULL : qkv_source,
				      m->compute == MM_COMPUTE_BF16 ? MM_BF16 : MM_F32, err)))
				return -1;
		} else if (!(y->qkv = mm_w_lin(m, l, qkv, qkv_b, 0, err))) {
			return -1;
		}
	}
	if (!(y->o = mm_w_lin(m, l, o, o_b, 0, err)) || mm_norm_load(m, l, MM_W_QN, MM_W_QN_B, &y->qn, err) ||
		mm_norm_load(m, l, MM_W_KN, MM_W_KN_B, &y->kn, err) || mm_w_vec(m, l, MM_W_SINKS, &y->sinks, err))
		return -1;
	y->qn.kind = y->kn.kind = m->hp.qk_norm ? m->hp.qk_norm_kind : MM_NORM_NONE;
	return 0;
}

static int ffn_load(const struct mm_model *m, size_t l, struct mm_layer *y, struct mm_err *err)
{
	const enum mm_slot two[] = { MM_W_GATE, MM_W_UP, MM_W_COUNT }, two_b[] = { MM_W_GATE_B, MM_W_UP_B };
	const enum mm_slot one[] = { MM_W_GATE_UP, MM_W_COUNT }, one_b[] = { MM_W_GATE_UP_B };
	const enum mm_slot up[] = { MM_W_UP, MM_W_COUNT }, up_b[] = { MM_W_UP_B };
	const enum mm_slot down[] = { MM_W_DOWN, MM_W_COUNT }, down_b[] = { MM_W_DOWN_B };
	if (m->hp.gated)
		y->gate_up =
			m->hp.gate_up_fused ? mm_w_lin(m, l, one, one_b, 0, err) : mm_w_lin(m, l, two, two_b, 0, err);
	else
		y->up = mm_w_lin(m, l, up, up_b, 0, err);
	if (!y->gate_up && !y->up)
		return -1;
	y->down = mm_w_lin(m, l, down, down_b, 0, err);
	return y->down ? 0 : -1;
}

int mm_layer_load(const struct mm_model *m, size_t l, struct mm_layer *y, struct mm_err *err)
{
	const struct mm_hp *h = &m->hp;
	unsigned mask = h->layer[l].mask;
	memset(y, 0, sizeof(*y));
	y->index = l;
	y->hp = &h->layer[l];
	if (mm_norm_load(m, l, MM_W_N1, MM_W_N1_B, &y->n1, err) ||
		mm_norm_load(m, l, MM_W_N2, MM_W_N2_B, &y->n2, err) ||
		mm_norm_load(m, l, MM_W_PN1, MM_W_PN1_B, &y->pn1, err) ||
		mm_norm_load(m, l, MM_W_PN2, MM_W_PN2_B, &y->pn2, err) ||
		(mask & MM_L_ATTN && attention_load(m, l, y, err)) || (mask & MM_L_DENSE && ffn_load(m, l, y, err)) ||
		(mask & MM_L_MOE && mm_moe_load(m, l, &y->moe, err)) ||
		(m->fam->own_load && m->fam->own_load(m, l, y, err))) {
		mm_layer_free(m, y);
		return mm_wrap(err, "layer %zu", l);
	}
	if (!h->pre_norm && !h->norm_after_res)
		y->n1.kind = y->n2.kind = MM_NORM_NONE;
	return 0;
}

void mm_layer_free(const struct mm_model *m, struct mm_layer *y)
{
	struct mm_norm *n[] = { &y->n1, &y->n2, &y->pn1, &y->pn2, &y->qn, &y->kn };
	if (m->fam->own_free && y->own)
		m->fam->own_free(y);
	for (size_t i = 0; i < MM_COUNT(n); i++) {
		mm_free(n[i]->w);
		mm_free(n[i]->b);
	}
	mm_lin_free(y->qkv);
	mm_lin_free(y->o);
	mm_lin_free(y->gate_up);
	mm_lin_free(y->up);
	mm_lin_free(y->down);
	mm_moe_free(y->moe);
	mm_free(y->sinks);
	memset(y, 0, sizeof(*y));
}

/* ---- A: q, k, v ---- */

void mm_rope_heads(
	const struct mm_pass *p, const struct mm_layer *y, size_t row, float *x, size_t n_head, size_t d_head)
{
	if (y->hp->rope < 0)
		return;
	size_t k = (size_t)y->hp->rope, d_rot = p->hp->rope[k].d_rot;
	const float *cs = p->cs[k * p->b->n_seq + p->b->seq[row]] + p->b->pos[row] * d_rot;
	for (size_t h = 0; h < n_head; h++)
		mm_rope_row(x + h * d_head, cs, d_rot, p->hp->rope_pair == MM_PAIR_HALF);
}

static void qk_norm(const struct mm_hp *h, const struct mm_norm *n, float *x, size_t n_head)
{
	if (n->kind == MM_NORM_NONE)
		return;
	if (h->qk_norm_full) {
		mm_norm_row(n, x, x, n_head * h->d_head);
		return;
	}
	for (size_t i = 0; i < n_head; i++) {
		struct mm_norm own = *n;
		if (h->qk_norm_heads && n->w)
			own.w = n->w + i * h->d_head;
		if (h->qk_norm_heads && n->b)
			own.b = n->b + i * h->d_head;
		mm_norm_row(&own, x + i * h->d_head, x + i * h->d_head, h->d_head);
	}
}

static void qkv_rows(const struct mm_pass *p, const struct mm_layer *y, size_t row, float *qkv)
{
	const struct mm_hp *h = p->hp;
	for (size_t r = 0; r < MM_TILE; r++) {
		float *q = qkv + r * p->ld_qkv, *k = q + h->dim[MM_D_Q];
		if (!h->qk_norm_late) {
			qk_norm(h, &y->qn, q, h->n_head);
			qk_norm(h, &y->kn, k, h->n_head_kv);
		}
		if (h->clip_qkv > 0)
			mm_clamp_row(q, p->ld_qkv, -(float)h->clip_qkv, (float)h->clip_qkv);
		mm_rope_heads(p, y, row + r, q, h->n_head, h->d_head);
		mm_rope_heads(p, y, row + r, k, h->n_head_kv, h->d_head);
		if (h->qk_norm_late) {
			qk_norm(h, &y->qn, q, h->n_head);
			qk_norm(h, &y->kn, k, h->n_head_kv);
		}
	}
}

/* `src`: the block's input [n_row, n_embd]; normalised here unless `ready` */
static void step_qkv(struct mm_pass *p, const struct mm_layer *y, const float *src, bool ready)
{
	size_t d = p->hp->n_embd;
	struct mm_norm n1 = y->n1;
	if (p->hp->norm_after_res || ready)
		n1.kind = MM_NORM_NONE;
	PAR_TILES
	for (size_t row = 0; row < p->b->n_row; row += MM_TILE) {
		float *in = p->work[omp_get_thread_num()], *qkv = p->qkv + row * p->ld_qkv;
		norm_tile(&n1, src + row * d, in, d);
		if (p->m->fam->qkv_tile) {
			p->m->fam->qkv_tile(p, y, row, in, qkv, in + MM_TILE * d);
		} else {
			mm_lin_tile(y->qkv, in, qkv);
			qkv_rows(p, y, row, qkv);
		}
	}
}

/* ---- B: attention ---- */

static float *alibi_bias(const struct mm_pass *p, size_t head, size_t n, double scale, float *out)
{
	float slope = p->m->alibi[head];
	for (size_t j = 0; j < n; j++) {
		if (p->hp->alibi_bf16) /* slope, position and product each rounded, then scaled; twice */
			out[j] = mm_bf16_to_f32(mm_f32_to_bf16(mm_bf16_to_f32(mm_f32_to_bf16(slope)) *
							       mm_bf16_to_f32(mm_f32_to_bf16((float)j)))) *
				 2 * (float)scale;
		else
			out[j] = slope * (float)j;
	}
	return out;
}

static void step_attention(struct mm_pass *p, const struct mm_layer *y)
{
	const struct mm_hp *h = p->hp;
	size_t group = h->n_head / h->n_head_kv, n_job = p->b->n_seq * h->n_head;
	double scale = y->hp->attn_scale != 0 ? y->hp->attn_scale : h->attn_scale;
	PAR_TILES
	for (size_t job = 0; job < n_job; job++) {
		size_t s = job / h->n_head, head = job % h->n_head, kv = head / group, r0 = p->b->start[s];
		size_t n = p->b->start[s + 1] - r0;
		float *work = p->work[omp_get_thread_num()];
		const float *base = p->qkv + r0 * p->ld_qkv, *k = base + h->dim[MM_D_Q];
		struct mm_attn a = {
			.n = n,
			.d = h->d_head,
			.d_v = h->d_head_v,
			.q = base + head * h->d_head,
			.k = k + kv * h->d_head,
			.v = k + h->dim[MM_D_K] + kv * h->d_head_v,
			.ld_q = p->ld_qkv,
			.ld_k = p->ld_qkv,
			.ld_v = p->ld_qkv,
			.out = p->att + r0 * h->dim[MM_D_O] + head * h->d_head_v,
			.ld_out = h->dim[MM_D_O],
			.scale = (float)scale,
			.cap = (float)h->softcap_attn,
			.window = y->hp->window,
			.sink = y->sinks ? y->sinks + head : NULL,
		};
		if (p->m->alibi)
			a.bias = alibi_bias(p, head, n, scale, work + mm_attn_scratch(n));
		mm_attn_head(&a, work);
	}
}

/* ---- C: output, residuals, feed-forward ---- */

static void ffn_dense(const struct mm_hp *h, const struct mm_layer *y, const float *in, float *out, float *g)
{
	size_t f = h->n_ff;
	if (y->gate_up) {
		mm_lin_tile(y->gate_up, in, g);
		for (size_t r = 0; r < MM_TILE;
			r++) /* in place: row r of the result lies before row r of what is read */
			mm_act_gate(h->act, g + r * 2 * f, g + r * 2 * f + f, g + r * f, f);
	} else {
		mm_lin_tile(y->up, in, g);
		mm_act_row(h->act, g, MM_TILE * f);
	}
	mm_lin_tile(y->down, g, out);
}

/* x += mult * branch, with what the family does to either */
static void residual_tile(
	const struct mm_hp *h, const struct mm_norm *post, const struct mm_norm *after, float *x, float *branch)
{
	size_t d = h->n_embd;
	for (size_t r = 0; r < MM_TILE; r++) {
		if (h->post_norms)
			mm_norm_row(post, branch + r * d, branch + r * d, d);
		mm_axpy_row((float)h->mult_res, branch + r * d, x + r * d, d);
		if (h->norm_after_res)
			mm_norm_row(after, x + r * d, x + r * d, d);
	}
}

/* One tile of C. a: the attention branch [MM_TILE, n_embd], destroyed; NULL: already added. ffn: also do the second
 * half. */
static void block_tile(const struct mm_pass *p, const struct mm_layer *y, size_t row, float *a, bool ffn, float *work)
{
	const struct mm_hp *h = p->hp;
	size_t d = h->n_embd;
	float *x = p->x + row * d, *in = work, *out = in + MM_TILE * d, *g = out + MM_TILE * d;
	const struct mm_norm *n2 = h->shared_norm ? &y->n1 : &y->n2;
	bool parallel = h->block == MM_BLOCK_PARALLEL;
	if (parallel && ffn) /* both branches start from the same x */
		norm_tile(n2, x, in, d);
	if (h->res_from_norm && a)
		norm_tile(&y->n1, x, x, d);
	if (a)
		residual_tile(h, &y->pn1, &y->n1, x, a);
	if (!ffn)
		return;
	if (!parallel && h->norm_after_res)
		memcpy(in, x, MM_TILE * d * sizeof(float));
	else if (!parallel)
		norm_tile(n2, x, in, d);
	if (h->res_from_norm)
		memcpy(x, in, MM_TILE * d * sizeof(float));
	ffn_dense(h, y, in, out, g);
	residual_tile(h, &y->pn2, &y->n2, x, out);
}

static int ffn_experts(struct mm_pass *p, const struct mm_layer *y, const float *in, struct mm_err *err)
{
	const struct mm_hp *h = p->hp;
	size_t d = h->n_embd;
	memset(p->z, 0, p->b->n_row * d * sizeof(float));
	if (mm_moe_run(p, y->moe, in, p->z, 1, err))
		return -1;
	PAR_TILES
	for (size_t row = 0; row < p->b->n_row; row += MM_TILE)
		residual_tile(h, &y->pn2, &y->n2, p->x + row * d, p->z + row * d);
	return 0;
}

int mm_ffn_half(struct mm_pass *p, const struct mm_layer *y, const float *a, struct mm_err *err)
{
	const struct mm_hp *h = p->hp;
	size_t d = h->n_embd;
	bool moe = y->moe != NULL, early = moe && h->block == MM_BLOCK_PARALLEL;
	if (early)
		mm_norm_rows(h->shared_norm ? &y->n1 : &y->n2, p->x, p->y, p->b->n_row, d);
	PAR_TILES
	for (size_t row = 0; row < p->b->n_row; row += MM_TILE) {
		float *work = p->work[omp_get_thread_num()], *t = NULL;
		if (a) {
			t = work;
			memcpy(t, a + row * d, MM_TILE * d * sizeof(float));
			work += MM_TILE * d;
		}
		block_tile(p, y, row, t, !moe, work);
	}
	if (!moe)
		return 0;
	if (!early)
		mm_norm_rows(&y->n2, p->x, p->y, p->b->n_row, d);
	return ffn_experts(p, y, p->y, err);
}

/* ---- blocks ---- */

int mm_attention(struct mm_pass *p, const struct mm_layer *layer, const float *y, float *out, struct mm_err *err)
{
	(void)err;
	step_qkv(p, layer, y, true);
	step_attention(p, layer);
	mm_lin_rows(layer->o, p->b->n_row, p->att, out);
	return 0;
}

static int block_shared(struct mm_pass *p, const struct mm_layer *y, struct mm_err *err)
{
	const struct mm_hp *h = p->hp;
	size_t d = h->n_embd, o = h->dim[MM_D_O];
	bool moe = y->moe != NULL, early = moe && h->block == MM_BLOCK_PARALLEL;
	step_qkv(p, y, p->x, false);
	step_attention(p, y);
	if (early)
		mm_norm_rows(h->shared_norm ? &y->n1 : &y->n2, p->x, p->y, p->b->n_row, d);
	PAR_TILES
	for (size_t row = 0; row < p->b->n_row; row += MM_TILE) {
		float *a = p->work[omp_get_thread_num()];
		mm_lin_tile(y->o, p->att + row * o, a);
		block_tile(p, y, row, a, !moe, a + MM_TILE * d);
	}
	if (!moe)
		return 0;
	if (!early)
		mm_norm_rows(&y->n2, p->x, p->y, p->b->n_row, d);
	return ffn_experts(p, y, p->y, err);
}

int mm_block_run(struct mm_pass *p, const struct mm_layer *y, struct mm_err *err)
{
	const struct mm_family *f = p->m->fam;
	if (f->layer_run)
		return f->layer_run(p, y, err);
	if (!(y->hp->mask & MM_L_OWN))
		return block_shared(p, y, err);
	mm_norm_rows(&y->n1, p->x, p->y, p->b->n_row, p->hp->n_embd);
	if (f->mixer(p, y, p->y, p->z, err))
		return -1;
	if (y->hp->mask & (MM_L_DENSE | MM_L_MOE))
		return mm_ffn_half(p, y, p->z, err);
	PAR_TILES
	for (size_t row = 0; row < p->b->n_row; row += MM_TILE) {
		size_t at = row * p->hp->n_embd;
		residual_tile(p->hp, &y->pn1, &y->n1, p->x + at, p->z + at);
	}
	return 0;
}
