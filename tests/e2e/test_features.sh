#!/bin/bash
# Next-byte features: a store that was made without them keeps working, says what is missing, and gets them when asked;
# what a daemon has of them a second one finds in its store.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
e2e_begin features
features() { # NAME VALUE
	q "[m['features'] for m in d['models'] if m['name']=='$1']==['$2']" models
}

# ---- without ----
probes=0 e2e_config
e2e_start
copy "$fixtures/qwen2-a" one
copy "$fixtures/bard-mini" two
copy "$fixtures/bard-mini" copy
mm watch --until-idle --models 3 --timeout 300s >/dev/null || fail "scoring"
features one none || fail "features of a model that was scored without"
q "d['features']=='none' and not d.get('no_features')" show two || fail "show"
mm rescore --missing-features 2>"$work/err" && fail "features are switched off"
grep -q 'score.probes' "$work/err" || fail "does not say why: $(cat "$work/err")"
mm export --vectors "$work/before" || fail "export"
e2e_stop

# ---- the store of before, with ----
probes=24 e2e_config
e2e_start
mm watch --until-idle --timeout 60s >/dev/null || fail "the second start"
features one none || fail "a store of before"
mm rescore 2>/dev/null
[ $? = 2 ] || fail "rescore of nothing is a usage error"
mm rescore --missing-features >"$work/out" || fail "rescore --missing-features"
grep -q '^2 models' "$work/out" || fail "a copy has its original's: $(cat "$work/out")"
mm watch --until-idle --timeout 300s >/dev/null || fail "scoring again"
for m in one two copy; do features "$m" "next byte" || fail "$m has no features"; done
q "d['models']==[] and d['without_files']==[]" rescore --missing-features || fail "nothing is missing any more"
mm export --vectors "$work/after" || fail "export"
cmp "$work/before" "$work/after" || fail "features changed the vectors"
e2e_stop

# ---- other probes are other features ----
probes=16 e2e_config
e2e_start
features one "other probes" || fail "features of other probes"
probes=24 e2e_config
e2e_stop
e2e_start
features two "next byte" || fail "features do not survive"
e2e_stop
