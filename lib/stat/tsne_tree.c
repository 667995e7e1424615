/* tsne_tree.c: repulsion through a quad- or octree.
 *
 * Points are sorted along the Morton curve; a node is a run of equal leading digits, so that the tree is built by
 * splitting runs, in depth-first order, without pointers. Sixteen neighbours on the curve walk the tree together: a
 * cell is taken as one body when it is small against its distance from the box of all sixteen. That visits more cells
 * than each alone would, but sixteen fit one register, and it is never less exact than the same angle applied point by
 * point. */
#include "stat/stat_tsne.h"

#include <math.h>
#include <string.h>

#define LEAF 16	   /* runs up to this length are not split */
#define FAR  1e15F /* where the padding lies: its terms vanish */

int mm_tsne_tree_init(struct tsne_tree *t, size_t k, size_t dims, struct mm_err *err)
{
	memset(t, 0, sizeof(*t));
	t->k = k;
	t->dims = dims;
	t->kp = (k + WIDE - 1) / WIDE * WIDE;
	/* Every inner node has at least two children and every leaf a point; a run whose digits all agree is not split.
	 */
	t->cap = 2 * k + 2;
	t->center = mm_calloc(4 * t->cap, sizeof(float), err);
	t->width2 = t->center ? mm_calloc(t->cap, sizeof(float), err) : NULL;
	t->skip = t->width2 ? mm_calloc(2 * t->cap, sizeof(uint32_t), err) : NULL;
	t->order = t->skip ? mm_calloc(2 * k, sizeof(uint32_t), err) : NULL;
	t->pos = t->order ? mm_calloc(dims * t->kp, sizeof(float), err) : NULL;
	t->code = t->pos ? mm_calloc(2 * k, sizeof(uint64_t), err) : NULL;
	if (!t->code) {
		mm_tsne_tree_fini(t);
		return -1;
	}
	t->from = t->skip + t->cap;
	t->tmp_order = t->order + k;
	t->tmp_code = t->code + k;
	return 0;
}

void mm_tsne_tree_fini(struct tsne_tree *t)
{
	mm_free(t->center);
	mm_free(t->width2);
	mm_free(t->skip);
	mm_free(t->order);
	mm_free(t->pos);
	mm_free(t->code);
	memset(t, 0, sizeof(*t));
}

/* ---- the curve ---- */

/* Bits of v spread to every second (2D, 31 bits) or third (3D, 21 bits) place. */
static uint64_t spread2(uint64_t v)
{
	v = (v | v << 16) & 0x0000ffff0000ffffULL;
	v = (v | v << 8) & 0x00ff00ff00ff00ffULL;
	v = (v | v << 4) & 0x0f0f0f0f0f0f0f0fULL;
	v = (v | v << 2) & 0x3333333333333333ULL;
	return (v | v << 1) & 0x5555555555555555ULL;
}

static uint64_t spread3(uint64_t v)
{
	v = (v | v << 32) & 0x001f00000000ffffULL;
	v = (v | v << 16) & 0x001f0000ff0000ffULL;
	v = (v | v << 8) & 0x100f00f00f00f00fULL;
	v = (v | v << 4) & 0x10c30c30c30c30c3ULL;
	return (v | v << 2) & 0x1249249249249249ULL;
}

static unsigned bits_of(size_t dims)
{
	return dims == 3 ? 20 : 30;
}

static double codes(struct tsne_tree *t, const double *y)
{
	double lo[3], side = 0, cells = (double)(1u << bits_of(t->dims));
	for (size_t c = 0; c < t->dims; c++) {
		double hi = lo[c] = y[c];
		for (size_t i = 1; i < t->k; i++) {
			lo[c] = fmin(lo[c], y[i * t->dims + c]);
			hi = fmax(hi, y[i * t->dims + c]);
		}
		side = fmax(side, hi - lo[c]);
	}
	double scale = side > 0 ? cells / side * (1 - 1e-9) : 0;
	for (size_t i = 0; i < t->k; i++) {
		uint64_t code = 0;
		for (size_t c = 0; c < t->dims; c++) {
			double at = fmin((y[i * t->dims + c] - lo[c]) * scale, cells - 1);
			uint64_t v = at > 0 ? (uint64_t)at : 0;
			code |= (t->dims == 3 ? spread3(v) : spread2(v)) << c;
		}
		t->code[i] = code;
		t->order[i] = (uint32_t)i;
	}
	return side;
}

/* Radix sort by code, stable, so that equal codes stay in the order of the points. */
static void sort_codes(struct tsne_tree *t)
{
	uint64_t *a = t->code, *b = t->tmp_code;
	uint32_t *p = t->order, *q = t->tmp_order;
	size_t count[2048];
	for (unsigned shift = 0; shift < 66; shift += 11) { /* six passes: the result is back in a and p */
		memset(count, 0, sizeof(count));
		for (size_t i = 0; i < t->k; i++)
			count[shift < 64 ? (a[i] >> shift) & 2047 : 0]++;
		for (size_t s = 0, d = 0; d < 2048; d++) {
			size_t n = count[d];
			count[d] = s;
			s += n;
		}
		for (size_t i = 0; i < t->k; i++) {
			size_t to = count[shift < 64 ? (a[i] >> shift) & 2047 : 0]++;
			b[to] = a[i];
			q[to] = p[i];
		}
		uint64_t *x = a;
		uint32_t *z = p;
		a = b;
		b = x;
		p = q;
		q = z;
	}
}

/* ---- nodes ---- */

/* First place in [lo, hi) whose code has bit `bit` set, the bits above being equal. */
static size_t split_at(const uint64_t *code, size_t lo, size_t hi, unsigned bit)
{
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (code[mid] >> bit & 1)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static void node(struct tsne_tree *t, size_t lo, size_t hi, unsigned level, double width);

/* Children of [lo, hi) that differ in the digits of `level`, one binary digit after the other. */
static void children(struct tsne_tree *t, size_t lo, size_t hi, unsigned level, unsigned digit, double width)
{
	if (lo == hi)
		return;
	if (digit == 0) {
		node(t, lo, hi, level - 1, width);
		return;
	}
	size_t mid = split_at(t->code, lo, hi, (level - 1) * (unsigned)t->dims + digit - 1);
	children(t, lo, mid, level, digit - 1, width);
	children(t, mid, hi, level, digit - 1, width);
}

static void node(struct tsne_tree *t, size_t lo, size_t hi, unsigned level, double width)
{
	/* All in one child: the same run in a smaller cell. */
	while (level > 0 && t->code[lo] >> ((level - 1) * t->dims) == t->code[hi - 1] >> ((level - 1) * t->dims)) {
		level--;
		width *= 0.5;
	}
	size_t me = t->n_node++;
	double sum[3] = { 0 }, n = (double)(hi - lo);
	for (size_t c = 0; c < t->dims; c++) {
		for (size_t i = lo; i < hi; i++)
			sum[c] += (double)t->pos[c * t->kp + i];
		t->center[4 * me + c] = (float)(sum[c] / n);
	}
	t->center[4 * me + 3] = (float)n;
	t->from[me] = (uint32_t)lo;
	bool leaf = level == 0 || hi - lo <= LEAF;
	t->width2[me] = leaf ? 0 : (float)(width * width);
	if (!leaf)
		children(t, lo, hi, level, (unsigned)t->dims, width * 0.5);
	t->skip[me] = (uint32_t)t->n_node;
}

void mm_tsne_tree_build(struct tsne_tree *t, const double *y)
{
	double side = codes(t, y);
	sort_codes(t);
	for (size_t c = 0; c < t->dims; c++) {
		float *p = t->pos + c * t->kp;
		for (size_t i = 0; i < t->k; i++)
			p[i] = (float)y[t->order[i] * t->dims + c];
		for (size_t i = t->k; i < t->kp; i++)
			p[i] = FAR;
	}
	t->n_node = 0;
	node(t, 0, t->k, bits_of(t->dims), side);
}

/* ---- the walk ---- */

struct group { /* the points that walk together */
	float p[3][WIDE], f[3][WIDE], z[WIDE];
	float lo[3], hi[3];
};

MM_BODY void body_on_group(struct group *g, const float *c, float n, size_t dims)
{
	for (int l = 0; l < WIDE; l++) {
		float dx = g->p[0][l] - c[0], dy = g->p[1][l] - c[1], dz = dims > 2 ? g->p[2][l] - c[2] : 0;
		float q = 1.0F / (1.0F + dx * dx + dy * dy + dz * dz), w = n * q;
		g->z[l] += w;
		w *= q;
		g->f[0][l] += w * dx;
		g->f[1][l] += w * dy;
		if (dims > 2)
			g->f[2][l] += w * dz;
	}
}

/* Squared distance from the box of the group to a point. */
MM_BODY float box_distance2(const struct group *g, const float *c, size_t dims)
{
	float d2 = 0;
	for (size_t a = 0; a < dims; a++) {
		float below = g->lo[a] - c[a], above = c[a] - g->hi[a], d = below > above ? below : above;
		d = d > 0 ? d : 0;
		d2 += d * d;
	}
	return d2;
}

MM_BODY int walk_body(const struct tsne_tree *t, struct group *g, float theta2, size_t dims)
{
	for (size_t a = 0; a < t->n_node;) {
		const float *c = t->center + 4 * a;
		if (t->width2[a] < theta2 * box_distance2(g, c, dims)) {
			if (t->width2[a] > 0 || c[3] == 1) {
				body_on_group(g, c, c[3], dims);
				a = t->skip[a];
				continue;
			}
		}
		if (t->width2[a] > 0) {
			a++;
			continue;
		}
		size_t from = t->from[a], to = from + (size_t)c[3];
		for (size_t i = from; i < to; i++) {
			float q[3] = { t->pos[i], t->pos[t->kp + i], dims > 2 ? t->pos[2 * t->kp + i] : 0 };
			body_on_group(g, q, 1, dims);
		}
		a = t->skip[a];
	}
	return 0;
}
#define WALK_PARAMS (const struct tsne_tree *t, struct group *g, float theta2)
#define WALK_ARGS   (t, g, theta2)
MM_BODY int walk2_body WALK_PARAMS
{
	return walk_body(t, g, theta2, 2);
}
MM_BODY int walk3_body WALK_PARAMS
{
	return walk_body(t, g, theta2, 3);
}
MM_TARGETS(int, walk2, WALK_PARAMS, WALK_ARGS)
MM_TARGETS(int, walk3, WALK_PARAMS, WALK_ARGS)

void mm_tsne_tree_repulse(const struct tsne_tree *t, size_t group, float theta2, float *force, float *z)
{
	struct group g = { 0 };
	size_t at = group * WIDE, n = MM_MIN((size_t)WIDE, t->k - at);
	for (size_t c = 0; c < t->dims; c++) {
		memcpy(g.p[c], t->pos + c * t->kp + at, sizeof(g.p[c]));
		g.lo[c] = g.hi[c] = g.p[c][0];
		for (size_t l = 1; l < n; l++) {
			g.lo[c] = g.p[c][l] < g.lo[c] ? g.p[c][l] : g.lo[c];
			g.hi[c] = g.p[c][l] > g.hi[c] ? g.p[c][l] : g.hi[c];
		}
	}
	if (t->dims == 3)
		walk3(t, &g, theta2);
	else
		walk2(t, &g, theta2);
	for (size_t c = 0; c < t->dims; c++)
		memcpy(force + c * WIDE, g.f[c], sizeof(g.f[c]));
	memcpy(z, g.z, sizeof(g.z));
}
