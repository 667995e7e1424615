/* tok_post.c - post-processors of tokenizer.json: only what they put in front of and behind a single text matters here.
 *
 * In a Sequence each one wraps what the one before it made. Trimming of offsets (ByteLevel) changes no ids.
 */
#include "model/tok_priv.h"

#include <string.h>

int tok_template_add(struct mm_tok *tok, bool back, uint32_t id, struct mm_err *err)
{
	uint32_t **a = back ? &tok->back : &tok->front;
	size_t *n = back ? &tok->n_back : &tok->n_front, *cap = back ? &tok->cap_back : &tok->cap_front;
	if (id > TOK_ID_MAX)
		return mm_fail(err, MM_EFORMAT, "template: token id %lu", (unsigned long)id);
	if (*n >= 4096)
		return mm_fail(err, MM_EUNSUPPORTED, "template of more than 4096 tokens");
	if (mm_grow(a, cap, *n + 1, sizeof(**a), err))
		return -1;
	(*a)[(*n)++] = id;
	return 0;
}

/* What was in front goes behind what has just been added in front: [old, new] becomes [new, old]. */
static int wrap(struct mm_tok *tok, size_t old, struct mm_err *err)
{
	size_t added = tok->n_front - old;
	uint32_t *tmp = mm_calloc(old, sizeof(*tmp), err);
	if (!tmp)
		return -1;
	if (old && added) {
		memcpy(tmp, tok->front, old * sizeof(*tmp));
		memmove(tok->front, tok->front + old, added * sizeof(*tmp));
		memcpy(tok->front + added, tmp, old * sizeof(*tmp));
	}
	mm_free(tmp);
	return 0;
}

static int special(struct mm_tok *tok, const json_t *specials, const char *name, bool back, struct mm_err *err)
{
	const json_t *ids = json_object_get(json_object_get(specials, name), "ids"), *id;
	size_t i;
	if (!json_is_array(ids))
		return mm_fail(err, MM_EFORMAT, "template: special token '%s' is not defined", name);
	json_array_foreach (ids, i, id) {
		json_int_t v = json_is_integer(id) ? json_integer_value(id) : -1;
		if (v < 0 || v > TOK_ID_MAX)
			return mm_fail(err, MM_EFORMAT, "template: id of '%s'", name);
		if (tok_template_add(tok, back, (uint32_t)v, err))
			return -1;
	}
	return 0;
}

static int template(struct mm_tok *tok, const json_t *j, struct mm_err *err)
{
	const json_t *single = json_object_get(j, "single"), *specials = json_object_get(j, "special_tokens"), *piece;
	size_t i, old = tok->n_front;
	bool back = false;
	if (!json_is_array(single))
		return mm_fail(err, MM_EFORMAT, "template without 'single'");
	json_array_foreach (single, i, piece) {
		const char *seq = json_string_value(json_object_get(json_object_get(piece, "Sequence"), "id"));
		const char *name = json_string_value(json_object_get(json_object_get(piece, "SpecialToken"), "id"));
		if (seq && !back && !strcmp(seq, "A"))
			back = true;
		else if (!name || seq)
			return mm_fail(err, MM_EUNSUPPORTED,
				"template for one text with another piece than A and special tokens");
		else if (special(tok, specials, name, back, err))
			return -1;
	}
	if (!back)
		return mm_fail(err, MM_EUNSUPPORTED, "template without the text");
	return wrap(tok, old, err);
}

/* ["[CLS]", 101] */
static int pair(struct mm_tok *tok, const json_t *j, const char *key, bool back, struct mm_err *err)
{
	const json_t *id = json_array_get(json_object_get(j, key), 1);
	json_int_t v = json_is_integer(id) ? json_integer_value(id) : -1;
	if (v < 0 || v > TOK_ID_MAX)
		return mm_fail(err, MM_EFORMAT, "post-processor: '%s' must be [token, id]", key);
	return tok_template_add(tok, back, (uint32_t)v, err);
}

static int bert(struct mm_tok *tok, const json_t *j, struct mm_err *err)
{
	size_t old = tok->n_front;
	return pair(tok, j, "cls", false, err) || pair(tok, j, "sep", true, err) ? -1 : wrap(tok, old, err);
}

int tok_post_parse(struct mm_tok *tok, const json_t *j, unsigned depth, struct mm_err *err)
{
	const json_t *list = json_object_get(j, "processors"), *one;
	const char *type = NULL;
	size_t i;
	if (!j || json_is_null(j))
		return 0;
	if (depth > 16)
		return mm_fail(err, MM_EUNSUPPORTED, "post-processors nested too deep");
	if (!json_is_object(j) || mm_json_get_str(j, "type", &type, err))
		return json_is_object(j) ? -1 : mm_fail(err, MM_EFORMAT, "a post-processor must be an object");
	if (type && !strcmp(type, "ByteLevel"))
		return 0;
	if (type && !strcmp(type, "TemplateProcessing"))
		return template(tok, j, err);
	if (type && (!strcmp(type, "BertProcessing") || !strcmp(type, "RobertaProcessing")))
		return bert(tok, j, err);
	if (!type || strcmp(type, "Sequence"))
		return mm_fail(err, MM_EUNSUPPORTED, "post-processor '%s' is not known", type ? type : "(no type)");
	if (!json_is_array(list))
		return mm_fail(err, MM_EFORMAT, "post-processor Sequence without 'processors'");
	json_array_foreach (list, i, one)
		if (tok_post_parse(tok, one, depth + 1, err))
			return -1;
	return 0;
}
