/* score_probe.c - modelmap-score --probe: is this checkpoint whole? One line of JSON on stdout. */
#include "daemon/score_priv.h"
#include "model/model.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

/* The probe comes after the fingerprint: when the files changed meanwhile, the two answers differ, and the caller
 * compares the later one with what it knows. */
static json_t *look(const char *path, const char *search_dir, bool full, struct mm_err *err)
{
	struct mm_hash h;
	char hex[MM_HASH_HEX];
	json_t *answer = mm_probe(path, search_dir, err);
	const char *state = answer ? json_string_value(json_object_get(answer, "state")) : NULL;
	if (!full || !state || strcmp(state, "ready") != 0)
		return answer;
	json_decref(answer);
	if (mm_fingerprint_full(path, search_dir, &h, err) || !(answer = mm_probe(path, search_dir, err)))
		return NULL;
	mm_hash_hex(h, hex);
	json_object_set_new(answer, "full", json_string(hex));
	return answer;
}

int mm_score_probe_main(const struct mm_score_cli *o)
{
	struct mm_err err = { 0 };
	/* A probe of a daemon that was killed is of no use; one that reads every byte steps back for everybody. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	json_t *answer = o->full && mm_score_limit(!o->normal, &err) ? NULL : look(o->probe, o->search, o->full, &err);
	char *line = answer ? mm_json_dump(answer, &err) : NULL;
	bool ok = line && printf("%s\n", line) >= 0 && !fflush(stdout);
	if (!line)
		fprintf(stderr, "modelmap-score: %s\n", err.text);
	mm_free(line);
	json_decref(answer);
	return ok ? 0 : 1;
}
