/* anomaly.c: the rule table. Every threshold of the alerts about broken models stands here and nowhere else.
 *
 * Defaults are blunt on purpose: an alert wakes somebody. Where healthy models of the map go farther than a default
 * (a map of quarrelsome fine-tunes), their own quantile counts instead; a map can make a rule blunter, never sharper,
 * so that a population of near-copies does not make every honest model an anomaly. */
#include "stat/stat_anomaly.h"
#include "stat/stat_priv.h"

#include <math.h>
#include <stdlib.h>

/* kind, name, default, unit, quantile, factor, sample, why */
const struct mm_rule mm_rules[MM_RULE_COUNT] = {
	[MM_RULE_DIVERGED_UNIGRAM] = { "diverged", "unigram_margin", 0.1, "share of the unigram model's log-likelihood",
		0, 0, 1,
		"training that failed ends where only the frequencies of tokens are known; anything that "
		"learned to look at one token before is 15 % better" },
	[MM_RULE_DIVERGED_PATTERN] = { "diverged", "unigram_pattern", 0.95, "correlation over the texts", 0, 0, 1,
		"the same texts are hard as for the unigram model; trained models have 0.7 to 0.9" },
	[MM_RULE_DIVERGED_FALL] = { "diverged", "fall", 0.05, "bits per byte", 0, 0, 1,
		"a step of a run near the unigram model is young, not diverged, unless a step before was better by "
		"this" },
	[MM_RULE_SAME_WEIGHTS] = { "tokenizer_mismatch, damaged", "same_weights", 0.98,
		"share of sampled weights that are equal, but for rounding in another element type", 0, 0, 1,
		"fine-tuning leaves 2 to 4 % of the weights where they were after rounding, interpolation up to 20 %" },
	[MM_RULE_PART_SAME] = { "damaged", "part_same", 0.4, "share of sampled weights that are equal", 0, 0, 1,
		"most of the weights must be the original's, or it is another model and not a damaged one" },
	[MM_RULE_PART_CHANGE] = { "damaged", "part_change", 0.35, "root mean square of the weights", 0, 0, 1,
		"what differs must differ by the size of a weight: noise, zeros, another layer; training moves 0.1 to "
		"0.3" },
	[MM_RULE_DAMAGED_LOSS] = { "damaged", "loss", 0.03, "bits per byte, in every domain", 0, 0, 1,
		"with part of the weights replaced any loss in all domains at once is damage" },
	[MM_RULE_HIDDEN_LOSS] = { "damaged", "hidden_loss", 0.25, "bits per byte, in every domain", 0.95, 2, 8,
		"where the sampled weights are the same, adapters may have changed others: a loss beyond that of "
		"training on something else" },
	[MM_RULE_MISMATCH_LOSS] = { "tokenizer_mismatch", "loss", 0.5, "bits per byte, in every domain", 0, 0, 1,
		"a tokenizer that was only saved again, or grown, costs nothing; a wrong one costs bits" },
	[MM_RULE_OVERFLOW_SAME] = { "overflow", "same_weights", 0.5, "share of sampled weights that are equal", 0, 0, 1,
		"the conversion went right for most of the weights" },
	[MM_RULE_OVERFLOW_FAR] = { "overflow", "far", 1e-3, "share of the variance over the texts", 0, 0, 1,
		"rounding to 16 bits moves tiny models by 2e-7 of it, and at most 4e-6" },
	[MM_RULE_JUMP_LEGS] = { "jump", "legs", 3, "steps of the run", 0, 0, 3, "two legs have no usual length" },
	[MM_RULE_JUMP_AWAY] = { "jump", "away", 3, "ways between the steps before and after", 0.95, 2, 8,
		"a step on the way has at most a half, one that shares nothing with its neighbours but noise has one" },
	[MM_RULE_JUMP_FACTOR] = { "jump", "factor", 6, "times the usual leg, where likelihood was lost", 0.95, 2, 8,
		"steps of one run differ by 2 to 3 where their distance doubles" },
	[MM_RULE_JUMP_FELL] = { "jump", "fell", 0.02, "bits per byte, of all texts", 0, 0, 1,
		"the mean of steps that follow each other wavers by up to a hundredth" },
	[MM_RULE_JUMP_KL] = { "jump", "kl", 0.07, "bits per byte", 0, 0, 1,
		"consecutive checkpoints of published runs move 0.01 to 0.07" },
	[MM_RULE_REGRESSED_FALL] = { "regressed", "fall", 0.05, "bits per byte of one domain", 0.95, 2, 8,
		"against the step before or the base that is claimed" },
	[MM_RULE_REGRESSED_OTHERS] = { "regressed", "others", 0.01, "bits per byte, median of the other domains", 0, 0,
		1, "fine-tuning costs all other domains a little: that is no regression of one" },
	[MM_RULE_REGRESSED_PAID] = { "regressed", "paid", 1, "times the fall", 0, 0, 1,
		"a fine-tune that won as much on another domain has traded one for the other" },
	[MM_RULE_IMPOSTOR_WEIGHTS] = { "impostor", "weights", 0.2, "correlation of sampled weights", 0, 0, 1,
		"independent trainings have 0 with a standard error of 0.03, a first checkpoint 0.4 with the last" },
	[MM_RULE_IMPOSTOR_NEARER] = { "impostor", "nearer", 2, "ratio of squared distances", 0, 0, 1,
		"somebody unrelated to the claimed base is nearer than it" },
	[MM_RULE_SIGMAS] = { "damaged, overflow, tokenizer_mismatch, regressed", "sigmas", 4, "standard errors", 0, 0,
		1, "over a few domains and hundreds of models chance stays below 1 %" },
};

double mm_rule_value(enum mm_rule_id id, double *healthy, size_t n)
{
	const struct mm_rule *r = &mm_rules[id];
	if (r->at <= 0 || n < r->min_sample)
		return r->value;
	qsort(healthy, n, sizeof(*healthy), mm_cmp_double);
	return fmax(r->value, r->factor * mm_sorted_quantile(healthy, n, r->at));
}
