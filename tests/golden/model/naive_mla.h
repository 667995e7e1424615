/* naive_mla.h: deepseek_v2, deepseek_v3 and gpt_oss from their definitions; see naive_core.h. */
#ifndef NAIVE_MLA_H
#define NAIVE_MLA_H

#include "naive_ssm.h"

static double *gated(struct ck *ck, const double *y, size_t n, size_t d, size_t ff, const char *at_)
{
	double *g = lin(ck, y, n, d, ff, false, "%s.gate_proj", at_),
	       *u = lin(ck, y, n, d, ff, false, "%s.up_proj", at_);
	for (size_t i = 0; i < n * ff; i++)
		u[i] *= silu(g[i]);
	return lin(ck, u, n, ff, d, false, "%s.down_proj", at_);
}

/* The k largest of s[0..n) in order. */
static void largest(const double *s, size_t n, size_t k, size_t *out)
{
	for (size_t i = 0; i < k; i++) {
		size_t best = n;
		for (size_t e = 0; e < n; e++) {
			bool used = false;
			for (size_t j = 0; j < i; j++)
				used = used || out[j] == e;
			if (!used && (best == n || s[e] > s[best]))
				best = e;
		}
		out[i] = best;
	}
}

/* Chosen experts and weights of one token of deepseek. */
static void deepseek_route(
	const json_t *c, bool v3, const double *logit, const double *bias, size_t ne, size_t k, size_t *out, double *w)
{
	double s[64], pick[64], group[64], sum = 0;
	size_t ng = siz(c, "n_group", v3 ? 8 : 1), used = siz(c, "topk_group", v3 ? 4 : 1), per = ne / ng, keep[64];
	for (size_t e = 0; e < ne; e++)
		sum += exp(logit[e]);
	for (size_t e = 0; e < ne; e++) {
		s[e] = v3 ? sigmoid(logit[e]) : exp(logit[e]) / sum;
		pick[e] = s[e] + (bias ? bias[e] : 0);
	}
	if (v3 || !strcmp(str(c, "topk_method", "greedy"), "group_limited_greedy")) {
		for (size_t g = 0; g < ng; g++) {
			largest(pick + g * per, per, v3 ? 2 : 1, keep);
			group[g] = pick[g * per + keep[0]] + (v3 ? pick[g * per + keep[1]] : 0);
		}
		largest(group, ng, used, keep);
		for (size_t g = 0; g < ng; g++) {
			bool in = false;
			for (size_t i = 0; i < used; i++)
				in = in || keep[i] == g;
			for (size_t e = 0; !in && e < per; e++)
				pick[g * per + e] = 0;
		}
	}
	largest(pick, ne, k, out);
	sum = 0;
	for (size_t i = 0; i < k; i++)
		sum += w[i] = s[out[i]];
	for (size_t i = 0; i < k; i++)
		w[i] = w[i] / (v3 && num(c, "norm_topk_prob", 1) != 0 ? sum : 1) *
		       num(c, "routed_scaling_factor", v3 ? 2.5 : 1);
}

static double *deepseek_moe(struct ck *ck, const double *y, size_t n, size_t d, size_t l, bool v3)
{
	const json_t *c = ck->cfg;
	size_t ne = siz(c, "n_routed_experts", 64), k = siz(c, "num_experts_per_tok", 8),
	       ff = siz(c, "moe_intermediate_size", 0);
	char name[64];
	double *r = lin(ck, y, n, d, ne, false, "layers.%zu.mlp.gate", l);
	const double *bias = v3 ? ck_get(ck, 0.2, 0, ne, 0, 0, "layers.%zu.mlp.gate.e_score_correction_bias", l) : NULL;
	double *each[64];
	for (size_t e = 0; e < ne; e++) {
		snprintf(name, sizeof(name), "layers.%zu.mlp.experts.%zu", l, e);
		each[e] = gated(ck, y, n, d, ff, name);
	}
	snprintf(name, sizeof(name), "layers.%zu.mlp.shared_experts", l);
	double *out = gated(ck, y, n, d, ff * siz(c, "n_shared_experts", 1), name);
	for (size_t t = 0; t < n; t++) {
		size_t pick[16];
		double w[16];
		deepseek_route(c, v3, r + t * ne, bias, ne, k, pick, w);
		for (size_t i = 0; i < k; i++)
			add(out + t * d, each[pick[i]] + t * d, w[i], d);
	}
	return out;
}

static double *mla(struct ck *ck, const double *y, size_t n, size_t d, size_t l, bool v3)
{
	const json_t *c = ck->cfg;
	size_t h = siz(c, "num_attention_heads", 0), nope = siz(c, "qk_nope_head_dim", 128),
	       rot = siz(c, "qk_rope_head_dim", 64);
	size_t dv = siz(c, "v_head_dim", 128), qr = siz(c, "q_lora_rank", 0), kr = siz(c, "kv_lora_rank", 512),
	       dh = nope + rot;
	bool ab = num(c, "attention_bias", 0) != 0, half = v3 && num(c, "rope_interleave", 1) == 0;
	const json_t *rs = json_object_get(c, "rope_scaling");
	double f[64], factor, scale = 1 / sqrt((double)dh), *q;
	rope_freq(c, num(c, "rope_theta", 10000), rot, f, &factor);
	if (v3 && num(rs, "mscale_all_dim", 0) != 0) {
		double m = 0.1 * num(rs, "mscale_all_dim", 0) * log(num(rs, "factor", 1)) + 1;
		scale *= m * m;
	}
	if (qr) {
		q = lin(ck, y, n, d, qr, ab, "layers.%zu.self_attn.q_a_proj", l);
		q = norm(ck, q, n, qr, 1e-6, "layers.%zu.self_attn.q_a_layernorm", l);
		q = lin(ck, q, n, qr, h * dh, false, "layers.%zu.self_attn.q_b_proj", l);
	} else {
		q = lin(ck, y, n, d, h * dh, false, "layers.%zu.self_attn.q_proj", l);
	}
	double *a = lin(ck, y, n, d, kr + rot, ab, "layers.%zu.self_attn.kv_a_proj_with_mqa", l), *z = vec(ck, n * kr);
	for (size_t t = 0; t < n; t++)
		memcpy(z + t * kr, a + t * (kr + rot), kr * sizeof(double));
	z = norm(ck, z, n, kr, 1e-6, "layers.%zu.self_attn.kv_a_layernorm", l);
	double *kv = lin(ck, z, n, kr, h * (nope + dv), false, "layers.%zu.self_attn.kv_b_proj", l);
	double *k = vec(ck, n * h * dh), *v = vec(ck, n * h * dv);
	for (size_t t = 0; t < n; t++) {
		rotate(a + t * (kr + rot) + kr, rot, f, factor, t, half);
		for (size_t i = 0; i < h; i++) {
			const double *src = kv + (t * h + i) * (nope + dv);
			rotate(q + (t * h + i) * dh + nope, rot, f, factor, t, half);
			memcpy(k + (t * h + i) * dh, src, nope * sizeof(double));
			memcpy(k + (t * h + i) * dh + nope, a + t * (kr + rot) + kr, rot * sizeof(double));
			memcpy(v + (t * h + i) * dv, src + nope, dv * sizeof(double));
		}
	}
	double *o = attend(ck, q, k, v, n, h, h, dh, dv, scale, 0, NULL);
	return lin(ck, o, n, h * dv, d, ab, "layers.%zu.self_attn.o_proj", l);
}

static void deepseek(struct ck *ck, const uint32_t *id, size_t n, double *lp, bool v3)
{
	const json_t *c = ck->cfg;
	size_t d = siz(c, "hidden_size", 0), v = siz(c, "vocab_size", 0);
	double eps = num(c, "rms_norm_eps", 1e-6);
	strcpy(ck->prefix, "model.");
	double *x = embed(ck, "embed_tokens", id, n, v, d, 1);
	for (size_t l = 0; l < siz(c, "num_hidden_layers", 0); l++) {
		char name[64];
		snprintf(name, sizeof(name), "layers.%zu.mlp", l);
		double *y = norm(ck, x, n, d, eps, "layers.%zu.input_layernorm", l);
		add(x, mla(ck, y, n, d, l, v3), 1, n * d);
		y = norm(ck, x, n, d, eps, "layers.%zu.post_attention_layernorm", l);
		bool dense = l < siz(c, "first_k_dense_replace", v3 ? 3 : 0);
		add(x,
			dense ? gated(ck, y, n, d, siz(c, "intermediate_size", 0), name)
			      : deepseek_moe(ck, y, n, d, l, v3),
			1, n * d);
	}
	x = norm(ck, x, n, d, eps, "norm");
	finish(ck, x, id, n, v, d, num(c, "tie_word_embeddings", 0) != 0 ? "embed_tokens" : "^lm_head", 1, 0, lp);
}

static inline void naive_deepseek2(struct ck *ck, const uint32_t *id, size_t n, double *lp)
{
	deepseek(ck, id, n, lp, false);
}

static inline void naive_deepseek3(struct ck *ck, const uint32_t *id, size_t n, double *lp)
{
	deepseek(ck, id, n, lp, true);
}

/* ---- gpt_oss ---- */

static double *oss_moe(struct ck *ck, const double *y, size_t n, size_t d, size_t l)
{
	const json_t *c = ck->cfg;
	size_t ne = siz(c, "num_local_experts", 128), k = siz(c, "num_experts_per_tok", 4),
	       ff = siz(c, "intermediate_size", 2880);
	double *r = lin(ck, y, n, d, ne, true, "layers.%zu.mlp.router", l), *out = vec(ck, n * d);
	const double *gu = ck_get(ck, 3 / sqrt((double)d), 0, ne, d, 2 * ff, "layers.%zu.mlp.experts.gate_up_proj", l);
	const double *gb = ck_get(ck, 1, 0, ne, 2 * ff, 0, "layers.%zu.mlp.experts.gate_up_proj_bias", l);
	const double *dn = ck_get(ck, 1 / sqrt((double)ff), 0, ne, ff, d, "layers.%zu.mlp.experts.down_proj", l);
	const double *db = ck_get(ck, 0.3, 0, ne, d, 0, "layers.%zu.mlp.experts.down_proj_bias", l);
	if (json_object_get(c, "quantization_config")) {
		four_round(ck, gu);
		four_round(ck, dn);
	}
	for (size_t t = 0; t < n; t++) {
		size_t pick[16];
		double sum = 0;
		largest(r + t * ne, ne, k, pick);
		for (size_t i = 0; i < k; i++)
			sum += exp(r[t * ne + pick[i]]);
		for (size_t i = 0; i < k; i++) {
			size_t e = pick[i];
			double w = exp(r[t * ne + e]) / sum;
			for (size_t o = 0; o < d; o++)
				out[t * d + o] += w * db[e * d + o];
			for (size_t j = 0; j < ff; j++) {
				double g = gb[e * 2 * ff + 2 * j], u = gb[e * 2 * ff + 2 * j + 1];
				for (size_t q = 0; q < d; q++) {
					g += y[t * d + q] * gu[(e * d + q) * 2 * ff + 2 * j];
					u += y[t * d + q] * gu[(e * d + q) * 2 * ff + 2 * j + 1];
				}
				g = fmin(g, 7);
				u = fmin(fmax(u, -7), 7);
				for (size_t o = 0; o < d; o++)
					out[t * d + o] +=
						w * (u + 1) * g * sigmoid(1.702 * g) * dn[(e * ff + j) * d + o];
			}
		}
	}
	return out;
}

static inline void naive_gpt_oss(struct ck *ck, const uint32_t *id, size_t n, double *lp)
{
	const json_t *c = ck->cfg, *types = json_object_get(c, "layer_types");
	size_t d = siz(c, "hidden_size", 0), v = siz(c, "vocab_size", 0), h = siz(c, "num_attention_heads", 0);
	size_t kv = siz(c, "num_key_value_heads", 8), dh = siz(c, "head_dim", 64);
	double eps = num(c, "rms_norm_eps", 1e-5), f[64], factor;
	json_t *yarn = json_pack("{s:{s:f,s:f,s:b}}", "rope_scaling", "factor", 32.0,
		"original_max_position_embeddings", 4096.0, "truncate", 0);
	rope_freq(json_object_get(c, "rope_scaling") ? c : yarn, num(c, "rope_theta", 150000), dh, f, &factor);
	json_decref(yarn);
	strcpy(ck->prefix, "model.");
	double *x = embed(ck, "embed_tokens", id, n, v, d, 1);
	for (size_t l = 0; l < siz(c, "num_hidden_layers", 0); l++) {
		bool slide = types ? json_string_value(json_array_get(types, l))[0] == 's' : l % 2 == 0;
		double *y = norm(ck, x, n, d, eps, "layers.%zu.input_layernorm", l);
		double *q = lin(ck, y, n, d, h * dh, true, "layers.%zu.self_attn.q_proj", l);
		double *k = lin(ck, y, n, d, kv * dh, true, "layers.%zu.self_attn.k_proj", l);
		double *w = lin(ck, y, n, d, kv * dh, true, "layers.%zu.self_attn.v_proj", l);
		for (size_t t = 0; t < n; t++) {
			for (size_t i = 0; i < h; i++)
				rotate(q + (t * h + i) * dh, dh, f, factor, t, true);
			for (size_t i = 0; i < kv; i++)
				rotate(k + (t * kv + i) * dh, dh, f, factor, t, true);
		}
		const double *sink = ck_get(ck, 1, 1, h, 0, 0, "layers.%zu.self_attn.sinks", l);
		double *o = attend(ck, q, k, w, n, h, kv, dh, dh, 1 / sqrt((double)dh),
			slide ? siz(c, "sliding_window", 128) : 0, sink);
		add(x, lin(ck, o, n, h * dh, d, true, "layers.%zu.self_attn.o_proj", l), 1, n * d);
		y = norm(ck, x, n, d, eps, "layers.%zu.post_attention_layernorm", l);
		add(x, oss_moe(ck, y, n, d, l), 1, n * d);
	}
	x = norm(ck, x, n, d, eps, "norm");
	finish(ck, x, id, n, v, d, num(c, "tie_word_embeddings", 0) != 0 ? "embed_tokens" : "^lm_head", 1, 0, lp);
}

#endif
