/* test_gguf_pairs.c - variants that neither the set nor the conformance checkpoints have as GGUF: a small random
 * checkpoint is made here, rewritten as the converter does, and both must give the same log-probs. What the safetensors
 * side computes is checked elsewhere; here the GGUF keys, names and layouts are. */
#include "gguf_convert.h"
#include "model/model.h"

#define EMBD  32
#define HEADS 4
#define KV    2
#define D     8
#define FF    48
#define VOCAB 64
#define LEN   40

struct shape { /* of tensors to make up; '#' two layers, '@' n_expert or heads */
	const char *hf;
	uint64_t dim[3];
};
struct pair {
	struct convert c;
	const char *config;
	const struct shape *shape;
	size_t n_shape;
};

#define B      "blk.#."
#define L      "model.layers.#."
#define COMMON COMMON_OF(2)
#define COMMON_OF(layers)                                                                                              \
	{ "context_length", NULL, 64, false }, { "embedding_length", NULL, EMBD, false },                              \
		{ "block_count", NULL, layers, false }, { "feed_forward_length", NULL, FF, false },                    \
		{ "attention.head_count", NULL, HEADS, false },                                                        \
	{                                                                                                              \
		"attention.head_count_kv", NULL, KV, false                                                             \
	}
#define CONFIG(type, ...) CONFIG_OF(type, "2", __VA_ARGS__)
#define CONFIG_OF(type, layers, ...)                                                                                   \
	"{\"model_type\":\"" type "\",\"hidden_size\":32,\"num_hidden_layers\":" layers                                \
	",\"num_attention_heads\":4,\"num_key_value_heads\":2,\"intermediate_size\":48,\"vocab_size\":64,\"max_"       \
	"position_embeddings\":64,\"rope_theta\":10000.0,\"tie_word_embeddings\":false," __VA_ARGS__ "}"
#define ENDS_S                                                                                                         \
	{ "model.embed_tokens.weight", { VOCAB, EMBD } },                                                              \
	{                                                                                                              \
		"lm_head.weight",                                                                                      \
		{                                                                                                      \
			VOCAB, EMBD                                                                                    \
		}                                                                                                      \
	}
#define ENDS_N                                                                                                         \
	{ "model.embed_tokens.weight", "token_embd.weight", PLAIN },                                                   \
	{                                                                                                              \
		"lm_head.weight", "output.weight", PLAIN                                                               \
	}
#define ATTN_S                                                                                                         \
	{ L "self_attn.q_proj.weight", { HEADS * D, EMBD } }, { L "self_attn.k_proj.weight", { KV * D, EMBD } },       \
		{ L "self_attn.v_proj.weight", { KV * D, EMBD } },                                                     \
	{                                                                                                              \
		L "self_attn.o_proj.weight",                                                                           \
		{                                                                                                      \
			EMBD, HEADS *D                                                                                 \
		}                                                                                                      \
	}
#define ATTN_N(q, k)                                                                                                   \
	{ L "self_attn.q_proj.weight", B "attn_q.weight", q }, { L "self_attn.k_proj.weight", B "attn_k.weight", k },  \
		{ L "self_attn.v_proj.weight", B "attn_v.weight", PLAIN },                                             \
	{                                                                                                              \
		L "self_attn.o_proj.weight", B "attn_output.weight", PLAIN                                             \
	}
#define FFN_S                                                                                                          \
	{ L "mlp.gate_proj.weight", { FF, EMBD } }, { L "mlp.up_proj.weight", { FF, EMBD } },                          \
	{                                                                                                              \
		L "mlp.down_proj.weight",                                                                              \
		{                                                                                                      \
			EMBD, FF                                                                                       \
		}                                                                                                      \
	}
#define FFN_N                                                                                                          \
	{ L "mlp.gate_proj.weight", B "ffn_gate.weight", PLAIN },                                                      \
		{ L "mlp.up_proj.weight", B "ffn_up.weight", PLAIN },                                                  \
	{                                                                                                              \
		L "mlp.down_proj.weight", B "ffn_down.weight", PLAIN                                                   \
	}
#define NORMS_S                                                                                                        \
	{ "model.norm.weight", { EMBD } }, { L "input_layernorm.weight", { EMBD } },                                   \
	{                                                                                                              \
		L "post_attention_layernorm.weight",                                                                   \
		{                                                                                                      \
			EMBD                                                                                           \
		}                                                                                                      \
	}
#define NORMS_N                                                                                                        \
	{ "model.norm.weight", "output_norm.weight", PLAIN },                                                          \
		{ L "input_layernorm.weight", B "attn_norm.weight", PLAIN },                                           \
	{                                                                                                              \
		L "post_attention_layernorm.weight", B "ffn_norm.weight", PLAIN                                        \
	}
#define RMS                                                                                                            \
	{                                                                                                              \
		"attention.layer_norm_rms_epsilon", NULL, 1e-5, true                                                   \
	}
#define LN                                                                                                             \
	{                                                                                                              \
		"attention.layer_norm_epsilon", NULL, 1e-5, true                                                       \
	}

/* falcon 40B: two norms beside each other, q, k, v per group */
#define H "transformer.h.#."
static const struct key falcon_keys[] = { { "context_length", NULL, 2048, false },
	{ "embedding_length", NULL, EMBD, false }, { "block_count", NULL, 2, false },
	{ "feed_forward_length", NULL, 4 * EMBD, false }, { "attention.head_count", NULL, HEADS, false },
	{ "attention.head_count_kv", NULL, KV, false }, LN };
static const struct shape falcon_shapes[] = { { "transformer.word_embeddings.weight", { VOCAB, EMBD } },
	{ "transformer.ln_f.weight", { EMBD } }, { "transformer.ln_f.bias", { EMBD } },
	{ "lm_head.weight", { VOCAB, EMBD } }, { H "ln_attn.weight", { EMBD } }, { H "ln_attn.bias", { EMBD } },
	{ H "ln_mlp.weight", { EMBD } }, { H "ln_mlp.bias", { EMBD } },
	{ H "self_attention.query_key_value.weight", { (HEADS + 2 * KV) * D, EMBD } },
	{ H "self_attention.dense.weight", { EMBD, EMBD } }, { H "mlp.dense_h_to_4h.weight", { 4 * EMBD, EMBD } },
	{ H "mlp.dense_4h_to_h.weight", { EMBD, 4 * EMBD } } };
static const struct rename falcon_names[] = { { "transformer.word_embeddings.weight", "token_embd.weight", PLAIN },
	{ "transformer.ln_f.weight", "output_norm.weight", PLAIN },
	{ "transformer.ln_f.bias", "output_norm.bias", PLAIN }, { "lm_head.weight", "output.weight", PLAIN },
	{ H "ln_attn.weight", B "attn_norm_2.weight", PLAIN }, { H "ln_attn.bias", B "attn_norm_2.bias", PLAIN },
	{ H "ln_mlp.weight", B "attn_norm.weight", PLAIN }, { H "ln_mlp.bias", B "attn_norm.bias", PLAIN },
	{ H "self_attention.query_key_value.weight", B "attn_qkv.weight", QKV_GROUP },
	{ H "self_attention.dense.weight", B "attn_output.weight", PLAIN },
	{ H "mlp.dense_h_to_4h.weight", B "ffn_up.weight", PLAIN },
	{ H "mlp.dense_4h_to_h.weight", B "ffn_down.weight", PLAIN } };

/* stablelm 2 12B: parallel residual (no ffn_norm), a norm for each head of q and k */
static const struct key stablelm_keys[] = { COMMON, LN, { "rope.dimension_count", NULL, 2, false },
	{ "rope.freq_base", NULL, 10000, true } };
static const struct shape stablelm_shapes[] = { ENDS_S, ATTN_S, FFN_S, { "model.norm.weight", { EMBD } },
	{ "model.norm.bias", { EMBD } }, { L "input_layernorm.weight", { EMBD } },
	{ L "input_layernorm.bias", { EMBD } }, { L "self_attn.q_layernorm.norms.@.weight", { D } },
	{ L "self_attn.k_layernorm.norms.@.weight", { D } } };
static const struct rename stablelm_names[] = { ENDS_N, ATTN_N(PLAIN, PLAIN), FFN_N,
	{ "model.norm.weight", "output_norm.weight", PLAIN }, { "model.norm.bias", "output_norm.bias", PLAIN },
	{ L "input_layernorm.weight", B "attn_norm.weight", PLAIN },
	{ L "input_layernorm.bias", B "attn_norm.bias", PLAIN },
	{ L "self_attn.q_layernorm.norms.@.weight", B "attn_q_norm.weight", STACK },
	{ L "self_attn.k_layernorm.norms.@.weight", B "attn_k_norm.weight", STACK } };

/* gpt-neox with the branches one after the other */
#define N "gpt_neox.layers.#."
static const struct key neox_keys[] = { { "context_length", NULL, 64, false },
	{ "embedding_length", NULL, EMBD, false }, { "block_count", NULL, 2, false },
	{ "feed_forward_length", NULL, FF, false }, { "attention.head_count", NULL, HEADS, false },
	{ "rope.dimension_count", NULL, 4, false }, LN, { "use_parallel_residual=false", NULL, 0, false } };
static const struct shape neox_shapes[] = { { "gpt_neox.embed_in.weight", { VOCAB, EMBD } },
	{ "embed_out.weight", { VOCAB, EMBD } }, { "gpt_neox.final_layer_norm.weight", { EMBD } },
	{ "gpt_neox.final_layer_norm.bias", { EMBD } }, { N "input_layernorm.weight", { EMBD } },
	{ N "input_layernorm.bias", { EMBD } }, { N "post_attention_layernorm.weight", { EMBD } },
	{ N "post_attention_layernorm.bias", { EMBD } }, { N "attention.query_key_value.weight", { 3 * EMBD, EMBD } },
	{ N "attention.query_key_value.bias", { 3 * EMBD } }, { N "attention.dense.weight", { EMBD, EMBD } },
	{ N "attention.dense.bias", { EMBD } }, { N "mlp.dense_h_to_4h.weight", { FF, EMBD } },
	{ N "mlp.dense_h_to_4h.bias", { FF } }, { N "mlp.dense_4h_to_h.weight", { EMBD, FF } },
	{ N "mlp.dense_4h_to_h.bias", { EMBD } } };
static const struct rename neox_names[] = { { "gpt_neox.embed_in.weight", "token_embd.weight", PLAIN },
	{ "embed_out.weight", "output.weight", PLAIN },
	{ "gpt_neox.final_layer_norm.weight", "output_norm.weight", PLAIN },
	{ "gpt_neox.final_layer_norm.bias", "output_norm.bias", PLAIN },
	{ N "input_layernorm.weight", B "attn_norm.weight", PLAIN },
	{ N "input_layernorm.bias", B "attn_norm.bias", PLAIN },
	{ N "post_attention_layernorm.weight", B "ffn_norm.weight", PLAIN },
	{ N "post_attention_layernorm.bias", B "ffn_norm.bias", PLAIN },
	{ N "attention.query_key_value.weight", B "attn_qkv.weight", QKV_GROUP },
	{ N "attention.query_key_value.bias", B "attn_qkv.bias", QKV_GROUP },
	{ N "attention.dense.weight", B "attn_output.weight", PLAIN },
	{ N "attention.dense.bias", B "attn_output.bias", PLAIN },
	{ N "mlp.dense_h_to_4h.weight", B "ffn_up.weight", PLAIN },
	{ N "mlp.dense_h_to_4h.bias", B "ffn_up.bias", PLAIN },
	{ N "mlp.dense_4h_to_h.weight", B "ffn_down.weight", PLAIN },
	{ N "mlp.dense_4h_to_h.bias", B "ffn_down.bias", PLAIN } };

/* granitemoe: gate and up of all experts in one tensor, the chosen weights by a softmax over those alone */
#define MOE L "block_sparse_moe."
static const struct key granitemoe_keys[] = { COMMON, RMS, { "rope.freq_base", NULL, 10000, true },
	{ "expert_count", NULL, 3, false }, { "expert_used_count", NULL, 2, false },
	{ "attention.scale", NULL, 0.3, true }, { "embedding_scale", NULL, 3, true },
	{ "residual_scale", NULL, 0.5, true }, { "logit_scale", NULL, 2, true } };
static const struct shape granitemoe_shapes[] = { ENDS_S, NORMS_S, ATTN_S, { MOE "router.layer.weight", { 3, EMBD } },
	{ MOE "input_linear.weight", { 3, 2 * FF, EMBD } }, { MOE "output_linear.weight", { 3, EMBD, FF } } };
static const struct rename granitemoe_names[] = { ENDS_N, NORMS_N, ATTN_N(PERMUTE_Q, PERMUTE_K),
	{ MOE "router.layer.weight", B "ffn_gate_inp.weight", PLAIN },
	{ MOE "input_linear.weight", B "ffn_gate_exps.weight", TOP },
	{ MOE "input_linear.weight", B "ffn_up_exps.weight", BOTTOM },
	{ MOE "output_linear.weight", B "ffn_down_exps.weight", PLAIN } };

/* command-r plus: a norm for each head of q and k, stored as [heads, size] */
static const struct key cohere_keys[] = { COMMON, LN, { "rope.freq_base", NULL, 10000, true },
	{ "logit_scale", NULL, 0.25, true } };
static const struct shape cohere_shapes[] = { { "model.embed_tokens.weight", { VOCAB, EMBD } },
	{ "model.norm.weight", { EMBD } }, { L "input_layernorm.weight", { EMBD } }, ATTN_S, FFN_S,
	{ L "self_attn.q_norm.weight", { HEADS, D } }, { L "self_attn.k_norm.weight", { KV, D } } };
static const struct rename cohere_names[] = { { "model.embed_tokens.weight", "token_embd.weight", PLAIN },
	{ "model.norm.weight", "output_norm.weight", PLAIN },
	{ L "input_layernorm.weight", B "attn_norm.weight", PLAIN }, ATTN_N(PLAIN, PLAIN), FFN_N,
	{ L "self_attn.q_norm.weight", B "attn_q_norm.weight", PLAIN },
	{ L "self_attn.k_norm.weight", B "attn_k_norm.weight", PLAIN } };

/* llama with yarn */
static const struct key yarn_keys[] = { COMMON, RMS, { "rope.freq_base", NULL, 10000, true },
	{ "rope.dimension_count", NULL, 8, false }, { "rope.scaling.type=yarn", NULL, 0, false },
	{ "rope.scaling.factor", NULL, 4, true }, { "rope.scaling.original_context_length", NULL, 16, false } };
static const struct shape llama_shapes[] = { ENDS_S, NORMS_S, ATTN_S, FFN_S };
static const struct rename llama_names[] = { ENDS_N, NORMS_N, ATTN_N(PERMUTE_Q, PERMUTE_K), FFN_N };

/* phi3 with long and short factors: the tensors are the config's lists; 40 tokens are longer than 16, the first
 * sequence is not */
static const struct key phi3_keys[] = { COMMON, RMS, { "rope.freq_base", NULL, 10000, true },
	{ "rope.dimension_count", NULL, 8, false }, { "rope.scaling.original_context_length", NULL, 16, false },
	{ "rope.scaling.attn_factor", NULL, 1.224744871, true },
	{ "attention.sliding_window", NULL, 24, false } }; /* sqrt(1 + ln 4 / ln 16) */
static const struct shape phi3_shapes[] = { ENDS_S, NORMS_S,
	{ L "self_attn.qkv_proj.weight", { (HEADS + 2 * KV) * D, EMBD } },
	{ L "self_attn.o_proj.weight", { EMBD, EMBD } }, { L "mlp.gate_up_proj.weight", { 2 * FF, EMBD } },
	{ L "mlp.down_proj.weight", { EMBD, FF } }, { "extra.long", { 4 } }, { "extra.short", { 4 } } };
static const struct rename phi3_names[] = { ENDS_N, NORMS_N,
	{ L "self_attn.qkv_proj.weight", B "attn_qkv.weight", PLAIN },
	{ L "self_attn.o_proj.weight", B "attn_output.weight", PLAIN },
	{ L "mlp.gate_up_proj.weight", B "ffn_up.weight", PLAIN },
	{ L "mlp.down_proj.weight", B "ffn_down.weight", PLAIN }, { "extra.long", "rope_factors_long.weight", PLAIN },
	{ "extra.short", "rope_factors_short.weight", PLAIN } };

/* qwen3moe */
static const struct key qwen3moe_keys[] = { COMMON, RMS, { "rope.freq_base", NULL, 10000, true },
	{ "attention.key_length", NULL, 16, false }, { "attention.value_length", NULL, 16, false },
	{ "expert_count", NULL, 3, false }, { "expert_used_count", NULL, 2, false },
	{ "expert_feed_forward_length", NULL, 24, false } };
static const struct shape qwen3moe_shapes[] = { ENDS_S, NORMS_S, { L "self_attn.q_proj.weight", { HEADS * 16, EMBD } },
	{ L "self_attn.k_proj.weight", { KV * 16, EMBD } }, { L "self_attn.v_proj.weight", { KV * 16, EMBD } },
	{ L "self_attn.o_proj.weight", { EMBD, HEADS * 16 } }, { L "self_attn.q_norm.weight", { 16 } },
	{ L "self_attn.k_norm.weight", { 16 } }, { L "mlp.gate.weight", { 3, EMBD } },
	{ L "mlp.experts.@.gate_proj.weight", { 24, EMBD } }, { L "mlp.experts.@.up_proj.weight", { 24, EMBD } },
	{ L "mlp.experts.@.down_proj.weight", { EMBD, 24 } } };
static const struct rename qwen3moe_names[] = { ENDS_N, NORMS_N, ATTN_N(PLAIN, PLAIN),
	{ L "self_attn.q_norm.weight", B "attn_q_norm.weight", PLAIN },
	{ L "self_attn.k_norm.weight", B "attn_k_norm.weight", PLAIN },
	{ L "mlp.gate.weight", B "ffn_gate_inp.weight", PLAIN },
	{ L "mlp.experts.@.gate_proj.weight", B "ffn_gate_exps.weight", STACK },
	{ L "mlp.experts.@.up_proj.weight", B "ffn_up_exps.weight", STACK },
	{ L "mlp.experts.@.down_proj.weight", B "ffn_down_exps.weight", STACK } };

/* olmo with clipped q, k, v */
static const struct key olmo_keys[] = { COMMON, LN, { "rope.freq_base", NULL, 10000, true },
	{ "attention.clamp_kqv", NULL, 0.5, true } };
static const struct shape olmo_shapes[] = { ENDS_S, ATTN_S, FFN_S };
static const struct rename olmo_names[] = { ENDS_N, ATTN_N(PERMUTE_Q, PERMUTE_K), FFN_N };

/* glm4: norms before and after each branch, gate and up in one tensor, biases */
#define BIAS_S                                                                                                         \
	{ L "self_attn.q_proj.bias", { HEADS * D } }, { L "self_attn.k_proj.bias", { KV * D } },                       \
	{                                                                                                              \
		L "self_attn.v_proj.bias",                                                                             \
		{                                                                                                      \
			KV *D                                                                                          \
		}                                                                                                      \
	}
#define BIAS_N                                                                                                         \
	{ L "self_attn.q_proj.bias", B "attn_q.bias", PLAIN }, { L "self_attn.k_proj.bias", B "attn_k.bias", PLAIN },  \
	{                                                                                                              \
		L "self_attn.v_proj.bias", B "attn_v.bias", PLAIN                                                      \
	}
static const struct key glm4_keys[] = { COMMON, RMS, { "rope.freq_base", NULL, 10000, true },
	{ "rope.dimension_count", NULL, 4, false } };
static const struct shape glm4_shapes[] = { ENDS_S, NORMS_S, ATTN_S, BIAS_S,
	{ L "post_self_attn_layernorm.weight", { EMBD } }, { L "post_mlp_layernorm.weight", { EMBD } },
	{ L "mlp.gate_up_proj.weight", { 2 * FF, EMBD } }, { L "mlp.down_proj.weight", { EMBD, FF } } };
static const struct rename glm4_names[] = { ENDS_N, NORMS_N, ATTN_N(PLAIN, PLAIN), BIAS_N,
	{ L "post_self_attn_layernorm.weight", B "post_attention_norm.weight", PLAIN },
	{ L "post_mlp_layernorm.weight", B "post_ffw_norm.weight", PLAIN },
	{ L "mlp.gate_up_proj.weight", B "ffn_up.weight", PLAIN },
	{ L "mlp.down_proj.weight", B "ffn_down.weight", PLAIN } };

/* cohere2: every fourth layer sees all and has no positions; not stored */
static const struct key cohere2_keys[] = { COMMON_OF(4), LN, { "rope.freq_base", NULL, 10000, true },
	{ "logit_scale", NULL, 0.25, true }, { "attention.sliding_window", NULL, 8, false },
	{ "rope.dimension_count", NULL, 8, false } };
static const struct shape cohere2_shapes[] = { { "model.embed_tokens.weight", { VOCAB, EMBD } },
	{ "model.norm.weight", { EMBD } }, { L "input_layernorm.weight", { EMBD } }, ATTN_S, FFN_S };
static const struct rename cohere2_names[] = { { "model.embed_tokens.weight", "token_embd.weight", PLAIN },
	{ "model.norm.weight", "output_norm.weight", PLAIN },
	{ L "input_layernorm.weight", B "attn_norm.weight", PLAIN }, ATTN_N(PLAIN, PLAIN), FFN_N };

/* exaone4: norms only behind the branches, q and k normalised, every fourth layer without positions where there is a
 * window */
static const struct key exaone4_keys[] = { COMMON_OF(4), RMS, { "rope.freq_base", NULL, 10000, true },
	{ "attention.sliding_window", NULL, 8, false } };
static const struct key exaone4_small_keys[] = { COMMON_OF(4), RMS, { "rope.freq_base", NULL, 10000, true } };
static const struct shape exaone4_shapes[] = { ENDS_S, ATTN_S, FFN_S, { "model.norm.weight", { EMBD } },
	{ L "post_attention_layernorm.weight", { EMBD } }, { L "post_feedforward_layernorm.weight", { EMBD } },
	{ L "self_attn.q_norm.weight", { D } }, { L "self_attn.k_norm.weight", { D } } };
static const struct rename exaone4_names[] = { ENDS_N, ATTN_N(PLAIN, PLAIN), FFN_N,
	{ "model.norm.weight", "output_norm.weight", PLAIN },
	{ L "post_attention_layernorm.weight", B "post_attention_norm.weight", PLAIN },
	{ L "post_feedforward_layernorm.weight", B "post_ffw_norm.weight", PLAIN },
	{ L "self_attn.q_norm.weight", B "attn_q_norm.weight", PLAIN },
	{ L "self_attn.k_norm.weight", B "attn_k_norm.weight", PLAIN } };

/* olmo3: OLMo 2 with a window in three layers of four; scaled rotation in the fourth alone */
static const struct key olmo3_keys[] = { COMMON_OF(4), RMS, { "rope.freq_base", NULL, 10000, true },
	{ "attention.sliding_window", NULL, 8, false }, { "rope.scaling.type=linear", NULL, 0, false },
	{ "rope.scaling.factor", NULL, 4, true } };
static const struct shape olmo3_shapes[] = { ENDS_S, ATTN_S, FFN_S, { "model.norm.weight", { EMBD } },
	{ L "post_attention_layernorm.weight", { EMBD } }, { L "post_feedforward_layernorm.weight", { EMBD } },
	{ L "self_attn.q_norm.weight", { HEADS * D } }, { L "self_attn.k_norm.weight", { KV * D } } };

/* smollm3: llama without positions in every fourth layer */
static const struct key smollm3_keys[] = { COMMON_OF(4), RMS, { "rope.freq_base", NULL, 10000, true } };

/* hunyuan: q and k normalised after the rotation; alpha is worked into the base */
static const struct key hunyuan_keys[] = { COMMON, RMS, { "rope.freq_base", NULL, 1842015.7493201927, true },
	{ "attention.key_length", NULL, 8, false },
	{ "attention.value_length", NULL, 8, false } }; /* 10000 * 50^(8 / 6) */
static const struct shape hunyuan_shapes[] = { ENDS_S, NORMS_S, ATTN_S, FFN_S,
	{ L "self_attn.query_layernorm.weight", { D } }, { L "self_attn.key_layernorm.weight", { D } } };
static const struct rename hunyuan_names[] = { ENDS_N, NORMS_N, ATTN_N(PLAIN, PLAIN), FFN_N,
	{ L "self_attn.query_layernorm.weight", B "attn_q_norm.weight", PLAIN },
	{ L "self_attn.key_layernorm.weight", B "attn_k_norm.weight", PLAIN } };

#define CASE(name_, arch_, kv_, t, s, n, experts) CASE_OF(2, name_, arch_, kv_, t, s, n, experts)
#define CASE_OF(layers, name_, arch_, kv_, t, s, n, experts)                                                           \
	{                                                                                                              \
		name_, arch_, layers, experts, HEADS, kv_, t, MM_COUNT(t), n, MM_COUNT(n), 0, 0                        \
	}
#define SHAPES(s) s, MM_COUNT(s)
static const struct pair pairs[] = {
	{ CASE("falcon 40B", "falcon", KV, falcon_keys, falcon_shapes, falcon_names, 0),
		CONFIG("falcon", "\"new_decoder_architecture\":true,\"num_kv_heads\":2,\"bias\":false,\"parallel_"
				 "attn\":true,\"alibi\":false"),
		SHAPES(falcon_shapes) },
	{ CASE("stablelm 2 12B", "stablelm", KV, stablelm_keys, stablelm_shapes, stablelm_names, 0),
		CONFIG("stablelm", "\"use_parallel_residual\":true,\"qk_layernorm\":true,\"use_qkv_bias\":false,"
				   "\"partial_rotary_factor\":0.25,\"layer_norm_eps\":1e-5"),
		SHAPES(stablelm_shapes) },
	{ CASE("neox sequential", "gptneox", HEADS, neox_keys, neox_shapes, neox_names, 0),
		CONFIG("gpt_neox", "\"use_parallel_residual\":false,\"rotary_pct\":0.5,\"hidden_act\":\"gelu\""),
		SHAPES(neox_shapes) },
	{ CASE("granitemoe", "granitemoe", KV, granitemoe_keys, granitemoe_shapes, granitemoe_names, 0),
		CONFIG("granitemoe", "\"rms_norm_eps\":1e-5,\"num_local_experts\":3,\"num_experts_per_tok\":2,"
				     "\"attention_multiplier\":0.3,\"embedding_multiplier\":3.0,\"residual_"
				     "multiplier\":0.5,\"logits_scaling\":2.0"),
		SHAPES(granitemoe_shapes) },
	{ CASE("command-r plus", "command-r", KV, cohere_keys, cohere_shapes, cohere_names, 0),
		"{\"model_type\":\"cohere\",\"hidden_size\":32,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_"
		"key_value_heads\":2,\"intermediate_size\":48,\"vocab_size\":64,"
		"\"max_position_embeddings\":64,\"rope_theta\":10000.0,\"use_qk_norm\":true,\"logit_scale\":0.25,"
		"\"layer_norm_eps\":1e-5}",
		SHAPES(cohere_shapes) },
	{ CASE("llama yarn", "llama", KV, yarn_keys, llama_shapes, llama_names, 0),
		CONFIG("llama", "\"rms_norm_eps\":1e-5,\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,"
				"\"original_max_position_embeddings\":16}"),
		SHAPES(llama_shapes) },
	{ CASE("phi3 longrope", "phi3", KV, phi3_keys, phi3_shapes, phi3_names, 0),
		CONFIG("phi3", "\"rms_norm_eps\":1e-5,\"sliding_window\":24,\"original_max_position_embeddings\":16,"
			       "\"rope_scaling\":{\"type\":\"longrope\",\"long_factor\":[%.9g,%.9g,%.9g,%.9g],"
			       "\"short_factor\":[%.9g,%.9g,%.9g,%.9g]}"),
		SHAPES(phi3_shapes) },
	{ CASE("qwen3moe", "qwen3moe", KV, qwen3moe_keys, qwen3moe_shapes, qwen3moe_names, 3),
		CONFIG("qwen3_moe", "\"rms_norm_eps\":1e-5,\"head_dim\":16,\"num_experts\":3,\"num_experts_per_tok\":2,"
				    "\"moe_intermediate_size\":24,\"norm_topk_prob\":true,\"decoder_sparse_step\":1"),
		SHAPES(qwen3moe_shapes) },
	{ CASE("glm4", "glm4", KV, glm4_keys, glm4_shapes, glm4_names, 0),
		CONFIG("glm4",
			"\"rms_norm_eps\":1e-5,\"head_dim\":8,\"partial_rotary_factor\":0.5,\"attention_bias\":true"),
		SHAPES(glm4_shapes) },
	{ CASE_OF(4, "cohere2", "cohere2", KV, cohere2_keys, cohere2_shapes, cohere2_names, 0),
		"{\"model_type\":\"cohere2\",\"hidden_size\":32,\"num_hidden_layers\":4,\"num_attention_heads\":4,"
		"\"num_key_value_heads\":2,\"intermediate_size\":48,\"vocab_size\":64,"
		"\"max_position_embeddings\":64,\"rope_theta\":10000.0,\"head_dim\":8,\"logit_scale\":0.25,\"layer_"
		"norm_eps\":1e-5,\"sliding_window\":8,\"sliding_window_pattern\":4}",
		SHAPES(cohere2_shapes) },
	{ CASE_OF(4, "olmo3", "olmo2", KV, olmo3_keys, olmo3_shapes, exaone4_names, 0),
		CONFIG_OF("olmo3", "4",
			"\"rms_norm_eps\":1e-5,\"sliding_window\":8,\"rope_scaling\":{\"rope_type\":\"linear\","
			"\"factor\":4.0}"),
		SHAPES(olmo3_shapes) },
	{ CASE_OF(4, "exaone4 32B", "exaone4", KV, exaone4_keys, exaone4_shapes, exaone4_names, 0),
		CONFIG_OF("exaone4", "4",
			"\"rms_norm_eps\":1e-5,\"sliding_window\":8,\"sliding_window_pattern\":4,\"layer_types\":["
			"\"sliding_attention\",\"sliding_attention\",\"sliding_attention\",\"full_attention\"]"),
		SHAPES(exaone4_shapes) },
	{ CASE_OF(4, "exaone4 1.2B", "exaone4", KV, exaone4_small_keys, exaone4_shapes, exaone4_names, 0),
		CONFIG_OF("exaone4", "4",
			"\"rms_norm_eps\":1e-5,\"sliding_window\":null,\"sliding_window_pattern\":null,\"layer_types\":"
			"[\"full_attention\",\"full_attention\",\"full_attention\",\"full_attention\"]"),
		SHAPES(exaone4_shapes) },
	{ CASE_OF(4, "smollm3", "smollm3", KV, smollm3_keys, llama_shapes, llama_names, 0),
		CONFIG_OF("smollm3", "4", "\"rms_norm_eps\":1e-5,\"no_rope_layer_interval\":4"), SHAPES(llama_shapes) },
	{ CASE("hunyuan", "hunyuan-dense", KV, hunyuan_keys, hunyuan_shapes, hunyuan_names, 0),
		CONFIG("hunyuan_v1_dense",
			"\"rms_norm_eps\":1e-5,\"head_dim\":8,\"rope_scaling\":{\"type\":\"dynamic\",\"alpha\":50.0,"
			"\"factor\":1.0,\"beta_fast\":32,\"beta_slow\":1,\"mscale\":1.0,\"mscale_all_dim\":1.0}"),
		SHAPES(hunyuan_shapes) },
	{ CASE("olmo clipped", "olmo", KV, olmo_keys, olmo_shapes, olmo_names, 0), CONFIG("olmo", "\"clip_qkv\":0.5"),
		SHAPES(olmo_shapes) },
};

/* ---- making up a checkpoint ---- */

static void put_made_up(struct mm_buf *head, struct mm_buf *data, struct mm_rng *rng, const char *name,
	const struct shape *s, float extra[8])
{
	size_t n = 1, from = data->len;
	bool norm = strstr(name, "norm") || strstr(name, "ln_"), factor = !strncmp(name, "extra.", 6);
	mm_buf_printf(head, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", head->len ? "," : "{", name);
	for (int i = 0; i < 3 && s->dim[i]; i++) {
		mm_buf_printf(head, "%s%llu", i ? "," : "", (unsigned long long)s->dim[i]);
		n *= s->dim[i];
	}
	for (size_t i = 0; i < n; i++) {
		float v = (float)(mm_rng_normal(rng) * (norm ? 0.2 : 0.3)) + (norm && strstr(name, "weight") ? 1 : 0);
		if (factor)
			extra[(strstr(name, "short") ? 4 : 0) + i] = v = 1 + (float)mm_rng_double(rng);
		mm_buf_f32(data, v);
	}
	mm_buf_printf(head, "],\"data_offsets\":[%zu,%zu]}", from, data->len);
}

static void make_checkpoint(const char *dir, const struct pair *p)
{
	struct mm_buf head = { 0 }, data = { 0 };
	struct mm_rng rng;
	float f[8] = { 0 };
	char name[256], config[2048];
	mm_rng_init(&rng, 17);
	for (size_t i = 0; i < p->n_shape; i++) {
		const char *hf = p->shape[i].hf;
		size_t layers = strchr(hf, '#') ? p->c.n_layer : 1;
		size_t many = !strchr(hf, '@')		  ? 1
			      : p->c.n_expert		  ? p->c.n_expert
			      : strstr(hf, "k_layernorm") ? KV
							  : HEADS;
		for (size_t l = 0; l < layers; l++)
			for (size_t e = 0; e < many; e++) {
				name_of(hf, l, e, name);
				put_made_up(&head, &data, &rng, name, &p->shape[i], f);
			}
	}
	mm_buf_str(&head, "}");
	put_safetensors(at(dir, "model.safetensors"), (const char *)head.data, head.len, data.data, data.len);
	format(config, p->config, (double)f[0], (double)f[1], (double)f[2], (double)f[3], (double)f[4], (double)f[5],
		(double)f[6], (double)f[7]);
	put_text(at(dir, "config.json"), config);
	mm_buf_fini(&head);
	mm_buf_fini(&data);
}

static void score(const char *path, const char *what, double *lp)
{
	struct mm_err err = { 0 };
	const struct mm_model_opts opts = { .compute = MM_COMPUTE_F32 };
	struct mm_model *m = mm_model_open(path, &opts, &err);
	uint32_t id[LEN];
	for (uint32_t i = 0; i < LEN; i++)
		id[i] = (i * 37 + 11) % VOCAB;
	/* a sequence below the first context length, and one beyond */
	if (!m || mm_score_ids(m, id, 12, lp, &err) || mm_score_ids(m, id, LEN, lp + 11, &err))
		fail_msg("%s (%s): %s", what, path, err.text);
	mm_model_close(m);
}

static void both_containers_give_the_same(void **state)
{
	(void)state;
	int wrong = 0;
	for (size_t i = 0; i < MM_COUNT(pairs); i++) {
		struct mm_err err = { 0 };
		double a[LEN + 10], b[LEN + 10], worst_diff = 0;
		char *dir = scratch_new();
		make_checkpoint(dir, &pairs[i]);
		struct mm_ckpt *ck = mm_ckpt_open(dir, NULL, &err);
		if (!ck)
			fail_msg("%s: %s", pairs[i].c.dir, err.text);
		write_gguf(at(dir, "m.gguf"), &pairs[i].c, ck);
		mm_ckpt_close(ck);
		score(dir, pairs[i].c.dir, a);
		score(at(dir, "m.gguf"), pairs[i].c.dir, b);
		for (int k = 0; k < LEN + 10; k++)
			worst_diff = fmax(worst_diff, fabs(a[k] - b[k]));
		print_message("%-16s %.1e\n", pairs[i].c.dir, worst_diff);
		wrong += !(worst_diff < 2e-5); /* order of f32 additions, keys rounded to f32 */
		scratch_free(dir);
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_containers_give_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
