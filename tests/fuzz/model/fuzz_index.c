/* fuzz_index.c - model.safetensors.index.json: no name that leaves the directory gets through, every one once. */
#include "model/ckpt_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_err err = { 0 };
	struct mm_ckpt_why why = { 0 };
	char name[32], **shard;
	size_t n;
	int fd = memfd_create("index", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(name, sizeof name, "%d", fd);
	json_t *index = mm_ckpt_json("/proc/self/fd", name, 1 << 20, &why, "bad_index", &err);
	close(fd);
	if (!index) {
		if (err.code == MM_OK || !why.code[0])
			abort();
		return 0;
	}
	if (!mm_shards_list(index, "index", &shard, &n, &err)) {
		if (!n)
			abort();
		for (size_t i = 0; i < n; i++)
			if (!shard[i][0] || strchr(shard[i], '/') || !strcmp(shard[i], "..") ||
				!strcmp(shard[i], ".") || (i && strcmp(shard[i - 1], shard[i]) >= 0))
				abort();
		mm_shards_free(shard, n);
	} else if (err.code == MM_OK) {
		abort();
	}
	json_decref(index);
	return 0;
}
