/* alerts_priv.h - inner doors of the alerts: alerts.c (their life), alert_rules.c (their causes), alert_hook.c (the
 * command), check.c (tests on the worker). */
#ifndef MM_ALERTS_PRIV_H
#define MM_ALERTS_PRIV_H

#include "daemon/daemon.h"
#include "stat/stat_leak.h"

#include <systemd/sd-id128.h>

/* Everything that an alert can be about. Names never change: clients and scripts know them. From MM_AK_DIVERGED to
 * MM_AK_OVERFLOW the worker decides (check_odd.c). */
enum mm_alert_kind {
	MM_AK_LEAK,
	MM_AK_DUPLICATE,
	MM_AK_NEVER_READY,
	MM_AK_FAILED,
	MM_AK_NOT_FINITE,
	MM_AK_ISOLATED,
	MM_AK_DIVERGED,
	MM_AK_DAMAGED,
	MM_AK_JUMP,
	MM_AK_REGRESSED,
	MM_AK_IMPOSTOR,
	MM_AK_TOKENIZER_MISMATCH,
	MM_AK_OVERFLOW,
	MM_AK_COUNT
};
#define MM_ODD_FIRST MM_AK_DIVERGED
#define MM_ODD_COUNT (MM_AK_COUNT - MM_ODD_FIRST)

enum mm_verdict {
	MM_RULE_UNKNOWN, /* this moment says nothing (the model is on its way): what stands, stands */
	MM_RULE_NO,	 /* the cause is not there: an open alert resolves itself */
	MM_RULE_YES
};

struct mm_finding {    /* strings are owned; mm_finding_fini */
	char *cause;   /* the same cause of the same model is one alert */
	char *message; /* one line for people */
	json_t *evidence;
	const char *severity; /* NULL: the rule's */
	const char *gone_why; /* with MM_RULE_NO: why an open alert is resolved; NULL: "the cause is gone" */
};
void mm_finding_fini(struct mm_finding *f);

struct mm_alert_rule {
	const char *kind;
	const char *severity; /* "critical", "warning", "info" */
	bool anomaly;	      /* while open, the model stays out of threshold, means and axes of the map */
	bool population;      /* needs MM_POPULATION_MIN models; silent below */
	enum mm_verdict (*look)(struct mm_daemon *d, struct mm_model_entry *e, enum mm_alert_kind kind,
		struct mm_finding *f, struct mm_err *err);
	const char *what; /* one line for people: what it means */
};
extern const struct mm_alert_rule mm_alert_rules[MM_AK_COUNT];
/* Of the journal entries; MM_AK_COUNT: a digest's. */
sd_id128_t mm_alert_message_id(enum mm_alert_kind kind);
const struct mm_alert_rule *mm_alert_rule_find(const char *kind); /* NULL: unknown */

struct mm_hook; /* runs alerts.on_alert, never more than a few at once */
struct mm_hook *mm_hook_new(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_hook_free(struct mm_hook *h);		       /* kills what runs */
void mm_hook_run(struct mm_hook *h, const char *json); /* copied */

/* ---- alert_digest.c ---- */

struct mm_digest {
	sd_event_source *timer; /* set while something waits */
	double tokens, last;	/* of the bucket; monotonic seconds */
	size_t n, by_kind[MM_AK_COUNT];
	json_t *ids, *models;
};
/* Too many at once? true: it is told later, with others; false: the caller tells it now. */
bool mm_digest_take(struct mm_daemon *d, const struct mm_alert_rec *a, const char *model);
void mm_digest_flush(struct mm_daemon *d); /* now what waits */
void mm_digest_stop(struct mm_daemon *d);  /* drops it: the alerts themselves are stored */

struct mm_alerts {
	struct mm_digest digest;
	struct mm_alert_rec **rec; /* [n] by id */
	size_t n, cap;
	struct mm_hook *hook;
	struct mm_check *check;
};

/* ---- check.c (check_rows.c, check_run.c): tests that look at many models at once, on the worker ---- */

#define MM_CHECK_BINS 41
struct mm_check_row { /* what the last test of a model gave; kept with the model as array "leak" (JSON) */
	uint64_t model;
	uint64_t seq;	     /* place of its hypothesis in the stream, from 1 */
	struct mm_hash full; /* content it is about: other content is another hypothesis */
	int64_t tested_at;
	size_t n_models;
	struct mm_leak_test test;
	double p, level, wealth;
	bool found;   /* a discovery of the stream */
	bool refuted; /* texts known to be unseen show the same */
	bool leaked;  /* found, the effect matters, and not refuted */
	bool dirty;   /* not stored as it is */
	json_t *more; /* {"suspect_texts","domains","histogram"}; NULL: nothing suspicious */
};
struct mm_check {
	struct mm_check_row **row; /* [n] by seq */
	size_t n, cap;
	struct mm_check_row **by_model; /* [n_by_model] the same rows as of the last replay */
	size_t n_by_model, cap_by_model;
	sd_event_source *timer;
	int64_t last;  /* monotonic seconds of the last sweep */
	uint64_t sign; /* of what was tested last */
	bool running, again;
	bool forced;	       /* the next sweep does not ask whether anything changed */
	uint64_t forced_model; /* 0: all */
	double *size;	       /* [n texts] compressed sizes, NULL before the first sweep and while one runs */
	struct mm_sweep *sweep;
	struct mm_check_facts **facts; /* [n_facts] */
	size_t n_facts, cap_facts, last_facts;
	struct mm_check_odd **odd; /* [n_odd] what the last sweep said of each model, by id */
	size_t n_odd, cap_odd;
};
struct mm_check_odd {
	uint64_t model;
	struct mm_hash full;
	bool asked[MM_ODD_COUNT];
	struct mm_finding odd[MM_ODD_COUNT]; /* with a cause: found */
};
/* What the last sweep said; NULL: it was not looked at yet. */
const struct mm_check_odd *mm_check_odd_of(const struct mm_daemon *d, const struct mm_model_entry *e);
/* The kind of trouble that explains why it lies where it lies; MM_AK_COUNT: none. */
enum mm_alert_kind mm_check_broken(const struct mm_daemon *d, const struct mm_model_entry *e);
void mm_check_row_free(struct mm_check_row *r);
struct mm_check_row *mm_check_row_add(struct mm_check *c, struct mm_err *err); /* zeroed, at the end; NULL: memory */
int mm_check_load(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;      /* rows of the store, in order */
struct mm_check_row *mm_check_row_of(struct mm_check *c, uint64_t model);      /* NULL: none (as of the last replay) */
int mm_check_save(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;      /* changed rows, one transaction */
/* Levels and discoveries of all rows anew, in the order of their hypotheses. */
int mm_check_replay(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;

int mm_check_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_check_stop(struct mm_daemon *d);
/* Something lasting changed: test soon, once the queue is quiet or a minute has passed. Cheap. */
void mm_check_kick(struct mm_daemon *d);
bool mm_check_due(const struct mm_daemon *d); /* tests run or are about to */
/* Test now: one model (and whoever it changes), or all. false: not possible now; `why` says so. */
bool mm_check_now(struct mm_daemon *d, uint64_t model, const char **why);
/* Why rules that need a population say nothing; NULL: they do not. */
const char *mm_check_silent(const struct mm_daemon *d);
const struct mm_check_row *mm_check_of(const struct mm_daemon *d, const struct mm_model_entry *e); /* NULL: never */
/* What `show` says: {"p","level","wealth","found","models","tests":[...],"due"}; NULL: no tests yet. */
json_t *mm_check_json(const struct mm_daemon *d, const struct mm_model_entry *e);
json_t *mm_check_tests_json(const struct mm_check_row *r);

json_t *mm_alert_json(const struct mm_daemon *d, const struct mm_alert_rec *a);
struct mm_alert_rec *mm_alert_by_id(const struct mm_daemon *d, uint64_t id); /* NULL: none */
/* Changes the state, stores, tells everybody. note may be NULL: kept. by: "daemon" or "user". */
#define MM_ALERT_BY_DAEMON "[daemon] " /* how a note begins that was not a user's */
int mm_alert_set(struct mm_daemon *d, struct mm_alert_rec *a, enum mm_alert_state state, const char *note,
	const char *by, struct mm_err *err) MM_MUST_CHECK;
size_t mm_alerts_n_open(const struct mm_daemon *d);

#endif
