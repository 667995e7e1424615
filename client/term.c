/* term.c - what the terminal can do, and what may be shown on it.
 *
 * Names of models are names of directories: anybody who can write there chooses them. Nothing of theirs reaches the
 * terminal but printable characters: no escape sequences, no characters that turn the direction of writing.
 */
#include "client/client.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

static int env_int(const char *name, int dflt)
{
	const char *s = getenv(name);
	long v = s ? strtol(s, NULL, 10) : 0;
	return v > 0 && v < 10000 ? (int)v : dflt;
}

void mm_term_init(struct mm_term *t, int fd, const char *color, bool ascii)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");
	setlocale(LC_CTYPE, "");
	*t = (struct mm_term){ .tty = isatty(fd) == 1 };
	bool dumb = !term || !*term || !strcmp(term, "dumb");
	t->color = !strcmp(color, "always") || (!strcmp(color, "auto") && t->tty && !dumb && !(no && *no));
	t->utf8 = !ascii && !strcmp(nl_langinfo(CODESET), "UTF-8");
	t->width = env_int("COLUMNS", t->tty ? 80 : 0);
	t->height = env_int("LINES", 24);
	mm_term_resize(t, fd);
}

void mm_term_resize(struct mm_term *t, int fd)
{
	struct winsize w = { 0 };
	if (t->tty && !ioctl(fd, TIOCGWINSZ, &w) && w.ws_col) {
		t->width = w.ws_col;
		t->height = w.ws_row ? w.ws_row : 24;
	}
}

const char *mm_term_on(const struct mm_term *t, enum mm_style s)
{
	static const char *const codes[MM_N_STYLES] = { "", "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[33m",
		"\033[34m", "\033[35m", "\033[36m" };
	return t->color ? codes[s] : "";
}

const char *mm_term_off(const struct mm_term *t, enum mm_style s)
{
	return t->color && s != MM_PLAIN ? "\033[0m" : "";
}

const char *mm_glyph(const struct mm_term *t, const char *utf8, const char *ascii)
{
	return t->utf8 ? utf8 : ascii;
}

/* Characters that print nothing but change how the rest is read: directions, joiners, separators, tags, marks of order.
 */
static bool invisible(uint32_t c)
{
	return (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) ||
	       c == 0xFEFF || c == 0xAD || c == 0x061C || (c >= 0xFFF0 && c <= 0xFFFB) ||
	       (c >= 0xE0000 && c <= 0xE0FFF);
}

static int columns(const struct mm_term *t, uint32_t c)
{
	if (c < 0x20 || (c >= 0x7F && c < 0xA0) || invisible(c))
		return -1;
	if (c < 0x7F)
		return 1;
	return t->utf8 ? wcwidth((wchar_t)c) : -1;
}

int mm_term_clean(const struct mm_term *t, const char *s, char *out, size_t cap)
{
	size_t n = strlen(s), o = 0;
	int width = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp = 0;
		unsigned k = mm_utf8_decode((const uint8_t *)s + i, n - i, &cp);
		int w = k ? columns(t, cp) : -1;
		unsigned bytes = w < 0 ? 1 : k;
		if (o + bytes >= cap)
			break;
		if (w < 0)
			out[o] = '?';
		else
			memcpy(out + o, s + i, k);
		o += bytes;
		width += w < 0 ? 1 : w;
		i += k ? k : 1;
	}
	if (cap)
		out[o] = 0;
	return width;
}

int mm_term_width(const struct mm_term *t, const char *clean)
{
	size_t n = strlen(clean);
	int width = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp = 0;
		unsigned k = mm_utf8_decode((const uint8_t *)clean + i, n - i, &cp);
		int w = k ? columns(t, cp) : 1;
		width += w < 0 ? 1 : w;
		i += k ? k : 1;
	}
	return width;
}

/* Bytes of s that fill at most `width` columns, from the start or (back) from the end. */
static size_t prefix(const struct mm_term *t, const char *s, size_t n, int width)
{
	size_t i = 0;
	for (int at = 0; i < n;) {
		uint32_t cp = 0;
		unsigned k = mm_utf8_decode((const uint8_t *)s + i, n - i, &cp);
		int w = k ? MM_MAX(columns(t, cp), 0) : 1;
		if (at + w > width)
			break;
		at += w;
		i += k ? k : 1;
	}
	return i;
}

void mm_term_fit(const struct mm_term *t, const char *clean, int width, char *out, size_t cap)
{
	const char *dots = mm_glyph(t, "\xE2\x80\xA6", "~");
	int have = mm_term_width(t, clean);
	if (have <= width || width < 1) {
		snprintf(out, cap, "%.*s", width < 1 ? 0 : (int)strlen(clean), clean);
		return;
	}
	int left = (width - 1) / 2, right = width - 1 - left;
	size_t n = strlen(clean), a = prefix(t, clean, n, left), b = prefix(t, clean, n, have - right);
	/* A wide character across the cut leaves one column less, never one more. */
	while (b < n && mm_term_width(t, clean + b) > right) {
		uint32_t cp;
		unsigned k = mm_utf8_decode((const uint8_t *)clean + b, n - b, &cp);
		b += k ? k : 1;
	}
	snprintf(out, cap, "%.*s%s%s", (int)a, clean, dots, clean + b);
}
