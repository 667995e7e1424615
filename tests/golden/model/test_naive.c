/* test_naive.c: families and options without a golden checkpoint, against a second formulation in double precision
 * (naive.h): tiny random checkpoints, one sequence, 2e-5 a token (float arithmetic against double: a few 1e-6). */
#include "naive.h"

enum { D = 32, H = 4, KV = 2, HD = 8, F = 48, V = 70, NL = 3, T = 40 };

#define JSON_COMMON                                                                                                    \
	"\"hidden_size\":32,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"num_hidden_layers\":3,"              \
	"\"intermediate_size\":48,\"vocab_size\":70,\"max_position_embeddings\":64"

typedef void (*forward_fn)(struct naive *nv, const uint32_t *id, double *out);

/* ---- what most llama-like families are made of ---- */

struct like { /* deviations from llama */
	bool adjacent, bias_qkv, bias_o, bias_ffn, post_only, sandwich4, late_norm, no_tie;
	double theta, eps, emb, res, scale, logit;
	size_t d_rot, hd;
	bool (*rope_in)(size_t l);
	size_t (*window_in)(size_t l);
	const char *qn, *kn; /* names of q/k norms per head or NULL */
	bool fused_gate_up;
	void (*ffn)(struct naive *nv, size_t l, const double *y, double *out);
	const char *prefix;
	bool plus1, gelu_tanh, wide_norm; /* wide: q and k as a whole, not head by head */
	double local_theta, cap_logit;
	struct nv_rope *rope; /* instead of theta */
};

static double *maybe(struct naive *nv, bool on, size_t n, const char *fmt, ...) MM_PRINTF(4, 5);
static double *maybe(struct naive *nv, bool on, size_t n, const char *fmt, ...)
{
	char name[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	return on ? nv_w(nv, n, 0, "%s", name) : NULL;
}

static double *norm(struct naive *nv, const struct like *k, const double *x, size_t n, size_t d, const char *fmt, ...)
	MM_PRINTF(6, 7);
static double *norm(struct naive *nv, const struct like *k, const double *x, size_t n, size_t d, const char *fmt, ...)
{
	char name[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	double *w = nv_w(nv, d, 0, "%s", name), *u = nv_vec(nv, d);
	for (size_t i = 0; i < d; i++)
		u[i] = w[i] + (k->plus1 ? 1 : 0);
	return nv_rms(nv, x, n, d, u, k->eps);
}

static double *like_attention(struct naive *nv, const struct like *k, size_t l, const double *y)
{
	const char *p = k->prefix ? k->prefix : "model.";
	size_t d = k->hd ? k->hd : HD;
	double *q = nv_lin(nv, y, T, D, H * d, W(H * d, D, "%slayers.%zu.self_attn.q_proj.weight", p, l),
		maybe(nv, k->bias_qkv, H * d, "%slayers.%zu.self_attn.q_proj.bias", p, l));
	double *kk = nv_lin(nv, y, T, D, KV * d, W(KV * d, D, "%slayers.%zu.self_attn.k_proj.weight", p, l),
		maybe(nv, k->bias_qkv, KV * d, "%slayers.%zu.self_attn.k_proj.bias", p, l));
	double *v = nv_lin(nv, y, T, D, KV * d, W(KV * d, D, "%slayers.%zu.self_attn.v_proj.weight", p, l),
		maybe(nv, k->bias_qkv, KV * d, "%slayers.%zu.self_attn.v_proj.bias", p, l));
	struct nv_rope r = k->rope ? *k->rope : nv_rope_of(k->d_rot ? k->d_rot : d, k->theta, k->adjacent);
	size_t window = k->window_in ? k->window_in(l) : 0;
	if (k->local_theta > 0 && window)
		r = nv_rope_of(d, k->local_theta, k->adjacent);
	if (k->wide_norm) {
		q = norm(nv, k, q, T, H * d, "%slayers.%zu.self_attn.%s.weight", p, l, k->qn);
		kk = norm(nv, k, kk, T, KV * d, "%slayers.%zu.self_attn.%s.weight", p, l, k->kn);
	} else if (k->qn && !k->late_norm) {
		q = norm(nv, k, q, T * H, d, "%slayers.%zu.self_attn.%s.weight", p, l, k->qn);
		kk = norm(nv, k, kk, T * KV, d, "%slayers.%zu.self_attn.%s.weight", p, l, k->kn);
	}
	if (!k->rope_in || k->rope_in(l)) {
		nv_rotate(&r, q, T, H * d, H, d);
		nv_rotate(&r, kk, T, KV * d, KV, d);
	}
	if (k->qn && k->late_norm) {
		q = norm(nv, k, q, T * H, d, "%slayers.%zu.self_attn.%s.weight", p, l, k->qn);
		kk = norm(nv, k, kk, T * KV, d, "%slayers.%zu.self_attn.%s.weight", p, l, k->kn);
	}
	struct nv_attn a = { .T = T,
		.H = H,
		.KV = KV,
		.d = d,
		.scale = k->scale > 0 ? k->scale : 1 / sqrt((double)d),
		.window = window };
	double *o = nv_attend(nv, &a, q, kk, v);
	return nv_lin(nv, o, T, H * d, D, W(D, H * d, "%slayers.%zu.self_attn.o_proj.weight", p, l),
		maybe(nv, k->bias_o, D, "%slayers.%zu.self_attn.o_proj.bias", p, l));
}

static double *like_ffn(struct naive *nv, const struct like *k, size_t l, const double *y)
{
	const char *p = k->prefix ? k->prefix : "model.";
	double *g, *u;
	if (k->ffn) {
		double *out = nv_vec(nv, T * D);
		k->ffn(nv, l, y, out);
		return out;
	}
	if (k->fused_gate_up) {
		double *w = W(2 * F, D, "%slayers.%zu.mlp.gate_up_proj.weight", p, l);
		g = nv_lin(nv, y, T, D, F, w, NULL);
		u = nv_lin(nv, y, T, D, F, w + F * D, NULL);
	} else {
		g = nv_lin(nv, y, T, D, F, W(F, D, "%slayers.%zu.mlp.gate_proj.weight", p, l),
			maybe(nv, k->bias_ffn, F, "%slayers.%zu.mlp.gate_proj.bias", p, l));
		u = nv_lin(nv, y, T, D, F, W(F, D, "%slayers.%zu.mlp.up_proj.weight", p, l),
			maybe(nv, k->bias_ffn, F, "%slayers.%zu.mlp.up_proj.bias", p, l));
	}
	for (size_t i = 0; i < T * F; i++)
		u[i] *= k->gelu_tanh ? nv_gelu_tanh(g[i]) : nv_silu(g[i]);
	return nv_lin(nv, u, T, F, D, W(D, F, "%slayers.%zu.mlp.down_proj.weight", p, l),
		maybe(nv, k->bias_ffn, D, "%slayers.%zu.mlp.down_proj.bias", p, l));
}

static void like_llama(struct naive *nv, const struct like *k, const uint32_t *id, double *out)
{
	const char *p = k->prefix ? k->prefix : "model.";
	double *e = W(V, D, "%sembed_tokens.weight", p), *x = nv_embed(nv, e, id, T, D, k->emb > 0 ? k->emb : 1);
	double res = k->res > 0 ? k->res : 1;
	for (size_t l = 0; l < NL; l++) {
		const double *y = k->post_only ? x : norm(nv, k, x, T, D, "%slayers.%zu.input_layernorm.weight", p, l);
		double *a = like_attention(nv, k, l, y);
		if (k->post_only || k->plus1)
			a = norm(nv, k, a, T, D, "%slayers.%zu.post_attention_layernorm.weight", p, l);
		if (k->sandwich4)
			a = norm(nv, k, a, T, D, "%slayers.%zu.post_self_attn_layernorm.weight", p, l);
		nv_add(x, a, T * D, res);
		y = k->post_only ? x
				 : norm(nv, k, x, T, D, "%slayers.%zu.%s.weight", p, l,
					   k->plus1 ? "pre_feedforward_layernorm" : "post_attention_layernorm");
		double *f = like_ffn(nv, k, l, y);
		if (k->post_only || k->plus1)
			f = norm(nv, k, f, T, D, "%slayers.%zu.post_feedforward_layernorm.weight", p, l);
		if (k->sandwich4)
			f = norm(nv, k, f, T, D, "%slayers.%zu.post_mlp_layernorm.weight", p, l);
		nv_add(x, f, T * D, res);
	}
	x = norm(nv, k, x, T, D, "%snorm.weight", p);
	nv_head(x, T, D, V, k->no_tie ? W(V, D, "lm_head.weight") : e, NULL, k->logit > 0 ? k->logit : 1, k->cap_logit,
		id, out);
}

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

static bool third_not(size_t l)
{
	return l != 2;
}
static size_t third_none(size_t l)
{
	return l == 2 ? 0 : 6;
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
		.prefix = "language_model.model.",
		.cap_logit = 7 };
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

/* ---- parallel and older ones ---- */

#define LN(x, name) nv_ln(nv, x, T, D, W(D, 0, name ".weight", l), W(D, 0, name ".bias", l), 1e-5)

static void cohere2(struct naive *nv, const uint32_t *id, double *out)
{
	double *e = W(V, D, "model.embed_tokens.weight"), *x = nv_embed(nv, e, id, T, D, 1);
	struct like k = { .adjacent = true, .theta = 10000, .rope_in = third_not, .window_in = third_none };
	for (size_t l = 0; l < NL; l++) {
		double *y = nv_ln(nv, x, T, D, W(D, 0, "model.layers.%zu.input_layernorm.weight", l), NULL, 1e-5);
		double *a = like_attention(nv, &k, l, y), *f = like_ffn(nv, &k, l, y);
		nv_add(x, a, T * D, 1);
		nv_add(x, f, T * D, 1);
	}
	x = nv_ln(nv, x, T, D, W(D, 0, "model.norm.weight"), NULL, 1e-5);
	nv_head(x, T, D, V, e, NULL, 0.25, 0, id, out);
}

static double *per_head_ln(struct naive *nv, const double *x, size_t heads, const char *fmt, size_t l)
{
	double *y = nv_vec(nv, T * heads * HD);
	for (size_t h = 0; h < heads; h++) {
		char name[128], full[160];
		snprintf(name, sizeof(name), fmt, l);
		snprintf(full, sizeof(full), "%s.norms.%zu.weight", name, h);
		double *w = nv_w(nv, HD, 0, "%s", full);
		for (size_t t = 0; t < T; t++)
			memcpy(y + (t * heads + h) * HD, nv_ln(nv, x + (t * heads + h) * HD, 1, HD, w, NULL, 1e-5),
				HD * sizeof(double));
	}
	return y;
}

static void stablelm_12b(struct naive *nv, const uint32_t *id, double *out)
{
	double *x = nv_embed(nv, W(V, D, "model.embed_tokens.weight"), id, T, D, 1);
	struct nv_rope r = nv_rope_of(4, 10000, false);
	struct like k = { 0 };
	for (size_t l = 0; l < NL; l++) {
		double *y = LN(x, "model.layers.%zu.input_layernorm");
		double *q = nv_lin(nv, y, T, D, H * HD, W(H * HD, D, "model.layers.%zu.self_attn.q_proj.weight", l),
			W(H * HD, 0, "model.layers.%zu.self_attn.q_proj.bias", l));
		double *kk = nv_lin(nv, y, T, D, KV * HD, W(KV * HD, D, "model.layers.%zu.self_attn.k_proj.weight", l),
			W(KV * HD, 0, "model.layers.%zu.self_attn.k_proj.bias", l));
		double *v = nv_lin(nv, y, T, D, KV * HD, W(KV * HD, D, "model.layers.%zu.self_attn.v_proj.weight", l),
			W(KV * HD, 0, "model.layers.%zu.self_attn.v_proj.bias", l));
		q = per_head_ln(nv, q, H, "model.layers.%zu.self_attn.q_layernorm", l);
		kk = per_head_ln(nv, kk, KV, "model.layers.%zu.self_attn.k_layernorm", l);
		nv_rotate(&r, q, T, H * HD, H, HD);
		nv_rotate(&r, kk, T, KV * HD, KV, HD);
		struct nv_attn a = { .T = T, .H = H, .KV = KV, .d = HD, .scale = 1 / sqrt(HD) };
		double *o = nv_lin(nv, nv_attend(nv, &a, q, kk, v), T, D, D,
			W(D, D, "model.layers.%zu.self_attn.o_proj.weight", l), NULL);
		double *f = like_ffn(nv, &k, l, y);
		nv_add(x, o, T * D, 1);
		nv_add(x, f, T * D, 1);
	}
	x = nv_ln(nv, x, T, D, W(D, 0, "model.norm.weight"), W(D, 0, "model.norm.bias"), 1e-5);
	nv_head(x, T, D, V, W(V, D, "lm_head.weight"), NULL, 1, 0, id, out);
}

/* rows of a fused matrix: per head q, k, v */
static void split_heads(struct naive *nv, const double *f, double **q, double **k, double **v)
{
	*q = nv_vec(nv, T * D);
	*k = nv_vec(nv, T * D);
	*v = nv_vec(nv, T * D);
	for (size_t t = 0; t < T; t++)
		for (size_t h = 0; h < H; h++)
			for (size_t i = 0; i < HD; i++) {
				(*q)[t * D + h * HD + i] = f[t * 3 * D + (h * 3 + 0) * HD + i];
				(*k)[t * D + h * HD + i] = f[t * 3 * D + (h * 3 + 1) * HD + i];
				(*v)[t * D + h * HD + i] = f[t * 3 * D + (h * 3 + 2) * HD + i];
			}
}

static void persimmon(struct naive *nv, const uint32_t *id, double *out)
{
	double *x = nv_embed(nv, W(V, D, "model.embed_tokens.weight"), id, T, D, 1), *q, *k, *v;
	struct nv_rope r = nv_rope_of(4, 25000, false);
	for (size_t l = 0; l < NL; l++) {
		double *y = LN(x, "model.layers.%zu.input_layernorm");
		split_heads(nv,
			nv_lin(nv, y, T, D, 3 * D, W(3 * D, D, "model.layers.%zu.self_attn.query_key_value.weight", l),
				W(3 * D, 0, "model.layers.%zu.self_attn.query_key_value.bias", l)),
			&q, &k, &v);
		q = nv_ln(nv, q, T * H, HD, W(HD, 0, "model.layers.%zu.self_attn.q_layernorm.weight", l),
			W(HD, 0, "model.layers.%zu.self_attn.q_layernorm.bias", l), 1e-5);
		k = nv_ln(nv, k, T * H, HD, W(HD, 0, "model.layers.%zu.self_attn.k_layernorm.weight", l),
			W(HD, 0, "model.layers.%zu.self_attn.k_layernorm.bias", l), 1e-5);
		nv_rotate(&r, q, T, D, H, HD);
		nv_rotate(&r, k, T, D, H, HD);
		struct nv_attn a = { .T = T, .H = H, .KV = H, .d = HD, .scale = 1 / sqrt(HD) };
		nv_add(x,
			nv_lin(nv, nv_attend(nv, &a, q, k, v), T, D, D,
				W(D, D, "model.layers.%zu.self_attn.dense.weight", l),
				W(D, 0, "model.layers.%zu.self_attn.dense.bias", l)),
			T * D, 1);
		y = LN(x, "model.layers.%zu.post_attention_layernorm");
		double *f = nv_lin(nv, y, T, D, F, W(F, D, "model.layers.%zu.mlp.dense_h_to_4h.weight", l),
			W(F, 0, "model.layers.%zu.mlp.dense_h_to_4h.bias", l));
		nv_map(f, T * F, nv_relu2);
		nv_add(x,
			nv_lin(nv, f, T, F, D, W(D, F, "model.layers.%zu.mlp.dense_4h_to_h.weight", l),
				W(D, 0, "model.layers.%zu.mlp.dense_4h_to_h.bias", l)),
			T * D, 1);
	}
	x = nv_ln(nv, x, T, D, W(D, 0, "model.final_layernorm.weight"), W(D, 0, "model.final_layernorm.bias"), 1e-5);
	nv_head(x, T, D, V, W(V, D, "lm_head.weight"), NULL, 1, 0, id, out);
}

static double *gpt_mlp(
	struct naive *nv, const double *y, size_t ff, double (*act)(double), const char *in, const char *back, size_t l)
{
	char wi[128], bi[128], wo[128], bo[128], a[128];
	snprintf(a, sizeof(a), in, l);
	snprintf(wi, sizeof(wi), "%.100s.weight", a);
	snprintf(bi, sizeof(bi), "%.100s.bias", a);
	snprintf(a, sizeof(a), back, l);
	snprintf(wo, sizeof(wo), "%.100s.weight", a);
	snprintf(bo, sizeof(bo), "%.100s.bias", a);
	double *f = nv_lin(nv, y, T, D, ff, nv_w(nv, ff, D, "%s", wi), nv_w(nv, ff, 0, "%s", bi));
	nv_map(f, T * ff, act);
	return nv_lin(nv, f, T, ff, D, nv_w(nv, D, ff, "%s", wo), nv_w(nv, D, 0, "%s", bo));
}

static void codegen(struct naive *nv, const uint32_t *id, double *out)
{
	double *x = nv_embed(nv, W(V, D, "transformer.wte.weight"), id, T, D, 1);
	struct nv_rope r = nv_rope_of(4, 10000, true);
	for (size_t l = 0; l < NL; l++) {
		double *y = LN(x, "transformer.h.%zu.ln_1");
		double *f = nv_lin(nv, y, T, D, 3 * D, W(3 * D, D, "transformer.h.%zu.attn.qkv_proj.weight", l), NULL);
		double *q = nv_vec(nv, T * D), *k = nv_vec(nv, T * D), *v = nv_vec(nv, T * D);
		size_t w = D / 4; /* a block: q, v, k of width D / 4 each */
		for (size_t t = 0; t < T; t++)
			for (size_t b = 0; b < 4; b++)
				for (size_t i = 0; i < w; i++) {
					q[t * D + b * w + i] = f[t * 3 * D + b * 3 * w + i];
					v[t * D + b * w + i] = f[t * 3 * D + b * 3 * w + w + i];
					k[t * D + b * w + i] = f[t * 3 * D + b * 3 * w + 2 * w + i];
				}
		nv_rotate(&r, q, T, D, H, HD);
		nv_rotate(&r, k, T, D, H, HD);
		struct nv_attn a = { .T = T, .H = H, .KV = H, .d = HD, .scale = 1 / sqrt(HD) };
		double *o = nv_lin(nv, nv_attend(nv, &a, q, k, v), T, D, D,
			W(D, D, "transformer.h.%zu.attn.out_proj.weight", l), NULL);
		double *g = gpt_mlp(
			nv, y, 4 * D, nv_gelu_tanh, "transformer.h.%zu.mlp.fc_in", "transformer.h.%zu.mlp.fc_out", l);
		nv_add(x, o, T * D, 1);
		nv_add(x, g, T * D, 1);
	}
	x = nv_ln(nv, x, T, D, W(D, 0, "transformer.ln_f.weight"), W(D, 0, "transformer.ln_f.bias"), 1e-5);
	nv_head(x, T, D, V, W(V, D, "lm_head.weight"), W(V, 0, "lm_head.bias"), 1, 0, id, out);
}

static void openai_gpt(struct naive *nv, const uint32_t *id, double *out)
{
	double *e = W(V, D, "tokens_embed.weight"), *x = nv_embed(nv, e, id, T, D, 1);
	nv_add(x, W(64, D, "positions_embed.weight"), T * D, 1);
	for (size_t l = 0; l < NL; l++) {
		double *f = nv_conv1d(nv, x, T, D, 3 * D, W(D, 3 * D, "h.%zu.attn.c_attn.weight", l),
			W(3 * D, 0, "h.%zu.attn.c_attn.bias", l));
		double *q = nv_vec(nv, T * D), *k = nv_vec(nv, T * D), *v = nv_vec(nv, T * D);
		for (size_t t = 0; t < T; t++) {
			memcpy(q + t * D, f + t * 3 * D, D * sizeof(double));
			memcpy(k + t * D, f + t * 3 * D + D, D * sizeof(double));
			memcpy(v + t * D, f + t * 3 * D + 2 * D, D * sizeof(double));
		}
		struct nv_attn a = { .T = T, .H = H, .KV = H, .d = HD, .scale = 1 / sqrt(HD) };
		nv_add(x,
			nv_conv1d(nv, nv_attend(nv, &a, q, k, v), T, D, D, W(D, D, "h.%zu.attn.c_proj.weight", l),
				W(D, 0, "h.%zu.attn.c_proj.bias", l)),
			T * D, 1);
		x = LN(x, "h.%zu.ln_1");
		double *g = nv_conv1d(nv, x, T, D, 4 * D, W(D, 4 * D, "h.%zu.mlp.c_fc.weight", l),
			W(4 * D, 0, "h.%zu.mlp.c_fc.bias", l));
		nv_map(g, T * 4 * D, nv_gelu_tanh);
		nv_add(x,
			nv_conv1d(nv, g, T, 4 * D, D, W(4 * D, D, "h.%zu.mlp.c_proj.weight", l),
				W(D, 0, "h.%zu.mlp.c_proj.bias", l)),
			T * D, 1);
		x = LN(x, "h.%zu.ln_2");
	}
	nv_head(x, T, D, V, e, NULL, 1, 0, id, out);
}

static double *biased_attention(struct naive *nv, const double *y, const char *p, size_t l)
{
#define PROJ(name)                                                                                                     \
	nv_lin(nv, y, T, D, D, W(D, D, "%slayers.%zu.self_attn." name ".weight", p, l),                                \
		W(D, 0, "%slayers.%zu.self_attn." name ".bias", p, l))
	double *q = PROJ("q_proj"), *k = PROJ("k_proj"), *v = PROJ("v_proj");
	struct nv_attn a = { .T = T, .H = H, .KV = H, .d = HD, .scale = 1 / sqrt(HD) };
	y = nv_attend(nv, &a, q, k, v);
	return PROJ("out_proj");
#undef PROJ
}

/* pad: the padding token's number; that row of the position table is zero */
static void xglm_like(struct naive *nv, size_t pad, const uint32_t *id, double *out)
{
	double *e = W(V, D, "model.embed_tokens.weight"), *x = nv_embed(nv, e, id, T, D, sqrt(D));
	for (size_t t = 0; t < T; t++)
		for (size_t i = 0; i < D / 2 && t + 2 != pad; i++) {
			double a = (double)(t + 2) * pow(10000, -(double)i / (D / 2 - 1));
			x[t * D + i] += sin(a);
			x[t * D + D / 2 + i] += cos(a);
		}
	for (size_t l = 0; l < NL; l++) {
		nv_add(x, biased_attention(nv, LN(x, "model.layers.%zu.self_attn_layer_norm"), "model.", l), T * D, 1);
		nv_add(x,
			gpt_mlp(nv, LN(x, "model.layers.%zu.final_layer_norm"), F, nv_gelu, "model.layers.%zu.fc1",
				"model.layers.%zu.fc2", l),
			T * D, 1);
	}
	x = nv_ln(nv, x, T, D, W(D, 0, "model.layer_norm.weight"), W(D, 0, "model.layer_norm.bias"), 1e-5);
	nv_head(x, T, D, V, e, NULL, 1, 0, id, out);
}

static void xglm(struct naive *nv, const uint32_t *id, double *out)
{
	xglm_like(nv, 1, id, out);
}

static void xglm_pad(struct naive *nv, const uint32_t *id, double *out)
{
	xglm_like(nv, 5, id, out);
}

static void opt_350m(struct naive *nv, const uint32_t *id, double *out)
{
	enum { E = 20 };
	double *e = W(V, E, "model.decoder.embed_tokens.weight"), *x = nv_embed(nv, e, id, T, E, 1);
	x = nv_lin(nv, x, T, E, D, W(D, E, "model.decoder.project_in.weight"), NULL);
	nv_add(x, W(66, D, "model.decoder.embed_positions.weight") + 2 * D, T * D, 1);
	for (size_t l = 0; l < NL; l++) {
		nv_add(x, biased_attention(nv, x, "model.decoder.", l), T * D, 1);
		x = LN(x, "model.decoder.layers.%zu.self_attn_layer_norm");
		nv_add(x, gpt_mlp(nv, x, F, nv_relu, "model.decoder.layers.%zu.fc1", "model.decoder.layers.%zu.fc2", l),
			T * D, 1);
		x = LN(x, "model.decoder.layers.%zu.final_layer_norm");
	}
	x = nv_lin(nv, x, T, D, E, W(E, D, "model.decoder.project_out.weight"), NULL);
	nv_head(x, T, E, V, e, NULL, 1, 0, id, out);
}

static double slope(size_t h, size_t n) /* the published recipe: powers of two, then every second of the next power */
{
	size_t p = 1;
	while (p * 2 <= n)
		p *= 2;
	return h < p ? pow(2, -8.0 * (double)(h + 1) / (double)p)
		     : pow(2, -4.0 * (double)(2 * (h - p) + 1) / (double)p);
}

static double bias_alibi(size_t h, size_t n, size_t i, size_t j)
{
	return -slope(h, n) * (double)(i - j);
}

static double bias_falcon(size_t h, size_t n, size_t i, size_t j)
{
	(void)i;
	float s = mm_bf16_to_f32(mm_f32_to_bf16((float)slope(h, n)));
	return (double)mm_bf16_to_f32(mm_f32_to_bf16(s * (float)j)) / sqrt(HD);
}

static void falcon_rw(struct naive *nv, const uint32_t *id, double *out)
{
	double *e = W(V, D, "transformer.word_embeddings.weight"), *x = nv_embed(nv, e, id, T, D, 1), *q, *k, *v;
	for (size_t l = 0; l < NL; l++) {
		double *y = LN(x, "transformer.h.%zu.input_layernorm");
		split_heads(nv,
			nv_lin(nv, y, T, D, 3 * D,
				W(3 * D, D, "transformer.h.%zu.self_attention.query_key_value.weight", l),
				W(3 * D, 0, "transformer.h.%zu.self_attention.query_key_value.bias", l)),
			&q, &k, &v);
		struct nv_attn a = { .T = T, .H = H, .KV = H, .d = HD, .scale = 1 / sqrt(HD), .bias = bias_falcon };
		nv_add(x,
			nv_lin(nv, nv_attend(nv, &a, q, k, v), T, D, D,
				W(D, D, "transformer.h.%zu.self_attention.dense.weight", l),
				W(D, 0, "transformer.h.%zu.self_attention.dense.bias", l)),
			T * D, 1);
		nv_add(x,
			gpt_mlp(nv, LN(x, "transformer.h.%zu.post_attention_layernorm"), 4 * D, nv_gelu,
				"transformer.h.%zu.mlp.dense_h_to_4h", "transformer.h.%zu.mlp.dense_4h_to_h", l),
			T * D, 1);
	}
	x = nv_ln(nv, x, T, D, W(D, 0, "transformer.ln_f.weight"), W(D, 0, "transformer.ln_f.bias"), 1e-5);
	nv_head(x, T, D, V, e, NULL, 1, 0, id, out);
}

static void falcon_40b(struct naive *nv, const uint32_t *id, double *out)
{
	enum { R = (H / KV + 2) * HD };
	double *e = W(V, D, "transformer.word_embeddings.weight"), *x = nv_embed(nv, e, id, T, D, 1);
	struct nv_rope r = nv_rope_of(HD, 10000, false);
	for (size_t l = 0; l < NL; l++) {
		double *ya = LN(x, "transformer.h.%zu.ln_attn"), *ym = LN(x, "transformer.h.%zu.ln_mlp");
		double *f = nv_lin(nv, ya, T, D, KV * R,
			W(KV * R, D, "transformer.h.%zu.self_attention.query_key_value.weight", l), NULL);
		double *q = nv_vec(nv, T * D), *k = nv_vec(nv, T * KV * HD), *v = nv_vec(nv, T * KV * HD);
		for (size_t t = 0; t < T; t++)
			for (size_t g = 0; g < KV; g++) {
				const double *row = f + (t * KV + g) * R;
				memcpy(q + t * D + g * 2 * HD, row, 2 * HD * sizeof(double));
				memcpy(k + (t * KV + g) * HD, row + 2 * HD, HD * sizeof(double));
				memcpy(v + (t * KV + g) * HD, row + 3 * HD, HD * sizeof(double));
			}
		nv_rotate(&r, q, T, D, H, HD);
		nv_rotate(&r, k, T, KV * HD, KV, HD);
		struct nv_attn a = { .T = T, .H = H, .KV = KV, .d = HD, .scale = 1 / sqrt(HD) };
		double *o = nv_lin(nv, nv_attend(nv, &a, q, k, v), T, D, D,
			W(D, D, "transformer.h.%zu.self_attention.dense.weight", l), NULL);
		double *g =
			nv_lin(nv, ym, T, D, 4 * D, W(4 * D, D, "transformer.h.%zu.mlp.dense_h_to_4h.weight", l), NULL);
		nv_map(g, T * 4 * D, nv_gelu);
		g = nv_lin(nv, g, T, 4 * D, D, W(D, 4 * D, "transformer.h.%zu.mlp.dense_4h_to_h.weight", l), NULL);
		nv_add(x, o, T * D, 1);
		nv_add(x, g, T * D, 1);
	}
	x = nv_ln(nv, x, T, D, W(D, 0, "transformer.ln_f.weight"), W(D, 0, "transformer.ln_f.bias"), 1e-5);
	nv_head(x, T, D, V, e, NULL, 1, 0, id, out);
}

/* residual from the normalised input; three layers of 4 heads */
static void bloom_postln(struct naive *nv, const uint32_t *id, double *out)
{
	double *e = W(V, D, "word_embeddings.weight"), *x = nv_embed(nv, e, id, T, D, 1), *q, *k, *v;
	x = nv_ln(nv, x, T, D, W(D, 0, "word_embeddings_layernorm.weight"), W(D, 0, "word_embeddings_layernorm.bias"),
		1e-5);
	for (size_t l = 0; l < NL; l++) {
		double *y = LN(x, "h.%zu.input_layernorm");
		split_heads(nv,
			nv_lin(nv, y, T, D, 3 * D, W(3 * D, D, "h.%zu.self_attention.query_key_value.weight", l),
				W(3 * D, 0, "h.%zu.self_attention.query_key_value.bias", l)),
			&q, &k, &v);
		struct nv_attn a = { .T = T, .H = H, .KV = H, .d = HD, .scale = 1 / sqrt(HD), .bias = bias_alibi };
		nv_add(y,
			nv_lin(nv, nv_attend(nv, &a, q, k, v), T, D, D, W(D, D, "h.%zu.self_attention.dense.weight", l),
				W(D, 0, "h.%zu.self_attention.dense.bias", l)),
			T * D, 1);
		x = LN(y, "h.%zu.post_attention_layernorm");
		nv_add(x, gpt_mlp(nv, x, 4 * D, nv_gelu_tanh, "h.%zu.mlp.dense_h_to_4h", "h.%zu.mlp.dense_4h_to_h", l),
			T * D, 1);
	}
	x = nv_ln(nv, x, T, D, W(D, 0, "ln_f.weight"), W(D, 0, "ln_f.bias"), 1e-5);
	nv_head(x, T, D, V, e, NULL, 1, 0, id, out);
}

/* ---- the cases ---- */

static const struct {
	const char *name;
	forward_fn forward;
	const char *config;
} cases[] = {
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
	{ "cohere2", cohere2,
		"{\"model_type\":\"cohere2\",\"logit_scale\":0.25,\"sliding_window\":6,\"sliding_window_pattern\":"
		"3," JSON_COMMON "}" },
	{ "stablelm-12b", stablelm_12b,
		"{\"model_type\":\"stablelm\",\"use_qkv_bias\":true,\"qk_layernorm\":true,\"use_parallel_residual\":"
		"true,"
		"\"partial_rotary_factor\":0.5,\"layer_norm_eps\":1e-5," JSON_COMMON "}" },
	{ "persimmon", persimmon, "{\"model_type\":\"persimmon\"," JSON_COMMON "}" },
	{ "codegen", codegen,
		"{\"model_type\":\"codegen\",\"vocab_size\":70,\"n_positions\":64,\"n_embd\":32,\"n_layer\":3,\"n_"
		"head\":4,\"rotary_dim\":4}" },
	{ "openai-gpt", openai_gpt,
		"{\"model_type\":\"openai-gpt\",\"vocab_size\":70,\"n_positions\":64,\"n_embd\":32,\"n_layer\":3,\"n_"
		"head\":4,\"afn\":\"gelu\"}" },
	{ "xglm", xglm,
		"{\"model_type\":\"xglm\",\"vocab_size\":70,\"d_model\":32,\"ffn_dim\":48,\"num_layers\":3,\"attention_"
		"heads\":4,"
		"\"max_position_embeddings\":64}" },
	{ "xglm-padding-row", xglm_pad,
		"{\"model_type\":\"xglm\",\"vocab_size\":70,\"d_model\":32,\"ffn_dim\":48,\"num_layers\":3,\"attention_"
		"heads\":4,\"pad_token_id\":5,\"max_position_embeddings\":64}" },
	{ "opt-350m", opt_350m,
		"{\"model_type\":\"opt\",\"do_layer_norm_before\":false,\"word_embed_proj_dim\":20,\"ffn_dim\":"
		"48," JSON_COMMON "}" },
	{ "falcon-rw", falcon_rw,
		"{\"model_type\":\"falcon\",\"alibi\":true,\"multi_query\":false,\"parallel_attn\":false,\"bias\":"
		"true," JSON_COMMON "}" },
	{ "falcon-40b", falcon_40b,
		"{\"model_type\":\"falcon\",\"new_decoder_architecture\":true,\"num_kv_heads\":2,\"bias\":"
		"false," JSON_COMMON "}" },
	{ "bloom-post-norm-residual", bloom_postln,
		"{\"model_type\":\"bloom\",\"n_head\":4,\"n_layer\":3,\"hidden_size\":32,\"vocab_size\":70,"
		"\"apply_residual_connection_post_layernorm\":true}" },
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

static void check_case(void **state)
{
	size_t c = (size_t)(uintptr_t)*state;
	struct mm_err err;
	struct mm_model_opts opts = { .compute = MM_COMPUTE_F32, .threads = 2 };
	struct naive *nv = calloc(1, sizeof(*nv));
	char dir[] = "/tmp/mm-naive-XXXXXX", path[256];
	uint32_t id[T];
	double want[T], got[T], worst = 0;
	struct mm_rng rng;
	assert_true(nv && mkdtemp(dir));
	nv->scale = 0.3;
	mm_rng_init(&rng, c + 1);
	for (size_t t = 0; t < T; t++)
		id[t] = (uint32_t)mm_rng_below(&rng, V);
	cases[c].forward(nv, id, want);
	nv_write(nv, dir, cases[c].config);
	struct mm_model *m = mm_model_open(dir, &opts, &err);
	if (!m || mm_score_ids(m, id, T, got, &err))
		fail_msg("%s: %s", cases[c].name, err.text);
	for (size_t t = 0; t + 1 < T; t++) {
		double d = fabs(got[t] - want[t]);
		worst = d > worst || d != d ? d : worst;
	}
	print_message("%-28s max |diff| %.1e\n", cases[c].name, worst);
	if (!(worst <= 2e-5))
		fail_msg("%s: log-probs differ by %g", cases[c].name, worst);
	mm_model_close(m);
	nv_free(nv);
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	remove(path);
	snprintf(path, sizeof(path), "%s/config.json", dir);
	remove(path);
	remove(dir);
}

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[MM_COUNT(cases)];
	size_t n = 0;
	for (size_t i = 0; i < MM_COUNT(cases); i++)
		if (argc < 2 || strstr(cases[i].name, argv[1]))
			tests[n++] = (struct CMUnitTest){ cases[i].name, check_case, NULL, NULL, (void *)(uintptr_t)i };
	return _cmocka_run_group_tests("naive", tests, n, NULL, NULL);
}
