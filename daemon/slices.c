/* slices.c - answers with a long list: made piece by piece in the loop's idle moments, so that no other query waits.
 *
 * A map of ten thousand models takes tens of milliseconds to write down. Short lists are written at once; a long one
 * becomes a source of lower priority than the sockets that works for SLICE_S and gives the turn back. What is walked
 * through may change in between: `stamp` tells, and the walk begins anew. */
#include "daemon/slices.h"

#include <errno.h>
#include <string.h>

#define SLICE_S	     0.0005
#define LIST_AT_ONCE 300
#define BEGIN_MAX    5 /* a list that never stands still is given as it is */

struct mm_slices {
	struct mm_long_list list;
	struct mm_daemon *d;
	uint64_t token, stamp;
	unsigned n_begin;
	size_t at, n;
	struct mm_buf text;
	sd_event_source *source;
	struct mm_slices *next;
};

static void begin(struct mm_slices *s)
{
	s->at = s->n = 0;
	s->text.len = 0;
	s->stamp = s->list.stamp(s->d);
	s->n_begin++;
}

/* false: the end. */
static bool one(struct mm_slices *s, struct mm_err *err)
{
	json_t *item = NULL;
	if (!s->list.next(s->d, &s->list, &s->at, &item))
		return false;
	char *text = item ? mm_json_dump(item, err) : NULL;
	json_decref(item);
	if (text) {
		if (s->n++)
			mm_buf_u8(&s->text, ',');
		mm_buf_str(&s->text, text);
	}
	mm_free(text);
	return true;
}

static void slices_free(struct mm_slices *s)
{
	for (struct mm_slices **p = &s->d->slices; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	sd_event_source_disable_unref(s->source);
	mm_buf_fini(&s->text);
	mm_free(s);
}

static void finish(struct mm_slices *s)
{
	struct mm_err err = { 0 };
	struct mm_reply reply = { .fd = -1, .list_key = s->list.key };
	reply.body = s->list.head(s->d, &s->list);
	reply.list = s->text;
	s->text = (struct mm_buf){ 0 };
	bool whole = reply.body && !reply.list.failed;
	if (!whole)
		mm_fail(&err, MM_ENOMEM, "out of memory for the answer");
	mm_ctl_finish(s->d, s->token, &reply, whole ? NULL : &err);
	slices_free(s);
}

static int on_turn(sd_event_source *source, void *ctx)
{
	struct mm_slices *s = ctx;
	struct mm_err err;
	double until = mm_monotonic() + SLICE_S;
	(void)source;
	if (s->stamp != s->list.stamp(s->d) && s->n_begin < BEGIN_MAX)
		begin(s);
	do {
		for (unsigned i = 0; i < 8; i++)
			if (!one(s, &err)) {
				finish(s);
				return 0;
			}
	} while (mm_monotonic() < until);
	return 0;
}

static int at_once(struct mm_daemon *d, const struct mm_long_list *list, struct mm_reply *reply, struct mm_err *err)
{
	json_t *head = list->head(d, list), *items = json_array(), *item;
	size_t at = 0;
	for (item = NULL; items && list->next(d, list, &at, &item); item = NULL)
		if (item)
			json_array_append_new(items, item);
	if (!head || !items || json_object_set(head, list->key, items)) {
		json_decref(head);
		head = NULL;
	}
	json_decref(items);
	reply->body = head;
	return head ? 0 : mm_fail(err, MM_ENOMEM, "out of memory for the answer");
}

int mm_slices_answer(
	struct mm_daemon *d, const struct mm_long_list *list, size_t about, struct mm_reply *reply, struct mm_err *err)
{
	if (about <= LIST_AT_ONCE || !d->loop || !reply->token)
		return at_once(d, list, reply, err);
	struct mm_slices *s = mm_calloc(1, sizeof *s, err);
	if (!s)
		return -1;
	s->list = *list;
	s->d = d;
	s->token = reply->token;
	begin(s);
	int r = sd_event_add_defer(d->loop, &s->source, on_turn, s);
	if (r >= 0)
		r = sd_event_source_set_priority(s->source, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->source, SD_EVENT_ON);
	s->next = d->slices;
	d->slices = s;
	if (r < 0) {
		slices_free(s);
		errno = -r;
		return mm_fail_errno(err, "cannot make a long answer");
	}
	reply->deferred = true;
	return 0;
}

int mm_slices_start(struct mm_daemon *d, struct mm_err *err)
{
	(void)d, (void)err;
	return 0;
}

void mm_slices_stop(struct mm_daemon *d)
{
	while (d->slices)
		slices_free(d->slices);
}
