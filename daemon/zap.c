/* zap.c - who may connect over tcp: the ZAP handler of CURVE sockets.
 *
 * ZeroMQ asks inproc://zeromq.zap.01 about every connection; the question has the client's public key, proven by the
 * handshake. We know keys from a list and nothing else. The connection's User-Id is the key, and its right is looked up
 * in the list again for every request: taking a key out of the file takes its rights away, also from those connected.
 */
#include "daemon/ctl_priv.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#define KEY_LEN	  40
#define MAX_FILE  (UINT32_C(4) << 20)
#define RECHECK_S 1.0

struct mm_zap {
	void *zmq;
	struct mm_pump pump;
	struct mm_client_key *keys;
	size_t n_keys;
	double checked; /* monotonic */
	struct stat seen;
	bool loaded;
	double complained;
};

static bool is_z85(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && (!s[i] || !strchr(".-:+=^!/*?&<>()[]{}@%$#", s[i])))
			return false;
	return true;
}

int mm_zap_secret(const char *path, char out[41], struct mm_err *err)
{
	struct stat st;
	size_t len;
	char *text = mm_file_read(path, 4096, &len, err);
	if (!text)
		return mm_wrap(err, "curve.server_secret");
	size_t n = strcspn(text, " \t\r\n");
	int rc = 0;
	if (n != KEY_LEN || !is_z85(text, n) || text[n + strspn(text + n, " \t\r\n")])
		rc = mm_fail(err, MM_EFORMAT, "%s: expected one secret key of %d Z85 characters", path, KEY_LEN);
	else if (stat(path, &st) || (st.st_mode & 077))
		rc = mm_fail(
			err, MM_EDENIED, "%s is a secret key that others than its owner may read; chmod 600 it", path);
	else
		memcpy(out, text, KEY_LEN);
	out[KEY_LEN] = 0;
	explicit_bzero(text, len);
	mm_free(text);
	return rc;
}

/* ---- the list ---- */

static int parse_row(const char *line, size_t n, struct mm_client_key *k, bool *is_row, struct mm_err *err)
{
	char text[256], right[16] = "";
	*is_row = false;
	if (n >= sizeof text)
		return mm_fail(err, MM_EFORMAT, "line too long");
	memcpy(text, line, n);
	text[n] = 0;
	size_t off = strspn(text, " \t\r"), len = strcspn(text + off, " \t\r");
	*k = (struct mm_client_key){ 0 };
	int got = sscanf(text + off + len, "%15s %63s", right, k->name);
	bool known = !strcmp(right, "read") || !strcmp(right, "write");
	if (!len || (text[off] == '#' && !(len == KEY_LEN && known)))
		return 0;
	if (len != KEY_LEN || !is_z85(text + off, len))
		return mm_fail(err, MM_EFORMAT, "expected a public key of %d Z85 characters first", KEY_LEN);
	if (got < 1 || !known)
		return mm_fail(err, MM_EFORMAT, "expected \"read\" or \"write\" after the key");
	memcpy(k->key, text + off, KEY_LEN);
	k->access = right[0] == 'w' ? MM_WRITE : MM_READ;
	*is_row = true;
	return 0;
}

int mm_client_keys_parse(const char *text, struct mm_client_key **out, size_t *n, struct mm_err *err)
{
	struct mm_client_key *keys = NULL, k;
	size_t count = 0, cap = 0, line = 0;
	for (const char *p = text; *p; line++) {
		size_t len = strcspn(p, "\n");
		bool is_row;
		if (parse_row(p, len, &k, &is_row, err)) {
			mm_wrap(err, "line %zu", line + 1);
			goto bad;
		}
		if (is_row) {
			if (mm_grow(&keys, &cap, count + 1, sizeof *keys, err))
				goto bad;
			keys[count++] = k;
		}
		p += len + (p[len] == '\n');
	}
	*out = keys;
	*n = count;
	return 0;
bad:
	mm_free(keys);
	return -1;
}

static int load(struct mm_zap *z, const char *path, struct mm_err *err)
{
	size_t len, n;
	struct mm_client_key *keys;
	char *text = mm_file_read(path, MAX_FILE, &len, err);
	if (!text)
		return -1;
	int rc = mm_client_keys_parse(text, &keys, &n, err);
	mm_free(text);
	if (rc)
		return mm_wrap(err, "%s", path);
	mm_free(z->keys);
	z->keys = keys;
	z->n_keys = n;
	z->loaded = true;
	return 0;
}

/* Follows the file. A list that cannot be read lets nobody in: an old one might still hold a key that was taken out. */
static void refresh(struct mm_daemon *d, bool now)
{
	struct mm_zap *z = d->zap;
	struct mm_err err = { 0 };
	struct stat st = { 0 };
	double t = mm_monotonic();
	if (!now && t - z->checked < RECHECK_S)
		return;
	z->checked = t;
	const char *path = d->cfg.curve.client_keys;
	if (path && !stat(path, &st) && z->loaded && st.st_ino == z->seen.st_ino && st.st_size == z->seen.st_size &&
		st.st_mtim.tv_sec == z->seen.st_mtim.tv_sec && st.st_mtim.tv_nsec == z->seen.st_mtim.tv_nsec)
		return;
	z->seen = st;
	if (!path)
		mm_fail(&err, MM_ENOENT, "curve.client_keys is not set any more");
	else if (!load(z, path, &err))
		return;
	z->n_keys = 0;
	if (z->loaded || t - z->complained > 60) {
		mm_log(MM_LOG_ERROR, "no client is let in over tcp: %s", err.text);
		z->complained = t;
	}
	z->loaded = false;
}

int mm_zap_access(struct mm_daemon *d, const char *key, enum mm_access *out)
{
	if (!d->zap || !key)
		return -1;
	refresh(d, false);
	for (size_t i = 0; i < d->zap->n_keys; i++)
		if (!strcmp(d->zap->keys[i].key, key)) {
			*out = d->zap->keys[i].access;
			return 0;
		}
	return -1;
}

/* ---- the handler (RFC 27) ---- */

enum { F_VERSION, F_ID, F_DOMAIN, F_ADDRESS, F_IDENTITY, F_MECHANISM, F_KEY, N_FRAMES };

struct question {
	char frame[N_FRAMES][256];
	size_t len[N_FRAMES], n;
};

static int recv_question(void *zmq, struct question *q)
{
	*q = (struct question){ 0 };
	for (int more = 1; more; q->n++) {
		zmq_msg_t m;
		zmq_msg_init(&m);
		if (zmq_msg_recv(&m, zmq, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&m);
			return -1;
		}
		if (q->n < N_FRAMES && zmq_msg_size(&m) < sizeof q->frame[0]) {
			q->len[q->n] = zmq_msg_size(&m);
			memcpy(q->frame[q->n], zmq_msg_data(&m), q->len[q->n]);
		}
		more = zmq_msg_more(&m);
		zmq_msg_close(&m);
	}
	return 0;
}

static void one(void *ctx)
{
	struct mm_daemon *d = ctx;
	struct question q;
	char key[41] = "";
	enum mm_access access = MM_READ;
	if (recv_question(d->zap->zmq, &q))
		return;
	bool ok = q.n == N_FRAMES && !strcmp(q.frame[F_VERSION], "1.0") && !strcmp(q.frame[F_MECHANISM], "CURVE") &&
		  q.len[F_KEY] == 32 && zmq_z85_encode(key, (const uint8_t *)q.frame[F_KEY], 32);
	if (ok) {
		refresh(d, true);
		ok = !mm_zap_access(d, key, &access);
	}
	double t = mm_monotonic();
	if (!ok && t - d->zap->complained > 1) {
		mm_log(MM_LOG_NOTICE, "refused %s: key %s is not in %s", q.frame[F_ADDRESS], *key ? key : "(none)",
			d->cfg.curve.client_keys ? d->cfg.curve.client_keys : "any list");
		d->zap->complained = t;
	}
	const char *text[] = { "1.0", q.frame[F_ID], ok ? "200" : "400", ok ? "OK" : "key not in the list",
		ok ? key : "", "" };
	for (size_t i = 0; i < MM_COUNT(text); i++)
		if (zmq_send(d->zap->zmq, text[i], i == 1 ? q.len[F_ID] : strlen(text[i]),
			    ZMQ_DONTWAIT | (i + 1 < MM_COUNT(text) ? ZMQ_SNDMORE : 0)) < 0)
			return;
}

int mm_zap_start(struct mm_daemon *d, struct mm_err *err)
{
	if (d->zap)
		return 0;
	void *ctx = mm_net_context(d, err);
	if (!ctx)
		return -1;
	if (!(d->zap = mm_calloc(1, sizeof *d->zap, err))) {
		mm_net_release(d);
		return -1;
	}
	struct stat st;
	d->zap->zmq = zmq_socket(ctx, ZMQ_REP);
	if (!d->zap->zmq || zmq_bind(d->zap->zmq, "inproc://zeromq.zap.01"))
		mm_fail(err, MM_EIO, "cannot start the authenticator: %s", zmq_strerror(zmq_errno()));
	else if (load(d->zap, d->cfg.curve.client_keys, err))
		mm_wrap(err, "curve.client_keys"); /* at the start a wrong list is an error that is seen */
	else if (!mm_pump_start(&d->zap->pump, d->loop, d->zap->zmq, one, d, err)) {
		if (!stat(d->cfg.curve.client_keys, &st))
			d->zap->seen = st;
		return 0;
	}
	mm_zap_stop(d);
	return -1;
}

void mm_zap_stop(struct mm_daemon *d)
{
	struct mm_zap *z = d->zap;
	if (!z)
		return;
	mm_pump_stop(&z->pump);
	if (z->zmq)
		zmq_close(z->zmq);
	mm_free(z->keys);
	mm_free(z);
	d->zap = NULL;
	mm_net_release(d);
}
