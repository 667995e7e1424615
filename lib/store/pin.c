/* pin.c - what a store belongs to: its schema, and the terms under which its vectors were made.
 *
 * Vectors of different text sets, BOS policies, arithmetic or incompatible scorers must never meet in one distance: the
 * numbers would be wrong and nothing would show it. So they are fixed when the store is made, and other terms are
 * refused with the way out.
 */
#include "store/store_priv.h"

#include <string.h>

#define WAY_OUT                                                                                                        \
	"use a new state_dir, or set it back; `modelmap export --vectors F.npy --names F.txt` under the old "          \
	"configuration saves the vectors there are"

/* ---- schema ---- */

/* upgrade[i] brings a store from schema i + 1 to i + 2, in the transaction that opens it: all of it or nothing. */
typedef int (*upgrade_fn)(struct mm_txn *t, struct mm_err *err);
static const upgrade_fn upgrade[MM_SCHEMA] = { NULL };
_Static_assert(MM_COUNT(upgrade) == MM_SCHEMA, "one step for each schema but the last, and a NULL");

int mm_store_check_schema(struct mm_txn *t, struct mm_err *err)
{
	MDB_val key = { 6, (void *)(uintptr_t) "schema" }, val;
	struct mm_err none = { 0 };
	uint32_t have = MM_SCHEMA;
	if (!mm_txn_get(t, MM_D_META, key, &val, &none)) {
		struct mm_cur c = mm_cur_of(val.mv_data, val.mv_size);
		have = mm_cur_u32(&c);
		if (c.failed || mm_cur_left(&c) || !have)
			return mm_fail(err, MM_ECORRUPT, "the store's schema number is damaged");
		if (have > MM_SCHEMA)
			return mm_fail(err, MM_EUNSUPPORTED,
				"the store has schema %u, this modelmapd " MM_VERSION " knows up to %u: use the newer "
				"modelmapd that wrote it, or a new state_dir",
				have, MM_SCHEMA);
		if (have == MM_SCHEMA)
			return 0;
	} else if (none.code != MM_ENOENT) {
		*err = none;
		return -1;
	}
	for (; have < MM_SCHEMA; have++)
		if (upgrade[have - 1] && upgrade[have - 1](t, err))
			return mm_wrap(err, "upgrade of the store from schema %u", have);
	uint8_t le[4] = { MM_SCHEMA & 0xff, MM_SCHEMA >> 8, 0, 0 };
	val = (MDB_val){ 4, le };
	return mm_txn_put(t, MM_D_META, key, &val, err);
}

/* ---- compatible scorers ---- */

/* Versions in one row give vectors that may stand beside each other (differences far below the tolerance of the
 * conformance tests). A new version that changes values by more starts a row of its own. */
static const char *const compatible[][4] = {
	{ "1" },
};

static bool scorers_compatible(const char *a, const char *b)
{
	if (!strcmp(a, b))
		return true;
	for (size_t i = 0; i < MM_COUNT(compatible); i++) {
		bool has_a = false, has_b = false;
		for (size_t k = 0; k < MM_COUNT(compatible[i]) && compatible[i][k]; k++) {
			has_a |= !strcmp(compatible[i][k], a);
			has_b |= !strcmp(compatible[i][k], b);
		}
		if (has_a && has_b)
			return true;
	}
	return false;
}

/* ---- the pin ---- */

static int compare(const struct mm_store_pin *have, const struct mm_store_pin *want, struct mm_err *err)
{
	char a[MM_HASH_HEX], b[MM_HASH_HEX];
	if (!mm_hash_eq(have->texts, want->texts) || have->n_texts != want->n_texts) {
		mm_hash_hex(have->texts, a);
		mm_hash_hex(want->texts, b);
		return mm_fail(err, MM_ECONFLICT,
			"this store belongs to another text set (%.12s, %llu texts) than the configured one (%.12s, "
			"%llu texts): " WAY_OUT,
			a, (unsigned long long)have->n_texts, b, (unsigned long long)want->n_texts);
	}
	static const struct {
		const char *what;
		size_t at;
	} words[] = {
		{ "score.bos", offsetof(struct mm_store_pin, bos) },
		{ "score.compute", offsetof(struct mm_store_pin, compute) },
	};
	for (size_t i = 0; i < MM_COUNT(words); i++) {
		const char *h = (const char *)have + words[i].at, *w = (const char *)want + words[i].at;
		if (strcmp(h, w))
			return mm_fail(err, MM_ECONFLICT,
				"this store was made with %s %s, the configuration says %s: " WAY_OUT, words[i].what, h,
				w);
	}
	if (!scorers_compatible(have->scorer, want->scorer))
		return mm_fail(err, MM_ECONFLICT,
			"this store's vectors were made by scorer version %s, which gives other values than this "
			"program's version %s: " WAY_OUT,
			have->scorer, want->scorer);
	return 0;
}

int mm_store_check_pin(struct mm_txn *t, const struct mm_store_pin *want, struct mm_err *err)
{
	MDB_val key = { 3, (void *)(uintptr_t) "pin" }, val, none = { 0, NULL };
	struct mm_store_pin *have = &t->store->pin;
	struct mm_err why = { 0 };
	if (!mm_txn_get(t, MM_D_META, key, &val, &why)) {
		if (mm_rec_decode(&mm_layout_pin, key, val, have, err))
			return mm_wrap(err, "what the store belongs to cannot be read");
		return want ? compare(have, want, err) : 0;
	}
	if (why.code != MM_ENOENT) {
		*err = why;
		return -1;
	}
	if (!want)
		return mm_fail(err, MM_ENOENT, "the store is empty");
	struct mm_buf b = { 0 };
	int rc = mm_rec_encode(&mm_layout_pin, want, key, none, &b, err);
	if (!rc) {
		val = (MDB_val){ b.len, b.data };
		rc = mm_txn_put(t, MM_D_META, key, &val, err);
	}
	mm_buf_fini(&b);
	*have = *want;
	return rc;
}
