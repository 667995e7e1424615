/* bench_gguf.h - the llama shapes of bench_shapes.h once more as GGUF files: what llama-bench and llama-perplexity
 * read.
 *
 * Weights are random again: speed does not ask for their values. Matrices have the type asked for, vectors are f32, as
 * llama.cpp's own converter writes them. The vocabulary is that of the checkpoint's tokenizer (a token a byte, filled
 * up with names that no text has), so that both sides see as many tokens. */
#ifndef BENCH_GGUF_H
#define BENCH_GGUF_H

#include "bench_shapes.h"

#define GGUF_ALIGN 32

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_STRING = 8, GGUF_ARRAY = 9 }; /* types of values */
enum { GGML_F32 = 0, GGML_BF16 = 30 };						    /* types of tensors */

static void g_u32(FILE *f, uint32_t v)
{
	fwrite(&v, 4, 1, f);
}

static void g_u64(FILE *f, uint64_t v)
{
	fwrite(&v, 8, 1, f);
}

static void g_str(FILE *f, const char *s)
{
	g_u64(f, strlen(s));
	fputs(s, f);
}

static void g_key_u32(FILE *f, const char *key, size_t v)
{
	g_str(f, key);
	g_u32(f, GGUF_U32);
	g_u32(f, (uint32_t)v);
}

static void g_key_str(FILE *f, const char *key, const char *v)
{
	g_str(f, key);
	g_u32(f, GGUF_STRING);
	g_str(f, v);
}

static void g_key_array(FILE *f, const char *key, uint32_t type, size_t n)
{
	g_str(f, key);
	g_u32(f, GGUF_ARRAY);
	g_u32(f, type);
	g_u64(f, n);
}

static void gguf_vocabulary(FILE *f, size_t n)
{
	unsigned next = 256;
	char text[32];
	g_key_str(f, "tokenizer.ggml.model", "gpt2");
	g_key_str(f, "tokenizer.ggml.pre", "gpt-2");
	g_key_array(f, "tokenizer.ggml.tokens", GGUF_STRING, n);
	for (unsigned c = 0; c < n; c++) {
		bool seen = (c >= '!' && c <= '~') || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c < 256);
		unsigned u = c >= 256 ? 0 : seen ? c : next++;
		if (!u)
			snprintf(text, sizeof(text), "unused-%u", c);
		else if (u < 0x80)
			snprintf(text, sizeof(text), "%c", (int)u);
		else
			snprintf(text, sizeof(text), "%c%c", (int)(0xc0 | u >> 6), (int)(0x80 | (u & 0x3f)));
		g_str(f, text);
	}
	g_key_array(f, "tokenizer.ggml.token_type", GGUF_I32, n);
	for (size_t c = 0; c < n; c++)
		g_u32(f, 1);
	g_key_array(f, "tokenizer.ggml.merges", GGUF_STRING, 1); /* an empty list is refused */
	g_str(f, "unused-256 unused-257");
}
#define GGUF_VOCABULARY_KEYS 5

/* "model.layers.3.mlp.up_proj.weight" -> "blk.3.ffn_up.weight" */
static void gguf_name(const char *hf, char out[96])
{
	static const char *const names[][2] = {
		{ "model.embed_tokens", "token_embd" },
		{ "model.norm", "output_norm" },
		{ "lm_head", "output" },
		{ "input_layernorm", "attn_norm" },
		{ "self_attn.q_proj", "attn_q" },
		{ "self_attn.k_proj", "attn_k" },
		{ "self_attn.v_proj", "attn_v" },
		{ "self_attn.o_proj", "attn_output" },
		{ "post_attention_layernorm", "ffn_norm" },
		{ "mlp.gate_proj", "ffn_gate" },
		{ "mlp.up_proj", "ffn_up" },
		{ "mlp.down_proj", "ffn_down" },
	};
	size_t layer = 0;
	int used = 0;
	bool in_layer = sscanf(hf, "model.layers.%zu.%n", &layer, &used) == 1 && used;
	for (size_t i = 0; i < MM_COUNT(names); i++) {
		size_t n = strlen(names[i][0]);
		if (strncmp(hf + used, names[i][0], n) || strcmp(hf + used + n, ".weight") != 0)
			continue;
		if (in_layer)
			snprintf(out, 96, "blk.%zu.%s.weight", layer, names[i][1]);
		else
			snprintf(out, 96, "%s.weight", names[i][1]);
		return;
	}
	fprintf(stderr, "bench: no GGUF name for %s\n", hf);
	exit(1);
}

static uint64_t gguf_bytes(const struct writer *w, const struct tensor *t)
{
	uint64_t n = (uint64_t)t->rows * MM_MAX(t->cols, (size_t)1) * (t->cols ? mm_dtypes[w->dtype].bytes : 4);
	return (n + GGUF_ALIGN - 1) / GGUF_ALIGN * GGUF_ALIGN;
}

static void gguf_pad(FILE *f)
{
	while (ftello(f) % GGUF_ALIGN)
		fputc(0, f);
}

static bool gguf_can(const struct shape *s)
{
	return s->kind == KIND_LLAMA;
}

static void gguf_write(const struct shape *s, const char *path, enum mm_dtype dtype)
{
	struct writer w = { .s = s, .dtype = dtype }, vec = { .s = s, .dtype = MM_F32 };
	struct mm_rng rng;
	uint64_t at = 0;
	char name[96];
	FILE *f = fopen(path, "wb");
	if (!f)
		exit(1);
	list_llama(&w);
	fputs("GGUF", f);
	g_u32(f, 3);
	g_u64(f, w.n);
	g_u64(f, 10 + GGUF_VOCABULARY_KEYS);
	g_key_str(f, "general.architecture", "llama");
	g_key_u32(f, "llama.block_count", s->layers);
	g_key_u32(f, "llama.context_length", 2048);
	g_key_u32(f, "llama.embedding_length", s->d);
	g_key_u32(f, "llama.feed_forward_length", s->ff);
	g_key_u32(f, "llama.attention.head_count", s->heads);
	g_key_u32(f, "llama.attention.head_count_kv", s->kv);
	g_key_u32(f, "llama.rope.dimension_count", s->d / s->heads);
	g_key_u32(f, "llama.vocab_size", s->vocab);
	g_str(f, "llama.attention.layer_norm_rms_epsilon");
	g_u32(f, GGUF_F32);
	fwrite(&(float){ 1e-5f }, 4, 1, f);
	gguf_vocabulary(f, s->vocab);
	for (size_t i = 0; i < w.n; i++) {
		const struct tensor *t = &w.t[i];
		gguf_name(t->name, name);
		g_str(f, name);
		g_u32(f, t->cols ? 2 : 1);
		g_u64(f, t->cols ? t->cols : t->rows); /* the fastest dimension first */
		if (t->cols)
			g_u64(f, t->rows);
		g_u32(f, t->cols && dtype == MM_BF16 ? GGML_BF16 : GGML_F32);
		g_u64(f, at);
		at += gguf_bytes(&w, t);
	}
	gguf_pad(f);
	mm_rng_init(&rng, 1);
	for (size_t i = 0; i < w.n; i++) {
		data_write(f, w.t[i].cols ? &w : &vec, &w.t[i], &rng);
		gguf_pad(f);
	}
	if (ferror(f) | fclose(f))
		exit(1);
	mm_free(w.t);
}

#endif
