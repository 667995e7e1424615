/* core_priv.h - inner doors of the rooms that bring a checkpoint from a directory into the store: spawn, watch, ready,
 * reg, queue, scorer. Included by their files (and tests) only.
 */
#ifndef MM_CORE_PRIV_H
#define MM_CORE_PRIV_H

#include "daemon/daemon.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/* ---- watch_name.c: what a name says; pure functions ---- */

enum mm_fkind {
	MM_F_OTHER,	/* none of ours */
	MM_F_CONFIG,	/* config.json */
	MM_F_WEIGHTS,	/* makes its directory a candidate: *.safetensors, their index, adapter_config.json ... */
	MM_F_TOKENIZER, /* part of a tokenizer: also counts for checkpoints in directories below */
	MM_F_SIDE,	/* any other file that a score may depend on */
	MM_F_GGUF
};
bool mm_watch_ignored(const char *name, bool dir); /* hidden and temporary names */
enum mm_fkind mm_watch_kind(const char *name);
/* "m-00002-of-00003.gguf" -> "m-00001-of-00003.gguf" in out, part 2; a whole file -> itself, part 1. false: too long.
 */
bool mm_watch_gguf_first(const char *name, char *out, size_t cap, unsigned *part);
bool mm_watch_network_fs(long f_type); /* file systems whose other writers raise no inotify events here */

/* ---- watch_tree.c (watch_scan.c, watch_inotify.c): one watched directory, followed by a thread of its own ---- */

enum mm_wmsg_type {
	MM_W_TOUCH,   /* a candidate is there or changed */
	MM_W_GONE,    /* a candidate is not there any more */
	MM_W_WRITING, /* `text` of the candidate is being written: its writer has not closed it yet */
	MM_W_CLOSED,  /* no file of the candidate is being written any more */
	MM_W_SCANNED, /* the first scan is over */
	MM_W_LOG      /* `text` at `level` */
};
struct mm_wmsg {
	enum mm_wmsg_type type;
	char *path;	      /* TOUCH .. CLOSED: the candidate's directory or .gguf file */
	char *text;	      /* NULL where there is none */
	int64_t newest_ns;    /* TOUCH: newest mtime or ctime of its files */
	struct mm_hash files; /* TOUCH: digest of names, sizes, mtimes and inodes */
	bool event;	      /* TOUCH: something happened now (not found by the first scan) */
	int level;
};
/* Called on the thread of the root; the message is taken (mm_free path and text). */
typedef void (*mm_wsink)(void *ctx, struct mm_wmsg *m);
struct mm_wroot_opts {
	enum mm_watch_mode mode;
	double poll_interval;
	bool follow_symlinks;
	long max_watches; /* tests: as if the system had only so many inotify watches; 0: no bound of ours */
};
struct mm_wroot;
struct mm_wroot *mm_wroot_start(
	const char *path, const struct mm_wroot_opts *o, mm_wsink sink, void *ctx, struct mm_err *err) MM_MUST_CHECK;
void mm_wroot_rescan(struct mm_wroot *r);
/* bit 0: inotify is used, bit 1: polling is used */
unsigned mm_wroot_modes(const struct mm_wroot *r);
int64_t mm_wroot_scanned(const struct mm_wroot *r); /* unix seconds of its last round; 0: none yet */
/* Ends the thread; when it hangs in a system call of a dead file system for longer than `wait` seconds it is left
 * behind (false): its memory is then not freed and it never calls the sink again. */
bool mm_wroot_stop(struct mm_wroot *r, double wait);

/* Inside of a root; its thread only, but for the atomics and what `lock` guards. */
struct mm_wfile {
	char *name;
	enum mm_fkind kind;
	uint64_t ino;
	int64_t size, mtime_ns, ctime_ns;
	bool changed;	      /* against the snapshot before */
	bool group_changed;   /* first part of a .gguf: any of its parts changed */
	int64_t group_newest; /* the same: newest time of its parts */
	struct mm_hash group_sum;
};
struct mm_wnames {
	char **name;
	size_t n, cap;
};
struct mm_wnode { /* a directory */
	struct mm_wnode *parent, *child, *sibling;
	struct mm_wnode **back; /* what points to it: the parent's child, or the sibling before's sibling */
	struct mm_wnode *next_wd, *next_ino; /* chains of the two tables */
	char *path;
	int wd; /* -1: not watched */
	unsigned depth;
	uint64_t dev, ino;
	uint64_t d_ino; /* as the parent's listing says: of a mount point another one */
	bool link;	/* reached through a symbolic link, itself or a directory above */
	bool poll;	/* no watch: looked at every interval, with all that is below */
	bool net;	/* on a network or FUSE file system: inode numbers may change at any time and mean nothing */
	bool unreadable;
	unsigned round; /* of polling */
	bool cand;
	bool seen;	       /* by the scan of the parent under way */
	struct mm_wfile *file; /* sorted by name */
	size_t n_file;
	bool dirty;		  /* in the list of dirty directories */
	bool relist;		  /* has to be listed, not only its writers told */
	struct mm_wnames forced;  /* files named by events since the last scan: touched even when no stamp differs */
	struct mm_wnames writing; /* modified and not closed */
	struct mm_wnames closed;  /* closed since the last report */
	bool wrote, fresh_writer; /* fresh: a file that was not told of yet */
	double wrote_told;
};
#define MM_WTABLE 16384
struct mm_wroot {
	char *path;
	struct mm_wroot_opts opts;
	mm_wsink sink;
	void *ctx;
	pthread_t thread;
	pthread_mutex_t lock; /* of `orphan` and the call of sink */
	bool orphan;
	int wake; /* eventfd */
	_Atomic bool stop, rescan;
	_Atomic unsigned modes;
	_Atomic int64_t scanned;
	int ino_fd;	      /* -1: none */
	struct mm_wnode *top; /* NULL: the directory is not there */
	struct mm_wnode *by_wd[MM_WTABLE], *by_ino[MM_WTABLE];
	struct mm_wnode **dirty;
	size_t n_dirty, cap_dirty;
	long n_watch;
	bool first; /* the first scan is under way */
	bool told_missing, told_full;
	double next_poll, next_check;
	unsigned round;
	unsigned long n_removed; /* nodes so far: who walks a list sees whether it may have changed */
};
void mm_wroot_emit(
	struct mm_wroot *r, enum mm_wmsg_type type, const char *path, const char *text, const struct mm_wmsg *more);
void mm_wroot_log(struct mm_wroot *r, int level, const char *fmt, ...) MM_PRINTF(3, 4);
struct mm_wnode *mm_wnode_by_wd(const struct mm_wroot *r, int wd);
void mm_wnode_set_wd(struct mm_wroot *r, struct mm_wnode *n, int wd); /* -1 takes it out */
void mm_wnode_dirty(struct mm_wroot *r, struct mm_wnode *n, bool relist);
void mm_wnode_remove(struct mm_wroot *r, struct mm_wnode *n); /* with all below: candidates are gone */
struct mm_wnode *mm_wnode_child(const struct mm_wnode *n, const char *name);
bool mm_wnode_blind(const struct mm_wnode *n); /* neither watched nor polled: its watch went, so it was deleted */
const char *mm_wnode_name(const struct mm_wnode *n);
void mm_wnames_add(struct mm_wnames *l, const char *name); /* once */
bool mm_wnames_del(struct mm_wnames *l, const char *name);
bool mm_wnames_has(const struct mm_wnames *l, const char *name);
void mm_wnames_clear(struct mm_wnames *l);
/* watch_scan.c */
struct mm_wnode *mm_wscan_top(struct mm_wroot *r); /* NULL: not there */
/* false: the directory is not there any more (or another one is) and the node has to go */
bool mm_wscan_dir(struct mm_wroot *r, struct mm_wnode *n, bool deep);
/* The candidate that a file of this directory belongs to, in `out`; false: none. */
bool mm_wscan_candidate(const struct mm_wnode *n, const char *file, char *out, size_t cap);
/* watch_inotify.c */
void mm_winotify_open(struct mm_wroot *r);
void mm_winotify_add(struct mm_wroot *r, struct mm_wnode *n);	  /* or marks it for polling */
void mm_winotify_read(struct mm_wroot *r);			  /* events -> dirty directories */
void mm_winotify_writers(struct mm_wroot *r, struct mm_wnode *n); /* tells about open writers */

/* ---- spawn_child.c: a child whose output is collected under limits ---- */

struct mm_child_end {
	bool exited;		/* else ended by a signal */
	int status;		/* exit status or signal */
	bool stuck;		/* killed, but the kernel has not let it go: reaped in the background */
	const char *killed_for; /* why we killed it: "time limit", "no output for 5m", "too much output", "cancelled";
				   NULL */
	const char *err_tail;	/* last bytes of stderr, one or more lines, sanitised; "" when none */
};
struct mm_child_opts {
	const char *const *argv;
	unsigned threads;
	double timeout;	  /* seconds in all; 0: none */
	double stall;	  /* seconds without output; 0: none */
	uint64_t max_out; /* bytes of output; 0: no bound */
	/* Output as it comes; non-zero: kill it (killed_for = "bad output"). */
	int (*out)(void *ctx, const void *data, size_t len);
	/* Exactly once, after the last `out`; the child object is freed afterwards. */
	void (*end)(void *ctx, const struct mm_child_end *e);
	void *ctx;
};
struct mm_child;
struct mm_child *mm_child_start(sd_event *loop, const struct mm_child_opts *o, struct mm_err *err) MM_MUST_CHECK;
void mm_child_kill(struct mm_child *c, const char *why); /* `end` follows from the loop; `why` is a literal */
/* Kills without calling `end`, waits up to a second for it. For stopping. */
void mm_child_abandon(struct mm_child *c);
pid_t mm_child_pid(const struct mm_child *c);

/* ---- ready_probe.c: what modelmap-score --probe said, checked ---- */

struct mm_probe_result {
	bool ready, failed; /* neither: waiting */
	char code[32];	    /* "" when ready */
	char *file, *text;
	uint64_t missing_bytes;
	struct mm_hash quick, full; /* zero: not given */
	struct mm_hash stat_id;	    /* of the files list */
	int64_t newest_ns;	    /* newest mtime in the list; 0: none */
	uint64_t file_bytes;	    /* sum over the list */
	char *family, *architecture, *dtype, *container, *base_claimed;
	uint64_t params, bytes, context, vocab;
};
int mm_probe_parse(const char *data, size_t len, struct mm_probe_result *out, struct mm_err *err) MM_MUST_CHECK;
void mm_probe_result_fini(struct mm_probe_result *p);
struct mm_prober;
/* Runs --probe (with --full: all bytes are read) on `path`; done is called once from the loop: r NULL and err set when
 * the probe itself failed. r's contents may be taken. */
typedef void (*mm_probe_done)(void *ctx, struct mm_probe_result *r, const struct mm_err *err);
struct mm_prober *mm_probe_start(struct mm_daemon *d, const char *root, const char *path, bool full, uint64_t bytes,
	mm_probe_done done, void *ctx, struct mm_err *err) MM_MUST_CHECK;
void mm_probe_cancel(struct mm_prober *p); /* done is not called any more */

/* ---- reg_index.c ---- */

/* u64 -> pointers, several per key. */
struct mm_index {
	struct mm_index_slot *slot;
	size_t cap, n, n_dead;
};
int mm_index_put(struct mm_index *ix, uint64_t key, void *val, struct mm_err *err) MM_MUST_CHECK;
void mm_index_del(struct mm_index *ix, uint64_t key, const void *val);
/* Starts with *at = 0; NULL when there is no further one of this key. */
void *mm_index_next(const struct mm_index *ix, uint64_t key, size_t *at);
void mm_index_fini(struct mm_index *ix);

/* ---- ready.c (ready_decide.c, ready_record.c): from touches to decisions ---- */

enum mm_stage {
	MM_STAGE_IDLE,	 /* nothing to do until something changes */
	MM_STAGE_TIMED,	 /* the timer is set: settling, or time to look again */
	MM_STAGE_LINE,	 /* in line for a probe */
	MM_STAGE_PROBING /* a child looks at it */
};
enum mm_ask { MM_ASK_QUICK, MM_ASK_FULL, MM_ASK_TWIN /* a quick probe of the path of the model it seems equal to */ };
struct mm_cand { /* a candidate: a path that looks like a checkpoint, with or without a record yet */
	struct mm_daemon *d;
	char *root, *path;
	struct mm_model_entry *e; /* NULL: no record yet */
	bool present;
	enum mm_stage stage;
	enum mm_ask ask;
	sd_event_source *timer;
	struct mm_prober *prober;
	struct mm_cand *next_in_line;
	unsigned version, probe_version; /* of touches; an answer about an older version is thrown away */
	bool changed;			 /* touched since the last accepted answer */
	struct mm_hash files;		 /* digest of the last touch */
	int64_t newest_ns;
	double last_event; /* monotonic; 0: none in this life */
	bool open;	   /* a writer has open_file open */
	double open_last;  /* its last sign of life */
	char *open_file;
	double delay;		      /* seconds until a waiting one is looked at again; grows */
	struct mm_probe_result probe; /* ready answer, while FULL or TWIN is asked */
	struct mm_hash stat_id;	      /* of the last accepted answer */
	uint64_t twin;		      /* id of the model whose score it waits for */
	unsigned n_error;	      /* probes in a row that failed themselves */
};
struct mm_ready {
	struct mm_index path;
	struct mm_cand **c;
	size_t n, cap;
	struct mm_cand *line, **line_end;
	unsigned n_quick, n_full; /* running */
};
void mm_ready_message(struct mm_daemon *d, const char *root, const struct mm_wmsg *m); /* TOUCH .. CLOSED */
/* The first scan of `root` is over: what is known there and was not seen is gone. */
void mm_ready_scanned(struct mm_daemon *d, const char *root);
struct mm_cand *mm_ready_cand(const struct mm_daemon *d, const char *path); /* NULL: none */
void mm_ready_timer(struct mm_cand *c, double seconds);
void mm_ready_ask(struct mm_cand *c, enum mm_ask ask); /* puts it in line */
bool mm_ready_present(const struct mm_model_entry *e); /* its files are there, as far as the watch knows */
/* Probed in this life, and nothing has happened since: a scorer may start. */
bool mm_ready_steady(const struct mm_model_entry *e);
struct mm_hash mm_ready_stat_id(const struct mm_model_entry *e);
/* The root below which e was found; NULL: not watched. */
const char *mm_ready_root(const struct mm_model_entry *e);
bool mm_hash_is_zero(struct mm_hash h);
/* A job ended or a model left the queue: candidates that wait for it are looked at again. */
void mm_ready_twin_done(struct mm_daemon *d, const struct mm_model_entry *e);
/* The scorer found that the files changed: wait for the settle time and probe again. */
void mm_ready_again(struct mm_daemon *d, struct mm_model_entry *e, const char *why);
/* A user wants it looked at now (retry). */
void mm_ready_now(struct mm_daemon *d, struct mm_model_entry *e);
/* Calls fn for each candidate without a record. */
void mm_ready_each_settling(
	struct mm_daemon *d, void (*fn)(void *ctx, const char *name, const char *reason), void *ctx);
/* ready_record.c */
void mm_cand_attach(struct mm_cand *c, struct mm_model_entry *e);
struct mm_model_entry *mm_cand_record(
	struct mm_cand *c, struct mm_err *err) MM_MUST_CHECK; /* made when there is none */
int mm_cand_meta(struct mm_model_rec *to, const struct mm_probe_result *p, struct mm_err *err) MM_MUST_CHECK;
void mm_cand_accepted(struct mm_cand *c); /* the answer was taken in; the next one is of a new change */
/* ready_decide.c */
void mm_decide_answer(struct mm_cand *c, struct mm_probe_result *r); /* any answer to ASK_QUICK; takes what it keeps */
void mm_decide_error(struct mm_cand *c, const struct mm_err *why);
void mm_decide_full(struct mm_cand *c, struct mm_hash full);
void mm_decide_twin(struct mm_cand *c, bool there);
void mm_decide_writing(struct mm_cand *c);
void mm_decide_gone(struct mm_daemon *d, struct mm_model_entry *e);

/* ---- reg.c (reg_name.c, reg_index.c, reg_json.c, reg_history.c) ---- */

struct mm_reg {
	struct mm_model_entry **e; /* ascending ids */
	size_t n, cap;
	struct mm_index path, name, quick, full;
	unsigned n_bad; /* damaged records seen at the start */
	uint64_t n_dropped;
	struct mm_import *import; /* cmd_import.c: rows that a client is sending; NULL: none */
};
/* rec.path, name, quick, full of a stored entry are changed through these, which keep the indices. */
int mm_reg_set_path(struct mm_daemon *d, struct mm_model_entry *e, const char *name, const char *path,
	struct mm_err *err) MM_MUST_CHECK;
int mm_reg_set_quick(struct mm_daemon *d, struct mm_model_entry *e, struct mm_hash h, struct mm_err *err) MM_MUST_CHECK;
int mm_reg_set_full(struct mm_daemon *d, struct mm_model_entry *e, struct mm_hash h, struct mm_err *err) MM_MUST_CHECK;
struct mm_model_entry *mm_reg_by_name(const struct mm_daemon *d, const char *name);
/* Next entry with this quick fingerprint; *at starts at 0. */
struct mm_model_entry *mm_reg_next_quick(const struct mm_daemon *d, struct mm_hash quick, size_t *at);
/* The scored (finite or not) model that has this content, not `except`; the representative, never a copy. */
struct mm_model_entry *mm_reg_scored_full(
	const struct mm_daemon *d, struct mm_hash full, const struct mm_model_entry *except);
/* A display name for path below root that nobody else has. mm_free it. */
char *mm_reg_make_name(struct mm_daemon *d, const char *root, const char *path, const struct mm_model_entry *self,
	struct mm_err *err) MM_MUST_CHECK;
/* run and step from a name ("llama-a-run/checkpoint-200"); *run NULL and step -1 when there is none. mm_free *run. */
int mm_reg_run_step(const char *root, const char *path, char **run, int64_t *step, struct mm_err *err) MM_MUST_CHECK;
/* Removes a record that was never scored, from memory and store. */
int mm_reg_drop(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err) MM_MUST_CHECK;
/* For who stores several new entries at once: room for n more, then each put in by its new id (which cannot fail then);
 * one that was indexed but not stored is taken back. */
int mm_reg_room(struct mm_daemon *d, size_t n, struct mm_err *err) MM_MUST_CHECK;
int mm_reg_insert(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err) MM_MUST_CHECK;
void mm_reg_discard(struct mm_daemon *d, struct mm_model_entry *e);
/* Turns e into history: name and path get "@" and the time, gone; its path is free for a new record. */
int mm_reg_retire(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err) MM_MUST_CHECK;
/* Sets a string field: *field becomes a copy of s (NULL is fine). */
int mm_reg_str(char **field, const char *s, struct mm_err *err) MM_MUST_CHECK;
/* State, reason and state_since; no store access. */
void mm_reg_state(struct mm_model_entry *e, enum mm_model_state st, const char *code, const char *file,
	uint64_t missing, const char *reason);
/* Record, vectors and jobs in one transaction, then the "model" event. */
struct mm_commit {
	struct mm_model_entry *e;
	struct mm_job_rec *job[2]; /* NULL: none */
	const struct mm_stored_array *array;
	size_t n_array;
	uint64_t del_model; /* 0: none */
	uint64_t *del_job;
	size_t n_del_job;
	bool quiet; /* no "model" event: the caller sends it when its picture is complete */
};
int mm_reg_commit(struct mm_daemon *d, const struct mm_commit *c, struct mm_err *err) MM_MUST_CHECK;

/* The content of this record was scored, perhaps under another name, so it is not to be overwritten. */
bool mm_reg_is_scored(const struct mm_model_entry *e);
/* The state of a scored model that is neither queued nor running: placed, or failed when not finite. */
void mm_reg_restore(struct mm_model_entry *e);
/* cmd_import.c: the vector came from a client, there are no files. */
bool mm_reg_imported(const struct mm_model_entry *e);
void mm_import_free(struct mm_import *im);

/* ---- import_meta.c: figures of a model that has no files ---- */
#define MM_IMPORT_META 7
struct mm_import_meta { /* by the table of import_meta.c; zeroed: nothing is said */
	bool given[MM_IMPORT_META];
	char *text[MM_IMPORT_META];
	int64_t number[MM_IMPORT_META];
};
int mm_import_meta_take(struct mm_import_meta *m, const json_t *args, struct mm_err *err) MM_MUST_CHECK;
void mm_import_meta_fini(struct mm_import_meta *m);
/* Does it say anything else than the record? */
bool mm_import_meta_new(const struct mm_import_meta *m, const struct mm_model_rec *r);
int mm_import_meta_put(const struct mm_import_meta *m, struct mm_model_rec *r, struct mm_err *err) MM_MUST_CHECK;
bool mm_reg_history(const struct mm_model_entry *e); /* an older content of a name: "name@time" */

/* ---- queue.c (queue_json.c) ---- */

struct mm_job {
	struct mm_job_rec rec;
	struct mm_model_entry *e;
	struct mm_run *run; /* the scorer's, while it runs */
	char stage[24];
	uint64_t done, total, tokens, tokens_total;
	double tokens_per_s, eta_s; /* eta_s < 0: not known */
	double last_event;	    /* monotonic, for the rate limit of progress events */
};
#define MM_JOB_HISTORY 1000
struct mm_queue {
	struct mm_job **live, **old; /* old: finished, oldest first */
	size_t n, cap, n_old, cap_old;
	sd_event_source *kick, *timer;
};
struct mm_job *mm_job_of(const struct mm_model_entry *e); /* the live one; NULL */
json_t *mm_job_json(const struct mm_daemon *d, const struct mm_job *j);
/* The model waits (reason in its record): its job, made when there is none, becomes `waiting`; a running one is
 * stopped. */
int mm_queue_wait(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err) MM_MUST_CHECK;
/* The model's live job ends as `state` with the reason of the model; none: a row is written all the same for failures.
 */
int mm_queue_end(
	struct mm_daemon *d, struct mm_model_entry *e, enum mm_job_state state, struct mm_err *err) MM_MUST_CHECK;
/* Stops and removes every job of a model that is about to be dropped. */
int mm_queue_forget(struct mm_daemon *d, struct mm_model_entry *e, struct mm_err *err) MM_MUST_CHECK;
json_t *mm_queue_json(struct mm_daemon *d, bool all);
struct mm_queue_count {
	size_t waiting, queued, running, failed;
};
void mm_queue_count(const struct mm_daemon *d, struct mm_queue_count *c);

/* ---- scorer.c (scorer_check.c): one run of modelmap-score ---- */

enum mm_outcome {
	MM_RUN_DONE,   /* result in the run, to be committed */
	MM_RUN_FAILED, /* cause in the files */
	MM_RUN_RETRY,  /* cause may pass */
	MM_RUN_CHANGED /* the files changed meanwhile */
};
struct mm_result { /* everything that a scorer said, checked and copied */
	json_t *meta;
	struct mm_stored_array *array;
	size_t n_array;
	const float *loglik; /* [n] borrowed from the array */
	size_t n_bad;	     /* of loglik that are not finite */
	size_t first_bad;
	double mean_loglik; /* over finite ones */
	uint64_t n_tokens, n_cut;
	struct mm_hash quick, full;
};
void mm_result_fini(struct mm_result *r);
/* Collects the stream of a scorer: garbage in, an error out. */
struct mm_collect;
struct mm_collect_opts {
	size_t n_texts;
	struct mm_hash texts;
	const char *bos, *compute;
	const uint8_t *probe_set; /* [MM_PROBES_ID] and how many probes; NULL: no features are asked for */
	size_t n_probe;
	void (*progress)(void *ctx, const json_t *p);
	void *ctx;
};
struct mm_collect *mm_collect_new(const struct mm_collect_opts *o, struct mm_err *err) MM_MUST_CHECK;
int mm_collect_feed(struct mm_collect *c, const void *data, size_t len, struct mm_err *err) MM_MUST_CHECK;
/* The stream is over: 0 and *out filled; -1: no result. *said: the scorer itself reported this error. */
int mm_collect_end(struct mm_collect *c, struct mm_result *out, bool *said, struct mm_err *err) MM_MUST_CHECK;
void mm_collect_free(struct mm_collect *c);

/* ---- features.c ---- */
enum mm_feature_state { MM_FEATURES_NONE, MM_FEATURES_CANNOT, MM_FEATURES_OTHER, MM_FEATURES_HERE };
#define MM_FEATURE_ARRAYS 5
/* Feature arrays of a result: absent, or whole and of these n probes (probe_set NULL: not asked for). */
int mm_features_check(const struct mm_result *r, const uint8_t *probe_set, size_t n, struct mm_err *err) MM_MUST_CHECK;
/* Empty arrays in the place of those that the result lacks: out[MM_FEATURE_ARRAYS]; returns how many. */
size_t mm_features_void(const struct mm_result *r, struct mm_stored_array *out);
enum mm_feature_state mm_features_of_result(const struct mm_daemon *d, const struct mm_result *r);
enum mm_feature_state mm_features_stored(const struct mm_daemon *d, struct mm_txn *t, uint64_t model);
const char *mm_features_name(const struct mm_daemon *d, const struct mm_model_entry *e); /* NULL: not scored */
json_t *mm_features_why(const struct mm_daemon *d, const struct mm_model_entry *e);
bool mm_features_missing(const struct mm_daemon *d, const struct mm_model_entry *e); /* scoring again would help */

struct mm_scorer {
	struct mm_run **run;
	size_t n, cap;
};
int mm_scorer_run(struct mm_daemon *d, struct mm_job *job, struct mm_err *err) MM_MUST_CHECK;
void mm_scorer_cancel(struct mm_daemon *d, struct mm_job *job); /* kills it; mm_queue_ended is not called */
unsigned mm_scorer_threads(const struct mm_daemon *d);
void mm_scorer_forget(const struct mm_daemon *d, uint64_t id); /* what a killed run of this model had done */
const char *mm_scorer_priority(const struct mm_daemon *d);     /* "idle" or "normal", for --priority */
/* scorer_commit.c: vector, record and job in one transaction; then map and alerts. */
int mm_result_commit(struct mm_daemon *d, struct mm_job *job, struct mm_result *r, struct mm_err *err) MM_MUST_CHECK;
/* queue.c's: how a run ended. `r` with DONE only, `why` with the others. */
void mm_queue_ended(
	struct mm_daemon *d, struct mm_job *job, enum mm_outcome how, struct mm_result *r, const struct mm_err *why);
void mm_queue_progress(struct mm_daemon *d, struct mm_job *job, const json_t *p);

#endif
