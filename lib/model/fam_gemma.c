/* fam_gemma.c: Gemma 1, CodeGemma: norms with 1 + w, embeddings times sqrt(width), tanh GELU gate, tied head. The
 * reference takes the activation from hidden_act, not from hidden_activation. */
#include "model/model_priv.h"

#include <math.h>

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 256000),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 3072),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 24576),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 28),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 16),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 8192),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 16),
	MM_SIZE0(d_head, "head_dim", "attention.key_length", 256),
	MM_ACT(act, "hidden_act", NULL, "gelu_pytorch_tanh"),
	MM_SETB(norm_plus1, 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	s->hp->mult_embd = (double)sqrtf((float)s->hp->n_embd);
	return mm_setup_unsupported(s, "use_bidirectional_attention", NULL, err);
}

const struct mm_family mm_fam_gemma = {
	.name = "gemma",
	.model_types = MM_LIST("gemma"),
	.archs = MM_LIST("GemmaForCausalLM"),
	.gguf_archs = MM_LIST("gemma"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
