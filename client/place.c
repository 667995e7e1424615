/* place.c - labels beside points, none over another.
 *
 * Greedy: the labels choose in order of weight; each tries places around its point, from the best (right of it) to
 * worse ones (farther away), and takes the first that lies in the frame and touches no mark and no label. Those that
 * find none are not shown. Marks are all known beforehand, so that no label ever covers a point. n is at most a few
 * thousand: boxes are compared one by one, those far away fall out at the first test.
 */
#include "client/client.h"

#include <math.h>
#include <stdlib.h>

struct order {
	double weight;
	size_t at;
};

static int cmp_order(const void *a, const void *b)
{
	const struct order *x = a, *y = b;
	if (x->weight != y->weight)
		return x->weight > y->weight ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static bool apart(const struct mm_box *a, const struct mm_box *b)
{
	return a->x1 <= b->x0 || b->x1 <= a->x0 || a->y1 <= b->y0 || b->y1 <= a->y0;
}

/* Where a label may stand: side (-1 left, 0 middle, 1 right) and height (-1 above .. 1 below), and how much farther
 * away. */
static const struct {
	double side, level, far;
} spots[] = { { 1, 0, 0 }, { -1, 0, 0 }, { 0, -1, 0 }, { 0, 1, 0 }, { 1, -1, 0 }, { 1, 1, 0 }, { -1, -1, 0 },
	{ -1, 1, 0 }, { 1, 0, 1 }, { -1, 0, 1 }, { 1, -1, 1 }, { 1, 1, 1 }, { -1, -1, 1 }, { -1, 1, 1 }, { 0, -1, 1 },
	{ 0, 1, 1 }, { 1, -1, 2 }, { 1, 1, 2 }, { -1, -1, 2 }, { -1, 1, 2 } };

static struct mm_box box_at(const struct mm_label *l, size_t spot, double gap, bool grid)
{
	double rx = (l->rx > 0 ? l->rx : l->r) + gap, ry = l->r + gap * spots[spot].far;
	double cx = l->x + spots[spot].side * (rx + l->w / 2 + spots[spot].far * l->h);
	double cy = l->y + spots[spot].level * (ry + l->h / 2 + spots[spot].far * l->h * 0.7);
	/* Above or below and to the side: pulled in, so that the label's corner points at the mark. */
	if (spots[spot].side != 0 && spots[spot].level != 0)
		cx -= spots[spot].side * (l->rx > 0 ? l->rx : l->r);
	double x0 = cx - l->w / 2, y0 = cy - l->h / 2;
	if (grid) {
		x0 = floor(x0 + 0.5);
		y0 = floor(y0 + 0.5);
	}
	return (struct mm_box){ x0, y0, x0 + l->w, y0 + l->h };
}

static struct mm_box mark_of(const struct mm_label *l)
{
	double rx = l->rx > 0 ? l->rx : l->r;
	return (struct mm_box){ l->x - rx, l->y - l->r, l->x + rx, l->y + l->r };
}

static bool fits(const struct mm_label *l, size_t n, const struct mm_box *mark, const struct mm_box *b,
	const struct mm_box *frame)
{
	if (b->x0 < frame->x0 || b->x1 > frame->x1 || b->y0 < frame->y0 || b->y1 > frame->y1)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!apart(b, &mark[i]) || (l[i].shown && !apart(b, &l[i].box)))
			return false;
	return true;
}

int mm_place_labels(struct mm_label *l, size_t n, struct mm_box frame, double gap, bool grid, struct mm_err *err)
{
	struct order *o = mm_calloc(n + 1, sizeof *o, err);
	struct mm_box *mark = mm_calloc(n + 1, sizeof *mark, err);
	if (!o || !mark) {
		mm_free(o);
		mm_free(mark);
		return -1;
	}
	for (size_t i = 0; i < n; i++) {
		o[i] = (struct order){ l[i].weight, i };
		mark[i] = mark_of(&l[i]);
		l[i].shown = false;
	}
	qsort(o, n, sizeof *o, cmp_order);
	for (size_t k = 0; k < n; k++) {
		struct mm_label *x = &l[o[k].at];
		for (size_t s = 0; s < MM_COUNT(spots) && x->w > 0 && !x->shown; s++) {
			struct mm_box b = box_at(x, s, gap, grid);
			if (fits(l, n, mark, &b, &frame)) {
				x->box = b;
				x->shown = true;
			}
		}
	}
	mm_free(o);
	mm_free(mark);
	return 0;
}
