/* buf.c - a bounds-checked read cursor and a growing write buffer, both little-endian, both with a sticky error:
 * do all the steps, check once. */
#include "base/base.h"

#include <string.h>

const uint8_t *mm_cur_bytes(struct mm_cur *c, uint64_t n)
{
	if (c->failed || n > c->size - c->off) {
		c->failed = true;
		return NULL;
	}
	const uint8_t *p = c->data + c->off;
	c->off += (size_t)n;
	return p;
}

static uint64_t get(struct mm_cur *c, unsigned n)
{
	const uint8_t *p = mm_cur_bytes(c, n);
	uint64_t v = 0;
	for (unsigned i = 0; p && i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t mm_cur_u8(struct mm_cur *c)
{
	return (uint8_t)get(c, 1);
}
uint16_t mm_cur_u16(struct mm_cur *c)
{
	return (uint16_t)get(c, 2);
}
uint32_t mm_cur_u32(struct mm_cur *c)
{
	return (uint32_t)get(c, 4);
}
uint64_t mm_cur_u64(struct mm_cur *c)
{
	return get(c, 8);
}

float mm_cur_f32(struct mm_cur *c)
{
	uint32_t u = mm_cur_u32(c);
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

double mm_cur_f64(struct mm_cur *c)
{
	uint64_t u = mm_cur_u64(c);
	double d;
	memcpy(&d, &u, sizeof d);
	return d;
}

/* Makes room for n bytes and the NUL behind them. */
static uint8_t *room(struct mm_buf *b, size_t n)
{
	struct mm_err err;
	size_t need;
	if (b->failed || !mm_add(b->len, n, &need) || !mm_add(need, 1, &need) ||
		mm_grow(&b->data, &b->cap, need, 1, &err)) {
		b->failed = true;
		return NULL;
	}
	return b->data + b->len;
}

void mm_buf_put(struct mm_buf *b, const void *p, size_t n)
{
	uint8_t *to = room(b, n);
	if (!to)
		return;
	if (n)
		memcpy(to, p, n);
	b->len += n;
	b->data[b->len] = 0;
}

static void put(struct mm_buf *b, uint64_t v, unsigned n)
{
	uint8_t le[8];
	for (unsigned i = 0; i < n; i++)
		le[i] = (uint8_t)(v >> (8 * i));
	mm_buf_put(b, le, n);
}

void mm_buf_u8(struct mm_buf *b, uint8_t v)
{
	put(b, v, 1);
}
void mm_buf_u16(struct mm_buf *b, uint16_t v)
{
	put(b, v, 2);
}
void mm_buf_u32(struct mm_buf *b, uint32_t v)
{
	put(b, v, 4);
}
void mm_buf_u64(struct mm_buf *b, uint64_t v)
{
	put(b, v, 8);
}

void mm_buf_f32(struct mm_buf *b, float v)
{
	uint32_t u;
	memcpy(&u, &v, sizeof u);
	put(b, u, 4);
}

void mm_buf_f64(struct mm_buf *b, double v)
{
	uint64_t u;
	memcpy(&u, &v, sizeof u);
	put(b, u, 8);
}

void mm_buf_str(struct mm_buf *b, const char *s)
{
	mm_buf_put(b, s, strlen(s));
}

void mm_buf_printf(struct mm_buf *b, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	uint8_t *to = n < 0 ? NULL : room(b, (size_t)n);
	if (to) {
		vsnprintf((char *)to, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

int mm_buf_check(const struct mm_buf *b, struct mm_err *err)
{
	return b->failed ? mm_fail(err, MM_ENOMEM, "out of memory after %zu bytes of output", b->len) : 0;
}

void mm_buf_fini(struct mm_buf *b)
{
	mm_free(b->data);
	*b = (struct mm_buf){ 0 };
}
