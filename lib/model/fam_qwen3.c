/* fam_qwen3.c: Qwen3: qwen2 without its biases (attention_bias brings them back), RMS norm of q and k per head, head
 * size of its own. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 151936),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 4096),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 22016),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 32),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 32),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 32768),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 32),
	MM_SIZE0(d_head, "head_dim", "attention.key_length", 128),
	MM_SETB(qk_norm, 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	return mm_setup_qwen_window(s, 28, err);
}

const struct mm_family mm_fam_qwen3 = {
	.name = "qwen3",
	.model_types = MM_LIST("qwen3"),
	.archs = MM_LIST("Qwen3ForCausalLM"),
	.gguf_archs = MM_LIST("qwen3"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
