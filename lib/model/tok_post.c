/* tok_post.c - post-processors of tokenizer.json: only what they put in front of and behind a single text matters here.
 *
 * The reference hands a list of encodings from one processor to the next. It begins with one, the text. A template
 * makes one of each of its pieces and has two forms, for one and for two encodings; BertProcessing and
 * RobertaProcessing wrap each of them, all but the first in another way. So a Sequence is played here on lists of ids
 * in which TEXT stands for the text. Trimming of offsets (ByteLevel) changes no ids.
 */
#include "model/tok_priv.h"

#include <string.h>

#define TEXT	 UINT32_MAX
#define PART_MAX 4096 /* encodings, and tokens of each */

struct list { /* of encodings */
	struct mm_ids *part;
	size_t n, cap;
};

static void list_fini(struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		mm_free(l->part[i].id);
	mm_free(l->part);
	*l = (struct list){ 0 };
}

static int put(struct mm_ids *p, uint32_t id, struct mm_err *err)
{
	if (p->n >= PART_MAX)
		return mm_fail(err, MM_EUNSUPPORTED, "template of more than %d tokens", PART_MAX);
	if (tok_ids_room(p, 1, err))
		return -1;
	p->id[p->n++] = id;
	return 0;
}

static struct mm_ids *new_part(struct list *l, struct mm_err *err)
{
	if (l->n >= PART_MAX)
		mm_fail(err, MM_EUNSUPPORTED, "template of more than %d pieces", PART_MAX);
	else if (!mm_grow(&l->part, &l->cap, l->n + 1, sizeof(*l->part), err)) {
		l->part[l->n] = (struct mm_ids){ 0 };
		return &l->part[l->n++];
	}
	return NULL;
}

int tok_template_add(struct mm_tok *tok, bool back, uint32_t id, struct mm_err *err)
{
	uint32_t **a = back ? &tok->back : &tok->front;
	size_t *n = back ? &tok->n_back : &tok->n_front, *cap = back ? &tok->cap_back : &tok->cap_front;
	if (id > TOK_ID_MAX)
		return mm_fail(err, MM_EFORMAT, "template: token id %lu", (unsigned long)id);
	if (*n >= PART_MAX)
		return mm_fail(err, MM_EUNSUPPORTED, "template of more than %d tokens", PART_MAX);
	if (mm_grow(a, cap, *n + 1, sizeof(**a), err))
		return -1;
	(*a)[(*n)++] = id;
	return 0;
}

static int special(struct mm_ids *out, const json_t *specials, const char *name, struct mm_err *err)
{
	const json_t *ids = json_object_get(json_object_get(specials, name), "ids"), *id;
	size_t i;
	if (!json_is_array(ids))
		return mm_fail(err, MM_EFORMAT, "template: special token '%s' is not defined", name);
	json_array_foreach (ids, i, id) {
		json_int_t v = json_is_integer(id) ? json_integer_value(id) : -1;
		if (v < 0 || v > TOK_ID_MAX)
			return mm_fail(err, MM_EFORMAT, "template: id of '%s'", name);
		if (put(out, (uint32_t)v, err))
			return -1;
	}
	return 0;
}

/* One piece of a template as an encoding of its own: A, B (the encodings that there are) or special tokens. */
static int piece(struct list *to, const struct list *from, const json_t *j, const json_t *specials, struct mm_err *err)
{
	const char *seq = json_string_value(json_object_get(json_object_get(j, "Sequence"), "id"));
	const char *name = json_string_value(json_object_get(json_object_get(j, "SpecialToken"), "id"));
	struct mm_ids *p = new_part(to, err);
	size_t k = seq && !strcmp(seq, "A") ? 0 : seq && !strcmp(seq, "B") ? 1 : SIZE_MAX;
	if (!p)
		return -1;
	if (!seq && name)
		return special(p, specials, name, err);
	if (k >= from->n)
		return mm_fail(
			err, MM_EUNSUPPORTED, "template for one text with another piece than A and special tokens");
	for (size_t i = 0; i < from->part[k].n; i++)
		if (put(p, from->part[k].id[i], err))
			return -1;
	return 0;
}

static int template(struct list *l, const json_t *j, struct mm_err *err)
{
	const char *form = l->n == 1 ? "single" : "pair";
	const json_t *pieces = json_object_get(j, form), *specials = json_object_get(j, "special_tokens"), *one;
	struct list to = { 0 };
	size_t i;
	int rc = 0;
	if (l->n > 2)
		return mm_fail(err, MM_EUNSUPPORTED, "a template behind one that has made %zu pieces", l->n);
	if (!json_is_array(pieces))
		return mm_fail(err, MM_EFORMAT, "template without '%s'", form);
	json_array_foreach (pieces, i, one)
		if ((rc = piece(&to, l, one, specials, err)))
			break;
	list_fini(l);
	*l = to;
	return rc;
}

/* ["[CLS]", 101] */
static int pair(const json_t *j, const char *key, uint32_t *id, struct mm_err *err)
{
	const json_t *second = json_array_get(json_object_get(j, key), 1);
	json_int_t v = json_is_integer(second) ? json_integer_value(second) : -1;
	if (v < 0 || v > TOK_ID_MAX)
		return mm_fail(err, MM_EFORMAT, "post-processor: '%s' must be [token, id]", key);
	*id = (uint32_t)v;
	return 0;
}

static int put_front(struct mm_ids *p, uint32_t id, struct mm_err *err)
{
	if (put(p, id, err))
		return -1;
	memmove(p->id + 1, p->id, (p->n - 1) * sizeof(*p->id));
	p->id[0] = id;
	return 0;
}

/* cls text sep; of more encodings the second and on have nothing in front (Bert), or sep (Roberta). */
static int bert(struct list *l, const json_t *j, bool roberta, struct mm_err *err)
{
	uint32_t cls, sep;
	if (pair(j, "cls", &cls, err) || pair(j, "sep", &sep, err))
		return -1;
	for (size_t i = 0; i < l->n; i++)
		if (put(&l->part[i], sep, err) || ((!i || roberta) && put_front(&l->part[i], i ? sep : cls, err)))
			return -1;
	return 0;
}

static int play(struct list *l, const json_t *j, unsigned depth, struct mm_err *err)
{
	const json_t *inner = json_object_get(j, "processors"), *one;
	const char *type = NULL;
	size_t i;
	if (depth > 16)
		return mm_fail(err, MM_EUNSUPPORTED, "post-processors nested too deep");
	if (!json_is_object(j) || mm_json_get_str(j, "type", &type, err))
		return json_is_object(j) ? -1 : mm_fail(err, MM_EFORMAT, "a post-processor must be an object");
	if (type && !strcmp(type, "ByteLevel"))
		return 0;
	if (type && !strcmp(type, "TemplateProcessing"))
		return template(l, j, err);
	if (type && (!strcmp(type, "BertProcessing") || !strcmp(type, "RobertaProcessing")))
		return bert(l, j, *type == 'R', err);
	if (!type || strcmp(type, "Sequence"))
		return mm_fail(err, MM_EUNSUPPORTED, "post-processor '%s' is not known", type ? type : "(no type)");
	if (!json_is_array(inner))
		return mm_fail(err, MM_EFORMAT, "post-processor Sequence without 'processors'");
	json_array_foreach (inner, i, one)
		if (play(l, one, depth + 1, err))
			return -1;
	return 0;
}

/* All encodings one behind the other: what stands before the text and what behind it. */
static int settle(struct mm_tok *tok, const struct list *l, struct mm_err *err)
{
	bool back = false;
	for (size_t i = 0; i < l->n; i++)
		for (size_t k = 0; k < l->part[i].n; k++) {
			uint32_t id = l->part[i].id[k];
			if (id == TEXT && back)
				return mm_fail(err, MM_EUNSUPPORTED, "template with the text twice");
			if (id != TEXT && tok_template_add(tok, back, id, err))
				return -1;
			back |= id == TEXT;
		}
	return back ? 0 : mm_fail(err, MM_EUNSUPPORTED, "template without the text");
}

int tok_post_parse(struct mm_tok *tok, const json_t *j, struct mm_err *err)
{
	struct list l = { 0 };
	struct mm_ids *text;
	int rc;
	if (!j || json_is_null(j))
		return 0;
	text = new_part(&l, err);
	rc = !text || put(text, TEXT, err) || play(&l, j, 0, err) || settle(tok, &l, err) ? -1 : 0;
	list_fini(&l);
	return rc;
}
