/* test_feat_resume.c: features of a job that was killed and goes on have the bits of one that never stopped, in the
 * one-step and the exact form; other probes begin again; and the number of threads does not matter. */
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define MODEL	"tests/fixtures/zoo/qwen2-a"
#define N_TEXT	60
#define BYTES	250 /* more than one batch */
#define N_PROBE 24

static struct mm_texts texts;
static char resume[64];

static int setup(void **state)
{
	(void)state;
	struct mm_rng rng;
	struct mm_err err;
	char path[] = "/tmp/mm-feat-XXXXXX";
	int fd = mkstemp(path);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
	assert_non_null(f);
	mm_rng_init(&rng, 5);
	for (size_t i = 0; i < N_TEXT; i++) {
		fputs("{\"text\": \"", f);
		for (size_t j = 0; j < BYTES; j++)
			fputc(j % 6 == 5 ? ' ' : (int)('a' + mm_rng_below(&rng, 26)), f);
		fputs("\"}\n", f);
	}
	assert_int_equal(fclose(f), 0);
	assert_int_equal(mm_texts_load(&texts, path, &err), 0);
	unlink(path);
	snprintf(resume, sizeof(resume), "%s.resume", path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(resume);
	mm_texts_free(&texts);
	return 0;
}

/* Stops when the first batch is done. */
static int stopper(void *ctx, const struct mm_score_progress *p)
{
	(void)ctx;
	return !strcmp(p->stage, "score") && p->done >= 1 && p->done < p->total;
}

static int run(unsigned threads, struct mm_score_opts o, struct mm_score_result *r)
{
	struct mm_err err;
	struct mm_model *m =
		mm_model_open(MODEL, &(struct mm_model_opts){ .compute = MM_COMPUTE_F32, .threads = threads }, &err);
	struct mm_tok *tok = m ? mm_tok_of(mm_model_ckpt(m), &err) : NULL;
	if (!tok)
		fail_msg("%s", err.text);
	int rc = mm_score_texts(m, tok, &texts, &o, r, &err);
	if (rc && err.code != MM_ECANCELLED)
		fail_msg("%s", err.text);
	mm_tok_close(tok);
	mm_model_close(m);
	return rc;
}

static void same(const struct mm_score_result *a, const struct mm_score_result *b)
{
	assert_memory_equal(a->loglik, b->loglik, a->n * sizeof(*a->loglik));
	assert_int_equal(a->features.n, b->features.n);
	assert_memory_equal(a->features.id, b->features.id, MM_PROBES_ID);
	assert_memory_equal(a->features.row, b->features.row, a->features.n * sizeof(*a->features.row));
}

static void goes_on(bool exact)
{
	struct mm_score_result want = { 0 }, r = { 0 }, plain = { 0 };
	struct mm_score_opts o = { .probes = N_PROBE, .exact = exact }, part;
	assert_int_equal(run(1, o, &want), 0);
	assert_int_equal(want.features.n, N_PROBE);
	assert_int_equal(run(1, (struct mm_score_opts){ .bos = MM_BOS_AUTO }, &plain), 0);
	assert_memory_equal(plain.loglik, want.loglik, plain.n * sizeof(*plain.loglik)); /* features change nothing */
	assert_int_equal(plain.features.n, 0);
	assert_int_equal(run(2, o, &r), 0);
	same(&want, &r);
	mm_score_result_fini(&r);
	o.resume = resume;
	part = o;
	part.progress = stopper;
	assert_int_equal(run(1, part, &r), -1);
	assert_int_equal(access(resume, R_OK), 0);
	assert_int_equal(run(1, o, &r), 0);
	assert_true(r.n_token_resumed > 0 && r.n_token_resumed < r.n_token_total);
	same(&want, &r);
	mm_score_result_fini(&r);
	o.probes = N_PROBE - 1; /* another file: begun again */
	assert_int_equal(run(1, o, &r), 0);
	assert_int_equal(r.n_token_resumed, 0);
	assert_int_equal(r.features.n, N_PROBE - 1);
	mm_score_result_fini(&r);
	mm_score_result_fini(&want);
	mm_score_result_fini(&plain);
	unlink(resume);
}

static void test_one_step(void **state)
{
	(void)state;
	goes_on(false);
}

static void test_exact(void **state)
{
	(void)state;
	goes_on(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_one_step), cmocka_unit_test(test_exact) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
