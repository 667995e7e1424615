/* queue_json.c - jobs as clients see them, their counts, and the progress of running ones. */
#include "daemon/core_priv.h"

#include <math.h>
#include <string.h>

#define PROGRESS_S 0.5 /* a running job tells its progress at most this often */

static void set(json_t *o, const char *key, json_t *v)
{
	json_object_set_new(o, key, v ? v : json_null());
}

static double share(const struct mm_job *j)
{
	if (j->rec.state == MM_JOB_DONE)
		return 1;
	if (j->tokens_total)
		return MM_MIN((double)j->tokens / (double)j->tokens_total, 1.0);
	return j->total ? MM_MIN((double)j->done / (double)j->total, 1.0) : 0;
}

json_t *mm_job_json(const struct mm_daemon *d, const struct mm_job *j)
{
	const struct mm_job_rec *r = &j->rec;
	json_t *o = json_object();
	(void)d;
	if (!o)
		return NULL;
	set(o, "id", json_integer((json_int_t)r->id));
	set(o, "model", json_string(j->e->rec.name));
	set(o, "state", json_string(mm_job_state_name(r->state)));
	set(o, "reason", r->reason ? json_string(r->reason) : NULL);
	set(o, "progress", r->state == MM_JOB_RUNNING || r->state == MM_JOB_DONE ? json_real(share(j)) : NULL);
	set(o, "eta_s", r->state == MM_JOB_RUNNING && j->eta_s >= 0 ? json_real(j->eta_s) : NULL);
	set(o, "attempts", json_integer(r->attempts));
	set(o, "created", json_integer(r->created));
	set(o, "started", r->started ? json_integer(r->started) : NULL);
	set(o, "finished", r->finished ? json_integer(r->finished) : NULL);
	set(o, "not_before", r->not_before ? json_integer(r->not_before) : NULL);
	if (r->state <= MM_JOB_WAITING || r->state == MM_JOB_FAILED) {
		set(o, "reason_code", j->e->rec.reason_code ? json_string(j->e->rec.reason_code) : NULL);
		set(o, "reason_file", j->e->rec.reason_file ? json_string(j->e->rec.reason_file) : NULL);
		set(o, "missing_bytes",
			j->e->rec.missing_bytes ? json_integer((json_int_t)j->e->rec.missing_bytes) : NULL);
	}
	if (r->state == MM_JOB_RUNNING) {
		set(o, "stage", json_string(j->stage));
		set(o, "done", json_integer((json_int_t)j->done));
		set(o, "total", json_integer((json_int_t)j->total));
		set(o, "tokens", json_integer((json_int_t)j->tokens));
		set(o, "tokens_total", json_integer((json_int_t)j->tokens_total));
		set(o, "tokens_per_s", json_real(j->tokens_per_s));
	}
	return o;
}

static void add_settling(void *ctx, const char *name, const char *reason)
{
	json_array_append_new(ctx, json_pack("{s:n, s:s, s:s, s:s, s:n, s:n}", "id", "model", name, "state", "waiting",
					   "reason", reason, "progress", "eta_s"));
}

/* Running ones first, then queued, waiting, failed ones; `all`: the history too, newest first. */
json_t *mm_queue_json(struct mm_daemon *d, bool all)
{
	static const enum mm_job_state order[] = { MM_JOB_RUNNING, MM_JOB_QUEUED, MM_JOB_WAITING };
	const struct mm_queue *q = d->queue;
	json_t *list = json_array();
	for (size_t k = 0; list && k < MM_COUNT(order); k++)
		for (size_t i = 0; i < q->n; i++)
			if (q->live[i]->rec.state == order[k])
				json_array_append_new(list, mm_job_json(d, q->live[i]));
	if (list)
		mm_ready_each_settling(d, add_settling, list);
	for (size_t i = q->n_old; list && i-- > 0;) {
		const struct mm_job *j = q->old[i];
		/* A failure stands until the model has a newer job or another state. */
		bool stands = j->rec.state == MM_JOB_FAILED && !j->e->rec.gone && !mm_job_of(j->e) &&
			      (j->e->rec.state == MM_ST_FAILED || j->e->rec.state == MM_ST_NEVER_READY);
		for (size_t k = i + 1; stands && !all && k < q->n_old; k++)
			stands = q->old[k]->e != j->e;
		if (all || stands)
			json_array_append_new(list, mm_job_json(d, j));
	}
	return list;
}

static void count_settling(void *ctx, const char *name, const char *reason)
{
	size_t *n = ctx;
	(void)name, (void)reason;
	*n += 1;
}

void mm_queue_count(const struct mm_daemon *d, struct mm_queue_count *c)
{
	*c = (struct mm_queue_count){ 0 };
	for (size_t i = 0; i < mm_reg_n(d); i++) {
		const struct mm_model_rec *r = &mm_reg_at(d, i)->rec;
		if (r->gone)
			continue;
		c->waiting += r->state == MM_ST_WAITING || r->state == MM_ST_SEEN;
		c->queued += r->state == MM_ST_QUEUED;
		c->running += r->state == MM_ST_RUNNING;
		c->failed += r->state == MM_ST_FAILED || r->state == MM_ST_NEVER_READY;
	}
	mm_ready_each_settling((struct mm_daemon *)(uintptr_t)d, count_settling, &c->waiting);
}

/* ---- progress: what the scorer says of itself, so no number is taken on trust ---- */

static uint64_t number(const json_t *p, const char *key)
{
	const json_t *v = json_object_get(p, key);
	return json_is_integer(v) && json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v) : 0;
}

static double real(const json_t *p, const char *key, double otherwise)
{
	const json_t *v = json_object_get(p, key);
	double x = json_is_number(v) ? json_number_value(v) : otherwise;
	return isfinite(x) && x >= 0 && x < 1e15 ? x : otherwise;
}

void mm_queue_progress(struct mm_daemon *d, struct mm_job *j, const json_t *p)
{
	const char *stage = json_string_value(json_object_get(p, "stage"));
	char before[sizeof j->stage];
	memcpy(before, j->stage, sizeof before);
	if (stage)
		mm_utf8_sanitize(j->stage, sizeof j->stage, stage, strlen(stage));
	j->done = number(p, "done");
	j->total = number(p, "total");
	j->tokens = number(p, "tokens");
	j->tokens_total = number(p, "tokens_total");
	j->tokens_per_s = real(p, "tokens_per_s", 0);
	j->eta_s = real(p, "eta_s", -1);
	if (j->eta_s < 0 && j->tokens_per_s > 0 && j->tokens_total >= j->tokens)
		j->eta_s = (double)(j->tokens_total - j->tokens) / j->tokens_per_s;
	double now = mm_monotonic();
	if (now - j->last_event < PROGRESS_S && !strcmp(before, j->stage))
		return;
	j->last_event = now;
	mm_event(d, "job", mm_job_json(d, j));
}
