/* A reader on another thread sees the store as it was when it began, while the loop writes; the map grows after it. */
#include "kit.h"

#include <pthread.h>
#include <semaphore.h>

#define N 1000

struct share {
	struct mm_store *s;
	sem_t begun, written;
	float first, last; /* what the reader saw before and after the write */
	int rc;
};

static int put(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	float *v = ctx;
	struct mm_stored_array a = {
		.name = "x", .type = TYPE_F32, .n_dim = 1, .dim = { N }, .data = v, .n_byte = N * sizeof(*v)
	};
	return mm_array_put(t, 1, &a, err);
}

static float seen(struct mm_txn *t)
{
	struct mm_stored_array a;
	struct mm_err err;
	float v = -1;
	if (mm_array_get(t, 1, "x", &a, &err) == 0)
		memcpy(&v, (const char *)a.data + (N - 1) * sizeof(v), sizeof(v));
	return v;
}

static void *reader(void *ctx)
{
	struct share *x = ctx;
	struct mm_err err;
	struct mm_txn *t = mm_reader_begin(x->s, &err);
	x->rc = t ? 0 : -1;
	x->first = t ? seen(t) : -1;
	sem_post(&x->begun);
	sem_wait(&x->written);
	x->last = t ? seen(t) : -1;
	mm_reader_end(t);
	return NULL;
}

static void test_reader(void **state)
{
	(void)state;
	char *dir = kit_dir();
	struct share x = { .s = kit_open(dir) };
	struct mm_err err;
	pthread_t thread;
	float v[N] = { 0 };
	v[N - 1] = 7;
	assert_int_equal(mm_store_write(x.s, put, v, &err), 0);
	sem_init(&x.begun, 0, 0);
	sem_init(&x.written, 0, 0);
	assert_int_equal(pthread_create(&thread, NULL, reader, &x), 0);
	sem_wait(&x.begun);
	v[N - 1] = 8;
	assert_int_equal(mm_store_write(x.s, put, v, &err), 0);
	assert_int_equal(mm_store_grow(x.s, false, &err), -1); /* not under its feet */
	assert_int_equal(err.code, MM_EBUSY);
	sem_post(&x.written);
	pthread_join(thread, NULL);
	assert_true(x.rc == 0 && x.first == 7 && x.last == 7);
	assert_int_equal(mm_store_grow(x.s, false, &err), 0);
	struct mm_txn *t = mm_reader_begin(x.s, &err);
	assert_non_null(t);
	assert_true(seen(t) == 8);
	mm_reader_end(t);
	mm_reader_end(NULL);
	mm_store_close(x.s);
	kit_rm(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_reader) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
