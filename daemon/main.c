/* main.c - options of modelmapd, and what must happen before any thread starts.
 *
 * Exit status: 0 stopped when asked to, or the question was answered; 1 failure; 2 usage.
 */
#include "daemon/daemon.h"
#include "tensor/tensor.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/modelmapd/modelmapd.yaml"

static const char usage_text[] =
	"usage: modelmapd [--config FILE] [--foreground]\n"
	"       modelmapd --check-config FILE | --explain FILE | --dump-defaults | --version | --help\n"
	"\n"
	"  --config FILE        settings (default " DEFAULT_CONFIG ")\n"
	"  --foreground         stay in the foreground, which modelmapd always does: for scripts that say so\n"
	"  --check-config FILE  read the settings, say what is wrong with them, and end\n"
	"  --explain FILE       print as JSON what would be made of these settings and of the watched directories\n"
	"                       (modelmap doctor puts it into words)\n"
	"  --dump-defaults      print all settings with their defaults as a commented YAML file\n"
	"  --version, --help\n"
	"\n"
	"modelmapd(8), modelmapd.yaml(5); modelmap(1) is the client.\n";

enum { OPT_CONFIG = 256, OPT_FOREGROUND, OPT_CHECK, OPT_DUMP, OPT_MAN, OPT_EXPLAIN, OPT_VERSION, OPT_HELP };

static const struct option options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "foreground", no_argument, NULL, OPT_FOREGROUND },
	{ "check-config", required_argument, NULL, OPT_CHECK },
	{ "dump-defaults", no_argument, NULL, OPT_DUMP },
	{ "config-man", no_argument, NULL, OPT_MAN }, /* for the build: not in the help */
	{ "explain", required_argument, NULL, OPT_EXPLAIN },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

/* OpenBLAS acts when the library is loaded, before main: it takes its kernels from OPENBLAS_CORETYPE (see
 * lib/tensor/cpu.c), and it starts threads, which have the signal mask that the process was started with. A SIGHUP
 * would go to one of them and kill the process. So: the right variable, blocked signals, and once more from the start;
 * both outlast exec. Threads that ZeroMQ and OpenMP start inherit the mask too, so that signals reach nobody but the
 * loop's signalfd. */
static void start_over_clean(char **argv)
{
	static const int blocked[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	sigset_t set, old;
	const char *want = mm_blas_coretype(), *have = getenv("OPENBLAS_CORETYPE");
	bool clean = want ? have && !strcmp(have, want) : !have;
	sigemptyset(&set);
	for (size_t i = 0; i < MM_COUNT(blocked); i++)
		sigaddset(&set, blocked[i]);
	sigprocmask(SIG_BLOCK, &set, &old);
	for (size_t i = 0; i < MM_COUNT(blocked); i++)
		clean &= sigismember(&old, blocked[i]) == 1;
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "modelmapd"); /* else ps shows "exe" the second time */
	if (clean)
		return;
	if (want ? setenv("OPENBLAS_CORETYPE", want, 1) : unsetenv("OPENBLAS_CORETYPE"))
		return;
	execv("/proc/self/exe", argv);
	mm_log(MM_LOG_WARN,
		"cannot start over with signals blocked (is /proc there?): a signal may end the daemon at once");
}

static int complain(const struct mm_err *err)
{
	mm_log(MM_LOG_ERROR, "%s", err->text);
	return 1;
}

static int check_config(const char *path)
{
	struct mm_err err = { 0 };
	struct mm_config c;
	if (mm_config_load(&c, path, &err)) {
		fprintf(stderr, "modelmapd: %s\n", err.text);
		return 1;
	}
	/* True of this machine and user only, so no error: the file may be meant for another. */
	if (access(c.texts, R_OK))
		fprintf(stderr, "modelmapd: warning: texts %s cannot be read\n", c.texts);
	for (size_t i = 0; i < c.watch.n_dirs; i++)
		if (access(c.watch.dirs[i], R_OK | X_OK))
			fprintf(stderr, "modelmapd: warning: watch.dirs: %s cannot be read\n", c.watch.dirs[i]);
	mm_config_free(&c);
	printf("%s: fine\n", path);
	return 0;
}

static int dump_defaults(void)
{
	struct mm_err err = { 0 };
	struct mm_config c;
	if (mm_config_defaults(&c, &err))
		return complain(&err);
	int rc = mm_config_dump(&c, stdout) || fflush(stdout);
	mm_config_free(&c);
	return rc ? 1 : 0;
}

static int usage(void)
{
	fputs(usage_text, stderr);
	return 2;
}

static int run(const char *config, char **argv)
{
	struct mm_err err = { 0 };
	start_over_clean(argv);
	if (access(config, R_OK) && !strcmp(config, DEFAULT_CONFIG)) {
		mm_fail_errno(&err,
			"no settings in " DEFAULT_CONFIG " (modelmapd --dump-defaults prints a file to start from)");
		return complain(&err);
	}
	return mm_daemon_run(config, &err) ? complain(&err) : 0;
}

int main(int argc, char **argv)
{
	const char *config = DEFAULT_CONFIG;
	struct mm_err err = { 0 };
	mm_log_init(MM_LOG_INFO);
	for (int opt; (opt = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (opt) {
		case OPT_CONFIG:
			config = optarg;
			break;
		case OPT_FOREGROUND:
			break;
		case OPT_CHECK:
			return check_config(optarg);
		case OPT_DUMP:
			return dump_defaults();
		case OPT_MAN:
			return mm_config_man(stdout) || fflush(stdout) ? 1 : 0;
		case OPT_EXPLAIN:
			start_over_clean(argv); /* so that the kernels are those of the daemon */
			return mm_explain(optarg, stdout, &err) ? complain(&err) : 0;
		case OPT_VERSION:
			puts("modelmapd " MM_VERSION);
			return 0;
		case OPT_HELP:
			fputs(usage_text, stdout);
			return 0;
		default:
			return usage();
		}
	}
	return optind < argc ? usage() : run(config, argv);
}
