/* ssm_priv.h - the state space mixers that several families share: mix_mamba.c (selective scan: mamba, falcon_mamba)
 * and mix_mamba2.c (state space dual: mamba2, falcon_h1). A family names its tensors by the slots below, fills the
 * sizes, and hangs mm_mamba_* or mm_mamba2_* into its hooks. */
#ifndef MM_SSM_PRIV_H
#define MM_SSM_PRIV_H

#include "model/model_priv.h"

enum mm_ssm_size { /* in hp->xs */
	MM_SSM_INNER,
	MM_SSM_STATE,
	MM_SSM_TAPS /* of the convolution */,
	MM_SSM_RANK /* of dt; Mamba-1 */,
	MM_SSM_HEADS,
	MM_SSM_HEAD,
	MM_SSM_GROUPS,
};
enum mm_ssm_num { /* in hp->xf */
	MM_SSM_EXPAND,
	MM_SSM_EPS, /* Mamba-1: of the norms of B, C and dt */
	MM_SSM_DT_MIN,
	MM_SSM_DT_MAX, /* limits of the step */
	MM_SSM_M_Z,
	MM_SSM_M_X,
	MM_SSM_M_B,
	MM_SSM_M_C,
	MM_SSM_M_DT,	/* factors of the input projection's parts; 0 counts as 1 */
	MM_SSM_M_IN,	/* of the input itself, so not of the bias; 0 counts as 1 */
	MM_SSM_M_OUT,	/* of the output projection; 0 counts as 1 */
	MM_SSM_NUM_END, /* the family's own numbers follow */
};
enum mm_ssm_bool { /* in hp->xb */
	MM_SSM_BIAS_IN,
	MM_SSM_BIAS_OUT,
	MM_SSM_BIAS_CONV,
	MM_SSM_NORM_BCDT,   /* Mamba-1: B, C and dt are normalised */
	MM_SSM_NORM,	    /* Mamba-2: gated norm before the output projection, else the gate alone */
	MM_SSM_NORM_GROUPS, /* each group's channels by themselves */
	MM_SSM_NORM_FIRST,  /* norm, then gate; else gate, then norm */
	MM_SSM_BOOL_END,
};
enum mm_ssm_dim { /* names for rows */
	MM_D_SSM_INNER = MM_D_X0,
	MM_D_SSM_STATE,
	MM_D_SSM_TAPS,
	MM_D_SSM_RANK,
	MM_D_SSM_HEADS,
	MM_D_SSM_GROUPS,
	MM_D_SSM_IN,	/* rows of the input projection */
	MM_D_SSM_CONV,	/* channels of the convolution */
	MM_D_SSM_DBC,	/* Mamba-1: dt, B and C */
	MM_D_SSM_GROUP, /* channels of a group */
};
enum mm_ssm_slot {
	MM_W_SSM_IN = MM_W_X0,
	MM_W_SSM_IN_B,
	MM_W_SSM_CONV,
	MM_W_SSM_CONV_B,
	MM_W_SSM_DBC,
	MM_W_SSM_DT,
	MM_W_SSM_DT_B,
	MM_W_SSM_A,	 /* HF: log(-A) */
	MM_W_SSM_A_GGUF, /* A itself */
	MM_W_SSM_D,
	MM_W_SSM_NORM,
	MM_W_SSM_NORM_GGUF /* [groups, channels] */,
	MM_W_SSM_OUT,
	MM_W_SSM_OUT_B,
};

/* The rows of one mixer; `hf` is where its tensors hang ("layers.#.mixer."). */
#define MM_SSM_ROWS(hf)                                                                                                \
	{ MM_W_SSM_IN, 0, { MM_D_SSM_IN, MM_D_EMBD }, 0, 0, hf "in_proj.weight", "blk.#.ssm_in.weight" },              \
		{ MM_W_SSM_IN_B, 0, { MM_D_SSM_IN }, MM_IF(xb[MM_SSM_BIAS_IN]), 0, hf "in_proj.bias", NULL },          \
		{ MM_W_SSM_CONV, 0, { MM_D_SSM_CONV, MM_D_SSM_TAPS }, 0, 0, hf "conv1d.weight",                        \
			"blk.#.ssm_conv1d.weight" },                                                                   \
		{ MM_W_SSM_CONV_B, 0, { MM_D_SSM_CONV }, MM_IF(xb[MM_SSM_BIAS_CONV]), 0, hf "conv1d.bias",             \
			"blk.#.ssm_conv1d.bias" },                                                                     \
		{ MM_W_SSM_OUT, 0, { MM_D_EMBD, MM_D_SSM_INNER }, 0, 0, hf "out_proj.weight",                          \
			"blk.#.ssm_out.weight" },                                                                      \
	{                                                                                                              \
		MM_W_SSM_OUT_B, 0, { MM_D_EMBD }, MM_IF(xb[MM_SSM_BIAS_OUT]), 0, hf "out_proj.bias", NULL              \
	}
#define MM_MAMBA_ROWS(hf)                                                                                              \
	MM_SSM_ROWS(hf),                                                                                               \
		{ MM_W_SSM_DBC, 0, { MM_D_SSM_DBC, MM_D_SSM_INNER }, 0, 0, hf "x_proj.weight", "blk.#.ssm_x.weight" }, \
		{ MM_W_SSM_DT, 0, { MM_D_SSM_INNER, MM_D_SSM_RANK }, 0, 0, hf "dt_proj.weight",                        \
			"blk.#.ssm_dt.weight" },                                                                       \
		{ MM_W_SSM_DT_B, 0, { MM_D_SSM_INNER }, 0, 0, hf "dt_proj.bias", "blk.#.ssm_dt.bias" },                \
		{ MM_W_SSM_A, 0, { MM_D_SSM_INNER, MM_D_SSM_STATE }, 0, 0, hf "A_log", NULL },                         \
		{ MM_W_SSM_A_GGUF, 0, { MM_D_SSM_INNER, MM_D_SSM_STATE }, 0, 0, NULL, "blk.#.ssm_a" },                 \
	{                                                                                                              \
		MM_W_SSM_D, 0, { MM_D_SSM_INNER }, 0, 0, hf "D", "blk.#.ssm_d"                                         \
	}
#define MM_MAMBA2_ROWS(hf)                                                                                             \
	MM_SSM_ROWS(hf), { MM_W_SSM_DT_B, 0, { MM_D_SSM_HEADS }, 0, 0, hf "dt_bias", "blk.#.ssm_dt.bias" },            \
		{ MM_W_SSM_A, 0, { MM_D_SSM_HEADS }, 0, 0, hf "A_log", NULL },                                         \
		{ MM_W_SSM_A_GGUF, 0, { MM_D_SSM_HEADS }, 0, 0, NULL, "blk.#.ssm_a" },                                 \
		{ MM_W_SSM_D, 0, { MM_D_SSM_HEADS }, 0, 0, hf "D", "blk.#.ssm_d" },                                    \
		{ MM_W_SSM_NORM, 0, { MM_D_SSM_INNER }, MM_IF(xb[MM_SSM_NORM]), 0, hf "norm.weight", NULL },           \
	{                                                                                                              \
		MM_W_SSM_NORM_GGUF, 0, { MM_D_SSM_GROUPS, MM_D_SSM_GROUP }, MM_IF(xb[MM_SSM_NORM]), 0, NULL,           \
			"blk.#.ssm_norm.weight"                                                                        \
	}

/* Checks the sizes and fills the dims above. */
int mm_mamba_setup(struct mm_setup *s, struct mm_err *err) MM_MUST_CHECK;
int mm_mamba2_setup(struct mm_setup *s, struct mm_err *err) MM_MUST_CHECK;
/* time_step_limit: [low, high], either of which may be infinite; none: 0 and infinity. */
int mm_mamba2_limits(struct mm_setup *s, struct mm_err *err) MM_MUST_CHECK;
int mm_mamba_load(const struct mm_model *m, size_t l, struct mm_layer *layer, struct mm_err *err);
int mm_mamba2_load(const struct mm_model *m, size_t l, struct mm_layer *layer, struct mm_err *err);
void mm_mamba_free(struct mm_layer *layer);
void mm_mamba2_free(struct mm_layer *layer);
int mm_mamba_mixer(struct mm_pass *p, const struct mm_layer *layer, const float *y, float *out, struct mm_err *err);
int mm_mamba2_mixer(struct mm_pass *p, const struct mm_layer *layer, const float *y, float *out, struct mm_err *err);

/* ---- mix_conv.c: what all convolving mixers need ---- */

/* Depthwise taps [n_ch, n_tap] of the file as [n_tap, n_ch] for mm_conv_causal. */
int mm_conv_load(const struct mm_model *m, size_t l, enum mm_slot slot, size_t n_ch, size_t n_tap, float **out,
	struct mm_err *err) MM_MUST_CHECK;
/* All numbers of a tensor of any shape, as they lie in the file. */
int mm_w_all(const struct mm_model *m, size_t l, enum mm_slot slot, float **out, struct mm_err *err) MM_MUST_CHECK;
/* At least n floats that live as long as the pass (so that not every layer asks the system for pages); finite numbers,
 * nothing more is promised about them. Parts are handed out one after the other with mm_part. */
float *mm_pass_mix(struct mm_pass *p, size_t n, struct mm_err *err) MM_MUST_CHECK;
static inline float *mm_part(float **at, size_t n)
{
	float *p = *at;
	*at += (n + 15) / 16 * 16;
	return p;
}
#define MM_PART_SLACK 256 /* floats to add to the sum of up to 16 parts */
/* act(conv(x)) of every sequence, in parallel; x and y are different buffers. b: NULL for none. */
void mm_conv_rows(const struct mm_pass *p, const float *x, size_t ld_x, const float *w, const float *b, size_t n_tap,
	size_t n_ch, enum mm_act act, float *y, size_t ld_y);
/* Rows row0 .. row0 + n of a matrix (and bias) times `scale` as one packed product: parts with factors of their own. */
struct mm_lin_part {
	enum mm_slot w, b; /* b: MM_W_COUNT for none, or a slot that may be absent */
	size_t row0, n;	   /* n 0: all rows */
	double scale, bias_scale;
};
struct mm_lin *mm_lin_parts(const struct mm_model *m, size_t l, const struct mm_lin_part *part, size_t n,
	enum mm_dtype compute, struct mm_err *err) MM_MUST_CHECK;
/* The type the model computes its large products in. */
enum mm_dtype mm_lin_type(const struct mm_model *m);

#endif
