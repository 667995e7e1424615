#!/bin/bash
# kill -9 of daemon and scorer at 20 random moments (SEED repeats them) while models arrive: afterwards every model is there
# exactly once with the right vector, and nothing is left in the queue.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
seed=${SEED:-$$}
echo "SEED=$seed"
RANDOM=$seed
e2e_begin kill9
retries=60
e2e_texts "$work/texts.jsonl" 24
e2e_config
mkdir "$work/src"

names=(qwen2-a qwen2-a-perl qwen2-a-shakespeare qwen2-a-mix-shakespeare-050 neox-a neox-a-shakespeare)
i=0
for f in "${names[@]}" "${names[@]}"; do # each twice: as it is, and with other weights
	i=$((i + 1))
	cp -rL "$fixtures/$f" "$work/src/m$i"
	chmod -R u+w "$work/src/m$i"
	[ $i -le 6 ] || python3 "$tool" weights "$work/src/m$i" $i
done
cp -r "$work/src/m1" "$work/src/copy" # one of them is a copy
total=13
order=$(seq 1 12)

e2e_start
scorers=0 daemons=0
arrive() {
	local next=${order%%[[:space:]]*}
	if [ -n "$next" ]; then
		order=$(echo "$order" | tail -n +2)
		cp -r "$work/src/m$next" "$models/m$next"
	elif [ ! -d "$models/copy" ]; then
		cp -r "$work/src/copy" "$models/copy"
	fi
}
for round in $(seq 20); do
	arrive
	e2e_alive || e2e_start
	# The moment is random on purpose: this is what is tested.
	python3 -c "import time; time.sleep($((RANDOM % 2500)) / 1000)"
	child=$(pgrep -P "$daemon" -f -- --stream | head -n 1)
	if [ $((round % 2)) = 0 ] && [ -n "$child" ]; then
		kill -9 "$child" 2>/dev/null
		scorers=$((scorers + 1))
	else
		e2e_alive || fail "the daemon died by itself"
		e2e_kill
		daemons=$((daemons + 1))
	fi
done
while [ -n "$order" ] || [ ! -d "$models/copy" ]; do arrive; done
e2e_alive || e2e_start
echo "killed: $daemons daemons, $scorers scorers"

all_scored() { # and nothing else
	q "d['models']==$total and d['scored']==$total and sum(d['queue'][k] for k in ('waiting','queued','running','failed'))==0" status
}
until_true ${LIMIT:-300} "all $total models are scored" all_scored
q "sorted(m['name'] for m in d['models'])==sorted(['copy']+['m%d'%i for i in range(1,13)])" models ||
	fail "names: $(mm models)"
q "not d['jobs']" queue || fail "jobs are left: $(mm queue)"
q "[bool(m['same_as']) for m in d['models']].count(True)==1 and not [m for m in d['models'] if m['same_as'] and m['name'] not in ('m1','copy')]" \
	models || fail "copies"
vectors_right copy $(seq -f m%g 1 12)
[ "$(wc -l <"$work/v.txt")" = $total ] || fail "$(wc -l <"$work/v.txt") rows"
mm call alerts all=true >"$work/alerts.json" || fail "alerts"
python3 "$tool" q "[a['kind'] for a in d['alerts'] if a['kind']!='isolated']==['duplicate']" <"$work/alerts.json" ||
	fail "alerts: $(cat "$work/alerts.json")"
! grep -i 'damaged\|corrupt' "$work/log" || fail "the store was damaged"
e2e_stop
# Once more: all is there.
e2e_start
until_true 60 "all is there" all_scored
cp "$work/v.npy" "$work/before.npy"
vectors_right m1
cmp "$work/v.npy" "$work/before.npy" || fail "other vectors after a restart"
e2e_stop
