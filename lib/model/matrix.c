/* matrix.c: from stored tensors to packed matrices.
 *
 * The rows of one or several tensors are put under each other in a staging buffer and packed from there; the buffer
 * belongs to the model and is as large as the largest matrix so far. Tensors of bf16 that need nothing done to them are
 * staged as they are, everything else as f32. Rows are read by all threads, in blocks; a tensor that is stored
 * transposed is read in one piece by one thread. */
#include "model/ckpt_priv.h"
#include "model/score_priv.h"

#include <string.h>

#define BLOCK	      64    /* rows */
#define PARALLEL_FROM 65536 /* numbers: below this the threads cost more than they bring */

struct build {
	const struct mm_model *m;
	size_t l, e, n_in;
	bool half; /* staged as bf16 */
	mm_row_map map;
	char *at; /* the stage */
};

static int rows_read(const struct build *b, enum mm_slot slot, const uint8_t *raw, size_t row, size_t n, void *dst,
	struct mm_err *err)
{
	if (!b->half)
		return mm_w_read(b->m, b->l, slot, b->e, row, n, dst, err);
	memcpy(dst, raw + row * b->n_in * 2, n * b->n_in * 2);
	if (!mm_bf16_finite(dst, n * b->n_in))
		return mm_fail(err, MM_ENONFINITE, "tensor %s has values that are not finite",
			mm_w_get_of(b->m, b->l, slot, b->e)->name);
	return 0;
}

/* Rows of one tensor to the stage, from row `to` on. */
static int part_read(const struct build *b, enum mm_slot slot, size_t to, struct mm_err *err)
{
	size_t rows = mm_w_rows(b->m, b->l, slot), wide = b->n_in * (b->half ? 2 : 4);
	enum mm_dtype type;
	bool whole = false;
	const uint8_t *raw = mm_w_raw(b->m, b->l, slot, b->e, &type, &whole);
	size_t block = whole ? rows : b->map ? 1 : BLOCK;
	int failed = 0;
	if (whole && b->map)
		return mm_fail(err, MM_EINTERNAL, "weight slot %d: rows of a transposed tensor", (int)slot);
#pragma omp parallel for schedule(static) num_threads((int)mm_threads()) if (rows * b->n_in > PARALLEL_FROM)
	for (size_t r = 0; r < rows; r += block) {
		struct mm_err e = { .code = MM_OK };
		size_t from = b->map ? b->map(&b->m->hp, r) : r;
		if (rows_read(b, slot, raw, from, MM_MIN(block, rows - r), b->at + (to + r) * wide, &e)) {
#pragma omp critical(mm_part_read)
			{
				if (!failed)
					*err = e;
				failed = 1;
			}
		}
	}
	return failed ? -1 : 0;
}

static bool all_half(const struct mm_model *m, size_t l, const enum mm_slot *w, size_t e)
{
	for (size_t i = 0; w[i] != MM_W_COUNT; i++) {
		enum mm_dtype type;
		bool whole;
		if (!mm_w_raw(m, l, w[i], e, &type, &whole) || type != MM_BF16)
			return false;
	}
	return true;
}

void *mm_stage_get(const struct mm_model *m, size_t n, struct mm_err *err)
{
	struct mm_stage *s = m->stage;
	if (n > s->cap) {
		mm_big_free(s->p);
		s->cap = 0;
		s->p = mm_big_alloc(n, err);
		s->cap = s->p ? n : 0;
	}
	return s->p;
}

void mm_stage_drop(const struct mm_model *m)
{
	mm_big_free(m->stage->p);
	*m->stage = (struct mm_stage){ NULL, 0 };
}

static int bias_read(
	const struct build *b, const enum mm_slot *w, const enum mm_slot *bias, float *out, struct mm_err *err)
{
	size_t row = 0;
	for (size_t i = 0; w[i] != MM_W_COUNT; i++) {
		size_t n = mm_w_rows(b->m, b->l, w[i]);
		if (mm_w_get(b->m, b->l, bias[i]) && mm_w_read(b->m, b->l, bias[i], b->e, 0, n, out + row, err))
			return -1;
		row += n;
	}
	return 0;
}

/* out[i] = in[map(i)] */
static int bias_map(const struct build *b, size_t n, float **bias, struct mm_err *err)
{
	float *sorted = b->map ? mm_calloc(n, sizeof(float), err) : NULL;
	if (!b->map)
		return 0;
	if (!sorted)
		return -1;
	for (size_t i = 0; i < n; i++)
		sorted[i] = (*bias)[b->map(&b->m->hp, i)];
	mm_free(*bias);
	*bias = sorted;
	return 0;
}

struct mm_lin *mm_w_lin_map(const struct mm_model *m, size_t l, const enum mm_slot *w, const enum mm_slot *bias,
	size_t e, mm_row_map map, enum mm_dtype compute, struct mm_err *err)
{
	size_t n_out = 0, row = 0, n;
	bool has_bias = false;
	struct build b = { .m = m, .l = l, .e = e, .map = map, .half = all_half(m, l, w, e) };
	struct mm_lin *lin = NULL;
	float *bs = NULL;
	for (size_t i = 0; w[i] != MM_W_COUNT; i++) {
		n_out += mm_w_rows(m, l, w[i]);
		b.n_in = mm_w_cols(m, l, w[i]);
		has_bias = has_bias || (bias && mm_w_get(m, l, bias[i]));
	}
	if (!mm_mul(n_out, b.n_in, &n) || !mm_mul(n, b.half ? 2 : 4, &n) || n == 0) {
		mm_fail(err, MM_EINTERNAL, "weight slot %d of layer %zu is absent", (int)w[0], l);
		return NULL;
	}
	b.at = mm_stage_get(m, n, err);
	if (!b.at)
		return NULL;
	for (size_t i = 0; w[i] != MM_W_COUNT; i++) {
		if (part_read(&b, w[i], row, err))
			return NULL;
		row += mm_w_rows(m, l, w[i]);
		if (l != MM_GLOBAL)
			mm_ckpt_done(m->ck, mm_w_get_of(m, l, w[i], e));
	}
	if (has_bias && (!(bs = mm_calloc(n_out, sizeof(float), err)) || bias_read(&b, w, bias, bs, err) ||
				bias_map(&b, n_out, &bs, err)))
		goto out;
	lin = mm_lin_new_of(n_out, b.n_in, b.half ? MM_BF16 : MM_F32, b.at, bs, compute, err);
out:
	mm_free(bs);
	return lin;
}

struct mm_lin *mm_w_lin_as(const struct mm_model *m, size_t l, const enum mm_slot *w, const enum mm_slot *bias,
	size_t e, enum mm_dtype compute, struct mm_err *err)
{
	return mm_w_lin_map(m, l, w, bias, e, NULL, compute, err);
}

struct mm_lin *mm_w_lin(const struct mm_model *m, size_t l, const enum mm_slot *w, const enum mm_slot *bias, size_t e,
	struct mm_err *err)
{
	return mm_w_lin_as(m, l, w, bias, e, m->compute == MM_COMPUTE_BF16 ? MM_BF16 : MM_F32, err);
}

/* The head's rounding is seen directly in the result: it is f32 where bf16 is the slower arithmetic (and was taken for
 * its small weights or by order), and in small models, which are scored in seconds either way and whose few channels
 * average little of the rounding away. */
#define HEAD_HALF_MIN ((size_t)1 << 23)
enum mm_dtype mm_head_type(const struct mm_model *m)
{
	bool large = m->hp.n_vocab * m->hp.n_embd >= HEAD_HALF_MIN;
	return m->compute == MM_COMPUTE_BF16 && large && mm_lin_bf16_fast() ? MM_BF16 : MM_F32;
}

struct mm_lin *mm_w_lin_part(
	const struct mm_model *m, enum mm_slot slot, size_t row0, size_t n, const float *bias, struct mm_err *err)
{
	const enum mm_slot w[] = { slot, MM_W_COUNT };
	size_t cols = mm_w_cols(m, MM_GLOBAL, slot), bytes;
	enum mm_dtype type;
	struct build b = { .m = m, .l = MM_GLOBAL, .n_in = cols, .half = all_half(m, MM_GLOBAL, w, 0) };
	bool whole = false;
	const uint8_t *raw = mm_w_raw(m, MM_GLOBAL, slot, 0, &type, &whole);
	if (!mm_mul(n, cols, &bytes) || !mm_mul(bytes, b.half ? 2 : 4, &bytes) ||
		!(b.at = mm_stage_get(m, bytes, err)) || rows_read(&b, slot, raw, row0, n, b.at, err))
		return NULL;
	mm_ckpt_done(m->ck, mm_w_get(m, MM_GLOBAL, slot));
	return mm_lin_new_of(n, cols, b.half ? MM_BF16 : MM_F32, b.at, bias, mm_head_type(m), err);
}
