/* ctl_fake.h - a daemon of nothing but loop, sockets and faked handlers, and clients in the same thread: a test sends,
 * turns the loop until the answer is there, and looks. Nothing sleeps; a test that gets no answer in TIMEOUT_S fails.
 */
#ifndef CTL_FAKE_H
#define CTL_FAKE_H

#include "daemon/ctl_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#define TIMEOUT_S 20.0

struct fake {
	struct mm_daemon d;
	char dir[64];
	void *client_ctx;
	uint64_t token; /* of the last deferred request */
	unsigned n_calls, n_tokens;
	uint64_t tokens[1024];
};
static struct fake *the_fake;

static int h_echo(struct mm_daemon *d, const json_t *args, struct mm_reply *r, struct mm_err *err)
{
	(void)d, (void)err;
	the_fake->n_calls++;
	r->body = json_pack("{s:O}", "args", args);
	return 0;
}

static int h_fail(struct mm_daemon *d, const json_t *args, struct mm_reply *r, struct mm_err *err)
{
	(void)d, (void)r;
	return mm_fail(err, MM_ENOENT, "no model \"%s\"", json_string_value(json_object_get(args, "name")));
}

static int h_defer(struct mm_daemon *d, const json_t *args, struct mm_reply *r, struct mm_err *err)
{
	(void)d, (void)args, (void)err;
	r->deferred = true;
	the_fake->token = r->token;
	if (the_fake->n_tokens < MM_COUNT(the_fake->tokens))
		the_fake->tokens[the_fake->n_tokens++] = r->token;
	return 0;
}

#define EXPORT_BYTES (5u * MM_CHUNK_MAX / 2)
static int h_export(struct mm_daemon *d, const json_t *args, struct mm_reply *r, struct mm_err *err)
{
	const char *what = json_string_value(json_object_get(args, "what"));
	(void)d;
	r->bulk = true;
	r->body = json_pack("{s:s}", "what", what);
	for (unsigned i = 0; i < EXPORT_BYTES / 4; i++)
		mm_buf_u32(&r->data, i);
	if (!strcmp(what, "names")) { /* through a file */
		FILE *f = tmpfile();
		if (!f || fwrite(r->data.data, 1, r->data.len, f) != r->data.len || fflush(f))
			return mm_fail(err, MM_EIO, "no temporary file");
		r->fd = dup(fileno(f));
		fclose(f);
		mm_buf_fini(&r->data);
	}
	return 0;
}

/* A reply of a megabyte, so that a client that does not read is soon full. */
static int h_big(struct mm_daemon *d, const json_t *args, struct mm_reply *r, struct mm_err *err)
{
	static char text[1 << 20];
	(void)d, (void)args, (void)err;
	the_fake->n_calls++;
	memset(text, 'x', sizeof text - 1);
	r->body = json_pack("{s:s}", "text", text);
	return 0;
}

static int h_wrong(struct mm_daemon *d, const json_t *args, struct mm_reply *r, struct mm_err *err)
{
	(void)d, (void)args, (void)err;
	r->body = json_pack("{s:i}", "id", 5); /* a key of the envelope */
	return 0;
}

mm_cmd_fn mm_command_handler(const char *name)
{
	static const struct {
		const char *name;
		mm_cmd_fn fn;
	} h[] = { { "status", h_echo }, { "near", h_echo }, { "show", h_fail }, { "refit", h_defer },
		{ "retry", h_echo }, { "export", h_export }, { "models", h_big }, { "epochs", h_wrong },
		{ "events_since", mm_cmd_events_since } };
	for (size_t i = 0; i < MM_COUNT(h); i++)
		if (!strcmp(h[i].name, name))
			return h[i].fn;
	return NULL;
}

static char *in_dir(struct fake *f, const char *name)
{
	struct mm_err err = { 0 };
	char *s = mm_asprintf(&err, "ipc://%s/%s", f->dir, name);
	assert_non_null(s);
	return s;
}

static struct fake *fake_new(void)
{
	struct fake *f = the_fake = calloc(1, sizeof *f);
	assert_non_null(f);
	snprintf(f->dir, sizeof f->dir, "/tmp/mm-ctl-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_true(sd_event_new(&f->d.loop) >= 0);
	f->d.cfg.control = in_dir(f, "control");
	f->d.cfg.query = in_dir(f, "query");
	f->d.cfg.events = in_dir(f, "events");
	f->client_ctx = zmq_ctx_new();
	return f;
}

static void must(int rc, const struct mm_err *err)
{
	if (rc)
		fail_msg("%s", err->text);
}

static inline void fake_start(struct fake *f)
{
	struct mm_err err = { 0 };
	must(mm_events_start(&f->d, &err), &err);
	must(mm_ctl_start(&f->d, &err), &err);
}

static void fake_free(struct fake *f)
{
	char cmd[128];
	mm_ctl_stop(&f->d);
	mm_events_stop(&f->d);
	assert_null(f->d.net); /* the context went with its last user */
	sd_event_unref(f->d.loop);
	zmq_ctx_term(f->client_ctx);
	mm_free(f->d.cfg.control);
	mm_free(f->d.cfg.query);
	mm_free(f->d.cfg.events);
	mm_free(f->d.cfg.curve.server_secret);
	mm_free(f->d.cfg.curve.client_keys);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", f->dir);
	assert_int_equal(system(cmd), 0);
	free(f);
}

static inline void turn(struct fake *f)
{
	assert_true(sd_event_run(f->d.loop, 10000) >= 0);
}

static inline void *client(struct fake *f, int type, const char *url)
{
	void *s = zmq_socket(f->client_ctx, type);
	int zero = 0;
	assert_non_null(s);
	assert_int_equal(zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero), 0);
	assert_int_equal(zmq_connect(s, url), 0);
	return s;
}

/* Next frame of `s`, turning the loop until it is there. */
static inline zmq_msg_t *next_frame(struct fake *f, void *s, zmq_msg_t *m)
{
	double end = mm_monotonic() + TIMEOUT_S;
	zmq_msg_init(m);
	while (zmq_msg_recv(m, s, ZMQ_DONTWAIT) < 0) {
		assert_int_equal(zmq_errno(), EAGAIN);
		assert_true(mm_monotonic() < end);
		turn(f);
	}
	return m;
}

/* Next JSON frame. */
static inline json_t *next_json(struct fake *f, void *s)
{
	struct mm_err err = { 0 };
	zmq_msg_t m;
	next_frame(f, s, &m);
	json_t *j = mm_json_parse(zmq_msg_data(&m), zmq_msg_size(&m), "reply", &err);
	if (!j)
		fail_msg("%s", err.text);
	zmq_msg_close(&m);
	return j;
}

static inline void send_text(void *s, const char *text)
{
	assert_int_equal(zmq_send(s, text, strlen(text), 0), strlen(text));
}

/* Sends one request, checks id and ok, gives the reply (caller decrefs). */
static inline json_t *ask(struct fake *f, void *s, const char *text, bool ok)
{
	send_text(s, text);
	json_t *j = next_json(f, s), *q = json_loads(text, 0, NULL);
	if (q)
		assert_true(json_equal(json_object_get(j, "id"), json_object_get(q, "id")));
	json_decref(q);
	if (json_is_true(json_object_get(j, "ok")) != ok) {
		char *t = json_dumps(j, 0);
		fail_msg("unexpected reply to %s: %s", text, t);
	}
	return j;
}

/* Asks and expects an error of this code whose text has `part`. */
static inline void refused(struct fake *f, void *s, const char *text, const char *code, const char *part)
{
	json_t *j = ask(f, s, text, false), *e = json_object_get(j, "error");
	assert_string_equal(json_string_value(json_object_get(e, "code")), code);
	if (!strstr(json_string_value(json_object_get(e, "text")), part))
		fail_msg("\"%s\" is not in \"%s\"", part, json_string_value(json_object_get(e, "text")));
	json_decref(j);
}

#endif
