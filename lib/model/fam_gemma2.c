/* fam_gemma2.c: Gemma 2: gemma with norms before and after both branches, soft caps on scores and logits, its own query
 * scale, a window in every second layer (the even ones, or as layer_types says). */
#include "model/model_priv.h"

#include <math.h>

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 256000),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 2304),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 9216),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 26),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 8),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 8192),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 4),
	MM_SIZE0(d_head, "head_dim", "attention.key_length", 256),
	MM_ACT(act, "hidden_activation", NULL, "gelu_pytorch_tanh"),
	MM_NUM(xf[0], "query_pre_attn_scalar", NULL, 256),
	MM_NUM0(softcap_attn, "attn_logit_softcapping", "attn_logit_softcapping", 50),
	MM_NUM0(softcap_logit, "final_logit_softcapping", "final_logit_softcapping", 30),
	MM_SIZE0(window, "sliding_window", "attention.sliding_window", 4096),
	MM_SETB(norm_plus1, 1),
	MM_SETB(post_norms, 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	bool found;
	h->mult_embd = (double)sqrtf((float)h->n_embd);
	if (!s->gguf && h->xf[0] > 0)
		h->attn_scale = 1 / sqrt(h->xf[0]);
	if (s->gguf && h->n_layer == 46) /* not stored; the 27B model alone has width / heads */
		h->attn_scale = 1 / sqrt((double)h->n_embd / (double)MM_MAX(h->n_head, (size_t)1));
	if (mm_setup_unsupported(s, "use_bidirectional_attention", NULL, err) || mm_setup_layers(s, err) ||
		mm_setup_layer_types(s, 0, 0, &found, err))
		return -1;
	for (size_t l = 0; !found && l < h->n_layer; l += 2)
		h->layer[l].window = h->window;
	return 0;
}

#define L(s) "layers.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, L("pre_feedforward_layernorm.weight"), B("ffn_norm.weight") },
};

const struct mm_family mm_fam_gemma2 = {
	.name = "gemma2",
	.model_types = MM_LIST("gemma2"),
	.archs = MM_LIST("Gemma2ForCausalLM"),
	.gguf_archs = MM_LIST("gemma2"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
