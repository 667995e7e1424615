/* rope.c: rotary frequencies of config.json and GGUF, and the tables of cos and sin made from them.
 *
 * Reference: the rope_scaling types of transformers 4.57 (default, linear, dynamic, yarn, longrope, llama3); version-5
 * configs hold the same in rope_parameters. Frequencies, angles and tables are float as there: at position 500 the
 * rounding of an angle already shows in the sixth digit.
 *
 *   linear    f_i / factor
 *   llama3    f_i, f_i / factor, or between, by wavelength against the old context
 *   yarn      between f_i and f_i / factor by a ramp over i; cos and sin times 0.1 ln(factor) + 1
 *   dynamic   sequences longer than the context raise the base by their own length
 *   longrope  f_i / short_i or f_i / long_i for the whole sequence, by its length; cos and sin times sqrt(1 + ln s / ln
 * n0)
 *
 * "dynamic" in the reference remembers the longest sequence seen so far; here every sequence stands for itself. */
#include "model/model_priv.h"

#include <math.h>
#include <string.h>

static const struct {
	const char *name;
	enum mm_rope_scaling kind;
} kinds[] = {
	{ "default", MM_ROPE_DEFAULT },
	{ "none", MM_ROPE_DEFAULT },
	{ "linear", MM_ROPE_LINEAR },
	{ "dynamic", MM_ROPE_DYNAMIC },
	{ "yarn", MM_ROPE_YARN },
	{ "longrope", MM_ROPE_LONGROPE },
	{ "su", MM_ROPE_LONGROPE },
	{ "llama3", MM_ROPE_LLAMA3 },
};

static int get_num(const json_t *o, const char *key, bool required, double *out, struct mm_err *err)
{
	const json_t *j = json_object_get(o, key);
	if (!j || json_is_null(j))
		return required ? mm_fail(err, MM_EFORMAT, "config.json: rope scaling without %s", key) : 0;
	if (!json_is_number(j) || !isfinite(json_number_value(j)))
		return mm_fail(err, MM_EFORMAT, "config.json: rope scaling: %s is not a number", key);
	*out = json_number_value(j);
	return 0;
}

static int get_factors(const json_t *o, const char *key, size_t n, float **out, struct mm_err *err)
{
	const json_t *a = json_object_get(o, key);
	if (!json_is_array(a) || json_array_size(a) != n)
		return mm_fail(err, MM_EFORMAT, "config.json: rope scaling: %s is not a list of %zu numbers", key, n);
	mm_free(*out);
	*out = mm_calloc(n + 1, sizeof(float), err);
	if (!*out)
		return -1;
	for (size_t i = 0; i < n; i++) {
		double v = json_number_value(json_array_get(a, i));
		if (!(v > 0) || !isfinite(v))
			return mm_fail(
				err, MM_EFORMAT, "config.json: rope scaling: %s[%zu] is not a positive number", key, i);
		(*out)[i] = (float)v;
	}
	return 0;
}

static int kind_of(const struct mm_setup *s, const char *name, enum mm_rope_scaling *kind, struct mm_err *err)
{
	for (size_t i = 0; i < MM_COUNT(kinds); i++)
		if (!strcmp(kinds[i].name, name)) {
			*kind = kinds[i].kind;
			if (*kind == MM_ROPE_YARN && s->hp->yarn_is_longrope)
				*kind = MM_ROPE_LONGROPE;
			return 0;
		}
	return mm_fail(err, MM_EUNSUPPORTED, "%s: rope_type = \"%.60s\" is not supported",
		s->gguf ? "GGUF metadata" : "config.json", name);
}

static double yarn_mscale(double scale, double m)
{
	return scale <= 1 ? 1 : 0.1 * m * log(scale) + 1;
}

/* Top-level original_max_position_embeddings is the model's own (phi3); the one inside counts for yarn and llama3. */
static int longrope_setup(struct mm_setup *s, struct mm_rope *r, const json_t *o, struct mm_err *err)
{
	const json_t *orig =
		mm_cfg_get(s, "original_max_position_embeddings|rope_parameters.original_max_position_embeddings");
	double given = 0;
	if (orig && (!json_is_integer(orig) || json_integer_value(orig) < 2))
		return mm_fail(
			err, MM_EFORMAT, "config.json: original_max_position_embeddings is not a number above 1");
	if (get_num(o, "factor", !orig && !s->hp->n_ctx_orig, &r->factor, err) ||
		get_num(o, "attention_factor", false, &given, err))
		return -1;
	r->n_ctx_orig = orig ? (size_t)json_integer_value(orig) : s->hp->n_ctx_orig ? s->hp->n_ctx_orig : s->hp->n_ctx;
	/* rope_parameters: a factor given there counts; rope_scaling: the ratio of the two contexts where it is known
	 */
	bool own = mm_cfg_get(s, "rope_parameters") && json_is_number(json_object_get(o, "factor"));
	if ((orig || s->hp->n_ctx_orig) && !own)
		r->factor = (double)s->hp->n_ctx / (double)r->n_ctx_orig;
	r->attn_factor = given ? given : r->factor <= 1 ? 1 : sqrt(1 + log(r->factor) / log((double)r->n_ctx_orig));
	return get_factors(o, "short_factor", r->d_rot / 2, &r->short_factor, err) ||
			       get_factors(o, "long_factor", r->d_rot / 2, &r->long_factor, err)
		       ? -1
		       : 0;
}

static int yarn_setup(struct mm_rope *r, const json_t *o, struct mm_err *err)
{
	double orig = (double)r->n_ctx_orig, given = 0;
	const json_t *t = json_object_get(o, "truncate");
	if (get_num(o, "original_max_position_embeddings", false, &orig, err))
		return -1;
	bool ratio = orig > 0 && json_is_null(json_object_get(o, "factor")); /* null: what the context grew by */
	r->factor = ratio ? (double)r->n_ctx_max / orig : r->factor;
	if (get_num(o, "factor", !ratio, &r->factor, err) || get_num(o, "attention_factor", false, &given, err) ||
		get_num(o, "mscale", false, &r->mscale, err) ||
		get_num(o, "mscale_all_dim", false, &r->mscale_all_dim, err) ||
		get_num(o, "beta_fast", false, &r->beta_fast, err) ||
		get_num(o, "beta_slow", false, &r->beta_slow, err))
		return -1;
	r->truncate = !t || json_is_true(t);
	r->beta_fast = r->beta_fast ? r->beta_fast : 32;
	r->beta_slow = r->beta_slow ? r->beta_slow : 1;
	if (!(orig >= 1 && orig < 1e12) || !(r->factor > 0))
		return mm_fail(err, MM_EFORMAT, "config.json: yarn rope scaling with factor %g and context %g",
			r->factor, orig);
	r->n_ctx_orig = (size_t)orig;
	if (given)
		r->attn_factor = given;
	else if (r->mscale && r->mscale_all_dim)
		r->attn_factor = yarn_mscale(r->factor, r->mscale) / yarn_mscale(r->factor, r->mscale_all_dim);
	else
		r->attn_factor = yarn_mscale(r->factor, 1);
	return 0;
}

static int llama3_setup(struct mm_rope *r, const json_t *o, struct mm_err *err)
{
	double orig = 0;
	if (get_num(o, "factor", true, &r->factor, err) || get_num(o, "low_freq_factor", true, &r->low_freq, err) ||
		get_num(o, "high_freq_factor", true, &r->high_freq, err) ||
		get_num(o, "original_max_position_embeddings", true, &orig, err))
		return -1;
	if (!(orig >= 1 && orig < 1e12) || !(r->low_freq > 0) || !(r->high_freq > r->low_freq) || !(r->factor > 0))
		return mm_fail(err, MM_EFORMAT, "config.json: llama3 rope scaling with impossible values");
	r->n_ctx_orig = (size_t)orig;
	return 0;
}

/* Keys that newer converters write. yarn_attn_factor is the config's attention_factor: all of it. */
static int gguf_yarn(struct mm_setup *s, struct mm_rope *r, struct mm_err *err)
{
	const json_t *ext = mm_cfg_get(s, "rope.scaling.yarn_ext_factor");
	const json_t *whole = mm_cfg_get(s, "rope.scaling.yarn_attn_factor");
	const json_t *fast = mm_cfg_get(s, "rope.scaling.yarn_beta_fast");
	const json_t *slow = mm_cfg_get(s, "rope.scaling.yarn_beta_slow");
	if (ext && json_number_value(ext) != 1)
		return mm_fail(err, MM_EUNSUPPORTED,
			"GGUF metadata: rope.scaling.yarn_ext_factor = %g is not supported", json_number_value(ext));
	r->beta_fast = json_number_value(fast) > 0 ? json_number_value(fast) : r->beta_fast;
	r->beta_slow = json_number_value(slow) > 0 ? json_number_value(slow) : r->beta_slow;
	if (json_number_value(whole) > 0)
		r->attn_factor = json_number_value(whole);
	else
		r->attn_factor *= yarn_mscale(r->factor, 1);
	return 0;
}

/* GGUF: rope.scaling.{type,factor,original_context_length,attn_factor,...}; llama3 and longrope factors are tensors,
 * which the loader reads into freq_div, short_factor and long_factor. */
static int gguf_setup(struct mm_setup *s, struct mm_rope *r, struct mm_err *err)
{
	const json_t *t = mm_cfg_get(s, "rope.scaling.type"), *f = mm_cfg_get(s, "rope.scaling.factor");
	const json_t *o = mm_cfg_get(s, "rope.scaling.original_context_length");
	const json_t *a = mm_cfg_get(s, "rope.scaling.attn_factor"), *old = mm_cfg_get(s, "rope.scale_linear");
	if (!t && old) {
		r->scaling = MM_ROPE_LINEAR;
		r->factor = json_number_value(old);
	} else if (t) {
		if (!json_is_string(t))
			return mm_fail(err, MM_EFORMAT, "GGUF metadata: rope.scaling.type is not a string");
		if (kind_of(s, json_string_value(t), &r->scaling, err))
			return -1;
		r->factor = f ? json_number_value(f) : 1;
	}
	if (o && json_integer_value(o) > 0)
		r->n_ctx_orig = (size_t)json_integer_value(o);
	r->attn_factor = a ? json_number_value(a) : 1; /* longrope is told by its tensors, without a type */
	if (r->scaling == MM_ROPE_YARN && gguf_yarn(s, r, err))
		return -1;
	if (!(r->factor > 0) || !isfinite(r->factor))
		return mm_fail(err, MM_EFORMAT, "GGUF metadata: rope scaling factor %g", r->factor);
	return 0;
}

int mm_setup_rope(struct mm_setup *s, size_t i, const char *type, double theta, struct mm_err *err)
{
	struct mm_rope *r = &s->hp->rope[i];
	struct mm_hp *h = s->hp;
	*r = (struct mm_rope){
		.theta = theta, .factor = 1, .attn_factor = 1, .truncate = true, .beta_fast = 32, .beta_slow = 1
	};
	size_t d = h->d_head ? h->d_head : h->n_head ? h->n_embd / h->n_head : 0;
	r->d_rot = h->d_rot ? h->d_rot : (size_t)((double)d * h->rot_frac);
	r->d_exp = r->d_rot;
	if (h->rot_even)
		h->d_rot = r->d_rot += r->d_rot % 2;
	r->n_ctx_orig = r->n_ctx_max = h->n_ctx;
	h->n_rope = MM_MAX(h->n_rope, i + 1);
	if (!(theta > 0))
		return mm_fail(err, MM_EFORMAT, "rope base %g is not above 0", theta);
	if (s->gguf)
		return gguf_setup(s, r, err);
	const json_t *o = h->rope_plain ? NULL : mm_cfg_get(s, "rope_parameters");
	if (o && type && json_is_object(json_object_get(o, type)))
		o = json_object_get(o, type);
	if (!o && !h->rope_plain)
		o = mm_cfg_get(s, "rope_scaling");
	if (!o)
		return 0;
	if (!json_is_object(o))
		return mm_fail(err, MM_EFORMAT, "config.json: rope scaling is not an object");
	if (get_num(o, "rope_theta", false, &r->theta, err))
		return -1;
	const json_t *name = json_object_get(o, "type"), *new_name = json_object_get(o, "rope_type");
	name = json_is_string(new_name) ? new_name : name;
	if (!json_is_string(name))
		return json_object_size(o) == 0 || json_object_get(o, "rope_theta")
			       ? 0
			       : mm_fail(err, MM_EFORMAT, "config.json: rope_scaling without rope_type");
	if (kind_of(s, json_string_value(name), &r->scaling, err))
		return -1;
	switch (r->scaling) {
	case MM_ROPE_LONGROPE:
		return longrope_setup(s, r, o, err);
	case MM_ROPE_YARN:
		return yarn_setup(r, o, err);
	case MM_ROPE_LLAMA3:
		return llama3_setup(r, o, err);
	case MM_ROPE_LINEAR:
	case MM_ROPE_DYNAMIC:
		if (get_num(o, "factor", true, &r->factor, err))
			return -1;
		return r->factor > 0 ? 0 : mm_fail(err, MM_EFORMAT, "config.json: rope scaling factor %g", r->factor);
	default:
		return 0;
	}
}

/* ---- tables ---- */

static double exponent_of(const struct mm_rope *r)
{
	return (double)(r->d_exp ? r->d_exp : r->d_rot);
}

static void yarn_range(const struct mm_rope *r, float *low, float *high)
{
	double d = exponent_of(r), n = (double)r->n_ctx_orig;
	double lo = d * log(n / (r->beta_fast * 2 * M_PI)) / (2 * log(r->theta));
	double hi = d * log(n / (r->beta_slow * 2 * M_PI)) / (2 * log(r->theta));
	if (r->truncate) {
		lo = floor(lo);
		hi = ceil(hi);
	}
	lo = fmax(lo, 0);
	hi = fmin(hi, d - 1);
	if (lo == hi)
		hi += 0.001;
	*low = (float)lo;
	*high = (float)hi;
}

static float llama3_freq(const struct mm_rope *r, float f)
{
	float n = (float)r->n_ctx_orig, wave = (float)(2 * M_PI) / f;
	float low = n / (float)r->low_freq, high = n / (float)r->high_freq;
	if (wave < high)
		return f;
	if (wave > low)
		return f / (float)r->factor;
	float s = (n / wave - (float)r->low_freq) / (float)(r->high_freq - r->low_freq);
	return (1 - s) * f / (float)r->factor + s * f;
}

size_t mm_rope_key(const struct mm_rope *r, size_t n_seq)
{
	if (r->scaling == MM_ROPE_DYNAMIC)
		return n_seq > r->n_ctx_max ? n_seq : 0;
	if (r->scaling == MM_ROPE_LONGROPE)
		return n_seq > r->n_ctx_orig;
	return 0;
}

static float freq_at(const struct mm_rope *r, size_t n_seq, size_t i)
{
	double d = exponent_of(r), base = r->theta;
	if (r->scaling == MM_ROPE_DYNAMIC && n_seq <= r->n_ctx_max && r->theta_within > 0)
		base = r->theta_within;
	if (r->scaling == MM_ROPE_DYNAMIC && n_seq > r->n_ctx_max && r->d_rot > 2)
		base = (float)(base *
			       pow(r->factor * (double)n_seq / (double)r->n_ctx_max - (r->factor - 1), d / (d - 2)));
	float p = (float)pow(base, (double)((float)(2 * i) / (float)d)), f = 1.0f / p, low, high;
	switch (r->scaling) {
	case MM_ROPE_LINEAR:
		return f / (float)r->factor;
	case MM_ROPE_LLAMA3:
		return llama3_freq(r, f);
	case MM_ROPE_LONGROPE: {
		const float *ext = n_seq > r->n_ctx_orig ? r->long_factor : r->short_factor;
		return ext ? 1.0f / (ext[i] * p) : f;
	}
	case MM_ROPE_YARN: {
		yarn_range(r, &low, &high);
		float ramp = fminf(fmaxf(((float)i - low) / (high - low), 0), 1), keep = 1 - ramp;
		return 1.0f / ((float)r->factor * p) * (1 - keep) + f * keep;
	}
	default:
		return f;
	}
}

void mm_rope_table(const struct mm_rope *r, size_t n_seq, size_t n, float *cs)
{
	for (size_t i = 0; i < r->d_rot / 2; i++) {
		float f = freq_at(r, n_seq, i);
		if (r->freq_div)
			f /= r->freq_div[i];
		for (size_t t = 0; t < n; t++) {
			float a = (float)t * f;
			cs[t * r->d_rot + 2 * i] = cosf(a) * (float)r->attn_factor;
			cs[t * r->d_rot + 2 * i + 1] = sinf(a) * (float)r->attn_factor;
		}
	}
}
