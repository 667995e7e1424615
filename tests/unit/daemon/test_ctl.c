/* Requests and replies over real sockets: rights, errors, deferred answers, slow and dead clients, socket files. */
#include "ctl_fake.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static unsigned mode_of(const char *url)
{
	struct stat st;
	assert_int_equal(lstat(url + 6, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	return st.st_mode & 0777;
}

static void test_modes_and_cleanup(void **state)
{
	(void)state;
	struct fake *f = fake_new();
	mode_t old = umask(077); /* whatever the umask: the modes are ours */
	fake_start(f);
	umask(old);
	assert_int_equal(mode_of(f->d.cfg.control), 0660);
	assert_int_equal(mode_of(f->d.cfg.query), 0666);
	assert_int_equal(mode_of(f->d.cfg.events), 0666);
	mm_ctl_stop(&f->d);
	mm_events_stop(&f->d);
	assert_int_equal(access(f->d.cfg.control + 6, F_OK), -1);
	assert_int_equal(access(f->d.cfg.events + 6, F_OK), -1);
	mm_free(f->d.cfg.query);
	f->d.cfg.query = NULL; /* without a query socket nobody but the group hears events */
	umask(0);
	fake_start(f);
	umask(old);
	assert_int_equal(mode_of(f->d.cfg.control), 0660);
	assert_int_equal(mode_of(f->d.cfg.events), 0660);
	fake_free(f);
}

static void expect_no_start(struct fake *f, enum mm_err_code code, const char *part)
{
	struct mm_err err = { 0 };
	assert_int_equal(mm_ctl_start(&f->d, &err), -1);
	assert_int_equal(err.code, code);
	if (!strstr(err.text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, err.text);
	assert_null(f->d.ctl);
}

static int listener(const char *url)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof a.sun_path, "%s", url + 6);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_true(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof a) && !listen(fd, 1));
	return fd;
}

static void test_socket_files(void **state)
{
	(void)state;
	struct fake *f = fake_new();
	struct stat before, after;
	int fd = listener(f->d.cfg.control);
	expect_no_start(f, MM_ECONFLICT, "another daemon answers");
	assert_int_equal(access(f->d.cfg.control + 6, F_OK), 0);
	close(fd); /* as after kill -9: the file stays, nobody listens */
	fake_start(f);
	void *c = client(f, ZMQ_DEALER, f->d.cfg.control);
	json_decref(ask(f, c, "{\"v\":1,\"id\":7,\"cmd\":\"status\"}", true));
	zmq_close(c);
	mm_ctl_stop(&f->d);

	fd = open(f->d.cfg.control + 6, O_CREAT | O_WRONLY, 0600); /* somebody's file is never removed */
	assert_true(fd >= 0 && !fstat(fd, &before));
	close(fd);
	expect_no_start(f, MM_ECONFLICT, "not a socket");
	assert_int_equal(stat(f->d.cfg.control + 6, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(unlink(f->d.cfg.control + 6), 0);

	static const struct {
		const char *url, *part;
	} bad[] = { { "tcp://127.0.0.1:*", "curve" }, { "inproc://x", "expected ipc://" },
		{ "ipc://relative", "absolute" },
		{ "ipc:///tmp/"
		  "aaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbb"
		  "aaaaaaaaaa",
			"at most 107" } };
	char *keep = f->d.cfg.control;
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		f->d.cfg.control = (char *)(uintptr_t)bad[i].url;
		expect_no_start(f, MM_EINVAL, bad[i].part);
	}
	f->d.cfg.control = keep;
	fake_free(f);
}

static void test_requests(void **state)
{
	(void)state;
	struct fake *f = fake_new();
	fake_start(f);
	void *c = client(f, ZMQ_DEALER, f->d.cfg.control), *q = client(f, ZMQ_DEALER, f->d.cfg.query);
	void *r = client(f, ZMQ_REQ, f->d.cfg.query);
	json_t *j = ask(f, c, "{\"v\":1,\"id\":41,\"cmd\":\"near\",\"name\":\"a\",\"k\":3}", true);
	assert_string_equal(json_string_value(json_object_get(j, "cmd")), "near");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "args"), "k")), 3);
	json_decref(j);
	json_decref(ask(f, r, "{\"v\":1,\"id\":1,\"cmd\":\"status\"}", true));
	json_decref(ask(f, r, "{\"v\":1,\"id\":2,\"cmd\":\"status\"}", true));
	refused(f, c, "{\"v\":1,\"id\":2,\"cmd\":\"show\",\"name\":\"nix\"}", "not_found", "no model \"nix\"");
	refused(f, c, "{\"v\":1,\"id\":3,\"cmd\":\"statsu\"}", "unsupported", "did you mean \"status\"");
	refused(f, c, "{\"v\":1,\"id\":4,\"cmd\":\"near\"}", "invalid", "\"name\"");
	refused(f, c, "{\"v\":2,\"id\":5,\"cmd\":\"status\"}", "unsupported", "version 2");
	refused(f, c, "{\"v\":1,\"id\":6,\"cmd\":\"map\"}", "unsupported", "not built");
	refused(f, c, "{\"v\":1,\"id\":6,\"cmd\":\"epochs\"}", "internal", "envelope");
	refused(f, q, "{\"v\":1,\"id\":8,\"cmd\":\"retry\",\"name\":\"a\"}", "denied", "only answers");
	json_decref(ask(f, c, "{\"v\":1,\"id\":8,\"cmd\":\"retry\",\"name\":\"a\"}", true));
	send_text(c, "{\"v\":1,");
	j = next_json(f, c);
	assert_int_equal(json_integer_value(json_object_get(j, "id")), 0);
	assert_string_equal(json_string_value(json_object_get(json_object_get(j, "error"), "code")), "format");
	json_decref(j);
	char *big = calloc(1, MM_REQUEST_MAX + 10);
	assert_non_null(big);
	memset(big, ' ', MM_REQUEST_MAX + 9);
	send_text(c, big);
	j = next_json(f, c);
	assert_non_null(strstr(json_string_value(json_object_get(json_object_get(j, "error"), "text")), "at most"));
	json_decref(j);
	free(big);
	assert_int_equal(zmq_send(c, "{}", 2, ZMQ_SNDMORE), 2);
	assert_int_equal(zmq_send(c, "{}", 2, ZMQ_SNDMORE), 2);
	assert_int_equal(zmq_send(c, "{}", 2, 0), 2);
	j = next_json(f, c);
	assert_non_null(strstr(json_string_value(json_object_get(json_object_get(j, "error"), "text")), "one frame"));
	json_decref(j);
	zmq_close(c);
	zmq_close(q);
	zmq_close(r);
	fake_free(f);
}

static void test_deferred(void **state)
{
	(void)state;
	struct fake *f = fake_new();
	struct mm_err why = { 0 };
	fake_start(f);
	void *c = client(f, ZMQ_DEALER, f->d.cfg.control), *gone = client(f, ZMQ_DEALER, f->d.cfg.control);
	send_text(c, "{\"v\":1,\"id\":1,\"cmd\":\"refit\"}");
	json_decref(ask(f, c, "{\"v\":1,\"id\":2,\"cmd\":\"status\"}", true)); /* overtakes */
	assert_true(f->token != 0);
	struct mm_reply r = { .fd = -1, .body = json_pack("{s:i}", "epoch", 2) };
	mm_ctl_finish(&f->d, f->token, &r, NULL);
	json_t *j = next_json(f, c);
	assert_int_equal(json_integer_value(json_object_get(j, "id")), 1);
	assert_int_equal(json_integer_value(json_object_get(j, "epoch")), 2);
	json_decref(j);
	struct mm_reply again = { .fd = -1, .body = json_pack("{s:i}", "epoch", 3) };
	mm_ctl_finish(&f->d, f->token, &again, NULL); /* a token answers once */
	send_text(c, "{\"v\":1,\"id\":3,\"cmd\":\"refit\"}");
	json_decref(ask(f, c, "{\"v\":1,\"id\":4,\"cmd\":\"status\"}", true));
	mm_fail(&why, MM_ECANCELLED, "stopped");
	mm_ctl_finish(&f->d, f->token, NULL, &why);
	j = next_json(f, c);
	assert_string_equal(json_string_value(json_object_get(json_object_get(j, "error"), "code")), "cancelled");
	json_decref(j);
	/* A client that goes while we work for it. */
	send_text(gone, "{\"v\":1,\"id\":5,\"cmd\":\"refit\"}");
	json_decref(ask(f, gone, "{\"v\":1,\"id\":6,\"cmd\":\"status\"}", true));
	zmq_close(gone);
	struct mm_reply late = { .fd = -1, .body = json_object() };
	mm_ctl_finish(&f->d, f->token, &late, NULL);
	json_decref(ask(f, c, "{\"v\":1,\"id\":7,\"cmd\":\"status\"}", true));
	/* Sixteen at a time, and the daemon that stops answers them. */
	f->n_tokens = 0;
	for (int i = 0; i < 16; i++)
		send_text(c, "{\"v\":1,\"id\":100,\"cmd\":\"refit\"}");
	refused(f, c, "{\"v\":1,\"id\":117,\"cmd\":\"refit\"}", "busy", "too many");
	assert_int_equal(f->n_tokens, 16);
	mm_ctl_stop(&f->d);
	j = next_json(f, c);
	assert_non_null(strstr(json_string_value(json_object_get(json_object_get(j, "error"), "text")), "stopping"));
	json_decref(j);
	zmq_close(c);
	fake_free(f);
}

/* One client floods and never reads: another is answered all the while, and no turn of the loop is long. */
static void test_slow_client(void **state)
{
	(void)state;
	struct fake *f = fake_new();
	fake_start(f);
	void *slow = client(f, ZMQ_DEALER, f->d.cfg.control), *c = client(f, ZMQ_DEALER, f->d.cfg.control);
	int one = 1;
	assert_int_equal(zmq_setsockopt(slow, ZMQ_RCVHWM, &one, sizeof one), 0);
	json_decref(ask(f, slow, "{\"v\":1,\"id\":1,\"cmd\":\"status\"}", true));
	for (int i = 0; i < 300; i++) {
		const char *q = "{\"v\":1,\"id\":9,\"cmd\":\"models\"}";
		zmq_send(slow, q, strlen(q), ZMQ_DONTWAIT); /* a full pipe is what we want */
		unsigned before = f->n_calls;
		turn(f);
		assert_true(f->n_calls - before <= 64);
		if (i % 30 == 0)
			json_decref(ask(f, c, "{\"v\":1,\"id\":2,\"cmd\":\"status\"}", true));
	}
	json_decref(ask(f, c, "{\"v\":1,\"id\":3,\"cmd\":\"status\"}", true));
	zmq_close(slow); /* dies with replies under way */
	for (int i = 0; i < 20; i++)
		json_decref(ask(f, c, "{\"v\":1,\"id\":4,\"cmd\":\"status\"}", true));
	zmq_close(c);
	fake_free(f);
}

/* ZMQ_FD is edge-triggered: requests that come in a heap are all answered without a further one waking the loop. */
static void test_drains(void **state)
{
	(void)state;
	struct fake *f = fake_new();
	fake_start(f);
	void *c[8];
	enum { EACH = 100 };
	char q[64];
	for (int i = 0; i < 8; i++)
		c[i] = client(f, ZMQ_DEALER, f->d.cfg.control);
	for (int round = 0; round < EACH / 20; round++) {
		for (int k = 0; k < 20; k++)
			for (int i = 0; i < 8; i++) {
				snprintf(q, sizeof q, "{\"v\":1,\"id\":%d,\"cmd\":\"status\"}", round * 20 + k);
				send_text(c[i], q);
			}
		for (int i = 0; i < 8; i++)
			for (int k = 0; k < 20; k++) {
				json_t *j = next_json(f, c[i]);
				assert_int_equal(json_integer_value(json_object_get(j, "id")), round * 20 + k);
				json_decref(j);
			}
	}
	for (int i = 0; i < 8; i++)
		zmq_close(c[i]);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modes_and_cleanup),
		cmocka_unit_test(test_socket_files),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_deferred),
		cmocka_unit_test(test_slow_client),
		cmocka_unit_test(test_drains),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
