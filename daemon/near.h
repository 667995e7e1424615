/* near.h - what `near` asks of a neighbour besides being near, for every metric; cmd_near.c. */
#ifndef MM_NEAR_H
#define MM_NEAR_H

#include "daemon/daemon.h"

/* What the files do not say (0 parameters) is not known to be small. */
struct mm_near_filter {
	const char *family, *dtype;
	double max_params, max_bytes;
	bool smaller;
	size_t want;
};
int mm_near_filter_of(const json_t *args, struct mm_near_filter *f, struct mm_err *err) MM_MUST_CHECK;
/* Of the model `of`'s neighbours, does r pass? */
bool mm_near_passes(const struct mm_near_filter *f, const struct mm_model_rec *r, const struct mm_model_rec *of);
bool mm_near_any(const struct mm_near_filter *f); /* is there a condition at all? */
/* Adds family, dtype, params, bytes, modified, gone. */
void mm_near_describe(json_t *o, const struct mm_model_rec *r);

#endif
