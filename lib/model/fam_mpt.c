/* fam_mpt.c: MPT: ALiBi (always with exponents up to 8, as the reference does), norms without biases, fused qkv in
 * blocks, plain exact-GELU feed-forward of four times the width whatever expansion_ratio says, tied head. softmax_scale
 * and clip_qkv sit in attn_config. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 50368),
	MM_SIZE(n_embd, "d_model|hidden_size", "embedding_length", 2048),
	MM_SIZE(n_layer, "n_layers|num_hidden_layers", "block_count", 24),
	MM_SIZE(n_head, "n_heads|num_attention_heads", "attention.head_count", 16),
	MM_SIZE0(n_head_kv, NULL, NULL, 0),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_SIZE(n_ctx, "max_seq_len", "context_length", 2048),
	MM_SIZE0(n_ff, NULL, "feed_forward_length", 0),
	MM_NUM(norm_eps, "layer_norm_epsilon", "attention.layer_norm_epsilon", 1e-5),
	MM_NUM0(attn_scale, "attn_config.softmax_scale", NULL, 0),
	MM_NUM0(clip_qkv, "attn_config.clip_qkv", "attention.clamp_kqv", 0),
	MM_ACT(act, NULL, NULL, "gelu"),
	MM_SET(rot_frac, 0),
	MM_NUM(alibi_max, NULL, "attention.max_alibi_bias", 8), /* the reference takes 8 whatever alibi_bias_max says */
	MM_SETB(gated, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	const json_t *alibi = s->gguf ? NULL : mm_cfg_get(s, "attn_config.alibi");
	s->hp->norm = MM_NORM_LAYER;
	s->hp->qkv = MM_QKV_BLOCKS;
	s->hp->n_ff = 4 * s->hp->n_embd;
	if (json_is_false(alibi))
		return mm_fail(err, MM_EUNSUPPORTED, "config.json: attn_config.alibi = false is not supported for mpt");
	if (s->gguf && !(s->hp->alibi_max > 0))
		return mm_fail(
			err, MM_EUNSUPPORTED, "GGUF metadata: mpt.attention.max_alibi_bias = 0 is not supported");
	if (s->gguf)
		return 0;
	return mm_setup_unsupported(s, "attn_config.qk_ln", NULL, err) ||
			       mm_setup_unsupported(s, "attn_config.prefix_lm", NULL, err) ||
			       mm_setup_unsupported(s, "attn_config.attn_type", "multihead_attention", err)
		       ? -1
		       : 0;
}

#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "wte.weight", "token_embd.weight" },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "norm_f.weight", "output_norm.weight" },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^lm_head.weight", "output.weight" },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, "blocks.#.norm_1.weight", B("attn_norm.weight") },
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, "blocks.#.norm_2.weight", B("ffn_norm.weight") },
	{ MM_W_QKV, 0, { MM_D_QKV, MM_D_EMBD }, 0, 0, "blocks.#.attn.Wqkv.weight", B("attn_qkv.weight") },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, 0, "blocks.#.attn.out_proj.weight", B("attn_output.weight") },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, "blocks.#.ffn.up_proj.weight", B("ffn_up.weight") },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, "blocks.#.ffn.down_proj.weight", B("ffn_down.weight") },
};

const struct mm_family mm_fam_mpt = {
	.name = "mpt",
	.model_types = MM_LIST("mpt"),
	.archs = MM_LIST("MptForCausalLM", "MPTForCausalLM"),
	.gguf_archs = MM_LIST("mpt"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.setup = setup,
	.proof = "golden",
};
