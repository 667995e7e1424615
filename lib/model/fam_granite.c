/* fam_granite.c: Granite 3 dense: llama with multipliers for embeddings, residual branches, scores and logits. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_NUM(mult_embd, "embedding_multiplier", "embedding_scale", 1),
	MM_NUM(mult_res, "residual_multiplier", "residual_scale", 1),
	MM_NUM(attn_scale, "attention_multiplier", "attention.scale", 1),
	MM_NUM(xf[0], "logits_scaling", "logit_scale", 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
	MM_BOOL(bias_ffn, "mlp_bias", NULL, 0),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	if (!(s->hp->xf[0] > 0 || s->hp->xf[0] < 0))
		return mm_fail(err, MM_EFORMAT, "logits_scaling is 0");
	s->hp->mult_logit = 1 / s->hp->xf[0];
	return 0;
}

const struct mm_family mm_fam_granite = {
	.name = "granite",
	.model_types = MM_LIST("granite"),
	.archs = MM_LIST("GraniteForCausalLM"),
	.gguf_archs = MM_LIST("granite"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.gguf_quirks = MM_GGUF_ROPE_ADJACENT,
	.setup = setup,
	.proof = "golden",
};
