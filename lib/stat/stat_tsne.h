/* stat_tsne.h - what the files of the embedding share. Private to lib/stat. */
#ifndef MM_STAT_TSNE_H
#define MM_STAT_TSNE_H

#include "stat/stat_priv.h"

/* Points handled side by side: one AVX-512 register of floats. */
#define WIDE 16

/* Tree over the points in Morton order, nodes in depth-first order: the children of node a are a + 1 .. skip[a] - 1. */
struct tsne_tree {
	size_t k, dims, n_node, cap;
	float *center;	 /* [cap, 4] x, y, z of the centre of mass, number of points */
	float *width2;	 /* [cap] squared width of the cell; 0: leaf */
	uint32_t *skip;	 /* [cap] the node after the subtree */
	uint32_t *from;	 /* [cap] first point (in Morton order) of the node */
	uint32_t *order; /* [k] Morton order -> point */
	float *pos;	 /* [dims, kp] positions in Morton order, padded far away */
	uint64_t *code, *tmp_code;
	uint32_t *tmp_order;
	size_t kp;
};
int mm_tsne_tree_init(struct tsne_tree *t, size_t k, size_t dims, struct mm_err *err) MM_MUST_CHECK;
void mm_tsne_tree_fini(struct tsne_tree *t);
/* y[k, dims] -> order, positions, nodes. Never fails: depth and number of nodes are bounded. */
void mm_tsne_tree_build(struct tsne_tree *t, const double *y);
/* Repulsion on the WIDE points from `group * WIDE` of the Morton order: force[dims][WIDE], z[WIDE] sums of 1 / (1 +
 * d^2), the point itself included. */
void mm_tsne_tree_repulse(const struct tsne_tree *t, size_t group, float theta2, float *force, float *z);

/* Weights of one point's neighbours at the perplexity wanted: d[w] squared distances, p[w] sums to 1. */
void mm_tsne_weights(const float *d, size_t w, double perplexity, double *p);

#endif
