/* test_family.c: who a config belongs to, defaults and old and new keys, options that are refused by name, and that no
 * value of any key can do harm. */
#include "model/model_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static int read_text(const char *text, struct mm_hp *hp, struct mm_err *err)
{
	const char *arch;
	json_t *j = mm_json_parse(text, strlen(text), "config.json", err);
	assert_non_null(j);
	const struct mm_family *f = mm_family_of(j, &arch, err);
	int rc = f ? mm_hp_read(hp, f, j, NULL, err) : -1;
	if (rc)
		memset(hp, 0, sizeof(*hp));
	json_decref(j);
	return rc;
}

static void refused(const char *text, enum mm_err_code code, const char *says, const char *and)
{
	struct mm_err err = { 0 };
	struct mm_hp hp;
	if (!read_text(text, &hp, &err))
		fail_msg("accepted: %s", text);
	if (err.code != code || !strstr(err.text, says) || !strstr(err.text, and))
		fail_msg("%s: %s: %s", text, mm_err_name(err.code), err.text);
}

static void test_refusals(void **state)
{
	(void)state;
	refused("{\"architectures\":[\"FooForCausalLM\"],\"model_type\":\"foo\"}", MM_EUNSUPPORTED, "FooForCausalLM",
		"gpt_neox");
	refused("{}", MM_EFORMAT, "no architecture", "");
	refused("{\"model_type\":\"llama\",\"hidden_act\":\"wobble\"}", MM_EUNSUPPORTED, "hidden_act", "wobble");
	refused("{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"spiral\",\"factor\":2}}", MM_EUNSUPPORTED,
		"rope_type", "spiral");
	refused("{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"linear\"}}", MM_EFORMAT, "factor", "");
	refused("{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8}}", MM_EFORMAT,
		"low_freq_factor", "");
	refused("{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"gptq\"}}", MM_EUNSUPPORTED,
		"quantization_config", "gptq");
	refused("{\"model_type\":\"qwen3\",\"num_hidden_layers\":1,\"layer_types\":[\"linear_attention\"]}",
		MM_EUNSUPPORTED, "layer_types", "linear_attention");
	refused("{\"model_type\":\"gemma3_text\",\"use_bidirectional_attention\":true}", MM_EUNSUPPORTED,
		"use_bidirectional_attention", "true");
	refused("{\"model_type\":\"gemma\",\"use_bidirectional_attention\":true}", MM_EUNSUPPORTED,
		"use_bidirectional_attention", "true");
	refused("{\"model_type\":\"gemma2\",\"use_bidirectional_attention\":true}", MM_EUNSUPPORTED,
		"use_bidirectional_attention", "true");
	refused("{\"model_type\":\"mpt\",\"attn_config\":{\"qk_ln\":true}}", MM_EUNSUPPORTED, "qk_ln", "true");
	refused("{\"model_type\":\"gpt2\",\"add_cross_attention\":true}", MM_EUNSUPPORTED, "add_cross_attention",
		"true");
	refused("{\"model_type\":\"llama\",\"hidden_size\":\"many\"}", MM_EFORMAT, "hidden_size", "many");
	refused("{\"model_type\":\"llama\",\"num_attention_heads\":0}", MM_EFORMAT, "heads", "0");
	refused("{\"model_type\":\"llama\",\"num_attention_heads\":32,\"num_key_value_heads\":5}", MM_EFORMAT, "32",
		"5");
	refused("{\"model_type\":\"llama\",\"num_hidden_layers\":100000000}", MM_EFORMAT, "layers", "100000000");
	refused("{\"model_type\":\"gpt_neo\",\"num_layers\":2,\"attention_types\":[[[\"global\",\"weird\"],1]]}",
		MM_EUNSUPPORTED, "attention_types", "weird");
}

static void test_defaults(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_hp h;
	assert_int_equal(read_text("{\"model_type\":\"mistral\"}", &h, &err), 0);
	assert_int_equal(h.layer[0].window, 4096);
	assert_int_equal(h.n_head_kv, 8);
	mm_hp_fini(&h);
	assert_int_equal(read_text("{\"model_type\":\"mistral\",\"sliding_window\":null,\"num_key_value_heads\":null,"
				   "\"head_dim\":null}",
				 &h, &err),
		0);
	assert_int_equal(h.layer[31].window, 0);
	assert_int_equal(h.n_head_kv, 32);
	assert_int_equal(h.d_head, 128);
	mm_hp_fini(&h);
	assert_int_equal(read_text("{\"model_type\":\"falcon\",\"num_kv_heads\":8}", &h, &err), 0);
	assert_int_equal(h.n_head_kv, 1);
	assert_true(h.tie);
	mm_hp_fini(&h);
	assert_int_equal(read_text("{\"model_type\":\"gpt_neox\",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_"
				   "theta\":5000.0,"
				   "\"partial_rotary_factor\":0.5}}",
				 &h, &err),
		0);
	assert_true(h.rope[0].theta == 5000 && h.rope[0].d_rot == 48);
	assert_false(h.tie);
	mm_hp_fini(&h);
	assert_int_equal(
		read_text("{\"model_type\":\"qwen2\",\"sliding_window\":8,\"use_sliding_window\":false}", &h, &err), 0);
	assert_int_equal(h.layer[31].window, 0);
	mm_hp_fini(&h);
	assert_int_equal(
		read_text("{\"model_type\":\"qwen2\",\"sliding_window\":8,\"use_sliding_window\":true}", &h, &err), 0);
	assert_int_equal(h.layer[27].window, 0);
	assert_int_equal(h.layer[28].window, 8);
	mm_hp_fini(&h);
}

static void read_ok(const char *text, struct mm_hp *h)
{
	struct mm_err err;
	if (read_text(text, h, &err))
		fail_msg("%s: %s", text, err.text);
}

/* What the reference's classes make of keys that are null, contradict each other or mean nothing to them. */
static void test_odd_keys(void **state)
{
	(void)state;
	struct mm_hp h;
	read_ok("{\"model_type\":\"gpt_neo\",\"num_layers\":2,\"attention_types\":[[[\"global\"],2]],"
		"\"attention_layers\":[\"local\",\"global\"]}",
		&h);
	assert_true(h.layer[0].window == 256 && h.layer[1].window == 0);
	mm_hp_fini(&h);
	read_ok("{\"model_type\":\"gptj\",\"rope_theta\":5.0,\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":"
		"2.0}}",
		&h);
	assert_true(h.rope[0].theta == 10000 && h.rope[0].scaling == MM_ROPE_DEFAULT);
	mm_hp_fini(&h);
	read_ok("{\"model_type\":\"phi3\",\"partial_rotary_factor\":0.05}", &h); /* 4.8 of 96, 4 */
	assert_true(h.d_rot == 4 && h.rope[0].d_exp == 4);
	mm_hp_fini(&h);
	read_ok("{\"model_type\":\"phi3\",\"partial_rotary_factor\":0.06}", &h); /* 5.76, 5: the next even number */
	assert_true(h.d_rot == 6 && h.rope[0].d_rot == 6 && h.rope[0].d_exp == 5);
	mm_hp_fini(&h);
	read_ok("{\"model_type\":\"qwen2_moe\",\"num_experts\":0}", &h);
	assert_true(h.layer[0].mask == (MM_L_ATTN | MM_L_DENSE) && !h.flag_moe);
	mm_hp_fini(&h);
	read_ok("{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2.0,\"truncate\":null}}",
		&h);
	assert_false(h.rope[0].truncate);
	mm_hp_fini(&h);
	read_ok("{\"model_type\":\"llama\",\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":null,"
		"\"original_max_position_embeddings\":512}}",
		&h);
	assert_true(h.rope[0].factor == 4);
	mm_hp_fini(&h);
	read_ok("{\"model_type\":\"gemma3\",\"text_config\":{\"final_logit_softcapping\":7.0}}", &h);
	assert_true(h.softcap_logit == 0);
	mm_hp_fini(&h);
	read_ok("{\"model_type\":\"gemma3_text\",\"final_logit_softcapping\":7.0}", &h);
	assert_true(h.softcap_logit == 7);
	mm_hp_fini(&h);
	read_ok("{\"model_type\":\"starcoder2\",\"use_bias\":null}", &h); /* None is false, absent is the default */
	assert_false(h.bias_qkv || h.bias_o || h.bias_ffn);
	mm_hp_fini(&h);
	read_ok("{\"model_type\":\"gpt2\",\"tie_word_embeddings\":null}", &h); /* and no head in the file */
	assert_true(h.tie);
	mm_hp_fini(&h);
}

static void test_gemma3_ropes(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_hp h;
	const char *v5 =
		"{\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\","
		"\"factor\":8.0,"
		"\"rope_theta\":500000.0},\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":7000.0}}}";
	const char *v4 =
		"{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"gemma3_text\",\"rope_theta\":500000.0,"
		"\"rope_local_base_freq\":7000.0,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8.0}}}";
	const char *both[] = { v5, v4 };
	for (size_t i = 0; i < 2; i++) {
		if (read_text(both[i], &h, &err))
			fail_msg("%s", err.text);
		assert_true(h.rope[0].theta == 500000 && h.rope[0].scaling == MM_ROPE_LINEAR && h.rope[0].factor == 8);
		assert_true(h.rope[1].theta == 7000 && h.rope[1].scaling == MM_ROPE_DEFAULT);
		assert_int_equal(h.layer[4].rope, 1);
		assert_int_equal(h.layer[5].rope, 0);
		assert_int_equal(h.layer[5].window, 0);
		mm_hp_fini(&h);
	}
}

#define GEMMA3                                                                                                         \
	"{\"general.architecture\":\"gemma3\",\"gemma3.block_count\":6,\"gemma3.embedding_length\":64,"                \
	"\"gemma3.attention.head_count\":4,\"gemma3.feed_forward_length\":128,\"gemma3.vocab_size\":70"

/* Keys that newer converters write: which layers slide, the sliding layers' base, yarn's numbers. */
static void test_gguf_keys(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		unsigned slides; /* bit l: layer l */
	} c[] = {
		{ GEMMA3 ",\"gemma3.attention.sliding_window\":16}", 0x1f },
		{ GEMMA3 "}", 0 },
		{ GEMMA3 ",\"gemma3.attention.sliding_window\":16,\"gemma3.attention.sliding_window_pattern\":3}",
			0x1b },
		{ GEMMA3 ",\"gemma3.attention.sliding_window\":16,\"gemma3.attention.sliding_window_pattern\":0}",
			0x3f },
		{ GEMMA3 ",\"gemma3.attention.sliding_window\":16,\"gemma3.attention.sliding_window_pattern\":"
			 "[true,false,false,true,true,false]}",
			0x19 },
	};
	struct mm_err err;
	struct mm_hp h;
	for (size_t i = 0; i < MM_COUNT(c); i++) {
		if (read_text(c[i].text, &h, &err))
			fail_msg("%s", err.text);
		for (size_t l = 0; l < 6; l++) {
			assert_int_equal(h.layer[l].window, c[i].slides >> l & 1 ? 16 : 0);
			assert_int_equal(h.layer[l].rope, c[i].slides >> l & 1);
		}
		assert_true(h.rope[1].theta == 10000);
		mm_hp_fini(&h);
	}
	assert_int_equal(read_text(GEMMA3 ",\"gemma3.rope.freq_base_swa\":7000.0}", &h, &err), 0);
	assert_true(h.rope[1].theta == 7000);
	mm_hp_fini(&h);
	refused(GEMMA3 ",\"gemma3.attention.sliding_window_pattern\":[true]}", MM_EFORMAT, "sliding_window_pattern",
		"list of 6");
	refused(GEMMA3 ",\"gemma3.rope.scaling.type\":\"yarn\",\"gemma3.rope.scaling.yarn_ext_factor\":0.5}",
		MM_EUNSUPPORTED, "yarn_ext_factor", "0.5");
	assert_int_equal(read_text(GEMMA3 ",\"gemma3.rope.scaling.type\":\"yarn\",\"gemma3.rope.scaling.factor\":4.0,"
					  "\"gemma3.rope.scaling.yarn_attn_factor\":1.25,"
					  "\"gemma3.rope.scaling.yarn_beta_fast\":8.0}",
				 &h, &err),
		0);
	assert_true(h.rope[0].attn_factor == 1.25 && h.rope[0].beta_fast == 8 && h.rope[0].beta_slow == 1);
	mm_hp_fini(&h);
}

/* Every family with nothing but its name: the reference's defaults make a model. */
static void test_bare(void **state)
{
	(void)state;
	for (size_t i = 0; i < mm_family_count; i++)
		for (const char *const *t = mm_family_table[i]->model_types; t && *t; t++) {
			struct mm_err err;
			struct mm_hp h;
			char text[128];
			snprintf(text, sizeof(text), "{\"model_type\":\"%s\"}", *t);
			if (!strcmp(*t, "deepseek_v2")) /* num_experts_per_tok has no default in the reference */
				continue;
			if (read_text(text, &h, &err))
				fail_msg("%s: %s", *t, err.text);
			mm_hp_fini(&h);
		}
}

/* Any key with any kind of value: an error or a model, never a crash (run under the sanitizers too). */
static void test_hostile(void **state)
{
	(void)state;
	const char *const values[] = { "null", "true", "-1", "0", "1", "3", "1e300", "4294967296",
		"9223372036854775807", "0.5", "\"x\"", "[]", "[[1,2],[3]]", "[\"sliding_attention\"]", "{}",
		"{\"type\":5}", "{\"rope_type\":\"yarn\",\"factor\":1e-30}",
		"{\"rope_type\":\"longrope\",\"short_factor\":[1],\"long_factor\":[]}",
		"{\"rope_type\":\"dynamic\",\"factor\":-3}", "[[[\"global\"],1000000000]]" };
	const char *const keys[] = { "layer_types", "rope_scaling", "rope_parameters", "attention_types",
		"no_rope_layers", "mlp_only_layers", "decoder_sparse_step", "text_config", "attn_config",
		"sliding_window", "sliding_window_pattern", "use_sliding_window", "max_window_layers", "afn",
		"quantization_config", "original_max_position_embeddings", "num_experts_per_tok", "n_group",
		"topk_group" };
	for (size_t i = 0; i < mm_family_count; i++) {
		const struct mm_family *f = mm_family_table[i];
		for (size_t k = 0; k < f->n_hp + MM_COUNT(keys); k++)
			for (size_t v = 0; v < MM_COUNT(values); v++) {
				struct mm_err err;
				struct mm_hp h;
				char key[64], text[512];
				const char *name = k < f->n_hp ? f->hp[k].hf : keys[k - f->n_hp];
				if (!name || !f->model_types)
					continue;
				snprintf(key, sizeof(key), "%.*s", (int)strcspn(name, "|."), name);
				snprintf(text, sizeof(text), "{\"model_type\":\"%s\",\"%s\":%s}", f->model_types[0],
					key, values[v]);
				if (!read_text(text, &h, &err))
					mm_hp_fini(&h);
				else
					assert_true(err.text[0] != 0);
			}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_odd_keys),
		cmocka_unit_test(test_gemma3_ropes),
		cmocka_unit_test(test_gguf_keys),
		cmocka_unit_test(test_bare),
		cmocka_unit_test(test_hostile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
