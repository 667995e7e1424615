/* http_priv.h - inner doors of HTTP. Loop thread only.
 *
 *   http_parse.c    the target of a request -> what is asked, as a checked request of the protocol; pure
 *   http.c          libmicrohttpd in our loop; requests as they come
 *   http_answer.c   who may ask, commands, bytes that go back
 *   http_stream.c   server-sent events
 *   http_page.c     the page for a browser
 *   http_metrics.c  what Prometheus reads
 */
#ifndef MM_HTTP_PRIV_H
#define MM_HTTP_PRIV_H

#include "daemon/daemon.h"
#include "daemon/http.h"

#include <microhttpd.h>

/* ---- http_parse.c ---- */

#define MM_HTTP_TARGET_MAX 8192 /* bytes of path and query */

enum mm_http_kind { MM_HTTP_INDEX, MM_HTTP_METRICS, MM_HTTP_COMMAND, MM_HTTP_EVENTS };
struct mm_http_ask {
	enum mm_http_kind kind;
	struct mm_request request; /* COMMAND; EVENTS: an events_since with where to start */
};
/* "/api/v1/near?name=a&k=3", as it stood in the request line. -1: *status is the answer's, err its text. */
int mm_http_parse(const char *target, struct mm_http_ask *out, unsigned *status, struct mm_err *err) MM_MUST_CHECK;
void mm_http_ask_fini(struct mm_http_ask *a);
unsigned mm_http_status(enum mm_err_code code);

/* ---- http.c ---- */

struct mm_http_stream;
struct mm_http_req { /* from the first byte of a request to its end */
	struct mm_http *h;
	struct MHD_Connection *conn;
	struct mm_http_req *next; /* in h->waiting, while `token` */
	char *target;		  /* NULL: no memory, or too long */
	bool too_long, seen, suspended;
	size_t n_body;	/* bytes of a body that nobody asked for */
	uint64_t token; /* the command is under way */
	bool done;
	struct mm_reply reply;
	struct mm_err why; /* with a code: the answer instead of reply */
};
#define MM_HTTP_LAGS 9
struct mm_http {
	struct mm_daemon *d;
	struct MHD_Daemon *mhd;
	int fd; /* listening; MHD's once it runs */
	sd_event_source *io, *timer, *beat, *second;
	char token[257]; /* "": none is asked for */
	bool stopping;
	struct mm_http_page *page; /* NULL: none */
	uint64_t next_token;
	struct mm_http_req *waiting;
	size_t n_waiting, held;	    /* held: bytes of answers that are not sent yet */
	struct mm_http_peer *peers; /* every connection, http.c's */
	struct mm_http_stream *streams;
	size_t n_streams;
	uint64_t n_answers[6]; /* by hundreds of the status */
	/* How late the timer of every second came: a histogram, as Prometheus counts. */
	uint64_t second_due, lag_count[MM_HTTP_LAGS + 1];
	double lag_sum;
};
void mm_http_kick(struct mm_http *h); /* something was resumed: run soon */

/* ---- http_answer.c ---- */

enum MHD_Result mm_http_answer(struct mm_http_req *q); /* again when its command is done */
/* ctl.c's mm_ctl_finish, for tokens of ours. A client that has gone meanwhile is no error. */
void mm_http_finish(struct mm_daemon *d, uint64_t token, struct mm_reply *reply, const struct mm_err *why);
void mm_http_req_free(struct mm_http_req *q);
/* Suspended connections have to go on before libmicrohttpd can end. */
void mm_http_release(struct mm_http *h);
enum MHD_Result mm_http_refuse(struct mm_http_req *q, unsigned status, enum mm_err_code code, const char *text);
/* Puts the headers on that every answer has, and queues it; takes r (NULL: no memory). */
enum MHD_Result mm_http_send(struct mm_http_req *q, unsigned status, const char *type, struct MHD_Response *r);
enum MHD_Result mm_http_send_error(struct mm_http_req *q, unsigned status, const struct mm_err *why);

/* ---- http_stream.c ---- */
enum MHD_Result mm_http_stream_open(struct mm_http_req *q, const json_t *args); /* boot and seq, or neither */
void mm_http_stream_wake(struct mm_http *h, bool beat); /* beat: a sign of life, to find out who has gone */

/* ---- http_page.c ---- */
struct mm_http_page;
struct mm_http_page *mm_http_page_load(const char *dir, struct mm_err *err) MM_MUST_CHECK;
void mm_http_page_free(struct mm_http_page *p);
/* PREFIX/share/modelmapd/web of the PREFIX that the program lies in; NULL: there is none. mm_free it. */
char *mm_http_page_installed(struct mm_err *err);
/* The file at this path ("/": index.html), -1: none. */
int mm_http_page_find(const struct mm_http_page *p, const char *path, size_t len);
enum MHD_Result mm_http_page_send(struct mm_http_req *q, int file);

/* ---- http_metrics.c ---- */
int mm_http_metrics(struct mm_http *h, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK;
extern const double mm_http_lag_bound[MM_HTTP_LAGS]; /* seconds */
void mm_http_lag(struct mm_http *h, double seconds);

#endif
