/* fam_mamba2.c: Mamba-2 (model_type mamba2), state-spaces/mamba2-*, Mamba-Codestral. Arithmetic in mix_mamba2.c;
 * golden-checked.
 *
 * rms_norm, norm_before_gate and residual_in_fp32 have no effect in the reference: the gated norm is always there and
 * spans all channels. The activation is the convolution's; the gate is always SiLU. */
#include "model/ssm_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 32768),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 64),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 4096),
	MM_SIZE(n_head, NULL, NULL, 0),
	MM_SIZE(n_head_kv, NULL, NULL, 0),
	MM_SIZE(d_head, NULL, NULL, 0),
	MM_SIZE(d_head_v, NULL, NULL, 0),
	MM_SIZE(d_rot, NULL, NULL, 0),
	MM_SET(rot_frac, 0),
	MM_SIZE(n_ff, NULL, NULL, 0),
	MM_NUM(norm_eps, "layer_norm_epsilon", "attention.layer_norm_rms_epsilon", 1e-5),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 0),
	MM_SIZE(xs[MM_SSM_INNER], NULL, "ssm.inner_size", 0),
	MM_SIZE(xs[MM_SSM_STATE], "state_size", "ssm.state_size", 128),
	MM_SIZE(xs[MM_SSM_TAPS], "conv_kernel", "ssm.conv_kernel", 4),
	MM_SIZE(xs[MM_SSM_HEADS], "num_heads", "ssm.time_step_rank", 128),
	MM_SIZE(xs[MM_SSM_HEAD], "head_dim", NULL, 0),
	MM_SIZE(xs[MM_SSM_GROUPS], "n_groups", "ssm.group_count", 8),
	MM_NUM(xf[MM_SSM_EXPAND], "expand", NULL, 2),
	MM_BOOL(xb[MM_SSM_BIAS_IN], "use_bias", NULL, 0),
	MM_BOOL(xb[MM_SSM_BIAS_OUT], "use_bias", NULL, 0),
	MM_BOOL(xb[MM_SSM_BIAS_CONV], "use_conv_bias", NULL, 1),
	MM_SETB(xb[MM_SSM_NORM], 1),
};

static const struct mm_w_row rows[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "embeddings.weight|embedding.weight", "token_embd.weight" },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "norm_f.weight", "output_norm.weight" },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^lm_head.weight", "output.weight" },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, "layers.#.norm.weight", "blk.#.attn_norm.weight" },
	MM_MAMBA2_ROWS("layers.#.mixer."),
};

static const struct mm_prefix prefixes[] = { { "backbone.", "" }, { "model.backbone.", "model." }, { "", "" },
	{ NULL, NULL } };

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	if (!s->gguf && !h->xs[MM_SSM_HEAD])
		h->xs[MM_SSM_HEAD] = 64; /* the reference's default */
	h->xb[MM_SSM_NORM_GROUPS] = s->gguf != NULL;
	if (mm_mamba2_limits(s, err) || mm_setup_layers(s, err) || mm_mamba2_setup(s, err))
		return -1;
	for (size_t l = 0; l < h->n_layer; l++)
		h->layer[l].mask = MM_L_OWN;
	return 0;
}

const struct mm_family mm_fam_mamba2 = {
	.name = "mamba2",
	.model_types = MM_LIST("mamba2"),
	.archs = MM_LIST("Mamba2ForCausalLM"),
	.gguf_archs = MM_LIST("mamba2"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, rows),
	.prefixes = prefixes,
	.proof = "golden",
	.setup = setup,
	.own_load = mm_mamba2_load,
	.own_free = mm_mamba2_free,
	.mixer = mm_mamba2_mixer,
	.recurrent = true,
};
