/* http_page.c - the page for a browser: the files of one directory, read once at the start. Paths of requests are
 * looked up among their names and never reach the file system, so that none can lead out of it.
 */
#include "daemon/http_priv.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILES 64
#define MAX_BYTES ((size_t)8 << 20) /* of one */

struct mm_http_page {
	size_t n;
	struct {
		char *path; /* "/assets/index.js" */
		const char *type;
		char *data;
		size_t len;
	} file[MAX_FILES];
};

static const struct {
	const char *end, *type;
} types[] = {
	{ ".html", "text/html; charset=utf-8" },
	{ ".js", "text/javascript; charset=utf-8" },
	{ ".css", "text/css; charset=utf-8" },
	{ ".svg", "image/svg+xml" },
	{ ".png", "image/png" },
	{ ".woff2", "font/woff2" },
};

static const char *type_of(const char *name)
{
	size_t n = strlen(name);
	for (size_t i = 0; i < MM_COUNT(types); i++) {
		size_t k = strlen(types[i].end);
		if (n > k && !strcmp(name + n - k, types[i].end))
			return types[i].type;
	}
	return NULL;
}

void mm_http_page_free(struct mm_http_page *p)
{
	for (size_t i = 0; p && i < p->n; i++) {
		mm_free(p->file[i].path);
		mm_free(p->file[i].data);
	}
	mm_free(p);
}

/* The files of dir/sub that have a known type, under the path "/sub" and their name. */
static int take_dir(struct mm_http_page *p, const char *dir, const char *sub, struct mm_err *err)
{
	char *from = mm_asprintf(err, "%s%s", dir, sub);
	DIR *d = from ? opendir(from) : NULL;
	int rc = from ? 0 : -1;
	struct dirent *e;
	while (!rc && d && (e = readdir(d))) {
		const char *type = type_of(e->d_name);
		if (!type || e->d_name[0] == '.')
			continue;
		if (p->n == MAX_FILES) {
			rc = mm_fail(err, MM_EINVAL, "%s has more than %d files", dir, MAX_FILES);
			break;
		}
		char *file = mm_asprintf(err, "%s/%s", from, e->d_name);
		p->file[p->n].type = type;
		p->file[p->n].path = file ? mm_asprintf(err, "%s/%s", sub, e->d_name) : NULL;
		p->file[p->n].data = p->file[p->n].path ? mm_file_read(file, MAX_BYTES, &p->file[p->n].len, err) : NULL;
		mm_free(file);
		rc = p->file[p->n++].data ? 0 : -1;
	}
	if (d)
		closedir(d);
	mm_free(from);
	return rc;
}

int mm_http_page_find(const struct mm_http_page *p, const char *path, size_t len)
{
	if (len == 1 && path[0] == '/') {
		path = "/index.html";
		len = strlen(path);
	}
	for (size_t i = 0; p && i < p->n; i++)
		if (strlen(p->file[i].path) == len && !memcmp(p->file[i].path, path, len))
			return (int)i;
	return -1;
}

struct mm_http_page *mm_http_page_load(const char *dir, struct mm_err *err)
{
	struct mm_http_page *p = mm_calloc(1, sizeof *p, err);
	if (!p)
		return NULL;
	int rc = take_dir(p, dir, "", err) || take_dir(p, dir, "/assets", err);
	if (!rc && mm_http_page_find(p, "/", 1) < 0)
		rc = mm_fail(err, MM_ENOENT, "%s: no index.html in it", dir);
	if (!rc)
		return p;
	mm_http_page_free(p);
	return NULL;
}

char *mm_http_page_installed(struct mm_err *err)
{
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	for (int up = 0; n > 0 && up < 2; up++) {
		exe[n] = 0;
		char *slash = strrchr(exe, '/');
		n = slash ? slash - exe : 0;
	}
	if (n <= 0)
		return NULL;
	exe[n] = 0;
	char *index = mm_asprintf(err, "%s/share/modelmapd/web/index.html", exe);
	if (index && !access(index, R_OK)) {
		*strrchr(index, '/') = 0;
		return index;
	}
	mm_free(index);
	return NULL;
}

enum MHD_Result mm_http_page_send(struct mm_http_req *q, int i)
{
	const struct mm_http_page *p = q->h->page;
	return mm_http_send(q, MHD_HTTP_OK, p->file[i].type,
		MHD_create_response_from_buffer(p->file[i].len, p->file[i].data, MHD_RESPMEM_PERSISTENT));
}
