/* cluster.c: hierarchical clustering, silhouettes, agreement of labelings, Newick.
 *
 * Nearest-neighbour chains: follow nearest neighbours until two clusters are each other's nearest, merge these, go on
 * from what is left of the chain. For linkages that cannot invert (average, Ward, complete) the merges are those of the
 * greedy algorithm, found in O(k^2). Distances of a merged cluster follow Lance and Williams; Ward works on squared
 * distances. */
#include "stat/stat_priv.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

struct work {
	size_t k;
	double **d;	/* lower triangle of working distances */
	uint32_t *size; /* 0: merged away */
	enum mm_linkage how;
};

static double *cell(const struct work *w, size_t i, size_t j)
{
	return i > j ? &w->d[i][j] : &w->d[j][i];
}

static double merged(const struct work *w, double ai, double bi, double ab, double na, double nb, double ni)
{
	switch (w->how) {
	case MM_LINK_AVERAGE:
		return (na * ai + nb * bi) / (na + nb);
	case MM_LINK_COMPLETE:
		return ai > bi ? ai : bi;
	case MM_LINK_WARD:
		break;
	}
	return ((na + ni) * ai + (nb + ni) * bi - ni * ab) / (na + nb + ni);
}

/* Nearest cluster of i; `prefer` wins ties, so that a chain of equal distances ends. */
static size_t nearest(const struct work *w, size_t i, size_t prefer, double *d)
{
	size_t best = prefer;
	*d = prefer == SIZE_MAX ? INFINITY : *cell(w, i, prefer);
	for (size_t j = 0; j < w->k; j++)
		if (j != i && w->size[j] && *cell(w, i, j) < *d) {
			*d = *cell(w, i, j);
			best = j;
		}
	return best;
}

static void join(struct work *w, size_t a, size_t b)
{
	double ab = *cell(w, a, b), na = w->size[a], nb = w->size[b];
	for (size_t i = 0; i < w->k; i++)
		if (i != a && i != b && w->size[i])
			*cell(w, b, i) = merged(w, *cell(w, a, i), *cell(w, b, i), ab, na, nb, w->size[i]);
	w->size[b] += w->size[a];
	w->size[a] = 0;
}

static int cmp_merge(const void *a, const void *b)
{
	const struct mm_merge *x = a, *y = b;
	if (x->height != y->height)
		return x->height < y->height ? -1 : 1;
	return (x->size > y->size) - (x->size < y->size); /* size: the order of discovery until the labels are made */
}

static uint32_t root_of(uint32_t *up, uint32_t i)
{
	while (up[i] != i) {
		up[i] = up[up[i]];
		i = up[i];
	}
	return i;
}

/* The chain finds merges out of order: sort by height, then name clusters by the step that made them. */
static int name_clusters(struct mm_merge *m, size_t k, struct mm_err *err)
{
	uint32_t *up = mm_calloc(3 * k, sizeof(*up), err), *name = up ? up + k : NULL, *size = up ? name + k : NULL;
	if (!up)
		return -1;
	for (uint32_t i = 0; i < k; i++) {
		up[i] = name[i] = i;
		size[i] = 1;
	}
	qsort(m, k - 1, sizeof(*m), cmp_merge);
	for (size_t s = 0; s + 1 < k; s++) {
		uint32_t a = root_of(up, m[s].a), b = root_of(up, m[s].b);
		m[s].a = MM_MIN(name[a], name[b]);
		m[s].b = MM_MAX(name[a], name[b]);
		up[a] = b;
		size[b] += size[a];
		name[b] = (uint32_t)(k + s);
		m[s].size = size[b];
	}
	mm_free(up);
	return 0;
}

static int chain(struct work *w, struct mm_merge *out, struct mm_err *err)
{
	size_t *stack = mm_calloc(w->k + 1, sizeof(*stack), err), n = 0;
	if (!stack)
		return -1;
	for (size_t s = 0; s + 1 < w->k;) {
		if (n == 0)
			while (!w->size[stack[0]])
				stack[0]++;
		n = n ? n : 1;
		double d;
		size_t top = stack[n - 1], before = n > 1 ? stack[n - 2] : SIZE_MAX, next = nearest(w, top, before, &d);
		if (next != before) {
			stack[n++] = next;
			continue;
		}
		double h = w->how == MM_LINK_WARD ? sqrt(fmax(d, 0)) : d;
		/* any two models of the two clusters stand for them until names are given */
		out[s] = (struct mm_merge){ (uint32_t)top, (uint32_t)before, h, (uint32_t)s };
		s++;
		join(w, top, before);
		n -= 2;
		if (n == 0)
			stack[0] = 0;
	}
	mm_free(stack);
	return 0;
}

int mm_cluster_tree(const struct mm_tri *t, enum mm_linkage how, struct mm_merge *out, struct mm_err *err)
{
	struct work w = { .k = t->k, .how = how };
	int rc = -1;
	if (t->k == 0)
		return mm_fail(err, MM_EINVAL, "no models");
	if (t->k == 1)
		return 0;
	if (t->k > 20000)
		return mm_fail(err, MM_EINVAL, "a hierarchy of %zu models is too much", t->k);
	size_t total = t->k * (t->k - 1) / 2;
	w.d = mm_calloc(t->k, sizeof(*w.d), err);
	double *mem = w.d ? mm_calloc(total, sizeof(*mem), err) : NULL;
	w.size = mem ? mm_calloc(t->k, sizeof(*w.size), err) : NULL;
	if (w.size) {
		for (size_t i = 0, at = 0; i < t->k; at += i, i++) {
			w.d[i] = mem + at;
			w.size[i] = 1;
			for (size_t j = 0; j < i; j++)
				w.d[i][j] = how == MM_LINK_WARD ? (double)t->row[i][j] : sqrt((double)t->row[i][j]);
		}
		rc = chain(&w, out, err) || name_clusters(out, t->k, err) ? -1 : 0;
	}
	mm_free(w.size);
	mm_free(mem);
	mm_free(w.d);
	return rc;
}

/* ---- cutting ---- */

int mm_cluster_cut(const struct mm_merge *m, size_t k, size_t want, uint32_t *label, struct mm_err *err)
{
	if (want == 0 || want > k)
		return mm_fail(err, MM_EINVAL, "%zu clusters of %zu models", want, k);
	uint32_t *up = mm_calloc(2 * k, sizeof(*up), err), n = 0;
	if (!up)
		return -1;
	for (uint32_t i = 0; i < 2 * k; i++)
		up[i] = i;
	for (size_t s = 0; s + want < k; s++)
		up[m[s].a] = up[m[s].b] = (uint32_t)(k + s);
	for (size_t i = 0; i < k; i++)
		label[i] = root_of(up, (uint32_t)i);
	/* up is done with: it becomes the new number of each root, plus one */
	memset(up, 0, 2 * k * sizeof(*up));
	for (size_t i = 0; i < k; i++) {
		if (!up[label[i]])
			up[label[i]] = ++n;
		label[i] = up[label[i]] - 1;
	}
	mm_free(up);
	return 0;
}

int mm_cluster_silhouette(const struct mm_tri *t, const uint32_t *label, double *each, double *mean, struct mm_err *err)
{
	size_t k = t->k, n_label = 0;
	*mean = 0;
	for (size_t i = 0; i < k; i++)
		n_label = MM_MAX(n_label, (size_t)label[i] + 1);
	memset(each, 0, k * sizeof(*each));
	if (n_label < 2 || n_label > k)
		return n_label > k ? mm_fail(err, MM_EINVAL, "label %zu among %zu models", n_label - 1, k) : 0;
	/* models by label: one walk over them gives all sums of a row, label by label */
	uint32_t *by = mm_calloc(k + n_label + 1, sizeof(*by), err), *at = by ? by + k : NULL;
	if (!by)
		return -1;
	for (size_t i = 0; i < k; i++)
		at[label[i] + 1]++;
	for (size_t c = 0; c < n_label; c++)
		at[c + 1] += at[c];
	for (size_t i = k; i-- > 0;)
		by[--at[label[i] + 1]] = (uint32_t)i;
		/* at[c + 1] is now where label c starts */
#pragma omp parallel for schedule(dynamic, 8) if (k >= 512) num_threads((int)mm_threads())
	for (size_t i = 0; i < k; i++) {
		double own = 0, other = INFINITY;
		bool alone = true;
		for (size_t c = 0; c < n_label; c++) {
			size_t from = at[c + 1], to = c + 1 < n_label ? at[c + 2] : k;
			double sum = 0, n = (double)(to - from) - (c == label[i]);
			for (size_t a = from; a < to; a++)
				sum += sqrt(mm_tri_get(t, i, by[a]));
			if (n <= 0)
				continue;
			if (c != label[i])
				other = fmin(other, sum / n);
			else {
				own = sum / n;
				alone = false;
			}
		}
		double big = fmax(own, other);
		each[i] = !alone && isfinite(other) && big > 0 ? (other - own) / big : 0;
	}
	for (size_t i = 0; i < k; i++)
		*mean += each[i] / (double)k;
	mm_free(by);
	return 0;
}

static double pairs(double n)
{
	return n * (n - 1) / 2;
}

int mm_cluster_agreement(const uint32_t *a, const uint32_t *b, size_t k, double *out, struct mm_err *err)
{
	size_t na = 0, nb = 0, cells;
	*out = 1;
	for (size_t i = 0; i < k; i++) {
		na = MM_MAX(na, (size_t)a[i] + 1);
		nb = MM_MAX(nb, (size_t)b[i] + 1);
	}
	if (k < 2)
		return 0;
	if (!mm_mul(na, nb, &cells) || cells > ((size_t)1 << 28))
		return mm_fail(err, MM_EINVAL, "agreement of %zu and %zu labels", na, nb);
	uint32_t *n = mm_calloc(cells + na + nb, sizeof(*n), err), *ra = n ? n + cells : NULL, *rb = n ? ra + na : NULL;
	if (!n)
		return -1;
	double both = 0, pa = 0, pb = 0;
	for (size_t i = 0; i < k; i++) {
		n[a[i] * nb + b[i]]++;
		ra[a[i]]++;
		rb[b[i]]++;
	}
	for (size_t c = 0; c < cells; c++)
		both += pairs(n[c]);
	for (size_t c = 0; c < na; c++)
		pa += pairs(ra[c]);
	for (size_t c = 0; c < nb; c++)
		pb += pairs(rb[c]);
	mm_free(n);
	double expected = pa * pb / pairs((double)k), top = 0.5 * (pa + pb);
	*out = top > expected ? (both - expected) / (top - expected) : 1;
	return 0;
}

/* ---- Newick ---- */

static void newick_name(struct mm_buf *out, const char *s)
{
	if (*s && !strpbrk(s, " ()[]{}:;,'\"\t\n\r")) {
		mm_buf_str(out, s);
		return;
	}
	mm_buf_u8(out, '\'');
	for (; *s; s++) {
		if (*s == '\'')
			mm_buf_u8(out, '\'');
		mm_buf_u8(out, (uint8_t)*s);
	}
	mm_buf_u8(out, '\'');
}

/* Depth is at most k: an explicit stack of (cluster, stage), since a chain of merges would be as deep a recursion. */
int mm_cluster_newick(
	const struct mm_merge *m, size_t k, const char *const *name, struct mm_buf *out, struct mm_err *err)
{
	struct frame {
		uint32_t c;
		int stage;
		double above;
	} * stack;
	size_t n = 0;
	if (k == 0)
		return mm_fail(err, MM_EINVAL, "no models");
	stack = mm_calloc(k + 1, sizeof(*stack), err);
	if (!stack)
		return -1;
	double top = k > 1 ? m[k - 2].height : 0;
	stack[n++] = (struct frame){ (uint32_t)(2 * k - 2), 0, top };
	while (n > 0) {
		struct frame *f = &stack[n - 1];
		const struct mm_merge *x = f->c >= k ? &m[f->c - k] : NULL;
		double h = x ? x->height : 0;
		if (!x)
			newick_name(out, name[f->c]);
		else if (f->stage < 2) {
			mm_buf_u8(out, f->stage ? ',' : '(');
			stack[n++] = (struct frame){ f->stage++ ? x->b : x->a, 0, h };
			continue;
		} else
			mm_buf_u8(out, ')');
		if (n > 1)
			mm_buf_printf(out, ":%.6g", f->above - h);
		n--;
	}
	mm_buf_u8(out, ';');
	mm_free(stack);
	return mm_buf_check(out, err);
}
