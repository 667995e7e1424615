/* cmd_status.c - the daemon at a glance. */
#include "client/client.h"

#include <string.h>

static void line(const struct mm_cli *c, const char *what, const char *fmt, ...) MM_PRINTF(3, 4);

static void line(const struct mm_cli *c, const char *what, const char *fmt, ...)
{
	char text[1024], clean[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	mm_term_clean(&c->term, text, clean, sizeof clean);
	fprintf(c->out, "%s%-8s%s %s\n", mm_term_on(&c->term, MM_BOLD), what, mm_term_off(&c->term, MM_BOLD), clean);
}

/* "3 queued, 1 running": the keys of `o` in this order, those above zero; dflt when there is none. */
static const char *counts(const json_t *o, const char *const *keys, size_t n, const char *dflt, char *out, size_t cap)
{
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		int64_t v = mm_int(o, keys[i], 0);
		if (v > 0 && at < cap)
			at += (size_t)snprintf(out + at, cap - at, "%s%lld %s", at ? ", " : "", (long long)v, keys[i]);
	}
	return at ? out : dflt;
}

static void show_texts(const struct mm_cli *c, const json_t *t)
{
	line(c, "texts", "%lld, %.0f bytes on average, hash %s", (long long)mm_int(t, "n", 0),
		mm_num(t, "mean_bytes", 0), mm_str(t, "hash"));
}

static void show_models(const struct mm_cli *c, const json_t *b)
{
	static const char *const keys[] = { "scored", "gone" };
	char list[128];
	int64_t n = mm_int(b, "models", 0);
	const char *some = n ? counts(b, keys, MM_COUNT(keys), "", list, sizeof list) : "";
	line(c, "models", "%lld%s%s", (long long)n, *some ? ": " : "", some);
}

int mm_run_status(struct mm_cli *c, struct mm_err *err)
{
	static const char *const queue[] = { "running", "probing", "queued", "waiting", "failed" };
	static const char *const alerts[] = { "open", "acked" };
	json_t *b;
	char up[32], list[256];
	if (mm_cli_ask(c, "status", NULL, &b, err))
		return -1;
	if (!b)
		return 0;
	mm_format_duration(mm_num(b, "uptime_s", 0), up, sizeof up);
	line(c, "daemon", "modelmapd %s at %s, up %s", mm_str(b, "version"), mm_conn_url(c->conn), up);
	show_texts(c, json_object_get(b, "texts"));
	show_models(c, b);
	line(c, "queue", "%s", counts(json_object_get(b, "queue"), queue, MM_COUNT(queue), "empty", list, sizeof list));
	int64_t epoch = mm_int(b, "epoch", 0);
	if (epoch)
		line(c, "map", "epoch %lld", (long long)epoch);
	else
		line(c, "map", "none yet: it starts with the first models");
	const json_t *a = json_object_get(b, "alerts");
	if (json_is_object(a))
		line(c, "alerts", "%s", counts(a, alerts, MM_COUNT(alerts), "none open", list, sizeof list));
	else if (json_is_integer(a))
		line(c, "alerts", "%lld open", (long long)json_integer_value(a));
	json_decref(b);
	return 0;
}
