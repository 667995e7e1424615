/* score_opts.c - options of modelmap-score: a table of names, kinds and members. */
#include "daemon/score_priv.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *const bos_names[] = { "auto", "paper", "none" };
static const char *const compute_names[] = { "auto", "f32", "bf16" };
static const char *const priority_names[] = { "idle", "normal" };
static const char *const format_names[] = { "auto", "npy", "json", "tsv" };

/* ---- the options ---- */

enum kind { FLAG, TEXT, CHOICE, NUMBER, SIZE };

#define AT(member)  .at = offsetof(struct mm_score_cli, member), .size = sizeof(((struct mm_score_cli *)0)->member)
#define ONE_OF(set) .choice = set, .n_choice = MM_COUNT(set)
static const struct opt {
	const char *name;
	enum kind kind;
	size_t at, size;	   /* of the member */
	const char *const *choice; /* [n_choice], from `first` on */
	size_t n_choice, first;
	long min, max;
} opts[] = {
	{ "texts", TEXT, AT(texts) },
	{ "ids", TEXT, AT(ids) },
	{ "tokens", TEXT, AT(tokens) },
	{ "probe", TEXT, AT(probe) },
	{ "search", TEXT, AT(search) },
	{ "token-cache", TEXT, AT(token_cache) },
	{ "resume", TEXT, AT(resume) },
	{ "output", TEXT, AT(out) },
	{ "full", FLAG, AT(full) },
	{ "exact", FLAG, AT(exact) },
	{ "progress", FLAG, AT(progress) },
	{ "no-special", FLAG, AT(no_special) },
	{ "families", FLAG, AT(families) },
	{ "verbose", FLAG, AT(verbose) },
	{ "version", FLAG, AT(version) },
	{ "help", FLAG, AT(help) },
	{ "bos", CHOICE, AT(bos), ONE_OF(bos_names) },
	{ "compute", CHOICE, AT(mo.compute), ONE_OF(compute_names) },
	{ "priority", CHOICE, AT(normal), ONE_OF(priority_names) },
	{ "format", CHOICE, AT(format), ONE_OF(format_names), .first = 1 },
	{ "threads", NUMBER, AT(mo.threads), .min = 1, .max = 4096 },
	{ "probes", NUMBER, AT(probes), .min = 0, .max = MM_PROBES_MAX },
	{ "stream", NUMBER, AT(stream_fd), .min = 0, .max = INT_MAX },
	{ "memory", SIZE, AT(mo.memory), .min = 16l << 20 },
};
#define OPT_FIRST 256 /* what getopt calls opts[0] */

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

/* A whole number into a member of its size: bool, enum, int, unsigned, size_t. */
static void put_number(void *member, size_t size, long v)
{
	if (size == sizeof(bool))
		*(bool *)member = v != 0;
	else if (size == sizeof(int))
		memcpy(member, &(int){ (int)v }, sizeof(int));
	else
		memcpy(member, &(size_t){ (size_t)v }, sizeof(size_t));
}

static int one(struct mm_score_cli *o, const struct opt *x, const char *arg, struct mm_err *err)
{
	void *member = (char *)o + x->at;
	long n = 1;
	uint64_t size;
	switch (x->kind) {
	case TEXT:
		memcpy(member, &arg, sizeof(arg));
		return 0;
	case SIZE:
		if (mm_parse_size(arg, &size, err))
			return mm_wrap(err, "--%s", x->name);
		if (size < (uint64_t)x->min)
			return mm_fail(err, MM_EINVAL, "--%s %s: at least %ldM", x->name, arg, x->min >> 20);
		memcpy(member, &size, sizeof(size));
		return 0;
	case CHOICE:
		if ((n = choice(x->name, arg, x->choice, x->n_choice, x->first, err)) < 0)
			return -1;
		break;
	case NUMBER:
		if (number(x->name, arg, x->min, x->max, &n, err))
			return -1;
		break;
	case FLAG:
		break;
	}
	put_number(member, x->size, n);
	return 0;
}

static const struct opt *opt_of(int c)
{
	const char *name = c == 'o' ? "output" : c == 'h' ? "help" : opts[c >= OPT_FIRST ? c - OPT_FIRST : 0].name;
	size_t i = 0;
	while (strcmp(opts[i].name, name) != 0)
		i++;
	return &opts[i];
}

int mm_score_opts_parse(struct mm_score_cli *o, int argc, char **argv, struct mm_err *err)
{
	struct option options[MM_COUNT(opts) + 1] = { 0 };
	int c;
	for (size_t i = 0; i < MM_COUNT(opts); i++)
		options[i] = (struct option){ opts[i].name, opts[i].kind == FLAG ? no_argument : required_argument,
			NULL, OPT_FIRST + (int)i };
	memset(o, 0, sizeof(*o));
	o->stream_fd = -1;
	o->mo.compute = MM_COMPUTE_F32;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
		if (c == '?' || c == ':') {
			const char *what = optind > 0 && optind <= argc ? argv[optind - 1] : "";
			return mm_fail(err, MM_EINVAL, c == ':' ? "%s needs a value" : "unknown option %s", what);
		}
		if (one(o, opt_of(c), optarg, err))
			return -1;
	}
	o->mo.search_dir = o->search;
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
