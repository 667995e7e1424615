/* fam_cohere.c: Cohere Command-R, Aya: parallel block with one layer norm without bias, adjacent rotary pairs, logits
 * times logit_scale, optional q/k layer norm with weights per head, tied head. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 256000),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 8192),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 22528),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 40),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 64),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 8192),
	MM_NUM(norm_eps, "layer_norm_eps", "attention.layer_norm_epsilon", 1e-5),
	MM_BOOL(qk_norm, "use_qk_norm", NULL, 0),
	MM_SETB(qk_norm_heads, 1),
	MM_NUM(mult_logit, "logit_scale", "logit_scale", 0.0625),
	MM_SETB(shared_norm, 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	(void)err;
	h->norm = h->qk_norm_kind = MM_NORM_LAYER;
	h->block = MM_BLOCK_PARALLEL;
	h->rope_pair = MM_PAIR_ADJACENT;
	if (s->gguf && s->ck)
		h->qk_norm = mm_ckpt_find(s->ck, "blk.0.attn_q_norm.weight") != NULL;
	return 0;
}

#define L(s) "layers.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_QN, 0, { MM_D_HEADS, MM_D_HEAD }, MM_IF(qk_norm), 0, L("self_attn.q_norm.weight"),
		B("attn_q_norm.weight") },
	{ MM_W_KN, 0, { MM_D_HEADS_KV, MM_D_HEAD }, MM_IF(qk_norm), 0, L("self_attn.k_norm.weight"),
		B("attn_k_norm.weight") },
};

const struct mm_family mm_fam_cohere = {
	.name = "cohere",
	.model_types = MM_LIST("cohere"),
	.archs = MM_LIST("CohereForCausalLM"),
	.gguf_archs = MM_LIST("command-r"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
