/* metric.h - distances between output distributions: which models have features, and how questions get at them.
 *
 * The loop picks the models of a question (mm_feats_pick): those whose features are of one set of probes; the others
 * are named in the answer. A worker reads the features, through readers of its own (store.h): all of them where all
 * pairs are wanted, and for `near` only those of models that can be near, by sketches kept in memory. */
#ifndef MM_METRIC_H
#define MM_METRIC_H

#include "daemon/inquiry.h"
#include "stat/stat_fisher.h"

int mm_metrics_start(struct mm_daemon *d, struct mm_err *err) MM_MUST_CHECK;
void mm_metrics_stop(struct mm_daemon *d); /* after the worker */

int mm_metric_arg(const json_t *args, enum mm_metric *out, struct mm_err *err) MM_MUST_CHECK; /* default: kl */

struct mm_feats {
	enum mm_metric metric;
	uint64_t *owner;   /* [k] whose arrays they are */
	uint32_t *version; /* [k] of the vector, and so of the features */
	size_t k, m;	   /* models; probes of a model */
	size_t set;	   /* which set of probes, of those that are known here */
	uint32_t *sel;	   /* [n] probes of the domain; NULL: all, n == m */
	size_t n;
	json_t *without;		/* names of models without (these) features */
	const struct mm_probes *probes; /* NULL: their places are not known here */
	struct mm_store *store;
	struct mm_metrics *room;
	uint16_t *block; /* mm_feats_load: [k, m, MM_BYTES] */
	const uint16_t **row;
};
/* Leaves in s[k] only the models with features; `who` (0: nobody) must be among them. Loop. */
int mm_feats_pick(struct mm_feats *f, struct mm_daemon *d, struct mm_snap *s, size_t *k, uint64_t who, size_t domain,
	struct mm_err *err) MM_MUST_CHECK;
void mm_feats_free(struct mm_feats *f); /* NULL is fine */
/* Features of model i, unpacked to out[m, MM_BYTE_STRIDE]. t: a reader, or on the loop a transaction. */
int mm_feats_one(const struct mm_feats *f, struct mm_txn *t, size_t i, float *out, struct mm_err *err) MM_MUST_CHECK;
/* The same as it is stored, [m, MM_BYTES] f16: where it lies until t ends. */
const void *mm_feats_get(const struct mm_feats *f, struct mm_txn *t, size_t i, struct mm_err *err) MM_MUST_CHECK;
/* A copy of that. */
int mm_feats_copy(
	const struct mm_feats *f, struct mm_txn *t, size_t i, uint16_t *out, struct mm_err *err) MM_MUST_CHECK;
/* Worker: copies everybody's features. */
int mm_feats_load(struct mm_feats *f, const _Atomic bool *cancel, struct mm_err *err) MM_MUST_CHECK;
struct mm_byte_rows mm_feats_rows(const struct mm_feats *f); /* after it */
/* Worker: everybody's sketch, out[k], and their plan; both stay where they are until the daemon ends. Makes those not
 * made yet. */
int mm_feats_sketches(const struct mm_feats *f, const int16_t **out, const struct mm_sketch_plan **plan,
	const _Atomic bool *cancel, struct mm_err *err) MM_MUST_CHECK;

/* Adds "metric", "unit", "probes" and, where there are any, "without_features". f NULL: kl. */
void mm_metric_head(json_t *o, const struct mm_feats *f);
/* Adds "distance", "unit" and, with an interval, "low", "high", "stderr". */
void mm_metric_put(json_t *o, enum mm_metric m, double value, const struct mm_interval *iv);

/* ---- metric_near.c: near and dist ---- */
int mm_metric_near(struct mm_daemon *d, const struct mm_place *p, const json_t *args, enum mm_metric metric,
	struct mm_reply *reply, struct mm_err *err) MM_MUST_CHECK;
int mm_metric_dist(struct mm_daemon *d, const struct mm_place *a, const struct mm_place *b, const json_t *args,
	enum mm_metric metric, struct mm_reply *reply, struct mm_err *err) MM_MUST_CHECK;

/* ---- cmd_metric.c ---- */
int mm_metric_trajectory(
	struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err) MM_MUST_CHECK;

#endif
