#!/usr/bin/env python3
"""http_check.py - HTTP as seen from outside, with Python's own library only. Commands of test_http.sh:

  same BASE CLIENT SOCKET [PYTHONPATH]  the same answers over HTTP, by `modelmap --json` and, where it can be loaded, in Python
  refuse BASE                           what must be refused, how, and that nothing of it matters to anybody else
  fuzz BASE [SEED]                      every path with odd arguments: an error that says why, or an answer
  slow BASE                             a request that comes in byte by byte is ended
  events BASE CLIENT SOCKET             server-sent events: order, going on after a pause, resync, many and slow ones
  metrics BASE CLIENT SOCKET FILE...    the format, the figures, and that FILEs name only what there is
  token BASE TOKEN                      with a token
"""
import http.client
import json
import math
import os
import random
import re
import socket
import subprocess
import sys
import time
from urllib.parse import quote, urlsplit

STRICT = {
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def fail(*what):
    sys.exit("FAILED: " + " ".join(str(w) for w in what))


def get(base, path, method="GET", headers=None, body=None, conn=None):
    u = urlsplit(base)
    c = conn or http.client.HTTPConnection(u.hostname, u.port, timeout=120)
    c.putrequest(method, path, skip_host="Host" in (headers or {}))
    for k, v in (headers or {}).items():
        c.putheader(k, v)
    if body is not None:
        c.putheader("Content-Length", str(len(body)))
    c.endheaders(body)
    r = c.getresponse()
    data = r.read()
    h = {k.lower(): v for k, v in r.getheaders()}
    for k, v in STRICT.items():
        if not h.get(k, "").startswith(v):
            fail(path, "has no header", k, h)
    if "access-control-allow-origin" in h or "server" in h:
        fail(path, "says too much:", h)
    if not conn:
        c.close()
    return r.status, h, data


def ask(base, path, **kw):
    status, h, data = get(base, path, **kw)
    if h["content-type"] != "application/json":
        fail(path, "is", h["content-type"])
    return status, json.loads(data)


def cli(client, sock, *words):
    r = subprocess.run([client, "--timeout", "60s", "--socket", sock, "--json", *words], capture_output=True)
    if r.returncode:
        fail("modelmap", words, r.stderr.decode())
    return json.loads(r.stdout)


# ---- the same figures ----


def python_of(sock):
    try:
        import modelmap
    except ImportError:
        print("note: no pyzmq here, Python is not compared")
        return None
    return modelmap.Client(sock, timeout=60)


def same(base, client, sock):
    m = python_of(sock)
    questions = [
        ("models", {}),
        ("show", {"name": "neox-a"}),
        ("near", {"name": "neox-a", "k": 2}),
        ("near", {"name": "qwen2-a-shakespeare", "smaller": False, "max_params": 1e9}),
        ("dist", {"a": "neox-a", "b": "qwen2-a"}),
        ("dist", {"a": "neox-a", "b": "qwen2-a", "domain": "even"}),
        ("map", {}),
        ("map", {"method": "tsne"}),
        ("epochs", {}),
        ("tree", {}),
        ("cluster", {"linkage": "ward", "n": 2}),
        ("near", {"name": "neox-a", "metric": "fisher"}),
        ("dist", {"a": "neox-a", "b": "qwen2-a", "metric": "js"}),
        ("metrics_compare", {"metric": "hellinger"}),
        ("fisher", {"name": "neox-a"}),
        ("merge_check", {"a": "neox-a", "b": "qwen2-a", "merged": "qwen2-a-shakespeare"}),
        ("trajectory", {"run": "qwen2-a-run"}),
        ("scores", {}),
        ("scores", {"name": "qwen2-a"}),
        ("predict", {"name": "neox-a"}),
        ("predict", {"bench": "quiz", "folds": 2, "seed": 3}),
        ("place", {"values": " ".join("%d:%d.5:1" % (i, -300 - 7 * i % 50) for i in range(8))}),
        ("queue", {"all": True}),
        ("alerts", {"all": True}),
        ("commands", {}),
        ("status", {}),
    ]
    asked = set()
    for cmd, args in questions:
        words = [cmd] + ["%s=%s" % (k, json.dumps(v) if not isinstance(v, str) else v) for k, v in args.items()]
        query = "&".join("%s=%s" % (k, quote(v if isinstance(v, str) else json.dumps(v), safe="")) for k, v in args.items())
        path = "/api/v1/%s?%s" % (cmd, query)
        status, over_http = ask(base, path)
        by_cli = cli(client, sock, "call", *words)
        in_python = dict(m.call(cmd, **args)) if m else by_cli
        for d in (over_http, by_cli, in_python):
            d.pop("uptime_s", None)
        if status != 200 or over_http != by_cli or in_python != by_cli:
            fail(path, status, "\n", over_http, "\n", by_cli, "\n", in_python)
        if get(base, path, method="HEAD")[2]:
            fail("HEAD has a body")
        asked.add(cmd)
    bulk = {c["name"] for c in ask(base, "/api/v1/commands")[1]["commands"] if c["bulk"] and c["access"] == "read"}
    status, d = ask(base, "/")
    if set(p.split("/")[-1] for p in d["api"]) - asked != bulk | {"events", "events_since"}:
        fail("a command that is not compared:", d["api"])
    # bulk: the bytes themselves
    for what, option in (("vectors", "--vectors"), ("names", "--names"), ("coords", "--coords")):
        name = os.path.join(os.environ["TMP_E2E"], "bulk")
        cli_out = subprocess.run([client, "--socket", sock, "export", option, name], capture_output=True)
        status, h, data = get(base, "/api/v1/export?what=" + what)
        if cli_out.returncode or status != 200 or data != open(name, "rb").read():
            fail("export", what, status, h)
    status, h, data = get(base, "/api/v1/texts_select?n=5&seed=1")
    if status != 200 or len([json.loads(l)["text"] for l in data.decode().splitlines()]) != 5:
        fail("texts_select", status, h, data[:200])
    if m:
        status, h, data = get(base, "/api/v1/export?what=vectors")
        v = m.vectors()
        if not data.endswith(v.data) or len(v.data) != 4 * v.shape[0] * v.shape[1]:
            fail("vectors in Python")
        m.close()
    print("same: %d questions, three ways" % (len(questions) + 3))


# ---- what is refused ----


def raw(base, data, read=True):
    """Sends bytes as they are; what comes back until the other side closes or says no more."""
    u = urlsplit(base)
    s = socket.create_connection((u.hostname, u.port), timeout=60)
    try:
        s.sendall(data)
        out = b""
        while read:
            piece = s.recv(65536)
            if not piece:
                break
            out += piece
        return out
    except (ConnectionResetError, BrokenPipeError):
        return out
    finally:
        s.close()


def refuse(base):
    rows = [
        ("/api/v1/near", 400, "invalid", '"name"'),
        ("/api/v1/near?name=neox-a&k=x", 400, "invalid", "integer"),
        ("/api/v1/near?name=neox-a&cmd=refit", 400, "invalid", '"cmd"'),
        ("/api/v1/near?name=nobody-here", 404, "not_found", "nobody-here"),
        ("/api/v1/near?name=%00", 400, "format", "NUL"),
        ("/api/v1/near?name=%ff", 400, "format", "UTF-8"),
        ("/api/v1/nea?name=a", 404, "not_found", "near"),
        ("/api/v1/map?epoch=99", 404, "not_found", "99"),
        ("/api/v1/refit", 403, "denied", "changes"),
        ("/api/v1/retry?name=neox-a", 403, "denied", "changes"),
        ("/api/v1/chunk?handle=1&offset=0", 404, "unsupported", "export"),
        ("/api/v2/status", 404, "not_found", "nothing"),
        ("/index.html", 404, "not_found", "nothing"),
        ("/../../../../etc/passwd", 404, "not_found", ""),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, "not_found", ""),
        ("/api/v1/..%2f..%2fetc%2fpasswd", 404, "not_found", ""),
        ("/api/v1/status/../../../etc/passwd", 404, "not_found", ""),
        ("//etc/passwd", 404, "not_found", ""),
        ("/" + "a" * 8192, 414, "invalid", ""),
        ("/api/v1/near?name=" + "a" * 30000, 414, "invalid", ""),
    ]
    for path, want, code, part in rows:
        status, d = ask(base, path)
        e = d.get("error", {})
        if status != want or e.get("code") != code or part not in e.get("text", ""):
            fail(path[:80], status, d)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "NONSENSE"):
        status, d = ask(base, "/api/v1/status", method=method, body=b"x" * 100)
        if status != 405 or d["error"]["code"] != "unsupported":
            fail(method, status, d)
    status, d = ask(base, "/api/v1/status", body=b"x" * 100)
    if status != 413:
        fail("a question with a body:", status, d)
    for host in ("evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", ""):
        status, d = ask(base, "/api/v1/models", headers={"Host": host})
        if status != 421 or "models" in d:
            fail("Host", host, status)
    u = urlsplit(base)
    for host in ("localhost", "LOCALHOST:%d" % u.port, "127.0.0.1", "[::1]:1"):
        if ask(base, "/api/v1/status", headers={"Host": host})[0] != 200:
            fail("Host", host)
    # one connection, a refusal between two questions
    c = http.client.HTTPConnection(u.hostname, u.port, timeout=60)
    for path, want in (("/api/v1/status", 200), ("/nothing", 404), ("/api/v1/status", 200)):
        if get(base, path, conn=c)[0] != want:
            fail("keep-alive", path)
    c.close()
    # bytes that are no HTTP, and too much of it: an error or a closed connection
    head = b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n"
    big = [
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"/" * 200000 + b" HTTP/1.1\r\n\r\n",
        head + b"X: " + b"y" * 200000 + b"\r\n\r\n",
        head + b"".join(b"X%d: y\r\n" % i for i in range(20000)) + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 99999999999999\r\n\r\n" + b"z" * 300000,
        b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    ]
    for data in big:
        out = raw(base, data + b"Connection: close\r\n\r\n" if data.startswith(b"\r\n") else data, read=not data.startswith((b"\r\n", b"\x16", b"GET\r")))
        if out and not re.match(rb"HTTP/1\.[01] (4|5)\d\d ", out):
            fail(data[:60], out[:200])
        if ask(base, "/api/v1/status")[0] != 200:
            fail("after", data[:60])
    # as long as the answer can still be ours: in JSON
    for n in (9000, 47000, 49000, 100000):
        for data, want in ((b"GET /" + b"a" * n + b" HTTP/1.1\r\nHost: localhost\r\n", 414), (head + b"X: " + b"y" * n + b"\r\n", 431)):
            out = raw(base, data + b"Connection: close\r\n\r\n")
            if want == 431 and n < 32768:
                want = 200
            if not out.startswith(b"HTTP/1.1 %d " % want) or b"\r\nContent-Type: application/json\r\n" not in out:
                fail(want, n, out[:300])
            if want != 200 and json.loads(out.split(b"\r\n\r\n", 1)[1])["error"]["code"] != "invalid":
                fail(want, out)
    # connections that say nothing, half of something, or never read: others are answered meanwhile
    idle = [socket.create_connection((u.hostname, u.port)) for _ in range(100)]
    for i, s in enumerate(idle):
        s.sendall((b"", b"GET /api/v1/st", head + b"\r\n" * 1)[i % 3])
    if ask(base, "/api/v1/status")[0] != 200 or ask(base, "/api/v1/predict?name=neox-a")[0] != 200:
        fail("beside idle connections")
    for s in idle:
        s.close()
    # gone before the answer of a long command
    for _ in range(20):
        raw(base, b"GET /api/v1/predict?bench=quiz HTTP/1.1\r\nHost: localhost\r\n\r\n", read=False)
    if ask(base, "/api/v1/status")[0] != 200:
        fail("after clients that went away")
    print("refuse: %d paths, %d odd requests" % (len(rows), len(big)))


def fuzz(base, seed="1"):
    """Every path with odd arguments over one connection each; what is refused is refused in JSON, and never as our own fault."""
    rng = random.Random(int(seed))
    u = urlsplit(base)
    commands = ask(base, "/api/v1/commands")[1]["commands"]
    paths = [("/api/v1/" + c["name"], [a["name"] for a in c["args"]], c["bulk"]) for c in commands]
    paths += [(p, ["x"], False) for p in ("/", "/metrics", "/api/v1/", "/api/v1/events/", "/api", "/assets/x.js", "/api/v1/models/", "/%2fapi/v1/models", "/api/v1/models%00")]
    odd = ["", "0", "-1", "1", "3", "1e9", "1e999", "nan", "-0", "007", "1.5", "9" * 40, "true", "false", "null", "neox-a", "qwen2-a", "qwen2-a-run", "pca", "tsne", "vectors", "even", "quiz",
           "../../etc/passwd", "a" * 5000, "%00", "%ff%fe", "%", "%4", "%zz", "%e2%80%ae", "{}", "[1,2]", '"', "'", "<script>", "%0d%0aSet-Cookie:x=y", "=", "==", "+", " ".replace(" ", "%20"), "%F0%9F%98%80", "0:1:1", "1:nan:1", "x|y"]
    conn, n, refused = http.client.HTTPConnection(u.hostname, u.port, timeout=120), 0, 0
    for path, names, bulk in paths:
        for _ in range(24):
            pairs = ["%s%s%s" % (rng.choice(names + ["x", "cmd", "id", ""]) if rng.random() < 0.9 or not names else rng.choice(odd), rng.choice(["=", "=", "=", "", "=="]), rng.choice(odd)) for _ in range(rng.choice([0, 1, 1, 2, 3, 40]))]
            target = path + rng.choice(["?", "?", "?&", "??"]) + rng.choice(["&", "&", ";"]).join(pairs)
            target = "".join(c for c in target if c not in " '\"<>") # a request line has no spaces; Python refuses others
            status, h, data = get(base, target, conn=conn, method=rng.choice(["GET", "GET", "GET", "GET", "HEAD", "POST"]))
            n += 1
            if status >= 400:
                refused += 1
                if h["content-type"] != "application/json" or (data and not json.loads(data)["error"]["text"]):
                    fail("fuzz", seed, target, status, h, data[:200])
            elif data and not bulk and path.startswith("/api/v1/"):
                json.loads(data)
            if status == 500 or not (status == 200 or 400 <= status < 505):
                fail("fuzz", seed, target, status, data[:300])
    conn.close()
    if ask(base, "/api/v1/status")[0] != 200 or refused < n // 3:
        fail("fuzz", seed, refused, "of", n)
    print("fuzz: %d questions, %d refused" % (n, refused))


def slow(base):
    """One byte a second for ever: it is ended, and long before that others are answered."""
    u = urlsplit(base)
    s = socket.create_connection((u.hostname, u.port))
    s.settimeout(1)
    start = time.monotonic()
    try:
        s.sendall(b"G")
        while time.monotonic() - start < 300:
            try:
                if s.recv(1) == b"":
                    break
            except TimeoutError:
                s.sendall(b"E")
        else:
            fail("a request may take for ever")
    except (ConnectionResetError, BrokenPipeError):
        pass
    print("slow: ended")


# ---- events ----


class Stream:
    def __init__(self, base, query="", headers=None, buf=None):
        u = urlsplit(base)
        self.s = socket.socket()
        if buf:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buf)
        self.s.settimeout(60)
        self.s.connect((u.hostname, u.port))
        more = "".join("%s: %s\r\n" % kv for kv in (headers or {}).items())
        self.s.sendall(("GET /api/v1/events%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (query, more)).encode())
        self.f = self.s.makefile("rb")
        self.status = int(self.f.readline().split()[1])
        self.headers = {}
        for line in iter(self.f.readline, b"\r\n"):
            k, v = line.decode().split(":", 1)
            self.headers[k.lower()] = v.strip()
        self.data = b""

    def next(self):
        while b"\n\n" not in self.data:
            n = int(self.f.readline(), 16)
            self.data += self.f.read(n)
            self.f.readline()
        text, self.data = self.data.split(b"\n\n", 1)
        if text.startswith(b":"):
            return self.next()
        e = dict(l.split(": ", 1) for l in text.decode().split("\n"))
        return e["event"], e["id"], json.loads(e["data"])

    def close(self):
        self.f.close()
        self.s.close()


def events(base, client, sock):
    n = [a for a in cli(client, sock, "alerts", "--all")["alerts"]][0]["id"]

    def happen():
        state = [a["state"] for a in cli(client, sock, "alerts", "--all")["alerts"] if a["id"] == n][0]
        cli(client, sock, "call", "alert", "action=" + ("reopen" if state == "acked" else "ack"), "alert=%d" % n)

    s = Stream(base)
    if s.status != 200 or s.headers["content-type"] != "text/event-stream":
        fail("events", s.status, s.headers)
    for k, v in STRICT.items():
        if not s.headers.get(k, "").startswith(v):
            fail("events have no header", k)
    kind, place, hello = s.next()
    if kind != "hello" or place != "%s:%d" % (hello["boot"], hello["seq"]):
        fail(kind, place, hello)
    happen()
    kind, first, e = s.next()
    if kind != "alert" or e["id"] != n or e["seq"] != hello["seq"] + 1 or first != "%s:%d" % (e["boot"], e["seq"]):
        fail(kind, first, e)
    s.close()
    for _ in range(3):
        happen()
    # what came meanwhile, in order: as a browser asks again, and by the query
    for again in (Stream(base, headers={"Last-Event-ID": first}), Stream(base, "?boot=%s&seq=%d" % (e["boot"], e["seq"]))):
        got = [again.next() for _ in range(4)]
        if got[0][0] != "hello" or [g[2].get("seq") for g in got[1:]] != [e["seq"] + i for i in (1, 2, 3)]:
            fail("going on:", got)
        again.close()
    for last in ("0123456789abcdef:3", "%s:%d" % (e["boot"], 10**9), "nonsense", "x:y", "%s:-4" % e["boot"]):
        again = Stream(base, headers={"Last-Event-ID": last})
        if ":" in last and again.next()[0] != "resync":
            fail("no resync after", last)
        again.close()
    # many followers, none of which reads: no more than so many, and others are answered
    lazy, over = [], None
    while not over:
        x = Stream(base, buf=2048)
        if x.status == 200 and len(lazy) < 64:
            lazy.append(x)
        else:
            over = x
    if over.status != 503 or len(lazy) < 40:  # those that were closed above may not be noticed yet
        fail("followers:", len(lazy), over.status)
    over.close()
    for _ in range(20):
        happen()
    if ask(base, "/api/v1/models")[0] != 200:
        fail("beside slow followers")
    got = [lazy[0].next() for _ in range(21)]
    if [g[0] for g in got] != ["hello"] + ["alert"] * 20:
        fail("a slow follower lost something:", [g[0] for g in got])
    for x in lazy:
        x.close()
    # those who have gone are noticed when something is sent: then there is room again
    for _ in range(100):
        happen()
        s = Stream(base)
        if s.status == 200:
            break
        s.close()
    if s.status != 200:
        fail("no room after the others have gone")
    print("events: in order, again, resync, %d followers" % len(lazy))


# ---- metrics ----

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)$')


VALUE = re.compile(r"^(NaN|[+-]Inf|[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?)$")


def labels_of(text):
    """The labels of a sample as a dict; each once."""
    pairs = re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"', text or "")
    if len({k for k, _ in pairs}) != len(pairs):
        fail("a label twice:", text)
    return dict(pairs)


def parse(text):
    """The text format: HELP, then TYPE, before the samples of a name, each name once, each sample once; counters and only they end
    in _total and don't fall below 0; le and quantile where they belong only."""
    types, values, now, last = {}, {}, None, ""
    if not text.endswith("\n"):
        fail("the last line is not ended")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            now = line.split()[2]
            if now in types or not re.match(r"^modelmapd_[a-z][a-z0-9_]*$", now) or len(line.split(None, 3)) < 4:
                fail(line)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            if name != now or kind not in ("counter", "gauge", "histogram") or not last.startswith("# HELP "):
                fail(line)
            types[name] = kind
        else:
            m = SAMPLE.match(line)
            if not m or now not in types or not VALUE.match(m[3]):
                fail("no sample:", line)
            name = re.sub("_(bucket|sum|count)$", "", m[1]) if types[now] == "histogram" else m[1]
            if name != now or (m[1], m[2]) in values or (types[now] == "counter") != name.endswith("_total"):
                fail(line)
            has = set(labels_of(m[2]))
            if ("le" in has) != (m[1] != name and m[1].endswith("_bucket")) or "quantile" in has or any(k.startswith("__") for k in has):
                fail("labels:", line)
            if types[now] == "counter" and not float(m[3]) >= 0:
                fail("no counter:", line)
            values[m[1], m[2]] = float(m[3])
        last = line
    return types, values


def uses(path, types, values):
    """Names, labels and the values of labels that a file asks for are there."""
    text = open(path).read().replace('\\"', '"')
    known = set(types) | {name for name, _ in values}
    named = set(re.findall(r"\bmodelmapd_[a-z0-9_]+", text))
    if not named or named - known:
        fail(path, "names what there is not:", named - known)
    for name, matchers in re.findall(r"\b(modelmapd_[a-z0-9_]+)\{([^}]*)\}", text):
        there = [labels_of(l) for n, l in values if n == name]
        for key, op, want in re.findall(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
            for one in want.split("|") if op == "=~" else [want]:
                if not any(l.get(key) == one for l in there):
                    fail(path, "asks for", name, key, one)
    return named


def metrics(base, client, sock, *files):
    status, h, data = get(base, "/metrics")
    if status != 200 or not h["content-type"].startswith("text/plain; version=0.0.4"):
        fail("metrics", status, h)
    types, v = parse(data.decode())

    def value(name, labels=""):
        return v["modelmapd_" + name, labels or None]

    s, alerts = cli(client, sock, "status"), cli(client, sock, "alerts", "--all")["alerts"]
    moved = cli(client, sock, "call", "epochs")["epochs"][-1]["displacement"]
    for k, n in s["queue"].items():
        if value("queue_jobs", '{state="%s"}' % k) != n:
            fail("queue", k, n)
    pairs = [
        (value("models"), s["models"]),
        (value("models_scored"), s["scored"]),
        (value("models_on_map"), s["on_map"]),
        (value("models_gone"), s["gone"]),
        (value("map_epoch"), s["epoch"]),
        (value("watch_mode", '{mode="%s"}' % s["watch"]["mode"]), 1),
        (value("build_info", '{version="%s"}' % s["version"]), 1),
        (value("watch_scanned"), 1),
        (value("store_bytes", '{kind="used"}'), s["store"]["bytes_used"]),
        (value("map_displacement", '{percentile="50"}'), float("%.15g" % moved["p50"])),
        (value("scorer_runs_total", '{outcome="done"}'), sum(m["state"] == "scored" and not m["same_as"] for m in cli(client, sock, "models")["models"])),
        (value("models_failed", '{cause="not_finite"}'), 1),
    ]
    for i, (a, b) in enumerate(pairs):
        if a != b:
            fail("figure %d:" % i, a, b)
    for kind in {a["kind"] for a in alerts}:
        for state in ("open", "acked", "resolved"):
            n = sum(a["kind"] == kind and a["state"] == state for a in alerts)
            if value("alerts", '{kind="%s",state="%s"}' % (kind, state)) != n:
                fail("alerts", kind, state, n)
    if not (value("scoring_tokens_total") > 0 and value("scoring_seconds_total") > 0 and value("last_scan_age_seconds") >= 0):
        fail("scoring", data)
    buckets = [x for (name, _), x in v.items() if name == "modelmapd_loop_lag_seconds_bucket"]
    if buckets != sorted(buckets) or buckets[-1] != value("loop_lag_seconds_count"):
        fail("lag", buckets)
    if value("loop_lag_seconds_bucket", '{le="+Inf"}') != buckets[-1]:
        fail("lag", buckets)
    models = [m["name"] for m in cli(client, sock, "models")["models"]]
    known = sorted(m["gemm_share"] for m in (cli(client, sock, "show", name) for name in models) if m["gemm_share"])
    if value("scoring_gemm_share_models") != len(known):
        fail("share of the rate of matrix products", known)
    for p in (10, 50, 90):
        told = value("scoring_gemm_share", '{percentile="%d"}' % p)
        want = known[(len(known) - 1) * p // 100] if known else math.nan
        if told != float("%.15g" % want) and not (math.isnan(told) and math.isnan(want)):
            fail("share of the rate of matrix products", p, told, known)
    failed = [m["reason_code"] for m in cli(client, sock, "models")["models"] if m["state"] == "failed" and m["detail"] == "failed"]
    for cause in set(failed):
        if value("scorer_failures_total", '{cause="%s"}' % cause) < 1:
            fail("no failure counted for", cause)
    if any(m in label for (_, label) in v if label for m in models):
        fail("a model's name is a label")
    for f in files:
        uses(f, types, v)
    page = open("man/modelmapd.8").read().replace("\\-", "-")
    if set(types) - set(re.findall(r"\bmodelmapd_[a-z0-9_]+", page)):
        fail("modelmapd(8) does not name", set(types) - set(re.findall(r"\bmodelmapd_[a-z0-9_]+", page)))
    page = open("man/modelmap-protocol.7").read()
    for name, label in v:
        if name == "modelmapd_alerts" and labels_of(label)["kind"] not in re.split(r"[^a-z_]+", page):
            fail("modelmap-protocol(7) does not name the kind of alert", label)
    print("metrics: %d names, %d samples" % (len(types), len(v)))


def token(base, secret):
    right = {"Authorization": "Bearer " + secret, "Host": "anything.example"}
    if ask(base, "/api/v1/status", headers=right)[0] != 200 or get(base, "/metrics", headers=right)[0] != 200:
        fail("the right token")
    for auth in (None, "", "Bearer", "Bearer ", "Bearer x", "Bearer " + secret[:-1], "Bearer " + secret + "x", "Basic " + secret, secret):
        for path in ("/", "/metrics", "/api/v1/status", "/api/v1/events", "/nothing"):
            status, h, data = get(base, path, headers={"Authorization": auth} if auth is not None else None)
            if status != 401 or not h["www-authenticate"].startswith("Bearer"):
                fail("with", auth, path, status)
    print("token: asked for everywhere")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
