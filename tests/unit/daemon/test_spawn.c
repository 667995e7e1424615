/* Children: their environment and descriptors, and every way in which one can end. This program is its own child. */
#include "core_kit.h"

#include <errno.h>
#include <sys/wait.h>

extern char **environ;

/* What the child does, by its first argument. */
static void child_main(int argc, char **argv)
{
	if (argc < 3 || strcmp(argv[1], "--child") != 0)
		return;
	const char *how = argv[2];
	char junk[4096];
	memset(junk, 'x', sizeof junk);
	if (!strcmp(how, "env"))
		for (char **e = environ; *e; e++)
			puts(*e);
	if (!strcmp(how, "fds"))
		for (int fd = 0; fd < 1024; fd++)
			if (fcntl(fd, F_GETFD) >= 0)
				printf("%d ", fd);
	if (!strcmp(how, "signals")) {
		sigset_t s;
		sigprocmask(SIG_SETMASK, NULL, &s);
		struct sigaction sa;
		sigaction(SIGPIPE, NULL, &sa);
		printf("%d %d %d", sigismember(&s, SIGCHLD), sa.sa_handler == SIG_DFL, getpgrp() == getpid());
	}
	if (!strcmp(how, "exit7"))
		fputs("one\ntwo \xff\x01 three\n", stderr), exit(7);
	if (!strcmp(how, "abort"))
		raise(SIGABRT);
	if (!strcmp(how, "hang"))
		pause();
	if (!strcmp(how, "close"))
		close(1), close(2), pause();
	if (!strcmp(how, "early"))
		puts("said"), fflush(stdout), close(1), exit(0);
	if (!strcmp(how, "flood"))
		for (;;)
			if (write(1, junk, sizeof junk) < 0)
				exit(1);
	if (!strcmp(how, "stderr"))
		for (int i = 0; i < 1000; i++)
			fprintf(stderr, "line %d\n", i);
	if (!strcmp(how, "big"))
		for (int i = 0; i < 1000; i++)
			if (fwrite(junk, 1, sizeof junk, stdout) != sizeof junk)
				exit(1);
	if (!strcmp(how, "grandchild")) { /* holds the pipe open for longer than the test would wait */
		pid_t pid = fork();
		if (!pid) {
			sleep(1000);
			_exit(0);
		}
		printf("%ld", (long)pid);
	}
	exit(0);
}

static struct {
	struct mm_buf out;
	bool ended, bad;
	struct mm_child_end e;
	char tail[5000];
} got;

static int on_out(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	mm_buf_put(&got.out, data, len);
	return got.bad ? -1 : 0;
}

static void on_end(void *ctx, const struct mm_child_end *e)
{
	(void)ctx;
	assert_false(got.ended);
	got.ended = true;
	got.e = *e;
	snprintf(got.tail, sizeof got.tail, "%s", e->err_tail);
}

static void run(const char *how, double timeout, double stall, uint64_t max)
{
	struct mm_err err;
	char self[4096] = "";
	assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
	const char *argv[] = { self, "--child", how, NULL };
	struct mm_child_opts o = { .argv = argv,
		.threads = 3,
		.timeout = timeout,
		.stall = stall,
		.max_out = max,
		.out = on_out,
		.end = on_end };
	mm_buf_fini(&got.out);
	bool bad = got.bad;
	memset(&got, 0, sizeof got);
	got.bad = bad;
	struct mm_child *c = mm_child_start(kit.loop, &o, &err);
	if (!c)
		fail_msg("%s", err.text);
	pid_t pid = mm_child_pid(c);
	double until = mm_monotonic() + 30;
	while (!got.ended && mm_monotonic() < until)
		sd_event_run(kit.loop, 100000);
	assert_true(got.ended);
	sd_event_run(kit.loop, 0);
	errno = 0; /* no zombie is left */
	assert_true(waitpid(pid, NULL, WNOHANG) < 0 && errno == ECHILD);
	mm_buf_put(&got.out, "", 1);
}

static const char *said(void)
{
	return (const char *)got.out.data;
}

static void clean(void **state)
{
	(void)state;
	setenv("OPENBLAS_CORETYPE", "Haswell", 1);
	setenv("SECRET", "x", 1);
	setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1);
	int fd = open("/dev/null", O_RDONLY), high = fcntl(fd, F_DUPFD, 900); /* both without CLOEXEC */
	run("env", 0, 0, 0);
	assert_null(strstr(said(), "OPENBLAS_CORETYPE"));
	assert_null(strstr(said(), "SECRET"));
	assert_non_null(strstr(said(), "OMP_NUM_THREADS=3\n"));
	assert_non_null(strstr(said(), "ONEDNN_MAX_CPU_ISA=AVX2\n"));
	run("fds", 0, 0, 0);
	assert_string_equal(said(), "0 1 2 ");
	signal(SIGPIPE, SIG_IGN);
	run("signals", 0, 0, 0);
	assert_string_equal(said(), "0 1 1");
	close(fd);
	close(high);
}

/* Killed with its parent's group; who reaps it is not our business. */
static void await_dead(long pid)
{
	char name[64], state = 0;
	double until = mm_monotonic() + 30;
	assert_true(pid > 1);
	snprintf(name, sizeof name, "/proc/%ld/stat", pid);
	do {
		FILE *f = fopen(name, "r");
		if (!f)
			return;
		if (fscanf(f, "%*d %*[^)]) %c", &state) != 1)
			state = 'Z';
		fclose(f);
	} while (state != 'Z' && mm_monotonic() < until);
	assert_int_equal(state, 'Z');
}

static void ends(void **state)
{
	(void)state;
	run("exit7", 0, 0, 0);
	assert_true(got.e.exited && got.e.status == 7 && !got.e.killed_for);
	assert_string_equal(got.tail, "one\ntwo ?? three");
	run("abort", 0, 0, 0);
	assert_true(!got.e.exited && got.e.status == SIGABRT && !got.e.killed_for);
	run("hang", 0.1, 0, 0);
	assert_string_equal(got.e.killed_for, "time limit");
	assert_int_equal(got.e.status, SIGKILL);
	run("hang", 0, 0.1, 0);
	assert_string_equal(got.e.killed_for, "no progress for too long");
	run("close", 0, 0.1, 0);
	assert_string_equal(got.e.killed_for, "no progress for too long");
	run("early", 0, 0, 0);
	assert_true(got.e.exited && !got.e.status);
	assert_string_equal(said(), "said\n");
	run("flood", 0, 0, 100000);
	assert_string_equal(got.e.killed_for, "too much output");
	assert_true(got.out.len < 400000);
	run("stderr", 0, 0, 0);
	assert_true(strlen(got.tail) > 2000 && strlen(got.tail) <= 4096);
	assert_string_equal(got.tail + strlen(got.tail) - 8, "line 999");
	run("big", 0, 0, 0);
	assert_int_equal(got.out.len, 1000 * 4096 + 1);
	run("grandchild", 0, 0, 0);
	assert_true(got.e.exited && !got.e.status);
	await_dead(atol(said()));
	got.bad = true;
	run("flood", 0, 0, 0);
	assert_string_equal(got.e.killed_for, "bad output");
	got.bad = false;
}

static void abandoned(void **state)
{
	struct mm_err err;
	char self[4096] = "";
	(void)state;
	assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
	const char *argv[] = { self, "--child", "hang", NULL };
	struct mm_child_opts o = { .argv = argv, .out = on_out, .end = on_end };
	got.ended = false;
	struct mm_child *c = mm_child_start(kit.loop, &o, &err);
	pid_t pid = mm_child_pid(c);
	mm_child_abandon(c);
	assert_true(kill(pid, 0) < 0);
	assert_false(got.ended);
	argv[0] = "/nonexistent";
	assert_null(mm_child_start(kit.loop, &o, &err));
	assert_int_equal(err.code, MM_ENOENT);
}

static int loop_new(void **state)
{
	(void)state;
	return sd_event_new(&kit.loop) < 0;
}

static int loop_free(void **state)
{
	(void)state;
	mm_buf_fini(&got.out);
	sd_event_unref(kit.loop);
	return 0;
}

int main(int argc, char **argv)
{
	child_main(argc, argv);
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(clean, loop_new, loop_free),
		cmocka_unit_test_setup_teardown(ends, loop_new, loop_free),
		cmocka_unit_test_setup_teardown(abandoned, loop_new, loop_free) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
