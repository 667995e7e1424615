/* unwritten.c - does a file of the right length have parts that nobody has written yet?
 *
 * Some writers set the full length first (ftruncate, fallocate, zeros) and fill it in, from the front or in pieces.
 *Such a file passes every check of its header. What gives it away are zeros where weights should be. But zeros may be
 *right: biases and norms that start at zero, rows of an embedding that only pad it, a projection that starts at zero.
 *So:
 *
 *  - only matrices count, without masks; zeros of vectors say nothing;
 *  - holes that the file system reports (SEEK_HOLE; unwritten extents of fallocate show up there too) and blocks
 *sampled from every matrix, its two ends among them, give candidates;
 *  - a candidate is extended to the whole run of zeros in its matrix and then judged:
 *
 *	run begins or ends inside a row, where nobody pads        unwritten
 *	run goes on into the next matrix                          unwritten
 *	the whole matrix, and it is the file's last one           unwritten
 *	the whole matrix, and it is a hole                        unwritten
 *	whole rows, or a whole matrix between written ones        right as it is
 *
 * A file that was made sparse by copying (cp --sparse=always) has its holes inside runs that are judged the same way.
 */
#include "model/ckpt_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READS_MAX  8192u /* samples of a checkpoint, about */
#define PER_TENSOR 8u
#define CHUNK	   (64u << 10)
#define RUN_MAX	   ((uint64_t)256 << 20) /* nobody pads that much */
#define TAIL	   256u			 /* the very end of the last matrix is looked at more closely */
#define SLACK	   16u			 /* bytes: a value's low bytes, or a zero weight, next to the run */
#define HOLES_MAX  65536

unsigned mm_sample_count(const struct mm_ckpt *ck)
{
	size_t n = MM_MAX(ck->n_tensor, (size_t)1);
	return (unsigned)MM_MAX(MM_MIN(READS_MAX / n, (size_t)PER_TENSOR), (size_t)2);
}

uint64_t mm_sample_at(uint64_t n_byte, uint64_t len, unsigned k, unsigned n_sample)
{
	uint64_t room = n_byte > len ? n_byte - len : 0;
	if (n_sample < 2)
		return room;
	return room / (n_sample - 1) * k + room % (n_sample - 1) * k / (n_sample - 1);
}

struct scan { /* one file */
	const struct mm_ckpt_file *f;
	int fd;
	const struct mm_tensor **matrix; /* by offset */
	size_t n;
	uint8_t *buf; /* [CHUNK] */
	struct mm_err *err;
};

static bool ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), k = strlen(tail);
	return n >= k && !strcmp(s + n - k, tail);
}

/* Causal masks and the like are half zeros; an adapter's B starts at zero. */
static bool counts(const struct mm_tensor *t)
{
	static const char *const not [] = { "bias", "mask", "lora_B.weight", "lora_embedding_B" };
	for (size_t i = 0; i < MM_COUNT(not ); i++)
		if (ends_with(t->name, not [i]))
			return false;
	return t->n_dim >= 2 && t->n_byte >= 64 && t->dtype != MM_BOOL && t->dtype != MM_I64;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

static int load(struct scan *s, uint64_t off, size_t n)
{
	return mm_pread_full(s->fd, s->buf, n, off, s->f->name, s->err);
}

/* Zeros from `from` upwards, not beyond `to`: where they end. */
static int run_up(struct scan *s, uint64_t from, uint64_t to, uint64_t *end)
{
	to = MM_MIN(to, from + RUN_MAX);
	for (*end = from; *end < to;) {
		size_t n = (size_t)MM_MIN(to - *end, (uint64_t)CHUNK), i = 0;
		if (load(s, *end, n))
			return -1;
		if (all_zero(s->buf, n)) {
			*end += n;
			continue;
		}
		while (!s->buf[i])
			i++;
		*end += i;
		return 0;
	}
	return 0;
}

/* Zeros from `from` downwards, not below `to`: where they begin. */
static int run_down(struct scan *s, uint64_t from, uint64_t to, uint64_t *begin)
{
	to = from - to > RUN_MAX ? from - RUN_MAX : to;
	for (*begin = from; *begin > to;) {
		size_t n = (size_t)MM_MIN(*begin - to, (uint64_t)CHUNK), i = n;
		if (load(s, *begin - n, n))
			return -1;
		if (all_zero(s->buf, n)) {
			*begin -= n;
			continue;
		}
		while (!s->buf[i - 1])
			i--;
		*begin -= n - i;
		return 0;
	}
	return 0;
}

static bool near_row(const struct mm_tensor *t, uint64_t off)
{
	const struct mm_dtype_info *d = &mm_dtypes[t->dtype];
	uint64_t row = t->dim[t->n_dim - 1] / d->block * d->bytes, past = row ? off % row : 0;
	return past <= SLACK || row - past <= SLACK;
}

/* Is the beginning of matrix k zero too? */
static int next_is_zero(struct scan *s, size_t k)
{
	if (k >= s->n)
		return 0;
	size_t n = (size_t)MM_MIN(s->matrix[k]->n_byte, (uint64_t)MM_SAMPLE_BYTES);
	return load(s, s->matrix[k]->offset, n) ? -1 : all_zero(s->buf, n);
}

static bool is_hole(const struct scan *s, uint64_t from, uint64_t to)
{
	off_t data = lseek(s->fd, (off_t)from, SEEK_DATA);
	return (data < 0 && errno == ENXIO) || data >= (off_t)to;
}

/* Byte `at` of the file, inside matrix k, is a zero: is it right there? 1: no. */
static int judge(struct scan *s, size_t k, uint64_t at)
{
	const struct mm_tensor *t = s->matrix[k];
	uint64_t first = t->offset, last = t->offset + t->n_byte, a, b;
	int next;
	if (run_down(s, at, first, &a) || run_up(s, at, last, &b))
		return -1;
	if (b - a >= RUN_MAX)
		return 1;
	if (b == last && (next = next_is_zero(s, k + 1)))
		return next;
	if (a == first && b == last)
		return k + 1 == s->n || is_hole(s, a, b);
	return b - a >= TAIL && !((a == first || near_row(t, a - first)) && (b == last || near_row(t, b - first)));
}

static int found(struct scan *s, const struct mm_tensor *t, struct mm_ckpt_why *why)
{
	mm_ckpt_blame(why, "empty_blocks", s->f->name, 0, true);
	mm_fail(s->err, MM_ETRUNC, "%s: space of tensor %s is set aside, but not written yet", s->f->name, t->name);
	return 1;
}

/* Index of the matrix that holds `off`, or of the first one behind it. */
static size_t matrix_at(const struct scan *s, uint64_t off)
{
	size_t lo = 0, hi = s->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (s->matrix[mid]->offset + s->matrix[mid]->n_byte <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int scan_holes(struct scan *s, struct mm_ckpt_why *why)
{
	off_t off = (off_t)s->f->data, size = (off_t)s->f->size;
	for (int i = 0; i < HOLES_MAX && off < size; i++) {
		off_t hole = lseek(s->fd, off, SEEK_HOLE);
		if (hole < 0 || hole >= size)
			return 0; /* none, or the file system does not tell */
		off_t data = lseek(s->fd, hole, SEEK_DATA);
		if (data < 0)
			data = size;
		size_t k = matrix_at(s, (uint64_t)hole);
		if (k < s->n && s->matrix[k]->offset < (uint64_t)data) {
			int rc = judge(s, k, MM_MAX((uint64_t)hole, s->matrix[k]->offset));
			if (rc)
				return rc < 0 ? -1 : found(s, s->matrix[k], why);
		}
		off = data;
	}
	return 0;
}

static int scan_samples(struct scan *s, unsigned n_sample, struct mm_ckpt_why *why)
{
	for (size_t k = 0; k < s->n; k++) {
		const struct mm_tensor *t = s->matrix[k];
		uint64_t len = MM_MIN(t->n_byte, (uint64_t)MM_SAMPLE_BYTES);
		unsigned n = t->n_byte > len ? n_sample : 1;
		for (unsigned i = 0; i <= n; i++) {
			uint64_t at = t->offset + (i < n ? mm_sample_at(t->n_byte, len, i, n) : 0);
			if (i == n) { /* the file's tail */
				if (k + 1 < s->n)
					break;
				len = MM_MIN(len, (uint64_t)TAIL);
				at = t->offset + t->n_byte - len;
			}
			if (load(s, at, (size_t)len))
				return -1;
			int rc = all_zero(s->buf, (size_t)len) ? judge(s, k, at) : 0;
			if (rc)
				return rc < 0 ? -1 : found(s, t, why);
		}
	}
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct mm_tensor *p = *(const struct mm_tensor *const *)a, *q = *(const struct mm_tensor *const *)b;
	return p->offset < q->offset ? -1 : p->offset > q->offset;
}

static int scan_file(const struct mm_ckpt *ck, unsigned file, struct scan *s, struct mm_ckpt_why *why)
{
	struct stat st;
	s->f = &ck->file[file];
	s->n = 0;
	for (size_t i = 0; i < ck->n_tensor; i++)
		if (ck->tensor[i].file == file && counts(&ck->tensor[i]))
			s->matrix[s->n++] = &ck->tensor[i];
	if (!s->n)
		return 0;
	qsort(s->matrix, s->n, sizeof *s->matrix, by_offset);
	if ((s->fd = mm_ckpt_open_file(s->f->path, s->f->name, "missing_shard", &st, why, s->err)) < 0)
		return -1;
	int rc = scan_holes(s, why);
	if (!rc)
		rc = scan_samples(s, mm_sample_count(ck), why);
	close(s->fd);
	return rc;
}

int mm_unwritten_find(const struct mm_ckpt *ck, struct mm_ckpt_why *why, struct mm_err *err)
{
	struct scan s = { .err = err };
	int rc = -1;
	if ((s.matrix = mm_calloc(ck->n_tensor, sizeof *s.matrix, err)) && (s.buf = mm_calloc(CHUNK, 1, err))) {
		rc = 0;
		for (size_t i = 0; i < ck->n_file && !rc; i++)
			rc = scan_file(ck, (unsigned)i, &s, why);
	}
	mm_free(s.matrix);
	mm_free(s.buf);
	return rc;
}
