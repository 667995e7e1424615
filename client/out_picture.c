/* out_picture.c - where pictures go: --svg FILE as they are, --png FILE made of the same by rsvg-convert, a small
 * program (Debian: librsvg2-bin) that need not be there. A library for it would bring Cairo, Pango and their kin into a
 * client that otherwise links ZeroMQ and JSON. */
#include "client/client.h"

#include <string.h>

#define PNG_MAX ((size_t)512 << 20)
#define PNG_S	120.0
#define PNG_BIG "2" /* pixels for a unit: sharp on paper and on dense screens */

void mm_svg_head(struct mm_buf *b, double w, double h, const char *title, const char *caption)
{
	mm_buf_printf(b,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
		"font-family=\"system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif\" font-size=\"12\" "
		"role=\"img\">\n<title>",
		w, h, w, h);
	mm_xml_put(b, title);
	mm_buf_str(b, "</title>\n<desc>");
	mm_xml_put(b, caption);
	mm_buf_printf(b,
		"</desc>\n<rect width=\"%.0f\" height=\"%.0f\" fill=\"#ffffff\"/>\n<text x=\"40\" y=\"38\" "
		"font-size=\"22\" font-weight=\"600\" fill=\"#1a1a1a\">",
		w, h);
	mm_xml_put(b, title);
	mm_buf_str(b, "</text>\n<text x=\"40\" y=\"62\" font-size=\"13\" fill=\"#595959\">");
	mm_xml_put(b, caption);
	mm_buf_str(b, "</text>\n");
}

bool mm_picture_wanted(const struct mm_cli *c)
{
	return c->o.svg || c->o.png;
}

bool mm_picture_only(const struct mm_cli *c)
{
	return (c->o.svg && !strcmp(c->o.svg, "-")) || (c->o.png && !strcmp(c->o.png, "-"));
}

int mm_file_give(const struct mm_cli *c, const char *path, const void *data, size_t n, struct mm_err *err)
{
	if (!strcmp(path, "-"))
		return fwrite(data, 1, n, c->out) == n ? 0 : mm_fail(err, MM_EIO, "cannot write the output");
	if (mm_file_write(path, data, n, err))
		return -1;
	mm_say(c, "%s: written", path);
	return 0;
}

static int png(const struct mm_cli *c, const struct mm_buf *svg, struct mm_err *err)
{
	static const char *const argv[] = { "rsvg-convert", "--format", "png", "--zoom", PNG_BIG, NULL };
	const struct mm_child_call call = {
		.argv = argv, .in = svg->data, .n_in = svg->len, .max = PNG_MAX, .timeout = PNG_S
	};
	static const uint8_t magic[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };
	struct mm_buf out = { 0 };
	int rc = mm_child_ask(&call, &out, err);
	if (rc)
		mm_wrap(err, "--png is made by rsvg-convert (Debian: librsvg2-bin); --svg needs nothing");
	else if (out.len < sizeof magic || memcmp(out.data, magic, sizeof magic))
		rc = mm_fail(err, MM_EFORMAT, "rsvg-convert gave no PNG");
	else
		rc = mm_file_give(c, c->o.png, out.data, out.len, err);
	mm_buf_fini(&out);
	return rc;
}

int mm_picture_write(const struct mm_cli *c, const struct mm_buf *svg, struct mm_err *err)
{
	if (c->o.svg && mm_file_give(c, c->o.svg, svg->data, svg->len, err))
		return -1;
	return c->o.png ? png(c, svg, err) : 0;
}

int mm_picture_of(const struct mm_cli *c, mm_svg_fn *svg, const json_t *answer, const char *title, struct mm_err *err)
{
	struct mm_buf b = { 0 };
	int rc = svg(answer, c->o.title ? c->o.title : title, &b, err) || mm_picture_write(c, &b, err) ? -1 : 0;
	mm_buf_fini(&b);
	return rc;
}

int mm_picture_map(const struct mm_cli *c, const struct mm_view *v, const char *title, struct mm_err *err)
{
	struct mm_buf b = { 0 };
	int rc = mm_svg_map(v, c->o.title ? c->o.title : title, &b, err) || mm_picture_write(c, &b, err) ? -1 : 0;
	mm_buf_fini(&b);
	return rc;
}
