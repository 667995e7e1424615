/* score_priv.h - modes of the modelmap-score program, one file each; score_main.c parses the options and calls. */
#ifndef MM_SCORE_PRIV_H
#define MM_SCORE_PRIV_H

/* --probe PATH [--search DIR]: prints the JSON of mm_probe on one line. DIR is the watched directory, where an
 * adapter's base may be and above which no tokenizer is looked for (may be NULL). Exit status: 0 whatever the state, 1
 * when the probe itself cannot be done. */
int mm_score_probe_main(const char *path, const char *search_dir);

#endif
