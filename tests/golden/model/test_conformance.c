/* test_conformance.c: every checkpoint under tests/fixtures/conformance (and what ../shared/conformance/dev has beyond
 * them) and tests/fixtures/reference against its golden log-probabilities, f32: 1e-4 a token (float32 implementations
 * agree to about 1e-5). */
#include "model/model.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#define TOLERANCE 1e-4
#define SEQ_MAX	  64

static char *own_dir = "tests/fixtures/conformance";

struct golden {
	json_t *json;
	size_t n;
	uint32_t *id[SEQ_MAX];
	size_t len[SEQ_MAX];
	const json_t *want[SEQ_MAX];
	double *got[SEQ_MAX];
};

static bool golden_load(struct golden *g, const char *dir)
{
	struct mm_err err;
	char path[1024];
	memset(g, 0, sizeof(*g));
	snprintf(path, sizeof(path), "%s/golden.json", dir);
	g->json = mm_json_load(path, 1 << 24, &err);
	if (!g->json)
		return false;
	const char *const part[] = { "sequences", "texts" };
	for (size_t p = 0; p < 2; p++) {
		const json_t *list = json_object_get(g->json, part[p]);
		for (size_t i = 0; i < json_array_size(list) && g->n < SEQ_MAX; i++) {
			const json_t *o = json_array_get(list, i), *ids = json_object_get(o, "ids");
			size_t n = json_array_size(ids), s = g->n++;
			g->id[s] = mm_calloc(n, sizeof(uint32_t), &err);
			g->got[s] = mm_calloc(n, sizeof(double), &err);
			assert_true(g->id[s] && g->got[s]);
			for (size_t t = 0; t < n; t++)
				g->id[s][t] = (uint32_t)json_integer_value(json_array_get(ids, t));
			g->len[s] = n;
			g->want[s] = json_object_get(o, "logprobs");
		}
	}
	return true;
}

static void golden_free(struct golden *g)
{
	for (size_t s = 0; s < g->n; s++) {
		mm_free(g->id[s]);
		mm_free(g->got[s]);
	}
	json_decref(g->json);
}

static double golden_diff(const struct golden *g)
{
	double worst = 0;
	for (size_t s = 0; s < g->n; s++) {
		assert_int_equal(json_array_size(g->want[s]), g->len[s] - 1);
		for (size_t t = 0; t + 1 < g->len[s]; t++) {
			double d = fabs(g->got[s][t] - json_number_value(json_array_get(g->want[s], t)));
			worst = d > worst || d != d ? d : worst;
		}
	}
	return worst;
}

static void check_dir(void **state)
{
	const char *dir = *state, *base = strrchr(dir, '/') + 1;
	struct mm_err err;
	struct golden g;
	struct mm_model_opts opts = { .compute = MM_COMPUTE_F32 };
	assert_true(golden_load(&g, dir));
	struct mm_model *m = mm_model_open(dir, &opts, &err);
	if (!m)
		fail_msg("%s: %s", base, err.text);
	if (mm_score_sequences(m, g.n, (const uint32_t *const *)g.id, g.len, g.got, NULL, &err))
		fail_msg("%s: %s", base, err.text);
	double d = golden_diff(&g);
	print_message("%-40s max |diff| %.1e\n", base, d);
	if (!(d <= TOLERANCE))
		fail_msg("%s: log-probs differ by %g", base, d);
	mm_model_close(m);
	golden_free(&g);
}

static size_t add_dir(struct CMUnitTest *tests, size_t n, size_t cap, const char *root, bool only_new)
{
	struct dirent **list;
	int k = scandir(root, &list, NULL, alphasort);
	for (int i = 0; i < k; i++) {
		char path[1024], own[1024];
		struct stat st;
		snprintf(path, sizeof(path), "%s/%s", root, list[i]->d_name);
		snprintf(own, sizeof(own), "%s/%s", own_dir, list[i]->d_name);
		if (list[i]->d_name[0] != '.' && !stat(path, &st) && S_ISDIR(st.st_mode) && n < cap &&
			!(only_new && !stat(own, &st)))
			tests[n++] =
				(struct CMUnitTest){ strdup(list[i]->d_name), check_dir, NULL, NULL, strdup(path) };
		free(list[i]);
	}
	if (k >= 0)
		free(list);
	return n;
}

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[256];
	const char *shared = getenv("MM_SHARED");
	char path[1024];
	size_t n = 0;
	if (argc > 1) {
		for (int i = 1; i < argc && n < MM_COUNT(tests); i++)
			tests[n++] = (struct CMUnitTest){ argv[i], check_dir, NULL, NULL, argv[i] };
	} else {
		n = add_dir(tests, n, MM_COUNT(tests), own_dir, false);
		snprintf(path, sizeof(path), "%s/conformance/dev", shared ? shared : "../shared");
		n = add_dir(tests, n, MM_COUNT(tests), path, true);
		n = add_dir(tests, n, MM_COUNT(tests), "tests/fixtures/reference", false);
	}
	if (n == 0)
		return 1;
	int rc = _cmocka_run_group_tests("conformance", tests, n, NULL, NULL);
	for (size_t i = 0; argc <= 1 && i < n; i++) {
		free((void *)(uintptr_t)tests[i].name);
		free(tests[i].initial_state);
	}
	return rc;
}
