/* score_priv.h - modes of the modelmap-score program, one file each; score_main.c makes the environment right and
 *calls.
 *
 *	score_opts.c	options
 *	score_texts.c	--texts: log-likelihoods of a text set to a file
 *	score_stream.c	--stream FD: the same for the daemon, as frames of lib/wire
 *	score_feat.c	--probes: next-byte features in both
 *	score_ids.c	--ids and --tokens: given token ids, tokens of given strings
 *	score_out.c	writing results, progress lines
 *	score_limit.c	what the daemon's child does to itself before it opens anything
 *	score_probe.c	--probe
 */
#ifndef MM_SCORE_PRIV_H
#define MM_SCORE_PRIV_H

#include "model/model.h"

enum mm_score_format { MM_FORMAT_AUTO, MM_FORMAT_NPY, MM_FORMAT_JSON, MM_FORMAT_TSV };

struct mm_score_cli { /* strings borrowed from argv */
	const char *model, *texts, *ids, *tokens, *probe, *out, *search, *token_cache, *resume;
	struct mm_model_opts mo;
	size_t probes; /* places of next-byte features; 0: none */
	bool exact;
	enum mm_bos bos;
	enum mm_score_format format;
	int stream_fd; /* -1: not the daemon's child */
	bool normal;   /* --stream and --full: at normal priority */
	bool progress, no_special, families, verbose, version, help, full;
};
/* 0; or -1 and *err, which is a usage error (exit status 2). */
int mm_score_opts_parse(struct mm_score_cli *o, int argc, char **argv, struct mm_err *err) MM_MUST_CHECK;
void mm_score_usage(FILE *f);
const char *mm_bos_name(enum mm_bos b);
const char *mm_compute_name(enum mm_compute c);

int mm_score_texts_main(const struct mm_score_cli *o, struct mm_err *err) MM_MUST_CHECK;
int mm_score_ids_main(const struct mm_score_cli *o, struct mm_err *err) MM_MUST_CHECK;
int mm_score_tokens_main(const struct mm_score_cli *o, struct mm_err *err) MM_MUST_CHECK;
/* The daemon's child. On failure it has said so in the stream, if that was possible.
 *
 * Metadata frame (one object): "version", "model" (path), "family", "architecture", "container", "dtype", "params",
 * "bytes", "layers", "width", "vocab", "context" (0: unlimited), "compute" ("f32" or "bf16"), "compute_policy" (as
 * asked for), "kernel", "threads", "bos", "texts" (hash of the text set, hex), "n_texts", "n_tokens" (scored, all
 * texts), "n_cut", "tokens_per_s", "seconds_load", "seconds_tokenize", "seconds_score", "tokenizer" (class),
 * "tokenizer_hash", of long jobs "gemm_gflops" (rate of plain products, measured) and "gemm_share" (of it, what the
 * scoring is worth), "quick", "full" (fingerprints, hex), "peak_rss" (bytes). Arrays: "loglik" f32 [N], "n_tokens" u32
 * [N], "cut" u8 [N], "mink20", "mink20pp" and "unigram" f32 [N] (lib/model/signs.c), "tokenizer_hash" and "config_hash"
 * u8 [16], "weight_sample" f32 [1024]; with --probes "next_byte" f16 [M, 257] (sqrt(p) of the next byte, then of the
 * text's end, lib/model/feat_priv.h), "next_byte_missed" f32 [M], "vocab_proj" f16 [M, 64] (lib/model/feat_tap.c),
 * "probe_set" u8 [32] (mm_probes_id), or "no_features" u8 [bytes of the reason]; metadata "features" says which. */
int mm_score_stream_main(const struct mm_score_cli *o, struct mm_err *err) MM_MUST_CHECK;

#define MM_RESUME_WAIT 2.0 /* seconds between two writings of --resume; a job that takes less makes no file */

/* score_out.c */
int mm_out_write(const struct mm_score_cli *o, const void *data, size_t len,
	struct mm_err *err) MM_MUST_CHECK; /* -o or stdout */
int mm_out_json(const struct mm_score_cli *o, const json_t *j, struct mm_err *err) MM_MUST_CHECK;
int mm_out_result(const struct mm_score_cli *o, const struct mm_model *m, const struct mm_texts *t,
	const struct mm_score_result *r, struct mm_err *err) MM_MUST_CHECK;
int mm_out_progress(void *ctx, const struct mm_score_progress *p); /* a line on stderr; ctx: NULL */

/* score_feat.c */
struct mm_frame_out;
int mm_score_features_put(struct mm_frame_out *out, const struct mm_features *f, struct mm_err *err) MM_MUST_CHECK;
json_t *mm_score_features_meta(const struct mm_features *f); /* NULL: none were asked for, or no memory */
json_t *mm_score_features_json(
	const struct mm_features *f, const struct mm_texts *t, size_t asked, struct mm_err *err) MM_MUST_CHECK;

/* Lowest priority (if `idle`), dies with its parent, no new privileges, first to go when memory is short, few
 * descriptors. */
int mm_score_limit(bool idle, struct mm_err *err) MM_MUST_CHECK;

/* --probe PATH [--search DIR] [--full]: prints the JSON of mm_probe on one line; with --full and when it is ready, the
 * full fingerprint is in it too ("full"), for which every byte is read. DIR is the watched directory, where an
 * adapter's base may be and above which no tokenizer is looked for (may be NULL). Exit status: 0 whatever the state, 1
 * when the probe itself cannot be done. */
int mm_score_probe_main(const struct mm_score_cli *o);

#endif
