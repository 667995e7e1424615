/* frame.c - the scorer's stream: progress, named arrays, metadata and a checksum over a pipe or in a file.
 *
 *   "MMS1"  frame frame ...  'Z'
 *   frame = type u8, 0 u8, 0 u8, 0 u8, payload length u32, payload     (all little-endian; payloads: see wire.h)
 *
 * The writer is trusted and blocks. The reader is not in a position to trust anybody: a scorer parses hostile files and
 * may have been taken over, so every length is held against the frame, the frame against the bound on the stream, and
 * an array's shape against its bytes, before anything is kept. A stream counts only once its 'Z' has come with the
 * right checksum (mm_frame_in_done); nothing may follow it.
 *
 * Threads: one at a time for each writer and reader.
 */
#include "wire/wire.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MAGIC	   "MMS1"
#define MAGIC_LEN  4u
#define HEAD_LEN   8u
#define END_LEN	   16u
#define NAME_LEN   63u	       /* of an array, without the NUL */
#define JSON_MAX   (16u << 20) /* bytes of one JSON frame */
#define ARRAYS_MAX 256u	       /* of one stream: the names are kept to refuse the same one twice */

size_t mm_array_type_size(unsigned type)
{
	static const uint8_t size[] = {
		[MM_A_F32] = 4,
		[MM_A_F64] = 8,
		[MM_A_U32] = 4,
		[MM_A_U8] = 1,
		[MM_A_F16] = 2,
	};
	return type < MM_COUNT(size) ? size[type] : 0;
}

static bool name_ok(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(s[i] >= 'a' && s[i] <= 'z') && !(s[i] >= '0' && s[i] <= '9') && s[i] != '_')
			return false;
	return n >= 1 && n <= NAME_LEN;
}

/* Bytes of an array of this type and shape; false when the type is unknown or the product does not fit. */
static bool array_bytes(unsigned type, unsigned n_dim, const uint64_t *dim, size_t *out)
{
	size_t n = mm_array_type_size(type);
	if (!n || n_dim > 4)
		return false;
	for (unsigned i = 0; i < n_dim; i++)
		if (dim[i] > SIZE_MAX || !mm_mul(n, (size_t)dim[i], &n))
			return false;
	*out = n;
	return true;
}

static void put_le(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/* ---- writing ---- */

struct mm_frame_out {
	int fd;
	bool failed, ended;
	struct mm_hasher *hash; /* of all bytes written so far */
};

/* The stream is hashed and written at once; after a failed write it is useless, and later calls say so. */
static int out_put(struct mm_frame_out *o, const void *data, size_t len, struct mm_err *err)
{
	mm_hasher_put(o->hash, data, len);
	for (const uint8_t *p = data; len;) {
		ssize_t n = write(o->fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			o->failed = true;
			return mm_fail_errno(err, "cannot write the result stream");
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int out_head(struct mm_frame_out *o, char type, size_t len, struct mm_err *err)
{
	uint8_t head[HEAD_LEN] = { (uint8_t)type };
	if (o->failed || o->ended)
		return mm_fail(err, MM_EINVAL, "frame '%c' after %s of the result stream", type,
			o->ended ? "the end" : "a failed write");
	if (len > MM_FRAME_MAX)
		return mm_fail(err, MM_EINVAL, "a frame of %zu bytes is more than %u", len, (unsigned)MM_FRAME_MAX);
	put_le(head + 4, len, 4);
	return out_put(o, head, sizeof head, err);
}

struct mm_frame_out *mm_frame_out_new(int fd, struct mm_err *err)
{
	struct mm_frame_out *o = mm_calloc(1, sizeof *o, err);
	if (!o)
		return NULL;
	o->fd = fd;
	if (!(o->hash = mm_hasher_new(err)) || out_put(o, MAGIC, MAGIC_LEN, err)) {
		mm_frame_out_free(o);
		return NULL;
	}
	return o;
}

int mm_frame_put_json(struct mm_frame_out *o, char type, const json_t *j, struct mm_err *err)
{
	if ((type != 'P' && type != 'M' && type != 'E') || !json_is_object(j))
		return mm_fail(err, MM_EINVAL, "frame '%c' is not one of P, M, E with a JSON object", type);
	char *text = mm_json_dump(j, err);
	if (!text)
		return -1;
	size_t n = strlen(text);
	int rc = n > JSON_MAX ? mm_fail(err, MM_EINVAL, "frame '%c' has %zu bytes of JSON", type, n) : 0;
	if (!rc)
		rc = out_head(o, type, n, err) || out_put(o, text, n, err) ? -1 : 0;
	mm_free(text);
	return rc;
}

int mm_frame_put_array(struct mm_frame_out *o, const struct mm_array *a, struct mm_err *err)
{
	uint8_t head[2 + NAME_LEN + 2 + 4 * 8];
	size_t name = strlen(a->name), want, n = 0, len;
	if (!name_ok(a->name, name))
		return mm_fail(err, MM_EINVAL, "\"%s\" cannot be the name of an array", a->name);
	if (!array_bytes(a->type, a->n_dim, a->dim, &want) || want != a->n_byte)
		return mm_fail(
			err, MM_EINVAL, "array %s: type, shape and %zu bytes do not fit together", a->name, a->n_byte);
	put_le(head, name, 2);
	memcpy(head + 2, a->name, name);
	n = 2 + name;
	head[n++] = (uint8_t)a->type;
	head[n++] = (uint8_t)a->n_dim;
	for (unsigned i = 0; i < a->n_dim; i++, n += 8)
		put_le(head + n, a->dim[i], 8);
	if (!mm_add(n, a->n_byte, &len))
		return mm_fail(err, MM_EINVAL, "array %s is too large", a->name);
	return out_head(o, 'A', len, err) || out_put(o, head, n, err) || out_put(o, a->data, a->n_byte, err) ? -1 : 0;
}

int mm_frame_end(struct mm_frame_out *o, struct mm_err *err)
{
	struct mm_hash h = mm_hasher_get(o->hash);
	uint8_t sum[END_LEN];
	put_le(sum, h.lo, 8);
	put_le(sum + 8, h.hi, 8);
	if (out_head(o, 'Z', sizeof sum, err) || out_put(o, sum, sizeof sum, err))
		return -1;
	o->ended = true;
	return 0;
}

void mm_frame_out_free(struct mm_frame_out *o)
{
	if (!o)
		return;
	mm_hasher_free(o->hash);
	mm_free(o);
}

/* ---- reading ---- */

struct mm_frame_in {
	uint8_t *data; /* bytes not yet handed out start at `off`; what lies before is dropped by the next feed */
	size_t len, cap, off;
	size_t total, max;	/* bytes fed so far, and their bound */
	struct mm_hasher *hash; /* of all bytes before `off` */
	json_t *json;		/* of the frame handed out last */
	char name[NAME_LEN + 1];
	char (*seen)[NAME_LEN + 1]; /* names of the arrays so far */
	size_t n_seen, cap_seen;
	bool started, done;
	bool have_meta, have_error;
	struct mm_err err; /* code != MM_OK: malformed, and stays so */
};

struct mm_frame_in *mm_frame_in_new(size_t max_bytes, struct mm_err *err)
{
	struct mm_frame_in *i = mm_calloc(1, sizeof *i, err);
	if (!i)
		return NULL;
	i->max = max_bytes;
	if (!(i->hash = mm_hasher_new(err))) {
		mm_frame_in_free(i);
		return NULL;
	}
	return i;
}

void mm_frame_in_free(struct mm_frame_in *i)
{
	if (!i)
		return;
	mm_hasher_free(i->hash);
	json_decref(i->json);
	mm_free(i->seen);
	mm_free(i->data);
	mm_free(i);
}

bool mm_frame_in_done(const struct mm_frame_in *i)
{
	return i->done && !i->err.code;
}

/* Keeps the first failure for all later calls. */
static int in_keep(struct mm_frame_in *i, const struct mm_err *err)
{
	i->err = *err;
	return -1;
}

int mm_frame_in_feed(struct mm_frame_in *i, const void *data, size_t len, struct mm_err *err)
{
	if (i->err.code) {
		*err = i->err;
		return -1;
	}
	if (!len)
		return 0;
	if (len > i->max - i->total) {
		mm_fail(err, MM_EFORMAT, "result stream: more than the %zu bytes that were to be expected", i->max);
		return in_keep(i, err);
	}
	if (i->off) {
		memmove(i->data, i->data + i->off, i->len - i->off);
		i->len -= i->off;
		i->off = 0;
	}
	if (mm_grow(&i->data, &i->cap, i->len + len, 1, err))
		return in_keep(i, err);
	memcpy(i->data + i->len, data, len);
	i->len += len;
	i->total += len;
	return 0;
}

static int in_json(
	struct mm_frame_in *i, char type, const uint8_t *p, size_t n, struct mm_frame *out, struct mm_err *err)
{
	char what[] = "result stream, frame '?'";
	what[sizeof what - 3] = type;
	if (n > JSON_MAX)
		return mm_fail(err, MM_EFORMAT, "%s: %zu bytes of JSON", what, n);
	if (!(i->json = mm_json_parse((const char *)p, n, what, err)))
		return -1;
	if (!json_is_object(i->json))
		return mm_fail(err, MM_EFORMAT, "%s: not an object", what);
	bool *once = type == 'M' ? &i->have_meta : type == 'E' ? &i->have_error : NULL;
	if (once && *once)
		return mm_fail(err, MM_EFORMAT, "%s: came twice", what);
	if (once)
		*once = true;
	out->json = i->json;
	return 0;
}

static int in_name(struct mm_frame_in *i, const uint8_t *name, size_t n, struct mm_err *err)
{
	if (!name || !name_ok((const char *)name, n))
		return mm_fail(err, MM_EFORMAT, "result stream: an array without a proper name");
	memcpy(i->name, name, n);
	i->name[n] = 0;
	for (size_t k = 0; k < i->n_seen; k++)
		if (!strcmp(i->seen[k], i->name))
			return mm_fail(err, MM_EFORMAT, "result stream: array %s came twice", i->name);
	if (i->n_seen == ARRAYS_MAX)
		return mm_fail(err, MM_EFORMAT, "result stream: more than %u arrays", ARRAYS_MAX);
	if (mm_grow(&i->seen, &i->cap_seen, i->n_seen + 1, sizeof *i->seen, err))
		return -1;
	memcpy(i->seen[i->n_seen++], i->name, n + 1);
	return 0;
}

static int in_array(struct mm_frame_in *i, const uint8_t *p, size_t n, struct mm_frame *out, struct mm_err *err)
{
	struct mm_cur c = mm_cur_of(p, n);
	struct mm_array *a = &out->array;
	size_t name_len = mm_cur_u16(&c), want;
	if (in_name(i, mm_cur_bytes(&c, name_len), name_len, err))
		return -1;
	a->name = i->name;
	unsigned type = mm_cur_u8(&c);
	a->type = (enum mm_array_type)type;
	a->n_dim = mm_cur_u8(&c);
	for (unsigned k = 0; k < MM_MIN(a->n_dim, 4u); k++)
		a->dim[k] = mm_cur_u64(&c);
	a->n_byte = mm_cur_left(&c);
	a->data = p + c.off;
	if (c.failed || !array_bytes(type, a->n_dim, a->dim, &want) || want != a->n_byte)
		return mm_fail(err, MM_EFORMAT,
			"result stream: array %s: type %u, its %u dimensions and %zu bytes do not fit", i->name, type,
			a->n_dim, a->n_byte);
	return 0;
}

/* `p` points at the whole frame, `n` is its payload's length. */
static int in_frame(struct mm_frame_in *i, const uint8_t *p, size_t n, struct mm_frame *out, struct mm_err *err)
{
	const uint8_t *payload = p + HEAD_LEN;
	if (out->type == 'Z') {
		struct mm_hash h = mm_hasher_get(i->hash);
		struct mm_cur c = mm_cur_of(payload, n);
		uint64_t lo = mm_cur_u64(&c), hi = mm_cur_u64(&c);
		if (c.failed || mm_cur_left(&c) || lo != h.lo || hi != h.hi)
			return mm_fail(err, MM_EFORMAT, "result stream: wrong checksum");
		i->done = true;
		return 0;
	}
	if (i->have_error)
		return mm_fail(err, MM_EFORMAT, "result stream: a frame after the error frame");
	mm_hasher_put(i->hash, p, HEAD_LEN + n);
	return out->type == 'A' ? in_array(i, payload, n, out, err) : in_json(i, out->type, payload, n, out, err);
}

/* Length of the payload at the front, or -1. Looks at the header alone, so that a frame that can never fit is refused
 * before its bytes are collected. */
static int in_head(struct mm_frame_in *i, const uint8_t *p, size_t *len, struct mm_err *err)
{
	struct mm_cur c = mm_cur_of(p, HEAD_LEN);
	uint32_t type = mm_cur_u32(&c); /* with the three reserved bytes */
	*len = mm_cur_u32(&c);
	if (type != 'P' && type != 'A' && type != 'M' && type != 'E' && type != 'Z')
		return mm_fail(err, MM_EFORMAT, "result stream: unknown frame %#x", (unsigned)type);
	size_t before = i->total - (i->len - i->off) + HEAD_LEN; /* of the stream up to this payload */
	if (*len > MM_FRAME_MAX || *len > i->max - MM_MIN(i->max, before))
		return mm_fail(err, MM_EFORMAT,
			"result stream: frame '%c' of %zu bytes is larger than was to be expected", (char)type, *len);
	return 0;
}

static int in_step(struct mm_frame_in *i, struct mm_frame *out, struct mm_err *err)
{
	size_t len;
	const uint8_t *p = i->data + i->off;
	if (!i->started) {
		if (i->len - i->off < MAGIC_LEN)
			return 0;
		if (memcmp(p, MAGIC, MAGIC_LEN))
			return mm_fail(err, MM_EFORMAT, "result stream: does not start with " MAGIC);
		mm_hasher_put(i->hash, p, MAGIC_LEN);
		i->off += MAGIC_LEN;
		p += MAGIC_LEN;
		i->started = true;
	}
	if (i->len == i->off)
		return 0;
	if (i->done)
		return mm_fail(err, MM_EFORMAT, "result stream: bytes after its end");
	if (i->len - i->off < HEAD_LEN)
		return 0;
	if (in_head(i, p, &len, err))
		return -1;
	if (i->len - i->off - HEAD_LEN < len)
		return 0;
	out->type = (char)p[0];
	if (in_frame(i, p, len, out, err))
		return -1;
	i->off += HEAD_LEN + len;
	return 1;
}

int mm_frame_in_next(struct mm_frame_in *i, struct mm_frame *out, struct mm_err *err)
{
	*out = (struct mm_frame){ 0 };
	json_decref(i->json);
	i->json = NULL;
	if (i->err.code) {
		*err = i->err;
		return -1;
	}
	int rc = i->data ? in_step(i, out, err) : 0;
	return rc < 0 ? in_keep(i, err) : rc;
}
