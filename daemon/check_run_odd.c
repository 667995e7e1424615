/* check_run_odd.c: what is wrong with a step of a training run: a jump, or one domain that fell. On the worker.
 *
 * A run is the steps that share its directory, in the order of their numbers, without broken ones. What is usual is
 * taken from the run itself and from the steps of all other runs of the map. */
#include "daemon/check_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct steps {	    /* of one run */
	size_t *at; /* [n] in w->m */
	size_t n;
	double *d, *across, *mean;
};

static int by_step(const void *a, const void *b, void *sweep)
{
	const struct mm_sweep *w = sweep;
	const struct mm_check_model *x = &w->m[*(const size_t *)a], *y = &w->m[*(const size_t *)b];
	return x->step != y->step ? (x->step < y->step ? -1 : 1) : x->id < y->id ? -1 : x->id > y->id;
}

static void steps_free(struct steps *s)
{
	mm_free(s->at);
	mm_free(s->d);
	memset(s, 0, sizeof(*s));
}

static int steps_of(struct mm_sweep *w, uint64_t run, struct steps *s)
{
	double var;
	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < w->k; i++)
		s->n += w->m[i].run == run;
	s->at = mm_calloc(s->n + 1, sizeof(*s->at), &w->err);
	s->d = s->at ? mm_calloc(3 * s->n + 1, sizeof(*s->d), &w->err) : NULL;
	if (!s->d) {
		steps_free(s);
		return -1;
	}
	s->across = s->d + s->n;
	s->mean = s->across + s->n;
	s->n = 0;
	for (size_t i = 0; i < w->k; i++)
		if (w->m[i].run == run && !mm_odd_broken(&w->m[i]))
			s->at[s->n++] = i;
	qsort_r(s->at, s->n, sizeof(*s->at), by_step, w);
	for (size_t i = 0; i < s->n; i++) {
		const float *v = w->m[s->at[i]].vec;
		mm_row_moments(v, w->n, MM_NO_CLIP, &s->mean[i], &var);
		if (i + 1 < s->n)
			s->d[i] = mm_dist_pair(v, w->m[s->at[i + 1]].vec, w->n, MM_NO_CLIP);
		if (i + 2 < s->n)
			s->across[i] = mm_dist_pair(v, w->m[s->at[i + 2]].vec, w->n, MM_NO_CLIP);
	}
	return 0;
}

struct seen { /* one step, measured */
	size_t i;
	bool jump_known, fell_known;
	struct mm_run_step jump;
	int domain; /* that fell by the default rule; -1 */
	double by;  /* bits per byte */
	bool paid;  /* a fine-tune that won more elsewhere */
	const struct mm_check_model *against;
};

static double fell_against(const struct mm_sweep *w, const struct mm_check_model *m, const struct mm_check_model *o,
	double limit, int *domain, bool *paid)
{
	struct mm_err ignored;
	struct mm_domain_gap *gap = mm_calloc(w->texts->n_domain + 1, sizeof(*gap), &ignored);
	double by = 0, gained = 0;
	*domain = -1;
	if (gap) {
		mm_domain_gaps(m->vec, o->vec, w->n, w->texts->domain, w->texts->n_domain, gap);
		*domain = mm_domain_fell(gap, w->bytes, w->texts->n_domain, limit,
			mm_rules[MM_RULE_REGRESSED_OTHERS].value, mm_rules[MM_RULE_SIGMAS].value, &by, &gained);
	}
	mm_free(gap);
	*paid = !m->run && gained >= mm_rules[MM_RULE_REGRESSED_PAID].value * by;
	return by;
}

/* Measures every step of every run, and every model against the base that it claims. */
static size_t measure(struct mm_sweep *w, struct seen *out)
{
	size_t n = 0;
	for (size_t i = 0; i < w->k; i++) {
		struct mm_check_model *m = &w->m[i];
		struct steps s;
		size_t first = 0;
		while (m->run && w->m[first].run != m->run)
			first++;
		if (m->run && first == i) {
			if (steps_of(w, m->run, &s))
				return SIZE_MAX;
			for (size_t a = 0; a < s.n; a++) {
				struct seen *x = &out[n++];
				*x = (struct seen){ .i = s.at[a], .domain = -1 };
				mm_run_jump(s.d, s.across, s.mean, s.n, a, &x->jump);
				x->jump_known = x->jump.n_legs >= (size_t)mm_rules[MM_RULE_JUMP_LEGS].value;
				if (a > 0) {
					x->against = &w->m[s.at[a - 1]];
					x->fell_known = true;
				}
			}
			steps_free(&s);
		} else if (!m->run && m->claimed != SIZE_MAX && !mm_odd_broken(m) &&
			   !m->odd[MM_AK_IMPOSTOR - MM_ODD_FIRST].cause) {
			out[n++] =
				(struct seen){ .i = i, .domain = -1, .against = &w->m[m->claimed], .fell_known = true };
		}
	}
	for (size_t a = 0; a < n; a++)
		if (out[a].against)
			out[a].by = fell_against(w, &w->m[out[a].i], out[a].against, 0, &out[a].domain, &out[a].paid);
	return n;
}

/* The threshold for step `self`: what the others do. */
static double usual(enum mm_rule_id id, const struct seen *s, size_t n, size_t self, double *tmp)
{
	size_t m = 0;
	for (size_t a = 0; a < n; a++) {
		if (a == self)
			continue;
		if (id == MM_RULE_JUMP_AWAY && s[a].jump_known)
			tmp[m++] = s[a].jump.away;
		if (id == MM_RULE_JUMP_FACTOR && s[a].jump_known)
			tmp[m++] = s[a].jump.factor;
		if (id == MM_RULE_REGRESSED_FALL && s[a].fell_known)
			tmp[m++] = s[a].domain >= 0 && !s[a].paid ? s[a].by : 0;
	}
	return mm_rule_value(id, tmp, m);
}

static int judge_jump(struct mm_sweep *w, const struct seen *s, double away, double factor)
{
	struct mm_check_model *m = &w->m[s->i];
	double kl = mm_kl_bits_per_byte(s->jump.before, w->texts->mean_bytes),
	       fell = s->jump.fell / (w->texts->mean_bytes * log(2)),
	       worse = fell >= mm_rules[MM_RULE_JUMP_FELL].value ? s->jump.factor : 0;
	m->asked[MM_AK_JUMP - MM_ODD_FIRST] = s->jump_known;
	if (!s->jump_known || !isfinite(kl) || (s->jump.away < away && worse < factor) ||
		kl < mm_rules[MM_RULE_JUMP_KL].value || m->odd[MM_AK_REGRESSED - MM_ODD_FIRST].cause)
		return 0; /* a domain that fell explains the distance: one cause, one alert */
	/* what is more out of line, for its rule, is what is told */
	bool back = s->jump.away / away >= worse / factor;
	return mm_odd_found(w, m, MM_AK_JUMP,
		mm_asprintf(&w->err,
			"%s is out of line with its run: %.2g bits per byte from the step before, %.1f times %s",
			m->name, kl, back ? s->jump.away : worse,
			back ? "the way between the steps around it" : "what is usual here, and worse"),
		json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:s}", "kl_bits_per_byte", kl, "usual_kl_bits_per_byte",
			isfinite(s->jump.usual) ? mm_kl_bits_per_byte(s->jump.usual, w->texts->mean_bytes) : 0.0,
			"away", s->jump.away, "threshold_away", away, "factor", worse, "threshold", factor, "legs",
			(json_int_t)s->jump.n_legs, "before", s->against ? s->against->name : ""));
}

static int judge_fall(struct mm_sweep *w, const struct seen *s, double limit)
{
	struct mm_check_model *m = &w->m[s->i];
	m->asked[MM_AK_REGRESSED - MM_ODD_FIRST] = s->fell_known;
	if (!s->against || s->domain < 0 || s->by < limit || s->paid)
		return 0;
	int domain;
	bool paid;
	double by = fell_against(w, m, s->against, limit, &domain, &paid);
	if (domain < 0 || paid)
		return 0;
	const char *name = w->texts->domain_name[domain];
	return mm_odd_found(w, m, MM_AK_REGRESSED,
		mm_asprintf(&w->err, "%s lost %.2g bits per byte on %s against %s, and nothing on most other domains",
			m->name, by, *name ? name : "texts without a domain", s->against->name),
		json_pack("{s:s, s:s, s:f, s:f}", "domain", name, "against", s->against->name, "lost_bits_per_byte", by,
			"threshold_bits_per_byte", limit));
}

int mm_sweep_runs(struct mm_sweep *w, const _Atomic bool *cancel)
{
	struct seen *s = mm_calloc(w->k + 1, sizeof(*s), &w->err);
	double *tmp = s ? mm_calloc(w->k + 1, sizeof(*tmp), &w->err) : NULL;
	size_t n = tmp ? measure(w, s) : SIZE_MAX;
	int rc = n == SIZE_MAX ? -1 : 0;
	for (size_t a = 0; rc == 0 && a < n && !*cancel; a++) {
		if (!w->m[s[a].i].test)
			continue;
		rc = judge_fall(w, &s[a], usual(MM_RULE_REGRESSED_FALL, s, n, a, tmp));
		if (rc == 0)
			rc = judge_jump(w, &s[a], usual(MM_RULE_JUMP_AWAY, s, n, a, tmp),
				usual(MM_RULE_JUMP_FACTOR, s, n, a, tmp));
	}
	mm_free(tmp);
	mm_free(s);
	return rc;
}
