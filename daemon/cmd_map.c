/* cmd_map.c: what clients ask of the map: near, dist, map, refit, epochs.
 *
 * Every answer that holds a distance carries the epoch and its clip threshold, the only thing of an epoch that a
 * distance depends on. All of these read what is in memory (old epochs: the store); none waits for a refit. */
#include "daemon/map_priv.h"

#include <math.h>
#include <string.h>

#define NEAR_DEFAULT 10

/* {"epoch", "clip"}; no threshold (before the first epoch, or clip: 0): null. */
static json_t *with_epoch(const struct mm_daemon *d, json_t *o)
{
	double clip = mm_map_clip(d);
	if (!o)
		return NULL;
	json_object_set_new(o, "epoch", json_integer((json_int_t)mm_map_epoch(d)));
	json_object_set_new(o, "clip", isfinite(clip) ? json_real(clip) : json_null());
	return o;
}

static int body_of(struct mm_reply *reply, json_t *o, struct mm_err *err)
{
	reply->body = o;
	return o ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
}

const struct mm_place *mm_map_place_arg(
	const struct mm_daemon *d, const json_t *args, const char *key, struct mm_err *err)
{
	const char *name = json_string_value(json_object_get(args, key));
	const struct mm_model_entry *e = name ? mm_reg_resolve(d, name, err) : NULL;
	if (!name)
		mm_fail(err, MM_EINVAL, "argument %s is missing", key);
	if (!e)
		return NULL;
	const struct mm_place *p = mm_map_member(d, e);
	if (!p)
		mm_fail(err, MM_EINVAL, "%s is not on the map: %s", e->rec.name,
			e->not_finite	? "its log-likelihoods are not finite"
			: e->rec.reason ? e->rec.reason
					: "it has not been scored yet");
	return p;
}

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

static json_t *neighbour_json(const struct mm_daemon *d, const struct mm_place *p, double two_kl)
{
	const struct mm_model_rec *r = &p->e->rec;
	json_t *o = json_pack("{s:s}", "name", r->name);
	if (!o)
		return NULL;
	set_kl(o, two_kl, d->texts.mean_bytes);
	set_str(o, "family", r->family);
	set_str(o, "dtype", r->dtype);
	json_object_set_new(o, "params", json_integer((json_int_t)r->params));
	json_object_set_new(o, "bytes", json_integer((json_int_t)r->bytes));
	if (r->gone)
		json_object_set_new(o, "gone", json_true());
	return o;
}

/* Copies lie at the same distance: by name, so that the order of arrival does not show. */
struct hit {
	const struct mm_place *p;
	double two_kl;
};

static int cmp_hit(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;
	if (x->two_kl != y->two_kl)
		return x->two_kl < y->two_kl ? -1 : 1;
	return strcmp(x->p->e->rec.name, y->p->e->rec.name);
}

/* What a neighbour must be besides near. */
struct filter {
	const char *family;
	double max_params;
	bool smaller;
};

static int filter_of(const json_t *args, struct filter *f, struct mm_err *err)
{
	*f = (struct filter){ .max_params = INFINITY };
	return mm_json_get_str(args, "family", &f->family, err) ||
			       mm_json_get_double(args, "max_params", &f->max_params, err) ||
			       mm_json_get_bool(args, "smaller", &f->smaller, err)
		       ? -1
		       : 0;
}

static bool passes(const struct filter *f, const struct mm_model_rec *r, const struct mm_model_rec *of)
{
	return (!f->family || (r->family && strcmp(r->family, f->family) == 0)) && (double)r->params <= f->max_params &&
	       (!f->smaller || r->params < of->params);
}

/* The `want` nearest live members of p, [want]; returns how many. A few more are looked at, for ties at the end. */
static size_t nearest_of(const struct mm_daemon *d, const struct mm_place *p, const struct filter *f, size_t want,
	double *dist, struct mm_near *near, struct hit *hit)
{
	const struct mm_chart *m = d->map;
	mm_map_distances(d, p, dist);
	for (size_t i = 0; i < m->n; i++) /* those that are not asked for, or left the map, are the farthest */
		if (!mm_map_live(d, m->member[i]) || !passes(f, &m->member[i]->e->rec, &p->e->rec))
			dist[i] = INFINITY;
	size_t n = mm_knn_row(dist, m->n, p->at, MM_MIN(want + 16, m->n), near), k = 0;
	for (size_t i = 0; i < n; i++)
		if (isfinite(near[i].d))
			hit[k++] = (struct hit){ m->member[near[i].i], dist[near[i].i] };
	qsort(hit, k, sizeof(*hit), cmp_hit);
	return MM_MIN(k, want);
}

int mm_cmd_near(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const struct mm_chart *m = d->map;
	int64_t k = NEAR_DEFAULT;
	const struct mm_place *p = mm_map_place_arg(d, args, "name", err);
	struct filter f;
	if (!p || mm_json_get_i64(args, "k", 1, 1000000, &k, err) || filter_of(args, &f, err))
		return -1;
	double *dist = mm_calloc(m->n, sizeof(*dist), err);
	struct mm_near *near = dist ? mm_calloc(m->n, sizeof(*near), err) : NULL;
	struct hit *hit = near ? mm_calloc(m->n, sizeof(*hit), err) : NULL;
	json_t *list = hit ? json_array() : NULL;
	size_t n = list ? nearest_of(d, p, &f, (size_t)k, dist, near, hit) : 0;
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, neighbour_json(d, hit[i].p, hit[i].two_kl));
	mm_free(hit);
	mm_free(near);
	mm_free(dist);
	if (!list)
		return mm_fail(err, MM_ENOMEM, "out of memory");
	return body_of(reply, with_epoch(d, json_pack("{s:s, s:o}", "model", p->e->rec.name, "neighbours", list)), err);
}

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

static double mean_bytes_of(const struct mm_daemon *d, size_t domain)
{
	const struct mm_chart *m = d->map;
	size_t from = m->domain_start[domain], to = m->domain_start[domain + 1];
	double sum = 0;
	for (size_t s = from; s < to; s++)
		sum += (double)d->texts.len[m->by_domain[s]];
	return to > from ? sum / (double)(to - from) : 0;
}

static json_t *domains_json(const struct mm_daemon *d, const struct mm_interval *v)
{
	const struct mm_chart *m = d->map;
	json_t *list = json_array();
	for (size_t c = 0; list && c < d->texts.n_domain; c++) {
		json_t *o = json_pack("{s:s, s:I}", "domain", d->texts.domain_name[c], "texts",
			(json_int_t)(m->domain_start[c + 1] - m->domain_start[c]));
		if (o)
			set_interval(o, &v[c], mean_bytes_of(d, c));
		json_array_append_new(list, o);
	}
	return list;
}

int mm_cmd_dist(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const struct mm_chart *m = d->map;
	size_t n_dom = d->texts.n_domain;
	const struct mm_place *a = mm_map_place_arg(d, args, "a", err),
			      *b = a ? mm_map_place_arg(d, args, "b", err) : NULL;
	struct mm_interval *v = b ? mm_calloc(n_dom + 1, sizeof(*v), err) : NULL;
	if (!v || mm_boot_parts(&m->boot, mm_map_vec(d, a->e), mm_map_vec(d, b->e), mm_map_clip(d), m->by_domain,
			  m->domain_start, n_dom, v, err)) {
		mm_free(v);
		return -1;
	}
	json_t *o = json_pack(
		"{s:s, s:s, s:I}", "a", a->e->rec.name, "b", b->e->rec.name, "resamples", (json_int_t)m->boot.n_draw);
	if (o) {
		set_interval(o, &v[n_dom], d->texts.mean_bytes);
		json_object_set_new(o, "domains", domains_json(d, v));
	}
	mm_free(v);
	return body_of(reply, with_epoch(d, o), err);
}

/* ---- map, epochs, refit ---- */

/* -1: the projection; else a layout. */
static int method_arg(const json_t *args, int *method, struct mm_err *err)
{
	const char *name = NULL;
	*method = -1;
	if (mm_json_get_str(args, "method", &name, err))
		return -1;
	if (!name || strcmp(name, "pca") == 0)
		return 0;
	for (int w = 0; w < MM_LAYOUT_COUNT; w++)
		if (strcmp(name, mm_layout_name[w]) == 0)
			*method = w;
	return *method >= 0 ? 0
			    : mm_fail(err, MM_EINVAL, "there is no map method %s; there are pca, mds and tsne", name);
}

static int no_layout(int method, uint64_t epoch, struct mm_err *err)
{
	return mm_fail(
		err, MM_ENOENT, "map epoch %llu has no layout %s", (unsigned long long)epoch, mm_layout_name[method]);
}

static void set_method(json_t *o, int method)
{
	if (!o)
		return;
	json_object_set_new(o, "method", json_string(method < 0 ? "pca" : mm_layout_name[method]));
	/* t-SNE keeps who is near whom; its lengths are no distances */
	json_object_set_new(o, "unit", json_string(method == MM_LAYOUT_TSNE ? "none" : "sqrt(nats per text)"));
}

static int old_map(struct mm_daemon *d, uint64_t epoch, int method, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_points p;
	json_t *info, *list;
	if (mm_map_epoch_points(d, epoch, &p, &info, err))
		return -1;
	if (method >= 0 && !p.alt[method]) {
		mm_points_fini(&p);
		json_decref(info);
		return no_layout(method, epoch, err);
	}
	list = json_array();
	for (size_t i = 0; list && i < p.k; i++) {
		const struct mm_model_entry *e = mm_reg_by_id(d, p.ids[i]);
		const double *c = method < 0 ? p.coord + 3 * i : p.alt[method] + 2 * i;
		if (e)
			json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:f}", "name", e->rec.name, "x", c[0],
							    "y", c[1], "z", method < 0 ? c[2] : 0));
	}
	mm_points_fini(&p);
	set_method(info, method);
	if (list)
		json_object_set_new(info, "points", list);
	return body_of(reply, info, err);
}

static int epoch_arg(const struct mm_daemon *d, const json_t *args, int64_t *epoch, struct mm_err *err)
{
	*epoch = (int64_t)mm_map_epoch(d);
	if (mm_json_get_i64(args, "epoch", 1, INT64_MAX, epoch, err))
		return -1;
	if (*epoch > (int64_t)mm_map_epoch(d))
		return mm_fail(err, MM_ENOENT, "there is no map epoch %lld; the current one is %llu", (long long)*epoch,
			(unsigned long long)mm_map_epoch(d));
	return 0;
}

int mm_cmd_map(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const struct mm_chart *m = d->map;
	int64_t epoch;
	int method;
	if (epoch_arg(d, args, &epoch, err) || method_arg(args, &method, err))
		return -1;
	if (epoch != (int64_t)mm_map_epoch(d))
		return old_map(d, (uint64_t)epoch, method, reply, err);
	if (method >= 0 && m->epoch.id && !m->epoch.has_alt)
		return no_layout(method, m->epoch.id, err);
	json_t *o = m->epoch.id ? json_deep_copy(m->epoch.info) : json_pack("{s:i}", "epoch", 0);
	json_t *list = json_array();
	for (size_t i = 0; list && i < m->n; i++)
		if (m->member[i]->placed && mm_map_live(d, m->member[i]) && (method < 0 || m->member[i]->has_alt))
			json_array_append_new(list, mm_map_point_json(d, m->member[i], method));
	set_method(o, method);
	if (o)
		json_object_set_new(o, "points", list);
	else
		json_decref(list);
	return body_of(reply, with_epoch(d, o), err);
}

int mm_cmd_epochs(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	(void)args;
	return body_of(reply,
		json_pack("{s:I, s:O, s:b}", "epoch", (json_int_t)mm_map_epoch(d), "epochs", d->map->epochs,
			"refitting", d->map->refit_running),
		err);
}

int mm_cmd_refit(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	(void)args, (void)err;
	reply->deferred = true;
	mm_map_refit(d, reply->token);
	return 0;
}
