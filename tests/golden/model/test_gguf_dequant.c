/* test_gguf_dequant.c - every tensor type of the GGUF files against the values that another program read from them:
 * the first and last eight values bit for bit, sum and sum of squares in double. */
#include "../../unit/model/ckpt_util.h"

#include <math.h>

static const json_t *number(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	assert_true(json_is_number(v));
	return v;
}

/* The list holds the shortest decimal of the f32 as a double: equal floats, equal numbers. */
static void compare_ends(const json_t *list, const float *v, const char *where)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if ((float)json_number_value(json_array_get(list, i)) != v[i])
			fail_msg("%s: value %zu is %.9g, expected %.9g", where, i, (double)v[i],
				json_number_value(json_array_get(list, i)));
}

static void check_tensor(const struct mm_ckpt *ck, const json_t *want, const char *dir)
{
	struct mm_err err = { 0 };
	char where[512];
	const char *name = json_string_value(json_object_get(want, "name"));
	const struct mm_tensor *t = mm_ckpt_find(ck, name);
	format(where, "%s: %s", dir, name);
	if (!t)
		fail_msg("%s: not found", where);
	assert_int_equal(strcasecmp(mm_dtypes[t->dtype].name, json_string_value(json_object_get(want, "type"))), 0);
	const json_t *dims = json_object_get(want, "dims");
	for (size_t i = 0; i < t->n_dim; i++)
		assert_int_equal(t->dim[t->n_dim - 1 - i], json_integer_value(json_array_get(dims, i)));
	float *v = mm_calloc(t->n_elem, sizeof *v, &err);
	assert_non_null(v);
	if (mm_ckpt_read(ck, t, 0, t->n_elem, v, &err))
		fail_msg("%s: %s", where, err.text);
	const json_t *first = json_object_get(want, "first8"), *last = json_object_get(want, "last8");
	compare_ends(first, v, where);
	compare_ends(last, v + t->n_elem - json_array_size(last), where);
	double sum = 0, sumsq = 0, size = 0;
	for (uint64_t i = 0; i < t->n_elem; i++) {
		sum += v[i];
		sumsq += (double)v[i] * v[i];
		size += fabs((double)v[i]);
	}
	/* Orders of summation differ: n roundings of 2^-53 relative to the sum of magnitudes. */
	double slack = 0x1p-53 * (double)t->n_elem;
	assert_true(fabs(sum - json_number_value(number(want, "sum"))) <= slack * size);
	assert_true(fabs(sumsq - json_number_value(number(want, "sumsq"))) <= slack * sumsq);
	/* Any part read alone gives the same bits. */
	unsigned block = mm_dtypes[t->dtype].block;
	float *part = mm_calloc(block, sizeof *part, &err);
	uint64_t at_block = t->n_elem / block / 2 * block;
	assert_int_equal(mm_ckpt_read(ck, t, at_block, block, part, &err), 0);
	assert_memory_equal(part, v + at_block, block * sizeof *part);
	mm_free(part);
	mm_free(v);
}

static int check_dir(const char *dir)
{
	struct mm_err err = { 0 };
	int n = 0;
	if (access(at(dir, "dequant.json"), R_OK))
		return 0;
	json_t *list = mm_json_load(at(dir, "dequant.json"), 16u << 20, &err);
	struct mm_ckpt *ck = mm_ckpt_open(at(dir, "model.gguf"), NULL, &err);
	if (!list || !ck)
		fail_msg("%s: %s", dir, err.text);
	size_t i;
	json_t *want;
	json_array_foreach (list, i, want) {
		check_tensor(ck, want, dir);
		n++;
	}
	mm_ckpt_close(ck);
	json_decref(list);
	return n;
}

static void values_equal_the_reference(void **state)
{
	(void)state;
	const char *root = shared("gguf/dev");
	int n = 0;
	if (!root)
		skip();
	DIR *d = opendir(root);
	assert_non_null(d);
	char *base = strdup(root);
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.')
			n += check_dir(at(base, e->d_name));
	closedir(d);
	free(base);
	print_message("%d tensors compared\n", n);
	assert_true(n > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_equal_the_reference),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
