/* cmd_models.c - status, models, show. */
#include "daemon/alerts_priv.h"
#include "daemon/core_priv.h"
#include "daemon/slices.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int give(struct mm_reply *reply, json_t *body, struct mm_err *err)
{
	reply->body = body;
	return body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory for the answer");
}

int mm_cmd_status(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_queue_count q;
	struct mm_store_stat st;
	struct mm_err ignored;
	char hash[MM_HASH_HEX];
	size_t scored = 0, gone = 0, on_map = 0;
	(void)args;
	mm_queue_count(d, &q);
	mm_hash_hex(d->texts.hash, hash);
	for (size_t i = 0; i < mm_reg_n(d); i++) {
		const struct mm_model_entry *e = mm_reg_at(d, i);
		scored += e->rec.state == MM_ST_PLACED;
		gone += e->rec.gone;
		on_map += mm_reg_on_map(e);
	}
	json_t *dirs = json_array();
	for (size_t i = 0; i < d->cfg.watch.n_dirs; i++) {
		char text[4200];
		mm_utf8_sanitize(text, sizeof text, d->cfg.watch.dirs[i], strlen(d->cfg.watch.dirs[i]));
		json_array_append_new(dirs, json_string(text));
	}
	json_t *o = json_pack("{s:s, s:I, s:{s:I, s:s, s:f}, s:{s:I, s:I, s:I, s:I}, s:I, s:I, s:I, s:I, s:I, "
			      "s:{s:s, s:o, s:b}, s:{s:s, s:s, s:I, s:I}}",
		"version", MM_VERSION, "uptime_s", (json_int_t)(mm_now() - d->started_at), "texts", "n",
		(json_int_t)d->texts.n, "hash", hash, "mean_bytes", d->texts.mean_bytes, "queue", "waiting",
		(json_int_t)q.waiting, "queued", (json_int_t)q.queued, "running", (json_int_t)q.running, "failed",
		(json_int_t)q.failed, "models", (json_int_t)mm_reg_n(d), "scored", (json_int_t)scored, "on_map",
		(json_int_t)on_map, "gone", (json_int_t)gone, "epoch", (json_int_t)mm_map_epoch(d), "watch", "mode",
		mm_watch_mode(d), "dirs", dirs, "scanned", d->first_scan_done, "score", "bos", d->cfg.score.bos,
		"compute", d->cfg.score.compute, "concurrency", (json_int_t)d->cfg.score.concurrency, "threads",
		(json_int_t)mm_scorer_threads(d));
	if (o) {
		/* Not yet jobs: candidates whose look is due or under way. With queued and running: what is left to do.
		 */
		json_object_set_new(
			json_object_get(o, "queue"), "probing", json_integer((json_int_t)mm_ready_n_probing(d)));
		json_object_set_new(
			o, "alerts", json_pack("{s:I}", "open", (json_int_t)(d->alerts ? mm_alerts_n_open(d) : 0)));
		json_object_set_new(o, "endpoints", mm_ctl_endpoints(d));
		/* Whose limits count, and which settings: for `modelmap doctor`. */
		json_object_set_new(o, "pid", json_integer(getpid()));
		char text[4200] = "", path[PATH_MAX];
		bool known = d->cfg_path && realpath(d->cfg_path, path);
		if (known)
			mm_utf8_sanitize(text, sizeof text, path, strlen(path));
		json_object_set_new(o, "config", known ? json_string(text) : json_null());
	}
	if (o && d->store && !mm_store_stat(d->store, &st, &ignored))
		json_object_set_new(o, "store",
			json_pack("{s:I, s:I}", "bytes_used", (json_int_t)st.bytes_used, "bytes_map",
				(json_int_t)st.bytes_map));
	return give(reply, o, err);
}

static bool next_model(struct mm_daemon *d, const struct mm_long_list *l, size_t *at, json_t **item)
{
	(void)l;
	if (*at >= mm_reg_n(d))
		return false;
	*item = mm_reg_json(d, mm_reg_at(d, (*at)++), false);
	return true;
}

static json_t *models_head(struct mm_daemon *d, const struct mm_long_list *l)
{
	(void)d, (void)l;
	return json_object();
}

/* New ones come at the end; only a record that is dropped moves others. */
static uint64_t models_stamp(const struct mm_daemon *d)
{
	return d->reg->n_dropped;
}

int mm_cmd_models(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_long_list list = { "models", next_model, models_head, models_stamp, 0 };
	(void)args;
	return mm_slices_answer(d, &list, mm_reg_n(d), reply, err);
}

int mm_cmd_show(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const char *name = json_string_value(json_object_get(args, "name"));
	const struct mm_model_entry *e = mm_reg_resolve(d, name ? name : "", err);
	if (!e)
		return -1;
	json_t *o = mm_reg_json(d, e, true);
	const struct mm_job *j = mm_job_of(e);
	if (o && j)
		json_object_set_new(o, "job", mm_job_json(d, j));
	json_t *tests = o ? mm_check_json(d, e) : NULL;
	if (tests)
		json_object_set_new(o, "tests", tests);
	return give(reply, o, err);
}
