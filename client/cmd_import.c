/* cmd_import.c - models of others begin a map of one's own: a matrix of log-likelihoods with its names and its text set
 * becomes imported models. And `forget`, which takes them off the map again.
 *
 * Everything is checked before the first row is sent: the shape against names and texts, the hash of the texts against
 * the daemon's, every number. Rows go in batches of BATCH, each one transaction of the daemon. What was sent before is
 * found there again, so an import that was cut short is simply repeated. One refit ends it. */
#include "client/client.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH	   64
#define PIECE	   ((size_t)44997) /* bytes of a request: 59,996 characters of base64 */
#define NAMES_MAX  ((size_t)256 << 20)
#define NAME_MAX_B 1024
#define ABOVE_ZERO 1e-2

struct matrix {
	struct mm_map file;
	struct mm_npy npy;
	size_t k, n; /* models, texts */
	bool f64;
	char *text;	   /* the names' file, cut at its line ends */
	const char **name; /* [k] */
	char hash[MM_HASH_HEX];
	json_t *meta; /* {name: figures}; NULL: none */
};

static void matrix_free(struct matrix *m)
{
	mm_map_close(&m->file);
	mm_free(m->name);
	mm_free(m->text);
	json_decref(m->meta);
}

static double at(const struct matrix *m, size_t i)
{
	float f;
	double d;
	if (m->f64) {
		memcpy(&d, m->npy.data + 8 * i, 8);
		return d;
	}
	memcpy(&f, m->npy.data + 4 * i, 4);
	return (double)f;
}

static int load_matrix(struct matrix *m, const char *path, struct mm_err *err)
{
	if (mm_map_open(&m->file, path, err) || mm_npy_parse(&m->npy, m->file.data, m->file.size, err))
		return mm_wrap(err, "%s", path);
	m->f64 = !strcmp(m->npy.descr, "<f8");
	if (m->npy.ndim != 2 || (!m->f64 && strcmp(m->npy.descr, "<f4") != 0))
		return mm_fail(err, MM_EFORMAT,
			"%s: expected a matrix (models x texts) of <f4 or <f8, this has %zu dimensions of %s", path,
			m->npy.ndim, m->npy.descr);
	m->k = m->npy.shape[0];
	m->n = m->npy.shape[1];
	return m->k && m->n ? 0 : mm_fail(err, MM_EFORMAT, "%s: the matrix is empty (%zu x %zu)", path, m->k, m->n);
}

static int cmp_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names that the daemon would make one would end as one model. */
static int check_names(const struct matrix *m, const char *path, struct mm_err *err)
{
	const char **sorted = mm_calloc(m->k, sizeof *sorted, err);
	int rc = sorted ? 0 : -1;
	if (sorted) {
		memcpy(sorted, m->name, m->k * sizeof *sorted);
		qsort(sorted, m->k, sizeof *sorted, cmp_name);
	}
	for (size_t i = 1; !rc && i < m->k; i++)
		if (!strcmp(sorted[i - 1], sorted[i]))
			rc = mm_fail(err, MM_EFORMAT, "%s: two models are called %s", path, sorted[i]);
	mm_free(sorted);
	return rc;
}

static int load_names(struct matrix *m, const char *path, struct mm_err *err)
{
	size_t len, n = 0;
	if (!(m->text = mm_file_read(path, NAMES_MAX, &len, err)) || !(m->name = mm_calloc(m->k, sizeof *m->name, err)))
		return -1;
	if (strlen(m->text) != len || !mm_utf8_valid(m->text, len))
		return mm_fail(err, MM_EFORMAT, "%s is no UTF-8 text", path);
	for (char *p = m->text, *end; *p; p = end, n++) {
		size_t w = strcspn(p, "\n");
		end = p + w + (p[w] == '\n');
		p[w] = 0;
		if (w && p[w - 1] == '\r')
			p[--w] = 0;
		if (!w || w > NAME_MAX_B)
			return mm_fail(
				err, MM_EFORMAT, "%s: line %zu: a name has 1 to %d bytes", path, n + 1, NAME_MAX_B);
		for (char *c = p; *c; c++) /* as names of directories are shown */
			if ((unsigned char)*c < 0x20 || *c == 0x7F)
				*c = '?';
		if (n < m->k)
			m->name[n] = p;
	}
	if (n != m->k)
		return mm_fail(err, MM_EFORMAT, "%s has %zu names, the matrix has %zu rows", path, n, m->k);
	return check_names(m, path, err);
}

static int load_texts(struct matrix *m, const char *path, struct mm_err *err)
{
	struct mm_texts t = { 0 };
	if (mm_texts_load(&t, path, err))
		return mm_wrap(err, "%s", path);
	mm_hash_hex(t.hash, m->hash);
	size_t n = t.n;
	mm_texts_free(&t);
	return n == m->n ? 0 : mm_fail(err, MM_EFORMAT, "%s has %zu texts, the matrix has %zu columns", path, n, m->n);
}

static int check_values(const struct matrix *m, struct mm_err *err)
{
	for (size_t i = 0; i < m->k; i++)
		for (size_t j = 0; j < m->n; j++) {
			double v = at(m, i * m->n + j);
			if (!isfinite(v) || v > ABOVE_ZERO || !isfinite((double)(float)v))
				return mm_fail(err, MM_EFORMAT,
					"%s (row %zu), text %zu: %g is no log-likelihood in nats", m->name[i], i, j, v);
		}
	return 0;
}

static int same_texts(struct mm_cli *c, const struct matrix *m, struct mm_err *err)
{
	json_t *b;
	if (mm_cli_call(c, "status", NULL, &b, err))
		return -1;
	const json_t *t = json_object_get(b, "texts");
	int rc = 0;
	if (strcmp(mm_str(t, "hash"), m->hash) != 0)
		rc = mm_fail(err, MM_ECONFLICT,
			"%s is another text set (%zu texts, %s) than the daemon's (%lld texts, %s): distances would "
			"mean "
			"nothing. For a map that starts from this matrix: a daemon with texts: %s and a state_dir of "
			"its own",
			c->o.texts, m->n, m->hash, (long long)mm_int(t, "n", 0), mm_str(t, "hash"), c->o.texts);
	json_decref(b);
	return rc;
}

/* ---- sending ---- */

struct sent {
	int64_t token;
	int64_t added, same, replaced, described;
	json_t *kept;
};

static int send_row(struct mm_cli *c, const struct matrix *m, size_t i, bool last, struct sent *s, struct mm_err *err)
{
	size_t n_byte = m->n * sizeof(float);
	float *row = mm_calloc(m->n, sizeof *row, err);
	int rc = row ? 0 : -1;
	for (size_t j = 0; row && j < m->n; j++)
		row[j] = (float)at(m, i * m->n + j);
	for (size_t off = 0; !rc && off < n_byte;) {
		size_t n = MM_MIN(PIECE, n_byte - off);
		bool more = off + n < n_byte;
		struct mm_buf text = { 0 };
		json_t *b = NULL, *kept;
		mm_base64_put(&text, (const char *)row + off, n);
		rc = mm_buf_check(&text, err);
		json_t *args = NULL;
		if (!rc) {
			args = json_pack("{s:I, s:s, s:s, s:I, s:s, s:b, s:b, s:b}", "import", (json_int_t)s->token,
				"texts", m->hash, "name", m->name[i], "offset", (json_int_t)off, "data",
				(const char *)text.data, "more", more, "commit", !more && last, "force", c->o.force);
			json_object_update(args, json_object_get(m->meta, m->name[i]));
			rc = mm_cli_call(c, "import", args, &b, err);
		}
		mm_buf_fini(&text);
		s->added += mm_int(b, "added", 0);
		s->same += mm_int(b, "same", 0);
		s->replaced += mm_int(b, "replaced", 0);
		s->described += mm_int(b, "described", 0);
		if ((kept = json_object_get(b, "kept")))
			json_array_extend(s->kept, kept);
		json_decref(b);
		off += n;
	}
	mm_free(row);
	return rc;
}

static int send_all(struct mm_cli *c, const struct matrix *m, struct sent *s, struct mm_err *err)
{
	bool tty = isatty(STDERR_FILENO) == 1;
	int rc = 0;
	s->token = (int64_t)time(NULL) * 100000 + getpid() % 100000;
	for (size_t i = 0; !rc && i < m->k; i++) {
		rc = send_row(c, m, i, i % BATCH == BATCH - 1 || i + 1 == m->k, s, err);
		if (tty && (i % BATCH == 0 || i + 1 == m->k))
			fprintf(stderr, "\r%3.0f%%%s", 100.0 * (double)(i + 1) / (double)m->k,
				i + 1 == m->k ? "\r    \r" : "");
	}
	return rc;
}

static int tell(struct mm_cli *c, const struct matrix *m, const struct sent *s, int64_t epoch, struct mm_err *err)
{
	char name[2048];
	if (c->o.json) {
		json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:O, s:I}", "models", (json_int_t)m->k, "added",
			(json_int_t)s->added, "same", (json_int_t)s->same, "replaced", (json_int_t)s->replaced,
			"described", (json_int_t)s->described, "kept", s->kept, "epoch", (json_int_t)epoch);
		int rc = o ? mm_json_print(o, &c->term, c->out, err) : mm_fail(err, MM_ENOMEM, "out of memory");
		json_decref(o);
		return rc;
	}
	fprintf(c->out, "%lld models imported", (long long)s->added);
	if (s->replaced)
		fprintf(c->out, ", %lld replaced", (long long)s->replaced);
	if (s->described)
		fprintf(c->out, ", %lld described anew", (long long)s->described);
	if (s->same)
		fprintf(c->out, ", %lld were there already", (long long)s->same);
	fprintf(c->out, "; the map is in epoch %lld.\n", (long long)epoch);
	if (json_array_size(s->kept)) {
		mm_term_clean(&c->term, json_string_value(json_array_get(s->kept, 0)), name, sizeof name);
		fprintf(c->out, "%zu have the names of models that were scored here, which stay as they are: %s%s\n",
			json_array_size(s->kept), name, json_array_size(s->kept) > 1 ? ", ..." : "");
	}
	return 0;
}

/* Whether the epoch there is was made before all that is on the map: of an import whose end was cut off, say. */
static bool epoch_is_old(struct mm_cli *c, int64_t *epoch)
{
	struct mm_err ignored = { 0 };
	json_t *s = NULL, *b = NULL, *e;
	size_t i;
	bool old = true;
	*epoch = 0;
	if (!mm_cli_call(c, "status", NULL, &s, &ignored) && !mm_cli_call(c, "epochs", NULL, &b, &ignored)) {
		*epoch = mm_int(b, "epoch", 0);
		json_array_foreach (json_object_get(b, "epochs"), i, e)
			if (*epoch && mm_int(e, "epoch", 0) == *epoch)
				old = mm_int(e, "models", 0) < mm_int(s, "on_map", 0);
	}
	json_decref(s);
	json_decref(b);
	return old;
}

static int import_it(struct mm_cli *c, const struct matrix *m, struct mm_err *err)
{
	struct sent s = { .kept = json_array() };
	json_t *b = NULL;
	int rc = same_texts(c, m, err) || send_all(c, m, &s, err) ? -1 : 0;
	if (rc && s.added + s.replaced)
		mm_wrap(err, "%lld models are imported, the rest is not (again: the same command)",
			(long long)(s.added + s.replaced));
	int64_t epoch = 0;
	if (!rc && (s.added + s.replaced > 0 || epoch_is_old(c, &epoch))) {
		rc = mm_cli_call(c, "refit", NULL, &b, err);
		epoch = mm_int(b, "epoch", 0);
	}
	if (!rc)
		rc = tell(c, m, &s, epoch, err);
	json_decref(b);
	json_decref(s.kept);
	return rc;
}

int mm_run_import(struct mm_cli *c, struct mm_err *err)
{
	struct matrix m = { 0 };
	if (!c->o.vectors || !c->o.names || !c->o.texts) {
		c->usage = true;
		return mm_fail(err, MM_EINVAL,
			"usage: modelmap import --vectors F.npy --names F.txt --texts F.jsonl [--meta F.csv]");
	}
	int rc = load_matrix(&m, c->o.vectors, err) || load_names(&m, c->o.names, err) ||
				 load_texts(&m, c->o.texts, err) ||
				 (c->o.meta && !(m.meta = mm_import_meta(c->o.meta, m.name, m.k, err))) ||
				 check_values(&m, err) || import_it(c, &m, err)
			 ? -1
			 : 0;
	matrix_free(&m);
	return rc;
}

/* ---- forget ---- */

int mm_run_forget(struct mm_cli *c, struct mm_err *err)
{
	for (size_t i = 0; i < c->n_word; i++) {
		char clean[4096];
		json_t *b;
		if (mm_cli_ask(c, "forget", json_pack("{s:s}", "name", c->word[i]), &b, err))
			return -1;
		if (!b)
			continue;
		mm_term_clean(&c->term, mm_str(b, "model"), clean, sizeof clean);
		fprintf(c->out, "%s: forgotten\n", clean);
		json_decref(b);
	}
	return 0;
}
