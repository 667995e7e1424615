/* Latency of queries: 8 clients, 1,000 queries a second in all, sent at fixed times (a late answer does not delay the
 * next question's clock, so that waiting is counted).
 *
 *   bench_ctl                      against sockets and loop alone, with a handler that only echoes
 *   bench_ctl URL SECONDS [A B]    against a daemon (tests/bench/bench_queries.sh); A and B are models' names
 *   bench_ctl URL SECONDS A B large   the same without whole maps and lists, which one more client asks for in turn,
 *one a second, and which are counted apart (tests/bench/bench_large.sh)
 */
#include "daemon/ctl_priv.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define CLIENTS 8
#define RATE	1000 /* queries a second, of all clients together */

struct load {
	const char *url;
	double seconds, start;
	const char *query[8]; /* near, dist, status, show, near, queue, map, models */
	size_t n_query;
	bool big; /* one more client for what is large */
	void *ctx;
};

struct client {
	struct load *load;
	unsigned index;
	double *late; /* [n] seconds from the time a query was due to its answer */
	size_t n, n_error;
	pthread_t thread;
};

static void sleep_until(double t)
{
	struct timespec ts = { .tv_sec = (time_t)t, .tv_nsec = (long)((t - (double)(time_t)t) * 1e9) };
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL))
		;
}

static void *client_main(void *arg)
{
	struct client *c = arg;
	struct load *l = c->load;
	void *s = zmq_socket(l->ctx, ZMQ_DEALER);
	int patience = 10000;
	zmq_setsockopt(s, ZMQ_RCVTIMEO, &patience, sizeof patience);
	zmq_connect(s, l->url);
	size_t total = (size_t)(l->seconds * RATE / CLIENTS);
	for (size_t k = 0; k < total; k++) {
		double due = l->start + ((double)k * CLIENTS + c->index) / RATE;
		sleep_until(due);
		const char *q = l->query[(k + c->index) % l->n_query];
		zmq_msg_t m;
		zmq_msg_init(&m);
		zmq_send(s, q, strlen(q), 0);
		if (zmq_msg_recv(&m, s, 0) < 0 || !memmem(zmq_msg_data(&m), zmq_msg_size(&m), "\"ok\":true", 9))
			c->n_error++;
		zmq_msg_close(&m);
		c->late[c->n++] = mm_monotonic() - due;
	}
	int zero = 0;
	zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
	zmq_close(s);
	return NULL;
}

static int cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* One after the other, a second between them. */
static void *big_main(void *arg)
{
	static const char *const query[] = { "{\"v\":1,\"id\":1,\"cmd\":\"map\"}",
		"{\"v\":1,\"id\":1,\"cmd\":\"models\"}" };
	struct client *c = arg;
	void *s = zmq_socket(c->load->ctx, ZMQ_DEALER);
	int patience = 60000;
	zmq_setsockopt(s, ZMQ_RCVTIMEO, &patience, sizeof patience);
	zmq_connect(s, c->load->url);
	for (size_t k = 0; k < (size_t)c->load->seconds; k++) {
		double due = c->load->start + (double)k;
		zmq_msg_t m;
		sleep_until(due);
		zmq_msg_init(&m);
		zmq_send(s, query[k % 2], strlen(query[k % 2]), 0);
		bool good = zmq_msg_recv(&m, s, 0) >= 0 && memmem(zmq_msg_data(&m), zmq_msg_size(&m), "\"ok\":true", 9);
		c->n_error += !good;
		zmq_msg_close(&m);
		c->late[c->n++] = mm_monotonic() - due;
	}
	int zero = 0;
	zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
	zmq_close(s);
	return NULL;
}

static size_t run(struct load *l, const char *what)
{
	struct client c[CLIENTS];
	size_t most = (size_t)(l->seconds * RATE / CLIENTS) + 1, n = 0, errors = 0;
	double *all = calloc(CLIENTS * most, sizeof *all);
	if (!all)
		abort();
	l->ctx = zmq_ctx_new();
	l->start = mm_monotonic() + 0.2;
	for (unsigned i = 0; i < CLIENTS; i++) {
		c[i] = (struct client){ .load = l, .index = i, .late = all + i * most };
		if (pthread_create(&c[i].thread, NULL, client_main, &c[i]))
			abort();
	}
	struct client big = { .load = l, .late = l->big ? calloc((size_t)l->seconds + 1, sizeof(double)) : NULL };
	if (big.late && pthread_create(&big.thread, NULL, big_main, &big))
		abort();
	if (big.late)
		pthread_join(big.thread, NULL);
	for (unsigned i = 0; i < CLIENTS; i++) {
		pthread_join(c[i].thread, NULL);
		memmove(all + n, c[i].late, c[i].n * sizeof *all);
		n += c[i].n;
		errors += c[i].n_error;
	}
	double wall = mm_monotonic() - l->start;
	qsort(all, n, sizeof *all, cmp);
	printf("%-28s %6zu queries, %5.0f/s, %zu errors; ms: p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f\n",
		what, n, (double)n / wall, errors, 1e3 * all[n / 2], 1e3 * all[n * 9 / 10], 1e3 * all[n * 99 / 100],
		1e3 * all[n * 999 / 1000], 1e3 * all[n - 1]);
	if (big.late && big.n) {
		qsort(big.late, big.n, sizeof(double), cmp);
		printf("%-28s %6zu queries, %zu errors; ms: p50 %.0f  max %.0f\n", "whole maps, whole lists", big.n,
			big.n_error, 1e3 * big.late[big.n / 2], 1e3 * big.late[big.n - 1]);
		errors += big.n_error;
	}
	free(big.late);
	free(all);
	zmq_ctx_term(l->ctx);
	return errors;
}

/* ---- sockets and loop alone ---- */

static int echo(struct mm_daemon *d, const json_t *args, struct mm_reply *r, struct mm_err *err)
{
	(void)d, (void)err;
	r->body = json_pack("{s:O}", "args", args);
	return 0;
}

mm_cmd_fn mm_command_handler(const char *name)
{
	(void)name;
	return echo;
}

static void *loop_main(void *arg)
{
	struct mm_daemon *d = arg;
	while (!d->stopping)
		if (sd_event_run(d->loop, 100000) < 0)
			abort();
	return NULL;
}

static int alone(void)
{
	char dir[] = "/tmp/mm-bench-XXXXXX", control[64];
	struct mm_daemon d = { 0 };
	struct mm_err err = { 0 };
	pthread_t loop;
	if (!mkdtemp(dir) || sd_event_new(&d.loop) < 0)
		return 1;
	snprintf(control, sizeof control, "ipc://%s/control", dir);
	d.cfg.control = control;
	if (mm_ctl_start(&d, &err) || pthread_create(&loop, NULL, loop_main, &d)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	struct load l = { .url = control,
		.seconds = 5,
		.query = { "{\"v\":1,\"id\":1,\"cmd\":\"near\",\"name\":\"a\"}" },
		.n_query = 1 };
	size_t errors = run(&l, "sockets and loop alone");
	d.stopping = true;
	pthread_join(loop, NULL);
	mm_ctl_stop(&d);
	sd_event_unref(d.loop);
	rmdir(dir);
	return errors != 0;
}

int main(int argc, char **argv)
{
	static char near[300], dist[300], show[300];
	if (argc < 3)
		return alone();
	const char *a = argc > 3 ? argv[3] : "a", *b = argc > 4 ? argv[4] : "b";
	snprintf(near, sizeof near, "{\"v\":1,\"id\":1,\"cmd\":\"near\",\"name\":\"%.200s\",\"k\":5}", a);
	snprintf(dist, sizeof dist, "{\"v\":1,\"id\":1,\"cmd\":\"dist\",\"a\":\"%.100s\",\"b\":\"%.100s\"}", a, b);
	snprintf(show, sizeof show, "{\"v\":1,\"id\":1,\"cmd\":\"show\",\"name\":\"%.200s\"}", b);
	struct load l = { .url = argv[1],
		.seconds = strtod(argv[2], NULL),
		.query = { near, dist, "{\"v\":1,\"id\":1,\"cmd\":\"status\"}", show, near,
			"{\"v\":1,\"id\":1,\"cmd\":\"queue\"}", "{\"v\":1,\"id\":1,\"cmd\":\"map\"}",
			"{\"v\":1,\"id\":1,\"cmd\":\"models\"}" },
		.n_query = argc > 5 ? 6 : 8,
		.big = argc > 5 };
	if (argc > 6) { /* one kind of query alone */
		l.query[0] = l.query[strtoul(argv[6], NULL, 10) % l.n_query];
		l.n_query = 1;
		l.big = false;
	}
	return run(&l, "daemon at work") != 0;
}
