/* test_ckpt_lora.c - adapters against the naive sum, element by element; what is refused; where the base is looked for.
 */
#include "ckpt_util.h"

#include <math.h>

#define OUT 6
#define IN  5
#define R   2

struct spec {
	const char *name;
	unsigned n;
	size_t dim[2];
	const float *v;
};

/* An F32 safetensors file. */
static void put_tensors(const char *path, const struct spec *s, size_t n)
{
	struct mm_buf head = { 0 }, data = { 0 };
	mm_buf_str(&head, "{");
	for (size_t i = 0; i < n; i++) {
		size_t count = s[i].dim[0] * (s[i].n > 1 ? s[i].dim[1] : 1), from = data.len;
		mm_buf_put(&data, s[i].v, count * sizeof(float));
		mm_buf_printf(
			&head, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%zu", i ? "," : "", s[i].name, s[i].dim[0]);
		if (s[i].n > 1)
			mm_buf_printf(&head, ",%zu", s[i].dim[1]);
		mm_buf_printf(&head, "],\"data_offsets\":[%zu,%zu]}", from, data.len);
	}
	mm_buf_str(&head, "}");
	put_safetensors(path, (const char *)head.data, head.len, data.data, data.len);
	mm_buf_fini(&head);
	mm_buf_fini(&data);
}

struct world {
	char *dir;
	float w[OUT * IN], embd[7 * IN], norm[IN], a[R * IN], b[OUT * R], ea[R * 7], eb[IN * R];
};

static void fill(struct mm_rng *rng, float *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		v[i] = (float)mm_rng_normal(rng);
}

#define W    "model.layers.0.self_attn.q_proj.weight"
#define PEFT "base_model.model."

static int world_new(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct mm_rng rng;
	mm_rng_init(&rng, 11);
	fill(&rng, w->w, OUT * IN);
	fill(&rng, w->embd, 7 * IN);
	fill(&rng, w->norm, IN);
	fill(&rng, w->a, R * IN);
	fill(&rng, w->b, OUT * R);
	fill(&rng, w->ea, R * 7);
	fill(&rng, w->eb, IN * R);
	w->dir = scratch_new();
	mkdir(at(w->dir, "base"), 0755);
	mkdir(at(w->dir, "adapter"), 0755);
	put_text(at(w->dir, "base/config.json"),
		"{\"model_type\":\"llama\",\"vocab_size\":7,\"tie_word_embeddings\":true}");
	const struct spec base[] = { { W, 2, { OUT, IN }, w->w },
		{ "model.embed_tokens.weight", 2, { 7, IN }, w->embd },
		{ "model.norm.weight", 1, { IN, 1 }, w->norm } };
	put_tensors(at(w->dir, "base/model.safetensors"), base, MM_COUNT(base));
	const struct spec lora[] = { { PEFT "model.layers.0.self_attn.q_proj.lora_A.weight", 2, { R, IN }, w->a },
		{ PEFT "model.layers.0.self_attn.q_proj.lora_B.weight", 2, { OUT, R }, w->b } };
	put_tensors(at(w->dir, "adapter/adapter_model.safetensors"), lora, MM_COUNT(lora));
	*state = w;
	return 0;
}

static int world_free(void **state)
{
	struct world *w = *state;
	scratch_free(w->dir);
	free(w);
	return 0;
}

static struct mm_ckpt *open_with(struct world *w, const char *config, struct mm_ckpt_why *why, struct mm_err *err)
{
	put_text(at(w->dir, "adapter/adapter_config.json"), config);
	*why = (struct mm_ckpt_why){ 0 };
	return mm_ckpt_open_ex(at(w->dir, "adapter"), w->dir, 0, why, err);
}

static struct mm_ckpt *must_open(struct world *w, const char *config)
{
	struct mm_err err = { 0 };
	struct mm_ckpt_why why;
	struct mm_ckpt *ck = open_with(w, config, &why, &err);
	if (!ck)
		fail_msg("%s", err.text);
	return ck;
}

static void expect_merged(struct world *w, const char *config, double scale)
{
	struct mm_err err = { 0 };
	struct mm_ckpt *ck = must_open(w, config);
	const struct mm_tensor *t = mm_ckpt_find(ck, W);
	assert_non_null(t->overlay);
	float v[OUT * IN], part[3];
	assert_int_equal(mm_ckpt_read(ck, t, 0, OUT * IN, v, &err), 0);
	for (int i = 0; i < OUT; i++)
		for (int j = 0; j < IN; j++) {
			double want = w->w[i * IN + j];
			for (int k = 0; k < R; k++)
				want += scale * w->b[i * R + k] * w->a[k * IN + j];
			if (fabs(want - v[i * IN + j]) > 1e-6 * (1 + fabs(want))) /* a few roundings of f32 */
				fail_msg("[%d][%d] %g, expected %g", i, j, (double)v[i * IN + j], want);
		}
	assert_int_equal(mm_ckpt_read(ck, t, 8, 3, part, &err), 0); /* across a row's end */
	assert_memory_equal(part, v + 8, sizeof part);
	assert_null(mm_ckpt_find(ck, "model.norm.weight")->overlay);
	mm_ckpt_close(ck);
}

static void scale_follows_the_config(void **state)
{
	expect_merged(*state,
		"{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":16,\"base_model_name_or_path\":\"org/base\"}", 8);
	expect_merged(*state,
		"{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":16,\"use_rslora\":true,\"base_model_name_or_path\":"
		"\"base\"}",
		16 / sqrt(2));
	expect_merged(*state,
		"{\"peft_type\":\"LORA\",\"r\":9,\"lora_alpha\":16,\"alpha_pattern\":{\"k_proj\":3,\"self_attn.q_"
		"proj\":4},\"base_model_name_or_path\":\"/x/base/\"}",
		2);
	expect_merged(*state,
		"{\"peft_type\":\"LORA\",\"lora_alpha\":1,\"init_lora_weights\":\"gaussian\",\"alpha_pattern\":{\"^"
		"model.layers.0.*\":6},\"base_model_name_or_path\":\"./base\"}",
		3);
}

static void what_changes_the_result_is_refused(void **state)
{
	static const char *const extra[] = { "\"use_dora\":true", "\"init_lora_weights\":\"pissa_niter_4\"",
		"\"lora_bias\":true", "\"layer_replication\":[[0,1]]", "\"trainable_token_indices\":[1]",
		"\"peft_type\":\"IA3\"" };
	for (size_t i = 0; i < MM_COUNT(extra); i++) {
		struct mm_err err = { 0 };
		struct mm_ckpt_why why;
		char config[400], key[64];
		bool type = strstr(extra[i], "peft_type");
		format(config, "{%s%s,\"base_model_name_or_path\":\"base\"}", type ? "" : "\"peft_type\":\"LORA\",",
			extra[i]);
		assert_null(open_with(*state, config, &why, &err));
		assert_int_equal(err.code, MM_EUNSUPPORTED);
		format(key, "%.*s", (int)strcspn(extra[i] + 1, "\""), extra[i] + 1);
		if (!strstr(err.text, key))
			fail_msg("%s is not named: %s", key, err.text);
		assert_false(why.may_pass);
	}
}

static void conv1d_and_embedding_are_turned(void **state)
{
	struct world *w = *state;
	struct mm_err err = { 0 };
	put_text(at(w->dir, "base/config.json"), "{\"model_type\":\"gpt2\"}");
	/* [in, out] as Conv1D keeps it: the same numbers, so the delta is (B A)^T */
	const struct spec base[] = { { "h.0.attn.c_attn.weight", 2, { IN, OUT }, w->w },
		{ "wte.weight", 2, { 7, IN }, w->embd } };
	put_tensors(at(w->dir, "base/model.safetensors"), base, MM_COUNT(base));
	const struct spec lora[] = { { PEFT "transformer.h.0.attn.c_attn.lora_A.weight", 2, { R, IN }, w->a },
		{ PEFT "transformer.h.0.attn.c_attn.lora_B.weight", 2, { OUT, R }, w->b },
		{ PEFT "transformer.wte.lora_embedding_A", 2, { R, 7 }, w->ea },
		{ PEFT "transformer.wte.lora_embedding_B", 2, { IN, R }, w->eb } };
	put_tensors(at(w->dir, "adapter/adapter_model.safetensors"), lora, MM_COUNT(lora));
	struct mm_ckpt *ck = must_open(w, "{\"peft_type\":\"LORA\",\"lora_alpha\":2,\"fan_in_fan_out\":true,\"base_"
					  "model_name_or_path\":\"base\"}");
	float v[7 * IN];
	assert_int_equal(mm_ckpt_read(ck, mm_ckpt_find(ck, "h.0.attn.c_attn.weight"), 0, IN * OUT, v, &err), 0);
	for (int i = 0; i < IN; i++)
		for (int o = 0; o < OUT; o++) {
			double want = w->w[i * OUT + o];
			for (int k = 0; k < R; k++)
				want += (double)w->b[o * R + k] * w->a[k * IN + i];
			assert_true(fabs(want - v[i * OUT + o]) <= 1e-6 * (1 + fabs(want)));
		}
	assert_int_equal(mm_ckpt_read(ck, mm_ckpt_find(ck, "wte.weight"), 0, 7 * IN, v, &err), 0);
	for (int t = 0; t < 7; t++)
		for (int j = 0; j < IN; j++) {
			double want = w->embd[t * IN + j];
			for (int k = 0; k < R; k++)
				want += (double)w->eb[j * R + k] * w->ea[k * 7 + t];
			assert_true(fabs(want - v[t * IN + j]) <= 1e-6 * (1 + fabs(want)));
		}
	mm_ckpt_close(ck);
}

static void saved_modules_replace_and_untie(void **state)
{
	struct world *w = *state;
	struct mm_err err = { 0 };
	float embd[9 * IN], v[9 * IN];
	struct mm_rng rng;
	mm_rng_init(&rng, 5);
	fill(&rng, embd, 9 * IN);
	const struct spec lora[] = { { PEFT "model.embed_tokens.weight", 2, { 9, IN }, embd },
		{ PEFT "model.norm.modules_to_save.weight", 1, { IN, 1 }, embd } };
	put_tensors(at(w->dir, "adapter/adapter_model.safetensors"), lora, MM_COUNT(lora));
	struct mm_ckpt *ck = must_open(w, "{\"peft_type\":\"LORA\",\"modules_to_save\":[\"embed_tokens\",\"norm\"],"
					  "\"base_model_name_or_path\":\"base\"}");
	assert_int_equal(mm_ckpt_read(ck, mm_ckpt_find(ck, "model.embed_tokens.weight"), 0, 9 * IN, v, &err), 0);
	assert_memory_equal(v, embd, sizeof embd);
	assert_int_equal(mm_ckpt_read(ck, mm_ckpt_find(ck, "model.norm.weight"), 0, IN, v, &err), 0);
	assert_memory_equal(v, embd, IN * sizeof *v);
	/* The head was tied to the embedding before it was trained: it keeps the base's. */
	assert_int_equal(mm_ckpt_read(ck, mm_ckpt_find(ck, "lm_head.weight"), 0, 7 * IN, v, &err), 0);
	assert_memory_equal(v, w->embd, sizeof w->embd);
	assert_true(json_is_false(json_object_get(mm_ckpt_config(ck), "tie_word_embeddings")));
	assert_int_equal(json_integer_value(json_object_get(mm_ckpt_config(ck), "vocab_size")), 9);
	mm_ckpt_close(ck);
}

static void tensors_without_a_place_are_named(void **state)
{
	struct world *w = *state;
	struct mm_err err = { 0 };
	struct mm_ckpt_why why;
	const char *config = "{\"peft_type\":\"LORA\",\"base_model_name_or_path\":\"base\"}";
	const struct spec bad[][2] = {
		{ { PEFT "model.layers.9.self_attn.q_proj.lora_A.weight", 2, { R, IN }, w->a },
			{ PEFT "model.layers.9.self_attn.q_proj.lora_B.weight", 2, { OUT, R }, w->b } },
		{ { PEFT "model.layers.0.self_attn.q_proj.lora_A.weight", 2, { R, IN }, w->a },
			{ PEFT "model.norm.weight", 1, { IN, 1 }, w->norm } },
		{ { PEFT "model.layers.0.self_attn.q_proj.lora_B.weight", 2, { OUT, R }, w->b },
			{ PEFT "model.norm.weight", 1, { IN, 1 }, w->norm } },
		{ { PEFT "model.layers.0.self_attn.q_proj.lora_A.weight", 2, { R, OUT }, w->b },
			{ PEFT "model.layers.0.self_attn.q_proj.lora_B.weight", 2, { IN, R }, w->a } },
		{ { PEFT "model.layers.0.self_attn.q_proj.lora_magnitude_vector", 1, { OUT, 1 }, w->b },
			{ PEFT "model.norm.weight", 1, { IN, 1 }, w->norm } },
	};
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		put_tensors(at(w->dir, "adapter/adapter_model.safetensors"), bad[i], 2);
		assert_null(open_with(w, config, &why, &err));
		assert_int_equal(err.code, MM_ESHAPE);
		if (!strstr(err.text, bad[i][0].name))
			fail_msg("case %zu: %s", i, err.text);
	}
}

static void base_is_found_by_its_path(void **state)
{
	struct world *w = *state;
	struct mm_err err = { 0 };
	struct mm_ckpt_why why;
	mkdir(at(w->dir, "org"), 0755);
	mkdir(at(w->dir, "org/base"), 0755);
	copy_dir(at(w->dir, "base"), at(w->dir, "org/base"));
	struct mm_ckpt *ck = must_open(w, "{\"peft_type\":\"LORA\",\"base_model_name_or_path\":\"org/base\"}");
	assert_true(strstr(ck->lora->base_dir, "/org/base"));
	mm_ckpt_close(ck);
	assert_null(open_with(w, "{\"peft_type\":\"LORA\",\"base_model_name_or_path\":\"other/base\"}", &why, &err));
	assert_int_equal(err.code, MM_ECONFLICT); /* base and org/base are equally near */
	assert_null(open_with(w, "{\"peft_type\":\"LORA\",\"base_model_name_or_path\":\"org/nonesuch\"}", &why, &err));
	assert_int_equal(err.code, MM_ENOENT);
	assert_true(why.may_pass);
	assert_string_equal(why.code, "no_base");
	/* A hub cache: the snapshot stands for org/name. */
	char cache[4096];
	format(cache, "%s/models--meta--tiny", w->dir);
	mkdir(cache, 0755);
	mkdir(at(cache, "snapshots"), 0755);
	mkdir(at(cache, "snapshots/0123abcd"), 0755);
	copy_dir(at(w->dir, "base"), at(cache, "snapshots/0123abcd"));
	ck = must_open(w, "{\"peft_type\":\"LORA\",\"base_model_name_or_path\":\"meta/tiny\"}");
	assert_true(strstr(ck->lora->base_dir, "0123abcd"));
	mm_ckpt_close(ck);
}

static void pickled_adapter_is_not_opened(void **state)
{
	struct world *w = *state;
	struct mm_err err = { 0 };
	struct mm_ckpt_why why;
	rename(at(w->dir, "adapter/adapter_model.safetensors"), at(w->dir, "adapter/adapter_model.bin"));
	assert_null(open_with(w, "{\"peft_type\":\"LORA\",\"base_model_name_or_path\":\"base\"}", &why, &err));
	assert_int_equal(err.code, MM_EUNSUPPORTED);
	assert_true(strstr(err.text, "adapter_model.bin") && strstr(err.text, "save_pretrained"));
}

#define WORLD(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)
int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(scale_follows_the_config),
		WORLD(what_changes_the_result_is_refused),
		WORLD(conv1d_and_embedding_are_turned),
		WORLD(saved_modules_replace_and_untie),
		WORLD(tensors_without_a_place_are_named),
		WORLD(base_is_found_by_its_path),
		WORLD(pickled_adapter_is_not_opened),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
