/* score_opts.c - options of modelmap-score. */
#include "daemon/score_priv.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
	O_TEXTS = 256,
	O_BOS,
	O_COMPUTE,
	O_THREADS,
	O_MEMORY,
	O_FORMAT,
	O_PROGRESS,
	O_IDS,
	O_TOKENS,
	O_NO_SPECIAL,
	O_FAMILIES,
	O_VERBOSE,
	O_VERSION,
	O_HELP,
	O_PROBE,
	O_SEARCH,
	O_FULL,
	O_STREAM,
	O_PRIORITY,
	O_TOKEN_CACHE,
	O_RESUME,
	O_PROBES,
	O_EXACT
};

static const struct option options[] = {
	{ "texts", required_argument, NULL, O_TEXTS },
	{ "bos", required_argument, NULL, O_BOS },
	{ "compute", required_argument, NULL, O_COMPUTE },
	{ "threads", required_argument, NULL, O_THREADS },
	{ "memory", required_argument, NULL, O_MEMORY },
	{ "output", required_argument, NULL, 'o' },
	{ "format", required_argument, NULL, O_FORMAT },
	{ "progress", no_argument, NULL, O_PROGRESS },
	{ "ids", required_argument, NULL, O_IDS },
	{ "tokens", required_argument, NULL, O_TOKENS },
	{ "no-special", no_argument, NULL, O_NO_SPECIAL },
	{ "families", no_argument, NULL, O_FAMILIES },
	{ "verbose", no_argument, NULL, O_VERBOSE },
	{ "version", no_argument, NULL, O_VERSION },
	{ "help", no_argument, NULL, O_HELP },
	{ "probe", required_argument, NULL, O_PROBE },
	{ "search", required_argument, NULL, O_SEARCH },
	{ "full", no_argument, NULL, O_FULL },
	{ "token-cache", required_argument, NULL, O_TOKEN_CACHE },
	{ "resume", required_argument, NULL, O_RESUME },
	{ "priority", required_argument, NULL, O_PRIORITY },
	{ "probes", required_argument, NULL, O_PROBES },
	{ "exact", no_argument, NULL, O_EXACT },
	{ "stream", required_argument, NULL, O_STREAM },
	{ NULL, 0, NULL, 0 },
};

static const char *const bos_names[] = { "auto", "paper", "none" };
static const char *const compute_names[] = { "auto", "f32", "bf16" };
static const char *const priority_names[] = { "idle", "normal" };
static const char *const format_names[] = { "auto", "npy", "json", "tsv" };

void mm_score_usage(FILE *f)
{
	fputs("usage: modelmap-score [options] MODEL\n"
	      "  --texts FILE       JSONL text set: log-likelihood of every text\n"
	      "  --ids FILE         {\"sequences\":[{\"ids\":[...]},...]}: log-probability of every id given those "
	      "before it\n"
	      "  --tokens FILE      JSON array of strings: their token ids (MODEL may be a tokenizer file)\n"
	      "  --no-special       with --tokens: leave out what the tokenizer's template adds\n"
	      "  --bos auto|paper|none      what stands before a text (auto)\n"
	      "  --compute f32|bf16|auto    arithmetic (f32)\n"
	      "  --threads N        (all cores)\n"
	      "  --memory SIZE      bound on the resident set: 512M, 4G\n"
	      "  --token-cache DIR  keep token ids of text sets there for models with the same tokenizer\n"
	      "  --resume FILE      keep what is done there, and go on from it after a kill\n"
	      "  --probes N         next-byte distributions at N places of the texts too (JSON; 0)\n"
	      "  --exact            of these: every way to write the prefix counts, which takes longer\n"
	      "  -o FILE            (standard output)\n"
	      "  --format npy|json|tsv      (by FILE's name, else tsv)\n"
	      "  --progress         show progress on standard error\n"
	      "  --search DIR       where an adapter's base model may be\n"
	      "  --probe PATH       is this checkpoint whole? one line of JSON\n"
	      "  --full             with --probe: the fingerprint of all bytes too\n"
	      "  --stream FD        for modelmapd: frames to this descriptor\n"
	      "  --priority idle|normal     with --stream and --full: idle takes what nobody else wants (idle)\n"
	      "  --families         list the supported families as JSON\n"
	      "  --verbose --version --help\n"
	      "exit status: 0, 1 failure, 2 usage\n",
		f);
}

const char *mm_bos_name(enum mm_bos b)
{
	return bos_names[b];
}

const char *mm_compute_name(enum mm_compute c)
{
	return compute_names[c];
}

static int choice(
	const char *opt, const char *value, const char *const *names, size_t n, size_t first, struct mm_err *err)
{
	for (size_t i = first; i < n; i++)
		if (!strcmp(names[i], value))
			return (int)i;
	return mm_fail(err, MM_EINVAL, "--%s %s: expected %s, %s%s%s", opt, value, names[first], names[first + 1],
		first + 2 < n ? ", " : "", first + 2 < n ? names[first + 2] : "");
}

static int number(const char *opt, const char *value, long min, long max, long *out, struct mm_err *err)
{
	char *end;
	errno = 0;
	*out = strtol(value, &end, 10);
	if (errno || !*value || *end || *out < min || *out > max)
		return mm_fail(err, MM_EINVAL, "--%s %s: expected a number from %ld to %ld", opt, value, min, max);
	return 0;
}

static int one(struct mm_score_cli *o, int c, const char *arg, struct mm_err *err)
{
	long n = 0;
	int k = 0;
	switch (c) {
	case O_TEXTS:
		o->texts = arg;
		return 0;
	case O_IDS:
		o->ids = arg;
		return 0;
	case O_TOKENS:
		o->tokens = arg;
		return 0;
	case O_PROBE:
		o->probe = arg;
		return 0;
	case O_SEARCH:
		o->search = o->mo.search_dir = arg;
		return 0;
	case O_TOKEN_CACHE:
		o->token_cache = arg;
		return 0;
	case O_RESUME:
		o->resume = arg;
		return 0;
	case O_FULL:
		o->full = true;
		return 0;
	case O_EXACT:
		o->exact = true;
		return 0;
	case 'o':
		o->out = arg;
		return 0;
	case O_PROGRESS:
		o->progress = true;
		return 0;
	case O_NO_SPECIAL:
		o->no_special = true;
		return 0;
	case O_FAMILIES:
		o->families = true;
		return 0;
	case O_VERBOSE:
		o->verbose = true;
		return 0;
	case O_VERSION:
		o->version = true;
		return 0;
	case O_HELP:
		o->help = true;
		return 0;
	case O_BOS:
		k = choice("bos", arg, bos_names, MM_COUNT(bos_names), 0, err);
		o->bos = (enum mm_bos)MM_MAX(k, 0);
		return k < 0 ? -1 : 0;
	case O_COMPUTE:
		k = choice("compute", arg, compute_names, MM_COUNT(compute_names), 0, err);
		o->mo.compute = (enum mm_compute)MM_MAX(k, 0);
		return k < 0 ? -1 : 0;
	case O_PRIORITY:
		k = choice("priority", arg, priority_names, MM_COUNT(priority_names), 0, err);
		o->normal = k == 1;
		return k < 0 ? -1 : 0;
	case O_FORMAT:
		k = choice("format", arg, format_names, MM_COUNT(format_names), 1, err);
		o->format = (enum mm_score_format)MM_MAX(k, 0);
		return k < 0 ? -1 : 0;
	case O_THREADS:
		k = number("threads", arg, 1, 4096, &n, err);
		o->mo.threads = (unsigned)n;
		return k;
	case O_PROBES:
		k = number("probes", arg, 0, MM_PROBES_MAX, &n, err);
		o->probes = (size_t)n;
		return k;
	case O_STREAM:
		k = number("stream", arg, 0, INT_MAX, &n, err);
		o->stream_fd = (int)n;
		return k;
	case O_MEMORY:
		if (mm_parse_size(arg, &o->mo.memory, err))
			return mm_wrap(err, "--memory");
		return o->mo.memory >= (16u << 20) ? 0 : mm_fail(err, MM_EINVAL, "--memory %s: at least 16M", arg);
	default:
		return mm_fail(err, MM_EINVAL, "unknown option");
	}
}

int mm_score_opts_parse(struct mm_score_cli *o, int argc, char **argv, struct mm_err *err)
{
	int c, index = 0;
	memset(o, 0, sizeof(*o));
	o->stream_fd = -1;
	o->mo.compute = MM_COMPUTE_F32;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:h", options, &index)) != -1) {
		if (c == '?' || c == ':') {
			const char *what = optind > 0 && optind <= argc ? argv[optind - 1] : "";
			return mm_fail(err, MM_EINVAL, c == ':' ? "%s needs a value" : "unknown option %s", what);
		}
		if (one(o, c == 'h' ? O_HELP : c, optarg, err))
			return -1;
	}
	if (o->help || o->version || o->families)
		return 0;
	int modes = !!o->texts + !!o->ids + !!o->tokens + !!o->probe;
	if (modes > 1)
		return mm_fail(err, MM_EINVAL, "--texts, --ids, --tokens and --probe exclude each other");
	if (o->probe)
		return optind == argc ? 0 : mm_fail(err, MM_EINVAL, "--probe PATH takes no further argument");
	if (optind + 1 != argc)
		return mm_fail(err, MM_EINVAL, optind < argc ? "one MODEL, not several" : "MODEL is missing");
	o->model = argv[optind];
	if (o->exact && !o->probes)
		return mm_fail(err, MM_EINVAL, "--exact needs --probes");
	if (o->stream_fd >= 0 && !o->texts)
		return mm_fail(err, MM_EINVAL, "--stream needs --texts");
	if (!modes)
		o->texts = MM_PREFIX "/share/modelmapd/texts.jsonl"; /* what make install put there */
	return 0;
}
