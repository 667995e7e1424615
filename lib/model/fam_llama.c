/* fam_llama.c: Llama 1, 2, 3 and everything published in its format (Yi, DeepSeek-LLM, SOLAR, Vicuna, SmolLM...).
 *
 * Pre-norm RMS, rotary halves, grouped heads, gated SiLU. pretraining_tp only cuts the same products into slices. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
	MM_BOOL(bias_ffn, "mlp_bias", NULL, 0),
};

const struct mm_family mm_fam_llama = {
	.name = "llama",
	.model_types = MM_LIST("llama"),
	.archs = MM_LIST("LlamaForCausalLM", "LLaMAForCausalLM"),
	.gguf_archs = NULL, /* GGUF llama may be mixtral: fam_mixtral.c takes both */
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.gguf_quirks = MM_GGUF_ROPE_ADJACENT,
	.proof = "golden",
};
