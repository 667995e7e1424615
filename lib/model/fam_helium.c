/* fam_helium.c: Helium: llama with adjacent rotary pairs and optional biases on q, k, v.
 *
 * Looked up: the reference's class (rotation of even and odd elements; o_proj without bias). */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 48000),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 2560),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 7040),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 24),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 20),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 4096),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 20),
	MM_SIZE0(d_head, "head_dim", NULL, 128),
	MM_NUM(norm_eps, "rms_norm_eps", NULL, 1e-8),
	MM_NUM(rope_theta, "rope_parameters.rope_theta|rope_theta", NULL, 100000),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_ffn, "mlp_bias", NULL, 0),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	(void)err;
	s->hp->rope_pair = MM_PAIR_ADJACENT;
	return 0;
}

const struct mm_family mm_fam_helium = {
	.name = "helium",
	.model_types = MM_LIST("helium"),
	.archs = MM_LIST("HeliumForCausalLM"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
