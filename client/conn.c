/* conn.c - the connection to the daemon: calls with a deadline, bulk data, events. The only file here that knows
 * ZeroMQ.
 *
 * ZeroMQ connects in the background and never says that nobody is there. So an ipc path is tried with a plain connect
 * first, and a monitor tells about handshakes and broken connections: "no daemon" and "key refused" are told at once,
 * not after the deadline. ZMQ_IMMEDIATE keeps requests from being queued for a daemon that is not there.
 */
#include "client/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#define START_HINT "start it with `systemctl start modelmapd`, or `modelmapd --foreground` for a try"

struct mm_conn {
	void *ctx, *sock, *mon, *sub;
	char url[256];
	double timeout;
	int64_t id;
	bool no_daemon, connected;
	struct mm_err refused;				     /* a handshake's end: ZeroMQ tries no second time */
	char server_key[41], public_key[41], secret_key[41]; /* tcp */
	uint8_t *bin;					     /* the binary frame of the last reply */
	size_t n_bin;
};

static int fail_zmq(struct mm_err *err, const char *what)
{
	return mm_fail(err, MM_EIO, "%s: %s", what, zmq_strerror(zmq_errno()));
}

/* ---- where ---- */

/* 0, or the errno of a connect: ENOENT and ECONNREFUSED mean that nobody listens. */
static int probe(const char *url)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *path = url + 6;
	if (strlen(path) >= sizeof a.sun_path)
		return ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc = fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) ? errno : 0;
	if (fd >= 0)
		close(fd);
	return rc == EAGAIN || rc == EINPROGRESS ? 0 : rc;
}

static bool is_ipc(const char *url)
{
	return !strncmp(url, "ipc://", 6);
}

static int set_url(struct mm_conn *c, const char *s, struct mm_err *err)
{
	const char *scheme = s[0] == '/' || s[0] == '.' ? "ipc://" : "";
	char full[4096];
	if (s[0] == '.' && realpath(s, full))
		s = full;
	if (is_ipc(s) || *scheme || !strncmp(s, "tcp://", 6)) {
		if ((size_t)snprintf(c->url, sizeof c->url, "%s%s", scheme, s) < sizeof c->url)
			return 0;
		return mm_fail(err, MM_EINVAL, "endpoint too long: %s", s);
	}
	return mm_fail(err, MM_EINVAL, "%s is no endpoint; expected a path, ipc:///path or tcp://host:port", s);
}

/* The user's own daemon before the system's; the first that is alive, else the first that is not merely absent. */
static int find_url(struct mm_conn *c, struct mm_err *err)
{
	static const char *const names[] = { "control", "query" };
	const char *run = getenv("XDG_RUNTIME_DIR");
	char dirs[3][128], url[160];
	size_t n = 0;
	if (run && *run)
		snprintf(dirs[n++], sizeof dirs[0], "%.100s/modelmapd", run);
	snprintf(dirs[n++], sizeof dirs[0], "/run/user/%u/modelmapd", (unsigned)getuid());
	snprintf(dirs[n++], sizeof dirs[0], "/run/modelmapd");
	int denied = 0;
	for (size_t d = 0; d < n; d++)
		for (size_t k = 0; k < MM_COUNT(names); k++) {
			snprintf(url, sizeof url, "ipc://%.127s/%s", dirs[d], names[k]);
			int rc = probe(url);
			if (!rc)
				return set_url(c, url, err);
			if (rc == EACCES && !denied) {
				denied = 1;
				snprintf(c->url, sizeof c->url, "%s", url);
			}
		}
	if (denied)
		return 0; /* the call says why */
	c->no_daemon = true;
	return mm_fail(err, MM_ENOENT,
		"no daemon is running (looked in %s%s%s); %s, or say where with --socket or $MODELMAP_SOCKET", dirs[0],
		n > 1 ? " and " : "", n > 1 ? dirs[n - 1] : "", START_HINT);
}

/* ---- keys ---- */

static bool key_text(const char *s, char out[41])
{
	size_t n = strcspn(s, " \t\r\n");
	uint8_t raw[32];
	if (n != 40 || s[n + strspn(s + n, " \t\r\n")])
		return false;
	memcpy(out, s, 40);
	out[40] = 0;
	return zmq_z85_decode(raw, out) != NULL;
}

static int key_from(const char *s, const char *what, char out[41], struct mm_err *err)
{
	size_t len;
	if (key_text(s, out))
		return 0;
	char *text = mm_file_read(s, 4096, &len, err);
	if (!text)
		return mm_wrap(err, "%s", what);
	bool ok = key_text(text, out);
	explicit_bzero(text, len);
	mm_free(text);
	return ok ? 0 : mm_fail(err, MM_EFORMAT, "%s: %s does not hold one key of 40 Z85 characters", what, s);
}

static int load_keys(struct mm_conn *c, const struct mm_conn_opts *o, struct mm_err *err)
{
	const char *server = o->server_key ? o->server_key : getenv("MODELMAP_SERVER_KEY");
	const char *own = o->key ? o->key : getenv("MODELMAP_KEY");
	if (!server || !own)
		return mm_fail(err, MM_EINVAL,
			"tcp needs --server-key (the daemon's public key) and --key (file with your secret key; see "
			"`modelmap keygen`)");
	if (key_from(server, "--server-key", c->server_key, err) || key_from(own, "--key", c->secret_key, err))
		return -1;
	return zmq_curve_public(c->public_key, c->secret_key) ? fail_zmq(err, "--key") : 0;
}

int mm_conn_keygen(char public_key[41], char secret_key[41], struct mm_err *err)
{
	return zmq_curve_keypair(public_key, secret_key) ? fail_zmq(err, "cannot make keys") : 0;
}

/* ---- open ---- */

static int set_common(struct mm_conn *c, void *sock, const char *url)
{
	int zero = 0, beat = 10000;
	if (zmq_setsockopt(sock, ZMQ_LINGER, &zero, sizeof zero))
		return -1;
	if (is_ipc(url))
		return 0;
	return zmq_setsockopt(sock, ZMQ_CURVE_SERVERKEY, c->server_key, 41) ||
	       zmq_setsockopt(sock, ZMQ_CURVE_PUBLICKEY, c->public_key, 41) ||
	       zmq_setsockopt(sock, ZMQ_CURVE_SECRETKEY, c->secret_key, 41) ||
	       zmq_setsockopt(sock, ZMQ_HEARTBEAT_IVL, &beat, sizeof beat);
}

static int open_sockets(struct mm_conn *c, struct mm_err *err)
{
	int one = 1;
	if (!(c->ctx = zmq_ctx_new()) || !(c->sock = zmq_socket(c->ctx, ZMQ_DEALER)) ||
		set_common(c, c->sock, c->url) || zmq_setsockopt(c->sock, ZMQ_IMMEDIATE, &one, sizeof one) ||
		zmq_socket_monitor(c->sock, "inproc://monitor",
			ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
				ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_DISCONNECTED) ||
		!(c->mon = zmq_socket(c->ctx, ZMQ_PAIR)) || zmq_connect(c->mon, "inproc://monitor"))
		return fail_zmq(err, "cannot make a socket");
	return zmq_connect(c->sock, c->url) ? fail_zmq(err, c->url) : 0;
}

struct mm_conn *mm_conn_open(const struct mm_conn_opts *o, bool *no_daemon, struct mm_err *err)
{
	struct mm_conn *c = mm_calloc(1, sizeof *c, err);
	const char *url = o->socket ? o->socket : getenv("MODELMAP_SOCKET");
	if (!c)
		return NULL;
	c->timeout = o->timeout;
	int rc = url && *url ? set_url(c, url, err) : find_url(c, err);
	if (!rc && !is_ipc(c->url))
		rc = load_keys(c, o, err);
	if (!rc)
		rc = open_sockets(c, err);
	if (!rc)
		return c;
	*no_daemon = c->no_daemon;
	mm_conn_close(c);
	return NULL;
}

void mm_conn_close(struct mm_conn *c)
{
	if (!c)
		return;
	if (c->sock)
		zmq_socket_monitor(c->sock, NULL, 0);
	void *all[] = { c->mon, c->sub, c->sock };
	for (size_t i = 0; i < MM_COUNT(all); i++)
		if (all[i])
			zmq_close(all[i]);
	if (c->ctx)
		zmq_ctx_term(c->ctx);
	explicit_bzero(c->secret_key, sizeof c->secret_key);
	mm_free(c->bin);
	mm_free(c);
}

const char *mm_conn_url(const struct mm_conn *c)
{
	return c->url;
}

bool mm_conn_no_daemon(const struct mm_conn *c)
{
	return c->no_daemon;
}

void mm_conn_set_timeout(struct mm_conn *c, double seconds)
{
	c->timeout = seconds;
}

/* ---- waiting ---- */

static int absent(struct mm_conn *c, int why, struct mm_err *err)
{
	if (why == EACCES || why == EPERM)
		return mm_fail(err, MM_EDENIED,
			"%s: permission denied; its group may use it, or ask for a query endpoint (`query:` in the "
			"config)",
			c->url);
	if (why != ENOENT && why != ECONNREFUSED && why != ENOTDIR)
		return mm_fail(err, MM_EIO, "%s: %s", c->url, strerror(why));
	c->no_daemon = true;
	return mm_fail(err, MM_ENOENT, "no daemon at %s; %s", c->url, START_HINT);
}

static int late(struct mm_conn *c, struct mm_err *err)
{
	if (c->connected || is_ipc(c->url))
		return mm_fail(err, MM_ETIMEOUT, "%s: no answer within %gs (--timeout)", c->url, c->timeout);
	c->no_daemon = true;
	return mm_fail(err, MM_ETIMEOUT,
		"%s: no daemon answered within %gs; is it running there, and is --server-key its key?", c->url,
		c->timeout);
}

/* Reads what the monitor says; -1: no use to go on waiting. A refused handshake is kept: it may come before the first
 * call, and no answer will come after it. */
static int hear_monitor(struct mm_conn *c, bool waiting, struct mm_err *err)
{
	for (;;) {
		zmq_msg_t m;
		uint16_t event = 0;
		zmq_msg_init(&m);
		if (zmq_msg_recv(&m, c->mon, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&m);
			break;
		}
		bool more = zmq_msg_more(&m);
		if (zmq_msg_size(&m) >= sizeof event)
			memcpy(&event, zmq_msg_data(&m), sizeof event);
		zmq_msg_close(&m);
		if (!more)
			continue; /* the address behind each event */
		if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
			c->connected = true;
			c->refused.code = 0;
		} else if (event == ZMQ_EVENT_DISCONNECTED) {
			bool was = c->connected;
			c->connected = false;
			if (waiting && was) {
				c->no_daemon = true;
				return mm_fail(err, MM_EIO, "%s: the daemon went away; %s", c->url, START_HINT);
			}
		} else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) {
			(void)mm_fail(&c->refused, MM_EDENIED,
				"%s: the daemon does not know our key; it belongs into curve.client_keys", c->url);
		} else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) {
			(void)mm_fail(&c->refused, MM_EIO, "%s: what answers there speaks another protocol", c->url);
		}
	}
	if (!c->refused.code)
		return 0;
	*err = c->refused;
	return -1;
}

/* Waits until the socket can do `what`; -1 with the reason. */
static int wait_for(struct mm_conn *c, short what, double end, struct mm_err *err)
{
	for (;;) {
		zmq_pollitem_t p[2] = { { c->sock, 0, what, 0 }, { c->mon, 0, ZMQ_POLLIN, 0 } };
		double left = end - mm_monotonic();
		if (c->timeout > 0 && left <= 0)
			return late(c, err);
		int rc = zmq_poll(p, 2, c->timeout > 0 ? (long)(left * 1000) + 1 : -1);
		if (rc < 0 && (zmq_errno() != EINTR || mm_cli_stopped()))
			return mm_cli_stopped() ? mm_fail(err, MM_ECANCELLED, "interrupted") : fail_zmq(err, c->url);
		/* What has arrived counts, also when the daemon went away right behind it. */
		if (p[0].revents & what)
			return 0;
		if (p[1].revents && hear_monitor(c, true, err))
			return -1;
	}
}

/* Reads one message: JSON into *m, a binary frame behind it into c->bin. */
static int recv_reply(struct mm_conn *c, zmq_msg_t *m, struct mm_err *err)
{
	zmq_msg_init(m);
	if (zmq_msg_recv(m, c->sock, ZMQ_DONTWAIT) < 0)
		return fail_zmq(err, c->url);
	c->n_bin = 0;
	for (int k = 0, more = zmq_msg_more(m); more; k++) {
		zmq_msg_t f;
		zmq_msg_init(&f);
		if (zmq_msg_recv(&f, c->sock, ZMQ_DONTWAIT) < 0)
			return fail_zmq(err, c->url);
		more = zmq_msg_more(&f);
		if (!k && zmq_msg_size(&f) <= MM_CHUNK_MAX && (c->bin || (c->bin = mm_calloc(MM_CHUNK_MAX, 1, err)))) {
			c->n_bin = zmq_msg_size(&f);
			memcpy(c->bin, zmq_msg_data(&f), c->n_bin);
		}
		zmq_msg_close(&f);
	}
	return 0;
}

static int exchange(struct mm_conn *c, const char *text, json_t **body, struct mm_err *err)
{
	double end = mm_monotonic() + c->timeout;
	if (wait_for(c, ZMQ_POLLOUT, end, err))
		return -1;
	if (zmq_send(c->sock, text, strlen(text), ZMQ_DONTWAIT) < 0)
		return fail_zmq(err, c->url);
	for (;;) {
		zmq_msg_t m;
		int64_t id;
		bool refused;
		struct mm_err why = { 0 };
		if (wait_for(c, ZMQ_POLLIN, end, err))
			return -1;
		int rc = recv_reply(c, &m, err);
		if (!rc)
			rc = mm_reply_parse(zmq_msg_data(&m), zmq_msg_size(&m), &id, body, &refused, &why);
		else
			return zmq_msg_close(&m), -1;
		zmq_msg_close(&m);
		/* An earlier request's answer, after that one's deadline, is not ours. 0: the daemon could not read it.
		 */
		if (id != c->id && !(refused && !id)) {
			json_decref(*body);
			*body = NULL;
			if (id >= 0)
				continue;
		}
		if (rc)
			*err = why;
		return rc;
	}
}

int mm_conn_call(struct mm_conn *c, const char *cmd, json_t *args, json_t **body, struct mm_err *err)
{
	*body = NULL;
	c->no_daemon = false;
	json_t *q = mm_request_new(++c->id, cmd, args, err);
	char *text = q ? mm_json_dump(q, err) : NULL;
	json_decref(q);
	if (!text)
		return -1;
	int rc = hear_monitor(c, false, err); /* what happened between calls */
	int why = !rc && !c->connected && is_ipc(c->url) ? probe(c->url) : 0;
	if (why)
		rc = absent(c, why, err);
	else if (!rc)
		rc = exchange(c, text, body, err);
	mm_free(text);
	return rc;
}

/* ---- bulk ---- */

int mm_conn_fetch(struct mm_conn *c, const json_t *body, mm_sink sink, void *ctx,
	void (*progress)(void *ctx, uint64_t done, uint64_t total), struct mm_err *err)
{
	const json_t *b = json_object_get(body, "bulk");
	int64_t handle = mm_int(b, "handle", 0), total = mm_int(b, "bytes", -1);
	if (handle <= 0 || total < 0)
		return mm_fail(err, MM_EFORMAT, "the reply names no bulk data");
	for (int64_t off = 0; off < total;) {
		json_t *r;
		if (mm_conn_call(c, "chunk",
			    json_pack("{s:I, s:I}", "handle", (json_int_t)handle, "offset", (json_int_t)off), &r, err))
			return -1;
		bool ok = mm_int(r, "offset", -1) == off && c->n_bin && mm_int(r, "bytes", -1) == (int64_t)c->n_bin &&
			  (int64_t)c->n_bin <= total - off;
		json_decref(r);
		if (!ok)
			return mm_fail(err, MM_EFORMAT, "bulk data at %lld of %lld do not fit", (long long)off,
				(long long)total);
		if (sink(ctx, c->bin, c->n_bin, err))
			return -1;
		off += (int64_t)c->n_bin;
		if (progress)
			progress(ctx, (uint64_t)off, (uint64_t)total);
	}
	return 0;
}

/* ---- events ---- */

int mm_conn_follow(struct mm_conn *c, const char *endpoint, struct mm_err *err)
{
	int deep = 100000;
	if (c->sub)
		zmq_close(c->sub);
	if (!(c->sub = zmq_socket(c->ctx, ZMQ_SUB)) || set_common(c, c->sub, endpoint) ||
		zmq_setsockopt(c->sub, ZMQ_RCVHWM, &deep, sizeof deep) ||
		zmq_setsockopt(c->sub, ZMQ_SUBSCRIBE, "", 0) || zmq_connect(c->sub, endpoint))
		return fail_zmq(err, endpoint);
	return 0;
}

/* One message of the SUB socket; 0: not an event that we can read. */
static int recv_event(struct mm_conn *c, json_t **event)
{
	struct mm_err err = { 0 };
	struct mm_event_head h;
	int more = 1, n = 0;
	for (; more; n++) {
		zmq_msg_t m;
		zmq_msg_init(&m);
		if (zmq_msg_recv(&m, c->sub, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&m);
			break;
		}
		more = zmq_msg_more(&m);
		if (n == 1)
			*event = mm_json_parse(zmq_msg_data(&m), zmq_msg_size(&m), "event", &err);
		zmq_msg_close(&m);
	}
	if (*event && !mm_event_head(*event, &h, &err))
		return 1;
	json_decref(*event);
	*event = NULL;
	return 0;
}

int mm_conn_event(struct mm_conn *c, double seconds, json_t **event, struct mm_err *err)
{
	double end = mm_monotonic() + seconds;
	*event = NULL;
	for (;;) {
		zmq_pollitem_t p = { c->sub, 0, ZMQ_POLLIN, 0 };
		double left = MM_MAX(end - mm_monotonic(), 0.0);
		int rc = zmq_poll(&p, 1, (long)(left * 1000 + 0.999));
		if (rc < 0)
			return zmq_errno() == EINTR ? 0 : fail_zmq(err, "events");
		if (!rc)
			return 0;
		if (recv_event(c, event))
			return 1;
	}
}

void mm_conn_pause(double seconds)
{
	zmq_poll(NULL, 0, (long)(MM_MAX(seconds, 0.0) * 1000));
}
