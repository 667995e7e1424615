#!/bin/bash
# Over a network: only encrypted, only for the keys of the list, each with its right, and only while it is in the list.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
e2e_begin curve
if ! "$bin/modelmap" keygen "$work/server" >"$work/server.pub"; then
	echo "skip: libzmq without CURVE"
	exit 77
fi
for who in reader writer stranger; do
	"$bin/modelmap" keygen "$work/$who" >"$work/$who.pub" || fail "keygen"
	[ "$(stat -c %a "$work/$who")" = 600 ] || fail "a secret key that others can read"
done
printf '# who may\n%s read reader\n%s write writer\n' "$(cat "$work/reader.pub")" "$(cat "$work/writer.pub")" >"$work/keys"

port=$(python3 -c "import socket; s=socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")

# ---- tcp without keys is refused, and says what is missing ----
e2e_config "query: tcp://127.0.0.1:$port"
"$bin/modelmapd" --config "$work/c.yaml" --foreground 2>"$work/err" && fail "tcp without keys"
grep -q 'curve' "$work/err" || fail "the reason: $(cat "$work/err")"

e2e_config "query: tcp://127.0.0.1:$port" "curve: { server_secret: $work/server, client_keys: $work/keys }"
chmod 644 "$work/server"
"$bin/modelmapd" --config "$work/c.yaml" --foreground 2>"$work/err" && fail "a secret that others can read"
grep -q 'chmod 600' "$work/err" || fail "the reason: $(cat "$work/err")"
chmod 600 "$work/server"
e2e_start
url=$(mm --json status | python3 -c "import json,sys; print(json.load(sys.stdin)['endpoints']['query'])")
as() { # KEY ARGS...
	local key=$1
	shift
	"$bin/modelmap" --timeout 20s --socket "$url" --server-key "$work/server.pub" --key "$work/$key" "$@"
}
as reader --json models | python3 "$tool" q "d['models']==[]" || fail "the reader's question"
as writer status >/dev/null || fail "the writer's question"
as writer refit 2>"$work/err" && fail "query takes a write"
as stranger status 2>"$work/err"
[ $? = 1 ] || fail "a stranger is let in"
grep -q 'does not know our key' "$work/err" || fail "the reason: $(cat "$work/err")"
"$bin/modelmap" --timeout 1s --socket "$url" --server-key "$work/stranger.pub" --key "$work/reader" status 2>"$work/err"
[ $? = 3 ] || fail "another server's key"
"$bin/modelmap" --socket "$url" status 2>"$work/err" && fail "no keys"
grep -q 'server-key' "$work/err" || fail "the reason: $(cat "$work/err")"

# ---- events cannot be reached over the network here: watch asks for them ----
as reader --json watch --until-idle --models 1 --timeout 200s >"$work/heard" &
watcher=$!
copy "$fixtures/neox-a" neox-a
wait "$watcher" || fail "watch over tcp"
grep -q '"state":"scored"' "$work/heard" || fail "no event over tcp: $(cat "$work/heard")"
as reader export --names "$work/names" 2>/dev/null || fail "export over tcp"
grep -qx neox-a "$work/names" || fail "the names"

# ---- a key that is taken out of the list ----
printf '%s read reader\n' "$(cat "$work/reader.pub")" >"$work/keys"
out() { ! as writer status >/dev/null 2>&1; }
until_true 30 "the writer is out" out
as reader status >/dev/null || fail "the reader is out too"
echo "not a key" >"$work/keys"
nobody() { ! as reader status >/dev/null 2>&1; }
until_true 30 "a broken list lets nobody in" nobody
grep -q 'no client is let in' "$work/log" || fail "the log does not say so"
mm status >/dev/null || fail "the local socket"
e2e_stop

# ---- events over tcp: the same keys; followed as they come ----
printf '%s read reader\n' "$(cat "$work/reader.pub")" >"$work/keys"
other=$(python3 -c "import socket; s=socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
sed -i "s|^events: .*|events: tcp://127.0.0.1:$other|" "$work/c.yaml"
e2e_start
"$bin/modelmap" --timeout 100s --socket "$url" --server-key "$work/server.pub" --key "$work/reader" --json watch \
	>"$work/heard" 2>"$work/err" & # no function: the signal is for it
watcher=$!
heard() { mm rescore neox-a >/dev/null 2>&1; grep -q '"state":"running"' "$work/heard"; }
until_true 60 "events over tcp" heard
mm watch --until-idle --timeout 100s >/dev/null || fail "watch over ipc, events over tcp"
kill "$watcher" 2>/dev/null
e2e_stop
wait "$watcher" 2>/dev/null
echo "curve: only those of the list, only what they may"
