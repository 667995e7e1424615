#!/bin/bash
# The page with 1,000 and 100,000 simulated models: processor time of ours a frame, a pick, a new filter.
cd "$(dirname "$0")/../.." || exit 1
chromium=${CHROMIUM:-$(command -v chromium || true)}
[ -n "$chromium" ] || { echo "skip: no chromium here"; exit 0; }
page=${OUT:-build/release}/web-bench
scripts/web.sh "$page" || exit 0
for n in 1000 100000; do CHROMIUM=$chromium node client/web/test/bench.mjs "$page" $n || exit 1; done
