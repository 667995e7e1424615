/* fam_olmo2.c: OLMo 2: llama with norms after the branches instead of before them, q and k normalised over their full
 * width; and OLMo 3, which adds a window in three layers of four. Rope scaling is for its full layers alone. A GGUF
 * file calls both olmo2; the one with a window is OLMo 3.
 *
 * Looked up: the reference's classes (every fourth layer is full where layer_types is absent; the sliding layers'
 * rotary embedding is of type "default"). */
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
	MM_SIZE0(window, NULL, "attention.sliding_window", 0),
};

static int slide(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	bool found;
	if (mm_setup_layers(s, err) || mm_setup_rope(s, 0, NULL, h->rope_theta, err) ||
		mm_setup_layer_types(s, 0, 1, &found, err))
		return -1;
	h->rope[1] =
		(struct mm_rope){ .d_rot = h->rope[0].d_rot, .theta = h->rope[0].theta, .factor = 1, .attn_factor = 1 };
	h->n_rope = 2;
	for (size_t l = 0; !found && l < h->n_layer; l++) {
		bool slides = (l + 1) % 4 != 0;
		h->layer[l].window = slides ? h->window : 0;
		h->layer[l].rope = slides ? 1 : 0;
	}
	return 0;
}

static int setup2(struct mm_setup *s, struct mm_err *err)
{
	return s->gguf && s->hp->window ? slide(s, err) : 0;
}

static int setup3(struct mm_setup *s, struct mm_err *err)
{
	const json_t *w = mm_cfg_get(s, "sliding_window");
	if (w && (!json_is_integer(w) || json_integer_value(w) < 1))
		return mm_fail(err, MM_EFORMAT, "config.json: sliding_window is not a number above 0");
	s->hp->window = w ? (size_t)json_integer_value(w) : 4096;
	return slide(s, err);
}

const struct mm_family mm_fam_olmo2 = {
	.name = "olmo2",
	.model_types = MM_LIST("olmo2"),
	.archs = MM_LIST("Olmo2ForCausalLM"),
	.gguf_archs = MM_LIST("olmo2"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup2,
	.proof = "golden",
};

const struct mm_family mm_fam_olmo3 = {
	.name = "olmo3",
	.model_types = MM_LIST("olmo3"),
	.archs = MM_LIST("Olmo3ForCausalLM"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup3,
	.proof = "second formulation",
};
