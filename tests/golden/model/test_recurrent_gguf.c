/* test_recurrent_gguf.c: the GGUF columns of families with recurrences or latent attention. A random checkpoint of the
 * second formulation (naive_core.h, naive_ssm.h, naive_mla.h) is written as the published converters write it (names,
 * keys, folded factors, split and stacked tensors) and must give the formulation's log-probs. The conversions below are
 * written from the format's description, not from the library. */
#include "naive_mla.h"
#include "naive_ssm.h"

#define TOLERANCE 1e-4 /* as test_recurrent.c */

struct gg {
	struct mm_buf kv, info, data;
	uint64_t n_kv, n_tensor;
	struct ck *ck;
	const char *arch;
};

static void g_str(struct mm_buf *b, const char *s)
{
	mm_buf_u64(b, strlen(s));
	mm_buf_str(b, s);
}

static void g_key(struct gg *g, const char *key, uint32_t type)
{
	char full[128];
	snprintf(full, sizeof(full), key[0] == '.' ? "%s%s" : "%s.%s", key[0] == '.' ? "" : g->arch,
		key + (key[0] == '.'));
	g_str(&g->kv, full);
	mm_buf_u32(&g->kv, type);
	g->n_kv++;
}

static void g_u32(struct gg *g, const char *key, size_t v)
{
	g_key(g, key, 4);
	mm_buf_u32(&g->kv, (uint32_t)v);
}

static void g_f32(struct gg *g, const char *key, double v)
{
	g_key(g, key, 6);
	mm_buf_f32(&g->kv, (float)v);
}

static void g_bool(struct gg *g, const char *key, bool v)
{
	g_key(g, key, 7);
	mm_buf_u8(&g->kv, v);
}

static void g_text(struct gg *g, const char *key, const char *v)
{
	g_key(g, key, 8);
	g_str(&g->kv, v);
}

/* dims: outermost first, 0 ends; the file has them the other way round. */
static void g_tensor(struct gg *g, const char *name, size_t a, size_t b, size_t c, const double *v)
{
	size_t dim[3] = { a, b, c }, n_dim = c ? 3 : b ? 2 : 1, n = 1;
	g_str(&g->info, name);
	mm_buf_u32(&g->info, (uint32_t)n_dim);
	for (size_t i = n_dim; i-- > 0; n *= dim[i])
		mm_buf_u64(&g->info, dim[i]);
	mm_buf_u32(&g->info, 0);
	mm_buf_u64(&g->info, g->data.len);
	for (size_t i = 0; i < n; i++)
		mm_buf_f32(&g->data, (float)v[i]);
	while (g->data.len % 32)
		mm_buf_u8(&g->data, 0);
	g->n_tensor++;
}

static const struct ck_tensor *find(const struct gg *g, const char *fmt, size_t l)
{
	char name[128];
	snprintf(name, sizeof(name), fmt, l);
	for (size_t i = 0; i < g->ck->n; i++)
		if (!strcmp(g->ck->t[i].name, name))
			return &g->ck->t[i];
	return NULL;
}

/* hf: "model.layers.%zu.x", gguf: "x"; dimensions of one in the middle are dropped; absent tensors are skipped. */
static void copy(struct gg *g, size_t l, const char *hf, const char *gguf)
{
	const struct ck_tensor *t = find(g, hf, l);
	char name[128];
	if (!t)
		return;
	snprintf(name, sizeof(name), strchr(hf, '%') ? "blk.%zu.%s" : "%.0zu%s", strchr(hf, '%') ? l : (size_t)0, gguf);
	g_tensor(g, name, t->dim[0], t->n_dim == 3 && t->dim[1] == 1 ? t->dim[2] : t->dim[1],
		t->n_dim == 3 && t->dim[1] == 1 ? 0 : t->dim[2], t->v);
}

static void g_write(struct gg *g, const char *path)
{
	struct mm_buf all = { 0 };
	struct mm_err err;
	mm_buf_str(&all, "GGUF");
	mm_buf_u32(&all, 3);
	mm_buf_u64(&all, g->n_tensor);
	mm_buf_u64(&all, g->n_kv);
	mm_buf_put(&all, g->kv.data, g->kv.len);
	mm_buf_put(&all, g->info.data, g->info.len);
	while (all.len % 32)
		mm_buf_u8(&all, 0);
	mm_buf_put(&all, g->data.data, g->data.len);
	if (mm_file_write(path, all.data, all.len, &err))
		fail_msg("%s", err.text);
	mm_buf_fini(&all);
	mm_buf_fini(&g->kv);
	mm_buf_fini(&g->info);
	mm_buf_fini(&g->data);
}

static void g_start(struct gg *g, const char *eps)
{
	const json_t *c = g->ck->cfg;
	g_text(g, ".general.architecture", g->arch);
	g_u32(g, "block_count", siz(c, "num_hidden_layers", 0));
	g_u32(g, "embedding_length", siz(c, "hidden_size", 0));
	g_f32(g, "attention.layer_norm_rms_epsilon", num(c, eps, 1e-5));
	g_u32(g, "context_length", 4096);
}

/* -exp of A_log, with a dimension of one behind where `one` */
static void copy_a(struct gg *g, size_t l, const char *hf, bool one)
{
	const struct ck_tensor *t = find(g, hf, l);
	char name[64];
	double *v = vec(g->ck, t->n);
	for (size_t i = 0; i < t->n; i++)
		v[i] = -exp(t->v[i]);
	snprintf(name, sizeof(name), "blk.%zu.ssm_a", l);
	g_tensor(g, name, t->dim[0], one ? 1 : t->dim[1], 0, v);
}

/* ---- families ---- */

static void gguf_falcon_mamba(struct gg *g)
{
	const json_t *c = g->ck->cfg;
	size_t d = siz(c, "hidden_size", 0);
	g_start(g, "layer_norm_epsilon");
	g_u32(g, "ssm.inner_size", 2 * d);
	g_u32(g, "ssm.state_size", 16);
	g_u32(g, "ssm.conv_kernel", 4);
	g_u32(g, "ssm.time_step_rank", (d + 15) / 16);
	g_u32(g, "attention.head_count", 0);
	g_u32(g, "feed_forward_length", 0);
	g_bool(g, "ssm.dt_b_c_rms", true);
	copy(g, 0, "backbone.embeddings.weight", "token_embd.weight");
	copy(g, 0, "backbone.norm_f.weight", "output_norm.weight");
	for (size_t l = 0; l < siz(c, "num_hidden_layers", 0); l++) {
		copy(g, l, "backbone.layers.%zu.norm.weight", "attn_norm.weight");
		copy(g, l, "backbone.layers.%zu.mixer.in_proj.weight", "ssm_in.weight");
		copy(g, l, "backbone.layers.%zu.mixer.conv1d.weight", "ssm_conv1d.weight");
		copy(g, l, "backbone.layers.%zu.mixer.conv1d.bias", "ssm_conv1d.bias");
		copy(g, l, "backbone.layers.%zu.mixer.x_proj.weight", "ssm_x.weight");
		copy(g, l, "backbone.layers.%zu.mixer.dt_proj.weight", "ssm_dt.weight");
		copy(g, l, "backbone.layers.%zu.mixer.dt_proj.bias", "ssm_dt.bias");
		copy(g, l, "backbone.layers.%zu.mixer.D", "ssm_d");
		copy(g, l, "backbone.layers.%zu.mixer.out_proj.weight", "ssm_out.weight");
		copy_a(g, l, "backbone.layers.%zu.mixer.A_log", false);
	}
}

/* `at_`: "backbone.layers.%zu.mixer." or "model.layers.%zu.mamba." */
static void mamba2_tensors(struct gg *g, size_t l, const char *at_, size_t groups)
{
	static const char *const name[][2] = { { "in_proj.weight", "ssm_in.weight" },
		{ "conv1d.weight", "ssm_conv1d.weight" }, { "conv1d.bias", "ssm_conv1d.bias" },
		{ "dt_bias", "ssm_dt.bias" }, { "out_proj.weight", "ssm_out.weight" } };
	char hf[96], to[96];
	for (size_t i = 0; i < MM_COUNT(name); i++) {
		snprintf(hf, sizeof(hf), "%s%s", at_, name[i][0]);
		copy(g, l, hf, name[i][1]);
	}
	snprintf(hf, sizeof(hf), "%sA_log", at_);
	copy_a(g, l, hf, true);
	snprintf(hf, sizeof(hf), "%sD", at_);
	const struct ck_tensor *t = find(g, hf, l);
	snprintf(to, sizeof(to), "blk.%zu.ssm_d", l);
	g_tensor(g, to, t->n, 1, 0, t->v);
	snprintf(hf, sizeof(hf), "%snorm.weight", at_);
	if (!(t = find(g, hf, l)))
		return;
	snprintf(to, sizeof(to), "blk.%zu.ssm_norm.weight", l);
	g_tensor(g, to, groups, t->n / groups, 0, t->v);
}

static void gguf_mamba2(struct gg *g)
{
	const json_t *c = g->ck->cfg;
	g_start(g, "layer_norm_epsilon");
	g_u32(g, "ssm.inner_size", 2 * siz(c, "hidden_size", 0));
	g_u32(g, "ssm.state_size", siz(c, "state_size", 0));
	g_u32(g, "ssm.conv_kernel", 4);
	g_u32(g, "ssm.time_step_rank", siz(c, "num_heads", 0));
	g_u32(g, "ssm.group_count", siz(c, "n_groups", 0));
	copy(g, 0, "backbone.embeddings.weight", "token_embd.weight");
	copy(g, 0, "lm_head.weight", "output.weight");
	copy(g, 0, "backbone.norm_f.weight", "output_norm.weight");
	for (size_t l = 0; l < siz(c, "num_hidden_layers", 0); l++) {
		copy(g, l, "backbone.layers.%zu.norm.weight", "attn_norm.weight");
		mamba2_tensors(g, l, "backbone.layers.%zu.mixer.", siz(c, "n_groups", 0));
	}
}

static void attn_keys(struct gg *g)
{
	const json_t *c = g->ck->cfg;
	g_u32(g, "attention.head_count", siz(c, "num_attention_heads", 0));
	g_u32(g, "attention.head_count_kv", siz(c, "num_key_value_heads", 0));
}

static void gguf_falcon_h1(struct gg *g)
{
	const json_t *c = g->ck->cfg;
	g_start(g, "rms_norm_eps");
	attn_keys(g);
	g_u32(g, "feed_forward_length", siz(c, "intermediate_size", 0));
	g_f32(g, "rope.freq_base", 100000);
	g_u32(g, "ssm.inner_size", siz(c, "mamba_d_ssm", 0));
	g_u32(g, "ssm.state_size", siz(c, "mamba_d_state", 0));
	g_u32(g, "ssm.conv_kernel", 4);
	g_u32(g, "ssm.time_step_rank", siz(c, "mamba_n_heads", 0));
	g_u32(g, "ssm.group_count", siz(c, "mamba_n_groups", 1));
	copy(g, 0, "model.embed_tokens.weight", "token_embd.weight");
	copy(g, 0, "lm_head.weight", "output.weight");
	copy(g, 0, "model.final_layernorm.weight", "output_norm.weight");
	for (size_t l = 0; l < siz(c, "num_hidden_layers", 0); l++) {
		copy(g, l, "model.layers.%zu.input_layernorm.weight", "attn_norm.weight");
		copy(g, l, "model.layers.%zu.pre_ff_layernorm.weight", "ffn_norm.weight");
		copy(g, l, "model.layers.%zu.self_attn.q_proj.weight", "attn_q.weight");
		copy(g, l, "model.layers.%zu.self_attn.k_proj.weight", "attn_k.weight");
		copy(g, l, "model.layers.%zu.self_attn.v_proj.weight", "attn_v.weight");
		copy(g, l, "model.layers.%zu.self_attn.o_proj.weight", "attn_output.weight");
		copy(g, l, "model.layers.%zu.feed_forward.gate_proj.weight", "ffn_gate.weight");
		copy(g, l, "model.layers.%zu.feed_forward.up_proj.weight", "ffn_up.weight");
		copy(g, l, "model.layers.%zu.feed_forward.down_proj.weight", "ffn_down.weight");
		mamba2_tensors(g, l, "model.layers.%zu.mamba.", siz(c, "mamba_n_groups", 1));
	}
}

static void gguf_lfm2(struct gg *g)
{
	const json_t *c = g->ck->cfg;
	size_t n = siz(c, "num_hidden_layers", 0);
	g_start(g, "norm_eps");
	g_u32(g, "attention.head_count", siz(c, "num_attention_heads", 0));
	g_key(g, "attention.head_count_kv", 9);
	mm_buf_u32(&g->kv, 5);
	mm_buf_u64(&g->kv, n);
	for (size_t l = 0; l < n; l++)
		mm_buf_u32(&g->kv, lfm2_attn(c, l) ? (uint32_t)siz(c, "num_key_value_heads", 0) : 0);
	g_u32(g, "feed_forward_length", find(g, "model.layers.%zu.feed_forward.w1.weight", 0)->dim[0]);
	g_u32(g, "shortconv.l_cache", 3);
	g_f32(g, "rope.freq_base", 1000000);
	copy(g, 0, "model.embed_tokens.weight", "token_embd.weight");
	copy(g, 0, "model.embedding_norm.weight", "token_embd_norm.weight");
	for (size_t l = 0; l < n; l++) {
		copy(g, l, "model.layers.%zu.operator_norm.weight", "attn_norm.weight");
		copy(g, l, "model.layers.%zu.ffn_norm.weight", "ffn_norm.weight");
		copy(g, l, "model.layers.%zu.self_attn.q_proj.weight", "attn_q.weight");
		copy(g, l, "model.layers.%zu.self_attn.k_proj.weight", "attn_k.weight");
		copy(g, l, "model.layers.%zu.self_attn.v_proj.weight", "attn_v.weight");
		copy(g, l, "model.layers.%zu.self_attn.out_proj.weight", "attn_output.weight");
		copy(g, l, "model.layers.%zu.self_attn.q_layernorm.weight", "attn_q_norm.weight");
		copy(g, l, "model.layers.%zu.self_attn.k_layernorm.weight", "attn_k_norm.weight");
		copy(g, l, "model.layers.%zu.conv.in_proj.weight", "shortconv.in_proj.weight");
		copy(g, l, "model.layers.%zu.conv.conv.weight", "shortconv.conv.weight");
		copy(g, l, "model.layers.%zu.conv.out_proj.weight", "shortconv.out_proj.weight");
		copy(g, l, "model.layers.%zu.feed_forward.w1.weight", "ffn_gate.weight");
		copy(g, l, "model.layers.%zu.feed_forward.w3.weight", "ffn_up.weight");
		copy(g, l, "model.layers.%zu.feed_forward.w2.weight", "ffn_down.weight");
	}
}

/* Experts of a layer under each other. */
static void stack(struct gg *g, size_t l, const char *what, const char *gguf, size_t ne)
{
	char fmt[96], name[64];
	double *v = NULL;
	const struct ck_tensor *t = NULL;
	for (size_t e = 0; e < ne; e++) {
		snprintf(fmt, sizeof(fmt), "model.layers.%%zu.mlp.experts.%zu.%s.weight", e, what);
		if (!(t = find(g, fmt, l)))
			return;
		v = v ? v : vec(g->ck, ne * t->n);
		memcpy(v + e * t->n, t->v, t->n * sizeof(*v));
	}
	snprintf(name, sizeof(name), "blk.%zu.%s", l, gguf);
	g_tensor(g, name, ne, t->dim[0], t->dim[1], v);
}

static void split_kv(struct gg *g, size_t l)
{
	const json_t *c = g->ck->cfg;
	size_t h = siz(c, "num_attention_heads", 0), nope = siz(c, "qk_nope_head_dim", 0), dv = siz(c, "v_head_dim", 0);
	size_t r = siz(c, "kv_lora_rank", 0);
	const double *w = find(g, "model.layers.%zu.self_attn.kv_b_proj.weight", l)->v;
	double *k = vec(g->ck, h * nope * r), *v = vec(g->ck, h * dv * r);
	char name[64];
	for (size_t i = 0; i < h; i++)
		for (size_t j = 0; j < nope + dv; j++)
			for (size_t q = 0; q < r; q++)
				if (j < nope)
					k[(i * r + q) * nope + j] = w[(i * (nope + dv) + j) * r + q];
				else
					v[(i * dv + j - nope) * r + q] = w[(i * (nope + dv) + j) * r + q];
	snprintf(name, sizeof(name), "blk.%zu.attn_k_b.weight", l);
	g_tensor(g, name, h, r, nope, k);
	snprintf(name, sizeof(name), "blk.%zu.attn_v_b.weight", l);
	g_tensor(g, name, h, dv, r, v);
}

static void deepseek_keys(struct gg *g, bool v3, bool split)
{
	const json_t *c = g->ck->cfg, *rs = json_object_get(c, "rope_scaling");
	size_t nope = siz(c, "qk_nope_head_dim", 0), rot = siz(c, "qk_rope_head_dim", 0), r = siz(c, "kv_lora_rank", 0);
	g_start(g, "rms_norm_eps");
	g_u32(g, "attention.head_count", siz(c, "num_attention_heads", 0));
	g_u32(g, "attention.head_count_kv", split ? 1 : siz(c, "num_attention_heads", 0));
	g_u32(g, "attention.key_length", split ? r + rot : nope + rot);
	g_u32(g, "attention.value_length", split ? r : siz(c, "v_head_dim", 0));
	if (split) {
		g_u32(g, "attention.key_length_mla", nope + rot);
		g_u32(g, "attention.value_length_mla", siz(c, "v_head_dim", 0));
	}
	if (siz(c, "q_lora_rank", 0))
		g_u32(g, "attention.q_lora_rank", siz(c, "q_lora_rank", 0));
	g_u32(g, "attention.kv_lora_rank", r);
	g_u32(g, "rope.dimension_count", rot);
	g_u32(g, "feed_forward_length", siz(c, "intermediate_size", 0));
	g_u32(g, "leading_dense_block_count", siz(c, "first_k_dense_replace", v3 ? 3 : 0));
	g_u32(g, "expert_count", siz(c, "n_routed_experts", 0));
	g_u32(g, "expert_used_count", siz(c, "num_experts_per_tok", 0));
	g_u32(g, "expert_shared_count", siz(c, "n_shared_experts", 1));
	g_u32(g, "expert_feed_forward_length", siz(c, "moe_intermediate_size", 0));
	g_f32(g, "expert_weights_scale", num(c, "routed_scaling_factor", v3 ? 2.5 : 1));
	g_bool(g, "expert_weights_norm", v3);
	g_u32(g, "expert_gating_func", v3 ? 2 : 1);
	if (siz(c, "n_group", 1) > 1) {
		g_u32(g, "expert_group_count", siz(c, "n_group", 1));
		g_u32(g, "expert_group_used_count", siz(c, "topk_group", 1));
	}
	if (rs) {
		g_text(g, "rope.scaling.type", "yarn");
		g_f32(g, "rope.scaling.factor", num(rs, "factor", 1));
		g_u32(g, "rope.scaling.original_context_length", siz(rs, "original_max_position_embeddings", 0));
		g_f32(g, "rope.scaling.yarn_log_multiplier", 0.1 * num(rs, "mscale_all_dim", 0));
	}
}

static void deepseek_file(struct gg *g, bool v3, bool split)
{
	const json_t *c = g->ck->cfg;
	size_t ne = siz(c, "n_routed_experts", 0);
	static const char *const name[][2] = { { "input_layernorm.weight", "attn_norm.weight" },
		{ "post_attention_layernorm.weight", "ffn_norm.weight" },
		{ "self_attn.q_proj.weight", "attn_q.weight" }, { "self_attn.q_a_proj.weight", "attn_q_a.weight" },
		{ "self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight" },
		{ "self_attn.q_b_proj.weight", "attn_q_b.weight" },
		{ "self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight" },
		{ "self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight" },
		{ "self_attn.o_proj.weight", "attn_output.weight" }, { "mlp.gate_proj.weight", "ffn_gate.weight" },
		{ "mlp.up_proj.weight", "ffn_up.weight" }, { "mlp.down_proj.weight", "ffn_down.weight" },
		{ "mlp.gate.weight", "ffn_gate_inp.weight" },
		{ "mlp.gate.e_score_correction_bias", "exp_probs_b.bias" },
		{ "mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight" },
		{ "mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight" },
		{ "mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight" } };
	deepseek_keys(g, v3, split);
	copy(g, 0, "model.embed_tokens.weight", "token_embd.weight");
	copy(g, 0, "lm_head.weight", "output.weight");
	copy(g, 0, "model.norm.weight", "output_norm.weight");
	for (size_t l = 0; l < siz(c, "num_hidden_layers", 0); l++) {
		for (size_t i = 0; i < MM_COUNT(name); i++) {
			char hf[96];
			snprintf(hf, sizeof(hf), "model.layers.%%zu.%s", name[i][0]);
			copy(g, l, hf, name[i][1]);
		}
		if (split)
			split_kv(g, l);
		else
			copy(g, l, "model.layers.%zu.self_attn.kv_b_proj.weight", "attn_kv_b.weight");
		stack(g, l, "gate_proj", "ffn_gate_exps.weight", ne);
		stack(g, l, "up_proj", "ffn_up_exps.weight", ne);
		stack(g, l, "down_proj", "ffn_down_exps.weight", ne);
	}
}

static void gguf_deepseek2(struct gg *g)
{
	deepseek_file(g, false, false);
}

static void gguf_deepseek3(struct gg *g)
{
	deepseek_file(g, true, false);
}

static void gguf_deepseek3_split(struct gg *g)
{
	deepseek_file(g, true, true);
}

/* [e, in, out] -> [e, out', in], rows first, first + step, ... of the outputs; bias [e, out] likewise (in = 1) */
static void oss_turn(struct gg *g, size_t l, const char *hf, const char *gguf, size_t first, size_t step)
{
	const struct ck_tensor *t = find(g, hf, l);
	size_t ne = t->dim[0], in = t->n_dim == 3 ? t->dim[1] : 1, out = t->n_dim == 3 ? t->dim[2] : t->dim[1],
	       rows = out / step;
	double *v = vec(g->ck, ne * rows * in);
	char name[64];
	for (size_t e = 0; e < ne; e++)
		for (size_t r = 0; r < rows; r++)
			for (size_t i = 0; i < in; i++)
				v[(e * rows + r) * in + i] = t->v[(e * in + i) * out + first + r * step];
	snprintf(name, sizeof(name), "blk.%zu.%s", l, gguf);
	g_tensor(g, name, ne, rows, t->n_dim == 3 ? in : 0, v);
}

static void gguf_gpt_oss(struct gg *g)
{
	const json_t *c = g->ck->cfg;
	static const char *const qkvo[][2] = { { "q_proj", "attn_q" }, { "k_proj", "attn_k" }, { "v_proj", "attn_v" },
		{ "o_proj", "attn_output" } };
	g_start(g, "rms_norm_eps");
	attn_keys(g);
	g_u32(g, "attention.key_length", 8);
	g_u32(g, "attention.value_length", 8);
	g_u32(g, "expert_count", siz(c, "num_local_experts", 0));
	g_u32(g, "expert_used_count", siz(c, "num_experts_per_tok", 0));
	g_u32(g, "expert_feed_forward_length", siz(c, "intermediate_size", 0));
	g_u32(g, "attention.sliding_window", siz(c, "sliding_window", 0));
	g_f32(g, "rope.freq_base", 150000);
	g_text(g, "rope.scaling.type", "yarn");
	g_f32(g, "rope.scaling.factor", 32);
	g_u32(g, "rope.scaling.original_context_length", 4096);
	copy(g, 0, "model.embed_tokens.weight", "token_embd.weight");
	copy(g, 0, "lm_head.weight", "output.weight");
	copy(g, 0, "model.norm.weight", "output_norm.weight");
	for (size_t l = 0; l < siz(c, "num_hidden_layers", 0); l++) {
		copy(g, l, "model.layers.%zu.input_layernorm.weight", "attn_norm.weight");
		copy(g, l, "model.layers.%zu.post_attention_layernorm.weight", "post_attention_norm.weight");
		for (size_t i = 0; i < 4; i++)
			for (int bias = 0; bias < 2; bias++) {
				char hf[96], to[64];
				snprintf(hf, sizeof(hf), "model.layers.%%zu.self_attn.%s.%s", qkvo[i][0],
					bias ? "bias" : "weight");
				snprintf(to, sizeof(to), "%s.%s", qkvo[i][1], bias ? "bias" : "weight");
				copy(g, l, hf, to);
			}
		copy(g, l, "model.layers.%zu.self_attn.sinks", "attn_sinks.weight");
		copy(g, l, "model.layers.%zu.mlp.router.weight", "ffn_gate_inp.weight");
		copy(g, l, "model.layers.%zu.mlp.router.bias", "ffn_gate_inp.bias");
		oss_turn(g, l, "model.layers.%zu.mlp.experts.gate_up_proj", "ffn_gate_exps.weight", 0, 2);
		oss_turn(g, l, "model.layers.%zu.mlp.experts.gate_up_proj", "ffn_up_exps.weight", 1, 2);
		oss_turn(g, l, "model.layers.%zu.mlp.experts.gate_up_proj_bias", "ffn_gate_exps.bias", 0, 2);
		oss_turn(g, l, "model.layers.%zu.mlp.experts.gate_up_proj_bias", "ffn_up_exps.bias", 1, 2);
		oss_turn(g, l, "model.layers.%zu.mlp.experts.down_proj", "ffn_down_exps.weight", 0, 1);
		oss_turn(g, l, "model.layers.%zu.mlp.experts.down_proj_bias", "ffn_down_exps.bias", 0, 1);
	}
}

/* ---- cases ---- */

struct test_case {
	const char *name, *arch, *cfg;
	naive_pass *pass;
	void (*convert)(struct gg *g);
};

#define COMMON "\"vocab_size\":61,\"hidden_size\":24,\"num_hidden_layers\":3"
#define DS                                                                                                             \
	COMMON ",\"intermediate_size\":40,\"moe_intermediate_size\":12,\"num_attention_heads\":3,\"kv_lora_rank\":10," \
	       "\"qk_rope_head_dim\":8,\"qk_nope_head_dim\":6,\"v_head_dim\":5,\"n_routed_experts\":8,\"num_experts_"  \
	       "per_tok\":3,\"rms_norm_eps\":1e-5"

static const struct test_case cases[] = {
	{ "mamba (falcon_mamba)", "mamba", COMMON, naive_falcon_mamba, gguf_falcon_mamba },
	{ "mamba2", "mamba2", COMMON ",\"state_size\":6,\"num_heads\":6,\"n_groups\":1", naive_mamba2, gguf_mamba2 },
	{ "falcon-h1", "falcon-h1",
		COMMON
		",\"intermediate_size\":40,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"mamba_d_state\":6,"
		"\"mamba_n_heads\":6,\"mamba_d_ssm\":36,\"mamba_n_groups\":2,\"mamba_rms_norm\":true,"
		"\"mamba_norm_before_gate\":false",
		naive_falcon_h1, gguf_falcon_h1 },
	{ "falcon-h1 without norm", "falcon-h1",
		COMMON
		",\"intermediate_size\":40,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"mamba_d_state\":6,"
		"\"mamba_n_heads\":6,\"mamba_d_ssm\":36",
		naive_falcon_h1, gguf_falcon_h1 },
	{ "lfm2", "lfm2",
		COMMON
		",\"num_attention_heads\":4,\"num_key_value_heads\":2,\"intermediate_size\":48,\"block_multiple_of\":5,"
		"\"layer_types\":[\"conv\",\"full_attention\",\"conv\"]",
		naive_lfm2, gguf_lfm2 },
	{ "deepseek2 with q rank", "deepseek2",
		DS
		",\"q_lora_rank\":9,\"first_k_dense_replace\":1,\"n_shared_experts\":2,\"routed_scaling_factor\":1.7",
		naive_deepseek2, gguf_deepseek2 },
	{ "deepseek2 of V3", "deepseek2",
		DS ",\"q_lora_rank\":9,\"n_group\":4,\"topk_group\":2,\"first_k_dense_replace\":1,\"rope_scaling\":{"
		   "\"type\":\"yarn\","
		   "\"factor\":40,\"mscale\":0.9,\"mscale_all_dim\":0.9,\"original_max_position_embeddings\":64}",
		naive_deepseek3, gguf_deepseek3 },
	{ "deepseek2 of V3, split kv_b, lite", "deepseek2",
		DS ",\"n_group\":1,\"topk_group\":1,\"first_k_dense_replace\":1", naive_deepseek3,
		gguf_deepseek3_split },
	{ "gpt-oss", "gpt-oss",
		COMMON ",\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":8,\"intermediate_size\":16,"
		       "\"num_local_experts\":6,\"num_experts_per_tok\":2,\"sliding_window\":5",
		naive_gpt_oss, gguf_gpt_oss },
};

#define N_TOK 40

static void check_case(void **state)
{
	const struct test_case *c = *state;
	struct mm_err err;
	char path[] = "/tmp/mm-recurrent-XXXXXX.gguf", text[1024];
	struct ck *ck = calloc(1, sizeof(*ck));
	uint32_t id[N_TOK];
	double want[N_TOK], got[N_TOK], worst = 0;
	int fd = mkstemps(path, 5);
	assert_true(ck && fd >= 0);
	close(fd);
	snprintf(text, sizeof(text), "{%s}", c->cfg);
	json_t *cfg = json_loads(text, 0, NULL);
	assert_non_null(cfg);
	ck->cfg = cfg;
	mm_rng_init(&ck->rng, 11);
	for (size_t t = 0; t < N_TOK; t++)
		id[t] = (uint32_t)mm_rng_below(&ck->rng, 61);
	c->pass(ck, id, N_TOK, want);
	struct gg g = { .ck = ck, .arch = c->arch };
	c->convert(&g);
	g_write(&g, path);
	struct mm_model_opts opts = { .compute = MM_COMPUTE_F32 };
	struct mm_model *m = mm_model_open(path, &opts, &err);
	if (!m)
		fail_msg("%s: %s", c->name, err.text);
	if (mm_score_ids(m, id, N_TOK, got, &err))
		fail_msg("%s: %s", c->name, err.text);
	for (size_t t = 0; t + 1 < N_TOK; t++)
		worst = fmax(worst, isnan(got[t]) ? INFINITY : fabs(got[t] - want[t]));
	print_message("%-40s max |diff| %.1e\n", c->name, worst);
	if (!(worst <= TOLERANCE))
		fail_msg("%s: log-probs differ by %g", c->name, worst);
	mm_model_close(m);
	ck_free(ck);
	json_decref(cfg);
	unlink(path);
}

int main(void)
{
	static struct CMUnitTest tests[MM_COUNT(cases)];
	for (size_t i = 0; i < MM_COUNT(cases); i++)
		tests[i] = (struct CMUnitTest){ cases[i].name, check_case, NULL, NULL, (void *)(uintptr_t)&cases[i] };
	return _cmocka_run_group_tests("recurrent-gguf", tests, MM_COUNT(cases), NULL, NULL);
}
