/* scores_json.c - benchmark scores as others publish them become the table that the daemon takes (CSV). Three shapes:
 *
 *	results of lm-evaluation-harness, and of the Open LLM Leaderboard:
 *	  {"results": {TASK: {"acc,none": 0.41, "acc_stderr,none": 0.01, "alias": ...}}, "model_name": NAME,
 *	   "config": {"model_args": "pretrained=NAME,...", "model_name": NAME}, "config_general": {"model_name": NAME}}
 *	  TASK may be "harness|arc:challenge|25"; a metric may be "acc" or "acc,FILTER"
 *	the leaderboard's table, as rows of the dataset server or as a list:
 *	  {"rows": [{"row": {"fullname": NAME, "IFEval": 46.1, ...}}]} or [{"fullname": NAME, "IFEval": 46.1, ...}]
 *	the leaderboard's own answer: [{"model": {"name": NAME}, "evaluations": {"ifeval": {"name": "IFEval",
 *"value": 46.1}}}]
 *
 * Of a task with several metrics the one counts that the leaderboards use. Parts of a group (their alias is set in) are
 * left out for the group; the subjects of the old MMLU, which has no group, become their mean. Values stay as they are:
 * shares or per cent. Files are other people's: everything is bounded, what does not fit is passed over or an error. */
#include "client/client.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BENCH_MAX  63 /* bytes of a benchmark's name, as the daemon takes them */
#define MODELS_MAX 200000
#define NAME_MAX_B 1024

/* ---- which metric of a task ---- */

static const struct {
	const char *task, *metric; /* the first whose task is a part of the name and whose metric is there */
} chosen[] = {
	{ "truthfulqa", "mc2" },
	{ "arc", "acc_norm" },
	{ "hellaswag", "acc_norm" },
	{ "bbh", "acc_norm" },
	{ "musr", "acc_norm" },
	{ "gpqa", "acc_norm" },
	{ "ifeval", "inst_level_strict_acc" },
	{ "", "acc" },
	{ "", "exact_match" },
	{ "", "acc_norm" },
	{ "", "mc2" },
	{ "", "f1" },
	{ "", "em" },
	{ "", "pass@1" },
	{ "", "score" },
	{ "", "qem" },
	{ "", "inst_level_strict_acc" },
	{ "", "prompt_level_strict_acc" },
};

/* "acc,none" is metric "acc"; of several filters the first. */
static const json_t *metric(const json_t *task, const char *name)
{
	const char *key;
	json_t *v;
	size_t n = strlen(name);
	json_object_foreach ((json_t *)(uintptr_t)task, key, v)
		if (json_is_number(v) && !strncmp(key, name, n) && (!key[n] || key[n] == ','))
			return v;
	return NULL;
}

static const json_t *score_of(const char *name, const json_t *task)
{
	for (size_t i = 0; i < MM_COUNT(chosen); i++) {
		const json_t *v = strstr(name, chosen[i].task) ? metric(task, chosen[i].metric) : NULL;
		if (v)
			return v;
	}
	return NULL;
}

/* ---- table ---- */

/* Names without what a line of the table or a terminal would stumble over. */
static void clean(const char *s, char *out, size_t cap)
{
	mm_utf8_sanitize(out, cap, s, strlen(s));
	size_t n = strlen(out);
	while (n && out[n - 1] == ' ')
		out[--n] = 0;
}

static int put(json_t *table, const char *model, const char *bench, double v, struct mm_err *err)
{
	char name[NAME_MAX_B + 1], column[512];
	clean(model, name, sizeof name);
	clean(bench, column, sizeof column);
	if (!*name || !*column || strlen(column) > BENCH_MAX || !isfinite(v))
		return 0;
	json_t *row = json_object_get(table, name);
	if (!row && json_object_size(table) >= MODELS_MAX)
		return mm_fail(err, MM_EFORMAT, "more than %d models", MODELS_MAX);
	if (!row) {
		row = json_object();
		json_object_set_new(table, name, row);
	}
	return json_object_set_new(row, column, json_real(v)) ? mm_fail(err, MM_ENOMEM, "out of memory") : 0;
}

/* ---- results of the harness ---- */

static const char *args_model(const char *args, char *out, size_t cap)
{
	const char *p = args ? strstr(args, "pretrained=") : NULL;
	const char *q = p ? p + strlen("pretrained=") : NULL;
	if (!q && args && (p = strstr(args, "model=")))
		q = p + strlen("model=");
	snprintf(out, cap, "%.*s", q ? (int)MM_MIN(strcspn(q, ","), cap - 1) : 0, q ? q : "");
	return out;
}

static const char *model_of(const json_t *root, char *buf, size_t cap)
{
	const json_t *config = json_object_get(root, "config"), *general = json_object_get(root, "config_general");
	const json_t *args = json_object_get(config, "model_args");
	const char *const names[] = { mm_str(root, "model_name"), mm_str(general, "model_name"),
		mm_str(config, "model_name"),
		json_is_object(args) ? mm_str(args, "pretrained") : args_model(json_string_value(args), buf, cap) };
	for (size_t i = 0; i < MM_COUNT(names); i++)
		if (*names[i])
			return names[i];
	return "";
}

/* "harness|arc:challenge|25" is "arc:challenge" */
static void task_name(const char *key, char *out, size_t cap)
{
	const char *p = !strncmp(key, "harness|", 8) ? key + 8 : key;
	snprintf(out, cap, "%.*s", (int)MM_MIN(strcspn(p, "|"), cap - 1), p);
}

static int harness(json_t *table, const json_t *root, struct mm_err *err)
{
	char name[256], buf[NAME_MAX_B];
	const char *key, *model = model_of(root, buf, sizeof buf);
	json_t *task;
	double sum = 0;
	size_t n = 0;
	if (!*model)
		return mm_fail(err, MM_EFORMAT,
			"it does not say of which model the results are (model_name, config.model_args)");
	json_object_foreach (json_object_get(root, "results"), key, task) {
		const json_t *v;
		if (!json_is_object(task))
			continue;
		task_name(key, name, sizeof name);
		if (!strcmp(name, "all") || *mm_str(task, "alias") == ' ' || !(v = score_of(name, task)))
			continue;
		if (!strncmp(name, "hendrycksTest-", 14)) {
			sum += json_number_value(v);
			n++;
		} else if (put(table, model, name, json_number_value(v), err)) {
			return -1;
		}
	}
	return n ? put(table, model, "mmlu", sum / (double)n, err) : 0;
}

/* ---- the leaderboard ---- */

/* What is a number in a row, but no score. */
static bool no_score(const char *key)
{
	static const char *const part[] = { "#Params", "params", "Hub ", "hub", "likes", "CO", "co2", " Raw", "date",
		"Date", "index", "rank", "Rank", "sha", "Generation", "generation", "size", "Size" };
	for (size_t i = 0; i < MM_COUNT(part); i++)
		if (strstr(key, part[i]))
			return true;
	return key[0] == '_' || !strcmp(key, "T");
}

/* "Average" of "Average (arrow)": symbols behind a name go. */
static void column(const char *key, char *out, size_t cap)
{
	size_t n = 0;
	while (key[n] && (unsigned char)key[n] < 0x80 && n + 1 < cap)
		n++;
	snprintf(out, cap, "%.*s", (int)(n ? n : MM_MIN(strlen(key), cap - 1)), key);
}

/* A cell of the page may be a link: <a ...>NAME</a> */
static const char *bare(const char *s, char *out, size_t cap)
{
	const char *p = *s == '<' ? strchr(s, '>') : NULL;
	snprintf(out, cap, "%.*s", p ? (int)MM_MIN(strcspn(p + 1, "<"), cap - 1) : (int)MM_MIN(strlen(s), cap - 1),
		p ? p + 1 : s);
	return out;
}

static const char *row_model(const json_t *row, char *buf, size_t cap)
{
	static const char *const keys[] = { "fullname", "model_name_for_query", "model_name", "Model", "model", "name",
		"id" };
	for (size_t i = 0; i < MM_COUNT(keys); i++) {
		const json_t *v = json_object_get(row, keys[i]);
		const char *s = json_is_object(v) ? mm_str(v, "name") : json_is_string(v) ? json_string_value(v) : "";
		if (*bare(s, buf, cap))
			return buf;
	}
	return "";
}

static int leader_row(json_t *table, const json_t *row, struct mm_err *err)
{
	char buf[NAME_MAX_B], name[256];
	const char *model = row_model(row, buf, sizeof buf), *key;
	const json_t *evals = json_object_get(row, "evaluations");
	json_t *v;
	if (!json_is_object(row) || !*model)
		return mm_fail(err, MM_EFORMAT, "a row does not name its model (fullname, model)");
	json_object_foreach ((json_t *)(uintptr_t)(json_is_object(evals) ? evals : row), key, v) {
		const json_t *value = json_is_object(v) && evals ? json_object_get(v, "value") : v;
		column(evals && *mm_str(v, "name") ? mm_str(v, "name") : key, name, sizeof name);
		if (json_is_number(value) && !no_score(key) && put(table, model, name, json_number_value(value), err))
			return -1;
	}
	return 0;
}

static int rows(json_t *table, const json_t *list, struct mm_err *err)
{
	size_t i;
	const json_t *o;
	json_array_foreach (list, i, o) {
		const json_t *row = json_object_get(o, "row");
		int rc = json_is_object(json_object_get(o, "results")) ? harness(table, o, err)
								       : leader_row(table, row ? row : o, err);
		if (rc)
			return mm_wrap(err, "row %zu", i);
	}
	return 0;
}

/* ---- whose scores they are here ---- */

static const char *tail(const char *s)
{
	const char *p = strrchr(s, '/');
	return p && p[1] ? p + 1 : s;
}

static bool below(const char *path, const char *part)
{
	size_t n = strlen(path), k = strlen(part);
	return n > k && path[n - k - 1] == '/' && !strcmp(path + n - k, part);
}

/* Names of a hub are "org/model", ours are directories: the same name; else the only one that ends alike. */
static const char *ours(const json_t *models, const char *name)
{
	const char *found = NULL;
	const json_t *m;
	size_t i, n = 0;
	json_array_foreach (models, i, m)
		if (!strcmp(mm_str(m, "name"), name))
			return name;
	for (int how = 0; how < 2 && !n; how++)
		json_array_foreach (models, i, m) {
			const char *s = mm_str(m, "name");
			if (how ? !strcmp(tail(s), tail(name)) : below(name, s) || below(s, name)) {
				found = s;
				n++;
			}
		}
	return n == 1 ? found : name;
}

static void write_table(const json_t *table, const json_t *models, struct mm_buf *out)
{
	const char *model, *bench;
	json_t *row, *v, *benches = json_object(), *done = json_object();
	json_object_foreach ((json_t *)(uintptr_t)table, model, row)
		json_object_foreach (row, bench, v)
			json_object_set_new(benches, bench, json_null());
	mm_buf_str(out, "model");
	json_object_foreach (benches, bench, v) {
		mm_buf_u8(out, ',');
		mm_csv_put(out, bench);
	}
	json_object_foreach ((json_t *)(uintptr_t)table, model, row) {
		const char *name = ours(models, model);
		if (json_object_get(done, name)) /* two of theirs would be one of ours: neither is sure */
			name = model;
		json_object_set_new(done, name, json_true());
		mm_buf_u8(out, '\n');
		mm_csv_put(out, name);
		json_object_foreach (benches, bench, v)
			if (json_object_get(row, bench))
				mm_buf_printf(out, ",%.10g", json_number_value(json_object_get(row, bench)));
			else
				mm_buf_u8(out, ',');
	}
	mm_buf_u8(out, '\n');
	json_decref(done);
	json_decref(benches);
}

bool mm_scores_is_json(const char *text)
{
	text += strspn(text, " \t\r\n");
	return *text == '{' || *text == '[';
}

int mm_scores_json(const char *text, size_t len, const json_t *models, struct mm_buf *out, struct mm_err *err)
{
	json_t *root = mm_json_parse(text, len, "scores", err), *table = json_object();
	const json_t *list = json_is_array(root) ? root : json_object_get(root, "rows");
	int rc = root && table ? 0 : -1;
	if (rc)
		;
	else if (json_is_object(json_object_get(root, "results")))
		rc = harness(table, root, err);
	else if (json_is_array(list))
		rc = rows(table, list, err);
	else
		rc = mm_fail(err, MM_EFORMAT,
			"neither results of lm-evaluation-harness (\"results\") nor rows of a leaderboard (\"rows\", a "
			"list)");
	if (!rc && !json_object_size(table))
		rc = mm_fail(err, MM_EFORMAT, "no scores in it");
	if (!rc)
		write_table(table, models, out);
	json_decref(table);
	json_decref(root);
	return rc ? -1 : mm_buf_check(out, err);
}
