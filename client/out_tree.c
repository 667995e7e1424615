/* out_tree.c - the family tree as a picture: a row for each model, children below their parent and to the right of it,
 * joined by an elbow; the colour says how a model came from its parent. Behind the name: what is known of the relation.
 */
#include "client/client.h"

#include <math.h>
#include <string.h>

#define LEFT   40.0
#define TOP    92.0
#define BOTTOM 40.0
#define ROW    22.0
#define STEP   26.0
#define DEEP   24 /* generations that are set in; deeper ones stand in one column */

static const struct {
	const char *kind, *color;
} kinds[] = { { "root", "#1a1a1a" }, { "child", "#0072b2" }, { "checkpoint", "#009e73" }, { "merge", "#cc79a7" },
	{ "copy", "#8a8a8a" } };

static const char *color_of(const char *kind)
{
	for (size_t i = 0; i < MM_COUNT(kinds); i++)
		if (!strcmp(kinds[i].kind, kind))
			return kinds[i].color;
	return "#d55e00";
}

static double x_of(const struct mm_family *f, size_t i)
{
	return LEFT + STEP * MM_MIN(f->depth[i], DEEP);
}

static double y_of(size_t i)
{
	return TOP + ROW * ((double)i + 0.5);
}

static void relation(struct mm_buf *b, const json_t *m, bool root)
{
	char cell[MM_CELL];
	double support = mm_num(m, "support", NAN);
	if (root)
		return;
	mm_xml_put(b, mm_str(m, "kind"));
	if (*mm_fmt_distance(m, cell))
		mm_buf_printf(b, ", %s %s", cell, json_object_get(m, "distance") ? mm_str(m, "unit") : "bits per byte");
	if (*mm_str(m, "parent2")) {
		mm_buf_printf(b, ", %.0f %% of ", 100 * mm_num(m, "alpha", 0));
		mm_xml_put(b, mm_str(m, "parent2"));
	} else if (isfinite(support)) {
		mm_buf_printf(b, ", %.0f %% nearer than ", 100 * support);
		mm_xml_put(b, mm_str(m, "rival"));
	}
}

static void row(struct mm_buf *b, const struct mm_family *f, size_t i)
{
	const json_t *m = f->model[i];
	const char *color = color_of(mm_str(m, "kind"));
	double x = x_of(f, i), y = y_of(i);
	bool root = f->parent[i] == SIZE_MAX;
	if (!root)
		mm_buf_printf(b,
			"<path d=\"M%.1f %.1fV%.1fH%.1f\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.3\"/>\n",
			x_of(f, f->parent[i]), y_of(f->parent[i]) + 4, y, x - 5, color);
	mm_buf_printf(b, "<g class=\"model\"><title>");
	mm_xml_put(b, mm_str(m, "name"));
	mm_buf_str(b, root ? "" : "\n");
	relation(b, m, root);
	mm_buf_printf(b, "</title><circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" fill=\"%s\"/>", x, y, color);
	mm_buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" fill=\"#1a1a1a\"%s>", x + 10, y + 4,
		root ? " font-weight=\"600\"" : "");
	mm_xml_put(b, mm_str(m, "name"));
	mm_buf_str(b, "<tspan dx=\"10\" font-size=\"11\" font-weight=\"400\" fill=\"#6b6b6b\">");
	relation(b, m, root);
	mm_buf_str(b, "</tspan></text></g>\n");
}

int mm_svg_tree(const json_t *tree, const char *title, struct mm_buf *b, struct mm_err *err)
{
	struct mm_family f;
	char caption[200];
	size_t roots = 0, deepest = 0, longest = 0;
	if (mm_family_make(&f, tree, err))
		return -1;
	for (size_t i = 0; i < f.n; i++) {
		const json_t *m = f.model[i];
		roots += f.parent[i] == SIZE_MAX;
		deepest = MM_MAX(deepest, MM_MIN(f.depth[i], DEEP));
		longest = MM_MAX(longest,
			strlen(mm_str(m, "name")) + MM_MAX(strlen(mm_str(m, "parent2")), strlen(mm_str(m, "rival"))));
	}
	snprintf(caption, sizeof caption, "%zu model%s, %zu without a parent here", f.n, f.n == 1 ? "" : "s", roots);
	double w = LEFT + STEP * (double)deepest + 7.2 * (double)MM_MIN(longest, (size_t)300) + 300;
	mm_svg_head(b, fmax(w, 720), TOP + ROW * (double)f.n + BOTTOM, title, caption);
	for (size_t i = 0; i < f.n; i++)
		row(b, &f, i);
	double x = LEFT;
	for (size_t i = 0; i < MM_COUNT(kinds); i++, x += 110)
		mm_buf_printf(b,
			"<circle cx=\"%.1f\" cy=\"78\" r=\"4.5\" fill=\"%s\"/><text x=\"%.1f\" y=\"82\" "
			"font-size=\"11\" "
			"fill=\"#333333\">%s</text>\n",
			x, kinds[i].color, x + 10, kinds[i].kind);
	mm_buf_str(b, "</svg>\n");
	mm_family_free(&f);
	return mm_buf_check(b, err);
}
