/* cmd_queue.c - what waits, runs or failed; and the commands that change it. */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>

#define BAR 16

static int rank(const json_t *job)
{
	static const char *const order[] = { "running", "queued", "waiting", "failed", "cancelled", "done" };
	for (int i = 0; i < (int)MM_COUNT(order); i++)
		if (!strcmp(order[i], mm_str(job, "state")))
			return i;
	return (int)MM_COUNT(order);
}

/* By state; within it the daemon's order, which is the order of their turns. */
static void put_jobs(const struct mm_cli *c, struct mm_table *t, const json_t *jobs)
{
	char bar[4 * BAR + 1], cell[MM_CELL];
	size_t i;
	json_t *j;
	for (int r = 0; r <= 6; r++) {
		json_array_foreach (jobs, i, j) {
			if (rank(j) != r)
				continue;
			double p = mm_num(j, "progress", -1);
			bool run = !strcmp(mm_str(j, "state"), "running");
			mm_fmt_bar(&c->term, p, BAR, bar, sizeof bar);
			if (mm_int(j, "id", 0))
				mm_table_put(t, MM_DIM, "%lld", (long long)mm_int(j, "id", 0));
			else
				mm_table_put(t, MM_DIM, "%s", "");
			mm_table_put(t, MM_PLAIN, "%s", mm_str(j, "model"));
			mm_table_put(t, mm_style_of_state(mm_str(j, "state")), "%s", mm_str(j, "state"));
			if (run && p >= 0)
				mm_table_put(t, MM_CYAN, "%s %3.0f%%", bar, 100 * MM_MIN(p, 1.0));
			else
				mm_table_put(t, MM_PLAIN, "%s", "");
			mm_table_put(t, MM_PLAIN, "%s", mm_fmt_eta(json_object_get(j, "eta_s"), cell));
			mm_table_put(t, MM_PLAIN, "%s", mm_str(j, "reason"));
		}
	}
}

int mm_run_queue(struct mm_cli *c, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "JOB", true, 3, 0 }, { "MODEL", false, 0, 16 },
		{ "STATE", false, 0, 0 }, { "PROGRESS", false, 1, 0 }, { "ETA", true, 2, 0 },
		{ "REASON", false, 4, 24 } };
	json_t *b;
	if (mm_cli_ask(c, "queue", c->o.all ? json_pack("{s:b}", "all", 1) : NULL, &b, err))
		return -1;
	if (!b)
		return 0;
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	int rc = t ? 0 : -1;
	if (t)
		put_jobs(c, t, json_object_get(b, "jobs"));
	if (!rc && !mm_table_rows(t))
		fputs("The queue is empty.\n", c->out);
	else if (!rc)
		rc = mm_table_print(t, &c->term, c->out, err);
	mm_table_free(t);
	json_decref(b);
	return rc;
}

/* ---- rescore --missing-features ---- */

int mm_run_rescore(struct mm_cli *c, struct mm_err *err)
{
	json_t *b;
	if (c->o.missing_features == (c->n_word > 0)) {
		c->usage = true;
		return mm_fail(err, MM_EINVAL, "names of models, or --missing-features");
	}
	if (!c->o.missing_features)
		return mm_run_job(c, err);
	if (mm_cli_ask(c, "rescore", json_pack("{s:b}", "missing_features", 1), &b, err))
		return -1;
	if (!b)
		return 0;
	size_t gone = json_array_size(json_object_get(b, "without_files"));
	fprintf(c->out, "%zu models will be scored again", json_array_size(json_object_get(b, "models")));
	if (gone)
		fprintf(c->out, "; %zu without features have no files any more", gone);
	fputs("\n", c->out);
	json_decref(b);
	return 0;
}

/* ---- retry, cancel, rescore: several names; one that fails does not keep the others ---- */

static const struct {
	const char *cmd, *done;
} verbs[] = { { "retry", "queued again" }, { "cancel", "cancelled" }, { "rescore", "will be scored again" } };

int mm_run_job(struct mm_cli *c, struct mm_err *err)
{
	const char *done = "";
	size_t bad = 0;
	for (size_t i = 0; i < MM_COUNT(verbs); i++)
		if (!strcmp(verbs[i].cmd, c->cmd->name))
			done = verbs[i].done;
	for (size_t i = 0; i < c->n_word; i++) {
		json_t *b;
		struct mm_err why = { 0 };
		if (mm_cli_ask(c, c->cmd->name, json_pack("{s:s}", "name", c->word[i]), &b, &why)) {
			if (c->n_word == 1 || c->no_daemon) {
				*err = why;
				return -1;
			}
			mm_say(c, "modelmap: %s: %s", c->word[i], why.text);
			bad++;
			continue;
		}
		if (!b)
			continue;
		const char *name = *mm_str(b, "model")	? mm_str(b, "model")
				   : *mm_str(b, "name") ? mm_str(b, "name")
							: c->word[i];
		char clean[4096];
		mm_term_clean(&c->term, name, clean, sizeof clean);
		fprintf(c->out, "%s: %s\n", clean, done);
		json_decref(b);
	}
	return bad ? mm_fail(err, MM_EINVAL, "%zu of %zu failed", bad, c->n_word) : 0;
}
