/* mem.c - allocation with checked sizes, and an arena.
 *
 * Every allocation of the project comes through here, so that a test can make the n-th one fail and see that
 * the caller cleans up (tests/oom). The counters are atomic: compute threads allocate too.
 */
#include "base/base.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_long count;
static atomic_long fail_from; /* 0: never */

void mm_mem_fail_after(long n)
{
	atomic_store(&count, 0);
	atomic_store(&fail_from, n);
}

long mm_mem_count(void)
{
	return atomic_load(&count);
}

static bool allowed(void)
{
	long c = atomic_fetch_add(&count, 1) + 1, from = atomic_load(&fail_from);
	return !from || c < from;
}

bool mm_mul(size_t a, size_t b, size_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

bool mm_add(size_t a, size_t b, size_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

static void no_memory(struct mm_err *err, size_t n, size_t size)
{
	mm_fail(err, MM_ENOMEM, "out of memory for %zu x %zu bytes", n, size);
}

#define ALIGN	   64u
#define ALIGN_FROM 4096u

void *mm_calloc(size_t n, size_t size, struct mm_err *err)
{
	size_t bytes, padded;
	void *p = NULL;
	if (!mm_mul(n, size, &bytes) || !mm_add(bytes, ALIGN, &padded) || !allowed()) {
		no_memory(err, n, size);
		return NULL;
	}
	if (bytes < ALIGN_FROM)
		p = calloc(1, bytes ? bytes : 1);
	else if (!posix_memalign(&p, ALIGN, bytes))
		memset(p, 0, bytes);
	else
		p = NULL;
	if (!p)
		no_memory(err, n, size);
	return p;
}

void *mm_realloc(void *old, size_t n, size_t size, struct mm_err *err)
{
	size_t bytes;
	void *p = NULL;
	if (mm_mul(n, size, &bytes) && allowed())
		p = realloc(old, bytes ? bytes : 1);
	if (!p)
		no_memory(err, n, size);
	return p;
}

char *mm_strndup(const char *s, size_t n, struct mm_err *err)
{
	char *p = mm_calloc(n + 1, 1, err);
	if (p)
		memcpy(p, s, n);
	return p;
}

char *mm_strdup(const char *s, struct mm_err *err)
{
	return mm_strndup(s, strlen(s), err);
}

char *mm_asprintf(struct mm_err *err, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	char *p = n < 0 ? NULL : mm_calloc((size_t)n + 1, 1, err);
	if (p)
		vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return p;
}

void mm_free(void *p)
{
	free(p);
}

int mm_grow(void *pp, size_t *cap, size_t need, size_t size, struct mm_err *err)
{
	void *old, *p;
	if (need <= *cap)
		return 0;
	size_t n = MM_MAX(*cap + *cap / 2, MM_MAX(need, (size_t)16));
	memcpy(&old, pp, sizeof old); /* pp is a T ** of any T */
	if (!(p = mm_realloc(old, n, size, err)))
		return -1;
	memcpy(pp, &p, sizeof p);
	*cap = n;
	return 0;
}

struct block {
	struct block *next;
	size_t size, used;
	uint8_t *data; /* 64-byte aligned */
};

struct mm_arena {
	struct block *first, *last;
	size_t block;
};

struct mm_arena *mm_arena_new(size_t block, struct mm_err *err)
{
	struct mm_arena *a = mm_calloc(1, sizeof *a, err);
	if (a)
		a->block = MM_MAX(block, (size_t)ALIGN_FROM);
	return a;
}

void *mm_arena_get(struct mm_arena *a, size_t n, size_t size, struct mm_err *err)
{
	size_t bytes;
	if (!mm_mul(n, size, &bytes) || !mm_add(bytes, ALIGN - 1, &bytes)) {
		no_memory(err, n, size);
		return NULL;
	}
	bytes &= ~(size_t)(ALIGN - 1);
	/* After a reset the blocks behind `last` are empty and wait to be used again. */
	struct block *b = a->last;
	while (b && b->size - b->used < bytes)
		b = b->next;
	if (!b) {
		b = mm_calloc(1, sizeof *b, err);
		if (!b)
			return NULL;
		b->size = MM_MAX(a->block, bytes);
		b->data = mm_calloc(MM_MAX(b->size, (size_t)ALIGN_FROM), 1, err);
		if (!b->data) {
			mm_free(b);
			return NULL;
		}
		if (!a->first) {
			a->first = b;
		} else {
			struct block *tail = a->last;
			while (tail->next)
				tail = tail->next;
			tail->next = b;
		}
	}
	a->last = b;
	void *p = b->data + b->used;
	b->used += bytes;
	memset(p, 0, bytes);
	return p;
}

void mm_arena_reset(struct mm_arena *a)
{
	for (struct block *b = a->first; b; b = b->next)
		b->used = 0;
	a->last = a->first;
}

void mm_arena_free(struct mm_arena *a)
{
	if (!a)
		return;
	for (struct block *b = a->first, *next; b; b = next) {
		next = b->next;
		mm_free(b->data);
		mm_free(b);
	}
	mm_free(a);
}
