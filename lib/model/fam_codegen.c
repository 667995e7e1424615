/* fam_codegen.c: CodeGen 1, 2: GPT-J with q, k, v in one matrix of four blocks, each of which holds its heads' q, then
 * v, then k.
 *
 * Looked up: the reference's class (mp_num 4; split in the order query, value, key). */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 50400),
	MM_SIZE(n_embd, "n_embd|hidden_size", "embedding_length", 4096),
	MM_SIZE(n_layer, "n_layer|num_hidden_layers", "block_count", 28),
	MM_SIZE(n_head, "n_head|num_attention_heads", "attention.head_count", 16),
	MM_SIZE0(n_head_kv, NULL, NULL, 0),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_SIZE(n_ctx, "n_positions|max_position_embeddings", "context_length", 2048),
	MM_SIZE0(n_ff, "n_inner", "feed_forward_length", 0),
	MM_NUM(norm_eps, "layer_norm_epsilon", "attention.layer_norm_epsilon", 1e-5),
	MM_SIZE(d_rot, "rotary_dim", "rope.dimension_count", 64),
	MM_NUM(rope_theta, NULL, "rope.freq_base", 10000),
	MM_ACT(act, "activation_function", NULL, "gelu_new"),
	MM_SETB(bias_ffn, 1),
	MM_SETB(bias_norm, 1),
	MM_SETB(bias_head, 1),
	MM_SETB(gated, 0),
	MM_SETB(shared_norm, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	if (!s->hp->n_ff)
		s->hp->n_ff = 4 * s->hp->n_embd;
	(void)err;
	s->hp->norm = MM_NORM_LAYER;
	s->hp->block = MM_BLOCK_PARALLEL;
	s->hp->rope_pair = MM_PAIR_ADJACENT;
	s->hp->rope_plain = true;
	s->hp->qkv = MM_QKV_CODEGEN;
	if (s->hp->n_head % 4)
		return mm_fail(err, MM_EUNSUPPORTED, "config.json: n_head = %zu is no multiple of 4", s->hp->n_head);
	return 0;
}

#define H(s) "h.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "wte.weight", "token_embd.weight" },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "ln_f.weight", "output_norm.weight" },
	{ MM_W_NORM_B, 0, { MM_D_EMBD }, 0, 0, "ln_f.bias", "output_norm.bias" },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^lm_head.weight", "output.weight" },
	{ MM_W_HEAD_B, 0, { MM_D_VOCAB }, 0, 0, "^lm_head.bias", "output.bias" },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, H("ln_1.weight"), B("attn_norm.weight") },
	{ MM_W_N1_B, 0, { MM_D_EMBD }, 0, 0, H("ln_1.bias"), B("attn_norm.bias") },
	{ MM_W_QKV, 0, { MM_D_QKV, MM_D_EMBD }, 0, 0, H("attn.qkv_proj.weight"), NULL },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, 0, H("attn.out_proj.weight"), NULL },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, H("mlp.fc_in.weight"), B("ffn_up.weight") },
	{ MM_W_UP_B, 0, { MM_D_FF }, 0, 0, H("mlp.fc_in.bias"), B("ffn_up.bias") },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, H("mlp.fc_out.weight"), B("ffn_down.weight") },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, 0, 0, H("mlp.fc_out.bias"), B("ffn_down.bias") },
};

const struct mm_family mm_fam_codegen = {
	.name = "codegen",
	.model_types = MM_LIST("codegen"),
	.archs = MM_LIST("CodeGenForCausalLM"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.setup = setup,
	.proof = "golden",
};
