/* The daemon's map over the zoo's vectors: neighbours as in analysis.json, nobody moves inside an epoch, epochs survive
 * a restart. */
#include "map_kit.h"

static void check_near(struct zoo *z, struct mm_daemon *d)
{
	for (size_t i = 0; i < z->m.k; i++) {
		json_t *want = zoo_at(z, "clipped", "nearest", z->name[i], NULL);
		double two_kl = json_number_value(json_array_get(want, 1));
		json_t *r = ask(d, mm_cmd_near, json_pack("{s:s, s:i}", "name", z->name[i], "k", 3), NULL);
		json_t *list = json_object_get(r, "neighbours"), *first = json_array_get(list, 0);
		assert_int_equal(json_array_size(list), 3);
		assert_string_equal(str(first, "name"), json_string_value(json_array_get(want, 0)));
		near_rel(num(first, "kl_nats_per_text"), two_kl / 2, 1e-6, 1e-6, z->name[i]);
		near_rel(num(first, "kl_bits_per_byte"), two_kl / (2 * z->texts.mean_bytes * M_LN2), 1e-6, 1e-8,
			z->name[i]);
		assert_true(num(first, "kl_nats_per_text") <= num(json_array_get(list, 1), "kl_nats_per_text"));
		json_t *dist =
			ask(d, mm_cmd_dist, json_pack("{s:s, s:s}", "a", z->name[i], "b", str(first, "name")), NULL);
		near_rel(num(dist, "kl_nats_per_text"), two_kl / 2, 1e-6, 1e-6, z->name[i]);
		near_rel(num(dist, "clip"), json_number_value(zoo_at(z, "clip_threshold", NULL)), 1e-6, 0, "clip");
		json_decref(dist);
		json_decref(r);
	}
}

/* Five orders of arrival: the same neighbours after the last refit, no alert about a healthy model. Every other order
 * has all its work on the worker, and one does not wait between the arrivals. */
static void test_orders(void **state)
{
	(void)state;
	struct zoo z;
	zoo_open(&z);
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct mm_daemon d;
		size_t order[64];
		daemon_new(&d, &z.texts);
		rooms_start(&d);
		d.map->sync_max = seed % 2 ? d.map->sync_max : 0;
		shuffle(order, z.m.k, seed);
		for (size_t i = 0; i < z.m.k; i++) {
			struct mm_model_entry *e = model_add(z.name[order[i]], z.m.row[order[i]], z.m.n);
			mm_map_scored(&d, e);
			mm_alerts_model(&d, e);
			if (seed != 4)
				settle_down(&d);
		}
		settle_down(&d);
		/* records say nothing about copies here; leaks are told when the loop had time for the tests */
		for (size_t i = 0; i < d.alerts->n; i++)
			assert_string_equal(d.alerts->rec[i]->kind, "leak");
		assert_true(
			mm_map_epoch(&d) > (seed == 4 ? 0 : 3)); /* it grew from nothing: several automatic refits */
		refit(&d);
		check_near(&z, &d);
		rooms_stop(&d);
		daemon_free(&d);
	}
	zoo_close(&z);
}

static json_t *points(struct mm_daemon *d, json_t *args)
{
	json_t *map = ask(d, mm_cmd_map, args, NULL), *by = json_object(), *p;
	size_t i;
	assert_null(json_object_get(map, "error"));
	json_array_foreach (json_object_get(map, "points"), i, p)
		json_object_set(by, str(p, "name"), p);
	json_decref(map);
	return by;
}

static double moved(json_t *a, json_t *b)
{
	double far = 0;
	const char *name;
	json_t *p;
	json_object_foreach (a, name, p) {
		json_t *q = json_object_get(b, name);
		assert_non_null(q);
		far = fmax(far, fabs(num(p, "x") - num(q, "x")) + fabs(num(p, "y") - num(q, "y")) +
					fabs(num(p, "z") - num(q, "z")));
	}
	return far;
}

static void test_nobody_moves(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	d.cfg.map.refit_growth = 0.5;
	rooms_start(&d);
	for (size_t i = 0; i < 20; i++)
		arrive(&d, model_add(z.name[i], z.m.row[i], z.m.n));
	refit(&d);
	uint64_t epoch = mm_map_epoch(&d);
	json_t *before = points(&d, NULL);
	for (size_t i = 20; i < 29; i++) /* 9 < 50 % of 20 */
		arrive(&d, model_add(z.name[i], z.m.row[i], z.m.n));
	assert_int_equal(mm_map_epoch(&d), epoch);
	json_t *after = points(&d, NULL);
	assert_int_equal(json_object_size(after), 29);
	assert_true(moved(before, after) == 0);
	/* restart: same epoch, same places */
	rooms_stop(&d);
	rooms_start(&d);
	assert_int_equal(mm_map_epoch(&d), epoch);
	json_t *again = points(&d, NULL);
	assert_int_equal(json_object_size(again), 29);
	assert_true(moved(after, again) == 0);
	/* the tenth new one makes the next epoch; what moved is told; the old map can still be read */
	arrive(&d, model_add(z.name[29], z.m.row[29], z.m.n));
	assert_int_equal(mm_map_epoch(&d), epoch + 1);
	json_t *old = points(&d, json_pack("{s:I}", "epoch", (json_int_t)epoch));
	assert_true(moved(old, before) < 1e-9);
	json_t *list = ask(&d, mm_cmd_epochs, NULL, NULL), *all = json_object_get(list, "epochs");
	assert_int_equal(json_array_size(all), epoch + 1);
	json_t *dis = json_object_get(json_array_get(all, epoch), "displacement");
	assert_int_equal(num(dis, "models"), 30); /* all had a place before, the last one for a moment */
	assert_true(num(dis, "p50") > 0 && num(dis, "p95") >= num(dis, "p50"));
	json_t *bad = ask(&d, mm_cmd_map, json_pack("{s:i}", "epoch", 999), NULL);
	assert_string_equal(str(bad, "code"), "not_found");
	json_decref(bad);
	json_decref(list);
	json_decref(old);
	json_decref(again);
	json_decref(after);
	json_decref(before);
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

/* Every method has all models, near ones near; new models find their place; a restart keeps them; bars and filters. */
static void test_methods(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_err err;
	static const char *const methods[] = { "pca", "mds", "tsne" };
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	d.cfg.map.refit_growth = 10;
	rooms_start(&d);
	for (size_t late = 0; late < 2; late++) { /* every fourth comes after the fit */
		for (size_t i = 0; i < z.m.k; i++) {
			json_t *t = json_object_get(z.truth, z.name[i]);
			if ((i % 4 == 3) != (late == 1))
				continue;
			struct mm_model_entry *e = model_add(z.name[i], z.m.row[i], z.m.n);
			e->rec.params = (uint64_t)json_integer_value(json_object_get(t, "params"));
			e->rec.family = mm_strdup(str(t, "family"), &err);
			arrive(&d, e);
		}
		if (!late)
			refit(&d);
	}
	json_t *before[3], *lay = json_object_get(d.map->epoch.info, "layouts");
	for (size_t w = 0; w < 3; w++) {
		json_t *q = json_object_get(lay, methods[w]);
		assert_true(num(q, "trustworthiness") > 0.75 && num(q, "knn_recall") > 0.55);
		before[w] = points(&d, json_pack("{s:s}", "method", methods[w]));
		assert_int_equal(json_object_size(before[w]), z.m.k);
		/* a model that came after the fit lies beside its near-copy */
		json_t *x = json_object_get(before[w], "llama-a-mix-code-025"), *p;
		json_t *y = json_object_get(before[w], "llama-a-mix-code-050");
		double wide = 0;
		const char *name;
		json_object_foreach (before[w], name, p)
			wide = fmax(wide, fabs(num(p, "x") - num(x, "x")));
		assert_true(hypot(num(x, "x") - num(y, "x"), num(x, "y") - num(y, "y")) < 0.2 * wide);
	}
	rooms_stop(&d);
	rooms_start(&d);
	settle_down(&d);
	for (size_t w = 0; w < 3; w++) {
		json_t *after = points(&d, json_pack("{s:s}", "method", methods[w]));
		assert_int_equal(json_object_size(after), z.m.k);
		assert_true(moved(before[w], after) < 1e-3); /* placed again from distances in f32 */
		json_decref(after);
		json_decref(before[w]);
	}
	json_t *r = ask(&d, mm_cmd_map, json_pack("{s:s}", "method", "umap"), NULL);
	assert_non_null(json_object_get(r, "error"));
	json_decref(r);
	r = ask(&d, mm_cmd_map, json_pack("{s:s}", "method", "tsne"), NULL);
	assert_string_equal(str(r, "method"), "tsne");
	json_decref(r);
	/* error bars: the value inside, five domains, each with its own */
	r = ask(&d, mm_cmd_dist, json_pack("{s:s, s:s}", "a", "llama-a", "b", "llama-a-code"), NULL);
	json_t *iv = json_object_get(r, "interval_bits_per_byte"), *dom = json_object_get(r, "domains"), *o;
	double kl = num(r, "kl_bits_per_byte");
	size_t i, n = 0;
	assert_true(json_number_value(json_array_get(iv, 0)) < kl && kl < json_number_value(json_array_get(iv, 1)));
	assert_true(num(r, "stderr_bits_per_byte") > 0 && num(r, "stderr_bits_per_byte") < 0.3 * kl);
	assert_int_equal(json_array_size(dom), 5);
	json_array_foreach (dom, i, o)
		n += (size_t)num(o, "texts");
	assert_int_equal(n, z.m.n);
	json_decref(r);
	r = ask(&d, mm_cmd_near,
		json_pack("{s:s, s:i, s:s, s:b}", "name", "llama-a-code", "k", 50, "family", "gpt2", "smaller", 1),
		NULL);
	assert_int_equal(json_array_size(json_object_get(r, "neighbours")), 3);
	json_decref(r);
	r = ask(&d, mm_cmd_near, json_pack("{s:s, s:f}", "name", "llama-a-code", "max_params", 5.0), NULL);
	json_array_foreach (json_object_get(r, "neighbours"), i, o)
		assert_true(num(o, "params") <= 5);
	json_decref(r);
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

static json_t *ask_later(struct mm_daemon *d, mm_cmd_fn fn, json_t *args)
{
	size_t had = json_array_size(finished);
	json_t *now = ask(d, fn, args, NULL);
	if (json_object_get(now, "error"))
		return now;
	json_decref(now);
	while (json_array_size(finished) == had)
		assert_true(sd_event_run(d->loop, (uint64_t)-1) >= 0);
	return json_incref(json_array_get(finished, had));
}

/* Tree, clusters and trajectory as they are answered; what they say is tested in lib/stat. */
static void test_relations(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_err err;
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	rooms_start(&d);
	json_t *r = ask_later(&d, mm_cmd_tree, NULL), *o;
	assert_string_equal(str(r, "error"), "no models on the map yet");
	json_decref(r);
	for (size_t i = 0; i < z.m.k; i++) {
		struct mm_model_entry *e = model_add(z.name[i], z.m.row[i], z.m.n);
		json_t *t = json_object_get(z.truth, z.name[i]);
		const char *slash = strchr(z.name[i], '/');
		e->rec.params = (uint64_t)json_integer_value(json_object_get(t, "params"));
		e->rec.family = mm_strdup(str(t, "family"), &err);
		if (slash) {
			e->rec.run = mm_strndup(z.name[i], (size_t)(slash - z.name[i]), &err);
			e->rec.step = json_integer_value(json_object_get(t, "step"));
		}
		mm_map_scored(&d, e);
	}
	settle_down(&d);
	refit(&d);
	r = ask_later(&d, mm_cmd_tree, NULL);
	size_t i, n_merge = 0;
	assert_int_equal(json_array_size(json_object_get(r, "models")), z.m.k);
	json_array_foreach (json_object_get(r, "models"), i, o) {
		if (strcmp(str(o, "kind"), "merge") == 0) {
			n_merge++;
			assert_true(num(o, "alpha") > 0 && num(o, "alpha") < 1 && str(o, "parent2"));
		}
		if (strcmp(str(o, "name"), "gpt2-a-docs") == 0) {
			assert_string_equal(str(o, "parent"), "gpt2-a");
			assert_true(num(o, "support") == 1);
		}
		if (strcmp(str(o, "name"), "llama-a-run/checkpoint-100") == 0)
			assert_string_equal(str(o, "base"), "llama-a");
	}
	assert_int_equal(n_merge, 6);
	json_decref(r);
	r = ask_later(&d, mm_cmd_cluster, json_pack("{s:s, s:i}", "linkage", "ward", "n", 5));
	assert_int_equal(json_array_size(json_object_get(r, "clusters")), 5);
	assert_non_null(strstr(str(r, "newick"), "llama-a-run/checkpoint-800:"));
	json_decref(r);
	r = ask_later(&d, mm_cmd_cluster, NULL);
	assert_true(num(r, "silhouette") > 0 && num(r, "n") >= 2);
	json_decref(r);
	r = ask_later(&d, mm_cmd_cluster, json_pack("{s:i}", "n", 99));
	assert_non_null(json_object_get(r, "error"));
	json_decref(r);
	r = ask(&d, mm_cmd_trajectory, json_pack("{s:s}", "run", "llama-a-run"), NULL);
	assert_int_equal(json_array_size(json_object_get(r, "legs")), 3);
	o = json_array_get(json_object_get(r, "legs"), 2);
	assert_string_equal(str(o, "to"), "llama-a-run/checkpoint-800");
	assert_true(num(o, "kl_bits_per_byte_per_step") > 0 && num(r, "path") > num(r, "distance"));
	json_decref(r);
	r = ask(&d, mm_cmd_trajectory, json_pack("{s:s}", "run", "nobody"), NULL);
	assert_string_equal(str(r, "code"), "not_found");
	json_decref(r);
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

static void test_export(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	struct mm_buf v = { 0 }, n = { 0 }, c = { 0 };
	struct mm_npy npy;
	struct mm_err err;
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	rooms_start(&d);
	for (size_t i = 0; i < 5; i++)
		arrive(&d, model_add(z.name[i], z.m.row[i], z.m.n));
	json_decref(ask(&d, mm_cmd_export, json_pack("{s:s}", "what", "vectors"), &v));
	json_decref(ask(&d, mm_cmd_export, json_pack("{s:s}", "what", "names"), &n));
	json_decref(ask(&d, mm_cmd_export, json_pack("{s:s}", "what", "coords"), &c));
	MUST(mm_npy_parse(&npy, v.data, v.len, &err));
	assert_true(npy.shape[0] == 5 && npy.shape[1] == z.m.n);
	assert_string_equal(npy.descr, "<f4");
	for (size_t i = 0; i < 5; i++)
		assert_memory_equal(npy.data + i * z.m.n * 4, z.m.row[i], z.m.n * 4);
	assert_string_equal((char *)n.data, "bard-mini\ngpt2-a\ngpt2-a-docs\ngpt2-a-shakespeare\nllama-a\n");
	assert_memory_equal(c.data, "name,x,y,z\nbard-mini,", 21);
	json_t *bad = ask(&d, mm_cmd_export, json_pack("{s:s}", "what", "secrets"), NULL);
	assert_non_null(json_object_get(bad, "error"));
	json_decref(bad);
	mm_buf_fini(&v);
	mm_buf_fini(&n);
	mm_buf_fini(&c);
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

static void replace_vector(struct mm_daemon *d, size_t i, const float *row, size_t n)
{
	struct mm_err err;
	float *new = mm_calloc(n, sizeof(float), &err), *old = reg[i]->loglik;
	memcpy(new, row, n * sizeof(float));
	reg[i]->loglik = new;
	mm_map_retire(d, old);
	mm_map_scored(d, reg[i]);
}

/* All distances of the first twelve; `is` says whose vector each has. */
static void check_twelve(struct zoo *z, struct mm_daemon *d, const size_t *is)
{
	for (size_t i = 0; i < 12; i++) {
		json_t *r = ask(d, mm_cmd_near, json_pack("{s:s, s:i}", "name", z->name[i], "k", 11), NULL), *p;
		size_t j;
		assert_int_equal(json_array_size(json_object_get(r, "neighbours")), 11);
		json_array_foreach (json_object_get(r, "neighbours"), j, p) {
			size_t o = zoo_index(z, str(p, "name"));
			double want = mm_dist_pair(z->m.row[is[i]], z->m.row[is[o]], z->m.n, mm_map_clip(d));
			near_rel(num(p, "kl_nats_per_text"), want / 2, 1e-6, 1e-9, str(p, "name"));
		}
		json_decref(r);
	}
}

/* Vectors that are replaced, at rest and while a refit reads the old ones; queries in between. */
static void test_rescored(void **state)
{
	(void)state;
	struct zoo z;
	struct mm_daemon d;
	size_t is[64];
	zoo_open(&z);
	daemon_new(&d, &z.texts);
	d.cfg.map.refit_growth = 0;
	rooms_start(&d);
	for (size_t i = 0; i < z.m.k; i++)
		is[i] = i;
	for (size_t i = 0; i < 12; i++)
		arrive(&d, model_add(z.name[i], z.m.row[i], z.m.n));
	is[3] = 20;
	replace_vector(&d, 3, z.m.row[20], z.m.n);
	check_twelve(&z, &d, is);
	mm_map_refit(&d, 0);
	assert_true(d.map->refit_running);
	is[5] = 21;
	replace_vector(&d, 5, z.m.row[21], z.m.n);
	check_twelve(&z, &d, is);
	assert_true(d.map->n_retired == 1); /* the old one waits for the refit */
	settle_down(&d);
	assert_true(d.map->n_retired == 0 && mm_map_epoch(&d) == 2);
	check_twelve(&z, &d, is);
	for (size_t i = 0; i < d.map->n; i++) {
		const struct mm_place *p = d.map->member[i];
		double best = INFINITY;
		for (size_t j = 0; j < d.map->n; j++)
			if (j != i)
				best = fmin(best, mm_map_distance(&d, p, d.map->member[j]));
		near_rel(p->nearest, best, 1e-6, 1e-9, p->e->rec.name);
		assert_true(p->placed && p->at == i);
	}
	rooms_stop(&d);
	daemon_free(&d);
	zoo_close(&z);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_orders),
		cmocka_unit_test(test_nobody_moves),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_relations),
		cmocka_unit_test(test_export),
		cmocka_unit_test(test_rescored),
	};
	mm_log_init(MM_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
