/* slices.h - answers with a list that may be long: written piece by piece, between other queries. */
#ifndef MM_SLICES_H
#define MM_SLICES_H

#include "daemon/daemon.h"

struct mm_long_list {
	const char *key; /* of the list in the answer */
	/* Sets *item (NULL: passed over) and moves *at, which starts at 0; false: the end. */
	bool (*next)(struct mm_daemon *d, const struct mm_long_list *l, size_t *at, json_t **item);
	/* The rest of the answer, made last; NULL: no memory. */
	json_t *(*head)(struct mm_daemon *d, const struct mm_long_list *l);
	uint64_t (*stamp)(const struct mm_daemon *d); /* changes when places in the list change */
	int method;				      /* the caller's */
};
/* Fills reply, or makes it deferred when `about` says that the list is long. */
int mm_slices_answer(struct mm_daemon *d, const struct mm_long_list *list, size_t about, struct mm_reply *reply,
	struct mm_err *err) MM_MUST_CHECK;

#endif
