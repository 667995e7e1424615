/* Bulk replies by pull, their owners, bounds and end; events, their numbers and the resync. */
#include "ctl_fake.h"

static int64_t start_export(struct fake *f, void *c, const char *what, int64_t *bytes)
{
	char q[128];
	snprintf(q, sizeof q, "{\"v\":1,\"id\":1,\"cmd\":\"export\",\"what\":\"%s\"}", what);
	json_t *j = ask(f, c, q, true), *b = json_object_get(j, "bulk");
	int64_t h = json_integer_value(json_object_get(b, "handle"));
	*bytes = json_integer_value(json_object_get(b, "bytes"));
	assert_string_equal(json_string_value(json_object_get(j, "what")), what);
	json_decref(j);
	return h;
}

static void ask_chunk(void *c, int64_t handle, int64_t offset)
{
	char q[160];
	snprintf(q, sizeof q, "{\"v\":1,\"id\":2,\"cmd\":\"chunk\",\"handle\":%lld,\"offset\":%lld}", (long long)handle,
		(long long)offset);
	send_text(c, q);
}

/* Fetches everything and checks every byte. */
static void fetch(struct fake *f, void *c, int64_t handle, int64_t bytes)
{
	for (int64_t off = 0; off < bytes;) {
		ask_chunk(c, handle, off);
		json_t *j = next_json(f, c);
		assert_true(json_is_true(json_object_get(j, "ok")));
		int64_t n = json_integer_value(json_object_get(j, "bytes"));
		json_decref(j);
		zmq_msg_t m;
		next_frame(f, c, &m);
		assert_int_equal(zmq_msg_size(&m), n);
		assert_true(n > 0 && n <= MM_CHUNK_MAX);
		const uint8_t *p = zmq_msg_data(&m);
		for (int64_t i = 0; i < n; i += 4) {
			uint32_t v = (uint32_t)p[i] | (uint32_t)p[i + 1] << 8 | (uint32_t)p[i + 2] << 16 |
				     (uint32_t)p[i + 3] << 24;
			assert_int_equal(v, (off + i) / 4);
		}
		off += n;
		zmq_msg_close(&m);
	}
}

static void test_bulk(void **state)
{
	(void)state;
	struct fake *f = fake_new();
	fake_start(f);
	void *c = client(f, ZMQ_DEALER, f->d.cfg.control), *other = client(f, ZMQ_DEALER, f->d.cfg.control);
	int64_t bytes, h = start_export(f, c, "vectors", &bytes);
	assert_int_equal(bytes, EXPORT_BYTES);
	char q[160];
	snprintf(q, sizeof q, "{\"v\":1,\"id\":3,\"cmd\":\"chunk\",\"handle\":%lld,\"offset\":0}", (long long)h);
	refused(f, other, q, "not_found", "no bulk reply"); /* another client's */
	snprintf(q, sizeof q, "{\"v\":1,\"id\":3,\"cmd\":\"chunk\",\"handle\":%lld,\"offset\":%lld}", (long long)h,
		(long long)bytes + 1);
	refused(f, c, q, "invalid", "behind the end");
	fetch(f, c, h, bytes);
	h = start_export(f, c, "names", &bytes);
	fetch(f, c, h, bytes);
	/* Eight of one client; what has been read to its end makes room, so the two above do not count against it. */
	for (int i = 0; i < 8; i++)
		start_export(f, other, "names", &bytes);
	refused(f, other, "{\"v\":1,\"id\":4,\"cmd\":\"export\",\"what\":\"names\"}", "busy", "bulk");
	for (int i = 0; i < 20; i++)
		fetch(f, c, start_export(f, c, "names", &bytes), EXPORT_BYTES);
	zmq_close(other);
	zmq_close(c);
	fake_free(f);
}

static void test_bulk_ends(void **state)
{
	(void)state;
	struct fake *f = fake_new();
	struct mm_err err = { 0 };
	struct mm_bulk *b = mm_bulk_new(f->d.loop, &err);
	assert_non_null(b);
	struct mm_reply r = { .fd = -1 };
	int64_t h;
	uint64_t bytes;
	mm_buf_str(&r.data, "hello");
	must(mm_bulk_add(b, "A", 1, &r, &h, &bytes, &err), &err);
	assert_int_equal(bytes, 5);
	assert_null(r.data.data); /* taken */
	char out[16];
	size_t n;
	must(mm_bulk_read(b, "A", 1, h, 2, out, &n, &err), &err);
	assert_int_equal(n, 3);
	assert_memory_equal(out, "llo", 3);
	assert_int_equal(mm_bulk_read(b, "B", 1, h, 0, out, &n, &err), -1);
	assert_int_equal(mm_bulk_count(b), 1);
	mm_bulk_set_idle(b, 0); /* from now on everything is too old at the next sweep */
	double end = mm_monotonic() + TIMEOUT_S;
	while (mm_bulk_count(b) && mm_monotonic() < end)
		assert_true(sd_event_run(f->d.loop, 2000000) >= 0);
	assert_int_equal(mm_bulk_count(b), 0);
	assert_int_equal(mm_bulk_read(b, "A", 1, h, 0, out, &n, &err), -1);
	assert_int_equal(err.code, MM_ENOENT);
	mm_buf_str(&r.data, "x");
	must(mm_bulk_add(b, "A", 1, &r, &h, &bytes, &err), &err);
	mm_bulk_forget(b, "A", 1);
	assert_int_equal(mm_bulk_count(b), 0);
	mm_bulk_free(b);
	fake_free(f);
}

static json_t *next_event(struct fake *f, void *sub, struct mm_event_head *h)
{
	struct mm_err err = { 0 };
	zmq_msg_t m;
	char topic[32] = "";
	next_frame(f, sub, &m);
	assert_true(zmq_msg_size(&m) < sizeof topic && zmq_msg_more(&m));
	memcpy(topic, zmq_msg_data(&m), zmq_msg_size(&m));
	zmq_msg_close(&m);
	json_t *j = next_json(f, sub);
	must(mm_event_head(j, h, &err), &err);
	assert_string_equal(h->type, topic);
	return j;
}

static void test_events(void **state)
{
	(void)state;
	struct fake *f = fake_new();
	fake_start(f);
	void *sub = client(f, ZMQ_SUB, f->d.cfg.events), *c = client(f, ZMQ_DEALER, f->d.cfg.query);
	struct mm_event_head h;
	assert_int_equal(zmq_setsockopt(sub, ZMQ_SUBSCRIBE, "", 0), 0);
	json_t *j = next_event(f, sub, &h); /* a heartbeat tells that we are subscribed */
	assert_string_equal(h.type, "heartbeat");
	assert_int_equal(h.seq, 0);
	json_decref(j);
	mm_event(&f->d, "model", json_pack("{s:s}", "name", "a"));
	mm_event(&f->d, "model", NULL); /* nothing to say: no number */
	mm_event(&f->d, "job", json_pack("{s:i, s:s}", "id", 4, "model", "a"));
	do {
		j = next_event(f, sub, &h);
		if (h.seq)
			break;
		json_decref(j);
	} while (true);
	assert_int_equal(h.seq, 1);
	assert_string_equal(json_string_value(json_object_get(j, "name")), "a");
	char boot[32];
	snprintf(boot, sizeof boot, "%s", h.boot);
	json_decref(j);
	j = next_event(f, sub, &h);
	assert_int_equal(h.seq, 2);
	assert_int_equal(json_integer_value(json_object_get(j, "id")), 4);
	json_decref(j);

	char q[200];
	j = ask(f, c, "{\"v\":1,\"id\":1,\"cmd\":\"events_since\"}", true); /* where are we? */
	assert_string_equal(json_string_value(json_object_get(j, "boot")), boot);
	assert_string_equal(json_string_value(json_object_get(j, "endpoint")), f->d.cfg.events);
	assert_int_equal(json_integer_value(json_object_get(j, "seq")), 2);
	assert_true(json_is_false(json_object_get(j, "gap")));
	json_decref(j);
	snprintf(q, sizeof q, "{\"v\":1,\"id\":2,\"cmd\":\"events_since\",\"boot\":\"%s\",\"seq\":1}", boot);
	j = ask(f, c, q, true);
	assert_int_equal(json_array_size(json_object_get(j, "events")), 1);
	assert_true(json_is_false(json_object_get(j, "gap")));
	json_decref(j);
	j = ask(f, c, "{\"v\":1,\"id\":3,\"cmd\":\"events_since\",\"boot\":\"other\",\"seq\":1}", true);
	assert_true(json_is_true(json_object_get(j, "gap")));
	json_decref(j);

	for (int i = 0; i < 5000; i++) /* more than are kept */
		mm_event(&f->d, "job", json_pack("{s:i}", "n", i));
	j = ask(f, c, q, true);
	assert_true(json_is_true(json_object_get(j, "gap")));
	json_decref(j);
	int64_t seq = 5002 - 4096, n = 0;
	bool more = true;
	while (more) { /* the oldest that is still there, in pages */
		snprintf(q, sizeof q, "{\"v\":1,\"id\":4,\"cmd\":\"events_since\",\"boot\":\"%s\",\"seq\":%lld}", boot,
			(long long)seq);
		j = ask(f, c, q, true);
		assert_true(json_is_false(json_object_get(j, "gap")));
		more = json_is_true(json_object_get(j, "more"));
		json_t *list = json_object_get(j, "events"), *e;
		size_t i;
		json_array_foreach (list, i, e)
			assert_int_equal(json_integer_value(json_object_get(e, "seq")), ++seq);
		n += (int64_t)json_array_size(list);
		json_decref(j);
	}
	assert_int_equal(n, 4096);
	zmq_close(sub);
	zmq_close(c);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_bulk_ends),
		cmocka_unit_test(test_events),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
