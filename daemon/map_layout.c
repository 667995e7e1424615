/* map_layout.c: the layouts beside the projection: metric scaling and t-SNE, in the plane and in space, with the
 * quality of each.
 *
 * Runs on the worker over the fit's models. t-SNE starts from its layout of the last epoch, so that what was left stays
 * left; scaling starts from the projection, which is already near its optimum. Both are then laid over their last
 * layout by turning, mirroring and shifting; never by stretching, since distances mean something. Of very many models
 * only landmarks, evenly spread over the fit, are laid out together; every other one then finds its place among these
 * alone. */
#include "daemon/map_priv.h"

#include <math.h>
#include <string.h>

const struct mm_layout_kind mm_layout_kinds[MM_LAYOUT_COUNT] = {
	[MM_LAYOUT_MDS] = { "mds", "mds", 2, false },
	[MM_LAYOUT_TSNE] = { "tsne", "tsne", 2, true },
	[MM_LAYOUT_MDS3] = { "mds3", "mds", 3, false },
	[MM_LAYOUT_TSNE3] = { "tsne3", "tsne", 3, true },
};

unsigned mm_layouts_wanted(const struct mm_config *c)
{
	unsigned mask = 0;
	for (unsigned w = 0; w < MM_LAYOUT_COUNT; w++)
		if (c->map.layouts == MM_LAYOUTS_ALL ||
			(c->map.layouts == MM_LAYOUTS_2D && mm_layout_kinds[w].dims == 2))
			mask |= 1u << w;
	return mask;
}

/* Rows that a quality figure looks at: enough for three digits. */
#define QUALITY_ROWS 1000

static struct mm_tsne_opts tsne_opts(enum mm_layout which)
{
	struct mm_tsne_opts o = mm_tsne_default;
	o.dims = mm_layout_kinds[which].dims;
	return o;
}

int mm_map_layout_place(
	const double *d, const double *alt, size_t k, enum mm_layout which, double *out, struct mm_err *err)
{
	struct mm_tsne_opts o = tsne_opts(which);
	if (mm_layout_kinds[which].tsne)
		return mm_tsne_place(d, alt, k, &o, out, err);
	mm_mds_place(d, alt, k, o.dims, out);
	return 0;
}

static json_t *quality_json(const struct mm_tri *t, const double *coord, size_t dims, struct mm_err *err)
{
	struct mm_quality q;
	if (mm_quality_of(&q, t, coord, dims, QUALITY_ROWS, err))
		return NULL;
	json_t *o = json_pack("{s:f, s:f, s:f, s:f}", "trustworthiness", q.trustworthiness, "continuity", q.continuity,
		"knn_recall", q.knn_recall, "stress", q.stress);
	if (!o)
		mm_fail(err, MM_ENOMEM, "out of memory");
	return o;
}

/* Over the layout of the last epoch, on the models both have. */
static int align(const struct mm_layouts *l, enum mm_layout which, double *c, json_t *info, struct mm_err *err)
{
	size_t dims = mm_layout_kinds[which].dims, n = 0;
	double *x = mm_calloc(2 * dims * l->k, sizeof(*x), err), *y = x ? x + dims * l->k : NULL, p50, p95;
	struct mm_motion mo;
	int rc = -1;
	if (!x)
		return -1;
	for (size_t i = 0; i < l->k; i++)
		if (l->s[i].has_old_alt >> which & 1) {
			memcpy(x + dims * n, c + dims * i, dims * sizeof(*x));
			memcpy(y + dims * n, l->s[i].old_alt[which], dims * sizeof(*y));
			n++;
		}
	if (mm_align_fit(&mo, n, dims, x, y, false, err))
		goto out;
	mm_align_apply(&mo, n ? l->k : 0, c);
	mm_align_apply(&mo, n, x);
	if (mm_displacement(n, dims, x, y, 0.5, &p50, err) || mm_displacement(n, dims, x, y, 0.95, &p95, err))
		goto out;
	json_object_set_new(
		info, "displacement", json_pack("{s:f, s:f, s:I}", "p50", p50, "p95", p95, "models", (json_int_t)n));
	rc = 0;
out:
	mm_free(x);
	return rc;
}

static void from_projection(const struct mm_layouts *l, size_t dims, double *c)
{
	for (size_t i = 0; i < l->k; i++)
		memcpy(c + dims * i, l->coord + MM_MAP_DIMS * i, dims * sizeof(*c));
}

/* t-SNE from its last layout when it knows most of the models, whoever is new from the middle; else the projection.
 * Returns whether it was the last layout. */
static bool begin(const struct mm_layouts *l, enum mm_layout which, double *c)
{
	size_t dims = mm_layout_kinds[which].dims, n_old = 0;
	double middle[3] = { 0 };
	for (size_t i = 0; i < l->k; i++)
		n_old += l->s[i].has_old_alt >> which & 1;
	if (!mm_layout_kinds[which].tsne || 2 * n_old <= l->k) {
		from_projection(l, dims, c);
		return false;
	}
	for (size_t i = 0; i < l->k; i++)
		for (size_t a = 0; a < dims && l->s[i].has_old_alt >> which & 1; a++)
			middle[a] += l->s[i].old_alt[which][a] / (double)n_old;
	for (size_t i = 0; i < l->k; i++)
		memcpy(c + dims * i, l->s[i].has_old_alt >> which & 1 ? l->s[i].old_alt[which] : middle,
			dims * sizeof(*c));
	return true;
}

static int fit(const struct mm_tri *t, enum mm_layout which, double *c, json_t *info, const _Atomic bool *cancel,
	struct mm_err *err)
{
	struct mm_tsne_opts o = tsne_opts(which);
	struct mm_mds md = { 0 };
	double kl = 0;
	o.cancel = cancel;
	if (mm_layout_kinds[which].tsne) {
		if (mm_tsne_run(t, &o, c, &kl, err))
			return -1;
		json_object_set_new(info, "kl", json_real(kl));
		json_object_set_new(info, "perplexity", json_real(fmin(o.perplexity, (double)(t->k - 1) / 3)));
		return 0;
	}
	if (mm_mds_smacof(t, o.dims, 300, 1e-7, cancel, c, &md, err))
		return -1;
	json_object_set_new(info, "rounds", json_integer((json_int_t)md.n_iter));
	return 0;
}

/* A chain of epochs, each begun where the last one ended, can be caught in what was good for the first few models.
 * Where it costs little the other way is tried too, and taken when its objective is clearly better: stability is worth
 * a little. */
#define AFRESH_MAX  2000
#define AFRESH_GAIN 0.95

static int fit_again(const struct mm_layouts *l, enum mm_layout which, double *c, json_t **info,
	const _Atomic bool *cancel, struct mm_err *err)
{
	struct mm_tri head = { l->tri->row, l->k };
	size_t n = l->k * mm_layout_kinds[which].dims;
	double *fresh = mm_calloc(n, sizeof(*fresh), err);
	json_t *own = json_object();
	if (fresh)
		from_projection(l, mm_layout_kinds[which].dims, fresh);
	int rc = fresh ? fit(&head, which, fresh, own, cancel, err) : -1;
	if (rc == 0 && json_number_value(json_object_get(own, "kl")) <
			       AFRESH_GAIN * json_number_value(json_object_get(*info, "kl"))) {
		json_t *old = *info;
		memcpy(c, fresh, n * sizeof(*c));
		*info = own;
		own = old;
	}
	json_decref(own);
	mm_free(fresh);
	return rc;
}

/* ---- landmarks ---- */

struct landmarks {
	size_t n, *at;	   /* [n] models of the fit, ascending */
	struct mm_tri tri; /* of them */
	double *c;	   /* [n, dims] */
};

static void landmarks_free(struct landmarks *m)
{
	mm_tri_fini(&m->tri);
	mm_free(m->at);
	mm_free(m->c);
}

static int landmarks_of(
	const struct mm_layouts *l, size_t dims, const double *c, struct landmarks *m, struct mm_err *err)
{
	*m = (struct landmarks){ .n = MM_MAX(l->landmarks_from / 2, (size_t)2) };
	if (!(m->at = mm_calloc(m->n, sizeof(*m->at), err)) || !(m->c = mm_calloc(m->n * dims, sizeof(*m->c), err)) ||
		mm_tri_init(&m->tri, m->n, err))
		return -1;
	for (size_t i = 0; i < m->n; i++) {
		m->at[i] = i * l->k / m->n;
		memcpy(m->c + dims * i, c + dims * m->at[i], dims * sizeof(double));
		for (size_t j = 0; j < i; j++)
			m->tri.row[i][j] = l->tri->row[m->at[i]][m->at[j]];
	}
	return 0;
}

/* Everybody but the landmarks themselves, in parallel: a place depends on the landmarks alone. */
static int place_among(
	const struct mm_layouts *l, enum mm_layout which, const struct landmarks *m, double *c, struct mm_err *err)
{
	size_t dims = mm_layout_kinds[which].dims, n_failed = 0;
#pragma omp parallel reduction(+ : n_failed)
	{
		struct mm_err own;
		double *d = mm_calloc(m->n, sizeof(*d), &own);
#pragma omp for schedule(static)
		for (size_t i = 0; i < l->k; i++) {
			for (size_t j = 0; d && j < m->n; j++)
				d[j] = mm_tri_get(l->tri, i, m->at[j]);
			n_failed += !d || mm_map_layout_place(d, m->c, m->n, which, c + dims * i, &own);
		}
		mm_free(d);
	}
	for (size_t j = 0; j < m->n; j++)
		memcpy(c + dims * m->at[j], m->c + dims * j, dims * sizeof(*c));
	return n_failed ? mm_fail(err, MM_ENOMEM, "out of memory for %zu places", n_failed) : 0;
}

static int fit_landmarks(const struct mm_layouts *l, enum mm_layout which, double *c, json_t *info,
	const _Atomic bool *cancel, struct mm_err *err)
{
	struct landmarks m;
	int rc = landmarks_of(l, mm_layout_kinds[which].dims, c, &m, err);
	if (rc == 0)
		rc = fit(&m.tri, which, m.c, info, cancel, err);
	if (rc == 0)
		rc = *cancel ? mm_fail(err, MM_ECANCELLED, "the daemon is stopping")
			     : place_among(l, which, &m, c, err);
	json_object_set_new(info, "landmarks", json_integer((json_int_t)m.n));
	landmarks_free(&m);
	return rc;
}

/* ---- all of them ---- */

static int make(const struct mm_layouts *l, enum mm_layout which, const _Atomic bool *cancel, struct mm_err *err)
{
	struct mm_tri head = { l->tri->row, l->k };
	double *c = l->alt[which];
	json_t *info = json_object(), *quality;
	bool warm = begin(l, which, c);
	int rc = l->k > l->landmarks_from ? fit_landmarks(l, which, c, info, cancel, err)
					  : fit(&head, which, c, info, cancel, err);
	if (rc == 0 && warm && l->k <= AFRESH_MAX && l->k <= l->landmarks_from)
		rc = fit_again(l, which, c, &info, cancel, err);
	quality = rc ? NULL : quality_json(&head, c, mm_layout_kinds[which].dims, err);
	if (!quality) {
		json_decref(info);
		return -1;
	}
	json_object_update_missing(quality, info);
	json_decref(info);
	json_object_set_new(l->info, mm_layout_kinds[which].name, quality);
	return align(l, which, c, quality, err);
}

/* Models that are not of the fit are placed as a new one would be. */
int mm_map_layout_others(const struct mm_layouts *l, struct mm_err *err)
{
	double *d = mm_calloc(l->k, sizeof(*d), err);
	int rc = d ? 0 : -1;
	for (size_t i = l->k; i < l->k_all && rc == 0; i++) {
		for (size_t j = 0; j < l->k; j++)
			d[j] = (double)l->tri->row[i][j];
		for (int w = 0; w < MM_LAYOUT_COUNT && rc == 0; w++) {
			double *c = l->alt[w];
			if (c)
				rc = mm_map_layout_place(
					d, c, l->k, (enum mm_layout)w, c + mm_layout_kinds[w].dims * i, err);
		}
	}
	mm_free(d);
	return rc;
}

int mm_map_layouts(struct mm_layouts *l, const _Atomic bool *cancel, struct mm_err *err)
{
	struct mm_tri head = { l->tri->row, l->k };
	json_t *q = quality_json(&head, l->coord, 3, err);
	if (!q)
		return -1;
	json_object_set_new(l->info, "pca", q);
	for (int w = 0; w < MM_LAYOUT_COUNT; w++) {
		if (!l->alt[w])
			continue;
		if (*cancel ? mm_fail(err, MM_ECANCELLED, "the daemon is stopping")
			    : make(l, (enum mm_layout)w, cancel, err))
			return -1;
	}
	return mm_map_layout_others(l, err);
}
