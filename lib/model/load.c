/* load.c: reading weights as f32 and packing them; opening and closing a model.
 *
 * All reading goes through mm_w_read, which undoes transpositions, adds the +1 of norms that are stored without it, and
 * refuses NaN and infinity by the name of the tensor. Large matrices are read in row blocks, so that the pages of the
 * mapping can be given back; what stays in memory is the packed matrix. */
#include "model/ckpt_priv.h"
#include "model/score_priv.h"

#include <math.h>
#include <string.h>

/* ---- shapes as [out, in] ---- */

struct view {
	const struct mm_tensor *t;
	const struct mm_w_row *row;
	size_t rows, cols; /* of the matrix that callers see */
	bool transposed;   /* stored [cols, rows] */
	uint64_t first;	   /* element where the matrix starts (stacked experts) */
};

static bool view_of(const struct mm_model *m, size_t l, enum mm_slot slot, size_t e, struct view *v)
{
	const struct mm_w_row *r = mm_w_row_of(m, l, slot);
	memset(v, 0, sizeof(*v));
	v->t = mm_w_get_of(m, l, slot, e);
	if (!v->t || !r)
		return false;
	v->row = r;
	if (r->dim[0] == MM_D_NONE) {
		v->rows = (size_t)v->t->n_elem;
		v->cols = 1;
		return true;
	}
	bool stacked = mm_w_is_stacked(m, l, slot);
	unsigned first = stacked && r->dim[0] == MM_D_EXPERTS ? 1 : 0;
	size_t a = m->hp.dim[r->dim[first]];
	size_t b = first < 2 && r->dim[first + 1] != MM_D_NONE ? m->hp.dim[r->dim[first + 1]] : 1;
	v->transposed = r->flags & MM_W_T && !m->gguf;
	v->rows = r->flags & MM_W_T ? b : a;
	v->cols = r->flags & MM_W_T ? a : b;
	v->first = stacked ? (uint64_t)e * a * b : 0;
	return true;
}

size_t mm_w_rows(const struct mm_model *m, size_t l, enum mm_slot slot)
{
	struct view v;
	return view_of(m, l, slot, 0, &v) ? v.rows : 0;
}

size_t mm_w_cols(const struct mm_model *m, size_t l, enum mm_slot slot)
{
	struct view v;
	return view_of(m, l, slot, 0, &v) ? v.cols : 0;
}

static bool adds_one(const struct mm_model *m, enum mm_slot slot, const struct mm_w_row *r)
{
	if (m->gguf)
		return false;
	if (r->flags & MM_W_PLUS1)
		return true;
	switch (slot) {
	case MM_W_NORM:
	case MM_W_N1:
	case MM_W_N2:
	case MM_W_PN1:
	case MM_W_PN2:
		return m->hp.norm_plus1;
	case MM_W_QN:
	case MM_W_KN:
		return m->hp.norm_plus1 && !m->hp.no_qk_plus1;
	default:
		return false;
	}
}

const uint8_t *mm_w_raw(
	const struct mm_model *m, size_t l, enum mm_slot slot, size_t e, enum mm_dtype *type, bool *whole)
{
	struct view v;
	*whole = false;
	if (!view_of(m, l, slot, e, &v))
		return NULL;
	*whole = v.transposed;
	*type = v.t->dtype;
	if (v.transposed || v.row->flags & MM_W_MXFP4 || v.t->overlay || v.t->scale || !v.t->data ||
		adds_one(m, slot, v.row) || mm_dtypes[v.t->dtype].block != 1)
		return NULL;
	return v.t->data + v.first * mm_dtypes[v.t->dtype].bytes;
}

/* Columns row0.. of the stored [cols, rows] become rows. */
static int read_transposed(
	const struct mm_model *m, const struct view *v, size_t row0, size_t n, float *dst, struct mm_err *err)
{
	float *line = mm_calloc(v->rows + 1, sizeof(float), err);
	int rc = line ? 0 : -1;
	for (size_t c = 0; rc == 0 && c < v->cols; c++) {
		rc = mm_ckpt_read(m->ck, v->t, v->first + (uint64_t)c * v->rows, v->rows, line, err);
		for (size_t r = 0; rc == 0 && r < n; r++)
			dst[r * v->cols + c] = line[row0 + r];
	}
	mm_free(line);
	return rc;
}

int mm_w_read(const struct mm_model *m, size_t l, enum mm_slot slot, size_t e, size_t row0, size_t n, float *dst,
	struct mm_err *err)
{
	struct view v;
	if (!view_of(m, l, slot, e, &v) || row0 > v.rows || n > v.rows - row0)
		return mm_fail(err, MM_EINTERNAL, "weight slot %d of layer %zu: rows %zu+%zu", (int)slot, l, row0, n);
	int rc = v.transposed ? read_transposed(m, &v, row0, n, dst, err)
		 : v.row->flags & MM_W_MXFP4
			 ? mm_mxfp4_read(m->ck, v.t, v.first + (uint64_t)row0 * v.cols, n * v.cols, dst, err)
			 : mm_ckpt_read(m->ck, v.t, v.first + (uint64_t)row0 * v.cols, n * v.cols, dst, err);
	if (rc)
		return mm_wrap(err, "tensor %s", v.t->name);
	if (!mm_f32_finite(dst, n * v.cols))
		return mm_fail(err, MM_ENONFINITE, "tensor %s has values that are not finite", v.t->name);
	if (adds_one(m, slot, v.row))
		for (size_t i = 0; i < n * v.cols; i++)
			dst[i] += 1;
	return 0;
}

int mm_w_vec(const struct mm_model *m, size_t l, enum mm_slot slot, float **out, struct mm_err *err)
{
	size_t rows = mm_w_rows(m, l, slot), cols = mm_w_cols(m, l, slot), n;
	*out = NULL;
	if (!mm_w_get(m, l, slot))
		return 0;
	const struct mm_tensor *t = mm_w_get(m, l, slot);
	n = rows * cols;
	/* all experts of a stacked tensor, all of an '@' row one after the other, third dimensions */
	bool many = m->bind.many[l == MM_GLOBAL ? slot
						: MM_W_GLOBAL_END + l * (MM_W_COUNT - MM_W_GLOBAL_END) +
							  (slot - MM_W_GLOBAL_END)] != NULL;
	size_t count = many			     ? (slot == MM_W_QN || slot == MM_W_QN_B	      ? m->hp.n_head
							       : slot == MM_W_KN || slot == MM_W_KN_B ? m->hp.n_head_kv
												      : m->hp.n_expert)
		       : mm_w_is_stacked(m, l, slot) ? (size_t)(t->n_elem / MM_MAX(n, 1))
						     : 1;
	float *p = mm_calloc(count * n + 16, sizeof(float), err);
	if (!p)
		return -1;
	for (size_t e = 0; e < count; e++)
		if (mm_w_read(m, l, slot, e, 0, rows, p + e * n, err)) {
			mm_free(p);
			return -1;
		}
	mm_ckpt_done(m->ck, t);
	*out = p;
	return 0;
}

int mm_norm_load(
	const struct mm_model *m, size_t l, enum mm_slot w, enum mm_slot b, struct mm_norm *n, struct mm_err *err)
{
	n->kind = m->hp.norm;
	n->eps = (float)m->hp.norm_eps;
	if (mm_w_vec(m, l, w, &n->w, err))
		return -1;
	return b == MM_W_COUNT ? 0 : mm_w_vec(m, l, b, &n->b, err);
}

/* ---- what goes once for the whole model ---- */

static int embedding_check(const struct mm_model *m, struct mm_err *err)
{
	const struct mm_tensor *t = mm_w_get(m, MM_GLOBAL, MM_W_EMBD);
	size_t rows = mm_w_rows(m, MM_GLOBAL, MM_W_EMBD), cols = mm_w_cols(m, MM_GLOBAL, MM_W_EMBD);
	size_t block = MM_MAX((size_t)1, ((size_t)1 << 18) / cols), read = 0;
	float *buf = mm_calloc(block * cols, sizeof(float), err);
	int rc = buf ? 0 : -1;
	for (size_t r = 0; rc == 0 && r < rows; r += block) {
		rc = mm_w_read(m, MM_GLOBAL, MM_W_EMBD, 0, r, MM_MIN(block, rows - r), buf, err);
		if ((read += block * cols) >= (size_t)8 << 20) {
			mm_ckpt_drop(m->ck, t);
			read = 0;
		}
	}
	mm_ckpt_done(m->ck, t);
	mm_free(buf);
	return rc;
}

static int rope_tensors(struct mm_model *m, struct mm_err *err)
{
	const enum mm_slot slot[] = { MM_W_ROPE_FREQS, MM_W_ROPE_LONG, MM_W_ROPE_SHORT };
	for (size_t i = 0; i < MM_COUNT(slot); i++) {
		struct mm_rope *r = &m->hp.rope[0];
		float **at = i == 0 ? &r->freq_div : i == 1 ? &r->long_factor : &r->short_factor;
		if (!mm_w_get(m, MM_GLOBAL, slot[i]))
			continue;
		if (m->hp.n_rope == 0 || mm_w_rows(m, MM_GLOBAL, slot[i]) != r->d_rot / 2)
			return mm_fail(err, MM_ESHAPE, "tensor %s has %zu numbers, expected %zu",
				mm_w_get(m, MM_GLOBAL, slot[i])->name, mm_w_rows(m, MM_GLOBAL, slot[i]), r->d_rot / 2);
		mm_free(*at);
		if (mm_w_vec(m, MM_GLOBAL, slot[i], at, err))
			return -1;
		for (size_t k = 0; k < r->d_rot / 2; k++)
			if (!((*at)[k] > 0))
				return mm_fail(err, MM_EFORMAT, "tensor %s has a factor that is not positive",
					mm_w_get(m, MM_GLOBAL, slot[i])->name);
		if (i > 0)
			r->scaling = MM_ROPE_LONGROPE;
	}
	return 0;
}

/* MPT's formula; for alibi_max 8 it is the published one, with the extra slopes where the head count is no power of
 * two. */
static int alibi_make(struct mm_model *m, struct mm_err *err)
{
	size_t n = m->hp.n_head, p2 = 1, k = 0;
	if (m->hp.alibi_max <= 0)
		return 0;
	m->alibi = mm_calloc(n, sizeof(float), err);
	if (!m->alibi)
		return -1;
	while (p2 < n)
		p2 *= 2;
	for (size_t pass = 0; pass < 2 && p2 != n; pass++)
		for (size_t i = pass ? 1 : 2; i <= p2 && k < n; i += 2)
			m->alibi[k++] = (float)pow(2, -(double)i * m->hp.alibi_max / (double)p2);
	for (size_t i = 0; p2 == n && i < n; i++)
		m->alibi[i] = (float)pow(2, -(double)(i + 1) * m->hp.alibi_max / (double)p2);
	return 0;
}

/* Row i: sines of i f_k, then their cosines, f_k = 10000^(-k / (half - 1)) (xglm). */
static int sinusoids_make(struct mm_model *m, struct mm_err *err)
{
	size_t d = m->hp.n_embd, half = d / 2, n = m->hp.n_pos;
	if (!m->hp.pos_sinusoid)
		return 0;
	if (half < 2)
		return mm_fail(err, MM_EFORMAT, "width %zu is too small for sinusoidal positions", d);
	m->pos = mm_calloc(n * d, sizeof(float), err);
	if (!m->pos)
		return -1;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < half; k++) {
			float a = (float)i * expf((float)k * -(float)(log(10000) / (double)(half - 1)));
			m->pos[i * d + k] = sinf(a);
			m->pos[i * d + half + k] = cosf(a);
		}
	if (m->hp.pos_pad < n)
		memset(m->pos + m->hp.pos_pad * d, 0, d * sizeof(float));
	return 0;
}

static int globals_load(struct mm_model *m, struct mm_err *err)
{
	const enum mm_slot none[] = { MM_W_COUNT }, in[] = { MM_W_EMBD_IN, MM_W_COUNT },
			   out[] = { MM_W_EMBD_OUT, MM_W_COUNT };
	(void)none;
	if (mm_norm_load(m, MM_GLOBAL, MM_W_NORM, MM_W_NORM_B, &m->norm, err) ||
		mm_norm_load(m, MM_GLOBAL, MM_W_EMBD_NORM, MM_W_EMBD_NORM_B, &m->embd_norm, err) ||
		mm_w_vec(m, MM_GLOBAL, MM_W_POS, &m->pos, err) || sinusoids_make(m, err) ||
		mm_w_vec(m, MM_GLOBAL, MM_W_HEAD_B, &m->head_b, err) || rope_tensors(m, err) || alibi_make(m, err) ||
		embedding_check(m, err))
		return -1;
	if (mm_w_get(m, MM_GLOBAL, MM_W_EMBD_IN) && !(m->embd_in = mm_w_lin(m, MM_GLOBAL, in, NULL, 0, err)))
		return -1;
	if (mm_w_get(m, MM_GLOBAL, MM_W_EMBD_OUT) && !(m->embd_out = mm_w_lin(m, MM_GLOBAL, out, NULL, 0, err)))
		return -1;
	return 0;
}

/* ---- open, close ---- */

static void count_weights(struct mm_model *m)
{
	uint64_t by_type[MM_DTYPE_COUNT] = { 0 };
	size_t best = 0;
	for (size_t i = 0; i < m->bind.n; i++) {
		const struct mm_tensor *t = m->bind.t[i];
		size_t k = 1;
		if (t && m->bind.many[i])
			for (k = 0; m->bind.many[i][k];)
				k++;
		for (size_t e = 0; t && e < k; e++) {
			const struct mm_tensor *x = m->bind.many[i] ? m->bind.many[i][e] : t;
			bool four = m->bind.row[i]->flags & MM_W_MXFP4; /* two numbers a byte; scales not counted */
			m->n_param += four ? 2 * x->n_elem : x->n_elem;
			m->n_byte += x->n_byte;
			by_type[four ? MM_MXFP4 : x->dtype] += four ? 2 * x->n_elem : x->n_elem;
		}
	}
	for (size_t i = 0; i < MM_DTYPE_COUNT; i++)
		if (by_type[i] > by_type[best])
			best = i;
	snprintf(m->dtype, sizeof(m->dtype), "%s", mm_dtypes[best].name);
}

static int64_t token_of(const json_t *cfg, const char *key)
{
	const json_t *j = json_object_get(cfg, key), *t = json_object_get(cfg, "text_config");
	if ((!j || json_is_null(j)) && json_is_object(t))
		j = json_object_get(t, key);
	if (json_is_array(j))
		j = json_array_get(j, 0);
	return json_is_integer(j) ? json_integer_value(j) : -1;
}

static int resolve(struct mm_ckpt *ck, struct mm_hp *hp, struct mm_bind *bind, const struct mm_family **fam,
	char arch[128], struct mm_err *err)
{
	const char *name = NULL;
	*fam = mm_family_of(mm_ckpt_config(ck), &name, err);
	if (!*fam)
		return -1;
	snprintf(arch, 128, "%s", name);
	if (mm_hp_read(hp, *fam, mm_ckpt_config(ck), ck, err) || mm_bind_make(bind, *fam, hp, ck, err)) {
		mm_hp_fini(hp);
		return -1;
	}
	return 0;
}

int mm_model_check(struct mm_ckpt *ck, struct mm_err *err)
{
	const struct mm_family *fam;
	struct mm_hp hp;
	struct mm_bind bind;
	char arch[128];
	if (resolve(ck, &hp, &bind, &fam, arch, err))
		return -1;
	mm_bind_fini(&bind, hp.n_layer);
	mm_hp_fini(&hp);
	return 0;
}

static int compute_choose(struct mm_model *m, struct mm_err *err)
{
	bool half = !strcmp(m->dtype, "bf16") || !strcmp(m->dtype, "f16");
	m->compute = MM_COMPUTE_F32;
	if (m->opts.compute == MM_COMPUTE_BF16 && !mm_lin_can(MM_BF16))
		return mm_fail(err, MM_EUNSUPPORTED, "bf16 arithmetic is not available on this machine");
	if (m->opts.compute == MM_COMPUTE_BF16 || (m->opts.compute == MM_COMPUTE_AUTO && half && mm_lin_bf16_fast()))
		m->compute = MM_COMPUTE_BF16;
	snprintf(m->kernel, sizeof(m->kernel), "%s, %s",
		mm_lin_kernel(m->compute == MM_COMPUTE_BF16 ? MM_BF16 : MM_F32), mm_ops_isa());
	return 0;
}

struct mm_model *mm_model_open(const char *path, const struct mm_model_opts *opts, struct mm_err *err)
{
	struct mm_model *m = mm_calloc(1, sizeof(*m), err);
	if (!m)
		return NULL;
	if (!(m->stage = mm_calloc(1, sizeof(*m->stage), err)))
		goto fail;
	m->opts = opts ? *opts : (struct mm_model_opts){ .compute = MM_COMPUTE_AUTO };
	mm_threads_set(m->opts.threads);
	m->ck = mm_ckpt_open(path, m->opts.search_dir, err);
	if (!m->ck || (m->opts.fingerprint && mm_ckpt_digests_keep(m->ck, err)) ||
		resolve(m->ck, &m->hp, &m->bind, &m->fam, m->arch, err))
		goto fail;
	m->gguf = mm_ckpt_container(m->ck) == MM_CONTAINER_GGUF;
	const json_t *cfg = mm_ckpt_config(m->ck);
	m->bos = token_of(cfg, m->gguf ? "tokenizer.ggml.bos_token_id" : "bos_token_id");
	m->eos = token_of(cfg, m->gguf ? "tokenizer.ggml.eos_token_id" : "eos_token_id");
	count_weights(m);
	if (compute_choose(m, err) || globals_load(m, err))
		goto fail;
	mm_memory_plan(m);
	m->layer = mm_calloc(m->resident ? m->hp.n_layer : 1, sizeof(*m->layer), err);
	if (!m->layer)
		goto fail;
	for (size_t l = 0; m->resident && l < m->hp.n_layer; l++) {
		if (mm_layer_load(m, l, &m->layer[l], err))
			goto fail;
		mm_layer_drop_pages(m, l);
		m->n_ready = l + 1;
	}
	if (mm_head_make(m, err))
		goto fail;
	if (m->resident)
		mm_stage_drop(m);
	return m;
fail:
	mm_model_close(m);
	return NULL;
}

void mm_model_close(struct mm_model *m)
{
	if (!m)
		return;
	for (size_t l = 0; l < m->n_ready; l++)
		mm_layer_free(m, &m->layer[l]);
	mm_head_free(m);
	mm_lin_free(m->embd_in);
	mm_lin_free(m->embd_out);
	mm_free(m->norm.w);
	mm_free(m->norm.b);
	mm_free(m->embd_norm.w);
	mm_free(m->embd_norm.b);
	mm_free(m->head_b);
	mm_free(m->pos);
	mm_free(m->alibi);
	mm_free(m->layer);
	if (m->stage)
		mm_stage_drop(m);
	mm_free(m->stage);
	mm_bind_fini(&m->bind, m->hp.n_layer);
	mm_hp_fini(&m->hp);
	mm_ckpt_close(m->ck);
	mm_free(m);
}

const struct mm_ckpt *mm_model_ckpt(const struct mm_model *m)
{
	return m->ck;
}

void mm_model_info(const struct mm_model *m, struct mm_model_info *info)
{
	*info = (struct mm_model_info){
		.family = m->fam->name,
		.architecture = m->arch,
		.dtype = m->dtype,
		.n_param = m->n_param,
		.n_byte = m->n_byte,
		.n_layer = m->hp.n_layer,
		.n_embd = m->hp.n_embd,
		.n_vocab = m->hp.n_vocab,
		.n_ctx = m->fam->recurrent ? 0 : m->hp.n_ctx,
		.compute = m->compute == MM_COMPUTE_BF16 ? "bf16" : "f32",
		.kernel = m->kernel,
		.flops = mm_memory_flops(m),
		.n_memory_min = m->n_memory_min,
		.bos = m->bos,
		.eos = m->eos,
	};
}
