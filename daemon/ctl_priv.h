/* ctl_priv.h - what ctl.c, events.c and zap.c share: one ZeroMQ context, sockets bound with the right rights, and the
 * pump that reads an edge-triggered socket dry without keeping the loop from anything else. Loop thread only. */
#ifndef MM_CTL_PRIV_H
#define MM_CTL_PRIV_H

#include "daemon/daemon.h"

/* ---- ctl_net.c ---- */

enum mm_net_role { MM_NET_CONTROL, MM_NET_QUERY, MM_NET_EVENTS };

/* A bound socket. Zero-initialise; mm_net_close on a zeroed one does nothing. */
struct mm_net_sock {
	void *zmq;
	bool curve;	   /* clients are known by key: their right is mm_zap_access of the message's User-Id */
	char *path;	   /* ipc: the socket file, ours to unlink while it is still `dev`, `ino` */
	uint64_t dev, ino; /* of the socket file */
	char url[256];	   /* as bound (a tcp wildcard port is filled in) */
};
/* Makes, secures and binds a socket of ZeroMQ type `type`. ipc: the file gets its mode before it can be connected to, a
 * file left by a dead daemon is replaced, one of a living daemon is refused. tcp: CURVE with a list of keys or not at
 * all. */
int mm_net_open(struct mm_daemon *d, struct mm_net_sock *s, int type, enum mm_net_role role, const char *url,
	struct mm_err *err) MM_MUST_CHECK;
void mm_net_close(struct mm_daemon *d, struct mm_net_sock *s);
/* The context is shared, because the authenticator answers inproc; it goes with its last user. */
void *mm_net_context(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_net_release(struct mm_daemon *d);

/* Calls `one` for every message that can be read. ZMQ_FD only tells changes, so that after each message, and after
 * every send outside of `one` (mm_pump_kick), ZMQ_EVENTS is asked again; after some messages or milliseconds the rest
 * waits for the loop's next turn, behind whoever else has work. */
struct mm_pump {
	void *zmq;
	sd_event_source *io, *again;
	void (*one)(void *ctx);
	void *ctx;
};
int mm_pump_start(struct mm_pump *p, sd_event *loop, void *zmq, void (*one)(void *ctx), void *ctx,
	struct mm_err *err) MM_MUST_CHECK;
void mm_pump_kick(struct mm_pump *p);
void mm_pump_stop(struct mm_pump *p); /* before the socket closes */

/* ---- zap.c: who may connect over tcp ---- */

int mm_zap_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK; /* once; later calls do nothing */
void mm_zap_stop(struct mm_daemon *d);
/* The right of a key (Z85) by the list as it is now; -1: not, or no longer, in it. */
int mm_zap_access(struct mm_daemon *d, const char *key, enum mm_access *out);
/* Reads the server's secret key: a file with 40 Z85 characters that only its owner can read. */
int mm_zap_secret(const char *path, char out[41], struct mm_err *err) MM_MUST_CHECK;

struct mm_client_key {
	char key[41]; /* Z85 */
	enum mm_access access;
	char name[64];
};
/* One "KEY read|write [name]" a line; lines that start with '#' and are no such row are remarks ('#' is a Z85 digit).
 */
int mm_client_keys_parse(
	const char *text, struct mm_client_key **out, size_t *n, struct mm_err *err) MM_MUST_CHECK; /* mm_free */

/* ---- ctl_bulk.c: replies that are fetched in pieces ---- */

struct mm_bulk; /* all of them */
struct mm_bulk *mm_bulk_new(sd_event *loop, struct mm_err *err) MM_MUST_CHECK;
void mm_bulk_free(struct mm_bulk *b);
/* Keeps data or fd of `r` (taken) for the client `who`; handle and size come back. MM_EBUSY: too many are kept. */
int mm_bulk_add(struct mm_bulk *b, const void *who, size_t n_who, struct mm_reply *r, int64_t *handle, uint64_t *bytes,
	struct mm_err *err) MM_MUST_CHECK;
/* Copies the bytes at `offset` into `out` (at most MM_CHUNK_MAX; *n may be 0 at the end). MM_ENOENT: not this client's,
 * or expired. */
int mm_bulk_read(struct mm_bulk *b, const void *who, size_t n_who, int64_t handle, uint64_t offset, void *out,
	size_t *n, struct mm_err *err) MM_MUST_CHECK;
void mm_bulk_forget(struct mm_bulk *b, const void *who, size_t n_who); /* the client has gone */
size_t mm_bulk_count(const struct mm_bulk *b);
void mm_bulk_set_idle(struct mm_bulk *b, double seconds); /* tests; 60 otherwise */

#endif
