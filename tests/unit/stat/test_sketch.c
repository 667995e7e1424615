/* Bounds from sketches: never above the distance, over all of the probes and some, whatever the rows; sharp for those
 * that the plan was made from. */
#include "fisher_kit.h"

/* Bounds hold over half of the probes too; returns the mean of bound over distance. */
static double bounds_by(const struct world *w, const struct mm_sketch_plan *p, enum mm_metric which, bool rough)
{
	double least[64], v[64], ratio = 0;
	float weight[64];
	uint32_t sel[64];
	int16_t *sk[64];
	assert_true(w->k <= 64 && w->m <= 64);
	for (size_t j = 0; j < w->k; j++) {
		sk[j] = malloc(MM_SKETCH * p->stride * sizeof(int16_t));
		mm_sketch_make(p, w->row[j], sk[j]);
	}
	for (size_t part = 1; part <= 2; part++) {
		size_t n = 0;
		for (size_t m = 0; m < w->m; m++)
			if ((weight[m] = m % part == 0) > 0)
				sel[n++] = (uint32_t)m;
		mm_sketch_scan(which, rough, p, (const int16_t *const *)sk, w->k, sk[0], weight, n, least);
		assert_true(least[0] == 0);
		for (size_t j = 1; j < w->k; j++) {
			mm_byte_terms(which, w->row[0], w->row[j], w->m, v);
			double far = mm_byte_distance_of(which, v, sel, n);
			if (!(least[j] <= far))
				fail_msg("%s: %.17g is no bound of %.17g", mm_metrics[which].name, least[j], far);
			ratio += far > 0 ? least[j] / far / (2 * (double)w->k - 2) : 0;
		}
	}
	const int16_t *none = NULL;
	mm_sketch_scan(which, rough, p, &none, 1, sk[0], weight, 1, least);
	assert_true(isinf(least[0]));
	for (size_t j = 0; j < w->k; j++)
		free(sk[j]);
	return ratio;
}

static double bounds(const struct world *w, const struct mm_sketch_plan *p, enum mm_metric which)
{
	bounds_by(w, p, which, true);
	return bounds_by(w, p, which, false);
}

/* Rows of world w at probe i become `masses` at `bytes`. */
static void put_row(struct world *w, size_t j, size_t i, size_t n, const unsigned *bytes, const double *masses)
{
	memset(w->row[j] + i * MM_BYTE_STRIDE, 0, MM_BYTE_STRIDE * sizeof(float));
	row_of(w->row[j] + i * MM_BYTE_STRIDE, n, bytes, masses);
}

static void test_sketch(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_sketch_plan p;
	struct world w;
	struct mm_rng r;
	/* relatives and strangers: the bounds are sharp */
	world_new(&w, 60, 64, 6, 0.3, 4);
	MUST(mm_sketch_plan_init(&p, w.m, &err));
	for (size_t j = 0; j < w.k; j++)
		mm_sketch_plan_show(&p, w.row[j]);
	mm_sketch_plan_done(&p);
	for (int m = MM_METRIC_FISHER; m < MM_METRIC_COUNT; m++) {
		double ratio = bounds(&w, &p, (enum mm_metric)m);
		printf("%s: bounds are %.2f of the distances\n", mm_metrics[m].name, ratio);
		assert_true(ratio > 0.65);
	}
	/* what the plan was not made for: few bytes, in all mixtures and magnitudes, near and far, in one probe or all
	 */
	mm_rng_init(&r, 5);
	for (size_t j = 0; j < w.k; j++)
		for (size_t i = 0; i < w.m; i++) {
			unsigned bytes[4];
			double mass[4], sum = 0;
			for (size_t c = 0; c < 4; c++) {
				bytes[c] = (unsigned)mm_rng_below(&r, 60) * 4 + (unsigned)c + (c == 3 ? 17 : 0);
				sum += mass[c] = exp(-30 * mm_rng_double(&r));
			}
			for (size_t c = 0; c < 4; c++)
				mass[c] /= sum;
			if (j == 0 || i % (1 + j / 8) == 0)
				put_row(&w, j, i, 4, bytes, mass);
			else
				memcpy(w.row[j] + i * MM_BYTE_STRIDE, w.row[0] + i * MM_BYTE_STRIDE,
					MM_BYTE_STRIDE * sizeof(float));
		}
	for (int m = MM_METRIC_FISHER; m < MM_METRIC_COUNT; m++)
		bounds(&w, &p, (enum mm_metric)m);
	/* masses that move a little, between units of the plan and the ends of the scale */
	for (size_t j = 0; j < w.k; j++)
		for (size_t i = 0; i < w.m; i++) {
			double d = (j ? 1e-9 : 0) * exp(20 * mm_rng_double(&r)), x = d < 0.5 ? d : 0.5;
			put_row(&w, j, i, 2, (const unsigned[]){ (unsigned)i * 4, i % 2 ? 256 : (unsigned)i * 4 + 32 },
				(const double[]){ 1 - x, x });
		}
	for (int m = MM_METRIC_FISHER; m < MM_METRIC_COUNT; m++)
		bounds(&w, &p, (enum mm_metric)m);
	mm_sketch_plan_fini(&p);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_sketch) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
