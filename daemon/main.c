/* main.c - options of modelmapd, and what must happen before any thread starts.
 *
 * Exit status: 0 stopped when asked to, or the question was answered; 1 failure; 2 usage.
 */
#include "daemon/daemon.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/modelmapd/modelmapd.yaml"

static const char usage_text[] =
	"usage: modelmapd [--config FILE] [--foreground]\n"
	"       modelmapd --check-config FILE | --dump-defaults | --version | --help\n"
	"\n"
	"  --config FILE        settings (default " DEFAULT_CONFIG ")\n"
	"  --foreground         stay in the foreground, which modelmapd always does: for scripts that say so\n"
	"  --check-config FILE  read the settings, say what is wrong with them, and end\n"
	"  --dump-defaults      print all settings with their defaults as a commented YAML file\n"
	"  --version, --help\n"
	"\n"
	"modelmapd(8), modelmapd.yaml(5); modelmap(1) is the client.\n";

enum { OPT_CONFIG = 256, OPT_FOREGROUND, OPT_CHECK, OPT_DUMP, OPT_MAN, OPT_VERSION, OPT_HELP };

static const struct option options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "foreground", no_argument, NULL, OPT_FOREGROUND },
	{ "check-config", required_argument, NULL, OPT_CHECK },
	{ "dump-defaults", no_argument, NULL, OPT_DUMP },
	{ "config-man", no_argument, NULL, OPT_MAN }, /* for the build: not in the help */
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

/* OpenBLAS takes its kernels from OPENBLAS_CORETYPE when the library is loaded, before main. A name that does not fit
 * this processor crashes it or gives other bits; so without it once more. */
static void clean_environment(char **argv)
{
	if (!getenv("OPENBLAS_CORETYPE"))
		return;
	unsetenv("OPENBLAS_CORETYPE");
	execv("/proc/self/exe", argv);
	mm_log(MM_LOG_WARN, "OPENBLAS_CORETYPE is set and could not be taken away; it is better not set");
}

/* Threads of ZeroMQ and OpenMP inherit the mask: signals reach the loop thread's signalfd only. */
static void block_signals(void)
{
	static const int blocked[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < MM_COUNT(blocked); i++)
		sigaddset(&set, blocked[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
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

static int run(const char *config)
{
	struct mm_err err = { 0 };
	block_signals();
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
	mm_log_init(MM_LOG_INFO);
	clean_environment(argv);
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
	return optind < argc ? usage() : run(config);
}
