/* client.h - the rooms of `modelmap`. One thread, no globals; every writer writes to `cli->out`, so that tests read it.
 *
 *   main.c -> cli.c (words to options and a row of the command table, cli_table.c) -> cmd_*.c -> conn.c (the daemon)
 *                                                                                  -> out_*.c, term*.c (people, files)
 */
#ifndef MM_CLIENT_H
#define MM_CLIENT_H

#include "base/base.h"
#include "wire/wire.h"

enum mm_exit { MM_EXIT_OK = 0, MM_EXIT_FAILED = 1, MM_EXIT_USAGE = 2, MM_EXIT_NO_DAEMON = 3 };

/* ---- term.c: what the terminal can do, and what may be shown on it ---- */

struct mm_term {
	bool tty; /* output goes to a terminal: live updates, tables fitted to its width */
	bool color, utf8;
	int width, height; /* columns, rows; width 0: no bound (a file or pipe) */
};
enum mm_style { MM_PLAIN, MM_BOLD, MM_DIM, MM_RED, MM_GREEN, MM_YELLOW, MM_BLUE, MM_MAGENTA, MM_CYAN, MM_N_STYLES };

/* fd: of the output; `color` is "auto", "always" or "never". Looks at NO_COLOR, TERM, COLUMNS, the locale. */
void mm_term_init(struct mm_term *t, int fd, const char *color, bool ascii);
void mm_term_resize(struct mm_term *t, int fd);			  /* looks at a terminal's size again */
const char *mm_term_on(const struct mm_term *t, enum mm_style s); /* "" without colour */
const char *mm_term_off(const struct mm_term *t, enum mm_style s);
/* A name fit to be printed: control and direction characters, malformed bytes and, without UTF-8, everything beyond
 * ASCII become '?'. Returns its width in columns; always terminated, cut at a character. */
int mm_term_clean(const struct mm_term *t, const char *s, char *out, size_t cap);
int mm_term_width(const struct mm_term *t, const char *clean); /* columns of cleaned text */
/* Cuts cleaned text to at most `width` columns with an ellipsis in the middle, where names differ least. */
void mm_term_fit(const struct mm_term *t, const char *clean, int width, char *out, size_t cap);
const char *mm_glyph(const struct mm_term *t, const char *utf8, const char *ascii);

/* ---- out_table.c ---- */

struct mm_col {
	const char *title; /* with the unit, if it has one: "SIZE B" */
	bool right;
	int prio; /* 0: never dropped; otherwise the highest goes first when the terminal is too narrow */
	int min;  /* columns it may be shortened to; 0: not shortened */
};
struct mm_table;
struct mm_table *mm_table_new(const struct mm_col *cols, size_t n, struct mm_err *err) MM_MUST_CHECK;
/* Sets the next cell of the row; the text is cleaned when printed. */
void mm_table_put(struct mm_table *t, enum mm_style s, const char *fmt, ...) MM_PRINTF(3, 4);
size_t mm_table_rows(const struct mm_table *t);
/* Columns without any text are left out. -1 when memory ran out while filling. */
int mm_table_print(const struct mm_table *t, const struct mm_term *term, FILE *out, struct mm_err *err) MM_MUST_CHECK;
void mm_table_free(struct mm_table *t);

/* ---- out_fmt.c: JSON values as people read them; a missing one gives "" ---- */

#define MM_CELL 64
const char *mm_fmt_bits(const json_t *v, char out[MM_CELL]);  /* bits per byte, five digits that count */
const char *mm_fmt_num(const json_t *v, char out[MM_CELL]);   /* four digits that count */
const char *mm_fmt_count(const json_t *v, char out[MM_CELL]); /* 1.1M: parameters, 1000-based */
bool mm_count_parse(const char *s, int64_t *out); /* and back: 3B, 350M, 1000000; false: no number above 0 */
const char *mm_fmt_bytes(const json_t *v, char out[MM_CELL]);
const char *mm_fmt_age(const json_t *v, int64_t now, char out[MM_CELL]); /* of a unix time: "5m20s" ago */
const char *mm_fmt_eta(const json_t *v, char out[MM_CELL]);
const char *mm_str(const json_t *o, const char *key); /* "" when absent */
int64_t mm_int(const json_t *o, const char *key, int64_t dflt);
double mm_num(const json_t *o, const char *key, double dflt);
enum mm_style mm_style_of_state(const char *state);
/* "[#####-----]" of `width` columns, with block characters where there are */
void mm_fmt_bar(const struct mm_term *t, double share, int width, char *out, size_t cap);
int mm_name_cmp(const char *a, const char *b); /* numbers by value: checkpoint-200 before checkpoint-1000 */
/* Compact on one line; indented and in ASCII on a terminal. */
int mm_json_print(const json_t *j, const struct mm_term *t, FILE *out, struct mm_err *err) MM_MUST_CHECK;

/* ---- conn.c: the only file that knows ZeroMQ ---- */

struct mm_conn_opts {
	const char *socket;	/* NULL: $MODELMAP_SOCKET, else the places where a daemon would be */
	const char *server_key; /* tcp: the daemon's public key, 40 characters, or a file with it */
	const char *key;	/* tcp: file with our secret key */
	double timeout;		/* seconds for a call; 0: for ever */
};
struct mm_conn;
struct mm_conn *mm_conn_open(const struct mm_conn_opts *o, bool *no_daemon, struct mm_err *err) MM_MUST_CHECK;
void mm_conn_close(struct mm_conn *c);
const char *mm_conn_url(const struct mm_conn *c);
/* Takes args (may be NULL); *body: caller decrefs. *no_daemon: nobody answered or the daemon went away. */
int mm_conn_call(struct mm_conn *c, const char *cmd, json_t *args, json_t **body, struct mm_err *err) MM_MUST_CHECK;
bool mm_conn_no_daemon(const struct mm_conn *c); /* why the last call failed */
void mm_conn_set_timeout(struct mm_conn *c, double seconds);
/* Fetches the bulk data that `body` names; progress may be NULL. */
typedef int (*mm_sink)(void *ctx, const void *data, size_t n, struct mm_err *err);
int mm_conn_fetch(struct mm_conn *c, const json_t *body, mm_sink sink, void *ctx,
	void (*progress)(void *ctx, uint64_t done, uint64_t total), struct mm_err *err) MM_MUST_CHECK;
/* Follows events at `endpoint`. */
int mm_conn_follow(struct mm_conn *c, const char *endpoint, struct mm_err *err) MM_MUST_CHECK;
/* 1: *event is the next one; 0: none within `seconds`; -1: broken. A signal that wants us to end makes it return 0. */
int mm_conn_event(struct mm_conn *c, double seconds, json_t **event, struct mm_err *err) MM_MUST_CHECK;
void mm_conn_pause(double seconds); /* a signal ends it early */
/* A new pair of keys (Z85). */
int mm_conn_keygen(char public_key[41], char secret_key[41], struct mm_err *err) MM_MUST_CHECK;

/* ---- cli.c, cli_table.c: words, options, commands ---- */

#define MM_MAX_WORDS 4096
struct mm_cli {
	const struct mm_cli_cmd *cmd;
	const char **word; /* [n_word] what is not an option */
	size_t n_word;
	FILE *out, *err;
	struct mm_term term;
	struct mm_conn *conn;  /* NULL until mm_cli_call */
	bool no_daemon, usage; /* why the command failed: exit status 3, 2 */
	struct mm_cli_opts {
		const char *socket, *events, *server_key, *key, *color, *svg, *note, *output, *vectors, *names, *coords,
			*domain, *sort, *title, *kind, *method, *family, *max_params, *linkage, *bench, *dtype,
			*max_bytes, *since, *by, *texts, *config, *png, *graphml, *csv, *html, *tensorboard, *metric,
			*meta;
		bool rules, json, ascii, all, help, until_idle, once, force, no_labels, smaller, newick,
			missing_features;
		int64_t k, seed, folds, dim, n, bytes, epoch, min_models;
		double timeout; /* < 0: the command's own */
	} o;
};

enum mm_opt_type { MM_OPT_FLAG, MM_OPT_STR, MM_OPT_INT, MM_OPT_TIME };
struct mm_opt {
	const char *name;
	char letter; /* 0: none */
	enum mm_opt_type type;
	size_t off;	      /* in struct mm_cli_opts */
	const char *value;    /* what stands for the value in the help */
	double min, max;      /* INT */
	const char *complete; /* "file", "dir", "model", or choices "a|b" (checked too); NULL: nothing */
	const char *help;
};
#define MM_CLI_MAX_OPTS 12
struct mm_cli_cmd {
	const char *name, *args, *help;
	size_t min_word, max_word;
	const char *complete; /* of words: "model", "file", "alert", "a|b"; several by spaces, the last one repeats */
	double timeout;	      /* of a call, seconds, unless --timeout says so */
	const char *opt[MM_CLI_MAX_OPTS + 1];		  /* names of options besides the global ones */
	int (*run)(struct mm_cli *c, struct mm_err *err); /* 0, or -1 with err set */
};
extern const struct mm_cli_cmd mm_cli_cmds[];
extern const size_t mm_n_cli_cmds;
extern const struct mm_opt mm_cli_opts[];
extern const size_t mm_n_cli_opts;
extern const char *const mm_cli_global[]; /* names, NULL at the end */
const struct mm_cli_cmd *mm_cli_cmd_find(const char *name);
const struct mm_opt *mm_cli_opt_find(const char *name);
bool mm_cli_opt_applies(const struct mm_cli_cmd *cmd, const struct mm_opt *o);

int mm_cli_main(int argc, const char *const *argv, FILE *out, FILE *err); /* exit status */
/* Fills `c` from the words after the program's name. MM_EINVAL: usage. */
int mm_cli_parse(struct mm_cli *c, int argc, const char *const *argv, struct mm_err *err) MM_MUST_CHECK;
void mm_cli_help(const struct mm_cli *c, FILE *out); /* of c->cmd, or of all */
void mm_cli_complete(struct mm_cli *c);		     /* candidates for the shell, see completion.bash */
int mm_cli_man(const char *part, FILE *f);	     /* cli_man.c: a part of the manual */
/* Connects on first use. */
int mm_cli_call(struct mm_cli *c, const char *cmd, json_t *args, json_t **body, struct mm_err *err) MM_MUST_CHECK;
/* Call; with --json the body is printed and *body is NULL: nothing is left to do. */
int mm_cli_ask(struct mm_cli *c, const char *cmd, json_t *args, json_t **body, struct mm_err *err) MM_MUST_CHECK;
void mm_say(const struct mm_cli *c, const char *fmt, ...) MM_PRINTF(2, 3); /* a remark to stderr */
/* Installs handlers once; true after SIGINT or SIGTERM. */
bool mm_cli_stopped(void);
void mm_cli_catch_signals(void);

int mm_run_status(struct mm_cli *c, struct mm_err *err);
int mm_run_doctor(struct mm_cli *c, struct mm_err *err);
int mm_run_top(struct mm_cli *c, struct mm_err *err);
int mm_run_models(struct mm_cli *c, struct mm_err *err);
int mm_run_show(struct mm_cli *c, struct mm_err *err);
int mm_run_near(struct mm_cli *c, struct mm_err *err);
int mm_run_tree(struct mm_cli *c, struct mm_err *err);
int mm_run_cluster(struct mm_cli *c, struct mm_err *err);
int mm_run_trajectory(struct mm_cli *c, struct mm_err *err);
int mm_run_dist(struct mm_cli *c, struct mm_err *err);
int mm_run_map(struct mm_cli *c, struct mm_err *err);
int mm_run_scores(struct mm_cli *c, struct mm_err *err);
int mm_run_predict(struct mm_cli *c, struct mm_err *err);
int mm_run_queue(struct mm_cli *c, struct mm_err *err);
int mm_run_job(struct mm_cli *c, struct mm_err *err); /* retry, cancel, rescore */
int mm_run_alerts(struct mm_cli *c, struct mm_err *err);
int mm_run_alert(struct mm_cli *c, struct mm_err *err);
int mm_run_recheck(struct mm_cli *c, struct mm_err *err);
int mm_run_rescore(struct mm_cli *c, struct mm_err *err);
int mm_run_watch(struct mm_cli *c, struct mm_err *err);
int mm_run_refit(struct mm_cli *c, struct mm_err *err);
int mm_run_epochs(struct mm_cli *c, struct mm_err *err);
int mm_run_backup(struct mm_cli *c, struct mm_err *err);
int mm_run_export(struct mm_cli *c, struct mm_err *err);
int mm_run_import(struct mm_cli *c, struct mm_err *err);
int mm_run_forget(struct mm_cli *c, struct mm_err *err);
int mm_run_texts(struct mm_cli *c, struct mm_err *err);
int mm_texts_select(struct mm_cli *c, struct mm_err *err); /* cmd_select.c: of mm_run_texts */
int mm_run_metrics(struct mm_cli *c, struct mm_err *err);
int mm_run_fisher(struct mm_cli *c, struct mm_err *err);
int mm_run_merge_check(struct mm_cli *c, struct mm_err *err);
int mm_run_place(struct mm_cli *c, struct mm_err *err);
int mm_run_keygen(struct mm_cli *c, struct mm_err *err);
int mm_run_call(struct mm_cli *c, struct mm_err *err);

/* ---- part.c: a file that is there when it is whole ---- */

struct mm_part {
	char *tmp; /* NULL: written into path itself */
	const char *path;
	int fd;
};
int mm_part_open(struct mm_part *p, const char *path, bool force, unsigned mode,
	struct mm_err *err) MM_MUST_CHECK;						     /* force: replace */
int mm_part_write(void *part, const void *data, size_t n, struct mm_err *err) MM_MUST_CHECK; /* an mm_sink */
int mm_part_close(struct mm_part *p, bool good, struct mm_err *err) MM_MUST_CHECK; /* not good: as if it had not been */

/* ---- child.c: another program is asked ---- */

struct mm_child_call {
	const char *const *argv; /* NULL at the end */
	const void *in;		 /* its standard input; may be NULL */
	size_t n_in, max;	 /* max: bytes of its output that are taken */
	double timeout;		 /* seconds */
	bool quiet;		 /* its standard error goes nowhere */
};
/* Fails when it cannot be run (MM_ENOENT: is not installed) or ends with another status than 0. */
int mm_child_ask(const struct mm_child_call *c, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK;
void mm_child_program(const char *name, char *out, size_t cap); /* one of ours: beside us, else by $PATH */

/* ---- metric_view.c: distances by other metrics than kl ---- */

void mm_metric_arg(const struct mm_cli *c, json_t *args); /* --metric */
bool mm_metric_other(const json_t *answer);		  /* is it by another metric? */
double mm_distance(const json_t *o);			  /* "distance", else "kl_bits_per_byte", else 0 */
const char *mm_fmt_distance(const json_t *o, char out[MM_CELL]);
void mm_metric_note(const struct mm_cli *c, const json_t *answer); /* who was left out, if anybody was */
int mm_metric_print_near(struct mm_cli *c, const json_t *b, struct mm_err *err) MM_MUST_CHECK;
int mm_metric_print_way(struct mm_cli *c, const json_t *b, struct mm_err *err) MM_MUST_CHECK;
int mm_metric_print_dist(struct mm_cli *c, const json_t *b, struct mm_err *err) MM_MUST_CHECK;

/* ---- map_html.c: the page for a browser with its answers inside, to --html ---- */
int mm_map_html(struct mm_cli *c, struct mm_err *err) MM_MUST_CHECK;

/* ---- map_view.c: map, models and alerts joined for the eye ---- */

struct mm_view_point {
	const char *name;  /* borrowed from the replies */
	const char *label; /* shown in its place; NULL: the name */
	double x, y;
	unsigned family; /* index of the view's families */
	unsigned alert;	 /* 0: none, 1: acknowledged, 2: open */
	const char *alert_text;
	const json_t *model; /* its row of `models`, or NULL */
};
struct mm_view_run { /* a line through points, by step */
	const char *name;
	size_t n, *at;
};
struct mm_view {
	json_t *map, *models, *alerts; /* owned; models and alerts may be NULL */
	struct mm_view_point *point;   /* [n] by name */
	size_t n, n_family, n_run;
	const char **family; /* [n_family] most members first; borrowed */
	struct mm_view_run *run;
	double x0, x1, y0, y1; /* extent; never empty */
	int64_t epoch;
	const char *method, *unit, *domain; /* domain: "": all texts */
	int64_t dims;
	double explained[2];		/* shares of the variance; NaN: not told */
	double trustworthiness, recall; /* of the layout; NaN: not told */
};
int mm_view_make(struct mm_view *v, json_t *map, json_t *models, json_t *alerts,
	struct mm_err *err) MM_MUST_CHECK; /* takes the three */
void mm_view_free(struct mm_view *v);
void mm_view_caption(const struct mm_view *v, char *out, size_t cap);
/* Round distances of ticks: 1, 2, 5 times a power of ten, about `n` of them in `span`. */
double mm_tick_step(double span, int n);

/* ---- place.c: labels beside points, none over another ---- */

struct mm_box {
	double x0, y0, x1, y1;
};
struct mm_label {
	double x, y, r;	   /* the point and the radius its mark takes */
	double rx;	   /* horizontal radius, where a cell is not square; 0: r */
	double w, h;	   /* size of the text */
	double weight;	   /* heavier ones choose first */
	bool shown;	   /* out */
	struct mm_box box; /* out: where the text goes */
};
/* Tries places around each point, nearest first, inside `frame`; marks of all points and labels already placed are kept
 * free. What finds no place is not shown. `grid`: corners are whole numbers. Same input, same places. */
int mm_place_labels(
	struct mm_label *l, size_t n, struct mm_box frame, double gap, bool grid, struct mm_err *err) MM_MUST_CHECK;

/* ---- term_map.c, out_svg.c ---- */

int mm_term_map(const struct mm_view *v, const struct mm_term *t, int width, int height, bool labels, FILE *out,
	struct mm_err *err) MM_MUST_CHECK;
int mm_svg_map(const struct mm_view *v, const char *title, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK;
/* out_dendro.c: the reply of `cluster` as a tree of joins */
int mm_svg_dendrogram(const json_t *cluster, const char *title, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK;
/* alert_view.c: what an alert rests on, for people; its histogram as a picture (an error when it has none) */
int mm_alert_evidence(const struct mm_cli *c, const json_t *evidence, struct mm_err *err) MM_MUST_CHECK;
int mm_svg_alert(const json_t *alert, struct mm_buf *b, struct mm_err *err) MM_MUST_CHECK;
void mm_xml_put(struct mm_buf *b, const char *s); /* escaped; what XML cannot hold becomes U+FFFD */

/* out_near.c, out_tree.c: the replies of `near` and `tree` as pictures */
int mm_svg_near(const json_t *near, const char *title, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK;
int mm_svg_tree(const json_t *tree, const char *title, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK;

/* ---- out_picture.c: --svg and --png of every command that draws ---- */

/* Head of a picture: size, white ground, title, caption. */
void mm_svg_head(struct mm_buf *b, double w, double h, const char *title, const char *caption);
bool mm_picture_wanted(const struct mm_cli *c);
bool mm_picture_only(const struct mm_cli *c); /* it goes to the standard output, so nothing else does */
int mm_picture_write(const struct mm_cli *c, const struct mm_buf *svg, struct mm_err *err) MM_MUST_CHECK;
/* An answer, or the map, drawn and written; `title` unless --title gives another. */
typedef int mm_svg_fn(const json_t *answer, const char *title, struct mm_buf *out, struct mm_err *err);
int mm_picture_of(const struct mm_cli *c, mm_svg_fn *svg, const json_t *answer, const char *title,
	struct mm_err *err) MM_MUST_CHECK;
int mm_picture_map(
	const struct mm_cli *c, const struct mm_view *v, const char *title, struct mm_err *err) MM_MUST_CHECK;
/* Whole contents to a file, or with "-" to the output; told on stderr. */
int mm_file_give(
	const struct mm_cli *c, const char *path, const void *data, size_t n, struct mm_err *err) MM_MUST_CHECK;

/* ---- out_graph.c: the family tree for other programs ---- */

/* Parents by index: a reply whose parents form a ring loses the link that closes it. */
struct mm_family {
	size_t n;
	const json_t **model; /* [n] rows of the reply, parents before their children */
	size_t *parent;	      /* [n] SIZE_MAX: a root */
	size_t *parent2;      /* [n] of a merge; SIZE_MAX: none */
	unsigned *depth;      /* [n] generations above */
};
int mm_family_make(struct mm_family *f, const json_t *tree, struct mm_err *err) MM_MUST_CHECK;
void mm_family_free(struct mm_family *f);
int mm_graphml(const json_t *tree, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK;
int mm_newick(const json_t *tree, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK;

/* ---- scores_json.c: benchmark scores as others publish them, into a CSV table ---- */

bool mm_scores_is_json(const char *text);
/* models: rows of `models`, so that "org/name" finds the directory that it is here. */
int mm_scores_json(
	const char *text, size_t len, const json_t *models, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK;

/* ---- export_files.c: models and vectors as tables for other programs ---- */

void mm_csv_put(struct mm_buf *b, const char *s); /* quoted where it has to be */
void mm_tsv_put(struct mm_buf *b, const char *s); /* tab, line break and backslash as \t, \n, \r, \\ */
int mm_export_csv(struct mm_cli *c, const char *path, struct mm_err *err) MM_MUST_CHECK;
int mm_export_tensorboard(struct mm_cli *c, const char *dir, struct mm_err *err) MM_MUST_CHECK;

/* ---- import_meta.c: figures of imported models from CSV or JSON lines ---- */
/* {name: {argument of `import`: value}}; NULL: an error, with line and column. name[n]: the models there are. */
json_t *mm_import_meta(const char *path, const char *const *name, size_t n, struct mm_err *err) MM_MUST_CHECK;

/* ---- texts_build.c: files into chunks ---- */

struct mm_chunks {
	struct mm_chunk {
		char *text;
		size_t len;
		unsigned domain;
		uint64_t key; /* place in the sample */
	} * chunk;
	size_t n, cap;
	size_t piece_max; /* bytes; 0: 1,024 */
	char **domain;
	size_t n_domain, cap_domain;
	size_t n_file, n_binary, n_short, n_duplicate, n_line; /* files read, passed over; pieces too short or seen */
	struct mm_hash *seen;				       /* open addressing; zero: free */
	size_t cap_seen, n_seen;
};
/* Adds a file, or all files below a directory (by name, hidden ones not). domain NULL: by the file's type. */
int mm_chunks_add(struct mm_chunks *c, const char *path, const char *domain, struct mm_err *err) MM_MUST_CHECK;
/* Cuts text at UTF-8 boundaries into pieces of at most piece_max bytes; those of 256 bytes or less are left out. */
int mm_chunks_cut(
	struct mm_chunks *c, const char *text, size_t len, const char *domain, struct mm_err *err) MM_MUST_CHECK;
/* Keeps a random sample of n (0: all), the same for the same seed whatever the order of the files, in random order. */
void mm_chunks_sample(struct mm_chunks *c, size_t n, uint64_t seed);
int mm_chunks_write(const struct mm_chunks *c, struct mm_buf *out, struct mm_err *err) MM_MUST_CHECK; /* JSONL */
void mm_chunks_free(struct mm_chunks *c);

#endif
