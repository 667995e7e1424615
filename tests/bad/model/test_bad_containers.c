/* test_bad_containers.c - every file of the lists of malformed GGUF and safetensors input, each in a process of its
 * own: the expected answer, one line of text, at most a second of processor time and 100 MB, log-probs of the good
 * ones. */
#include "../../unit/model/ckpt_util.h"
#include "model/model.h"

#include <math.h>
#include <sys/resource.h>
#include <sys/wait.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLOW 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SLOW 1
#endif
#ifdef SLOW
#define CPU_SECONDS 20
#define MEMORY_KB   (8l << 20)
#else
#define CPU_SECONDS 1
#define MEMORY_KB   (100l << 10)
#endif

enum outcome { ACCEPTED = 0, REJECTED = 1, NOT_FINITE = 2, WRONG_NUMBERS = 3 };

/* Scores the golden sequences; the file's numbers have 9 decimals, arithmetic noise is 1e-5. */
static enum outcome score(struct mm_model *m, const char *golden, struct mm_err *err)
{
	json_t *g = mm_json_load(golden, 1 << 20, err), *list = json_object_get(g, "sequences"), *seq;
	size_t i;
	json_array_foreach (list, i, seq) {
		const json_t *ids = json_object_get(seq, "ids"), *want = json_object_get(seq, "logprobs");
		uint32_t id[512];
		double lp[512];
		size_t n = json_array_size(ids);
		for (size_t k = 0; k < n && k < 512; k++)
			id[k] = (uint32_t)json_integer_value(json_array_get(ids, k));
		if (mm_score_ids(m, id, n, lp, err))
			return err->code == MM_ENONFINITE ? NOT_FINITE : REJECTED;
		for (size_t k = 0; k + 1 < n; k++) {
			if (!isfinite(lp[k]))
				return NOT_FINITE;
			if (fabs(lp[k] - json_number_value(json_array_get(want, k))) > 1e-4) {
				mm_fail(err, MM_EINTERNAL, "sequence %zu token %zu: %.9f, expected %.9f", i, k, lp[k],
					json_number_value(json_array_get(want, k)));
				return WRONG_NUMBERS;
			}
		}
	}
	json_decref(g);
	return ACCEPTED;
}

static enum outcome child(const char *path, const char *golden, struct mm_err *err)
{
	const struct mm_model_opts opts = { .compute = MM_COMPUTE_F32, .threads = 1 };
	struct mm_model *m = mm_model_open(path, &opts, err);
	if (!m)
		return err->code == MM_ENONFINITE ? NOT_FINITE : REJECTED;
	enum outcome o = golden ? score(m, golden, err) : ACCEPTED;
	mm_model_close(m);
	return o;
}

/* Outcome of a process of its own; its message in `text`. */
static enum outcome run(const char *path, const char *golden, char text[1024])
{
	int fd[2], status;
	struct rusage use;
	assert_int_equal(pipe(fd), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct mm_err err = { 0 };
		setrlimit(RLIMIT_CPU, &(struct rlimit){ CPU_SECONDS, CPU_SECONDS });
		enum outcome o = child(path, golden, &err);
		if (write(fd[1], err.text, strlen(err.text)) < 0)
			_exit(99);
		_exit(o);
	}
	close(fd[1]);
	ssize_t n = read(fd[0], text, 1023);
	text[n > 0 ? n : 0] = 0;
	close(fd[0]);
	assert_int_equal(wait4(pid, &status, 0, &use), pid);
	if (!WIFEXITED(status))
		fail_msg("%s: killed by signal %d", path, WTERMSIG(status));
	if (use.ru_maxrss > MEMORY_KB)
		fail_msg("%s: %ld kB of memory", path, use.ru_maxrss);
	return (enum outcome)WEXITSTATUS(status);
}

static bool one_clear_line(const char *text)
{
	for (const char *s = text; *s; s++)
		if ((unsigned char)*s < 0x20)
			return false;
	return text[0] && mm_utf8_valid(text, strlen(text));
}

/* false: not what was expected */
static bool check(const char *path, const char *golden, const char *what, const char *want)
{
	char text[1024];
	bool finite = !strstr(what, "NaN") && !strstr(what, "inf");
	enum outcome o = run(path, golden, text);
	bool ok = o != WRONG_NUMBERS && (o == ACCEPTED || one_clear_line(text));
	if (!strcmp(want, "accept"))
		ok &= o == ACCEPTED || (o == NOT_FINITE && !finite);
	if (!strcmp(want, "reject"))
		ok &= o == REJECTED;
	if (!ok)
		print_error("%s: expected %s (%s), got outcome %d: %s\n", path, want, what, o, text);
	return ok;
}

static void run_list(const char *dir, const char *key)
{
	struct mm_err err = { 0 };
	char base[4096], golden[4096], sharded[4096];
	int wrong = 0, n = 0;
	format(base, "%s", dir);
	format(golden, "%s/ok-base.golden.json", dir);
	format(sharded, "%s/ok-sharded.golden.json", dir);
	json_t *list = mm_json_load(at(base, "bad.json"), 1 << 20, &err), *c;
	if (!list)
		fail_msg("%s", err.text);
	size_t i;
	json_array_foreach (json_object_get(list, "cases"), i, c) {
		const char *name = json_string_value(json_object_get(c, key)),
			   *want = json_string_value(json_object_get(c, "expect"));
		const char *g = strcmp(want, "accept") != 0 ? NULL : strstr(name, "sharded") ? sharded : golden;
		wrong += !check(at(base, name), g, json_string_value(json_object_get(c, "what")), want);
		n++;
	}
	json_decref(list);
	print_message("%d cases\n", n);
	assert_true(n > 0);
	assert_int_equal(wrong, 0);
}

static void gguf_list(void **state)
{
	(void)state;
	const char *dir = shared("gguf/bad/gguf");
	if (!dir)
		skip();
	run_list(dir, "file");
}

static void safetensors_list(void **state)
{
	(void)state;
	const char *dir = shared("gguf/bad/safetensors");
	if (!dir)
		skip();
	run_list(dir, "dir");
}

/* The cases that need links, pipes or permissions. */
static void safetensors_procedures(void **state)
{
	(void)state;
	const char *ok = shared("gguf/bad/safetensors/ok-base");
	if (!ok)
		skip();
	char *dir = scratch_new(), *whole = realpath(ok, NULL), *w = strdup(at(dir, "model.safetensors"));
	char golden[4096], blob[4096];
	int wrong = 0;
	format(golden, "%s.golden.json", whole);
	format(blob, "%s/model.safetensors", whole);
	copy_file(at(whole, "config.json"), at(dir, "config.json"));
	assert_int_equal(symlink("model.safetensors", w), 0);
	wrong += !check(dir, NULL, "symlink-loop", "reject");
	unlink(w);
	assert_int_equal(symlink("b", w), 0);
	assert_int_equal(symlink("model.safetensors", at(dir, "b")), 0);
	wrong += !check(dir, NULL, "symlink-loop-two", "reject");
	unlink(w);
	assert_int_equal(symlink("nonexistent", w), 0);
	wrong += !check(dir, NULL, "symlink-dangling", "reject");
	unlink(w);
	assert_int_equal(symlink(blob, w), 0);
	wrong += !check(dir, golden, "symlink-valid", "accept");
	unlink(w);
	assert_int_equal(mkfifo(w, 0600), 0);
	wrong += !check(dir, NULL, "fifo", "reject");
	unlink(w);
	assert_int_equal(mkdir(w, 0755), 0);
	wrong += !check(dir, NULL, "directory", "reject");
	rmdir(w);
	if (geteuid()) {
		copy_file(blob, w);
		chmod(w, 0);
		wrong += !check(dir, NULL, "unreadable", "reject");
		unlink(w);
	}
	assert_int_equal(symlink("/dev/zero", w), 0);
	wrong += !check(dir, NULL, "device", "reject");
	free(w);
	free(whole);
	scratch_free(dir);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gguf_list),
		cmocka_unit_test(safetensors_list),
		cmocka_unit_test(safetensors_procedures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
