/* fam_gpt_bigcode.c: GPT-BigCode (StarCoder 1, SantaCoder): gpt2 with matrices stored [out, in] and one key-value head
 * (multi_query), or fused head by head without it. The softmax options change precision only. */
#include "model/model_priv.h"

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
	MM_ACT(act, "activation_function", NULL, "gelu_pytorch_tanh"),
	MM_BOOL(xb[0], "scale_attn_weights", NULL, 1),
	MM_BOOL(xb[1], "multi_query", NULL, 1),
	MM_SET(rot_frac, 0),
	MM_SETB(bias_qkv, 1),
	MM_SETB(bias_o, 1),
	MM_SETB(bias_ffn, 1),
	MM_SETB(bias_norm, 1),
	MM_SETB(gated, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	if (!s->hp->n_ff)
		s->hp->n_ff = 4 * s->hp->n_embd;
	s->hp->norm = MM_NORM_LAYER;
	s->hp->n_pos = s->hp->n_ctx;
	s->hp->n_head_kv = s->hp->xb[1] ? 1 : s->hp->n_head;
	s->hp->qkv = s->hp->xb[1] ? MM_QKV_BLOCKS : MM_QKV_PER_HEAD;
	if (!s->hp->xb[0])
		s->hp->attn_scale = 1;
	return mm_setup_unsupported(s, "add_cross_attention", NULL, err);
}

#define H(s) "h.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "wte.weight", "token_embd.weight" },
	{ MM_W_POS, 0, { MM_D_POS, MM_D_EMBD }, 0, 0, "wpe.weight", "position_embd.weight" },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "ln_f.weight", "output_norm.weight" },
	{ MM_W_NORM_B, 0, { MM_D_EMBD }, 0, 0, "ln_f.bias", "output_norm.bias" },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^lm_head.weight", "output.weight" },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, H("ln_1.weight"), B("attn_norm.weight") },
	{ MM_W_N1_B, 0, { MM_D_EMBD }, 0, 0, H("ln_1.bias"), B("attn_norm.bias") },
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, H("ln_2.weight"), B("ffn_norm.weight") },
	{ MM_W_N2_B, 0, { MM_D_EMBD }, 0, 0, H("ln_2.bias"), B("ffn_norm.bias") },
	{ MM_W_QKV, 0, { MM_D_QKV, MM_D_EMBD }, 0, 0, H("attn.c_attn.weight"), B("attn_qkv.weight") },
	{ MM_W_QKV_B, 0, { MM_D_QKV }, 0, 0, H("attn.c_attn.bias"), B("attn_qkv.bias") },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, 0, H("attn.c_proj.weight"), B("attn_output.weight") },
	{ MM_W_O_B, 0, { MM_D_EMBD }, 0, 0, H("attn.c_proj.bias"), B("attn_output.bias") },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, H("mlp.c_fc.weight"), B("ffn_up.weight") },
	{ MM_W_UP_B, 0, { MM_D_FF }, 0, 0, H("mlp.c_fc.bias"), B("ffn_up.bias") },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, H("mlp.c_proj.weight"), B("ffn_down.weight") },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, 0, 0, H("mlp.c_proj.bias"), B("ffn_down.bias") },
};

const struct mm_family mm_fam_gpt_bigcode = {
	.name = "gpt_bigcode",
	.model_types = MM_LIST("gpt_bigcode"),
	.archs = MM_LIST("GPTBigCodeForCausalLM"),
	.gguf_archs = MM_LIST("starcoder"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.setup = setup,
	.proof = "golden",
};
