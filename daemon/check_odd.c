/* check_odd.c: which models are broken, or not what they say. On the worker, over the snapshot of a sweep.
 *
 * For each model its original is looked for: the model of the same architecture and size whose sampled weights are most
 * its own. Nearly all weights the same and yet another model: a wrong tokenizer or config, a conversion that
 * overflowed, or damage, told apart by what the files say. The one that is worse in every domain is the broken one of
 * the two. A model without an original can still be seen to know no more than a unigram model. */
#include "daemon/check_priv.h"

#include <math.h>
#include <string.h>

bool mm_odd_broken(const struct mm_check_model *m)
{
	static const enum mm_alert_kind kinds[] = { MM_AK_TOKENIZER_MISMATCH, MM_AK_OVERFLOW, MM_AK_DAMAGED,
		MM_AK_DIVERGED };
	for (size_t i = 0; i < MM_COUNT(kinds); i++)
		if (m->odd[kinds[i] - MM_ODD_FIRST].cause)
			return true;
	return false;
}

int mm_odd_found(struct mm_sweep *w, struct mm_check_model *m, enum mm_alert_kind kind, char *message, json_t *evidence)
{
	struct mm_finding *f = &m->odd[kind - MM_ODD_FIRST];
	mm_finding_fini(f);
	f->message = message;
	f->evidence = evidence;
	f->cause = message && evidence ? mm_strdup(mm_alert_rules[kind].kind, &w->err) : NULL;
	if (f->cause)
		return 0;
	mm_finding_fini(f);
	return mm_fail(&w->err, MM_ENOMEM, "out of memory");
}

/* ---- pairs ---- */

struct pair { /* a model against its original */
	const struct mm_check_model *o;
	struct mm_weight_match w;
	double lost, worst; /* bits per byte: in the domain that lost least, and most */
	bool other_tokens, other_config, other_dtype;
	double far; /* two_kl over the sum of both variances */
};

static bool other(struct mm_hash a, struct mm_hash b)
{
	static const struct mm_hash zero;
	return !mm_hash_eq(a, zero) && !mm_hash_eq(b, zero) && !mm_hash_eq(a, b);
}

static bool is_16bit(const char *dtype)
{
	return dtype && (strcasecmp(dtype, "f16") == 0 || strcasecmp(dtype, "bf16") == 0);
}

static double lost_of(
	const struct mm_sweep *w, const struct mm_check_model *a, const struct mm_check_model *b, double *worst)
{
	struct mm_err ignored;
	struct mm_domain_gap *gap = mm_calloc(w->texts->n_domain + 1, sizeof(*gap), &ignored);
	double lost = 0;
	*worst = 0;
	if (gap) {
		mm_domain_gaps(a->vec, b->vec, w->n, w->texts->domain, w->texts->n_domain, gap);
		lost = mm_lost_everywhere(gap, w->bytes, w->texts->n_domain, mm_rules[MM_RULE_SIGMAS].value, worst);
	}
	mm_free(gap);
	return lost;
}

/* The model with the most equal weights; among equals the one that loses least: a damaged copy is nobody's original. */
static const struct mm_check_model *original(const struct mm_sweep *w, size_t i, struct mm_weight_match *best)
{
	const struct mm_check_model *m = &w->m[i], *found = NULL;
	double mean, best_mean = -INFINITY, var;
	memset(best, 0, sizeof(*best));
	for (size_t j = 0; j < w->k && m->facts->sample; j++) {
		const struct mm_check_model *o = &w->m[j];
		struct mm_weight_match x;
		/* steps of one run may train other weights than those of the sample: the early one is young */
		if (j == i || o->group != m->group || !o->facts->sample || (m->run && o->run == m->run))
			continue;
		mm_weight_match(m->facts->sample, o->facts->sample, MM_CHECK_SAMPLE, &x);
		mm_row_moments(o->vec, w->n, MM_NO_CLIP, &mean, &var);
		if (x.equal < mm_rules[MM_RULE_PART_SAME].value || x.equal < best->equal - 0.01 ||
			(x.equal < best->equal + 0.01 && mean <= best_mean))
			continue;
		*best = x;
		best_mean = mean;
		found = o;
	}
	return found;
}

static void compare(const struct mm_sweep *w, const struct mm_check_model *m, struct pair *p)
{
	double mean, va, vb;
	mm_row_moments(m->vec, w->n, MM_NO_CLIP, &mean, &va);
	mm_row_moments(p->o->vec, w->n, MM_NO_CLIP, &mean, &vb);
	p->far = va + vb > 0 ? mm_dist_pair(m->vec, p->o->vec, w->n, MM_NO_CLIP) / (va + vb) : 0;
	p->lost = lost_of(w, m, p->o, &p->worst);
	p->other_tokens = other(m->facts->tokens, p->o->facts->tokens) || other(m->facts->counts, p->o->facts->counts);
	p->other_config = other(m->facts->config, p->o->facts->config);
	p->other_dtype = m->dtype && p->o->dtype && strcasecmp(m->dtype, p->o->dtype) != 0;
}

static json_t *pair_json(const struct pair *p, double threshold)
{
	return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:b, s:b, s:b, s:f}", "original", p->o->name,
		"same_weights", p->w.equal, "exact", p->w.exact, "change", p->w.change, "lost_bits_per_byte", p->lost,
		"lost_most_bits_per_byte", p->worst, "far", p->far, "other_tokenizer", p->other_tokens, "other_config",
		p->other_config, "other_dtype", p->other_dtype, "threshold_bits_per_byte", threshold);
}

/* Losses in every domain of healthy models against a relative that is no step of a run: what training does. */
static double hidden_loss(const struct mm_sweep *w, size_t self)
{
	struct mm_err ignored;
	double *v = mm_calloc(w->k + 1, sizeof(*v), &ignored), worst;
	size_t n = 0;
	for (size_t i = 0; v && i < w->k; i++) {
		const struct mm_check_model *m = &w->m[i];
		double best = INFINITY;
		size_t kin = SIZE_MAX;
		if (i == self || !m->healthy || m->run)
			continue;
		for (size_t j = 0; j < w->k; j++) {
			double d = j != i && j != self && w->m[j].group == m->group && !w->m[j].run
					   ? mm_dist_pair(m->vec, w->m[j].vec, w->n, MM_NO_CLIP)
					   : INFINITY;
			if (d < best) {
				best = d;
				kin = j;
			}
		}
		if (kin != SIZE_MAX)
			v[n++] = lost_of(w, m, &w->m[kin], &worst);
	}
	double at = mm_rule_value(MM_RULE_HIDDEN_LOSS, v, v ? n : 0);
	mm_free(v);
	return at;
}

static int judge_pair(struct mm_sweep *w, size_t self, struct mm_check_model *m, const struct pair *p)
{
	/* In one element type the same weights are the same bits; gentle training moves them by less than rounding
	 * does. */
	bool same = (p->other_dtype ? p->w.equal : p->w.exact) >= mm_rules[MM_RULE_SAME_WEIGHTS].value;
	double limit;
	if (p->lost <= 0)
		return 0;
	if (same && (p->other_tokens || (p->other_config && !p->other_dtype))) {
		limit = mm_rules[MM_RULE_MISMATCH_LOSS].value;
		if (p->lost >= limit)
			return mm_odd_found(w, m, MM_AK_TOKENIZER_MISMATCH,
				mm_asprintf(&w->err,
					"%s has the weights of %s but another %s, and its log-likelihoods are %.2g "
					"bits "
					"per byte worse in every domain",
					m->name, p->o->name, p->other_tokens ? "tokenizer" : "config", p->lost),
				pair_json(p, limit));
		return 0;
	}
	if (p->other_dtype && is_16bit(m->dtype) && p->w.equal >= mm_rules[MM_RULE_OVERFLOW_SAME].value &&
		p->far >= mm_rules[MM_RULE_OVERFLOW_FAR].value) {
		limit = mm_rules[MM_RULE_DAMAGED_LOSS].value;
		if (p->lost >= limit)
			return mm_odd_found(w, m, MM_AK_OVERFLOW,
				mm_asprintf(&w->err,
					"%s looks like %s in %s, but is %.2g bits per byte worse in every domain: the "
					"conversion lost more than rounding does",
					m->name, p->o->name, m->dtype, p->lost),
				pair_json(p, limit));
		return 0;
	}
	if (!same && p->w.change < mm_rules[MM_RULE_PART_CHANGE].value)
		return 0;
	limit = same ? hidden_loss(w, self) : mm_rules[MM_RULE_DAMAGED_LOSS].value;
	if (p->lost < limit)
		return 0;
	char part[64] = "weights that the sample does not hold";
	if (!same)
		snprintf(part, sizeof(part), "%.0f %% of its weights", 100 * (1 - p->w.equal));
	return mm_odd_found(w, m, MM_AK_DAMAGED,
		mm_asprintf(&w->err,
			"%s is likely %s with %s changed by more than training does: %.2g bits per byte worse in every "
			"domain",
			m->name, p->o->name, part, p->lost),
		pair_json(p, limit));
}

/* ---- alone ---- */

/* Has a step of a run been better before, or got nowhere by its last? Without a run there is nothing to wait for. */
static bool had_its_time(const struct mm_sweep *w, const struct mm_check_model *m, double *fell)
{
	double mean, before, var;
	*fell = 0;
	if (!m->run)
		return true;
	mm_row_moments(m->vec, w->n, MM_NO_CLIP, &mean, &var);
	for (size_t j = 0; j < w->k; j++) {
		const struct mm_check_model *o = &w->m[j];
		if (o == m || o->run != m->run || o->step >= m->step)
			continue;
		mm_row_moments(o->vec, w->n, MM_NO_CLIP, &before, &var);
		*fell = fmax(*fell, (before - mean) / (w->texts->mean_bytes * log(2)));
	}
	return *fell >= mm_rules[MM_RULE_DIVERGED_FALL].value;
}

static int judge_alone(struct mm_sweep *w, struct mm_check_model *m)
{
	struct mm_unigram u;
	double fell, mean, var;
	if (!m->facts->unigram || !mm_near_unigram(m->vec, m->facts->unigram, w->n, &u))
		return 0;
	m->asked[MM_AK_DIVERGED - MM_ODD_FIRST] = true;
	double margin = mm_rules[MM_RULE_DIVERGED_UNIGRAM].value;
	/* clearly worse than frequencies alone: whatever the pattern, nothing is left */
	bool below = u.excess < -margin;
	if (u.excess > margin || (!below && u.corr < mm_rules[MM_RULE_DIVERGED_PATTERN].value) ||
		!had_its_time(w, m, &fell))
		return 0;
	mm_row_moments(m->vec, w->n, MM_NO_CLIP, &mean, &var);
	double bits = -1 / (w->texts->mean_bytes * log(2));
	return mm_odd_found(w, m, MM_AK_DIVERGED,
		mm_asprintf(&w->err,
			"%s knows no more than how often tokens come: %.3g bits per byte, a unigram model of the texts "
			"has "
			"%.3g",
			m->name, mean * bits, mean * bits / (1 - u.excess)),
		json_pack("{s:f, s:f, s:f, s:f, s:f}", "bits_per_byte", mean * bits, "unigram_bits_per_byte",
			mean * bits / (1 - u.excess), "excess", u.excess, "pattern", u.corr, "fell_bits_per_byte",
			fell));
}

/* ---- the claimed base ---- */

static int judge_claim(struct mm_sweep *w, struct mm_check_model *m)
{
	if (m->claimed == SIZE_MAX)
		return 0;
	const struct mm_check_model *c = &w->m[m->claimed];
	const float *a = m->facts->sample, *b = c->facts->sample;
	struct mm_weight_match x = { 0 };
	bool comparable = c->group == m->group && a && b;
	double least = mm_rules[MM_RULE_IMPOSTOR_WEIGHTS].value, near = INFINITY;
	const struct mm_check_model *who = NULL;
	m->asked[MM_AK_IMPOSTOR - MM_ODD_FIRST] = comparable || w->k >= MM_POPULATION_MIN;
	if (comparable)
		mm_weight_match(a, b, MM_CHECK_SAMPLE, &x);
	if (comparable && x.corr >= least)
		return 0; /* its weights come from there, wherever it went since */
	double claimed = mm_dist_pair(m->vec, c->vec, w->n, MM_NO_CLIP);
	for (size_t j = 0; j < w->k; j++) {
		const struct mm_check_model *o = &w->m[j];
		struct mm_weight_match y = { 0 };
		if (o == m || o == c || mm_odd_broken(o))
			continue;
		if (o->group == c->group && b && o->facts->sample) /* the claimed base's own family proves nothing */
			mm_weight_match(o->facts->sample, b, MM_CHECK_SAMPLE, &y);
		else if (o->group == c->group)
			continue;
		double d = mm_dist_pair(m->vec, o->vec, w->n, MM_NO_CLIP);
		if (y.corr < least && d < near) {
			near = d;
			who = o;
		}
	}
	if (!who || claimed < mm_rules[MM_RULE_IMPOSTOR_NEARER].value * near)
		return 0;
	double claimed_bits = mm_kl_bits_per_byte(claimed, w->texts->mean_bytes),
	       near_bits = mm_kl_bits_per_byte(near, w->texts->mean_bytes);
	return mm_odd_found(w, m, MM_AK_IMPOSTOR,
		mm_asprintf(&w->err,
			"%s says that it comes from %s (%.3g bits per byte away), but lies beside %s (%.3g)%s", m->name,
			c->name, claimed_bits, who->name, near_bits,
			comparable ? " and shares no weights with what it claims" : ""),
		json_pack("{s:s, s:s, s:f, s:s, s:f, s:f, s:b}", "claims", m->claim, "claimed_model", c->name,
			"claimed_kl_bits_per_byte", claimed_bits, "nearest", who->name, "nearest_kl_bits_per_byte",
			near_bits, "weights_correlation", x.corr, "weights_known", comparable));
}

int mm_sweep_odd(struct mm_sweep *w, const _Atomic bool *cancel)
{
	for (size_t i = 0; i < w->k && !*cancel; i++) {
		struct mm_check_model *m = &w->m[i];
		struct pair p = { 0 };
		if (!m->test)
			continue;
		for (int k = MM_AK_DAMAGED; k <= MM_AK_OVERFLOW; k++)
			if (k == MM_AK_DAMAGED || k >= MM_AK_TOKENIZER_MISMATCH)
				m->asked[k - MM_ODD_FIRST] = m->facts->sample != NULL;
		if ((p.o = original(w, i, &p.w))) {
			compare(w, m, &p);
			if (judge_pair(w, i, m, &p))
				return -1;
		}
		if (!mm_odd_broken(m) && judge_alone(w, m))
			return -1;
		if (mm_odd_broken(m))
			m->asked[MM_AK_DIVERGED - MM_ODD_FIRST] = true;
	}
	for (size_t i = 0; i < w->k && !*cancel; i++)
		if (w->m[i].test && !mm_odd_broken(&w->m[i]) && judge_claim(w, &w->m[i]))
			return -1;
	return 0;
}
