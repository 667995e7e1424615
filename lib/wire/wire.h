/* wire.h - what programs say to each other: messages between client and daemon, frames between scorer and daemon.
 * No sockets here, so that all of it can be tested and fuzzed as bytes. */
#ifndef MM_WIRE_H
#define MM_WIRE_H

#include "base/base.h"

/* ---- msg.c: the command table ----
 *
 * Request   one frame  {"v":1, "id":N, "cmd":"near", ...arguments}
 * Reply     first frame {"v":1, "id":N, "ok":true, "cmd":..., ...body} or {"v":1, "id":N, "ok":false,
 *           "error":{"code":"not_found","text":"..."}}; bulk data follow as further messages, see "bulk".
 * Every argument of every command stands in the table: an unknown key, a missing one or a wrong type is refused by
 * name. */
#define MM_WIRE_VERSION 1

enum mm_access { MM_READ, MM_WRITE };

enum mm_arg_type { MM_ARG_STR, MM_ARG_INT, MM_ARG_NUM, MM_ARG_BOOL };
struct mm_arg {
	const char *name;
	enum mm_arg_type type;
	bool required;
	double min, max; /* for INT and NUM */
	const char *help;
};
struct mm_cmd {
	const char *name;
	enum mm_access access;
	bool bulk; /* the reply has binary chunks behind it */
	const char *help;
	struct mm_arg arg[8]; /* up to the first with a NULL name */
};
extern const struct mm_cmd mm_cmds[];
extern const size_t mm_n_cmds;
const struct mm_cmd *mm_cmd_find(const char *name); /* NULL: unknown */

struct mm_request {
	const struct mm_cmd *cmd;
	int64_t id;
	json_t *body; /* owned: the whole request object */
};
/* Parses and checks one request frame. On failure the id is still set when it could be read (else 0), for the error
 * reply. */
int mm_request_parse(const void *data, size_t len, struct mm_request *out, struct mm_err *err) MM_MUST_CHECK;
void mm_request_fini(struct mm_request *r);
/* Builds a request: takes `args` (may be NULL). Caller decrefs. */
json_t *mm_request_new(int64_t id, const char *cmd, json_t *args, struct mm_err *err) MM_MUST_CHECK;
/* Builds replies; `body` is taken. Caller decrefs. */
json_t *mm_reply_ok(int64_t id, const char *cmd, json_t *body, struct mm_err *err) MM_MUST_CHECK;
json_t *mm_reply_error(int64_t id, const struct mm_err *why);

/* ---- frame.c: the scorer's stream ----
 *
 * The stream starts with "MMS1" and is a row of frames: type u8, reserved u8[3] = 0, length u32, payload. Types:
 *   'P' progress  JSON {"stage","done","total","tokens","tokens_total","tokens_per_s","eta_s"}
 *   'A' array     u16 name length, name, u8 dtype (enum mm_array_type), u8 n_dim, u64 dim[n_dim], data little-endian
 *   'M' metadata  JSON (one frame)
 *   'E' error     JSON {"code","text"}: the last frame before 'Z' of a failed job
 *   'Z' end       XXH3-128 of every byte before this frame's header: low u64, high u64
 * An array of one name comes once; n_dim 0 is one element. JSON frames have at most 16 MiB. Frames larger than
 * MM_FRAME_MAX are not possible; a scorer that dies leaves a stream without 'Z', which is no result.
 */
#define MM_FRAME_MAX (UINT32_C(1) << 30)

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

/* ---- event.c: what PUB sends ----
 *
 * Two frames: topic ("model", "job", "alert", "map", "status") and JSON {"v":1, "boot":hex, "seq":N, "time":unix,
 * "type":topic, ...}. seq counts every event of one run of the daemon (boot changes with it): a gap means lost events,
 * and the client asks `events_since {boot, seq}` on the control or query socket for what it missed. */

#endif
