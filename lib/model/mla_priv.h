/* mla_priv.h - multi-head latent attention, shared by deepseek2 and deepseek3 (mix_mla.c). */
#ifndef MM_MLA_PRIV_H
#define MM_MLA_PRIV_H

#include "model/ssm_priv.h"

enum mm_mla_size {
	MM_MLA_Q_RANK /* 0: queries come straight from the input */,
	MM_MLA_KV_RANK,
	MM_MLA_NOPE,
	MM_MLA_ROPE
};
enum mm_mla_bool {
	MM_MLA_HAS_Q_RANK,
	MM_MLA_NO_Q_RANK,
	MM_MLA_Q_BIAS,
	MM_MLA_SPLIT_KV /* GGUF: attn_k_b and attn_v_b */,
	MM_MLA_WHOLE_KV
};
enum mm_mla_dim {
	MM_D_MLA_Q_RANK = MM_D_X0,
	MM_D_MLA_KV_RANK,
	MM_D_MLA_KV_A,
	MM_D_MLA_KV_B,
	MM_D_MLA_NOPE,
	MM_D_MLA_V
};
enum mm_mla_slot {
	MM_W_MLA_QA = MM_W_X0,
	MM_W_MLA_QA_B,
	MM_W_MLA_QA_N,
	MM_W_MLA_QB,
	MM_W_MLA_KVA,
	MM_W_MLA_KVA_B,
	MM_W_MLA_KVA_N,
	MM_W_MLA_KVB,
	MM_W_MLA_KB,
	MM_W_MLA_VB,
};
#define MM_MLA_A(s) "layers.#.self_attn." s
#define MM_MLA_ROWS                                                                                                    \
	{ MM_W_Q, 0, { MM_D_Q, MM_D_EMBD }, MM_IF(xb[MM_MLA_NO_Q_RANK]), 0, MM_MLA_A("q_proj.weight"),                 \
		"blk.#.attn_q.weight" },                                                                               \
		{ MM_W_K, 0, { MM_D_NONE }, 0, 0, NULL, NULL }, /* no such tensors here: hides the shared rows */      \
		{ MM_W_V, 0, { MM_D_NONE }, 0, 0, NULL, NULL },                                                        \
		{ MM_W_MLA_QA, 0, { MM_D_MLA_Q_RANK, MM_D_EMBD }, MM_IF(xb[MM_MLA_HAS_Q_RANK]), 0,                     \
			MM_MLA_A("q_a_proj.weight"), "blk.#.attn_q_a.weight" },                                        \
		{ MM_W_MLA_QA_B, 0, { MM_D_MLA_Q_RANK }, MM_IF(xb[MM_MLA_Q_BIAS]), 0, MM_MLA_A("q_a_proj.bias"),       \
			NULL },                                                                                        \
		{ MM_W_MLA_QA_N, 0, { MM_D_MLA_Q_RANK }, MM_IF(xb[MM_MLA_HAS_Q_RANK]), 0,                              \
			MM_MLA_A("q_a_layernorm.weight"), "blk.#.attn_q_a_norm.weight" },                              \
		{ MM_W_MLA_QB, 0, { MM_D_Q, MM_D_MLA_Q_RANK }, MM_IF(xb[MM_MLA_HAS_Q_RANK]), 0,                        \
			MM_MLA_A("q_b_proj.weight"), "blk.#.attn_q_b.weight" },                                        \
		{ MM_W_MLA_KVA, 0, { MM_D_MLA_KV_A, MM_D_EMBD }, 0, 0, MM_MLA_A("kv_a_proj_with_mqa.weight"),          \
			"blk.#.attn_kv_a_mqa.weight" },                                                                \
		{ MM_W_MLA_KVA_B, 0, { MM_D_MLA_KV_A }, MM_IF(bias_o), 0, MM_MLA_A("kv_a_proj_with_mqa.bias"), NULL }, \
		{ MM_W_MLA_KVA_N, 0, { MM_D_MLA_KV_RANK }, 0, 0, MM_MLA_A("kv_a_layernorm.weight"),                    \
			"blk.#.attn_kv_a_norm.weight" },                                                               \
		{ MM_W_MLA_KVB, 0, { MM_D_MLA_KV_B, MM_D_MLA_KV_RANK }, MM_IF(xb[MM_MLA_WHOLE_KV]), 0,                 \
			MM_MLA_A("kv_b_proj.weight"), "blk.#.attn_kv_b.weight" },                                      \
		{ MM_W_MLA_KB, 0, { MM_D_HEADS, MM_D_MLA_KV_RANK, MM_D_MLA_NOPE }, MM_IF(xb[MM_MLA_SPLIT_KV]), 0,      \
			NULL, "blk.#.attn_k_b.weight" },                                                               \
	{                                                                                                              \
		MM_W_MLA_VB, 0, { MM_D_HEADS, MM_D_MLA_V, MM_D_MLA_KV_RANK }, MM_IF(xb[MM_MLA_SPLIT_KV]), 0, NULL,     \
			"blk.#.attn_v_b.weight"                                                                        \
	}

/* Sizes into head sizes, dims, scratch; needs xs, n_head and d_head_v. */
int mm_mla_setup(struct mm_setup *s, struct mm_err *err) MM_MUST_CHECK;
/* Layers below first_dense have a dense feed-forward, the others experts. */
int mm_mla_experts(struct mm_setup *s, size_t first_dense, size_t n_shared, struct mm_err *err) MM_MUST_CHECK;
int mm_mla_load(const struct mm_model *m, size_t l, struct mm_layer *layer, struct mm_err *err);
void mm_mla_free(struct mm_layer *layer);
void mm_mla_qkv_tile(
	const struct mm_pass *p, const struct mm_layer *layer, size_t row, const float *y, float *qkv, float *scratch);

#endif
