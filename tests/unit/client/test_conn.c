/* A refused handshake is told by every call: ZeroMQ says it once and tries no second time. */
#include "client/client.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

/* The authenticator (RFC 27) of a daemon that knows nobody; ends with its context. */
static void *refuse(void *zap)
{
	for (;;) {
		char id[256];
		int n_id = 0, more = 1;
		size_t size = sizeof more;
		for (int k = 0; more; k++) {
			char frame[256];
			int n = zmq_recv(zap, frame, sizeof frame, 0);
			if (n < 0) {
				zmq_close(zap);
				return NULL;
			}
			if (k == 1) {
				n_id = n;
				memcpy(id, frame, (size_t)n);
			}
			zmq_getsockopt(zap, ZMQ_RCVMORE, &more, &size);
		}
		zmq_send(zap, "1.0", 3, ZMQ_SNDMORE);
		zmq_send(zap, id, (size_t)n_id, ZMQ_SNDMORE);
		zmq_send(zap, "400", 3, ZMQ_SNDMORE);
		zmq_send(zap, "no", 2, ZMQ_SNDMORE);
		zmq_send(zap, "", 0, ZMQ_SNDMORE);
		zmq_send(zap, "", 0, 0);
	}
}

static void test_refused_key(void **state)
{
	(void)state;
	if (!zmq_has("curve"))
		skip();
	struct mm_err err = { 0 };
	char server_public[41], server_secret[41], public[41], secret[41], url[128], dir[] = "/tmp/mm-conn-XXXXXX";
	char key[64];
	size_t n_url = sizeof url;
	int one = 1, zero = 0;
	assert_int_equal(mm_conn_keygen(server_public, server_secret, &err), 0);
	assert_int_equal(mm_conn_keygen(public, secret, &err), 0);
	assert_non_null(mkdtemp(dir));
	snprintf(key, sizeof key, "%s/key", dir);
	FILE *f = fopen(key, "w");
	assert_non_null(f);
	fputs(secret, f);
	assert_int_equal(fclose(f), 0);

	void *ctx = zmq_ctx_new(), *zap = zmq_socket(ctx, ZMQ_REP), *router = zmq_socket(ctx, ZMQ_ROUTER);
	pthread_t thread;
	zmq_setsockopt(zap, ZMQ_LINGER, &zero, sizeof zero);
	assert_int_equal(zmq_bind(zap, "inproc://zeromq.zap.01"), 0);
	assert_int_equal(pthread_create(&thread, NULL, refuse, zap), 0);
	zmq_setsockopt(router, ZMQ_CURVE_SERVER, &one, sizeof one);
	zmq_setsockopt(router, ZMQ_CURVE_SECRETKEY, server_secret, 41);
	assert_int_equal(zmq_bind(router, "tcp://127.0.0.1:*"), 0);
	assert_int_equal(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, url, &n_url), 0);

	bool no_daemon = false;
	struct mm_conn *c = mm_conn_open(
		&(struct mm_conn_opts){ .socket = url, .timeout = 60, .server_key = server_public, .key = key },
		&no_daemon, &err);
	assert_non_null(c);
	for (int i = 0; i < 3; i++) {
		json_t *body;
		err = (struct mm_err){ 0 };
		assert_int_equal(mm_conn_call(c, "status", NULL, &body, &err), -1);
		assert_int_equal(err.code, MM_EDENIED);
		assert_non_null(strstr(err.text, "does not know our key"));
	}
	mm_conn_close(c);
	zmq_close(router);
	zmq_ctx_shutdown(ctx);
	pthread_join(thread, NULL);
	zmq_ctx_term(ctx);
	unlink(key);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
