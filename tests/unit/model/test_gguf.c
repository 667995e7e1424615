/* test_gguf.c - GGUF metadata with its getters, tensors, split files; malformed files by edits of a good one. */
#include "ckpt_util.h"

static int dir_new(void **state)
{
	*state = scratch_new();
	return 0;
}

static int dir_free(void **state)
{
	scratch_free(*state);
	return 0;
}

/* Every value type, then an f32 matrix [2, 4], a q8_0 row of 32 and a vector written as 3 x 1 x 1. */
static void make_good(struct mm_buf *b, uint32_t align, bool with_data)
{
	gg_head(b, 3, align ? 19 : 18);
	gg_kv_str(b, "general.architecture", "llama");
	if (align)
		gg_kv_u32(b, "general.alignment", align);
	gg_str(b, "a.u8"), mm_buf_u32(b, MM_GGUF_U8), mm_buf_u8(b, 200);
	gg_str(b, "a.i8"), mm_buf_u32(b, MM_GGUF_I8), mm_buf_u8(b, 200);
	gg_str(b, "a.u16"), mm_buf_u32(b, MM_GGUF_U16), mm_buf_u16(b, 65000);
	gg_str(b, "a.i16"), mm_buf_u32(b, MM_GGUF_I16), mm_buf_u16(b, 65000);
	gg_str(b, "a.u32"), mm_buf_u32(b, MM_GGUF_U32), mm_buf_u32(b, 4000000000u);
	gg_str(b, "a.i32"), mm_buf_u32(b, MM_GGUF_I32), mm_buf_u32(b, 4000000000u);
	gg_str(b, "a.u64"), mm_buf_u32(b, MM_GGUF_U64), mm_buf_u64(b, UINT64_MAX);
	gg_str(b, "a.i64"), mm_buf_u32(b, MM_GGUF_I64), mm_buf_u64(b, UINT64_MAX);
	gg_str(b, "a.f32"), mm_buf_u32(b, MM_GGUF_F32), mm_buf_f32(b, 1e-5f);
	gg_str(b, "a.f64"), mm_buf_u32(b, MM_GGUF_F64), mm_buf_f64(b, -0.25);
	gg_str(b, "a.bool"), mm_buf_u32(b, MM_GGUF_BOOL), mm_buf_u8(b, 7);
	gg_kv_str(b, "a.str", "h\xc3\xa9");
	gg_str(b, "a.raw"), mm_buf_u32(b, MM_GGUF_STRING), mm_buf_u64(b, 3), mm_buf_put(b, "x\0\xff", 3);
	gg_str(b, "a.ints"), mm_buf_u32(b, MM_GGUF_ARRAY), mm_buf_u32(b, MM_GGUF_I16), mm_buf_u64(b, 3);
	mm_buf_u16(b, 1), mm_buf_u16(b, 0xffff), mm_buf_u16(b, 7);
	gg_str(b, "a.floats"), mm_buf_u32(b, MM_GGUF_ARRAY), mm_buf_u32(b, MM_GGUF_F32), mm_buf_u64(b, 2);
	mm_buf_f32(b, 0.5f), mm_buf_f32(b, -2);
	gg_str(b, "a.strs"), mm_buf_u32(b, MM_GGUF_ARRAY), mm_buf_u32(b, MM_GGUF_STRING), mm_buf_u64(b, 3);
	gg_str(b, "one"), gg_str(b, ""), gg_str(b, "three");
	gg_str(b, "a.nested"), mm_buf_u32(b, MM_GGUF_ARRAY), mm_buf_u32(b, MM_GGUF_ARRAY), mm_buf_u64(b, 1);
	mm_buf_u32(b, MM_GGUF_U8), mm_buf_u64(b, 2), mm_buf_u16(b, 0);
	const uint32_t al = align ? align : 32;
	const uint64_t q8_at = al, vec_at = 2 * (uint64_t)MM_MAX(al, 64u);
	gg_info(b, "m", 2, (const uint64_t[]){ 4, 2 }, 0, 0);
	gg_info(b, "q", 1, (const uint64_t[]){ 32 }, 8, q8_at);
	gg_info(b, "v", 3, (const uint64_t[]){ 3, 1, 1 }, 0, vec_at);
	if (!with_data)
		return;
	gg_pad(b, al);
	size_t start = b->len;
	for (int i = 0; i < 8; i++)
		mm_buf_f32(b, (float)i);
	while (b->len < start + q8_at)
		mm_buf_u8(b, 0);
	mm_buf_u16(b, 0x3c00); /* 1.0 */
	for (int i = 0; i < 32; i++)
		mm_buf_u8(b, (uint8_t)(i - 16));
	while (b->len < start + vec_at)
		mm_buf_u8(b, 0);
	for (int i = 0; i < 3; i++)
		mm_buf_f32(b, 10 + (float)i);
}

static const char *put_good(const char *dir, uint32_t align)
{
	struct mm_buf b = { 0 };
	const char *path = at(dir, "m.gguf");
	make_good(&b, align, true);
	put_file(path, b.data, b.len);
	mm_buf_fini(&b);
	return path;
}

static void getters(void **state)
{
	struct mm_err err = { 0 };
	struct mm_gguf *g = mm_gguf_open(put_good(*state, 0), &err);
	if (!g)
		fail_msg("%s", err.text);
	static const struct {
		const char *key;
		int64_t value;
	} ints[] = { { "a.u8", 200 }, { "a.i8", -56 }, { "a.u16", 65000 }, { "a.i16", -536 }, { "a.u32", 4000000000 },
		{ "a.i32", -294967296 }, { "a.u64", INT64_MAX }, { "a.i64", -1 }, { "absent", 42 } };
	for (size_t i = 0; i < MM_COUNT(ints); i++) {
		int64_t v = 42;
		assert_int_equal(mm_gguf_get_i64(g, ints[i].key, INT64_MIN, INT64_MAX, &v, &err), 0);
		assert_int_equal(v, ints[i].value);
	}
	int64_t i = 0;
	uint32_t u = 5;
	int32_t s = 5;
	float f = 3;
	double d = 3;
	bool flag = false;
	const char *str = NULL;
	size_t n = 0;
	assert_int_equal(mm_gguf_get_i64(g, "a.u8", 0, 199, &i, &err), -1);
	assert_true(strstr(err.text, "a.u8"));
	assert_int_equal(mm_gguf_get_u32(g, "a.i64", &u, &err), -1);
	assert_int_equal(mm_gguf_get_i32(g, "a.u32", &s, &err), -1);
	assert_int_equal(mm_gguf_get_i64(g, "a.f32", 0, 1, &i, &err), -1);
	assert_int_equal(mm_gguf_get_f32(g, "a.f32", &f, &err), 0);
	assert_true(f == 1e-5f);
	assert_int_equal(mm_gguf_get_double(g, "a.f64", &d, &err), 0);
	assert_true(d == -0.25);
	assert_int_equal(mm_gguf_get_double(g, "a.u8", &d, &err), -1);
	assert_int_equal(mm_gguf_get_bool(g, "a.bool", &flag, &err), 0);
	assert_true(flag);
	assert_int_equal(mm_gguf_get_bool(g, "a.u8", &flag, &err), -1);
	assert_int_equal(mm_gguf_get_str(g, "a.raw", &str, &n, &err), 0);
	assert_int_equal(n, 3);
	assert_memory_equal(str, "x\0\xff", 3);
	assert_int_equal(mm_gguf_get_str(g, "a.strs", &str, &n, &err), -1);
	assert_false(mm_gguf_has(g, "a."));
	assert_true(mm_gguf_has(g, "a.nested"));
	mm_gguf_close(g);
}

static void arrays(void **state)
{
	struct mm_err err = { 0 };
	struct mm_gguf *g = mm_gguf_open(put_good(*state, 0), &err);
	struct mm_gguf_array a = { 0 };
	assert_int_equal(mm_gguf_get_ints(g, "absent", &a, &err), 0);
	assert_int_equal(a.n, 0);
	assert_int_equal(mm_gguf_get_ints(g, "a.ints", &a, &err), 0);
	assert_int_equal(a.n, 3);
	assert_int_equal(mm_gguf_i64_at(&a, 1), -1);
	assert_int_equal(mm_gguf_get_floats(g, "a.ints", &a, &err), -1);
	assert_int_equal(mm_gguf_get_floats(g, "a.floats", &a, &err), 0);
	assert_true(mm_gguf_f64_at(&a, 1) == -2);
	assert_int_equal(mm_gguf_get_array(g, "a.strs", MM_GGUF_STRING, &a, &err), 0);
	const char *want[] = { "one", "", "three" }, *s;
	size_t off = 0, n;
	for (int i = 0; i < 3; i++) {
		assert_true(mm_gguf_str_next(&a, &off, &s, &n));
		assert_int_equal(n, strlen(want[i]));
		assert_memory_equal(s, want[i], n);
	}
	assert_false(mm_gguf_str_next(&a, &off, &s, &n));
	assert_int_equal(mm_gguf_get_array(g, "a.nested", MM_GGUF_STRING, &a, &err), -1);
	assert_int_equal(mm_gguf_get_ints(g, "a.nested", &a, &err), -1);
	mm_gguf_close(g);
}

static void tensors_and_config(void **state)
{
	for (uint32_t align = 0; align <= 64; align += 64) {
		struct mm_err err = { 0 };
		struct mm_ckpt *ck = mm_ckpt_open(put_good(*state, align), NULL, &err);
		if (!ck)
			fail_msg("%s", err.text);
		float v[32];
		const struct mm_tensor *t = mm_ckpt_find(ck, "m");
		assert_true(t->n_dim == 2 && t->dim[0] == 2 && t->dim[1] == 4);
		assert_int_equal(mm_ckpt_read(ck, t, 4, 4, v, &err), 0);
		assert_true(v[0] == 4 && v[3] == 7);
		assert_int_equal(mm_ckpt_read(ck, mm_ckpt_find(ck, "q"), 0, 32, v, &err), 0);
		assert_true(v[0] == -16 && v[31] == 15);
		assert_int_equal(mm_ckpt_read(ck, mm_ckpt_find(ck, "q"), 1, 31, v, &err), -1); /* no whole block */
		t = mm_ckpt_find(ck, "v");
		assert_true(t->n_dim == 1 && t->dim[0] == 3);
		assert_int_equal(mm_ckpt_read(ck, t, 0, 3, v, &err), 0);
		assert_true(v[0] == 10 && v[2] == 12);
		const json_t *c = mm_ckpt_config(ck);
		assert_string_equal(json_string_value(json_object_get(c, "general.architecture")), "llama");
		assert_int_equal(json_integer_value(json_object_get(c, "a.i32")), -294967296);
		assert_true(json_number_value(json_object_get(c, "a.f32")) == (double)1e-5f);
		assert_true(json_is_true(json_object_get(c, "a.bool")));
		assert_string_equal(json_string_value(json_object_get(c, "a.raw")), "x??");
		assert_int_equal(json_array_size(json_object_get(c, "a.strs")), 3);
		assert_null(json_object_get(c, "a.nested"));
		mm_ckpt_close(ck);
	}
}

static void shapes_ignore_ones_in_front(void **state)
{
	(void)state;
	const struct mm_tensor t = { .n_dim = 2, .dim = { 1, 8 } };
	assert_true(mm_tensor_shape_is(&t, 1, (const uint64_t[]){ 8 }));
	assert_true(mm_tensor_shape_is(&t, 3, (const uint64_t[]){ 1, 1, 8 }));
	assert_false(mm_tensor_shape_is(&t, 2, (const uint64_t[]){ 8, 1 }));
	assert_false(mm_tensor_shape_is(&t, 1, (const uint64_t[]){ 9 }));
	const struct mm_tensor scalar = { .n_dim = 0 };
	assert_true(mm_tensor_shape_is(&scalar, 1, (const uint64_t[]){ 1 }));
}

/* Every cut of a good file is truncated; with one byte changed anywhere it is read or refused, never more. */
static void every_prefix_and_every_flip(void **state)
{
	struct mm_err err = { 0 };
	struct mm_buf b = { 0 };
	const char *path = at(*state, "cut.gguf");
	make_good(&b, 0, true);
	char name[4096];
	format(name, "%s", path);
	for (size_t k = 0; k < b.len; k++) {
		struct mm_ckpt_why why = { 0 };
		put_file(name, b.data, k);
		assert_null(mm_ckpt_open_ex(name, NULL, k % 2, &why, &err));
		if (err.code != MM_ETRUNC || !why.may_pass || !why.missing)
			fail_msg("cut at %zu: %s", k, err.text);
	}
	for (size_t k = 0; k < b.len; k++) {
		struct mm_ckpt_why why = { 0 };
		uint8_t was = b.data[k];
		b.data[k] ^= (uint8_t)(1 << k % 8);
		put_file(name, b.data, b.len);
		mm_ckpt_close(mm_ckpt_open_ex(name, NULL, 0, &why, &err));
		b.data[k] = was;
	}
	mm_buf_fini(&b);
}

/* A header longer than the first read, with the infos across the border of the next one. */
static void long_metadata(void **state)
{
	struct mm_err err = { 0 };
	for (size_t pad = 262144 - 200; pad < 262144 + 40; pad += 40) {
		struct mm_buf b = { 0 };
		gg_head(&b, 40, 2);
		gg_kv_str(&b, "general.architecture", "llama");
		gg_str(&b, "tokenizer.ggml.tokens"), mm_buf_u32(&b, MM_GGUF_ARRAY), mm_buf_u32(&b, MM_GGUF_STRING),
			mm_buf_u64(&b, pad / 16);
		for (size_t i = 0; i < pad / 16; i++)
			gg_str(&b, "12345678");
		for (unsigned i = 0; i < 40; i++) {
			char name[16];
			format(name, "t%u", i);
			gg_info(&b, name, 1, (const uint64_t[]){ 8 }, 0, 32 * i);
		}
		gg_pad(&b, 32);
		for (unsigned i = 0; i < 320; i++)
			mm_buf_f32(&b, (float)i);
		const char *path = at(*state, "long.gguf");
		put_file(path, b.data, b.len);
		struct mm_ckpt *ck = mm_ckpt_open(path, NULL, &err);
		if (!ck)
			fail_msg("%s", err.text);
		float v[8];
		assert_int_equal(mm_ckpt_read(ck, mm_ckpt_find(ck, "t39"), 0, 8, v, &err), 0);
		assert_true(v[7] == 319);
		struct mm_gguf_array a = { 0 };
		const char *s;
		size_t off = 0, n;
		assert_int_equal(
			mm_gguf_get_array(mm_ckpt_gguf(ck), "tokenizer.ggml.tokens", MM_GGUF_STRING, &a, &err), 0);
		assert_true(mm_gguf_str_next(&a, &off, &s, &n) && n == 8 && !memcmp(s, "12345678", 8));
		assert_null(json_object_get(mm_ckpt_config(ck), "tokenizer.ggml.tokens")); /* too long for JSON */
		mm_ckpt_close(ck);
		mm_buf_fini(&b);
	}
}

/* One part of a split model: one f32 vector of 8. */
static void put_part(const char *path, int no, int count, int total, const char *tensor)
{
	struct mm_buf b = { 0 };
	gg_head(&b, 1, no ? 3 : 4);
	gg_str(&b, "split.no"), mm_buf_u32(&b, MM_GGUF_U16), mm_buf_u16(&b, (uint16_t)no);
	gg_str(&b, "split.count"), mm_buf_u32(&b, MM_GGUF_U16), mm_buf_u16(&b, (uint16_t)count);
	gg_str(&b, "split.tensors.count"), mm_buf_u32(&b, MM_GGUF_I32), mm_buf_u32(&b, (uint32_t)total);
	if (!no)
		gg_kv_str(&b, "general.architecture", "llama");
	gg_info(&b, tensor, 1, (const uint64_t[]){ 8 }, 0, 0);
	gg_pad(&b, 32);
	for (int i = 0; i < 8; i++)
		mm_buf_f32(&b, (float)(10 * no + i));
	put_file(path, b.data, b.len);
	mm_buf_fini(&b);
}

static void split_files(void **state)
{
	struct mm_err err = { 0 };
	struct mm_ckpt_why why = { 0 };
	char one[4096], two[4096];
	format(one, "%s/x-00001-of-00002.gguf", (char *)*state);
	format(two, "%s/x-00002-of-00002.gguf", (char *)*state);
	put_part(one, 0, 2, 2, "a");
	assert_null(mm_ckpt_open_ex(one, NULL, 0, &why, &err));
	assert_string_equal(why.code, "missing_shard");
	assert_string_equal(why.file, "x-00002-of-00002.gguf");
	assert_true(why.may_pass);
	put_part(two, 1, 2, 2, "b");
	struct mm_ckpt *ck = mm_ckpt_open(one, NULL, &err);
	if (!ck)
		fail_msg("%s", err.text);
	float v[8];
	assert_int_equal(mm_ckpt_n_file(ck), 2);
	assert_int_equal(mm_ckpt_read(ck, mm_ckpt_find(ck, "b"), 0, 8, v, &err), 0);
	assert_true(v[7] == 17);
	mm_ckpt_close(ck);
	assert_null(mm_ckpt_open(two, NULL, &err));
	assert_true(strstr(err.text, "x-00001-of-00002.gguf"));
	put_part(two, 1, 2, 2, "a");
	assert_null(mm_ckpt_open(one, NULL, &err));
	assert_true(strstr(err.text, "twice"));
	put_part(two, 0, 2, 2, "b");
	assert_null(mm_ckpt_open(one, NULL, &err));
	assert_true(strstr(err.text, "part 1 of 2"));
	put_part(two, 1, 2, 2, "b");
	put_part(one, 0, 2, 3, "a");
	assert_null(mm_ckpt_open(one, NULL, &err));
	assert_true(strstr(err.text, "split.tensors.count"));
}

static void out_of_memory(void **state)
{
	char path[4096];
	format(path, "%s", put_good(*state, 0));
	for (long n = 1; n < 10000; n++) {
		struct mm_err err = { 0 };
		struct mm_ckpt_why why = { 0 };
		mm_mem_fail_after(n);
		struct mm_ckpt *ck = mm_ckpt_open_ex(path, NULL, n % 2, &why, &err);
		mm_mem_fail_after(0);
		if (ck) {
			mm_ckpt_close(ck);
			assert_true(n > 8);
			return;
		}
		assert_int_equal(err.code, MM_ENOMEM);
	}
	fail();
}

#define DIR_TEST(f) cmocka_unit_test_setup_teardown(f, dir_new, dir_free)
int main(void)
{
	const struct CMUnitTest tests[] = {
		DIR_TEST(getters),
		DIR_TEST(arrays),
		DIR_TEST(tensors_and_config),
		cmocka_unit_test(shapes_ignore_ones_in_front),
		DIR_TEST(every_prefix_and_every_flip),
		DIR_TEST(long_metadata),
		DIR_TEST(split_files),
		DIR_TEST(out_of_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
