/* units.c - sizes, durations, times and near names, as people write and read them. */
#include "base/base.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* strtod knows "inf", "nan", hex and leading space: none of them is a size. */
static const char *number(const char *s, double *v)
{
	char *end;
	if (!isdigit((unsigned char)*s) && !(*s == '.' && isdigit((unsigned char)s[1])))
		return NULL;
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		return NULL;
	*v = strtod(s, &end);
	return end;
}

int mm_parse_size(const char *s, uint64_t *bytes, struct mm_err *err)
{
	static const char units[] = "KMGTP";
	double v;
	const char *p = number(s, &v);
	if (p && *p) {
		const char *u = strchr(units, toupper((unsigned char)*p));
		if (u) {
			v = ldexp(v, 10 * (int)(u - units + 1));
			p++;
			if (*p == 'i')
				p++;
		}
		if (*p == 'B')
			p++;
	}
	if (!p || *p || v >= 0x1p63)
		return mm_fail(err, MM_EINVAL, "\"%s\" is not a size; expected something like 512M, 4G or 65536", s);
	*bytes = (uint64_t)v;
	return 0;
}

int mm_parse_duration(const char *s, double *seconds, struct mm_err *err)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = { { "ms", 0.001 }, { "s", 1 }, { "min", 60 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 } };
	double sum = 0;
	const char *p = s;
	do {
		double v;
		size_t i = 0;
		p = number(p, &v);
		if (!p)
			goto bad;
		if (!*p && p != s && sum == 0) { /* a bare number is seconds */
			sum = v;
			break;
		}
		for (; i < MM_COUNT(units); i++)
			if (!strncmp(p, units[i].unit, strlen(units[i].unit)))
				break;
		if (i == MM_COUNT(units))
			goto bad;
		p += strlen(units[i].unit);
		sum += v * units[i].seconds;
		while (*p == ' ')
			p++;
	} while (*p);
	if (!(sum < 1e12))
		goto bad;
	*seconds = sum;
	return 0;
bad:
	return mm_fail(err, MM_EINVAL, "\"%s\" is not a duration; expected something like 5s, 250ms, 1h or 2m30s", s);
}

void mm_format_size(uint64_t bytes, char *out, size_t cap)
{
	static const char units[] = " KMGTPE";
	double v = (double)bytes;
	int u = 0;
	for (; v >= 1023.5 && u < 6; u++)
		v /= 1024;
	if (!u)
		snprintf(out, cap, "%u", (unsigned)bytes);
	else
		snprintf(out, cap, v < 9.95 ? "%.1f%c" : "%.0f%c", v, units[u]);
}

void mm_format_duration(double s, char *out, size_t cap)
{
	if (!(s >= 0) || s > 1e12)
		snprintf(out, cap, "?");
	else if (s < 9.95)
		snprintf(out, cap, "%.1fs", s);
	else if (s < 60)
		snprintf(out, cap, "%.0fs", s);
	else if (s < 3600)
		snprintf(out, cap, "%dm%02ds", (int)s / 60, (int)s % 60);
	else if (s < 86400)
		snprintf(out, cap, "%dh%02dm", (int)s / 3600, (int)s % 3600 / 60);
	else
		snprintf(out, cap, "%lldd%02lldh", (long long)s / 86400, (long long)s % 86400 / 3600);
}

void mm_format_time(int64_t t, char *out, size_t cap)
{
	struct tm tm;
	time_t tt = (time_t)t;
	if (!gmtime_r(&tt, &tm) || !strftime(out, cap, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(out, cap, "?");
}

int64_t mm_now(void)
{
	return (int64_t)time(NULL);
}

double mm_monotonic(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define NAME_MAX_LEN 63

/* Levenshtein distance over bytes with two rows; names longer than the row are cut: this only picks a hint. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[NAME_MAX_LEN + 1];
	size_t n = MM_MIN(strlen(a), (size_t)NAME_MAX_LEN), m = MM_MIN(strlen(b), (size_t)NAME_MAX_LEN);
	for (size_t j = 0; j <= m; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned diag = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned up = row[j], best = diag + (a[i - 1] != b[j - 1]);
			best = MM_MIN(best, MM_MIN(up, row[j - 1]) + 1);
			diag = up;
			row[j] = best;
		}
	}
	return row[m];
}

const char *mm_nearest(const char *s, const char *const *names, size_t n)
{
	const char *best = NULL;
	unsigned least = (unsigned)MM_MAX(strlen(s) / 2, (size_t)2) + 1;
	for (size_t i = 0; i < n; i++) {
		unsigned d = distance(s, names[i]);
		if (d < least) {
			least = d;
			best = names[i];
		}
	}
	return best;
}
