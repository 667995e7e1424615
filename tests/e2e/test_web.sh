#!/bin/bash
# The page in a real browser (chromium, through playwright-core) against the real daemon. Pictures of it stay in $OUT/web-shots.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
chromium=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}
[ -n "$chromium" ] || { echo "skip: no chromium here, the page is not tested"; exit 77; }
page=$(dirname "$bin")/web
scripts/web.sh "$page"
rc=$?
[ $rc != 77 ] || exit 77
e2e_begin web
[ $rc = 0 ] || fail "the page does not build"
[ "$(cat "$page"/assets/*.js | gzip -9 | wc -c)" -lt 300000 ] || fail "the page has grown beyond what it needs"
! grep -rlE 'eval\(|new Function' "$page" || fail "the page asks for what its policy forbids"
e2e_config "http: { listen: 127.0.0.1:0, page: $page }"
e2e_start
for m in qwen2-a qwen2-a-shakespeare qwen2-a-run neox-a neox-a-shakespeare; do copy "$fixtures/$m" "$m"; done
copy "$fixtures/mistral-a-nan" broken
copy "$fixtures/neox-a" copy-of-neox
mm watch --until-idle --models 8 --timeout 300s >/dev/null || fail "the models are not scored"
printf 'model,quiz\nqwen2-a,0.5\nqwen2-a-shakespeare,0.25\nneox-a-shakespeare,0.3\nqwen2-a-run/checkpoint-200,0.35\n' >"$work/s.csv"
mm scores import "$work/s.csv" >/dev/null || fail "scores import"
mm refit >/dev/null || fail "refit"
url=$(mm --json status | python3 -c "import json,sys; print(json.load(sys.stdin)['endpoints']['http'])")

# ---- the files: their types, their policy, nothing beside them ----
python3 - "$url" "$page" <<'END' || fail "the files of the page"
import os, sys, urllib.error, urllib.request
url, page = sys.argv[1:]
def get(path):
    try:
        with urllib.request.urlopen(url + path) as r:
            return r.status, dict(r.headers), r.read()
    except urllib.error.HTTPError as e:
        return e.code, dict(e.headers), e.read()
index = open(page + "/index.html", "rb").read()
for path in ("", "index.html", "?x=y"):
    status, h, data = get(path)
    assert status == 200 and data == index and h["Content-Type"].startswith("text/html"), path
    csp = h["Content-Security-Policy"]
    assert "default-src 'none'" in csp and "unsafe" not in csp and "http:" not in csp, csp
for f in os.listdir(page + "/assets"):
    status, h, data = get("assets/" + f)
    assert status == 200 and data == open(page + "/assets/" + f, "rb").read(), f
    assert h["Content-Type"].startswith("text/javascript" if f.endswith(".js") else "text/css"), f
for path in ("assets/", "assets", "assets/../index.html", "assets/%2e%2e/index.html", "package.json", "one-file.tmpl", "assets/nothing.js"):
    assert get(path)[0] == 404, path
END

# ---- what the command line and Python say, for the page to agree with ----
one=qwen2-a-shakespeare
python=python3
! /usr/bin/python3 -c 'import zmq' 2>/dev/null || python=/usr/bin/python3
"$python" - "$bin/modelmap" "ipc://$work/control" "$one" >"$work/figures.json" <<'END' || fail "the figures"
import json, subprocess, sys
sys.path.insert(0, "client/python")
client, sock, one = sys.argv[1:]
def cli(*words):
    return json.loads(subprocess.run([client, "--socket", sock, "--json", *words], check=True, capture_output=True).stdout)
def figures(near, dist, predict, places):
    return {"near": near, "dist": dist["kl_bits_per_byte"], "interval": dist["interval_bits_per_byte"], "prediction": predict["predictions"][0]["prediction"],
            "places": [[p["name"], p["x"], p["y"]] for p in places]}
near = cli("near", one, "-k", "8")["neighbours"]
out = {"cli": figures(near, cli("dist", one, near[0]["name"]), cli("predict", one), cli("map")["points"])}
try:
    import modelmap
except ImportError:
    print("note: no pyzmq here, Python is not compared", file=sys.stderr)
else:
    with modelmap.Client(sock) as m:
        near = m.near(one, k=8)
        out["python"] = figures([dict(n) for n in near], m.dist(one, near[0]["name"]), m.call("predict", name=one), m.call("map")["points"])
print(json.dumps(out))
END

CHROMIUM=$chromium timeout $((300 * slow)) node client/web/test/browser.mjs "$url" "$models" "$fixtures/qwen2-a-perl" "$(dirname "$bin")/web-shots" "$work/figures.json" || fail "in the browser"

# ---- one file with the map inside: the daemon is gone when it is looked at ----
hurt=$(mm map --html "$work/x.html" --epoch 999 2>&1) && fail "a page of an epoch that is not there"
case $hurt in *999*) ;; *) fail "the reason: $hurt" ;; esac
mm map --html "$work/map.html" --title 'A <b>map</b> & more' 2>/dev/null || fail "map --html"
for ask in models map "near $one -k 8" alerts; do printf '"%s": %s,\n' "${ask%% *}" "$(mm --json $ask)"; done >"$work/said"
first=$(mm --json near "$one" -k 1 | python3 -c "import json,sys; print(json.load(sys.stdin)['neighbours'][0]['name'])")
printf '{%s"dist": %s}' "$(cat "$work/said")" "$(mm --json dist "$one" "$first")" >"$work/answers.json"
[ "$(grep -c '</script' "$work/map.html")" = 2 ] || fail "data that end a script"
e2e_stop
CHROMIUM=$chromium timeout $((200 * slow)) node client/web/test/file.mjs "$work/map.html" "$work/answers.json" "$(dirname "$bin")/web-shots" || fail "one file"
cp "$work/map.html" "$(dirname "$bin")/web-shots/"

# ---- with a token ----
echo 0123456789abcdef-not-a-secret >"$work/token"
chmod 600 "$work/token"
sed -i "s|^http:.*|http: { listen: 0.0.0.0:0, page: $page, token_file: $work/token }|" "$work/c.yaml"
e2e_start
port=$(mm --json status | python3 -c "import json,sys; print(json.load(sys.stdin)['endpoints']['http'].rstrip('/').split(':')[-1])")
CHROMIUM=$chromium timeout $((200 * slow)) node client/web/test/login.mjs "http://127.0.0.1:$port/" "$(cat "$work/token")" "$(dirname "$bin")/web-shots" || fail "with a token"
! grep -q "$(cat "$work/token")" "$work/log" || fail "the token is in the log"
e2e_stop

echo "http: { listen: 127.0.0.1:0, page: $work/nothing }" >"$work/row"
sed -i "s|^http:.*|$(cat "$work/row")|" "$work/c.yaml"
"$bin/modelmapd" --config "$work/c.yaml" --foreground 2>"$work/err" && fail "a page that is not there"
grep -q 'no index.html' "$work/err" || fail "the reason: $(cat "$work/err")"
