/* fuzz_json.c - untrusted JSON, .npy headers and sizes: no crash, no hang, errors that are one printable line. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_err err = { 0 };
	struct mm_npy npy;
	json_t *j = mm_json_parse((const char *)data, size, "fuzz", &err);
	if (j) {
		char *s = mm_json_dump(j, &err);
		if (!s)
			abort();
		json_t *again = mm_json_parse(s, strlen(s), "dump", &err);
		if (!again || !json_equal(j, again))
			abort();
		json_decref(again);
		mm_free(s);
		json_decref(j);
	} else if (!mm_utf8_valid(err.text, strlen(err.text)) || strchr(err.text, '\n')) {
		abort();
	}
	if (!mm_npy_parse(&npy, data, size, &err) && npy.bytes > size)
		abort();
	return 0;
}
