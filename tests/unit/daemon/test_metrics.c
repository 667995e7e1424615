/* test_metrics.c: figures that the end-to-end test cannot bring about: percentiles of shares, failures by cause, causes
 * beyond the bound, hostile labels, lags. */
#include "core_kit.h"
#include "daemon/http_priv.h"

static struct mm_http http;

static struct mm_model_entry *add(const char *name)
{
	struct mm_err err = { 0 };
	char path[100];
	snprintf(path, sizeof path, "/m/%s", name);
	struct mm_model_entry *e = mm_reg_add(&kit, name, path, &err);
	if (!e)
		fail_msg("%s", err.text);
	return e;
}

static char *metrics(void)
{
	struct mm_err err = { 0 };
	struct mm_buf b = { 0 };
	if (mm_http_metrics(&http, &b, &err))
		fail_msg("%s", err.text);
	mm_buf_u8(&b, 0);
	char *s = strdup((const char *)b.data);
	mm_buf_fini(&b);
	return s;
}

static void says(const char *s, const char *line)
{
	char whole[200];
	snprintf(whole, sizeof whole, "\n%s\n", line);
	if (!strstr(s, whole))
		fail_msg("no line %s in\n%s", line, s);
}

static void shares(void **state)
{
	(void)state;
	kit_start();
	char *s = metrics();
	says(s, "modelmapd_scoring_gemm_share_models 0");
	says(s, "modelmapd_scoring_gemm_share{percentile=\"50\"} NaN");
	free(s);
	static const double share[] = { 0.5, 0, 0.875, 0.25, 0.75, 0, 0.625, 0.125, 1, 0.375 };
	for (size_t i = 0; i < MM_COUNT(share); i++) {
		char name[16];
		snprintf(name, sizeof name, "m%zu", i);
		add(name)->rec.gemm_share = share[i];
	}
	s = metrics(); /* eight known: 0.125 ... 1 */
	says(s, "modelmapd_scoring_gemm_share_models 8");
	says(s, "modelmapd_scoring_gemm_share{percentile=\"10\"} 0.125");
	says(s, "modelmapd_scoring_gemm_share{percentile=\"50\"} 0.5");
	says(s, "modelmapd_scoring_gemm_share{percentile=\"90\"} 0.875");
	assert_null(strstr(s, "\"m1\""));
	free(s);
	kit_stop();
}

static void failures(void **state)
{
	struct mm_err err = { 0 };
	(void)state;
	kit_start();
	kit.counts.why[MM_ENOMEM] = 7;
	for (size_t i = 0; i < 40; i++) {
		char name[16], code[16];
		snprintf(name, sizeof name, "m%zu", i);
		snprintf(code, sizeof code, "cause%02zu", i / 2);
		struct mm_model_entry *e = add(name);
		e->rec.state = MM_ST_FAILED;
		assert_int_equal(mm_reg_str(&e->rec.reason_code, i < 38 ? code : "od\"d\\\n", &err), 0);
	}
	char *s = metrics();
	says(s, "modelmapd_scorer_failures_total{cause=\"no_memory\"} 7");
	says(s, "modelmapd_scorer_failures_total{cause=\"timeout\"} 0");
	says(s, "modelmapd_models_failed{cause=\"cause00\"} 2");
	says(s, "modelmapd_models_failed{cause=\"od\\\"d\\\\ \"} 2");
	free(s);
	for (size_t i = 0; i < 30; i++) {
		char name[16], code[16];
		snprintf(name, sizeof name, "n%zu", i);
		snprintf(code, sizeof code, "more%02zu", i);
		struct mm_model_entry *e = add(name);
		e->rec.state = MM_ST_FAILED;
		assert_int_equal(mm_reg_str(&e->rec.reason_code, code, &err), 0);
	}
	s = metrics(); /* 20 causes and 12 of the new ones have a line; 18 do not */
	says(s, "modelmapd_models_failed{cause=\"more11\"} 1");
	says(s, "modelmapd_models_failed{cause=\"other\"} 18");
	assert_null(strstr(s, "more12"));
	free(s);
	kit_stop();
}

static void lags(void **state)
{
	(void)state;
	kit_start();
	mm_http_lag(&http, 0);
	mm_http_lag(&http, 0.001); /* a bucket holds its bound */
	mm_http_lag(&http, 0.3);
	mm_http_lag(&http, 99);
	char *s = metrics();
	says(s, "modelmapd_loop_lag_seconds_bucket{le=\"0.001\"} 2");
	says(s, "modelmapd_loop_lag_seconds_bucket{le=\"0.1\"} 2");
	says(s, "modelmapd_loop_lag_seconds_bucket{le=\"0.5\"} 3");
	says(s, "modelmapd_loop_lag_seconds_bucket{le=\"+Inf\"} 4");
	says(s, "modelmapd_loop_lag_seconds_count 4");
	says(s, "modelmapd_loop_lag_seconds_sum 99.301");
	free(s);
	kit_stop();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(shares, kit_setup, kit_teardown),
		cmocka_unit_test_setup_teardown(failures, kit_setup, kit_teardown),
		cmocka_unit_test_setup_teardown(lags, kit_setup, kit_teardown) };
	fake_main(argc, argv);
	http.d = &kit;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
