/* test_score.c: a sequence's log-probs are the same bits alone, in any batch and order, with any number of threads, and
 * when layers are streamed; wrong ids and lengths are refused. */
#include "model/model.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ROOT	"tests/fixtures/conformance"
#define N_SEQ	11
#define LEN_MAX 250

struct set {
	uint32_t *id[N_SEQ];
	size_t len[N_SEQ];
	double *out[N_SEQ];
};

static void set_make(struct set *s, uint32_t n_vocab)
{
	struct mm_err err;
	struct mm_rng rng;
	mm_rng_init(&rng, 7);
	for (size_t i = 0; i < N_SEQ; i++) {
		s->len[i] = i == 0 ? 1 : 2 + mm_rng_below(&rng, LEN_MAX - 2);
		s->id[i] = mm_calloc(LEN_MAX, sizeof(uint32_t), &err);
		s->out[i] = mm_calloc(LEN_MAX, sizeof(double), &err);
		assert_true(s->id[i] && s->out[i]);
		for (size_t t = 0; t < s->len[i]; t++)
			s->id[i][t] = (uint32_t)mm_rng_below(&rng, n_vocab);
	}
}

static void set_free(struct set *s)
{
	for (size_t i = 0; i < N_SEQ; i++) {
		mm_free(s->id[i]);
		mm_free(s->out[i]);
	}
}

static enum mm_compute compute = MM_COMPUTE_F32;

static struct mm_model *open_model(const char *dir, unsigned threads, uint64_t memory)
{
	struct mm_err err;
	struct mm_model_opts o = { .compute = compute, .threads = threads, .memory = memory };
	struct mm_model *m = mm_model_open(dir, &o, &err);
	if (!m)
		fail_msg("%s: %s", dir, err.text);
	return m;
}

/* Scores the sequences in the order perm[0..n) and compares with `want`. */
static void compare(struct mm_model *m, const struct set *want, const size_t *perm, size_t n, const char *what)
{
	struct mm_err err;
	const uint32_t *id[N_SEQ];
	size_t len[N_SEQ];
	double buf[N_SEQ][LEN_MAX], *out[N_SEQ];
	for (size_t i = 0; i < n; i++) {
		id[i] = want->id[perm[i]];
		len[i] = want->len[perm[i]];
		out[i] = buf[i];
	}
	if (mm_score_sequences(m, n, id, len, out, NULL, &err))
		fail_msg("%s: %s", what, err.text);
	for (size_t i = 0; i < n; i++)
		if (memcmp(out[i], want->out[perm[i]], (len[i] - 1) * sizeof(double)))
			fail_msg("%s: sequence %zu (length %zu) has other bits", what, perm[i], len[i]);
}

static void check_shuffled(void **state)
{
	struct mm_err err;
	struct mm_model_info info;
	struct set s;
	size_t perm[N_SEQ];
	struct mm_rng rng;
	struct mm_model *m = open_model(*state, 1, 0);
	mm_model_info(m, &info);
	assert_int_equal(info.n_memory_min, 0);
	set_make(&s, (uint32_t)info.n_vocab);
	if (mm_score_sequences(m, N_SEQ, (const uint32_t *const *)s.id, s.len, s.out, NULL, &err))
		fail_msg("%s", err.text);
	mm_rng_init(&rng, 1);
	for (size_t i = 0; i < N_SEQ; i++)
		perm[i] = i;
	for (size_t i = N_SEQ - 1; i > 0; i--) {
		size_t j = mm_rng_below(&rng, i + 1), t = perm[i];
		perm[i] = perm[j];
		perm[j] = t;
	}
	compare(m, &s, perm, N_SEQ, "shuffled");
	compare(m, &s, perm, N_SEQ / 3, "fewer");
	for (size_t i = 0; i < 3; i++)
		compare(m, &s, perm + i * 4, 1, "alone");
	mm_model_close(m);
	m = open_model(*state, 3, 0);
	compare(m, &s, perm, N_SEQ, "3 threads");
	mm_model_close(m);
	m = open_model(*state, 2, 1);
	mm_model_info(m, &info);
	assert_in_range(info.n_memory_min, 1 << 20, 1 << 30); /* a byte cannot be kept: it says what it takes */
	compare(m, &s, perm, N_SEQ, "streamed");
	mm_model_close(m);
	set_free(&s);
}

static void check_dir(void **state)
{
	compute = MM_COMPUTE_F32;
	check_shuffled(state);
	if (!mm_lin_can(MM_BF16))
		return;
	compute = MM_COMPUTE_BF16;
	check_shuffled(state);
	compute = MM_COMPUTE_F32;
}

static void test_refusals(void **state)
{
	(void)state;
	struct mm_err err;
	double out[4];
	uint32_t bad[3] = { 1, 100000, 2 };
	struct mm_model *m = open_model(ROOT "/gpt2", 1, 0);
	assert_int_equal(mm_score_ids(m, bad, 3, out, &err), -1);
	assert_int_equal(err.code, MM_EINVAL);
	assert_non_null(strstr(err.text, "100000"));
	uint32_t *many = mm_calloc(300, sizeof(*many), &err);
	double *lp = mm_calloc(300, sizeof(*lp), &err);
	assert_true(many && lp);
	assert_int_equal(mm_score_ids(m, many, 256, lp, &err), 0); /* 256 learned positions */
	assert_int_equal(mm_score_ids(m, many, 257, lp, &err), -1);
	assert_int_equal(mm_score_ids(m, many, 1, lp, &err), 0);
	assert_int_equal(mm_score_ids(m, many, 0, lp, &err), 0);
	mm_free(many);
	mm_free(lp);
	mm_model_close(m);
}

int main(void)
{
	static struct CMUnitTest tests[128];
	struct dirent **list;
	size_t n = 0;
	int k = scandir(ROOT, &list, NULL, alphasort);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_refusals);
	for (int i = 0; i < k; i++) {
		char path[512];
		snprintf(path, sizeof(path), ROOT "/%s", list[i]->d_name);
		if (list[i]->d_name[0] != '.' && n < MM_COUNT(tests))
			tests[n++] =
				(struct CMUnitTest){ strdup(list[i]->d_name), check_dir, NULL, NULL, strdup(path) };
		free(list[i]);
	}
	free(list);
	return _cmocka_run_group_tests("score", tests, n, NULL, NULL);
}
