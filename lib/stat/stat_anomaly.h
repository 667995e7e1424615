/* stat_anomaly.h - is a model broken, or not what it says? One table of rules and the measurements they need.
 *
 * What a model is compared with is its original (nearly the same weights), the steps of its run, the base that it
 * claims, and a unigram model. Weights are known by the weight sample: numbers at positions that follow from the
 * architecture, so that two samples of the same architecture can be compared one by one.
 *
 *	mm_weight_match	 how much of b's sample is in a's: equal ones, size of the changes, correlation
 *	mm_domain_gaps	 mean of a - b in every domain, with its standard error
 *	mm_near_unigram	 no better than a model that knows how often tokens come, and in the same pattern
 *	mm_run_jump	 a step of a run that is out of line with its other steps
 *	mm_domain_fell	 one domain fell while the others did not
 *	mm_rule_value	 a threshold: the default, or what the healthy models of the map show, whichever is blunter
 *
 * Pure functions; sums in a fixed order; no state. */
#ifndef MM_STAT_ANOMALY_H
#define MM_STAT_ANOMALY_H

#include "stat/stat.h"

/* ---- anomaly.c: the table ---- */

enum mm_rule_id {
	MM_RULE_DIVERGED_UNIGRAM,
	MM_RULE_DIVERGED_PATTERN,
	MM_RULE_DIVERGED_FALL,
	MM_RULE_SAME_WEIGHTS,
	MM_RULE_PART_SAME,
	MM_RULE_PART_CHANGE,
	MM_RULE_DAMAGED_LOSS,
	MM_RULE_HIDDEN_LOSS,
	MM_RULE_MISMATCH_LOSS,
	MM_RULE_OVERFLOW_SAME,
	MM_RULE_OVERFLOW_FAR,
	MM_RULE_JUMP_LEGS,
	MM_RULE_JUMP_AWAY,
	MM_RULE_JUMP_FACTOR,
	MM_RULE_JUMP_FELL,
	MM_RULE_JUMP_KL,
	MM_RULE_REGRESSED_FALL,
	MM_RULE_REGRESSED_OTHERS,
	MM_RULE_REGRESSED_PAID,
	MM_RULE_IMPOSTOR_WEIGHTS,
	MM_RULE_IMPOSTOR_NEARER,
	MM_RULE_SIGMAS,
	MM_RULE_COUNT
};
struct mm_rule {
	const char *kind; /* of alert; several kinds: "a, b" */
	const char *name;
	double value; /* the default */
	const char *unit;
	double at, factor; /* with enough healthy models: factor times their quantile `at`, when that is blunter; at 0:
			      the default always */
	size_t min_sample; /* healthy ones that the quantile needs; for a population rule models on the map */
	const char *why;
};
extern const struct mm_rule mm_rules[MM_RULE_COUNT];
#define MM_POPULATION_MIN 8 /* models; below, rules that need a population say nothing */
/* healthy[n]: the same measurement of models without an alert, in any order (sorted in place). */
double mm_rule_value(enum mm_rule_id id, double *healthy, size_t n);

/* ---- anomaly_pair.c: two models ---- */

struct mm_weight_match {
	double equal;  /* share of weights that are the same but for rounding to 16 bits */
	double exact;  /* share of weights that are the same to the last bit */
	double change; /* root mean square of the differences of the others, over that of b's sample */
	double corr;   /* Pearson's, over all: independent trainings 0, fine-tunes 0.95 and more */
};
void mm_weight_match(const float *a, const float *b, size_t n, struct mm_weight_match *out);

struct mm_domain_gap {
	double mean, se; /* of a - b, nats per text; se 0: fewer than two texts */
	size_t n;
};
/* gap[n_domain]; domain NULL: all texts are one. */
void mm_domain_gaps(
	const float *a, const float *b, size_t n, const uint32_t *domain, size_t n_domain, struct mm_domain_gap *gap);
/* The gap of the domain that lost least, in bits per byte (positive: it lost), over domains of at least ten texts;
 * 0 when a domain did not lose by `sigmas` standard errors. bytes[n_domain]: mean bytes of a text. */
double mm_lost_everywhere(
	const struct mm_domain_gap *gap, const double *bytes, size_t n_domain, double sigmas, double *worst);
/* The domain that fell while the median of the others did not, in bits per byte (positive); -1: none. gained: most that
 * another domain won, in bits per byte. */
int mm_domain_fell(const struct mm_domain_gap *gap, const double *bytes, size_t n_domain, double fall, double others,
	double sigmas, double *by, double *gained);

/* ---- anomaly_run.c: a model by itself, or in its run ---- */

struct mm_unigram {
	double excess; /* mean log-likelihood over that of the unigram model, as a share of it: 0 equal, negative worse
			*/
	double corr;   /* of the two over the texts */
};
/* false: nothing to compare. */
bool mm_near_unigram(const float *loglik, const double *unigram, size_t n, struct mm_unigram *out);

struct mm_run_step {
	double before, after; /* two_kl of the legs to the neighbours; NAN: there is none */
	double across;	      /* two_kl between the neighbours; NAN */
	double usual;	      /* median of the run's other legs, or the one before when that is longer: legs may grow */
	size_t n_legs;	      /* of the run */
	double fell;	      /* mean log-likelihood lost since the step before, nats per text; negative: gained */
	double away;	      /* to the nearer neighbour, in ways between the neighbours; 0: no two neighbours */
	double factor;	      /* a step that lost likelihood, in usual legs; 0: it gained */
};
/* Step `at` of a run of n: d[n - 1] legs, across[n - 2] (from i to i + 2), mean[n]. */
void mm_run_jump(
	const double *d, const double *across, const double *mean, size_t n, size_t at, struct mm_run_step *out);

#endif
