/* config.h - the settings, made by one key table (config.c): parser, ranges, defaults, dump, sample file, manual. */
#ifndef MM_CONFIG_H
#define MM_CONFIG_H

#include "base/base.h"

enum mm_watch_mode { MM_WATCH_AUTO, MM_WATCH_INOTIFY, MM_WATCH_POLL };
enum mm_order { MM_ORDER_NEWEST, MM_ORDER_OLDEST, MM_ORDER_SMALLEST };

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
	char *texts; /* JSONL */
	char *state_dir;
	char *control; /* ipc://... everything */
	char *query;   /* read commands only; NULL: none */
	char *events;  /* PUB */
	struct {
		char *server_secret; /* file with our CURVE secret key; needed for tcp:// */
		char *client_keys;   /* file: one "PUBLICKEY read|write [name]" a line */
	} curve;
	struct {
		unsigned concurrency;
		unsigned threads; /* of one scorer; 0: cores / concurrency */
		char *compute;	  /* "f32", "bf16", "auto" */
		uint64_t memory;  /* bytes, 0: a share of the machine's */
		char *bos;	  /* "auto", "paper", "none" */
		enum mm_order order;
		unsigned retries; /* of a job whose cause may pass */
		double backoff;	  /* seconds before the first retry, doubled each time */
		double timeout;	  /* seconds without progress until a scorer is killed; 0: none */
		char *program;	  /* modelmap-score; NULL: beside modelmapd */
	} score;
	struct {
		double clip;	     /* quantile, 0.02 */
		double refit_growth; /* new epoch when the map has grown by this fraction */
	} map;
	struct {
		char *on_alert; /* command; NULL: none */
		double on_alert_timeout;
		double isolated_z; /* robust z above which a model is isolated */
	} alerts;
	char *log_level;
};

void mm_config_defaults(struct mm_config *c);
int mm_config_load(struct mm_config *c, const char *path,
	struct mm_err *err) MM_MUST_CHECK; /* defaults first; names line, key, nearest key */
void mm_config_free(struct mm_config *c);
int mm_config_dump(const struct mm_config *c, FILE *f); /* YAML with every key, commented */

#endif
