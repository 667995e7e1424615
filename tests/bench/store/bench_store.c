/* bench_store.c - what the store costs: a commit as after each scored model, reading all vectors as at the daemon's
 * start, opening with the check of the structure, a backup. MODELS=n and TEXTS=n choose the size. */
#include "store/store.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct put {
	float *x;
	size_t n;
};

static int put_one(struct mm_txn *t, void *ctx, struct mm_err *err)
{
	const struct put *p = ctx;
	struct mm_model_rec m = { .name = (char *)(uintptr_t) "run/checkpoint-100",
		.path = (char *)(uintptr_t) "/srv/models/run/checkpoint-100",
		.family = (char *)(uintptr_t) "llama",
		.has_vector = true,
		.state = MM_ST_PLACED };
	struct mm_stored_array a = {
		.name = "loglik", .type = 1, .n_dim = 1, .dim = { p->n }, .data = p->x, .n_byte = 4 * p->n
	};
	struct mm_job_rec j = { .state = MM_JOB_DONE };
	if (mm_model_put(t, &m, err) || mm_array_put(t, m.id, &a, err))
		return -1;
	strcpy(a.name, "n_tokens");
	a.type = 3;
	j.model = m.id;
	return mm_array_put(t, m.id, &a, err) || mm_job_put(t, &j, err) ? -1 : 0;
}

static int count(const struct mm_model_rec *r, void *ctx, struct mm_err *err)
{
	(void)r, (void)err;
	++*(size_t *)ctx;
	return 0;
}

static void die(const struct mm_err *err)
{
	fprintf(stderr, "%s\n", err->text);
	exit(1);
}

static double read_all(struct mm_store *s, size_t *n)
{
	struct mm_err err = { 0 };
	double t0 = mm_monotonic();
	struct mm_txn *t = mm_txn_begin(s, false, &err);
	if (!t || mm_model_each(t, count, NULL, n, &err))
		die(&err);
	for (uint64_t id = 1; id <= *n; id++) {
		struct mm_stored_array a;
		if (mm_array_get(t, id, "loglik", &a, &err))
			die(&err);
	}
	mm_txn_abort(t);
	return mm_monotonic() - t0;
}

static size_t number(const char *name, size_t def)
{
	const char *s = getenv(name);
	return s ? strtoull(s, NULL, 10) : def;
}

int main(void)
{
	struct mm_err err = { 0 };
	char dir[] = "/tmp/mm-bench-XXXXXX", path[64];
	size_t models = number("MODELS", 1000), texts = number("TEXTS", 10000), n = 0;
	struct mm_store_pin pin = {
		.texts = { 1, 2 }, .n_texts = texts, .bos = "auto", .compute = "f32", .scorer = "1"
	};
	struct put p = { mm_calloc(texts, sizeof(float), &err), texts };
	if (!p.x || !mkdtemp(dir))
		return 1;
	struct mm_store *s = mm_store_open(dir, &pin, &err);
	if (!s)
		die(&err);
	double t0 = mm_monotonic();
	for (size_t i = 0; i < models; i++)
		if (mm_store_write(s, put_one, &p, &err))
			die(&err);
	double wrote = mm_monotonic() - t0;
	mm_store_close(s);
	t0 = mm_monotonic();
	if (!(s = mm_store_open(dir, &pin, &err)))
		die(&err);
	double opened = mm_monotonic() - t0, got = read_all(s, &n);
	struct mm_store_stat st;
	if (mm_store_stat(s, &st, &err))
		die(&err);
	int fd = open("/dev/null", O_WRONLY);
	t0 = mm_monotonic();
	if (mm_store_copy(s, fd, &err))
		die(&err);
	double copied = mm_monotonic() - t0;
	close(fd);
	mm_store_close(s);
	printf("%zu models, %zu texts, %.1f MB\n", n, texts, (double)st.bytes_used / 1e6);
	printf("  commit of one model   %8.3f ms (durable)\n", 1e3 * wrote / (double)models);
	printf("  open with check       %8.3f ms\n", 1e3 * opened);
	printf("  read all vectors      %8.3f ms\n", 1e3 * got);
	printf("  copy                  %8.3f ms\n", 1e3 * copied);
	static const char *const files[] = { "store.mdb", "store.mdb-lock", "lock" };
	for (size_t i = 0; i < MM_COUNT(files); i++) {
		snprintf(path, sizeof path, "%s/%s", dir, files[i]);
		unlink(path);
	}
	rmdir(dir);
	mm_free(p.x);
	return 0;
}
