/* out_dendro.c - the hierarchy of clusters as a picture: models in a column on the right, joins to the left of them at
 * their heights. Whatever is below one cluster of the cut has its colour; joins above the cut are grey.
 *
 *	   +----------- llama-a
 *	+--+     +----- qwen2-a
 *	|  +-----+
 *	|        +----- qwen2-a-perl
 *	+-------------- gpt2-a
 *	height (sqrt nats per text) grows to the left
 *
 * What comes from the daemon is checked before it is an index: a reply that is no tree is an error. */
#include "client/client.h"

#include <math.h>
#include <string.h>

#define TREE_W	620.0
#define LEFT	40.0
#define TOP	84.0
#define LABEL_W 320.0
#define BOTTOM	52.0

static const char *const palette[] = { "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a67c00", "#56b4e9", "#7f4fc9",
	"#8c2d19" };
#define GREY "#8a8a8a"

struct node { /* models first, then joins */
	uint32_t a, b;
	double height, x, y;
	uint32_t cluster; /* UINT32_MAX: of several */
};

struct tree {
	struct node *node; /* [2 k - 1] */
	size_t k;
	uint32_t *order; /* [k] models from top to bottom */
	double high, row;
	const json_t *models;
};

/* ---- from the reply ---- */

static int read_joins(struct tree *t, const json_t *merges, struct mm_err *err)
{
	for (size_t i = 0; i + 1 < t->k; i++) {
		const json_t *m = json_array_get(merges, i);
		json_int_t a = json_integer_value(json_array_get(m, 0)), b = json_integer_value(json_array_get(m, 1));
		double h = json_number_value(json_array_get(m, 2));
		size_t self = t->k + i;
		if (json_array_size(m) != 3 || a < 0 || b < 0 || (size_t)a >= self || (size_t)b >= self || a == b ||
			!isfinite(h) || h < 0)
			return mm_fail(err, MM_EFORMAT, "the daemon's hierarchy is malformed at join %zu", i);
		t->node[self] = (struct node){ .a = (uint32_t)a, .b = (uint32_t)b, .height = h };
		t->high = fmax(t->high, h);
	}
	return 0;
}

/* Leaves in the order of a walk from the root; a join that is met twice is no tree. */
static int walk(struct tree *t, struct mm_err *err)
{
	uint32_t *stack = mm_calloc(2 * t->k, sizeof *stack, err);
	size_t n = 0, leaf = 0, met = 0;
	if (!stack)
		return -1;
	stack[n++] = (uint32_t)(2 * t->k - 2);
	while (n && leaf <= t->k) {
		uint32_t at = stack[--n];
		met += t->node[at].y == 0; /* not met before */
		t->node[at].y = 1;
		if (at < t->k) {
			if (leaf < t->k)
				t->order[leaf] = at;
			leaf++;
		} else if (n + 2 <= 2 * t->k) {
			stack[n++] = t->node[at].b;
			stack[n++] = t->node[at].a;
		}
	}
	mm_free(stack);
	return met == 2 * t->k - 1 && leaf == t->k && !n
		       ? 0
		       : mm_fail(err, MM_EFORMAT, "the daemon's hierarchy is no tree");
}

static void read_clusters(struct tree *t, const json_t *clusters)
{
	json_t *index = json_object(), *o, *m;
	size_t i, j;
	json_array_foreach ((json_t *)clusters, i, o)
		json_array_foreach (json_object_get(o, "members"), j, m)
			json_object_set_new(
				index, json_string_value(m) ? json_string_value(m) : "", json_integer((json_int_t)i));
	for (i = 0; i < t->k; i++) {
		const char *name = json_string_value(json_array_get(t->models, i));
		const json_t *c = name ? json_object_get(index, name) : NULL;
		t->node[i].cluster = c ? (uint32_t)json_integer_value(c) : UINT32_MAX;
	}
	for (i = t->k; i < 2 * t->k - 1; i++) {
		struct node *n = &t->node[i];
		n->cluster = t->node[n->a].cluster == t->node[n->b].cluster ? t->node[n->a].cluster : UINT32_MAX;
	}
	json_decref(index);
}

static double height_x(const struct tree *t, double h)
{
	return LEFT + TREE_W * (1 - (t->high > 0 ? h / t->high : 0));
}

static void place(struct tree *t)
{
	t->row = t->k <= 500 ? 17 : t->k <= 2000 ? 6 : 3; /* without names from 500 models on: hover tells them */
	for (size_t i = 0; i < t->k; i++) {
		struct node *n = &t->node[t->order[i]];
		n->x = height_x(t, 0);
		n->y = TOP + t->row * ((double)i + 0.5);
	}
	for (size_t i = t->k; i < 2 * t->k - 1; i++) {
		struct node *n = &t->node[i];
		n->x = height_x(t, n->height);
		n->y = (t->node[n->a].y + t->node[n->b].y) / 2;
	}
}

/* ---- picture ---- */

static const char *color_of(const struct node *n)
{
	return n->cluster == UINT32_MAX ? GREY : palette[n->cluster % MM_COUNT(palette)];
}

static void head(struct mm_buf *b, const struct tree *t, const json_t *reply, const char *title)
{
	double w = LEFT + TREE_W + LABEL_W, h = TOP + t->row * (double)t->k + BOTTOM;
	char caption[512];
	snprintf(caption, sizeof caption, "%zu model%s, %lld clusters, mean silhouette %.2f, epoch %lld%s%.200s", t->k,
		t->k == 1 ? "" : "s", (long long)mm_int(reply, "n", 0), mm_num(reply, "silhouette", 0),
		(long long)mm_int(reply, "epoch", 0), *mm_str(reply, "domain") ? ", texts of " : "",
		mm_str(reply, "domain"));
	mm_buf_printf(b,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
		"font-family=\"system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif\" font-size=\"12\" "
		"role=\"img\">\n"
		"<title>",
		w, h, w, h);
	mm_xml_put(b, title);
	mm_buf_str(b, "</title>\n<desc>");
	mm_xml_put(b, caption);
	mm_buf_printf(b, "</desc>\n<rect width=\"%.0f\" height=\"%.0f\" fill=\"#ffffff\"/>\n", w, h);
	mm_buf_printf(b, "<text x=\"%.0f\" y=\"38\" font-size=\"22\" font-weight=\"600\" fill=\"#1a1a1a\">", LEFT);
	mm_xml_put(b, title);
	mm_buf_printf(b, "</text>\n<text x=\"%.0f\" y=\"62\" font-size=\"13\" fill=\"#595959\">", LEFT);
	mm_xml_put(b, caption);
	mm_buf_str(b, "</text>\n");
}

static void axis(struct mm_buf *b, const struct tree *t)
{
	double y = TOP + t->row * (double)t->k + 8, step = t->high > 0 ? mm_tick_step(t->high, 8) : 1;
	mm_buf_printf(b, "<g stroke=\"#e6e6e6\">\n");
	for (double k = 0; k * step <= t->high; k++)
		mm_buf_printf(b, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", height_x(t, k * step),
			TOP, height_x(t, k * step), y);
	mm_buf_str(b, "</g>\n<g font-size=\"11\" fill=\"#6b6b6b\" text-anchor=\"middle\">\n");
	for (double k = 0; k * step <= t->high; k++)
		mm_buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\">%g</text>\n", height_x(t, k * step), y + 14, k * step);
	mm_buf_printf(b,
		"<text x=\"%.1f\" y=\"%.1f\">distance of the clusters joined, sqrt(nats per text)</text>\n</g>\n",
		LEFT + TREE_W / 2, y + 34);
}

static void joins(struct mm_buf *b, const struct tree *t)
{
	mm_buf_str(b, "<g fill=\"none\" stroke-width=\"1.4\">\n");
	for (size_t i = t->k; i < 2 * t->k - 1; i++) {
		const struct node *n = &t->node[i], *p = &t->node[n->a], *q = &t->node[n->b];
		mm_buf_printf(b, "<path stroke=\"%s\" d=\"M%.1f %.1fH%.1fV%.1fH%.1f\"><title>%.4g</title></path>\n",
			color_of(n), p->x, p->y, n->x, q->y, q->x, n->height);
	}
	mm_buf_str(b, "</g>\n");
}

static void leaves(struct mm_buf *b, const struct tree *t)
{
	for (size_t i = 0; i < t->k; i++) {
		const struct node *n = &t->node[i];
		const char *name = json_string_value(json_array_get(t->models, i));
		mm_buf_printf(b, "<g class=\"model\"><title>");
		mm_xml_put(b, name ? name : "");
		mm_buf_printf(b, "</title><circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\"/>", n->x, n->y,
			fmin(4, t->row / 2.4), color_of(n));
		if (t->row >= 12) {
			mm_buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" fill=\"#1a1a1a\">", n->x + 9, n->y + 4);
			mm_xml_put(b, name ? name : "");
			mm_buf_str(b, "</text>");
		}
		mm_buf_str(b, "</g>\n");
	}
}

int mm_svg_dendrogram(const json_t *cluster, const char *title, struct mm_buf *out, struct mm_err *err)
{
	struct tree t = { .models = json_object_get(cluster, "models") };
	t.k = json_array_size(t.models);
	if (t.k == 0 || t.k > UINT32_MAX / 2)
		return mm_fail(err, MM_EFORMAT, "the daemon's answer has no hierarchy");
	t.node = mm_calloc(2 * t.k, sizeof *t.node, err);
	t.order = t.node ? mm_calloc(t.k, sizeof *t.order, err) : NULL;
	int rc = !t.order || read_joins(&t, json_object_get(cluster, "merges"), err) || walk(&t, err) ? -1 : 0;
	if (!rc) {
		read_clusters(&t, json_object_get(cluster, "clusters"));
		place(&t);
		head(out, &t, cluster, title);
		axis(out, &t);
		joins(out, &t);
		leaves(out, &t);
		mm_buf_str(out, "</svg>\n");
		rc = mm_buf_check(out, err);
	}
	mm_free(t.order);
	mm_free(t.node);
	return rc;
}
