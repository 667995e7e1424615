/* Scores as the harness and the leaderboard publish them: each shape into the table, and what must be refused. */
#include "client/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char models[] =
	"[{\"name\":\"llama-a\"},{\"name\":\"org/gpt2\"},{\"name\":\"x/twin\"},{\"name\":\"y/twin\"},"
	"{\"name\":\"e\\\"v,il\"}]";

/* The table, NULL when refused; mm_buf_fini it. */
static const char *table(const char *json, struct mm_buf *out, struct mm_err *err)
{
	json_t *m = json_loads(models, 0, NULL);
	*out = (struct mm_buf){ 0 };
	*err = (struct mm_err){ 0 };
	int rc = mm_scores_json(json, strlen(json), m, out, err);
	json_decref(m);
	return rc ? NULL : (const char *)out->data;
}

static void is(const char *json, const char *want)
{
	struct mm_buf out;
	struct mm_err err;
	const char *got = table(json, &out, &err);
	if (!got)
		fail_msg("%s: %s", json, err.text);
	assert_string_equal(got, want);
	mm_buf_fini(&out);
}

static void test_harness(void **state)
{
	(void)state;
	/* 0.4: the metric that the leaderboards use, parts of a group left out, errors never */
	is("{\"results\":{\"arc_challenge\":{\"alias\":\"arc_challenge\",\"acc,none\":0.5,\"acc_stderr,none\":0.01,"
	   "\"acc_norm,none\":0.55},\"mmlu\":{\"acc,none\":0.25,\"alias\":\"mmlu\"},\"mmlu_law\":{\"acc,none\":0.1,"
	   "\"alias\":\" - law\"},\"gsm8k\":{\"exact_match,strict-match\":0.3,\"exact_match,flexible-extract\":0.4},"
	   "\"wikitext\":{\"word_perplexity,none\":12.5},\"leaderboard_ifeval\":{\"prompt_level_strict_acc,none\":0.2,"
	   "\"inst_level_strict_acc,none\":0.6}},\"config\":{\"model\":\"hf\",\"model_args\":\"pretrained=/srv/models/"
	   "llama-a,dtype=float32\"}}",
		"model,arc_challenge,mmlu,gsm8k,leaderboard_ifeval\nllama-a,0.55,0.25,0.3,0.6\n");
	/* the first leaderboard: shots in the name, subjects of MMLU as their mean */
	is("{\"config_general\":{\"model_name\":\"openai/"
	   "gpt2\"},\"results\":{\"harness|arc:challenge|25\":{\"acc\":0.2,"
	   "\"acc_norm\":0.25},\"harness|hendrycksTest-law|5\":{\"acc\":0.25},\"harness|hendrycksTest-art|5\":{\"acc\":"
	   "0.5},"
	   "\"harness|truthfulqa:mc|0\":{\"mc1\":0.2,\"mc2\":0.4},\"all\":{\"acc\":0.9}}}",
		"model,arc:challenge,truthfulqa:mc,mmlu\norg/gpt2,0.25,0.4,0.375\n");
	is("{\"results\":{\"t\":{\"acc\":1}},\"config\":{\"model_args\":{\"pretrained\":\"org/gpt2\"}}}",
		"model,t\norg/gpt2,1\n");
	/* truthfulqa sometimes has none */
	is("{\"config_general\":{\"model_name\":\"gpt2\"},\"results\":{\"harness|truthfulqa:mc|0\":{\"mc1\":NaN,"
	   "\"mc2\": NaN},\"harness|gsm8k|5\":{\"acc\":0.5,\"acc_stderr\":-Infinity,\"note\":\"a NaN \\\" NaN\"}}}",
		"model,gsm8k\norg/gpt2,0.5\n");
	/* lighteval: its own suites, and averages */
	is("{\"config_general\":{\"model_config\":{\"model_name\":\"gpt2\"}},\"results\":{\"leaderboard|arc:challenge|"
	   "25\":"
	   "{\"acc_norm\":0.25},\"leaderboard|mmlu:law|5\":{\"acc\":0.1},\"leaderboard|mmlu:_average|5\":{\"acc\":0.3},"
	   "\"lighteval|gsm8k|5|0\":{\"qem\":0.2},\"all\":{\"acc\":0.2}}}",
		"model,arc:challenge,mmlu,gsm8k\norg/gpt2,0.25,0.3,0.2\n");
}

/* Groups within groups, as the second leaderboard's results have them. */
static void test_groups(void **state)
{
	(void)state;
	is("{\"results\":{\"leaderboard\":{\"acc,none\":0.11,\"acc_norm,none\":0.3,\"exact_match,none\":0.01,"
	   "\"alias\":\"leaderboard\"},\"leaderboard_bbh\":{\"acc_norm,none\":0.32,\"acc_norm_stderr,none\":0.005,"
	   "\"alias\":\" - leaderboard_bbh\"},\"leaderboard_bbh_boolean_expressions\":{\"acc_norm,none\":0.6,"
	   "\"alias\":\"  - "
	   "leaderboard_bbh_boolean_expressions\"},\"leaderboard_ifeval\":{\"inst_level_strict_acc,none\":"
	   "0.27,\"inst_level_strict_acc_stderr,none\":\"N/A\",\"alias\":\" - leaderboard_ifeval\"},"
	   "\"leaderboard_math_hard\":{\" \":\" \",\"alias\":\" - leaderboard_math_hard\"},"
	   "\"leaderboard_math_algebra_hard\":{\"exact_match,none\":0.02,\"alias\":\"  - "
	   "leaderboard_math_algebra_hard\"},"
	   "\"leaderboard_mmlu_pro\":{\"acc,none\":0.12,\"alias\":\" - leaderboard_mmlu_pro\"}},"
	   "\"model_name\":\"llama-a\"}",
		"model,leaderboard_bbh,leaderboard_ifeval,leaderboard_math_algebra_hard,leaderboard_mmlu_pro\n"
		"llama-a,0.32,0.27,0.02,0.12\n");
	/* a group without a score of its own */
	is("{\"results\":{\"openllm\":{\" \":\" \",\"alias\":\"Open LLM Leaderboard\"},\"arc_challenge\":{\"alias\":"
	   "\" - arc_challenge\",\"acc,none\":0.2,\"acc_norm,none\":0.22},\"mmlu\":{\"acc,none\":0.25,\"alias\":\" - "
	   "mmlu\"},\"mmlu_stem\":{\"acc,none\":0.2,\"alias\":\"  - stem\"},\"mmlu_algebra\":{\"acc,none\":0.1,"
	   "\"alias\":\"   - algebra\"},\"winogrande\":{\"acc,none\":0.5,\"alias\":\" - winogrande\"}},\"model_name\":"
	   "\"llama-a\"}",
		"model,arc_challenge,mmlu,winogrande\nllama-a,0.22,0.25,0.5\n");
}

static void test_rows(void **state)
{
	(void)state;
	is("{\"features\":[],\"rows\":[{\"row_idx\":0,\"row\":{\"fullname\":\"meta/llama-a\",\"Model\":\"<a "
	   "href='x'>y</a>\","
	   "\"Average \\u2b06\\ufe0f\":20.5,\"IFEval\":40,\"IFEval Raw\":0.4,\"#Params (B)\":7.5,\"Hub "
	   "\\u2764\\ufe0f\":3,"
	   "\"CO\\u2082 cost (kg)\":1,\"MoE\":false,\"BBH\":null}}]}",
		"model,Average,IFEval\nllama-a,20.5,40\n");
	is("[{\"Model\":\"<a href='x'>org/gpt2</a>\",\"BBH\":1.5},{\"model\":\"unknown/one\",\"MUSR\":2}]",
		"model,BBH,MUSR\norg/gpt2,1.5,\nunknown/one,,2\n");
	is("[{\"id\":\"1\",\"model\":{\"name\":\"e\\\"v,il\",\"sha\":\"a\"},\"evaluations\":{\"ifeval\":{\"name\":"
	   "\"IFEval\","
	   "\"value\":46.1,\"normalized_score\":3}}}]",
		"model,IFEval\n\"e\"\"v,il\",46.1\n");
	/* a row a line, as data frames are written; the table's own column names */
	is("{\"eval_name\":\"x_bfloat16\",\"Precision\":\"bfloat16\",\"T\":\"p\",\"fullname\":\"meta/llama-a\",\"Model "
	   "sha\":\"0\",\"Average \\u2b06\\ufe0f\":20.5,\"Hub \\u2764\\ufe0f\":3,\"#Params (B)\":7,\"Available on the "
	   "hub\":true,\"MATH Lvl 5 Raw\":0.1,\"MATH Lvl 5\":10,\"MMLU-PRO\":NaN,\"Upload To Hub Date\":\"2024-06-01\","
	   "\"Generation\":1}\r\n{\"fullname\":\"gpt2\",\"MATH Lvl 5\":1,\"MMLU-PRO\":2}\n",
		"model,Average,MATH Lvl 5,MMLU-PRO\nllama-a,20.5,10,\norg/gpt2,,1,2\n");
	/* Of two that end alike neither is meant; two of theirs are not one of ours. */
	is("[{\"fullname\":\"z/twin\",\"B\":1}]", "model,B\nz/twin,1\n");
	is("[{\"fullname\":\"a/llama-a\",\"B\":1},{\"fullname\":\"b/llama-a\",\"B\":2}]",
		"model,B\nllama-a,1\nb/llama-a,2\n");
	/* Names without line breaks and escapes; too long ones, and infinite values, have no column. */
	is("[{\"fullname\":\"a\\nb\\u001b[31m\",\"x\\ty\":1,"
	   "\"0123456789012345678901234567890123456789012345678901234567890123\":2}]",
		"model,x?y\na?b?[31m,1\n");
}

static void test_bad(void **state)
{
	static const char *const bad[] = { "", "{", "{}", "[]", "[1]", "[[]]", "[null]", "{\"rows\":[]}",
		"{\"rows\":[{}]}", "{\"results\":{}}", "{\"results\":{},\"model_name\":\"a\"}",
		"{\"results\":{\"t\":{\"acc\":1}}}", "{\"results\":{\"t\":3},\"model_name\":\"a\"}",
		"{\"results\":[],\"model_name\":\"a\"}", "{\"results\":{\"t\":{\"acc\":\"x\"}},\"model_name\":\"a\"}",
		"[{\"fullname\":\"a\"}]", "[{\"fullname\":7,\"B\":1}]",
		"{\"results\":{\"t\":{\"acc\":1}},\"model_name\":\"a\",\"model_name\":\"b\"}",
		"{\"results\":{\"t\":{\"acc\":1e999}},\"model_name\":\"a\"}",
		"{\"results\":{\"t\":{\"acc\":NaN}},\"model_name\":\"a\"}", "{\"fullname\":\"a\",\"B\":1}\n{\"x\"",
		"{\"fullname\":\"a\",\"B\":1}\n{}", "[NaN", "{\"a\":\"NaN\\" };
	(void)state;
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		struct mm_buf out;
		struct mm_err err;
		if (table(bad[i], &out, &err))
			fail_msg("taken: %s", bad[i]);
		assert_string_not_equal(err.text, "");
		mm_buf_fini(&out);
	}
	assert_true(mm_scores_is_json(" \n[]") && mm_scores_is_json("{") && !mm_scores_is_json("model,a\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_harness), cmocka_unit_test(test_groups),
		cmocka_unit_test(test_rows), cmocka_unit_test(test_bad) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
