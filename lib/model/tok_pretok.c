/* tok_pretok.c - pre-tokenizers: a segment of text is cut into pieces, and every piece goes to the model.
 *
 * A pre-tokenizer of tokenizer.json becomes one or more steps. Steps are applied depth first: a piece that step k cuts
 * off goes through step k + 1 and on to the model before the next one is looked for, so there is no list of pieces. A
 * step that changes text (ByteLevel, Metaspace) writes to its own buffer, context.step[k].
 *
 * Cutting: a matcher finds contiguous spans that cover the piece, each a match or not; `fold` joins and drops them as
 * the behaviour says. Empty matches take part in that and vanish afterwards.
 *
 * Metaspace's "first" asks whether a piece begins at offset 0 of the original text. `zero` is the number of leading
 * bytes of a piece for which that holds (a prefix that was put in front counts like the character it stands before).
 */
#include "model/tok_priv.h"

#include <string.h>

struct piece {
	const uint8_t *s;
	size_t n, zero;
};

static int run_step(struct tok_ctx *c, size_t k, struct piece p);

static int finish(struct tok_ctx *c, struct piece p)
{
	const struct mm_tok *tok = c->tok;
	struct tok_str s = { p.s, p.n };
	if (tok->pres.bytes && !tok->pres.last_bytes) { /* the byte alphabet was needed on the way: back to bytes */
		c->bytes.len = 0;
		if (!tok_bytes_unmap(&c->bytes, p.s, p.n))
			return mm_fail(c->err, MM_EINTERNAL, "byte-level text with another character");
		if (mm_buf_check(&c->bytes, c->err))
			return -1;
		s = (struct tok_str){ c->bytes.data, c->bytes.len };
	}
	return tok->ops->encode(tok, c, s);
}

struct fold {
	struct tok_ctx *c;
	size_t k; /* the step that the pieces go to */
	struct piece p;
	enum tok_behavior behavior;
	bool invert;
	bool have, match, previous; /* a span is held back: [a, b), match */
	size_t a, b;
};

static int emit(struct fold *f, size_t a, size_t b)
{
	size_t zero = f->p.zero > a ? f->p.zero - a : 0;
	if (a == b)
		return 0;
	return run_step(f->c, f->k, (struct piece){ f->p.s + a, b - a, MM_MIN(zero, b - a) });
}

static int hold(struct fold *f, size_t a, size_t b, bool match)
{
	bool had = f->have;
	size_t pa = f->a, pb = f->b;
	f->have = true;
	f->a = a;
	f->b = b;
	f->match = match;
	return had ? emit(f, pa, pb) : 0;
}

static int feed(struct fold *f, size_t a, size_t b, bool match)
{
	bool previous = f->previous;
	match ^= f->invert;
	f->previous = match;
	switch (f->behavior) {
	case TOK_ISOLATED:
		return emit(f, a, b);
	case TOK_REMOVED:
		return match ? 0 : emit(f, a, b);
	case TOK_CONTIGUOUS:
		if (f->have && match == previous) {
			f->b = b;
			return 0;
		}
		return hold(f, a, b, match);
	case TOK_WITH_PREVIOUS:
		if (f->have && match && !previous) {
			f->b = b;
			return 0;
		}
		return hold(f, a, b, match);
	case TOK_WITH_NEXT:
		if (f->have && !match) { /* what is held is a match: it goes with this one */
			f->have = false;
			return emit(f, f->a, b);
		}
		if (match)
			return hold(f, a, b, match);
		return emit(f, a, b);
	}
	return 0;
}

static int finish_fold(struct fold *f)
{
	return f->have ? emit(f, f->a, f->b) : 0;
}

static int cut_regex(struct fold *f, const struct tok_regex *re)
{
	struct tok_str text = { f->p.s, f->p.n };
	size_t done = 0, last = SIZE_MAX, a, b;
	int rc;
	while ((rc = tok_regex_next(re, f->c, text, last == SIZE_MAX ? 0 : last, last, &a, &b)) > 0) {
		if ((a != done && feed(f, done, a, false)) || feed(f, a, b, true))
			return -1;
		done = last = b;
	}
	if (rc < 0 || (done != text.n && feed(f, done, text.n, false)))
		return -1;
	return finish_fold(f);
}

static bool is_delimiter(const struct tok_pre *st, uint32_t cp)
{
	return st->flags ? (tok_uni(cp) & st->flags) != 0 : cp == st->cp;
}

static int cut_class(struct fold *f, const struct tok_pre *st)
{
	const uint8_t *s = f->p.s, *end = s + f->p.n;
	size_t done = 0;
	for (size_t i = 0; i < f->p.n;) {
		uint32_t cp;
		unsigned n = tok_utf8(s + i, end, &cp);
		if (is_delimiter(st, cp)) {
			if ((done < i && feed(f, done, i, false)) || feed(f, i, i + n, true))
				return -1;
			done = i + n;
		}
		i += n;
	}
	if (done < f->p.n && feed(f, done, f->p.n, false))
		return -1;
	return finish_fold(f);
}

/* \w+|[^\w\s]+: both kinds of runs are pieces, white space is not. */
static int cut_words(struct fold *f)
{
	const uint8_t *s = f->p.s, *end = s + f->p.n;
	size_t from = 0;
	unsigned kind = 0;
	for (size_t i = 0; i < f->p.n;) {
		uint32_t cp;
		unsigned n = tok_utf8(s + i, end, &cp), flags = tok_uni(cp);
		unsigned is = flags & TOK_WORD ? 1 : flags & TOK_WS ? 0 : 2;
		if (is != kind) {
			if (kind && emit(f, from, i))
				return -1;
			from = i;
			kind = is;
		}
		i += n;
	}
	return kind ? emit(f, from, f->p.n) : 0;
}

static int cut_length(struct fold *f, size_t length)
{
	size_t from = 0, count = 0;
	for (size_t i = 0; i < f->p.n;) {
		uint32_t cp;
		i += tok_utf8(f->p.s + i, f->p.s + f->p.n, &cp);
		if (++count == length || i == f->p.n) {
			if (emit(f, from, i))
				return -1;
			from = i;
			count = 0;
		}
	}
	return 0;
}

/* A piece for each run of one script. Characters of none belong to the run that they stand in; in front of the first
 * run they are dropped, as in the reference. */
static int cut_script(struct fold *f)
{
	size_t from = SIZE_MAX, n;
	unsigned last = 0;
	for (size_t i = 0; i < f->p.n; i += n) {
		uint32_t cp;
		unsigned script;
		n = tok_utf8(f->p.s + i, f->p.s + f->p.n, &cp);
		script = tok_uni_script(cp);
		if (script && script != last) {
			if (from != SIZE_MAX && emit(f, from, i))
				return -1;
			from = i;
			last = script;
		}
	}
	return from == SIZE_MAX ? 0 : emit(f, from, f->p.n);
}

static int step_space(struct tok_ctx *c, size_t k, struct piece p)
{
	struct mm_buf *b = &c->step[k];
	if (p.s[0] == ' ')
		return run_step(c, k + 1, p);
	b->len = 0;
	mm_buf_u8(b, ' ');
	mm_buf_put(b, p.s, p.n);
	if (mm_buf_check(b, c->err))
		return -1;
	return run_step(c, k + 1, (struct piece){ b->data, b->len, p.zero ? p.zero + 1 : 0 });
}

static int step_bytes(struct tok_ctx *c, size_t k, struct piece p)
{
	struct mm_buf *b = &c->step[k];
	size_t zero;
	if (k + 1 == c->tok->pres.n && c->tok->pres.last_bytes)
		return finish(c, p); /* the model takes the bytes themselves */
	b->len = 0;
	tok_bytes_map(b, p.s, p.zero);
	zero = b->len;
	tok_bytes_map(b, p.s + p.zero, p.n - p.zero);
	if (mm_buf_check(b, c->err))
		return -1;
	return run_step(c, k + 1, (struct piece){ b->data, b->len, zero });
}

static int step_meta(struct tok_ctx *c, size_t k, struct piece p)
{
	const struct tok_pre *st = &c->tok->pres.step[k];
	struct mm_buf *b = &c->step[k];
	const uint8_t *q = p.s, *end = p.s + p.n, *sp;
	bool has = p.s[0] == ' ' || (p.n >= st->text.len && !memcmp(p.s, st->text.data, st->text.len));
	bool put = !has && (st->scheme == TOK_ALWAYS || (st->scheme == TOK_FIRST && p.zero));
	size_t zero = p.zero;
	b->len = 0;
	if (put) {
		mm_buf_put(b, st->text.data, st->text.len);
		zero += zero ? st->text.len : 0;
	}
	while ((sp = memchr(q, ' ', (size_t)(end - q)))) {
		mm_buf_put(b, q, (size_t)(sp - q));
		mm_buf_put(b, st->text.data, st->text.len);
		if ((size_t)(sp - p.s) < p.zero)
			zero += st->text.len - 1;
		q = sp + 1;
	}
	mm_buf_put(b, q, (size_t)(end - q));
	if (mm_buf_check(b, c->err))
		return -1;
	return run_step(c, k + 1, (struct piece){ b->data, b->len, zero });
}

static int run_step(struct tok_ctx *c, size_t k, struct piece p)
{
	const struct tok_pre *st;
	struct fold f;
	if (k >= c->tok->pres.n)
		return finish(c, p);
	st = &c->tok->pres.step[k];
	f = (struct fold){ .c = c, .k = k + 1, .p = p, .behavior = st->behavior, .invert = st->invert };
	switch (st->kind) {
	case TOK_PRE_REGEX:
		return cut_regex(&f, st->re);
	case TOK_PRE_CLASS:
		return cut_class(&f, st);
	case TOK_PRE_WORDS:
		return cut_words(&f);
	case TOK_PRE_LENGTH:
		return cut_length(&f, st->length);
	case TOK_PRE_SCRIPT:
		return cut_script(&f);
	case TOK_PRE_SPACE:
		return step_space(c, k, p);
	case TOK_PRE_BYTES:
		return step_bytes(c, k, p);
	case TOK_PRE_META:
		return step_meta(c, k, p);
	}
	return mm_fail(c->err, MM_EINTERNAL, "pre-tokenizer step %d", (int)st->kind);
}

int tok_pres_run(const struct mm_tok *tok, struct tok_ctx *c, struct tok_str text, size_t zero)
{
	(void)tok;
	return text.n ? run_step(c, 0, (struct piece){ text.s, text.n, zero < text.n ? zero : text.n }) : 0;
}
