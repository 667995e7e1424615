/* fp8.c: checkpoints published in FP8 (quantization_config with quant_method "fp8": DeepSeek-V3 and R1, Qwen3-FP8): a
 * matrix NAME of 8-bit floats, and NAME_scale_inv with one factor a block of weight_block_size rows and columns.
 *
 *   value[r][c] = stored[r][c] * scale[r / block rows][c / block columns]
 *
 * The last block of a row or column may be smaller. Stacks of experts have one more dimension in front, in both.
 * Without block sizes (null) one factor goes for the whole matrix. What the reference keeps in higher precision (norms,
 * embedding, router, head) has no factor and is read as it is. The reference on such hardware rounds activations to 8
 * bits too; here they are not rounded, as with its own dequantize option.
 *
 * Attached once while the checkpoint is opened; scales are named by index, since an adapter may let the array of
 * tensors grow. Any thread may read afterwards. */
#include "model/ckpt_priv.h"

#include <string.h>

#define SUFFIX "_scale_inv"

static bool is_fp8(const struct mm_tensor *t)
{
	return t->dtype == MM_F8_E4M3 || t->dtype == MM_F8_E5M2;
}

static const json_t *quant_of(const json_t *config)
{
	const json_t *q = json_object_get(config, "quantization_config"),
		     *text = json_object_get(config, "text_config");
	q = json_is_object(q) ? q : json_object_get(text, "quantization_config");
	const char *method = json_string_value(json_object_get(q, "quant_method"));
	return method && !strcmp(method, "fp8") ? q : NULL;
}

/* Rows and columns of a block; SIZE_MAX each: one factor a matrix. */
static int block_of(const json_t *q, uint32_t block[2], struct mm_err *err)
{
	const json_t *size = json_object_get(q, "weight_block_size"), *fmt = json_object_get(q, "fmt");
	block[0] = block[1] = UINT32_MAX;
	if (json_is_string(fmt) && strcmp(json_string_value(fmt), "e4m3"))
		return mm_fail(err, MM_EUNSUPPORTED,
			"config.json: quantization_config with fmt = \"%.40s\" is not supported",
			json_string_value(fmt));
	if (json_is_null(size))
		return 0;
	for (size_t i = 0; i < 2; i++) {
		json_int_t n = size ? json_integer_value(json_array_get(size, i)) : 128;
		if (n < 1 || n > UINT32_MAX || (size && json_array_size(size) != 2))
			return mm_fail(
				err, MM_EFORMAT, "config.json: weight_block_size is not a list of two numbers above 0");
		block[i] = (uint32_t)n;
	}
	return 0;
}

int mm_fp8_config(const json_t *config, bool *fp8, struct mm_err *err)
{
	uint32_t block[2];
	const json_t *q = quant_of(config);
	*fp8 = q != NULL;
	return q ? block_of(q, block, err) : 0;
}

static int shape_check(
	const struct mm_tensor *t, const struct mm_tensor *s, const uint32_t block[2], struct mm_err *err)
{
	char have[160], want_text[160];
	uint64_t want[MM_DIMS_MAX];
	bool whole = block[0] == UINT32_MAX;
	unsigned n = t->n_dim;
	memcpy(want, t->dim, n * sizeof(*want));
	for (unsigned i = 0; i < 2; i++)
		want[n - 2 + i] = whole ? 1 : (t->dim[n - 2 + i] + block[i] - 1) / block[i];
	if (!mm_dtypes[s->dtype].is_float || is_fp8(s) || mm_dtypes[s->dtype].block != 1)
		return mm_fail(err, MM_EUNSUPPORTED, "tensor %s has type %s, expected floating-point numbers", s->name,
			mm_dtypes[s->dtype].name);
	if ((s->n_dim == n && !memcmp(s->dim, want, n * sizeof(*want))) || (whole && n == 2 && s->n_elem == 1))
		return 0;
	mm_shape_format(s->n_dim, s->dim, have, sizeof(have));
	mm_shape_format(n, want, want_text, sizeof(want_text));
	return mm_fail(err, MM_ESHAPE, "tensor %s has shape %s, expected %s", s->name, have, want_text);
}

int mm_fp8_attach(struct mm_ckpt *ck, struct mm_err *err)
{
	const json_t *q = quant_of(ck->config);
	uint32_t block[2];
	char name[4200];
	if (!q)
		return 0;
	if (block_of(q, block, err))
		return -1;
	for (size_t i = 0; i < ck->n_tensor; i++) {
		struct mm_tensor *t = &ck->tensor[i];
		if (!is_fp8(t) || t->n_dim < 2)
			continue;
		if ((size_t)snprintf(name, sizeof(name), "%s" SUFFIX, t->name) >= sizeof(name))
			return mm_fail(err, MM_EFORMAT, "tensor %.80s...: name too long", t->name);
		const struct mm_tensor *s = mm_ckpt_find(ck, name);
		if (!s)
			return mm_fail(err, MM_ESHAPE, "tensor %s is missing beside %s (%s)", name, t->name,
				mm_ckpt_file(ck, t->file));
		if (shape_check(t, s, block, err))
			return -1;
		t->scale = (uint32_t)(s - ck->tensor) + 1;
		t->scale_rows = block[0];
		t->scale_cols = block[1];
	}
	return 0;
}

int mm_fp8_apply(
	const struct mm_ckpt *ck, const struct mm_tensor *t, uint64_t first, size_t n, float *dst, struct mm_err *err)
{
	if (!n)
		return 0;
	const struct mm_tensor *s = &ck->tensor[t->scale - 1];
	uint64_t rows = t->dim[t->n_dim - 2], cols = t->dim[t->n_dim - 1];
	uint64_t down = (rows - 1) / t->scale_rows + 1, across = (cols - 1) / t->scale_cols + 1, have = UINT64_MAX;
	float *line = mm_calloc((size_t)across + 1, sizeof(float), err); /* factors of one row of blocks */
	int rc = line ? 0 : -1;
	for (size_t done = 0; rc == 0 && done < n;) {
		uint64_t row = (first + done) / cols, col = (first + done) % cols;
		uint64_t at = row / rows * down + row % rows / t->scale_rows;
		size_t len = (size_t)MM_MIN((uint64_t)(n - done), t->scale_cols - col % t->scale_cols);
		len = (size_t)MM_MIN((uint64_t)len, cols - col);
		if (at != have)
			rc = mm_ckpt_read(ck, s, at * across, (size_t)across, line, err);
		have = at;
		for (size_t i = 0; rc == 0 && i < len; i++)
			dst[done + i] *= line[col / t->scale_cols];
		done += len;
	}
	mm_free(line);
	return rc;
}
