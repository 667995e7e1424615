/* events.c - the PUB socket: everything that happens, numbered, and the last of it kept for those who lost some.
 *
 * PUB drops silently when a subscriber is slow, and a subscriber that connects has missed what came before. So each
 * event has a number within this run of the daemon (`boot`), a ring holds the last ones, and `events_since` hands out
 * what is missing, or says that there is a gap that it cannot fill. Heartbeats tell quiet from dead.
 */
#include "daemon/ctl_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <zmq.h>

#define RING	   4096 /* events kept */
#define REPLY_MAX  1000 /* events in one reply of events_since */
#define BEAT_USEC  ((uint64_t)(MM_HEARTBEAT_S * 1e6))
#define BEAT_SLACK UINT64_C(250000)

struct mm_events {
	struct mm_net_sock sock;
	sd_event_source *beat;
	char boot[17];
	int64_t seq;	    /* of the last event; 0: none yet */
	json_t *ring[RING]; /* event n at n % RING */
};

static void publish(struct mm_events *e, const char *topic, const json_t *event)
{
	struct mm_err err = { 0 };
	char *text = mm_json_dump(event, &err);
	/* PUB never blocks: it drops for those who are behind, and they see the gap in the numbers. */
	if (text && zmq_send(e->sock.zmq, topic, strlen(topic), ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
		zmq_send(e->sock.zmq, text, strlen(text), ZMQ_DONTWAIT);
	mm_free(text);
}

void mm_event(struct mm_daemon *d, const char *type, json_t *body)
{
	struct mm_events *e = d->events;
	struct mm_err err = { 0 };
	if (!e || !body) {
		json_decref(body);
		return;
	}
	json_t *event = mm_event_new(e->boot, e->seq + 1, mm_now(), type, body, &err);
	if (!event) {
		mm_log(MM_LOG_ERROR, "an event was lost: %s", err.text);
		return;
	}
	e->seq++;
	json_decref(e->ring[e->seq % RING]);
	e->ring[e->seq % RING] = event;
	publish(e, type, event);
	if (d->http_event)
		d->http_event(d);
}

const char *mm_events_boot(const struct mm_daemon *d)
{
	return d->events ? d->events->boot : "";
}

int64_t mm_events_seq(const struct mm_daemon *d)
{
	return d->events ? d->events->seq : 0;
}

const json_t *mm_event_get(const struct mm_daemon *d, int64_t seq)
{
	const struct mm_events *e = d->events;
	return e && seq > 0 && seq <= e->seq && seq > e->seq - RING ? e->ring[seq % RING] : NULL;
}

static int on_beat(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct mm_daemon *d = ctx;
	struct mm_err err = { 0 };
	(void)usec;
	json_t *event = mm_event_new(d->events->boot, d->events->seq, mm_now(), "heartbeat", NULL, &err);
	if (event)
		publish(d->events, "heartbeat", event);
	json_decref(event);
	sd_event_source_set_time_relative(s, BEAT_USEC);
	return 0;
}

int mm_events_start(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_events *e = d->events = mm_calloc(1, sizeof *e, err);
	uint64_t boot;
	if (!e)
		return -1;
	if (getrandom(&boot, sizeof boot, 0) != (ssize_t)sizeof boot) {
		mm_fail_errno(err, "cannot get random numbers");
		goto bad;
	}
	snprintf(e->boot, sizeof e->boot, "%016llx", (unsigned long long)boot);
	if (mm_net_open(d, &e->sock, ZMQ_PUB, MM_NET_EVENTS, d->cfg.events, err)) {
		mm_wrap(err, "events");
		goto bad;
	}
	int r = sd_event_add_time_relative(d->loop, &e->beat, CLOCK_MONOTONIC, BEAT_USEC, BEAT_SLACK, on_beat, d);
	if (r >= 0)
		r = sd_event_source_set_enabled(e->beat, SD_EVENT_ON);
	if (r < 0) {
		errno = -r;
		mm_fail_errno(err, "cannot make a timer");
		goto bad;
	}
	return 0;
bad:
	mm_events_stop(d);
	return -1;
}

const char *mm_events_url(const struct mm_daemon *d)
{
	return d->events ? d->events->sock.url : NULL;
}

void mm_events_stop(struct mm_daemon *d)
{
	struct mm_events *e = d->events;
	if (!e)
		return;
	sd_event_source_disable_unref(e->beat);
	mm_net_close(d, &e->sock);
	mm_zap_stop(d);
	for (size_t i = 0; i < RING; i++)
		json_decref(e->ring[i]);
	mm_free(e);
	d->events = NULL;
}

/* {"boot","seq","endpoint","gap","more","events":[...]}. `seq` is the last event there is; `gap`: what the client asked
 * for is not all there any more (another run, or older than the ring), and it should ask for the whole state. */
int mm_cmd_events_since(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const struct mm_events *e = d->events;
	const char *boot = json_string_value(json_object_get(args, "boot"));
	const json_t *jseq = json_object_get(args, "seq");
	int64_t seq = jseq ? json_integer_value(jseq) : 0;
	if (!e)
		return mm_fail(err, MM_EUNSUPPORTED, "this daemon publishes no events");
	bool same = boot && jseq && !strcmp(boot, e->boot) && seq <= e->seq, gap = (boot || jseq) && !same;
	int64_t from = seq + 1, oldest = MM_MAX(INT64_C(1), e->seq - RING + 1);
	if (same && from < oldest) {
		gap = true;
		from = oldest;
	}
	json_t *list = json_array();
	for (; same && from <= e->seq && json_array_size(list) < REPLY_MAX; from++)
		json_array_append(list, e->ring[from % RING]);
	reply->body = json_pack("{s:s, s:I, s:s, s:b, s:b, s:o}", "boot", e->boot, "seq", (json_int_t)e->seq,
		"endpoint", e->sock.url, "gap", gap, "more", same && from <= e->seq, "events", list);
	return reply->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory for events");
}
