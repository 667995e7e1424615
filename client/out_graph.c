/* out_graph.c - the family tree for other programs: GraphML (Gephi, yEd, NetworkX) with everything that is known of a
 * model and of each relation, Newick (tree viewers) with distances as lengths of branches.
 *
 * GraphML has both parents of a merge; Newick, which knows one parent, has the larger share's. Names are other
 * people's: XML goes through mm_xml_put, Newick labels are quoted, with quotes doubled and control characters as '?'.
 */
#include "client/client.h"

#include <math.h>
#include <string.h>

/* ---- parents ---- */

void mm_family_free(struct mm_family *f)
{
	mm_free(f->model);
	mm_free(f->parent);
	mm_free(f->parent2);
	mm_free(f->depth);
	*f = (struct mm_family){ 0 };
}

static size_t index_of(const json_t *index, const char *name)
{
	const json_t *v = *name ? json_object_get(index, name) : NULL;
	return v ? (size_t)json_integer_value(v) : SIZE_MAX;
}

/* Whether `from` is reached from `to` by parents: then a link to it would close a ring. */
static bool above(const size_t *parent, size_t from, size_t to, size_t n)
{
	for (size_t steps = 0; from != SIZE_MAX && steps <= n; steps++, from = parent[from])
		if (from == to)
			return true;
	return false;
}

struct order { /* children in lists: first child, next sibling */
	size_t *first, *next, *at, *stack, *parent, *parent2;
	const json_t **row;
};

static void order_free(struct order *o)
{
	mm_free(o->first);
	mm_free(o->next);
	mm_free(o->at);
	mm_free(o->stack);
	mm_free(o->parent);
	mm_free(o->parent2);
	mm_free(o->row);
}

/* Depth first from each root, children as they stand in the reply. */
static void lay_out(struct mm_family *f, struct order *o, size_t n)
{
	for (size_t root = 0; root < n; root++) {
		size_t k = 0;
		if (o->parent[root] != SIZE_MAX)
			continue;
		o->stack[k++] = root;
		while (k) {
			size_t i = o->stack[--k], p = o->parent[i], start = k;
			f->model[f->n] = o->row[i];
			f->parent[f->n] = p == SIZE_MAX ? SIZE_MAX : o->at[p];
			f->depth[f->n] = p == SIZE_MAX ? 0 : f->depth[o->at[p]] + 1;
			o->at[i] = f->n++;
			for (size_t c = o->first[i]; c != SIZE_MAX; c = o->next[c])
				o->stack[k++] = c;
			for (size_t a = start, b = k; a + 1 < b; a++) { /* the first child on top */
				size_t t = o->stack[a];
				o->stack[a] = o->stack[--b];
				o->stack[b] = t;
			}
		}
	}
	for (size_t i = 0; i < n; i++)
		f->parent2[o->at[i]] = o->parent2[i] == SIZE_MAX ? SIZE_MAX : o->at[o->parent2[i]];
}

static void link_all(struct order *o, size_t n, const json_t *index)
{
	for (size_t i = 0; i < n; i++)
		o->first[i] = o->next[i] = o->parent[i] = SIZE_MAX;
	for (size_t i = 0; i < n; i++) {
		size_t p = index_of(index, mm_str(o->row[i], "parent"));
		if (p != SIZE_MAX && !above(o->parent, p, i, n))
			o->parent[i] = p;
		o->parent2[i] = index_of(index, mm_str(o->row[i], "parent2"));
		if (o->parent2[i] == i)
			o->parent2[i] = SIZE_MAX;
	}
	for (size_t i = n; i-- > 0;)
		if (o->parent[i] != SIZE_MAX) {
			o->next[i] = o->first[o->parent[i]];
			o->first[o->parent[i]] = i;
		}
}

int mm_family_make(struct mm_family *f, const json_t *tree, struct mm_err *err)
{
	const json_t *list = json_object_get(tree, "models"), *m;
	size_t n = json_array_size(list), i;
	struct order o = { .first = mm_calloc(n, sizeof(size_t), err) };
	json_t *index = json_object();
	*f = (struct mm_family){ 0 };
	bool ok = o.first && index && (o.next = mm_calloc(n, sizeof(size_t), err)) &&
		  (o.at = mm_calloc(n, sizeof(size_t), err)) && (o.stack = mm_calloc(n, sizeof(size_t), err)) &&
		  (o.parent = mm_calloc(n, sizeof(size_t), err)) && (o.parent2 = mm_calloc(n, sizeof(size_t), err)) &&
		  (o.row = mm_calloc(n, sizeof(json_t *), err)) && (f->model = mm_calloc(n, sizeof(json_t *), err)) &&
		  (f->parent = mm_calloc(n, sizeof(size_t), err)) && (f->parent2 = mm_calloc(n, sizeof(size_t), err)) &&
		  (f->depth = mm_calloc(n, sizeof(unsigned), err));
	if (ok) {
		json_array_foreach (list, i, m) {
			o.row[i] = m;
			json_object_set_new(index, mm_str(m, "name"), json_integer((json_int_t)i));
		}
		link_all(&o, n, index);
		lay_out(f, &o, n);
	} else {
		mm_family_free(f);
	}
	json_decref(index);
	order_free(&o);
	return ok ? 0 : mm_fail(err, MM_ENOMEM, "out of memory for the family tree");
}

/* ---- GraphML ---- */

static const struct field {
	const char *id, *of, *type, *key;
} fields[] = {
	{ "name", "node", "string", "name" },
	{ "kind", "node", "string", "kind" },
	{ "base", "node", "string", "base" },
	{ "relation", "edge", "string", NULL },
	{ "share", "edge", "double", NULL },
	{ "kl", "edge", "double", "kl_bits_per_byte" },
	{ "distance", "edge", "double", "distance" },
	{ "support", "edge", "double", "support" },
	{ "rival", "edge", "string", "rival" },
};

static void data(struct mm_buf *b, const char *id, const json_t *v)
{
	if (!json_is_string(v) && !json_is_number(v))
		return;
	mm_buf_printf(b, "<data key=\"%s\">", id);
	if (json_is_string(v))
		mm_xml_put(b, json_string_value(v));
	else
		mm_buf_printf(b, "%.9g", json_number_value(v));
	mm_buf_str(b, "</data>");
}

static void edge(struct mm_buf *b, const struct mm_family *f, size_t child, size_t parent, double share)
{
	mm_buf_printf(b, "<edge source=\"n%zu\" target=\"n%zu\"><data key=\"relation\">", parent, child);
	mm_xml_put(b, mm_str(f->model[child], "kind"));
	mm_buf_printf(b, "</data><data key=\"share\">%.6g</data>", share);
	/* Distance and support are those of the nearer parent. */
	for (size_t i = 0; i < MM_COUNT(fields) && parent == f->parent[child]; i++)
		if (!strcmp(fields[i].of, "edge") && fields[i].key)
			data(b, fields[i].id, json_object_get(f->model[child], fields[i].key));
	mm_buf_str(b, "</edge>\n");
}

int mm_graphml(const json_t *tree, struct mm_buf *b, struct mm_err *err)
{
	struct mm_family f;
	if (mm_family_make(&f, tree, err))
		return -1;
	mm_buf_str(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		      "<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n");
	for (size_t i = 0; i < MM_COUNT(fields); i++)
		mm_buf_printf(b, "<key id=\"%s\" for=\"%s\" attr.name=\"%s\" attr.type=\"%s\"/>\n", fields[i].id,
			fields[i].of, fields[i].id, fields[i].type);
	mm_buf_str(b, "<graph id=\"family\" edgedefault=\"directed\">\n");
	for (size_t i = 0; i < f.n; i++) {
		mm_buf_printf(b, "<node id=\"n%zu\">", i);
		for (size_t k = 0; k < MM_COUNT(fields); k++)
			if (!strcmp(fields[k].of, "node"))
				data(b, fields[k].id, json_object_get(f.model[i], fields[k].key));
		mm_buf_str(b, "</node>\n");
	}
	for (size_t i = 0; i < f.n; i++) {
		double alpha = f.parent2[i] == SIZE_MAX ? 0 : mm_num(f.model[i], "alpha", 0.5);
		if (f.parent[i] != SIZE_MAX)
			edge(b, &f, i, f.parent[i], 1 - alpha);
		if (f.parent2[i] != SIZE_MAX)
			edge(b, &f, i, f.parent2[i], alpha);
	}
	mm_buf_str(b, "</graph>\n</graphml>\n");
	mm_family_free(&f);
	return mm_buf_check(b, err);
}

/* ---- Newick ---- */

static void label(struct mm_buf *b, const char *s)
{
	mm_buf_u8(b, '\'');
	for (; *s; s++) {
		if (*s == '\'')
			mm_buf_u8(b, '\'');
		mm_buf_u8(b, (unsigned char)*s < 0x20 || *s == 0x7F ? '?' : (uint8_t)*s);
	}
	mm_buf_u8(b, '\'');
}

/* Models stand in f as a walk down the tree meets them: "(" before the first child of a model, its own label behind the
 * last of those below it. */
int mm_newick(const json_t *tree, struct mm_buf *out, struct mm_err *err)
{
	struct mm_family f;
	if (mm_family_make(&f, tree, err))
		return -1;
	size_t *open = mm_calloc(f.n + 1, sizeof(size_t), err), k = 0;
	if (!open) {
		mm_family_free(&f);
		return -1;
	}
	bool first = true;
	mm_buf_u8(out, '(');
	for (size_t i = 0; i <= f.n; i++) {
		size_t depth = i < f.n ? f.depth[i] : 0;
		while (k > depth) { /* nothing more comes below these */
			size_t done = open[--k];
			double d = mm_distance(f.model[done]);
			bool inner = done + 1 < f.n && f.parent[done + 1] == done;
			if (inner)
				mm_buf_u8(out, ')');
			label(out, mm_str(f.model[done], "name"));
			if (f.parent[done] != SIZE_MAX)
				mm_buf_printf(out, ":%.6g", isfinite(d) && d > 0 ? d : 0);
		}
		if (i == f.n)
			break;
		bool child = i > 0 && f.parent[i] == i - 1; /* the first one of its parent */
		if (child)
			mm_buf_u8(out, '(');
		else if (!first)
			mm_buf_u8(out, ',');
		first = false;
		open[k++] = i;
	}
	mm_buf_str(out, ");\n");
	mm_free(open);
	mm_family_free(&f);
	return mm_buf_check(out, err);
}
