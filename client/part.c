/* part.c - files are written beside their place and renamed: a broken one is never there, an old one stays until then.
 * A device or a pipe is written into. */
#include "client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int mm_part_open(struct mm_part *p, const char *path, bool force, unsigned mode, struct mm_err *err)
{
	struct stat st;
	*p = (struct mm_part){ .path = path, .fd = -1 };
	if (!strcmp(path, "-")) {
		p->fd = dup(STDOUT_FILENO);
		return p->fd < 0 ? mm_fail_errno(err, "standard output") : 0;
	}
	if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
		p->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		return p->fd < 0 ? mm_fail_errno(err, "cannot write %s", path) : 0;
	}
	if (!force && !lstat(path, &st))
		return mm_fail(err, MM_ECONFLICT, "%s is there already; --force replaces it", path);
	if (!(p->tmp = mm_asprintf(err, "%s.part-%ld", path, (long)getpid())))
		return -1;
	p->fd = open(p->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	return p->fd < 0 ? mm_fail_errno(err, "cannot create %s", p->tmp) : 0;
}

int mm_part_write(void *ctx, const void *data, size_t n, struct mm_err *err)
{
	struct mm_part *p = ctx;
	for (const char *at = data; n;) {
		ssize_t k = write(p->fd, at, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return mm_fail_errno(err, "cannot write %s", p->tmp ? p->tmp : p->path);
		at += k;
		n -= (size_t)k;
	}
	return 0;
}

int mm_part_close(struct mm_part *p, bool good, struct mm_err *err)
{
	int rc = good ? 0 : -1;
	if (p->fd >= 0) {
		if (!rc && p->tmp && fsync(p->fd))
			rc = mm_fail_errno(err, "cannot write %s", p->tmp);
		close(p->fd);
		if (!rc && p->tmp && rename(p->tmp, p->path))
			rc = mm_fail_errno(err, "cannot rename %s to %s", p->tmp, p->path);
		if (rc && p->tmp)
			unlink(p->tmp);
	}
	mm_free(p->tmp);
	*p = (struct mm_part){ .fd = -1 };
	return rc;
}
