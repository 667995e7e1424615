/* fam_mixtral.c: Mixtral: mistral's attention, every feed-forward a mixture: softmax over all experts, the chosen
 * weights always renormalised. A GGUF file of it calls itself llama (fam_llama.c). */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 32000),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 4096),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 14336),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 32),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 32),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 131072),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 8),
	MM_NUM(norm_eps, "rms_norm_eps", NULL, 1e-5),
	MM_NUM(rope_theta, "rope_parameters.rope_theta|rope_theta", NULL, 1e6),
	MM_SIZE0(window, "sliding_window", NULL, 0),
	MM_SIZE(n_expert, "num_local_experts|num_experts", NULL, 8),
	MM_SIZE(n_expert_used, "num_experts_per_tok", NULL, 2),
	MM_SETB(moe_norm_topk, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	if (mm_setup_layers(s, err))
		return -1;
	s->hp->n_ff_expert = s->hp->n_ff;
	for (size_t l = 0; l < s->hp->n_layer; l++) {
		s->hp->layer[l].window = s->hp->window;
		s->hp->layer[l].mask = MM_L_ATTN | MM_L_MOE;
	}
	return 0;
}

#define L(s) "layers.#." s
static const struct mm_w_row w[] = {
	{ MM_W_ROUTER, 0, { MM_D_EXPERTS, MM_D_EMBD }, 0, 0, L("block_sparse_moe.gate.weight"), NULL },
	{ MM_W_EGATE, 0, { MM_D_FFE, MM_D_EMBD }, 0, 0, L("block_sparse_moe.experts.@.w1.weight"), NULL },
	{ MM_W_EUP, 0, { MM_D_FFE, MM_D_EMBD }, 0, 0, L("block_sparse_moe.experts.@.w3.weight"), NULL },
	{ MM_W_EDOWN, 0, { MM_D_EMBD, MM_D_FFE }, 0, 0, L("block_sparse_moe.experts.@.w2.weight"), NULL },
};

const struct mm_family mm_fam_mixtral = {
	.name = "mixtral",
	.model_types = MM_LIST("mixtral"),
	.archs = MM_LIST("MixtralForCausalLM"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
