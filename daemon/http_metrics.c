/* http_metrics.c - GET /metrics in the text format of Prometheus: aggregates only. There is no label with a model's
 * name, so that the number of series does not grow with the map; the one label that checkpoints can influence, the
 * cause of a failure, has at most MAX_CAUSES values.
 */
#include "daemon/alerts_priv.h"
#include "daemon/core_priv.h"
#include "daemon/http_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CAUSES 32

const double mm_http_lag_bound[MM_HTTP_LAGS] = { 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2 };

void mm_http_lag(struct mm_http *h, double seconds)
{
	size_t i = 0;
	while (i < MM_HTTP_LAGS && seconds > mm_http_lag_bound[i])
		i++;
	h->lag_count[i]++;
	h->lag_sum += seconds;
}

/* ---- the format ---- */

static void head(struct mm_buf *b, const char *name, const char *type, const char *help)
{
	mm_buf_printf(b, "# HELP modelmapd_%s %s\n# TYPE modelmapd_%s %s\n", name, help, name, type);
}

static void put_value(struct mm_buf *b, double v)
{
	if (!isfinite(v))
		mm_buf_str(b, isnan(v) ? " NaN\n" : v > 0 ? " +Inf\n" : " -Inf\n");
	else
		mm_buf_printf(b, " %.15g\n", v);
}

/* One sample without labels, with its head. */
static void one(struct mm_buf *b, const char *name, const char *type, const char *help, double v)
{
	head(b, name, type, help);
	mm_buf_printf(b, "modelmapd_%s", name);
	put_value(b, v);
}

static void put_label(struct mm_buf *b, const char *key, const char *value)
{
	mm_buf_printf(b, "%s=\"", key);
	for (; *value; value++)
		if (*value == '\\' || *value == '"')
			mm_buf_printf(b, "\\%c", *value);
		else
			mm_buf_u8(b, *value == '\n' ? ' ' : (uint8_t)*value);
	mm_buf_u8(b, '"');
}

static void labelled(struct mm_buf *b, const char *name, const char *key, const char *value, double v)
{
	mm_buf_printf(b, "modelmapd_%s{", name);
	put_label(b, key, value);
	mm_buf_u8(b, '}');
	put_value(b, v);
}

/* ---- rooms ---- */

static void put_daemon(struct mm_buf *b, const struct mm_daemon *d)
{
	head(b, "build_info", "gauge", "Version of the daemon.");
	labelled(b, "build_info", "version", MM_VERSION, 1);
	one(b, "start_time_seconds", "gauge", "Start of the daemon, unix seconds.", (double)d->started_at);
}

static void put_queue(struct mm_buf *b, const struct mm_daemon *d)
{
	struct mm_queue_count q = { 0 };
	if (d->queue)
		mm_queue_count(d, &q);
	head(b, "queue_jobs", "gauge", "Checkpoints on their way, by state; probing ones have no job yet.");
	labelled(b, "queue_jobs", "state", "waiting", (double)q.waiting);
	labelled(b, "queue_jobs", "state", "queued", (double)q.queued);
	labelled(b, "queue_jobs", "state", "running", (double)q.running);
	labelled(b, "queue_jobs", "state", "failed", (double)q.failed);
	labelled(b, "queue_jobs", "state", "probing", d->ready ? (double)mm_ready_n_probing(d) : 0);
	head(b, "scorer_runs_total", "counter", "Runs of the scorer since the start, by how they ended.");
	labelled(b, "scorer_runs_total", "outcome", "done", (double)d->counts.done);
	labelled(b, "scorer_runs_total", "outcome", "failed", (double)d->counts.failed);
	labelled(b, "scorer_runs_total", "outcome", "retried", (double)d->counts.retried);
	labelled(b, "scorer_runs_total", "outcome", "changed", (double)d->counts.changed);
	head(b, "scorer_failures_total", "counter", "Runs that failed or are tried again, since the start, by cause.");
	for (int c = MM_EINVAL; c < MM_ERR_COUNT; c++)
		labelled(b, "scorer_failures_total", "cause", mm_err_name((enum mm_err_code)c),
			(double)d->counts.why[c]);
	one(b, "scoring_seconds_total", "counter", "Seconds that finished runs took, since the start.",
		d->counts.scored_seconds);
	one(b, "scoring_tokens_total", "counter", "Tokens that finished runs scored, since the start.",
		(double)d->counts.scored_tokens);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* How much of the machine scoring gets: only the scorer can tell, once for each model that took long enough. */
static int put_gemm_share(struct mm_buf *b, const struct mm_daemon *d, struct mm_err *err)
{
	static const unsigned percentile[] = { 10, 50, 90 };
	size_t n = 0, n_model = d->reg ? mm_reg_n(d) : 0;
	double *share = mm_calloc(n_model + 1, sizeof *share, err);
	if (!share)
		return -1;
	for (size_t i = 0; i < n_model; i++) {
		double s = mm_reg_at(d, i)->rec.gemm_share;
		if (s > 0)
			share[n++] = s;
	}
	qsort(share, n, sizeof *share, ascending);
	one(b, "scoring_gemm_share_models", "gauge", "Models whose share of the rate of matrix products is known.",
		(double)n);
	head(b, "scoring_gemm_share", "gauge",
		"Arithmetic of scoring over the machine's rate of plain matrix products, percentiles over models; "
		"NaN: not known.");
	for (size_t i = 0; i < MM_COUNT(percentile); i++) {
		char name[8];
		snprintf(name, sizeof name, "%u", percentile[i]);
		labelled(b, "scoring_gemm_share", "percentile", name,
			n ? share[(n - 1) * percentile[i] / 100] : (double)NAN);
	}
	mm_free(share);
	return 0;
}

struct causes {
	const char *name[MAX_CAUSES];
	size_t count[MAX_CAUSES], n, other;
};

static void count_cause(struct causes *c, const char *code)
{
	size_t i = 0;
	code = code && *code ? code : "unknown";
	while (i < c->n && strcmp(c->name[i], code))
		i++;
	if (i == MAX_CAUSES) {
		c->other++;
		return;
	}
	if (i == c->n)
		c->name[c->n++] = code;
	c->count[i]++;
}

static void put_models(struct mm_buf *b, const struct mm_daemon *d)
{
	struct causes failed = { 0 };
	size_t scored = 0, gone = 0, on_map = 0, n = d->reg ? mm_reg_n(d) : 0;
	for (size_t i = 0; i < n; i++) {
		const struct mm_model_entry *e = mm_reg_at(d, i);
		scored += e->rec.state == MM_ST_PLACED;
		gone += e->rec.gone;
		on_map += mm_reg_on_map(e);
		if (!e->rec.gone && (e->rec.state == MM_ST_FAILED || e->rec.state == MM_ST_NEVER_READY))
			count_cause(&failed, e->rec.reason_code);
	}
	one(b, "models", "gauge", "Models known.", (double)n);
	one(b, "models_scored", "gauge", "Models that are scored.", (double)scored);
	one(b, "models_gone", "gauge", "Models whose files are not there any more.", (double)gone);
	one(b, "models_on_map", "gauge", "Models that have a place on the map.", (double)on_map);
	head(b, "models_failed", "gauge", "Models that cannot be scored as they are, by cause.");
	for (size_t i = 0; i < failed.n; i++)
		labelled(b, "models_failed", "cause", failed.name[i], (double)failed.count[i]);
	if (failed.other)
		labelled(b, "models_failed", "cause", "other", (double)failed.other);
}

static void put_alerts(struct mm_buf *b, const struct mm_daemon *d)
{
	static const char *const states[] = {
		[MM_ALERT_OPEN] = "open", [MM_ALERT_ACKED] = "acked", [MM_ALERT_RESOLVED] = "resolved"
	};
	size_t count[MM_AK_COUNT][MM_COUNT(states)] = { 0 };
	for (size_t i = 0; d->alerts && i < d->alerts->n; i++) {
		const struct mm_alert_rec *a = d->alerts->rec[i];
		const struct mm_alert_rule *rule = mm_alert_rule_find(a->kind);
		if (rule && (size_t)a->state < MM_COUNT(states))
			count[rule - mm_alert_rules][a->state]++;
	}
	head(b, "alerts", "gauge", "Alerts, by kind and state.");
	for (size_t k = 0; k < MM_AK_COUNT; k++)
		for (size_t s = 0; s < MM_COUNT(states); s++) {
			mm_buf_str(b, "modelmapd_alerts{");
			put_label(b, "kind", mm_alert_rules[k].kind);
			mm_buf_u8(b, ',');
			put_label(b, "state", states[s]);
			mm_buf_u8(b, '}');
			put_value(b, (double)count[k][s]);
		}
}

static void put_store(struct mm_buf *b, const struct mm_daemon *d)
{
	struct mm_store_stat st = { 0 };
	struct mm_err ignored;
	if (!d->store || mm_store_stat(d->store, &st, &ignored))
		return;
	head(b, "store_bytes", "gauge", "Size of the database: pages in use, and the room that is mapped for it.");
	labelled(b, "store_bytes", "kind", "used", (double)st.bytes_used);
	labelled(b, "store_bytes", "kind", "mapped", (double)st.bytes_map);
}

/* From what `epochs` says, so that the figures are the same. */
static void put_map(struct mm_buf *b, struct mm_daemon *d)
{
	struct mm_reply r = { .fd = -1 };
	struct mm_err ignored;
	mm_cmd_fn epochs = mm_command_handler("epochs");
	one(b, "map_epoch", "gauge", "Current epoch of the map.", d->map ? (double)mm_map_epoch(d) : 0);
	if (!d->map || !epochs || epochs(d, NULL, &r, &ignored))
		return;
	const json_t *list = json_object_get(r.body, "epochs");
	const json_t *last = json_array_get(list, json_array_size(list) - 1),
		     *moved = json_object_get(last, "displacement");
	const json_t *p50 = json_object_get(moved, "p50"), *p95 = json_object_get(moved, "p95");
	if (json_is_number(p50) && json_is_number(p95)) {
		head(b, "map_displacement", "gauge",
			"How far models moved when the epoch was made, percentiles, sqrt(nats per text).");
		labelled(b, "map_displacement", "percentile", "50", json_number_value(p50));
		labelled(b, "map_displacement", "percentile", "95", json_number_value(p95));
	}
	one(b, "map_refitting", "gauge", "1 while a new epoch is made.",
		json_is_true(json_object_get(r.body, "refitting")));
	json_decref(r.body);
}

static void put_watch(struct mm_buf *b, const struct mm_daemon *d)
{
	int64_t at = mm_watch_scanned(d);
	head(b, "watch_mode", "gauge", "How directories are followed.");
	labelled(b, "watch_mode", "mode", mm_watch_mode(d), 1);
	one(b, "watch_scanned", "gauge", "1 when the first scan is done.", d->first_scan_done);
	one(b, "last_scan_age_seconds", "gauge",
		"Seconds since the watch of every directory last went round; NaN: not yet.",
		at ? (double)(mm_now() - at) : NAN);
}

static void put_http(struct mm_buf *b, const struct mm_http *h)
{
	static const char *const codes[] = { NULL, "1xx", "2xx", "3xx", "4xx", "5xx" };
	uint64_t sum = 0;
	head(b, "loop_lag_seconds", "histogram", "How late a timer of every second came.");
	for (size_t i = 0; i < MM_HTTP_LAGS; i++) {
		char le[32];
		snprintf(le, sizeof le, "%g", mm_http_lag_bound[i]);
		labelled(b, "loop_lag_seconds_bucket", "le", le, (double)(sum += h->lag_count[i]));
	}
	labelled(b, "loop_lag_seconds_bucket", "le", "+Inf", (double)(sum += h->lag_count[MM_HTTP_LAGS]));
	mm_buf_printf(b, "modelmapd_loop_lag_seconds_sum");
	put_value(b, h->lag_sum);
	mm_buf_printf(b, "modelmapd_loop_lag_seconds_count");
	put_value(b, (double)sum);
	head(b, "http_answers_total", "counter", "Answers over HTTP, by status.");
	for (size_t i = 2; i < MM_COUNT(codes); i++)
		labelled(b, "http_answers_total", "code", codes[i], (double)h->n_answers[i]);
	one(b, "http_streams", "gauge", "Followers of /api/v1/events.", (double)h->n_streams);
	one(b, "http_held_bytes", "gauge", "Bytes of answers that are not sent yet.", (double)h->held);
}

int mm_http_metrics(struct mm_http *h, struct mm_buf *out, struct mm_err *err)
{
	struct mm_daemon *d = h->d;
	put_daemon(out, d);
	put_models(out, d);
	put_queue(out, d);
	if (put_gemm_share(out, d, err))
		return -1;
	put_alerts(out, d);
	put_store(out, d);
	put_map(out, d);
	put_watch(out, d);
	put_http(out, h);
	return mm_buf_check(out, err);
}
