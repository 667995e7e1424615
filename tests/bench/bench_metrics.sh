#!/bin/bash
# `near` by each metric on a map of 10,000 models with next-byte features. Gigabytes: only with MM_BENCH_LARGE=1.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
[ -n "${MM_BENCH_LARGE:-}" ] || { echo "MM_BENCH_LARGE=1 measures metrics on a map of 10,000 models"; exit 0; }
e2e_begin bench-metrics
"$bin/tests/bench/daemon/bench_fill" "$work" 10000 "${MM_BENCH_TEXTS:-1000}" 256 || fail "cannot fill a store"
probes=256 e2e_config "map: { refit_growth: 0, layouts: none }"
e2e_start
until_true 1800 "the first epoch is made" q "d['epoch']>=1 and not d['refitting']" epochs
PYTHONPATH=client/python /usr/bin/python3 - "ipc://$work/control" "${ROUNDS:-60}" <<'PY' || fail "queries"
import random, sys, time
import modelmap

random.seed(1)
with modelmap.Client(sys.argv[1], timeout=120) as m:
    names = [x["name"] for x in m.models()]
    print("%-12s %9s %9s %9s %9s" % ("metric", "first, s", "p50, ms", "p99, ms", "complete"))
    for metric in ("kl", "fisher", "hellinger", "jeffreys", "js", "wasserstein"):
        t = time.perf_counter()
        m.near(names[0], k=10, metric=metric)
        first, took, whole = time.perf_counter() - t, [], 0
        for _ in range(int(sys.argv[2])):
            name = random.choice(names)
            t = time.perf_counter()
            a = m.call("near", name=name, k=10, metric=metric)
            took.append(1e3 * (time.perf_counter() - t))
            whole += a.get("complete", True)
        took.sort()
        print("%-12s %9.2f %9.1f %9.1f %6d/%d"
              % (metric, first, took[len(took) // 2], took[int(0.99 * len(took))], whole, len(took)))
PY
grep -E 'VmHWM|RssAnon' "/proc/$daemon/status"
e2e_stop
