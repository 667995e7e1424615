/* check_priv.h - inner doors of the tests: check.c (when), check_facts.c (what is read from the store), check_run.c and
 * check_odd.c (on the worker), check_rows.c (what is kept). */
#ifndef MM_CHECK_PRIV_H
#define MM_CHECK_PRIV_H

#include "daemon/alerts_priv.h"
#include "stat/stat_anomaly.h"

/* What the scorer said beside the log-likelihoods; made on the loop while no sweep runs, read by the worker. */
struct mm_check_facts {
	uint64_t model;
	uint32_t version; /* of the vector it came with */
	float *sample;	  /* [MM_CHECK_SAMPLE] weights; NULL: not known */
	double *unigram;  /* [n texts] log-likelihoods of the unigram model of its tokens; NULL: not known */
	float *mink;	  /* [n texts] mean of the 20 % least likely tokens of a text; NULL */
	float *mink_pp;	  /* [n texts] the same against what the model expected; NULL */
	struct mm_hash tokens, counts, config; /* tokenizer, tokens of each text, config; zero: not known */
};
#define MM_CHECK_SAMPLE 1024 /* as many as the scorer sends */
/* The entry's facts, read from the store when they are not of this version. NULL: memory. */
const struct mm_check_facts *mm_check_facts(
	struct mm_daemon *d, const struct mm_model_entry *e, uint32_t version, struct mm_err *err);
void mm_check_facts_free(struct mm_check *c);

struct mm_check_model { /* one model as the worker sees it */
	uint64_t id, group;
	const float *vec;
	const struct mm_check_facts *facts;
	char *name, *dtype, *claim; /* copies; NULL: not known */
	size_t claimed;		    /* the model that config or README name as the base; SIZE_MAX: none of the map's */
	uint64_t run;		    /* 0: none */
	int64_t step;
	double score; /* mean over the benchmarks; NAN */
	bool usable, leaked, test;
	bool healthy; /* without an open anomaly alert */
	struct mm_leak_test t;
	bool refuted;			     /* by texts known to be unseen */
	json_t *more;			     /* made on the worker, taken by the loop */
	bool asked[MM_ODD_COUNT];	     /* the rule had something to go by */
	struct mm_finding odd[MM_ODD_COUNT]; /* with a cause: found */
};
struct mm_sweep {
	struct mm_check_model *m;
	size_t k, n;
	const struct mm_texts *texts;
	double *bytes; /* [n domains] mean of a text */
	double *size;  /* [n] mm_leak_size; made by the first sweep that needs it, then kept by the loop */
	uint64_t sign; /* of models, vectors and flags */
	bool leaks;    /* enough models for the tests of leaks */
	bool failed;
	struct mm_err err;
};
void mm_sweep_run(void *ctx, const _Atomic bool *cancel);
/* check_snap.c */
struct mm_sweep *mm_sweep_new(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
size_t mm_check_n_live(const struct mm_daemon *d);
void mm_sweep_free(struct mm_sweep *w);

/* ---- check_odd.c: broken models, on the worker ---- */
int mm_sweep_odd(struct mm_sweep *w, const _Atomic bool *cancel) MM_MUST_CHECK;
/* check_run_odd.c: what is wrong with a step of a run */
int mm_sweep_runs(struct mm_sweep *w, const _Atomic bool *cancel) MM_MUST_CHECK;
/* Takes the evidence; 0 when all is there. */
int mm_odd_found(
	struct mm_sweep *w, struct mm_check_model *m, enum mm_alert_kind kind, char *message, json_t *evidence);
bool mm_odd_broken(const struct mm_check_model *m); /* found to be mismatched, overflown, damaged or diverged */

#endif
