/* cluster.c, ridge.c, lineage.c: slow twins, known answers, degenerate inputs. */
#include "util.h"

/* ---- clusters ---- */

/* The greedy algorithm as it is defined: always the two nearest clusters, distances from their members. */
static void slow_heights(const struct mm_tri *t, enum mm_linkage how, double *height)
{
	size_t k = t->k;
	uint32_t *label = malloc(k * sizeof(*label));
	for (size_t i = 0; i < k; i++)
		label[i] = (uint32_t)i;
	for (size_t s = 0; s + 1 < k; s++) {
		double best = INFINITY;
		uint32_t ba = 0, bb = 0;
		for (uint32_t a = 0; a < k; a++)
			for (uint32_t b = 0; b < a; b++) {
				double sum = 0, big = 0, na = 0, nb = 0;
				for (size_t i = 0; i < k; i++) {
					na += label[i] == a;
					nb += label[i] == b;
					for (size_t j = 0; j < k; j++) {
						double d2 = mm_tri_get(t, i, j);
						if (label[i] == a && label[j] == b) {
							sum += how == MM_LINK_WARD ? d2 : sqrt(d2);
							big = fmax(big, sqrt(d2));
						}
					}
				}
				if (na == 0 || nb == 0)
					continue;
				double d = how == MM_LINK_COMPLETE ? big : sum / (na * nb);
				if (how == MM_LINK_WARD) { /* squared distance of the centres, weighted */
					double wa = 0, wb = 0;
					for (size_t i = 0; i < k; i++)
						for (size_t j = 0; j < i; j++) {
							wa += label[i] == a && label[j] == a ? mm_tri_get(t, i, j) : 0;
							wb += label[i] == b && label[j] == b ? mm_tri_get(t, i, j) : 0;
						}
					double centre = d - wa / (na * na) - wb / (nb * nb);
					d = sqrt(2 * na * nb / (na + nb) * fmax(centre, 0));
				}
				if (d < best) {
					best = d;
					ba = a;
					bb = b;
				}
			}
		height[s] = best;
		for (size_t i = 0; i < k; i++)
			if (label[i] == bb)
				label[i] = ba;
	}
	free(label);
}

static void test_linkage_twin(void **state)
{
	(void)state;
	struct mm_err err;
	static const enum mm_linkage how[] = { MM_LINK_AVERAGE, MM_LINK_WARD, MM_LINK_COMPLETE };
	struct fake f;
	struct mm_tri t;
	struct mm_merge m[24];
	double want[24];
	fake_new(&f, 18, 120, 4, 3);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	for (size_t h = 0; h < 3; h++) {
		MUST(mm_cluster_tree(&t, how[h], m, &err));
		slow_heights(&t, how[h], want);
		for (size_t s = 0; s < 17; s++) {
			assert_close(m[s].height, want[s], 1e-6 * want[s]); /* triangle in f32 */
			assert_true(m[s].a < m[s].b && m[s].b < 18 + s);
		}
		assert_int_equal(m[16].size, 18);
		uint32_t label[18];
		double each[18], mean, ari;
		MUST(mm_cluster_cut(m, 18, 4, label, &err));
		for (size_t i = 0; i < 18; i++) /* the generator's clusters, in the order of their first members */
			assert_int_equal(label[i], i % 4);
		MUST(mm_cluster_silhouette(&t, label, each, &mean, &err));
		assert_true(mean > 0.3 && mean < 1);
		MUST(mm_cluster_agreement(label, label, 18, &ari, &err));
		assert_true(ari == 1);
		MUST(mm_cluster_cut(m, 18, 1, label, &err));
		MUST(mm_cluster_silhouette(&t, label, each, &mean, &err));
		assert_true(mean == 0 && label[17] == 0);
		assert_int_equal(mm_cluster_cut(m, 18, 0, label, &err), -1);
		assert_int_equal(mm_cluster_cut(m, 18, 19, label, &err), -1);
	}
	mm_tri_fini(&t);
	fake_free(&f);
}

static void test_newick(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_tri t;
	struct mm_merge m[3];
	struct mm_buf b = { 0 };
	static const char *const names[] = { "a", "b c", "it's", "d" };
	MUST(mm_tri_init(&t, 4, &err));
	t.row[1][0] = 1; /* sqrt: 1 */
	t.row[2][0] = t.row[2][1] = 16;
	t.row[3][0] = t.row[3][1] = 16;
	t.row[3][2] = 4;
	MUST(mm_cluster_tree(&t, MM_LINK_AVERAGE, m, &err));
	MUST(mm_cluster_newick(m, 4, names, &b, &err));
	assert_string_equal((char *)b.data, "((a:1,'b c':1):3,('it''s':2,d:2):2);");
	mm_buf_fini(&b);
	mm_tri_fini(&t);
	MUST(mm_tri_init(&t, 1, &err));
	MUST(mm_cluster_tree(&t, MM_LINK_WARD, m, &err));
	MUST(mm_cluster_newick(m, 1, names, &b, &err));
	assert_string_equal((char *)b.data, "a;");
	mm_buf_fini(&b);
	mm_tri_fini(&t);
	t = (struct mm_tri){ 0 };
	assert_int_equal(mm_cluster_tree(&t, MM_LINK_WARD, m, &err), -1);
}

/* ---- ridge ---- */

static int fit1(const struct mm_tri *t, size_t n, const double *y, double *out, double *sd, bool *outside,
	struct mm_ridge *r, struct mm_err *err)
{
	return mm_ridge_fit(t, n, &y, 1, SIZE_MAX, &out, &sd, &outside, r, err);
}

/* Against the primal normal equations with an intercept, at the penalty that was chosen; and its leave-one-out by
 * leaving out. */
static void test_ridge_primal(void **state)
{
	(void)state;
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	struct mm_ridge r;
	size_t k = 25, n = 12;
	double y[25], out[25], sd[25];
	bool outside[25];
	fake_new(&f, k, n, 5, 4);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	for (size_t i = 0; i < k; i++)
		y[i] = i < 20 ? 40 + 0.05 * ((double)f.row[i][3] + 900) - 0.02 * ((double)f.row[i][5] + 900) : NAN;
	MUST(fit1(&t, n, y, out, sd, outside, &r, &err));
	double *q = calloc(k * n, sizeof(double)), *a = calloc(n * n, sizeof(double)), *b = calloc(n, sizeof(double)),
	       cm[12] = { 0 };
	double ym = 0;
	for (size_t i = 0; i < k; i++) {
		double mean, var;
		mm_row_moments(f.row[i], n, MM_NO_CLIP, &mean, &var);
		for (size_t s = 0; s < n; s++)
			q[i * n + s] = (double)f.row[i][s] - mean;
	}
	for (size_t i = 0; i < 20; i++) {
		ym += y[i] / 20;
		for (size_t s = 0; s < n; s++)
			cm[s] += q[i * n + s] / 20;
	}
	for (size_t s = 0; s < n; s++) {
		a[s * n + s] = r.alpha[0];
		for (size_t i = 0; i < 20; i++) {
			b[s] += (q[i * n + s] - cm[s]) * (y[i] - ym);
			for (size_t u = 0; u < n; u++)
				a[s * n + u] += (q[i * n + s] - cm[s]) * (q[i * n + u] - cm[u]);
		}
	}
	MUST(mm_dposv(n, 1, a, b, &err));
	for (size_t i = 20; i < k; i++) {
		double want = ym;
		for (size_t s = 0; s < n; s++)
			want += b[s] * (q[i * n + s] - cm[s]);
		assert_close(out[i], want, 1e-4); /* distances in f32 */
		assert_true(sd[i] > 0 && isfinite(sd[i]));
	}
	/* leave one out: every model its own fold gives the same out-of-sample values when the penalty is the same */
	uint32_t fold[25];
	double cv[25];
	struct mm_ridge rc;
	for (size_t i = 0; i < k; i++)
		fold[i] = (uint32_t)(i < 20 ? i : 0);
	MUST(mm_ridge_cv(&t, n, y, fold, 20, cv, &rc, &err));
	assert_true(rc.pearson > 0.9 && r.pearson > 0.9 && rc.n == 20);
	for (size_t i = 0; i < 16; i++)
		if (rc.alpha[i] == r.alpha[0])
			assert_close(cv[i], out[i], 1e-4);
	free(q);
	free(a);
	free(b);
	mm_tri_fini(&t);
	fake_free(&f);
}

static void test_ridge_edges(void **state)
{
	(void)state;
	struct mm_err err;
	for (size_t k = 1; k < 6; k++)
		for (int same = 0; same < 2; same++) {
			struct fake f;
			struct mm_tri t;
			struct mm_ridge r;
			double y[6], out[6], sd[6];
			bool outside[6];
			uint32_t fold[6];
			fake_new(&f, k, 20, 0, k);
			for (size_t i = 1; same && i < k; i++)
				memcpy(f.row[i], f.row[0], 20 * sizeof(float));
			MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
			for (int constant = 0; constant < 2; constant++) {
				for (size_t i = 0; i < k; i++)
					y[i] = constant ? 25 : (double)i;
				int rc = fit1(&t, 20, y, out, sd, outside, &r, &err);
				assert_int_equal(rc, 0);
				assert_int_equal(r.n, k < 2 ? 0 : k);
				for (size_t i = 0; i < k; i++)
					assert_true(isfinite(out[i]) == (k > 1) && isfinite(sd[i]) == (k > 1));
				if (k > 1 && constant)
					assert_true(r.pearson == 0 && r.spearman == 0);
				mm_ridge_folds(k, 2, 1, fold);
				rc = mm_ridge_cv(&t, 20, y, fold, 2, out, &r, &err);
				assert_int_equal(rc, k < 4 ? -1 : 0);
				assert_int_equal(mm_ridge_cv(&t, 20, y, fold, 1, out, &r, &err), -1);
			}
			for (size_t i = 0; i < k; i++)
				y[i] = NAN;
			MUST(fit1(&t, 20, y, out, sd, outside, &r, &err));
			assert_true(r.n == 0 && isnan(out[0]));
			mm_ridge_folds(k, 2, 1, fold);
			assert_int_equal(mm_ridge_cv(&t, 20, y, fold, 2, out, &r, &err), -1);
			assert_string_equal(
				err.text, "fold 0: no models with a score: at least two are needed to learn from");
			mm_tri_fini(&t);
			fake_free(&f);
		}
}

/* Several benchmarks at once give what each gives alone, fold by fold what the whole does, and groups stay together. */
static void test_ridge_many(void **state)
{
	(void)state;
	enum { K = 30, N = 15, B = 4 };
	struct mm_err err;
	struct fake f;
	struct mm_tri t;
	double y[B][K], out[B][K], sd[B][K], one[K], one_sd[K];
	bool outside[B][K], one_out[K];
	struct mm_ridge r[B], alone;
	uint32_t fold[K];
	uint64_t group[K];
	bool use[K];
	fake_new(&f, K, N, 3, 6);
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	for (size_t b = 0; b < B; b++)
		for (size_t i = 0; i < K; i++) /* the first two have the same models, the third others, the last one */
			y[b][i] = b == 2 && i % 5 == 0 ? NAN
				  : b == 3 && i	       ? NAN
						       : (double)f.row[i][b] + 0.1 * (double)i;
	const double *ys[B] = { y[0], y[1], y[2], y[3] };
	double *outs[B] = { out[0], out[1], out[2], out[3] }, *sds[B] = { sd[0], sd[1], sd[2], sd[3] };
	bool *outsides[B] = { outside[0], outside[1], outside[2], outside[3] };
	MUST(mm_ridge_fit(&t, N, ys, B, SIZE_MAX, outs, sds, outsides, r, &err));
	for (size_t b = 0; b < B; b++) {
		MUST(fit1(&t, N, y[b], one, one_sd, one_out, &alone, &err));
		assert_true(alone.n == r[b].n && (b == 3) == (alone.n == 0));
		for (size_t i = 0; b < 3 && i < K; i++)
			assert_true(one[i] == out[b][i] && one_sd[i] == sd[b][i] && one_out[i] == outside[b][i]);
		for (size_t i = 0; b == 3 && i < K; i++)
			assert_true(isnan(out[b][i]));
	}
	/* only one of the others */
	MUST(mm_ridge_fit(&t, N, ys, B, 5, outs, sds, outsides, r, &err));
	assert_true(isfinite(out[2][5]) && isnan(out[2][10]) && isfinite(out[2][11]));
	/* folds: groups of 1, 2, 3, ... models are never parted, the sizes of the folds are even */
	for (size_t i = 0, g = 0, in = 0; i < K; i++) {
		use[i] = i != 7;
		group[i] = g;
		if (++in > g) {
			g++;
			in = 0;
		}
	}
	assert_int_equal(mm_ridge_groups(group, use, K, 5, fold, &err), 5);
	size_t size[5] = { 0 };
	for (size_t i = 0; i < K; i++) {
		assert_true(use[i] ? fold[i] < 5 : fold[i] == UINT32_MAX);
		for (size_t j = 0; j < i && use[i]; j++)
			assert_true(!use[j] || group[i] != group[j] || fold[i] == fold[j]);
		if (use[i])
			size[fold[i]]++;
	}
	for (size_t h = 0; h < 5; h++)
		assert_true(size[h] >= 4 && size[h] <= 7);
	assert_int_equal(mm_ridge_groups(group, use, 3, 5, fold, &err), 2);
	assert_int_equal(mm_ridge_groups(group, use, K, 5, fold, &err), 5);
	double by_fold[B][K];
	double *folds[B] = { by_fold[0], by_fold[1], by_fold[2], by_fold[3] };
	for (size_t b = 0; b < B; b++)
		for (size_t i = 0; i < K; i++)
			by_fold[b][i] = NAN;
	for (uint32_t h = 0; h < 5; h++)
		MUST(mm_ridge_fold(&t, N, ys, B, fold, h, folds, &err));
	for (size_t b = 0; b < B; b++) {
		MUST(mm_ridge_judge(y[b], by_fold[b], K, &r[b], &err));
		if (b == 3) { /* nobody to learn from in the fold of the one that has a score */
			assert_int_equal(r[b].n, 0);
			continue;
		}
		MUST(mm_ridge_cv(&t, N, y[b], fold, 5, one, &alone, &err));
		for (size_t i = 0; i < K; i++)
			assert_true(isnan(y[b][i]) || (i == 7 ? isnan(by_fold[b][i]) : by_fold[b][i] == one[i]));
	}
	mm_tri_fini(&t);
	fake_free(&f);
}

/* Tables of Student's t. */
static void test_t975(void **state)
{
	(void)state;
	static const double known[][2] = { { 1, 12.706 }, { 2, 4.303 }, { 3, 3.182 }, { 4, 2.776 }, { 5, 2.571 },
		{ 10, 2.228 }, { 30, 2.042 }, { 1e9, 1.960 } };
	for (size_t i = 0; i < MM_COUNT(known); i++)
		assert_true(fabs(mm_t975(known[i][0]) / known[i][1] - 1) < 3e-3);
	assert_true(isfinite(mm_t975(0)) && isfinite(mm_t975(-3)));
}

static void test_correlation(void **state)
{
	(void)state;
	struct mm_err err;
	double x[5] = { 1, 2, 3, 4, 5 }, y[5] = { 1, 4, 9, 16, 25 }, z[5] = { 2, 2, 2, 2, 2 },
	       ties[5] = { 1, 1, 2, 3, 3 }, s;
	assert_close(mm_pearson(x, x, 5), 1, 1e-15);
	assert_true(mm_pearson(x, z, 5) == 0);
	MUST(mm_spearman(x, y, 5, &s, &err));
	assert_close(s, 1, 1e-15);
	MUST(mm_spearman(x, ties, 5, &s, &err));
	assert_close(s, 0.9486832980505138, 1e-12); /* 3 sqrt(1/10) by hand: ranks 1.5 1.5 3 4.5 4.5 */
	MUST(mm_spearman(x, z, 0, &s, &err));
	assert_true(s == 0);
}

/* ---- lineage ---- */

/* A base, three children in unrelated directions, a grandchild, a merge: everything is found again. */
static void test_kin_planted(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_rng r;
	struct fake f;
	struct mm_tri t;
	struct mm_kin kin[8];
	size_t n = 4000;
	double var[8], mean;
	uint64_t group[8] = { 1, 1, 1, 1, 1, 1, 2, 1 };
	fake_new(&f, 8, n, 8, 12); /* row 6: another architecture; all rows unrelated so far */
	mm_rng_init(&r, 5);
	for (size_t s = 0; s < n; s++) {
		for (size_t i = 1; i < 4; i++)
			f.row[i][s] = f.row[0][s] + (float)(8 * mm_rng_normal(&r));
		f.row[4][s] = f.row[2][s] + (float)(6 * mm_rng_normal(&r)); /* grandchild */
		f.row[5][s] = 0.7F * f.row[0][s] + 0.3F * f.row[3][s] + (float)(0.1 * mm_rng_normal(&r));
	}
	memcpy(f.row[7], f.row[1], n * sizeof(float));
	MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
	for (size_t i = 0; i < 8; i++)
		mm_row_moments(f.row[i], n, MM_NO_CLIP, &mean, &var[i]);
	struct mm_kin_input in = { &t, var, group, NULL, NULL };
	MUST(mm_kin_tree(&in, kin, &err));
	static const enum mm_kin_kind kind[] = { MM_KIN_ROOT, MM_KIN_CHILD, MM_KIN_CHILD, MM_KIN_CHILD, MM_KIN_CHILD,
		MM_KIN_MERGE, MM_KIN_ROOT, MM_KIN_COPY };
	static const uint32_t parent[] = { UINT32_MAX, 0, 0, 0, 2, 0, UINT32_MAX, 1 };
	for (size_t i = 0; i < 8; i++) {
		if (kin[i].kind != kind[i] || kin[i].parent != parent[i])
			fail_msg("model %zu: kind %d, parent %u", i, kin[i].kind, kin[i].parent);
		assert_int_equal(kin[i].base, i == 6 ? 6 : 0);
	}
	assert_int_equal(kin[5].parent2, 3);
	assert_close(kin[5].alpha, 0.3, 0.01);
	mm_tri_fini(&t);
	fake_free(&f);
}

static void test_kin_edges(void **state)
{
	(void)state;
	struct mm_err err;
	for (size_t k = 1; k < 5; k++)
		for (int same = 0; same < 2; same++) {
			struct fake f;
			struct mm_tri t;
			struct mm_kin kin[5];
			double var[5], mean;
			uint64_t group[5] = { 0 };
			uint32_t run[5] = { 3, 3, 3, 3, 3 };
			int64_t step[5] = { -1, -1, -1, -1, -1 };
			fake_new(&f, k, same ? 1 : 30, 0, k);
			MUST(mm_dist_matrix(&f.m, MM_NO_CLIP, &t, &err));
			for (size_t i = 0; i < k; i++)
				mm_row_moments(f.row[i], f.m.n, MM_NO_CLIP, &mean, &var[i]);
			for (int runs = 0; runs < 2; runs++) {
				struct mm_kin_input in = { &t, var, group, runs ? run : NULL, runs ? step : NULL };
				MUST(mm_kin_tree(&in, kin, &err));
				for (size_t i = 0; i < k; i++)
					assert_true(
						isfinite(kin[i].two_kl) && isfinite(kin[i].alpha) && kin[i].base < k);
			}
			mm_tri_fini(&t);
			fake_free(&f);
		}
}

static void test_turns(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_tri t;
	struct mm_leg leg[3];
	uint32_t seq[4] = { 0, 1, 2, 3 };
	int64_t step[4] = { 0, 10, 10, 30 };
	double p[4][2] = { { 0, 0 }, { 1, 0 }, { 2, 0 }, { 2, 1 } };
	MUST(mm_tri_init(&t, 4, &err));
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < i; j++)
			t.row[i][j] = (float)((p[i][0] - p[j][0]) * (p[i][0] - p[j][0]) +
					      (p[i][1] - p[j][1]) * (p[i][1] - p[j][1]));
	assert_close(mm_trajectory(&t, seq, step, 4, leg), 3, 1e-12);
	assert_close(leg[0].per_step, 0.1, 1e-12);
	assert_true(leg[1].per_step == 0); /* no steps between them */
	assert_close(leg[1].turn, 0, 1e-6);
	assert_close(leg[2].turn, M_PI / 2, 1e-6);
	assert_true(mm_trajectory(&t, seq, step, 1, leg) == 0);
	mm_tri_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_linkage_twin),
		cmocka_unit_test(test_newick),
		cmocka_unit_test(test_ridge_primal),
		cmocka_unit_test(test_ridge_edges),
		cmocka_unit_test(test_ridge_many),
		cmocka_unit_test(test_t975),
		cmocka_unit_test(test_correlation),
		cmocka_unit_test(test_kin_planted),
		cmocka_unit_test(test_kin_edges),
		cmocka_unit_test(test_turns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
