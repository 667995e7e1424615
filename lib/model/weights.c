/* weights.c: finding a family's tensors in a checkpoint and checking their shapes; no data is touched here.
 *
 * Names in files differ by prefix (model., transformer., none, language_model.model. in multimodal checkpoints): the
 * first prefix under which the embedding table is found holds for all. Tensors that no row asks for
 * (rotary_emb.inv_freq, attn.bias masks, vision towers) are not looked at. A missing tensor and a wrong shape are named
 * with what was expected. */
#include "model/ckpt_priv.h"
#include "model/model_priv.h"

#include <string.h>

const struct mm_prefix mm_prefixes_default[] = {
	{ "model.", "" },
	{ "", "" },
	{ "transformer.", "" },
	{ "language_model.model.", "language_model." },
	{ "model.language_model.", "" },
	{ "model.language_model.model.", "model.language_model." },
	{ "model.model.", "model." },
	{ NULL, NULL },
};

#define EMB  MM_D_EMBD
#define L(s) "layers.#." s
#define B(s) "blk.#." s
const struct mm_w_row mm_w_llama[] = {
	{ MM_W_EMBD, 0, { MM_D_VOCAB, MM_D_EMBD_IN }, 0, 0, "embed_tokens.weight", "token_embd.weight" },
	{ MM_W_NORM, 0, { EMB }, MM_IF(w_norm), 0, "norm.weight", "output_norm.weight" },
	{ MM_W_NORM_B, 0, { EMB }, MM_IF(w_norm_b), 0, "norm.bias", "output_norm.bias" },
	{ MM_W_HEAD, MM_W_TIED, { MM_D_VOCAB, EMB }, 0, 0, "^lm_head.weight", "output.weight" },
	{ MM_W_HEAD_B, 0, { MM_D_VOCAB }, MM_IF(bias_head), 0, "^lm_head.bias", "output.bias" },
	{ MM_W_ROPE_FREQS, MM_W_OPT, { MM_D_NONE }, 0, 0, NULL, "rope_freqs.weight" },
	{ MM_W_ROPE_LONG, MM_W_OPT, { MM_D_NONE }, 0, 0, NULL, "rope_factors_long.weight" },
	{ MM_W_ROPE_SHORT, MM_W_OPT, { MM_D_NONE }, 0, 0, NULL, "rope_factors_short.weight" },
	{ MM_W_N1, 0, { EMB }, MM_IF(w_n1), 0, L("input_layernorm.weight"), B("attn_norm.weight") },
	{ MM_W_N1_B, 0, { EMB }, MM_IF(w_n1_b), 0, L("input_layernorm.bias"), B("attn_norm.bias") },
	{ MM_W_N2, 0, { EMB }, MM_IF(w_n2), 0, L("post_attention_layernorm.weight"), B("ffn_norm.weight") },
	{ MM_W_N2_B, 0, { EMB }, MM_IF(w_n2_b), 0, L("post_attention_layernorm.bias"), B("ffn_norm.bias") },
	{ MM_W_PN1, 0, { EMB }, MM_IF(w_pn), 0, L("post_attention_layernorm.weight"), B("post_attention_norm.weight") },
	{ MM_W_PN2, 0, { EMB }, MM_IF(w_pn), 0, L("post_feedforward_layernorm.weight"), B("post_ffw_norm.weight") },
	{ MM_W_Q, 0, { MM_D_Q, EMB }, MM_IF(w_split), MM_L_ATTN, L("self_attn.q_proj.weight"), B("attn_q.weight") },
	{ MM_W_K, 0, { MM_D_K, EMB }, MM_IF(w_split), MM_L_ATTN, L("self_attn.k_proj.weight"), B("attn_k.weight") },
	{ MM_W_V, 0, { MM_D_V, EMB }, MM_IF(w_split), MM_L_ATTN, L("self_attn.v_proj.weight"), B("attn_v.weight") },
	{ MM_W_QKV, 0, { MM_D_QKV, EMB }, MM_IF(w_fused), MM_L_ATTN, L("self_attn.qkv_proj.weight"),
		B("attn_qkv.weight") },
	{ MM_W_O, 0, { EMB, MM_D_O }, 0, MM_L_ATTN, L("self_attn.o_proj.weight"), B("attn_output.weight") },
	{ MM_W_Q_B, 0, { MM_D_Q }, MM_IF(w_bias_split), MM_L_ATTN, L("self_attn.q_proj.bias"), B("attn_q.bias") },
	{ MM_W_K_B, 0, { MM_D_K }, MM_IF(w_bias_split), MM_L_ATTN, L("self_attn.k_proj.bias"), B("attn_k.bias") },
	{ MM_W_V_B, 0, { MM_D_V }, MM_IF(w_bias_split), MM_L_ATTN, L("self_attn.v_proj.bias"), B("attn_v.bias") },
	{ MM_W_QKV_B, 0, { MM_D_QKV }, MM_IF(w_bias_fused), MM_L_ATTN, L("self_attn.qkv_proj.bias"),
		B("attn_qkv.bias") },
	{ MM_W_O_B, 0, { EMB }, MM_IF(bias_o), MM_L_ATTN, L("self_attn.o_proj.bias"), B("attn_output.bias") },
	{ MM_W_QN, 0, { MM_D_HEAD }, MM_IF(w_qn_head), MM_L_ATTN, L("self_attn.q_norm.weight"),
		B("attn_q_norm.weight") },
	{ MM_W_KN, 0, { MM_D_HEAD }, MM_IF(w_qn_head), MM_L_ATTN, L("self_attn.k_norm.weight"),
		B("attn_k_norm.weight") },
	{ MM_W_QN, 0, { MM_D_Q }, MM_IF(w_qn_full), MM_L_ATTN, L("self_attn.q_norm.weight"), B("attn_q_norm.weight") },
	{ MM_W_KN, 0, { MM_D_K }, MM_IF(w_qn_full), MM_L_ATTN, L("self_attn.k_norm.weight"), B("attn_k_norm.weight") },
	{ MM_W_GATE, 0, { MM_D_FF, EMB }, MM_IF(w_gate), MM_L_DENSE, L("mlp.gate_proj.weight"), B("ffn_gate.weight") },
	{ MM_W_UP, 0, { MM_D_FF, EMB }, MM_UNLESS(gate_up_fused), MM_L_DENSE, L("mlp.up_proj.weight"),
		B("ffn_up.weight") },
	{ MM_W_GATE_UP, 0, { MM_D_FF2, EMB }, MM_IF(gate_up_fused), MM_L_DENSE, L("mlp.gate_up_proj.weight"),
		B("ffn_up.weight") },
	{ MM_W_DOWN, 0, { EMB, MM_D_FF }, 0, MM_L_DENSE, L("mlp.down_proj.weight"), B("ffn_down.weight") },
	{ MM_W_GATE_B, 0, { MM_D_FF }, MM_IF(w_gate_b), MM_L_DENSE, L("mlp.gate_proj.bias"), B("ffn_gate.bias") },
	{ MM_W_UP_B, 0, { MM_D_FF }, MM_IF(bias_ffn), MM_L_DENSE, L("mlp.up_proj.bias"), B("ffn_up.bias") },
	{ MM_W_DOWN_B, 0, { EMB }, MM_IF(bias_ffn), MM_L_DENSE, L("mlp.down_proj.bias"), B("ffn_down.bias") },
	{ MM_W_ROUTER, 0, { MM_D_EXPERTS, EMB }, 0, MM_L_MOE, L("mlp.gate.weight"), B("ffn_gate_inp.weight") },
	{ MM_W_EGATE, 0, { MM_D_FFE, EMB }, 0, MM_L_MOE, L("mlp.experts.@.gate_proj.weight"),
		B("ffn_gate_exps.weight") },
	{ MM_W_EUP, 0, { MM_D_FFE, EMB }, 0, MM_L_MOE, L("mlp.experts.@.up_proj.weight"), B("ffn_up_exps.weight") },
	{ MM_W_EDOWN, 0, { EMB, MM_D_FFE }, 0, MM_L_MOE, L("mlp.experts.@.down_proj.weight"),
		B("ffn_down_exps.weight") },
	{ MM_W_SGATE, 0, { MM_D_FFS, EMB }, MM_IF(flag_shared), MM_L_MOE,
		L("mlp.shared_experts.gate_proj.weight|layers.#.mlp.shared_expert.gate_proj.weight"),
		B("ffn_gate_shexp.weight") },
	{ MM_W_SUP, 0, { MM_D_FFS, EMB }, MM_IF(flag_shared), MM_L_MOE,
		L("mlp.shared_experts.up_proj.weight|layers.#.mlp.shared_expert.up_proj.weight"),
		B("ffn_up_shexp.weight") },
	{ MM_W_SDOWN, 0, { EMB, MM_D_FFS }, MM_IF(flag_shared), MM_L_MOE,
		L("mlp.shared_experts.down_proj.weight|layers.#.mlp.shared_expert.down_proj.weight"),
		B("ffn_down_shexp.weight") },
	{ MM_W_SROUTER, 0, { MM_D_ONE, EMB }, MM_IF(moe_shared_gate), MM_L_MOE, L("mlp.shared_expert_gate.weight"),
		B("ffn_gate_inp_shexp.weight") },
	{ MM_W_ROUTER_SEL, 0, { MM_D_EXPERTS }, MM_IF(moe_bias_select), MM_L_MOE, L("mlp.gate.e_score_correction_bias"),
		B("exp_probs_b.bias") },
	{ MM_W_ROUTER_B, 0, { MM_D_EXPERTS }, MM_IF(bias_router), MM_L_MOE, L("mlp.gate.bias"),
		B("ffn_gate_inp.bias") },
	{ MM_W_SINKS, 0, { MM_D_HEADS }, MM_IF(attn_sinks), MM_L_ATTN, L("self_attn.sinks"), B("attn_sinks.weight") },
	{ MM_W_EMBD_NORM, 0, { EMB }, MM_IF(embd_norm), 0, "embed_norm.weight", "token_embd_norm.weight" },
	{ MM_W_QN_B, 0, { MM_D_HEAD }, MM_IF(w_qn_bias), MM_L_ATTN, L("self_attn.q_norm.bias"), B("attn_q_norm.bias") },
	{ MM_W_KN_B, 0, { MM_D_HEAD }, MM_IF(w_qn_bias), MM_L_ATTN, L("self_attn.k_norm.bias"), B("attn_k_norm.bias") },
};
_Static_assert(MM_COUNT(mm_w_llama) == MM_W_LLAMA_COUNT, "MM_W_LLAMA_COUNT is the table's length");
#undef L
#undef B
#undef EMB

/* ---- names ---- */

struct finder {
	const struct mm_family *fam;
	const struct mm_hp *hp;
	const struct mm_ckpt *ck;
	bool gguf;
	struct mm_bind *b;
};

/* One alternative of a pattern with prefix, layer and expert put in; false when it would be too long. */
static bool name_make(const struct finder *f, const char *pat, size_t n, size_t l, size_t e, char out[256])
{
	size_t len = 0;
	const char *prefix = "";
	char num[24];
	if (!f->gguf)
		prefix = *pat == '^' ? f->b->top : f->b->body;
	if (*pat == '^') {
		pat++;
		n--;
	}
	int k = snprintf(out, 256, "%s", prefix ? prefix : "");
	len = k < 0 ? 256 : (size_t)k;
	for (size_t i = 0; i < n && len < 255; i++) {
		const char *s = num;
		if (pat[i] == '#')
			snprintf(num, sizeof(num), "%zu", l);
		else if (pat[i] == '@')
			snprintf(num, sizeof(num), "%zu", e);
		else
			snprintf(num, sizeof(num), "%c", pat[i]);
		for (; *s && len < 255; s++)
			out[len++] = *s;
	}
	out[MM_MIN(len, 255)] = 0;
	return len < 255;
}

static const struct mm_tensor *find_any(const struct finder *f, const char *pat, size_t l, size_t e)
{
	char name[256];
	for (const char *p = pat; *p;) {
		size_t n = strcspn(p, "|");
		const struct mm_tensor *t = NULL;
		if (name_make(f, p, n, l, e, name) && (t = mm_ckpt_find(f->ck, name)))
			return t;
		p += n + (p[n] == '|');
	}
	return NULL;
}

static const char *pattern(const struct finder *f, const struct mm_w_row *r)
{
	return f->gguf ? r->gguf : r->hf;
}

/* ---- conditions and shapes ---- */

static bool applies(const struct finder *f, const struct mm_w_row *r, size_t l)
{
	if (!pattern(f, r) || (r->flags & MM_W_TIED && f->hp->tie))
		return false;
	if (r->cond) {
		bool v;
		memcpy(&v, (const char *)f->hp + (r->cond & ~MM_COND_NOT) - 1, sizeof(v));
		if (v == ((r->cond & MM_COND_NOT) != 0))
			return false;
	}
	return l == MM_GLOBAL || r->on == 0 || (r->on & f->hp->layer[l].mask) != 0;
}

/* Expected shape without ones; stacked: all experts in one tensor. Returns the number of dimensions, 0 = any. */
static unsigned shape_want(const struct finder *f, const struct mm_w_row *r, bool stacked, uint64_t dim[MM_DIMS_MAX])
{
	unsigned n = 0;
	if (stacked && f->hp->n_expert > 1)
		dim[n++] = f->hp->n_expert;
	unsigned first = n;
	for (unsigned i = 0; i < 3 && r->dim[i] != MM_D_NONE; i++)
		if (f->hp->dim[r->dim[i]] != 1)
			dim[n++] = f->hp->dim[r->dim[i]];
	if (f->gguf && r->flags & MM_W_T && n == first + 2) { /* the converter has undone the transposition */
		uint64_t t = dim[first];
		dim[first] = dim[first + 1];
		dim[first + 1] = t;
	}
	return n;
}

static bool is_stacked(const struct finder *f, const struct mm_w_row *r)
{
	return f->gguf && r->hf && strchr(r->hf, '@') && !strchr(r->gguf, '@');
}

static int shape_check(const struct finder *f, const struct mm_w_row *r, const struct mm_tensor *t, struct mm_err *err)
{
	uint64_t want[MM_DIMS_MAX], have[MM_DIMS_MAX];
	unsigned n = shape_want(f, r, is_stacked(f, r), want), k = 0;
	char a[160], b[160];
	if (r->flags & MM_W_MXFP4)
		return mm_mxfp4_check(f->ck, t, n, want, err);
	if (!mm_dtypes[t->dtype].is_float)
		return mm_fail(err, MM_EUNSUPPORTED, "tensor %s (%s) has type %s, expected floating-point numbers",
			t->name, mm_ckpt_file(f->ck, t->file), mm_dtypes[t->dtype].name);
	if (r->dim[0] == MM_D_NONE)
		return 0;
	for (unsigned i = 0; i < t->n_dim; i++)
		if (t->dim[i] != 1)
			have[k++] = t->dim[i];
	if (k == n && !memcmp(want, have, k * sizeof(have[0])))
		return 0;
	mm_shape_format(t->n_dim, t->dim, a, sizeof(a));
	mm_shape_format(n, want, b, sizeof(b));
	return mm_fail(err, MM_ESHAPE, "tensor %s (%s) has shape %s, expected %s", t->name,
		mm_ckpt_file(f->ck, t->file), a, b);
}

/* ---- binding ---- */

static size_t index_of(enum mm_slot slot, size_t l)
{
	return l == MM_GLOBAL ? slot : MM_W_GLOBAL_END + l * (MM_W_COUNT - MM_W_GLOBAL_END) + (slot - MM_W_GLOBAL_END);
}

static size_t many_count(const struct mm_hp *hp, enum mm_slot slot)
{
	return slot == MM_W_QN || slot == MM_W_QN_B   ? hp->n_head
	       : slot == MM_W_KN || slot == MM_W_KN_B ? hp->n_head_kv
						      : hp->n_expert;
}

static int missing(const struct finder *f, const struct mm_w_row *r, size_t l, size_t e, struct mm_err *err)
{
	char name[256], shape[160];
	uint64_t want[MM_DIMS_MAX];
	const char *pat = pattern(f, r), *path = mm_ckpt_path(f->ck), *base = strrchr(path, '/');
	name_make(f, pat, strcspn(pat, "|"), l, e, name);
	mm_shape_format(shape_want(f, r, is_stacked(f, r), want), want, shape, sizeof(shape));
	return mm_fail(err, MM_ESHAPE, "tensor %s is missing in %s, expected with shape %s", name,
		mm_ckpt_n_file(f->ck) == 1 ? mm_ckpt_file(f->ck, 0)
		: base && base[1]	   ? base + 1
					   : path,
		shape);
}

static int bind_row(struct finder *f, const struct mm_w_row *r, size_t l, struct mm_err *err)
{
	size_t i = index_of(r->slot, l), n = 1;
	const char *pat = pattern(f, r);
	if (f->b->t[i] || !applies(f, r, l))
		return 0;
	if (strchr(pat, '@')) {
		n = many_count(f->hp, r->slot);
		f->b->many[i] = mm_calloc(n + 1, sizeof(**f->b->many), err);
		if (!f->b->many[i])
			return -1;
	}
	for (size_t e = 0; e < n; e++) {
		const struct mm_tensor *t = find_any(f, pat, l, e);
		if (!t && r->flags & MM_W_OPT)
			return 0;
		if (!t)
			return missing(f, r, l, e, err);
		if (shape_check(f, r, t, err))
			return -1;
		if (e == 0)
			f->b->t[i] = t;
		if (f->b->many[i])
			f->b->many[i][e] = t;
	}
	f->b->row[i] = r;
	return 0;
}

static bool in_table(const struct mm_w_row *w, size_t n, uint8_t slot)
{
	for (size_t i = 0; i < n; i++)
		if (w[i].slot == slot)
			return true;
	return false;
}

static int bind_layer(struct finder *f, size_t l, struct mm_err *err)
{
	for (int table = 0; table < 2; table++) {
		const struct mm_w_row *w = table ? f->fam->w2 : f->fam->w;
		size_t n = table ? f->fam->n_w2 : f->fam->n_w;
		for (size_t i = 0; i < n; i++)
			if ((w[i].slot < MM_W_GLOBAL_END) == (l == MM_GLOBAL) &&
				!(table && in_table(f->fam->w, f->fam->n_w, w[i].slot)) && bind_row(f, &w[i], l, err))
				return -1;
	}
	return 0;
}

/* The prefix under which the embedding table is there; the first of the list when it is nowhere (for the message). */
static void prefix_find(struct finder *f)
{
	const struct mm_prefix *list = f->fam->prefixes ? f->fam->prefixes : mm_prefixes_default;
	const struct mm_w_row *e = NULL;
	for (size_t i = 0; i < f->fam->n_w && !e; i++)
		e = f->fam->w[i].slot == MM_W_EMBD ? &f->fam->w[i] : NULL;
	for (size_t i = 0; i < f->fam->n_w2 && !e; i++)
		e = f->fam->w2[i].slot == MM_W_EMBD ? &f->fam->w2[i] : NULL;
	for (const struct mm_prefix *p = list; e && e->hf && p->body; p++) {
		f->b->body = p->body;
		f->b->top = p->top;
		if (find_any(f, e->hf, 0, 0))
			return;
	}
	f->b->body = list[0].body;
	f->b->top = list[0].top;
}

int mm_bind_make(struct mm_bind *b, const struct mm_family *fam, const struct mm_hp *hp, const struct mm_ckpt *ck,
	struct mm_err *err)
{
	struct finder f = { fam, hp, ck, mm_ckpt_container(ck) == MM_CONTAINER_GGUF, b };
	memset(b, 0, sizeof(*b));
	b->n = MM_W_GLOBAL_END + hp->n_layer * (MM_W_COUNT - MM_W_GLOBAL_END);
	b->t = mm_calloc(b->n, sizeof(*b->t), err);
	b->many = b->t ? mm_calloc(b->n, sizeof(*b->many), err) : NULL;
	b->row = b->many ? mm_calloc(b->n, sizeof(*b->row), err) : NULL;
	if (!b->row)
		goto fail;
	b->body = b->top = "";
	if (!f.gguf)
		prefix_find(&f);
	if (bind_layer(&f, MM_GLOBAL, err))
		goto fail;
	for (size_t l = 0; l < hp->n_layer; l++)
		if (bind_layer(&f, l, err))
			goto fail;
	if (f.gguf && mm_gguf_all_used(b, fam, ck, err))
		goto fail;
	return 0;
fail:
	mm_bind_fini(b, hp->n_layer);
	return -1;
}

void mm_bind_fini(struct mm_bind *b, size_t n_layer)
{
	(void)n_layer;
	for (size_t i = 0; b->many && i < b->n; i++)
		mm_free(b->many[i]);
	mm_free(b->many);
	mm_free(b->t);
	mm_free(b->row);
	memset(b, 0, sizeof(*b));
}

const struct mm_tensor *mm_w_get(const struct mm_model *m, size_t l, enum mm_slot slot)
{
	return m->bind.t[index_of(slot, l)];
}

const struct mm_w_row *mm_w_row_of(const struct mm_model *m, size_t l, enum mm_slot slot)
{
	return m->bind.row[index_of(slot, l)];
}

const struct mm_tensor *mm_w_get_of(const struct mm_model *m, size_t l, enum mm_slot slot, size_t e)
{
	size_t i = index_of(slot, l);
	return m->bind.many[i] ? m->bind.many[i][e] : m->bind.t[i];
}

bool mm_w_is_stacked(const struct mm_model *m, size_t l, enum mm_slot slot)
{
	const struct mm_w_row *r = mm_w_row_of(m, l, slot);
	return r && ((m->gguf && r->hf && strchr(r->hf, '@') && !strchr(r->gguf, '@')) || r->dim[2] != MM_D_NONE ||
			    (r->dim[0] == MM_D_EXPERTS && r->dim[1] != MM_D_NONE && r->slot != MM_W_ROUTER));
}
