/* utf8.c - strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "base/base.h"

unsigned mm_utf8_decode(const uint8_t *s, size_t n, uint32_t *cp)
{
	if (!n)
		return 0;
	uint8_t a = s[0];
	if (a < 0x80) {
		*cp = a;
		return 1;
	}
	unsigned len = a >= 0xF0 && a <= 0xF4 ? 4 : a >= 0xE0 ? 3 : 2;
	if (a < 0xC2 || a > 0xF4 || n < len)
		return 0;
	uint32_t c = a & (0xFFu >> (len + 1));
	for (unsigned i = 1; i < len; i++) {
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3F);
	}
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return 0;
	*cp = c;
	return len;
}

unsigned mm_utf8_encode(uint32_t cp, uint8_t out[4])
{
	if (cp < 0x80) {
		out[0] = (uint8_t)cp;
		return 1;
	}
	if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
		return 0;
	unsigned len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
	for (unsigned i = len - 1; i > 0; i--, cp >>= 6)
		out[i] = (uint8_t)(0x80 | (cp & 0x3F));
	out[0] = (uint8_t)((0xF00u >> len) | cp);
	return len;
}

bool mm_utf8_valid(const void *s, size_t n)
{
	const uint8_t *p = s;
	uint32_t cp;
	for (size_t i = 0; i < n;) {
		unsigned k = mm_utf8_decode(p + i, n - i, &cp);
		if (!k)
			return false;
		i += k;
	}
	return true;
}

void mm_utf8_sanitize(char *out, size_t cap, const void *s, size_t n)
{
	const uint8_t *p = s;
	size_t o = 0;
	if (!cap)
		return;
	for (size_t i = 0; i < n;) {
		uint32_t cp = 0;
		unsigned k = mm_utf8_decode(p + i, n - i, &cp);
		/* C0, DEL and C1 would move the cursor or ring the bell of whoever reads the message. */
		bool bad = !k || cp < 0x20 || (cp >= 0x7F && cp < 0xA0);
		unsigned w = bad ? 1 : k;
		if (o + w >= cap)
			break;
		for (unsigned j = 0; j < w; j++)
			out[o++] = bad ? '?' : (char)p[i + j];
		i += k ? k : 1;
	}
	out[o] = 0;
}
