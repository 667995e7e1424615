#!/bin/bash
# The main job in a minute, without installing anything: a daemon in a temporary directory, the bundled tiny checkpoints arriving
# one after the other, then the map, the relatives and the alerts. DEMO_KEEP=1 leaves the daemon running and says how to talk to it.
set -eu
cd "$(dirname "$0")/.."
bin=${BIN:-$PWD/build/bin}
unset OPENBLAS_CORETYPE
work=$(mktemp -d "${TMPDIR:-/tmp}/modelmap-demo.XXXXXX")
daemon_pid=""
finish() {
	local rc=$?
	if [ -n "$daemon_pid" ]; then
		kill "$daemon_pid" 2>/dev/null || true
		wait "$daemon_pid" 2>/dev/null || true
	fi
	if [ $rc != 0 ] && [ -f "$work/daemon.log" ]; then
		echo "The demo did not come to its end. What the daemon said last:" >&2
		tail -n 20 "$work/daemon.log" >&2
	fi
	rm -rf "$work"
	exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

bold=$'\e[1m' plain=$'\e[0m'
if [ ! -t 1 ] || [ -n "${NO_COLOR:-}" ]; then bold="" plain=""; fi
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
mm() { "$bin/modelmap" --socket "ipc://$work/control" "$@"; }

mkdir "$work/models" "$work/state"
cat >"$work/modelmapd.yaml" <<EOF
watch: { dirs: [$work/models], settle: 300ms, give_up: 1h }
texts: $PWD/config/texts.jsonl
state_dir: $work/state
control: ipc://$work/control
events: ipc://$work/events
score: { compute: f32, order: oldest, priority: normal }
EOF

if [ -n "${DEMO_KEEP:-}" ]; then # a page to look at, where it can be built
	page=${bin%/bin}/web
	scripts/web.sh "$page" || page=""
	echo "http: { listen: 127.0.0.1:${DEMO_PORT:-0}, page: \"$page\" }" >>"$work/modelmapd.yaml"
fi

title "A daemon for this demonstration (everything in $work, removed at the end)"
"$bin/modelmapd" --config "$work/modelmapd.yaml" --foreground 2>"$work/daemon.log" &
daemon_pid=$!
for _ in $(seq 200); do # the socket appears once the store is open
	mm status >/dev/null 2>&1 && break
	kill -0 "$daemon_pid" 2>/dev/null || exit 1
	sleep 0.1
done
mm status

title "Eleven tiny trained checkpoints arrive, one after the other, and each is scored and placed on the map"
arrive() { # name: as a trainer would leave it
	mkdir -p "$work/models/$(dirname "$1")"
	cp -rL "tests/fixtures/zoo/$1" "$work/models/$1"
	chmod -R u+w "$work/models/$1"
	mm watch --until-idle --timeout 120
}
arrive qwen2-a
mkdir -p "$work/models/qwen2-a-run"
cp tests/fixtures/zoo/qwen2-a-run/*.json "$work/models/qwen2-a-run/" # the tokenizer lies once, in the run's directory
for m in qwen2-a-run/checkpoint-200 qwen2-a-run/checkpoint-800 qwen2-a-shakespeare qwen2-a-mix-shakespeare-050 qwen2-a-perl \
	neox-a neox-a-shakespeare bard-mini mistral-a-nan; do
	arrive $m
done
# Somebody's copy was interrupted half-way: it must wait, not be scored.
mkdir "$work/models/half-copied"
cp tests/fixtures/zoo/neox-a/*.json "$work/models/half-copied/"
head -c 900000 tests/fixtures/zoo/neox-a/model.safetensors >"$work/models/half-copied/model.safetensors"
mm watch --until-idle --timeout 120

title "The models (modelmap models)"
mm models
title "The map (modelmap map); the same picture is in demo-map.svg"
mm map --svg demo-map.svg
title "Nearest relatives (modelmap near NAME)"
for m in qwen2-a qwen2-a-mix-shakespeare-050 neox-a-shakespeare; do
	mm near $m -k 3
done
title "Two models, by the numbers (modelmap dist A B)"
mm dist qwen2-a qwen2-a-shakespeare
title "What waits, and why (modelmap queue)"
mm queue
title "Alerts (modelmap alerts)"
mm alerts
mm refit >/dev/null

if [ -n "${DEMO_KEEP:-}" ]; then
	title "The daemon keeps running. The map in a browser:"
	echo "  $(mm --json status | sed -n 's/.*"http":"\([^"]*\)".*/\1/p')"
	echo "or in another terminal:"
	echo "  export MODELMAP_SOCKET=ipc://$work/control PATH=$bin:\$PATH"
	echo "  modelmap watch      # and copy checkpoints into $work/models"
	echo "Ctrl-C ends it."
	wait "$daemon_pid"
fi
title "Done. Next: README.md, \"Configuration\"."
