/* alert_digest.c: when a hundred models arrive at once, one message instead of a hundred.
 *
 * Journal and on_alert get BURST alerts one by one; the bucket fills again with one every REFILL seconds. What comes
 * when it is empty is counted, and told as one digest a little later. Clients and subscribers still see every alert:
 * only what may wake somebody is held back. Loop thread. */
#include "daemon/alerts_priv.h"

#include <stdlib.h>
#include <string.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#define BURST	  8
#define REFILL	  30.0 /* seconds */
#define DELAY_US  30000000ull
#define NAMES_MAX 20 /* models named in a digest */

static void digest_clear(struct mm_digest *g)
{
	json_decref(g->ids);
	json_decref(g->models);
	g->ids = g->models = NULL;
	g->n = 0;
	memset(g->by_kind, 0, sizeof(g->by_kind));
}

static void to_journal(const struct mm_digest *g, const char *message)
{
	char id[SD_ID128_STRING_MAX];
	sd_id128_to_string(mm_alert_message_id(MM_AK_COUNT), id);
	int sent = sd_journal_send("MESSAGE=%s", message, "PRIORITY=%d", MM_LOG_WARN, "MESSAGE_ID=%s", id,
		"SYSLOG_IDENTIFIER=modelmapd", "MODELMAP_ALERTS=%zu", g->n, NULL);
	if (sent < 0 || !getenv("JOURNAL_STREAM"))
		mm_log(MM_LOG_WARN, "%s", message);
}

void mm_digest_flush(struct mm_daemon *d)
{
	struct mm_digest *g = &d->alerts->digest;
	struct mm_err err;
	struct mm_buf what = { 0 };
	g->timer = sd_event_source_disable_unref(g->timer);
	if (!g->n)
		return;
	json_t *kinds = json_object();
	mm_buf_printf(&what, "%zu more alerts:", g->n);
	for (size_t k = 0, first = 1; k < MM_AK_COUNT; k++) {
		if (!g->by_kind[k])
			continue;
		json_object_set_new(kinds, mm_alert_rules[k].kind, json_integer((json_int_t)g->by_kind[k]));
		mm_buf_printf(&what, "%s %zu %s", first ? "" : ",", g->by_kind[k], mm_alert_rules[k].kind);
		first = 0;
	}
	mm_buf_u8(&what, 0);
	const char *message = what.failed ? "more alerts" : (const char *)what.data;
	json_t *o = json_pack("{s:s, s:s, s:I, s:o, s:O, s:O}", "what", "digest", "message", message, "n",
		(json_int_t)g->n, "kinds", kinds, "alerts", g->ids, "models", g->models);
	char *text = o ? mm_json_dump(o, &err) : NULL;
	to_journal(g, message);
	if (text)
		mm_hook_run(d->alerts->hook, text);
	mm_free(text);
	mm_event(d, "status", o);
	mm_buf_fini(&what);
	digest_clear(g);
}

static int on_timer(sd_event_source *s, uint64_t now, void *ctx)
{
	(void)s, (void)now;
	mm_digest_flush(ctx);
	return 0;
}

bool mm_digest_take(struct mm_daemon *d, const struct mm_alert_rec *a, const char *model)
{
	struct mm_digest *g = &d->alerts->digest;
	const struct mm_alert_rule *r = mm_alert_rule_find(a->kind);
	double now = mm_monotonic();
	if (g->last <= 0)
		g->tokens = BURST;
	else
		g->tokens = MM_MIN(g->tokens + (now - g->last) / REFILL, (double)BURST);
	g->last = now;
	if (!g->n && g->tokens >= 1) {
		g->tokens -= 1;
		return false;
	}
	if (!r || !d->loop)
		return false;
	if (!g->timer &&
		sd_event_add_time_relative(d->loop, &g->timer, CLOCK_MONOTONIC, DELAY_US, 1000000, on_timer, d) < 0)
		return false; /* nobody would ever send the digest */
	g->ids = g->ids ? g->ids : json_array();
	g->models = g->models ? g->models : json_array();
	json_array_append_new(g->ids, json_integer((json_int_t)a->id));
	if (json_array_size(g->models) < NAMES_MAX)
		json_array_append_new(g->models, json_string(model));
	g->by_kind[r - mm_alert_rules]++;
	g->n++;
	return true;
}

void mm_digest_stop(struct mm_daemon *d)
{
	struct mm_digest *g = &d->alerts->digest;
	g->timer = sd_event_source_disable_unref(g->timer);
	digest_clear(g);
}
