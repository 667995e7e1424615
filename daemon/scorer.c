/* scorer.c - one run of modelmap-score: start, stream, end, and the proof that the files are still the same.
 *
 *   child --stream--> scorer_check.c --end--> probe again --same?--> MM_RUN_DONE | MM_RUN_CHANGED
 *
 * How a run ended is one of four outcomes; the table `passing` says which causes of the scorer's own errors may pass.
 * The executor interface is this file's four functions: another one (a cluster) has the same.
 */
#include "daemon/core_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SCRATCH	  "scratch" /* in state_dir */
#define KEEP_DAYS 30

struct mm_run {
	struct mm_daemon *d;
	struct mm_job *job;
	struct mm_child *child;
	struct mm_collect *collect;
	struct mm_prober *prober; /* the look after the run */
	struct mm_result result;
	bool ok, bad_stream;
	struct mm_err why;	/* of a run that did not go well, while the files are looked at */
	struct mm_hash stat_id; /* of the files before */
	struct mm_hash quick;
	uint64_t oom_before;
};

static void run_free(struct mm_run *r)
{
	struct mm_scorer *s = r->d->scorer;
	for (size_t i = 0; i < s->n; i++)
		if (s->run[i] == r) {
			s->run[i] = s->run[--s->n];
			break;
		}
	mm_collect_free(r->collect);
	mm_result_fini(&r->result);
	mm_free(r);
}

static void ended(struct mm_run *r, enum mm_outcome how)
{
	struct mm_daemon *d = r->d;
	struct mm_job *job = r->job;
	struct mm_result result = r->result;
	struct mm_err why = r->why;
	r->result = (struct mm_result){ 0 };
	run_free(r);
	if (how == MM_RUN_FAILED || how == MM_RUN_CHANGED)
		mm_scorer_forget(d, job->e->rec.id);
	mm_queue_ended(d, job, how, &result, &why);
	mm_result_fini(&result);
}

/* The kernel counts whom it killed for want of memory; children are not told. */
static uint64_t oom_kills(void)
{
	char line[128];
	unsigned long long n = 0;
	FILE *f = fopen("/proc/vmstat", "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "oom_kill %llu", &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

/* ---- the look after the run ---- */

static void on_probe(void *ctx, struct mm_probe_result *p, const struct mm_err *err)
{
	struct mm_run *r = ctx;
	bool same = p && p->ready && mm_hash_eq(p->quick, r->quick) && mm_hash_eq(p->stat_id, r->stat_id);
	r->prober = NULL;
	if (p && !same) {
		mm_fail(&r->why, MM_ECHANGED, "its files changed while it was scored");
		ended(r, MM_RUN_CHANGED);
	} else if (!p) {
		if (r->ok)
			mm_fail(&r->why, MM_EBUSY, "its files could not be looked at after the run: %s", err->text);
		ended(r, MM_RUN_RETRY);
	} else {
		ended(r, r->ok ? MM_RUN_DONE : MM_RUN_RETRY);
	}
}

static void look_after(struct mm_run *r)
{
	struct mm_err err;
	const struct mm_model_entry *e = r->job->e;
	const char *root = mm_ready_root(e);
	if (root && (r->prober = mm_probe_start(r->d, root, e->rec.path, false, 0, on_probe, r, &err)))
		return;
	mm_fail(&r->why, MM_EBUSY, "its files cannot be looked at after the run");
	ended(r, MM_RUN_RETRY);
}

/* ---- the end ---- */

/* Causes that may pass: `look` ones may also mean that the files changed, which the probe tells. */
static const struct {
	enum mm_err_code code;
	bool look;
} passing[] = {
	{ MM_ENOMEM, false },
	{ MM_EBUSY, false },
	{ MM_ETIMEOUT, false },
	{ MM_ECANCELLED, false },
	{ MM_ECONFLICT, false },
	{ MM_EIO, true },
	{ MM_ECHANGED, true },
	{ MM_ENOENT, true },
	{ MM_ETRUNC, true },
};

static void said_error(struct mm_run *r)
{
	for (size_t i = 0; i < MM_COUNT(passing); i++) {
		if (passing[i].code != r->why.code)
			continue;
		if (passing[i].look)
			look_after(r);
		else
			ended(r, MM_RUN_RETRY);
		return;
	}
	ended(r, MM_RUN_FAILED);
}

static const char *last_line(const char *text)
{
	const char *s = strrchr(text, '\n');
	return s ? s + 1 : text;
}

static void by_signal(struct mm_run *r, const struct mm_child_end *e)
{
	if (e->killed_for) {
		mm_fail(&r->why, MM_ETIMEOUT, "the scorer was stopped: %s%s", e->killed_for,
			e->stuck ? " (it hangs in the kernel)" : "");
		ended(r, MM_RUN_RETRY);
	} else if (e->status == SIGKILL) {
		bool oom = oom_kills() > r->oom_before;
		mm_fail(&r->why, oom ? MM_ENOMEM : MM_EBUSY, "the scorer was killed%s",
			oom ? ": the machine ran out of memory" : " (signal 9)");
		ended(r, MM_RUN_RETRY);
	} else {
		mm_fail(&r->why, MM_EINTERNAL, "the scorer died by signal %d (%s)%s%s", e->status, strsignal(e->status),
			*e->err_tail ? ": " : "", last_line(e->err_tail));
		look_after(r); /* a file that is cut while it is mapped ends in SIGBUS */
	}
}

static void on_end(void *ctx, const struct mm_child_end *e)
{
	struct mm_run *r = ctx;
	bool said = false;
	r->child = NULL;
	if (r->bad_stream) {
		mm_wrap(&r->why, "the scorer's stream");
		ended(r, r->why.code == MM_ENOMEM ? MM_RUN_RETRY : MM_RUN_FAILED);
	} else if (!e->exited || e->killed_for) {
		by_signal(r, e);
	} else if (mm_collect_end(r->collect, &r->result, &said, &r->why)) {
		if (said) {
			said_error(r);
		} else if (e->status) {
			mm_fail(&r->why, MM_EINTERNAL, "the scorer failed (exit status %d)%s%s", e->status,
				*e->err_tail ? ": " : "", last_line(e->err_tail));
			ended(r, MM_RUN_FAILED);
		} else {
			ended(r, r->why.code == MM_ECONFLICT ? MM_RUN_RETRY : MM_RUN_FAILED);
		}
	} else if (e->status) {
		mm_fail(&r->why, MM_EINTERNAL, "the scorer sent a result and failed (exit status %d)%s%s", e->status,
			*e->err_tail ? ": " : "", last_line(e->err_tail));
		ended(r, MM_RUN_FAILED);
	} else if (!mm_hash_eq(r->result.quick, r->quick)) {
		mm_fail(&r->why, MM_ECHANGED, "its files changed before it was scored");
		ended(r, MM_RUN_CHANGED);
	} else {
		r->ok = true;
		look_after(r);
	}
}

static int on_out(void *ctx, const void *data, size_t len)
{
	struct mm_run *r = ctx;
	if (!mm_collect_feed(r->collect, data, len, &r->why))
		return 0;
	r->bad_stream = true;
	return -1;
}

static void on_progress(void *ctx, const json_t *p)
{
	struct mm_run *r = ctx;
	mm_queue_progress(r->d, r->job, p);
}

/* ---- start ---- */

static unsigned cores(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) ? 0 : CPU_COUNT(&set);
	return n > 0 ? (unsigned)n : 1;
}

/* Concurrency times threads never exceeds the cores. */
unsigned mm_scorer_threads(const struct mm_daemon *d)
{
	unsigned share = cores() / MM_MAX(d->cfg.score.concurrency, 1u), want = d->cfg.score.threads;
	share = MM_MAX(share, 1u);
	return want ? MM_MIN(want, share) : share;
}

static uint64_t memory_of_one(const struct mm_daemon *d)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	uint64_t all = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_C(4) << 30;
	return d->cfg.score.memory ? d->cfg.score.memory : all / 10 * 7 / MM_MAX(d->cfg.score.concurrency, 1u);
}

const char *mm_scorer_priority(const struct mm_daemon *d)
{
	return d->cfg.score.priority == MM_PRIORITY_NORMAL ? "normal" : "idle";
}

/* What a killed run of this model had done: modelmap-score --resume. Removed when there is nothing to go on with. */
static void resume_path(const struct mm_daemon *d, uint64_t id, char *out, size_t size)
{
	snprintf(out, size, "%s/" SCRATCH "/job-%llu", d->cfg.state_dir, (unsigned long long)id);
}

void mm_scorer_forget(const struct mm_daemon *d, uint64_t id)
{
	char path[PATH_MAX];
	resume_path(d, id, path, sizeof path);
	(void)!unlink(path);
}

static struct mm_child *spawn(struct mm_run *r, struct mm_err *err)
{
	const struct mm_daemon *d = r->d;
	const struct mm_model_entry *e = r->job->e;
	const char *root = mm_ready_root(e);
	char threads[16], probes[24], memory[24], scratch[PATH_MAX], resume[PATH_MAX];
	snprintf(threads, sizeof threads, "%u", mm_scorer_threads(d));
	snprintf(probes, sizeof probes, "%u", d->probes.n ? d->cfg.score.probes : 0);
	snprintf(memory, sizeof memory, "%llu", (unsigned long long)memory_of_one(d));
	snprintf(scratch, sizeof scratch, "%s/" SCRATCH, d->cfg.state_dir);
	resume_path(d, e->rec.id, resume, sizeof resume);
	const char *argv[] = { d->score_program, "--stream", "1", "--texts", d->cfg.texts, "--bos", d->cfg.score.bos,
		"--compute", d->cfg.score.compute, "--threads", threads, "--probes", probes, "--memory", memory,
		"--priority", mm_scorer_priority(d), "--token-cache", scratch, "--resume", resume, "--search",
		root ? root : e->rec.path, e->rec.path, NULL };
	struct mm_child_opts o = { .argv = argv,
		.threads = mm_scorer_threads(d),
		.stall = d->cfg.score.timeout,
		.out = on_out,
		.end = on_end,
		.ctx = r };
	return mm_child_start(d->loop, &o, err);
}

int mm_scorer_run(struct mm_daemon *d, struct mm_job *job, struct mm_err *err)
{
	struct mm_scorer *s = d->scorer;
	if (mm_grow(&s->run, &s->cap, s->n + 1, sizeof(struct mm_run *), err))
		return -1;
	struct mm_run *r = mm_calloc(1, sizeof *r, err);
	if (!r)
		return -1;
	r->d = d;
	r->job = job;
	r->quick = job->e->rec.quick;
	r->stat_id = mm_ready_stat_id(job->e);
	r->oom_before = oom_kills();
	s->run[s->n++] = r;
	struct mm_collect_opts o = { .n_texts = d->texts.n,
		.texts = d->texts.hash,
		.bos = d->cfg.score.bos,
		.compute = d->cfg.score.compute,
		.probe_set = d->probes.n ? d->probe_set : NULL,
		.n_probe = d->probes.n,
		.progress = on_progress,
		.ctx = r };
	if (!(r->collect = mm_collect_new(&o, err)) || !(r->child = spawn(r, err))) {
		run_free(r);
		return -1;
	}
	job->run = r;
	mm_log(MM_LOG_INFO, "%s: scoring, process %ld", job->e->rec.name, (long)mm_child_pid(r->child));
	return 0;
}

static void run_stop(struct mm_run *r)
{
	mm_child_abandon(r->child);
	mm_probe_cancel(r->prober);
	r->job->run = NULL;
	run_free(r);
}

void mm_scorer_cancel(struct mm_daemon *d, struct mm_job *job)
{
	(void)d;
	if (job->run)
		run_stop(job->run);
}

/* The directory for scorers' aids. Files of jobs that nobody went on with go after a month. */
static int scratch_make(const struct mm_daemon *d, struct mm_err *err)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/" SCRATCH, d->cfg.state_dir);
	if (mm_mkdirs(path, 0700, err))
		return mm_wrap(err, "scorer");
	DIR *dir = opendir(path);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		struct stat st;
		if (!strncmp(e->d_name, "job-", 4) && !fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
			time(NULL) - st.st_mtim.tv_sec > KEEP_DAYS * 86400)
			(void)!unlinkat(dirfd(dir), e->d_name, 0);
	}
	if (dir)
		closedir(dir);
	return 0;
}

int mm_scorer_start(struct mm_daemon *d, struct mm_err *err)
{
	d->scorer = mm_calloc(1, sizeof *d->scorer, err);
	return d->scorer && !scratch_make(d, err) ? 0 : -1;
}

void mm_scorer_stop(struct mm_daemon *d)
{
	struct mm_scorer *s = d->scorer;
	if (!s)
		return;
	while (s->n)
		run_stop(s->run[s->n - 1]);
	mm_free(s->run);
	mm_free(s);
	d->scorer = NULL;
}
