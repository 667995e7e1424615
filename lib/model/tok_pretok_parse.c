/* tok_pretok_parse.c - pre-tokenizers of tokenizer.json into steps. A type that is not in the table is refused by name.
 */
#include "model/tok_priv.h"

#include <string.h>

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

static struct tok_pre *add(struct tok_pres *ps, enum tok_pre_kind kind, struct mm_err *err)
{
	if (ps->n >= TOK_STEPS_MAX) {
		mm_fail(err, MM_EUNSUPPORTED, "more than %d pre-tokenizers", TOK_STEPS_MAX);
		return NULL;
	}
	if (mm_grow(&ps->step, &ps->cap, ps->n + 1, sizeof(*ps->step), err))
		return NULL;
	ps->step[ps->n] = (struct tok_pre){ .kind = kind };
	return &ps->step[ps->n++];
}

static int add_class(struct tok_pres *ps, unsigned flags, enum tok_behavior behavior, struct mm_err *err)
{
	struct tok_pre *st = add(ps, TOK_PRE_CLASS, err);
	if (!st)
		return -1;
	st->flags = flags;
	st->behavior = behavior;
	return 0;
}

int tok_pres_add_regex(struct tok_pres *ps, const char *pattern, struct mm_err *err)
{
	struct tok_pre *st = add(ps, TOK_PRE_REGEX, err);
	if (!st)
		return -1;
	st->re = tok_regex_new((struct tok_str){ (const uint8_t *)pattern, strlen(pattern) }, err);
	return st->re ? 0 : -1;
}

int tok_pres_add_bytes(struct tok_pres *ps, struct mm_err *err)
{
	return add(ps, TOK_PRE_BYTES, err) ? 0 : -1;
}

static int behavior_of(const json_t *j, enum tok_behavior *out, struct mm_err *err)
{
	static const char *const name[] = { [TOK_ISOLATED] = "Isolated",
		[TOK_REMOVED] = "Removed",
		[TOK_CONTIGUOUS] = "Contiguous",
		[TOK_WITH_PREVIOUS] = "MergedWithPrevious",
		[TOK_WITH_NEXT] = "MergedWithNext" };
	const char *s = NULL;
	if (mm_json_get_str(j, "behavior", &s, err))
		return -1;
	for (size_t i = 0; s && i < MM_COUNT(name); i++)
		if (!strcmp(s, name[i])) {
			*out = (enum tok_behavior)i;
			return 0;
		}
	return s ? mm_fail(err, MM_EUNSUPPORTED, "pre-tokenizer behavior '%s'", s) : 0;
}

static int required(const json_t *j, const char *key, struct mm_err *err)
{
	return json_object_get(j, key) ? 0 : mm_fail(err, MM_EFORMAT, "'%s' is missing", key);
}

/* {"String": "..."} or {"Regex": "..."}, of Split and of the Replace normalizer */
struct tok_regex *tok_pattern_parse(const json_t *j, struct mm_err *err)
{
	const json_t *p = json_object_get(j, "pattern"), *s = json_object_get(p, "String"),
		     *r = json_object_get(p, "Regex");
	const json_t *it = s ? s : r;
	struct tok_str text;
	if (!json_is_string(it) || json_object_size(p) != 1) {
		mm_fail(err, MM_EFORMAT, "'pattern' must be {\"String\": ...} or {\"Regex\": ...}");
		return NULL;
	}
	text = (struct tok_str){ (const uint8_t *)json_string_value(it), json_string_length(it) };
	return s ? tok_regex_literal(text, err) : tok_regex_new(text, err);
}

static int parse_split(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	struct tok_pre *st = add(ps, TOK_PRE_REGEX, err);
	(void)depth;
	if (!st || required(j, "behavior", err) || required(j, "invert", err) || behavior_of(j, &st->behavior, err) ||
		mm_json_get_bool(j, "invert", &st->invert, err))
		return -1;
	st->re = tok_pattern_parse(j, err);
	return st->re ? 0 : -1;
}

static int parse_bytelevel(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	bool prefix = false, use_regex = true;
	(void)depth;
	if (required(j, "add_prefix_space", err) || mm_json_get_bool(j, "add_prefix_space", &prefix, err) ||
		mm_json_get_bool(j, "use_regex", &use_regex, err))
		return -1;
	if (prefix && !add(ps, TOK_PRE_SPACE, err))
		return -1;
	if (use_regex && tok_pres_add_regex(ps, GPT2, err))
		return -1;
	return tok_pres_add_bytes(ps, err);
}

static int parse_metaspace(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	static const char *const scheme[] = { [TOK_ALWAYS] = "always", [TOK_FIRST] = "first", [TOK_NEVER] = "never" };
	struct tok_pre *st = add(ps, TOK_PRE_META, err);
	const char *rep = NULL, *name = NULL;
	bool split = true, prefix = true;
	uint32_t cp;
	size_t i = 0;
	(void)depth;
	if (!st || required(j, "replacement", err) || mm_json_get_str(j, "replacement", &rep, err) ||
		mm_json_get_str(j, "prepend_scheme", &name, err) || mm_json_get_bool(j, "split", &split, err) ||
		mm_json_get_bool(j, "add_prefix_space", &prefix, err))
		return -1;
	if (!rep || !*rep || tok_utf8((const uint8_t *)rep, (const uint8_t *)rep + strlen(rep), &cp) != strlen(rep))
		return mm_fail(err, MM_EFORMAT, "Metaspace: 'replacement' must be one character");
	while (name && i < MM_COUNT(scheme) && strcmp(name, scheme[i]))
		i++;
	if (i == MM_COUNT(scheme))
		return mm_fail(err, MM_EUNSUPPORTED, "Metaspace: prepend_scheme '%s'", name);
	if (!prefix && name && i != TOK_NEVER)
		return mm_fail(err, MM_EFORMAT, "Metaspace: add_prefix_space does not match prepend_scheme");
	st->scheme = prefix ? (enum tok_scheme)i : TOK_NEVER;
	mm_buf_str(&st->text, rep);
	if (mm_buf_check(&st->text, err))
		return -1;
	if (!split)
		return 0;
	st = add(ps, TOK_PRE_CLASS, err);
	if (!st)
		return -1;
	st->cp = cp;
	st->behavior = TOK_WITH_NEXT;
	return 0;
}

static int parse_sequence(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	const json_t *a = json_object_get(j, "pretokenizers"), *one;
	size_t i;
	if (!json_is_array(a))
		return mm_fail(err, MM_EFORMAT, "Sequence without 'pretokenizers'");
	json_array_foreach (a, i, one)
		if (tok_pres_parse(ps, one, depth + 1, err))
			return -1;
	return 0;
}

static int parse_digits(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	bool each = false;
	(void)depth;
	if (required(j, "individual_digits", err) || mm_json_get_bool(j, "individual_digits", &each, err))
		return -1;
	return add_class(ps, TOK_NUMERIC, each ? TOK_ISOLATED : TOK_CONTIGUOUS, err);
}

static int parse_punctuation(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	enum tok_behavior behavior = TOK_ISOLATED;
	(void)depth;
	return behavior_of(j, &behavior, err) ? -1 : add_class(ps, TOK_PUNCT, behavior, err);
}

static int parse_bert(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	(void)j;
	(void)depth;
	return add_class(ps, TOK_WS, TOK_REMOVED, err) ? -1 : add_class(ps, TOK_PUNCT, TOK_ISOLATED, err);
}

static int parse_whitespace_split(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	(void)j;
	(void)depth;
	return add_class(ps, TOK_WS, TOK_REMOVED, err);
}

static int parse_whitespace(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	(void)j;
	(void)depth;
	return add(ps, TOK_PRE_WORDS, err) ? 0 : -1;
}

static int parse_delimiter(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	struct tok_pre *st = add(ps, TOK_PRE_CLASS, err);
	const json_t *d = json_object_get(j, "delimiter");
	const uint8_t *s = (const uint8_t *)json_string_value(d);
	size_t n = json_string_length(d);
	(void)depth;
	if (!st)
		return -1;
	if (!s || !n || tok_utf8(s, s + n, &st->cp) != n)
		return mm_fail(err, MM_EFORMAT, "CharDelimiterSplit: 'delimiter' must be one character");
	st->behavior = TOK_REMOVED;
	return 0;
}

static int parse_length(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	struct tok_pre *st = add(ps, TOK_PRE_LENGTH, err);
	int64_t n = 5;
	(void)depth;
	if (!st || mm_json_get_i64(j, "length", 1, INT32_MAX, &n, err))
		return -1;
	st->length = (size_t)n;
	return 0;
}

static int parse_scripts(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	(void)j;
	(void)depth;
	return add(ps, TOK_PRE_SCRIPT, err) ? 0 : -1;
}

static const struct {
	const char *type;
	int (*parse)(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err);
} types[] = {
	{ "BertPreTokenizer", parse_bert },
	{ "ByteLevel", parse_bytelevel },
	{ "CharDelimiterSplit", parse_delimiter },
	{ "Digits", parse_digits },
	{ "FixedLength", parse_length },
	{ "Metaspace", parse_metaspace },
	{ "Punctuation", parse_punctuation },
	{ "Sequence", parse_sequence },
	{ "Split", parse_split },
	{ "UnicodeScripts", parse_scripts },
	{ "Whitespace", parse_whitespace },
	{ "WhitespaceSplit", parse_whitespace_split },
};

int tok_pres_parse(struct tok_pres *ps, const json_t *j, unsigned depth, struct mm_err *err)
{
	const char *type = NULL;
	if (!j || json_is_null(j))
		return 0;
	if (depth > 16)
		return mm_fail(err, MM_EUNSUPPORTED, "pre-tokenizers nested too deep");
	if (!json_is_object(j) || mm_json_get_str(j, "type", &type, err))
		return json_is_object(j) ? -1 : mm_fail(err, MM_EFORMAT, "a pre-tokenizer must be an object");
	for (size_t i = 0; type && i < MM_COUNT(types); i++)
		if (!strcmp(type, types[i].type))
			return types[i].parse(ps, j, depth, err) ? mm_wrap(err, "pre-tokenizer %s", type) : 0;
	return mm_fail(err, MM_EUNSUPPORTED, "pre-tokenizer '%s' is not known", type ? type : "(no type)");
}

void tok_pres_seal(struct tok_pres *ps, bool want, bool mapped)
{
	bool pure = mapped;
	size_t i;
	for (i = 0; i < ps->n; i++) {
		enum tok_pre_kind k = ps->step[i].kind;
		if (k == TOK_PRE_BYTES)
			pure = true;
		else if (k == TOK_PRE_META || k == TOK_PRE_SPACE)
			pure = false; /* puts characters in that are not of the alphabet */
	}
	ps->bytes = want && pure;
	ps->last_bytes = ps->bytes && ps->n && ps->step[ps->n - 1].kind == TOK_PRE_BYTES;
}

bool tok_pres_prepend(const struct tok_pres *ps)
{
	for (size_t i = 0; i < ps->n; i++)
		if (ps->step[i].kind == TOK_PRE_SPACE ||
			(ps->step[i].kind == TOK_PRE_META && ps->step[i].scheme != TOK_NEVER))
			return true;
	return false;
}

void tok_pres_fini(struct tok_pres *ps)
{
	for (size_t i = 0; i < ps->n; i++) {
		tok_regex_free(ps->step[i].re);
		mm_buf_fini(&ps->step[i].text);
	}
	mm_free(ps->step);
	memset(ps, 0, sizeof(*ps));
}
