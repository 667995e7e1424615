/* bench_shapes.h - checkpoints of given shapes with random weights, and texts to score: the writer of bench_score.c.
 *
 * Weights are uniform, with the spread that keeps activations of the size of 1; norm weights are 1. The tokenizer is
 * byte-level BPE without a merge, so that a text of n bytes has n tokens, whatever the vocabulary of the model. A
 * sparse checkpoint has its norms only; all matrices are holes of the file, and read as zeros. */
#ifndef BENCH_SHAPES_H
#define BENCH_SHAPES_H

#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { KIND_LLAMA, KIND_NEOX, KIND_MIXTRAL, KIND_COUNT };

struct shape {
	const char *name, *what;
	enum kind kind;
	size_t layers, d, ff, heads, kv, vocab, experts, used;
};

static const struct shape shapes[] = {
	{ "s", "llama 12 x 768, ffn 2048", KIND_LLAMA, 12, 768, 2048, 12, 12, 32000, 0, 0 },
	{ "n", "gpt_neox 410M: 24 x 1024, ffn 4096", KIND_NEOX, 24, 1024, 4096, 16, 16, 50304, 0, 0 },
	{ "m", "mixtral-like: 8 x 768, 8 experts of 2048, 2 used", KIND_MIXTRAL, 8, 768, 2048, 12, 4, 32000, 8, 2 },
	{ "t", "TinyLlama 1.1B: llama 22 x 2048, ffn 5632, 32/4 heads", KIND_LLAMA, 22, 2048, 5632, 32, 4, 32000, 0,
		0 },
	{ "big", "llama 48 x 4096, ffn 11008 (20 GB in bf16)", KIND_LLAMA, 48, 4096, 11008, 32, 32, 32000, 0, 0 },
};

static const char *const configs[KIND_COUNT] = {
	[KIND_LLAMA] = "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_act\":\"silu\","
		       "\"rms_norm_eps\":1e-5,",
	[KIND_NEOX] = "{\"architectures\":[\"GPTNeoXForCausalLM\"],\"model_type\":\"gpt_neox\",\"hidden_act\":\"gelu\","
		      "\"layer_norm_eps\":1e-5,\"rotary_pct\":0.25,\"use_parallel_residual\":true,",
	[KIND_MIXTRAL] = "{\"architectures\":[\"MixtralForCausalLM\"],\"model_type\":\"mixtral\",\"hidden_act\":"
			 "\"silu\",\"rms_norm_eps\":1e-5,",
};

struct tensor {
	char name[96];
	size_t rows, cols; /* cols 0: a vector */
	float fill;	   /* of vectors */
};

struct writer {
	const struct shape *s;
	enum mm_dtype dtype;
	bool sparse;
	struct tensor *t;
	size_t n, cap;
};

static void put(struct writer *w, size_t rows, size_t cols, float fill, const char *format, size_t l, size_t e)
{
	struct mm_err err;
	if (mm_grow(&w->t, &w->cap, w->n + 1, sizeof(*w->t), &err))
		exit(1);
	struct tensor *t = &w->t[w->n++];
	*t = (struct tensor){ .rows = rows, .cols = cols, .fill = fill };
	snprintf(t->name, sizeof(t->name), format, l, e);
}

static void list_llama(struct writer *w)
{
	const struct shape *s = w->s;
	size_t d = s->d, kv = d / s->heads * s->kv;
	put(w, s->vocab, d, 0, "model.embed_tokens.weight", 0, 0);
	for (size_t l = 0; l < s->layers; l++) {
		put(w, d, 0, 1, "model.layers.%zu.input_layernorm.weight", l, 0);
		put(w, d, d, 0, "model.layers.%zu.self_attn.q_proj.weight", l, 0);
		put(w, kv, d, 0, "model.layers.%zu.self_attn.k_proj.weight", l, 0);
		put(w, kv, d, 0, "model.layers.%zu.self_attn.v_proj.weight", l, 0);
		put(w, d, d, 0, "model.layers.%zu.self_attn.o_proj.weight", l, 0);
		put(w, d, 0, 1, "model.layers.%zu.post_attention_layernorm.weight", l, 0);
		if (s->experts)
			put(w, s->experts, d, 0, "model.layers.%zu.block_sparse_moe.gate.weight", l, 0);
		for (size_t e = 0; e < s->experts; e++) {
			put(w, s->ff, d, 0, "model.layers.%zu.block_sparse_moe.experts.%zu.w1.weight", l, e);
			put(w, d, s->ff, 0, "model.layers.%zu.block_sparse_moe.experts.%zu.w2.weight", l, e);
			put(w, s->ff, d, 0, "model.layers.%zu.block_sparse_moe.experts.%zu.w3.weight", l, e);
		}
		if (s->experts)
			continue;
		put(w, s->ff, d, 0, "model.layers.%zu.mlp.gate_proj.weight", l, 0);
		put(w, s->ff, d, 0, "model.layers.%zu.mlp.up_proj.weight", l, 0);
		put(w, d, s->ff, 0, "model.layers.%zu.mlp.down_proj.weight", l, 0);
	}
	put(w, d, 0, 1, "model.norm.weight", 0, 0);
	put(w, s->vocab, d, 0, "lm_head.weight", 0, 0);
}

static void put_both(struct writer *w, size_t rows, size_t cols, float fill, const char *stem, size_t l)
{
	char weight[80], bias[80];
	snprintf(weight, sizeof(weight), "%s.weight", stem);
	snprintf(bias, sizeof(bias), "%s.bias", stem);
	put(w, rows, cols, fill, weight, l, 0);
	put(w, rows, 0, 0, bias, l, 0);
}

static void list_neox(struct writer *w)
{
	const struct shape *s = w->s;
	put(w, s->vocab, s->d, 0, "gpt_neox.embed_in.weight", 0, 0);
	for (size_t l = 0; l < s->layers; l++) {
		put_both(w, s->d, 0, 1, "gpt_neox.layers.%zu.input_layernorm", l);
		put_both(w, s->d, 0, 1, "gpt_neox.layers.%zu.post_attention_layernorm", l);
		put_both(w, 3 * s->d, s->d, 0, "gpt_neox.layers.%zu.attention.query_key_value", l);
		put_both(w, s->d, s->d, 0, "gpt_neox.layers.%zu.attention.dense", l);
		put_both(w, s->ff, s->d, 0, "gpt_neox.layers.%zu.mlp.dense_h_to_4h", l);
		put_both(w, s->d, s->ff, 0, "gpt_neox.layers.%zu.mlp.dense_4h_to_h", l);
	}
	put_both(w, s->d, 0, 1, "gpt_neox.final_layer_norm", 0);
	put(w, s->vocab, s->d, 0, "embed_out.weight", 0, 0);
}

static void data_write(FILE *f, const struct writer *w, const struct tensor *t, struct mm_rng *rng)
{
	size_t n = t->rows * MM_MAX(t->cols, (size_t)1), k = 0;
	float spread = t->cols ? 1.7f / sqrtf((float)t->cols) : 0;
	unsigned bytes = mm_dtypes[w->dtype].bytes;
	static float block[4096];
	static uint16_t half[4096];
	if (w->sparse && t->cols) {
		if (fseeko(f, (off_t)(n * bytes), SEEK_CUR))
			exit(1);
		return;
	}
	for (size_t i = 0; i < n; i += k) {
		k = MM_MIN(n - i, MM_COUNT(block));
		for (size_t j = 0; j < k; j += 2) {
			uint64_t u = t->cols ? mm_rng_u64(rng) : 0;
			block[j] = t->cols ? ((float)(uint32_t)(u >> 40) / 16777216.0f - 0.5f) * spread : t->fill;
			block[j + 1] = t->cols ? ((float)(u & 0xffffff) / 16777216.0f - 0.5f) * spread : t->fill;
		}
		mm_bf16_row(block, half, k);
		if (fwrite(w->dtype == MM_BF16 ? (void *)half : (void *)block, bytes, k, f) != k)
			exit(1);
	}
}

static void weights_write(const struct writer *w, const char *path)
{
	struct mm_buf b = { 0 };
	struct mm_rng rng;
	uint64_t at = 0;
	mm_rng_init(&rng, 1);
	mm_buf_str(&b, "{");
	for (size_t i = 0; i < w->n; i++) {
		const struct tensor *t = &w->t[i];
		uint64_t end = at + (uint64_t)t->rows * MM_MAX(t->cols, (size_t)1) * mm_dtypes[w->dtype].bytes;
		char cols[32] = "";
		if (t->cols)
			snprintf(cols, sizeof(cols), ",%zu", t->cols);
		mm_buf_printf(&b, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%zu%s],\"data_offsets\":[%llu,%llu]}",
			i ? "," : "", t->name, mm_dtypes[w->dtype].safetensors, t->rows, cols, (unsigned long long)at,
			(unsigned long long)end);
		at = end;
	}
	mm_buf_str(&b, "}");
	while (b.len % 8)
		mm_buf_str(&b, " ");
	FILE *f = fopen(path, "wb");
	uint64_t len = b.len;
	if (!f || fwrite(&len, 8, 1, f) != 1 || fwrite(b.data, 1, b.len, f) != b.len)
		exit(1);
	for (size_t i = 0; i < w->n; i++)
		data_write(f, w, &w->t[i], &rng);
	if (fflush(f) || ftruncate(fileno(f), (off_t)(8 + len + at)) || fclose(f))
		exit(1);
	mm_buf_fini(&b);
}

static void file_write(const char *dir, const char *name, const char *text)
{
	struct mm_err err;
	char *path = mm_path_join(dir, name, &err);
	if (!path || mm_file_write(path, text, strlen(text), &err)) {
		fprintf(stderr, "%s/%s: %s\n", dir, name, err.text);
		exit(1);
	}
	mm_free(path);
}

/* The letters that byte-level BPE writes for bytes: those that can be seen as themselves, the others from 256 on. */
static void tokenizer_write(const char *dir)
{
	struct mm_buf b = { 0 };
	unsigned next = 256;
	mm_buf_str(&b, "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
		       "\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
		       "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
		       "\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"merges\":[],"
		       "\"vocab\":{");
	for (unsigned c = 0; c < 256; c++) {
		bool seen = (c >= '!' && c <= '~') || (c >= 0xa1 && c <= 0xac) || c >= 0xae;
		mm_buf_printf(&b, "%s\"\\u%04x\":%u", c ? "," : "", seen ? c : next++, c);
	}
	mm_buf_str(&b, "}}}");
	mm_buf_str(&b, "");
	char *text = mm_calloc(b.len + 1, 1, &(struct mm_err){ 0 });
	memcpy(text, b.data, b.len);
	file_write(dir, "tokenizer.json", text);
	mm_free(text);
	mm_buf_fini(&b);
}

static void shape_write(const struct shape *s, const char *dir, enum mm_dtype dtype, bool sparse)
{
	struct writer w = { .s = s, .dtype = dtype, .sparse = sparse };
	struct mm_err err;
	char text[1024], path[600];
	if (mm_mkdirs(dir, 0755, &err))
		exit(1);
	snprintf(text, sizeof(text),
		"%s\"hidden_size\":%zu,\"intermediate_size\":%zu,\"num_hidden_layers\":%zu,\"num_attention_heads\":%zu,"
		"\"num_key_value_heads\":%zu,\"vocab_size\":%zu,\"max_position_embeddings\":2048,\"bos_token_id\":0,"
		"\"eos_token_id\":0,\"tie_word_embeddings\":false,\"num_local_experts\":%zu,\"num_experts_per_tok\":"
		"%zu,\"torch_dtype\":\"%s\"}",
		configs[s->kind], s->d, s->ff, s->layers, s->heads, s->kv, s->vocab, s->experts, s->used,
		dtype == MM_BF16 ? "bfloat16" : "float32");
	file_write(dir, "config.json", text);
	tokenizer_write(dir);
	if (s->kind == KIND_NEOX)
		list_neox(&w);
	else
		list_llama(&w);
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	weights_write(&w, path);
	mm_free(w.t);
}

/* Multiplications and additions a token, attention left out: what a GEMM rate is compared with. */
static double shape_flops(const struct shape *s)
{
	double d = (double)s->d, kv = d / (double)s->heads * (double)s->kv, ff = (double)s->ff;
	double mlp = s->kind == KIND_NEOX ? 2 * d * ff : 3 * d * ff * (s->experts ? (double)s->used : 1);
	return 2 * ((double)s->layers * (2 * d * d + 2 * d * kv + mlp) + d * (double)s->vocab);
}

/* n texts of 100 to 400 bytes, words of lower-case letters */
static void texts_write(const char *path, size_t n)
{
	struct mm_rng rng;
	FILE *f = fopen(path, "w");
	mm_rng_init(&rng, 2);
	for (size_t i = 0; f && i < n; i++) {
		size_t len = 100 + mm_rng_below(&rng, 301);
		fputs("{\"text\": \"", f);
		for (size_t j = 0; j < len; j++)
			fputc(j % 6 == 5 ? ' ' : (int)('a' + mm_rng_below(&rng, 26)), f);
		fputs("\"}\n", f);
	}
	if (!f || fclose(f))
		exit(1);
}

#endif
