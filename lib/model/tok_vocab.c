/* tok_vocab.c - a vocabulary: strings to ids and back.
 *
 *	blob:  all strings one behind the other          ent[i]: where string i lies, and its id
 *	slot:  open addressing, tag << 32 | i + 1        by_id:  entry numbers, sorted by id
 *
 * The tag (upper half of the hash) keeps the search away from the strings unless they are equal. Hashes are seeded from
 *the system's random numbers, so that no file can be made whose strings collide; no result depends on the seed.
 */
#include "model/tok_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

uint64_t tok_seed(void)
{
	uint64_t seed;
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
		seed = (uint64_t)(uintptr_t)&seed * 0x9e3779b97f4a7c15u;
	return seed | 1;
}

static uint64_t load(const uint8_t *p, size_t n)
{
	uint64_t v = 0;
	memcpy(&v, p, n);
	return v;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;
	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t tok_hash(const uint8_t *s, size_t n, uint64_t seed)
{
	uint64_t h = seed ^ n;
	if (n > 64)
		return mix(mm_hash64(s, n) ^ seed, 0xd6e8feb86659fd93u ^ n);
	while (n > 16) {
		h = mix(h ^ load(s, 8), 0xa0761d6478bd642fu ^ load(s + 8, 8));
		s += 16;
		n -= 16;
	}
	if (n >= 8)
		return mix(h ^ load(s, 8), 0xe7037ed1a0b428dbu ^ load(s + n - 8, 8));
	if (n >= 4)
		return mix(h ^ load(s, 4), 0xe7037ed1a0b428dbu ^ load(s + n - 4, 4));
	if (n)
		h ^= (uint64_t)s[0] << 16 | (uint64_t)s[n >> 1] << 8 | s[n - 1];
	return mix(h, 0xe7037ed1a0b428dbu);
}

int tok_vocab_init(struct tok_vocab *v, size_t expect, struct mm_err *err)
{
	memset(v, 0, sizeof(*v));
	v->seed = tok_seed();
	for (v->n_slot = 1024; v->n_slot / 2 < expect && v->n_slot < (size_t)1 << 28; v->n_slot *= 2)
		;
	v->slot = mm_calloc(v->n_slot, sizeof(*v->slot), err);
	mm_buf_u8(&v->blob, 0); /* never NULL, also when all strings are empty */
	return v->slot ? mm_buf_check(&v->blob, err) : -1;
}

void tok_vocab_fini(struct tok_vocab *v)
{
	mm_buf_fini(&v->blob);
	mm_free(v->ent);
	mm_free(v->slot);
	mm_free(v->by_id);
	memset(v, 0, sizeof(*v));
}

/* The entry of s, or the free slot where it would go. */
static struct tok_ent *find(const struct tok_vocab *v, const uint8_t *s, size_t n, uint64_t hash, size_t *slot)
{
	uint64_t tag = hash >> 32;
	for (size_t i = (size_t)hash & (v->n_slot - 1);; i = (i + 1) & (v->n_slot - 1)) {
		uint64_t w = v->slot[i];
		if (!w) {
			*slot = i;
			return NULL;
		}
		if (w >> 32 == tag) {
			struct tok_ent *e = &v->ent[(uint32_t)w - 1];
			if (e->len == n && !memcmp(v->blob.data + e->off, s, n))
				return e;
		}
	}
}

static int widen(struct tok_vocab *v, struct mm_err *err)
{
	size_t n_slot = v->n_slot * 2;
	uint64_t *slot = mm_calloc(n_slot, sizeof(*slot), err);
	if (!slot)
		return -1;
	for (size_t k = 0; k < v->n; k++) {
		uint64_t h = tok_hash(v->blob.data + v->ent[k].off, v->ent[k].len, v->seed);
		size_t i = (size_t)h & (n_slot - 1);
		while (slot[i])
			i = (i + 1) & (n_slot - 1);
		slot[i] = h >> 32 << 32 | (k + 1);
	}
	mm_free(v->slot);
	v->slot = slot;
	v->n_slot = n_slot;
	return 0;
}

int tok_vocab_put(struct tok_vocab *v, struct tok_str s, uint32_t id, struct mm_err *err)
{
	uint64_t h = tok_hash(s.s, s.n, v->seed);
	struct tok_ent *e;
	size_t slot = 0;
	if (id > TOK_ID_MAX)
		return mm_fail(err, MM_EFORMAT, "token id %lu is too large", (unsigned long)id);
	e = find(v, s.s, s.n, h, &slot);
	if (e) {
		e->id = id;
		return 0;
	}
	if (v->n >= v->n_slot / 2) {
		if (widen(v, err))
			return -1;
		find(v, s.s, s.n, h, &slot);
	}
	if (v->blob.len + s.n > UINT32_MAX || mm_grow(&v->ent, &v->cap, v->n + 1, sizeof(*v->ent), err))
		return v->blob.len + s.n > UINT32_MAX ? mm_fail(err, MM_EFORMAT, "vocabulary of more than 4 GB") : -1;
	v->ent[v->n] = (struct tok_ent){ (uint32_t)v->blob.len, (uint32_t)s.n, id };
	mm_buf_put(&v->blob, s.s, s.n);
	if (mm_buf_check(&v->blob, err))
		return -1;
	v->slot[slot] = h >> 32 << 32 | ++v->n;
	if (s.n > v->max_len)
		v->max_len = s.n;
	return 0;
}

uint32_t tok_vocab_get(const struct tok_vocab *v, const uint8_t *s, size_t n)
{
	size_t slot;
	const struct tok_ent *e = v->n ? find(v, s, n, tok_hash(s, n, v->seed), &slot) : NULL;
	return e ? e->id : TOK_NONE;
}

static int cmp_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

int tok_vocab_seal(struct tok_vocab *v, struct mm_err *err)
{
	uint64_t *key = mm_calloc(v->n, sizeof(*key), err);
	bool sorted = true;
	if (!key)
		return -1;
	v->by_id = mm_calloc(v->n, sizeof(*v->by_id), err);
	if (!v->by_id) {
		mm_free(key);
		return -1;
	}
	for (size_t i = 0; i < v->n; i++) {
		key[i] = (uint64_t)v->ent[i].id << 32 | i;
		sorted = sorted && (!i || key[i - 1] < key[i]);
	}
	if (!sorted)
		qsort(key, v->n, sizeof(*key), cmp_u64);
	for (size_t i = 0; i < v->n; i++)
		v->by_id[i] = (uint32_t)key[i];
	v->max_id = v->n ? v->ent[v->by_id[v->n - 1]].id : 0;
	mm_free(key);
	return 0;
}

bool tok_vocab_unique(const struct tok_vocab *v)
{
	for (size_t i = 1; i < v->n; i++)
		if (v->ent[v->by_id[i]].id == v->ent[v->by_id[i - 1]].id)
			return false;
	return true;
}

bool tok_vocab_text(const struct tok_vocab *v, uint32_t id, struct tok_str *out)
{
	size_t lo = 0, hi = v->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (v->ent[v->by_id[mid]].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == v->n || v->ent[v->by_id[lo]].id != id)
		return false;
	*out = (struct tok_str){ v->blob.data + v->ent[v->by_id[lo]].off, v->ent[v->by_id[lo]].len };
	return true;
}

static int hex(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int tok_byte_token(struct tok_str s)
{
	if (s.n != 6 || memcmp(s.s, "<0x", 3) || s.s[5] != '>' || hex(s.s[3]) < 0 || hex(s.s[4]) < 0)
		return -1;
	return hex(s.s[3]) << 4 | hex(s.s[4]);
}

void tok_meta_spaces(struct tok_str s, struct mm_buf *out)
{
	for (size_t i = 0; i < s.n;) {
		bool meta = s.n - i >= 3 && !memcmp(s.s + i, TOK_META, 3);
		mm_buf_u8(out, meta ? ' ' : s.s[i]);
		i += meta ? 3 : 1;
	}
}
