/* dtype.c - the element types of safetensors and GGUF in one table, and their exact widening to f32.
 *
 * Every 8- and 16-bit float is a subset of f32, so widening is exact, with subnormals, -0 and NaN; F64 rounds to
 * nearest. F8_E4M3 is the variant without infinities (E4M3FN): exponent and mantissa all ones is NaN, all other codes
 * are numbers. Integers are widened as numbers, but their `is_float` is false: a loader refuses them as weights.
 *
 * The loops are free of branches so that compilers turn them into vector code. Pure functions, any thread.
 */
#include "tensor/tensor.h"
#include "tensor/quant.h"

#include <math.h>
#include <string.h>

const struct mm_dtype_info mm_dtypes[MM_DTYPE_COUNT] = {
	/* clang-format off */
	/*		  name      safetensors  ggml block bytes is_float */
	[MM_F32]     = { "f32",     "F32",         0,   1,   4, true },
	[MM_F16]     = { "f16",     "F16",         1,   1,   2, true },
	[MM_BF16]    = { "bf16",    "BF16",       30,   1,   2, true },
	[MM_F64]     = { "f64",     "F64",        28,   1,   8, true },
	[MM_F8_E4M3] = { "f8_e4m3", "F8_E4M3",    -1,   1,   1, true },
	[MM_F8_E5M2] = { "f8_e5m2", "F8_E5M2",    -1,   1,   1, true },
	[MM_I8]      = { "i8",      "I8",         24,   1,   1, false },
	[MM_U8]      = { "u8",      "U8",         -1,   1,   1, false },
	[MM_I16]     = { "i16",     "I16",        25,   1,   2, false },
	[MM_U16]     = { "u16",     "U16",        -1,   1,   2, false },
	[MM_I32]     = { "i32",     "I32",        26,   1,   4, false },
	[MM_U32]     = { "u32",     "U32",        -1,   1,   4, false },
	[MM_I64]     = { "i64",     "I64",        27,   1,   8, false },
	[MM_U64]     = { "u64",     "U64",        -1,   1,   8, false },
	[MM_BOOL]    = { "bool",    "BOOL",       -1,   1,   1, false },
	[MM_Q4_0]    = { "q4_0",    NULL,          2,  32,  18, true },
	[MM_Q4_1]    = { "q4_1",    NULL,          3,  32,  20, true },
	[MM_Q5_0]    = { "q5_0",    NULL,          6,  32,  22, true },
	[MM_Q5_1]    = { "q5_1",    NULL,          7,  32,  24, true },
	[MM_Q8_0]    = { "q8_0",    NULL,          8,  32,  34, true },
	[MM_Q2_K]    = { "q2_k",    NULL,         10, 256,  84, true },
	[MM_Q3_K]    = { "q3_k",    NULL,         11, 256, 110, true },
	[MM_Q4_K]    = { "q4_k",    NULL,         12, 256, 144, true },
	[MM_Q5_K]    = { "q5_k",    NULL,         13, 256, 176, true },
	[MM_Q6_K]    = { "q6_k",    NULL,         14, 256, 210, true },
	[MM_Q8_K]    = { "q8_k",    NULL,         15, 256, 292, true },
	[MM_IQ4_NL]  = { "iq4_nl",  NULL,         20,  32,  18, true },
	[MM_IQ4_XS]  = { "iq4_xs",  NULL,         23, 256, 136, true },
	[MM_MXFP4]   = { "mxfp4",   NULL,         39,  32,  17, true },
	/* clang-format on */
};

static float bits_to_f32(uint32_t u)
{
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

/* Exponent and mantissa moved to their places in f32; the bias is corrected by an integer addition for normal numbers,
 * by the subtraction of two floats for subnormals (exact), and twice over for infinity and NaN. */
float mm_f16_to_f32(uint16_t h)
{
	const uint32_t rebias = 112u << 23; /* 127 - 15 */
	uint32_t em = h & 0x7fffu, sign = (uint32_t)(h & 0x8000u) << 16;
	uint32_t normal = (em << 13) + rebias;
	float small = bits_to_f32((em << 13) + (113u << 23)) - bits_to_f32(113u << 23);
	uint32_t u, small_bits;
	memcpy(&small_bits, &small, sizeof small_bits);
	u = em < 0x0400u ? small_bits : normal;
	u = em >= 0x7c00u ? normal + rebias : u;
	return bits_to_f32(u | sign);
}

float mm_bf16_to_f32(uint16_t h)
{
	return bits_to_f32((uint32_t)h << 16);
}

uint16_t mm_f32_to_bf16(float f)
{
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	if ((u & 0x7fffffffu) > 0x7f800000u)
		return (uint16_t)(u >> 16 | 0x40u); /* rounding could carry a NaN into infinity */
	return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

uint16_t mm_f32_to_f16(float f)
{
	uint32_t u, sign, em;
	memcpy(&u, &f, sizeof u);
	sign = u >> 16 & 0x8000u;
	em = u & 0x7fffffffu;
	if (em > 0x7f800000u)
		return (uint16_t)(sign | 0x7e00u);
	if (em >= 0x477ff000u) /* from halfway between 65504 and 65536 on */
		return (uint16_t)(sign | 0x7c00u);
	if (em < 0x38800000u) { /* subnormal: a multiple of 2^-24; the adder's unit in the last place rounds */
		float small = bits_to_f32(em) + 0.5f;
		memcpy(&em, &small, sizeof em);
		return (uint16_t)(sign | (em - 0x3f000000u));
	}
	return (uint16_t)(sign | (em - 0x38000000u + 0xfffu + (em >> 13 & 1u)) >> 13);
}

/* Exponent and mantissa moved and rebiased (127 - 7); subnormals are multiples of 2^-9. */
static float e4m3_to_f32(uint8_t b)
{
	uint32_t em = b & 0x7fu, u = (em << 20) + (120u << 23), small_bits;
	float small = (float)(int32_t)em * 0x1p-9f;
	memcpy(&small_bits, &small, sizeof small_bits);
	u = em < 8u ? small_bits : u;
	u = em == 0x7fu ? 0x7fc00000u : u;
	return bits_to_f32(u | (uint32_t)(b & 0x80u) << 24);
}

static float e5m2_to_f32(uint8_t b)
{
	return mm_f16_to_f32((uint16_t)(b << 8)); /* the upper half of an f16 */
}

/* One loop a type: `type` is what memory holds, `expr` the value of `v`. */
#define WIDEN(name, type, expr)                                                                                        \
	static void name(const uint8_t *src, float *dst, size_t n)                                                     \
	{                                                                                                              \
		for (size_t i = 0; i < n; i++) {                                                                       \
			type v;                                                                                        \
			memcpy(&v, src + i * sizeof v, sizeof v);                                                      \
			dst[i] = expr;                                                                                 \
		}                                                                                                      \
	}
WIDEN(widen_f16, uint16_t, mm_f16_to_f32(v))
WIDEN(widen_bf16, uint16_t, bits_to_f32((uint32_t)v << 16)) /* no call: it has to become a vector loop */
WIDEN(widen_f64, double, (float)v)
WIDEN(widen_e4m3, uint8_t, e4m3_to_f32(v))
WIDEN(widen_e5m2, uint8_t, e5m2_to_f32(v))
WIDEN(widen_i8, int8_t, (float)v)
WIDEN(widen_u8, uint8_t, (float)v)
WIDEN(widen_i16, int16_t, (float)v)
WIDEN(widen_u16, uint16_t, (float)v)
WIDEN(widen_i32, int32_t, (float)v)
WIDEN(widen_u32, uint32_t, (float)v)
WIDEN(widen_i64, int64_t, (float)v)
WIDEN(widen_u64, uint64_t, (float)v)
WIDEN(widen_bool, uint8_t, v ? 1.0f : 0.0f)

static void widen_f32(const uint8_t *src, float *dst, size_t n)
{
	if (n)
		memcpy(dst, src, n * sizeof *dst);
}

static const mm_dequant_fn widen[MM_DTYPE_COUNT] = {
	[MM_F32] = widen_f32,
	[MM_F16] = widen_f16,
	[MM_BF16] = widen_bf16,
	[MM_F64] = widen_f64,
	[MM_F8_E4M3] = widen_e4m3,
	[MM_F8_E5M2] = widen_e5m2,
	[MM_I8] = widen_i8,
	[MM_U8] = widen_u8,
	[MM_I16] = widen_i16,
	[MM_U16] = widen_u16,
	[MM_I32] = widen_i32,
	[MM_U32] = widen_u32,
	[MM_I64] = widen_i64,
	[MM_U64] = widen_u64,
	[MM_BOOL] = widen_bool,
	[MM_Q4_0] = mm_dequant_q4_0,
	[MM_Q4_1] = mm_dequant_q4_1,
	[MM_Q5_0] = mm_dequant_q5_0,
	[MM_Q5_1] = mm_dequant_q5_1,
	[MM_Q8_0] = mm_dequant_q8_0,
	[MM_Q2_K] = mm_dequant_q2_k,
	[MM_Q3_K] = mm_dequant_q3_k,
	[MM_Q4_K] = mm_dequant_q4_k,
	[MM_Q5_K] = mm_dequant_q5_k,
	[MM_Q6_K] = mm_dequant_q6_k,
	[MM_Q8_K] = mm_dequant_q8_k,
	[MM_IQ4_NL] = mm_dequant_iq4_nl,
	[MM_IQ4_XS] = mm_dequant_iq4_xs,
	[MM_MXFP4] = mm_dequant_mxfp4,
};

void mm_dequant(enum mm_dtype t, const void *src, float *dst, size_t n)
{
	widen[t](src, dst, n / mm_dtypes[t].block);
}

/* Branch-free, so that the loops become vector ones: an exponent of all ones is infinity or NaN. */
bool mm_f32_finite(const float *x, size_t n)
{
	uint32_t bad = 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t u;
		memcpy(&u, x + i, sizeof u);
		bad |= (u & 0x7f800000u) == 0x7f800000u;
	}
	return !bad;
}

bool mm_bf16_finite(const uint16_t *x, size_t n)
{
	uint16_t bad = 0;
	for (size_t i = 0; i < n; i++)
		bad |= (x[i] & 0x7f80u) == 0x7f80u;
	return !bad;
}
