/* multiple.c: false discoveries controlled over a stream of hypotheses (LORD++).
 *
 * Every test pays its level out of a wealth that starts at w0; every discovery earns some back. What the levels are
 * depends on when the discoveries before were made and on nothing else, so the whole sequence is replayed from the
 * p-values. */
#include "stat/stat_leak.h"

#include <math.h>

/* 1 / sum of log(max(t, 2)) / (t exp(sqrt(log t))) over all t: summed to 1e6, the rest by its integral. */
#define GAMMA_SCALE 0.07908196

double mm_fdr_gamma(size_t t)
{
	double x = (double)t;
	return t ? GAMMA_SCALE * log(fmax(x, 2)) / (x * exp(sqrt(log(x)))) : 0;
}

void mm_fdr_replay(struct mm_fdr_row *row, size_t n, double q)
{
	double w0 = q / 2, wealth = w0;
	size_t first = SIZE_MAX;
	for (size_t t = 0; t < n; t++) {
		double level = w0 * mm_fdr_gamma(t + 1);
		for (size_t j = first; j < t; j++)
			if (row[j].found)
				level += (j == first ? q - w0 : q) * mm_fdr_gamma(t - j);
		row[t].level = level;
		row[t].found = row[t].p <= level;
		wealth -= level;
		if (row[t].found) {
			wealth += first == SIZE_MAX ? q - w0 : q;
			first = first == SIZE_MAX ? t : first;
		}
		row[t].wealth = wealth;
	}
}
