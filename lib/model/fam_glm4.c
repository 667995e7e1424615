/* fam_glm4.c: GLM-4 0414 (9B, 32B), GLM-Z1: glm with norms after both branches as well.
 *
 * Looked up: the reference's class (post_self_attn_layernorm, post_mlp_layernorm). */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 151552),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 4096),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 13696),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 40),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 32),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 131072),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 2),
	MM_SIZE0(d_head, "head_dim", "attention.key_length", 128),
	MM_NUM(norm_eps, "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1.5625e-7),
	MM_NUM(rot_frac, "rope_parameters.partial_rotary_factor|partial_rotary_factor", NULL, 0.5),
	MM_SETB(gate_up_fused, 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 1),
	MM_SETB(post_norms, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	(void)err;
	s->hp->rope_pair = MM_PAIR_ADJACENT;
	s->hp->rot_even = true;
	if (s->gguf && s->ck)
		s->hp->bias_qkv = mm_ckpt_find(s->ck, "blk.0.attn_q.bias") != NULL;
	return 0;
}

#define L(s) "layers.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, L("post_attention_layernorm.weight"), B("ffn_norm.weight") },
	{ MM_W_PN1, 0, { MM_D_EMBD }, 0, 0, L("post_self_attn_layernorm.weight"), B("post_attention_norm.weight") },
	{ MM_W_PN2, 0, { MM_D_EMBD }, 0, 0, L("post_mlp_layernorm.weight"), B("post_ffw_norm.weight") },
};

const struct mm_family mm_fam_glm4 = {
	.name = "glm4",
	.model_types = MM_LIST("glm4"),
	.archs = MM_LIST("Glm4ForCausalLM"),
	.gguf_archs = MM_LIST("glm4"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
