/* fam_deepseek2.c: DeepSeek-V2 and V2-Lite (model_type deepseek_v2), and every GGUF of architecture deepseek2 (V3 and
 * R1 too, told by expert_gating_func). Attention in mix_mla.c. Golden-checked (lite).
 *
 * What the reference (transformers 4.57) does, not what one might expect: norm_topk_prob is not looked at; yarn's
 * mscale does not scale the softmax, only cos and sin by mscale / mscale_all_dim; moe_layer_freq is not looked at. GGUF
 * files say rope.scaling.yarn_log_multiplier (0.1 mscale_all_dim): there the softmax is scaled by its square, as their
 * readers do. topk_method greedy takes the best of all experts, group_limited_greedy those of the groups with the best
 * single expert. */
#include "model/mla_priv.h"

#include <math.h>
#include <string.h>

enum { S_FIRST_DENSE = 8, S_SHARED, S_GATING }; /* hp->xs */

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 2048),
	MM_SIZE(d_head, NULL, "attention.key_length_mla|attention.key_length", 0),
	MM_SIZE(d_head_v, "v_head_dim", "attention.value_length_mla|attention.value_length", 128),
	MM_SIZE(d_rot, "qk_rope_head_dim", "rope.dimension_count", 64),
	MM_SIZE(n_head_kv, NULL, NULL, 0),
	MM_SIZE0(xs[MM_MLA_Q_RANK], "q_lora_rank", "attention.q_lora_rank", 1536),
	MM_SIZE(xs[MM_MLA_KV_RANK], "kv_lora_rank", "attention.kv_lora_rank", 512),
	MM_SIZE(xs[MM_MLA_NOPE], "qk_nope_head_dim", NULL, 128),
	MM_SIZE(xs[MM_MLA_ROPE], "qk_rope_head_dim", "rope.dimension_count", 64),
	MM_SIZE(xs[S_FIRST_DENSE], "first_k_dense_replace", "leading_dense_block_count", 0),
	MM_SIZE0(xs[S_SHARED], "n_shared_experts", "expert_shared_count", 2),
	MM_SIZE(xs[S_GATING], NULL, "expert_gating_func", 1),
	MM_SIZE(n_expert, "n_routed_experts", "expert_count", 64),
	MM_SIZE(n_expert_used, "num_experts_per_tok", "expert_used_count", 0),
	MM_SIZE(n_ff_expert, "moe_intermediate_size", "expert_feed_forward_length", 1407),
	MM_SIZE0(n_group, "n_group", "expert_group_count", 0),
	MM_SIZE0(n_group_used, "topk_group", "expert_group_used_count", 0),
	MM_NUM(mult_router, "routed_scaling_factor", "expert_weights_scale", 1),
	MM_BOOL(moe_norm_topk, NULL, "expert_weights_norm", 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
};

static const struct mm_w_row rows[] = { MM_MLA_ROWS };

static int routing(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	h->router = MM_ROUTE_SOFTMAX_TOPK;
	if (s->gguf) {
		h->mult_router = h->mult_router == 0 ? 1 : h->mult_router;
		if (h->xs[S_GATING] == 2) {
			h->router = MM_ROUTE_SIGMOID_TOPK;
			h->moe_group_top2 = true;
			h->moe_bias_select = true;
		} else if (h->xs[S_GATING] > 1) {
			return mm_fail(err, MM_EUNSUPPORTED,
				"GGUF metadata: expert_gating_func = %zu is not supported for deepseek2",
				h->xs[S_GATING]);
		}
		return 0;
	}
	const json_t *j = mm_cfg_get(s, "topk_method");
	const char *t = j ? json_string_value(j) : "greedy";
	if (!t || (strcmp(t, "greedy") && strcmp(t, "group_limited_greedy")))
		return mm_fail(err, MM_EUNSUPPORTED,
			"config.json: topk_method = \"%.40s\" is not supported for deepseek2", t ? t : "?");
	if (!strcmp(t, "greedy"))
		h->n_group = h->n_group_used = 0;
	return 0;
}

/* After the rope of GGUF files is known: cos and sin stay as they are, the softmax takes the square. */
static int gguf_yarn(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	const json_t *j = mm_cfg_get(s, "rope.scaling.yarn_log_multiplier");
	if (mm_setup_rope(s, 0, NULL, h->rope_theta, err))
		return -1;
	h->attn_scale = 1 / sqrt((double)h->d_head);
	if (h->rope[0].scaling != MM_ROPE_YARN || !json_is_number(j))
		return 0;
	double m = 1 + json_number_value(j) * log(fmax(h->rope[0].factor, 1));
	h->rope[0].attn_factor = 1;
	h->attn_scale *= m * m;
	return 0;
}

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	h->rope_pair = MM_PAIR_ADJACENT;
	if (s->gguf) {
		if (h->d_head < h->xs[MM_MLA_ROPE])
			return mm_fail(err, MM_EFORMAT, "GGUF metadata: key length %zu below %zu rotated dimensions",
				h->d_head, h->xs[MM_MLA_ROPE]);
		h->xs[MM_MLA_NOPE] = h->d_head - h->xs[MM_MLA_ROPE];
		if (s->ck && mm_ckpt_find(s->ck, "blk.0.attn_q.weight")) /* lite */
			h->xs[MM_MLA_Q_RANK] = 0;
	} else if (mm_setup_unsupported(s, "mlp_bias", NULL, err)) {
		return -1;
	}
	if (routing(s, err) || mm_mla_setup(s, err) || mm_mla_experts(s, h->xs[S_FIRST_DENSE], h->xs[S_SHARED], err))
		return -1;
	return s->gguf ? gguf_yarn(s, err) : 0;
}

const struct mm_family mm_fam_deepseek2 = {
	.name = "deepseek2",
	.model_types = MM_LIST("deepseek_v2"),
	.archs = MM_LIST("DeepseekV2ForCausalLM"),
	.gguf_archs = MM_LIST("deepseek2"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, rows),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.gguf_quirks = MM_GGUF_ROPE_ADJACENT,
	.proof = "golden",
	.setup = setup,
	.own_load = mm_mla_load,
	.own_free = mm_mla_free,
	.qkv_tile = mm_mla_qkv_tile,
};
