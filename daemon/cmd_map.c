/* cmd_map.c: what clients ask of the map: map, refit, epochs.
 *
 * Every answer that holds a distance carries the epoch and its clip threshold, the only thing of an epoch that a
 * distance depends on. All of these read what is in memory (old epochs: the store); none waits for a refit. */
#include "daemon/metric.h"
#include "daemon/slices.h"

#include <math.h>
#include <string.h>

/* {"epoch", "clip"}; no threshold (before the first epoch, or clip: 0): null. */
json_t *mm_with_epoch(const struct mm_daemon *d, json_t *o)
{
	double clip = mm_map_clip(d);
	if (!o)
		return NULL;
	json_object_set_new(o, "epoch", json_integer((json_int_t)mm_map_epoch(d)));
	json_object_set_new(o, "clip", isfinite(clip) ? json_real(clip) : json_null());
	return o;
}

int mm_reply_body(struct mm_reply *reply, json_t *o, struct mm_err *err)
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

/* ---- map, epochs, refit ---- */

/* -1: the projection; else a layout. The configuration says what is shown when nothing is asked for. */
static int method_arg(const struct mm_daemon *d, const json_t *args, int *method, struct mm_err *err)
{
	static const char *const methods[] = {
		[MM_METHOD_PCA] = "pca", [MM_METHOD_MDS] = "mds", [MM_METHOD_TSNE] = "tsne"
	};
	const char *name = methods[d->cfg.map.layout];
	int64_t dim = 2;
	bool any = !json_object_get(args, "method");
	*method = -1;
	if (mm_json_get_str(args, "method", &name, err) || mm_json_get_i64(args, "dim", 2, 3, &dim, err))
		return -1;
	if (strcmp(name, "pca") == 0)
		return 0;
	for (int w = 0; w < MM_LAYOUT_COUNT; w++)
		if (strcmp(name, mm_layout_kinds[w].method) == 0 && (int64_t)mm_layout_kinds[w].dims == dim)
			*method = w;
	if (*method < 0)
		return mm_fail(err, MM_EINVAL, "there is no map method %s; there are pca, mds and tsne", name);
	if (any && !(d->map->epoch.has_alt >> *method & 1))
		*method = -1; /* nobody asked: show what there is */
	return 0;
}

static int no_layout(int method, uint64_t epoch, const json_t *info, struct mm_err *err)
{
	if (json_integer_value(json_object_get(info, "models_fit")) < 2)
		return mm_fail(err, MM_ENOENT, "map epoch %llu was made of one model: there is nothing to lay out",
			(unsigned long long)epoch);
	return mm_fail(err, MM_ENOENT,
		"map epoch %llu has no layout %s of %zu dimensions: set map.layouts in the configuration, then "
		"modelmap "
		"refit",
		(unsigned long long)epoch, mm_layout_kinds[method].method, mm_layout_kinds[method].dims);
}

void mm_map_set_method(json_t *o, int method)
{
	if (!o)
		return;
	bool tsne = method >= 0 && mm_layout_kinds[method].tsne;
	json_object_set_new(o, "method", json_string(method < 0 ? "pca" : mm_layout_kinds[method].method));
	json_object_set_new(
		o, "dims", json_integer(method < 0 ? MM_MAP_DIMS : (json_int_t)mm_layout_kinds[method].dims));
	/* t-SNE keeps who is near whom; its lengths are no distances */
	json_object_set_new(o, "unit", json_string(tsne ? "none" : "sqrt(nats per text)"));
	json_t *q = json_object_get(json_object_get(o, "layouts"), method < 0 ? "pca" : mm_layout_kinds[method].name);
	if (q)
		json_object_set(o, "quality", q);
}

static int old_map(struct mm_daemon *d, uint64_t epoch, int method, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_points p;
	json_t *info, *list;
	if (mm_map_epoch_points(d, epoch, &p, &info, err))
		return -1;
	if (method >= 0 && !p.alt[method]) {
		int rc = no_layout(method, epoch, info, err);
		mm_points_fini(&p);
		json_decref(info);
		return rc;
	}
	list = json_array();
	for (size_t i = 0; list && i < p.k; i++) {
		const struct mm_model_entry *e = mm_reg_by_id(d, p.ids[i]);
		size_t dims = method < 0 ? MM_MAP_DIMS : mm_layout_kinds[method].dims;
		const double *c = (method < 0 ? p.coord : p.alt[method]) + dims * i;
		if (e)
			json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:f}", "name", e->rec.name, "x", c[0],
							    "y", c[1], "z", dims > 2 ? c[2] : 0));
	}
	mm_points_fini(&p);
	mm_map_set_method(info, method);
	if (list)
		json_object_set_new(info, "points", list);
	return mm_reply_body(reply, info, err);
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

static bool next_point(struct mm_daemon *d, const struct mm_long_list *l, size_t *at, json_t **item)
{
	const struct mm_chart *m = d->map;
	if (*at >= m->n)
		return false;
	const struct mm_place *p = m->member[(*at)++];
	if (p->placed && mm_map_live(d, p) && (l->method < 0 || p->has_alt >> l->method & 1))
		*item = mm_map_point_json(d, p, l->method);
	return true;
}

static json_t *map_head(struct mm_daemon *d, const struct mm_long_list *l)
{
	const struct mm_chart *m = d->map;
	json_t *o = m->epoch.id ? json_deep_copy(m->epoch.info) : json_pack("{s:i}", "epoch", 0);
	mm_metric_head(o, NULL);
	mm_map_set_method(o, l->method);
	return mm_with_epoch(d, o);
}

static uint64_t map_stamp(const struct mm_daemon *d)
{
	return d->map->n_order;
}

int mm_cmd_map(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const struct mm_chart *m = d->map;
	int64_t epoch;
	int method;
	enum mm_metric metric;
	if (epoch_arg(d, args, &epoch, err) || mm_metric_arg(args, &metric, err) || method_arg(d, args, &method, err))
		return -1;
	if (json_object_get(args, "domain") || metric != MM_METRIC_KL) {
		if (epoch != (int64_t)mm_map_epoch(d))
			return mm_fail(err, MM_EINVAL,
				"the map of a domain, or by another metric, is made from the models of today: no "
				"epoch with it");
		return mm_map_domain(d, args, method, reply, err);
	}
	if (epoch != (int64_t)mm_map_epoch(d))
		return old_map(d, (uint64_t)epoch, method, reply, err);
	if (method >= 0 && m->epoch.id && !(m->epoch.has_alt >> method & 1))
		return no_layout(method, m->epoch.id, m->epoch.info, err);
	struct mm_long_list list = { "points", next_point, map_head, map_stamp, method };
	return mm_slices_answer(d, &list, m->n, reply, err);
}

int mm_cmd_epochs(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	(void)args;
	return mm_reply_body(reply,
		json_pack("{s:I, s:O, s:b}", "epoch", (json_int_t)mm_map_epoch(d), "epochs", d->map->epochs,
			"refitting", d->map->refit_running),
		err);
}

int mm_cmd_refit(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	(void)args, (void)err;
	mm_map_hold(d, 0);
	reply->deferred = true;
	mm_map_refit(d, reply->token);
	return 0;
}
