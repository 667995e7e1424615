/* test_recurrent.c: families with recurrences or latent attention against the second formulation (naive_core.h,
 * naive_ssm.h, naive_mla.h) on random checkpoints, many configurations each; and the same bits alone, packed in another
 * order, and on one or two threads.
 */
#include "naive_mla.h"
#include "naive_ssm.h"

/* f32 against double: 1e-5 is noise; every wrong term tried moved log-probs by more than 1e-3. */
#define TOLERANCE 1e-4

struct test_case {
	const char *name, *arch, *cfg;
	naive_pass *pass;
};

#define COMMON "\"vocab_size\":61,\"hidden_size\":24,\"num_hidden_layers\":3"
#define MAMBA  "\"model_type\":\"mamba\"," COMMON
#define FMAMBA "\"model_type\":\"falcon_mamba\"," COMMON
#define MAMBA2 "\"model_type\":\"mamba2\"," COMMON ",\"state_size\":6"
#define H1                                                                                                             \
	"\"model_type\":\"falcon_h1\"," COMMON                                                                         \
	",\"intermediate_size\":40,\"num_attention_heads\":4,\"num_key_value_heads\":2,"                               \
	"\"mamba_d_state\":6,\"mamba_n_heads\":6"
#define RG   "\"model_type\":\"recurrent_gemma\"," COMMON ",\"intermediate_size\":80,\"num_attention_heads\":3"
#define LFM  "\"model_type\":\"lfm2\"," COMMON ",\"num_attention_heads\":4,\"num_key_value_heads\":2"
#define RWKV "\"model_type\":\"rwkv\"," COMMON
#define DS                                                                                                             \
	COMMON ",\"intermediate_size\":40,\"moe_intermediate_size\":12,\"num_attention_heads\":3,\"num_key_value_"     \
	       "heads\":3,"                                                                                            \
	       "\"kv_lora_rank\":10,\"qk_rope_head_dim\":8,\"qk_nope_head_dim\":6,\"v_head_dim\":5,\"n_routed_"        \
	       "experts\":8,"                                                                                          \
	       "\"num_experts_per_tok\":3"
#define YARN                                                                                                           \
	"\"rope_scaling\":{\"type\":\"yarn\",\"factor\":40,\"beta_fast\":32,\"beta_slow\":1,\"mscale\":0.707,"         \
	"\"mscale_all_dim\":0.9,"                                                                                      \
	"\"original_max_position_embeddings\":64}"
#define OSS                                                                                                            \
	"\"model_type\":\"gpt_oss\"," COMMON ",\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":8,"    \
	"\"intermediate_size\":16,\"num_local_experts\":6,\"num_experts_per_tok\":2,\"sliding_window\":5"

static const struct test_case cases[] = {
	{ "mamba", "MambaForCausalLM", MAMBA, naive_mamba },
	{ "mamba: biases, untied, other sizes", "MambaForCausalLM",
		MAMBA
		",\"use_bias\":true,\"use_conv_bias\":false,\"tie_word_embeddings\":false,\"intermediate_size\":70,"
		"\"state_size\":5,\"conv_kernel\":3,\"time_step_rank\":7,\"layer_norm_epsilon\":0.01",
		naive_mamba },
	{ "mamba: rank auto, expand 3, relu", "MambaForCausalLM",
		MAMBA ",\"time_step_rank\":\"auto\",\"expand\":3,\"hidden_act\":\"relu\"", naive_mamba },
	{ "falcon_mamba", "FalconMambaForCausalLM", FMAMBA, naive_falcon_mamba },
	{ "falcon_mamba: eps, biases, untied", "FalconMambaForCausalLM",
		FMAMBA ",\"mixer_rms_eps\":0.05,\"use_bias\":true,\"tie_word_embeddings\":false,\"expand\":4",
		naive_falcon_mamba },
	{ "mamba2: one group", "Mamba2ForCausalLM", MAMBA2 ",\"num_heads\":6,\"head_dim\":8,\"n_groups\":1",
		naive_mamba2 },
	{ "mamba2: infinity as version-5 configs write it", "Mamba2ForCausalLM",
		MAMBA2 ",\"num_heads\":6,\"head_dim\":8,\"n_groups\":2,"
		       "\"time_step_limit\":[0.0,{\"__float__\":\"Infinity\"}]",
		naive_mamba2 },
	{ "mamba2: groups, limits, biases, tied", "Mamba2ForCausalLM",
		MAMBA2 ",\"num_heads\":12,\"head_dim\":6,\"n_groups\":3,\"expand\":3,\"use_bias\":true,\"use_conv_"
		       "bias\":false,"
		       "\"tie_word_embeddings\":true,\"time_step_limit\":[0.1,0.5],\"conv_kernel\":2,\"layer_norm_"
		       "epsilon\":0.01",
		naive_mamba2 },
	{ "mamba2: many heads a group, head size 1 less a block", "Mamba2ForCausalLM",
		MAMBA2 ",\"num_heads\":48,\"head_dim\":1,\"n_groups\":2,\"hidden_act\":\"relu\",\"time_step_limit\":[0."
		       "0,1e308]",
		naive_mamba2 },
	{ "falcon_h1", "FalconH1ForCausalLM", H1 ",\"mamba_d_ssm\":null", naive_falcon_h1 },
	{ "falcon_h1: multipliers, norm before gate", "FalconH1ForCausalLM",
		H1 ",\"mamba_d_ssm\":36,\"mamba_n_groups\":2,\"mamba_rms_norm\":true,\"mamba_proj_bias\":true,"
		   "\"projectors_bias\":true,"
		   "\"ssm_multipliers\":[0.5,0.7,1.3,1.1,0.6],\"mlp_multipliers\":[0.6,1.7],\"key_multiplier\":0.4,"
		   "\"attention_in_multiplier\":1.2,\"attention_out_multiplier\":0.8,\"ssm_in_multiplier\":1.3,"
		   "\"ssm_out_multiplier\":0.7,\"embedding_multiplier\":2.5,\"lm_head_multiplier\":0.4,\"head_dim\":8",
		naive_falcon_h1 },
	{ "falcon_h1: norm after gate, biases, tied", "FalconH1ForCausalLM",
		H1
		",\"mamba_d_ssm\":48,\"mamba_n_groups\":3,\"mamba_rms_norm\":true,\"mamba_norm_before_gate\":false,"
		"\"mamba_conv_bias\":false,\"attention_bias\":true,\"mlp_bias\":true,\"mlp_multipliers\":[0.6,1.7],"
		"\"attention_in_multiplier\":0.5,\"key_multiplier\":2,\"tie_word_embeddings\":true,\"mamba_d_head\":16,"
		"\"mamba_n_heads\":3",
		naive_falcon_h1 },
	{ "recurrent_gemma", "RecurrentGemmaForCausalLM", RG ",\"num_key_value_heads\":1", naive_recurrent_gemma },
	{ "recurrent_gemma: pattern, width, untied", "RecurrentGemmaForCausalLM",
		RG ",\"block_types\":[\"attention\",\"recurrent\"],\"lru_width\":36,\"conv1d_width\":3,\"attention_"
		   "bias\":true,"
		   "\"tie_word_embeddings\":false,\"logits_soft_cap\":3,\"rms_norm_eps\":0.01,\"rope_theta\":100",
		naive_recurrent_gemma },
	{ "lfm2", "Lfm2ForCausalLM",
		LFM ",\"intermediate_size\":48,\"block_multiple_of\":5,\"layer_types\":[\"conv\",\"full_attention\","
		    "\"conv\"]",
		naive_lfm2 },
	{ "lfm2: old keys, biases, untied", "Lfm2ForCausalLM",
		LFM ",\"block_ff_dim\":31,\"block_ffn_dim_multiplier\":1.7,\"block_multiple_of\":4,\"full_attn_idxs\":["
		    "0,2],"
		    "\"conv_bias\":true,\"conv_L_cache\":4,\"theta\":500.0,\"tie_embedding\":false,\"norm_eps\":0.01",
		naive_lfm2 },
	{ "lfm2: as it is, attention everywhere", "Lfm2ForCausalLM",
		LFM ",\"intermediate_size\":29,\"block_auto_adjust_ff_dim\":false,\"head_dim\":10", naive_lfm2 },
	{ "rwkv", "RwkvForCausalLM", RWKV, naive_rwkv },
	{ "rwkv: rescaled every layer, widths, tied", "RwkvForCausalLM",
		RWKV ",\"rescale_every\":1,\"attention_hidden_size\":40,\"intermediate_size\":30,\"tie_word_"
		     "embeddings\":true,"
		     "\"layer_norm_epsilon\":0.02",
		naive_rwkv },
	{ "rwkv: never rescaled", "RwkvForCausalLM", RWKV ",\"rescale_every\":0", naive_rwkv },
	{ "deepseek_v2: q rank, groups, yarn", "DeepseekV2ForCausalLM",
		"\"model_type\":\"deepseek_v2\"," DS
		",\"q_lora_rank\":9,\"topk_method\":\"group_limited_greedy\",\"n_group\":4,"
		"\"topk_group\":2,\"n_shared_experts\":2,\"routed_scaling_factor\":1.7,\"first_k_dense_replace\":1,"
		"\"attention_bias\":true,\"norm_topk_prob\":true," YARN,
		naive_deepseek2 },
	{ "deepseek_v2: all experts, tied", "DeepseekV2ForCausalLM",
		"\"model_type\":\"deepseek_v2\"," DS
		",\"q_lora_rank\":null,\"n_shared_experts\":1,\"tie_word_embeddings\":true,"
		"\"rms_norm_eps\":0.01",
		naive_deepseek2 },
	{ "deepseek_v3: groups, yarn", "DeepseekV3ForCausalLM",
		"\"model_type\":\"deepseek_v3\"," DS
		",\"q_lora_rank\":9,\"n_group\":4,\"topk_group\":2,\"first_k_dense_replace\":1," YARN,
		naive_deepseek3 },
	{ "deepseek_v3: halves, no q rank, no normalising", "DeepseekV3ForCausalLM",
		"\"model_type\":\"deepseek_v3\"," DS
		",\"q_lora_rank\":null,\"n_group\":1,\"topk_group\":1,\"first_k_dense_replace\":0,"
		"\"rope_interleave\":false,\"norm_topk_prob\":false,\"routed_scaling_factor\":0.7,\"n_shared_experts\":"
		"2,"
		"\"attention_bias\":true",
		naive_deepseek3 },
	{ "gpt_oss: config without rope_scaling", "GptOssForCausalLM", OSS, naive_gpt_oss },
	{ "gpt_oss: no scaling, layer types, tied", "GptOssForCausalLM",
		OSS ",\"rope_scaling\":null,\"layer_types\":[\"full_attention\",\"sliding_attention\",\"sliding_"
		    "attention\"],"
		    "\"tie_word_embeddings\":true",
		naive_gpt_oss },
	{ "gpt_oss: yarn over few positions", "GptOssForCausalLM",
		OSS ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":8,\"beta_fast\":32,\"beta_slow\":1,"
		    "\"truncate\":false,"
		    "\"original_max_position_embeddings\":128}",
		naive_gpt_oss },
	{ "gpt_oss: experts in four bits", "GptOssForCausalLM",
		"\"model_type\":\"gpt_oss\",\"vocab_size\":61,\"hidden_size\":32,\"num_hidden_layers\":2,"
		"\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":8,\"intermediate_size\":64,"
		"\"num_local_experts\":4,\"num_experts_per_tok\":2,\"rope_scaling\":null,"
		"\"quantization_config\":{\"quant_method\":\"mxfp4\"}",
		naive_gpt_oss },
};

#define N_SEQ 5
static const size_t lengths[N_SEQ] = { 2, 3, 17, 70, 9 };

struct run {
	uint32_t *id[N_SEQ];
	double *want[N_SEQ], *got[N_SEQ], *again[N_SEQ];
};

static void run_init(struct run *r, struct mm_rng *rng)
{
	struct mm_err err;
	for (size_t s = 0; s < N_SEQ; s++) {
		r->id[s] = mm_calloc(lengths[s], sizeof(uint32_t), &err);
		r->want[s] = mm_calloc(lengths[s], sizeof(double), &err);
		r->got[s] = mm_calloc(lengths[s], sizeof(double), &err);
		r->again[s] = mm_calloc(lengths[s], sizeof(double), &err);
		assert_true(r->id[s] && r->want[s] && r->got[s] && r->again[s]);
		for (size_t t = 0; t < lengths[s]; t++)
			r->id[s][t] = (uint32_t)mm_rng_below(rng, 61);
	}
}

static void run_fini(struct run *r)
{
	for (size_t s = 0; s < N_SEQ; s++) {
		mm_free(r->id[s]);
		mm_free(r->want[s]);
		mm_free(r->got[s]);
		mm_free(r->again[s]);
	}
}

static struct mm_model *open_model(const char *dir, unsigned threads)
{
	struct mm_err err;
	struct mm_model_opts opts = { .compute = MM_COMPUTE_F32, .threads = threads };
	struct mm_model *m = mm_model_open(dir, &opts, &err);
	if (!m)
		fail_msg("%s", err.text);
	return m;
}

/* Alone, and packed backwards: the same bits. */
static void bits_check(struct mm_model *m, struct run *r)
{
	struct mm_err err;
	const uint32_t *id[N_SEQ];
	size_t len[N_SEQ];
	double *out[N_SEQ];
	for (size_t s = 0; s < N_SEQ; s++) {
		id[s] = r->id[N_SEQ - 1 - s];
		len[s] = lengths[N_SEQ - 1 - s];
		out[s] = r->again[N_SEQ - 1 - s];
	}
	if (mm_score_sequences(m, N_SEQ, id, len, out, NULL, &err))
		fail_msg("%s", err.text);
	for (size_t s = 0; s < N_SEQ; s++)
		assert_memory_equal(r->got[s], r->again[s], (lengths[s] - 1) * sizeof(double));
	for (size_t s = 0; s < N_SEQ; s++) {
		if (mm_score_ids(m, r->id[s], lengths[s], r->again[s], &err))
			fail_msg("%s", err.text);
		assert_memory_equal(r->got[s], r->again[s], (lengths[s] - 1) * sizeof(double));
	}
}

static double worst_diff(const struct run *r)
{
	double worst = 0;
	for (size_t s = 0; s < N_SEQ; s++)
		for (size_t t = 0; t + 1 < lengths[s]; t++) {
			double d = fabs(r->got[s][t] - r->want[s][t]);
			worst = d > worst || d != d ? d : worst;
		}
	return worst;
}

static void check_case(void **state)
{
	const struct test_case *c = *state;
	struct mm_err err;
	char dir[] = "/tmp/mm-recurrent-XXXXXX", path[128], text[2048];
	struct ck *ck = calloc(1, sizeof(*ck));
	struct run r;
	assert_true(ck && mkdtemp(dir));
	snprintf(text, sizeof(text), "{\"architectures\":[\"%s\"],%s}", c->arch, c->cfg);
	json_t *cfg = json_loads(text, 0, NULL);
	assert_non_null(cfg);
	ck->cfg = cfg;
	mm_rng_init(&ck->rng, 7);
	run_init(&r, &ck->rng);
	for (size_t s = 0; s < N_SEQ; s++) {
		c->pass(ck, r.id[s], lengths[s], r.want[s]);
		ck_sweep(ck);
	}
	ck_write(ck, dir);
	struct mm_model *m = open_model(dir, 2);
	if (mm_score_sequences(m, N_SEQ, (const uint32_t *const *)r.id, lengths, r.got, NULL, &err))
		fail_msg("%s", err.text);
	double d = worst_diff(&r);
	print_message("%-48s max |diff| %.1e\n", c->name, d);
	if (!(d <= TOLERANCE))
		fail_msg("%s: log-probs differ by %g", c->name, d);
	bits_check(m, &r);
	mm_model_close(m);
	m = open_model(dir, 1);
	bits_check(m, &r);
	mm_model_close(m);
	run_fini(&r);
	ck_free(ck);
	json_decref(cfg);
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/config.json", dir);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	static struct CMUnitTest tests[MM_COUNT(cases)];
	const char *only = getenv("MM_CASE"); /* part of a name, to try one family */
	size_t n = 0;
	for (size_t i = 0; i < MM_COUNT(cases); i++)
		if (!only || strstr(cases[i].name, only))
			tests[n++] = (struct CMUnitTest){ cases[i].name, check_case, NULL, NULL,
				(void *)(uintptr_t)&cases[i] };
	return n ? _cmocka_run_group_tests("recurrent", tests, n, NULL, NULL) : 1;
}
