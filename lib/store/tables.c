/* tables.c - models, jobs and alerts: three tables of records by id, which differ only in their field tables. */
#include "store/store_priv.h"

#include <string.h>

static const char *const model_states[] = { "seen", "waiting", "queued", "running", "placed", "failed", "never_ready",
	"cancelled" };
static const char *const job_states[] = { "waiting", "queued", "running", "done", "failed", "cancelled" };
static const char *const alert_states[] = { "open", "acked", "resolved" };
_Static_assert(MM_COUNT(model_states) == MM_ST_CANCELLED + 1, "a name for each state");
_Static_assert(MM_COUNT(job_states) == MM_JOB_CANCELLED + 1, "a name for each state");
_Static_assert(MM_COUNT(alert_states) == MM_ALERT_RESOLVED + 1, "a name for each state");

const char *mm_model_state_name(enum mm_model_state s)
{
	return (unsigned)s < MM_COUNT(model_states) ? model_states[s] : "unknown";
}

const char *mm_job_state_name(enum mm_job_state s)
{
	return (unsigned)s < MM_COUNT(job_states) ? job_states[s] : "unknown";
}

const char *mm_alert_state_name(enum mm_alert_state s)
{
	return (unsigned)s < MM_COUNT(alert_states) ? alert_states[s] : "unknown";
}

/* ---- any table ---- */

int mm_rec_put(
	struct mm_txn *t, const struct mm_layout *l, enum mm_dbi db, const char *counter, void *rec, struct mm_err *err)
{
	struct mm_buf b = { 0 };
	struct mm_err none;
	MDB_val old = { 0, NULL }, val;
	uint64_t before, *id = rec;
	if (mm_txn_check(t, err))
		return -1;
	before = *id;
	if (mm_txn_take_id(t, counter, db, id, err))
		goto fail;
	struct mm_key key = mm_key_of(*id, NULL);
	if (mm_txn_get(t, db, mm_key_val(&key), &old, &none))
		old = (MDB_val){ 0, NULL };
	if (mm_rec_encode(l, rec, mm_key_val(&key), old, &b, err)) {
		mm_txn_keep(t, err);
		goto fail;
	}
	val = (MDB_val){ b.len, b.data };
	if (mm_txn_put(t, db, mm_key_val(&key), &val, err))
		goto fail;
	mm_buf_fini(&b);
	return 0;
fail:
	*id = before; /* the transaction will not commit: nothing has that id */
	mm_buf_fini(&b);
	return mm_wrap(err, "%s %llu", l->name, (unsigned long long)before);
}

int mm_rec_get(struct mm_txn *t, const struct mm_layout *l, enum mm_dbi db, uint64_t id, void *rec, struct mm_err *err)
{
	struct mm_key key = mm_key_of(id, NULL);
	MDB_val val;
	memset(rec, 0, l->size);
	if (mm_txn_get(t, db, mm_key_val(&key), &val, err))
		return mm_wrap(err, "%s %llu", l->name, (unsigned long long)id);
	return mm_rec_decode(l, mm_key_val(&key), val, rec, err) ? mm_wrap(err, "%llu", (unsigned long long)id) : 0;
}

/* Room for a record of any table. */
union any_rec {
	struct mm_model_rec model;
	struct mm_job_rec job;
	struct mm_alert_rec alert;
};

int mm_rec_each(struct mm_txn *t, const struct mm_layout *l, enum mm_dbi db, mm_rec_fn fn, mm_bad_fn bad, void *ctx,
	struct mm_err *err)
{
	MDB_cursor *c;
	MDB_val key, val;
	struct mm_store *s = t->store;
	int stop = 0, rc;
	if (t->err.code) {
		*err = t->err;
		return -1;
	}
	if ((rc = mdb_cursor_open(t->x, s->dbi[db], &c)))
		return mm_lmdb_fail(err, rc, "cannot read the table of %ss", l->name);
	for (rc = mdb_cursor_get(c, &key, &val, MDB_FIRST); !rc && !stop;
		rc = stop ? rc : mdb_cursor_get(c, &key, &val, MDB_NEXT)) {
		union any_rec rec;
		struct mm_err why = { 0 };
		uint64_t id = mm_key_id(&key);
		if (!mm_rec_decode(l, key, val, &rec, &why)) {
			stop = fn(&rec, ctx, err);
			mm_rec_fini(l, &rec);
		} else if (why.code == MM_ENOMEM) { /* not the record's fault */
			*err = why;
			stop = -1;
		} else if (bad) {
			bad(id, why.text, ctx);
		} else if (s->bad) {
			s->bad(l->name, id, why.text, s->bad_ctx);
		}
	}
	mdb_cursor_close(c);
	if (stop)
		return -1;
	return rc == MDB_NOTFOUND ? 0 : mm_lmdb_fail(err, rc, "cannot read the table of %ss", l->name);
}

/* ---- models ---- */

void mm_model_rec_fini(struct mm_model_rec *r)
{
	mm_rec_fini(&mm_layout_model, r);
}

int mm_model_rec_dup(struct mm_model_rec *to, const struct mm_model_rec *from, struct mm_err *err)
{
	return mm_rec_dup(&mm_layout_model, to, from, err);
}

int mm_model_put(struct mm_txn *t, struct mm_model_rec *r, struct mm_err *err)
{
	return mm_rec_put(t, &mm_layout_model, MM_D_MODELS, "next-model", r, err);
}

int mm_model_get(struct mm_txn *t, uint64_t id, struct mm_model_rec *out, struct mm_err *err)
{
	return mm_rec_get(t, &mm_layout_model, MM_D_MODELS, id, out, err);
}

/* Its arrays stand together: all keys that start with the id. */
int mm_model_del(struct mm_txn *t, uint64_t id, struct mm_err *err)
{
	struct mm_key key = mm_key_of(id, NULL);
	for (;;) {
		MDB_val k = mm_key_val(&key), v;
		MDB_cursor *c;
		if (mm_txn_check(t, err))
			return -1;
		int rc = mdb_cursor_open(t->x, t->store->dbi[MM_D_ARRAYS], &c);
		if (rc) {
			mm_lmdb_fail(err, rc, "cannot read the arrays");
			return mm_txn_keep(t, err);
		}
		rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
		bool more = !rc && mm_key_id(&k) == id;
		struct mm_key name = { 0 };
		if (more) { /* a copy: the key lies in the page that is about to change */
			name.len = MM_MIN(k.mv_size, sizeof name.byte);
			memcpy(name.byte, k.mv_data, name.len);
		}
		mdb_cursor_close(c);
		if (!more)
			break;
		if (mm_txn_del(t, MM_D_ARRAYS, mm_key_val(&name), err))
			return -1;
	}
	if (mm_txn_del(t, MM_D_SCORES, mm_key_val(&key), err))
		return -1;
	return mm_txn_del(t, MM_D_MODELS, mm_key_val(&key), err);
}

/* The three callbacks differ in their first argument; these carry them through the common walk. */
struct walk {
	int (*model)(const struct mm_model_rec *r, void *ctx, struct mm_err *err);
	int (*job)(const struct mm_job_rec *r, void *ctx, struct mm_err *err);
	int (*alert)(const struct mm_alert_rec *r, void *ctx, struct mm_err *err);
	mm_bad_fn bad;
	void *ctx;
};

static int walk_model(const void *rec, void *ctx, struct mm_err *err)
{
	const struct walk *w = ctx;
	return w->model(rec, w->ctx, err);
}

static int walk_job(const void *rec, void *ctx, struct mm_err *err)
{
	const struct walk *w = ctx;
	return w->job(rec, w->ctx, err);
}

static int walk_alert(const void *rec, void *ctx, struct mm_err *err)
{
	const struct walk *w = ctx;
	return w->alert(rec, w->ctx, err);
}

static void walk_bad(uint64_t id, const char *why, void *ctx)
{
	const struct walk *w = ctx;
	w->bad(id, why, w->ctx);
}

int mm_model_each(struct mm_txn *t, int (*fn)(const struct mm_model_rec *r, void *ctx, struct mm_err *err),
	void (*bad)(uint64_t id, const char *why, void *ctx), void *ctx, struct mm_err *err)
{
	struct walk w = { .model = fn, .bad = bad, .ctx = ctx };
	return mm_rec_each(t, &mm_layout_model, MM_D_MODELS, walk_model, bad ? walk_bad : NULL, &w, err);
}

/* ---- jobs ---- */

void mm_job_rec_fini(struct mm_job_rec *r)
{
	mm_rec_fini(&mm_layout_job, r);
}

int mm_job_put(struct mm_txn *t, struct mm_job_rec *r, struct mm_err *err)
{
	return mm_rec_put(t, &mm_layout_job, MM_D_JOBS, "next-job", r, err);
}

int mm_job_del(struct mm_txn *t, uint64_t id, struct mm_err *err)
{
	struct mm_key key = mm_key_of(id, NULL);
	return mm_txn_del(t, MM_D_JOBS, mm_key_val(&key), err);
}

int mm_job_each(struct mm_txn *t, int (*fn)(const struct mm_job_rec *r, void *ctx, struct mm_err *err), void *ctx,
	struct mm_err *err)
{
	struct walk w = { .job = fn, .ctx = ctx };
	return mm_rec_each(t, &mm_layout_job, MM_D_JOBS, walk_job, NULL, &w, err);
}

/* ---- alerts ---- */

void mm_alert_rec_fini(struct mm_alert_rec *r)
{
	mm_rec_fini(&mm_layout_alert, r);
}

int mm_alert_put(struct mm_txn *t, struct mm_alert_rec *r, struct mm_err *err)
{
	return mm_rec_put(t, &mm_layout_alert, MM_D_ALERTS, "next-alert", r, err);
}

int mm_alert_each(struct mm_txn *t, int (*fn)(const struct mm_alert_rec *r, void *ctx, struct mm_err *err), void *ctx,
	struct mm_err *err)
{
	struct walk w = { .alert = fn, .ctx = ctx };
	return mm_rec_each(t, &mm_layout_alert, MM_D_ALERTS, walk_alert, NULL, &w, err);
}
