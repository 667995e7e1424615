/* score_limit.c - what the daemon's child does to itself before it opens anything: posix_spawn cannot.
 *
 * SCHED_IDLE and nice 19 (unless told --priority normal): the daemon's queries always win. Dies with its parent, also
 * when the parent is killed. First in the line of the kernel's OOM killer. RLIMIT_AS is left alone, because weights are
 * mapped. */
#include "daemon/score_priv.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define FILES_MAX 4096 /* shards, tokenizer files, libraries */

static void oom_first(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* no /proc: then nobody reads it either */
	ssize_t n = write(fd, "800", 3);
	(void)n;
	close(fd);
}

int mm_score_limit(bool idle, struct mm_err *err)
{
	struct sched_param sp = { 0 };
	struct rlimit none = { 0, 0 }, files;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return mm_fail_errno(err, "prctl");
	if (setrlimit(RLIMIT_CORE, &none))
		return mm_fail_errno(err, "RLIMIT_CORE");
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max = MM_MIN((rlim_t)FILES_MAX, files.rlim_max);
		if (setrlimit(RLIMIT_NOFILE, &files))
			return mm_fail_errno(err, "RLIMIT_NOFILE");
	}
	/* Refused in some containers: then at least nice. */
	if (idle) {
		(void)!sched_setscheduler(0, SCHED_IDLE, &sp);
		(void)!setpriority(PRIO_PROCESS, 0, 19);
	}
	oom_first();
	return 0;
}
