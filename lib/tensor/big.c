/* big.c - large buffers: aligned, not cleared, on huge pages, and kept for reuse while that is wanted.
 *
 * Fresh memory costs a page fault and the clearing of every page, on virtual machines about a second a gigabyte. Where
 * layers come and go (layer streaming) or batches follow each other, the same sizes are asked for again and again: up
 * to `limit` bytes stay in a small pool. In front of a buffer stands struct head.
 *
 * Any thread may call; one lock. */
#include "tensor/tensor.h"

#include <pthread.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define ALIGN	  ((size_t)4096)
#define POOL	  128

struct head {
	void *raw;
	size_t cap;
};

static struct {
	pthread_mutex_t lock;
	void *p[POOL];
	size_t n, bytes, limit;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct head *head_of(void *p)
{
	return (struct head *)p - 1;
}

/* The smallest kept buffer that holds n and wastes little. */
static void *take(size_t n)
{
	size_t best = POOL;
	void *p = NULL;
	pthread_mutex_lock(&pool.lock);
	for (size_t i = 0; i < pool.n; i++) {
		size_t cap = head_of(pool.p[i])->cap;
		if (cap >= n && cap - n <= n / 8 && (best == POOL || cap < head_of(pool.p[best])->cap))
			best = i;
	}
	if (best < POOL) {
		p = pool.p[best];
		pool.bytes -= head_of(p)->cap;
		pool.p[best] = pool.p[--pool.n];
	}
	pthread_mutex_unlock(&pool.lock);
	return p;
}

void *mm_big_alloc(size_t n, struct mm_err *err)
{
	size_t cap = MM_MAX(n, (size_t)4096), align = n >= 2 * HUGE_PAGE ? HUGE_PAGE : ALIGN, all;
	void *p = take(n);
	if (p)
		return p;
	if (!mm_add(cap, align + sizeof(struct head), &all)) {
		mm_fail(err, MM_ENOMEM, "a buffer of %zu bytes", n);
		return NULL;
	}
	char *raw = mm_realloc(NULL, all, 1, err);
	if (!raw)
		return NULL;
	uintptr_t at = ((uintptr_t)raw + sizeof(struct head) + align - 1) / align * align;
	p = raw + (at - (uintptr_t)raw);
	if (align == HUGE_PAGE)
		(void)!madvise(p, cap / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* small pages do as well */
	*head_of(p) = (struct head){ raw, cap };
	return p;
}

void mm_big_free(void *p)
{
	bool kept = false;
	if (!p)
		return;
	size_t cap = head_of(p)->cap;
	pthread_mutex_lock(&pool.lock);
	if (pool.n < POOL && cap <= pool.limit && pool.bytes <= pool.limit - cap) {
		pool.p[pool.n++] = p;
		pool.bytes += cap;
		kept = true;
	}
	pthread_mutex_unlock(&pool.lock);
	if (!kept)
		mm_free(head_of(p)->raw);
}

void mm_big_keep(size_t bytes)
{
	pthread_mutex_lock(&pool.lock);
	pool.limit = bytes;
	while (pool.n && pool.bytes > bytes) {
		void *p = pool.p[--pool.n];
		pool.bytes -= head_of(p)->cap;
		mm_free(head_of(p)->raw);
	}
	pthread_mutex_unlock(&pool.lock);
}
