/* service.c - what a service manager sees: readiness, the status line, the watchdog, signals.
 *
 * The watchdog is answered by a timer of the loop, at the same priority as the sources that do the work: sd-event
 * dispatches pending sources of one priority in the order in which they became pending, so the answer comes only while
 * the others get their turn too. A loop that hangs in a handler, or spins in one that is always pending before the
 * others, is not answered for. A thread that answers would say nothing about the loop.
 *
 * Signals are blocked in main before any thread starts; here they become events of the loop.
 */
#include "daemon/daemon.h"
#include "daemon/alerts_priv.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define STATUS_DELAY_USEC 200000u /* many changes in a row make one status line */

struct mm_service {
	sd_event_source *on_signal[3], *watchdog, *status;
	uint64_t watchdog_usec; /* between two answers; 0: nobody asks */
	bool ready;		/* told */
	struct mm_daemon *d;
};

/* ---- status line ---- */

static void status_text(const struct mm_daemon *d, char *out, size_t cap)
{
	unsigned scored = 0, running = 0, queued = 0, waiting = 0, failed = 0;
	for (size_t i = 0; i < mm_reg_n(d); i++) {
		const struct mm_model_rec *r = &mm_reg_at(d, i)->rec;
		if (r->gone)
			continue;
		switch (r->state) {
		case MM_ST_PLACED:
			scored++;
			break;
		case MM_ST_RUNNING:
			running++;
			break;
		case MM_ST_QUEUED:
			queued++;
			break;
		case MM_ST_SEEN:
		case MM_ST_WAITING:
			waiting++;
			break;
		case MM_ST_FAILED:
		case MM_ST_NEVER_READY:
			failed++;
			break;
		case MM_ST_CANCELLED:
			break;
		}
	}
	size_t alerts = d->alerts ? mm_alerts_n_open(d) : 0;
	snprintf(out, cap, "%u models, %u running, %u queued, %u waiting, %u failed, %zu alert%s open", scored, running,
		queued, waiting, failed, alerts, alerts == 1 ? "" : "s");
}

static int on_status(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct mm_daemon *d = ctx;
	char text[200];
	(void)s, (void)usec;
	if (d->stopping || !d->reg)
		return 0;
	status_text(d, text, sizeof text);
	sd_notifyf(0, "STATUS=%s", text);
	return 0;
}

void mm_service_status(struct mm_daemon *d)
{
	struct mm_service *v = d->service;
	int on = SD_EVENT_OFF;
	if (!v || !v->status || sd_event_source_get_enabled(v->status, &on) < 0 || on != SD_EVENT_OFF)
		return; /* one is on its way already */
	if (sd_event_source_set_time_relative(v->status, STATUS_DELAY_USEC) >= 0)
		sd_event_source_set_enabled(v->status, SD_EVENT_ONESHOT);
}

void mm_service_ready(struct mm_daemon *d)
{
	struct mm_service *v = d->service;
	char text[200];
	if (!v || v->ready)
		return;
	v->ready = true;
	status_text(d, text, sizeof text);
	sd_notifyf(0, "READY=1\nSTATUS=%s", text);
	mm_log(MM_LOG_NOTICE, "modelmapd %s is ready: %s", MM_VERSION, text);
}

/* ---- signals ---- */

static void reload(struct mm_daemon *d)
{
	struct mm_service *v = d->service;
	struct mm_err err = { 0 };
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	/* Before the first READY there is nothing that RELOADING could be taken back to. */
	if (v->ready)
		sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
			(unsigned long long)now.tv_sec * 1000000u + (unsigned long long)now.tv_nsec / 1000u);
	if (mm_daemon_reload(d, &err))
		mm_log(MM_LOG_ERROR, "reload: %s; the old configuration stays in force", err.text);
	if (v->ready)
		sd_notify(0, "READY=1");
	mm_service_status(d);
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *ctx)
{
	struct mm_daemon *d = ctx;
	(void)s;
	if (si->ssi_signo == SIGHUP) {
		reload(d);
		return 0;
	}
	mm_log(MM_LOG_NOTICE, "%s: stopping", si->ssi_signo == SIGINT ? "interrupted" : "asked to stop");
	d->stopping = true;
	return sd_event_exit(d->loop, 0);
}

/* ---- watchdog ---- */

static int on_watchdog(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct mm_service *v = ctx;
	(void)usec;
	sd_notify(0, "WATCHDOG=1");
	return sd_event_source_set_time_relative(s, v->watchdog_usec);
}

static int start_watchdog(struct mm_daemon *d, struct mm_service *v)
{
	uint64_t usec;
	if (sd_watchdog_enabled(0, &usec) <= 0)
		return 0;
	v->watchdog_usec = usec / 3; /* one answer may be late without harm */
	int r = sd_event_add_time_relative(d->loop, &v->watchdog, CLOCK_MONOTONIC, 0, 0, on_watchdog, v);
	return r < 0 ? r : sd_event_source_set_enabled(v->watchdog, SD_EVENT_ON);
}

/* ---- start and stop ---- */

int mm_service_start(struct mm_daemon *d, struct mm_err *err)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct mm_service *v = d->service = mm_calloc(1, sizeof *v, err);
	int r = 0;
	if (!v)
		return -1;
	v->d = d;
	for (size_t i = 0; i < MM_COUNT(signals) && r >= 0; i++) {
		r = sd_event_add_signal(d->loop, &v->on_signal[i], signals[i], on_signal, d);
		if (r >= 0) /* a stop is heard whatever else is pending */
			r = sd_event_source_set_priority(v->on_signal[i], SD_EVENT_PRIORITY_IMPORTANT);
	}
	if (r >= 0)
		r = start_watchdog(d, v);
	if (r >= 0)
		r = sd_event_add_time_relative(d->loop, &v->status, CLOCK_MONOTONIC, 0, 50000, on_status, d);
	if (r >= 0)
		r = sd_event_source_set_enabled(v->status, SD_EVENT_OFF);
	errno = -r;
	return r < 0 ? mm_fail_errno(err, "cannot set up signals and watchdog") : 0;
}

void mm_service_stop(struct mm_daemon *d)
{
	struct mm_service *v = d->service;
	if (!v)
		return;
	for (size_t i = 0; i < MM_COUNT(v->on_signal); i++)
		sd_event_source_disable_unref(v->on_signal[i]);
	sd_event_source_disable_unref(v->watchdog);
	sd_event_source_disable_unref(v->status);
	mm_free(v);
	d->service = NULL;
}
