/* What the map is for, on the zoo: merges, family tree, clusters, prediction of scores; against analysis.json and
 * truth.json. No name is used to find anything out, only to look up what is true. */
#include "zoo.h"

struct world {
	struct zoo z;
	double clip;
	struct mm_tri t;
	double var[64];
	uint64_t group[64];
	uint32_t run[64];
	int64_t step[64];
};

static void open_world(struct world *w, bool clipped)
{
	struct mm_err err;
	zoo_open(&w->z);
	w->clip = MM_NO_CLIP;
	if (clipped)
		MUST(mm_quantile(&w->z.m, 0.02, &w->clip, &err));
	MUST(mm_dist_matrix(&w->z.m, w->clip, &w->t, &err));
	for (size_t i = 0; i < w->z.m.k; i++) {
		double mean;
		char key[256];
		json_t *f = json_object_get(w->z.truth, w->z.name[i]);
		const char *slash = strchr(w->z.name[i], '/');
		mm_row_moments(w->z.m.row[i], w->z.m.n, w->clip, &mean, &w->var[i]);
		/* what a checkpoint's files say: architecture, size, vocabulary; a run is a directory of steps */
		snprintf(key, sizeof(key), "%s %s %lld", zoo_fact(&w->z, i, "family"), zoo_fact(&w->z, i, "tokenizer"),
			(long long)json_integer_value(json_object_get(f, "params")));
		w->group[i] = mm_hash64(key, strlen(key));
		w->run[i] =
			slash ? (uint32_t)mm_hash64(w->z.name[i], (size_t)(slash - w->z.name[i])) & 0xffff : UINT32_MAX;
		w->step[i] = slash ? json_integer_value(json_object_get(f, "step")) : -1;
	}
}

static void close_world(struct world *w)
{
	mm_tri_fini(&w->t);
	zoo_close(&w->z);
}

static bool is_kind(const struct world *w, size_t i, const char *kind)
{
	return strcmp(zoo_fact(&w->z, i, "kind"), kind) == 0;
}

/* Projection and distance from the line, for the true parents: 1e-4, from f32 input under a difference of large
 * numbers. */
static void test_blend_figures(void **state)
{
	(void)state;
	struct world w;
	for (int clipped = 0; clipped < 2; clipped++) {
		open_world(&w, clipped);
		json_t *all = zoo_at(&w.z, clipped ? "clipped" : "raw", "interpolation", NULL), *want;
		const char *name;
		assert_int_equal(json_object_size(all), 6);
		json_object_foreach (all, name, want) {
			json_t *p = json_object_get(json_object_get(w.z.truth, name), "parent");
			size_t x = zoo_index(&w.z, name), a = zoo_index(&w.z, json_string_value(json_array_get(p, 0)));
			size_t b = zoo_index(&w.z, json_string_value(json_array_get(p, 1)));
			struct mm_blend m;
			assert_true(mm_blend_of(
				mm_tri_get(&w.t, x, a), mm_tri_get(&w.t, x, b), mm_tri_get(&w.t, a, b), &m));
			near_rel(m.alpha, json_number_value(json_object_get(want, "projection")), 1e-4, 0, name);
			near_rel(m.off_line, json_number_value(json_object_get(want, "off_line_ratio")), 1e-4, 0, name);
			near_rel(m.alpha, json_number_value(json_object_get(want, "alpha")), 0, 0.1, name);
		}
		close_world(&w);
	}
}

/* Every merge is found with its true parents and nothing else is, whether the architecture is known or not. */
static void test_blend_find(void **state)
{
	(void)state;
	struct world w;
	open_world(&w, true);
	for (int known = 0; known < 2; known++)
		for (size_t i = 0; i < w.z.m.k; i++) {
			struct mm_near near[64];
			struct mm_blend m;
			uint32_t a, b;
			bool found = mm_blend_find(&w.t, known ? w.group : NULL, i, 63, MM_BLEND_BOW, near, &a, &b, &m);
			if (found != is_kind(&w, i, "merge"))
				fail_msg("%s: merge %d, bow %g", w.z.name[i], found, m.bow);
			if (!found)
				continue;
			json_t *f = json_object_get(w.z.truth, w.z.name[i]), *p = json_object_get(f, "parent");
			const char *pa = json_string_value(json_array_get(p, 0)),
				   *pb = json_string_value(json_array_get(p, 1));
			bool turned = strcmp(w.z.name[a], pa) != 0;
			assert_string_equal(w.z.name[turned ? b : a], pa);
			assert_string_equal(w.z.name[turned ? a : b], pb);
			near_rel(turned ? 1 - m.alpha : m.alpha, json_number_value(json_object_get(f, "alpha")), 0, 0.1,
				w.z.name[i]);
		}
	close_world(&w);
}

static void test_tree(void **state)
{
	(void)state;
	struct world w;
	struct mm_err err;
	struct mm_kin kin[64];
	open_world(&w, true);
	struct mm_kin_input in = { &w.t, w.var, w.group, w.run, w.step };
	MUST(mm_kin_tree(&in, kin, &err));
	size_t n_base = 0, ok_base = 0, n_parent = 0, ok_parent = 0;
	for (size_t i = 0; i < w.z.m.k; i++) {
		const char *base = zoo_fact(&w.z, i, "base");
		bool merge = is_kind(&w, i, "merge"), tune = is_kind(&w, i, "finetune"),
		     step = is_kind(&w, i, "checkpoint");
		assert_true(isfinite(kin[i].two_kl));
		if (is_kind(&w, i, "base"))
			continue;
		if (is_kind(&w, i, "duplicate")) /* of a pair the one that comes later by name */
			assert_true(kin[i].kind == MM_KIN_COPY || strcmp(w.z.name[i], "bard-mini") == 0);
		if (merge || tune || step) {
			n_base++;
			ok_base += strcmp(w.z.name[kin[i].base], base) == 0;
		}
		json_t *p = json_object_get(json_object_get(w.z.truth, w.z.name[i]), "parent");
		if (merge || tune) {
			const char *pa = merge ? json_string_value(json_array_get(p, 0)) : json_string_value(p);
			const char *pb = merge ? json_string_value(json_array_get(p, 1)) : "";
			if (kin[i].kind == MM_KIN_COPY &&
				tune) /* of two equal models the first by index is the original */
				kin[i].parent = kin[kin[i].parent].parent;
			const char *g1 = kin[i].parent != UINT32_MAX ? w.z.name[kin[i].parent] : "none";
			const char *g2 = kin[i].parent2 != UINT32_MAX ? w.z.name[kin[i].parent2] : "";
			n_parent++;
			bool ok = merge ? (!strcmp(pa, g1) && !strcmp(pb, g2)) || (!strcmp(pa, g2) && !strcmp(pb, g1))
					: !strcmp(pa, g1);
			ok_parent += ok;
			if (!ok)
				print_message("%s: parent %s %s, not %s %s\n", w.z.name[i], g1, g2, pa, pb);
		}
		if (step)
			assert_int_equal(kin[i].kind, MM_KIN_CHECKPOINT);
	}
	print_message("base right for %zu of %zu, parent for %zu of %zu\n", ok_base, n_base, ok_parent, n_parent);
	assert_true(ok_base >= 0.9 * (double)n_base && ok_parent >= 0.7 * (double)n_parent);
	/* support of a clear parent */
	struct mm_boot boot;
	double support;
	size_t x = zoo_index(&w.z, "gpt2-a-docs"), a = zoo_index(&w.z, "gpt2-a"),
	       b = zoo_index(&w.z, "gpt2-a-shakespeare");
	MUST(mm_boot_init(&boot, w.z.m.n, 100, 1, &err));
	MUST(mm_boot_nearer(&boot, w.z.m.row[x], w.z.m.row[a], w.z.m.row[b], w.clip, &support, &err));
	assert_true(support == 1);
	mm_boot_fini(&boot);
	close_world(&w);
}

/* Steps of a run: the path is longer than the way, legs shrink by the step. */
static void test_trajectory(void **state)
{
	(void)state;
	struct world w;
	struct mm_leg leg[4];
	static const char *const names[] = { "llama-a-run/checkpoint-100", "llama-a-run/checkpoint-200",
		"llama-a-run/checkpoint-400", "llama-a-run/checkpoint-800", "llama-a" };
	uint32_t seq[5];
	int64_t step[5] = { 100, 200, 400, 800, 1500 };
	open_world(&w, false);
	for (size_t i = 0; i < 5; i++)
		seq[i] = (uint32_t)zoo_index(&w.z, names[i]);
	double path = mm_trajectory(&w.t, seq, step, 5, leg), ends = sqrt(mm_tri_get(&w.t, seq[0], seq[4]));
	assert_true(path > ends);
	for (size_t i = 0; i < 4; i++) {
		near_rel(leg[i].two_kl, mm_tri_get(&w.t, seq[i], seq[i + 1]), 1e-12, 0, names[i]);
		assert_true(leg[i].per_step > 0 && (i == 0 || leg[i].per_step < leg[i - 1].per_step));
		assert_true(leg[i].turn >= 0 && leg[i].turn <= M_PI);
	}
	close_world(&w);
}

static size_t labels_of(const struct world *w, uint32_t *label)
{
	const char *seen[64];
	size_t n = 0;
	for (size_t i = 0; i < w->z.m.k; i++) {
		const char *b = zoo_fact(&w->z, i, "base");
		size_t c = 0;
		while (c < n && strcmp(seen[c], b) != 0)
			c++;
		if (c == n)
			seen[n++] = b;
		label[i] = (uint32_t)c;
	}
	return n;
}

static void test_clusters(void **state)
{
	(void)state;
	struct world w;
	struct mm_err err;
	for (int clipped = 0; clipped < 2; clipped++) {
		const char *which = clipped ? "clipped" : "raw";
		struct mm_merge m[64];
		uint32_t truth[64], cut[64];
		double each[64], mean, ari;
		open_world(&w, clipped);
		size_t n = labels_of(&w, truth);
		MUST(mm_cluster_silhouette(&w.t, truth, each, &mean, &err));
		near_rel(mean, json_number_value(zoo_at(&w.z, which, "silhouette_by_base", NULL)), 1e-6, 0,
			"silhouette");
		MUST(mm_cluster_tree(&w.t, MM_LINK_AVERAGE, m, &err));
		MUST(mm_cluster_cut(m, w.z.m.k, n, cut, &err));
		MUST(mm_cluster_agreement(truth, cut, w.z.m.k, &ari, &err));
		near_rel(ari, json_number_value(zoo_at(&w.z, which, "average_linkage_ari_by_base", NULL)), 1e-6, 0,
			"ARI");
		close_world(&w);
	}
}

/* ---- prediction ---- */

/* Column `col` of scores.csv (7: the mean), by the rows of the matrix; NAN for models that `skip_leaked` leaves out. */
static void scores(const struct world *w, int col, double *out)
{
	size_t len;
	char *csv = zoo_read("scores.csv", &len), *save = NULL;
	for (size_t i = 0; i < w->z.m.k; i++)
		out[i] = NAN;
	for (char *line = strtok_r(csv, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
		char *cell[8] = { 0 }, *s2 = NULL;
		int n = 0;
		for (char *c = strtok_r(line, ",", &s2); c && n < 8; c = strtok_r(NULL, ",", &s2))
			cell[n++] = c;
		size_t i = n == 8 ? zoo_index(&w->z, cell[0]) : SIZE_MAX;
		if (i != SIZE_MAX)
			out[i] = strtod(cell[col], NULL);
	}
	mm_free(csv);
}

/* Grouped by base the folds are given: figures within 0.01. In random folds the mean over seeds is: three standard
 * errors of that mean and the 0.01. */
static void test_ridge(void **state)
{
	(void)state;
	struct world w;
	struct mm_err err;
	for (int clipped = 0; clipped < 2; clipped++) {
		struct mm_ridge r;
		const char *which = clipped ? "clipped" : "raw";
		double y[64], out[64], sd[64], sum = 0;
		bool outside[64];
		uint32_t fold[64];
		open_world(&w, clipped);
		json_t *want = zoo_at(&w.z, which, "ridge_mean_score", NULL);
		scores(&w, 7, y);
		size_t n = labels_of(&w, fold);
		MUST(mm_ridge_cv(&w.t, w.z.m.n, y, fold, n, out, &r, &err));
		near_rel(
			r.pearson, json_number_value(json_object_get(want, "leave_bases_out_pearson")), 0, 0.01, which);
		near_rel(r.spearman, json_number_value(json_object_get(want, "leave_bases_out_spearman")), 0, 0.01,
			which);
		for (uint64_t seed = 0; seed < 20; seed++) {
			mm_ridge_folds(w.z.m.k, 5, seed, fold);
			MUST(mm_ridge_cv(&w.t, w.z.m.n, y, fold, 5, out, &r, &err));
			sum += r.pearson / 20;
		}
		double spread = json_number_value(json_object_get(want, "pearson_sd"));
		near_rel(sum, json_number_value(json_object_get(want, "pearson_mean")), 0, 0.01 + 3 * spread / sqrt(20),
			which);
		/* one fit: a model without a score gets one, with an error bar; a stranger is flagged */
		size_t x = zoo_index(&w.z, "llama-a");
		double known = y[x];
		y[x] = NAN;
		MUST(mm_ridge_fit(&w.t, w.z.m.n, (const double *[]){ y }, 1, SIZE_MAX, (double *[]){ out },
			(double *[]){ sd }, (bool *[]){ outside }, &r, &err));
		assert_true(fabs(out[x] - known) < 4 * sd[x] && sd[x] > 0 && sd[x] < 10);
		assert_false(outside[x]);
		assert_int_equal(r.n, w.z.m.k - 1);
		for (size_t i = 0; i < w.z.m.k; i++)
			assert_true(isfinite(out[i]) && isfinite(sd[i]));
		close_world(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blend_figures),
		cmocka_unit_test(test_blend_find),
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_trajectory),
		cmocka_unit_test(test_clusters),
		cmocka_unit_test(test_ridge),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
