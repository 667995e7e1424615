/* test_oom.c - every allocation of the store's paths fails once: an error that says so, no leak (the sanitizer looks),
 * nothing half stored, and the same call works afterwards. */
#include "tests/unit/store/kit.h"

static float x[500];

static int put_all(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	struct mm_model_rec *m = ctx;
	/* The first life makes new ones; later ones write over them, so that the store does not grow from life to life.
	 */
	struct mm_job_rec j = { .id = m->id, .model = 1, .reason = (char *)(uintptr_t) "because" };
	struct mm_alert_rec a = { .id = m->id, .model = 1, .kind = (char *)(uintptr_t) "failed" };
	struct mm_stored_array v = kit_array("loglik", x, MM_COUNT(x));
	return mm_model_put(t, m, err) || mm_job_put(t, &j, err) || mm_alert_put(t, &a, err) ||
			       mm_array_put(t, m->id, &v, err) || mm_epoch_put(t, 1, "{}", &v, 1, err)
		       ? -1
		       : 0;
}

static int take_model(const struct mm_model_rec *r, void *ctx, struct mm_err *err)
{
	struct mm_model_rec copy;
	if (mm_model_rec_dup(&copy, r, err))
		return -1;
	mm_model_rec_fini(&copy);
	++*(unsigned *)ctx;
	return 0;
}

static int take_job(const struct mm_job_rec *r, void *ctx, struct mm_err *err)
{
	(void)r, (void)err;
	++*(unsigned *)ctx;
	return 0;
}

/* Opens, writes, reads, closes. 0 when all of it worked. */
static int whole_life(const char *dir, struct mm_model_rec *m, struct mm_err *err)
{
	struct mm_store_pin pin = kit_pin();
	struct mm_store *s = mm_store_open(dir, &pin, err);
	int rc = -1;
	if (!s)
		return -1;
	struct mm_txn *t = NULL;
	unsigned models = 0, jobs = 0;
	char *json = NULL;
	struct mm_model_rec got = { 0 };
	struct mm_stored_array a;
	if (mm_store_write(s, put_all, m, err) || !(t = mm_txn_begin(s, false, err)))
		goto out;
	if (mm_model_each(t, take_model, NULL, &models, err) || mm_job_each(t, take_job, &jobs, err) ||
		mm_model_get(t, m->id, &got, err) || mm_array_get(t, m->id, "loglik", &a, err) ||
		mm_epoch_json(t, 1, &json, err))
		goto out;
	assert_int_equal(models, jobs);
	rc = 0;
out:
	mm_model_rec_fini(&got);
	mm_free(json);
	mm_txn_abort(t);
	mm_store_close(s);
	return rc;
}

static void each_allocation_fails(void **state)
{
	const char *dir = kit_dir();
	struct mm_model_rec m;
	(void)state;
	kit_fill(&mm_layout_model, &m, 1);
	m.id = 0;
	for (long n = 1;; n++) {
		struct mm_err err = { 0 };
		mm_mem_fail_after(n);
		int rc = whole_life(dir, &m, &err);
		long count = mm_mem_count();
		mm_mem_fail_after(0);
		if (!rc) {
			assert_true(count < n);
			assert_true(n > 50);
			print_message("%ld allocations\n", count);
			break;
		}
		if (err.code != MM_ENOMEM)
			fail_msg("allocation %ld: %s: %s", n, mm_err_name(err.code), err.text);
	}
	struct mm_err err = { 0 };
	assert_int_equal(whole_life(dir, &m, &err), 0);
	mm_model_rec_fini(&m);
	kit_rm(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_allocation_fails) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
