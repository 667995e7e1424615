/* top.h - between cmd_top.c (what there is, keys, the terminal) and top_view.c (a frame of it). */
#ifndef MM_CLIENT_TOP_H
#define MM_CLIENT_TOP_H

#include "client/client.h"

#define MM_TOP_ARRIVALS 200

struct mm_top {
	struct mm_cli *cli;
	json_t *status, *jobs, *alerts; /* of the last answers; NULL: none yet */
	json_t *arrivals;		/* models, the one scored last first; at most MM_TOP_ARRIVALS */
	char boot[64], error[1000];	/* error: why there is nothing newer */
	int64_t seq;
	int scroll; /* jobs that are above the first line */
	bool paused, help;
};

/* At most `height` lines of at most `width` columns; `eol` stands between them. */
void mm_top_frame(struct mm_top *t, const struct mm_term *term, int width, int height, const char *eol, int64_t now,
	struct mm_buf *out);

#endif
