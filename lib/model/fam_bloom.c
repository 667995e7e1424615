/* fam_bloom.c: BLOOM, BLOOMZ: ALiBi, a norm right after the embedding, qkv fused head by head, tanh GELU, tied head;
 * apply_residual_connection_post_layernorm takes the residual from the normalised input. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 250880),
	MM_SIZE(n_embd, "n_embed|hidden_size", "embedding_length", 64),
	MM_SIZE(n_layer, "n_layer|num_hidden_layers", "block_count", 2),
	MM_SIZE(n_head, "n_head|num_attention_heads", "attention.head_count", 8),
	MM_SIZE0(n_head_kv, NULL, NULL, 0),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_SIZE(n_ctx, "seq_length", "context_length", 2048),
	MM_SIZE0(n_ff, NULL, "feed_forward_length", 0),
	MM_NUM(norm_eps, "layer_norm_epsilon", "attention.layer_norm_epsilon", 1e-5),
	MM_ACT(act, NULL, NULL, "gelu_new"),
	MM_BOOL(res_from_norm, "apply_residual_connection_post_layernorm", NULL, 0),
	MM_SET(rot_frac, 0),
	MM_SET(alibi_max, 8),
	MM_SETB(embd_norm, 1),
	MM_SETB(bias_qkv, 1),
	MM_SETB(bias_o, 1),
	MM_SETB(bias_ffn, 1),
	MM_SETB(bias_norm, 1),
	MM_SETB(gated, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	(void)err;
	s->hp->norm = MM_NORM_LAYER;
	s->hp->qkv = MM_QKV_PER_HEAD;
	s->hp->n_ff = 4 * s->hp->n_embd;
	return 0;
}

#define H(s) "h.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "word_embeddings.weight", "token_embd.weight" },
	{ MM_W_EMBD_NORM, 0, { MM_D_EMBD }, 0, 0, "word_embeddings_layernorm.weight", "token_embd_norm.weight" },
	{ MM_W_EMBD_NORM_B, 0, { MM_D_EMBD }, 0, 0, "word_embeddings_layernorm.bias", "token_embd_norm.bias" },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "ln_f.weight", "output_norm.weight" },
	{ MM_W_NORM_B, 0, { MM_D_EMBD }, 0, 0, "ln_f.bias", "output_norm.bias" },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^lm_head.weight", "output.weight" },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, H("input_layernorm.weight"), B("attn_norm.weight") },
	{ MM_W_N1_B, 0, { MM_D_EMBD }, 0, 0, H("input_layernorm.bias"), B("attn_norm.bias") },
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, H("post_attention_layernorm.weight"), B("ffn_norm.weight") },
	{ MM_W_N2_B, 0, { MM_D_EMBD }, 0, 0, H("post_attention_layernorm.bias"), B("ffn_norm.bias") },
	{ MM_W_QKV, 0, { MM_D_QKV, MM_D_EMBD }, 0, 0, H("self_attention.query_key_value.weight"),
		B("attn_qkv.weight") },
	{ MM_W_QKV_B, 0, { MM_D_QKV }, 0, 0, H("self_attention.query_key_value.bias"), B("attn_qkv.bias") },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, 0, H("self_attention.dense.weight"), B("attn_output.weight") },
	{ MM_W_O_B, 0, { MM_D_EMBD }, 0, 0, H("self_attention.dense.bias"), B("attn_output.bias") },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, H("mlp.dense_h_to_4h.weight"), B("ffn_up.weight") },
	{ MM_W_UP_B, 0, { MM_D_FF }, 0, 0, H("mlp.dense_h_to_4h.bias"), B("ffn_up.bias") },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, H("mlp.dense_4h_to_h.weight"), B("ffn_down.weight") },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, 0, 0, H("mlp.dense_4h_to_h.bias"), B("ffn_down.bias") },
};

const struct mm_family mm_fam_bloom = {
	.name = "bloom",
	.model_types = MM_LIST("bloom"),
	.archs = MM_LIST("BloomForCausalLM"),
	.gguf_archs = MM_LIST("bloom"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.setup = setup,
	.proof = "golden",
};
