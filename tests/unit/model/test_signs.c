/* What is stored beside the log-likelihoods: signs of the tokens, and the base that a model card claims. */
#include "model/ckpt_priv.h"
#include "model/model_priv.h"
#include "model/score_priv.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int cmp(const void *p, const void *q)
{
	double a = *(const double *)p, b = *(const double *)q;
	return a < b ? -1 : a > b;
}

/* Against sorting, with many ties and all small sizes. */
static void test_mink(void **state)
{
	(void)state;
	struct mm_rng rng;
	mm_rng_init(&rng, 1);
	assert_true(mm_sign_mink(NULL, 0) == 0);
	for (size_t round = 0; round < 20000; round++) {
		double v[64], w[64], want = 0;
		size_t n = 1 + mm_rng_below(&rng, 64), kinds = 1 + mm_rng_below(&rng, 30), k = n / 5 ? n / 5 : 1;
		for (size_t i = 0; i < n; i++)
			v[i] = w[i] = -(double)mm_rng_below(&rng, kinds);
		qsort(w, n, sizeof(*w), cmp);
		for (size_t i = 0; i < k; i++)
			want += w[i] / (double)k;
		assert_true(fabs(mm_sign_mink(v, n) - want) < 1e-12);
	}
}

static void test_unigram(void **state)
{
	(void)state;
	struct mm_err err;
	static const uint32_t a[] = { 9, 1, 1, 1, 1, 1, 1, 2 }, b[] = { 9, 1, 2, 1 };
	struct mm_score_seq s[] = { { a, 8, 1, 2 }, { b, 4, 1, 0 } }; /* the first token is not scored */
	float out[3] = { 0, 0, 0 };
	assert_int_equal(mm_sign_unigram(s, 2, 10, out, &err), 0);
	assert_true(fabs((double)out[2] - (6 * log(0.8) + log(0.2))) < 1e-6);
	assert_true(fabs((double)out[0] - (2 * log(0.8) + log(0.2))) < 1e-6);
	assert_true(out[1] == 0);
	memset(out, 0, sizeof(out)); /* four tokens of two kinds: no model of anything */
	assert_int_equal(mm_sign_unigram(s + 1, 1, 10, out, &err), 0);
	assert_true(out[0] == 0);
}

static void claim(const char *readme, const char *want)
{
	struct mm_err err;
	char *got = mm_claim_parse(readme, strlen(readme), &err);
	if (want ? !got || strcmp(got, want) != 0 : got != NULL)
		fail_msg("%s: \"%s\", expected \"%s\"", readme, got ? got : "none", want ? want : "none");
	mm_free(got);
}

static void test_claim(void **state)
{
	(void)state;
	claim("---\nlicense: mit\nbase_model: org/name-7B\n---\n# Card\n", "org/name-7B");
	claim("---\r\nbase_model: \"org/name\"\r\n---\r\n", "org/name");
	claim("---\nbase_model:\n- first/one\n- second/one\n---\n", "first/one");
	claim("---\nbase_model:\n  - 'first/one'\n---\n", "first/one");
	claim("---\nbase_model:\nother: - x\n---\n", NULL);
	claim("---\nlicense: mit\n---\nbase_model: not/front-matter\n", NULL);
	claim("# Card\nbase_model: a/b\n", NULL);
	claim("---\nbase_model: [a, b]\n---\n", NULL);
	claim("---\nbase_model: a b\n---\n", NULL);
	claim("---\nbase_model: a\x1b[0m\n---\n", NULL);
	claim("---\nbase_model:", NULL);
	claim("---\nbase_model: end", "end");
	claim("---\n", NULL);
	claim("", NULL);
	char *big = calloc(1, 70000);
	memset(big, 'x', 69999);
	memcpy(big, "---\nbase_model: ", 16);
	claim(big, NULL); /* one endless line */
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_mink), cmocka_unit_test(test_unigram),
		cmocka_unit_test(test_claim) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
