/* tok_merge.c - byte pair merging: the table of pairs, and the loop that joins the pair of lowest rank, leftmost on
 * ties, until no pair of the table is left.
 *
 * Short words (nearly all) keep the rank of every neighbouring pair in an array and look for the smallest: quadratic,
 * but in registers and one cache line. Long ones (a text without spaces can be one word of megabytes) use a binary heap
 * of (rank, position) over a doubly linked list: n log n. Entries that a merge has made stale stay in the heap; they
 * are known by the token that they would make, as in the reference.
 */
#include "model/tok_priv.h"

#include <string.h>

#define SHORT 48 /* symbols */

int tok_merges_init(struct tok_merges *m, size_t expect, struct mm_err *err)
{
	m->n = 0;
	m->seed = tok_seed();
	for (m->n_slot = 1024; m->n_slot / 2 < expect && m->n_slot < (size_t)1 << 30; m->n_slot *= 2)
		;
	m->slot = mm_calloc(m->n_slot, sizeof(*m->slot), err);
	if (!m->slot)
		return -1;
	for (size_t i = 0; i < m->n_slot; i++)
		m->slot[i].pair = UINT64_MAX;
	return 0;
}

void tok_merges_fini(struct tok_merges *m)
{
	mm_free(m->slot);
	memset(m, 0, sizeof(*m));
}

static struct tok_merge *place(struct tok_merge *slot, size_t n_slot, uint64_t seed, uint64_t pair)
{
	uint64_t h = (pair ^ seed) * 0x9e3779b97f4a7c15u; /* as in tok_merges_get */
	size_t i = (size_t)(h ^ h >> 32) & (n_slot - 1);
	while (slot[i].pair != pair && slot[i].pair != UINT64_MAX)
		i = (i + 1) & (n_slot - 1);
	return &slot[i];
}

static int widen(struct tok_merges *m, struct mm_err *err)
{
	struct tok_merges old = *m;
	if (tok_merges_init(m, old.n + 1, err)) {
		*m = old;
		return -1;
	}
	m->seed = old.seed;
	m->n = old.n;
	for (size_t i = 0; i < old.n_slot; i++)
		if (old.slot[i].pair != UINT64_MAX)
			*place(m->slot, m->n_slot, m->seed, old.slot[i].pair) = old.slot[i];
	mm_free(old.slot);
	return 0;
}

/* A pair that is there already gets the new rank: the last one of a file counts. */
int tok_merges_put(struct tok_merges *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t id, struct mm_err *err)
{
	uint64_t pair = (uint64_t)left << 32 | right;
	struct tok_merge *s;
	if (m->n >= m->n_slot / 2 && widen(m, err))
		return -1;
	s = place(m->slot, m->n_slot, m->seed, pair);
	if (s->pair == UINT64_MAX)
		m->n++;
	*s = (struct tok_merge){ pair, rank, id };
	return 0;
}

/* Rank and result of the pair (left, right); no pair: the highest rank. */
static inline void look(
	const struct tok_merges *m, const uint32_t *sym, unsigned left, unsigned right, uint32_t *rank, uint32_t *made)
{
	const struct tok_merge *p = tok_merges_get(m, sym[left], sym[right]);
	rank[left] = p ? p->rank : UINT32_MAX;
	made[left] = p ? p->id : 0;
}

static size_t run_short(const struct tok_merges *m, uint32_t *sym, unsigned n)
{
	uint32_t rank[SHORT], made[SHORT]; /* of the pair that begins here */
	uint8_t next[SHORT], prev[SHORT];
	unsigned out = 0;
	for (unsigned i = 0; i + 1 < n; i++)
		look(m, sym, i, i + 1, rank, made);
	for (unsigned i = 0; i < n; i++) {
		next[i] = (uint8_t)(i + 1);
		prev[i] = (uint8_t)(i - 1);
	}
	for (;;) {
		unsigned best = 0, right, behind;
		uint32_t low = UINT32_MAX;
		for (unsigned i = 0; i + 1 < n; i++)
			if (rank[i] < low) {
				low = rank[i];
				best = i;
			}
		if (low == UINT32_MAX)
			break;
		right = next[best];
		behind = next[right];
		sym[best] = made[best];
		next[best] = (uint8_t)behind;
		rank[best] = UINT32_MAX;
		if (right + 1 < n)
			rank[right] = UINT32_MAX;
		if (behind < n) {
			prev[behind] = (uint8_t)best;
			look(m, sym, best, behind, rank, made);
		}
		if (best)
			look(m, sym, prev[best], best, rank, made);
	}
	for (unsigned i = 0; i < n; i = next[i])
		sym[out++] = sym[i];
	return out;
}

/* ---- long words ---- */

struct heap {
	struct tok_heap_entry *e;
	size_t n;
};

static void sift_down(struct heap *h, size_t i)
{
	struct tok_heap_entry x = h->e[i];
	for (;;) {
		size_t c = 2 * i + 1;
		if (c >= h->n)
			break;
		if (c + 1 < h->n && h->e[c + 1].key < h->e[c].key)
			c++;
		if (h->e[c].key >= x.key)
			break;
		h->e[i] = h->e[c];
		i = c;
	}
	h->e[i] = x;
}

static struct tok_heap_entry pop(struct heap *h)
{
	struct tok_heap_entry top = h->e[0];
	h->e[0] = h->e[--h->n];
	if (h->n)
		sift_down(h, 0);
	return top;
}

static void note(const struct tok_merges *m, struct tok_ctx *c, const struct tok_merge *p)
{
	if (m->watch && m->watch[p->id] == TOK_SPM_UNUSED) {
		c->unused[2 * p->id] = (uint32_t)(p->pair >> 32);
		c->unused[2 * p->id + 1] = (uint32_t)p->pair;
	}
}

/* Room was made for all pushes: a merge takes one symbol away and adds at most two entries. */
static void push(
	struct heap *h, const struct tok_merges *m, struct tok_ctx *c, uint32_t left, uint32_t right, size_t pos)
{
	const struct tok_merge *p = tok_merges_get(m, left, right);
	struct tok_heap_entry x;
	size_t i = h->n;
	if (!p)
		return;
	note(m, c, p);
	x = (struct tok_heap_entry){ (uint64_t)p->rank << 32 | pos, p->id };
	h->n++;
	while (i && h->e[(i - 1) / 2].key > x.key) {
		h->e[i] = h->e[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	h->e[i] = x;
}

#define END  UINT32_MAX
#define DEAD UINT32_MAX

static size_t run_long(const struct tok_merges *m, struct tok_ctx *c, uint32_t *sym, size_t n)
{
	uint32_t *prev, *next;
	struct heap h = { NULL, 0 };
	size_t out = 0;
	if (mm_grow(&c->link, &c->link_cap, 2 * n, sizeof(*c->link), c->err) ||
		mm_grow(&c->heap, &c->heap_cap, 3 * n, sizeof(*c->heap), c->err))
		return SIZE_MAX;
	prev = c->link;
	next = c->link + n;
	h.e = c->heap;
	for (size_t i = 0; i < n; i++) {
		const struct tok_merge *p = i + 1 < n ? tok_merges_get(m, sym[i], sym[i + 1]) : NULL;
		prev[i] = i ? (uint32_t)i - 1 : END;
		next[i] = i + 1 < n ? (uint32_t)i + 1 : END;
		if (p) {
			note(m, c, p);
			h.e[h.n++] = (struct tok_heap_entry){ (uint64_t)p->rank << 32 | i, p->id };
		}
	}
	for (size_t i = h.n / 2; i-- > 0;)
		sift_down(&h, i);
	while (h.n) {
		struct tok_heap_entry top = pop(&h);
		uint32_t pos = (uint32_t)top.key, right;
		const struct tok_merge *p;
		if (sym[pos] == DEAD || next[pos] == END)
			continue;
		right = next[pos];
		p = tok_merges_get(m, sym[pos], sym[right]);
		if (!p || p->id != top.id)
			continue; /* stale */
		sym[pos] = top.id;
		sym[right] = DEAD;
		next[pos] = next[right];
		if (next[pos] != END)
			prev[next[pos]] = pos;
		if (prev[pos] != END)
			push(&h, m, c, sym[prev[pos]], sym[pos], prev[pos]);
		if (next[pos] != END)
			push(&h, m, c, sym[pos], sym[next[pos]], pos);
	}
	for (size_t i = 0; i < n; i++)
		if (sym[i] != DEAD)
			sym[out++] = sym[i];
	return out;
}

size_t tok_merge_run(const struct tok_merges *m, struct tok_ctx *c, uint32_t *sym, size_t n)
{
	if (n < 2)
		return n;
	return n <= SHORT && !m->watch ? run_short(m, sym, (unsigned)n) : run_long(m, c, sym, n);
}
