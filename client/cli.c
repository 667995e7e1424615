/* cli.c - from words to a command: options, help, exit status. Options may stand anywhere, before and after the
 * command;
 * "--" ends them. */
#include "client/client.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- options ---- */

static bool choice_ok(const char *choices, const char *s)
{
	size_t n = strlen(s);
	for (const char *p = choices; *p;) {
		size_t len = strcspn(p, "|");
		if (len == n && !memcmp(p, s, n))
			return true;
		p += len + (p[len] == '|');
	}
	return false;
}

static int set_option(struct mm_cli *c, const struct mm_opt *o, const char *value, struct mm_err *err)
{
	void *at = (char *)&c->o + o->off;
	char *end;
	switch (o->type) {
	case MM_OPT_FLAG:
		*(bool *)at = true;
		return 0;
	case MM_OPT_STR:
		if (o->complete && strchr(o->complete, '|') && !choice_ok(o->complete, value))
			return mm_fail(err, MM_EINVAL, "--%s: \"%s\" is not one of %s", o->name, value, o->complete);
		*(const char **)at = value;
		return 0;
	case MM_OPT_INT:
		errno = 0;
		*(int64_t *)at = strtoll(value, &end, 10);
		if (end == value || *end || errno || (double)*(int64_t *)at < o->min || (double)*(int64_t *)at > o->max)
			return mm_fail(err, MM_EINVAL, "--%s: \"%s\" is not a whole number from %.0f to %.0f", o->name,
				value, o->min, o->max);
		return 0;
	case MM_OPT_TIME:
		if (mm_parse_duration(value, at, err))
			return mm_wrap(err, "--%s", o->name);
		return 0;
	}
	return mm_fail(err, MM_EINTERNAL, "option without a type");
}

static const struct mm_opt *find_long(const char *name, size_t n)
{
	for (size_t i = 0; i < mm_n_cli_opts; i++)
		if (strlen(mm_cli_opts[i].name) == n && !memcmp(mm_cli_opts[i].name, name, n))
			return &mm_cli_opts[i];
	return NULL;
}

static const struct mm_opt *find_letter(char letter)
{
	for (size_t i = 0; i < mm_n_cli_opts; i++)
		if (mm_cli_opts[i].letter == letter)
			return &mm_cli_opts[i];
	return NULL;
}

static int unknown_option(const char *word, struct mm_err *err)
{
	const char *names[128], *near = NULL;
	size_t n = 0;
	for (; n < mm_n_cli_opts && n < MM_COUNT(names); n++)
		names[n] = mm_cli_opts[n].name;
	if (word[1] == '-')
		near = mm_nearest(word + 2, names, n);
	return mm_fail(err, MM_EINVAL, "unknown option %s%s%s%s", word, near ? "; did you mean --" : "",
		near ? near : "", near ? "?" : "");
}

struct words {
	const char *const *v;
	int n, i;
};

/* One word that begins with '-': a long option, or a row of letters the last of which may have a value. */
static int take_option(
	struct mm_cli *c, struct words *w, const struct mm_opt **used, size_t *n_used, struct mm_err *err)
{
	const char *word = w->v[w->i], *value = NULL;
	bool is_long = word[1] == '-';
	const char *eq = is_long ? strchr(word, '=') : NULL;
	for (const char *p = word + 1;;) {
		const struct mm_opt *o = is_long ? find_long(word + 2, eq ? (size_t)(eq - word - 2) : strlen(word + 2))
						 : find_letter(*p);
		if (!o)
			return unknown_option(word, err);
		if (o->type == MM_OPT_FLAG && eq)
			return mm_fail(err, MM_EINVAL, "--%s takes no value", o->name);
		if (o->type != MM_OPT_FLAG) {
			value = is_long ? (eq ? eq + 1 : NULL) : (p[1] ? p + 1 : NULL);
			if (!value && w->i + 1 < w->n)
				value = w->v[++w->i];
			if (!value)
				return mm_fail(err, MM_EINVAL, "--%s needs a value (%s)", o->name, o->value);
		}
		if (*n_used < 64)
			used[(*n_used)++] = o;
		if (set_option(c, o, value, err))
			return -1;
		if (is_long || value || !*++p)
			return 0;
	}
}

static int unknown_command(const char *name, struct mm_err *err)
{
	const char *names[128];
	size_t n = 0;
	for (; n < mm_n_cli_cmds && n < MM_COUNT(names); n++)
		names[n] = mm_cli_cmds[n].name;
	const char *near = mm_nearest(name, names, n);
	return mm_fail(err, MM_EINVAL, "unknown command %s%s%s%s", name, near ? "; did you mean " : "",
		near ? near : "", near ? "?" : "");
}

static int check_words(const struct mm_cli *c, struct mm_err *err)
{
	if (c->o.help)
		return 0;
	if (c->n_word < c->cmd->min_word)
		return mm_fail(err, MM_EINVAL, "usage: modelmap %s %s", c->cmd->name, c->cmd->args);
	if (c->n_word > c->cmd->max_word)
		return mm_fail(err, MM_EINVAL, "too many words: \"%s\"; usage: modelmap %s%s%s",
			c->word[c->cmd->max_word], c->cmd->name, *c->cmd->args ? " " : "", c->cmd->args);
	return 0;
}

int mm_cli_parse(struct mm_cli *c, int argc, const char *const *argv, struct mm_err *err)
{
	const struct mm_opt *used[64];
	size_t n_used = 0;
	bool only_words = false;
	c->o = (struct mm_cli_opts){ .color = "auto", .timeout = -1, .seed = 1 };
	if (!(c->word = mm_calloc((size_t)argc + 1, sizeof *c->word, err)))
		return -1;
	struct words w = { argv, argc, 1 };
	for (; w.i < argc; w.i++) {
		const char *word = argv[w.i];
		if (!only_words && !strcmp(word, "--"))
			only_words = true;
		else if (!only_words && word[0] == '-' && word[1]) {
			if (take_option(c, &w, used, &n_used, err))
				return -1;
		} else if (!c->cmd && strcmp(word, "help") != 0) {
			if (!(c->cmd = mm_cli_cmd_find(word)))
				return unknown_command(word, err);
		} else if (!c->cmd) {
			c->o.help = true;
		} else {
			c->word[c->n_word++] = word;
		}
	}
	for (size_t i = 0; c->cmd && i < n_used; i++)
		if (!mm_cli_opt_applies(c->cmd, used[i]))
			return mm_fail(err, MM_EINVAL, "%s has no option --%s", c->cmd->name, used[i]->name);
	if (!c->cmd)
		return c->o.help ? 0 : mm_fail(err, MM_EINVAL, "no command; modelmap --help lists them");
	return check_words(c, err);
}

/* ---- help ---- */

static void help_option(const struct mm_opt *o, FILE *out)
{
	char left[64];
	snprintf(left, sizeof left, "%c%c%s --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
		o->letter ? "," : " ", o->name, o->value ? " " : "", o->value ? o->value : "");
	fprintf(out, "  %-28s %s%s%s%s\n", left, o->help, o->complete && strchr(o->complete, '|') ? " (" : "",
		o->complete && strchr(o->complete, '|') ? o->complete : "",
		o->complete && strchr(o->complete, '|') ? ")" : "");
}

void mm_cli_help(const struct mm_cli *c, FILE *out)
{
	if (c->cmd) {
		fprintf(out, "modelmap %s%s%s - %s\n", c->cmd->name, *c->cmd->args ? " " : "", c->cmd->args,
			c->cmd->help);
		for (size_t i = 0; c->cmd->opt[i]; i++) {
			if (!i)
				fputs("\nOptions:\n", out);
			help_option(mm_cli_opt_find(c->cmd->opt[i]), out);
		}
	} else {
		fputs("modelmap [OPTIONS] COMMAND ... - ask the daemon that keeps the map of language "
		      "models\n\nCommands:\n",
			out);
		for (size_t i = 0; i < mm_n_cli_cmds; i++) {
			char left[80];
			snprintf(left, sizeof left, "%s %s", mm_cli_cmds[i].name, mm_cli_cmds[i].args);
			fprintf(out, strlen(left) > 28 ? "  %s\n%31s%s\n" : "  %-28s%1s%s\n", left, "",
				mm_cli_cmds[i].help);
		}
	}
	fputs("\nOptions of every command:\n", out);
	for (const char *const *g = mm_cli_global; *g; g++)
		help_option(mm_cli_opt_find(*g), out);
	fputs("\nExit status: 0 done, 1 failed, 2 wrong usage, 3 no daemon.  See modelmap(1).\n", out);
}

/* ---- calls ---- */

int mm_cli_call(struct mm_cli *c, const char *cmd, json_t *args, json_t **body, struct mm_err *err)
{
	if (!c->conn) {
		struct mm_conn_opts o = { c->o.socket, c->o.server_key, c->o.key,
			c->o.timeout >= 0 ? c->o.timeout : c->cmd->timeout };
		if (!(c->conn = mm_conn_open(&o, &c->no_daemon, err))) {
			json_decref(args);
			return -1;
		}
	}
	if (!mm_conn_call(c->conn, cmd, args, body, err))
		return 0;
	c->no_daemon = mm_conn_no_daemon(c->conn);
	return -1;
}

int mm_cli_ask(struct mm_cli *c, const char *cmd, json_t *args, json_t **body, struct mm_err *err)
{
	if (mm_cli_call(c, cmd, args, body, err))
		return -1;
	if (!c->o.json)
		return 0;
	int rc = mm_json_print(*body, &c->term, c->out, err);
	json_decref(*body);
	*body = NULL;
	return rc;
}

void mm_say(const struct mm_cli *c, const char *fmt, ...)
{
	char text[2048], clean[2048];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	mm_term_clean(&c->term, text, clean, sizeof clean);
	fprintf(c->err, "%s\n", clean);
}

/* ---- signals: only for commands that run until told to end ---- */

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

void mm_cli_catch_signals(void)
{
	struct sigaction a = { .sa_handler = on_signal }; /* no SA_RESTART: waiting ends */
	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
}

bool mm_cli_stopped(void)
{
	return stop;
}

/* ---- main ---- */

static void say_error(const struct mm_cli *c, const char *text)
{
	char clean[2048];
	mm_term_clean(&c->term, text, clean, sizeof clean);
	fprintf(c->err, "modelmap: %s\n", clean);
}

static int run(struct mm_cli *c)
{
	struct mm_err err = { 0 };
	int rc = c->cmd->run(c, &err);
	mm_conn_close(c->conn);
	if (!rc && (fflush(c->out) || ferror(c->out)))
		rc = mm_fail(&err, MM_EIO, "cannot write the output");
	if (!rc)
		return MM_EXIT_OK;
	say_error(c, err.text);
	return c->usage ? MM_EXIT_USAGE : c->no_daemon ? MM_EXIT_NO_DAEMON : MM_EXIT_FAILED;
}

int mm_cli_main(int argc, const char *const *argv, FILE *out, FILE *errout)
{
	struct mm_cli c = { .out = out, .err = errout };
	struct mm_err err = { 0 };
	int status;
	signal(SIGPIPE, SIG_IGN); /* `modelmap models | head`: the write fails and we end */
	if (argc > 1 && !strcmp(argv[1], "__complete")) {
		mm_term_init(&c.term, STDOUT_FILENO, "never", false);
		c.word = (const char **)(uintptr_t)(argv + 2);
		c.n_word = (size_t)argc - 2;
		mm_cli_complete(&c);
		return MM_EXIT_OK;
	}
	if (argc == 3 && !strcmp(argv[1], "__man"))
		return mm_cli_man(argv[2], out) || fflush(out) ? MM_EXIT_FAILED : MM_EXIT_OK;
	if (argc > 1 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))) {
		fprintf(out, "modelmap %s, protocol %d\n", MM_VERSION, MM_WIRE_VERSION);
		return MM_EXIT_OK;
	}
	mm_term_init(&c.term, STDERR_FILENO, "never", false); /* for errors of usage */
	if (mm_cli_parse(&c, argc, argv, &err)) {
		say_error(&c, err.text);
		if (argc < 2)
			mm_cli_help(&c, errout);
		status = MM_EXIT_USAGE;
	} else {
		mm_term_init(&c.term, out == stdout ? STDOUT_FILENO : -1, c.o.color, c.o.ascii);
		if (c.o.help) {
			mm_cli_help(&c, out);
			status = MM_EXIT_OK;
		} else {
			status = run(&c);
		}
	}
	mm_free(c.word);
	return status;
}
