/* reg.c - the models in memory: what the store holds, with indices by path, name and fingerprints.
 *
 * Entries live until the daemon ends (mm_reg_drop is the one exception), so that other rooms may keep pointers. Every
 * change is made here first and then stored; a store that cannot be written (a full disk) is reported and the change
 * stays in memory: after a restart the scan and the jobs that are still there lead to the same state again.
 */
#include "daemon/core_priv.h"

#include <math.h>
#include <string.h>

static uint64_t key_of(const char *s)
{
	return mm_hash64(s, strlen(s));
}

bool mm_hash_is_zero(struct mm_hash h)
{
	return !h.hi && !h.lo;
}

size_t mm_reg_n(const struct mm_daemon *d)
{
	return d->reg ? d->reg->n : 0;
}

struct mm_model_entry *mm_reg_at(const struct mm_daemon *d, size_t i)
{
	return d->reg->e[i];
}

struct mm_model_entry *mm_reg_by_id(const struct mm_daemon *d, uint64_t id)
{
	size_t lo = 0, hi = mm_reg_n(d);
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (d->reg->e[mid]->rec.id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < mm_reg_n(d) && d->reg->e[lo]->rec.id == id ? d->reg->e[lo] : NULL;
}

struct mm_model_entry *mm_reg_by_path(const struct mm_daemon *d, const char *path)
{
	struct mm_model_entry *e;
	size_t at = 0;
	while ((e = mm_index_next(&d->reg->path, key_of(path), &at)))
		if (!strcmp(e->rec.path, path))
			return e;
	return NULL;
}

struct mm_model_entry *mm_reg_by_name(const struct mm_daemon *d, const char *name)
{
	struct mm_model_entry *e;
	size_t at = 0;
	while ((e = mm_index_next(&d->reg->name, key_of(name), &at)))
		if (!strcmp(e->rec.name, name))
			return e;
	return NULL;
}

struct mm_model_entry *mm_reg_next_quick(const struct mm_daemon *d, struct mm_hash quick, size_t *at)
{
	struct mm_model_entry *e;
	while ((e = mm_index_next(&d->reg->quick, quick.lo, at)))
		if (mm_hash_eq(e->rec.quick, quick))
			return e;
	return NULL;
}

struct mm_model_entry *mm_reg_scored_full(
	const struct mm_daemon *d, struct mm_hash full, const struct mm_model_entry *except)
{
	struct mm_model_entry *e, *best = NULL;
	size_t at = 0;
	if (mm_hash_is_zero(full))
		return NULL;
	while ((e = mm_index_next(&d->reg->full, full.lo, &at)))
		if (e != except && mm_hash_eq(e->rec.full, full) && !e->rec.same_as &&
			(e->rec.has_vector || e->not_finite) && (!best || e->rec.id < best->rec.id))
			best = e;
	return best;
}

struct mm_model_entry *mm_reg_by_full(
	const struct mm_daemon *d, struct mm_hash full, const struct mm_model_entry *except)
{
	struct mm_model_entry *e = mm_reg_scored_full(d, full, except);
	return e && e->loglik ? e : NULL;
}

bool mm_reg_on_map(const struct mm_model_entry *e)
{
	/* A vector counts as long as it stands for the model's content, also while it is scored again. */
	return !e->not_finite && (e->loglik || (e->rec.same_as && e->rec.state == MM_ST_PLACED));
}

/* ---- changes ---- */

static int index_hash(struct mm_index *ix, struct mm_hash *field, struct mm_hash h, void *e, struct mm_err *err)
{
	if (mm_hash_eq(*field, h))
		return 0;
	if (!mm_hash_is_zero(h) && mm_index_put(ix, h.lo, e, err))
		return -1;
	if (!mm_hash_is_zero(*field))
		mm_index_del(ix, field->lo, e);
	*field = h;
	return 0;
}

int mm_reg_set_quick(struct mm_daemon *d, struct mm_model_entry *e, struct mm_hash h, struct mm_err *err)
{
	return index_hash(&d->reg->quick, &e->rec.quick, h, e, err);
}

int mm_reg_set_full(struct mm_daemon *d, struct mm_model_entry *e, struct mm_hash h, struct mm_err *err)
{
	return index_hash(&d->reg->full, &e->rec.full, h, e, err);
}

static int index_str(struct mm_index *ix, char **field, const char *s, void *e, struct mm_err *err)
{
	char *copy;
	if (*field && !strcmp(*field, s))
		return 0;
	if (!(copy = mm_strdup(s, err)))
		return -1;
	if (mm_index_put(ix, key_of(s), e, err)) {
		mm_free(copy);
		return -1;
	}
	if (*field)
		mm_index_del(ix, key_of(*field), e);
	mm_free(*field);
	*field = copy;
	return 0;
}

int mm_reg_set_path(
	struct mm_daemon *d, struct mm_model_entry *e, const char *name, const char *path, struct mm_err *err)
{
	return index_str(&d->reg->name, &e->rec.name, name, e, err) ||
			       index_str(&d->reg->path, &e->rec.path, path, e, err)
		       ? -1
		       : 0;
}

int mm_reg_str(char **field, const char *s, struct mm_err *err)
{
	char *copy = NULL;
	if (s && !(copy = mm_strdup(s, err)))
		return -1;
	mm_free(*field);
	*field = copy;
	return 0;
}

void mm_reg_state(struct mm_model_entry *e, enum mm_model_state st, const char *code, const char *file,
	uint64_t missing, const char *reason)
{
	struct mm_err err;
	if (e->rec.state != st)
		e->rec.state_since = mm_now();
	e->rec.state = st;
	e->rec.missing_bytes = missing;
	/* Out of memory: the old text stays, which is better than none. */
	if (mm_reg_str(&e->rec.reason_code, code && *code ? code : NULL, &err) ||
		mm_reg_str(&e->rec.reason_file, file, &err) || mm_reg_str(&e->rec.reason, reason, &err))
		mm_log(MM_LOG_WARN, "%s: %s", e->rec.name, err.text);
}

bool mm_reg_is_scored(const struct mm_model_entry *e)
{
	return e->rec.has_vector || e->rec.same_as || e->not_finite;
}

void mm_reg_restore(struct mm_model_entry *e)
{
	if (e->not_finite)
		mm_reg_state(e, MM_ST_FAILED, "not_finite", NULL, 0, "its log-likelihoods are not finite");
	else
		mm_reg_state(e, MM_ST_PLACED, NULL, NULL, 0, NULL);
}

static int insert_entry(struct mm_reg *r, struct mm_model_entry *e, struct mm_err *err)
{
	if (mm_grow(&r->e, &r->cap, r->n + 1, sizeof *r->e, err))
		return -1;
	size_t at = r->n;
	for (; at && r->e[at - 1]->rec.id > e->rec.id; at--)
		r->e[at] = r->e[at - 1];
	r->e[at] = e;
	r->n++;
	return 0;
}

static void unindex(struct mm_daemon *d, struct mm_model_entry *e)
{
	struct mm_reg *r = d->reg;
	if (e->rec.name)
		mm_index_del(&r->name, key_of(e->rec.name), e);
	if (e->rec.path)
		mm_index_del(&r->path, key_of(e->rec.path), e);
	mm_index_del(&r->quick, e->rec.quick.lo, e);
	mm_index_del(&r->full, e->rec.full.lo, e);
}

static void entry_free(struct mm_model_entry *e)
{
	if (!e)
		return;
	mm_model_rec_fini(&e->rec);
	mm_free(e->loglik);
	mm_free(e);
}

struct mm_model_entry *mm_reg_add(struct mm_daemon *d, const char *name, const char *path, struct mm_err *err)
{
	struct mm_model_entry *e = mm_calloc(1, sizeof *e, err);
	if (!e)
		return NULL;
	e->rec.step = -1;
	e->rec.first_seen = e->rec.state_since = mm_now();
	if (mm_reg_set_path(d, e, name, path, err) ||
		mm_reg_commit(d, &(struct mm_commit){ .e = e }, err)) { /* gets its id there */
		unindex(d, e);
		entry_free(e);
		return NULL;
	}
	return e;
}

int mm_reg_room(struct mm_daemon *d, size_t n, struct mm_err *err)
{
	return mm_grow(&d->reg->e, &d->reg->cap, d->reg->n + n, sizeof *d->reg->e, err);
}

int mm_reg_insert(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err)
{
	return insert_entry(d->reg, e, err);
}

void mm_reg_discard(struct mm_daemon *d, struct mm_model_entry *e)
{
	unindex(d, e);
	entry_free(e);
}

int mm_reg_drop(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err)
{
	struct mm_reg *r = d->reg;
	if (mm_reg_commit(d, &(struct mm_commit){ .del_model = e->rec.id }, err))
		return -1;
	size_t i = 0;
	while (i < r->n && r->e[i] != e)
		i++;
	if (i < r->n)
		memmove(r->e + i, r->e + i + 1, (--r->n - i) * sizeof *r->e);
	r->n_dropped++;
	unindex(d, e);
	mm_event(d, "model", json_pack("{s:s, s:s}", "name", e->rec.name, "state", "dropped"));
	entry_free(e);
	return 0;
}

int mm_reg_retire(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err)
{
	char when[40];
	char *name = NULL, *path = NULL;
	int rc = -1;
	mm_format_time(mm_now(), when, sizeof when);
	for (unsigned i = 1; !name; i++) {
		name = i == 1 ? mm_asprintf(err, "%s@%s", e->rec.name, when)
			      : mm_asprintf(err, "%s@%s.%u", e->rec.name, when, i);
		if (!name)
			return -1;
		if (mm_reg_by_name(d, name)) {
			mm_free(name);
			name = NULL;
		}
	}
	if ((path = mm_asprintf(err, "%s%s", e->rec.path, strrchr(name, '@'))) &&
		!mm_reg_set_path(d, e, name, path, err)) {
		e->rec.gone = true;
		rc = mm_reg_save(d, e, err);
	}
	mm_free(name);
	mm_free(path);
	return rc;
}

bool mm_reg_history(const struct mm_model_entry *e)
{
	const char *n = strrchr(e->rec.name, '@'), *p = strrchr(e->rec.path, '@');
	return e->rec.gone && n && p && !strcmp(n, p);
}

/* ---- store ---- */

struct write {
	const struct mm_commit *c;
	uint64_t model, job[2]; /* ids before: the function runs again after the store has grown */
};

static int write_commit(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	const struct write *w = ctx;
	const struct mm_commit *c = w->c;
	if (c->e) {
		c->e->rec.id = w->model;
		if (mm_model_put(t, &c->e->rec, err))
			return -1;
	}
	for (size_t i = 0; i < c->n_array; i++)
		if (mm_array_put(t, c->e->rec.id, &c->array[i], err))
			return -1;
	for (size_t i = 0; i < MM_COUNT(c->job); i++) {
		if (!c->job[i])
			continue;
		c->job[i]->id = w->job[i];
		if (c->e)
			c->job[i]->model = c->e->rec.id;
		if (mm_job_put(t, c->job[i], err))
			return -1;
	}
	for (size_t i = 0; i < c->n_del_job; i++)
		if (mm_job_del(t, c->del_job[i], err))
			return -1;
	return c->del_model ? mm_model_del(t, c->del_model, err) : 0;
}

int mm_reg_commit(struct mm_daemon *d, const struct mm_commit *c, struct mm_err *err)
{
	struct write w = { .c = c, .model = c->e ? c->e->rec.id : 0 };
	for (size_t i = 0; i < MM_COUNT(c->job); i++)
		w.job[i] = c->job[i] ? c->job[i]->id : 0;
	/* Room first: what is stored must come into the list. */
	if (c->e && !w.model && mm_grow(&d->reg->e, &d->reg->cap, d->reg->n + 1, sizeof *d->reg->e, err))
		return -1;
	if (mm_store_write(d->store, write_commit, &w, err)) {
		if (c->e)
			c->e->rec.id = w.model;
		for (size_t i = 0; i < MM_COUNT(c->job); i++)
			if (c->job[i])
				c->job[i]->id = w.job[i];
		return c->e ? mm_wrap(err, "cannot store model %s", c->e->rec.name) : -1;
	}
	if (c->e && !w.model && insert_entry(d->reg, c->e, err))
		return -1;
	if (c->e && w.model && !c->quiet)
		mm_event(d, "model", mm_reg_json(d, c->e, false));
	return 0;
}

int mm_reg_save(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err)
{
	return mm_reg_commit(d, &(struct mm_commit){ .e = e }, err);
}

/* ---- start and stop ---- */

struct load {
	struct mm_daemon *d;
	struct mm_txn *t;
};

/* 0: taken (or there is none); -1: damaged, said why. */
static int load_vector(struct load *l, struct mm_model_entry *e, struct mm_err *err)
{
	struct mm_stored_array a;
	size_t n = l->d->texts.n;
	if (mm_array_get(l->t, e->rec.id, "loglik", &a, err))
		return -1;
	if (a.type != MM_A_F32 || a.n_dim != 1 || a.dim[0] != n || a.n_byte != n * sizeof(float))
		return mm_fail(err, MM_ECORRUPT, "the vector has another type or length than the text set asks for");
	if (!(e->loglik = mm_calloc(n, sizeof(float), err)))
		return -1;
	memcpy(e->loglik, a.data, a.n_byte);
	mm_array_done(&a);
	for (size_t i = 0; i < n && !e->not_finite; i++)
		e->not_finite = !isfinite(e->loglik[i]);
	if (e->not_finite) {
		mm_free(e->loglik);
		e->loglik = NULL;
	}
	e->features = (uint8_t)mm_features_stored(l->d, l->t, e->rec.id);
	return 0;
}

static int load_one(const struct mm_model_rec *rec, void *ctx, struct mm_err *err)
{
	struct load *l = ctx;
	struct mm_reg *r = l->d->reg;
	struct mm_err why;
	struct mm_model_entry *e = mm_calloc(1, sizeof *e, err);
	if (!e)
		return -1;
	if (mm_model_rec_dup(&e->rec, rec, err) || insert_entry(r, e, err)) {
		entry_free(e);
		return -1;
	}
	if (mm_index_put(&r->name, key_of(e->rec.name), e, err) ||
		mm_index_put(&r->path, key_of(e->rec.path), e, err) ||
		(!mm_hash_is_zero(e->rec.quick) && mm_index_put(&r->quick, e->rec.quick.lo, e, err)) ||
		(!mm_hash_is_zero(e->rec.full) && mm_index_put(&r->full, e->rec.full.lo, e, err)))
		return -1;
	if (e->rec.has_vector && load_vector(l, e, &why)) {
		mm_log(MM_LOG_ERROR, "%s: its vector is damaged and will be made anew: %s", e->rec.name, why.text);
		r->n_bad++;
		e->rec.has_vector = false;
		e->rec.files = (struct mm_hash){ 0 }; /* so that it is probed, and queued, again */
		if (e->rec.state == MM_ST_PLACED)
			e->rec.state = MM_ST_WAITING;
	}
	if (e->rec.reason_code && !strcmp(e->rec.reason_code, "not_finite") && e->rec.state == MM_ST_FAILED)
		e->not_finite = true;
	return 0;
}

static void load_bad(uint64_t id, const char *why, void *ctx)
{
	struct load *l = ctx;
	l->d->reg->n_bad++;
	mm_log(MM_LOG_ERROR, "model record %llu is damaged, it is kept and passed over: %s", (unsigned long long)id,
		why);
}

int mm_reg_start(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_reg *r = d->reg = mm_calloc(1, sizeof *r, err);
	struct load l = { .d = d };
	if (!r || !(l.t = mm_txn_begin(d->store, false, err)))
		return -1;
	int rc = mm_model_each(l.t, load_one, load_bad, &l, err);
	mm_txn_abort(l.t);
	for (size_t i = 0; !rc && i < r->n; i++) {
		const struct mm_model_entry *of = r->e[i]->rec.same_as ? mm_reg_by_id(d, r->e[i]->rec.same_as) : NULL;
		if (of && of->not_finite)
			r->e[i]->not_finite = true;
	}
	return rc ? mm_wrap(err, "cannot read the models") : 0;
}

void mm_reg_stop(struct mm_daemon *d)
{
	struct mm_reg *r = d->reg;
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		entry_free(r->e[i]);
	mm_free(r->e);
	mm_import_free(r->import);
	mm_index_fini(&r->path);
	mm_index_fini(&r->name);
	mm_index_fini(&r->quick);
	mm_index_fini(&r->full);
	mm_free(r);
	d->reg = NULL;
}
