/* tcp: CURVE, a list of keys, rights by key, and keys that are taken out again. */
#include "ctl_fake.h"

#include <sys/stat.h>

struct pair {
	char public[41], secret[41];
};

static struct pair make_pair(void)
{
	struct pair p;
	assert_int_equal(zmq_curve_keypair(p.public, p.secret), 0);
	return p;
}

static char *write_file(struct fake *f, const char *name, const char *text, unsigned mode)
{
	struct mm_err err = { 0 };
	char *path = mm_path_join(f->dir, name, &err);
	assert_non_null(path);
	must(mm_file_write(path, text, strlen(text), &err), &err);
	assert_int_equal(chmod(path, mode), 0);
	return path;
}

static void *curve_client(struct fake *f, const struct pair *own, const char *server, const char *url)
{
	void *s = zmq_socket(f->client_ctx, ZMQ_DEALER);
	int zero = 0;
	assert_int_equal(zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero), 0);
	assert_int_equal(zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, server, 41), 0);
	assert_int_equal(zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, own->public, 41), 0);
	assert_int_equal(zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, own->secret, 41), 0);
	assert_int_equal(zmq_connect(s, url), 0);
	return s;
}

/* The handshake of `s` ends without a connection (a monitor tells). */
static void expect_refused(struct fake *f, void *s, const char *url)
{
	static int count;
	char at[32];
	snprintf(at, sizeof at, "inproc://monitor-%d", count++);
	assert_int_equal(zmq_socket_monitor(s, at,
				 ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
					 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_SUCCEEDED),
		0);
	void *mon = zmq_socket(f->client_ctx, ZMQ_PAIR);
	assert_int_equal(zmq_connect(mon, at), 0);
	assert_int_equal(zmq_connect(s, url), 0);
	zmq_msg_t m;
	next_frame(f, mon, &m);
	uint16_t event;
	memcpy(&event, zmq_msg_data(&m), sizeof event);
	assert_int_not_equal(event, ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
	zmq_msg_close(&m);
	zmq_socket_monitor(s, NULL, 0);
	zmq_close(mon);
}

static void test_curve(void **state)
{
	(void)state;
	struct fake *f = fake_new();
	struct mm_err err = { 0 };
	if (!zmq_has("curve")) {
		print_message("skip: libzmq without CURVE\n");
		skip();
	}
	struct pair server = make_pair(), reader = make_pair(), writer = make_pair(), stranger = make_pair();
	char list[512];
	mm_free(f->d.cfg.control);
	mm_free(f->d.cfg.query);
	f->d.cfg.query = NULL;
	f->d.cfg.control = mm_strdup("tcp://127.0.0.1:*", &err);
	assert_int_equal(mm_ctl_start(&f->d, &err), -1); /* no keys, no tcp */
	f->d.cfg.curve.server_secret = write_file(f, "secret", server.secret, 0644);
	snprintf(list, sizeof list, "# who\n%s read  reader\n%s write writer\n", reader.public, writer.public);
	f->d.cfg.curve.client_keys = write_file(f, "keys", list, 0644);
	assert_int_equal(mm_ctl_start(&f->d, &err), -1);
	assert_int_equal(err.code, MM_EDENIED); /* a secret that others can read */
	assert_int_equal(chmod(f->d.cfg.curve.server_secret, 0600), 0);
	fake_start(f);
	const char *url = mm_ctl_url(&f->d, false);
	assert_null(mm_ctl_url(&f->d, true));
	assert_null(strchr(url, '*'));

	void *r = curve_client(f, &reader, server.public, url), *w = curve_client(f, &writer, server.public, url);
	json_decref(ask(f, r, "{\"v\":1,\"id\":1,\"cmd\":\"status\"}", true));
	refused(f, r, "{\"v\":1,\"id\":2,\"cmd\":\"retry\",\"name\":\"a\"}", "denied", "may only read");
	json_decref(ask(f, w, "{\"v\":1,\"id\":2,\"cmd\":\"retry\",\"name\":\"a\"}", true));

	void *s = zmq_socket(f->client_ctx, ZMQ_DEALER);
	assert_int_equal(zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, server.public, 41), 0);
	assert_int_equal(zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, stranger.public, 41), 0);
	assert_int_equal(zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, stranger.secret, 41), 0);
	expect_refused(f, s, url);
	zmq_close(s);
	s = zmq_socket(f->client_ctx, ZMQ_DEALER); /* no encryption at all */
	expect_refused(f, s, url);
	zmq_close(s);

	/* The writer's key goes: the connection that is open loses its right too. */
	snprintf(list, sizeof list, "%s read reader\n", reader.public);
	mm_free(write_file(f, "keys", list, 0644));
	double end = mm_monotonic() + TIMEOUT_S;
	bool denied = false;
	while (!denied && mm_monotonic() < end) {
		send_text(w, "{\"v\":1,\"id\":3,\"cmd\":\"status\"}");
		json_t *j = next_json(f, w);
		denied = !json_is_true(json_object_get(j, "ok"));
		json_decref(j);
	}
	assert_true(denied);
	json_decref(ask(f, r, "{\"v\":1,\"id\":4,\"cmd\":\"status\"}", true));
	zmq_close(r);
	zmq_close(w);
	fake_free(f);
}

static void test_list(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	struct mm_client_key *k;
	size_t n;
	/* '#' is a digit of Z85: a key may begin with it, and a remark may not look like one. */
	const char *text = "# remark\n\n#aaaaaaaaabbbbbbbbbbccccccccccdddddddddd read hash\r\n"
			   "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd write\n"
			   "#aaaaaaaaabbbbbbbbbbccccccccccdddddddddd is a remark\n";
	must(mm_client_keys_parse(text, &k, &n, &err), &err);
	assert_int_equal(n, 2);
	assert_string_equal(k[0].name, "hash");
	assert_int_equal(k[0].access, MM_READ);
	assert_int_equal(k[1].access, MM_WRITE);
	mm_free(k);
	static const struct {
		const char *text, *part;
	} bad[] = { { "short read\n", "line 1" }, { "\naaaaaaaaaabbbbbbbbbbccccccccccdddddddddd\n", "line 2" },
		{ "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd admin x\n", "\"read\" or \"write\"" },
		{ "aaaaaaaaaabbbbbbbbbbcccccccccc\"ddddddddd read\n", "Z85" } };
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		assert_int_equal(mm_client_keys_parse(bad[i].text, &k, &n, &err), -1);
		assert_non_null(strstr(err.text, bad[i].part));
	}
	must(mm_client_keys_parse("", &k, &n, &err), &err);
	assert_int_equal(n, 0);
	mm_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_curve), cmocka_unit_test(test_list) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
