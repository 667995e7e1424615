/* texts_select and place on the zoo: the smaller set keeps the distances as it says, and a model scored on it only is
 * placed beside its relatives, with an interval wider than that of the whole set. */
#include "fake_reg.h"

static json_t *body; /* of the last deferred answer */

static void start(struct zoo *z, struct mm_daemon *d, size_t leave)
{
	zoo_open(z);
	daemon_new(d, &z->texts);
	d->cfg.map.refit_growth = 0;
	rooms_start(d);
	for (size_t i = 0; i < z->m.k; i++)
		if (i != leave)
			mm_map_scored(d, model_add(z->name[i], z->m.row[i], z->m.n));
	settle_down(d);
	json_decref(ask(d, mm_cmd_refit, NULL, NULL));
	settle_down(d);
}

static double num(const json_t *o, const char *key)
{
	if (!json_is_number(json_object_get(o, key)))
		fail_msg("no number %s: %s", key, json_string_value(json_object_get(o, "error")));
	return json_number_value(json_object_get(o, key));
}

static void refused(json_t *o, const char *words)
{
	const char *why = json_string_value(json_object_get(o, "error"));
	if (!why || !strstr(why, words))
		fail_msg("said \"%s\", not \"%s\"", why ? why : "(accepted)", words);
	json_decref(o);
}

/* The values of model x on the texts of a selection, as the client sends them. */
static void values_of(const struct zoo *z, size_t x, const char *jsonl, struct mm_buf *out, size_t *n)
{
	struct mm_err err;
	*n = 0;
	while (*jsonl) {
		size_t len = strcspn(jsonl, "\n");
		json_t *o = mm_json_parse(jsonl, len, "line", &err);
		assert_non_null(o);
		size_t at = (size_t)num(o, "index");
		assert_int_equal(strlen(z->texts.text[at]), z->texts.len[at]);
		assert_string_equal(json_string_value(json_object_get(o, "text")), z->texts.text[at]);
		mm_buf_printf(out, "%s%zu:%.8g:%.8g", *n ? " " : "", at, (double)z->m.row[x][at], num(o, "weight"));
		(*n)++;
		json_decref(o);
		jsonl += len + 1;
	}
	mm_buf_u8(out, 0);
}

static void test_select_place(void **state)
{
	(void)state;
	static const char *const by[] = { "uniform", "length", "kl" };
	static const char *const left[] = { "neox-a-python", "llama-a-code", "qwen2-a-perl", "gpt2-a-docs" };
	double error[3];
	for (size_t m = 0; m < MM_COUNT(left); m++) {
		struct zoo z;
		struct mm_daemon d;
		zoo_open(&z);
		size_t x = zoo_index(&z, left[m]);
		zoo_close(&z);
		start(&z, &d, x);
		for (size_t h = 0; h < 3; h++) {
			struct mm_buf v = { 0 };
			size_t n, i, inside = 0, wider = 0;
			json_t *o;
			body = ask_wait(&d, mm_cmd_texts_select, json_pack("{s:i, s:s}", "n", 300, "by", by[h]));
			error[h] = num(body, "expected_error");
			assert_true(num(body, "n") == 300 && num(body, "of") == z.texts.n && error[h] < 0.2);
			json_decref(body);
			values_of(&z, x, (const char *)finished_data.data, &v, &n);
			assert_int_equal(n, 300);
			body = ask_wait(&d, mm_cmd_place, json_pack("{s:s}", "values", (const char *)v.data));
			assert_true(json_is_true(json_object_get(body, "partial")));
			json_t *list = json_object_get(body, "neighbours");
			assert_int_equal(json_array_size(list), 10);
			json_array_foreach (list, i, o) {
				size_t y = zoo_index(&z, json_string_value(json_object_get(o, "name")));
				struct mm_err err;
				struct mm_interval full;
				double true_kl = mm_dist_pair(z.m.row[x], z.m.row[y], z.m.n, mm_map_clip(&d)) / 2;
				MUST(mm_boot_dist(&d.map->boot, z.m.row[x], z.m.row[y], mm_map_clip(&d), &full, &err));
				double bits = mm_kl_bits_per_byte(2 * true_kl, z.texts.mean_bytes);
				json_t *iv = json_object_get(o, "interval_bits_per_byte");
				double lo = json_number_value(json_array_get(iv, 0)),
				       hi = json_number_value(json_array_get(iv, 1));
				near_rel(num(o, "kl_bits_per_byte"), bits, 0.3, 0, left[m]);
				inside += lo <= bits && bits <= hi;
				wider += hi - lo > mm_kl_bits_per_byte(full.hi - full.lo, z.texts.mean_bytes);
			}
			assert_true(inside >= 8 && wider >= 9); /* of 10; 95 % intervals */
			const char *first = json_string_value(json_object_get(json_array_get(list, 0), "name"));
			assert_string_equal(zoo_fact(&z, zoo_index(&z, first), "base"), zoo_fact(&z, x, "base"));
			assert_int_equal(json_array_size(json_object_get(json_object_get(body, "places"), "pca")), 3);
			assert_int_equal(json_array_size(json_object_get(json_object_get(body, "places"), "tsne")), 2);
			json_decref(body);
			mm_buf_fini(&v);
		}
		assert_true(error[1] < error[0]);
		print_message(
			"%s left out: uniform %.3f, length %.3f, kl %.3f\n", left[m], error[0], error[1], error[2]);
		rooms_stop(&d);
		daemon_free(&d);
		zoo_close(&z);
	}
}

static void test_bad(void **state)
{
	(void)state;
	static const struct {
		const char *values, *why;
	} bad[] = {
		{ "", "at least two texts" },
		{ "1:-5:1", "at least two texts" },
		{ "1:-5:1 1:-5:1", "out of order" },
		{ "1:-5:1 1000:-5:1", "no text's number" },
		{ "1:-5:1 -2:-5:1", "no text's number" },
		{ "1:-5:1 2:nan:1", "no finite log-likelihood" },
		{ "1:-5:1 2:-5:0", "no finite log-likelihood or weight" },
		{ "1:-5:1 2:-5", "no finite log-likelihood or weight" },
		{ "1:-5:1 2:x:1", "no finite log-likelihood or weight" },
		{ "1:-5:1  2:-5:1", "no text's number" },
		{ "1:-5:1 2:-5:1x", "no finite" },
	};
	struct zoo z;
	struct mm_daemon d;
	start(&z, &d, SIZE_MAX);
	for (size_t i = 0; i < MM_COUNT(bad); i++)
		refused(ask_wait(&d, mm_cmd_place, json_pack("{s:s}", "values", bad[i].values)), bad[i].why);
	refused(ask_wait(&d, mm_cmd_place, json_pack("{s:s, s:s}", "values", "1:-5:1 2:-6:1", "texts", "00")),
		"another text set");
	refused(ask_wait(&d, mm_cmd_texts_select, json_pack("{s:i}", "n", 1000)), "no smaller set");
	refused(ask_wait(&d, mm_cmd_texts_select, json_pack("{s:i}", "n", 1)), "one text holds no distance");
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_select_place), cmocka_unit_test(test_bad) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
