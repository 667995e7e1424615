/* Any text as published scores: what is accepted is a table whose rows have as many cells as its first line. */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>

static size_t cells(const char *p, const char **end)
{
	size_t n = 1;
	bool quoted = false;
	for (; *p && (quoted || *p != '\n'); p++) {
		quoted ^= *p == '"';
		n += !quoted && *p == ',';
	}
	*end = *p ? p + 1 : p;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_buf out = { 0 };
	struct mm_err err;
	json_t *models = json_pack("[{s:s}, {s:s}]", "name", "a", "name", "b/a");
	if (!mm_scores_json((const char *)data, size, models, &out, &err)) {
		const char *p = (const char *)out.data, *end;
		size_t n = cells(p, &end);
		for (p = end; *p; p = end)
			if (cells(p, &end) != n)
				abort();
	}
	mm_buf_fini(&out);
	json_decref(models);
	return 0;
}
