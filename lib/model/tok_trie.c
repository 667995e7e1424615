/* tok_trie.c - a trie over bytes in one open-addressing table: (node, byte) -> node, and a value for each node that
 * ends a key. Node 0 is the root. */
#include "model/tok_priv.h"

#include <string.h>

struct edge {
	uint64_t key; /* node << 8 | byte; UINT64_MAX: free */
	uint32_t to;
};

struct tok_trie {
	struct edge *edge;
	size_t n_slot, n_edge;
	uint32_t *value; /* [n_node], TOK_NONE: no key ends there */
	size_t n_node, cap;
	uint32_t root[256]; /* edges of the root: tried at every position */
	uint64_t seed;
};

static struct edge *place(const struct tok_trie *t, uint64_t key)
{
	uint64_t h = (key ^ t->seed) * 0x9e3779b97f4a7c15u;
	size_t i = (size_t)(h ^ h >> 32) & (t->n_slot - 1);
	while (t->edge[i].key != key && t->edge[i].key != UINT64_MAX)
		i = (i + 1) & (t->n_slot - 1);
	return &t->edge[i];
}

static int table(struct tok_trie *t, size_t n_slot, struct mm_err *err)
{
	struct edge *old = t->edge;
	size_t n_old = old ? t->n_slot : 0;
	struct edge *edge = mm_calloc(n_slot, sizeof(*edge), err);
	if (!edge)
		return -1;
	for (size_t i = 0; i < n_slot; i++)
		edge[i].key = UINT64_MAX;
	t->edge = edge;
	t->n_slot = n_slot;
	for (size_t i = 0; i < n_old; i++)
		if (old[i].key != UINT64_MAX)
			*place(t, old[i].key) = old[i];
	mm_free(old);
	return 0;
}

struct tok_trie *tok_trie_new(size_t expect, struct mm_err *err)
{
	struct tok_trie *t = mm_calloc(1, sizeof(*t), err);
	size_t n_slot = 1024;
	if (!t)
		return NULL;
	while (n_slot / 2 < expect && n_slot < (size_t)1 << 26)
		n_slot *= 2;
	t->seed = tok_seed();
	if (table(t, n_slot, err) || mm_grow(&t->value, &t->cap, 1, sizeof(*t->value), err)) {
		tok_trie_free(t);
		return NULL;
	}
	t->value[0] = TOK_NONE;
	t->n_node = 1;
	memset(t->root, 0xff, sizeof(t->root));
	return t;
}

void tok_trie_free(struct tok_trie *t)
{
	if (!t)
		return;
	mm_free(t->edge);
	mm_free(t->value);
	mm_free(t);
}

uint32_t tok_trie_step(const struct tok_trie *t, uint32_t node, uint8_t b)
{
	const struct edge *e;
	if (!node)
		return t->root[b];
	e = place(t, (uint64_t)node << 8 | b);
	return e->key == UINT64_MAX ? TOK_NONE : e->to;
}

uint32_t tok_trie_value(const struct tok_trie *t, uint32_t node)
{
	return t->value[node];
}

int tok_trie_put(struct tok_trie *t, struct tok_str key, uint32_t value, struct mm_err *err)
{
	uint32_t node = 0;
	for (size_t i = 0; i < key.n; i++) {
		uint32_t to = tok_trie_step(t, node, key.s[i]);
		if (to == TOK_NONE) {
			if (t->n_node >= TOK_ID_MAX)
				return mm_fail(err, MM_EFORMAT, "vocabulary of more than 2 GB");
			if ((t->n_edge >= t->n_slot / 2 && table(t, t->n_slot * 2, err)) ||
				mm_grow(&t->value, &t->cap, t->n_node + 1, sizeof(*t->value), err))
				return -1;
			to = (uint32_t)t->n_node++;
			t->value[to] = TOK_NONE;
			if (node) {
				uint64_t k = (uint64_t)node << 8 | key.s[i];
				*place(t, k) = (struct edge){ k, to };
				t->n_edge++;
			} else {
				t->root[key.s[i]] = to;
			}
		}
		node = to;
	}
	t->value[node] = value;
	return 0;
}
