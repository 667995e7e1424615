/* out_table.c - tables for people: fitted to the terminal by shortening long names, then by leaving out the columns
 * that matter least; nothing is fitted when the output is a file or a pipe. */
#include "client/client.h"

#include <limits.h>
#include <string.h>

#define GAP	 2
#define LINE	 4096 /* bytes of one cell, cleaned */
#define MAXCOL	 24
#define READABLE 22 /* columns of a name before other columns are given up for it */

struct cell {
	char *text;
	enum mm_style style;
};

struct mm_table {
	const struct mm_col *col;
	size_t n_col, n, cap; /* cells */
	struct cell *cell;
	bool failed;
};

struct mm_table *mm_table_new(const struct mm_col *cols, size_t n, struct mm_err *err)
{
	struct mm_table *t = mm_calloc(1, sizeof *t, err);
	if (!t)
		return NULL;
	t->col = cols;
	t->n_col = MM_MIN(n, (size_t)MAXCOL);
	return t;
}

void mm_table_put(struct mm_table *t, enum mm_style s, const char *fmt, ...)
{
	struct mm_err err;
	char text[LINE];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (t->failed || mm_grow(&t->cell, &t->cap, t->n + 1, sizeof *t->cell, &err) ||
		!(t->cell[t->n].text = mm_strdup(text, &err))) {
		t->failed = true;
		return;
	}
	t->cell[t->n++].style = s;
}

size_t mm_table_rows(const struct mm_table *t)
{
	return t->n / t->n_col;
}

struct widths {
	int w[MAXCOL]; /* 0: not shown */
};

static int total(const struct mm_table *t, const struct widths *w)
{
	int sum = 0;
	for (size_t c = 0; c < t->n_col; c++)
		if (w->w[c])
			sum += w->w[c] + (sum ? GAP : 0);
	return sum;
}

static void natural(const struct mm_table *t, const struct mm_term *term, struct widths *w)
{
	char clean[LINE];
	*w = (struct widths){ 0 };
	for (size_t i = 0; i < t->n; i++) {
		int n = mm_term_clean(term, t->cell[i].text, clean, sizeof clean);
		w->w[i % t->n_col] = MM_MAX(w->w[i % t->n_col], n);
	}
	for (size_t c = 0; c < t->n_col; c++) /* a column without any text is not shown */
		if (w->w[c])
			w->w[c] = MM_MAX(w->w[c], (int)strlen(t->col[c].title));
}

/* Takes columns off the widest of those that may be shortened and are wider than `least` says, until it fits. */
static bool shorten(const struct mm_table *t, struct widths *w, int width, const int least[MAXCOL])
{
	for (int over = total(t, w) - width; over > 0; over--) {
		size_t widest = t->n_col;
		for (size_t c = 0; c < t->n_col; c++)
			if (t->col[c].min && w->w[c] > least[c] && (widest == t->n_col || w->w[c] > w->w[widest]))
				widest = c;
		if (widest == t->n_col)
			return false;
		w->w[widest]--;
	}
	return true;
}

/* Remarks give way first, then columns go one by one, and only when there is nothing else left are names cut short. */
static void fit(const struct mm_table *t, const struct mm_term *term, struct widths *w)
{
	struct widths full;
	int remarks[MAXCOL], readable[MAXCOL], least[MAXCOL];
	natural(t, term, &full);
	*w = full;
	if (!term->width)
		return;
	for (size_t c = 0; c < t->n_col; c++) {
		least[c] = t->col[c].min;
		readable[c] = t->col[c].prio ? least[c] : MM_MAX(least[c], READABLE);
		remarks[c] = t->col[c].prio ? least[c] : INT_MAX;
	}
	for (;;) {
		*w = full;
		if (shorten(t, w, term->width, remarks) || shorten(t, w, term->width, readable))
			return;
		size_t drop = t->n_col;
		for (size_t c = 0; c < t->n_col; c++)
			if (full.w[c] && t->col[c].prio && (drop == t->n_col || t->col[c].prio >= t->col[drop].prio))
				drop = c;
		if (drop == t->n_col)
			break;
		full.w[drop] = 0;
	}
	(void)!shorten(t, w, term->width, least); /* narrower than what must be shown: the terminal wraps */
}

static void put_cell(const struct mm_table *t, const struct mm_term *term, FILE *out, size_t c, int width, bool last,
	const char *text, enum mm_style style)
{
	char clean[LINE], cut[LINE];
	mm_term_clean(term, text, clean, sizeof clean);
	mm_term_fit(term, clean, width, cut, sizeof cut);
	int pad = MM_MAX(width - mm_term_width(term, cut), 0);
	fprintf(out, "%*s%s%s%s%*s", t->col[c].right ? pad : 0, "", mm_term_on(term, style), cut,
		mm_term_off(term, style), t->col[c].right || last ? 0 : pad, "");
}

int mm_table_print(const struct mm_table *t, const struct mm_term *term, FILE *out, struct mm_err *err)
{
	struct widths w;
	size_t last = 0;
	if (t->failed)
		return mm_fail(err, MM_ENOMEM, "out of memory for a table");
	fit(t, term, &w);
	for (size_t c = 0; c < t->n_col; c++)
		if (w.w[c])
			last = c;
	for (size_t row = 0; row <= mm_table_rows(t); row++) {
		bool first = true;
		for (size_t c = 0; c < t->n_col; c++) {
			if (!w.w[c])
				continue;
			const struct cell *x = row ? &t->cell[(row - 1) * t->n_col + c] : NULL;
			fprintf(out, "%*s", first ? 0 : GAP, "");
			put_cell(t, term, out, c, w.w[c], c == last, x ? x->text : t->col[c].title,
				x ? x->style : MM_BOLD);
			first = false;
		}
		fputc('\n', out);
	}
	return 0;
}

void mm_table_free(struct mm_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		mm_free(t->cell[i].text);
	mm_free(t->cell);
	mm_free(t);
}
