/* test_gguf_convert.c - families for which the set has no GGUF file: the conformance checkpoint is rewritten here as
 * the converter writes it (names, keys, permuted and stacked tensors, + 1 in norms), read back, and must give the
 * checkpoint's own golden log-probs. So the family's GGUF column is checked by a second formulation: the tables below.
 */
#include "gguf_convert.h"
#include "model/model.h"

#define FIXTURES "tests/fixtures/conformance/"

#define B "blk.#."
#define L "model.layers.#."
#define LLAMA_ENDS                                                                                                     \
	{ "model.embed_tokens.weight", "token_embd.weight", PLAIN },                                                   \
	{                                                                                                              \
		"lm_head.weight", "output.weight", PLAIN                                                               \
	}
#define LLAMA_ATTN(q, k)                                                                                               \
	{ L "self_attn.q_proj.weight", B "attn_q.weight", q }, { L "self_attn.k_proj.weight", B "attn_k.weight", k },  \
		{ L "self_attn.v_proj.weight", B "attn_v.weight", PLAIN },                                             \
	{                                                                                                              \
		L "self_attn.o_proj.weight", B "attn_output.weight", PLAIN                                             \
	}
#define LLAMA_BIAS                                                                                                     \
	{ L "self_attn.q_proj.bias", B "attn_q.bias", PLAIN }, { L "self_attn.k_proj.bias", B "attn_k.bias", PLAIN },  \
	{                                                                                                              \
		L "self_attn.v_proj.bias", B "attn_v.bias", PLAIN                                                      \
	}
#define EXPERTS                                                                                                        \
	{ L "mlp.gate.weight", B "ffn_gate_inp.weight", PLAIN },                                                       \
		{ L "mlp.experts.@.gate_proj.weight", B "ffn_gate_exps.weight", STACK },                               \
		{ L "mlp.experts.@.up_proj.weight", B "ffn_up_exps.weight", STACK },                                   \
	{                                                                                                              \
		L "mlp.experts.@.down_proj.weight", B "ffn_down_exps.weight", STACK                                    \
	}
#define NORMS                                                                                                          \
	{ "model.norm.weight", "output_norm.weight", PLAIN },                                                          \
		{ L "input_layernorm.weight", B "attn_norm.weight", PLAIN },                                           \
	{                                                                                                              \
		L "post_attention_layernorm.weight", B "ffn_norm.weight", PLAIN                                        \
	}
#define SIZES                                                                                                          \
	{ "context_length", "max_position_embeddings", 0, false }, { "embedding_length", "hidden_size", 0, false },    \
		{ "block_count", "num_hidden_layers", 0, false },                                                      \
		{ "feed_forward_length", "intermediate_size", 0, false },                                              \
		{ "attention.head_count", "num_attention_heads", 0, false },                                           \
		{ "attention.head_count_kv", "num_key_value_heads", 0, false },                                        \
	{                                                                                                              \
		"rope.freq_base", "rope_theta", 0, true                                                                \
	}

static const struct key mpt_keys[] = { { "context_length", "max_seq_len", 0, false },
	{ "embedding_length", "d_model", 0, false }, { "block_count", "n_layers", 0, false },
	{ "feed_forward_length", NULL, 192, false }, { "attention.head_count", "n_heads", 0, false },
	{ "attention.layer_norm_epsilon", NULL, 1e-5, true }, { "attention.max_alibi_bias", NULL, 8, true } };
static const struct rename mpt_names[] = { { "transformer.wte.weight", "token_embd.weight", PLAIN },
	{ "transformer.norm_f.weight", "output_norm.weight", PLAIN },
	{ "transformer.blocks.#.norm_1.weight", B "attn_norm.weight", PLAIN },
	{ "transformer.blocks.#.norm_2.weight", B "ffn_norm.weight", PLAIN },
	{ "transformer.blocks.#.attn.Wqkv.weight", B "attn_qkv.weight", PLAIN },
	{ "transformer.blocks.#.attn.out_proj.weight", B "attn_output.weight", PLAIN },
	{ "transformer.blocks.#.ffn.up_proj.weight", B "ffn_up.weight", PLAIN },
	{ "transformer.blocks.#.ffn.down_proj.weight", B "ffn_down.weight", PLAIN } };

static const struct key nemotron_keys[] = { SIZES, { "attention.layer_norm_epsilon", "norm_eps", 0, true },
	{ "rope.dimension_count", NULL, 8, false } };
static const struct rename nemotron_names[] = { LLAMA_ENDS, LLAMA_ATTN(PLAIN, PLAIN),
	{ "model.norm.weight", "output_norm.weight", PLUS1 }, { "model.norm.bias", "output_norm.bias", PLAIN },
	{ L "input_layernorm.weight", B "attn_norm.weight", PLUS1 },
	{ L "input_layernorm.bias", B "attn_norm.bias", PLAIN },
	{ L "post_attention_layernorm.weight", B "ffn_norm.weight", PLUS1 },
	{ L "post_attention_layernorm.bias", B "ffn_norm.bias", PLAIN },
	{ L "mlp.up_proj.weight", B "ffn_up.weight", PLAIN },
	{ L "mlp.down_proj.weight", B "ffn_down.weight", PLAIN } };

static const struct key olmo_keys[] = { SIZES, { "attention.layer_norm_epsilon", NULL, 1e-5, true } };
static const struct rename olmo_names[] = { LLAMA_ENDS, LLAMA_ATTN(PERMUTE_Q, PERMUTE_K),
	{ L "mlp.gate_proj.weight", B "ffn_gate.weight", PLAIN }, { L "mlp.up_proj.weight", B "ffn_up.weight", PLAIN },
	{ L "mlp.down_proj.weight", B "ffn_down.weight", PLAIN } };

static const struct key olmoe_keys[] = { SIZES, { "attention.layer_norm_rms_epsilon", "rms_norm_eps", 0, true },
	{ "expert_count", "num_experts", 0, false }, { "expert_used_count", "num_experts_per_tok", 0, false } };
static const struct rename olmoe_names[] = { LLAMA_ENDS, NORMS, LLAMA_ATTN(PLAIN, PLAIN), EXPERTS,
	{ L "self_attn.q_norm.weight", B "attn_q_norm.weight", PLAIN },
	{ L "self_attn.k_norm.weight", B "attn_k_norm.weight", PLAIN } };

static const struct key phi_keys[] = { SIZES, { "attention.layer_norm_epsilon", "layer_norm_eps", 0, true },
	{ "rope.dimension_count", NULL, 6, false } };
static const struct rename phi_names[] = { LLAMA_ENDS, { "lm_head.bias", "output.bias", PLAIN },
	{ "model.final_layernorm.weight", "output_norm.weight", PLAIN },
	{ "model.final_layernorm.bias", "output_norm.bias", PLAIN },
	{ L "input_layernorm.weight", B "attn_norm.weight", PLAIN },
	{ L "input_layernorm.bias", B "attn_norm.bias", PLAIN },
	{ L "self_attn.q_proj.weight", B "attn_q.weight", PLAIN },
	{ L "self_attn.k_proj.weight", B "attn_k.weight", PLAIN },
	{ L "self_attn.v_proj.weight", B "attn_v.weight", PLAIN }, LLAMA_BIAS,
	{ L "self_attn.dense.weight", B "attn_output.weight", PLAIN },
	{ L "self_attn.dense.bias", B "attn_output.bias", PLAIN }, { L "mlp.fc1.weight", B "ffn_up.weight", PLAIN },
	{ L "mlp.fc1.bias", B "ffn_up.bias", PLAIN }, { L "mlp.fc2.weight", B "ffn_down.weight", PLAIN },
	{ L "mlp.fc2.bias", B "ffn_down.bias", PLAIN } };

static const struct key qwen2moe_keys[] = { SIZES, { "attention.layer_norm_rms_epsilon", "rms_norm_eps", 0, true },
	{ "expert_count", "num_experts", 0, false }, { "expert_used_count", "num_experts_per_tok", 0, false },
	{ "expert_feed_forward_length", "moe_intermediate_size", 0, false },
	{ "expert_shared_feed_forward_length", "shared_expert_intermediate_size", 0, false } };
static const struct rename qwen2moe_names[] = { LLAMA_ENDS, NORMS, LLAMA_ATTN(PLAIN, PLAIN), LLAMA_BIAS, EXPERTS,
	{ L "mlp.shared_expert.gate_proj.weight", B "ffn_gate_shexp.weight", PLAIN },
	{ L "mlp.shared_expert.up_proj.weight", B "ffn_up_shexp.weight", PLAIN },
	{ L "mlp.shared_expert.down_proj.weight", B "ffn_down_shexp.weight", PLAIN },
	{ L "mlp.shared_expert_gate.weight", B "ffn_gate_inp_shexp.weight", PLAIN } };

#define H "transformer.h.#."
static const struct key starcoder_keys[] = { { "context_length", "n_positions", 0, false },
	{ "embedding_length", "n_embd", 0, false }, { "block_count", "n_layer", 0, false },
	{ "feed_forward_length", NULL, 192, false }, { "attention.head_count", "n_head", 0, false },
	{ "attention.head_count_kv", NULL, 1, false },
	{ "attention.layer_norm_epsilon", "layer_norm_epsilon", 0, true } };
static const struct rename starcoder_names[] = { { "transformer.wte.weight", "token_embd.weight", PLAIN },
	{ "transformer.wpe.weight", "position_embd.weight", PLAIN },
	{ "transformer.ln_f.weight", "output_norm.weight", PLAIN },
	{ "transformer.ln_f.bias", "output_norm.bias", PLAIN }, { H "ln_1.weight", B "attn_norm.weight", PLAIN },
	{ H "ln_1.bias", B "attn_norm.bias", PLAIN }, { H "ln_2.weight", B "ffn_norm.weight", PLAIN },
	{ H "ln_2.bias", B "ffn_norm.bias", PLAIN }, { H "attn.c_attn.weight", B "attn_qkv.weight", PLAIN },
	{ H "attn.c_attn.bias", B "attn_qkv.bias", PLAIN }, { H "attn.c_proj.weight", B "attn_output.weight", PLAIN },
	{ H "attn.c_proj.bias", B "attn_output.bias", PLAIN }, { H "mlp.c_fc.weight", B "ffn_up.weight", PLAIN },
	{ H "mlp.c_fc.bias", B "ffn_up.bias", PLAIN }, { H "mlp.c_proj.weight", B "ffn_down.weight", PLAIN },
	{ H "mlp.c_proj.bias", B "ffn_down.bias", PLAIN } };

#define M "backbone.layers.#."
static const struct key mamba2_keys[] = { { "context_length", NULL, 1048576, false },
	{ "embedding_length", "hidden_size", 0, false }, { "feed_forward_length", NULL, 0, false },
	{ "attention.head_count", NULL, 0, false }, { "block_count", "num_hidden_layers", 0, false },
	{ "ssm.conv_kernel", "conv_kernel", 0, false }, { "ssm.inner_size", NULL, 96, false },
	{ "ssm.state_size", "state_size", 0, false }, { "ssm.time_step_rank", "num_heads", 0, false },
	{ "ssm.group_count", "n_groups", 0, false },
	{ "attention.layer_norm_rms_epsilon", "layer_norm_epsilon", 0, true } };
static const struct rename mamba2_names[] = { { "backbone.embeddings.weight", "token_embd.weight", PLAIN },
	{ "backbone.norm_f.weight", "output_norm.weight", PLAIN }, { "lm_head.weight", "output.weight", PLAIN },
	{ M "norm.weight", B "attn_norm.weight", PLAIN }, { M "mixer.in_proj.weight", B "ssm_in.weight", PLAIN },
	{ M "mixer.conv1d.weight", B "ssm_conv1d.weight", PLAIN },
	{ M "mixer.conv1d.bias", B "ssm_conv1d.bias", PLAIN }, { M "mixer.dt_bias", B "ssm_dt.bias", PLAIN },
	{ M "mixer.A_log", B "ssm_a", NEG_EXP }, { M "mixer.D", B "ssm_d", PLAIN },
	{ M "mixer.norm.weight", B "ssm_norm.weight", PLAIN },
	{ M "mixer.out_proj.weight", B "ssm_out.weight", PLAIN } };

/* qwen2 as llama with biases: the biases are permuted with their rows. */
static const struct key llama_bias_keys[] = { SIZES, { "attention.layer_norm_rms_epsilon", "rms_norm_eps", 0, true } };
static const struct rename llama_bias_names[] = { LLAMA_ENDS, NORMS, LLAMA_ATTN(PERMUTE_Q, PERMUTE_K),
	{ L "self_attn.q_proj.bias", B "attn_q.bias", PERMUTE_Q },
	{ L "self_attn.k_proj.bias", B "attn_k.bias", PERMUTE_K },
	{ L "self_attn.v_proj.bias", B "attn_v.bias", PLAIN }, { L "mlp.gate_proj.weight", B "ffn_gate.weight", PLAIN },
	{ L "mlp.up_proj.weight", B "ffn_up.weight", PLAIN },
	{ L "mlp.down_proj.weight", B "ffn_down.weight", PLAIN } };

/* mixtral as the first converters wrote it: a tensor for each expert */
#define MOE L "block_sparse_moe."
static const struct key mixtral_keys[] = { SIZES, { "attention.layer_norm_rms_epsilon", "rms_norm_eps", 0, true },
	{ "expert_count", "num_local_experts", 0, false }, { "expert_used_count", "num_experts_per_tok", 0, false } };
static const struct rename mixtral_names[] = { LLAMA_ENDS, NORMS, LLAMA_ATTN(PERMUTE_Q, PERMUTE_K),
	{ MOE "gate.weight", B "ffn_gate_inp.weight", PLAIN },
	{ MOE "experts.@.w1.weight", B "ffn_gate.@.weight", PLAIN },
	{ MOE "experts.@.w2.weight", B "ffn_down.@.weight", PLAIN },
	{ MOE "experts.@.w3.weight", B "ffn_up.@.weight", PLAIN } };

static const struct key glm_keys[] = { SIZES, { "attention.layer_norm_rms_epsilon", "rms_norm_eps", 0, true },
	{ "rope.dimension_count", NULL, 6, false } };
static const struct rename glm_names[] = { LLAMA_ENDS, NORMS, LLAMA_ATTN(PLAIN, PLAIN), LLAMA_BIAS,
	{ L "mlp.gate_up_proj.weight", B "ffn_up.weight", PLAIN },
	{ L "mlp.down_proj.weight", B "ffn_down.weight", PLAIN } };

/* The later form of deepseek2: kv_b split, one key-value head, lengths of keys and values apart. Layer 0 is dense. */
static const struct key deepseek_keys[] = { { "context_length", "max_position_embeddings", 0, false },
	{ "embedding_length", "hidden_size", 0, false }, { "block_count", "num_hidden_layers", 0, false },
	{ "feed_forward_length", "intermediate_size", 0, false },
	{ "attention.head_count", "num_attention_heads", 0, false }, { "attention.head_count_kv", NULL, 1, false },
	{ "rope.freq_base", "rope_theta", 0, true }, { "attention.layer_norm_rms_epsilon", "rms_norm_eps", 0, true },
	{ "attention.kv_lora_rank", "kv_lora_rank", 0, false }, { "attention.key_length", NULL, 24, false },
	{ "attention.value_length", NULL, 16, false }, { "attention.key_length_mla", NULL, 20, false },
	{ "attention.value_length_mla", NULL, 10, false }, { "rope.dimension_count", "qk_rope_head_dim", 0, false },
	{ "leading_dense_block_count", NULL, 1, false }, { "expert_count", "n_routed_experts", 0, false },
	{ "expert_used_count", "num_experts_per_tok", 0, false },
	{ "expert_shared_count", "n_shared_experts", 0, false },
	{ "expert_feed_forward_length", "moe_intermediate_size", 0, false }, { "expert_weights_scale", NULL, 1, true },
	{ "expert_gating_func", NULL, 1, false } };
static const struct rename deepseek_names[] = { LLAMA_ENDS, NORMS,
	{ L "self_attn.q_proj.weight", B "attn_q.weight", PLAIN },
	{ L "self_attn.kv_a_proj_with_mqa.weight", B "attn_kv_a_mqa.weight", PLAIN },
	{ L "self_attn.kv_a_layernorm.weight", B "attn_kv_a_norm.weight", PLAIN },
	{ L "self_attn.kv_b_proj.weight", B "attn_k_b.weight", K_B },
	{ L "self_attn.kv_b_proj.weight", B "attn_v_b.weight", V_B },
	{ L "self_attn.o_proj.weight", B "attn_output.weight", PLAIN },
	{ "model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight", PLAIN },
	{ "model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight", PLAIN },
	{ "model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight", PLAIN },
	{ "model.layers.1.mlp.gate.weight", "blk.1.ffn_gate_inp.weight", PLAIN },
	{ "model.layers.1.mlp.experts.@.gate_proj.weight", "blk.1.ffn_gate_exps.weight", STACK },
	{ "model.layers.1.mlp.experts.@.up_proj.weight", "blk.1.ffn_up_exps.weight", STACK },
	{ "model.layers.1.mlp.experts.@.down_proj.weight", "blk.1.ffn_down_exps.weight", STACK },
	{ "model.layers.1.mlp.shared_experts.gate_proj.weight", "blk.1.ffn_gate_shexp.weight", PLAIN },
	{ "model.layers.1.mlp.shared_experts.up_proj.weight", "blk.1.ffn_up_shexp.weight", PLAIN },
	{ "model.layers.1.mlp.shared_experts.down_proj.weight", "blk.1.ffn_down_shexp.weight", PLAIN } };

#define TABLES(t) t##_keys, MM_COUNT(t##_keys), t##_names, MM_COUNT(t##_names)
static const struct convert converts[] = {
	{ "mpt", "mpt", 2, 0, 4, 4, TABLES(mpt), 0, 0 },
	{ "nemotron", "nemotron", 2, 0, 4, 2, TABLES(nemotron), 0, 0 },
	{ "olmo", "olmo", 2, 0, 4, 4, TABLES(olmo), 0, 0 },
	{ "olmoe", "olmoe", 2, 6, 4, 4, TABLES(olmoe), 0, 0 },
	{ "phi", "phi2", 2, 0, 4, 4, TABLES(phi), 0, 0 },
	{ "qwen2-moe", "qwen2moe", 2, 6, 4, 4, TABLES(qwen2moe), 0, 0 },
	{ "gpt-bigcode-mqa", "starcoder", 2, 0, 4, 1, TABLES(starcoder), 0, 0 },
	{ "mamba2", "mamba2", 2, 0, 6, 6, TABLES(mamba2), 0, 0 },
	{ "qwen2", "llama", 2, 0, 4, 2, TABLES(llama_bias), 0, 0 },
	{ "mixtral", "llama", 2, 4, 4, 2, TABLES(mixtral), 0, 0 },
	{ "glm-bf16", "chatglm", 2, 0, 4, 2, TABLES(glm), 0, 0 },
	{ "deepseek-v2-lite-bf16", "deepseek2", 2, 6, 4, 4, TABLES(deepseek), 12, 10 },
};

/* ---- comparing ---- */

/* Largest difference to the golden log-probs. */
static double worst(struct mm_model *m, const json_t *golden, const char *name)
{
	struct mm_err err = { 0 };
	static uint32_t id[4096];
	static double lp[4096];
	double w = 0;
	size_t i;
	json_t *seq;
	json_array_foreach (json_object_get(golden, "sequences"), i, seq) {
		const json_t *ids = json_object_get(seq, "ids"), *want = json_object_get(seq, "logprobs");
		size_t n = json_array_size(ids);
		for (size_t k = 0; k < n; k++)
			id[k] = (uint32_t)json_integer_value(json_array_get(ids, k));
		if (mm_score_ids(m, id, n, lp, &err))
			fail_msg("%s: %s", name, err.text);
		for (size_t k = 0; k + 1 < n; k++)
			w = fmax(w, fabs(lp[k] - json_number_value(json_array_get(want, k))));
	}
	return w;
}

static void converted_files_give_the_golden_numbers(void **state)
{
	(void)state;
	const struct mm_model_opts opts = { .compute = MM_COMPUTE_F32 };
	char *dir = scratch_new(), path[4096], file[4096];
	int wrong = 0;
	for (size_t i = 0; i < MM_COUNT(converts); i++) {
		const struct convert *c = &converts[i];
		struct mm_err err = { 0 };
		format(path, FIXTURES "%s", c->dir);
		format(file, "%s/%s.gguf", dir, c->dir);
		struct mm_ckpt *ck = mm_ckpt_open(path, NULL, &err);
		json_t *golden = mm_json_load(at(path, "golden.json"), 64u << 20, &err);
		if (!ck || !golden)
			fail_msg("%s", err.text);
		write_gguf(file, c, ck);
		mm_ckpt_close(ck);
		struct mm_model *m = mm_model_open(file, &opts, &err);
		double w = m ? worst(m, golden, c->dir) : INFINITY;
		print_message("%-16s %-10s %.1e %s\n", c->dir, c->arch, w, m ? "" : err.text);
		wrong += !(w <= 1e-4); /* the suite's tolerance */
		mm_model_close(m);
		json_decref(golden);
	}
	scratch_free(dir);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(converted_files_give_the_golden_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
