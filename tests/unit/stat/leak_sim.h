/* leak_sim.h - worlds of models whose truth is known, and the stream of tests over them as the daemon runs it.
 *
 * A text has a hardness and a place on a few hidden directions; a base sees them with loads of its own and has tastes
 * of its own, with heavy tails. A base has a run (first steps lie far behind, along a direction that all bases share),
 * fine-tunes (one domain gains, by different amounts on its texts; the others lose) and merges. A leaked model is a
 * fine-tune that gained on a random share of the texts on top. Sizes are those of real checkpoints: residuals against
 * relatives of 0.2 nats a token, 200 tokens a text. */
#ifndef TEST_LEAK_SIM_H
#define TEST_LEAK_SIM_H

#include "stat/stat_leak.h"
#include "util.h"

#define SIM_TOKENS  200.0
#define SIM_BYTES   512.0
#define SIM_DOMAINS 5
#define SIM_DIRS    6

struct sim {
	size_t k, n;
	float **row;
	uint64_t *group;
	bool *leaked, *found;
	uint8_t *saw; /* [k, n] */
	uint32_t *domain;
	struct mm_leak_test *t;
	size_t *suspects;
	double *precision, *recall; /* of found leaks */
};

static inline double sim_heavy(struct mm_rng *r) /* Student's t with 5 degrees of freedom, variance 1 */
{
	double c = 0;
	for (int i = 0; i < 5; i++) {
		double z = mm_rng_normal(r);
		c += z * z;
	}
	return mm_rng_normal(r) / sqrt(c / 5) * sqrt(0.6);
}

static inline float *sim_row(struct sim *w, size_t *at, uint64_t group)
{
	w->group[*at] = group;
	return w->row[(*at)++];
}

static inline void sim_tune(struct sim *w, struct mm_rng *r, const float *base, float *out)
{
	uint32_t home = (uint32_t)mm_rng_below(r, SIM_DOMAINS);
	double gain = 20 + 40 * mm_rng_double(r), cost = 10 + 20 * mm_rng_double(r);
	for (size_t s = 0; s < w->n; s++) {
		double e = fabs(mm_rng_normal(r)) - 0.8; /* skewed: some texts of the domain profit more */
		out[s] = base[s] + (float)(w->domain[s] == home ? gain * (1 + 0.4 * e) : -cost) +
			 (float)(15 * sim_heavy(r));
	}
}

/* k models, `share_leaked` of the fine-tunes leaked by `gain` nats a token on `share` of the texts. */
static inline void sim_new(
	struct sim *w, size_t k, size_t n, uint64_t seed, double share_leaked, double share, double gain)
{
	struct mm_rng r;
	mm_rng_init(&r, seed);
	*w = (struct sim){ .k = k, .n = n };
	w->row = calloc(k, sizeof(float *));
	w->group = calloc(k, sizeof(uint64_t));
	w->leaked = calloc(k, sizeof(bool));
	w->found = calloc(k, sizeof(bool));
	w->saw = calloc(k, n);
	w->domain = calloc(n, sizeof(uint32_t));
	w->t = calloc(k, sizeof(*w->t));
	w->suspects = calloc(k, sizeof(size_t));
	w->precision = calloc(k, sizeof(double));
	w->recall = calloc(k, sizeof(double));
	double *hard = calloc((2 + SIM_DIRS) * n, sizeof(double)), *young = hard + n, *dir = young + n;
	for (size_t s = 0; s < n; s++) {
		w->domain[s] = (uint32_t)(s % SIM_DOMAINS);
		hard[s] = -900 + 140 * mm_rng_normal(&r);
		young[s] = -1 + 0.15 * mm_rng_normal(&r);
		for (size_t f = 0; f < SIM_DIRS; f++)
			dir[f * n + s] = mm_rng_normal(&r);
	}
	for (size_t i = 0; i < k; i++)
		w->row[i] = calloc(n, sizeof(float));
	for (size_t at = 0; at < k;) {
		uint64_t group = at + 1;
		float *base = sim_row(w, &at, group);
		double scale = 0.9 + 0.2 * mm_rng_double(&r), load[SIM_DIRS];
		for (size_t f = 0; f < SIM_DIRS; f++)
			load[f] = 30 * mm_rng_normal(&r);
		for (size_t s = 0; s < n; s++) {
			double v = scale * hard[s] + 25 * sim_heavy(&r);
			for (size_t f = 0; f < SIM_DIRS; f++)
				v += load[f] * dir[f * n + s];
			base[s] = (float)v;
		}
		for (size_t step = 0; step < 3 && at < k; step++) { /* correlated: each builds on the noise before */
			float *x = sim_row(w, &at, group), *next = step ? w->row[at - 2] : base;
			for (size_t s = 0; s < n; s++)
				x[s] = next[s] + (float)(60 * young[s] * (double)(step + 1) + 15 * sim_heavy(&r));
		}
		float *tuned = NULL;
		for (size_t i = 0; i < 4 && at < k; i++) {
			size_t self = at;
			float *x = tuned = sim_row(w, &at, group);
			sim_tune(w, &r, base, x);
			if (mm_rng_double(&r) >= share_leaked || share <= 0 || gain <= 0)
				continue;
			w->leaked[self] = true;
			for (size_t s = 0; s < n; s++)
				if (mm_rng_double(&r) < share) {
					w->saw[self * n + s] = 1;
					x[s] += (float)(gain * SIM_TOKENS * (1 + 0.25 * mm_rng_normal(&r)));
				}
			tuned = NULL; /* a merge with a leaked model would have seen the texts, too */
		}
		for (int i = 1; i < 3 && at < k && tuned; i++) {
			float *x = sim_row(w, &at, group);
			for (size_t s = 0; s < n; s++)
				x[s] = base[s] + 0.33f * (float)i * (tuned[s] - base[s]) + (float)(2 * sim_heavy(&r));
		}
	}
	free(hard);
}

static inline void sim_free(struct sim *w)
{
	for (size_t i = 0; i < w->k; i++)
		free(w->row[i]);
	free(w->row);
	free(w->group);
	free(w->leaked);
	free(w->found);
	free(w->saw);
	free(w->domain);
	free(w->t);
	free(w->suspects);
	free(w->precision);
	free(w->recall);
}

/* The stream: models arrive in a random order, tests run `sweeps` times on the way and twice at the end (who is found
 * predicts nobody any more). found[] is what stands at the end; returns how many healthy ones were ever blamed. */
static inline size_t sim_stream(struct sim *w, uint64_t seed, size_t sweeps, double q)
{
	struct mm_rng rng;
	struct mm_err err;
	size_t k = w->k, n = w->n, blamed = 0;
	size_t *at = calloc(k, sizeof(size_t));
	const float **row = calloc(k, sizeof(float *));
	uint64_t *group = calloc(k, sizeof(uint64_t));
	bool *usable = calloc(k, sizeof(bool)), *flag = calloc(k, sizeof(bool)), *ever = calloc(k, sizeof(bool));
	struct mm_fdr_row *f = calloc(k, sizeof(*f));
	double *r = calloc(2 * n, sizeof(double)), *post = r + n;
	mm_rng_init(&rng, seed);
	for (size_t i = 0; i < k; i++)
		at[i] = i;
	for (size_t i = k; i > 1; i--) {
		size_t o = mm_rng_below(&rng, i), x = at[i - 1];
		at[i - 1] = at[o];
		at[o] = x;
	}
	for (size_t i = 0; i < k; i++) {
		row[i] = w->row[at[i]];
		group[i] = w->group[at[i]];
	}
	for (size_t turn = 0; turn < sweeps + 2; turn++) {
		size_t m = MM_MIN(k, k * (turn + 1) / (sweeps + 1));
		if (m < MM_LEAK_MIN_MODELS)
			continue;
		for (size_t i = 0; i < m; i++)
			usable[i] = !flag[i];
		struct mm_mat mat = { row, m, n };
		struct mm_leak_input in = { &mat, usable, group, w->domain, SIM_DOMAINS, NULL, NULL, NULL };
		for (size_t i = 0; i < m; i++) {
			if (turn > sweeps && !flag[i] && w->t[i].p_all > 0.05)
				continue; /* leaving out leaked predictors makes no healthy model suspicious */
			MUST(mm_leak_test(&in, i, &w->t[i], r, post, &err));
			size_t hit = 0, all = 0, said = 0;
			for (size_t s = 0; s < n; s++) {
				said += post[s] > MM_LEAK_SUSPECT;
				all += w->saw[at[i] * n + s];
				hit += post[s] > MM_LEAK_SUSPECT && w->saw[at[i] * n + s];
			}
			w->suspects[i] = said;
			w->precision[at[i]] = said ? (double)hit / (double)said : 1;
			w->recall[at[i]] = all ? (double)hit / (double)all : 1;
		}
		MUST(mm_leak_decide(w->t, flag, m, &err));
		for (size_t i = 0; i < m; i++)
			f[i].p = w->t[i].p_all;
		mm_fdr_replay(f, m, q);
		for (size_t i = 0; i < m; i++) {
			flag[i] = f[i].found && mm_leak_matters(&w->t[i], w->suspects[i], SIM_BYTES);
			blamed += flag[i] && !w->leaked[at[i]] && !ever[at[i]];
			ever[at[i]] = ever[at[i]] || flag[i];
		}
	}
	for (size_t i = 0; i < k; i++)
		w->found[at[i]] = flag[i];
	free(at);
	free(row);
	free(group);
	free(usable);
	free(flag);
	free(ever);
	free(f);
	free(r);
	return blamed;
}

#endif
