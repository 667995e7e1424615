/* fam_recurrent_gemma.c: RecurrentGemma (model_type recurrent_gemma; Griffin): recurrent blocks with an RG-LRU between
 * layers of attention, each followed by a gated MLP with biases.
 *
 *   recurrent block:  g = act(linear_y(y)),  u = conv(linear_x(y))               conv has a bias and no activation
 *       i = sigmoid(u W_i + b_i),  r = sigmoid(u W_r + b_r)                      block-diagonal: one matrix a head
 *       log a = -8 r softplus(param);  h = a h + sqrt(1 - a^2) i u               at position 0: h = i u
 *       out = linear_out(h * g)
 *
 * Embeddings are multiplied by sqrt(hidden_size) rounded to bf16. intermediate_size counts gate and up together. Logits
 * are always capped. attention_window_size: the reference's forward pass without a cache masks causally only, and so do
 * we; with sequences up to the window (2048) there is no difference. No GGUF. Golden-checked. */
#include "model/ssm_priv.h"

#include <math.h>
#include <string.h>

enum { S_LRU, S_TAPS, S_BLOCK };
enum { D_LRU = MM_D_X0, D_TAPS, D_BLOCK };
enum { W_X = MM_W_X0, W_X_B, W_Y, W_Y_B, W_OUT, W_OUT_B, W_CONV, W_CONV_B, W_PARAM, W_GI, W_GI_B, W_GR, W_GR_B };

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_layer, "num_hidden_layers", NULL, 26),
	MM_SIZE(n_vocab, "vocab_size", NULL, 256000),
	MM_SIZE(n_embd, "hidden_size", NULL, 2560),
	MM_SIZE(n_ff, "intermediate_size", NULL, 7680),
	MM_SIZE(n_head, "num_attention_heads", NULL, 10),
	MM_NUM(rot_frac, "rope_parameters.partial_rotary_factor|partial_rotary_factor", NULL, 0.5),
	MM_NUM(softcap_logit, "logits_soft_cap", NULL, 30),
	MM_ACT(act, "hidden_activation", NULL, "gelu_pytorch_tanh"),
	MM_BOOL(tie, "tie_word_embeddings", NULL, 1),
	MM_BOOL(bias_qkv, "attention_bias", NULL, 0),
	MM_SETB(bias_o, 1),
	MM_SETB(bias_ffn, 1),
	MM_SETB(norm_plus1, 1),
	MM_SIZE0(xs[S_LRU], "lru_width", NULL, 0),
	MM_SIZE(xs[S_TAPS], "conv1d_width", NULL, 4),
};

#define T(s) "layers.#.temporal_block." s
#define M(s) "layers.#.mlp_block." s
static const struct mm_w_row rows[] = {
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "final_norm.weight", NULL },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, "layers.#.temporal_pre_norm.weight", NULL },
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, "layers.#.channel_pre_norm.weight", NULL },
	{ MM_W_Q, 0, { MM_D_Q, MM_D_EMBD }, 0, MM_L_ATTN, T("q_proj.weight"), NULL },
	{ MM_W_K, 0, { MM_D_K, MM_D_EMBD }, 0, MM_L_ATTN, T("k_proj.weight"), NULL },
	{ MM_W_V, 0, { MM_D_V, MM_D_EMBD }, 0, MM_L_ATTN, T("v_proj.weight"), NULL },
	{ MM_W_O, 0, { MM_D_EMBD, MM_D_O }, 0, MM_L_ATTN, T("o_proj.weight"), NULL },
	{ MM_W_Q_B, 0, { MM_D_Q }, MM_IF(bias_qkv), MM_L_ATTN, T("q_proj.bias"), NULL },
	{ MM_W_K_B, 0, { MM_D_K }, MM_IF(bias_qkv), MM_L_ATTN, T("k_proj.bias"), NULL },
	{ MM_W_V_B, 0, { MM_D_V }, MM_IF(bias_qkv), MM_L_ATTN, T("v_proj.bias"), NULL },
	{ MM_W_O_B, 0, { MM_D_EMBD }, 0, MM_L_ATTN, T("o_proj.bias"), NULL },
	{ MM_W_GATE, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, M("gate_proj.weight"), NULL },
	{ MM_W_UP, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, M("up_proj.weight"), NULL },
	{ MM_W_DOWN, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, M("down_proj.weight"), NULL },
	{ MM_W_GATE_B, 0, { MM_D_FF }, 0, 0, M("gate_proj.bias"), NULL },
	{ MM_W_UP_B, 0, { MM_D_FF }, 0, 0, M("up_proj.bias"), NULL },
	{ MM_W_DOWN_B, 0, { MM_D_EMBD }, 0, 0, M("down_proj.bias"), NULL },
	{ W_X, 0, { D_LRU, MM_D_EMBD }, 0, MM_L_OWN, T("linear_x.weight"), NULL },
	{ W_X_B, 0, { D_LRU }, 0, MM_L_OWN, T("linear_x.bias"), NULL },
	{ W_Y, 0, { D_LRU, MM_D_EMBD }, 0, MM_L_OWN, T("linear_y.weight"), NULL },
	{ W_Y_B, 0, { D_LRU }, 0, MM_L_OWN, T("linear_y.bias"), NULL },
	{ W_OUT, 0, { MM_D_EMBD, D_LRU }, 0, MM_L_OWN, T("linear_out.weight"), NULL },
	{ W_OUT_B, 0, { MM_D_EMBD }, 0, MM_L_OWN, T("linear_out.bias"), NULL },
	{ W_CONV, 0, { D_LRU, D_TAPS }, 0, MM_L_OWN, T("conv_1d.weight"), NULL },
	{ W_CONV_B, 0, { D_LRU }, 0, MM_L_OWN, T("conv_1d.bias"), NULL },
	{ W_PARAM, 0, { D_LRU }, 0, MM_L_OWN, T("rg_lru.recurrent_param"), NULL },
	{ W_GI, 0, { MM_D_HEADS, D_BLOCK, D_BLOCK }, 0, MM_L_OWN, T("rg_lru.input_gate_weight"), NULL },
	{ W_GI_B, 0, { MM_D_HEADS, D_BLOCK }, 0, MM_L_OWN, T("rg_lru.input_gate_bias"), NULL },
	{ W_GR, 0, { MM_D_HEADS, D_BLOCK, D_BLOCK }, 0, MM_L_OWN, T("rg_lru.recurrent_gate_weight"), NULL },
	{ W_GR_B, 0, { MM_D_HEADS, D_BLOCK }, 0, MM_L_OWN, T("rg_lru.recurrent_gate_bias"), NULL },
};

static int block_types(struct mm_setup *s, struct mm_err *err)
{
	static const char *const usual[] = { "recurrent", "recurrent", "attention" };
	const json_t *types = mm_cfg_get(s, "block_types");
	size_t n = types ? json_array_size(types) : MM_COUNT(usual);
	if (n == 0)
		return mm_fail(err, MM_EFORMAT, "config.json: block_types is not a list of names");
	for (size_t l = 0; l < s->hp->n_layer; l++) {
		const char *t = types ? json_string_value(json_array_get(types, l % n)) : usual[l % n];
		if (!t || (strcmp(t, "recurrent") && strcmp(t, "attention")))
			return mm_fail(err, MM_EUNSUPPORTED,
				"config.json: block_types[%zu] = \"%.40s\" is not supported", l % n, t ? t : "?");
		s->hp->layer[l].mask = (t[0] == 'a' ? MM_L_ATTN : MM_L_OWN) | MM_L_DENSE;
	}
	return 0;
}

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	size_t *x = h->xs;
	if (mm_setup_layers(s, err) || block_types(s, err))
		return -1;
	h->n_ff /= 2;
	h->mult_embd = (double)mm_bf16_to_f32(mm_f32_to_bf16((float)sqrt((double)h->n_embd)));
	if (!x[S_LRU])
		x[S_LRU] = h->n_embd;
	if (h->n_head < 1 || x[S_LRU] > (size_t)1 << 20 || x[S_LRU] % h->n_head || x[S_TAPS] < 1 || x[S_TAPS] > 1024)
		return mm_fail(err, MM_EFORMAT, "config.json: lru_width %zu with %zu heads and conv1d_width %zu",
			x[S_LRU], h->n_head, x[S_TAPS]);
	if (h->n_head > h->n_embd || h->n_head_kv > h->n_head || (h->n_head_kv && h->n_head % h->n_head_kv))
		return mm_fail(err, MM_EFORMAT, "config.json: %zu heads and %zu key-value heads for a width of %zu",
			h->n_head, h->n_head_kv, h->n_embd);
	if (!(h->softcap_logit > 0))
		return mm_fail(err, MM_EFORMAT, "config.json: logits_soft_cap is not above 0");
	x[S_BLOCK] = x[S_LRU] / h->n_head;
	h->own_row = 5 * x[S_LRU];
	h->dim[D_LRU] = x[S_LRU];
	h->dim[D_TAPS] = x[S_TAPS];
	h->dim[D_BLOCK] = x[S_BLOCK];
	return 0;
}

struct lru {
	struct mm_lin *x, *y, *out;
	float *conv, *conv_b;
	float *decay;	  /* [lru]: -8 softplus(param) */
	float *gi, *gi_b; /* [heads, block, block] (in, out); [lru] */
	float *gr, *gr_b;
};

static void own_free(struct mm_layer *layer)
{
	struct lru *o = layer->own;
	if (!o)
		return;
	mm_lin_free(o->x);
	mm_lin_free(o->y);
	mm_lin_free(o->out);
	float *all[] = { o->conv, o->conv_b, o->decay, o->gi, o->gi_b, o->gr, o->gr_b };
	for (size_t i = 0; i < MM_COUNT(all); i++)
		mm_free(all[i]);
	mm_free(o);
	layer->own = NULL;
}

static struct mm_lin *lin(const struct mm_model *m, size_t l, int w, int b, struct mm_err *err)
{
	const struct mm_lin_part part = { (enum mm_slot)w, (enum mm_slot)b, 0, 0, 1, 1 };
	return mm_lin_parts(m, l, &part, 1, mm_lin_type(m), err);
}

static int own_load(const struct mm_model *m, size_t l, struct mm_layer *layer, struct mm_err *err)
{
	if (!(m->hp.layer[l].mask & MM_L_OWN))
		return 0;
	struct lru *o = layer->own = mm_calloc(1, sizeof(*o), err);
	if (!o || !(o->x = lin(m, l, W_X, W_X_B, err)) || !(o->y = lin(m, l, W_Y, W_Y_B, err)) ||
		!(o->out = lin(m, l, W_OUT, W_OUT_B, err)) ||
		mm_conv_load(m, l, (enum mm_slot)W_CONV, m->hp.xs[S_LRU], m->hp.xs[S_TAPS], &o->conv, err) ||
		mm_w_vec(m, l, (enum mm_slot)W_CONV_B, &o->conv_b, err) ||
		mm_w_vec(m, l, (enum mm_slot)W_PARAM, &o->decay, err) ||
		mm_w_all(m, l, (enum mm_slot)W_GI, &o->gi, err) ||
		mm_w_all(m, l, (enum mm_slot)W_GI_B, &o->gi_b, err) ||
		mm_w_all(m, l, (enum mm_slot)W_GR, &o->gr, err) || mm_w_all(m, l, (enum mm_slot)W_GR_B, &o->gr_b, err))
		return -1;
	mm_softplus_row(o->decay, m->hp.xs[S_LRU]);
	for (size_t i = 0; i < m->hp.xs[S_LRU]; i++)
		o->decay[i] *= -8.0f;
	layer->n_byte += mm_lin_bytes(o->x) + mm_lin_bytes(o->y) + mm_lin_bytes(o->out) +
			 2 * m->hp.xs[S_LRU] * m->hp.xs[S_BLOCK] * sizeof(float);
	return 0;
}

struct bufs {
	float *x, *u, *y, *i, *a; /* [n_row, lru] each: linear_x; after conv; gate; input gate; decay */
};

/* u W + b of one head for all rows of a sequence, then sigmoid. */
static void gate(const float *u, const float *w, const float *b, float *out, size_t n, size_t d, size_t ld)
{
	mm_product(n, d, d, u, ld, 1, w, d, 0.0f, out, ld);
	for (size_t t = 0; t < n; t++) {
		for (size_t j = 0; j < d; j++)
			out[t * ld + j] += b[j];
		mm_act_row(MM_ACT_SIGMOID, out + t * ld, d);
	}
}

/* One head of one sequence: gates, decays, recurrence (left in u), output gate. */
static void lru_task(const struct mm_pass *p, const struct lru *o, const struct bufs *b, size_t s, size_t h)
{
	size_t ld = p->hp->xs[S_LRU], d = p->hp->xs[S_BLOCK], r0 = p->b->start[s], n = p->b->start[s + 1] - r0;
	size_t at = r0 * ld + h * d;
	float *u = b->u + at, *in = b->i + at, *a = b->a + at, *y = b->y + at,
	      *sq = b->x + at; /* x is free after the convolution */
	gate(u, o->gi + h * d * d, o->gi_b + h * d, in, n, d, ld);
	gate(u, o->gr + h * d * d, o->gr_b + h * d, a, n, d, ld);
	for (size_t t = 0; t < n; t++, u += ld, in += ld, a += ld, sq += ld) {
		for (size_t j = 0; j < d; j++) {
			a[j] *= o->decay[h * d + j];
			sq[j] = 2.0f * a[j];
		}
		mm_exp_row(a, d);
		mm_exp_row(sq, d);
		for (size_t j = 0; j < d; j++)
			u[j] *= in[j] * (t ? sqrtf(1.0f - sq[j]) : 1.0f);
	}
	u = b->u + at;
	mm_scan_linear(b->a + at, ld, u, ld, u, ld, n, d);
	for (size_t t = 0; t < n; t++)
		mm_act_gate(p->hp->act, y + t * ld, u + t * ld, u + t * ld, d);
}

static int mixer(struct mm_pass *p, const struct mm_layer *layer, const float *y, float *out, struct mm_err *err)
{
	const struct lru *o = layer->own;
	size_t n_row = p->b->n_row, w = p->hp->xs[S_LRU], n_head = p->hp->n_head, n = n_row * w;
	float *at = mm_pass_mix(p, 5 * n + MM_PART_SLACK, err);
	if (!at)
		return -1;
	struct bufs b = { .x = mm_part(&at, n),
		.u = mm_part(&at, n),
		.y = mm_part(&at, n),
		.i = mm_part(&at, n),
		.a = mm_part(&at, n) };
	mm_lin_rows(o->x, n_row, y, b.x);
	mm_lin_rows(o->y, n_row, y, b.y);
	mm_conv_rows(p, b.x, w, o->conv, o->conv_b, p->hp->xs[S_TAPS], w, MM_ACT_NONE, b.u, w);
	size_t n_task = p->b->n_seq * n_head;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)p->n_thread)
	for (size_t i = 0; i < n_task; i++)
		lru_task(p, o, &b, i / n_head, i % n_head);
	mm_lin_rows(o->out, n_row, b.u, out);
	return 0;
}

const struct mm_family mm_fam_recurrent_gemma = {
	.name = "recurrent_gemma",
	.model_types = MM_LIST("recurrent_gemma"),
	.archs = MM_LIST("RecurrentGemmaForCausalLM"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, rows),
	.w2 = mm_w_llama,
	.n_w2 = MM_W_LLAMA_COUNT,
	.proof = "golden",
	.setup = setup,
	.own_load = own_load,
	.own_free = own_free,
	.mixer = mixer,
	.recurrent = true,
};
