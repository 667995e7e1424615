/* safetensors.c - the header of one .safetensors file.
 *
 *	[u64 n][n bytes: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__":
 *{..}}] [data: offsets count from here]
 *
 * The header may have 100 MB, so it is not turned into a tree: one pass over the text writes tensors. What the format
 * demands is demanded: the first byte is '{', the header is strict JSON in UTF-8 with nothing but white space behind
 *it, no name is there twice, offsets and shapes are plain integers, the tensors lie end to end from 0 to the end of the
 * file. Names are unescaped before anybody compares them; a NUL in one is refused, since C strings would cut it there.
 */
#include "model/ckpt_priv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER_MAX   100000000u /* the format's limit */
#define NAME_LEN_MAX 4096u
#define DEPTH_MAX    32 /* of values that we skip */

struct lex { /* strict JSON over s[0..n); the first error stays */
	const char *s;
	size_t n, i;
	struct mm_err *err;
	bool failed;
};

static int bad(struct lex *x, const char *what)
{
	if (!x->failed)
		mm_fail(x->err, MM_EFORMAT, "header: byte %zu: %s", x->i, what);
	x->failed = true;
	return -1;
}

static void space(struct lex *x)
{
	while (x->i < x->n && (x->s[x->i] == ' ' || x->s[x->i] == '\t' || x->s[x->i] == '\n' || x->s[x->i] == '\r'))
		x->i++;
}

/* The next byte that is no white space; 0 at the end. */
static char peek(struct lex *x)
{
	space(x);
	return x->i < x->n && !x->failed ? x->s[x->i] : 0;
}

static bool take(struct lex *x, char c)
{
	if (peek(x) != c || !c)
		return false;
	x->i++;
	return true;
}

static int expect(struct lex *x, char c)
{
	char what[] = "expected ' '";
	what[10] = c;
	return take(x, c) ? 0 : bad(x, what);
}

static int hex4(struct lex *x, uint32_t *out)
{
	uint32_t v = 0;
	for (int k = 0; k < 4; k++, x->i++) {
		char c = x->i < x->n ? x->s[x->i] : 0;
		int d = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
					       : -1;
		if (d < 0)
			return bad(x, "bad \\u escape");
		v = v << 4 | (uint32_t)d;
	}
	*out = v;
	return 0;
}

static int escape(struct lex *x, struct mm_buf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	char c = x->i < x->n ? x->s[x->i++] : 0;
	const char *at = c ? strchr(from, c) : NULL;
	uint32_t cp, low;
	uint8_t utf8[4];
	if (at) {
		mm_buf_u8(out, (uint8_t)to[at - from]);
		return 0;
	}
	if (c != 'u' || hex4(x, &cp))
		return bad(x, "bad escape");
	if (cp >= 0xd800 && cp < 0xdc00) {
		if (x->n - x->i < 2 || x->s[x->i] != '\\' || x->s[x->i + 1] != 'u')
			return bad(x, "half a surrogate pair");
		x->i += 2;
		if (hex4(x, &low))
			return -1;
		if (low < 0xdc00 || low > 0xdfff)
			return bad(x, "half a surrogate pair");
		cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
	}
	unsigned n = mm_utf8_encode(cp, utf8);
	if (!n)
		return bad(x, "half a surrogate pair");
	mm_buf_put(out, utf8, n);
	return 0;
}

/* A string, unescaped into `out` (emptied first). */
static int string(struct lex *x, struct mm_buf *out)
{
	out->len = 0;
	mm_buf_put(out, "", 0);
	if (expect(x, '"'))
		return -1;
	for (;;) {
		size_t from = x->i;
		while (x->i < x->n && (uint8_t)x->s[x->i] >= 0x20 && x->s[x->i] != '"' && x->s[x->i] != '\\')
			x->i++;
		mm_buf_put(out, x->s + from, x->i - from);
		if (x->i >= x->n)
			return bad(x, "string without an end");
		char c = x->s[x->i++];
		if (c == '"')
			break;
		if (c != '\\')
			return bad(x, "control character in a string");
		if (escape(x, out))
			return -1;
	}
	if (mm_buf_check(out, x->err)) {
		x->failed = true;
		return -1;
	}
	return 0;
}

/* A plain unsigned integer: no sign, no fraction, no exponent, no leading zero, at most 2^64 - 1. */
static int natural(struct lex *x, uint64_t *out)
{
	uint64_t v = 0;
	char c = peek(x);
	size_t from = x->i;
	if (c < '0' || c > '9')
		return bad(x, "expected an unsigned integer");
	for (; x->i < x->n && x->s[x->i] >= '0' && x->s[x->i] <= '9'; x->i++)
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
			__builtin_add_overflow(v, (uint64_t)(x->s[x->i] - '0'), &v))
			return bad(x, "integer larger than 64 bits");
	if (c == '0' && x->i - from > 1)
		return bad(x, "number with a leading zero");
	if (x->i < x->n && (x->s[x->i] == '.' || x->s[x->i] == 'e' || x->s[x->i] == 'E'))
		return bad(x, "expected an unsigned integer, found a fraction");
	*out = v;
	return 0;
}

static void digits(struct lex *x)
{
	size_t from = x->i;
	while (x->i < x->n && x->s[x->i] >= '0' && x->s[x->i] <= '9')
		x->i++;
	if (x->i == from)
		bad(x, "bad number");
}

static int skip_number(struct lex *x)
{
	if (x->s[x->i] == '-')
		x->i++;
	if (x->i < x->n && x->s[x->i] == '0')
		x->i++;
	else
		digits(x);
	if (x->i < x->n && x->s[x->i] == '.') {
		x->i++;
		digits(x);
	}
	if (x->i < x->n && (x->s[x->i] == 'e' || x->s[x->i] == 'E')) {
		x->i++;
		if (x->i < x->n && (x->s[x->i] == '+' || x->s[x->i] == '-'))
			x->i++;
		digits(x);
	}
	return x->failed ? -1 : 0;
}

/* Any value: checked, not kept. */
static int skip(struct lex *x, struct mm_buf *tmp, int depth)
{
	static const char *const word[] = { "true", "false", "null" };
	char c = peek(x), close = c == '{' ? '}' : ']';
	if (c == '"')
		return string(x, tmp);
	if (c == '-' || (c >= '0' && c <= '9'))
		return skip_number(x);
	for (size_t k = 0; k < MM_COUNT(word); k++)
		if (c == word[k][0] && x->n - x->i >= strlen(word[k]) &&
			!memcmp(x->s + x->i, word[k], strlen(word[k]))) {
			x->i += strlen(word[k]);
			return 0;
		}
	if (c != '{' && c != '[')
		return bad(x, "not JSON");
	if (depth >= DEPTH_MAX)
		return bad(x, "nested too deep");
	x->i++;
	if (take(x, close))
		return 0;
	do {
		if (c == '{' && (string(x, tmp) || expect(x, ':')))
			return -1;
		if (skip(x, tmp, depth + 1))
			return -1;
	} while (take(x, ','));
	return expect(x, close);
}

struct entry { /* one tensor while it is read */
	struct mm_tensor t;
	uint64_t begin, end;
	bool has_dtype, has_shape, has_offsets;
	char dtype[32];
};

static int read_shape(struct lex *x, struct entry *e)
{
	if (expect(x, '['))
		return -1;
	if (take(x, ']'))
		return 0;
	do {
		if (e->t.n_dim == MM_DIMS_MAX)
			return bad(x, "more than 8 dimensions");
		if (natural(x, &e->t.dim[e->t.n_dim++]))
			return -1;
	} while (take(x, ','));
	return expect(x, ']');
}

static int read_offsets(struct lex *x, struct entry *e)
{
	if (expect(x, '[') || natural(x, &e->begin) || expect(x, ',') || natural(x, &e->end))
		return -1;
	return expect(x, ']');
}

static int read_field(struct lex *x, struct entry *e, struct mm_buf *tmp)
{
	const char *key = (const char *)tmp->data;
	bool *seen = !strcmp(key, "dtype")	    ? &e->has_dtype
		     : !strcmp(key, "shape")	    ? &e->has_shape
		     : !strcmp(key, "data_offsets") ? &e->has_offsets
						    : NULL;
	if (!seen || strlen(key) != tmp->len)
		return skip(x, tmp, 2); /* a later version's addition */
	if (*seen)
		return bad(x, "duplicate key");
	*seen = true;
	if (seen == &e->has_shape)
		return read_shape(x, e);
	if (seen == &e->has_offsets)
		return read_offsets(x, e);
	if (string(x, tmp))
		return -1;
	mm_utf8_sanitize(e->dtype, sizeof e->dtype, tmp->data, tmp->len);
	return 0;
}

static int dtype_of(struct entry *e)
{
	for (int d = 0; d < MM_DTYPE_COUNT; d++)
		if (mm_dtypes[d].safetensors && !strcmp(mm_dtypes[d].safetensors, e->dtype)) {
			e->t.dtype = (enum mm_dtype)d;
			return 0;
		}
	return -1;
}

/* One entry complete: is it consistent in itself? */
static int check_entry(struct entry *e, const struct mm_buf *name, struct mm_err *err)
{
	char shown[200];
	mm_utf8_sanitize(shown, sizeof shown, name->data, name->len);
	if (!name->len || name->len > NAME_LEN_MAX || memchr(name->data, 0, name->len))
		return mm_fail(err, MM_EFORMAT, "tensor name \"%s\" (%zu bytes) is empty, too long or holds a NUL",
			shown, name->len);
	if (!e->has_dtype || !e->has_shape || !e->has_offsets)
		return mm_fail(err, MM_EFORMAT, "tensor %s: %s is missing", shown,
			!e->has_dtype	? "dtype"
			: !e->has_shape ? "shape"
					: "data_offsets");
	if (dtype_of(e))
		return mm_fail(err, MM_EUNSUPPORTED, "tensor %s: unknown dtype %s", shown, e->dtype);
	if (mm_tensor_size(&e->t, shown, err))
		return -1;
	if (e->begin > e->end)
		return mm_fail(err, MM_EFORMAT, "tensor %s: begins at %llu, after its end %llu", shown,
			(unsigned long long)e->begin, (unsigned long long)e->end);
	if (e->end - e->begin != e->t.n_byte) {
		char shape[128];
		mm_shape_format(e->t.n_dim, e->t.dim, shape, sizeof shape);
		return mm_fail(err, MM_EFORMAT, "tensor %s: %llu bytes do not agree with shape %s of %s (%llu bytes)",
			shown, (unsigned long long)(e->end - e->begin), shape, e->dtype,
			(unsigned long long)e->t.n_byte);
	}
	return 0;
}

static int read_tensor(struct lex *x, struct mm_ckpt *ck, unsigned file, const struct mm_buf *name, struct mm_buf *tmp)
{
	struct entry e = { .t = { .file = file } };
	if (expect(x, '{'))
		return -1;
	if (!take(x, '}')) {
		do {
			if (string(x, tmp) || expect(x, ':') || read_field(x, &e, tmp))
				return -1;
		} while (take(x, ','));
		if (expect(x, '}'))
			return -1;
	}
	if (check_entry(&e, name, x->err))
		return -1;
	e.t.offset = e.begin;
	return mm_ckpt_tensor_add(ck, &e.t, (const char *)name->data, name->len, x->err);
}

static int by_offset(const void *a, const void *b)
{
	const struct mm_tensor *p = *(const struct mm_tensor *const *)a, *q = *(const struct mm_tensor *const *)b;
	if (p->offset != q->offset)
		return p->offset < q->offset ? -1 : 1;
	return p->n_byte < q->n_byte ? -1 : p->n_byte > q->n_byte;
}

/* End to end from 0 to the end of the file: no overlap, no hole, nothing beyond. Offsets become those in the file. */
static int check_layout(struct mm_ckpt *ck, unsigned file, size_t first, struct mm_ckpt_why *why, struct mm_err *err)
{
	const struct mm_ckpt_file *f = &ck->file[file];
	size_t n = ck->n_tensor - first;
	uint64_t at = 0, room = f->size - f->data;
	int rc = -1;
	struct mm_tensor **order = mm_calloc(n, sizeof *order, err);
	if (!order)
		return -1;
	for (size_t i = 0; i < n; i++)
		order[i] = &ck->tensor[first + i];
	qsort(order, n, sizeof *order, by_offset);
	for (size_t i = 0; i < n; i++) {
		struct mm_tensor *t = order[i];
		if (t->offset != at) {
			const char *what = t->offset < at ? "overlaps" : "leaves a hole after";
			mm_fail(err, MM_EFORMAT, "tensor %s: begins at %llu, which %s the tensor before it (end %llu)",
				t->name, (unsigned long long)t->offset, what, (unsigned long long)at);
			goto out;
		}
		at += t->n_byte; /* no overflow: it is data_offsets[1] */
		if (at > room) {
			uint64_t end = order[n - 1]->offset + order[n - 1]->n_byte;
			mm_ckpt_blame(why, "truncated", f->name, end > room ? end - room : at - room, true);
			mm_fail(err, MM_ETRUNC, "tensor %s: data beyond the end of the file (%llu bytes are missing)",
				t->name, (unsigned long long)(end > room ? end - room : at - room));
			goto out;
		}
	}
	if (at != room) {
		mm_fail(err, MM_EFORMAT, "%llu bytes behind the last tensor belong to no tensor",
			(unsigned long long)(room - at));
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

int mm_safetensors_parse(
	struct mm_ckpt *ck, unsigned file, const uint8_t *header, size_t n, struct mm_ckpt_why *why, struct mm_err *err)
{
	struct lex x = { .s = (const char *)header, .n = n, .err = err };
	struct mm_buf name = { 0 }, tmp = { 0 };
	size_t first = ck->n_tensor;
	int rc = -1;
	if (!mm_utf8_valid(header, n)) {
		mm_fail(err, MM_EFORMAT, "header: not valid UTF-8");
		goto out;
	}
	if (!n || header[0] != '{') {
		mm_fail(err, MM_EFORMAT, "header: not a JSON object");
		goto out;
	}
	x.i = 1;
	if (!take(&x, '}')) {
		bool metadata = false;
		do {
			if (string(&x, &name) || expect(&x, ':'))
				goto out;
			if (name.len == 12 && !memcmp(name.data, "__metadata__", 12)) {
				if (metadata) {
					bad(&x, "__metadata__ is there twice");
					goto out;
				}
				metadata = true;
				if (peek(&x) != '{' && peek(&x) != 'n') {
					bad(&x, "__metadata__ is no object");
					goto out;
				}
				if (skip(&x, &tmp, 1))
					goto out;
			} else if (read_tensor(&x, ck, file, &name, &tmp)) {
				if (x.failed) /* the others name it already */
					mm_wrap(err, "tensor %.200s", (const char *)name.data);
				goto out;
			}
		} while (take(&x, ','));
		if (expect(&x, '}'))
			goto out;
	}
	space(&x);
	if (x.i != x.n) {
		bad(&x, "text after the JSON object");
		goto out;
	}
	rc = check_layout(ck, file, first, why, err);
out:
	mm_buf_fini(&name);
	mm_buf_fini(&tmp);
	return rc;
}

static int read_header(struct mm_ckpt *ck, int fd, struct mm_ckpt_file *f, uint8_t **header, size_t *n,
	struct mm_ckpt_why *why, struct mm_err *err)
{
	uint8_t raw[8];
	uint64_t len = 0;
	(void)ck;
	if (f->size < 8) {
		mm_ckpt_blame(why, "truncated", f->name, 8 - f->size, true);
		return mm_fail(err, MM_ETRUNC, "too short: %llu bytes", (unsigned long long)f->size);
	}
	if (mm_pread_full(fd, raw, 8, 0, f->name, err))
		return -1;
	for (int k = 0; k < 8; k++)
		len |= (uint64_t)raw[k] << (8 * k);
	if (!len) {
		uint8_t probe[512] = { 0 };
		size_t want = (size_t)MM_MIN(f->size, sizeof probe);
		if (mm_pread_full(fd, probe, want, 0, f->name, err))
			return -1;
		if (want > 64 && mm_ckpt_unwritten(probe, want))
			mm_ckpt_blame(why, "empty_blocks", f->name, 0, true);
		return mm_fail(err, MM_EFORMAT, "header length 0: not a JSON object");
	}
	if (len > HEADER_MAX)
		return mm_fail(err, MM_EFORMAT, "header length %llu is over the format's limit of %u",
			(unsigned long long)len, HEADER_MAX);
	if (len > f->size - 8) {
		mm_ckpt_blame(why, "truncated", f->name, len - (f->size - 8), true);
		return mm_fail(err, MM_ETRUNC, "header of %llu bytes goes beyond the end of the file",
			(unsigned long long)len);
	}
	if (!(*header = mm_calloc((size_t)len, 1, err)))
		return -1;
	*n = (size_t)len;
	f->data = 8 + len;
	return mm_pread_full(fd, *header, (size_t)len, 8, f->name, err);
}

int mm_safetensors_read(struct mm_ckpt *ck, const char *name, struct mm_ckpt_why *why, struct mm_err *err)
{
	uint8_t *header = NULL;
	size_t n = 0;
	int rc, fd = mm_ckpt_file_add(ck, name, why, err);
	if (fd < 0)
		return -1;
	unsigned file = (unsigned)(ck->n_file - 1);
	rc = read_header(ck, fd, &ck->file[file], &header, &n, why, err);
	if (!rc)
		rc = mm_safetensors_parse(ck, file, header, n, why, err);
	if (rc) {
		if (header && mm_ckpt_unwritten(header, n))
			mm_ckpt_blame(why, "empty_blocks", name, 0, true);
		mm_ckpt_blame(why, "bad_weights", name, 0, false);
		mm_wrap(err, "%s", name);
	}
	close(fd);
	mm_free(header);
	return rc;
}
