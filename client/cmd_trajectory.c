/* cmd_trajectory.c - `trajectory`: the way of a training run as a table, as a line of bars, and drawn on the map: its
 * checkpoints with their steps, and whoever else lies there. */
#include "client/client.h"

#include <math.h>
#include <string.h>

#define BARS_MAX 64
#define ROOM	 0.15 /* around the run, share of its extent: who lies there is shown too */

/* ---- a bar for each leg ---- */

/* What is drawn of a leg: its KL, or distance, for each step where steps are known. */
static double height_of(const json_t *leg, bool per_step)
{
	double steps = mm_num(leg, "to_step", 0) - mm_num(leg, "from_step", 0);
	return mm_distance(leg) / (per_step ? steps : 1);
}

static void print_bars(const struct mm_cli *c, const json_t *b)
{
	static const char *const utf8[] = { "\xE2\x96\x81", "\xE2\x96\x82", "\xE2\x96\x83", "\xE2\x96\x84",
		"\xE2\x96\x85", "\xE2\x96\x86", "\xE2\x96\x87", "\xE2\x96\x88" };
	static const char ascii[] = "._-~=+*#";
	const json_t *legs = json_object_get(b, "legs"), *leg;
	size_t i, n = json_array_size(legs), n_bar = MM_MIN(n, BARS_MAX);
	double bar[BARS_MAX] = { 0 }, most = 0, least = INFINITY;
	bool per_step = true;
	char lo[MM_CELL], hi[MM_CELL];
	json_array_foreach (legs, i, leg)
		if (!(mm_num(leg, "to_step", 0) > mm_num(leg, "from_step", 0)))
			per_step = false;
	json_array_foreach (legs, i, leg) { /* the highest of those that share a bar */
		double h = height_of(leg, per_step), *own = &bar[i * n_bar / n];
		*own = fmax(*own, h);
		most = fmax(most, h);
		least = fmin(least, h);
	}
	if (n < 2 || !(most > 0) || !isfinite(most))
		return;
	snprintf(lo, sizeof lo, "%.2g", least);
	snprintf(hi, sizeof hi, "%.2g", most);
	fprintf(c->out, "%s a %s  %s", mm_metric_other(b) ? mm_str(b, "metric") : "KL", per_step ? "step" : "leg",
		mm_term_on(&c->term, MM_CYAN));
	for (i = 0; i < n_bar; i++) {
		size_t k = (size_t)fmin(floor(bar[i] / most * 8), 7);
		char one[2] = { ascii[k], 0 };
		fputs(mm_glyph(&c->term, utf8[k], one), c->out);
	}
	fprintf(c->out, "%s  %s to %s %s\n", mm_term_off(&c->term, MM_CYAN), lo, hi,
		mm_metric_other(b) ? mm_str(b, "unit") : "bits/byte");
}

/* ---- on the map ---- */

/* {name: label} of the run's checkpoints */
static json_t *labels_of(const json_t *b)
{
	json_t *o = json_object();
	const json_t *legs = json_object_get(b, "legs"), *leg;
	size_t i, n = json_array_size(legs);
	json_array_foreach (legs, i, leg) {
		const json_t *from = json_object_get(leg, "from_step"), *to = json_object_get(leg, "to_step");
		if (i == 0)
			json_object_set_new(o, mm_str(leg, "from"),
				json_sprintf("start %lld", (long long)json_integer_value(from)));
		json_object_set_new(o, mm_str(leg, "to"),
			json_sprintf(i + 1 == n ? "end %lld" : "%lld", (long long)json_integer_value(to)));
	}
	return o;
}

/* Leaves in the map's answer the run and who lies around it. Returns how many checkpoints have a place. */
static size_t crop(json_t *map, const json_t *labels)
{
	double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
	json_t *points = json_object_get(map, "points"), *kept = json_array(), *p;
	size_t i, n = 0;
	json_array_foreach (points, i, p) {
		double x = mm_num(p, "x", NAN), y = mm_num(p, "y", NAN);
		if (!json_object_get(labels, mm_str(p, "name")) || !isfinite(x) || !isfinite(y))
			continue;
		x0 = fmin(x0, x), x1 = fmax(x1, x);
		y0 = fmin(y0, y), y1 = fmax(y1, y);
		n++;
	}
	double room = ROOM * fmax(x1 - x0, y1 - y0);
	json_array_foreach (points, i, p) {
		double x = mm_num(p, "x", NAN), y = mm_num(p, "y", NAN);
		if (x >= x0 - room && x <= x1 + room && y >= y0 - room && y <= y1 + room)
			json_array_append(kept, p);
	}
	json_object_set_new(map, "points", kept);
	return n;
}

static int picture(struct mm_cli *c, const struct mm_view *v, struct mm_err *err)
{
	char title[512], clean[400];
	if (!mm_picture_wanted(c)) {
		fputc('\n', c->out);
		return mm_term_map(v, &c->term, c->term.width ? c->term.width : 100,
			MM_MAX((c->term.tty ? c->term.height : 34) / 2, 10), !c->o.no_labels, c->out, err);
	}
	mm_utf8_sanitize(clean, sizeof clean, c->word[0], strlen(c->word[0]));
	snprintf(title, sizeof title, "The way of %s", clean);
	return mm_picture_map(c, v, title, err);
}

/* Asked for, a picture that cannot be made is an error; else the table has to do. */
static int draw(struct mm_cli *c, const json_t *b, struct mm_err *err)
{
	struct mm_err ignored = { 0 };
	struct mm_view v;
	json_t *map, *models = NULL, *args = json_object(), *labels = labels_of(b);
	mm_metric_arg(c, args);
	if (c->o.method)
		json_object_set_new(args, "method", json_string(c->o.method));
	int rc = mm_cli_call(c, "map", args, &map, err);
	if (rc || crop(map, labels) < 2) {
		json_decref(rc ? NULL : map);
		json_decref(labels);
		if (!mm_picture_wanted(c))
			return 0;
		return rc ? rc : mm_fail(err, MM_ENOENT, "fewer than two checkpoints of %s have a place", c->word[0]);
	}
	if (mm_cli_call(c, "models", NULL, &models, &ignored))
		models = NULL;
	rc = mm_view_make(&v, map, models, NULL, err);
	for (size_t i = 0; !rc && i < v.n; i++)
		v.point[i].label = json_string_value(json_object_get(labels, v.point[i].name));
	if (!rc) {
		rc = picture(c, &v, err);
		mm_view_free(&v);
	}
	json_decref(labels);
	return rc;
}

/* ---- the table ---- */

static int print_table(struct mm_cli *c, const json_t *b, struct mm_err *err)
{
	static const struct mm_col cols[] = { { "FROM", false, 0, 12 }, { "TO", false, 0, 12 }, { "STEPS", true, 2, 0 },
		{ "KL BITS/BYTE", true, 0, 0 }, { "A STEP", true, 1, 0 }, { "TURN", true, 3, 0 } };
	const json_t *o;
	size_t i;
	char cell[MM_CELL];
	struct mm_table *t = mm_table_new(cols, MM_COUNT(cols), err);
	if (!t)
		return -1;
	json_array_foreach (json_object_get(b, "legs"), i, o) {
		double turn = mm_num(o, "turn_degrees", NAN);
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "from"));
		mm_table_put(t, MM_PLAIN, "%s", mm_str(o, "to"));
		mm_table_put(t, MM_DIM, "%lld", (long long)(mm_int(o, "to_step", 0) - mm_int(o, "from_step", 0)));
		mm_table_put(t, MM_BOLD, "%s", mm_fmt_bits(json_object_get(o, "kl_bits_per_byte"), cell));
		mm_table_put(t, MM_PLAIN, "%s", mm_fmt_num(json_object_get(o, "kl_bits_per_byte_per_step"), cell));
		if (isfinite(turn))
			mm_table_put(t, MM_DIM, "%.0f%s", turn, mm_glyph(&c->term, "\xC2\xB0", " deg"));
		else
			mm_table_put(t, MM_DIM, "%s", "");
	}
	int rc = 0;
	if (mm_table_rows(t))
		rc = mm_table_print(t, &c->term, c->out, err);
	else
		fputs("One checkpoint only: no way yet.\n", c->out);
	if (rc == 0 && mm_table_rows(t))
		fprintf(c->out, "path %.3g, from end to end %.3g (sqrt nats per text)\n", mm_num(b, "path", 0),
			mm_num(b, "distance", 0));
	mm_table_free(t);
	return rc;
}

int mm_run_trajectory(struct mm_cli *c, struct mm_err *err)
{
	json_t *b, *args = json_pack("{s:s}", "run", c->word[0]);
	mm_metric_arg(c, args);
	if (mm_cli_call(c, "trajectory", args, &b, err))
		return -1;
	int rc = 0;
	if (c->o.json)
		rc = mm_json_print(b, &c->term, c->out, err);
	else if (!mm_picture_only(c))
		rc = mm_metric_other(b) ? mm_metric_print_way(c, b, err) : print_table(c, b, err);
	if (!rc && !c->o.json && !mm_picture_only(c))
		print_bars(c, b);
	if (!rc && (mm_picture_wanted(c) || (!c->o.json && json_array_size(json_object_get(b, "legs")))))
		rc = draw(c, b, err);
	json_decref(b);
	return rc;
}
