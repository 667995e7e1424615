/* test_score_text.c: BOS policies, counting, cutting at the context, cancelling; each text against mm_score_ids on ids
 * put together by hand. */
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define MODEL	"tests/fixtures/conformance/llama-mha" /* no BOS in its template; bos_token_id 356, context 256 */
#define CONTEXT 256
#define BOS	356

static struct mm_model *model;
static struct mm_tok *tok;
static struct mm_texts texts;
static char long_text[2000];

static int setup(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_model_opts o = { .compute = MM_COMPUTE_F32, .threads = 2 };
	char path[] = "/tmp/mm-texts-XXXXXX";
	struct mm_buf b = { 0 };
	for (size_t i = 0; i + 1 < sizeof(long_text); i++)
		long_text[i] = (char)('a' + (i * 7 + i / 13) % 26);
	mm_buf_printf(&b,
		"{\"text\":\"The quick brown fox\"}\n{\"text\":\"x\"}\n{\"text\":\"%s\"}\n{\"text\":\"Second text, a "
		"bit longer.\"}\n",
		long_text);
	int fd = mkstemp(path);
	assert_true(fd >= 0 && write(fd, b.data, b.len) == (ssize_t)b.len);
	close(fd);
	assert_int_equal(mm_texts_load(&texts, path, &err), 0);
	unlink(path);
	mm_buf_fini(&b);
	model = mm_model_open(MODEL, &o, &err);
	tok = mm_tok_open(MODEL, &err);
	assert_true(model && tok);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mm_model_close(model);
	mm_tok_close(tok);
	mm_texts_free(&texts);
	return 0;
}

static void check_policy(enum mm_bos bos)
{
	struct mm_err err;
	struct mm_score_opts so = { .bos = bos };
	struct mm_score_result r = { 0 };
	if (mm_score_texts(model, tok, &texts, &so, &r, &err))
		fail_msg("%s", err.text);
	assert_int_equal(r.n, texts.n);
	uint64_t total = 0;
	size_t cut = 0;
	for (size_t i = 0; i < texts.n; i++) {
		struct mm_ids ids = { 0 };
		double lp[CONTEXT], sum = 0;
		if (bos == MM_BOS_AUTO) {
			assert_int_equal(mm_grow(&ids.id, &ids.cap, 1, sizeof(uint32_t), &err), 0);
			ids.id[ids.n++] = BOS;
		}
		assert_int_equal(mm_tok_encode(tok, texts.text[i], texts.len[i],
					 bos == MM_BOS_PAPER ? MM_TOK_SPECIAL : 0, &ids, &err),
			0);
		bool too_long = ids.n > CONTEXT;
		size_t n = too_long ? CONTEXT : ids.n;
		assert_int_equal(r.cut[i], too_long);
		assert_int_equal(r.n_token[i], n - 1);
		assert_int_equal(mm_score_ids(model, ids.id, n, lp, &err), 0);
		for (size_t t = 0; t + 1 < n; t++)
			sum += lp[t];
		assert_true(sum == r.loglik[i]); /* the same bits */
		total += n - 1;
		cut += too_long;
		mm_free(ids.id);
	}
	assert_int_equal(r.n_cut, cut);
	assert_int_equal(cut, 1);
	assert_int_equal(r.n_token_total, total);
	mm_score_result_fini(&r);
}

static void test_auto(void **state)
{
	(void)state;
	check_policy(MM_BOS_AUTO);
}

static void test_paper(void **state)
{
	(void)state;
	check_policy(MM_BOS_PAPER);
}

static void test_none(void **state)
{
	(void)state;
	check_policy(MM_BOS_NONE);
	struct mm_err err;
	struct mm_score_opts so = { .bos = MM_BOS_NONE };
	struct mm_score_result r = { 0 };
	assert_int_equal(mm_score_texts(model, tok, &texts, &so, &r, &err), 0);
	assert_int_equal(r.n_token[1], 0); /* a single token: nothing to score */
	assert_true(r.loglik[1] == 0);
	mm_score_result_fini(&r);
}

static int stop(void *ctx, const struct mm_score_progress *p)
{
	(void)p;
	return ++*(int *)ctx >= 2;
}

static void test_cancel(void **state)
{
	(void)state;
	struct mm_err err;
	int calls = 0;
	struct mm_score_opts so = { .progress = stop, .ctx = &calls };
	struct mm_score_result r = { 0 };
	assert_int_equal(mm_score_texts(model, tok, &texts, &so, &r, &err), -1);
	assert_int_equal(err.code, MM_ECANCELLED);
	assert_null(r.loglik);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_auto),
		cmocka_unit_test(test_paper),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_cancel),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
