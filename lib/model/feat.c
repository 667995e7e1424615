/* feat.c: next-byte features of a scoring run: planned before it, gathered batch by batch, put together when the last
 * row of a probe is there.
 *
 * Masses along a chain: the context at its start has weight w (1 for the first chain's, for another one that of the
 * context where it leaves the first), every further one the weight before times the probability of the token between.
 *
 * The one-step form neglects the ways to write the bytes behind a context with other tokens than t. Its share is
 * estimated, not summed: a token v that is the first a bytes of them would lead on to them about as often as all tokens
 * that begin with these a bytes do, so the mass neglected is near p(v) C / S, with C what was seen to go on to all of
 * the bytes and S what begins like v. The exact form knows: what its further contexts add. */
#include "model/feat_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- from taps to a distribution ---- */

static double bins_of(const struct mm_tap *t, double *into, double w)
{
	double sum = 0;
	for (size_t b = 0; b < MM_PROBES_BYTES; b++) {
		double p = t->bin[b] / t->sum;
		into[b] += w * p;
		sum += p;
	}
	return sum;
}

/* What of the mass behind this context was written otherwise; `seen`: the mass that was found. */
static double missed_at(const struct mm_tap *t, double seen)
{
	double sum = 0, begins = 0;
	if (t->kind != MM_TAP_RANGE)
		return 0;
	for (size_t a = t->n_seen; a > 0; a--) {
		begins += t->ring[a];
		if (a == t->n_seen)
			sum += t->stop[a] / t->sum;
		else if (begins > 0)
			sum += t->stop[a] / begins * seen;
	}
	return sum;
}

/* The first chain: weights of its contexts in w[0 .. n_tap), its masses into p. Returns what was neglected. */
static double main_chain(const struct mm_feat *f, const struct mm_feat_chain *c, double *w, double *p)
{
	double missed = 0, seen = 0, own[MM_PROBES_BYTES];
	w[0] = 1;
	for (size_t i = 1; i < c->n_tap; i++) {
		const struct mm_tap *t = &f->tap[c->tap + i - 1];
		w[i] = w[i - 1] * (t->want_mass / t->sum);
	}
	for (size_t i = c->n_tap; i-- > 0;) {
		const struct mm_tap *t = &f->tap[c->tap + i];
		memset(own, 0, sizeof(own));
		double here = bins_of(t, own, 1);
		seen = here + (i + 1 < c->n_tap ? t->want_mass / t->sum * seen : 0);
		missed += w[i] * missed_at(t, seen);
		for (size_t b = 0; b < MM_PROBES_BYTES; b++)
			p[b] += w[i] * own[b];
	}
	return missed;
}

static void branch_chain(const struct mm_feat *f, const struct mm_feat_chain *first, const struct mm_feat_chain *c,
	const double *w, double *p)
{
	double weight = w[c->start - first->start];
	for (size_t i = 0; i + 1 < c->n_tap; i++) {
		const struct mm_tap *t = &f->tap[c->tap + i];
		weight *= t->want_mass / t->sum;
	}
	(void)bins_of(&f->tap[c->tap + c->n_tap - 1], p, weight);
}

static double total(const double *p)
{
	double sum = 0;
	for (size_t b = 0; b < MM_PROBES_BYTES; b++)
		sum += p[b];
	return sum;
}

static void give_up(struct mm_feat *f, const char *why)
{
	if (!*f->out->none)
		snprintf(f->out->none, sizeof(f->out->none), "%s", why);
}

static int probe_done(struct mm_feat *f, size_t m, struct mm_err *err)
{
	const struct mm_feat_probe *pr = &f->probe[m];
	const struct mm_feat_chain *first = &f->chain[pr->chain];
	const struct mm_tap *last = &f->tap[first->tap + first->n_tap - 1];
	struct mm_feat_row *row = &f->out->row[m];
	double p[MM_PROBES_BYTES] = { 0 }, *w = mm_calloc(first->n_tap, sizeof(*w), err);
	if (!w)
		return -1;
	double missed = main_chain(f, first, w, p), one = total(p);
	for (size_t c = 1; c < pr->n_chain; c++)
		branch_chain(f, first, first + c, w, p);
	mm_free(w);
	double all = total(p);
	if (!isfinite(all) || !(all > 0)) {
		give_up(f, isfinite(all) ? "no token goes on from a probe's prefix" : "probabilities are not finite");
		return 0;
	}
	row->probe = (uint32_t)m;
	row->missed = f->exact ? fmax(1 - one / all, 0) : missed / (missed + one);
	for (size_t b = 0; b < MM_PROBES_BYTES; b++)
		row->p[b] = p[b] / all;
	for (size_t d = 0; d < MM_PROBES_PROJ; d++)
		row->proj[d] = (float)((double)last->proj[d] / sqrt(last->sum * MM_PROBES_PROJ));
	if (f->resume)
		mm_resume_add_feat(f->resume, row);
	return 0;
}

/* ---- batches ---- */

int mm_feat_batch(struct mm_feat *f, const struct mm_score_seq *s, size_t n, struct mm_batch *b, struct mm_err *err)
{
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		size_t from = f->from[s[i].index], to = f->from[s[i].index + 1];
		if (mm_grow(&f->live.tap, &f->cap_live, k + (to - from), sizeof(struct mm_tap *), err))
			return -1;
		for (; from < to; from++) {
			struct mm_tap *t = &f->tap[f->order[from]];
			t->row = b->start[i] + t->pos;
			t->max = -INFINITY;
			f->live.tap[k++] = t;
		}
	}
	f->live.n = k;
	f->live.vocab = &f->vocab;
	b->taps = &f->live;
	return 0;
}

int mm_feat_take(struct mm_feat *f, struct mm_err *err)
{
	for (size_t i = 0; i < f->live.n; i++) {
		uint32_t m = f->live.tap[i]->probe;
		if (!--f->probe[m].left && probe_done(f, m, err))
			return -1;
	}
	return 0;
}

/* ---- for score_text.c ---- */

void mm_features_fini(struct mm_features *o)
{
	mm_free(o->row);
	*o = (struct mm_features){ 0 };
}

struct mm_feat *mm_feat_new(const struct mm_model *m, const struct mm_tok *tok, const struct mm_texts *texts, size_t n,
	bool exact, struct mm_features *out, struct mm_err *err)
{
	struct mm_feat *f = mm_calloc(1, sizeof(*f), err);
	if (!f)
		return NULL;
	*f = (struct mm_feat){ .m = m, .tok = tok, .texts = texts, .exact = exact, .out = out };
	if (mm_feat_vocab_make(&f->vocab, m, tok, err) || mm_probes_make(&f->probes, texts, n, err) ||
		!(f->probe = mm_calloc(f->probes.n, sizeof(*f->probe), err)) ||
		!(out->row = mm_calloc(f->probes.n, sizeof(*out->row), err))) {
		mm_feat_free(f);
		return NULL;
	}
	out->exact = exact;
	mm_probes_id(&f->probes, exact, out->id);
	return f;
}

void mm_feat_free(struct mm_feat *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_tap; i++)
		mm_tap_fini(&f->tap[i]);
	for (size_t i = 0; i < f->n_own; i++)
		if (!f->own[i].borrowed)
			mm_free(f->own[i].id);
	mm_feat_vocab_fini(&f->vocab);
	mm_probes_free(&f->probes);
	mm_free(f->probe);
	mm_free(f->chain);
	mm_free(f->tap);
	mm_free(f->own);
	mm_free(f->order);
	mm_free(f->from);
	mm_free((void *)f->live.tap);
	mm_free(f);
}

int mm_feat_plan_all(struct mm_feat *f, const struct mm_score_seq *of_text, const uint32_t *front, size_t n_front,
	size_t limit, struct mm_resume *resume, struct mm_err *err)
{
	size_t n_old = 0;
	const struct mm_feat_row *old = resume ? mm_resume_feats(resume, &n_old) : NULL;
	f->resume = resume;
	for (size_t i = 0; i < n_old; i++)
		if (old[i].probe < f->probes.n) {
			f->out->row[old[i].probe] = old[i];
			f->probe[old[i].probe].given = true;
		}
	for (size_t m = 0; m < f->probes.n; m++) {
		size_t t = f->probes.at[m].text;
		struct mm_feat_text text = { of_text[t].id, of_text[t].n, resume && mm_resume_has(resume, t) };
		if (!f->probe[m].given && mm_feat_plan(f, m, &text, front, n_front, limit, err))
			return mm_wrap(err, "probe %zu", m);
	}
	return mm_feat_plan_order(f, err);
}

size_t mm_feat_n_own(const struct mm_feat *f)
{
	return f->n_own;
}

struct mm_score_seq mm_feat_own(const struct mm_feat *f, size_t i)
{
	return (struct mm_score_seq){ f->own[i].id, f->own[i].n, f->own[i].n, f->texts->n + i };
}

void mm_feat_end(struct mm_feat *f)
{
	for (size_t m = 0; m < f->probes.n; m++)
		if (f->probe[m].left)
			give_up(f, "a probe was not reached");
	f->out->n = *f->out->none ? 0 : f->probes.n;
	for (size_t i = 0; i < f->n_own; i++)
		f->out->n_own_token += f->own[i].n - 1;
	f->out->n_own = f->n_own;
}
