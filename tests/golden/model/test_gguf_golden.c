/* test_gguf_golden.c - log-probs of every GGUF file of the set against the reference, to the tolerance that each
 * golden.json states: 1e-4, more where GGUF does not say which GELU is meant. Sequences and texts (by their ids). */
#include "../../unit/model/ckpt_util.h"
#include "model/model.h"

#include <math.h>

#define LEN_MAX 4096

/* Largest difference over one list; -1 when something failed. */
static double compare(struct mm_model *m, const json_t *list, struct mm_err *err)
{
	static uint32_t id[LEN_MAX];
	static double lp[LEN_MAX];
	double worst = 0;
	size_t i;
	json_t *seq;
	json_array_foreach (list, i, seq) {
		const json_t *ids = json_object_get(seq, "ids"), *want = json_object_get(seq, "logprobs");
		size_t n = json_array_size(ids);
		assert_true(n >= 2 && n <= LEN_MAX && json_array_size(want) == n - 1);
		for (size_t k = 0; k < n; k++)
			id[k] = (uint32_t)json_integer_value(json_array_get(ids, k));
		if (mm_score_ids(m, id, n, lp, err))
			return -1;
		for (size_t k = 0; k + 1 < n; k++) {
			double d = fabs(lp[k] - json_number_value(json_array_get(want, k)));
			worst = d <= worst ? worst : d; /* NaN stays */
		}
	}
	return worst;
}

/* true: within tolerance */
static bool check_dir(const char *root, const char *name)
{
	static const char *const first[] = { "model.gguf", "model-00001-of-00003.gguf" };
	const struct mm_model_opts opts = { .compute = MM_COMPUTE_F32 };
	struct mm_err err = { 0 };
	char dir[4096];
	format(dir, "%s/%s", root, name);
	json_t *g = mm_json_load(at(dir, "golden.json"), 64u << 20, &err);
	if (!g)
		fail_msg("%s", err.text);
	double tolerance = json_number_value(json_object_get(g, "tolerance")), seqs = -1, texts = -1;
	struct mm_model *m = mm_model_open(at(dir, first[access(at(dir, first[0]), R_OK) != 0]), &opts, &err);
	if (m && (seqs = compare(m, json_object_get(g, "sequences"), &err)) >= 0)
		texts = compare(m, json_object_get(g, "texts"), &err);
	bool ok = tolerance > 0 && seqs >= 0 && texts >= 0 && seqs <= tolerance && texts <= tolerance;
	if (ok)
		print_message("%-32s %.1e %.1e\n", name, seqs, texts);
	else
		print_error("%-32s %.1e %.1e, tolerance %.1e: %s\n", name, seqs, texts, tolerance, err.text);
	mm_model_close(m);
	json_decref(g);
	return ok;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void logprobs_equal_the_reference(void **state)
{
	(void)state;
	const char *path = shared("gguf/dev");
	char root[4096], *name[256];
	size_t n = 0, wrong = 0;
	if (!path)
		skip();
	format(root, "%s", path);
	DIR *d = opendir(root);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d)) && n < MM_COUNT(name);)
		if (e->d_name[0] != '.')
			name[n++] = strdup(e->d_name);
	closedir(d);
	qsort(name, n, sizeof *name, by_name);
	for (size_t i = 0; i < n; i++) {
		wrong += !check_dir(root, name[i]);
		free(name[i]);
	}
	assert_true(n > 0);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logprobs_equal_the_reference),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
