/* daemon.c - the daemon's life: configuration, texts, store, then the rooms in order, the loop, and all of it back.
 *
 * The table `rooms` is the order of starting; stopping goes backwards. Each row says what it stands on, so that a
 * change of order can be judged. The worker is stopped before all others: its pieces end in rooms that must still be
 * there.
 */
#include "daemon/daemon.h"
#include "daemon/http.h"
#include "daemon/metric.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

static const struct room {
	const char *name;
	int (*start)(struct mm_daemon *d, struct mm_err *err);
	void (*stop)(struct mm_daemon *d);
} rooms[] = {
	{ "service", mm_service_start, mm_service_stop },  /* signals from now on: a stop during the start is heard */
	{ "worker", mm_worker_start, mm_worker_stop },	   /* refits of map and alerts */
	{ "events", mm_events_start, mm_events_stop },	   /* everybody below publishes */
	{ "probes", mm_features_start, mm_features_stop }, /* models */
	{ "models", mm_reg_start, mm_reg_stop }, { "scores", mm_scores_start, mm_scores_stop }, /* models */
	{ "map", mm_map_start, mm_map_stop },							/* models */
	{ "metrics", mm_metrics_start, mm_metrics_stop },					/* of questions */
	{ "alerts", mm_alerts_start, mm_alerts_stop },						/* models, map */
	{ "queue", mm_queue_start, mm_queue_stop },	/* models; takes back what the scorer was stopped in */
	{ "scorer", mm_scorer_start, mm_scorer_stop },	/* runs of the queue's jobs */
	{ "ready", mm_ready_start, mm_ready_stop },	/* hands to queue and alerts */
	{ "answers", mm_slices_start, mm_slices_stop }, /* of control; stopped after it */
	{ "control", mm_ctl_start, mm_ctl_stop },	/* asks everybody above */
	{ "http", mm_http_start, mm_http_stop },	/* asks everybody above, through the same handlers */
	{ "watch", mm_watch_start, mm_watch_stop },	/* touches ready; ends with the first scan: READY */
};

/* ---- what the rooms stand on ---- */

/* The scorer beside our own binary, unless the configuration names another. */
static char *find_scorer(const struct mm_config *c, struct mm_err *err)
{
	char exe[4096];
	char *path = NULL;
	if (c->score.program) {
		path = mm_strdup(c->score.program, err);
	} else {
		ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
		if (n < 0) {
			mm_fail_errno(err, "cannot tell where modelmapd lies");
			return NULL;
		}
		exe[n] = 0;
		char *slash = strrchr(exe, '/');
		path = mm_asprintf(err, "%.*s/modelmap-score", (int)(slash ? slash - exe : 0), exe);
	}
	if (path && access(path, X_OK)) {
		mm_fail_errno(err, "the scorer %s cannot be run (score.program names another)", path);
		mm_free(path);
		return NULL;
	}
	return path;
}

static void log_damaged(const char *what, uint64_t id, const char *why, void *ctx)
{
	(void)ctx;
	mm_log(MM_LOG_ERROR, "%s %llu is damaged in the store and is passed over: %s", what, (unsigned long long)id,
		why);
}

static int open_store(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_store_pin pin = { .texts = d->texts.hash,
		.n_texts = d->texts.n,
		.mean_bytes = d->texts.mean_bytes,
		.scorer = MM_SCORER_VERSION };
	snprintf(pin.bos, sizeof pin.bos, "%s", d->cfg.score.bos);
	snprintf(pin.compute, sizeof pin.compute, "%s", d->cfg.score.compute);
	d->store = mm_store_open(d->cfg.state_dir, &pin, err);
	if (!d->store)
		return mm_wrap(err, "state_dir %s", d->cfg.state_dir);
	mm_store_on_bad(d->store, log_damaged, NULL);
	return 0;
}

/* A stop that was asked for while we start: the loop that would hear it does not run yet. */
static bool stop_is_pending(void)
{
	sigset_t set;
	return !sigpending(&set) && (sigismember(&set, SIGTERM) == 1 || sigismember(&set, SIGINT) == 1);
}

static int start(struct mm_daemon *d, const char *config_path, struct mm_err *err)
{
	char hex[MM_HASH_HEX];
	if (mm_config_load(&d->cfg, config_path, err))
		return -1;
	mm_log_init(mm_config_log_level(&d->cfg));
	if (!(d->cfg_path = mm_strdup(config_path, err)) || !(d->score_program = find_scorer(&d->cfg, err)))
		return -1;
	if (mm_texts_load(&d->texts, d->cfg.texts, err))
		return mm_wrap(err, "text set");
	if (open_store(d, err))
		return -1;
	mm_hash_hex(d->texts.hash, hex);
	mm_log(MM_LOG_INFO, "modelmapd %s: %zu texts (%.12s) from %s, state in %s", MM_VERSION, d->texts.n, hex,
		d->cfg.texts, d->cfg.state_dir);
	int r = sd_event_new(&d->loop);
	if (r < 0) {
		errno = -r;
		return mm_fail_errno(err, "cannot make the event loop");
	}
	for (size_t i = 0; i < MM_COUNT(rooms); i++) {
		if (stop_is_pending()) {
			mm_log(MM_LOG_NOTICE, "asked to stop while starting");
			d->stopping = true;
			return 0;
		}
		/* systemd counts the start's time anew: a large store may take a while. */
		sd_notifyf(0, "STATUS=starting: %s\nEXTEND_TIMEOUT_USEC=120000000", rooms[i].name);
		if (rooms[i].start(d, err))
			return -1;
	}
	return 0;
}

static void stop(struct mm_daemon *d)
{
	d->stopping = true;
	sd_notify(0, "STOPPING=1\nSTATUS=stopping");
	mm_backup_stop(d);
	mm_worker_stop(d);
	for (size_t i = MM_COUNT(rooms); i-- > 0;)
		rooms[i].stop(d);
	sd_event_unref(d->loop);
	mm_store_close(d->store);
	mm_texts_free(&d->texts);
	mm_free(d->score_program);
	mm_free(d->cfg_path);
	mm_config_free(&d->cfg);
}

int mm_daemon_run(const char *config_path, struct mm_err *err)
{
	struct mm_daemon d = { .started_at = mm_now() };
	int rc = start(&d, config_path, err);
	if (!rc && !d.stopping) {
		int r = sd_event_loop(d.loop);
		errno = -r;
		if (r < 0)
			rc = mm_fail_errno(err, "the event loop failed");
	}
	stop(&d);
	if (!rc)
		mm_log(MM_LOG_NOTICE, "stopped");
	return rc;
}

/* ---- reload ---- */

int mm_daemon_reload(struct mm_daemon *d, struct mm_err *err)
{
	struct mm_config fresh;
	struct mm_buf fixed = { 0 }, live = { 0 };
	if (mm_config_load(&fresh, d->cfg_path, err))
		return -1;
	size_t n_fixed = mm_config_changed(&d->cfg, &fresh, true, &fixed);
	size_t n_live = mm_config_changed(&d->cfg, &fresh, false, &live);
	mm_config_swap_fixed(&d->cfg, &fresh);
	struct mm_config old = d->cfg;
	d->cfg = fresh;
	mm_config_free(&old); /* the new values of fixed keys and the old ones of the others */
	mm_log_init(mm_config_log_level(&d->cfg));
	mm_log(MM_LOG_NOTICE, "configuration %s read again: %s%s", d->cfg_path, n_live ? "changed " : "nothing changed",
		n_live && live.data ? (const char *)live.data : "");
	if (n_fixed)
		mm_log(MM_LOG_WARN, "these need a restart and keep their old values until then: %s",
			fixed.data ? (const char *)fixed.data : "");
	mm_buf_fini(&fixed);
	mm_buf_fini(&live);
	if (d->queue)
		mm_queue_kick(d); /* there may be room for more scorers now */
	return 0;
}
