/* Text sets from files: cuts, sample, domains, what is passed over. */
#include "client/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static char *put(const char *name, const void *data, size_t n)
{
	struct mm_err err = { 0 };
	char *path = mm_path_join(dir, name, &err), *slash = strrchr(path, '/');
	*slash = 0;
	assert_int_equal(mm_mkdirs(path, 0755, &err), 0);
	*slash = '/';
	assert_int_equal(mm_file_write(path, data, n, &err), 0);
	return path;
}

/* Text of `n` bytes without repetition, with a two-byte character every third place. */
static char *text_of(size_t n, unsigned seed)
{
	char *s = calloc(1, n + 4);
	struct mm_rng r;
	mm_rng_init(&r, seed);
	size_t i = 0;
	while (i + 2 <= n) {
		if (i % 3 == 2) {
			s[i++] = '\xC3';
			s[i++] = (char)(0xA0 + mm_rng_below(&r, 30));
		} else {
			s[i++] = (char)('a' + mm_rng_below(&r, 26));
		}
	}
	while (i < n)
		s[i++] = '.';
	return s;
}

static void test_cut(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	for (size_t len = 1; len < 5000; len += 37) {
		struct mm_chunks c = { 0 };
		char *s = text_of(len, (unsigned)len);
		assert_int_equal(mm_chunks_cut(&c, s, len, "d", &err), 0);
		size_t at = 0;
		for (size_t i = 0; i < c.n; i++) { /* one after the other, nothing lost between them */
			const struct mm_chunk *k = &c.chunk[i];
			assert_true(k->len > 256 && k->len <= 1024);
			assert_true(mm_utf8_valid(k->text, k->len));
			assert_memory_equal(k->text, s + at, k->len);
			at += k->len;
			assert_true(at == len || k->len >= 1021);
		}
		assert_true(len - at <= 256);
		mm_chunks_free(&c);
		free(s);
	}
	struct mm_chunks c = { 0 };
	char *s = text_of(3000, 1);
	assert_int_equal(mm_chunks_cut(&c, s, 256, "d", &err), 0);
	assert_int_equal(c.n, 0); /* 256 is not more than 256 */
	assert_int_equal(mm_chunks_cut(&c, s, 257, "d", &err), 0);
	assert_int_equal(c.n, 1);
	assert_int_equal(mm_chunks_cut(&c, s, 257, "e", &err), 0);
	assert_int_equal(c.n, 1); /* the same text again */
	assert_int_equal(c.n_duplicate, 1);
	memset(s, ' ', 3000);
	assert_int_equal(mm_chunks_cut(&c, s, 3000, "d", &err), 0);
	assert_int_equal(c.n, 1); /* blanks only */
	mm_chunks_free(&c);
	free(s);
}

static void test_sample(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	char *s = text_of(100 * 1024, 5), *t = text_of(50 * 1024, 6);
	struct mm_chunks a = { 0 }, b = { 0 }, other = { 0 };
	assert_int_equal(mm_chunks_cut(&a, s, 100 * 1024, "x", &err), 0);
	assert_int_equal(mm_chunks_cut(&a, t, 50 * 1024, "y", &err), 0);
	assert_int_equal(mm_chunks_cut(&b, t, 50 * 1024, "y", &err), 0); /* the other order of files */
	assert_int_equal(mm_chunks_cut(&b, s, 100 * 1024, "x", &err), 0);
	assert_int_equal(mm_chunks_cut(&other, s, 100 * 1024, "x", &err), 0);
	assert_int_equal(mm_chunks_cut(&other, t, 50 * 1024, "y", &err), 0);
	mm_chunks_sample(&a, 40, 7);
	mm_chunks_sample(&b, 40, 7);
	mm_chunks_sample(&other, 40, 8);
	assert_int_equal(a.n, 40);
	size_t common = 0, from_x = 0;
	for (size_t i = 0; i < 40; i++) {
		assert_int_equal(a.chunk[i].len, b.chunk[i].len);
		assert_memory_equal(a.chunk[i].text, b.chunk[i].text, a.chunk[i].len);
		assert_string_equal(a.domain[a.chunk[i].domain], b.domain[b.chunk[i].domain]);
		from_x += !strcmp(a.domain[a.chunk[i].domain], "x");
		for (size_t k = 0; k < 40; k++)
			common += a.chunk[i].len == other.chunk[k].len &&
				  !memcmp(a.chunk[i].text, other.chunk[k].text, a.chunk[i].len);
	}
	assert_true(common < 30);		 /* another seed, another sample */
	assert_true(from_x > 10 && from_x < 40); /* both files are in it */
	struct mm_chunks all = { 0 };
	assert_int_equal(mm_chunks_cut(&all, t, 50 * 1024, "y", &err), 0);
	size_t n = all.n;
	mm_chunks_sample(&all, 0, 1);
	assert_int_equal(all.n, n);
	mm_chunks_free(&a);
	mm_chunks_free(&b);
	mm_chunks_free(&other);
	mm_chunks_free(&all);
	free(s);
	free(t);
}

static size_t count_domain(const struct mm_chunks *c, const char *name)
{
	size_t n = 0;
	for (size_t i = 0; i < c->n; i++)
		n += !strcmp(c->domain[c->chunk[i].domain], name);
	return n;
}

static void test_files(void **state)
{
	(void)state;
	struct mm_err err = { 0 };
	char *s[5], line[2048];
	for (unsigned i = 0; i < 5; i++)
		s[i] = text_of(600, 20 + i);
	char *made[8];
	size_t n = 0;
	made[n++] = put("src/a.py", s[0], 600);
	made[n++] = put("src/deep/b.C", s[1], 600);
	made[n++] = put("poems/verse", s[2], 600);
	made[n++] = put("bin/blob", "\xFF\xFE\x00zzz", 6);
	made[n++] = put("bin/nul.txt", "abc\0def", 7);
	made[n++] = put(".hidden/c.py", s[3], 600);
	snprintf(line, sizeof line, "{\"text\": \"%s\", \"meta\": {\"pile_set_name\": \"ArXiv\"}}\n\n", s[4]);
	made[n++] = put("z.jsonl", line, strlen(line));
	struct mm_chunks c = { 0 };
	if (mm_chunks_add(&c, dir, NULL, &err))
		fail_msg("%s", err.text);
	assert_int_equal(c.n, 4);
	assert_int_equal(c.n_file, 6); /* hidden ones are not looked at */
	assert_int_equal(c.n_binary, 2);
	assert_int_equal(count_domain(&c, "python"), 1);
	assert_int_equal(count_domain(&c, "c"), 1);
	assert_int_equal(count_domain(&c, "poems"), 1);
	assert_int_equal(count_domain(&c, "ArXiv"), 1);
	/* What is written is a text set that loads, with the same texts and domains. */
	struct mm_buf b = { 0 };
	struct mm_texts t;
	mm_chunks_sample(&c, 0, 1);
	assert_int_equal(mm_chunks_write(&c, &b, &err), 0);
	char *out = put("out/set.jsonl", b.data, b.len);
	if (mm_texts_load(&t, out, &err))
		fail_msg("%s", err.text);
	assert_int_equal(t.n, c.n);
	for (size_t i = 0; i < t.n; i++) {
		assert_int_equal(t.len[i], c.chunk[i].len);
		assert_memory_equal(t.text[i], c.chunk[i].text, t.len[i]);
		assert_string_equal(t.domain_name[t.domain[i]], c.domain[c.chunk[i].domain]);
	}
	mm_texts_free(&t);
	mm_chunks_free(&c);
	mm_buf_fini(&b);
	assert_int_equal(mm_chunks_add(&c, made[0], "mine", &err), 0);
	assert_int_equal(count_domain(&c, "mine"), 1);
	mm_chunks_free(&c);
	assert_int_equal(mm_chunks_add(&c, "/nonexistent", NULL, &err), -1);
	assert_int_equal(err.code, MM_ENOENT);
	char *bad = put("bad/bad.jsonl", "{\"text\": \"a\"}\n{\"no\": 1}\n", 24);
	assert_int_equal(mm_chunks_add(&c, bad, NULL, &err), -1);
	assert_non_null(strstr(err.text, "line 2"));
	mm_chunks_free(&c);
	for (size_t i = 0; i < n; i++)
		mm_free(made[i]);
	mm_free(out);
	mm_free(bad);
	for (size_t i = 0; i < 5; i++)
		free(s[i]);
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/mm-texts-XXXXXX");
	return !mkdtemp(dir);
}

static int teardown(void **state)
{
	char cmd[128];
	(void)state;
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	return system(cmd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_sample),
		cmocka_unit_test(test_files),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
