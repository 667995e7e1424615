/* fam_gpt2.c: GPT-2, DialoGPT, DistilGPT2: learned positions, layer norms, matrices stored [in, out], tanh GELU, tied
 * head.
 *
 * scale_attn_by_inverse_layer_idx divides the scores of layer l by l + 1; reorder_and_upcast_attn changes only the
 * order of float operations. attn.bias and attn.masked_bias in old files are masks, no weights. */
#include "model/model_priv.h"

#include <math.h>

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 50257),
	MM_SIZE(n_embd, "n_embd|hidden_size", "embedding_length", 768),
	MM_SIZE(n_layer, "n_layer|num_hidden_layers", "block_count", 12),
	MM_SIZE(n_head, "n_head|num_attention_heads", "attention.head_count", 12),
	MM_SIZE0(n_head_kv, NULL, NULL, 0),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_SIZE(n_ctx, "n_positions|max_position_embeddings", "context_length", 1024),
	MM_SIZE0(n_ff, "n_inner", "feed_forward_length", 0),
	MM_NUM(norm_eps, "layer_norm_epsilon", "attention.layer_norm_epsilon", 1e-5),
	MM_ACT(act, "activation_function", NULL, "gelu_new"),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
	MM_BOOL(xb[0], "scale_attn_weights", NULL, 1),
	MM_BOOL(xb[1], "scale_attn_by_inverse_layer_idx", NULL, 0),
	MM_SET(rot_frac, 0),
	MM_SETB(bias_qkv, 1),
	MM_SETB(bias_o, 1),
	MM_SETB(bias_ffn, 1),
	MM_SETB(bias_norm, 1),
	MM_SETB(gated, 0),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	h->norm = MM_NORM_LAYER;
	h->qkv = MM_QKV_BLOCKS;
	h->n_pos = h->n_ctx;
	h->d_rot = 0;
	if (!h->n_ff)
		h->n_ff = 4 * h->n_embd;
	if (mm_setup_unsupported(s, "add_cross_attention", NULL, err) || mm_setup_layers(s, err))
		return -1;
	double d = h->n_head ? (double)(h->n_embd / h->n_head) : 1, scale = h->xb[0] ? 1 / sqrt(d) : 1;
	for (size_t l = 0; l < h->n_layer; l++)
		h->layer[l].attn_scale = h->xb[1] ? scale / (double)(l + 1) : scale;
	return 0;
}

#define L(s) "h.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "wte.weight", "token_embd.weight" },
	{ MM_W_POS, 0, { MM_D_POS, MM_D_EMBD }, 0, 0, "wpe.weight", "position_embd.weight" },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "ln_f.weight", "output_norm.weight" },
	{ MM_W_NORM_B, 0, { MM_D_EMBD }, 0, 0, "ln_f.bias", "output_norm.bias" },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^lm_head.weight", "output.weight" },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, L("ln_1.weight"), B("attn_norm.weight") },
	{ MM_W_N1_B, 0, { MM_D_EMBD }, 0, 0, L("ln_1.bias"), B("attn_norm.bias") },
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, L("ln_2.weight"), B("ffn_norm.weight") },
	{ MM_W_N2_B, 0, { MM_D_EMBD }, 0, 0, L("ln_2.bias"), B("ffn_norm.bias") },
	{ MM_W_QKV, MM_W_T, { MM_D_EMBD, MM_D_QKV }, 0, 0, L("attn.c_attn.weight"), B("attn_qkv.weight") },
	{ MM_W_QKV_B, 0, { MM_D_QKV }, 0, 0, L("attn.c_attn.bias"), B("attn_qkv.bias") },
	{ MM_W_O, MM_W_T, { MM_D_O, MM_D_EMBD }, 0, 0, L("attn.c_proj.weight"), B("attn_output.weight") },
	{ MM_W_O_B, 0, { MM_D_EMBD }, 0, 0, L("attn.c_proj.bias"), B("attn_output.bias") },
	{ MM_W_UP, MM_W_T, { MM_D_EMBD, MM_D_FF }, 0, 0, L("mlp.c_fc.weight"), B("ffn_up.weight") },
	{ MM_W_UP_B, 0, { MM_D_FF }, 0, 0, L("mlp.c_fc.bias"), B("ffn_up.bias") },
	{ MM_W_DOWN, MM_W_T, { MM_D_FF, MM_D_EMBD }, 0, 0, L("mlp.c_proj.weight"), B("ffn_down.weight") },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, 0, 0, L("mlp.c_proj.bias"), B("ffn_down.bias") },
};

const struct mm_family mm_fam_gpt2 = {
	.name = "gpt2",
	.model_types = MM_LIST("gpt2"),
	.archs = MM_LIST("GPT2LMHeadModel", "GPT2Model"),
	.gguf_archs = MM_LIST("gpt2"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.setup = setup,
	.proof = "golden",
};
