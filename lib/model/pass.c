/* pass.c: the way of a batch through a model: memory, rotary tables, embedding, layers one by one, head.
 *
 * Without residence (mm_model_opts.memory) one struct mm_layer is filled, used for the whole batch, and emptied; the
 * mapping's pages are given back as soon as a layer is packed. */
#include "model/ckpt_priv.h"
#include "model/model_priv.h"

#include <string.h>

static size_t work_floats(const struct mm_model *m, size_t longest)
{
	const struct mm_hp *h = &m->hp;
	size_t d = MM_MAX(h->n_embd, h->n_embd_in);
	size_t ff = MM_MAX(h->n_ff, MM_MAX(h->n_ff_expert, h->n_ff_shared)) * (h->gated ? 2 : 1);
	size_t a = MM_TILE * d + h->scratch, b = mm_attn_scratch(longest) + longest + 16, c = MM_TILE * (4 * d + ff);
	size_t e = MM_TILE * (2 * d + MM_MIN(h->n_vocab, m->head_chunk ? m->head_chunk : h->n_vocab));
	return (MM_MAX(MM_MAX(a, b), MM_MAX(c, e)) + 1023) / 1024 * 1024;
}

static bool needs_yz(const struct mm_model *m)
{
	return m->hp.flag_moe || m->fam->mixer || m->fam->layer_run;
}

size_t mm_pass_bytes(const struct mm_model *m, size_t n_row, size_t longest)
{
	const struct mm_hp *h = &m->hp;
	size_t row = h->n_embd * (needs_yz(m) ? 3 : 1) + h->dim[MM_D_QKV] + h->dim[MM_D_O] + h->own_row + 16;
	if (h->flag_moe)
		row += h->n_expert_used * (h->n_embd + 4) + h->n_expert;
	for (size_t i = 0; i < h->n_rope; i++)
		row += h->rope[i].scaling == MM_ROPE_DYNAMIC ? h->rope[i].d_rot : 0;
	return sizeof(float) * (n_row * row + mm_threads() * work_floats(m, longest));
}

static size_t longest_of(const struct mm_batch *b)
{
	size_t n = 0;
	for (size_t s = 0; s < b->n_seq; s++)
		n = MM_MAX(n, b->start[s + 1] - b->start[s]);
	return n;
}

/* One table for all sequences with the same key. The length that counts has the last token in it, which is no row:
 * nothing is predicted from it. */
static int tables_make(struct mm_pass *p, struct mm_err *err)
{
	const struct mm_batch *b = p->b;
	size_t longest = longest_of(b), cap = 0;
	p->cs = mm_calloc(MM_MAX(p->hp->n_rope, (size_t)1) * b->n_seq, sizeof(*p->cs), err);
	if (!p->cs)
		return -1;
	for (size_t k = 0; k < p->hp->n_rope; k++) {
		const struct mm_rope *r = &p->hp->rope[k];
		size_t at = k * b->n_seq;
		for (size_t s = 0; s < b->n_seq; s++) {
			size_t n = b->start[s + 1] - b->start[s] + 1, key = mm_rope_key(r, n);
			for (size_t t = 0; t < s && !p->cs[at + s]; t++)
				if (mm_rope_key(r, b->start[t + 1] - b->start[t] + 1) == key)
					p->cs[at + s] = p->cs[at + t];
			if (p->cs[at + s])
				continue;
			if (mm_grow(&p->own, &cap, p->n_own + 1, sizeof(*p->own), err))
				return -1;
			float *cs = mm_calloc((longest + 1) * r->d_rot + 16, sizeof(float), err);
			if (!cs)
				return -1;
			p->own[p->n_own++] = cs;
			mm_rope_table(r, n, longest, cs);
			p->cs[at + s] = cs;
		}
	}
	return 0;
}

/* [n_row, width], not cleared but for the padding rows, which not every step writes. */
static float *rows_alloc(const struct mm_batch *b, size_t width, struct mm_err *err)
{
	float *x = mm_big_alloc((b->n_row * width + 16) * sizeof(float), err);
	if (x)
		memset(x + b->n_tok * width, 0, ((b->n_row - b->n_tok) * width + 16) * sizeof(float));
	return x;
}

static int pass_alloc(struct mm_pass *p, struct mm_err *err)
{
	const struct mm_hp *h = p->hp;
	p->ld_qkv = h->dim[MM_D_QKV];
	p->n_thread = mm_threads();
	p->n_work = work_floats(p->m, longest_of(p->b));
	if (!(p->x = rows_alloc(p->b, h->n_embd, err)) || !(p->qkv = rows_alloc(p->b, p->ld_qkv, err)) ||
		!(p->att = rows_alloc(p->b, h->dim[MM_D_O], err)))
		return -1;
	if (needs_yz(p->m) &&
		(!(p->y = rows_alloc(p->b, h->n_embd, err)) || !(p->z = rows_alloc(p->b, h->n_embd, err))))
		return -1;
	p->work = mm_calloc(p->n_thread, sizeof(*p->work), err);
	for (size_t t = 0; p->work && t < p->n_thread; t++)
		if (!(p->work[t] = mm_big_alloc(p->n_work * sizeof(float), err)))
			return -1;
	return p->work ? tables_make(p, err) : -1;
}

static void pass_fini(struct mm_pass *p)
{
	for (size_t t = 0; p->work && t < p->n_thread; t++)
		mm_big_free(p->work[t]);
	for (size_t i = 0; i < p->n_own; i++)
		mm_free(p->own[i]);
	mm_free(p->own);
	mm_free(p->work);
	mm_free((void *)p->cs);
	mm_big_free(p->x);
	mm_big_free(p->qkv);
	mm_big_free(p->att);
	mm_big_free(p->y);
	mm_big_free(p->z);
	mm_free(p->mix);
}

static void embed_row(struct mm_pass *p, size_t r)
{
	const struct mm_model *m = p->m;
	const struct mm_hp *h = p->hp;
	size_t d = h->n_embd;
	float *x = p->x + r * d;
	if (h->mult_embd != 1)
		for (size_t i = 0; i < d; i++)
			x[i] *= (float)h->mult_embd;
	if (m->pos) {
		size_t at = (p->b->pos[r] + h->pos_offset) * d;
		mm_axpy_row(1, m->pos + at, x, d);
	}
	if (h->embd_norm)
		mm_norm_row(&m->embd_norm, x, x, d);
}

static int embed(struct mm_pass *p, struct mm_err *err)
{
	const struct mm_model *m = p->m;
	size_t in = p->hp->n_embd_in;
	const struct mm_tensor *t = mm_w_get(m, MM_GLOBAL, MM_W_EMBD);
	float *e = m->embd_in ? mm_calloc(p->b->n_row * in, sizeof(float), err) : p->x;
	int rc = e ? 0 : -1;
	for (size_t r = 0; rc == 0 && r < p->b->n_row; r++) {
		rc = mm_ckpt_read(m->ck, t, (uint64_t)p->b->id[r] * in, in, e + r * in, err);
		if (r % 2048 == 2047) /* a row touches 16 pages: the kernel maps the neighbours too */
			mm_ckpt_drop(m->ck, t);
	}
	mm_ckpt_drop(m->ck, t);
	if (rc == 0 && m->embd_in)
		mm_lin_rows(m->embd_in, p->b->n_row, e, p->x);
	if (m->embd_in)
		mm_free(e);
	if (rc)
		return -1;
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < p->b->n_row; r++)
		embed_row(p, r);
	return 0;
}

static void layer_pages(
	const struct mm_model *m, size_t l, void (*each)(const struct mm_ckpt *, const struct mm_tensor *))
{
	for (size_t s = MM_W_GLOBAL_END; s < MM_W_COUNT; s++)
		for (size_t e = 0; mm_w_get(m, l, (enum mm_slot)s); e++) {
			const struct mm_tensor *t = mm_w_get_of(m, l, (enum mm_slot)s, e);
			if (!t)
				break;
			each(m->ck, t);
			if (t == mm_w_get_of(m, l, (enum mm_slot)s, e + 1))
				break;
		}
}

/* What was packed is not needed in the mapping any more. */
void mm_layer_drop_pages(const struct mm_model *m, size_t l)
{
	layer_pages(m, l, mm_ckpt_done);
}

/* The layer is packed, used by the whole batch, and emptied; while it is used the kernel reads the next one. */
static int layer_stream(struct mm_pass *p, size_t l, struct mm_err *err)
{
	const struct mm_model *m = p->m;
	struct mm_layer *y = &m->layer[0];
	if (mm_layer_load(m, l, y, err))
		return -1;
	mm_layer_drop_pages(m, l);
	if (l + 1 < m->hp.n_layer)
		layer_pages(m, l + 1, mm_ckpt_willneed);
	int rc = mm_block_run(p, y, err);
	mm_layer_free(m, y);
	return rc;
}

int mm_pass_run(
	const struct mm_model *m, const struct mm_batch *b, const uint32_t *target, double *logprob, struct mm_err *err)
{
	struct mm_pass p = { .m = m, .hp = &m->hp, .b = b };
	int rc = pass_alloc(&p, err) || embed(&p, err) ? -1 : 0;
	for (size_t l = 0; rc == 0 && l < m->hp.n_layer; l++) {
		rc = m->resident ? mm_block_run(&p, &m->layer[l], err) : layer_stream(&p, l, err);
		if (rc == 0 && b->tick)
			rc = b->tick(b->tick_ctx, (double)(l + 1) / (double)(m->hp.n_layer + 1), err);
	}
	if (rc == 0)
		rc = mm_head_run(&p, target, logprob, err);
	pass_fini(&p);
	return rc;
}
