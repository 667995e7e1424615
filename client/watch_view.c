/* watch_view.c - how events look: one line each, and below them, on a terminal, a bar for every running job, painted
 * over at each change. In a file or pipe there are lines only, and progress gives none. */
#include "client/watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR	   24
#define BAR_NARROW 10
#define NARROW	   70 /* columns below which the rate is left out */

/* ---- running jobs ---- */

static void job_end(struct mm_watch *w, int64_t id)
{
	for (size_t i = 0; i < w->n_job; i++)
		if (w->job[i].id == id) {
			memmove(&w->job[i], &w->job[i + 1], (w->n_job - i - 1) * sizeof *w->job);
			w->n_job--;
			return;
		}
}

static void job_set(struct mm_watch *w, const json_t *j)
{
	w->dirty = true;
	int64_t id = mm_int(j, "id", 0);
	size_t i = 0;
	if (strcmp(mm_str(j, "state"), "running") != 0) {
		job_end(w, id);
		return;
	}
	while (i < w->n_job && w->job[i].id != id)
		i++;
	if (i == MM_COUNT(w->job))
		return;
	w->n_job = MM_MAX(w->n_job, i + 1);
	struct mm_watch_job *x = &w->job[i];
	*x = (struct mm_watch_job){ .id = id,
		.progress = mm_num(j, "progress", 0),
		.eta = mm_num(j, "eta_s", -1),
		.rate = mm_num(j, "tokens_per_s", -1) };
	mm_term_clean(&w->cli->term, mm_str(j, "model"), x->model, sizeof x->model);
}

void mm_watch_jobs(struct mm_watch *w, const json_t *jobs)
{
	const json_t *j;
	size_t i;
	w->n_job = 0;
	w->dirty = true;
	json_array_foreach (jobs, i, j)
		job_set(w, j);
}

/* ---- the live part ---- */

static void wipe(struct mm_watch *w)
{
	if (w->painted)
		fprintf(w->cli->out, "\r\033[%dA\033[J", w->painted);
	w->painted = 0;
	w->dirty = true;
}

/* One line, never wider than the terminal: a wrapped one could not be painted over. */
static void paint_job(struct mm_watch *w, const struct mm_watch_job *j)
{
	const struct mm_term *t = &w->cli->term;
	char bar[4 * BAR + 1], name[256], eta[32] = "", rate[48] = "";
	int width = t->width ? t->width : 80, n = width < NARROW ? BAR_NARROW : BAR;
	int room = MM_MAX(width - n - (width < NARROW ? 16 : 34), 4);
	mm_fmt_bar(t, j->progress, n, bar, sizeof bar);
	mm_term_fit(t, j->model, room, name, sizeof name);
	if (j->eta >= 0)
		mm_format_duration(j->eta, eta, sizeof eta);
	if (j->rate > 0 && width >= NARROW)
		snprintf(rate, sizeof rate, "  %.0f tokens/s", MM_MIN(j->rate, 9999999.0));
	fprintf(w->cli->out, "%s%*s %s%s%s %3.0f%% %6.6s%s\n", name, MM_MAX(room - mm_term_width(t, name), 0), "",
		mm_term_on(t, MM_CYAN), bar, mm_term_off(t, MM_CYAN), 100 * MM_MIN(MM_MAX(j->progress, 0), 1), eta,
		rate);
}

void mm_watch_paint(struct mm_watch *w)
{
	if (w->cli->term.tty && !w->cli->o.json && w->dirty) {
		wipe(w);
		w->dirty = false;
		mm_term_resize(&w->cli->term, STDOUT_FILENO);
		for (size_t i = 0; i < w->n_job; i++, w->painted++)
			paint_job(w, &w->job[i]);
	}
	fflush(w->cli->out); /* each line as it happens, also into a pipe */
}

void mm_watch_end(struct mm_watch *w)
{
	wipe(w);
	fflush(w->cli->out);
}

/* ---- lines ---- */

static void line(
	struct mm_watch *w, int64_t when, const char *word, enum mm_style style, const char *what, const char *more)
{
	const struct mm_term *t = &w->cli->term;
	char clock[16] = "", name[1024], text[2048];
	time_t sec = (time_t)when;
	struct tm tm;
	if (localtime_r(&sec, &tm))
		strftime(clock, sizeof clock, "%H:%M:%S", &tm);
	mm_term_clean(t, what, name, sizeof name);
	mm_term_clean(t, more, text, sizeof text);
	wipe(w);
	fprintf(w->cli->out, "%s%s%s  %s%-9s%s %s%s%s\n", mm_term_on(t, MM_DIM), clock, mm_term_off(t, MM_DIM),
		mm_term_on(t, style), word, mm_term_off(t, style), name, *text ? "  " : "", text);
}

void mm_watch_note(struct mm_watch *w, const char *text)
{
	if (w->cli->o.json)
		mm_say(w->cli, "modelmap: %s", text);
	else
		line(w, mm_now(), "-", MM_DIM, text, "");
}

static void show_model(struct mm_watch *w, const json_t *e, const struct mm_event_head *h)
{
	char more[1024] = "", bits[MM_CELL], params[MM_CELL];
	const char *state = mm_str(e, "state"), *detail = mm_str(e, "detail"), *reason = mm_str(e, "reason");
	if (!strcmp(state, "scored"))
		snprintf(more, sizeof more, "%s bits per byte%s%s%s%s",
			mm_fmt_bits(json_object_get(e, "bits_per_byte"), bits), *mm_str(e, "family") ? ", " : "",
			mm_str(e, "family"), *mm_fmt_count(json_object_get(e, "params"), params) ? ", " : "", params);
	else
		snprintf(more, sizeof more, "%s", reason);
	bool finer = *detail && (!strcmp(state, "waiting") || !strcmp(state, "failed"));
	const char *word = finer ? detail : state;
	line(w, h->time, word, mm_style_of_state(word), mm_str(e, "name"), more);
}

/* The bars; what happens to a job is told by its model's events. */
static void show_job(struct mm_watch *w, const json_t *e, const struct mm_event_head *h)
{
	(void)h;
	job_set(w, e);
}

static void show_alert(struct mm_watch *w, const json_t *e, const struct mm_event_head *h)
{
	char more[1200];
	const char *state = mm_str(e, "state");
	snprintf(more, sizeof more, "%s%s%s: %.1000s", mm_str(e, "kind"), strcmp(state, "open") ? ", now " : "",
		strcmp(state, "open") ? state : "", mm_str(e, "message"));
	line(w, h->time, "alert", strcmp(state, "open") ? MM_DIM : MM_RED, mm_str(e, "model"), more);
}

static void show_map(struct mm_watch *w, const json_t *e, const struct mm_event_head *h)
{
	char more[1200], bits[MM_CELL];
	if (!strcmp(mm_str(e, "what"), "placed")) {
		if (*mm_str(e, "nearest"))
			snprintf(more, sizeof more, "nearest %.900s, %s bits per byte", mm_str(e, "nearest"),
				mm_fmt_bits(json_object_get(e, "kl_bits_per_byte"), bits));
		else
			snprintf(more, sizeof more, "the first one");
		line(w, h->time, "placed", MM_GREEN, mm_str(e, "name"), more);
		return;
	}
	snprintf(more, sizeof more, "epoch %lld of %lld models", (long long)mm_int(e, "epoch", 0),
		(long long)mm_int(e, "models", 0));
	line(w, h->time, "map", MM_MAGENTA, more, "");
}

static void show_status(struct mm_watch *w, const json_t *e, const struct mm_event_head *h)
{
	line(w, h->time, h->type, MM_PLAIN, mm_str(e, "text"), "");
}

int mm_watch_show(struct mm_watch *w, const json_t *event, const struct mm_event_head *h, struct mm_err *err)
{
	static const struct {
		const char *type;
		void (*show)(struct mm_watch *w, const json_t *e, const struct mm_event_head *h);
	} types[] = { { "model", show_model }, { "job", show_job }, { "alert", show_alert }, { "map", show_map },
		{ "status", show_status } };
	if (w->cli->o.json) {
		/* One line each, also on a terminal, where other people's names stay ASCII. */
		char *s = json_dumps(event, JSON_COMPACT | (w->cli->term.tty ? JSON_ENSURE_ASCII : 0));
		if (!s)
			return mm_fail(err, MM_ENOMEM, "out of memory for an event");
		int rc = fprintf(w->cli->out, "%s\n", s);
		free(s);
		return rc < 0 ? mm_fail(err, MM_EIO, "cannot write the output") : 0;
	}
	for (size_t i = 0; i < MM_COUNT(types); i++)
		if (!strcmp(types[i].type, h->type))
			types[i].show(w, event, h);
	return ferror(w->cli->out) ? mm_fail(err, MM_EIO, "cannot write the output") : 0;
}
