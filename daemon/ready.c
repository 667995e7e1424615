/* ready.c - candidates: when they are looked at, and by how many children at once.
 *
 *   touch --> TIMED (settle) --> LINE --> PROBING --> decision (ready_decide.c) --> IDLE, or TIMED to look again
 *
 * The settle time counts from the last event and from the newest mtime or ctime, so that old files found at the start
 * wait for nothing. A file that was modified and not closed holds its candidate back while its writer gives signs of
 * life, and OPEN_GRACE_S after the last one. An answer about files that were touched meanwhile is thrown away: the
 * touch has set the timer again.
 */
#include "daemon/core_priv.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define QUICK_MAX    2
#define FULL_MAX     1
#define OPEN_GRACE_S 60.0

static void run_line(struct mm_daemon *d);

static double wall(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t key_of(const char *s)
{
	return mm_hash64(s, strlen(s));
}

struct mm_cand *mm_ready_cand(const struct mm_daemon *d, const char *path)
{
	struct mm_cand *c;
	size_t at = 0;
	while (d->ready && (c = mm_index_next(&d->ready->path, key_of(path), &at)))
		if (!strcmp(c->path, path))
			return c;
	return NULL;
}

static struct mm_cand *cand_of(const struct mm_model_entry *e)
{
	return e->ready_state;
}

bool mm_ready_present(const struct mm_model_entry *e)
{
	return cand_of(e) && cand_of(e)->present;
}

bool mm_ready_steady(const struct mm_model_entry *e)
{
	const struct mm_cand *c = cand_of(e);
	return c && c->present && c->stage == MM_STAGE_IDLE && !c->open && !mm_hash_is_zero(c->stat_id);
}

struct mm_hash mm_ready_stat_id(const struct mm_model_entry *e)
{
	return cand_of(e) ? cand_of(e)->stat_id : (struct mm_hash){ 0 };
}

const char *mm_ready_root(const struct mm_model_entry *e)
{
	return cand_of(e) ? cand_of(e)->root : NULL;
}

/* ---- time ---- */

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx);

void mm_ready_timer(struct mm_cand *c, double seconds)
{
	uint64_t usec = (uint64_t)(MM_MAX(seconds, 0.0) * 1e6);
	if (c->stage == MM_STAGE_LINE || c->stage == MM_STAGE_PROBING)
		return; /* its answer is old by then: on_answer sets the timer */
	c->stage = MM_STAGE_TIMED;
	int r = c->timer ? sd_event_source_set_time_relative(c->timer, usec)
			 : sd_event_add_time_relative(c->d->loop, &c->timer, CLOCK_MONOTONIC, usec, 20000, on_timer, c);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
	if (r < 0)
		mm_log(MM_LOG_ERROR, "cannot set a timer for %s: %s", c->path, strerrordesc_np(-r));
}

/* Seconds until the files may count as settled; 0: now. */
static double until_settled(const struct mm_cand *c, int64_t newest_ns)
{
	double settle = c->d->cfg.watch.settle, age = wall() - (double)newest_ns * 1e-9, wait = 0;
	if (c->last_event > 0)
		wait = c->last_event + settle - mm_monotonic();
	/* A time in the future is a clock that is wrong, not a file that is new. */
	if (newest_ns && age > -1 && age < settle)
		wait = MM_MAX(wait, settle - age);
	return MM_MAX(wait, 0.0);
}

static void cand_free(struct mm_cand *c)
{
	mm_probe_cancel(c->prober);
	sd_event_source_disable_unref(c->timer);
	if (c->e)
		c->e->ready_state = NULL;
	mm_probe_result_fini(&c->probe);
	mm_free(c->open_file);
	mm_free(c->root);
	mm_free(c->path);
	mm_free(c);
}

/* Gone, and there never was a record. */
static void cand_drop(struct mm_cand *c)
{
	struct mm_ready *r = c->d->ready;
	mm_index_del(&r->path, key_of(c->path), c);
	for (size_t i = 0; i < r->n; i++)
		if (r->c[i] == c) {
			r->c[i] = r->c[--r->n];
			break;
		}
	cand_free(c);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct mm_cand *c = ctx;
	(void)s, (void)usec;
	c->stage = MM_STAGE_IDLE;
	if (!c->present) {
		if (c->e && !c->e->rec.gone)
			mm_decide_gone(c->d, c->e);
		else if (!c->e)
			cand_drop(c);
		return 0;
	}
	double wait = until_settled(c, c->changed ? c->newest_ns : 0);
	if (wait > 0)
		mm_ready_timer(c, wait);
	else if (c->open && mm_monotonic() < c->open_last + OPEN_GRACE_S)
		mm_decide_writing(c);
	else
		mm_ready_ask(c, MM_ASK_QUICK);
	return 0;
}

/* ---- the line ---- */

void mm_ready_ask(struct mm_cand *c, enum mm_ask ask)
{
	struct mm_ready *r = c->d->ready;
	if (c->stage == MM_STAGE_LINE || c->stage == MM_STAGE_PROBING)
		return;
	if (c->timer)
		sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	c->stage = MM_STAGE_LINE;
	c->ask = ask;
	c->next_in_line = NULL;
	*r->line_end = c;
	r->line_end = &c->next_in_line;
	run_line(c->d);
}

static void on_answer(void *ctx, struct mm_probe_result *r, const struct mm_err *err)
{
	struct mm_cand *c = ctx;
	struct mm_daemon *d = c->d;
	c->prober = NULL;
	*(c->ask == MM_ASK_FULL ? &d->ready->n_full : &d->ready->n_quick) -= 1;
	c->stage = MM_STAGE_IDLE;
	if (c->version != c->probe_version || !c->present) {
		mm_ready_timer(c, c->present ? until_settled(c, c->newest_ns) : d->cfg.watch.settle + 1);
	} else if (c->ask == MM_ASK_TWIN) {
		mm_decide_twin(c, r && (r->ready || r->failed) && mm_hash_eq(r->quick, c->probe.quick));
	} else if (!r) {
		mm_decide_error(c, err);
	} else if (c->ask == MM_ASK_FULL && (!r->ready || !mm_hash_eq(r->stat_id, c->probe.stat_id))) {
		mm_ready_timer(c, d->cfg.watch.settle); /* changed between the two */
	} else if (c->ask == MM_ASK_FULL) {
		mm_decide_full(c, r->full);
	} else {
		double wait = r->ready && c->changed ? until_settled(c, r->newest_ns) : 0;
		c->n_error = 0;
		if (wait > 0)
			mm_ready_timer(c, wait);
		else
			mm_decide_answer(c, r);
	}
	run_line(d);
}

/* Something happened while it stood in line. */
static bool too_early(struct mm_cand *c)
{
	double wait = until_settled(c, c->changed ? c->newest_ns : 0);
	bool stale = c->ask != MM_ASK_QUICK && c->version != c->probe_version;
	if (c->present && !stale && (wait <= 0 || c->ask != MM_ASK_QUICK))
		return false;
	c->stage = MM_STAGE_IDLE;
	mm_ready_timer(c, c->present ? wait : c->d->cfg.watch.settle + 1);
	return true;
}

static void start(struct mm_cand *c)
{
	struct mm_daemon *d = c->d;
	struct mm_err err;
	const char *path = c->path;
	if (too_early(c))
		return;
	const struct mm_model_entry *twin = c->ask == MM_ASK_TWIN ? mm_reg_by_id(d, c->twin) : NULL;
	if (twin)
		path = twin->rec.path;
	if (c->ask == MM_ASK_QUICK)
		c->probe_version = c->version;
	c->stage = MM_STAGE_PROBING;
	c->prober = mm_probe_start(d, c->root, path, c->ask == MM_ASK_FULL, c->probe.file_bytes, on_answer, c, &err);
	if (c->prober) {
		*(c->ask == MM_ASK_FULL ? &d->ready->n_full : &d->ready->n_quick) += 1;
		return;
	}
	c->stage = MM_STAGE_IDLE;
	mm_decide_error(c, &err);
}

/* Starts what may start; full fingerprints, which read everything, have a place of their own. */
static void run_line(struct mm_daemon *d)
{
	struct mm_ready *r = d->ready;
	if (d->stopping)
		return;
	for (struct mm_cand **p = &r->line; *p;) {
		struct mm_cand *c = *p;
		if (c->ask == MM_ASK_FULL ? r->n_full >= FULL_MAX : r->n_quick >= QUICK_MAX) {
			p = &c->next_in_line;
			continue;
		}
		*p = c->next_in_line;
		if (r->line_end == &c->next_in_line)
			r->line_end = p;
		start(c); /* may add to the end of the line, never takes out of it */
	}
}

/* ---- what the watch says ---- */

static struct mm_cand *cand_new(struct mm_daemon *d, const char *root, const char *path)
{
	struct mm_ready *r = d->ready;
	struct mm_err err;
	struct mm_cand *c = mm_calloc(1, sizeof *c, &err);
	if (!c || !(c->root = mm_strdup(root, &err)) || !(c->path = mm_strdup(path, &err)) ||
		mm_grow(&r->c, &r->cap, r->n + 1, sizeof(struct mm_cand *), &err) ||
		mm_index_put(&r->path, key_of(path), c, &err)) {
		mm_log(MM_LOG_ERROR, "%s: %s", path, err.text);
		if (c) {
			mm_free(c->root);
			mm_free(c->path);
		}
		mm_free(c);
		return NULL;
	}
	c->d = d;
	c->e = mm_reg_by_path(d, path);
	if (c->e)
		c->e->ready_state = c;
	r->c[r->n++] = c;
	return c;
}

/* What the first scan finds as it was left needs no child. */
static bool as_we_left_it(const struct mm_cand *c, const struct mm_wmsg *m)
{
	const struct mm_model_entry *e = c->e;
	return !m->event && e && !mm_hash_is_zero(m->files) && mm_hash_eq(m->files, e->rec.files) &&
	       (e->rec.state == MM_ST_PLACED || e->rec.state == MM_ST_FAILED || e->rec.state == MM_ST_CANCELLED);
}

static void touch(struct mm_cand *c, const struct mm_wmsg *m)
{
	struct mm_err err;
	bool was = c->present;
	c->present = true;
	if (as_we_left_it(c, m)) {
		c->files = m->files;
		c->newest_ns = m->newest_ns;
		if (c->e->rec.gone) {
			c->e->rec.gone = false;
			if (mm_reg_save(c->d, c->e, &err))
				mm_log(MM_LOG_ERROR, "%s", err.text);
			mm_alerts_model(c->d, c->e);
		}
		return;
	}
	c->version++;
	/* The first scan of a life finds what the last one knew: no change, when the digest is the same. */
	bool same = !m->event && c->e && mm_hash_eq(m->files, c->e->rec.files);
	c->changed |= !same && (m->event || !was || !mm_hash_eq(m->files, c->files));
	c->files = m->files;
	c->newest_ns = m->newest_ns;
	c->delay = 0;
	c->n_error = 0;
	if (m->event)
		c->last_event = mm_monotonic();
	mm_ready_timer(c, until_settled(c, c->newest_ns));
}

/* A moved directory is gone here and comes up there: what it is there is known only after the settle time, so the
 * record is not declared gone before either. */
static void gone(struct mm_cand *c)
{
	c->present = false;
	c->open = false;
	c->version++;
	mm_ready_timer(c, c->d->cfg.watch.settle + 1);
}

void mm_ready_message(struct mm_daemon *d, const char *root, const struct mm_wmsg *m)
{
	struct mm_err err;
	struct mm_cand *c = mm_ready_cand(d, m->path);
	if (!c && m->type == MM_W_TOUCH)
		c = cand_new(d, root, m->path);
	if (!c || d->stopping)
		return;
	switch (m->type) {
	case MM_W_TOUCH:
		touch(c, m);
		break;
	case MM_W_GONE:
		gone(c);
		break;
	case MM_W_WRITING:
		c->open = true;
		c->changed = true;
		c->open_last = c->last_event = mm_monotonic();
		c->version++;
		if (mm_reg_str(&c->open_file, m->text, &err))
			mm_log(MM_LOG_WARN, "%s", err.text);
		mm_ready_timer(c, d->cfg.watch.settle);
		break;
	case MM_W_CLOSED:
		c->open = false;
		c->last_event = mm_monotonic();
		mm_ready_timer(c, d->cfg.watch.settle);
		break;
	default:
		break;
	}
}

static bool below(const char *root, const char *path)
{
	size_t n = strlen(root);
	while (n > 1 && root[n - 1] == '/')
		n--;
	return !strncmp(root, path, n) && (!path[n] || path[n] == '/' || n == 1);
}

void mm_ready_scanned(struct mm_daemon *d, const char *root)
{
	for (size_t i = 0; i < mm_reg_n(d); i++) {
		struct mm_model_entry *e = mm_reg_at(d, i);
		/* What no watched directory leads to any more will not be seen by any scan. */
		bool watched = false;
		for (size_t k = 0; k < d->cfg.watch.n_dirs; k++)
			watched |= below(d->cfg.watch.dirs[k], e->rec.path);
		if (!e->rec.gone && !mm_reg_imported(e) && (!watched || below(root, e->rec.path)) &&
			!mm_ready_present(e))
			mm_decide_gone(d, e);
	}
}

void mm_ready_twin_done(struct mm_daemon *d, const struct mm_model_entry *e)
{
	for (size_t i = 0; d->ready && i < d->ready->n; i++) {
		struct mm_cand *c = d->ready->c[i];
		if (c->twin == e->rec.id && c->stage != MM_STAGE_PROBING) {
			c->twin = 0;
			mm_ready_timer(c, 0);
		}
	}
}

void mm_ready_again(struct mm_daemon *d, struct mm_model_entry *e, const char *why)
{
	struct mm_cand *c = cand_of(e);
	if (!c || !c->present)
		return;
	mm_log(MM_LOG_INFO, "%s: %s, it is looked at again", e->rec.name, why);
	c->stat_id = (struct mm_hash){ 0 };
	c->last_event = mm_monotonic();
	c->version++;
	c->changed = true;
	mm_ready_timer(c, d->cfg.watch.settle);
}

void mm_ready_now(struct mm_daemon *d, struct mm_model_entry *e)
{
	struct mm_cand *c = cand_of(e);
	(void)d;
	if (!c || !c->present)
		return;
	c->changed = true;
	c->version++;
	mm_ready_timer(c, until_settled(c, c->newest_ns));
}

void mm_ready_each_settling(struct mm_daemon *d, void (*fn)(void *ctx, const char *name, const char *reason), void *ctx)
{
	for (size_t i = 0; d->ready && i < d->ready->n; i++) {
		const struct mm_cand *c = d->ready->c[i];
		struct mm_err err;
		char *name = !c->present || c->e ? NULL : mm_reg_make_name(d, c->root, c->path, NULL, &err);
		if (name)
			fn(ctx, name,
				c->stage == MM_STAGE_TIMED ? "new: waits until nothing changes any more"
							   : "new: being looked at");
		mm_free(name);
	}
}

size_t mm_ready_n_probing(const struct mm_daemon *d)
{
	size_t n = 0;
	for (size_t i = 0; d->ready && i < d->ready->n; i++) {
		const struct mm_cand *c = d->ready->c[i];
		n += c->stage == MM_STAGE_LINE || c->stage == MM_STAGE_PROBING || (c->present && !c->e);
	}
	return n;
}

int mm_ready_start(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_ready *r = d->ready = mm_calloc(1, sizeof *r, err);
	if (!r)
		return -1;
	r->line_end = &r->line;
	return 0;
}

void mm_ready_stop(struct mm_daemon *d)
{
	struct mm_ready *r = d->ready;
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		cand_free(r->c[i]);
	mm_free(r->c);
	mm_index_fini(&r->path);
	mm_free(r);
	d->ready = NULL;
}
