/* gguf_hints.c - what a GGUF file does not say in its metadata but shows by its tensors.
 *
 * Switches that config.json has and GGUF has no key for (attention_bias, mlp_bias, use_bias...) are seen by whether
 * layer 0 has the tensor. And since a variant that we do not know may show only as a tensor that nobody asks for, no
 * tensor of a GGUF file is left out silently: converters write nothing that the model does not use. (safetensors are
 * different: old checkpoints hold buffers that nobody needs.)
 */
#include "model/ckpt_priv.h"
#include "model/model_priv.h"

static const struct {
	size_t field; /* bool in struct mm_hp */
	const char *tensor[3];
} switches[] = {
	{ offsetof(struct mm_hp, bias_qkv), { "blk.0.attn_q.bias", "blk.0.attn_qkv.bias", NULL } },
	{ offsetof(struct mm_hp, bias_o), { "blk.0.attn_output.bias", NULL } },
	{ offsetof(struct mm_hp, bias_ffn), { "blk.0.ffn_up.bias", "blk.0.ffn_down.bias", NULL } },
};

/* Is the field read from config.json, without a key in GGUF? The family's row counts before the common one. */
static bool is_untold(const struct mm_family *fam, size_t field)
{
	for (size_t i = 0; i < fam->n_hp; i++)
		if (fam->hp[i].field == field)
			return fam->hp[i].hf && !fam->hp[i].gguf;
	return false; /* none of them is a common row */
}

void mm_gguf_hints(struct mm_setup *s)
{
	for (size_t i = 0; s->ck && i < MM_COUNT(switches); i++) {
		bool there = false;
		for (const char *const *t = switches[i].tensor; *t; t++)
			there |= mm_ckpt_find(s->ck, *t) != NULL;
		if (is_untold(s->fam, switches[i].field))
			*(bool *)((char *)s->hp + switches[i].field) = there;
	}
}

int mm_gguf_all_used(const struct mm_bind *b, const struct mm_family *fam, const struct mm_ckpt *ck, struct mm_err *err)
{
	bool *used = mm_calloc(ck->n_tensor, sizeof *used, err);
	int rc = 0;
	if (!used)
		return -1;
	for (size_t i = 0; i < b->n; i++) {
		if (b->t[i])
			used[b->t[i] - ck->tensor] = true;
		for (size_t e = 0; b->many[i] && b->many[i][e]; e++) /* ends with NULL */
			used[b->many[i][e] - ck->tensor] = true;
	}
	for (size_t i = 0; !rc && i < ck->n_tensor; i++)
		if (!used[i])
			rc = mm_fail(err, MM_EUNSUPPORTED,
				"tensor %s (%s) has no place in %s as we know it: a variant that is not supported",
				ck->tensor[i].name, ck->file[ck->tensor[i].file].name, fam->name);
	mm_free(used);
	return rc;
}
