/* A state directory with K models of N texts that were never files, for measurements of a large map (bench_large.sh).
 *
 *   bench_fill DIR K N [M]     writes DIR/texts.jsonl and DIR/state; with features at M probes */
#include "stat/stat_fisher.h"
#include "store/store.h"
#include "tensor/tensor.h"
#include "wire/wire.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mm_err err;
#define MUST(x)                                                                                                        \
	do {                                                                                                           \
		if (x) {                                                                                               \
			fprintf(stderr, "%s: %s\n", #x, err.text);                                                     \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

struct fill {
	size_t n, from, to;
	const float *hard, *family; /* [n], [64, n] */
	float *v;
	size_t m;	    /* probes; 0: no features */
	const float *logit; /* [64, m, MM_BYTES] of sqrt p, by family */
	uint16_t *half;	    /* [m, MM_BYTES] */
	uint8_t set[MM_PROBES_ID];
};

#define NOISE 65536
static float noise[NOISE];

/* The family's distributions, changed by a model's own noise: relatives at all distances. */
static int put_features(struct mm_txn *t, const struct fill *f, size_t i, uint64_t id, struct mm_err *e)
{
	struct mm_rng r;
	mm_rng_init(&r, i + 900);
	float spread = (float)(0.02 + 0.4 * mm_rng_double(&r)), row[MM_BYTES];
	for (size_t m = 0; m < f->m; m++) {
		size_t at = (size_t)mm_rng_below(&r, NOISE);
		double sum = 0;
		for (size_t b = 0; b < MM_BYTES; b++) {
			row[b] = f->logit[(i % 64 * f->m + m) * MM_BYTES + b] * (1 + spread * noise[(at + b) % NOISE]);
			sum += (double)row[b] * (double)row[b];
		}
		for (size_t b = 0; b < MM_BYTES; b++)
			f->half[m * MM_BYTES + b] = mm_f32_to_f16(row[b] / (float)sqrt(sum));
	}
	struct mm_stored_array a = { .name = "next_byte",
		.type = MM_A_F16,
		.n_dim = 2,
		.dim = { f->m, MM_BYTES },
		.data = f->half,
		.n_byte = f->m * MM_BYTES * sizeof(uint16_t) };
	struct mm_stored_array s = { .name = "probe_set",
		.type = MM_A_U8,
		.n_dim = 1,
		.dim = { MM_PROBES_ID },
		.data = f->set,
		.n_byte = MM_PROBES_ID };
	return mm_array_put(t, id, &a, e) || mm_array_put(t, id, &s, e) ? -1 : 0;
}

static void features_init(struct fill *f, const struct mm_texts *texts)
{
	struct mm_probes p;
	struct mm_rng r;
	MUST(mm_probes_make(&p, texts, f->m, &err));
	f->m = p.n;
	mm_probes_id(&p, false, f->set);
	mm_probes_free(&p);
	float *x = malloc(64 * f->m * MM_BYTES * sizeof(float));
	float *base = malloc(f->m * MM_BYTES * sizeof(float));
	mm_rng_init(&r, 7);
	for (size_t i = 0; i < NOISE; i++)
		noise[i] = (float)(2 * mm_rng_double(&r) - 1);
	for (size_t i = 0; i < f->m * MM_BYTES; i++)
		base[i] = (float)(1.5 * mm_rng_normal(&r));
	for (size_t i = 0; i < 64 * f->m * MM_BYTES; i++)
		x[i] = expf(base[i % (f->m * MM_BYTES)] + 0.7f * (float)mm_rng_normal(&r));
	free(base);
	f->logit = x;
	f->half = malloc(f->m * MM_BYTES * sizeof(uint16_t));
}

/* Families around a common difficulty of the texts, as in bench_map.c. */
static int put(struct mm_txn *t, void *ctx, struct mm_err *e)
{
	struct fill *f = ctx;
	for (size_t i = f->from; i < f->to; i++) {
		struct mm_rng r;
		char name[96], path[128], family[32], run[32];
		mm_rng_init(&r, i + 100);
		float level = (float)(60 * mm_rng_normal(&r)), own = (float)(6 + 20 * mm_rng_double(&r));
		for (size_t s = 0; s < f->n; s++)
			f->v[s] = f->hard[s] + level + f->family[i % 64 * f->n + s] +
				  own * (float)(2 * (mm_rng_double(&r) + mm_rng_double(&r) + mm_rng_double(&r)) - 3);
		snprintf(family, sizeof family, "family%zu", i % 64);
		snprintf(name, sizeof name, "%s/model-%05zu", family, i);
		snprintf(path, sizeof path, "/nowhere/%s", name);
		snprintf(run, sizeof run, "run-%zu", i / 10);
		struct mm_model_rec m = { .name = name,
			.path = path,
			.state = MM_ST_PLACED,
			.has_vector = true,
			.gone = true,
			.family = family,
			.dtype = "bf16",
			.params = 1000000 + i % 64,
			.bytes = 2000000,
			.run = i % 3 ? NULL : run,
			.step = i % 3 ? -1 : (int64_t)(i % 10) * 100,
			.quick = { 1, i + 1 },
			.full = { 2, i + 1 },
			.first_seen = 1700000000,
			.scored_at = 1700000000 };
		struct mm_stored_array a = { .name = "loglik",
			.type = MM_A_F32,
			.n_dim = 1,
			.dim = { f->n },
			.data = f->v,
			.n_byte = f->n * sizeof(float) };
		if (mm_model_put(t, &m, e) || mm_array_put(t, m.id, &a, e) || (f->m && put_features(t, f, i, m.id, e)))
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 4 && argc != 5) {
		puts("bench_fill DIR K N [M]: used by bench_large.sh");
		return 0;
	}
	size_t k = strtoul(argv[2], NULL, 10), n = strtoul(argv[3], NULL, 10);
	char path[4096];
	struct mm_texts texts;
	snprintf(path, sizeof path, "%s/texts.jsonl", argv[1]);
	FILE *f = fopen(path, "w");
	if (!f)
		return 1;
	for (size_t s = 0; s < n; s++)
		fprintf(f, "{\"text\":\"text number %zu of a set that nobody reads\",\"domain\":\"d%zu\"}\n", s, s % 5);
	fclose(f);
	MUST(mm_texts_load(&texts, path, &err));
	struct mm_store_pin pin = { .texts = texts.hash,
		.n_texts = texts.n,
		.mean_bytes = texts.mean_bytes,
		.bos = "auto",
		.compute = "f32",
		.scorer = MM_SCORER_VERSION };
	snprintf(path, sizeof path, "%s/state", argv[1]);
	struct mm_store *s = mm_store_open(path, &pin, &err);
	MUST(!s);
	struct mm_rng r;
	mm_rng_init(&r, 1);
	float *hard = malloc(n * sizeof(float)), *family = malloc(64 * n * sizeof(float));
	for (size_t i = 0; i < n; i++)
		hard[i] = (float)(-900 + 140 * mm_rng_normal(&r));
	for (size_t i = 0; i < 64 * n; i++)
		family[i] = (float)(30 * mm_rng_normal(&r));
	struct fill fill = { .n = n, .hard = hard, .family = family, .v = malloc(n * sizeof(float)) };
	if (argc == 5 && (fill.m = strtoul(argv[4], NULL, 10)))
		features_init(&fill, &texts);
	for (; fill.from < k; fill.from = fill.to) {
		fill.to = MM_MIN(k, fill.from + 500);
		MUST(mm_store_write(s, put, &fill, &err));
	}
	mm_store_close(s);
	mm_texts_free(&texts);
	free(fill.v);
	free(family);
	free(hard);
	return 0;
}
