/* scores.c - benchmark scores of models: what the store holds, in memory.
 *
 * A table of rows by model id (ascending), each with one number a benchmark (NAN: not known). A change makes a new
 * table from the old one, writes what differs in one transaction and only then takes the old one's place: whoever
 * reads never sees half of an import, and a store that cannot be written leaves everything as it was. */
#include "daemon/scores.h"

#include "daemon/alerts_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct row {
	uint64_t model;
	double *v; /* [n_bench] */
	bool changed;
};

struct mm_scores {
	char **bench; /* [n_bench] in the order of strcmp */
	size_t n_bench;
	struct row *row; /* [n] by model */
	size_t n;
	struct mm_scores_stage stage;
};

/* ---- reading ---- */

size_t mm_scores_n_bench(const struct mm_daemon *d)
{
	return d->scores ? d->scores->n_bench : 0;
}

const char *mm_scores_bench(const struct mm_daemon *d, size_t b)
{
	return d->scores->bench[b];
}

static size_t bench_at(const struct mm_scores *s, const char *name)
{
	for (size_t b = 0; b < s->n_bench; b++)
		if (strcmp(s->bench[b], name) == 0)
			return b;
	return SIZE_MAX;
}

size_t mm_scores_find(const struct mm_daemon *d, const char *bench)
{
	return d->scores ? bench_at(d->scores, bench) : SIZE_MAX;
}

size_t mm_scores_find_arg(const struct mm_daemon *d, const char *bench, struct mm_err *err)
{
	struct mm_buf all = { 0 };
	size_t b = mm_scores_find(d, bench), n = mm_scores_n_bench(d);
	if (b != SIZE_MAX)
		return b;
	if (n == 0) {
		mm_fail(err, MM_ENOENT, "no benchmark scores are known yet: modelmap scores import FILE.csv");
		return SIZE_MAX;
	}
	for (b = 0; b < n && b < 30; b++)
		mm_buf_printf(&all, "%s%s", b ? ", " : "", d->scores->bench[b]);
	const char *near = mm_nearest(bench, (const char *const *)d->scores->bench, n);
	mm_fail(err, MM_ENOENT, "there is no benchmark %s%s%s%s; there are: %s%s", bench, near ? "; did you mean " : "",
		near ? near : "", near ? "?" : "", all.data ? (const char *)all.data : "", n > 30 ? ", ..." : "");
	mm_buf_fini(&all);
	return SIZE_MAX;
}

static struct row *row_of(const struct mm_scores *s, uint64_t model)
{
	size_t lo = 0, hi = s->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (s->row[mid].model < model)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->n && s->row[lo].model == model ? &s->row[lo] : NULL;
}

bool mm_scores_get(const struct mm_daemon *d, const struct mm_model_entry *e, size_t b, double *out)
{
	const struct row *r = d->scores && b < d->scores->n_bench ? row_of(d->scores, e->rec.id) : NULL;
	if (!r || !isfinite(r->v[b]))
		return false;
	*out = r->v[b];
	return true;
}

/* ---- a table ---- */

static void scores_free(struct mm_scores *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++)
		mm_free(s->row[i].v);
	for (size_t b = 0; b < s->n_bench; b++)
		mm_free(s->bench[b]);
	mm_buf_fini(&s->stage.text);
	mm_free(s->bench);
	mm_free(s->row);
	mm_free(s);
}

static int cmp_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int cmp_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static bool has_name(const char *const *name, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++) /* the cells of an import share their names: the pointer mostly tells */
		if (name[i] == s || strcmp(name[i], s) == 0)
			return true;
	return false;
}

/* Names of both, sorted, each once. */
static int join_names(struct mm_scores *s, const struct mm_scores *old, const struct mm_scores_cell *cell, size_t n,
	struct mm_err *err)
{
	const char **name = NULL;
	size_t n_name = 0, cap = 0;
	int rc = mm_grow(&name, &cap, old->n_bench + 1, sizeof(*name), err);
	for (size_t b = 0; b < old->n_bench && rc == 0; b++)
		name[n_name++] = old->bench[b];
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (has_name(name, n_name, cell[i].bench))
			continue;
		rc = mm_grow(&name, &cap, n_name + 1, sizeof(*name), err);
		if (rc == 0)
			name[n_name++] = cell[i].bench;
	}
	if (rc == 0 && n_name)
		qsort(name, n_name, sizeof(*name), cmp_name);
	s->bench = rc == 0 ? mm_calloc(n_name, sizeof(*s->bench), err) : NULL;
	while (s->bench && s->n_bench < n_name && (s->bench[s->n_bench] = mm_strdup(name[s->n_bench], err)))
		s->n_bench++;
	rc = s->bench && s->n_bench == n_name ? 0 : -1;
	mm_free(name);
	return rc;
}

static int join_rows(struct mm_scores *s, const struct mm_scores *old, const struct mm_scores_cell *cell, size_t n,
	struct mm_err *err)
{
	uint64_t *id = mm_calloc(old->n + n, sizeof(*id), err);
	size_t n_id = 0;
	if (!id)
		return -1;
	for (size_t i = 0; i < old->n; i++)
		id[n_id++] = old->row[i].model;
	for (size_t i = 0; i < n; i++)
		id[n_id++] = cell[i].model;
	qsort(id, n_id, sizeof(*id), cmp_id);
	s->row = mm_calloc(n_id, sizeof(*s->row), err);
	for (size_t i = 0; s->row && i < n_id; i++) {
		if (i > 0 && id[i] == id[i - 1])
			continue;
		struct row *r = &s->row[s->n];
		r->model = id[i];
		if (!(r->v = mm_calloc(s->n_bench, sizeof(double), err))) {
			mm_free(id);
			return -1;
		}
		for (size_t b = 0; b < s->n_bench; b++)
			r->v[b] = NAN;
		s->n++;
	}
	mm_free(id);
	return s->row ? 0 : -1;
}

/* The old table's numbers under the new one's benchmarks. */
static void carry(struct mm_scores *s, const struct mm_scores *old)
{
	for (size_t b = 0; b < old->n_bench; b++) {
		size_t to = bench_at(s, old->bench[b]);
		for (size_t i = 0; to != SIZE_MAX && i < old->n; i++)
			row_of(s, old->row[i].model)->v[to] = old->row[i].v[b];
	}
}

static struct mm_scores *join(
	const struct mm_scores *old, const struct mm_scores_cell *cell, size_t n, struct mm_err *err)
{
	struct mm_scores *s = mm_calloc(1, sizeof(*s), err);
	if (!s || join_names(s, old, cell, n, err) || join_rows(s, old, cell, n, err)) {
		scores_free(s);
		return NULL;
	}
	carry(s, old);
	for (size_t i = 0; i < n; i++) {
		size_t b = bench_at(s, cell[i].bench);
		struct row *r = row_of(s, cell[i].model);
		r->changed = r->changed || !(r->v[b] == cell[i].value);
		r->v[b] = cell[i].value;
	}
	return s;
}

/* ---- store ---- */

static int write_changed(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	const struct mm_scores *s = ctx;
	struct mm_bench_score *list = mm_calloc(s->n_bench, sizeof(*list), err);
	int rc = list ? 0 : -1;
	for (size_t i = 0; i < s->n && rc == 0; i++) {
		size_t n = 0;
		if (!s->row[i].changed)
			continue;
		for (size_t b = 0; b < s->n_bench; b++)
			if (isfinite(s->row[i].v[b]))
				list[n++] = (struct mm_bench_score){ s->bench[b], s->row[i].v[b] };
		rc = mm_bench_put(t, s->row[i].model, list, n, err);
	}
	mm_free(list);
	return rc;
}

/* Takes s. */
static int replace(struct mm_daemon *d, struct mm_scores *s, struct mm_err *err)
{
	if (mm_store_write(d->store, write_changed, s, err)) {
		scores_free(s);
		return mm_wrap(err, "cannot store the scores");
	}
	for (size_t i = 0; i < s->n; i++)
		s->row[i].changed = false;
	s->stage = d->scores->stage;
	d->scores->stage = (struct mm_scores_stage){ 0 };
	scores_free(d->scores);
	d->scores = s;
	return 0;
}

struct mm_scores_stage *mm_scores_stage(struct mm_daemon *d)
{
	return &d->scores->stage;
}

int mm_scores_put(struct mm_daemon *d, const struct mm_scores_cell *cell, size_t n, struct mm_err *err)
{
	struct mm_scores *s = join(d->scores, cell, n, err);
	if (!s || replace(d, s, err))
		return -1;
	mm_check_kick(d); /* likelihood against scores is one of the tests */
	return 0;
}

int mm_scores_drop(struct mm_daemon *d, size_t bench, struct mm_err *err)
{
	struct mm_scores *s = join(d->scores, NULL, 0, err);
	if (!s)
		return -1;
	for (size_t i = 0; i < s->n; i++) {
		double *v = s->row[i].v;
		s->row[i].changed = isfinite(v[bench]);
		memmove(v + bench, v + bench + 1, (s->n_bench - bench - 1) * sizeof(*v));
	}
	mm_free(s->bench[bench]);
	memmove(s->bench + bench, s->bench + bench + 1, (s->n_bench - bench - 1) * sizeof(*s->bench));
	s->n_bench--;
	if (replace(d, s, err))
		return -1;
	mm_check_kick(d);
	return 0;
}

/* ---- start, stop ---- */

struct loading {
	struct mm_scores_cell *cell; /* bench owned by `name` */
	size_t n, cap;
	char **name;
	size_t n_name, cap_name;
};

static int load_one(uint64_t model, const char *bench, double value, void *ctx, struct mm_err *err)
{
	struct loading *l = ctx;
	size_t b = 0;
	while (b < l->n_name && strcmp(l->name[b], bench) != 0)
		b++;
	if (b == l->n_name) {
		if (mm_grow(&l->name, &l->cap_name, b + 1, sizeof(*l->name), err) ||
			!(l->name[b] = mm_strdup(bench, err)))
			return -1;
		l->n_name++;
	}
	if (mm_grow(&l->cell, &l->cap, l->n + 1, sizeof(*l->cell), err))
		return -1;
	l->cell[l->n++] = (struct mm_scores_cell){ model, l->name[b], value };
	return 0;
}

int mm_scores_start(struct mm_daemon *d, struct mm_err *err)
{
	struct loading l = { 0 };
	struct mm_scores none = { 0 };
	struct mm_txn *t = mm_txn_begin(d->store, false, err);
	if (!t)
		return -1;
	int rc = mm_bench_each(t, load_one, &l, err);
	mm_txn_abort(t);
	if (rc == 0 && !(d->scores = join(&none, l.cell, l.n, err)))
		rc = -1;
	for (size_t i = 0; rc == 0 && i < d->scores->n; i++)
		d->scores->row[i].changed = false;
	for (size_t b = 0; b < l.n_name; b++)
		mm_free(l.name[b]);
	mm_free(l.name);
	mm_free(l.cell);
	return rc ? mm_wrap(err, "cannot read the scores") : 0;
}

void mm_scores_stop(struct mm_daemon *d)
{
	scores_free(d->scores);
	d->scores = NULL;
}
