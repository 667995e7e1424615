/* fam_stablelm.c: StableLM 3B, 2 1.6B, 2 12B: llama with layer norms, partial rotary, optional qkv biases, optional
 * parallel block with one norm, optional q/k layer norm with one tensor a head (no biases). */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 50304),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 2560),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 6912),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 32),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 32),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 4096),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 32),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_NUM(norm_eps, "layer_norm_eps|norm_eps", "attention.layer_norm_epsilon", 1e-5),
	MM_NUM(rot_frac, "rope_parameters.partial_rotary_factor|partial_rotary_factor|rope_pct", NULL, 0.25),
	MM_BOOL(bias_qkv, "use_qkv_bias", NULL, 0),
	MM_BOOL(qk_norm, "qk_layernorm", NULL, 0),
	MM_BOOL(xb[0], "use_parallel_residual", "use_parallel_residual", 0),
	MM_SETB(bias_norm, 1),
	MM_SETB(qk_norm_heads, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	(void)err;
	h->norm = h->qk_norm_kind = MM_NORM_LAYER;
	if (s->gguf && s->ck) {
		h->qk_norm = mm_ckpt_find(s->ck, "blk.0.attn_q_norm.weight") != NULL;
		h->bias_qkv = mm_ckpt_find(s->ck, "blk.0.attn_q.bias") != NULL;
		h->xb[0] = mm_ckpt_find(s->ck, "blk.0.ffn_norm.weight") == NULL;
	}
	h->block = h->xb[0] ? MM_BLOCK_PARALLEL : MM_BLOCK_SEQ;
	h->shared_norm = h->xb[0];
	return 0;
}

#define L(s) "layers.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_QN, 0, { MM_D_HEAD }, MM_IF(qk_norm), 0, L("self_attn.q_layernorm.norms.@.weight"), NULL },
	{ MM_W_KN, 0, { MM_D_HEAD }, MM_IF(qk_norm), 0, L("self_attn.k_layernorm.norms.@.weight"), NULL },
	{ MM_W_QN, 0, { MM_D_HEADS, MM_D_HEAD }, MM_IF(qk_norm), 0, NULL, B("attn_q_norm.weight") },
	{ MM_W_KN, 0, { MM_D_HEADS_KV, MM_D_HEAD }, MM_IF(qk_norm), 0, NULL, B("attn_k_norm.weight") },
};

const struct mm_family mm_fam_stablelm = {
	.name = "stablelm",
	.model_types = MM_LIST("stablelm", "stablelm_epoch"),
	.archs = MM_LIST("StableLmForCausalLM", "StableLMEpochForCausalLM"),
	.gguf_archs = MM_LIST("stablelm"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
