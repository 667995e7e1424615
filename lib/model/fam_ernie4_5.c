/* fam_ernie4_5.c: ERNIE 4.5 dense: llama with adjacent rotary pairs, biases everywhere or nowhere (use_bias), tied
 * head.
 *
 * Looked up: the reference's class. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 103424),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 1024),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 3072),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 18),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 16),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 131072),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 2),
	MM_SIZE0(d_head, "head_dim", "attention.key_length", 128),
	MM_NUM(norm_eps, "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-5),
	MM_NUM(rope_theta, "rope_parameters.rope_theta|rope_theta", "rope.freq_base", 500000),
	MM_BOOL(bias_qkv, "use_bias", NULL, 0),
	MM_BOOL(bias_o, "use_bias", NULL, 0),
	MM_BOOL(bias_ffn, "use_bias", NULL, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	(void)err;
	s->hp->rope_pair = MM_PAIR_ADJACENT;
	return 0;
}

const struct mm_family mm_fam_ernie4_5 = {
	.name = "ernie4_5",
	.model_types = MM_LIST("ernie4_5"),
	.archs = MM_LIST("Ernie4_5ForCausalLM"),
	.gguf_archs = MM_LIST("ernie4_5"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
