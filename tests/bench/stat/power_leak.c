/* power_leak.c: how often a planted leak is found, by its share of the texts and its gain, and who is blamed wrongly.
 * `make power` prints the table that the documentation keeps. Arguments: worlds, models, texts. */
#include "../../unit/stat/leak_sim.h"

#include <stdio.h>

int main(int argc, char **argv)
{
	static const double gains[] = { 0.05, 0.1, 0.2, 0.3, 0.5, 1 };
	static const double shares[] = { 0.02, 0.05, 0.1, 0.3, 0.5 };
	size_t worlds = argc > 1 ? (size_t)atoi(argv[1]) : 4, k = argc > 2 ? (size_t)atoi(argv[2]) : 40,
	       n = argc > 3 ? (size_t)atoi(argv[3]) : 1000;
	size_t wrong = 0, healthy = 0;
	printf("%zu worlds of %zu models, %zu texts; a fifth of the fine-tunes leaked\n", worlds, k, n);
	printf("found, of the leaked (precision, recall of the texts):\n\nshare of texts");
	for (size_t g = 0; g < MM_COUNT(gains); g++)
		printf("  %4.2f nat/token     ", gains[g]);
	printf("\n");
	for (size_t s = 0; s < MM_COUNT(shares); s++) {
		printf("%13.0f%%", 100 * shares[s]);
		for (size_t g = 0; g < MM_COUNT(gains); g++) {
			size_t hit = 0, all = 0;
			double precision = 0, recall = 0;
			for (size_t i = 0; i < worlds; i++) {
				struct sim w;
				sim_new(&w, k, n, 1000 * s + 100 * g + i, 0.2, shares[s], gains[g]);
				wrong += sim_stream(&w, i, 1, 0.05);
				for (size_t m = 0; m < k; m++) {
					all += w.leaked[m];
					hit += w.leaked[m] && w.found[m];
					healthy += !w.leaked[m];
					if (w.leaked[m] && w.found[m]) {
						precision += w.precision[m];
						recall += w.recall[m];
					}
				}
				sim_free(&w);
			}
			if (hit)
				printf("  %3zu/%-3zu (%.2f %.2f)", hit, all, precision / (double)hit,
					recall / (double)hit);
			else
				printf("  %3zu/%-3zu            ", hit, all);
			fflush(stdout);
		}
		printf("\n");
	}
	printf("\nhealthy models blamed at any time: %zu of %zu\n", wrong, healthy);
	return 0;
}
