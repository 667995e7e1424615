/* check.c: when which model is tested for leaks, and what happens with the results.
 *
 *	model placed, scored again, gone, alert changed --kick--> (quiet?) --snapshot--> worker (check_run.c)
 *	     --results--> rows (check_rows.c) --replayed in the order of the hypotheses--> discoveries --> alert_rules.c
 *
 * One hypothesis for each content of a model, in the order of their first tests. A later test of the same content (new
 * relatives) replaces its p-value and the whole stream is replayed, so that what is stored always explains what was
 * decided. Models that are thought to be leaked, or have an open anomaly, predict nobody. Loop thread; the worker sees
 * a snapshot whose vectors the map keeps. */
#include "daemon/check_priv.h"
#include "daemon/core_priv.h"
#include "daemon/map_priv.h"

#include <stdlib.h>
#include <string.h>

#define QUIET_US  500000ull /* after the last change */
#define AGAIN_US  2000000ull
#define PATIENCE  60  /* seconds that a busy queue may hold up the tests */
#define SWEEP_ALL 128 /* up to so many models every arrival tests all; above, the new ones and their kin */

bool mm_check_due(const struct mm_daemon *d)
{
	const struct mm_check *c = d->alerts ? d->alerts->check : NULL;
	return c && (c->running || c->timer);
}

/* ---- results ---- */

/* p-values over all models that have a test, those of this sweep and older ones. */
static int decide(struct mm_sweep *w, struct mm_err *err)
{
	struct mm_leak_test *t = mm_calloc(w->k, sizeof(*t), err);
	bool *leaked = t ? mm_calloc(w->k, sizeof(*leaked), err) : NULL;
	int rc = leaked ? 0 : -1;
	for (size_t i = 0; leaked && i < w->k; i++) {
		t[i] = w->m[i].t;
		leaked[i] = w->m[i].leaked;
	}
	if (rc == 0)
		rc = mm_leak_decide(t, leaked, w->k, err);
	for (size_t i = 0; rc == 0 && i < w->k; i++)
		w->m[i].t = t[i];
	mm_free(leaked);
	mm_free(t);
	return rc;
}

const struct mm_check_odd *mm_check_odd_of(const struct mm_daemon *d, const struct mm_model_entry *e)
{
	const struct mm_check *c = d->alerts ? d->alerts->check : NULL;
	size_t from = 0, to = c ? c->n_odd : 0;
	while (from < to) {
		size_t at = from + (to - from) / 2;
		if (c->odd[at]->model < e->rec.id)
			from = at + 1;
		else
			to = at;
	}
	bool there = c && from < c->n_odd && c->odd[from]->model == e->rec.id;
	return there && mm_hash_eq(c->odd[from]->full, e->rec.full) ? c->odd[from] : NULL;
}

enum mm_alert_kind mm_check_broken(const struct mm_daemon *d, const struct mm_model_entry *e)
{
	static const enum mm_alert_kind kinds[] = { MM_AK_TOKENIZER_MISMATCH, MM_AK_OVERFLOW, MM_AK_DAMAGED,
		MM_AK_DIVERGED };
	const struct mm_check_odd *o = mm_check_odd_of(d, e);
	for (size_t i = 0; o && i < MM_COUNT(kinds); i++)
		if (o->odd[kinds[i] - MM_ODD_FIRST].cause)
			return kinds[i];
	return MM_AK_COUNT;
}

static void odd_clear(struct mm_check_odd *o)
{
	for (size_t i = 0; i < MM_ODD_COUNT; i++)
		mm_finding_fini(&o->odd[i]);
}

/* Kept by ascending ids. */
static int take_odd(struct mm_check *c, struct mm_check_model *m, const struct mm_model_entry *e, struct mm_err *err)
{
	size_t at = c->n_odd;
	while (at > 0 && c->odd[at - 1]->model > m->id)
		at--;
	if (at == 0 || c->odd[at - 1]->model != m->id) {
		struct mm_check_odd *o = mm_calloc(1, sizeof(*o), err);
		if (!o || mm_grow(&c->odd, &c->cap_odd, c->n_odd + 1, sizeof(struct mm_check_odd *), err)) {
			mm_free(o);
			return -1;
		}
		memmove(c->odd + at + 1, c->odd + at, (c->n_odd - at) * sizeof(*c->odd));
		c->odd[at++] = o;
		c->n_odd++;
	}
	struct mm_check_odd *o = c->odd[at - 1];
	odd_clear(o);
	o->model = m->id;
	o->full = e->rec.full;
	memcpy(o->asked, m->asked, sizeof(o->asked));
	memcpy(o->odd, m->odd, sizeof(o->odd)); /* taken */
	memset(m->odd, 0, sizeof(m->odd));
	return 0;
}

static int take(struct mm_daemon *d, struct mm_sweep *w, struct mm_err *err)
{
	struct mm_check *c = d->alerts->check;
	uint64_t seq = c->n ? c->row[c->n - 1]->seq : 0;
	if (decide(w, err))
		return -1;
	for (size_t i = 0; i < w->k; i++) {
		struct mm_check_model *m = &w->m[i];
		struct mm_model_entry *e = mm_reg_by_id(d, m->id);
		if (!e || !m->test || mm_map_vec(d, e) != m->vec)
			continue; /* gone or scored again meanwhile: the next sweep */
		bool broken = mm_odd_broken(m) || !m->healthy;
		if (take_odd(c, m, e, err))
			return -1;
		if (!w->leaks || broken)
			continue;
		struct mm_check_row *r = (struct mm_check_row *)mm_check_of(d, e);
		if (!r) {
			r = mm_check_row_of(c, m->id); /* other content under the same id: a new hypothesis */
			if (!r && !(r = mm_check_row_add(c, err)))
				return -1;
			r->seq = ++seq;
			r->model = m->id;
			r->full = e->rec.full;
		}
		r->tested_at = mm_now();
		r->n_models = w->k;
		r->test = m->t;
		r->p = m->t.p_all;
		r->refuted = m->refuted;
		r->dirty = true;
		json_decref(r->more);
		r->more = m->more;
		m->more = NULL;
	}
	return mm_check_replay(d, err) || mm_check_save(d, err) ? -1 : 0;
}

static void sweep_done(struct mm_daemon *d, void *ctx, bool cancelled)
{
	struct mm_sweep *w = ctx;
	struct mm_check *c = d->alerts ? d->alerts->check : NULL;
	struct mm_err err;
	if (d->map)
		mm_map_unpin(d);
	if (c) {
		c->size = w->size;
		w->size = NULL;
		c->running = false;
		c->sweep = NULL;
		c->last = (int64_t)mm_monotonic();
		if (w->failed)
			mm_log(MM_LOG_ERROR, "alerts: tests: %s", w->err.text);
		else if (!cancelled && !d->stopping) {
			if (take(d, w, &err))
				mm_log(MM_LOG_ERROR, "alerts: tests: %s", err.text);
			for (size_t i = 0; i < w->k; i++) {
				struct mm_model_entry *e = w->m[i].test ? mm_reg_by_id(d, w->m[i].id) : NULL;
				if (e)
					mm_alerts_model(d, e);
			}
			mm_check_kick(d); /* who is leaked may have changed who may predict */
		}
	}
	mm_sweep_free(w);
}

/* ---- a sweep ---- */

static void choose(struct mm_daemon *d, struct mm_sweep *w)
{
	struct mm_check *c = d->alerts->check;
	bool all = w->k <= SWEEP_ALL || (c->forced && !c->forced_model);
	for (size_t i = 0; i < w->k; i++) {
		struct mm_check_model *m = &w->m[i];
		const struct mm_check_row *r = mm_check_of(d, mm_reg_by_id(d, m->id));
		bool fresh = !r || (c->forced && c->forced_model == m->id);
		m->test = m->test && (all || fresh || r->found || r->p < 0.01);
		if (r)
			m->t = r->test;
		for (size_t j = 0; fresh && !all && j < w->k; j++)
			if (w->m[j].group == m->group)
				w->m[j].test = true;
	}
}

static bool begin(struct mm_daemon *d, const char **why)
{
	struct mm_check *c = d->alerts->check;
	struct mm_err err;
	struct mm_sweep *w = mm_sweep_new(d, &err);
	*why = "out of memory";
	if (!w)
		return false;
	*why = "no models on the map yet";
	if (!w->k || (!c->forced && w->sign == c->sign)) {
		mm_sweep_free(w);
		return false;
	}
	choose(d, w);
	c->forced = false;
	c->sign = w->sign;
	w->size = c->size; /* lent; sweep_done takes it back */
	c->size = NULL;
	struct mm_work work = { mm_sweep_run, sweep_done, w };
	if (mm_worker_submit(d, &work, &err)) {
		mm_log(MM_LOG_ERROR, "alerts: tests: %s", err.text);
		mm_sweep_free(w);
		return false;
	}
	mm_map_pin(d);
	c->running = true;
	c->sweep = w;
	return true;
}

/* ---- when ---- */

static bool busy(const struct mm_daemon *d)
{
	for (size_t i = 0; d->queue && i < d->queue->n; i++) {
		enum mm_job_state s = d->queue->live[i]->rec.state;
		if (s == MM_JOB_QUEUED || s == MM_JOB_RUNNING)
			return true;
	}
	return false;
}

static void arm(struct mm_daemon *d, uint64_t usec);

static int on_timer(sd_event_source *s, uint64_t now, void *ctx)
{
	struct mm_daemon *d = ctx;
	struct mm_check *c = d->alerts->check;
	const char *why;
	(void)s, (void)now;
	c->timer = sd_event_source_disable_unref(c->timer);
	if (c->running || d->stopping)
		return 0; /* what runs kicks again when it is done */
	if (!c->forced && busy(d) && (int64_t)mm_monotonic() - c->last < PATIENCE) {
		arm(d, AGAIN_US);
		return 0;
	}
	begin(d, &why);
	return 0;
}

static void arm(struct mm_daemon *d, uint64_t usec)
{
	struct mm_check *c = d->alerts->check;
	if (c->timer)
		return;
	if (sd_event_add_time_relative(d->loop, &c->timer, CLOCK_MONOTONIC, usec, 100000, on_timer, d) < 0)
		mm_log(MM_LOG_WARN, "alerts: no timer for the tests; the next change tries again");
}

void mm_check_kick(struct mm_daemon *d)
{
	struct mm_check *c = d->alerts ? d->alerts->check : NULL;
	if (c && d->map && d->loop && !c->running)
		arm(d, QUIET_US);
}

bool mm_check_now(struct mm_daemon *d, uint64_t model, const char **why)
{
	struct mm_check *c = d->alerts->check;
	*why = "no models on the map yet";
	if (!d->map || !mm_check_n_live(d))
		return false;
	c->forced_model = c->forced && c->forced_model != model ? 0 : model;
	c->forced = true;
	mm_check_kick(d);
	return true;
}

/* ---- start, stop ---- */

int mm_check_start(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_check *c = d->alerts->check = mm_calloc(1, sizeof(*c), err);
	if (!c)
		return -1;
	c->last = (int64_t)mm_monotonic();
	if (!d->store || !d->map)
		return 0;
	int rc = mm_check_load(d, err);
	if (rc == 0)
		mm_check_kick(d);
	return rc;
}

void mm_check_stop(struct mm_daemon *d)
{
	struct mm_check *c = d->alerts->check;
	if (!c)
		return;
	sd_event_source_disable_unref(c->timer);
	for (size_t i = 0; i < c->n; i++)
		mm_check_row_free(c->row[i]);
	for (size_t i = 0; i < c->n_odd; i++) {
		odd_clear(c->odd[i]);
		mm_free(c->odd[i]);
	}
	mm_check_facts_free(c);
	mm_free(c->size);
	mm_free(c->odd);
	mm_free(c->by_model);
	mm_free(c->row);
	mm_free(c);
	d->alerts->check = NULL;
}
