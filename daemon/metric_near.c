/* metric_near.c: near and dist by the distributions of the next byte.
 *
 * `near` reads few of the models: all are put in the order of an estimate from their sketches, and read in that order
 * until nobody who is left can belong to the nearest, with a margin of some standard errors of the estimate; or until
 * so many were read that a client would wait. The distances that are told are exact in any case; "complete" says
 * whether the search ended by itself. The work is a worker's, at normal priority: it is short, and somebody waits for
 * it. */
#include "daemon/metric.h"
#include "daemon/near.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BATCH	   32
#define ALL_BELOW  256 /* models that are all read */
#define MARGIN	   6.0 /* standard errors */
#define MARGIN_MAX 0.6
#define NEAR_SPARE 4

/* Models read at most: about 40 microseconds each, with logarithms 250. */
static size_t read_most(enum mm_metric m)
{
	return m == MM_METRIC_FISHER || m == MM_METRIC_HELLINGER ? 1024 : 160;
}

struct found {
	size_t i, at; /* of the snapshot; of the terms */
	double est, value;
	struct mm_interval iv;
};

struct near {
	size_t self;
	bool *allowed;	   /* [k] passes the conditions */
	struct found *hit; /* [n] all that were read, nearest first */
	size_t n, n_allowed;
	size_t want, tell; /* how many must be right, how many are told: some may leave meanwhile */
	bool complete;
};

static void near_free(void *own)
{
	struct near *x = own;
	if (!x)
		return;
	mm_free(x->allowed);
	mm_free(x->hit);
	mm_free(x);
}

static int by_est(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	if (x->est != y->est)
		return x->est < y->est ? -1 : 1;
	return x->i < y->i ? -1 : 1;
}

static int by_value(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	return x->i < y->i ? -1 : 1;
}

/* ---- worker ---- */

struct search {
	struct mm_inquiry *q;
	struct mm_feats *f;
	struct near *x;
	struct mm_txn *t;
	struct mm_boot boot;
	float *self, *other; /* unpacked; [BATCH] of them */
	double *v;	     /* [k read, m] terms */
};

/* Reads the models from..to of the order. The store is read by this thread, the rest is shared out. */
static int read_batch(struct search *s, size_t from, size_t to, struct mm_err *err)
{
	size_t m = s->f->m, one = m * MM_BYTE_STRIDE;
	for (size_t c = from; c < to; c++)
		if (mm_feats_one(s->f, s->t, s->x->hit[c].i, s->other + (c - from) * one, err))
			return -1;
#pragma omp parallel for schedule(static) num_threads((int)mm_threads()) if (to - from > 4)
	for (size_t c = from; c < to; c++) {
		double *v = s->v + c * m;
		mm_byte_terms(s->f->metric, s->self, s->other + (c - from) * one, m, v);
		s->x->hit[c].value = mm_byte_distance_of(s->f->metric, v, s->f->sel, s->f->n);
	}
	return 0;
}

/* The want-th smallest distance of those read. */
static double last_wanted(const struct near *x, size_t n_read, double *tmp)
{
	if (n_read < x->want)
		return INFINITY;
	for (size_t c = 0; c < n_read; c++) {
		double v = x->hit[c].value;
		size_t at = MM_MIN(c, x->want);
		if (at == x->want && v >= tmp[at - 1])
			continue;
		at = at == x->want ? at - 1 : at;
		for (; at > 0 && tmp[at - 1] > v; at--)
			tmp[at] = tmp[at - 1];
		tmp[at] = v;
	}
	return tmp[x->want - 1];
}

/* The least distance that a model with this estimate can have. */
static double least(const struct mm_feats *f, double est)
{
	double margin = fmin(MARGIN * mm_sketch_error(f->n), MARGIN_MAX);
	double mean = est * (1 - margin) * (f->metric == MM_METRIC_FISHER ? 1 : mm_metrics[f->metric].per_root);
	return mm_metric_value(f->metric, mean, f->n);
}

static int search(struct search *s, const _Atomic bool *cancel, struct mm_err *err)
{
	struct near *x = s->x;
	size_t n = x->n_allowed, most = n <= ALL_BELOW ? n : MM_MIN(n, MM_MAX(read_most(s->f->metric), 4 * x->want));
	double *tmp = mm_calloc(x->want + 1, sizeof(*tmp), err);
	size_t done = 0;
	if (!tmp || !(s->v = mm_calloc(most * s->f->m, sizeof(*s->v), err)) ||
		!(s->self = mm_calloc((BATCH + 1) * s->f->m * MM_BYTE_STRIDE, sizeof(*s->self), err))) {
		mm_free(tmp);
		return -1;
	}
	s->other = s->self + s->f->m * MM_BYTE_STRIDE;
	int rc = mm_feats_one(s->f, s->t, x->self, s->self, err);
	while (rc == 0 && done < most) {
		size_t to = MM_MIN(done + BATCH, most);
		if (n > ALL_BELOW && done && least(s->f, x->hit[done].est) > last_wanted(x, done, tmp))
			break;
		rc = *cancel ? mm_fail(err, MM_ECANCELLED, "the daemon is stopping") : read_batch(s, done, to, err);
		done = to;
	}
	x->complete = rc == 0 && (done == n || least(s->f, x->hit[done].est) > last_wanted(x, done, tmp));
	x->n = done;
	mm_free(tmp);
	return rc;
}

/* The nearest to the front, with error bars for those that will be told. */
static int intervals(struct search *s, struct mm_err *err)
{
	struct near *x = s->x;
	for (size_t c = 0; c < x->n; c++)
		x->hit[c].at = c;
	if (x->n)
		qsort(x->hit, x->n, sizeof(*x->hit), by_value);
	for (size_t c = 0; c < x->n; c++) {
		/* and for all that lie as far as the last one */
		if (c >= x->want && x->hit[c].value > x->hit[x->want - 1].value)
			break;
		if (mm_byte_boot(s->f->metric, &s->boot, s->v + x->hit[c].at * s->f->m, s->f->sel, &x->hit[c].iv, err))
			return -1;
	}
	return 0;
}

static int answer_near(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_err *err)
{
	struct search s = { .q = q, .f = q->feats, .x = q->own };
	struct mm_feats *f = s.f;
	struct near *x = s.x;
	float *weight = mm_calloc(f->m, sizeof(*weight), err);
	const int16_t **sketch = weight ? mm_calloc(f->k, sizeof(*sketch), err) : NULL;
	double *est = sketch ? mm_calloc(f->k, sizeof(*est), err) : NULL;
	int rc = est && (x->hit = mm_calloc(f->k, sizeof(*x->hit), err)) ? 0 : -1;
	(void)m, (void)t;
	for (size_t i = 0; rc == 0 && i < f->n; i++)
		weight[f->sel ? f->sel[i] : i] = 1;
	if (rc == 0 && x->n_allowed > ALL_BELOW && (rc = mm_feats_sketches(f, sketch, q->cancel, err)) == 0)
		mm_sketch_scan(f->metric, sketch, f->k, sketch[x->self], f->m, weight, f->n, est);
	for (size_t i = 0, n = 0; rc == 0 && i < f->k; i++)
		if (x->allowed[i])
			x->hit[n++] = (struct found){ .i = i, .est = est[i] };
	if (rc == 0 && x->n_allowed)
		qsort(x->hit, x->n_allowed, sizeof(*x->hit), by_est);
	if (rc == 0)
		rc = mm_boot_init(&s.boot, f->n, MM_BOOT_DEFAULT, 1, err);
	if (rc == 0 && (!(s.t = mm_reader_begin(f->store, err)) || search(&s, q->cancel, err) || intervals(&s, err)))
		rc = -1;
	mm_reader_end(s.t);
	mm_boot_fini(&s.boot);
	mm_free(s.v);
	mm_free(s.self);
	mm_free(est);
	mm_free(sketch);
	mm_free(weight);
	return rc;
}

/* ---- loop ---- */

/* Copies lie at the same distance: by name, so that the order of arrival does not show. */
struct named {
	const struct mm_model_entry *e;
	const struct found *hit;
};

static int by_name(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	if (x->hit->value != y->hit->value)
		return x->hit->value < y->hit->value ? -1 : 1;
	return strcmp(x->e->rec.name, y->e->rec.name);
}

static int finish_near(struct mm_daemon *d, struct mm_inquiry *q, struct mm_err *err)
{
	struct near *x = q->own;
	const struct mm_model_entry *self = mm_reg_by_id(d, q->s[x->self].id);
	struct named *named = mm_calloc(x->n, sizeof(*named), err);
	json_t *list = json_array();
	size_t n = 0;
	for (size_t i = 0; named && i < x->n; i++) {
		const struct mm_model_entry *e = mm_reg_by_id(d, q->s[x->hit[i].i].id);
		if (e) /* who was dropped meanwhile is passed over */
			named[n++] = (struct named){ e, &x->hit[i] };
	}
	if (n)
		qsort(named, n, sizeof(*named), by_name);
	for (size_t i = 0; i < MM_MIN(n, x->tell); i++) {
		json_t *o = json_pack("{s:s}", "name", named[i].e->rec.name);
		mm_metric_put(o, q->feats->metric, named[i].hit->value, &named[i].hit->iv);
		if (o)
			mm_near_describe(o, &named[i].e->rec);
		json_array_append_new(list, o);
	}
	mm_free(named);
	if (!self || !named || !list) {
		json_decref(list);
		return self ? mm_fail(err, MM_ENOMEM, "out of memory") : mm_fail(err, MM_ENOENT, "the model has gone");
	}
	size_t told = json_array_size(list);
	q->body = json_pack("{s:s, s:o, s:b, s:I}", "model", self->rec.name, "neighbours", list, "complete",
		x->complete, "read", (json_int_t)x->n);
	mm_metric_head(q->body, q->feats);
	if (q->body && told < x->tell)
		json_object_set_new(q->body, "of", json_integer((json_int_t)q->k - 1));
	return q->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
}

int mm_metric_near(struct mm_daemon *d, const struct mm_place *p, const json_t *args, enum mm_metric metric,
	struct mm_reply *reply, struct mm_err *err)
{
	struct mm_near_filter f;
	if (mm_near_filter_of(args, &f, err))
		return -1;
	struct mm_inquiry *q = mm_inquiry_of(d, args, reply, true, p->e->rec.id, err);
	if (!q)
		return -1;
	struct near *x = q->own = mm_calloc(1, sizeof(*x), err);
	(void)metric; /* it is among the arguments */
	q->own_free = near_free;
	q->answer = answer_near;
	q->finish = finish_near;
	q->soon = true;
	if (x && (x->allowed = mm_calloc(q->k, sizeof(*x->allowed), err))) {
		x->tell = f.want;
		x->want = MM_MIN(f.want + NEAR_SPARE, q->k);
		for (size_t i = 0; i < q->k; i++) {
			const struct mm_model_entry *e = mm_reg_by_id(d, q->s[i].id);
			if (q->s[i].id == p->e->rec.id)
				x->self = i;
			else
				x->allowed[i] = mm_near_passes(&f, &e->rec, &p->e->rec);
			x->n_allowed += x->allowed[i];
		}
		return mm_inquiry_submit(d, q, reply, err);
	}
	mm_inquiry_free(q);
	return -1;
}

/* ---- dist: two models, at once ---- */

struct pair {
	const char *a, *b;
	struct mm_feats *f;
	double *v; /* [m] terms */
};

/* One distance with its error over the probes sel[n]. A single probe has no spread. */
static int told(json_t *o, const struct pair *x, const uint32_t *sel, size_t n, struct mm_err *err)
{
	struct mm_boot boot;
	struct mm_interval iv;
	json_object_set_new(o, "probes", json_integer((json_int_t)n));
	if (n < 2) {
		json_object_set_new(o, "distance", json_null());
		return 0;
	}
	if (mm_boot_init(&boot, n, MM_BOOT_DEFAULT, 1, err))
		return -1;
	int rc = mm_byte_boot(x->f->metric, &boot, x->v, sel, &iv, err);
	mm_boot_fini(&boot);
	if (rc == 0)
		mm_metric_put(o, x->f->metric, iv.value, &iv);
	return rc;
}

static json_t *domains(const struct mm_daemon *d, const struct pair *x, struct mm_err *err)
{
	const struct mm_probes *p = x->f->probes;
	json_t *list = json_array();
	uint32_t *sel = list && p ? mm_calloc(x->f->m, sizeof(*sel), err) : NULL;
	for (size_t c = 0; sel && c < d->texts.n_domain; c++) {
		json_t *o = json_pack("{s:s}", "domain", d->texts.domain_name[c]);
		size_t n = 0;
		for (size_t i = 0; i < p->n; i++)
			if (p->at[i].domain == c)
				sel[n++] = (uint32_t)i;
		if (!o || told(o, x, sel, n, err)) {
			json_decref(o);
			json_decref(list);
			list = NULL;
			break;
		}
		json_array_append_new(list, o);
	}
	mm_free(sel);
	return list;
}

static json_t *dist_json(struct mm_daemon *d, const struct pair *x, size_t domain, struct mm_err *err)
{
	json_t *o = json_pack("{s:s, s:s, s:i}", "a", x->a, "b", x->b, "resamples", MM_BOOT_DEFAULT), *list = NULL;
	mm_metric_head(o, x->f);
	if (!o || told(o, x, x->f->sel, x->f->n, err) || (domain == SIZE_MAX && !(list = domains(d, x, err)))) {
		json_decref(o);
		return NULL;
	}
	if (list)
		json_object_set_new(o, "domains", list);
	else
		json_object_set_new(o, "domain", json_string(d->texts.domain_name[domain]));
	return o;
}

int mm_metric_dist(struct mm_daemon *d, const struct mm_place *a, const struct mm_place *b, const json_t *args,
	enum mm_metric metric, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_snap both[2] = { { .id = a->e->rec.id, .version = a->version },
		{ .id = b->e->rec.id, .version = b->version } };
	size_t k = 2, domain;
	struct mm_feats *f = mm_calloc(1, sizeof(*f), err);
	struct mm_txn *t = NULL;
	float *row = NULL;
	json_t *o = NULL;
	if (!f)
		return -1;
	f->metric = metric;
	if (mm_domain_arg(d, args, &domain, err) || mm_feats_pick(f, d, both, &k, a->e->rec.id, domain, err))
		goto out;
	if (k < 2) {
		mm_fail(err, MM_EINVAL,
			"%s has no next-byte distributions at the probes of %s: modelmap rescore --missing-features",
			b->e->rec.name, a->e->rec.name);
		goto out;
	}
	if ((row = mm_calloc(2 * f->m * (MM_BYTE_STRIDE + 1), sizeof(*row), err)) &&
		(t = mm_txn_begin(d->store, false, err)) && mm_feats_one(f, t, 0, row, err) == 0 &&
		mm_feats_one(f, t, 1, row + f->m * MM_BYTE_STRIDE, err) == 0) {
		struct pair x = { a->e->rec.name, b->e->rec.name, f,
			(double *)(void *)(row + 2 * f->m * MM_BYTE_STRIDE) };
		mm_byte_terms(metric, row, row + f->m * MM_BYTE_STRIDE, f->m, x.v);
		o = dist_json(d, &x, domain, err);
	}
out:
	mm_txn_abort(t);
	mm_free(row);
	mm_feats_free(f);
	return o ? mm_reply_body(reply, mm_with_epoch(d, o), err) : -1;
}
