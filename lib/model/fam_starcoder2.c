/* fam_starcoder2.c: StarCoder 2: llama's attention with biases (use_bias), layer norms, plain tanh-GELU feed-forward,
 * tied head. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 49152),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 3072),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 12288),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 30),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 24),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 4096),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 2),
	MM_NUM(norm_eps, "norm_epsilon", "attention.layer_norm_epsilon", 1e-5),
	MM_ACT(act, "hidden_act", NULL, "gelu_pytorch_tanh"),
	MM_SIZE0(window, "sliding_window", "attention.sliding_window", 0),
	MM_BOOL(bias_qkv, "use_bias", NULL, 1),
	MM_BOOL(bias_o, "use_bias", NULL, 1),
	MM_BOOL(bias_ffn, "use_bias", NULL, 1),
	MM_SETB(bias_norm, 1),
	MM_SETB(gated, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	s->hp->norm = MM_NORM_LAYER;
	if (mm_setup_layers(s, err))
		return -1;
	for (size_t l = 0; l < s->hp->n_layer; l++)
		s->hp->layer[l].window = s->hp->window;
	return 0;
}

#define L(s) "layers.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, L("mlp.c_fc.weight"), B("ffn_up.weight") },
	{ MM_W_UP_B, 0, { MM_D_FF }, MM_IF(bias_ffn), 0, L("mlp.c_fc.bias"), B("ffn_up.bias") },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, L("mlp.c_proj.weight"), B("ffn_down.weight") },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, MM_IF(bias_ffn), 0, L("mlp.c_proj.bias"), B("ffn_down.bias") },
};

const struct mm_family mm_fam_starcoder2 = {
	.name = "starcoder2",
	.model_types = MM_LIST("starcoder2"),
	.archs = MM_LIST("Starcoder2ForCausalLM"),
	.gguf_archs = MM_LIST("starcoder2"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
