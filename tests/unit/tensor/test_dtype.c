/* test_dtype.c - widening of every float type against its definition (sign, exponent, mantissa), all codes. */
#include "tensor/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint32_t bits(float f)
{
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	return u;
}

/* The value of a small float by its definition; `ieee`: exponent all ones is infinity or NaN, else only code all ones
 * is NaN. */
static double by_definition(unsigned code, int n_exp, int n_man, bool ieee)
{
	int bias = (1 << (n_exp - 1)) - 1, exp_max = (1 << n_exp) - 1;
	unsigned man = code & ((1u << n_man) - 1);
	int exp = (int)(code >> n_man) & exp_max;
	double sign = code >> (n_exp + n_man) & 1 ? -1 : 1;
	if (ieee && exp == exp_max)
		return man ? NAN : sign * INFINITY;
	if (!ieee && exp == exp_max && man == (1u << n_man) - 1)
		return NAN;
	if (!exp)
		return sign * ldexp(man, 1 - bias - n_man);
	return sign * ldexp(1 + ldexp(man, -n_man), exp - bias);
}

static void check(float got, double want, unsigned code, const char *what)
{
	if (isnan(want) ? !isnan(got) : bits(got) != bits((float)want))
		fail_msg("%s 0x%x: %.9g, expected %.9g", what, code, (double)got, want);
}

static void f16_all_codes(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 65536; c++)
		check(mm_f16_to_f32((uint16_t)c), by_definition(c, 5, 10, true), c, "f16");
	assert_true(signbit(mm_f16_to_f32(0x8000)));
	assert_int_equal(bits(mm_f16_to_f32(0xfe00)) >> 31, 1); /* the sign of a NaN stays */
}

static void bf16_all_codes(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 65536; c++)
		check(mm_bf16_to_f32((uint16_t)c), by_definition(c, 8, 7, true), c, "bf16");
}

static void f8_all_codes(void **state)
{
	(void)state;
	uint8_t code[256];
	float out[256];
	for (unsigned c = 0; c < 256; c++)
		code[c] = (uint8_t)c;
	mm_dequant(MM_F8_E4M3, code, out, 256);
	for (unsigned c = 0; c < 256; c++)
		check(out[c], by_definition(c, 4, 3, false), c, "f8_e4m3");
	assert_true(out[0x7e] == 448.0f); /* the largest number */
	mm_dequant(MM_F8_E5M2, code, out, 256);
	for (unsigned c = 0; c < 256; c++)
		check(out[c], by_definition(c, 5, 2, true), c, "f8_e5m2");
}

/* The same of f16, subnormal ones too; from the middle above the largest on it is infinity. */
static void f16_rounds_to_nearest_even(void **state)
{
	(void)state;
	for (uint32_t c = 0; c < 0x7c00u; c++) {
		double here = (double)mm_f16_to_f32((uint16_t)c),
		       next = c == 0x7bff ? 65536 : (double)mm_f16_to_f32((uint16_t)(c + 1));
		float mid = (float)(0.5 * (here + next)); /* exact: 12 digits */
		uint16_t even = (uint16_t)(c + (c & 1)), up = (uint16_t)(c + 1);
		assert_int_equal(mm_f32_to_f16((float)here), c);
		assert_int_equal(mm_f32_to_f16(mid), even);
		assert_int_equal(mm_f32_to_f16(-mid), even | 0x8000);
		assert_int_equal(mm_f32_to_f16(nextafterf(mid, 0)), c);
		assert_int_equal(mm_f32_to_f16(nextafterf(mid, INFINITY)), up);
	}
	assert_int_equal(mm_f32_to_f16(INFINITY), 0x7c00);
	assert_int_equal(mm_f32_to_f16(-1e30f), 0xfc00);
	assert_true(isnan(mm_f16_to_f32(mm_f32_to_f16(NAN))));
	assert_int_equal(mm_f32_to_f16(-0.0f), 0x8000);
}

/* Every f32 that is a bf16, the middle between it and the next, and one to both sides of the middle. */
static void bf16_rounds_to_nearest_even(void **state)
{
	(void)state;
	for (uint32_t c = 0; c < 0x7f80; c++) {
		uint32_t u = c << 16;
		const uint32_t try[4] = { u, u + 0x7fff, u + 0x8000, u + 0x8001 };
		const uint32_t want[4] = { c, c, c + (c & 1), c + 1 };
		for (int i = 0; i < 4; i++) {
			float f;
			memcpy(&f, &try[i], sizeof f);
			assert_int_equal(mm_f32_to_bf16(f), want[i]);
			assert_int_equal(mm_f32_to_bf16(-f), want[i] | 0x8000);
		}
	}
	const uint32_t nan[] = { 0x7f800001, 0x7fffffff, 0xff800001, 0x7fc00000 };
	for (size_t i = 0; i < MM_COUNT(nan); i++) {
		float f;
		memcpy(&f, &nan[i], sizeof f);
		assert_true(isnan(mm_bf16_to_f32(mm_f32_to_bf16(f))));
	}
}

static void unaligned_sources(void **state)
{
	(void)state;
	const float f[3] = { 1.5f, -0.0f, 0x1p-149f };
	const double d[3] = { 1.0 / 3, -1e300, 0x1p-149 };
	uint8_t raw[64];
	float out[3];
	for (int shift = 0; shift < 8; shift++) {
		memcpy(raw + shift, f, sizeof f);
		mm_dequant(MM_F32, raw + shift, out, 3);
		assert_memory_equal(out, f, sizeof f);
		memcpy(raw + shift, d, sizeof d);
		mm_dequant(MM_F64, raw + shift, out, 3);
		for (int i = 0; i < 3; i++)
			assert_int_equal(bits(out[i]), bits((float)d[i]));
	}
}

static void integers_as_numbers(void **state)
{
	(void)state;
	float out[2];
	mm_dequant(MM_I8, (const int8_t[]){ -128, 127 }, out, 2);
	assert_true(out[0] == -128 && out[1] == 127);
	mm_dequant(MM_U16, (const uint16_t[]){ 65535, 1 }, out, 2);
	assert_true(out[0] == 65535 && out[1] == 1);
	mm_dequant(MM_I64, (const int64_t[]){ -5, 1 << 20 }, out, 2);
	assert_true(out[0] == -5 && out[1] == 1048576);
	mm_dequant(MM_BOOL, (const uint8_t[]){ 7, 0 }, out, 2);
	assert_true(out[0] == 1 && out[1] == 0);
}

/* A row that was forgotten would have no name; two rows with one name or number would be found by chance. */
static void table_is_complete(void **state)
{
	(void)state;
	for (int a = 0; a < MM_DTYPE_COUNT; a++) {
		const struct mm_dtype_info *d = &mm_dtypes[a];
		assert_non_null(d->name);
		assert_true(d->block > 0 && d->bytes > 0);
		assert_true(d->safetensors || d->ggml >= 0);
		for (int b = 0; b < a; b++) {
			assert_string_not_equal(d->name, mm_dtypes[b].name);
			assert_true(d->ggml < 0 || d->ggml != mm_dtypes[b].ggml);
			assert_true(!d->safetensors || !mm_dtypes[b].safetensors ||
				    strcmp(d->safetensors, mm_dtypes[b].safetensors));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(f16_all_codes),
		cmocka_unit_test(bf16_all_codes),
		cmocka_unit_test(f8_all_codes),
		cmocka_unit_test(f16_rounds_to_nearest_even),
		cmocka_unit_test(bf16_rounds_to_nearest_even),
		cmocka_unit_test(unaligned_sources),
		cmocka_unit_test(integers_as_numbers),
		cmocka_unit_test(table_is_complete),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
