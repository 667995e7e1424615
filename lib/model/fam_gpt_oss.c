/* fam_gpt_oss.c: gpt-oss (model_type gpt_oss): alternate windowed and full attention with one learned sink logit a
 * head, experts with clamped swish in every layer. Golden-checked.
 *
 *   router: the k largest logits, softmax over those;   expert: (min(max(u, -7), 7) + 1) * g sigmoid(1.702 g), g =
 * min(gate, 7)
 *
 * Rows of gate_up_proj alternate gate, up. Biases everywhere. The limit and slope are constants of the reference,
 * swiglu_limit in the config is not looked at. A config without rope_scaling means yarn with factor 32 over 4096
 * positions, correction range not rounded (truncate false); null means none. Published files store the experts as
 * MXFP4: *_blocks and *_scales. */
#include "model/model_priv.h"

#include <math.h>
#include <string.h>

enum { B_MXFP4, B_PLAIN }; /* hp->xb: how the experts are stored */

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 36),
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 201088),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 2880),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 131072),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 64),
	MM_SIZE0(n_head_kv, "num_key_value_heads", "attention.head_count_kv", 8),
	MM_SIZE0(d_head, "head_dim", "attention.key_length", 64),
	MM_SIZE(n_expert, "num_local_experts", "expert_count", 128),
	MM_SIZE(n_expert_used, "num_experts_per_tok", "expert_used_count", 4),
	MM_SIZE(n_ff, NULL, NULL, 0),
	MM_SIZE(n_ff_expert, "intermediate_size", "expert_feed_forward_length", 2880),
	MM_SIZE0(window, "sliding_window", "attention.sliding_window", 128),
	MM_NUM(norm_eps, "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-5),
	MM_NUM(rope_theta, "rope_parameters.rope_theta|rope_theta", "rope.freq_base", 150000),
	MM_ACT(act, NULL, NULL, "silu"),
	MM_SET(act_limit, 7),
	MM_SET(act_alpha, 1.702),
	MM_SETB(moe_interleaved, 1),
	MM_SETB(attn_sinks, 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 1),
	MM_BOOL(bias_o, "attention_bias", NULL, 1),
};

#define E(s) "layers.#.mlp.experts." s
#define B(s) "blk.#." s
static const struct mm_w_row rows[] = {
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, "layers.#.post_attention_layernorm.weight",
		B("post_attention_norm.weight|blk.#.ffn_norm.weight") },
	{ MM_W_ROUTER, 0, { MM_D_EXPERTS, MM_D_EMBD }, 0, 0, "layers.#.mlp.router.weight", B("ffn_gate_inp.weight") },
	{ MM_W_ROUTER_B, 0, { MM_D_EXPERTS }, 0, 0, "layers.#.mlp.router.bias", B("ffn_gate_inp.bias") },
	{ MM_W_EGATE_UP, MM_W_T, { MM_D_EXPERTS, MM_D_EMBD, MM_D_FFE2 }, MM_IF(xb[B_PLAIN]), 0, E("gate_up_proj"),
		NULL },
	{ MM_W_EGATE_UP, MM_W_MXFP4, { MM_D_EXPERTS, MM_D_FFE2, MM_D_EMBD }, MM_IF(xb[B_MXFP4]), 0,
		E("gate_up_proj_blocks"), NULL },
	{ MM_W_EGATE_UP_B, 0, { MM_D_EXPERTS, MM_D_FFE2 }, 0, 0, E("gate_up_proj_bias"), NULL },
	{ MM_W_EDOWN, MM_W_T, { MM_D_EXPERTS, MM_D_FFE, MM_D_EMBD }, MM_IF(xb[B_PLAIN]), 0, E("down_proj"), NULL },
	{ MM_W_EDOWN, MM_W_MXFP4, { MM_D_EXPERTS, MM_D_EMBD, MM_D_FFE }, MM_IF(xb[B_MXFP4]), 0, E("down_proj_blocks"),
		NULL },
	{ MM_W_EDOWN, 0, { MM_D_EXPERTS, MM_D_EMBD, MM_D_FFE }, 0, 0, NULL, B("ffn_down_exps.weight") },
	{ MM_W_EDOWN_B, 0, { MM_D_EXPERTS, MM_D_EMBD }, 0, 0, E("down_proj_bias"), B("ffn_down_exps.bias") },
	{ MM_W_EGATE, 0, { MM_D_EXPERTS, MM_D_FFE, MM_D_EMBD }, 0, 0, NULL, B("ffn_gate_exps.weight") },
	{ MM_W_EUP, 0, { MM_D_EXPERTS, MM_D_FFE, MM_D_EMBD }, 0, 0, NULL, B("ffn_up_exps.weight") },
	{ MM_W_EGATE_B, 0, { MM_D_EXPERTS, MM_D_FFE }, 0, 0, NULL, B("ffn_gate_exps.bias") },
	{ MM_W_EUP_B, 0, { MM_D_EXPERTS, MM_D_FFE }, 0, 0, NULL, B("ffn_up_exps.bias") },
};

static int quant_check(struct mm_setup *s, struct mm_err *err)
{
	const json_t *q = s->gguf ? NULL : mm_cfg_get(s, "quantization_config");
	const char *method = json_string_value(json_object_get(q, "quant_method"));
	if (q && (!method || strcmp(method, "mxfp4")))
		return mm_fail(err, MM_EUNSUPPORTED,
			"config.json: quantization_config with quant_method = \"%.40s\" is not supported",
			method ? method : "?");
	/* dequantised copies may keep the entry in their config */
	s->hp->xb[B_MXFP4] = s->ck && (mm_ckpt_find(s->ck, "model.layers.0.mlp.experts.gate_up_proj_blocks") ||
					      mm_ckpt_find(s->ck, "layers.0.mlp.experts.gate_up_proj_blocks"));
	s->hp->xb[B_PLAIN] = !s->hp->xb[B_MXFP4];
	return 0;
}

static int rope(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	bool absent = !json_object_get(s->cfg, "rope_scaling") && !json_object_get(s->cfg, "rope_parameters");
	if (mm_setup_rope(s, 0, NULL, h->rope_theta, err))
		return -1;
	struct mm_rope *r = &h->rope[0];
	if (s->gguf) {
		r->truncate = false;
	} else if (absent) {
		r->scaling = MM_ROPE_YARN;
		r->factor = 32;
		r->attn_factor = 0.1 * log(32) + 1;
		r->beta_fast = 32;
		r->beta_slow = 1;
		r->n_ctx_orig = 4096;
		r->truncate = false;
	}
	return 0;
}

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	bool typed;
	h->router = MM_ROUTE_TOPK_SOFTMAX;
	if (quant_check(s, err) || mm_setup_layers(s, err) || mm_setup_layer_types(s, 0, 0, &typed, err))
		return -1;
	for (size_t l = 0; l < h->n_layer; l++) {
		h->layer[l].mask = MM_L_ATTN | MM_L_MOE;
		if (!typed)
			h->layer[l].window = l % 2 ? 0 : h->window;
	}
	return rope(s, err);
}

const struct mm_family mm_fam_gpt_oss = {
	.name = "gpt_oss",
	.model_types = MM_LIST("gpt_oss"),
	.archs = MM_LIST("GptOssForCausalLM"),
	.gguf_archs = MM_LIST("gpt-oss"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, rows),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.proof = "golden",
	.setup = setup,
	.no_quant_check = true,
};
