/* gguf_hints.c - what a GGUF file does not say in its metadata: its own defaults, and what its tensors show.
 *
 * Absent keys mean what GGUF says they mean, not what the config class of the family says: head size is width / heads,
 * as many key-value heads as heads, all of the head rotated, base 10000.
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

/* Fields whose key may be absent, and GGUF's own default; 0: derived. */
static const struct {
	size_t field;
	enum mm_hp_type type;
	double value;
} defaults[] = {
	{ offsetof(struct mm_hp, d_head), MM_HP_SIZE, 0 },
	{ offsetof(struct mm_hp, d_head_v), MM_HP_SIZE, 0 },
	{ offsetof(struct mm_hp, n_head_kv), MM_HP_SIZE, 0 },
	{ offsetof(struct mm_hp, rope_theta), MM_HP_NUM, 10000 },
};

/* The row that filled the field: the family's own, else the common one. */
static const struct mm_hp_row *row_of(const struct mm_family *fam, size_t field)
{
	for (size_t i = 0; i < fam->n_hp; i++)
		if (fam->hp[i].field == field)
			return &fam->hp[i];
	for (size_t i = 0; i < mm_hp_common_count; i++)
		if (mm_hp_common[i].field == field)
			return &mm_hp_common[i];
	return NULL;
}

static void put_defaults(struct mm_setup *s)
{
	for (size_t i = 0; i < MM_COUNT(defaults); i++) {
		const struct mm_hp_row *r = row_of(s->fam, defaults[i].field);
		void *at = (char *)s->hp + defaults[i].field;
		if (!r || !r->gguf || mm_cfg_get(s, r->gguf))
			continue;
		if (defaults[i].type == MM_HP_SIZE)
			*(size_t *)at = (size_t)defaults[i].value;
		else
			*(double *)at = defaults[i].value;
	}
	if (s->hp->rot_frac > 0 && !s->hp->d_rot)
		s->hp->rot_frac = 1;
}

/* Is the field read from config.json, without a key in GGUF? */
static bool is_untold(const struct mm_family *fam, size_t field)
{
	const struct mm_hp_row *r = row_of(fam, field);
	return r && r->hf && !r->gguf;
}

void mm_gguf_hints(struct mm_setup *s)
{
	put_defaults(s);
	for (size_t i = 0; s->ck && i < MM_COUNT(switches); i++) {
		bool there = false;
		for (const char *const *t = switches[i].tensor; *t; t++)
			there |= mm_ckpt_find(s->ck, *t) != NULL;
		if (is_untold(s->fam, switches[i].field))
			*(bool *)((char *)s->hp + switches[i].field) = there;
	}
}

/* attention.sliding_window_pattern, which newer converters write: a number n (every nth layer sees everything; 0: all
 * slide) or a list of booleans, one a layer. */
int mm_gguf_layer_types(struct mm_setup *s, int full_rope, int slide_rope, bool *found, struct mm_err *err)
{
	const json_t *j = mm_cfg_get(s, "attention.sliding_window_pattern");
	json_int_t n = json_integer_value(j);
	*found = j != NULL;
	if (!j)
		return 0;
	if (mm_setup_layers(s, err))
		return -1;
	if (json_is_array(j) ? json_array_size(j) < s->hp->n_layer : !json_is_integer(j) || n < 0)
		return mm_fail(err, MM_EFORMAT,
			"GGUF metadata: attention.sliding_window_pattern is neither a number nor a list of %zu",
			s->hp->n_layer);
	for (size_t l = 0; l < s->hp->n_layer; l++) {
		const json_t *e = json_array_get(j, l);
		bool slides = e ? json_is_true(e) || json_integer_value(e) != 0 : n == 0 || (json_int_t)(l + 1) % n;
		s->hp->layer[l].window = slides ? s->hp->window : 0;
		s->hp->layer[l].rope = slides ? slide_rope : full_rope;
	}
	return 0;
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
