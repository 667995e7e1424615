/* fam_falcon.c: Falcon 7B (one key-value head), RW (ALiBi, fused head by head) and the new decoder architecture (40B,
 * 180B, 11B: key-value groups, two norms). With multi_query and the old architecture there is one key-value head
 * whatever num_kv_heads says.
 *
 * ALiBi is computed in bf16, divided by sqrt(head size), and counts twice: the reference (4.47 to 5.3, eager attention,
 * of which the golden numbers are) adds it to the scores before they are scaled and, scaled, to the mask as well. Its
 * sdpa path has it once. */
#include "model/model_priv.h"

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 65024),
	MM_SIZE(n_embd, "n_embed|hidden_size", "embedding_length", 4544),
	MM_SIZE(n_layer, "num_hidden_layers|n_layer", "block_count", 32),
	MM_SIZE(n_head, "num_attention_heads|n_head", "attention.head_count", 71),
	MM_SIZE0(n_head_kv, "num_kv_heads|n_head_kv", "attention.head_count_kv", 0),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_SIZE0(n_ff, "ffn_hidden_size", "feed_forward_length", 0),
	MM_NUM(norm_eps, "layer_norm_epsilon", "attention.layer_norm_epsilon", 1e-5),
	MM_ACT(act, "activation", NULL, "gelu"),
	MM_BOOL(xb[0], "new_decoder_architecture", NULL, 0),
	MM_BOOL(xb[1], "multi_query", NULL, 1),
	MM_BOOL(xb[2], "parallel_attn", NULL, 1),
	MM_BOOL(xb[3], "alibi", NULL, 0),
	MM_SIZE0(xs[0], "num_ln_in_parallel_attn", NULL, 0),
	MM_BOOL(bias_qkv, "bias", NULL, 0),
	MM_BOOL(bias_o, "bias", NULL, 0),
	MM_BOOL(bias_ffn, "bias", NULL, 0),
	MM_SETB(bias_norm, 1),
	MM_SETB(gated, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	if (!s->hp->n_ff)
		s->hp->n_ff = 4 * s->hp->n_embd;
	struct mm_hp *h = s->hp;
	bool fresh = h->xb[0], multi = h->xb[1], two;
	(void)err;
	h->norm = MM_NORM_LAYER;
	if (s->gguf && s->ck) {
		fresh = mm_ckpt_find(s->ck, "blk.0.attn_norm_2.weight") != NULL;
		multi = h->n_head_kv == 1;
		h->xs[0] = fresh ? 2 : 1;
	}
	two = fresh && h->xb[2] && (h->xs[0] == 0 || h->xs[0] == 2);
	if (!fresh)
		h->n_head_kv = multi ? 1 : s->gguf ? h->n_head_kv : h->n_head;
	h->qkv = fresh ? MM_QKV_PER_GROUP : multi ? MM_QKV_BLOCKS : MM_QKV_PER_HEAD;
	h->block = h->xb[2] ? MM_BLOCK_PARALLEL : MM_BLOCK_SEQ;
	h->shared_norm = h->xb[2] && !two;
	h->xb[4] = two;	      /* ln_attn, ln_mlp */
	h->xb[5] = !two;      /* input_layernorm */
	h->xb[6] = !h->xb[2]; /* post_attention_layernorm */
	if (h->xb[3]) {
		h->rot_frac = 0;
		h->d_rot = 0;
		h->alibi_max = 8;
		h->alibi_bf16 = true;
	}
	return 0;
}

#define H(s) "h.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "word_embeddings.weight", "token_embd.weight" },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "ln_f.weight", "output_norm.weight" },
	{ MM_W_NORM_B, 0, { MM_D_EMBD }, 0, 0, "ln_f.bias", "output_norm.bias" },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^lm_head.weight", "output.weight" },
	{ MM_W_N1, 0, { MM_D_EMBD }, MM_IF(xb[5]), 0, H("input_layernorm.weight"), B("attn_norm.weight") },
	{ MM_W_N1_B, 0, { MM_D_EMBD }, MM_IF(xb[5]), 0, H("input_layernorm.bias"), B("attn_norm.bias") },
	{ MM_W_N1, 0, { MM_D_EMBD }, MM_IF(xb[4]), 0, H("ln_attn.weight"), B("attn_norm_2.weight") },
	{ MM_W_N1_B, 0, { MM_D_EMBD }, MM_IF(xb[4]), 0, H("ln_attn.bias"), B("attn_norm_2.bias") },
	{ MM_W_N2, 0, { MM_D_EMBD }, MM_IF(xb[4]), 0, H("ln_mlp.weight"), B("attn_norm.weight") },
	{ MM_W_N2_B, 0, { MM_D_EMBD }, MM_IF(xb[4]), 0, H("ln_mlp.bias"), B("attn_norm.bias") },
	{ MM_W_N2, 0, { MM_D_EMBD }, MM_IF(xb[6]), 0, H("post_attention_layernorm.weight"), B("ffn_norm.weight") },
	{ MM_W_N2_B, 0, { MM_D_EMBD }, MM_IF(xb[6]), 0, H("post_attention_layernorm.bias"), B("ffn_norm.bias") },
	{ MM_W_QKV, 0, { MM_D_QKV, MM_D_EMBD }, 0, 0, H("self_attention.query_key_value.weight"),
		B("attn_qkv.weight") },
	{ MM_W_QKV_B, 0, { MM_D_QKV }, MM_IF(bias_qkv), 0, H("self_attention.query_key_value.bias"),
		B("attn_qkv.bias") },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, 0, H("self_attention.dense.weight"), B("attn_output.weight") },
	{ MM_W_O_B, 0, { MM_D_EMBD }, MM_IF(bias_o), 0, H("self_attention.dense.bias"), B("attn_output.bias") },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, H("mlp.dense_h_to_4h.weight"), B("ffn_up.weight") },
	{ MM_W_UP_B, 0, { MM_D_FF }, MM_IF(bias_ffn), 0, H("mlp.dense_h_to_4h.bias"), B("ffn_up.bias") },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, H("mlp.dense_4h_to_h.weight"), B("ffn_down.weight") },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, MM_IF(bias_ffn), 0, H("mlp.dense_4h_to_h.bias"), B("ffn_down.bias") },
};

const struct mm_family mm_fam_falcon = {
	.name = "falcon",
	.model_types = MM_LIST("falcon", "RefinedWeb", "RefinedWebModel"),
	.archs = MM_LIST("FalconForCausalLM", "RWForCausalLM"),
	.gguf_archs = MM_LIST("falcon"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.setup = setup,
	.proof = "golden",
};
