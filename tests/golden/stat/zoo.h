/* zoo.h - the zoo's matrices for the tests of lib/stat. Skips the test when ../shared is not here. */
#ifndef TEST_ZOO_H
#define TEST_ZOO_H

#include "stat/stat.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct zoo {
	struct mm_mat m;
	float *data, **row;
	char **name;
	json_t *truth, *analysis;
	struct mm_texts texts;
};

static inline const char *zoo_path(const char *file, char buf[4096])
{
	const char *root = getenv("MM_SHARED");
	snprintf(buf, 4096, "%s/zoo/dev/%s", root && *root ? root : "../shared", file);
	return buf;
}

static inline void zoo_skip_if_missing(void)
{
	char path[4096];
	if (access(zoo_path("loglik.npy", path), R_OK) == 0)
		return;
	print_message("skip: ../shared/zoo/dev not here\n");
	skip();
}

static inline char *zoo_read(const char *file, size_t *len)
{
	char path[4096];
	struct mm_err err;
	char *s = mm_file_read(zoo_path(file, path), (size_t)1 << 30, len, &err);
	if (!s)
		fail_msg("%s: %s", path, err.text);
	return s;
}

/* Appends the rows of one loglik file (f64) as f32 and the names that go with them. */
static inline void zoo_append(struct zoo *z, const char *npy, const char *names)
{
	size_t len, nlen;
	struct mm_err err;
	struct mm_npy a;
	char *raw = zoo_read(npy, &len), *txt = zoo_read(names, &nlen);
	if (mm_npy_parse(&a, raw, len, &err))
		fail_msg("%s: %s", npy, err.text);
	assert_string_equal(a.descr, "<f8");
	size_t k = a.shape[0], n = a.shape[1], have = z->m.k;
	assert_true(have == 0 || n == z->m.n);
	z->data = realloc(z->data, (have + k) * n * sizeof(float));
	z->row = realloc(z->row, (have + k) * sizeof(float *));
	z->name = realloc(z->name, (have + k) * sizeof(char *));
	for (size_t i = 0; i < k * n; i++) {
		double v;
		memcpy(&v, a.data + 8 * i, 8);
		z->data[have * n + i] = (float)v;
	}
	char *save = NULL, *line = strtok_r(txt, "\r\n", &save);
	for (size_t i = 0; i < k; i++, line = strtok_r(NULL, "\r\n", &save)) {
		assert_non_null(line);
		z->name[have + i] = strdup(line);
	}
	for (size_t i = 0; i < have + k; i++)
		z->row[i] = z->data + i * n;
	z->m = (struct mm_mat){ (const float *const *)z->row, have + k, n };
	mm_free(raw);
	mm_free(txt);
}

static inline json_t *zoo_json(const char *file)
{
	char path[4096];
	json_error_t e;
	json_t *j = json_load_file(zoo_path(file, path), 0, &e);
	if (!j)
		fail_msg("%s: %s", path, e.text);
	return j;
}

static inline void zoo_open(struct zoo *z)
{
	char path[4096];
	struct mm_err err;
	zoo_skip_if_missing();
	memset(z, 0, sizeof(*z));
	zoo_append(z, "loglik.npy", "models.txt");
	z->truth = zoo_json("truth.json");
	z->analysis = zoo_json("analysis.json");
	if (mm_texts_load(&z->texts, zoo_path("texts.jsonl", path), &err))
		fail_msg("%s: %s", path, err.text);
}

static inline void zoo_close(struct zoo *z)
{
	for (size_t i = 0; i < z->m.k; i++)
		free(z->name[i]);
	free(z->name);
	free(z->row);
	free(z->data);
	json_decref(z->truth);
	json_decref(z->analysis);
	mm_texts_free(&z->texts);
}

static inline size_t zoo_index(const struct zoo *z, const char *name)
{
	for (size_t i = 0; i < z->m.k; i++)
		if (strcmp(z->name[i], name) == 0)
			return i;
	return SIZE_MAX;
}

static inline const char *zoo_fact(const struct zoo *z, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_object_get(z->truth, z->name[i]), key));
}

/* analysis.json at a path of keys, "clipped", "two_kl_matrix", NULL. */
static inline json_t *zoo_at(const struct zoo *z, ...)
{
	va_list ap;
	json_t *j = z->analysis;
	va_start(ap, z);
	for (const char *k = va_arg(ap, const char *); k; k = va_arg(ap, const char *))
		j = json_object_get(j, k);
	va_end(ap);
	assert_non_null(j);
	return j;
}

#define MUST(x)                                                                                                        \
	do {                                                                                                           \
		if (x)                                                                                                 \
			fail_msg("%s: %s", #x, err.text);                                                              \
	} while (0)

static inline void near_rel(double got, double want, double rel, double abs_tol, const char *what)
{
	if (!(fabs(got - want) <= rel * fabs(want) + abs_tol))
		fail_msg("%s: got %.12g, expected %.12g", what, got, want);
}

#endif
