/* quant_k.c - quantised super-blocks of 256 weights, as GGUF stores them: small integers q, a small integer scale (and
 * minimum) for each group of 16 or 32 weights, and one or two f16 that scale those.
 *
 *	q2_k    16 x (4 bit scale, 4 bit min) | 64 bytes q | f16 d, dmin         d sc q - dmin m     groups of 16
 *	q3_k    32 bytes third bits | 64 bytes q | 12 bytes scales | f16 d       d (sc - 32) (q - 4)  groups of 16
 *	q4_k    f16 d, dmin | 12 bytes scales and mins | 128 bytes q             d sc q - dmin m     groups of 32
 *	q5_k    f16 d, dmin | 12 bytes | 32 bytes fifth bits | 128 bytes q       d sc q - dmin m     groups of 32
 *	q6_k    128 bytes low nibbles | 64 bytes high pairs | 16 i8 | f16 d      d sc (q - 32)       groups of 16
 *	q8_k    f32 d | 256 i8 | 16 i16 sums (not needed)                        d q
 *	iq4_xs  f16 d | u16 high scale bits | 4 bytes low | 128 bytes q          d (sc - 32) level[q] groups of 32
 *
 * 2-bit fields: byte l of a run of 32 holds weights l, l + 32, l + 64, l + 96 of its half (128 weights), lowest bits
 * first. Products are formed in the order (d sc) q, then the minimum is subtracted: the order decides the last bit.
 */
#include "tensor/quant.h"

#include <string.h>

#define QK 256

void mm_dequant_q2_k(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 84, dst += QK) {
		const uint8_t *scale = src, *q = src + 16;
		const float d = mm_load_f16(src + 80), dmin = mm_load_f16(src + 82);
		for (int g = 0; g < 16; g++) { /* group g: half g / 8, bit pair g / 2 % 4, part g % 2 of 32 bytes */
			const uint8_t *p = q + g / 8 * 32 + g % 2 * 16;
			const int shift = g / 2 % 4 * 2;
			const float s = d * (float)(scale[g] & 15), m = dmin * (float)(scale[g] >> 4);
			for (int l = 0; l < 16; l++)
				dst[g * 16 + l] = s * (float)(p[l] >> shift & 3) - m;
		}
	}
}

/* Sixteen 6-bit scales in 12 bytes: low nibbles in bytes 0-7 (first eight in the low halves), the upper two bits of
 * scale i in bits 2 (i / 4) of byte 8 + i % 4. */
static void unpack_q3_scales(const uint8_t *p, int8_t scale[16])
{
	for (int i = 0; i < 16; i++) {
		int lo = i < 8 ? p[i] & 15 : p[i - 8] >> 4;
		int hi = p[8 + i % 4] >> (i / 4 * 2) & 3;
		scale[i] = (int8_t)((lo | hi << 4) - 32);
	}
}

void mm_dequant_q3_k(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 110, dst += QK) {
		const uint8_t *third = src, *q = src + 32;
		const float d = mm_load_f16(src + 108);
		int8_t scale[16];
		unpack_q3_scales(src + 96, scale);
		for (int g = 0; g < 16; g++) {
			const uint8_t *p = q + g / 8 * 32 + g % 2 * 16, *h = third + g % 2 * 16;
			const int shift = g / 2 % 4 * 2, bit = g / 2; /* one bit of each third byte per 32 weights */
			const float s = d * (float)scale[g];
			for (int l = 0; l < 16; l++) {
				int v = (p[l] >> shift & 3) - 4 + ((h[l] >> bit & 1) << 2);
				dst[g * 16 + l] = s * (float)v;
			}
		}
	}
}

/* Eight 6-bit scales and eight 6-bit minima in 12 bytes: the first four of each in the low six bits of bytes 0-3 and
 * 4-7; the others have their low nibbles in bytes 8-11 and their upper two bits on top of bytes 0-3 and 4-7. */
static void unpack_q4_scales(const uint8_t *p, uint8_t scale[8], uint8_t min[8])
{
	for (int i = 0; i < 4; i++) {
		scale[i] = p[i] & 63;
		min[i] = p[i + 4] & 63;
		scale[i + 4] = (uint8_t)((p[i + 8] & 15) | p[i] >> 6 << 4);
		min[i + 4] = (uint8_t)(p[i + 8] >> 4 | p[i + 4] >> 6 << 4);
	}
}

void mm_dequant_q4_k(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 144, dst += QK) {
		const float d = mm_load_f16(src), dmin = mm_load_f16(src + 2);
		const uint8_t *q = src + 16;
		uint8_t scale[8], min[8];
		unpack_q4_scales(src + 4, scale, min);
		for (int g = 0; g < 8; g++) {
			const uint8_t *p = q + g / 2 * 32;
			const int shift = g % 2 * 4;
			const float s = d * (float)scale[g], m = dmin * (float)min[g];
			for (int l = 0; l < 32; l++)
				dst[g * 32 + l] = s * (float)(p[l] >> shift & 15) - m;
		}
	}
}

void mm_dequant_q5_k(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 176, dst += QK) {
		const float d = mm_load_f16(src), dmin = mm_load_f16(src + 2);
		const uint8_t *fifth = src + 16, *q = src + 48;
		uint8_t scale[8], min[8];
		unpack_q4_scales(src + 4, scale, min);
		for (int g = 0; g < 8; g++) {
			const uint8_t *p = q + g / 2 * 32;
			const int shift = g % 2 * 4;
			const float s = d * (float)scale[g], m = dmin * (float)min[g];
			for (int l = 0; l < 32; l++) {
				int v = (p[l] >> shift & 15) | (fifth[l] >> g & 1) << 4;
				dst[g * 32 + l] = s * (float)v - m;
			}
		}
	}
}

void mm_dequant_q6_k(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 210, dst += QK) {
		const uint8_t *scale = src + 192;
		const float d = mm_load_f16(src + 208);
		for (int r = 0; r < 8; r++) { /* run r of 32: half r / 4, quarter r % 4 of it */
			const uint8_t *lo = src + r / 4 * 64 + r % 2 * 32, *hi = src + 128 + r / 4 * 32;
			const int lo_shift = r % 4 / 2 * 4, hi_shift = r % 4 * 2;
			const float s0 = d * (float)(int8_t)scale[r * 2], s1 = d * (float)(int8_t)scale[r * 2 + 1];
			for (int l = 0; l < 32; l++) {
				int v = ((lo[l] >> lo_shift & 15) | (hi[l] >> hi_shift & 3) << 4) - 32;
				dst[r * 32 + l] = (l < 16 ? s0 : s1) * (float)v;
			}
		}
	}
}

void mm_dequant_q8_k(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 292, dst += QK) {
		float d;
		memcpy(&d, src, sizeof d);
		for (int j = 0; j < QK; j++)
			dst[j] = d * (float)(int8_t)src[4 + j];
	}
}

void mm_dequant_iq4_xs(const uint8_t *src, float *dst, size_t n_block)
{
	for (size_t b = 0; b < n_block; b++, src += 136, dst += QK) {
		const float d = mm_load_f16(src);
		const int high = src[2] | src[3] << 8;
		for (int g = 0; g < 8; g++) {
			const int low = src[4 + g / 2] >> (g % 2 * 4) & 15;
			const float s = d * (float)((low | (high >> (2 * g) & 3) << 4) - 32);
			const uint8_t *q = src + 8 + g * 16;
			for (int j = 0; j < 16; j++) {
				dst[g * 32 + j] = s * (float)mm_iq4_levels[q[j] & 15];
				dst[g * 32 + j + 16] = s * (float)mm_iq4_levels[q[j] >> 4];
			}
		}
	}
}
