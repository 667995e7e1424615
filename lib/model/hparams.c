/* hparams.c: from config.json (or GGUF metadata) to struct mm_hp, by rows.
 *
 * A row names the field, the keys in both containers and the default of the reference's config class. The family's rows
 * come first, then the common ones for fields that the family does not list, then its setup(), then derived values and
 * checks. Every number is range-checked here, so that later code multiplies sizes without fear: n_layer <= 4096, widths
 * <= 2^20, vocabulary <= 2^24, experts <= 4096. */
#include "model/ckpt_priv.h"
#include "model/model_priv.h"

#include <math.h>
#include <string.h>

#define LAYERS_MAX   4096
#define WIDTH_MAX    ((size_t)1 << 20)
#define VOCAB_MAX    ((size_t)1 << 24)
#define EXPERTS_MAX  4096
#define SIZE_KEY_MAX ((int64_t)1 << 40)

/* Llama's names and defaults; a family lists what is different. */
const struct mm_hp_row mm_hp_common[] = {
	MM_SIZE(n_layer, "num_hidden_layers|n_layer|n_layers|num_layers", "block_count", 32),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 4096),
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 32000),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 2048),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 32),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 0),
	MM_SIZE0(d_head, "head_dim", "attention.key_length", 0),
	MM_SIZE0(d_head_v, NULL, "attention.value_length", 0),
	MM_SIZE0(n_ff, "intermediate_size", "feed_forward_length", 11008),
	MM_SIZE0(d_rot, NULL, "rope.dimension_count", 0),
	MM_NUM(norm_eps, "rms_norm_eps", "attention.layer_norm_rms_epsilon|attention.layer_norm_epsilon", 1e-6),
	MM_NUM(rope_theta, "rope_parameters.rope_theta|rope_theta", "rope.freq_base", 10000),
	MM_SET(rot_frac, 1),
	MM_SET(mult_embd, 1),
	MM_SET(mult_res, 1),
	MM_SET(mult_logit, 1),
	MM_SET(mult_router, 1),
	MM_ACT(act, "hidden_act", NULL, "silu"),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 0),
	MM_SETB(gated, 1),
	MM_SETB(pre_norm, 1),
	MM_SETB(norm_weight, 1),
	MM_SETB(final_norm, 1),
};
const size_t mm_hp_common_count = MM_COUNT(mm_hp_common);

/* ---- looking keys up ---- */

/* One path of HF config: "a.b" descends. `n` bytes of `path`. */
static const json_t *hf_path(const json_t *o, const char *path, size_t n)
{
	while (o && n > 0) {
		const char *dot = memchr(path, '.', n);
		size_t len = dot ? (size_t)(dot - path) : n;
		char key[128];
		if (len >= sizeof(key))
			return NULL;
		memcpy(key, path, len);
		key[len] = 0;
		o = json_is_object(o) ? json_object_get(o, key) : NULL;
		path += len + (dot ? 1 : 0);
		n -= len + (dot ? 1 : 0);
	}
	return o;
}

static const json_t *gguf_path(const struct mm_setup *s, const char *path, size_t n)
{
	char key[256];
	int len = *path == '.' ? snprintf(key, sizeof(key), "%.*s", (int)n - 1, path + 1)
			       : snprintf(key, sizeof(key), "%s.%.*s", s->gguf, (int)n, path);
	return len > 0 && (size_t)len < sizeof(key) ? json_object_get(s->cfg, key) : NULL;
}

/* The first of the alternatives that has a value, else one that is null, else NULL; *name: which one, for messages. */
static const json_t *lookup(const struct mm_setup *s, const char *keys, char name[128])
{
	const json_t *null = NULL;
	for (const char *p = keys; p && *p;) {
		size_t n = strcspn(p, "|");
		const json_t *j = s->gguf ? gguf_path(s, p, n) : hf_path(s->cfg, p, n);
		if (j && (!null || !json_is_null(j)) && name)
			snprintf(name, 128, "%.*s", (int)MM_MIN(n, 127), p);
		if (j && !json_is_null(j))
			return j;
		null = j ? j : null;
		p += n + (p[n] == '|');
	}
	return null;
}

const json_t *mm_cfg_get(const struct mm_setup *s, const char *keys)
{
	const json_t *j = lookup(s, keys, NULL);
	return j && !json_is_null(j) ? j : NULL;
}

static const char *source(const struct mm_setup *s)
{
	return s->gguf ? "GGUF metadata" : "config.json";
}

static int bad_value(const struct mm_setup *s, const char *key, const json_t *j, const char *want, struct mm_err *err)
{
	char *text = json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT);
	mm_fail(err, MM_EFORMAT, "%s: %s = %.60s, expected %s", source(s), key, text ? text : "?", want);
	free(text);
	return -1;
}

static int unsupported(const struct mm_setup *s, const char *key, const json_t *j, struct mm_err *err)
{
	char *text = json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT);
	mm_fail(err, MM_EUNSUPPORTED, "%s: %s = %.80s is not supported for %s", source(s), key, text ? text : "?",
		s->fam->name);
	free(text);
	return -1;
}

int mm_setup_unsupported(struct mm_setup *s, const char *key, const char *ok, struct mm_err *err)
{
	char name[128];
	const json_t *j = lookup(s, key, name);
	if (!j || json_is_null(j) || json_is_false(j) || (json_is_array(j) && json_array_size(j) == 0) ||
		(json_is_string(j) && ok && !strcmp(json_string_value(j), ok)))
		return 0;
	return unsupported(s, name, j, err);
}

/* ---- rows ---- */

static int row_size(const struct mm_setup *s, const char *key, const json_t *j, size_t *out, struct mm_err *err)
{
	double v = json_number_value(j);
	if (!json_is_number(j) || v < 0 || v > (double)SIZE_KEY_MAX || v != floor(v))
		return bad_value(s, key, j, "a whole number", err);
	*out = json_is_integer(j) ? (size_t)json_integer_value(j) : (size_t)v;
	return 0;
}

static int row_act(const struct mm_setup *s, const char *key, const json_t *j, enum mm_act *out, struct mm_err *err)
{
	if (!json_is_string(j))
		return bad_value(s, key, j, "the name of an activation", err);
	int act = mm_act_of(json_string_value(j));
	if (act < 0)
		return unsupported(s, key, j, err);
	*out = (enum mm_act)act;
	return 0;
}

static void row_default(const struct mm_hp_row *r, void *field, bool null)
{
	double def = null && (r->flags & MM_HP_NULL0 || r->type == MM_HP_BOOL) ? 0 : r->def; /* None is false */
	if (r->type == MM_HP_SIZE)
		*(size_t *)field = (size_t)def;
	else if (r->type == MM_HP_NUM)
		*(double *)field = def;
	else if (r->type == MM_HP_BOOL)
		*(bool *)field = def != 0;
	else
		*(enum mm_act *)field = (enum mm_act)mm_act_of(r->sdef);
}

static int row_read(struct mm_setup *s, const struct mm_hp_row *r, struct mm_err *err)
{
	void *field = (char *)s->hp + r->field;
	char key[128] = "";
	const json_t *j = lookup(s, s->gguf ? r->gguf : r->hf, key);
	if (!j || json_is_null(j)) {
		if (r->flags & MM_HP_REQUIRED)
			return mm_fail(err, MM_EFORMAT, "%s: %s is missing", source(s), s->gguf ? r->gguf : r->hf);
		row_default(r, field, j != NULL);
		return 0;
	}
	switch (r->type) {
	case MM_HP_SIZE:
		return row_size(s, key, j, field, err);
	case MM_HP_NUM:
		if (!json_is_number(j) || !isfinite(json_number_value(j)))
			return bad_value(s, key, j, "a number", err);
		*(double *)field = json_number_value(j);
		return 0;
	case MM_HP_BOOL:
		if (!json_is_boolean(j) && !json_is_integer(j))
			return bad_value(s, key, j, "true or false", err);
		*(bool *)field = json_is_true(j) || (json_is_integer(j) && json_integer_value(j) != 0);
		return 0;
	default:
		return row_act(s, key, j, field, err);
	}
}

static bool has_row(const struct mm_hp_row *rows, size_t n, uint16_t field)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].field == field)
			return true;
	return false;
}

static int rows_read(struct mm_setup *s, struct mm_err *err)
{
	const struct mm_family *f = s->fam;
	for (size_t i = 0; i < f->n_hp; i++)
		if (row_read(s, &f->hp[i], err))
			return -1;
	for (size_t i = 0; i < mm_hp_common_count; i++)
		if (!has_row(f->hp, f->n_hp, mm_hp_common[i].field) && row_read(s, &mm_hp_common[i], err))
			return -1;
	return 0;
}

/* ---- layers ---- */

int mm_setup_layers(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *hp = s->hp;
	if (hp->layer)
		return 0;
	if (hp->n_layer == 0 || hp->n_layer > LAYERS_MAX)
		return mm_fail(err, MM_EFORMAT, "%s: %zu layers, expected 1 to %d", source(s), hp->n_layer, LAYERS_MAX);
	hp->layer = mm_calloc(hp->n_layer, sizeof(*hp->layer), err);
	if (!hp->layer)
		return -1;
	for (size_t l = 0; l < hp->n_layer; l++)
		hp->layer[l] = (struct mm_hp_layer){ .mask = MM_L_ATTN | MM_L_DENSE };
	return 0;
}

int mm_setup_layer_types(struct mm_setup *s, int full_rope, int slide_rope, bool *found, struct mm_err *err)
{
	if (s->gguf)
		return mm_gguf_layer_types(s, full_rope, slide_rope, found, err);
	const json_t *types = mm_cfg_get(s, "layer_types");
	*found = types != NULL;
	if (!types)
		return 0;
	if (mm_setup_layers(s, err))
		return -1;
	if (!json_is_array(types) || json_array_size(types) < s->hp->n_layer)
		return mm_fail(
			err, MM_EFORMAT, "config.json: layer_types is not a list of %zu entries", s->hp->n_layer);
	for (size_t l = 0; l < s->hp->n_layer; l++) {
		const json_t *j = json_array_get(types, l);
		const char *t = json_string_value(j);
		struct mm_hp_layer *y = &s->hp->layer[l];
		if (t && !strcmp(t, "full_attention")) {
			y->window = 0;
			y->rope = full_rope;
		} else if (t && !strcmp(t, "sliding_attention")) {
			y->window = s->hp->window;
			y->rope = slide_rope;
		} else {
			return unsupported(s, "layer_types", j, err);
		}
	}
	return 0;
}

int mm_setup_qwen_window(struct mm_setup *s, size_t first, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	const json_t *use = s->gguf ? NULL : mm_cfg_get(s, "use_sliding_window"), *w = NULL, *from = NULL;
	char name[128] = "";
	bool found;
	h->window = 0;
	if (json_is_true(use)) {
		w = lookup(s, "sliding_window", name); /* null: none */
		if (w && !json_is_null(w) && (!json_is_integer(w) || json_integer_value(w) < 0))
			return bad_value(s, "sliding_window", w, "a whole number or null", err);
		h->window = w ? (size_t)json_integer_value(w) : 4096;
		from = first ? mm_cfg_get(s, "max_window_layers") : NULL;
		first = json_is_integer(from) && json_integer_value(from) >= 0 ? (size_t)json_integer_value(from)
									       : first;
	}
	if (mm_setup_layers(s, err) || mm_setup_layer_types(s, 0, 0, &found, err))
		return -1;
	for (size_t l = first; !found && l < h->n_layer; l++)
		h->layer[l].window = h->window;
	return 0;
}

int mm_setup_sparse(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	const json_t *step = s->gguf ? NULL : mm_cfg_get(s, "decoder_sparse_step");
	const json_t *only = s->gguf ? NULL : mm_cfg_get(s, "mlp_only_layers");
	size_t every = json_is_integer(step) && json_integer_value(step) > 0 ? (size_t)json_integer_value(step) : 1;
	if (mm_setup_layers(s, err))
		return -1;
	if (h->n_expert == 0)
		h->n_expert_used = 0;
	if (only && !json_is_array(only))
		return bad_value(s, "mlp_only_layers", only, "a list of layers", err);
	for (size_t l = 0; l < h->n_layer; l++) {
		bool dense = h->n_expert == 0 || (l + 1) % every != 0;
		for (size_t i = 0; i < json_array_size(only); i++)
			dense = dense || json_integer_value(json_array_get(only, i)) == (json_int_t)l;
		h->layer[l].mask = MM_L_ATTN | (dense ? MM_L_DENSE : MM_L_MOE);
	}
	return 0;
}

/* ---- derived values and checks ---- */

struct bound {
	const char *what;
	size_t value, min, max;
};

static int bounds_check(const struct mm_setup *s, struct mm_err *err)
{
	const struct mm_hp *h = s->hp;
	bool attn = !s->fam->recurrent;
	const struct bound b[] = {
		{ "layers", h->n_layer, 1, LAYERS_MAX },
		{ "embedding width", h->n_embd, 1, WIDTH_MAX },
		{ "embedding table width", h->n_embd_in, 1, WIDTH_MAX },
		{ "vocabulary", h->n_vocab, 1, VOCAB_MAX },
		{ "attention heads", h->n_head, attn, 65536 },
		{ "key-value heads", h->n_head_kv, attn, 65536 },
		{ "head size", h->d_head, attn, 65536 },
		{ "value head size", h->d_head_v, attn, 65536 },
		{ "feed-forward width", h->n_ff, 0, WIDTH_MAX },
		{ "rotated dimensions", h->d_rot, 0, h->d_head },
		{ "positions", h->n_pos, 0, VOCAB_MAX },
		{ "experts", h->n_expert, 0, EXPERTS_MAX },
		{ "experts a token", h->n_expert_used, h->n_expert > 0, h->n_expert },
		{ "expert width", h->n_ff_expert, 0, WIDTH_MAX },
		{ "expert groups", h->n_group, 0, 256 },
		{ "chosen expert groups", h->n_group_used, 0, h->n_group },
		{ "shared expert width", h->n_ff_shared, 0, WIDTH_MAX },
	};
	for (size_t i = 0; i < MM_COUNT(b); i++)
		if (b[i].value < b[i].min || b[i].value > b[i].max)
			return mm_fail(err, MM_EFORMAT, "%s: %s is %zu, expected %zu to %zu", source(s), b[i].what,
				b[i].value, b[i].min, b[i].max);
	if (attn && h->n_head % h->n_head_kv)
		return mm_fail(err, MM_EFORMAT, "%s: %zu attention heads are no multiple of %zu key-value heads",
			source(s), h->n_head, h->n_head_kv);
	if (h->n_group > 0 && h->n_expert % h->n_group)
		return mm_fail(err, MM_EFORMAT, "%s: %zu experts in %zu groups", source(s), h->n_expert, h->n_group);
	if (h->d_rot % 2 && !(h->rot_even && h->d_rot < h->d_head))
		return mm_fail(
			err, MM_EFORMAT, "%s: %zu rotated dimensions, expected an even number", source(s), h->d_rot);
	if (h->n_head * h->d_head > WIDTH_MAX || h->n_head * h->d_head_v > WIDTH_MAX)
		return mm_fail(
			err, MM_EFORMAT, "%s: %zu heads of size %zu are too wide", source(s), h->n_head, h->d_head);
	if (!(h->norm_eps >= 0 && h->norm_eps < 1))
		return mm_fail(err, MM_EFORMAT, "%s: norm eps is %g, expected 0 to 1", source(s), h->norm_eps);
	return 0;
}

static void dims_fill(struct mm_hp *h)
{
	size_t *d = h->dim, q = h->n_head * h->d_head, k = h->n_head_kv * h->d_head, v = h->n_head_kv * h->d_head_v;
	d[MM_D_ONE] = 1;
	d[MM_D_VOCAB] = h->n_vocab;
	d[MM_D_EMBD] = h->n_embd;
	d[MM_D_EMBD_IN] = h->n_embd_in;
	d[MM_D_POS] = h->n_pos;
	d[MM_D_Q] = q;
	d[MM_D_K] = k;
	d[MM_D_V] = v;
	d[MM_D_QKV] = q + k + v;
	d[MM_D_O] = h->n_head * h->d_head_v;
	d[MM_D_HEAD] = h->d_head;
	d[MM_D_HEADS] = h->n_head;
	d[MM_D_HEADS_KV] = h->n_head_kv;
	d[MM_D_FF] = h->n_ff;
	d[MM_D_FF2] = 2 * h->n_ff;
	d[MM_D_EXPERTS] = h->n_expert;
	d[MM_D_FFE] = h->n_ff_expert;
	d[MM_D_FFE2] = 2 * h->n_ff_expert;
	d[MM_D_FFS] = h->n_ff_shared;
	d[MM_D_FFS2] = 2 * h->n_ff_shared;
}

static int derive(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	if (!h->n_head_kv)
		h->n_head_kv = h->n_head;
	if (!h->d_head && h->n_head)
		h->d_head = h->n_embd / h->n_head;
	if (!h->d_head_v)
		h->d_head_v = h->d_head;
	if (!h->n_embd_in)
		h->n_embd_in = h->n_embd;
	if (!h->d_rot && h->rot_frac > 0 && h->rot_frac <= 1)
		h->d_rot = (size_t)((double)h->d_head * h->rot_frac);
	if (h->attn_scale == 0 && h->d_head)
		h->attn_scale = 1 / sqrt((double)h->d_head);
	if (bounds_check(s, err) || mm_setup_layers(s, err))
		return -1;
	bool rope = false;
	for (size_t l = 0; l < h->n_layer; l++) {
		if (h->d_rot == 0)
			h->layer[l].rope = -1;
		rope = rope || (h->layer[l].rope >= 0 && h->layer[l].mask & MM_L_ATTN);
		h->flag_moe = h->flag_moe || h->layer[l].mask & MM_L_MOE;
	}
	h->flag_shared = h->n_ff_shared > 0;
	h->w_n1 = h->norm_weight && (h->pre_norm || h->norm_after_res);
	h->w_n2 = h->w_n1 && !h->shared_norm;
	h->w_n1_b = h->w_n1 && h->bias_norm;
	h->w_n2_b = h->w_n2 && h->bias_norm;
	h->w_norm = h->norm_weight && h->final_norm;
	h->w_norm_b = h->w_norm && h->bias_norm;
	h->w_pn = h->norm_weight && h->post_norms;
	h->w_split = h->qkv == MM_QKV_SPLIT;
	h->w_fused = !h->w_split;
	h->w_bias_split = h->w_split && h->bias_qkv;
	h->w_bias_fused = h->w_fused && h->bias_qkv;
	h->w_qn_head = h->qk_norm && !h->qk_norm_full && !h->qk_norm_heads;
	h->w_qn_full = h->qk_norm && h->qk_norm_full;
	h->w_qn_bias = h->w_qn_head && h->qk_norm_bias;
	h->w_gate = h->gated && !h->gate_up_fused;
	h->w_gate_b = h->w_gate && h->bias_ffn;
	if (rope && h->n_rope == 0 && mm_setup_rope(s, 0, NULL, h->rope_theta, err))
		return -1;
	for (size_t l = 0; l < h->n_layer; l++)
		if (h->layer[l].rope >= (int)h->n_rope)
			h->layer[l].rope = (int)h->n_rope - 1;
	dims_fill(h);
	return 0;
}

static bool has_head(const struct mm_ckpt *ck)
{
	static const char *const name[] = { "lm_head.weight", "embed_out.weight", "head.weight",
		"language_model.lm_head.weight" };
	for (size_t i = 0; ck && i < MM_COUNT(name); i++)
		if (mm_ckpt_find(ck, name[i]))
			return true;
	return false;
}

static int read_all(struct mm_hp *hp, const struct mm_family *fam, const json_t *config, const struct mm_ckpt *ck,
	struct mm_err *err)
{
	struct mm_setup s = { .cfg = config, .root = config, .ck = ck, .fam = fam, .hp = hp };
	const json_t *arch = json_object_get(config, "general.architecture");
	const json_t *text = json_object_get(config, "text_config");
	memset(hp, 0, sizeof(*hp));
	if (json_is_string(arch))
		s.gguf = json_string_value(arch);
	else if (json_is_object(text))
		s.cfg = text;
	bool fp8 = false;
	if (!s.gguf && mm_fp8_config(config, &fp8, err))
		return -1;
	if (!s.gguf && !fp8 && !fam->no_quant_check && mm_setup_unsupported(&s, "quantization_config", NULL, err))
		return -1;
	if (rows_read(&s, err))
		return -1;
	if (!s.gguf && json_is_null(json_object_get(s.cfg, "tie_word_embeddings")))
		hp->tie = !has_head(ck); /* null is false, but nobody can have trained without a head */
	if (s.gguf) {
		mm_gguf_hints(&s);
		/* the embedding table is the vocabulary; a separate output matrix means an untied head */
		const struct mm_tensor *e = ck ? mm_ckpt_find(ck, "token_embd.weight") : NULL;
		if (e && e->n_dim == 2 && e->dim[0] <= VOCAB_MAX)
			hp->n_vocab = (size_t)e->dim[0];
		hp->tie = ck && !mm_ckpt_find(ck, "output.weight");
		if (fam->gguf_quirks & MM_GGUF_ROPE_ADJACENT)
			hp->rope_pair = MM_PAIR_ADJACENT;
	}
	if (fam->setup && fam->setup(&s, err))
		return -1;
	if (s.gguf) {
		if (!(fam->gguf_quirks & MM_GGUF_KEEP_PLUS1))
			hp->norm_plus1 = false;
		if (hp->qkv != MM_QKV_SPLIT && !(fam->gguf_quirks & MM_GGUF_QKV_AS_HF))
			hp->qkv = MM_QKV_BLOCKS;
	}
	return derive(&s, err);
}

int mm_hp_read(struct mm_hp *hp, const struct mm_family *fam, const json_t *config, const struct mm_ckpt *ck,
	struct mm_err *err)
{
	int rc = read_all(hp, fam, config, ck, err);
	if (rc)
		mm_hp_fini(hp);
	return rc;
}

void mm_hp_fini(struct mm_hp *hp)
{
	for (size_t i = 0; i < MM_ROPES_MAX; i++) {
		mm_free(hp->rope[i].short_factor);
		mm_free(hp->rope[i].long_factor);
		mm_free(hp->rope[i].freq_div);
	}
	mm_free(hp->layer);
	memset(hp, 0, sizeof(*hp));
}
