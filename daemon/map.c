/* map.c: the members of the map and their distances; start and stop.
 *
 * A distance depends on two vectors and the epoch's threshold only, so the triangle of distances lives as long as the
 * epoch and grows by one row with each model. Queries read it; when a row is still being computed by the worker the
 * distances that are asked for are taken from the vectors on the spot. */
#include "daemon/map_priv.h"

#include <math.h>
#include <string.h>

const float *mm_map_vec(const struct mm_daemon *d, const struct mm_model_entry *e)
{
	if (e->loglik)
		return e->loglik;
	const struct mm_model_entry *rep = e->rec.same_as ? mm_reg_by_id(d, e->rec.same_as) : NULL;
	return rep ? rep->loglik : NULL;
}

bool mm_map_live(const struct mm_daemon *d, const struct mm_place *p)
{
	return mm_reg_on_map(p->e) && mm_map_vec(d, p->e) != NULL;
}

struct mm_place *mm_map_member(const struct mm_daemon *d, const struct mm_model_entry *e)
{
	struct mm_place *p = e->map_state;
	return p && mm_map_live(d, p) ? p : NULL;
}

double mm_map_clip(const struct mm_daemon *d)
{
	return d->map && d->map->epoch.id ? d->map->epoch.pca.clip : MM_NO_CLIP;
}

uint64_t mm_map_epoch(const struct mm_daemon *d)
{
	return d->map ? d->map->epoch.id : 0;
}

double mm_map_distance(const struct mm_daemon *d, const struct mm_place *a, const struct mm_place *b)
{
	const struct mm_place *late = a->at > b->at ? a : b, *early = late == a ? b : a;
	if (a == b)
		return 0;
	if (late->dist)
		return (double)late->dist[early->at];
	const float *x = mm_map_vec(d, a->e), *y = mm_map_vec(d, b->e);
	return x && y ? mm_dist_pair(x, y, d->texts.n, mm_map_clip(d)) : INFINITY;
}

/* A column of the triangle is one number of each row: two cache misses a member, so both are asked for ahead. */
void mm_map_distances(const struct mm_daemon *d, const struct mm_place *p, double *out)
{
	const struct mm_chart *m = d->map;
	for (size_t i = 0; i < p->at; i++)
		out[i] = p->dist ? (double)p->dist[i] : mm_map_distance(d, p, m->member[i]);
	out[p->at] = 0;
	for (size_t i = p->at + 1; i < m->n; i++) {
		if (i + 24 < m->n)
			__builtin_prefetch(m->member[i + 24]);
		if (i + 12 < m->n && m->member[i + 12]->dist)
			__builtin_prefetch(m->member[i + 12]->dist + p->at);
		const struct mm_place *late = m->member[i];
		out[i] = late->dist ? (double)late->dist[p->at] : mm_map_distance(d, p, late);
	}
}

/* ---- vectors that a worker may still be reading ---- */

void mm_map_pin(struct mm_daemon *d)
{
	d->map->pins++;
}

void mm_map_unpin(struct mm_daemon *d)
{
	struct mm_chart *m = d->map;
	if (--m->pins > 0)
		return;
	for (size_t i = 0; i < m->n_retired; i++)
		mm_free(m->retired[i]);
	m->n_retired = 0;
}

void mm_map_retire(struct mm_daemon *d, float *loglik)
{
	struct mm_chart *m = d->map;
	struct mm_err err;
	if (!loglik)
		return;
	if (!m || m->pins == 0) {
		mm_free(loglik);
		return;
	}
	if (mm_grow(&m->retired, &m->cap_retired, m->n_retired + 1, sizeof(*m->retired), &err)) {
		mm_log(MM_LOG_WARN, "a replaced vector stays in memory: %s",
			err.text); /* a leak, but never a dangling pointer */
		return;
	}
	m->retired[m->n_retired++] = loglik;
}

/* Those of the fit come before the others, so that their triangle is the head of the whole. Anomalies that are not
 * settled must not bend threshold, means and axes. */
struct mm_snap *mm_map_snapshot(
	struct mm_daemon *d, enum mm_snap_order order, size_t *k, size_t *k_fit, struct mm_err *err)
{
	struct mm_chart *m = d->map;
	struct mm_snap *s = mm_calloc(m->n, sizeof(*s), err);
	*k = *k_fit = 0;
	if (!s)
		return NULL;
	for (int pass = 0; pass < (order == MM_SNAP_MEMBERS ? 1 : 2); pass++) {
		for (size_t i = 0; i < m->n; i++) {
			struct mm_place *p = m->member[i];
			bool fit = order == MM_SNAP_MADE_FIRST ? p->in_fit : !mm_alerts_anomaly_open(d, p->e->rec.id);
			if (!mm_map_live(d, p) || (order != MM_SNAP_MEMBERS && fit != (pass == 0)))
				continue;
			struct mm_snap *t = &s[(*k)++];
			*t = (struct mm_snap){ .id = p->e->rec.id,
				.vec = mm_map_vec(d, p->e),
				.version = p->version,
				.fit = fit,
				.had_old = p->placed,
				.has_old_alt = p->placed ? p->has_alt : 0 };
			memcpy(t->old, p->coord, sizeof(t->old));
			memcpy(t->old_alt, p->alt, sizeof(t->old_alt));
			*k_fit += fit;
		}
	}
	return s;
}

/* ---- members ---- */

static struct mm_place *member_add(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err)
{
	struct mm_chart *m = d->map;
	if (mm_grow(&m->member, &m->cap, m->n + 1, sizeof(struct mm_place *), err))
		return NULL;
	struct mm_place *p = mm_calloc(1, sizeof(*p), err);
	if (!p)
		return NULL;
	p->e = e;
	p->at = m->n;
	p->nearest = INFINITY;
	m->member[m->n++] = p;
	e->map_state = p;
	return p;
}

/* A replaced vector makes a member's whole row and column wrong: it leaves the triangle and comes back at the end,
 * which costs the later rows one shift. Rare: a model that was scored again. */
static void member_to_end(struct mm_chart *m, struct mm_place *p)
{
	for (size_t i = p->at + 1; i < m->n; i++) {
		struct mm_place *q = m->member[i];
		if (q->dist)
			memmove(q->dist + p->at, q->dist + p->at + 1, (q->at - p->at - 1) * sizeof(float));
		q->at--;
		m->member[q->at] = q;
	}
	p->at = m->n - 1;
	m->member[p->at] = p;
	m->n_order++;
	mm_free(p->dist);
	p->dist = NULL;
	p->placed = p->in_fit = p->iso_known = false;
	p->has_alt = 0;
	p->nearest = INFINITY;
	p->version++;
}

static void renew(struct mm_daemon *d, struct mm_place *p)
{
	member_to_end(d->map, p);
	mm_map_nearest_all(d);
}

void mm_map_scored(struct mm_daemon *d, struct mm_model_entry *e)
{
	struct mm_chart *m = d->map;
	struct mm_err err;
	if (!m)
		return;
	if (!mm_reg_on_map(e) || !mm_map_vec(d, e))
		return; /* queries pass over members that are not live */
	if (e->map_state) {
		renew(d, e->map_state);
		size_t i = 0;
		for (size_t left = m->n; left > 0;
			left--) { /* its copies share the vector; each of them moves to the end */
			struct mm_place *q = m->member[i];
			if (q->e->rec.same_as == e->rec.id && !q->e->loglik)
				renew(d, q);
			else
				i++;
		}
	} else if (!member_add(d, e, &err)) {
		mm_log(MM_LOG_ERROR, "map: %s: %s", e->rec.name, err.text);
		return;
	}
	mm_map_place_next(d);
	if (mm_map_refit_due(d))
		mm_map_refit(d, 0);
}

void mm_map_hold(struct mm_daemon *d, double seconds)
{
	if (d->map)
		d->map->held_until = seconds > 0 ? mm_monotonic() + seconds : 0;
}

bool mm_map_refit_due(const struct mm_daemon *d)
{
	const struct mm_chart *m = d->map;
	size_t live = 0, fit = 0;
	if (m->refit_running || mm_monotonic() < m->held_until)
		return false;
	for (size_t i = 0; i < m->n; i++) {
		bool is = mm_map_live(d, m->member[i]) && !mm_alerts_anomaly_open(d, m->member[i]->e->rec.id);
		live += is;
		fit += is && m->member[i]->in_fit;
	}
	if (!m->epoch.id)
		return live > 0;
	if (d->cfg.map.refit_growth <= 0)
		return false; /* only when asked for */
	json_t *made_with = json_object_get(m->epoch.info, "models_fit");
	double had = (double)json_integer_value(made_with);
	return (double)(live - fit) >= fmax(1, d->cfg.map.refit_growth * had);
}

/* ---- start, stop ---- */

static int members_load(struct mm_daemon *d, struct mm_err *err)
{
	for (size_t i = 0; i < mm_reg_n(d); i++) {
		struct mm_model_entry *e = mm_reg_at(d, i);
		if (mm_reg_on_map(e) && mm_map_vec(d, e) && !member_add(d, e, err))
			return -1;
	}
	return 0;
}

/* A place of the fit is taken as it was stored, unless the vector has changed since. */
static void places_load(struct mm_daemon *d, const struct mm_points *pts)
{
	struct mm_chart *m = d->map;
	double tol = 1e-3 * sqrt(m->epoch.pca.total_var) + 1e-9;
	for (size_t i = 0; i < m->n; i++) {
		struct mm_place *p = m->member[i];
		double mean;
		const float *vec = mm_map_vec(d, p->e);
		mm_row_moments(vec, d->texts.n, m->epoch.pca.clip, &mean, &p->var);
		mm_map_project(m, vec, p->coord);
		p->placed = true; /* distances follow; until then they are taken from the vectors */
	}
	for (size_t j = 0; j < pts->k; j++) {
		const struct mm_model_entry *e = mm_reg_by_id(d, pts->ids[j]);
		struct mm_place *p = e ? e->map_state : NULL;
		double off = 0;
		for (size_t c = 0; p && c < MM_MAP_DIMS; c++)
			off = fmax(off, fabs(pts->coord[j * MM_MAP_DIMS + c] - p->coord[c]));
		if (!p || off > tol)
			continue;
		p->in_fit = true;
		memcpy(p->coord, pts->coord + j * MM_MAP_DIMS, sizeof(p->coord));
		p->has_alt = m->epoch.has_alt;
		for (size_t w = 0; w < MM_LAYOUT_COUNT; w++)
			if (p->has_alt >> w & 1)
				memcpy(p->alt[w], pts->alt[w] + mm_layout_kinds[w].dims * j,
					mm_layout_kinds[w].dims * sizeof(double));
	}
}

/* Texts by domain, and the resamples for error bars: drawn once, the same for every pair. */
static int resamples(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_chart *m = d->map;
	size_t n = d->texts.n, n_dom = d->texts.n_domain;
	m->by_domain = mm_calloc(n, sizeof(*m->by_domain), err);
	m->domain_start = m->by_domain ? mm_calloc(n_dom + 2, sizeof(*m->domain_start), err) : NULL;
	if (!m->domain_start)
		return -1;
	for (size_t c = 0, at = 0; c < n_dom; c++) {
		for (size_t s = 0; s < n; s++)
			if (d->texts.domain[s] == c)
				m->by_domain[at++] = (uint32_t)s;
		m->domain_start[c + 1] = (uint32_t)at;
	}
	return mm_boot_init(&m->boot, n, MM_BOOT_DEFAULT, 1, err);
}

int mm_map_start(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_chart *m = d->map = mm_calloc(1, sizeof(*m), err);
	struct mm_points pts = { 0 };
	if (!m)
		return -1;
	m->sync_max = MM_MAP_SYNC_MAX;
	m->landmarks_from = MM_LANDMARKS_FROM;
	m->epochs = json_array();
	if (!m->epochs)
		return mm_fail(err, MM_ENOMEM, "map: out of memory");
	if (resamples(d, err) || mm_map_epoch_load(d, &pts, err) || members_load(d, err)) {
		mm_points_fini(&pts);
		return -1;
	}
	if (m->epoch.id) {
		places_load(d, &pts);
		mm_map_rebuild(d);
	}
	mm_points_fini(&pts);
	/* Alerts tell who stays out of a fit: before they are loaded there is none (mm_alerts_start asks again). */
	if (d->alerts && mm_map_refit_due(d))
		mm_map_refit(d, 0);
	return 0;
}

void mm_map_stop(struct mm_daemon *d)
{
	struct mm_chart *m = d->map;
	if (!m)
		return;
	mm_worker_stop(d); /* what runs there reads vectors that we and the models below are about to free */
	for (size_t i = 0; i < m->n; i++) {
		m->member[i]->e->map_state = NULL;
		mm_free(m->member[i]->dist);
		mm_free(m->member[i]);
	}
	mm_free(m->member);
	for (size_t i = 0; i < m->n_retired; i++)
		mm_free(m->retired[i]);
	mm_free(m->retired);
	mm_pca_fini(&m->epoch.pca);
	json_decref(m->epoch.info);
	json_decref(m->epochs);
	mm_boot_fini(&m->boot);
	mm_free(m->by_domain);
	mm_free(m->domain_start);
	mm_free(m);
	d->map = NULL;
}
