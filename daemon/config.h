/* config.h - the settings, made by one key table (config_table.c): parser, ranges, defaults, dump, sample file, manual.
 *
 * A setting is added by a member here and a row there. Modules read d->cfg when they need a value and do not copy it:
 * that is what makes a reload work. */
#ifndef MM_CONFIG_H
#define MM_CONFIG_H

#include "base/base.h"

enum mm_watch_mode { MM_WATCH_AUTO, MM_WATCH_INOTIFY, MM_WATCH_POLL };
enum mm_priority { MM_PRIORITY_IDLE, MM_PRIORITY_NORMAL };
enum mm_order { MM_ORDER_NEWEST, MM_ORDER_OLDEST, MM_ORDER_SMALLEST };

enum mm_layouts_kept { MM_LAYOUTS_NONE, MM_LAYOUTS_2D, MM_LAYOUTS_ALL };
enum mm_map_method { MM_METHOD_PCA, MM_METHOD_MDS, MM_METHOD_TSNE };

struct mm_config {
	struct {
		char **dirs; /* absolute after loading (relative ones are relative to the config file's directory) */
		size_t n_dirs;
		enum mm_watch_mode mode;
		double settle;	      /* seconds without a change before a checkpoint counts as written */
		double give_up;	      /* seconds of waiting until never_ready */
		double poll_interval; /* seconds, poll mode */
		bool follow_symlinks; /* of directories below the watched ones */
	} watch;
	char *texts; /* JSONL; after loading never NULL: the installed set when the file does not say */
	char *state_dir;
	char *control; /* ipc://... everything */
	char *query;   /* read commands only; NULL: none */
	char *events;  /* PUB */
	struct {
		char *server_secret; /* file with our CURVE secret key; needed for tcp:// */
		char *client_keys;   /* file: one "PUBLICKEY read|write [name]" a line */
	} curve;
	struct {
		char *listen;	  /* "127.0.0.1:8077"; NULL: no HTTP */
		char *page;	  /* directory of the page; NULL: the installed one, if there is one */
		char *token_file; /* file with the bearer token; NULL: none is asked for, which only loopback allows */
	} http;
	struct {
		unsigned concurrency;
		unsigned threads; /* of one scorer; 0: cores / concurrency */
		char *compute;	  /* "f32", "bf16", "auto" */
		uint64_t memory;  /* bytes, 0: a share of the machine's */
		char *bos;	  /* "auto", "paper", "none" */
		unsigned probes;  /* of next-byte features; 0: none */
		enum mm_order order;
		enum mm_priority priority;
		unsigned retries; /* of a job whose cause may pass */
		double backoff;	  /* seconds before the first retry, doubled each time */
		double timeout;	  /* seconds without progress until a scorer is killed; 0: none */
		char *program;	  /* modelmap-score; NULL: beside modelmapd */
	} score;
	struct {
		double clip;	     /* quantile, 0.02 */
		double refit_growth; /* new epoch when the map has grown by this fraction */
		enum mm_layouts_kept layouts;
		enum mm_map_method layout; /* shown when nothing is asked for */
	} map;
	struct {
		char *on_alert; /* command; NULL: none */
		double on_alert_timeout;
		double isolated_z; /* robust z above which a model is isolated */
	} alerts;
	char *log_level;
};

/* ---- config.c ---- */
int mm_config_defaults(struct mm_config *c, struct mm_err *err) MM_MUST_CHECK; /* texts stays NULL */
/* Defaults, then the file; paths made absolute, settings held against each other. Errors name file, line, key and the
 * nearest known key. On failure nothing is left to free. */
int mm_config_load(struct mm_config *c, const char *path, struct mm_err *err) MM_MUST_CHECK;
void mm_config_free(struct mm_config *c); /* zeroed is fine */
/* Appends ", key, key" for what differs between two configurations: only keys that a reload cannot change, or only
 * those that it can. Returns how many. */
size_t mm_config_changed(const struct mm_config *a, const struct mm_config *b, bool restart, struct mm_buf *names);
/* Exchanges the values of all keys that only a restart changes. So the new configuration of a reload takes over the
 * very strings and lists of the old one: pointers to them stay valid for as long as the daemon lives. */
void mm_config_swap_fixed(struct mm_config *a, struct mm_config *b);
enum mm_log_level mm_config_log_level(const struct mm_config *c);

/* ---- config_parse.c ---- */
/* The YAML text into a configuration that holds defaults already. `name` stands in errors. For tests and fuzzing too.
 */
int mm_config_parse(
	struct mm_config *c, const char *text, size_t len, const char *name, struct mm_err *err) MM_MUST_CHECK;

/* ---- config_write.c ---- */
int mm_config_dump(const struct mm_config *c, FILE *f); /* YAML with every key, commented; parses back to the same */
int mm_config_man(FILE *f);				/* modelmapd.yaml(5) */

#endif
