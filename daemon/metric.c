/* metric.c: which models have features, and reading them; see metric.h.
 *
 *   loop    known[id]   the set of probes of a model's features, as of a version of its vector; one that is missing
 *                       is looked for again each time: a rescoring may have brought it
 *   both    sketch[id]  under a mutex; an old one is kept until the daemon ends, for those who still read it; so is
 *                       the plan of sketches of each set of probes, which never changes
 *   worker  features    read from the store when they are needed: 132 kB a model
 *
 * Sketches are 8 kB a model and are made when the first question comes that wants them, then for new models only. */
#include "daemon/metric.h"
#include "tensor/tensor.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#define SETS_MAX 16
#define ID_MAX	 ((uint64_t)1 << 28) /* ids are counted up from 1 */

struct known {
	uint32_t version;
	int8_t set; /* -1: none */
};

struct probe_set {
	uint8_t id[MM_PROBES_ID];
	size_t m;
	struct mm_probes probes;
	bool tried, found;	    /* places */
	struct mm_sketch_plan plan; /* under the mutex until it is made, then for ever */
	bool planned;
};

struct sketch {
	int16_t *v;
	uint32_t version;
	size_t set;
};

struct mm_metrics {
	struct known *known;
	size_t n_known, cap_known;
	struct probe_set set[SETS_MAX];
	size_t n_set;
	pthread_mutex_t mu; /* guards what follows */
	struct sketch *sketch;
	size_t n_sketch, cap_sketch;
	int16_t **retired;
	size_t n_retired, cap_retired;
};

int mm_metrics_start(struct mm_daemon *d, struct mm_err *err)
{
	if (d->metrics)
		return 0;
	d->metrics = mm_calloc(1, sizeof(*d->metrics), err);
	if (!d->metrics)
		return -1;
	pthread_mutex_init(&d->metrics->mu, NULL);
	return 0;
}

void mm_metrics_stop(struct mm_daemon *d)
{
	struct mm_metrics *r = d->metrics;
	if (!r)
		return;
	for (size_t i = 0; i < r->n_sketch; i++)
		mm_free(r->sketch[i].v);
	for (size_t i = 0; i < r->n_retired; i++)
		mm_free(r->retired[i]);
	for (size_t i = 0; i < r->n_set; i++)
		mm_probes_free(&r->set[i].probes), mm_sketch_plan_fini(&r->set[i].plan);
	mm_free(r->sketch);
	mm_free(r->retired);
	mm_free(r->known);
	pthread_mutex_destroy(&r->mu);
	mm_free(r);
	d->metrics = NULL;
}

int mm_metric_arg(const json_t *args, enum mm_metric *out, struct mm_err *err)
{
	const char *name = mm_metrics[MM_METRIC_KL].name;
	if (mm_json_get_str(args, "metric", &name, err))
		return -1;
	*out = mm_metric_find(name);
	return *out < MM_METRIC_COUNT ? 0 : mm_fail(err, MM_EINVAL, "there is no metric %s", name);
}

/* ---- who has features: loop ---- */

/* Number of the set, which is new to us perhaps; -1: no features. */
static int set_of(struct mm_metrics *r, struct mm_txn *t, uint64_t owner)
{
	struct mm_stored_array a;
	struct mm_err ignored;
	if (mm_array_get(t, owner, "probe_set", &a, &ignored) || a.n_byte != MM_PROBES_ID)
		return -1;
	for (size_t i = 0; i < r->n_set; i++)
		if (memcmp(r->set[i].id, a.data, MM_PROBES_ID) == 0)
			return (int)i;
	if (r->n_set == SETS_MAX)
		return -1;
	struct probe_set *p = &r->set[r->n_set];
	memcpy(p->id, a.data, MM_PROBES_ID);
	if (mm_array_get(t, owner, "next_byte", &a, &ignored) || a.type != MM_A_F16 || a.n_dim != 2 ||
		a.dim[1] != MM_BYTES || a.dim[0] < 2 || a.dim[0] > MM_PROBES_MAX)
		return -1;
	p->m = (size_t)a.dim[0];
	return (int)r->n_set++;
}

/* NULL: the texts at hand are not those, or other code chose the places. */
static const struct mm_probes *places(struct probe_set *p, const struct mm_texts *texts)
{
	struct mm_err ignored;
	if (!p->tried) {
		p->tried = true;
		p->found = mm_probes_make(&p->probes, texts, p->m, &ignored) == 0 && p->probes.n == p->m &&
			   memcmp(&p->probes.hash, p->id, sizeof(p->probes.hash)) == 0;
	}
	return p->found ? &p->probes : NULL;
}

static int known_set(struct mm_metrics *r, struct mm_txn *t, uint64_t owner, uint32_t version)
{
	struct mm_err ignored;
	if (owner >= ID_MAX || mm_grow(&r->known, &r->cap_known, (size_t)owner + 1, sizeof(*r->known), &ignored))
		return -1;
	for (; r->n_known <= owner; r->n_known++)
		r->known[r->n_known] = (struct known){ 0, -1 };
	struct known *k = &r->known[owner];
	if (k->set < 0 || k->version != version)
		*k = (struct known){ version, (int8_t)set_of(r, t, owner) };
	return k->set;
}

static void owner_of(const struct mm_daemon *d, const struct mm_snap *s, uint64_t *owner, uint32_t *version)
{
	const struct mm_model_entry *e = mm_reg_by_id(d, s->id);
	const struct mm_model_entry *o = e->rec.same_as ? mm_reg_by_id(d, e->rec.same_as) : e;
	const struct mm_place *p = o ? o->map_state : NULL;
	*owner = e->rec.same_as ? e->rec.same_as : e->rec.id;
	*version = p ? p->version : s->version;
}

static int no_features(const struct mm_daemon *d, uint64_t who, struct mm_err *err)
{
	const struct mm_model_entry *e = who ? mm_reg_by_id(d, who) : NULL;
	return mm_fail(err, MM_EINVAL,
		"%s%s no next-byte distributions, which this metric compares: modelmap rescore --missing-features",
		e ? e->rec.name : "the models on the map", e ? " has" : " have");
}

/* The probes of a domain. */
static int select_probes(
	struct mm_feats *f, const struct mm_daemon *d, struct probe_set *p, size_t domain, struct mm_err *err)
{
	f->n = f->m;
	if (domain == SIZE_MAX)
		return 0;
	if (!f->probes)
		return mm_fail(err, MM_EINVAL, "these features were made at places that are not known here");
	if (!(f->sel = mm_calloc(p->m, sizeof(*f->sel), err)))
		return -1;
	f->n = 0;
	for (size_t i = 0; i < p->m; i++)
		if (f->probes->at[i].domain == domain)
			f->sel[f->n++] = (uint32_t)i;
	return f->n >= 2
		       ? 0
		       : mm_fail(err, MM_EINVAL, "domain %s has %s of the probes: a distance with its error needs two",
				 d->texts.domain_name[domain], f->n ? "one" : "none");
}

int mm_feats_pick(struct mm_feats *f, struct mm_daemon *d, struct mm_snap *s, size_t *k, uint64_t who, size_t domain,
	struct mm_err *err)
{
	size_t count[SETS_MAX] = { 0 }, n = 0;
	int want = -1;
	if (mm_metrics_start(d, err) || !(f->owner = mm_calloc(*k, sizeof(*f->owner), err)) ||
		!(f->version = mm_calloc(*k, sizeof(*f->version), err)) || !(f->without = json_array()))
		return -1;
	int *set = mm_calloc(*k, sizeof(*set), err);
	struct mm_txn *t = set ? mm_txn_begin(d->store, false, err) : NULL;
	for (size_t i = 0; t && i < *k; i++) {
		owner_of(d, &s[i], &f->owner[i], &f->version[i]);
		set[i] = known_set(d->metrics, t, f->owner[i], f->version[i]);
		if (set[i] >= 0)
			count[set[i]]++;
		if (s[i].id == who)
			want = set[i];
	}
	mm_txn_abort(t);
	for (int c = 0; !who && c < SETS_MAX; c++) /* what most have */
		want = count[c] > (want < 0 ? 0 : count[want]) ? c : want;
	for (size_t i = 0; t && want >= 0 && i < *k; i++) {
		if (set[i] != want) {
			json_array_append_new(f->without, json_string(mm_reg_by_id(d, s[i].id)->rec.name));
			continue;
		}
		s[n] = s[i];
		f->owner[n] = f->owner[i];
		f->version[n++] = f->version[i];
	}
	mm_free(set);
	if (!t)
		return -1;
	if (want < 0)
		return no_features(d, who, err);
	*k = f->k = n;
	f->set = (size_t)want;
	f->m = d->metrics->set[want].m;
	f->store = d->store;
	f->room = d->metrics;
	f->probes = places(&d->metrics->set[want], &d->texts);
	return select_probes(f, d, &d->metrics->set[want], domain, err);
}

void mm_feats_free(struct mm_feats *f)
{
	if (!f)
		return;
	mm_free(f->owner);
	mm_free(f->version);
	mm_free(f->sel);
	mm_free(f->block);
	mm_free(f->row);
	json_decref(f->without);
	mm_free(f);
}

/* ---- reading ---- */

static int stored(const struct mm_feats *f, struct mm_txn *t, size_t i, struct mm_stored_array *a, struct mm_err *err)
{
	if (mm_array_get(t, f->owner[i], "next_byte", a, err))
		return -1;
	if (a->type != MM_A_F16 || a->n_byte != f->m * MM_BYTES * sizeof(uint16_t))
		return mm_fail(err, MM_ECORRUPT, "features of model %llu: not of %zu probes",
			(unsigned long long)f->owner[i], f->m);
	return 0;
}

int mm_feats_one(const struct mm_feats *f, struct mm_txn *t, size_t i, float *out, struct mm_err *err)
{
	struct mm_stored_array a;
	if (stored(f, t, i, &a, err) || mm_bytes_unpack(a.data, f->m, out, err))
		return mm_wrap(err, "features of model %llu", (unsigned long long)f->owner[i]);
	return 0;
}

const void *mm_feats_get(const struct mm_feats *f, struct mm_txn *t, size_t i, struct mm_err *err)
{
	struct mm_stored_array a;
	return stored(f, t, i, &a, err) ? NULL : a.data;
}

int mm_feats_copy(const struct mm_feats *f, struct mm_txn *t, size_t i, uint16_t *out, struct mm_err *err)
{
	struct mm_stored_array a;
	if (stored(f, t, i, &a, err))
		return -1;
	memcpy(out, a.data, a.n_byte);
	return 0;
}

int mm_feats_load(struct mm_feats *f, const _Atomic bool *cancel, struct mm_err *err)
{
	size_t one = f->m * MM_BYTES, all;
	if (!mm_mul(one, f->k, &all))
		return mm_fail(err, MM_ENOMEM, "features of %zu models are too many", f->k);
	if (!(f->block = mm_calloc(all, sizeof(*f->block), err)) || !(f->row = mm_calloc(f->k, sizeof(*f->row), err)))
		return -1;
	struct mm_txn *t = mm_reader_begin(f->store, err);
	int rc = t ? 0 : -1;
	for (size_t i = 0; rc == 0 && i < f->k; i++) {
		rc = *cancel ? mm_fail(err, MM_ECANCELLED, "the daemon is stopping")
			     : mm_feats_copy(f, t, i, f->block + i * one, err);
		f->row[i] = f->block + i * one;
	}
	mm_reader_end(t);
	return rc;
}

struct mm_byte_rows mm_feats_rows(const struct mm_feats *f)
{
	return (struct mm_byte_rows){ f->row, f->k, f->m, f->sel, f->n };
}

/* ---- sketches: worker ---- */

#define PLANNED_FROM 256 /* models that are looked at */
#define BATCH	     32	 /* models that are read, then shared out */

static const int16_t *sketch_get(struct mm_metrics *r, const struct mm_feats *f, size_t i)
{
	const struct sketch *s = f->owner[i] < r->n_sketch ? &r->sketch[f->owner[i]] : NULL;
	return s && s->v && s->version == f->version[i] && s->set == f->set ? s->v : NULL;
}

/* Takes v. */
static int sketch_put(struct mm_metrics *r, const struct mm_feats *f, size_t i, int16_t *v, struct mm_err *err)
{
	size_t owner = f->owner[i];
	int rc = -1;
	pthread_mutex_lock(&r->mu);
	if (owner < ID_MAX && mm_grow(&r->sketch, &r->cap_sketch, owner + 1, sizeof(*r->sketch), err) == 0 &&
		mm_grow(&r->retired, &r->cap_retired, r->n_retired + 1, sizeof(int16_t *), err) == 0) {
		for (; r->n_sketch <= owner; r->n_sketch++)
			r->sketch[r->n_sketch] = (struct sketch){ 0 };
		if (r->sketch[owner].v) /* scored again, or two questions at once */
			r->retired[r->n_retired++] = r->sketch[owner].v;
		r->sketch[owner] = (struct sketch){ v, f->version[i], f->set };
		rc = 0;
	}
	pthread_mutex_unlock(&r->mu);
	if (rc)
		mm_free(v);
	return rc;
}

/* Who comes first draws up the plan; others wait for it: a tenth of a second. */
static const struct mm_sketch_plan *plan_of(const struct mm_feats *f, struct mm_txn *t, float *row, struct mm_err *err)
{
	struct probe_set *set = &f->room->set[f->set];
	struct mm_sketch_plan plan;
	pthread_mutex_lock(&f->room->mu);
	int rc = set->planned ? 0 : mm_sketch_plan_init(&plan, f->m, err);
	if (rc == 0 && !set->planned) {
		size_t n = MM_MIN(f->k, PLANNED_FROM);
		for (size_t c = 0; rc == 0 && c < n; c++)
			if ((rc = mm_feats_one(f, t, c * f->k / n, row, err)) == 0)
				mm_sketch_plan_show(&plan, row);
		if (rc == 0) {
			mm_sketch_plan_done(&plan);
			set->plan = plan;
			set->planned = true;
		} else {
			mm_sketch_plan_fini(&plan);
		}
	}
	pthread_mutex_unlock(&f->room->mu);
	return rc ? NULL : &set->plan;
}

/* Sketches of the models at[n], n <= BATCH; row has room for that many. */
static int sketch_batch(const struct mm_feats *f, struct mm_txn *t, const struct mm_sketch_plan *plan, const size_t *at,
	size_t n, float *row, const int16_t **out, struct mm_err *err)
{
	const void *data[BATCH];
	int16_t *v[BATCH] = { 0 };
	bool bad[BATCH] = { 0 };
	int rc = 0;
	for (size_t c = 0; rc == 0 && c < n; c++)
		if (!(data[c] = mm_feats_get(f, t, at[c], err)) ||
			!(v[c] = mm_calloc(MM_SKETCH * plan->stride, sizeof(int16_t), err)))
			rc = -1;
#pragma omp parallel for schedule(static) num_threads((int)mm_threads()) if (rc == 0)
	for (size_t c = 0; c < (rc ? 0 : n); c++) {
		float *own = row + c * f->m * MM_BYTE_STRIDE;
		struct mm_err ignored;
		if (!(bad[c] = mm_bytes_unpack(data[c], f->m, own, &ignored) != 0))
			mm_sketch_make(plan, own, v[c]);
	}
	for (size_t c = 0; rc == 0 && c < n; c++)
		rc = bad[c] ? mm_feats_one(f, t, at[c], row, err) : 0; /* for its error */
	for (size_t c = 0; c < n; c++) {
		out[at[c]] = v[c];
		if (rc == 0)
			rc = sketch_put(f->room, f, at[c], v[c], err);
		else
			mm_free(v[c]);
	}
	return rc;
}

int mm_feats_sketches(const struct mm_feats *f, const int16_t **out, const struct mm_sketch_plan **plan,
	const _Atomic bool *cancel, struct mm_err *err)
{
	size_t at[BATCH], n = 0;
	float *row = mm_calloc(BATCH * f->m * MM_BYTE_STRIDE, sizeof(*row), err);
	struct mm_txn *t = row ? mm_reader_begin(f->store, err) : NULL;
	int rc = t && (*plan = plan_of(f, t, row, err)) ? 0 : -1;
	if (rc == 0) {
		pthread_mutex_lock(&f->room->mu);
		for (size_t i = 0; i < f->k; i++)
			out[i] = sketch_get(f->room, f, i);
		pthread_mutex_unlock(&f->room->mu);
	}
	for (size_t i = 0; rc == 0 && i < f->k; i++) {
		if (!out[i])
			at[n++] = i;
		if (n < BATCH && (n == 0 || i + 1 < f->k))
			continue;
		rc = *cancel ? mm_fail(err, MM_ECANCELLED, "the daemon is stopping")
			     : sketch_batch(f, t, *plan, at, n, row, out, err);
		n = 0;
	}
	mm_reader_end(t);
	mm_free(row);
	return rc;
}

/* ---- answers ---- */

void mm_metric_head(json_t *o, const struct mm_feats *f)
{
	enum mm_metric m = f ? f->metric : MM_METRIC_KL;
	if (!o)
		return;
	json_object_set_new(o, "metric", json_string(mm_metrics[m].name));
	if (!f)
		return;
	json_object_set_new(o, "unit", json_string(mm_metrics[m].unit));
	json_object_set_new(o, "probes", json_integer((json_int_t)f->n));
	if (!json_array_size(f->without))
		return;
	json_object_set(o, "without_features", f->without);
	json_object_set_new(o, "hint", json_string("modelmap rescore --missing-features"));
}

void mm_metric_put(json_t *o, enum mm_metric m, double value, const struct mm_interval *iv)
{
	if (!o)
		return;
	json_object_set_new(o, "distance", json_real(value));
	json_object_set_new(o, "unit", json_string(mm_metrics[m].unit));
	if (!iv)
		return;
	json_object_set_new(o, "low", json_real(iv->lo));
	json_object_set_new(o, "high", json_real(iv->hi));
	json_object_set_new(o, "stderr", json_real(iv->stderr_));
}
