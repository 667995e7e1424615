/* The scorer's stream as the daemon takes it, in pieces of changing size: a checked result or an error. */
#include "daemon/core_priv.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_err err;
	struct mm_result r;
	bool said;
	struct mm_collect *c = mm_collect_new(
		&(struct mm_collect_opts){ .n_texts = 4, .texts = { 7, 9 }, .bos = "auto", .compute = "f32" }, &err);
	if (!c)
		return 0;
	int rc = 0;
	for (size_t at = 0, n = 1; at < size && !rc; at += n, n = n * 2 % 251 + 1)
		rc = mm_collect_feed(c, data + at, MM_MIN(n, size - at), &err);
	if (!rc && !mm_collect_end(c, &r, &said, &err)) {
		if (said || r.n_bad > 4 || !r.loglik)
			abort();
		mm_result_fini(&r);
	}
	mm_collect_free(c);
	return 0;
}
