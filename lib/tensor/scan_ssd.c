/* scan_ssd.c: the state space dual of Mamba-2, in chunks, so that matrix products do the work.
 *
 * A head has one decay a token, exp(dt a), and a state S [n_state, d_head]. With c_t = sum of dt a up to t inside a
 * chunk of L tokens and S the state before it:
 *
 *   Y   = ((C B^T) * W) X + e^{c_t} C S          W[t][s] = dt_s e^{c_t - c_s} for s <= t, else 0
 *   S'  = e^{c_L} S + B^T (dt_s e^{c_L - c_s} X)
 *
 * C B^T is shared by the heads of a group, which is why a call takes several heads. Token by token every step would
 * read and write the whole state; here it is touched once a chunk. Sums c_t are kept in double: differences of
 * neighbours far into a fast decaying chunk would lose their digits in float.
 *
 * Chunks start at the sequence's first token and have a fixed length, so a sequence has the same bits wherever it lies
 * in a batch. Any thread may call. */
#include "tensor/tensor.h"

#include <string.h>

#define CHUNK 64
#define BAND  16 /* rows of the triangle that are multiplied together */

size_t mm_ssd_scratch(size_t n_head, size_t d_head, size_t n_state)
{
	return 2 * CHUNK * CHUNK + 2 * CHUNK * d_head + CHUNK + CHUNK * n_state + n_head * d_head * n_state;
}

struct work {
	float *g, *w;	/* [CHUNK, CHUNK]: C B^T; that times W */
	float *state;	/* [n_state, d_head] of this head */
	float *u, *off; /* [CHUNK, d_head]: weighted X; C S */
	float *e;	/* [CHUNK] */
	float *bt;	/* [n_state, CHUNK]: B transposed */
};

/* One chunk of one head: tokens t0 .. t0 + m. g = C B^T of the chunk. */
static void head_chunk(const struct mm_ssd *s, const struct work *w, size_t h, size_t t0, size_t m)
{
	size_t dh = s->d_head, ns = s->n_state;
	const float *x = s->x + t0 * s->ld_x + h * dh, *dt = s->dt + t0 * s->ld_dt + h;
	float *y = s->y + t0 * s->ld_y + h * dh;
	double cum[CHUNK], c = 0.0;
	for (size_t t = 0; t < m; t++) {
		c += (double)(dt[t * s->ld_dt] * s->a[h]);
		cum[t] = c;
	}
	for (size_t t = 0; t < m; t++) {
		float *row = w->w + t * CHUNK;
		for (size_t i = 0; i <= t; i++)
			row[i] = (float)(cum[t] - cum[i]);
		mm_exp_row(row, t + 1);
		for (size_t i = 0; i <= t; i++)
			row[i] *= w->g[t * CHUNK + i] * dt[i * s->ld_dt];
		memset(row + t + 1, 0, (m - t - 1) * sizeof(float));
	}
	for (size_t t = 0; t < m; t += BAND) { /* columns beyond the band's last row are zero */
		size_t rows = MM_MIN((size_t)BAND, m - t);
		mm_product(rows, dh, t + rows, w->w + t * CHUNK, CHUNK, 1, x, s->ld_x, 0.0f, y + t * s->ld_y, s->ld_y);
	}

	for (size_t t = 0; t < m; t++)
		w->e[t] = (float)cum[t];
	mm_exp_row(w->e, m);
	if (t0) {
		mm_product(m, dh, ns, s->c + t0 * s->ld_c, s->ld_c, 1, w->state, dh, 0.0f, w->off, dh);
		for (size_t t = 0; t < m; t++)
			mm_axpy_row(w->e[t], w->off + t * dh, y + t * s->ld_y, dh);
	}
	for (size_t t = 0; t < m; t++)
		mm_axpy_row(s->d[h], x + t * s->ld_x, y + t * s->ld_y, dh);
	if (t0 + m == s->n)
		return;

	float keep = w->e[m - 1];
	for (size_t t = 0; t < m; t++)
		w->e[t] = (float)(cum[m - 1] - cum[t]);
	mm_exp_row(w->e, m);
	for (size_t t = 0; t < m; t++)
		for (size_t i = 0; i < dh; i++)
			w->u[t * dh + i] = x[t * s->ld_x + i] * (w->e[t] * dt[t * s->ld_dt]);
	mm_product(ns, dh, m, s->b + t0 * s->ld_b, 1, s->ld_b, w->u, dh, t0 ? keep : 0.0f, w->state, dh);
}

void mm_ssd(const struct mm_ssd *s, float *scratch)
{
	size_t one = s->n_state * s->d_head;
	struct work w = { .g = scratch, .w = scratch + CHUNK * CHUNK };
	w.u = w.w + CHUNK * CHUNK;
	w.off = w.u + CHUNK * s->d_head;
	w.e = w.off + CHUNK * s->d_head;
	w.bt = w.e + CHUNK;
	float *state = w.bt + CHUNK * s->n_state; /* of all heads; the first chunk writes it */
	for (size_t t0 = 0; t0 < s->n; t0 += CHUNK) {
		size_t m = MM_MIN((size_t)CHUNK, s->n - t0);
		for (size_t t = 0; t < m; t++)
			for (size_t i = 0; i < s->n_state; i++)
				w.bt[i * CHUNK + t] = s->b[(t0 + t) * s->ld_b + i];
		mm_product(m, m, s->n_state, s->c + t0 * s->ld_c, s->ld_c, 1, w.bt, CHUNK, 0.0f, w.g, CHUNK);
		for (size_t h = 0; h < s->n_head; h++) {
			w.state = state + h * one;
			head_chunk(s, &w, h, t0, m);
		}
	}
}
