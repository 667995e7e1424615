/* watch.c - the loop's side of watching: one thread for each watched directory (watch_tree.c) puts messages into a
 * queue, an eventfd wakes the loop, and the loop hands them to ready.c in their order. */
#include "daemon/core_priv.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FIRST_SCAN_S 30.0 /* after this readiness does not wait any longer for a file server */
#define STOP_S	     3.0
#define BATCH	     256 /* messages handled before the loop looks at its other sources again */

struct link {
	struct mm_watch *w;
	struct mm_wroot *root;
	char *path; /* our own: a reload replaces the configuration */
	bool scanned;
};

struct mm_watch {
	pthread_mutex_t lock; /* of the queue */
	struct item {
		struct mm_wmsg m;
		size_t root;
	} * item;
	size_t n, cap;
	bool lost; /* a message could not be kept: scan again */
	int fd;
	sd_event_source *source, *timer;
	struct link *link; /* [n_link] */
	size_t n_link;
};

static void sink(void *ctx, struct mm_wmsg *m)
{
	struct link *l = ctx;
	struct mm_watch *w = l->w;
	struct mm_err err;
	uint64_t one = 1;
	pthread_mutex_lock(&w->lock);
	if (mm_grow(&w->item, &w->cap, w->n + 1, sizeof *w->item, &err)) {
		w->lost = true;
		mm_free(m->path);
		mm_free(m->text);
	} else {
		w->item[w->n++] = (struct item){ .m = *m, .root = (size_t)(l - w->link) };
	}
	pthread_mutex_unlock(&w->lock);
	ssize_t n = write(w->fd, &one, sizeof one); /* fails only when the counter is full: the loop is awake */
	(void)n;
}

static void first_scan_done(struct mm_daemon *d)
{
	if (d->first_scan_done)
		return;
	d->first_scan_done = true;
	mm_log(MM_LOG_INFO, "the first scan is done: %zu models known, %zu candidates to look at", mm_reg_n(d),
		mm_ready_n_probing(d));
	if (d->service)
		mm_service_ready(d);
	mm_queue_kick(d);
}

static int on_late(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct mm_daemon *d = ctx;
	(void)s, (void)usec;
	if (!d->first_scan_done)
		mm_log(MM_LOG_WARN, "the first scan takes longer than %.0f s, going on without it", FIRST_SCAN_S);
	first_scan_done(d);
	return 0;
}

static void handle(struct mm_daemon *d, struct item *it)
{
	struct mm_watch *w = d->watch;
	struct link *l = &w->link[it->root];
	if (it->m.type == MM_W_LOG) {
		mm_log((enum mm_log_level)it->m.level, "%s", it->m.text);
	} else if (it->m.type == MM_W_SCANNED) {
		bool all = l->scanned = true;
		mm_ready_scanned(d, l->path);
		for (size_t i = 0; i < w->n_link; i++)
			all &= w->link[i].scanned;
		if (all)
			first_scan_done(d);
	} else {
		mm_ready_message(d, l->path, &it->m);
	}
}

static int on_message(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct mm_daemon *d = ctx;
	struct mm_watch *w = d->watch;
	struct item batch[BATCH];
	uint64_t count, one = 1;
	(void)s, (void)revents;
	if (read(fd, &count, sizeof count) < 0)
		return 0;
	pthread_mutex_lock(&w->lock);
	size_t n = MM_MIN(w->n, (size_t)BATCH);
	bool more = w->n > n, lost = w->lost;
	memcpy(batch, w->item, n * sizeof *batch);
	if (w->n > n)
		memmove(w->item, w->item + n, (w->n - n) * sizeof *w->item);
	w->n -= n;
	w->lost = false;
	pthread_mutex_unlock(&w->lock);
	for (size_t i = 0; i < n; i++) {
		handle(d, &batch[i]);
		mm_free(batch[i].m.path);
		mm_free(batch[i].m.text);
	}
	struct mm_err err;
	if (lost && mm_watch_rescan(d, &err))
		mm_log(MM_LOG_ERROR, "%s", err.text);
	if (more && write(w->fd, &one, sizeof one) < 0)
		return 0;
	return 0;
}

int mm_watch_start(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_watch *w = d->watch = mm_calloc(1, sizeof *w, err);
	if (!w)
		return -1;
	pthread_mutex_init(&w->lock, NULL);
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->fd < 0)
		return mm_fail_errno(err, "cannot make an eventfd");
	int r = sd_event_add_io(d->loop, &w->source, w->fd, EPOLLIN, on_message, d);
	if (r >= 0)
		r = sd_event_source_set_priority(w->source, SD_EVENT_PRIORITY_NORMAL + 5);
	if (r >= 0)
		r = sd_event_add_time_relative(
			d->loop, &w->timer, CLOCK_MONOTONIC, (uint64_t)(FIRST_SCAN_S * 1e6), 1000000, on_late, d);
	errno = -r;
	if (r < 0)
		return mm_fail_errno(err, "cannot set up watching");
	if (!(w->link = mm_calloc(d->cfg.watch.n_dirs, sizeof *w->link, err)))
		return -1;
	struct mm_wroot_opts o = { .mode = d->cfg.watch.mode,
		.poll_interval = d->cfg.watch.poll_interval,
		.follow_symlinks = d->cfg.watch.follow_symlinks };
	for (size_t i = 0; i < d->cfg.watch.n_dirs; i++) {
		struct link *l = &w->link[i];
		*l = (struct link){ .w = w };
		w->n_link = i + 1;
		if (!(l->path = mm_strdup(d->cfg.watch.dirs[i], err)) ||
			!(l->root = mm_wroot_start(l->path, &o, sink, l, err)))
			return -1;
	}
	if (!w->n_link)
		first_scan_done(d);
	return 0;
}

void mm_watch_stop(struct mm_daemon *d)
{
	struct mm_watch *w = d->watch;
	if (!w)
		return;
	double until = mm_monotonic() + STOP_S; /* for all of them: the stop has its own deadline */
	for (size_t i = 0; i < w->n_link; i++) {
		struct link *l = &w->link[i];
		if (l->root && !mm_wroot_stop(l->root, MM_MAX(until - mm_monotonic(), 0.1)))
			mm_log(MM_LOG_WARN, "%s does not answer, its thread is left behind", l->path);
		mm_free(l->path);
	}
	sd_event_source_disable_unref(w->source);
	sd_event_source_disable_unref(w->timer);
	for (size_t i = 0; i < w->n; i++) {
		mm_free(w->item[i].m.path);
		mm_free(w->item[i].m.text);
	}
	mm_free(w->item);
	mm_free(w->link);
	if (w->fd >= 0)
		close(w->fd);
	pthread_mutex_destroy(&w->lock);
	mm_free(w);
	d->watch = NULL;
}

int mm_watch_rescan(struct mm_daemon *d, struct mm_err *err)
{
	if (!d->watch)
		return mm_fail(err, MM_EBUSY, "nothing is watched yet");
	for (size_t i = 0; i < d->watch->n_link; i++)
		mm_wroot_rescan(d->watch->link[i].root);
	return 0;
}

const char *mm_watch_mode(const struct mm_daemon *d)
{
	static const char *const name[] = { "none", "inotify", "poll", "inotify+poll" };
	unsigned modes = 0;
	for (size_t i = 0; d->watch && i < d->watch->n_link; i++)
		if (d->watch->link[i].root)
			modes |= mm_wroot_modes(d->watch->link[i].root);
	return name[modes & 3];
}

int64_t mm_watch_scanned(const struct mm_daemon *d)
{
	int64_t oldest = 0;
	for (size_t i = 0; d->watch && i < d->watch->n_link; i++) {
		int64_t t = d->watch->link[i].root ? mm_wroot_scanned(d->watch->link[i].root) : 0;
		oldest = i ? MM_MIN(oldest, t) : t;
	}
	return oldest;
}
