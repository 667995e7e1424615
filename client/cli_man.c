/* cli_man.c - the parts of the manual that tables make: `modelmap __man options` for modelmap(1), `modelmap __man
 * arguments` for modelmap-protocol(7). `make man` puts them between the marks in man/; a test compares. */
#include "client/client.h"

#include <string.h>

#include "wire/wire.h"

/* Text for troff: backslashes and dashes, and a dot or quote at the start of a line, mean something there. */
static void put(FILE *f, const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", f);
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", f);
		else if (*s == '-')
			fputs("\\-", f);
		else
			fputc(*s, f);
	}
}

/* "a|b|c" as "One of a, b, c." */
static void put_choices(FILE *f, const char *choices)
{
	fputs("\nOne of ", f);
	for (; *choices; choices++)
		if (*choices == '|')
			fputs(", ", f);
		else
			fputc(*choices, f);
	fputc('.', f);
}

static void put_help(FILE *f, const char *help)
{
	size_t n = strlen(help);
	put(f, help);
	if (n && help[n - 1] != '.')
		fputc('.', f);
}

/* ---- options of modelmap(1): those of single commands; the page tells more of the others than a table could ---- */

static void put_option(FILE *f, const struct mm_opt *o)
{
	bool first = true;
	fputs(".TP\n", f);
	if (o->letter)
		fprintf(f, "\\fB\\-%c\\fR, ", o->letter);
	fputs("\\fB\\-\\-", f);
	put(f, o->name);
	fputs("\\fR", f);
	if (o->value)
		fprintf(f, " \\fI%s\\fR", o->value);
	fputc('\n', f);
	put_help(f, o->help);
	if (o->complete && strchr(o->complete, '|'))
		put_choices(f, o->complete);
	if (o->type == MM_OPT_INT)
		fprintf(f, "\nFrom %.15g to %.15g.", o->min, o->max);
	fputs("\nOf ", f);
	for (size_t i = 0; i < mm_n_cli_cmds; i++)
		if (mm_cli_opt_applies(&mm_cli_cmds[i], o)) {
			fprintf(f, "%s\\fB%s\\fR", first ? "" : ", ", mm_cli_cmds[i].name);
			first = false;
		}
	fputs(".\n", f);
}

/* ---- arguments of modelmap-protocol(7) ---- */

static void put_argument(FILE *f, const struct mm_arg *a)
{
	fprintf(f, ".TP\n\\fB%s\\fR, %s%s\n", a->name, mm_arg_type_name(a->type), a->required ? "" : ", optional");
	put_help(f, a->help);
	if (a->choices)
		put_choices(f, a->choices);
	else if (a->type == MM_ARG_STR)
		fprintf(f, "\nFrom %.0f to %.0f bytes.", a->min, a->max > 0 ? a->max : 4096.0);
	else if (a->type != MM_ARG_BOOL && a->max > a->min)
		fprintf(f, "\nFrom %.15g to %.15g.", a->min, a->max);
	fputc('\n', f);
}

static void put_command(FILE *f, const struct mm_cmd *c)
{
	fprintf(f, ".SS %s\n", c->name);
	put_help(f, c->help);
	fprintf(f, "\nAccess: %s.%s%s\n", mm_access_name(c->access), c->bulk ? " Bulk." : "",
		c->arg[0].name ? "" : " No arguments.");
	for (const struct mm_arg *a = c->arg; a->name; a++)
		put_argument(f, a);
}

int mm_cli_man(const char *part, FILE *f)
{
	if (!strcmp(part, "options")) {
		for (size_t i = 0; i < mm_n_cli_opts; i++)
			if (!mm_cli_opt_applies(NULL, &mm_cli_opts[i]))
				put_option(f, &mm_cli_opts[i]);
	} else if (!strcmp(part, "arguments")) {
		for (size_t i = 0; i < mm_n_cmds; i++)
			put_command(f, &mm_cmds[i]);
	} else {
		return -1;
	}
	return ferror(f) ? -1 : 0;
}
