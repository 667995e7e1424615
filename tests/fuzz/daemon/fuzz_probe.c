/* The probe's answer as the daemon reads it: whatever comes, a result within bounds or an error. */
#include "daemon/core_priv.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_probe_result p;
	struct mm_err err;
	if (mm_probe_parse((const char *)data, size, &p, &err))
		return 0;
	if (p.ready && (p.failed || mm_hash_is_zero(p.quick) || mm_hash_is_zero(p.stat_id)))
		abort();
	mm_probe_result_fini(&p);
	return 0;
}
