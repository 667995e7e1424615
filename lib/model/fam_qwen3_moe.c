/* fam_qwen3_moe.c: Qwen3-MoE: qwen3's attention, experts as in qwen2_moe but without a shared one. A window, if
 * switched on, holds for all layers; the reference knows no layer_types here. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 151936),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 2048),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 6144),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 24),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 32),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 32768),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 4),
	MM_SETB(qk_norm, 1),
	MM_SIZE(n_expert, "num_experts|num_local_experts", "expert_count", 128),
	MM_SIZE(n_expert_used, "num_experts_per_tok", "expert_used_count", 8),
	MM_SIZE(n_ff_expert, "moe_intermediate_size", "expert_feed_forward_length", 768),
	MM_BOOL(moe_norm_topk, "norm_topk_prob", NULL, 0),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	if (s->gguf)
		s->hp->moe_norm_topk = true; /* no key for it; the published models have it */
	if (mm_setup_qwen_window(s, 0, err) || mm_setup_sparse(s, err))
		return -1;
	for (size_t l = 0; l < s->hp->n_layer; l++)
		s->hp->layer[l].window = s->hp->window;
	return 0;
}

const struct mm_family mm_fam_qwen3_moe = {
	.name = "qwen3_moe",
	.model_types = MM_LIST("qwen3_moe"),
	.archs = MM_LIST("Qwen3MoeForCausalLM"),
	.gguf_archs = MM_LIST("qwen3moe"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
