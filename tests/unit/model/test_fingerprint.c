/* test_fingerprint.c - what makes two checkpoints the same model, and what does not. */
#include "probe_kit.h"

#include <math.h>

static void shards_do_not_matter(void **state)
{
	struct world *w = *state;
	char *one = quick(w), *three;
	struct mm_hash a = full(w);
	reshard(w, 3, false);
	three = quick(w);
	assert_string_equal(one, three);
	assert_true(mm_hash_eq(a, full(w)));
	free(one);
	free(three);
}

static void noise_in_the_config_does_not_matter(void **state)
{
	struct world *w = *state;
	struct mm_err err = { 0 };
	char *before = quick(w), *after;
	struct mm_hash a = full(w);
	json_t *c = mm_json_load(at(w->m, "config.json"), 1 << 20, &err);
	json_object_set_new(c, "transformers_version", json_string("99.0"));
	json_object_set_new(c, "_name_or_path", json_string("/somewhere"));
	json_dump_file(c, at(w->m, "config.json"), JSON_SORT_KEYS | JSON_INDENT(7));
	after = quick(w);
	assert_string_equal(before, after);
	assert_true(mm_hash_eq(a, full(w)));
	free(after);
	json_object_set_new(c, "rope_theta", json_real(20000));
	json_dump_file(c, at(w->m, "config.json"), 0);
	after = quick(w);
	assert_string_not_equal(before, after);
	assert_false(mm_hash_eq(a, full(w)));
	json_decref(c);
	free(before);
	free(after);
}

static void any_byte_and_the_tokenizer_matter(void **state)
{
	struct world *w = *state;
	struct mm_err err = { 0 };
	struct mm_hash a = full(w);
	size_t n;
	char *data = mm_file_read(weights(w), 64u << 20, &n, &err), *before = quick(w), *after;
	data[n * 3 / 5] ^= 1;
	put_file(weights(w), data, n);
	assert_false(mm_hash_eq(a, full(w)));
	data[n * 3 / 5] ^= 1;
	put_file(weights(w), data, n);
	assert_true(mm_hash_eq(a, full(w)));
	put_text(at(w->m, "tokenizer_config.json"), "{\"add_bos_token\":true}");
	after = quick(w);
	assert_string_not_equal(before, after);
	assert_false(mm_hash_eq(a, full(w)));
	mm_free(data);
	free(before);
	free(after);
}

static void mapped_and_read_are_the_same(void **state)
{
	struct world *w = *state;
	struct mm_err err = { 0 };
	struct mm_hash h;
	struct mm_ckpt *ck = mm_ckpt_open(w->m, w->dir, &err);
	assert_int_equal(mm_fingerprint_ckpt(ck, &h, &err), 0);
	assert_true(mm_hash_eq(h, full(w)));
	mm_ckpt_close(ck);
}

static void sample_of(const char *path, float out[MM_WEIGHT_SAMPLE])
{
	struct mm_err err = { 0 };
	struct mm_ckpt *ck = mm_ckpt_open(path, NULL, &err);
	if (!ck || mm_weight_sample(ck, out, &err))
		fail_msg("%s", err.text);
	mm_ckpt_close(ck);
}

static void sample_knows_other_dtypes(void **state)
{
	struct world *w = *state;
	float a[MM_WEIGHT_SAMPLE], b[MM_WEIGHT_SAMPLE], c[MM_WEIGHT_SAMPLE];
	sample_of(FIXTURE, a);
	reshard(w, 2, true);
	sample_of(w->m, b);
	assert_memory_equal(a, b, sizeof a);
	sample_of("tests/fixtures/zoo/qwen2-a-shakespeare", c);
	int same = 0;
	for (int i = 0; i < MM_WEIGHT_SAMPLE; i++)
		same += a[i] == c[i];
	assert_true(same < MM_WEIGHT_SAMPLE / 4); /* bf16 keeps some weights of a fine-tune where they were */
}

static void sample_knows_gguf(void **state)
{
	(void)state;
	static const struct {
		const char *hf, *gguf;
	} pair[] = { { "conformance/dev/llama-mha", "gguf/dev/llama-f32/model.gguf" },
		{ "conformance/dev/gpt2", "gguf/dev/gpt2-f32/model.gguf" },
		{ "conformance/dev/qwen2", "gguf/dev/qwen2-f32/model.gguf" },
		{ "conformance/dev/mamba", "gguf/dev/mamba-f32/model.gguf" },
		{ "conformance/dev/starcoder2", "gguf/dev/starcoder2-f32/model.gguf" } };
	float a[MM_WEIGHT_SAMPLE], b[MM_WEIGHT_SAMPLE];
	for (size_t i = 0; i < MM_COUNT(pair); i++) {
		const char *p = shared(pair[i].hf);
		if (!p)
			skip();
		sample_of(p, a);
		sample_of(shared(pair[i].gguf), b);
		if (memcmp(a, b, sizeof a))
			fail_msg("%s and %s differ", pair[i].hf, pair[i].gguf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(shards_do_not_matter),
		WORLD(noise_in_the_config_does_not_matter),
		WORLD(any_byte_and_the_tokenizer_matter),
		WORLD(mapped_and_read_are_the_same),
		WORLD(sample_knows_other_dtypes),
		cmocka_unit_test(sample_knows_gguf),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
