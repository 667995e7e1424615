#!/bin/bash
# The daemon as a process, without systemd: exit codes, what it tells a service manager, signals, a second daemon, other
# terms, a damaged store, a backup that is put back.
# shellcheck source=tests/e2e/lib.sh disable=SC2154
. "$(dirname "$0")/lib.sh"
e2e_begin daemon
d=$bin/modelmapd

# ---- exit codes and messages ----
ends() { # STATUS TEXT ARGS...: modelmapd ARGS ends with STATUS and says TEXT
	local want=$1 text=$2 rc=0
	shift 2
	timeout 60 "$d" "$@" >"$work/out" 2>&1 || rc=$?
	[ $rc = "$want" ] || fail "modelmapd $*: status $rc, not $want: $(cat "$work/out")"
	grep -qF -- "$text" "$work/out" || fail "modelmapd $*: no \"$text\" in: $(cat "$work/out")"
}
e2e_config
ends 0 "usage: modelmapd" --help
ends 0 "modelmapd " --version
ends 0 "state_dir: /var/lib/modelmapd" --dump-defaults
ends 0 "c.yaml: fine" --check-config "$work/c.yaml"
ends 2 "usage: modelmapd" --unknown
ends 2 "usage: modelmapd" --config "$work/c.yaml" more
ends 2 "usage: modelmapd" --config
ends 1 "No such file" --config "$work/none.yaml"
ends 1 "No such file" --check-config "$work/none.yaml"
printf 'watch: {setle: 1s}\n' >"$work/bad.yaml"
ends 1 "bad.yaml:1: unknown key watch.setle; did you mean watch.settle?" --config "$work/bad.yaml"
ends 1 "bad.yaml:1: unknown key watch.setle" --check-config "$work/bad.yaml"
program=$work/no-scorer e2e_config
ends 1 "no-scorer cannot be run" --config "$work/c.yaml"
texts=$work/no-texts e2e_config
ends 1 "no-texts" --config "$work/c.yaml"
[ ! -e "$work/state/store.mdb" ] || fail "a store was made before the settings were known to be good"

# ---- what a service manager hears ----
cat >"$work/notify.py" <<'END'
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
log = open(sys.argv[2], "a", buffering=1)
log.write("listening\n")
while True:
    log.write(s.recv(65536).decode().replace("\n", " | ") + "\n")
END
python3 "$work/notify.py" "$work/notify" "$work/heard" &
listener=$!
trap 'kill $listener 2>/dev/null; e2e_end' EXIT
: >"$work/heard"
heard() { grep -qF -- "$1" "$work/heard"; }
until_true 30 "the listener listens" heard listening
e2e_config
export NOTIFY_SOCKET=$work/notify WATCHDOG_USEC=300000 OPENBLAS_CORETYPE=Nonsense
e2e_start
unset NOTIFY_SOCKET WATCHDOG_USEC OPENBLAS_CORETYPE
until_true 60 "READY" heard READY=1
heard "STATUS=0 models" || fail "no status with READY: $(cat "$work/heard")"
pings() { [ "$(grep -c WATCHDOG=1 "$work/heard")" -ge "$1" ]; }
until_true 30 "the watchdog is answered again and again" pings 5
! grep -qz OPENBLAS_CORETYPE=Nonsense "/proc/$daemon/environ" || fail "a wrong OPENBLAS_CORETYPE is still there"
[ "$(cat "/proc/$daemon/comm")" = modelmapd ] || fail "its name is $(cat "/proc/$daemon/comm")"
# SIGHUP, SIGTERM and SIGINT are blocked in every thread, those that libraries started before main too.
for t in /proc/"$daemon"/task/*; do
	mask=$(sed -n 's/^SigBlk:\t*//p' "$t/status")
	[ $((0x$mask & 0x4003)) = $((0x4003)) ] || fail "thread ${t##*/} ($(cat "$t/comm")) does not block signals: $mask"
done

# A loop that hangs is not answered for: stopped, there is no ping; going on, there is.
kill -STOP "$daemon"
n=$(grep -c WATCHDOG=1 "$work/heard")
python3 -c 'import time; time.sleep(1)' # three periods; only a daemon that runs could ping
[ "$(grep -c WATCHDOG=1 "$work/heard")" -le $((n + 1)) ] || fail "a stopped daemon answers the watchdog"
kill -CONT "$daemon"
until_true 30 "the watchdog is answered again" pings $((n + 3))

# ---- reload ----
said() { grep -qF -- "$1" "$work/log"; }
kill -HUP "$daemon"
until_true 30 "RELOADING" heard RELOADING=1
until_true 30 "nothing changed" said "read again: nothing changed"
sed -i 's/settle: 300ms/settle: 200ms/' "$work/c.yaml"
echo "log_level: debug" >>"$work/c.yaml"
sed -i "s|^state_dir: .*|state_dir: $work/elsewhere|" "$work/c.yaml"
kill -HUP "$daemon"
until_true 30 "what changed" said "changed log_level, watch.settle"
until_true 30 "what needs a restart" said "keep their old values until then: state_dir"
echo "nonsense: 1" >>"$work/c.yaml"
kill -HUP "$daemon"
until_true 30 "the bad file" said "unknown key nonsense"
said "the old configuration stays in force" || fail "it does not say what a bad file changes"
answers || fail "no answer after a bad reload"
[ ! -e "$work/elsewhere" ] || fail "a reload moved the state"

# ---- a second daemon on the same state, and on the same socket ----
e2e_config
ends 1 "in use by another modelmapd, pid $daemon" --config "$work/c.yaml"
sed "s|^state_dir: .*|state_dir: $work/second|" "$work/c.yaml" >"$work/second.yaml"
ends 1 "$work/events" --config "$work/second.yaml"
answers || fail "the second daemon took the first one's socket"

# ---- stop: told, status 0, nothing left; also by SIGINT ----
e2e_stop
heard STOPPING=1 || fail "STOPPING was not told"
[ ! -S "$work/control" ] || ! "$bin/modelmap" --socket "ipc://$work/control" --timeout 1s status >/dev/null 2>&1 || fail "somebody still answers"
e2e_start
kill -INT "$daemon"
wait "$daemon" || fail "SIGINT: status $?"
daemon=""

# ---- a model, a backup, put back ----
e2e_start
copy "$fixtures/qwen2-a" qwen2-a
until_true 300 "scored" is qwen2-a scored
mm backup "$work/b.mdb" >/dev/null 2>&1 || fail "backup"
mm --json show qwen2-a | python3 "$tool" q "d['state']=='scored'" || fail "show"
mm export --vectors "$work/v1.npy" --names "$work/n1.txt" >/dev/null 2>&1 || fail "export"
e2e_stop
mv "$work/state" "$work/lost"
mkdir "$work/state"
cp "$work/b.mdb" "$work/state/store.mdb"
e2e_start
is qwen2-a scored || fail "after the backup was put back: $(mm models)"
mm export --vectors "$work/v2.npy" --names "$work/n2.txt" >/dev/null 2>&1 || fail "export from the backup"
cmp "$work/v1.npy" "$work/v2.npy" || fail "the backup has other vectors"
e2e_stop

# ---- other terms are refused, with the way out ----
e2e_texts "$work/other.jsonl" 13
texts=$work/other.jsonl e2e_config
ends 1 "belongs to another text set" --config "$work/c.yaml"
ends 1 "modelmap export" --config "$work/c.yaml"
e2e_config
sed -i 's/compute: f32/bos: paper/' "$work/c.yaml"
ends 1 "score.bos auto, the configuration says paper" --config "$work/c.yaml"

# ---- a damaged store: refused, not served wrong ----
e2e_config
cp "$work/state/store.mdb" "$work/good.mdb"
printf '\377\377\377\377' | dd of="$work/state/store.mdb" bs=1 seek=8202 conv=notrunc 2>/dev/null
ends 1 "is damaged" --config "$work/c.yaml"
ends 1 "modelmap backup" --config "$work/c.yaml"
head -c 9000 "$work/good.mdb" >"$work/state/store.mdb"
ends 1 "is damaged" --config "$work/c.yaml"
cp "$work/good.mdb" "$work/state/store.mdb"
e2e_start
is qwen2-a scored || fail "after the good file was put back"
e2e_stop
echo "ok"
