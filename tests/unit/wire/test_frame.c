/* test_frame.c - the scorer's stream: what was written comes back, in any pieces; what is malformed is refused. */
#include "wire/wire.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const float vec[3] = { -1.5f, 2.25f, -300 };
static const uint32_t counts[6] = { 1, 2, 3, 4, 5, 6 };

/* A stream as a scorer writes it: progress, two arrays, metadata, end. */
static struct mm_buf good_stream(void)
{
	struct mm_err err = { 0 };
	struct mm_buf b = { 0 };
	char path[] = "/tmp/mm-frame-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	struct mm_frame_out *o = mm_frame_out_new(fd, &err);
	assert_non_null(o);
	json_t *p = json_pack("{s:s, s:i}", "stage", "score", "done", 3);
	json_t *m = json_pack("{s:s}", "family", "llama");
	assert_int_equal(mm_frame_put_json(o, 'P', p, &err), 0);
	struct mm_array a = { .name = "loglik", .type = MM_A_F32, .n_dim = 1, .dim = { 3 }, .data = vec, .n_byte = 12 };
	assert_int_equal(mm_frame_put_array(o, &a, &err), 0);
	a = (struct mm_array){
		.name = "n_tokens", .type = MM_A_U32, .n_dim = 2, .dim = { 2, 3 }, .data = counts, .n_byte = 24
	};
	assert_int_equal(mm_frame_put_array(o, &a, &err), 0);
	assert_int_equal(mm_frame_put_json(o, 'M', m, &err), 0);
	assert_int_equal(mm_frame_end(o, &err), 0);
	assert_int_equal(mm_frame_end(o, &err), -1); /* nothing after the end */
	mm_frame_out_free(o);
	json_decref(p);
	json_decref(m);
	uint8_t chunk[256];
	lseek(fd, 0, SEEK_SET);
	for (ssize_t n; (n = read(fd, chunk, sizeof chunk)) > 0;)
		mm_buf_put(&b, chunk, (size_t)n);
	close(fd);
	unlink(path);
	return b;
}

/* Feeds in pieces of `step`; `types` collects the frames seen. Returns the last code of next. */
static int read_all(
	const uint8_t *data, size_t len, size_t step, size_t max, char *types, bool *done, struct mm_err *err)
{
	struct mm_frame_in *in = mm_frame_in_new(max, err);
	struct mm_frame f;
	size_t n = 0;
	int rc = 0;
	assert_non_null(in);
	for (size_t at = 0; at < len && rc >= 0; at += step) {
		rc = mm_frame_in_feed(in, data + at, MM_MIN(step, len - at), err);
		while (rc >= 0 && (rc = mm_frame_in_next(in, &f, err)) == 1) {
			types[n++] = f.type;
			if (f.type == 'A' && !strcmp(f.array.name, "loglik")) {
				assert_int_equal(f.array.type, MM_A_F32);
				assert_int_equal(f.array.n_byte, 12);
				assert_memory_equal(f.array.data, vec, 12);
			} else if (f.type == 'A' && f.array.n_dim == 2) {
				assert_string_equal(f.array.name, "n_tokens");
				assert_int_equal(f.array.dim[1], 3);
				assert_memory_equal(f.array.data, counts, 24);
			} else if (f.type == 'M' && json_object_size(f.json)) {
				assert_string_equal(json_string_value(json_object_get(f.json, "family")), "llama");
			}
		}
	}
	types[n] = 0;
	*done = mm_frame_in_done(in);
	if (rc < 0) { /* sticky, and with the same text */
		struct mm_err again = { 0 };
		assert_int_equal(mm_frame_in_next(in, &f, &again), -1);
		assert_string_equal(again.text, err->text);
		assert_int_equal(mm_frame_in_feed(in, "x", 1, &again), -1);
		assert_false(*done);
	}
	mm_frame_in_free(in);
	return rc;
}

static void round_trip_in_any_pieces(void **state)
{
	struct mm_err err = { 0 };
	struct mm_buf b = good_stream();
	char types[64];
	bool done;
	(void)state;
	for (size_t step = 1; step <= b.len; step++) {
		assert_int_equal(read_all(b.data, b.len, step, b.len, types, &done, &err), 0);
		assert_string_equal(types, "PAAMZ");
		assert_true(done);
	}
	mm_buf_fini(&b);
}

static void cut_anywhere_is_not_done(void **state)
{
	struct mm_err err = { 0 };
	struct mm_buf b = good_stream();
	char types[64];
	bool done;
	(void)state;
	for (size_t len = 0; len < b.len; len++) {
		assert_int_equal(read_all(b.data, len, 7, b.len, types, &done, &err), 0);
		assert_false(done);
	}
	mm_buf_fini(&b);
}

/* One flipped bit anywhere: refused, or never done (a length that now waits for more), but never a result. */
static void flipped_bit_is_no_result(void **state)
{
	struct mm_buf b = good_stream();
	(void)state;
	for (size_t bit = 0; bit < b.len * 8; bit++) {
		struct mm_err err = { 0 };
		bool done;
		struct mm_frame_in *in = mm_frame_in_new(1 << 20, &err);
		struct mm_frame f;
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(mm_frame_in_feed(in, b.data, b.len, &err), 0);
		while (mm_frame_in_next(in, &f, &err) == 1)
			;
		done = mm_frame_in_done(in);
		assert_false(done);
		mm_frame_in_free(in);
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	mm_buf_fini(&b);
}

static void stream_bound(void **state)
{
	struct mm_err err = { 0 };
	struct mm_buf b = good_stream();
	char types[64];
	bool done;
	(void)state;
	assert_int_equal(read_all(b.data, b.len, 16, b.len - 1, types, &done, &err), -1);
	assert_int_equal(err.code, MM_EFORMAT);
	/* A header that promises more than the bound is refused before its payload comes. */
	uint8_t huge[] = "MMS1"
			 "A\0\0\0"
			 "\0\0\0\x3f";
	assert_int_equal(read_all(huge, 12, 12, 1 << 20, types, &done, &err), -1);
	assert_non_null(strstr(err.text, "larger than"));
	mm_buf_fini(&b);
}

#define A_HEAD(len) "MMS1A\0\0\0" len "\0\0\0"
static const struct {
	const char *what, *data;
	size_t len;
	const char *say; /* in the error */
} malformed[] = {
#define BAD(w, d, s)                                                                                                   \
	{                                                                                                              \
		w, d, sizeof(d) - 1, s                                                                                 \
	}
	BAD("magic", "MMS2", "start with"),
	BAD("type", "MMS1Q\0\0\0\0\0\0\0", "unknown frame"),
	BAD("reserved byte", "MMS1P\0\1\0\2\0\0\0{}", "unknown frame"),
	BAD("JSON", "MMS1P\0\0\0\2\0\0\0{]", "frame 'P'"),
	BAD("not an object", "MMS1M\0\0\0\2\0\0\0[]", "not an object"),
	BAD("metadata twice", "MMS1M\0\0\0\2\0\0\0{}M\0\0\0\2\0\0\0{}", "twice"),
	BAD("frame after error", "MMS1E\0\0\0\2\0\0\0{}P\0\0\0\2\0\0\0{}", "after the error"),
	BAD("end too short", "MMS1Z\0\0\0\4\0\0\0abcd", "checksum"),
	BAD("empty array frame", A_HEAD("\0"), "name"),
	BAD("name longer than frame", A_HEAD("\3") "\x20\0a", "name"),
	BAD("empty name", A_HEAD("\4") "\0\0\4\0", "name"),
	BAD("name with slash", A_HEAD("\7") "\3\0a/b\4\1", "name"),
	BAD("unknown type", A_HEAD("\6") "\1\0a\x09\0\0", "do not fit"),
	BAD("five dimensions", A_HEAD("\5") "\1\0a\4\5", "do not fit"),
	BAD("cut dimensions", A_HEAD("\7") "\1\0a\4\1\0\0", "do not fit"),
	BAD("bytes missing", A_HEAD("\x0e") "\1\0a\4\1\2\0\0\0\0\0\0\0x", "do not fit"),
	BAD("product overflows", A_HEAD("\x15") "\1\0a\4\2\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0", "do not fit"),
	BAD("array twice", A_HEAD("\6") "\1\0a\4\0xA\0\0\0\6\0\0\0\1\0a\4\0x", "twice"),
};

static void malformed_streams(void **state)
{
	char types[64];
	bool done;
	(void)state;
	for (size_t i = 0; i < MM_COUNT(malformed); i++) {
		struct mm_err err = { 0 };
		int rc = read_all((const uint8_t *)malformed[i].data, malformed[i].len, 5, 1 << 20, types, &done, &err);
		if (rc != -1 || err.code != MM_EFORMAT || !strstr(err.text, malformed[i].say))
			fail_msg("%s: rc %d, code %s, text \"%s\"", malformed[i].what, rc, mm_err_name(err.code),
				err.text);
	}
}

static void bytes_after_the_end(void **state)
{
	struct mm_err err = { 0 };
	struct mm_buf b = good_stream();
	char types[64];
	bool done;
	(void)state;
	mm_buf_u8(&b, 'P');
	assert_int_equal(read_all(b.data, b.len, b.len, 1 << 20, types, &done, &err), -1);
	assert_non_null(strstr(err.text, "after its end"));
	assert_false(done);
	mm_buf_fini(&b);
}

static void writer_refuses(void **state)
{
	struct mm_err err = { 0 };
	int fd = open("/dev/null", O_WRONLY), full = open("/dev/full", O_WRONLY);
	struct mm_frame_out *o = mm_frame_out_new(fd, &err);
	json_t *list = json_array();
	struct mm_array a = { .name = "Loglik", .type = MM_A_F32, .n_dim = 1, .dim = { 3 }, .data = vec, .n_byte = 12 };
	(void)state;
	assert_int_equal(mm_frame_put_array(o, &a, &err), -1);
	a.name = "loglik";
	a.n_byte = 8;
	assert_int_equal(mm_frame_put_array(o, &a, &err), -1);
	a.n_dim = 5;
	assert_int_equal(mm_frame_put_array(o, &a, &err), -1);
	assert_int_equal(mm_frame_put_json(o, 'P', list, &err), -1);
	assert_int_equal(mm_frame_put_json(o, 'A', list, &err), -1);
	mm_frame_out_free(o);
	json_decref(list);
	assert_null(mm_frame_out_new(full, &err));
	assert_int_equal(err.code, MM_EIO);
	close(fd);
	close(full);
}

/* Every allocation of the reader fails once: an error, no leak (the sanitizer looks), no result. */
static void reader_out_of_memory(void **state)
{
	struct mm_buf b = good_stream();
	(void)state;
	for (long n = 1;; n++) {
		struct mm_err err = { 0 };
		struct mm_frame f;
		int rc = -1;
		mm_mem_fail_after(n);
		struct mm_frame_in *in = mm_frame_in_new(1 << 20, &err);
		if (in) {
			rc = mm_frame_in_feed(in, b.data, b.len, &err);
			while (rc >= 0 && (rc = mm_frame_in_next(in, &f, &err)) == 1)
				;
		}
		bool done = in && mm_frame_in_done(in);
		mm_frame_in_free(in);
		mm_mem_fail_after(0);
		if (!rc) {
			assert_true(done);
			assert_true(n > 3);
			break;
		}
		assert_false(done);
		assert_int_equal(err.code, MM_ENOMEM);
	}
	mm_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip_in_any_pieces),
		cmocka_unit_test(cut_anywhere_is_not_done),
		cmocka_unit_test(flipped_bit_is_no_result),
		cmocka_unit_test(stream_bound),
		cmocka_unit_test(malformed_streams),
		cmocka_unit_test(bytes_after_the_end),
		cmocka_unit_test(writer_refuses),
		cmocka_unit_test(reader_out_of_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
