/* map_place.c: a place for one more model, in the epoch there is; nobody else moves.
 *
 * Distances to all members (O(K N)) and a projection on the frozen axes (O(N)). Small maps do that on the loop; from
 * MM_MAP_SYNC_MAX entries on the worker does it over a snapshot, one model after the other, and the result is taken
 * only when epoch and vector are still those of the snapshot. */
#include "daemon/map_priv.h"

#include <math.h>
#include <string.h>

void mm_map_project(const struct mm_chart *m, const float *vec, double coord[MM_MAP_DIMS])
{
	memset(coord, 0, MM_MAP_DIMS * sizeof(*coord));
	if (!m->epoch.id)
		return;
	mm_pca_place(&m->epoch.pca, vec, coord);
	for (size_t c = 0; c < MM_MAP_DIMS; c++)
		coord[c] += m->epoch.origin[c];
}

void mm_map_point_who(const struct mm_model_entry *e, json_t *o)
{
	if (o && e->rec.family)
		json_object_set_new(o, "family", json_string(e->rec.family));
	if (o && e->rec.run)
		json_object_set_new(o, "run", json_string(e->rec.run));
	if (o && e->rec.step >= 0)
		json_object_set_new(o, "step", json_integer(e->rec.step));
	if (o && e->rec.gone)
		json_object_set_new(o, "gone", json_true());
}

json_t *mm_map_point_json(const struct mm_daemon *d, const struct mm_place *p, int method)
{
	(void)d;
	const double *c = method < 0 ? p->coord : p->alt[method];
	bool flat = method >= 0 && mm_layout_kinds[method].dims == 2;
	json_t *o = json_pack("{s:s, s:f, s:f, s:f, s:b}", "name", p->e->rec.name, "x", c[0], "y", c[1], "z",
		flat ? 0 : c[2], "in_fit", p->in_fit);
	mm_map_point_who(p->e, o);
	return o;
}

/* ---- nearest neighbours ---- */

static void offer_nearest(struct mm_place *p, size_t at, double d)
{
	if (d < p->nearest || (d == p->nearest && at < p->nearest_at)) {
		p->nearest = d;
		p->nearest_at = at;
	}
}

void mm_map_nearest_all(struct mm_daemon *d)
{
	struct mm_chart *m = d->map;
	for (size_t i = 0; i < m->n; i++)
		m->member[i]->nearest = INFINITY;
	for (size_t i = 1; i < m->n; i++) {
		struct mm_place *p = m->member[i];
		for (size_t j = 0; p->dist && j < i; j++) {
			offer_nearest(p, j, (double)p->dist[j]);
			offer_nearest(m->member[j], i, (double)p->dist[j]);
		}
	}
}

/* ---- isolation ---- */

/* Up to here all members are looked at again at every arrival; above only the new one and those that are isolated. */
#define ISOLATE_ALL_MAX 512

static void iso_take(struct mm_daemon *d, struct mm_place *p, const struct mm_isolation *iso, size_t k)
{
	bool was = p->iso.isolated, known = p->iso_known;
	p->iso = *iso;
	p->iso_known = k >= MM_ISOLATE_MIN_MODELS;
	if (was != iso->isolated || (!known && p->iso_known))
		mm_alerts_model(d, p->e);
}

static void isolation_all(struct mm_daemon *d, struct mm_place **live, size_t k, const struct mm_isolate_rule *rule)
{
	struct mm_err err;
	struct mm_tri t;
	double *var = mm_calloc(k, sizeof(*var), &err);
	struct mm_isolation *iso = var ? mm_calloc(k, sizeof(*iso), &err) : NULL;
	if (!iso || mm_tri_init(&t, k, &err)) {
		mm_free(iso);
		mm_free(var);
		return; /* out of memory: the next arrival tries again */
	}
	for (size_t i = 0; i < k; i++) {
		var[i] = live[i]->var;
		for (size_t j = 0; j < i; j++)
			t.row[i][j] = (float)mm_map_distance(d, live[i], live[j]);
	}
	if (mm_isolate(&t, var, rule, iso, &err) == 0) {
		for (size_t i = 0; i < k; i++) {
			iso[i].nearest_i = live[iso[i].nearest_i]->at;
			iso_take(d, live[i], &iso[i], k);
		}
	}
	mm_tri_fini(&t);
	mm_free(iso);
	mm_free(var);
}

static void isolation_some(struct mm_daemon *d, struct mm_place **live, size_t k, const struct mm_isolate_rule *rule,
	const struct mm_place *fresh)
{
	struct mm_err err;
	double *v = mm_calloc(6 * k, sizeof(*v), &err);
	if (!v)
		return;
	double *var = v + k, *nearest = var + k, *tmp = nearest + k;
	for (size_t i = 0; i < k; i++) {
		var[i] = live[i]->var;
		nearest[i] = isfinite(live[i]->nearest) ? live[i]->nearest : 0;
	}
	for (size_t i = 0; i < k; i++) {
		struct mm_isolation iso;
		if (live[i] != fresh && !live[i]->iso.isolated)
			continue;
		for (size_t j = 0; j < k; j++)
			v[j] = mm_map_distance(d, live[i], live[j]);
		mm_isolate_one(i, k, v, nearest, var, rule, tmp, &iso);
		iso.nearest_i = live[iso.nearest_i]->at;
		iso_take(d, live[i], &iso, k);
	}
	mm_free(v);
}

void mm_map_isolation(struct mm_daemon *d, const struct mm_place *fresh)
{
	struct mm_chart *m = d->map;
	struct mm_err err;
	struct mm_isolate_rule rule = mm_isolate_default;
	struct mm_place **live = mm_calloc(m->n, sizeof(*live), &err);
	size_t k = 0;
	/* A refit asks again when it is done, and an import ends with one. */
	if (!live || m->refit_running || mm_monotonic() < m->held_until) {
		mm_free(live);
		return;
	}
	rule.z_min = d->cfg.alerts.isolated_z;
	for (size_t i = 0; i < m->n; i++)
		if (m->member[i]->placed && mm_map_live(d, m->member[i]))
			live[k++] = m->member[i];
	if (k <= ISOLATE_ALL_MAX)
		isolation_all(d, live, k, &rule);
	else
		isolation_some(d, live, k, &rule, fresh);
	mm_free(live);
}

/* ---- the same weights under another dtype or in other files ---- */

/* Share of both variances below which two models of equal size count as the same weights: bf16 rounding of tiny models
 * is at 2e-7, the closest interpolation of the same models at 1e-3. */
#define SAME_WEIGHTS 4e-6

static bool differs(const char *a, const char *b)
{
	return a && b && strcmp(a, b) != 0;
}

static void lineage_note(struct mm_daemon *d, struct mm_place *p)
{
	struct mm_chart *m = d->map;
	struct mm_err err;
	struct mm_model_rec *r = &p->e->rec;
	if (r->note || r->same_as || !isfinite(p->nearest) || !r->params)
		return;
	const struct mm_place *q = m->member[p->nearest_at];
	const struct mm_model_rec *o = &q->e->rec;
	if (o->params != r->params || p->nearest > SAME_WEIGHTS * (p->var + q->var) || differs(r->family, o->family))
		return;
	bool dtype = differs(r->dtype, o->dtype), box = differs(r->container, o->container);
	if (!dtype && !box && p->nearest > SAME_WEIGHTS * 1e-3 * (p->var + q->var))
		return; /* same form, yet not quite the same numbers: a model of its own */
	if (dtype)
		r->note = mm_asprintf(&err, "same weights as %s in %s", o->name, r->dtype);
	else if (box)
		r->note = mm_asprintf(&err, "same weights as %s, saved as %s", o->name, r->container);
	else
		r->note = mm_asprintf(&err, "same weights as %s in other files", o->name);
	r->note_model = o->id;
	if (!r->note || mm_reg_save(d, p->e, &err))
		mm_log(MM_LOG_WARN, "map: %s: no lineage note: %s", r->name, err.text);
}

/* ---- placing ---- */

struct among { /* the fixed points of the other layouts */
	size_t n;
	size_t *at;		      /* [n] members */
	double *alt[MM_LAYOUT_COUNT]; /* [n, dims]; NULL: the epoch has none */
	double *d;		      /* [n] */
};

static void among_free(struct among *a)
{
	for (size_t w = 0; w < MM_LAYOUT_COUNT; w++)
		mm_free(a->alt[w]);
	mm_free(a->d);
	mm_free(a->at);
	memset(a, 0, sizeof(*a));
}

/* Members of the fit before p. */
static int among_take(const struct mm_chart *m, const struct mm_place *p, struct among *a, struct mm_err *err)
{
	memset(a, 0, sizeof(*a));
	if (!m->epoch.has_alt)
		return 0;
	for (size_t i = 0; i < p->at; i++)
		a->n += m->member[i]->in_fit;
	a->at = mm_calloc(a->n, sizeof(*a->at), err);
	a->d = a->at ? mm_calloc(a->n, sizeof(*a->d), err) : NULL;
	bool ok = a->d != NULL;
	for (size_t w = 0; w < MM_LAYOUT_COUNT && ok; w++)
		if (m->epoch.has_alt >> w & 1)
			ok = (a->alt[w] = mm_calloc(a->n * mm_layout_kinds[w].dims, sizeof(double), err)) != NULL;
	if (!ok) {
		among_free(a);
		return -1;
	}
	for (size_t i = 0, n = 0; i < p->at; i++) {
		if (!m->member[i]->in_fit)
			continue;
		for (size_t w = 0; w < MM_LAYOUT_COUNT; w++)
			if (a->alt[w])
				memcpy(a->alt[w] + mm_layout_kinds[w].dims * n, m->member[i]->alt[w],
					mm_layout_kinds[w].dims * sizeof(double));
		a->at[n++] = i;
	}
	return 0;
}

static int among_place(struct among *a, const double *row, double alt[MM_LAYOUT_COUNT][3], struct mm_err *err)
{
	for (size_t i = 0; i < a->n; i++)
		a->d[i] = isfinite(row[a->at[i]]) ? row[a->at[i]] : 0;
	for (int w = 0; w < MM_LAYOUT_COUNT; w++)
		if (a->alt[w] && mm_map_layout_place(a->d, a->alt[w], a->n, (enum mm_layout)w, alt[w], err))
			return -1;
	return 0;
}

struct placing { /* on its way through the worker */
	uint64_t id, epoch;
	uint32_t version;
	struct mm_snap *s; /* [k] the members before it and itself, the last one */
	size_t k, n;
	double clip;
	struct among among;
	double *row, var, alt[MM_LAYOUT_COUNT][3];
	struct mm_err err;
	bool failed;
};

static void place_take(
	struct mm_daemon *d, struct mm_place *p, const double *row, double var, const double alt[MM_LAYOUT_COUNT][3])
{
	struct mm_chart *m = d->map;
	const float *vec = mm_map_vec(d, p->e);
	struct mm_err err;
	if (p->at) {
		p->dist = mm_calloc(p->at, sizeof(float), &err);
		if (!p->dist) {
			mm_log(MM_LOG_ERROR, "map: %s: %s", p->e->rec.name, err.text);
			return;
		}
	}
	p->var = var;
	for (size_t j = 0; j < p->at; j++) {
		struct mm_place *q = m->member[j];
		p->dist[j] = (float)row[j];
		if (!mm_map_live(d, q))
			continue;
		offer_nearest(p, j, (double)p->dist[j]);
		offer_nearest(q, p->at, (double)p->dist[j]);
	}
	mm_map_project(m, vec, p->coord);
	memcpy(p->alt, alt, sizeof(p->alt));
	p->has_alt = m->epoch.has_alt;
	p->placed = true;
	lineage_note(d, p);
	json_t *o = mm_map_point_json(d, p, -1);
	if (o) {
		json_object_set_new(o, "what", json_string("placed"));
		json_object_set_new(o, "epoch", json_integer((json_int_t)m->epoch.id));
		if (isfinite(p->nearest)) {
			json_object_set_new(o, "nearest", json_string(m->member[p->nearest_at]->e->rec.name));
			json_object_set_new(
				o, "kl_bits_per_byte", json_real(mm_kl_bits_per_byte(p->nearest, d->texts.mean_bytes)));
		}
	}
	mm_event(d, "map", o);
	mm_map_isolation(d, p);
}

static void place_sync(struct mm_daemon *d, struct mm_place *p)
{
	struct mm_chart *m = d->map;
	struct mm_err err;
	struct among among = { 0 };
	double *row = mm_calloc(p->at + 1, sizeof(*row), &err), mean, var, alt[MM_LAYOUT_COUNT][3] = { { 0 } };
	const float *vec = mm_map_vec(d, p->e);
	for (size_t j = 0; row && j < p->at; j++) {
		const float *o = mm_map_vec(d, m->member[j]->e);
		row[j] = o ? mm_dist_pair(o, vec, d->texts.n, mm_map_clip(d)) : INFINITY;
	}
	if (!row || among_take(m, p, &among, &err) || among_place(&among, row, alt, &err)) {
		mm_log(MM_LOG_ERROR, "map: %s: %s", p->e->rec.name, err.text);
	} else {
		mm_row_moments(vec, d->texts.n, mm_map_clip(d), &mean, &var);
		place_take(d, p, row, var, (const double(*)[3])alt);
	}
	among_free(&among);
	mm_free(row);
}

static void placing_run(void *ctx, const _Atomic bool *cancel)
{
	struct placing *w = ctx;
	double mean;
	const float *vec = w->s[w->k - 1].vec;
	const float **row = mm_calloc(w->k, sizeof(*row), &w->err);
	if (!row) {
		w->failed = true;
		return;
	}
	for (size_t i = 0; i + 1 < w->k; i++) /* whoever has no vector now stands for itself, and is told apart below */
		row[i] = w->s[i].vec ? w->s[i].vec : vec;
	struct mm_mat m = { row, w->k - 1, w->n };
	if (w->k > 1 && !*cancel)
		mm_dist_row(&m, vec, w->clip, w->row);
	for (size_t i = 0; i + 1 < w->k; i++)
		w->row[i] = w->s[i].vec ? w->row[i] : INFINITY;
	mm_free(row);
	mm_row_moments(vec, w->n, w->clip, &mean, &w->var);
	w->failed = !*cancel && among_place(&w->among, w->row, w->alt, &w->err);
}

static void placing_done(struct mm_daemon *d, void *ctx, bool cancelled)
{
	struct placing *w = ctx;
	struct mm_chart *m = d->map;
	if (m) {
		const struct mm_model_entry *e = mm_reg_by_id(d, w->id);
		struct mm_place *p = e ? e->map_state : NULL;
		m->place_running = false;
		/* Stale results (new epoch, new vector, other order of the members) are dropped and asked for again. */
		bool same = p && !p->placed && p->version == w->version && p->at + 1 == w->k && m->epoch.id == w->epoch;
		for (size_t i = 0; same && i + 1 < w->k; i++)
			same = m->member[i]->e->rec.id == w->s[i].id && m->member[i]->version == w->s[i].version;
		if (w->failed)
			mm_log(MM_LOG_ERROR, "map: %s", w->err.text);
		else if (same && !cancelled && mm_map_live(d, p))
			place_take(d, p, w->row, w->var, (const double(*)[3])w->alt);
		mm_map_unpin(d);
		if (!cancelled && !w->failed) {
			mm_map_place_next(d);
			if (mm_map_refit_due(d))
				mm_map_refit(d, 0);
		}
	}
	among_free(&w->among);
	mm_free(w->row);
	mm_free(w->s);
	mm_free(w);
}

static int placing_submit(struct mm_daemon *d, struct mm_place *p, struct mm_err *err)
{
	struct mm_chart *m = d->map;
	struct placing *w = mm_calloc(1, sizeof(*w), err);
	if (!w)
		return -1;
	w->id = p->e->rec.id;
	w->epoch = m->epoch.id;
	w->version = p->version;
	w->k = p->at + 1;
	w->n = d->texts.n;
	w->clip = mm_map_clip(d);
	w->row = mm_calloc(w->k, sizeof(*w->row), err);
	w->s = w->row ? mm_calloc(w->k, sizeof(*w->s), err) : NULL;
	struct mm_work work = { placing_run, placing_done, w };
	if (w->s)
		for (size_t i = 0; i < w->k; i++)
			w->s[i] = (struct mm_snap){ .id = m->member[i]->e->rec.id,
				.vec = mm_map_vec(d, m->member[i]->e),
				.version = m->member[i]->version };
	if (!w->s || among_take(m, p, &w->among, err) || mm_worker_submit(d, &work, err)) {
		among_free(&w->among);
		mm_free(w->s);
		mm_free(w->row);
		mm_free(w);
		return -1;
	}
	m->place_running = true;
	mm_map_pin(d);
	return 0;
}

void mm_map_place_next(struct mm_daemon *d)
{
	struct mm_chart *m = d->map;
	struct mm_err err;
	if (!m->epoch.id) /* before the first epoch: the first refit places everybody */
		return;
	for (size_t i = 0; i < m->n && !m->place_running; i++) {
		struct mm_place *p = m->member[i];
		if (p->placed || !mm_map_live(d, p))
			continue;
		if (p->at <= m->sync_max / MM_MAX(d->texts.n, (size_t)1))
			place_sync(d, p);
		else if (placing_submit(d, p, &err)) {
			mm_log(MM_LOG_ERROR, "map: %s: %s", p->e->rec.name, err.text);
			return;
		}
	}
}
