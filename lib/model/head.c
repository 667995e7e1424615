/* head.c: final norm, output matrix and log-softmax, never more than a piece of the logits at a time.
 *
 * The vocabulary goes in chunks of MM_HEAD_CHUNK columns, each a packed matrix; for every row a running (maximum, sum)
 * over the chunks and the logit of the wanted token. log p = logit - (max + ln sum), the last step in double. Where the
 * batch wants to know how unusual a token is, two more sums give mean and variance of log p in the same pass. Without
 * residence a chunk is packed, used for all tiles of the batch, and dropped. */
#include "model/ckpt_priv.h"
#include "model/feat_priv.h"

#include <math.h>
#include <omp.h>
#include <string.h>

static enum mm_slot head_slot(const struct mm_model *m)
{
	return mm_w_get(m, MM_GLOBAL, MM_W_HEAD) ? MM_W_HEAD : MM_W_EMBD;
}

static struct mm_lin *chunk_make(const struct mm_model *m, size_t c, struct mm_err *err)
{
	size_t row0 = c * m->head_chunk, n = MM_MIN(m->head_chunk, m->hp.n_vocab - row0);
	return mm_w_lin_part(m, head_slot(m), row0, n, m->head_b ? m->head_b + row0 : NULL, err);
}

int mm_head_make(struct mm_model *m, struct mm_err *err)
{
	m->head_chunk = MM_MIN(m->hp.n_vocab, (size_t)MM_HEAD_CHUNK);
	m->n_head_chunk = (m->hp.n_vocab + m->head_chunk - 1) / m->head_chunk;
	m->head = mm_calloc(m->n_head_chunk, sizeof(struct mm_lin *), err);
	if (!m->head)
		return -1;
	for (size_t c = 0; m->resident && c < m->n_head_chunk; c++)
		if (!(m->head[c] = chunk_make(m, c, err)))
			return -1;
	return 0;
}

void mm_head_free(struct mm_model *m)
{
	for (size_t c = 0; m->head && c < m->n_head_chunk; c++)
		mm_lin_free(m->head[c]);
	mm_free(m->head);
	m->head = NULL;
}

/* x of one tile normalised (and projected back to the embedding's width) into y */
static void tile_input(const struct mm_pass *p, size_t row, float *y, float *t)
{
	const struct mm_model *m = p->m;
	size_t d = p->hp->n_embd;
	float *to = m->embd_out ? t : y;
	for (size_t r = 0; r < MM_TILE; r++) {
		const float *x = p->x + (row + r) * d;
		if (p->hp->final_norm)
			mm_norm_row(&m->norm, x, to + r * d, d);
		else
			memcpy(to + r * d, x, d * sizeof(float));
	}
	if (m->embd_out)
		mm_lin_tile(m->embd_out, t, y);
}

struct run { /* [n_row] each */
	float *max;
	double *sum;
	double *first, *second; /* mm_lse_moments; NULL: not wanted */
	float *logit;
};

/* The first tap at or behind a row. */
static size_t tap_at(const struct mm_taps *t, size_t row)
{
	size_t lo = 0, hi = t ? t->n : 0;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (t->tap[mid]->row < row)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void tile_chunk(const struct mm_pass *p, const struct mm_lin *lin, size_t c, size_t row, const uint32_t *target,
	const float *y, float *z, struct run *run)
{
	const struct mm_taps *taps = p->b->taps;
	size_t n = mm_lin_out(lin), row0 = c * p->m->head_chunk, tap = tap_at(taps, row);
	mm_lin_tile(lin, y, z);
	for (size_t r = row; r < row + MM_TILE; r++) {
		float *x = z + (r - row) * n;
		bool tapped = taps && tap < taps->n && taps->tap[tap]->row == r;
		if (target[r] == UINT32_MAX && !tapped)
			continue;
		if (p->hp->mult_logit != 1 || p->hp->softcap_logit > 0)
			mm_softcap_row(x, n, (float)p->hp->mult_logit, (float)p->hp->softcap_logit);
		if (run->first)
			mm_lse_moments(x, n, &run->max[r], &run->sum[r], &run->first[r], &run->second[r]);
		else
			mm_lse_add(x, n, &run->max[r], &run->sum[r]);
		if (target[r] >= row0 && target[r] - row0 < n)
			run->logit[r] = x[target[r] - row0];
		for (; taps && tap < taps->n && taps->tap[tap]->row == r; tap++)
			mm_tap_add(taps->tap[tap], taps->vocab, x, row0, n);
	}
}

static bool tile_wanted(const struct mm_taps *taps, const uint32_t *target, size_t row)
{
	size_t tap = tap_at(taps, row);
	if (taps && tap < taps->n && taps->tap[tap]->row < row + MM_TILE)
		return true;
	for (size_t r = 0; r < MM_TILE; r++)
		if (target[row + r] != UINT32_MAX)
			return true;
	return false;
}

/* A distribution that is all but certain has no width; and one token shall not speak for a whole text. */
#define WIDTH_MIN    1e-6
#define STANDARD_MAX 20

/* log p of the row's token in standard deviations from its mean under the model's own distribution. */
static float standard(const struct run *run, size_t r, double logprob)
{
	double mean = run->first[r] / run->sum[r], var = run->second[r] / run->sum[r] - mean * mean;
	double z = (logprob - (mean - log(run->sum[r]))) / fmax(sqrt(fmax(var, 0)), WIDTH_MIN);
	return (float)fmin(fmax(z, -STANDARD_MAX), STANDARD_MAX);
}

static int run_init(struct run *run, const struct mm_batch *b, struct mm_err *err)
{
	size_t n = b->n_row;
	memset(run, 0, sizeof(*run));
	run->max = mm_calloc(n, sizeof(float), err);
	run->sum = run->max ? mm_calloc(n * (b->standard ? 3 : 1), sizeof(double), err) : NULL;
	run->logit = run->sum ? mm_calloc(n, sizeof(float), err) : NULL;
	if (!run->logit)
		return -1;
	run->first = b->standard ? run->sum + n : NULL;
	run->second = b->standard ? run->first + n : NULL;
	for (size_t r = 0; r < n; r++)
		run->max[r] = -INFINITY;
	return 0;
}

int mm_head_run(struct mm_pass *p, const uint32_t *target, double *logprob, struct mm_err *err)
{
	const struct mm_model *m = p->m;
	size_t n = p->b->n_row, d = p->hp->n_embd, din = m->embd_out ? mm_lin_out(m->embd_out) : d;
	struct run run;
	int rc = -1;
	if (run_init(&run, p->b, err))
		goto out;
	for (size_t c = 0; c < m->n_head_chunk; c++) {
		struct mm_lin *lin = m->head[c] ? m->head[c] : chunk_make(m, c, err);
		if (!lin)
			goto out;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)p->n_thread)
		for (size_t row = 0; row < n; row += MM_TILE) {
			float *y = p->work[omp_get_thread_num()], *t = y + MM_TILE * MM_MAX(d, din),
			      *z = t + MM_TILE * d;
			if (!tile_wanted(p->b->taps, target, row))
				continue;
			tile_input(p, row, y, t);
			tile_chunk(p, lin, c, row, target, y, z, &run);
		}
		if (!m->head[c])
			mm_lin_free(lin);
	}
	for (size_t r = 0; r < n; r++) {
		logprob[r] =
			target[r] == UINT32_MAX ? 0 : (double)run.logit[r] - ((double)run.max[r] + log(run.sum[r]));
		if (run.first)
			p->b->standard[r] = target[r] == UINT32_MAX ? 0 : standard(&run, r, logprob[r]);
	}
	rc = 0;
out:
	mm_free(run.max);
	mm_free(run.sum);
	mm_free(run.logit);
	return rc;
}
