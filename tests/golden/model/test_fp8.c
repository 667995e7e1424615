/* test_fp8.c: matrices in 8-bit floats with a factor a block. The test stores a fixture's matrices so, with blocks that
 * do not divide them, and stores what they are worth beside it as plain numbers, by a decoder of its own: both
 * checkpoints must give the same bits. */
#include "model/ckpt_priv.h"
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { ROWS = 20, COLS = 28, T = 24 };

struct writer {
	FILE *head, *data;
	char *head_buf, *data_buf;
	size_t head_len, data_len, at;
};

static void put(struct writer *w, const char *name, const char *dtype, unsigned n_dim, const uint64_t *dim,
	const void *p, size_t n)
{
	fprintf(w->head, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", w->at ? "," : "{", name, dtype);
	for (unsigned i = 0; i < n_dim; i++)
		fprintf(w->head, "%s%llu", i ? "," : "", (unsigned long long)dim[i]);
	fprintf(w->head, "],\"data_offsets\":[%zu,%zu]}", w->at, w->at + n);
	assert_int_equal(fwrite(p, 1, n, w->data), n);
	w->at += n;
}

static void begin(struct writer *w)
{
	memset(w, 0, sizeof(*w));
	w->head = open_memstream(&w->head_buf, &w->head_len);
	w->data = open_memstream(&w->data_buf, &w->data_len);
	assert_true(w->head && w->data);
}

static void finish(struct writer *w, const char *dir)
{
	char path[300];
	fputc('}', w->head);
	fclose(w->head);
	fclose(w->data);
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	FILE *f = fopen(path, "wb");
	uint64_t n = w->head_len;
	assert_non_null(f);
	fwrite(&n, 8, 1, f);
	fwrite(w->head_buf, 1, w->head_len, f);
	fwrite(w->data_buf, 1, w->data_len, f);
	assert_int_equal(fclose(f), 0);
	free(w->head_buf);
	free(w->data_buf);
}

static float decode(unsigned c)
{
	int e = (int)(c >> 3 & 15), m = (int)(c & 7);
	double v = e ? ldexp(8 + m, e - 10) : ldexp(m, -9);
	return (float)(c & 128 ? -v : v);
}

static uint8_t encode(float x)
{
	unsigned best = 0;
	for (unsigned c = 0; c < 256; c++)
		if ((c & 127) != 127 && fabsf(decode(c) - x) < fabsf(decode(best) - x))
			best = c;
	return (uint8_t)best;
}

enum fault { NONE, WHOLE, LOST, SHAPE }; /* WHOLE: no fault; one factor a matrix, in a tensor without dimensions */

/* One matrix into both: codes and factors into q, values into plain. */
static void split(struct writer *q, struct writer *plain, const struct mm_tensor *t, const float *v, enum fault fault)
{
	size_t rows = (size_t)t->dim[0], cols = (size_t)t->dim[1], n = rows * cols;
	size_t rb = fault == WHOLE ? rows : ROWS, cb = fault == WHOLE ? cols : COLS;
	uint64_t dim[2] = { (rows + rb - 1) / rb, (cols + cb - 1) / cb };
	uint8_t *code = malloc(n);
	float *value = malloc(n * sizeof(float)), *factor = calloc((dim[0] + 1) * dim[1], sizeof(float));
	char name[200];
	assert_true(code && value && factor);
	for (size_t i = 0; i < dim[0] * dim[1]; i++)
		factor[i] = 0.0009f * (float)(1 + i % 7);
	for (size_t i = 0; i < n; i++) {
		float s = factor[i / cols / rb * dim[1] + i % cols / cb];
		code[i] = encode(v[i] / s);
		value[i] = decode(code[i]) * s;
	}
	put(q, t->name, "F8_E4M3", 2, t->dim, code, n);
	put(plain, t->name, "F32", 2, t->dim, value, n * sizeof(float));
	snprintf(name, sizeof(name), "%s_scale_inv", t->name);
	dim[0] += fault == SHAPE;
	if (fault != LOST)
		put(q, name, "F32", fault == WHOLE ? 0 : 2, dim, factor, dim[0] * dim[1] * sizeof(float));
	free(code);
	free(value);
	free(factor);
}

static bool quantised(const struct mm_tensor *t)
{
	return t->n_dim == 2 && strstr(t->name, "proj") != NULL;
}

static void config_write(const char *dir, const json_t *config, const char *quant)
{
	char path[300];
	json_t *c = json_copy((json_t *)(uintptr_t)config);
	if (quant)
		json_object_set_new(c, "quantization_config", json_loads(quant, 0, NULL));
	snprintf(path, sizeof(path), "%s/config.json", dir);
	assert_int_equal(json_dump_file(c, path, 0), 0);
	json_decref(c);
}

/* The fixture in 8 bits as `q`, the same as plain numbers as `plain`. The fault is in the fourth matrix. */
static void make(const char *fixture, const char *q, const char *plain, const char *quant, enum fault fault)
{
	struct mm_err err;
	struct writer a, b;
	char path[300];
	size_t n = 0;
	snprintf(path, sizeof(path), "tests/fixtures/conformance/%s", fixture);
	struct mm_ckpt *ck = mm_ckpt_open(path, NULL, &err);
	assert_non_null(ck);
	begin(&a);
	begin(&b);
	for (size_t i = 0; i < mm_ckpt_n_tensor(ck); i++) {
		const struct mm_tensor *t = mm_ckpt_tensor(ck, i);
		size_t bytes = (size_t)t->n_elem * sizeof(float);
		float *v = malloc(bytes + 1);
		assert_true(v && !mm_ckpt_read(ck, t, 0, (size_t)t->n_elem, v, &err));
		if (quantised(t)) {
			split(&a, &b, t, v, fault == WHOLE || n == 3 ? fault : NONE);
			n++;
		} else {
			put(&a, t->name, "F32", t->n_dim, t->dim, v, bytes);
			put(&b, t->name, "F32", t->n_dim, t->dim, v, bytes);
		}
		free(v);
	}
	assert_true(n > 10);
	finish(&a, q);
	finish(&b, plain);
	config_write(q, mm_ckpt_config(ck), quant);
	config_write(plain, mm_ckpt_config(ck), NULL);
	mm_ckpt_close(ck);
}

static void wipe(const char *dir)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	remove(path);
	snprintf(path, sizeof(path), "%s/config.json", dir);
	remove(path);
	remove(dir);
}

#define QUANT(rest) "{\"quant_method\":\"fp8\",\"activation_scheme\":\"dynamic\"," rest "}"
#define BLOCKS	    QUANT("\"fmt\":\"e4m3\",\"weight_block_size\":[20,28]")

static void equals(const char *fixture, const char *quant, enum fault how)
{
	char dir[2][32] = { "/tmp/mm-fp8-XXXXXX", "/tmp/mm-fp8-XXXXXX" };
	double lp[2][T];
	struct mm_model_opts opts = { .compute = MM_COMPUTE_F32, .threads = 1 };
	struct mm_err err;
	uint32_t id[T];
	assert_true(mkdtemp(dir[0]) && mkdtemp(dir[1]));
	make(fixture, dir[0], dir[1], quant, how);
	for (uint32_t t = 0; t < T; t++)
		id[t] = (t * 37 + 11) % 380;
	for (int k = 0; k < 2; k++) {
		struct mm_model *m = mm_model_open(dir[k], &opts, &err);
		if (!m || mm_score_ids(m, id, T, lp[k], &err))
			fail_msg("%s: %s", fixture, err.text);
		mm_model_close(m);
		wipe(dir[k]);
	}
	for (size_t t = 0; t + 1 < T; t++)
		if (lp[0][t] != lp[1][t])
			fail_msg("%s: token %zu: %.9f, expected %.9f", fixture, t, lp[0][t], lp[1][t]);
}

static void same_bits_as_plain_numbers(void **state)
{
	(void)state;
	equals("qwen3", BLOCKS, NONE);
	equals("qwen3-moe", BLOCKS, NONE);
	equals("deepseek-v2-lite-bf16", BLOCKS, NONE);
	equals("qwen3", QUANT("\"weight_block_size\":null"), WHOLE);
}

static void refused(const char *quant, enum fault fault, const char *a, const char *b)
{
	char dir[2][32] = { "/tmp/mm-fp8-XXXXXX", "/tmp/mm-fp8-XXXXXX" };
	struct mm_model_opts opts = { .compute = MM_COMPUTE_F32, .threads = 1 };
	struct mm_err err;
	assert_true(mkdtemp(dir[0]) && mkdtemp(dir[1]));
	make("qwen3", dir[0], dir[1], quant, fault);
	assert_null(mm_model_open(dir[0], &opts, &err));
	if (!strstr(err.text, a) || !strstr(err.text, b))
		fail_msg("\"%s\" says nothing of %s and %s", err.text, a, b);
	wipe(dir[0]);
	wipe(dir[1]);
}

static void faults_are_named(void **state)
{
	(void)state;
	refused(BLOCKS, LOST, "proj.weight_scale_inv", "missing");
	refused(BLOCKS, SHAPE, "proj.weight_scale_inv", "expected [");
	refused(QUANT("\"fmt\":\"e5m2\""), NONE, "fmt", "e5m2");
	refused(QUANT("\"weight_block_size\":[20]"), NONE, "weight_block_size", "two");
	refused(QUANT("\"weight_block_size\":[0,28]"), NONE, "weight_block_size", "two");
	refused("{\"quant_method\":\"gptq\"}", NONE, "quantization_config", "gptq");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_bits_as_plain_numbers),
		cmocka_unit_test(faults_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
