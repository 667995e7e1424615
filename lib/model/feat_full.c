/* feat_full.c: the whole next-token distribution after every token of one sequence, for those who compare models of one
 * tokenizer exactly. Memory: the caller's [n, n_vocab]. */
#include "model/feat_priv.h"

#include <math.h>
#include <string.h>

struct full {
	struct mm_batch b;
	uint32_t *target;
	double *unused;
	struct mm_tap *tap;
	struct mm_taps taps;
};

static void full_fini(struct full *f)
{
	mm_free(f->b.id);
	mm_free(f->b.pos);
	mm_free(f->b.seq);
	mm_free(f->b.start);
	mm_free(f->target);
	mm_free(f->unused);
	mm_free(f->tap);
	mm_free((void *)f->taps.tap);
}

static int full_init(
	struct full *f, const struct mm_model *m, const uint32_t *id, size_t n, float *out, struct mm_err *err)
{
	struct mm_batch *b = &f->b;
	b->n_seq = 1;
	b->n_tok = n;
	b->n_row = (n + MM_TILE - 1) / MM_TILE * MM_TILE;
	if (!(b->id = mm_calloc(b->n_row, sizeof(*b->id), err)) ||
		!(b->pos = mm_calloc(b->n_row, sizeof(*b->pos), err)) ||
		!(b->seq = mm_calloc(b->n_row, sizeof(*b->seq), err)) ||
		!(b->start = mm_calloc(2, sizeof(*b->start), err)) ||
		!(f->target = mm_calloc(b->n_row, sizeof(*f->target), err)) ||
		!(f->unused = mm_calloc(b->n_row, sizeof(*f->unused), err)) ||
		!(f->tap = mm_calloc(n, sizeof(*f->tap), err)) ||
		!(f->taps.tap = mm_calloc(n, sizeof(struct mm_tap *), err)))
		return -1;
	b->start[1] = n;
	for (size_t r = 0; r < b->n_row; r++)
		f->target[r] = UINT32_MAX;
	for (size_t t = 0; t < n; t++) {
		b->id[t] = id[t];
		b->pos[t] = (uint32_t)t;
		f->tap[t] = (struct mm_tap){
			.want = UINT32_MAX, .row = t, .max = -INFINITY, .logits = out + t * m->hp.n_vocab
		};
		f->taps.tap[t] = &f->tap[t];
	}
	f->taps.n = n;
	b->taps = &f->taps;
	return 0;
}

int mm_score_full(struct mm_model *m, const uint32_t *id, size_t n, float *logprob, struct mm_err *err)
{
	struct full f = { .target = NULL };
	size_t v = m->hp.n_vocab;
	for (size_t t = 0; t < n; t++)
		if (id[t] >= v)
			return mm_fail(err, MM_EINVAL, "token id %u is outside of the vocabulary of %zu", id[t], v);
	if (m->pos && n + 1 + m->hp.pos_offset > m->hp.n_pos)
		return mm_fail(err, MM_EINVAL, "%zu tokens are more than the model has positions for", n);
	int rc = full_init(&f, m, id, n, logprob, err) || mm_pass_run(m, &f.b, f.target, f.unused, err) ? -1 : 0;
	for (size_t t = 0; rc == 0 && t < n; t++) {
		double lse = (double)f.tap[t].max + log(f.tap[t].sum);
		for (size_t i = 0; i < v; i++)
			logprob[t * v + i] = (float)((double)logprob[t * v + i] - lse);
	}
	full_fini(&f);
	return rc;
}
