/* config_table.c - every setting, once: name, type, range, default, what it means. The parser, the defaults, the dump,
 * the sample file and the manual are made from this table. */
#include "daemon/config_priv.h"

#define AT(member) offsetof(struct mm_config, member)

static const char *const modes[] = { "auto", "inotify", "poll", NULL };
static const char *const orders[] = { "newest", "oldest", "smallest", NULL };
static const char *const priorities[] = { "idle", "normal", NULL };
static const char *const computes[] = { "f32", "bf16", "auto", NULL };
static const char *const bos_words[] = { "auto", "paper", "none", NULL };
static const char *const layouts[] = { "none", "2d", "all", NULL };
static const char *const methods[] = { "pca", "mds", "tsne", NULL };
static const char *const levels[] = { "error", "warning", "notice", "info", "debug", NULL };

const struct mm_key_section mm_sections[] = {
	{ "", "Where things are." },
	{ "watch", "Which directories are watched, and when a checkpoint counts as whole." },
	{ "score", "How models are scored. Changing compute or bos needs a new state_dir." },
	{ "map", "How the map is made." },
	{ "alerts", "What is told, and to whom." },
	{ "curve", "Keys for tcp:// endpoints; without them nothing is offered over a network." },
	{ "http", "The map in a browser, and over HTTP: JSON, live events, metrics for Prometheus. Nothing can be "
		  "changed "
		  "that way." },
};
const size_t mm_n_sections = MM_COUNT(mm_sections);

const struct mm_key_row mm_keys[] = {
	{ "", "texts", MM_K_PATH, MM_K_RESTART | MM_K_EMPTY, AT(texts), 0, 0, "", NULL,
		"Text set: a JSONL file, one object a line with \"text\" and, if known, \"domain\". "
		"Empty: the set that was installed with the program. A state_dir belongs to one text set." },
	{ "", "state_dir", MM_K_PATH, MM_K_RESTART, AT(state_dir), 0, 0, "/var/lib/modelmapd", NULL,
		"Directory of the database. One daemon for each." },
	{ "", "control", MM_K_ENDPOINT, MM_K_RESTART, AT(control), 0, 0, "ipc:///run/modelmapd/control", NULL,
		"Socket for all commands. Who may open it is decided by its group (mode 0660)." },
	{ "", "query", MM_K_ENDPOINT, MM_K_RESTART | MM_K_EMPTY, AT(query), 0, 0, "", NULL,
		"Socket for commands that only read, open to everybody on this machine (such as "
		"ipc:///run/modelmapd/query) or to the clients of curve.client_keys (tcp). Empty: none." },
	{ "", "events", MM_K_ENDPOINT, MM_K_RESTART, AT(events), 0, 0, "ipc:///run/modelmapd/events", NULL,
		"Socket where events are published." },
	{ "", "log_level", MM_K_WORD, 0, AT(log_level), 0, 0, "info", levels, "What goes to the log." },

	{ "watch", "dirs", MM_K_PATHS, MM_K_RESTART, AT(watch.dirs), 0, 0, "/srv/models", NULL,
		"Directories to watch, with all that is below them. They are only read." },
	{ "watch", "mode", MM_K_ENUM, MM_K_RESTART, AT(watch.mode), 0, 0, "auto", modes,
		"inotify is told of changes by the kernel; poll looks every poll_interval, which network file systems "
		"need; auto decides by the type of the file system." },
	{ "watch", "settle", MM_K_DURATION, 0, AT(watch.settle), 0, 86400, "5s", NULL,
		"A checkpoint is looked at when nothing in it has changed for this long." },
	{ "watch", "give_up", MM_K_DURATION, 0, AT(watch.give_up), 1, 31536000, "1h", NULL,
		"A checkpoint that is still not whole after this long without a change raises the alert never_ready. "
		"Any change opens it again." },
	{ "watch", "poll_interval", MM_K_DURATION, 0, AT(watch.poll_interval), 0.1, 86400, "30s", NULL,
		"How often poll looks." },
	{ "watch", "follow_symlinks", MM_K_BOOL, MM_K_RESTART, AT(watch.follow_symlinks), 0, 0, "false", NULL,
		"Follow symbolic links to directories below the watched ones." },

	{ "score", "concurrency", MM_K_UINT, 0, AT(score.concurrency), 1, 64, "1", NULL,
		"How many models are scored at the same time." },
	{ "score", "threads", MM_K_UINT, MM_K_AUTO, AT(score.threads), 0, 1024, "auto", NULL,
		"Threads of one scorer. auto: the cores divided by concurrency." },
	{ "score", "compute", MM_K_WORD, MM_K_RESTART, AT(score.compute), 0, 0, "f32", computes,
		"Arithmetic: f32 is exact; bf16 is faster on processors that have it; auto uses bf16 for 16-bit "
		"weights "
		"where the processor is faster in it." },
	{ "score", "memory", MM_K_SIZE, MM_K_AUTO, AT(score.memory), 0, 0x1p50, "auto", NULL,
		"Bound on the resident memory of one scorer; of a model that needs more only a layer at a time is "
		"held. "
		"auto: a share of the machine's." },
	{ "score", "bos", MM_K_WORD, MM_K_RESTART, AT(score.bos), 0, 0, "auto", bos_words,
		"auto: every text follows one context token, so that all of it counts; paper: the tokenizer's output "
		"as it "
		"is, its first token not counted; none: nothing in front, first token not counted." },
	{ "score", "probes", MM_K_UINT, MM_K_RESTART, AT(score.probes), 0, MM_PROBES_MAX, "256", NULL,
		"At so many places of the text set every model is asked for its distribution of the next byte, which "
		"the metrics besides kl compare. 0: none." },
	{ "score", "order", MM_K_ENUM, 0, AT(score.order), 0, 0, "newest", orders,
		"Which checkpoint is scored first." },
	{ "score", "priority", MM_K_ENUM, 0, AT(score.priority), 0, 0, "idle", priorities,
		"idle: scorers and the daemon's own long computations take what nobody else wants of the processors, "
		"which on a busy machine may be nothing; normal: they take their share." },
	{ "score", "retries", MM_K_UINT, 0, AT(score.retries), 0, 100, "5", NULL,
		"How often a job is run again whose cause of failure may pass (killed, out of memory)." },
	{ "score", "backoff", MM_K_DURATION, 0, AT(score.backoff), 0, 86400, "10s", NULL,
		"Pause before the first of these runs; doubled each time." },
	{ "score", "timeout", MM_K_DURATION, 0, AT(score.timeout), 0, 31536000, "1h", NULL,
		"A scorer without progress for this long is killed. 0: never." },
	{ "score", "program", MM_K_PATH, MM_K_RESTART | MM_K_EMPTY, AT(score.program), 0, 0, "", NULL,
		"The scorer. Empty: modelmap-score beside modelmapd." },

	{ "map", "clip", MM_K_NUMBER, 0, AT(map.clip), 0, 0.5, "0.02", NULL,
		"Fraction of the lowest log-likelihoods that is raised to one value. Frozen in each epoch of the "
		"map." },
	{ "map", "refit_growth", MM_K_NUMBER, 0, AT(map.refit_growth), 0, 1000, "0.25", NULL,
		"A new epoch is made when the map has grown by this fraction. 0: only when asked for." },
	{ "map", "layouts", MM_K_ENUM, 0, AT(map.layouts), 0, 0, "all", layouts,
		"What an epoch gets besides the projection (pca): none; 2d: metric scaling (mds) and t-SNE (tsne) in "
		"the "
		"plane; all: both in space too." },
	{ "map", "layout", MM_K_ENUM, 0, AT(map.layout), 0, 0, "pca", methods,
		"The map that is shown when no method is asked for." },

	{ "alerts", "on_alert", MM_K_STRING, MM_K_EMPTY, AT(alerts.on_alert), 0, 0, "", NULL,
		"Command that is run for each new alert (with sh -c); the alert is on its standard input as JSON. "
		"Empty: none." },
	{ "alerts", "on_alert_timeout", MM_K_DURATION, 0, AT(alerts.on_alert_timeout), 0.1, 86400, "30s", NULL,
		"After this long the command is killed." },
	{ "alerts", "isolated_z", MM_K_NUMBER, 0, AT(alerts.isolated_z), 1, 1e6, "3", NULL,
		"A model whose distance to its nearest neighbours is this many robust standard deviations above the "
		"usual "
		"is called isolated." },

	{ "curve", "server_secret", MM_K_PATH, MM_K_RESTART | MM_K_EMPTY, AT(curve.server_secret), 0, 0, "", NULL,
		"File with the daemon's CURVE secret key (Z85, 40 characters), readable by the daemon only." },
	{ "curve", "client_keys", MM_K_PATH, MM_K_RESTART | MM_K_EMPTY, AT(curve.client_keys), 0, 0, "", NULL,
		"File with the public keys that may connect, one a line: KEY read|write [NAME]." },

	{ "http", "listen", MM_K_STRING, MM_K_RESTART | MM_K_EMPTY, AT(http.listen), 0, 0, "", NULL,
		"Where to listen, such as 127.0.0.1:8077 or [::1]:8077; everybody on this machine may ask there. "
		"Empty: nowhere." },
	{ "http", "page", MM_K_PATH, MM_K_RESTART | MM_K_EMPTY, AT(http.page), 0, 0, "", NULL,
		"Directory with the page for a browser. Empty: the one that was installed with the program, if it "
		"was." },
	{ "http", "token_file", MM_K_PATH, MM_K_RESTART | MM_K_EMPTY, AT(http.token_file), 0, 0, "", NULL,
		"File with a token of 16 to 256 characters, readable by the daemon only, that every request must bear "
		"(Authorization: Bearer TOKEN). Other addresses than those of this machine itself need one. HTTP is "
		"not encrypted: put a proxy with TLS in front." },
};
const size_t mm_n_keys = MM_COUNT(mm_keys);
