/* scores_json.c - benchmark scores as others publish them become the table that the daemon takes (CSV). Three shapes:
 *
 *	results of lm-evaluation-harness, and of the Open LLM Leaderboard:
 *	  {"results": {TASK: {"acc,none": 0.41, "acc_stderr,none": 0.01, "alias": ...}}, "model_name": NAME,
 *	   "config": {"model_args": "pretrained=NAME,...", "model_name": NAME}, "config_general": {"model_name": NAME}}
 *	  TASK may be "harness|arc:challenge|25", as lighteval has it too; a metric may be "acc" or "acc,FILTER"
 *	the leaderboard's table, as rows of the dataset server, as a list, or as a row a line:
 *	  {"rows": [{"row": {"fullname": NAME, "IFEval": 46.1, ...}}]} or [{"fullname": NAME, "IFEval": 46.1, ...}]
 *	the leaderboard's own answer: [{"model": {"name": NAME}, "evaluations": {"ifeval": {"name": "IFEval",
 *"value": 46.1}}}]
 *
 * Of a task with several metrics the one counts that the leaderboards use. Parts of a group follow it, with an alias
 *that is set in (" - law", "  - law_1"): they are left out where the group has a score of its own. The group
 *"leaderboard" has means over unlike tasks: its parts count, not it. The subjects of the old MMLU, which has no group,
 *become their mean. Python writes NaN where a score is missing: it is read as none. Values stay as they are: shares or
 *per cent. Files are other people's: everything is bounded, what does not fit is passed over or an error. */
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
		mm_str(json_object_get(general, "model_config"), "model_name"), mm_str(config, "model_name"),
		json_is_object(args) ? mm_str(args, "pretrained") : args_model(json_string_value(args), buf, cap) };
	for (size_t i = 0; i < MM_COUNT(names); i++)
		if (*names[i])
			return names[i];
	return "";
}

/* "harness|arc:challenge|25" is "arc:challenge", whatever the suite is called */
static void task_name(const char *key, char *out, size_t cap)
{
	const char *bar = strchr(key, '|'), *p = bar && strchr(bar + 1, '|') ? bar + 1 : key;
	snprintf(out, cap, "%.*s", (int)MM_MIN(strcspn(p, "|"), cap - 1), p);
}

/* How far the alias of a task is set in: 0 for what is no part of a group. */
static size_t depth_of(const json_t *task)
{
	return strspn(mm_str(task, "alias"), " ");
}

/* {"mmlu": null} where there is "mmlu:_average", which then stands for all "mmlu:law". */
static json_t *averages(const json_t *results)
{
	const char *key;
	json_t *task, *found = json_object();
	char name[256];
	json_object_foreach ((json_t *)(uintptr_t)results, key, task) {
		task_name(key, name, sizeof name);
		char *end = strstr(name, ":_average");
		if (end && !end[strlen(":_average")]) {
			*end = 0;
			json_object_set_new(found, name, json_null());
		}
	}
	return found;
}

/* Cuts ":_average" off. Is it one of those that an average stands for? */
static bool averaged(const json_t *found, char *name)
{
	char *colon = strchr(name, ':');
	if (!colon)
		return false;
	*colon = 0;
	bool there = json_object_get(found, name), self = there && !strcmp(colon + 1, "_average");
	if (!self)
		*colon = ':';
	return there && !self;
}

static int harness_task(
	json_t *table, const char *model, const char *name, double v, double *sum, size_t *n, struct mm_err *err)
{
	if (strncmp(name, "hendrycksTest-", 14) != 0)
		return put(table, model, name, v, err);
	*sum += v;
	++*n;
	return 0;
}

static int harness(json_t *table, const json_t *root, struct mm_err *err)
{
	char name[256], buf[NAME_MAX_B];
	const char *key, *model = model_of(root, buf, sizeof buf);
	const json_t *results = json_object_get(root, "results");
	json_t *task, *found;
	double sum = 0;
	size_t n = 0, below = 0; /* tasks set in deeper than this are parts of one that has a score */
	int rc = 0;
	if (!*model)
		return mm_fail(err, MM_EFORMAT,
			"it does not say of which model the results are (model_name, config.model_args)");
	found = averages(results);
	json_object_foreach ((json_t *)(uintptr_t)results, key, task) {
		const json_t *v = NULL;
		size_t deep = depth_of(task);
		task_name(key, name, sizeof name);
		if (rc || !json_is_object(task) || !strcmp(name, "all") || deep > below)
			continue;
		if (strcmp(name, "leaderboard") != 0)
			v = score_of(name, task);
		below = v ? deep : deep + 1;
		if (v && !averaged(found, name))
			rc = harness_task(table, model, name, json_number_value(v), &sum, &n, err);
	}
	json_decref(found);
	return rc == 0 && n ? put(table, model, "mmlu", sum / (double)n, err) : rc;
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

/* JSON that Python wrote: outside of strings, what is no number becomes "", in place, which is no score. */
static void without_nan(char *text)
{
	static const char *const word[] = { "-Infinity", "Infinity", "NaN" };
	bool quoted = false;
	for (char *p = text; *p; p++) {
		if (quoted && *p == '\\' && p[1])
			p++;
		else if (*p == '"')
			quoted = !quoted;
		for (size_t i = 0; i < MM_COUNT(word) && !quoted; i++) {
			size_t n = strlen(word[i]);
			if (strncmp(p, word[i], n) != 0)
				continue;
			memset(p, ' ', n);
			memset(p, '"', 2);
			p += n - 1;
			break;
		}
	}
}

/* A row a line. */
static json_t *parse_lines(const char *text, size_t len, struct mm_err *err)
{
	json_t *list = json_array();
	for (const char *p = text, *end = text + len; list && p < end;) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((eol ? eol : end) - p);
		if (strspn(p, " \t\r") < n) {
			json_t *row = mm_json_parse(p, n, "a row", err);
			if (!row || json_array_append_new(list, row)) {
				json_decref(list);
				return NULL;
			}
		}
		p += n + (eol != NULL);
	}
	return list;
}

/* Several objects, one a line? */
static bool is_lines(const char *text)
{
	const char *eol = strchr(text, '\n');
	const char *next = eol ? eol + strspn(eol, " \t\r\n") : "";
	while (eol && eol > text && strchr(" \t\r", eol[-1]))
		eol--;
	return *text == '{' && *next == '{' && eol[-1] == '}';
}

static json_t *parse(const char *text, size_t len, struct mm_err *err)
{
	char *copy = mm_calloc(len + 1, 1, err);
	if (!copy)
		return NULL;
	memcpy(copy, text, len);
	without_nan(copy);
	const char *from = copy + strspn(copy, " \t\r\n");
	json_t *root = is_lines(from) ? parse_lines(from, len - (size_t)(from - copy), err)
				      : mm_json_parse(copy, len, "scores", err);
	mm_free(copy);
	return root;
}

int mm_scores_json(const char *text, size_t len, const json_t *models, struct mm_buf *out, struct mm_err *err)
{
	json_t *root = parse(text, len, err), *table = json_object();
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
