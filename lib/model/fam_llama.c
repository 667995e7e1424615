/* fam_llama.c: Llama 1, 2, 3 and everything published in its format (Yi, DeepSeek-LLM, SOLAR, Vicuna, SmolLM...).
 *
 * Pre-norm RMS, rotary halves, grouped heads, gated SiLU. pretraining_tp only cuts the same products into slices. In
 * GGUF files the architecture llama may have experts (mixtral): softmax over all, the chosen weights renormalised. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
	MM_BOOL(bias_ffn, "mlp_bias", NULL, 0),
	MM_SIZE0(n_expert, NULL, "expert_count", 0),
	MM_SIZE0(n_expert_used, NULL, "expert_used_count", 0),
	MM_SETB(moe_norm_topk, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	if (s->hp->n_expert == 0)
		return 0;
	s->hp->n_ff_expert = s->hp->n_ff;
	if (mm_setup_layers(s, err))
		return -1;
	for (size_t l = 0; l < s->hp->n_layer; l++)
		s->hp->layer[l].mask = MM_L_ATTN | MM_L_MOE;
	return 0;
}

const struct mm_family mm_fam_llama = {
	.name = "llama",
	.model_types = MM_LIST("llama"),
	.archs = MM_LIST("LlamaForCausalLM", "LLaMAForCausalLM"),
	.gguf_archs = MM_LIST("llama"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.gguf_quirks = MM_GGUF_ROPE_ADJACENT,
	.setup = setup,
	.proof = "golden",
};
