/* cmd_top.c - `top`: a live view on the whole screen. Plain VT sequences on the alternate screen: a frame is one write
 * that overwrites the last one line by line, so nothing flickers, and ncurses would add nothing to that.
 *
 * Once a second the daemon is asked for status, queue and alerts; arrivals come from its events, so that the list of
 * all models is fetched only at the start and after a gap. A daemon that goes is waited for. The terminal is put back
 * on every way out: q, signals, errors, and for as long as we are stopped by ^Z. */
#include "client/top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define EVERY_S 1.0
#define ASK_S	5.0 /* patience with one call */

#define ENTER "\033[?1049h\033[?25l\033[2J"
#define LEAVE "\033[?25h\033[?1049l"

/* ---- what there is ---- */

static int by_time(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int64_t s = mm_int(x, "scored_at", 0), t = mm_int(y, "scored_at", 0);
	return s != t ? (s < t ? 1 : -1) : strcmp(mm_str(x, "name"), mm_str(y, "name"));
}

static int fetch_arrivals(struct mm_top *t, struct mm_err *err)
{
	json_t *b, *m;
	size_t i, n = 0;
	if (mm_cli_call(t->cli, "models", NULL, &b, err))
		return -1;
	json_t *list = json_object_get(b, "models"), **p = calloc(json_array_size(list) + 1, sizeof(json_t *));
	json_array_foreach (list, i, m)
		if (p && !strcmp(mm_str(m, "state"), "scored") && mm_int(m, "scored_at", 0))
			p[n++] = m;
	if (n)
		qsort(p, n, sizeof(json_t *), by_time);
	json_array_clear(t->arrivals);
	for (i = 0; i < n && i < MM_TOP_ARRIVALS; i++)
		json_array_append(t->arrivals, p[i]);
	free(p);
	json_decref(b);
	return 0;
}

static void arrived(struct mm_top *t, const json_t *e)
{
	size_t i;
	const json_t *m;
	if (strcmp(mm_str(e, "type"), "model") != 0 || !mm_int(e, "scored_at", 0) ||
		strcmp(mm_str(e, "state"), "scored") != 0)
		return;
	json_array_foreach (t->arrivals, i, m)
		if (!strcmp(mm_str(m, "name"), mm_str(e, "name"))) {
			if (mm_int(m, "scored_at", 0) == mm_int(e, "scored_at", 0))
				return; /* another change of it */
			json_array_remove(t->arrivals, i);
			break;
		}
	json_array_insert(t->arrivals, 0, (json_t *)(uintptr_t)e);
	if (json_array_size(t->arrivals) > MM_TOP_ARRIVALS)
		json_array_remove(t->arrivals, MM_TOP_ARRIVALS);
}

static int fetch_events(struct mm_top *t, struct mm_err *err)
{
	for (bool more = true; more;) {
		json_t *b, *e,
			*args = *t->boot ? json_pack("{s:s, s:I}", "boot", t->boot, "seq", (json_int_t)t->seq) : NULL;
		size_t i;
		if (mm_cli_call(t->cli, "events_since", args, &b, err))
			return -1;
		bool fresh = strcmp(mm_str(b, "boot"), t->boot) != 0 || json_is_true(json_object_get(b, "gap"));
		more = !fresh && json_is_true(json_object_get(b, "more"));
		if (!fresh)
			json_array_foreach (json_object_get(b, "events"), i, e) {
				arrived(t, e);
				t->seq = MM_MAX(t->seq, mm_int(e, "seq", 0));
			}
		if (fresh) {
			snprintf(t->boot, sizeof t->boot, "%s", mm_str(b, "boot"));
			t->seq = mm_int(b, "seq", 0);
		}
		json_decref(b);
		if (fresh && fetch_arrivals(t, err)) {
			t->boot[0] = 0;
			return -1;
		}
	}
	return 0;
}

static int rank(const json_t *job)
{
	static const char *const order[] = { "running", "queued", "waiting", "failed" };
	int i = 0;
	while (i < (int)MM_COUNT(order) && strcmp(order[i], mm_str(job, "state")) != 0)
		i++;
	return i;
}

/* The list of a reply, ordered by what comes first in `rank`, else as it is. */
static void take_list(json_t **to, json_t *reply, const char *key, int (*order)(const json_t *), int n_rank)
{
	json_t *list = json_object_get(reply, key), *o;
	size_t i;
	json_decref(*to);
	*to = json_array();
	for (int r = 0; r <= n_rank; r++)
		json_array_foreach (list, i, o)
			if (order(o) == r)
				json_array_append(*to, o);
	json_decref(reply);
}

static int alert_rank(const json_t *a)
{
	return strcmp(mm_str(a, "state"), "open") != 0;
}

static int refresh(struct mm_top *t, struct mm_err *err)
{
	json_t *b;
	if (mm_cli_call(t->cli, "status", NULL, &b, err))
		return -1;
	json_decref(t->status);
	t->status = b;
	if (mm_cli_call(t->cli, "queue", NULL, &b, err))
		return -1;
	take_list(&t->jobs, b, "jobs", rank, 4);
	if (mm_cli_call(t->cli, "alerts", NULL, &b, err))
		return -1;
	take_list(&t->alerts, b, "alerts", alert_rank, 1);
	return fetch_events(t, err);
}

/* ---- the terminal ---- */

static volatile sig_atomic_t suspend, ended;

/* That it comes is enough: waiting ends, and the next frame has the new size. */
static void on_winch(int sig)
{
	(void)sig;
}

static void on_end(int sig)
{
	(void)sig;
	ended = 1;
}

static void on_tstp(int sig)
{
	(void)sig;
	suspend = 1;
}

static void handle(int sig, void (*fn)(int))
{
	struct sigaction a = { .sa_handler = fn }; /* no SA_RESTART: waiting ends */
	sigaction(sig, &a, NULL);
}

static void put(const char *s, size_t n)
{
	while (n) {
		ssize_t k = write(STDOUT_FILENO, s, n);
		if (k < 0 && errno != EINTR)
			return;
		s += k > 0 ? k : 0;
		n -= k > 0 ? (size_t)k : 0;
	}
}

static bool enter(struct termios *before)
{
	struct termios raw;
	bool keys = isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, before);
	if (keys) {
		raw = *before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ISIG stays: ^C and ^Z are signals */
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	put(ENTER, sizeof ENTER - 1);
	return keys;
}

static void leave(const struct termios *before, bool keys)
{
	put(LEAVE, sizeof LEAVE - 1);
	if (keys)
		tcsetattr(STDIN_FILENO, TCSAFLUSH, before);
}

static void stop_for_a_while(struct termios *before, bool *keys)
{
	suspend = 0;
	leave(before, *keys);
	handle(SIGTSTP, SIG_DFL);
	raise(SIGTSTP);
	handle(SIGTSTP, on_tstp);
	*keys = enter(before);
}

static void paint(struct mm_top *t)
{
	struct mm_buf b = { 0 };
	mm_term_resize(&t->cli->term, STDOUT_FILENO);
	int h = MM_MAX(t->cli->term.height, 4), w = t->cli->term.width ? t->cli->term.width : 80;
	mm_buf_str(&b, "\033[H");
	mm_top_frame(t, &t->cli->term, w, h - 1, "\033[K\r\n", mm_now(), &b);
	/* What is left of an older, longer frame goes; the last line tells the keys. */
	mm_buf_printf(&b, "\033[K\033[J\033[%d;1H%sq quit  up/down scroll  p pause  ? help%s\033[K", h,
		mm_term_on(&t->cli->term, MM_DIM), mm_term_off(&t->cli->term, MM_DIM));
	if (!b.failed)
		put((const char *)b.data, b.len);
	mm_buf_fini(&b);
}

/* ---- keys ---- */

/* false: quit. Several keys may have come at once. */
static bool on_keys(struct mm_top *t, const char *k, size_t n)
{
	int page = MM_MAX(t->cli->term.height / 2, 1);
	for (size_t i = 0; i < n; i++) {
		bool arrow = k[i] == '\033' && i + 2 < n && (k[i + 1] == '[' || k[i + 1] == 'O');
		char c = arrow ? k[i + 2] : k[i];
		if (arrow) {
			t->scroll += c == 'A' ? -1 : c == 'B' ? 1 : c == '5' ? -page : c == '6' ? page : 0;
			i += 2;
			while (i + 1 < n && (c == '5' || c == '6') && k[i + 1] == '~')
				i++;
		} else if (c == 'q' || c == 'Q') {
			return false;
		} else if (c == 'k' || c == 'j') {
			t->scroll += c == 'j' ? 1 : -1;
		} else if (c == 'p' || c == ' ') {
			t->paused = !t->paused;
		} else if (c == '?' || c == 'h') {
			t->help = !t->help;
		}
	}
	t->scroll = MM_MAX(t->scroll, 0);
	return true;
}

/* Until a key, a signal or the time. false: quit. */
static bool wait_for_keys(struct mm_top *t, double until, bool keys)
{
	struct pollfd p = { .fd = keys ? STDIN_FILENO : -1, .events = POLLIN };
	char k[64];
	double left = until - mm_monotonic();
	if (poll(&p, 1, left > 0 ? (int)(left * 1000) + 1 : 0) <= 0)
		return true;
	ssize_t n = read(STDIN_FILENO, k, sizeof k);
	return n == 0 || (n < 0 && errno != EINTR) ? false : n < 0 || on_keys(t, k, (size_t)n);
}

static void live(struct mm_top *t)
{
	struct termios before;
	mm_cli_catch_signals();
	handle(SIGWINCH, on_winch);
	handle(SIGTSTP, on_tstp);
	handle(SIGHUP, on_end);
	handle(SIGQUIT, on_end);
	double next = 0, limit = t->cli->o.timeout > 0 ? mm_monotonic() + t->cli->o.timeout : 0;
	bool keys = enter(&before), go = true;
	t->cli->o.timeout = ASK_S;
	while (go && !ended && !mm_cli_stopped() && !(limit && mm_monotonic() > limit)) {
		if (mm_monotonic() >= next) {
			struct mm_err err = { 0 };
			bool bad = !t->paused && refresh(t, &err);
			if (!t->paused)
				snprintf(t->error, sizeof t->error, "%s", bad ? err.text : "");
			next = mm_monotonic() + EVERY_S;
		}
		if (ended || mm_cli_stopped())
			break;
		paint(t);
		go = wait_for_keys(t, next, keys);
		if (suspend)
			stop_for_a_while(&before, &keys);
	}
	leave(&before, keys);
}

/* ---- one frame ---- */

static int once(struct mm_top *t, struct mm_err *err)
{
	struct mm_cli *c = t->cli;
	struct mm_buf b = { 0 };
	if (refresh(t, err))
		return -1;
	if (c->o.json) {
		json_t *o = json_pack("{s:O, s:O, s:O, s:O}", "status", t->status, "jobs", t->jobs, "alerts", t->alerts,
			"arrivals", t->arrivals);
		int rc = o ? mm_json_print(o, &c->term, c->out, err) : mm_fail(err, MM_ENOMEM, "out of memory");
		json_decref(o);
		return rc;
	}
	mm_top_frame(t, &c->term, c->term.width ? c->term.width : 100, c->term.height, "\n", mm_now(), &b);
	mm_buf_u8(&b, '\n');
	int rc = mm_buf_check(&b, err);
	if (!rc && fwrite(b.data, 1, b.len, c->out) != b.len)
		rc = mm_fail(err, MM_EIO, "cannot write the output");
	mm_buf_fini(&b);
	return rc;
}

int mm_run_top(struct mm_cli *c, struct mm_err *err)
{
	struct mm_top t = { .cli = c, .arrivals = json_array() };
	int rc = t.arrivals ? 0 : mm_fail(err, MM_ENOMEM, "out of memory");
	if (!rc && (c->o.once || c->o.json)) {
		rc = once(&t, err);
	} else if (!rc && !c->term.tty) {
		c->usage = true;
		rc = mm_fail(err, MM_EINVAL, "top needs a terminal; --once prints one frame");
	} else if (!rc && !(rc = refresh(&t, err))) { /* without a daemon there is nothing to wait for yet */
		live(&t);
	}
	json_decref(t.status);
	json_decref(t.jobs);
	json_decref(t.alerts);
	json_decref(t.arrivals);
	return rc;
}
