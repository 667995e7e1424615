/* quant.h - block dequantisers, inside lib/tensor only: each widens `n_block` blocks at `src` (unaligned) to floats. */
#ifndef MM_QUANT_H
#define MM_QUANT_H

#include "tensor/tensor.h"

typedef void (*mm_dequant_fn)(const uint8_t *src, float *dst, size_t n_block);

/* ---- quant.c: blocks of 32, one scale each ---- */
void mm_dequant_q4_0(const uint8_t *src, float *dst, size_t n_block);
void mm_dequant_q4_1(const uint8_t *src, float *dst, size_t n_block);
void mm_dequant_q5_0(const uint8_t *src, float *dst, size_t n_block);
void mm_dequant_q5_1(const uint8_t *src, float *dst, size_t n_block);
void mm_dequant_q8_0(const uint8_t *src, float *dst, size_t n_block);
void mm_dequant_iq4_nl(const uint8_t *src, float *dst, size_t n_block);
void mm_dequant_mxfp4(const uint8_t *src, float *dst, size_t n_block);

/* ---- quant_k.c: super-blocks of 256 with scales of scales ---- */
void mm_dequant_q2_k(const uint8_t *src, float *dst, size_t n_block);
void mm_dequant_q3_k(const uint8_t *src, float *dst, size_t n_block);
void mm_dequant_q4_k(const uint8_t *src, float *dst, size_t n_block);
void mm_dequant_q5_k(const uint8_t *src, float *dst, size_t n_block);
void mm_dequant_q6_k(const uint8_t *src, float *dst, size_t n_block);
void mm_dequant_q8_k(const uint8_t *src, float *dst, size_t n_block);
void mm_dequant_iq4_xs(const uint8_t *src, float *dst, size_t n_block);

/* The 16 levels of the non-linear 4-bit types, in units of the block's scale. */
extern const int8_t mm_iq4_levels[16];

/* Little-endian loads from unaligned bytes. */
static inline float mm_load_f16(const uint8_t *p)
{
	return mm_f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}
static inline uint32_t mm_load_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

#endif
