/* child.c - another program is asked: bytes to its standard input, its standard output collected under a bound and a
 * deadline. Its standard error goes where ours goes, or nowhere. */
#include "client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Ours stands beside us, also in a build folder; else the shell's places. */
void mm_child_program(const char *name, char *out, size_t cap)
{
	char self[4000];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;
	self[n > 0 ? n : 0] = 0;
	if ((slash = strrchr(self, '/'))) {
		slash[1] = 0;
		if ((size_t)snprintf(out, cap, "%s%s", self, name) < cap && !access(out, X_OK))
			return;
	}
	snprintf(out, cap, "%s", name);
}

struct ends {
	int in, out; /* ours: -1 closed */
	const char *data;
	size_t left;
};

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int start(const char *const *argv, bool quiet, struct ends *e, pid_t *pid, struct mm_err *err)
{
	int in[2], out[2];
	posix_spawn_file_actions_t a;
	if (pipe2(in, O_CLOEXEC))
		return mm_fail_errno(err, "%s", argv[0]);
	if (pipe2(out, O_CLOEXEC)) {
		close(in[0]);
		close(in[1]);
		return mm_fail_errno(err, "%s", argv[0]);
	}
	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_adddup2(&a, in[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&a, out[1], STDOUT_FILENO);
	if (quiet)
		posix_spawn_file_actions_addopen(&a, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	int rc = posix_spawnp(pid, argv[0], &a, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&a);
	close(in[0]);
	close(out[1]);
	e->in = in[1];
	e->out = out[0];
	fcntl(e->in, F_SETFL, O_NONBLOCK);
	if (!rc)
		return 0;
	shut(&e->in);
	shut(&e->out);
	errno = rc;
	return rc == ENOENT ? mm_fail(err, MM_ENOENT, "the program %s is not installed", argv[0])
			    : mm_fail_errno(err, "cannot run %s", argv[0]);
}

static void feed(struct ends *e)
{
	ssize_t n = e->left ? write(e->in, e->data, e->left) : 0;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		e->data += n;
		e->left -= (size_t)n;
	}
	if (n < 0 || !e->left)
		shut(&e->in); /* a child that does not read its input to the end has its reasons */
}

static int talk(struct ends *e, const char *who, struct mm_buf *out, size_t max, double end, struct mm_err *err)
{
	char buf[65536];
	while (e->out >= 0) {
		struct pollfd p[2] = { { .fd = e->out, .events = POLLIN }, { .fd = e->in, .events = POLLOUT } };
		double left = end - mm_monotonic();
		if (left <= 0)
			return mm_fail(err, MM_ETIMEOUT, "%s does not end", who);
		if (poll(p, e->in >= 0 ? 2 : 1, (int)(1000 * MM_MIN(left, 3600.0)) + 1) <= 0)
			continue;
		if (e->in >= 0 && p[1].revents)
			feed(e);
		if (!p[0].revents)
			continue;
		ssize_t n = read(e->out, buf, sizeof buf);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			shut(&e->out);
		else if (out->len + (size_t)n > max)
			return mm_fail(err, MM_EFORMAT, "%s says more than %zu bytes", who, max);
		else
			mm_buf_put(out, buf, (size_t)n);
	}
	return mm_buf_check(out, err);
}

int mm_child_ask(const struct mm_child_call *c, struct mm_buf *out, struct mm_err *err)
{
	struct ends e = { .in = -1, .out = -1, .data = c->in, .left = c->n_in };
	pid_t pid;
	int status = 0;
	if (start(c->argv, c->quiet, &e, &pid, err))
		return -1;
	int rc = talk(&e, c->argv[0], out, c->max, mm_monotonic() + c->timeout, err);
	shut(&e.in);
	shut(&e.out);
	if (rc)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!rc && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
		rc = WIFEXITED(status)
			     ? mm_fail(err, MM_EIO, "%s ended with status %d", c->argv[0], WEXITSTATUS(status))
			     : mm_fail(err, MM_EIO, "%s was ended by signal %d", c->argv[0], WTERMSIG(status));
	return rc;
}
