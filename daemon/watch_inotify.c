/* watch_inotify.c - inotify events become dirty directories; what changed in them is found by listing (watch_scan.c).
 *
 * IN_MODIFY is watched for one purpose: a file that was modified and not closed has a writer at work, so its checkpoint
 * is not ready however long the writer pauses (ready.c has the bound). Runs of equal events coalesce in the kernel's
 * queue while the thread pauses between reads, so that a fast writer costs little.
 */
#include "daemon/core_priv.h"

#include <errno.h>
#include <stdalign.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define EVENTS                                                                                                         \
	(IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF |           \
		IN_MOVE_SELF | IN_ATTRIB)

void mm_winotify_open(struct mm_wroot *r)
{
	if (r->opts.mode == MM_WATCH_POLL)
		return;
	r->ino_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (r->ino_fd < 0)
		mm_wroot_log(r, MM_LOG_WARN, "no inotify for %s (%s): it is polled every %g s", r->path,
			strerrordesc_np(errno), r->opts.poll_interval);
}

void mm_winotify_add(struct mm_wroot *r, struct mm_wnode *n)
{
	int wd = -1;
	errno = ENOSPC;
	if (!r->opts.max_watches || r->n_watch < r->opts.max_watches)
		wd = inotify_add_watch(r->ino_fd, n->path,
			EVENTS | IN_ONLYDIR | IN_EXCL_UNLINK | (n->link || !n->parent ? 0 : IN_DONT_FOLLOW));
	if (wd >= 0) {
		struct mm_wnode *other = mm_wnode_by_wd(r, wd);
		if (other) /* the same directory under a name that is not there any more */
			mm_wnode_set_wd(r, other, -1);
		mm_wnode_set_wd(r, n, wd);
		return;
	}
	if (errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP)
		return; /* the listing that follows says what is wrong */
	n->poll = true;
	if (!r->told_full)
		mm_wroot_log(r, MM_LOG_WARN,
			"no inotify watch for %s (%s)%s: it and what is below is polled every %g s", n->path,
			strerrordesc_np(errno), errno == ENOSPC ? ", see fs.inotify.max_user_watches" : "",
			r->opts.poll_interval);
	r->told_full = true;
}

static void on_self(struct mm_wroot *r, struct mm_wnode *n, uint32_t mask)
{
	if (mask & IN_IGNORED)
		mm_wnode_set_wd(r, n, -1);
	if (n == r->top)
		r->next_check = 0;
	else
		mm_wnode_dirty(r, n->parent, true);
}

static void on_file(struct mm_wroot *r, struct mm_wnode *n, uint32_t mask, const char *name)
{
	if (mm_watch_ignored(name, false))
		return;
	if (mm_watch_kind(name) == MM_F_OTHER) {
		/* A link to a directory raises the events of a file. */
		if (r->opts.follow_symlinks && (mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)))
			mm_wnode_dirty(r, n, true);
		return;
	}
	if (mask & IN_MODIFY) {
		n->fresh_writer |= !mm_wnames_has(&n->writing, name);
		mm_wnames_add(&n->writing, name);
		n->wrote = true;
		mm_wnode_dirty(r, n, false);
		return;
	}
	if ((mask & (IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM)) && mm_wnames_del(&n->writing, name))
		mm_wnames_add(&n->closed, name);
	if (!(mask & IN_ATTRIB))
		mm_wnames_add(&n->forced, name);
	mm_wnode_dirty(r, n, true);
}

static void on_event(struct mm_wroot *r, const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW) {
		mm_wroot_log(r, MM_LOG_NOTICE, "events of %s were lost, scanning it again", r->path);
		atomic_store(&r->rescan, true);
		return;
	}
	struct mm_wnode *n = mm_wnode_by_wd(r, e->wd);
	if (!n)
		return; /* of a watch that was taken away */
	if (e->mask & (IN_IGNORED | IN_UNMOUNT | IN_DELETE_SELF | IN_MOVE_SELF)) {
		on_self(r, n, e->mask);
		return;
	}
	if (!e->len)
		return; /* attributes of the directory itself: its parent tells too */
	if (!(e->mask & IN_ISDIR)) {
		on_file(r, n, e->mask, e->name);
		return;
	}
	if (mm_watch_ignored(e->name, true))
		return;
	struct mm_wnode *c = e->mask & (IN_MOVED_FROM | IN_DELETE | IN_ATTRIB) ? mm_wnode_child(n, e->name) : NULL;
	if ((e->mask & (IN_MOVED_FROM | IN_DELETE)) && c)
		mm_wnode_remove(r, c);
	else if ((e->mask & IN_ATTRIB) && c && c->unreadable && c->wd < 0 && !c->poll)
		mm_wnode_remove(r, c); /* perhaps readable now: it is found anew, with a watch */
	else if ((e->mask & IN_ATTRIB) && c)
		mm_wnode_dirty(r, c, true);
	mm_wnode_dirty(r, n, true);
}

void mm_winotify_read(struct mm_wroot *r)
{
	alignas(struct inotify_event) char data[65536];
	ssize_t len = read(r->ino_fd, data, sizeof data);
	for (ssize_t at = 0; at < len;) {
		const struct inotify_event *e = (const void *)(data + at);
		on_event(r, e);
		at += (ssize_t)sizeof *e + e->len;
	}
}

void mm_winotify_writers(struct mm_wroot *r, struct mm_wnode *n)
{
	char path[4096], other[4096];
	for (size_t i = 0; i < n->writing.n; i++)
		if (mm_wscan_candidate(n, n->writing.name[i], path, sizeof path))
			mm_wroot_emit(r, MM_W_WRITING, path, n->writing.name[i], NULL);
	for (size_t i = 0; i < n->closed.n; i++) {
		if (!mm_wscan_candidate(n, n->closed.name[i], path, sizeof path))
			continue;
		bool open = false;
		for (size_t k = 0; k < n->writing.n && !open; k++)
			open = mm_wscan_candidate(n, n->writing.name[k], other, sizeof other) && !strcmp(path, other);
		if (!open)
			mm_wroot_emit(r, MM_W_CLOSED, path, NULL, NULL);
	}
	mm_wnames_clear(&n->closed);
}
