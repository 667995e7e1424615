/* score_probe.c - modelmap-score --probe: is this checkpoint whole? One line of JSON on stdout. */
#include "daemon/score_priv.h"
#include "model/model.h"

int mm_score_probe_main(const char *path, const char *search_dir)
{
	struct mm_err err = { 0 };
	json_t *answer = mm_probe(path, search_dir, &err);
	char *line = answer ? mm_json_dump(answer, &err) : NULL;
	bool ok = line && printf("%s\n", line) >= 0 && !fflush(stdout);
	if (!line)
		fprintf(stderr, "modelmap-score: %s\n", err.text);
	mm_free(line);
	json_decref(answer);
	return ok ? 0 : 1;
}
