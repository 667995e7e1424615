/* config_priv.h - the key table as the files of the configuration see it. */
#ifndef MM_CONFIG_PRIV_H
#define MM_CONFIG_PRIV_H

#include "daemon/config.h"

enum mm_key_type {
	MM_K_STRING,   /* any text; empty: NULL */
	MM_K_PATH,     /* file or directory, made absolute; empty: NULL */
	MM_K_PATHS,    /* list of them */
	MM_K_ENDPOINT, /* ipc://PATH or tcp://HOST:PORT; empty: NULL */
	MM_K_WORD,     /* one of `words`, kept as text */
	MM_K_ENUM,     /* one of `words`, kept as its number */
	MM_K_BOOL,
	MM_K_UINT,
	MM_K_NUMBER,
	MM_K_DURATION, /* kept in seconds */
	MM_K_SIZE,     /* kept in bytes */
	MM_N_KEY_TYPES
};

enum mm_key_flag {
	MM_K_RESTART = 1, /* a reload does not change it */
	MM_K_EMPTY = 2,	  /* may be empty */
	MM_K_AUTO = 4,	  /* 0 is written "auto" */
};

struct mm_key_row {
	const char *section, *name; /* section "": top level */
	enum mm_key_type type;
	unsigned flags;
	size_t at;
	double min, max;
	const char *def;	  /* as in a file; lists: one item */
	const char *const *words; /* up to NULL */
	const char *help;	  /* one sentence or a few */
};
extern const struct mm_key_row mm_keys[];
extern const size_t mm_n_keys;

struct mm_key_section {
	const char *name, *help;
};
extern const struct mm_key_section mm_sections[]; /* "" first */
extern const size_t mm_n_sections;

const char *mm_key_type_help(const struct mm_key_row *k); /* "a duration such as 5s, 2m30s, 1h" */
/* Sets one key from its text (one item of a list: appended). Errors say what is wrong, without file and line. */
int mm_key_set(struct mm_config *c, const struct mm_key_row *k, const char *text, struct mm_err *err) MM_MUST_CHECK;
void mm_key_clear(struct mm_config *c, const struct mm_key_row *k);
/* The text of a value, as it would stand in a file, without quotes (not for lists). */
void mm_key_text(const struct mm_config *c, const struct mm_key_row *k, struct mm_buf *out);
void mm_key_range(const struct mm_key_row *k, const char *between, struct mm_buf *out); /* "0s .. 1d" */
bool mm_key_same(const struct mm_config *a, const struct mm_config *b, const struct mm_key_row *k);
void mm_key_swap(struct mm_config *a, struct mm_config *b, const struct mm_key_row *k);
void *mm_key_at(const struct mm_config *c, const struct mm_key_row *k);

#endif
