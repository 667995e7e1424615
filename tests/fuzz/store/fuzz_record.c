/* fuzz_record.c - values as they may lie in a damaged or hostile store: records of every kind, and arrays.
 *
 * The first byte picks the kind; the seal in front of the rest is made right, else nothing would ever get past it.
 * What decodes must encode to a value that decodes to the same. */
#include "store/store_priv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct mm_layout *const layouts[] = { &mm_layout_model, &mm_layout_job, &mm_layout_alert, &mm_layout_pin };

union any {
	struct mm_model_rec model;
	struct mm_job_rec job;
	struct mm_alert_rec alert;
	struct mm_store_pin pin;
};

static void record(const struct mm_layout *l, MDB_val key, MDB_val val)
{
	union any rec, again;
	struct mm_err err = { 0 };
	struct mm_buf one = { 0 }, two = { 0 };
	if (mm_rec_decode(l, key, val, &rec, &err))
		return;
	/* With the old value in its place, so that unknown fields are carried over too. */
	if (mm_rec_encode(l, &rec, key, val, &one, &err))
		abort();
	MDB_val v = { one.len, one.data };
	if (mm_rec_decode(l, key, v, &again, &err) || mm_rec_encode(l, &again, key, v, &two, &err))
		abort();
	if (one.len != two.len || memcmp(one.data, two.data, one.len))
		abort();
	mm_rec_fini(l, &again);
	mm_rec_fini(l, &rec);
	mm_buf_fini(&one);
	mm_buf_fini(&two);
}

static void array(MDB_val key, MDB_val val)
{
	struct mm_stored_array a;
	struct mm_err err = { 0 };
	if (mm_array_decode(key, val, &a, &err))
		return;
	const uint8_t *p = a.data;
	unsigned sum = 0;
	for (size_t i = 0; i < a.n_byte; i++)
		sum += p[i];
	if (sum == UINT32_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_key key = mm_key_of(7, "loglik");
	MDB_val k = mm_key_val(&key);
	if (size < 9)
		return 0;
	uint8_t *copy = malloc(size - 1);
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	uint64_t seal = mm_seal(k, copy + 8, size - 9);
	for (unsigned i = 0; i < 8; i++)
		copy[i] = (uint8_t)(seal >> (8 * i));
	MDB_val val = { size - 1, copy };
	unsigned kind = data[0] % (MM_COUNT(layouts) + 1);
	if (kind < MM_COUNT(layouts))
		record(layouts[kind], k, val);
	else
		array(k, val);
	free(copy);
	return 0;
}
