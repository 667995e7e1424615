/* naive_ssm.h: mamba, falcon_mamba, mamba2, falcon_h1, rwkv, recurrent_gemma, lfm2 from their definitions; see
 * naive_core.h.
 */
#ifndef NAIVE_SSM_H
#define NAIVE_SSM_H

#include "naive_core.h"

static const char *str(const json_t *o, const char *key, const char *def)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : def;
}

/* ---- mamba, falcon_mamba ---- */

static double *mamba_mix(struct ck *ck, const double *y, size_t n, size_t l, bool normed)
{
	const json_t *c = ck->cfg;
	size_t d = siz(c, "hidden_size", 0),
	       in = siz(c, "intermediate_size", (size_t)(num(c, "expand", 2) * (double)d));
	size_t ns = siz(c, "state_size", 16), k = siz(c, "conv_kernel", 4),
	       rank = siz(c, "time_step_rank", (d + 15) / 16);
	bool bias = num(c, "use_bias", 0) != 0, cb = num(c, "use_conv_bias", 1) != 0;
	double eps = num(c, "mixer_rms_eps", 1e-6);
	char name[64];
	const char *a = str(c, "hidden_act", "silu");
	double *xz = lin(ck, y, n, d, 2 * in, bias, "layers.%zu.mixer.in_proj", l);
	snprintf(name, sizeof(name), "layers.%zu.mixer.conv1d", l);
	double *x = conv(ck, xz, 2 * in, n, in, k, cb, name);
	for (size_t i = 0; i < n * in; i++)
		x[i] = act(a, x[i]);
	double *dbc = lin(ck, x, n, in, rank + 2 * ns, false, "layers.%zu.mixer.x_proj", l);
	double *r = vec(ck, n * rank), *b = vec(ck, n * ns), *cc = vec(ck, n * ns);
	for (size_t t = 0; t < n; t++) {
		memcpy(r + t * rank, dbc + t * (rank + 2 * ns), rank * sizeof(double));
		memcpy(b + t * ns, dbc + t * (rank + 2 * ns) + rank, ns * sizeof(double));
		memcpy(cc + t * ns, dbc + t * (rank + 2 * ns) + rank + ns, ns * sizeof(double));
	}
	if (normed) {
		r = rms(ck, r, n, rank, rank, NULL, eps);
		b = rms(ck, b, n, ns, ns, NULL, eps);
		cc = rms(ck, cc, n, ns, ns, NULL, eps);
	}
	double *dt = lin(ck, r, n, rank, in, true, "layers.%zu.mixer.dt_proj", l);
	const double *al = ck_get(ck, 0.7, 0, in, ns, 0, "layers.%zu.mixer.A_log", l);
	const double *dd = ck_get(ck, 0.5, 1, in, 0, 0, "layers.%zu.mixer.D", l);
	double *u = vec(ck, n * in), *s = vec(ck, in * ns);
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < in; i++) {
			double step = softplus(dt[t * in + i]), o = dd[i] * x[t * in + i];
			for (size_t j = 0; j < ns; j++) {
				double *h = &s[i * ns + j];
				*h = exp(-exp(al[i * ns + j]) * step) * *h + step * b[t * ns + j] * x[t * in + i];
				o += *h * cc[t * ns + j];
			}
			u[t * in + i] = o * act(a, xz[t * 2 * in + in + i]);
		}
	return lin(ck, u, n, in, d, bias, "layers.%zu.mixer.out_proj", l);
}

static void mamba_like(struct ck *ck, const uint32_t *id, size_t n, double *lp, int kind);

static inline void naive_mamba(struct ck *ck, const uint32_t *id, size_t n, double *lp)
{
	mamba_like(ck, id, n, lp, 0);
}

static inline void naive_falcon_mamba(struct ck *ck, const uint32_t *id, size_t n, double *lp)
{
	mamba_like(ck, id, n, lp, 1);
}

static inline void naive_mamba2(struct ck *ck, const uint32_t *id, size_t n, double *lp)
{
	mamba_like(ck, id, n, lp, 2);
}

/* ---- mamba2 ---- */

struct ssd { /* what the two families call differently */
	size_t inner, state, heads, groups, taps;
	bool bias_in, bias_out, bias_conv, norm, grouped, norm_first;
	double lo, hi, in, out, mult[5], eps;
	const char *at, *act;
};

static double *mamba2_mix(struct ck *ck, const double *y, size_t n, size_t d, size_t l, const struct ssd *p)
{
	size_t in = p->inner, gn = p->groups * p->state, cw = in + 2 * gn, w = in + cw + p->heads, dh = in / p->heads;
	char name[64];
	double *yy = vec(ck, n * d);
	add(yy, y, p->in, n * d);
	double *zx = lin(ck, yy, n, d, w, p->bias_in, "layers.%zu.%s.in_proj", l, p->at);
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < w; i++)
			zx[t * w + i] *= p->mult[i < in		       ? 0
						 : i < 2 * in	       ? 1
						 : i < 2 * in + gn     ? 2
						 : i < 2 * in + 2 * gn ? 3
								       : 4];
	snprintf(name, sizeof(name), "layers.%zu.%s.conv1d", l, p->at);
	double *x = conv(ck, zx + in, w, n, cw, p->taps, p->bias_conv, name);
	for (size_t i = 0; i < n * cw; i++)
		x[i] = act(p->act, x[i]);
	const double *db = ck_get(ck, 1, -1, p->heads, 0, 0, "layers.%zu.%s.dt_bias", l, p->at);
	const double *al = ck_get(ck, 0.7, 0, p->heads, 0, 0, "layers.%zu.%s.A_log", l, p->at);
	const double *dd = ck_get(ck, 0.5, 1, p->heads, 0, 0, "layers.%zu.%s.D", l, p->at);
	double *u = vec(ck, n * in), *s = vec(ck, in * p->state);
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < in; i++) {
			size_t h = i / dh, g = h / (p->heads / p->groups);
			double dt = fmin(fmax(softplus(zx[t * w + in + cw + h] + db[h]), p->lo), p->hi),
			       xi = x[t * cw + i];
			double o = dd[h] * xi;
			for (size_t j = 0; j < p->state; j++) {
				double *q = &s[i * p->state + j];
				*q = exp(-exp(al[h]) * dt) * *q + dt * x[t * cw + in + g * p->state + j] * xi;
				o += *q * x[t * cw + in + gn + g * p->state + j];
			}
			u[t * in + i] = o;
		}
	for (int pass = 0; pass < 2; pass++) {
		bool gate = (pass == 0) != p->norm_first;
		for (size_t t = 0; gate && t < n; t++)
			for (size_t i = 0; i < in; i++)
				u[t * in + i] *= silu(zx[t * w + i]);
		if (!gate && p->norm)
			u = rms(ck, u, n, in, p->grouped ? in / p->groups : in,
				ck_get(ck, 0.2, 1, in, 0, 0, "layers.%zu.%s.norm.weight", l, p->at), p->eps);
	}
	double *o = lin(ck, u, n, in, d, p->bias_out, "layers.%zu.%s.out_proj", l, p->at), *z = vec(ck, n * d);
	add(z, o, p->out, n * d);
	return z;
}

static double *mamba2_own(struct ck *ck, const double *y, size_t n, size_t l)
{
	const json_t *c = ck->cfg;
	size_t d = siz(c, "hidden_size", 0);
	struct ssd p = { .inner = (size_t)(num(c, "expand", 2) * (double)d),
		.state = siz(c, "state_size", 128),
		.heads = siz(c, "num_heads", 128),
		.groups = siz(c, "n_groups", 8),
		.taps = siz(c, "conv_kernel", 4),
		.bias_in = num(c, "use_bias", 0) != 0,
		.bias_out = num(c, "use_bias", 0) != 0,
		.bias_conv = num(c, "use_conv_bias", 1) != 0,
		.norm = true,
		.lo = at(c, "time_step_limit", 0, 0),
		.hi = at(c, "time_step_limit", 1, INFINITY),
		.in = 1,
		.out = 1,
		.mult = { 1, 1, 1, 1, 1 },
		.eps = num(c, "layer_norm_epsilon", 1e-5),
		.at = "mixer",
		.act = str(c, "hidden_act", "silu") };
	return mamba2_mix(ck, y, n, d, l, &p);
}

static void mamba_like(struct ck *ck, const uint32_t *id, size_t n, double *lp, int kind)
{
	const json_t *c = ck->cfg;
	size_t d = siz(c, "hidden_size", 0), v = siz(c, "vocab_size", 0);
	double eps = num(c, "layer_norm_epsilon", 1e-5);
	strcpy(ck->prefix, "backbone.");
	double *x = embed(ck, "embeddings", id, n, v, d, 1);
	for (size_t l = 0; l < siz(c, "num_hidden_layers", 0); l++) {
		double *y = norm(ck, x, n, d, eps, "layers.%zu.norm", l);
		add(x, kind == 2 ? mamba2_own(ck, y, n, l) : mamba_mix(ck, y, n, l, kind == 1), 1, n * d);
	}
	x = norm(ck, x, n, d, eps, "norm_f");
	finish(ck, x, id, n, v, d, num(c, "tie_word_embeddings", kind != 2) != 0 ? "embeddings" : "^lm_head", 1, 0, lp);
}

/* ---- falcon_h1 ---- */

static inline void naive_falcon_h1(struct ck *ck, const uint32_t *id, size_t n, double *lp)
{
	const json_t *c = ck->cfg;
	size_t d = siz(c, "hidden_size", 0), v = siz(c, "vocab_size", 0), h = siz(c, "num_attention_heads", 0);
	size_t kv = siz(c, "num_key_value_heads", h), dh = siz(c, "head_dim", d / h),
	       ff = siz(c, "intermediate_size", 0);
	double eps = num(c, "rms_norm_eps", 1e-5), f[64], factor;
	struct ssd p = { .inner = siz(c, "mamba_d_ssm", (size_t)num(c, "mamba_expand", 2) * d),
		.state = siz(c, "mamba_d_state", 256),
		.heads = siz(c, "mamba_n_heads", 128),
		.groups = siz(c, "mamba_n_groups", 1),
		.taps = siz(c, "mamba_d_conv", 4),
		.bias_in = num(c, "mamba_proj_bias", 0) != 0,
		.bias_out = num(c, "projectors_bias", 0) != 0,
		.bias_conv = num(c, "mamba_conv_bias", 1) != 0,
		.norm = num(c, "mamba_rms_norm", 0) != 0,
		.grouped = true,
		.norm_first = num(c, "mamba_rms_norm", 0) != 0 && num(c, "mamba_norm_before_gate", 1) != 0,
		.hi = INFINITY,
		.in = num(c, "ssm_in_multiplier", 1),
		.out = num(c, "ssm_out_multiplier", 1),
		.eps = eps,
		.at = "mamba",
		.act = str(c, "hidden_act", "silu") };
	for (size_t i = 0; i < 5; i++)
		p.mult[i] = at(c, "ssm_multipliers", i, 1);
	rope_freq(c, num(c, "rope_theta", 100000), dh, f, &factor);
	strcpy(ck->prefix, "model.");
	double *x = embed(ck, "embed_tokens", id, n, v, d, num(c, "embedding_multiplier", 1));
	for (size_t l = 0; l < siz(c, "num_hidden_layers", 0); l++) {
		double *y = norm(ck, x, n, d, eps, "layers.%zu.input_layernorm", l), *a = vec(ck, n * d);
		double *s = mamba2_mix(ck, y, n, d, l, &p);
		add(a, y, num(c, "attention_in_multiplier", 1), n * d);
		bool ab = num(c, "attention_bias", 0) != 0;
		double *q = lin(ck, a, n, d, h * dh, ab, "layers.%zu.self_attn.q_proj", l);
		double *k = lin(ck, a, n, d, kv * dh, ab, "layers.%zu.self_attn.k_proj", l);
		double *w = lin(ck, a, n, d, kv * dh, ab, "layers.%zu.self_attn.v_proj", l);
		for (size_t i = 0; i < n * kv * dh; i++)
			k[i] *= num(c, "key_multiplier", 1);
		for (size_t t = 0; t < n; t++) {
			for (size_t i = 0; i < h; i++)
				rotate(q + (t * h + i) * dh, dh, f, factor, t, true);
			for (size_t i = 0; i < kv; i++)
				rotate(k + (t * kv + i) * dh, dh, f, factor, t, true);
		}
		double *o = attend(ck, q, k, w, n, h, kv, dh, dh, 1 / sqrt((double)dh), 0, NULL);
		o = lin(ck, o, n, h * dh, d, ab, "layers.%zu.self_attn.o_proj", l);
		add(x, o, num(c, "attention_out_multiplier", 1), n * d);
		add(x, s, 1, n * d);
		y = norm(ck, x, n, d, eps, "layers.%zu.pre_ff_layernorm", l);
		bool mb = num(c, "mlp_bias", 0) != 0;
		double *g = lin(ck, y, n, d, ff, mb, "layers.%zu.feed_forward.gate_proj", l);
		double *u = lin(ck, y, n, d, ff, mb, "layers.%zu.feed_forward.up_proj", l);
		for (size_t i = 0; i < n * ff; i++)
			u[i] *= act(str(c, "hidden_act", "silu"), g[i] * at(c, "mlp_multipliers", 0, 1));
		add(x, lin(ck, u, n, ff, d, mb, "layers.%zu.feed_forward.down_proj", l), at(c, "mlp_multipliers", 1, 1),
			n * d);
	}
	x = norm(ck, x, n, d, eps, "final_layernorm");
	finish(ck, x, id, n, v, d, num(c, "tie_word_embeddings", 0) != 0 ? "embed_tokens" : "^lm_head",
		num(c, "lm_head_multiplier", 1), 0, lp);
}

/* ---- rwkv: with the halving of the residual stream and the weights that feed it, as the reference runs it ---- */

static double *ln(struct ck *ck, const double *x, size_t n, size_t d, double eps, const char *fmt, ...)
{
	char name[100];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	const double *w = ck_get(ck, 0.2, 1, d, 0, 0, "%s.weight", name),
		     *b = ck_get(ck, 0.2, 0, d, 0, 0, "%s.bias", name);
	double *y = vec(ck, n * d);
	for (size_t t = 0; t < n; t++) {
		double m = 0, s = 0;
		for (size_t i = 0; i < d; i++)
			m += x[t * d + i] / (double)d;
		for (size_t i = 0; i < d; i++)
			s += (x[t * d + i] - m) * (x[t * d + i] - m) / (double)d;
		for (size_t i = 0; i < d; i++)
			y[t * d + i] = (x[t * d + i] - m) / sqrt(s + eps) * w[i] + b[i];
	}
	return y;
}

static double *shift_mix(
	struct ck *ck, const double *y, size_t n, size_t d, const char *fmt, size_t l, const char *what)
{
	char name[100];
	snprintf(name, sizeof(name), fmt, l, what);
	const double *m = ck_get(ck, 0.3, 0.5, 1, 1, d, "%s", name);
	double *z = vec(ck, n * d);
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < d; i++)
			z[t * d + i] = y[t * d + i] * m[i] + (t ? y[(t - 1) * d + i] : 0) * (1 - m[i]);
	return z;
}

static inline void naive_rwkv(struct ck *ck, const uint32_t *id, size_t n, double *lp)
{
	const json_t *c = ck->cfg;
	size_t d = siz(c, "hidden_size", 0), v = siz(c, "vocab_size", 0), a = siz(c, "attention_hidden_size", d);
	size_t ff = siz(c, "intermediate_size", 4 * d), every = siz(c, "rescale_every", 6);
	double eps = num(c, "layer_norm_epsilon", 1e-5);
	static const char *const tm = "blocks.%zu.attention.time_mix_%s", *const cm =
										  "blocks.%zu.feed_forward.time_mix_%s";
	strcpy(ck->prefix, "rwkv.");
	double *x = embed(ck, "embeddings", id, n, v, d, 1);
	for (size_t l = 0; l < siz(c, "num_hidden_layers", 0); l++) {
		double half = every ? pow(0.5, (double)(l / every)) : 1;
		if (l == 0)
			x = ln(ck, x, n, d, eps, "blocks.0.pre_ln");
		double *y = ln(ck, x, n, d, eps, "blocks.%zu.ln1", l);
		double *k =
			lin(ck, shift_mix(ck, y, n, d, tm, l, "key"), n, d, a, false, "blocks.%zu.attention.key", l);
		double *w = lin(
			ck, shift_mix(ck, y, n, d, tm, l, "value"), n, d, a, false, "blocks.%zu.attention.value", l);
		double *r = lin(ck, shift_mix(ck, y, n, d, tm, l, "receptance"), n, d, a, false,
			"blocks.%zu.attention.receptance", l);
		const double *td = ck_get(ck, 1, -1, a, 0, 0, "blocks.%zu.attention.time_decay", l);
		const double *tf = ck_get(ck, 1, 0, a, 0, 0, "blocks.%zu.attention.time_first", l);
		double *u = vec(ck, n * a);
		for (size_t t = 0; t < n; t++)
			for (size_t i = 0; i < a; i++) {
				double p = 0, q = 0;
				for (size_t j = 0; j <= t; j++) {
					double e = exp(
						k[j * a + i] + (j == t ? tf[i] : -(double)(t - 1 - j) * exp(td[i])));
					p += e * w[j * a + i];
					q += e;
				}
				u[t * a + i] = sigmoid(r[t * a + i]) * p / q;
			}
		add(x, lin(ck, u, n, a, d, false, "blocks.%zu.attention.output", l), half, n * d);
		y = ln(ck, x, n, d, eps, "blocks.%zu.ln2", l);
		k = lin(ck, shift_mix(ck, y, n, d, cm, l, "key"), n, d, ff, false, "blocks.%zu.feed_forward.key", l);
		r = lin(ck, shift_mix(ck, y, n, d, cm, l, "receptance"), n, d, d, false,
			"blocks.%zu.feed_forward.receptance", l);
		for (size_t i = 0; i < n * ff; i++)
			k[i] = fmax(k[i], 0) * fmax(k[i], 0);
		w = lin(ck, k, n, ff, d, false, "blocks.%zu.feed_forward.value", l);
		for (size_t i = 0; i < n * d; i++)
			x[i] = (x[i] + sigmoid(r[i]) * w[i] * half) * (every && (l + 1) % every == 0 ? 0.5 : 1);
	}
	x = ln(ck, x, n, d, 1e-5, "ln_out");
	finish(ck, x, id, n, v, d, num(c, "tie_word_embeddings", 0) != 0 ? "embeddings" : "^head", 1, 0, lp);
}

/* ---- recurrent_gemma ---- */

static const double *plus1(struct ck *ck, size_t d, const char *fmt, size_t l)
{
	char name[100];
	snprintf(name, sizeof(name), fmt, l);
	const double *w = ck_get(ck, 0.2, 0, d, 0, 0, "%s", name);
	double *y = vec(ck, d);
	for (size_t i = 0; i < d; i++)
		y[i] = 1 + w[i];
	return y;
}

static double *rg_lru(struct ck *ck, const double *u, size_t n, size_t w, size_t heads, const char *at_)
{
	size_t b = w / heads;
	const double *p = ck_get(ck, 1, -1, w, 0, 0, "%s.rg_lru.recurrent_param", at_);
	const double *gi = ck_get(ck, 1 / sqrt((double)b), 0, heads, b, b, "%s.rg_lru.input_gate_weight", at_);
	const double *bi = ck_get(ck, 0.3, 0, heads, b, 0, "%s.rg_lru.input_gate_bias", at_);
	const double *gr = ck_get(ck, 1 / sqrt((double)b), 0, heads, b, b, "%s.rg_lru.recurrent_gate_weight", at_);
	const double *br = ck_get(ck, 0.3, 0, heads, b, 0, "%s.rg_lru.recurrent_gate_bias", at_);
	double *h = vec(ck, w), *out = vec(ck, n * w);
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < w; i++) {
			size_t g = i / b, j = i % b;
			double zi = bi[i], zr = br[i];
			for (size_t k = 0; k < b; k++) {
				zi += u[t * w + g * b + k] * gi[(g * b + k) * b + j];
				zr += u[t * w + g * b + k] * gr[(g * b + k) * b + j];
			}
			double la = -8 * sigmoid(zr) * softplus(p[i]), in = u[t * w + i] * sigmoid(zi);
			h[i] = t ? exp(la) * h[i] + sqrt(1 - exp(2 * la)) * in : in;
			out[t * w + i] = h[i];
		}
	return out;
}

static inline void naive_recurrent_gemma(struct ck *ck, const uint32_t *id, size_t n, double *lp)
{
	const json_t *c = ck->cfg;
	size_t d = siz(c, "hidden_size", 0), v = siz(c, "vocab_size", 0), h = siz(c, "num_attention_heads", 0),
	       dh = d / h;
	size_t kv = siz(c, "num_key_value_heads", h), ff = siz(c, "intermediate_size", 0) / 2,
	       w = siz(c, "lru_width", d);
	const json_t *types = json_object_get(c, "block_types");
	double eps = num(c, "rms_norm_eps", 1e-6), f[64];
	size_t rot = (size_t)(num(c, "partial_rotary_factor", 0.5) * (double)dh);
	const char *a = str(c, "hidden_activation", "gelu_pytorch_tanh");
	for (size_t i = 0; i < rot / 2; i++)
		f[i] = pow(num(c, "rope_theta", 10000), -2.0 * (double)i / (double)rot);
	uint32_t bits;
	float root = (float)sqrt((double)d); /* to bf16, nearest, ties to even */
	memcpy(&bits, &root, 4);
	bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
	memcpy(&root, &bits, 4);
	strcpy(ck->prefix, "model.");
	double *x = embed(ck, "embed_tokens", id, n, v, d, (double)root);
	for (size_t l = 0; l < siz(c, "num_hidden_layers", 0); l++) {
		char name[64];
		double *y = rms(ck, x, n, d, d, plus1(ck, d, "layers.%zu.temporal_pre_norm.weight", l), eps);
		snprintf(name, sizeof(name), "layers.%zu.temporal_block", l);
		const char *type = types	? json_string_value(json_array_get(types, l % json_array_size(types)))
				   : l % 3 == 2 ? "attention"
						: "recurrent";
		if (!strcmp(type, "attention")) {
			bool qb = num(c, "attention_bias", 0) != 0;
			double *q = lin(ck, y, n, d, h * dh, qb, "%s.q_proj", name);
			double *k = lin(ck, y, n, d, kv * dh, qb, "%s.k_proj", name);
			double *u = lin(ck, y, n, d, kv * dh, qb, "%s.v_proj", name);
			for (size_t t = 0; t < n; t++) {
				for (size_t i = 0; i < h; i++)
					rotate(q + (t * h + i) * dh, rot, f, 1, t, true);
				for (size_t i = 0; i < kv; i++)
					rotate(k + (t * kv + i) * dh, rot, f, 1, t, true);
			}
			double *o = attend(ck, q, k, u, n, h, kv, dh, dh, 1 / sqrt((double)dh), 0, NULL);
			add(x, lin(ck, o, n, d, d, true, "%s.o_proj", name), 1, n * d);
		} else {
			char cn[96];
			double *g = lin(ck, y, n, d, w, true, "%s.linear_y", name),
			       *u = lin(ck, y, n, d, w, true, "%s.linear_x", name);
			snprintf(cn, sizeof(cn), "%s.conv_1d", name);
			u = conv(ck, u, w, n, w, siz(c, "conv1d_width", 4), true, cn);
			u = rg_lru(ck, u, n, w, h, name);
			for (size_t i = 0; i < n * w; i++)
				u[i] *= act(a, g[i]);
			add(x, lin(ck, u, n, w, d, true, "%s.linear_out", name), 1, n * d);
		}
		y = rms(ck, x, n, d, d, plus1(ck, d, "layers.%zu.channel_pre_norm.weight", l), eps);
		double *g = lin(ck, y, n, d, ff, true, "layers.%zu.mlp_block.gate_proj", l);
		double *u = lin(ck, y, n, d, ff, true, "layers.%zu.mlp_block.up_proj", l);
		for (size_t i = 0; i < n * ff; i++)
			u[i] *= act(a, g[i]);
		add(x, lin(ck, u, n, ff, d, true, "layers.%zu.mlp_block.down_proj", l), 1, n * d);
	}
	x = rms(ck, x, n, d, d, plus1(ck, d, "final_norm.weight", 0), eps);
	finish(ck, x, id, n, v, d, num(c, "tie_word_embeddings", 1) != 0 ? "embed_tokens" : "^lm_head", 1,
		num(c, "logits_soft_cap", 30), lp);
}

/* ---- lfm2 ---- */

static bool lfm2_attn(const json_t *c, size_t l)
{
	const json_t *t = json_object_get(c, "layer_types"), *idx = json_object_get(c, "full_attn_idxs");
	if (t)
		return !strcmp(json_string_value(json_array_get(t, l)), "full_attention");
	for (size_t i = 0; i < json_array_size(idx); i++)
		if ((size_t)json_integer_value(json_array_get(idx, i)) == l)
			return true;
	return !idx;
}

static inline void naive_lfm2(struct ck *ck, const uint32_t *id, size_t n, double *lp)
{
	const json_t *c = ck->cfg;
	size_t d = siz(c, "hidden_size", 0), v = siz(c, "vocab_size", 0), h = siz(c, "num_attention_heads", 0);
	size_t kv = siz(c, "num_key_value_heads", 8), dh = siz(c, "head_dim", d / h);
	size_t ff = siz(c, "block_ff_dim", siz(c, "intermediate_size", 12288)), m = siz(c, "block_multiple_of", 256);
	double eps = num(c, "norm_eps", 1e-5), f[64], factor;
	if (num(c, "block_auto_adjust_ff_dim", 1) != 0) {
		ff = 2 * ff / 3;
		ff = ((size_t)(num(c, "block_ffn_dim_multiplier", 1) * (double)ff) + m - 1) / m * m;
	}
	rope_freq(c, num(c, "theta", num(c, "rope_theta", 1000000)), dh, f, &factor);
	strcpy(ck->prefix, "model.");
	double *x = embed(ck, "embed_tokens", id, n, v, d, 1);
	for (size_t l = 0; l < siz(c, "num_hidden_layers", 0); l++) {
		double *y = norm(ck, x, n, d, eps, "layers.%zu.operator_norm", l);
		if (lfm2_attn(c, l)) {
			double *q = lin(ck, y, n, d, h * dh, false, "layers.%zu.self_attn.q_proj", l);
			double *k = lin(ck, y, n, d, kv * dh, false, "layers.%zu.self_attn.k_proj", l);
			double *u = lin(ck, y, n, d, kv * dh, false, "layers.%zu.self_attn.v_proj", l);
			q = norm(ck, q, n * h, dh, eps, "layers.%zu.self_attn.q_layernorm", l);
			k = norm(ck, k, n * kv, dh, eps, "layers.%zu.self_attn.k_layernorm", l);
			for (size_t t = 0; t < n; t++) {
				for (size_t i = 0; i < h; i++)
					rotate(q + (t * h + i) * dh, dh, f, factor, t, true);
				for (size_t i = 0; i < kv; i++)
					rotate(k + (t * kv + i) * dh, dh, f, factor, t, true);
			}
			double *o = attend(ck, q, k, u, n, h, kv, dh, dh, 1 / sqrt((double)dh), 0, NULL);
			add(x, lin(ck, o, n, h * dh, d, false, "layers.%zu.self_attn.out_proj", l), 1, n * d);
		} else {
			bool b = num(c, "conv_bias", 0) != 0;
			char name[64];
			double *bcu = lin(ck, y, n, d, 3 * d, b, "layers.%zu.conv.in_proj", l), *bu = vec(ck, n * d);
			for (size_t t = 0; t < n; t++)
				for (size_t i = 0; i < d; i++)
					bu[t * d + i] = bcu[t * 3 * d + i] * bcu[t * 3 * d + 2 * d + i];
			snprintf(name, sizeof(name), "layers.%zu.conv.conv", l);
			double *o = conv(ck, bu, d, n, d, siz(c, "conv_L_cache", 3), b, name);
			for (size_t t = 0; t < n; t++)
				for (size_t i = 0; i < d; i++)
					o[t * d + i] *= bcu[t * 3 * d + d + i];
			add(x, lin(ck, o, n, d, d, b, "layers.%zu.conv.out_proj", l), 1, n * d);
		}
		y = norm(ck, x, n, d, eps, "layers.%zu.ffn_norm", l);
		double *g = lin(ck, y, n, d, ff, false, "layers.%zu.feed_forward.w1", l);
		double *u = lin(ck, y, n, d, ff, false, "layers.%zu.feed_forward.w3", l);
		for (size_t i = 0; i < n * ff; i++)
			u[i] *= silu(g[i]);
		add(x, lin(ck, u, n, ff, d, false, "layers.%zu.feed_forward.w2", l), 1, n * d);
	}
	x = norm(ck, x, n, d, eps, "embedding_norm");
	finish(ck, x, id, n, v, d,
		num(c, "tie_embedding", num(c, "tie_word_embeddings", 1)) != 0 ? "embed_tokens" : "^lm_head", 1, 0, lp);
}

#endif
