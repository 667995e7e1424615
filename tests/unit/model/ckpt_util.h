/* ckpt_util.h - what the container tests share: the data folder, scratch directories, makers of small files. */
#ifndef CKPT_UTIL_H
#define CKPT_UTIL_H

#include "model/ckpt_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* snprintf into an array that must be long enough. */
#define format(buf, ...) assert_true((size_t)snprintf(buf, sizeof(buf), __VA_ARGS__) < sizeof(buf))

/* PATH below the folder of shared data; NULL (and a line that says so) when it is not there. */
static inline const char *shared(const char *path)
{
	static char full[4096];
	const char *root = getenv("MM_SHARED");
	format(full, "%s/%s", root ? root : "../shared", path);
	if (!access(full, R_OK))
		return full;
	printf("skip: ../shared/%s not here\n", path);
	return NULL;
}

static inline char *scratch_new(void)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = malloc(4096);
	assert_non_null(dir);
	assert_true(snprintf(dir, 4096, "%s/mm-test-XXXXXX", tmp ? tmp : "/tmp") < 4096);
	assert_non_null(mkdtemp(dir));
	return dir;
}

static inline void scratch_wipe(const char *dir)
{
	DIR *d = opendir(dir);
	char path[4096];
	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		format(path, "%s/%s", dir, e->d_name);
		if (!lstat(path, &st) && S_ISDIR(st.st_mode))
			scratch_wipe(path);
		else
			unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

static inline void scratch_free(char *dir)
{
	scratch_wipe(dir);
	free(dir);
}

/* One of a few buffers, so that a call may name two paths. */
static inline const char *at(const char *dir, const char *name)
{
	static char path[4][4096];
	static unsigned next;
	char *p = path[next++ % 4];
	assert_true(snprintf(p, 4096, "%s/%s", dir, name) < 4096);
	return p;
}

static inline void put_file(const char *path, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), (ssize_t)n);
	close(fd);
}

static inline void put_text(const char *path, const char *text)
{
	put_file(path, text, strlen(text));
}

static inline void copy_file(const char *from, const char *to)
{
	struct mm_err err = { 0 };
	size_t n;
	char *data = mm_file_read(from, 64u << 20, &n, &err);
	if (!data)
		fail_msg("%s", err.text);
	put_file(to, data, n);
	mm_free(data);
}

/* Regular files of one directory into another. */
static inline void copy_dir(const char *from, const char *to)
{
	char a[4096], b[4096];
	format(a, "%s", from); /* at() has few buffers */
	format(b, "%s", to);
	DIR *d = opendir(a);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		if (!stat(at(a, e->d_name), &st) && S_ISREG(st.st_mode))
			copy_file(at(a, e->d_name), at(b, e->d_name));
	}
	closedir(d);
}

/* A .safetensors file: header text, then n bytes of data. */
static inline void put_safetensors(const char *path, const char *header, size_t n_header, const void *data, size_t n)
{
	struct mm_buf b = { 0 };
	mm_buf_u64(&b, n_header);
	mm_buf_put(&b, header, n_header);
	mm_buf_put(&b, data, n);
	put_file(path, b.data, b.len);
	mm_buf_fini(&b);
}

/* ---- GGUF pieces ---- */

static inline void gg_str(struct mm_buf *b, const char *s)
{
	mm_buf_u64(b, strlen(s));
	mm_buf_str(b, s);
}

static inline void gg_head(struct mm_buf *b, uint64_t n_tensor, uint64_t n_kv)
{
	mm_buf_put(b, "GGUF", 4);
	mm_buf_u32(b, 3);
	mm_buf_u64(b, n_tensor);
	mm_buf_u64(b, n_kv);
}

static inline void gg_kv_str(struct mm_buf *b, const char *key, const char *value)
{
	gg_str(b, key);
	mm_buf_u32(b, MM_GGUF_STRING);
	gg_str(b, value);
}

static inline void gg_kv_u32(struct mm_buf *b, const char *key, uint32_t value)
{
	gg_str(b, key);
	mm_buf_u32(b, MM_GGUF_U32);
	mm_buf_u32(b, value);
}

static inline void gg_info(
	struct mm_buf *b, const char *name, unsigned n, const uint64_t *dim, uint32_t type, uint64_t off)
{
	gg_str(b, name);
	mm_buf_u32(b, n);
	for (unsigned i = 0; i < n; i++)
		mm_buf_u64(b, dim[i]);
	mm_buf_u32(b, type);
	mm_buf_u64(b, off);
}

static inline void gg_pad(struct mm_buf *b, size_t align)
{
	while (b->len % align)
		mm_buf_u8(b, 0);
}

#endif
