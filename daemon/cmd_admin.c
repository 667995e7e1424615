/* cmd_admin.c - backup: a consistent copy of the store while everything goes on.
 *
 * A worker thread copies into a file without a name in state_dir (where there is room for the store, there should be
 * for its copy); the client fetches it in chunks and writes it where it likes. The daemon never writes to a path that a
 * client names.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKUPS_MAX 4u /* at the same time: each takes the disk space of the store */

struct mm_backup {
	struct mm_backup *next; /* in d->backups */
	struct mm_store *store;
	uint64_t token;
	int fd;
	uint64_t models; /* of the store when it was asked for */
	int rc;
	struct mm_err err;
};

/* A file that has no name from the start; where the file system cannot do that, one whose name is taken away at once.
 */
static int nameless_file(const char *dir, struct mm_err *err)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	char *path = mm_path_join(dir, "backup-XXXXXX", err);
	if (!path)
		return -1;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	else
		mm_fail_errno(err, "cannot make a file in %s", dir);
	mm_free(path);
	return fd;
}

static void copy(void *ctx, const _Atomic bool *cancel)
{
	struct mm_backup *b = ctx;
	(void)cancel; /* LMDB's copy does not ask; see mm_backup_stop */
	b->rc = mm_store_copy(b->store, b->fd, &b->err);
}

static void copied(struct mm_daemon *d, void *ctx, bool cancelled)
{
	struct mm_backup *b = ctx;
	struct mm_reply r = { .bulk = true, .fd = b->fd };
	struct mm_backup **p = &d->backups;
	while (*p && *p != b)
		p = &(*p)->next;
	if (*p)
		*p = b->next;
	if (cancelled)
		b->rc = mm_fail(&b->err, MM_ECANCELLED, "the daemon is stopping");
	if (!b->rc && !(r.body = json_pack("{s:I, s:s}", "models", (json_int_t)b->models, "format", "lmdb")))
		b->rc = mm_fail(&b->err, MM_ENOMEM, "out of memory");
	if (b->rc)
		mm_log(MM_LOG_WARN, "backup: %s", b->err.text);
	if (d->ctl) {
		mm_ctl_finish(d, b->token, &r, b->rc ? &b->err : NULL);
	} else {
		json_decref(r.body);
		close(b->fd);
	}
	mm_free(b);
}

void mm_backup_stop(struct mm_daemon *d)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	for (struct mm_backup *b = d->backups; b && full >= 0; b = b->next)
		dup3(full, b->fd, O_CLOEXEC); /* its next write fails */
	if (full >= 0)
		close(full);
}

int mm_cmd_backup(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_store_stat st;
	(void)args;
	unsigned n = 0;
	for (const struct mm_backup *b = d->backups; b; b = b->next)
		n++;
	if (n >= BACKUPS_MAX)
		return mm_fail(err, MM_EBUSY, "%u backups are under way; try again when they are done", n);
	if (mm_store_stat(d->store, &st, err))
		return -1;
	struct mm_backup *b = mm_calloc(1, sizeof *b, err);
	if (!b)
		return -1;
	*b = (struct mm_backup){ .store = d->store, .token = reply->token, .models = st.n_models };
	b->fd = nameless_file(d->cfg.state_dir, err);
	struct mm_work w = { .run = copy, .done = copied, .ctx = b };
	if (b->fd < 0 || mm_worker_submit(d, &w, err)) {
		if (b->fd >= 0)
			close(b->fd);
		mm_free(b);
		return -1;
	}
	b->next = d->backups;
	d->backups = b;
	reply->deferred = true;
	return 0;
}
