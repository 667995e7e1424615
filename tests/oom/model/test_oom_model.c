/* test_oom_model.c: opening a model and scoring when an allocation fails, at many places: an error, no crash, no leak
 * (sanitizers). */
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static int run(const char *dir, struct mm_err *err)
{
	struct mm_model_opts o = { .compute = MM_COMPUTE_F32, .threads = 1 };
	uint32_t id[] = { 5, 6, 7, 8, 9, 10, 11 };
	double out[7];
	struct mm_model *m = mm_model_open(dir, &o, err);
	int rc = m ? mm_score_ids(m, id, 7, out, err) : -1;
	mm_model_close(m);
	return rc;
}

static void check_dir(const char *dir)
{
	struct mm_err err = { 0 };
	mm_mem_fail_after(0);
	assert_int_equal(run(dir, &err), 0);
	long n = mm_mem_count();
	assert_true(n > 50);
	for (long i = 1; i <= n; i += 1 + n / 150) {
		mm_mem_fail_after(i);
		err.code = MM_OK;
		int rc = run(dir, &err);
		mm_mem_fail_after(0);
		if (rc == 0)
			fail_msg("%s: allocation %ld of %ld failed and nobody noticed", dir, i, n);
		if (err.code != MM_ENOMEM)
			fail_msg("%s: allocation %ld: %s: %s", dir, i, mm_err_name(err.code), err.text);
	}
}

static void test_dense(void **state)
{
	(void)state;
	check_dir("tests/fixtures/conformance/phi");
}

static void test_experts(void **state)
{
	(void)state;
	check_dir("tests/fixtures/conformance/qwen2-moe");
}

static void test_recurrent(void **state)
{
	(void)state;
	check_dir("tests/fixtures/conformance/mamba2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dense),
		cmocka_unit_test(test_experts),
		cmocka_unit_test(test_recurrent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
