/* hash.c - XXH3 fingerprints: fast, 128 bits against chance, no defence against somebody who wants a collision. */
#include "base/base.h"

#include <string.h>
#include <xxhash.h>

struct mm_hasher {
	XXH3_state_t *state;
};

static struct mm_hash of(XXH128_hash_t h)
{
	return (struct mm_hash){ .hi = h.high64, .lo = h.low64 };
}

struct mm_hash mm_hash_of(const void *data, size_t len)
{
	return of(XXH3_128bits(len ? data : "", len));
}

uint64_t mm_hash64(const void *data, size_t len)
{
	return XXH3_64bits(len ? data : "", len);
}

struct mm_hasher *mm_hasher_new(struct mm_err *err)
{
	struct mm_hasher *h = mm_calloc(1, sizeof *h, err);
	if (!h)
		return NULL;
	h->state = XXH3_createState(); /* wants 64-byte alignment: only the library can say */
	if (!h->state) {
		mm_free(h);
		mm_fail(err, MM_ENOMEM, "out of memory for a hash state");
		return NULL;
	}
	XXH3_128bits_reset(h->state);
	return h;
}

void mm_hasher_put(struct mm_hasher *h, const void *data, size_t len)
{
	if (len)
		XXH3_128bits_update(h->state, data, len);
}

void mm_hasher_str(struct mm_hasher *h, const char *s)
{
	uint64_t n = strlen(s);
	uint8_t le[8];
	for (int i = 0; i < 8; i++)
		le[i] = (uint8_t)(n >> (8 * i));
	mm_hasher_put(h, le, sizeof le);
	mm_hasher_put(h, s, n);
}

struct mm_hash mm_hasher_get(const struct mm_hasher *h)
{
	return of(XXH3_128bits_digest(h->state));
}

void mm_hasher_free(struct mm_hasher *h)
{
	if (!h)
		return;
	XXH3_freeState(h->state);
	mm_free(h);
}

bool mm_hash_eq(struct mm_hash a, struct mm_hash b)
{
	return a.hi == b.hi && a.lo == b.lo;
}

void mm_hash_hex(struct mm_hash h, char out[MM_HASH_HEX])
{
	snprintf(out, MM_HASH_HEX, "%016llx%016llx", (unsigned long long)h.hi, (unsigned long long)h.lo);
}

bool mm_hash_parse(const char *hex, struct mm_hash *out)
{
	uint64_t v[2] = { 0, 0 };
	for (int i = 0; i < 32; i++) {
		char c = hex[i];
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
		if (d < 0)
			return false;
		v[i / 16] = v[i / 16] << 4 | (unsigned)d;
	}
	if (hex[32])
		return false;
	*out = (struct mm_hash){ .hi = v[0], .lo = v[1] };
	return true;
}
