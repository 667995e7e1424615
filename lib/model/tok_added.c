/* tok_added.c - added tokens: found in the text before the model sees it.
 *
 * Those with `normalized` are looked for in the normalized text (their own text normalized too), the others in the raw
 *one. A match is the leftmost, and of those the longest; the search goes on behind it, also when it is dropped
 *(single_word) or widened by the white space beside it (lstrip, rstrip). A widened match may therefore overlap the next
 *one: both count, as in the reference.
 *
 * The search is an Aho-Corasick automaton: nodes of a trie over bytes with child and sibling links, the root with a
 *table.
 *
 *	fail:  the longest proper suffix that is a node          out: the longest token that ends here (its own, else
 *fail's)
 */
#include "model/tok_priv.h"

#include <stdlib.h>
#include <string.h>

struct node {
	uint32_t child, sibling, fail; /* 0: none (the root is nobody's child) */
	uint32_t out;		       /* token + 1, 0 none */
	uint32_t depth;
	uint8_t byte;
};

struct tok_ac {
	struct node *node;
	size_t n, cap;
	uint32_t root[256];
};

int tok_added_put(struct tok_added *a, const struct tok_added_token *t, struct mm_err *err)
{
	struct tok_added_token copy = *t;
	uint8_t *text, *norm;
	if (!a->arena) {
		a->arena = mm_arena_new(64 << 10, err);
		if (!a->arena)
			return -1;
	}
	text = mm_arena_get(a->arena, t->text.n, 1, err);
	norm = text ? mm_arena_get(a->arena, t->norm.n, 1, err) : NULL;
	if (!norm || mm_grow(&a->tok, &a->cap, a->n + 1, sizeof(*a->tok), err))
		return -1;
	memcpy(text, t->text.s, t->text.n);
	memcpy(norm, t->norm.s, t->norm.n);
	copy.text.s = text;
	copy.norm.s = norm;
	a->tok[a->n++] = copy;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* A token that a file names again has the flags of the last time. */
int tok_added_settle(struct tok_added *a, struct mm_err *err)
{
	size_t n = 0;
	uint64_t *order = mm_calloc(a->n, sizeof(*order), err); /* id << 32 | index */
	if (!order)
		return -1;
	for (size_t i = 0; i < a->n; i++)
		order[i] = (uint64_t)a->tok[i].id << 32 | i;
	qsort(order, a->n, sizeof(*order), by_number);
	for (size_t i = 0; i + 1 < a->n; i++)
		if (order[i] >> 32 == order[i + 1] >> 32)
			a->tok[(uint32_t)order[i]].id = TOK_NONE;
	for (size_t i = 0; i < a->n; i++)
		if (a->tok[i].id != TOK_NONE)
			a->tok[n++] = a->tok[i];
	a->n = n;
	mm_free(order);
	return 0;
}

static uint32_t child_of(const struct tok_ac *ac, uint32_t node, uint8_t b)
{
	uint32_t c;
	if (!node)
		return ac->root[b];
	for (c = ac->node[node].child; c && ac->node[c].byte != b; c = ac->node[c].sibling)
		;
	return c;
}

/* Longest suffix of (node, b) that is a node. */
static uint32_t step(const struct tok_ac *ac, uint32_t node, uint8_t b)
{
	for (;;) {
		uint32_t c = child_of(ac, node, b);
		if (c || !node)
			return c;
		node = ac->node[node].fail;
	}
}

static int ac_put(struct tok_ac *ac, struct tok_str s, uint32_t token, struct mm_err *err)
{
	uint32_t at = 0;
	for (size_t i = 0; i < s.n; i++) {
		uint32_t c = child_of(ac, at, s.s[i]);
		if (!c) {
			if (ac->n >= UINT32_MAX - 1)
				return mm_fail(err, MM_EFORMAT, "too many added tokens");
			if (mm_grow(&ac->node, &ac->cap, ac->n + 1, sizeof(*ac->node), err))
				return -1;
			c = (uint32_t)ac->n++;
			ac->node[c] = (struct node){ .byte = s.s[i], .depth = (uint32_t)i + 1 };
			if (at) {
				ac->node[c].sibling = ac->node[at].child;
				ac->node[at].child = c;
			} else {
				ac->root[s.s[i]] = c;
			}
		}
		at = c;
	}
	if (!ac->node[at].out) /* the first of equal ones */
		ac->node[at].out = token + 1;
	return 0;
}

/* Breadth first, so that a node's fail is done before the node. */
static int ac_link(struct tok_ac *ac, struct mm_err *err)
{
	uint32_t *queue = mm_calloc(ac->n, sizeof(*queue), err);
	size_t head = 0, tail = 0;
	if (!queue)
		return -1;
	for (unsigned b = 0; b < 256; b++)
		if (ac->root[b])
			queue[tail++] = ac->root[b];
	while (head < tail) {
		uint32_t at = queue[head++];
		struct node *x = &ac->node[at];
		if (!x->out)
			x->out = ac->node[x->fail].out;
		for (uint32_t c = x->child; c; c = ac->node[c].sibling) {
			ac->node[c].fail = step(ac, x->fail, ac->node[c].byte);
			queue[tail++] = c;
		}
	}
	mm_free(queue);
	return 0;
}

static void ac_free(struct tok_ac *ac)
{
	if (ac)
		mm_free(ac->node);
	mm_free(ac);
}

static int ac_build(struct tok_ac **out, const struct tok_added *a, bool normalized, struct mm_err *err)
{
	struct tok_ac *ac = NULL;
	for (size_t i = 0; i < a->n; i++) {
		if (a->tok[i].normalized != normalized || !a->tok[i].norm.n)
			continue;
		if (!ac) {
			ac = *out = mm_calloc(1, sizeof(*ac), err);
			if (!ac || mm_grow(&ac->node, &ac->cap, 256, sizeof(*ac->node), err))
				return -1;
			memset(ac->node, 0, sizeof(*ac->node));
			ac->n = 1;
		}
		if (ac_put(ac, a->tok[i].norm, (uint32_t)i, err))
			return -1;
	}
	return ac ? ac_link(ac, err) : 0;
}

int tok_added_seal(struct tok_added *a, struct mm_err *err)
{
	if (ac_build(&a->raw, a, false, err) || ac_build(&a->normalized, a, true, err))
		return -1;
	return 0;
}

void tok_added_fini(struct tok_added *a)
{
	ac_free(a->raw);
	ac_free(a->normalized);
	mm_free(a->tok);
	mm_arena_free(a->arena);
	memset(a, 0, sizeof(*a));
}

const struct tok_added_token *tok_added_by_id(const struct tok_added *a, uint32_t id)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->tok[i].id == id)
			return &a->tok[i];
	return NULL;
}

/* Leftmost-longest match at or after `pos`. A candidate stands once no longer or earlier one is under way: when what
 * the automaton holds begins behind the candidate's start. */
static const struct tok_added_token *search(const struct tok_added_iter *it, size_t pos, size_t *begin, size_t *end)
{
	const struct tok_ac *ac = it->ac;
	const uint8_t *s = it->text.s;
	size_t n = it->text.n, from = 0, to = 0;
	uint32_t at = 0, best = 0;
	for (size_t i = pos; i < n; i++) {
		uint32_t out;
		while (!at && !best && i < n && !ac->root[s[i]])
			i++;
		if (i == n)
			break;
		at = step(ac, at, s[i]);
		if (best && i + 1 - ac->node[at].depth > from)
			break;
		out = ac->node[at].out;
		if (out) {
			size_t b = i + 1 - it->a->tok[out - 1].norm.n;
			if (!best || b <= from) {
				best = out;
				from = b;
				to = i + 1;
			}
		}
	}
	*begin = from;
	*end = to;
	return best ? &it->a->tok[best - 1] : NULL;
}

static bool word_before(struct tok_str t, size_t at)
{
	size_t p = at;
	uint32_t cp;
	if (!at)
		return false;
	do
		p--;
	while (p && (t.s[p] & 0xc0) == 0x80);
	tok_utf8(t.s + p, t.s + at, &cp);
	return tok_uni(cp) & TOK_WORD;
}

static bool word_behind(struct tok_str t, size_t at)
{
	uint32_t cp;
	if (at >= t.n)
		return false;
	tok_utf8(t.s + at, t.s + t.n, &cp);
	return tok_uni(cp) & TOK_WORD;
}

/* Where the white space in front of `at` begins, not before `stop`. */
static size_t space_before(struct tok_str t, size_t at, size_t stop)
{
	while (at > stop) {
		size_t p = at;
		uint32_t cp;
		do
			p--;
		while (p > stop && (t.s[p] & 0xc0) == 0x80);
		tok_utf8(t.s + p, t.s + at, &cp);
		if (!(tok_uni(cp) & TOK_WS))
			break;
		at = p;
	}
	return at;
}

static size_t space_behind(struct tok_str t, size_t at)
{
	while (at < t.n) {
		uint32_t cp;
		unsigned k = tok_utf8(t.s + at, t.s + t.n, &cp);
		if (!(tok_uni(cp) & TOK_WS))
			break;
		at += k;
	}
	return at;
}

void tok_added_iter_init(
	struct tok_added_iter *it, const struct tok_added *a, const struct tok_ac *ac, struct tok_str text, bool plain)
{
	*it = (struct tok_added_iter){ .a = a, .ac = ac, .text = text, .plain = plain };
}

bool tok_added_iter_next(struct tok_added_iter *it, struct tok_split *out)
{
	const struct tok_added_token *t;
	size_t from, to;
	if (it->pos == SIZE_MAX)
		return false;
	while (it->ac && (t = search(it, it->pos, &from, &to))) {
		it->pos = to;
		if (it->plain && t->special)
			continue;
		if (t->single_word && (word_before(it->text, from) || word_behind(it->text, to)))
			continue;
		if (t->lstrip)
			from = from > it->start ? space_before(it->text, from, it->start) : it->start;
		if (t->rstrip)
			to = space_behind(it->text, to);
		if (from >= to) { /* all its text was white space that the one before it took */
			it->start = to > it->start ? to : it->start;
			continue;
		}
		*out = (struct tok_split){ t, it->start, from > it->start ? from : it->start };
		it->start = to;
		return true;
	}
	*out = (struct tok_split){ NULL, it->start, it->text.n > it->start ? it->text.n : it->start };
	it->pos = SIZE_MAX;
	return true;
}
