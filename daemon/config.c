/* config.c - the configuration as a whole: defaults, loading, what must hold between settings, what a reload changes.
 */
#include "daemon/config_priv.h"
#include "daemon/http.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define FILE_MAX (1u << 20)

int mm_config_defaults(struct mm_config *c, struct mm_err *err)
{
	memset(c, 0, sizeof *c);
	for (size_t i = 0; i < mm_n_keys; i++) {
		if (mm_key_set(c, &mm_keys[i], mm_keys[i].def, err)) {
			mm_config_free(c);
			return mm_wrap(err, "default of %s", mm_keys[i].name);
		}
	}
	return 0;
}

void mm_config_free(struct mm_config *c)
{
	for (size_t i = 0; i < mm_n_keys; i++)
		mm_key_clear(c, &mm_keys[i]);
	memset(c, 0, sizeof *c);
}

/* ---- paths ---- */

/* Directory of a file, absolute. */
static char *dir_of(const char *path, struct mm_err *err)
{
	char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);
	if (path[0] != '/' && !cwd) {
		mm_fail_errno(err, "cannot tell the working directory");
		return NULL;
	}
	char *full = mm_path_join(cwd ? cwd : "", path, err);
	free(cwd);
	if (full)
		*(strrchr(full, '/') == full ? full + 1 : strrchr(full, '/')) = 0;
	return full;
}

static int make_absolute(char **p, const char *dir, size_t prefix, struct mm_err *err)
{
	if (!*p || (*p)[prefix] == '/' || !(*p)[prefix])
		return 0;
	char *full = mm_path_join(dir, *p + prefix, err);
	char *whole = full ? mm_asprintf(err, "%.*s%s", (int)prefix, *p, full) : NULL;
	mm_free(full);
	if (!whole)
		return -1;
	mm_free(*p);
	*p = whole;
	return 0;
}

static int absolute_paths(struct mm_config *c, const char *dir, struct mm_err *err)
{
	for (size_t i = 0; i < mm_n_keys; i++) {
		const struct mm_key_row *k = &mm_keys[i];
		char **text = mm_key_at(c, k);
		if (k->type == MM_K_PATH && make_absolute(text, dir, 0, err))
			return -1;
		if (k->type == MM_K_ENDPOINT && *text && !strncmp(*text, "ipc://", 6) &&
			make_absolute(text, dir, 6, err))
			return -1;
	}
	for (size_t i = 0; i < c->watch.n_dirs; i++)
		if (make_absolute(&c->watch.dirs[i], dir, 0, err))
			return -1;
	return 0;
}

/* PREFIX/bin/modelmapd has its texts in PREFIX/share/modelmapd, wherever PREFIX was moved to. */
static char *installed_texts(struct mm_err *err)
{
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	for (int up = 0; n > 0 && up < 2; up++) {
		exe[n] = 0;
		char *slash = strrchr(exe, '/');
		n = slash ? slash - exe : 0;
	}
	if (n > 0) {
		exe[n] = 0;
		char *beside = mm_asprintf(err, "%s/share/modelmapd/texts.jsonl", exe);
		if (!beside || !access(beside, R_OK))
			return beside;
		mm_free(beside);
	}
	return mm_strdup(MM_PREFIX "/share/modelmapd/texts.jsonl", err);
}

/* ---- what must hold between settings ---- */

static int check_endpoint(const struct mm_config *c, const char *key, const char *ep, struct mm_err *err)
{
	if (!ep)
		return 0;
	const char *rest = ep + 6;
	if (!strncmp(ep, "ipc://", 6)) {
		if (!rest[0] || rest[strlen(rest) - 1] == '/')
			return mm_fail(err, MM_EINVAL, "%s: %s names no socket", key, ep);
		if (strlen(rest) >= sizeof((struct sockaddr_un *)0)->sun_path)
			return mm_fail(err, MM_EINVAL, "%s: the path of a socket has at most %zu bytes, this one %zu",
				key, sizeof((struct sockaddr_un *)0)->sun_path - 1, strlen(rest));
		return 0;
	}
	const char *colon = strrchr(rest, ':');
	if (!colon || colon == rest || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
		strtoul(colon + 1, NULL, 10) > 65535)
		return mm_fail(err, MM_EINVAL, "%s: %s is not tcp://HOST:PORT", key, ep);
	if (!c->curve.server_secret || !c->curve.client_keys)
		return mm_fail(err, MM_EINVAL,
			"%s: %s needs curve.server_secret and curve.client_keys: nothing is offered unencrypted or to "
			"everybody",
			key, ep);
	return 0;
}

/* `a` lies in `b` or is it. */
static bool within(const char *a, const char *b)
{
	size_t n = strlen(b);
	while (n > 1 && b[n - 1] == '/')
		n--;
	return !strncmp(a, b, n) && (n == 1 || !a[n] || a[n] == '/');
}

static int check(const struct mm_config *c, struct mm_err *err)
{
	if (check_endpoint(c, "control", c->control, err) || check_endpoint(c, "query", c->query, err) ||
		check_endpoint(c, "events", c->events, err))
		return -1;
	struct mm_http_addr http;
	if (c->http.listen && mm_http_addr_parse(c->http.listen, &http, err))
		return mm_wrap(err, "http.listen");
	if (c->http.listen && !http.loopback && !c->http.token_file)
		return mm_fail(err, MM_EINVAL,
			"http.listen: %s can be reached from other machines and needs http.token_file", c->http.listen);
	if (!strcmp(c->control, c->events) ||
		(c->query && (!strcmp(c->query, c->control) || !strcmp(c->query, c->events))))
		return mm_fail(err, MM_EINVAL, "control, query and events must be different endpoints");
	for (size_t i = 0; i < c->watch.n_dirs; i++) {
		if (within(c->state_dir, c->watch.dirs[i]))
			return mm_fail(err, MM_EINVAL, "state_dir %s lies in the watched directory %s", c->state_dir,
				c->watch.dirs[i]);
		for (size_t k = 0; k < c->watch.n_dirs; k++)
			if (k != i && within(c->watch.dirs[i], c->watch.dirs[k]))
				return mm_fail(err, MM_EINVAL,
					"watch.dirs: %s lies in %s, which is watched with all below it",
					c->watch.dirs[i], c->watch.dirs[k]);
	}
	return 0;
}

int mm_config_load(struct mm_config *c, const char *path, struct mm_err *err)
{
	size_t len;
	char *text = NULL, *dir = NULL;
	if (mm_config_defaults(c, err))
		return -1;
	if (!(text = mm_file_read(path, FILE_MAX, &len, err)) || mm_config_parse(c, text, len, path, err) ||
		!(dir = dir_of(path, err)) || absolute_paths(c, dir, err))
		goto fail;
	if (check(c, err)) {
		mm_wrap(err, "%s", path);
		goto fail;
	}
	if (!c->texts && !(c->texts = installed_texts(err)))
		goto fail;
	mm_free(text);
	mm_free(dir);
	return 0;
fail:
	mm_free(text);
	mm_free(dir);
	mm_config_free(c);
	return -1;
}

/* ---- reload ---- */

size_t mm_config_changed(const struct mm_config *a, const struct mm_config *b, bool restart, struct mm_buf *names)
{
	size_t n = 0;
	for (size_t i = 0; i < mm_n_keys; i++) {
		const struct mm_key_row *k = &mm_keys[i];
		if (!!(k->flags & MM_K_RESTART) != restart || mm_key_same(a, b, k))
			continue;
		mm_buf_printf(names, "%s%s%s%s", n ? ", " : "", k->section, k->section[0] ? "." : "", k->name);
		n++;
	}
	return n;
}

void mm_config_swap_fixed(struct mm_config *a, struct mm_config *b)
{
	for (size_t i = 0; i < mm_n_keys; i++)
		if (mm_keys[i].flags & MM_K_RESTART)
			mm_key_swap(a, b, &mm_keys[i]);
}

enum mm_log_level mm_config_log_level(const struct mm_config *c)
{
	static const struct {
		const char *name;
		enum mm_log_level level;
	} levels[] = { { "error", MM_LOG_ERROR }, { "warning", MM_LOG_WARN }, { "notice", MM_LOG_NOTICE },
		{ "info", MM_LOG_INFO }, { "debug", MM_LOG_DEBUG } };
	for (size_t i = 0; c->log_level && i < MM_COUNT(levels); i++)
		if (!strcmp(levels[i].name, c->log_level))
			return levels[i].level;
	return MM_LOG_INFO;
}
