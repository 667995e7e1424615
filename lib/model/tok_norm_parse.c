/* tok_norm_parse.c - normalizers of tokenizer.json into steps. A type that is not in the table is refused by name. */
#include "model/tok_priv.h"

#include <string.h>

static struct tok_norm *add(struct tok_norms *ns, enum tok_norm_kind kind, struct mm_err *err)
{
	if (ns->n >= TOK_STEPS_MAX) {
		mm_fail(err, MM_EUNSUPPORTED, "more than %d normalizers", TOK_STEPS_MAX);
		return NULL;
	}
	if (mm_grow(&ns->step, &ns->cap, ns->n + 1, sizeof(*ns->step), err))
		return NULL;
	ns->step[ns->n] = (struct tok_norm){ .kind = kind };
	if (tok_norm_ascii(&ns->step[ns->n], err))
		return NULL;
	return &ns->step[ns->n++];
}

static int add_nf(struct tok_norms *ns, enum tok_nf nf, struct mm_err *err)
{
	struct tok_norm *st = add(ns, TOK_NORM_NF, err);
	if (!st)
		return -1;
	st->nf = nf;
	return 0;
}

int tok_norms_add_nfc(struct tok_norms *ns, struct mm_err *err)
{
	return add_nf(ns, TOK_NFC, err);
}

int tok_norms_add_prepend(struct tok_norms *ns, const char *s, struct mm_err *err)
{
	struct tok_norm *st = add(ns, TOK_NORM_PREPEND, err);
	if (!st)
		return -1;
	mm_buf_str(&st->text, s);
	return mm_buf_check(&st->text, err);
}

int tok_norms_add_replace(struct tok_norms *ns, const char *from, const char *to, struct mm_err *err)
{
	struct tok_norm *st = add(ns, TOK_NORM_REPLACE, err);
	if (!st)
		return -1;
	mm_buf_str(&st->from, from);
	mm_buf_str(&st->text, to);
	return mm_buf_check(&st->from, err) || mm_buf_check(&st->text, err) ? -1 : 0;
}

int tok_norms_add_bert(
	struct tok_norms *ns, bool clean, bool ideographs, bool strip_accents, bool lowercase, struct mm_err *err)
{
	if ((clean && !add(ns, TOK_NORM_CLEAN, err)) || (ideographs && !add(ns, TOK_NORM_IDEOGRAPHS, err)) ||
		(strip_accents && (add_nf(ns, TOK_NFD, err) || !add(ns, TOK_NORM_STRIP_MN, err))) ||
		(lowercase && !add(ns, TOK_NORM_LOWER, err)))
		return -1;
	return 0;
}

int tok_norms_add_charsmap(struct tok_norms *ns, const uint8_t *blob, size_t n, struct mm_err *err)
{
	struct tok_norm *st = add(ns, TOK_NORM_CHARSMAP, err);
	if (!st)
		return -1;
	st->map = tok_charsmap_new(blob, n, err);
	return st->map ? 0 : -1;
}

static int need(const json_t *j, const char *key, json_type type, struct mm_err *err)
{
	const json_t *v = json_object_get(j, key);
	bool ok = type == JSON_TRUE ? json_is_boolean(v) : v && json_typeof(v) == type;
	return ok ? 0 : mm_fail(err, MM_EFORMAT, "'%s' is missing or of another type", key);
}

static int parse_bert(struct tok_norms *ns, const json_t *j, struct mm_err *err)
{
	bool strip_accents, lowercase;
	if (need(j, "clean_text", JSON_TRUE, err) || need(j, "handle_chinese_chars", JSON_TRUE, err) ||
		need(j, "lowercase", JSON_TRUE, err))
		return -1;
	lowercase = json_is_true(json_object_get(j, "lowercase"));
	strip_accents = lowercase;
	if (mm_json_get_bool(j, "strip_accents", &strip_accents, err))
		return -1;
	return tok_norms_add_bert(ns, json_is_true(json_object_get(j, "clean_text")),
		json_is_true(json_object_get(j, "handle_chinese_chars")), strip_accents, lowercase, err);
}

static int parse_replace(struct tok_norms *ns, const json_t *j, struct mm_err *err)
{
	struct tok_norm *st = add(ns, TOK_NORM_REPLACE, err);
	const json_t *content = json_object_get(j, "content"),
		     *literal = json_object_get(json_object_get(j, "pattern"), "String");
	if (!st || need(j, "content", JSON_STRING, err))
		return -1;
	mm_buf_put(&st->text, json_string_value(content), json_string_length(content));
	if (mm_buf_check(&st->text, err))
		return -1;
	if (json_is_string(literal) && json_string_length(literal) &&
		json_object_size(json_object_get(j, "pattern")) == 1) {
		mm_buf_put(&st->from, json_string_value(literal), json_string_length(literal));
		return mm_buf_check(&st->from, err);
	}
	st->re = tok_pattern_parse(j, err);
	return st->re ? 0 : -1;
}

static int parse_prepend(struct tok_norms *ns, const json_t *j, struct mm_err *err)
{
	if (need(j, "prepend", JSON_STRING, err))
		return -1;
	return tok_norms_add_prepend(ns, json_string_value(json_object_get(j, "prepend")), err);
}

static int parse_strip(struct tok_norms *ns, const json_t *j, struct mm_err *err)
{
	struct tok_norm *st = add(ns, TOK_NORM_STRIP, err);
	if (!st || need(j, "strip_left", JSON_TRUE, err) || need(j, "strip_right", JSON_TRUE, err))
		return -1;
	st->left = json_is_true(json_object_get(j, "strip_left"));
	st->right = json_is_true(json_object_get(j, "strip_right"));
	return 0;
}

static int sextet(char c)
{
	return c >= 'A' && c <= 'Z'   ? c - 'A'
	       : c >= 'a' && c <= 'z' ? c - 'a' + 26
	       : c >= '0' && c <= '9' ? c - '0' + 52
	       : c == '+'	      ? 62
	       : c == '/'	      ? 63
				      : -1;
}

int tok_base64(const char *s, size_t n, struct mm_buf *out, struct mm_err *err)
{
	uint32_t acc = 0;
	unsigned bits = 0;
	while (n && s[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++) {
		int v = sextet(s[i]);
		if (v < 0)
			return mm_fail(err, MM_EFORMAT, "base64: bad character");
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			mm_buf_u8(out, (uint8_t)(acc >> bits));
		}
	}
	if (n % 4 == 1)
		return mm_fail(err, MM_EFORMAT, "base64: cut");
	return mm_buf_check(out, err);
}

static int parse_precompiled(struct tok_norms *ns, const json_t *j, struct mm_err *err)
{
	const json_t *v = json_object_get(j, "precompiled_charsmap");
	struct mm_buf blob = { 0 };
	int rc;
	if (need(j, "precompiled_charsmap", JSON_STRING, err))
		return -1;
	rc = tok_base64(json_string_value(v), json_string_length(v), &blob, err);
	if (!rc)
		rc = tok_norms_add_charsmap(ns, blob.data, blob.len, err);
	mm_buf_fini(&blob);
	return rc;
}

static const struct {
	const char *type;
	int (*parse)(struct tok_norms *ns, const json_t *j, struct mm_err *err); /* NULL: just `kind` */
	enum tok_norm_kind kind;
	enum tok_nf nf;
} types[] = {
	{ "BertNormalizer", parse_bert, TOK_NORM_CLEAN, 0 },
	{ "ByteLevel", NULL, TOK_NORM_BYTES, 0 },
	{ "Lowercase", NULL, TOK_NORM_LOWER, 0 },
	{ "NFC", NULL, TOK_NORM_NF, TOK_NFC },
	{ "NFD", NULL, TOK_NORM_NF, TOK_NFD },
	{ "NFKC", NULL, TOK_NORM_NF, TOK_NFKC },
	{ "NFKD", NULL, TOK_NORM_NF, TOK_NFKD },
	{ "Nmt", NULL, TOK_NORM_NMT, 0 },
	{ "Precompiled", parse_precompiled, TOK_NORM_CHARSMAP, 0 },
	{ "Prepend", parse_prepend, TOK_NORM_PREPEND, 0 },
	{ "Replace", parse_replace, TOK_NORM_REPLACE, 0 },
	{ "Strip", parse_strip, TOK_NORM_STRIP, 0 },
	{ "StripAccents", NULL, TOK_NORM_STRIP_M, 0 },
};

static int parse_one(struct tok_norms *ns, size_t type, const json_t *j, struct mm_err *err)
{
	struct tok_norm *st;
	if (types[type].parse)
		return types[type].parse(ns, j, err) ? mm_wrap(err, "normalizer %s", types[type].type) : 0;
	st = add(ns, types[type].kind, err);
	if (!st)
		return -1;
	st->nf = types[type].nf;
	return 0;
}

int tok_norms_parse(struct tok_norms *ns, const json_t *j, unsigned depth, struct mm_err *err)
{
	const json_t *list = json_object_get(j, "normalizers"), *one;
	const char *type = NULL;
	size_t i;
	if (!j || json_is_null(j))
		return 0;
	if (depth > 16)
		return mm_fail(err, MM_EUNSUPPORTED, "normalizers nested too deep");
	if (!json_is_object(j) || mm_json_get_str(j, "type", &type, err))
		return json_is_object(j) ? -1 : mm_fail(err, MM_EFORMAT, "a normalizer must be an object");
	if (type && !strcmp(type, "Sequence")) {
		if (!json_is_array(list))
			return mm_fail(err, MM_EFORMAT, "normalizer Sequence without 'normalizers'");
		json_array_foreach (list, i, one)
			if (tok_norms_parse(ns, one, depth + 1, err))
				return -1;
		return 0;
	}
	for (i = 0; type && i < MM_COUNT(types); i++)
		if (!strcmp(type, types[i].type))
			return parse_one(ns, i, j, err);
	return mm_fail(err, MM_EUNSUPPORTED, "normalizer '%s' is not known", type ? type : "(no type)");
}

bool tok_norms_bytelevel(const struct tok_norms *ns)
{
	return ns->n && ns->step[ns->n - 1].kind == TOK_NORM_BYTES;
}

bool tok_norms_prepend(const struct tok_norms *ns)
{
	for (size_t i = 0; i < ns->n; i++)
		if (ns->step[i].kind == TOK_NORM_PREPEND)
			return true;
	return false;
}

void tok_norms_fini(struct tok_norms *ns)
{
	for (size_t i = 0; i < ns->n; i++) {
		tok_regex_free(ns->step[i].re);
		mm_buf_fini(&ns->step[i].from);
		mm_buf_fini(&ns->step[i].text);
		tok_charsmap_free(ns->step[i].map);
	}
	mm_free(ns->step);
	memset(ns, 0, sizeof(*ns));
}
