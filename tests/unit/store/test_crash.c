/* test_crash.c - kill -9 in the middle of writing, many times: what was committed is there, what was not is not, and
 * record, vector and job always agree. */
#include "tests/unit/store/kit.h"

#include <signal.h>
#include <sys/wait.h>

#define N_KILLS 60
#define N_FLOAT 3000

struct result {
	uint64_t id;
	float x[N_FLOAT];
};

/* What the daemon does when a scorer is done: vector, model and job in one transaction. */
static int put_result(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	struct result *r = ctx;
	struct mm_model_rec m = { .id = r->id, .has_vector = true, .state = MM_ST_PLACED, .n_tokens = 17 * r->id };
	struct mm_job_rec j = { .id = r->id, .model = r->id, .state = MM_JOB_DONE };
	struct mm_stored_array a = kit_array("loglik", r->x, N_FLOAT);
	for (int i = 0; i < N_FLOAT; i++)
		r->x[i] = (float)(r->id % 1000) + (float)i / N_FLOAT;
	return mm_array_put(t, r->id, &a, err) || mm_model_put(t, &m, err) || mm_job_put(t, &j, err) ? -1 : 0;
}

/* Writes models from `id` on until it is killed; after each commit the parent is told. */
static void write_for_ever(const char *dir, uint64_t id, int tell)
{
	struct mm_err err = { 0 };
	struct mm_store_pin pin = kit_pin();
	static struct result r;
	struct mm_store *s = mm_store_open_sized(dir, &pin, 256 << 10, &err);
	for (r.id = id; s; r.id++) {
		if (mm_store_write(s, put_result, &r, &err) || write(tell, &r.id, sizeof r.id) != sizeof r.id)
			break;
	}
	fprintf(stderr, "writer: %s\n", err.text);
	_exit(1);
}

static int count_jobs(const struct mm_job_rec *j, void *ctx, struct mm_err *err)
{
	(void)err;
	assert_int_equal(j->state, MM_JOB_DONE);
	assert_int_equal(j->model, ++*(uint64_t *)ctx); /* 1, 2, 3: none missing, none twice */
	return 0;
}

static int check_model(const struct mm_model_rec *m, void *ctx, struct mm_err *err)
{
	(void)err;
	assert_int_equal(m->id, ++*(uint64_t *)ctx);
	assert_int_equal(m->n_tokens, 17 * m->id);
	return 0;
}

static uint64_t check_store(const char *dir)
{
	struct mm_err err = { 0 };
	struct mm_store *s = kit_open(dir);
	uint64_t models = 0, jobs = 0;
	struct mm_txn *t = mm_txn_begin(s, false, &err);
	assert_int_equal(mm_model_each(t, check_model, NULL, &models, &err), 0);
	assert_int_equal(mm_job_each(t, count_jobs, &jobs, &err), 0);
	assert_int_equal(models, jobs);
	static struct result r;
	for (uint64_t id = 1; id <= models; id++) {
		struct mm_stored_array a;
		assert_int_equal(mm_array_get(t, id, "loglik", &a, &err), 0);
		for (int i = 0; i < N_FLOAT; i++)
			r.x[i] = (float)(id % 1000) + (float)i / N_FLOAT;
		assert_memory_equal(a.data, r.x, sizeof r.x);
	}
	mm_txn_abort(t);
	mm_store_close(s);
	return models;
}

static void killed_while_writing(void **state)
{
	const char *dir = kit_dir();
	struct mm_rng rng;
	uint64_t stored = 0;
	(void)state;
	mm_rng_init(&rng, 20261120);
	for (int kill_no = 0; kill_no < N_KILLS; kill_no++) {
		int tell[2];
		assert_int_equal(pipe(tell), 0);
		pid_t child = fork();
		assert_true(child >= 0);
		if (!child)
			write_for_ever(dir, stored + 1, tell[1]);
		close(tell[1]);
		/* Some commits are awaited, then the blow falls at a moment within the next one or two. */
		uint64_t told = stored, n = mm_rng_below(&rng, 4);
		for (uint64_t i = 0; i < n; i++)
			assert_int_equal(read(tell[0], &told, sizeof told), sizeof told);
		usleep((useconds_t)mm_rng_below(&rng, 4000));
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		for (uint64_t id; read(tell[0], &id, sizeof id) == sizeof id;)
			told = id;
		close(tell[0]);
		stored = check_store(dir);
		assert_true(stored >= told);	 /* a commit that was told is lasting */
		assert_true(stored <= told + 1); /* one more may have been made before it could be told */
	}
	assert_true(stored > 0);
	kit_rm(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(killed_while_writing) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
