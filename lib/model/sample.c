/* sample.c - the weight sample: 1024 weights at positions that follow from roles and shapes alone, so that the same
 * weights in another dtype, other shards or another container give (nearly) the same numbers.
 *
 * Half of them come from the embedding, half from the down projections of the layers, where a checkpoint has tensors of
 * these roles; all from the one that is there; else from all matrices in the order of their names. The two roles are
 * stored alike by all containers (a transposed Conv1D is turned round), while GGUF renames everything, permutes the
 * rows of q and k and fuses or splits others. What GGUF limits: families whose experts are stacked have no down
 * projection here and are told by the embedding; a quantised file is only near. Rows of the embedding are drawn from
 * the largest power of two that fits, so that a vocabulary padded by a few rows gives the same positions.
 */
#include "model/ckpt_priv.h"

#include <stdlib.h>
#include <string.h>

#define SEED UINT64_C(0x6d6f64656c6d6170)

static const char *const embd[] = { "embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight",
	"tok_embeddings.weight", "token_embd.weight", "embeddings.weight", "embedding.weight", "tokens_embed.weight" };
static const char *const down[] = { "mlp.down_proj.weight", "ffn_down.weight", "mlp.dense_4h_to_h.weight",
	"mlp.c_proj.weight", "mlp.fc_out.weight", "mlp.fc2.weight", "fc2.weight", "ffn.down_proj.weight",
	"feed_forward.w2.weight", "mixer.out_proj.weight", "ssm_out.weight" };

/* `name` is `tail`, or ends in "." and `tail`; towers of other modalities are left out. */
static bool has_role(const char *name, const char *const *tail, size_t n_tail)
{
	if (strstr(name, "vision") || strstr(name, "visual") || strstr(name, "audio"))
		return false;
	for (size_t i = 0; i < n_tail; i++) {
		size_t n = strlen(name), k = strlen(tail[i]);
		if (n >= k && !strcmp(name + n - k, tail[i]) && (n == k || name[n - k - 1] == '.'))
			return true;
	}
	return false;
}

static unsigned long layer_of(const char *name)
{
	size_t skip = strcspn(name, "0123456789");
	return strtoul(name + skip, NULL, 10);
}

static int by_layer(const void *a, const void *b)
{
	const struct mm_tensor *p = *(const struct mm_tensor *const *)a, *q = *(const struct mm_tensor *const *)b;
	unsigned long x = layer_of(p->name), y = layer_of(q->name);
	return x != y ? (x < y ? -1 : 1) : strcmp(p->name, q->name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct mm_tensor *const *)a)->name, (*(const struct mm_tensor *const *)b)->name);
}

static float one(const struct mm_ckpt *ck, const struct mm_tensor *t, uint64_t elem, struct mm_err *err, int *rc)
{
	float block[256] = { 0 };
	unsigned n = mm_dtypes[t->dtype].block;
	if (!*rc)
		*rc = mm_ckpt_read(ck, t, elem / n * n, n, block, err);
	return block[elem % n];
}

/* Element (row, col) of a matrix whose rows are outputs; a down projection with more rows than columns is a Conv1D. */
static uint64_t draw(const struct mm_tensor *t, struct mm_rng *rng, bool is_embd)
{
	uint64_t cols = t->dim[t->n_dim - 1], rows = t->n_elem / cols, pow2 = 1;
	while (pow2 <= rows / 2)
		pow2 *= 2;
	bool turned = !is_embd && rows > cols;
	uint64_t r = mm_rng_below(rng, is_embd	? pow2
				       : turned ? cols
						: rows),
		 c = mm_rng_below(rng, turned ? rows : cols);
	return turned ? c * cols + r : r * cols + c;
}

int mm_weight_sample(const struct mm_ckpt *ck, float out[MM_WEIGHT_SAMPLE], struct mm_err *err)
{
	const struct mm_tensor *e = NULL, **d = mm_calloc(ck->n_tensor, sizeof *d, err);
	struct mm_rng rng;
	size_t n_d = 0;
	int rc = 0;
	if (!d)
		return -1;
	for (size_t i = 0; i < ck->n_tensor; i++) {
		const struct mm_tensor *t = &ck->tensor[i];
		if (t->n_dim != 2 || !t->n_elem || !mm_dtypes[t->dtype].is_float)
			continue;
		if (!e && has_role(t->name, embd, MM_COUNT(embd)))
			e = t;
		else if (has_role(t->name, down, MM_COUNT(down)))
			d[n_d++] = t;
	}
	bool roles = e || n_d;
	for (size_t i = 0; !roles && i < ck->n_tensor; i++)
		if (ck->tensor[i].n_dim >= 2 && ck->tensor[i].n_elem && mm_dtypes[ck->tensor[i].dtype].is_float)
			d[n_d++] = &ck->tensor[i];
	if (!e && !n_d)
		rc = mm_fail(err, MM_ESHAPE, "no matrix to take a sample of weights from");
	if (n_d)
		qsort(d, n_d, sizeof *d, roles ? by_layer : by_name);
	mm_rng_init(&rng, SEED);
	for (size_t i = 0; !rc && i < MM_WEIGHT_SAMPLE; i++) {
		bool from_embd = e && (!n_d || i < MM_WEIGHT_SAMPLE / 2);
		const struct mm_tensor *t = from_embd ? e : d[mm_rng_below(&rng, n_d)];
		out[i] = one(ck, t, draw(t, &rng, from_embd), err, &rc);
	}
	mm_free(d);
	return rc;
}
