/* test_quant.c - block types against a second formulation: the value of weight i alone, from the bits that belong to
 * it. Products are formed in the same order, so the bits must be equal. Blocks are random, f16 scales finite. */
#include "tensor/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static float f16(const uint8_t *p)
{
	return mm_f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

/* Bits [at, at + n) of a little-endian bit string. */
static int field(const uint8_t *p, int at, int n)
{
	int v = 0;
	for (int k = 0; k < n; k++)
		v |= (p[(at + k) / 8] >> ((at + k) % 8) & 1) << k;
	return v;
}

/* Nibble of weight i where byte j of a run of `half` bytes holds weights j and j + half. */
static int nibble(const uint8_t *p, int i, int half)
{
	return field(p + i % half, i / half * 4, 4);
}

static float q4_0(const uint8_t *b, int i)
{
	return (float)(nibble(b + 2, i, 16) - 8) * f16(b);
}

static float q4_1(const uint8_t *b, int i)
{
	float v = (float)nibble(b + 4, i, 16) * f16(b);
	return v + f16(b + 2);
}

static float q5_0(const uint8_t *b, int i)
{
	return (float)(nibble(b + 6, i, 16) + 16 * field(b + 2, i, 1) - 16) * f16(b);
}

static float q5_1(const uint8_t *b, int i)
{
	float v = (float)(nibble(b + 8, i, 16) + 16 * field(b + 4, i, 1)) * f16(b);
	return v + f16(b + 2);
}

static float q8_0(const uint8_t *b, int i)
{
	return (float)(int8_t)b[2 + i] * f16(b);
}

static float iq4_nl(const uint8_t *b, int i)
{
	static const float level[] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
	return f16(b) * level[nibble(b + 2, i, 16)];
}

static float mxfp4(const uint8_t *b, int i)
{
	int q = nibble(b + 1, i, 16), exp = q >> 1 & 3, man = q & 1;
	double v = exp ? ldexp(1 + man / 2.0, exp - 1) : man / 2.0; /* e2m1 */
	return (float)ldexp(q & 8 ? -v : v, b[0] - 127);
}

/* Two bits of weight i: halves of 128, in each byte l holds weights l, l + 32, l + 64, l + 96. */
static int pair(const uint8_t *p, int i)
{
	return field(p + i / 128 * 32 + i % 32, i % 128 / 32 * 2, 2);
}

static float q2_k(const uint8_t *b, int i)
{
	float s = f16(b + 80) * (float)(b[i / 16] & 15), m = f16(b + 82) * (float)(b[i / 16] >> 4);
	float v = s * (float)pair(b + 16, i);
	return v - m;
}

static float q3_k(const uint8_t *b, int i)
{
	const uint8_t *sc = b + 96;
	int g = i / 16;
	int scale = (g < 8 ? sc[g] & 15 : sc[g - 8] >> 4) + 16 * (sc[8 + g % 4] >> g / 4 * 2 & 3);
	int third = b[i % 32] >> i / 32 & 1;
	return f16(b + 108) * (float)(scale - 32) * (float)(pair(b + 32, i) + 4 * third - 4);
}

static int scale6(const uint8_t *p, int g, bool min)
{
	const uint8_t *lo = min ? p + 4 : p;
	if (g < 4)
		return lo[g] & 63;
	return (min ? p[4 + g] >> 4 : p[4 + g] & 15) + 16 * (lo[g - 4] >> 6);
}

static float q4_k(const uint8_t *b, int i)
{
	float s = f16(b) * (float)scale6(b + 4, i / 32, false), m = f16(b + 2) * (float)scale6(b + 4, i / 32, true);
	float v = s * (float)nibble(b + 16 + i / 64 * 32, i % 64, 32);
	return v - m;
}

static float q5_k(const uint8_t *b, int i)
{
	float s = f16(b) * (float)scale6(b + 4, i / 32, false), m = f16(b + 2) * (float)scale6(b + 4, i / 32, true);
	float v = s * (float)(nibble(b + 48 + i / 64 * 32, i % 64, 32) + 16 * (b[16 + i % 32] >> i / 32 & 1));
	return v - m;
}

static float q6_k(const uint8_t *b, int i)
{
	int q = nibble(b + i / 128 * 64, i % 128, 64) + 16 * pair(b + 128, i);
	return f16(b + 208) * (float)(int8_t)b[192 + i / 16] * (float)(q - 32);
}

static float q8_k(const uint8_t *b, int i)
{
	float d;
	memcpy(&d, b, sizeof d);
	return d * (float)(int8_t)b[4 + i];
}

static float iq4_xs(const uint8_t *b, int i)
{
	static const float level[] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
	int g = i / 32, scale = field(b + 4, 4 * g, 4) + 16 * field(b + 2, 2 * g, 2);
	return f16(b) * (float)(scale - 32) * level[nibble(b + 8 + 16 * g, i % 32, 16)];
}

static const struct {
	enum mm_dtype type;
	float (*value)(const uint8_t *b, int i);
	int f16_at[2]; /* where f16 scales are, -1: none */
} types[] = {
	{ MM_Q4_0, q4_0, { 0, -1 } },
	{ MM_Q4_1, q4_1, { 0, 2 } },
	{ MM_Q5_0, q5_0, { 0, -1 } },
	{ MM_Q5_1, q5_1, { 0, 2 } },
	{ MM_Q8_0, q8_0, { 0, -1 } },
	{ MM_IQ4_NL, iq4_nl, { 0, -1 } },
	{ MM_MXFP4, mxfp4, { -1, -1 } },
	{ MM_Q2_K, q2_k, { 80, 82 } },
	{ MM_Q3_K, q3_k, { 108, -1 } },
	{ MM_Q4_K, q4_k, { 0, 2 } },
	{ MM_Q5_K, q5_k, { 0, 2 } },
	{ MM_Q6_K, q6_k, { 208, -1 } },
	{ MM_Q8_K, q8_k, { -1, -1 } },
	{ MM_IQ4_XS, iq4_xs, { 0, -1 } },
};

#define BLOCKS 200

static void blocks_equal_the_definition(void **state)
{
	(void)state;
	struct mm_rng rng;
	mm_rng_init(&rng, 7);
	for (size_t k = 0; k < MM_COUNT(types); k++) {
		const struct mm_dtype_info *d = &mm_dtypes[types[k].type];
		uint8_t *raw = malloc((size_t)d->bytes * BLOCKS + 1), *src = raw + 1; /* unaligned */
		float *out = malloc(sizeof *out * d->block * BLOCKS);
		for (size_t i = 0; i < (size_t)d->bytes * BLOCKS; i++)
			src[i] = (uint8_t)mm_rng_u64(&rng);
		for (size_t b = 0; b < BLOCKS; b++) {
			uint8_t *p = src + b * d->bytes;
			for (int s = 0; s < 2; s++)
				if (types[k].f16_at[s] >= 0)
					p[types[k].f16_at[s] + 1] &= 0xbb; /* below the exponent of infinity */
			if (types[k].type == MM_Q8_K)
				memcpy(p, &(float){ (float)mm_rng_normal(&rng) }, 4);
			if (types[k].type == MM_MXFP4)
				p[0] = b < 3	? (uint8_t)b
				       : b == 3 ? 254
						: (uint8_t)(100 + b % 50); /* subnormal results too */
		}
		mm_dequant(types[k].type, src, out, (size_t)d->block * BLOCKS);
		for (size_t b = 0; b < BLOCKS; b++)
			for (unsigned i = 0; i < d->block; i++) {
				float want = types[k].value(src + b * d->bytes, (int)i), got = out[b * d->block + i];
				if (memcmp(&want, &got, sizeof want) && !(want == 0 && got == 0))
					fail_msg("%s block %zu weight %u: %.9g, expected %.9g", d->name, b, i,
						(double)got, (double)want);
			}
		free(raw);
		free(out);
	}
}

/* Every type with blocks has a second formulation above. */
static void no_type_is_left_out(void **state)
{
	(void)state;
	for (int d = 0; d < MM_DTYPE_COUNT; d++) {
		bool there = mm_dtypes[d].block == 1;
		for (size_t k = 0; k < MM_COUNT(types); k++)
			there |= (int)types[k].type == d;
		if (!there)
			fail_msg("%s has no test", mm_dtypes[d].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_equal_the_definition),
		cmocka_unit_test(no_type_is_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
