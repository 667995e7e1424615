/* probes.c: where in the text set the models are asked for their next byte.
 *
 * A pure function of the texts, their domains and the number asked for: daemon and scorer find the same places without
 * telling each other. The domains take turns, each with its texts in a seeded order, so that every domain gets the same
 * number of probes as long as it has places left. A place is uniform over the first REACH of a text of mean length, at
 * the beginning of a character (or at the text's end), never at its very beginning: what is asked is what a text leads
 * to. Early places keep the cost down: a prefix that no pass over the whole text contains is a sequence of its own.
 *
 * Changing anything here changes the features of every model: raise MM_PROBES_METHOD then. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

#define SEED  UINT64_C(0x70726f62652d3031)
#define REACH 0.6 /* of the mean length */
#define TRIES 16  /* places asked for in one text before another one is taken */

struct order { /* texts of one domain */
	size_t *text;
	size_t n, next;
};

static int by_place(const void *a, const void *b)
{
	const struct mm_probe_point *x = a, *y = b;
	if (x->text != y->text)
		return x->text < y->text ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static size_t place_in(const struct mm_texts *t, size_t i, struct mm_rng *rng)
{
	size_t reach = MM_MAX((size_t)(REACH * t->mean_bytes), (size_t)1);
	size_t at = 1 + (size_t)mm_rng_below(rng, MM_MIN(reach, t->len[i]));
	while (at < t->len[i] && ((uint8_t)t->text[i][at] & 0xC0) == 0x80)
		at++;
	return at;
}

/* The next text of the domain gets a place; false: it has none left that the draws found. */
static bool take_one(
	struct mm_probes *p, const struct mm_texts *t, struct order *o, uint32_t domain, struct mm_rng *rng)
{
	size_t i = o->text[o->next++ % o->n];
	for (int k = 0; k < TRIES; k++) {
		struct mm_probe_point new = { (uint32_t)i, (uint32_t)place_in(t, i, rng), domain };
		size_t same = 0;
		while (same < p->n && by_place(&p->at[same], &new))
			same++;
		if (same == p->n) {
			p->at[p->n++] = new;
			return true;
		}
	}
	return false;
}

static int order_make(struct order *o, const struct mm_texts *t, struct mm_rng *rng, struct mm_err *err)
{
	for (size_t i = 0; i < t->n; i++)
		o[t->domain[i]].n++;
	for (size_t d = 0; d < t->n_domain; d++) {
		if (!(o[d].text = mm_calloc(o[d].n, sizeof(size_t), err)))
			return -1;
		o[d].n = 0;
	}
	for (size_t i = 0; i < t->n; i++)
		if (t->len[i] <= UINT32_MAX)
			o[t->domain[i]].text[o[t->domain[i]].n++] = i;
	for (size_t d = 0; d < t->n_domain; d++)
		for (size_t i = o[d].n; i > 1; i--) {
			size_t k = (size_t)mm_rng_below(rng, i), x = o[d].text[i - 1];
			o[d].text[i - 1] = o[d].text[k];
			o[d].text[k] = x;
		}
	return 0;
}

static int hash_make(struct mm_probes *p, const struct mm_texts *t, struct mm_err *err)
{
	struct mm_hasher *h = mm_hasher_new(err);
	if (!h)
		return -1;
	mm_hasher_put(h, &t->hash, sizeof(t->hash));
	for (size_t m = 0; m < p->n; m++) {
		uint32_t at[2] = { p->at[m].text, p->at[m].offset };
		mm_hasher_put(h, at, sizeof(at));
	}
	p->hash = mm_hasher_get(h);
	mm_hasher_free(h);
	return 0;
}

int mm_probes_make(struct mm_probes *p, const struct mm_texts *t, size_t n, struct mm_err *err)
{
	struct mm_rng rng;
	*p = (struct mm_probes){ 0 };
	if (n > MM_PROBES_MAX)
		return mm_fail(err, MM_EINVAL, "%zu probes: at most %d", n, MM_PROBES_MAX);
	mm_rng_init(&rng, SEED ^ t->hash.lo);
	struct order *o = mm_calloc(t->n_domain, sizeof(*o), err);
	if (!o || !(p->at = mm_calloc(n, sizeof(*p->at), err)) || order_make(o, t, &rng, err))
		goto bad;
	/* A round without a single place found: the texts are too short for that many. */
	for (size_t round = 0, misses = 0; p->n < n && misses < 4; round++) {
		size_t before = p->n;
		for (size_t d = 0; d < t->n_domain && p->n < n; d++)
			if (o[d].n)
				(void)take_one(p, t, &o[d], (uint32_t)d, &rng);
		misses = p->n == before ? misses + 1 : 0;
	}
	qsort(p->at, p->n, sizeof(*p->at), by_place);
	if (hash_make(p, t, err))
		goto bad;
	for (size_t d = 0; d < t->n_domain; d++)
		mm_free(o[d].text);
	mm_free(o);
	return 0;
bad:
	for (size_t d = 0; o && d < t->n_domain; d++)
		mm_free(o[d].text);
	mm_free(o);
	mm_probes_free(p);
	return -1;
}

void mm_probes_free(struct mm_probes *p)
{
	mm_free(p->at);
	*p = (struct mm_probes){ 0 };
}

void mm_probes_id(const struct mm_probes *p, bool exact, uint8_t out[MM_PROBES_ID])
{
	struct {
		struct mm_hash places;
		uint32_t method, exact;
	} how = { p->hash, MM_PROBES_METHOD, exact };
	struct mm_hash h = mm_hash_of(&how, sizeof(how));
	memcpy(out, &p->hash, sizeof(p->hash));
	memcpy(out + sizeof(p->hash), &h, sizeof(h));
}
