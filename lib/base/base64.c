/* base64.c - bytes as text (RFC 4648, with padding): JSON has no bytes of its own. */
#include "base/base.h"

#include <string.h>

static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void mm_base64_put(struct mm_buf *b, const void *data, size_t n)
{
	const uint8_t *p = data;
	char four[4];
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v =
			(uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
		for (int k = 0; k < 4; k++)
			four[k] = digit[v >> (18 - 6 * k) & 63];
		if (i + 2 >= n)
			four[3] = '=';
		if (i + 1 >= n)
			four[2] = '=';
		mm_buf_put(b, four, 4);
	}
}

static int value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int mm_base64_parse(struct mm_buf *b, const char *s, size_t len, struct mm_err *err)
{
	if (len % 4)
		return mm_fail(err, MM_EFORMAT, "base64: %zu characters are no multiple of four", len);
	for (size_t i = 0; i < len; i += 4) {
		size_t pad = i + 4 < len ? 0 : (size_t)(s[i + 3] == '=') + (size_t)(s[i + 3] == '=' && s[i + 2] == '=');
		uint32_t v = 0;
		for (size_t k = 0; k < 4; k++) {
			int x = k < 4 - pad ? value(s[i + k]) : 0;
			if (x < 0)
				return mm_fail(err, MM_EFORMAT, "base64: a wrong character at %zu", i + k);
			v = v << 6 | (uint32_t)x;
		}
		if (v & ((1u << (8 * pad)) - 1)) /* one text for the same bytes */
			return mm_fail(err, MM_EFORMAT, "base64: bits behind the end");
		for (size_t k = 0; k < 3 - pad; k++)
			mm_buf_u8(b, (uint8_t)(v >> (16 - 8 * k)));
	}
	return mm_buf_check(b, err);
}
