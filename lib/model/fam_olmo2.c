/* fam_olmo2.c: OLMo 2: llama with norms after the branches instead of before them, q and k normalised over their full
 * width. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 50304),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 4096),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 11008),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 32),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 32),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 2048),
	MM_NUM(norm_eps, "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-5),
	MM_SETB(pre_norm, 0),
	MM_SETB(post_norms, 1),
	MM_SETB(qk_norm, 1),
	MM_SETB(qk_norm_full, 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
};

const struct mm_family mm_fam_olmo2 = {
	.name = "olmo2",
	.model_types = MM_LIST("olmo2"),
	.archs = MM_LIST("Olmo2ForCausalLM"),
	.gguf_archs = MM_LIST("olmo2"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.proof = "golden",
};
