/* test_growth.c - the map grows while the store fills, a copy runs at the same time and opens. */
#include "tests/unit/store/kit.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#define N_FLOAT 20000 /* 80 KB an array */

static void array_of(uint64_t id, float *x)
{
	for (int i = 0; i < N_FLOAT; i++)
		x[i] = (float)(id * 1000 + (uint64_t)i % 997);
}

struct put {
	uint64_t id;
	size_t arrays; /* in this transaction */
	int runs;
	float *x;
};

static int put_some(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	struct put *p = ctx;
	struct mm_model_rec m = { .id = p->id };
	p->runs++;
	if (mm_model_put(t, &m, err))
		return -1;
	for (size_t i = 0; i < p->arrays; i++) {
		char name[32];
		snprintf(name, sizeof name, "a%zu", i);
		struct mm_stored_array a = kit_array(name, p->x, N_FLOAT);
		if (mm_array_put(t, p->id, &a, err))
			return -1;
	}
	return 0;
}

static void check_all(const char *dir, uint64_t n, float *x)
{
	struct mm_err err = { 0 };
	struct mm_store *s = kit_open(dir);
	struct mm_txn *t = mm_txn_begin(s, false, &err);
	for (uint64_t id = 1; id <= n; id++) {
		struct mm_stored_array a;
		array_of(id, x);
		assert_int_equal(mm_array_get(t, id, "a0", &a, &err), 0);
		assert_int_equal(a.n_byte, 4 * N_FLOAT);
		assert_memory_equal(a.data, x, a.n_byte);
	}
	mm_txn_abort(t);
	mm_store_close(s);
}

static struct mm_store *open_small(const char *dir, size_t map)
{
	struct mm_err err = { 0 };
	struct mm_store_pin pin = kit_pin();
	struct mm_store *s = mm_store_open_sized(dir, &pin, map, &err);
	if (!s)
		fail_msg("%s", err.text);
	return s;
}

static void grows_as_it_fills(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	float *x = mm_calloc(N_FLOAT, sizeof *x, &err);
	struct mm_store *s = open_small(dir, 64 << 10);
	(void)state;
	for (uint64_t id = 1; id <= 60; id++) {
		struct put p = { .id = id, .arrays = 1, .x = x };
		array_of(id, x);
		if (mm_store_write(s, put_some, &p, &err))
			fail_msg("%llu: %s", (unsigned long long)id, err.text);
	}
	struct mm_store_stat st;
	assert_int_equal(mm_store_stat(s, &st, &err), 0);
	assert_true(st.bytes_map >= st.bytes_used);
	assert_true(st.bytes_used > 60 * 4 * N_FLOAT);
	assert_int_equal(st.n_models, 60);
	mm_store_close(s);
	check_all(dir, 60, x);
	mm_free(x);
	kit_rm(dir);
}

/* One transaction far larger than the map: run again until it fits, and only its last run counts. */
static void one_large_transaction(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	float *x = mm_calloc(N_FLOAT, sizeof *x, &err);
	struct mm_store *s = open_small(dir, 64 << 10);
	struct put p = { .id = 1, .arrays = 50, .x = x };
	(void)state;
	array_of(1, x);
	assert_int_equal(mm_store_write(s, put_some, &p, &err), 0);
	assert_true(p.runs > 1);
	mm_store_close(s);
	check_all(dir, 1, x);
	mm_free(x);
	kit_rm(dir);
}

/* A reader of the same thread keeps the map from growing: an error that says so, nothing lost, and it works later. */
static void no_growth_under_a_reader(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	float *x = mm_calloc(N_FLOAT, sizeof *x, &err);
	struct mm_store *s = open_small(dir, 64 << 10);
	struct put p = { .id = 1, .arrays = 5, .x = x };
	(void)state;
	array_of(1, x);
	struct mm_txn *reader = mm_txn_begin(s, false, &err);
	assert_int_equal(mm_store_write(s, put_some, &p, &err), -1);
	assert_int_equal(err.code, MM_EBUSY);
	mm_txn_abort(reader);
	assert_int_equal(mm_store_write(s, put_some, &p, &err), 0);
	mm_store_close(s);
	check_all(dir, 1, x);
	mm_free(x);
	kit_rm(dir);
}

/* ---- copies ---- */

struct copier {
	struct mm_store *s;
	const char *dir;
	int rc;
	struct mm_err err;
};

static void *copy_main(void *arg)
{
	struct copier *c = arg;
	for (int i = 0; i < 20 && !c->rc; i++) {
		char path[128];
		snprintf(path, sizeof path, "%s/copy.mdb", c->dir);
		int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		c->rc = fd < 0 ? -1 : mm_store_copy(c->s, fd, &c->err);
		close(fd);
	}
	return NULL;
}

/* Copies go on while another thread fills and grows the store; the last copy opens and holds a sound prefix. */
static void copy_while_it_grows(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	char from[128], to[128], other[128];
	float *x = mm_calloc(N_FLOAT, sizeof *x, &err);
	struct mm_store *s = open_small(dir, 64 << 10);
	struct copier c = { .s = s, .dir = dir };
	pthread_t thread;
	(void)state;
	struct put p = { .id = 1, .arrays = 1, .x = x };
	array_of(1, x);
	assert_int_equal(mm_store_write(s, put_some, &p, &err), 0);
	assert_int_equal(pthread_create(&thread, NULL, copy_main, &c), 0);
	for (uint64_t id = 2; id <= 60; id++) {
		p = (struct put){ .id = id, .arrays = 1, .x = x };
		array_of(id, x);
		if (mm_store_write(s, put_some, &p, &err))
			fail_msg("%s", err.text);
	}
	pthread_join(thread, NULL);
	if (c.rc)
		fail_msg("%s", c.err.text);
	mm_store_close(s);
	snprintf(other, sizeof other, "%s-copy", dir);
	snprintf(from, sizeof from, "%s/copy.mdb", dir);
	snprintf(to, sizeof to, "%s-copy/store.mdb", dir);
	assert_int_equal(mm_mkdirs(other, 0700, &err), 0);
	assert_int_equal(rename(from, to), 0);
	s = kit_open(other);
	struct mm_store_stat st;
	assert_int_equal(mm_store_stat(s, &st, &err), 0);
	mm_store_close(s);
	assert_true(st.n_models >= 1 && st.n_models <= 60);
	check_all(other, st.n_models, x);
	/* The copy is a store like any other: it takes writes. */
	s = kit_open(other);
	p = (struct put){ .id = st.n_models + 1, .arrays = 1, .x = x };
	array_of(p.id, x);
	assert_int_equal(mm_store_write(s, put_some, &p, &err), 0);
	mm_store_close(s);
	check_all(other, st.n_models + 1, x);
	mm_free(x);
	kit_rm(other);
	kit_rm(dir);
}

static void copy_to_nowhere(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	struct mm_store *s = kit_open(dir);
	(void)state;
	int fd = open("/dev/full", O_WRONLY);
	assert_int_equal(mm_store_copy(s, fd, &err), -1);
	close(fd);
	fd = open("/dev/null", O_WRONLY);
	assert_int_equal(mm_store_copy(s, fd, &err), 0);
	close(fd);
	mm_store_close(s);
	kit_rm(dir);
}

/* The disk is full (a bound on file sizes stands for it): the transaction fails as a whole, what was there stays, and
 * when there is room again the store goes on. */
static void full_disk(void **state)
{
	struct mm_err err = { 0 };
	const char *dir = kit_dir();
	float *x = mm_calloc(N_FLOAT, sizeof *x, &err);
	struct rlimit old, low;
	(void)state;
	struct mm_store *s = kit_open(dir);
	struct put p = { .id = 1, .arrays = 1, .x = x };
	array_of(1, x);
	assert_int_equal(mm_store_write(s, put_some, &p, &err), 0);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	low = old;
	low.rlim_cur = 300 << 10;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	p = (struct put){ .id = 2, .arrays = 10, .x = x };
	int rc = mm_store_write(s, put_some, &p, &err);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(rc, -1);
	assert_int_equal(err.code, MM_EIO);
	struct mm_store_stat st;
	assert_int_equal(mm_store_stat(s, &st, &err), 0);
	assert_int_equal(st.n_models, 1);
	array_of(2, x);
	p.arrays = 1;
	assert_int_equal(mm_store_write(s, put_some, &p, &err), 0);
	mm_store_close(s);
	check_all(dir, 2, x);
	mm_free(x);
	kit_rm(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_as_it_fills),
		cmocka_unit_test(one_large_transaction),
		cmocka_unit_test(no_growth_under_a_reader),
		cmocka_unit_test(copy_while_it_grows),
		cmocka_unit_test(copy_to_nowhere),
		cmocka_unit_test(full_disk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
