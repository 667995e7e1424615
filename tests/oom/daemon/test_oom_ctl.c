/* Memory that runs out while sockets are opened, bulk data kept, keys read: an error, nothing leaked, no crash. */
#include "daemon/ctl_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ENOUGH 10000

static char dir[] = "/tmp/mm-oom-XXXXXX", control[64], query[64], events[64];

static int step_sockets(struct mm_err *err)
{
	struct mm_daemon d = { 0 };
	assert_true(sd_event_new(&d.loop) >= 0);
	d.cfg.control = control;
	d.cfg.query = query;
	d.cfg.events = events;
	int rc = mm_events_start(&d, err);
	if (!rc) {
		for (int i = 0; i < 3; i++) /* an event that cannot be made or sent is lost, and nothing else */
			mm_event(&d, "model", json_pack("{s:i}", "n", i));
		rc = mm_ctl_start(&d, err);
	}
	mm_ctl_stop(&d);
	mm_events_stop(&d);
	assert_null(d.net);
	sd_event_unref(d.loop);
	return rc;
}

static int step_bulk(struct mm_err *err)
{
	sd_event *loop;
	struct mm_reply r = { .fd = -1 };
	int64_t handle;
	uint64_t bytes;
	assert_true(sd_event_new(&loop) >= 0);
	struct mm_bulk *b = mm_bulk_new(loop, err);
	int rc = b ? 0 : -1;
	mm_buf_str(&r.data, "some bytes");
	if (!rc)
		rc = mm_bulk_add(b, "who", 3, &r, &handle, &bytes, err);
	mm_buf_fini(&r.data);
	mm_bulk_free(b);
	sd_event_unref(loop);
	return rc;
}

static int step_keys(struct mm_err *err)
{
	struct mm_client_key *keys = NULL;
	size_t n;
	int rc = mm_client_keys_parse("aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd read x\n", &keys, &n, err);
	mm_free(keys);
	return rc;
}

static void each(int (*step)(struct mm_err *err))
{
	bool done = false;
	for (long n = 1; n < ENOUGH && !done; n++) {
		struct mm_err err = { 0 };
		mm_mem_fail_after(n);
		int rc = step(&err);
		mm_mem_fail_after(0);
		if (rc)
			assert_int_equal(err.code, MM_ENOMEM);
		done = !rc && n > 40; /* the events of step_sockets fail without an error */
	}
	assert_true(done);
}

static void test_sockets(void **state)
{
	(void)state;
	each(step_sockets);
}
static void test_bulk(void **state)
{
	(void)state;
	each(step_bulk);
}
static void test_keys(void **state)
{
	(void)state;
	each(step_keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_keys),
	};
	if (!mkdtemp(dir))
		return 1;
	snprintf(control, sizeof control, "ipc://%s/control", dir);
	snprintf(query, sizeof query, "ipc://%s/query", dir);
	snprintf(events, sizeof events, "ipc://%s/events", dir);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return rc;
}
