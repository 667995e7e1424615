/* mix_conv.c: helpers of the mixers: depthwise convolution over all sequences of a batch, packed matrices whose rows
 * carry factors. Sequences and blocks of channels are handed to threads; a channel's bits do not depend on who computes
 * it. */
#include "model/ckpt_priv.h"
#include "model/ssm_priv.h"

#define BLOCK 256 /* channels a task */

enum mm_dtype mm_lin_type(const struct mm_model *m)
{
	return m->compute == MM_COMPUTE_BF16 ? MM_BF16 : MM_F32;
}

int mm_conv_load(const struct mm_model *m, size_t l, enum mm_slot slot, size_t n_ch, size_t n_tap, float **out,
	struct mm_err *err)
{
	float *w;
	if (mm_w_vec(m, l, slot, &w, err))
		return -1;
	*out = mm_calloc(n_ch * n_tap, sizeof(**out), err);
	for (size_t c = 0; *out && c < n_ch; c++)
		for (size_t j = 0; j < n_tap; j++)
			(*out)[j * n_ch + c] = w[c * n_tap + j];
	mm_free(w);
	return *out ? 0 : -1;
}

float *mm_pass_mix(struct mm_pass *p, size_t n, struct mm_err *err)
{
	if (n > p->n_mix) {
		mm_free(p->mix);
		p->mix = mm_calloc(n, sizeof(float), err);
		p->n_mix = p->mix ? n : 0;
	}
	return p->mix;
}

int mm_w_all(const struct mm_model *m, size_t l, enum mm_slot slot, float **out, struct mm_err *err)
{
	const struct mm_tensor *t = mm_w_get(m, l, slot);
	if (!t)
		return mm_fail(err, MM_EINTERNAL, "weight slot %d of layer %zu is absent", (int)slot, l);
	*out = mm_calloc((size_t)t->n_elem, sizeof(**out), err);
	if (!*out)
		return -1;
	return mm_ckpt_read(m->ck, t, 0, (size_t)t->n_elem, *out, err) ? mm_wrap(err, "tensor %s", t->name) : 0;
}

void mm_conv_rows(const struct mm_pass *p, const float *x, size_t ld_x, const float *w, const float *b, size_t n_tap,
	size_t n_ch, enum mm_act act, float *y, size_t ld_y)
{
	size_t n_block = (n_ch + BLOCK - 1) / BLOCK, n_task = p->b->n_seq * n_block;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)p->n_thread)
	for (size_t i = 0; i < n_task; i++) {
		size_t s = i / n_block, c = i % n_block * BLOCK, m = MM_MIN((size_t)BLOCK, n_ch - c);
		size_t r0 = p->b->start[s], n = p->b->start[s + 1] - r0;
		mm_conv_causal(
			x + r0 * ld_x + c, ld_x, w + c, n_ch, n_tap, b ? b + c : NULL, y + r0 * ld_y + c, ld_y, n, m);
		for (size_t t = 0; act != MM_ACT_NONE && t < n; t++)
			mm_act_row(act, y + (r0 + t) * ld_y + c, m);
	}
}

struct mm_lin *mm_lin_parts(const struct mm_model *m, size_t l, const struct mm_lin_part *part, size_t n,
	enum mm_dtype compute, struct mm_err *err)
{
	size_t n_in = mm_w_cols(m, l, part[0].w), n_out = 0, total, r = 0;
	struct mm_lin *lin = NULL;
	float *w = NULL, *bias = NULL;
	for (size_t i = 0; i < n; i++)
		n_out += part[i].n ? part[i].n : mm_w_rows(m, l, part[i].w);
	if (!mm_mul(n_out, n_in, &total)) {
		mm_fail(err, MM_ESHAPE, "layer %zu: a matrix of %zu by %zu is too large", l, n_out, n_in);
		return NULL;
	}
	w = mm_calloc(total, sizeof(*w), err);
	bias = w ? mm_calloc(n_out, sizeof(*bias), err) : NULL;
	bool has_bias = false;
	for (size_t i = 0; bias && i < n; i++) {
		const struct mm_lin_part *q = &part[i];
		size_t k = q->n ? q->n : mm_w_rows(m, l, q->w);
		float *b = NULL;
		if (mm_w_read(m, l, q->w, 0, q->row0, k, w + r * n_in, err) ||
			(q->b != MM_W_COUNT && mm_w_vec(m, l, q->b, &b, err)))
			goto out;
		for (size_t j = 0; q->scale != 1.0 && j < k * n_in; j++)
			w[r * n_in + j] *= (float)q->scale;
		for (size_t j = 0; b && j < k; j++)
			bias[r + j] = b[q->row0 + j] * (float)q->bias_scale;
		has_bias = has_bias || b;
		mm_free(b);
		r += k;
	}
	if (bias)
		lin = mm_lin_new(n_out, n_in, w, has_bias ? bias : NULL, compute, err);
out:
	mm_free(w);
	mm_free(bias);
	return lin;
}
