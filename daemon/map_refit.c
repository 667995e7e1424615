/* map_refit.c: a new epoch.
 *
 *	snapshot (loop) -> threshold, triangle, layouts (worker) -> store, swap (loop) -> whoever came meanwhile
 *
 * The fit's own members come first in the snapshot, so that their distances are the head of the whole triangle and the
 * components need no second one. The new layout is laid over the old one on the models both have: x and y are turned
 * (or mirrored) together, z only mirrored, so that the first two axes stay the plane of largest variance. */
#include "daemon/map_priv.h"

#include <math.h>
#include <string.h>

struct refit {
	struct mm_snap *s; /* [k], the first k_fit make the epoch */
	size_t k, k_fit, n;
	double clip_q;
	bool keep; /* only the triangle, for the epoch there is */
	/* results */
	double clip;
	struct mm_tri tri;
	struct mm_pca pca;
	double *coord;		      /* [k, 3] */
	double *alt[MM_LAYOUT_COUNT]; /* [k, dims]; NULL: not made */
	unsigned want;		      /* mask: layouts to make, or with `keep` those that the epoch has */
	size_t landmarks_from;
	json_t *layouts;      /* what is known of each */
	double *var;	      /* [k] */
	float *nearest;	      /* [k] two_kl to the nearest other model */
	uint32_t *nearest_at; /* [k] */
	double origin[MM_MAP_DIMS];
	double moved_p50, moved_p95;
	size_t n_common;
	struct mm_err err;
	bool failed;
};

/* ---- on the worker ---- */

/* Turns layout and axes by the motion: place(x) = rot (axes x) + origin. */
static int apply_motion(struct refit *r, const double rot[9], const double shift[3])
{
	size_t n = r->n;
	float *axis = mm_calloc(MM_MAP_DIMS * n, sizeof(*axis), &r->err);
	if (!axis)
		return -1;
	for (size_t a = 0; a < MM_MAP_DIMS; a++) {
		for (size_t s = 0; s < n; s++) {
			double sum = 0;
			for (size_t b = 0; b < MM_MAP_DIMS; b++)
				sum += rot[a * 3 + b] * (double)r->pca.axis[b * n + s];
			axis[a * n + s] = (float)sum;
		}
		r->origin[a] = shift[a];
	}
	mm_free(r->pca.axis);
	r->pca.axis = axis;
	for (size_t i = 0; i < r->k; i++) {
		double in[3], *c = r->coord + i * 3;
		memcpy(in, c, sizeof(in));
		for (size_t a = 0; a < 3; a++)
			c[a] = rot[a * 3] * in[0] + rot[a * 3 + 1] * in[1] + rot[a * 3 + 2] * in[2] + shift[a];
	}
	return 0;
}

static int align(struct refit *r)
{
	double *x = mm_calloc(r->k * 10, sizeof(*x), &r->err), *y = x ? x + r->k * 5 : NULL, zz = 0;
	double *x3 = x ? x + 2 * r->k : NULL, *y3 = y ? y + 2 * r->k : NULL;
	size_t n = 0;
	if (!x)
		return -1;
	for (size_t i = 0; i < r->k; i++) {
		if (!r->s[i].had_old)
			continue;
		memcpy(x + 2 * n, r->coord + 3 * i, 2 * sizeof(*x));
		memcpy(y + 2 * n, r->s[i].old, 2 * sizeof(*y));
		n++;
	}
	struct mm_motion mo;
	int rc = -1;
	r->n_common = n;
	if (mm_align_fit(&mo, n, 2, x, y, false, &r->err))
		goto out;
	double zx = 0, zy = 0;
	for (size_t i = 0; i < r->k; i++)
		if (r->s[i].had_old) {
			zx += r->coord[3 * i + 2] / (double)n;
			zy += r->s[i].old[2] / (double)n;
		}
	for (size_t i = 0; i < r->k; i++)
		if (r->s[i].had_old)
			zz += (r->coord[3 * i + 2] - zx) * (r->s[i].old[2] - zy);
	double sign = zz < 0 ? -1 : 1;
	double rot[9] = { mo.rot[0], mo.rot[1], 0, mo.rot[2], mo.rot[3], 0, 0, 0, sign };
	double shift[3] = { mo.to[0] - mo.rot[0] * mo.from[0] - mo.rot[1] * mo.from[1],
		mo.to[1] - mo.rot[2] * mo.from[0] - mo.rot[3] * mo.from[1], zy - sign * zx };
	if (n > 0 && apply_motion(r, rot, shift))
		goto out;
	n = 0;
	for (size_t i = 0; i < r->k; i++)
		if (r->s[i].had_old) {
			memcpy(x3 + 3 * n, r->coord + 3 * i, 3 * sizeof(*x));
			memcpy(y3 + 3 * n, r->s[i].old, 3 * sizeof(*y));
			n++;
		}
	rc = mm_displacement(n, 3, x3, y3, 0.5, &r->moved_p50, &r->err) ||
			     mm_displacement(n, 3, x3, y3, 0.95, &r->moved_p95, &r->err)
		     ? -1
		     : 0;
out:
	mm_free(x);
	return rc;
}

static int alt_new(struct refit *r)
{
	for (size_t w = 0; w < MM_LAYOUT_COUNT; w++)
		if (r->want >> w & 1 &&
			!(r->alt[w] = mm_calloc(r->k * mm_layout_kinds[w].dims, sizeof(double), &r->err)))
			return -1;
	return 0;
}

static struct mm_layouts layouts_of(const struct refit *r)
{
	return (struct mm_layouts){ r->s, &r->tri, r->k_fit, r->k, r->coord, r->alt, r->landmarks_from, r->layouts };
}

static int layouts(struct refit *r, const _Atomic bool *cancel)
{
	struct mm_layouts l = layouts_of(r);
	if (r->k_fit < 2)
		return 0;
	return alt_new(r) || mm_map_layouts(&l, cancel, &r->err) ? -1 : 0;
}

/* The fit's points as they are stored, the others placed among them. */
static int keep_layouts(struct refit *r, const _Atomic bool *cancel)
{
	struct mm_layouts l = layouts_of(r);
	if (alt_new(r))
		return -1;
	for (size_t w = 0; w < MM_LAYOUT_COUNT; w++) {
		size_t dims = mm_layout_kinds[w].dims;
		for (size_t i = 0; r->alt[w] && i < r->k_fit; i++)
			memcpy(r->alt[w] + dims * i, r->s[i].old_alt[w], dims * sizeof(double));
	}
	return *cancel || mm_map_layout_others(&l, &r->err) ? -1 : 0;
}

/* On the worker too: at ten thousand models it is a walk over fifty million distances. */
static int nearest_of_all(struct refit *r)
{
	r->nearest = mm_calloc(r->k, sizeof(*r->nearest), &r->err);
	r->nearest_at = r->nearest ? mm_calloc(r->k, sizeof(*r->nearest_at), &r->err) : NULL;
	if (!r->nearest_at)
		return -1;
	for (size_t i = 0; i < r->k; i++) {
		r->nearest[i] = INFINITY;
		for (size_t j = 0; j < i; j++) {
			float d = r->tri.row[i][j];
			if (d < r->nearest[i]) {
				r->nearest[i] = d;
				r->nearest_at[i] = (uint32_t)j;
			}
			if (d < r->nearest[j]) {
				r->nearest[j] = d;
				r->nearest_at[j] = (uint32_t)i;
			}
		}
	}
	return 0;
}

static int compute(struct refit *r, const _Atomic bool *cancel)
{
	const float **row = mm_calloc(r->k, sizeof(*row), &r->err);
	if (!row)
		return -1;
	int rc = -1;
	for (size_t i = 0; i < r->k; i++)
		row[i] = r->s[i].vec;
	struct mm_mat all = { row, r->k, r->n }, fit = { row, r->k_fit, r->n };
	if (!r->keep && mm_quantile(&fit, r->clip_q, &r->clip, &r->err))
		goto out;
	if (*cancel || mm_dist_matrix_until(&all, r->clip, cancel, &r->tri, &r->err))
		goto out;
	if (nearest_of_all(r))
		goto out;
	r->var = mm_calloc(r->k, sizeof(*r->var), &r->err);
	r->coord = r->var ? mm_calloc(r->k * MM_MAP_DIMS, sizeof(*r->coord), &r->err) : NULL;
	if (!r->coord)
		goto out;
	for (size_t i = 0; i < r->k; i++) {
		double mean;
		mm_row_moments(row[i], r->n, r->clip, &mean, &r->var[i]);
	}
	if (r->keep) {
		rc = r->want ? keep_layouts(r, cancel) : 0;
		goto out;
	}
	struct mm_tri head = { r->tri.row, r->k_fit };
	if (*cancel || mm_pca_fit_until(&r->pca, &fit, &head, r->clip, MM_MAP_DIMS, cancel, &r->err))
		goto out;
	memcpy(r->coord, r->pca.coord, r->k_fit * MM_MAP_DIMS * sizeof(*r->coord));
	for (size_t i = r->k_fit; i < r->k; i++)
		mm_pca_place(&r->pca, row[i], r->coord + i * MM_MAP_DIMS);
	rc = align(r) || layouts(r, cancel) ? -1 : 0;
out:
	mm_free(row);
	return rc;
}

static void refit_run(void *ctx, const _Atomic bool *cancel)
{
	struct refit *r = ctx;
	r->failed = compute(r, cancel) != 0;
}

/* ---- on the loop ---- */

static json_t *info_json(const struct refit *r, uint64_t id)
{
	json_t *share = json_array();
	for (size_t i = 0; share && i < r->pca.n_ratio && i < 20; i++)
		json_array_append_new(share, json_real(r->pca.ratio[i]));
	return json_pack("{s:I, s:s, s:I, s:I, s:I, s:f, s:f, s:o, s:I, s:I, s:f, s:{s:f, s:f, s:I}, s:O}", "epoch",
		(json_int_t)id, "method", "pca", "made_at", (json_int_t)mm_now(), "models", (json_int_t)r->k,
		"models_fit", (json_int_t)r->k_fit, "clip", r->clip, "clip_quantile", r->clip_q, "explained", share,
		"dims90", (json_int_t)r->pca.dims90, "dims95", (json_int_t)r->pca.dims95, "total_variance",
		r->pca.total_var, "displacement", "p50", r->moved_p50, "p95", r->moved_p95, "models",
		(json_int_t)r->n_common, "layouts", r->layouts);
}

static unsigned made(const struct refit *r)
{
	unsigned mask = 0;
	for (unsigned w = 0; w < MM_LAYOUT_COUNT; w++)
		mask |= r->alt[w] ? 1u << w : 0;
	return mask;
}

/* The members in the order of the snapshot, with the triangle's rows; whoever is not in it or changed meanwhile goes to
 * the end and is placed again. */
static int swap_members(struct mm_daemon *d, struct refit *r, struct mm_err *err)
{
	struct mm_chart *m = d->map;
	struct mm_place **order = mm_calloc(m->n, sizeof(*order), err);
	if (!order)
		return -1;
	for (size_t i = 0; i < m->n; i++) {
		struct mm_place *p = m->member[i];
		mm_free(p->dist);
		p->dist = NULL;
		p->placed = false;
		p->has_alt = 0;
		p->in_fit = r->keep && p->in_fit;
		p->at = SIZE_MAX;
	}
	size_t n = 0, n_changed = 0;
	for (size_t i = 0; i < r->k; i++) {
		const struct mm_model_entry *e = mm_reg_by_id(d, r->s[i].id);
		struct mm_place *p = e ? e->map_state : NULL;
		if (!p || p->version != r->s[i].version) { /* its column must leave the later rows */
			for (size_t j = i + 1; j < r->k; j++)
				r->tri.row[j][i] = INFINITY;
			n_changed++;
			continue;
		}
		p->at = n;
		p->dist = r->tri.row[i];
		r->tri.row[i] = NULL;
		for (size_t j = 0, w = 0; n_changed && j < i; j++) /* close the gaps that changed members left */
			if (isfinite(p->dist[j]))
				p->dist[w++] = p->dist[j];
		p->nearest = (double)r->nearest[i];
		p->nearest_at = r->nearest_at[i];
		p->placed = true;
		p->in_fit = r->keep ? p->in_fit : r->s[i].fit;
		p->var = r->var[i];
		if (!r->keep)
			memcpy(p->coord, r->coord + i * MM_MAP_DIMS, sizeof(p->coord));
		p->has_alt = made(r);
		for (size_t w = 0; w < MM_LAYOUT_COUNT; w++)
			if (r->alt[w])
				memcpy(p->alt[w], r->alt[w] + mm_layout_kinds[w].dims * i,
					mm_layout_kinds[w].dims * sizeof(double));
		order[n++] = p;
	}
	for (size_t i = 0; i < m->n; i++)
		if (m->member[i]->at == SIZE_MAX) {
			order[n] = m->member[i];
			order[n]->nearest = INFINITY;
			order[n]->at = n;
			n++;
		}
	memcpy(m->member, order, n * sizeof(*order));
	m->n_order++;
	mm_free(order);
	if (n_changed) /* rare: a model was scored again meanwhile */
		mm_map_nearest_all(d);
	return 0;
}

static int take(struct mm_daemon *d, struct refit *r, struct mm_err *err)
{
	struct mm_chart *m = d->map;
	if (!r->keep) {
		struct mm_epoch e = { .id = m->epoch.id + 1, .pca = r->pca, .has_alt = made(r) };
		size_t n_old = json_array_size(m->epochs);
		json_t *last = n_old ? json_array_get(m->epochs, n_old - 1) : NULL;
		if (last) /* also when the last one could not be loaded: numbers are never used twice */
			e.id = MM_MAX(e.id, (uint64_t)json_integer_value(json_object_get(last, "epoch")) + 1);
		memcpy(e.origin, r->origin, sizeof(e.origin));
		e.info = info_json(r, e.id);
		if (!e.info)
			return mm_fail(err, MM_ENOMEM, "out of memory");
		if (mm_map_epoch_save(d, &e, r->s, r->coord, r->alt, r->k_fit, err)) {
			json_decref(e.info);
			return mm_wrap(err, "map epoch %llu", (unsigned long long)e.id);
		}
		mm_pca_fini(&m->epoch.pca);
		json_decref(m->epoch.info);
		m->epoch = e;
		memset(&r->pca, 0, sizeof(r->pca));
		json_array_append(m->epochs, e.info);
	}
	return swap_members(d, r, err);
}

static void answer(struct mm_daemon *d, struct mm_waiter **list, const struct mm_err *why)
{
	while (*list) {
		struct mm_waiter *w = *list;
		struct mm_reply reply = { .fd = -1 };
		*list = w->next;
		if (!why)
			reply.body = json_deep_copy(d->map->epoch.info);
		mm_ctl_finish(d, w->token, &reply, why);
		mm_free(w);
	}
}

static void refit_free(struct refit *r)
{
	mm_tri_fini(&r->tri);
	mm_pca_fini(&r->pca);
	mm_free(r->coord);
	for (size_t w = 0; w < MM_LAYOUT_COUNT; w++)
		mm_free(r->alt[w]);
	json_decref(r->layouts);
	mm_free(r->var);
	mm_free(r->nearest);
	mm_free(r->nearest_at);
	mm_free(r->s);
	mm_free(r);
}

static void announce(struct mm_daemon *d)
{
	json_t *o = json_deep_copy(d->map->epoch.info);
	if (o)
		json_object_set_new(o, "what", json_string("epoch"));
	mm_event(d, "map", o);
}

static void refit_done(struct mm_daemon *d, void *ctx, bool cancelled)
{
	struct refit *r = ctx;
	struct mm_chart *m = d->map;
	struct mm_err err;
	if (!m) { /* stopped before us */
		refit_free(r);
		return;
	}
	m->refit_running = false;
	if (cancelled) {
		mm_fail(&err, MM_ECANCELLED, "the daemon is stopping");
		answer(d, &m->waiters, &err);
		answer(d, &m->waiters_next, &err);
	} else if (r->failed || take(d, r, &r->err)) {
		mm_wrap(&r->err, "map refit");
		mm_log(MM_LOG_ERROR, "%s", r->err.text);
		answer(d, &m->waiters, &r->err);
	} else {
		if (!r->keep)
			announce(d);
		answer(d, &m->waiters, NULL);
		mm_map_isolation(d, NULL);
	}
	mm_map_unpin(d);
	refit_free(r);
	if (cancelled)
		return;
	mm_map_place_next(d);
	bool again = m->refit_again;
	m->refit_again = false;
	if (again || mm_map_refit_due(d)) {
		m->waiters = m->waiters_next;
		m->waiters_next = NULL;
		mm_map_refit(d, 0);
	}
}

/* What the loop may do itself: the first few models; the layouts of more take longer than a query may wait. */
#define SYNC_MODELS 6
static bool is_small(const struct refit *r, size_t sync_max)
{
	return r->k <= SYNC_MODELS && r->k * r->n <= sync_max / 4;
}

static int start(struct mm_daemon *d, bool keep, struct mm_err *err)
{
	static const _Atomic bool never = false;
	struct mm_chart *m = d->map;
	struct refit *r = mm_calloc(1, sizeof(*r), err);
	if (!r)
		return -1;
	r->keep = keep;
	r->n = d->texts.n;
	r->clip_q = d->cfg.map.clip;
	r->clip = mm_map_clip(d);
	r->want = keep ? m->epoch.has_alt : mm_layouts_wanted(&d->cfg);
	r->landmarks_from = m->landmarks_from;
	r->layouts = json_object();
	r->s = mm_map_snapshot(d, keep ? MM_SNAP_MADE_FIRST : MM_SNAP_FIT_FIRST, &r->k, &r->k_fit, err);
	if (r->s && !r->layouts) {
		mm_fail(err, MM_ENOMEM, "out of memory");
		refit_free(r);
		return -1;
	}
	if (!r->s || r->k == 0 || (r->k_fit == 0 && !keep)) {
		if (r->s)
			mm_fail(err, MM_EINVAL,
				r->k ? "every scored model has an open anomaly alert: nothing to make a map of"
				     : "no scored models yet: nothing to make a map of");
		refit_free(r);
		return -1;
	}
	struct mm_work work = { refit_run, refit_done, r };
	bool now = is_small(r, m->sync_max);
	if (!now && mm_worker_submit(d, &work, err)) {
		refit_free(r);
		return -1;
	}
	m->refit_running = true;
	mm_map_pin(d);
	if (now) {
		refit_run(r, &never);
		refit_done(d, r, false);
	}
	return 0;
}

void mm_map_refit(struct mm_daemon *d, uint64_t token)
{
	struct mm_chart *m = d->map;
	struct mm_err err;
	if (token) {
		struct mm_waiter *w = mm_calloc(1, sizeof(*w), &err);
		if (!w) {
			mm_ctl_finish(d, token, &(struct mm_reply){ .fd = -1 }, &err);
			return;
		}
		struct mm_waiter **list = m->refit_running ? &m->waiters_next : &m->waiters;
		*w = (struct mm_waiter){ token, *list };
		*list = w;
	}
	if (m->refit_running) {
		m->refit_again = m->refit_again || token != 0;
		return;
	}
	if (start(d, false, &err)) {
		if (!m->waiters)
			mm_log(MM_LOG_WARN, "map refit: %s", err.text);
		answer(d, &m->waiters, &err);
	}
}

void mm_map_rebuild(struct mm_daemon *d)
{
	struct mm_err err;
	if (d->map->n && start(d, true, &err))
		mm_log(MM_LOG_WARN, "map: distances come as they are asked for: %s", err.text);
}
