/* scores.h - benchmark scores of models, in memory and in the store.
 *
 * Benchmarks are numbered 0 .. n - 1 in the order of their names; a number changes only when scores are imported or
 * dropped. Everything here belongs to the loop thread; a worker gets copies. Without the room (d->scores NULL) there
 * are no benchmarks. */
#ifndef MM_SCORES_H
#define MM_SCORES_H

#include "daemon/daemon.h"

size_t mm_scores_n_bench(const struct mm_daemon *d);
const char *mm_scores_bench(const struct mm_daemon *d, size_t b);    /* its name */
size_t mm_scores_find(const struct mm_daemon *d, const char *bench); /* SIZE_MAX: none of that name */
/* The same for what a user typed: the error says what there is. */
size_t mm_scores_find_arg(const struct mm_daemon *d, const char *bench, struct mm_err *err);
/* false: no score is known. */
bool mm_scores_get(const struct mm_daemon *d, const struct mm_model_entry *e, size_t b, double *out);

/* One result of an import. */
struct mm_scores_cell {
	uint64_t model;
	const char *bench;
	double value;
};
/* Adds results to what is known of the models, newer ones replacing older ones; all of them or, on failure, none. */
int mm_scores_put(struct mm_daemon *d, const struct mm_scores_cell *cell, size_t n, struct mm_err *err) MM_MUST_CHECK;
/* Forgets a benchmark. */
int mm_scores_drop(struct mm_daemon *d, size_t bench, struct mm_err *err) MM_MUST_CHECK;

/* An import on its way, piece by piece; one at a time, a new one takes the place of an unfinished one. */
struct mm_scores_stage {
	int64_t token; /* the client's; 0: none */
	struct mm_buf text;
};
struct mm_scores_stage *mm_scores_stage(struct mm_daemon *d);

#endif
