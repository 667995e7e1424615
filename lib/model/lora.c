/* lora.c - LoRA adapters (peft): a checkpoint of the base model with the adapter's weights on top.
 *
 *	adapter_config.json, adapter_model.safetensors:
 *	base_model.model.PATH.lora_A.weight [r, in]   .lora_B.weight [out, r]	    W += s B A
 *	base_model.model.PATH.lora_embedding_A [r, n] .lora_embedding_B [d, r]	    W += s (B A)^T
 *	base_model.model.PATH.weight, .bias                                         W replaced (modules_to_save, bias)
 *
 * s = alpha / r, with use_rslora alpha / sqrt(r); r is the number of rows of A (what rank_pattern says shows there),
 * alpha may be given by alpha_pattern. A layer that stores its matrix as [in, out] (Conv1D) gets the transposed
 *product. Base and adapter share one mm_ckpt: the adapter's own tensors stay in it under their names, which no family
 *asks for. The delta is computed when weights are read, in f32, so that nothing of the base is copied.
 *
 * What would change the result in another way (DoRA, IA3, a base that peft alters on loading as with PiSSA, ...) is
 * refused, and so is any tensor that we cannot place: a merge that leaves something out is another model.
 */
#include "model/ckpt_priv.h"

#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_MAX (4u << 20)
#define SPAN	   256 /* columns at a time */
#define RANK_MAX   65536

struct mm_lora_delta { /* (row, col) += scale sum_k p[row, k] q[k, col] */
	size_t rows, cols, rank;
	float scale;
	float *p; /* [rows, rank] */
	float *q; /* [rank, cols] */
};

void mm_lora_apply(const void *overlay, const struct mm_tensor *t, uint64_t first, size_t n, float *dst)
{
	const struct mm_lora_delta *d = overlay;
	(void)t;
	while (n) {
		size_t row = (size_t)(first / d->cols), col = (size_t)(first % d->cols);
		size_t m = MM_MIN(MM_MIN(d->cols - col, n), (size_t)SPAN);
		float sum[SPAN] = { 0 };
		for (size_t k = 0; k < d->rank; k++) {
			const float b = d->p[row * d->rank + k], *a = d->q + k * d->cols + col;
			for (size_t j = 0; j < m; j++)
				sum[j] += b * a[j];
		}
		for (size_t j = 0; j < m; j++)
			dst[j] += d->scale * sum[j];
		dst += m;
		first += m;
		n -= m;
	}
}

void mm_lora_free(struct mm_lora *l)
{
	if (!l)
		return;
	for (size_t i = 0; l->delta && i < l->n_delta; i++) {
		mm_free(l->delta[i].p);
		mm_free(l->delta[i].q);
	}
	mm_free(l->delta);
	mm_free(l->base_dir);
	mm_free(l->base_name);
	json_decref(l->config);
	mm_free(l);
}

/* ---- adapter_config.json ---- */

static int unsupported(const char *key, const json_t *v, struct mm_err *err)
{
	char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	mm_fail(err, MM_EUNSUPPORTED, "adapter_config.json: %s %.100s is not supported", key, text ? text : "");
	free(text);
	return -1;
}

/* null, false, "", [] and {} all mean "not used" */
static bool is_off(const json_t *v)
{
	return !v || json_is_null(v) || json_is_false(v) || (json_is_array(v) && !json_array_size(v)) ||
	       (json_is_object(v) && !json_object_size(v)) || (json_is_string(v) && !json_string_length(v));
}

static int check_config(const json_t *c, struct mm_err *err)
{
	static const char *const refused[] = { "use_dora", "lora_bias", "layer_replication", "megatron_config",
		"trainable_token_indices", "target_parameters", "alora_invocation_tokens", "arrow_config", "use_bdlora",
		"monteclora_config" };
	static const char *const plain_init[] = { "gaussian", "eva", "orthogonal" };
	const char *type = NULL;
	if (mm_json_get_str(c, "peft_type", &type, err))
		return -1;
	if (!type || strcasecmp(type, "LORA") != 0)
		return unsupported("peft_type", json_object_get(c, "peft_type"), err);
	for (size_t i = 0; i < MM_COUNT(refused); i++)
		if (!is_off(json_object_get(c, refused[i])))
			return unsupported(refused[i], json_object_get(c, refused[i]), err);
	/* PiSSA and its like: peft changes the base's weights when it loads such an adapter. */
	const json_t *init = json_object_get(c, "init_lora_weights");
	if (!json_is_string(init))
		return 0;
	for (size_t i = 0; i < MM_COUNT(plain_init); i++)
		if (!strcmp(json_string_value(init), plain_init[i]))
			return 0;
	return unsupported("init_lora_weights", init, err);
}

/* peft: key matches a module when (.*\.)?(key) is the whole of its path. 1 match, 0 none, -1 a regex we cannot compile.
 */
static int matches(const char *key, const char *module, struct mm_err *err)
{
	regex_t re;
	char *pattern = mm_asprintf(err, key[0] == '^' ? "^(%s)$" : "^(.*[.])?(%s)$", key[0] == '^' ? key + 1 : key);
	if (!pattern)
		return -1;
	int rc = strchr(key, '\\') && strstr(key, "\\.") != strchr(key, '\\')
			 ? REG_BADPAT
			 : regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB);
	mm_free(pattern);
	if (rc)
		return mm_fail(
			err, MM_EUNSUPPORTED, "adapter_config.json: the pattern \"%.100s\" is not supported", key);
	rc = !regexec(&re, module, 0, NULL, 0);
	regfree(&re);
	return rc;
}

static int scale_of(const json_t *c, const char *module, size_t rank, float *scale, struct mm_err *err)
{
	double alpha = 8; /* peft's default */
	bool rslora = false;
	const char *key;
	json_t *value;
	if (mm_json_get_double(c, "lora_alpha", &alpha, err) || mm_json_get_bool(c, "use_rslora", &rslora, err))
		return -1;
	json_object_foreach (json_object_get(c, "alpha_pattern"), key, value) {
		int m = matches(key, module, err);
		if (m < 0)
			return -1;
		if (m && !json_is_number(value))
			return mm_fail(err, MM_EFORMAT, "adapter_config.json: alpha_pattern %.100s is no number", key);
		if (m) {
			alpha = json_number_value(value);
			break;
		}
	}
	*scale = (float)(alpha / (rslora ? sqrt((double)rank) : (double)rank));
	return 0;
}

/* ---- names ---- */

/* Cuts `part` out of `name` where it stands. */
static void cut(char *name, const char *part)
{
	char *at = strstr(name, part);
	if (at)
		memmove(at, at + strlen(part), strlen(at + strlen(part)) + 1);
}

/* The base's tensor for a module's path. Files may leave out or put in front what the class in memory has or has not.
 */
static struct mm_tensor *base_tensor(const struct mm_ckpt *ck, const char *name)
{
	static const char *const front[] = { "model.", "transformer.", "language_model.", "model.language_model." };
	const struct mm_tensor *t = mm_ckpt_find(ck, name);
	for (const char *s = name; !t && (s = strchr(s, '.')) && strchr(++s, '.');)
		t = mm_ckpt_find(ck, s);
	for (size_t i = 0; !t && i < MM_COUNT(front); i++) {
		char longer[600];
		if ((size_t)snprintf(longer, sizeof longer, "%s%s", front[i], name) < sizeof longer)
			t = mm_ckpt_find(ck, longer);
	}
	return t ? &ck->tensor[t - ck->tensor] : NULL;
}

enum role { IS_A, IS_B, IS_VALUE };
/* Takes an adapter tensor's name apart: role, module path (without wrappers), embedding or not. */
static enum role role_of(const char *name, char path[512], bool *embedding)
{
	static const char head[] = "base_model.model.";
	static const struct {
		const char *tail;
		enum role role;
		bool embedding;
	} tails[] = {
		{ ".lora_A.weight", IS_A, false },
		{ ".lora_B.weight", IS_B, false },
		{ ".lora_embedding_A", IS_A, true },
		{ ".lora_embedding_B", IS_B, true },
	};
	char *end;
	snprintf(path, 512, "%s", strncmp(name, head, sizeof head - 1) ? name : name + sizeof head - 1);
	cut(path, ".default");
	cut(path, ".modules_to_save");
	cut(path, ".base_layer");
	*embedding = false;
	for (size_t i = 0; i < MM_COUNT(tails); i++) {
		size_t n = strlen(path), k = strlen(tails[i].tail);
		if (n > k && !strcmp(end = path + n - k, tails[i].tail)) {
			*end = 0;
			*embedding = tails[i].embedding;
			return tails[i].role;
		}
	}
	return IS_VALUE;
}

/* ---- deltas ---- */

/* The matrix as f32, turned round on request. */
static float *read_all(const struct mm_ckpt *ck, const struct mm_tensor *t, bool turned, struct mm_err *err)
{
	float *v = mm_calloc(t->n_elem, sizeof *v, err), *out = NULL;
	size_t rows = (size_t)t->dim[0], cols = (size_t)t->dim[1];
	if (!v || mm_ckpt_read(ck, t, 0, (size_t)t->n_elem, v, err)) {
		mm_free(v);
		return NULL;
	}
	if (!turned)
		return v;
	if ((out = mm_calloc(t->n_elem, sizeof *out, err)))
		for (size_t i = 0; i < rows; i++)
			for (size_t j = 0; j < cols; j++)
				out[j * rows + i] = v[i * cols + j];
	mm_free(v);
	return out;
}

/* gpt2 and openai-gpt keep [in, out] */
static bool is_conv1d(const struct mm_ckpt *ck)
{
	const char *type = json_string_value(json_object_get(ck->config, "model_type"));
	return type && (!strcmp(type, "gpt2") || !strcmp(type, "openai-gpt"));
}

static int check_pair(const struct mm_tensor *w, const struct mm_tensor *a, const struct mm_tensor *b, bool turned,
	struct mm_err *err)
{
	char sa[64], sb[64], sw[64];
	if (a->n_dim == 2 && b && b->n_dim == 2 && w->n_dim == 2 && a->dim[0] == b->dim[1] && a->dim[0] &&
		a->dim[0] <= RANK_MAX && w->dim[turned] == b->dim[0] && w->dim[!turned] == a->dim[1] &&
		mm_dtypes[a->dtype].is_float && mm_dtypes[b->dtype].is_float && mm_dtypes[w->dtype].is_float &&
		w->n_elem)
		return 0;
	if (!b)
		return mm_fail(err, MM_ESHAPE, "adapter_model.safetensors: %s has no lora_B", a->name);
	mm_shape_format(a->n_dim, a->dim, sa, sizeof sa);
	mm_shape_format(b->n_dim, b->dim, sb, sizeof sb);
	mm_shape_format(w->n_dim, w->dim, sw, sizeof sw);
	return mm_fail(err, MM_ESHAPE,
		"adapter_model.safetensors: %s is %s and its B is %s, which do not fit %s %s of the base", a->name, sa,
		sb, w->name, sw);
}

/* The B of an A, or the A of a B. */
static const struct mm_tensor *partner(const struct mm_ckpt *ck, const char *name, char letter)
{
	static const char *const stem[] = { ".lora_embedding_", ".lora_" };
	char other[600];
	for (size_t i = 0; i < MM_COUNT(stem); i++) {
		snprintf(other, sizeof other, "%s", name);
		char *at = strstr(other, stem[i]);
		if (!at)
			continue;
		at[strlen(stem[i])] = letter;
		return mm_ckpt_find(ck, other);
	}
	return NULL;
}

static int add_delta(
	struct mm_ckpt *ck, const struct mm_tensor *a, const char *module, bool embedding, struct mm_err *err)
{
	char name[600];
	snprintf(name, sizeof name, "%s.weight", module);
	struct mm_tensor *w = base_tensor(ck, name);
	const struct mm_tensor *b = partner(ck, a->name, 'B');
	bool turned = embedding || is_conv1d(ck);
	if (!w)
		return mm_fail(err, MM_ESHAPE, "adapter_model.safetensors: the base has no %s for %s", name, a->name);
	if (w->overlay)
		return mm_fail(err, MM_EFORMAT, "adapter_model.safetensors: two adaptations of %s", w->name);
	if (check_pair(w, a, b, turned, err))
		return -1;
	struct mm_lora_delta *d = &ck->lora->delta[ck->lora->n_delta];
	d->rank = (size_t)a->dim[0];
	d->rows = (size_t)w->dim[0];
	d->cols = (size_t)w->dim[1];
	if (scale_of(ck->lora->config, module, d->rank, &d->scale, err))
		return -1;
	ck->lora->n_delta++; /* from here on mm_lora_free sees it */
	if (!(d->p = read_all(ck, turned ? a : b, turned, err)) || !(d->q = read_all(ck, turned ? b : a, turned, err)))
		return -1;
	w->overlay = d;
	return 0;
}

/* ---- replaced tensors ---- */

static bool ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), k = strlen(tail);
	return n >= k && !strcmp(s + n - k, tail);
}

static bool is_tied(const struct mm_ckpt *ck)
{
	const json_t *v = json_object_get(ck->config, "tie_word_embeddings");
	return v ? json_is_true(v) : !mm_ckpt_find(ck, "lm_head.weight");
}

/* A trained copy of the embedding or of the head: both were one tensor before, now they are two. */
static int untie(struct mm_ckpt *ck, const struct mm_tensor *head, const char *name, struct mm_err *err)
{
	if (mm_ckpt_tensor_add(ck, head, name, strlen(name), err))
		return -1;
	return json_object_set_new(ck->config, "tie_word_embeddings", json_false())
		       ? mm_fail(err, MM_ENOMEM, "out of memory")
		       : 0;
}

/* Rows were added to the vocabulary: the base's config does not know. */
static int grow_vocab(struct mm_ckpt *ck, const struct mm_tensor *old, const struct mm_tensor *new, struct mm_err *err)
{
	json_t *v = json_object_get(ck->config, "vocab_size");
	if (old->n_dim == 2 && new->n_dim == 2 && old->dim[0] != new->dim[0] && old->dim[1] == new->dim[1] &&
		json_is_integer(v) &&
		json_object_set_new(ck->config, "vocab_size", json_integer((json_int_t) new->dim[0])))
		return mm_fail(err, MM_ENOMEM, "out of memory");
	return 0;
}

static int replace(struct mm_ckpt *ck, size_t i, const char *name, struct mm_err *err)
{
	struct mm_tensor *w = base_tensor(ck, name), new = ck->tensor[i];
	if (!w && (ends_with(name, "lm_head.weight") || ends_with(name, "embed_out.weight")))
		return untie(ck, &new, name, err);
	if (!w)
		return mm_fail(err, MM_ESHAPE, "adapter_model.safetensors: the base has no %s for %s", name, new.name);
	bool is_embd = ends_with(name, "embed_tokens.weight") || ends_with(name, "wte.weight");
	if (is_embd && is_tied(ck) && !mm_ckpt_find(ck, "lm_head.weight")) {
		struct mm_tensor old = *w;
		if (untie(ck, &old, "lm_head.weight", err))
			return -1;
		w = base_tensor(ck, name); /* the table may have moved */
	}
	if (grow_vocab(ck, w, &new, err))
		return -1;
	const char *kept = w->name;
	*w = new;
	w->name = kept;
	return 0;
}

/* ---- the whole ---- */

static int merge(struct mm_ckpt *ck, size_t n_base, struct mm_err *err)
{
	size_t n = ck->n_tensor;
	if (!(ck->lora->delta = mm_calloc(n - n_base, sizeof *ck->lora->delta, err)))
		return -1;
	for (int pass = 0; pass < 2; pass++) /* values first: a delta may lie on a replaced weight */
		for (size_t i = n_base; i < n; i++) {
			char path[512];
			bool embedding;
			if (strlen(ck->tensor[i].name) >= sizeof path)
				return mm_fail(
					err, MM_EFORMAT, "adapter_model.safetensors: a tensor's name is too long");
			enum role role = role_of(ck->tensor[i].name, path, &embedding);
			if (pass == 0 && role == IS_VALUE && replace(ck, i, path, err))
				return -1;
			if (pass == 1 && role == IS_A && add_delta(ck, &ck->tensor[i], path, embedding, err))
				return -1;
			if (pass == 1 && role == IS_B && !partner(ck, ck->tensor[i].name, 'A'))
				return mm_fail(err, MM_ESHAPE, "adapter_model.safetensors: %s has no lora_A",
					ck->tensor[i].name);
		}
	return 0;
}

static int read_base(struct mm_ckpt *ck, const char *dir, struct mm_ckpt_why *why, struct mm_err *err)
{
	const char *name = NULL;
	if (mm_json_get_str(ck->lora->config, "base_model_name_or_path", &name, err))
		return -1;
	if (!name || !name[0])
		return mm_fail(err, MM_EFORMAT, "adapter_config.json: base_model_name_or_path is missing");
	if (!(ck->lora->base_name = mm_strdup(name, err)) ||
		!(ck->lora->base_dir = mm_lora_find_base(name, dir, ck->search_dir, why, err)))
		return -1;
	if (!(ck->dir = mm_strdup(ck->lora->base_dir, err)) ||
		!(ck->config = mm_ckpt_json(ck->dir, "config.json", CONFIG_MAX, why, "bad_config", err)) ||
		mm_shards_read(ck, "model", why, err) || mm_fp8_attach(ck, err))
		return mm_wrap(err, "base model %s", ck->lora->base_dir);
	return 0;
}

int mm_lora_read(struct mm_ckpt *ck, const char *dir, struct mm_ckpt_why *why, struct mm_err *err)
{
	if (!(ck->lora = mm_calloc(1, sizeof *ck->lora, err)) ||
		!(ck->lora->config = mm_ckpt_json(dir, "adapter_config.json", CONFIG_MAX, why, "bad_config", err)))
		return -1;
	if (check_config(ck->lora->config, err)) {
		mm_ckpt_blame(why, err->code == MM_EUNSUPPORTED ? "unsupported" : "bad_config", "adapter_config.json",
			0, false);
		return -1;
	}
	if (read_base(ck, dir, why, err)) {
		mm_ckpt_blame(why, "bad_config", "adapter_config.json", 0, false);
		return -1;
	}
	mm_free(ck->dir);
	size_t n_base = ck->n_tensor;
	if (!(ck->dir = mm_strdup(dir, err)) || mm_safetensors_read(ck, "adapter_model.safetensors", why, err))
		return -1;
	if (merge(ck, n_base, err)) {
		mm_ckpt_blame(
			why, err->code == MM_ESHAPE ? "shape" : "unsupported", "adapter_model.safetensors", 0, false);
		return -1;
	}
	return 0;
}
