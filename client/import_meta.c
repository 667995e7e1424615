/* import_meta.c - what is known of models that are imported, as a table: CSV (or tabs, or semicolons) with a first line
 * that names the columns, or a JSON object a line. One column is `name`; any of family, params, bytes, dtype, date,
 * run, step may be there. An empty cell, or null, says nothing. What cannot be read is an error with its line and
 * column: a table of one's own can be put right, and a wrong figure would go unnoticed.
 *
 * The result is {name: {argument: value}}, as the daemon's `import` takes them. */
#include "client/client.h"
#include "base/csv.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define META_MAX    ((size_t)256 << 20)
#define COLUMNS_MAX 64

enum kind { NAME, TEXT, COUNT, SIZE, DATE, STEP };
static const struct field {
	const char *name;
	enum kind kind;
	const char *what;
} fields[] = {
	{ "name", NAME, "a name" },
	{ "family", TEXT, "a name of at most 256 bytes" },
	{ "params", COUNT, "a number of parameters (7B, 350M, 124439808)" },
	{ "bytes", SIZE, "a size (8G, 512M, 1048576)" },
	{ "dtype", TEXT, "an element type" },
	{ "date", DATE, "a day (2024-05-31), a time (2024-05-31T12:00) or unix seconds" },
	{ "run", TEXT, "a name of at most 256 bytes" },
	{ "step", STEP, "a step (0, 1000)" },
};

struct reader {
	const char *path;
	json_t *out;	     /* [names] */
	const json_t *known; /* names of the matrix */
	size_t line, column; /* of the cell at hand; column 0: not in columns */
};

static int bad(const struct reader *r, const struct field *f, const char *cell, struct mm_err *err)
{
	char where[64] = "";
	if (r->column)
		snprintf(where, sizeof where, ", column %zu", r->column);
	return mm_fail(err, MM_EFORMAT, "%s: line %zu%s (%s): \"%.80s\" is not %s", r->path, r->line, where, f->name,
		cell, f->what);
}

static bool digits(const char *s)
{
	return *s && strlen(s) < 19 && strspn(s, "0123456789") == strlen(s);
}

/* Days are of UTC: the same table says the same everywhere. */
static bool date_of(const char *s, int64_t *out)
{
	struct tm tm = { 0 };
	const char *end = strptime(s, "%Y-%m-%d", &tm);
	if (digits(s)) {
		*out = strtoll(s, NULL, 10);
		return strlen(s) >= 9 && *out > 0 && *out < 253402300800;
	}
	if (end && (*end == 'T' || *end == ' ')) {
		const char *seconds = strptime(end + 1, "%H:%M", &tm);
		end = seconds && *seconds == ':' ? strptime(seconds, ":%S", &tm) : seconds;
	}
	if (!end || strcmp(*end == 'Z' ? end + 1 : end, "") != 0)
		return false;
	*out = (int64_t)timegm(&tm);
	return *out > 0;
}

static json_t *value_of(const struct field *f, const char *cell)
{
	struct mm_err ignored;
	int64_t v = 0;
	uint64_t size = 0;
	switch (f->kind) {
	case COUNT:
		return mm_count_parse(cell, &v) ? json_integer(v) : NULL;
	case SIZE:
		if (!(*cell >= '0' && *cell <= '9') || mm_parse_size(cell, &size, &ignored) || !size ||
			size > UINT64_C(9000000000000000))
			return NULL;
		return json_integer((json_int_t)size);
	case DATE:
		return date_of(cell, &v) ? json_integer(v) : NULL;
	case STEP:
		return digits(cell) && strlen(cell) < 16 ? json_integer(strtoll(cell, NULL, 10)) : NULL;
	default:
		return strlen(cell) <= 256 ? json_string(cell) : NULL;
	}
}

/* One cell of a model, "" says nothing. */
static int take(const struct reader *r, json_t *model, const struct field *f, const char *cell, struct mm_err *err)
{
	if (!*cell || f->kind == NAME)
		return 0;
	json_t *v = value_of(f, cell);
	if (!v)
		return bad(r, f, cell, err);
	return json_object_set_new(model, f->name, v) ? mm_fail(err, MM_ENOMEM, "out of memory") : 0;
}

/* The model that a line is about; its name as the names' file has it. */
static json_t *model_of(struct reader *r, const char *name, struct mm_err *err)
{
	if (!*name || !json_object_get(r->known, name)) {
		mm_fail(err, MM_EFORMAT, "%s: line %zu: %s\"%.200s\"", r->path, r->line,
			*name ? "--names has no model " : "it has no name ", name);
		return NULL;
	}
	if (json_object_get(r->out, name)) {
		mm_fail(err, MM_EFORMAT, "%s: line %zu: %.200s has a line already", r->path, r->line, name);
		return NULL;
	}
	json_t *o = json_object();
	json_object_set_new(r->out, name, o);
	return o;
}

static const struct field *field_of(const char *name)
{
	for (size_t i = 0; i < MM_COUNT(fields); i++)
		if (!strcmp(fields[i].name, name) || (i == 0 && !strcmp(name, "model")))
			return &fields[i];
	return NULL;
}

/* ---- a table ---- */

/* Which field a column is; also the text of all that there are. */
static int column_add(
	const struct field **column, size_t n, const char *name, const struct reader *r, struct mm_err *err)
{
	if (n == COLUMNS_MAX)
		return mm_fail(err, MM_EFORMAT, "%s: line %zu has more than %d columns", r->path, r->line, COLUMNS_MAX);
	if (!(column[n] = field_of(name))) {
		char known[256] = "";
		for (size_t i = 0; i < MM_COUNT(fields); i++)
			snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
				fields[i].name);
		return mm_fail(err, MM_EFORMAT, "%s: line %zu, column %zu: there is no field \"%.80s\", but %s",
			r->path, r->line, n + 1, name, known);
	}
	for (size_t i = 0; i < n; i++)
		if (column[i] == column[n])
			return mm_fail(err, MM_EFORMAT, "%s: line %zu, column %zu: %s is there twice", r->path, r->line,
				n + 1, name);
	return 0;
}

/* The cells of a row, cell[at most COLUMNS_MAX]; returns how many there are, 0: an error. */
static size_t next_row(struct mm_csv_cut *cut, char **cell, struct reader *r, struct mm_err *err)
{
	size_t n = 0;
	r->line = cut->at;
	do {
		char *s = mm_csv_field(cut, err);
		if (!s)
			return (void)mm_wrap(err, "%s", r->path), 0;
		if (n < COLUMNS_MAX)
			cell[n] = s;
		n++;
	} while (!cut->row_over);
	return n;
}

static int table(struct reader *r, char *text, size_t len, struct mm_err *err)
{
	struct mm_csv_cut cut;
	const struct field *column[COLUMNS_MAX];
	char *cell[COLUMNS_MAX];
	size_t name_at = COLUMNS_MAX, n_column, n;
	mm_csv_begin(&cut, text, len);
	if (!(n_column = next_row(&cut, cell, r, err)))
		return -1;
	for (size_t i = 0; i < n_column; i++) {
		if (column_add(column, i, i < COLUMNS_MAX ? cell[i] : "", r, err))
			return -1;
		name_at = column[i]->kind == NAME ? i : name_at;
	}
	if (name_at == COLUMNS_MAX)
		return mm_fail(err, MM_EFORMAT, "%s: line %zu has no column name", r->path, r->line);
	while (cut.p < cut.end) {
		if (mm_csv_blank(&cut))
			continue;
		if (!(n = next_row(&cut, cell, r, err)))
			return -1;
		if (n != n_column)
			return mm_fail(err, MM_EFORMAT, "%s: line %zu has %zu columns, the first line has %zu", r->path,
				r->line, n, n_column);
		json_t *o = model_of(r, cell[name_at], err);
		if (!o)
			return -1;
		for (r->column = 1; r->column <= n; r->column++)
			if (take(r, o, column[r->column - 1], cell[r->column - 1], err))
				return -1;
	}
	return 0;
}

/* ---- JSON, an object a line ---- */

static int object(struct reader *r, const json_t *line, struct mm_err *err)
{
	const char *key, *name = json_string_value(json_object_get(line, "name"));
	json_t *v, *o;
	char number[64];
	if (!json_is_object(line))
		return mm_fail(err, MM_EFORMAT, "%s: line %zu is no object", r->path, r->line);
	if (!name && !(name = json_string_value(json_object_get(line, "model"))))
		name = "";
	if (!(o = model_of(r, name, err)))
		return -1;
	json_object_foreach ((json_t *)(uintptr_t)line, key, v) {
		const struct field *f = field_of(key);
		if (!f)
			return mm_fail(
				err, MM_EFORMAT, "%s: line %zu: there is no field \"%.80s\"", r->path, r->line, key);
		const char *cell = json_is_string(v) ? json_string_value(v) : json_is_null(v) ? "" : NULL;
		if (json_is_number(v) && f->kind != TEXT && f->kind != NAME) {
			snprintf(number, sizeof number, "%.*f", json_is_integer(v) ? 0 : 6, json_number_value(v));
			char *dot = strstr(number, ".000000");
			if (json_is_integer(v))
				snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
			else if (dot)
				*dot = 0;
			cell = number;
		}
		if (!cell)
			return bad(r, f, json_is_true(v) ? "true" : json_is_number(v) ? "a number" : "this", err);
		if (take(r, o, f, cell, err))
			return -1;
	}
	return 0;
}

static int lines(struct reader *r, char *text, struct mm_err *err)
{
	for (char *p = text; *p; p += *p == '\n') {
		size_t n = strcspn(p, "\n");
		r->line++;
		if (strspn(p, " \t\r") < n) {
			json_t *o = mm_json_parse(p, n, "it", err);
			int rc = o ? object(r, o, err) : mm_wrap(err, "%s: line %zu", r->path, r->line);
			json_decref(o);
			if (rc)
				return -1;
		}
		p += n;
	}
	return 0;
}

json_t *mm_import_meta(const char *path, const char *const *name, size_t n, struct mm_err *err)
{
	size_t len;
	json_t *known = json_object();
	struct reader r = { .path = path, .out = json_object(), .known = known };
	char *text = mm_file_read(path, META_MAX, &len, err);
	int rc = text ? 0 : -1;
	for (size_t i = 0; i < n; i++)
		json_object_set_new(known, name[i], json_true());
	if (!rc && (strlen(text) != len || !mm_utf8_valid(text, len)))
		rc = mm_fail(err, MM_EFORMAT, "%s is no UTF-8 text", path);
	char *from = text && !strncmp(text, "\xEF\xBB\xBF", 3) ? text + 3 : text;
	if (!rc)
		rc = from[strspn(from, " \t\r\n")] == '{' ? lines(&r, from, err)
							  : table(&r, from, len - (size_t)(from - text), err);
	mm_free(text);
	json_decref(known);
	if (rc) {
		json_decref(r.out);
		return NULL;
	}
	return r.out;
}
