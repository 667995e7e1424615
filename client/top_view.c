/* top_view.c - a frame of `modelmap top`: two lines about everything, then jobs, arrivals and alerts, as many of each
 * as the height allows. Every line is cut to the width, since one that wraps would push the others away. */
#include "client/top.h"

#include <string.h>
#include <time.h>

#define BAR	   20
#define BAR_NARROW 8
#define NARROW	   80
#define HOUR_S	   3600

struct frame {
	struct mm_top *t;
	const struct mm_term *term;
	struct mm_buf *out;
	const char *eol;
	int width, left, lines, height; /* left: columns of the line that is written */
};

/* ---- lines ---- */

static bool begin(struct frame *f)
{
	if (f->lines >= f->height)
		return false;
	if (f->lines++)
		mm_buf_str(f->out, f->eol);
	f->left = f->width;
	return true;
}

/* Text of others, cleaned and cut to what is left of the line; `columns` > 0: filled or cut to so many. */
static void add(struct frame *f, enum mm_style s, int columns, const char *fmt, ...) MM_PRINTF(4, 5);
static void add(struct frame *f, enum mm_style s, int columns, const char *fmt, ...)
{
	char text[1200], clean[1200], cut[1300];
	int room = columns > 0 ? MM_MIN(columns, f->left) : f->left;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (room <= 0)
		return;
	mm_term_clean(f->term, text, clean, sizeof clean);
	mm_term_fit(f->term, clean, room, cut, sizeof cut);
	int w = mm_term_width(f->term, cut);
	mm_buf_printf(f->out, "%s%s%s", mm_term_on(f->term, s), cut, mm_term_off(f->term, s));
	if (columns > 0 && w < room) {
		mm_buf_printf(f->out, "%*s", room - w, "");
		w = room;
	}
	f->left -= w;
}

/* Bars are ours: block characters, several bytes a column. */
static void add_bar(struct frame *f, double share, int width)
{
	char bar[4 * BAR + 1];
	if (f->left < width)
		return;
	mm_fmt_bar(f->term, share, width, bar, sizeof bar);
	mm_buf_printf(f->out, "%s%s%s", mm_term_on(f->term, MM_CYAN), bar, mm_term_off(f->term, MM_CYAN));
	f->left -= width;
}

static void blank(struct frame *f)
{
	if (f->lines < f->height)
		(void)begin(f);
}

/* ---- everything at a glance ---- */

static double tokens_per_s(const json_t *jobs)
{
	const json_t *j;
	size_t i;
	double sum = 0;
	json_array_foreach (jobs, i, j)
		if (!strcmp(mm_str(j, "state"), "running"))
			sum += mm_num(j, "tokens_per_s", 0);
	return sum;
}

static size_t in_the_hour(const json_t *arrivals, int64_t now)
{
	const json_t *m;
	size_t i, n = 0;
	json_array_foreach (arrivals, i, m)
		n += mm_int(m, "scored_at", 0) > now - HOUR_S;
	return n;
}

static void title(struct frame *f, int64_t now)
{
	char up[32], clock[16] = "";
	struct tm tm;
	time_t sec = (time_t)now;
	const json_t *s = f->t->status;
	if (!begin(f))
		return;
	if (localtime_r(&sec, &tm))
		strftime(clock, sizeof clock, "%H:%M:%S", &tm);
	add(f, MM_BOLD, 0, "modelmap top");
	add(f, MM_DIM, 0, "  %s", clock);
	if (s) {
		mm_format_duration(mm_num(s, "uptime_s", 0), up, sizeof up);
		add(f, MM_PLAIN, 0, "  modelmapd %s, up %s", mm_str(s, "version"), up);
	}
	if (f->t->paused)
		add(f, MM_YELLOW, 0, "  PAUSED");
	if (*f->t->error && begin(f)) {
		add(f, MM_RED, 0, "no answer: ");
		add(f, MM_RED, 0, "%s", f->t->error);
	}
}

static void summary(struct frame *f, int64_t now)
{
	const json_t *s = f->t->status, *q = json_object_get(s, "queue");
	static const char *const states[] = { "running", "probing", "queued", "waiting", "failed" };
	int64_t alerts = mm_int(json_object_get(s, "alerts"), "open", 0), epoch = mm_int(s, "epoch", 0);
	bool any = false;
	if (!s || !begin(f))
		return;
	add(f, MM_PLAIN, 0, "%lld models, %lld on the map", (long long)mm_int(s, "models", 0),
		(long long)mm_int(s, "on_map", 0));
	if (epoch)
		add(f, MM_MAGENTA, 0, "  epoch %lld", (long long)epoch);
	else
		add(f, MM_DIM, 0, "  no map yet");
	add(f, alerts ? MM_RED : MM_DIM, 0, "  %lld open alert%s", (long long)alerts, alerts == 1 ? "" : "s");
	add(f, MM_DIM, 0, "  %s, %lld texts", mm_str(json_object_get(s, "watch"), "mode"),
		(long long)mm_int(json_object_get(s, "texts"), "n", 0));
	if (!begin(f))
		return;
	add(f, MM_PLAIN, 0, "queue");
	for (size_t i = 0; i < MM_COUNT(states); i++) {
		int64_t n = mm_int(q, states[i], 0);
		if (n)
			add(f, mm_style_of_state(states[i]), 0, "%s %lld %s", any ? "," : "", (long long)n, states[i]);
		any = any || n;
	}
	add(f, MM_DIM, 0, "%s  %.0f tokens/s  %zu model%s in the last hour", any ? "" : " empty",
		tokens_per_s(f->t->jobs), in_the_hour(f->t->arrivals, now),
		in_the_hour(f->t->arrivals, now) == 1 ? "" : "s");
}

/* ---- lists ---- */

static void job(struct frame *f, const json_t *j)
{
	char eta[MM_CELL];
	const char *state = mm_str(j, "state");
	bool run = !strcmp(state, "running");
	int bar = f->width < NARROW ? BAR_NARROW : BAR, name = MM_MAX(f->width - bar - 32, 10);
	if (!begin(f))
		return;
	add(f, mm_style_of_state(state), 9, "%s", state);
	add(f, MM_PLAIN, run ? name : MM_MIN(name, f->width / 2), "%s", mm_str(j, "model"));
	add(f, MM_PLAIN, 1, " ");
	if (!run) {
		add(f, MM_DIM, 0, "%s", mm_str(j, "reason"));
		return;
	}
	double p = MM_MIN(MM_MAX(mm_num(j, "progress", 0), 0), 1);
	add_bar(f, p, bar);
	add(f, MM_PLAIN, 5, "%4.0f%%", 100 * p);
	add(f, MM_PLAIN, 8, " %7s", mm_fmt_eta(json_object_get(j, "eta_s"), eta));
	add(f, MM_DIM, 0, " %.0f t/s", MM_MIN(mm_num(j, "tokens_per_s", 0), 9999999.0));
}

static void arrival(struct frame *f, const json_t *m, int64_t now)
{
	char age[MM_CELL], bits[MM_CELL], params[MM_CELL];
	if (!begin(f))
		return;
	add(f, MM_DIM, 9, "%s", mm_fmt_age(json_object_get(m, "scored_at"), now, age));
	add(f, MM_PLAIN, MM_MAX(f->width - 40, 10), "%s", mm_str(m, "name"));
	add(f, MM_BOLD, 9, " %s", mm_fmt_bits(json_object_get(m, "bits_per_byte"), bits));
	add(f, MM_DIM, 0, " %s %s", mm_str(m, "family"), mm_fmt_count(json_object_get(m, "params"), params));
}

static void alert(struct frame *f, const json_t *a)
{
	bool open = !strcmp(mm_str(a, "state"), "open");
	if (!begin(f))
		return;
	add(f, open ? MM_RED : MM_DIM, 15, "%s", mm_str(a, "kind"));
	add(f, MM_PLAIN, MM_MAX(f->width / 3, 10), " %s", mm_str(a, "model"));
	add(f, MM_DIM, 0, " %s", mm_str(a, "message"));
}

static void heading(struct frame *f, const char *text, size_t n, size_t above, size_t shown)
{
	if (!begin(f))
		return;
	add(f, MM_BOLD, 0, "%s", text);
	if (n > shown)
		add(f, MM_DIM, 0, "  %zu to %zu of %zu", MM_MIN(above + 1, n), above + shown, n);
}

/* Rows of each of three lists: what fits, shared out so that a short list leaves its room to the others. */
static void share_out(int room, const size_t n[3], size_t rows[3])
{
	static const int part[3] = { 2, 1, 1 };
	size_t left = room > 0 ? (size_t)room : 0;
	for (int i = 0; i < 3; i++)
		rows[i] = MM_MIN(n[i], left * (size_t)part[i] / 4);
	for (int i = 0; i < 3; i++)
		left -= rows[i];
	for (int i = 0; i < 3; i++) {
		size_t more = MM_MIN(left, n[i] - rows[i]);
		rows[i] += more;
		left -= more;
	}
}

static void help(struct frame *f)
{
	static const char *const keys[] = { "q        quit", "up down  scroll the jobs (also k, j, page up, page down)",
		"p        pause, and go on", "?        this help, and back" };
	blank(f);
	for (size_t i = 0; i < MM_COUNT(keys) && begin(f); i++)
		add(f, MM_PLAIN, 0, "  %s", keys[i]);
}

static void lists(struct frame *f, int64_t now)
{
	struct mm_top *t = f->t;
	size_t n[3] = { json_array_size(t->jobs), json_array_size(t->alerts), json_array_size(t->arrivals) }, rows[3];
	share_out(f->height - f->lines - 6, n, rows); /* a heading and an empty line each */
	int last = (int)(n[0] - rows[0]);
	t->scroll = MM_MAX(MM_MIN(t->scroll, last), 0);
	blank(f);
	heading(f, "JOBS", n[0], (size_t)t->scroll, rows[0]);
	for (size_t i = 0; i < rows[0]; i++)
		job(f, json_array_get(t->jobs, i + (size_t)t->scroll));
	blank(f);
	heading(f, "ALERTS", n[1], 0, rows[1]);
	for (size_t i = 0; i < rows[1]; i++)
		alert(f, json_array_get(t->alerts, i));
	blank(f);
	heading(f, "LAST ARRIVALS", n[2] > rows[2] ? 0 : n[2], 0, rows[2]);
	for (size_t i = 0; i < rows[2]; i++)
		arrival(f, json_array_get(t->arrivals, i), now);
}

void mm_top_frame(struct mm_top *t, const struct mm_term *term, int width, int height, const char *eol, int64_t now,
	struct mm_buf *out)
{
	struct frame f = { .t = t, .term = term, .out = out, .eol = eol, .width = MM_MAX(width, 20), .height = height };
	title(&f, now);
	summary(&f, now);
	if (t->help)
		help(&f);
	else if (t->status)
		lists(&f, now);
}
