/* scores.c - benchmark results: one value a model, all its benchmarks together, so that an import of ten thousand
 * models is ten thousand puts. Layout: store_priv.h. */
#include "store/store_priv.h"

#include <math.h>
#include <string.h>

#define SEAL 8u

int mm_bench_put(struct mm_txn *t, uint64_t model, const struct mm_bench_score *s, size_t n, struct mm_err *err)
{
	struct mm_key key = mm_key_of(model, NULL);
	struct mm_buf b = { 0 };
	int rc = -1;
	if (n == 0)
		return mm_txn_del(t, MM_D_SCORES, mm_key_val(&key), err);
	mm_buf_u64(&b, 0);
	mm_buf_u8(&b, 'S');
	mm_buf_u8(&b, 0);
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(s[i].bench);
		if (!len || len > MM_BENCH_NAME_MAX || !isfinite(s[i].value)) {
			mm_fail(err, MM_EINVAL, "score of model %llu: a name of %zu bytes or no finite value",
				(unsigned long long)model, len);
			mm_txn_keep(t, err);
			goto out;
		}
		mm_buf_u8(&b, (uint8_t)len);
		mm_buf_put(&b, s[i].bench, len);
		mm_buf_f64(&b, s[i].value);
	}
	if (mm_buf_check(&b, err)) {
		mm_txn_keep(t, err);
		goto out;
	}
	uint64_t seal = mm_seal(mm_key_val(&key), b.data + SEAL, b.len - SEAL);
	for (unsigned i = 0; i < 8; i++)
		b.data[i] = (uint8_t)(seal >> (8 * i));
	MDB_val val = { b.len, b.data };
	rc = mm_txn_put(t, MM_D_SCORES, mm_key_val(&key), &val, err);
out:
	mm_buf_fini(&b);
	return rc;
}

static int decode_one(struct mm_cur *c, mm_bench_fn fn, uint64_t model, void *ctx, struct mm_err *err)
{
	char name[MM_BENCH_NAME_MAX + 1];
	size_t len = mm_cur_u8(c);
	const uint8_t *s = mm_cur_bytes(c, len);
	double v = mm_cur_f64(c);
	if (c->failed || !len || len > MM_BENCH_NAME_MAX || !isfinite(v) || memchr(s, 0, len))
		return mm_fail(err, MM_ECORRUPT, "scores do not have the form they should have");
	memcpy(name, s, len);
	name[len] = 0;
	return fn(model, name, v, ctx, err);
}

static int decode(MDB_val key, MDB_val val, mm_bench_fn fn, void *ctx, struct mm_err *err)
{
	struct mm_cur c = mm_cur_of(val.mv_data, val.mv_size);
	uint64_t seal = mm_cur_u64(&c), model = mm_key_id(&key);
	uint8_t mark = mm_cur_u8(&c), zero = mm_cur_u8(&c);
	if (c.failed || !model || mark != 'S' || zero ||
		seal != mm_seal(key, (const uint8_t *)val.mv_data + SEAL, val.mv_size - SEAL))
		return mm_fail(err, MM_ECORRUPT, "wrong checksum");
	while (mm_cur_left(&c) > 0)
		if (decode_one(&c, fn, model, ctx, err))
			return -1;
	return 0;
}

int mm_bench_each(struct mm_txn *t, mm_bench_fn fn, void *ctx, struct mm_err *err)
{
	MDB_cursor *c;
	MDB_val key, val;
	struct mm_store *s = t->store;
	if (t->err.code) {
		*err = t->err;
		return -1;
	}
	int rc = mdb_cursor_open(t->x, s->dbi[MM_D_SCORES], &c), stop = 0;
	if (rc)
		return mm_lmdb_fail(err, rc, "cannot read the scores");
	for (rc = mdb_cursor_get(c, &key, &val, MDB_FIRST); !rc && !stop;
		rc = stop ? rc : mdb_cursor_get(c, &key, &val, MDB_NEXT)) {
		struct mm_err why = { 0 };
		if (!decode(key, val, fn, ctx, &why))
			continue;
		stop = why.code != MM_ECORRUPT; /* fn's own failure */
		if (stop)
			*err = why;
		else if (s->bad)
			s->bad("scores of model", mm_key_id(&key), why.text, s->bad_ctx);
	}
	mdb_cursor_close(c);
	if (stop)
		return -1;
	return rc == MDB_NOTFOUND ? 0 : mm_lmdb_fail(err, rc, "cannot read the scores");
}
