/* gguf_convert.h - a safetensors checkpoint rewritten as a GGUF converter writes it, by tables: names, keys, permuted,
 * stacked and split tensors, + 1 in norms. F32 only. For tests. */
#ifndef GGUF_CONVERT_H
#define GGUF_CONVERT_H

#include "../../unit/model/ckpt_util.h"

#include <math.h>

enum change {
	PLAIN,
	PLUS1,
	PERMUTE_Q,
	PERMUTE_K,
	STACK /* '@': many become one */,
	NEG_EXP,
	K_B,
	V_B /* of kv_b */,
	QKV_GROUP /* q heads, k, v per group -> all q, k, v */,
	TOP,
	BOTTOM /* half of the rows, per expert */
};

struct rename {
	const char *hf, *gguf; /* '#' is the layer */
	enum change change;
};
struct key {
	const char *key; /* without the architecture */
	const char *hf;	 /* NULL: the number `value` */
	double value;
	bool real;
};
struct convert {
	const char *dir, *arch;
	size_t n_layer, n_expert, n_head, n_head_kv;
	const struct key *key;
	size_t n_key;
	const struct rename *name;
	size_t n_name;
	size_t nope, v; /* K_B, V_B: rows of a head */
};

static inline void name_of(const char *pattern, size_t layer, size_t expert, char out[256])
{
	size_t n = 0;
	for (; *pattern && n < 240; pattern++)
		if (*pattern == '#' || *pattern == '@')
			n += (size_t)sprintf(out + n, "%zu", *pattern == '#' ? layer : expert);
		else
			out[n++] = *pattern;
	out[n] = 0;
}

/* Row i of a head's first half goes to 2i, row i of the second half to 2i + 1. */
static inline void permute(float *v, size_t rows, size_t cols, size_t n_head)
{
	size_t d = rows / n_head;
	float *t = malloc(rows * cols * sizeof *t);
	for (size_t h = 0; h < n_head; h++)
		for (size_t i = 0; i < d; i++)
			memcpy(t + (h * d + (i < d / 2 ? 2 * i : 2 * (i - d / 2) + 1)) * cols, v + (h * d + i) * cols,
				cols * sizeof *t);
	memcpy(v, t, rows * cols * sizeof *t);
	free(t);
}

struct out {
	struct mm_buf info, data;
	size_t n;
};

/* kv_b holds for each head `nope` rows of k, then `v` rows of v, [rank] each; k is stored transposed. */
static inline void put_kv_b(
	struct out *o, const struct convert *c, const float *w, size_t rank, enum change change, uint64_t dim[4])
{
	for (size_t h = 0; h < c->n_head; h++) {
		const float *head = w + h * (c->nope + c->v) * rank;
		if (change == V_B)
			mm_buf_put(&o->data, head + c->nope * rank, c->v * rank * sizeof *w);
		for (size_t r = 0; change == K_B && r < rank; r++)
			for (size_t i = 0; i < c->nope; i++)
				mm_buf_f32(&o->data, head[i * rank + r]);
	}
	dim[0] = change == K_B ? c->nope : rank;
	dim[1] = change == K_B ? rank : c->v;
	dim[2] = c->n_head;
}

static inline void put_groups(struct out *o, const struct convert *c, const float *w, size_t rows, size_t cols)
{
	size_t g = c->n_head / c->n_head_kv, d = rows / (c->n_head_kv * (g + 2));
	for (size_t h = 0; h < c->n_head; h++)
		mm_buf_put(&o->data, w + (h / g * (g + 2) + h % g) * d * cols, d * cols * sizeof *w);
	for (size_t part = 0; part < 2; part++)
		for (size_t k = 0; k < c->n_head_kv; k++)
			mm_buf_put(&o->data, w + (k * (g + 2) + g + part) * d * cols, d * cols * sizeof *w);
}

/* Upper or lower half of the rows of [experts, rows, cols] or [rows, cols]. */
static inline void put_half(struct out *o, const struct mm_tensor *t, const float *w, bool bottom)
{
	size_t rows = t->dim[t->n_dim - 2], cols = t->dim[t->n_dim - 1], half = rows / 2 * cols;
	for (size_t at = 0; at < t->n_elem; at += rows * cols)
		mm_buf_put(&o->data, w + at + (bottom ? half : 0), half * sizeof *w);
}

static inline void put_tensor(struct out *o, const struct convert *c, const struct mm_ckpt *ck, const struct rename *r,
	size_t layer, size_t expert)
{
	struct mm_err err = { 0 };
	char hf[256], gguf[256];
	size_t many = r->change != STACK	  ? 1
		      : c->n_expert		  ? c->n_expert
		      : strstr(r->gguf, "attn_k") ? c->n_head_kv
						  : c->n_head,
	       from;
	uint64_t dim[4];
	unsigned n_dim = 0;
	gg_pad(&o->data, 32);
	from = o->data.len;
	for (size_t e = 0; e < many; e++) {
		name_of(r->hf, layer, expert + e, hf);
		const struct mm_tensor *t = mm_ckpt_find(ck, hf);
		if (!t)
			fail_msg("%s: no %s", c->dir, hf);
		float *v = malloc(t->n_elem * sizeof *v);
		assert_int_equal(mm_ckpt_read(ck, t, 0, t->n_elem, v, &err), 0);
		size_t rows = t->dim[0], cols = t->n_elem / rows;
		for (size_t i = 0; i < t->n_elem; i++)
			v[i] = r->change == PLUS1 ? v[i] + 1 : r->change == NEG_EXP ? -expf(v[i]) : v[i];
		if (r->change == PERMUTE_Q || r->change == PERMUTE_K)
			permute(v, rows, cols, r->change == PERMUTE_Q ? c->n_head : c->n_head_kv);
		for (n_dim = 0; n_dim < t->n_dim; n_dim++) /* innermost first */
			dim[n_dim] = t->dim[t->n_dim - 1 - n_dim];
		if (r->change == K_B || r->change == V_B) {
			put_kv_b(o, c, v, cols, r->change, dim);
			n_dim = 3;
		} else if (r->change == QKV_GROUP) {
			put_groups(o, c, v, rows, cols);
		} else if (r->change == TOP || r->change == BOTTOM) {
			put_half(o, t, v, r->change == BOTTOM);
			dim[1] /= 2;
		} else {
			mm_buf_put(&o->data, v, t->n_elem * sizeof *v);
		}
		free(v);
	}
	if (r->change == STACK)
		dim[n_dim++] = many;
	name_of(r->gguf, layer, expert, gguf);
	gg_info(&o->info, gguf, n_dim, dim, 0, from);
	o->n++;
}

static inline void write_gguf(const char *path, const struct convert *c, const struct mm_ckpt *ck)
{
	struct out o = { 0 };
	struct mm_buf b = { 0 };
	char key[256];
	for (size_t i = 0; i < c->n_name; i++)
		for (size_t l = 0; l < (strchr(c->name[i].gguf, '#') ? c->n_layer : 1); l++)
			for (size_t e = 0; e < (strchr(c->name[i].gguf, '@') ? c->n_expert : 1); e++)
				put_tensor(&o, c, ck, &c->name[i], l, e);
	gg_head(&b, o.n, c->n_key + 1);
	gg_kv_str(&b, "general.architecture", c->arch);
	for (size_t i = 0; i < c->n_key; i++) {
		double v = c->key[i].hf ? json_number_value(json_object_get(mm_ckpt_config(ck), c->key[i].hf))
					: c->key[i].value;
		const char *text = strchr(c->key[i].key, '='); /* "key=text" */
		format(key, "%s.%s", c->arch, c->key[i].key);
		if (text && !strcmp(text, "=false")) {
			*strchr(key, '=') = 0;
			gg_str(&b, key);
			mm_buf_u32(&b, MM_GGUF_BOOL);
			mm_buf_u8(&b, 0);
		} else if (text) {
			*strchr(key, '=') = 0;
			gg_kv_str(&b, key, text + 1);
		} else if (c->key[i].real) {
			gg_str(&b, key);
			mm_buf_u32(&b, MM_GGUF_F32);
			mm_buf_f32(&b, (float)v);
		} else {
			gg_kv_u32(&b, key, (uint32_t)v);
		}
	}
	mm_buf_put(&b, o.info.data, o.info.len);
	gg_pad(&b, 32);
	mm_buf_put(&b, o.data.data, o.data.len);
	put_file(path, b.data, b.len);
	mm_buf_fini(&b);
	mm_buf_fini(&o.info);
	mm_buf_fini(&o.data);
}

#endif
