/* reg_index.c - u64 key -> pointers, several per key: open addressing with linear probing, load at most one half, sizes
 * powers of two. Deleted places keep a mark until the table grows or is made anew. Loop thread only. */
#include "daemon/core_priv.h"

struct mm_index_slot {
	uint64_t key;
	void *val; /* NULL: never used; DEAD: deleted */
};

static char dead_mark;
#define DEAD ((void *)&dead_mark)

static size_t place(const struct mm_index *ix, uint64_t key)
{
	return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (ix->cap - 1);
}

static void insert(struct mm_index *ix, uint64_t key, void *val)
{
	size_t i = place(ix, key);
	while (ix->slot[i].val)
		i = (i + 1) & (ix->cap - 1);
	ix->slot[i] = (struct mm_index_slot){ key, val };
}

static int remake(struct mm_index *ix, size_t cap, struct mm_err *err)
{
	struct mm_index old = *ix;
	struct mm_index_slot *slot = mm_calloc(cap, sizeof *slot, err);
	if (!slot)
		return -1;
	ix->slot = slot;
	ix->cap = cap;
	ix->n_dead = 0;
	for (size_t i = 0; i < old.cap; i++)
		if (old.slot[i].val && old.slot[i].val != DEAD)
			insert(ix, old.slot[i].key, old.slot[i].val);
	mm_free(old.slot);
	return 0;
}

int mm_index_put(struct mm_index *ix, uint64_t key, void *val, struct mm_err *err)
{
	size_t cap = 64;
	while (cap < (ix->n + 1) * 4)
		cap *= 2;
	if ((ix->n + ix->n_dead + 1) * 2 > ix->cap && remake(ix, cap, err))
		return -1;
	insert(ix, key, val);
	ix->n++;
	return 0;
}

void mm_index_del(struct mm_index *ix, uint64_t key, const void *val)
{
	if (!ix->cap)
		return;
	for (size_t i = place(ix, key); ix->slot[i].val; i = (i + 1) & (ix->cap - 1))
		if (ix->slot[i].key == key && ix->slot[i].val == val) {
			ix->slot[i].val = DEAD;
			ix->n--;
			ix->n_dead++;
			return;
		}
}

void *mm_index_next(const struct mm_index *ix, uint64_t key, size_t *at)
{
	/* *at counts the steps from the key's place, so that it starts at 0 for every key. */
	for (; *at < ix->cap; (*at)++) {
		const struct mm_index_slot *s = &ix->slot[(place(ix, key) + *at) & (ix->cap - 1)];
		if (!s->val)
			return NULL;
		if (s->key == key && s->val != DEAD) {
			(*at)++;
			return s->val;
		}
	}
	return NULL;
}

void mm_index_fini(struct mm_index *ix)
{
	mm_free(ix->slot);
	*ix = (struct mm_index){ 0 };
}
