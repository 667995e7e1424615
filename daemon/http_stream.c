/* http_stream.c - server-sent events: what PUB publishes, for those who speak HTTP.
 *
 *   event: hello          {"boot","seq"}: where the daemon is
 *   event: model, ...     as published; its id is BOOT:SEQ, which a browser sends back when it connects again
 *   event: resync         what came between is not known any more: read the state again
 *
 * A stream is a place in the ring that events.c keeps, and the text of the one event it is sending. So a slow client
 * costs that much, loses nothing while the ring reaches, and after that gets a resync. A stream that has sent all there
 * is is suspended; a comment line every 15 seconds finds out whether somebody is still there.
 */
#include "daemon/http_priv.h"

#include <stdlib.h>
#include <string.h>

#define MAX_STREAMS 64

struct mm_http_stream {
	struct mm_http *h;
	struct mm_http_stream *next;
	struct MHD_Connection *conn;
	int64_t seq; /* of the last event that was sent */
	bool hello, resync, beat, suspended;
	struct mm_buf text;
	size_t off;
};

/* One event as text; data is one line, because JSON has no line breaks of its own. */
static void put(struct mm_http_stream *s, const char *type, int64_t seq, const json_t *data)
{
	struct mm_err err = { 0 };
	char *json = data ? mm_json_dump(data, &err) : NULL;
	if (json)
		mm_buf_printf(
			&s->text, "id: %s:%lld\nevent: %s\ndata: ", mm_events_boot(s->h->d), (long long)seq, type);
	if (json)
		mm_buf_str(&s->text, json);
	mm_buf_str(&s->text, json ? "\n\n" : "");
	mm_free(json);
}

static void put_place(struct mm_http_stream *s, const char *type)
{
	int64_t seq = mm_events_seq(s->h->d);
	json_t *o = json_pack("{s:s, s:I}", "boot", mm_events_boot(s->h->d), "seq", (json_int_t)seq);
	put(s, type, seq, o);
	json_decref(o);
}

/* The next piece of text, if there is one. */
static void compose(struct mm_http_stream *s)
{
	const struct mm_daemon *d = s->h->d;
	s->text.len = s->off = 0;
	const json_t *e = s->seq < mm_events_seq(d) ? mm_event_get(d, s->seq + 1) : NULL;
	if (s->resync || (!e && s->seq < mm_events_seq(d))) {
		put_place(s, "resync");
		s->seq = mm_events_seq(d);
		s->resync = s->hello = false;
	} else if (s->hello) {
		put_place(s, "hello");
		s->hello = false;
	} else if (e) {
		put(s, json_string_value(json_object_get(e, "type")), ++s->seq, e);
	} else if (s->beat) {
		mm_buf_str(&s->text, ":\n\n");
	}
	s->beat = false;
}

static ssize_t read_stream(void *cls, uint64_t pos, char *out, size_t max)
{
	struct mm_http_stream *s = cls;
	(void)pos;
	if (s->h->stopping || s->text.failed)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (s->off == s->text.len)
		compose(s);
	size_t n = MM_MIN(max, s->text.len - s->off);
	if (!n) {
		s->suspended = true;
		MHD_suspend_connection(s->conn);
		return 0;
	}
	memcpy(out, s->text.data + s->off, n);
	s->off += n;
	return (ssize_t)n;
}

static void stream_free(void *cls)
{
	struct mm_http_stream *s = cls, **p = &s->h->streams;
	while (*p && *p != s)
		p = &(*p)->next;
	if (*p) {
		*p = s->next;
		s->h->n_streams--;
	}
	mm_buf_fini(&s->text);
	mm_free(s);
}

/* Where to begin: after BOOT:SEQ of the Last-Event-ID, after boot and seq of the query, or now. */
static void set_place(struct mm_http_stream *s, struct mm_http_req *q, const json_t *args)
{
	const struct mm_daemon *d = s->h->d;
	const char *last = MHD_lookup_connection_value(q->conn, MHD_HEADER_KIND, "Last-Event-ID");
	const char *boot = json_string_value(json_object_get(args, "boot")), *own = mm_events_boot(d);
	long long seq = json_integer_value(json_object_get(args, "seq"));
	size_t n = boot ? strlen(boot) : 0;
	const char *colon = last ? strrchr(last, ':') : NULL;
	if (colon) {
		char *end;
		boot = last;
		n = (size_t)(colon - last);
		seq = strtoll(colon + 1, &end, 10);
		if (end == colon + 1 || *end)
			seq = -1;
	}
	s->seq = mm_events_seq(d);
	if (!boot)
		return;
	bool same = strlen(own) == n && !memcmp(own, boot, n) && seq >= 0 && seq <= s->seq;
	s->resync = !same;
	if (same)
		s->seq = seq;
}

enum MHD_Result mm_http_stream_open(struct mm_http_req *q, const json_t *args)
{
	struct mm_http *h = q->h;
	struct mm_err err = { 0 };
	if (!h->d->events || h->n_streams >= MAX_STREAMS) {
		mm_http_stream_wake(h, true); /* who of them has gone shows when something is sent */
		mm_fail(&err, MM_EBUSY, "%d others are following already; try again later", MAX_STREAMS);
		return mm_http_send_error(q, MHD_HTTP_SERVICE_UNAVAILABLE, &err);
	}
	struct mm_http_stream *s = mm_calloc(1, sizeof *s, &err);
	if (!s)
		return MHD_NO;
	*s = (struct mm_http_stream){ .h = h, .conn = q->conn, .hello = true, .next = h->streams };
	set_place(s, q, args);
	h->streams = s;
	h->n_streams++;
	struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 8192, read_stream, s, stream_free);
	if (!r)
		stream_free(s);
	return mm_http_send(q, MHD_HTTP_OK, "text/event-stream", r);
}

void mm_http_stream_wake(struct mm_http *h, bool beat)
{
	bool any = false;
	for (struct mm_http_stream *s = h ? h->streams : NULL; s; s = s->next) {
		s->beat |= beat;
		if (!s->suspended)
			continue;
		s->suspended = false;
		MHD_resume_connection(s->conn);
		any = true;
	}
	if (any)
		mm_http_kick(h);
}
