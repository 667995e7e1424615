/* file.c - read-only mappings, whole reads with a bound, atomic replacement. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* O_NONBLOCK: opening a FIFO that nobody writes must not block; for regular files it has no effect. */
static int open_regular(const char *path, struct stat *st, struct mm_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return mm_fail_errno(err, "cannot open %s", path);
	if (fstat(fd, st)) {
		mm_fail_errno(err, "cannot stat %s", path);
	} else if (!S_ISREG(st->st_mode)) {
		mm_fail(err, MM_EINVAL, "%s is %s, expected a regular file", path,
			S_ISDIR(st->st_mode) ? "a directory" : "not a regular file");
	} else {
		return fd;
	}
	close(fd);
	return -1;
}

int mm_map_open(struct mm_map *m, const char *path, struct mm_err *err)
{
	struct stat st;
	*m = (struct mm_map){ 0 };
	int fd = open_regular(path, &st, err), rc = 0;
	if (fd < 0)
		return -1;
	m->dev = st.st_dev;
	m->ino = st.st_ino;
	m->mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	if (st.st_size > 0) {
		void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (p == MAP_FAILED) {
			rc = mm_fail_errno(err, "cannot map %s (%lld bytes)", path, (long long)st.st_size);
		} else {
			m->data = p;
			m->size = (size_t)st.st_size;
		}
	}
	close(fd);
	return rc;
}

void mm_map_close(struct mm_map *m)
{
	if (m->data)
		munmap((void *)(uintptr_t)m->data, m->size);
	*m = (struct mm_map){ 0 };
}

char *mm_file_read(const char *path, size_t max, size_t *len, struct mm_err *err)
{
	struct stat st;
	int fd = open_regular(path, &st, err);
	char *data = NULL;
	if (fd < 0)
		return NULL;
	if ((uint64_t)st.st_size > max) {
		mm_fail(err, MM_EINVAL, "%s has %lld bytes, at most %zu are read", path, (long long)st.st_size, max);
		goto out;
	}
	size_t size = (size_t)st.st_size, got = 0;
	if (!(data = mm_calloc(size + 1, 1, err)))
		goto out;
	while (got < size) {
		ssize_t n = read(fd, data + got, size - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			mm_fail_errno(err, "cannot read %s", path);
			mm_free(data);
			data = NULL;
			goto out;
		}
		if (!n)
			break; /* it shrank meanwhile */
		got += (size_t)n;
	}
	data[got] = 0;
	*len = got;
out:
	close(fd);
	return data;
}

static int write_all(int fd, const void *data, size_t len)
{
	for (const uint8_t *p = data; len;) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static void sync_dir_of(const char *path)
{
	char dir[4096];
	snprintf(dir, sizeof dir, "%s", path);
	char *slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = 0;
	int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd); /* some file systems refuse it; the rename has happened all the same */
		close(fd);
	}
}

/* A device or a pipe takes the bytes and stays what it is. */
static int write_into(const char *path, const void *data, size_t len, struct mm_err *err)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	bool bad = fd < 0 || write_all(fd, data, len);
	int rc = bad ? mm_fail_errno(err, "cannot write %s", path) : 0;
	if (fd >= 0 && close(fd) && !rc)
		rc = mm_fail_errno(err, "cannot write %s", path);
	return rc;
}

static int replace(const char *path, const void *data, size_t len, struct mm_err *err)
{
	char *tmp = mm_asprintf(err, "%s.tmp-%ld", path, (long)getpid());
	int rc = -1, fd = -1;
	if (!tmp)
		return -1;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		mm_fail_errno(err, "cannot create %s", tmp);
		goto out;
	}
	bool bad = write_all(fd, data, len) || fsync(fd);
	if (close(fd) || bad) {
		mm_fail_errno(err, "cannot write %s", tmp);
		unlink(tmp);
		goto out;
	}
	if (rename(tmp, path)) {
		mm_fail_errno(err, "cannot rename %s to %s", tmp, path);
		unlink(tmp);
		goto out;
	}
	sync_dir_of(path);
	rc = 0;
out:
	mm_free(tmp);
	return rc;
}

int mm_file_write(const char *path, const void *data, size_t len, struct mm_err *err)
{
	struct stat st;
	if (stat(path, &st))
		return replace(path, data, len, err);
	if (!S_ISREG(st.st_mode))
		return write_into(path, data, len, err);
	char *real = realpath(path, NULL); /* a link stays; what it points to is replaced */
	int rc = replace(real ? real : path, data, len, err);
	free(real);
	return rc;
}

int mm_mkdirs(const char *path, unsigned mode, struct mm_err *err)
{
	char part[4096];
	if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
		return mm_fail(err, MM_EINVAL, "path too long: %s", path);
	for (char *p = part + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char c = *p;
		*p = 0;
		if (mkdir(part, mode) && errno != EEXIST)
			return mm_fail_errno(err, "cannot make directory %s", part);
		*p = c;
		if (!c)
			return 0;
	}
}

char *mm_path_join(const char *dir, const char *name, struct mm_err *err)
{
	size_t n = strlen(dir);
	if (!n || name[0] == '/')
		return mm_strdup(name, err);
	return mm_asprintf(err, "%s%s%s", dir, dir[n - 1] == '/' ? "" : "/", name);
}
