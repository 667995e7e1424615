/* config_write.c - the key table as people read it: a commented YAML file, and the manual page modelmapd.yaml(5). */
#include "daemon/config_priv.h"

#include <string.h>

#define WIDTH 100u /* of comment lines */

/* The help as comment lines, broken between words. */
static void put_comment(FILE *f, const char *indent, const char *text)
{
	size_t col = 0;
	while (*text) {
		size_t word = strcspn(text, " ");
		if (col && col + 1 + word > WIDTH) {
			fputc('\n', f);
			col = 0;
		}
		if (!col)
			col = (size_t)fprintf(f, "%s# ", indent);
		else
			col += (size_t)fprintf(f, " ");
		col += fwrite(text, 1, word, f);
		text += word;
		while (*text == ' ')
			text++;
	}
	fputc('\n', f);
}

/* What may stand there, for the end of the comment; empty when the help says it all. */
static void put_range(struct mm_buf *b, const struct mm_key_row *k)
{
	switch (k->type) {
	case MM_K_WORD:
	case MM_K_ENUM:
		mm_buf_str(b, "One of ");
		for (int i = 0; k->words[i]; i++)
			mm_buf_printf(b, "%s%s", !i ? "" : ", ", k->words[i]);
		mm_buf_str(b, ".");
		break;
	case MM_K_DURATION:
	case MM_K_UINT:
	case MM_K_NUMBER:
		mm_buf_str(b, "From ");
		mm_key_range(k, " to ", b);
		mm_buf_str(b, ".");
		break;
	default:
		break;
	}
}

/* Plain where YAML reads it back as the same string, else in double quotes. */
static void put_scalar(FILE *f, const char *s)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+";
	size_t n = strlen(s), ok = strspn(s, plain);
	if (n > 6 && (!strncmp(s, "ipc://", 6) || !strncmp(s, "tcp://", 6)) && s[n - 1] != ':')
		ok = 6 + strspn(s + 6, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-:");
	if (n && ok == n && s[0] != '-' && strcmp(s, "null")) {
		fputs(s, f);
		return;
	}
	/* Beyond ASCII as escapes: YAML has line breaks and forbidden characters among them. */
	fputc('"', f);
	for (size_t i = 0, step; i < n; i += step) {
		uint32_t cp;
		step = mm_utf8_decode((const uint8_t *)s + i, n - i, &cp);
		if (step > 1)
			fprintf(f, "\\U%08X", (unsigned)cp);
		else
			fprintf(f, s[i] == '"' || s[i] == '\\' ? "\\%c" : "%c", s[i]);
		step = step ? step : 1;
	}
	fputc('"', f);
}

static void put_key(FILE *f, const struct mm_config *c, const struct mm_key_row *k)
{
	const char *indent = k->section[0] ? "  " : "";
	struct mm_buf help = { 0 }, value = { 0 };
	mm_buf_printf(&help, "%s ", k->help);
	put_range(&help, k);
	put_comment(f, indent, help.data ? (const char *)help.data : k->help);
	fprintf(f, "%s%s:", indent, k->name);
	if (k->type == MM_K_PATHS) {
		for (size_t i = 0; i < c->watch.n_dirs; i++) {
			fprintf(f, "\n%s  - ", indent);
			put_scalar(f, c->watch.dirs[i]);
		}
	} else {
		mm_key_text(c, k, &value);
		fputc(' ', f);
		put_scalar(f, value.data ? (const char *)value.data : "");
	}
	fputc('\n', f);
	mm_buf_fini(&help);
	mm_buf_fini(&value);
}

int mm_config_dump(const struct mm_config *c, FILE *f)
{
	fputs("# modelmapd.yaml - settings of modelmapd, every key at its default. See modelmapd.yaml(5).\n"
	      "# Durations: 250ms, 5s, 2m30s, 1h, 7d. Sizes: 512M, 4G. Relative paths start at this file's "
	      "directory.\n",
		f);
	for (size_t s = 0; s < mm_n_sections; s++) {
		fputc('\n', f);
		put_comment(f, "", mm_sections[s].help);
		if (mm_sections[s].name[0])
			fprintf(f, "%s:\n", mm_sections[s].name);
		for (size_t i = 0; i < mm_n_keys; i++)
			if (!strcmp(mm_keys[i].section, mm_sections[s].name))
				put_key(f, c, &mm_keys[i]);
	}
	return ferror(f) ? -1 : 0;
}

/* ---- manual page ---- */

/* Text for troff: backslashes and a dot or quote at the start of a line mean something there. */
static void put_troff(FILE *f, const char *s)
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

static void put_man_key(FILE *f, const struct mm_key_row *k)
{
	struct mm_buf range = { 0 };
	put_range(&range, k);
	fputs(".TP\n.B ", f);
	put_troff(f, k->name);
	fputc('\n', f);
	put_troff(f, k->help);
	fputc('\n', f);
	if (range.len)
		fprintf(f, "%s\n", (const char *)range.data);
	fputs("Default: ", f);
	put_troff(f, k->def[0] ? k->def : "empty");
	fputs(k->flags & MM_K_RESTART ? ". Needs a restart.\n" : ".\n", f);
	mm_buf_fini(&range);
}

int mm_config_man(FILE *f)
{
	fputs(".\\\" made from the table of keys by `modelmapd --config-man`\n"
	      ".TH MODELMAPD.YAML 5 2026-11-21 \"modelmapd " MM_VERSION "\"\n"
	      ".SH NAME\nmodelmapd.yaml \\- settings of modelmapd\n"
	      ".SH DESCRIPTION\n"
	      "The file is YAML: keys at the top level and keys in sections. A key that is not there has its default.\n"
	      "An unknown key, a wrong type or a value out of range keeps the daemon from starting; the message names "
	      "the line.\nAliases, anchors, tags and further documents are refused.\n.PP\n"
	      "Durations are written as 250ms, 5s, 2m30s, 1h or 7d, sizes as 512M or 4G (powers of 1024).\n"
	      "Relative paths start at the directory of the file. A list of one may be written as a single "
	      "value.\n.PP\n"
	      "On SIGHUP the file is read again; a bad one changes nothing. Keys marked so need a restart; a changed "
	      "one\n"
	      "is named in the log and keeps its old value until then.\n",
		f);
	for (size_t s = 0; s < mm_n_sections; s++) {
		fputs(mm_sections[s].name[0] ? ".SH SECTION " : ".SH TOP LEVEL\n", f);
		if (mm_sections[s].name[0])
			fprintf(f, "%s:\n", mm_sections[s].name);
		put_troff(f, mm_sections[s].help);
		fputc('\n', f);
		for (size_t i = 0; i < mm_n_keys; i++)
			if (!strcmp(mm_keys[i].section, mm_sections[s].name))
				put_man_key(f, &mm_keys[i]);
	}
	fputs(".SH FILES\n.TP\n.I /etc/modelmapd/modelmapd.yaml\nread when no other file is named\n"
	      ".SH SEE ALSO\n.BR modelmapd (8),\n.BR modelmap (1)\n",
		f);
	return ferror(f) ? -1 : 0;
}
