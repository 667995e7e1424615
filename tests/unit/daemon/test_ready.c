/* The state machine from a name in a directory to a scored model, with a fake scorer: every row of the table in
 * ready_decide.c, and that nothing is scored early or twice. */
#include "core_kit.h"

#define T(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)

static const char *code_of(const char *name)
{
	const struct mm_model_entry *e = kit_model(name);
	return e && e->rec.reason_code ? e->rec.reason_code : "";
}

static void whole(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "alpha", NULL);
	kit_checkpoint(kit_at("run/checkpoint-20"), "beta", NULL);
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_PLACED) && kit_is("run/checkpoint-20", MM_ST_PLACED));
	assert_true(kit_vector_is("a", kit_at("a")));
	assert_true(kit_vector_is("run/checkpoint-20", kit_at("run/checkpoint-20")));
	const struct mm_model_entry *e = kit_model("run/checkpoint-20");
	assert_string_equal(e->rec.run, "run");
	assert_int_equal(e->rec.step, 20);
	assert_int_equal(kit_calls("stream a"), 1);
	assert_int_equal(mm_reg_n(&kit), 2);
	assert_true(mm_reg_on_map(e));
	kit_stop();
	/* The next life finds everything as it was: no child at all. */
	unlink(kit_at(".log"));
	kit_start();
	KIT_UNTIL(kit_quiet());
	assert_int_equal(kit_calls("probe a") + kit_calls("stream a") + kit_calls("full a"), 0);
	assert_true(mm_reg_on_map(kit_model("a")));
	kit_stop();
}

/* Whatever order the files come in: waiting with a reason, scored once, and only when all is there. */
static void slow(void **state)
{
	char part[] = "SIZE 000105\nalpha"; /* the first bytes only */
	(void)state;
	kit_start();
	kit_mkdir(kit_at("a"));
	kit_put(kit_at("a/model.safetensors"), part);
	KIT_UNTIL(!strcmp(code_of("a"), "no_config"));
	kit_put(kit_at("a/config.json"), "{\"model_type\":\"fake\"}");
	KIT_UNTIL(!strcmp(code_of("a"), "truncated"));
	const struct mm_model_entry *e = kit_model("a");
	assert_int_equal(e->rec.missing_bytes, 105 - (long)strlen(part));
	assert_string_equal(e->rec.reason_file, "model.safetensors");
	assert_non_null(mm_job_of(e));
	assert_int_equal(mm_job_of(e)->rec.state, MM_JOB_WAITING);
	kit_weights(kit_at("a"), "alpha");
	KIT_UNTIL(!strcmp(code_of("a"), "no_tokenizer"));
	assert_int_equal(kit_calls("stream a"), 0);
	kit_put(kit_at("tokenizer.json"), "{}"); /* in the directory above */
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	assert_int_equal(kit_calls("stream a"), 1);
	assert_int_equal(mm_reg_n(&kit), 1);
	kit_stop();
}

/* A writer that keeps its file open holds the checkpoint back although it looks whole. */
static void open_writer(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "alpha", NULL);
	int fd = -1;
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	kit_checkpoint(kit_at(".b"), "beta", NULL);
	assert_int_equal(rename(kit_at(".b"), kit_at("b")), 0);
	KIT_UNTIL(mm_ready_cand(&kit, kit_at("b"))); /* its directory is watched by now */
	fd = open(kit_at("b/model.safetensors"), O_RDWR);
	assert_int_equal(pwrite(fd, "S", 1, 0), 1);
	KIT_UNTIL(!strcmp(code_of("b"), "writing"));
	assert_int_equal(kit_calls("stream b"), 0);
	close(fd);
	KIT_UNTIL(kit_is("b", MM_ST_PLACED));
	kit_stop();
}

static void never_ready(void **state)
{
	(void)state;
	kit.cfg.watch.give_up = 1;
	kit_mkdir(kit_at("a"));
	kit_put(kit_at("a/config.json"), "{}");
	kit_put(kit_at("a/model.safetensors"), "SIZE 000105\nalpha");
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_NEVER_READY));
	assert_string_equal(code_of("a"), "truncated");
	assert_int_equal(kit_model("a")->rec.missing_bytes, 105 - 17);
	assert_null(mm_job_of(kit_model("a")));
	kit_stop();
	kit_start(); /* stays so over a restart */
	KIT_UNTIL(kit_calls("probe a") > 0 && kit.ready->n == 1 && kit.ready->c[0]->stage == MM_STAGE_TIMED);
	assert_true(kit_is("a", MM_ST_NEVER_READY));
	kit_checkpoint(kit_at("a"), "alpha", NULL); /* any change opens it again */
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	kit_stop();
}

static void failed(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "alpha", "probe:failed\n");
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_FAILED));
	assert_string_equal(code_of("a"), "unsupported");
	KIT_UNTIL(kit_quiet());
	assert_int_equal(kit_calls("probe a"), 1);
	unlink(kit_at("a/behave"));
	kit_put(kit_at("a/config.json"), "{\"model_type\":\"fake2\"}");
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	kit_stop();
}

static void bad_probes(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("garbage"), "a", "probe:garbage\n");
	kit_checkpoint(kit_at("crash"), "b", "probe:crash\n");
	kit_checkpoint(kit_at("fine"), "c", NULL);
	kit_start();
	KIT_UNTIL(kit_is("fine", MM_ST_PLACED) && !strcmp(code_of("garbage"), "probe_failed"));
	KIT_UNTIL(kit_is("crash", MM_ST_FAILED)); /* three times the same signal: it is the files */
	assert_int_equal(kit_calls("probe crash"), 3);
	assert_true(kit_is("garbage", MM_ST_WAITING));
	kit_stop();
}

/* ---- identity ---- */

static void copy(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "alpha", NULL);
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	kit_checkpoint(kit_at("b"), "alpha", NULL);
	KIT_UNTIL(kit_is("b", MM_ST_PLACED));
	const struct mm_model_entry *a = kit_model("a"), *b = kit_model("b");
	assert_int_equal(b->rec.same_as, a->rec.id);
	assert_false(b->rec.has_vector);
	assert_int_equal(kit_calls("stream b"), 0);
	assert_int_equal(kit_calls("full b"), 1);
	assert_true(b->rec.mean_loglik == a->rec.mean_loglik);
	assert_true(mm_reg_on_map(b));
	/* The same beginning, another end: the quick fingerprint is equal, the full one is not. */
	kit_checkpoint(kit_at("c"), "0123456789012345678901234567890123456789 one", NULL);
	KIT_UNTIL(kit_is("c", MM_ST_PLACED));
	kit_checkpoint(kit_at("d"), "0123456789012345678901234567890123456789 two", NULL);
	KIT_UNTIL(kit_is("d", MM_ST_PLACED));
	assert_true(mm_hash_eq(kit_model("c")->rec.quick, kit_model("d")->rec.quick));
	assert_int_equal(kit_calls("stream d"), 1);
	assert_int_equal(kit_model("d")->rec.same_as, 0);
	kit_stop();
}

/* Both come at once: one is scored, the other waits for it. */
static void copies_at_once(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		kit_checkpoint(kit_at("m%d", i), "alpha", NULL);
	kit_start();
	KIT_UNTIL(mm_reg_n(&kit) == 5 && kit_quiet());
	unsigned streams = 0, vectors = 0, copies = 0;
	for (int i = 0; i < 5; i++) {
		char line[32], name[8];
		snprintf(line, sizeof line, "stream m%d", i);
		snprintf(name, sizeof name, "m%d", i);
		streams += kit_calls(line);
		assert_true(kit_is(name, MM_ST_PLACED));
		vectors += kit_model(name)->rec.has_vector;
		copies += kit_model(name)->rec.same_as != 0;
	}
	assert_int_equal(streams, 1);
	assert_int_equal(vectors, 1);
	assert_int_equal(copies, 4);
	kit_stop();
}

static void renamed(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "alpha", NULL);
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	uint64_t id = kit_model("a")->rec.id;
	assert_int_equal(rename(kit_at("a"), kit_at("b")), 0);
	KIT_UNTIL(kit_model("b") && !kit_model("b")->rec.gone && kit_quiet());
	assert_int_equal(kit_model("b")->rec.id, id);
	assert_null(kit_model("a"));
	assert_int_equal(mm_reg_n(&kit), 1);
	assert_int_equal(kit_calls("stream b"), 0);
	kit_stop();
	/* While nobody looks, into a run. */
	kit_mkdir(kit_at("run"));
	assert_int_equal(rename(kit_at("b"), kit_at("run/checkpoint-7")), 0);
	kit_start();
	KIT_UNTIL(kit_model("run/checkpoint-7") && kit_quiet());
	assert_int_equal(kit_model("run/checkpoint-7")->rec.id, id);
	assert_int_equal(kit_model("run/checkpoint-7")->rec.step, 7);
	assert_int_equal(mm_reg_n(&kit), 1);
	assert_int_equal(kit_calls("stream run/checkpoint-7"), 0);
	kit_stop();
}

/* Copied slowly to another name while the old one goes: the waiting record gives way to the renamed one. */
static void renamed_over_waiting(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "alpha", NULL);
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	uint64_t id = kit_model("a")->rec.id;
	kit_mkdir(kit_at("b"));
	kit_put(kit_at("b/config.json"), "{\"model_type\":\"fake\"}");
	KIT_UNTIL(kit_is("b", MM_ST_WAITING));
	kit_rm(kit_at("a"));
	KIT_UNTIL(kit_model("a")->rec.gone);
	kit_checkpoint(kit_at("b"), "alpha", NULL);
	KIT_UNTIL(kit_is("b", MM_ST_PLACED) && kit_quiet());
	assert_int_equal(kit_model("b")->rec.id, id);
	assert_int_equal(mm_reg_n(&kit), 1);
	kit_stop();
	kit_start();
	assert_int_equal(mm_reg_n(&kit), 1);
	assert_non_null(kit_model("b"));
	kit_stop();
}

static void gone_and_back(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "alpha", NULL);
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	assert_int_equal(rename(kit_at("a"), kit_at(".a")), 0);
	KIT_UNTIL(kit_model("a")->rec.gone);
	assert_true(kit_is("a", MM_ST_PLACED));
	assert_true(kit_vector_is("a", kit_at(".a")));
	kit_stop();
	kit_start();
	KIT_UNTIL(kit_quiet());
	assert_true(kit_model("a")->rec.gone);
	assert_int_equal(rename(kit_at(".a"), kit_at("a")), 0);
	KIT_UNTIL(!kit_model("a")->rec.gone && kit_quiet());
	assert_int_equal(kit_calls("stream a"), 1);
	assert_int_equal(mm_reg_n(&kit), 1);
	kit_stop();
	/* Removed while nobody looks. */
	kit_rm(kit_at("a"));
	kit_start();
	KIT_UNTIL(kit_quiet() && kit_model("a")->rec.gone);
	kit_stop();
}

/* Other content in the same place: the old vector is history, the new one has the name. */
static void rewritten(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "alpha", NULL);
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	struct mm_model_entry *old = kit_model("a");
	kit_checkpoint(kit_at("a"), "beta", NULL);
	KIT_UNTIL(kit_model("a") && kit_model("a") != old && kit_is("a", MM_ST_PLACED));
	assert_int_equal(mm_reg_n(&kit), 2);
	assert_true(mm_reg_history(old));
	assert_int_equal(strncmp(old->rec.name, "a@", 2), 0);
	assert_true(old->rec.gone && old->rec.has_vector && old->rec.state == MM_ST_PLACED);
	assert_true(kit_vector_is("a", kit_at("a")));
	/* Only the end differs: the quick fingerprint is blind, the full one is not. */
	kit_checkpoint(kit_at("b"), "0123456789012345678901234567890123456789 one", NULL);
	KIT_UNTIL(kit_is("b", MM_ST_PLACED));
	kit_weights(kit_at("b"), "0123456789012345678901234567890123456789 two");
	KIT_UNTIL(kit_calls("stream b") == 2 && kit_is("b", MM_ST_PLACED));
	assert_true(kit_vector_is("b", kit_at("b")));
	assert_int_equal(mm_reg_n(&kit), 4);
	/* Touched, but the same bytes: read once, not scored again. */
	kit_weights(kit_at("b"), "0123456789012345678901234567890123456789 two");
	unsigned full = kit_calls("full b");
	KIT_UNTIL(kit_calls("full b") > full && kit_quiet());
	assert_int_equal(kit_calls("stream b"), 2);
	/* Back to the first content: that record comes back from history. */
	kit_checkpoint(kit_at("a"), "alpha", NULL);
	KIT_UNTIL(kit_model("a") == old && !old->rec.gone && kit_quiet());
	assert_int_equal(kit_calls("stream a"), 2);
	kit_stop();
}

/* Changed while it is scored: thrown away, looked at again, scored again. */
static void changed_while_scored(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "alpha", "stream:wait\n");
	kit_start();
	KIT_UNTIL(kit_calls("stream a") == 1);
	kit_weights(kit_at("a"), "beta"); /* the watch tells, the probe sees it, the scorer is stopped */
	KIT_UNTIL(kit_calls("stream a") == 2);
	kit_put(kit_at("a/go"), "");
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	assert_true(kit_vector_is("a", kit_at("a")));
	assert_int_equal(mm_reg_n(&kit), 1);
	kit_stop();
}

/* Changed at the last moment: only the look after the run can see it. */
static void changed_unseen(void **state)
{
	(void)state;
	kit.cfg.watch.mode = MM_WATCH_POLL;
	kit.cfg.watch.poll_interval = 1000; /* the watch is blind */
	kit_checkpoint(kit_at("a"), "alpha", "stream:wait\n");
	kit_start();
	KIT_UNTIL(kit_calls("stream a") == 1);
	kit_weights(kit_at("a"), "beta");
	kit_put(kit_at("a/go"), "");
	KIT_UNTIL(kit_calls("stream a") == 2 && kit_is("a", MM_ST_PLACED));
	assert_true(kit_vector_is("a", kit_at("a")));
	kit_stop();
}

/* Removed while it waits, is queued, runs. */
static void removed(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "alpha", "stream:wait\n");
	kit_mkdir(kit_at("c"));
	kit_put(kit_at("c/config.json"), "{}");
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_RUNNING));
	kit_checkpoint(kit_at("b"), "beta", NULL);
	KIT_UNTIL(kit_is("a", MM_ST_RUNNING) && kit_is("b", MM_ST_QUEUED) && kit_is("c", MM_ST_WAITING));
	kit_rm(kit_at("a"));
	kit_rm(kit_at("b"));
	kit_rm(kit_at("c"));
	KIT_UNTIL(kit_model("a")->rec.gone && kit_model("b")->rec.gone && kit_model("c")->rec.gone && kit_quiet());
	assert_null(mm_job_of(kit_model("a")));
	assert_null(mm_job_of(kit_model("b")));
	assert_int_equal(kit.scorer->n, 0);
	kit_checkpoint(kit_at("b"), "beta", NULL);
	KIT_UNTIL(kit_is("b", MM_ST_PLACED));
	assert_int_equal(mm_reg_n(&kit), 3);
	kit_stop();
}

/* ---- the parser of answers ---- */

static void answers(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} c[] = {
		{ "{\"state\":\"waiting\"}", true },
		{ "{\"state\":\"waiting\",\"reason\":{\"code\":\"x\",\"file\":null}}", true },
		{ "{\"state\":\"ready\"}", false },
		{ "{\"state\":\"ready\",\"quick\":\"00000000000000000000000000000001\",\"files\":[{\"name\":\"a\"}]}",
			true },
		{ "{\"state\":\"ready\",\"quick\":\"1\",\"files\":[]}", false },
		{ "{\"state\":\"ready\",\"quick\":\"00000000000000000000000000000001\",\"files\":[7]}", false },
		{ "{\"state\":\"done\"}", false },
		{ "[]", false },
		{ "", false },
		{ "{\"state\":\"failed\",\"reason\":7}", false },
		{ "{\"state\":\"failed\",\"reason\":{\"missing_bytes\":-1}}", false },
		{ "{\"state\":\"failed\",\"meta\":{\"params\":1e300}}", false },
		{ "{\"state\":\"failed\",\"meta\":{\"family\":[1]}}", false },
		{ "{\"state\":\"waiting\",\"files\":{}}", false },
	};
	(void)state;
	for (size_t i = 0; i < MM_COUNT(c); i++) {
		struct mm_probe_result p;
		struct mm_err err = { 0 };
		int rc = mm_probe_parse(c[i].text, strlen(c[i].text), &p, &err);
		if ((rc == 0) != c[i].good)
			fail_msg("%s: %s", c[i].text, rc ? err.text : "taken");
		if (!rc)
			mm_probe_result_fini(&p);
	}
}

int main(int argc, char **argv)
{
	fake_main(argc, argv);
	mm_log_init(getenv("MM_TEST_LOG") ? MM_LOG_DEBUG : MM_LOG_ERROR);
	const struct CMUnitTest tests[] = { T(whole), T(slow), T(open_writer), T(never_ready), T(failed), T(bad_probes),
		T(copy), T(copies_at_once), T(renamed), T(renamed_over_waiting), T(gone_and_back), T(rewritten),
		T(changed_while_scored), T(changed_unseen), T(removed), T(answers) };
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
