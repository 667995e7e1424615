/* spawn.c - children with a clean environment and no inherited descriptors.
 *
 * Limits are not set here: posix_spawn cannot; modelmap-score sets its own before it opens anything. Every child is the
 * leader of a process group, so that a kill takes what it may have started with it.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>

/* What a child may see of our environment: how to find libraries and how the processor is to be used. Nothing else, in
 * particular not OPENBLAS_CORETYPE, which OpenBLAS reads before main and which may be wrong for this machine. */
static const char *const passed[] = { "PATH", "LD_LIBRARY_PATH", "TMPDIR", "ONEDNN_MAX_CPU_ISA", "MM_CPU",
	"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS" };

struct env {
	char *v[MM_COUNT(passed) + 8];
	size_t n;
};

static int env_add(struct env *e, const char *name, const char *value, struct mm_err *err)
{
	if (!(e->v[e->n] = mm_asprintf(err, "%s=%s", name, value)))
		return -1;
	e->n++;
	return 0;
}

static int env_make(struct env *e, unsigned threads, struct mm_err *err)
{
	char n[16];
	for (size_t i = 0; i < MM_COUNT(passed); i++) {
		const char *v = getenv(passed[i]);
		if (v && env_add(e, passed[i], v, err))
			return -1;
	}
	if (env_add(e, "LC_ALL", "C.UTF-8", err))
		return -1;
	snprintf(n, sizeof n, "%u", threads);
	return threads && (env_add(e, "OMP_NUM_THREADS", n, err) || env_add(e, "OPENBLAS_NUM_THREADS", n, err)) ? -1
														: 0;
}

static int set_files(posix_spawn_file_actions_t *fa, const struct mm_spawn *s)
{
	const int from[3] = { -1, s->out_fd, s->err_fd };
	int rc = 0;
	for (int fd = 0; fd < 3 && !rc; fd++)
		rc = from[fd] >= 0 ? posix_spawn_file_actions_adddup2(fa, from[fd], fd)
				   : posix_spawn_file_actions_addopen(fa, fd, "/dev/null", fd ? O_WRONLY : O_RDONLY, 0);
	return rc ? rc : posix_spawn_file_actions_addclosefrom_np(fa, 3);
}

static int set_attr(posix_spawnattr_t *a)
{
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	sigdelset(&all, SIGKILL);
	sigdelset(&all, SIGSTOP);
	int rc = posix_spawnattr_setflags(a, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (!rc)
		rc = posix_spawnattr_setpgroup(a, 0);
	if (!rc)
		rc = posix_spawnattr_setsigmask(a, &none);
	return rc ? rc : posix_spawnattr_setsigdefault(a, &all);
}

int mm_spawn(const struct mm_spawn *s, pid_t *pid, struct mm_err *err)
{
	struct env env = { 0 };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	int result = -1, rc = posix_spawn_file_actions_init(&fa);
	if (rc) {
		errno = rc;
		return mm_fail_errno(err, "cannot prepare a child");
	}
	if ((rc = posix_spawnattr_init(&attr))) {
		posix_spawn_file_actions_destroy(&fa);
		errno = rc;
		return mm_fail_errno(err, "cannot prepare a child");
	}
	if (env_make(&env, s->threads, err))
		goto out;
	if (!(rc = set_files(&fa, s)) && !(rc = set_attr(&attr)))
		rc = posix_spawn(pid, s->argv[0], &fa, &attr, (char *const *)(uintptr_t)s->argv, env.v);
	errno = rc;
	result = rc ? mm_fail_errno(err, "cannot start %s", s->argv[0]) : 0;
out:
	for (size_t i = 0; i < env.n; i++)
		mm_free(env.v[i]);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return result;
}
