/* tok_rwkv.c - RWKV World: a text is cut into the longest vocabulary entry at each place, on bytes, with no
 * pre-tokenizer.
 *
 * The vocabulary is a text file, one entry a line, LF or CRLF:  id, a space, a Python literal ('...', "..." or b'...'),
 * a space, its length in bytes. The literal may hold spaces: it lies between the first and the last one. Ids have gaps
 * and begin at 1; 0 is the end of a text and is not listed.
 */
#include "model/tok_priv.h"

#include <string.h>

static int encode(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str s)
{
	const struct tok_trie *t = tok->model;
	for (size_t at = 0; at < s.n;) {
		uint32_t node = 0, id = TOK_NONE;
		size_t end = at;
		for (size_t i = at; i < s.n; i++) {
			node = tok_trie_step(t, node, s.s[i]);
			if (node == TOK_NONE)
				break;
			if (tok_trie_value(t, node) != TOK_NONE) {
				id = tok_trie_value(t, node);
				end = i + 1;
			}
		}
		if (id == TOK_NONE)
			return mm_fail(c->err, MM_EFORMAT, "the vocabulary has no entry for byte %02x", s.s[at]);
		if (tok_emit(c, id))
			return -1;
		at = end;
	}
	return 0;
}

static void rwkv_free(void *model)
{
	tok_trie_free(model);
}

static void bytes_of(const struct mm_tok *tok, struct tok_str token, struct mm_buf *out)
{
	(void)tok;
	mm_buf_put(out, token.s, token.n);
}

const struct tok_model_ops tok_rwkv_ops = { "rwkv", encode, rwkv_free, bytes_of };

/* ---- Python literals ---- */

static bool hex(const uint8_t *s, const uint8_t *end, unsigned n, uint32_t *out)
{
	*out = 0;
	if ((size_t)(end - s) < n)
		return false;
	for (unsigned i = 0; i < n; i++) {
		unsigned c = s[i] | 32u;
		if (s[i] >= '0' && s[i] <= '9')
			*out = *out << 4 | (s[i] - '0');
		else if (c >= 'a' && c <= 'f')
			*out = *out << 4 | (c - 'a' + 10);
		else
			return false;
	}
	return true;
}

/* One escape, p behind the backslash; returns where it ends, NULL when it is none. */
static const uint8_t *unescape(const uint8_t *p, const uint8_t *end, bool bytes, struct mm_buf *out)
{
	static const char from[] = "ntrabfv0\\'\"", to[] = "\n\t\r\a\b\f\v\0\\'\"";
	const char *at = *p ? strchr(from, *p) : NULL;
	unsigned n = *p == 'x' ? 2 : bytes ? 0 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
	uint8_t u[4];
	uint32_t cp;
	if (at) {
		mm_buf_u8(out, (uint8_t)to[at - from]);
		return p + 1;
	}
	if (!n || !hex(p + 1, end, n, &cp))
		return NULL;
	if (bytes) {
		mm_buf_u8(out, (uint8_t)cp);
		return p + 1 + n;
	}
	if (!mm_utf8_encode(cp, u))
		return NULL;
	mm_buf_put(out, u, mm_utf8_encode(cp, u));
	return p + 1 + n;
}

bool tok_python_literal(struct tok_str s, struct mm_buf *out)
{
	const uint8_t *p = s.s, *end = s.s + s.n;
	bool bytes = p < end && *p == 'b';
	uint8_t quote;
	p += bytes;
	if (end - p < 2 || (*p != '\'' && *p != '"') || end[-1] != *p)
		return false;
	quote = *p++;
	end--;
	while (p < end) {
		if (*p == quote || (bytes && *p >= 0x80))
			return false;
		if (*p != '\\') {
			mm_buf_u8(out, *p++);
			continue;
		}
		if (p + 1 >= end)
			return false;
		p = unescape(p + 1, end, bytes, out);
		if (!p || p > end)
			return false;
	}
	return true;
}

bool tok_escaped_bytes(struct tok_str s, struct mm_buf *out)
{
	const uint8_t *p = s.s, *end = s.s + s.n;
	while (p < end) {
		if (*p != '\\') {
			mm_buf_u8(out, *p++);
			continue;
		}
		if (p + 1 >= end)
			return false;
		p = unescape(p + 1, end, true, out);
		if (!p)
			return false;
	}
	return true;
}

/* ---- the file ---- */

struct line {
	uint32_t id, len;
	struct tok_str literal;
};

static bool number(struct tok_str s, uint32_t *out)
{
	uint64_t v = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.s[i] < '0' || s.s[i] > '9' || v > TOK_ID_MAX)
			return false;
		v = v * 10 + (s.s[i] - '0');
	}
	*out = (uint32_t)v;
	return s.n && v <= TOK_ID_MAX;
}

static bool split_line(struct tok_str s, struct line *l)
{
	const uint8_t *first, *last;
	if (s.n && s.s[s.n - 1] == '\r')
		s.n--;
	first = memchr(s.s, ' ', s.n);
	last = memrchr(s.s, ' ', s.n);
	if (!first || first == last)
		return false;
	l->literal = (struct tok_str){ first + 1, (size_t)(last - first - 1) };
	return number((struct tok_str){ s.s, (size_t)(first - s.s) }, &l->id) &&
	       number((struct tok_str){ last + 1, (size_t)(s.s + s.n - last - 1) }, &l->len);
}

/* The next line; false at the end. */
bool tok_line_next(struct tok_str *rest, struct tok_str *line)
{
	const uint8_t *nl;
	if (!rest->n)
		return false;
	nl = memchr(rest->s, '\n', rest->n);
	*line = (struct tok_str){ rest->s, nl ? (size_t)(nl - rest->s) : rest->n };
	rest->n -= line->n + (nl ? 1 : 0);
	rest->s += line->n + (nl ? 1 : 0);
	return true;
}

bool tok_rwkv_looks(struct tok_str s)
{
	struct tok_str line;
	struct line l;
	return tok_line_next(&s, &line) && split_line(line, &l) && l.literal.n > 2 && strchr("'\"b", l.literal.s[0]);
}

int tok_rwkv_add(struct mm_tok *tok, struct tok_str bytes, uint32_t id, struct mm_err *err)
{
	if (!bytes.n)
		return mm_fail(err, MM_EFORMAT, "empty token %lu", (unsigned long)id);
	return tok_vocab_put(&tok->vocab, bytes, id, err) || tok_trie_put(tok->model, bytes, id, err) ? -1 : 0;
}

int tok_rwkv_begin(struct mm_tok *tok, size_t expect, struct mm_err *err)
{
	tok->ops = &tok_rwkv_ops;
	tok->model = tok_trie_new(expect, err);
	tok->class = "rwkv";
	return tok->model ? tok_vocab_init(&tok->vocab, expect, err) : -1;
}

int tok_open_rwkv(struct mm_tok *tok, struct tok_source *src, const json_t *conf, struct mm_err *err)
{
	struct tok_str rest = src->part[0], line;
	struct mm_buf b = { 0 };
	size_t no = 0;
	int rc = tok_rwkv_begin(tok, rest.n / 16, err);
	(void)conf;
	while (!rc && tok_line_next(&rest, &line)) {
		struct line l;
		no++;
		if (!line.n || (line.n == 1 && line.s[0] == '\r'))
			continue;
		b.len = 0;
		if (!split_line(line, &l) || !tok_python_literal(l.literal, &b) || b.len != l.len)
			rc = mm_fail(err, MM_EFORMAT, "line %zu is not 'id literal length'", no);
		else if (mm_buf_check(&b, err))
			rc = -1;
		else
			rc = tok_rwkv_add(tok, (struct tok_str){ b.data, b.len }, l.id, err);
	}
	mm_buf_fini(&b);
	if (rc)
		return -1;
	if (!tok->vocab.n)
		return mm_fail(err, MM_EFORMAT, "empty vocabulary");
	tok->eos = 0;
	if (tok_vocab_seal(&tok->vocab, err))
		return -1;
	return tok_vocab_unique(&tok->vocab) ? 0 : mm_fail(err, MM_EFORMAT, "two tokens have the same id");
}
