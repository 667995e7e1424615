/* test_safetensors.c - headers that must be read and headers that must be refused, shards and their index. */
#include "ckpt_util.h"

static int dir_new(void **state)
{
	char *dir = scratch_new();
	put_text(at(dir, "config.json"), "{\"model_type\":\"llama\"}");
	*state = dir;
	return 0;
}

static int dir_free(void **state)
{
	scratch_free(*state);
	return 0;
}

static struct mm_ckpt *open_header(
	const char *dir, const char *header, size_t n_data, struct mm_ckpt_why *why, struct mm_err *err)
{
	uint8_t data[256];
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)i;
	put_safetensors(at(dir, "model.safetensors"), header, strlen(header), data, n_data);
	*why = (struct mm_ckpt_why){ 0 };
	return mm_ckpt_open_ex(dir, NULL, 0, why, err);
}

#define T(dtype, shape, off) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" off "}"

static void all_dtypes_unaligned_empty_scalar(void **state)
{
	struct mm_err err = { 0 };
	struct mm_ckpt_why why;
	struct mm_ckpt *ck = open_header(*state,
		"{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\\u00e9\"},\"a.b\":" T(
			"U8", "[3]", "[0,3]") ",\"f64\":" T("F64", "[1,2]", "[3,19]") ",\"f32\":" T("F32", "[2]",
			"[19,27]") ",\"f16\":" T("F16", "[]", "[27,29]") ",\"bf16\":" T("BF16", "[2,1]",
			"[29,33]") ",\"e4\":" T("F8_E4M3", "[1]", "[33,34]") ",\"e5\":" T("F8_E5M2", "[1]",
			"[34,35]") ",\"none\":" T("F32", "[4,0,9]", "[35,35]") ",\"i64\":" T("I64", "[1]",
			"[35,43]") ",\"b\":" T("BOOL", "[1]", "[43,44]") ",\"\\u0061\\/\\ud83d\\ude00\":" T("I16",
			"[2]", "[44,48]") "}   \n\t ",
		48, &why, &err);
	if (!ck)
		fail_msg("%s", err.text);
	assert_int_equal(mm_ckpt_n_tensor(ck), 11);
	const struct mm_tensor *t = mm_ckpt_find(ck, "f64");
	double d;
	memcpy(&d, t->data, sizeof d);
	const uint8_t expect[] = { 3, 4, 5, 6, 7, 8, 9, 10 };
	assert_memory_equal(&d, expect, 8);
	assert_int_equal(mm_ckpt_find(ck, "none")->n_elem, 0);
	assert_int_equal(mm_ckpt_find(ck, "f16")->n_elem, 1);
	assert_int_equal(mm_ckpt_find(ck, "f16")->n_dim, 0);
	assert_non_null(mm_ckpt_find(ck, "a/\xf0\x9f\x98\x80"));
	assert_null(mm_ckpt_find(ck, "a"));
	assert_null(mm_ckpt_find(ck, ""));
	assert_null(mm_ckpt_find(ck, "__metadata__"));
	mm_ckpt_close(ck);
}

static void unknown_fields_are_skipped(void **state)
{
	struct mm_err err = { 0 };
	struct mm_ckpt_why why;
	struct mm_ckpt *ck = open_header(*state,
		"{\"w\":{\"later\":[{\"a\":-1.5e+3,\"b\":[true,false,null,\"\\n\"]},0],\"dtype\":\"U8\",\"shape\":[1],"
		"\"data_offsets\":[0,1]}}",
		1, &why, &err);
	assert_non_null(ck);
	mm_ckpt_close(ck);
	ck = open_header(*state, "{}", 0, &why, &err); /* no tensor at all is a valid file */
	assert_non_null(ck);
	mm_ckpt_close(ck);
}

static const struct {
	const char *header;
	size_t n;
	enum mm_err_code code;
	const char *says;
} refused[] = {
	{ "", 8, MM_EFORMAT, "header" },
	{ "[]", 0, MM_EFORMAT, "object" },
	{ " {}", 0, MM_EFORMAT, "object" },
	{ "{", 0, MM_EFORMAT, "header" },
	{ "{}x", 0, MM_EFORMAT, "after" },
	{ "{\"a\":1}", 0, MM_EFORMAT, "'{'" },
	{ "{\"a\":{}}", 0, MM_EFORMAT, "dtype is missing" },
	{ "{\"a\":" T("F32", "[1]", "[0,4]") ",}", 4, MM_EFORMAT, "header" },
	{ "{\"a\":" T("F32", "[1]", "[0,4]") "\"b\":1}", 4, MM_EFORMAT, "header" },
	{ "{\"a\":" T("F33", "[1]", "[0,4]") "}", 4, MM_EUNSUPPORTED, "F33" },
	{ "{\"a\":" T("f32", "[1]", "[0,4]") "}", 4, MM_EUNSUPPORTED, "f32" },
	{ "{\"a\":" T("F32", "[01]", "[0,4]") "}", 4, MM_EFORMAT, "zero" },
	{ "{\"a\":" T("F32", "[+1]", "[0,4]") "}", 4, MM_EFORMAT, "unsigned" },
	{ "{\"a\":" T("F32", "[1e0]", "[0,4]") "}", 4, MM_EFORMAT, "fraction" },
	{ "{\"a\":" T("F32", "[\"1\"]", "[0,4]") "}", 4, MM_EFORMAT, "unsigned" },
	{ "{\"a\":" T("F32", "[1", "[0,4]") "}", 4, MM_EFORMAT, "header" },
	{ "{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, MM_EFORMAT, "dimensions" },
	{ "{\"a\":" T("F32", "[2]", "[0,4]") "}", 4, MM_EFORMAT, "8 bytes" },
	{ "{\"a\":" T("F32", "[1]", "[4,0]") "}", 4, MM_EFORMAT, "after its end" },
	{ "{\"a\":" T("F32", "[1]", "[0,4,8]") "}", 4, MM_EFORMAT, "']'" },
	{ "{\"a\":" T("F32", "[1]", "[0]") "}", 4, MM_EFORMAT, "','" },
	{ "{\"a\":" T("F32", "[1]", "[-0,4]") "}", 4, MM_EFORMAT, "unsigned" },
	{ "{\"a\":" T("F32", "[1]", "[0,18446744073709551616]") "}", 4, MM_EFORMAT, "64 bits" },
	{ "{\"a\":" T("F32", "[18446744073709551615]", "[0,18446744073709551612]") "}", 4, MM_EFORMAT, "overflow" },
	{ "{\"a\":" T("F32", "[4611686018427387905,0]", "[0,0]") "}", 0, MM_EFORMAT, "overflow" },
	{ "{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F32", "[1]", "[4,8]") "}", 8, MM_EFORMAT, "twice" },
	{ "{\"a\":" T("F32", "[1]", "[0,4]") ",\"\\u0061\":" T("F32", "[1]", "[4,8]") "}", 8, MM_EFORMAT, "twice" },
	{ "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, MM_EFORMAT,
		"duplicate" },
	{ "{\"__metadata__\":{},\"__metadata__\":{}}", 0, MM_EFORMAT, "twice" },
	{ "{\"__metadata__\":[]}", 0, MM_EFORMAT, "__metadata__" },
	{ "{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[2,6]") "}", 6, MM_EFORMAT, "overlaps" },
	{ "{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[0,4]") "}", 4, MM_EFORMAT, "overlaps" },
	{ "{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[5,9]") "}", 9, MM_EFORMAT, "hole" },
	{ "{\"a\":" T("F32", "[1]", "[1,5]") "}", 5, MM_EFORMAT, "hole" },
	{ "{\"a\":" T("F32", "[1]", "[0,4]") ",\"z\":" T("F32", "[0]", "[9,9]") "}", 4, MM_EFORMAT, "hole" },
	{ "{\"a\":" T("F32", "[1]", "[0,4]") "}", 5, MM_EFORMAT, "no tensor" },
	{ "{\"a\":" T("F32", "[1]", "[0,4]") "}", 3, MM_ETRUNC, "1 bytes are missing" },
	{ "{\"\\ud800\":1}", 0, MM_EFORMAT, "surrogate" },
	{ "{\"\\udc00\\ud800\":1}", 0, MM_EFORMAT, "surrogate" },
	{ "{\"\\x\":1}", 0, MM_EFORMAT, "escape" },
	{ "{\"\\u12g4\":1}", 0, MM_EFORMAT, "escape" },
	{ "{\"a\tb\":1}", 0, MM_EFORMAT, "control" },
	{ "{\"a\xff\":1}", 0, MM_EFORMAT, "UTF-8" },
	{ "{\"a\\u0000\":" T("F32", "[1]", "[0,4]") "}", 4, MM_EFORMAT, "NUL" },
	{ "{\"\":" T("F32", "[1]", "[0,4]") "}", 4, MM_EFORMAT, "empty" },
	{ "{\"a\":{\"x\":tru}}", 0, MM_EFORMAT, "JSON" },
	{ "{\"a\":{\"x\":01}}", 0, MM_EFORMAT, "header" },
	{ "{\"a\":{\"x\":1.}}", 0, MM_EFORMAT, "number" },
	{ "{\"a\":{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 0, MM_EFORMAT, "deep" },
};

static void malformed_headers_are_refused(void **state)
{
	for (size_t i = 0; i < MM_COUNT(refused); i++) {
		struct mm_err err = { 0 };
		struct mm_ckpt_why why;
		struct mm_ckpt *ck = open_header(*state, refused[i].header, refused[i].n, &why, &err);
		if (ck || err.code != refused[i].code || !strstr(err.text, refused[i].says) ||
			strncmp(err.text, "model.safetensors", 17) != 0)
			fail_msg("%s: %s", refused[i].header, ck ? "accepted" : err.text);
		assert_int_equal(why.may_pass, refused[i].code == MM_ETRUNC);
		assert_string_equal(why.file, "model.safetensors");
	}
}

/* Every cut of a good file is truncated or malformed, never accepted, never more than that. */
static void every_prefix_is_refused(void **state)
{
	struct mm_err err = { 0 };
	struct mm_ckpt_why why = { 0 };
	const char *dir = *state, header[] = "{\"__metadata__\":{\"k\":\"v\"},\"w\":" T(
					  "BF16", "[2,3]", "[0,12]") ",\"v\":" T("F32", "[1]", "[12,16]") "} ";
	struct mm_ckpt *ck = open_header(dir, header, 16, &why, &err);
	assert_non_null(ck);
	mm_ckpt_close(ck);
	size_t n;
	char *whole = mm_file_read(at(dir, "model.safetensors"), 4096, &n, &err);
	for (size_t k = 0; k < n; k++) {
		put_file(at(dir, "model.safetensors"), whole, k);
		why = (struct mm_ckpt_why){ 0 };
		assert_null(mm_ckpt_open_ex(dir, NULL, k % 2 ? MM_CKPT_NOMAP : 0, &why, &err));
		assert_int_equal(err.code, MM_ETRUNC);
		assert_string_equal(why.code, "truncated");
		assert_true(why.may_pass && why.missing > 0);
		if (k >= sizeof header - 1 + 8)
			assert_int_equal(why.missing, n - k);
	}
	mm_free(whole);
}

static void header_length_has_a_limit(void **state)
{
	struct mm_err err = { 0 };
	struct mm_ckpt_why why = { 0 };
	struct mm_buf b = { 0 };
	const char *path = at(*state, "model.safetensors");
	mm_buf_u64(&b, 100000001);
	mm_buf_str(&b, "{}");
	put_file(path, b.data, b.len);
	assert_int_equal(truncate(path, 100000009), 0); /* sparse: nothing of it may be read */
	assert_null(mm_ckpt_open_ex(*state, NULL, 0, &why, &err));
	assert_true(strstr(err.text, "limit"));
	mm_buf_fini(&b);
}

/* Many tensors: the table grows, all are found, in file order. */
static void many_tensors(void **state)
{
	struct mm_err err = { 0 };
	struct mm_buf h = { 0 };
	mm_buf_str(&h, "{");
	for (int i = 0; i < 20000; i++)
		mm_buf_printf(&h, "%s\"model.layers.%d.w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
			i ? "," : "", i, i, i + 1);
	mm_buf_str(&h, "}");
	uint8_t *data = calloc(20000, 1);
	for (int i = 0; i < 20000; i++)
		data[i] = (uint8_t)(i * 7);
	put_safetensors(at(*state, "model.safetensors"), (const char *)h.data, h.len, data, 20000);
	struct mm_ckpt *ck = mm_ckpt_open(*state, NULL, &err);
	assert_non_null(ck);
	for (int i = 0; i < 20000; i += 37) {
		char name[64];
		format(name, "model.layers.%d.w", i);
		const struct mm_tensor *t = mm_ckpt_find(ck, name);
		assert_ptr_equal(t, mm_ckpt_tensor(ck, (size_t)i));
		assert_int_equal(t->data[0], (uint8_t)(i * 7));
	}
	assert_null(mm_ckpt_find(ck, "model.layers.20000.w"));
	mm_ckpt_close(ck);
	mm_buf_fini(&h);
	free(data);
}

/* ---- shards ---- */

static void put_shards(const char *dir)
{
	const char a[] = "{\"a\":" T("U8", "[2]", "[0,2]") "}",
		   b[] = "{\"b\":" T("U8", "[1]", "[0,1]") ",\"extra\":" T("U8", "[1]", "[1,2]") "}";
	put_safetensors(at(dir, "m-1.safetensors"), a, sizeof a - 1, "\1\2", 2);
	put_safetensors(at(dir, "m-2.safetensors"), b, sizeof b - 1, "\3\4", 2);
}

static struct mm_ckpt *open_index(const char *dir, const char *index, struct mm_ckpt_why *why, struct mm_err *err)
{
	put_text(at(dir, "model.safetensors.index.json"), index);
	*why = (struct mm_ckpt_why){ 0 };
	return mm_ckpt_open_ex(dir, NULL, 0, why, err);
}

static void shards_are_joined(void **state)
{
	struct mm_err err = { 0 };
	struct mm_ckpt_why why;
	put_shards(*state);
	struct mm_ckpt *ck = open_index(*state,
		"{\"metadata\":{\"total_size\":-1},\"weight_map\":{\"b\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\"}"
		"}",
		&why, &err);
	if (!ck)
		fail_msg("%s", err.text);
	assert_int_equal(mm_ckpt_n_file(ck), 2);
	assert_string_equal(mm_ckpt_file(ck, mm_ckpt_find(ck, "extra")->file), "m-2.safetensors");
	assert_int_equal(mm_ckpt_find(ck, "b")->data[0], 3);
	mm_ckpt_close(ck);
}

static void bad_indexes_are_refused(void **state)
{
	static const struct {
		const char *index, *says;
	} bad[] = {
		{ "{\"weight_map\":{}}", "empty" },
		{ "{\"weight_map\":[]}", "weight_map" },
		{ "{\"a\":1}", "weight_map" },
		{ "[]", "object" },
		{ "{\"weight_map\":{\"a\":\"../m-1.safetensors\"}}", "plain" },
		{ "{\"weight_map\":{\"a\":\"/m-1.safetensors\"}}", "plain" },
		{ "{\"weight_map\":{\"a\":\"sub/m-1.safetensors\"}}", "plain" },
		{ "{\"weight_map\":{\"a\":\"..\"}}", "plain" },
		{ "{\"weight_map\":{\"a\":\"\"}}", "plain" },
		{ "{\"weight_map\":{\"a\":\"m-1.safetensors\\u0000\"}}", "plain" },
		{ "{\"weight_map\":{\"a\":null}}", "string" },
		{ "{\"weight_map\":{\"a\":\"m-2.safetensors\",\"b\":\"m-1.safetensors\"}}", "is in" },
		{ "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"c\":\"m-1.safetensors\"}}", "tensor c" },
		{ "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"a\":\"m-1.safetensors\"}}", "duplicate" },
		{ "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-1b.safetensors\"}}", "twice" },
	};
	put_shards(*state);
	copy_file(at(*state, "m-1.safetensors"), at(*state, "m-1b.safetensors"));
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		struct mm_err err = { 0 };
		struct mm_ckpt_why why;
		struct mm_ckpt *ck = open_index(*state, bad[i].index, &why, &err);
		if (ck || !strstr(err.text, bad[i].says))
			fail_msg("%s: %s", bad[i].index, ck ? "accepted" : err.text);
	}
}

static void missing_shard_is_waited_for(void **state)
{
	struct mm_err err = { 0 };
	struct mm_ckpt_why why;
	put_shards(*state);
	unlink(at(*state, "m-2.safetensors"));
	assert_null(open_index(
		*state, "{\"weight_map\":{\"b\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\"}}", &why, &err));
	assert_string_equal(why.code, "missing_shard");
	assert_string_equal(why.file, "m-2.safetensors");
	assert_true(why.may_pass);
	assert_null(open_index(*state, "{\"weight_map\":{\"b\":\"m-2", &why, &err)); /* half written */
	assert_string_equal(why.code, "bad_index");
	assert_true(why.may_pass);
}

/* ---- what is not a checkpoint ---- */

static void other_things_get_an_answer(void **state)
{
	const char *dir = *state;
	struct mm_err err = { 0 };
	struct mm_ckpt_why why = { 0 };
	assert_null(mm_ckpt_open_ex(dir, NULL, 0, &why, &err));
	assert_string_equal(why.code, "no_weights");
	assert_true(why.may_pass);
	put_text(at(dir, "pytorch_model.bin"), "PK");
	why = (struct mm_ckpt_why){ 0 };
	assert_null(mm_ckpt_open_ex(dir, NULL, 0, &why, &err));
	assert_int_equal(err.code, MM_EUNSUPPORTED);
	assert_true(strstr(err.text, "pytorch_model.bin") && strstr(err.text, "save_pretrained") && !why.may_pass);
	assert_null(mm_ckpt_open_ex(at(dir, "pytorch_model.bin"), NULL, 0, &why, &err));
	assert_int_equal(err.code, MM_EUNSUPPORTED);
	assert_int_equal(mkfifo(at(dir, "model.safetensors"), 0600), 0);
	why = (struct mm_ckpt_why){ 0 };
	assert_null(mm_ckpt_open_ex(dir, NULL, 0, &why, &err)); /* and does not wait for a writer */
	assert_true(strstr(err.text, "not a regular file"));
	assert_null(mm_ckpt_open_ex(at(dir, "model.safetensors"), NULL, 0, &why, &err));
	unlink(at(dir, "model.safetensors"));
	assert_int_equal(symlink("model.safetensors", at(dir, "model.safetensors")), 0);
	why = (struct mm_ckpt_why){ 0 };
	assert_null(mm_ckpt_open_ex(dir, NULL, 0, &why, &err));
	assert_false(why.may_pass);
	unlink(at(dir, "config.json"));
	why = (struct mm_ckpt_why){ 0 };
	assert_null(mm_ckpt_open_ex(dir, NULL, 0, &why, &err));
	assert_string_equal(why.code, "no_config");
}

static void python_numbers_in_config(void **state)
{
	const char *dir = *state;
	struct mm_err err = { 0 };
	struct mm_ckpt_why why;
	put_text(at(dir, "config.json"),
		"{\"limit\":[0.0,Infinity],\"low\":-Infinity,\"x\":NaN,\"text\":\"\\\"NaN Infinity\"}");
	struct mm_ckpt *ck = open_header(dir, "{}", 0, &why, &err);
	if (!ck)
		fail_msg("%s", err.text);
	const json_t *c = mm_ckpt_config(ck);
	assert_true(json_number_value(json_array_get(json_object_get(c, "limit"), 1)) == 1e308);
	assert_true(json_number_value(json_object_get(c, "low")) == -1e308);
	assert_true(json_is_null(json_object_get(c, "x")));
	assert_string_equal(json_string_value(json_object_get(c, "text")), "\"NaN Infinity");
	mm_ckpt_close(ck);
}

/* Opening fails cleanly wherever memory runs out (the sanitizer counts). */
static void out_of_memory(void **state)
{
	const char *dir = *state;
	struct mm_err err = { 0 };
	struct mm_ckpt_why why = { 0 };
	put_shards(dir);
	put_text(at(dir, "model.safetensors.index.json"),
		"{\"weight_map\":{\"b\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\"}}");
	for (long n = 1; n < 10000; n++) {
		mm_mem_fail_after(n);
		struct mm_ckpt *ck = mm_ckpt_open_ex(dir, NULL, n % 2, &why, &err);
		mm_mem_fail_after(0);
		if (ck) {
			mm_ckpt_close(ck);
			assert_true(n > 10);
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
		DIR_TEST(all_dtypes_unaligned_empty_scalar),
		DIR_TEST(unknown_fields_are_skipped),
		DIR_TEST(malformed_headers_are_refused),
		DIR_TEST(every_prefix_is_refused),
		DIR_TEST(header_length_has_a_limit),
		DIR_TEST(many_tensors),
		DIR_TEST(shards_are_joined),
		DIR_TEST(bad_indexes_are_refused),
		DIR_TEST(missing_shard_is_waited_for),
		DIR_TEST(other_things_get_an_answer),
		DIR_TEST(python_numbers_in_config),
		DIR_TEST(out_of_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
