/* fam_llama.c: Llama 1, 2, 3 and everything published in its format (Yi, DeepSeek-LLM, SOLAR, Vicuna, SmolLM...).
 *
 * Pre-norm RMS, rotary halves, grouped heads, gated SiLU. pretraining_tp only cuts the same products into slices. In
 * GGUF files the architecture llama may have experts (mixtral): softmax over all, the chosen weights renormalised; the
 * first converters wrote one tensor for each expert. */
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
	s->hp->xb[0] = s->gguf && s->ck && mm_ckpt_find(s->ck, "blk.0.ffn_gate.0.weight");
	if (mm_setup_layers(s, err))
		return -1;
	for (size_t l = 0; l < s->hp->n_layer; l++)
		s->hp->layer[l].mask = MM_L_ATTN | MM_L_MOE;
	return 0;
}

#define E(s) "layers.#.mlp.experts.@." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_EGATE, 0, { MM_D_FFE, MM_D_EMBD }, MM_UNLESS(xb[0]), MM_L_MOE, E("gate_proj.weight"),
		B("ffn_gate_exps.weight") },
	{ MM_W_EUP, 0, { MM_D_FFE, MM_D_EMBD }, MM_UNLESS(xb[0]), MM_L_MOE, E("up_proj.weight"),
		B("ffn_up_exps.weight") },
	{ MM_W_EDOWN, 0, { MM_D_EMBD, MM_D_FFE }, MM_UNLESS(xb[0]), MM_L_MOE, E("down_proj.weight"),
		B("ffn_down_exps.weight") },
	{ MM_W_EGATE, 0, { MM_D_FFE, MM_D_EMBD }, MM_IF(xb[0]), MM_L_MOE, NULL, B("ffn_gate.@.weight") },
	{ MM_W_EUP, 0, { MM_D_FFE, MM_D_EMBD }, MM_IF(xb[0]), MM_L_MOE, NULL, B("ffn_up.@.weight") },
	{ MM_W_EDOWN, 0, { MM_D_EMBD, MM_D_FFE }, MM_IF(xb[0]), MM_L_MOE, NULL, B("ffn_down.@.weight") },
};

const struct mm_family mm_fam_llama = {
	.name = "llama",
	.model_types = MM_LIST("llama"),
	.archs = MM_LIST("LlamaForCausalLM", "LLaMAForCausalLM"),
	.gguf_archs = MM_LIST("llama"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.gguf_quirks = MM_GGUF_ROPE_ADJACENT,
	.setup = setup,
	.proof = "golden",
};
