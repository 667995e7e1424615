/* The models in memory: index, names, what a user means, what survives a restart. */
#include "core_kit.h"

static void index_many(void **state)
{
	struct mm_index ix = { 0 };
	struct mm_err err;
	static int val[5000];
	(void)state;
	for (size_t i = 0; i < MM_COUNT(val); i++)
		assert_int_equal(mm_index_put(&ix, i / 5, &val[i], &err), 0); /* five of each key */
	for (size_t i = 0; i < MM_COUNT(val); i += 2)
		mm_index_del(&ix, i / 5, &val[i]);
	mm_index_del(&ix, 77, &ix); /* not there */
	for (uint64_t key = 0; key < MM_COUNT(val) / 5; key++) {
		size_t at = 0;
		unsigned n = 0;
		for (int *v; (v = mm_index_next(&ix, key, &at)); n++)
			assert_true((size_t)(v - val) / 5 == key && (v - val) % 2 == 1);
		assert_int_equal(n, key % 2 ? 3 : 2);
	}
	for (unsigned round = 0; round < 20000; round++) { /* marks of the deleted do not fill it up */
		assert_int_equal(mm_index_put(&ix, round, &val[0], &err), 0);
		mm_index_del(&ix, round, &val[0]);
	}
	assert_true(ix.cap < 100000);
	mm_index_fini(&ix);
}

static void run_and_step(void **state)
{
	static const struct {
		const char *path, *run;
		int64_t step;
	} c[] = { { "/m/a", NULL, -1 }, { "/m/run/checkpoint-200", "run", 200 }, { "/m/x/y/step_7", "x/y", 7 },
		{ "/m/checkpoint-5", "m", 5 }, { "/m/run/global_step1000", "run", 1000 },
		{ "/m/run/checkpoint-x", NULL, -1 }, { "/m/run/checkpoint-12b", NULL, -1 },
		{ "/m/run/checkpoint-99999999999999999999", NULL, -1 }, { "/m/r/step-3.gguf", "r", 3 } };
	(void)state;
	for (size_t i = 0; i < MM_COUNT(c); i++) {
		struct mm_err err;
		char *run;
		int64_t step;
		assert_int_equal(mm_reg_run_step("/m", c[i].path, &run, &step, &err), 0);
		if (step != c[i].step || !run != !c[i].run || (run && strcmp(run, c[i].run) != 0))
			fail_msg("%s: %s %lld", c[i].path, run ? run : "-", (long long)step);
		mm_free(run);
	}
}

static struct mm_model_entry *add(const char *root, const char *path)
{
	struct mm_err err = { 0 };
	char *name = mm_reg_make_name(&kit, root, path, NULL, &err);
	struct mm_model_entry *e = name ? mm_reg_add(&kit, name, path, &err) : NULL;
	if (!e)
		fail_msg("%s", err.text);
	mm_free(name);
	return e;
}

static void names(void **state)
{
	(void)state;
	kit_start();
	assert_string_equal(add("/data/one", "/data/one/llama/checkpoint-1")->rec.name, "llama/checkpoint-1");
	assert_string_equal(add("/data/two/", "/data/two/llama/checkpoint-1")->rec.name, "two/llama/checkpoint-1");
	assert_string_equal(add("/x/two", "/x/two/llama/checkpoint-1")->rec.name, "x/two/llama/checkpoint-1");
	assert_string_equal(add("/data/self", "/data/self")->rec.name, "self");
	struct mm_model_entry *a = add("/d", "/d/bad\xff"), *b = add("/d", "/d/bad\xfe");
	assert_string_not_equal(a->rec.name, b->rec.name);
	assert_true(mm_utf8_valid(a->rec.name, strlen(a->rec.name)) && mm_utf8_valid(b->rec.name, strlen(b->rec.name)));
	assert_ptr_equal(mm_reg_by_path(&kit, "/d/bad\xff"), a);
	kit_stop();
	kit_start();
	assert_int_equal(mm_reg_n(&kit), 6);
	assert_non_null(mm_reg_by_path(&kit, "/d/bad\xfe"));
	kit_stop();
}

static void resolve(void **state)
{
	struct mm_err err = { 0 };
	(void)state;
	kit_start();
	struct mm_model_entry *e = add("/m", "/m/llama-a"), *run = add("/m", "/m/llama-a-run/checkpoint-100");
	struct mm_model_entry *old = add("/m", "/m/neox-a");
	add("/m", "/m/qwen2-a-run/checkpoint-100");
	assert_ptr_equal(mm_reg_resolve(&kit, "llama-a", &err), e); /* exact, although a part of another */
	assert_ptr_equal(mm_reg_resolve(&kit, "/m/llama-a", &err), e);
	assert_ptr_equal(mm_reg_resolve(&kit, "LLAMA-A-RUN", &err), run);
	assert_ptr_equal(mm_reg_resolve(&kit, "neox", &err), old);
	assert_null(mm_reg_resolve(&kit, "checkpoint-100", &err));
	assert_int_equal(err.code, MM_EINVAL);
	assert_non_null(strstr(err.text, "llama-a-run/checkpoint-100"));
	assert_non_null(strstr(err.text, "qwen2-a-run/checkpoint-100"));
	assert_null(mm_reg_resolve(&kit, "llame-a", &err));
	assert_int_equal(err.code, MM_ENOENT);
	assert_non_null(strstr(err.text, "llama-a"));
	assert_null(mm_reg_resolve(&kit, "", &err));
	/* History is not in the way of what is there. */
	old->rec.has_vector = true;
	assert_int_equal(mm_reg_retire(&kit, old, &err), 0);
	assert_true(mm_reg_history(old));
	assert_null(mm_reg_by_path(&kit, "/m/neox-a"));
	struct mm_model_entry *fresh = add("/m", "/m/neox-a");
	assert_string_equal(fresh->rec.name, "neox-a");
	assert_ptr_equal(mm_reg_resolve(&kit, "neox", &err), fresh);
	assert_ptr_equal(mm_reg_resolve(&kit, old->rec.name, &err), old);
	assert_ptr_equal(mm_reg_resolve(&kit, "neox-a@", &err), old);
	kit_stop();
}

static void drop(void **state)
{
	struct mm_err err = { 0 };
	(void)state;
	kit_start();
	struct mm_model_entry *a = add("/m", "/m/a"), *b = add("/m", "/m/b"), *c = add("/m", "/m/c");
	uint64_t ia = a->rec.id, ib = b->rec.id, ic = c->rec.id;
	assert_int_equal(mm_reg_drop(&kit, b, &err), 0);
	assert_ptr_equal(mm_reg_by_id(&kit, ia), a);
	assert_null(mm_reg_by_id(&kit, ib));
	assert_ptr_equal(mm_reg_by_id(&kit, ic), c);
	assert_null(mm_reg_by_path(&kit, "/m/b"));
	assert_true(add("/m", "/m/d")->rec.id > ic); /* ids are never used again */
	kit_stop();
	kit_start();
	assert_int_equal(mm_reg_n(&kit), 3);
	kit_stop();
}

/* The keys of `models` and `show` are part of the interface. */
static void json(void **state)
{
	static const char *const key[] = { "name", "state", "family", "params", "bytes", "dtype", "scored_at",
		"mean_loglik", "bits_per_byte", "run", "step" };
	static const char *const reply_key[] = { "v", "id", "ok", "cmd", "boot", "seq", "time", "type" };
	(void)state;
	kit_start();
	struct mm_model_entry *e = add("/m", "/m/a");
	static const struct {
		enum mm_model_state st;
		bool gone;
		const char *name;
	} c[] = { { MM_ST_WAITING, false, "waiting" }, { MM_ST_QUEUED, false, "waiting" },
		{ MM_ST_RUNNING, false, "waiting" }, { MM_ST_PLACED, false, "scored" },
		{ MM_ST_FAILED, false, "failed" }, { MM_ST_NEVER_READY, false, "failed" },
		{ MM_ST_PLACED, true, "gone" } };
	for (size_t i = 0; i < MM_COUNT(c); i++) {
		e->rec.state = c[i].st;
		e->rec.gone = c[i].gone;
		json_t *o = mm_reg_json(&kit, e, true);
		assert_string_equal(json_string_value(json_object_get(o, "state")), c[i].name);
		for (size_t k = 0; k < MM_COUNT(key); k++)
			if (!json_object_get(o, key[k]))
				fail_msg("key %s is missing", key[k]);
		for (size_t k = 0; k < MM_COUNT(reply_key); k++)
			if (json_object_get(o, reply_key[k]))
				fail_msg("key %s belongs to the envelope", reply_key[k]);
		json_decref(o);
	}
	struct mm_reply r = { 0 };
	struct mm_err err;
	json_t *args = json_pack("{s:s}", "name", "a");
	assert_int_equal(mm_cmd_status(&kit, NULL, &r, &err), 0);
	json_t *q = json_object_get(r.body, "queue"), *t = json_object_get(r.body, "texts");
	assert_true(json_is_integer(json_object_get(q, "waiting")) && json_is_integer(json_object_get(q, "queued")) &&
		    json_is_integer(json_object_get(q, "running")) && json_is_integer(json_object_get(q, "failed")));
	assert_int_equal(json_integer_value(json_object_get(t, "n")), KIT_TEXTS);
	assert_true(json_is_string(json_object_get(t, "hash")) && json_is_real(json_object_get(t, "mean_bytes")));
	assert_string_equal(json_string_value(json_object_get(r.body, "version")), MM_VERSION);
	assert_int_equal(json_integer_value(json_object_get(r.body, "models")), 1);
	assert_true(json_is_integer(json_object_get(r.body, "epoch")) &&
		    json_is_integer(json_object_get(r.body, "uptime_s")));
	json_decref(r.body);
	assert_int_equal(mm_cmd_show(&kit, args, &r, &err), 0);
	assert_string_equal(json_string_value(json_object_get(r.body, "path")), "/m/a");
	json_decref(r.body);
	assert_int_equal(mm_cmd_models(&kit, NULL, &r, &err), 0);
	assert_int_equal(json_array_size(json_object_get(r.body, "models")), 1);
	json_decref(r.body);
	json_decref(args);
	kit_stop();
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)

int main(int argc, char **argv)
{
	fake_main(argc, argv);
	mm_log_init(MM_LOG_ERROR);
	const struct CMUnitTest tests[] = { cmocka_unit_test(index_many), cmocka_unit_test(run_and_step), T(names),
		T(resolve), T(drop), T(json) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
