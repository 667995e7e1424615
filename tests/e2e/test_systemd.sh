#!/bin/bash
# The service under a real systemd, booted as PID 1 in namespaces of its own over a throw-away root (systemd-boot.sh):
# start, user and hardening, a checkpoint dropped and found, kill -9 of daemon and scorer, watchdog, reload, stop.
set -u
cd "$(dirname "$0")/../.." || exit 1
OUT=$(readlink -f "${OUT:-build/release}")
export OUT
# shellcheck source=tests/e2e/systemd.sh
. tests/e2e/systemd.sh
machine_needs
models=tests/fixtures/zoo
[ -d $models/qwen2-a ] || skip "$models is not here"

machine_begin

# ---- what goes into the machine ----
stage=$tmp/stage
mkdir -p "$stage/etc/modelmapd" "$stage/srv/zoo"
DESTDIR=$stage PREFIX=/usr scripts/install.sh >/dev/null || exit 1
mkdir -p "$stage/usr/share/modelmapd"
awk 'BEGIN { srand(7); for (i = 0; i < 400; i++) { t = ""; while (length(t) < 480) t = t sprintf("%s ", substr("the of map near model light river stone and winter question", 1 + int(rand() * 40), 3 + int(rand() * 9))); gsub(/[^a-z ]/, "", t); printf "{\"text\": \"%s\", \"domain\": \"d%d\"}\n", t, i % 3 } }' \
	>"$stage/usr/share/modelmapd/texts.jsonl"
settings() { printf 'watch: { dirs: [/srv/models], settle: %s }\nscore: { backoff: 100ms }\n' "$1"; }
settings 300ms >"$stage/etc/modelmapd/modelmapd.yaml"
for m in qwen2-a neox-a bard-mini; do cp -rL "$models/$m" "$stage/srv/zoo/$m"; done
chmod -R a+rX "$stage"

# ---- boot ----
machine_boot "$stage"

running() { mm --json queue | grep -q '"state": *"running"'; }
scorer_pid() { in_ns pgrep -x modelmap-score | grep -m 1 .; } # its number inside; fails when there is none
drop() { in_ns cp -r "/srv/zoo/$1" /srv/models/; }
restarted() { [ "$(show NRestarts)" -gt "$1" ] && active; }

# ---- start ----
in_ns systemctl start modelmapd || fail "the unit does not start"
active || fail "not active"
in_ns systemctl show -P StatusText modelmapd | grep -q '0 models, 0 running' || fail "status line: $(show StatusText)"
[ "$(in_ns stat -c '%U %a' /var/lib/modelmapd)" = "modelmapd 750" ] || fail "state directory: $(in_ns stat -c '%U %a' /var/lib/modelmapd)"
[ "$(in_ns stat -c '%U %G %a' /run/modelmapd/control)" = "modelmapd modelmapd 660" ] || fail "socket: $(in_ns stat -c '%U %G %a' /run/modelmapd/control)"
main=$(show MainPID)
[ "$(in_ns ps -o user= -p "$main" | tr -d ' ')" = modelmapd ] || fail "runs as another user"
figure=$(in_ns systemd-analyze security modelmapd | sed -n 's/.*Overall exposure level for modelmapd.service: \([0-9.]*\).*/\1/p')
echo "systemd-analyze security: $figure"
awk -v f="$figure" 'BEGIN { exit !(f != "" && f <= 1.5) }' || fail "exposure $figure is above 1.5"

# ---- a checkpoint; the daemon is killed while it is scored ----
drop qwen2-a
until_true 120 "the first job runs" running
until_true 60 "a scorer runs" scorer_pid
scorer=$(scorer_pid)
is_idle_class() { [ "$(in_ns ps -o cls= -p "$scorer" | tr -d ' ')" = IDL ]; }
until_true 30 "the scorer sets itself to idle priority" is_idle_class
n=$(show NRestarts)
in_ns kill -KILL "$main" || fail "kill"
until_true 60 "systemd starts it again" restarted "$n"
[ "$(show MainPID)" != "$main" ] || fail "the same process"
idle
scored 1 || fail "after kill -9 of the daemon: $(mm --json models)"
in_ns test ! -d "/proc/$scorer" || fail "the old scorer outlived its daemon"

# ---- the scorer is killed: the service goes on, the job is run again ----
main=$(show MainPID)
drop neox-a
until_true 120 "the second job runs" running
until_true 60 "a scorer runs" scorer_pid
in_ns kill -KILL "$(scorer_pid)"
idle
scored 2 || fail "after kill -9 of the scorer: $(mm --json models)"
[ "$(show MainPID)" = "$main" ] || fail "the daemon went with its scorer"
mm near qwen2-a | grep -q neox-a || fail "near: $(mm near qwen2-a)"

# ---- reload: good, bad, and bad behind systemd's back ----
in_ns tee /etc/modelmapd/modelmapd.yaml >/dev/null <<<"$(settings 400ms)"
in_ns systemctl reload modelmapd || fail "reload of good settings"
until_true 30 "the reload is in the journal" journal_has "changed watch.settle"
until_true 30 "active after the reload" active
in_ns tee /etc/modelmapd/modelmapd.yaml >/dev/null <<<"watch: { setle: 1s }"
in_ns systemctl reload modelmapd 2>/dev/null && fail "systemctl reload accepts bad settings"
in_ns kill -HUP "$main"
until_true 30 "the bad reload is in the journal" journal_has "the old configuration stays in force"
journal_has "did you mean watch.settle" || fail "the hint is not in the journal"
until_true 30 "active after a bad reload" active
[ "$(show MainPID)" = "$main" ] || fail "a bad reload ended the daemon"
mm status >/dev/null || fail "no answer after a bad reload"

# ---- bad settings: no start, and the reason ----
in_ns systemctl stop modelmapd
in_ns systemctl start modelmapd 2>/dev/null && fail "it starts with bad settings"
journal_has "unknown key watch.setle" || fail "the reason is not in the journal"
in_ns tee /etc/modelmapd/modelmapd.yaml >/dev/null <<<"$(settings 300ms)"
in_ns systemctl reset-failed modelmapd
in_ns mkdir -p /etc/systemd/system/modelmapd.service.d
in_ns tee /etc/systemd/system/modelmapd.service.d/test.conf >/dev/null <<<$'[Service]\nWatchdogSec=3s\nTimeoutAbortSec=1s'
in_ns systemctl daemon-reload
in_ns systemctl start modelmapd || fail "it does not start with good settings again"
scored 2 || fail "after a restart: $(mm --json models)"

# ---- the watchdog: silent while the loop works, a hanging loop is ended and started again ----
n=$(show NRestarts) main=$(show MainPID)
mm watch --timeout 7 >/dev/null 2>&1 # longer than two watchdog periods
[ "$(show MainPID)" = "$main" ] || fail "the watchdog ended a daemon that works"
in_ns kill -STOP "$main"
until_true 60 "the watchdog starts it again" restarted "$n"
journal_has "Watchdog timeout" || fail "it was not the watchdog"

# ---- stop while a job runs: within ten seconds, nothing left, the job goes on afterwards ----
drop bard-mini
until_true 120 "the third job runs" running
until_true 60 "a scorer runs" scorer_pid
start=$(date +%s%N)
in_ns systemctl stop modelmapd || fail "stop"
took=$((($(date +%s%N) - start) / 1000000))
echo "stop took $took ms"
[ $took -le 10000 ] || fail "stop took $took ms"
[ "$(show Result)" = success ] || fail "stopped with $(show Result)"
[ -z "$(scorer_pid)" ] || fail "a scorer outlived the service"
in_ns systemctl start modelmapd || fail "start after stop"
idle
scored 3 || fail "after stop and start: $(mm --json models)"
mm --json models | tr ',' '\n' | grep -c '"name"' | grep -qx 3 || fail "a model is there twice"
in_ns systemctl stop modelmapd
echo "ok"
