#!/bin/bash
# 1,000 queries/s of 8 clients against a daemon that scores and refits all the while. Exit 1 when a query failed.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
e2e_begin bench-queries
"$bin/modelmap" texts build lib daemon LICENSE --seed 1 -n 300 -o "$work/texts.jsonl" 2>/dev/null || fail "texts"
e2e_config
e2e_start
for m in "$fixtures"/*/config.json "$fixtures"/*/*/config.json; do
	m=${m%/config.json} m=${m#"$fixtures"/}
	case $m in *-nan*) ;; *) copy "$fixtures/$m" "$m" ;; esac
done
for f in "$fixtures"/*/tokenizer*.json; do
	d=$models/$(basename "$(dirname "$f")")
	[ ! -d "$d" ] || [ -e "$d/$(basename "$f")" ] || cp -L "$f" "$d/"
done
until_true 300 "two models are on the map" q "d['on_map']>=2" status
work_it() { # keeps a scorer and refits going
	while :; do
		for m in $(mm --json models 2>/dev/null | python3 -c "import json,sys; print(*[m['name'] for m in json.load(sys.stdin)['models'] if m['state']=='scored' and not m['same_as']])"); do
			mm rescore "$m" >/dev/null 2>&1
			mm refit >/dev/null 2>&1
			python3 -c 'import time; time.sleep(1)'
		done
	done
}
work_it 2>/dev/null &
worker=$!
read -r -a names < <(mm --json map | python3 -c "import json,sys; print(*[p['name'] for p in json.load(sys.stdin)['points']][:2])")
"$bin/tests/bench/daemon/bench_ctl" "ipc://$work/control" "${SECONDS_OF_LOAD:-20}" "${names[@]}"
rc=$?
kill "$worker" 2>/dev/null
wait "$worker" 2>/dev/null
mm --json status | python3 -c "import json,sys; d=json.load(sys.stdin); print('meanwhile: %d models, epoch %d, %d running, %d queued' % (d['models'], d['epoch'], d['queue']['running'], d['queue']['queued']))"
exit $rc
