/* fam_hunyuan_v1_dense.c: Hunyuan dense (0.5B to 7B): llama with RMS norm of q and k per head after the rotation;
 * "dynamic" rope scaling with alpha raises the base by alpha^(d / (d - 2)); sequences longer than the context get the
 * usual dynamic scaling of the plain base instead, alpha forgotten, as in the reference.
 *
 * Looked up: the reference's class (query_layernorm, key_layernorm). */
#include "model/model_priv.h"

#include <math.h>
#include <string.h>

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 290943),
	MM_SIZE(n_embd, "hidden_size", "embedding_length", 4096),
	MM_SIZE(n_ff, "intermediate_size", "feed_forward_length", 11008),
	MM_SIZE(n_layer, "num_hidden_layers", "block_count", 32),
	MM_SIZE(n_head, "num_attention_heads", "attention.head_count", 32),
	MM_SIZE(n_ctx, "max_position_embeddings", "context_length", 2048),
	MM_NUM(norm_eps, "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-5),
	MM_NUM0(xf[0], "rope_parameters.alpha|rope_scaling.alpha", NULL, 0),
	MM_SETB(qk_norm, 1),
	MM_SETB(qk_norm_late, 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_BOOL(bias_o, "attention_bias", NULL, 0),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	const json_t *scaling = s->gguf ? NULL : mm_cfg_get(s, "rope_parameters|rope_scaling");
	const char *type = json_string_value(json_object_get(scaling, "type"));
	if (!type)
		type = json_string_value(json_object_get(scaling, "rope_type"));
	if (!type || strcmp(type, "dynamic") || h->xf[0] <= 0)
		return 0;
	if (mm_setup_rope(s, 0, NULL, h->rope_theta, err))
		return -1;
	struct mm_rope *r = &h->rope[0];
	double d = (double)r->d_rot;
	r->theta_within = d > 2 ? r->theta * pow(h->xf[0], d / (d - 2)) : r->theta;
	return 0;
}

#define L(s) "layers.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_QN, 0, { MM_D_HEAD }, 0, 0, L("self_attn.query_layernorm.weight"), B("attn_q_norm.weight") },
	{ MM_W_KN, 0, { MM_D_HEAD }, 0, 0, L("self_attn.key_layernorm.weight"), B("attn_k_norm.weight") },
};

const struct mm_family mm_fam_hunyuan_v1_dense = {
	.name = "hunyuan_v1_dense",
	.model_types = MM_LIST("hunyuan_v1_dense"),
	.archs = MM_LIST("HunYuanDenseV1ForCausalLM"),
	.gguf_archs = MM_LIST("hunyuan-dense"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.setup = setup,
	.proof = "golden",
};
