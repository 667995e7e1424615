/* doctor.h - between cmd_doctor.c (settings, daemon, sockets, how it looks), doctor_host.c (limits of the machine) and
 * doctor_dirs.c (why a directory is or isn't on the map). */
#ifndef MM_CLIENT_DOCTOR_H
#define MM_CLIENT_DOCTOR_H

#include "client/client.h"

enum mm_level { MM_WELL, MM_WARN, MM_PROBLEM };

struct mm_doctor {
	struct mm_cli *cli;
	json_t *lines;		/* [{"check", "subject", "level", "text", "do"}] */
	json_t *explain;	/* of modelmapd --explain; NULL: it could not be asked */
	const json_t *values;	/* the settings, "watch.settle": "5s"; NULL: not known */
	json_t *status;		/* of the daemon; NULL: none answers */
	size_t count[3];	/* by level */
	const char *config;	/* the settings' file */
	char config_path[4200]; /* ours to keep */
};

/* One line. `subject`: what it is about (a path, a key; "": nothing in particular); `todo`: what to do, "" when well.
 */
void mm_doctor_say(struct mm_doctor *d, enum mm_level level, const char *check, const char *subject, const char *todo,
	const char *fmt, ...) MM_PRINTF(6, 7);
const char *mm_doctor_value(const struct mm_doctor *d, const char *key); /* of a setting; "" when not known */

void mm_doctor_host(struct mm_doctor *d);
void mm_doctor_dirs(struct mm_doctor *d);

#endif
