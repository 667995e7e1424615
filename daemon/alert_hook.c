/* alert_hook.c: the command of `alerts.on_alert`.
 *
 * It runs as `/bin/sh -c COMMAND` in a process group of its own with the alert as JSON on stdin: a sealed memory file,
 * so that writing it can never block the loop however slowly the command reads. A few run at once, others wait in line;
 * when the line is full the oldest is dropped and the log says so. Over its time limit the whole group is killed. */
#include "daemon/alerts_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNNING_MAX 4
#define WAITING_MAX 256

struct child {
	struct mm_hook *hook;
	pid_t pid; /* 0: free */
	sd_event_source *exit, *limit;
	bool late;
};

struct waiting {
	char *json;
	struct waiting *next;
};

struct mm_hook {
	struct mm_daemon *d;
	struct child child[RUNNING_MAX];
	struct waiting *first, *last;
	size_t n_waiting;
};

static void start_next(struct mm_hook *h);

static int stdin_of(const char *json, struct mm_err *err)
{
	int fd = memfd_create("alert", MFD_CLOEXEC);
	size_t len = strlen(json), off = 0;
	if (fd < 0)
		return mm_fail_errno(err, "on_alert: memory file");
	while (off < len) {
		ssize_t n = write(fd, json + off, len - off);
		if (n <= 0) {
			mm_fail_errno(err, "on_alert: memory file");
			close(fd);
			return -1;
		}
		off += (size_t)n;
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static int spawn(const char *command, int in, pid_t *pid, struct mm_err *err)
{
	char *argv[] = { (char[]){ "/bin/sh" }, (char[]){ "-c" }, mm_strdup(command, err), NULL };
	char *path = mm_asprintf(err, "PATH=%s", getenv("PATH") ? getenv("PATH") : "/usr/local/bin:/usr/bin:/bin");
	char *env[] = { path, (char[]){ "LC_ALL=C.UTF-8" }, NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	int rc = ENOMEM;
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&at);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&at, 0);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setsigdefault(&at, &all);
	if (argv[2] && path && !posix_spawn_file_actions_adddup2(&fa, in, 0) &&
		!posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0) &&
		!posix_spawn_file_actions_addclosefrom_np(&fa, 3))
		rc = posix_spawn(pid, "/bin/sh", &fa, &at, argv, env);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&at);
	mm_free(argv[2]);
	mm_free(path);
	errno = rc;
	return rc ? mm_fail_errno(err, "on_alert: cannot start /bin/sh") : 0;
}

static void child_end(struct child *c)
{
	c->exit = sd_event_source_disable_unref(c->exit);
	c->limit = sd_event_source_disable_unref(c->limit);
	c->pid = 0;
}

static int on_exit_(sd_event_source *s, const siginfo_t *si, void *ctx)
{
	struct child *c = ctx;
	(void)s;
	if (c->late)
		mm_log(MM_LOG_WARN, "on_alert: killed after its time limit");
	else if (si->si_code != CLD_EXITED)
		mm_log(MM_LOG_WARN, "on_alert: ended by signal %d", si->si_status);
	else if (si->si_status)
		mm_log(MM_LOG_WARN, "on_alert: exit status %d", si->si_status);
	struct mm_hook *h = c->hook;
	child_end(c);
	start_next(h);
	return 0;
}

static int on_limit(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct child *c = ctx;
	(void)s, (void)usec;
	c->late = true;
	kill(-c->pid, SIGKILL);
	return 0;
}

static int start_one(struct mm_hook *h, struct child *c, const char *json, struct mm_err *err)
{
	const char *command = h->d->cfg.alerts.on_alert;
	double limit = h->d->cfg.alerts.on_alert_timeout;
	int in = stdin_of(json, err);
	if (in < 0)
		return -1;
	int rc = spawn(command, in, &c->pid, err);
	close(in);
	if (rc) {
		c->pid = 0;
		return -1;
	}
	c->late = false;
	int r = sd_event_add_child(h->d->loop, &c->exit, c->pid, WEXITED, on_exit_, c);
	if (r >= 0 && limit > 0)
		r = sd_event_add_time_relative(
			h->d->loop, &c->limit, CLOCK_MONOTONIC, (uint64_t)(limit * 1e6), 100000, on_limit, c);
	if (r >= 0)
		return 0;
	/* Without a watch on it nobody would ever reap it. */
	kill(-c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	child_end(c);
	errno = -r;
	return mm_fail_errno(err, "on_alert: cannot watch the child");
}

static void start_next(struct mm_hook *h)
{
	struct mm_err err;
	for (size_t i = 0; i < RUNNING_MAX && h->first; i++) {
		if (h->child[i].pid)
			continue;
		struct waiting *w = h->first;
		h->first = w->next;
		h->last = h->first ? h->last : NULL;
		h->n_waiting--;
		if (h->d->cfg.alerts.on_alert && start_one(h, &h->child[i], w->json, &err))
			mm_log(MM_LOG_ERROR, "%s", err.text);
		mm_free(w->json);
		mm_free(w);
	}
}

void mm_hook_run(struct mm_hook *h, const char *json)
{
	struct mm_err err;
	if (!h || !h->d->cfg.alerts.on_alert || !*h->d->cfg.alerts.on_alert)
		return;
	if (h->n_waiting >= WAITING_MAX) {
		struct waiting *old = h->first;
		mm_log(MM_LOG_WARN, "on_alert: %d alerts wait for the command; the oldest is dropped", WAITING_MAX);
		h->first = old->next;
		h->n_waiting--;
		mm_free(old->json);
		mm_free(old);
	}
	struct waiting *w = mm_calloc(1, sizeof(*w), &err);
	if (!w || !(w->json = mm_strdup(json, &err))) {
		mm_free(w);
		mm_log(MM_LOG_ERROR, "on_alert: %s", err.text);
		return;
	}
	if (h->first)
		h->last->next = w;
	else
		h->first = w;
	h->last = w;
	h->n_waiting++;
	start_next(h);
}

struct mm_hook *mm_hook_new(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_hook *h = mm_calloc(1, sizeof(*h), err);
	if (!h)
		return NULL;
	h->d = d;
	for (size_t i = 0; i < RUNNING_MAX; i++)
		h->child[i].hook = h;
	return h;
}

void mm_hook_free(struct mm_hook *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < RUNNING_MAX; i++) {
		if (!h->child[i].pid)
			continue;
		pid_t pid = h->child[i].pid;
		kill(-pid, SIGKILL);
		child_end(&h->child[i]);
		waitpid(pid, NULL, 0);
	}
	while (h->first) {
		struct waiting *w = h->first;
		h->first = w->next;
		mm_free(w->json);
		mm_free(w);
	}
	mm_free(h);
}
