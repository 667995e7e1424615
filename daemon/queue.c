/* queue.c - jobs: their states, their order, their retries.
 *
 *   waiting    the checkpoint is not ready; the reason stands in the job and in the model
 *   queued     ready to run; `not_before` is set while it backs off
 *   running    a scorer works on it; queued again when the daemon starts
 *   done, failed, cancelled   finished; kept up to HISTORY rows
 *
 * A model has at most one job that is not finished ("live"). Model record and job row are written in one transaction,
 * so that after a crash both tell the same story; the rest is healed at the start. Jobs are started from a deferred
 * event, never from inside the call that made them startable.
 */
#include "daemon/core_priv.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define BACKOFF_MAX_S 3600.0

static int on_kick(sd_event_source *s, void *ctx);
static int on_timer(sd_event_source *s, uint64_t usec, void *ctx);

struct mm_job *mm_job_of(const struct mm_model_entry *e)
{
	return e->job_state;
}

static void job_free(struct mm_job *j)
{
	if (!j)
		return;
	mm_job_rec_fini(&j->rec);
	mm_free(j);
}

static struct mm_job *live_new(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err)
{
	struct mm_queue *q = d->queue;
	if (mm_grow(&q->live, &q->cap, q->n + 1, sizeof(struct mm_job *), err))
		return NULL;
	struct mm_job *j = mm_calloc(1, sizeof *j, err);
	if (!j)
		return NULL;
	j->e = e;
	j->eta_s = -1;
	j->rec.model = e->rec.id;
	j->rec.created = mm_now();
	e->job_state = j;
	q->live[q->n++] = j;
	return j;
}

static void live_remove(struct mm_queue *q, struct mm_job *j)
{
	for (size_t i = 0; i < q->n; i++)
		if (q->live[i] == j) {
			memmove(q->live + i, q->live + i + 1, (--q->n - i) * sizeof(struct mm_job *));
			break;
		}
	if (j->e && j->e->job_state == j)
		j->e->job_state = NULL;
}

/* A finished job goes from the live ones to the history; the oldest fall out, in the store too (with the next commit).
 */
static void to_history(struct mm_queue *q, struct mm_job *j)
{
	struct mm_err err;
	live_remove(q, j);
	if (mm_grow(&q->old, &q->cap_old, q->n_old + 1, sizeof(struct mm_job *), &err)) {
		job_free(j); /* the store has it */
		return;
	}
	q->old[q->n_old++] = j;
}

static void prune(struct mm_daemon *d)
{
	struct mm_queue *q = d->queue;
	struct mm_err err;
	uint64_t id[64];
	size_t n = 0;
	if (q->n_old <= MM_JOB_HISTORY + MM_COUNT(id))
		return;
	for (; n < MM_COUNT(id); n++)
		id[n] = q->old[n]->rec.id;
	if (mm_reg_commit(d, &(struct mm_commit){ .del_job = id, .n_del_job = n }, &err)) {
		mm_log(MM_LOG_ERROR, "cannot shorten the history of jobs: %s", err.text);
		return;
	}
	for (size_t i = 0; i < n; i++)
		job_free(q->old[i]);
	memmove(q->old, q->old + n, (q->n_old - n) * sizeof(struct mm_job *));
	q->n_old -= n;
}

static void stop_run(struct mm_daemon *d, struct mm_job *j, const char *why)
{
	if (j && j->run) {
		mm_log(MM_LOG_INFO, "%s: the scorer is stopped: %s", j->e->rec.name, why);
		mm_scorer_cancel(d, j);
	}
}

static int commit(struct mm_daemon *d, struct mm_model_entry *e, struct mm_job *j, struct mm_err *err)
{
	int rc = mm_reg_commit(d, &(struct mm_commit){ .e = e, .job = { j ? &j->rec : NULL } }, err);
	if (j)
		mm_event(d, "job", mm_job_json(d, j));
	if (d->service)
		mm_service_status(d);
	return rc;
}

static int set_live(
	struct mm_daemon *d, struct mm_model_entry *e, enum mm_job_state st, const char *reason, struct mm_err *err)
{
	struct mm_job *j = mm_job_of(e);
	if (!d->queue)
		return mm_reg_save(d, e, err);
	stop_run(d, j, reason ? reason : "queued again");
	if (!j && !(j = live_new(d, e, err)))
		return -1;
	j->rec.state = st;
	j->rec.not_before = 0;
	j->rec.attempts = 0;
	if (mm_reg_str(&j->rec.reason, reason, err))
		return -1;
	return commit(d, e, j, err);
}

int mm_queue_add(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err)
{
	mm_reg_state(e, MM_ST_QUEUED, NULL, NULL, 0, NULL);
	int rc = set_live(d, e, MM_JOB_QUEUED, NULL, err);
	mm_queue_kick(d);
	return rc;
}

int mm_queue_wait(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err)
{
	return set_live(d, e, MM_JOB_WAITING, e->rec.reason, err);
}

int mm_queue_end(struct mm_daemon *d, struct mm_model_entry *e, enum mm_job_state state, struct mm_err *err)
{
	struct mm_job *j = mm_job_of(e);
	if (!d->queue)
		return mm_reg_save(d, e, err);
	stop_run(d, j, mm_job_state_name(state));
	if (!j && state == MM_JOB_FAILED && !(j = live_new(d, e, err)))
		return -1;
	if (!j)
		return mm_reg_save(d, e, err);
	j->rec.state = state;
	j->rec.finished = mm_now();
	j->rec.not_before = 0;
	if (mm_reg_str(&j->rec.reason, e->rec.reason, err))
		return -1;
	int rc = commit(d, e, j, err);
	to_history(d->queue, j);
	prune(d);
	mm_queue_kick(d);
	return rc;
}

int mm_queue_forget(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err)
{
	struct mm_queue *q = d->queue;
	struct mm_job *j = mm_job_of(e);
	uint64_t id = j ? j->rec.id : 0;
	stop_run(d, j, "its model is another one");
	if (id && mm_reg_commit(d, &(struct mm_commit){ .del_job = &id, .n_del_job = 1 }, err))
		return -1;
	if (j)
		live_remove(q, j);
	job_free(j);
	for (size_t i = 0; i < q->n_old;) {
		if (q->old[i]->e != e) {
			i++;
			continue;
		}
		id = q->old[i]->rec.id;
		if (mm_reg_commit(d, &(struct mm_commit){ .del_job = &id, .n_del_job = 1 }, err))
			return -1;
		job_free(q->old[i]);
		memmove(q->old + i, q->old + i + 1, (--q->n_old - i) * sizeof(struct mm_job *));
	}
	return 0;
}

/* ---- starting ---- */

static bool before(const struct mm_daemon *d, const struct mm_job *a, const struct mm_job *b)
{
	const struct mm_model_rec *x = &a->e->rec, *y = &b->e->rec;
	switch (d->cfg.score.order) {
	case MM_ORDER_NEWEST:
		if (x->modified != y->modified)
			return x->modified > y->modified;
		break;
	case MM_ORDER_OLDEST:
		if (x->modified != y->modified)
			return x->modified < y->modified;
		break;
	case MM_ORDER_SMALLEST:
		if (x->bytes != y->bytes)
			return x->bytes < y->bytes;
		break;
	}
	return a->rec.id < b->rec.id;
}

static bool may_start(const struct mm_job *j, int64_t now)
{
	return j->rec.state == MM_JOB_QUEUED && !j->run && j->rec.not_before <= now && !j->e->rec.gone &&
	       mm_ready_steady(j->e);
}

static void start_job(struct mm_daemon *d, struct mm_job *j)
{
	struct mm_err err, why;
	j->rec.state = MM_JOB_RUNNING;
	j->rec.started = mm_now();
	j->rec.attempts++;
	j->done = j->total = j->tokens = j->tokens_total = 0;
	j->tokens_per_s = 0;
	j->eta_s = -1;
	j->stage[0] = 0;
	j->e->rec.attempts = j->rec.attempts;
	mm_reg_state(j->e, MM_ST_RUNNING, NULL, NULL, 0, NULL);
	if (mm_reg_str(&j->rec.reason, NULL, &err) || commit(d, j->e, j, &err))
		mm_log(MM_LOG_ERROR, "%s", err.text);
	if (mm_scorer_run(d, j, &why))
		mm_queue_ended(d, j, MM_RUN_RETRY, NULL, &why);
}

static int on_kick(sd_event_source *s, void *ctx)
{
	struct mm_daemon *d = ctx;
	struct mm_queue *q = d->queue;
	int64_t now = mm_now(), next = INT64_MAX;
	(void)s;
	while (!d->stopping && d->first_scan_done) {
		struct mm_job *best = NULL;
		size_t running = 0;
		next = INT64_MAX;
		for (size_t i = 0; i < q->n; i++) {
			struct mm_job *j = q->live[i];
			running += j->run != NULL;
			if (j->rec.state == MM_JOB_QUEUED && j->rec.not_before > now)
				next = MM_MIN(next, j->rec.not_before);
			if (may_start(j, now) && (!best || before(d, j, best)))
				best = j;
		}
		if (!best || running >= d->cfg.score.concurrency)
			break;
		start_job(d, best);
	}
	if (next != INT64_MAX) {
		sd_event_source_set_time_relative(q->timer, (uint64_t)(next - now) * 1000000);
		sd_event_source_set_enabled(q->timer, SD_EVENT_ONESHOT);
	}
	return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	(void)s, (void)usec;
	mm_queue_kick(ctx);
	return 0;
}

void mm_queue_kick(struct mm_daemon *d)
{
	if (d->queue && d->queue->kick)
		sd_event_source_set_enabled(d->queue->kick, SD_EVENT_ONESHOT);
}

/* ---- how a run ended ---- */

static int retry_later(struct mm_daemon *d, struct mm_job *j, const struct mm_err *why, struct mm_err *err)
{
	double wait = d->cfg.score.backoff;
	char text[1200];
	for (uint32_t i = 1; i < j->rec.attempts && wait < BACKOFF_MAX_S; i++)
		wait *= 2;
	wait = MM_MIN(wait, BACKOFF_MAX_S);
	snprintf(text, sizeof text, "%s; retry %u of %u", why->text, j->rec.attempts, d->cfg.score.retries);
	mm_log(MM_LOG_WARN, "%s: %s in %.0f s", j->e->rec.name, text, wait);
	j->rec.state = MM_JOB_QUEUED;
	j->rec.not_before = mm_now() + (int64_t)(wait + 0.999);
	mm_reg_state(j->e, MM_ST_QUEUED, NULL, NULL, 0, NULL);
	if (mm_reg_str(&j->rec.reason, text, err))
		return -1;
	return commit(d, j->e, j, err);
}

static int give_up(struct mm_daemon *d, struct mm_job *j, const struct mm_err *why, struct mm_err *err)
{
	struct mm_model_entry *e = j->e;
	char text[1200];
	if (j->rec.attempts > 1)
		snprintf(text, sizeof text, "%s (%u attempts)", why->text, j->rec.attempts);
	else
		snprintf(text, sizeof text, "%s", why->text);
	mm_log(MM_LOG_WARN, "%s: failed: %s", e->rec.name, text);
	mm_reg_state(e, MM_ST_FAILED, mm_err_name(why->code), NULL, 0, text);
	if (!mm_reg_is_scored(e))
		return mm_queue_end(d, e, MM_JOB_FAILED, err);
	/* Scored again without success: what was known of the same content stays true. */
	int rc = mm_queue_end(d, e, MM_JOB_FAILED, err);
	mm_reg_restore(e);
	return rc || mm_reg_save(d, e, err) ? -1 : 0;
}

void mm_queue_ended(
	struct mm_daemon *d, struct mm_job *j, enum mm_outcome how, struct mm_result *r, const struct mm_err *why)
{
	struct mm_model_entry *e = j->e;
	struct mm_err err, lost;
	int rc = 0;
	j->run = NULL;
	if (how == MM_RUN_DONE && mm_result_commit(d, j, r, &lost)) {
		how = MM_RUN_RETRY; /* a full disk: the cause may pass */
		why = &lost;
	}
	if (how == MM_RUN_RETRY && j->rec.attempts > d->cfg.score.retries)
		how = MM_RUN_FAILED;
	d->counts.done += how == MM_RUN_DONE;
	d->counts.failed += how == MM_RUN_FAILED;
	d->counts.retried += how == MM_RUN_RETRY;
	d->counts.changed += how == MM_RUN_CHANGED;
	if (how == MM_RUN_FAILED || how == MM_RUN_RETRY)
		d->counts.why[why->code]++;
	switch (how) {
	case MM_RUN_DONE:
		to_history(d->queue, j);
		prune(d);
		mm_ready_twin_done(d, e);
		break;
	case MM_RUN_RETRY:
		rc = retry_later(d, j, why, &err);
		break;
	case MM_RUN_CHANGED:
		mm_reg_state(e, MM_ST_WAITING, "changed", NULL, 0, why->text);
		rc = mm_queue_wait(d, e, &err);
		mm_ready_again(d, e, "the files changed while they were scored");
		break;
	case MM_RUN_FAILED:
		rc = give_up(d, j, why, &err);
		mm_alerts_model(d, e);
		mm_ready_twin_done(d, e);
		break;
	}
	if (rc)
		mm_log(MM_LOG_ERROR, "%s", err.text);
	mm_queue_kick(d);
}

/* ---- start and stop ---- */

struct load {
	struct mm_daemon *d;
	uint64_t *drop; /* rows that belong to no model, or to a model that has a newer live one */
	size_t n_drop, cap_drop;
};

static int drop_row(struct load *l, uint64_t id, struct mm_err *err)
{
	if (mm_grow(&l->drop, &l->cap_drop, l->n_drop + 1, sizeof *l->drop, err))
		return -1;
	l->drop[l->n_drop++] = id;
	return 0;
}

static int load_one(const struct mm_job_rec *rec, void *ctx, struct mm_err *err)
{
	struct load *l = ctx;
	struct mm_queue *q = l->d->queue;
	struct mm_model_entry *e = mm_reg_by_id(l->d, rec->model);
	bool live = rec->state <= MM_JOB_RUNNING;
	if (!e || (live && mm_job_of(e)))
		return drop_row(l, rec->id, err);
	struct mm_job *had = mm_job_of(e), *j = live_new(l->d, e, err);
	if (!j)
		return -1;
	mm_job_rec_fini(&j->rec);
	j->rec = *rec;
	j->rec.reason = NULL;
	if (rec->reason && !(j->rec.reason = mm_strdup(rec->reason, err)))
		return -1;
	if (live)
		return 0;
	to_history(q, j);
	e->job_state = had;
	return 0;
}

/* After a crash: nothing runs; every queued model has a queued job and the reverse. */
static int heal(struct mm_daemon *d, struct mm_err *err)
{
	for (size_t i = 0; i < mm_reg_n(d); i++) {
		struct mm_model_entry *e = mm_reg_at(d, i);
		struct mm_job *j = mm_job_of(e);
		bool queued = e->rec.state == MM_ST_QUEUED || e->rec.state == MM_ST_RUNNING;
		if (queued && (!j || e->rec.state == MM_ST_RUNNING || j->rec.state != MM_JOB_QUEUED)) {
			uint32_t attempts = j ? j->rec.attempts : 0;
			mm_reg_state(e, MM_ST_QUEUED, NULL, NULL, 0, NULL);
			if (!j && !(j = live_new(d, e, err)))
				return -1;
			j->rec.state = MM_JOB_QUEUED;
			j->rec.attempts = attempts ? attempts - 1 : 0; /* it was not its fault */
			if (mm_reg_commit(d, &(struct mm_commit){ .e = e, .job = { &j->rec } }, err))
				return -1;
		} else if (!queued && j && e->rec.state != MM_ST_WAITING && e->rec.state != MM_ST_NEVER_READY) {
			j->rec.state = MM_JOB_CANCELLED;
			j->rec.finished = mm_now();
			if (mm_reg_commit(d, &(struct mm_commit){ .e = e, .job = { &j->rec } }, err))
				return -1;
			to_history(d->queue, j);
		}
	}
	return 0;
}

int mm_queue_start(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_queue *q = d->queue = mm_calloc(1, sizeof *q, err);
	struct load l = { .d = d };
	if (!q)
		return -1;
	struct mm_txn *t = mm_txn_begin(d->store, false, err);
	if (!t)
		return -1;
	int rc = mm_job_each(t, load_one, &l, err);
	mm_txn_abort(t);
	if (!rc && l.n_drop)
		rc = mm_reg_commit(d, &(struct mm_commit){ .del_job = l.drop, .n_del_job = l.n_drop }, err);
	mm_free(l.drop);
	if (rc || heal(d, err))
		return mm_wrap(err, "cannot read the jobs");
	int r = sd_event_add_defer(d->loop, &q->kick, on_kick, d);
	if (r >= 0)
		r = sd_event_source_set_enabled(q->kick, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_priority(q->kick, SD_EVENT_PRIORITY_NORMAL + 12);
	if (r >= 0)
		r = sd_event_add_time_relative(d->loop, &q->timer, CLOCK_MONOTONIC, 0, 100000, on_timer, d);
	errno = -r;
	return r < 0 ? mm_fail_errno(err, "cannot set up the queue") : 0;
}

void mm_queue_stop(struct mm_daemon *d)
{
	struct mm_queue *q = d->queue;
	struct mm_err err;
	if (!q)
		return;
	for (size_t i = 0; i < q->n; i++) {
		struct mm_job *j = q->live[i];
		if (j->rec.state != MM_JOB_RUNNING)
			continue;
		j->rec.state = MM_JOB_QUEUED;
		j->rec.attempts -= j->rec.attempts > 0;
		mm_reg_state(j->e, MM_ST_QUEUED, NULL, NULL, 0, NULL);
		if (mm_reg_commit(d, &(struct mm_commit){ .e = j->e, .job = { &j->rec } }, &err))
			mm_log(MM_LOG_ERROR, "%s", err.text);
	}
	sd_event_source_disable_unref(q->kick);
	sd_event_source_disable_unref(q->timer);
	for (size_t i = 0; i < q->n; i++) {
		q->live[i]->e->job_state = NULL;
		job_free(q->live[i]);
	}
	for (size_t i = 0; i < q->n_old; i++)
		job_free(q->old[i]);
	mm_free(q->live);
	mm_free(q->old);
	mm_free(q);
	d->queue = NULL;
}
