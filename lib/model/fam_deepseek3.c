/* fam_deepseek3.c: DeepSeek-V3 and R1 (model_type deepseek_v3). Attention in mix_mla.c. Golden-checked.
 *
 * Router: sigmoid scores; a bias (e_score_correction_bias) takes part in the choice only; groups are ranked by the sum
 * of their two best, scores outside the chosen groups become 0 (not -infinity: a negative biased score inside loses
 * against them, as in the reference); weights of the chosen are their scores, normalised, times routed_scaling_factor.
 * The softmax is scaled by yarn's mscale_all_dim. Layers beyond num_hidden_layers (multi-token prediction) are not
 * read. Its GGUF calls itself deepseek2. */
#include "model/mla_priv.h"

#include <math.h>

enum { S_FIRST_DENSE = 8, S_SHARED }; /* hp->xs */
enum { B_INTERLEAVE = 8 };	      /* hp->xb */

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_layer, "num_hidden_layers", NULL, 61),
	MM_SIZE(n_vocab, "vocab_size", NULL, 129280),
	MM_SIZE(n_embd, "hidden_size", NULL, 7168),
	MM_SIZE(n_ff, "intermediate_size", NULL, 18432),
	MM_SIZE(n_head, "num_attention_heads", NULL, 128),
	MM_SIZE(n_ctx, "max_position_embeddings", NULL, 4096),
	MM_SIZE(d_head, NULL, NULL, 0),
	MM_SIZE(d_head_v, "v_head_dim", NULL, 128),
	MM_SIZE(d_rot, "qk_rope_head_dim", NULL, 64),
	MM_SIZE(n_head_kv, NULL, NULL, 0),
	MM_SIZE0(xs[MM_MLA_Q_RANK], "q_lora_rank", NULL, 1536),
	MM_SIZE(xs[MM_MLA_KV_RANK], "kv_lora_rank", NULL, 512),
	MM_SIZE(xs[MM_MLA_NOPE], "qk_nope_head_dim", NULL, 128),
	MM_SIZE(xs[MM_MLA_ROPE], "qk_rope_head_dim", NULL, 64),
	MM_SIZE(xs[S_FIRST_DENSE], "first_k_dense_replace", NULL, 3),
	MM_SIZE0(xs[S_SHARED], "n_shared_experts", NULL, 1),
	MM_SIZE(n_expert, "n_routed_experts", NULL, 256),
	MM_SIZE(n_expert_used, "num_experts_per_tok", NULL, 8),
	MM_SIZE(n_ff_expert, "moe_intermediate_size", NULL, 2048),
	MM_SIZE0(n_group, "n_group", NULL, 8),
	MM_SIZE0(n_group_used, "topk_group", NULL, 4),
	MM_NUM(mult_router, "routed_scaling_factor", NULL, 2.5),
	MM_BOOL(moe_norm_topk, "norm_topk_prob", NULL, 1),
	MM_SETB(moe_bias_select, 1),
	MM_SETB(moe_group_top2, 1),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
	MM_BOOL(xb[B_INTERLEAVE], "rope_interleave", NULL, 1),
};

static const struct mm_w_row rows[] = { MM_MLA_ROWS };

/* 1 / sqrt(d), times the square of yarn's mscale for mscale_all_dim */
static int softmax_scale(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	const json_t *r = mm_cfg_get(s, "rope_parameters|rope_scaling");
	const json_t *all = json_object_get(r, "mscale_all_dim"), *factor = json_object_get(r, "factor");
	h->attn_scale = 1 / sqrt((double)h->d_head);
	if (!json_is_number(all) || json_number_value(all) == 0)
		return 0;
	if (!json_is_number(factor))
		return mm_fail(err, MM_EFORMAT, "config.json: rope scaling with mscale_all_dim, but without factor");
	double f = json_number_value(factor), m = f <= 1 ? 1 : 0.1 * json_number_value(all) * log(f) + 1;
	h->attn_scale *= m * m;
	return 0;
}

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	h->router = MM_ROUTE_SIGMOID_TOPK;
	h->rope_pair = h->xb[B_INTERLEAVE] ? MM_PAIR_ADJACENT : MM_PAIR_HALF;
	return mm_mla_setup(s, err) || mm_mla_experts(s, h->xs[S_FIRST_DENSE], h->xs[S_SHARED], err) ||
			       softmax_scale(s, err)
		       ? -1
		       : 0;
}

const struct mm_family mm_fam_deepseek3 = {
	.name = "deepseek3",
	.model_types = MM_LIST("deepseek_v3"),
	.archs = MM_LIST("DeepseekV3ForCausalLM"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, rows),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.proof = "golden",
	.setup = setup,
	.own_load = mm_mla_load,
	.own_free = mm_mla_free,
	.qkv_tile = mm_mla_qkv_tile,
};
