/* A scorer that behaves badly in every way: what the daemon makes of it. First the collector alone, byte by byte, then
 * whole runs through queue and store. */
#include "core_kit.h"

/* ---- the collector ---- */

static struct mm_hash texts_hash = { 7, 9 };

static struct mm_collect *collector(void)
{
	struct mm_err err;
	struct mm_collect *c = mm_collect_new(
		&(struct mm_collect_opts){ .n_texts = 4, .texts = texts_hash, .bos = "auto", .compute = "f32" }, &err);
	assert_non_null(c);
	return c;
}

/* The bytes of a stream, through a file that the writer fills. */
static size_t stream(char *out, size_t cap, const char *how)
{
	struct mm_err err;
	char name[] = "/tmp/mm-stream-XXXXXX";
	int fd = mkstemp(name);
	unlink(name);
	struct mm_frame_out *o = mm_frame_out_new(fd, &err);
	float ll[4] = { -1, -2, -3, -4 };
	uint32_t n[4] = { 1, 2, 3, 4 };
	fake_array(o, "loglik", MM_A_F32, 4, ll);
	fake_array(o, "n_tokens", MM_A_U32, 4, n);
	fake_array(o, "extra", MM_A_F32, 2, ll);
	json_t *m = json_pack("{s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:o}", "version", MM_SCORER_VERSION, "bos", "auto",
		"compute_policy", "f32", "n_texts", 4, "n_cut", 1, "texts", fake_hex(texts_hash), "quick",
		fake_hex((struct mm_hash){ 1, 1 }), "full", fake_hex((struct mm_hash){ 2, 2 }));
	if (how && *how)
		json_object_set_new(m, how, json_integer(-5));
	assert_int_equal(mm_frame_put_json(o, 'M', m, &err), 0);
	assert_int_equal(mm_frame_end(o, &err), 0);
	mm_frame_out_free(o);
	json_decref(m);
	ssize_t len = pread(fd, out, cap, 0);
	close(fd);
	assert_true(len > 0 && (size_t)len < cap);
	return (size_t)len;
}

static void good_in_pieces(void **state)
{
	char data[4096];
	size_t len = stream(data, sizeof data, NULL);
	static const size_t pieces[] = { 1, 2, 3, 7, 64, 4096 };
	(void)state;
	for (size_t k = 0; k < MM_COUNT(pieces); k++) {
		struct mm_err err = { 0 };
		struct mm_result r;
		bool said;
		struct mm_collect *c = collector();
		for (size_t at = 0; at < len; at += pieces[k])
			assert_int_equal(mm_collect_feed(c, data + at, MM_MIN(pieces[k], len - at), &err), 0);
		if (mm_collect_end(c, &r, &said, &err))
			fail_msg("%s", err.text);
		assert_false(said);
		assert_int_equal(r.n_array, 3 + MM_FEATURE_ARRAYS); /* empty ones: there are no features */
		assert_true(r.mean_loglik == -2.5);
		assert_int_equal(r.n_tokens, 10);
		assert_int_equal(r.n_cut, 1);
		assert_int_equal(r.n_bad, 0);
		mm_result_fini(&r);
		mm_collect_free(c);
	}
}

/* Every cut and every flipped byte: an error or, for a progress-free stream, never a crash and never another result. */
static void bad_bytes(void **state)
{
	char data[4096], copy[4096];
	size_t len = stream(data, sizeof data, NULL);
	(void)state;
	for (size_t i = 0; i < 2 * len; i++) {
		struct mm_err err = { 0 };
		struct mm_result r;
		bool said;
		size_t n = i < len ? i : len;
		memcpy(copy, data, len);
		if (i >= len)
			copy[i - len] ^= 0x41;
		struct mm_collect *c = collector();
		bool fed = !mm_collect_feed(c, copy, n, &err);
		if (fed && !mm_collect_end(c, &r, &said, &err))
			fail_msg("taken: byte %zu %s", i % len, i < len ? "cut" : "flipped");
		mm_collect_free(c);
	}
}

static void bad_meta(void **state)
{
	static const char *const key[] = { "texts", "n_texts", "bos", "compute_policy", "quick", "full", "n_cut",
		"version" };
	(void)state;
	for (size_t i = 0; i < MM_COUNT(key); i++) {
		char data[4096];
		size_t len = stream(data, sizeof data, key[i]);
		struct mm_err err = { 0 };
		struct mm_result r;
		bool said;
		struct mm_collect *c = collector();
		assert_int_equal(mm_collect_feed(c, data, len, &err), 0);
		if (!mm_collect_end(c, &r, &said, &err))
			fail_msg("%s: taken", key[i]);
		mm_collect_free(c);
	}
}

/* ---- whole runs ---- */

struct want {
	const char *how;	 /* what the fake does */
	enum mm_model_state st;	 /* what becomes of the model */
	const char *code, *part; /* of the reason */
	unsigned streams;	 /* how often it was tried */
};
static const struct want wants[] = {
	{ "", MM_ST_PLACED, NULL, NULL, 1 },
	{ "cuts", MM_ST_PLACED, NULL, NULL, 1 },
	{ "garbage", MM_ST_FAILED, "format", "stream", 1 },
	{ "cut", MM_ST_FAILED, "truncated", "ended early", 1 },
	{ "wrongn", MM_ST_FAILED, "format", "texts", 1 },
	{ "type", MM_ST_FAILED, "format", "token counts", 1 },
	{ "nan", MM_ST_FAILED, "not_finite", "2 of 6", 1 },
	{ "positive", MM_ST_FAILED, "format", "above zero", 1 },
	{ "hash", MM_ST_FAILED, "conflict", "text set", 3 },
	{ "nometa", MM_ST_FAILED, "format", "metadata", 1 },
	{ "meta2", MM_ST_FAILED, "format", "twice", 1 },
	{ "exit3", MM_ST_FAILED, "internal", "): all went wrong", 1 },
	{ "late1", MM_ST_FAILED, "internal", "exit status 1", 1 },
	{ "late9", MM_ST_FAILED, "busy", "killed", 3 },
	{ "kill9", MM_ST_FAILED, "busy", "killed", 3 },
	{ "once kill9", MM_ST_PLACED, NULL, NULL, 2 },
	{ "segv", MM_ST_FAILED, "internal", "signal 11", 3 },
	{ "once segv", MM_ST_PLACED, NULL, NULL, 2 },
	{ "hang", MM_ST_FAILED, "timeout", "no progress", 3 },
	{ "close", MM_ST_FAILED, "timeout", "no progress", 3 },
	{ "once hang", MM_ST_PLACED, NULL, NULL, 2 },
	{ "error shape", MM_ST_FAILED, "shape", "said the scorer", 1 },
	{ "error unsupported", MM_ST_FAILED, "unsupported", "said the scorer", 1 },
	{ "error no_memory", MM_ST_FAILED, "no_memory", "said the scorer", 3 },
	{ "once error no_memory", MM_ST_PLACED, NULL, NULL, 2 },
	{ "once error io", MM_ST_PLACED, NULL, NULL, 2 },
	{ "error changed", MM_ST_FAILED, "changed", "said the scorer", 3 }, /* it says so, but they did not */
	{ "error nonsense", MM_ST_FAILED, "internal", "said the scorer", 1 },
	{ "error ok", MM_ST_FAILED, "internal", "said the scorer", 1 },
};

static void runs(void **state)
{
	(void)state;
	kit.cfg.score.timeout = 1;
	kit.cfg.score.concurrency = 2;
	for (size_t i = 0; i < MM_COUNT(wants); i++) {
		char behave[80], content[24];
		snprintf(behave, sizeof behave, "stream:%s\n", wants[i].how);
		snprintf(content, sizeof content, "content %zu", i);
		kit_checkpoint(kit_at("m%02zu", i), content, wants[i].how[0] ? behave : NULL);
	}
	kit_start();
	KIT_UNTIL(mm_reg_n(&kit) == MM_COUNT(wants) && kit_quiet());
	for (size_t i = 0; i < MM_COUNT(wants); i++) {
		char name[8], line[24];
		snprintf(name, sizeof name, "m%02zu", i);
		snprintf(line, sizeof line, "stream m%02zu", i);
		const struct want *w = &wants[i];
		const struct mm_model_rec *r = &kit_model(name)->rec;
		if (r->state != w->st || (w->code && (!r->reason_code || strcmp(r->reason_code, w->code) != 0)) ||
			(w->part && (!r->reason || !strstr(r->reason, w->part))) || kit_calls(line) != w->streams)
			fail_msg("%s: state %s, code %s, reason %s, %u runs", w->how, mm_model_state_name(r->state),
				r->reason_code ? r->reason_code : "-", r->reason ? r->reason : "-", kit_calls(line));
		char resume[160];
		snprintf(resume, sizeof resume, "%s/scratch/job-%llu", kit_state, (unsigned long long)r->id);
		if (w->st == MM_ST_PLACED) {
			assert_true(kit_vector_is(name, kit_at("%s", name)));
			assert_int_equal(access(resume, F_OK), -1); /* what was done so far is of no use any more */
		}
		assert_null(mm_job_of(kit_model(name)));
	}
	assert_int_equal(kit_model("m01")->rec.n_cut, 3);
	/* The model with NaN keeps its vector, off the map. */
	const struct mm_model_entry *nan = kit_model("m06");
	assert_true(nan->not_finite && nan->rec.has_vector && !nan->loglik && !mm_reg_on_map(nan));
	assert_int_equal(kit.scorer->n, 0);
	kit_stop();
	/* All of it is there in the next life, and nothing is tried again. */
	unlink(kit_at(".log"));
	kit_start();
	KIT_UNTIL(kit_quiet());
	for (size_t i = 0; i < MM_COUNT(wants); i++) {
		char name[8];
		snprintf(name, sizeof name, "m%02zu", i);
		assert_true(kit_is(name, wants[i].st));
		assert_int_equal(kit_calls(kit_at("stream %s", name) + strlen(kit_root) + 1), 0);
	}
	assert_true(kit_model("m06")->not_finite);
	kit_stop();
}

/* The scorer saw other files than the probe: not its result. */
static void other_files(void **state)
{
	(void)state;
	kit_checkpoint(kit_at("a"), "alpha", "stream:once quick\n");
	kit_start();
	KIT_UNTIL(kit_is("a", MM_ST_PLACED));
	assert_int_equal(kit_calls("stream a"), 2);
	kit_stop();
}

/* No scorer at all, or one that is no program. */
static void no_program(void **state)
{
	static char none[] = "/nonexistent/modelmap-score";
	(void)state;
	kit_checkpoint(kit_at("a"), "alpha", NULL);
	kit_start();
	kit.score_program = none;
	KIT_UNTIL(kit_model("a"));
	assert_true(kit_is("a", MM_ST_WAITING));
	assert_non_null(strstr(kit_model("a")->rec.reason, none));
	kit_stop();
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)

int main(int argc, char **argv)
{
	fake_main(argc, argv);
	mm_log_init(getenv("MM_TEST_LOG") ? MM_LOG_DEBUG : MM_LOG_ERROR);
	const struct CMUnitTest tests[] = { cmocka_unit_test(good_in_pieces), cmocka_unit_test(bad_bytes),
		cmocka_unit_test(bad_meta), T(runs), T(other_files), T(no_program) };
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
