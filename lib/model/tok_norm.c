/* tok_norm.c - normalizers: steps that rewrite a segment before it is cut.
 *
 * Steps write to two buffers in turn; a step that would change nothing is skipped, so plain text is not copied.
 * BertNormalizer becomes up to five steps. `zero` (see tok_pretok.c) is carried along: which leading bytes still stand
 * at offset 0 of the original text, by the reference's rules of alignment.
 */
#include "model/tok_priv.h"

#include <utf8proc.h>

#include <string.h>

enum kind {
	NF,
	LOWER,
	REPLACE,
	PREPEND,
	STRIP,
	STRIP_M,  /* StripAccents */
	STRIP_MN, /* BertNormalizer's */
	CHARSMAP,
	NMT,
	CLEAN,
	IDEOGRAPHS, /* spaces around them */
	BYTES
};

struct tok_norm {
	enum kind kind;
	enum tok_nf nf;
	struct tok_regex *re;	  /* REPLACE; NULL: literally `from` */
	struct mm_buf from, text; /* REPLACE, PREPEND */
	bool left, right;	  /* STRIP */
	struct tok_charsmap *map;
	uint8_t ascii[128]; /* one character at a time: what becomes of it, 0xff: it is dropped or becomes several */
};

/* ---- one character at a time ---- */

static uint32_t lower(uint32_t cp)
{
	static const struct {
		uint32_t first, last, to;
	} newer[] = { { 0x1c89, 0x1c89, 0x1c8a }, { 0xa7cb, 0xa7cb, 0x264 }, { 0xa7cc, 0xa7cc, 0xa7cd },
		{ 0xa7ce, 0xa7ce, 0xa7cf }, { 0xa7d2, 0xa7d2, 0xa7d3 }, { 0xa7d4, 0xa7d4, 0xa7d5 },
		{ 0xa7da, 0xa7da, 0xa7db }, { 0xa7dc, 0xa7dc, 0x19b }, { 0x10d50, 0x10d65, 0x10d70 },
		{ 0x16ea0, 0x16eb8, 0x16ebb } };
	if (cp < 0x80)
		return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
	for (size_t i = 0; cp >= 0x1c89 && i < MM_COUNT(newer); i++)
		if (cp >= newer[i].first && cp <= newer[i].last)
			return newer[i].to + (cp - newer[i].first);
	return (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
}

static void put_cp(struct mm_buf *out, uint32_t cp)
{
	uint8_t u[4];
	mm_buf_put(out, u, mm_utf8_encode(cp, u));
}

static bool nmt_dropped(uint32_t cp)
{
	return (cp >= 1 && cp <= 8) || cp == 0xb || (cp >= 0xe && cp <= 0x1f) || cp == 0x7f || cp == 0x8f || cp == 0x9f;
}

static bool nmt_space(uint32_t cp)
{
	return cp == 9 || cp == 0xa || cp == 0xc || cp == 0xd || cp == 0x1680 || (cp >= 0x200b && cp <= 0x200f) ||
	       cp == 0x2028 || cp == 0x2029 || cp == 0x2581 || cp == 0xfeff || cp == 0xfffd;
}

/* Control, format, private use, as Unicode 8 knew them. */
static bool bert_control(uint32_t cp)
{
	enum tok_cat cat = TOK_CAT(tok_uni(cp));
	if (cp == '\t' || cp == '\n' || cp == '\r')
		return false;
	if (cp == 0x890 || cp == 0x891 || cp == 0x8e2 || cp == 0x110cd || (cp >= 0x13430 && cp <= 0x1343f))
		return false;
	return cat == TOK_CC || cat == TOK_CF || cat == TOK_CO;
}

static bool ideograph(uint32_t c)
{
	return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
	       (c >= 0x2a700 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) ||
	       (c >= 0x2f800 && c <= 0x2fa1f);
}

/* Appends what becomes of one character. */
static void rewrite(const struct tok_norm *st, uint32_t cp, struct mm_buf *out)
{
	switch (st->kind) {
	case LOWER:
		if (cp == 0x130)
			mm_buf_put(out, "i\xcc\x87", 3);
		else
			put_cp(out, lower(cp));
		break;
	case STRIP_M:
		if (!(tok_uni(cp) & TOK_M_OLD))
			put_cp(out, cp);
		break;
	case STRIP_MN:
		if (!(tok_uni(cp) & TOK_MN_OLD))
			put_cp(out, cp);
		break;
	case NMT:
		if (!nmt_dropped(cp))
			put_cp(out, nmt_space(cp) ? ' ' : cp);
		break;
	case CLEAN:
		if (cp && cp != 0xfffd && !bert_control(cp))
			put_cp(out, tok_uni(cp) & TOK_WS ? ' ' : cp);
		break;
	case IDEOGRAPHS:
		if (ideograph(cp))
			mm_buf_u8(out, ' ');
		put_cp(out, cp);
		if (ideograph(cp))
			mm_buf_u8(out, ' ');
		break;
	default:
		break;
	}
}

static size_t first_len(struct tok_str s)
{
	uint32_t cp;
	return s.n ? tok_utf8(s.s, s.s + s.n, &cp) : 0;
}

/* One character at a time. Runs of ASCII, nearly everything, go by the table. */
static void each_char(const struct tok_norm *st, struct tok_str s, struct mm_buf *out, size_t *zero)
{
	bool first = true;
	for (size_t i = 0; i < s.n; first = false) {
		uint8_t run[256];
		size_t n = 0;
		uint32_t cp;
		while (!first && i < s.n && n < sizeof(run) && s.s[i] < 0x80 && st->ascii[s.s[i]] != 0xff)
			run[n++] = st->ascii[s.s[i++]];
		if (n) {
			mm_buf_put(out, run, n);
			continue;
		}
		i += tok_utf8(s.s + i, s.s + s.n, &cp);
		rewrite(st, cp, out);
		if (first && *zero)
			*zero = out->len; /* nothing: the character that stood at 0 is gone */
	}
}

static int fill_ascii(struct tok_norm *st, struct mm_err *err)
{
	struct mm_buf b = { 0 };
	int rc = 0;
	for (uint32_t cp = 0; cp < 128; cp++) {
		b.len = 0;
		rewrite(st, cp, &b);
		st->ascii[cp] = b.len == 1 ? b.data[0] : 0xff;
	}
	rc = mm_buf_check(&b, err);
	mm_buf_fini(&b);
	return rc;
}

/* ---- replacing ---- */

static const uint8_t *find(const uint8_t *p, const uint8_t *end, const struct mm_buf *what)
{
	return what->len == 1 ? memchr(p, what->data[0], (size_t)(end - p))
			      : memmem(p, (size_t)(end - p), what->data, what->len);
}

/* What stands in for s[a, b) takes the place of the last byte of it. */
static void put_replaced(const struct tok_norm *st, struct mm_buf *out, size_t b, size_t zero, size_t *zero_out)
{
	mm_buf_put(out, st->text.data, st->text.len);
	if (b <= zero || !b)
		*zero_out += st->text.len;
}

static void put_kept(struct mm_buf *out, struct tok_str s, size_t a, size_t b, size_t zero, size_t *zero_out)
{
	mm_buf_put(out, s.s + a, b - a);
	if (a < zero)
		*zero_out += MM_MIN(b, zero) - a;
}

static int replace(const struct tok_norm *st, struct tok_ctx *c, struct tok_str s, struct mm_buf *out, size_t *zero)
{
	size_t done = 0, a, b, last = SIZE_MAX, z = 0;
	int rc = 0;
	for (;;) {
		if (st->re) {
			rc = tok_regex_next(st->re, c, s, last == SIZE_MAX ? 0 : last, last, &a, &b);
		} else {
			const uint8_t *p = find(s.s + done, s.s + s.n, &st->from);
			rc = p != NULL;
			a = p ? (size_t)(p - s.s) : 0;
			b = a + st->from.len;
		}
		if (rc <= 0)
			break;
		put_kept(out, s, done, a, *zero, &z);
		put_replaced(st, out, b, *zero, &z);
		done = last = b;
	}
	put_kept(out, s, done, s.n, *zero, &z);
	*zero = *zero ? z : 0;
	return rc < 0 ? -1 : 0;
}

static void strip(const struct tok_norm *st, struct tok_str *s, size_t *zero)
{
	size_t from = 0, to = s->n;
	uint32_t cp;
	while (st->left && from < to) {
		unsigned n = tok_utf8(s->s + from, s->s + to, &cp);
		if (!(tok_uni(cp) & TOK_WS))
			break;
		from += n;
	}
	while (st->right && to > from) {
		size_t p = to;
		do
			p--;
		while (p > from && (s->s[p] & 0xc0) == 0x80);
		tok_utf8(s->s + p, s->s + to, &cp);
		if (!(tok_uni(cp) & TOK_WS))
			break;
		to = p;
	}
	*zero = from ? 0 : MM_MIN(*zero, to);
	*s = (struct tok_str){ s->s + from, to - from };
}

/* ---- running ---- */

static bool all_ascii(struct tok_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.s[i] >= 0x80)
			return false;
	return true;
}

/* Nothing would change. Only what is cheap to see. */
static bool idle(const struct tok_norm *st, struct tok_str s)
{
	switch (st->kind) {
	case NF:
		return tok_nf_is_plain(s, st->nf);
	case REPLACE:
		return !st->re && !find(s.s, s.s + s.n, &st->from);
	case STRIP_M:
	case STRIP_MN:
	case IDEOGRAPHS:
		return all_ascii(s);
	default:
		return false;
	}
}

static int apply_nf(const struct tok_norm *st, struct tok_ctx *c, struct tok_str s, struct mm_buf *out, size_t *zero)
{
	uint32_t cp;
	if (tok_nf_apply(c, s, st->nf, out))
		return -1;
	if (*zero && !out->failed) {
		size_t alone = (tok_utf8(s.s, s.s + s.n, &cp), tok_nf_len(cp, st->nf));
		*zero = first_len((struct tok_str){ out->data, out->len });
		*zero = MM_MIN(MM_MAX(*zero, alone), out->len);
	}
	return 0;
}

static int apply(const struct tok_norm *st, struct tok_ctx *c, struct tok_str s, struct mm_buf *out, size_t *zero)
{
	size_t first;
	switch (st->kind) {
	case NF:
		return apply_nf(st, c, s, out, zero);
	case CHARSMAP:
		if (tok_charsmap_apply(st->map, s, out, &first, c->err))
			return -1;
		*zero = *zero ? first : 0;
		return 0;
	case REPLACE:
		return replace(st, c, s, out, zero);
	case PREPEND:
		mm_buf_put(out, st->text.data, st->text.len);
		mm_buf_put(out, s.s, s.n);
		*zero += *zero ? st->text.len : 0;
		return 0;
	case BYTES:
		first = *zero;
		tok_bytes_map(out, s.s, first);
		*zero = out->len;
		tok_bytes_map(out, s.s + first, s.n - first);
		return 0;
	default:
		each_char(st, s, out, zero);
		return 0;
	}
}

int tok_norms_run(const struct tok_norms *ns, struct tok_ctx *c, struct tok_str *text, size_t *zero)
{
	unsigned turn = 0;
	for (size_t i = 0; i < ns->n && text->n; i++) {
		const struct tok_norm *st = &ns->step[i];
		struct mm_buf *out = &c->norm[turn];
		if (st->kind == STRIP) {
			strip(st, text, zero);
			continue;
		}
		if (idle(st, *text))
			continue;
		out->len = 0;
		if (apply(st, c, *text, out, zero) || mm_buf_check(out, c->err))
			return -1;
		if (out->len > TOK_TEXT_MAX * 2)
			return mm_fail(c->err, MM_EUNSUPPORTED, "a normalizer makes the text too large");
		*text = (struct tok_str){ out->data ? out->data : (const uint8_t *)"", out->len };
		turn ^= 1;
	}
	return 0;
}

/* ---- from tokenizer.json ---- */

static struct tok_norm *add(struct tok_norms *ns, enum kind kind, struct mm_err *err)
{
	if (ns->n >= TOK_STEPS_MAX) {
		mm_fail(err, MM_EUNSUPPORTED, "more than %d normalizers", TOK_STEPS_MAX);
		return NULL;
	}
	if (mm_grow(&ns->step, &ns->cap, ns->n + 1, sizeof(*ns->step), err))
		return NULL;
	ns->step[ns->n] = (struct tok_norm){ .kind = kind };
	if (fill_ascii(&ns->step[ns->n], err))
		return NULL;
	return &ns->step[ns->n++];
}

static int add_nf(struct tok_norms *ns, enum tok_nf nf, struct mm_err *err)
{
	struct tok_norm *st = add(ns, NF, err);
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
	struct tok_norm *st = add(ns, PREPEND, err);
	if (!st)
		return -1;
	mm_buf_str(&st->text, s);
	return mm_buf_check(&st->text, err);
}

int tok_norms_add_replace(struct tok_norms *ns, const char *from, const char *to, struct mm_err *err)
{
	struct tok_norm *st = add(ns, REPLACE, err);
	if (!st)
		return -1;
	mm_buf_str(&st->from, from);
	mm_buf_str(&st->text, to);
	return mm_buf_check(&st->from, err) || mm_buf_check(&st->text, err) ? -1 : 0;
}

int tok_norms_add_bert(
	struct tok_norms *ns, bool clean, bool ideographs, bool strip_accents, bool lowercase, struct mm_err *err)
{
	if ((clean && !add(ns, CLEAN, err)) || (ideographs && !add(ns, IDEOGRAPHS, err)) ||
		(strip_accents && (add_nf(ns, TOK_NFD, err) || !add(ns, STRIP_MN, err))) ||
		(lowercase && !add(ns, LOWER, err)))
		return -1;
	return 0;
}

int tok_norms_add_charsmap(struct tok_norms *ns, const uint8_t *blob, size_t n, struct mm_err *err)
{
	struct tok_norm *st = add(ns, CHARSMAP, err);
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
	struct tok_norm *st = add(ns, REPLACE, err);
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
	struct tok_norm *st = add(ns, STRIP, err);
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
	enum kind kind;
	enum tok_nf nf;
} types[] = {
	{ "BertNormalizer", parse_bert, CLEAN, 0 },
	{ "ByteLevel", NULL, BYTES, 0 },
	{ "Lowercase", NULL, LOWER, 0 },
	{ "NFC", NULL, NF, TOK_NFC },
	{ "NFD", NULL, NF, TOK_NFD },
	{ "NFKC", NULL, NF, TOK_NFKC },
	{ "NFKD", NULL, NF, TOK_NFKD },
	{ "Nmt", NULL, NMT, 0 },
	{ "Precompiled", parse_precompiled, CHARSMAP, 0 },
	{ "Prepend", parse_prepend, PREPEND, 0 },
	{ "Replace", parse_replace, REPLACE, 0 },
	{ "Strip", parse_strip, STRIP, 0 },
	{ "StripAccents", NULL, STRIP_M, 0 },
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
	return ns->n && ns->step[ns->n - 1].kind == BYTES;
}

bool tok_norms_prepend(const struct tok_norms *ns)
{
	for (size_t i = 0; i < ns->n; i++)
		if (ns->step[i].kind == PREPEND)
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
