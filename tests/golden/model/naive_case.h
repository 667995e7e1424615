/* naive_case.h: a family's function run once defines a tiny random checkpoint; the program reads it and must give the
 * same log-probs: one sequence, 2e-5 a token (float arithmetic against double: a few 1e-6). */
#ifndef NAIVE_CASE_H
#define NAIVE_CASE_H

#include "naive.h"

enum { D = 32, H = 4, KV = 2, HD = 8, F = 48, V = 70, NL = 3, T = 40 };

#define JSON_COMMON                                                                                                    \
	"\"hidden_size\":32,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"num_hidden_layers\":3,"              \
	"\"intermediate_size\":48,\"vocab_size\":70,\"max_position_embeddings\":64"

typedef void (*forward_fn)(struct naive *nv, const uint32_t *id, double *out);

struct naive_case {
	const char *name;
	forward_fn forward;
	const char *config;
};

static void check_case(void **state)
{
	const struct naive_case *c = *state;
	struct mm_err err;
	struct mm_model_opts opts = { .compute = MM_COMPUTE_F32, .threads = 2 };
	struct naive *nv = calloc(1, sizeof(*nv));
	char dir[] = "/tmp/mm-naive-XXXXXX", path[256];
	uint32_t id[T];
	double want[T], got[T], worst = 0;
	struct mm_rng rng;
	assert_true(nv && mkdtemp(dir));
	nv->scale = 0.3;
	mm_rng_init(&rng, mm_hash64(c->name, strlen(c->name)));
	for (size_t t = 0; t < T; t++)
		id[t] = (uint32_t)mm_rng_below(&rng, V);
	c->forward(nv, id, want);
	nv_write(nv, dir, c->config);
	struct mm_model *m = mm_model_open(dir, &opts, &err);
	if (!m || mm_score_ids(m, id, T, got, &err))
		fail_msg("%s: %s", c->name, err.text);
	for (size_t t = 0; t + 1 < T; t++) {
		double d = fabs(got[t] - want[t]);
		worst = d > worst || d != d ? d : worst;
	}
	print_message("%-28s max |diff| %.1e\n", c->name, worst);
	if (!(worst <= 2e-5))
		fail_msg("%s: log-probs differ by %g", c->name, worst);
	mm_model_close(m);
	nv_free(nv);
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	remove(path);
	snprintf(path, sizeof(path), "%s/config.json", dir);
	remove(path);
	remove(dir);
}

#define NAIVE_MAIN(group)                                                                                              \
	int main(int argc, char **argv)                                                                                \
	{                                                                                                              \
		static struct CMUnitTest tests[MM_COUNT(cases)];                                                       \
		size_t n = 0;                                                                                          \
		for (size_t i = 0; i < MM_COUNT(cases); i++)                                                           \
			if (argc < 2 || strstr(cases[i].name, argv[1]))                                                \
				tests[n++] = (struct CMUnitTest){ cases[i].name, check_case, NULL, NULL,               \
					(void *)(uintptr_t)&cases[i] };                                                \
		return _cmocka_run_group_tests(group, tests, n, NULL, NULL);                                           \
	}

#endif
