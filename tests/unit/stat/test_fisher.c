/* Distances between next-byte distributions: closed forms, slow formulations, axioms, intervals. */
#include "fisher_kit.h"

#define M 40 /* probes of the random models */

/* ---- closed forms ---- */

static double term(enum mm_metric which, const float *a, const float *b)
{
	double v;
	mm_byte_terms(which, a, b, 1, &v);
	return v;
}

static void test_closed_forms(void **state)
{
	(void)state;
	float a[MM_BYTE_STRIDE], b[MM_BYTE_STRIDE], c[MM_BYTE_STRIDE];
	const unsigned two[] = { 'x', 'y' }, other[] = { '0', 256 };
	row_of(a, 2, two, (double[]){ 0.5, 0.5 });
	row_of(b, 2, two, (double[]){ 0.25, 0.75 });
	row_of(c, 2, other, (double[]){ 0.5, 0.5 });
	/* sqrt(1/8) + sqrt(3/8) = cos 15 degrees: the way is 30 degrees long. 2e-7: the roots are floats. */
	assert_close(sqrt(term(MM_METRIC_FISHER, a, b)), M_PI / 6, 2e-7);
	assert_close(term(MM_METRIC_HELLINGER, a, b), 1 - cos(M_PI / 12), 2e-7);
	assert_close(term(MM_METRIC_JEFFREYS, a, b), 0.25 * log2(2) - 0.25 * log2(2.0 / 3), 1e-6);
	double js = 0.5 * (0.5 * log2(0.5 / 0.375) + 0.5 * log2(0.5 / 0.625) + 0.25 * log2(0.25 / 0.375) +
				  0.75 * log2(0.75 / 0.625));
	assert_close(term(MM_METRIC_JS, a, b), js, 1e-7);
	assert_close(term(MM_METRIC_WASSERSTEIN, a, b), 0.25 * mm_byte_distance('x', 'y'), 1e-7);
	/* nothing in common: the ends of the scales */
	assert_close(sqrt(term(MM_METRIC_FISHER, a, c)), M_PI, 1e-6);
	assert_close(term(MM_METRIC_HELLINGER, a, c), 1, 1e-6);
	assert_close(term(MM_METRIC_JS, a, c), 1, 1e-6);
	assert_close(term(MM_METRIC_WASSERSTEIN, a, c), 1, 1e-6);
	/* half a unit of mass on each of four bytes falls to 2^-28, 27 bits down */
	assert_close(term(MM_METRIC_JEFFREYS, a, c), 4 * (0.5 - 0x1p-28) * 27, 1e-5);
	for (int w = MM_METRIC_FISHER; w < MM_METRIC_COUNT; w++) {
		assert_true(term((enum mm_metric)w, a, a) == 0 && term((enum mm_metric)w, c, c) == 0);
		assert_int_equal(mm_metric_find(mm_metrics[w].name), w);
	}
	assert_int_equal(mm_metric_find("euclid"), MM_METRIC_COUNT);
	assert_close(mm_metric_value(MM_METRIC_FISHER, 0.25, 16), 2, 1e-15);
	assert_close(mm_metric_value(MM_METRIC_HELLINGER, 0.25, 16), 0.5, 1e-15);
	assert_close(mm_metric_value(MM_METRIC_JS, 0.25, 16), 0.25, 0);
}

static void test_bytes(void **state)
{
	(void)state;
	assert_true(mm_byte_distance('a', 'A') == 0.25 && mm_byte_distance('a', 'B') == 0.5);
	assert_true(mm_byte_distance('0', '9') == 0.5 && mm_byte_distance(' ', '\n') == 0.5);
	assert_true(mm_byte_distance('.', ' ') == 1 && mm_byte_distance(0x80, 0xC0) == 1);
	assert_true(mm_byte_distance(256, 'a') == 1 && mm_byte_distance(256, 256) == 0);
	for (unsigned a = 0; a < MM_BYTES; a++)
		for (unsigned b = 0; b < MM_BYTES; b++) {
			assert_true(mm_byte_distance(a, b) == mm_byte_distance(b, a));
			for (unsigned c = 0; c < MM_BYTES; c += 7) /* an ultrametric */
				assert_true(
					mm_byte_distance(a, b) <= fmax(mm_byte_distance(a, c), mm_byte_distance(c, b)));
		}
}

/* Between two masses and two, one number is free; the cost is linear in it: the best is at an end. */
static void test_transport(void **state)
{
	(void)state;
	struct mm_rng r;
	float a[MM_BYTE_STRIDE], b[MM_BYTE_STRIDE];
	mm_rng_init(&r, 5);
	for (int n = 0; n < 3000; n++) {
		unsigned s[2], t[2];
		for (int i = 0; i < 2; i++) {
			s[i] = (unsigned)mm_rng_below(&r, MM_BYTES);
			t[i] = n % 2 ? s[i] ^ 32 : (unsigned)mm_rng_below(&r, MM_BYTES);
			t[i] = t[i] > 256 ? 0 : t[i];
		}
		if (s[0] == s[1] || t[0] == t[1])
			continue;
		double p = mm_rng_double(&r), q = mm_rng_double(&r), best = INFINITY;
		double lo = fmax(0, p + q - 1), hi = fmin(p, q);
		for (int end = 0; end < 2; end++) {
			double x = end ? hi : lo; /* carried from s[0] to t[0] */
			best = fmin(best, x * mm_byte_distance(s[0], t[0]) + (p - x) * mm_byte_distance(s[0], t[1]) +
						  (q - x) * mm_byte_distance(s[1], t[0]) +
						  (1 - p - q + x) * mm_byte_distance(s[1], t[1]));
		}
		row_of(a, 2, s, (double[]){ p, 1 - p });
		row_of(b, 2, t, (double[]){ q, 1 - q });
		assert_close(term(MM_METRIC_WASSERSTEIN, a, b), best, 1e-6);
	}
}

/* ---- slow formulations ---- */

static double slow(enum mm_metric which, const float *a, const float *b)
{
	double bc = 0, j = 0, js = 0, floor = ldexp(1, -28);
	for (size_t c = 0; c < MM_BYTES; c++) {
		double p = (double)a[c] * (double)a[c], q = (double)b[c] * (double)b[c], m = (p + q) / 2;
		double pf = fmax(p, floor), qf = fmax(q, floor);
		bc += sqrt(p * q);
		j += (pf - qf) * log2(pf / qf);
		js += (p > 0 ? p * log2(p / m) : 0) / 2 + (q > 0 ? q * log2(q / m) : 0) / 2;
	}
	return which == MM_METRIC_FISHER      ? pow(2 * acos(fmin(bc, 1)), 2)
	       : which == MM_METRIC_HELLINGER ? 1 - bc
	       : which == MM_METRIC_JEFFREYS  ? j
					      : js;
}

static void test_against_slow(void **state)
{
	(void)state;
	struct world w;
	double v[M];
	world_new(&w, 6, M, 2, 0.5, 1);
	for (int which = MM_METRIC_FISHER; which <= MM_METRIC_JS; which++)
		for (size_t i = 0; i < w.k; i++)
			for (size_t j = 0; j < w.k; j++) {
				mm_byte_terms((enum mm_metric)which, w.row[i], w.row[j], M, v);
				for (size_t m = 0; m < M; m++) {
					double want = slow((enum mm_metric)which, w.row[i] + m * MM_BYTE_STRIDE,
						w.row[j] + m * MM_BYTE_STRIDE);
					/* rows have length 1 to a rounding of floats, which 1 - bc sees */
					assert_close(v[m], want, 2e-6 + 2e-6 * want);
					if (i == j)
						assert_true(v[m] == 0);
				}
			}
	world_free(&w);
}

static void test_bad_rows(void **state)
{
	(void)state;
	struct mm_err err;
	static const uint16_t bad[] = { 0x7c00, 0x7e00, 0x8001, 0xbc00 };
	uint16_t row[MM_BYTES] = { 0 };
	float out[MM_BYTE_STRIDE];
	assert_int_equal(mm_bytes_unpack(row, 1, out, &err), -1); /* all 0 */
	row[3] = 0x3c00;					  /* 1 */
	MUST(mm_bytes_unpack(row, 1, out, &err));
	assert_true(out[3] == 1);
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		row[9] = bad[i];
		assert_int_equal(mm_bytes_unpack(row, 1, out, &err), -1);
	}
	row[9] = 0x3c00; /* twice the mass */
	assert_int_equal(mm_bytes_unpack(row, 1, out, &err), -1);
	row[9] = 1; /* the least f16 */
	MUST(mm_bytes_unpack(row, 1, out, &err));
	assert_true(out[9] == 0x1p-24f && out[MM_BYTES] == 0);
}

/* ---- axioms ---- */

static void test_axioms(void **state)
{
	(void)state;
	static const enum mm_metric metric[] = { MM_METRIC_FISHER, MM_METRIC_HELLINGER, MM_METRIC_WASSERSTEIN,
		MM_METRIC_JS };
	struct world w;
	double v[M], back[M];
	enum { K = 14 };
	world_new(&w, K, M, 3, 0.4, 2);
	for (size_t c = 0; c < MM_COUNT(metric); c++) {
		double d[K][K];
		for (size_t i = 0; i < K; i++)
			for (size_t j = 0; j < K; j++) {
				mm_byte_terms(metric[c], w.row[i], w.row[j], M, v);
				mm_byte_terms(metric[c], w.row[j], w.row[i], M, back);
				assert_memory_equal(v, back, sizeof(v));
				/* js: its root is the metric */
				d[i][j] = sqrt(mm_metric_tri(metric[c], mm_byte_distance_of(metric[c], v, NULL, M)));
				assert_true(i == j ? d[i][j] == 0 : d[i][j] > 0);
			}
		for (size_t i = 0; i < K; i++)
			for (size_t j = 0; j < K; j++)
				for (size_t l = 0; l < K; l++)
					assert_true(d[i][j] <= d[i][l] + d[l][j] + 1e-12);
	}
	world_free(&w);
}

/* ---- all pairs ---- */

static void test_matrix(void **state)
{
	(void)state;
	struct world w;
	struct mm_err err;
	double v[M];
	uint32_t some[] = { 1, 5, 6, 30 };
	world_new(&w, 70, M, 5, 0.3, 3);
	memcpy(w.f16[69], w.f16[2], M * MM_BYTES * sizeof(uint16_t)); /* a copy */
	memcpy(w.f16[68], w.f16[3], M * MM_BYTES * sizeof(uint16_t)); /* nearly one */
	for (size_t i = 0; i < M * MM_BYTES; i += 50)
		w.f16[68][i]++;
	for (size_t j = 68; j < 70; j++)
		MUST(mm_bytes_unpack(w.f16[j], M, w.row[j], &err));
	for (int which = MM_METRIC_FISHER; which < MM_METRIC_COUNT; which++)
		for (int part = 0; part < 2; part++) {
			struct mm_tri t;
			struct mm_byte_rows r = { (const uint16_t *const *)w.f16, w.k, M, part ? some : NULL,
				part ? MM_COUNT(some) : M };
			MUST(mm_byte_matrix((enum mm_metric)which, &r, NULL, &t, &err));
			for (size_t i = 0; i < w.k; i += 1 + (i < 60) * 6)
				for (size_t j = 0; j < i; j++) {
					mm_byte_terms((enum mm_metric)which, w.row[i], w.row[j], M, v);
					double want = mm_metric_tri((enum mm_metric)which,
						mm_byte_distance_of((enum mm_metric)which, v, r.sel, r.n));
					/* the triangle holds floats */
					assert_close(mm_tri_get(&t, i, j), want, 1e-6 * want);
				}
			assert_true(mm_tri_get(&t, 69, 2) == 0);
			mm_tri_fini(&t);
		}
	_Atomic bool yes = true;
	struct mm_tri t;
	struct mm_byte_rows r = { (const uint16_t *const *)w.f16, w.k, M, NULL, M };
	assert_int_equal(mm_byte_matrix(MM_METRIC_FISHER, &r, &yes, &t, &err), -1);
	assert_int_equal(err.code, MM_ECANCELLED);
	w.f16[7][9] = 0x7e00;
	assert_int_equal(mm_byte_matrix(MM_METRIC_FISHER, &r, NULL, &t, &err), -1);
	world_free(&w);
}

/* ---- intervals ---- */

/* Terms are drawn from a skewed distribution of mean 1: how often does the 95 % interval hold what it should? */
static void test_coverage(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_boot boot;
	struct mm_interval iv;
	struct mm_rng r;
	enum { N = 256, RUNS = 600 };
	double v[N];
	size_t held[2] = { 0 };
	mm_rng_init(&r, 8);
	MUST(mm_boot_init(&boot, N, MM_BOOT_DEFAULT, 1, &err));
	for (int run = 0; run < RUNS; run++) {
		for (size_t i = 0; i < N; i++)
			v[i] = -log(1 - mm_rng_double(&r));
		MUST(mm_byte_boot(MM_METRIC_JS, &boot, v, NULL, &iv, &err));
		held[0] += iv.lo <= 1 && 1 <= iv.hi;
		assert_close(iv.stderr_, 1 / sqrt(N), 0.5 / sqrt(N));
		MUST(mm_byte_boot(MM_METRIC_FISHER, &boot, v, NULL, &iv, &err));
		held[1] += iv.lo <= sqrt(N) && sqrt(N) <= iv.hi;
		assert_true(iv.lo <= iv.value && iv.value <= iv.hi);
	}
	/* 100 resamples of skewed terms: 95 % nominal, 93 % expected, 89 % is five standard errors below */
	for (int i = 0; i < 2; i++)
		assert_true(held[i] >= 0.88 * RUNS && held[i] <= 0.985 * RUNS);
	mm_boot_fini(&boot);
}

static void test_nearer(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_boot boot;
	double a[4] = { 1, 2, 3, 4 }, b[4] = { 2, 3, 4, 5 }, c[4] = { 4, 3, 2, 1 };
	uint32_t sel[3] = { 0, 1, 2 };
	MUST(mm_boot_init(&boot, 4, MM_BOOT_DEFAULT, 1, &err));
	assert_true(mm_byte_nearer(&boot, a, b, NULL) == 1 && mm_byte_nearer(&boot, b, a, NULL) == 0);
	double s = mm_byte_nearer(&boot, a, c, NULL);
	assert_true(s > 0.2 && s < 0.8);
	mm_boot_fini(&boot);
	MUST(mm_boot_init(&boot, 3, MM_BOOT_DEFAULT, 1, &err));
	assert_true(mm_byte_nearer(&boot, a, b, sel) == 1);
	mm_boot_fini(&boot);
}

/* ---- tangents ---- */

/* A point of the geodesic from a to b, probe by probe. */
static void between(const float *a, const float *b, double share, float *out)
{
	for (size_t m = 0; m < M; m++, a += MM_BYTE_STRIDE, b += MM_BYTE_STRIDE, out += MM_BYTE_STRIDE) {
		double bc = 0;
		for (size_t c = 0; c < MM_BYTES; c++)
			bc += (double)a[c] * (double)b[c];
		double w = acos(bc), x = sin((1 - share) * w) / sin(w), y = sin(share * w) / sin(w);
		for (size_t c = 0; c < MM_BYTE_STRIDE; c++)
			out[c] = (float)(x * (double)a[c] + y * (double)b[c]);
	}
}

static void test_heading(void **state)
{
	(void)state;
	struct world w;
	struct mm_heading h;
	static float mid[M * MM_BYTE_STRIDE];
	double v[M];
	world_new(&w, 3, M, 3, 0.5, 6);
	between(w.row[0], w.row[1], 0.3, mid);
	mm_byte_heading(w.row[0], mid, w.row[1], NULL, M, &h);
	mm_byte_terms(MM_METRIC_FISHER, w.row[0], w.row[1], M, v);
	assert_close(h.cosine, 1, 1e-6);
	assert_close(h.to_b, mm_byte_distance_of(MM_METRIC_FISHER, v, NULL, M), 1e-5);
	assert_close(h.to_a / h.to_b, 0.3, 1e-5);
	mm_byte_heading(mid, w.row[0], w.row[1], NULL, M, &h); /* back and on */
	assert_close(h.cosine, -1, 1e-5);
	mm_byte_heading(w.row[0], w.row[1], w.row[2], NULL, M, &h);
	assert_true(h.cosine > 0 && h.cosine < 0.9);
	mm_byte_heading(w.row[0], w.row[0], w.row[2], NULL, M, &h);
	assert_true(h.cosine == 0 && h.to_a == 0);
	world_free(&w);
}

static void test_spectrum(void **state)
{
	(void)state;
	struct world w;
	struct mm_err err;
	struct mm_spectrum s;
	double v[M], mean = 0, sum = 0;
	world_new(&w, 30, M, 4, 0.3, 7);
	struct mm_byte_rows r = { (const uint16_t *const *)w.f16 + 1, w.k - 1, M, NULL, M };
	MUST(mm_byte_spectrum(w.row[0], &r, 60, 1, NULL, &s, &err));
	for (size_t j = 1; j < w.k; j++) {
		mm_byte_terms(MM_METRIC_FISHER, w.row[0], w.row[j], M, v);
		mean += pow(mm_byte_distance_of(MM_METRIC_FISHER, v, NULL, M), 2) / (double)(w.k - 1);
	}
	assert_close(s.exact_trace, mean, 1e-4 * mean);
	assert_true(fabs(s.trace - s.exact_trace) < 5 * s.trace_err && s.trace_err < 0.2 * s.trace);
	assert_true(fabs(s.dim - s.exact_dim) < 6 * s.dim_err && s.exact_dim > 1.5 && s.exact_dim < 29);
	for (size_t i = 0; i < s.n_lead; i++) {
		sum += s.lead[i];
		assert_true(!i || s.lead[i] <= s.lead[i - 1]);
	}
	assert_true(sum > 0.8 && sum <= 1 + 1e-9);
	r.k = 1; /* one direction */
	MUST(mm_byte_spectrum(w.row[0], &r, 60, 1, NULL, &s, &err));
	assert_close(s.exact_dim, 1, 1e-9);
	assert_close(s.lead[0], 1, 1e-9);
	world_free(&w);
}

static void test_line(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_boot boot;
	struct mm_line line;
	enum { N = 400 };
	float a[N], b[N], x[N];
	static double xa[MM_BOOT_DEFAULT + 1], xb[MM_BOOT_DEFAULT + 1], ab[MM_BOOT_DEFAULT + 1];
	struct mm_rng r;
	mm_rng_init(&r, 9);
	for (size_t s = 0; s < N; s++) {
		a[s] = (float)(-500 + 50 * mm_rng_normal(&r));
		b[s] = a[s] + (float)(20 * mm_rng_normal(&r));
		x[s] = 0.75f * a[s] + 0.25f * b[s] + (float)(2 * mm_rng_normal(&r));
	}
	MUST(mm_boot_init(&boot, N, MM_BOOT_DEFAULT, 1, &err));
	MUST(mm_boot_draws(&boot, x, a, MM_NO_CLIP, xa, &err));
	MUST(mm_boot_draws(&boot, x, b, MM_NO_CLIP, xb, &err));
	MUST(mm_boot_draws(&boot, a, b, MM_NO_CLIP, ab, &err));
	assert_close(ab[0], mm_dist_pair(a, b, N, MM_NO_CLIP), 0);
	struct mm_interval iv;
	double sorted[MM_BOOT_DEFAULT];
	memcpy(sorted, ab + 1, sizeof(sorted));
	mm_interval_of(ab[0], sorted, MM_BOOT_DEFAULT, &iv);
	struct mm_interval want;
	MUST(mm_boot_dist(&boot, a, b, MM_NO_CLIP, &want, &err));
	assert_close(iv.lo, want.lo, 1e-9 * want.lo);
	assert_close(iv.stderr_, want.stderr_, 1e-9 * want.stderr_);
	MUST(mm_line_boot(xa, xb, ab, MM_BOOT_DEFAULT, &line, &err));
	/* noise of 2 beside a line of 20: a tenth of the length */
	assert_close(line.along.value, 0.25, 0.02);
	assert_close(line.off.value, 0.1, 0.01);
	assert_true(line.along.lo < 0.25 && line.along.hi > 0.25 && line.along.hi - line.along.lo < 0.05);
	assert_true(line.off.lo <= line.off.value && line.off.value <= line.off.hi && line.bow < 0.3);
	ab[0] = 0;
	assert_int_equal(mm_line_boot(xa, xb, ab, MM_BOOT_DEFAULT, &line, &err), -1);
	mm_boot_fini(&boot);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_closed_forms), cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_transport), cmocka_unit_test(test_against_slow), cmocka_unit_test(test_bad_rows),
		cmocka_unit_test(test_axioms), cmocka_unit_test(test_matrix), cmocka_unit_test(test_coverage),
		cmocka_unit_test(test_nearer), cmocka_unit_test(test_heading), cmocka_unit_test(test_spectrum),
		cmocka_unit_test(test_line) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
