/* cmd_queue.c - queue, retry, cancel, rescore. */
#include "daemon/core_priv.h"

static int give(struct mm_reply *reply, json_t *body, struct mm_err *err)
{
	reply->body = body;
	return body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory for the answer");
}

int mm_cmd_queue(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	json_t *list = mm_queue_json(d, json_is_true(json_object_get(args, "all")));
	return give(reply, list ? json_pack("{s:o}", "jobs", list) : NULL, err);
}

static struct mm_model_entry *model_of(struct mm_daemon *d, const json_t *args, struct mm_err *err)
{
	const char *name = json_string_value(json_object_get(args, "name"));
	return mm_reg_resolve(d, name ? name : "", err);
}

static int done(struct mm_daemon *d, struct mm_model_entry *e, struct mm_reply *reply, struct mm_err *err)
{
	const struct mm_job *j = mm_job_of(e);
	mm_queue_kick(d);
	return give(reply,
		json_pack("{s:s, s:s, s:o}", "model", e->rec.name, "detail", mm_model_state_name(e->rec.state), "job",
			j ? mm_job_json(d, j) : json_null()),
		err);
}

static int there(const struct mm_model_entry *e, struct mm_err *err)
{
	if (mm_reg_imported(e))
		return mm_fail(err, MM_ECONFLICT, "%s was imported: there are no files to score", e->rec.name);
	return e->rec.gone ? mm_fail(err, MM_ECONFLICT, "the files of %s are gone", e->rec.name) : 0;
}

/* Looked at again from the beginning: what made it fail may be another program's, or ours, and be mended. */
static int look_anew(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err)
{
	e->rec.files = (struct mm_hash){ 0 };
	mm_reg_state(e, MM_ST_WAITING, "retry", NULL, 0, "asked for: is being looked at");
	e->rec.state_since = mm_now();
	if (mm_queue_wait(d, e, err))
		return -1;
	mm_ready_now(d, e);
	return 0;
}

static int score_again(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err)
{
	if (mm_queue_add(d, e, err))
		return -1;
	mm_ready_now(d, e); /* a scorer starts only after a look in this life of the daemon */
	return 0;
}

int mm_cmd_retry(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_model_entry *e = model_of(d, args, err);
	struct mm_job *j = e ? mm_job_of(e) : NULL;
	if (!e || there(e, err))
		return -1;
	switch (e->rec.state) {
	case MM_ST_PLACED:
		return mm_fail(err, MM_ECONFLICT, "%s is scored; `rescore` scores it again", e->rec.name);
	case MM_ST_RUNNING:
		return mm_fail(err, MM_ECONFLICT, "%s is being scored", e->rec.name);
	case MM_ST_QUEUED: /* backs off: not any longer */
		if (j)
			j->rec.not_before = 0;
		if (mm_queue_add(d, e, err))
			return -1;
		break;
	default:
		if (mm_reg_is_scored(e) && !e->rec.same_as ? score_again(d, e, err) : look_anew(d, e, err))
			return -1;
	}
	return done(d, e, reply, err);
}

/* All models that could have features and have none, or of other probes. */
static int rescore_missing(struct mm_daemon *d, struct mm_reply *reply, struct mm_err *err)
{
	json_t *queued = json_array(), *gone = json_array();
	if (!d->probes.n) {
		json_decref(queued);
		json_decref(gone);
		return mm_fail(err, MM_ECONFLICT, "score.probes is 0: no features are asked for");
	}
	for (size_t i = 0; i < mm_reg_n(d); i++) {
		struct mm_model_entry *e = mm_reg_at(d, i);
		struct mm_err why;
		if (!mm_features_missing(d, e) || mm_job_of(e))
			continue;
		bool bad = there(e, &why) || score_again(d, e, &why);
		json_array_append_new(bad ? gone : queued, json_string(e->rec.name));
	}
	mm_queue_kick(d);
	return give(reply, json_pack("{s:o, s:o}", "models", queued, "without_files", gone), err);
}

int mm_cmd_rescore(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	bool missing = json_is_true(json_object_get(args, "missing_features"));
	if (missing != !json_object_get(args, "name"))
		return mm_fail(err, MM_EINVAL, "a name, or missing_features");
	if (missing)
		return rescore_missing(d, reply, err);
	struct mm_model_entry *e = model_of(d, args, err);
	if (!e || there(e, err))
		return -1;
	const struct mm_model_entry *rep = e->rec.same_as ? mm_reg_by_id(d, e->rec.same_as) : NULL;
	if (rep)
		return mm_fail(err, MM_ECONFLICT, "%s is a copy of %s and has its vector: rescore that one",
			e->rec.name, rep->rec.name);
	if (e->rec.state == MM_ST_RUNNING)
		return mm_fail(err, MM_ECONFLICT, "%s is being scored", e->rec.name);
	if (mm_reg_is_scored(e) ? score_again(d, e, err) : look_anew(d, e, err))
		return -1;
	return done(d, e, reply, err);
}

int mm_cmd_cancel(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_model_entry *e = model_of(d, args, err);
	if (!e)
		return -1;
	if (!mm_job_of(e))
		return mm_fail(err, MM_ECONFLICT, "%s has no job that could be cancelled", e->rec.name);
	if (mm_reg_is_scored(e))
		mm_reg_restore(e);
	else
		mm_reg_state(e, MM_ST_CANCELLED, "cancelled", NULL, 0, "cancelled by a user");
	if (mm_queue_end(d, e, MM_JOB_CANCELLED, err))
		return -1;
	mm_alerts_model(d, e);
	mm_ready_twin_done(d, e);
	return done(d, e, reply, err);
}
