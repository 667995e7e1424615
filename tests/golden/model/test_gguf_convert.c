/* test_gguf_convert.c - families for which the set has no GGUF file: the conformance checkpoint is rewritten here as
 * the converter writes it (names, keys, permuted and stacked tensors, + 1 in norms), read back, and must give the
 * checkpoint's own golden log-probs. So the family's GGUF column is checked by a second formulation: the tables below.
 */
#include "../../unit/model/ckpt_util.h"
#include "model/model.h"

#include <math.h>

#define FIXTURES "tests/fixtures/conformance/"

enum change { PLAIN, PLUS1, PERMUTE_Q, PERMUTE_K, STACK /* '@' is the expert */, NEG_EXP };

struct rename {
	const char *hf, *gguf; /* '#' is the layer */
	enum change change;
};
struct key {
	const char *key; /* without the architecture */
	const char *hf;	 /* NULL: the number `value` */
	double value;
	bool real;
};
struct convert {
	const char *dir, *arch;
	size_t n_layer, n_expert, n_head, n_head_kv;
	const struct key *key;
	size_t n_key;
	const struct rename *name;
	size_t n_name;
};

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

#define TABLES(t) t##_keys, MM_COUNT(t##_keys), t##_names, MM_COUNT(t##_names)
static const struct convert converts[] = {
	{ "mpt", "mpt", 2, 0, 4, 4, TABLES(mpt) },
	{ "nemotron", "nemotron", 2, 0, 4, 2, TABLES(nemotron) },
	{ "olmo", "olmo", 2, 0, 4, 4, TABLES(olmo) },
	{ "olmoe", "olmoe", 2, 6, 4, 4, TABLES(olmoe) },
	{ "phi", "phi2", 2, 0, 4, 4, TABLES(phi) },
	{ "qwen2-moe", "qwen2moe", 2, 6, 4, 4, TABLES(qwen2moe) },
	{ "gpt-bigcode-mqa", "starcoder", 2, 0, 4, 1, TABLES(starcoder) },
	{ "mamba2", "mamba2", 2, 0, 6, 6, TABLES(mamba2) },
	{ "qwen2", "llama", 2, 0, 4, 2, TABLES(llama_bias) },
	{ "mixtral", "llama", 2, 4, 4, 2, TABLES(mixtral) },
};

/* ---- writing ---- */

static void name_of(const char *pattern, size_t layer, size_t expert, char out[256])
{
	size_t n = 0;
	for (; *pattern && n < 240; pattern++)
		if (*pattern == '#' || *pattern == '@')
			n += (size_t)sprintf(out + n, "%zu", *pattern == '#' ? layer : expert);
		else
			out[n++] = *pattern;
	out[n] = 0;
}

/* Row i of a head's first half goes to 2i, row i of the second half to 2i + 1. */
static void permute(float *v, size_t rows, size_t cols, size_t n_head)
{
	size_t d = rows / n_head;
	float *t = malloc(rows * cols * sizeof *t);
	for (size_t h = 0; h < n_head; h++)
		for (size_t i = 0; i < d; i++)
			memcpy(t + (h * d + (i < d / 2 ? 2 * i : 2 * (i - d / 2) + 1)) * cols, v + (h * d + i) * cols,
				cols * sizeof *t);
	memcpy(v, t, rows * cols * sizeof *t);
	free(t);
}

struct out {
	struct mm_buf info, data;
	size_t n;
};

static void put_tensor(struct out *o, const struct convert *c, const struct mm_ckpt *ck, const struct rename *r,
	size_t layer, size_t expert)
{
	struct mm_err err = { 0 };
	char hf[256], gguf[256];
	size_t experts = r->change == STACK ? c->n_expert : 1, from;
	uint64_t dim[4];
	unsigned n_dim = 0;
	gg_pad(&o->data, 32);
	from = o->data.len;
	for (size_t e = 0; e < experts; e++) {
		name_of(r->hf, layer, expert + e, hf);
		const struct mm_tensor *t = mm_ckpt_find(ck, hf);
		if (!t)
			fail_msg("%s: no %s", c->dir, hf);
		float *v = malloc(t->n_elem * sizeof *v);
		assert_int_equal(mm_ckpt_read(ck, t, 0, t->n_elem, v, &err), 0);
		size_t rows = t->dim[0], cols = t->n_elem / rows;
		for (size_t i = 0; i < t->n_elem; i++)
			v[i] = r->change == PLUS1 ? v[i] + 1 : r->change == NEG_EXP ? -expf(v[i]) : v[i];
		if (r->change == PERMUTE_Q || r->change == PERMUTE_K)
			permute(v, rows, cols, r->change == PERMUTE_Q ? c->n_head : c->n_head_kv);
		mm_buf_put(&o->data, v, t->n_elem * sizeof *v);
		free(v);
		for (n_dim = 0; n_dim < t->n_dim; n_dim++) /* innermost first */
			dim[n_dim] = t->dim[t->n_dim - 1 - n_dim];
	}
	if (r->change == STACK)
		dim[n_dim++] = experts;
	name_of(r->gguf, layer, expert, gguf);
	gg_info(&o->info, gguf, n_dim, dim, 0, from);
	o->n++;
}

static void write_gguf(const char *path, const struct convert *c, const struct mm_ckpt *ck)
{
	struct out o = { 0 };
	struct mm_buf b = { 0 };
	char key[256];
	for (size_t i = 0; i < c->n_name; i++)
		for (size_t l = 0; l < (strchr(c->name[i].gguf, '#') ? c->n_layer : 1); l++)
			for (size_t e = 0; e < (strchr(c->name[i].gguf, '@') ? c->n_expert : 1); e++)
				put_tensor(&o, c, ck, &c->name[i], l, e);
	gg_head(&b, o.n, c->n_key + 1);
	gg_kv_str(&b, "general.architecture", c->arch);
	for (size_t i = 0; i < c->n_key; i++) {
		double v = c->key[i].hf ? json_number_value(json_object_get(mm_ckpt_config(ck), c->key[i].hf))
					: c->key[i].value;
		format(key, "%s.%s", c->arch, c->key[i].key);
		if (c->key[i].real) {
			gg_str(&b, key);
			mm_buf_u32(&b, MM_GGUF_F32);
			mm_buf_f32(&b, (float)v);
		} else {
			gg_kv_u32(&b, key, (uint32_t)v);
		}
	}
	mm_buf_put(&b, o.info.data, o.info.len);
	gg_pad(&b, 32);
	mm_buf_put(&b, o.data.data, o.data.len);
	put_file(path, b.data, b.len);
	mm_buf_fini(&b);
	mm_buf_fini(&o.info);
	mm_buf_fini(&o.data);
}

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
