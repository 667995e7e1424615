/* fam_nemotron.c: Nemotron 3/4, Minitron: llama with layer norms whose weights are stored minus 1, plain squared-ReLU
 * feed-forward, partial rotary. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 256000),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 6144),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 24576),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 32),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 48),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 4096),
	MM_NUM(norm_eps, "norm_eps", "attention.layer_norm_epsilon", 1e-5),
	MM_NUM(rot_frac,
		"rope_parameters.partial_rotary_factor|partial_rotary_factor|partial_rotary_percent|rope_percent", NULL,
		0.5),
	MM_ACT(act, "hidden_act", NULL, "relu2"),
	MM_SETB(norm_plus1, 1),
	MM_SETB(bias_norm, 1),
	MM_SETB(gated, 0),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
	MM_BOOL(bias_ffn, "mlp_bias", NULL, 0),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	(void)err;
	/* version 4 of the reference does not look at rope_scaling; version 5 has rope_parameters */
	s->hp->rope_plain = !s->gguf && !mm_cfg_get(s, "rope_parameters");
	s->hp->norm = MM_NORM_LAYER;
	s->hp->rot_even = true;
	return 0;
}

const struct mm_family mm_fam_nemotron = {
	.name = "nemotron",
	.model_types = MM_LIST("nemotron"),
	.archs = MM_LIST("NemotronForCausalLM"),
	.gguf_archs = MM_LIST("nemotron"),
	MM_ROWS(hp, hp),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
