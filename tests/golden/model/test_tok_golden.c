/* test_tok_golden.c - ids of published tokenizers, computed by the reference implementations: every text, with and
 * without special tokens; and the ids that come with the checkpoints of the conformance sets and of the zoo. */
#include "model/model.h"

#include <dirent.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *shared(void)
{
	const char *s = getenv("MM_SHARED");
	return s ? s : "../shared";
}

static char *shared_path(const char *rest)
{
	struct mm_err err;
	char *p = mm_path_join(shared(), rest, &err);
	assert_non_null(p);
	return p;
}

static bool have(const char *path)
{
	struct stat st;
	if (!stat(path, &st))
		return true;
	print_message("skip: ../shared%s not here\n", path + strlen(shared()));
	return false;
}

static json_t *load(const char *dir, const char *name)
{
	struct mm_err err;
	char *p = mm_path_join(dir, name, &err);
	json_t *j = json_load_file(p, JSON_ALLOW_NUL, NULL);
	mm_free(p);
	return j;
}

static void compare(
	const struct mm_tok *tok, const char *what, size_t i, const json_t *text, unsigned flags, const json_t *want)
{
	struct mm_ids ids = { 0 };
	struct mm_err err;
	if (mm_tok_encode(tok, json_string_value(text), json_string_length(text), flags, &ids, &err))
		fail_msg("%s, text %zu: %s", what, i, err.text);
	if (ids.n != json_array_size(want))
		fail_msg("%s, text %zu, special %u: %zu ids instead of %zu", what, i, flags, ids.n,
			json_array_size(want));
	for (size_t k = 0; k < ids.n; k++)
		if (ids.id[k] != json_integer_value(json_array_get(want, k)))
			fail_msg("%s, text %zu, special %u: id %zu is %u instead of %lld", what, i, flags, k, ids.id[k],
				(long long)json_integer_value(json_array_get(want, k)));
	mm_free(ids.id);
}

static struct mm_tok *open_tok(const char *path)
{
	struct mm_err err;
	struct mm_tok *tok = mm_tok_open(path, &err);
	if (!tok)
		fail_msg("%s", err.text);
	return tok;
}

/* One directory with golden.json: ids of all texts. */
static void check_set(const char *dir, const json_t *texts)
{
	static const char *const key[] = { "no_special_tokens", "add_special_tokens" };
	json_t *golden = load(dir, "golden.json");
	struct mm_tok *tok;
	assert_non_null(golden);
	tok = open_tok(dir);
	for (unsigned flags = 0; flags < 2; flags++) {
		const json_t *want = json_object_get(golden, key[flags]), *one;
		size_t i;
		assert_int_equal(json_array_size(want), json_array_size(texts));
		json_array_foreach (want, i, one)
			compare(tok, dir, i, json_array_get(texts, i), flags, one);
	}
	mm_tok_close(tok);
	json_decref(golden);
}

typedef void (*dir_fn)(const char *dir, const json_t *texts);

static size_t each_dir(const char *parent, dir_fn fn, const json_t *texts)
{
	struct mm_err err;
	struct dirent *e;
	size_t n = 0;
	DIR *d = opendir(parent);
	assert_non_null(d);
	while ((e = readdir(d))) {
		char *dir = e->d_name[0] == '.' ? NULL : mm_path_join(parent, e->d_name, &err);
		char *golden = dir ? mm_path_join(dir, "golden.json", &err) : NULL;
		struct stat st;
		if (golden && !stat(golden, &st)) {
			fn(dir, texts);
			n++;
		}
		mm_free(golden);
		mm_free(dir);
	}
	closedir(d);
	return n;
}

static void test_dev(void **state)
{
	char *dir = shared_path("tokenizers/dev");
	json_t *texts;
	(void)state;
	if (have(dir)) {
		texts = load(dir, "texts.json");
		assert_true(each_dir(dir, check_set, texts) >= 16);
		json_decref(texts);
	}
	mm_free(dir);
}

static void test_more(void **state)
{
	char *archive = shared_path("tokenizers/more.tar.xz"), *dev = shared_path("tokenizers/dev"),
	     tmp[] = "/tmp/tok-more-XXXXXX";
	char command[600], *dir;
	struct mm_err err;
	json_t *texts;
	(void)state;
	if (have(archive)) {
		assert_non_null(mkdtemp(tmp));
		snprintf(command, sizeof(command), "tar -C %s -xf '%s'", tmp, archive);
		assert_int_equal(system(command), 0);
		dir = mm_path_join(tmp, "more", &err);
		texts = load(dev, "texts.json");
		assert_true(each_dir(dir, check_set, texts) >= 8);
		json_decref(texts);
		mm_free(dir);
		snprintf(command, sizeof(command), "rm -rf %s", tmp);
		assert_int_equal(system(command), 0);
	}
	mm_free(archive);
	mm_free(dev);
}

/* Checkpoints of the conformance sets: {"texts": [{"text", "ids"}]}, no special tokens. */
static void check_checkpoint(const char *dir, const json_t *none)
{
	json_t *golden = load(dir, "golden.json");
	const json_t *one;
	struct mm_err err;
	struct mm_tok *tok = NULL;
	size_t i;
	(void)none;
	json_array_foreach (json_object_get(golden, "texts"), i, one) {
		if (!tok) {
			tok = mm_tok_open(dir, &err);
			if (!tok)
				fail_msg("%s", err.text);
		}
		if (json_object_get(
			    one, "ids_without_special")) { /* with BOS, by a reference that takes <s> for plain text */
			compare(tok, dir, i, json_object_get(one, "text"), MM_TOK_PLAIN,
				json_object_get(one, "ids_without_special"));
			compare(tok, dir, i, json_object_get(one, "text"), MM_TOK_PLAIN | MM_TOK_SPECIAL,
				json_object_get(one, "ids"));
			continue;
		}
		compare(tok, dir, i, json_object_get(one, "text"), 0, json_object_get(one, "ids"));
	}
	mm_tok_close(tok);
	json_decref(golden);
}

static void test_conformance(void **state)
{
	char *dir = shared_path("conformance/dev");
	(void)state;
	if (have(dir))
		assert_true(each_dir(dir, check_checkpoint, NULL) > 30);
	mm_free(dir);
}

static void test_gguf(void **state)
{
	char *dir = shared_path("gguf/dev");
	(void)state;
	if (have(dir))
		assert_true(each_dir(dir, check_checkpoint, NULL) > 30);
	mm_free(dir);
}

/* The zoo: ids of the first texts, with the tokenizer's own template; lengths of all. */
static void check_model(const char *dir, const json_t *set, const struct mm_texts *texts)
{
	struct mm_tok *tok = open_tok(dir);
	const json_t *ids = json_object_get(set, "ids"), *lengths = json_object_get(set, "lengths");
	for (size_t i = 0; i < texts->n; i++) {
		json_t *text = json_stringn(texts->text[i], texts->len[i]);
		struct mm_ids out = { 0 };
		struct mm_err err;
		if (i < json_array_size(ids))
			compare(tok, dir, i, text, MM_TOK_SPECIAL, json_array_get(ids, i));
		assert_int_equal(mm_tok_encode(tok, texts->text[i], texts->len[i], MM_TOK_SPECIAL, &out, &err), 0);
		assert_int_equal(out.n, json_integer_value(json_array_get(lengths, i)));
		mm_free(out.id);
		json_decref(text);
	}
	mm_tok_close(tok);
}

static void test_zoo(void **state)
{
	char *dir = shared_path("zoo/dev"), path[1200];
	struct mm_texts texts = { 0 };
	struct mm_err err;
	const char *name;
	json_t *sets, *set;
	(void)state;
	if (have(dir)) {
		snprintf(path, sizeof(path), "%s/texts.jsonl", dir);
		assert_int_equal(mm_texts_load(&texts, path, &err), 0);
		sets = load(dir, "tokens.json");
		json_object_foreach (sets, name, set) {
			const json_t *models = json_object_get(set, "models");
			if (!json_is_array(models))
				continue;
			for (size_t i = 0; i < json_array_size(models) && i < 3;
				i++) { /* one tokenizer: the others are copies */
				snprintf(path, sizeof(path), "%s/models/%s", dir,
					json_string_value(json_array_get(models, i)));
				check_model(path, set, &texts);
			}
		}
		json_decref(sets);
		mm_texts_free(&texts);
	}
	mm_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dev),
		cmocka_unit_test(test_more),
		cmocka_unit_test(test_conformance),
		cmocka_unit_test(test_gguf),
		cmocka_unit_test(test_zoo),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
