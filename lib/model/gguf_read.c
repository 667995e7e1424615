/* gguf_read.c - tensors of a GGUF checkpoint: the infos behind the metadata, one or several parts.
 *
 *	info: string name | u32 n_dims | u64 dims[n_dims], innermost first | u32 type | u64 offset
 *
 * Offsets are relative to the data, which begin at the next multiple of general.alignment (32) behind the infos, and
 *are multiples of it. Dimensions are turned round on load, outer ones of 1 dropped, so that a matrix is [rows, row
 *length] as everywhere. Names come before offsets: tensors may be stored in any order, with gaps, but never on top of
 *each other.
 *
 * A split model: NAME-00001-of-00003.gguf has all metadata, the others split.no (from 0), split.count and their own
 *infos and offsets. The first part opens all of them; a later one given alone is refused with the name of the first.
 */
#include "model/ckpt_priv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GGUF_DIMS_MAX 4u
#define NAME_LEN_MAX  255u
#define SPLIT_MAX     99999
#define ALIGN_DEFAULT 32u
#define ALIGN_MAX     ((int64_t)1 << 31)

/* Types that exist but are not read, for the message. */
static const struct {
	uint32_t type;
	const char *name;
} unsupported[] = {
	{ 4, "Q4_2, removed" },
	{ 5, "Q4_3, removed" },
	{ 9, "Q8_1" },
	{ 16, "IQ2_XXS" },
	{ 17, "IQ2_XS" },
	{ 18, "IQ3_XXS" },
	{ 19, "IQ1_S" },
	{ 21, "IQ3_S" },
	{ 22, "IQ2_S" },
	{ 29, "IQ1_M" },
	{ 31, "Q4_0_4_4, removed" },
	{ 32, "Q4_0_4_8, removed" },
	{ 33, "Q4_0_8_8, removed" },
	{ 34, "TQ1_0" },
	{ 35, "TQ2_0" },
};

static int dtype_of(uint32_t type, const char *name, enum mm_dtype *out, struct mm_err *err)
{
	const char *what = "unknown";
	for (int d = 0; d < MM_DTYPE_COUNT; d++)
		if (mm_dtypes[d].ggml >= 0 && (uint32_t)mm_dtypes[d].ggml == type) {
			*out = (enum mm_dtype)d;
			return 0;
		}
	for (size_t i = 0; i < MM_COUNT(unsupported); i++)
		if (unsupported[i].type == type)
			what = unsupported[i].name;
	return mm_fail(err, MM_EUNSUPPORTED, "tensor %s: ggml type %u (%s) is not supported", name, type, what);
}

static int read_dims(struct mm_cur *c, struct mm_tensor *t, const char *name, struct mm_err *err)
{
	uint32_t n = mm_cur_u32(c);
	if (c->failed)
		return -1;
	if (n < 1 || n > GGUF_DIMS_MAX)
		return mm_fail(err, MM_EFORMAT, "tensor %s: %u dimensions (1 to 4 are allowed)", name, n);
	t->n_dim = n;
	for (uint32_t i = 0; i < n; i++)
		t->dim[n - 1 - i] = mm_cur_u64(c);
	for (uint32_t i = 0; i < n && !c->failed; i++)
		if (!t->dim[i] || t->dim[i] > INT64_MAX)
			return mm_fail(err, MM_EFORMAT, "tensor %s: dimension %u is %llu", name, n - 1 - i,
				(unsigned long long)t->dim[i]);
	unsigned ones = 0;
	while (ones + 1 < t->n_dim && t->dim[ones] == 1)
		ones++;
	memmove(t->dim, t->dim + ones, (t->n_dim - ones) * sizeof t->dim[0]);
	t->n_dim -= ones;
	return 0;
}

/* -1 with err->code MM_OK left as it was and c->failed set: the info goes on behind the bytes at hand. */
static int read_info(
	struct mm_cur *c, struct mm_tensor *t, const char **name, size_t *len, char shown[200], struct mm_err *err)
{
	uint64_t n = mm_cur_u64(c);
	if (c->failed)
		return -1;
	if (!n || n > NAME_LEN_MAX)
		return mm_fail(err, MM_EFORMAT, "tensor name of %llu bytes (1 to %u are allowed)",
			(unsigned long long)n, NAME_LEN_MAX);
	const uint8_t *s = mm_cur_bytes(c, n);
	if (!s)
		return -1;
	mm_utf8_sanitize(shown, 200, s, (size_t)n);
	if (memchr(s, 0, (size_t)n) || !mm_utf8_valid(s, (size_t)n))
		return mm_fail(err, MM_EFORMAT, "tensor name \"%s\" holds a NUL or is no UTF-8", shown);
	*name = (const char *)s;
	*len = (size_t)n;
	if (read_dims(c, t, shown, err))
		return -1;
	uint32_t type = mm_cur_u32(c);
	t->offset = mm_cur_u64(c);
	if (c->failed)
		return -1;
	return dtype_of(type, shown, &t->dtype, err) || mm_tensor_size(t, shown, err) ? -1 : 0;
}

/* All infos of one part; reads more of the file when they do not fit. Returns where they end, 0 on failure. */
static size_t read_infos(struct mm_ckpt *ck, struct mm_gguf *g, int fd, unsigned file, struct mm_err *err)
{
	size_t at = g->infos;
	for (uint64_t i = 0; i < g->n_tensor; i++) {
		struct mm_tensor t = { .file = file };
		struct mm_cur c = mm_cur_of(g->buf, g->n_buf);
		const char *name = NULL;
		size_t len = 0;
		char shown[200];
		c.off = at;
		if (read_info(&c, &t, &name, &len, shown, err)) {
			if (!c.failed)
				return 0;
			size_t more = (size_t)MM_MIN(ck->file[file].size, (uint64_t)g->n_buf * 2);
			if (mm_gguf_more(
				    g, fd, ck->file[file].size, MM_MAX(more, g->n_buf + 1), ck->file[file].name, err))
				return 0;
			i--;
			continue;
		}
		if (mm_ckpt_tensor_add(ck, &t, name, len, err))
			return 0;
		at = c.off;
	}
	return at;
}

static int by_offset(const void *a, const void *b)
{
	const struct mm_tensor *p = *(const struct mm_tensor *const *)a, *q = *(const struct mm_tensor *const *)b;
	return p->offset < q->offset ? -1 : p->offset > q->offset;
}

/* Inside the file, aligned, not on top of each other. Offsets become those in the file. */
static int check_layout(
	struct mm_ckpt *ck, unsigned file, size_t first, uint64_t align, struct mm_ckpt_why *why, struct mm_err *err)
{
	struct mm_ckpt_file *f = &ck->file[file];
	size_t n = ck->n_tensor - first;
	uint64_t room = f->size > f->data ? f->size - f->data : 0, missing = 0;
	const struct mm_tensor *beyond = NULL;
	int rc = -1;
	struct mm_tensor **order = mm_calloc(n, sizeof *order, err);
	if (!order)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct mm_tensor *t = order[i] = &ck->tensor[first + i];
		uint64_t end;
		if (t->offset % align) {
			mm_fail(err, MM_EFORMAT, "tensor %s: offset %llu is no multiple of the alignment %llu", t->name,
				(unsigned long long)t->offset, (unsigned long long)align);
			goto out;
		}
		if (__builtin_add_overflow(t->offset, t->n_byte, &end) || end > INT64_MAX - f->data) {
			mm_fail(err, MM_EFORMAT, "tensor %s: offset %llu is beyond the end of the file", t->name,
				(unsigned long long)t->offset);
			goto out;
		}
		if (end > room && end - room > missing) {
			missing = end - room;
			beyond = t;
		}
	}
	qsort(order, n, sizeof *order, by_offset);
	for (size_t i = 1; i < n; i++)
		if (order[i]->offset < order[i - 1]->offset + order[i - 1]->n_byte) {
			mm_fail(err, MM_EFORMAT, "tensors %s and %s overlap", order[i - 1]->name, order[i]->name);
			goto out;
		}
	if (beyond) {
		missing += f->data > f->size ? f->data - f->size : 0;
		mm_ckpt_blame(why, "truncated", f->name, missing, true);
		mm_fail(err, MM_ETRUNC, "tensor %s: data beyond the end of the file (%llu bytes are missing)",
			beyond->name, (unsigned long long)missing);
		goto out;
	}
	for (size_t i = 0; i < n; i++) {
		order[i]->offset += f->data;
		order[i]->data = f->map ? f->map + order[i]->offset : NULL;
	}
	rc = 0;
out:
	mm_free(order);
	return rc;
}

/* One file: metadata into *out, tensors into ck. */
static int read_part(
	struct mm_ckpt *ck, const char *name, struct mm_gguf **out, struct mm_ckpt_why *why, struct mm_err *err)
{
	int64_t align = ALIGN_DEFAULT;
	size_t first = ck->n_tensor, end;
	int rc = -1, fd = mm_ckpt_file_add(ck, name, why, err);
	if (fd < 0)
		return -1;
	unsigned file = (unsigned)(ck->n_file - 1);
	struct mm_gguf *g = mm_gguf_load(fd, ck->file[file].size, name, why, err);
	if (!g || mm_gguf_get_i64(g, "general.alignment", 1, ALIGN_MAX, &align, err))
		goto out;
	if (align & (align - 1)) {
		mm_fail(err, MM_EFORMAT, "key general.alignment: %lld is no power of two", (long long)align);
		goto out;
	}
	if (!(end = read_infos(ck, g, fd, file, err)))
		goto out;
	ck->file[file].data = (end + (uint64_t)align - 1) / (uint64_t)align * (uint64_t)align;
	rc = check_layout(ck, file, first, (uint64_t)align, why, err);
out:
	if (rc) {
		mm_ckpt_blame(why, err->code == MM_ETRUNC ? "truncated" : "bad_weights", name, err->code == MM_ETRUNC,
			err->code == MM_ETRUNC);
		mm_wrap(err, "%s", name);
		mm_gguf_close(g);
	} else {
		*out = g;
	}
	close(fd);
	return rc;
}

int mm_gguf_split_name(const char *name, int *no, int *count)
{
	static const char pattern[] = "-00000-of-00000.gguf";
	size_t n = strlen(name), k = sizeof pattern - 1;
	if (n < k)
		return -1;
	const char *tail = name + n - k;
	for (size_t i = 0; i < k; i++)
		if (pattern[i] == '0' ? tail[i] < '0' || tail[i] > '9' : tail[i] != pattern[i])
			return -1;
	*no = atoi(tail + 1);
	*count = atoi(tail + 10);
	return (int)(n - k);
}

static int read_other_parts(
	struct mm_ckpt *ck, const char *name, int64_t count, struct mm_ckpt_why *why, struct mm_err *err)
{
	int no = 0, of = 0, stem = mm_gguf_split_name(name, &no, &of);
	if (stem < 0 || no != 1 || of != count)
		return mm_fail(err, MM_ENOENT,
			"%s: the first of %lld parts, but its name does not end in -00001-of-%05lld.gguf: the other "
			"parts cannot be found",
			name, (long long)count, (long long)count);
	for (int i = 2; i <= of; i++) {
		struct mm_gguf *g = NULL;
		int64_t part_no = -1, part_count = -1;
		char *part = mm_asprintf(err, "%.*s-%05d-of-%05d.gguf", stem, name, i, of);
		int rc = part ? read_part(ck, part, &g, why, err) : -1;
		if (!rc && (mm_gguf_get_i64(g, "split.no", 0, SPLIT_MAX, &part_no, err) ||
				   mm_gguf_get_i64(g, "split.count", 0, SPLIT_MAX, &part_count, err)))
			rc = -1;
		if (!rc && (part_no != i - 1 || part_count != count))
			rc = mm_fail(err, MM_EFORMAT, "%s: says part %lld of %lld, expected part %d of %d", part,
				(long long)part_no + 1, (long long)part_count, i, of);
		mm_gguf_close(g);
		mm_free(part);
		if (rc)
			return -1;
	}
	return 0;
}

static int read_splits(struct mm_ckpt *ck, const char *name, struct mm_ckpt_why *why, struct mm_err *err)
{
	int64_t no = 0, count = 1, tensors = -1;
	int a, b, stem = mm_gguf_split_name(name, &a, &b);
	if (mm_gguf_get_i64(ck->gguf, "split.no", 0, SPLIT_MAX, &no, err) ||
		mm_gguf_get_i64(ck->gguf, "split.count", 0, SPLIT_MAX, &count, err) ||
		mm_gguf_get_i64(ck->gguf, "split.tensors.count", 0, INT32_MAX, &tensors, err))
		return -1;
	if (no)
		mm_ckpt_blame(why, "split_part", name, 0, false); /* no checkpoint of its own */
	if (no && stem >= 0)
		return mm_fail(err, MM_EINVAL, "%s: part %lld of %lld; give the first part, %.*s-00001-of-%05d.gguf",
			name, (long long)no + 1, (long long)count, stem, name, b);
	if (no)
		return mm_fail(err, MM_EINVAL, "%s: part %lld of %lld; give the first part (...-00001-of-%05lld.gguf)",
			name, (long long)no + 1, (long long)count, (long long)count);
	if (count > 1 && read_other_parts(ck, name, count, why, err))
		return -1;
	if (count > 1 && tensors >= 0 && (uint64_t)tensors != ck->n_tensor)
		return mm_fail(err, MM_EFORMAT, "%s: split.tensors.count is %lld, the parts have %zu tensors", name,
			(long long)tensors, ck->n_tensor);
	return 0;
}

static int check_architecture(const struct mm_gguf *g, struct mm_err *err)
{
	const char *s = NULL;
	size_t n = 0;
	char shown[100];
	if (mm_gguf_get_str(g, "general.architecture", &s, &n, err))
		return -1;
	if (!s)
		return mm_fail(err, MM_EFORMAT, "key general.architecture is missing");
	mm_utf8_sanitize(shown, sizeof shown, s, n);
	for (size_t i = 0; i < n; i++)
		if (n > 64 ||
			!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
				(s[i] >= '0' && s[i] <= '9') || strchr("-_.", s[i]) || !s[i]) ||
			!s[i])
			return mm_fail(err, MM_EUNSUPPORTED,
				"key general.architecture: \"%s\" is no name of an architecture", shown);
	return n ? 0 : mm_fail(err, MM_EFORMAT, "key general.architecture is empty");
}

/* The types of the vocabulary's arrays, so that scoring given ids refuses the same files as scoring texts. */
static int check_vocabulary(const struct mm_gguf *g, struct mm_err *err)
{
	struct mm_gguf_array a = { 0 };
	return mm_gguf_get_array(g, "tokenizer.ggml.tokens", MM_GGUF_STRING, &a, err) ||
	       mm_gguf_get_array(g, "tokenizer.ggml.merges", MM_GGUF_STRING, &a, err) ||
	       mm_gguf_get_ints(g, "tokenizer.ggml.token_type", &a, err) ||
	       mm_gguf_get_floats(g, "tokenizer.ggml.scores", &a, err);
}

int mm_gguf_read(struct mm_ckpt *ck, const char *name, struct mm_ckpt_why *why, struct mm_err *err)
{
	if (read_part(ck, name, &ck->gguf, why, err))
		return -1;
	if (read_splits(ck, name, why, err)) {
		mm_ckpt_blame(why, "bad_weights", name, 0, false);
		return -1;
	}
	if (check_architecture(ck->gguf, err) || check_vocabulary(ck->gguf, err) ||
		!(ck->config = mm_gguf_json(ck->gguf, err))) {
		mm_ckpt_blame(why, "bad_config", name, 0, false);
		return mm_wrap(err, "%s", name);
	}
	return 0;
}
