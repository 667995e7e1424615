/* http.c - questions over HTTP: libmicrohttpd in our loop, read only.
 *
 *   GET /api/v1/COMMAND?...  the body that `modelmap --json` prints; export: the bytes themselves
 *   GET /api/v1/events       server-sent events (http_stream.c)
 *   GET /metrics             for Prometheus (http_metrics.c)
 *   GET /                    the page for a browser (http_page.c), or else a list of what there is
 *
 * libmicrohttpd has no thread here: its epoll descriptor is a source of our loop, its time-outs a timer. A request
 * whose command is computed elsewhere is suspended and goes on when ctl's mm_ctl_finish brings its answer.
 *
 * On loopback whoever can open a connection may ask, as on the query socket, but for pages of other sites: those send
 * the name of their own host, which is refused, and get no permission to read an answer. With a token only who knows
 * it; off loopback there is always one. Connections, waiting commands, streams and bytes of answers are bounded.
 */
#include "daemon/http_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_CONNECTIONS 256u
#define MAX_BODY	65536u /* of a request: read so that the answer gets through, and refused */
#define IDLE_S		30u
#define ASK_S		20 /* for a whole request to come in, however slowly */
#define MAX_HEADERS	((size_t)32 << 10)
#define POOL		((size_t)128 << 10) /* of one connection; more headers than this libmicrohttpd refuses itself */
#define BEAT_USEC	UINT64_C(15000000)
#define SECOND_USEC	UINT64_C(1000000)

/* ---- connections ---- */

struct mm_http_peer { /* one connection; so that who sends a byte now and then cannot hold one for ever */
	struct mm_http_peer *next;
	int fd;
	double since; /* when it began to wait for a request */
	bool asked;   /* a whole one came; its answer may take its time */
};

static struct mm_http_peer *peer_of(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *i = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return i ? i->socket_context : NULL;
}

static void on_connection(void *cls, struct MHD_Connection *conn, void **ctx, enum MHD_ConnectionNotificationCode what)
{
	struct mm_http *h = cls;
	struct mm_err err = { 0 };
	struct mm_http_peer **p = &h->peers, *peer = *ctx;
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *i = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
		peer = i ? mm_calloc(1, sizeof *peer, &err) : NULL;
		*ctx = peer;
		if (!peer)
			return;
		*peer = (struct mm_http_peer){ h->peers, i->connect_fd, mm_monotonic(), false };
		h->peers = peer;
		return;
	}
	while (*p && *p != peer)
		p = &(*p)->next;
	if (*p)
		*p = peer->next;
	mm_free(peer);
	*ctx = NULL;
}

static void end_slow_ones(struct mm_http *h)
{
	double now = mm_monotonic();
	for (struct mm_http_peer *p = h->peers; p; p = p->next)
		if (!p->asked && now - p->since > ASK_S)
			shutdown(p->fd, SHUT_RDWR); /* libmicrohttpd sees the end and closes it */
}

/* ---- requests ---- */

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
	const char *version, const char *body, size_t *n_body, void **ctx)
{
	struct mm_http_req *q = *ctx;
	(void)cls, (void)url, (void)version, (void)body;
	if (!q)
		return MHD_NO; /* there was no memory for it */
	q->conn = conn;
	if (!q->seen) { /* headers only: a body may come */
		q->seen = true;
		return MHD_YES;
	}
	if (*n_body) {
		q->n_body += *n_body;
		*n_body = 0;
		return q->n_body <= MAX_BODY ? MHD_YES : MHD_NO;
	}
	struct mm_http_peer *peer = peer_of(conn);
	if (peer)
		peer->asked = true;
	const union MHD_ConnectionInfo *i = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	if (!q->too_long && i && i->header_size > MAX_HEADERS)
		return mm_http_refuse(q, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, MM_EINVAL,
			"the headers of the request are too long");
	if (strcmp(method, "GET") && strcmp(method, "HEAD"))
		return mm_http_refuse(
			q, MHD_HTTP_METHOD_NOT_ALLOWED, MM_EUNSUPPORTED, "only GET and HEAD: nothing is changed here");
	if (q->n_body)
		return mm_http_refuse(q, MHD_HTTP_CONTENT_TOO_LARGE, MM_EINVAL, "a question has no body");
	return mm_http_answer(q);
}

/* The first thing of a request, before its headers: its target as it was sent. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *conn)
{
	struct mm_err err = { 0 };
	struct mm_http_req *q = mm_calloc(1, sizeof *q, &err);
	if (!q)
		return NULL;
	q->h = cls;
	q->conn = conn;
	q->reply.fd = -1;
	q->too_long = strlen(target) > MM_HTTP_TARGET_MAX;
	if (!q->too_long)
		q->target = mm_strdup(target, &err);
	return q;
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **ctx, enum MHD_RequestTerminationCode how)
{
	struct mm_http_req *q = *ctx;
	struct mm_http_peer *peer = peer_of(conn);
	(void)cls, (void)how;
	if (q)
		mm_http_req_free(q);
	if (peer) { /* the next request of the same connection */
		peer->asked = false;
		peer->since = mm_monotonic();
	}
	*ctx = NULL;
}

/* ---- the loop ---- */

static void run(struct mm_http *h)
{
	MHD_UNSIGNED_LONG_LONG ms = 0;
	MHD_run(h->mhd);
	if (MHD_get_timeout(h->mhd, &ms) == MHD_YES) {
		sd_event_source_set_time_relative(h->timer, (uint64_t)ms * 1000);
		sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT);
	} else {
		sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
	}
}

void mm_http_kick(struct mm_http *h)
{
	if (!h->timer)
		return;
	sd_event_source_set_time_relative(h->timer, 0);
	sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	(void)s, (void)fd, (void)revents;
	run(ctx);
	return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	(void)s, (void)usec;
	run(ctx);
	return 0;
}

static int on_beat(sd_event_source *s, uint64_t usec, void *ctx)
{
	(void)usec;
	mm_http_stream_wake(ctx, true);
	return sd_event_source_set_time_relative(s, BEAT_USEC);
}

static int on_second(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct mm_http *h = ctx;
	uint64_t now;
	(void)usec;
	end_slow_ones(h);
	if (sd_event_now(h->d->loop, CLOCK_MONOTONIC, &now) < 0)
		return 0;
	now = (uint64_t)(mm_monotonic() * 1e6); /* of this moment, not of the loop's turn */
	mm_http_lag(h, now > h->second_due ? (double)(now - h->second_due) * 1e-6 : 0);
	h->second_due = now + SECOND_USEC;
	return sd_event_source_set_time(s, h->second_due);
}

static void on_published(struct mm_daemon *d)
{
	mm_http_stream_wake(d->http, false);
}

/* ---- start and stop ---- */

/* One line of 16 to 256 characters that a header can carry, in a file of its owner's. */
static int read_token(struct mm_http *h, const char *path, struct mm_err *err)
{
	struct stat st;
	size_t len;
	char *text = mm_file_read(path, 4096, &len, err);
	if (!text)
		return mm_wrap(err, "http.token_file");
	size_t n = strcspn(text, "\r\n");
	int rc = 0;
	bool plain = n >= 16 && n < sizeof h->token && !text[n + strspn(text + n, "\r\n")];
	for (size_t i = 0; plain && i < n; i++)
		plain = text[i] > ' ' && text[i] < 0x7f;
	if (!plain)
		rc = mm_fail(err, MM_EFORMAT, "%s: expected one line of 16 to 256 characters without spaces", path);
	else if (stat(path, &st) || (st.st_mode & 077))
		rc = mm_fail(err, MM_EDENIED, "%s is a secret that others than its owner may read; chmod 600 it", path);
	else
		memcpy(h->token, text, n);
	explicit_bzero(text, len);
	mm_free(text);
	return rc;
}

static int open_socket(struct mm_http *h, struct mm_http_addr *a, struct mm_err *err)
{
	int one = 1;
	const char *where = h->d->cfg.http.listen;
	h->fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->fd < 0)
		return mm_fail_errno(err, "cannot make a socket");
	if (setsockopt(h->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) || bind(h->fd, &a->u.sa, a->len) ||
		listen(h->fd, 128) || getsockname(h->fd, &a->u.sa, &(socklen_t){ sizeof a->u }))
		return mm_fail_errno(err, "cannot listen at %s", where);
	return 0;
}

static void on_log(void *cls, const char *fmt, va_list ap)
{
	char text[500];
	(void)cls;
	vsnprintf(text, sizeof text, fmt, ap);
	text[strcspn(text, "\n")] = 0;
	mm_log(MM_LOG_DEBUG, "http: %s", text); /* mostly about clients that went away */
}

/* The page is no reason not to answer, unless one was asked for. */
static int load_page(struct mm_http *h, struct mm_err *err)
{
	char *dir = h->d->cfg.http.page ? mm_strdup(h->d->cfg.http.page, err) : mm_http_page_installed(err);
	h->page = dir ? mm_http_page_load(dir, err) : NULL;
	mm_free(dir);
	if (h->d->cfg.http.page && !h->page)
		return mm_wrap(err, "page");
	return 0;
}

static int start_mhd(struct mm_http *h, struct mm_err *err)
{
	h->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
		on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, h->fd,
		MHD_OPTION_CONNECTION_LIMIT, MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL, MHD_OPTION_URI_LOG_CALLBACK, on_target, h,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		MHD_OPTION_END);
	if (!h->mhd)
		return mm_fail(err, MM_EIO, "libmicrohttpd does not start");
	h->fd = -1;
	return 0;
}

static int add_sources(struct mm_http *h, struct mm_err *err)
{
	sd_event *loop = h->d->loop;
	const union MHD_DaemonInfo *epoll = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	h->second_due = (uint64_t)(mm_monotonic() * 1e6) + SECOND_USEC;
	int r = epoll ? sd_event_add_io(loop, &h->io, epoll->epoll_fd, EPOLLIN, on_io, h) : -EINVAL;
	/* accuracy 1 us: the default lets a timer come 250 ms late, and "there is more to read" comes through this one
	 */
	if (r >= 0)
		r = sd_event_add_time_relative(loop, &h->timer, CLOCK_MONOTONIC, 0, 1, on_timer, h);
	if (r >= 0)
		r = sd_event_add_time_relative(loop, &h->beat, CLOCK_MONOTONIC, BEAT_USEC, 1000000, on_beat, h);
	if (r >= 0)
		r = sd_event_source_set_enabled(h->beat, SD_EVENT_ON);
	/* accuracy 1 us: a timer that may come late says nothing about a loop that is */
	if (r >= 0)
		r = sd_event_add_time(loop, &h->second, CLOCK_MONOTONIC, h->second_due, 1, on_second, h);
	if (r >= 0)
		r = sd_event_source_set_enabled(h->second, SD_EVENT_ON);
	errno = -r;
	return r < 0 ? mm_fail_errno(err, "cannot put HTTP into the loop") : 0;
}

int mm_http_start(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_http_addr a;
	if (!d->cfg.http.listen)
		return 0;
	struct mm_http *h = d->http = mm_calloc(1, sizeof *h, err);
	if (!h)
		return -1;
	h->d = d;
	h->fd = -1;
	if (mm_http_addr_parse(d->cfg.http.listen, &a, err))
		goto bad;
	if (!a.loopback && !d->cfg.http.token_file) {
		mm_fail(err, MM_EINVAL, "%s is not loopback and needs http.token_file", d->cfg.http.listen);
		goto bad;
	}
	if ((d->cfg.http.token_file && read_token(h, d->cfg.http.token_file, err)) || load_page(h, err) ||
		open_socket(h, &a, err) || start_mhd(h, err) || add_sources(h, err))
		goto bad;
	mm_http_addr_url(&a, d->http_url, sizeof d->http_url);
	d->http_finish = mm_http_finish;
	d->http_event = on_published;
	mm_log(MM_LOG_INFO, "answering at %s, read only%s", d->http_url,
		h->token[0] ? ", for those who have the token" : "");
	return 0;
bad:
	mm_wrap(err, "http");
	mm_http_stop(d);
	return -1;
}

void mm_http_stop(struct mm_daemon *d)
{
	struct mm_http *h = d->http;
	if (!h)
		return;
	d->http_finish = NULL;
	d->http_event = NULL;
	h->stopping = true;
	h->timer = sd_event_source_disable_unref(h->timer);
	mm_http_release(h);
	mm_http_stream_wake(h, true);
	if (h->mhd) {
		MHD_run(h->mhd);
		MHD_run(h->mhd); /* the answers, as far as they can be sent at once */
		MHD_stop_daemon(h->mhd);
	}
	mm_http_page_free(h->page);
	sd_event_source_disable_unref(h->io);
	sd_event_source_disable_unref(h->beat);
	sd_event_source_disable_unref(h->second);
	if (h->fd >= 0)
		close(h->fd);
	explicit_bzero(h->token, sizeof h->token);
	mm_free(h);
	d->http = NULL;
	d->http_url[0] = 0;
}
