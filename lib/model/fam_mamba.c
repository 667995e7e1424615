/* fam_mamba.c: Mamba (model_type mamba), state-spaces/mamba-*-hf. Arithmetic in mix_mamba.c; golden-checked.
 *
 * intermediate_size in the file wins over expand * hidden_size, as in the reference. time_step_scale and
 * residual_in_fp32 have no effect on the numbers. The embedding's first name in older files is "embedding". A GGUF of
 * architecture mamba may be a Falcon-Mamba: ssm.dt_b_c_rms tells; the eps of those norms is not stored (1e-6 in all
 * published files). */
#include "model/ssm_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 50280),
	MM_SIZE(n_embd, "hidden_size|d_model", "embedding_length", 768),
	MM_SIZE(n_head, NULL, NULL, 0),
	MM_SIZE(n_head_kv, NULL, NULL, 0),
	MM_SIZE(d_head, NULL, NULL, 0),
	MM_SIZE(d_head_v, NULL, NULL, 0),
	MM_SIZE(d_rot, NULL, NULL, 0),
	MM_SET(rot_frac, 0),
	MM_SIZE(n_ff, NULL, NULL, 0),
	MM_NUM(norm_eps, "layer_norm_epsilon", "attention.layer_norm_rms_epsilon", 1e-5),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
	MM_SIZE0(xs[MM_SSM_INNER], "intermediate_size", "ssm.inner_size", 0),
	MM_SIZE(xs[MM_SSM_STATE], "state_size", "ssm.state_size", 16),
	MM_SIZE(xs[MM_SSM_TAPS], "conv_kernel", "ssm.conv_kernel", 4),
	MM_NUM(xf[MM_SSM_EXPAND], "expand", NULL, 2),
	MM_NUM(xf[MM_SSM_EPS], NULL, NULL, 1e-6),
	MM_BOOL(xb[MM_SSM_BIAS_IN], "use_bias", NULL, 0),
	MM_BOOL(xb[MM_SSM_BIAS_OUT], "use_bias", NULL, 0),
	MM_BOOL(xb[MM_SSM_BIAS_CONV], "use_conv_bias", NULL, 1),
	MM_BOOL(xb[MM_SSM_NORM_BCDT], NULL, "ssm.dt_b_c_rms", 0),
};

static const struct mm_w_row rows[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "embeddings.weight|embedding.weight", "token_embd.weight" },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "norm_f.weight", "output_norm.weight" },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^lm_head.weight", "output.weight" },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, "layers.#.norm.weight", "blk.#.attn_norm.weight" },
	MM_MAMBA_ROWS("layers.#.mixer."),
};

static const struct mm_prefix prefixes[] = { { "backbone.", "" }, { "model.backbone.", "model." }, { "", "" },
	{ NULL, NULL } };

const struct mm_family mm_fam_mamba = {
	.name = "mamba",
	.model_types = MM_LIST("mamba"),
	.archs = MM_LIST("MambaForCausalLM"),
	.gguf_archs = MM_LIST("mamba"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, rows),
	.prefixes = prefixes,
	.proof = "golden",
	.setup = mm_mamba_setup,
	.own_load = mm_mamba_load,
	.own_free = mm_mamba_free,
	.mixer = mm_mamba_mixer,
	.recurrent = true,
};
