/* feat_vocab.c: the vocabulary as byte strings, sorted, so that the tokens that begin with given bytes are a range. */
#include "model/ckpt_priv.h"
#include "model/feat_priv.h"
#include "model/tok_priv.h"

#include <stdlib.h>
#include <string.h>

/* Special tokens behind which nothing of the same document comes, whatever the configuration names as its end. */
static const char *const enders[] = { "</s>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>",
	"<|im_end|>", "<|end|>", "<eos>", "<|eos|>", "[EOS]", "<end_of_turn>", "<|END_OF_TURN_TOKEN|>", "<|return|>",
	"<|eot|>", "<\uff5cend\u2581of\u2581sentence\uff5c>" };
/* What stands for no text also where no list of special tokens says so. */
static const char *const nothings[] = { "<unk>", "[UNK]", "<pad>", "[PAD]" };

static bool is_one_of(struct tok_str s, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(list[i]) == s.n && !memcmp(list[i], s.s, s.n))
			return true;
	return false;
}

struct entry {
	const uint8_t *s;
	uint32_t n, id;
};

static int by_bytes(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = memcmp(x->s, y->s, MM_MIN(x->n, y->n));
	if (c)
		return c;
	if (x->n != y->n)
		return x->n < y->n ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void mark_end(struct mm_feat_vocab *v, int64_t id)
{
	if (id >= 0 && (uint64_t)id < v->n)
		v->first[id] = MM_FEAT_END;
}

static void mark_ends(struct mm_feat_vocab *v, const struct mm_model *m, const struct mm_tok *tok)
{
	const json_t *many = json_object_get(mm_ckpt_config(m->ck), "eos_token_id"), *one;
	size_t i;
	mark_end(v, mm_tok_eos(tok));
	mark_end(v, m->eos);
	if (json_is_array(many))
		json_array_foreach (many, i, one)
			mark_end(v, json_is_integer(one) ? json_integer_value(one) : -1);
	for (i = 0; i < tok->added.n; i++)
		if (tok->added.tok[i].special && is_one_of(tok->added.tok[i].text, enders, MM_COUNT(enders)))
			mark_end(v, tok->added.tok[i].id);
	for (uint32_t id = 0; id < v->n; id++)
		v->n_end += v->first[id] == MM_FEAT_END;
}

/* What each id is spelled as: added[id] (index + 1 of the added token) before the vocabulary. */
static int spell(struct mm_feat_vocab *v, const struct mm_tok *tok, const uint32_t *added, struct mm_buf *blob,
	struct mm_err *err)
{
	struct tok_str s;
	for (uint32_t id = 0; id < v->n; id++) {
		const struct tok_added_token *t = added[id] ? &tok->added.tok[added[id] - 1] : NULL;
		v->off[id] = (uint32_t)blob->len;
		if (v->first[id] == MM_FEAT_END)
			continue;
		if (t) {
			if (!t->special)
				mm_buf_put(blob, t->text.s, t->text.n);
		} else if (tok_vocab_text(&tok->vocab, id, &s) && !is_one_of(s, nothings, MM_COUNT(nothings))) {
			tok->ops->bytes(tok, s, blob);
		}
		if (mm_buf_check(blob, err))
			return -1;
		if (blob->len > UINT32_MAX)
			return mm_fail(err, MM_EUNSUPPORTED, "vocabulary of more than 4 GB");
		if (blob->len > v->off[id]) {
			v->first[id] = blob->data[v->off[id]];
			v->n_sorted++;
			v->longest = MM_MAX(v->longest, blob->len - v->off[id]);
		}
	}
	v->off[v->n] = (uint32_t)blob->len;
	return 0;
}

static int sort(struct mm_feat_vocab *v, struct mm_err *err)
{
	struct entry *e = mm_calloc(v->n_sorted, sizeof(*e), err);
	size_t n = 0, k = 0;
	if (!e || !(v->sorted = mm_calloc(v->n_sorted, sizeof(*v->sorted), err)) ||
		!(v->end = mm_calloc(v->n_end, sizeof(*v->end), err))) {
		mm_free(e);
		return -1;
	}
	for (uint32_t id = 0; id < v->n; id++) {
		if (v->first[id] < MM_FEAT_END)
			e[n++] = (struct entry){ v->blob + v->off[id], v->off[id + 1] - v->off[id], id };
		else if (v->first[id] == MM_FEAT_END)
			v->end[k++] = id;
	}
	qsort(e, n, sizeof(*e), by_bytes);
	for (size_t i = 0; i < n; i++)
		v->sorted[i] = e[i].id;
	mm_free(e);
	return 0;
}

int mm_feat_vocab_make(struct mm_feat_vocab *v, const struct mm_model *m, const struct mm_tok *tok, struct mm_err *err)
{
	struct mm_buf blob = { 0 };
	uint32_t *added = NULL;
	int rc = -1;
	*v = (struct mm_feat_vocab){ .n = m->hp.n_vocab };
	if (!tok->ops || !tok->ops->bytes)
		return mm_fail(err, MM_EUNSUPPORTED, "the tokenizer does not say which bytes its tokens are");
	if (!(v->first = mm_calloc(v->n, sizeof(*v->first), err)) ||
		!(v->off = mm_calloc(v->n + 1, sizeof(*v->off), err)) ||
		!(added = mm_calloc(v->n, sizeof(*added), err)))
		goto out;
	memset(v->first, 0xff, v->n * sizeof(*v->first)); /* MM_FEAT_NONE */
	for (size_t i = tok->added.n; i-- > 0;)
		if (tok->added.tok[i].id < v->n)
			added[tok->added.tok[i].id] = (uint32_t)i + 1;
	mark_ends(v, m, tok);
	if (spell(v, tok, added, &blob, err))
		goto out;
	v->blob = blob.data;
	blob = (struct mm_buf){ 0 };
	if (!v->n_sorted) {
		mm_fail(err, MM_EUNSUPPORTED, "none of the tokens stands for bytes");
		goto out;
	}
	rc = sort(v, err);
out:
	mm_free(added);
	mm_buf_fini(&blob);
	if (rc)
		mm_feat_vocab_fini(v);
	return rc;
}

void mm_feat_vocab_fini(struct mm_feat_vocab *v)
{
	mm_free(v->first);
	mm_free(v->off);
	mm_free(v->blob);
	mm_free(v->sorted);
	mm_free(v->end);
	*v = (struct mm_feat_vocab){ 0 };
}

size_t mm_feat_len(const struct mm_feat_vocab *v, uint32_t id)
{
	return v->off[id + 1] - v->off[id];
}

/* < 0: the token sorts before all that begin with s; 0: it begins with s */
static int against(const struct mm_feat_vocab *v, uint32_t i, const uint8_t *s, size_t n)
{
	uint32_t id = v->sorted[i];
	size_t len = mm_feat_len(v, id);
	int c = memcmp(v->blob + v->off[id], s, MM_MIN(len, n));
	return c ? c : len < n ? -1 : 0;
}

void mm_feat_range(const struct mm_feat_vocab *v, const uint8_t *s, size_t n, uint32_t *lo, uint32_t *hi)
{
	uint32_t from = *lo, to = *hi, end;
	while (from < to) {
		uint32_t mid = from + (to - from) / 2;
		if (against(v, mid, s, n) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	end = *hi;
	*lo = from;
	while (from < end) {
		uint32_t mid = from + (end - from) / 2;
		if (against(v, mid, s, n) <= 0)
			from = mid + 1;
		else
			end = mid;
	}
	*hi = from;
}
