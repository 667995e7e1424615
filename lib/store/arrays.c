/* arrays.c - named arrays of models and of epochs, and the epochs' descriptions.
 *
 * An array is handed out as it lies in the map, after its checksum was compared: no copy, and the pointer is good until
 * the transaction ends or writes. Layout: store_priv.h.
 */
#include "store/store_priv.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEAL 8u
#define HEAD 16u /* seal, 'A', type, n_dim, 0, 0 u32 */

/* The types of wire.h, whose header this layer does not see; 0: unknown. */
static size_t type_size(unsigned type)
{
	static const uint8_t size[] = { 0, 4, 8, 4, 1, 2 }; /* -, f32, f64, u32, u8, f16 */
	return type < MM_COUNT(size) ? size[type] : 0;
}

static bool fits(const struct mm_stored_array *a)
{
	size_t n = type_size(a->type);
	if (!n || a->n_dim > 4)
		return false;
	for (unsigned i = 0; i < a->n_dim; i++)
		if (!mm_mul(n, a->dim[i], &n))
			return false;
	return n == a->n_byte;
}

static void put_le(uint8_t *p, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

int mm_array_put_at(struct mm_txn *t, enum mm_dbi db, uint64_t id, const struct mm_stored_array *a, struct mm_err *err)
{
	struct mm_key key = mm_key_of(id, a->name);
	MDB_val val = { 0, NULL };
	if (mm_txn_check(t, err))
		return -1;
	if (!memchr(a->name, 0, sizeof a->name) || !a->name[0] || !fits(a) ||
		!mm_add(HEAD + 8 * (size_t)a->n_dim, a->n_byte, &val.mv_size)) {
		mm_fail(err, MM_EINVAL,
			"array \"%.*s\": name, type %u, %u dimensions and %zu bytes do not fit together",
			(int)sizeof a->name, a->name, a->type, a->n_dim, a->n_byte);
		return mm_txn_keep(t, err);
	}
	if (val.mv_size > UINT32_MAX - 16) { /* LMDB's bound on a value */
		mm_fail(err, MM_EINVAL, "array %s has %zu bytes, more than a value of the store can have", a->name,
			a->n_byte);
		return mm_txn_keep(t, err);
	}
	if (mm_txn_put(t, db, mm_key_val(&key), &val, err))
		return -1;
	uint8_t *p = val.mv_data;
	memset(p, 0, HEAD);
	p[8] = 'A';
	p[9] = (uint8_t)a->type;
	p[10] = (uint8_t)a->n_dim;
	for (unsigned i = 0; i < a->n_dim; i++)
		put_le(p + HEAD + 8 * i, a->dim[i]);
	if (a->n_byte)
		memcpy(p + HEAD + 8 * (size_t)a->n_dim, a->data, a->n_byte);
	put_le(p, mm_seal(mm_key_val(&key), p + SEAL, val.mv_size - SEAL));
	return 0;
}

int mm_array_decode(MDB_val key, MDB_val val, struct mm_stored_array *out, struct mm_err *err)
{
	struct mm_cur c = mm_cur_of(val.mv_data, val.mv_size);
	*out = (struct mm_stored_array){ 0 };
	uint64_t seal = mm_cur_u64(&c);
	uint8_t mark = mm_cur_u8(&c);
	out->type = mm_cur_u8(&c);
	out->n_dim = mm_cur_u8(&c);
	uint8_t zero = mm_cur_u8(&c);
	uint32_t zeros = mm_cur_u32(&c);
	if (c.failed || key.mv_size <= 8 || key.mv_size - 8 >= sizeof out->name)
		return mm_fail(err, MM_ECORRUPT, "array of %zu bytes", val.mv_size);
	memcpy(out->name, (const uint8_t *)key.mv_data + 8, key.mv_size - 8);
	if (seal != mm_seal(key, (const uint8_t *)val.mv_data + SEAL, val.mv_size - SEAL))
		return mm_fail(err, MM_ECORRUPT, "array %s: wrong checksum", out->name);
	for (unsigned i = 0; i < MM_MIN(out->n_dim, 4u); i++)
		out->dim[i] = mm_cur_u64(&c);
	out->n_byte = mm_cur_left(&c);
	out->data = (const uint8_t *)val.mv_data + c.off;
	if (c.failed || mark != 'A' || zero || zeros || !fits(out))
		return mm_fail(err, MM_ECORRUPT, "array %s: type, shape and bytes do not fit together", out->name);
	return 0;
}

int mm_array_get_at(struct mm_txn *t, enum mm_dbi db, uint64_t id, const char *name, struct mm_stored_array *out,
	struct mm_err *err)
{
	MDB_val val;
	*out = (struct mm_stored_array){ 0 };
	if (!name[0] || strlen(name) >= sizeof out->name)
		return mm_fail(err, MM_ENOENT, "no array \"%s\"", name);
	struct mm_key key = mm_key_of(id, name);
	if (mm_txn_get(t, db, mm_key_val(&key), &val, err))
		return mm_wrap(err, "array %s", name);
	return mm_array_decode(mm_key_val(&key), val, out, err);
}

int mm_array_put(struct mm_txn *t, uint64_t model, const struct mm_stored_array *a, struct mm_err *err)
{
	return mm_array_put_at(t, MM_D_ARRAYS, model, a, err) ? mm_wrap(err, "model %llu", (unsigned long long)model)
							      : 0;
}

int mm_array_get(struct mm_txn *t, uint64_t model, const char *name, struct mm_stored_array *out, struct mm_err *err)
{
	return mm_array_get_at(t, MM_D_ARRAYS, model, name, out, err)
		       ? mm_wrap(err, "model %llu", (unsigned long long)model)
		       : 0;
}

void mm_array_done(const struct mm_stored_array *a)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)a->data + page - 1) / page * page;
	uintptr_t to = ((uintptr_t)a->data + a->n_byte) / page * page;
	if (to > from) /* whole pages only; they stay in the page cache, so that reading them again is cheap */
		madvise((void *)from, to - from, MADV_DONTNEED);
}

/* ---- epochs ---- */

int mm_epoch_put(struct mm_txn *t, uint64_t epoch, const char *json, const struct mm_stored_array *a, size_t n,
	struct mm_err *err)
{
	struct mm_key key = mm_key_of(epoch, NULL);
	size_t len = strlen(json);
	MDB_val val = { SEAL + len, NULL };
	if (mm_txn_check(t, err))
		return -1;
	if (!epoch || len > UINT32_MAX - 64) {
		mm_fail(err, MM_EINVAL, "epoch %llu with %zu bytes of JSON", (unsigned long long)epoch, len);
		return mm_txn_keep(t, err);
	}
	if (mm_txn_put(t, MM_D_EPOCHS, mm_key_val(&key), &val, err))
		return -1;
	memcpy((uint8_t *)val.mv_data + SEAL, json, len);
	put_le(val.mv_data, mm_seal(mm_key_val(&key), json, len));
	for (size_t i = 0; i < n; i++)
		if (mm_array_put_at(t, MM_D_EPOCH_ARRAYS, epoch, &a[i], err))
			return mm_wrap(err, "epoch %llu", (unsigned long long)epoch);
	return 0;
}

int mm_epoch_json(struct mm_txn *t, uint64_t epoch, char **json, struct mm_err *err)
{
	struct mm_key key = mm_key_of(epoch, NULL);
	MDB_val val;
	*json = NULL;
	if (mm_txn_get(t, MM_D_EPOCHS, mm_key_val(&key), &val, err))
		return mm_wrap(err, "epoch %llu", (unsigned long long)epoch);
	struct mm_cur c = mm_cur_of(val.mv_data, val.mv_size);
	uint64_t seal = mm_cur_u64(&c);
	size_t len = mm_cur_left(&c);
	const char *text = (const char *)val.mv_data + c.off;
	if (c.failed || seal != mm_seal(mm_key_val(&key), text, len) || memchr(text, 0, len))
		return mm_fail(err, MM_ECORRUPT, "epoch %llu: wrong checksum", (unsigned long long)epoch);
	*json = mm_strndup(text, len, err);
	return *json ? 0 : -1;
}

int mm_epoch_array(struct mm_txn *t, uint64_t epoch, const char *name, struct mm_stored_array *out, struct mm_err *err)
{
	return mm_array_get_at(t, MM_D_EPOCH_ARRAYS, epoch, name, out, err)
		       ? mm_wrap(err, "epoch %llu", (unsigned long long)epoch)
		       : 0;
}

int mm_epoch_last(struct mm_txn *t, uint64_t *epoch, struct mm_err *err)
{
	MDB_cursor *c;
	MDB_val key, val;
	int rc;
	if (t->err.code) {
		*err = t->err;
		return -1;
	}
	if ((rc = mdb_cursor_open(t->x, t->store->dbi[MM_D_EPOCHS], &c)))
		return mm_lmdb_fail(err, rc, "cannot read the epochs");
	rc = mdb_cursor_get(c, &key, &val, MDB_LAST);
	mdb_cursor_close(c);
	if (rc && rc != MDB_NOTFOUND)
		return mm_lmdb_fail(err, rc, "cannot read the epochs");
	*epoch = rc ? 0 : mm_key_id(&key);
	return 0;
}
