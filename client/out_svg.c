/* out_svg.c - the map as a picture: a self-contained SVG that browsers, office programs and converters show alike.
 *
 * Families differ by shape and colour (a palette that colour-blind people can tell apart), so that a grey print can be
 * read. Every mark has a title that browsers show on hover. Names are other people's text: all of it goes through
 * mm_xml_put. Coordinates are printed with one decimal: the file stays small and the same map gives the same bytes.
 */
#include "client/client.h"

#include <math.h>
#include <string.h>

#define PLOT_W	 860.0
#define PLOT_H	 760.0 /* at most */
#define LEFT	 64.0
#define TOP	 84.0
#define BOTTOM	 58.0
#define LEGEND_W 236.0
#define MARK_R	 6.0
#define FONT	 12.0
#define MAX_NAME 48 /* characters of a label */

static const char *const palette[] = { "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a67c00", "#56b4e9", "#7f4fc9",
	"#555555" };
#define N_SHAPES 8

void mm_xml_put(struct mm_buf *b, const char *s)
{
	size_t n = strlen(s);
	for (size_t i = 0; i < n;) {
		uint32_t cp = 0;
		unsigned k = mm_utf8_decode((const uint8_t *)s + i, n - i, &cp);
		/* XML 1.0 has no way to write control characters, surrogates and the two non-characters at all. */
		bool bad = !k || (cp < 0x20 && cp != '\t' && cp != '\n' && cp != '\r') || (cp >= 0x7F && cp < 0xA0) ||
			   cp == 0xFFFE || cp == 0xFFFF;
		if (bad)
			mm_buf_str(b, "\xEF\xBF\xBD");
		else if (strchr("&<>\"'\t\n\r", (int)cp) && cp < 0x80)
			mm_buf_printf(b, "&#%u;", (unsigned)cp);
		else
			mm_buf_put(b, s + i, k);
		i += k ? k : 1;
	}
}

struct frame {
	double x0, y1, s; /* upper left corner in map units, map units for a pixel */
	double w, h;
};

static double px(const struct frame *f, double x)
{
	return LEFT + (x - f->x0) / f->s;
}

static double py(const struct frame *f, double y)
{
	return TOP + (f->y1 - y) / f->s;
}

/* The same scale both ways: a distance on the picture is a distance on the map. */
static struct frame frame_of(const struct mm_view *v)
{
	double x = v->x1 - v->x0, y = v->y1 - v->y0, pad = 48;
	struct frame f = { .w = PLOT_W };
	f.s = fmax(x / (PLOT_W - 2 * pad), y / (PLOT_H - 2 * pad));
	f.h = fmin(PLOT_H, fmax(y / f.s + 2 * pad, 320));
	f.x0 = v->x0 - (f.w * f.s - x) / 2;
	f.y1 = v->y1 + (f.h * f.s - y) / 2;
	return f;
}

/* ---- pieces ---- */

static void head(struct mm_buf *b, const struct mm_view *v, const struct frame *f, const char *title)
{
	char caption[256];
	double w = LEFT + f->w + LEGEND_W, h = TOP + f->h + BOTTOM;
	mm_view_caption(v, caption, sizeof caption);
	mm_buf_printf(b,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
		"font-family=\"system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif\" font-size=\"%.0f\" "
		"role=\"img\">\n<title>",
		w, h, w, h, FONT);
	mm_xml_put(b, title);
	mm_buf_str(b, "</title>\n<desc>");
	mm_xml_put(b, caption);
	mm_buf_printf(b,
		"</desc>\n<rect width=\"%.0f\" height=\"%.0f\" fill=\"#ffffff\"/>\n<text x=\"%.0f\" y=\"38\" "
		"font-size=\"22\" font-weight=\"600\" fill=\"#1a1a1a\">",
		w, h, LEFT);
	mm_xml_put(b, title);
	mm_buf_printf(b, "</text>\n<text x=\"%.0f\" y=\"62\" font-size=\"13\" fill=\"#595959\">", LEFT);
	mm_xml_put(b, caption);
	mm_buf_str(b, "</text>\n");
}

static void tick_text(struct mm_buf *b, double x, double y, const char *anchor, double value)
{
	mm_buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%g</text>\n", x, y, anchor, value);
}

static void axes(struct mm_buf *b, const struct mm_view *v, const struct frame *f)
{
	double step = mm_tick_step(f->w * f->s, 12), x1 = f->x0 + f->w * f->s, y0 = f->y1 - f->h * f->s;
	char name[2][160];
	for (int i = 0; i < 2; i++) {
		int n = snprintf(name[i], sizeof name[i], "axis %d", i + 1);
		if (isfinite(v->explained[i]))
			snprintf(name[i] + n, sizeof name[i] - (size_t)n, ": %.1f %% of the variance",
				100 * v->explained[i]);
	}
	mm_buf_printf(b,
		"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#fafafa\" stroke=\"#c8c8c8\"/>\n"
		"<g stroke=\"#e6e6e6\">\n",
		LEFT, TOP, f->w, f->h);
	for (double k = ceil(f->x0 / step); k * step < x1; k++)
		mm_buf_printf(b, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", px(f, k * step), TOP,
			px(f, k * step), TOP + f->h);
	for (double k = ceil(y0 / step); k * step < f->y1; k++)
		mm_buf_printf(b, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", LEFT, py(f, k * step),
			LEFT + f->w, py(f, k * step));
	mm_buf_str(b, "</g>\n<g font-size=\"11\" fill=\"#6b6b6b\">\n");
	for (double k = ceil(f->x0 / step); k * step < x1; k++)
		tick_text(b, px(f, k * step), TOP + f->h + 16, "middle", k * step);
	for (double k = ceil(y0 / step); k * step < f->y1; k++)
		tick_text(b, LEFT - 7, py(f, k * step) + 4, "end", k * step);
	mm_buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", LEFT + f->w / 2, TOP + f->h + 38);
	mm_xml_put(b, name[0]);
	if (*v->unit) {
		mm_buf_str(b, "; in ");
		mm_xml_put(b, v->unit);
	}
	mm_buf_printf(b, "</text>\n<text transform=\"translate(16 %.1f) rotate(-90)\" text-anchor=\"middle\">",
		TOP + f->h / 2);
	mm_xml_put(b, name[1]);
	mm_buf_str(b, "</text>\n</g>\n");
}

static void shape(struct mm_buf *b, unsigned family, double x, double y, double r, bool hollow)
{
	const char *c = palette[family % MM_COUNT(palette)];
	unsigned turn = family / N_SHAPES; /* from the ninth family on the colours meet other shapes */
	double d = r * 0.9, t = r * 1.15;
	switch ((family + turn * 3) % N_SHAPES) {
	case 0:
		mm_buf_printf(b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"", x, y, r);
		break;
	case 1:
		mm_buf_printf(
			b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"", x - d, y - d, 2 * d, 2 * d);
		break;
	case 2:
		mm_buf_printf(b, "<path d=\"M%.1f %.1fl%.1f %.1fh%.1fz\"", x, y - t, t, 1.8 * t, -2 * t);
		break;
	case 3:
		mm_buf_printf(
			b, "<path d=\"M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz\"", x, y - t, t, t, -t, t, -t, -t);
		break;
	case 4:
		mm_buf_printf(b, "<path d=\"M%.1f %.1fl%.1f %.1fh%.1fz\"", x, y + t, t, -1.8 * t, -2 * t);
		break;
	case 5: /* an upright cross */
		mm_buf_printf(b, "<path d=\"M%.1f %.1fh%.1fv%.1fh%.1fv%.1fh%.1fv%.1fh%.1fv%.1fh%.1fv%.1fh%.1fz\"",
			x - r / 3, y - t, r / 1.5, t - r / 3, t - r / 3, r / 1.5, r / 3 - t, t - r / 3, -r / 1.5,
			r / 3 - t, r / 3 - t, -r / 1.5, t - r / 3);
		break;
	case 6: /* a hexagon */
		mm_buf_printf(b, "<path d=\"M%.1f %.1fl%.1f %.1fv%.1fl%.1f %.1fl%.1f %.1fv%.1fz\"", x, y - t, t * 0.87,
			t / 2, t, -t * 0.87, t / 2, -t * 0.87, -t / 2, -t);
		break;
	default: /* a flat diamond */
		mm_buf_printf(b, "<path d=\"M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz\"", x, y - d * 0.7, 1.5 * t,
			d * 0.7, -1.5 * t, d * 0.7, -1.5 * t, -d * 0.7);
	}
	mm_buf_printf(b, " fill=\"%s\" stroke=\"%s\" stroke-width=\"%s\"/>", hollow ? "#ffffff" : c,
		hollow ? c : "#ffffff", hollow ? "1.6" : "1");
}

static void runs(struct mm_buf *b, const struct mm_view *v, const struct frame *f)
{
	mm_buf_str(b, "<g fill=\"none\" stroke-width=\"1.3\" stroke-opacity=\"0.55\" stroke-linejoin=\"round\">\n");
	for (size_t r = 0; r < v->n_run; r++) {
		const struct mm_view_run *run = &v->run[r];
		mm_buf_printf(b, "<path stroke=\"%s\" d=\"M", palette[v->point[run->at[0]].family % MM_COUNT(palette)]);
		for (size_t i = 0; i < run->n; i++)
			mm_buf_printf(b, "%s%.1f %.1f", i ? "L" : "", px(f, v->point[run->at[i]].x),
				py(f, v->point[run->at[i]].y));
		mm_buf_str(b, "\"><title>run ");
		mm_xml_put(b, run->name);
		mm_buf_str(b, "</title></path>\n");
	}
	mm_buf_str(b, "</g>\n");
}

/* What the pointer tells about a model. */
static void hover(struct mm_buf *b, const struct mm_view *v, const struct mm_view_point *p)
{
	char cell[MM_CELL];
	mm_buf_str(b, "<title>");
	mm_xml_put(b, p->name);
	mm_buf_str(b, "\n");
	mm_xml_put(b, v->family[p->family]);
	if (*mm_fmt_count(json_object_get(p->model, "params"), cell))
		mm_buf_printf(b, ", %s parameters", cell);
	if (*mm_str(p->model, "dtype")) {
		mm_buf_str(b, ", ");
		mm_xml_put(b, mm_str(p->model, "dtype"));
	}
	if (*mm_fmt_bits(json_object_get(p->model, "bits_per_byte"), cell))
		mm_buf_printf(b, "\n%s bits per byte", cell);
	if (p->alert) {
		mm_buf_printf(b, "\nalert (%s): ", p->alert == 2 ? "open" : "acknowledged");
		mm_xml_put(b, p->alert_text);
	}
	mm_buf_str(b, "</title>");
}

static bool is_gone(const struct mm_view_point *p)
{
	return !strcmp(mm_str(p->model, "state"), "gone");
}

static void ring(struct mm_buf *b, unsigned alert, double x, double y)
{
	mm_buf_printf(b,
		"<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"%s/>", x, y,
		MARK_R + 4.5, alert == 2 ? "#c40000" : "#8a8a8a", alert == 2 ? "" : " stroke-dasharray=\"3 2\"");
	if (alert == 2)
		mm_buf_printf(b,
			"<text x=\"%.1f\" y=\"%.1f\" font-size=\"12\" font-weight=\"700\" fill=\"#c40000\" "
			"text-anchor=\"middle\">!</text>",
			x + MARK_R + 6, y - MARK_R - 1);
}

static void points(struct mm_buf *b, const struct mm_view *v, const struct frame *f)
{
	for (size_t i = 0; i < v->n; i++) {
		const struct mm_view_point *p = &v->point[i];
		double x = px(f, p->x), y = py(f, p->y);
		mm_buf_str(b, "<g class=\"model\">");
		hover(b, v, p);
		shape(b, p->family, x, y, MARK_R, is_gone(p));
		if (p->alert)
			ring(b, p->alert, x, y);
		mm_buf_str(b, "</g>\n");
	}
}

/* ---- labels ---- */

static size_t label_of(const char *name, char *out, size_t cap)
{
	size_t n = 0, len = strlen(name), i = 0;
	for (; i < len && n < MAX_NAME && i + 4 < cap - 4; n++) {
		uint32_t cp;
		unsigned k = mm_utf8_decode((const uint8_t *)name + i, len - i, &cp);
		i += k ? k : 1;
	}
	snprintf(out, cap, "%.*s%s", (int)i, name, i < len ? "\xE2\x80\xA6" : "");
	return n + (i < len);
}

/* Width by a mean of sans-serif faces; on the generous side, since a label too wide only costs room. */
static double text_width(const char *s)
{
	double w = 0;
	for (size_t i = 0, n = strlen(s); i < n;) {
		uint32_t cp = 0;
		unsigned k = mm_utf8_decode((const uint8_t *)s + i, n - i, &cp);
		w += cp >= 0x1100 ? 1.0 : strchr("il.,:;'|!-/()[]", (int)cp) && cp < 0x80 ? 0.38 : 0.62;
		i += k ? k : 1;
	}
	return w * FONT;
}

static void leader(struct mm_buf *b, const struct mm_label *l)
{
	double x = fmin(fmax(l->x, l->box.x0), l->box.x1), y = fmin(fmax(l->y, l->box.y0), l->box.y1);
	double d = hypot(x - l->x, y - l->y);
	if (d > MARK_R + 9)
		mm_buf_printf(b,
			"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#b0b0b0\" "
			"stroke-width=\"0.8\"/>\n",
			l->x + (x - l->x) * (MARK_R + 1) / d, l->y + (y - l->y) * (MARK_R + 1) / d, x, y);
}

static int labels(struct mm_buf *b, const struct mm_view *v, const struct frame *f, size_t *hidden, struct mm_err *err)
{
	struct mm_label *l = mm_calloc(v->n + 1, sizeof *l, err);
	char text[256];
	if (!l)
		return -1;
	for (size_t i = 0; i < v->n; i++) {
		const struct mm_view_point *p = &v->point[i];
		label_of(p->label ? p->label : p->name, text, sizeof text);
		l[i] = (struct mm_label){ .x = px(f, p->x),
			.y = py(f, p->y),
			.r = MARK_R + (p->alert ? 6 : 1),
			.w = text_width(text),
			.h = FONT + 2,
			.weight = (p->label ? 2 : 0) + (p->alert == 2) };
	}
	int rc = mm_place_labels(
		l, v->n, (struct mm_box){ LEFT + 2, TOP + 2, LEFT + f->w - 2, TOP + f->h - 2 }, 3, false, err);
	mm_buf_str(b, "<g fill=\"#1a1a1a\" stroke=\"none\">\n");
	for (size_t i = 0; i < v->n && !rc; i++) {
		*hidden += !l[i].shown;
		if (!l[i].shown)
			continue;
		leader(b, &l[i]);
		label_of(v->point[i].label ? v->point[i].label : v->point[i].name, text, sizeof text);
		/* A white rim keeps the text readable upon lines. */
		mm_buf_printf(b,
			"<text x=\"%.1f\" y=\"%.1f\" stroke=\"#fafafa\" stroke-width=\"3\" paint-order=\"stroke\" "
			"stroke-linejoin=\"round\">",
			l[i].box.x0, l[i].box.y0 + FONT - 1);
		mm_xml_put(b, text);
		mm_buf_str(b, "</text>\n");
	}
	mm_buf_str(b, "</g>\n");
	mm_free(l);
	return rc;
}

/* ---- legend ---- */

static void legend_text(struct mm_buf *b, double x, double y, const char *s)
{
	char cut[256];
	label_of(s, cut, sizeof cut);
	mm_buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\">", x, y + 4);
	mm_xml_put(b, cut);
	mm_buf_str(b, "</text>\n");
}

static void legend(struct mm_buf *b, const struct mm_view *v, const struct frame *f, size_t hidden)
{
	double x = LEFT + f->w + 24, y = TOP + 14;
	char text[256];
	unsigned seen = 0;
	bool gone = false;
	mm_buf_str(b, "<g fill=\"#333333\">\n");
	for (size_t k = 0; k < v->n_family && y < TOP + f->h - 90; k++, y += 22) {
		size_t n = 0;
		for (size_t i = 0; i < v->n; i++)
			n += v->point[i].family == k;
		shape(b, (unsigned)k, x + 6, y, MARK_R, false);
		snprintf(text, sizeof text, "%.200s (%zu)", v->family[k], n);
		legend_text(b, x + 22, y, text);
	}
	for (size_t i = 0; i < v->n; i++) {
		seen |= v->point[i].alert == 2 ? 2u : v->point[i].alert ? 1u : 0u;
		gone = gone || is_gone(&v->point[i]);
	}
	y += 6;
	if (v->n_run) {
		mm_buf_printf(b,
			"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#888888\" "
			"stroke-width=\"1.3\"/>\n",
			x - 2, y, x + 14, y);
		legend_text(b, x + 22, y, "training run");
		y += 26;
	}
	for (unsigned a = 2; a >= 1; a--) {
		if (!(seen & a))
			continue;
		ring(b, a, x + 6, y);
		legend_text(b, x + 26, y, a == 2 ? "open alert" : "acknowledged alert");
		y += 26;
	}
	if (gone) {
		shape(b, 0, x + 6, y, MARK_R, true);
		legend_text(b, x + 22, y, "no longer there");
		y += 22;
	}
	if (hidden) {
		snprintf(text, sizeof text, "%zu names left out (hover)", hidden);
		legend_text(b, x - 2, y, text);
	}
	mm_buf_str(b, "</g>\n");
}

int mm_svg_map(const struct mm_view *v, const char *title, struct mm_buf *out, struct mm_err *err)
{
	struct frame f = frame_of(v);
	size_t hidden = 0;
	head(out, v, &f, title);
	axes(out, v, &f);
	runs(out, v, &f);
	points(out, v, &f);
	if (labels(out, v, &f, &hidden, err))
		return -1;
	legend(out, v, &f, hidden);
	mm_buf_str(out, "</svg>\n");
	return mm_buf_check(out, err);
}
