/* test_base.c - errors, memory, cursors, UTF-8, hashes, random numbers, units. */
#include "base/base.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void err_text_is_one_printable_line(void **state)
{
	(void)state;
	struct mm_err err;
	assert_int_equal(mm_fail(&err, MM_EFORMAT, "tensor %s", "a\x1b[31m\nb\xff"), -1);
	assert_string_equal(err.text, "tensor a?[31m?b?");
	assert_int_equal(mm_wrap(&err, "layer %d", 3), -1);
	assert_string_equal(err.text, "layer 3: tensor a?[31m?b?");
	assert_int_equal(err.code, MM_EFORMAT);
}

static void err_text_is_cut_at_a_character(void **state)
{
	(void)state;
	struct mm_err err;
	char big[3001];
	for (int i = 0; i < 1000; i++)
		memcpy(big + 3 * i, "\u20ac", 3);
	big[3000] = 0;
	mm_fail(&err, MM_EIO, "%s", big);
	size_t n = strlen(err.text);
	assert_true(n < sizeof err.text);
	assert_true(mm_utf8_valid(err.text, n));
	assert_string_equal(err.text + n - 3, "...");
}

static void err_names_go_both_ways(void **state)
{
	(void)state;
	for (int i = 0; i < MM_ERR_COUNT; i++)
		assert_int_equal(mm_err_code_of(mm_err_name((enum mm_err_code)i)), i);
	assert_int_equal(mm_err_code_of("no such"), MM_EINTERNAL);
}

static void mem_refuses_overflow(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	assert_null(mm_calloc(SIZE_MAX / 2, 3, &err));
	assert_int_equal(err.code, MM_ENOMEM);
	char *p = mm_calloc(0, 8, &err);
	assert_non_null(p);
	assert_null(mm_realloc(p, SIZE_MAX / 4, 8, &err)); /* and p is still ours */
	mm_free(p);
	float *f = mm_calloc(5000, sizeof *f, &err);
	assert_int_equal((uintptr_t)f % 64, 0);
	assert_true(f[4999] == 0);
	mm_free(f);
}

static void arena_reuses_its_blocks(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_arena *a = mm_arena_new(0, &err);
	long before = 0;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 100; i++) {
			uint8_t *p = mm_arena_get(a, 1, 1000 + 100 * (size_t)i, &err);
			assert_non_null(p);
			assert_int_equal((uintptr_t)p % 64, 0);
			for (int k = 0; k < 1000; k++)
				assert_int_equal(p[k], 0);
			memset(p, 0xAA, 1000);
		}
		if (round == 1)
			before = mm_mem_count();
		if (round == 2)
			assert_int_equal(mm_mem_count(), before);
		mm_arena_reset(a);
	}
	assert_null(mm_arena_get(a, SIZE_MAX, 2, &err));
	mm_arena_free(a);
}

static void cursor_error_sticks(void **state)
{
	(void)state;
	const uint8_t bytes[] = { 1, 2, 0, 3, 0, 0, 0, 9 };
	struct mm_cur c = mm_cur_of(bytes, sizeof bytes);
	assert_int_equal(mm_cur_u8(&c), 1);
	assert_int_equal(mm_cur_u16(&c), 2);
	assert_int_equal(mm_cur_u32(&c), 3);
	assert_int_equal(mm_cur_left(&c), 1);
	assert_int_equal(mm_cur_u64(&c), 0);
	assert_true(c.failed);
	assert_int_equal(mm_cur_u8(&c), 0); /* the byte is there, but the cursor has failed */
	assert_null(mm_cur_bytes(&c, 0));
	c = mm_cur_of(bytes, sizeof bytes);
	assert_null(mm_cur_bytes(&c, UINT64_MAX));
}

static void buf_and_cursor_round_trip(void **state)
{
	(void)state;
	struct mm_buf b = { 0 };
	struct mm_err err;
	mm_buf_u8(&b, 7);
	mm_buf_u16(&b, 65535);
	mm_buf_u32(&b, 123456789);
	mm_buf_u64(&b, UINT64_MAX - 1);
	mm_buf_f32(&b, -0.5f);
	mm_buf_f64(&b, 1e300);
	mm_buf_printf(&b, "%s-%d", "x", 5);
	assert_int_equal(mm_buf_check(&b, &err), 0);
	struct mm_cur c = mm_cur_of(b.data, b.len);
	assert_int_equal(mm_cur_u8(&c), 7);
	assert_int_equal(mm_cur_u16(&c), 65535);
	assert_int_equal(mm_cur_u32(&c), 123456789);
	assert_true(mm_cur_u64(&c) == UINT64_MAX - 1);
	assert_true(mm_cur_f32(&c) == -0.5f);
	assert_true(mm_cur_f64(&c) == 1e300);
	assert_memory_equal(mm_cur_bytes(&c, 3), "x-5", 3);
	assert_int_equal(mm_cur_left(&c), 0);
	mm_buf_fini(&b);
}

static void utf8_is_strict(void **state)
{
	(void)state;
	static const struct {
		const char *s;
		unsigned used;
		uint32_t cp;
	} cases[] = { { "A", 1, 'A' }, { "\xC2\x80", 2, 0x80 }, { "\xE2\x82\xAC", 3, 0x20AC },
		{ "\xF4\x8F\xBF\xBF", 4, 0x10FFFF }, { "\xC1\xBF", 0, 0 }, { "\xE0\x9F\xBF", 0, 0 },
		{ "\xED\xA0\x80", 0, 0 }, { "\xF4\x90\x80\x80", 0, 0 }, { "\xF5\x80\x80\x80", 0, 0 },
		{ "\xE2\x82", 0, 0 }, { "\x80", 0, 0 }, { "\xF0\x8F\xBF\xBF", 0, 0 } };
	for (size_t i = 0; i < MM_COUNT(cases); i++) {
		uint32_t cp = 0;
		assert_int_equal(mm_utf8_decode((const uint8_t *)cases[i].s, strlen(cases[i].s), &cp), cases[i].used);
		if (cases[i].used)
			assert_int_equal(cp, cases[i].cp);
	}
	for (uint32_t cp = 0; cp <= 0x110000; cp += cp < 0x1000 ? 1 : 37) {
		uint8_t out[4];
		uint32_t back = 0;
		unsigned n = mm_utf8_encode(cp, out);
		bool valid = cp <= 0x10FFFF && !(cp >= 0xD800 && cp <= 0xDFFF);
		assert_int_equal(n != 0, valid);
		if (valid) {
			assert_int_equal(mm_utf8_decode(out, n, &back), n);
			assert_int_equal(back, cp);
		}
	}
}

/* XXH3-128 of the empty input with seed 0, from the xxHash specification's test vectors. */
static void hash_is_xxh3(void **state)
{
	(void)state;
	char hex[MM_HASH_HEX];
	struct mm_hash back;
	struct mm_err err;
	mm_hash_hex(mm_hash_of("", 0), hex);
	assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
	assert_true(mm_hash_parse(hex, &back));
	assert_true(mm_hash_eq(back, mm_hash_of(NULL, 0)));
	assert_false(mm_hash_parse("99aa06d3014798d86001c324468d497", &back));
	assert_false(mm_hash_parse("99aa06d3014798d86001c324468d497g", &back));
	assert_false(mm_hash_parse("99aa06d3014798d86001c324468d497f0", &back));
	struct mm_hasher *h = mm_hasher_new(&err);
	mm_hasher_put(h, "ab", 2);
	mm_hasher_put(h, "c", 1);
	assert_true(mm_hash_eq(mm_hasher_get(h), mm_hash_of("abc", 3)));
	mm_hasher_free(h);
}

/* Mean and variance of uniform and normal numbers within five standard errors of 100,000 draws; the seed is fixed. */
static void rng_has_the_right_moments(void **state)
{
	(void)state;
	struct mm_rng r, again;
	mm_rng_init(&r, 42);
	mm_rng_init(&again, 42);
	double u = 0, z = 0, zz = 0;
	const int n = 100000;
	for (int i = 0; i < n; i++) {
		u += mm_rng_double(&r);
		double x = mm_rng_normal(&r);
		z += x;
		zz += x * x;
	}
	assert_true(fabs(u / n - 0.5) < 5 * sqrt(1.0 / 12 / n));
	assert_true(fabs(z / n) < 5 / sqrt(n));
	assert_true(fabs(zz / n - 1) < 5 * sqrt(2.0 / n));
	unsigned hit[6] = { 0 };
	for (int i = 0; i < n; i++)
		hit[mm_rng_below(&r, 6)]++;
	for (int i = 0; i < 6; i++)
		assert_true(fabs(hit[i] - n / 6.0) < 5 * sqrt(n * (1 / 6.0) * (5 / 6.0)));
	for (int i = 0; i < 10; i++) {
		struct mm_rng s;
		mm_rng_init(&s, 42);
		assert_true(mm_rng_u64(&again) != 0 || i);
		assert_int_equal(mm_rng_below(&s, 1), 0);
	}
}

static void units_read_what_people_write(void **state)
{
	(void)state;
	struct mm_err err;
	uint64_t b;
	double s;
	char out[32];
	static const struct {
		const char *s;
		uint64_t b;
	} sizes[] = { { "4096", 4096 }, { "4K", 4096 }, { "1.5G", UINT64_C(1610612736) },
		{ "2GiB", UINT64_C(2147483648) }, { "1TB", UINT64_C(1) << 40 } };
	for (size_t i = 0; i < MM_COUNT(sizes); i++) {
		assert_int_equal(mm_parse_size(sizes[i].s, &b, &err), 0);
		assert_true(b == sizes[i].b);
	}
	static const char *const bad[] = { "", "G", "-1", "1X", "4 G", "inf", "nan", "0x10", "1e30", "4GG" };
	for (size_t i = 0; i < MM_COUNT(bad); i++)
		assert_int_equal(mm_parse_size(bad[i], &b, &err), -1);
	static const struct {
		const char *s;
		double v;
	} durations[] = { { "5s", 5 }, { "250ms", .25 }, { "1h", 3600 }, { "2m30s", 150 }, { "7d", 604800 }, { "0", 0 },
		{ "90", 90 }, { "1h 5min", 3900 } };
	for (size_t i = 0; i < MM_COUNT(durations); i++) {
		assert_int_equal(mm_parse_duration(durations[i].s, &s, &err), 0);
		assert_true(fabs(s - durations[i].v) < 1e-12);
	}
	static const char *const no[] = { "", "s", "5x", "-5s", "1h5", "1e99d" };
	for (size_t i = 0; i < MM_COUNT(no); i++)
		assert_int_equal(mm_parse_duration(no[i], &s, &err), -1);
	mm_format_size(1536, out, sizeof out);
	assert_string_equal(out, "1.5K");
	mm_format_duration(150, out, sizeof out);
	assert_string_equal(out, "2m30s");
	mm_format_time(0, out, sizeof out);
	assert_string_equal(out, "1970-01-01T00:00:00Z");
}

static void nearest_name_is_a_hint_not_a_guess(void **state)
{
	(void)state;
	static const char *const names[] = { "watch", "settle", "give_up" };
	assert_string_equal(mm_nearest("setle", names, 3), "settle");
	assert_string_equal(mm_nearest("giveup", names, 3), "give_up");
	assert_null(mm_nearest("zzzzzzzz", names, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(err_text_is_one_printable_line),
		cmocka_unit_test(err_text_is_cut_at_a_character),
		cmocka_unit_test(err_names_go_both_ways),
		cmocka_unit_test(mem_refuses_overflow),
		cmocka_unit_test(arena_reuses_its_blocks),
		cmocka_unit_test(cursor_error_sticks),
		cmocka_unit_test(buf_and_cursor_round_trip),
		cmocka_unit_test(utf8_is_strict),
		cmocka_unit_test(hash_is_xxh3),
		cmocka_unit_test(rng_has_the_right_moments),
		cmocka_unit_test(units_read_what_people_write),
		cmocka_unit_test(nearest_name_is_a_hint_not_a_guess),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
