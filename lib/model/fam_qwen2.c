/* fam_qwen2.c: Qwen 1.5, 2, 2.5: llama with biases on q, k, v; a window only where use_sliding_window says so, and then
 * only in layers from max_window_layers on (or as layer_types lists). */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 151936),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 32768),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 22016),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 32),
	MM_SETB(bias_qkv, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	return mm_setup_qwen_window(s, 28, err);
}

const struct mm_family mm_fam_qwen2 = {
	.name = "qwen2",
	.model_types = MM_LIST("qwen2"),
	.archs = MM_LIST("Qwen2ForCausalLM"),
	.gguf_archs = MM_LIST("qwen2"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
