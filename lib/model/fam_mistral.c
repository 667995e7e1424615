/* fam_mistral.c: Mistral: llama with grouped heads and a sliding window in every layer (absent: 4096, null: none). */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 131072),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 14336),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 8),
	MM_SIZE0(window, "sliding_window", "attention.sliding_window", 4096),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	if (mm_setup_layers(s, err))
		return -1;
	for (size_t l = 0; l < s->hp->n_layer; l++)
		s->hp->layer[l].window = s->hp->window;
	return 0;
}

const struct mm_family mm_fam_mistral = {
	.name = "mistral",
	.model_types = MM_LIST("mistral"),
	.archs = MM_LIST("MistralForCausalLM"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.gguf_quirks = MM_GGUF_ROPE_ADJACENT,
	.setup = setup,
	.proof = "golden",
};
