/* tok_cache.c: token ids of a text set, kept for the next model with the same tokenizer.
 *
 * One file for each (tokenizer fingerprint, text set, with or without the template):
 *
 *	"MMTOKEN1", key (16 bytes), texts n (u64), ids in all (u64), n counts (u32), the ids (u32), XXH3-64 of all that
 *
 * Written whole and renamed, so that readers and other writers never see a half. What is read is checked against the
 * file's size and checksum before it is used, and a file that does not fit is as good as none. The directory is kept
 * below DIR_MAX bytes: the files not used for longest go. */
#include "model/score_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC	 "MMTOKEN1"
#define PREFIX	 "tokens-"
#define FILE_MAX ((size_t)128 << 20)
#define DIR_MAX	 ((uint64_t)512 << 20)

struct head {
	char magic[8];
	struct mm_hash key;
	uint64_t n, n_id;
};

static char *path_of(const char *dir, struct mm_hash key, struct mm_err *err)
{
	char hex[MM_HASH_HEX];
	mm_hash_hex(key, hex);
	return mm_asprintf(err, "%s/" PREFIX "%s", dir, hex);
}

static struct mm_hash key_of(const struct mm_tok *tok, const struct mm_texts *texts, unsigned flags)
{
	struct {
		struct mm_hash tok, texts;
		uint64_t flags, version;
	} k = { mm_tok_hash(tok), texts->hash, flags, 1 };
	return mm_hash_of(&k, sizeof(k));
}

/* Counts and ids behind the head; false: they do not fit the file. */
static bool body_take(const uint8_t *p, const struct head *h, struct mm_ids *out, size_t front)
{
	const uint8_t *count = p + sizeof(*h), *id = count + h->n * 4;
	uint64_t left = h->n_id;
	struct mm_err err;
	for (size_t i = 0; i < h->n; i++) {
		uint32_t c;
		memcpy(&c, count + i * 4, 4);
		if (c > left || mm_grow(&out[i].id, &out[i].cap, front + c, sizeof(uint32_t), &err))
			return false;
		memcpy(out[i].id + front, id, (size_t)c * 4);
		out[i].n = front + c;
		id += (size_t)c * 4;
		left -= c;
	}
	return left == 0;
}

bool mm_tok_cache_get(const char *dir, const struct mm_tok *tok, const struct mm_texts *texts, unsigned flags,
	size_t front, struct mm_ids *out)
{
	struct mm_err err;
	struct head h;
	struct mm_hash key = key_of(tok, texts, flags);
	char *path = path_of(dir, key, &err);
	size_t len = 0, want = 0;
	uint64_t sum;
	uint8_t *p = path ? (uint8_t *)mm_file_read(path, FILE_MAX, &len, &err) : NULL;
	bool ok = p && len >= sizeof(h) + sizeof(sum);
	if (ok) {
		memcpy(&h, p, sizeof(h));
		memcpy(&sum, p + len - sizeof(sum), sizeof(sum));
		ok = !memcmp(h.magic, MAGIC, 8) && mm_hash_eq(h.key, key) && h.n == texts->n && h.n <= FILE_MAX / 4 &&
		     h.n_id <= FILE_MAX / 4;
		want = ok ? sizeof(h) + (size_t)(h.n + h.n_id) * 4 + sizeof(sum) : 0;
		ok = ok && want == len && mm_hash64(p, len - sizeof(sum)) == sum && body_take(p, &h, out, front);
	}
	if (ok)
		(void)!utimensat(AT_FDCWD, path, NULL, 0); /* used now: it goes last */
	for (size_t i = 0; !ok && i < texts->n; i++)
		out[i].n = 0;
	mm_free(p);
	mm_free(path);
	return ok;
}

struct old {
	char name[64];
	uint64_t bytes;
	int64_t used;
};

static int by_use(const void *a, const void *b)
{
	const struct old *x = a, *y = b;
	return x->used > y->used ? -1 : x->used < y->used;
}

static void prune(const char *dir)
{
	struct mm_err err;
	struct old *list = NULL;
	size_t n = 0, cap = 0;
	uint64_t sum = 0;
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) || strlen(e->d_name) >= sizeof(list->name) ||
			fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) ||
			mm_grow(&list, &cap, n + 1, sizeof(*list), &err))
			continue;
		list[n] = (struct old){ .bytes = (uint64_t)st.st_size,
			.used = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec };
		snprintf(list[n++].name, sizeof(list->name), "%s", e->d_name);
	}
	if (n)
		qsort(list, n, sizeof(*list), by_use);
	for (size_t i = 0; i < n; i++)
		if ((sum += list[i].bytes) > DIR_MAX)
			(void)!unlinkat(dirfd(d), list[i].name, 0);
	if (d)
		closedir(d);
	mm_free(list);
}

void mm_tok_cache_put(const char *dir, const struct mm_tok *tok, const struct mm_texts *texts, unsigned flags,
	size_t front, const struct mm_ids *ids)
{
	struct mm_err err;
	struct head h = { .magic = MAGIC, .key = key_of(tok, texts, flags), .n = texts->n };
	for (size_t i = 0; i < texts->n; i++)
		h.n_id += ids[i].n - front;
	if (h.n > FILE_MAX / 4 || h.n_id > FILE_MAX / 4)
		return;
	size_t len = sizeof(h) + (size_t)(h.n + h.n_id) * 4, at = sizeof(h);
	uint8_t *p = len + 8 <= FILE_MAX ? mm_calloc(len + 8, 1, &err) : NULL;
	char *path = p ? path_of(dir, h.key, &err) : NULL;
	if (!path)
		goto out;
	memcpy(p, &h, sizeof(h));
	for (size_t i = 0; i < texts->n; i++, at += 4) {
		uint32_t c = (uint32_t)(ids[i].n - front);
		memcpy(p + at, &c, 4);
	}
	for (size_t i = 0; i < texts->n; at += (ids[i].n - front) * 4, i++)
		memcpy(p + at, ids[i].id + front, (ids[i].n - front) * 4);
	uint64_t sum = mm_hash64(p, len);
	memcpy(p + len, &sum, 8);
	if (!mm_file_write(path, p, len + 8, &err))
		prune(dir);
out:
	mm_free(p);
	mm_free(path);
}
