/* spawn_child.c - a child whose output comes to the loop under limits: time, silence, amount.
 *
 * Ends in one way only: `finish`, when the process is reaped and its stdout is read to the end. A grandchild that holds
 * the pipe open does not hold us: after the exit what is in the pipe is read and no more is waited for. A child that
 * stays in the kernel after SIGKILL (a dead file server) is reported as stuck after some seconds; its process is then
 * reaped in the background whenever it comes back.
 */
#include "daemon/core_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TAIL	4096
#define STUCK_S 10
#define READ_N	65536

struct mm_child {
	struct mm_child_opts o;
	sd_event *loop;
	pid_t pid;
	int out, err;
	sd_event_source *s_out, *s_err, *s_exit, *s_timer;
	uint64_t got;
	double started, last_out, killed_at;
	const char *killed_for;
	bool reaped, exited, eof;
	int status;
	char tail[TAIL];
	size_t n_tail;
};

static void release(struct mm_child *c)
{
	sd_event_source_disable_unref(c->s_out);
	sd_event_source_disable_unref(c->s_err);
	sd_event_source_disable_unref(c->s_exit);
	sd_event_source_disable_unref(c->s_timer);
	if (c->out >= 0)
		close(c->out);
	if (c->err >= 0)
		close(c->err);
	mm_free(c);
}

static void signal_group(const struct mm_child *c, int sig)
{
	if (c->reaped || c->pid <= 0)
		return; /* the number may belong to somebody else by now */
	if (kill(-c->pid, sig))
		kill(c->pid, sig);
}

pid_t mm_child_pid(const struct mm_child *c)
{
	return c->pid;
}

static void arm(struct mm_child *c);

void mm_child_kill(struct mm_child *c, const char *why)
{
	if (c->killed_for)
		return;
	c->killed_for = why;
	c->killed_at = mm_monotonic();
	signal_group(c, SIGKILL);
	arm(c);
}

static void read_err(struct mm_child *c)
{
	char data[TAIL];
	for (int i = 0; i < 16; i++) { /* not for ever: it may write faster than we read */
		ssize_t n = c->err >= 0 ? read(c->err, data, sizeof data) : 0;
		if (n <= 0) {
			if (n == 0 || (errno != EAGAIN && errno != EINTR))
				c->s_err = sd_event_source_disable_unref(c->s_err);
			return;
		}
		size_t k = (size_t)n, keep = MM_MIN(c->n_tail, TAIL - k);
		memmove(c->tail, c->tail + c->n_tail - keep, keep);
		memcpy(c->tail + keep, data, k);
		c->n_tail = keep + k;
	}
}

/* false: the pipe has no more for now, or for ever (c->eof) */
static bool read_out(struct mm_child *c)
{
	static char data[READ_N]; /* loop thread only */
	ssize_t n = read(c->out, data, sizeof data);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		c->eof = true;
		c->s_out = sd_event_source_disable_unref(c->s_out);
		return false;
	}
	c->got += (uint64_t)n;
	c->last_out = mm_monotonic();
	if (c->killed_for)
		return true; /* drained, not used */
	if (c->o.max_out && c->got > c->o.max_out)
		mm_child_kill(c, "too much output");
	else if (c->o.out(c->o.ctx, data, (size_t)n))
		mm_child_kill(c, "bad output");
	return true;
}

static void finish(struct mm_child *c, bool stuck)
{
	char text[TAIL + 1];
	read_err(c);
	while (c->n_tail && (c->tail[c->n_tail - 1] == '\n' || c->tail[c->n_tail - 1] == ' '))
		c->n_tail--;
	size_t at = 0, len = 0;
	while (at < c->n_tail) { /* line by line: the ends of lines stay */
		const char *nl = memchr(c->tail + at, '\n', c->n_tail - at);
		size_t n = nl ? (size_t)(nl - c->tail) - at : c->n_tail - at;
		mm_utf8_sanitize(text + len, sizeof text - len, c->tail + at, n);
		len += strlen(text + len);
		at += n + (nl != NULL);
		if (nl && len < sizeof text - 1)
			text[len++] = '\n';
	}
	text[len] = 0;
	struct mm_child_end e = {
		.exited = c->exited, .status = c->status, .stuck = stuck, .killed_for = c->killed_for, .err_tail = text
	};
	void (*end)(void *, const struct mm_child_end *) = c->o.end;
	void *ctx = c->o.ctx;
	if (stuck) { /* lives on without us until the kernel lets it go */
		c->o.end = NULL;
		c->s_out = sd_event_source_disable_unref(c->s_out);
		c->s_err = sd_event_source_disable_unref(c->s_err);
		c->s_timer = sd_event_source_disable_unref(c->s_timer);
	} else {
		release(c);
	}
	if (end)
		end(ctx, &e);
}

static void maybe_finish(struct mm_child *c)
{
	if (c->reaped && c->eof)
		finish(c, false);
}

static int on_out(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	struct mm_child *c = ctx;
	(void)s, (void)fd, (void)revents;
	read_out(c);
	maybe_finish(c);
	return 0;
}

static int on_err(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	(void)s, (void)fd, (void)revents;
	read_err(ctx);
	return 0;
}

static int on_child(sd_event_source *s, const siginfo_t *si, void *ctx)
{
	struct mm_child *c = ctx;
	(void)s;
	/* It is a zombie until we return, so the number is still its own: what it started goes with it. */
	kill(-c->pid, SIGKILL);
	c->reaped = true;
	c->exited = si->si_code == CLD_EXITED;
	c->status = si->si_status;
	c->s_exit = sd_event_source_disable_unref(c->s_exit);
	if (!c->o.end) { /* was stuck or abandoned */
		release(c);
		return 0;
	}
	/* A pipe holds 64 KiB, or 1 MiB where it was widened; what a grandchild goes on writing is not ours. */
	for (int i = 0; i < 64 && !c->eof && read_out(c); i++)
		;
	c->eof = true;
	maybe_finish(c);
	return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct mm_child *c = ctx;
	double now = mm_monotonic();
	(void)s, (void)usec;
	if (c->killed_for && now >= c->killed_at + STUCK_S) {
		finish(c, true);
		return 0;
	}
	if (!c->killed_for && c->o.timeout > 0 && now >= c->started + c->o.timeout)
		mm_child_kill(c, "time limit");
	else if (!c->killed_for && c->o.stall > 0 && now >= c->last_out + c->o.stall)
		mm_child_kill(c, "no progress for too long");
	else
		arm(c);
	return 0;
}

/* Sets the timer to the next limit that may be hit. */
static void arm(struct mm_child *c)
{
	double at = 0, now = mm_monotonic();
	if (c->killed_for)
		at = c->killed_at + STUCK_S;
	else if (c->o.timeout > 0 && c->o.stall > 0)
		at = MM_MIN(c->started + c->o.timeout, c->last_out + c->o.stall);
	else if (c->o.timeout > 0 || c->o.stall > 0)
		at = c->o.timeout > 0 ? c->started + c->o.timeout : c->last_out + c->o.stall;
	if (at > 0 && c->s_timer) {
		sd_event_source_set_time_relative(c->s_timer, (uint64_t)(MM_MAX(at - now, 0.0) * 1e6));
		sd_event_source_set_enabled(c->s_timer, SD_EVENT_ONESHOT);
	}
}

static int open_pipe(int p[2], struct mm_err *err)
{
	if (pipe2(p, O_CLOEXEC)) {
		p[0] = p[1] = -1;
		return mm_fail_errno(err, "cannot make a pipe");
	}
	/* Only our end: the child writes with blocking calls. Ends must not be 0..2, where dup2 in the child would
	 * overwrite one with the other. */
	for (int i = 0; i < 2; i++)
		if (p[i] < 3) {
			int up = fcntl(p[i], F_DUPFD_CLOEXEC, 3);
			if (up < 0)
				return mm_fail_errno(err, "cannot make a pipe");
			close(p[i]);
			p[i] = up;
		}
	return fcntl(p[0], F_SETFL, O_NONBLOCK) ? mm_fail_errno(err, "cannot make a pipe") : 0;
}

static int watch(struct mm_child *c)
{
	int r = sd_event_add_child(c->loop, &c->s_exit, c->pid, WEXITED, on_child, c);
	if (r >= 0)
		r = sd_event_add_io(c->loop, &c->s_out, c->out, EPOLLIN, on_out, c);
	if (r >= 0)
		r = sd_event_add_io(c->loop, &c->s_err, c->err, EPOLLIN, on_err, c);
	if (r >= 0)
		r = sd_event_add_time_relative(c->loop, &c->s_timer, CLOCK_MONOTONIC, 0, 50000, on_timer, c);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->s_timer, SD_EVENT_OFF);
	/* Queries come first: a stream of megabytes waits. */
	if (r >= 0)
		r = sd_event_source_set_priority(c->s_out, SD_EVENT_PRIORITY_NORMAL + 10);
	if (r >= 0)
		r = sd_event_source_set_priority(c->s_exit, SD_EVENT_PRIORITY_NORMAL + 11);
	return r;
}

struct mm_child *mm_child_start(sd_event *loop, const struct mm_child_opts *o, struct mm_err *err)
{
	int out[2] = { -1, -1 }, errs[2] = { -1, -1 }, r;
	sigset_t chld;
	struct mm_child *c = mm_calloc(1, sizeof *c, err);
	if (!c)
		return NULL;
	c->o = *o;
	c->loop = loop;
	c->out = c->err = -1;
	/* sd_event_add_child asks for it; the loop thread is the only one that waits. */
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &chld, NULL);
	bool bad = open_pipe(out, err) || open_pipe(errs, err);
	if (!bad) {
		struct mm_spawn s = { .argv = o->argv, .out_fd = out[1], .err_fd = errs[1], .threads = o->threads };
		bad = mm_spawn(&s, &c->pid, err);
	}
	if (out[1] >= 0)
		close(out[1]);
	if (errs[1] >= 0)
		close(errs[1]);
	c->out = out[0];
	c->err = errs[0];
	c->started = c->last_out = mm_monotonic();
	if (bad) {
		c->pid = 0;
		release(c);
		return NULL;
	}
	if ((r = watch(c)) < 0) {
		errno = -r;
		mm_fail_errno(err, "cannot watch a child");
		signal_group(c, SIGKILL);
		waitpid(c->pid, NULL, WNOHANG);
		release(c);
		return NULL;
	}
	arm(c);
	return c;
}

void mm_child_abandon(struct mm_child *c)
{
	if (!c)
		return;
	if (!c->killed_for)
		signal_group(c, SIGKILL);
	c->s_exit = sd_event_source_disable_unref(c->s_exit);
	for (int i = 0; i < 100 && !c->reaped; i++) {
		pid_t p = waitpid(c->pid, NULL, WNOHANG);
		if (p == c->pid || (p < 0 && errno == ECHILD))
			break;
		usleep(10000);
	}
	release(c);
}
