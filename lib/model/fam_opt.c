/* fam_opt.c: OPT, Galactica: learned positions offset by 2, pre-norm, or post-norm (350m: do_layer_norm_before false;
 * no final norm then), embeddings narrower than the model with projections in and out (350m), optional biases and norm
 * weights, tied head. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 50272),
	MM_SIZE(n_embd, "hidden_size", NULL, 768),
	MM_SIZE(n_layer, "num_hidden_layers", NULL, 12),
	MM_SIZE(n_head, "num_attention_heads", NULL, 12),
	MM_SIZE0(n_head_kv, NULL, NULL, 0),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_SIZE(n_ff, "ffn_dim", NULL, 3072),
	MM_SIZE0(n_embd_in, "word_embed_proj_dim", NULL, 0),
	MM_SET(norm_eps, 1e-5),
	MM_ACT(act, "activation_function", NULL, "relu"),
	MM_BOOL(pre_norm, "do_layer_norm_before", NULL, 1),
	MM_BOOL(xb[0], "_remove_final_layer_norm", NULL, 0),
	MM_BOOL(bias_qkv, "enable_bias", NULL, 1),
	MM_BOOL(bias_o, "enable_bias", NULL, 1),
	MM_BOOL(bias_ffn, "enable_bias", NULL, 1),
	MM_BOOL(norm_weight, "layer_norm_elementwise_affine", NULL, 1),
	MM_SET(rot_frac, 0),
	MM_SETB(bias_norm, 1),
	MM_SETB(gated, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	(void)err;
	h->norm = MM_NORM_LAYER;
	h->norm_after_res = !h->pre_norm;
	h->final_norm = h->pre_norm && !h->xb[0];
	h->pos_offset = 2;
	h->n_pos = h->n_ctx + 2;
	h->xb[1] = h->n_embd_in && h->n_embd_in != h->n_embd; /* project_in, project_out */
	return 0;
}

#define L(s) "layers.#." s
static const struct mm_w_row w[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD_IN }, 0, 0, "embed_tokens.weight", NULL },
	{ MM_W_POS, 0, { MM_D_POS, MM_D_EMBD }, 0, 0, "embed_positions.weight", NULL },
	{ MM_W_EMBD_IN, 0, { MM_D_EMBD, MM_D_EMBD_IN }, MM_IF(xb[1]), 0, "project_in.weight", NULL },
	{ MM_W_EMBD_OUT, 0, { MM_D_EMBD_IN, MM_D_EMBD }, MM_IF(xb[1]), 0, "project_out.weight", NULL },
	{ MM_W_NORM, 0, { MM_D_EMBD }, MM_IF(w_norm), 0, "final_layer_norm.weight", NULL },
	{ MM_W_NORM_B, 0, { MM_D_EMBD }, MM_IF(w_norm_b), 0, "final_layer_norm.bias", NULL },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD_IN }, 0, 0, "^lm_head.weight", NULL },
	{ MM_W_N1, 0, { MM_D_EMBD }, MM_IF(norm_weight), 0, L("self_attn_layer_norm.weight"), NULL },
	{ MM_W_N1_B, 0, { MM_D_EMBD }, MM_IF(norm_weight), 0, L("self_attn_layer_norm.bias"), NULL },
	{ MM_W_N2, 0, { MM_D_EMBD }, MM_IF(norm_weight), 0, L("final_layer_norm.weight"), NULL },
	{ MM_W_N2_B, 0, { MM_D_EMBD }, MM_IF(norm_weight), 0, L("final_layer_norm.bias"), NULL },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, 0, L("self_attn.out_proj.weight"), NULL },
	{ MM_W_O_B, 0, { MM_D_EMBD }, MM_IF(bias_o), 0, L("self_attn.out_proj.bias"), NULL },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, L("fc1.weight"), NULL },
	{ MM_W_UP_B, 0, { MM_D_FF }, MM_IF(bias_ffn), 0, L("fc1.bias"), NULL },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, L("fc2.weight"), NULL },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, MM_IF(bias_ffn), 0, L("fc2.bias"), NULL },
};

static const struct mm_prefix prefixes[] = { { "model.decoder.", "" }, { "decoder.", "" }, { "", "" }, { NULL, NULL } };

const struct mm_family mm_fam_opt = {
	.name = "opt",
	.model_types = MM_LIST("opt"),
	.archs = MM_LIST("OPTForCausalLM"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.prefixes = prefixes,
	.setup = setup,
	.proof = "golden",
};
