/* test_files.c - files, JSON, text sets, .npy. */
#include "base/base.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/mm-files-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
	char cmd[64];
	(void)state;
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	return system(cmd);
}

static char *at(const char *name)
{
	static char path[256];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

/* Written by replacing, a device became a file. Only a link and a pipe are tried: nobody's /dev is put at risk. */
static void file_write_leaves_what_is_no_file(void **state)
{
	struct mm_err err;
	struct stat st;
	char got[8] = "";
	size_t len;
	(void)state;
	assert_int_equal(mkfifo(at("pipe"), 0600), 0);
	int fd = open(at("pipe"), O_RDONLY | O_NONBLOCK);
	assert_true(fd >= 0);
	assert_int_equal(mm_file_write(at("pipe"), "one", 3, &err), 0);
	assert_int_equal(read(fd, got, sizeof got), 3);
	assert_string_equal(got, "one");
	close(fd);
	assert_true(!lstat(at("pipe"), &st) && S_ISFIFO(st.st_mode));
	unlink(at("pipe"));
	assert_int_equal(mm_file_write(at("target"), "old", 3, &err), 0);
	assert_int_equal(symlink("target", at("link")), 0);
	assert_int_equal(mm_file_write(at("link"), "new!", 4, &err), 0);
	assert_true(!lstat(at("link"), &st) && S_ISLNK(st.st_mode));
	char *text = mm_file_read(at("target"), 100, &len, &err);
	assert_string_equal(text, "new!");
	mm_free(text);
	unlink(at("link"));
	unlink(at("target"));
	assert_int_equal(mm_file_write("/", "x", 1, &err), -1);
}

static void file_write_replaces_and_reads_back(void **state)
{
	(void)state;
	struct mm_err err;
	size_t len;
	assert_int_equal(mm_file_write(at("a"), "one", 3, &err), 0);
	assert_int_equal(mm_file_write(at("a"), "two!", 4, &err), 0);
	char *s = mm_file_read(at("a"), 100, &len, &err);
	assert_int_equal(len, 4);
	assert_string_equal(s, "two!");
	mm_free(s);
	assert_null(mm_file_read(at("a"), 3, &len, &err));
	assert_int_equal(err.code, MM_EINVAL);
	struct mm_map m;
	assert_int_equal(mm_map_open(&m, at("a"), &err), 0);
	assert_memory_equal(m.data, "two!", 4);
	mm_map_close(&m);
	assert_int_equal(mm_file_write("/nonexistent-dir/x", "a", 1, &err), -1);
	assert_int_equal(err.code, MM_ENOENT);
}

static void only_regular_files_are_read(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_map m;
	size_t len;
	assert_int_equal(mkfifo(at("fifo"), 0600), 0);
	assert_int_equal(mm_map_open(&m, at("fifo"), &err), -1); /* and does not block */
	assert_int_equal(err.code, MM_EINVAL);
	assert_null(mm_file_read(dir, 100, &len, &err));
	assert_non_null(strstr(err.text, "a directory"));
	assert_int_equal(mm_file_write(at("empty"), "", 0, &err), 0);
	assert_int_equal(mm_map_open(&m, at("empty"), &err), 0);
	assert_null(m.data);
	mm_map_close(&m);
}

static void paths_and_directories(void **state)
{
	(void)state;
	struct mm_err err;
	struct stat st;
	assert_int_equal(mm_mkdirs(at("x/y/z"), 0700, &err), 0);
	assert_int_equal(mm_mkdirs(at("x/y/z"), 0700, &err), 0);
	assert_int_equal(stat(at("x/y/z"), &st), 0);
	char *p = mm_path_join("/a/", "b", &err), *q = mm_path_join("/a", "/b", &err);
	assert_string_equal(p, "/a/b");
	assert_string_equal(q, "/b");
	mm_free(p);
	mm_free(q);
}

static void json_is_bounded(void **state)
{
	(void)state;
	struct mm_err err;
	static const char *const bad[] = { "", "{", "{\"a\":1,\"a\":2}", "[1,]", "{\"a\":\"\xff\"}", "nul",
		"{\"a\":1} x", "\"\\ud800\"" };
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		assert_null(mm_json_parse(bad[i], strlen(bad[i]), "bad.json", &err));
		assert_int_equal(err.code, MM_EFORMAT);
		assert_non_null(strstr(err.text, "bad.json"));
	}
	char *deep = calloc(1, 200001);
	memset(deep, '[', 100000);
	memset(deep + 100000, ']', 100000);
	assert_null(mm_json_parse(deep, 200000, "deep", &err));
	free(deep);
	static const char text[] =
		"{\"s\":\"x\",\"i\":7,\"f\":8.0,\"n\":null,\"b\":true,\"d\":0.5,\"z\":\"a\\u0000b\"}";
	json_t *j = mm_json_parse(text, sizeof text - 1, "ok", &err);
	assert_non_null(j);
	const char *s = "default";
	int64_t i = 1;
	double d = 0;
	bool b = false;
	assert_int_equal(mm_json_get_str(j, "absent", &s, &err), 0);
	assert_string_equal(s, "default");
	assert_int_equal(mm_json_get_str(j, "n", &s, &err), 0);
	assert_int_equal(mm_json_get_str(j, "s", &s, &err), 0);
	assert_string_equal(s, "x");
	assert_int_equal(mm_json_get_str(j, "z", &s, &err), -1);
	assert_int_equal(mm_json_get_i64(j, "f", 0, 100, &i, &err), 0);
	assert_int_equal(i, 8);
	assert_int_equal(mm_json_get_i64(j, "d", 0, 100, &i, &err), -1);
	assert_int_equal(mm_json_get_i64(j, "i", 0, 6, &i, &err), -1);
	assert_non_null(strstr(err.text, "key i"));
	assert_int_equal(mm_json_get_double(j, "i", &d, &err), 0);
	assert_true(d == 7);
	assert_int_equal(mm_json_get_bool(j, "b", &b, &err), 0);
	assert_true(b);
	assert_int_equal(mm_json_get_bool(j, "i", &b, &err), -1);
	json_decref(j);
}

static void texts_have_identity_and_domains(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_texts t, u;
	static const char lines[] =
		"{\"text\":\"one\",\"domain\":\"a\"}\n\n{\"text\":\"zw\\u00f6lf\",\"meta\":{\"pile_set_name\":\"b\"}}\n"
		"{\"pile_set_name\":\"a\",\"text\":\"x\\u0000y\",\"role\":\"control\"}";
	static const char same[] = "{\"text\":\"one\"}\n{\"text\":\"zw\xc3\xb6lf\"}\n{\"text\":\"x\\u0000y\"}\n";
	assert_int_equal(mm_file_write(at("t.jsonl"), lines, sizeof lines - 1, &err), 0);
	assert_int_equal(mm_file_write(at("u.jsonl"), same, sizeof same - 1, &err), 0);
	assert_int_equal(mm_texts_load(&t, at("t.jsonl"), &err), 0);
	assert_int_equal(mm_texts_load(&u, at("u.jsonl"), &err), 0);
	assert_int_equal(t.n, 3);
	assert_int_equal(t.len[1], 6);
	assert_int_equal(t.len[2], 3);
	assert_int_equal(t.n_domain, 2);
	assert_string_equal(t.domain_name[t.domain[1]], "b");
	assert_int_equal(t.domain[0], t.domain[2]);
	assert_int_equal(t.n_control, 1);
	assert_true(t.control[2] && !t.control[0] && u.n_control == 0);
	assert_true(t.mean_bytes == 4.0);
	assert_true(mm_hash_eq(t.hash, u.hash)); /* spelling and domains are not part of it */
	mm_texts_free(&u);
	mm_texts_free(&t);
	static const char *const bad[] = { "", "{\"text\":\"\"}", "{\"text\":1}", "[]", "{\"text\":\"a\"}\n{\"text\"",
		"{\"text\":\"\xff\"}" };
	for (size_t i = 0; i < MM_COUNT(bad); i++) {
		assert_int_equal(mm_file_write(at("bad.jsonl"), bad[i], strlen(bad[i]), &err), 0);
		assert_int_equal(mm_texts_load(&t, at("bad.jsonl"), &err), -1);
		assert_non_null(strstr(err.text, "bad.jsonl"));
	}
	assert_non_null(strstr(err.text, "line 1"));
}

static void npy_round_trip(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_buf b = { 0 };
	struct mm_npy n;
	const float data[6] = { 1, 2, 3, 4, 5, 6 };
	mm_npy_header(&b, "<f4", 2, (size_t[]){ 2, 3 });
	assert_int_equal(b.len % 64, 0);
	mm_buf_put(&b, data, sizeof data);
	assert_int_equal(mm_npy_parse(&n, b.data, b.len, &err), 0);
	assert_string_equal(n.descr, "<f4");
	assert_int_equal(n.ndim, 2);
	assert_int_equal(n.shape[1], 3);
	assert_memory_equal(n.data, data, sizeof data);
	assert_int_equal(mm_npy_parse(&n, b.data, b.len - 1, &err), -1);
	assert_int_equal(err.code, MM_ETRUNC);
	for (size_t cut = 0; cut < b.len - sizeof data; cut++)
		assert_int_equal(mm_npy_parse(&n, b.data, cut, &err), -1);
	mm_buf_fini(&b);
}

/* Every allocation fails once, in turn: an error each time, and nothing leaks (the address sanitizer looks). */
static void texts_survive_allocation_failure(void **state)
{
	(void)state;
	struct mm_err err;
	struct mm_texts t;
	static const char line[] = "{\"text\":\"one\",\"domain\":\"a\"}\n{\"text\":\"two\",\"domain\":\"b\"}\n";
	assert_int_equal(mm_file_write(at("oom.jsonl"), line, sizeof line - 1, &err), 0);
	int failed = 0, rc;
	for (long n = 1;; n++) {
		mm_mem_fail_after(n);
		rc = mm_texts_load(&t, at("oom.jsonl"), &err);
		mm_mem_fail_after(0);
		if (!rc)
			break;
		assert_int_equal(err.code, MM_ENOMEM);
		failed++;
	}
	assert_true(failed > 5);
	mm_texts_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_write_replaces_and_reads_back),
		cmocka_unit_test(file_write_leaves_what_is_no_file),
		cmocka_unit_test(only_regular_files_are_read),
		cmocka_unit_test(paths_and_directories),
		cmocka_unit_test(json_is_bounded),
		cmocka_unit_test(texts_have_identity_and_domains),
		cmocka_unit_test(npy_round_trip),
		cmocka_unit_test(texts_survive_allocation_failure),
	};
	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
