/* metric_near.c: near and dist by the distributions of the next byte.
 *
 * `near` reads few of the models: lower bounds of all distances come from sketches (stat_fisher.h), models are read in
 * the order of these until the next one's bound is beyond the farthest that is wanted. So the answer is that of a
 * search through everybody, whatever the bounds; they only say how soon it ends. The work is a worker's, at normal
 * priority: it is short, and somebody waits for it. */
#include "daemon/metric.h"
#include "daemon/near.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BATCH	   32
#define ALL_BELOW  256 /* models that are all read */
#define NEAR_SPARE 4

struct found {
	size_t i, at; /* of the snapshot; of the terms */
	double least, value;
	struct mm_interval iv;
};

struct near {
	size_t self;
	bool *allowed;	   /* [k] passes the conditions */
	struct found *hit; /* [n] all that were read, nearest first */
	size_t n, n_allowed;
	size_t want, tell; /* how many must be right, how many are told: some may leave meanwhile */
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

static int by_least(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	if (x->least != y->least)
		return x->least < y->least ? -1 : 1;
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
	struct mm_feats *f;
	struct near *x;
	struct mm_txn *t;
	struct mm_boot boot;
	float *self, *other; /* unpacked; [BATCH] of them */
	double *v;	     /* [read, m] terms */
	size_t cap;
	double *nearest; /* [want] distances, ascending */
	size_t n_nearest;
	const struct mm_sketch_plan *plan; /* NULL: all are read */
	const int16_t **sketch;		   /* [k] */
	float *weight;			   /* [m] 1: a probe of the domain */
};

/* Reads the models from..to of the order. The store is asked by this thread, the rest is shared out. */
static int read_batch(struct search *s, size_t from, size_t to, struct mm_err *err)
{
	const void *data[BATCH];
	bool bad[BATCH] = { 0 };
	struct mm_feats *f = s->f;
	struct found *hit = s->x->hit;
	for (size_t c = from; c < to; c++)
		if (!(data[c - from] = mm_feats_get(f, s->t, hit[c].i, err)))
			return -1;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)mm_threads()) if (to - from > 4)
	for (size_t c = from; c < to; c++) {
		float *row = s->other + (c - from) * f->m * MM_BYTE_STRIDE;
		double *v = s->v + c * f->m;
		struct mm_err ignored;
		if ((bad[c - from] = mm_bytes_unpack(data[c - from], f->m, row, &ignored) != 0))
			continue;
		mm_byte_terms(f->metric, s->self, row, f->m, v);
		hit[c].value = mm_byte_distance_of(f->metric, v, f->sel, f->n);
	}
	for (size_t c = from; c < to; c++)
		if (bad[c - from] && mm_feats_one(f, s->t, hit[c].i, s->other, err)) /* for its error */
			return -1;
	return 0;
}

static void keep_nearest(struct search *s, double value)
{
	size_t want = s->x->want, at = s->n_nearest;
	if (at == want && (want == 0 || value >= s->nearest[want - 1]))
		return;
	at = at == want ? want - 1 : s->n_nearest++;
	for (; at > 0 && s->nearest[at - 1] > value; at--)
		s->nearest[at] = s->nearest[at - 1];
	s->nearest[at] = value;
}

/* Can a model of this bound still belong to those wanted? At the same distance as the last one it may: its name
 * decides. */
static bool may_be_near(const struct search *s, double least)
{
	return s->n_nearest < s->x->want || least <= s->nearest[s->x->want - 1];
}

/* Those from..to of the order in that of sharper bounds; returns where those end that can still be near. */
static size_t refine(struct search *s, size_t from, size_t to)
{
	struct near *x = s->x;
	while (to > from && !may_be_near(s, x->hit[to - 1].least))
		to--;
	for (size_t c = from; c < to; c += BATCH) {
		const int16_t *sketch[BATCH];
		double least[BATCH];
		size_t n = MM_MIN(to - c, (size_t)BATCH);
		for (size_t i = 0; i < n; i++)
			sketch[i] = s->sketch[x->hit[c + i].i];
		mm_sketch_scan(s->f->metric, false, s->plan, sketch, n, s->sketch[x->self], s->weight, s->f->n, least);
		for (size_t i = 0; i < n; i++)
			x->hit[c + i].least = fmax(x->hit[c + i].least, least[i]);
	}
	if (to > from)
		qsort(x->hit + from, to - from, sizeof(*x->hit), by_least);
	return to;
}

static int search(struct search *s, const _Atomic bool *cancel, struct mm_err *err)
{
	struct near *x = s->x;
	size_t done = 0, end = x->n_allowed, one = s->f->m * MM_BYTE_STRIDE;
	if (!(s->nearest = mm_calloc(x->want + 1, sizeof(*s->nearest), err)) ||
		!(s->self = mm_calloc((BATCH + 1) * one, sizeof(*s->self), err)) ||
		mm_feats_one(s->f, s->t, x->self, s->self, err))
		return -1;
	s->other = s->self + one;
	while (x->want && done < end && may_be_near(s, x->hit[done].least)) {
		size_t to = MM_MIN(done + BATCH, end), first = done;
		while (to > done + 1 && !may_be_near(s, x->hit[to - 1].least))
			to--;
		if (*cancel)
			return mm_fail(err, MM_ECANCELLED, "the daemon is stopping");
		if (mm_grow(&s->v, &s->cap, to * s->f->m, sizeof(*s->v), err) || read_batch(s, done, to, err))
			return -1;
		for (; done < to; done++)
			keep_nearest(s, x->hit[done].value);
		if (first == 0 && s->plan)
			end = refine(s, done, end);
	}
	x->n = done;
	return 0;
}

static int order(struct search *s, const _Atomic bool *cancel, struct mm_err *err)
{
	struct mm_feats *f = s->f;
	struct near *x = s->x;
	double *least = mm_calloc(f->k, sizeof(*least), err);
	if (!least || !(x->hit = mm_calloc(f->k, sizeof(*x->hit), err)) ||
		!(s->weight = mm_calloc(f->m, sizeof(*s->weight), err)) ||
		!(s->sketch = mm_calloc(f->k, sizeof(*s->sketch), err)) ||
		(x->n_allowed > ALL_BELOW && mm_feats_sketches(f, s->sketch, &s->plan, cancel, err))) {
		mm_free(least);
		return -1;
	}
	for (size_t i = 0; i < f->n; i++)
		s->weight[f->sel ? f->sel[i] : i] = 1;
	if (s->plan)
		mm_sketch_scan(f->metric, true, s->plan, s->sketch, f->k, s->sketch[x->self], s->weight, f->n, least);
	for (size_t i = 0, n = 0; i < f->k; i++)
		if (x->allowed[i])
			x->hit[n++] = (struct found){ .i = i, .least = least[i] };
	if (x->n_allowed)
		qsort(x->hit, x->n_allowed, sizeof(*x->hit), by_least);
	mm_free(least);
	return 0;
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
	struct search s = { .f = q->feats, .x = q->own };
	(void)m, (void)t;
	int rc = order(&s, q->cancel, err);
	if (rc == 0)
		rc = mm_boot_init(&s.boot, s.f->n, MM_BOOT_DEFAULT, 1, err);
	if (rc == 0 && (!(s.t = mm_reader_begin(s.f->store, err)) || search(&s, q->cancel, err) || intervals(&s, err)))
		rc = -1;
	mm_reader_end(s.t);
	mm_boot_fini(&s.boot);
	mm_free(s.nearest);
	mm_free(s.v);
	mm_free(s.self);
	mm_free(s.weight);
	mm_free(s.sketch);
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
	q->body = json_pack("{s:s, s:o, s:b, s:I}", "model", self->rec.name, "neighbours", list, "complete", 1, "read",
		(json_int_t)x->n);
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
