/* log.c - one line a call to stderr. Under systemd stderr is the journal, which reads the level from a "<n>" prefix. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct {
	enum mm_log_level level;
	bool journal;
} sink = { MM_LOG_INFO, false };

/* JOURNAL_STREAM names device and inode of the stream that systemd made for us: it holds only while stderr is still
 * that one. */
static bool stderr_is_journal(void)
{
	const char *s = getenv("JOURNAL_STREAM");
	struct stat st;
	unsigned long long dev, ino;
	return s && sscanf(s, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) && st.st_dev == dev &&
	       st.st_ino == ino;
}

void mm_log_init(enum mm_log_level level)
{
	sink.level = level;
	sink.journal = stderr_is_journal();
}

void mm_log(enum mm_log_level level, const char *fmt, ...)
{
	if (level > sink.level)
		return;
	char text[2048], line[2200];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	int n;
	if (sink.journal) {
		n = snprintf(line, sizeof line, "<%d>%s\n", level, text);
	} else {
		static const char *const word[] = { [MM_LOG_ERROR] = "error: ",
			[MM_LOG_WARN] = "warning: ",
			[MM_LOG_NOTICE] = "",
			[MM_LOG_INFO] = "",
			[MM_LOG_DEBUG] = "debug: " };
		char when[32];
		mm_format_time(mm_now(), when, sizeof when);
		n = snprintf(line, sizeof line, "%s %s%s\n", when, word[level], text);
	}
	/* One write, so that lines of several threads or processes do not mix; nobody can be told when it fails. */
	if (n > 0 && write(STDERR_FILENO, line, MM_MIN((size_t)n, sizeof line - 1)) < 0)
		return;
}
