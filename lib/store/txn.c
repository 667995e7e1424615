/* txn.c - transactions with a sticky error: do all puts, look once.
 *
 * A failed put is kept and makes the commit fail with it, so that half of a change is never stored. When the map was
 * too small, it is grown as soon as the transaction has ended and the caller is told to run it again (MM_EBUSY);
 * mm_store_write does both. Commit returns after the data are on the disk; the meta page follows (env.c).
 */
#include "store/store_priv.h"

#include <string.h>

struct mm_key mm_key_of(uint64_t id, const char *name)
{
	struct mm_key k = { .len = 8 };
	for (unsigned i = 0; i < 8; i++)
		k.byte[i] = (uint8_t)(id >> (56 - 8 * i));
	if (name) {
		size_t n = strnlen(name, sizeof k.byte - 8);
		memcpy(k.byte + 8, name, n);
		k.len += n;
	}
	return k;
}

MDB_val mm_key_val(const struct mm_key *k)
{
	return (MDB_val){ .mv_size = k->len, .mv_data = (void *)(uintptr_t)k->byte };
}

uint64_t mm_key_id(const MDB_val *k)
{
	uint64_t id = 0;
	const uint8_t *p = k->mv_data;
	for (unsigned i = 0; k->mv_size >= 8 && i < 8; i++)
		id = id << 8 | p[i];
	return id;
}

uint64_t mm_seal(MDB_val key, const void *data, size_t len)
{
	return mm_hash64(data, len) ^ mm_hash64(key.mv_data, key.mv_size);
}

/* ---- begin and end ---- */

struct mm_txn *mm_txn_begin(struct mm_store *s, bool write, struct mm_err *err)
{
	if (write && s->writing) {
		mm_fail(err, MM_EINTERNAL, "a write transaction is open already");
		return NULL;
	}
	struct mm_txn *t = mm_calloc(1, sizeof *t, err);
	if (!t)
		return NULL;
	int rc = mdb_txn_begin(s->env, NULL, write ? 0 : MDB_RDONLY, &t->x);
	if (rc == MDB_MAP_RESIZED && !s->n_txn) { /* another process made the file larger: take its size */
		rc = mdb_env_set_mapsize(s->env, 0);
		if (!rc)
			rc = mdb_txn_begin(s->env, NULL, write ? 0 : MDB_RDONLY, &t->x);
	}
	if (rc) {
		mm_lmdb_fail(err, rc, "cannot begin a transaction");
		mm_free(t);
		return NULL;
	}
	t->store = s;
	t->write = write;
	s->n_txn++;
	s->writing |= write;
	return t;
}

/* The LMDB transaction is gone; frees t and grows the map when it was full and nobody uses it. */
static int ended(struct mm_txn *t, struct mm_err *err)
{
	struct mm_store *s = t->store;
	bool full = t->full;
	s->n_txn--;
	if (t->write)
		s->writing = false;
	mm_free(t);
	return full && !s->n_txn ? mm_store_grow(s, true, err) : 0;
}

void mm_txn_abort(struct mm_txn *t)
{
	struct mm_err ignored;
	if (!t)
		return;
	mdb_txn_abort(t->x);
	if (ended(t, &ignored))
		return; /* the next one finds the map full again and says so */
}

/* More than half full: the next growth is made now, when nothing is open, so that none is needed in the middle of a
 * transaction or of a copy. */
static void grow_early(struct mm_store *s)
{
	struct mm_err ignored;
	MDB_envinfo info;
	MDB_stat st;
	if (s->n_txn || mdb_env_info(s->env, &info) || mdb_env_stat(s->env, &st))
		return;
	if ((info.me_last_pgno + 1) * st.ms_psize > s->map / 2 && mm_store_grow(s, false, &ignored))
		return; /* no harm yet: tried again when it is full */
}

int mm_txn_commit(struct mm_txn *t, struct mm_err *err)
{
	struct mm_store *s = t->store;
	struct mm_err why = t->err, grow = { 0 };
	int rc = 0;
	if (why.code) {
		mdb_txn_abort(t->x);
	} else if ((rc = mdb_txn_commit(t->x))) {
		t->full = rc == MDB_MAP_FULL;
		mm_lmdb_fail(&why, rc, "cannot commit");
		if (t->full)
			mm_fail(&why, MM_EBUSY, "the store had to grow; run the transaction again");
	}
	if (ended(t, &grow) && why.code == MM_EBUSY)
		why = grow;
	if (why.code) {
		*err = why;
		return -1;
	}
	grow_early(s);
	return 0;
}

int mm_store_write(
	struct mm_store *s, int (*fn)(struct mm_txn *t, void *ctx, struct mm_err *err), void *ctx, struct mm_err *err)
{
	for (;;) {
		struct mm_err why = { 0 };
		size_t map = s->map;
		struct mm_txn *t = mm_txn_begin(s, true, err);
		if (!t)
			return -1;
		int rc = fn(t, ctx, &why);
		if (rc && !t->err.code)
			mm_txn_keep(t, &why);
		if (!mm_txn_commit(t, &why))
			return 0;
		if (why.code != MM_EBUSY || s->map <= map) { /* not for want of room, or no room to be had */
			*err = why;
			return -1;
		}
	}
}

/* ---- the sticky error ---- */

int mm_txn_keep(struct mm_txn *t, const struct mm_err *err)
{
	if (!t->err.code)
		t->err = *err;
	return -1;
}

int mm_txn_check(const struct mm_txn *t, struct mm_err *err)
{
	if (t->err.code) {
		*err = t->err;
		return -1;
	}
	return t->write ? 0 : mm_fail(err, MM_EINTERNAL, "a put in a transaction that only reads");
}

int mm_txn_get(struct mm_txn *t, enum mm_dbi db, MDB_val key, MDB_val *val, struct mm_err *err)
{
	if (t->err.code) { /* LMDB refuses everything after a failed put; its own word for that says less */
		*err = t->err;
		return -1;
	}
	int rc = mdb_get(t->x, t->store->dbi[db], &key, val);
	if (rc == MDB_NOTFOUND)
		return mm_fail(err, MM_ENOENT, "not in the store");
	return rc ? mm_lmdb_fail(err, rc, "cannot read the store") : 0;
}

static int put_failed(struct mm_txn *t, int rc, struct mm_err *err)
{
	t->full = rc == MDB_MAP_FULL;
	if (t->full)
		mm_fail(err, MM_EBUSY, "the store had to grow; run the transaction again");
	else
		mm_lmdb_fail(err, rc, "cannot write the store");
	return mm_txn_keep(t, err);
}

int mm_txn_put(struct mm_txn *t, enum mm_dbi db, MDB_val key, MDB_val *val, struct mm_err *err)
{
	if (mm_txn_check(t, err))
		return -1;
	int rc = mdb_put(t->x, t->store->dbi[db], &key, val, val->mv_data ? 0 : MDB_RESERVE);
	return rc ? put_failed(t, rc, err) : 0;
}

int mm_txn_del(struct mm_txn *t, enum mm_dbi db, MDB_val key, struct mm_err *err)
{
	if (mm_txn_check(t, err))
		return -1;
	int rc = mdb_del(t->x, t->store->dbi[db], &key, NULL);
	return rc && rc != MDB_NOTFOUND ? put_failed(t, rc, err)
					: 0; /* a delete copies pages, it may find the map full */
}

int mm_txn_take_id(struct mm_txn *t, const char *counter, enum mm_dbi db, uint64_t *id, struct mm_err *err)
{
	MDB_val key = { strlen(counter), (void *)(uintptr_t)counter }, val, last;
	MDB_cursor *c;
	uint64_t next = 1;
	struct mm_err none;
	if (mm_txn_check(t, err))
		return -1;
	if (!mm_txn_get(t, MM_D_META, key, &val, &none) && val.mv_size == 8) {
		struct mm_cur cur = mm_cur_of(val.mv_data, 8);
		next = mm_cur_u64(&cur);
	}
	if (*id && *id < next)
		return 0;
	int rc = mdb_cursor_open(t->x, t->store->dbi[db], &c);
	if (rc) {
		mm_lmdb_fail(err, rc, "cannot read the store");
		return mm_txn_keep(t, err);
	}
	MDB_val unused;
	if (!mdb_cursor_get(c, &last, &unused, MDB_LAST))
		next = MM_MAX(next, mm_key_id(&last) + 1);
	mdb_cursor_close(c);
	next = MM_MAX(next, *id);
	uint8_t le[8];
	for (unsigned i = 0; i < 8; i++)
		le[i] = (uint8_t)((next + 1) >> (8 * i));
	val = (MDB_val){ 8, le };
	if (!*id)
		*id = next;
	return mm_txn_put(t, MM_D_META, key, &val, err);
}
