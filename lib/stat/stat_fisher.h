/* stat_fisher.h - distances between output distributions: next-byte distributions at the probes of a text set.
 *
 * A model is M rows of MM_BYTES numbers, the square roots of the probabilities of the next byte (256: the text ends),
 * as f16, one row for each probe. A row is a point of the unit sphere; rows are normalised when they are unpacked.
 * Distances are made of one term for each probe, and of their sum or mean over the probes:
 *
 *   fisher       (4 asin(|sqrt p - sqrt q| / 2))^2, which is (2 arccos(sum sqrt(p q)))^2; root of the sum, rad
 *   hellinger    sum (sqrt p - sqrt q)^2 / 2; root of the mean, 0 to 1
 *   jeffreys     sum (p - q) log2(p / q), p and q not below 2^-28; mean, bits
 *   js           sum (p log2(2 p / (p + q)) + q log2(2 q / (p + q))) / 2; mean, bits, 0 to 1
 *   wasserstein  the cost of carrying p to q, see mm_byte_distance; mean, 0 to 1
 *
 * Equal rows have the term 0 exactly. All sums in a fixed order; no function keeps state. */
#ifndef MM_STAT_FISHER_H
#define MM_STAT_FISHER_H

#include "stat/stat.h"

#define MM_BYTES       257 /* 256 bytes and the end of the text */
#define MM_BYTE_STRIDE 272 /* floats of an unpacked row; the rest is 0 */

enum mm_metric {
	MM_METRIC_KL, /* of the log-likelihoods; nothing here is about it */
	MM_METRIC_FISHER,
	MM_METRIC_HELLINGER,
	MM_METRIC_JEFFREYS,
	MM_METRIC_JS,
	MM_METRIC_WASSERSTEIN,
	MM_METRIC_COUNT
};
struct mm_metric_info {
	const char *name, *unit, *root_unit; /* of the distance; of what a map, a tree or clusters are drawn in */
	bool sum;			     /* over the probes; else the mean */
	bool root;			     /* the distance is the root of that, or itself such a root (wasserstein) */
	bool squared;			     /* a triangle (struct mm_tri) holds its square */
};
extern const struct mm_metric_info mm_metrics[MM_METRIC_COUNT];
enum mm_metric mm_metric_find(const char *name); /* MM_METRIC_COUNT: unknown */
/* The distance that the mean term of n probes makes, and what a triangle holds of it (D = its root). */
double mm_metric_value(enum mm_metric m, double mean, size_t n);
double mm_metric_tri(enum mm_metric m, double value);
double mm_metric_of_tri(enum mm_metric m, double tri);

/* ---- fisher.c ---- */

/* Ground metric of `wasserstein`, a tree: 0 the same; 1/4 the cases of one letter; 1/2 two letters, two digits, two of
 * white space, of punctuation, of control characters, of bytes that begin, of bytes that continue a character beyond
 * ASCII; 1 anything else, also a byte and the end of the text. */
double mm_byte_distance(unsigned a, unsigned b);

/* m rows of f16 (may be unaligned) to out[m, MM_BYTE_STRIDE], normalised. -1: a row that is no distribution. */
int mm_bytes_unpack(const void *f16, size_t m, float *out, struct mm_err *err) MM_MUST_CHECK;
/* One term for each probe, v[m]. */
void mm_byte_terms(enum mm_metric which, const float *a, const float *b, size_t m, double *v);
/* Distance over the probes sel[n] (NULL: the first n). */
double mm_byte_distance_of(enum mm_metric which, const double *v, const uint32_t *sel, size_t n);
/* Its error bar by resampling the probes; boot is for n probes. */
int mm_byte_boot(enum mm_metric which, const struct mm_boot *boot, const double *v, const uint32_t *sel,
	struct mm_interval *out, struct mm_err *err) MM_MUST_CHECK;
/* Share of the resamples in which the terms a[] are less than the terms b[]. */
double mm_byte_nearer(const struct mm_boot *boot, const double *a, const double *b, const uint32_t *sel);

/* Value with the error bar that n draws (sorted here) make. */
void mm_interval_of(double value, double *draw, size_t n, struct mm_interval *out);
/* The squared geodesic of each t = |sqrt p - sqrt q|^2, in place. */
void mm_geodesic(double *t, size_t n);

/* ---- fisher_pairs.c ---- */

struct mm_byte_rows {
	const uint16_t *const *row; /* [k] f16 [m, MM_BYTES] */
	size_t k, m;
	const uint32_t *sel; /* [n] probes; NULL: all m */
	size_t n;
};
/* All pairs, as mm_metric_tri. fisher and hellinger through products, pairs that nearly agree and the other metrics one
 * by one. Given up with MM_ECANCELLED soon after *cancel is set (NULL: never). */
int mm_byte_matrix(enum mm_metric which, const struct mm_byte_rows *r, const _Atomic bool *cancel, struct mm_tri *out,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- fisher_sketch.c: who cannot be near, without reading everybody ----
 *
 * Each probe's row of 257 masses becomes MM_SKETCH: the bytes that tell models apart have one each, all others are
 * added up by kind. No metric here sees more between such sums than between the rows themselves, so that a distance of
 * sketches, less what their fixed point may add, is a lower bound of the distance. */
#define MM_SKETCH 16
struct mm_sketch_plan { /* which byte counts where, for each probe */
	size_t m, n;	/* probes; models shown */
	size_t stride;	/* m, rounded up to whole vectors */
	uint8_t *unit;	/* those with a column of their own */
	float *in;	/* of which kind they are */
	double *seen;	/* while models are shown: [m, MM_BYTES, 2] sums of roots and masses */
};
/* The plan is drawn up from the rows of some models; others make the bounds no less true, only less sharp. */
int mm_sketch_plan_init(struct mm_sketch_plan *p, size_t m, struct mm_err *err) MM_MUST_CHECK;
void mm_sketch_plan_show(struct mm_sketch_plan *p, const float *rows);
void mm_sketch_plan_done(struct mm_sketch_plan *p);
void mm_sketch_plan_fini(struct mm_sketch_plan *p);
/* out[MM_SKETCH, stride]: from unpacked rows. Only sketches of one plan can be compared. */
void mm_sketch_make(const struct mm_sketch_plan *p, const float *rows, int16_t *out);
/* least[k]: no distance over the probes with weight[m] (0 or 1, n of them) is below it; INFINITY for a NULL sketch.
 * rough: where a bound takes long, another one that does not. */
void mm_sketch_scan(enum mm_metric which, bool rough, const struct mm_sketch_plan *p, const int16_t *const *sketch,
	size_t k, const int16_t *of, const float *weight, size_t n, double *least);

/* ---- fisher_geom.c: tangents ---- */

/* Of the ways from x, over the probes sel[n]: cosine of the angle at x between those to a and to b in the Fisher
 * metric, and their lengths (rad). */
struct mm_heading {
	double cosine, to_a, to_b;
};
void mm_byte_heading(
	const float *x, const float *a, const float *b, const uint32_t *sel, size_t n, struct mm_heading *out);

/* Spectrum of the Fisher metric in the directions from x to k others: G = sum u u^T / k with u the tangents (length =
 * distance). Traces by Hutchinson's random vectors; leading eigenvalues exactly, from the products of the tangents. */
struct mm_spectrum {
	size_t k, n_lead, n_random;
	double trace, trace_err;       /* tr G: mean squared distance, and its standard error over the random vectors */
	double trace2, trace2_err;     /* tr G^2 */
	double dim, dim_err;	       /* (tr G)^2 / tr G^2 */
	double exact_trace, exact_dim; /* from the products, to compare */
	double lead[20];	       /* eigenvalues over the exact trace, descending */
};
int mm_byte_spectrum(const float *x, const struct mm_byte_rows *others, size_t n_random, uint64_t seed,
	const _Atomic bool *cancel, struct mm_spectrum *out, struct mm_err *err) MM_MUST_CHECK;

/* Where x lies on the line from a to b, with 95 % intervals, from squared distances: value and n_draw resamples of each
 * (xa, xb, ab). */
struct mm_line {
	struct mm_interval along, off; /* share of the length; distance from the line over the length */
	double bow;		       /* off / sqrt(along (1 - along)); INFINITY outside */
};
int mm_line_boot(const double *xa, const double *xb, const double *ab, size_t n_draw, struct mm_line *out,
	struct mm_err *err) MM_MUST_CHECK;
/* two_kl of a pair on the texts as they are, v[0], and in each resample, v[1 .. n_draw]. */
int mm_boot_draws(const struct mm_boot *b, const float *x, const float *y, double clip, double *v,
	struct mm_err *err) MM_MUST_CHECK;

#endif
