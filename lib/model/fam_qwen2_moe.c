/* fam_qwen2_moe.c: Qwen1.5-MoE, Qwen2-MoE: qwen2 with experts in some layers (decoder_sparse_step, mlp_only_layers) and
 * a shared expert behind a sigmoid gate. The chosen weights are renormalised only with norm_topk_prob. A window, if
 * switched on, holds for all layers (the reference's mask does not look at max_window_layers), or as layer_types lists.
 */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 151936),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 2048),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 5632),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 24),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 16),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 32768),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 16),
	MM_BOOL(bias_qkv, "qkv_bias", NULL, 1),
	MM_SIZE(n_expert, "num_experts", "expert_count", 60),
	MM_SIZE(n_expert_used, "num_experts_per_tok", "expert_used_count", 4),
	MM_SIZE(n_ff_expert, "moe_intermediate_size", "expert_feed_forward_length", 1408),
	MM_SIZE(n_ff_shared, "shared_expert_intermediate_size", "expert_shared_feed_forward_length", 5632),
	MM_BOOL(moe_norm_topk, "norm_topk_prob", NULL, 0),
	MM_SETB(moe_shared_gate, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	return mm_setup_qwen_window(s, 0, err) || mm_setup_sparse(s, err) ? -1 : 0;
}

#define L(s) "layers.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_SGATE, 0, { MM_D_FFS, MM_D_EMBD }, 0, MM_L_MOE, L("mlp.shared_expert.gate_proj.weight"),
		B("ffn_gate_shexp.weight") },
	{ MM_W_SUP, 0, { MM_D_FFS, MM_D_EMBD }, 0, MM_L_MOE, L("mlp.shared_expert.up_proj.weight"),
		B("ffn_up_shexp.weight") },
	{ MM_W_SDOWN, 0, { MM_D_EMBD, MM_D_FFS }, 0, MM_L_MOE, L("mlp.shared_expert.down_proj.weight"),
		B("ffn_down_shexp.weight") },
};

const struct mm_family mm_fam_qwen2_moe = {
	.name = "qwen2_moe",
	.model_types = MM_LIST("qwen2_moe"),
	.archs = MM_LIST("Qwen2MoeForCausalLM"),
	.gguf_archs = MM_LIST("qwen2moe"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
