/* check_facts.c: what the scorer stored beside the log-likelihoods of a model, read for the tests. Loop thread, and
 * only while no sweep runs: the worker reads what is made here. Arrays of an older scorer may be missing: a rule that
 * needs them then says nothing. */
#include "daemon/check_priv.h"

#include <math.h>
#include <string.h>

static void facts_free(struct mm_check_facts *f)
{
	if (!f)
		return;
	mm_free(f->sample);
	mm_free(f->unigram);
	mm_free(f->mink);
	mm_free(f->mink_pp);
	mm_free(f);
}

void mm_check_facts_free(struct mm_check *c)
{
	for (size_t i = 0; i < c->n_facts; i++)
		facts_free(c->facts[i]);
	mm_free(c->facts);
	c->facts = NULL;
	c->n_facts = c->cap_facts = 0;
}

/* n finite floats under that name, as they are; NULL: none. */
static float *floats(struct mm_txn *t, uint64_t model, const char *name, size_t n)
{
	struct mm_stored_array a;
	struct mm_err ignored;
	if (mm_array_get(t, model, name, &a, &ignored) || a.type != MM_A_F32 || a.n_byte != n * sizeof(float))
		return NULL;
	float *v = mm_calloc(n, sizeof(*v), &ignored);
	if (v)
		memcpy(v, a.data, a.n_byte);
	if (v && !mm_row_finite(v, n)) {
		mm_free(v);
		return NULL;
	}
	return v;
}

static void hash_of(struct mm_txn *t, uint64_t model, const char *name, struct mm_hash *out)
{
	struct mm_stored_array a;
	struct mm_err ignored;
	if (mm_array_get(t, model, name, &a, &ignored) == 0 && a.n_byte)
		*out = mm_hash_of(a.data, a.n_byte);
}

static void fill(struct mm_check_facts *f, struct mm_txn *t, size_t n)
{
	struct mm_err ignored;
	f->sample = floats(t, f->model, "weight_sample", MM_CHECK_SAMPLE);
	f->mink = floats(t, f->model, "mink20", n);
	f->mink_pp = floats(t, f->model, "mink20pp", n);
	float *u = floats(t, f->model, "unigram", n);
	f->unigram = u ? mm_calloc(n, sizeof(*f->unigram), &ignored) : NULL;
	for (size_t s = 0; f->unigram && s < n; s++)
		f->unigram[s] = (double)u[s];
	mm_free(u);
	hash_of(t, f->model, "tokenizer_hash", &f->tokens);
	hash_of(t, f->model, "n_tokens", &f->counts);
	hash_of(t, f->model, "config_hash", &f->config);
}

/* Models are asked for in the order in which they came to be here: the next one is nearly always behind the last. */
static size_t find(struct mm_check *c, uint64_t model)
{
	for (size_t i = 0; i < c->n_facts; i++) {
		size_t at = (c->last_facts + 1 + i) % c->n_facts;
		if (c->facts[at]->model == model)
			return c->last_facts = at;
	}
	return c->n_facts;
}

const struct mm_check_facts *mm_check_facts(
	struct mm_daemon *d, const struct mm_model_entry *e, uint32_t version, struct mm_err *err)
{
	struct mm_check *c = d->alerts->check;
	size_t at = find(c, e->rec.id);
	if (at < c->n_facts && c->facts[at]->version == version)
		return c->facts[at];
	struct mm_check_facts *f = mm_calloc(1, sizeof(*f), err);
	struct mm_txn *t = f ? mm_txn_begin(d->store, false, err) : NULL;
	if (!t || (at == c->n_facts &&
			  mm_grow(&c->facts, &c->cap_facts, c->n_facts + 1, sizeof(struct mm_check_facts *), err))) {
		mm_txn_abort(t);
		mm_free(f);
		return NULL;
	}
	f->model = e->rec.id;
	f->version = version;
	fill(f, t, d->texts.n);
	mm_txn_abort(t);
	if (at < c->n_facts)
		facts_free(c->facts[at]);
	else
		c->n_facts++;
	c->facts[at] = f;
	return f;
}
