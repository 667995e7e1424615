/* bench_feat.c - what next-byte features cost beside the log-likelihoods: 1,000 texts of the zoo (or the shipped ones,
 * when it is not there), 256 probes, one-step and exact, a transformer, with and without in turn.
 *
 * Processor time of the scoring, planning of the probes included; the least of several runs. Exactness is not looked at
 * here: tests/golden/model/test_features.c. */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUNDS 3

static const char *const models[] = { "tests/fixtures/zoo/qwen2-a", "tests/fixtures/zoo/neox-a" };

enum { NONE, STEP, EXACT, FORMS };

struct cost {
	double cpu[FORMS];
	size_t own[FORMS], n;
	uint64_t token[FORMS], all;
};

static int measure(const char *path, const struct mm_texts *texts, struct cost *c, struct mm_err *err)
{
	struct mm_model *m = mm_model_open(path, &(struct mm_model_opts){ .compute = MM_COMPUTE_F32 }, err);
	struct mm_tok *tok = m ? mm_tok_of(mm_model_ckpt(m), err) : NULL;
	int rc = tok ? 0 : -1;
	for (int f = 0; f < FORMS; f++)
		c->cpu[f] = INFINITY;
	for (int round = 0; !rc && round < ROUNDS; round++)
		for (int f = 0; !rc && f < FORMS; f++) {
			struct mm_score_result r = { 0 };
			struct mm_score_opts o = { .probes = f == NONE ? 0 : MM_PROBES_DEFAULT, .exact = f == EXACT };
			rc = mm_score_texts(m, tok, texts, &o, &r, err);
			if (rc)
				break;
			c->cpu[f] = fmin(c->cpu[f], r.seconds_cpu);
			c->own[f] = r.features.n_own;
			c->token[f] = r.features.n_own_token;
			c->n = r.features.n ? r.features.n : c->n;
			c->all = r.n_token_total;
			mm_score_result_fini(&r);
		}
	mm_tok_close(tok);
	mm_model_close(m);
	return rc;
}

int main(void)
{
	struct mm_err err;
	struct mm_texts texts;
	const char *shared = getenv("MM_SHARED");
	char path[4096];
	snprintf(path, sizeof(path), "%s/zoo/dev/texts.jsonl", shared ? shared : "../shared");
	if (mm_texts_load(&texts, access(path, R_OK) ? "config/texts.jsonl" : path, &err)) {
		fprintf(stderr, "bench_feat: %s\n", err.text);
		return 1;
	}
	printf("next-byte features: %zu texts of %.0f bytes\n%-32s %9s %9s %6s %9s %6s %14s\n", texts.n,
		texts.mean_bytes, "model", "without", "one-step", "more", "exact", "more", "extra tokens");
	for (size_t i = 0; i < MM_COUNT(models); i++) {
		struct cost c = { .n = 0 };
		if (measure(models[i], &texts, &c, &err)) {
			fprintf(stderr, "bench_feat: %s: %s\n", models[i], err.text);
			return 1;
		}
		printf("%-32s %7.2f s %7.2f s %5.1f%% %7.2f s %5.1f%% %5.1f%%, %5.1f%%  (%zu probes, %zu and %zu "
		       "sequences of their own)\n",
			models[i], c.cpu[NONE], c.cpu[STEP], 100 * (c.cpu[STEP] / c.cpu[NONE] - 1), c.cpu[EXACT],
			100 * (c.cpu[EXACT] / c.cpu[NONE] - 1), 100.0 * (double)c.token[STEP] / (double)c.all,
			100.0 * (double)c.token[EXACT] / (double)c.all, c.n, c.own[STEP], c.own[EXACT]);
	}
	mm_texts_free(&texts);
	return 0;
}
