/* fam_cohere2.c: Cohere2 (Command R7B, Command A): cohere with a window in three of four layers; the others see
 * everything and have no positions at all.
 *
 * Looked up: the reference's class (rope only where the layer slides; sliding_window_pattern 4 where layer_types is
 * absent). */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 256000),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 8192),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 22528),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 40),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 64),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 8192),
	MM_NUM(norm_eps, "layer_norm_eps", "attention.layer_norm_epsilon", 1e-5),
	MM_SIZE0(window, "sliding_window", "attention.sliding_window", 4096),
	MM_SIZE(xs[0], "sliding_window_pattern", NULL, 4),
	MM_NUM(mult_logit, "logit_scale", "logit_scale", 0.0625),
	MM_SETB(shared_norm, 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	bool found;
	h->norm = MM_NORM_LAYER;
	h->block = MM_BLOCK_PARALLEL;
	h->rope_pair = MM_PAIR_ADJACENT;
	if (mm_setup_layers(s, err) || mm_setup_layer_types(s, -1, 0, &found, err))
		return -1;
	for (size_t l = 0; l < h->n_layer; l++) {
		bool slides = found ? h->layer[l].rope == 0 : h->xs[0] == 0 || (l + 1) % h->xs[0] != 0;
		h->layer[l].window = slides ? h->window : 0;
		h->layer[l].rope =
			slides && h->window ? 0 : -1; /* the reference asks for the window, not for the type */
	}
	return 0;
}

const struct mm_family mm_fam_cohere2 = {
	.name = "cohere2",
	.model_types = MM_LIST("cohere2"),
	.archs = MM_LIST("Cohere2ForCausalLM"),
	.gguf_archs = MM_LIST("cohere2"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
