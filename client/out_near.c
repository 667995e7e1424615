/* out_near.c - the nearest relatives as a picture: a bar for each, as long as its distance, with a whisker of two
 * standard errors where the daemon knows them. */
#include "client/client.h"

#include <math.h>
#include <string.h>

#define LEFT	40.0
#define NAME_W	330.0
#define BAR_W	420.0
#define RIGHT_W 190.0
#define TOP	84.0
#define ROW	26.0
#define BOTTOM	56.0
#define X0	(LEFT + NAME_W)

static double reach(const json_t *list)
{
	double most = 0;
	size_t i;
	const json_t *o;
	json_array_foreach (list, i, o) {
		double v = mm_distance(o) + 2 * mm_num(o, "stderr", mm_num(o, "stderr_bits_per_byte", 0));
		if (isfinite(v))
			most = fmax(most, v);
	}
	return most > 0 ? most : 1;
}

static void name_text(struct mm_buf *b, double y, const char *name)
{
	/* What is longer than its column is pressed together, so that it stays whole. */
	size_t n = 0, len = strlen(name);
	for (size_t i = 0; i < len; n++) {
		uint32_t cp;
		unsigned k = mm_utf8_decode((const uint8_t *)name + i, len - i, &cp);
		i += k ? k : 1;
	}
	bool wide = 7.4 * (double)n > NAME_W - 12;
	mm_buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" fill=\"#1a1a1a\"", X0 - 10, y + 4);
	if (wide)
		mm_buf_printf(b, " textLength=\"%.0f\" lengthAdjust=\"spacingAndGlyphs\"", NAME_W - 12);
	mm_buf_str(b, ">");
	mm_xml_put(b, name);
	mm_buf_str(b, "</text>\n");
}

static void bar(struct mm_buf *b, const json_t *o, double y, double scale)
{
	double v = mm_distance(o), e = 2 * mm_num(o, "stderr", mm_num(o, "stderr_bits_per_byte", NAN));
	char cell[MM_CELL], params[MM_CELL];
	v = isfinite(v) && v > 0 ? v : 0;
	name_text(b, y, mm_str(o, "name"));
	mm_buf_printf(b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"14\" fill=\"#0072b2\"><title>", X0, y - 7,
		v * scale);
	mm_xml_put(b, mm_str(o, "name"));
	mm_buf_printf(b, "</title></rect>\n");
	if (isfinite(e) && e > 0)
		mm_buf_printf(b, "<path d=\"M%.1f %.1fH%.1fm0 -4v8M%.1f %.1fv8\" stroke=\"#1a1a1a\" fill=\"none\"/>\n",
			X0 + fmax(v - e, 0) * scale, y, X0 + (v + e) * scale, X0 + fmax(v - e, 0) * scale, y - 4);
	mm_buf_printf(
		b, "<text x=\"%.1f\" y=\"%.1f\" fill=\"#333333\">%s", X0 + BAR_W + 12, y + 4, mm_fmt_distance(o, cell));
	mm_buf_str(b, "<tspan dx=\"8\" font-size=\"11\" fill=\"#6b6b6b\">");
	mm_xml_put(b, mm_str(o, "family"));
	mm_buf_printf(b, " %s</tspan></text>\n", mm_fmt_count(json_object_get(o, "params"), params));
}

int mm_svg_near(const json_t *near, const char *title, struct mm_buf *b, struct mm_err *err)
{
	const json_t *list = json_object_get(near, "neighbours"), *o;
	size_t n = json_array_size(list), i;
	char caption[1400];
	double most = reach(list), scale = BAR_W / most, y1 = TOP + ROW * (double)n + 6, step = mm_tick_step(most, 6);
	snprintf(caption, sizeof caption, "Nearest to %.900s, %.64s%s%.200s; whiskers: two standard errors",
		mm_str(near, "model"), mm_metric_other(near) ? mm_str(near, "metric") : "Kullback-Leibler divergence",
		*mm_str(near, "domain") ? " on texts of " : "", mm_str(near, "domain"));
	mm_svg_head(b, X0 + BAR_W + RIGHT_W, y1 + BOTTOM, title, caption);
	mm_buf_str(b, "<g stroke=\"#e6e6e6\">\n");
	for (double k = 0; k * step <= most; k++)
		mm_buf_printf(b, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", X0 + k * step * scale,
			TOP, X0 + k * step * scale, y1);
	mm_buf_str(b, "</g>\n<g font-size=\"11\" fill=\"#6b6b6b\" text-anchor=\"middle\">\n");
	for (double k = 0; k * step <= most; k++)
		mm_buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\">%g</text>\n", X0 + k * step * scale, y1 + 14, k * step);
	mm_buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n</g>\n", X0 + BAR_W / 2, y1 + 34,
		!mm_metric_other(near)		    ? "bits per byte"
		: strcmp(mm_str(near, "unit"), "1") ? mm_str(near, "unit")
						    : mm_str(near, "metric"));
	json_array_foreach (list, i, o)
		bar(b, o, TOP + ROW * ((double)i + 0.5), scale);
	mm_buf_str(b, "</svg>\n");
	return mm_buf_check(b, err);
}
