/* scores_csv.h - a table of benchmark scores as text: first row the benchmarks, first column the models. */
#ifndef MM_SCORES_CSV_H
#define MM_SCORES_CSV_H

#include "base/base.h"

#define MM_CSV_BENCH_MAX 1000
#define MM_CSV_BYTES_MAX ((size_t)64 << 20)

struct mm_csv_row {
	const char *model; /* into the text */
	size_t line;
	double *v; /* [n_bench] NAN: empty */
};
struct mm_csv {
	char *text; /* owned copy, cut into fields */
	const char **bench;
	size_t n_bench, cap_bench;
	struct mm_csv_row *row;
	size_t n, cap;
	size_t n_value, n_empty; /* cells */
};
/* Commas, tabs or semicolons (the first row decides), quotes as in RFC 4180, CR LF or LF, a byte order mark. Cells:
 * decimal numbers, a percent sign behind them is passed over; empty, "-", NA, N/A, NaN, null and none: no score.
 * Everything else is an error that names line, model and column. */
int mm_csv_parse(struct mm_csv *c, const char *text, size_t len, struct mm_err *err) MM_MUST_CHECK;
void mm_csv_fini(struct mm_csv *c); /* zeroed is fine */

#endif
