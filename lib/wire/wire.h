/* wire.h - what programs say to each other: messages between client and daemon, frames between scorer and daemon.
 * No sockets here, so that all of it can be tested and fuzzed as bytes. */
#ifndef MM_WIRE_H
#define MM_WIRE_H

#include "base/base.h"

/* ---- msg.c: the command table; msg_parse.c: requests and replies as bytes ----
 *
 * Request   one frame  {"v":1, "id":N, "cmd":"near", ...arguments}
 * Reply     first frame {"v":1, "id":N, "ok":true, "cmd":..., ...body} or {"v":1, "id":N, "ok":false,
 *           "error":{"code":"not_found","text":"..."}}. The body's keys stand beside the envelope's, so a body must not
 *           use v, id, ok, cmd, error, bulk at its top level (nested objects may).
 * Bulk      the reply of a bulk command holds "bulk":{"handle":H,"bytes":B}; the client then asks `chunk` {handle,
 * offset} until it has B bytes; such a reply has one binary frame (at most MM_CHUNK_MAX bytes) behind its JSON. Every
 * argument of every command stands in the table: an unknown key, a missing one or a wrong type is refused by name. */
#define MM_WIRE_VERSION 1
#define MM_REQUEST_MAX	(UINT32_C(64) << 10) /* bytes of a request frame */
#define MM_CHUNK_MAX	(UINT32_C(1) << 20)  /* bytes of a bulk frame */

enum mm_access { MM_READ, MM_WRITE };

enum mm_arg_type { MM_ARG_STR, MM_ARG_INT, MM_ARG_NUM, MM_ARG_BOOL };
struct mm_arg {
	const char *name;
	enum mm_arg_type type;
	bool required;
	double min, max;     /* INT, NUM: value; STR: bytes; both 0: any value, strings up to 4096 bytes */
	const char *choices; /* STR: "ack|resolve|reopen"; NULL: any */
	const char *help;
};
#define MM_CMD_MAX_ARGS 16
struct mm_cmd {
	const char *name;
	enum mm_access access;
	bool bulk; /* the reply names a handle whose bytes are fetched with `chunk` */
	const char *help;
	struct mm_arg arg[MM_CMD_MAX_ARGS + 1]; /* up to the first with a NULL name */
};
extern const struct mm_cmd mm_cmds[];
extern const size_t mm_n_cmds;
const struct mm_cmd *mm_cmd_find(const char *name);	/* NULL: unknown */
const char *mm_access_name(enum mm_access a);		/* "read", "write" */
const char *mm_arg_type_name(enum mm_arg_type t);	/* "a string", ... */
json_t *mm_cmds_json(struct mm_err *err) MM_MUST_CHECK; /* the table for other programs: {"commands":[...]} */

struct mm_request {
	const struct mm_cmd *cmd;
	int64_t id;
	json_t *body; /* owned: the whole request object; every argument of the table has been checked */
};
/* Parses and checks one request frame. On failure the id is still set when it could be read (else 0), for the error
 * reply. MM_EFORMAT: not JSON, MM_EUNSUPPORTED: version or command, MM_EINVAL: arguments. */
int mm_request_parse(const void *data, size_t len, struct mm_request *out, struct mm_err *err) MM_MUST_CHECK;
void mm_request_fini(struct mm_request *r);
/* Builds a request: takes `args` (may be NULL). Caller decrefs. */
json_t *mm_request_new(int64_t id, const char *cmd, json_t *args, struct mm_err *err) MM_MUST_CHECK;
/* Builds replies; `body` is taken (NULL: empty); one that uses a key of the envelope is MM_EINTERNAL. Caller decrefs.
 */
json_t *mm_reply_ok(int64_t id, const char *cmd, json_t *body, struct mm_err *err) MM_MUST_CHECK;
json_t *mm_reply_error(int64_t id, const struct mm_err *why);
/* Takes a reply apart. 0: *body is the reply without its envelope (owned). -1: malformed, or an error reply, and then
 * err has the daemon's own code and text and *refused is true. *id is set when it could be read, else -1. */
int mm_reply_parse(
	const void *data, size_t len, int64_t *id, json_t **body, bool *refused, struct mm_err *err) MM_MUST_CHECK;

/* ---- frame.c: the scorer's stream ----
 *
 * The stream starts with "MMS1" and is a row of frames: type u8, reserved u8[3] = 0, length u32, payload. Types:
 *   'P' progress  JSON {"stage","done","total","tokens","tokens_total","tokens_per_s","eta_s"}
 *   'A' array     u16 name length, name, u8 dtype (enum mm_array_type), u8 n_dim, u64 dim[n_dim], data little-endian
 *   'M' metadata  JSON (one frame), see below
 *   'E' error     JSON {"code","text"}: the last frame before 'Z' of a failed job
 *   'Z' end       XXH3-128 of every byte before this frame's header: low u64, high u64
 * Metadata: the daemon asks for "texts" (hash of the text set, hex), "n_texts", "bos", "compute_policy" (as asked for),
 *   "quick" and "full" (fingerprints, hex) and keeps "version", "compute", "family", "architecture", "container",
 *   "dtype", "params", "bytes", "context", "vocab", "n_cut", "tokens_per_s", "seconds_load|tokenize|score". `quick` is
 *   computed from what was read for this scoring, as `--probe` computes it. Arrays: `loglik` f32 [N], `n_tokens` u32
 * [N]. An array of one name comes once; n_dim 0 is one element. JSON frames have at most 16 MiB. Frames larger than
 * MM_FRAME_MAX are not possible; a scorer that dies leaves a stream without 'Z', which is no result.
 */
#define MM_FRAME_MAX (UINT32_C(1) << 30)

/* Version of the scorer's arithmetic and token rules, "version" of the metadata. It rises when the same model and texts
 * may give values that differ by more than rounding; lib/store/pin.c lists which versions go together. */
#define MM_SCORER_VERSION "1"

enum mm_array_type { MM_A_F32 = 1, MM_A_F64 = 2, MM_A_U32 = 3, MM_A_U8 = 4, MM_A_F16 = 5 };
size_t mm_array_type_size(unsigned type); /* 0: unknown */

struct mm_array {	  /* borrowed views */
	const char *name; /* NUL-terminated, at most 63 bytes, [a-z0-9_] */
	enum mm_array_type type;
	unsigned n_dim;
	uint64_t dim[4];
	const void *data; /* may be unaligned in a stream: copy before use */
	size_t n_byte;
};

/* Writing: blocking, to a pipe or file (SIGPIPE ignored by the caller). After a failed write every later call fails. */
struct mm_frame_out;
struct mm_frame_out *mm_frame_out_new(int fd, struct mm_err *err) MM_MUST_CHECK; /* writes the magic */
int mm_frame_put_json(struct mm_frame_out *o, char type, const json_t *j, struct mm_err *err) MM_MUST_CHECK;
int mm_frame_put_array(struct mm_frame_out *o, const struct mm_array *a, struct mm_err *err) MM_MUST_CHECK;
int mm_frame_end(struct mm_frame_out *o, struct mm_err *err) MM_MUST_CHECK;
void mm_frame_out_free(struct mm_frame_out *o); /* does not close fd */

/* Reading: fed with whatever bytes arrive, hands out whole frames. */
struct mm_frame_in;
struct mm_frame { /* borrowed until the next call on the reader */
	char type;
	json_t *json;	       /* 'P', 'M', 'E' */
	struct mm_array array; /* 'A' */
};
struct mm_frame_in *mm_frame_in_new(size_t max_bytes, struct mm_err *err) MM_MUST_CHECK; /* bound on the whole stream */
int mm_frame_in_feed(struct mm_frame_in *i, const void *data, size_t len, struct mm_err *err) MM_MUST_CHECK;
/* 1: *out filled; 0: needs more bytes; -1: malformed (sticky). After 'Z' with a right checksum `mm_frame_in_done` is
 * true. */
int mm_frame_in_next(struct mm_frame_in *i, struct mm_frame *out, struct mm_err *err) MM_MUST_CHECK;
bool mm_frame_in_done(const struct mm_frame_in *i);
void mm_frame_in_free(struct mm_frame_in *i);

/* ---- msg_parse.c, events: what PUB sends ----
 *
 * Two frames: topic and JSON {"v":1, "boot":hex, "seq":N, "time":unix, "type":topic, ...}. seq counts every event of
 * one run of the daemon (boot changes with it): a gap means lost events, and the client asks `events_since` {boot, seq}
 * on the control or query socket for what it missed. Bodies, beside the envelope: "model"      the object that `models`
 * shows "job"        the object that `queue` shows: {"id","model","state","reason","progress","eta_s",...} "alert" the
 * object that `alerts` shows "map"        {"epoch","method",...}: a new epoch "status"     anything else worth a line:
 * {"text":...} "heartbeat"  nothing; not numbered itself: its seq is that of the last event, so that a lost last one
 * shows */
#define MM_HEARTBEAT_S 2.0 /* seconds between heartbeats */

struct mm_event_head {
	const char *boot, *type; /* borrowed from the JSON */
	int64_t seq, time;
};
/* `body` is taken (NULL: empty). Caller decrefs. */
json_t *mm_event_new(
	const char *boot, int64_t seq, int64_t time, const char *type, json_t *body, struct mm_err *err) MM_MUST_CHECK;
/* Reads the envelope of an event; it stays in `event`. */
int mm_event_head(const json_t *event, struct mm_event_head *out, struct mm_err *err) MM_MUST_CHECK;

#endif
