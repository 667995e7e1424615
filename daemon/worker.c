/* worker.c - long computations off the loop: one thread for each piece of work, at idle priority (unless score.priority
 * says otherwise), so that queries never wait for a refit. The result comes back through an eventfd and `done` runs on
 * the loop thread. */
#include "daemon/daemon.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct piece {
	struct mm_work work;
	pthread_t thread;
	struct mm_worker *worker;
	struct piece *next; /* in `live` */
	bool idle;
	atomic_bool finished; /* set by the thread as its last step but the eventfd */
};

struct mm_worker {
	int fd;
	sd_event_source *source;
	struct piece *live; /* loop thread only */
	_Atomic bool cancel;
};

static void *piece_main(void *arg)
{
	struct piece *p = arg;
	struct sched_param none = { 0 };
	uint64_t one = 1;
	if (p->idle)
		pthread_setschedparam(pthread_self(), SCHED_IDLE, &none); /* best effort */
	p->work.run(p->work.ctx, &p->worker->cancel);
	atomic_store(&p->finished, true);
	/* An eventfd write fails only when the counter is full, and then the loop has been woken already. */
	ssize_t n = write(p->worker->fd, &one, sizeof one);
	(void)n;
	return NULL;
}

/* Takes finished pieces out of the list one by one: `done` may submit new work. */
static void reap(struct mm_daemon *d, bool cancelled)
{
	struct mm_worker *w = d->worker;
	for (struct piece **pp = &w->live; *pp;) {
		struct piece *p = *pp;
		if (!cancelled && !atomic_load(&p->finished)) {
			pp = &p->next;
			continue;
		}
		*pp = p->next;
		pthread_join(p->thread, NULL);
		p->work.done(d, p->work.ctx, cancelled);
		mm_free(p);
		pp = &w->live;
	}
}

static int on_event(sd_event_source *s, int fd, uint32_t revents, void *ctx)
{
	uint64_t n;
	(void)s, (void)revents;
	if (read(fd, &n, sizeof n) > 0)
		reap(ctx, false);
	return 0;
}

int mm_worker_start(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_worker *w = d->worker = mm_calloc(1, sizeof *w, err);
	if (!w)
		return -1;
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->fd < 0)
		return mm_fail_errno(err, "cannot make an eventfd");
	int r = sd_event_add_io(d->loop, &w->source, w->fd, EPOLLIN, on_event, d);
	errno = -r;
	return r < 0 ? mm_fail_errno(err, "cannot watch the worker's eventfd") : 0;
}

void mm_worker_stop(struct mm_daemon *d)
{
	struct mm_worker *w = d->worker;
	if (!w)
		return;
	w->cancel = true;
	/* On a busy machine a thread at idle priority may not even get to see that it is cancelled. Best effort: it
	 * needs RLIMIT_NICE, which the unit gives. */
	for (struct piece *p = w->live; p; p = p->next) {
		struct sched_param none = { 0 };
		(void)pthread_setschedparam(p->thread, SCHED_OTHER, &none);
	}
	reap(d, true);
	sd_event_source_disable_unref(w->source);
	if (w->fd >= 0)
		close(w->fd);
	mm_free(w);
	d->worker = NULL;
}

static int submit(struct mm_daemon *d, const struct mm_work *work, bool idle, struct mm_err *err)
{
	struct mm_worker *w = d->worker;
	if (!w || w->cancel)
		return mm_fail(err, MM_ECANCELLED, "the daemon is stopping");
	struct piece *p = mm_calloc(1, sizeof *p, err);
	if (!p)
		return -1;
	p->work = *work;
	p->worker = w;
	p->idle = idle;
	/* Signals belong to the loop thread's signalfd: the new thread inherits a full mask. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&p->thread, NULL, piece_main, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		mm_free(p);
		errno = rc;
		return mm_fail_errno(err, "cannot start a worker thread");
	}
	p->next = w->live;
	w->live = p;
	return 0;
}

int mm_worker_submit(struct mm_daemon *d, const struct mm_work *work, struct mm_err *err)
{
	return submit(d, work, d->cfg.score.priority == MM_PRIORITY_IDLE, err);
}

int mm_worker_submit_soon(struct mm_daemon *d, const struct mm_work *work, struct mm_err *err)
{
	return submit(d, work, false, err);
}
