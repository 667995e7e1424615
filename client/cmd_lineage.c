/* cmd_lineage.c - relations: the family tree, clusters. */
#include "client/client.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- tree ---- */

#define INDENT_MAX 60 /* columns: deeper generations stand at the same place */

struct tree {
	struct mm_cli *c;
	const json_t *models;
	struct mm_table *t;
	size_t left; /* rows still to come: a ring of parents, which there should not be, ends here */
};

static void row(struct tree *tr, const json_t *o, int depth)
{
	char kl[MM_CELL];
	const char *kind = mm_str(o, "kind");
	double support = mm_num(o, "support", NAN);
	int at = 2 * depth < INDENT_MAX ? 2 * depth : INDENT_MAX;
	bool root = depth == 0;
	mm_table_put(tr->t, root ? MM_BOLD : MM_PLAIN, "%*s%s%s", at, "",
		root ? "" : mm_glyph(&tr->c->term, "\xE2\x94\x94 ", "- "), mm_str(o, "name"));
	mm_table_put(tr->t, MM_DIM, "%s", kind);
	mm_table_put(tr->t, MM_PLAIN, "%s", mm_fmt_distance(o, kl));
	if (strcmp(kind, "merge") == 0)
		mm_table_put(tr->t, MM_CYAN, "%.0f %% of %s", 100 * mm_num(o, "alpha", 0), mm_str(o, "parent2"));
	else if (isfinite(support))
		mm_table_put(tr->t, MM_DIM, "%.0f %% nearer than %s", 100 * support, mm_str(o, "rival"));
	else
		mm_table_put(tr->t, MM_DIM, "%s", "");
}

static void branch(struct tree *tr, const char *parent, int depth)
{
	size_t i;
	json_t *o;
	json_array_foreach ((json_t *)tr->models, i, o) {
		const char *p = mm_str(o, "parent");
		if (tr->left == 0 || strcmp(p, parent) != 0)
			continue;
		tr->left--;
		row(tr, o, depth);
		branch(tr, mm_str(o, "name"), depth + 1);
	}
}

static int print_tree(struct mm_cli *c, const json_t *b, struct mm_err *err)
{
	const struct mm_col cols[] = { { "MODEL", false, 0, 16 }, { "", false, 2, 0 },
		{ mm_metric_other(b) ? mm_str(b, "metric") : "KL BITS/BYTE", true, 1, 0 }, { "", false, 3, 12 } };
	struct tree tr = {
		.c = c, .models = json_object_get(b, "models"), .t = mm_table_new(cols, MM_COUNT(cols), err)
	};
	int rc = tr.t ? 0 : -1;
	if (tr.t) {
		tr.left = json_array_size(tr.models);
		branch(&tr, "", 0);
		rc = mm_table_print(tr.t, &c->term, c->out, err);
		mm_metric_note(c, b);
	}
	mm_table_free(tr.t);
	return rc;
}

/* The tree for other programs and as a picture. *shown: the standard output has had something. */
static int tree_files(struct mm_cli *c, const json_t *b, bool *shown, struct mm_err *err)
{
	static int (*const make[])(const json_t *, struct mm_buf *, struct mm_err *) = { mm_graphml, mm_newick };
	const char *path[] = { c->o.graphml, c->o.newick ? c->o.output ? c->o.output : "-" : NULL };
	struct mm_buf out = { 0 };
	int rc = 0;
	*shown = mm_picture_only(c);
	for (size_t i = 0; !rc && i < MM_COUNT(path); i++) {
		if (!path[i])
			continue;
		out.len = 0;
		*shown = *shown || !strcmp(path[i], "-");
		rc = make[i](b, &out, err) || mm_file_give(c, path[i], out.data, out.len, err) ? -1 : 0;
	}
	mm_buf_fini(&out);
	if (!rc && mm_picture_wanted(c))
		rc = mm_picture_of(c, mm_svg_tree, b, "Family tree of language models", err);
	return rc;
}

int mm_run_tree(struct mm_cli *c, struct mm_err *err)
{
	json_t *b, *args = json_object();
	bool shown = false;
	if (c->o.domain)
		json_object_set_new(args, "domain", json_string(c->o.domain));
	mm_metric_arg(c, args);
	if (mm_cli_call(c, "tree", args, &b, err))
		return -1;
	int rc = tree_files(c, b, &shown, err);
	if (!rc && c->o.json && !shown)
		rc = mm_json_print(b, &c->term, c->out, err);
	else if (!rc && !shown)
		rc = print_tree(c, b, err);
	json_decref(b);
	return rc;
}

/* ---- cluster ---- */

static void print_clusters(const struct mm_cli *c, const json_t *b)
{
	json_t *o, *m;
	size_t i, j;
	char clean[4096];
	fprintf(c->out, "%lld clusters, mean silhouette %.2f\n", (long long)mm_int(b, "n", 0),
		mm_num(b, "silhouette", 0));
	json_array_foreach (json_object_get(b, "clusters"), i, o) {
		mm_term_clean(&c->term, mm_str(o, "name"), clean, sizeof clean);
		fprintf(c->out, "%s%s%s (%zu, silhouette %.2f)\n", mm_term_on(&c->term, MM_BOLD), clean,
			mm_term_off(&c->term, MM_BOLD), json_array_size(json_object_get(o, "members")),
			mm_num(o, "silhouette", 0));
		json_array_foreach (json_object_get(o, "members"), j, m) {
			mm_term_clean(&c->term, json_string_value(m), clean, sizeof clean);
			fprintf(c->out, "  %s\n", clean);
		}
	}
}

int mm_run_cluster(struct mm_cli *c, struct mm_err *err)
{
	json_t *b, *args = json_object();
	if (c->o.n)
		json_object_set_new(args, "n", json_integer(c->o.n));
	if (c->o.linkage)
		json_object_set_new(args, "linkage", json_string(c->o.linkage));
	if (c->o.domain)
		json_object_set_new(args, "domain", json_string(c->o.domain));
	mm_metric_arg(c, args);
	if (mm_cli_call(c, "cluster", args, &b, err))
		return -1;
	int rc = mm_picture_wanted(c) ? mm_picture_of(c, mm_svg_dendrogram, b, "Language models by likeness", err) : 0;
	bool shown = mm_picture_only(c);
	if (!rc && c->o.json)
		rc = mm_json_print(b, &c->term, c->out, err);
	else if (!rc && c->o.newick)
		fprintf(c->out, "%s\n", mm_str(b, "newick"));
	else if (!rc && !shown)
		print_clusters(c, b);
	json_decref(b);
	return rc;
}
