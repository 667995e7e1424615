/* tok_ctx.c - what one call of mm_tok_encode writes to, and the word cache.
 *
 * Contexts are kept in a free list of the tokenizer: as many as ever were in use at one time, each with its buffers and
 * its word cache. A call takes one, so a cache belongs to one thread at a time and needs no lock.
 *
 * The word cache is direct-mapped, one line of 64 bytes a slot: pieces of up to 22 bytes with up to 10 ids, compared in
 * full. It is bounded and never grows; a collision throws the older word out.
 */
#include "model/tok_priv.h"

#include <string.h>

_Static_assert(sizeof(struct tok_word) == 64, "one cache line");

int tok_ids_room(struct mm_ids *ids, size_t n, struct mm_err *err)
{
	return mm_grow(&ids->id, &ids->cap, ids->n + n, sizeof(*ids->id), err);
}

static struct tok_ctx *ctx_new(const struct mm_tok *tok, struct mm_err *err)
{
	struct tok_ctx *c = mm_calloc(1, sizeof(*c), err);
	if (!c)
		return NULL;
	c->n_step = tok->pres.n;
	c->step = mm_calloc(c->n_step, sizeof(*c->step), err);
	c->cache = mm_calloc(TOK_CACHE_SLOTS, sizeof(*c->cache), err);
	if (!c->step || !c->cache) {
		tok_ctx_free(c);
		return NULL;
	}
	c->seed = tok_seed();
	return c;
}

struct tok_ctx *tok_ctx_take(const struct mm_tok *tok, struct mm_err *err)
{
	struct tok_ctx *c;
	pthread_mutex_lock(tok->lock);
	c = *tok->free_ctx;
	if (c)
		*tok->free_ctx = c->next;
	pthread_mutex_unlock(tok->lock);
	if (!c)
		c = ctx_new(tok, err);
	if (c) {
		c->tok = tok;
		c->err = err;
	}
	return c;
}

#define KEEP                                                                                                           \
	((size_t)16 << 20) /* buffers above that are given back: one huge text must not hold its memory for ever       \
			    */

static void shrink_buf(struct mm_buf *b)
{
	if (b->cap > KEEP || b->failed)
		mm_buf_fini(b);
	b->failed = false;
}

static void shrink(void *p, size_t *cap, size_t size)
{
	void **a = p;
	if (*cap * size > KEEP) {
		mm_free(*a);
		*a = NULL;
		*cap = 0;
	}
}

void tok_ctx_give(const struct mm_tok *tok, struct tok_ctx *c)
{
	for (size_t i = 0; i < c->n_step; i++)
		shrink_buf(&c->step[i]);
	shrink_buf(&c->norm[0]);
	shrink_buf(&c->norm[1]);
	shrink_buf(&c->bytes);
	shrink_buf(&c->piece);
	shrink(&c->sym, &c->sym_cap, sizeof(*c->sym));
	shrink(&c->link, &c->link_cap, sizeof(*c->link));
	shrink(&c->heap, &c->heap_cap, sizeof(*c->heap));
	shrink(&c->path, &c->path_cap, 1);
	c->out = NULL;
	c->err = NULL;
	pthread_mutex_lock(tok->lock);
	c->next = *tok->free_ctx;
	*tok->free_ctx = c;
	pthread_mutex_unlock(tok->lock);
}

void tok_ctx_free(struct tok_ctx *c)
{
	if (!c)
		return;
	for (size_t i = 0; c->step && i < c->n_step; i++)
		mm_buf_fini(&c->step[i]);
	mm_free(c->step);
	mm_buf_fini(&c->norm[0]);
	mm_buf_fini(&c->norm[1]);
	mm_buf_fini(&c->bytes);
	mm_buf_fini(&c->piece);
	mm_free(c->sym);
	mm_free(c->link);
	mm_free(c->heap);
	mm_free(c->path);
	mm_free(c->cache);
	mm_free(c->unused);
	tok_regex_ctx_free(c);
	mm_free(c);
}

bool tok_cache_get(struct tok_ctx *c, struct tok_str piece, struct tok_word **slot)
{
	struct tok_word *w;
	*slot = NULL;
	if (piece.n > TOK_WORD_KEY || !piece.n)
		return false;
	w = &c->cache[tok_hash(piece.s, piece.n, c->seed) & (TOK_CACHE_SLOTS - 1)];
	if (w->len == piece.n && !memcmp(w->key, piece.s, piece.n) &&
		(c->out->cap - c->out->n >= TOK_WORD_IDS || !tok_ids_room(c->out, TOK_WORD_IDS, c->err))) {
		memcpy(c->out->id + c->out->n, w->id, sizeof(w->id));
		c->out->n += w->n;
		return true;
	}
	*slot = w;
	return false;
}

void tok_cache_put(struct tok_ctx *c, struct tok_word *slot, struct tok_str piece, size_t first_id)
{
	size_t n = c->out->n - first_id;
	if (!slot || n > TOK_WORD_IDS)
		return;
	slot->len = (uint8_t)piece.n;
	slot->n = (uint8_t)n;
	memcpy(slot->key, piece.s, piece.n);
	if (n)
		memcpy(slot->id, c->out->id + first_id, n * sizeof(*slot->id));
}
