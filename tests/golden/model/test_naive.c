/* test_naive.c: llama-like families and options without a golden checkpoint, against a second formulation in double
 * precision (naive.h): one attention, one feed-forward, and a row of deviations from llama. */
#include "naive_like.h"

/* ---- families ---- */

static void helium(struct naive *nv, const uint32_t *id, double *out)
{
	struct like k = { .adjacent = true, .theta = 100000, .eps = 1e-8, .no_tie = true };
	like_llama(nv, &k, id, out);
}

static void ernie(struct naive *nv, const uint32_t *id, double *out)
{
	struct like k = {
		.adjacent = true, .theta = 500000, .eps = 1e-5, .bias_qkv = true, .bias_o = true, .bias_ffn = true
	};
	like_llama(nv, &k, id, out);
}

static void hunyuan(struct naive *nv, const uint32_t *id, double *out)
{
	struct like k = { .theta = 10000 * pow(1000, 8.0 / 6),
		.eps = 1e-5,
		.qn = "query_layernorm",
		.kn = "key_layernorm",
		.late_norm = true };
	like_llama(nv, &k, id, out);
}

/* longer than the context of 16: dynamic scaling of the plain base, alpha forgotten */
static void hunyuan_long(struct naive *nv, const uint32_t *id, double *out)
{
	struct like k = { .theta = 10000 * pow(2.0 * T / 16 - 1, 8.0 / 6),
		.eps = 1e-5,
		.qn = "query_layernorm",
		.kn = "key_layernorm",
		.late_norm = true };
	like_llama(nv, &k, id, out);
}

static void glm4(struct naive *nv, const uint32_t *id, double *out)
{
	struct like k = { .adjacent = true,
		.theta = 10000,
		.eps = 1.5625e-7,
		.bias_qkv = true,
		.sandwich4 = true,
		.d_rot = 4,
		.fused_gate_up = true,
		.no_tie = true };
	like_llama(nv, &k, id, out);
}

static void exaone4(struct naive *nv, const uint32_t *id, double *out)
{
	struct like k = { .theta = 10000,
		.eps = 1e-5,
		.post_only = true,
		.qn = "q_norm",
		.kn = "k_norm",
		.rope_in = third_not,
		.window_in = third_none,
		.no_tie = true };
	like_llama(nv, &k, id, out);
}

/* the window and plain rotation in all layers but every `third`; scaled frequencies in that one */
static void olmo3(struct naive *nv, const uint32_t *id, double *out)
{
	struct nv_rope linear = nv_rope_of(HD, 10000, false);
	for (size_t i = 0; i < HD / 2; i++)
		linear.freq[i] /= 8;
	struct like k = { .theta = 10000,
		.eps = 1e-5,
		.post_only = true,
		.qn = "q_norm",
		.kn = "k_norm",
		.wide_norm = true,
		.window_in = third_none,
		.local_theta = 10000,
		.rope = &linear,
		.no_tie = true };
	like_llama(nv, &k, id, out);
}

static size_t window6(size_t l)
{
	(void)l;
	return 6;
}

static void olmo3_pattern(struct naive *nv, const uint32_t *id, double *out)
{
	struct like k = { .theta = 10000,
		.eps = 1e-5,
		.post_only = true,
		.qn = "q_norm",
		.kn = "k_norm",
		.wide_norm = true,
		.window_in = window6, /* three layers: the fourth would be full */
		.no_tie = true };
	like_llama(nv, &k, id, out);
}

static void gemma3_mm(struct naive *nv, const uint32_t *id, double *out)
{
	struct nv_rope linear = nv_rope_of(HD, 1e6, false);
	for (size_t i = 0; i < HD / 2; i++)
		linear.freq[i] /= 8;
	struct like k = { .theta = 1e6,
		.eps = 1e-6,
		.plus1 = true,
		.gelu_tanh = true,
		.emb = (double)sqrtf(D),
		.qn = "q_norm",
		.kn = "k_norm",
		.window_in = third_none,
		.local_theta = 10000,
		.scale = 1 / sqrt(24.0),
		.rope = &linear,
		.prefix = "language_model.model." }; /* the multimodal class does not look at the logits' cap */
	like_llama(nv, &k, id, out);
}

/* softmax over the two largest of five router logits */
static void granite_experts(struct naive *nv, size_t l, const double *y, double *out)
{
	char name[128];
	double *r = nv_lin(nv, y, T, D, 5, W(5, D, "model.layers.%zu.block_sparse_moe.router.layer.weight", l), NULL);
	snprintf(name, sizeof(name), "model.layers.%zu.block_sparse_moe.input_linear.weight", l);
	double *in = nv_w3(nv, 5, 2 * F, D, name);
	snprintf(name, sizeof(name), "model.layers.%zu.block_sparse_moe.output_linear.weight", l);
	double *back = nv_w3(nv, 5, D, F, name);
	for (size_t t = 0; t < T; t++) {
		size_t a = 0, b = 5;
		for (size_t e = 1; e < 5; e++)
			a = r[t * 5 + e] > r[t * 5 + a] ? e : a;
		for (size_t e = 0; e < 5; e++)
			b = e != a && (b == 5 || r[t * 5 + e] > r[t * 5 + b]) ? e : b;
		double wb = 1 / (1 + exp(r[t * 5 + a] - r[t * 5 + b]));
		for (size_t n = 0; n < 2; n++) {
			size_t e = n ? b : a;
			double *gu = nv_lin(nv, y + t * D, 1, D, 2 * F, in + e * 2 * F * D, NULL);
			for (size_t i = 0; i < F; i++)
				gu[i] = nv_silu(gu[i]) * gu[F + i];
			nv_add(out + t * D, nv_lin(nv, gu, 1, F, D, back + e * D * F, NULL), D, n ? wb : 1 - wb);
		}
	}
}

static void granitemoe(struct naive *nv, const uint32_t *id, double *out)
{
	struct like k = { .theta = 10000,
		.eps = 1e-6,
		.emb = 3,
		.res = 0.3,
		.scale = 0.25,
		.logit = 1 / 2.0,
		.ffn = granite_experts };
	like_llama(nv, &k, id, out);
}

/* llama with a yarn-scaled rotation: context 16 stretched by 4 */
static void llama_yarn(struct naive *nv, const uint32_t *id, double *out)
{
	struct nv_rope r = nv_rope_of(HD, 10000, false);
	double low = floor(HD * log(16 / (32 * 2 * M_PI)) / (2 * log(10000)));
	double high = ceil(HD * log(16 / (1 * 2 * M_PI)) / (2 * log(10000)));
	low = low < 0 ? 0 : low;
	high = high > HD - 1 ? HD - 1 : high;
	for (size_t i = 0; i < HD / 2; i++) {
		double ramp = ((double)i - low) / (high == low ? 0.001 : high - low);
		ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
		r.freq[i] = r.freq[i] / 4 * ramp + r.freq[i] * (1 - ramp);
	}
	r.mult = 0.1 * log(4) + 1;
	struct like k = { .rope = &r, .eps = 1e-6, .bias_qkv = true, .bias_o = true, .bias_ffn = true, .no_tie = true };
	like_llama(nv, &k, id, out);
}

static void llama_dynamic(struct naive *nv, const uint32_t *id, double *out)
{
	double base = 10000 * pow(2.0 * T / 16 - 1, 8.0 / 6);
	struct like k = { .theta = base, .eps = 1e-6, .no_tie = true };
	like_llama(nv, &k, id, out);
}

static void llama_longrope(struct naive *nv, const uint32_t *id, double *out)
{
	struct nv_rope r = nv_rope_of(HD, 10000, false);
	const double longs[] = { 1.5, 2, 3, 5 };
	for (size_t i = 0; i < HD / 2; i++)
		r.freq[i] /= longs[i];
	r.mult = sqrt(1 + log(4) / log(16));
	struct like k = { .rope = &r, .eps = 1e-6, .no_tie = true };
	like_llama(nv, &k, id, out);
}

static size_t from_one(size_t l)
{
	return l >= 1 ? 5 : 0;
}

static void qwen2_window(struct naive *nv, const uint32_t *id, double *out)
{
	struct like k = { .theta = 10000, .eps = 1e-6, .bias_qkv = true, .window_in = from_one };
	like_llama(nv, &k, id, out);
}

static size_t everywhere(size_t l)
{
	(void)l;
	return 5;
}

/* 5 experts of width 12, the best 2, their weights renormalised */
static void qwen_experts(struct naive *nv, size_t l, const double *y, double *out)
{
	enum { E = 5, FE = 12 };
	double *z = nv_lin(nv, y, T, D, E, W(E, D, "model.layers.%zu.mlp.gate.weight", l), NULL), *o[E];
	for (size_t e = 0; e < E; e++) {
		double *g = nv_lin(
			nv, y, T, D, FE, W(FE, D, "model.layers.%zu.mlp.experts.%zu.gate_proj.weight", l, e), NULL);
		double *u = nv_lin(
			nv, y, T, D, FE, W(FE, D, "model.layers.%zu.mlp.experts.%zu.up_proj.weight", l, e), NULL);
		for (size_t i = 0; i < T * FE; i++)
			u[i] *= nv_silu(g[i]);
		o[e] = nv_lin(
			nv, u, T, FE, D, W(D, FE, "model.layers.%zu.mlp.experts.%zu.down_proj.weight", l, e), NULL);
	}
	for (size_t t = 0; t < T; t++) {
		const double *s = z + t * E;
		size_t a = 0, b;
		for (size_t e = 1; e < E; e++)
			a = s[e] > s[a] ? e : a;
		b = a == 0;
		for (size_t e = 0; e < E; e++)
			b = e != a && s[e] > s[b] ? e : b;
		double wa = 1 / (1 + exp(s[b] - s[a]));
		for (size_t i = 0; i < D; i++)
			out[t * D + i] = wa * o[a][t * D + i] + (1 - wa) * o[b][t * D + i];
	}
}

static void qwen3_moe_window(struct naive *nv, const uint32_t *id, double *out)
{
	struct like k = { .theta = 10000,
		.eps = 1e-6,
		.qn = "q_norm",
		.kn = "k_norm",
		.ffn = qwen_experts,
		.window_in = everywhere };
	like_llama(nv, &k, id, out);
}

static bool rope_101(size_t l)
{
	return l != 1;
}
static size_t window_1(size_t l)
{
	return l == 1 ? 7 : 0;
}

static void smollm3(struct naive *nv, const uint32_t *id, double *out)
{
	struct like k = { .theta = 2e6, .eps = 1e-6, .rope_in = rope_101, .window_in = window_1 };
	like_llama(nv, &k, id, out);
}

/* ---- the cases ---- */

static const struct naive_case cases[] = {
	{ "helium", helium,
		"{\"model_type\":\"helium\",\"head_dim\":8,\"rms_norm_eps\":1e-8,\"rope_theta\":100000.0," JSON_COMMON
		"}" },
	{ "ernie4_5", ernie, "{\"model_type\":\"ernie4_5\",\"head_dim\":8,\"use_bias\":true," JSON_COMMON "}" },
	{ "hunyuan-alpha", hunyuan,
		"{\"model_type\":\"hunyuan_v1_dense\",\"tie_word_embeddings\":true,\"head_dim\":8,\"rope_scaling\":{"
		"\"type\":\"dynamic\","
		"\"alpha\":1000.0,\"factor\":1.0}," JSON_COMMON "}" },
	{ "hunyuan-alpha-long", hunyuan_long,
		"{\"model_type\":\"hunyuan_v1_dense\",\"tie_word_embeddings\":true,\"head_dim\":8,\"rope_scaling\":{"
		"\"type\":\"dynamic\",\"alpha\":1000.0,\"factor\":2.0},\"hidden_size\":32,\"num_attention_heads\":4,"
		"\"num_key_value_heads\":2,\"num_hidden_layers\":3,\"intermediate_size\":48,\"vocab_size\":70,"
		"\"max_position_embeddings\":16}" },
	{ "glm4", glm4, "{\"model_type\":\"glm4\",\"head_dim\":8,\"attention_bias\":true," JSON_COMMON "}" },
	{ "exaone4", exaone4,
		"{\"model_type\":\"exaone4\",\"sliding_window\":6,\"layer_types\":[\"sliding_attention\",\"sliding_"
		"attention\","
		"\"full_attention\"]," JSON_COMMON "}" },
	{ "exaone4-pattern", exaone4,
		"{\"model_type\":\"exaone4\",\"sliding_window\":6,\"sliding_window_pattern\":3," JSON_COMMON "}" },
	{ "olmo3", olmo3,
		"{\"model_type\":\"olmo3\",\"sliding_window\":6,\"layer_types\":[\"sliding_attention\",\"sliding_"
		"attention\",\"full_attention\"],\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8.0}"
		"," JSON_COMMON "}" },
	{ "olmo3-pattern", olmo3_pattern, "{\"model_type\":\"olmo3\",\"sliding_window\":6," JSON_COMMON "}" },
	{ "gemma3-multimodal", gemma3_mm,
		"{\"model_type\":\"gemma3\",\"architectures\":[\"Gemma3ForConditionalGeneration\"],\"text_config\":{"
		"\"model_type\":"
		"\"gemma3_text\",\"head_dim\":8,\"query_pre_attn_scalar\":24,\"sliding_window\":6,\"sliding_window_"
		"pattern\":3,"
		"\"final_logit_softcapping\":7.0,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8.0}"
		"," JSON_COMMON "}}" },
	{ "granitemoe", granitemoe,
		"{\"model_type\":\"granitemoe\",\"tie_word_embeddings\":true,\"embedding_multiplier\":3.0,\"residual_"
		"multiplier\":0.3,"
		"\"attention_multiplier\":0.25,\"logits_scaling\":2.0,\"num_local_experts\":5,\"num_experts_per_tok\":"
		"2," JSON_COMMON "}" },
	{ "llama-yarn-biases", llama_yarn,
		"{\"model_type\":\"llama\",\"attention_bias\":true,\"mlp_bias\":true,\"rope_scaling\":{\"rope_type\":"
		"\"yarn\","
		"\"factor\":4.0,\"original_max_position_embeddings\":16}," JSON_COMMON "}" },
	{ "llama-dynamic", llama_dynamic,
		"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0},\"hidden_size\":32,"
		"\"num_attention_heads\":4,\"num_key_value_heads\":2,\"num_hidden_layers\":3,\"intermediate_size\":48,"
		"\"vocab_size\":70,\"max_position_embeddings\":16}" },
	{ "llama-longrope", llama_longrope,
		"{\"model_type\":\"llama\",\"original_max_position_embeddings\":16,\"rope_scaling\":{\"rope_type\":"
		"\"longrope\","
		"\"short_factor\":[1,1,1,1],\"long_factor\":[1.5,2,3,5]}," JSON_COMMON "}" },
	{ "llama-longrope-v5", llama_longrope, /* the factor given, not the ratio of the contexts */
		"{\"model_type\":\"llama\",\"rope_parameters\":{\"rope_type\":\"longrope\",\"rope_theta\":10000.0,"
		"\"factor\":4.0,\"original_max_position_embeddings\":16,\"short_factor\":[1,1,1,1],\"long_factor\":[1."
		"5,"
		"2,3,5]},\"hidden_size\":32,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"num_hidden_layers\":"
		"3,"
		"\"intermediate_size\":48,\"vocab_size\":70,\"max_position_embeddings\":32}" },
	{ "qwen3-moe-window", qwen3_moe_window, /* all layers, whatever max_window_layers says */
		"{\"model_type\":\"qwen3_moe\",\"tie_word_embeddings\":true,\"num_experts\":5,\"num_experts_per_tok\":"
		"2,"
		"\"moe_intermediate_size\":12,\"norm_topk_prob\":true,\"use_sliding_window\":true,\"sliding_window\":5,"
		"\"max_window_layers\":28," JSON_COMMON "}" },
	{ "qwen2-window", qwen2_window,
		"{\"model_type\":\"qwen2\",\"tie_word_embeddings\":true,\"use_sliding_window\":true,\"sliding_window\":"
		"5,"
		"\"max_window_layers\":1," JSON_COMMON "}" },
	{ "smollm3-window", smollm3,
		"{\"model_type\":\"smollm3\",\"no_rope_layers\":[1,0,1],\"use_sliding_window\":true,\"sliding_window\":"
		"7,"
		"\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":2000000.0}," JSON_COMMON "}" },
};

NAIVE_MAIN("naive")
