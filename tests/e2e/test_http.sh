#!/bin/bash
# HTTP: the same figures as the command line and Python, what is refused, live events, metrics, the token.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
e2e_begin http
export TMP_E2E=$work PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$top/client/python
python=python3
! /usr/bin/python3 -c 'import zmq' 2>/dev/null || python=/usr/bin/python3
check() { "$python" tests/e2e/http_check.py "$@" || fail "http: $1"; }
url() { mm --json status | python3 -c "import json,sys; print(json.load(sys.stdin)['endpoints']['http'])"; }

# ---- settings that are refused, and why ----
refused() { # TEXT YAML
	e2e_config "$2"
	"$bin/modelmapd" --config "$work/c.yaml" --foreground 2>"$work/err" && fail "starts with $2"
	grep -q -- "$1" "$work/err" || fail "the reason is not \"$1\": $(cat "$work/err")"
}
echo 0123456789abcdef-not-a-secret >"$work/token"
chmod 644 "$work/token"
refused 'needs http.token_file' 'http: { listen: 0.0.0.0:0 }'
refused 'not ADDRESS:PORT' 'http: { listen: 127.0.0.1 }'
refused 'names are not looked up' 'http: { listen: "example.org:80" }'
refused 'chmod 600' "http: { listen: 127.0.0.1:0, token_file: $work/token }"
echo short >"$work/short"
chmod 600 "$work/short"
refused '16 to 256' "http: { listen: 127.0.0.1:0, token_file: $work/short }"
refused 'No such file' "http: { listen: 127.0.0.1:0, token_file: $work/none }"

# ---- off unless asked for ----
e2e_config
e2e_start
[ "$(url)" = None ] || fail "HTTP without being asked for"
e2e_stop

e2e_config "http: { listen: 127.0.0.1:0 }"
e2e_start
for m in qwen2-a qwen2-a-shakespeare qwen2-a-run neox-a neox-a-shakespeare; do copy "$fixtures/$m" "$m"; done
copy "$fixtures/mistral-a-nan" broken
copy "$fixtures/neox-a" copy-of-neox
mm watch --until-idle --models 8 --timeout 300s >/dev/null || fail "the models are not scored"
printf 'model,quiz\nqwen2-a,0.5\nqwen2-a-shakespeare,0.25\nneox-a-shakespeare,0.3\nqwen2-a-run/checkpoint-200,0.35\n' >"$work/s.csv"
mm scores import "$work/s.csv" >/dev/null || fail "scores import"
mm refit >/dev/null || fail "refit"
base=$(url)
"$python" tests/e2e/http_check.py slow "$base" >"$work/slow" &
slow_one=$!
case $base in http://127.0.0.1:*/) ;; *) fail "the address: $base" ;; esac
sed -e "s|^state_dir: .*|state_dir: $work/other|" -e "s|ipc://$work/|ipc://$work/other-|" -e "s|listen: [^ ]*|listen: $(echo "$base" | cut -d/ -f3)|" \
	"$work/c.yaml" >"$work/other.yaml"
"$bin/modelmapd" --config "$work/other.yaml" --foreground 2>"$work/err" && fail "two daemons at one address"
grep -q 'cannot listen at 127.0.0.1' "$work/err" || fail "the reason: $(cat "$work/err")"
check same "$base" "$bin/modelmap" "ipc://$work/control"
check metrics "$base" "$bin/modelmap" "ipc://$work/control" config/prometheus-alerts.yml config/grafana-dashboard.json
if command -v promtool >/dev/null; then
	promtool check rules config/prometheus-alerts.yml >/dev/null || fail "the alert rules"
	"$python" -c "import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1]).read())" "${base}metrics" | promtool check metrics || fail "promtool"
else
	echo "note: no promtool here, the test's own parser has to do"
fi
check refuse "$base"
check fuzz "$base"
check events "$base" "$bin/modelmap" "ipc://$work/control"
wait "$slow_one" || fail "a slow client: $(cat "$work/slow")"
e2e_alive || fail "the daemon is gone"

# ---- a stop ends those who follow or wait; nothing holds it up ----
"$python" - "$base" "$daemon" <<'END' || fail "the stop"
import os, signal, socket, sys
from urllib.parse import urlsplit
u = urlsplit(sys.argv[1])
open_ones = []
for path in ["/api/v1/events"] * 5 + ["/api/v1/predict?bench=quiz&folds=%d" % k for k in range(2, 12)]:
    s = socket.create_connection((u.hostname, u.port), timeout=60)
    s.sendall(("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path).encode())
    open_ones.append(s)
assert open_ones[0].recv(12) == b"HTTP/1.1 200"
os.kill(int(sys.argv[2]), signal.SIGTERM)
for s in open_ones:
    try:
        while s.recv(65536):
            pass
    except ConnectionResetError:
        pass
END
wait "$daemon" || fail "the daemon ended with status $?"
daemon=""

# ---- with a token, and then also off loopback ----
chmod 600 "$work/token"
e2e_config "http: { listen: 0.0.0.0:0, token_file: $work/token }"
e2e_start
port=$(url | sed 's|.*:\([0-9]*\)/|\1|')
check token "http://127.0.0.1:$port/" "$(cat "$work/token")"
! grep -q "$(cat "$work/token")" "$work/log" || fail "the token is in the log"
e2e_stop
echo "http: one daemon, the same figures, nothing changed from outside"
