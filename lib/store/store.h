/* store.h - everything that must survive: models, vectors, jobs, alerts, epochs, in one LMDB environment.
 *
 * One process owns it; all calls come from the daemon's loop thread, but for copies and readers. Keys are ids, never
 * names. Records carry a checksum and tagged fields, so that an older program can read what a newer one wrote and the
 * reverse (record.c). Key and record layouts are documented at the top of store_priv.h, nowhere else.
 */
#ifndef MM_STORE_H
#define MM_STORE_H

#include "base/base.h"

#define MM_SCHEMA 1

/* What a store belongs to, fixed at its creation: a vector made under other terms is never mixed in. */
struct mm_store_pin {
	struct mm_hash texts; /* hash of the text set */
	uint64_t n_texts;
	double mean_bytes; /* of a text */
	char bos[16];	   /* "auto", "paper", "none" */
	char compute[16];  /* "f32", "auto", "bf16" */
	char scorer[32];   /* version of the scorer that made it: only with compatible ones (see pin.c) */
};

struct mm_store;
/* Opens or creates `dir`/store.mdb, and `dir`. MM_ECONFLICT when pinned otherwise (the text says what differs and the
 * way out) or when another process has it open; MM_ECORRUPT when the file's structure is damaged. `pin` NULL: whatever
 * the store belongs to. */
struct mm_store *mm_store_open(const char *dir, const struct mm_store_pin *pin, struct mm_err *err) MM_MUST_CHECK;
void mm_store_close(struct mm_store *s);
const struct mm_store_pin *mm_store_pin_get(const struct mm_store *s); /* as stored */
/* Told of damaged records that are passed over where no `bad` is given: what ("model", "job", "alert"), id, why. */
void mm_store_on_bad(
	struct mm_store *s, void (*fn)(const char *what, uint64_t id, const char *why, void *ctx), void *ctx);
struct mm_store_stat {
	uint64_t bytes_used, bytes_map, n_models, n_jobs, n_alerts;
};
int mm_store_stat(struct mm_store *s, struct mm_store_stat *out, struct mm_err *err) MM_MUST_CHECK;
/* A consistent copy as one file that opens when put in the place of store.mdb, written to fd (without free pages).
 * Blocks; another thread may call it, while the loop goes on. */
int mm_store_copy(struct mm_store *s, int fd, struct mm_err *err) MM_MUST_CHECK;

/* ---- txn.c: transactions with a sticky error ----
 * After the first failure later puts do nothing and commit fails with that first error. A full map is grown and the
 * transaction reported as MM_EBUSY: the caller runs it again (mm_store_write does that for you). */
struct mm_txn;
struct mm_txn *mm_txn_begin(struct mm_store *s, bool write, struct mm_err *err) MM_MUST_CHECK;
int mm_txn_commit(struct mm_txn *t, struct mm_err *err) MM_MUST_CHECK; /* frees t in any case */
void mm_txn_abort(struct mm_txn *t);				       /* NULL is fine */
/* Runs fn in a write transaction and commits; when the map was full, grows it and runs fn AGAIN: fn must not keep what
 * it did elsewhere. fn returns 0, or -1 with err set, which aborts. */
int mm_store_write(struct mm_store *s, int (*fn)(struct mm_txn *t, void *ctx, struct mm_err *err), void *ctx,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- reader.c: reading from another thread, while the loop goes on; for the getters below alone ----
 * Short: the store cannot grow meanwhile. Ended by the thread that began it, before mm_store_close. */
struct mm_txn *mm_reader_begin(struct mm_store *s, struct mm_err *err) MM_MUST_CHECK;
void mm_reader_end(struct mm_txn *t); /* NULL is fine */

/* ---- models ---- */

/* The state machine of DESIGN (seen is transient). Numbers are stored: never renumber. */
enum mm_model_state {
	MM_ST_SEEN = 0,
	MM_ST_WAITING = 1,
	MM_ST_QUEUED = 2,
	MM_ST_RUNNING = 3,
	MM_ST_PLACED = 4,
	MM_ST_FAILED = 5,
	MM_ST_NEVER_READY = 6,
	MM_ST_CANCELLED = 7
};
const char *mm_model_state_name(enum mm_model_state s);

struct mm_model_rec { /* strings are owned by the record: mm_model_rec_fini */
	uint64_t id;  /* 0: not stored yet */
	char *name;   /* display name: path relative to the watched directory */
	char *path;   /* absolute */
	enum mm_model_state state;
	bool gone;	   /* the directory is not there any more; the vector is history and stays */
	bool has_vector;   /* arrays loglik and n_tokens are stored */
	uint64_t same_as;  /* id of the model with byte-equal content whose vector counts; 0: itself */
	char *reason;	   /* why waiting, failed, never_ready; NULL otherwise */
	char *reason_code; /* "truncated", "no_tokenizer", ... */
	char *reason_file;
	uint64_t missing_bytes;
	int64_t first_seen, state_since, scored_at, modified; /* unix seconds; modified: newest mtime of the files */
	struct mm_hash quick, full;			      /* zero: not known */
	struct mm_hash files; /* names, sizes, mtimes and inodes of the files that were probed; zero: not known */
	char *family, *architecture, *dtype, *container, *compute, *scorer, *base_claimed;
	uint64_t params, bytes, context, vocab;
	uint64_t n_tokens, n_cut;	   /* scored tokens over all texts; texts cut at the context */
	double mean_loglik, bits_per_byte; /* nats per text; -mean_loglik / (mean bytes * ln 2) */
	double seconds, tokens_per_s;	   /* of scoring */
	double gemm_share; /* arithmetic of the matrices over the rate of a plain product; 0: not known */
	char *run;	   /* "llama-a-run" for llama-a-run/checkpoint-200; NULL */
	int64_t step;	   /* -1: none */
	char *note;	   /* lineage: "same weights as X in bf16" */
	uint64_t note_model;
	uint32_t attempts;
};
void mm_model_rec_fini(struct mm_model_rec *r); /* zeroed is fine */
int mm_model_rec_dup(struct mm_model_rec *to, const struct mm_model_rec *from, struct mm_err *err) MM_MUST_CHECK;

/* id 0 gets a new id, written back to r->id. Fields that a newer program wrote are kept. */
int mm_model_put(struct mm_txn *t, struct mm_model_rec *r, struct mm_err *err) MM_MUST_CHECK;
int mm_model_get(
	struct mm_txn *t, uint64_t id, struct mm_model_rec *out, struct mm_err *err) MM_MUST_CHECK; /* MM_ENOENT */
/* Removes the record, its index entries and its arrays (a waiting record that turns out to be a renamed older one).
 * Deleting what is not there is no error. */
int mm_model_del(struct mm_txn *t, uint64_t id, struct mm_err *err) MM_MUST_CHECK;
/* Calls fn for every model by id (fn's failure ends it); a damaged record is reported to `bad` (NULL: mm_store_on_bad)
 * and passed over. */
int mm_model_each(struct mm_txn *t, int (*fn)(const struct mm_model_rec *r, void *ctx, struct mm_err *err),
	void (*bad)(uint64_t id, const char *why, void *ctx), void *ctx, struct mm_err *err) MM_MUST_CHECK;

/* ---- named arrays of a model ---- */

struct mm_stored_array {
	char name[64];
	unsigned type; /* enum mm_array_type of wire.h */
	unsigned n_dim;
	uint64_t dim[4];
	const void *data; /* borrowed until the transaction ends; may be unaligned */
	size_t n_byte;
};
int mm_array_put(struct mm_txn *t, uint64_t model, const struct mm_stored_array *a, struct mm_err *err) MM_MUST_CHECK;
int mm_array_get(struct mm_txn *t, uint64_t model, const char *name, struct mm_stored_array *out,
	struct mm_err *err) MM_MUST_CHECK; /* MM_ENOENT, MM_ECORRUPT */

/* The array has been copied and will not be looked at again soon: its pages of the mapped file need not count as ours.
 */
void mm_array_done(const struct mm_stored_array *a);

/* ---- jobs: one row for each scoring job; finished ones are kept for `modelmap queue --all` up to a bound ---- */

enum mm_job_state {
	MM_JOB_WAITING = 0,
	MM_JOB_QUEUED = 1,
	MM_JOB_RUNNING = 2,
	MM_JOB_DONE = 3,
	MM_JOB_FAILED = 4,
	MM_JOB_CANCELLED = 5
};
const char *mm_job_state_name(enum mm_job_state s);
struct mm_job_rec {
	uint64_t id, model; /* id 0: new */
	enum mm_job_state state;
	char *reason;
	uint32_t attempts;
	int64_t created, started, finished, not_before; /* unix seconds; not_before: back-off */
};
void mm_job_rec_fini(struct mm_job_rec *r);
int mm_job_put(struct mm_txn *t, struct mm_job_rec *r, struct mm_err *err) MM_MUST_CHECK;
int mm_job_del(struct mm_txn *t, uint64_t id, struct mm_err *err) MM_MUST_CHECK;
int mm_job_each(struct mm_txn *t, int (*fn)(const struct mm_job_rec *r, void *ctx, struct mm_err *err), void *ctx,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- alerts ---- */

enum mm_alert_state { MM_ALERT_OPEN = 0, MM_ALERT_ACKED = 1, MM_ALERT_RESOLVED = 2 };
const char *mm_alert_state_name(enum mm_alert_state s);
struct mm_alert_rec {
	uint64_t id, model;
	char *kind, *severity, *message, *evidence /* JSON text */, *note,
		*cause /* key of the cause: one alert per (model, kind, cause) */;
	enum mm_alert_state state;
	int64_t raised_at, changed_at;
};
void mm_alert_rec_fini(struct mm_alert_rec *r);
int mm_alert_put(struct mm_txn *t, struct mm_alert_rec *r, struct mm_err *err) MM_MUST_CHECK;
int mm_alert_each(struct mm_txn *t, int (*fn)(const struct mm_alert_rec *r, void *ctx, struct mm_err *err), void *ctx,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- scores.c: benchmark results of a model ---- */

#define MM_BENCH_NAME_MAX 63 /* bytes */
struct mm_bench_score {
	const char *bench; /* 1 to MM_BENCH_NAME_MAX bytes */
	double value;	   /* finite */
};
/* Replaces all results of the model; n 0 removes them. They go with the model (mm_model_del). */
int mm_bench_put(
	struct mm_txn *t, uint64_t model, const struct mm_bench_score *s, size_t n, struct mm_err *err) MM_MUST_CHECK;
typedef int (*mm_bench_fn)(uint64_t model, const char *bench, double value, void *ctx, struct mm_err *err);
/* By model, then as they were put. Damaged ones are told to mm_store_on_bad and passed over. */
int mm_bench_each(struct mm_txn *t, mm_bench_fn fn, void *ctx, struct mm_err *err) MM_MUST_CHECK;

/* ---- map epochs: numbered sets of named arrays and one JSON description ---- */

/* Epochs count from 1. Again for the same epoch: replaces the description and the arrays given, leaves the others. */
int mm_epoch_put(struct mm_txn *t, uint64_t epoch, const char *json, const struct mm_stored_array *a, size_t n,
	struct mm_err *err) MM_MUST_CHECK;
int mm_epoch_json(
	struct mm_txn *t, uint64_t epoch, char **json, struct mm_err *err) MM_MUST_CHECK; /* MM_ENOENT; mm_free */
int mm_epoch_array(struct mm_txn *t, uint64_t epoch, const char *name, struct mm_stored_array *out,
	struct mm_err *err) MM_MUST_CHECK;
int mm_epoch_last(struct mm_txn *t, uint64_t *epoch, struct mm_err *err) MM_MUST_CHECK; /* 0: none yet */

#endif
