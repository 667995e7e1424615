/* cmd_lineage.c: what the map says about relations: tree, cluster, trajectory.
 *
 * Tree and clusters look at all pairs: a worker makes its own distances from a snapshot of the vectors, builds the
 * answer and hands it back; the loop only takes the snapshot. A trajectory is a handful of distances and is answered at
 * once. */
#include "daemon/inquiry.h"
#include "daemon/metric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- tree ---- */

static const char *const kin_name[] = { [MM_KIN_ROOT] = "root",
	[MM_KIN_CHILD] = "child",
	[MM_KIN_CHECKPOINT] = "checkpoint",
	[MM_KIN_MERGE] = "merge",
	[MM_KIN_COPY] = "copy" };

/* Share of the resamples, of texts or of probes, in which i is nearer to a than to b. */
static int nearer(const struct mm_inquiry *q, const struct mm_mat *m, const struct mm_boot *boot, size_t i, size_t a,
	size_t b, double *out, struct mm_err *err)
{
	struct mm_feats *f = q->feats;
	if (!f)
		return mm_boot_nearer(boot, m->row[i], m->row[a], m->row[b], q->clip, out, err);
	size_t one = f->m * MM_BYTE_STRIDE;
	float *x = mm_calloc(2 * one, sizeof(*x), err), *y = x ? x + one : NULL;
	double *v = x ? mm_calloc(2 * f->m, sizeof(*v), err) : NULL;
	int rc = -1;
	if (v && mm_bytes_unpack(f->row[i], f->m, x, err) == 0 && mm_bytes_unpack(f->row[a], f->m, y, err) == 0) {
		mm_byte_terms(f->metric, x, y, f->m, v);
		if ((rc = mm_bytes_unpack(f->row[b], f->m, y, err)) == 0) {
			mm_byte_terms(f->metric, x, y, f->m, v + f->m);
			*out = mm_byte_nearer(boot, v, v + f->m, f->sel);
		}
	}
	mm_free(v);
	mm_free(x);
	return rc;
}

static json_t *kin_json(const struct mm_inquiry *q, const struct mm_mat *m, const struct mm_boot *boot,
	const struct mm_kin *x, size_t i, struct mm_err *err)
{
	json_t *o = json_pack(
		"{s:s, s:s, s:s}", "name", q->who[i].name, "kind", kin_name[x->kind], "base", q->who[x->base].name);
	if (!o || x->parent == UINT32_MAX)
		return o;
	json_object_set_new(o, "parent", json_string(q->who[x->parent].name));
	mm_inquiry_put(q, o, x->two_kl);
	if (x->parent2 != UINT32_MAX) {
		json_object_set_new(o, "parent2", json_string(q->who[x->parent2].name));
		json_object_set_new(o, "alpha", json_real(x->alpha));
	} else if (x->rival_i != UINT32_MAX && x->kind == MM_KIN_CHILD) {
		double support;
		if (nearer(q, m, boot, i, x->parent, x->rival_i, &support, err)) {
			json_decref(o);
			return NULL;
		}
		json_object_set_new(o, "rival", json_string(q->who[x->rival_i].name));
		json_object_set_new(o, "support", json_real(support));
	}
	return o;
}

static int answer_tree(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_err *err)
{
	struct mm_kin *kin = mm_calloc(q->k, sizeof(*kin), err);
	struct mm_boot boot = { 0 };
	json_t *list = NULL;
	if (kin && mm_inquiry_kin(q, m, t, kin, err) == 0 &&
		mm_boot_init(&boot, q->feats ? q->feats->n : m->n, MM_BOOT_DEFAULT, 1, err) == 0)
		list = json_array();
	for (size_t i = 0; list && i < q->k; i++) {
		json_t *o = kin_json(q, m, &boot, &kin[i], i, err);
		if (!o || json_array_append_new(list, o)) {
			json_decref(list);
			list = NULL;
		}
	}
	mm_boot_fini(&boot);
	mm_free(kin);
	q->body = list ? json_pack("{s:o}", "models", list) : NULL;
	mm_metric_head(q->body, q->feats);
	return q->body ? 0 : -1;
}

/* ---- cluster ---- */

/* The number of clusters, 2 .. 20, with the best mean silhouette. */
static int best_number(const struct mm_merge *m, const struct mm_tri *t, uint32_t *label, double *each, size_t *out,
	struct mm_err *err)
{
	double best = -2, mean;
	*out = 1;
	for (size_t want = 2; want <= 20 && want < t->k; want++) {
		if (mm_cluster_cut(m, t->k, want, label, err) || mm_cluster_silhouette(t, label, each, &mean, err))
			return -1;
		if (mean > best) {
			best = mean;
			*out = want;
		}
	}
	return 0;
}

/* The middle of a cluster: the member with the least sum of distances to the others. */
static size_t middle_of(const struct mm_tri *t, const uint32_t *label, uint32_t c)
{
	double least = INFINITY;
	size_t middle = 0;
	for (size_t i = 0; i < t->k; i++) {
		double sum = 0;
		for (size_t j = 0; label[i] == c && j < t->k; j++)
			sum += label[j] == c ? sqrt(mm_tri_get(t, i, j)) : 0;
		if (label[i] == c && sum < least) {
			least = sum;
			middle = i;
		}
	}
	return middle;
}

static bool ends_part(char c)
{
	return c == 0 || strchr("-/_.@ ", c) != NULL;
}

/* A cluster is called by what the names of two thirds of its members begin with, as far as that is also the beginning
 * of its middle's name ("llama-a" of llama-a-code, llama-a-docs, ...), else by its middle. Returns the length to take.
 */
static size_t shared_name(const struct mm_inquiry *q, const uint32_t *label, uint32_t c, const char *middle)
{
	for (size_t len = strlen(middle); len > 0; len--) {
		size_t n = 0, with = 0;
		if (!ends_part(middle[len]) || ends_part(middle[len - 1]))
			continue;
		for (size_t i = 0; i < q->k; i++) {
			if (label[i] != c)
				continue;
			n++;
			with += strncmp(q->who[i].name, middle, len) == 0 && ends_part(q->who[i].name[len]);
		}
		if (3 * with >= 2 * n)
			return len;
	}
	return strlen(middle);
}

/* Clusters of one name are told apart by their middles. */
static void apart(json_t *list)
{
	size_t i, j;
	json_t *a, *b;
	json_array_foreach (list, i, a) {
		bool twice = false;
		const char *name = json_string_value(json_object_get(a, "name"));
		const char *middle = json_string_value(json_object_get(a, "middle"));
		json_array_foreach (list, j, b)
			twice = twice || (i != j && json_equal(json_object_get(a, "name"), json_object_get(b, "name")));
		if (name && middle && twice)
			json_object_set_new(a, "own", json_sprintf("%s (%s)", name, middle));
	}
	json_array_foreach (list, i, a) {
		json_t *own = json_object_get(a, "own");
		if (own)
			json_object_set(a, "name", own);
		json_object_del(a, "own");
	}
}

static json_t *clusters_json(
	const struct mm_inquiry *q, const struct mm_tri *t, const uint32_t *label, const double *each, size_t n)
{
	json_t *list = json_array();
	for (uint32_t c = 0; list && c < n; c++) {
		json_t *members = json_array();
		double sum = 0;
		for (size_t i = 0; i < q->k; i++)
			if (label[i] == c) {
				json_array_append_new(members, json_string(q->who[i].name));
				sum += each[i];
			}
		const char *middle = q->who[middle_of(t, label, c)].name;
		json_array_append_new(
			list, json_pack("{s:s%, s:s, s:f, s:o}", "name", middle, shared_name(q, label, c, middle),
				      "middle", middle, "silhouette",
				      sum / (double)MM_MAX(json_array_size(members), (size_t)1), "members", members));
	}
	apart(list);
	return list;
}

/* The whole hierarchy for programs that draw it: [a, b, height], models first, then the merges in order. */
static json_t *merges_json(const struct mm_merge *m, size_t k)
{
	json_t *list = json_array();
	for (size_t i = 0; list && i + 1 < k; i++)
		json_array_append_new(
			list, json_pack("[I, I, f]", (json_int_t)m[i].a, (json_int_t)m[i].b, m[i].height));
	return list;
}

static json_t *models_json(const struct mm_inquiry *q)
{
	json_t *list = json_array();
	for (size_t i = 0; list && i < q->k; i++)
		json_array_append_new(list, json_string(q->who[i].name));
	return list;
}

static json_t *reals_json(const double *v, size_t n)
{
	json_t *list = json_array();
	for (size_t i = 0; list && i < n; i++)
		json_array_append_new(list, json_real(v[i]));
	return list;
}

struct grouping {
	enum mm_linkage linkage;
	size_t n; /* 0: the number with the best silhouette */
};

static int answer_cluster(struct mm_inquiry *q, const struct mm_mat *m, const struct mm_tri *t, struct mm_err *err)
{
	struct mm_merge *tree = mm_calloc(q->k, sizeof(*tree), err);
	uint32_t *label = tree ? mm_calloc(q->k, sizeof(*label), err) : NULL;
	double *each = label ? mm_calloc(q->k, sizeof(*each), err) : NULL, mean = 0;
	const char **name = each ? mm_calloc(q->k, sizeof(*name), err) : NULL;
	struct mm_buf newick = { 0 };
	const struct grouping *g = q->own;
	size_t n = g->n;
	int rc = -1;
	(void)m;
	for (size_t i = 0; name && i < q->k; i++)
		name[i] = q->who[i].name;
	if (name && mm_cluster_tree(t, g->linkage, tree, err) == 0 &&
		(n || best_number(tree, t, label, each, &n, err) == 0) &&
		mm_cluster_cut(tree, q->k, n, label, err) == 0 &&
		mm_cluster_silhouette(t, label, each, &mean, err) == 0 &&
		mm_cluster_newick(tree, q->k, name, &newick, err) == 0) {
		q->body = json_pack("{s:I, s:f, s:o, s:s, s:o, s:o, s:o}", "n", (json_int_t)n, "silhouette", mean,
			"clusters", clusters_json(q, t, label, each, n), "newick", (const char *)newick.data, "models",
			models_json(q), "silhouettes", reals_json(each, q->k), "merges", merges_json(tree, q->k));
		mm_metric_head(q->body, q->feats);
		if (q->body) /* of the heights */
			json_object_set_new(q->body, "unit",
				json_string(mm_metrics[q->feats ? q->feats->metric : MM_METRIC_KL].root_unit));
		rc = q->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
	}
	mm_buf_fini(&newick);
	mm_free(name);
	mm_free(each);
	mm_free(label);
	mm_free(tree);
	return rc;
}

/* ---- commands ---- */

int mm_cmd_tree(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	struct mm_inquiry *q = mm_inquiry_new(d, args, reply, false, err);
	if (!q)
		return -1;
	q->answer = answer_tree;
	return mm_inquiry_submit(d, q, reply, err);
}

int mm_cmd_cluster(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	static const char *const how[] = {
		[MM_LINK_AVERAGE] = "average", [MM_LINK_WARD] = "ward", [MM_LINK_COMPLETE] = "complete"
	};
	const char *linkage = "average";
	int64_t n = 0;
	if (mm_json_get_str(args, "linkage", &linkage, err) ||
		mm_json_get_i64(args, "n", 1, MM_INQUIRY_MODELS_MAX, &n, err))
		return -1;
	struct mm_inquiry *q = mm_inquiry_new(d, args, reply, false, err);
	if (!q)
		return -1;
	q->answer = answer_cluster;
	struct grouping *g = q->own = mm_calloc(1, sizeof(*g), err);
	q->own_free = mm_free;
	if (!g) {
		mm_inquiry_free(q);
		return -1;
	}
	g->n = (size_t)n;
	bool known = false;
	for (size_t h = 0; h < MM_COUNT(how); h++)
		if (strcmp(linkage, how[h]) == 0) {
			g->linkage = (enum mm_linkage)h;
			known = true;
		}
	if (known)
		return mm_inquiry_submit(d, q, reply, err);
	mm_inquiry_free(q);
	return mm_fail(err, MM_EINVAL, "there is no linkage %s; there are average, ward and complete", linkage);
}

/* ---- trajectory ---- */

static int cmp_step(const void *a, const void *b)
{
	const struct mm_place *x = *(const struct mm_place *const *)a, *y = *(const struct mm_place *const *)b;
	if (x->e->rec.step != y->e->rec.step)
		return x->e->rec.step < y->e->rec.step ? -1 : 1;
	return strcmp(x->e->rec.name, y->e->rec.name);
}

static json_t *legs_json(const struct mm_daemon *d, struct mm_place **p, size_t n, const struct mm_leg *leg)
{
	json_t *list = json_array();
	for (size_t i = 0; list && i + 1 < n; i++) {
		json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:f, s:f}", "from", p[i]->e->rec.name, "to",
			p[i + 1]->e->rec.name, "from_step", (json_int_t)p[i]->e->rec.step, "to_step",
			(json_int_t)p[i + 1]->e->rec.step, "kl_bits_per_byte",
			mm_kl_bits_per_byte(leg[i].two_kl, d->texts.mean_bytes), "kl_nats_per_text", leg[i].two_kl / 2);
		if (o && leg[i].per_step > 0)
			json_object_set_new(o, "kl_bits_per_byte_per_step",
				json_real(mm_kl_bits_per_byte(leg[i].per_step, d->texts.mean_bytes)));
		if (o && i > 0)
			json_object_set_new(o, "turn_degrees", json_real(leg[i].turn * 180 / M_PI));
		json_array_append_new(list, o);
	}
	return list;
}

int mm_cmd_trajectory(struct mm_daemon *d, const json_t *args, struct mm_reply *reply, struct mm_err *err)
{
	const struct mm_chart *m = d->map;
	enum mm_metric metric;
	if (mm_metric_arg(args, &metric, err))
		return -1;
	if (metric != MM_METRIC_KL)
		return mm_metric_trajectory(d, args, reply, err);
	const char *run = json_string_value(json_object_get(args, "run"));
	struct mm_place **p = mm_calloc(m->n, sizeof(struct mm_place *), err);
	size_t n = 0;
	if (!p)
		return -1;
	for (size_t i = 0; run && i < m->n; i++) {
		struct mm_place *x = m->member[i];
		if (mm_map_live(d, x) && x->e->rec.run && strcmp(x->e->rec.run, run) == 0)
			p[n++] = x;
	}
	struct mm_tri t = { 0 };
	uint32_t *seq = n ? mm_calloc(n, sizeof(*seq), err) : NULL;
	int64_t *step = seq ? mm_calloc(n, sizeof(*step), err) : NULL;
	struct mm_leg *leg = step ? mm_calloc(n, sizeof(*leg), err) : NULL;
	int rc = n == 0 ? mm_fail(err, MM_ENOENT, "no scored checkpoints of a run called %s", run ? run : "?")
		 : leg	? mm_tri_init(&t, n, err)
			: -1;
	if (rc == 0) {
		qsort(p, n, sizeof(struct mm_place *), cmp_step);
		for (size_t i = 0; i < n; i++) {
			seq[i] = (uint32_t)i;
			step[i] = p[i]->e->rec.step;
			for (size_t j = 0; j < i; j++)
				t.row[i][j] = (float)mm_map_distance(d, p[i], p[j]);
		}
		double path = mm_trajectory(&t, seq, step, n, leg), ends = n > 1 ? sqrt(mm_tri_get(&t, 0, n - 1)) : 0;
		/* lengths are roots of distances: those add up along a straight line */
		reply->body = json_pack("{s:s, s:o, s:f, s:f, s:I}", "run", run, "legs", legs_json(d, p, n, leg),
			"path", path, "distance", ends, "epoch", (json_int_t)mm_map_epoch(d));
		mm_metric_head(reply->body, NULL);
		rc = reply->body ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
	}
	mm_tri_fini(&t);
	mm_free(leg);
	mm_free(step);
	mm_free(seq);
	mm_free(p);
	return rc;
}
