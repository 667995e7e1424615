/* hp_priv.h - hyperparameters: what config.json and GGUF metadata are brought into, and the rows of a family that say
 * from which keys. model_priv.h says how a family uses them. */
#ifndef MM_HP_PRIV_H
#define MM_HP_PRIV_H

#include "model/model.h"

#include <stddef.h>

enum mm_norm_kind { MM_NORM_RMS, MM_NORM_LAYER, MM_NORM_NONE };
enum mm_block_kind {
	MM_BLOCK_SEQ,	   /* x += attn(n1(x)); x += ffn(n2(x)) */
	MM_BLOCK_PARALLEL, /* x += attn(n1(x)) + ffn(n2(x)); n2 absent: the output of n1 feeds both */
};
enum mm_qkv_kind {
	MM_QKV_SPLIT,	  /* three tensors */
	MM_QKV_BLOCKS,	  /* one tensor: all q rows, all k rows, all v rows */
	MM_QKV_PER_HEAD,  /* one tensor: per head q, k, v (gpt_neox, bloom, persimmon, falcon-rw, bigcode MHA) */
	MM_QKV_PER_GROUP, /* one tensor: per KV head its q heads, then k, then v (falcon new architecture) */
	MM_QKV_CODEGEN,	  /* one tensor: 4 blocks, in each q, v, k */
};
enum mm_rope_pair { MM_PAIR_HALF, MM_PAIR_ADJACENT };
enum mm_rope_scaling {
	MM_ROPE_DEFAULT,
	MM_ROPE_LINEAR,
	MM_ROPE_DYNAMIC,
	MM_ROPE_YARN,
	MM_ROPE_LONGROPE,
	MM_ROPE_LLAMA3
};
enum mm_router {
	MM_ROUTE_SOFTMAX_TOPK, /* softmax over all experts, then the k largest */
	MM_ROUTE_TOPK_SOFTMAX, /* the k largest logits, then softmax over those */
	MM_ROUTE_SIGMOID_TOPK, /* sigmoid of each */
};

struct mm_rope {	     /* one set of frequencies; a model may have several (gemma3: global and local) */
	size_t d_rot, d_exp; /* rotated dimensions of a head, even; frequencies are theta^(-2i/d_exp), 0: d_rot */
	double theta, factor, attn_factor; /* attn_factor multiplies cos and sin; 0 until derived */
	enum mm_rope_scaling scaling;
	double low_freq, high_freq;	   /* llama3 */
	double beta_fast, beta_slow;	   /* yarn */
	double mscale, mscale_all_dim;	   /* yarn, 0: absent */
	bool truncate;			   /* yarn */
	size_t n_ctx_orig;		   /* context before scaling */
	size_t n_ctx_max;		   /* dynamic: longer sequences change the base */
	double theta_within;		   /* dynamic: base of the others; 0: theta */
	float *short_factor, *long_factor; /* longrope, [d_rot / 2]; owned */
	float *freq_div;		   /* GGUF rope_freqs.weight [d_rot / 2], or NULL; owned */
};
#define MM_ROPES_MAX 4

enum {			/* layer classes, a mask; weight rows say where they apply */
	MM_L_ATTN = 1,	/* shared attention */
	MM_L_OWN = 2,	/* the family's mixer */
	MM_L_DENSE = 4, /* dense FFN */
	MM_L_MOE = 8,	/* experts */
	MM_L_X0 = 16,	/* free for the family */
	MM_L_X1 = 32,
	MM_L_X2 = 64,
};
struct mm_hp_layer {
	unsigned mask;	   /* MM_L_* */
	int rope;	   /* index into hp->rope; -1: no rotary embedding in this layer */
	size_t window;	   /* key j is visible to query i when i - j < window; 0: all */
	double attn_scale; /* 0: hp->attn_scale */
};

/* Names of dimensions in weight rows. MM_D_NONE ends the list. */
/* clang-format off */
enum mm_dim {
	MM_D_NONE, MM_D_ONE, MM_D_VOCAB, MM_D_EMBD,
	MM_D_EMBD_IN /* width of the embedding table */,
	MM_D_POS /* rows of learned positions */,
	MM_D_Q /* n_head * d_head */,
	MM_D_K /* n_head_kv * d_head */,
	MM_D_V /* n_head_kv * d_head_v */,
	MM_D_QKV,
	MM_D_O /* n_head * d_head_v */,
	MM_D_HEAD, MM_D_HEADS, MM_D_HEADS_KV, MM_D_FF, MM_D_FF2, MM_D_EXPERTS,
	MM_D_FFE /* one expert */,
	MM_D_FFE2,
	MM_D_FFS /* shared expert */,
	MM_D_FFS2, MM_D_X0, MM_D_X1, MM_D_X2, MM_D_X3, MM_D_X4, MM_D_X5, MM_D_X6, MM_D_X7, MM_D_X8, MM_D_X9,
	MM_D_X10, MM_D_X11, MM_D_COUNT
};
/* clang-format on */
struct mm_hp {
	/* sizes */
	size_t n_layer, n_embd, n_embd_in, n_vocab, n_ctx, n_head, n_head_kv, d_head, d_head_v, n_ff;
	size_t d_rot;	   /* rotated dims; 0 until derived (rot_frac) */
	double rot_frac;   /* share of d_head that is rotated; 1 */
	size_t n_pos;	   /* rows of the learned position table; 0: none */
	size_t pos_offset; /* OPT: 2 */
	size_t pos_pad;	   /* row of computed positions that is all zeros (xglm: the padding token's number) */
	size_t n_ctx_orig; /* longrope: context before scaling when the config has no key for it; 0: unknown */
	size_t window;	   /* of layers that slide */
	size_t n_expert, n_expert_used, n_ff_expert, n_ff_shared;
	size_t n_group, n_group_used; /* group-limited routing; 0: off */
	/* numbers; 0 means off unless said otherwise */
	double norm_eps, rope_theta, attn_scale, softcap_attn, softcap_logit, clip_qkv;
	double mult_embd, mult_res, mult_logit; /* 1 = neutral */
	double mult_router;			/* weights of chosen experts; 1 */
	double alibi_max;			/* largest exponent of the slopes (8); 0: no ALiBi */
	/* kinds */
	enum mm_norm_kind norm;
	enum mm_block_kind block;
	enum mm_qkv_kind qkv;
	enum mm_rope_pair rope_pair;
	enum mm_router router;
	enum mm_act act;
	/* switches */
	bool tie; /* head = embedding */
	bool bias_qkv, bias_o, bias_ffn, bias_head, bias_norm, bias_router;
	bool gated;	     /* FFN has gate and up */
	bool gate_up_fused;  /* one tensor: gate rows, then up rows */
	bool pre_norm;	     /* n1, n2 before attention and FFN (true) */
	bool norm_weight;    /* norms have weights (true; olmo: false) */
	bool norm_plus1;     /* weights are stored as w - 1 */
	bool norm_after_res; /* x = n1(x + attn(x)); x = n2(x + ffn(x)) (OPT-350m, openai-gpt) */
	bool post_norms;     /* branch outputs are normalised before they are added (gemma2, olmo2, glm4) */
	bool final_norm;     /* true */
	bool embd_norm;	     /* bloom */
	bool res_from_norm;  /* bloom: the residual is the normalised input */
	bool shared_norm;    /* parallel block with one norm */
	bool qk_norm;	     /* q and k are normalised ... */
	bool qk_norm_full;   /* ... over the full width (olmo2), else per head */
	bool qk_norm_heads;  /* ... with own weights per head */
	bool qk_norm_bias, qk_norm_late /* after rope */;
	enum mm_norm_kind qk_norm_kind;
	bool no_qk_plus1;	     /* q/k norm weights have no +1 although the others have */
	bool yarn_is_longrope;	     /* rope type yarn is an old name of longrope (phi3) */
	bool rope_plain, rot_even;   /* no rope_scaling known (gptj); an odd d_rot becomes the next even one (neox) */
	bool pos_sinusoid;	     /* the position table is computed, not stored (xglm) */
	bool alibi_bf16;	     /* falcon: ALiBi computed in bf16, scaled with the scores, and added twice */
	bool moe_norm_topk;	     /* weights of the chosen experts are renormalised */
	bool moe_bias_select;	     /* a bias takes part in the choice only (deepseek_v3) */
	bool moe_group_top2;	     /* group score = sum of its two best (deepseek_v3), else its best */
	bool moe_shared_gate;	     /* shared expert weighed by a sigmoid gate (qwen2_moe) */
	bool moe_interleaved;	     /* fused gate and up rows alternate (gpt_oss) */
	bool attn_sinks;	     /* one extra logit a head in the softmax (gpt_oss) */
	double act_limit, act_alpha; /* experts with clamped swish (gpt_oss); act_limit 0: off */
	/* free for families with own arithmetic; rows may fill them: name them by an enum of the family */
	size_t xs[24];
	double xf[16];
	bool xb[16];
	bool flag_moe, flag_shared; /* derived: some layer has experts; there are shared experts */
	bool w_n1, w_n2, w_n1_b, w_n2_b, w_norm, w_norm_b, w_pn, w_split, w_fused, w_bias_split, w_bias_fused,
		w_qn_head, w_qn_full, w_qn_bias, w_gate,
		w_gate_b; /* derived: which tensors there are (conditions of the shared rows) */
	/* per layer and derived */
	struct mm_hp_layer *layer; /* [n_layer] owned */
	struct mm_rope rope[MM_ROPES_MAX];
	size_t n_rope;
	size_t dim[MM_D_COUNT];
	size_t scratch; /* extra floats per thread that qkv_tile wants */
	size_t own_row; /* floats a row that mixer or layer_run allocates for itself (memory bound) */
};

enum mm_hp_type { MM_HP_SIZE, MM_HP_NUM, MM_HP_BOOL, MM_HP_ACT };
enum { MM_HP_NULL0 = 1, /* null: 0 (or false) instead of the default */ MM_HP_REQUIRED = 2 };
struct mm_hp_row {
	uint16_t field; /* offset in struct mm_hp */
	uint8_t type, flags;
	const char *hf;	  /* "key|older_key|object.key"; NULL: always the default */
	const char *gguf; /* without "<arch>."; NULL: always gguf default = def */
	double def;
	const char *sdef; /* MM_HP_ACT: default activation */
};
#define MM_SIZE(f, hf_, gguf_, def_)                                                                                   \
	{                                                                                                              \
		offsetof(struct mm_hp, f), MM_HP_SIZE, 0, hf_, gguf_, def_, NULL                                       \
	}
#define MM_SIZE0(f, hf_, gguf_, def_)                                                                                  \
	{                                                                                                              \
		offsetof(struct mm_hp, f), MM_HP_SIZE, MM_HP_NULL0, hf_, gguf_, def_, NULL                             \
	}
#define MM_NUM(f, hf_, gguf_, def_)                                                                                    \
	{                                                                                                              \
		offsetof(struct mm_hp, f), MM_HP_NUM, 0, hf_, gguf_, def_, NULL                                        \
	}
#define MM_NUM0(f, hf_, gguf_, def_)                                                                                   \
	{                                                                                                              \
		offsetof(struct mm_hp, f), MM_HP_NUM, MM_HP_NULL0, hf_, gguf_, def_, NULL                              \
	}
#define MM_BOOL(f, hf_, gguf_, def_)                                                                                   \
	{                                                                                                              \
		offsetof(struct mm_hp, f), MM_HP_BOOL, 0, hf_, gguf_, def_, NULL                                       \
	}
#define MM_ACT(f, hf_, gguf_, def_)                                                                                    \
	{                                                                                                              \
		offsetof(struct mm_hp, f), MM_HP_ACT, 0, hf_, gguf_, 0, def_                                           \
	}
#define MM_SET(f, def_)                                                                                                \
	{                                                                                                              \
		offsetof(struct mm_hp, f), MM_HP_NUM, 0, NULL, NULL, def_, NULL                                        \
	} /* constant double */
#define MM_SETB(f, def_)                                                                                               \
	{                                                                                                              \
		offsetof(struct mm_hp, f), MM_HP_BOOL, 0, NULL, NULL, def_, NULL                                       \
	} /* constant bool */

#endif
