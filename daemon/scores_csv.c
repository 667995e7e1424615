/* scores_csv.c - reads a table of benchmark scores; see scores_csv.h. Fields are cut out of a copy of the text. */
#include "daemon/scores_csv.h"
#include "base/csv.h"
#include "store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- first row ---- */

static int add_bench(struct mm_csv *c, const struct mm_csv_cut *r, const char *name, struct mm_err *err)
{
	size_t column = c->n_bench + 2;
	if (!*name)
		return mm_fail(err, MM_EFORMAT, "line %zu: column %zu has no name", r->line, column);
	if (strlen(name) > MM_BENCH_NAME_MAX)
		return mm_fail(err, MM_EFORMAT, "line %zu: the name of column %zu has more than %d bytes: %s", r->line,
			column, MM_BENCH_NAME_MAX, name);
	for (size_t b = 0; b < c->n_bench; b++)
		if (strcmp(c->bench[b], name) == 0)
			return mm_fail(err, MM_EFORMAT, "line %zu: columns %zu and %zu are both called %s", r->line,
				b + 2, column, name);
	if (c->n_bench == MM_CSV_BENCH_MAX)
		return mm_fail(err, MM_EFORMAT, "more than %d benchmarks", MM_CSV_BENCH_MAX);
	if (mm_grow(&c->bench, &c->cap_bench, c->n_bench + 1, sizeof(*c->bench), err))
		return -1;
	c->bench[c->n_bench++] = name;
	return 0;
}

static int head(struct mm_csv *c, struct mm_csv_cut *r, struct mm_err *err)
{
	if (r->p == r->end)
		return mm_fail(err, MM_EFORMAT,
			"the table is empty: its first line names the benchmarks (model,arc,mmlu,...), each further "
			"line "
			"has a model and its scores");
	if (!mm_csv_field(r, err))
		return -1;
	if (r->row_over)
		return mm_fail(err, MM_EFORMAT,
			"line %zu: only one column: the first line is \"model\" and the names of the benchmarks, with "
			"commas "
			"between",
			r->line);
	while (!r->row_over) {
		char *name = mm_csv_field(r, err);
		if (!name || add_bench(c, r, name, err))
			return -1;
	}
	return 0;
}

/* ---- cells ---- */

static bool means_none(const char *s)
{
	static const char *const none[] = { "", "-", "na", "n/a", "nan", "null", "none" };
	for (size_t i = 0; i < MM_COUNT(none); i++)
		if (strcasecmp(s, none[i]) == 0)
			return true;
	return false;
}

/* Decimal only: strtod alone takes "inf", hexadecimal and more. */
static bool number_of(const char *s, double *out)
{
	char *end;
	if (s[strspn(s, "0123456789+-.eE%")])
		return false;
	*out = strtod(s, &end);
	return end != s && isfinite(*out) && (*end == 0 || strcmp(end, "%") == 0);
}

static int cells(struct mm_csv *c, struct mm_csv_cut *r, struct mm_csv_row *row, struct mm_err *err)
{
	char shown[120];
	size_t b = 0;
	for (; !r->row_over; b++) {
		char *s = mm_csv_field(r, err);
		if (!s)
			return -1;
		if (b >= c->n_bench) {
			if (*s == 0) /* a separator at the end of every line */
				continue;
			return mm_fail(err, MM_EFORMAT, "line %zu: more cells than the first line has columns (%zu)",
				row->line, c->n_bench + 1);
		}
		row->v[b] = NAN;
		if (means_none(s)) {
			c->n_empty++;
		} else if (number_of(s, &row->v[b])) {
			c->n_value++;
		} else {
			mm_utf8_sanitize(shown, sizeof shown, s, strlen(s));
			return mm_fail(err, MM_EFORMAT,
				"line %zu, model %s, column %s: \"%s\" is no number (a cell may be empty where there "
				"is no "
				"score)",
				row->line, row->model, c->bench[b], shown);
		}
	}
	if (b < c->n_bench)
		return mm_fail(err, MM_EFORMAT, "line %zu, model %s: %zu cells, the first line has %zu columns",
			row->line, row->model, b + 1, c->n_bench + 1);
	return 0;
}

static int row_add(struct mm_csv *c, struct mm_csv_cut *r, struct mm_err *err)
{
	char *name = mm_csv_field(r, err);
	if (!name)
		return -1;
	size_t len = strlen(name);
	while (len > 1 && name[len - 1] == '/')
		name[--len] = 0;
	if (!len)
		return mm_fail(err, MM_EFORMAT, "line %zu: the first cell, the model's name, is empty", r->line);
	if (mm_grow(&c->row, &c->cap, c->n + 1, sizeof(*c->row), err))
		return -1;
	struct mm_csv_row *row = &c->row[c->n];
	*row = (struct mm_csv_row){ .model = name, .line = r->line };
	if (!(row->v = mm_calloc(c->n_bench, sizeof(double), err)))
		return -1;
	c->n++;
	return cells(c, r, row, err);
}

static int cmp_row(const void *a, const void *b)
{
	const struct mm_csv_row *x = *(const struct mm_csv_row *const *)a, *y = *(const struct mm_csv_row *const *)b;
	int by_name = strcmp(x->model, y->model);
	return by_name ? by_name : (x->line > y->line) - (x->line < y->line);
}

static int no_twice(const struct mm_csv *c, struct mm_err *err)
{
	const struct mm_csv_row **p = mm_calloc(c->n, sizeof(*p), err);
	int rc = p ? 0 : -1;
	for (size_t i = 0; p && i < c->n; i++)
		p[i] = &c->row[i];
	if (p)
		qsort(p, c->n, sizeof(*p), cmp_row);
	for (size_t i = 1; i < c->n && rc == 0; i++)
		if (strcmp(p[i]->model, p[i - 1]->model) == 0)
			rc = mm_fail(err, MM_EFORMAT, "lines %zu and %zu are both of model %s", p[i - 1]->line,
				p[i]->line, p[i]->model);
	mm_free(p);
	return rc;
}

int mm_csv_parse(struct mm_csv *c, const char *text, size_t len, struct mm_err *err)
{
	*c = (struct mm_csv){ 0 };
	if (len > MM_CSV_BYTES_MAX)
		return mm_fail(err, MM_EFORMAT, "a table of %zu bytes; at most %zu", len, MM_CSV_BYTES_MAX);
	if (memchr(text, 0, len) || !mm_utf8_valid(text, len))
		return mm_fail(err, MM_EFORMAT, "the table is no UTF-8 text: save it as CSV (UTF-8)");
	if (!(c->text = mm_strndup(text, len, err)))
		return -1;
	struct mm_csv_cut r;
	mm_csv_begin(&r, c->text, len);
	int rc = head(c, &r, err);
	while (rc == 0 && r.p < r.end)
		if (!mm_csv_blank(&r))
			rc = row_add(c, &r, err);
	if (rc == 0 && c->n == 0)
		rc = mm_fail(err, MM_EFORMAT, "the table has a first line and no models");
	if (rc == 0)
		rc = no_twice(c, err);
	if (rc)
		mm_csv_fini(c);
	return rc;
}

void mm_csv_fini(struct mm_csv *c)
{
	for (size_t i = 0; i < c->n; i++)
		mm_free(c->row[i].v);
	mm_free(c->row);
	mm_free(c->bench);
	mm_free(c->text);
	*c = (struct mm_csv){ 0 };
}
