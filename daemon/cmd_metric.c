/* cmd_metric.c: what distances between next-byte distributions say about one model, a run, a merge.
 *
 *   fisher NAME             spectrum of the Fisher metric in the directions of the other models, effective dimension
 *   trajectory RUN          with a metric: how far along the way to the last checkpoint each one is
 *   merge_check A B MERGED  does a merge lie on the line between its parents?
 *
 * The first two read the features of many models, on a worker. The third needs three distances in each resample. */
#include "daemon/metric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FISHER_MODELS 600 /* directions; of more models evenly chosen ones */
#define FISHER_RANDOM 100

/* ---- fisher ---- */

struct around {
	size_t self;
	struct mm_spectrum s;
	size_t used;
};

/* The others, evenly chosen when they are many. */
static int answer_fisher(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_err *err)
{
	struct around *x = q->own;
	struct mm_feats *f = q->feats;
	(void)m, (void)t;
	if (f->k < 2)
		return mm_fail(err, MM_EINVAL, "no other model on the map has features");
	x->used = MM_MIN(f->k - 1, (size_t)FISHER_MODELS);
	uint16_t *block = mm_calloc(x->used * f->m * MM_BYTES, sizeof(*block), err);
	const uint16_t **row = block ? mm_calloc(x->used, sizeof(*row), err) : NULL;
	float *self = row ? mm_calloc(f->m * MM_BYTE_STRIDE, sizeof(*self), err) : NULL;
	struct mm_txn *r = self ? mm_reader_begin(f->store, err) : NULL;
	int rc = r ? mm_feats_one(f, r, x->self, self, err) : -1;
	for (size_t i = 0; rc == 0 && i < x->used; i++) {
		size_t at = i * (f->k - 1) / x->used;
		row[i] = block + i * f->m * MM_BYTES;
		rc = mm_feats_copy(f, r, at + (at >= x->self), block + i * f->m * MM_BYTES, err);
	}
	mm_reader_end(r);
	struct mm_byte_rows others = { row, x->used, f->m, f->sel, f->n };
	if (rc == 0)
		rc = mm_byte_spectrum(self, &others, FISHER_RANDOM, 1, q->cancel, &x->s, err);
	mm_free(self);
	mm_free(row);
	mm_free(block);
	return rc;
}

static int finish_fisher(struct mm_daemon *d, struct mm_inquiry *q, struct mm_err *err)
{
	const struct around *x = q->own;
	const struct mm_model_entry *e = mm_reg_by_id(d, q->s[x->self].id);
	json_t *lead = json_array();
	for (size_t i = 0; i < x->s.n_lead; i++)
		json_array_append_new(lead, json_real(x->s.lead[i]));
	q->body = json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:o}", "model", e ? e->rec.name : "",
		"models", (json_int_t)x->used, "of", (json_int_t)q->k - 1, "trace", x->s.trace, "trace_stderr",
		x->s.trace_err, "dimension", x->s.dim, "dimension_stderr", x->s.dim_err, "exact_trace",
		x->s.exact_trace, "exact_dimension", x->s.exact_dim, "random", (json_int_t)x->s.n_random, "spectrum",
		lead);
	mm_metric_head(q->body, q->feats);
	if (q->body)
		json_object_set_new(q->body, "unit", json_string("rad^2"));
	return q->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
}

int mm_cmd_fisher(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const struct mm_place *p = mm_map_place_arg(d, args, "name", err);
	json_t *with = p ? json_deep_copy(args) : NULL;
	if (!with)
		return -1;
	json_object_set_new(with, "metric", json_string(mm_metrics[MM_METRIC_FISHER].name));
	struct mm_inquiry *q = mm_inquiry_of(d, with, reply, true, p->e->rec.id, err);
	json_decref(with);
	if (!q)
		return -1;
	struct around *x = q->own = mm_calloc(1, sizeof(*x), err);
	q->own_free = mm_free;
	q->answer = answer_fisher;
	q->finish = finish_fisher;
	if (!x) {
		mm_inquiry_free(q);
		return -1;
	}
	for (size_t i = 0; i < q->k; i++)
		if (q->s[i].id == p->e->rec.id)
			x->self = i;
	return mm_inquiry_submit(d, q, reply, err);
}

/* ---- trajectory ---- */

struct stop {	   /* a checkpoint */
	size_t at; /* of the snapshot */
	int64_t step;
	struct mm_interval leg; /* from the one before */
	double along, off;	/* of the way from the first to the last, shares of its length */
	double heading;		/* angle at the one before between this leg and the way to the last; NAN: none */
	double to_last;
};

struct way {
	struct stop *stop; /* [n] */
	size_t n;
	double length, ends;
};

static void way_free(void *own)
{
	struct way *w = own;
	if (w)
		mm_free(w->stop);
	mm_free(w);
}

/* The rows of all checkpoints would be much for a long run: the first, the last, and two in turn. */
struct tour {
	struct mm_feats *f;
	struct mm_txn *t;
	struct mm_boot boot;
	float *first, *last, *row[2];
	double *v;
};

static double between(struct tour *x, const float *a, const float *b)
{
	mm_byte_terms(x->f->metric, a, b, x->f->m, x->v);
	return mm_byte_distance_of(x->f->metric, x->v, x->f->sel, x->f->n);
}

/* By the tangents at the first; of other metrics by the triangle of the three distances. */
static void progress(struct tour *x, const struct way *w, const float *row, struct stop *s)
{
	if (x->f->metric == MM_METRIC_FISHER) {
		struct mm_heading h;
		mm_byte_heading(x->first, row, x->last, x->f->sel, x->f->n, &h);
		double share = h.to_b > 0 ? h.to_a / h.to_b : 0;
		s->along = h.cosine * share;
		s->off = sqrt(fmax(1 - h.cosine * h.cosine, 0)) * share;
		return;
	}
	struct mm_blend b;
	enum mm_metric m = x->f->metric;
	mm_blend_of(mm_metric_tri(m, between(x, x->first, row)), mm_metric_tri(m, s->to_last),
		mm_metric_tri(m, w->ends), &b);
	s->along = b.alpha;
	s->off = b.off_line;
}

static int tour(struct tour *x, struct way *w, struct mm_err *err)
{
	if (mm_feats_one(x->f, x->t, w->stop[0].at, x->first, err) ||
		mm_feats_one(x->f, x->t, w->stop[w->n - 1].at, x->last, err))
		return -1;
	w->ends = between(x, x->first, x->last);
	for (size_t i = 0; i < w->n; i++) {
		struct stop *s = &w->stop[i];
		float *row = x->row[i % 2], *before = x->row[(i + 1) % 2];
		if (mm_feats_one(x->f, x->t, s->at, row, err))
			return -1;
		s->to_last = between(x, row, x->last);
		progress(x, w, row, s);
		s->heading = NAN;
		if (!i)
			continue;
		between(x, before, row);
		if (mm_byte_boot(x->f->metric, &x->boot, x->v, x->f->sel, &s->leg, err))
			return -1;
		w->length += s->leg.value;
		struct mm_heading h;
		mm_byte_heading(before, row, x->last, x->f->sel, x->f->n, &h);
		if (x->f->metric == MM_METRIC_FISHER && h.to_a > 0 && h.to_b > 0)
			s->heading = acos(fmin(fmax(h.cosine, -1), 1));
	}
	return 0;
}

static int answer_way(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_err *err)
{
	struct tour x = { .f = q->feats };
	size_t one = x.f->m * MM_BYTE_STRIDE;
	(void)m, (void)t;
	int rc = (x.first = mm_calloc(4 * one, sizeof(float), err)) && (x.v = mm_calloc(x.f->m, sizeof(double), err)) &&
				 mm_boot_init(&x.boot, x.f->n, MM_BOOT_DEFAULT, 1, err) == 0 &&
				 (x.t = mm_reader_begin(x.f->store, err))
			 ? 0
			 : -1;
	if (rc == 0) {
		x.last = x.first + one;
		x.row[0] = x.last + one;
		x.row[1] = x.row[0] + one;
		rc = tour(&x, q->own, err);
	}
	mm_reader_end(x.t);
	mm_boot_fini(&x.boot);
	mm_free(x.v);
	mm_free(x.first);
	return rc;
}

static const char *name_at(const struct mm_daemon *d, const struct mm_inquiry *q, size_t i)
{
	const struct mm_model_entry *e = mm_reg_by_id(d, q->s[i].id);
	return e ? e->rec.name : "";
}

static int finish_way(struct mm_daemon *d, struct mm_inquiry *q, struct mm_err *err)
{
	const struct way *w = q->own;
	json_t *legs = json_array(), *stops = json_array();
	for (size_t i = 0; legs && stops && i < w->n; i++) {
		const struct stop *s = &w->stop[i];
		json_array_append_new(
			stops, json_pack("{s:s, s:I, s:f, s:f, s:f}", "name", name_at(d, q, s->at), "step",
				       (json_int_t)s->step, "along", s->along, "off", s->off, "to_last", s->to_last));
		if (!i)
			continue;
		json_t *o = json_pack("{s:s, s:s, s:I, s:I}", "from", name_at(d, q, s[-1].at), "to",
			name_at(d, q, s->at), "from_step", (json_int_t)s[-1].step, "to_step", (json_int_t)s->step);
		mm_metric_put(o, q->feats->metric, s->leg.value, &s->leg);
		if (o && isfinite(s->heading))
			json_object_set_new(o, "heading_degrees", json_real(s->heading * 180 / M_PI));
		json_array_append_new(legs, o);
	}
	q->body = json_pack("{s:s, s:o, s:o, s:f, s:f}", "run", json_string_value(json_object_get(q->args, "run")),
		"legs", legs, "checkpoints", stops, "path", w->length, "distance", w->ends);
	mm_metric_head(q->body, q->feats);
	return q->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
}

static int by_step(const void *a, const void *b)
{
	const struct stop *x = a, *y = b;
	if (x->step != y->step)
		return x->step < y->step ? -1 : 1;
	return x->at < y->at ? -1 : 1;
}

int mm_metric_trajectory(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const char *run = json_string_value(json_object_get(args, "run"));
	struct mm_inquiry *q = mm_inquiry_new(d, args, reply, true, err);
	if (!q)
		return -1;
	struct way *w = q->own = mm_calloc(1, sizeof(*w), err);
	q->own_free = way_free;
	q->answer = answer_way;
	q->finish = finish_way;
	if (!w || !(w->stop = mm_calloc(q->k, sizeof(*w->stop), err)))
		goto fail;
	for (size_t i = 0; run && i < q->k; i++) {
		const struct mm_model_rec *r = &mm_reg_by_id(d, q->s[i].id)->rec;
		if (r->run && strcmp(r->run, run) == 0)
			w->stop[w->n++] = (struct stop){ .at = i, .step = r->step };
	}
	if (w->n) {
		qsort(w->stop, w->n, sizeof(*w->stop), by_step);
		return mm_inquiry_submit(d, q, reply, err);
	}
	mm_fail(err, MM_ENOENT, "no checkpoints with features of a run called %s", run ? run : "?");
fail:
	mm_inquiry_free(q);
	return -1;
}

/* ---- merge_check ---- */

enum { MERGED_A, MERGED_B, A_B, N_SIDE };

/* Squared distances of the three sides, as they are and in each resample of the texts. */
static int sides_kl(const struct mm_daemon *d, const struct mm_place *const p[3], double *side, struct mm_err *err)
{
	static const int ends[N_SIDE][2] = { [MERGED_A] = { 2, 0 }, [MERGED_B] = { 2, 1 }, [A_B] = { 0, 1 } };
	const struct mm_boot *boot = &d->map->boot;
	for (int s = 0; s < N_SIDE; s++)
		if (mm_boot_draws(boot, mm_map_vec(d, p[ends[s][0]]->e), mm_map_vec(d, p[ends[s][1]]->e),
			    mm_map_clip(d), side + (size_t)s * (boot->n_draw + 1), err))
			return -1;
	return 0;
}

/* The same by the features, resampling the probes. */
static int sides_of(struct mm_daemon *d, const struct mm_feats *f, double *side, struct mm_err *err)
{
	static const int ends[N_SIDE][2] = { [MERGED_A] = { 2, 0 }, [MERGED_B] = { 2, 1 }, [A_B] = { 0, 1 } };
	size_t one = f->m * MM_BYTE_STRIDE;
	struct mm_boot boot = { 0 };
	float *row = mm_calloc(3 * one, sizeof(*row), err);
	double *v = row ? mm_calloc(f->m, sizeof(*v), err) : NULL;
	struct mm_txn *t = v ? mm_txn_begin(d->store, false, err) : NULL;
	int rc = t ? mm_boot_init(&boot, f->n, MM_BOOT_DEFAULT, 1, err) : -1;
	for (size_t i = 0; rc == 0 && i < 3; i++)
		rc = mm_feats_one(f, t, i, row + i * one, err);
	for (size_t s = 0; rc == 0 && s < N_SIDE; s++) {
		double *out = side + s * (MM_BOOT_DEFAULT + 1);
		mm_byte_terms(f->metric, row + (size_t)ends[s][0] * one, row + (size_t)ends[s][1] * one, f->m, v);
		out[0] = mm_metric_tri(f->metric, mm_byte_distance_of(f->metric, v, NULL, f->n));
		for (size_t r = 0; r < boot.n_draw; r++) {
			double sum = 0;
			for (size_t i = 0; i < f->n; i++)
				sum += (double)boot.count[r * f->n + i] * v[i];
			out[r + 1] = mm_metric_tri(f->metric, mm_metric_value(f->metric, sum / (double)f->n, f->n));
		}
	}
	mm_boot_fini(&boot);
	mm_txn_abort(t);
	mm_free(v);
	mm_free(row);
	return rc;
}

static json_t *line_json(const struct mm_place *const p[3], const struct mm_line *l)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:i}", "a", p[0]->e->rec.name, "b",
		p[1]->e->rec.name, "merged", p[2]->e->rec.name, "along", l->along.value, "along_low", l->along.lo,
		"along_high", l->along.hi, "off_line", l->off.value, "off_line_low", l->off.lo, "off_line_high",
		l->off.hi, "resamples", MM_BOOT_DEFAULT);
	if (o)
		json_object_set_new(o, "bow", isfinite(l->bow) ? json_real(l->bow) : json_null());
	return o;
}

int mm_cmd_merge_check(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	static const char *const arg[3] = { "a", "b", "merged" };
	const struct mm_place *p[3];
	struct mm_snap three[3] = { 0 };
	struct mm_feats *f = NULL;
	enum mm_metric metric;
	size_t k = 3, n = MM_BOOT_DEFAULT + 1;
	json_t *o = NULL;
	for (int i = 0; i < 3; i++) {
		if (!(p[i] = mm_map_place_arg(d, args, arg[i], err)))
			return -1;
		three[i] = (struct mm_snap){ .id = p[i]->e->rec.id, .version = p[i]->version };
	}
	if (mm_metric_arg(args, &metric, err))
		return -1;
	double *side = mm_calloc(N_SIDE * n, sizeof(*side), err);
	struct mm_line line;
	int rc = side ? 0 : -1;
	if (rc == 0 && metric == MM_METRIC_KL) {
		rc = sides_kl(d, p, side, err);
	} else if (rc == 0 && (f = mm_calloc(1, sizeof(*f), err))) {
		f->metric = metric;
		rc = mm_feats_pick(f, d, three, &k, three[2].id, SIZE_MAX, err);
		if (rc == 0 && k < 3)
			rc = mm_fail(err, MM_EINVAL,
				"a parent has no next-byte distributions: modelmap rescore --missing-features");
		if (rc == 0)
			rc = sides_of(d, f, side, err);
	}
	if (rc == 0 && side && mm_line_boot(side, side + n, side + 2 * n, MM_BOOT_DEFAULT, &line, err) == 0)
		o = line_json(p, &line);
	if (o) /* how far beside the line merges are is known for kl alone */
		json_object_set_new(o, "on_line", f ? json_null() : json_boolean(line.bow <= MM_BLEND_BOW));
	if (o && !f) {
		json_object_set_new(
			o, "length_kl_bits_per_byte", json_real(mm_kl_bits_per_byte(side[2 * n], d->texts.mean_bytes)));
	} else if (o) {
		json_object_set_new(o, "length", json_real(mm_metric_of_tri(metric, side[2 * n])));
	}
	mm_metric_head(o, f);
	mm_feats_free(f);
	mm_free(side);
	return o ? mm_reply_body(reply, mm_with_epoch(d, o), err) : -1;
}
