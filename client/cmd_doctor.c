/* cmd_doctor.c - looks at everything that the map needs and says what is wrong with it and what to do: settings, text
 * set, programs, daemon, sockets; the machine's limits (doctor_host.c); every directory (doctor_dirs.c). Works without
 * a daemon: what lies below the watched directories is then asked of `modelmapd --explain` and `modelmap-score
 * --probe`.
 *
 * Exit status 0: all is well; 1: there is something to do. */
#include "client/doctor.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/modelmapd/modelmapd.yaml"
#define EXPLAIN_MAX    ((size_t)64 << 20)
#define EXPLAIN_S      300.0

static const char *const level_name[] = { "ok", "warn", "problem" };

void mm_doctor_say(struct mm_doctor *d, enum mm_level level, const char *check, const char *subject, const char *todo,
	const char *fmt, ...)
{
	char text[5000], clean[5000], what[4300], how[2000];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	mm_utf8_sanitize(clean, sizeof clean, text, strlen(text));
	mm_utf8_sanitize(what, sizeof what, subject, strlen(subject));
	mm_utf8_sanitize(how, sizeof how, todo, strlen(todo));
	json_array_append_new(d->lines, json_pack("{s:s, s:s, s:s, s:s, s:s}", "check", check, "subject", what, "level",
						level_name[level], "text", clean, "do", how));
	d->count[level]++;
}

const char *mm_doctor_value(const struct mm_doctor *d, const char *key)
{
	return d->values ? mm_str(d->values, key) : "";
}

/* ---- settings, programs, text set ---- */

static void ask_explain(struct mm_doctor *d)
{
	char program[4200];
	struct mm_buf out = { 0 };
	struct mm_err err = { 0 };
	mm_child_program("modelmapd", program, sizeof program);
	const char *const argv[] = { program, "--explain", d->config, NULL };
	const struct mm_child_call call = { .argv = argv, .max = EXPLAIN_MAX, .timeout = EXPLAIN_S, .quiet = true };
	if (!mm_child_ask(&call, &out, &err))
		d->explain = mm_json_parse((const char *)(out.data ? out.data : (uint8_t *)""), out.len, program, &err);
	mm_buf_fini(&out);
	if (!d->explain) {
		mm_doctor_say(d, MM_PROBLEM, "programs", program, "install it, or look at its rights", "%s", err.text);
		return;
	}
	bool same = !strcmp(mm_str(d->explain, "version"), MM_VERSION);
	mm_doctor_say(d, same ? MM_WELL : MM_WARN, "programs", program,
		same ? "" : "install programs of one version, then restart the daemon", "modelmapd %s%s%s",
		mm_str(d->explain, "version"), same ? "" : ", but this is modelmap ", same ? "" : MM_VERSION);
}

static void check_config(struct mm_doctor *d)
{
	const json_t *conf = json_object_get(d->explain, "config");
	d->values = json_object_get(conf, "values");
	if (!d->explain)
		return;
	if (*mm_str(conf, "error"))
		mm_doctor_say(d, MM_PROBLEM, "settings", d->config,
			"correct the file (modelmapd --dump-defaults prints one to start from), or name another with "
			"--config",
			"%s", mm_str(conf, "error"));
	else
		mm_doctor_say(d, MM_WELL, "settings", d->config, "", "can be read, every key is known");
}

static void check_scorer(struct mm_doctor *d)
{
	char program[4200];
	struct mm_buf out = { 0 };
	struct mm_err err = { 0 };
	const char *own = mm_doctor_value(d, "score.program");
	if (*own)
		snprintf(program, sizeof program, "%s", own);
	else
		mm_child_program("modelmap-score", program, sizeof program);
	const char *const argv[] = { program, "--version", NULL };
	const struct mm_child_call call = { .argv = argv, .max = 65536, .timeout = 60, .quiet = true };
	if (mm_child_ask(&call, &out, &err))
		mm_doctor_say(
			d, MM_PROBLEM, "programs", program, "install it, or correct score.program", "%s", err.text);
	else
		mm_doctor_say(d, MM_WELL, "programs", program, "", "%.*s", (int)strcspn((char *)out.data, "\n"),
			(char *)out.data);
	mm_buf_fini(&out);
}

static void check_texts(struct mm_doctor *d)
{
	const char *path = mm_doctor_value(d, "texts");
	struct mm_texts t = { 0 };
	struct mm_err err = { 0 };
	char hex[MM_HASH_HEX];
	if (!d->values)
		return;
	if (mm_texts_load(&t, path, &err)) {
		mm_doctor_say(d, MM_PROBLEM, "texts", path,
			"name a JSONL text set in texts: (modelmap texts build makes one)", "%s", err.text);
		return;
	}
	mm_hash_hex(t.hash, hex);
	const char *theirs = mm_str(json_object_get(d->status, "texts"), "hash");
	if (*theirs && strcmp(theirs, hex) != 0)
		mm_doctor_say(d, MM_PROBLEM, "texts", path,
			"put the old file back, or start a new map: another state_dir, and a restart",
			"%zu texts, but others than those that the daemon reckons with", t.n);
	else
		mm_doctor_say(d, MM_WELL, "texts", path, "", "%zu texts in %zu domains, %.0f bytes on average", t.n,
			t.n_domain, t.mean_bytes);
	mm_texts_free(&t);
}

/* ---- the daemon and its sockets ---- */

static void ask_status(struct mm_doctor *d)
{
	struct mm_err err = { 0 };
	if (!mm_cli_call(d->cli, "status", NULL, &d->status, &err))
		return;
	d->status = NULL;
	bool none = d->cli->no_daemon;
	d->cli->no_daemon = false;
	mm_doctor_say(d, MM_PROBLEM, "daemon", "",
		none ? "systemctl start modelmapd; if it does not stay up: journalctl -u modelmapd -b"
		     : "see journalctl -u modelmapd; if it hangs: systemctl restart modelmapd",
		"%s", err.text);
}

static void check_daemon(struct mm_doctor *d)
{
	char up[32];
	const json_t *s = d->status;
	if (!s)
		return;
	mm_format_duration(mm_num(s, "uptime_s", 0), up, sizeof up);
	bool same = !strcmp(mm_str(s, "version"), MM_VERSION);
	bool scanned = json_is_true(json_object_get(json_object_get(s, "watch"), "scanned"));
	mm_doctor_say(d, same ? MM_WELL : MM_WARN, "daemon", mm_conn_url(d->cli->conn),
		same ? "" : "systemctl restart modelmapd, so that the installed version runs",
		"modelmapd %s, up %s, %lld models, %s%s", mm_str(s, "version"), up, (long long)mm_int(s, "models", 0),
		mm_str(json_object_get(s, "watch"), "mode"), scanned ? "" : ", still in its first scan");
	int64_t open_alerts = mm_int(json_object_get(s, "alerts"), "open", 0);
	if (open_alerts)
		mm_doctor_say(d, MM_WARN, "daemon", "alerts", "modelmap alerts", "%lld open", (long long)open_alerts);
	const char *theirs = mm_str(s, "config");
	if (*theirs && d->config != theirs && strcmp(theirs, d->config) != 0)
		mm_doctor_say(d, MM_WARN, "daemon", theirs, "modelmap doctor --config FILE with the daemon's own file",
			"the daemon runs with these settings, looked at were those of %s", d->config);
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof a.sun_path)
		return ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc = fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) ? errno : 0;
	if (fd >= 0)
		close(fd);
	return rc == EAGAIN || rc == EINPROGRESS ? 0 : rc;
}

/* The directory of a socket in which anybody may put another socket into its place. */
static bool open_directory(const char *path)
{
	char dir[4200];
	struct stat st;
	snprintf(dir, sizeof dir, "%s", path);
	char *slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return false;
	*slash = 0;
	return !stat(dir, &st) && (st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX);
}

static void check_socket(struct mm_doctor *d, const char *key)
{
	const char *url = mm_doctor_value(d, key), *path = url + 6;
	struct stat st;
	bool control = !strcmp(key, "control");
	if (strncmp(url, "ipc://", 6) != 0) {
		if (*url)
			mm_doctor_say(d, MM_WELL, "sockets", url, "", "%s: over the network, with keys", key);
		return;
	}
	if (stat(path, &st)) {
		/* Without a daemon it is not there, which is said elsewhere. */
		mm_doctor_say(d, d->status ? MM_PROBLEM : MM_WELL, "sockets", path,
			d->status ? "restart the daemon: somebody has removed its socket" : "", "%s: %s", key,
			d->status ? strerrordesc_np(errno) : "not there, since no daemon runs");
		return;
	}
	struct group *g = getgrgid(st.st_gid);
	char group[64];
	snprintf(group, sizeof group, "%.60s", g ? g->gr_name : "?");
	int rc = connect_to(path);
	if (!S_ISSOCK(st.st_mode))
		mm_doctor_say(d, MM_PROBLEM, "sockets", path, "remove it and restart the daemon", "%s: no socket", key);
	else if (control && (st.st_mode & S_IWOTH))
		mm_doctor_say(d, MM_PROBLEM, "sockets", path, "restart the daemon, which sets mode 0660",
			"%s: everybody may write to it (mode %04o)", key, st.st_mode & 07777);
	else if (open_directory(path))
		mm_doctor_say(d, MM_PROBLEM, "sockets", path, "chmod o-w its directory",
			"%s: its directory is writable by everybody", key);
	else if (rc == EACCES)
		mm_doctor_say(d, MM_WARN, "sockets", path,
			"add yourself to the group (usermod -aG) and log in again, or ask on the query socket",
			"%s: open to the group %s only (mode %04o), to which you do not belong", key, group,
			st.st_mode & 07777);
	else if (rc && d->status)
		mm_doctor_say(d, MM_PROBLEM, "sockets", path, "restart the daemon", "%s: nobody listens: %s", key,
			strerrordesc_np(rc));
	else
		mm_doctor_say(d, MM_WELL, "sockets", path, "", "%s: mode %04o, group %s%s", key, st.st_mode & 07777,
			group, rc ? ", nobody listens" : "");
}

/* ---- how it looks ---- */

static void print_lines(const struct mm_doctor *d)
{
	static const enum mm_style style[] = { MM_GREEN, MM_YELLOW, MM_RED };
	const struct mm_term *t = &d->cli->term;
	FILE *f = d->cli->out;
	char subject[4400], text[5100], todo[2100];
	const char *last = "";
	json_t *o;
	size_t i;
	json_array_foreach (d->lines, i, o) {
		const char *level = mm_str(o, "level"), *check = mm_str(o, "check");
		enum mm_style s = style[!strcmp(level, "ok") ? 0 : !strcmp(level, "warn") ? 1 : 2];
		mm_term_clean(t, mm_str(o, "subject"), subject, sizeof subject);
		mm_term_clean(t, mm_str(o, "text"), text, sizeof text);
		mm_term_clean(t, mm_str(o, "do"), todo, sizeof todo);
		if (strcmp(last, check) != 0)
			fprintf(f, "%s%s%s%s\n", *last ? "\n" : "", mm_term_on(t, MM_BOLD), check,
				mm_term_off(t, MM_BOLD));
		last = check;
		fprintf(f, "  %s%-7s%s  %s%s%s\n", mm_term_on(t, s), level, mm_term_off(t, s), subject,
			*subject ? ": " : "", text);
		if (*todo)
			fprintf(f, "           %s %s\n", mm_glyph(t, "\xE2\x86\x92", "->"), todo);
	}
	fprintf(f, "\n%zu well, %zu to be looked at, %zu problem%s\n", d->count[MM_WELL], d->count[MM_WARN],
		d->count[MM_PROBLEM], d->count[MM_PROBLEM] == 1 ? "" : "s");
}

static int give(struct mm_doctor *d, struct mm_err *err)
{
	struct mm_cli *c = d->cli;
	int rc = 0;
	if (c->o.json) {
		json_t *o = json_pack("{s:I, s:I, s:I, s:s, s:b, s:O}", "ok", (json_int_t)d->count[MM_WELL], "warn",
			(json_int_t)d->count[MM_WARN], "problem", (json_int_t)d->count[MM_PROBLEM], "config", d->config,
			"daemon", d->status != NULL, "lines", d->lines);
		rc = o ? mm_json_print(o, &c->term, c->out, err) : mm_fail(err, MM_ENOMEM, "out of memory");
		json_decref(o);
	} else {
		print_lines(d);
	}
	if (!rc && d->count[MM_WARN] + d->count[MM_PROBLEM])
		rc = mm_fail(err, MM_ECONFLICT, "there is something to do: %zu problem%s, %zu to be looked at",
			d->count[MM_PROBLEM], d->count[MM_PROBLEM] == 1 ? "" : "s", d->count[MM_WARN]);
	return rc;
}

int mm_run_doctor(struct mm_cli *c, struct mm_err *err)
{
	struct mm_doctor d = { .cli = c, .lines = json_array(), .config = DEFAULT_CONFIG };
	if (!d.lines)
		return mm_fail(err, MM_ENOMEM, "out of memory");
	ask_status(&d);
	if (c->o.config)
		d.config = realpath(c->o.config, d.config_path) ? d.config_path : c->o.config;
	else if (*mm_str(d.status, "config"))
		d.config = mm_str(d.status, "config");
	check_daemon(&d);
	ask_explain(&d);
	check_scorer(&d);
	check_config(&d);
	check_texts(&d);
	check_socket(&d, "control");
	check_socket(&d, "query");
	check_socket(&d, "events");
	mm_doctor_host(&d);
	mm_doctor_dirs(&d);
	int rc = give(&d, err);
	json_decref(d.lines);
	json_decref(d.explain);
	json_decref(d.status);
	return rc;
}
