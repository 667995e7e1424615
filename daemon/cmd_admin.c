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

struct backup {
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
	struct backup *b = ctx;
	(void)cancel; /* LMDB's copy cannot be interrupted */
	b->rc = mm_store_copy(b->store, b->fd, &b->err);
}

static void copied(struct mm_daemon *d, void *ctx, bool cancelled)
{
	struct backup *b = ctx;
	struct mm_reply r = { .bulk = true, .fd = b->fd };
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

int mm_cmd_backup(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_store_stat st;
	(void)args;
	if (mm_store_stat(d->store, &st, err))
		return -1;
	struct backup *b = mm_calloc(1, sizeof *b, err);
	if (!b)
		return -1;
	*b = (struct backup){ .store = d->store, .token = reply->token, .models = st.n_models };
	b->fd = nameless_file(d->cfg.state_dir, err);
	struct mm_work w = { .run = copy, .done = copied, .ctx = b };
	if (b->fd < 0 || mm_worker_submit(d, &w, err)) {
		if (b->fd >= 0)
			close(b->fd);
		mm_free(b);
		return -1;
	}
	reply->deferred = true;
	return 0;
}
