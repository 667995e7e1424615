/* Memory that runs out, at every allocation in turn, in what reads the answers of children and keeps the models: an
 * error or the right result, nothing lost, nothing crashed. */
#include "../../unit/daemon/core_kit.h"

static const char answer[] =
	"{\"state\":\"waiting\",\"reason\":{\"code\":\"truncated\",\"file\":\"m\",\"missing_bytes\":7,\"text\":\"t\"},"
	"\"files\":[{\"name\":\"a\",\"bytes\":1,\"mtime_ns\":2,\"ino\":3}],\"quick\":"
	"\"00000000000000000000000000000001\","
	"\"meta\":{\"family\":\"llama\",\"architecture\":\"x\",\"dtype\":\"f32\",\"container\":\"gguf\",\"base_"
	"claimed\":\"b\"}}";

static void probe(void **state)
{
	(void)state;
	for (long n = 1;; n++) {
		struct mm_probe_result p;
		struct mm_err err = { 0 };
		mm_mem_fail_after(n);
		int rc = mm_probe_parse(answer, strlen(answer), &p, &err);
		bool reached = mm_mem_count() >= n;
		mm_mem_fail_after(0);
		if (!rc) {
			assert_string_equal(p.family, "llama");
			assert_int_equal(p.missing_bytes, 7);
			mm_probe_result_fini(&p);
		} else {
			assert_int_equal(err.code, MM_ENOMEM);
		}
		if (!reached)
			break;
		assert_true(n < 1000);
	}
}

static void names(void **state)
{
	(void)state;
	kit_start();
	for (long n = 1;; n++) {
		struct mm_err err = { 0 };
		size_t before = mm_reg_n(&kit);
		char path[64], *name;
		struct mm_model_entry *e = NULL;
		snprintf(path, sizeof path, "/m/run/checkpoint-%ld", n);
		mm_mem_fail_after(n);
		if ((name = mm_reg_make_name(&kit, "/m", path, NULL, &err)))
			e = mm_reg_add(&kit, name, path, &err);
		bool reached = mm_mem_count() >= n;
		mm_mem_fail_after(0);
		mm_free(name);
		assert_int_equal(mm_reg_n(&kit), before + (e != NULL));
		assert_ptr_equal(mm_reg_by_path(&kit, path), e);
		if (!reached) {
			assert_non_null(e);
			break;
		}
		assert_true(n < 5000);
	}
	kit_stop();
}

int main(int argc, char **argv)
{
	fake_main(argc, argv);
	mm_log_init(MM_LOG_ERROR);
	const struct CMUnitTest tests[] = { cmocka_unit_test(probe),
		cmocka_unit_test_setup_teardown(names, kit_setup, kit_teardown) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
