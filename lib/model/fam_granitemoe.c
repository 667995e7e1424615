/* fam_granitemoe.c: Granite 3 MoE: granite with every feed-forward a mixture; softmax over the chosen logits only;
 * experts stacked in two tensors, gate rows before up rows.
 *
 * Looked up: the reference's class (block_sparse_moe.input_linear, output_linear, router.layer; softmax after top-k).
 */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_NUM(mult_embd, "embedding_multiplier", "embedding_scale", 1),
	MM_NUM(mult_res, "residual_multiplier", "residual_scale", 1),
	MM_NUM(attn_scale, "attention_multiplier", "attention.scale", 1),
	MM_NUM(xf[0], "logits_scaling", "logit_scale", 1),
	MM_SIZE(n_expert, "num_local_experts", "expert_count", 8),
	MM_SIZE(n_expert_used, "num_experts_per_tok", "expert_used_count", 2),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	if (!(s->hp->xf[0] > 0 || s->hp->xf[0] < 0))
		return mm_fail(err, MM_EFORMAT, "logits_scaling is 0");
	s->hp->mult_logit = 1 / s->hp->xf[0];
	s->hp->router = MM_ROUTE_TOPK_SOFTMAX;
	s->hp->n_ff_expert = s->hp->n_ff;
	if (mm_setup_unsupported(s, "position_embedding_type", "rope", err) || mm_setup_layers(s, err))
		return -1;
	for (size_t l = 0; l < s->hp->n_layer; l++)
		s->hp->layer[l].mask = MM_L_ATTN | MM_L_MOE;
	return 0;
}

#define L(s) "layers.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_ROUTER, 0, { MM_D_EXPERTS, MM_D_EMBD }, 0, 0, L("block_sparse_moe.router.layer.weight"),
		B("ffn_gate_inp.weight") },
	{ MM_W_EGATE_UP, 0, { MM_D_EXPERTS, MM_D_FFE2, MM_D_EMBD }, 0, 0, L("block_sparse_moe.input_linear.weight"),
		NULL },
	{ MM_W_EGATE, 0, { MM_D_EXPERTS, MM_D_FFE, MM_D_EMBD }, 0, 0, NULL, B("ffn_gate_exps.weight") },
	{ MM_W_EUP, 0, { MM_D_EXPERTS, MM_D_FFE, MM_D_EMBD }, 0, 0, NULL, B("ffn_up_exps.weight") },
	{ MM_W_EDOWN, 0, { MM_D_EXPERTS, MM_D_EMBD, MM_D_FFE }, 0, 0, L("block_sparse_moe.output_linear.weight"),
		B("ffn_down_exps.weight") },
};

const struct mm_family mm_fam_granitemoe = {
	.name = "granitemoe",
	.model_types = MM_LIST("granitemoe"),
	.archs = MM_LIST("GraniteMoeForCausalLM"),
	.gguf_archs = MM_LIST("granitemoe"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.gguf_quirks = MM_GGUF_ROPE_ADJACENT,
	.setup = setup,
	.proof = "golden",
};
