/* tok_onig.h - between tok_onig.c, tok_onig_class.c and tok_onig_prop.c: the translation of a regex while it is under
 * way. */
#ifndef MM_TOK_ONIG_H
#define MM_TOK_ONIG_H

#include "model/tok_priv.h"

#define TOK_ONIG_GROUPS 100
#define TOK_ONIG_SPACE	"\\p{White_Space}"
#define TOK_ONIG_WORD                                                                                                  \
	"\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}" /* inside a class; outside, a Latin-1 table has these too: */
#define TOK_ONIG_WORD_OUTER TOK_ONIG_WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
struct tok_onig {
	const uint8_t *p, *end;
	struct mm_buf *out;
	struct mm_err *err;
	size_t group[TOK_ONIG_GROUPS];	 /* where each open group begins in out */
	unsigned extra[TOK_ONIG_GROUPS]; /* parentheses to close with it: isolated options */
	unsigned depth;
	bool extended, folded; /* options x (white space and comments are skipped) and i */
	bool was[TOK_ONIG_GROUPS], was_folded[TOK_ONIG_GROUPS]; /* ... outside of each open group */
	bool named, numbered; /* named groups and references by number don't go together */
	size_t atom;	      /* where the last atom begins, SIZE_MAX: nothing to repeat */
};
struct tok_onig_set { /* one character: items for [...], or one of the alternatives in `also` */
	struct mm_buf items, also;
};
int tok_onig_refuse(struct tok_onig *t, const char *what); /* always -1 */
int tok_onig_code_point(
	struct tok_onig *t, uint8_t letter, uint32_t *cp) MM_MUST_CHECK; /* \x41 \x{41} \u0041, behind the letter */
/* tok_onig_prop.c */
const char *tok_onig_named(const char *name); /* items of a property with a long name, of POSIX's among them; or NULL */
bool tok_onig_written_out(const char *name, struct mm_buf *items); /* appends ranges; false: not such a name */
int tok_onig_property(struct tok_onig *t, bool upper, struct mm_buf *items, bool *negated) MM_MUST_CHECK;
int tok_onig_class(
	struct tok_onig *t, unsigned depth, struct tok_onig_set *s, bool *negated) MM_MUST_CHECK; /* at the '[' */
bool tok_onig_control(uint8_t c, uint32_t *cp);							  /* \t \n ... */
void tok_onig_put_cp(struct mm_buf *b, uint32_t cp);
void tok_onig_put(
	struct mm_buf *items, const char *text); /* with what Unicode has added to properties since PCRE2's tables */
void tok_onig_freshen(struct mm_buf *items, size_t from);
void tok_onig_set_put(const struct tok_onig_set *s, bool negated, struct mm_buf *out);
void tok_onig_set_fini(struct tok_onig_set *s);

#endif
