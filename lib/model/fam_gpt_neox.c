/* fam_gpt_neox.c: GPT-NeoX, Pythia, RedPajama-INCITE, Dolly v2.
 *
 * Layer norms, qkv fused head by head, rotary on a part of each head, parallel residual with two norms (or one after
 * the other), exact GELU. Version-5 configs hold rotary_pct and rotary_emb_base in rope_parameters. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 50432),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 6144),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 44),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 64),
	MM_SIZE0(n_head_kv, NULL, NULL, 0),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 24576),
	MM_NUM(norm_eps, "layer_norm_eps", "attention.layer_norm_epsilon", 1e-5),
	MM_NUM(rot_frac, "rope_parameters.partial_rotary_factor|rotary_pct", NULL, 0.25),
	MM_NUM(rope_theta, "rope_parameters.rope_theta|rotary_emb_base", "rope.freq_base", 10000),
	MM_ACT(act, "hidden_act", NULL, "gelu"),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 1),
	MM_BOOL(bias_o, "attention_bias", NULL, 1),
	MM_BOOL(xb[0], "use_parallel_residual", "use_parallel_residual", 1),
	MM_SETB(bias_ffn, 1),
	MM_SETB(bias_norm, 1),
	MM_SETB(gated, 0),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	(void)err;
	s->hp->norm = MM_NORM_LAYER;
	s->hp->qkv = MM_QKV_PER_HEAD;
	s->hp->rot_even = true;
	s->hp->block = s->hp->xb[0] ? MM_BLOCK_PARALLEL : MM_BLOCK_SEQ;
	return 0;
}

#define L(s) "layers.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "embed_in.weight", "token_embd.weight" },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "final_layer_norm.weight", "output_norm.weight" },
	{ MM_W_NORM_B, 0, { MM_D_EMBD }, 0, 0, "final_layer_norm.bias", "output_norm.bias" },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^embed_out.weight", "output.weight" },
	{ MM_W_QKV, 0, { MM_D_QKV, MM_D_EMBD }, 0, 0, L("attention.query_key_value.weight"), B("attn_qkv.weight") },
	{ MM_W_QKV_B, 0, { MM_D_QKV }, MM_IF(bias_qkv), 0, L("attention.query_key_value.bias"), B("attn_qkv.bias") },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, 0, L("attention.dense.weight"), B("attn_output.weight") },
	{ MM_W_O_B, 0, { MM_D_EMBD }, MM_IF(bias_o), 0, L("attention.dense.bias"), B("attn_output.bias") },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, L("mlp.dense_h_to_4h.weight"), B("ffn_up.weight") },
	{ MM_W_UP_B, 0, { MM_D_FF }, 0, 0, L("mlp.dense_h_to_4h.bias"), B("ffn_up.bias") },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, L("mlp.dense_4h_to_h.weight"), B("ffn_down.weight") },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, 0, 0, L("mlp.dense_4h_to_h.bias"), B("ffn_down.bias") },
};

static const struct mm_prefix prefixes[] = { { "gpt_neox.", "" }, { "", "" }, { NULL, NULL } };

const struct mm_family mm_fam_gpt_neox = {
	.name = "gpt_neox",
	.model_types = MM_LIST("gpt_neox"),
	.archs = MM_LIST("GPTNeoXForCausalLM"),
	.gguf_archs = MM_LIST("gptneox"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama, /* the two norms of a block */
	.n_w2 = MM_W_LLAMA_COUNT,
	.prefixes = prefixes,
	.setup = setup,
	.proof = "golden",
};
