/* feat_plan.c: which rows say something about a probe.
 *
 *	y   the bytes of t_1 .. t_k, the tokens of the prefix by itself
 *	l   a context t_1 .. t_l: of what y has behind it, tokens are wanted that begin with all of it and go on
 *
 * The deepest l is the first one with such a token. Up from there every row is tapped, for the probabilities of
 * t_l+1 .. t_k lead from one context to the next. Where the text's own tokens begin with t_1 .. t_k and one more row,
 *all of that happens in the text's sequence, else in one of the probe's own. */
#include "model/feat_priv.h"

#include <string.h>

struct prefix { /* of one probe while it is planned */
	const uint32_t *front;
	size_t n_front;
	struct mm_ids ids; /* front, then t_1 .. t_k */
	size_t k;
	struct mm_buf y;
	size_t *at;	    /* [k + 1] where each token begins in y */
	size_t solid;	    /* first l from which on all tokens are bytes */
	bool over, pending; /* y ends with a space that the prefix has not yet; lacks one that it has */
};

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void prefix_fini(struct prefix *p)
{
	mm_free(p->ids.id);
	mm_free(p->at);
	mm_buf_fini(&p->y);
}

/* Bytes of the tokens, one behind the other. Special and unknown ones have none: no context reaches behind them. */
static int spell(const struct mm_feat_vocab *v, const uint32_t *id, size_t n, struct mm_buf *y, size_t *at,
	size_t *solid, struct mm_err *err)
{
	*solid = 0;
	for (size_t i = 0; i < n; i++) {
		at[i] = y->len;
		if (id[i] >= v->n)
			return mm_fail(err, MM_EUNSUPPORTED, "token id %u is outside of the model's vocabulary of %zu",
				id[i], v->n);
		if (v->first[id[i]] >= MM_FEAT_END)
			*solid = i + 1;
		mm_buf_put(y, v->blob + v->off[id[i]], mm_feat_len(v, id[i]));
	}
	at[n] = y->len;
	return mm_buf_check(y, err);
}

static int prefix_make(
	struct prefix *p, struct mm_feat *f, const struct mm_probe_point *at, size_t limit, struct mm_err *err)
{
	const char *text = f->texts->text[at->text];
	if (mm_grow(&p->ids.id, &p->ids.cap, p->n_front + 1, sizeof(*p->ids.id), err))
		return -1;
	memcpy(p->ids.id, p->front, p->n_front * sizeof(*p->front));
	p->ids.n = p->n_front;
	if (mm_tok_encode(f->tok, text, at->offset, 0, &p->ids, err))
		return -1;
	p->k = p->ids.n - p->n_front;
	size_t room = limit - 1 > p->n_front ? limit - 1 - p->n_front : 0;
	if (p->k > room) { /* longer than the context: its end counts */
		memmove(p->ids.id + p->n_front, p->ids.id + p->ids.n - room, room * sizeof(*p->ids.id));
		p->k = room;
		p->ids.n = p->n_front + room;
	}
	if (!p->ids.n)
		return mm_fail(err, MM_EUNSUPPORTED, "a prefix has no tokens");
	if (!(p->at = mm_calloc(p->k + 1, sizeof(*p->at), err)) ||
		spell(&f->vocab, p->ids.id + p->n_front, p->k, &p->y, p->at, &p->solid, err))
		return -1;
	bool x_space = is_space((uint8_t)text[at->offset - 1]), y_space = p->y.len && is_space(p->y.data[p->y.len - 1]);
	p->over = y_space && !x_space && p->solid < p->k;
	p->pending = x_space && !y_space;
	return 0;
}

/* What has to be seen behind a context that y[from ..) is not part of. */
static int behind(const struct prefix *p, size_t from, struct mm_buf *out, struct mm_err *err)
{
	size_t end = p->y.len - p->over;
	out->len = 0;
	if (from < end)
		mm_buf_put(out, p->y.data + from, end - from);
	if (p->pending)
		mm_buf_u8(out, ' ');
	return mm_buf_check(out, err);
}

/* Is there a token that begins with s and is longer? */
static bool goes_on(const struct mm_feat_vocab *v, const struct mm_buf *s)
{
	uint32_t lo = 0, hi = (uint32_t)v->n_sorted;
	if (!s->len || s->len >= v->longest)
		return false;
	mm_feat_range(v, s->data, s->len, &lo, &hi);
	return lo < hi && mm_feat_len(v, v->sorted[hi - 1]) > s->len;
}

/* ---- taps ---- */

static int tap_range(struct mm_tap *t, const struct mm_feat_vocab *v, const struct mm_buf *s, struct mm_err *err)
{
	size_t n = s->len;
	t->kind = MM_TAP_RANGE;
	t->n_seen = n;
	if (!(t->seen = mm_calloc(n, 1, err)) || !(t->lo = mm_calloc(n + 1, sizeof(*t->lo), err)) ||
		!(t->hi = mm_calloc(n + 1, sizeof(*t->hi), err)) ||
		!(t->ring = mm_calloc(n + 1, sizeof(double), err)) ||
		!(t->stop = mm_calloc(n + 1, sizeof(double), err)))
		return -1;
	memcpy(t->seen, s->data, n);
	t->hi[0] = (uint32_t)v->n_sorted;
	for (size_t a = 1; a <= n; a++) {
		t->lo[a] = t->lo[a - 1];
		t->hi[a] = t->hi[a - 1];
		mm_feat_range(v, t->seen, a, &t->lo[a], &t->hi[a]);
	}
	return 0;
}

static struct mm_tap *tap_new(struct mm_feat *f, size_t m, size_t seq, size_t pos, struct mm_err *err)
{
	if (mm_grow(&f->tap, &f->cap_tap, f->n_tap + 1, sizeof(*f->tap), err))
		return NULL;
	struct mm_tap *t = &f->tap[f->n_tap++];
	memset(t, 0, sizeof(*t));
	t->probe = (uint32_t)m;
	t->want = UINT32_MAX;
	t->seq = seq;
	t->pos = pos;
	f->probe[m].left++;
	return t;
}

static struct mm_feat_chain *chain_new(struct mm_feat *f, size_t m, size_t start, size_t n, struct mm_err *err)
{
	if (mm_grow(&f->chain, &f->cap_chain, f->n_chain + 1, sizeof(*f->chain), err))
		return NULL;
	struct mm_feat_chain *c = &f->chain[f->n_chain++];
	*c = (struct mm_feat_chain){ (uint32_t)m, (uint32_t)start, f->n_tap, n };
	f->probe[m].n_chain++;
	return c;
}

/* An own sequence of n tokens (borrowed or copied, and one behind them that nobody looks at); SIZE_MAX: no memory. */
static size_t own_new(struct mm_feat *f, const uint32_t *id, size_t n, bool borrowed, struct mm_err *err)
{
	if (mm_grow(&f->own, &f->cap_own, f->n_own + 1, sizeof(*f->own), err))
		return SIZE_MAX;
	struct mm_feat_seq *s = &f->own[f->n_own];
	*s = (struct mm_feat_seq){ (uint32_t *)(uintptr_t)id, n, borrowed };
	if (!borrowed) {
		if (!(s->id = mm_calloc(n + 1, sizeof(*s->id), err)))
			return SIZE_MAX;
		memcpy(s->id, id, n * sizeof(*s->id));
		s->id[n] = id[n - 1];
		s->n = n + 1;
	}
	return f->texts->n + f->n_own++;
}

static uint64_t seed_of(const struct mm_feat *f, size_t m)
{
	uint32_t at[3] = { f->probes.at[m].text, f->probes.at[m].offset, MM_PROBES_METHOD };
	return mm_hash64(at, sizeof(at));
}

/* The chain t_1 .. t_top, .., t_1 .. t_k in sequence seq. */
static int main_taps(struct mm_feat *f, size_t m, const struct prefix *p, size_t top, size_t seq, struct mm_err *err)
{
	struct mm_buf s = { 0 };
	int rc = chain_new(f, m, top, p->k - top + 1, err) ? 0 : -1;
	for (size_t l = top; !rc && l <= p->k; l++) {
		struct mm_tap *t = tap_new(f, m, seq, p->n_front + l - 1, err);
		if (!t || behind(p, p->at[l], &s, err)) {
			rc = -1;
			break;
		}
		if (l < p->k)
			t->want = p->ids.id[p->n_front + l];
		else {
			t->kind = p->over ? MM_TAP_OVER : MM_TAP_FIRST;
			t->ends = t->project = true;
			t->seed = seed_of(f, m);
		}
		if (goes_on(&f->vocab, &s))
			rc = tap_range(t, &f->vocab, &s, err);
		else if (s.len)
			t->kind = MM_TAP_PATH;
	}
	mm_buf_fini(&s);
	return rc;
}

/* ---- the exact form: the tokenizations of shorter prefixes ---- */

struct branch {
	struct mm_ids ids;
	struct mm_buf y, s;
	size_t *at;
	size_t shared; /* tokens in common with t_1 .. t_k */
	bool good;
};

/* x[0 .. i) by its own tokens: a context that is none of t_1 .. t_l, and something goes on from it? */
static int branch_look(struct branch *b, struct mm_feat *f, const struct mm_probe_point *at, const struct prefix *p,
	size_t i, struct mm_err *err)
{
	size_t solid;
	b->ids.n = b->y.len = 0;
	b->good = false;
	mm_free(b->at);
	b->at = NULL;
	if (mm_tok_encode(f->tok, f->texts->text[at->text], i, 0, &b->ids, err) ||
		!(b->at = mm_calloc(b->ids.n + 1, sizeof(*b->at), err)) ||
		spell(&f->vocab, b->ids.id, b->ids.n, &b->y, b->at, &solid, err))
		return -1;
	if (b->y.len >= p->y.len || (b->y.len && memcmp(b->y.data, p->y.data, b->y.len) != 0))
		return 0;
	const uint32_t *t = p->ids.id + p->n_front;
	for (b->shared = 0; b->shared < b->ids.n && b->shared < p->k && b->ids.id[b->shared] == t[b->shared];)
		b->shared++;
	if (b->shared == b->ids.n || p->n_front + b->shared == 0 || behind(p, b->y.len, &b->s, err))
		return mm_buf_check(&b->s, err);
	b->good = goes_on(&f->vocab, &b->s);
	return 0;
}

static int branch_taps(struct mm_feat *f, size_t m, const struct prefix *p, const struct branch *b, struct mm_err *err)
{
	struct mm_ids whole = { 0 };
	size_t n = p->n_front + b->ids.n;
	int rc = mm_grow(&whole.id, &whole.cap, n + 1, sizeof(*whole.id), err);
	if (!rc) {
		memcpy(whole.id, p->ids.id, p->n_front * sizeof(*whole.id));
		memcpy(whole.id + p->n_front, b->ids.id, b->ids.n * sizeof(*whole.id));
		size_t seq = own_new(f, whole.id, n, false, err);
		rc = seq == SIZE_MAX || !chain_new(f, m, b->shared, b->ids.n - b->shared + 1, err) ? -1 : 0;
		for (size_t l = b->shared; !rc && l <= b->ids.n; l++) {
			struct mm_tap *t = tap_new(f, m, seq, p->n_front + l - 1, err);
			if (!t)
				rc = -1;
			else if (l < b->ids.n)
				t->want = b->ids.id[l];
			else
				rc = tap_range(t, &f->vocab, &b->s, err);
		}
	}
	mm_free(whole.id);
	return rc;
}

/* Calls for each branch; without taps only *top is brought down to where they leave t_1 .. t_k. */
static int branches(struct mm_feat *f, size_t m, const struct prefix *p, bool taps, size_t *top, struct mm_err *err)
{
	const struct mm_probe_point *at = &f->probes.at[m];
	const char *text = f->texts->text[at->text];
	struct branch b = { 0 };
	size_t last = SIZE_MAX;
	int rc = 0;
	for (size_t i = at->offset; !rc && i-- > 0 && at->offset - i <= f->vocab.longest;) {
		if (((uint8_t)text[i] & 0xC0) == 0x80)
			continue;
		rc = branch_look(&b, f, at, p, i, err);
		if (rc || !b.good || b.y.len == last) /* dropped spaces: the same context again */
			continue;
		last = b.y.len;
		if (taps)
			rc = branch_taps(f, m, p, &b, err);
		else
			*top = MM_MIN(*top, b.shared);
	}
	mm_free(b.ids.id);
	mm_free(b.at);
	mm_buf_fini(&b.y);
	mm_buf_fini(&b.s);
	return rc;
}

/* ---- a probe ---- */

static int find_top(const struct mm_feat *f, const struct prefix *p, size_t *top, struct mm_err *err)
{
	struct mm_buf s = { 0 };
	int rc = 0;
	*top = p->k;
	for (size_t l = p->k; l-- > p->solid && p->n_front + l > 0;) {
		if ((rc = behind(p, p->at[l], &s, err)) || s.len >= f->vocab.longest)
			break;
		if (goes_on(&f->vocab, &s))
			*top = l;
	}
	mm_buf_fini(&s);
	return rc;
}

int mm_feat_plan(struct mm_feat *f, size_t m, const struct mm_feat_text *text, const uint32_t *front, size_t n_front,
	size_t limit, struct mm_err *err)
{
	struct prefix p = { .front = front, .n_front = n_front };
	size_t top, seq, rows;
	int rc = -1;
	if (prefix_make(&p, f, &f->probes.at[m], limit, err) || find_top(f, &p, &top, err))
		goto out;
	/* A prefix that was cut has no branches: their own cut would be another one. */
	bool exact = f->exact && n_front + p.k + 1 < limit;
	if (exact && branches(f, m, &p, false, &top, err))
		goto out;
	rows = n_front + p.k;
	bool shared = text->n > rows && !memcmp(text->id, p.ids.id, rows * sizeof(*p.ids.id));
	if (!shared)
		seq = own_new(f, p.ids.id, rows, false, err);
	else if (text->done)
		seq = own_new(f, text->id, text->n, true, err);
	else
		seq = f->probes.at[m].text;
	f->probe[m].chain = f->n_chain;
	if (seq == SIZE_MAX || main_taps(f, m, &p, top, seq, err) || (exact && branches(f, m, &p, true, &top, err)))
		goto out;
	rc = 0;
out:
	prefix_fini(&p);
	return rc;
}

int mm_feat_plan_order(struct mm_feat *f, struct mm_err *err)
{
	size_t n_seq = f->texts->n + f->n_own;
	if (!(f->order = mm_calloc(f->n_tap, sizeof(*f->order), err)) ||
		!(f->from = mm_calloc(n_seq + 1, sizeof(*f->from), err)))
		return -1;
	for (size_t i = 0; i < f->n_tap; i++)
		f->from[f->tap[i].seq + 1]++;
	for (size_t s = 0; s < n_seq; s++)
		f->from[s + 1] += f->from[s];
	for (size_t i = f->n_tap; i-- > 0;)
		f->order[--f->from[f->tap[i].seq + 1]] = i;
	/* from[s + 1] is now where s begins; by position within a sequence: insertion, they are few */
	memmove(f->from, f->from + 1, n_seq * sizeof(*f->from));
	f->from[n_seq] = f->n_tap;
	for (size_t s = 0; s < n_seq; s++)
		for (size_t i = f->from[s] + 1; i < f->from[s + 1]; i++)
			for (size_t j = i; j > f->from[s] && f->tap[f->order[j]].pos < f->tap[f->order[j - 1]].pos;
				j--) {
				size_t x = f->order[j];
				f->order[j] = f->order[j - 1];
				f->order[j - 1] = x;
			}
	return 0;
}
