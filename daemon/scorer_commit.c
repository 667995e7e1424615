/* scorer_commit.c - a checked result becomes the model's: arrays, record and job row in ONE transaction, and only then
 * the picture in memory, the map and the alerts. A commit that fails leaves memory as it was. */
#include "daemon/core_priv.h"

#include <math.h>
#include <string.h>

static double meta_real(const json_t *m, const char *key)
{
	double v = json_number_value(json_object_get(m, key));
	return isfinite(v) && v >= 0 ? v : 0;
}

static int meta_str(const json_t *m, const char *key, char **field, struct mm_err *err)
{
	char text[300];
	const char *s = json_string_value(json_object_get(m, key));
	if (!s || !*s)
		return 0;
	mm_utf8_sanitize(text, sizeof text, s, strlen(s));
	return mm_reg_str(field, text, err);
}

static void meta_u64(const json_t *m, const char *key, uint64_t *field)
{
	json_int_t v = json_integer_value(json_object_get(m, key));
	if (v > 0)
		*field = (uint64_t)v;
}

static int fill(const struct mm_daemon *d, struct mm_model_rec *r, const struct mm_result *res, struct mm_err *err)
{
	const json_t *m = res->meta;
	if (meta_str(m, "family", &r->family, err) || meta_str(m, "architecture", &r->architecture, err) ||
		meta_str(m, "dtype", &r->dtype, err) || meta_str(m, "container", &r->container, err) ||
		meta_str(m, "compute", &r->compute, err) || meta_str(m, "version", &r->scorer, err) ||
		meta_str(m, "base_claimed", &r->base_claimed, err))
		return -1;
	meta_u64(m, "params", &r->params);
	meta_u64(m, "bytes", &r->bytes);
	meta_u64(m, "context", &r->context);
	meta_u64(m, "vocab", &r->vocab);
	r->seconds = meta_real(m, "seconds_load") + meta_real(m, "seconds_tokenize") + meta_real(m, "seconds_score");
	r->tokens_per_s = meta_real(m, "tokens_per_s");
	r->gemm_share = meta_real(m, "gemm_share");
	r->n_tokens = res->n_tokens;
	r->n_cut = res->n_cut;
	r->scored_at = mm_now();
	r->mean_loglik = isfinite(res->mean_loglik) ? res->mean_loglik : 0;
	r->bits_per_byte = d->texts.mean_bytes > 0 ? -r->mean_loglik / (d->texts.mean_bytes * M_LN2) : 0;
	return 0;
}

/* State, reason and job of a result. */
static void conclude(
	const struct mm_daemon *d, struct mm_model_entry *e, struct mm_job *j, const struct mm_result *res, bool copy)
{
	char text[200];
	struct mm_err err;
	j->rec.finished = mm_now();
	j->rec.not_before = 0;
	j->rec.state = MM_JOB_DONE;
	mm_reg_state(e, MM_ST_PLACED, NULL, NULL, 0, NULL);
	if (res->n_bad) {
		snprintf(text, sizeof text, "%zu of %zu log-likelihoods are not finite, that of text %zu first",
			res->n_bad, d->texts.n, res->first_bad);
		mm_reg_state(e, MM_ST_FAILED, "not_finite", NULL, 0, text);
		j->rec.state = MM_JOB_FAILED;
	}
	if (mm_reg_str(&j->rec.reason, res->n_bad ? text : copy ? "the same content as another model" : NULL, &err))
		mm_log(MM_LOG_WARN, "%s", err.text);
}

/* Arrays, record, job. What was in memory before is put back when the store says no. */
static int commit(struct mm_daemon *d, struct mm_job *j, const struct mm_result *res, const struct mm_model_entry *twin,
	struct mm_err *err)
{
	struct mm_model_entry *e = j->e;
	struct mm_model_rec before = { 0 };
	struct mm_hash full_before = e->rec.full;
	struct mm_err ignored;
	if (mm_model_rec_dup(&before, &e->rec, err))
		return -1;
	int rc = mm_reg_set_full(d, e, res->full, err);
	if (!rc && !(rc = fill(d, &e->rec, res, err))) {
		conclude(d, e, j, res, twin != NULL);
		e->rec.same_as = twin ? twin->rec.id : 0;
		e->rec.has_vector = !twin;
		rc = mm_reg_commit(d,
			&(struct mm_commit){ .e = e,
				.job = { &j->rec },
				.array = twin ? NULL : res->array,
				.n_array = twin ? 0 : res->n_array,
				.quiet = true },
			err);
	}
	if (!rc) {
		mm_model_rec_fini(&before);
		return 0;
	}
	if (mm_reg_set_full(d, e, full_before, &ignored))
		mm_log(MM_LOG_ERROR, "%s", ignored.text);
	mm_model_rec_fini(&e->rec);
	e->rec = before;
	j->rec.state = MM_JOB_RUNNING;
	j->rec.finished = 0;
	return -1;
}

int mm_result_commit(struct mm_daemon *d, struct mm_job *j, struct mm_result *res, struct mm_err *err)
{
	struct mm_model_entry *e = j->e;
	size_t n = d->texts.n;
	bool again = e->rec.has_vector;
	/* Two copies that came at the same time: the quick fingerprint makes the second wait; should one slip through,
	 * the full one tells. */
	const struct mm_model_entry *twin = again ? NULL : mm_reg_scored_full(d, res->full, e);
	float *loglik = res->n_bad || twin ? NULL : mm_calloc(n, sizeof *loglik, err);
	if (!loglik && !res->n_bad && !twin)
		return -1;
	if (commit(d, j, res, twin, err)) {
		mm_free(loglik);
		return -1;
	}
	mm_scorer_forget(d, e->rec.id);
	if (loglik)
		memcpy(loglik, res->loglik, n * sizeof *loglik);
	mm_map_retire(d, e->loglik); /* a worker may still read it */
	e->loglik = loglik;
	e->features = (uint8_t)(twin ? MM_FEATURES_NONE : mm_features_of_result(d, res));
	e->not_finite = twin ? twin->not_finite : res->n_bad != 0;
	mm_log(MM_LOG_NOTICE, "%s: scored, %.4f bits per byte, %.0f tokens/s%s%s", e->rec.name, e->rec.bits_per_byte,
		e->rec.tokens_per_s, e->rec.reason ? "; " : "", e->rec.reason ? e->rec.reason : "");
	d->counts.scored_seconds += e->rec.seconds;
	d->counts.scored_tokens += e->rec.n_tokens;
	mm_event(d, "model", mm_reg_json(d, e, false));
	mm_event(d, "job", mm_job_json(d, j));
	if (d->service)
		mm_service_status(d);
	if (!e->not_finite)
		mm_map_scored(d, e);
	mm_alerts_model(d, e);
	return 0;
}
