/* term_map.c - the map drawn in characters.
 *
 *   caption                              one row counts as two columns, so that distances look the same both ways
 *        +--------------------+
 *     10 |   o llama-a        |          marks and colours by family; training runs as dotted lines of braille;
 *      0 |     .. x mistral   |          labels where they touch nothing (place.c)
 *        +--------------------+
 *            -10       0   10            ticks in the unit of the coordinates
 *   legend
 */
#include "client/client.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MARGIN	  8 /* columns left of the plot: tick labels and the axis */
#define LABEL_MAX 30

struct tcell {
	char glyph[8];	      /* "": empty */
	uint8_t dots;	      /* braille, where there is no glyph */
	bool wide_rest, text; /* second column of a wide character; part of a label or mark */
	enum mm_style style;
};

struct canvas {
	int w, h;
	double x0, y1, s; /* upper left corner, units for a column */
	struct tcell *cell;
};

static const struct {
	const char *utf8, *ascii;
} marks[] = { { "\xE2\x97\x8F", "o" }, { "\xE2\x96\xA0", "x" }, { "\xE2\x96\xB2", "+" }, { "\xE2\x97\x86", "*" },
	{ "\xE2\x96\xBC", "#" }, { "\xE2\x97\x8B", "@" }, { "\xE2\x96\xA1", "%" }, { "\xE2\x96\xB3", "&" },
	{ "\xE2\x97\x87", "=" }, { "\xE2\x96\xBD", "$" } };
static const enum mm_style colors[] = { MM_CYAN, MM_YELLOW, MM_GREEN, MM_MAGENTA, MM_BLUE, MM_RED };

static const char *mark_of(const struct mm_term *t, unsigned family)
{
	unsigned k = family % MM_COUNT(marks);
	return mm_glyph(t, marks[k].utf8, marks[k].ascii);
}

static enum mm_style color_of(unsigned family)
{
	return colors[family % MM_COUNT(colors)];
}

static struct tcell *at(struct canvas *c, int x, int y)
{
	return x >= 0 && y >= 0 && x < c->w && y < c->h ? &c->cell[(size_t)y * (size_t)c->w + (size_t)x] : NULL;
}

static int col_of(const struct canvas *c, double x)
{
	return (int)floor((x - c->x0) / c->s);
}

static int row_of(const struct canvas *c, double y)
{
	return (int)floor((c->y1 - y) / (2 * c->s));
}

static int canvas_init(struct canvas *c, const struct mm_view *v, int width, int height, struct mm_err *err)
{
	double x = v->x1 - v->x0, y = v->y1 - v->y0;
	c->w = MM_MAX(width - MARGIN, 20);
	c->h = MM_MAX(height, 6);
	c->s = fmax(x / (c->w - 4), y / (2 * (c->h - 2)));
	c->h = MM_MIN(c->h, MM_MAX((int)ceil(y / (2 * c->s)) + 3, 8)); /* no empty rows for a flat map */
	c->x0 = v->x0 - (c->w * c->s - x) / 2;
	c->y1 = v->y1 + (c->h * 2 * c->s - y) / 2;
	c->cell = mm_calloc((size_t)c->w * (size_t)c->h, sizeof *c->cell, err);
	return c->cell ? 0 : -1;
}

/* ---- runs: braille cells are 2 x 4 dots ---- */

static void dot(struct canvas *c, const struct mm_term *t, double x, double y)
{
	static const uint8_t bit[4][2] = { { 0x01, 0x08 }, { 0x02, 0x10 }, { 0x04, 0x20 }, { 0x40, 0x80 } };
	double fx = (x - c->x0) / c->s, fy = (c->y1 - y) / (2 * c->s);
	struct tcell *k = at(c, (int)floor(fx), (int)floor(fy));
	if (!k || k->text)
		return;
	int dx = (int)((fx - floor(fx)) * 2), dy = (int)((fy - floor(fy)) * 4);
	k->dots |= bit[dy & 3][dx & 1];
	k->style = MM_DIM;
	if (!t->utf8)
		snprintf(k->glyph, sizeof k->glyph, ".");
}

static void draw_runs(struct canvas *c, const struct mm_term *t, const struct mm_view *v)
{
	for (size_t r = 0; r < v->n_run; r++)
		for (size_t i = 1; i < v->run[r].n; i++) {
			const struct mm_view_point *p = &v->point[v->run[r].at[i - 1]], *q = &v->point[v->run[r].at[i]];
			/* Every other dot of the line: visibly thinner than anything else. */
			int n = (int)(hypot(q->x - p->x, q->y - p->y) / c->s * 1.5) + 1;
			for (int k = 1; k < n; k++)
				dot(c, t, p->x + (q->x - p->x) * k / n, p->y + (q->y - p->y) * k / n);
		}
}

/* ---- marks and labels ---- */

static void put_text(struct canvas *c, const struct mm_term *t, int x, int y, const char *s, enum mm_style style)
{
	size_t n = strlen(s);
	for (size_t i = 0; i < n;) {
		uint32_t cp = 0;
		unsigned k = mm_utf8_decode((const uint8_t *)s + i, n - i, &cp);
		char one[8] = "?"; /* a character that was cut off by a bound */
		if (k)
			memcpy(one, s + i, k);
		i += k ? k : 1;
		int w = mm_term_width(t, one);
		if (w < 1)
			continue; /* a mark upon the character before it has no cell of its own */
		struct tcell *cell = at(c, x, y), *next = w == 2 ? at(c, x + 1, y) : NULL;
		if (!cell || (w == 2 && !next))
			return;
		*cell = (struct tcell){ .text = true, .style = style };
		memcpy(cell->glyph, one, sizeof one);
		if (next)
			*next = (struct tcell){ .text = true, .wide_rest = true };
		x += w;
	}
}

static void label_text(const struct mm_term *t, const struct mm_view_point *p, char *out, size_t cap)
{
	char clean[1024];
	mm_term_clean(t, p->label ? p->label : p->name, clean, sizeof clean);
	mm_term_fit(t, clean, LABEL_MAX, out, cap - 2);
	if (p->alert == 2)
		strcat(out, " !");
}

/* Steps inside a run are the first to lose their labels, those with alerts the last. */
static double weight_of(const struct mm_view *v, size_t i)
{
	double w = v->point[i].alert == 2 ? 3 : 2;
	if (v->point[i].label) /* both ends, then the steps between, come before all names */
		return strncmp(v->point[i].label, "start", 5) == 0 || strncmp(v->point[i].label, "end", 3) == 0 ? 5 : 4;
	for (size_t r = 0; r < v->n_run; r++)
		for (size_t k = 0; k + 1 < v->run[r].n; k++)
			if (v->run[r].at[k] == i)
				w -= k ? 1.5 : 1;
	return w;
}

static int draw_points(struct canvas *c, const struct mm_term *t, const struct mm_view *v, bool labels, size_t *hidden,
	struct mm_err *err)
{
	struct mm_label *l = mm_calloc(v->n + 1, sizeof *l, err);
	char text[LABEL_MAX * 8 + 8];
	if (!l)
		return -1;
	for (size_t i = 0; i < v->n; i++) {
		const struct mm_view_point *p = &v->point[i];
		label_text(t, p, text, sizeof text);
		l[i] = (struct mm_label){ .x = col_of(c, p->x) + 0.5,
			.y = row_of(c, p->y) + 0.5,
			.r = 0.5,
			.h = 1,
			.w = labels ? mm_term_width(t, text) + 2 : 0 /* and a blank on both sides */,
			.weight = weight_of(v, i) };
	}
	int rc = mm_place_labels(l, v->n, (struct mm_box){ -1, 0, c->w + 1, c->h }, 0, true, err);
	for (size_t i = 0; i < v->n && !rc; i++) {
		const struct mm_view_point *p = &v->point[i];
		put_text(c, t, col_of(c, p->x), row_of(c, p->y), mark_of(t, p->family),
			p->alert == 2 ? MM_RED : color_of(p->family));
		*hidden += labels && !l[i].shown;
		if (!l[i].shown)
			continue;
		label_text(t, p, text, sizeof text);
		put_text(c, t, (int)l[i].box.x0 + 1, (int)l[i].box.y0, text,
			p->alert == 2 ? MM_RED : color_of(p->family));
	}
	mm_free(l);
	return rc;
}

/* ---- output ---- */

static void put_cell(const struct mm_term *t, const struct tcell *k, FILE *out)
{
	char braille[4] = "";
	if (k->wide_rest)
		return;
	if (!*k->glyph && !k->dots) {
		fputc(' ', out);
		return;
	}
	if (!*k->glyph)
		mm_utf8_encode(0x2800u + k->dots, (uint8_t *)braille);
	fprintf(out, "%s%s%s", mm_term_on(t, k->style), *k->glyph ? k->glyph : braille, mm_term_off(t, k->style));
}

/* Row r has a tick when a round number falls into it. */
static bool tick_in(double lo, double hi, double step, double *value)
{
	double k = ceil(lo / step - 1e-9) * step;
	*value = fabs(k) < step * 1e-6 ? 0 : k;
	return k < hi;
}

static void rule(const struct mm_term *t, const struct canvas *c, bool top, double step, FILE *out)
{
	fprintf(out, "%*s%s", MARGIN - 1, "", mm_term_on(t, MM_DIM));
	fputs(mm_glyph(t, top ? "\xE2\x94\x8C" : "\xE2\x94\x94", "+"), out);
	for (int x = 0; x < c->w; x++) {
		double value;
		bool tick = !top && tick_in(c->x0 + x * c->s, c->x0 + (x + 1) * c->s, step, &value);
		fputs(tick ? mm_glyph(t, "\xE2\x94\xB4", "+") : mm_glyph(t, "\xE2\x94\x80", "-"), out);
	}
	fprintf(out, "%s%s\n", mm_glyph(t, top ? "\xE2\x94\x90" : "\xE2\x94\x98", "+"), mm_term_off(t, MM_DIM));
}

static int bottom_ticks(
	const struct canvas *c, double step, const char *unit, const struct mm_term *t, FILE *out, struct mm_err *err)
{
	int width = MARGIN + c->w + 1, end = 0;
	char *line = mm_calloc((size_t)width + 64, 1, err), number[32];
	if (!line)
		return -1;
	memset(line, ' ', (size_t)width);
	for (int x = 0; x < c->w; x++) {
		double value;
		if (!tick_in(c->x0 + x * c->s, c->x0 + (x + 1) * c->s, step, &value))
			continue;
		int n = snprintf(number, sizeof number, "%g", value), from = MARGIN + x - n / 2;
		if (from <= end + (end > 0) || from + n > width)
			continue;
		memcpy(line + from, number, (size_t)n);
		end = from + n;
	}
	while (width > 0 && line[width - 1] == ' ')
		width--;
	line[width] = 0;
	fprintf(out, "%s%s%s%s%s\n", mm_term_on(t, MM_DIM), line, *unit ? "  " : "", unit, mm_term_off(t, MM_DIM));
	mm_free(line);
	return 0;
}

static void legend(const struct mm_view *v, const struct mm_term *t, int width, size_t hidden, FILE *out)
{
	char item[256], clean[128];
	int used = 0;
	bool alerts = false;
	for (size_t i = 0; i < v->n; i++)
		alerts = alerts || v->point[i].alert == 2;
	size_t n = v->n_family + (v->n_run > 0) + alerts;
	for (size_t i = 0; i < n; i++) {
		enum mm_style s = i < v->n_family ? color_of((unsigned)i) : MM_DIM;
		if (i < v->n_family) {
			mm_term_clean(t, v->family[i], clean, sizeof clean);
			snprintf(item, sizeof item, "%s %s", mark_of(t, (unsigned)i), clean);
		} else if (i == v->n_family && v->n_run) {
			snprintf(item, sizeof item, "%s training run", mm_glyph(t, "\xE2\xA0\xA2\xE2\xA0\xA4", ".."));
		} else {
			snprintf(item, sizeof item, "! open alert");
			s = MM_RED;
		}
		int w = mm_term_width(t, item);
		if (used && used + 3 + w > width) {
			fputc('\n', out);
			used = 0;
		}
		fprintf(out, "%s%s%s%s", used ? "   " : "", mm_term_on(t, s), item, mm_term_off(t, s));
		used += w + (used ? 3 : 0);
	}
	fputs(n ? "\n" : "", out);
	if (hidden)
		fprintf(out, "%zu name%s found no room; a wider terminal or --svg shows more.\n", hidden,
			hidden == 1 ? "" : "s");
}

int mm_term_map(const struct mm_view *v, const struct mm_term *t, int width, int height, bool labels, FILE *out,
	struct mm_err *err)
{
	struct canvas c;
	char caption[256];
	size_t hidden = 0;
	mm_view_caption(v, caption, sizeof caption);
	fprintf(out, "%s%s%s\n", mm_term_on(t, MM_BOLD), caption, mm_term_off(t, MM_BOLD));
	if (!v->n)
		return 0;
	if (canvas_init(&c, v, width - 1, height, err))
		return -1;
	draw_runs(&c, t, v);
	int rc = draw_points(&c, t, v, labels, &hidden, err);
	double step = mm_tick_step(c.w * c.s, MM_MAX(c.w / 16, 2)),
	       rows = mm_tick_step(c.h * 2 * c.s, MM_MAX(c.h / 6, 2));
	if (!rc) {
		rule(t, &c, true, step, out);
		for (int y = 0; y < c.h; y++) {
			double value;
			char number[32] = "";
			if (tick_in(c.y1 - (y + 1) * 2 * c.s, c.y1 - y * 2 * c.s, rows, &value))
				snprintf(number, sizeof number, "%g", value);
			const char *bar = *number ? mm_glyph(t, "\xE2\x94\xA4", "+") : mm_glyph(t, "\xE2\x94\x82", "|");
			fprintf(out, "%s%*.*s %s%s", mm_term_on(t, MM_DIM), MARGIN - 2, MARGIN - 2, number, bar,
				mm_term_off(t, MM_DIM));
			for (int x = 0; x < c.w; x++)
				put_cell(t, at(&c, x, y), out);
			fprintf(out, "%s%s%s\n", mm_term_on(t, MM_DIM), mm_glyph(t, "\xE2\x94\x82", "|"),
				mm_term_off(t, MM_DIM));
		}
		rule(t, &c, false, step, out);
		rc = bottom_ticks(&c, step, v->unit, t, out, err);
		legend(v, t, width, hidden, out);
	}
	mm_free(c.cell);
	return rc;
}
