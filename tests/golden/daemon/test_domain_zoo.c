/* near, dist, cluster and map on one domain, and the conditions of near, over the zoo: against distances of the
 * gathered columns. */
#include "fake_reg.h"

static void start(struct zoo *z, struct mm_daemon *d)
{
	zoo_open(z);
	daemon_new(d, &z->texts);
	d->cfg.map.refit_growth = 0;
	rooms_start(d);
	for (size_t i = 0; i < z->m.k; i++) {
		struct mm_err err;
		json_t *f = json_object_get(z->truth, z->name[i]);
		struct mm_model_entry *e = model_add(z->name[i], z->m.row[i], z->m.n);
		e->rec.family = mm_strdup(zoo_fact(z, i, "family"), &err);
		e->rec.dtype = mm_strdup(strcmp(zoo_fact(z, i, "dtype"), "float32") ? "bf16" : "f32", &err);
		e->rec.params = (uint64_t)json_integer_value(json_object_get(f, "params"));
		e->rec.bytes = e->rec.params * (strcmp(e->rec.dtype, "f32") ? 2 : 4);
		mm_map_scored(d, e);
	}
	settle_down(d);
	json_decref(ask(d, mm_cmd_refit, NULL, NULL));
	settle_down(d);
}

static void stop(struct zoo *z, struct mm_daemon *d)
{
	rooms_stop(d);
	daemon_free(d);
	zoo_close(z);
}

static double num(const json_t *o, const char *key)
{
	if (!json_is_number(json_object_get(o, key)))
		fail_msg("no number %s: %s", key, json_string_value(json_object_get(o, "error")));
	return json_number_value(json_object_get(o, key));
}

static const char *str(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void refused(json_t *o, const char *words)
{
	if (!str(o, "error") || !strstr(str(o, "error"), words))
		fail_msg("said \"%s\", not \"%s\"", str(o, "error") ? str(o, "error") : "(accepted)", words);
	json_decref(o);
}

/* KL of two models on the texts of a domain, nats per text, the plain way. */
static double plain(const struct zoo *z, double clip, size_t domain, size_t a, size_t b)
{
	double sum = 0, sum2 = 0;
	size_t n = 0;
	for (size_t s = 0; s < z->texts.n; s++) {
		if (z->texts.domain[s] != domain)
			continue;
		double x = fmax((double)z->m.row[a][s], clip) - fmax((double)z->m.row[b][s], clip);
		sum += x;
		sum2 += x * x;
		n++;
	}
	return (sum2 / (double)n - sum / (double)n * (sum / (double)n)) / 2;
}

static void test_near_dist(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	start(&z, &d);
	double clip = mm_map_clip(&d);
	for (size_t c = 0; c < z.texts.n_domain; c++) {
		const char *domain = z.texts.domain_name[c];
		size_t a = zoo_index(&z, "llama-a"), i;
		json_t *o = ask_wait(&d, mm_cmd_near,
			       json_pack("{s:s, s:s, s:i}", "name", "llama-a", "domain", domain, "k", 40)),
		       *n;
		assert_string_equal(str(o, "domain"), domain);
		assert_int_equal(json_array_size(json_object_get(o, "neighbours")), z.m.k - 1);
		double last = 0;
		json_array_foreach (json_object_get(o, "neighbours"), i, n) {
			size_t b = zoo_index(&z, str(n, "name"));
			/* 1e-5: sums of squares of a difference of large numbers, added the plain way */
			near_rel(num(n, "kl_nats_per_text"), plain(&z, clip, c, a, b), 1e-5, 1e-5, str(n, "name"));
			assert_true(num(n, "kl_nats_per_text") >= last);
			last = num(n, "kl_nats_per_text");
		}
		json_t *one = ask(&d, mm_cmd_dist,
			json_pack("{s:s, s:s, s:s}", "a", "llama-a", "b", "qwen2-a", "domain", domain), NULL);
		near_rel(num(one, "kl_nats_per_text"), plain(&z, clip, c, a, zoo_index(&z, "qwen2-a")), 1e-5, 1e-5,
			domain);
		assert_true(num(one, "texts") == 200 && num(one, "stderr_nats_per_text") > 0);
		json_decref(one);
		json_decref(o);
	}
	refused(ask_wait(&d, mm_cmd_near, json_pack("{s:s, s:s}", "name", "llama-a", "domain", "perk")),
		"did you mean perl?");
	refused(ask(&d, mm_cmd_dist, json_pack("{s:s, s:s, s:s}", "a", "llama-a", "b", "qwen2-a", "domain", "c"), NULL),
		"there is no domain c");
	stop(&z, &d);
}

static void expect_near(struct mm_daemon *d, json_t *args, const char *first, size_t n)
{
	json_object_set_new(args, "name", json_string("llama-a"));
	json_object_set_new(args, "k", json_integer(100));
	json_t *o = ask_wait(d, mm_cmd_near, args), *list = json_object_get(o, "neighbours");
	if (json_array_size(list) != n || (n && strcmp(str(json_array_get(list, 0), "name"), first) != 0))
		fail_msg("%zu neighbours, first %s; expected %zu, %s", json_array_size(list),
			n ? str(json_array_get(list, 0), "name") : "", n, first);
	json_decref(o);
}

static void test_conditions(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	start(&z, &d);
	expect_near(&d, json_object(), "llama-a-mix-code-025", 33);
	expect_near(&d, json_pack("{s:b}", "smaller", 1), "qwen2-a-mix-shakespeare-050", 22);
	expect_near(&d, json_pack("{s:f}", "max_params", 840000.0), "qwen2-a-mix-shakespeare-050", 18);
	expect_near(&d, json_pack("{s:s}", "family", "gpt2"), "gpt2-a", 3);
	expect_near(&d, json_pack("{s:s}", "dtype", "float32"), "gpt2-a", 4);
	expect_near(&d, json_pack("{s:f}", "max_bytes", 1.0), "", 0);
	expect_near(&d, json_pack("{s:s, s:s}", "family", "gpt2", "domain", "wiki"), "gpt2-a", 3);
	refused(ask_wait(&d, mm_cmd_near, json_pack("{s:s, s:s}", "name", "llama-a", "family", "lama")),
		"no model is of family lama; there are: ");
	stop(&z, &d);
}

static void test_cluster(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	size_t i, members = 0;
	json_t *c;
	start(&z, &d);
	json_t *o =
		ask_wait(&d, mm_cmd_cluster, json_pack("{s:s, s:s, s:i}", "domain", "perl", "linkage", "ward", "n", 6));
	assert_string_equal(str(o, "domain"), "perl");
	assert_int_equal(json_array_size(json_object_get(o, "merges")), z.m.k - 1);
	assert_int_equal(json_array_size(json_object_get(o, "silhouettes")), z.m.k);
	json_array_foreach (json_object_get(o, "clusters"), i, c) {
		size_t n = json_array_size(json_object_get(c, "members"));
		members += n;
		/* the name is the beginning of the middle's, which is one of them */
		assert_int_equal(strncmp(str(c, "name"), str(c, "middle"), strcspn(str(c, "name"), " (")), 0);
		assert_true(n > 0);
	}
	assert_int_equal(members, z.m.k);
	json_decref(o);
	stop(&z, &d);
}

/* K of 1 and 2, N of 1, equal models, a domain of one text: answers without NaN, or an error that says why. */
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

static struct mm_texts small_texts(size_t n)
{
	static const char *text[4] = { "one", "two", "three", "four" };
	static size_t len[4] = { 3, 3, 5, 4 };
	static uint32_t domain[4] = { 0, 1, 1, 1 };
	static char first[] = "lonely", second[] = "rest";
	static char *names[2] = { first, second };
	return (struct mm_texts){ .n = n,
		.text = text,
		.len = len,
		.domain = domain,
		.n_domain = n > 1 ? 2 : 1,
		.domain_name = names,
		.hash = { 7, n },
		.mean_bytes = 4 };
}

static void test_small(void **state)
{
	(void)state;
	static const float vec[3][4] = { { -10, -20, -30, -35 }, { -11, -25, -29, -30 }, { -10, -20, -30, -35 } };
	static const mm_cmd_fn fn[] = { mm_cmd_near, mm_cmd_dist, mm_cmd_map, mm_cmd_tree, mm_cmd_cluster,
		mm_cmd_predict, mm_cmd_epochs, mm_cmd_scores };
	static const char *const method[] = { "pca", "mds", "tsne" }, *const domain[] = { NULL, "lonely", "rest" };
	for (size_t n = 1; n <= 4; n += 3)
		for (size_t k = 0; k <= 3; k++) {
			struct mm_daemon d;
			struct mm_texts t = small_texts(n);
			static const char *const names[] = { "a", "b", "twin" };
			daemon_new(&d, &t);
			rooms_start(&d);
			for (size_t i = 0; i < k; i++)
				mm_map_scored(&d, model_add(names[i], vec[i], n));
			settle_down(&d);
			if (k)
				json_decref(ask(&d, mm_cmd_refit, NULL, NULL));
			settle_down(&d);
			if (k) {
				json_decref(ask(&d, mm_cmd_scores_import,
					json_pack("{s:i, s:i, s:s}", "import", 1, "offset", 0, "csv",
						"model,x,flat\na,1,5\nb,2,5\ntwin,3,5\n"),
					NULL));
			}
			for (size_t f = 0; f < MM_COUNT(fn); f++)
				for (size_t w = 0; w < 3; w++)
					for (size_t c = 0; c < (n > 1 ? 3u : 2u); c++) {
						json_t *args = json_pack("{s:s, s:s, s:s, s:s}", "name", "a", "a", "a",
							"b", k > 1 ? "b" : "a", "method", method[w]);
						if (domain[c])
							json_object_set_new(args, "domain", json_string(domain[c]));
						json_t *o = ask_wait(&d, fn[f], args);
						no_nan(o);
						bool asks = fn[f] == mm_cmd_near || fn[f] == mm_cmd_dist;
						if (k && asks && n == 1)
							assert_non_null(strstr(str(o, "error"), "one text"));
						if (k && asks && n > 1)
							assert_int_equal(c == 1, str(o, "error") != NULL);
						json_decref(o);
					}
			rooms_stop(&d);
			d.texts = (struct mm_texts){ 0 };
			daemon_free(&d);
		}
}

/* A long map is written piece by piece and is the same as one written at once, also when the members change their order
 * in the middle, and when the daemon stops before it is done nothing is left behind. */
static void test_long_map(void **state)
{
	(void)state;
	enum { K = 700 };
	struct mm_daemon d;
	struct mm_texts t = small_texts(4);
	struct mm_rng r;
	struct mm_err err;
	struct mm_reply reply = { .fd = -1, .token = 5 };
	mm_rng_init(&r, 1);
	daemon_new(&d, &t);
	d.cfg.map.layouts = MM_LAYOUTS_NONE;
	d.cfg.map.refit_growth = 0;
	rooms_start(&d);
	for (size_t i = 0; i < K; i++) {
		float v[4];
		char name[32];
		for (size_t s = 0; s < 4; s++)
			v[s] = (float)(-100 + 10 * mm_rng_normal(&r));
		snprintf(name, sizeof name, "model-%zu", i);
		mm_map_scored(&d, model_add(name, v, 4));
	}
	settle_down(&d);
	json_decref(ask(&d, mm_cmd_refit, NULL, NULL));
	settle_down(&d);
	struct mm_reply once = { .fd = -1 };
	MUST(mm_cmd_map(&d, NULL, &once, &err));
	assert_false(once.deferred);
	json_t *pieces = ask_wait(&d, mm_cmd_map, NULL);
	assert_int_equal(json_array_size(json_object_get(pieces, "points")), K);
	assert_true(json_equal(json_object_get(pieces, "points"), json_object_get(once.body, "points")));
	assert_true(json_equal(json_object_get(pieces, "clip"), json_object_get(once.body, "clip")));
	json_decref(pieces);
	json_decref(once.body);
	/* a vector is replaced after the first piece: its model goes to the end, and everybody comes once */
	size_t had = json_array_size(finished);
	MUST(mm_cmd_map(&d, NULL, &reply, &err));
	assert_true(reply.deferred && d.slices);
	assert_true(sd_event_run(d.loop, 0) >= 0);
	mm_map_scored(&d, reg[3]);
	while (json_array_size(finished) == had)
		assert_true(sd_event_run(d.loop, (uint64_t)-1) >= 0);
	json_t *seen = json_object(), *p;
	size_t i;
	json_array_foreach (json_object_get(json_array_get(finished, had), "points"), i, p)
		json_object_set_new(seen, str(p, "name"), json_true());
	assert_int_equal(i, K);
	assert_int_equal(json_object_size(seen), K);
	json_decref(seen);
	settle_down(&d);
	reply = (struct mm_reply){ .fd = -1, .token = 6 };
	MUST(mm_cmd_map(&d, NULL, &reply, &err));
	rooms_stop(&d);
	assert_null(d.slices);
	d.texts = (struct mm_texts){ 0 };
	daemon_free(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_near_dist), cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_cluster), cmocka_unit_test(test_small), cmocka_unit_test(test_long_map) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
