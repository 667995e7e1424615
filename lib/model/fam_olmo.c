/* fam_olmo.c: OLMo 1: llama with layer norms that have no weights (eps 1e-5), q, k, v clipped when clip_qkv says so. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 50304),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 4096),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 11008),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 32),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 32),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 2048),
	MM_SET(norm_eps, 1e-5),
	MM_NUM0(clip_qkv, "clip_qkv", "attention.clamp_kqv", 0),
	MM_SETB(norm_weight, 0),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	(void)err;
	s->hp->norm = MM_NORM_LAYER;
	return 0;
}

const struct mm_family mm_fam_olmo = {
	.name = "olmo",
	.model_types = MM_LIST("olmo"),
	.archs = MM_LIST("OlmoForCausalLM"),
	.gguf_archs = MM_LIST("olmo"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.gguf_quirks = MM_GGUF_ROPE_ADJACENT,
	.setup = setup,
	.proof = "golden",
};
