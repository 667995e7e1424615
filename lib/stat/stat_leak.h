/* stat_leak.h - has a model seen reference texts? And which hypothesis tests of a whole stream of models hold.
 *
 * A model that was trained on some of the reference texts gains on these texts alone, by about the same amount on each.
 * What its relatives predict for a text (ridge regression over the texts, every text predicted from the others) is free
 * of that gain, so that the residuals of a leaked model have a second mode on the right. A healthy model's residuals
 * have one mode: heavy tails, but symmetric within a domain.
 *
 *	mm_leak_residual   y - prediction from other models, cross-fitted over the texts
 *	mm_leak_centre     minus the median of each domain: a gain of a whole domain (fine-tuning) is no evidence
 *	mm_leak_mixture    one mode against two: statistic, effect size, posterior of each text
 *	mm_leak_size	   bytes that a text takes when it is compressed: how much there is to remember
 *	mm_leak_p          p-value, deflated by what the other models' statistics look like (they are the calibration)
 *	mm_leak_level      mean log-likelihood against benchmark score: robust line, its residual
 *	mm_fdr_*           which p-values are discoveries when they come one by one
 *
 * Pure functions; sums in a fixed order; no state. */
#ifndef MM_STAT_LEAK_H
#define MM_STAT_LEAK_H

#include "stat/stat.h"

/* ---- leak_resid.c ---- */

#define MM_LEAK_FOLDS	       5
#define MM_LEAK_MIN_PREDICTORS 3
#define MM_LEAK_PREDICTORS     96 /* more than so many add noise and time: callers give the nearest */
/* r[n]: y minus the ridge prediction from the rows of x, each text predicted by a fit on the other folds; the penalty
 * is chosen in each fold by generalised cross-validation. x must not hold y itself or a copy of it. */
int mm_leak_residual(
	const struct mm_mat *x, const float *y, uint64_t seed, double *r, struct mm_err *err) MM_MUST_CHECK;
/* Subtracts from r the median of its domain (domains below 10 texts: the median of all). domain[n] < n_domain. */
int mm_leak_centre(double *r, size_t n, const uint32_t *domain, size_t n_domain, struct mm_err *err) MM_MUST_CHECK;

/* ---- leak_mix.c ---- */

/* H0: the residuals are one Student mode, symmetric, with any degrees of freedom, place and width. H1: a share of at
 * most MM_LEAK_SHARE_MAX of the texts lies higher by a gain, same shape and width. When only a larger share would do,
 * the others have lost, and llr is 0. */
#define MM_LEAK_SHARE_MAX 0.6
#define MM_LEAK_MIN_TEXTS 50
struct mm_leak_mix {
	double llr;	   /* log likelihood ratio of H1 over H0, in nats, >= 0 */
	double share;	   /* of texts in the upper mode */
	double gain;	   /* between the modes, in the unit of r */
	double width;	   /* scale of a mode */
	double separation; /* gain / width: the effect size without a unit */
	double dof;
};
/* posterior[n] (NULL: not wanted): that the text is in the upper mode. */
int mm_leak_mixture(
	const double *r, size_t n, struct mm_leak_mix *out, double *posterior, struct mm_err *err) MM_MUST_CHECK;

/* ---- leak.c ---- */

/* Factor by which the llr of healthy models exceed what H0 alone would give: 1 or more; llr[k] of the other models,
 * leaked ones among them do little harm (a quantile, not a mean). Few models: a prior takes the place of those missing.
 */
double mm_leak_inflation(const double *llr, size_t k, struct mm_err *err); /* -1: out of memory */
/* p-value of a llr under H0, after division by the inflation. Falls exponentially: it is made of the texts, and can get
 * as small as they allow. */
double mm_leak_p(double llr, double inflation);
/* Several p-values of one hypothesis, dependent in any way, each with a weight (Bonferroni): 1 when there is none. */
double mm_leak_combine(const double *p, const double *weight, size_t n);

/* ---- leak_sign.c: other angles on the same hypothesis ----
 *
 * control	texts declared to be unseen: the others must have gained more than these, in the same domain
 * level	mean log-likelihood against benchmark scores
 *
 * All of a content's p-values become one by weighted Bonferroni: valid however they depend on each other. The contrast
 * carries most of the weight, since level sees large leaks only. */
enum mm_leak_sign { MM_LEAK_CONTROL, MM_LEAK_LEVEL, MM_LEAK_SIGNS };
extern const char *const mm_leak_sign_name[MM_LEAK_SIGNS]; /* "control", "level" */
extern const char *const mm_leak_sign_null[MM_LEAK_SIGNS]; /* the null hypothesis in words */
struct mm_leak_sign_result {
	bool known;
	double statistic, p, effect;
	size_t n; /* models or texts that it rests on */
};
/* ---- leak_test.c ---- */

/* One model against the others, from several sides: predicted by its nearest relatives; by models of other groups alone
 * (a relative that has seen the same texts hides the gain, a stranger does not); and again by its relatives, but on
 * what memory changes most: the mean of the 20 % least likely tokens of each text (nothing surprises in a text that was
 * seen), the same in standard deviations of what the model expected there, and the log-likelihood for each byte of the
 * compressed text (a text that was seen gains by as much as there was to learn in it). */
enum mm_leak_side {
	MM_LEAK_RELATIVES,
	MM_LEAK_STRANGERS,
	MM_LEAK_MEMORISED,
	MM_LEAK_MEMORISED_PP,
	MM_LEAK_COMPRESSED,
	MM_LEAK_SIDES
};
/* "contrast_relatives", "contrast_strangers", "memorised", "memorised_pp", "memorised_compressed" */
extern const char *const mm_leak_side_name[MM_LEAK_SIDES];
extern const char *const mm_leak_side_null[MM_LEAK_SIDES]; /* the null hypothesis in words */
extern const char *const mm_leak_side_unit[MM_LEAK_SIDES]; /* of residuals and gains */
struct mm_leak_input {
	const struct mm_mat *m;
	const bool *usable;    /* [k] may predict: finite, no anomaly, not itself known to be leaked; NULL: all */
	const uint64_t *group; /* [k] architecture and size; NULL: all strangers */
	const uint32_t *domain;
	size_t n_domain;
	/* [k] rows [n] of those means; NULL, or rows NULL, where not known */
	const float *const *mink, *const *mink_pp;
	const double *size; /* [n] mm_leak_size of the texts; NULL: not known */
};
/* Bytes that the text takes in a code that learns as it goes (contexts of up to three bytes); at least 1. -1: memory.
 */
double mm_leak_size(const void *text, size_t len, struct mm_err *err);
struct mm_leak_test {
	bool known[MM_LEAK_SIDES]; /* enough predictors */
	size_t n_predictors[MM_LEAK_SIDES];
	struct mm_leak_mix mix[MM_LEAK_SIDES];
	enum mm_leak_side best;	 /* of the largest llr */
	double gain;		 /* of the texts that the best side suspects, in nats per text, over the others */
	double p[MM_LEAK_SIDES]; /* filled by mm_leak_decide */
	struct mm_leak_sign_result sign[MM_LEAK_SIGNS];
	double p_all; /* combined; 1 when nothing is known */
};
/* A text is a suspect from this posterior on. More than one half: the modes of real residuals are less equal than those
 * of the model, and texts just above the middle are the healthy mode's tail more often than they should be. */
#define MM_LEAK_SUSPECT 0.6
/* residual[n], posterior[n]: of the better side. */
int mm_leak_test(const struct mm_leak_input *in, size_t self, struct mm_leak_test *out, double *residual,
	double *posterior, struct mm_err *err) MM_MUST_CHECK;
/* p-values of t[k]: each calibrated by the other models', those of leaked[k] (known to be) left out. */
int mm_leak_decide(struct mm_leak_test *t, const bool *leaked, size_t k, struct mm_err *err) MM_MUST_CHECK;
/* Is the effect one that means something: two modes that can be told apart, a gain worth a name, a few texts? */
#define MM_LEAK_MIN_MODELS     8
#define MM_LEAK_MIN_SEPARATION 1.5
#define MM_LEAK_MIN_GAIN       0.005 /* nats a byte */
#define MM_LEAK_MIN_SUSPECTS   5
bool mm_leak_matters(const struct mm_leak_test *t, size_t n_suspects, double mean_bytes);

/* r[n]: residuals, before or after centring by domains that hold both. Stratified rank sum of the others against the
 * controls, one-sided; effect: difference of the medians in nats per text. */
#define MM_LEAK_MIN_CONTROLS 20
int mm_leak_control(const double *r, const bool *control, const uint32_t *domain, size_t n, size_t n_domain,
	struct mm_leak_sign_result *out, struct mm_err *err) MM_MUST_CHECK;
/* Controls are suspected as often as the others (at least half as often): then the second mode is no leak. */
bool mm_leak_refuted(const double *posterior, const bool *control, size_t n);

struct mm_leak_level {
	double statistic; /* residual over its robust standard deviation; positive: better likelihood than the scores
			     say */
	double p;	  /* one-sided, Student with models - 2 degrees of freedom; never below 1 / (models + 1) */
	double effect;	  /* residual in nats per text */
	size_t n;	  /* models of the line, the one itself left out */
};
/* H0: mean[self] lies on the (Theil-Sen) line through the other models' scores as they do. score[k]: NAN where unknown.
 * false: too few scores (8), or a score outside of the others' range (first checkpoints at chance): no statement. */
bool mm_leak_level(const double *mean, const double *score, size_t k, size_t self, struct mm_leak_level *out);

/* ---- multiple.c: false discoveries controlled over a stream (LORD++) ----
 *
 * Hypotheses come one by one; test t gets a level from the wealth that earlier discoveries earned:
 *	level_t = w0 g(t) + (q - w0) g(t - t1) + q sum_{j >= 2} g(t - tj),	tj the discoveries before t,
 * with g(t) = c log(max(t, 2)) / (t exp(sqrt(log t))), sum 1, w0 = q / 2. For independent p-values of true null
 * hypotheses the expected share of false discoveries is at most q at any time. */
struct mm_fdr_row {
	double p;
	double level;  /* of this test */
	double wealth; /* left after it: w0 - sum of levels + (q - w0) or q for each discovery */
	bool found;    /* p <= level */
};
/* Fills level, wealth, found from the p-values in the order of the tests: a decision can be replayed from what is
 * stored. */
void mm_fdr_replay(struct mm_fdr_row *row, size_t n, double q);
double mm_fdr_gamma(size_t t); /* t from 1 */

#endif
