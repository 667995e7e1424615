# shellcheck shell=bash disable=SC2034 # much of this is used by the scripts only
# lib.sh - what the end-to-end scripts share: a fresh directory, a daemon in it, waiting for events with a deadline.
#
#   e2e_begin NAME          $work, $models; everything is removed at the end, daemons are killed
#   e2e_config [YAML...]    $work/c.yaml; arguments are further lines
#   e2e_start | e2e_stop | e2e_kill
#   mm ARGS...              the client
#   until_true SECONDS TEXT COMMAND...    polls COMMAND until it succeeds; TEXT and the log are shown when it does not
#   q EXPR CMD...           evaluates a Python expression on the client's JSON answer `d`; true: status 0
#   fail TEXT
#
# Nothing here sleeps for a guessed time: waiting is for a state, with a deadline that only a broken program reaches.
set -u
unset OPENBLAS_CORETYPE
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$top" || exit 1
bin=${OUT:-build/release}
case $bin in /*) ;; *) bin=$top/$bin ;; esac
shared=${MM_SHARED:-$top/../shared}
tool=$top/tests/e2e/tool.py
fixtures=$top/tests/fixtures/zoo
daemon=""
# A debug or sanitizer build is slower, and so is a machine that does other things.
slow=${E2E_SLOW:-1}

e2e_begin() {
	work=$(mktemp -d "/tmp/mm-e2e-$1.XXXXXX") || exit 1
	models=$work/models
	mkdir "$models" "$work/state"
	trap e2e_end EXIT
	trap 'exit 130' INT TERM
	for p in modelmapd modelmap modelmap-score; do
		[ -x "$bin/$p" ] || { echo "$bin/$p is not built" >&2; exit 1; }
	done
}

e2e_end() {
	local rc=$?
	trap - EXIT
	if [ -n "$daemon" ]; then
		kill -9 "$daemon" 2>/dev/null
		wait "$daemon" 2>/dev/null
	fi
	if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
	exit $rc
}

fail() {
	echo "FAILED: $*" >&2
	if [ -f "$work/log" ]; then
		echo "--- the end of the daemon's log:" >&2
		tail -n 40 "$work/log" >&2
	fi
	exit 1
}

# Texts of the project's own: the licence, cut.
e2e_texts() { # FILE [N]
	python3 "$tool" texts "$top/LICENSE" "${2:-12}" >"$1" || exit 1
}

e2e_config() {
	[ -f "$work/texts.jsonl" ] || e2e_texts "$work/texts.jsonl"
	cat >"$work/c.yaml" <<EOF
watch: { dirs: [$models], settle: 300ms, give_up: ${give_up:-1h}, mode: ${mode:-auto}, poll_interval: 200ms }
texts: ${texts:-$work/texts.jsonl}
state_dir: $work/state
control: ipc://$work/control
events: ipc://$work/events
score: { compute: f32, probes: ${probes:-32}, order: oldest, priority: normal, backoff: 100ms, retries: ${retries:-3}, timeout: 10m, program: "${program:-}" }
EOF
	[ $# = 0 ] || printf '%s\n' "$@" >>"$work/c.yaml"
}

mm() {
	"$bin/modelmap" --timeout 60s --socket "ipc://$work/control" "$@"
}

e2e_alive() {
	[ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null
}

answers() {
	e2e_alive || fail "the daemon is gone"
	mm status >/dev/null 2>&1
}

e2e_start() {
	"$bin/modelmapd" --config "$work/c.yaml" --foreground >>"$work/log" 2>&1 &
	daemon=$!
	until_true 60 "the daemon answers" answers
}

e2e_stop() {
	kill "$daemon" 2>/dev/null
	wait "$daemon" || fail "the daemon ended with status $?"
	daemon=""
}

e2e_kill() {
	kill -9 "$daemon" 2>/dev/null
	wait "$daemon" 2>/dev/null
	daemon=""
}

until_true() { # SECONDS TEXT COMMAND...
	local end=$((SECONDS + $1 * slow)) text=$2
	shift 2
	while ! "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "not in time: $text"
		python3 -c 'import time; time.sleep(0.05)'
	done
}

q() { # EXPR CMD...: a Python expression over the answer `d`
	local expr=$1
	shift
	mm --json "$@" 2>/dev/null | python3 "$tool" q "$expr"
}

# The state of one model as `models` says: scored, failed, waiting, gone, none.
is() { # NAME STATE
	q "[m['state'] for m in d['models'] if m['name']=='$1']==['$2']" models
}

detail_is() { # NAME DETAIL
	q "[m['detail'] for m in d['models'] if m['name']=='$1']==['$2']" models
}

code_is() { # NAME REASON_CODE
	q "[m['reason_code'] for m in d['models'] if m['name']=='$1']==['$2']" models
}

idle() {
	q "d['queue']['waiting']+d['queue']['queued']+d['queue']['running']==0 and d['watch']['scanned']" status
}

copy() { # FROM NAME: as a user would
	mkdir -p "$(dirname "$models/$2")"
	cp -rL "$1" "$models/$2"
	chmod -R u+w "$models/$2"
}

# The vectors of the daemon against those that the scorer makes alone from what lies there now.
vectors_right() { # NAME...
	mm export --vectors "$work/v.npy" --names "$work/v.txt" >/dev/null 2>&1 || fail "export"
	local n
	for n in "$@"; do
		"$bin/modelmap-score" --texts "${texts:-$work/texts.jsonl}" --compute f32 --format npy -o "$work/one.npy" \
			"$models/$n" 2>"$work/one.err" || fail "$n cannot be scored alone: $(cat "$work/one.err")"
		python3 "$tool" row "$work/v.npy" "$work/v.txt" "$n" "$work/one.npy" || fail "the vector of $n is another one"
	done
}
