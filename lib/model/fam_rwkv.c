/* fam_rwkv.c: RWKV-4 in Hugging Face's format (model_type rwkv). Golden-checked.
 *
 *   layer 0:  x = pre_ln(x)
 *   y = ln1(x), y' = y of the token before (zero before the first)
 *   k, v, r = key(mix_k(y, y')), value(mix_v), receptance(mix_r)       mix_m(y, y') = m y + (1 - m) y'
 *   x += output(sigmoid(r) * wkv(k, v))                                 wkv: mm_scan_wkv, log-space
 *   y = ln2(x):  x += sigmoid(receptance(mix_r)) * value(relu(key(mix_k))^2)
 *
 * rescale_every halves the residual stream after every so many layers and the weights that feed it, for the sake of
 * f16; only the eps of the norms can see that. Here norms inside take eps 4^k times as large where the stream is halved
 * k times, which is the same, and the final norm gets the stream divided. Its eps is 1e-5 whatever layer_norm_epsilon
 * says. No GGUF. */
#include "model/ssm_priv.h"

#include <math.h>
#include <string.h>

enum { S_ATT, S_RESCALE };
enum { F_EPS };
enum { D_ATT = MM_D_X0 };
enum {
	W_K = MM_W_X0,
	W_V,
	W_R,
	W_OUT,
	W_DECAY,
	W_FIRST,
	W_MIX_K,
	W_MIX_V,
	W_MIX_R,
	W_FK,
	W_FR,
	W_FV,
	W_FMIX_K,
	W_FMIX_R,
	W_PRE,
	W_PRE_B,
};

static const struct mm_hp_row hp[] = {
	MM_SIZE(n_vocab, "vocab_size", NULL, 50277),
	MM_SIZE(n_embd, "hidden_size", NULL, 4096),
	MM_SIZE0(n_ff, "intermediate_size", NULL, 0),
	MM_SIZE(n_head, NULL, NULL, 0),
	MM_SIZE(n_head_kv, NULL, NULL, 0),
	MM_SIZE(d_head, NULL, NULL, 0),
	MM_SIZE(d_head_v, NULL, NULL, 0),
	MM_SIZE(d_rot, NULL, NULL, 0),
	MM_SET(rot_frac, 0),
	MM_SIZE0(xs[S_ATT], "attention_hidden_size", NULL, 0),
	MM_SIZE0(xs[S_RESCALE], "rescale_every", NULL, 6),
	MM_NUM(xf[F_EPS], "layer_norm_epsilon", NULL, 1e-5),
	MM_SETB(bias_norm, 1),
	MM_SETB(gated, 0),
};

#define A(s) "blocks.#.attention." s
#define F(s) "blocks.#.feed_forward." s
static const struct mm_w_row rows[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "embeddings.weight", NULL },
	{ MM_W_NORM, 0, { MM_D_EMBD }, 0, 0, "ln_out.weight", NULL },
	{ MM_W_NORM_B, 0, { MM_D_EMBD }, 0, 0, "ln_out.bias", NULL },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, MM_D_EMBD }, 0, 0, "^head.weight", NULL },
	{ W_PRE, 0, { MM_D_EMBD }, 0, MM_L_X0, "blocks.#.pre_ln.weight", NULL },
	{ W_PRE_B, 0, { MM_D_EMBD }, 0, MM_L_X0, "blocks.#.pre_ln.bias", NULL },
	{ MM_W_N1, 0, { MM_D_EMBD }, 0, 0, "blocks.#.ln1.weight", NULL },
	{ MM_W_N1_B, 0, { MM_D_EMBD }, 0, 0, "blocks.#.ln1.bias", NULL },
	{ MM_W_N2, 0, { MM_D_EMBD }, 0, 0, "blocks.#.ln2.weight", NULL },
	{ MM_W_N2_B, 0, { MM_D_EMBD }, 0, 0, "blocks.#.ln2.bias", NULL },
	{ W_K, 0, { D_ATT, MM_D_EMBD }, 0, 0, A("key.weight"), NULL },
	{ W_V, 0, { D_ATT, MM_D_EMBD }, 0, 0, A("value.weight"), NULL },
	{ W_R, 0, { D_ATT, MM_D_EMBD }, 0, 0, A("receptance.weight"), NULL },
	{ W_OUT, 0, { MM_D_EMBD, D_ATT }, 0, 0, A("output.weight"), NULL },
	{ W_DECAY, 0, { D_ATT }, 0, 0, A("time_decay"), NULL },
	{ W_FIRST, 0, { D_ATT }, 0, 0, A("time_first"), NULL },
	{ W_MIX_K, 0, { MM_D_EMBD }, 0, 0, A("time_mix_key"), NULL },
	{ W_MIX_V, 0, { MM_D_EMBD }, 0, 0, A("time_mix_value"), NULL },
	{ W_MIX_R, 0, { MM_D_EMBD }, 0, 0, A("time_mix_receptance"), NULL },
	{ W_FK, 0, { MM_D_FF, MM_D_EMBD }, 0, 0, F("key.weight"), NULL },
	{ W_FR, 0, { MM_D_EMBD, MM_D_EMBD }, 0, 0, F("receptance.weight"), NULL },
	{ W_FV, 0, { MM_D_EMBD, MM_D_FF }, 0, 0, F("value.weight"), NULL },
	{ W_FMIX_K, 0, { MM_D_EMBD }, 0, 0, F("time_mix_key"), NULL },
	{ W_FMIX_R, 0, { MM_D_EMBD }, 0, 0, F("time_mix_receptance"), NULL },
};

static const struct mm_prefix prefixes[] = { { "rwkv.", "" }, { "", "" }, { NULL, NULL } };

/* eps times 4^(halvings before layer l) */
static double eps_at(const struct mm_hp *h, double eps, size_t l)
{
	return h->xs[S_RESCALE] ? ldexp(eps, (int)(2 * (l / h->xs[S_RESCALE]))) : eps;
}

static int setup(struct mm_setup *s, struct mm_err *err)
{
	struct mm_hp *h = s->hp;
	h->norm = MM_NORM_LAYER;
	if (!h->n_ff)
		h->n_ff = 4 * h->n_embd;
	if (!h->xs[S_ATT])
		h->xs[S_ATT] = h->n_embd;
	if (h->xs[S_ATT] > (size_t)1 << 20 || mm_setup_layers(s, err))
		return h->layer ? mm_fail(err, MM_EFORMAT, "config.json: attention_hidden_size is %zu", h->xs[S_ATT])
				: -1;
	for (size_t l = 0; l < h->n_layer; l++)
		h->layer[l].mask = MM_L_OWN | (l == 0 ? MM_L_X0 : 0);
	h->norm_eps = 1e-5;
	h->own_row = 2 * h->xs[S_ATT] + MM_MAX(h->xs[S_ATT], h->n_ff);
	h->dim[D_ATT] = h->xs[S_ATT];
	return 0;
}

enum { K, V, R, OUT, FK, FR, FV, N_LIN };
enum { DECAY, FIRST, MIX_K, MIX_V, MIX_R, FMIX_K, FMIX_R, N_VEC };
struct rwkv {
	struct mm_lin *lin[N_LIN];
	float *vec[N_VEC]; /* DECAY: -exp(time_decay) */
	struct mm_norm pre;
};

static void own_free(struct mm_layer *layer)
{
	struct rwkv *o = layer->own;
	for (size_t i = 0; o && i < N_LIN; i++)
		mm_lin_free(o->lin[i]);
	for (size_t i = 0; o && i < N_VEC; i++)
		mm_free(o->vec[i]);
	if (o) {
		mm_free(o->pre.w);
		mm_free(o->pre.b);
	}
	mm_free(o);
	layer->own = NULL;
}

static int own_load(const struct mm_model *m, size_t l, struct mm_layer *layer, struct mm_err *err)
{
	static const int lin[N_LIN] = { W_K, W_V, W_R, W_OUT, W_FK, W_FR, W_FV };
	static const int vec[N_VEC] = { W_DECAY, W_FIRST, W_MIX_K, W_MIX_V, W_MIX_R, W_FMIX_K, W_FMIX_R };
	const struct mm_hp *h = &m->hp;
	struct rwkv *o = layer->own = mm_calloc(1, sizeof(*o), err);
	if (!o)
		return -1;
	for (size_t i = 0; i < N_LIN; i++) {
		const struct mm_lin_part part = { (enum mm_slot)lin[i], MM_W_COUNT, 0, 0, 1, 1 };
		if (!(o->lin[i] = mm_lin_parts(m, l, &part, 1, mm_lin_type(m), err)))
			return -1;
		layer->n_byte += mm_lin_bytes(o->lin[i]);
	}
	for (size_t i = 0; i < N_VEC; i++)
		if (mm_w_vec(m, l, (enum mm_slot)vec[i], &o->vec[i], err))
			return -1;
	for (size_t i = 0; i < h->xs[S_ATT]; i++)
		o->vec[DECAY][i] = -expf(o->vec[DECAY][i]);
	if (l == 0) {
		if (mm_norm_load(m, l, (enum mm_slot)W_PRE, (enum mm_slot)W_PRE_B, &o->pre, err))
			return -1;
		o->pre.eps = (float)h->xf[F_EPS];
	}
	layer->n1.eps = layer->n2.eps = (float)eps_at(h, h->xf[F_EPS], l);
	return 0;
}

/* z = mix y + (1 - mix) y', row by row; y' is zero where a sequence starts. */
static void mix_rows(const struct mm_pass *p, const float *y, const float *mix, float *z)
{
	size_t d = p->hp->n_embd;
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < p->b->n_tok; r++) {
		const float *a = y + r * d;
		if (p->b->pos[r] == 0) {
			for (size_t i = 0; i < d; i++)
				z[r * d + i] = a[i] * mix[i];
		} else {
			const float *before = a - d;
			for (size_t i = 0; i < d; i++)
				z[r * d + i] = a[i] * mix[i] + before[i] * (1.0f - mix[i]);
		}
	}
}

static void act_rows(const struct mm_pass *p, enum mm_act act, float *x, size_t d)
{
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < p->b->n_row; r++)
		mm_act_row(act, x + r * d, d);
}

/* k = sigmoid(r) * wkv(k, v) */
static void wkv_rows(const struct mm_pass *p, const struct rwkv *o, float *k, const float *v, float *r)
{
	size_t d = p->hp->xs[S_ATT], n_block = (d + MM_SCAN_BLOCK - 1) / MM_SCAN_BLOCK, n_task = p->b->n_seq * n_block;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)p->n_thread)
	for (size_t i = 0; i < n_task; i++) {
		size_t s = i / n_block, c = i % n_block * MM_SCAN_BLOCK, m = MM_MIN((size_t)MM_SCAN_BLOCK, d - c);
		size_t r0 = p->b->start[s], n = p->b->start[s + 1] - r0, at = r0 * d + c;
		mm_scan_wkv(k + at, v + at, d, o->vec[DECAY] + c, o->vec[FIRST] + c, k + at, d, n, m);
		for (size_t t = 0; t < n; t++)
			mm_act_gate(MM_ACT_SIGMOID, r + at + t * d, k + at + t * d, k + at + t * d, m);
	}
}

static void time_mix(const struct mm_pass *p, const struct mm_layer *layer, float *y, float *z, float *const buf[3])
{
	const struct rwkv *o = layer->own;
	size_t n_row = p->b->n_row, d = p->hp->n_embd;
	mm_norm_rows(&layer->n1, p->x, y, n_row, d);
	for (size_t i = 0; i < 3; i++) {
		mix_rows(p, y, o->vec[MIX_K + i], z);
		mm_lin_rows(o->lin[K + i], n_row, z, buf[i]);
	}
	wkv_rows(p, o, buf[0], buf[1], buf[2]);
	mm_lin_rows(o->lin[OUT], n_row, buf[0], z);
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < n_row; r++)
		mm_axpy_row(1.0f, z + r * d, p->x + r * d, d);
}

static void channel_mix(const struct mm_pass *p, const struct mm_layer *layer, float *y, float *z, float *wide)
{
	const struct rwkv *o = layer->own;
	size_t n_row = p->b->n_row, d = p->hp->n_embd;
	mm_norm_rows(&layer->n2, p->x, y, n_row, d);
	mix_rows(p, y, o->vec[FMIX_K], z);
	mm_lin_rows(o->lin[FK], n_row, z, wide);
	act_rows(p, MM_ACT_RELU2, wide, p->hp->n_ff);
	mix_rows(p, y, o->vec[FMIX_R], z);
	mm_lin_rows(o->lin[FR], n_row, z, y);
	mm_lin_rows(o->lin[FV], n_row, wide, z);
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < p->b->n_tok; r++) {
		mm_act_gate(MM_ACT_SIGMOID, y + r * d, z + r * d, z + r * d, d);
		mm_axpy_row(1.0f, z + r * d, p->x + r * d, d);
	}
}

/* The stream as the final norm of the reference sees it. */
static void halve(const struct mm_pass *p, int times)
{
	float f = ldexpf(1.0f, -times);
#pragma omp parallel for schedule(static) num_threads((int)p->n_thread)
	for (size_t r = 0; r < p->b->n_tok; r++)
		for (size_t i = 0; i < p->hp->n_embd; i++)
			p->x[r * p->hp->n_embd + i] *= f;
}

static int layer_run(struct mm_pass *p, const struct mm_layer *layer, struct mm_err *err)
{
	const struct rwkv *o = layer->own;
	size_t n_row = p->b->n_row, d = p->hp->n_embd, att = p->hp->xs[S_ATT], wide = MM_MAX(att, p->hp->n_ff);
	float *at = mm_pass_mix(p, n_row * (wide + 2 * att) + MM_PART_SLACK, err);
	if (!at)
		return -1;
	float *const buf[3] = { mm_part(&at, n_row * wide), mm_part(&at, n_row * att), mm_part(&at, n_row * att) };
	if (layer->index == 0)
		mm_norm_rows(&o->pre, p->x, p->x, n_row, d);
	time_mix(p, layer, p->y, p->z, buf);
	channel_mix(p, layer, p->y, p->z, buf[0]);
	if (layer->index + 1 == p->hp->n_layer && p->hp->xs[S_RESCALE])
		halve(p, (int)(p->hp->n_layer / p->hp->xs[S_RESCALE]));
	return 0;
}

const struct mm_family mm_fam_rwkv = {
	.name = "rwkv",
	.model_types = MM_LIST("rwkv"),
	.archs = MM_LIST("RwkvForCausalLM"),
	MM_ROWS(hp, hp),
	MM_ROWS(w, rows),
	.prefixes = prefixes,
	.proof = "golden",
	.setup = setup,
	.own_load = own_load,
	.own_free = own_free,
	.layer_run = layer_run,
	.recurrent = true,
};
