/* daemon.h - the daemon's rooms and the doors between them.
 *
 *   watch --touched--> ready --probe child--> queue --scorer child--> commit --> map, alerts --> events
 *                                                                                       ctl <-- clients
 *
 * One loop thread (sd-event) owns everything here. Long computations go to worker.c over an immutable snapshot and come
 * back through an eventfd. Every module has `mm_X_start(d)` and `mm_X_stop(d)`, called by the table in daemon.c in
 * order and in reverse; its private state hangs on its own pointer of struct mm_daemon.
 */
#ifndef MM_DAEMON_H
#define MM_DAEMON_H

#include "base/base.h"
#include "daemon/config.h"
#include "store/store.h"
#include "wire/wire.h"

#include <systemd/sd-event.h>

struct mm_reply;
/* What happened since the start, for those who watch rates. */
struct mm_counts {
	uint64_t done, failed, retried, changed; /* runs of the scorer, by how they ended */
	uint64_t why[MM_ERR_COUNT];		 /* of those that failed or are tried again, by cause */
	double scored_seconds;
	uint64_t scored_tokens;
};

struct mm_daemon {
	struct mm_config cfg; /* a reload changes values in place; strings and lists of keys that need a restart stay */
	char *cfg_path;	      /* NULL: embedded defaults */
	sd_event *loop;
	struct mm_store *store;
	struct mm_texts texts;
	struct mm_probes probes; /* features.c; n 0: features are not asked for */
	uint8_t probe_set[MM_PROBES_ID];
	char *score_program; /* absolute path of modelmap-score: beside our own binary, else from the config */
	int64_t started_at;
	bool stopping;
	bool first_scan_done; /* readiness is told when this turns true */
	struct mm_reg *reg;
	struct mm_watch *watch;
	struct mm_ready *ready;
	struct mm_queue *queue;
	struct mm_scorer *scorer;
	struct mm_chart *map;
	struct mm_alerts *alerts;
	struct mm_scores *scores;   /* scores.h */
	struct mm_metrics *metrics; /* metric.h */
	struct mm_ctl *ctl;
	struct mm_events *events;
	struct mm_net *net; /* ctl_net.c: the ZeroMQ context, while somebody uses it */
	struct mm_zap *zap; /* zap.c: only with tcp endpoints */
	struct mm_service *service;
	struct mm_worker *worker;
	struct mm_backup *backups; /* cmd_admin.c: copies under way */
	struct mm_slices *slices;  /* slices.c: long answers under way */
	struct mm_counts counts;
	/* HTTP (http.h), and its doors as pointers, so that who knocks need not be linked to it. NULL without
	 * http.listen. */
	struct mm_http *http;
	char http_url[80]; /* "": none */
	void (*http_finish)(struct mm_daemon *d, uint64_t token, struct mm_reply *reply, const struct mm_err *why);
	void (*http_event)(struct mm_daemon *d); /* something was published */
};

/* ---- main.c, daemon.c: options, start and stop table, reload ---- */
int mm_daemon_run(const char *config_path, struct mm_err *err) MM_MUST_CHECK; /* signals are blocked already */
/* Reads the config again; a bad one changes nothing and is the error. Keys that need a restart are named in the log. */
int mm_daemon_reload(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;

/* ---- explain.c: what these settings and the watched directories come to, as JSON; no daemon is needed ---- */
int mm_explain(const char *config, FILE *out, struct mm_err *err) MM_MUST_CHECK;

/* ---- features.c: the probes of next-byte features ---- */
int mm_features_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_features_stop(struct mm_daemon *d);

/* ---- reg.c: the models in memory ---- */

struct mm_model_entry {
	struct mm_model_rec rec; /* change it, then mm_reg_save */
	float *loglik;		 /* [d->texts.n] nats, finite; NULL when not scored (or not finite: see `not_finite`) */
	bool not_finite;	 /* scored, but the vector has NaN or infinity: stays off the map */
	uint8_t features;	 /* enum mm_feature_state of core_priv.h: of its own vector, not of a copy's */
	void *ready_state;	 /* ready.c's */
	void *job_state;	 /* queue.c's */
	void *map_state;	 /* map.c's */
};
int mm_reg_start(struct mm_daemon *d, struct mm_err *err)
	MM_MUST_CHECK; /* loads records and vectors; damaged ones are reported, kept and passed over */
void mm_reg_stop(struct mm_daemon *d);
size_t mm_reg_n(const struct mm_daemon *d);
struct mm_model_entry *mm_reg_at(const struct mm_daemon *d, size_t i); /* order of ids; pointers stay valid */
struct mm_model_entry *mm_reg_by_id(const struct mm_daemon *d, uint64_t id);
struct mm_model_entry *mm_reg_by_path(const struct mm_daemon *d, const char *path);
/* A scored, finite model with the same full fingerprint other than `except` (may be NULL). */
struct mm_model_entry *mm_reg_by_full(
	const struct mm_daemon *d, struct mm_hash full, const struct mm_model_entry *except);
/* What a user typed: exact name, else unambiguous part; MM_ENOENT names the nearest ones, MM_EINVAL the candidates. */
struct mm_model_entry *mm_reg_resolve(const struct mm_daemon *d, const char *name, struct mm_err *err) MM_MUST_CHECK;
struct mm_model_entry *mm_reg_add(
	struct mm_daemon *d, const char *name, const char *path, struct mm_err *err) MM_MUST_CHECK;
/* Stores the record and publishes a "model" event with the fields of `models`. */
int mm_reg_save(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err) MM_MUST_CHECK;
/* The object that `models` and events show:
 * {"name","state","family","params","bytes","dtype","scored_at","mean_loglik", "bits_per_byte","run","step",...}; state
 * is scored|failed|waiting|gone (never_ready shows as failed; queued and running as waiting with "detail"). */
json_t *mm_reg_json(const struct mm_daemon *d, const struct mm_model_entry *e, bool full);
/* On the map: scored, finite, and the representative of its content is itself or scored too. */
bool mm_reg_on_map(const struct mm_model_entry *e);

/* ---- watch.c (watch_inotify.c, watch_poll.c): which candidates changed ---- */
int mm_watch_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK; /* scans, then follows */
void mm_watch_stop(struct mm_daemon *d);
int mm_watch_rescan(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
const char *mm_watch_mode(const struct mm_daemon *d); /* "inotify", "poll", "inotify+poll" */
/* Unix seconds since which the watch of every directory went round: what is polled was looked at, what inotify tells
 * was taken in. 0: not yet. */
int64_t mm_watch_scanned(const struct mm_daemon *d);

/* ---- ready.c: is this candidate whole? Asks modelmap-score --probe in a child ---- */
int mm_ready_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_ready_stop(struct mm_daemon *d);
size_t mm_ready_n_probing(const struct mm_daemon *d); /* probes under way or due now: the first scan is done when 0 */

/* ---- queue.c: jobs, their order, retries ---- */
int mm_queue_start(
	struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK; /* running jobs of the last life are queued again */
void mm_queue_stop(struct mm_daemon *d);
int mm_queue_add(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err) MM_MUST_CHECK;
void mm_queue_kick(struct mm_daemon *d); /* starts what may start */

/* ---- scorer.c: one child; the executor interface (start, cancel; progress and result come back) ---- */
int mm_scorer_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_scorer_stop(struct mm_daemon *d); /* kills what runs; jobs go back to queued */

/* ---- map.c (map_refit.c, map_place.c, map_store.c): epochs and places ---- */
int mm_map_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_map_stop(struct mm_daemon *d);
/* A vector was committed, or a model with a vector joined, left or came back: place it; nobody else moves. */
void mm_map_scored(struct mm_daemon *d, struct mm_model_entry *e);
uint64_t mm_map_epoch(const struct mm_daemon *d); /* 0: none yet */
/* Whoever replaces or drops an entry's loglik hands the old block here instead of freeing it: a refit may be reading it
 * on its thread. Freed at once when nobody does. NULL is fine. */
void mm_map_retire(struct mm_daemon *d, float *loglik);

/* ---- alerts.c (alert_rules.c) ---- */
int mm_alerts_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_alerts_stop(struct mm_daemon *d);
/* Called on every lasting change of a model (scored, failed, never_ready, not finite, gone, reopened): rules decide.
 * Idempotent: one alert per (model, kind, cause), also after a restart. */
void mm_alerts_model(struct mm_daemon *d, struct mm_model_entry *e);

/* ---- scores.c: benchmark scores; what others ask of it is in scores.h ---- */
int mm_scores_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_scores_stop(struct mm_daemon *d);

/* ---- events.c: PUB ---- */
int mm_events_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_events_stop(struct mm_daemon *d);
void mm_event(struct mm_daemon *d, const char *type, json_t *body /* taken; NULL is dropped */);

/* ---- ctl.c (zap.c): ROUTER sockets; commands.c: table of handlers ---- */
int mm_ctl_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_ctl_stop(struct mm_daemon *d);
/* The endpoint as bound, NULL: none. */
const char *mm_ctl_url(const struct mm_daemon *d, bool query);
const char *mm_events_url(const struct mm_daemon *d);
const char *mm_events_boot(const struct mm_daemon *d);		    /* this run of the daemon; "": no events */
int64_t mm_events_seq(const struct mm_daemon *d);		    /* of the last event */
const json_t *mm_event_get(const struct mm_daemon *d, int64_t seq); /* NULL: not kept any more, or not yet there */
json_t *mm_ctl_endpoints(const struct mm_daemon *d); /* {"control","query","events","http"}, null: none */

struct mm_reply {	      /* what a handler hands back */
	json_t *body;	      /* an object, taken by the caller; NULL means {} */
	const char *list_key; /* with `list`: one more member of the body, written already */
	struct mm_buf list;   /* items with commas between; taken */
	bool bulk; /* `data` or `fd` follows in chunks: the client asks for them with `chunk` {handle, offset} */
	struct mm_buf data; /* taken */
	int fd;		    /* unlinked temporary file, taken; -1: none (as a handler finds it: -1) */
	uint64_t token;	    /* filled by ctl before the handler runs: for mm_ctl_finish */
	bool deferred;	    /* the handler set it: the answer comes later through mm_ctl_finish(token) */
};
typedef int (*mm_cmd_fn)(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err);
/* Ends a deferred request; err non-NULL: an error reply. A client that has gone is no error. Takes the contents of
 * reply. */
void mm_ctl_finish(struct mm_daemon *d, uint64_t token, struct mm_reply *reply, const struct mm_err *err);
/* Handlers, by room: cmd_models.c, cmd_queue.c, cmd_map.c, cmd_alerts.c, cmd_admin.c; the table is in commands.c. */
mm_cmd_fn mm_command_handler(const char *name);
size_t mm_command_count(void); /* rows of the table of handlers */
int mm_cmd_status(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_models(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_show(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_queue(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_retry(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_cancel(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_rescore(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_near(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_dist(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_map(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_refit(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_epochs(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_tree(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);    /* deferred (worker) */
int mm_cmd_cluster(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *); /* deferred (worker) */
int mm_cmd_trajectory(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_export(struct mm_daemon *, const json_t *, struct mm_reply *,
	struct mm_err *); /* what: "vectors" (npy) | "names" | "coords" (csv); bulk */
int mm_cmd_scores(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_scores_import(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_scores_drop(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_import(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_forget(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_predict(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);	 /* deferred (worker) */
int mm_cmd_texts_select(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *); /* deferred, bulk */
int mm_cmd_metrics_compare(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *); /* deferred */
int mm_cmd_fisher(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);	    /* deferred */
int mm_cmd_merge_check(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_place(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *); /* deferred */
int mm_cmd_alerts(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_alert(struct mm_daemon *, const json_t *, struct mm_reply *,
	struct mm_err *); /* action: ack|resolve|reopen|show, alert: its number (args' "id" is the request's), note */
int mm_cmd_recheck(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *);
int mm_cmd_backup(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *); /* bulk, deferred (worker) */
void mm_backup_stop(
	struct mm_daemon *d); /* makes copies under way fail soon; before mm_worker_stop, which waits for them */
int mm_cmd_events_since(struct mm_daemon *, const json_t *, struct mm_reply *, struct mm_err *); /* events.c */

/* ---- slices.c: long answers, a piece at a time; see slices.h ---- */
int mm_slices_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_slices_stop(struct mm_daemon *d);

/* ---- worker.c: long computations off the loop ---- */
int mm_worker_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_worker_stop(struct mm_daemon *d); /* waits for what runs, calls done with cancelled = true */
/* run(ctx) on a thread of its own at the priority of scorers (score.priority); then done(d, ctx, cancelled) on the
 * loop. run must not touch struct mm_daemon and looks at *cancel now and then (set when the daemon stops). */
struct mm_work {
	void (*run)(void *ctx, const _Atomic bool *cancel);
	void (*done)(struct mm_daemon *d, void *ctx, bool cancelled);
	void *ctx;
};
int mm_worker_submit(struct mm_daemon *d, const struct mm_work *w, struct mm_err *err) MM_MUST_CHECK;
/* The same at normal priority: for what takes milliseconds, and somebody waits. */
int mm_worker_submit_soon(struct mm_daemon *d, const struct mm_work *w, struct mm_err *err) MM_MUST_CHECK;

/* ---- service.c: readiness, status line, watchdog, signals ---- */
int mm_service_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_service_stop(struct mm_daemon *d);
void mm_service_ready(struct mm_daemon *d); /* READY=1, once */
void mm_service_status(
	struct mm_daemon *d); /* refreshes the STATUS line: "12 models, 1 running, 3 queued, 1 alert open" */

/* ---- spawn.c: children with a clean environment and no inherited descriptors ---- */
struct mm_spawn {
	const char *const *argv;
	int out_fd;	  /* child's stdout (and --stream fd 1); -1: /dev/null */
	int err_fd;	  /* child's stderr; -1: /dev/null */
	unsigned threads; /* OMP_NUM_THREADS and OPENBLAS_NUM_THREADS; 0: unset */
};
int mm_spawn(const struct mm_spawn *s, pid_t *pid, struct mm_err *err) MM_MUST_CHECK;

#endif
