/* cmd_map.c: what clients ask of the map: near, dist, map, refit, epochs, export.
 *
 * Every answer that holds a distance carries the epoch and its clip threshold, the only thing of an epoch that a
 * distance depends on. All of these read what is in memory (old epochs: the store); none waits for a refit. */
#include "daemon/map_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define NEAR_DEFAULT 10
/* Larger exports go through a temporary file that a worker writes, not through memory. */
#define EXPORT_IN_MEMORY ((size_t)16 << 20)

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

static const struct mm_place *place_of(
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

static void set_kl(const struct mm_daemon *d, json_t *o, double two_kl)
{
	json_object_set_new(o, "kl_bits_per_byte", json_real(mm_kl_bits_per_byte(two_kl, d->texts.mean_bytes)));
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
	set_kl(d, o, two_kl);
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

/* The `want` nearest live members of p, [want]; returns how many. A few more are looked at, for ties at the end. */
static size_t nearest_of(const struct mm_daemon *d, const struct mm_place *p, size_t want, double *dist,
	struct mm_near *near, struct hit *hit)
{
	const struct mm_chart *m = d->map;
	mm_map_distances(d, p, dist);
	for (size_t i = 0; i < m->n; i++) /* those that left the map are the farthest */
		if (!mm_map_live(d, m->member[i]))
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
	const struct mm_place *p = place_of(d, args, "name", err);
	if (!p || mm_json_get_i64(args, "k", 1, 1000000, &k, err))
		return -1;
	double *dist = mm_calloc(m->n, sizeof(*dist), err);
	struct mm_near *near = dist ? mm_calloc(m->n, sizeof(*near), err) : NULL;
	struct hit *hit = near ? mm_calloc(m->n, sizeof(*hit), err) : NULL;
	json_t *list = hit ? json_array() : NULL;
	size_t n = list ? nearest_of(d, p, (size_t)k, dist, near, hit) : 0;
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, neighbour_json(d, hit[i].p, hit[i].two_kl));
	mm_free(hit);
	mm_free(near);
	mm_free(dist);
	if (!list)
		return mm_fail(err, MM_ENOMEM, "out of memory");
	return body_of(reply, with_epoch(d, json_pack("{s:s, s:o}", "model", p->e->rec.name, "neighbours", list)), err);
}

int mm_cmd_dist(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const struct mm_place *a = place_of(d, args, "a", err), *b = a ? place_of(d, args, "b", err) : NULL;
	if (!b)
		return -1;
	json_t *o = json_pack("{s:s, s:s}", "a", a->e->rec.name, "b", b->e->rec.name);
	if (o)
		set_kl(d, o, mm_dist_pair(mm_map_vec(d, a->e), mm_map_vec(d, b->e), d->texts.n, mm_map_clip(d)));
	return body_of(reply, with_epoch(d, o), err);
}

/* ---- map, epochs, refit ---- */

static int old_map(struct mm_daemon *d, uint64_t epoch, struct mm_reply *reply, struct mm_err *err)
{
	uint64_t *ids;
	double *c;
	size_t k;
	json_t *info, *list = json_array();
	if (mm_map_epoch_points(d, epoch, &ids, &c, &k, &info, err)) {
		json_decref(list);
		return -1;
	}
	for (size_t i = 0; list && i < k; i++) {
		const struct mm_model_entry *e = mm_reg_by_id(d, ids[i]);
		if (e)
			json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:f}", "name", e->rec.name, "x",
							    c[3 * i], "y", c[3 * i + 1], "z", c[3 * i + 2]));
	}
	mm_free(ids);
	mm_free(c);
	if (list)
		json_object_set_new(info, "points", list);
	json_object_set_new(info, "unit", json_string("sqrt(nats per text)"));
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
	if (epoch_arg(d, args, &epoch, err))
		return -1;
	if (epoch != (int64_t)mm_map_epoch(d))
		return old_map(d, (uint64_t)epoch, reply, err);
	json_t *o = m->epoch.id ? json_deep_copy(m->epoch.info) : json_pack("{s:i, s:s}", "epoch", 0, "method", "pca");
	json_t *list = json_array();
	for (size_t i = 0; list && i < m->n; i++)
		if (m->member[i]->placed && mm_map_live(d, m->member[i]))
			json_array_append_new(list, mm_map_point_json(d, m->member[i]));
	if (o) {
		json_object_set_new(o, "points", list);
		json_object_set_new(o, "unit", json_string("sqrt(nats per text)"));
	} else
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

/* ---- export ---- */

static void csv_field(struct mm_buf *b, const char *s)
{
	if (!strpbrk(s, ",\"\r\n")) {
		mm_buf_str(b, s);
		return;
	}
	mm_buf_u8(b, '"');
	for (; *s; s++) {
		if (*s == '"')
			mm_buf_u8(b, '"');
		mm_buf_u8(b, (uint8_t)*s);
	}
	mm_buf_u8(b, '"');
}

static int export_coords(struct mm_daemon *d, int64_t epoch, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_reply map = { .fd = -1 };
	json_t *arg = json_pack("{s:I}", "epoch", (json_int_t)epoch), *p;
	size_t i;
	int rc = mm_cmd_map(d, epoch ? arg : NULL, &map, err);
	json_decref(arg);
	if (rc)
		return -1;
	mm_buf_str(&reply->data, "name,x,y,z\n");
	json_array_foreach (json_object_get(map.body, "points"), i, p) {
		csv_field(&reply->data, json_string_value(json_object_get(p, "name")));
		mm_buf_printf(&reply->data, ",%.9g,%.9g,%.9g\n", json_real_value(json_object_get(p, "x")),
			json_real_value(json_object_get(p, "y")), json_real_value(json_object_get(p, "z")));
	}
	json_decref(map.body);
	reply->bulk = true;
	return body_of(reply, json_pack("{s:s, s:I}", "what", "coords", "epoch", (json_int_t)epoch), err);
}

/* Live members by id: the order of `names` and of the rows of `vectors`. */
static int cmp_id(const void *a, const void *b)
{
	const struct mm_snap *x = a, *y = b;
	return (x->id > y->id) - (x->id < y->id);
}

static json_t *names_of(const struct mm_daemon *d, const struct mm_snap *s, size_t k)
{
	json_t *list = json_array();
	for (size_t i = 0; list && i < k; i++)
		json_array_append_new(list, json_string(mm_reg_by_id(d, s[i].id)->rec.name));
	return list;
}

struct exporting { /* a large export on its way through the worker */
	uint64_t token;
	struct mm_snap *s;
	size_t k, n;
	json_t *body;
	int fd;
	struct mm_err err;
	bool failed;
};

static void export_free(struct exporting *x)
{
	if (x->fd >= 0)
		close(x->fd);
	json_decref(x->body);
	mm_free(x->s);
	mm_free(x);
}

static int write_all(int fd, const void *data, size_t len, struct mm_err *err)
{
	const char *p = data;
	while (len > 0) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return mm_fail_errno(err, "export");
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static void export_run(void *ctx, const _Atomic bool *cancel)
{
	struct exporting *x = ctx;
	struct mm_buf head = { 0 };
	mm_npy_header(&head, "<f4", 2, (size_t[2]){ x->k, x->n });
	x->failed = mm_buf_check(&head, &x->err) || write_all(x->fd, head.data, head.len, &x->err);
	for (size_t i = 0; i < x->k && !x->failed && !*cancel; i++)
		x->failed = write_all(x->fd, x->s[i].vec, x->n * sizeof(float), &x->err) != 0;
	mm_buf_fini(&head);
}

static void export_done(struct mm_daemon *d, void *ctx, bool cancelled)
{
	struct exporting *x = ctx;
	struct mm_reply reply = { .fd = -1 };
	if (d->map)
		mm_map_unpin(d);
	if (cancelled)
		x->failed = mm_fail(&x->err, MM_ECANCELLED, "the daemon is stopping") != 0;
	if (!x->failed) {
		reply = (struct mm_reply){ .body = x->body, .bulk = true, .fd = x->fd };
		x->body = NULL;
		x->fd = -1;
	}
	if (d->ctl)
		mm_ctl_finish(d, x->token, &reply, x->failed ? &x->err : NULL);
	export_free(x);
}

/* Takes s. */
static int export_large(
	struct mm_daemon *d, struct mm_snap *s, size_t k, json_t *body, struct mm_reply *reply, struct mm_err *err)
{
	struct exporting *x = mm_calloc(1, sizeof(*x), err);
	if (!x) {
		mm_free(s);
		json_decref(body);
		return -1;
	}
	*x = (struct exporting){ .token = reply->token, .s = s, .k = k, .n = d->texts.n, .body = body };
	x->fd = open(d->cfg.state_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct mm_work work = { export_run, export_done, x };
	if (x->fd < 0)
		mm_fail_errno(err, "export: temporary file in %s", d->cfg.state_dir);
	if (x->fd < 0 || mm_worker_submit(d, &work, err)) {
		export_free(x);
		return -1;
	}
	mm_map_pin(d);
	reply->deferred = true;
	return 0;
}

static int export_vectors(struct mm_daemon *d, bool names_only, struct mm_reply *reply, struct mm_err *err)
{
	size_t k, k_fit, n = d->texts.n;
	struct mm_snap *s = mm_map_snapshot(d, false, &k, &k_fit, err);
	if (!s)
		return -1;
	qsort(s, k, sizeof(*s), cmp_id);
	/* The names go with the vectors too: a model may arrive between two requests. */
	json_t *body = json_pack("{s:s, s:I, s:I, s:o}", "what", names_only ? "names" : "vectors", "models",
		(json_int_t)k, "texts", (json_int_t)n, "names", names_of(d, s, k));
	if (!body) {
		mm_free(s);
		return mm_fail(err, MM_ENOMEM, "out of memory");
	}
	if (!names_only && k * n * sizeof(float) > EXPORT_IN_MEMORY)
		return export_large(d, s, k, body, reply, err);
	if (!names_only)
		mm_npy_header(&reply->data, "<f4", 2, (size_t[2]){ k, n });
	for (size_t i = 0; i < k; i++) {
		if (names_only)
			mm_buf_printf(&reply->data, "%s\n", mm_reg_by_id(d, s[i].id)->rec.name);
		else
			mm_buf_put(&reply->data, s[i].vec, n * sizeof(float));
	}
	mm_free(s);
	reply->bulk = true;
	return body_of(reply, body, err);
}

int mm_cmd_export(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const char *what = json_string_value(json_object_get(args, "what"));
	int64_t epoch;
	if (epoch_arg(d, args, &epoch, err))
		return -1;
	int rc = 0;
	if (what && strcmp(what, "coords") == 0)
		rc = export_coords(d, epoch, reply, err);
	else if (what && (strcmp(what, "vectors") == 0 || strcmp(what, "names") == 0))
		rc = export_vectors(d, what[0] == 'n', reply, err);
	else
		return mm_fail(err, MM_EINVAL, "export: what is vectors, names or coords");
	return rc || (!reply->deferred && mm_buf_check(&reply->data, err)) ? -1 : 0;
}
