/* fam_smollm3.c: SmolLM3: llama with no positions in every fourth layer (no_rope_layers: 1 = rope, 0 = none), optional
 * windows there, tied head. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 128256),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 2048),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 11008),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 36),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 16),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 32768),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 4),
	MM_NUM(rope_theta, "rope_parameters.rope_theta|rope_theta", "rope.freq_base", 2e6),
	MM_SIZE0(window, "sliding_window", NULL, 0),
	MM_SIZE(xs[0], "no_rope_layer_interval", NULL, 4),
	MM_BOOL(xb[0], "use_sliding_window", NULL, 0),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
	MM_BOOL(bias_ffn, "mlp_bias", NULL, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	const json_t *list = s->gguf ? NULL : mm_cfg_get(s, "no_rope_layers");
	bool found;
	if (!h->xb[0])
		h->window = 0;
	if (mm_setup_layers(s, err) || mm_setup_layer_types(s, 0, 0, &found, err))
		return -1;
	if (list && (!json_is_array(list) || json_array_size(list) < h->n_layer))
		return mm_fail(err, MM_EFORMAT, "config.json: no_rope_layers is not a list of %zu entries", h->n_layer);
	for (size_t l = 0; l < h->n_layer; l++) {
		const json_t *j = list ? json_array_get(list, l) : NULL;
		bool rope =
			list ? json_is_true(j) || json_integer_value(j) != 0 : h->xs[0] == 0 || (l + 1) % h->xs[0] != 0;
		h->layer[l].rope = rope ? 0 : -1;
		if (!found)
			h->layer[l].window = rope ? 0 : h->window;
	}
	return 0;
}

const struct mm_family mm_fam_smollm3 = {
	.name = "smollm3",
	.model_types = MM_LIST("smollm3"),
	.archs = MM_LIST("SmolLM3ForCausalLM"),
	.gguf_archs = MM_LIST("smollm3"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.gguf_quirks = MM_GGUF_ROPE_ADJACENT,
	.setup = setup,
	.proof = "golden",
};
