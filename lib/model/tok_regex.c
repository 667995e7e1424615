/* tok_regex.c - regexes of tokenizers: written in Oniguruma's syntax (its Ruby dialect), matched by PCRE2.
 *
 * The translation (tok_onig.c) settles what the two read differently; what cannot be said in PCRE2 is refused by name.
 * Hot patterns have scanners of their own (tok_scan.c) and are compiled only when a test asks for it.
 *
 * A hostile pattern is bounded: its length, PCRE2's nesting, and for each match the number of steps (in proportion to
 * the text) and the heap. Beyond that the text is an error, never a hang.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/tok_priv.h"

#include <pcre2.h>

#include <string.h>

#define PATTERN_MAX (64u << 10)
#define STEPS_BASE  200000u
#define HEAP_KIB    (128u << 10)

struct tok_regex {
	tok_scan_fn scan;
	pcre2_code *code;
	struct mm_buf pattern; /* as given */
};

static int compile(struct tok_regex *re, struct tok_str pattern, uint32_t options, struct mm_err *err)
{
	pcre2_compile_context *cc = pcre2_compile_context_create(NULL);
	int code;
	PCRE2_SIZE at;
	if (!cc)
		return mm_fail(err, MM_ENOMEM, "out of memory for a regex");
	pcre2_set_newline(cc, PCRE2_NEWLINE_LF);
	pcre2_set_bsr(cc, PCRE2_BSR_UNICODE);
	pcre2_set_parens_nest_limit(cc, 100);
	re->code = pcre2_compile(pattern.s, pattern.n, PCRE2_UTF | options, &code, &at, cc);
	pcre2_compile_context_free(cc);
	if (!re->code) {
		char shown[200];
		PCRE2_UCHAR text[160];
		pcre2_get_error_message(code, text, sizeof(text));
		mm_utf8_sanitize(shown, sizeof(shown), re->pattern.data, re->pattern.len);
		return mm_fail(err, code == PCRE2_ERROR_NOMEMORY ? MM_ENOMEM : MM_EUNSUPPORTED,
			"regex '%s' cannot be used: %s", shown, (const char *)text);
	}
	(void)pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE); /* where it fails the interpreter is used */
	return 0;
}

static struct tok_regex *regex_new(struct tok_str pattern, struct mm_err *err)
{
	struct tok_regex *re = mm_calloc(1, sizeof(*re), err);
	if (!re)
		return NULL;
	mm_buf_put(&re->pattern, pattern.s, pattern.n);
	mm_buf_put(&re->pattern, "", 0);
	if (!mm_buf_check(&re->pattern, err))
		return re;
	tok_regex_free(re);
	return NULL;
}

struct tok_regex *tok_regex_new(struct tok_str pattern, struct mm_err *err)
{
	struct tok_regex *re;
	struct mm_buf pcre = { 0 };
	int rc;
	if (pattern.n > PATTERN_MAX) {
		mm_fail(err, MM_EUNSUPPORTED, "regex of %zu bytes", pattern.n);
		return NULL;
	}
	re = regex_new(pattern, err);
	if (!re)
		return NULL;
	re->scan = tok_scan_find(pattern);
	if (re->scan)
		return re;
	rc = tok_regex_translate(pattern, &pcre, err);
	if (!rc)
		rc = compile(re, (struct tok_str){ pcre.data ? pcre.data : (const uint8_t *)"", pcre.len },
			PCRE2_UCP | PCRE2_MULTILINE, err);
	mm_buf_fini(&pcre);
	if (!rc)
		return re;
	tok_regex_free(re);
	return NULL;
}

struct tok_regex *tok_regex_literal(struct tok_str text, struct mm_err *err)
{
	struct tok_regex *re = regex_new(text, err);
	if (re && text.n > PATTERN_MAX)
		mm_fail(err, MM_EUNSUPPORTED, "text to split at of %zu bytes", text.n);
	else if (re && !compile(re, text, PCRE2_LITERAL, err))
		return re;
	tok_regex_free(re);
	return NULL;
}

void tok_regex_free(struct tok_regex *re)
{
	if (!re)
		return;
	pcre2_code_free(re->code);
	mm_buf_fini(&re->pattern);
	mm_free(re);
}

int tok_regex_slow(struct tok_regex *re, struct mm_err *err)
{
	struct mm_buf pcre = { 0 };
	int rc = 0;
	if (!re->code) {
		rc = tok_regex_translate((struct tok_str){ re->pattern.data, re->pattern.len }, &pcre, err);
		if (!rc)
			rc = compile(re, (struct tok_str){ pcre.data, pcre.len }, PCRE2_UCP | PCRE2_MULTILINE, err);
		mm_buf_fini(&pcre);
	}
	re->scan = NULL;
	return rc;
}

bool tok_regex_is_scan(const struct tok_regex *re)
{
	return re->scan != NULL;
}

static int prepare(struct tok_ctx *c)
{
	if (!c->match)
		c->match = pcre2_match_data_create(1, NULL);
	if (!c->match_ctx)
		c->match_ctx = pcre2_match_context_create(NULL);
	if (!c->jit_stack)
		c->jit_stack = pcre2_jit_stack_create(64 << 10, 4 << 20, NULL);
	if (!c->match || !c->match_ctx || !c->jit_stack)
		return mm_fail(c->err, MM_ENOMEM, "out of memory for a regex");
	pcre2_set_heap_limit(c->match_ctx, HEAP_KIB);
	pcre2_jit_stack_assign(c->match_ctx, NULL, c->jit_stack);
	return 0;
}

void tok_regex_ctx_free(struct tok_ctx *c)
{
	pcre2_match_data_free(c->match);
	pcre2_match_context_free(c->match_ctx);
	pcre2_jit_stack_free(c->jit_stack);
}

static int match(const struct tok_regex *re, struct tok_ctx *c, struct tok_str text, size_t from)
{
	size_t steps = STEPS_BASE + 64 * (text.n - from);
	int rc;
	if (!c->jit_stack && prepare(c))
		return -1;
	pcre2_set_match_limit(c->match_ctx, steps > UINT32_MAX ? UINT32_MAX : (uint32_t)steps);
	/* The text is valid UTF-8 (checked on entry, and behind every normalizer that could break it). */
	rc = pcre2_match(re->code, text.s, text.n, from, PCRE2_NO_UTF_CHECK, c->match, c->match_ctx);
	if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
		rc = pcre2_match(
			re->code, text.s, text.n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, c->match, c->match_ctx);
	if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH)
		return rc >= 0;
	char shown[120];
	PCRE2_UCHAR why[120];
	pcre2_get_error_message(rc, why, sizeof(why));
	mm_utf8_sanitize(shown, sizeof(shown), re->pattern.data, re->pattern.len);
	return mm_fail(c->err, rc == PCRE2_ERROR_NOMEMORY ? MM_ENOMEM : MM_EUNSUPPORTED,
		"the tokenizer's regex '%s' gives up on the text: %s", shown, (const char *)why);
}

int tok_regex_next(const struct tok_regex *re, struct tok_ctx *c, struct tok_str text, size_t from, size_t last,
	size_t *a, size_t *b)
{
	if (re->scan) {
		if (from >= text.n)
			return 0;
		*a = from;
		*b = re->scan(text.s, text.n, from);
		return 1;
	}
	while (from <= text.n) {
		const PCRE2_SIZE *at;
		int rc = match(re, c, text, from);
		if (rc <= 0)
			return rc;
		at = pcre2_get_ovector_pointer(c->match);
		if (at[1] < at[0] || at[1] < from) /* \K in a lookahead */
			return mm_fail(c->err, MM_EUNSUPPORTED, "the tokenizer's regex matches backwards");
		if (at[0] != at[1] || at[1] != last) {
			*a = at[0] < from ? from : at[0];
			*b = at[1];
			return 1;
		}
		if (from < text.n) {
			uint32_t cp;
			from += tok_utf8(text.s + from, text.s + text.n, &cp);
		} else {
			from++;
		}
	}
	return 0;
}
