/* cmd_watch.c - follows events: connects, keeps count, fills gaps, survives a daemon that goes and comes back. What is
 * shown, and how, is watch_view.c's.
 *
 * PUB tells nothing to those who come late and drops for those who are slow. So we subscribe first, then ask where the
 * daemon is (`events_since`), and from then on every event must have the next number. A wrong number is a gap: the
 * daemon is asked for what is missing. Another `boot` is another life of the daemon. Silence for longer than some
 * heartbeats means that it hangs or has gone. Where the events' endpoint cannot be reached (tcp), `events_since` is
 * asked once a second instead.
 */
#include "client/watch.h"

#include <string.h>

#define SILENCE_S (3 * MM_HEARTBEAT_S + 0.5)
#define ASK_S	  5.0 /* patience with one call while watching */
#define RETRY_S	  0.5 /* between attempts to reach a daemon that has gone */
#define POLL_S	  1.0 /* without a PUB socket */
#define IDLE_S	  0.5 /* idle must last: the daemon may be about to see the files just copied */

static int handle(struct mm_watch *w, const json_t *event, struct mm_err *err)
{
	struct mm_event_head h;
	if (mm_event_head(event, &h, err))
		return -1;
	w->seq = MM_MAX(w->seq, h.seq);
	w->changed = mm_monotonic();
	return mm_watch_show(w, event, &h, err);
}

/* Everything after w->seq. *gap: it is not all there any more. */
static int catch_up(struct mm_watch *w, bool *gap, struct mm_err *err)
{
	bool more = true;
	*gap = false;
	while (more) {
		json_t *b, *e, *args = NULL;
		size_t i;
		if (*w->boot)
			args = json_pack("{s:s, s:I}", "boot", w->boot, "seq", (json_int_t)w->seq);
		if (mm_cli_call(w->cli, "events_since", args, &b, err))
			return -1;
		bool new_life = strcmp(mm_str(b, "boot"), w->boot) != 0;
		*gap = *gap || json_is_true(json_object_get(b, "gap"));
		more = json_is_true(json_object_get(b, "more"));
		int rc = 0;
		if (new_life || *gap) {
			snprintf(w->boot, sizeof w->boot, "%s", mm_str(b, "boot"));
			w->seq = mm_int(b, "seq", 0);
			*gap = true;
			more = false;
		} else {
			json_array_foreach (json_object_get(b, "events"), i, e)
				if (!rc)
					rc = handle(w, e, err);
		}
		if (!*w->endpoint)
			snprintf(w->endpoint, sizeof w->endpoint, "%s",
				w->cli->o.events ? w->cli->o.events : mm_str(b, "endpoint"));
		json_decref(b);
		if (rc)
			return -1;
	}
	w->heard = mm_monotonic();
	return 0;
}

/* The whole state, after the start, a restart or a gap that cannot be filled. */
static int snapshot(struct mm_watch *w, struct mm_err *err)
{
	json_t *b;
	if (mm_cli_call(w->cli, "queue", NULL, &b, err))
		return -1;
	mm_watch_jobs(w, json_object_get(b, "jobs"));
	json_decref(b);
	w->changed = mm_monotonic();
	return 0;
}

/* Whether the events' endpoint can be reached the way we came: a path from here, or tcp with the keys that we have. */
static bool reachable(const struct mm_watch *w)
{
	bool ours_tcp = !strncmp(mm_conn_url(w->cli->conn), "tcp:", 4), theirs_tcp = !strncmp(w->endpoint, "tcp:", 4);
	return *w->endpoint && (ours_tcp == theirs_tcp || w->cli->o.events) && !strstr(w->endpoint, "://0.0.0.0") &&
	       !strchr(w->endpoint, '*');
}

static int begin(struct mm_watch *w, struct mm_err *err)
{
	bool gap;
	if (!*w->endpoint && catch_up(w, &gap, err)) /* only to learn where the events are */
		return -1;
	w->polling = !reachable(w);
	if (!w->polling && mm_conn_follow(w->cli->conn, w->endpoint, err))
		return -1;
	if (catch_up(w, &gap, err) || snapshot(w, err))
		return -1;
	w->away = false;
	return 0;
}

/* The daemon does not answer: tell once, go on trying until somebody ends us. */
static int lost(struct mm_watch *w, struct mm_err *why, struct mm_err *err)
{
	if (!w->cli->no_daemon && why->code != MM_ETIMEOUT) {
		*err = *why;
		return -1;
	}
	if (!w->away)
		mm_watch_note(w, "the daemon has gone; waiting for it");
	w->away = true;
	return 0;
}

static int resync(struct mm_watch *w, struct mm_err *err)
{
	struct mm_err why = { 0 };
	bool gap;
	if (w->away) {
		if (begin(w, &why))
			return lost(w, &why, err);
		mm_watch_note(w, "the daemon is back");
		return 0;
	}
	char boot[sizeof w->boot];
	memcpy(boot, w->boot, sizeof boot);
	if (catch_up(w, &gap, &why))
		return lost(w, &why, err);
	if (!gap)
		return 0;
	mm_watch_note(w, strcmp(boot, w->boot) != 0 ? "the daemon has been restarted" : "some events were lost");
	return snapshot(w, &why) ? lost(w, &why, err) : 0;
}

static int on_event(struct mm_watch *w, const json_t *event, struct mm_err *err)
{
	struct mm_event_head h;
	if (mm_event_head(event, &h, err))
		return -1;
	bool beat = !strcmp(h.type, "heartbeat");
	w->heard = mm_monotonic();
	if (strcmp(h.boot, w->boot) != 0 || h.seq > w->seq + !beat)
		return resync(w, err);
	return beat || h.seq <= w->seq ? 0 : handle(w, event, err);
}

/* 1: nothing is left to do. */
static int is_idle(struct mm_watch *w, struct mm_err *err)
{
	json_t *b;
	struct mm_err why = { 0 };
	if (mm_cli_call(w->cli, "status", NULL, &b, &why))
		return lost(w, &why, err);
	const json_t *q = json_object_get(b, "queue"),
		     *scanned = json_object_get(json_object_get(b, "watch"), "scanned");
	w->left = mm_int(q, "running", 0) + mm_int(q, "queued", 0) + mm_int(q, "probing", 0);
	int64_t ended = mm_int(b, "scored", mm_int(b, "models", 0)) + mm_int(q, "failed", 0);
	bool busy = w->left || json_is_false(scanned) || ended < w->cli->o.min_models;
	json_decref(b);
	double now = mm_monotonic();
	if (busy)
		w->idle_since = 0;
	else if (!w->idle_since || w->changed > w->idle_since)
		w->idle_since = now;
	return w->idle_since && now - w->idle_since >= IDLE_S;
}

static int out_of_time(const struct mm_watch *w, struct mm_err *err)
{
	char t[32];
	mm_format_duration(w->cli->o.timeout, t, sizeof t);
	if (!w->cli->o.until_idle)
		return 0;
	if (w->away)
		w->cli->no_daemon = true;
	return mm_fail(err, MM_ETIMEOUT, "not idle within %s: %lld still to be scored", t, (long long)w->left);
}

/* One turn: the next event, or what is due when none comes. 1: end. */
static int turn(struct mm_watch *w, double end, struct mm_err *err)
{
	json_t *event = NULL;
	double now = mm_monotonic(), wait = w->away ? RETRY_S : w->polling ? POLL_S : SILENCE_S - (now - w->heard);
	if (w->cli->o.until_idle)
		wait = MM_MIN(wait, IDLE_S / 2);
	wait = MM_MIN(MM_MAX(wait, 0.01), end - now);
	int got = w->polling || w->away ? 0 : mm_conn_event(w->cli->conn, wait, &event, err);
	if (w->polling || w->away)
		mm_conn_pause(wait);
	int rc = got < 0 ? -1 : 0;
	if (got > 0)
		rc = on_event(w, event, err);
	else if (!rc && (w->away || w->polling || mm_monotonic() - w->heard > SILENCE_S))
		rc = resync(w, err);
	json_decref(event);
	if (!rc && !got && w->cli->o.until_idle && !w->away)
		rc = is_idle(w, err);
	return rc;
}

int mm_run_watch(struct mm_cli *c, struct mm_err *err)
{
	struct mm_watch w = { .cli = c };
	double start = mm_monotonic(), limit = c->o.timeout > 0 ? c->o.timeout : 1e9;
	mm_cli_catch_signals();
	c->o.timeout = limit < ASK_S ? limit : ASK_S;
	int rc = begin(&w, err);
	c->o.timeout = limit;
	while (!rc && !mm_cli_stopped()) {
		mm_watch_paint(&w);
		if (mm_monotonic() - start >= limit) {
			rc = out_of_time(&w, err);
			break;
		}
		rc = turn(&w, start + limit, err);
	}
	mm_watch_end(&w);
	return rc < 0 ? -1 : 0;
}
