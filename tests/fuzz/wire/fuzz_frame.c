/* fuzz_frame.c - the reader of the scorer's stream, fed in pieces whose size the first byte chooses. */
#include "wire/wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_err err = { 0 };
	struct mm_frame f;
	if (!size)
		return 0;
	size_t step = (size_t)data[0] + 1, sum = 0;
	struct mm_frame_in *in = mm_frame_in_new(1 << 20, &err);
	if (!in)
		return 0;
	int rc = 0;
	for (size_t at = 1; at < size && rc >= 0; at += step) {
		rc = mm_frame_in_feed(in, data + at, MM_MIN(step, size - at), &err);
		while (rc >= 0 && (rc = mm_frame_in_next(in, &f, &err)) == 1) {
			const uint8_t *p = f.array.data;
			for (size_t i = 0; i < f.array.n_byte; i++) /* every byte handed out is readable */
				sum += p[i];
		}
	}
	if (rc < 0 && (mm_frame_in_done(in) || !err.code || !err.text[0]))
		abort();
	mm_frame_in_free(in);
	return sum == SIZE_MAX;
}
