/* leak_size.c: how many bytes a text comes down to: a number without a compressor's framing, so that short texts can be
 * compared, and the same on every machine.
 *
 * A byte is coded by blending what followed the last three, two, one and no bytes before in the same text (prediction
 * by partial matching with escapes of method C): in a context of T bytes of K kinds a byte that came c times costs
 * log2((T + K) / c), a new one log2((T + K) / K) and is left to the shorter context; one that never came anywhere costs
 * 8 bits. Contexts are rows of a hash table that is a few times as large as the text; of very long texts the beginning
 * speaks for the rest. */
#include "stat/stat_leak.h"

#include <math.h>
#include <string.h>

#define ORDER	3
#define LOOK_AT 65536 /* bytes */

struct cell {	      /* how often a byte followed a context, or (next is TOTAL) how many did, and of how many kinds */
	uint64_t key; /* 0: free */
	uint32_t n, kinds;
};
#define TOTAL 256u

struct table {
	struct cell *cell;
	size_t mask;
};

static struct cell *find(const struct table *t, unsigned order, uint32_t context, uint32_t next)
{
	uint64_t key = (uint64_t)(order + 1) << 48 | (uint64_t)context << 16 | next;
	for (size_t at = (size_t)(key * 0x9e3779b97f4a7c15ull >> 20);; at++) {
		struct cell *c = &t->cell[at & t->mask];
		if (c->key == key || !c->key) {
			c->key = key;
			return c;
		}
	}
}

/* Bits for one byte; counts it in all its contexts. */
static double code(const struct table *t, const uint8_t *p, size_t i)
{
	double bits = 0;
	bool done = false;
	for (unsigned o = i < ORDER ? (unsigned)i : ORDER;; o--) {
		uint32_t context = 0;
		for (unsigned b = 1; b <= o; b++)
			context = context << 8 | p[i - b];
		struct cell *all = find(t, o, context, TOTAL), *c = find(t, o, context, p[i]);
		if (!done && all->n) {
			bits += log2((double)(all->n + all->kinds) / (double)(c->n ? c->n : all->kinds));
			done = c->n > 0;
		}
		all->n++;
		all->kinds += !c->n;
		c->n++;
		if (!o)
			break;
	}
	return bits + (done ? 0 : 8);
}

double mm_leak_size(const void *text, size_t len, struct mm_err *err)
{
	struct table t = { .mask = 1023 };
	size_t n = MM_MIN(len, (size_t)LOOK_AT);
	while (t.mask < 2 * 2 * (ORDER + 1) * n)
		t.mask = 2 * t.mask + 1;
	t.cell = mm_calloc(t.mask + 1, sizeof(*t.cell), err);
	if (!t.cell)
		return -1;
	double bits = 0;
	for (size_t i = 0; i < n; i++)
		bits += code(&t, text, i);
	mm_free(t.cell);
	return fmax(bits / 8 * (double)len / (double)MM_MAX(n, (size_t)1), 1);
}
