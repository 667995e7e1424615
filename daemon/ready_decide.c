/* ready_decide.c - what an answer of the probe means: the state machine of a model before it is scored.
 *
 *   answer       what is known of the path            what follows
 *   waiting      -                                    WAITING(reason); NEVER_READY after give_up without a change
 *   failed       -                                    FAILED(reason); any change of the files reopens
 *   ready        the same content, scored             nothing (a model that was gone is there again)
 *   ready        other content, scored                the old record becomes history "name@time"; the new one goes on:
 *   ready        the content of a model that is gone  that model is renamed; nothing is scored again
 *   ready        the content of a model that is there a copy: same_as; nothing is scored again
 *   ready        like a model that is being scored    WAITING for that score, then one of the two above or QUEUED
 *   ready        new                                  QUEUED
 *
 * "Like" is the quick fingerprint; "the same" is proved by the full one, which a second child computes only when the
 * quick one has been seen before. A file whose name, size, mtime and inode are those of the last time is taken as
 * unchanged when its quick fingerprint is.
 */
#include "daemon/core_priv.h"

#include <string.h>

#define LOOK_MIN_S   2.0   /* a waiting checkpoint is looked at again after settle, then ever more seldom: writers on */
#define LOOK_MAX_S   60.0  /* other machines and through mappings raise no events */
#define LOOK_NEVER_S 600.0 /* after give_up */
#define ERRORS_MAX   3	   /* probes that fail themselves, in a row */

static void log_error(const struct mm_err *err)
{
	mm_log(MM_LOG_ERROR, "%s", err->text);
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static void failed_here(struct mm_cand *c, struct mm_err *err)
{
	/* A full disk, no memory: what is on the disk is not lost, so later is early enough. */
	log_error(err);
	mm_ready_timer(c, LOOK_MAX_S);
}

/* ---- waiting ---- */

static void look_again(struct mm_cand *c, double left)
{
	double settle = c->d->cfg.watch.settle;
	c->delay = c->delay > 0 ? MM_MIN(c->delay * 1.5, LOOK_MAX_S) : MM_MAX(settle, LOOK_MIN_S);
	mm_ready_timer(c, left > 0 ? MM_MIN(c->delay, left) : LOOK_NEVER_S);
}

static int wait_for(
	struct mm_cand *c, const char *code, const char *file, uint64_t missing, const char *text, struct mm_err *err)
{
	struct mm_daemon *d = c->d;
	struct mm_model_entry *e = mm_cand_record(c, err);
	if (!e)
		return -1;
	if (e->rec.state == MM_ST_CANCELLED && !c->changed)
		return 0; /* a user took it out: only a change brings it back */
	int64_t now = mm_now();
	enum mm_model_state was = e->rec.state;
	bool fresh = c->changed || (was != MM_ST_WAITING && was != MM_ST_NEVER_READY);
	int64_t since = fresh ? now : e->rec.state_since;
	double left = d->cfg.watch.give_up - (double)(now - since);
	if (was == MM_ST_NEVER_READY && !fresh)
		left = 0;
	if (!strcmp(code, "twin"))
		left = LOOK_MAX_S; /* its files are whole: it waits for us */
	enum mm_model_state st = left > 0 ? MM_ST_WAITING : MM_ST_NEVER_READY;
	bool news = fresh || e->rec.gone || st != was || !same(e->rec.reason, text) ||
		    !same(e->rec.reason_file, file) || e->rec.missing_bytes != missing;
	mm_reg_state(e, st, code, file, missing, text);
	if (st == MM_ST_WAITING)
		e->rec.state_since = since;
	e->rec.gone = false;
	if (!mm_reg_is_scored(e))
		e->rec.files = c->files;
	c->changed = false;
	c->stat_id = (struct mm_hash){ 0 };
	look_again(c, left);
	if (!news)
		return 0;
	if (st != was || fresh)
		mm_log(st == MM_ST_WAITING ? MM_LOG_INFO : MM_LOG_WARN, "%s: %s: %s", e->rec.name,
			mm_model_state_name(st), text);
	int rc = st == MM_ST_WAITING ? mm_queue_wait(d, e, err) : mm_queue_end(d, e, MM_JOB_FAILED, err);
	mm_alerts_model(d, e);
	return rc;
}

void mm_decide_writing(struct mm_cand *c)
{
	struct mm_err err;
	char text[600];
	snprintf(text, sizeof text, "%s is being written: its writer has not closed it yet",
		c->open_file ? c->open_file : "a file");
	if (wait_for(c, "writing", c->open_file, 0, text, &err))
		failed_here(c, &err);
}

/* ---- failed ---- */

static int retire_scored(struct mm_cand *c, struct mm_err *err)
{
	struct mm_model_entry *e = c->e;
	if (!e || !mm_reg_is_scored(e))
		return 0;
	if (e->rec.same_as) { /* a copy has no vector of its own to keep: its record takes the new content */
		e->rec.same_as = 0;
		e->rec.scored_at = 0;
		e->not_finite = false;
		return mm_reg_set_full(c->d, e, (struct mm_hash){ 0 }, err);
	}
	mm_reg_restore(e);
	if (mm_queue_end(c->d, e, MM_JOB_CANCELLED, err) || mm_reg_retire(c->d, e, err))
		return -1;
	e->ready_state = NULL;
	c->e = NULL;
	mm_log(MM_LOG_NOTICE, "%s: the files hold another model now, the old one is kept as history", e->rec.name);
	mm_alerts_model(c->d, e);
	mm_ready_twin_done(c->d, e);
	return 0;
}

static int fail_with(struct mm_cand *c, const struct mm_probe_result *p, struct mm_err *err)
{
	struct mm_daemon *d = c->d;
	if (retire_scored(c, err))
		return -1;
	struct mm_model_entry *e = mm_cand_record(c, err);
	if (!e || mm_cand_meta(&e->rec, p, err) || mm_reg_set_quick(d, e, p->quick, err))
		return -1;
	bool news = e->rec.state != MM_ST_FAILED || c->changed || e->rec.gone || !same(e->rec.reason, p->text);
	mm_reg_state(e, MM_ST_FAILED, p->code, p->file, p->missing_bytes, p->text ? p->text : p->code);
	e->rec.gone = false;
	e->rec.files = c->files;
	c->stat_id = p->stat_id;
	mm_cand_accepted(c);
	if (!news)
		return 0;
	mm_log(MM_LOG_WARN, "%s: failed: %s", e->rec.name, e->rec.reason);
	int rc = mm_queue_end(d, e, MM_JOB_FAILED, err);
	mm_alerts_model(d, e);
	mm_ready_twin_done(d, e);
	return rc;
}

void mm_decide_error(struct mm_cand *c, const struct mm_err *why)
{
	struct mm_err err;
	char *text = mm_strdup(why->text, &err);
	int rc = -1;
	c->n_error++;
	/* A probe that dies of the same files again and again: the cause lies in them. */
	if (text && why->code == MM_EINTERNAL && c->n_error >= ERRORS_MAX) {
		struct mm_probe_result p = { .failed = true, .code = "probe_failed", .text = text };
		rc = fail_with(c, &p, &err);
	} else if (text) {
		rc = wait_for(c, "probe_failed", NULL, 0, text, &err);
	}
	mm_free(text);
	if (rc)
		failed_here(c, &err);
}

/* ---- ready ---- */

/* The path holds what its record says. */
static int unchanged(struct mm_cand *c, struct mm_err *err)
{
	struct mm_daemon *d = c->d;
	struct mm_model_entry *e = c->e;
	bool back = e->rec.gone, news = back || !mm_hash_eq(e->rec.files, c->files);
	e->rec.gone = false;
	e->rec.files = c->files;
	c->stat_id = c->probe.stat_id;
	if (mm_reg_is_scored(e) && (e->rec.state == MM_ST_WAITING || e->rec.state == MM_ST_NEVER_READY ||
					   (back && e->rec.state != MM_ST_FAILED))) {
		mm_reg_restore(e);
		news = true;
		if (mm_queue_end(d, e, MM_JOB_DONE, err))
			return -1;
	}
	mm_cand_accepted(c);
	if (!news)
		return 0;
	int rc = mm_reg_save(d, e, err);
	if (back) {
		mm_log(MM_LOG_INFO, "%s is there again", e->rec.name);
		mm_alerts_model(d, e);
	}
	return rc;
}

static int enqueue(struct mm_cand *c, struct mm_err *err)
{
	struct mm_daemon *d = c->d;
	struct mm_model_entry *e = mm_cand_record(c, err);
	if (!e || mm_cand_meta(&e->rec, &c->probe, err) || mm_reg_set_quick(d, e, c->probe.quick, err) ||
		mm_reg_set_full(d, e, (struct mm_hash){ 0 }, err))
		return -1;
	e->rec.gone = false;
	e->rec.files = c->files;
	c->stat_id = c->probe.stat_id;
	mm_cand_accepted(c);
	mm_reg_state(e, MM_ST_QUEUED, NULL, NULL, 0, NULL);
	e->rec.attempts = 0;
	mm_log(MM_LOG_INFO, "%s is complete, queued", e->rec.name);
	int rc = mm_queue_add(d, e, err);
	mm_alerts_model(d, e);
	return rc;
}

/* The path holds the content of r, whose own path is gone. */
static int renamed(struct mm_cand *c, struct mm_model_entry *r, struct mm_err *err)
{
	struct mm_daemon *d = c->d;
	struct mm_model_entry *e = c->e;
	char *old = mm_strdup(r->rec.name, err), *name = NULL;
	int rc = -1;
	if (!old)
		return -1;
	if (e) { /* never scored: it goes, and its jobs and alerts with it */
		e->rec.gone = true;
		mm_alerts_model(d, e);
		if (mm_queue_forget(d, e, err))
			goto out;
		c->e = NULL;
		e->ready_state = NULL;
		if (mm_reg_drop(d, e, err))
			goto out;
	}
	if (!(name = mm_reg_make_name(d, c->root, c->path, r, err)) || mm_reg_set_path(d, r, name, c->path, err))
		goto out;
	mm_free(r->rec.run);
	r->rec.run = NULL;
	if (mm_reg_run_step(c->root, c->path, &r->rec.run, &r->rec.step, err))
		goto out;
	mm_cand_attach(c, r);
	mm_log(MM_LOG_NOTICE, "%s was renamed to %s", old, r->rec.name);
	r->rec.gone = true; /* so that the alerts look at it again */
	rc = unchanged(c, err);
out:
	mm_free(old);
	mm_free(name);
	return rc;
}

/* The path holds the content of r, which is still there. */
static int copied(struct mm_cand *c, struct mm_model_entry *r, struct mm_err *err)
{
	struct mm_daemon *d = c->d;
	struct mm_model_entry *e = mm_cand_record(c, err);
	if (!e || mm_cand_meta(&e->rec, &c->probe, err) || mm_reg_set_quick(d, e, r->rec.quick, err) ||
		mm_reg_set_full(d, e, r->rec.full, err) || mm_reg_str(&e->rec.compute, r->rec.compute, err) ||
		mm_reg_str(&e->rec.scorer, r->rec.scorer, err))
		return -1;
	struct mm_model_rec *to = &e->rec;
	to->same_as = r->rec.id;
	to->gone = false;
	to->files = c->files;
	to->scored_at = mm_now();
	to->n_tokens = r->rec.n_tokens;
	to->n_cut = r->rec.n_cut;
	to->mean_loglik = r->rec.mean_loglik;
	to->bits_per_byte = r->rec.bits_per_byte;
	to->params = r->rec.params;
	e->not_finite = r->not_finite;
	if (r->not_finite)
		mm_reg_state(e, MM_ST_FAILED, "not_finite", r->rec.reason_file, 0, r->rec.reason);
	else
		mm_reg_state(e, MM_ST_PLACED, NULL, NULL, 0, NULL);
	c->stat_id = c->probe.stat_id;
	mm_cand_accepted(c);
	mm_log(MM_LOG_NOTICE, "%s is the same model as %s", e->rec.name, r->rec.name);
	if (mm_queue_end(d, e, r->not_finite ? MM_JOB_FAILED : MM_JOB_DONE, err))
		return -1;
	if (!r->not_finite)
		mm_map_scored(d, e);
	mm_alerts_model(d, e);
	return 0;
}

/* A model with the same content: one whose files are gone comes first, then this is a rename. */
static struct mm_model_entry *find_same(struct mm_cand *c, struct mm_hash full)
{
	struct mm_model_entry *r, *there = mm_reg_scored_full(c->d, full, c->e), *away = NULL;
	size_t at = 0;
	while ((r = mm_reg_next_quick(c->d, c->probe.quick, &at)))
		if (r != c->e && mm_reg_is_scored(r) && mm_hash_eq(r->rec.full, full) && !mm_ready_present(r) &&
			(!away || r->rec.id < away->rec.id))
			away = r;
	return away ? away : there;
}

/* Not the content that its record holds (if there is one): rename, copy, twin of a running one, or new. */
static int fresh(struct mm_cand *c, struct mm_err *err)
{
	struct mm_model_entry *r, *running = NULL;
	bool seen = false;
	size_t at = 0;
	if (retire_scored(c, err))
		return -1;
	while ((r = mm_reg_next_quick(c->d, c->probe.quick, &at))) {
		if (r == c->e)
			continue;
		seen |= mm_reg_is_scored(r) && !mm_hash_is_zero(r->rec.full);
		if (!mm_reg_is_scored(r) && (r->rec.state == MM_ST_QUEUED || r->rec.state == MM_ST_RUNNING) &&
			mm_ready_present(r))
			running = r;
	}
	if (seen) {
		mm_ready_ask(c, MM_ASK_FULL);
		return 0;
	}
	if (!running)
		return enqueue(c, err);
	char text[600];
	snprintf(text, sizeof text, "looks like %s, which is scored first", running->rec.name);
	int rc = wait_for(c, "twin", NULL, 0, text, err);
	c->twin = running->rec.id;
	return rc;
}

/* A path that was queued or running already. */
static int again(struct mm_cand *c, struct mm_err *err)
{
	struct mm_model_entry *e = c->e;
	bool known = !mm_hash_is_zero(c->stat_id), moved = known && !mm_hash_eq(c->stat_id, c->probe.stat_id);
	if (!mm_hash_eq(e->rec.quick, c->probe.quick) || (e->rec.state == MM_ST_RUNNING && moved)) {
		if (mm_queue_wait(c->d, e, err)) /* stops a running one */
			return -1;
		return fresh(c, err);
	}
	return unchanged(c, err);
}

static int ready(struct mm_cand *c, struct mm_err *err)
{
	struct mm_model_entry *e = c->e;
	struct mm_probe_result *p = &c->probe;
	if (!e)
		return fresh(c, err);
	bool like = mm_hash_eq(e->rec.quick, p->quick), same_files = mm_hash_eq(e->rec.files, c->files);
	if (mm_reg_is_scored(e) && !mm_hash_is_zero(e->rec.full)) {
		if (like && same_files)
			return unchanged(c, err);
		if (!like)
			return fresh(c, err);
		mm_ready_ask(c, MM_ASK_FULL);
		return 0;
	}
	switch (e->rec.state) {
	case MM_ST_QUEUED:
	case MM_ST_RUNNING:
		return again(c, err);
	case MM_ST_FAILED:
	case MM_ST_CANCELLED:
		if (like && same_files && !mm_hash_is_zero(e->rec.files))
			return unchanged(c, err);
		return fresh(c, err);
	default:
		return fresh(c, err);
	}
}

void mm_decide_answer(struct mm_cand *c, struct mm_probe_result *r)
{
	struct mm_err err;
	int rc;
	if (r->failed) {
		rc = fail_with(c, r, &err);
	} else if (!r->ready) {
		rc = wait_for(c, r->code, r->file, r->missing_bytes, r->text ? r->text : r->code, &err);
	} else {
		mm_probe_result_fini(&c->probe);
		c->probe = *r;
		*r = (struct mm_probe_result){ 0 };
		rc = ready(c, &err);
	}
	if (rc)
		failed_here(c, &err);
	mm_queue_kick(c->d);
}

void mm_decide_full(struct mm_cand *c, struct mm_hash full)
{
	struct mm_err err;
	int rc;
	c->probe.full = full;
	if (mm_hash_is_zero(full)) {
		mm_fail(&err, MM_EFORMAT, "the probe gave no full fingerprint");
		mm_decide_error(c, &err);
		return;
	}
	if (c->e && mm_reg_is_scored(c->e) && mm_hash_eq(c->e->rec.full, full)) {
		rc = unchanged(c, &err);
	} else if ((rc = retire_scored(c, &err))) {
		;
	} else {
		struct mm_model_entry *r = find_same(c, full);
		if (!r) {
			rc = enqueue(c, &err);
		} else if (!c->d->first_scan_done && !mm_ready_present(r)) {
			mm_ready_timer(c, 1); /* perhaps its path was not come to yet */
		} else if (!mm_ready_present(r)) {
			rc = renamed(c, r, &err);
		} else {
			c->twin = r->rec.id;
			mm_ready_ask(c, MM_ASK_TWIN);
		}
	}
	if (rc)
		failed_here(c, &err);
	mm_queue_kick(c->d);
}

void mm_decide_twin(struct mm_cand *c, bool there)
{
	struct mm_err err;
	struct mm_model_entry *r = mm_reg_by_id(c->d, c->twin);
	int rc = 0;
	c->twin = 0;
	if (!r)
		mm_ready_timer(c, 0);
	else if (there)
		rc = copied(c, r, &err);
	else
		rc = renamed(c, r, &err);
	if (rc)
		failed_here(c, &err);
	mm_queue_kick(c->d);
}

void mm_decide_gone(struct mm_daemon *d, struct mm_model_entry *e)
{
	struct mm_err err;
	mm_log(MM_LOG_INFO, "%s is gone", e->rec.name);
	e->rec.gone = true;
	if (e->rec.state == MM_ST_QUEUED || e->rec.state == MM_ST_RUNNING) {
		if (mm_reg_is_scored(e))
			mm_reg_restore(e);
		else
			mm_reg_state(e, MM_ST_WAITING, "gone", NULL, 0, "its files are gone");
	}
	if (mm_queue_end(d, e, MM_JOB_CANCELLED, &err))
		log_error(&err);
	mm_alerts_model(d, e);
	mm_ready_twin_done(d, e);
}
