/* fam_olmoe.c: OLMoE: llama with q and k normalised over their full width (clipped afterwards, with v, when clip_qkv
 * says so), every feed-forward a mixture; weights renormalised only with norm_topk_prob. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 50304),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 2048),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 2048),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 16),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 16),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 4096),
	MM_NUM(norm_eps, "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-5),
	MM_NUM0(clip_qkv, "clip_qkv", "attention.clamp_kqv", 0),
	MM_SIZE(n_expert, "num_experts|num_local_experts", "expert_count", 64),
	MM_SIZE(n_expert_used, "num_experts_per_tok", "expert_used_count", 8),
	MM_BOOL(moe_norm_topk, "norm_topk_prob", NULL, 0),
	MM_SETB(qk_norm, 1),
	MM_SETB(qk_norm_full, 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	if (mm_setup_layers(s, err))
		return -1;
	s->hp->n_ff_expert = s->hp->n_ff;
	for (size_t l = 0; l < s->hp->n_layer; l++)
		s->hp->layer[l].mask = MM_L_ATTN | MM_L_MOE;
	return 0;
}

const struct mm_family mm_fam_olmoe = {
	.name = "olmoe",
	.model_types = MM_LIST("olmoe"),
	.archs = MM_LIST("OlmoeForCausalLM"),
	.gguf_archs = MM_LIST("olmoe"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
