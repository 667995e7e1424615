/* cmd_export.c: vectors, names and coordinates as bulk data.
 *
 * Small exports are put together in memory on the loop; large ones go through a temporary file without a name that a
 * worker writes from a snapshot of the vectors, so that neither the loop nor the memory feels them. */
#include "daemon/map_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT_IN_MEMORY ((size_t)16 << 20)

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

static int export_coords(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_reply map = { .fd = -1 };
	json_t *arg = json_object(), *p;
	size_t i;
	json_object_set(arg, "epoch", json_object_get(args, "epoch"));
	json_object_set(arg, "method", json_object_get(args, "method"));
	json_object_set(arg, "dim", json_object_get(args, "dim"));
	int rc = mm_cmd_map(d, arg, &map, err);
	json_decref(arg);
	if (rc)
		return -1;
	mm_buf_str(&reply->data, "name,x,y,z\n");
	json_array_foreach (json_object_get(map.body, "points"), i, p) {
		csv_field(&reply->data, json_string_value(json_object_get(p, "name")));
		mm_buf_printf(&reply->data, ",%.9g,%.9g,%.9g\n", json_number_value(json_object_get(p, "x")),
			json_number_value(json_object_get(p, "y")), json_number_value(json_object_get(p, "z")));
	}
	reply->bulk = true;
	reply->body = json_pack("{s:s, s:O, s:O}", "what", "coords", "epoch", json_object_get(map.body, "epoch"),
		"method", json_object_get(map.body, "method"));
	json_decref(map.body);
	return reply->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
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
	struct mm_snap *s = mm_map_snapshot(d, MM_SNAP_MEMBERS, &k, &k_fit, err);
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
	reply->body = body;
	return 0;
}

int mm_cmd_export(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const char *what = json_string_value(json_object_get(args, "what"));
	int rc;
	if (what && strcmp(what, "coords") == 0)
		rc = export_coords(d, args, reply, err);
	else if (what && (strcmp(what, "vectors") == 0 || strcmp(what, "names") == 0))
		rc = export_vectors(d, what[0] == 'n', reply, err);
	else
		return mm_fail(err, MM_EINVAL, "export: what is vectors, names or coords");
	return rc || (!reply->deferred && mm_buf_check(&reply->data, err)) ? -1 : 0;
}
