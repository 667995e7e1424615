/* fam_lfm2.c: LFM2 (model_type lfm2): short convolutions in most layers, attention with q/k norms in the others.
 *
 *   conv layer: b, c, u = in_proj(y) in thirds;  out = out_proj(c * conv(b * u))      no activation
 *
 * The config may say the feed-forward width before or after the adjustment (2/3, times a factor, rounded up to a
 * multiple): block_auto_adjust_ff_dim. Older keys: block_ff_dim, theta, tie_embedding, full_attn_idxs. The final norm
 * is called embedding_norm. A GGUF tells conv layers by zeros in its list head_count_kv. Golden-checked.
 */
#include "model/ssm_priv.h"

#include <string.h>

enum { S_TAPS, S_MULTIPLE };	 /* hp->xs */
enum { F_FACTOR };		 /* hp->xf */
enum { B_BIAS, B_ADJUST };	 /* hp->xb */
enum { D_TAPS = MM_D_X0, D_IN }; /* dims */
enum { W_IN = MM_W_X0, W_IN_B, W_CONV, W_CONV_B, W_OUT, W_OUT_B };

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 65536),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 2560),
	MM_SIZE(n_ff, "block_ff_dim|intermediate_size", "feed_forward_length", 12288),
	MM_SIZE(n_head_kv, "num_key_value_heads", NULL, 8),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 128000),
	MM_NUM(norm_eps, "norm_eps", "attention.layer_norm_rms_epsilon", 1e-5),
	MM_NUM(rope_theta, "rope_parameters.rope_theta|theta|rope_theta", "rope.freq_base", 1000000),
	MM_BOOL(tie, "tie_embedding|tie_word_embeddings", NULL, 1),
	MM_ACT(act, NULL, NULL, "silu"),
	MM_SETB(qk_norm, 1),
	MM_SIZE(xs[S_TAPS], "conv_L_cache", "shortconv.l_cache", 3),
	MM_SIZE(xs[S_MULTIPLE], "block_multiple_of", NULL, 256),
	MM_NUM0(xf[F_FACTOR], "block_ffn_dim_multiplier", NULL, 1),
	MM_BOOL(xb[B_BIAS], "conv_bias", NULL, 0),
	MM_BOOL(xb[B_ADJUST], "block_auto_adjust_ff_dim", NULL, 1),
};

#define L(s) "layers.#." s
#define B(s) "blk.#." s
static const struct mm_w_row rows[] = {
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "embedding_norm.weight", "token_embd_norm.weight|output_norm.weight" },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, L("operator_norm.weight"), B("attn_norm.weight") },
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, L("ffn_norm.weight"), B("ffn_norm.weight") },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, MM_L_ATTN, L("self_attn.out_proj.weight"), B("attn_output.weight") },
	{ MM_W_QN, 0, { MM_D_HEAD }, 0, MM_L_ATTN, L("self_attn.q_layernorm.weight"), B("attn_q_norm.weight") },
	{ MM_W_KN, 0, { MM_D_HEAD }, 0, MM_L_ATTN, L("self_attn.k_layernorm.weight"), B("attn_k_norm.weight") },
	{ MM_W_GATE, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, L("feed_forward.w1.weight"), B("ffn_gate.weight") },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, L("feed_forward.w3.weight"), B("ffn_up.weight") },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, L("feed_forward.w2.weight"), B("ffn_down.weight") },
	{ W_IN, 0, { D_IN, MM_D_EMBD }, 0, MM_L_OWN, L("conv.in_proj.weight"), B("shortconv.in_proj.weight") },
	{ W_IN_B, 0, { D_IN }, MM_IF(xb[B_BIAS]), MM_L_OWN, L("conv.in_proj.bias"), NULL },
	{ W_CONV, 0, { MM_D_EMBD, D_TAPS }, 0, MM_L_OWN, L("conv.conv.weight"), B("shortconv.conv.weight") },
	{ W_CONV_B, 0, { MM_D_EMBD }, MM_IF(xb[B_BIAS]), MM_L_OWN, L("conv.conv.bias"), NULL },
	{ W_OUT, 0, { MM_D_EMBD, MM_D_EMBD }, 0, MM_L_OWN, L("conv.out_proj.weight"), B("shortconv.out_proj.weight") },
	{ W_OUT_B, 0, { MM_D_EMBD }, MM_IF(xb[B_BIAS]), MM_L_OWN, L("conv.out_proj.bias"), NULL },
};

/* Is layer l an attention layer? */
static int is_attn(struct mm_setup *s, size_t l, bool *attn, struct mm_err *err)
{
	const json_t *types = s->gguf ? mm_cfg_get(s, "attention.head_count_kv") : mm_cfg_get(s, "layer_types");
	const json_t *idx = s->gguf ? NULL : mm_cfg_get(s, "full_attn_idxs");
	*attn = true;
	if (types && s->gguf && json_is_integer(types))
		return 0;
	if (types) {
		const json_t *j = json_array_get(types, l);
		if (s->gguf && json_is_integer(j)) {
			*attn = json_integer_value(j) > 0;
			return 0;
		}
		const char *t = json_string_value(j);
		if (!t || (strcmp(t, "full_attention") && strcmp(t, "conv")))
			return mm_fail(err, MM_EUNSUPPORTED,
				"%s: the type \"%.40s\" of layer %zu is not supported for lfm2",
				s->gguf ? "GGUF metadata" : "config.json", t ? t : "?", l);
		*attn = !strcmp(t, "full_attention");
		return 0;
	}
	if (!idx)
		return 0;
	*attn = false;
	for (size_t i = 0; i < json_array_size(idx); i++)
		if (json_is_integer(json_array_get(idx, i)) &&
			json_integer_value(json_array_get(idx, i)) == (json_int_t)l)
			*attn = true;
	return 0;
}

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	const json_t *kv = s->gguf ? mm_cfg_get(s, "attention.head_count_kv") : NULL;
	if (s->gguf)
		h->n_head_kv = json_is_integer(kv) && json_integer_value(kv) > 0 ? (size_t)json_integer_value(kv) : 0;
	if (mm_setup_layers(s, err))
		return -1;
	for (size_t l = 0; l < h->n_layer; l++) {
		bool attn;
		if (is_attn(s, l, &attn, err))
			return -1;
		h->layer[l].mask = (attn ? MM_L_ATTN : MM_L_OWN) | MM_L_DENSE;
		const json_t *j = json_array_get(kv, l); /* NULL when kv is no list */
		if (json_is_integer(j) && json_integer_value(j) > 0)
			h->n_head_kv = (size_t)json_integer_value(j);
	}
	if (!s->gguf && h->xb[B_ADJUST]) {
		size_t m = h->xs[S_MULTIPLE], f = (size_t)(2.0 * (double)h->n_ff / 3.0);
		if (m < 1 || m > (size_t)1 << 20 || !(h->xf[F_FACTOR] >= 0 && h->xf[F_FACTOR] < 1024))
			return mm_fail(err, MM_EFORMAT,
				"config.json: block_multiple_of is %zu, block_ffn_dim_multiplier %g", m,
				h->xf[F_FACTOR]);
		if (h->xf[F_FACTOR] != 0) /* null: neither factor nor rounding */
			f = ((size_t)(h->xf[F_FACTOR] * (double)f) + m - 1) / m * m;
		h->n_ff = f;
	}
	if (h->xs[S_TAPS] < 1 || h->xs[S_TAPS] > 1024)
		return mm_fail(err, MM_EFORMAT, "a convolution of %zu taps, expected 1 to 1024", h->xs[S_TAPS]);
	h->dim[D_TAPS] = h->xs[S_TAPS];
	h->dim[D_IN] = 3 * h->n_embd;
	h->own_row = 4 * h->n_embd;
	return 0;
}

struct conv {
	struct mm_lin *in, *out;
	float *w, *b;
};

static void own_free(struct mm_layer *layer)
{
	struct conv *o = layer->own;
	if (!o)
		return;
	mm_lin_free(o->in);
	mm_lin_free(o->out);
	mm_free(o->w);
	mm_free(o->b);
	mm_free(o);
	layer->own = NULL;
}

static int own_load(const struct mm_model *m, size_t l, struct mm_layer *layer, struct mm_err *err)
{
	if (!(m->hp.layer[l].mask & MM_L_OWN))
		return 0;
	struct conv *o = layer->own = mm_calloc(1, sizeof(*o), err);
	const struct mm_lin_part in = { (enum mm_slot)W_IN, (enum mm_slot)W_IN_B, 0, 0, 1, 1 };
	const struct mm_lin_part out = { (enum mm_slot)W_OUT, (enum mm_slot)W_OUT_B, 0, 0, 1, 1 };
	if (!o || !(o->in = mm_lin_parts(m, l, &in, 1, mm_lin_type(m), err)) ||
		!(o->out = mm_lin_parts(m, l, &out, 1, mm_lin_type(m), err)) ||
		mm_conv_load(m, l, (enum mm_slot)W_CONV, m->hp.n_embd, m->hp.xs[S_TAPS], &o->w, err) ||
		mm_w_vec(m, l, (enum mm_slot)W_CONV_B, &o->b, err))
		return -1;
	layer->n_byte += mm_lin_bytes(o->in) + mm_lin_bytes(o->out);
	return 0;
}

static int mixer(struct mm_pass *p, const struct mm_layer *layer, const float *y, float *out, struct mm_err *err)
{
	const struct conv *o = layer->own;
	size_t n_row = p->b->n_row, d = p->hp->n_embd;
	float *at = mm_pass_mix(p, n_row * 4 * d + MM_PART_SLACK, err);
	if (!at)
		return -1;
	float *bcu = mm_part(&at, n_row * 3 * d), *z = mm_part(&at, n_row * d);
	mm_lin_rows(o->in, n_row, y, bcu);
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < n_row; r++) {
		float *b = bcu + r * 3 * d, *u = b + 2 * d;
		for (size_t i = 0; i < d; i++)
			b[i] *= u[i];
	}
	mm_conv_rows(p, bcu, 3 * d, o->w, o->b, p->hp->xs[S_TAPS], d, MM_ACT_NONE, z, d);
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < n_row; r++) {
		const float *c = bcu + r * 3 * d + d;
		for (size_t i = 0; i < d; i++)
			z[r * d + i] *= c[i];
	}
	mm_lin_rows(o->out, n_row, z, out);
	return 0;
}

const struct mm_family mm_fam_lfm2 = {
	.name = "lfm2",
	.model_types = MM_LIST("lfm2"),
	.archs = MM_LIST("Lfm2ForCausalLM", "LFM2ForCausalLM"),
	.gguf_archs = MM_LIST("lfm2"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, rows),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.proof = "golden",
	.setup = setup,
	.own_load = own_load,
	.own_free = own_free,
	.mixer = mixer,
};
