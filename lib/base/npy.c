/* npy.c - NumPy's .npy files, version 1.0: magic, version, header length (u16), a Python dict padded with spaces and a
 * newline so that the data begin at a multiple of 64, then the data. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC "\x93NUMPY"

void mm_npy_header(struct mm_buf *b, const char *descr, size_t ndim, const size_t *shape)
{
	struct mm_buf d = { 0 };
	mm_buf_printf(&d, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
	for (size_t i = 0; i < ndim; i++)
		mm_buf_printf(&d, i + 1 < ndim || ndim == 1 ? "%zu, " : "%zu", shape[i]);
	mm_buf_str(&d, "), }");
	while (!d.failed && (10 + d.len + 1) % 64)
		mm_buf_u8(&d, ' ');
	mm_buf_u8(&d, '\n');
	mm_buf_put(b, MAGIC "\x01\x00", 8);
	mm_buf_u16(b, (uint16_t)d.len);
	if (d.failed)
		b->failed = true;
	else
		mm_buf_put(b, d.data, d.len);
	mm_buf_fini(&d);
}

/* The value behind 'key': in the dict; the dict is NUL-terminated. */
static const char *value_of(const char *dict, const char *key)
{
	const char *p = strstr(dict, key);
	if (!p || !(p = strchr(p, ':')))
		return NULL;
	p++;
	return p + strspn(p, " ");
}

static int parse_shape(struct mm_npy *out, const char *p, struct mm_err *err)
{
	if (*p != '(')
		return mm_fail(err, MM_EFORMAT, "npy: shape is not a tuple");
	for (p++; *p != ')';) {
		char *end;
		if (out->ndim == MM_COUNT(out->shape) || *p < '0' || *p > '9')
			return mm_fail(err, MM_EFORMAT, "npy: unreadable shape");
		out->shape[out->ndim++] = strtoull(p, &end, 10);
		p = end + strspn(end, ", ");
	}
	return 0;
}

int mm_npy_parse(struct mm_npy *out, const void *data, size_t len, struct mm_err *err)
{
	struct mm_cur c = mm_cur_of(data, len);
	const uint8_t *head = mm_cur_bytes(&c, 8), *text;
	char dict[4096];
	*out = (struct mm_npy){ 0 };
	if (!head || memcmp(head, MAGIC, 6))
		return mm_fail(err, MM_EFORMAT, "npy: no NumPy magic at the start");
	uint64_t n = head[6] == 1 ? mm_cur_u16(&c) : mm_cur_u32(&c);
	if (n >= sizeof dict || !(text = mm_cur_bytes(&c, n)))
		return mm_fail(err, MM_EFORMAT, "npy: header of %llu bytes does not fit", (unsigned long long)n);
	memcpy(dict, text, n);
	dict[n] = 0;
	const char *descr = value_of(dict, "descr"), *order = value_of(dict, "fortran_order"),
		   *shape = value_of(dict, "shape");
	if (!descr || !order || !shape || strncmp(order, "False", 5))
		return mm_fail(err, MM_EFORMAT, "npy: expected descr, shape and fortran_order False");
	if (descr[0] != '\'' || strcspn(descr + 1, "'") >= sizeof out->descr)
		return mm_fail(err, MM_EFORMAT, "npy: unreadable descr");
	memcpy(out->descr, descr + 1, strcspn(descr + 1, "'"));
	if (parse_shape(out, shape, err))
		return -1;
	size_t size = out->descr[0] && out->descr[1] && out->descr[2] ? (size_t)(out->descr[2] - '0') : 0;
	if (out->descr[0] != '<' || !strchr("fui", out->descr[1]) || (size != 4 && size != 8))
		return mm_fail(err, MM_EFORMAT, "npy: type %s; expected <f4, <f8, <u4 or <i8", out->descr);
	for (size_t i = 0; i < out->ndim; i++)
		if (!mm_mul(size, out->shape[i], &size))
			return mm_fail(err, MM_EFORMAT, "npy: shape overflows");
	out->bytes = size;
	if (!(out->data = mm_cur_bytes(&c, size)))
		return mm_fail(err, MM_ETRUNC, "npy: %zu bytes of data expected, %zu there", size, len - c.off);
	return 0;
}
