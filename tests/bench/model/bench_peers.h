/* bench_peers.h - other programs on the same shape, if they are on the machine: llama-bench and llama-perplexity of
 * llama.cpp (from $PATH), PyTorch (python3 or /usr/bin/python3 that imports torch). They take turns with our own runs,
 * and what counts is the ratio within a round.
 *
 * llama-bench computes no logits but the last ones, llama-perplexity half of them; PyTorch and we all. */
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include "bench_gguf.h"

#include <sys/wait.h>

#define PEER_TOKENS	 "256" /* a prompt of llama-bench, a text of PyTorch */
#define PEER_TEXT_TOKENS 8192u /* what llama-perplexity gets */

enum peer { PEER_BENCH, PEER_PERPLEXITY, PEER_TORCH, PEER_COUNT };
static const char *const peer_names[PEER_COUNT] = { "llama-bench", "llama-perplexity", "PyTorch" };

static bool peer_has(enum peer p, const char **python)
{
	static const char *const pythons[] = { "python3", "/usr/bin/python3" };
	char cmd[256];
	if (p != PEER_TORCH) {
		snprintf(cmd, sizeof(cmd), "command -v %s >/dev/null 2>&1", peer_names[p]);
		return system(cmd) == 0;
	}
	for (size_t i = 0; i < MM_COUNT(pythons); i++) {
		snprintf(cmd, sizeof(cmd), "%s -c 'import torch' >/dev/null 2>&1", pythons[i]);
		*python = pythons[i];
		if (system(cmd) == 0)
			return true;
	}
	return false;
}

/* What stands behind `key` in the last line that has it; `before`: the number that ends before the key instead. */
static double number_at(const char *out, const char *key, bool before)
{
	const char *at = NULL, *p;
	for (p = out; (p = strstr(p, key)); p++)
		at = p;
	if (!at)
		return 0;
	if (!before)
		return strtod(at + strlen(key), NULL);
	while (at > out && at[-1] == ' ')
		at--;
	while (at > out && ((at[-1] >= '0' && at[-1] <= '9') || at[-1] == '.'))
		at--;
	return strtod(at, NULL);
}

static double output_number(const char *cmd, const char *key, bool before)
{
	static char out[65536];
	FILE *f = popen(cmd, "r");
	size_t n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;
	out[n] = 0;
	if (!f || pclose(f))
		return 0;
	return key ? number_at(out, key, before) : strtod(out, NULL);
}

/* Tokens/s; 0: it could not. gguf, text: files made by peer_files. */
static double peer_run(enum peer p, const struct shape *s, const char *gguf, const char *text, const char *python,
	const char *compute, const char *threads)
{
	char cmd[1400];
	switch (p) {
	case PEER_BENCH:
		snprintf(cmd, sizeof(cmd), "llama-bench -m %s -p " PEER_TOKENS " -n 0 -r 3 -t %s -o json 2>/dev/null",
			gguf, threads);
		return output_number(cmd, "\"avg_ts\":", false);
	case PEER_PERPLEXITY:
		snprintf(cmd, sizeof(cmd), "llama-perplexity -m %s -f %s -c 512 -t %s 2>&1 | grep 'prompt eval time'",
			gguf, text, threads);
		return output_number(cmd, "tokens per second", true);
	default:
		snprintf(cmd, sizeof(cmd),
			"%s tests/bench/model/peer_torch.py %zu %zu %zu %zu %zu %zu %s %s " PEER_TOKENS
			" %d 2>/dev/null",
			python, s->layers, s->d, s->ff, s->heads, s->kv, s->vocab, compute, threads,
			shape_flops(s) > 1e9 ? 2 : 8);
		return output_number(cmd, NULL, false);
	}
}

static void peer_files(const struct shape *s, const char *gguf, const char *text, enum mm_dtype dtype)
{
	struct mm_rng rng;
	if (access(gguf, R_OK))
		gguf_write(s, gguf, dtype);
	if (!access(text, R_OK))
		return;
	FILE *f = fopen(text, "w");
	mm_rng_init(&rng, 3);
	for (size_t j = 0; f && j < PEER_TEXT_TOKENS; j++)
		fputc(j % 6 == 5 ? ' ' : (int)('a' + mm_rng_below(&rng, 26)), f);
	if (!f || fclose(f))
		exit(1);
}

#endif
