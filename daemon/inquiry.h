/* inquiry.h - questions about all models at once, answered on a worker: tree, cluster, predict, texts_select, and near
 * and map on one domain.
 *
 * The loop takes a snapshot (vectors stay valid while it is pinned, names are copied), the worker makes the distances
 * and runs `answer`, which fills `body`; then `finish`, on the loop again, may add what only the registry knows. */
#ifndef MM_INQUIRY_H
#define MM_INQUIRY_H

#include "daemon/map_priv.h"

#define MM_INQUIRY_SLOW_MAX   1500 /* by metrics that take every pair from its rows: some minutes */
#define MM_INQUIRY_MODELS_MAX 5000 /* all pairs of more would take a worker minutes and gigabytes */

struct mm_subject { /* one model, copied: the worker must not look into the registry */
	char *name;
	uint64_t group; /* what parent and child must have in common, as far as the files say it */
	uint32_t run;	/* UINT32_MAX: none */
	int64_t step;
};

struct mm_feats;

struct mm_inquiry {
	uint64_t token;
	int (*answer)(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_err *err);
	int (*finish)(struct mm_daemon *d, struct mm_inquiry *q, struct mm_err *err); /* may be NULL */
	const _Atomic bool *cancel; /* for `answer`: the daemon stops */
	bool soon;		    /* short, and somebody waits: at normal priority */
	bool no_pairs;		    /* `answer` gets no distances and no `who`, and any number of models may be there */
	struct mm_snap *s;
	struct mm_subject *who; /* [k]; NULL with no_pairs */
	size_t k, n;
	const uint32_t *sel; /* [n_sel] the texts of a domain (the map's own, never changed); NULL: all */
	size_t n_sel;
	const char *domain; /* NULL: all texts */
	double clip, mean_bytes;
	uint64_t epoch;
	struct mm_feats *feats; /* metric.h; NULL: kl */
	json_t *args;		/* owned */
	void *own;		/* the command's, with its end */
	void (*own_free)(void *own);
	json_t *body;
	struct mm_buf data; /* bulk, when bulk is set */
	bool bulk;
	struct mm_err err;
	bool failed;
};

/* A question about the live members on the texts of args' "domain". The command sets answer and what else it needs,
 * then submits or frees. `any_number`: see no_pairs. */
struct mm_inquiry *mm_inquiry_new(struct mm_daemon *d, const json_t *args, const struct mm_reply *reply,
	bool any_number, struct mm_err *err) MM_MUST_CHECK;
/* The same about one of them, `who` (0: nobody), which must have what args' "metric" needs. */
struct mm_inquiry *mm_inquiry_of(struct mm_daemon *d, const json_t *args, const struct mm_reply *reply, bool any_number,
	uint64_t who, struct mm_err *err) MM_MUST_CHECK;
void mm_inquiry_free(struct mm_inquiry *q);
/* Takes q. */
int mm_inquiry_submit(
	struct mm_daemon *d, struct mm_inquiry *q, struct mm_reply *reply, struct mm_err *err) MM_MUST_CHECK;
json_t *mm_inquiry_bits(const struct mm_inquiry *q, double two_kl); /* KL in bits per byte */
/* Adds what a value of the triangle says: kl_bits_per_byte, or distance and unit. */
void mm_inquiry_put(const struct mm_inquiry *q, json_t *o, double tri);
/* Families, as mm_kin_tree sees them: kin[k]. */
int mm_inquiry_kin(const struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_kin *kin,
	struct mm_err *err) MM_MUST_CHECK;

/* args' "domain": its number, or SIZE_MAX when there is none; a domain whose texts hold no distance is an error. */
int mm_domain_arg(const struct mm_daemon *d, const json_t *args, size_t *domain, struct mm_err *err) MM_MUST_CHECK;
double mm_domain_bytes(const struct mm_daemon *d, size_t domain); /* mean bytes of its texts */

#endif
