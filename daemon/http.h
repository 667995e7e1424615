/* http.h - what other rooms see of HTTP: config.c checks its address, daemon.c starts and stops it. */
#ifndef MM_HTTP_H
#define MM_HTTP_H

#include "base/base.h"

#include <netinet/in.h>

struct mm_daemon;

/* ---- http_addr.c: pure functions ---- */
struct mm_http_addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} u;
	socklen_t len;
	bool loopback;
};
/* "127.0.0.1:8077", "[::1]:8077", "localhost:8077" (127.0.0.1); a number, never a name that somebody has to be asked
 * about. Port 0: any that is free. */
int mm_http_addr_parse(const char *s, struct mm_http_addr *out, struct mm_err *err) MM_MUST_CHECK;
/* http://127.0.0.1:8077/ */
void mm_http_addr_url(const struct mm_http_addr *a, char *out, size_t cap);
/* Whether a Host header names this machine as an address or "localhost". A page of another site whose name was made to
 * point here sends its own name. */
bool mm_http_host_is_local(const char *host);

/* ---- http.c ---- */
int mm_http_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK; /* nothing without http.listen */
void mm_http_stop(struct mm_daemon *d);

#endif
