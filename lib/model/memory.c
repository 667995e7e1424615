/* memory.c: how much memory a model may take, what is held of it, how many rows go through it at once.
 *
 * The bound on the resident set is what the caller says, and never more than SLACK times the checkpoint or FLOOR. When
 * all packed matrices, a batch and what the process has already fit below it, the model is resident. Else layers come
 * and go: then a batch is as large as fits, up to ROWS_STREAM, because every batch reads all weights once; at that size
 * the reading costs about a hundredth of the arithmetic. Estimates err on the large side. */
#include "model/score_priv.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FLOOR	    ((uint64_t)1 << 30)
#define ROWS_MIN    ((size_t)16 * MM_TILE)
#define ROWS_STREAM ((size_t)84 * MM_TILE)
#define LONGEST	    ((size_t)2048) /* a guess, before the texts are seen */
#define USUAL	    ((size_t)8 * MM_TILE)
#define OTHER	    ((uint64_t)48 << 20) /* tokenizer, results, libraries' own buffers */

static uint64_t elem_bytes(const struct mm_model *m)
{
	return m->compute == MM_COMPUTE_BF16 ? 2 : 4;
}

static bool is_expert(size_t slot)
{
	return slot == MM_W_EGATE_UP || slot == MM_W_EGATE || slot == MM_W_EUP || slot == MM_W_EDOWN;
}

/* Elements of what is held of one layer at a time: of experts one, they are streamed by themselves. */
static uint64_t layer_elems(const struct mm_model *m, size_t l, uint64_t *largest)
{
	uint64_t sum = 0;
	for (size_t s = MM_W_GLOBAL_END; s < MM_W_COUNT; s++) {
		const struct mm_tensor *t = mm_w_get(m, l, (enum mm_slot)s);
		uint64_t n = t ? t->n_elem : 0;
		if (t && is_expert(s) && mm_w_is_stacked(m, l, (enum mm_slot)s))
			n /= MM_MAX(m->hp.n_expert, (size_t)1);
		if (t &&
			m->bind.row[MM_W_GLOBAL_END + l * (MM_W_COUNT - MM_W_GLOBAL_END) + s - MM_W_GLOBAL_END]->flags &
				MM_W_MXFP4)
			n *= 2;
		*largest = MM_MAX(*largest, n);
		sum += n;
	}
	return sum;
}

static uint64_t head_elems(const struct mm_model *m)
{
	return (uint64_t)MM_MIN(m->hp.n_vocab, (size_t)MM_HEAD_CHUNK) * m->hp.n_embd;
}

/* Bytes of the packed matrices of a layer and of the stage in which they are put together. */
static void layer_bytes(struct mm_model *m)
{
	uint64_t elems = 0, largest = 0;
	for (size_t l = 0; l < m->hp.n_layer; l++) {
		uint64_t n = layer_elems(m, l, &largest);
		elems = MM_MAX(elems, n);
	}
	m->n_layer_byte = MM_MAX(elems * elem_bytes(m), head_elems(m) * mm_dtypes[mm_head_type(m)].bytes);
	/* gate and up are put together; bf16 is staged as it is */
	m->n_stage_byte = MM_MAX(2 * largest, head_elems(m)) * (!strcmp(m->dtype, "bf16") ? 2 : 4);
}

static uint64_t resident_now(void)
{
	unsigned long long all = 0, rss = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (f && fscanf(f, "%llu %llu", &all, &rss) != 2)
		rss = 0;
	if (f)
		fclose(f);
	return rss * (uint64_t)sysconf(_SC_PAGESIZE);
}

static size_t rows_wanted(const struct mm_model *m)
{
	return m->resident ? MM_MAX(ROWS_MIN, 4 * MM_TILE * mm_threads()) : ROWS_STREAM;
}

void mm_memory_plan(struct mm_model *m)
{
	uint64_t rule = MM_MAX(FLOOR, m->n_byte + m->n_byte / 5);
	const struct mm_tensor *e = mm_w_get(m, MM_GLOBAL, MM_W_EMBD);
	uint64_t packed = m->n_param - (mm_w_get(m, MM_GLOBAL, MM_W_HEAD) && e ? MM_MIN(e->n_elem, m->n_param) : 0);
	m->bound = m->opts.memory ? MM_MIN(m->opts.memory, rule) : rule;
	layer_bytes(m);
	m->resident = true;
	m->n_base_byte = resident_now() + OTHER;
	uint64_t wide = m->hp.n_vocab * m->hp.n_embd * (mm_dtypes[mm_head_type(m)].bytes - elem_bytes(m));
	uint64_t need = packed * elem_bytes(m) + wide + m->n_stage_byte + m->n_base_byte +
			mm_pass_bytes(m, rows_wanted(m), MM_MIN(LONGEST, MM_MAX(m->hp.n_ctx, (size_t)1)));
	m->resident = need <= m->bound;
	uint64_t least = m->n_base_byte + m->n_layer_byte + m->n_stage_byte + mm_pass_bytes(m, USUAL, USUAL);
	m->n_memory_min = m->resident || least <= m->bound ? 0 : least;
}

size_t mm_memory_rows(const struct mm_model *m, size_t longest)
{
	size_t least = (longest + MM_TILE - 1) / MM_TILE * MM_TILE, rows = MM_MAX(rows_wanted(m), least);
	uint64_t held = m->n_base_byte + m->n_layer_byte + m->n_stage_byte;
	uint64_t room = m->bound > held ? m->bound - held : 0;
	if (m->resident)
		return rows;
	while (rows > MM_TILE && mm_pass_bytes(m, rows, longest) > room)
		rows -= (rows / 8 + MM_TILE - 1) / MM_TILE * MM_TILE;
	return MM_MAX(MM_MAX(rows, least), (size_t)MM_TILE);
}

uint64_t mm_memory_keep(const struct mm_model *m, size_t rows, size_t longest)
{
	return mm_pass_bytes(m, rows, longest) + (m->resident ? 0 : m->n_layer_byte);
}

/* Every matrix element counts twice; of experts those that a token is sent to. */
double mm_memory_flops(const struct mm_model *m)
{
	double n = 2.0 * (double)m->hp.n_vocab * (double)m->hp.n_embd;
	for (size_t l = 0; l < m->hp.n_layer; l++)
		for (size_t s = MM_W_GLOBAL_END; s < MM_W_COUNT; s++) {
			const struct mm_tensor *t = mm_w_get(m, l, (enum mm_slot)s);
			double share = 1;
			if (!t || t->n_dim < 2)
				continue;
			if (is_expert(s)) /* of a stacked tensor the part of those used, else one tensor for each of
					     them */
				share = mm_w_is_stacked(m, l, (enum mm_slot)s)
						? (double)m->hp.n_expert_used /
							  (double)MM_MAX(m->hp.n_expert, (size_t)1)
						: (double)m->hp.n_expert_used;
			n += 2.0 * share * (double)t->n_elem;
		}
	return n;
}
