/* record.c - structs as tagged fields: one table for each kind of record says which field has which tag, and encode,
 * decode, copy and free all walk it. The byte layout is at the top of store_priv.h.
 *
 * To add a field: a member of the struct in store.h and a row with a NEW tag here. A tag that is given up stays in the
 * table's comment, so that nobody takes it again.
 */
#include "store/store_priv.h"

#include <string.h>

#define HEAD	8u /* seal; behind it 'R', kind, version u16 */
#define VERSION 1u
#define STR_MAX (64u << 20)

#define F(s, tag, type, member)                                                                                        \
	{                                                                                                              \
		tag, type, offsetof(struct s, member), 0, #member                                                      \
	}
#define E(s, tag, member, max)                                                                                         \
	{                                                                                                              \
		tag, MM_F_ENUM, offsetof(struct s, member), max, #member                                               \
	}
#define C(s, tag, member)                                                                                              \
	{                                                                                                              \
		tag, MM_F_CHARS, offsetof(struct s, member), sizeof(((struct s *)0)->member), #member                  \
	}

static const struct mm_field model_fields[] = {
	F(mm_model_rec, 1, MM_F_U64, id),
	F(mm_model_rec, 2, MM_F_STR, name),
	F(mm_model_rec, 3, MM_F_STR, path),
	E(mm_model_rec, 4, state, MM_ST_CANCELLED),
	F(mm_model_rec, 5, MM_F_BOOL, gone),
	F(mm_model_rec, 6, MM_F_BOOL, has_vector),
	F(mm_model_rec, 7, MM_F_U64, same_as),
	F(mm_model_rec, 8, MM_F_STR, reason),
	F(mm_model_rec, 9, MM_F_STR, reason_code),
	F(mm_model_rec, 10, MM_F_STR, reason_file),
	F(mm_model_rec, 11, MM_F_U64, missing_bytes),
	F(mm_model_rec, 12, MM_F_I64, first_seen),
	F(mm_model_rec, 13, MM_F_I64, state_since),
	F(mm_model_rec, 14, MM_F_I64, scored_at),
	F(mm_model_rec, 15, MM_F_I64, modified),
	F(mm_model_rec, 16, MM_F_HASH, quick),
	F(mm_model_rec, 17, MM_F_HASH, full),
	F(mm_model_rec, 18, MM_F_STR, family),
	F(mm_model_rec, 19, MM_F_STR, architecture),
	F(mm_model_rec, 20, MM_F_STR, dtype),
	F(mm_model_rec, 21, MM_F_STR, container),
	F(mm_model_rec, 22, MM_F_STR, compute),
	F(mm_model_rec, 23, MM_F_STR, scorer),
	F(mm_model_rec, 24, MM_F_STR, base_claimed),
	F(mm_model_rec, 25, MM_F_U64, params),
	F(mm_model_rec, 26, MM_F_U64, bytes),
	F(mm_model_rec, 27, MM_F_U64, context),
	F(mm_model_rec, 28, MM_F_U64, vocab),
	F(mm_model_rec, 29, MM_F_U64, n_tokens),
	F(mm_model_rec, 30, MM_F_U64, n_cut),
	F(mm_model_rec, 31, MM_F_F64, mean_loglik),
	F(mm_model_rec, 32, MM_F_F64, bits_per_byte),
	F(mm_model_rec, 33, MM_F_F64, seconds),
	F(mm_model_rec, 34, MM_F_F64, tokens_per_s),
	F(mm_model_rec, 35, MM_F_STR, run),
	F(mm_model_rec, 36, MM_F_I64, step),
	F(mm_model_rec, 37, MM_F_STR, note),
	F(mm_model_rec, 38, MM_F_U64, note_model),
	F(mm_model_rec, 39, MM_F_U32, attempts),
	F(mm_model_rec, 40, MM_F_HASH, files),
	F(mm_model_rec, 41, MM_F_F64, gemm_share),
};

static const struct mm_field job_fields[] = {
	F(mm_job_rec, 1, MM_F_U64, id),
	F(mm_job_rec, 2, MM_F_U64, model),
	E(mm_job_rec, 3, state, MM_JOB_CANCELLED),
	F(mm_job_rec, 4, MM_F_STR, reason),
	F(mm_job_rec, 5, MM_F_U32, attempts),
	F(mm_job_rec, 6, MM_F_I64, created),
	F(mm_job_rec, 7, MM_F_I64, started),
	F(mm_job_rec, 8, MM_F_I64, finished),
	F(mm_job_rec, 9, MM_F_I64, not_before),
};

static const struct mm_field alert_fields[] = {
	F(mm_alert_rec, 1, MM_F_U64, id),
	F(mm_alert_rec, 2, MM_F_U64, model),
	F(mm_alert_rec, 3, MM_F_STR, kind),
	F(mm_alert_rec, 4, MM_F_STR, severity),
	F(mm_alert_rec, 5, MM_F_STR, message),
	F(mm_alert_rec, 6, MM_F_STR, evidence),
	F(mm_alert_rec, 7, MM_F_STR, note),
	F(mm_alert_rec, 8, MM_F_STR, cause),
	E(mm_alert_rec, 9, state, MM_ALERT_RESOLVED),
	F(mm_alert_rec, 10, MM_F_I64, raised_at),
	F(mm_alert_rec, 11, MM_F_I64, changed_at),
};

static const struct mm_field pin_fields[] = {
	F(mm_store_pin, 1, MM_F_HASH, texts),
	F(mm_store_pin, 2, MM_F_U64, n_texts),
	F(mm_store_pin, 3, MM_F_F64, mean_bytes),
	C(mm_store_pin, 4, bos),
	C(mm_store_pin, 5, compute),
	C(mm_store_pin, 6, scorer),
};

#define LAYOUT(k, what, s, f)                                                                                          \
	{                                                                                                              \
		.kind = k, .name = what, .size = sizeof(struct s), .field = f, .n = MM_COUNT(f)                        \
	}
const struct mm_layout mm_layout_model = LAYOUT('m', "model", mm_model_rec, model_fields);
const struct mm_layout mm_layout_job = LAYOUT('j', "job", mm_job_rec, job_fields);
const struct mm_layout mm_layout_alert = LAYOUT('a', "alert", mm_alert_rec, alert_fields);
const struct mm_layout mm_layout_pin = LAYOUT('p', "pin", mm_store_pin, pin_fields);

_Static_assert(offsetof(struct mm_model_rec, id) == 0, "mm_rec_put finds the id at the front");
_Static_assert(offsetof(struct mm_job_rec, id) == 0, "mm_rec_put finds the id at the front");
_Static_assert(offsetof(struct mm_alert_rec, id) == 0, "mm_rec_put finds the id at the front");
_Static_assert(sizeof(enum mm_model_state) == sizeof(unsigned), "MM_F_ENUM is read as unsigned");

/* ---- one field between struct and bytes ---- */

/* Numbers of all widths as the 64 bits that are stored. */
static uint64_t number_get(const struct mm_field *f, const void *rec)
{
	const uint8_t *p = (const uint8_t *)rec + f->at;
	uint64_t u = 0;
	switch ((enum mm_field_type)f->type) {
	case MM_F_U64:
	case MM_F_I64:
	case MM_F_F64:
		memcpy(&u, p, 8);
		return u;
	case MM_F_U32:
	case MM_F_ENUM:
		return *(const uint32_t *)(const void *)p;
	case MM_F_BOOL:
		return *(const bool *)(const void *)p;
	default:
		return 0;
	}
}

static bool number_set(const struct mm_field *f, void *rec, uint64_t u)
{
	uint8_t *p = (uint8_t *)rec + f->at;
	switch ((enum mm_field_type)f->type) {
	case MM_F_U64:
	case MM_F_I64:
	case MM_F_F64:
		memcpy(p, &u, 8);
		return true;
	case MM_F_U32:
	case MM_F_ENUM:
		*(uint32_t *)(void *)p = (uint32_t)u;
		return u <= (f->type == MM_F_ENUM ? f->max : UINT32_MAX);
	case MM_F_BOOL:
		*(bool *)(void *)p = u == 1;
		return u <= 1;
	default:
		return false;
	}
}

/* The bytes of a string field; NULL when there is nothing to write. */
static const char *str_get(const struct mm_field *f, const void *rec, size_t *len)
{
	const void *member = (const char *)rec + f->at;
	const char *p = f->type == MM_F_STR ? *(char *const *)member : member;
	if (!p)
		return NULL;
	*len = f->type == MM_F_STR ? strlen(p) : strnlen(p, (size_t)f->max);
	return f->type == MM_F_CHARS && !*len ? NULL : p;
}

static int str_set(const struct mm_field *f, void *rec, const uint8_t *p, size_t n, struct mm_err *err)
{
	char *to = (char *)rec + f->at;
	if (memchr(p, 0, n) || (f->type == MM_F_CHARS && n >= f->max))
		return mm_fail(err, MM_ECORRUPT, "field %s is not a string that fits", f->name);
	if (f->type == MM_F_CHARS) {
		memcpy(to, p, n);
		to[n] = 0;
		return 0;
	}
	char *s = mm_strndup((const char *)p, n, err);
	if (!s)
		return -1;
	memcpy(to, &s, sizeof s);
	return 0;
}

static struct mm_hash *hash_at(const struct mm_field *f, void *rec)
{
	return (struct mm_hash *)(void *)((uint8_t *)rec + f->at);
}

/* ---- encoding ---- */

static void field_head(struct mm_buf *b, uint16_t tag, size_t len)
{
	mm_buf_u16(b, tag);
	mm_buf_u32(b, (uint32_t)len);
}

static int field_put(struct mm_buf *b, const struct mm_field *f, const void *rec, struct mm_err *err)
{
	size_t len = 0;
	uint64_t u;
	const char *s;
	const struct mm_hash *h;
	switch ((enum mm_field_type)f->type) {
	case MM_F_STR:
	case MM_F_CHARS:
		s = str_get(f, rec, &len);
		if (s && len > STR_MAX)
			return mm_fail(err, MM_EINVAL, "field %s has %zu bytes", f->name, len);
		if (s) {
			field_head(b, f->tag, len);
			mm_buf_put(b, s, len);
		}
		break;
	case MM_F_HASH:
		h = (const struct mm_hash *)(const void *)((const uint8_t *)rec + f->at);
		if (h->hi || h->lo) {
			field_head(b, f->tag, 16);
			mm_buf_u64(b, h->hi);
			mm_buf_u64(b, h->lo);
		}
		break;
	default:
		if ((u = number_get(f, rec))) {
			field_head(b, f->tag, 8);
			mm_buf_u64(b, u);
		}
	}
	return 0;
}

/* ---- decoding ---- */

struct raw_field {
	uint16_t tag;
	uint32_t len;
	const uint8_t *p;
};

/* 1: next field; 0: end; -1: damaged */
static int raw_next(struct mm_cur *c, uint16_t *last, struct raw_field *out)
{
	if (!mm_cur_left(c) && !c->failed)
		return 0;
	out->tag = mm_cur_u16(c);
	out->len = mm_cur_u32(c);
	out->p = mm_cur_bytes(c, out->len);
	if (c->failed || out->tag <= *last)
		return -1;
	*last = out->tag;
	return 1;
}

/* Cursor over the fields of a sound value of this kind. */
static int open_value(const struct mm_layout *l, MDB_val key, MDB_val val, struct mm_cur *c, struct mm_err *err)
{
	*c = mm_cur_of(val.mv_data, val.mv_size);
	uint64_t seal = mm_cur_u64(c);
	uint8_t mark = mm_cur_u8(c), kind = mm_cur_u8(c);
	uint16_t version = mm_cur_u16(c);
	if (c->failed)
		return mm_fail(err, MM_ECORRUPT, "%s record of %zu bytes", l->name, val.mv_size);
	if (seal != mm_seal(key, (const uint8_t *)val.mv_data + HEAD, val.mv_size - HEAD))
		return mm_fail(err, MM_ECORRUPT, "%s record: wrong checksum", l->name);
	if (mark != 'R' || kind != (uint8_t)l->kind)
		return mm_fail(err, MM_ECORRUPT, "%s record: is something else", l->name);
	if (version != VERSION)
		return mm_fail(
			err, MM_EUNSUPPORTED, "%s record: layout %u, this program knows %u", l->name, version, VERSION);
	return 0;
}

static const struct mm_field *field_of(const struct mm_layout *l, uint16_t tag)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->field[i].tag == tag)
			return &l->field[i];
	return NULL;
}

static int field_get(const struct mm_field *f, const struct raw_field *r, void *rec, struct mm_err *err)
{
	struct mm_cur c = mm_cur_of(r->p, r->len);
	switch ((enum mm_field_type)f->type) {
	case MM_F_STR:
	case MM_F_CHARS:
		return str_set(f, rec, r->p, r->len, err);
	case MM_F_HASH:
		hash_at(f, rec)->hi = mm_cur_u64(&c);
		hash_at(f, rec)->lo = mm_cur_u64(&c);
		break;
	default:
		if (!number_set(f, rec, mm_cur_u64(&c)))
			c.failed = true;
	}
	if (c.failed || mm_cur_left(&c))
		return mm_fail(err, MM_ECORRUPT, "field %s is not what it should be", f->name);
	return 0;
}

int mm_rec_decode(const struct mm_layout *l, MDB_val key, MDB_val val, void *rec, struct mm_err *err)
{
	struct mm_cur c;
	struct raw_field r;
	uint16_t last = 0;
	int rc;
	memset(rec, 0, l->size);
	if (open_value(l, key, val, &c, err))
		return -1;
	while ((rc = raw_next(&c, &last, &r)) == 1) {
		const struct mm_field *f = field_of(l, r.tag);
		if (f && field_get(f, &r, rec, err)) {
			mm_wrap(err, "%s record", l->name);
			goto bad;
		}
	}
	if (!rc)
		return 0;
	mm_fail(err, MM_ECORRUPT, "%s record: its fields do not fit", l->name);
bad:
	mm_rec_fini(l, rec);
	return -1;
}

/* Known fields from the struct and unknown ones from the old value, merged so that tags ascend (rows do). */
int mm_rec_encode(
	const struct mm_layout *l, const void *rec, MDB_val key, MDB_val old, struct mm_buf *b, struct mm_err *err)
{
	struct mm_err ignored;
	struct mm_cur c;
	struct raw_field r;
	uint16_t last = 0;
	size_t start = b->len;
	int more = old.mv_data && !open_value(l, key, old, &c, &ignored) ? raw_next(&c, &last, &r) : 0;
	mm_buf_u64(b, 0);
	mm_buf_u8(b, 'R');
	mm_buf_u8(b, (uint8_t)l->kind);
	mm_buf_u16(b, VERSION);
	for (size_t i = 0; i <= l->n; i++) {
		for (; more == 1 && (i == l->n || r.tag < l->field[i].tag); more = raw_next(&c, &last, &r)) {
			if (!field_of(l, r.tag)) {
				field_head(b, r.tag, r.len);
				mm_buf_put(b, r.p, r.len);
			}
		}
		if (i < l->n && field_put(b, &l->field[i], rec, err))
			return -1;
	}
	if (mm_buf_check(b, err))
		return -1;
	uint64_t seal = mm_seal(key, b->data + start + HEAD, b->len - start - HEAD);
	for (unsigned i = 0; i < 8; i++)
		b->data[start + i] = (uint8_t)(seal >> (8 * i));
	return 0;
}

/* ---- whole structs ---- */

void mm_rec_fini(const struct mm_layout *l, void *rec)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->field[i].type == MM_F_STR) {
			char *s;
			memcpy(&s, (char *)rec + l->field[i].at, sizeof s);
			mm_free(s);
		}
	}
	memset(rec, 0, l->size);
}

int mm_rec_dup(const struct mm_layout *l, void *to, const void *from, struct mm_err *err)
{
	char *none = NULL;
	memcpy(to, from, l->size);
	for (size_t i = 0; i < l->n; i++)
		if (l->field[i].type == MM_F_STR)
			memcpy((char *)to + l->field[i].at, &none, sizeof none);
	for (size_t i = 0; i < l->n; i++) {
		size_t len;
		const char *s = l->field[i].type == MM_F_STR ? str_get(&l->field[i], from, &len) : NULL;
		if (s && str_set(&l->field[i], to, (const uint8_t *)s, len, err)) {
			mm_rec_fini(l, to);
			return -1;
		}
	}
	return 0;
}
