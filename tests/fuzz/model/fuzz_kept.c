/* fuzz_kept.c - files that scoring keeps for itself: what a killed job had done, and token ids of a text set. Somebody
 * else may have written them. The first byte says which; checksums are put right here, so that what lies behind them
 * is reached. What is accepted has every number in its range. */
#include "model/score_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N	 6 /* texts */
#define HEAD_LEN 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/mm-fuzz-kept-XXXXXX", name[128];
static struct mm_tok *tok;
static struct mm_texts texts;

static void end(void)
{
	char cmd_path[160];
	if (name[0])
		unlink(name);
	snprintf(cmd_path, sizeof(cmd_path), "%s/resume", dir);
	unlink(cmd_path);
	rmdir(dir);
}

static void begin(void)
{
	static const char *text[N] = { "a", "b", "c", "d", "e", "f" };
	static size_t len[N] = { 1, 1, 1, 1, 1, 1 };
	struct mm_err err = { 0 };
	if (tok)
		return;
	tok = mm_tok_open("tests/fixtures/tokenizers/gpt2-style", &err);
	if (!tok || !mkdtemp(dir))
		abort();
	texts = (struct mm_texts){ .n = N, .text = text, .len = len, .hash = { 1, 2 } };
	atexit(end);
}

static void write_or_die(const char *path, const void *p, size_t n)
{
	struct mm_err err = { 0 };
	if (mm_file_write(path, p, n, &err))
		abort();
}

/* header | n, 0 | records | sum, then the rest as it is */
static void resume(const uint8_t *data, size_t size)
{
	struct mm_err err = { 0 };
	struct mm_hash key = { 3, 4 };
	uint32_t n[2] = { (uint32_t)(size ? data[0] % 8 : 0), 0 };
	size_t body = n[0] * (size_t)24, at = 0;
	char path[64];
	double loglik[N];
	float mink[N], pp[N];
	if (!size || size - 1 < body)
		return;
	uint8_t *f = calloc(HEAD_LEN + 16 + size, 1);
	if (!f)
		abort();
	uint64_t count = N;
	memcpy(f, "MMRESUM2", 8);
	memcpy(f + 8, &key, 16);
	memcpy(f + 24, &count, 8);
	uint64_t part[3] = { mm_hash64(f, HEAD_LEN), n[0], mm_hash64(data + 1, body) },
		 sum = mm_hash64(part, sizeof(part));
	memcpy(f + HEAD_LEN, n, 8);
	memcpy(f + HEAD_LEN + 8, data + 1, body);
	memcpy(f + HEAD_LEN + 8 + body, &sum, 8);
	at = HEAD_LEN + 16 + body;
	memcpy(f + at, data + 1 + body, size - 1 - body);
	snprintf(path, sizeof(path), "%s/resume", dir);
	write_or_die(path, f, at + size - 1 - body);
	free(f);
	struct mm_resume *r = mm_resume_open(path, key, N, 0, &err);
	if (!r)
		abort();
	mm_resume_give(r, loglik, mink, pp);
	for (size_t i = 0; i < N; i++)
		if (mm_resume_has(r, i) && (!isfinite(loglik[i]) || !isfinite(mink[i]) || !isfinite(pp[i])))
			abort();
	mm_resume_add(r, 0, -1, -1, -1);
	mm_resume_flush(r, path);
	mm_resume_close(r);
}

static void cache(const uint8_t *data, size_t size)
{
	struct mm_err err = { 0 };
	struct mm_ids ids[N] = { 0 };
	struct mm_hash key;
	char hex[MM_HASH_HEX];
	struct {
		struct mm_hash tok, texts;
		uint64_t flags, version;
	} k = { mm_tok_hash(tok), texts.hash, 0, 1 };
	key = mm_hash_of(&k, sizeof(k));
	mm_hash_hex(key, hex);
	snprintf(name, sizeof(name), "%s/tokens-%s", dir, hex);
	uint8_t *f = calloc(24 + size + 8, 1);
	if (!f)
		abort();
	memcpy(f, "MMTOKEN1", 8);
	memcpy(f + 8, &key, 16);
	memcpy(f + 24, data, size);
	uint64_t sum = mm_hash64(f, 24 + size);
	memcpy(f + 24 + size, &sum, 8);
	write_or_die(name, f, 24 + size + 8);
	free(f);
	bool ok = mm_tok_cache_get(dir, tok, &texts, 0, 1, ids);
	size_t all = 0;
	for (size_t i = 0; i < N; i++) {
		if (ok && ids[i].n < 1)
			abort();
		all += ok ? ids[i].n - 1 : 0;
		mm_free(ids[i].id);
	}
	if (ok && 16 + (N + all) * 4 != size)
		abort();
	(void)err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	if (size && data[0] & 1)
		cache(data + 1, size - 1);
	else if (size)
		resume(data + 1, size - 1);
	return 0;
}
