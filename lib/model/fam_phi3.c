/* fam_phi3.c: Phi 3, 3.5, 4 (dense): llama with fused qkv and gate-up, longrope (called su or yarn in old files), a
 * window in every layer, partial rotary in Phi-4-mini. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 32064),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 3072),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 8192),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 32),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 32),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 4096),
	MM_NUM(norm_eps, "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-5),
	MM_NUM(rot_frac, "rope_parameters.partial_rotary_factor|partial_rotary_factor", NULL, 1),
	MM_SIZE0(window, "sliding_window", "attention.sliding_window", 0),
	MM_SIZE(n_ctx_orig, "original_max_position_embeddings", "rope.scaling.original_context_length", 4096),
	MM_SETB(gate_up_fused, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	s->hp->qkv = MM_QKV_BLOCKS;
	s->hp->yarn_is_longrope = true;
	s->hp->rot_even = true;
	if (mm_setup_layers(s, err))
		return -1;
	for (size_t l = 0; l < s->hp->n_layer; l++)
		s->hp->layer[l].window = s->hp->window;
	return 0;
}

const struct mm_family mm_fam_phi3 = {
	.name = "phi3",
	.model_types = MM_LIST("phi3"),
	.archs = MM_LIST("Phi3ForCausalLM"),
	.gguf_archs = MM_LIST("phi3"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
