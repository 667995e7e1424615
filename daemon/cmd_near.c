/* cmd_near.c: near and dist: relatives of a model, and how far apart two are.
 *
 * On all texts both read what is in memory. On the texts of one domain distances are made anew, which for a large map
 * is a worker's business (inquiry.c); the loop then picks the neighbours, since names and metadata are its own. */
#include "daemon/inquiry.h"
#include "daemon/metric.h"
#include "daemon/near.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEAR_DEFAULT 10

static void set_kl(json_t *o, double two_kl, double mean_bytes)
{
	json_object_set_new(o, "kl_bits_per_byte", json_real(mm_kl_bits_per_byte(two_kl, mean_bytes)));
	json_object_set_new(o, "kl_nats_per_text", json_real(two_kl / 2));
}

static void set_str(json_t *o, const char *key, const char *s)
{
	if (s)
		json_object_set_new(o, key, json_string(s));
}

/* ---- near ---- */

/* Copies lie at the same distance: by name, so that the order of arrival does not show. */
struct hit {
	const struct mm_model_entry *e;
	double two_kl;
};

static int cmp_hit(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;
	if (x->two_kl != y->two_kl)
		return x->two_kl < y->two_kl ? -1 : 1;
	return strcmp(x->e->rec.name, y->e->rec.name);
}

void mm_near_describe(json_t *o, const struct mm_model_rec *r)
{
	set_str(o, "family", r->family);
	set_str(o, "dtype", r->dtype);
	json_object_set_new(o, "params", json_integer((json_int_t)r->params));
	json_object_set_new(o, "bytes", json_integer((json_int_t)r->bytes));
	if (r->modified)
		json_object_set_new(o, "modified", json_integer((json_int_t)r->modified));
	if (r->gone)
		json_object_set_new(o, "gone", json_true());
}

static json_t *neighbour_json(const struct hit *h, double mean_bytes)
{
	json_t *o = json_pack("{s:s}", "name", h->e->rec.name);
	if (!o)
		return NULL;
	set_kl(o, h->two_kl, mean_bytes);
	mm_near_describe(o, &h->e->rec);
	return o;
}

/* As configurations write them. */
static const char *dtype_word(const char *s)
{
	static const char *const same[][2] = { { "float32", "f32" }, { "bfloat16", "bf16" }, { "float16", "f16" },
		{ "fp32", "f32" }, { "fp16", "f16" } };
	for (size_t i = 0; s && i < MM_COUNT(same); i++)
		if (strcmp(s, same[i][0]) == 0)
			return same[i][1];
	return s;
}

int mm_near_filter_of(const json_t *args, struct mm_near_filter *f, struct mm_err *err)
{
	int64_t k = NEAR_DEFAULT;
	*f = (struct mm_near_filter){ .max_params = INFINITY, .max_bytes = INFINITY };
	if (mm_json_get_i64(args, "k", 1, 1000000, &k, err) || mm_json_get_str(args, "family", &f->family, err) ||
		mm_json_get_str(args, "dtype", &f->dtype, err) ||
		mm_json_get_double(args, "max_params", &f->max_params, err) ||
		mm_json_get_double(args, "max_bytes", &f->max_bytes, err) ||
		mm_json_get_bool(args, "smaller", &f->smaller, err))
		return -1;
	f->dtype = dtype_word(f->dtype);
	f->want = (size_t)k;
	return 0;
}

static bool is_word(const char *have, const char *want)
{
	return !want || (have && strcmp(have, want) == 0);
}

/* What nobody is cannot be asked for: most likely a slip of the pen. */
static int word_exists(const struct mm_daemon *d, const char *what, const char *want, size_t at, struct mm_err *err)
{
	struct mm_buf all = { 0 };
	const char *seen[24];
	size_t n = 0;
	for (size_t i = 0; want && i < mm_reg_n(d) && n < MM_COUNT(seen); i++) {
		const char *have = *(char *const *)((const char *)&mm_reg_at(d, i)->rec + at);
		size_t j = 0;
		if (is_word(have, want))
			return 0;
		while (have && j < n && strcmp(seen[j], have) != 0)
			j++;
		if (have && j == n)
			seen[n++] = have;
	}
	if (!want || n == MM_COUNT(seen))
		return 0;
	for (size_t j = 0; j < n; j++)
		mm_buf_printf(&all, "%s%s", j ? ", " : "", seen[j]);
	mm_fail(err, MM_ENOENT, "no model is of %s %s; there are: %s", what, want,
		all.data ? (const char *)all.data : "");
	mm_buf_fini(&all);
	return -1;
}

static bool below(uint64_t have, double most)
{
	return !isfinite(most) || (have && (double)have <= most);
}

bool mm_near_passes(const struct mm_near_filter *f, const struct mm_model_rec *r, const struct mm_model_rec *of)
{
	return is_word(r->family, f->family) && is_word(r->dtype, f->dtype) && below(r->params, f->max_params) &&
	       below(r->bytes, f->max_bytes) && (!f->smaller || (r->params && r->params < of->params));
}

bool mm_near_any(const struct mm_near_filter *f)
{
	return f->family || f->dtype || f->smaller || isfinite(f->max_params) || isfinite(f->max_bytes);
}

/* Who is asked about: models e[k] at distances d[k], `self` among them. */
struct crowd {
	const struct mm_daemon *d;
	const struct mm_model_entry *(*at)(const struct crowd *c, size_t i); /* NULL: left the map */
	const void *ctx;
	double *dist;
	size_t k, self;
	double mean_bytes;
};

static size_t count_others(const struct crowd *c)
{
	size_t n = 0;
	for (size_t i = 0; i < c->k; i++)
		n += i != c->self && isfinite(c->dist[i]) && c->at(c, i);
	return n;
}

/* The nearest ones that are there, best first, ties by name: hit[k]. A few more than wanted are looked at, for ties at
 * the end; when too many of them have left, more. Conditions are looked at for everybody before. */
static size_t nearest(const struct crowd *c, const struct mm_near_filter *f, struct mm_near *near, struct hit *hit)
{
	const struct mm_model_rec *of = &c->at(c, c->self)->rec;
	size_t n_hit = 0;
	for (size_t i = 0; mm_near_any(f) && i < c->k; i++) {
		const struct mm_model_entry *e = isfinite(c->dist[i]) ? c->at(c, i) : NULL;
		if (!e || !mm_near_passes(f, &e->rec, of))
			c->dist[i] = INFINITY;
	}
	for (size_t ask = f->want + 16;; ask *= 4) {
		size_t n = mm_knn_row(c->dist, c->k, c->self, MM_MIN(ask, c->k), near);
		n_hit = 0;
		for (size_t i = 0; i < n; i++) {
			const struct mm_model_entry *e = isfinite(near[i].d) ? c->at(c, near[i].i) : NULL;
			if (e)
				hit[n_hit++] = (struct hit){ e, c->dist[near[i].i] };
		}
		if (n_hit >= f->want || ask >= c->k)
			break;
	}
	if (n_hit)
		qsort(hit, n_hit, sizeof(*hit), cmp_hit);
	return MM_MIN(n_hit, f->want);
}

static json_t *near_json(const struct crowd *c, const struct mm_near_filter *f, struct mm_err *err)
{
	struct mm_near *near = mm_calloc(c->k, sizeof(*near), err);
	struct hit *hit = near ? mm_calloc(c->k, sizeof(*hit), err) : NULL;
	json_t *list = hit ? json_array() : NULL;
	size_t others = list && mm_near_any(f) ? count_others(c) : SIZE_MAX; /* before the conditions are put on */
	size_t n = list ? nearest(c, f, near, hit) : 0;
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, neighbour_json(&hit[i], c->mean_bytes));
	mm_free(hit);
	mm_free(near);
	json_t *o = list ? json_pack("{s:s, s:o}", "model", c->at(c, c->self)->rec.name, "neighbours", list) : NULL;
	if (o && n < f->want) /* why so few? */
		json_object_set_new(o, "of", json_integer((json_int_t)(others == SIZE_MAX ? count_others(c) : others)));
	return o;
}

static const struct mm_model_entry *live_member(const struct crowd *c, size_t i)
{
	const struct mm_place *p = c->d->map->member[i];
	return mm_map_live(c->d, p) ? p->e : NULL;
}

static int near_all(struct mm_daemon *d, const struct mm_place *p, const struct mm_near_filter *f,
	struct mm_reply *reply, struct mm_err *err)
{
	struct crowd c = {
		.d = d, .at = live_member, .k = d->map->n, .self = p->at, .mean_bytes = d->texts.mean_bytes
	};
	c.dist = mm_calloc(c.k, sizeof(*c.dist), err);
	if (!c.dist)
		return -1;
	mm_map_distances(d, p, c.dist);
	json_t *o = near_json(&c, f, err);
	mm_metric_head(o, NULL);
	mm_free(c.dist);
	return mm_reply_body(reply, mm_with_epoch(d, o), err);
}

/* ---- near where distances have to be made: those on the worker, names on the loop ---- */

struct domain_near {
	uint64_t id;
	size_t self;
	double *d; /* [k] */
};

static void domain_near_free(void *own)
{
	struct domain_near *x = own;
	if (x)
		mm_free(x->d);
	mm_free(x);
}

static int answer_near(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_err *err)
{
	struct domain_near *x = q->own;
	(void)t, (void)err;
	mm_dist_row(m, m->row[x->self], q->clip, x->d);
	return 0;
}

/* Whoever was dropped meanwhile is passed over. */
static const struct mm_model_entry *by_snapshot(const struct crowd *c, size_t i)
{
	const struct mm_inquiry *q = c->ctx;
	return mm_reg_by_id(c->d, q->s[i].id);
}

static int finish_near(struct mm_daemon *d, struct mm_inquiry *q, struct mm_err *err)
{
	struct domain_near *x = q->own;
	struct mm_near_filter f;
	struct crowd c = { .d = d,
		.at = by_snapshot,
		.ctx = q,
		.dist = x->d,
		.k = q->k,
		.self = x->self,
		.mean_bytes = q->mean_bytes };
	if (mm_near_filter_of(q->args, &f, err))
		return -1;
	if (!by_snapshot(&c, c.self))
		return mm_fail(err, MM_ENOENT, "the model has gone");
	q->body = near_json(&c, &f, err);
	mm_metric_head(q->body, NULL);
	return q->body ? 0 : -1;
}

static int near_domain(
	struct mm_daemon *d, const struct mm_place *p, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_inquiry *q = mm_inquiry_new(d, args, reply, true, err);
	if (!q)
		return -1;
	struct domain_near *x = q->own = mm_calloc(1, sizeof(*x), err);
	q->own_free = domain_near_free;
	q->answer = answer_near;
	q->finish = finish_near;
	if (x && (x->d = mm_calloc(q->k, sizeof(*x->d), err))) {
		for (size_t i = 0; i < q->k; i++)
			if (q->s[i].id == p->e->rec.id)
				x->self = i;
		return mm_inquiry_submit(d, q, reply, err);
	}
	mm_inquiry_free(q);
	return -1;
}

/* Are p's distances in memory, or made in no time? They are not while the first epoch, or after a start the triangle,
 * is being made. */
static bool at_hand(const struct mm_daemon *d, const struct mm_place *p)
{
	const struct mm_chart *m = d->map;
	size_t missing = 0;
	for (size_t i = 0; i < m->n; i++)
		missing += i != p->at && !(i > p->at ? m->member[i]->dist : p->dist);
	return missing * d->texts.n <= m->sync_max;
}

int mm_cmd_near(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const struct mm_place *p = mm_map_place_arg(d, args, "name", err);
	struct mm_near_filter f;
	enum mm_metric metric;
	size_t domain;
	if (!p || mm_metric_arg(args, &metric, err) || mm_near_filter_of(args, &f, err) ||
		mm_domain_arg(d, args, &domain, err) ||
		word_exists(d, "family", f.family, offsetof(struct mm_model_rec, family), err) ||
		word_exists(d, "type", f.dtype, offsetof(struct mm_model_rec, dtype), err))
		return -1;
	if (metric != MM_METRIC_KL)
		return mm_metric_near(d, p, args, metric, reply, err);
	return domain == SIZE_MAX && at_hand(d, p) ? near_all(d, p, &f, reply, err)
						   : near_domain(d, p, args, reply, err);
}

/* ---- dist ---- */

/* kl_ in both units, with standard error and 95 % interval. */
static void set_interval(json_t *o, const struct mm_interval *v, double mean_bytes)
{
	set_kl(o, v->value, mean_bytes);
	json_object_set_new(o, "stderr_bits_per_byte", json_real(mm_kl_bits_per_byte(v->stderr_, mean_bytes)));
	json_object_set_new(o, "interval_bits_per_byte",
		json_pack("[f, f]", mm_kl_bits_per_byte(v->lo, mean_bytes), mm_kl_bits_per_byte(v->hi, mean_bytes)));
	json_object_set_new(o, "stderr_nats_per_text", json_real(v->stderr_ / 2));
	json_object_set_new(o, "interval_nats_per_text", json_pack("[f, f]", v->lo / 2, v->hi / 2));
}

static size_t domain_texts(const struct mm_daemon *d, size_t domain)
{
	return d->map->domain_start[domain + 1] - d->map->domain_start[domain];
}

/* A domain of one text holds no distance: null, not 0, which would say "the same". */
static json_t *domain_json(const struct mm_daemon *d, const struct mm_interval *v, size_t domain)
{
	json_t *o = json_pack(
		"{s:s, s:I}", "domain", d->texts.domain_name[domain], "texts", (json_int_t)domain_texts(d, domain));
	if (o && domain_texts(d, domain) > 1)
		set_interval(o, v, mm_domain_bytes(d, domain));
	else if (o)
		json_object_set_new(o, "kl_bits_per_byte", json_null());
	return o;
}

int mm_cmd_dist(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const struct mm_chart *m = d->map;
	size_t n_dom = d->texts.n_domain, domain;
	const struct mm_place *a = mm_map_place_arg(d, args, "a", err),
			      *b = a ? mm_map_place_arg(d, args, "b", err) : NULL;
	enum mm_metric metric;
	if (!b || mm_metric_arg(args, &metric, err) || mm_domain_arg(d, args, &domain, err))
		return -1;
	if (metric != MM_METRIC_KL)
		return mm_metric_dist(d, a, b, args, metric, reply, err);
	struct mm_interval *v = mm_calloc(n_dom + 1, sizeof(*v), err);
	if (!v || mm_boot_parts(&m->boot, mm_map_vec(d, a->e), mm_map_vec(d, b->e), mm_map_clip(d), m->by_domain,
			  m->domain_start, n_dom, v, err)) {
		mm_free(v);
		return -1;
	}
	json_t *o = json_pack(
		"{s:s, s:s, s:I}", "a", a->e->rec.name, "b", b->e->rec.name, "resamples", (json_int_t)m->boot.n_draw);
	if (o && domain != SIZE_MAX) {
		set_interval(o, &v[domain], mm_domain_bytes(d, domain));
		json_object_set_new(o, "domain", json_string(d->texts.domain_name[domain]));
		json_object_set_new(o, "texts", json_integer((json_int_t)domain_texts(d, domain)));
	} else if (o) {
		json_t *list = json_array();
		set_interval(o, &v[n_dom], d->texts.mean_bytes);
		for (size_t c = 0; list && c < n_dom; c++)
			json_array_append_new(list, domain_json(d, &v[c], c));
		json_object_set_new(o, "domains", list);
	}
	mm_metric_head(o, NULL);
	mm_free(v);
	return mm_reply_body(reply, mm_with_epoch(d, o), err);
}
