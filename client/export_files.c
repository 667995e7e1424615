/* export_files.c - models and vectors as tables: a CSV with a row for each model, and a directory for TensorBoard's
 * projector (https://projector.tensorflow.org or `tensorboard --logdir DIR`):
 *
 *	vectors.tsv             a row for each model, a column for each text: its log-likelihood, raised to the epoch's
 *	                        threshold and centred both ways, so that the squared distance of two rows over the
 *number of texts is twice their KL divergence in nats per text, as on the map metadata.tsv            the same rows:
 *name, family, parameters, ... projector_config.pbtxt  which of the two is what
 *
 * The vectors pass through an unnamed file, not through memory: a large map has gigabytes of them. */
#include "client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void mm_csv_put(struct mm_buf *b, const char *s)
{
	if (!strpbrk(s, ",\"\r\n")) {
		mm_buf_str(b, s);
		return;
	}
	mm_buf_u8(b, '"');
	for (; *s; s++) {
		if (*s == '"')
			mm_buf_u8(b, '"');
		mm_buf_u8(b, (uint8_t)*s);
	}
	mm_buf_u8(b, '"');
}

/* TSV has no quotes: what would end a cell is written with a backslash, what a reader could choke on is U+FFFD. */
void mm_tsv_put(struct mm_buf *b, const char *s)
{
	size_t n = strlen(s);
	for (size_t i = 0; i < n;) {
		uint32_t cp = 0;
		unsigned k = mm_utf8_decode((const uint8_t *)s + i, n - i, &cp);
		if (cp == '\t' || cp == '\n' || cp == '\r' || cp == '\\')
			mm_buf_printf(b, "\\%c", cp == '\t' ? 't' : cp == '\n' ? 'n' : cp == '\r' ? 'r' : '\\');
		else if (!k || cp < 0x20 || (cp >= 0x7F && cp < 0xA0) || cp == 0x2028 || cp == 0x2029)
			mm_buf_str(b, "\xEF\xBF\xBD");
		else
			mm_buf_put(b, s + i, k);
		i += k ? k : 1;
	}
}

/* ---- what is told of a model ---- */

static const char *const columns[] = { "name", "state", "family", "params", "bytes", "dtype", "bits_per_byte",
	"mean_loglik", "run", "step", "same_as", "scored_at", "note" };

typedef void (*put_fn)(struct mm_buf *b, const char *s);

static void head(struct mm_buf *b, char sep, const char *const *more, size_t n_more)
{
	for (size_t i = 0; i < MM_COUNT(columns); i++)
		mm_buf_printf(b, "%.*s%s", i > 0, &sep, columns[i]);
	for (size_t i = 0; i < n_more; i++)
		mm_buf_printf(b, "%c%s", sep, more[i]);
}

static void cells(struct mm_buf *b, const json_t *m, char sep, put_fn put)
{
	for (size_t i = 0; i < MM_COUNT(columns); i++) {
		const json_t *v = json_object_get(m, columns[i]);
		if (i)
			mm_buf_u8(b, (uint8_t)sep);
		if (json_is_string(v))
			put(b, json_string_value(v));
		else if (json_is_integer(v))
			mm_buf_printf(b, "%lld", (long long)json_integer_value(v));
		else if (json_is_real(v))
			mm_buf_printf(b, "%.9g", json_real_value(v));
	}
}

static json_t *by_name(const json_t *list)
{
	json_t *index = json_object(), *o;
	size_t i;
	json_array_foreach ((json_t *)(uintptr_t)list, i, o)
		json_object_set(index, mm_str(o, "name"), o);
	return index;
}

/* ---- CSV ---- */

int mm_export_csv(struct mm_cli *c, const char *path, struct mm_err *err)
{
	static const char *const more[] = { "x", "y", "z", "open_alerts" };
	json_t *models = NULL, *map = NULL, *alerts = NULL, *m, *args = json_object();
	struct mm_buf b = { 0 };
	struct mm_err ignored = { 0 };
	size_t i, k;
	if (c->o.method)
		json_object_set_new(args, "method", json_string(c->o.method));
	if (c->o.dim)
		json_object_set_new(args, "dim", json_integer(c->o.dim));
	if (c->o.epoch)
		json_object_set_new(args, "epoch", json_integer(c->o.epoch));
	int rc = mm_cli_call(c, "models", NULL, &models, err);
	if (rc)
		json_decref(args);
	else if (mm_cli_call(c, "map", args, &map, err) && (c->o.method || c->o.epoch || c->o.dim))
		rc = -1;
	if (!rc && mm_cli_call(c, "alerts", NULL, &alerts, &ignored))
		alerts = NULL;
	json_t *places = by_name(json_object_get(map, "points"));
	head(&b, ',', more, MM_COUNT(more));
	mm_buf_str(&b, "\r\n");
	json_array_foreach (json_object_get(models, "models"), i, m) {
		const json_t *p = json_object_get(places, mm_str(m, "name")), *a;
		size_t n_open = 0;
		cells(&b, m, ',', mm_csv_put);
		for (k = 0; k < 3; k++)
			if (json_is_number(json_object_get(p, more[k])))
				mm_buf_printf(&b, ",%.9g", mm_num(p, more[k], 0));
			else
				mm_buf_u8(&b, ',');
		json_array_foreach (json_object_get(alerts, "alerts"), k, a)
			n_open += !strcmp(mm_str(a, "state"), "open") && !strcmp(mm_str(a, "model"), mm_str(m, "name"));
		mm_buf_printf(&b, ",%zu\r\n", n_open);
	}
	if (!rc)
		rc = mm_buf_check(&b, err) ? -1 : mm_file_give(c, path, b.data, b.len, err);
	mm_buf_fini(&b);
	json_decref(places);
	json_decref(models);
	json_decref(map);
	json_decref(alerts);
	return rc;
}

/* ---- TensorBoard ---- */

struct spool { /* the .npy of all vectors, mapped */
	int fd;
	void *map;
	size_t size;
	struct mm_npy npy;
};

static int spool_write(void *ctx, const void *data, size_t n, struct mm_err *err)
{
	struct mm_part p = { .path = "temporary file", .fd = ((struct spool *)ctx)->fd };
	return mm_part_write(&p, data, n, err);
}

static int spool_open(struct spool *s, const char *dir, struct mm_err *err)
{
	*s = (struct spool){ .fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) };
	if (s->fd < 0) { /* a file system without such files */
		char *name = mm_asprintf(err, "%s/vectors.part-%ld", dir, (long)getpid());
		if (!name)
			return -1;
		s->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (s->fd >= 0)
			unlink(name);
		mm_free(name);
	}
	return s->fd < 0 ? mm_fail_errno(err, "cannot write below %s", dir) : 0;
}

static int spool_map(struct spool *s, struct mm_err *err)
{
	off_t end = lseek(s->fd, 0, SEEK_END);
	s->size = end > 0 ? (size_t)end : 0;
	s->map = s->size ? mmap(NULL, s->size, PROT_READ, MAP_PRIVATE, s->fd, 0) : MAP_FAILED;
	if (s->map == MAP_FAILED) {
		s->map = NULL;
		return mm_fail(err, MM_EIO, "cannot read back the vectors");
	}
	if (mm_npy_parse(&s->npy, s->map, s->size, err))
		return -1;
	return s->npy.ndim == 2 && !strcmp(s->npy.descr, "<f4")
		       ? 0
		       : mm_fail(err, MM_EFORMAT, "the daemon's vectors are no matrix of float32");
}

static void spool_close(struct spool *s)
{
	if (s->map)
		munmap(s->map, s->size);
	if (s->fd >= 0)
		close(s->fd);
}

static float at(const struct spool *s, size_t i, double clip)
{
	float v;
	memcpy(&v, s->npy.data + i * sizeof v, sizeof v); /* the header need not leave it aligned */
	return v < clip ? (float)clip : v;
}

static int write_vectors(const struct spool *s, double clip, struct mm_part *p, struct mm_err *err)
{
	size_t k = s->npy.shape[0], n = s->npy.shape[1];
	double *row = mm_calloc(k, sizeof *row, err), *col = row ? mm_calloc(n, sizeof *col, err) : NULL;
	struct mm_buf line = { 0 };
	int rc = col ? 0 : -1;
	for (size_t i = 0; !rc && i < k; i++) {
		for (size_t j = 0; j < n; j++)
			row[i] += (double)at(s, i * n + j, clip) / (double)n;
		for (size_t j = 0; j < n; j++)
			col[j] += ((double)at(s, i * n + j, clip) - row[i]) / (double)k;
	}
	for (size_t i = 0; !rc && i < k; i++) {
		line.len = 0;
		for (size_t j = 0; j < n; j++)
			mm_buf_printf(&line, "%s%.6g", j ? "\t" : "", (double)at(s, i * n + j, clip) - row[i] - col[j]);
		mm_buf_u8(&line, '\n');
		rc = mm_buf_check(&line, err) ? -1 : mm_part_write(p, line.data, line.len, err);
	}
	mm_buf_fini(&line);
	mm_free(col);
	mm_free(row);
	return rc;
}

static double threshold(struct mm_cli *c)
{
	struct mm_err ignored = { 0 };
	json_t *b = NULL, *e;
	double clip = -INFINITY;
	size_t i;
	if (mm_cli_call(c, "epochs", NULL, &b, &ignored))
		return clip;
	json_array_foreach (json_object_get(b, "epochs"), i, e)
		if (mm_int(e, "epoch", -1) == mm_int(b, "epoch", 0))
			clip = mm_num(e, "clip", -INFINITY);
	json_decref(b);
	return clip;
}

static int write_metadata(struct mm_cli *c, const json_t *names, const char *path, struct mm_err *err)
{
	json_t *models = NULL, *v;
	struct mm_buf b = { 0 };
	size_t i;
	if (mm_cli_call(c, "models", NULL, &models, err))
		return -1;
	json_t *index = by_name(json_object_get(models, "models")), *bare = json_object();
	head(&b, '\t', NULL, 0);
	mm_buf_u8(&b, '\n');
	json_array_foreach (names, i, v) {
		const char *name = json_is_string(v) ? json_string_value(v) : "?";
		const json_t *m = json_object_get(index, name);
		if (!m)
			json_object_set_new(bare, "name", json_string(name));
		cells(&b, m ? m : bare, '\t', mm_tsv_put);
		mm_buf_u8(&b, '\n');
	}
	int rc = mm_buf_check(&b, err) ? -1 : mm_file_write(path, b.data, b.len, err);
	mm_buf_fini(&b);
	json_decref(bare);
	json_decref(index);
	json_decref(models);
	return rc;
}

static int fill(struct mm_cli *c, const char *dir, const char *const path[3], struct mm_err *err)
{
	static const char config[] = "embeddings {\n  tensor_name: \"models\"\n  tensor_path: \"vectors.tsv\"\n"
				     "  metadata_path: \"metadata.tsv\"\n}\n";
	struct spool s;
	struct mm_part p;
	json_t *b = NULL;
	double clip = threshold(c);
	int rc = spool_open(&s, dir, err) || mm_cli_call(c, "export", json_pack("{s:s}", "what", "vectors"), &b, err) ||
				 mm_conn_fetch(c->conn, b, spool_write, &s, NULL, err) || spool_map(&s, err)
			 ? -1
			 : 0;
	const json_t *names = json_object_get(b, "names");
	if (!rc && json_array_size(names) != s.npy.shape[0])
		rc = mm_fail(err, MM_EFORMAT, "the daemon names %zu models for %zu vectors", json_array_size(names),
			s.npy.shape[0]);
	if (!rc && !(rc = mm_part_open(&p, path[0], true, 0666, err))) {
		rc = write_vectors(&s, clip, &p, err);
		rc = mm_part_close(&p, !rc, err);
	}
	if (!rc)
		rc = write_metadata(c, names, path[1], err) || mm_file_write(path[2], config, sizeof config - 1, err)
			     ? -1
			     : 0;
	if (!rc)
		mm_say(c, "%s: %zu models, %zu texts for TensorBoard (tensorboard --logdir)", dir, s.npy.shape[0],
			s.npy.shape[1]);
	json_decref(b);
	spool_close(&s);
	return rc;
}

int mm_export_tensorboard(struct mm_cli *c, const char *dir, struct mm_err *err)
{
	static const char *const names[] = { "vectors.tsv", "metadata.tsv", "projector_config.pbtxt" };
	char *path[3] = { NULL };
	int rc = mm_mkdirs(dir, 0777, err);
	for (size_t i = 0; !rc && i < MM_COUNT(names); i++)
		rc = (path[i] = mm_path_join(dir, names[i], err)) ? 0 : -1;
	if (!rc)
		rc = fill(c, dir, (const char *const *)path, err);
	for (size_t i = 0; i < MM_COUNT(names); i++)
		mm_free(path[i]);
	return rc;
}
