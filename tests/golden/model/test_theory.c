/* test_theory.c: does the distance of log-likelihood vectors measure what it is said to measure? For models of one
 * tokenizer the KL divergence of their next-token distributions is known exactly, by the full softmax:
 *
 *	exact		mean over texts of the sum over tokens of KL(p_i || p_j) + KL(p_j || p_i)
 *	token level	sum over tokens of (d - mean d)^2, d = log p_i - log p_j of the token that comes: 2 KL where
 *models are near each other text level	|q_i - q_j|^2 / N, q the double-centred log-likelihoods of texts, which is what
 *the map is made of; the same within domains
 *
 * over all pairs of healthy models of the zoo that share a tokenizer. The paper (arXiv 2502.16173) finds correlations
 *of 0.893 (token level) and 0.904 (text level) with its own models. Here the text level also sees that one model likes
 *a whole domain better than another does, which no single token shows: it is larger than the exact sum, and most so
 *where fine-tunes are compared. Equal pairs (the same weights in another type) have no logarithm. */
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define MODELS	    40
#define TEXTS	    10	 /* looked at token by token, of */
#define STEP	    97	 /* every so many */
#define N	    1000 /* texts of the zoo */
#define CONTEXT	    512
#define EQUAL	    1e-4 /* nats a text: the same weights, rounded */
#define LEAST_TOKEN 0.95 /* of the correlations of logarithms; found: 0.985 to 0.995 */
#define LEAST_TEXT  0.65 /* found: 0.70 to 0.91 */

struct row {
	char name[100];
	double *loglik; /* [N] */
	float *lp, *p;	/* [tokens, n_vocab] logarithms and probabilities */
	double *token;	/* [tokens] log-probability of the token that comes */
};

static char root[3000];

static json_t *load(const char *name)
{
	struct mm_err err;
	char path[4000];
	snprintf(path, sizeof(path), "%s/%s", root, name);
	json_t *j = mm_json_load(path, 64 << 20, &err);
	if (!j)
		fail_msg("%s", err.text);
	return j;
}

/* Names of models.txt, in the order of the rows of loglik.npy. */
static size_t healthy(struct row *row)
{
	struct mm_err err;
	char path[4000];
	size_t len, n = 0;
	struct mm_npy a;
	snprintf(path, sizeof(path), "%s/models.txt", root);
	char *names = mm_file_read(path, 1 << 20, &len, &err);
	snprintf(path, sizeof(path), "%s/loglik.npy", root);
	char *npy = mm_file_read(path, 64 << 20, &len, &err);
	assert_true(names && npy);
	assert_int_equal(mm_npy_parse(&a, npy, len, &err), 0);
	assert_true(!strcmp(a.descr, "<f8") && a.ndim == 2 && a.shape[1] == N);
	for (char *save, *s = strtok_r(names, "\n", &save); s; s = strtok_r(NULL, "\n", &save), n++) {
		assert_true(n < MODELS && n < a.shape[0]);
		snprintf(row[n].name, sizeof(row[n].name), "%s", s);
		row[n].loglik = calloc(N, sizeof(double));
		memcpy(row[n].loglik, a.data + n * N * sizeof(double), N * sizeof(double));
	}
	mm_free(names);
	mm_free(npy);
	return n;
}

/* All distributions of the chosen texts, one behind the other. */
static void distributions(struct row *row, const struct mm_texts *texts, size_t *n_tok, size_t *n_vocab)
{
	const char *name = row->name;
	struct mm_err err;
	char path[4000];
	size_t cap = 0, cap_token = 0, n = 0;
	float *lp = NULL;
	struct mm_model_info info;
	snprintf(path, sizeof(path), "%s/models/%s", root, name);
	struct mm_model *m =
		mm_model_open(path, &(struct mm_model_opts){ .compute = MM_COMPUTE_F32, .threads = 2 }, &err);
	struct mm_tok *tok = m ? mm_tok_of(mm_model_ckpt(m), &err) : NULL;
	if (!tok)
		fail_msg("%s", err.text);
	mm_model_info(m, &info);
	const uint32_t *front, *back;
	size_t n_front, n_back;
	mm_tok_template(tok, &front, &n_front, &back, &n_back);
	uint32_t one = n_front ? front[0] : (uint32_t)(info.bos >= 0 ? info.bos : mm_tok_eos(tok));
	for (size_t k = 0; k < TEXTS; k++) {
		size_t i = k * STEP;
		struct mm_ids ids = { 0 };
		assert_int_equal(mm_grow(&ids.id, &ids.cap, 1, sizeof(*ids.id), &err), 0);
		ids.id[ids.n++] = one;
		assert_int_equal(mm_tok_encode(tok, texts->text[i], texts->len[i], 0, &ids, &err), 0);
		size_t rows = ids.n - 1;
		assert_true(rows < CONTEXT);
		assert_int_equal(mm_grow(&lp, &cap, (n + rows) * info.n_vocab, sizeof(float), &err), 0);
		if (mm_score_full(m, ids.id, rows, lp + n * info.n_vocab, &err))
			fail_msg("%s: %s", name, err.text);
		assert_int_equal(mm_grow(&row->token, &cap_token, n + rows, sizeof(double), &err), 0);
		for (size_t t = 0; t < rows; t++)
			row->token[n + t] = (double)lp[(n + t) * info.n_vocab + ids.id[t + 1]];
		n += rows;
		mm_free(ids.id);
	}
	mm_tok_close(tok);
	mm_model_close(m);
	*n_tok = n;
	*n_vocab = info.n_vocab;
	row->lp = lp;
	row->p = mm_calloc(n * info.n_vocab, sizeof(float), &err);
	assert_non_null(row->p);
	for (size_t i = 0; i < n * info.n_vocab; i++)
		row->p[i] = expf(lp[i]);
}

/* KL both ways, nats a text. */
static double exact(const struct row *a, const struct row *b, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += ((double)a->p[i] - (double)b->p[i]) * ((double)a->lp[i] - (double)b->lp[i]);
	return sum / TEXTS;
}

/* The same from the tokens that came alone: the variance of what the models differ by. */
static double token_level(const struct row *a, const struct row *b, size_t n)
{
	double mean = 0, var = 0;
	for (size_t t = 0; t < n; t++)
		mean += (a->token[t] - b->token[t]) / (double)n;
	for (size_t t = 0; t < n; t++)
		var += pow(a->token[t] - b->token[t] - mean, 2);
	return var / TEXTS;
}

/* texts: within each domain (NULL: over all) */
static double text_level(const double *a, const double *b, const struct mm_texts *texts)
{
	double mean[64] = { 0 }, n[64] = { 0 }, var = 0;
	for (size_t s = 0; s < N; s++) {
		uint32_t d = texts ? texts->domain[s] : 0;
		assert_true(d < 64);
		mean[d] += a[s] - b[s];
		n[d]++;
	}
	for (size_t s = 0; s < N; s++) {
		uint32_t d = texts ? texts->domain[s] : 0;
		var += pow(a[s] - b[s] - mean[d] / n[d], 2) / N;
	}
	return var;
}

static double correlation(const double *x, const double *y, size_t n)
{
	double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
	for (size_t i = 0; i < n; i++) {
		mx += x[i] / (double)n;
		my += y[i] / (double)n;
	}
	for (size_t i = 0; i < n; i++) {
		xx += (x[i] - mx) * (x[i] - mx);
		yy += (y[i] - my) * (y[i] - my);
		xy += (x[i] - mx) * (y[i] - my);
	}
	return xy / sqrt(xx * yy);
}

enum { EXACT, TOKEN, TEXT, DOMAIN, KINDS };

/* Pairs of all models of a tokenizer; returns how many, v[kind][pair] logarithms. */
static size_t pairs(
	struct row **m, size_t k, const struct mm_texts *texts, double v[KINDS][MODELS * MODELS], size_t *equal)
{
	size_t n = 0, n_tok = 0, n_vocab = 0, t, w;
	for (size_t i = 0; i < k; i++) {
		distributions(m[i], texts, &t, &w);
		assert_true(!i || (t == n_tok && w == n_vocab));
		n_tok = t;
		n_vocab = w;
	}
	*equal = 0;
	for (size_t i = 0; i < k; i++)
		for (size_t j = 0; j < i; j++) {
			v[EXACT][n] = exact(m[i], m[j], n_tok * n_vocab);
			v[TOKEN][n] = token_level(m[i], m[j], n_tok);
			v[TEXT][n] = text_level(m[i]->loglik, m[j]->loglik, NULL);
			v[DOMAIN][n] = text_level(m[i]->loglik, m[j]->loglik, texts);
			if (v[EXACT][n] < EQUAL) {
				assert_true(v[TEXT][n] < 0.1 && v[TOKEN][n] < 0.1); /* all say so */
				++*equal;
				continue;
			}
			n++;
		}
	for (size_t i = 0; i < k; i++) {
		mm_free(m[i]->lp);
		mm_free(m[i]->p);
		mm_free(m[i]->token);
	}
	return n;
}

/* Of what x and y are logarithms of. */
static double correlation_exp(const double *x, const double *y, size_t n)
{
	static double u[MODELS * MODELS], w[MODELS * MODELS];
	for (size_t i = 0; i < n; i++) {
		u[i] = exp(x[i]);
		w[i] = exp(y[i]);
	}
	return correlation(u, w, n);
}

static void one_tokenizer(const char *id, struct row **m, size_t k, const struct mm_texts *texts)
{
	static double v[KINDS][MODELS * MODELS];
	static const char *const names[KINDS] = {
		[TOKEN] = "token level", [TEXT] = "text level", [DOMAIN] = "text level within domains"
	};
	static const double least[KINDS] = { [TOKEN] = LEAST_TOKEN, [TEXT] = LEAST_TEXT, [DOMAIN] = LEAST_TEXT };
	size_t equal, n = pairs(m, k, texts, v, &equal);
	printf("tokenizer %s: %zu models, %zu pairs (%zu more are equal)\n", id, k, n, equal);
	for (int q = TOKEN; q < KINDS; q++) {
		double ratio = 0;
		for (size_t i = 0; i < n; i++) {
			v[q][i] = log(v[q][i]);
			if (q == TOKEN)
				v[EXACT][i] = log(v[EXACT][i]);
			ratio += (v[q][i] - v[EXACT][i]) / (double)n;
		}
		double r = correlation(v[EXACT], v[q], n);
		printf("  %-26s correlation with exact KL %.3f (of logarithms %.3f), estimate over exact %.2f\n",
			names[q], correlation_exp(v[EXACT], v[q], n), r, exp(ratio));
		assert_true(r > least[q]);
	}
}

static void test_zoo(void **state)
{
	(void)state;
	const char *shared = getenv("MM_SHARED"), *id;
	struct row row[MODELS] = { 0 };
	struct mm_texts texts;
	struct mm_err err;
	json_t *of;
	char path[4000];
	snprintf(root, sizeof(root), "%s/zoo/dev", shared ? shared : "../shared");
	snprintf(path, sizeof(path), "%s/texts.jsonl", root);
	if (access(path, R_OK)) {
		printf("skip: ../shared/zoo/dev not here\n");
		skip();
	}
	size_t n = healthy(row);
	assert_int_equal(mm_texts_load(&texts, path, &err), 0);
	json_t *tokens = load("tokens.json");
	json_object_foreach (tokens, id, of) {
		struct row *m[MODELS];
		size_t k = 0, i;
		json_t *name;
		json_array_foreach (json_object_get(of, "models"), i, name)
			for (size_t j = 0; j < n; j++)
				if (!strcmp(row[j].name, json_string_value(name)))
					m[k++] = &row[j];
		one_tokenizer(id, m, k, &texts);
	}
	for (size_t i = 0; i < n; i++)
		free(row[i].loglik);
	json_decref(tokens);
	mm_texts_free(&texts);
}

/* Whole distributions are those of the log-probabilities of given ids. */
static void test_full(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_model_info info;
	struct mm_model *m = mm_model_open(
		"tests/fixtures/conformance/gpt2", &(struct mm_model_opts){ .compute = MM_COMPUTE_F32 }, &err);
	assert_non_null(m);
	mm_model_info(m, &info);
	uint32_t id[6] = { 3, 1, 4, 1, 5, 9 };
	double lp[5];
	float *full = calloc(6 * info.n_vocab, sizeof(float));
	assert_int_equal(mm_score_ids(m, id, 6, lp, &err), 0);
	assert_int_equal(mm_score_full(m, id, 6, full, &err), 0);
	for (size_t t = 0; t < 5; t++)
		assert_true(fabs(lp[t] - (double)full[t * info.n_vocab + id[t + 1]]) < 1e-5);
	for (size_t t = 0; t < 6; t++) {
		double sum = 0;
		for (size_t v = 0; v < info.n_vocab; v++)
			sum += exp((double)full[t * info.n_vocab + v]);
		assert_true(fabs(sum - 1) < 1e-6);
	}
	id[2] = (uint32_t)info.n_vocab;
	assert_int_equal(mm_score_full(m, id, 6, full, &err), -1);
	free(full);
	mm_model_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_full), cmocka_unit_test(test_zoo) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
