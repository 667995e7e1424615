/* fisher_kit.h - rows of next-byte distributions for tests: chosen ones, and random models. */
#ifndef FISHER_KIT_H
#define FISHER_KIT_H

#include "stat/stat_fisher.h"
#include "util.h"

static uint16_t to_half(double x)
{
	uint16_t best = 0; /* slow and obvious: bisection over the positive numbers of f16 */
	for (uint16_t bit = 0x4000; bit; bit = (uint16_t)(bit >> 1))
		if ((best | bit) < 0x7c00 && (double)mm_f16_to_f32(best | bit) <= x)
			best |= bit;
	double lo = (double)mm_f16_to_f32(best), hi = (double)mm_f16_to_f32((uint16_t)(best + 1));
	return x - lo > hi - x ? (uint16_t)(best + 1) : best;
}

/* One probe, unpacked, of probabilities p[] on bytes at[]. */
static void row_of(float *out, size_t n, const unsigned *at, const double *p)
{
	memset(out, 0, MM_BYTE_STRIDE * sizeof(*out));
	for (size_t i = 0; i < n; i++)
		out[at[i]] = (float)sqrt(p[i]);
}

/* Random models like those of one data set: logits of a probe, of a family and of the model. */
struct world {
	uint16_t **f16;
	float **row;
	size_t k, m;
};

static void world_new(struct world *w, size_t k, size_t m, size_t families, double spread, uint64_t seed)
{
	struct mm_err err;
	double p[MM_BYTES];
	*w = (struct world){ malloc(k * sizeof(*w->f16)), malloc(k * sizeof(*w->row)), k, m };
	for (size_t j = 0; j < k; j++) {
		struct mm_rng base, family, own;
		mm_rng_init(&base, seed);
		mm_rng_init(&family, seed + 1 + j % families);
		mm_rng_init(&own, seed + 1000 + j);
		w->f16[j] = malloc(m * MM_BYTES * sizeof(uint16_t));
		w->row[j] = malloc(m * MM_BYTE_STRIDE * sizeof(float));
		for (size_t i = 0; i < m; i++) {
			double sum = 0;
			for (size_t b = 0; b < MM_BYTES; b++) {
				double logit = 3 * mm_rng_normal(&base) + 1 * mm_rng_normal(&family);
				sum += p[b] = exp(logit + spread * mm_rng_normal(&own));
			}
			for (size_t b = 0; b < MM_BYTES; b++)
				w->f16[j][i * MM_BYTES + b] = to_half(sqrt(p[b] / sum));
		}
		MUST(mm_bytes_unpack(w->f16[j], m, w->row[j], &err));
	}
}

static void world_free(struct world *w)
{
	for (size_t j = 0; j < w->k; j++) {
		free(w->f16[j]);
		free(w->row[j]);
	}
	free(w->f16);
	free(w->row);
}

#endif
