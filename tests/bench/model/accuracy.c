/* accuracy.c (make bench-accuracy) - what bf16 arithmetic changes: nats a token on the conformance checkpoints,
 * distances between the models of the zoo.
 *
 * Distance of two models: variance over the texts of the difference of their log-likelihoods (the map's, without
 * clipping). "moved": |d_bf16 - d_f32| / d_f32 of a pair; the median over the pairs is what the target of 2 % is about.
 * Zoo: ../shared/zoo/dev (MM_SHARED) where it is there, else the fixtures. */
#include "model/model.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODELS_MAX 64
#define TEXTS_MAX  300

static struct mm_model *model_open(const char *path, enum mm_compute compute)
{
	struct mm_err err = { 0 };
	struct mm_model_opts o = { .compute = compute };
	struct mm_model *m = mm_model_open(path, &o, &err);
	if (!m)
		fprintf(stderr, "%s: %s\n", path, err.text);
	return m;
}

/* ---- conformance: the golden sequences ---- */

static size_t ids_of(const json_t *seq, uint32_t *id, size_t cap)
{
	const json_t *a = json_object_get(seq, "ids");
	size_t n = MM_MIN(json_array_size(a), cap);
	for (size_t i = 0; i < n; i++)
		id[i] = (uint32_t)json_integer_value(json_array_get(a, i));
	return n;
}

static double model_diff(const char *dir, size_t *n_token)
{
	static uint32_t id[4096];
	static double a[4096], b[4096];
	char path[1100];
	struct mm_err err;
	double sum = 0;
	snprintf(path, sizeof(path), "%s/golden.json", dir);
	json_t *golden = mm_json_load(path, 1 << 28, &err);
	struct mm_model *f = golden ? model_open(dir, MM_COMPUTE_F32) : NULL,
			*h = f ? model_open(dir, MM_COMPUTE_BF16) : NULL;
	const json_t *list = json_object_get(golden, "sequences");
	for (size_t s = 0; h && s < json_array_size(list); s++) {
		size_t n = ids_of(json_array_get(list, s), id, MM_COUNT(id));
		if (n < 2 || mm_score_ids(f, id, n, a, &err) || mm_score_ids(h, id, n, b, &err))
			continue;
		for (size_t t = 0; t + 1 < n; t++)
			sum += fabs(a[t] - b[t]);
		*n_token += n - 1;
	}
	mm_model_close(f);
	mm_model_close(h);
	json_decref(golden);
	return sum;
}

static void conformance(const char *root)
{
	struct dirent **e;
	int n = scandir(root, &e, NULL, alphasort);
	double worst = 0, total = 0;
	size_t tokens = 0;
	printf("%-36s %10s %8s\n", "conformance model", "nat/token", "tokens");
	for (int i = 0; i < n; i++) {
		char dir[1000];
		size_t k = 0;
		snprintf(dir, sizeof(dir), "%s/%s", root, e[i]->d_name);
		double sum = e[i]->d_name[0] == '.' ? 0 : model_diff(dir, &k);
		if (k) {
			printf("%-36s %10.5f %8zu\n", e[i]->d_name, sum / (double)k, k);
			worst = MM_MAX(worst, sum / (double)k);
			total += sum;
			tokens += k;
		}
		free(e[i]);
	}
	if (n >= 0)
		free(e);
	printf("%-36s %10.5f %8zu   (largest of a model %.5f, target 0.01)\n\n", "all",
		total / MM_MAX((double)tokens, 1.0), tokens, worst);
}

/* ---- zoo ---- */

struct zoo {
	size_t n;
	char *name[MODELS_MAX];
	double *loglik[MODELS_MAX][2]; /* f32, bf16 */
};

static double *vector_of(const char *path, const struct mm_texts *texts, enum mm_compute compute)
{
	struct mm_err err = { 0 };
	struct mm_score_result r = { 0 };
	struct mm_model *m = model_open(path, compute);
	struct mm_tok *tok = m ? mm_tok_of(mm_model_ckpt(m), &err) : NULL;
	double *v = NULL;
	if (tok && !mm_score_texts(m, tok, texts, NULL, &r, &err) && (v = mm_calloc(texts->n, sizeof(*v), &err)))
		memcpy(v, r.loglik, texts->n * sizeof(*v));
	mm_score_result_fini(&r);
	mm_tok_close(tok);
	mm_model_close(m);
	return v;
}

static double distance(const double *a, const double *b, size_t n)
{
	double mean = 0, var = 0;
	for (size_t i = 0; i < n; i++)
		mean += (a[i] - b[i]) / (double)n;
	for (size_t i = 0; i < n; i++)
		var += (a[i] - b[i] - mean) * (a[i] - b[i] - mean) / (double)n;
	return var;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void distances(const struct zoo *z, size_t n_text)
{
	static double moved[MODELS_MAX * MODELS_MAX / 2];
	size_t k = 0;
	for (size_t i = 0; i < z->n; i++)
		for (size_t j = 0; j < i; j++) {
			double f = distance(z->loglik[i][0], z->loglik[j][0], n_text);
			double h = distance(z->loglik[i][1], z->loglik[j][1], n_text);
			if (f > 0)
				moved[k++] = fabs(h - f) / f;
		}
	qsort(moved, k, sizeof(*moved), by_value);
	if (k)
		printf("zoo: %zu models, %zu texts, %zu pairs: distances moved by %.3f %% (median, target 2), %.3f %% "
		       "(90 %% of "
		       "pairs), %.2f %% (largest)\n",
			z->n, n_text, k, 100 * moved[k / 2], 100 * moved[k * 9 / 10], 100 * moved[k - 1]);
}

static void zoo(const char *root, const char *text_file)
{
	static struct zoo z;
	struct mm_texts texts = { 0 };
	struct mm_err err = { 0 };
	struct dirent **e;
	int n = scandir(root, &e, NULL, alphasort);
	if (n < 0 || mm_texts_load(&texts, text_file, &err)) {
		printf("zoo: %s %s: %s\n", root, text_file, n < 0 ? "cannot be read" : err.text);
		return;
	}
	texts.n = MM_MIN(texts.n, (size_t)TEXTS_MAX);
	for (int i = 0; i < n; i++) {
		char dir[1000], config[1100];
		snprintf(dir, sizeof(dir), "%s/%s", root, e[i]->d_name);
		snprintf(config, sizeof(config), "%s/config.json", dir);
		if (e[i]->d_name[0] != '.' && z.n < MODELS_MAX && !access(config, R_OK)) {
			double *f = vector_of(dir, &texts, MM_COMPUTE_F32);
			double *h = f ? vector_of(dir, &texts, MM_COMPUTE_BF16) : NULL;
			z.loglik[z.n][0] = f;
			z.loglik[z.n][1] = h;
			z.n += h != NULL;
		}
		free(e[i]);
	}
	free(e);
	distances(&z, texts.n);
	mm_texts_free(&texts);
}

int main(void)
{
	char root[600], texts[640];
	const char *shared = getenv("MM_SHARED");
	if (!mm_lin_can(MM_BF16)) {
		puts("no bf16 arithmetic on this machine");
		return 0;
	}
	conformance("tests/fixtures/conformance");
	snprintf(root, sizeof(root), "%s/zoo/dev/models", shared ? shared : "../shared");
	snprintf(texts, sizeof(texts), "%s/zoo/dev/texts.jsonl", shared ? shared : "../shared");
	bool there = !access(texts, R_OK);
	zoo(there ? root : "tests/fixtures/zoo", there ? texts : "config/texts.jsonl");
	return 0;
}
