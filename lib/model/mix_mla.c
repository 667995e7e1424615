/* mix_mla.c: multi-head latent attention, unfolded: queries, keys and values of all heads are made from the latent
 * vectors, then the driver attends as usual.
 *
 *   a      = [q_a | kv_a](y)                    queries without a rank come straight from y
 *   q      = q_b(rms(q_a))                      per head: nope part, rope part
 *   k, v   = kv_b(rms(kv_a[0..rank)))           per head: nope part of k, then v
 *   rope part of k = kv_a[rank..], one for all heads
 *
 * In the rows for the driver each head of q and k has its rope part first: products do not care, and the rotation then
 * is that of partial rotary heads. The two latent norms have eps 1e-6 whatever the config says, as in the reference. */
#include "model/mla_priv.h"

#include <math.h>
#include <string.h>

#define LATENT_EPS 1e-6f

struct mla {
	struct mm_lin *a;  /* [(q rank) + kv rank + rope, n_embd] */
	struct mm_lin *q;  /* heads' rows sorted rope, nope; input: q_a or y */
	struct mm_lin *kv; /* [heads * (nope + v), kv rank] */
	float *q_norm, *kv_norm;
};

int mm_mla_setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	const size_t *x = h->xs;
	size_t rope = x[MM_MLA_ROPE], nope = x[MM_MLA_NOPE], rank = x[MM_MLA_KV_RANK];
	if (!rank || rank > (size_t)1 << 20 || x[MM_MLA_Q_RANK] > (size_t)1 << 20 || nope > 65536 || rope > 65536 ||
		rope % 2 || h->d_head_v < 1 || h->d_head_v > 65536 || h->n_head < 1 || h->n_head > 65536)
		return mm_fail(err, MM_EFORMAT,
			"latent attention with rank %zu, %zu heads of %zu + %zu and values of %zu", rank, h->n_head,
			nope, rope, h->d_head_v);
	h->n_head_kv = h->n_head;
	h->d_head = nope + rope;
	h->d_rot = rope;
	h->xb[MM_MLA_HAS_Q_RANK] = x[MM_MLA_Q_RANK] > 0;
	h->xb[MM_MLA_Q_BIAS] = x[MM_MLA_Q_RANK] > 0 && h->bias_o;
	h->xb[MM_MLA_NO_Q_RANK] = x[MM_MLA_Q_RANK] == 0;
	h->xb[MM_MLA_SPLIT_KV] = s->gguf && s->ck && mm_ckpt_find(s->ck, "blk.0.attn_k_b.weight");
	h->xb[MM_MLA_WHOLE_KV] = !h->xb[MM_MLA_SPLIT_KV];
	h->dim[MM_D_MLA_Q_RANK] = x[MM_MLA_Q_RANK];
	h->dim[MM_D_MLA_KV_RANK] = rank;
	h->dim[MM_D_MLA_KV_A] = rank + rope;
	h->dim[MM_D_MLA_KV_B] = h->n_head * (nope + h->d_head_v);
	h->dim[MM_D_MLA_NOPE] = nope;
	h->dim[MM_D_MLA_V] = h->d_head_v;
	size_t q = h->n_head * h->d_head;
	h->scratch = MM_TILE * (x[MM_MLA_Q_RANK] + rank + rope + MM_MAX(x[MM_MLA_Q_RANK], rank) +
				       MM_MAX(h->dim[MM_D_MLA_KV_B], q));
	return 0;
}

int mm_mla_experts(struct mm_setup *s, size_t first_dense, size_t n_shared, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	if (mm_setup_layers(s, err))
		return -1;
	if (!mm_mul(n_shared, h->n_ff_expert, &h->n_ff_shared))
		return mm_fail(err, MM_EFORMAT, "%zu shared experts are too many", n_shared);
	for (size_t l = 0; l < h->n_layer; l++)
		h->layer[l].mask = MM_L_ATTN | (l < first_dense || !h->n_expert ? MM_L_DENSE : MM_L_MOE);
	if (h->n_group > 1 && (h->n_group > 256 || !h->n_expert || h->n_expert % h->n_group || h->n_group_used < 1 ||
				      h->n_group_used > h->n_group ||
				      h->n_group_used * (h->n_expert / h->n_group) < h->n_expert_used))
		return mm_fail(err, MM_EFORMAT, "%zu experts in %zu groups, %zu experts of %zu groups used",
			h->n_expert, h->n_group, h->n_expert_used, h->n_group_used);
	return 0;
}

void mm_mla_free(struct mm_layer *layer)
{
	struct mla *o = layer->own;
	if (!o)
		return;
	mm_lin_free(o->a);
	mm_lin_free(o->q);
	mm_lin_free(o->kv);
	mm_free(o->q_norm);
	mm_free(o->kv_norm);
	mm_free(o);
	layer->own = NULL;
}

/* Each head's rows: rope first. */
static struct mm_lin *load_q(const struct mm_model *m, size_t l, struct mm_err *err)
{
	const struct mm_hp *h = &m->hp;
	size_t nope = h->xs[MM_MLA_NOPE], rope = h->xs[MM_MLA_ROPE];
	enum mm_slot slot = h->xs[MM_MLA_Q_RANK] ? (enum mm_slot)MM_W_MLA_QB : MM_W_Q;
	struct mm_lin_part *part = mm_calloc(2 * h->n_head, sizeof(*part), err);
	size_t n = 0;
	if (!part)
		return NULL;
	for (size_t i = 0; i < h->n_head; i++) {
		if (rope)
			part[n++] = (struct mm_lin_part){ slot, MM_W_COUNT, i * (nope + rope) + nope, rope, 1, 1 };
		if (nope)
			part[n++] = (struct mm_lin_part){ slot, MM_W_COUNT, i * (nope + rope), nope, 1, 1 };
	}
	struct mm_lin *lin = mm_lin_parts(m, l, part, n, mm_lin_type(m), err);
	mm_free(part);
	return lin;
}

/* attn_k_b [heads, rank, nope] (transposed) and attn_v_b [heads, v, rank] as one [heads * (nope + v), rank]. */
static struct mm_lin *load_kv_split(const struct mm_model *m, size_t l, struct mm_err *err)
{
	const struct mm_hp *h = &m->hp;
	size_t nope = h->xs[MM_MLA_NOPE], r = h->xs[MM_MLA_KV_RANK], v = h->d_head_v, per = nope + v;
	float *k = NULL, *w = NULL, *all = mm_calloc(h->n_head * per * r, sizeof(float), err);
	struct mm_lin *lin = NULL;
	if (!all || mm_w_all(m, l, (enum mm_slot)MM_W_MLA_KB, &k, err) ||
		mm_w_all(m, l, (enum mm_slot)MM_W_MLA_VB, &w, err))
		goto out;
	for (size_t i = 0; i < h->n_head; i++) {
		float *to = all + i * per * r;
		for (size_t j = 0; j < nope; j++)
			for (size_t c = 0; c < r; c++)
				to[j * r + c] = k[(i * r + c) * nope + j];
		memcpy(to + nope * r, w + i * v * r, v * r * sizeof(float));
	}
	lin = mm_lin_new(h->n_head * per, r, all, NULL, mm_lin_type(m), err);
out:
	mm_free(k);
	mm_free(w);
	mm_free(all);
	return lin;
}

int mm_mla_load(const struct mm_model *m, size_t l, struct mm_layer *layer, struct mm_err *err)
{
	const struct mm_hp *h = &m->hp;
	struct mla *o = layer->own = mm_calloc(1, sizeof(*o), err);
	const struct mm_lin_part a[] = {
		{ (enum mm_slot)MM_W_MLA_QA, (enum mm_slot)MM_W_MLA_QA_B, 0, 0, 1, 1 },
		{ (enum mm_slot)MM_W_MLA_KVA, (enum mm_slot)MM_W_MLA_KVA_B, 0, 0, 1, 1 },
	};
	const struct mm_lin_part kv = { (enum mm_slot)MM_W_MLA_KVB, MM_W_COUNT, 0, 0, 1, 1 };
	bool has = h->xs[MM_MLA_Q_RANK] > 0;
	enum mm_dtype type = mm_lin_type(m);
	if (!o || !(o->a = mm_lin_parts(m, l, has ? a : a + 1, has ? 2 : 1, type, err)) ||
		!(o->q = load_q(m, l, err)) ||
		!(o->kv = h->xb[MM_MLA_SPLIT_KV] ? load_kv_split(m, l, err) : mm_lin_parts(m, l, &kv, 1, type, err)) ||
		mm_w_vec(m, l, (enum mm_slot)MM_W_MLA_QA_N, &o->q_norm, err) ||
		mm_w_vec(m, l, (enum mm_slot)MM_W_MLA_KVA_N, &o->kv_norm, err))
		return -1;
	layer->n_byte += mm_lin_bytes(o->a) + mm_lin_bytes(o->q) + mm_lin_bytes(o->kv);
	return 0;
}

void mm_mla_qkv_tile(
	const struct mm_pass *p, const struct mm_layer *layer, size_t row, const float *y, float *qkv, float *scratch)
{
	const struct mm_hp *h = p->hp;
	const struct mla *o = layer->own;
	size_t qr = h->xs[MM_MLA_Q_RANK], kr = h->xs[MM_MLA_KV_RANK], nope = h->xs[MM_MLA_NOPE],
	       rope = h->xs[MM_MLA_ROPE];
	size_t n = h->n_head, d = h->d_head, v = h->d_head_v, ld = qr + kr + rope;
	float *a = scratch, *dense = a + MM_TILE * ld, *wide = dense + MM_TILE * MM_MAX(qr, kr);
	mm_lin_tile(o->a, y, a);
	for (size_t r = 0; qr && r < MM_TILE; r++)
		mm_rms_row(a + r * ld, o->q_norm, LATENT_EPS, dense + r * qr, qr);
	mm_lin_tile(o->q, qr ? dense : y, wide);
	for (size_t r = 0; r < MM_TILE; r++) {
		float *q = qkv + r * p->ld_qkv;
		memcpy(q, wide + r * n * d, n * d * sizeof(float));
		mm_rope_heads(p, layer, row + r, q, n, d);
		mm_rms_row(a + r * ld + qr, o->kv_norm, LATENT_EPS, dense + r * kr, kr);
		mm_rope_heads(p, layer, row + r, a + r * ld + qr + kr, 1, rope);
	}
	mm_lin_tile(o->kv, dense, wide);
	for (size_t r = 0; r < MM_TILE; r++) {
		float *k = qkv + r * p->ld_qkv + n * d, *val = k + n * d;
		const float *rot = a + r * ld + qr + kr, *kv = wide + r * n * (nope + v);
		for (size_t i = 0; i < n; i++) {
			memcpy(k + i * d, rot, rope * sizeof(float));
			memcpy(k + i * d + rope, kv + i * (nope + v), nope * sizeof(float));
			memcpy(val + i * v, kv + i * (nope + v) + nope, v * sizeof(float));
		}
	}
}
