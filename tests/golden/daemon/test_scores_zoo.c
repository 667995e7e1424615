/* Scores through the daemon's commands on the zoo: import in pieces, what is kept over a restart, prediction against
 * analysis.json, and what is said to bad tables and too little data. */
#include "fake_reg.h"

#include <string.h>

static void no_nan(const json_t *j)
{
	const char *key;
	json_t *v;
	size_t i;
	if (json_is_object(j)) {
		json_object_foreach ((json_t *)j, key, v)
			no_nan(v);
	} else if (json_is_array(j)) {
		json_array_foreach ((json_t *)j, i, v)
			no_nan(v);
	} else if (json_is_real(j)) {
		assert_true(isfinite(json_real_value(j)));
	}
}

static json_t *good(json_t *o)
{
	const char *why = json_string_value(json_object_get(o, "error"));
	if (why)
		fail_msg("%s", why);
	no_nan(o);
	return o;
}

static void refused(json_t *o, const char *words)
{
	const char *why = json_string_value(json_object_get(o, "error"));
	if (!why || !strstr(why, words))
		fail_msg("said \"%s\", not \"%s\"", why ? why : "(accepted)", words);
	json_decref(o);
}

static json_t *import(struct mm_daemon *d, const char *csv, size_t piece)
{
	static int64_t token;
	size_t len = strlen(csv), at = 0;
	json_t *o = NULL;
	token++;
	do {
		size_t n = MM_MIN(piece, len - at);
		json_decref(o);
		json_t *args = json_pack("{s:I, s:I, s:s%, s:b}", "import", (json_int_t)token, "offset", (json_int_t)at,
			"csv", csv + at, n, "more", at + n < len);
		o = ask(d, mm_cmd_scores_import, args, NULL);
		at += n;
	} while (at < len && !json_object_get(o, "error"));
	return o;
}

static double at(const json_t *o, const char *a, const char *b, const char *c)
{
	o = json_object_get(o, a);
	o = b ? json_object_get(o, b) : o;
	o = c ? json_object_get(o, c) : o;
	if (!json_is_number(o))
		fail_msg("%s %s %s: no number", a, b ? b : "", c ? c : "");
	return json_number_value(o);
}

static json_t *find(json_t *list, const char *key, const char *name)
{
	size_t i;
	json_t *o;
	json_array_foreach (list, i, o)
		if (strcmp(json_string_value(json_object_get(o, key)), name) == 0)
			return o;
	fail_msg("no %s", name);
	return NULL;
}

static void zoo_daemon(struct zoo *z, struct mm_daemon *d, bool clip)
{
	zoo_open(z);
	daemon_new(d, &z->texts);
	d->cfg.map.refit_growth = 0;
	d->cfg.map.clip = clip ? 0.02 : 0;
	rooms_start(d);
	for (size_t i = 0; i < z->m.k; i++) {
		struct mm_err err;
		struct mm_model_entry *e = model_add(z->name[i], z->m.row[i], z->m.n);
		e->rec.family = mm_strdup(zoo_fact(z, i, "family"), &err);
		mm_map_scored(d, e);
	}
	settle_down(d);
	json_decref(ask(d, mm_cmd_refit, NULL, NULL));
	settle_down(d);
}

/* Grouped by family the folds are given, and the centring is the reference's: 0.01. Random folds: the mean over ours
 * may differ from the mean over theirs by what both spread. */
static void test_figures(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	size_t len;
	for (int clip = 0; clip < 2; clip++) {
		zoo_daemon(&z, &d, clip);
		char *csv = zoo_read("scores.csv", &len);
		json_t *o = good(import(&d, csv, clip ? 700 : 1 << 20));
		assert_int_equal(at(o, "models", NULL, NULL), z.m.k);
		assert_int_equal(at(o, "scores", NULL, NULL), 7 * z.m.k);
		json_decref(o);
		mm_free(csv);
		rooms_stop(&d);
		rooms_start(&d); /* what was imported is there again */
		settle_down(&d);
		o = good(ask_wait(&d, mm_cmd_predict, NULL));
		json_t *list = json_object_get(o, "benchmarks"), *b;
		size_t i;
		assert_int_equal(json_array_size(list), 7);
		json_array_foreach (list, i, b) {
			const char *name = json_string_value(json_object_get(b, "bench"));
			json_t *want = strcmp(name, "mean") == 0
					       ? zoo_at(&z, clip ? "clipped" : "raw", "ridge_mean_score", NULL)
					       : zoo_at(&z, clip ? "clipped" : "raw", "ridge_per_task", name, NULL);
			json_t *family = json_object_get(b, "by_family");
			assert_int_equal(at(family, "folds", NULL, NULL), 5);
			near_rel(at(family, "transductive", "pearson", NULL),
				json_number_value(json_object_get(want, "leave_bases_out_pearson")), 0, 0.01, name);
			near_rel(at(family, "transductive", "spearman", NULL),
				json_number_value(json_object_get(want, "leave_bases_out_spearman")), 0, 0.01, name);
			double spread = json_number_value(json_object_get(want, "pearson_sd")) +
					at(b, "random", "transductive", "pearson_sd");
			near_rel(at(b, "random", "transductive", "pearson"),
				json_number_value(json_object_get(want, "pearson_mean")), 0, 0.01 + 2 * spread, name);
			if (!clip) /* nothing is learned from all models then */
				assert_true(at(b, "random", "leak_free", "pearson") ==
					    at(b, "random", "transductive", "pearson"));
			else
				near_rel(at(b, "random", "leak_free", "pearson"),
					at(b, "random", "transductive", "pearson"), 0, 0.05, name);
		}
		json_decref(o);
		/* one model, and one benchmark for all */
		o = good(ask_wait(&d, mm_cmd_predict, json_pack("{s:s}", "name", "llama-a")));
		b = find(json_object_get(o, "predictions"), "bench", "mean");
		double p = at(b, "prediction", NULL, NULL), s = at(b, "score", NULL, NULL);
		json_t *iv = json_object_get(b, "interval");
		assert_true(
			json_number_value(json_array_get(iv, 0)) < p && p < json_number_value(json_array_get(iv, 1)));
		assert_true(fabs(p - s) < 5 && json_is_false(json_object_get(b, "outside")));
		json_decref(o);
		o = good(ask_wait(&d, mm_cmd_predict, json_pack("{s:s}", "bench", "mean")));
		assert_int_equal(json_array_size(json_object_get(o, "predictions")), z.m.k);
		b = find(json_object_get(o, "predictions"), "name", "llama-a");
		assert_true(at(b, "prediction", NULL, NULL) == p);
		json_decref(o);
		rooms_stop(&d);
		daemon_free(&d);
		zoo_close(&z);
	}
}

/* Intervals of 95 % hold about that share: each model's leave-one-out interval, all benchmarks. */
static void test_coverage(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	size_t len, i, k, in = 0, n = 0;
	zoo_daemon(&z, &d, true);
	char *csv = zoo_read("scores.csv", &len);
	json_decref(good(import(&d, csv, 1 << 20)));
	mm_free(csv);
	for (size_t b = 0; b < mm_scores_n_bench(&d); b++) {
		json_t *o = good(ask_wait(&d, mm_cmd_predict, json_pack("{s:s}", "bench", mm_scores_bench(&d, b)))), *p;
		json_array_foreach (json_object_get(o, "predictions"), i, p) {
			json_t *iv = json_object_get(p, "interval");
			double s = at(p, "score", NULL, NULL);
			in += s >= json_number_value(json_array_get(iv, 0)) &&
			      s <= json_number_value(json_array_get(iv, 1));
			n++;
		}
		json_decref(o);
	}
	print_message("%zu of %zu scores inside their intervals\n", in, n);
	k = n * 90 / 100;
	assert_true(in >= k);
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

static void test_bad_input(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	double v;
	zoo_daemon(&z, &d, true);
	refused(ask_wait(&d, mm_cmd_predict, NULL), "modelmap scores import");
	refused(ask_wait(&d, mm_cmd_predict, json_pack("{s:s}", "bench", "x")), "modelmap scores import");
	refused(import(&d, "", 100), "table is empty");
	refused(import(&d, "model,x\nllama-a,high\n", 100), "line 2, model llama-a, column x: \"high\" is no number");
	refused(import(&d, "model,x\nno-such,1\n", 100), "none of the 1 models of the table is known");
	refused(import(&d, "model,x\nllama-a,\n", 100), "all its cells are empty");
	assert_int_equal(mm_scores_n_bench(&d), 0);
	/* unknown models are told, the others taken; a constant column is told */
	json_t *o = good(import(&d, "model,x,flat\nllama-a,1,25\nno-such,2,25\nneox-a,3,25\n", 9));
	assert_int_equal(at(o, "n_unknown", NULL, NULL), 1);
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "unknown"), 0)), "no-such");
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "constant"), 0)), "flat");
	json_decref(o);
	/* a bad table changes nothing of what is there */
	refused(import(&d, "model,x\nllama-a,7\nneox-a,bad\n", 100), "no number");
	assert_true(mm_scores_get(&d, reg[zoo_index(&z, "llama-a")], mm_scores_find(&d, "x"), &v) && v == 1);
	/* newer scores replace older ones, empty cells leave them */
	json_decref(good(import(&d, "model,x,y\nllama-a,5,\nmistral-a,2,8\n", 100)));
	assert_true(mm_scores_get(&d, reg[zoo_index(&z, "llama-a")], mm_scores_find(&d, "x"), &v) && v == 5);
	assert_true(mm_scores_get(&d, reg[zoo_index(&z, "llama-a")], mm_scores_find(&d, "flat"), &v) && v == 25);
	assert_false(mm_scores_get(&d, reg[zoo_index(&z, "llama-a")], mm_scores_find(&d, "y"), &v));
	/* three models with a score, all alike, one only: figures where there are any, null where not */
	o = good(ask_wait(&d, mm_cmd_predict, NULL));
	json_t *flat = find(json_object_get(o, "benchmarks"), "bench", "flat");
	assert_true(json_is_true(json_object_get(flat, "constant")));
	assert_true(json_is_null(
		json_object_get(json_object_get(json_object_get(flat, "random"), "leak_free"), "pearson")));
	json_decref(o);
	o = good(ask_wait(&d, mm_cmd_predict, json_pack("{s:s}", "name", "gpt2-a")));
	assert_true(json_is_null(json_object_get(find(json_object_get(o, "predictions"), "bench", "y"), "prediction")));
	assert_true(at(find(json_object_get(o, "predictions"), "bench", "flat"), "prediction", NULL, NULL) == 25);
	json_decref(o);
	refused(ask_wait(&d, mm_cmd_predict, json_pack("{s:s}", "bench", "y")), "fewer than two models");
	refused(ask_wait(&d, mm_cmd_predict, json_pack("{s:s}", "bench", "flot")), "did you mean flat?");
	refused(ask_wait(&d, mm_cmd_predict, json_pack("{s:s}", "domain", "nowhere")), "there is no domain nowhere");
	json_decref(good(ask_wait(&d, mm_cmd_predict, json_pack("{s:s}", "domain", z.texts.domain_name[0]))));
	refused(ask(&d, mm_cmd_scores_drop, json_pack("{s:s}", "bench", "z"), NULL), "there is no benchmark z");
	json_decref(good(ask(&d, mm_cmd_scores_drop, json_pack("{s:s}", "bench", "x"), NULL)));
	assert_int_equal(mm_scores_n_bench(&d), 2);
	/* a piece that does not follow the one before */
	json_decref(good(ask(&d, mm_cmd_scores_import,
		json_pack("{s:i, s:i, s:s, s:b}", "import", 900, "offset", 0, "csv", "model,x\n", "more", 1), NULL)));
	refused(ask(&d, mm_cmd_scores_import, json_pack("{s:i, s:i, s:s}", "import", 900, "offset", 4, "csv", "a,1"),
			NULL),
		"import again");
	rooms_stop(&d);
	rooms_start(&d);
	assert_int_equal(mm_scores_n_bench(&d), 2);
	assert_int_equal(mm_scores_find(&d, "x"), SIZE_MAX);
	settle_down(&d);
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_figures), cmocka_unit_test(test_coverage),
		cmocka_unit_test(test_bad_input) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
