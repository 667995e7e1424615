/* map_layout.c: the layouts beside the projection: metric scaling and t-SNE, with the quality of each.
 *
 * Runs on the worker over the fit's models. t-SNE starts from its layout of the last epoch, so that what was left stays
 * left; scaling starts from the projection, which is already near its optimum. Both are then laid over their last
 * layout by turning, mirroring and shifting; never by stretching, since distances mean something. */
#include "daemon/map_priv.h"

#include <math.h>
#include <string.h>

const char *const mm_layout_name[MM_LAYOUT_COUNT] = { [MM_LAYOUT_MDS] = "mds", [MM_LAYOUT_TSNE] = "tsne" };

/* Rows that a quality figure looks at: enough for three digits. */
#define QUALITY_ROWS 1000

int mm_map_layout_place(
	const double *d, const double *alt, size_t k, enum mm_layout which, double out[2], struct mm_err *err)
{
	if (which == MM_LAYOUT_TSNE)
		return mm_tsne_place(d, alt, k, &mm_tsne_default, out, err);
	mm_mds_place(d, alt, k, 2, out);
	return 0;
}

static json_t *quality_json(const struct mm_tri *t, const double *coord, size_t dims, struct mm_err *err)
{
	struct mm_quality q;
	if (mm_quality_of(&q, t, coord, dims, QUALITY_ROWS, err))
		return NULL;
	json_t *o = json_pack("{s:f, s:f, s:f, s:f}", "trustworthiness", q.trustworthiness, "continuity", q.continuity,
		"knn_recall", q.knn_recall, "stress", q.stress);
	if (!o)
		mm_fail(err, MM_ENOMEM, "out of memory");
	return o;
}

/* Over the layout of the last epoch, on the models both have. */
static int align(const struct mm_layouts *l, enum mm_layout which, double *c, json_t *info, struct mm_err *err)
{
	double *x = mm_calloc(4 * l->k, sizeof(*x), err), *y = x ? x + 2 * l->k : NULL, p50, p95;
	struct mm_motion mo;
	size_t n = 0;
	int rc = -1;
	if (!x)
		return -1;
	for (size_t i = 0; i < l->k && l->has_old; i++)
		if (l->s[i].had_old) {
			memcpy(x + 2 * n, c + 2 * i, 2 * sizeof(*x));
			memcpy(y + 2 * n, l->s[i].old_alt[which], 2 * sizeof(*y));
			n++;
		}
	if (mm_align_fit(&mo, n, 2, x, y, false, err))
		goto out;
	mm_align_apply(&mo, n ? l->k : 0, c);
	mm_align_apply(&mo, n, x);
	if (mm_displacement(n, 2, x, y, 0.5, &p50, err) || mm_displacement(n, 2, x, y, 0.95, &p95, err))
		goto out;
	json_object_set_new(
		info, "displacement", json_pack("{s:f, s:f, s:I}", "p50", p50, "p95", p95, "models", (json_int_t)n));
	rc = 0;
out:
	mm_free(x);
	return rc;
}

static int make(const struct mm_layouts *l, enum mm_layout which, const _Atomic bool *cancel, struct mm_err *err)
{
	double *c = l->alt + which * 2 * l->k_all, kl = 0;
	struct mm_tri head = { l->tri->row, l->k };
	struct mm_tsne_opts o = mm_tsne_default;
	struct mm_mds md = { 0 };
	size_t n_old = 0;
	o.cancel = cancel;
	for (size_t i = 0; i < l->k; i++)
		n_old += l->has_old && l->s[i].had_old;
	bool from_old = which == MM_LAYOUT_TSNE && 2 * n_old > l->k;
	double middle[2] = { 0 };
	for (size_t i = 0; i < l->k && from_old; i++)
		for (size_t a = 0; a < 2 && l->s[i].had_old; a++)
			middle[a] += l->s[i].old_alt[which][a] / (double)n_old;
	for (size_t i = 0; i < l->k; i++)
		for (size_t a = 0; a < 2; a++)
			c[2 * i + a] = !from_old	 ? l->coord[3 * i + a]
				       : l->s[i].had_old ? l->s[i].old_alt[which][a]
							 : middle[a];
	if (which == MM_LAYOUT_TSNE ? mm_tsne_run(&head, &o, c, &kl, err)
				    : mm_mds_smacof(&head, 2, 300, 1e-7, c, &md, err))
		return -1;
	json_t *info = quality_json(&head, c, 2, err);
	if (!info)
		return -1;
	if (which == MM_LAYOUT_TSNE) {
		json_object_set_new(info, "kl", json_real(kl));
		json_object_set_new(info, "perplexity", json_real(fmin(o.perplexity, (double)(l->k - 1) / 3)));
	} else
		json_object_set_new(info, "rounds", json_integer((json_int_t)md.n_iter));
	json_object_set_new(l->info, mm_layout_name[which], info);
	return align(l, which, c, info, err);
}

/* Models that are not of the fit are placed as a new one would be. */
int mm_map_layout_others(const struct mm_layouts *l, struct mm_err *err)
{
	double *d = mm_calloc(l->k, sizeof(*d), err);
	int rc = d ? 0 : -1;
	for (size_t i = l->k; i < l->k_all && rc == 0; i++) {
		for (size_t j = 0; j < l->k; j++)
			d[j] = (double)l->tri->row[i][j];
		for (int w = 0; w < MM_LAYOUT_COUNT && rc == 0; w++) {
			double *c = l->alt + (size_t)w * 2 * l->k_all;
			rc = mm_map_layout_place(d, c, l->k, (enum mm_layout)w, c + 2 * i, err);
		}
	}
	mm_free(d);
	return rc;
}

int mm_map_layouts(struct mm_layouts *l, const _Atomic bool *cancel, struct mm_err *err)
{
	struct mm_tri head = { l->tri->row, l->k };
	json_t *q = quality_json(&head, l->coord, 3, err);
	if (!q)
		return -1;
	json_object_set_new(l->info, "pca", q);
	for (int w = 0; w < MM_LAYOUT_COUNT; w++)
		if (*cancel ? mm_fail(err, MM_ECANCELLED, "the daemon is stopping")
			    : make(l, (enum mm_layout)w, cancel, err))
			return -1;
	return mm_map_layout_others(l, err);
}
