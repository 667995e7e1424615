/* fam_falcon_mamba.c: Falcon-Mamba (model_type falcon_mamba): Mamba whose B, C and dt go through RMS norms without
 * weights, with an eps of their own (mixer_rms_eps). Arithmetic in mix_mamba.c; golden-checked. Its GGUF
 * calls itself mamba. */
#include "model/ssm_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", NULL, 50280),
	MM_SIZE(n_embd, "hidden_size", NULL, 768),
	MM_SIZE(n_head, NULL, NULL, 0),
	MM_SIZE(n_head_kv, NULL, NULL, 0),
	MM_SIZE(d_head, NULL, NULL, 0),
	MM_SIZE(d_head_v, NULL, NULL, 0),
	MM_SIZE(d_rot, NULL, NULL, 0),
	MM_SET(rot_frac, 0),
	MM_SIZE(n_ff, NULL, NULL, 0),
	MM_NUM(norm_eps, "layer_norm_epsilon", NULL, 1e-5),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
	MM_SIZE0(xs[MM_SSM_INNER], "intermediate_size", NULL, 0),
	MM_SIZE(xs[MM_SSM_STATE], "state_size", NULL, 16),
	MM_SIZE(xs[MM_SSM_TAPS], "conv_kernel", NULL, 4),
	MM_NUM(xf[MM_SSM_EXPAND], "expand", NULL, 2),
	MM_NUM(xf[MM_SSM_EPS], "mixer_rms_eps", NULL, 1e-6),
	MM_BOOL(xb[MM_SSM_BIAS_IN], "use_bias", NULL, 0),
	MM_BOOL(xb[MM_SSM_BIAS_OUT], "use_bias", NULL, 0),
	MM_BOOL(xb[MM_SSM_BIAS_CONV], "use_conv_bias", NULL, 1),
	MM_SETB(xb[MM_SSM_NORM_BCDT], 1),
};

static const struct mm_w_row rows[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "embeddings.weight", NULL },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "norm_f.weight", NULL },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^lm_head.weight", NULL },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, "layers.#.norm.weight", NULL },
	MM_MAMBA_ROWS("layers.#.mixer."),
};

static const struct mm_prefix prefixes[] = { { "backbone.", "" }, { "", "" }, { NULL, NULL } };

const struct mm_family mm_fam_falcon_mamba = {
	.name = "falcon_mamba",
	.model_types = MM_LIST("falcon_mamba"),
	.archs = MM_LIST("FalconMambaForCausalLM"),
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
