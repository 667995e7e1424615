/* stat.h - the map's statistics: pure functions over matrices.
 *
 * A model is one row of N log-likelihoods in nats (f32); its rows may lie anywhere, so a matrix is an array of row
 * pointers. After clipping at a threshold c (entries below it are raised to it) and double centring, with q_i the
 * centred rows,
 *
 *	two_kl(i, j) = |q_i - q_j|^2 / N = Var_s(clip(l_i[s]) - clip(l_j[s]))	(nats per text, population variance)
 *	KL(i, j)     = two_kl / 2 nats per text = two_kl / (2 * mean bytes of a text * ln 2) bits per byte.
 *
 * Column means cancel in a difference, so distances depend on the threshold and on the two rows alone.
 *
 * Sums are taken in double, in an order that depends on the sizes only: the same input gives the same bits whatever the
 * number of threads. No function keeps state; any thread may call any of them. Matrices must be finite (mm_mat_check
 * says so and names the place): callers leave models with NaN or infinity out. Nothing here returns NaN for finite
 * input. */
#ifndef MM_STAT_H
#define MM_STAT_H

#include "base/base.h"

struct mm_mat {
	const float *const *row; /* [k] borrowed rows of n floats */
	size_t k, n;
};

/* ---- mat.c: checks, subsets, moments ---- */

/* MM_ENONFINITE names row and text; MM_EINVAL when k or n is 0. */
int mm_mat_check(const struct mm_mat *m, struct mm_err *err) MM_MUST_CHECK;
bool mm_row_finite(const float *x, size_t n);
/* Copies the texts sel[n_sel] of every row into one block out[k * n_sel] (row by row). */
void mm_mat_gather(const struct mm_mat *m, const uint32_t *sel, size_t n_sel, float *out);
/* Mean and population variance of the clipped row. */
void mm_row_moments(const float *x, size_t n, double clip, double *mean, double *var);
/* Means of the clipped columns, [n], as means over the rows. */
void mm_col_means(const struct mm_mat *m, double clip, double *mean);
/* The q-quantile (linear interpolation between order statistics, as NumPy's default) of all entries; exact. */
int mm_quantile(const struct mm_mat *m, double q, double *out, struct mm_err *err) MM_MUST_CHECK;
#define MM_NO_CLIP (-1.0 / 0.0) /* a threshold that raises nothing */

/* ---- dist.c: distances ---- */

double mm_kl_bits_per_byte(double two_kl, double mean_bytes); /* 0 when mean_bytes is not positive */
/* two_kl of two rows; exactly 0 for equal rows. */
double mm_dist_pair(const float *a, const float *b, size_t n, double clip);
/* two_kl of x to every row, [k]. */
void mm_dist_row(const struct mm_mat *m, const float *x, double clip, double *out);

/* Lower triangle of a symmetric matrix with a zero diagonal: row[i][j] for j < i. Rows are separate blocks, so that one
 * can be appended without moving the others. */
struct mm_tri {
	float **row; /* [k]; row[0] may be NULL */
	size_t k;
};
static inline double mm_tri_get(const struct mm_tri *t, size_t i, size_t j)
{
	return i == j ? 0 : i > j ? (double)t->row[i][j] : (double)t->row[j][i];
}
int mm_tri_init(struct mm_tri *t, size_t k, struct mm_err *err) MM_MUST_CHECK; /* zeroed rows */
void mm_tri_fini(struct mm_tri *t);					       /* zeroed is fine */
/* two_kl of all pairs, in blocks through BLAS with f64 products; nearly equal rows again one by one. */
int mm_dist_matrix(const struct mm_mat *m, double clip, struct mm_tri *out, struct mm_err *err) MM_MUST_CHECK;
/* The same, given up with MM_ECANCELLED soon after *cancel is set (NULL: never). */
int mm_dist_matrix_until(const struct mm_mat *m, double clip, const _Atomic bool *cancel, struct mm_tri *out,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- knn.c: nearest neighbours from distances ---- */

struct mm_near {
	uint32_t i;
	float d; /* in the unit of the distances given */
};
/* The `want` smallest of d[k], ascending, ties by index; `skip` is left out (SIZE_MAX: none). Returns how many. */
size_t mm_knn_row(const double *d, size_t k, size_t skip, size_t want, struct mm_near *out);
/* For all i: out[i * want ..]; want must be below k. */
int mm_knn_all(const struct mm_tri *t, size_t want, struct mm_near *out, struct mm_err *err) MM_MUST_CHECK;

/* ---- pca.c: principal components from the Gram matrix ---- */

#define MM_PCA_VAR_MAX 64
struct mm_pca {
	size_t k, n, dims;
	double clip;
	double *col_mean; /* [n] means of the clipped columns */
	float *axis;	  /* [dims, n] unit vectors; an axis beyond the rank is all 0 */
	double *coord;	  /* [k, dims] in sqrt(nats per text): squared distances tend to two_kl as dims grows */
	double total_var; /* sum of the squared coordinates over all dimensions, divided by k */
	size_t n_ratio;	  /* explained shares of the leading components */
	double ratio[MM_PCA_VAR_MAX];
	size_t dims90, dims95; /* components for 90 and 95 % of the variance; 0 when there is none */
};
/* dims is what the caller wants (2, 3, ...), also when the data has fewer: the rest is 0. Signs: the largest component
 * of the k coordinates is positive. `dist` is the result of mm_dist_matrix with the same clip. */
int mm_pca_fit(struct mm_pca *p, const struct mm_mat *m, const struct mm_tri *dist, double clip, size_t dims,
	struct mm_err *err) MM_MUST_CHECK;
/* The same, given up with MM_ECANCELLED soon after *cancel is set (NULL: never). */
int mm_pca_fit_until(struct mm_pca *p, const struct mm_mat *m, const struct mm_tri *dist, double clip, size_t dims,
	const _Atomic bool *cancel, struct mm_err *err) MM_MUST_CHECK;
void mm_pca_fini(struct mm_pca *p);
/* Coordinates of a further row in the frozen basis, [dims]. For a row of the fit they equal its coord. */
void mm_pca_place(const struct mm_pca *p, const float *x, double *coord);

/* ---- align.c: Procrustes, displacement ---- */

struct mm_motion { /* y ~ scale * R (x - from) + to */
	size_t dims;
	double rot[9]; /* [dims, dims], a rotation, with a reflection where that fits better; dims <= 3 */
	double scale;
	double from[3], to[3];
};
/* Least squares over the k common points x[k, dims] -> y[k, dims]. k = 0: identity; with_scale false: scale 1. */
int mm_align_fit(struct mm_motion *mo, size_t k, size_t dims, const double *x, const double *y, bool with_scale,
	struct mm_err *err) MM_MUST_CHECK;
void mm_align_apply(const struct mm_motion *mo, size_t k, double *x /* [k, dims] in place */);
/* Quantile of the k lengths |x_i - y_i|. */
int mm_displacement(size_t k, size_t dims, const double *x, const double *y, double q, double *out,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- isolate.c: far from every neighbour ---- */

#define MM_ISOLATE_MIN_MODELS 8
struct mm_isolate_rule {
	double z_min;		/* robust z of log nearest distance among all models */
	double unexplained_min; /* two_kl to the nearest over the sum of both variances over the texts: 0 same, 1
				   unrelated */
	size_t k_lof;
};
extern const struct mm_isolate_rule mm_isolate_default;
struct mm_isolation {
	double nearest; /* two_kl to the nearest other model */
	size_t nearest_i;
	double z;	    /* robust z of log(nearest): median and MAD of the others, MAD never below a floor */
	double unexplained; /* smallest over the other models */
	double lof;	    /* local outlier factor over sqrt(two_kl); about 1 inside a population */
	bool isolated;
};
/* out[k]. Below MM_ISOLATE_MIN_MODELS all are said to be not isolated and z, lof are 0. var: mm_row_moments of each. */
int mm_isolate(const struct mm_tri *t, const double *var, const struct mm_isolate_rule *rule, struct mm_isolation *out,
	struct mm_err *err) MM_MUST_CHECK;
/* The same for one model of many, without its lof (0): d[k] its distances, nearest[k] the nearest distance of every
 * model. tmp: 3 * k doubles. */
void mm_isolate_one(size_t self, size_t k, const double *d, const double *nearest, const double *var,
	const struct mm_isolate_rule *rule, double *tmp, struct mm_isolation *out);

/* ---- boot.c: error bars by resampling the texts ---- */

#define MM_BOOT_DEFAULT 100
struct mm_boot {
	size_t n, n_draw;
	uint8_t *count; /* [n_draw, n] how often each text is in each resample; rows sum to n */
};
/* The same seed gives the same resamples, so that intervals of different pairs are comparable. */
int mm_boot_init(struct mm_boot *b, size_t n, size_t n_draw, uint64_t seed, struct mm_err *err) MM_MUST_CHECK;
void mm_boot_fini(struct mm_boot *b);
struct mm_interval {
	double value;	/* on the texts as they are */
	double stderr_; /* standard deviation over the resamples */
	double lo, hi;	/* 2.5 and 97.5 % of the resamples */
};
/* The same for parts of the texts (domains) and the whole in one pass: order[n] lists the texts part after part, part p
 * from start[p] to start[p + 1]; out[n_part + 1], the whole last. The resamples are those of the whole: a part's size
 * varies with them, as it would in another text set. */
int mm_boot_parts(const struct mm_boot *b, const float *x, const float *y, double clip, const uint32_t *order,
	const uint32_t *start, size_t n_part, struct mm_interval *out, struct mm_err *err) MM_MUST_CHECK;
/* two_kl of two rows with its error bar. A single text has no spread: stderr and interval are 0 and the value. */
int mm_boot_dist(const struct mm_boot *b, const float *x, const float *y, double clip, struct mm_interval *out,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- quality.c: how well a layout keeps what it is a picture of ---- */

struct mm_quality {
	double trustworthiness; /* 1: near on the map means near in truth (10 neighbours, as scikit-learn defines it) */
	double continuity;	/* 1: near in truth means near on the map */
	double knn_recall;	/* share of the 10 nearest that are among the 10 nearest on the map */
	double stress;		/* sqrt(sum (s d - D)^2 / sum D^2) with the best scale s; D = sqrt(two_kl) */
};
/* coord[k, dims]. With too few models for 10 neighbours fewer are taken; below 4 all are perfect. Looks at no more than
 * `max_rows` models (0: all), evenly spread, against all others. */
int mm_quality_of(struct mm_quality *q, const struct mm_tri *t, const double *coord, size_t dims, size_t max_rows,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- mds.c: metric scaling ---- */

struct mm_mds {
	double stress;	   /* normalised, as in struct mm_quality */
	double raw_stress; /* sum over pairs (d - D)^2, what SMACOF makes small */
	size_t n_iter;
};
/* SMACOF on D = sqrt(two_kl) from `coord` [k, dims] (classical scaling: mm_pca_fit's coordinates), in place, until the
 * stress falls by less than `eps` (relative), max_iter, or *cancel (NULL: never). */
int mm_mds_smacof(const struct mm_tri *t, size_t dims, size_t max_iter, double eps, const _Atomic bool *cancel,
	double *coord, struct mm_mds *out, struct mm_err *err) MM_MUST_CHECK;
/* Place of one more point with distances d[k] (two_kl) to fixed points coord[k, dims]: majorisation from the nearest
 * one. */
void mm_mds_place(const double *d, const double *coord, size_t k, size_t dims, double *out);

/* ---- tsne.c (tsne_near.c, tsne_tree.c): t-distributed neighbour embedding ---- */

struct mm_tsne_opts {
	size_t dims;	   /* 2 or 3 */
	double perplexity; /* 30; lowered to (k - 1) / 3 when there are too few */
	size_t n_iter;	   /* 1000, of which n_exaggerated with exaggeration */
	size_t n_exaggerated;
	double exaggeration;
	double rate;	  /* 0: max(k / exaggeration / 4, 50) */
	double theta;	  /* Barnes-Hut opening angle; 0: exact */
	size_t exact_max; /* up to so many models the repulsion is summed exactly whatever theta is: it is faster there
			   */
	const _Atomic bool *cancel; /* looked at between iterations; NULL: never */
};
extern const struct mm_tsne_opts mm_tsne_default;
/* Sparse symmetric affinities, rows sum to about 1 / k. */
struct mm_affinity {
	size_t k;
	uint64_t *at;  /* [k + 1] */
	uint32_t *col; /* [at[k]] ascending in each row */
	float *p;
};
/* near[k, w]: nearest neighbours with two_kl as distance (squared), from mm_knn_all; perplexity is searched to 1e-12.
 */
int mm_tsne_affinity(struct mm_affinity *a, const struct mm_near *near, size_t k, size_t w, double perplexity,
	struct mm_err *err) MM_MUST_CHECK;
void mm_affinity_fini(struct mm_affinity *a);
/* coord[k, dims]: in the initial layout (any scale; PCA), out the embedding. kl: final objective. */
int mm_tsne_fit(const struct mm_affinity *a, const struct mm_tsne_opts *o, double *coord, double *kl,
	struct mm_err *err) MM_MUST_CHECK;
/* From distances to embedding: neighbours, affinities, fit. */
int mm_tsne_run(const struct mm_tri *t, const struct mm_tsne_opts *o, double *coord, double *kl,
	struct mm_err *err) MM_MUST_CHECK;
/* One more point with distances d[k] to a frozen embedding: only it moves, from the weighted middle of its neighbours.
 */
int mm_tsne_place(const double *d, const double *coord, size_t k, const struct mm_tsne_opts *o, double *out,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- cluster.c: hierarchies ---- */

enum mm_linkage { MM_LINK_AVERAGE, MM_LINK_WARD, MM_LINK_COMPLETE };
struct mm_merge {      /* step s makes cluster k + s of a and b (models are 0 .. k - 1); heights never fall */
	uint32_t a, b; /* a < b */
	double height; /* in sqrt(nats per text) */
	uint32_t size; /* models below */
};
/* Over D = sqrt(two_kl); out[k - 1]. Nearest-neighbour chains: O(k^2) time, one working copy of the triangle. */
int mm_cluster_tree(
	const struct mm_tri *t, enum mm_linkage how, struct mm_merge *out, struct mm_err *err) MM_MUST_CHECK;
/* Cuts the hierarchy into `want` clusters (1 .. k): label[k], numbered in the order of their first members. */
int mm_cluster_cut(const struct mm_merge *m, size_t k, size_t want, uint32_t *label, struct mm_err *err) MM_MUST_CHECK;
/* Silhouette of every model, each[k] in -1 .. 1 (0 for one alone in its cluster), and their mean; 0 with fewer than 2
 * clusters. */
int mm_cluster_silhouette(
	const struct mm_tri *t, const uint32_t *label, double *each, double *mean, struct mm_err *err) MM_MUST_CHECK;
/* Agreement of two labelings, adjusted for chance (Rand): 1 equal, about 0 unrelated. */
int mm_cluster_agreement(const uint32_t *a, const uint32_t *b, size_t k, double *out, struct mm_err *err) MM_MUST_CHECK;
/* Newick text with branch lengths; names are quoted where the format wants it. */
int mm_cluster_newick(const struct mm_merge *m, size_t k, const char *const *name, struct mm_buf *out,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- ridge.c: benchmark scores from vectors, in dual form ---- */

#define MM_RIDGE_ALPHAS 33 /* penalties 1 .. 1e8 in quarter decades */
struct mm_ridge {
	double pearson, spearman; /* of prediction and truth over the models with a score; 0 when undefined */
	double rmse;
	size_t n;	  /* models with a score */
	double alpha[16]; /* chosen for each of the first folds; [0] of mm_ridge_fit's one */
	double t975;	  /* mm_ridge_fit: the 95 % interval is +- t975 * sd */
};
/* Cross-validated prediction from the doubly centred rows: out[k]. score[k]: NAN where none is known (such models are
 * predicted by the last fold's fit and never used). fold[k] < n_fold: where a model is held out. The penalty is chosen
 * inside each training part by leave-one-out error. The column means drop out (the intercept takes them), so that
 * centring over all models, as in the paper, and inside the folds give the same figures; only the clip threshold is
 * shared. */
int mm_ridge_cv(const struct mm_tri *t, size_t n_texts, const double *score, const uint32_t *fold, size_t n_fold,
	double *out, struct mm_ridge *r, struct mm_err *err) MM_MUST_CHECK;
/* One fit for each of several benchmarks, score[n_score][k], on all models with a score; predictions for all, or
 * besides those with a score for model `only` alone (SIZE_MAX: all). sd: standard error of a prediction, from the
 * leave-one-out error and the leverage. outside: farther from every model with a score than those are from each other;
 * the prediction is a guess. A model with a score gets its leave-one-out prediction. out, sd, outside: [n_score][k];
 * NAN where there is no prediction: fewer than two models have a score, and then r[b].n is 0. */
int mm_ridge_fit(const struct mm_tri *t, size_t n_texts, const double *const *score, size_t n_score, size_t only,
	double *const *out, double *const *sd, bool *const *outside, struct mm_ridge *r,
	struct mm_err *err) MM_MUST_CHECK;
/* Folds 0 .. n_fold - 1 of nearly equal size in a seeded random order. */
void mm_ridge_folds(size_t k, size_t n_fold, uint64_t seed, uint32_t *fold);
/* Folds that never part a group, as even as that goes; models without `use` get UINT32_MAX and are never held out.
 * Returns how many there are, at most n_fold and the number of groups; SIZE_MAX: out of memory. */
size_t mm_ridge_groups(
	const uint64_t *group, const bool *use, size_t k, size_t n_fold, uint32_t *fold, struct mm_err *err);
/* One fold of several benchmarks, score[n_score][k]: predictions for the models with fold[i] == held go to out[b][i],
 * unless fewer than two others have a score. `t` may differ from fold to fold (a threshold from the others alone). */
int mm_ridge_fold(const struct mm_tri *t, size_t n_texts, const double *const *score, size_t n_score,
	const uint32_t *fold, uint32_t held, double *const *out, struct mm_err *err) MM_MUST_CHECK;
/* pearson, spearman, rmse and n over the models that have a score and a prediction (neither NAN). */
int mm_ridge_judge(
	const double *score, const double *out, size_t k, struct mm_ridge *r, struct mm_err *err) MM_MUST_CHECK;

/* ---- corr.c ---- */
double mm_t975(double nu);				       /* 97.5 % point of Student's t */
double mm_pearson(const double *x, const double *y, size_t n); /* 0 when one is constant */
int mm_spearman(const double *x, const double *y, size_t n, double *out,
	struct mm_err *err) MM_MUST_CHECK; /* ties: mean rank */

/* ---- lineage.c: merges, family tree, trajectories ---- */

struct mm_blend {	 /* x ~ (1 - alpha) a + alpha b */
	double alpha;	 /* projection on the line from a to b */
	double off_line; /* distance from the line over its length */
	double bow;	 /* off_line / sqrt(alpha (1 - alpha)): the same for every alpha of a slightly bent line */
	double two_kl_ab;
};
/* From the three squared distances alone. false when a and b coincide or alpha is not inside 0 .. 1. */
bool mm_blend_of(double xa, double xb, double ab, struct mm_blend *out);
#define MM_BLEND_BOW 0.2 /* interpolated weights: 0.05 to 0.14; other models between two: 0.28 and more */
/* Is x a linear interpolation of two others? Among pairs of its n_near nearest (group[k] equal, NULL: all) with a bow
 * of at most max_bow the one with the longest line. false: none. near: scratch [k]. */
bool mm_blend_find(const struct mm_tri *t, const uint64_t *group, size_t x, size_t n_near, double max_bow,
	struct mm_near *near, uint32_t *a, uint32_t *b, struct mm_blend *out);

enum mm_kin_kind { MM_KIN_ROOT, MM_KIN_CHILD, MM_KIN_CHECKPOINT, MM_KIN_MERGE, MM_KIN_COPY };
struct mm_kin {
	enum mm_kin_kind kind;
	uint32_t parent, parent2; /* UINT32_MAX: none; parent2: of a merge (alpha its share); of a checkpoint the parent
				     is its run's end */
	uint32_t base;		  /* root of its tree */
	double two_kl;		  /* to the parent */
	double alpha;
	double rival;	  /* two_kl to the next best parent; INFINITY: there is none */
	uint32_t rival_i; /* UINT32_MAX: none */
};
struct mm_kin_input {
	const struct mm_tri *t;
	const double *var;     /* [k] mm_row_moments of the clipped rows */
	const uint64_t *group; /* [k] what parent and child must share: architecture, size, vocabulary */
	const uint32_t *run;   /* [k] training run or UINT32_MAX; NULL: not known */
	const int64_t *step;   /* [k] -1: none; NULL: not known */
};
/* Copies and merges first; the rest of a group is a minimum spanning tree of two_kl, rooted in its middle (the model
 * with the least sum of distances) and cut where a link is no shorter than what separates its ends from other
 * architectures. */
int mm_kin_tree(const struct mm_kin_input *in, struct mm_kin *out, struct mm_err *err) MM_MUST_CHECK;
/* Share of the resamples in which x is nearer to a than to b. */
int mm_boot_nearer(const struct mm_boot *boot, const float *x, const float *a, const float *b, double clip, double *out,
	struct mm_err *err) MM_MUST_CHECK;

struct mm_leg { /* from one checkpoint to the next */
	double two_kl;
	double per_step; /* two_kl over the difference of steps; 0 when not known */
	double turn;	 /* angle against the leg before, radians; 0 for the first */
};
/* seq[n]: models of a run in the order of their steps; out[n - 1]. Returns the path length, the sum of sqrt(two_kl). */
double mm_trajectory(const struct mm_tri *t, const uint32_t *seq, const int64_t *step, size_t n, struct mm_leg *out);

/* ---- select.c: fewer texts ---- */

enum mm_select { MM_SELECT_UNIFORM, MM_SELECT_LENGTH, MM_SELECT_KL };
/* Probability of each text, p[n], sums to 1: uniform, by the squared length of its column of centred log-likelihoods,
 * or by what makes the mean squared error of two_kl over all pairs smallest. */
int mm_select_weights(
	const struct mm_mat *m, double clip, enum mm_select how, double *p, struct mm_err *err) MM_MUST_CHECK;
/* Draws with replacement until `want` different texts are there (want <= number of texts with p > 0): index[*got]
 * ascending and the weights that make sums over them stand for sums over all. */
int mm_select_draw(const double *p, size_t n, size_t want, uint64_t seed, uint32_t *index, double *weight, size_t *got,
	struct mm_err *err) MM_MUST_CHECK;
/* two_kl estimated on the selected texts of two full rows. */
double mm_dist_weighted(
	const float *x, const float *y, const uint32_t *index, const double *weight, size_t n, double clip);
/* Root mean square of the relative error of two_kl over (at most max_pairs) pairs of the rows, against all texts. */
int mm_select_error(const struct mm_mat *m, double clip, const uint32_t *index, const double *weight, size_t n,
	size_t max_pairs, double *out, struct mm_err *err) MM_MUST_CHECK;

#endif
