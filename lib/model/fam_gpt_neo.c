/* fam_gpt_neo.c: GPT-Neo: learned positions, q, k, v without biases, scores not scaled, every second layer local
 * (window_size), tied head. */
#include "model/model_priv.h"

#include <string.h>

static int layer_kind(struct mm_setup *s, size_t l, const json_t *j, struct mm_err *err)
{
	const char *kind = json_string_value(j);
	if (!kind || (strcmp(kind, "global") && strcmp(kind, "local")))
		return mm_fail(err, MM_EUNSUPPORTED, "config.json: attention_types has %s", kind ? kind : "?");
	s->hp->layer[l].window = *kind == 'l' ? s->hp->window : 0;
	return 0;
}

/* attention_layers: the kind of each; else attention_types: [[["global", "local"], 12], ...]: each list repeated so
 * many times; neither: global and local by turns */
static int layer_kinds(struct mm_setup *s, struct mm_err *err)
{
	const json_t *each = mm_cfg_get(s, "attention_layers"), *types = mm_cfg_get(s, "attention_types");
	size_t l = 0, n = s->hp->n_layer;
	for (; json_array_size(each) >= n && l < n; l++)
		if (layer_kind(s, l, json_array_get(each, l), err))
			return -1;
	for (; !types && l < n; l++)
		s->hp->layer[l].window = l % 2 ? s->hp->window : 0;
	for (size_t i = 0; i < json_array_size(types); i++) {
		const json_t *list = json_array_get(json_array_get(types, i), 0);
		json_int_t times = json_integer_value(json_array_get(json_array_get(types, i), 1));
		for (json_int_t k = 0; k < times && l < n; k++)
			for (size_t j = 0; j < json_array_size(list) && l < n; j++, l++)
				if (layer_kind(s, l, json_array_get(list, j), err))
					return -1;
	}
	return l == n ? 0 : mm_fail(err, MM_EFORMAT, "config.json: attention_types describes %zu of %zu layers", l, n);
}

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", "vocab_size", 50257),
	MM_SIZE(n_embd, "hidden_size", NULL, 2048),
	MM_SIZE(n_layer, "num_layers|num_hidden_layers", NULL, 24),
	MM_SIZE(n_head, "num_heads|num_attention_heads", NULL, 16),
	MM_SIZE0(n_head_kv, NULL, NULL, 0),
	MM_SIZE0(d_head, NULL, NULL, 0),
	MM_SIZE0(n_ff, "intermediate_size", NULL, 0),
	MM_SIZE(window, "window_size", NULL, 256),
	MM_NUM(norm_eps, "layer_norm_epsilon", NULL, 1e-5),
	MM_ACT(act, "activation_function", NULL, "gelu_new"),
	MM_SET(rot_frac, 0),
	MM_SET(attn_scale, 1),
	MM_SETB(bias_o, 1),
	MM_SETB(bias_ffn, 1),
	MM_SETB(bias_norm, 1),
	MM_SETB(gated, 0),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
};

static int setup(struct mm_setup *s, struct mm_err *err)
{
	if (!s->hp->n_ff)
		s->hp->n_ff = 4 * s->hp->n_embd;
	s->hp->norm = MM_NORM_LAYER;
	s->hp->n_pos = s->hp->n_ctx;
	return mm_setup_layers(s, err) || layer_kinds(s, err) ? -1 : 0;
}

#define H(s) "h.#." s
#define B(s) "blk.#." s
static const struct mm_w_row w[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "wte.weight", "token_embd.weight" },
	{ MM_W_POS, 0, { MM_D_POS, MM_D_EMBD }, 0, 0, "wpe.weight", "position_embd.weight" },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "ln_f.weight", "output_norm.weight" },
	{ MM_W_NORM_B, 0, { MM_D_EMBD }, 0, 0, "ln_f.bias", "output_norm.bias" },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^lm_head.weight", "output.weight" },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, H("ln_1.weight"), B("attn_norm.weight") },
	{ MM_W_N1_B, 0, { MM_D_EMBD }, 0, 0, H("ln_1.bias"), B("attn_norm.bias") },
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, H("ln_2.weight"), B("ffn_norm.weight") },
	{ MM_W_N2_B, 0, { MM_D_EMBD }, 0, 0, H("ln_2.bias"), B("ffn_norm.bias") },
	{ MM_W_Q, 0, { MM_D_Q, MM_D_EMBD }, 0, 0, H("attn.attention.q_proj.weight"), NULL },
	{ MM_W_K, 0, { MM_D_K, MM_D_EMBD }, 0, 0, H("attn.attention.k_proj.weight"), NULL },
	{ MM_W_V, 0, { MM_D_V, MM_D_EMBD }, 0, 0, H("attn.attention.v_proj.weight"), NULL },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, 0, H("attn.attention.out_proj.weight"), NULL },
	{ MM_W_O_B, 0, { MM_D_EMBD }, 0, 0, H("attn.attention.out_proj.bias"), NULL },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, H("mlp.c_fc.weight"), B("ffn_up.weight") },
	{ MM_W_UP_B, 0, { MM_D_FF }, 0, 0, H("mlp.c_fc.bias"), B("ffn_up.bias") },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, H("mlp.c_proj.weight"), B("ffn_down.weight") },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, 0, 0, H("mlp.c_proj.bias"), B("ffn_down.bias") },
};

const struct mm_family mm_fam_gpt_neo = {
	.name = "gpt_neo",
	.model_types = MM_LIST("gpt_neo"),
	.archs = MM_LIST("GPTNeoForCausalLM"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, w),
	.setup = setup,
	.proof = "golden",
};
