/* fam_exaone4.c: EXAONE 4: norms after the branches only, q/k norm per head; with a window three of four layers slide,
 * and the global ones have no positions.
 *
 * Looked up: the reference's class (rope where there is no window at all or the layer slides; sliding_window_pattern
 * may be a number or a string such as "LLLG"). */
#include "model/model_priv.h"

#include <string.h>

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 102400),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 4096),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 16384),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 32),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 32),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 2048),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 32),
	MM_NUM(norm_eps, "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-5),
	MM_SIZE0(window, "sliding_window", "attention.sliding_window", 4096),
	MM_SETB(pre_norm, 0),
	MM_SETB(post_norms, 1),
	MM_SETB(qk_norm, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	const json_t *p = s->gguf ? NULL : mm_cfg_get(s, "sliding_window_pattern");
	const char *text = json_string_value(p);
	size_t every = json_is_integer(p) && json_integer_value(p) >= 0 ? (size_t)json_integer_value(p) : 4,
	       len = text ? strlen(text) : 0;
	bool found;
	if (s->gguf &&
		!mm_cfg_get(s, "attention.sliding_window")) /* the small ones have no window, and rope everywhere */
		h->window = 0;
	if (mm_setup_layers(s, err) || mm_setup_layer_types(s, -1, 0, &found, err))
		return -1;
	for (size_t l = 0; l < h->n_layer; l++) {
		bool slides = found ? h->layer[l].rope == 0 : every == 0 || (l + 1) % every != 0;
		if (!found && len)
			slides = text[l % len] == 'L' && l + 1 < h->n_layer;
		h->layer[l].window = slides ? h->window : 0;
		h->layer[l].rope = slides || h->window == 0 ? 0 : -1;
	}
	return 0;
}

const struct mm_family mm_fam_exaone4 = {
	.name = "exaone4",
	.model_types = MM_LIST("exaone4"),
	.archs = MM_LIST("Exaone4ForCausalLM"),
	.gguf_archs = MM_LIST("exaone4"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
