/* fam_xglm.c: XGLM: sinusoidal positions offset by 2 (made here, not stored), embeddings times sqrt(width), biases
 * everywhere, exact GELU, tied head.
 *
 * Looked up: the reference's class (first half sines, second half cosines; frequencies 10000^(-i / (width / 2 - 1));
 * the row with the padding token's number is zero: with the usual number, 1, no position falls on it).
 */
#include "model/model_priv.h"

#include <math.h>

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 256008),
	MM_SIZE(n_embd, "d_model|hidden_size", NULL, 1024),
	MM_SIZE(n_layer, "num_layers|num_hidden_layers", NULL, 24),
	MM_SIZE(n_head, "attention_heads|num_attention_heads", NULL, 16),
	MM_SIZE0(n_head_kv, NULL, NULL, 0),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_SIZE(n_ff, "ffn_dim", NULL, 4096),
	MM_SET(norm_eps, 1e-5),
	MM_ACT(act, "activation_function", NULL, "gelu"),
	MM_BOOL(xb[0], "scale_embedding", NULL, 1),
	MM_SET(rot_frac, 0),
	MM_SETB(pos_sinusoid, 1),
	MM_SETB(bias_qkv, 1),
	MM_SETB(bias_o, 1),
	MM_SETB(bias_ffn, 1),
	MM_SETB(bias_norm, 1),
	MM_SETB(gated, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	h->norm = MM_NORM_LAYER;
	h->pos_offset = 2;
	h->n_pos = h->n_ctx + 2;
	const json_t *pad = json_object_get(s->cfg, "pad_token_id"); /* null: no such row */
	h->pos_pad = json_is_integer(pad) && json_integer_value(pad) >= 0 ? (size_t)json_integer_value(pad)
		     : pad						  ? SIZE_MAX
									  : 1;
	if (h->xb[0])
		h->mult_embd = sqrt((double)h->n_embd);
	return mm_setup_unsupported(s, "add_cross_attention", NULL, err);
}

#define L(s) "layers.#." s
static const struct mm_w_row w[] = {
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "layer_norm.weight", NULL },
	{ MM_W_NORM_B, 0, { MM_D_EMBD }, 0, 0, "layer_norm.bias", NULL },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, L("self_attn_layer_norm.weight"), NULL },
	{ MM_W_N1_B, 0, { MM_D_EMBD }, 0, 0, L("self_attn_layer_norm.bias"), NULL },
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, L("final_layer_norm.weight"), NULL },
	{ MM_W_N2_B, 0, { MM_D_EMBD }, 0, 0, L("final_layer_norm.bias"), NULL },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, 0, L("self_attn.out_proj.weight"), NULL },
	{ MM_W_O_B, 0, { MM_D_EMBD }, 0, 0, L("self_attn.out_proj.bias"), NULL },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, L("fc1.weight"), NULL },
	{ MM_W_UP_B, 0, { MM_D_FF }, 0, 0, L("fc1.bias"), NULL },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, L("fc2.weight"), NULL },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, 0, 0, L("fc2.bias"), NULL },
};

const struct mm_family mm_fam_xglm = {
	.name = "xglm",
	.model_types = MM_LIST("xglm"),
	.archs = MM_LIST("XGLMForCausalLM"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
