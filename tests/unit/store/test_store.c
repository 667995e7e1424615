/* test_store.c - what is put comes back, after reopening too; terms, schema and lock are kept. */
#include "tests/unit/store/kit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- records ---- */

struct seen {
	const struct mm_layout *l;
	const void *want[4];
	size_t n;
};

static int see(const void *rec, void *ctx, struct mm_err *err)
{
	struct seen *s = ctx;
	(void)err;
	assert_true(s->n < 4);
	assert_true(kit_same(s->l, rec, s->want[s->n]));
	s->n++;
	return 0;
}

static int see_model(const struct mm_model_rec *r, void *ctx, struct mm_err *err)
{
	return see(r, ctx, err);
}
static int see_job(const struct mm_job_rec *r, void *ctx, struct mm_err *err)
{
	return see(r, ctx, err);
}
static int see_alert(const struct mm_alert_rec *r, void *ctx, struct mm_err *err)
{
	return see(r, ctx, err);
}

static void records_come_back(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	struct mm_model_rec m[2], got;
	struct mm_job_rec j[2];
	struct mm_alert_rec a[2];
	(void)state;
	struct mm_txn *t = mm_txn_begin(s, true, &err);
	for (unsigned i = 0; i < 2; i++) {
		kit_fill(&mm_layout_model, &m[i], i);
		kit_fill(&mm_layout_job, &j[i], i);
		kit_fill(&mm_layout_alert, &a[i], i);
		m[i].id = j[i].id = a[i].id = 0;
		assert_int_equal(mm_model_put(t, &m[i], &err), 0);
		assert_int_equal(mm_job_put(t, &j[i], &err), 0);
		assert_int_equal(mm_alert_put(t, &a[i], &err), 0);
		assert_int_equal(m[i].id, i + 1);
		assert_int_equal(j[i].id, i + 1);
	}
	assert_int_equal(mm_txn_commit(t, &err), 0);
	mm_store_close(s);

	s = kit_open(dir);
	t = mm_txn_begin(s, false, &err);
	struct seen seen = { &mm_layout_model, { &m[0], &m[1] }, 0 };
	assert_int_equal(mm_model_each(t, see_model, NULL, &seen, &err), 0);
	assert_int_equal(seen.n, 2);
	seen = (struct seen){ &mm_layout_job, { &j[0], &j[1] }, 0 };
	assert_int_equal(mm_job_each(t, see_job, &seen, &err), 0);
	assert_int_equal(seen.n, 2);
	seen = (struct seen){ &mm_layout_alert, { &a[0], &a[1] }, 0 };
	assert_int_equal(mm_alert_each(t, see_alert, &seen, &err), 0);
	assert_int_equal(seen.n, 2);
	assert_int_equal(mm_model_get(t, 2, &got, &err), 0);
	assert_true(kit_same(&mm_layout_model, &got, &m[1]));
	mm_model_rec_fini(&got);
	assert_int_equal(mm_model_get(t, 3, &got, &err), -1);
	assert_int_equal(err.code, MM_ENOENT);
	mm_txn_abort(t);
	struct mm_store_stat st;
	assert_int_equal(mm_store_stat(s, &st, &err), 0);
	assert_int_equal(st.n_models, 2);
	assert_int_equal(st.n_jobs, 2);
	assert_int_equal(st.n_alerts, 2);
	mm_store_close(s);
	for (unsigned i = 0; i < 2; i++) {
		mm_model_rec_fini(&m[i]);
		mm_job_rec_fini(&j[i]);
		mm_alert_rec_fini(&a[i]);
	}
	kit_rm(dir);
}

static void empty_and_copied_records(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	struct mm_model_rec zero = { .step = -1 }, got, copy;
	(void)state;
	zero.name = (char *)(uintptr_t) ""; /* the empty string is not NULL */
	struct mm_txn *t = mm_txn_begin(s, true, &err);
	assert_int_equal(mm_model_put(t, &zero, &err), 0);
	assert_int_equal(mm_model_get(t, zero.id, &got, &err), 0);
	assert_true(kit_same(&mm_layout_model, &got, &zero));
	assert_string_equal(got.name, "");
	assert_null(got.path);
	assert_int_equal(got.step, -1);
	assert_int_equal(mm_model_rec_dup(&copy, &got, &err), 0);
	mm_model_rec_fini(&got);
	assert_true(kit_same(&mm_layout_model, &copy, &zero));
	mm_model_rec_fini(&copy);
	mm_model_rec_fini(&copy);
	mm_txn_abort(t);
	mm_store_close(s);
	kit_rm(dir);
}

/* Ids are never used again: not after a deletion, not when the counter is lost. */
static void ids_are_new(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	struct mm_job_rec j = { .model = 1 };
	(void)state;
	struct mm_txn *t = mm_txn_begin(s, true, &err);
	for (int i = 0; i < 3; i++) {
		j.id = 0;
		assert_int_equal(mm_job_put(t, &j, &err), 0);
	}
	assert_int_equal(j.id, 3);
	assert_int_equal(mm_job_del(t, 3, &err), 0);
	assert_int_equal(mm_job_del(t, 3, &err), 0); /* gone already: fine */
	j.id = 0;
	assert_int_equal(mm_job_put(t, &j, &err), 0);
	assert_int_equal(j.id, 4);
	j.id = 9; /* an id brought along moves the counter */
	assert_int_equal(mm_job_put(t, &j, &err), 0);
	assert_int_equal(mm_job_del(t, 9, &err), 0);
	j.id = 0;
	assert_int_equal(mm_job_put(t, &j, &err), 0);
	assert_int_equal(j.id, 10);
	MDB_val key = { 8, (void *)(uintptr_t) "next-job" };
	assert_int_equal(mdb_del(t->x, s->dbi[MM_D_META], &key, NULL), 0);
	j.id = 0;
	assert_int_equal(mm_job_put(t, &j, &err), 0);
	assert_int_equal(j.id, 11);
	assert_int_equal(mm_txn_commit(t, &err), 0);
	mm_store_close(s);
	kit_rm(dir);
}

/* A model goes with all its arrays, and with nobody else's. */
static void deleted_model(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	struct mm_stored_array got;
	struct mm_model_rec m;
	float x[700] = { 1, 2, 3 };
	(void)state;
	struct mm_txn *t = mm_txn_begin(s, true, &err);
	for (uint64_t id = 254; id <= 258; id++) {
		kit_fill(&mm_layout_model, &m, (unsigned)id);
		m.id = id;
		assert_int_equal(mm_model_put(t, &m, &err), 0);
		mm_model_rec_fini(&m);
		struct mm_stored_array a = kit_array("loglik", x, 3);
		assert_int_equal(mm_array_put(t, id, &a, &err), 0);
		a = kit_array("n_tokens", x, 700);
		assert_int_equal(mm_array_put(t, id, &a, &err), 0);
	}
	assert_int_equal(mm_model_del(t, 256, &err), 0);
	assert_int_equal(mm_model_del(t, 256, &err), 0);
	assert_int_equal(mm_model_del(t, 9, &err), 0);
	for (uint64_t id = 254; id <= 258; id++) {
		int want = id == 256 ? -1 : 0;
		assert_int_equal(mm_array_get(t, id, "loglik", &got, &err), want);
		assert_int_equal(mm_array_get(t, id, "n_tokens", &got, &err), want);
		assert_int_equal(mm_model_get(t, id, &m, &err), want);
		mm_model_rec_fini(&m);
	}
	assert_int_equal(mm_txn_commit(t, &err), 0);
	mm_store_close(s);
	kit_rm(dir);
}

/* What a newer program wrote into tags that this one does not know survives a rewrite. */
static void unknown_fields_are_kept(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	struct mm_job_rec j = { .model = 5, .reason = (char *)(uintptr_t) "first" }, got;
	MDB_val val, none = { 0, NULL };
	(void)state;
	struct mm_txn *t = mm_txn_begin(s, true, &err);
	assert_int_equal(mm_job_put(t, &j, &err), 0);
	struct mm_key key = mm_key_of(j.id, NULL);
	/* A layout with a field more at the end, one more in the middle gone: encode with it, read with ours. */
	struct mm_field more[MM_MAX(16, 1)];
	memcpy(more, mm_layout_job.field, mm_layout_job.n * sizeof *more);
	static uint64_t newer_value = 77; /* read from a struct that is longer */
	struct {
		struct mm_job_rec r;
		uint64_t newer;
		char *newest;
	} wide = { j, newer_value, (char *)(uintptr_t) "hello" };
	more[mm_layout_job.n] = (struct mm_field){ 900, MM_F_U64, offsetof(__typeof__(wide), newer), 0, "newer" };
	more[mm_layout_job.n + 1] = (struct mm_field){ 901, MM_F_STR, offsetof(__typeof__(wide), newest), 0, "newest" };
	struct mm_layout newer = { 'j', "job", sizeof wide, more, mm_layout_job.n + 2 };
	struct mm_buf b = { 0 };
	assert_int_equal(mm_rec_encode(&newer, &wide, mm_key_val(&key), none, &b, &err), 0);
	val = (MDB_val){ b.len, b.data };
	assert_int_equal(mm_txn_put(t, MM_D_JOBS, mm_key_val(&key), &val, &err), 0);
	mm_buf_fini(&b);
	/* The old program reads it, changes it, writes it back. */
	assert_int_equal(mm_rec_get(t, &mm_layout_job, MM_D_JOBS, j.id, &got, &err), 0);
	assert_int_equal(got.model, 5);
	got.attempts = 3;
	assert_int_equal(mm_job_put(t, &got, &err), 0);
	mm_job_rec_fini(&got);
	memset(&wide, 0, sizeof wide);
	assert_int_equal(mm_rec_get(t, &newer, MM_D_JOBS, j.id, &wide, &err), 0);
	assert_int_equal(wide.newer, 77);
	assert_string_equal(wide.newest, "hello");
	assert_int_equal(wide.r.attempts, 3);
	mm_rec_fini(&newer, &wide);
	mm_txn_abort(t);
	mm_store_close(s);
	kit_rm(dir);
}

/* ---- arrays and epochs ---- */

static void arrays_and_epochs(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	struct mm_stored_array a, got;
	uint64_t last;
	char *json;
	float *big = mm_calloc(100000, sizeof *big, &err), small[3] = { 1, 2, 3 };
	(void)state;
	for (int i = 0; i < 100000; i++)
		big[i] = (float)i / 3;
	struct mm_txn *t = mm_txn_begin(s, true, &err);
	a = kit_array("loglik", big, 100000);
	assert_int_equal(mm_array_put(t, 7, &a, &err), 0);
	a = kit_array("n_tokens", small, 3);
	assert_int_equal(mm_array_put(t, 7, &a, &err), 0);
	a = kit_array("empty", NULL, 0);
	assert_int_equal(mm_array_put(t, 7, &a, &err), 0);
	assert_int_equal(mm_epoch_last(t, &last, &err), 0);
	assert_int_equal(last, 0);
	struct mm_stored_array two[2] = { kit_array("basis", big, 1000), kit_array("mean", small, 3) };
	two[0].n_dim = 2;
	two[0].dim[0] = 10;
	two[0].dim[1] = 100;
	assert_int_equal(mm_epoch_put(t, 1, "{\"clip\":-5}", two, 2, &err), 0);
	assert_int_equal(mm_epoch_put(t, 300, "{}", two, 1, &err), 0);
	assert_int_equal(mm_epoch_put(t, 300, "{\"again\":1}", &two[1], 1, &err), 0);
	assert_int_equal(mm_txn_commit(t, &err), 0);
	mm_store_close(s);

	s = kit_open(dir);
	t = mm_txn_begin(s, false, &err);
	assert_int_equal(mm_array_get(t, 7, "loglik", &got, &err), 0);
	assert_int_equal(got.n_byte, 400000);
	assert_int_equal(got.n_dim, 1);
	assert_memory_equal(got.data, big, 400000);
	assert_string_equal(got.name, "loglik");
	assert_int_equal(mm_array_get(t, 7, "empty", &got, &err), 0);
	assert_int_equal(got.n_byte, 0);
	assert_int_equal(mm_array_get(t, 8, "loglik", &got, &err), -1);
	assert_int_equal(err.code, MM_ENOENT);
	assert_int_equal(mm_array_get(t, 7, "log", &got, &err), -1);
	assert_int_equal(err.code, MM_ENOENT);
	assert_int_equal(mm_epoch_last(t, &last, &err), 0);
	assert_int_equal(last, 300);
	assert_int_equal(mm_epoch_json(t, 1, &json, &err), 0);
	assert_string_equal(json, "{\"clip\":-5}");
	mm_free(json);
	assert_int_equal(mm_epoch_json(t, 300, &json, &err), 0);
	assert_string_equal(json, "{\"again\":1}");
	mm_free(json);
	assert_int_equal(mm_epoch_array(t, 300, "basis", &got, &err), 0);
	assert_int_equal(got.dim[1], 100);
	assert_int_equal(mm_epoch_array(t, 300, "mean", &got, &err), 0);
	assert_int_equal(mm_epoch_json(t, 2, &json, &err), -1);
	assert_int_equal(err.code, MM_ENOENT);
	mm_txn_abort(t);
	mm_store_close(s);
	mm_free(big);
	kit_rm(dir);
}

/* ---- sticky errors ---- */

static void first_error_sticks(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	struct mm_stored_array a = kit_array("x", NULL, 0);
	struct mm_job_rec j = { .model = 1 };
	(void)state;
	a.type = 99;
	struct mm_txn *t = mm_txn_begin(s, true, &err), *second = mm_txn_begin(s, true, &err);
	assert_null(second);
	assert_int_equal(mm_array_put(t, 1, &a, &err), -1);
	assert_int_equal(mm_job_put(t, &j, &err), -1);
	assert_int_equal(j.id, 0);
	assert_int_equal(mm_txn_commit(t, &err), -1);
	assert_non_null(strstr(err.text, "array \"x\""));
	t = mm_txn_begin(s, false, &err);
	assert_int_equal(mm_job_put(t, &j, &err), -1); /* only reads */
	mm_txn_abort(t);
	struct mm_store_stat st;
	assert_int_equal(mm_store_stat(s, &st, &err), 0);
	assert_int_equal(st.n_jobs, 0);
	mm_store_close(s);
	kit_rm(dir);
}

static int fails_itself(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	struct mm_job_rec j = { .model = 1 };
	++*(int *)ctx;
	assert_int_equal(mm_job_put(t, &j, err), 0);
	return mm_fail(err, MM_EBUSY, "not this time");
}

static void write_aborts_on_failure(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	struct mm_store_stat st;
	int calls = 0;
	(void)state;
	assert_int_equal(mm_store_write(s, fails_itself, &calls, &err), -1);
	assert_string_equal(err.text, "not this time");
	assert_int_equal(calls, 1); /* busy for another reason than room: not run again */
	assert_int_equal(mm_store_stat(s, &st, &err), 0);
	assert_int_equal(st.n_jobs, 0);
	mm_store_close(s);
	kit_rm(dir);
}

/* ---- terms, schema, lock ---- */

static void other_terms_are_refused(void **state)
{
	const char *dir = kit_dir();
	(void)state;
	mm_store_close(kit_open(dir));
	for (int i = 0; i < 5; i++) {
		static const char *const say[] = { "another text set", "another text set", "score.bos auto",
			"score.compute f32", "scorer version 1" };
		struct mm_err err = { 0 };
		struct mm_store_pin pin = kit_pin();
		if (i == 0)
			pin.texts.lo++;
		if (i == 1)
			pin.n_texts++;
		if (i == 2)
			strcpy(pin.bos, "paper");
		if (i == 3)
			strcpy(pin.compute, "auto");
		if (i == 4)
			strcpy(pin.scorer, "0.0-other");
		assert_null(mm_store_open(dir, &pin, &err));
		assert_int_equal(err.code, MM_ECONFLICT);
		if (!strstr(err.text, say[i]) || !strstr(err.text, "new state_dir") ||
			!strstr(err.text, "modelmap export"))
			fail_msg("%d: %s", i, err.text);
	}
	struct mm_err err = { 0 };
	struct mm_store *s = mm_store_open(dir, NULL, &err);
	assert_non_null(s);
	assert_string_equal(mm_store_pin_get(s)->bos, "auto");
	assert_true(mm_store_pin_get(s)->mean_bytes == 512.25);
	mm_store_close(s);
	kit_rm(dir);
}

static void set_schema(const char *dir, const void *bytes, size_t n)
{
	struct mm_err err = { 0 };
	struct mm_store *s = kit_open(dir);
	struct mm_txn *t = mm_txn_begin(s, true, &err);
	MDB_val key = { 6, (void *)(uintptr_t) "schema" }, val = { n, (void *)(uintptr_t)bytes };
	assert_int_equal(mm_txn_put(t, MM_D_META, key, &val, &err), 0);
	assert_int_equal(mm_txn_commit(t, &err), 0);
	mm_store_close(s);
}

static void schema_is_kept(void **state)
{
	static const uint8_t newer[4] = { MM_SCHEMA + 1, 0, 0, 0 }, zero[4] = { 0 };
	struct mm_store_pin pin = kit_pin();
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct mm_err err = { 0 };
		const char *dir = kit_dir();
		set_schema(dir, i ? zero : newer, i == 2 ? 3 : 4);
		assert_null(mm_store_open(dir, &pin, &err));
		assert_int_equal(err.code, i ? MM_ECORRUPT : MM_EUNSUPPORTED);
		assert_non_null(strstr(err.text, "schema"));
		kit_rm(dir);
	}
}

static void one_process_only(void **state)
{
	struct mm_err err = { 0 };
	struct mm_store_pin pin = kit_pin();
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	char pid[32];
	(void)state;
	assert_null(mm_store_open(dir, &pin, &err));
	assert_int_equal(err.code, MM_ECONFLICT);
	snprintf(pid, sizeof pid, "pid %ld:", (long)getpid());
	assert_non_null(strstr(err.text, pid));
	mm_store_close(s);
	mm_store_close(kit_open(dir));
	/* A process that was killed leaves no lock behind. */
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (!child) {
		s = mm_store_open(dir, &pin, &err);
		if (s && write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	char c;
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_null(mm_store_open(dir, &pin, &err));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	mm_store_close(kit_open(dir));
	close(ready[0]);
	close(ready[1]);
	kit_rm(dir);
}

static void unusable_directories(void **state)
{
	struct mm_err err = { 0 };
	struct mm_store_pin pin = kit_pin();
	(void)state;
	assert_null(mm_store_open("/dev/null/x", &pin, &err));
	assert_null(mm_store_open("/proc/nowhere", &pin, &err));
	const char *dir = kit_dir();
	char path[128];
	snprintf(path, sizeof path, "%s/store.mdb", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_null(mm_store_open(dir, &pin, &err));
	rmdir(path);
	kit_rm(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_back),
		cmocka_unit_test(empty_and_copied_records),
		cmocka_unit_test(ids_are_new),
		cmocka_unit_test(deleted_model),
		cmocka_unit_test(unknown_fields_are_kept),
		cmocka_unit_test(arrays_and_epochs),
		cmocka_unit_test(first_error_sticks),
		cmocka_unit_test(write_aborts_on_failure),
		cmocka_unit_test(other_terms_are_refused),
		cmocka_unit_test(schema_is_kept),
		cmocka_unit_test(one_process_only),
		cmocka_unit_test(unusable_directories),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
