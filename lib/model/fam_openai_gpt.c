/* fam_openai_gpt.c: GPT 1: learned positions, matrices stored [in, out], norms after the residual sums, no final norm,
 * tied head. The activation that its configs call "gelu" is the tanh form.
 *
 * Looked up: the reference's class (its own table of activations; h.#.attn.bias is a mask). */
#include "model/model_priv.h"

#include <string.h>

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 40478),
	MM_SIZE(n_embd, "n_embd|hidden_size", "embedding_length", 768),
	MM_SIZE(n_layer, "n_layer|num_hidden_layers", "block_count", 12),
	MM_SIZE(n_head, "n_head|num_attention_heads", "attention.head_count", 12),
	MM_SIZE0(n_head_kv, NULL, NULL, 0),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_SIZE(n_ctx, "n_positions|max_position_embeddings", "context_length", 512),
	MM_SIZE0(n_ff, "n_inner", "feed_forward_length", 0),
	MM_NUM(norm_eps, "layer_norm_epsilon", "attention.layer_norm_epsilon", 1e-5),
	MM_SETB(bias_qkv, 1),
	MM_SETB(bias_o, 1),
	MM_SETB(bias_ffn, 1),
	MM_SETB(bias_norm, 1),
	MM_SETB(gated, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
	MM_SET(rot_frac, 0),
	MM_SETB(final_norm, 0),
	MM_SETB(pre_norm, 0),
	MM_SETB(norm_after_res, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	const json_t *act = mm_cfg_get(s, "afn");
	const char *name = json_string_value(act);
	h->act = !name || !strcmp(name, "gelu") ? MM_ACT_GELU_TANH : !strcmp(name, "relu") ? MM_ACT_RELU : MM_ACT_SILU;
	if (act && (!name || (strcmp(name, "gelu") && strcmp(name, "relu") && strcmp(name, "silu") &&
				     strcmp(name, "swish"))))
		return mm_fail(err, MM_EUNSUPPORTED, "config.json: afn = %s is not supported", name ? name : "?");
	h->norm = MM_NORM_LAYER;
	h->qkv = MM_QKV_BLOCKS;
	h->n_pos = h->n_ctx;
	h->n_ff = 4 * h->n_embd;
	return 0;
}

#define H(s) "h.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "tokens_embed.weight", NULL },
	{ MM_W_POS, 0, { MM_D_POS, MM_D_EMBD }, 0, 0, "positions_embed.weight", NULL },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^lm_head.weight", NULL },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, H("ln_1.weight"), B("attn_norm.weight") },
	{ MM_W_N1_B, 0, { MM_D_EMBD }, 0, 0, H("ln_1.bias"), B("attn_norm.bias") },
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, H("ln_2.weight"), B("ffn_norm.weight") },
	{ MM_W_N2_B, 0, { MM_D_EMBD }, 0, 0, H("ln_2.bias"), B("ffn_norm.bias") },
	{ MM_W_QKV, MM_W_T, { MM_D_EMBD, MM_D_QKV }, 0, 0, H("attn.c_attn.weight"), NULL },
	{ MM_W_QKV_B, 0, { MM_D_QKV }, 0, 0, H("attn.c_attn.bias"), NULL },
	{ MM_W_O, MM_W_T, { MM_D_O, MM_D_EMBD }, 0, 0, H("attn.c_proj.weight"), NULL },
	{ MM_W_O_B, 0, { MM_D_EMBD }, 0, 0, H("attn.c_proj.bias"), NULL },
	{ MM_W_UP, MM_W_T, { MM_D_EMBD, MM_D_FF }, 0, 0, H("mlp.c_fc.weight"), NULL },
	{ MM_W_UP_B, 0, { MM_D_FF }, 0, 0, H("mlp.c_fc.bias"), NULL },
	{ MM_W_DOWN, MM_W_T, { MM_D_FF, MM_D_EMBD }, 0, 0, H("mlp.c_proj.weight"), NULL },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, 0, 0, H("mlp.c_proj.bias"), NULL },
};

const struct mm_family mm_fam_openai_gpt = {
	.name = "openai-gpt",
	.model_types = MM_LIST("openai-gpt"),
	.archs = MM_LIST("OpenAIGPTLMHeadModel"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.setup = setup,
	.proof = "golden",
};
