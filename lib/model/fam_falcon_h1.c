/* fam_falcon_h1.c: Falcon-H1 (model_type falcon_h1): attention and a Mamba-2 mixer side by side in every block, then a
 * gated MLP.
 *
 *   y = n1(x);  x += m_ssm mamba2(y) + m_attn attention(m_in y)
 *   y = n2(x);  x += m_down down(act(m_gate gate(y)) * up(y))
 *
 * Keys are also multiplied by key_multiplier, the parts of the input projection by ssm_in_multiplier and
 * ssm_multipliers (z, x, B, C, dt), embeddings and logits by their multipliers. Where nothing nonlinear stands between,
 * factors go into weights when they are read; the GGUF converter did the same, so its files have none left. Arithmetic
 * of the mixer in mix_mamba2.c. Golden-checked. */
#include "model/ssm_priv.h"

#include <math.h>
#include <string.h>

enum { /* own numbers in hp->xf */
	M_ATTN_IN = MM_SSM_NUM_END,
	M_ATTN_OUT,
	M_KEY,
	M_GATE,
	M_DOWN,
};

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 128000),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 14336),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 8192),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 8),
	MM_NUM(norm_eps, "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-5),
	MM_NUM(rope_theta, "rope_parameters.rope_theta|rope_theta", "rope.freq_base", 100000),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
	MM_BOOL(bias_ffn, "mlp_bias", NULL, 0),
	MM_NUM(mult_embd, "embedding_multiplier", NULL, 1),
	MM_NUM(mult_logit, "lm_head_multiplier", NULL, 1),
	MM_SIZE0(xs[MM_SSM_INNER], "mamba_d_ssm", "ssm.inner_size", 1024),
	MM_SIZE(xs[MM_SSM_STATE], "mamba_d_state", "ssm.state_size", 256),
	MM_SIZE(xs[MM_SSM_TAPS], "mamba_d_conv", "ssm.conv_kernel", 4),
	MM_SIZE(xs[MM_SSM_HEADS], "mamba_n_heads", "ssm.time_step_rank", 128),
	MM_SIZE(xs[MM_SSM_GROUPS], "mamba_n_groups", "ssm.group_count", 1),
	MM_NUM(xf[MM_SSM_EXPAND], "mamba_expand", NULL, 2),
	MM_SET(xf[MM_SSM_DT_MAX], (double)INFINITY),
	MM_NUM(xf[MM_SSM_M_OUT], "ssm_out_multiplier", NULL, 1),
	MM_NUM(xf[MM_SSM_M_IN], "ssm_in_multiplier", NULL, 1),
	MM_NUM(xf[M_ATTN_IN], "attention_in_multiplier", NULL, 1),
	MM_NUM(xf[M_ATTN_OUT], "attention_out_multiplier", NULL, 1),
	MM_NUM(xf[M_KEY], "key_multiplier", NULL, 1),
	MM_BOOL(xb[MM_SSM_BIAS_IN], "mamba_proj_bias", NULL, 0),
	MM_BOOL(xb[MM_SSM_BIAS_OUT], "projectors_bias", NULL, 0),
	MM_BOOL(xb[MM_SSM_BIAS_CONV], "mamba_conv_bias", NULL, 1),
	MM_BOOL(xb[MM_SSM_NORM], "mamba_rms_norm", NULL, 0),
	MM_BOOL(xb[MM_SSM_NORM_FIRST], "mamba_norm_before_gate", NULL, 1),
	MM_SETB(xb[MM_SSM_NORM_GROUPS], 1),
};

static const struct mm_w_row rows[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "embed_tokens.weight", "token_embd.weight" },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "final_layernorm.weight", "output_norm.weight" },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^lm_head.weight", "output.weight" },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, "layers.#.input_layernorm.weight", "blk.#.attn_norm.weight" },
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, "layers.#.pre_ff_layernorm.weight", "blk.#.ffn_norm.weight" },
	{ MM_W_Q, 0, { MM_D_Q, MM_D_EMBD }, 0, 0, "layers.#.self_attn.q_proj.weight", "blk.#.attn_q.weight" },
	{ MM_W_K, 0, { MM_D_K, MM_D_EMBD }, 0, 0, "layers.#.self_attn.k_proj.weight", "blk.#.attn_k.weight" },
	{ MM_W_V, 0, { MM_D_V, MM_D_EMBD }, 0, 0, "layers.#.self_attn.v_proj.weight", "blk.#.attn_v.weight" },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, 0, "layers.#.self_attn.o_proj.weight", "blk.#.attn_output.weight" },
	{ MM_W_Q_B, 0, { MM_D_Q }, MM_IF(bias_qkv), 0, "layers.#.self_attn.q_proj.bias", "blk.#.attn_q.bias" },
	{ MM_W_K_B, 0, { MM_D_K }, MM_IF(bias_qkv), 0, "layers.#.self_attn.k_proj.bias", "blk.#.attn_k.bias" },
	{ MM_W_V_B, 0, { MM_D_V }, MM_IF(bias_qkv), 0, "layers.#.self_attn.v_proj.bias", "blk.#.attn_v.bias" },
	{ MM_W_O_B, 0, { MM_D_EMBD }, MM_IF(bias_o), 0, "layers.#.self_attn.o_proj.bias", "blk.#.attn_output.bias" },
	{ MM_W_GATE, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, "layers.#.feed_forward.gate_proj.weight",
		"blk.#.ffn_gate.weight" },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, "layers.#.feed_forward.up_proj.weight", "blk.#.ffn_up.weight" },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, "layers.#.feed_forward.down_proj.weight",
		"blk.#.ffn_down.weight" },
	{ MM_W_GATE_B, 0, { MM_D_FF }, MM_IF(bias_ffn), 0, "layers.#.feed_forward.gate_proj.bias",
		"blk.#.ffn_gate.bias" },
	{ MM_W_UP_B, 0, { MM_D_FF }, MM_IF(bias_ffn), 0, "layers.#.feed_forward.up_proj.bias", "blk.#.ffn_up.bias" },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, MM_IF(bias_ffn), 0, "layers.#.feed_forward.down_proj.bias",
		"blk.#.ffn_down.bias" },
	MM_MAMBA2_ROWS("layers.#.mamba."),
};

/* `n` factors of a list into xf[at[..]]; an absent or null list leaves ones. */
static int factors(struct mm_setup *s, const char *key, const int *at, size_t n, struct mm_err *err)
{
	const json_t *a = s->gguf ? NULL : mm_cfg_get(s, key);
	if (a && (!json_is_array(a) || json_array_size(a) < n))
		return mm_fail(err, MM_EFORMAT, "config.json: %s is not a list of %zu numbers", key, n);
	for (size_t i = 0; i < n; i++) {
		const json_t *j = a ? json_array_get(a, i) : NULL;
		if (j && !json_is_number(j))
			return mm_fail(err, MM_EFORMAT, "config.json: %s[%zu] is not a number", key, i);
		s->hp->xf[at[i]] = j ? json_number_value(j) : 1;
	}
	return 0;
}

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	static const int ssm[] = { MM_SSM_M_Z, MM_SSM_M_X, MM_SSM_M_B, MM_SSM_M_C, MM_SSM_M_DT },
			 mlp[] = { M_GATE, M_DOWN };
	const json_t *d = s->gguf ? NULL : mm_cfg_get(s, "mamba_d_head");
	if (json_is_integer(d) && json_integer_value(d) > 0)
		h->xs[MM_SSM_HEAD] = (size_t)json_integer_value(d);
	else if (d && !(json_is_string(d) && !strcmp(json_string_value(d), "auto")))
		return mm_fail(err, MM_EFORMAT, "config.json: mamba_d_head is neither a number above 0 nor \"auto\"");
	if (s->gguf) {
		h->xb[MM_SSM_NORM] = s->ck && mm_ckpt_find(s->ck, "blk.0.ssm_norm.weight");
		h->xb[MM_SSM_NORM_FIRST] = false;
	}
	/* version 4 of the reference does not read time_step_limit; a version-5 config is told by its rope_parameters
	 */
	if (!s->gguf && mm_cfg_get(s, "rope_parameters") && mm_mamba2_limits(s, err))
		return -1;
	if (factors(s, "ssm_multipliers", ssm, MM_COUNT(ssm), err) ||
		factors(s, "mlp_multipliers", mlp, MM_COUNT(mlp), err) || mm_mamba2_setup(s, err) ||
		mm_setup_layers(s, err))
		return -1;
	h->own_row = MM_MAX(h->own_row, 2 * h->n_embd);
	for (size_t l = 0; l < h->n_layer; l++)
		h->layer[l].mask = MM_L_OWN | MM_L_ATTN | MM_L_DENSE;
	size_t dh = h->d_head ? h->d_head : h->n_head ? h->n_embd / h->n_head : 1;
	h->attn_scale = h->xf[M_KEY] / sqrt((double)MM_MAX(dh, (size_t)1));
	return 0;
}

/* The MLP again, with its factors. */
static int load(const struct mm_model *m, size_t l, struct mm_layer *layer, struct mm_err *err)
{
	const double *f = m->hp.xf;
	if (mm_mamba2_load(m, l, layer, err))
		return -1;
	if (f[M_GATE] == 1 && f[M_DOWN] == 1)
		return 0;
	const struct mm_lin_part gate_up[] = { { MM_W_GATE, MM_W_GATE_B, 0, 0, f[M_GATE], f[M_GATE] },
		{ MM_W_UP, MM_W_UP_B, 0, 0, 1, 1 } };
	const struct mm_lin_part down = { MM_W_DOWN, MM_W_DOWN_B, 0, 0, f[M_DOWN], f[M_DOWN] };
	mm_lin_free(layer->gate_up);
	mm_lin_free(layer->down);
	layer->down = NULL;
	layer->gate_up = mm_lin_parts(m, l, gate_up, 2, mm_lin_type(m), err);
	if (layer->gate_up)
		layer->down = mm_lin_parts(m, l, &down, 1, mm_lin_type(m), err);
	return layer->down ? 0 : -1;
}

static int mixer(struct mm_pass *p, const struct mm_layer *layer, const float *y, float *out, struct mm_err *err)
{
	size_t d = p->hp->n_embd, n_row = p->b->n_row;
	float in = (float)p->hp->xf[M_ATTN_IN], mult = (float)p->hp->xf[M_ATTN_OUT];
	if (mm_mamba2_mixer(p, layer, y, out, err))
		return -1;
	float *at = mm_pass_mix(p, 2 * n_row * d + MM_PART_SLACK, err); /* the mixer is done with it */
	if (!at)
		return -1;
	float *scaled = mm_part(&at, n_row * d), *a = mm_part(&at, n_row * d);
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < n_row; r++)
		for (size_t i = 0; i < d; i++)
			scaled[r * d + i] = y[r * d + i] * in;
	if (mm_attention(p, layer, scaled, a, err))
		return -1;
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < n_row; r++)
		mm_axpy_row(mult, a + r * d, out + r * d, d);
	return 0;
}

const struct mm_family mm_fam_falcon_h1 = {
	.name = "falcon_h1",
	.model_types = MM_LIST("falcon_h1"),
	.archs = MM_LIST("FalconH1ForCausalLM"),
	.gguf_archs = MM_LIST("falcon-h1"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, rows),
	.proof = "golden",
	.setup = setup,
	.own_load = load,
	.own_free = mm_mamba2_free,
	.mixer = mixer,
};
