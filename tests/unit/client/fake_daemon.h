/* fake_daemon.h - a ROUTER and a PUB socket on a thread, with canned answers and bad manners on demand. */
#ifndef FAKE_DAEMON_H
#define FAKE_DAEMON_H

#include "client/client.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

enum manners { POLITE, SILENT, STALE, GARBAGE, DIES, LYING_CHUNKS };

struct srv {
	char dir[64], url[96], events[96];
	void *ctx, *router, *pub, *pipe, *pipe_end;
	pthread_t thread;
	_Atomic int manners;
	_Atomic int n_requests, left; /* left: queued jobs that `status` tells */
	_Atomic long seq, lost_upto;  /* events_since: up to here they can be had */
	char boot[32];
};

#define BULK_BYTES (MM_CHUNK_MAX + 1000)

static void srv_event(struct srv *s, const char *type, json_t *body, bool publish)
{
	struct mm_err err = { 0 };
	json_t *e = mm_event_new(s->boot, ++s->seq, 1700000000, type, body, &err);
	char *text = mm_json_dump(e, &err);
	if (publish) {
		zmq_send(s->pub, type, strlen(type), ZMQ_SNDMORE);
		zmq_send(s->pub, text, strlen(text), 0);
	}
	json_decref(e);
	mm_free(text);
}

static json_t *srv_since(struct srv *s, const json_t *q)
{
	struct mm_err err = { 0 };
	json_t *list = json_array(), *seq = json_object_get(q, "seq");
	const char *boot = mm_str(q, "boot");
	bool same = !strcmp(boot, s->boot);
	for (long i = same ? json_integer_value(seq) + 1 : s->seq + 1; i <= s->seq; i++) {
		char name[32];
		snprintf(name, sizeof name, "fetched-%ld", i);
		json_array_append_new(list, mm_event_new(s->boot, i, 1700000000, "model",
						    json_pack("{s:s, s:s}", "name", name, "state", "scored"), &err));
	}
	return json_pack("{s:s, s:I, s:s, s:b, s:b, s:o}", "boot", s->boot, "seq", (json_int_t)s->seq, "endpoint",
		s->events, "gap", *boot && !same, "more", 0, "events", list);
}

static json_t *srv_body(struct srv *s, const char *cmd, const json_t *q, struct mm_err *why)
{
	if (!strcmp(cmd, "show") && strcmp(mm_str(q, "name"), "neox") != 0) {
		mm_fail(why, MM_ENOENT, "no model is called %s; the nearest names: neox-a", mm_str(q, "name"));
		return NULL;
	}
	if (!strcmp(cmd, "events_since"))
		return srv_since(s, q);
	static const struct {
		const char *cmd, *json;
	} canned[] = {
		{ "models", "{\"models\":[{\"name\":\"r/"
			    "checkpoint-100\",\"state\":\"scored\",\"family\":\"llama\",\"params\":"
			    "1100048384,\"bits_per_byte\":0.91234,\"mean_loglik\":-323.5,\"scored_at\":1},"
			    "{\"name\":\"r/checkpoint-20\",\"state\":\"waiting\",\"detail\":\"queued\"},"
			    "{\"name\":\"evil\\u001b[2Jname\",\"state\":\"failed\",\"detail\":\"never_ready\","
			    "\"reason\":\"truncated: 12 bytes are missing\"},{\"name\":\"old\",\"state\":\"gone\"}]}" },
		{ "near",
			"{\"model\":\"neox-a\",\"neighbours\":[{\"name\":\"bard-mini\",\"kl_bits_per_byte\":0.0123456,"
			"\"stderr_bits_per_byte\":0.0002,\"kl_nats_per_text\":4.3},{\"name\":\"far\",\"kl_bits_per_"
			"byte\":1.5,"
			"\"kl_nats_per_text\":530.1}]}" },
		{ "dist", "{\"a\":\"neox-a\",\"b\":\"bard-mini\",\"kl_bits_per_byte\":0.0123456,\"kl_nats_per_text\":4."
			  "3}" },
		{ "show", "{\"name\":\"neox-a\",\"state\":\"scored\",\"bits_per_byte\":2.5,\"copies\":[\"twin\"]}" },
		{ "queue", "{\"jobs\":[{\"id\":3,\"model\":\"late\",\"state\":\"waiting\",\"reason\":\"no "
			   "tokenizer\"},{\"id\":1,"
			   "\"model\":\"now\",\"state\":\"running\",\"progress\":0.5,\"eta_s\":12.5}]}" },
		{ "alerts", "{\"alerts\":[{\"id\":1,\"kind\":\"duplicate\",\"model\":\"a\",\"state\":\"acked\","
			    "\"severity\":"
			    "\"warning\",\"message\":\"m1\"},{\"id\":2,\"kind\":\"failed\",\"model\":\"b\",\"state\":"
			    "\"open\","
			    "\"severity\":\"warning\",\"message\":\"m2\"}]}" },
		{ "alert", "{\"alert\":{\"id\":2,\"state\":\"acked\"}}" },
		{ "map", "{\"epoch\":3,\"method\":\"pca\",\"points\":[{\"name\":\"a\",\"x\":0,\"y\":1,\"z\":0},{"
			 "\"name\":\"b\","
			 "\"x\":2,\"y\":0,\"z\":0}]}" },
		{ "refit", "{\"epoch\":4}" },
		{ "epochs", "{\"epoch\":1,\"epochs\":[{\"epoch\":1,\"method\":\"pca\",\"models\":2,\"explained\":[0.6,"
			    "0.2]}]}" },
		{ "tree",
			"{\"models\":[{\"name\":\"kid\",\"kind\":\"child\",\"parent\":\"base\",\"kl_bits_per_byte\":0."
			"5,"
			"\"rival\":\"other\",\"support\":0.97},{\"name\":\"base\",\"kind\":\"root\"},{\"name\":\"mix\","
			"\"kind\":\"merge\",\"parent\":\"base\",\"parent2\":\"kid\",\"alpha\":0.25}]}" },
		{ "cluster",
			"{\"n\":1,\"silhouette\":0.5,\"clusters\":[{\"name\":\"base\",\"silhouette\":0.5,\"members\":["
			"\"base\",\"kid\"]}],\"newick\":\"(base:1,kid:1);\"}" },
		{ "trajectory",
			"{\"run\":\"r\",\"legs\":[{\"from\":\"r/c-1\",\"to\":\"r/c-3\",\"from_step\":1,\"to_step\":3,"
			"\"kl_bits_per_byte\":0.25,\"kl_bits_per_byte_per_step\":0.125}],\"path\":16,\"distance\":"
			"16}" },
		{ "retry", "{\"model\":\"neox-a\"}" },
		{ "backup", "{\"bulk\":{\"handle\":9,\"bytes\":1049576}}" },
		{ "export",
			"{\"what\":\"vectors\",\"names\":[\"a\",\"b\"],\"bulk\":{\"handle\":9,\"bytes\":1049576}}" },
	};
	if (!strcmp(cmd, "status")) {
		int left = s->left;
		if (left > 0)
			s->left = left - 1;
		return json_pack("{s:s, s:i, s:{s:i, s:s, s:f}, s:{s:i, s:i, s:i, s:i}, s:i, s:i}", "version", "0.1.0",
			"uptime_s", 75, "texts", "n", 1000, "hash", "ab", "mean_bytes", 512.0, "queue", "waiting", 1,
			"queued", left, "running", 0, "failed", 0, "models", 4, "epoch", 3);
	}
	for (size_t i = 0; i < MM_COUNT(canned); i++)
		if (!strcmp(canned[i].cmd, cmd))
			return json_loads(canned[i].json, 0, NULL);
	mm_fail(why, MM_EUNSUPPORTED, "%s is not faked", cmd);
	return NULL;
}

static void srv_send(struct srv *s, const void *who, size_t n_who, json_t *reply, bool more)
{
	struct mm_err err = { 0 };
	char *text = mm_json_dump(reply, &err);
	zmq_send(s->router, who, n_who, ZMQ_SNDMORE);
	zmq_send(s->router, text, strlen(text), more ? ZMQ_SNDMORE : 0);
	json_decref(reply);
	mm_free(text);
}

static void srv_chunk(struct srv *s, const void *who, size_t n_who, int64_t id, const json_t *q)
{
	struct mm_err err = { 0 };
	int64_t off = mm_int(q, "offset", 0), n = MM_MIN(BULK_BYTES - off, (int64_t)MM_CHUNK_MAX);
	static uint8_t data[MM_CHUNK_MAX];
	for (int64_t i = 0; i < n; i++)
		data[i] = (uint8_t)((off + i) * 7);
	if (s->manners == LYING_CHUNKS)
		off++;
	srv_send(s, who, n_who,
		mm_reply_ok(id, "chunk",
			json_pack("{s:I, s:I, s:I}", "handle", (json_int_t)9, "offset", (json_int_t)off, "bytes",
				(json_int_t)n),
			&err),
		true);
	zmq_send(s->router, data, (size_t)n, 0);
}

static bool srv_answer(struct srv *s)
{
	uint8_t who[256];
	static char text[MM_REQUEST_MAX];
	struct mm_err err = { 0 };
	struct mm_request q;
	int n_who = zmq_recv(s->router, who, sizeof who, 0), n = zmq_recv(s->router, text, sizeof text, 0);
	s->n_requests++;
	if (s->manners == SILENT)
		return true;
	if (s->manners == DIES)
		return false;
	if (s->manners == GARBAGE) {
		zmq_send(s->router, who, (size_t)n_who, ZMQ_SNDMORE);
		zmq_send(s->router, "\xFFno", 3, 0);
		return true;
	}
	/* The client's requests are checked as the daemon does. */
	if (n < 0 || mm_request_parse(text, (size_t)n, &q, &err)) {
		srv_send(s, who, (size_t)n_who, mm_reply_error(q.id, &err), false);
		return true;
	}
	if (s->manners == STALE)
		srv_send(s, who, (size_t)n_who, mm_reply_ok(q.id - 1, "dist", json_pack("{s:s}", "a", "stale"), &err),
			false);
	if (!strcmp(q.cmd->name, "chunk")) {
		srv_chunk(s, who, (size_t)n_who, q.id, q.body);
	} else {
		json_t *body = srv_body(s, q.cmd->name, q.body, &err);
		srv_send(s, who, (size_t)n_who,
			body ? mm_reply_ok(q.id, q.cmd->name, body, &err) : mm_reply_error(q.id, &err), false);
	}
	mm_request_fini(&q);
	return true;
}

static void *srv_main(void *arg)
{
	struct srv *s = arg;
	bool up = true;
	for (;;) {
		zmq_pollitem_t p[2] = { { s->pipe_end, 0, ZMQ_POLLIN, 0 }, { s->router, 0, ZMQ_POLLIN, 0 } };
		zmq_poll(p, up ? 2 : 1, -1);
		if (p[0].revents) {
			char b;
			zmq_recv(s->pipe_end, &b, 1, 0);
			if (b == 'q')
				return NULL;
			if (b == 'e') /* an event that is published, */
				srv_event(s, "model", json_pack("{s:s, s:s}", "name", "told", "state", "scored"), true);
			if (b == 'l') /* one that is lost on the way */
				srv_event(
					s, "model", json_pack("{s:s, s:s}", "name", "lost", "state", "scored"), false);
			if (b == 'r') { /* a new life */
				snprintf(s->boot, sizeof s->boot, "second");
				s->seq = 0;
			}
			continue;
		}
		if (up && !srv_answer(s)) {
			zmq_close(s->router);
			unlink(s->url + 6);
			up = false;
			s->router = NULL;
		}
	}
}

static void srv_do(struct srv *s, char what)
{
	zmq_send(s->pipe, &what, 1, 0);
}

static struct srv *srv_start(enum manners m)
{
	struct srv *s = calloc(1, sizeof *s);
	assert_non_null(s);
	snprintf(s->dir, sizeof s->dir, "/tmp/mm-cli-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->url, sizeof s->url, "ipc://%s/control", s->dir);
	snprintf(s->events, sizeof s->events, "ipc://%s/events", s->dir);
	snprintf(s->boot, sizeof s->boot, "first");
	s->manners = m;
	s->ctx = zmq_ctx_new();
	int zero = 0;
	s->router = zmq_socket(s->ctx, ZMQ_ROUTER);
	s->pub = zmq_socket(s->ctx, ZMQ_PUB);
	s->pipe = zmq_socket(s->ctx, ZMQ_PAIR);
	s->pipe_end = zmq_socket(s->ctx, ZMQ_PAIR);
	zmq_setsockopt(s->router, ZMQ_LINGER, &zero, sizeof zero);
	zmq_setsockopt(s->pub, ZMQ_LINGER, &zero, sizeof zero);
	assert_int_equal(zmq_bind(s->router, s->url), 0);
	assert_int_equal(zmq_bind(s->pub, s->events), 0);
	assert_int_equal(zmq_bind(s->pipe, "inproc://pipe"), 0);
	assert_int_equal(zmq_connect(s->pipe_end, "inproc://pipe"), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, srv_main, s), 0);
	return s;
}

static void srv_stop(struct srv *s)
{
	char cmd[128];
	srv_do(s, 'q');
	pthread_join(s->thread, NULL);
	if (s->router)
		zmq_close(s->router);
	zmq_close(s->pub);
	zmq_close(s->pipe);
	zmq_close(s->pipe_end);
	zmq_ctx_term(s->ctx);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", s->dir);
	assert_int_equal(system(cmd), 0);
	free(s);
}

/* ---- the client as a function ---- */

struct ran {
	int status;
	char *out, *err;
};

static struct ran run_words(const char *const *argv)
{
	struct ran r;
	size_t n, m;
	int argc = 0;
	while (argv[argc])
		argc++;
	FILE *o = open_memstream(&r.out, &n), *e = open_memstream(&r.err, &m);
	r.status = mm_cli_main(argc, argv, o, e);
	fclose(o);
	fclose(e);
	return r;
}
#define RUN(...) run_words((const char *const[]){ "modelmap", __VA_ARGS__, NULL })

static void ran_free(struct ran *r)
{
	free(r->out);
	free(r->err);
}

/* Runs, expects the status and the parts (in stdout when it is 0, else in stderr), frees. */
static void expect_words(const char *file, int line, int status, const char *const *parts, struct ran r)
{
	if (r.status != status)
		fail_msg("%s:%d: exit %d, expected %d\n%s%s", file, line, r.status, status, r.out, r.err);
	for (; *parts; parts++)
		if (!strstr(status ? r.err : r.out, *parts))
			fail_msg("%s:%d: \"%s\" is not in\n%s--\n%s", file, line, *parts, r.out, r.err);
	if (status) { /* one line */
		assert_true(!strncmp(r.err, "modelmap: ", 10));
		assert_ptr_equal(strchr(r.err, '\n'), r.err + strlen(r.err) - 1);
	}
	assert_null(strchr(r.out, 033));
	assert_null(strchr(r.err, 033));
	ran_free(&r);
}
#define PARTS(...)	       ((const char *const[]){ __VA_ARGS__, NULL })
#define EXPECT(status, p, ...) expect_words(__FILE__, __LINE__, status, p, RUN(__VA_ARGS__))

#endif
