/* fam_gemma3.c: Gemma 3, text models and the text half of multimodal ones (text_config, tensors under language_model.):
 * gemma2 without soft caps on scores, with q/k norm; every sixth layer is global, with its own rotary base and scaling;
 * local layers use rope_local_base_freq and no scaling. attn_logit_softcapping is read by the reference but never used,
 * final_logit_softcapping by the text model's class only: the multimodal one has a head of its own, without. */
#include "model/model_priv.h"

#include <math.h>

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 262208),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 2304),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 9216),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 26),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 8),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 131072),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 4),
	MM_SIZE0(d_head, "head_dim", "attention.key_length", 256),
	MM_ACT(act, "hidden_activation", NULL, "gelu_pytorch_tanh"),
	MM_NUM(rope_theta, "rope_parameters.full_attention.rope_theta|rope_theta", "rope.freq_base", 1e6),
	MM_NUM(xf[0], "query_pre_attn_scalar", NULL, 256),
	MM_NUM(xf[1], "rope_parameters.sliding_attention.rope_theta|rope_local_base_freq", "rope.freq_base_swa", 10000),
	MM_NUM0(softcap_logit, "final_logit_softcapping", "final_logit_softcapping", 0),
	MM_SIZE0(window, "sliding_window", "attention.sliding_window", 4096),
	MM_SIZE(xs[0], "sliding_window_pattern", NULL, 6),
	MM_SETB(norm_plus1, 1),
	MM_SETB(post_norms, 1),
	MM_SETB(qk_norm, 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	bool found;
	h->mult_embd = (double)sqrtf((float)h->n_embd);
	if (s->cfg != s->root)
		h->softcap_logit = 0;
	if (!s->gguf && h->xf[0] > 0)
		h->attn_scale = 1 / sqrt(h->xf[0]);
	if (s->gguf && h->n_layer == 62) /* not stored; the 27B model alone has width / heads */
		h->attn_scale = 1 / sqrt((double)h->n_embd / (double)MM_MAX(h->n_head, (size_t)1));
	if (mm_setup_unsupported(s, "use_bidirectional_attention", NULL, err) || mm_setup_layers(s, err) ||
		mm_setup_rope(s, 0, "full_attention", h->rope_theta, err) || mm_setup_layer_types(s, 0, 1, &found, err))
		return -1;
	if (!s->gguf && mm_cfg_get(s, "rope_parameters.sliding_attention")) {
		if (mm_setup_rope(s, 1, "sliding_attention", h->xf[1], err))
			return -1;
	} else {
		size_t d = h->rope[0].d_rot;
		h->rope[1] = (struct mm_rope){ .d_rot = d, .theta = h->xf[1], .factor = 1, .attn_factor = 1 };
	}
	h->n_rope = 2;
	for (size_t l = 0; !found && l < h->n_layer; l++) {
		bool slides = h->xs[0] == 0 || (l + 1) % h->xs[0] != 0;
		if (s->gguf && !mm_cfg_get(s, "attention.sliding_window"))
			slides = false;
		h->layer[l].window = slides ? h->window : 0;
		h->layer[l].rope = slides ? 1 : 0;
	}
	return 0;
}

#define L(s) "layers.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, L("pre_feedforward_layernorm.weight"), B("ffn_norm.weight") },
};

static const struct mm_prefix prefixes[] = { { "model.", "" }, { "language_model.model.", "language_model." },
	{ "model.language_model.", "" }, { "", "" }, { NULL, NULL } };

const struct mm_family mm_fam_gemma3 = {
	.name = "gemma3",
	.model_types = MM_LIST("gemma3_text", "gemma3"),
	.archs = MM_LIST("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
	.gguf_archs = MM_LIST("gemma3"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.prefixes = prefixes,
	.setup = setup,
	.proof = "golden",
};
