/* reg_json.c - a model as clients see it: the object of `models`, of `show` (full) and of "model" events. */
#include "daemon/core_priv.h"

#include <math.h>
#include <string.h>

static void set(json_t *o, const char *key, json_t *v)
{
	json_object_set_new(o, key, v ? v : json_null());
}

static void set_str(json_t *o, const char *key, const char *s)
{
	set(o, key, s ? json_string(s) : NULL);
}

/* Paths are bytes: what is not UTF-8 is shown as '?'. */
static void set_path(json_t *o, const char *key, const char *s)
{
	char text[4200];
	mm_utf8_sanitize(text, sizeof text, s, strlen(s));
	set_str(o, key, text);
}

static void set_u64(json_t *o, const char *key, uint64_t v, bool known)
{
	set(o, key, known ? json_integer((json_int_t)v) : NULL);
}

static void set_time(json_t *o, const char *key, int64_t t)
{
	set(o, key, t ? json_integer(t) : NULL);
}

static void set_hash(json_t *o, const char *key, struct mm_hash h)
{
	char hex[MM_HASH_HEX];
	mm_hash_hex(h, hex);
	set_str(o, key, mm_hash_is_zero(h) ? NULL : hex);
}

static const char *state_of(const struct mm_model_entry *e)
{
	if (e->rec.gone)
		return "gone";
	switch (e->rec.state) {
	case MM_ST_PLACED:
		return e->not_finite ? "failed" : "scored";
	case MM_ST_FAILED:
	case MM_ST_NEVER_READY:
	case MM_ST_CANCELLED:
		return "failed";
	default:
		return "waiting";
	}
}

static void set_full(const struct mm_daemon *d, json_t *o, const struct mm_model_entry *e)
{
	const struct mm_model_rec *r = &e->rec;
	const struct mm_model_entry *noted = r->note_model ? mm_reg_by_id(d, r->note_model) : NULL;
	set_path(o, "path", r->path);
	set_str(o, "architecture", r->architecture);
	set_str(o, "container", r->container);
	set_str(o, "compute", r->compute);
	set_str(o, "scorer", r->scorer);
	set_str(o, "base_claimed", r->base_claimed);
	set_u64(o, "context", r->context, r->context != 0);
	set_u64(o, "vocab", r->vocab, r->vocab != 0);
	set_time(o, "first_seen", r->first_seen);
	set_time(o, "state_since", r->state_since);
	set_time(o, "modified", r->modified);
	set_hash(o, "fingerprint", r->full);
	set_hash(o, "quick_fingerprint", r->quick);
	set_str(o, "note_model", noted ? noted->rec.name : NULL);
	set_u64(o, "attempts", r->attempts, true);
	set(o, "seconds", r->scored_at && !mm_reg_imported(e) ? json_real(r->seconds) : NULL);
	set(o, "tokens_per_s", r->scored_at && !mm_reg_imported(e) ? json_real(r->tokens_per_s) : NULL);
	set(o, "gemm_share", r->scored_at && r->gemm_share > 0 ? json_real(r->gemm_share) : NULL);
	set(o, "no_features", mm_features_why(d, e));
	/* Copies of this content. */
	json_t *copies = json_array();
	for (size_t i = 0; i < mm_reg_n(d); i++)
		if (mm_reg_at(d, i)->rec.same_as == r->id)
			json_array_append_new(copies, json_string(mm_reg_at(d, i)->rec.name));
	set(o, "copies", copies);
}

json_t *mm_reg_json(const struct mm_daemon *d, const struct mm_model_entry *e, bool full)
{
	const struct mm_model_rec *r = &e->rec;
	const struct mm_model_entry *rep = r->same_as ? mm_reg_by_id(d, r->same_as) : NULL;
	bool scored = r->scored_at && isfinite(r->mean_loglik) && !e->not_finite;
	json_t *o = json_object();
	if (!o)
		return NULL;
	set(o, "model_id", json_integer((json_int_t)r->id));
	set_str(o, "name", r->name);
	set_str(o, "state", state_of(e));
	set_str(o, "detail", mm_model_state_name(r->state));
	set_str(o, "family", r->family);
	set_u64(o, "params", r->params, r->params != 0);
	set_u64(o, "bytes", r->bytes, r->bytes != 0);
	set_str(o, "dtype", r->dtype);
	set_time(o, "scored_at", r->scored_at);
	set(o, "mean_loglik", scored ? json_real(r->mean_loglik) : NULL);
	set(o, "bits_per_byte", scored ? json_real(r->bits_per_byte) : NULL);
	set_str(o, "run", r->run);
	set(o, "step", r->step >= 0 ? json_integer(r->step) : NULL);
	set_str(o, "reason", r->reason);
	set_str(o, "reason_code", r->reason_code);
	set_str(o, "reason_file", r->reason_file);
	set_u64(o, "missing_bytes", r->missing_bytes, r->missing_bytes != 0);
	set_str(o, "same_as", rep ? rep->rec.name : NULL);
	set_str(o, "note", r->note);
	set_str(o, "features", mm_features_name(d, e));
	set(o, "on_map", json_boolean(mm_reg_on_map(e)));
	if (mm_reg_imported(e))
		set(o, "imported", json_true());
	set(o, "not_finite", json_boolean(e->not_finite));
	set_u64(o, "n_tokens", r->n_tokens, r->n_tokens != 0);
	set_u64(o, "n_cut", r->n_cut, r->scored_at != 0);
	double share = d->texts.n ? (double)r->n_cut / (double)d->texts.n : 0;
	if (share > 0.01) {
		char text[120];
		snprintf(text, sizeof text, "%llu of %zu texts are longer than the model's context and were cut there",
			(unsigned long long)r->n_cut, d->texts.n);
		set_str(o, "warning", text);
	}
	if (full)
		set_full(d, o, e);
	return o;
}
