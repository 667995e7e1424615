/* rng.c - xoshiro256++ (Blackman and Vigna, 2019), seeded by splitmix64. Integer arithmetic only up to the last step,
 * so the same seed gives the same numbers on every machine. */
#include "base/base.h"

#include <math.h>

static uint64_t rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

void mm_rng_init(struct mm_rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += UINT64_C(0x9E3779B97F4A7C15);
		z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
		z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
		r->s[i] = z ^ z >> 31;
	}
}

uint64_t mm_rng_u64(struct mm_rng *r)
{
	uint64_t *s = r->s, out = rotl(s[0] + s[3], 23) + s[0], t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return out;
}

uint64_t mm_rng_below(struct mm_rng *r, uint64_t n)
{
	/* Lemire 2019: multiply and shift; the short tail that would favour small values is rejected. */
	uint64_t least = -n % n;
	for (;;) {
		unsigned __int128 m = (unsigned __int128)mm_rng_u64(r) * n;
		if ((uint64_t)m >= least)
			return (uint64_t)(m >> 64);
	}
}

double mm_rng_double(struct mm_rng *r)
{
	return (double)(mm_rng_u64(r) >> 11) * 0x1p-53;
}

double mm_rng_normal(struct mm_rng *r)
{
	/* Box-Muller without keeping the second value: the state stays four words. */
	double u = 1.0 - mm_rng_double(r), v = mm_rng_double(r);
	return sqrt(-2.0 * log(u)) * cos(2.0 * 3.14159265358979323846 * v);
}
