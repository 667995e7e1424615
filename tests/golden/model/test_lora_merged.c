/* test_lora_merged.c - a base with an adapter against the same base with the sum worked out here and written as F32:
 * the log-probs are equal up to the rounding of f32. */
#include "../../unit/model/ckpt_util.h"
#include "model/model.h"

#include <math.h>

#define BASE  "tests/fixtures/zoo/qwen2-a"
#define RANK  4
#define ALPHA 10

static const char *const target[] = { "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj",
	"model.layers.2.mlp.gate_proj" };

struct file {
	struct mm_buf head, data;
};

static void add(struct file *f, const char *name, unsigned n_dim, const uint64_t *dim, const float *v)
{
	size_t n = 1, from = f->data.len;
	mm_buf_printf(&f->head, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", f->head.len ? "," : "{", name);
	for (unsigned i = 0; i < n_dim; i++) {
		mm_buf_printf(&f->head, "%s%llu", i ? "," : "", (unsigned long long)dim[i]);
		n *= dim[i];
	}
	mm_buf_put(&f->data, v, n * sizeof *v);
	mm_buf_printf(&f->head, "],\"data_offsets\":[%zu,%zu]}", from, f->data.len);
}

static void put(struct file *f, const char *path)
{
	mm_buf_str(&f->head, "}");
	put_safetensors(path, (const char *)f->head.data, f->head.len, f->data.data, f->data.len);
	mm_buf_fini(&f->head);
	mm_buf_fini(&f->data);
}

/* Writes DIR/base (a copy), DIR/adapter and DIR/merged. */
static void make(const char *dir)
{
	struct mm_err err = { 0 };
	struct file adapter = { 0 }, merged = { 0 };
	struct mm_rng rng;
	char name[256];
	mm_rng_init(&rng, 3);
	mkdir(at(dir, "base"), 0755);
	mkdir(at(dir, "adapter"), 0755);
	mkdir(at(dir, "merged"), 0755);
	copy_dir(BASE, at(dir, "base"));
	copy_file(BASE "/config.json", at(dir, "merged/config.json"));
	struct mm_ckpt *ck = mm_ckpt_open(BASE, NULL, &err);
	for (size_t i = 0; i < mm_ckpt_n_tensor(ck); i++) {
		const struct mm_tensor *t = mm_ckpt_tensor(ck, i);
		float *w = malloc(t->n_elem * sizeof *w);
		assert_int_equal(mm_ckpt_read(ck, t, 0, t->n_elem, w, &err), 0);
		for (size_t k = 0; k < MM_COUNT(target); k++) {
			size_t len = strlen(target[k]);
			if (strncmp(t->name, target[k], len) != 0 || strcmp(t->name + len, ".weight") != 0)
				continue;
			size_t rows = t->dim[0], cols = t->dim[1];
			float *a = malloc(RANK * cols * sizeof *a), *b = malloc(rows * RANK * sizeof *b);
			for (size_t j = 0; j < RANK * cols; j++)
				a[j] = (float)mm_rng_normal(&rng) * 0.1f;
			for (size_t j = 0; j < rows * RANK; j++)
				b[j] = (float)mm_rng_normal(&rng) * 0.1f;
			for (size_t r = 0; r < rows; r++)
				for (size_t c = 0; c < cols; c++) {
					double sum = 0;
					for (size_t j = 0; j < RANK; j++)
						sum += (double)b[r * RANK + j] * a[j * cols + c];
					w[r * cols + c] = (float)(w[r * cols + c] + (double)ALPHA / RANK * sum);
				}
			format(name, "base_model.model.%s.lora_A.weight", target[k]);
			add(&adapter, name, 2, (const uint64_t[]){ RANK, cols }, a);
			format(name, "base_model.model.%s.lora_B.weight", target[k]);
			add(&adapter, name, 2, (const uint64_t[]){ rows, RANK }, b);
			free(a);
			free(b);
		}
		add(&merged, t->name, t->n_dim, t->dim, w);
		free(w);
	}
	mm_ckpt_close(ck);
	put(&adapter, at(dir, "adapter/adapter_model.safetensors"));
	put(&merged, at(dir, "merged/model.safetensors"));
	put_text(at(dir, "adapter/adapter_config.json"),
		"{\"peft_type\":\"LORA\",\"task_type\":\"CAUSAL_LM\",\"r\":4,\"lora_alpha\":10,\"lora_dropout\":0.1,"
		"\"bias\":\"none\",\"fan_in_fan_out\":false,\"target_modules\":[\"q_proj\"],\"base_model_name_or_"
		"path\":\"/home/someone/base\"}");
}

static void score(const char *path, const char *search, double *lp, uint32_t n)
{
	struct mm_err err = { 0 };
	const struct mm_model_opts opts = { .compute = MM_COMPUTE_F32, .search_dir = search };
	struct mm_model *m = mm_model_open(path, &opts, &err);
	uint32_t id[64];
	for (uint32_t i = 0; i < n; i++)
		id[i] = (i * 911 + 17) % 4000;
	if (!m || mm_score_ids(m, id, n, lp, &err))
		fail_msg("%s: %s", path, err.text);
	mm_model_close(m);
}

static void adapter_equals_the_merged_model(void **state)
{
	(void)state;
	double base[64], adapter[64], merged[64], moved = 0;
	char *dir = scratch_new();
	make(dir);
	score(at(dir, "base"), NULL, base, 64);
	score(at(dir, "adapter"), dir, adapter, 64);
	score(at(dir, "merged"), NULL, merged, 64);
	for (int i = 0; i < 63; i++) {
		moved = fmax(moved, fabs(base[i] - merged[i]));
		if (!(fabs(adapter[i] - merged[i]) < 2e-5)) /* order of a few f32 additions */
			fail_msg("token %d: %.7f, expected %.7f", i, adapter[i], merged[i]);
	}
	assert_true(moved > 0.1); /* or the test would see nothing */
	scratch_free(dir);
}

static void probe_says_what_it_is(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	char *dir = scratch_new();
	make(dir);
	copy_file(BASE "/tokenizer.json", at(dir, "adapter/tokenizer.json"));
	json_t *j = mm_probe(at(dir, "adapter"), dir, &err), *files, *f;
	assert_non_null(j);
	assert_string_equal(json_string_value(json_object_get(j, "state")), "ready");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(j, "meta"), "base_claimed")), "/home/someone/base");
	size_t i, base = 0;
	files = json_object_get(j, "files");
	json_array_foreach (files, i, f)
		base += strstr(json_string_value(json_object_get(f, "name")), "/base/") != NULL;
	assert_int_equal(base, 2); /* its result changes with the base's config and weights */
	json_decref(j);
	rename(at(dir, "base"), at(dir, "gone"));
	assert_non_null(j = mm_probe(at(dir, "adapter"), dir, &err));
	assert_string_equal(json_string_value(json_object_get(j, "state")), "waiting");
	assert_string_equal(json_string_value(json_object_get(json_object_get(j, "reason"), "code")), "no_base");
	json_decref(j);
	scratch_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adapter_equals_the_merged_model),
		cmocka_unit_test(probe_says_what_it_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
