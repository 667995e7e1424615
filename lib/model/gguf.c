/* gguf.c - the metadata of a GGUF file, versions 2 and 3, little-endian: a table of typed values by key.
 *
 *	"GGUF" | u32 version | u64 tensors | u64 values | values: {string key, u32 type, value} | tensor infos | data
 *	string: u64 length, bytes                  array: u32 type, u64 n, n values
 *
 * The length of all this is written nowhere, so the file's beginning is read in steps that double until the metadata
 *fit; nothing is allocated that the file's size does not justify. Every value is walked over once, with bounds, when
 *the file is opened; the getters need no more checks than the type. Values stay as they are in the file, unaligned.
 */
#include "model/ckpt_priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_READ     (256u << 10)
#define HEADER_MAX     ((uint64_t)512 << 20)
#define KEY_MAX	       65535u
#define ARRAY_DEPTH    4   /* arrays of arrays exist only in theory */
#define KV_BYTES_MIN   13u /* key length, type, one byte */
#define INFO_BYTES_MIN 33u
#define ABSURD	       ((uint64_t)1 << 40) /* a length above this is damage, not a file that is still growing */

/* ---- walking over the metadata ---- */

struct walk {
	struct mm_cur c;
	uint64_t size; /* of the file; c may hold less of it */
	struct mm_err *err;
	bool failed; /* malformed; c.failed alone: more of the file is needed */
};

static int malformed(struct walk *w, const char *fmt, uint64_t v)
{
	if (!w->failed)
		mm_fail(w->err, MM_EFORMAT, fmt, (unsigned long long)v);
	w->failed = true;
	return -1;
}

/* n elements of `size` bytes come next. */
static const uint8_t *run(struct walk *w, uint64_t n, uint64_t size)
{
	uint64_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes) || bytes > ABSURD) {
		malformed(w, "metadata: %llu elements are beyond the end of the file", n);
		return NULL;
	}
	return mm_cur_bytes(&w->c, bytes);
}

static const uint8_t *walk_string(struct walk *w, size_t *len)
{
	uint64_t n = mm_cur_u64(&w->c);
	const uint8_t *s = w->c.failed ? NULL : run(w, n, 1);
	*len = s ? (size_t)n : 0;
	return s;
}

static int walk_array(struct walk *w, struct mm_gguf_kv *kv, int depth)
{
	uint32_t type = mm_cur_u32(&w->c);
	uint64_t n = mm_cur_u64(&w->c);
	size_t from = w->c.off, len;
	if (w->c.failed)
		return -1;
	if (type >= MM_GGUF_TYPE_COUNT)
		return malformed(w, "metadata: unknown value type %llu in an array", type);
	if (depth > ARRAY_DEPTH)
		return malformed(w, "metadata: arrays nested deeper than %llu", ARRAY_DEPTH);
	if (mm_gguf_type_bytes[type]) {
		if (!run(w, n, mm_gguf_type_bytes[type]))
			return -1;
	} else {
		if (n > w->size / 8)
			return malformed(w, "metadata: array of %llu elements is beyond the end of the file", n);
		for (uint64_t i = 0; i < n && !w->c.failed && !w->failed; i++) {
			if (type == MM_GGUF_STRING)
				(void)walk_string(w, &len);
			else
				(void)walk_array(w, NULL, depth + 1);
		}
		if (w->c.failed || w->failed)
			return -1;
	}
	if (kv) {
		kv->elem = (enum mm_gguf_type)type;
		kv->n = (size_t)n;
		kv->data = w->c.data + from;
		kv->size = w->c.off - from;
	}
	return 0;
}

static int walk_value(struct walk *w, struct mm_gguf_kv *kv)
{
	const uint8_t *key = walk_string(w, &kv->key_len);
	uint32_t type = mm_cur_u32(&w->c);
	if (w->c.failed || w->failed)
		return -1;
	if (kv->key_len > KEY_MAX || !mm_utf8_valid(key, kv->key_len) || memchr(key, 0, kv->key_len))
		return malformed(w, "metadata: a key of %llu bytes is too long, no UTF-8 or holds a NUL", kv->key_len);
	if (type >= MM_GGUF_TYPE_COUNT)
		return malformed(w, "metadata: unknown value type %llu", type);
	kv->key = (const char *)key;
	kv->type = (enum mm_gguf_type)type;
	if (type == MM_GGUF_ARRAY)
		return walk_array(w, kv, 1);
	if (type == MM_GGUF_STRING) {
		kv->data = walk_string(w, &kv->n);
		kv->size = kv->n;
	} else {
		kv->data = run(w, 1, mm_gguf_type_bytes[type]);
		kv->size = mm_gguf_type_bytes[type];
	}
	return kv->data ? 0 : -1;
}

static int by_key(const void *a, const void *b)
{
	const struct mm_gguf_kv *x = a, *y = b;
	return mm_gguf_key_compare(x->key, x->key_len, y->key, y->key_len);
}

static int check_magic(const uint8_t *p, size_t n, uint64_t size, struct mm_err *err)
{
	if (n < 4 || memcmp(p, "GGUF", 4))
		return size >= 4 ? mm_fail(err, MM_EFORMAT, "not a GGUF file")
				 : mm_fail(err, MM_ETRUNC, "too short for a GGUF file: %llu bytes",
					   (unsigned long long)size);
	return 0;
}

static int check_version(uint32_t version, struct mm_err *err)
{
	if (version == 2 || version == 3)
		return 0;
	if (__builtin_bswap32(version) < 16 && version)
		return mm_fail(err, MM_EUNSUPPORTED, "big-endian GGUF is not supported (version %u)",
			__builtin_bswap32(version));
	return mm_fail(err, MM_EUNSUPPORTED, "GGUF version %u is not supported (2 and 3 are)", version);
}

/* One attempt with the bytes at hand. 1: more are needed. */
static int parse(struct mm_gguf *g, uint64_t size, struct mm_err *err)
{
	struct walk w = { .c = mm_cur_of(g->buf, g->n_buf), .size = size, .err = err };
	if (check_magic(g->buf, g->n_buf, size, err))
		return -1;
	(void)mm_cur_u32(&w.c);
	uint32_t version = mm_cur_u32(&w.c);
	if (!w.c.failed && check_version(version, err))
		return -1;
	uint64_t n_tensor = mm_cur_u64(&w.c), n_kv = mm_cur_u64(&w.c);
	if (w.c.failed)
		return 1;
	if (n_kv > ABSURD / KV_BYTES_MIN || n_tensor > ABSURD / INFO_BYTES_MIN)
		return mm_fail(err, MM_EFORMAT, "%llu values and %llu tensors do not fit into a file of %llu bytes",
			(unsigned long long)n_kv, (unsigned long long)n_tensor, (unsigned long long)size);
	g->n_tensor = n_tensor;
	g->n_kv = 0;
	for (uint64_t i = 0; i < n_kv; i++) {
		struct mm_gguf_kv kv = { 0 };
		if (walk_value(&w, &kv))
			return w.failed ? -1 : 1;
		if (!kv.key_len)
			continue; /* nobody can ask for it */
		if (mm_grow(&g->kv, &g->cap_kv, g->n_kv + 1, sizeof *g->kv, err))
			return -1;
		g->kv[g->n_kv++] = kv;
	}
	g->infos = w.c.off;
	if (g->n_kv)
		qsort(g->kv, g->n_kv, sizeof *g->kv, by_key);
	for (size_t i = 1; i < g->n_kv; i++)
		if (!by_key(&g->kv[i - 1], &g->kv[i]))
			return mm_fail(err, MM_EFORMAT, "metadata: key %.*s is there twice",
				(int)MM_MIN(g->kv[i].key_len, (size_t)200), g->kv[i].key);
	return 0;
}

int mm_gguf_more(struct mm_gguf *g, int fd, uint64_t size, size_t n, const char *name, struct mm_err *err)
{
	if (n <= g->n_buf)
		return 0;
	if (n > HEADER_MAX)
		return mm_fail(
			err, MM_EFORMAT, "metadata of more than %llu MB", (unsigned long long)(HEADER_MAX >> 20));
	if (n > size)
		return mm_fail(err, MM_ETRUNC, "the file ends inside the metadata or tensor infos");
	uint8_t *buf = mm_calloc(n, 1, err);
	if (!buf)
		return -1;
	if (mm_pread_full(fd, buf, n, 0, name, err)) {
		mm_free(buf);
		return -1;
	}
	for (size_t i = 0; i < g->n_kv; i++) { /* the values move with the buffer */
		g->kv[i].key = (const char *)buf + ((const uint8_t *)g->kv[i].key - g->buf);
		g->kv[i].data = buf + (g->kv[i].data - g->buf);
	}
	mm_free(g->buf);
	g->buf = buf;
	g->n_buf = n;
	return 0;
}

struct mm_gguf *mm_gguf_load(int fd, uint64_t size, const char *name, struct mm_ckpt_why *why, struct mm_err *err)
{
	struct mm_gguf *g = mm_calloc(1, sizeof *g, err);
	int rc = g ? 1 : -1;
	for (uint64_t want = FIRST_READ; rc == 1; want = MM_MIN(want * 2, HEADER_MAX + 1)) {
		g->n_kv = 0;
		if (g->n_buf && g->n_buf == size) {
			mm_ckpt_blame(why, "truncated", name, 1, true);
			rc = mm_fail(err, MM_ETRUNC, "the file ends inside the metadata");
		} else {
			rc = mm_gguf_more(g, fd, size, (size_t)MM_MIN(want, size), name, err) ? -1
											      : parse(g, size, err);
		}
	}
	if (!rc)
		return g;
	if (err->code == MM_ETRUNC)
		mm_ckpt_blame(why, "truncated", name, 1, true);
	if (g && g->n_buf > 64 && mm_ckpt_unwritten(g->buf, MM_MIN(g->n_buf, (size_t)512)))
		mm_ckpt_blame(why, "empty_blocks", name, 0, true);
	mm_gguf_close(g);
	return NULL;
}

struct mm_gguf *mm_gguf_open(const char *path, struct mm_err *err)
{
	struct stat st;
	struct mm_ckpt_why ignored = { 0 };
	struct mm_gguf *g = NULL;
	int fd = -1;
	if (stat(path, &st) ||
		(S_ISREG(st.st_mode) && (fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) < 0)) {
		mm_fail_errno(err, "%s", path);
		return NULL;
	}
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		mm_fail(err, MM_EINVAL, "%s: not a regular file", path);
	else if (!(g = mm_gguf_load(fd, (uint64_t)st.st_size, path, &ignored, err)))
		mm_wrap(err, "%s", path);
	if (fd >= 0)
		close(fd);
	return g;
}

void mm_gguf_close(struct mm_gguf *g)
{
	if (!g)
		return;
	mm_free(g->buf);
	mm_free(g->kv);
	mm_free(g);
}
