/* test_scores.c - benchmark results come back, go with their model, and damage is told. */
#include "tests/unit/store/kit.h"

#include <math.h>

struct got {
	char text[512];
	unsigned n_bad;
};

static int see(uint64_t model, const char *bench, double value, void *ctx, struct mm_err *err)
{
	struct got *g = ctx;
	size_t at = strlen(g->text);
	(void)err;
	snprintf(g->text + at, sizeof g->text - at, "%llu:%s=%g ", (unsigned long long)model, bench, value);
	return 0;
}

static void see_bad(const char *what, uint64_t id, const char *why, void *ctx)
{
	struct got *g = ctx;
	(void)why;
	assert_string_equal(what, "scores of model");
	assert_int_equal(id, 7);
	g->n_bad++;
}

static void expect(struct mm_store *s, const char *want)
{
	struct mm_err err = { 0 };
	struct got g = { 0 };
	struct mm_txn *t = mm_txn_begin(s, false, &err);
	assert_int_equal(mm_bench_each(t, see, &g, &err), 0);
	mm_txn_abort(t);
	assert_string_equal(g.text, want);
}

static void scores_come_back(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	struct mm_model_rec m = { 0 };
	(void)state;
	kit_fill(&mm_layout_model, &m, 1);
	m.id = 0;
	struct mm_txn *t = mm_txn_begin(s, true, &err);
	assert_int_equal(mm_model_put(t, &m, &err), 0);
	assert_int_equal(
		mm_bench_put(t, m.id, (struct mm_bench_score[]){ { "arc", 41.5 }, { "a,b \xC3\xA4", -1e-3 } }, 2, &err),
		0);
	assert_int_equal(mm_bench_put(t, 9, (struct mm_bench_score[]){ { "arc", 0 } }, 1, &err), 0);
	assert_int_equal(mm_txn_commit(t, &err), 0);
	mm_store_close(s);

	s = kit_open(dir);
	expect(s, "1:arc=41.5 1:a,b \xC3\xA4=-0.001 9:arc=0 ");
	t = mm_txn_begin(s, true, &err);
	assert_int_equal(mm_bench_put(t, 9, NULL, 0, &err), 0);
	assert_int_equal(mm_bench_put(t, 1, (struct mm_bench_score[]){ { "arc", 2 } }, 1, &err), 0);
	assert_int_equal(mm_txn_commit(t, &err), 0);
	expect(s, "1:arc=2 ");
	t = mm_txn_begin(s, true, &err);
	assert_int_equal(mm_model_del(t, 1, &err), 0);
	assert_int_equal(mm_txn_commit(t, &err), 0);
	expect(s, "");
	mm_model_rec_fini(&m);
	mm_store_close(s);
	kit_rm(dir);
}

/* A bad one fails the transaction with the good ones before it. */
static void all_or_nothing(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	char long_name[80];
	(void)state;
	memset(long_name, 'x', sizeof long_name);
	long_name[MM_BENCH_NAME_MAX + 1] = 0;
	const struct mm_bench_score bad[] = { { "", 1 }, { long_name, 1 }, { "a", NAN }, { "a", INFINITY } };
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		struct mm_txn *t = mm_txn_begin(s, true, &err);
		assert_int_equal(mm_bench_put(t, 1, (struct mm_bench_score[]){ { "good", 1 } }, 1, &err), 0);
		assert_int_equal(mm_bench_put(t, 2, &bad[i], 1, &err), -1);
		assert_int_equal(err.code, MM_EINVAL);
		assert_int_equal(mm_txn_commit(t, &err), -1);
		expect(s, "");
	}
	mm_store_close(s);
	kit_rm(dir);
}

static void damage_is_told(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	struct got g = { 0 };
	(void)state;
	mm_store_on_bad(s, see_bad, &g);
	struct mm_key key = mm_key_of(7, NULL);
	uint8_t good[64];
	struct mm_txn *t = mm_txn_begin(s, true, &err);
	assert_int_equal(mm_bench_put(t, 7, (struct mm_bench_score[]){ { "arc", 1 } }, 1, &err), 0);
	assert_int_equal(mm_bench_put(t, 8, (struct mm_bench_score[]){ { "arc", 1 } }, 1, &err), 0);
	MDB_val val;
	assert_int_equal(mm_txn_get(t, MM_D_SCORES, mm_key_val(&key), &val, &err), 0);
	size_t len = val.mv_size;
	memcpy(good, val.mv_data, len);
	assert_int_equal(mm_txn_commit(t, &err), 0);
	for (size_t i = 0; i < len; i++) { /* every byte, and every shorter value */
		uint8_t byte[64];
		memcpy(byte, good, len);
		byte[i] ^= 0x10;
		for (int cut = 0; cut < 2; cut++) {
			g = (struct got){ 0 };
			t = mm_txn_begin(s, true, &err);
			val = (MDB_val){ cut ? i : len, byte };
			assert_int_equal(mm_txn_put(t, MM_D_SCORES, mm_key_val(&key), &val, &err), 0);
			assert_int_equal(mm_txn_commit(t, &err), 0);
			t = mm_txn_begin(s, false, &err);
			assert_int_equal(mm_bench_each(t, see, &g, &err), 0);
			mm_txn_abort(t);
			assert_int_equal(g.n_bad, 1);
			assert_string_equal(g.text, "8:arc=1 ");
		}
	}
	mm_store_close(s);
	kit_rm(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(scores_come_back), cmocka_unit_test(all_or_nothing),
		cmocka_unit_test(damage_is_told) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
