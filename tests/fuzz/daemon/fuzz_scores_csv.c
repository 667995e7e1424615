/* fuzz_scores_csv.c - a table of scores is read without harm; what is taken is whole: every row has a name, every
 * number is finite or missing. */
#include "daemon/scores_csv.h"
#include "store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_csv c;
	struct mm_err err;
	size_t n = 0;
	if (mm_csv_parse(&c, (const char *)data, size, &err))
		return 0;
	for (size_t b = 0; b < c.n_bench; b++)
		if (!*c.bench[b] || strlen(c.bench[b]) > MM_BENCH_NAME_MAX)
			abort();
	for (size_t i = 0; i < c.n; i++) {
		if (!*c.row[i].model)
			abort();
		for (size_t b = 0; b < c.n_bench; b++) {
			if (isinf(c.row[i].v[b]))
				abort();
			n += !isnan(c.row[i].v[b]);
		}
	}
	if (n != c.n_value || n + c.n_empty != c.n * c.n_bench)
		abort();
	mm_csv_fini(&c);
	return 0;
}
