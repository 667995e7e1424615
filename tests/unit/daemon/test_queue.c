/* Jobs: order, concurrency, back-off, what users do to them, what a restart makes of them. */
#include "core_kit.h"

#include <utime.h>

static int cmd(mm_cmd_fn fn, const char *name, struct mm_err *err)
{
	struct mm_reply r = { 0 };
	json_t *args = name ? json_pack("{s:s}", "name", name) : json_object();
	int rc = fn(&kit, args, &r, err);
	json_decref(args);
	json_decref(r.body);
	return rc;
}

static void must(mm_cmd_fn fn, const char *name)
{
	struct mm_err err = { 0 };
	if (cmd(fn, name, &err))
		fail_msg("%s: %s", name, err.text);
}

static void must_not(mm_cmd_fn fn, const char *name, enum mm_err_code code)
{
	struct mm_err err = { 0 };
	assert_int_equal(cmd(fn, name, &err), -1);
	if (err.code != code)
		fail_msg("%s: %s: %s", name, mm_err_name(err.code), err.text);
}

/* The job that `queue` shows of a model; caller decrefs. */
static json_t *shown(const char *name, bool all)
{
	json_t *list = mm_queue_json(&kit, all), *j, *found = NULL;
	size_t i;
	json_array_foreach (list, i, j)
		if (!found && !strcmp(json_string_value(json_object_get(j, "model")), name))
			found = json_incref(j);
	json_decref(list);
	return found;
}

static bool shows(const char *name, const char *state)
{
	json_t *j = shown(name, false);
	bool yes = j && !strcmp(json_string_value(json_object_get(j, "state")), state);
	json_decref(j);
	return yes;
}

static void date(const char *name, time_t t)
{
	static const char *const file[] = { "config.json", "tokenizer.json", "model.safetensors" };
	for (size_t i = 0; i < MM_COUNT(file); i++) {
		struct utimbuf u = { t, t };
		assert_int_equal(utime(kit_at("%s/%s", name, file[i]), &u), 0);
	}
}

/* Names in the order in which their scorers were started. */
static void started(char *out, size_t cap)
{
	size_t n, at = 0;
	char *text = fake_read(kit_root, ".log", &n);
	out[0] = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (!strncmp(line, "stream ", 7))
			at += (size_t)snprintf(out + at, cap - at, "%s ", line + 7);
	mm_free(text);
}

static void order(void **state)
{
	static const struct {
		enum mm_order order;
		const char *want;
	} c[] = { { MM_ORDER_NEWEST, "gate b c a " }, { MM_ORDER_OLDEST, "gate a c b " },
		{ MM_ORDER_SMALLEST, "gate c a b " } };
	(void)state;
	for (size_t i = 0; i < MM_COUNT(c); i++) {
		char got[200];
		kit_checkpoint(kit_at("gate"), "gate", "stream:wait\n");
		kit.cfg.score.order = c[i].order;
		kit_start();
		KIT_UNTIL(kit_is("gate", MM_ST_RUNNING)); /* holds the others back until all are queued */
		kit_checkpoint(kit_at("a"), "a middle length", NULL);
		kit_checkpoint(kit_at("b"), "b the longest of the three of them", NULL);
		kit_checkpoint(kit_at("c"), "c", NULL);
		date("a", 1000000);
		date("b", 3000000);
		date("c", 2000000);
		KIT_UNTIL(kit_is("a", MM_ST_QUEUED) && kit_is("b", MM_ST_QUEUED) && kit_is("c", MM_ST_QUEUED));
		assert_true(shows("a", "queued") && shows("gate", "running"));
		kit_put(kit_at("gate/go"), "");
		KIT_UNTIL(mm_reg_n(&kit) == 4 && kit_quiet());
		started(got, sizeof got);
		assert_string_equal(got, c[i].want);
		kit_stop();
		kit_teardown(NULL);
		kit_setup(NULL);
	}
}

static void concurrency(void **state)
{
	(void)state;
	kit.cfg.score.concurrency = 3;
	for (int i = 0; i < 6; i++) {
		char content[16];
		snprintf(content, sizeof content, "m %d", i);
		kit_checkpoint(kit_at("m%d", i), content, "stream:wait\n");
	}
	kit_start();
	KIT_UNTIL(kit.scorer->n == 3 && mm_reg_n(&kit) == 6 && kit.ready->line == NULL);
	struct mm_queue_count n;
	KIT_UNTIL((mm_queue_count(&kit, &n), n.queued == 3));
	assert_int_equal(n.running, 3);
	assert_int_equal(kit.scorer->n, 3);
	for (int i = 0; i < 6; i++)
		kit_put(kit_at("m%d/go", i), "");
	KIT_UNTIL(kit_quiet());
	for (int i = 0; i < 6; i++) {
		char name[8];
		snprintf(name, sizeof name, "m%d", i);
		assert_true(kit_is(name, MM_ST_PLACED));
	}
	kit_stop();
}

static void progress(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "a", "stream:wait\n");
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_RUNNING) && mm_job_of(kit_model("a"))->total);
	json_t *j = shown("a", false);
	assert_string_equal(json_string_value(json_object_get(j, "state")), "running");
	assert_true(json_real_value(json_object_get(j, "progress")) == 10.0 / 60);
	assert_true(json_real_value(json_object_get(j, "eta_s")) == 10.0);
	assert_true(json_is_integer(json_object_get(j, "id")));
	assert_true(json_is_null(json_object_get(j, "reason")));
	json_decref(j);
	kit_put(kit_at("a/go"), "");
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	assert_null(shown("a", false));
	j = shown("a", true);
	assert_string_equal(json_string_value(json_object_get(j, "state")), "done");
	json_decref(j);
	kit_stop();
}

/* Numbers of a scorer are not to be believed. */
static void mad_progress(void **state)
{
	static const char *const text[] = { "{}", "{\"done\":-5,\"total\":1e99,\"eta_s\":1e999}", "{\"stage\":7}",
		"{\"stage\":\"\\u0001 a stage with a name that is much longer than what is kept of it\"}",
		"{\"tokens\":99,\"tokens_total\":5,\"tokens_per_s\":-1}", "[]" };
	struct mm_model_entry e = { .rec.name = (char[]){ "x" } };
	struct mm_job j = { .e = &e, .rec.state = MM_JOB_RUNNING };
	(void)state;
	kit_start();
	for (size_t i = 0; i < MM_COUNT(text); i++) {
		json_t *p = json_loads(text[i], 0, NULL);
		mm_queue_progress(&kit, &j, p);
		json_t *o = mm_job_json(&kit, &j);
		double share = json_real_value(json_object_get(o, "progress"));
		assert_true(share >= 0 && share <= 1);
		assert_true(strlen(j.stage) < sizeof j.stage);
		json_decref(o);
		json_decref(p);
	}
	kit_stop();
}

static void backoff(void **state)
{
	(void)state;
	kit.cfg.score.backoff = 100;
	kit_checkpoint(kit_at("a"), "a", "stream:once kill9\n");
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_QUEUED) && mm_job_of(kit_model("a"))->rec.not_before);
	const struct mm_job *j = mm_job_of(kit_model("a"));
	assert_true(j->rec.not_before > mm_now() + 90 && j->rec.not_before <= mm_now() + 101);
	assert_non_null(strstr(j->rec.reason, "retry 1 of 2"));
	assert_int_equal(kit_calls("stream a"), 1);
	kit_stop();
	kit_start(); /* the wait is kept over a restart */
	KIT_UNTIL(kit.first_scan_done && kit.ready->n && kit.ready->c[0]->stage == MM_STAGE_IDLE);
	assert_true(kit_is("a", MM_ST_QUEUED));
	assert_true(mm_job_of(kit_model("a"))->rec.not_before > mm_now() + 80);
	assert_int_equal(kit_calls("stream a"), 1);
	must(mm_cmd_retry, "a"); /* unless a user says so */
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	kit_stop();
}

static void cancel(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "a", "stream:wait\n");
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_RUNNING));
	kit_checkpoint(kit_at("b"), "b", NULL);
	kit_mkdir(kit_at("c"));
	kit_put(kit_at("c/config.json"), "{}");
	KIT_UNTIL(kit_is("b", MM_ST_QUEUED) && kit_is("c", MM_ST_WAITING));
	must(mm_cmd_cancel, "b");
	must(mm_cmd_cancel, "c");
	must(mm_cmd_cancel, "a");
	assert_int_equal(kit.scorer->n, 0);
	assert_true(kit_is("a", MM_ST_CANCELLED) && kit_is("b", MM_ST_CANCELLED) && kit_is("c", MM_ST_CANCELLED));
	must_not(mm_cmd_cancel, "a", MM_ECONFLICT);
	must_not(mm_cmd_cancel, "nobody", MM_ENOENT);
	json_t *j = shown("a", true);
	assert_string_equal(json_string_value(json_object_get(j, "state")), "cancelled");
	json_decref(j);
	kit_stop();
	kit_start(); /* stays so */
	KIT_UNTIL(kit.first_scan_done && kit_quiet());
	assert_true(kit_is("a", MM_ST_CANCELLED) && kit_is("b", MM_ST_CANCELLED) && kit_is("c", MM_ST_CANCELLED));
	unlink(kit_at("a/behave"));
	must(mm_cmd_retry, "a");
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	kit_weights(kit_at("b"), "other"); /* a change opens it again */
	KIT_UNTIL(kit_is("b", MM_ST_PLACED));
	kit_checkpoint(kit_at("c"), "c", NULL);
	KIT_UNTIL(kit_is("c", MM_ST_PLACED));
	kit_stop();
}

static void retry(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "a", "stream:error shape\n");
	kit_checkpoint(kit_at("p"), "p", "probe:failed\n");
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_FAILED) && kit_is("p", MM_ST_FAILED));
	assert_true(shows("a", "failed") && shows("p", "failed"));
	json_t *j = shown("a", false);
	assert_string_equal(json_string_value(json_object_get(j, "reason")), "said the scorer");
	json_decref(j);
	must(mm_cmd_retry, "a");
	assert_true(shows("a", "waiting"));
	KIT_UNTIL(kit_is("a", MM_ST_FAILED) && kit_calls("stream a") == 2);
	unlink(kit_at("a/behave")); /* no file that counts: the watch says nothing */
	unlink(kit_at("p/behave"));
	must(mm_cmd_retry, "a");
	must(mm_cmd_retry, "p");
	KIT_UNTIL(kit_is("a", MM_ST_PLACED) && kit_is("p", MM_ST_PLACED));
	must_not(mm_cmd_retry, "a", MM_ECONFLICT);
	assert_null(shown("a", false));
	kit_stop();
}

static void rescore(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "a", NULL);
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	kit_checkpoint(kit_at("copy"), "a", NULL);
	KIT_UNTIL(kit_is("copy", MM_ST_PLACED) && kit_model("copy")->rec.same_as);
	must_not(mm_cmd_rescore, "copy", MM_ECONFLICT);
	uint64_t id = kit_model("a")->rec.id;
	kit_stop();
	kit_start();
	KIT_UNTIL(kit_quiet());
	must(mm_cmd_rescore, "a");
	assert_true(mm_reg_on_map(kit_model("a"))); /* the old vector counts until the new one is there */
	KIT_UNTIL(kit_calls("stream a") == 2 && kit_is("a", MM_ST_PLACED));
	assert_int_equal(kit_model("a")->rec.id, id);
	assert_true(kit_vector_is("a", kit_at("a")));
	/* A failure does not take the vector away. */
	kit_put(kit_at("a/behave"), "stream:error unsupported\n");
	must(mm_cmd_rescore, "a");
	KIT_UNTIL(kit_calls("stream a") == 3 && kit_quiet());
	assert_true(kit_is("a", MM_ST_PLACED) && mm_reg_on_map(kit_model("a")));
	assert_true(kit_vector_is("a", kit_at("a")));
	/* Nor does a cancel. */
	kit_put(kit_at("a/behave"), "stream:hang\n");
	must(mm_cmd_rescore, "a");
	KIT_UNTIL(kit_is("a", MM_ST_RUNNING));
	must_not(mm_cmd_rescore, "a", MM_ECONFLICT);
	must(mm_cmd_cancel, "a");
	assert_true(kit_is("a", MM_ST_PLACED) && mm_reg_on_map(kit_model("a")));
	kit_stop();
}

/* Running jobs are queued again, and run when the daemon is there again. */
static void restart(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "a", "stream:wait\n");
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_RUNNING));
	kit_checkpoint(kit_at("b"), "b", NULL);
	KIT_UNTIL(kit_is("b", MM_ST_QUEUED));
	kit_stop();
	kit_start();
	assert_true(kit_is("a", MM_ST_QUEUED) && kit_is("b", MM_ST_QUEUED));
	assert_int_equal(mm_job_of(kit_model("a"))->rec.attempts, 0);
	kit_put(kit_at("a/go"), "");
	KIT_UNTIL(kit_is("a", MM_ST_PLACED) && kit_is("b", MM_ST_PLACED));
	assert_int_equal(mm_reg_n(&kit), 2);
	kit_stop();
}

/* The history of finished jobs is bounded. */
static void history(void **state)
{
	struct mm_err err;
	struct mm_store_stat st;
	(void)state;
	kit_checkpoint(kit_at("a"), "a", NULL);
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	struct mm_model_entry *e = kit_model("a");
	for (int i = 0; i < MM_JOB_HISTORY + 200; i++) {
		e->rec.state = MM_ST_FAILED;
		assert_int_equal(mm_queue_end(&kit, e, MM_JOB_FAILED, &err), 0);
	}
	assert_true(kit.queue->n_old <= MM_JOB_HISTORY + 64);
	assert_int_equal(mm_store_stat(kit.store, &st, &err), 0);
	assert_int_equal(st.n_jobs, kit.queue->n_old);
	json_t *all = mm_queue_json(&kit, false); /* one failure a model is enough */
	assert_int_equal(json_array_size(all), 1);
	json_decref(all);
	kit_stop();
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)

int main(int argc, char **argv)
{
	fake_main(argc, argv);
	mm_log_init(getenv("MM_TEST_LOG") ? MM_LOG_DEBUG : MM_LOG_ERROR);
	const struct CMUnitTest tests[] = { T(order), T(concurrency), T(progress), T(mad_progress), T(backoff),
		T(cancel), T(retry), T(rescore), T(restart), T(history) };
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
