/* http_answer.c - from a request to its answer: who may ask, what is asked, and the bytes that go back.
 *
 * A command runs through the same handler as over the sockets. One that is computed elsewhere leaves its request in
 * h->waiting and its connection suspended; mm_ctl_finish brings the answer by the token. Waiting commands and bytes of
 * answers are bounded.
 */
#include "daemon/http_priv.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_WAITING 64
#define MAX_HELD    ((size_t)256 << 20)
#define TOKEN	    (UINT64_C(1) << 63) /* of our commands, so that ctl.c knows them from its own */

/* ---- answers ---- */

static const struct {
	const char *name, *value;
} headers[] = {
	{ "X-Content-Type-Options", "nosniff" },
	{ "X-Frame-Options", "DENY" },
	{ "Referrer-Policy", "no-referrer" },
	{ "Cross-Origin-Resource-Policy", "same-origin" },
	{ "Cross-Origin-Opener-Policy", "same-origin" },
	{ "Cache-Control", "no-store" },
};

/* The page may load what lies beside it and ask where it came from, and nothing else. */
static const char page_policy[] =
	"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
static const char answer_policy[] = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

enum MHD_Result mm_http_send(struct mm_http_req *q, unsigned status, const char *type, struct MHD_Response *r)
{
	if (!r)
		return MHD_NO; /* no memory: the connection ends */
	bool html = !strncmp(type, "text/html", 9);
	bool ok = MHD_add_response_header(r, "Content-Type", type) == MHD_YES &&
		  MHD_add_response_header(r, "Content-Security-Policy", html ? page_policy : answer_policy) == MHD_YES;
	for (size_t i = 0; ok && i < MM_COUNT(headers); i++)
		ok = MHD_add_response_header(r, headers[i].name, headers[i].value) == MHD_YES;
	if (ok && status == MHD_HTTP_UNAUTHORIZED)
		ok = MHD_add_response_header(r, "WWW-Authenticate", "Bearer realm=\"modelmapd\"") == MHD_YES;
	if (ok && status == MHD_HTTP_METHOD_NOT_ALLOWED)
		ok = MHD_add_response_header(r, "Allow", "GET, HEAD") == MHD_YES;
	q->h->n_answers[status / 100 % 6]++;
	enum MHD_Result rc = ok ? MHD_queue_response(q->conn, status, r) : MHD_NO;
	MHD_destroy_response(r);
	return rc;
}

struct held { /* bytes of an answer; counted until they are gone */
	struct mm_http *h;
	struct mm_buf data;
};

static ssize_t held_read(void *cls, uint64_t at, char *out, size_t max)
{
	const struct held *s = cls;
	size_t n = at < s->data.len ? MM_MIN(max, s->data.len - (size_t)at) : 0;
	memcpy(out, s->data.data + at, n);
	return n ? (ssize_t)n : MHD_CONTENT_READER_END_OF_STREAM;
}

static void held_free(void *cls)
{
	struct held *s = cls;
	s->h->held -= s->data.len;
	mm_buf_fini(&s->data);
	mm_free(s);
}

/* Takes the contents of b. */
static enum MHD_Result send_bytes(struct mm_http_req *q, unsigned status, const char *type, struct mm_buf *b)
{
	struct mm_err err = { 0 };
	struct mm_http *h = q->h;
	if (mm_buf_check(b, &err) || (b->len > 65536 && h->held + b->len > MAX_HELD)) {
		mm_buf_fini(b);
		if (!err.code)
			mm_fail(&err, MM_EBUSY, "too many large answers are under way; try again later");
		return mm_http_send_error(q, MHD_HTTP_SERVICE_UNAVAILABLE, &err);
	}
	struct held *s = mm_calloc(1, sizeof *s, &err);
	if (!s) {
		mm_buf_fini(b);
		return MHD_NO;
	}
	*s = (struct held){ h, *b };
	*b = (struct mm_buf){ 0 };
	h->held += s->data.len;
	struct MHD_Response *r = MHD_create_response_from_callback(s->data.len, 16384, held_read, s, held_free);
	if (!r)
		held_free(s);
	return mm_http_send(q, status, type, r);
}

/* Takes o; `list` (NULL: none) is one more member of it, written already. */
static enum MHD_Result send_object(struct mm_http_req *q, unsigned status, json_t *o, const struct mm_reply *list)
{
	struct mm_err err = { 0 };
	struct mm_buf b = { 0 };
	char *text = o ? mm_json_dump(o, &err) : NULL;
	json_decref(o);
	if (!text)
		return MHD_NO;
	mm_buf_put(&b, text, strlen(text) - (list != NULL));
	if (list) {
		mm_buf_printf(&b, "%s\"%s\":[", text[1] == '}' ? "" : ",", list->list_key);
		mm_buf_put(&b, list->list.data, list->list.len);
		mm_buf_str(&b, "]}");
	}
	mm_buf_u8(&b, '\n');
	mm_free(text);
	return send_bytes(q, status, "application/json", &b);
}

static enum MHD_Result send_json(struct mm_http_req *q, unsigned status, json_t *o)
{
	return send_object(q, status, o, NULL);
}

enum MHD_Result mm_http_send_error(struct mm_http_req *q, unsigned status, const struct mm_err *why)
{
	if (why->code == MM_EINTERNAL)
		mm_log(MM_LOG_ERROR, "http: %s", why->text);
	return send_json(
		q, status, json_pack("{s:{s:s, s:s}}", "error", "code", mm_err_name(why->code), "text", why->text));
}

enum MHD_Result mm_http_refuse(struct mm_http_req *q, unsigned status, enum mm_err_code code, const char *text)
{
	struct mm_err err = { 0 };
	mm_fail(&err, code, "%s", text);
	return mm_http_send_error(q, status, &err);
}

/* ---- commands ---- */

static void reply_fini(struct mm_reply *r)
{
	json_decref(r->body);
	mm_buf_fini(&r->data);
	mm_buf_fini(&r->list);
	if (r->fd >= 0)
		close(r->fd);
	*r = (struct mm_reply){ .fd = -1 };
}

static void unlink_waiting(struct mm_http_req *q)
{
	struct mm_http_req **p = &q->h->waiting;
	while (*p && *p != q)
		p = &(*p)->next;
	if (*p) {
		*p = q->next;
		q->h->n_waiting--;
	}
	q->token = 0;
}

void mm_http_finish(struct mm_daemon *d, uint64_t token, struct mm_reply *reply, const struct mm_err *why)
{
	struct mm_http *h = d->http;
	struct mm_http_req *q = h ? h->waiting : NULL;
	while (q && q->token != token)
		q = q->next;
	if (q) {
		unlink_waiting(q);
		q->done = true;
		if (why) {
			q->why = *why;
		} else if (reply) {
			q->reply = *reply;
			*reply = (struct mm_reply){ .fd = -1 };
		}
		if (q->suspended) {
			q->suspended = false;
			MHD_resume_connection(q->conn);
			mm_http_kick(h);
		}
	}
	if (reply)
		reply_fini(reply);
}

static const char *bulk_type(const json_t *body)
{
	const char *what = json_string_value(json_object_get(body, "what"));
	return !what ? "application/jsonl; charset=utf-8" /* texts_select: texts as the daemon reads them */
	       : !strcmp(what, "names")	 ? "text/plain; charset=utf-8"
	       : !strcmp(what, "coords") ? "text/csv; charset=utf-8"
					 : "application/octet-stream";
}

static enum MHD_Result send_reply(struct mm_http_req *q)
{
	struct mm_reply *r = &q->reply;
	struct stat st;
	if (q->why.code)
		return mm_http_send_error(q, mm_http_status(q->why.code), &q->why);
	if (!r->bulk) {
		json_t *body = r->body ? r->body : json_object();
		r->body = NULL;
		return send_object(q, MHD_HTTP_OK, body, r->list_key ? r : NULL);
	}
	const char *type = bulk_type(r->body);
	if (r->fd < 0)
		return send_bytes(q, MHD_HTTP_OK, type, &r->data);
	if (fstat(r->fd, &st))
		return mm_http_refuse(q, MHD_HTTP_INTERNAL_SERVER_ERROR, MM_EIO, "the answer's file cannot be read");
	struct MHD_Response *resp = MHD_create_response_from_fd64((uint64_t)st.st_size, r->fd);
	if (resp)
		r->fd = -1; /* the response closes it */
	return mm_http_send(q, MHD_HTTP_OK, type, resp);
}

static enum MHD_Result run_command(struct mm_http_req *q, const struct mm_request *request)
{
	struct mm_http *h = q->h;
	struct mm_err err = { 0 };
	mm_cmd_fn fn = mm_command_handler(request->cmd->name);
	if (!fn)
		return mm_http_refuse(
			q, MHD_HTTP_NOT_FOUND, MM_EUNSUPPORTED, "this command is not built into this daemon");
	if (h->n_waiting >= MAX_WAITING)
		return mm_http_refuse(q, MHD_HTTP_SERVICE_UNAVAILABLE, MM_EBUSY,
			"too many requests are waiting for their answers; try again later");
	q->token = TOKEN | ++h->next_token;
	q->next = h->waiting;
	h->waiting = q;
	h->n_waiting++;
	struct mm_reply r = { .fd = -1, .token = q->token };
	int rc = fn(h->d, request->body, &r, &err);
	if (!rc && r.deferred && !q->done) {
		q->suspended = true;
		MHD_suspend_connection(q->conn);
		return MHD_YES;
	}
	if (q->done) /* answered before the handler came back */
		return send_reply(q);
	unlink_waiting(q);
	if (rc) {
		reply_fini(&r);
		return mm_http_send_error(q, mm_http_status(err.code), &err);
	}
	q->reply = r;
	return send_reply(q);
}

/* ---- requests ---- */

/* What there is, for whoever opens the address by hand. */
static enum MHD_Result send_index(struct mm_http_req *q)
{
	json_t *api = json_array();
	for (size_t i = 0; api && i < mm_n_cmds; i++)
		if (mm_cmds[i].access == MM_READ && strcmp(mm_cmds[i].name, "chunk"))
			json_array_append_new(api, json_sprintf("/api/v1/%s", mm_cmds[i].name));
	json_array_append_new(api, json_string("/api/v1/events"));
	return send_json(q, MHD_HTTP_OK,
		json_pack("{s:s, s:s, s:s, s:o}", "program", "modelmapd", "version", MM_VERSION, "metrics", "/metrics",
			"api", api));
}

static enum MHD_Result send_metrics(struct mm_http_req *q)
{
	struct mm_buf b = { 0 };
	struct mm_err err = { 0 };
	if (!mm_http_metrics(q->h, &b, &err))
		return send_bytes(q, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &b);
	mm_buf_fini(&b);
	return mm_http_send_error(q, MHD_HTTP_INTERNAL_SERVER_ERROR, &err);
}

/* Takes as long for a wrong token as for the right one. */
static bool token_right(const struct mm_http *h, const char *auth)
{
	static const char scheme[] = "Bearer ";
	size_t n = strlen(h->token);
	if (!auth || strncasecmp(auth, scheme, sizeof scheme - 1))
		return false;
	const char *given = auth + sizeof scheme - 1;
	size_t len = strlen(given);
	unsigned diff = len != n;
	for (size_t i = 0; i < n; i++)
		diff |= (unsigned)(unsigned char)h->token[i] ^ (unsigned)(unsigned char)given[len ? i % len : 0];
	return !diff;
}

enum MHD_Result mm_http_answer(struct mm_http_req *q)
{
	struct mm_http *h = q->h;
	struct mm_http_ask ask;
	struct mm_err err = { 0 };
	unsigned status;
	if (q->done)
		return send_reply(q);
	if (q->token)
		return MHD_NO; /* went on, but not through us */
	const char *host = MHD_lookup_connection_value(q->conn, MHD_HEADER_KIND, "Host");
	if (h->stopping)
		return mm_http_refuse(q, MHD_HTTP_SERVICE_UNAVAILABLE, MM_ECANCELLED, "the daemon is stopping");
	if (q->too_long || !q->target)
		return mm_http_refuse(q, MHD_HTTP_URI_TOO_LONG, MM_EINVAL, "the request line is too long");
	/* The page itself is the same everywhere and holds nothing: it asks its reader for the token. */
	int file = mm_http_page_find(h->page, q->target, strcspn(q->target, "?"));
	if (file < 0 && h->token[0] &&
		!token_right(h, MHD_lookup_connection_value(q->conn, MHD_HEADER_KIND, "Authorization")))
		return mm_http_refuse(q, MHD_HTTP_UNAUTHORIZED, MM_EDENIED,
			"this daemon asks for a token (Authorization: Bearer ...)");
	if (!h->token[0] && (!host || !mm_http_host_is_local(host)))
		return mm_http_refuse(q, MHD_HTTP_MISDIRECTED_REQUEST, MM_EDENIED,
			"the Host header is not an address of this machine or localhost");
	if (file >= 0)
		return mm_http_page_send(q, file);
	if (mm_http_parse(q->target, &ask, &status, &err))
		return mm_http_send_error(q, status, &err);
	enum MHD_Result rc = MHD_NO;
	switch (ask.kind) {
	case MM_HTTP_INDEX:
		rc = send_index(q);
		break;
	case MM_HTTP_METRICS:
		rc = send_metrics(q);
		break;
	case MM_HTTP_EVENTS:
		rc = mm_http_stream_open(q, ask.request.body);
		break;
	case MM_HTTP_COMMAND:
		rc = run_command(q, &ask.request);
		break;
	}
	mm_http_ask_fini(&ask);
	return rc;
}

/* ---- the end ---- */

void mm_http_req_free(struct mm_http_req *q)
{
	if (q->token)
		unlink_waiting(q);
	reply_fini(&q->reply);
	mm_free(q->target);
	mm_free(q);
}

void mm_http_release(struct mm_http *h)
{
	while (h->waiting) {
		struct mm_http_req *q = h->waiting;
		unlink_waiting(q);
		if (q->suspended)
			MHD_resume_connection(q->conn);
		q->suspended = false;
	}
}
