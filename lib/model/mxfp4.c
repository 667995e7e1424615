/* mxfp4.c: experts of published gpt-oss checkpoints: 4-bit floats in groups of 32 with a shared power of two, in two
 * tensors.
 *
 *   NAME_blocks  U8 [..., n / 32, 16]   byte j of a group: element 2j in the low four bits, 2j + 1 in the high ones
 *   NAME_scales  U8 [..., n / 32]       value * 2^(scale - 127)
 *
 * (GGUF's MXFP4 puts the group's first half into the low bits, and the scale into the block: mm_dequant.) */
#include "model/ckpt_priv.h"
#include "model/model_priv.h"

#include <math.h>
#include <string.h>

#define GROUP 32

static const struct mm_tensor *scales_of(const struct mm_ckpt *ck, const struct mm_tensor *blocks, char name[256])
{
	const char *end = strstr(blocks->name, "_blocks");
	snprintf(name, 256, "%.*s_scales", end ? (int)(end - blocks->name) : 0, blocks->name);
	return mm_ckpt_find(ck, name);
}

int mm_mxfp4_check(
	const struct mm_ckpt *ck, const struct mm_tensor *t, unsigned n_dim, const uint64_t *dim, struct mm_err *err)
{
	char name[256], have[160];
	uint64_t want[MM_DIMS_MAX];
	const struct mm_tensor *s = scales_of(ck, t, name);
	if (!s)
		return mm_fail(err, MM_ESHAPE, "tensor %s is missing beside %s", name, t->name);
	memcpy(want, dim, n_dim * sizeof(*dim));
	bool ok = n_dim >= 1 && n_dim + 1 <= MM_DIMS_MAX && dim[n_dim - 1] % GROUP == 0 && t->dtype == MM_U8 &&
		  s->dtype == MM_U8;
	if (ok) {
		want[n_dim - 1] /= GROUP;
		want[n_dim] = GROUP / 2;
		ok = mm_tensor_shape_is(t, n_dim + 1, want) && mm_tensor_shape_is(s, n_dim, want);
	}
	if (ok)
		return 0;
	mm_shape_format(n_dim, dim, have, sizeof(have));
	return mm_fail(err, MM_ESHAPE,
		"tensors %s and %s do not hold groups of 32 four-bit numbers of a tensor of shape %s", t->name, name,
		have);
}

static void widen(const uint8_t *q, uint8_t scale, float *dst)
{
	static const float value[16] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6 };
	for (size_t j = 0; j < GROUP / 2; j++) {
		dst[2 * j] = ldexpf(value[q[j] & 15], (int)scale - 127);
		dst[2 * j + 1] = ldexpf(value[q[j] >> 4], (int)scale - 127);
	}
}

int mm_mxfp4_read(
	const struct mm_ckpt *ck, const struct mm_tensor *t, uint64_t first, size_t n, float *dst, struct mm_err *err)
{
	char name[256];
	const struct mm_tensor *s = scales_of(ck, t, name);
	size_t g = n / GROUP;
	if (!s || first % GROUP || n % GROUP)
		return mm_fail(err, MM_EINTERNAL, "tensor %s: read of %zu four-bit numbers", t->name, n);
	uint8_t *q = mm_calloc(g * (GROUP / 2 + 1) + 1, 1, err), *e = q ? q + g * (GROUP / 2) : NULL;
	int rc = q && !mm_ckpt_bytes_read(ck, t, first / 2, g * (GROUP / 2), q, err) &&
				 !mm_ckpt_bytes_read(ck, s, first / GROUP, g, e, err)
			 ? 0
			 : -1;
	for (size_t i = 0; rc == 0 && i < g; i++)
		widen(q + i * (GROUP / 2), e[i], dst + i * GROUP);
	mm_free(q);
	return rc;
}
