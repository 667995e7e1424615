/* naive_like.h: one attention, one feed-forward and one stack of layers that most families share, with what they
 * change. */
#ifndef NAIVE_LIKE_H
#define NAIVE_LIKE_H

#include "naive_case.h"

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

static inline double *maybe(struct naive *nv, bool on, size_t n, const char *fmt, ...) MM_PRINTF(4, 5);
static inline double *maybe(struct naive *nv, bool on, size_t n, const char *fmt, ...)
{
	char name[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	return on ? nv_w(nv, n, 0, "%s", name) : NULL;
}

static inline double *norm(struct naive *nv, const struct like *k, const double *x, size_t n, size_t d, const char *fmt,
	...) MM_PRINTF(6, 7);
static inline double *norm(
	struct naive *nv, const struct like *k, const double *x, size_t n, size_t d, const char *fmt, ...)
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

static inline double *like_attention(struct naive *nv, const struct like *k, size_t l, const double *y)
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

static inline double *like_ffn(struct naive *nv, const struct like *k, size_t l, const double *y)
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

static inline void like_llama(struct naive *nv, const struct like *k, const uint32_t *id, double *out)
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

static inline bool third_not(size_t l)
{
	return l != 2;
}
static inline size_t third_none(size_t l)
{
	return l == 2 ? 0 : 6;
}

#endif
