/* ctl_bulk.c - replies that are fetched in pieces: the client pulls, so that a slow one holds up nobody and nothing is
 * queued for it but the piece it asked for.
 *
 * A handle is a random number, belongs to one client (its ROUTER identity), and ends 60 s after its last use, 2 s after
 * its last byte was read, or when its client has gone. Number and memory are bounded; what was read to its end makes
 * room first.
 */
#include "daemon/ctl_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_HANDLES   64
#define MAX_OF_CLIENT 8
#define MAX_MEMORY    (UINT64_C(512) << 20) /* bytes of data in memory; files do not count */
#define IDLE_S	      60.0
#define IDLE_READ_S   2.0
#define SWEEP_USEC    UINT64_C(1000000)
#define HANDLE_MASK   ((INT64_C(1) << 53) - 1) /* exact in every JSON reader */

struct item {
	int64_t handle; /* 0: free */
	uint8_t *who;
	size_t n_who;
	struct mm_buf data;
	int fd; /* -1: data */
	uint64_t size;
	double used;   /* monotonic */
	bool read_all; /* its last byte has been handed out */
};

struct mm_bulk {
	struct item item[MAX_HANDLES];
	sd_event_source *timer; /* on while there are handles */
	double idle;
};

static void item_end(struct item *it)
{
	if (!it->handle)
		return;
	mm_free(it->who);
	mm_buf_fini(&it->data);
	if (it->fd >= 0)
		close(it->fd);
	*it = (struct item){ .fd = -1 };
}

static bool belongs(const struct item *it, const void *who, size_t n)
{
	return it->handle && it->n_who == n && !memcmp(it->who, who, n);
}

static int on_sweep(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct mm_bulk *b = ctx;
	double now = mm_monotonic();
	(void)usec;
	for (size_t i = 0; i < MAX_HANDLES; i++) {
		struct item *it = &b->item[i];
		if (it->handle && now - it->used >= (it->read_all ? MM_MIN(IDLE_READ_S, b->idle) : b->idle))
			item_end(it);
	}
	if (!mm_bulk_count(b))
		return 0;
	sd_event_source_set_time_relative(s, SWEEP_USEC);
	sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

struct mm_bulk *mm_bulk_new(sd_event *loop, struct mm_err *err)
{
	struct mm_bulk *b = mm_calloc(1, sizeof *b, err);
	if (!b)
		return NULL;
	b->idle = IDLE_S;
	for (size_t i = 0; i < MAX_HANDLES; i++)
		b->item[i].fd = -1;
	int r = sd_event_add_time_relative(loop, &b->timer, CLOCK_MONOTONIC, SWEEP_USEC, 0, on_sweep, b);
	if (r < 0) {
		errno = -r;
		mm_fail_errno(err, "cannot make a timer");
		mm_free(b);
		return NULL;
	}
	return b;
}

void mm_bulk_free(struct mm_bulk *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < MAX_HANDLES; i++)
		item_end(&b->item[i]);
	sd_event_source_disable_unref(b->timer);
	mm_free(b);
}

size_t mm_bulk_count(const struct mm_bulk *b)
{
	size_t n = 0;
	for (size_t i = 0; i < MAX_HANDLES; i++)
		n += b->item[i].handle != 0;
	return n;
}

void mm_bulk_set_idle(struct mm_bulk *b, double seconds)
{
	b->idle = seconds;
}

static struct item *find(struct mm_bulk *b, int64_t handle)
{
	for (size_t i = 0; i < MAX_HANDLES; i++)
		if (b->item[i].handle && b->item[i].handle == handle)
			return &b->item[i];
	return NULL;
}

/* A free place within all bounds, or NULL. */
static struct item *place(struct mm_bulk *b, const void *who, size_t n_who, uint64_t memory)
{
	struct item *free_one = NULL;
	uint64_t held = memory;
	size_t own = 0;
	for (size_t i = 0; i < MAX_HANDLES; i++) {
		struct item *it = &b->item[i];
		if (!it->handle)
			free_one = it;
		own += belongs(it, who, n_who);
		held += it->data.cap;
	}
	return own < MAX_OF_CLIENT && held <= MAX_MEMORY ? free_one : NULL;
}

static struct item *make_room(struct mm_bulk *b, const void *who, size_t n_who, uint64_t memory)
{
	struct item *it = place(b, who, n_who, memory);
	for (size_t i = 0; !it && i < MAX_HANDLES; i++)
		if (b->item[i].read_all) {
			item_end(&b->item[i]);
			it = place(b, who, n_who, memory);
		}
	return it;
}

static int new_handle(struct mm_bulk *b, int64_t *handle, struct mm_err *err)
{
	do {
		if (getrandom(handle, sizeof *handle, 0) != (ssize_t)sizeof *handle)
			return mm_fail_errno(err, "cannot get random numbers");
		*handle &= HANDLE_MASK;
	} while (!*handle || find(b, *handle));
	return 0;
}

int mm_bulk_add(struct mm_bulk *b, const void *who, size_t n_who, struct mm_reply *r, int64_t *handle, uint64_t *bytes,
	struct mm_err *err)
{
	struct stat st;
	uint64_t size = r->data.len;
	if (mm_buf_check(&r->data, err))
		return -1;
	if (r->fd >= 0) {
		if (fstat(r->fd, &st))
			return mm_fail_errno(err, "cannot look at a bulk reply's file");
		size = (uint64_t)st.st_size;
	}
	struct item *it = make_room(b, who, n_who, r->data.cap);
	if (!it)
		return mm_fail(err, MM_EBUSY, "too many bulk replies are waiting to be fetched; try again in a minute");
	uint8_t *copy = mm_calloc(n_who, 1, err);
	if (!copy || new_handle(b, handle, err)) {
		mm_free(copy);
		return -1;
	}
	memcpy(copy, who, n_who);
	*it = (struct item){ .handle = *handle,
		.who = copy,
		.n_who = n_who,
		.data = r->data,
		.fd = r->fd,
		.size = size,
		.used = mm_monotonic() };
	r->data = (struct mm_buf){ 0 };
	r->fd = -1;
	*bytes = size;
	sd_event_source_set_time_relative(b->timer, SWEEP_USEC);
	sd_event_source_set_enabled(b->timer, SD_EVENT_ONESHOT);
	return 0;
}

static int read_at(int fd, uint8_t *out, size_t n, uint64_t off, struct mm_err *err)
{
	while (n) {
		ssize_t got = pread(fd, out, n, (off_t)off);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? mm_fail_errno(err, "cannot read a bulk reply")
				   : mm_fail(err, MM_ETRUNC, "a bulk reply's file has become shorter");
		out += got;
		off += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

int mm_bulk_read(struct mm_bulk *b, const void *who, size_t n_who, int64_t handle, uint64_t offset, void *out,
	size_t *n, struct mm_err *err)
{
	struct item *it = find(b, handle);
	if (!it || !belongs(it, who, n_who))
		return mm_fail(err, MM_ENOENT, "no bulk reply %lld; it may have expired", (long long)handle);
	if (offset > it->size)
		return mm_fail(err, MM_EINVAL, "offset %llu is behind the end at %llu", (unsigned long long)offset,
			(unsigned long long)it->size);
	*n = (size_t)MM_MIN(it->size - offset, (uint64_t)MM_CHUNK_MAX);
	if (it->fd < 0 && *n)
		memcpy(out, it->data.data + offset, *n);
	else if (it->fd >= 0 && read_at(it->fd, out, *n, offset, err))
		return -1;
	it->used = mm_monotonic();
	it->read_all = it->read_all || offset + *n == it->size;
	return 0;
}

void mm_bulk_forget(struct mm_bulk *b, const void *who, size_t n_who)
{
	for (size_t i = 0; i < MAX_HANDLES; i++)
		if (belongs(&b->item[i], who, n_who))
			item_end(&b->item[i]);
}
