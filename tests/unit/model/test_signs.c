/* What is stored beside the log-likelihoods: signs of the tokens, and the base that a model card claims. */
#include "model/ckpt_priv.h"
#include "model/model_priv.h"
#include "model/score_priv.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

#define MODEL "tests/fixtures/zoo/neox-a"

/* log p of every token after a prefix, one sequence each. */
static void distribution(struct mm_model *m, const uint32_t *prefix, size_t n, size_t n_vocab, double *logprob)
{
	struct mm_err err;
	uint32_t *ids = calloc(n_vocab * (n + 1), sizeof(*ids));
	const uint32_t **id = calloc(n_vocab, sizeof(*id));
	size_t *len = calloc(n_vocab, sizeof(*len));
	double *all = calloc(n_vocab * n, sizeof(*all)), **out = calloc(n_vocab, sizeof(*out));
	for (size_t v = 0; v < n_vocab; v++) {
		id[v] = ids + v * (n + 1);
		memcpy(ids + v * (n + 1), prefix, n * sizeof(*ids));
		ids[v * (n + 1) + n] = (uint32_t)v;
		len[v] = n + 1;
		out[v] = all + v * n;
	}
	if (mm_score_sequences(m, n_vocab, id, len, out, NULL, &err))
		fail_msg("%s", err.text);
	for (size_t v = 0; v < n_vocab; v++)
		logprob[v] = out[v][n - 1];
	free(ids);
	free(id);
	free(len);
	free(all);
	free(out);
}

/* A text of so few tokens that one is a fifth of them: the token that is farthest below what the model expected of that
 * place, with mean and deviation of the whole distribution taken by definition. */
static void test_standard(void **state)
{
	(void)state;
	static const char text[] = "Who is there?";
	struct mm_err err;
	char path[] = "/tmp/mm-signs-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0 && dprintf(fd, "{\"text\": \"%s\"}\n", text) > 0);
	close(fd);
	struct mm_texts set = { 0 };
	struct mm_score_result r;
	struct mm_ids ids = { 0 };
	struct mm_model *m =
		mm_model_open(MODEL, &(struct mm_model_opts){ .compute = MM_COMPUTE_F32, .threads = 1 }, &err);
	struct mm_tok *tok = m ? mm_tok_of(mm_model_ckpt(m), &err) : NULL;
	if (!tok || mm_texts_load(&set, path, &err) ||
		mm_score_texts(m, tok, &set, &(struct mm_score_opts){ .bos = MM_BOS_NONE }, &r, &err) ||
		mm_tok_encode(tok, text, strlen(text), 0, &ids, &err))
		fail_msg("%s", err.text);
	assert_true(ids.n >= 3 && ids.n < 10);
	size_t n_vocab = m->hp.n_vocab;
	double *lp = calloc(n_vocab, sizeof(*lp)), least = INFINITY;
	for (size_t t = 1; t < ids.n; t++) {
		double mean = 0, var = 0;
		distribution(m, ids.id, t, n_vocab, lp);
		for (size_t v = 0; v < n_vocab; v++)
			mean += exp(lp[v]) * lp[v];
		for (size_t v = 0; v < n_vocab; v++)
			var += exp(lp[v]) * (lp[v] - mean) * (lp[v] - mean);
		least = fmin(least, (lp[ids.id[t]] - mean) / sqrt(var));
	}
	assert_true(least < 0 && fabs((double)r.mink20pp[0] - least) < 1e-3);
	free(lp);
	mm_free(ids.id);
	mm_score_result_fini(&r);
	mm_texts_free(&set);
	mm_tok_close(tok);
	mm_model_close(m);
	unlink(path);
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
		cmocka_unit_test(test_standard), cmocka_unit_test(test_claim) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
