/* score.c: token ids in, log-probabilities out.
 *
 * Sequences are sorted by length (longest first, then by index) and packed one behind the other into batches of a
 * bounded number of rows; a batch goes through the model as one (decoder.c). A sequence's numbers do not depend on what
 * it is packed with. Texts are in score_text.c. */
#include "model/score_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TICK 1.0 /* seconds between two words on the progress inside of a batch */

static int by_length(const void *a, const void *b)
{
	const struct mm_score_seq *x = a, *y = b;
	if (x->n != y->n)
		return x->n > y->n ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

int mm_score_tell(struct mm_score_job *j, const char *stage, size_t done, struct mm_err *err)
{
	struct mm_score_progress p = {
		.stage = stage,
		.done = done,
		.total = j->n_total,
		.tokens = j->tokens + (uint64_t)(j->share * (double)j->n_batch),
		.tokens_total = j->tokens_total,
		.seconds = mm_monotonic() - j->start,
	};
	j->told = mm_monotonic();
	if (j->opts && j->opts->progress && j->opts->progress(j->opts->ctx, &p))
		return mm_fail(err, MM_ECANCELLED, "cancelled");
	return 0;
}

static void batch_fini(struct mm_batch *b, uint32_t *target, double *logprob)
{
	mm_free(b->standard);
	mm_free(b->id);
	mm_free(b->pos);
	mm_free(b->seq);
	mm_free(b->start);
	mm_free(target);
	mm_free(logprob);
}

static int tick(void *ctx, double share, struct mm_err *err)
{
	struct mm_score_job *j = ctx;
	double now = mm_monotonic();
	if (now - j->told < TICK)
		return 0;
	j->share = share;
	return mm_score_tell(j, "score", j->done, err);
}

static int batch_run(struct mm_score_job *j, const struct mm_score_seq *s, size_t n, struct mm_err *err)
{
	struct mm_batch b = { .n_seq = n, .tick = tick, .tick_ctx = j };
	uint32_t *target = NULL;
	double *logprob = NULL;
	int rc = -1;
	for (size_t i = 0; i < n; i++)
		b.n_tok += s[i].n - 1; /* the last token predicts nothing that is wanted */
	b.n_row = (b.n_tok + MM_TILE - 1) / MM_TILE * MM_TILE;
	if (!(b.id = mm_calloc(b.n_row, sizeof(*b.id), err)) || !(b.pos = mm_calloc(b.n_row, sizeof(*b.pos), err)) ||
		!(b.seq = mm_calloc(b.n_row, sizeof(*b.seq), err)) ||
		!(b.start = mm_calloc(n + 1, sizeof(*b.start), err)) ||
		!(target = mm_calloc(b.n_row, sizeof(*target), err)) ||
		!(logprob = mm_calloc(b.n_row, sizeof(*logprob), err)) ||
		(j->want_standard && !(b.standard = mm_calloc(b.n_row, sizeof(*b.standard), err))))
		goto out;
	size_t r = 0;
	for (size_t i = 0; i < n; i++) {
		b.start[i] = r;
		for (size_t t = 0; t + 1 < s[i].n; t++, r++) {
			b.id[r] = s[i].id[t];
			b.pos[r] = (uint32_t)t;
			b.seq[r] = (uint32_t)i;
			target[r] = t + 1 >= s[i].from ? s[i].id[t + 1] : UINT32_MAX;
		}
	}
	b.start[n] = r;
	for (; r < b.n_row; r++)
		target[r] = UINT32_MAX;
	j->n_batch = b.n_tok;
	j->share = 0;
	if (j->feat && mm_feat_batch(j->feat, s, n, &b, err))
		goto out;
	rc = mm_pass_run(j->m, &b, target, logprob, err);
	if (rc == 0 && j->feat)
		rc = mm_feat_take(j->feat, err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (s[i].from >= s[i].n) /* for features only */
			continue;
		size_t at = b.start[i] + s[i].from - 1;
		rc = j->take(j->ctx, &s[i], logprob + at, b.standard ? b.standard + at : NULL, err);
	}
	if (rc == 0 && j->batch_done)
		j->batch_done(j->ctx);
	j->tokens += b.n_tok;
	j->n_batch = 0;
out:
	batch_fini(&b, target, logprob);
	return rc;
}

/* Ids beyond the embedding and sequences beyond learned positions would read outside of tables. */
static int seq_check(const struct mm_model *m, const struct mm_score_seq *s, struct mm_err *err)
{
	for (size_t t = 0; t < s->n; t++)
		if (s->id[t] >= m->hp.n_vocab)
			return mm_fail(err, MM_EINVAL,
				"token id %u of sequence %zu is outside of the vocabulary of %zu", s->id[t], s->index,
				m->hp.n_vocab);
	if (m->pos && s->n + m->hp.pos_offset > m->hp.n_pos)
		return mm_fail(err, MM_EINVAL, "sequence %zu has %zu tokens, the model only %zu positions", s->index,
			s->n, m->hp.n_pos - m->hp.pos_offset);
	return 0;
}

static int batches_run(struct mm_score_job *j, size_t limit, size_t done, struct mm_err *err)
{
	for (size_t i = 0; i < j->n_seq;) {
		size_t n = 0, rows = 0;
		while (i + n < j->n_seq && (n == 0 || rows + j->seq[i + n].n - 1 <= limit))
			rows += j->seq[i + n++].n - 1;
		j->done = done;
		if (mm_score_tell(j, "score", done, err) || batch_run(j, j->seq + i, n, err))
			return -1;
		for (size_t end = i + n; i < end; i++)
			done += j->seq[i].from < j->seq[i].n;
	}
	return mm_score_tell(j, "score", j->n_total, err);
}

int mm_score_run(struct mm_score_job *j, struct mm_err *err)
{
	size_t done = j->n_total;
	qsort(j->seq, j->n_seq, sizeof(*j->seq), by_length);
	for (size_t i = 0; i < j->n_seq; i++) {
		j->tokens_total += j->seq[i].n - 1;
		done -= j->seq[i].from < j->seq[i].n;
		if (seq_check(j->m, &j->seq[i], err))
			return -1;
	}
	size_t longest = j->n_seq ? j->seq[0].n : 1, limit = mm_memory_rows(j->m, longest);
	mm_big_keep(mm_memory_keep(j->m, limit, longest));
	int rc = batches_run(j, limit, done, err);
	mm_big_keep(0);
	return rc;
}

/* ---- ids ---- */

struct ids_out {
	double *const *logprob;
};

static int take_ids(
	void *ctx, const struct mm_score_seq *s, const double *logprob, const float *standard, struct mm_err *err)
{
	(void)standard;
	const struct ids_out *o = ctx;
	for (size_t t = 0; t + 1 < s->n; t++)
		if (!isfinite(logprob[t]))
			return mm_fail(
				err, MM_ENONFINITE, "log-probability %zu of sequence %zu is not finite", t, s->index);
	memcpy(o->logprob[s->index], logprob, (s->n - 1) * sizeof(double));
	return 0;
}

int mm_score_sequences(struct mm_model *m, size_t n_seq, const uint32_t *const *id, const size_t *n,
	double *const *logprob, const struct mm_score_opts *opts, struct mm_err *err)
{
	struct ids_out out = { logprob };
	struct mm_score_job j = {
		.m = m, .opts = opts, .n_total = n_seq, .start = mm_monotonic(), .take = take_ids, .ctx = &out
	};
	j.seq = mm_calloc(n_seq, sizeof(*j.seq), err);
	if (!j.seq)
		return -1;
	for (size_t s = 0; s < n_seq; s++)
		if (n[s] > 1)
			j.seq[j.n_seq++] = (struct mm_score_seq){ id[s], n[s], 1, s };
	int rc = mm_score_run(&j, err);
	mm_free(j.seq);
	return rc;
}

int mm_score_ids(struct mm_model *m, const uint32_t *id, size_t n, double *logprob, struct mm_err *err)
{
	return mm_score_sequences(m, 1, &id, &n, &logprob, NULL, err);
}
