/* lineage.c: who comes from whom, from distances.
 *
 * Interpolating weights moves a model along a slightly bent line between its parents, so that a merge betrays itself by
 * the three distances alone. Fine-tunes of one base move in unrelated directions, so that squared distances add up
 * along the tree and the base is the middle of its family: the minimum spanning tree is the family tree, its root the
 * model with the least sum of distances. */
#include "stat/stat_priv.h"

#include <math.h>
#include <string.h>

/* ---- merges ---- */

bool mm_blend_of(double xa, double xb, double ab, struct mm_blend *out)
{
	memset(out, 0, sizeof(*out));
	out->two_kl_ab = ab;
	if (!(ab > 0))
		return false;
	out->alpha = (xa + ab - xb) / (2 * ab);
	out->off_line = sqrt(fmax(xa - out->alpha * out->alpha * ab, 0) / ab);
	if (!(out->alpha > 0 && out->alpha < 1))
		return false;
	out->bow = out->off_line / sqrt(out->alpha * (1 - out->alpha));
	return true;
}

#define ALPHA_MIN 0.05 /* nearer to an end than this nobody can tell a merge from a short fine-tune */

bool mm_blend_find(const struct mm_tri *t, const uint64_t *group, size_t x, size_t n_near, double max_bow,
	struct mm_near *near, uint32_t *a, uint32_t *b, struct mm_blend *out)
{
	size_t n = 0;
	bool found = false;
	double top = 0;
	struct mm_blend best = { 0 };
	for (size_t j = 0; j < t->k; j++) {
		double d = mm_tri_get(t, x, j);
		if (j == x || d <= 0 || (group && group[j] != group[x]))
			continue;
		/* insertion into the n_near nearest: short lists, and no order among equals but the index */
		size_t at = n < n_near ? n++ : n_near;
		while (at > 0 && (double)near[at - 1].d > (double)(float)d) {
			if (at < n_near)
				near[at] = near[at - 1];
			at--;
		}
		if (at < n_near)
			near[at] = (struct mm_near){ (uint32_t)j, (float)d };
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++) {
			struct mm_blend m;
			double ab = mm_tri_get(t, near[i].i, near[j].i);
			/* j is nearer: it is the side of alpha below a half */
			if (!mm_blend_of((double)near[j].d, (double)near[i].d, ab, &m) || m.alpha < ALPHA_MIN ||
				m.alpha > 1 - ALPHA_MIN || m.bow > max_bow)
				continue;
			/* Among merges of the same two, the nearest neighbours are each other: the longest line has the
			 * parents at its ends, as long as it does not bend to reach somebody else. */
			double score = ab * (1 - m.bow * m.bow / (max_bow * max_bow));
			if (score <= top)
				continue;
			top = score;
			best = m;
			*a = near[j].i;
			*b = near[i].i;
			found = true;
		}
	*out = best;
	return found;
}

/* ---- the tree ---- */

#define SAME_WEIGHTS 4e-6 /* share of both variances: other dtype, same weights */
#define NEAR_MERGE   64

struct forest {
	const struct mm_kin_input *in;
	struct mm_kin *out;
	size_t k;
	uint32_t *link;	   /* [k] neighbour in the spanning tree that was there before */
	double *reach;	   /* [k] two_kl to it */
	double *foreign;   /* [k] two_kl to the nearest model of another group */
	bool *done, *core; /* core: a link of the tree, merges too; not copies, not steps of a run */
};

#define CUT 1.5 /* a link longer than this times what separates both its ends from other architectures is none */

static bool in_group(const struct forest *f, size_t i, uint64_t g)
{
	return f->core[i] && f->in->group[i] == g;
}

static void copies_and_merges(struct forest *f, struct mm_near *near)
{
	const struct mm_tri *t = f->in->t;
	for (size_t i = 0; i < f->k; i++) {
		struct mm_kin *x = &f->out[i];
		struct mm_blend m;
		f->core[i] = true;
		for (size_t j = 0; j < i && x->kind == MM_KIN_ROOT; j++)
			if (f->out[j].kind != MM_KIN_COPY && f->in->group[i] == f->in->group[j] &&
				mm_tri_get(t, i, j) <= SAME_WEIGHTS * (f->in->var[i] + f->in->var[j])) {
				x->kind = MM_KIN_COPY;
				x->parent = (uint32_t)j;
				x->two_kl = mm_tri_get(t, i, j);
			}
		if (x->kind == MM_KIN_ROOT && mm_blend_find(t, f->in->group, i, NEAR_MERGE, MM_BLEND_BOW, near,
						      &x->parent, &x->parent2, &m)) {
			x->kind = MM_KIN_MERGE;
			x->alpha = m.alpha;
			x->two_kl = mm_tri_get(t, i, x->parent);
		}
		f->core[i] = x->kind != MM_KIN_COPY && !(f->in->run && f->in->run[i] != UINT32_MAX);
	}
}

/* Copies must not hide what a merge is made of, nor stand for its parent: the original does. */
static void originals(struct forest *f)
{
	for (size_t i = 0; i < f->k; i++) {
		struct mm_kin *x = &f->out[i];
		if (x->kind != MM_KIN_MERGE)
			continue;
		if (f->out[x->parent].kind == MM_KIN_COPY)
			x->parent = f->out[x->parent].parent;
		if (f->out[x->parent2].kind == MM_KIN_COPY)
			x->parent2 = f->out[x->parent2].parent;
	}
}

static uint32_t middle_of(const struct forest *f, uint64_t g)
{
	uint32_t best = UINT32_MAX;
	double least = INFINITY;
	for (size_t i = 0; i < f->k; i++) {
		double sum = 0;
		for (size_t j = 0; j < f->k && in_group(f, i, g); j++)
			if (in_group(f, j, g) && !f->done[j])
				sum += sqrt(mm_tri_get(f->in->t, i, j));
		if (in_group(f, i, g) && f->out[i].kind == MM_KIN_ROOT && !f->done[i] && sum < least) {
			least = sum;
			best = (uint32_t)i;
		}
	}
	return best;
}

/* The next model up the tree that is no merge: a merge ties its parents together but is nobody's parent here. */
static void adopt(struct forest *f, uint32_t i)
{
	struct mm_kin *x = &f->out[i];
	uint32_t up = f->link[i];
	bool far = f->reach[i] >= CUT * f->foreign[i] && f->reach[i] >= CUT * f->foreign[up];
	while (f->out[up].kind == MM_KIN_MERGE)
		up = f->link[up];
	x->kind = far ? MM_KIN_ROOT : MM_KIN_CHILD;
	x->parent = far ? UINT32_MAX : up;
	x->two_kl = far ? 0 : mm_tri_get(f->in->t, i, up);
}

/* Prim's algorithm from the middle: the link by which a model joins leads towards the root. */
static void grow(struct forest *f, uint64_t g, uint32_t root)
{
	const struct mm_tri *t = f->in->t;
	for (uint32_t at = root; at != UINT32_MAX;) {
		f->done[at] = true;
		uint32_t next = UINT32_MAX;
		for (size_t i = 0; i < f->k; i++) {
			if (f->done[i] || !in_group(f, i, g))
				continue;
			double d = mm_tri_get(t, i, at);
			if (d < f->reach[i]) {
				f->reach[i] = d;
				f->link[i] = at;
			}
			if (next == UINT32_MAX || f->reach[i] < f->reach[next])
				next = (uint32_t)i;
		}
		if (next != UINT32_MAX && f->out[next].kind != MM_KIN_MERGE)
			adopt(f, next);
		at = next;
	}
}

/* A checkpoint belongs to its run: its parent is the run's last state, the group's nearest model that is none of its
 * steps. */
static void checkpoints(struct forest *f)
{
	const struct mm_kin_input *in = f->in;
	for (size_t i = 0; i < f->k && in->run; i++) {
		struct mm_kin *x = &f->out[i];
		uint32_t last = UINT32_MAX;
		if (in->run[i] == UINT32_MAX || x->kind == MM_KIN_COPY || x->kind == MM_KIN_MERGE)
			continue;
		for (size_t j = 0; j < f->k && in->step; j++)
			if (in->run[j] == in->run[i] && (last == UINT32_MAX || in->step[j] > in->step[last]))
				last = (uint32_t)j;
		uint32_t from = last != UINT32_MAX ? last : (uint32_t)i, best = UINT32_MAX;
		for (size_t j = 0; j < f->k; j++)
			if (f->core[j] && f->out[j].kind != MM_KIN_MERGE && in->group[j] == in->group[i] &&
				(best == UINT32_MAX || mm_tri_get(in->t, from, j) < mm_tri_get(in->t, from, best)))
				best = (uint32_t)j;
		x->kind = MM_KIN_CHECKPOINT;
		x->parent2 = UINT32_MAX;
		if (best == UINT32_MAX &&
			from != i) /* the run has no end outside of itself: its last step stands for it */
			best = from;
		x->parent = best;
		x->two_kl = best != UINT32_MAX ? mm_tri_get(in->t, i, best) : 0;
	}
}

static void rivals(struct forest *f)
{
	for (size_t i = 0; i < f->k; i++) {
		struct mm_kin *x = &f->out[i];
		for (size_t j = 0; j < f->k; j++) {
			double d = mm_tri_get(f->in->t, i, j);
			if (j == i || j == x->parent || j == x->parent2 || !in_group(f, j, f->in->group[i]) ||
				f->out[j].kind == MM_KIN_MERGE || f->out[j].parent == i || d >= x->rival)
				continue;
			x->rival = d;
			x->rival_i = (uint32_t)j;
		}
	}
}

static void bases(struct forest *f)
{
	for (size_t i = 0; i < f->k; i++) {
		uint32_t at = (uint32_t)i;
		for (size_t hop = 0; hop < f->k && f->out[at].parent != UINT32_MAX; hop++)
			at = f->out[at].parent;
		f->out[i].base = at;
	}
}

int mm_kin_tree(const struct mm_kin_input *in, struct mm_kin *out, struct mm_err *err)
{
	struct forest f = { .in = in, .out = out, .k = in->t->k };
	struct mm_near *near = mm_calloc(NEAR_MERGE + 1, sizeof(*near), err);
	int rc = -1;
	f.link = near ? mm_calloc(f.k, sizeof(*f.link), err) : NULL;
	f.reach = f.link ? mm_calloc(2 * f.k, sizeof(*f.reach), err) : NULL;
	f.done = f.reach ? mm_calloc(2 * f.k, sizeof(*f.done), err) : NULL;
	if (!f.done)
		goto out;
	f.core = f.done + f.k;
	f.foreign = f.reach + f.k;
	for (size_t i = 0; i < f.k; i++) {
		out[i] = (struct mm_kin){
			.parent = UINT32_MAX, .parent2 = UINT32_MAX, .rival = INFINITY, .rival_i = UINT32_MAX
		};
		f.reach[i] = f.foreign[i] = INFINITY;
		for (size_t j = 0; j < f.k; j++)
			if (in->group[j] != in->group[i])
				f.foreign[i] = fmin(f.foreign[i], mm_tri_get(in->t, i, j));
	}
	copies_and_merges(&f, near);
	originals(&f);
	for (size_t i = 0; i < f.k; i++)
		if (f.core[i] && !f.done[i] && out[i].kind == MM_KIN_ROOT)
			grow(&f, in->group[i], middle_of(&f, in->group[i]));
	checkpoints(&f);
	rivals(&f);
	bases(&f);
	rc = 0;
out:
	mm_free(f.done);
	mm_free(f.reach);
	mm_free(f.link);
	mm_free(near);
	return rc;
}

int mm_boot_nearer(const struct mm_boot *boot, const float *x, const float *a, const float *b, double clip, double *out,
	struct mm_err *err)
{
	size_t n = boot->n, wins = 0;
	double *da = mm_calloc(2 * n, sizeof(*da), err), *db = da ? da + n : NULL;
	*out = 0;
	if (!da)
		return -1;
	for (size_t s = 0; s < n; s++) {
		double v = fmax((double)x[s], clip);
		da[s] = v - fmax((double)a[s], clip);
		db[s] = v - fmax((double)b[s], clip);
	}
	for (size_t r = 0; r < boot->n_draw; r++) {
		const uint8_t *c = boot->count + r * n;
		double a1 = 0, a2 = 0, b1 = 0, b2 = 0;
		for (size_t s = 0; s < n; s++) {
			a1 += c[s] * da[s];
			a2 += c[s] * da[s] * da[s];
			b1 += c[s] * db[s];
			b2 += c[s] * db[s] * db[s];
		}
		wins += a2 - a1 * a1 / (double)n < b2 - b1 * b1 / (double)n;
	}
	mm_free(da);
	*out = (double)wins / (double)boot->n_draw;
	return 0;
}

double mm_trajectory(const struct mm_tri *t, const uint32_t *seq, const int64_t *step, size_t n, struct mm_leg *out)
{
	double path = 0;
	for (size_t i = 0; i + 1 < n; i++) {
		double d = mm_tri_get(t, seq[i], seq[i + 1]);
		int64_t steps = step ? step[i + 1] - step[i] : 0;
		out[i] = (struct mm_leg){ .two_kl = d, .per_step = steps > 0 ? d / (double)steps : 0 };
		path += sqrt(d);
		if (i == 0)
			continue;
		double before = out[i - 1].two_kl, across = mm_tri_get(t, seq[i - 1], seq[i + 1]),
		       both = 2 * sqrt(d * before);
		/* straight on: the whole is the sum of the parts */
		out[i].turn = both > 0 ? acos(fmax(-1, fmin(1, (across - d - before) / both))) : 0;
	}
	return path;
}
