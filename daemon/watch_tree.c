/* watch_tree.c - one watched directory, followed by a thread of its own.
 *
 * All system calls on a watched tree (readdir, stat, inotify) happen on this thread, one for each root: a tree of a
 * million files or a file server that does not answer holds up neither the loop nor the other roots. The thread keeps a
 * tree of directories with a snapshot (name, size, mtime, ctime, inode) of the files that may belong to a checkpoint;
 * the difference between two snapshots, and the names in inotify events, become messages "this candidate was touched"
 * and "this candidate is gone", handed to the sink.
 *
 *   inotify events --> dirty directories --\
 *   poll interval  --> polled directories ---> mm_wscan_dir --> messages
 *   rescan, overflow --> everything -------/
 *
 * A directory is watched first and listed then: what is made in between is seen by the listing or by an event, mostly
 * both. Memory that runs out loses no change for good: the tree is scanned again some seconds later.
 */
#include "daemon/core_priv.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHECK_ROOT_S 5.0 /* a rename above the root raises no event: look whether it is still the same */
#define MISSING_S    1.0 /* how often a missing root is looked for */
#define BATCH_MS     20	 /* pause between two reads of events: equal ones coalesce meanwhile */
#define WRITER_S     0.5 /* an open writer is reported at most this often */

void mm_wroot_emit(
	struct mm_wroot *r, enum mm_wmsg_type type, const char *path, const char *text, const struct mm_wmsg *more)
{
	struct mm_err err;
	struct mm_wmsg m = more ? *more : (struct mm_wmsg){ 0 };
	m.type = type;
	m.event = !r->first;
	m.path = path ? mm_strdup(path, &err) : NULL;
	m.text = text ? mm_strdup(text, &err) : NULL;
	if ((path && !m.path) || (text && !m.text)) {
		mm_free(m.path);
		mm_free(m.text);
		r->next_check = 0;
		atomic_store(&r->rescan, true);
		return;
	}
	pthread_mutex_lock(&r->lock);
	bool orphan = r->orphan;
	if (!orphan)
		r->sink(r->ctx, &m);
	pthread_mutex_unlock(&r->lock);
	if (orphan) {
		mm_free(m.path);
		mm_free(m.text);
	}
}

void mm_wroot_log(struct mm_wroot *r, int level, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	mm_wroot_emit(r, MM_W_LOG, NULL, text, &(struct mm_wmsg){ .level = level });
}

/* ---- lists of names ---- */

bool mm_wnames_has(const struct mm_wnames *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->name[i], name))
			return true;
	return false;
}

void mm_wnames_add(struct mm_wnames *l, const char *name)
{
	struct mm_err err;
	if (mm_wnames_has(l, name) || mm_grow(&l->name, &l->cap, l->n + 1, sizeof *l->name, &err))
		return;
	if ((l->name[l->n] = mm_strdup(name, &err)))
		l->n++;
}

bool mm_wnames_del(struct mm_wnames *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->name[i], name))
			continue;
		mm_free(l->name[i]);
		l->name[i] = l->name[--l->n];
		return true;
	}
	return false;
}

void mm_wnames_clear(struct mm_wnames *l)
{
	for (size_t i = 0; i < l->n; i++)
		mm_free(l->name[i]);
	mm_free(l->name);
	*l = (struct mm_wnames){ 0 };
}

/* ---- nodes ---- */

struct mm_wnode *mm_wnode_by_wd(const struct mm_wroot *r, int wd)
{
	struct mm_wnode *n = wd < 0 ? NULL : r->by_wd[wd % MM_WTABLE];
	while (n && n->wd != wd)
		n = n->next_wd;
	return n;
}

void mm_wnode_set_wd(struct mm_wroot *r, struct mm_wnode *n, int wd)
{
	if (n->wd >= 0) {
		struct mm_wnode **p = &r->by_wd[n->wd % MM_WTABLE];
		while (*p && *p != n)
			p = &(*p)->next_wd;
		if (*p)
			*p = n->next_wd;
		r->n_watch--;
	}
	n->wd = wd;
	if (wd >= 0) {
		n->next_wd = r->by_wd[wd % MM_WTABLE];
		r->by_wd[wd % MM_WTABLE] = n;
		r->n_watch++;
	}
}

bool mm_wnode_blind(const struct mm_wnode *n)
{
	return !n->poll && !n->unreadable && n->wd < 0;
}

const char *mm_wnode_name(const struct mm_wnode *n)
{
	const char *s = strrchr(n->path, '/');
	return s ? s + 1 : n->path;
}

struct mm_wnode *mm_wnode_child(const struct mm_wnode *n, const char *name)
{
	for (struct mm_wnode *c = n->child; c; c = c->sibling)
		if (!strcmp(mm_wnode_name(c), name))
			return c;
	return NULL;
}

void mm_wnode_dirty(struct mm_wroot *r, struct mm_wnode *n, bool relist)
{
	struct mm_err err;
	n->relist |= relist;
	if (n->dirty)
		return;
	if (mm_grow(&r->dirty, &r->cap_dirty, r->n_dirty + 1, sizeof *r->dirty, &err)) {
		atomic_store(&r->rescan, true);
		return;
	}
	n->dirty = true;
	r->dirty[r->n_dirty++] = n;
}

static void forget(struct mm_wroot *r, struct mm_wnode *n)
{
	struct mm_wnode **p = &r->by_ino[n->ino % MM_WTABLE];
	while (*p && *p != n)
		p = &(*p)->next_ino;
	if (*p)
		*p = n->next_ino;
	for (size_t i = 0; n->dirty && i < r->n_dirty; i++)
		if (r->dirty[i] == n)
			r->dirty[i] = NULL;
	for (size_t i = 0; i < n->n_file; i++)
		mm_free(n->file[i].name);
	mm_free(n->file);
	mm_wnames_clear(&n->forced);
	mm_wnames_clear(&n->writing);
	mm_wnames_clear(&n->closed);
	mm_free(n->path);
	mm_free(n);
}

void mm_wnode_remove(struct mm_wroot *r, struct mm_wnode *n)
{
	while (n->child)
		mm_wnode_remove(r, n->child);
	if (n == r->top)
		r->next_check = 0; /* perhaps another one is there already */
	if (n->wd >= 0) {
		int wd = n->wd;
		mm_wnode_set_wd(r, n, -1);
		/* The directory may live on elsewhere: its events must not be taken for ours. An error means that the
		 * kernel dropped the watch before us. */
		(void)inotify_rm_watch(r->ino_fd, wd);
	}
	if (n->cand)
		mm_wroot_emit(r, MM_W_GONE, n->path, NULL, NULL);
	for (size_t i = 0; i < n->n_file; i++) {
		char path[4096], first[300];
		unsigned part;
		if (n->file[i].kind == MM_F_GGUF && mm_watch_gguf_first(n->file[i].name, first, sizeof first, &part) &&
			part == 1 && (size_t)snprintf(path, sizeof path, "%s/%s", n->path, first) < sizeof path)
			mm_wroot_emit(r, MM_W_GONE, path, NULL, NULL);
	}
	*n->back = n->sibling;
	if (n->sibling)
		n->sibling->back = n->back;
	r->n_removed++;
	forget(r, n);
}

/* ---- the thread ---- */

/* A topmost polled directory that was not looked at in this round. Searched anew after each scan, which may remove
 * nodes anywhere in the tree. */
static struct mm_wnode *next_polled(const struct mm_wroot *r, struct mm_wnode *n)
{
	struct mm_wnode *found = NULL;
	if (n->poll)
		return n->round == r->round ? NULL : n;
	for (struct mm_wnode *c = n->child; c && !found; c = c->sibling)
		found = next_polled(r, c);
	return found;
}

static void scan_polled(struct mm_wroot *r)
{
	struct mm_wnode *n;
	r->round++;
	while (!atomic_load(&r->stop) && r->top && (n = next_polled(r, r->top))) {
		n->round = r->round;
		if (!mm_wscan_dir(r, n, true))
			mm_wnode_remove(r, n);
	}
	r->next_poll = mm_monotonic() + r->opts.poll_interval;
	atomic_store(&r->scanned, mm_now());
}

static bool any_polled(const struct mm_wnode *n)
{
	if (n->poll)
		return true;
	for (const struct mm_wnode *c = n->child; c; c = c->sibling)
		if (any_polled(c))
			return true;
	return false;
}

static void look_for_root(struct mm_wroot *r)
{
	struct stat st;
	errno = 0;
	/* Without its watch it was deleted: a new one may have the same number. */
	if (r->top && (stat(r->path, &st) || st.st_dev != r->top->dev || (st.st_ino != r->top->ino && !r->top->net) ||
			      mm_wnode_blind(r->top)))
		mm_wnode_remove(r, r->top);
	if (!r->top && mm_wscan_top(r)) {
		if (r->told_missing)
			mm_wroot_log(r, MM_LOG_NOTICE, "%s is there again", r->path);
		r->told_missing = false;
	} else if (!r->top && !r->told_missing) {
		r->told_missing = true;
		mm_wroot_log(r, MM_LOG_WARN, "cannot watch %s: %s; it is looked for every second", r->path,
			strerrordesc_np(errno ? errno : ENOENT));
	}
	r->next_check = mm_monotonic() + (r->top ? CHECK_ROOT_S : MISSING_S);
}

static void scan_all(struct mm_wroot *r)
{
	atomic_store(&r->rescan, false);
	look_for_root(r);
	if (r->top && !mm_wscan_dir(r, r->top, true))
		mm_wnode_remove(r, r->top);
}

static void scan_dirty(struct mm_wroot *r)
{
	/* A scan may remove nodes (their places in the list turn NULL) and may add dirty ones at the end. */
	for (size_t i = 0; i < r->n_dirty && !atomic_load(&r->stop); i++) {
		struct mm_wnode *n = r->dirty[i];
		if (!n)
			continue;
		r->dirty[i] = NULL;
		n->dirty = false;
		double now = mm_monotonic();
		bool tell = n->wrote && (n->fresh_writer || now - n->wrote_told >= WRITER_S);
		bool relist = n->relist;
		n->relist = false;
		if (relist && !mm_wscan_dir(r, n, false)) {
			mm_wnode_remove(r, n);
			continue;
		}
		if (tell || n->closed.n) {
			n->wrote = n->fresh_writer = false;
			n->wrote_told = now;
			mm_winotify_writers(r, n);
		}
	}
	r->n_dirty = 0;
}

static int wait_ms(const struct mm_wroot *r, double now)
{
	double next = MM_MIN(r->next_check, r->next_poll), ms = (next - now) * 1000;
	return ms < 0 ? 0 : ms > 60000 ? 60000 : (int)ms + 1;
}

static void step(struct mm_wroot *r)
{
	struct pollfd fd[2] = { { .fd = r->wake, .events = POLLIN }, { .fd = r->ino_fd, .events = POLLIN } };
	uint64_t count;
	int n = poll(fd, r->ino_fd >= 0 ? 2 : 1, wait_ms(r, mm_monotonic()));
	if (n > 0 && fd[0].revents && read(r->wake, &count, sizeof count) < 0)
		return;
	if (atomic_load(&r->stop))
		return;
	if (n > 0 && r->ino_fd >= 0 && fd[1].revents) {
		mm_winotify_read(r);
		scan_dirty(r);
		poll(fd, 1, BATCH_MS);
	}
	if (atomic_load(&r->rescan))
		scan_all(r);
	double now = mm_monotonic();
	if (now >= r->next_check)
		look_for_root(r);
	if (now >= r->next_poll)
		scan_polled(r);
	unsigned modes = (r->n_watch > 0 ? 1u : 0u) | (r->top && any_polled(r->top) ? 2u : 0u);
	atomic_store(&r->modes, modes);
}

static void *root_main(void *arg)
{
	struct mm_wroot *r = arg;
	mm_winotify_open(r);
	scan_all(r);
	r->next_poll = mm_monotonic() + r->opts.poll_interval;
	atomic_store(&r->scanned, mm_now());
	r->first = false;
	atomic_store(&r->modes, (r->n_watch > 0 ? 1u : 0u) | (r->top && any_polled(r->top) ? 2u : 0u));
	mm_wroot_emit(r, MM_W_SCANNED, NULL, NULL, NULL);
	while (!atomic_load(&r->stop))
		step(r);
	return NULL;
}

static void root_free(struct mm_wroot *r)
{
	r->orphan = true; /* nothing is told any more */
	if (r->top)
		mm_wnode_remove(r, r->top);
	mm_free(r->dirty);
	if (r->ino_fd >= 0)
		close(r->ino_fd);
	if (r->wake >= 0)
		close(r->wake);
	pthread_mutex_destroy(&r->lock);
	mm_free(r->path);
	mm_free(r);
}

struct mm_wroot *mm_wroot_start(
	const char *path, const struct mm_wroot_opts *o, mm_wsink sink, void *ctx, struct mm_err *err)
{
	struct mm_wroot *r = mm_calloc(1, sizeof *r, err);
	if (!r)
		return NULL;
	r->opts = *o;
	if (!(r->opts.poll_interval > 0))
		r->opts.poll_interval = 10;
	r->sink = sink;
	r->ctx = ctx;
	r->ino_fd = -1;
	r->first = true;
	pthread_mutex_init(&r->lock, NULL);
	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->wake < 0)
		mm_fail_errno(err, "cannot make an eventfd");
	if (r->wake < 0 || !(r->path = mm_strdup(path, err))) {
		root_free(r);
		return NULL;
	}
	for (size_t n = strlen(r->path); n > 1 && r->path[n - 1] == '/';)
		r->path[--n] = 0;
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&r->thread, NULL, root_main, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		errno = rc;
		mm_fail_errno(err, "cannot start a thread to watch %s", path);
		root_free(r);
		return NULL;
	}
	return r;
}

static void wake(struct mm_wroot *r)
{
	uint64_t one = 1;
	ssize_t n = write(r->wake, &one, sizeof one); /* fails only when the counter is full: awake already */
	(void)n;
}

void mm_wroot_rescan(struct mm_wroot *r)
{
	atomic_store(&r->rescan, true);
	wake(r);
}

unsigned mm_wroot_modes(const struct mm_wroot *r)
{
	return atomic_load(&((struct mm_wroot *)(uintptr_t)r)->modes);
}

int64_t mm_wroot_scanned(const struct mm_wroot *r)
{
	return atomic_load(&((struct mm_wroot *)(uintptr_t)r)->scanned);
}

bool mm_wroot_stop(struct mm_wroot *r, double wait)
{
	struct timespec t;
	atomic_store(&r->stop, true);
	wake(r);
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += (time_t)wait;
	t.tv_nsec += (long)((wait - (double)(time_t)wait) * 1e9);
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	if (!pthread_timedjoin_np(r->thread, NULL, &t)) {
		root_free(r);
		return true;
	}
	pthread_mutex_lock(&r->lock);
	r->orphan = true;
	pthread_mutex_unlock(&r->lock);
	pthread_detach(r->thread);
	return false;
}
