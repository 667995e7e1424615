/* ckpt.c - an open checkpoint: files, tensors by name, reading of weights. The containers fill it (shards.c,
 * gguf_read.c, lora.c); from then on it is immutable, and any number of threads may read it.
 *
 * What `path` is decides: a directory with adapter_config.json and no weights of its own is an adapter, any other
 * directory is config.json with safetensors, a file is GGUF. Pickled checkpoints are never opened, since reading a
 * pickle runs what is in it; the message says how to convert them.
 */
#include "model/ckpt_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FD_MAX	  512 /* files kept open while probing; beyond that each read opens its file again */
#define EMPTY_RUN 64u /* zero bytes in a row that no header has */

int mm_ckpt_blame(struct mm_ckpt_why *why, const char *code, const char *file, uint64_t missing, bool may_pass)
{
	if (!why->code[0]) {
		snprintf(why->code, sizeof why->code, "%s", code);
		mm_utf8_sanitize(why->file, sizeof why->file, file, strlen(file));
		why->missing = missing;
		why->may_pass = may_pass;
	}
	return -1;
}

bool mm_ckpt_unwritten(const void *p, size_t n)
{
	const uint8_t *s = p;
	size_t run = 0;
	for (size_t i = 0; i < n; i++) {
		run = s[i] ? 0 : run + 1;
		if (run >= EMPTY_RUN)
			return true;
	}
	return false;
}

int mm_pread_full(int fd, void *dst, size_t n, uint64_t off, const char *name, struct mm_err *err)
{
	uint8_t *p = dst;
	while (n) {
		ssize_t got = pread(fd, p, n, (off_t)off);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return mm_fail_errno(err, "cannot read %s", name);
		if (!got)
			return mm_fail(err, MM_ETRUNC, "%s: became shorter while it was read", name);
		p += got;
		off += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

/* ---- files ---- */

void mm_ckpt_blame_errno(struct mm_ckpt_why *why, const char *name, const char *absent)
{
	if (errno == ENOENT)
		mm_ckpt_blame(why, absent, name, 0, true);
	else if (errno == EACCES || errno == EPERM)
		mm_ckpt_blame(why, "unreadable", name, 0, true);
	else if (errno == ELOOP)
		mm_ckpt_blame(why, "not_regular", name, 0, false);
	else
		mm_ckpt_blame(why, "io", name, 0, true);
}

/* A dangling link counts: it is an error about that file, not its absence. On the stack, so that it cannot fail. */
bool mm_ckpt_has_file(const char *dir, const char *name)
{
	char path[4096], one[1]; /* the kernel takes no longer ones */
	if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
		return false;
	return !access(path, F_OK) || readlink(path, one, 1) >= 0;
}

/* stat comes first: opening a device may do things, and opening a FIFO would wait without O_NONBLOCK. */
int mm_ckpt_open_file(const char *path, const char *name, const char *absent, struct stat *st, struct mm_ckpt_why *why,
	struct mm_err *err)
{
	int fd = -1;
	if (stat(path, st) ||
		(S_ISREG(st->st_mode) && (fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) < 0)) {
		mm_ckpt_blame_errno(why, name, absent);
		return mm_fail_errno(err, "%s", name);
	}
	if (fd >= 0 && fstat(fd, st)) {
		mm_ckpt_blame_errno(why, name, absent);
		mm_fail_errno(err, "%s", name);
		close(fd);
		return -1;
	}
	if (fd < 0 || !S_ISREG(st->st_mode)) {
		mm_ckpt_blame(why, "not_regular", name, 0, false);
		if (fd >= 0)
			close(fd);
		return mm_fail(err, MM_EINVAL, "%s: not a regular file", name);
	}
	return fd;
}

int mm_ckpt_file_add(struct mm_ckpt *ck, const char *name, struct mm_ckpt_why *why, struct mm_err *err)
{
	struct stat st;
	struct mm_ckpt_file f = { .fd = -1 };
	int fd = -1;
	if (!(f.path = mm_path_join(ck->dir, name, err)) || !(f.name = mm_strdup(name, err)) ||
		mm_grow(&ck->file, &ck->cap_file, ck->n_file + 1, sizeof *ck->file, err))
		goto fail;
	if ((fd = mm_ckpt_open_file(f.path, name, "missing_shard", &st, why, err)) < 0)
		goto fail;
	f.size = (uint64_t)st.st_size;
	f.dev = st.st_dev;
	f.ino = st.st_ino;
	f.mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	if (ck->flags & MM_CKPT_NOMAP) {
		if (ck->n_file < FD_MAX && (f.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0) {
			mm_fail_errno(err, "%s", name);
			goto fail;
		}
	} else if (f.size) {
		void *p = mmap(NULL, f.size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (p == MAP_FAILED) {
			mm_fail_errno(err, "cannot map %s (%llu bytes)", name, (unsigned long long)f.size);
			goto fail;
		}
		f.map = p;
	}
	ck->file[ck->n_file++] = f;
	return fd;
fail:
	if (fd >= 0)
		close(fd);
	mm_free(f.path);
	mm_free(f.name);
	return -1;
}

/* ---- tensors ---- */

void mm_shape_format(unsigned n_dim, const uint64_t *dim, char *out, size_t cap)
{
	size_t n = 0;
	n += (size_t)snprintf(out, cap, "[");
	for (unsigned i = 0; i < n_dim && n < cap; i++)
		n += (size_t)snprintf(out + n, cap - n, "%s%llu", i ? ", " : "", (unsigned long long)dim[i]);
	if (n < cap)
		snprintf(out + n, cap - n, "]");
}

bool mm_tensor_shape_is(const struct mm_tensor *t, unsigned n_dim, const uint64_t *dim)
{
	unsigned a = 0, b = 0;
	while (a < t->n_dim && t->dim[a] == 1)
		a++;
	while (b < n_dim && dim[b] == 1)
		b++;
	return t->n_dim - a == n_dim - b && !memcmp(t->dim + a, dim + b, (n_dim - b) * sizeof *dim);
}

int mm_tensor_size(struct mm_tensor *t, const char *name, struct mm_err *err)
{
	const struct mm_dtype_info *d = &mm_dtypes[t->dtype];
	uint64_t n = 1, bytes; /* the product without the zeros, so that [0, 2^62, 2^62] overflows too */
	char shape[128];
	bool over = false, empty = false;
	for (unsigned i = 0; i < t->n_dim; i++) {
		empty |= !t->dim[i];
		over |= __builtin_mul_overflow(n, t->dim[i] ? t->dim[i] : 1, &n);
	}
	over |= __builtin_mul_overflow(n / d->block, (uint64_t)d->bytes, &bytes) || n > INT64_MAX || bytes > INT64_MAX;
	mm_shape_format(t->n_dim, t->dim, shape, sizeof shape);
	if (over)
		return mm_fail(err, MM_EFORMAT, "tensor %s: size of shape %s overflows", name, shape);
	uint64_t row = t->n_dim ? t->dim[t->n_dim - 1] : 1;
	if (row % d->block)
		return mm_fail(err, MM_EFORMAT, "tensor %s: rows of %llu are no multiple of %s's block of %u", name,
			(unsigned long long)row, d->name, d->block);
	t->n_elem = empty ? 0 : n;
	t->n_byte = empty ? 0 : bytes;
	return 0;
}

/* Where `name` is in the hash table, or the free slot where it would go. */
static size_t slot_of(const struct mm_ckpt *ck, const char *name, size_t len)
{
	size_t i = mm_hash64(name, len) & (ck->n_slot - 1);
	for (; ck->slot[i]; i = (i + 1) & (ck->n_slot - 1)) {
		const char *other = ck->tensor[ck->slot[i] - 1].name;
		if (!strncmp(other, name, len) && !other[len])
			break;
	}
	return i;
}

static int slots_grow(struct mm_ckpt *ck, struct mm_err *err)
{
	if (ck->n_slot >= 2 * (ck->n_tensor + 1))
		return 0;
	size_t n = ck->n_slot ? 2 * ck->n_slot : 256;
	uint32_t *slot = mm_calloc(n, sizeof *slot, err);
	if (!slot)
		return -1;
	mm_free(ck->slot);
	ck->slot = slot;
	ck->n_slot = n;
	for (size_t i = 0; i < ck->n_tensor; i++)
		slot[slot_of(ck, ck->tensor[i].name, strlen(ck->tensor[i].name))] = (uint32_t)i + 1;
	return 0;
}

int mm_ckpt_tensor_add(struct mm_ckpt *ck, const struct mm_tensor *t, const char *name, size_t len, struct mm_err *err)
{
	if (ck->n_tensor >= UINT32_MAX - 1)
		return mm_fail(err, MM_EFORMAT, "too many tensors");
	if (slots_grow(ck, err) || mm_grow(&ck->tensor, &ck->cap_tensor, ck->n_tensor + 1, sizeof *ck->tensor, err))
		return -1;
	size_t at = slot_of(ck, name, len);
	if (ck->slot[at]) {
		const struct mm_tensor *other = &ck->tensor[ck->slot[at] - 1];
		return mm_fail(err, MM_EFORMAT, "tensor %s is there twice (first in %s)", other->name,
			other->file < ck->n_file ? ck->file[other->file].name : "this file");
	}
	char *copy = mm_arena_get(ck->arena, len + 1, 1, err);
	if (!copy)
		return -1;
	memcpy(copy, name, len);
	ck->tensor[ck->n_tensor] = *t;
	ck->tensor[ck->n_tensor].name = copy;
	ck->slot[at] = (uint32_t)++ck->n_tensor;
	return 0;
}

const struct mm_tensor *mm_ckpt_find(const struct mm_ckpt *ck, const char *name)
{
	uint32_t i = ck->n_slot ? ck->slot[slot_of(ck, name, strlen(name))] : 0;
	return i ? &ck->tensor[i - 1] : NULL;
}

/* ---- reading ---- */

int mm_ckpt_bytes_read(
	const struct mm_ckpt *ck, const struct mm_tensor *t, uint64_t first, size_t n, void *dst, struct mm_err *err)
{
	const struct mm_ckpt_file *f = &ck->file[t->file];
	if (first > t->n_byte || n > t->n_byte - first)
		return mm_fail(err, MM_EINTERNAL, "tensor %s: read beyond its end", t->name);
	if (!n)
		return 0;
	if (t->data) {
		memcpy(dst, t->data + first, n);
		return 0;
	}
	struct mm_ckpt_why ignored = { 0 };
	struct stat st;
	int rc, fd = f->fd >= 0 ? f->fd : mm_ckpt_open_file(f->path, f->name, "missing_shard", &st, &ignored, err);
	if (fd < 0)
		return -1;
	rc = mm_pread_full(fd, dst, n, t->offset + first, f->name, err);
	if (fd != f->fd)
		close(fd);
	return rc;
}

int mm_ckpt_read(
	const struct mm_ckpt *ck, const struct mm_tensor *t, uint64_t first, size_t n, float *dst, struct mm_err *err)
{
	const struct mm_dtype_info *d = &mm_dtypes[t->dtype];
	if (first > t->n_elem || n > t->n_elem - first || first % d->block || n % d->block)
		return mm_fail(
			err, MM_EINTERNAL, "tensor %s: read of %zu at %llu", t->name, n, (unsigned long long)first);
	size_t at = (size_t)(first / d->block * d->bytes), bytes = n / d->block * d->bytes;
	if (t->data) {
		mm_dequant(t->dtype, t->data + at, dst, n);
	} else {
		void *raw = mm_calloc(bytes, 1, err);
		int rc = raw ? mm_ckpt_bytes_read(ck, t, at, bytes, raw, err) : -1;
		if (!rc)
			mm_dequant(t->dtype, raw, dst, n);
		mm_free(raw);
		if (rc)
			return -1;
	}
	if (t->scale && mm_fp8_apply(ck, t, first, n, dst, err))
		return -1;
	if (t->overlay)
		mm_lora_apply(t->overlay, t, first, n, dst);
	return 0;
}

void mm_ckpt_drop(const struct mm_ckpt *ck, const struct mm_tensor *t)
{
	const struct mm_ckpt_file *f = &ck->file[t->file];
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t from = (t->offset + page - 1) / page * page, to = (t->offset + t->n_byte) / page * page;
	if (f->map && to > from) /* only whole pages: the edges belong to the neighbours too */
		madvise(f->map + from, to - from, MADV_DONTNEED);
}

void mm_ckpt_willneed(const struct mm_ckpt *ck, const struct mm_tensor *t)
{
	const struct mm_ckpt_file *f = &ck->file[t->file];
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), from = t->offset / page * page;
	if (f->map && t->n_byte)
		madvise(f->map + from, t->offset + t->n_byte - from, MADV_WILLNEED);
}

/* ---- closing ---- */

void mm_ckpt_close(struct mm_ckpt *ck)
{
	if (!ck)
		return;
	for (size_t i = 0; i < ck->n_file; i++) {
		struct mm_ckpt_file *f = &ck->file[i];
		if (f->map)
			munmap(f->map, f->size);
		if (f->fd >= 0)
			close(f->fd);
		mm_free(f->name);
		mm_free(f->path);
	}
	mm_lora_free(ck->lora);
	mm_gguf_close(ck->gguf);
	json_decref(ck->config);
	mm_free(ck->file);
	mm_free(ck->tensor);
	mm_free(ck->digest);
	mm_free(ck->slot);
	mm_arena_free(ck->arena);
	mm_free(ck->path);
	mm_free(ck->dir);
	mm_free(ck->search_dir);
	mm_free(ck);
}

/* ---- getters ---- */

enum mm_container mm_ckpt_container(const struct mm_ckpt *ck)
{
	return ck->container;
}

const char *mm_ckpt_path(const struct mm_ckpt *ck)
{
	return ck->path;
}

const json_t *mm_ckpt_config(const struct mm_ckpt *ck)
{
	return ck->config;
}

size_t mm_ckpt_n_tensor(const struct mm_ckpt *ck)
{
	return ck->n_tensor;
}

const struct mm_tensor *mm_ckpt_tensor(const struct mm_ckpt *ck, size_t i)
{
	return &ck->tensor[i];
}

size_t mm_ckpt_n_file(const struct mm_ckpt *ck)
{
	return ck->n_file;
}

const char *mm_ckpt_file(const struct mm_ckpt *ck, size_t i)
{
	return ck->file[i].name;
}

uint64_t mm_ckpt_bytes(const struct mm_ckpt *ck)
{
	uint64_t n = 0;
	for (size_t i = 0; i < ck->n_file; i++)
		n += ck->file[i].size;
	return n;
}

const struct mm_gguf *mm_ckpt_gguf(const struct mm_ckpt *ck)
{
	return ck->gguf;
}
