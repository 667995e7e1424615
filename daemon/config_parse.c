/* config_parse.c - the YAML of the configuration, read event by event: sections with keys, keys with one value or a
 * list of values, and nothing else.
 *
 * Aliases, anchors, tags and further documents are refused: nobody needs them here, and an alias bomb cannot go off.
 * Every error names the line; an unknown key also names the nearest one there is, wherever it belongs.
 */
#include "daemon/config_priv.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
	yaml_parser_t yaml;
	yaml_event_t event; /* the current one */
	bool has_event;
	struct mm_config *cfg;
	const char *name;
	unsigned *line_of; /* [mm_n_keys] where a key stood; 0: not yet */
	struct mm_err *err;
};

static int bad(struct reader *r, size_t line, const char *fmt, ...) MM_PRINTF(3, 4);
static int bad(struct reader *r, size_t line, const char *fmt, ...)
{
	char text[800];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return mm_fail(r->err, MM_EINVAL, "%s:%zu: %s", r->name, line, text);
}

static size_t line(const struct reader *r)
{
	return r->event.start_mark.line + 1;
}

static int syntax_error(struct reader *r)
{
	const yaml_parser_t *y = &r->yaml;
	size_t at = (y->error == YAML_READER_ERROR ? y->mark.line : y->problem_mark.line) + 1;
	const char *what = y->problem ? y->problem : "cannot be read";
	if (y->error == YAML_MEMORY_ERROR)
		return mm_fail(r->err, MM_ENOMEM, "%s: out of memory", r->name);
	/* libyaml says of a tab only that it cannot start a token. */
	bool tab = strstr(what, "cannot start any token") != NULL;
	return bad(r, at, "%s%s%s%s", y->context ? y->context : "", y->context ? ": " : "", what,
		tab ? " (indentation is made of spaces, not tabs)" : "");
}

/* The next event; refuses what is refused everywhere. */
static int next(struct reader *r)
{
	if (r->has_event)
		yaml_event_delete(&r->event);
	r->has_event = false;
	if (!yaml_parser_parse(&r->yaml, &r->event))
		return syntax_error(r);
	r->has_event = true;
	const yaml_event_t *e = &r->event;
	const yaml_char_t *anchor = NULL, *tag = NULL;
	switch (e->type) {
	case YAML_ALIAS_EVENT:
		return bad(r, line(r), "an alias (*%.40s): not used here, write the value again",
			(const char *)e->data.alias.anchor);
	case YAML_SCALAR_EVENT:
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
		if (strlen((const char *)e->data.scalar.value) != e->data.scalar.length)
			return bad(r, line(r), "a NUL character in a value");
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
		break;
	default:
		break;
	}
	if (anchor)
		return bad(r, line(r), "an anchor (&%.40s): not used here", (const char *)anchor);
	return tag ? bad(r, line(r), "a tag (%.40s): not used here", (const char *)tag) : 0;
}

static const char *scalar(const struct reader *r)
{
	return (const char *)r->event.data.scalar.value;
}

/* Nothing behind the colon, or the word that YAML has for it. */
static bool is_null(const struct reader *r)
{
	const char *s = scalar(r);
	return r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!s[0] || !strcmp(s, "null") || !strcmp(s, "~"));
}

/* ---- keys ---- */

static const struct mm_key_row *find_key(const char *section, const char *name)
{
	for (size_t i = 0; i < mm_n_keys; i++)
		if (!strcmp(mm_keys[i].section, section) && !strcmp(mm_keys[i].name, name))
			return &mm_keys[i];
	return NULL;
}

static const struct mm_key_section *find_section(const char *name)
{
	for (size_t i = 1; i < mm_n_sections; i++)
		if (!strcmp(mm_sections[i].name, name))
			return &mm_sections[i];
	return NULL;
}

/* "did you mean ...": first a key of the same place, then one of another. */
static int unknown_key(struct reader *r, const char *section, const char *name)
{
	const char **near = calloc(mm_n_keys + mm_n_sections, sizeof *near), *hit = NULL;
	size_t n = 0, at = line(r);
	const struct mm_key_row *elsewhere = NULL;
	for (size_t i = 0; near && i < mm_n_keys; i++)
		if (!strcmp(mm_keys[i].section, section))
			near[n++] = mm_keys[i].name;
	for (size_t i = 1; near && !section[0] && i < mm_n_sections; i++)
		near[n++] = mm_sections[i].name;
	for (size_t i = 0; i < mm_n_keys; i++)
		if (!strcmp(mm_keys[i].name, name))
			elsewhere = &mm_keys[i];
	if (!elsewhere && near && !(hit = mm_nearest(name, near, n))) {
		for (n = 0; n < mm_n_keys; n++)
			near[n] = mm_keys[n].name;
		const char *far = mm_nearest(name, near, n);
		for (size_t i = 0; far && i < mm_n_keys; i++)
			if (mm_keys[i].name == far)
				elsewhere = &mm_keys[i];
	}
	char full[300], hint[300] = "";
	snprintf(full, sizeof full, "%.100s%s%.100s", section, section[0] ? "." : "", name);
	if (elsewhere)
		snprintf(hint, sizeof hint, "; did you mean %s%s%s?", elsewhere->section,
			elsewhere->section[0] ? "." : "", elsewhere->name);
	else if (hit)
		snprintf(hint, sizeof hint, "; did you mean %s%s%s?", section, section[0] ? "." : "", hit);
	free(near);
	return bad(r, at, "unknown key %s%s", full, hint);
}

/* A key stands once. */
static int note_key(struct reader *r, const struct mm_key_row *k)
{
	unsigned *seen = &r->line_of[k - mm_keys];
	if (*seen)
		return bad(r, line(r), "%s stands twice, in line %u too", k->name, *seen);
	*seen = (unsigned)line(r);
	return 0;
}

static int set(struct reader *r, const struct mm_key_row *k, const char *text)
{
	struct mm_err why = { 0 };
	if (!mm_key_set(r->cfg, k, text, &why))
		return 0;
	if (why.code == MM_ENOMEM) {
		*r->err = why;
		return -1;
	}
	return bad(r, line(r), "%s%s%s: %s", k->section, k->section[0] ? "." : "", k->name, why.text);
}

static int read_list(struct reader *r, const struct mm_key_row *k)
{
	size_t start = line(r), n = 0;
	mm_key_clear(r->cfg, k);
	for (;; n++) {
		if (next(r))
			return -1;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			break;
		if (r->event.type != YAML_SCALAR_EVENT)
			return bad(r, line(r), "%s: expected a path, found a list or mapping", k->name);
		if (set(r, k, is_null(r) ? "" : scalar(r)))
			return -1;
	}
	return n ? 0 : bad(r, start, "%s: the list is empty", k->name);
}

/* The value of a key: the event behind its name. */
static int read_value(struct reader *r, const struct mm_key_row *k)
{
	if (next(r))
		return -1;
	const char *dot = k->section[0] ? "." : "";
	switch (r->event.type) {
	case YAML_SEQUENCE_START_EVENT:
		if (k->type == MM_K_PATHS)
			return read_list(r, k);
		return bad(
			r, line(r), "%s%s%s: expected %s, found a list", k->section, dot, k->name, mm_key_type_help(k));
	case YAML_SCALAR_EVENT:
		if (k->type == MM_K_PATHS)
			mm_key_clear(r->cfg, k); /* one path instead of a list of one */
		if (is_null(r) && !(k->flags & MM_K_EMPTY) && !k->words)
			return bad(r, line(r), "%s%s%s: expected %s, found nothing", k->section, dot, k->name,
				mm_key_type_help(k));
		return set(r, k, is_null(r) ? "" : scalar(r));
	default:
		return bad(r, line(r), "%s%s%s: expected %s, found a mapping", k->section, dot, k->name,
			mm_key_type_help(k));
	}
}

static int read_mapping(struct reader *r, const char *section);

static int read_section(struct reader *r, const struct mm_key_section *s)
{
	if (next(r))
		return -1;
	if (r->event.type == YAML_SCALAR_EVENT && is_null(r))
		return 0; /* all its keys are commented out */
	if (r->event.type != YAML_MAPPING_START_EVENT)
		return bad(r, line(r), "%s: expected keys below it", s->name);
	return read_mapping(r, s->name);
}

/* Keys up to the end of the mapping whose start is the current event. */
static int read_mapping(struct reader *r, const char *section)
{
	unsigned seen = 0; /* bit for each section */
	for (;;) {
		if (next(r))
			return -1;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return 0;
		if (r->event.type != YAML_SCALAR_EVENT)
			return bad(r, line(r), "expected the name of a key");
		const struct mm_key_section *s = section[0] ? NULL : find_section(scalar(r));
		const struct mm_key_row *k = s ? NULL : find_key(section, scalar(r));
		if (s) {
			unsigned bit = 1u << (s - mm_sections);
			if (seen & bit)
				return bad(r, line(r), "%s stands twice", s->name);
			seen |= bit;
			if (read_section(r, s))
				return -1;
		} else if (!k) {
			return unknown_key(r, section, scalar(r));
		} else if (note_key(r, k) || read_value(r, k)) {
			return -1;
		}
	}
}

static int read_stream(struct reader *r)
{
	if (next(r) || next(r)) /* start of the stream, of the document */
		return -1;
	if (r->event.type == YAML_STREAM_END_EVENT)
		return 0; /* nothing but comments: all defaults */
	if (next(r))
		return -1;
	if (r->event.type == YAML_MAPPING_START_EVENT) {
		if (read_mapping(r, ""))
			return -1;
	} else if (r->event.type != YAML_SCALAR_EVENT || !is_null(r)) {
		return bad(r, line(r), "expected keys such as \"state_dir: /var/lib/modelmapd\"");
	}
	if (next(r) || next(r)) /* end of the document */
		return -1;
	return r->event.type == YAML_STREAM_END_EVENT ? 0 : bad(r, line(r), "a second document: only one is read");
}

int mm_config_parse(struct mm_config *c, const char *text, size_t len, const char *name, struct mm_err *err)
{
	struct reader r = { .cfg = c, .name = name, .err = err };
	int rc = -1;
	if (!(r.line_of = mm_calloc(mm_n_keys, sizeof *r.line_of, err)))
		return -1;
	if (!yaml_parser_initialize(&r.yaml)) {
		mm_free(r.line_of);
		return mm_fail(err, MM_ENOMEM, "%s: out of memory", name);
	}
	yaml_parser_set_encoding(&r.yaml, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.yaml, (const unsigned char *)text, len);
	rc = read_stream(&r);
	if (r.has_event)
		yaml_event_delete(&r.event);
	yaml_parser_delete(&r.yaml);
	mm_free(r.line_of);
	return rc;
}
