/* score_feat.c - next-byte features as modelmap-score hands them out: arrays of the stream, a part of the JSON result.
 *
 * In the stream sqrt(p) is f16: what is small is kept to its first three digits down to p = 1e-9, and the sum of
 * squares to 1e-3; whoever reads a row normalises it. Absent features are said with a reason. */
#include "daemon/score_priv.h"
#include "tensor/tensor.h"
#include "wire/wire.h"

#include <math.h>
#include <string.h>

static int put(struct mm_frame_out *out, const char *name, enum mm_array_type type, size_t n, size_t width,
	const void *data, struct mm_err *err)
{
	struct mm_array a = { .name = name, .type = type, .n_dim = width ? 2 : 1, .data = data };
	a.dim[0] = n;
	a.dim[1] = width;
	a.n_byte = n * (width ? width : 1) * mm_array_type_size(type);
	return mm_frame_put_array(out, &a, err);
}

int mm_score_features_put(struct mm_frame_out *out, const struct mm_features *f, struct mm_err *err)
{
	size_t n = f->n;
	if (!n)
		return *f->none ? put(out, "no_features", MM_A_U8, strlen(f->none), 0, f->none, err) : 0;
	uint16_t *byte = mm_calloc(n * (MM_PROBES_BYTES + MM_PROBES_PROJ), sizeof(*byte), err);
	float *missed = byte ? mm_calloc(n, sizeof(*missed), err) : NULL;
	int rc = -1;
	if (missed) {
		uint16_t *proj = byte + n * MM_PROBES_BYTES;
		for (size_t m = 0; m < n; m++) {
			const struct mm_feat_row *r = &f->row[m];
			missed[m] = (float)r->missed;
			for (size_t b = 0; b < MM_PROBES_BYTES; b++)
				byte[m * MM_PROBES_BYTES + b] = mm_f32_to_f16((float)sqrt(r->p[b]));
			for (size_t d = 0; d < MM_PROBES_PROJ; d++)
				proj[m * MM_PROBES_PROJ + d] = mm_f32_to_f16(r->proj[d]);
		}
		rc = put(out, "next_byte", MM_A_F16, n, MM_PROBES_BYTES, byte, err) ||
		     put(out, "next_byte_missed", MM_A_F32, n, 0, missed, err) ||
		     put(out, "vocab_proj", MM_A_F16, n, MM_PROBES_PROJ, proj, err) ||
		     put(out, "probe_set", MM_A_U8, MM_PROBES_ID, 0, f->id, err);
	}
	mm_free(byte);
	mm_free(missed);
	return rc ? -1 : 0;
}

/* {"probes", "exact", "sequences", "tokens"} (what ran for the probes alone), or {"none"}; NULL: none were asked for.
 */
json_t *mm_score_features_meta(const struct mm_features *f)
{
	if (!f->n)
		return *f->none ? json_pack("{s:s}", "none", f->none) : NULL;
	return json_pack("{s:I, s:b, s:I, s:I}", "probes", (json_int_t)f->n, "exact", f->exact, "sequences",
		(json_int_t)f->n_own, "tokens", (json_int_t)f->n_own_token);
}

static json_t *row_json(const struct mm_feat_row *r, const struct mm_probe_point *at)
{
	json_t *p = json_array();
	for (size_t b = 0; b < MM_PROBES_BYTES; b++)
		json_array_append_new(p, json_real(r->p[b]));
	return json_pack("{s:I, s:I, s:f, s:o}", "text", (json_int_t)at->text, "offset", (json_int_t)at->offset,
		"missed", r->missed, "p", p);
}

json_t *mm_score_features_json(const struct mm_features *f, const struct mm_texts *t, size_t asked, struct mm_err *err)
{
	struct mm_probes at;
	char hex[2 * MM_PROBES_ID + 1];
	json_t *j = mm_score_features_meta(f), *rows = json_array();
	if (!j || !f->n) {
		json_decref(rows);
		return j;
	}
	if (mm_probes_make(&at, t, asked, err)) {
		json_decref(rows);
		json_decref(j);
		return NULL;
	}
	for (size_t m = 0; m < f->n; m++)
		json_array_append_new(rows, row_json(&f->row[m], &at.at[m]));
	for (size_t i = 0; i < MM_PROBES_ID; i++)
		snprintf(hex + 2 * i, 3, "%02x", f->id[i]);
	json_object_set_new(j, "probe_set", json_string(hex));
	json_object_set_new(j, "next_byte", rows);
	mm_probes_free(&at);
	return j;
}
