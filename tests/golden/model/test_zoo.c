/* test_zoo.c: every healthy model of ../shared/zoo/dev against loglik.npy: at most 0.01 nat a text (1e-3 is expected),
 * token ids as in tokens.json. The models were trained, so that errors which random weights hide show here. */
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define TOLERANCE 0.01

static char root[512];
static struct mm_texts texts;
static struct mm_map map;
static struct mm_npy truth;

static void path_of(char out[1024], const char *name)
{
	snprintf(out, 1024, "%s/%s", root, name);
}

static bool zoo_load(void)
{
	struct mm_err err;
	char path[1024];
	const char *shared = getenv("MM_SHARED");
	snprintf(root, sizeof(root), "%s/zoo/dev", shared ? shared : "../shared");
	path_of(path, "texts.jsonl");
	if (access(path, R_OK)) {
		printf("skip: %s not here\n", path);
		return false;
	}
	assert_int_equal(mm_texts_load(&texts, path, &err), 0);
	path_of(path, "loglik.npy");
	assert_int_equal(mm_map_open(&map, path, &err), 0);
	assert_int_equal(mm_npy_parse(&truth, map.data, map.size, &err), 0);
	assert_string_equal(truth.descr, "<f8");
	return true;
}

static void check_model(const char *name, size_t row, double *worst, uint64_t *tokens, double *seconds)
{
	struct mm_err err;
	char path[1024], dir[512];
	struct mm_model_opts opts = { .compute = MM_COMPUTE_F32 };
	struct mm_score_opts so = { .bos = MM_BOS_AUTO };
	struct mm_score_result r = { 0 };
	snprintf(dir, sizeof(dir), "models/%s", name);
	path_of(path, dir);
	struct mm_model *m = mm_model_open(path, &opts, &err);
	struct mm_tok *tok = m ? mm_tok_open(path, &err) : NULL;
	if (!tok || mm_score_texts(m, tok, &texts, &so, &r, &err))
		fail_msg("%s: %s", name, err.text);
	double d = 0;
	for (size_t i = 0; i < texts.n; i++) {
		double want;
		memcpy(&want, truth.data + (row * texts.n + i) * sizeof(want), sizeof(want));
		double e = fabs(r.loglik[i] - want);
		if (!(e <= TOLERANCE))
			fail_msg("%s: text %zu: %.6f, expected %.6f", name, i, r.loglik[i], want);
		d = e > d ? e : d;
	}
	assert_int_equal(r.n_cut, 0);
	*worst = d > *worst ? d : *worst;
	*tokens += r.n_token_total;
	*seconds += r.seconds_score;
	print_message("%-34s max |diff| %.1e\n", name, d);
	mm_score_result_fini(&r);
	mm_tok_close(tok);
	mm_model_close(m);
}

static void test_logliks(void **state)
{
	(void)state;
	struct mm_err err;
	char path[1024], *save = NULL;
	size_t len, row = 0;
	double worst = 0, seconds = 0;
	uint64_t tokens = 0;
	if (!truth.data)
		skip();
	path_of(path, "models.txt");
	char *names = mm_file_read(path, 1 << 20, &len, &err);
	assert_non_null(names);
	for (char *name = strtok_r(names, "\n", &save); name; name = strtok_r(NULL, "\n", &save))
		check_model(name, row++, &worst, &tokens, &seconds);
	assert_int_equal(row, truth.shape[0]);
	print_message("%zu models, largest difference %.1e nat, %.0f tokens/s\n", row, worst, (double)tokens / seconds);
	mm_free(names);
}

static void check_ids(const struct mm_tok *tok, const json_t *o)
{
	struct mm_err err;
	const json_t *all = json_object_get(o, "ids"), *lengths = json_object_get(o, "lengths");
	for (size_t i = 0; i < texts.n; i++) {
		struct mm_ids ids = { 0 };
		assert_int_equal(mm_tok_encode(tok, texts.text[i], texts.len[i], MM_TOK_SPECIAL, &ids, &err), 0);
		assert_int_equal(ids.n, json_integer_value(json_array_get(lengths, i)));
		const json_t *want = json_array_get(all, i);
		for (size_t t = 0; t < json_array_size(want); t++)
			assert_int_equal(ids.id[t], json_integer_value(json_array_get(want, t)));
		mm_free(ids.id);
	}
}

static void test_tokens(void **state)
{
	(void)state;
	struct mm_err err;
	char path[1024], dir[512];
	const char *name;
	json_t *o;
	if (!truth.data)
		skip();
	path_of(path, "tokens.json");
	json_t *all = mm_json_load(path, 1 << 26, &err);
	assert_non_null(all);
	json_object_foreach (all, name, o) {
		const json_t *models = json_object_get(o, "models");
		snprintf(dir, sizeof(dir), "models/%s", json_string_value(json_array_get(models, 0)));
		path_of(path, dir);
		struct mm_tok *tok = mm_tok_open(path, &err);
		if (!tok)
			fail_msg("%s: %s", path, err.text);
		check_ids(tok, o);
		mm_tok_close(tok);
	}
	json_decref(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_tokens), cmocka_unit_test(test_logliks) };
	zoo_load();
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	mm_texts_free(&texts);
	mm_map_close(&map);
	return rc;
}
