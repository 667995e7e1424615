/* store_priv.h - how everything lies on disk, and what the files of this folder share.
 *
 * FILES of a state directory
 *   store.mdb        one LMDB file; a backup is such a file too: copied back under this name, it opens
 *   store.mdb-lock   LMDB's table of readers
 *   lock             flock()ed by the one process that owns the directory; holds its pid as text
 *
 * DATABASES inside store.mdb. Integers in keys are big-endian, so that the order of keys is the order of numbers.
 *   meta          "schema"                u32 little-endian: MM_SCHEMA of the program that wrote the store last
 *                 "pin"                   record 'p': text set, BOS, compute, scorer (store.h)
 *                 "next-model", "next-job", "next-alert"   u64 little-endian: the next id; ids are never used again
 *   models        id u64                  record 'm'
 *   arrays        model id u64, name      array
 *   jobs          id u64                  record 'j'
 *   alerts        id u64                  record 'a'
 *   epochs        number u64              text (JSON)
 *   epoch_arrays  number u64, name        array
 *   scores        model id u64            scores
 *
 * VALUES. All numbers little-endian. Each starts with `seal`, XXH3-64 of the bytes behind it, xor XXH3-64 of the key:
 * a value that was damaged, cut or put under another key is known as such.
 *   record  seal u64, 'R', kind u8, version u16 = 1, fields to the end: { tag u16, length u32, bytes }
 *           A tag comes at most once, tags ascend. Numbers (also enums, booleans) have 8 bytes, hashes 16 (high, low),
 *           strings their bytes without NUL. What is zero or NULL is not written and reads as that. Tags are never
 *           given a second meaning. A field whose tag the reader does not know is passed over, and kept when the record
 *           is written again: an older program loses nothing of a newer one.
 *   array   seal u64, 'A', type u8 (enum mm_array_type), n_dim u8, 0 u8, 0 u32, dim u64[n_dim], data
 *   text    seal u64, bytes
 *   scores  seal u64, 'S', 0 u8, to the end: { length u8, name of the benchmark, f64 }
 *   numbers in meta ("schema", "next-...") have no seal.
 *
 * SCHEMA. MM_SCHEMA rises when an old program would misread what a new one writes (new tags alone do not do that). A
 * store of an older schema is brought up by the table in pin.c, of a newer one refused.
 */
#ifndef MM_STORE_PRIV_H
#define MM_STORE_PRIV_H

#include "store/store.h"

#include <lmdb.h>
#include <pthread.h>

/* ---- env.c ---- */

enum mm_dbi {
	MM_D_META,
	MM_D_MODELS,
	MM_D_ARRAYS,
	MM_D_JOBS,
	MM_D_ALERTS,
	MM_D_EPOCHS,
	MM_D_EPOCH_ARRAYS,
	MM_D_SCORES,
	MM_N_DBI
};

struct mm_store {
	MDB_env *env;
	MDB_dbi dbi[MM_N_DBI];
	char *dir;
	int lock_fd;
	struct mm_store_pin pin;
	unsigned n_txn; /* open transactions of the loop thread: the map must not change under them */
	bool writing;	/* one of them writes: LMDB would wait for itself */
	size_t map;	/* bytes */
	void (*bad)(const char *what, uint64_t id, const char *why, void *ctx);
	void *bad_ctx;
	pthread_mutex_t mu; /* guards n_copy, and the map while a copy starts */
	pthread_cond_t no_copy;
	unsigned n_copy; /* copies under way on other threads */
};

/* As mm_store_open, with the size of the map to start with (tests make it small). */
struct mm_store *mm_store_open_sized(
	const char *dir, const struct mm_store_pin *pin, size_t map, struct mm_err *err) MM_MUST_CHECK;
/* Doubles the map; no transaction of the loop thread may be open; copies under way are waited for, or MM_EBUSY. */
int mm_store_grow(struct mm_store *s, bool wait, struct mm_err *err) MM_MUST_CHECK;
int mm_lmdb_fail(struct mm_err *err, int rc, const char *fmt, ...) MM_PRINTF(3, 4); /* with LMDB's text of rc */

/* ---- check.c: is the structure of the file sound? LMDB itself would crash on one that is not ---- */
int mm_store_check_file(const char *path, struct mm_err *err) MM_MUST_CHECK;

/* ---- pin.c ---- */
int mm_store_check_schema(struct mm_txn *t, struct mm_err *err) MM_MUST_CHECK;
int mm_store_check_pin(struct mm_txn *t, const struct mm_store_pin *want, struct mm_err *err) MM_MUST_CHECK;

/* ---- txn.c ---- */

struct mm_txn {
	struct mm_store *store;
	MDB_txn *x;
	bool write, full; /* full: the map was too small; it is grown when the transaction has ended */
	struct mm_err err;
};
/* Keeps a failed put, so that the transaction cannot commit; returns -1. */
int mm_txn_keep(struct mm_txn *t, const struct mm_err *err);
/* -1 with the first error when an earlier put failed. */
int mm_txn_check(const struct mm_txn *t, struct mm_err *err) MM_MUST_CHECK;
int mm_txn_get(struct mm_txn *t, enum mm_dbi db, MDB_val key, MDB_val *val, struct mm_err *err) MM_MUST_CHECK;
/* Sticky. `val` of NULL data reserves mv_size bytes and points there. */
int mm_txn_put(struct mm_txn *t, enum mm_dbi db, MDB_val key, MDB_val *val, struct mm_err *err) MM_MUST_CHECK;
/* Sticky. What is not there is deleted already. */
int mm_txn_del(struct mm_txn *t, enum mm_dbi db, MDB_val key, struct mm_err *err) MM_MUST_CHECK;
/* *id 0: sets it to the next id of a counter in meta, larger than every key in `db` too, should the counter be damaged.
 * Else makes sure that the counter is past it (a transaction that is run again brings its ids along). Sticky. */
int mm_txn_take_id(
	struct mm_txn *t, const char *counter, enum mm_dbi db, uint64_t *id, struct mm_err *err) MM_MUST_CHECK;

struct mm_key { /* id, or id and a name */
	uint8_t byte[8 + 64];
	size_t len;
};
struct mm_key mm_key_of(uint64_t id, const char *name /* at most 63 bytes; NULL: none */);
MDB_val mm_key_val(const struct mm_key *k);
uint64_t mm_key_id(const MDB_val *k); /* 0: not a key of ours */
uint64_t mm_seal(MDB_val key, const void *data, size_t len);

/* ---- record.c: structs as tagged fields ---- */

enum mm_field_type { MM_F_U64, MM_F_I64, MM_F_U32, MM_F_BOOL, MM_F_ENUM, MM_F_F64, MM_F_HASH, MM_F_STR, MM_F_CHARS };
struct mm_field {
	uint16_t tag; /* stored: never changed, never used again */
	uint8_t type;
	size_t at;    /* offset in the struct */
	uint64_t max; /* ENUM: largest value; CHARS: bytes of the array */
	const char *name;
};
struct mm_layout {
	char kind;
	const char *name;
	size_t size; /* of the struct */
	const struct mm_field *field;
	size_t n;
};
extern const struct mm_layout mm_layout_model, mm_layout_job, mm_layout_alert, mm_layout_pin;

/* Appends the whole value. `old` (may be empty): the value to be replaced, whose unknown fields are kept. */
int mm_rec_encode(const struct mm_layout *l, const void *rec, MDB_val key, MDB_val old, struct mm_buf *out,
	struct mm_err *err) MM_MUST_CHECK;
/* MM_ECORRUPT when damaged; *rec is overwritten, and zero after a failure. */
int mm_rec_decode(const struct mm_layout *l, MDB_val key, MDB_val val, void *rec, struct mm_err *err) MM_MUST_CHECK;
int mm_rec_dup(const struct mm_layout *l, void *to, const void *from, struct mm_err *err) MM_MUST_CHECK;
void mm_rec_fini(const struct mm_layout *l, void *rec);

/* One table of records by id. `id` is the struct's first field. */
int mm_rec_put(struct mm_txn *t, const struct mm_layout *l, enum mm_dbi db, const char *counter, void *rec,
	struct mm_err *err) MM_MUST_CHECK;
int mm_rec_get(struct mm_txn *t, const struct mm_layout *l, enum mm_dbi db, uint64_t id, void *rec,
	struct mm_err *err) MM_MUST_CHECK;
typedef int (*mm_rec_fn)(const void *rec, void *ctx, struct mm_err *err);
typedef void (*mm_bad_fn)(uint64_t id, const char *why, void *ctx);
/* Damaged records go to `bad`, or without one to the store's own, and are passed over. */
int mm_rec_each(struct mm_txn *t, const struct mm_layout *l, enum mm_dbi db, mm_rec_fn fn, mm_bad_fn bad, void *ctx,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- arrays.c ---- */
int mm_array_put_at(struct mm_txn *t, enum mm_dbi db, uint64_t id, const struct mm_stored_array *a,
	struct mm_err *err) MM_MUST_CHECK;
int mm_array_get_at(struct mm_txn *t, enum mm_dbi db, uint64_t id, const char *name, struct mm_stored_array *out,
	struct mm_err *err) MM_MUST_CHECK;
int mm_array_decode(MDB_val key, MDB_val val, struct mm_stored_array *out, struct mm_err *err) MM_MUST_CHECK;

#endif
