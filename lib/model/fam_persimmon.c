/* fam_persimmon.c: Persimmon, Fuyu's text model: layer norms, qkv fused head by head with biases, layer norm of q and k
 * per head, partial rotary, plain squared-ReLU feed-forward.
 *
 * Looked up: the reference's class. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 262144),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 4096),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 16384),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 36),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 64),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 16384),
	MM_SIZE0(n_head_kv, NULL, NULL, 0),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_NUM(norm_eps, "layer_norm_eps", "attention.layer_norm_epsilon", 1e-5),
	MM_NUM(rope_theta, "rope_parameters.rope_theta|rope_theta", "rope.freq_base", 25000),
	MM_NUM(rot_frac, "rope_parameters.partial_rotary_factor|partial_rotary_factor", NULL, 0.5),
	MM_ACT(act, "hidden_act", NULL, "relu2"),
	MM_BOOL(qk_norm, "qk_layernorm", NULL, 1),
	MM_SETB(bias_qkv, 1),
	MM_SETB(bias_o, 1),
	MM_SETB(bias_ffn, 1),
	MM_SETB(bias_norm, 1),
	MM_SETB(qk_norm_bias, 1),
	MM_SETB(gated, 0),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	(void)err;
	s->hp->norm = s->hp->qk_norm_kind = MM_NORM_LAYER;
	s->hp->qkv = MM_QKV_PER_HEAD;
	return 0;
}

#define L(s) "layers.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "final_layernorm.weight", "output_norm.weight" },
	{ MM_W_NORM_B, 0, { MM_D_EMBD }, 0, 0, "final_layernorm.bias", "output_norm.bias" },
	{ MM_W_QKV, 0, { MM_D_QKV, MM_D_EMBD }, 0, 0, L("self_attn.query_key_value.weight"), B("attn_qkv.weight") },
	{ MM_W_QKV_B, 0, { MM_D_QKV }, 0, 0, L("self_attn.query_key_value.bias"), B("attn_qkv.bias") },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, 0, L("self_attn.dense.weight"), B("attn_output.weight") },
	{ MM_W_O_B, 0, { MM_D_EMBD }, 0, 0, L("self_attn.dense.bias"), B("attn_output.bias") },
	{ MM_W_QN, 0, { MM_D_HEAD }, MM_IF(w_qn_head), 0, L("self_attn.q_layernorm.weight"), B("attn_q_norm.weight") },
	{ MM_W_QN_B, 0, { MM_D_HEAD }, MM_IF(w_qn_bias), 0, L("self_attn.q_layernorm.bias"), B("attn_q_norm.bias") },
	{ MM_W_KN, 0, { MM_D_HEAD }, MM_IF(w_qn_head), 0, L("self_attn.k_layernorm.weight"), B("attn_k_norm.weight") },
	{ MM_W_KN_B, 0, { MM_D_HEAD }, MM_IF(w_qn_bias), 0, L("self_attn.k_layernorm.bias"), B("attn_k_norm.bias") },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, L("mlp.dense_h_to_4h.weight"), B("ffn_up.weight") },
	{ MM_W_UP_B, 0, { MM_D_FF }, 0, 0, L("mlp.dense_h_to_4h.bias"), B("ffn_up.bias") },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, L("mlp.dense_4h_to_h.weight"), B("ffn_down.weight") },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, 0, 0, L("mlp.dense_4h_to_h.bias"), B("ffn_down.bias") },
};

const struct mm_family mm_fam_persimmon = {
	.name = "persimmon",
	.model_types = MM_LIST("persimmon"),
	.archs = MM_LIST("PersimmonForCausalLM"),
	.gguf_archs = MM_LIST("persimmon"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
