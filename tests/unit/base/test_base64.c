/* Base64 against the vectors of RFC 4648, there and back for all lengths, and what must be refused. */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_vectors(void **state)
{
	static const char *const rfc[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };
	struct mm_err err;
	(void)state;
	for (size_t i = 0; i < MM_COUNT(rfc); i++) {
		struct mm_buf text = { 0 }, back = { 0 };
		mm_base64_put(&text, rfc[i][0], strlen(rfc[i][0]));
		assert_int_equal(text.len, strlen(rfc[i][1]));
		assert_memory_equal(text.len ? text.data : (uint8_t *)"", rfc[i][1], text.len);
		assert_int_equal(mm_base64_parse(&back, rfc[i][1], strlen(rfc[i][1]), &err), 0);
		assert_int_equal(back.len, strlen(rfc[i][0]));
		assert_memory_equal(back.len ? back.data : (uint8_t *)"", rfc[i][0], back.len);
		mm_buf_fini(&text);
		mm_buf_fini(&back);
	}
}

static void test_round(void **state)
{
	uint8_t bytes[256] = { 0 };
	struct mm_err err;
	(void)state;
	for (size_t n = 0; n <= sizeof bytes; n++) {
		struct mm_buf text = { 0 }, back = { 0 };
		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)(255 - i);
		mm_base64_put(&text, bytes, n);
		assert_int_equal(mm_base64_parse(&back, n ? (char *)text.data : "", text.len, &err), 0);
		assert_int_equal(back.len, n);
		assert_memory_equal(n ? back.data : bytes, bytes, n);
		mm_buf_fini(&text);
		mm_buf_fini(&back);
	}
}

static void test_bad(void **state)
{
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg==Zg==", "Z===", "====", "Zm9*", "Zm9\n",
		"Zh==", "Zm9=", "\x80m9v" };
	struct mm_err err;
	(void)state;
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		struct mm_buf back = { 0 };
		assert_int_equal(mm_base64_parse(&back, bad[i], strlen(bad[i]), &err), -1);
		assert_int_equal(err.code, MM_EFORMAT);
		mm_buf_fini(&back);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_vectors), cmocka_unit_test(test_round),
		cmocka_unit_test(test_bad) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
