/* model_priv.h - what the files of lib/model share: families as tables, resolved weights, the decoder driver and its
 * hooks.
 *
 * How a model is made from a checkpoint
 *
 *   config.json --mm_family_of--> family row --hp rows, then setup()--> struct mm_hp --weight rows--> struct mm_bind
 * (slot -> tensor)
 *        --layer_load--> struct mm_layer (packed matrices, f32 vectors) --driver--> hidden states --head +
 * log-softmax--> log-probs
 *
 * How to add a family: one file lib/model/fam_NAME.c with one `const struct mm_family mm_fam_NAME`, one line in the
 * list MM_FAMILIES below (family.c makes the table from it), one fixture (a tiny checkpoint with golden.json under
 * tests/fixtures/conformance, or a case of the second formulation in tests/golden/model/test_naive*.c). Nothing else
 * switches on the family.
 *   1. Names: model_types (config.json `model_type`), archs (`architectures`), gguf_archs (`general.architecture`).
 *   2. Hyperparameters: rows {field, HF keys "new|old", GGUF key, default}. A family lists what differs from
 * mm_hp_common (hparams.c, llama's names and defaults); a row for the same field replaces the common one. "a.b"
 * descends into an object. `null` gives the default unless the row is marked NULL0 (then 0 = "none / derive"). GGUF
 * keys are written without "<arch>." in front; a key that starts with '.' is absolute ("...general.foo" is written
 * ".general.foo").
 *   3. setup(): everything that rows cannot say (layer types, rope scaling, fused layouts, flags, dims of own tensors).
 * It runs after the rows and before the defaults are derived (mm_hp_derive: n_head_kv, d_head, d_rot, attn_scale,
 * dims), for both containers: ask s->gguf. Helpers: mm_setup_rope, mm_setup_layer_types, mm_setup_unsupported.
 *   4. Weights: rows {slot, HF name, GGUF name, dims, flags, condition, layer classes}. HF names are written without
 * the body prefix
 *      ("layers.#.self_attn.q_proj.weight", '#' is the layer, '@' the expert or head); '^' in front: no body prefix
 * ("^lm_head.weight"). "a|b": alternatives, the first found counts. The body prefix (model., transformer.,
 * language_model.model., ...) is found once per checkpoint by trying the family's (or the default) list on its
 * embedding row. Shapes are checked with dimensions of 1 dropped. `cond` = a bool field of mm_hp (offset + 1, use
 * MM_IF(field)); `on` = mask of layer classes (0: all layers).
 *   5. Own arithmetic: hooks own_load / own_free (per-layer state in layer->own), and one of
 *        qkv_tile   fills q|k|v rows of one token tile from the normalised input (MLA); the driver does attention,
 * output, FFN mixer      replaces attention in layers of class MM_L_OWN: normalised y [n_row, n_embd] in, out [n_row,
 * n_embd] without residual layer_run  replaces the whole block (rwkv): works on pass->x in place The embedding, final
 * norm, head and log-softmax stay with the driver in all cases. Use mm_w_vec / mm_w_lin to read weights, mm_lin_rows
 * (all rows, parallel) or mm_lin_tile (one tile, inside a parallel loop) to multiply.
 *
 * GGUF goes through the same rows (columns gguf); differences of the converter are flags of the family (gguf_quirks):
 * q/k rows stored permuted for adjacent rope, norm weights that already hold the +1, fused qkv reordered to q|k|v,
 * nothing transposed. MM_GGUF_USUAL is what holds for all: no transposition, +1 already there, qkv in blocks.
 *
 * Batch layout: several sequences packed without padding, row-major [n_row, width]; sequence s owns rows
 * start[s]..start[s+1); rows (the last token of a text is not among them: nothing is predicted from it; s has
 * start[s+1] - start[s] + 1 tokens); rows n_tok..n_row-1 are padding up to a multiple of MM_TILE (id 0, position 0;
 * whatever is computed there is ignored). Every matrix product runs on tiles of exactly MM_TILE rows, on one thread,
 * with one kernel: a row's bits depend neither on its place in the batch nor on its neighbours nor on the number of
 * threads. Whatever a family computes itself must keep that property: loops over tokens or over (sequence, channel),
 * never sums whose order depends on the thread count.
 *
 * Threads: hooks are called by one thread and may open OpenMP parallel loops, except qkv_tile, which is called inside
 * one.
 */
#ifndef MM_MODEL_PRIV_H
#define MM_MODEL_PRIV_H

#include "model/hp_priv.h"

/* ---- the list of families: one line each (fam_NAME.c) ---- */

/* clang-format off */
#define MM_FAMILIES(X) \
	X(llama) X(mistral) X(mixtral) X(qwen2) X(qwen2_moe) X(qwen3) X(qwen3_moe) X(gemma) X(gemma2) X(gemma3) \
	X(phi) X(phi3) X(gpt_neox) X(gpt2) X(openai_gpt) X(gpt_neo) X(gptj) X(codegen) X(opt) X(xglm) \
	X(bloom) X(falcon) X(mpt) X(stablelm) X(starcoder2) X(gpt_bigcode) X(olmo) X(olmo2) X(olmo3) X(olmoe) \
	X(cohere) X(cohere2) X(granite) X(granitemoe) X(smollm3) X(glm) X(glm4) X(nemotron) X(persimmon) \
	X(helium) X(exaone4) X(ernie4_5) X(hunyuan_v1_dense) X(mamba) X(mamba2) X(falcon_mamba) \
	X(falcon_h1) X(recurrent_gemma) X(lfm2) X(rwkv) X(deepseek2) X(deepseek3) X(gpt_oss)
/* clang-format on */

/* ---- weights ---- */

/* clang-format off */
enum mm_slot {
	/* whole model */
	MM_W_EMBD, MM_W_POS, MM_W_EMBD_NORM, MM_W_EMBD_NORM_B,
	MM_W_EMBD_IN /* projection embd_in -> embd */,
	MM_W_EMBD_OUT /* and back */,
	MM_W_NORM, MM_W_NORM_B, MM_W_HEAD, MM_W_HEAD_B, MM_W_ROPE_FREQS, MM_W_ROPE_LONG, MM_W_ROPE_SHORT,
	MM_W_G0, MM_W_G1, MM_W_G2, MM_W_G3, MM_W_GLOBAL_END,
	/* per layer */
	MM_W_N1 = MM_W_GLOBAL_END, MM_W_N1_B, MM_W_N2, MM_W_N2_B, MM_W_PN1, MM_W_PN1_B, MM_W_PN2, MM_W_PN2_B,
	MM_W_QKV, MM_W_QKV_B, MM_W_Q, MM_W_Q_B, MM_W_K, MM_W_K_B, MM_W_V, MM_W_V_B, MM_W_O, MM_W_O_B,
	MM_W_QN, MM_W_QN_B, MM_W_KN, MM_W_KN_B, MM_W_SINKS, MM_W_GATE_UP, MM_W_GATE_UP_B, MM_W_GATE,
	MM_W_GATE_B, MM_W_UP, MM_W_UP_B, MM_W_DOWN, MM_W_DOWN_B, MM_W_ROUTER, MM_W_ROUTER_B,
	MM_W_ROUTER_SEL /* selection bias */,
	MM_W_EGATE_UP, MM_W_EGATE_UP_B, MM_W_EGATE, MM_W_EUP, MM_W_EDOWN, MM_W_EDOWN_B, MM_W_EGATE_B,
	MM_W_EUP_B, /* experts: '@' in the name, or one stacked tensor */
	MM_W_SGATE, MM_W_SUP, MM_W_SDOWN,
	MM_W_SROUTER, /* shared expert and its gate */
	/* free for families with own arithmetic */
	MM_W_X0, MM_W_X1, MM_W_X2, MM_W_X3, MM_W_X4, MM_W_X5, MM_W_X6, MM_W_X7, MM_W_X8, MM_W_X9, MM_W_X10,
	MM_W_X11, MM_W_X12, MM_W_X13, MM_W_X14, MM_W_X15, MM_W_X16, MM_W_X17, MM_W_X18, MM_W_X19, MM_W_X20,
	MM_W_X21, MM_W_X22, MM_W_X23, MM_W_COUNT
};
/* clang-format on */
enum {
	MM_W_OPT = 1,	 /* may be absent */
	MM_W_T = 2,	 /* HF file holds [in, out] (Conv1D); dims in the row are as stored in the HF file */
	MM_W_PLUS1 = 4,	 /* HF: 1 is added on reading (also done for norm slots when hp->norm_plus1) */
	MM_W_TIED = 8,	 /* not looked for when hp->tie */
	MM_W_MXFP4 = 16, /* HF: four-bit groups in NAME_blocks (this tensor) and NAME_scales; dims in the row are the
			    matrix's */
};
struct mm_w_row {
	uint8_t slot, flags;
	uint8_t dim[3]; /* enum mm_dim, outermost first; MM_D_NONE ends. Of an '@' row: of one expert */
	uint16_t cond;	/* 0: always; else offset + 1 of a bool in mm_hp that must be true (MM_IF), or | MM_COND_NOT
			   (MM_UNLESS) */
	uint16_t on;	/* layer classes, 0: all */
	const char *hf, *gguf; /* patterns; NULL: this container has no such tensor (the row is skipped there) */
};
#define MM_COND_NOT  0x8000
#define MM_IF(f)     (offsetof(struct mm_hp, f) + 1)
#define MM_UNLESS(f) ((offsetof(struct mm_hp, f) + 1) | MM_COND_NOT)

struct mm_prefix {
	const char *body, *top; /* "model." for the body, "" for names marked '^' */
};

/* ---- families ---- */

struct mm_model;
struct mm_pass;
struct mm_layer;

struct mm_setup {		  /* what setup() sees */
	const json_t *cfg;	  /* config.json (its text_config where there is one), or the GGUF metadata object */
	const json_t *root;	  /* config.json as a whole */
	const struct mm_ckpt *ck; /* may be NULL (mm_family_known) */
	const struct mm_family *fam;
	const char *gguf; /* NULL for config.json; else the prefix of its keys ("llama") */
	struct mm_hp *hp;
};

enum {				   /* gguf_quirks */
	MM_GGUF_ROPE_ADJACENT = 1, /* q/k rows were permuted by the converter: rotate adjacent pairs */
	MM_GGUF_QKV_AS_HF = 2,	   /* fused qkv left as in the checkpoint */
	MM_GGUF_KEEP_PLUS1 = 4,	   /* +1 not yet in the norm weights */
};

struct mm_family {
	const char *name;
	const char *const *model_types; /* each list ends with NULL; may be NULL */
	const char *const *archs;
	const char *const *gguf_archs;
	const struct mm_hp_row *hp;
	size_t n_hp;
	const struct mm_w_row *w;
	size_t n_w;
	const struct mm_w_row *w2; /* a second table, so that families can share most rows; looked at where w has no row
				      of that slot */
	size_t n_w2;
	const struct mm_prefix *prefixes; /* ends with body NULL; NULL: mm_prefixes_default */
	unsigned gguf_quirks;
	const char *proof; /* "golden" or "second formulation" */
	int (*setup)(struct mm_setup *s, struct mm_err *err);
	/* own arithmetic, all may be NULL */
	int (*own_load)(const struct mm_model *m, size_t l, struct mm_layer *layer, struct mm_err *err);
	void (*own_free)(struct mm_layer *layer);
	void (*qkv_tile)(const struct mm_pass *p, const struct mm_layer *layer, size_t row, const float *y, float *qkv,
		float *scratch);
	int (*mixer)(struct mm_pass *p, const struct mm_layer *layer, const float *y, float *out, struct mm_err *err);
	int (*layer_run)(struct mm_pass *p, const struct mm_layer *layer, struct mm_err *err);
	bool recurrent;	     /* no context limit, no attention heads asked for */
	bool no_quant_check; /* setup() looks at quantization_config itself */
};
#define MM_LIST(...)	      ((const char *const[]){ __VA_ARGS__, NULL })
#define MM_ROWS(field, table) .field = table, .n_##field = MM_COUNT(table)

#define X(n) extern const struct mm_family mm_fam_##n;
MM_FAMILIES(X)
#undef X

/* ---- family.c ---- */

extern const struct mm_family *const mm_family_table[];
extern const size_t mm_family_count;
/* The family that a config (or GGUF metadata) names. NULL: MM_EUNSUPPORTED, names it and lists the known ones. */
const struct mm_family *mm_family_of(const json_t *config, const char **arch, struct mm_err *err) MM_MUST_CHECK;
/* 0 when config.json (or GGUF metadata) names a family we know; no weights needed. */
int mm_family_known(const json_t *config, struct mm_err *err) MM_MUST_CHECK;

/* ---- hparams.c: rows, derived values, helpers for setup() ---- */

extern const struct mm_hp_row mm_hp_common[];
extern const size_t mm_hp_common_count;
int mm_hp_read(struct mm_hp *hp, const struct mm_family *fam, const json_t *config, const struct mm_ckpt *ck,
	struct mm_err *err) MM_MUST_CHECK;
void mm_hp_fini(struct mm_hp *hp);
/* Looks a key up as rows do ("a|b.c"); NULL when absent or null. */
const json_t *mm_cfg_get(const struct mm_setup *s, const char *keys);
/* rope_parameters / rope_scaling / rope_theta (or GGUF rope.*) into hp->rope[i]; `type` selects an entry of a
 * rope_parameters that is keyed by layer type (NULL: none). Called by mm_hp_read with i = 0 for every family that has
 * d_rot and hp->n_rope == 0 after setup. */
int mm_setup_rope(struct mm_setup *s, size_t i, const char *type, double theta, struct mm_err *err) MM_MUST_CHECK;
/* "layer_types" into hp->layer[].window and, by `full_rope` / `slide_rope`, the rope index. *found tells if the key was
 * there. */
int mm_setup_layer_types(
	struct mm_setup *s, int full_rope, int slide_rope, bool *found, struct mm_err *err) MM_MUST_CHECK;
/* Error when `key` is present and not null/false/`ok`. */
int mm_setup_unsupported(struct mm_setup *s, const char *key, const char *ok, struct mm_err *err) MM_MUST_CHECK;
/* qwen's rule: layer_types, else a window in layers >= max_window_layers when use_sliding_window (default layer
 * `first`; 0: in all layers, whatever max_window_layers says) */
int mm_setup_qwen_window(struct mm_setup *s, size_t first, struct mm_err *err) MM_MUST_CHECK;
/* qwen's rule for which layers have experts: (l + 1) % decoder_sparse_step == 0 and l not in mlp_only_layers */
int mm_setup_sparse(struct mm_setup *s, struct mm_err *err) MM_MUST_CHECK;
int mm_setup_layers(struct mm_setup *s, struct mm_err *err) MM_MUST_CHECK; /* makes hp->layer; idempotent */

/* ---- rope.c ---- */

/* cos, sin of all positions below n for one sequence of n_seq tokens: cs[pos * d_rot + 2 i], + 2 i + 1. */
void mm_rope_table(const struct mm_rope *r, size_t n_seq, size_t n, float *cs);
/* Which table a sequence of n tokens needs: equal keys, equal tables (0 unless dynamic or longrope). */
size_t mm_rope_key(const struct mm_rope *r, size_t n_seq);

/* ---- gguf_hints.c: what GGUF does not say in keys ---- */

struct mm_bind;
/* Before setup(): GGUF's defaults of absent keys; biases that GGUF has no key for are on when layer 0 has them. */
void mm_gguf_hints(struct mm_setup *s);
/* Every tensor of a GGUF file has its place, or the file is refused: it may be a variant we do not know. */
int mm_gguf_all_used(const struct mm_bind *b, const struct mm_family *fam, const struct mm_ckpt *ck,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- load.c: resolving weights, reading them ---- */

struct mm_bind {			/* [slot] global, [layer * n + slot - MM_W_GLOBAL_END] per layer */
	const struct mm_tensor **t;	/* NULL: absent. '@' rows: the first one; the others through `many` */
	const struct mm_tensor ***many; /* per entry: array of tensors, or NULL */
	const struct mm_w_row **row;
	size_t n;
	const char *body, *top; /* the prefix that was found */
};
/* The rows of most modern decoders (llama's names), for a family's w2: all conditions are fields of mm_hp. */
extern const struct mm_w_row mm_w_llama[];
enum { MM_W_LLAMA_COUNT = 49 };
extern const struct mm_prefix mm_prefixes_default[];
/* Resolve + check shapes, no data touched: missing tensors and wrong shapes are named with file and expectation. */
int mm_model_check(struct mm_ckpt *ck, struct mm_err *err) MM_MUST_CHECK;

const struct mm_tensor *mm_w_get_of(const struct mm_model *m, size_t l, enum mm_slot slot, size_t e);
const struct mm_w_row *mm_w_row_of(const struct mm_model *m, size_t l, enum mm_slot slot);
bool mm_w_is_stacked(const struct mm_model *m, size_t l, enum mm_slot slot); /* the first dimension is the expert */
#define MM_GLOBAL SIZE_MAX						     /* as a layer: the whole model's slots */
const struct mm_tensor *mm_w_get(const struct mm_model *m, size_t l, enum mm_slot slot); /* NULL when absent */
/* The matrix as [out, in] f32 rows (transposition undone, +1 added): rows row0..row0+n of it. `e`: expert or head of
 * '@' and stacked rows. */
int mm_w_read(const struct mm_model *m, size_t l, enum mm_slot slot, size_t e, size_t row0, size_t n, float *dst,
	struct mm_err *err) MM_MUST_CHECK;
size_t mm_w_rows(const struct mm_model *m, size_t l, enum mm_slot slot); /* of [out, in]; 1-D: its length */
size_t mm_w_cols(const struct mm_model *m, size_t l, enum mm_slot slot); /* 1-D: 1 */
/* All of a small tensor as f32; *out NULL when absent (optional ones). Free with mm_free. */
int mm_w_vec(const struct mm_model *m, size_t l, enum mm_slot slot, float **out, struct mm_err *err) MM_MUST_CHECK;
/* One packed matrix from the rows of several slots under each other (w, bias: lists ended by MM_W_COUNT; bias slots may
 * be absent). */
struct mm_lin *mm_w_lin(const struct mm_model *m, size_t l, const enum mm_slot *w, const enum mm_slot *bias, size_t e,
	struct mm_err *err) MM_MUST_CHECK;

/* The same with a given arithmetic: routers choose, so they stay exact under bf16. */
struct mm_lin *mm_w_lin_as(const struct mm_model *m, size_t l, const enum mm_slot *w, const enum mm_slot *bias,
	size_t e, enum mm_dtype compute, struct mm_err *err) MM_MUST_CHECK;

/* ---- matrix.c: packed matrices from the rows of tensors ---- */

typedef size_t (*mm_row_map)(const struct mm_hp *hp, size_t i); /* which stored row is row i */
/* The same with rows in another order (one tensor and its bias). */
struct mm_lin *mm_w_lin_map(const struct mm_model *m, size_t l, const enum mm_slot *w, const enum mm_slot *bias,
	size_t e, mm_row_map map, enum mm_dtype compute, struct mm_err *err) MM_MUST_CHECK;
/* Rows row0..row0+n of a global matrix; bias: [n] or NULL. */
struct mm_lin *mm_w_lin_part(const struct mm_model *m, enum mm_slot slot, size_t row0, size_t n, const float *bias,
	struct mm_err *err) MM_MUST_CHECK;
/* Stored elements of the matrix, row-major as callers see it, when nothing has to be done to them but widening; else
 * NULL. *whole: stored transposed, to be read in one piece. */
const uint8_t *mm_w_raw(
	const struct mm_model *m, size_t l, enum mm_slot slot, size_t e, enum mm_dtype *type, bool *whole);

/* ---- memory.c: the rest is in score_priv.h ---- */

#define MM_HEAD_CHUNK 8192 /* columns of the head that are packed together; fixed, for the bits depend on it */
void mm_memory_plan(struct mm_model *m); /* bound and resident, once the weights are counted */

struct mm_norm {
	enum mm_norm_kind kind;
	float eps;
	float *w, *b; /* [n] or NULL */
};
void mm_norm_row(const struct mm_norm *n, const float *x, float *y, size_t d); /* y may be x */

struct mm_moe;	  /* moe.c */
struct mm_layer { /* what a block computes with, made by layer_load, dropped when layers are streamed */
	size_t index;
	const struct mm_hp_layer *hp;
	struct mm_norm n1, n2, pn1, pn2, qn, kn;
	struct mm_lin *qkv, *o, *gate_up, *up,
		*down; /* gate_up: [2 n_ff, n_embd] gate rows first; up: when not gated */
	struct mm_moe *moe;
	float *sinks; /* [n_head] */
	void *own;    /* the family's */
	size_t n_byte;
};

struct mm_model {
	struct mm_ckpt *ck; /* owned */
	const struct mm_family *fam;
	char arch[128], dtype[16], kernel[64];
	struct mm_hp hp;
	struct mm_bind bind;
	bool gguf;
	struct mm_model_opts opts;
	enum mm_compute compute; /* F32 or BF16 */
	int64_t bos, eos;
	uint64_t n_param, n_byte;
	struct mm_layer *layer; /* [n_layer] when resident, else one that is refilled */
	bool resident;
	struct mm_stage *stage;						       /* owned */
	uint64_t bound, n_layer_byte, n_stage_byte, n_base_byte, n_memory_min; /* memory.c */
	size_t n_ready;							       /* layers loaded so far (resident) */
	struct mm_norm embd_norm, norm;
	struct mm_lin *embd_in, *embd_out;
	struct mm_lin **head; /* vocabulary in chunks */
	size_t n_head_chunk, head_chunk;
	float *head_b; /* [n_vocab] or NULL */
	float *pos;    /* [n_pos, n_embd] or NULL */
	float *alibi;  /* [n_head] slopes or NULL */
};

int mm_bind_make(struct mm_bind *b, const struct mm_family *fam, const struct mm_hp *hp, const struct mm_ckpt *ck,
	struct mm_err *err) MM_MUST_CHECK;
void mm_bind_fini(struct mm_bind *b, size_t n_layer);

/* ---- mxfp4.c: pairs of *_blocks and *_scales ---- */

int mm_mxfp4_check(const struct mm_ckpt *ck, const struct mm_tensor *t, unsigned n_dim, const uint64_t *dim,
	struct mm_err *err) MM_MUST_CHECK;
/* Elements [first, first + n) of the matrix, both multiples of 32. */
int mm_mxfp4_read(const struct mm_ckpt *ck, const struct mm_tensor *t, uint64_t first, size_t n, float *dst,
	struct mm_err *err) MM_MUST_CHECK;

/* ---- decoder.c: the driver ---- */

struct mm_batch {
	size_t n_tok, n_row, n_seq;
	uint32_t *id, *pos, *seq; /* [n_row] token, position in its sequence, sequence */
	size_t *start;		  /* [n_seq + 1] */
	float *standard;	  /* [n_row] out, standard deviations of log p from its mean; NULL: not wanted */
	/* told after each layer how much of the batch is done; non-zero: stop. NULL: nobody asks */
	int (*tick)(void *ctx, double share, struct mm_err *err);
	void *tick_ctx;
	const struct mm_taps *taps; /* rows of which more is wanted (feat_priv.h); NULL: none */
};
struct mm_pass { /* one batch on its way through the layers */
	const struct mm_model *m;
	const struct mm_hp *hp;
	const struct mm_batch *b;
	float *x;   /* [n_row, n_embd] residual stream */
	float *qkv; /* [n_row, ld_qkv]: q | k | v of a token */
	size_t ld_qkv;
	float *att;   /* [n_row, n_head * d_head_v] */
	float *y, *z; /* [n_row, n_embd] each, only for families with mixer */
	float *mix;   /* what mixers work in, kept from layer to layer: mm_pass_mix */
	size_t n_mix;
	float **work; /* [n_thread][n_work] scratch of each thread */
	size_t n_work, n_thread;
	const float **cs; /* [rope * n_seq + sequence] -> table of cos, sin; a row's entry: + pos * d_rot */
	void **own;	  /* tables that belong to this pass */
	size_t n_own;
};
int mm_block_run(struct mm_pass *p, const struct mm_layer *layer,
	struct mm_err *err) MM_MUST_CHECK; /* one layer, of whatever kind */
/* The shared parts, for families with own arithmetic. */
int mm_layer_load(const struct mm_model *m, size_t l, struct mm_layer *layer,
	struct mm_err *err) MM_MUST_CHECK; /* calls own_load too */
void mm_layer_free(const struct mm_model *m, struct mm_layer *layer);
void mm_layer_drop_pages(const struct mm_model *m, size_t l); /* of the mapping, once a layer is packed */
int mm_norm_load(const struct mm_model *m, size_t l, enum mm_slot w, enum mm_slot b, struct mm_norm *n,
	struct mm_err *err) MM_MUST_CHECK;
/* y = norm(x) for all rows, in parallel */
void mm_norm_rows(const struct mm_norm *n, const float *x, float *y, size_t n_row, size_t d);
/* Attention of the shared kind on y (hybrid layers): out [n_row, n_embd] after the output projection, no residual. */
int mm_attention(
	struct mm_pass *p, const struct mm_layer *layer, const float *y, float *out, struct mm_err *err) MM_MUST_CHECK;
/* Residual, second norm and FFN of the shared kind, for layer_run: x += mult * a (all rows; a NULL: nothing), then the
 * FFN half. */
int mm_ffn_half(struct mm_pass *p, const struct mm_layer *layer, const float *a, struct mm_err *err) MM_MUST_CHECK;
/* Rotates heads in place: x [n_head, d_head] of row `row`; does nothing when the layer has no rope. */
void mm_rope_heads(
	const struct mm_pass *p, const struct mm_layer *layer, size_t row, float *x, size_t n_head, size_t d_head);
/* head.c: final norm, head and log-softmax; the vocabulary in chunks. */
int mm_head_make(struct mm_model *m, struct mm_err *err) MM_MUST_CHECK;
void mm_head_free(struct mm_model *m);
int mm_head_run(struct mm_pass *p, const uint32_t *target, double *logprob, struct mm_err *err) MM_MUST_CHECK;
/* One batch through the whole model: logprob[r] of target[r] given the rows of its sequence up to r; UINT32_MAX: not
 * wanted (0). */
int mm_pass_run(const struct mm_model *m, const struct mm_batch *b, const uint32_t *target, double *logprob,
	struct mm_err *err) MM_MUST_CHECK;
size_t mm_pass_bytes(const struct mm_model *m, size_t n_row, size_t n_longest); /* what mm_pass_run allocates */

/* ---- moe.c ---- */

int mm_moe_load(const struct mm_model *m, size_t l, struct mm_moe **out, struct mm_err *err) MM_MUST_CHECK;
void mm_moe_free(struct mm_moe *moe);
/* out += experts(y) for all rows. y, out: [n_row, n_embd] */
int mm_moe_run(struct mm_pass *p, const struct mm_moe *moe, const float *y, float *out, float scale,
	struct mm_err *err) MM_MUST_CHECK;

#endif
