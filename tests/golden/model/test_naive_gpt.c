/* test_naive_gpt.c: GPT-like families, parallel blocks and older layouts, against a second formulation in double
 * precision (naive.h). */
#include "naive_like.h"

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
	return 2 * (double)mm_bf16_to_f32(mm_f32_to_bf16(s * (float)j)) / sqrt(HD); /* in the scores and in the mask */
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

/* one: a single norm before both branches */
static void falcon_groups(struct naive *nv, bool one, const uint32_t *id, double *out)
{
	enum { R = (H / KV + 2) * HD };
	double *e = W(V, D, "transformer.word_embeddings.weight"), *x = nv_embed(nv, e, id, T, D, 1);
	struct nv_rope r = nv_rope_of(HD, 10000, false);
	for (size_t l = 0; l < NL; l++) {
		double *ya = one ? LN(x, "transformer.h.%zu.input_layernorm") : LN(x, "transformer.h.%zu.ln_attn");
		double *ym = one ? ya : LN(x, "transformer.h.%zu.ln_mlp");
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

static void falcon_40b(struct naive *nv, const uint32_t *id, double *out)
{
	falcon_groups(nv, false, id, out);
}

static void falcon_11b(struct naive *nv, const uint32_t *id, double *out)
{
	falcon_groups(nv, true, id, out);
}

/* scores are not divided by sqrt(head size) but by the layer's number */
static void gpt2_scores(struct naive *nv, const uint32_t *id, double *out)
{
	double *x = nv_embed(nv, W(V, D, "transformer.wte.weight"), id, T, D, 1);
	nv_add(x, W(64, D, "transformer.wpe.weight"), T * D, 1);
	for (size_t l = 0; l < NL; l++) {
		double *f = nv_conv1d(nv, LN(x, "transformer.h.%zu.ln_1"), T, D, 3 * D,
			W(D, 3 * D, "transformer.h.%zu.attn.c_attn.weight", l),
			W(3 * D, 0, "transformer.h.%zu.attn.c_attn.bias", l));
		double *q = nv_vec(nv, T * D), *k = nv_vec(nv, T * D), *v = nv_vec(nv, T * D);
		for (size_t t = 0; t < T; t++) {
			memcpy(q + t * D, f + t * 3 * D, D * sizeof(double));
			memcpy(k + t * D, f + t * 3 * D + D, D * sizeof(double));
			memcpy(v + t * D, f + t * 3 * D + 2 * D, D * sizeof(double));
		}
		struct nv_attn a = { .T = T, .H = H, .KV = H, .d = HD, .scale = 1 / (double)(l + 1) };
		nv_add(x,
			nv_conv1d(nv, nv_attend(nv, &a, q, k, v), T, D, D,
				W(D, D, "transformer.h.%zu.attn.c_proj.weight", l),
				W(D, 0, "transformer.h.%zu.attn.c_proj.bias", l)),
			T * D, 1);
		double *g = nv_conv1d(nv, LN(x, "transformer.h.%zu.ln_2"), T, D, F,
			W(D, F, "transformer.h.%zu.mlp.c_fc.weight", l), W(F, 0, "transformer.h.%zu.mlp.c_fc.bias", l));
		nv_map(g, T * F, nv_relu);
		nv_add(x,
			nv_conv1d(nv, g, T, F, D, W(F, D, "transformer.h.%zu.mlp.c_proj.weight", l),
				W(D, 0, "transformer.h.%zu.mlp.c_proj.bias", l)),
			T * D, 1);
	}
	x = nv_ln(nv, x, T, D, W(D, 0, "transformer.ln_f.weight"), W(D, 0, "transformer.ln_f.bias"), 1e-5);
	nv_head(x, T, D, V, W(V, D, "lm_head.weight"), NULL, 1, 0, id, out);
}

/* q and k normalised head by head, half of each rotated, one norm before both branches, biases everywhere */
static void phi_norms(struct naive *nv, const uint32_t *id, double *out)
{
	double *x = nv_embed(nv, W(V, D, "model.embed_tokens.weight"), id, T, D, 1);
	struct nv_rope r = nv_rope_of(4, 10000, false);
#define PHI(y, n, name)                                                                                                \
	nv_lin(nv, y, T, D, n, W(n, D, "model.layers.%zu.self_attn." name ".weight", l),                               \
		W(n, 0, "model.layers.%zu.self_attn." name ".bias", l))
#define HEAD_LN(x, heads, name)                                                                                        \
	nv_ln(nv, x, T *(heads), HD, W(HD, 0, "model.layers.%zu.self_attn." name ".weight", l),                        \
		W(HD, 0, "model.layers.%zu.self_attn." name ".bias", l), 1e-5)
	for (size_t l = 0; l < NL; l++) {
		double *y = LN(x, "model.layers.%zu.input_layernorm");
		double *q = HEAD_LN(PHI(y, H * HD, "q_proj"), H, "q_layernorm");
		double *k = HEAD_LN(PHI(y, KV * HD, "k_proj"), KV, "k_layernorm");
		nv_rotate(&r, q, T, D, H, HD);
		nv_rotate(&r, k, T, KV * HD, KV, HD);
		struct nv_attn a = { .T = T, .H = H, .KV = KV, .d = HD, .scale = 1 / sqrt(HD) };
		double *o = nv_attend(nv, &a, q, k, PHI(y, KV * HD, "v_proj"));
		nv_add(x, PHI(o, D, "dense"), T * D, 1);
		nv_add(x, gpt_mlp(nv, y, F, nv_gelu_tanh, "model.layers.%zu.mlp.fc1", "model.layers.%zu.mlp.fc2", l),
			T * D, 1);
	}
#undef PHI
#undef HEAD_LN
	x = nv_ln(nv, x, T, D, W(D, 0, "model.final_layernorm.weight"), W(D, 0, "model.final_layernorm.bias"), 1e-5);
	nv_head(x, T, D, V, W(V, D, "lm_head.weight"), W(V, 0, "lm_head.bias"), 1, 0, id, out);
}

/* 3 of 8 elements to be rotated: the reference makes two frequencies, of exponents -2i/3, and rotates 4 */
static void neox_odd(struct naive *nv, const uint32_t *id, double *out)
{
	double *x = nv_embed(nv, W(V, D, "gpt_neox.embed_in.weight"), id, T, D, 1), *q, *k, *v;
	struct nv_rope r = nv_rope_of(4, 10000, false);
	r.freq[1] = pow(10000, -2.0 / 3);
	for (size_t l = 0; l < NL; l++) {
		split_heads(nv,
			nv_lin(nv, LN(x, "gpt_neox.layers.%zu.input_layernorm"), T, D, 3 * D,
				W(3 * D, D, "gpt_neox.layers.%zu.attention.query_key_value.weight", l), NULL),
			&q, &k, &v);
		nv_rotate(&r, q, T, D, H, HD);
		nv_rotate(&r, k, T, D, H, HD);
		struct nv_attn a = { .T = T, .H = H, .KV = H, .d = HD, .scale = 1 / sqrt(HD) };
		double *o = nv_lin(nv, nv_attend(nv, &a, q, k, v), T, D, D,
			W(D, D, "gpt_neox.layers.%zu.attention.dense.weight", l), NULL);
		double *f = gpt_mlp(nv, LN(x, "gpt_neox.layers.%zu.post_attention_layernorm"), F, nv_gelu,
			"gpt_neox.layers.%zu.mlp.dense_h_to_4h", "gpt_neox.layers.%zu.mlp.dense_4h_to_h", l);
		nv_add(x, o, T * D, 1);
		nv_add(x, f, T * D, 1);
	}
	x = nv_ln(nv, x, T, D, W(D, 0, "gpt_neox.final_layer_norm.weight"), W(D, 0, "gpt_neox.final_layer_norm.bias"),
		1e-5);
	nv_head(x, T, D, V, W(V, D, "embed_out.weight"), NULL, 1, 0, id, out);
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

static const struct naive_case cases[] = {
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
	{ "codegen-rope-keys", codegen, /* which its class does not know */
		"{\"model_type\":\"codegen\",\"vocab_size\":70,\"n_positions\":64,\"n_embd\":32,\"n_layer\":3,\"n_"
		"head\":4,\"rotary_dim\":4,\"rope_theta\":99.0,\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}"
		"}" },
	{ "gpt-neox-odd-rotation", neox_odd,
		"{\"model_type\":\"gpt_neox\",\"rotary_pct\":0.375,\"attention_bias\":null," JSON_COMMON "}" },
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
	{ "falcon-11b", falcon_11b,
		"{\"model_type\":\"falcon\",\"new_decoder_architecture\":true,\"num_kv_heads\":2,\"num_ln_in_parallel_"
		"attn\":1," JSON_COMMON "}" },
	{ "gpt2-scores", gpt2_scores,
		"{\"model_type\":\"gpt2\",\"vocab_size\":70,\"n_positions\":64,\"n_embd\":32,\"n_layer\":3,\"n_head\":"
		"4,"
		"\"n_inner\":48,\"activation_function\":\"relu\",\"scale_attn_weights\":false,"
		"\"scale_attn_by_inverse_layer_idx\":true,\"tie_word_embeddings\":false}" },
	{ "phi-norms", phi_norms, "{\"model_type\":\"phi\",\"qk_layernorm\":true," JSON_COMMON "}" },
	{ "bloom-post-norm-residual", bloom_postln,
		"{\"model_type\":\"bloom\",\"n_head\":4,\"n_layer\":3,\"hidden_size\":32,\"vocab_size\":70,"
		"\"apply_residual_connection_post_layernorm\":true}" },
};

NAIVE_MAIN("naive gpt")
