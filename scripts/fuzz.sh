#!/bin/sh
# Runs one libFuzzer program for FUZZ_SECONDS over its seeds; a finding stays in tests/fuzz/found/.
set -eu
cd "$(dirname "$0")/.."
name=$(basename "$1" | sed s/^fuzz_//)
mkdir -p "tests/fuzz/seeds/$name" "build/fuzz-corpus/$name" tests/fuzz/found
exec "$1" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
	-artifact_prefix="tests/fuzz/found/$name-" "build/fuzz-corpus/$name" "tests/fuzz/seeds/$name"
