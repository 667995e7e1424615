/* test_digest.c: the fingerprint of a scored checkpoint comes from the pass over its weights, not from a second read,
 * and is the same as the one that reads all bytes. */
#include "model/ckpt_priv.h"
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const char *const dirs[] = { "tests/fixtures/conformance/llama-sharded-linear-rope",
	"tests/fixtures/conformance/mixtral", "tests/fixtures/conformance/gpt2",
	"tests/fixtures/conformance/deepseek-v2-lite-bf16", "tests/fixtures/conformance/mamba2",
	"tests/fixtures/conformance/rwkv", "tests/fixtures/zoo/qwen2-a" };

/* Share of the bytes whose digests are there. */
static double kept(const struct mm_ckpt *ck)
{
	uint64_t have = 0, all = 0;
	for (size_t i = 0; i < ck->n_tensor; i++) {
		all += ck->tensor[i].n_byte;
		have += ck->digest && ck->digest[i].have ? ck->tensor[i].n_byte : 0;
	}
	return (double)have / (double)all;
}

static void check(const char *dir, uint64_t memory, bool fingerprint)
{
	struct mm_err err = { 0 };
	struct mm_model_opts o = {
		.compute = MM_COMPUTE_F32, .threads = 2, .memory = memory, .fingerprint = fingerprint
	};
	struct mm_hash want, got;
	uint32_t id[5] = { 1, 2, 3, 4, 5 };
	double out[5];
	if (mm_fingerprint_full(dir, NULL, &want, &err))
		fail_msg("%s: %s", dir, err.text);
	struct mm_model *m = mm_model_open(dir, &o, &err);
	if (!m || mm_score_ids(m, id, 5, out, &err))
		fail_msg("%s: %s", dir, err.text);
	const struct mm_ckpt *ck = mm_model_ckpt(m);
	if (fingerprint && kept(ck) < 0.9) /* biases and experts' parts of a row are the rest */
		fail_msg("%s: only %.0f %% of the weights are hashed in the pass", dir, 100 * kept(ck));
	if (!fingerprint)
		assert_null(ck->digest);
	assert_int_equal(mm_fingerprint_ckpt(ck, &got, &err), 0);
	assert_true(mm_hash_eq(want, got));
	mm_model_close(m);
}

static void test_resident(void **state)
{
	(void)state;
	for (size_t i = 0; i < MM_COUNT(dirs); i++)
		check(dirs[i], 0, true);
}

static void test_streamed(void **state)
{
	(void)state;
	for (size_t i = 0; i < MM_COUNT(dirs); i++)
		check(dirs[i], 1, true);
}

static void test_not_asked_for(void **state)
{
	(void)state;
	check(dirs[0], 0, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resident),
		cmocka_unit_test(test_streamed),
		cmocka_unit_test(test_not_asked_for),
	};
	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
