/* cmd_admin.c - refit, epochs, backup, export, keygen, and `call` for everything else that the protocol has. */
#include "client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files: written beside their place and renamed: a broken one is never there, an old one stays until then. A
 * device or a pipe is written into. ---- */

struct part {
	char *tmp; /* NULL: written into path itself */
	const char *path;
	int fd;
};

static int part_open(struct part *p, const char *path, bool force, unsigned mode, struct mm_err *err)
{
	struct stat st;
	*p = (struct part){ .path = path, .fd = -1 };
	if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
		p->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		return p->fd < 0 ? mm_fail_errno(err, "cannot write %s", path) : 0;
	}
	if (!force && !lstat(path, &st))
		return mm_fail(err, MM_ECONFLICT, "%s is there already; --force replaces it", path);
	if (!(p->tmp = mm_asprintf(err, "%s.part-%ld", path, (long)getpid())))
		return -1;
	p->fd = open(p->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	return p->fd < 0 ? mm_fail_errno(err, "cannot create %s", p->tmp) : 0;
}

static int part_write(void *ctx, const void *data, size_t n, struct mm_err *err)
{
	struct part *p = ctx;
	for (const char *at = data; n;) {
		ssize_t k = write(p->fd, at, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return mm_fail_errno(err, "cannot write %s", p->tmp ? p->tmp : p->path);
		at += k;
		n -= (size_t)k;
	}
	return 0;
}

static int part_close(struct part *p, bool good, struct mm_err *err)
{
	int rc = good ? 0 : -1;
	if (p->fd >= 0) {
		if (!rc && p->tmp && fsync(p->fd))
			rc = mm_fail_errno(err, "cannot write %s", p->tmp);
		close(p->fd);
		if (!rc && p->tmp && rename(p->tmp, p->path))
			rc = mm_fail_errno(err, "cannot rename %s to %s", p->tmp, p->path);
		if (rc && p->tmp)
			unlink(p->tmp);
	}
	mm_free(p->tmp);
	*p = (struct part){ .fd = -1 };
	return rc;
}

/* ---- refit, epochs ---- */

/* Rounding errors of coordinates are no movement. */
static double visible(double moved)
{
	return moved < 1e-6 ? 0 : moved;
}

int mm_run_refit(struct mm_cli *c, struct mm_err *err)
{
	json_t *b;
	if (mm_cli_ask(c, "refit", NULL, &b, err))
		return -1;
	if (!b)
		return 0;
	fprintf(c->out, "The map is in epoch %lld now", (long long)mm_int(b, "epoch", 0));
	const json_t *moved = json_object_get(b, "displacement");
	if (mm_int(moved, "models", 0) > 0)
		fprintf(c->out, "; of %lld models half moved by at most %.3g, 95 %% by at most %.3g",
			(long long)mm_int(moved, "models", 0), visible(mm_num(moved, "p50", 0)),
			visible(mm_num(moved, "p95", 0)));
	fputs(".\n", c->out);
	json_decref(b);
	return 0;
}

/* How well each layout of an epoch keeps what it is a picture of. */
static int qualities(struct mm_cli *c, const json_t *layouts, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "LAYOUT", false, 0, 0 }, { "TRUSTWORTHINESS", true, 0, 0 },
		{ "CONTINUITY", true, 0, 0 }, { "RECALL@10", true, 0, 0 }, { "STRESS", true, 1, 0 },
		{ "KL NATS", true, 1, 0 } };
	static const char *const keys[] = { "trustworthiness", "continuity", "knn_recall", "stress", "kl" };
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	const char *name;
	json_t *o;
	if (!t)
		return -1;
	json_object_foreach ((json_t *)layouts, name, o) {
		mm_table_put(t, MM_BOLD, "%s", name);
		for (size_t i = 0; i < MM_COUNT(keys); i++) {
			double v = mm_num(o, keys[i], NAN);
			if (isfinite(v))
				mm_table_put(t, MM_PLAIN, "%.3f", v);
			else
				mm_table_put(t, MM_PLAIN, "%s", "");
		}
	}
	int rc = mm_table_rows(t) ? mm_table_print(t, &c->term, c->out, err) : 0;
	mm_table_free(t);
	return rc;
}

int mm_run_epochs(struct mm_cli *c, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "EPOCH", true, 0, 0 }, { "MADE", false, 0, 0 },
		{ "METHOD", false, 0, 0 }, { "MODELS", true, 0, 0 }, { "AXES %", false, 1, 0 },
		{ "CLIP NATS", true, 2, 0 }, { "MOVED P50", true, 3, 0 }, { "P95", true, 4, 0 } };
	json_t *b, *e;
	const json_t *layouts = NULL;
	size_t i;
	char when[32], cell[MM_CELL];
	if (mm_cli_ask(c, "epochs", NULL, &b, err))
		return -1;
	if (!b)
		return 0;
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t) {
		json_decref(b);
		return -1;
	}
	json_array_foreach (json_object_get(b, "epochs"), i, e) {
		const json_t *share = json_object_get(e, "explained");
		bool current = mm_int(e, "epoch", -1) == mm_int(b, "epoch", 0);
		mm_table_put(t, current ? MM_BOLD : MM_PLAIN, "%lld", (long long)mm_int(e, "epoch", 0));
		mm_format_time(mm_int(e, "made_at", 0), when, sizeof when);
		mm_table_put(t, MM_PLAIN, "%s", mm_int(e, "made_at", 0) ? when : "");
		mm_table_put(t, MM_PLAIN, "%s", mm_str(e, "method"));
		mm_table_put(t, MM_PLAIN, "%lld", (long long)mm_int(e, "models", 0));
		if (json_array_size(share) > 1)
			mm_table_put(t, MM_PLAIN, "%.0f + %.0f", 100 * json_number_value(json_array_get(share, 0)),
				100 * json_number_value(json_array_get(share, 1)));
		else
			mm_table_put(t, MM_PLAIN, "%s", "");
		mm_table_put(t, MM_PLAIN, "%s", mm_fmt_num(json_object_get(e, "clip"), cell));
		mm_table_put(t, MM_PLAIN, "%.3g", visible(mm_num(json_object_get(e, "displacement"), "p50", 0)));
		mm_table_put(t, MM_PLAIN, "%.3g", visible(mm_num(json_object_get(e, "displacement"), "p95", 0)));
		if (current)
			layouts = json_object_get(e, "layouts");
	}
	int rc = 0;
	if (mm_table_rows(t))
		rc = mm_table_print(t, &c->term, c->out, err);
	else
		fputs("There is no map yet.\n", c->out);
	mm_table_free(t);
	if (!rc && json_object_size(layouts)) {
		fprintf(c->out, "\nLayouts of epoch %lld (neighbours: 10; stress: share of the distances missed):\n",
			(long long)mm_int(b, "epoch", 0));
		rc = qualities(c, layouts, err);
	}
	json_decref(b);
	return rc;
}

/* ---- backup, export ---- */

static void show_progress(void *ctx, uint64_t done, uint64_t total)
{
	(void)ctx;
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%3.0f%%%s", 100.0 * (double)done / (double)total, done == total ? "\r    \r" : "");
}

static void told(struct mm_cli *c, json_t *summary, const char *what, const char *path, uint64_t bytes)
{
	char size[32];
	mm_format_size(bytes, size, sizeof size);
	json_object_set_new(summary, path, json_pack("{s:s, s:I}", "what", what, "bytes", (json_int_t)bytes));
	if (!c->o.json)
		mm_say(c, "%s: %s, %s bytes", path, what, size);
}

/* Fetches what `args` asks for into a file; *keep (may be NULL) gets the reply. */
static int fetch_file(struct mm_cli *c, const char *cmd, json_t *args, const char *path, unsigned mode, json_t *summary,
	json_t **keep, struct mm_err *err)
{
	struct part p;
	json_t *b = NULL;
	/* The file first: what cannot be written need not be asked for. */
	int rc = part_open(&p, path, true, mode, err);
	if (rc)
		json_decref(args);
	else
		rc = mm_cli_call(c, cmd, args, &b, err);
	if (!rc)
		rc = mm_conn_fetch(c->conn, b, part_write, &p, show_progress, err);
	rc = part_close(&p, !rc, err);
	if (!rc)
		told(c, summary, *mm_str(b, "what") ? mm_str(b, "what") : cmd, path,
			(uint64_t)mm_int(json_object_get(b, "bulk"), "bytes", 0));
	if (!rc && keep)
		*keep = json_incref(b);
	json_decref(b);
	return rc;
}

/* The names that came with the vectors: a model may arrive between two requests. */
static int write_names(struct mm_cli *c, const json_t *names, json_t *summary, struct mm_err *err)
{
	struct mm_buf text = { 0 };
	struct part p;
	json_t *v;
	size_t i;
	json_array_foreach (names, i, v) {
		mm_buf_str(&text, json_is_string(v) ? json_string_value(v) : "?");
		mm_buf_u8(&text, '\n');
	}
	int rc = mm_buf_check(&text, err) ? -1 : part_open(&p, c->o.names, true, 0666, err);
	if (!rc) {
		rc = text.len ? part_write(&p, text.data, text.len, err) : 0;
		rc = part_close(&p, !rc, err);
	}
	if (!rc)
		told(c, summary, "names", c->o.names, text.len);
	mm_buf_fini(&text);
	return rc;
}

static int end_files(struct mm_cli *c, json_t *summary, int rc, struct mm_err *err)
{
	if (!rc && c->o.json) {
		json_t *o = json_pack("{s:O}", "files", summary);
		rc = mm_json_print(o, &c->term, c->out, err);
		json_decref(o);
	}
	json_decref(summary);
	return rc;
}

int mm_run_backup(struct mm_cli *c, struct mm_err *err)
{
	json_t *summary = json_object();
	/* It holds everything the store holds: for its owner only. */
	int rc = fetch_file(c, "backup", NULL, c->word[0], 0600, summary, NULL, err);
	return end_files(c, summary, rc, err);
}

int mm_run_export(struct mm_cli *c, struct mm_err *err)
{
	json_t *summary = json_object(), *vectors = NULL;
	int rc = 0;
	if (!c->o.vectors && !c->o.names && !c->o.coords) {
		c->usage = true;
		rc = mm_fail(err, MM_EINVAL, "nothing to export: say --vectors FILE, --names FILE or --coords FILE");
	}
	if (!rc && c->o.vectors)
		rc = fetch_file(
			c, "export", json_pack("{s:s}", "what", "vectors"), c->o.vectors, 0666, summary, &vectors, err);
	const json_t *names = json_object_get(vectors, "names");
	if (!rc && c->o.names && names)
		rc = write_names(c, names, summary, err);
	else if (!rc && c->o.names)
		rc = fetch_file(c, "export", json_pack("{s:s}", "what", "names"), c->o.names, 0666, summary, NULL, err);
	if (!rc && c->o.coords) {
		json_t *args = json_pack("{s:s}", "what", "coords");
		if (c->o.method)
			json_object_set_new(args, "method", json_string(c->o.method));
		if (c->o.dim)
			json_object_set_new(args, "dim", json_integer(c->o.dim));
		if (c->o.epoch)
			json_object_set_new(args, "epoch", json_integer(c->o.epoch));
		rc = fetch_file(c, "export", args, c->o.coords, 0666, summary, NULL, err);
	}
	json_decref(vectors);
	return end_files(c, summary, rc, err);
}

/* ---- keygen ---- */

int mm_run_keygen(struct mm_cli *c, struct mm_err *err)
{
	char public_key[41], secret_key[42];
	struct part p;
	if (mm_conn_keygen(public_key, secret_key, err) || part_open(&p, c->word[0], c->o.force, 0600, err))
		return -1;
	secret_key[40] = '\n';
	int rc = part_write(&p, secret_key, 41, err);
	explicit_bzero(secret_key, sizeof secret_key);
	if (part_close(&p, !rc, err))
		return -1;
	fprintf(c->out, "%s\n", public_key);
	return 0;
}

/* ---- call ---- */

int mm_run_call(struct mm_cli *c, struct mm_err *err)
{
	json_t *args = json_object(), *b;
	for (size_t i = 1; i < c->n_word; i++) {
		const char *eq = strchr(c->word[i], '=');
		char key[64];
		if (!eq || (size_t)(eq - c->word[i]) >= sizeof key) {
			json_decref(args);
			c->usage = true;
			return mm_fail(err, MM_EINVAL, "\"%s\" is not KEY=VALUE", c->word[i]);
		}
		snprintf(key, sizeof key, "%.*s", (int)(eq - c->word[i]), c->word[i]);
		/* A value that is JSON is taken as such; anything else is a string. */
		json_t *v = json_loads(eq + 1, JSON_DECODE_ANY, NULL);
		json_object_set_new(args, key, v ? v : json_string(eq + 1));
	}
	c->o.json = true;
	return mm_cli_ask(c, c->word[0], args, &b, err);
}
