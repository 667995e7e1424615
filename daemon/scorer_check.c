/* scorer_check.c - what comes out of a scorer, taken for hostile until everything is checked.
 *
 * The stream must be whole (its own checksum), have one metadata frame that names our text set, scorer version, BOS and
 * compute policy,
 * and the arrays `loglik` f32 [N] and `n_tokens` u32 [N]; next-byte features are looked at in features.c. Other arrays
 * are kept as they come, within bounds. Values that are not finite are counted, not refused: a model full of NaN is a
 * result. A log-likelihood above zero is none.
 */
#include "daemon/core_priv.h"

#include <math.h>
#include <string.h>

#define ARRAYS_MAX   32	   /* and as many more as features have */
#define ABOVE_ZERO   1e-2f /* rounding of a sum of many f32 terms that are all about zero */
#define STREAM_EXTRA (UINT64_C(1) << 30)
#define ARRAYS_EXTRA (UINT64_C(64) << 20)
#define PER_TEXT_MAX UINT64_C(4096)

struct mm_collect {
	struct mm_collect_opts o;
	struct mm_frame_in *in;
	struct mm_result r;
	uint64_t array_bytes;
	char bos[16], compute[16]; /* copies: a reload replaces the configuration */
	bool has_error;
	struct mm_err error; /* the scorer's own */
};

void mm_result_fini(struct mm_result *r)
{
	for (size_t i = 0; i < r->n_array; i++)
		mm_free((void *)(uintptr_t)r->array[i].data);
	mm_free(r->array);
	json_decref(r->meta);
	*r = (struct mm_result){ 0 };
}

struct mm_collect *mm_collect_new(const struct mm_collect_opts *o, struct mm_err *err)
{
	struct mm_collect *c = mm_calloc(1, sizeof *c, err);
	if (!c)
		return NULL;
	c->o = *o;
	snprintf(c->bos, sizeof c->bos, "%s", o->bos);
	snprintf(c->compute, sizeof c->compute, "%s", o->compute);
	if (!(c->in = mm_frame_in_new(STREAM_EXTRA + o->n_texts * PER_TEXT_MAX, err))) {
		mm_free(c);
		return NULL;
	}
	return c;
}

void mm_collect_free(struct mm_collect *c)
{
	if (!c)
		return;
	mm_frame_in_free(c->in);
	mm_result_fini(&c->r);
	mm_free(c);
}

static int take_array(struct mm_collect *c, const struct mm_array *a, struct mm_err *err)
{
	struct mm_result *r = &c->r;
	void *data;
	c->array_bytes += a->n_byte;
	if (r->n_array >= ARRAYS_MAX || c->array_bytes > ARRAYS_EXTRA + c->o.n_texts * PER_TEXT_MAX)
		return mm_fail(err, MM_EFORMAT, "the scorer sends more arrays than are taken");
	if (!r->array && !(r->array = mm_calloc(ARRAYS_MAX + MM_FEATURE_ARRAYS, sizeof *r->array, err)))
		return -1;
	if (!(data = mm_calloc(a->n_byte, 1, err)))
		return -1;
	memcpy(data, a->data, a->n_byte);
	struct mm_stored_array *to = &r->array[r->n_array++];
	*to = (struct mm_stored_array){ .type = a->type, .n_dim = a->n_dim, .data = data, .n_byte = a->n_byte };
	memcpy(to->dim, a->dim, sizeof to->dim);
	snprintf(to->name, sizeof to->name, "%s", a->name);
	return 0;
}

static void take_error(struct mm_collect *c, const json_t *j)
{
	const char *code = json_string_value(json_object_get(j, "code"));
	const char *text = json_string_value(json_object_get(j, "text"));
	c->has_error = true;
	mm_fail(&c->error, code ? mm_err_code_of(code) : MM_EINTERNAL, "%s",
		text ? text : "the scorer failed without a word");
	if (c->error.code == MM_OK)
		c->error.code = MM_EINTERNAL;
}

int mm_collect_feed(struct mm_collect *c, const void *data, size_t len, struct mm_err *err)
{
	struct mm_frame f;
	int n, rc = 0;
	if (mm_frame_in_feed(c->in, data, len, err))
		return -1;
	while (!rc && (n = mm_frame_in_next(c->in, &f, err)) != 0) {
		if (n < 0)
			return -1;
		switch (f.type) {
		case 'P':
			if (c->o.progress)
				c->o.progress(c->o.ctx, f.json);
			break;
		case 'A':
			rc = take_array(c, &f.array, err);
			break;
		case 'M':
			if (c->r.meta)
				return mm_fail(err, MM_EFORMAT, "the scorer sends metadata twice");
			c->r.meta = json_incref(f.json);
			break;
		case 'E':
			take_error(c, f.json);
			break;
		default:
			break;
		}
	}
	return rc;
}

static int want_str(const json_t *m, const char *key, const char *value, struct mm_err *err)
{
	const char *s = NULL;
	if (mm_json_get_str(m, key, &s, err))
		return mm_wrap(err, "scorer");
	if (!s || strcmp(s, value) != 0)
		return mm_fail(
			err, MM_ECONFLICT, "the scorer's %s is %s, asked for was %s", key, s ? s : "missing", value);
	return 0;
}

static int want_hash(const json_t *m, const char *key, struct mm_hash *out, struct mm_err *err)
{
	const char *s = NULL;
	if (mm_json_get_str(m, key, &s, err))
		return mm_wrap(err, "scorer");
	if (!s || !mm_hash_parse(s, out) || mm_hash_is_zero(*out))
		return mm_fail(err, MM_EFORMAT, "the scorer's %s is no fingerprint", key);
	return 0;
}

static int check_meta(struct mm_collect *c, struct mm_err *err)
{
	char hex[MM_HASH_HEX];
	const json_t *m = c->r.meta;
	int64_t n = -1, cut = 0;
	if (!json_is_object(m))
		return mm_fail(err, MM_EFORMAT, "the scorer sent no metadata");
	mm_hash_hex(c->o.texts, hex);
	if (want_str(m, "texts", hex, err))
		return mm_wrap(err, "the text set file has changed since the daemon read it");
	/* An upgrade replaces the scorer below a running daemon: its numbers wait until the daemon has looked at the
	 * pin. */
	if (want_str(m, "version", MM_SCORER_VERSION, err) || want_str(m, "bos", c->bos, err) ||
		want_str(m, "compute_policy", c->compute, err) || want_hash(m, "quick", &c->r.quick, err) ||
		want_hash(m, "full", &c->r.full, err) || mm_json_get_i64(m, "n_texts", 0, INT64_MAX, &n, err) ||
		mm_json_get_i64(m, "n_cut", 0, (int64_t)c->o.n_texts, &cut, err))
		return -1;
	if (n != (int64_t)c->o.n_texts)
		return mm_fail(err, MM_EFORMAT, "the scorer counts %lld texts of %zu", (long long)n, c->o.n_texts);
	c->r.n_cut = (uint64_t)cut;
	return 0;
}

static const struct mm_stored_array *find(const struct mm_result *r, const char *name)
{
	for (size_t i = 0; i < r->n_array; i++)
		if (!strcmp(r->array[i].name, name))
			return &r->array[i];
	return NULL;
}

static int check_arrays(struct mm_collect *c, struct mm_err *err)
{
	struct mm_result *r = &c->r;
	const struct mm_stored_array *l = find(r, "loglik"), *t = find(r, "n_tokens");
	size_t n = c->o.n_texts;
	if (!l || l->type != MM_A_F32 || l->n_dim != 1 || l->dim[0] != n || l->n_byte != n * sizeof(float))
		return mm_fail(err, MM_EFORMAT, "the scorer sent no log-likelihoods for %zu texts", n);
	if (!t || t->type != MM_A_U32 || t->n_dim != 1 || t->dim[0] != n || t->n_byte != n * sizeof(uint32_t))
		return mm_fail(err, MM_EFORMAT, "the scorer sent no token counts for %zu texts", n);
	const float *ll = l->data;
	const uint32_t *tok = t->data;
	double sum = 0;
	for (size_t i = 0; i < n; i++) {
		r->n_tokens += tok[i];
		if (!isfinite(ll[i])) {
			r->first_bad = r->n_bad++ ? r->first_bad : i;
			continue;
		}
		if (ll[i] > ABOVE_ZERO)
			return mm_fail(
				err, MM_EFORMAT, "log-likelihood %g of text %zu is above zero", (double)ll[i], i);
		sum += (double)ll[i];
	}
	r->loglik = ll;
	r->mean_loglik = n > r->n_bad ? sum / (double)(n - r->n_bad) : NAN;
	return 0;
}

int mm_collect_end(struct mm_collect *c, struct mm_result *out, bool *said, struct mm_err *err)
{
	*said = c->has_error;
	if (c->has_error) {
		*err = c->error;
		return -1;
	}
	if (!mm_frame_in_done(c->in))
		return mm_fail(err, MM_ETRUNC, "the scorer's stream ended early");
	if (check_meta(c, err) || check_arrays(c, err) || mm_features_check(&c->r, c->o.probe_set, c->o.n_probe, err))
		return -1;
	c->r.n_array += mm_features_void(&c->r, c->r.array + c->r.n_array);
	*out = c->r;
	c->r = (struct mm_result){ 0 };
	return 0;
}
