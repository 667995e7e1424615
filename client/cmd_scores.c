/* cmd_scores.c - benchmark scores: `scores` (what is known, import, show, drop) and `predict`. */
#include "client/client.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIECE	   24000u /* bytes of a table in one request: escaped at most twice as many */
#define FILE_MAX   ((size_t)64 << 20)
#define PRECISE(v) (fabs(v) < 1000 ? 2 : 0)

/* ---- scores ---- */

static const char *score_text(const json_t *v, char out[MM_CELL])
{
	if (!json_is_number(v))
		return "";
	snprintf(out, MM_CELL, "%.*f", PRECISE(json_number_value(v)), json_number_value(v));
	return out;
}

/* Prints the table, or when it is empty what `none` says; takes it. */
static int finish(struct mm_cli *c, struct mm_table *t, const char *none, struct mm_err *err)
{
	int rc = t && mm_table_rows(t) ? mm_table_print(t, &c->term, c->out, err) : t ? 0 : -1;
	if (t && !mm_table_rows(t))
		fputs(none, c->out);
	mm_table_free(t);
	return rc;
}

static int list_benchmarks(struct mm_cli *c, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "BENCHMARK", false, 0, 12 }, { "MODELS", true, 0, 0 },
		{ "LEAST", true, 1, 0 }, { "MEAN", true, 0, 0 }, { "MOST", true, 1, 0 } };
	json_t *b, *o;
	size_t i;
	char cell[MM_CELL];
	if (mm_cli_ask(c, "scores", NULL, &b, err))
		return -1;
	if (!b)
		return 0;
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	json_array_foreach (t ? json_object_get(b, "benchmarks") : NULL, i, o) {
		mm_table_put(t, MM_BOLD, "%s", mm_str(o, "bench"));
		mm_table_put(t, MM_PLAIN, "%lld", (long long)mm_int(o, "models", 0));
		mm_table_put(t, MM_DIM, "%s", score_text(json_object_get(o, "min"), cell));
		mm_table_put(t, MM_PLAIN, "%s", score_text(json_object_get(o, "mean"), cell));
		mm_table_put(t, MM_DIM, "%s", score_text(json_object_get(o, "max"), cell));
	}
	int rc = finish(c, t, "No benchmark scores are known yet: modelmap scores import FILE.csv\n", err);
	json_decref(b);
	return rc;
}

static int show(struct mm_cli *c, const char *model, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "BENCHMARK", false, 0, 12 }, { "SCORE", true, 0, 0 } };
	json_t *b, *v;
	const char *bench;
	char cell[MM_CELL];
	if (mm_cli_ask(c, "scores", json_pack("{s:s}", "name", model), &b, err))
		return -1;
	if (!b)
		return 0;
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	int rc = t ? 0 : -1;
	json_object_foreach (json_object_get(b, "scores"), bench, v) {
		if (!t)
			break;
		mm_table_put(t, MM_BOLD, "%s", bench);
		mm_table_put(t, MM_PLAIN, "%s", score_text(v, cell));
	}
	if (t && mm_table_rows(t))
		rc = mm_table_print(t, &c->term, c->out, err);
	else if (t)
		fprintf(c->out, "No score is known; a prediction: modelmap predict %s\n", model);
	mm_table_free(t);
	json_decref(b);
	return rc;
}

/* ---- import ---- */

static char *read_all(struct mm_cli *c, const char *path, size_t *len, struct mm_err *err)
{
	struct mm_buf b = { 0 };
	char piece[4096];
	ssize_t n;
	if (strcmp(path, "-") != 0)
		return mm_file_read(path, FILE_MAX, len, err);
	(void)c;
	while ((n = read(STDIN_FILENO, piece, sizeof piece)) > 0 && b.len <= FILE_MAX)
		mm_buf_put(&b, piece, (size_t)n);
	if (n < 0 || b.len > FILE_MAX || mm_buf_check(&b, err)) {
		if (n < 0)
			mm_fail_errno(err, "standard input");
		else if (b.len > FILE_MAX)
			mm_fail(err, MM_EINVAL, "a table of more than %zu bytes", FILE_MAX);
		mm_buf_fini(&b);
		return NULL;
	}
	*len = b.len;
	return b.data ? (char *)b.data : mm_strdup("", err);
}

/* The end of the piece that starts at `from`: never inside a character. */
static size_t piece_end(const char *text, size_t from, size_t len)
{
	size_t end = MM_MIN(len, from + PIECE);
	while (end < len && end > from && ((unsigned char)text[end] & 0xC0) == 0x80)
		end--;
	return end;
}

static int send_all(struct mm_cli *c, const char *text, size_t len, json_t **b, struct mm_err *err)
{
	int64_t token = ((int64_t)time(NULL) << 20 | (getpid() & 0xfffff)) & 0x1fffffffffffff;
	size_t at = 0;
	do {
		size_t end = piece_end(text, at, len);
		json_t *csv = json_stringn(text + at, end - at);
		if (!csv)
			return mm_fail(err, MM_EFORMAT, "the table is no UTF-8 text: save it as CSV (UTF-8)");
		json_t *args =
			json_pack("{s:I, s:I, s:o}", "import", (json_int_t)token, "offset", (json_int_t)at, "csv", csv);
		if (args && end < len)
			json_object_set_new(args, "more", json_true());
		if (mm_cli_call(c, "scores_import", args, b, err))
			return -1;
		if (end < len)
			json_decref(*b);
		at = end;
	} while (at < len);
	return 0;
}

static void join(const struct mm_cli *c, const json_t *list, char *out, size_t cap)
{
	char clean[256];
	size_t i, n = 0;
	json_t *v;
	out[0] = 0;
	json_array_foreach ((json_t *)list, i, v) {
		mm_term_clean(&c->term, json_string_value(v), clean, sizeof clean);
		int w = snprintf(out + n, cap - n, "%s%s", i ? ", " : "", clean);
		if (w < 0 || (size_t)w >= cap - n)
			return;
		n += (size_t)w;
	}
}

/* Results of the harness or rows of a leaderboard: the table in their place. */
static int from_json(struct mm_cli *c, char **text, size_t *len, struct mm_err *err)
{
	struct mm_buf csv = { 0 };
	json_t *b;
	if (mm_cli_call(c, "models", NULL, &b, err))
		return -1;
	int rc = mm_scores_json(*text, *len, json_object_get(b, "models"), &csv, err);
	json_decref(b);
	if (rc) {
		mm_buf_fini(&csv);
		return -1;
	}
	mm_free(*text);
	*text = (char *)csv.data;
	*len = csv.len;
	return 0;
}

static int import(struct mm_cli *c, const char *path, struct mm_err *err)
{
	json_t *b = NULL;
	size_t len = 0;
	char list[4096];
	char *text = read_all(c, path, &len, err);
	int rc = !text || (mm_scores_is_json(text) && from_json(c, &text, &len, err)) ? -1 : 0;
	if (!rc)
		rc = send_all(c, text, len, &b, err);
	mm_free(text);
	if (rc)
		return mm_wrap(err, "%s", path);
	if (c->o.json) {
		rc = mm_json_print(b, &c->term, c->out, err);
	} else {
		const json_t *benches = json_object_get(b, "benchmarks");
		join(c, benches, list, sizeof list);
		fprintf(c->out, "%lld scores of %lld models on %zu benchmark%s: %s\n",
			(long long)mm_int(b, "scores", 0), (long long)mm_int(b, "models", 0), json_array_size(benches),
			json_array_size(benches) == 1 ? "" : "s", list);
	}
	long long unknown = (long long)mm_int(b, "n_unknown", 0);
	join(c, json_object_get(b, "unknown"), list, sizeof list);
	if (unknown)
		mm_say(c, "%lld model%s of the table %s not known and left out: %s%s", unknown, unknown == 1 ? "" : "s",
			unknown == 1 ? "is" : "are", list,
			unknown > (long long)json_array_size(json_object_get(b, "unknown")) ? ", ..." : "");
	join(c, json_object_get(b, "constant"), list, sizeof list);
	if (*list)
		mm_say(c, "the same score for every model, nothing can be learned from that: %s", list);
	json_decref(b);
	return rc;
}

int mm_run_scores(struct mm_cli *c, struct mm_err *err)
{
	json_t *b;
	const char *what = c->n_word ? c->word[0] : "";
	if (!c->n_word)
		return list_benchmarks(c, err);
	bool known = !strcmp(what, "import") || !strcmp(what, "show") || !strcmp(what, "drop");
	if (!known || c->n_word < 2 || (c->n_word > 2 && strcmp(what, "import") != 0)) {
		c->usage = true;
		return mm_fail(err, MM_EINVAL,
			known ? "scores %s takes one %s" : "scores: \"%s\" is none of import, show, drop", what,
			!strcmp(what, "import") ? "file"
			: !strcmp(what, "show") ? "model"
						: "benchmark");
	}
	for (size_t i = 1; !strcmp(what, "import") && i < c->n_word; i++)
		if (import(c, c->word[i], err))
			return -1;
	if (!strcmp(what, "import"))
		return 0;
	if (!strcmp(what, "show"))
		return show(c, c->word[1], err);
	if (mm_cli_ask(c, "scores_drop", json_pack("{s:s}", "bench", c->word[1]), &b, err))
		return -1;
	if (b)
		fprintf(c->out, "%s: forgotten\n", mm_str(b, "dropped"));
	json_decref(b);
	return 0;
}

/* ---- predict ---- */

/* "41.20 .. 44.73" */
static const char *interval(const json_t *o, char *out, size_t cap)
{
	const json_t *v = json_object_get(o, "interval");
	char lo[MM_CELL], hi[MM_CELL];
	if (json_array_size(v) != 2)
		return "";
	snprintf(out, cap, "%s .. %s", score_text(json_array_get(v, 0), lo), score_text(json_array_get(v, 1), hi));
	return out;
}

/* One row a prediction, under the name of a benchmark or of a model. */
static int predictions(struct mm_cli *c, const json_t *list, const char *key, const char *title, struct mm_err *err)
{
	const struct mm_col cols[] = { { title, false, 0, 12 }, { "SCORE", true, 0, 0 }, { "PREDICTED", true, 0, 0 },
		{ "95 %", false, 1, 0 }, { "", false, 2, 0 } };
	char cell[MM_CELL], iv[3 * MM_CELL];
	size_t i;
	json_t *o;
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t)
		return -1;
	json_array_foreach ((json_t *)list, i, o) {
		const json_t *v = json_object_get(o, "prediction");
		bool outside = json_is_true(json_object_get(o, "outside"));
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, key));
		mm_table_put(t, MM_DIM, "%s", score_text(json_object_get(o, "score"), cell));
		mm_table_put(t, MM_BOLD, "%s", score_text(v, cell));
		mm_table_put(t, MM_DIM, "%s", interval(o, iv, sizeof iv));
		mm_table_put(t, outside ? MM_YELLOW : MM_DIM, "%s",
			!json_is_number(v) ? "too few scores"
			: outside	   ? "unlike all with a score"
					   : "");
	}
	return finish(c, t, "", err);
}

static const char *corr(const json_t *way, const char *key, char out[MM_CELL])
{
	const json_t *v = json_object_get(way, key);
	if (json_is_number(v))
		snprintf(out, MM_CELL, "%.3f", json_number_value(v));
	else
		snprintf(out, MM_CELL, "-");
	return out;
}

static int figures(struct mm_cli *c, const json_t *list, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "BENCHMARK", false, 0, 12 }, { "MODELS", true, 4, 0 },
		{ "RANDOM: R", true, 0, 0 }, { "RHO", true, 0, 0 }, { "RMSE", true, 2, 0 },
		{ "FAMILIES: R", true, 1, 0 }, { "RHO", true, 3, 0 }, { "PAPER'S: R", true, 5, 0 },
		{ "RHO", true, 6, 0 } };
	char cell[MM_CELL];
	size_t i;
	json_t *o;
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t)
		return -1;
	json_array_foreach ((json_t *)list, i, o) {
		const json_t *random = json_object_get(o, "random"), *free = json_object_get(random, "leak_free");
		const json_t *family = json_object_get(json_object_get(o, "by_family"), "leak_free");
		const json_t *paper = json_object_get(random, "transductive");
		mm_table_put(t, MM_BOLD, "%s", mm_str(o, "bench"));
		mm_table_put(t, MM_DIM, "%lld", (long long)mm_int(o, "models", 0));
		mm_table_put(t, MM_PLAIN, "%s", corr(free, "pearson", cell));
		mm_table_put(t, MM_PLAIN, "%s", corr(free, "spearman", cell));
		mm_table_put(t, MM_DIM, "%s", score_text(json_object_get(free, "rmse"), cell));
		mm_table_put(t, MM_PLAIN, "%s", corr(family, "pearson", cell));
		mm_table_put(t, MM_PLAIN, "%s", corr(family, "spearman", cell));
		mm_table_put(t, MM_DIM, "%s", corr(paper, "pearson", cell));
		mm_table_put(t, MM_DIM, "%s", corr(paper, "spearman", cell));
	}
	int rc = mm_table_print(t, &c->term, c->out, err);
	mm_table_free(t);
	return rc;
}

static int cmp_prediction(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	double p = mm_num(x, "prediction", -HUGE_VAL), q = mm_num(y, "prediction", -HUGE_VAL);
	return p != q ? (p > q ? -1 : 1) : mm_name_cmp(mm_str(x, "name"), mm_str(y, "name"));
}

/* Best first. */
static json_t *sorted(const json_t *list)
{
	size_t n = json_array_size(list);
	json_t **p = calloc(n + 1, sizeof(json_t *)), *out = json_array();
	for (size_t i = 0; p && i < n; i++)
		p[i] = json_array_get(list, i);
	if (p)
		qsort(p, n, sizeof(json_t *), cmp_prediction);
	for (size_t i = 0; p && i < n; i++)
		json_array_append(out, p[i]);
	free(p);
	return out;
}

static int print_all(struct mm_cli *c, const json_t *b, struct mm_err *err)
{
	const json_t *list = json_object_get(b, "benchmarks"), *each = json_object_get(b, "predictions");
	const json_t *random = json_object_get(json_array_get(list, 0), "random");
	if (figures(c, list, err))
		return -1;
	fprintf(c->out,
		"R, RHO: Pearson's and Spearman's correlation of predicted and known scores.\n"
		"RANDOM: %lld folds%s; FAMILIES: folds that keep a family together; clipping is learned\n"
		"inside the folds. PAPER'S: random folds, clipping learned from all models.\n",
		(long long)mm_int(random, "folds", 0), mm_int(random, "repeats", 1) > 1 ? ", five times" : "");
	if (!each)
		return 0;
	json_t *best = sorted(each);
	fputc('\n', c->out);
	int rc = predictions(c, best, "name", "MODEL", err);
	json_decref(best);
	return rc;
}

int mm_run_predict(struct mm_cli *c, struct mm_err *err)
{
	json_t *b, *args = json_object();
	char clean[4096];
	if (c->n_word)
		json_object_set_new(args, "name", json_string(c->word[0]));
	if (c->o.bench)
		json_object_set_new(args, "bench", json_string(c->o.bench));
	if (c->o.domain)
		json_object_set_new(args, "domain", json_string(c->o.domain));
	if (c->o.folds)
		json_object_set_new(args, "folds", json_integer(c->o.folds));
	if (c->o.seed)
		json_object_set_new(args, "seed", json_integer(c->o.seed));
	mm_metric_arg(c, args);
	if (mm_cli_ask(c, "predict", args, &b, err))
		return -1;
	if (!b)
		return 0;
	int rc;
	if (c->n_word) {
		mm_term_clean(&c->term, mm_str(b, "model"), clean, sizeof clean);
		fprintf(c->out, "Predicted for %s%s%s:\n", mm_term_on(&c->term, MM_BOLD), clean,
			mm_term_off(&c->term, MM_BOLD));
		rc = predictions(c, json_object_get(b, "predictions"), "bench", "BENCHMARK", err);
	} else {
		rc = print_all(c, b, err);
	}
	json_decref(b);
	return rc;
}
