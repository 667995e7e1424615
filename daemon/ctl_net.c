/* ctl_net.c - ZeroMQ sockets bound with the right rights, and the pump that reads them.
 *
 * ipc: we make and bind the Unix socket ourselves and hand it to ZeroMQ (ZMQ_USE_FD). ZeroMQ would unlink whatever lies
 * at the path, also the socket of a living daemon, and would leave the mode to the umask of the moment. fchmod on an
 * unbound socket sets the mode that bind() gives the file, so that there is no instant with wider rights.
 *
 * tcp: CURVE encryption, and only for the keys of a list (zap.c). Nothing else is offered over a network.
 */
#include "daemon/ctl_priv.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

struct mm_net {
	void *ctx;
	unsigned users;
};

static int fail_zmq(struct mm_err *err, const char *what)
{
	return mm_fail(err, MM_EIO, "%s: %s", what, zmq_strerror(zmq_errno()));
}

void *mm_net_context(struct mm_daemon *d, struct mm_err *err)
{
	if (!d->net && !(d->net = mm_calloc(1, sizeof *d->net, err)))
		return NULL;
	if (!d->net->ctx && !(d->net->ctx = zmq_ctx_new())) {
		fail_zmq(err, "cannot make a ZeroMQ context");
		mm_free(d->net);
		d->net = NULL;
		return NULL;
	}
	d->net->users++;
	return d->net->ctx;
}

void mm_net_release(struct mm_daemon *d)
{
	if (!d->net || --d->net->users)
		return;
	zmq_ctx_term(d->net->ctx);
	mm_free(d->net);
	d->net = NULL;
}

/* ---- ipc ---- */

/* Whether somebody listens at the path. A connect that would block means a living listener with a full backlog. */
static bool is_alive(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive = fd >= 0 && (!connect(fd, (const struct sockaddr *)a, sizeof *a) || errno == EAGAIN ||
					errno == EINPROGRESS || errno == EACCES || errno == EPERM);
	if (fd >= 0)
		close(fd);
	return alive;
}

/* Makes room at the path: only a socket that nobody listens at is removed. */
static int clear_stale(const char *path, const struct sockaddr_un *a, struct mm_err *err)
{
	struct stat st;
	if (lstat(path, &st))
		return errno == ENOENT ? 0 : mm_fail_errno(err, "cannot look at %s", path);
	if (!S_ISSOCK(st.st_mode))
		return mm_fail(err, MM_ECONFLICT, "%s is there and is not a socket; choose another path", path);
	if (is_alive(a))
		return mm_fail(err, MM_ECONFLICT,
			"another daemon answers at ipc://%s; stop it, or give this one another socket and state "
			"directory",
			path);
	if (unlink(path) && errno != ENOENT)
		return mm_fail_errno(err, "cannot remove the old socket %s", path);
	return 0;
}

static int make_parent(const char *path, struct mm_err *err)
{
	const char *slash = strrchr(path, '/');
	if (!slash || slash == path)
		return 0;
	char *dir = mm_strndup(path, (size_t)(slash - path), err);
	int rc = dir ? mm_mkdirs(dir, 0755, err) : -1;
	mm_free(dir);
	return rc;
}

static int listen_unix(const char *path, unsigned mode, struct mm_err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	if (path[0] != '/')
		return mm_fail(err, MM_EINVAL, "ipc://%s: expected an absolute path", path);
	if (strlen(path) >= sizeof a.sun_path)
		return mm_fail(err, MM_EINVAL, "%s has %zu bytes, a socket's path at most %zu", path, strlen(path),
			sizeof a.sun_path - 1);
	memcpy(a.sun_path, path, strlen(path) + 1);
	if (make_parent(path, err) || clear_stale(path, &a, err))
		return -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return mm_fail_errno(err, "cannot make a socket");
	/* The second chmod gives back what the umask took away; the first one never gave more than `mode`. */
	if (fchmod(fd, mode) || bind(fd, (const struct sockaddr *)&a, sizeof a) || chmod(path, mode) ||
		listen(fd, 128)) {
		mm_fail_errno(err, "cannot listen at %s", path);
		close(fd);
		return -1;
	}
	return fd;
}

static unsigned mode_of(const struct mm_daemon *d, enum mm_net_role role)
{
	/* Events say what read commands say: they are open to all where a query socket is. */
	bool open =
		role == MM_NET_QUERY || (role == MM_NET_EVENTS && d->cfg.query && !strncmp(d->cfg.query, "ipc:", 4));
	return open ? 0666 : 0660;
}

static int bind_ipc(
	struct mm_daemon *d, struct mm_net_sock *s, enum mm_net_role role, const char *path, struct mm_err *err)
{
	struct stat st;
	int fd = listen_unix(path, mode_of(d, role), err);
	if (fd < 0)
		return -1;
	if (!(s->path = mm_strdup(path, err)) || lstat(path, &st)) {
		int rc = s->path ? mm_fail_errno(err, "cannot look at %s", path) : -1;
		close(fd);
		unlink(path);
		return rc;
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	if (zmq_setsockopt(s->zmq, ZMQ_USE_FD, &fd, sizeof fd)) {
		close(fd);
		return fail_zmq(err, "cannot hand over the socket");
	}
	return zmq_bind(s->zmq, s->url) ? fail_zmq(err, s->url) : 0; /* the descriptor is ZeroMQ's from here on */
}

/* ---- tcp ---- */

static int bind_tcp(struct mm_daemon *d, struct mm_net_sock *s, struct mm_err *err)
{
	char secret[41];
	int one = 1, beat = 15000, lost = 60000;
	if (!d->cfg.curve.server_secret || !d->cfg.curve.client_keys)
		return mm_fail(err, MM_EINVAL,
			"%s: tcp needs curve.server_secret and curve.client_keys; without them only ipc:// is offered",
			s->url);
	if (mm_zap_start(d, err) || mm_zap_secret(d->cfg.curve.server_secret, secret, err))
		return -1;
	int rc = zmq_setsockopt(s->zmq, ZMQ_CURVE_SERVER, &one, sizeof one) ||
		 zmq_setsockopt(s->zmq, ZMQ_CURVE_SECRETKEY, secret, sizeof secret) ||
		 zmq_setsockopt(s->zmq, ZMQ_ZAP_DOMAIN, "modelmapd", 9) ||
		 zmq_setsockopt(s->zmq, ZMQ_HEARTBEAT_IVL, &beat, sizeof beat) ||
		 zmq_setsockopt(s->zmq, ZMQ_HEARTBEAT_TIMEOUT, &lost, sizeof lost);
	explicit_bzero(secret, sizeof secret);
	s->curve = true;
	if (rc || zmq_bind(s->zmq, s->url))
		return fail_zmq(err, s->url);
	size_t n = sizeof s->url;
	return zmq_getsockopt(s->zmq, ZMQ_LAST_ENDPOINT, s->url, &n) ? fail_zmq(err, s->url) : 0;
}

/* ---- both ---- */

static int set_bounds(void *zmq, enum mm_net_role role, struct mm_err *err)
{
	/* What one client can make us hold: requests not read yet, replies it does not fetch. A client that is slow
	 * loses its own replies and nobody else's. */
	int in = 64, out = role == MM_NET_EVENTS ? 4096 : 64, linger = 200, one = 1;
	int64_t most = 4 * (int64_t)MM_REQUEST_MAX; /* above MM_REQUEST_MAX our own error says what is wrong */
	int rc = zmq_setsockopt(zmq, ZMQ_RCVHWM, &in, sizeof in) || zmq_setsockopt(zmq, ZMQ_SNDHWM, &out, sizeof out) ||
		 zmq_setsockopt(zmq, ZMQ_LINGER, &linger, sizeof linger) ||
		 zmq_setsockopt(zmq, ZMQ_MAXMSGSIZE, &most, sizeof most);
	if (!rc && role != MM_NET_EVENTS)
		rc = zmq_setsockopt(zmq, ZMQ_ROUTER_MANDATORY, &one, sizeof one);
	return rc ? fail_zmq(err, "cannot set up a socket") : 0;
}

int mm_net_open(struct mm_daemon *d, struct mm_net_sock *s, int type, enum mm_net_role role, const char *url,
	struct mm_err *err)
{
	*s = (struct mm_net_sock){ 0 };
	if ((size_t)snprintf(s->url, sizeof s->url, "%s", url) >= sizeof s->url)
		return mm_fail(err, MM_EINVAL, "endpoint too long: %s", url);
	void *ctx = mm_net_context(d, err);
	if (!ctx)
		return -1;
	/* The context starts its threads with the first socket: they must not take the loop's signals. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	s->zmq = zmq_socket(ctx, type);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!s->zmq) {
		fail_zmq(err, "cannot make a socket");
		mm_net_release(d);
		return -1;
	}
	int rc = set_bounds(s->zmq, role, err);
	if (!rc && !strncmp(url, "ipc://", 6))
		rc = bind_ipc(d, s, role, url + 6, err);
	else if (!rc && !strncmp(url, "tcp://", 6))
		rc = bind_tcp(d, s, err);
	else if (!rc)
		rc = mm_fail(err, MM_EINVAL, "endpoint %s: expected ipc:///path or tcp://address:port", url);
	if (rc)
		mm_net_close(d, s);
	return rc;
}

void mm_net_close(struct mm_daemon *d, struct mm_net_sock *s)
{
	struct stat st;
	if (!s->zmq)
		return;
	/* Only while it is still our file: another daemon may have taken the place meanwhile. */
	if (s->path && !lstat(s->path, &st) && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	zmq_close(s->zmq);
	mm_free(s->path);
	*s = (struct mm_net_sock){ 0 };
	mm_net_release(d);
}

/* ---- pump ---- */

#define TURN_MESSAGES 64
#define TURN_SECONDS  0.002

static bool readable(void *zmq)
{
	int events = 0;
	size_t n = sizeof events;
	return !zmq_getsockopt(zmq, ZMQ_EVENTS, &events, &n) && (events & ZMQ_POLLIN);
}

static void pump_turn(struct mm_pump *p)
{
	double end = mm_monotonic() + TURN_SECONDS;
	for (int n = 0; readable(p->zmq); n++) {
		if (n == TURN_MESSAGES || (n && mm_monotonic() > end)) {
			mm_pump_kick(p);
			return;
		}
		p->one(p->ctx);
	}
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	(void)s, (void)fd, (void)revents;
	pump_turn(ctx);
	return 0;
}

static int on_again(sd_event_source *s, void *ctx)
{
	(void)s;
	pump_turn(ctx);
	return 0;
}

int mm_pump_start(struct mm_pump *p, sd_event *loop, void *zmq, void (*one)(void *ctx), void *ctx, struct mm_err *err)
{
	int fd;
	size_t n = sizeof fd;
	*p = (struct mm_pump){ .zmq = zmq, .one = one, .ctx = ctx };
	if (zmq_getsockopt(zmq, ZMQ_FD, &fd, &n))
		return fail_zmq(err, "cannot get a socket's descriptor");
	int r = sd_event_add_io(loop, &p->io, fd, EPOLLIN, on_io, p);
	if (r >= 0)
		r = sd_event_add_defer(loop, &p->again, on_again, p); /* first turn at once: something may be there */
	if (r >= 0)
		return 0;
	mm_pump_stop(p);
	errno = -r;
	return mm_fail_errno(err, "cannot watch a socket");
}

void mm_pump_kick(struct mm_pump *p)
{
	if (p->again)
		sd_event_source_set_enabled(p->again, SD_EVENT_ONESHOT);
}

void mm_pump_stop(struct mm_pump *p)
{
	p->io = sd_event_source_disable_unref(p->io);
	p->again = sd_event_source_disable_unref(p->again);
}
