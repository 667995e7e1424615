/* Any bytes as a .npy file: what is accepted lies inside of them and has the size that its shape says. */
#include "base/base.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mm_npy n;
	struct mm_err err;
	if (mm_npy_parse(&n, data, size, &err))
		return 0;
	size_t bytes = (size_t)(n.descr[2] - '0');
	for (size_t i = 0; i < n.ndim; i++)
		bytes *= n.shape[i];
	if (bytes != n.bytes || n.bytes > size || (n.bytes && (n.data < data || n.data + n.bytes > data + size)))
		abort();
	unsigned sum = 0;
	for (size_t i = 0; i < n.bytes; i++)
		sum += n.data[i];
	return sum == 1u << 31 ? 1 : 0;
}
