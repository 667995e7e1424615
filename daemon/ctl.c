/* ctl.c - two ROUTER sockets that answer clients: `control` (everything) and `query` (read commands only).
 *
 *   [identity] [empty, from REQ clients] [JSON request]  ->  the same frames with the JSON reply [and one binary frame]
 *
 * A request is parsed against the command table, its right is checked, its handler runs on the loop. A handler that
 * needs time says `deferred` and the answer comes through mm_ctl_finish with the token. Nothing here waits: a reply
 * that a client has no room for, or that nobody waits for any more, is dropped. ZeroMQ takes one message of each client
 * in turn, and the pump bounds what one turn of the loop does, so that no client keeps another one, or a scorer, from
 * its turn.
 */
#include "daemon/ctl_priv.h"

#include <string.h>
#include <unistd.h>
#include <zmq.h>

#define ROUTE_MAX	 255 /* bytes of an identity, by ZeroMQ */
#define MAX_PENDING	 512
#define MAX_OF_CLIENT	 16
#define COMPLAIN_EVERY_S 60.0

struct endpoint {
	struct mm_daemon *d;
	struct mm_net_sock sock;
	struct mm_pump pump;
	bool read_only;
};

/* Where an answer goes. */
struct route {
	struct endpoint *ep;
	uint8_t who[ROUTE_MAX];
	size_t n_who;
	bool empty; /* an empty frame stood between identity and request */
	int64_t id;
	const char *cmd; /* of the command table; NULL: not known */
};

struct pending {
	uint64_t token; /* 0: free */
	struct route to;
};

struct mm_ctl {
	struct endpoint ep[2];
	struct mm_bulk *bulk;
	struct pending *pending; /* [MAX_PENDING] */
	uint64_t next_token;
	uint64_t n_dropped;
	double complained;
	uint8_t *chunk; /* [MM_CHUNK_MAX] scratch */
};

/* ---- sending ---- */

static void forget(struct mm_ctl *c, const struct route *to)
{
	mm_bulk_forget(c->bulk, to->who, to->n_who);
	for (size_t i = 0; i < MAX_PENDING; i++) {
		struct route *r = &c->pending[i].to;
		if (c->pending[i].token && r->ep == to->ep && r->n_who == to->n_who &&
			!memcmp(r->who, to->who, to->n_who))
			c->pending[i].token = 0;
	}
}

static void dropped(struct mm_ctl *c, const struct route *to)
{
	double now = mm_monotonic();
	c->n_dropped++;
	if (c->complained && now - c->complained < COMPLAIN_EVERY_S)
		return;
	c->complained = now;
	mm_log(MM_LOG_NOTICE, "a client at %s does not fetch its replies; %llu dropped since the start",
		to->ep->sock.url, (unsigned long long)c->n_dropped);
}

static void send_frames(struct mm_ctl *c, const struct route *to, const char *json, const void *bin, size_t n_bin)
{
	void *z = to->ep->sock.zmq;
	int more = ZMQ_SNDMORE | ZMQ_DONTWAIT;
	/* Only the first frame can fail: with ROUTER_MANDATORY it says whether the client is there and has room. */
	if (zmq_send(z, to->who, to->n_who, more) < 0) {
		if (zmq_errno() == EHOSTUNREACH)
			forget(c, to);
		else
			dropped(c, to);
	} else if ((!to->empty || zmq_send(z, "", 0, more) >= 0) &&
		   zmq_send(z, json, strlen(json), bin ? more : ZMQ_DONTWAIT) >= 0 && bin) {
		zmq_send(z, bin, n_bin, ZMQ_DONTWAIT);
	}
}

static void send_json(struct mm_ctl *c, const struct route *to, json_t *reply, const void *bin, size_t n_bin)
{
	struct mm_err err = { 0 };
	char *text = reply ? mm_json_dump(reply, &err) : NULL;
	json_decref(reply);
	if (text)
		send_frames(c, to, text, bin, n_bin);
	else
		mm_log(MM_LOG_ERROR, "a reply to %s was lost: %s", to->cmd ? to->cmd : "a request",
			*err.text ? err.text : "out of memory");
	mm_free(text);
}

/* `text` without its closing brace, then the list: so that a long one is not copied into JSON values first. */
static void send_list(struct mm_ctl *c, const struct route *to, json_t *reply, const struct mm_reply *r)
{
	struct mm_err err = { 0 };
	struct mm_buf b = { 0 };
	char *text = mm_json_dump(reply, &err);
	if (text) {
		mm_buf_put(&b, text, strlen(text) - 1);
		mm_buf_printf(&b, ",\"%s\":[", r->list_key);
		mm_buf_put(&b, r->list.data, r->list.len);
		mm_buf_str(&b, "]}");
	}
	json_decref(reply);
	if (text && !mm_buf_check(&b, &err))
		send_frames(c, to, (const char *)b.data, NULL, 0);
	else
		mm_log(MM_LOG_ERROR, "a reply to %s was lost: %s", to->cmd ? to->cmd : "a request", err.text);
	mm_buf_fini(&b);
	mm_free(text);
}

static void send_error(struct mm_ctl *c, const struct route *to, const struct mm_err *why)
{
	if (why->code == MM_EINTERNAL)
		mm_log(MM_LOG_ERROR, "%s: %s", to->cmd ? to->cmd : "a request", why->text);
	send_json(c, to, mm_reply_error(to->id, why), NULL, 0);
}

static void reply_fini(struct mm_reply *r)
{
	json_decref(r->body);
	mm_buf_fini(&r->data);
	mm_buf_fini(&r->list);
	if (r->fd >= 0)
		close(r->fd);
	*r = (struct mm_reply){ .fd = -1 };
}

/* Takes what `r` holds. */
static void send_reply(struct mm_ctl *c, const struct route *to, struct mm_reply *r)
{
	struct mm_err err = { 0 };
	json_t *body = r->body ? r->body : json_object(), *reply = NULL;
	r->body = NULL;
	int64_t handle;
	uint64_t bytes;
	if (r->bulk) {
		if (mm_bulk_add(c->bulk, to->who, to->n_who, r, &handle, &bytes, &err)) {
			json_decref(body);
			body = NULL;
		} else {
			json_object_set_new(body, "bulk",
				json_pack("{s:I, s:I}", "handle", (json_int_t)handle, "bytes", (json_int_t)bytes));
		}
	}
	if (body)
		reply = mm_reply_ok(to->id, to->cmd, body, &err);
	if (reply && r->list_key)
		send_list(c, to, reply, r);
	else if (reply)
		send_json(c, to, reply, NULL, 0);
	else
		send_error(c, to, &err);
	reply_fini(r);
}

/* ---- requests ---- */

static struct pending *hold(struct mm_ctl *c, const struct route *to, struct mm_err *err)
{
	struct pending *free_one = NULL;
	size_t own = 0;
	for (size_t i = 0; i < MAX_PENDING; i++) {
		struct pending *p = &c->pending[i];
		if (!p->token)
			free_one = p;
		else if (p->to.ep == to->ep && p->to.n_who == to->n_who && !memcmp(p->to.who, to->who, to->n_who))
			own++;
	}
	if (!free_one || own >= MAX_OF_CLIENT) {
		mm_fail(err, MM_EBUSY, "too many requests are waiting for their answers; try again later");
		return NULL;
	}
	free_one->token = ++c->next_token;
	free_one->to = *to;
	return free_one;
}

static int send_chunk(struct mm_ctl *c, const struct route *to, const json_t *args, struct mm_err *err)
{
	int64_t handle = json_integer_value(json_object_get(args, "handle"));
	int64_t offset = json_integer_value(json_object_get(args, "offset"));
	size_t n;
	if (mm_bulk_read(c->bulk, to->who, to->n_who, handle, (uint64_t)offset, c->chunk, &n, err))
		return -1;
	json_t *body = json_pack(
		"{s:I, s:I, s:I}", "handle", (json_int_t)handle, "offset", (json_int_t)offset, "bytes", (json_int_t)n);
	json_t *reply = mm_reply_ok(to->id, to->cmd, body, err);
	if (!reply)
		return -1;
	send_json(c, to, reply, c->chunk, n);
	return 0;
}

static int run_handler(struct mm_ctl *c, const struct route *to, const json_t *args, struct mm_err *err)
{
	mm_cmd_fn fn = mm_command_handler(to->cmd);
	if (!fn)
		return mm_fail(err, MM_EUNSUPPORTED, "%s: not built into this daemon", to->cmd);
	struct pending *p = hold(c, to, err);
	if (!p)
		return -1;
	struct mm_reply r = { .fd = -1, .token = p->token };
	uint64_t token = p->token;
	int rc = fn(to->ep->d, args, &r, err);
	if (!rc && r.deferred)
		return 0;
	if (p->token == token)
		p->token = 0;
	if (rc)
		reply_fini(&r);
	else
		send_reply(c, to, &r);
	return rc;
}

static int check_right(const struct endpoint *ep, const struct mm_cmd *cmd, const char *user, struct mm_err *err)
{
	enum mm_access right = MM_WRITE;
	if (ep->sock.curve && mm_zap_access(ep->d, user, &right))
		return mm_fail(err, MM_EDENIED, "your key is not, or no longer, in this daemon's list");
	if (cmd->access == MM_READ)
		return 0;
	if (ep->read_only)
		return mm_fail(err, MM_EDENIED,
			"%s changes something, and this endpoint only answers questions; use control", cmd->name);
	return right == MM_WRITE ? 0 : mm_fail(err, MM_EDENIED, "%s: your key may only read", cmd->name);
}

static void serve(struct endpoint *ep, struct route *to, const void *data, size_t len, const char *user)
{
	struct mm_ctl *c = ep->d->ctl;
	struct mm_err err = { 0 };
	struct mm_request q;
	int rc = mm_request_parse(data, len, &q, &err);
	to->id = q.id;
	if (!rc) {
		to->cmd = q.cmd->name;
		rc = check_right(ep, q.cmd, user, &err);
		if (!rc && !strcmp(to->cmd, "chunk"))
			rc = send_chunk(c, to, q.body, &err);
		else if (!rc)
			rc = run_handler(c, to, q.body, &err);
	}
	if (rc)
		send_error(c, to, &err);
	mm_request_fini(&q);
}

/* Reads one message whole; frames beyond the third are counted and thrown away. */
static int recv_message(void *zmq, zmq_msg_t frame[3])
{
	int n = 0, more = 1;
	for (; more; n++) {
		zmq_msg_t spare, *m = n < 3 ? &frame[n] : &spare;
		zmq_msg_init(m);
		if (zmq_msg_recv(m, zmq, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(m);
			break;
		}
		more = zmq_msg_more(m);
		if (n >= 3)
			zmq_msg_close(m);
	}
	return n;
}

static void one(void *ctx)
{
	struct endpoint *ep = ctx;
	struct mm_err err = { 0 };
	zmq_msg_t f[3];
	int n = recv_message(ep->sock.zmq, f);
	struct route to = { .ep = ep };
	if (n < 2 || zmq_msg_size(&f[0]) > ROUTE_MAX)
		goto out;
	to.n_who = zmq_msg_size(&f[0]);
	memcpy(to.who, zmq_msg_data(&f[0]), to.n_who);
	to.empty = n > 2 && !zmq_msg_size(&f[1]);
	zmq_msg_t *m = &f[to.empty ? 2 : 1];
	if (n != 2 + to.empty) {
		mm_fail(&err, MM_EFORMAT, "a request is one frame, this one has %d", n - 1 - to.empty);
		send_error(ep->d->ctl, &to, &err);
	} else {
		serve(ep, &to, zmq_msg_data(m), zmq_msg_size(m), ep->sock.curve ? zmq_msg_gets(m, "User-Id") : NULL);
	}
out:
	for (int i = 0; i < MM_MIN(n, 3); i++)
		zmq_msg_close(&f[i]);
}

void mm_ctl_finish(struct mm_daemon *d, uint64_t token, struct mm_reply *reply, const struct mm_err *why)
{
	struct mm_ctl *c = d->ctl;
	struct mm_reply none = { .fd = -1 };
	if (!reply)
		reply = &none;
	if (token >> 63 && d->http_finish)
		d->http_finish(d, token, reply, why);
	for (size_t i = 0; c && token && i < MAX_PENDING; i++) {
		struct pending *p = &c->pending[i];
		if (p->token != token)
			continue;
		p->token = 0;
		struct route to = p->to;
		if (why)
			send_error(c, &to, why);
		else
			send_reply(c, &to, reply);
		mm_pump_kick(&to.ep->pump);
		break;
	}
	reply_fini(reply);
}

/* ---- start and stop ---- */

static int open_endpoint(
	struct mm_daemon *d, struct endpoint *ep, enum mm_net_role role, const char *url, struct mm_err *err)
{
	ep->d = d;
	ep->read_only = role == MM_NET_QUERY;
	if (mm_net_open(d, &ep->sock, ZMQ_ROUTER, role, url, err) ||
		mm_pump_start(&ep->pump, d->loop, ep->sock.zmq, one, ep, err))
		return -1;
	mm_log(MM_LOG_INFO, "answering at %s%s%s", ep->sock.url, ep->read_only ? ", read only" : "",
		ep->sock.curve ? ", for the keys of curve.client_keys" : "");
	return 0;
}

int mm_ctl_start(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_ctl *c = d->ctl = mm_calloc(1, sizeof *c, err);
	if (!c || !(c->pending = mm_calloc(MAX_PENDING, sizeof *c->pending, err)) ||
		!(c->chunk = mm_calloc(MM_CHUNK_MAX, 1, err)) || !(c->bulk = mm_bulk_new(d->loop, err)))
		goto bad;
	if (open_endpoint(d, &c->ep[0], MM_NET_CONTROL, d->cfg.control, err)) {
		mm_wrap(err, "control");
		goto bad;
	}
	if (d->cfg.query && open_endpoint(d, &c->ep[1], MM_NET_QUERY, d->cfg.query, err)) {
		mm_wrap(err, "query");
		goto bad;
	}
	return 0;
bad:
	mm_ctl_stop(d);
	return -1;
}

const char *mm_ctl_url(const struct mm_daemon *d, bool query)
{
	return d->ctl && d->ctl->ep[query].sock.zmq ? d->ctl->ep[query].sock.url : NULL;
}

json_t *mm_ctl_endpoints(const struct mm_daemon *d)
{
	return json_pack("{s:s?, s:s?, s:s?, s:s?}", "control", mm_ctl_url(d, false), "query", mm_ctl_url(d, true),
		"events", mm_events_url(d), "http", d->http_url[0] ? d->http_url : NULL);
}

void mm_ctl_stop(struct mm_daemon *d)
{
	struct mm_ctl *c = d->ctl;
	struct mm_err bye = { 0 };
	if (!c)
		return;
	mm_fail(&bye, MM_ECANCELLED, "the daemon is stopping");
	for (size_t i = 0; c->pending && i < MAX_PENDING; i++)
		if (c->pending[i].token) {
			struct route to = c->pending[i].to;
			c->pending[i].token = 0;
			send_error(c, &to, &bye);
		}
	for (size_t i = 0; i < MM_COUNT(c->ep); i++) {
		mm_pump_stop(&c->ep[i].pump);
		if (c->ep[i].d)
			mm_net_close(d, &c->ep[i].sock);
	}
	mm_zap_stop(d);
	mm_bulk_free(c->bulk);
	mm_free(c->pending);
	mm_free(c->chunk);
	mm_free(c);
	d->ctl = NULL;
}
