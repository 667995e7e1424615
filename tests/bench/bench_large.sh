#!/bin/bash
# Queries against a map of 10,000 models while it makes a new epoch. Minutes and gigabytes: only with MM_BENCH_LARGE=1.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
[ -n "${MM_BENCH_LARGE:-}" ] || { echo "MM_BENCH_LARGE=1 measures queries on a map of 10,000 models"; exit 0; }
e2e_begin bench-large
"$bin/tests/bench/daemon/bench_fill" "$work" 10000 "${MM_BENCH_TEXTS:-10000}" || fail "cannot fill a store"
e2e_config "map: { refit_growth: 0, layouts: none }"
e2e_start
until_true 1800 "the first epoch is made" q "d['epoch']>=1" status
grep -E 'VmHWM|RssAnon' "/proc/$daemon/status"
mm refit >/dev/null 2>&1 &
"$bin/tests/bench/daemon/bench_ctl" "ipc://$work/control" "${SECONDS_OF_LOAD:-20}" family1/model-00001 family2/model-00002 large
rc=$?
mm --json epochs | python3 -c "import json,sys; d=json.load(sys.stdin); print('epoch %d, refit %s' % (d['epoch'], 'still running' if d['refitting'] else 'over'))"
grep -E 'VmHWM|RssAnon' "/proc/$daemon/status"
exit $rc
