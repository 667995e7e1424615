/* map_domain.c: a map of the texts of one domain, or by a metric of next-byte distributions, made when it is asked for,
 * on a worker (inquiry.c).
 *
 * Threshold and models are the current epoch's, all else is made from the domain's columns. The result is turned over
 * the epoch's own map, so that the two can be compared by eye; nothing of it is stored. */
#include "daemon/inquiry.h"
#include "daemon/metric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct domain_map {
	int method; /* -1: the projection */
	size_t k_fit;
};

/* x and y are turned (or mirrored) together over the old ones, as in a refit. */
static int turn(const struct mm_inquiry *q, double *coord, struct mm_err *err)
{
	double *x = mm_calloc(4 * q->k, sizeof(*x), err), *y = x ? x + 2 * q->k : NULL;
	struct mm_motion mo;
	size_t n = 0;
	if (!x)
		return -1;
	for (size_t i = 0; i < q->k; i++)
		if (q->s[i].had_old) {
			memcpy(x + 2 * n, coord + MM_MAP_DIMS * i, 2 * sizeof(*x));
			memcpy(y + 2 * n, q->s[i].old, 2 * sizeof(*y));
			n++;
		}
	int rc = mm_align_fit(&mo, n, 2, x, y, false, err);
	for (size_t i = 0; i < q->k && rc == 0 && n > 0; i++)
		mm_align_apply(&mo, 1, coord + MM_MAP_DIMS * i);
	mm_free(x);
	return rc;
}

static json_t *points_json(const struct mm_inquiry *q, const double *c, size_t dims)
{
	json_t *list = json_array();
	for (size_t i = 0; list && i < q->k; i++)
		json_array_append_new(
			list, json_pack("{s:s, s:f, s:f, s:f, s:b}", "name", q->who[i].name, "x", c[dims * i], "y",
				      c[dims * i + 1], "z", dims > 2 ? c[dims * i + 2] : 0, "in_fit", q->s[i].fit));
	return list;
}

static json_t *share_json(const struct mm_pca *p)
{
	json_t *list = json_array();
	for (size_t i = 0; list && i < p->n_ratio && i < 20; i++)
		json_array_append_new(list, json_real(p->ratio[i]));
	return list;
}

static int lay_out(struct mm_inquiry *q, const struct mm_tri *t, const double *coord, double *alt, json_t *info,
	struct mm_err *err)
{
	static const _Atomic bool never = false;
	const struct domain_map *x = q->own;
	double *each[MM_LAYOUT_COUNT] = { NULL };
	if (x->method >= 0)
		each[x->method] = alt;
	struct mm_layouts l = { q->s, t, x->k_fit, q->k, coord, each, MM_LANDMARKS_FROM, info };
	return mm_map_layouts(&l, &never, err);
}

/* Axes and places of the texts' log-likelihoods; or, by a metric, the axes of its distances (classical scaling), and
 * whom the fit leaves out goes where its distances to the others say. */
static int axes(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_pca *p, double *coord,
	struct mm_err *err)
{
	const struct domain_map *x = q->own;
	struct mm_mat fit = { m->row, x->k_fit, m->n };
	struct mm_tri head = { t->row, x->k_fit };
	double *d = q->feats ? mm_calloc(x->k_fit, sizeof(*d), err) : NULL;
	if (q->feats) /* no rows: their means and axes are not looked at */
		fit.n = 1;
	int rc = q->feats && !d ? -1 : mm_pca_fit(p, &fit, &head, q->clip, MM_MAP_DIMS, err);
	if (rc == 0)
		memcpy(coord, p->coord, x->k_fit * MM_MAP_DIMS * sizeof(*coord));
	for (size_t i = x->k_fit; rc == 0 && i < q->k; i++) {
		if (!q->feats) {
			mm_pca_place(p, m->row[i], coord + i * MM_MAP_DIMS);
			continue;
		}
		for (size_t j = 0; j < x->k_fit; j++)
			d[j] = mm_tri_get(t, i, j);
		mm_mds_place(d, coord, x->k_fit, MM_MAP_DIMS, coord + i * MM_MAP_DIMS);
	}
	mm_free(d);
	return rc;
}

static void set_unit(const struct mm_inquiry *q)
{
	const char *was = json_string_value(json_object_get(q->body, "unit"));
	if (!q->feats)
		return;
	json_object_set_new(q->body, "unit",
		json_string(was && strcmp(was, "none") == 0 ? "none" : mm_metrics[q->feats->metric].root_unit));
}

static int answer_map(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_err *err)
{
	const struct domain_map *x = q->own;
	struct mm_pca p = { 0 };
	double *coord = mm_calloc(q->k * MM_MAP_DIMS, sizeof(*coord), err);
	double *alt = coord ? mm_calloc(q->k * 3, sizeof(*alt), err) : NULL;
	json_t *info = json_object();
	int rc = alt && info ? axes(q, m, t, &p, coord, err) : -1;
	for (size_t i = 0; q->feats && i < q->k; i++) /* of other lengths: no start, and no displacement */
		q->s[i].has_old_alt = 0;
	if (rc == 0)
		rc = turn(q, coord, err) || lay_out(q, t, coord, alt, info, err) ? -1 : 0;
	if (rc == 0) {
		const double *c = x->method < 0 ? coord : alt;
		size_t dims = x->method < 0 ? MM_MAP_DIMS : mm_layout_kinds[x->method].dims;
		q->body = json_pack("{s:I, s:I, s:I, s:o, s:I, s:I, s:O, s:o}", "models", (json_int_t)q->k,
			"models_fit", (json_int_t)x->k_fit, "texts", (json_int_t)m->n, "explained", share_json(&p),
			"dims90", (json_int_t)p.dims90, "dims95", (json_int_t)p.dims95, "layouts", info, "points",
			points_json(q, c, dims));
		mm_metric_head(q->body, q->feats);
		mm_map_set_method(q->body, x->method);
		set_unit(q);
		rc = q->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
	}
	json_decref(info);
	mm_pca_fini(&p);
	mm_free(alt);
	mm_free(coord);
	return rc;
}

/* What only the registry knows. */
static int finish_map(struct mm_daemon *d, struct mm_inquiry *q, struct mm_err *err)
{
	json_t *points = json_object_get(q->body, "points");
	(void)err;
	for (size_t i = 0; i < q->k; i++) {
		const struct mm_model_entry *e = mm_reg_by_id(d, q->s[i].id);
		if (e)
			mm_map_point_who(e, json_array_get(points, i));
	}
	return 0;
}

/* Models with an open anomaly alert go behind the others: they are placed, and bend nothing. */
static void fit_first(struct mm_inquiry *q, size_t *k_fit)
{
	size_t n = 0;
	for (size_t i = 0; i < q->k; i++) {
		if (!q->s[i].fit)
			continue;
		struct mm_snap s = q->s[i];
		struct mm_subject w = q->who[i];
		memmove(q->s + n + 1, q->s + n, (i - n) * sizeof(*q->s));
		memmove(q->who + n + 1, q->who + n, (i - n) * sizeof(*q->who));
		q->s[n] = s;
		q->who[n++] = w;
	}
	*k_fit = n ? n : q->k; /* all suspect: better a bent map than none */
}

int mm_map_domain(struct mm_daemon *d, const json_t *args, int method, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_inquiry *q = mm_inquiry_new(d, args, reply, false, err);
	if (!q)
		return -1;
	struct domain_map *x = q->own = mm_calloc(1, sizeof(*x), err);
	q->own_free = mm_free;
	q->answer = answer_map;
	q->finish = finish_map;
	if (!x) {
		mm_inquiry_free(q);
		return -1;
	}
	x->method = method;
	fit_first(q, &x->k_fit);
	return mm_inquiry_submit(d, q, reply, err);
}
