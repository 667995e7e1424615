/* alert_view.c - one alert as people read it: what was measured, and for a leak the histogram of its residuals, drawn
 * in the terminal or as SVG. What an alert's evidence holds depends on its kind: known parts get a form of their own,
 * the rest is listed as it is. */
#include "client/client.h"

#include <math.h>
#include <string.h>

#define BAR_WIDTH 44

struct hist {
	double from, to;
	const char *unit;
	size_t n;
	const json_t *texts, *suspect;
	double most;
};

static bool hist_of(const json_t *evidence, struct hist *h)
{
	const json_t *o = json_object_get(evidence, "histogram");
	*h = (struct hist){ .from = mm_num(o, "from", 0),
		.to = mm_num(o, "to", 0),
		.unit = mm_str(o, "unit"),
		.texts = json_object_get(o, "texts"),
		.suspect = json_object_get(o, "suspect") };
	h->n = json_array_size(h->texts);
	if (h->n < 3 || json_array_size(h->suspect) != h->n || !(h->to > h->from))
		return false;
	for (size_t i = 0; i < h->n; i++)
		h->most = fmax(h->most, json_number_value(json_array_get(h->texts, i)));
	return h->most > 0;
}

static double bin_at(const struct hist *h, size_t i)
{
	return h->from + (h->to - h->from) * ((double)i + 0.5) / (double)h->n;
}

static double count(const json_t *a, size_t i)
{
	return json_number_value(json_array_get(a, i));
}

/* Bins without texts at both ends are left out. */
static void span(const struct hist *h, size_t *first, size_t *end)
{
	*first = 0;
	*end = h->n;
	while (*first + 1 < *end && count(h->texts, *first) <= 0)
		++*first;
	while (*end > *first + 1 && count(h->texts, *end - 1) <= 0)
		--*end;
}

static void print_hist(const struct mm_cli *c, const struct hist *h)
{
	const char *all = mm_glyph(&c->term, "\xe2\x96\x91", "."), *hit = mm_glyph(&c->term, "\xe2\x96\x88", "#");
	size_t first, end;
	char unit[100];
	span(h, &first, &end);
	mm_term_clean(&c->term, h->unit, unit, sizeof unit);
	fprintf(c->out, "\n  Likelier than predicted by (%s): %s texts, %s suspects\n", unit, all, hit);
	for (size_t i = first; i < end; i++) {
		int n = (int)lround(BAR_WIDTH * count(h->texts, i) / h->most);
		int s = (int)lround(BAR_WIDTH * count(h->suspect, i) / h->most);
		fprintf(c->out, "  %8.3g ", bin_at(h, i));
		for (int k = 0; k < n - s; k++)
			fputs(all, c->out);
		fputs(mm_term_on(&c->term, MM_RED), c->out);
		for (int k = 0; k < s; k++)
			fputs(hit, c->out);
		fprintf(c->out, "%s %.0f\n", mm_term_off(&c->term, MM_RED), count(h->texts, i));
	}
}

static int print_tests(const struct mm_cli *c, const json_t *tests, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "TEST", false, 0, 0 }, { "STATISTIC", true, 0, 0 }, { "P", true, 0, 0 },
		{ "EFFECT", true, 0, 0 }, { "NULL HYPOTHESIS", false, 1, 20 } };
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	const json_t *o;
	size_t i;
	if (!t)
		return -1;
	json_array_foreach (tests, i, o) {
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "name"));
		mm_table_put(t, MM_PLAIN, "%.1f", mm_num(o, "statistic", 0));
		mm_table_put(t, MM_PLAIN, "%.2g", mm_num(o, "p", 1));
		mm_table_put(t, MM_PLAIN, "%.2f", mm_num(o, "effect", 0));
		mm_table_put(t, MM_DIM, "%s", mm_str(o, "null"));
	}
	fputc('\n', c->out);
	int rc = mm_table_print(t, &c->term, c->out, err);
	mm_table_free(t);
	return rc;
}

static void print_domains(const struct mm_cli *c, const json_t *domains)
{
	const json_t *o;
	size_t i;
	char name[200];
	fputs("\n  Suspect texts by domain:", c->out);
	json_array_foreach (domains, i, o) {
		mm_term_clean(&c->term, *mm_str(o, "domain") ? mm_str(o, "domain") : "(none)", name, sizeof name);
		fprintf(c->out, "%s %s %lld of %lld", i ? "," : "", name, (long long)mm_int(o, "suspect", 0),
			(long long)mm_int(o, "texts", 0));
	}
	fputc('\n', c->out);
}

static void print_suspects(const struct mm_cli *c, const json_t *list)
{
	size_t n = json_array_size(list), i;
	const json_t *o;
	fprintf(c->out, "\n  Suspect texts (%zu; --json has the posteriors):", n);
	json_array_foreach (list, i, o) {
		if (i >= 24)
			break;
		fprintf(c->out, "%s %lld", i ? "," : "", (long long)mm_int(o, "index", 0));
	}
	fputs(n > 24 ? ", ...\n" : "\n", c->out);
}

int mm_alert_evidence(const struct mm_cli *c, const json_t *evidence, struct mm_err *err)
{
	static const char *const drawn[] = { "tests", "suspect_texts", "domains", "histogram" };
	const char *key;
	json_t *v;
	struct hist h;
	json_object_foreach ((json_t *)(uintptr_t)evidence, key, v) {
		bool known = false;
		char label[80], text[1024];
		for (size_t i = 0; i < MM_COUNT(drawn); i++)
			known = known || !strcmp(key, drawn[i]);
		if (known)
			continue;
		char *dump = json_is_string(v) ? NULL
			     : json_is_real(v) ? mm_asprintf(err, "%.4g", json_real_value(v))
					       : mm_json_dump(v, err);
		mm_term_clean(&c->term, key, label, sizeof label);
		mm_term_clean(&c->term, json_is_string(v) ? json_string_value(v) : dump ? dump : "", text, sizeof text);
		mm_free(dump);
		fprintf(c->out, "    %-24s %s\n", label, text);
	}
	if (json_array_size(json_object_get(evidence, "tests")) &&
		print_tests(c, json_object_get(evidence, "tests"), err))
		return -1;
	if (hist_of(evidence, &h))
		print_hist(c, &h);
	if (json_array_size(json_object_get(evidence, "domains")))
		print_domains(c, json_object_get(evidence, "domains"));
	if (json_array_size(json_object_get(evidence, "suspect_texts")))
		print_suspects(c, json_object_get(evidence, "suspect_texts"));
	return 0;
}

/* ---- SVG ---- */

#define W      720.0
#define H      360.0
#define X0     56.0
#define Y0     300.0
#define PLOT_W (W - X0 - 24)
#define PLOT_H 210.0

int mm_svg_alert(const json_t *alert, struct mm_buf *b, struct mm_err *err)
{
	struct hist h;
	if (!hist_of(json_object_get(alert, "evidence"), &h))
		return mm_fail(err, MM_EINVAL, "alert %lld has no histogram; a leak has one",
			(long long)mm_int(alert, "id", 0));
	mm_buf_printf(b,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" "
		"height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" font-family=\"system-ui, 'DejaVu Sans', Helvetica, Arial, "
		"sans-serif\" font-size=\"12\" role=\"img\">\n<title>",
		W, H, W, H);
	mm_xml_put(b, mm_str(alert, "message"));
	mm_buf_printf(b,
		"</title>\n<rect width=\"%.0f\" height=\"%.0f\" fill=\"#ffffff\"/>\n<text x=\"%.0f\" y=\"30\" "
		"font-size=\"18\" font-weight=\"600\" fill=\"#1a1a1a\">",
		W, H, X0);
	mm_xml_put(b, mm_str(alert, "model"));
	mm_buf_printf(b,
		"</text>\n<text x=\"%.0f\" y=\"52\" fill=\"#555555\">how much likelier each text is than "
		"other models predict; dark: suspects</text>\n",
		X0);
	double w = PLOT_W / (double)h.n;
	for (size_t i = 0; i < h.n; i++) {
		double n = count(h.texts, i), s = count(h.suspect, i), x = X0 + w * (double)i;
		mm_buf_printf(b,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#9ec5e0\"><title>%.3g: %.0f "
			"texts, %.0f suspects</title></rect>\n",
			x, Y0 - PLOT_H * n / h.most, w - 1, PLOT_H * n / h.most, bin_at(&h, i), n, s);
		if (s > 0)
			mm_buf_printf(b,
				"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#d55e00\"/>\n", x,
				Y0 - PLOT_H * s / h.most, w - 1, PLOT_H * s / h.most);
	}
	mm_buf_printf(b, "<line x1=\"%.0f\" y1=\"%.1f\" x2=\"%.0f\" y2=\"%.1f\" stroke=\"#1a1a1a\"/>\n", X0, Y0,
		X0 + PLOT_W, Y0);
	for (int i = 0; i <= 4; i++)
		mm_buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"#1a1a1a\">%.3g</text>\n",
			X0 + PLOT_W * i / 4, Y0 + 18, h.from + (h.to - h.from) * i / 4);
	mm_buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" fill=\"#555555\">%.0f</text>\n", X0 - 6,
		Y0 - PLOT_H + 4, h.most);
	mm_buf_printf(
		b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"#555555\">", X0 + PLOT_W / 2, Y0 + 40);
	mm_xml_put(b, h.unit);
	mm_buf_str(b, "</text>\n</svg>\n");
	return b->failed ? mm_fail(err, MM_ENOMEM, "out of memory") : 0;
}
