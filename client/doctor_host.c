/* doctor_host.c - what the machine gives and what is asked of it: inotify watches, open files, memory, disk, processor,
 * clock, limits of the systemd unit. Everything is read from /proc and friends; what cannot be read is said to be so.
 */
#include "client/doctor.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SPARE_FILES	 512 /* of the daemon: LMDB, sockets, pipes of scorers, clients */
#define DISK_LITTLE	 ((double)(UINT64_C(1) << 30))
#define DISK_VERY_LITTLE ((double)(UINT64_C(100) << 20))

/* A small file of /proc or /sys as text; "" when it cannot be read. */
static const char *slurp(const char *path, char *out, size_t cap)
{
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(out, 1, cap - 1, f) : 0;
	out[n] = 0;
	if (f)
		fclose(f);
	return out;
}

static double number_in(const char *path, double dflt)
{
	char text[64];
	return *slurp(path, text, sizeof text) >= '0' ? strtod(text, NULL) : dflt;
}

/* ---- inotify ---- */

static size_t count_watches(const char *pid)
{
	char path[64], file[400], line[256];
	size_t n = 0;
	snprintf(path, sizeof path, "/proc/%.20s/fdinfo", pid);
	DIR *d = opendir(path);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof file, "%s/%.300s", path, e->d_name);
		FILE *f = fopen(file, "re");
		while (f && fgets(line, sizeof line, f))
			n += !strncmp(line, "inotify wd:", 11);
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return n;
}

/* Watches count by user: all processes of `uid` that we may look into. */
static size_t used_watches(uid_t uid)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	char path[300];
	struct stat st;
	size_t n = 0;
	while (proc && (e = readdir(proc))) {
		snprintf(path, sizeof path, "/proc/%.200s", e->d_name);
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && !stat(path, &st) && st.st_uid == uid)
			n += count_watches(e->d_name);
	}
	if (proc)
		closedir(proc);
	return n;
}

static void inotify(struct mm_doctor *d)
{
	double max = number_in("/proc/sys/fs/inotify/max_user_watches", -1);
	double instances = number_in("/proc/sys/fs/inotify/max_user_instances", -1);
	const char *mode = mm_doctor_value(d, "watch.mode");
	const json_t *r;
	size_t i, need = 0, n_root = 0;
	json_array_foreach (json_object_get(d->explain, "roots"), i, r) {
		bool net = json_is_true(json_object_get(r, "network")) && strcmp(mode, "inotify") != 0;
		need += net ? 0 : (size_t)mm_int(r, "directories", 0);
		n_root += !net;
	}
	if (!d->values || !strcmp(mode, "poll") || !n_root) {
		if (d->values)
			mm_doctor_say(d, MM_WELL, "limits", "inotify", "", "not needed: directories are polled");
		return;
	}
	if (max < 0) {
		mm_doctor_say(d, MM_WARN, "limits", "inotify", "set watch.mode: poll",
			"this kernel tells of no inotify limits");
		return;
	}
	char todo[200], pid[32];
	struct stat st;
	uid_t uid = getuid();
	snprintf(pid, sizeof pid, "/proc/%lld", (long long)mm_int(d->status, "pid", 0));
	if (d->status && !stat(pid, &st))
		uid = st.st_uid;
	size_t used = used_watches(uid), ours = d->status ? count_watches(pid + 6) : 0;
	double want = (double)need + (double)(used > ours ? used - ours : 0), set = 65536;
	while (set < 2 * want)
		set *= 2;
	snprintf(todo, sizeof todo, "sysctl -w fs.inotify.max_user_watches=%.0f, and the same in /etc/sysctl.d", set);
	enum mm_level level = want > max ? MM_PROBLEM : want > 0.8 * max ? MM_WARN : MM_WELL;
	mm_doctor_say(d, level, "limits", "inotify watches", level ? todo : "",
		"%zu needed, one for each directory; %.0f allowed for the user, %zu in use%s", need, max, used,
		level == MM_PROBLEM ? ": the rest is polled, which is slower" : "");
	if (instances >= 0 && instances < (double)n_root + 4)
		mm_doctor_say(d, MM_WARN, "limits", "inotify instances",
			"sysctl -w fs.inotify.max_user_instances=512, and the same in /etc/sysctl.d",
			"%.0f allowed for the user, one for each of %zu watched directories is needed", instances,
			n_root);
}

/* ---- open files ---- */

static void files(struct mm_doctor *d)
{
	char path[64], text[4096];
	struct rlimit own;
	double soft = -1;
	long long pid = mm_int(d->status, "pid", 0);
	snprintf(path, sizeof path, "/proc/%lld/limits", pid);
	const char *p = pid ? strstr(slurp(path, text, sizeof text), "Max open files") : NULL;
	if (p)
		soft = strtod(p + strlen("Max open files"), NULL);
	bool of_daemon = soft > 0;
	if (!of_daemon && !getrlimit(RLIMIT_NOFILE, &own))
		soft = (double)own.rlim_cur;
	mm_doctor_say(d, soft < SPARE_FILES ? MM_WARN : MM_WELL, "limits", "open files",
		soft < SPARE_FILES ? "systemctl edit modelmapd: [Service] LimitNOFILE=65536" : "",
		"%.0f allowed for %s; a few hundred are needed", soft, of_daemon ? "the daemon" : "programs of yours");
}

/* ---- memory ---- */

static double meminfo(const char *key)
{
	char text[8192];
	const char *p = strstr(slurp("/proc/meminfo", text, sizeof text), key);
	return p ? 1024 * strtod(p + strlen(key), NULL) : 0;
}

static void memory(struct mm_doctor *d)
{
	double total = meminfo("MemTotal:"), free_now = meminfo("MemAvailable:");
	const char *bound = mm_doctor_value(d, "score.memory");
	double n = strtod(mm_doctor_value(d, "score.concurrency"), NULL);
	char total_s[32], free_s[32], want_s[32], todo[200] = "";
	struct mm_err err = { 0 };
	uint64_t bytes = 0;
	mm_format_size((uint64_t)total, total_s, sizeof total_s);
	mm_format_size((uint64_t)free_now, free_s, sizeof free_s);
	if (!d->values)
		return;
	if (!*bound || !strcmp(bound, "auto") || mm_parse_size(bound, &bytes, &err)) {
		mm_doctor_say(d, MM_WELL, "limits", "memory", "", "%s, of which %s free; score.memory: auto", total_s,
			free_s);
		return;
	}
	double want = (double)bytes * MM_MAX(n, 1);
	mm_format_size((uint64_t)want, want_s, sizeof want_s);
	enum mm_level level = want > total ? MM_PROBLEM : want > free_now ? MM_WARN : MM_WELL;
	if (level)
		snprintf(todo, sizeof todo, "lower score.memory or score.concurrency, or free memory");
	mm_doctor_say(d, level, "limits", "memory", todo,
		"%s, of which %s free; score.memory times score.concurrency is %s%s", total_s, free_s, want_s,
		level == MM_PROBLEM ? ", more than there is"
		: level		    ? ", more than is free now"
				    : "");
}

/* ---- disk ---- */

static void disk(struct mm_doctor *d)
{
	char path[4200], free_s[32], store_s[32];
	struct statvfs fs;
	const char *dir = mm_doctor_value(d, "state_dir");
	if (!*dir)
		return;
	snprintf(path, sizeof path, "%s", dir);
	bool there = !access(path, F_OK);
	for (char *slash; access(path, F_OK) && errno == ENOENT && (slash = strrchr(path, '/')) && slash != path;)
		*slash = 0;
	if (statvfs(path, &fs)) {
		mm_doctor_say(d, MM_WARN, "limits", dir, "look at its rights, and whether its disk is mounted",
			"state_dir: %s", strerrordesc_np(errno));
		return;
	}
	double left = (double)fs.f_bavail * (double)fs.f_frsize;
	double used = mm_num(json_object_get(d->status, "store"), "bytes_used", 0);
	enum mm_level level = left < DISK_VERY_LITTLE ? MM_PROBLEM : left < fmax(DISK_LITTLE, used) ? MM_WARN : MM_WELL;
	mm_format_size((uint64_t)left, free_s, sizeof free_s);
	mm_format_size((uint64_t)used, store_s, sizeof store_s);
	mm_doctor_say(d, level, "limits", dir,
		level ? "free space there, or move state_dir: stop the daemon, copy the directory, change the setting"
		      : "",
		"state_dir%s: %s free%s%s", there ? "" : " (not there yet)", free_s,
		d->status ? ", the store has " : "", d->status ? store_s : "");
	if (fs.f_flag & ST_RDONLY)
		mm_doctor_say(d, MM_PROBLEM, "limits", dir, "mount it writable", "its file system is read-only");
}

/* ---- processor, environment ---- */

static bool has_flag(const char *flags, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = flags; (p = strstr(p, name)); p += n)
		if ((p == flags || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\n' || !p[n]))
			return true;
	return false;
}

static void processor(struct mm_doctor *d)
{
	static const struct {
		const char *flag, *name;
	} kinds[] = { { "avx2", "AVX2" }, { "fma", "FMA" }, { "avx512f", "AVX-512" }, { "avx512_bf16", "AVX-512 BF16" },
		{ "amx_bf16", "AMX BF16" } };
	char text[16384], list[200] = "";
	const json_t *cpu = json_object_get(d->explain, "cpu");
	const char *flags = strstr(slurp("/proc/cpuinfo", text, sizeof text), "\nflags");
	size_t at = 0;
	for (size_t i = 0; flags && i < MM_COUNT(kinds); i++)
		at += (size_t)snprintf(list + at, sizeof list - at, "%s%s%s", at ? ", " : "",
			has_flag(flags, kinds[i].flag) ? "" : "no ", kinds[i].name);
	bool slow = flags && !(has_flag(flags, "avx2") && has_flag(flags, "fma"));
	mm_doctor_say(d, slow ? MM_WARN : MM_WELL, "processor", "",
		slow ? "score on a machine with AVX2: here it takes many times longer" : "", "%s",
		*list ? list : "no list of features here");
	if (!cpu)
		return;
	const char *compute = mm_doctor_value(d, "score.compute"), *bf16 = mm_str(cpu, "bf16");
	bool fast = json_is_true(json_object_get(cpu, "bf16_fast")), forced = !strcmp(compute, "bf16");
	mm_doctor_say(d, forced && !fast ? MM_WARN : MM_WELL, "processor", "arithmetic",
		forced && !fast ? "score.compute: f32 or auto, in a new state_dir" : "",
		"score.compute %s; f32 by %s; bf16 %s%s%s; other kernels %s", *compute ? compute : "not known",
		mm_str(cpu, "f32"), *bf16 ? "by " : "not there", bf16,
		!*bf16 ? ""
		: fast ? ", faster"
		       : ", not faster",
		mm_str(cpu, "kernels"));
	const char *isa = getenv("ONEDNN_MAX_CPU_ISA");
	if (isa && *isa)
		mm_doctor_say(d, MM_WARN, "processor", "ONEDNN_MAX_CPU_ISA", "unset it, unless that is what you want",
			"is %s here: wider kernels are not used by programs that inherit it", isa);
}

/* Ours take it out of their way (lib/tensor/cpu.c); other programs may not. */
static void environment(struct mm_doctor *d)
{
	char path[64], text[32768];
	const char *own = getenv("OPENBLAS_CORETYPE"), *theirs = NULL;
	long long pid = mm_int(d->status, "pid", 0);
	snprintf(path, sizeof path, "/proc/%lld/environ", pid);
	FILE *f = pid ? fopen(path, "re") : NULL;
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
	if (f)
		fclose(f);
	text[n] = 0;
	for (size_t i = 0; i < n; i += strlen(text + i) + 1)
		if (!strncmp(text + i, "OPENBLAS_CORETYPE=", 18))
			theirs = text + i + 18;
	if (own && *own)
		mm_doctor_say(d, MM_WELL, "processor", "OPENBLAS_CORETYPE", "",
			"is %s here; modelmapd and modelmap-score choose for themselves and do not follow it", own);
	else
		mm_doctor_say(d, MM_WELL, "processor", "OPENBLAS_CORETYPE", "", "is not set here%s%s",
			theirs ? "; the daemon chose " : "", theirs ? theirs : "");
}

/* ---- clock ---- */

static void timepiece(struct mm_doctor *d)
{
	int64_t now = mm_now(), newest = mm_int(d->explain, "newest", 0);
	char text[40], when[40];
	mm_format_time(now, text, sizeof text);
	mm_format_time(newest, when, sizeof when);
	if (now < 1750000000)
		mm_doctor_say(d, MM_PROBLEM, "clock", "", "set the clock (timedatectl set-ntp true)", "it is %s", text);
	else if (newest > now + 60)
		mm_doctor_say(d, MM_WARN, "clock", "",
			"set the clocks of this machine and of the one that writes the files (timedatectl set-ntp "
			"true)",
			"it is %s, but there are files from %s", text, when);
	else
		mm_doctor_say(d, MM_WELL, "clock", "", "", "%s, no file is from later", text);
}

/* ---- the systemd unit ---- */

static const char *property(const char *text, const char *key, char *out, size_t cap)
{
	size_t n = strlen(key);
	const char *p = text;
	while (p && (strncmp(p, key, n) != 0 || p[n] != '='))
		p = (p = strchr(p, '\n')) ? p + 1 : NULL;
	snprintf(out, cap, "%.*s", p ? (int)strcspn(p + n + 1, "\n") : 0, p ? p + n + 1 : "");
	return out;
}

static void unit(struct mm_doctor *d)
{
	const char *const argv[] = { "systemctl", "show", "modelmapd.service", "--property",
		"LoadState,ActiveState,UnitFileState,LimitNOFILE,MemoryMax,TasksMax,NRestarts", NULL };
	const struct mm_child_call call = { .argv = argv, .max = 65536, .timeout = 10, .quiet = true };
	struct mm_buf out = { 0 };
	struct mm_err err = { 0 };
	char load[32], active[32], enabled[32], nofile[32], mem[32], tasks[32], restarts[32];
	if (access("/run/systemd/system", F_OK) || mm_child_ask(&call, &out, &err) || !out.len) {
		mm_doctor_say(d, MM_WELL, "unit", "modelmapd.service", "", "systemd does not run here");
		mm_buf_fini(&out);
		return;
	}
	const char *text = (const char *)out.data;
	property(text, "LoadState", load, sizeof load);
	property(text, "ActiveState", active, sizeof active);
	property(text, "UnitFileState", enabled, sizeof enabled);
	property(text, "LimitNOFILE", nofile, sizeof nofile);
	property(text, "MemoryMax", mem, sizeof mem);
	property(text, "TasksMax", tasks, sizeof tasks);
	property(text, "NRestarts", restarts, sizeof restarts);
	if (strcmp(load, "loaded") != 0) {
		mm_doctor_say(d, MM_WELL, "unit", "modelmapd.service", "", "is not installed (%s)", load);
	} else {
		bool failed = !strcmp(active, "failed"), crashes = atoi(restarts) > 0;
		bool few = strtod(nofile, NULL) > 0 && strtod(nofile, NULL) < SPARE_FILES;
		mm_doctor_say(d,
			failed		 ? MM_PROBLEM
			: crashes || few ? MM_WARN
					 : MM_WELL,
			"unit", "modelmapd.service",
			failed || crashes ? "journalctl -u modelmapd -b tells why"
			: few		  ? "systemctl edit modelmapd: [Service] LimitNOFILE=65536"
					  : "",
			"%s, %s, restarted %s times by itself; LimitNOFILE %s, MemoryMax %s, TasksMax %s", active,
			enabled, restarts, nofile, mem, tasks);
		uint64_t bound = 0;
		const char *want = mm_doctor_value(d, "score.memory");
		if (strtod(mem, NULL) > 0 && *want && strcmp(want, "auto") != 0 && !mm_parse_size(want, &bound, &err) &&
			(double)bound > strtod(mem, NULL))
			mm_doctor_say(d, MM_PROBLEM, "unit", "MemoryMax", "raise MemoryMax or lower score.memory",
				"the unit may use less than score.memory: scorers will be killed");
	}
	mm_buf_fini(&out);
}

void mm_doctor_host(struct mm_doctor *d)
{
	inotify(d);
	files(d);
	memory(d);
	disk(d);
	processor(d);
	environment(d);
	timepiece(d);
	unit(d);
}
