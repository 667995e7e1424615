/* watch.h - between cmd_watch.c (which events) and watch_view.c (how they look). */
#ifndef MM_CLIENT_WATCH_H
#define MM_CLIENT_WATCH_H

#include "client/client.h"

struct mm_watch_job { /* a running one */
	int64_t id;
	char model[256];	    /* cleaned */
	double progress, eta, rate; /* share, seconds, tokens/s; < 0: not told */
};

struct mm_watch {
	struct mm_cli *cli;
	char boot[64], endpoint[256];
	int64_t seq;			   /* of the last event seen */
	double heard, changed, idle_since; /* monotonic; 0: never */
	int64_t left;
	bool polling, away;
	struct mm_watch_job job[16];
	size_t n_job;
	bool dirty;  /* the live part is not as it should be */
	int painted; /* lines of the live part on the screen */
};

/* One event: a line (or its JSON), and the bars. */
int mm_watch_show(
	struct mm_watch *w, const json_t *event, const struct mm_event_head *h, struct mm_err *err) MM_MUST_CHECK;
void mm_watch_jobs(struct mm_watch *w, const json_t *jobs); /* the running ones of a list of jobs */
void mm_watch_note(struct mm_watch *w, const char *text);   /* a remark of our own */
void mm_watch_paint(struct mm_watch *w);		    /* the bars, on a terminal */
void mm_watch_end(struct mm_watch *w);			    /* leaves the screen clean */

#endif
