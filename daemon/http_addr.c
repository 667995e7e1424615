/* http_addr.c - addresses of HTTP as text: where to listen, what a Host header says. No sockets, no name service. */
#include "daemon/http.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The address of "HOST:PORT" or "[HOST]:PORT" in `host`, the port as text in *port; NULL: none. false: not of this
 * form.
 */
static bool split(const char *s, char *host, size_t cap, bool *bracket, const char **port)
{
	const char *end = s[0] == '[' ? strchr(s, ']') : s + strcspn(s, ":");
	*bracket = s[0] == '[';
	s += *bracket;
	if (!end || end == s || (size_t)(end - s) >= cap)
		return false;
	memcpy(host, s, (size_t)(end - s));
	host[end - s] = 0;
	end += *bracket;
	*port = *end == ':' ? end + 1 : NULL;
	return !*end || *end == ':';
}

int mm_http_addr_parse(const char *s, struct mm_http_addr *out, struct mm_err *err)
{
	char host[64];
	const char *port;
	bool bracket;
	memset(out, 0, sizeof *out);
	if (!split(s, host, sizeof host, &bracket, &port) || !port || !*port ||
		strspn(port, "0123456789") != strlen(port) || strlen(port) > 5 || strtoul(port, NULL, 10) > 65535)
		return mm_fail(err, MM_EINVAL, "%s is not ADDRESS:PORT, such as 127.0.0.1:8077 or [::1]:8077", s);
	uint16_t n = htons((uint16_t)strtoul(port, NULL, 10));
	if (!strcmp(host, "localhost"))
		memcpy(host, "127.0.0.1", sizeof "127.0.0.1");
	if (!bracket && inet_pton(AF_INET, host, &out->u.in.sin_addr) == 1) {
		out->u.in.sin_family = AF_INET;
		out->u.in.sin_port = n;
		out->len = sizeof out->u.in;
		out->loopback = ntohl(out->u.in.sin_addr.s_addr) >> 24 == 127;
		return 0;
	}
	if (bracket && inet_pton(AF_INET6, host, &out->u.in6.sin6_addr) == 1) {
		out->u.in6.sin6_family = AF_INET6;
		out->u.in6.sin6_port = n;
		out->len = sizeof out->u.in6;
		out->loopback = IN6_IS_ADDR_LOOPBACK(&out->u.in6.sin6_addr);
		return 0;
	}
	return mm_fail(err, MM_EINVAL, "%s: %s is not an address in numbers (names are not looked up)", s, host);
}

void mm_http_addr_url(const struct mm_http_addr *a, char *out, size_t cap)
{
	char host[INET6_ADDRSTRLEN] = "";
	bool six = a->u.sa.sa_family == AF_INET6;
	if (six)
		inet_ntop(AF_INET6, &a->u.in6.sin6_addr, host, sizeof host);
	else
		inet_ntop(AF_INET, &a->u.in.sin_addr, host, sizeof host);
	snprintf(out, cap, six ? "http://[%s]:%u/" : "http://%s:%u/", host,
		ntohs(six ? a->u.in6.sin6_port : a->u.in.sin_port));
}

bool mm_http_host_is_local(const char *s)
{
	char host[64];
	const char *port;
	bool bracket;
	struct in6_addr six;
	struct in_addr four;
	if (!split(s, host, sizeof host, &bracket, &port) || (port && strspn(port, "0123456789") != strlen(port)))
		return false;
	return bracket ? inet_pton(AF_INET6, host, &six) == 1
		       : !strcasecmp(host, "localhost") || inet_pton(AF_INET, host, &four) == 1;
}
