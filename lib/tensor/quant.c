/* quant.c - quantised blocks of 32 weights, as GGUF stores them.
 *
 *	q4_0    f16 d | 16 bytes of nibbles                    (q - 8) d
 *	q4_1    f16 d, f16 m | 16 bytes of nibbles             q d + m
 *	q5_0    f16 d | u32 fifth bits | 16 bytes of nibbles   (q - 16) d
 *	q5_1    f16 d, f16 m | u32 | 16 bytes of nibbles       q d + m
 *	q8_0    f16 d | 32 signed bytes                        q d
 *	iq4_nl  f16 d | 16 bytes of nibbles                    level[q] d
 *	mxfp4   u8 exponent | 16 bytes of nibbles              e2m1[q] 2^(e - 127)
 *
 * Byte j of the nibbles holds weight j in its low half and weight j + 16 in its high half; bit j of the fifth bits
 * belongs to weight j. Each value is one product and at most one addition in f32, so that the bits are those of every
 * reader that computes in f32 without contraction (-ffp-contract=off).
 */
#include "tensor/quant.h"

#include <string.h>

#define QK 32

const int8_t mm_iq4_levels[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };

/* Twice the numbers of a 4-bit float with two exponent bits and one of mantissa; the scale is halved instead. */
static const int8_t e2m1_doubled[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

void mm_dequant_q4_0(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 18, dst += QK) {
		const float d = mm_load_f16(src);
		const uint8_t *q = src + 2;
		for (int j = 0; j < QK / 2; j++) {
			dst[j] = (float)((q[j] & 15) - 8) * d;
			dst[j + QK / 2] = (float)((q[j] >> 4) - 8) * d;
		}
	}
}

void mm_dequant_q4_1(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 20, dst += QK) {
		const float d = mm_load_f16(src), m = mm_load_f16(src + 2);
		const uint8_t *q = src + 4;
		for (int j = 0; j < QK / 2; j++) {
			dst[j] = (float)(q[j] & 15) * d + m;
			dst[j + QK / 2] = (float)(q[j] >> 4) * d + m;
		}
	}
}

void mm_dequant_q5_0(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 22, dst += QK) {
		const float d = mm_load_f16(src);
		const uint32_t fifth = mm_load_u32(src + 2);
		const uint8_t *q = src + 6;
		for (int j = 0; j < QK / 2; j++) {
			int lo = (q[j] & 15) | (int)(fifth >> j & 1) << 4;
			int hi = q[j] >> 4 | (int)(fifth >> (j + 16) & 1) << 4;
			dst[j] = (float)(lo - 16) * d;
			dst[j + QK / 2] = (float)(hi - 16) * d;
		}
	}
}

void mm_dequant_q5_1(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 24, dst += QK) {
		const float d = mm_load_f16(src), m = mm_load_f16(src + 2);
		const uint32_t fifth = mm_load_u32(src + 4);
		const uint8_t *q = src + 8;
		for (int j = 0; j < QK / 2; j++) {
			int lo = (q[j] & 15) | (int)(fifth >> j & 1) << 4;
			int hi = q[j] >> 4 | (int)(fifth >> (j + 16) & 1) << 4;
			dst[j] = (float)lo * d + m;
			dst[j + QK / 2] = (float)hi * d + m;
		}
	}
}

void mm_dequant_q8_0(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 34, dst += QK) {
		const float d = mm_load_f16(src);
		const uint8_t *q = src + 2;
		for (int j = 0; j < QK; j++)
			dst[j] = (float)(int8_t)q[j] * d;
	}
}

static void from_levels(const uint8_t *q, const int8_t *level, float d, float *dst)
{
	for (int j = 0; j < QK / 2; j++) {
		dst[j] = d * (float)level[q[j] & 15];
		dst[j + QK / 2] = d * (float)level[q[j] >> 4];
	}
}

void mm_dequant_iq4_nl(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 18, dst += QK)
		from_levels(src + 2, mm_iq4_levels, mm_load_f16(src), dst);
}

/* 2^(e - 128) for e = 0..255: subnormal in f32 below e = 2. */
static float half_of_e8m0(uint8_t e)
{
	uint32_t u = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

void mm_dequant_mxfp4(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 17, dst += QK)
		from_levels(src + 1, e2m1_doubled, half_of_e8m0(src[0]), dst);
}
