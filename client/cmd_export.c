/* cmd_export.c - files made of what the daemon has: backup, export. */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	struct mm_part p;
	json_t *b = NULL;
	/* The file first: what cannot be written need not be asked for. */
	int rc = mm_part_open(&p, path, true, mode, err);
	if (rc)
		json_decref(args);
	else
		rc = mm_cli_call(c, cmd, args, &b, err);
	if (!rc)
		rc = mm_conn_fetch(c->conn, b, mm_part_write, &p, show_progress, err);
	rc = mm_part_close(&p, !rc, err);
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
	struct mm_part p;
	json_t *v;
	size_t i;
	json_array_foreach (names, i, v) {
		mm_buf_str(&text, json_is_string(v) ? json_string_value(v) : "?");
		mm_buf_u8(&text, '\n');
	}
	int rc = mm_buf_check(&text, err) ? -1 : mm_part_open(&p, c->o.names, true, 0666, err);
	if (!rc) {
		rc = text.len ? mm_part_write(&p, text.data, text.len, err) : 0;
		rc = mm_part_close(&p, !rc, err);
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
	if (!c->o.vectors && !c->o.names && !c->o.coords && !c->o.csv && !c->o.tensorboard) {
		c->usage = true;
		rc = mm_fail(err, MM_EINVAL,
			"nothing to export: say --vectors FILE, --names FILE, --coords FILE, --csv FILE or "
			"--tensorboard "
			"DIR");
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
	if (!rc && c->o.csv)
		rc = mm_export_csv(c, c->o.csv, err);
	if (!rc && c->o.tensorboard)
		rc = mm_export_tensorboard(c, c->o.tensorboard, err);
	return end_files(c, summary, rc, err);
}
