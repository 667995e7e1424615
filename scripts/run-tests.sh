#!/bin/bash
# Runs test programs (cmocka, fuzz replays) and e2e scripts, adds up what they report, ends with "N passed, N failed".
# A program that dies without a summary counts as one failed test. T=pattern picks; JOBS=n at a time (default: cores).
set -u
cd "$(dirname "$0")/.." || exit 1
unset OPENBLAS_CORETYPE
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp print_suppressions=0 ${LSAN_OPTIONS:-}" # SANITIZE=address
export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp ${TSAN_OPTIONS:-}" # read in a MODE=tsan build only
logs=${OUT:-build}/test-logs
rm -rf "$logs" && mkdir -p "$logs"
run_one() {
	local t=$1 log=$2 rc
	case $t in
	*/fuzz/*/fuzz_*) "$t" "tests/fuzz/seeds/$(basename "$t" | sed s/^fuzz_//)" >"$log" 2>&1 ;;
	*) timeout -k 5 "${TEST_TIMEOUT:-1800}" "$t" >"$log" 2>&1 ;;
	esac
	rc=$?
	echo "$rc" >"$log.rc"
}
count() { # file, cmocka word -> sum of "[  WORD  ] n test(s)"
	sed -nE "s/^\[ +$2 +\] ([0-9]+) test\(s\).*/\1/p" "$1" | awk '{s+=$1} END {print s+0}'
}
list=()
for t in "$@"; do case $t in *${T:-}*) list+=("$t") ;; esac; done
max=${JOBS:-$(nproc)}
serial=()
for t in "${list[@]}"; do
	case $t in *.sh) serial+=("$t"); continue ;; esac
	while [ "$(jobs -rp | wc -l)" -ge "$max" ]; do wait -n; done
	run_one "$t" "$logs/$(echo "${t#*tests/}" | tr / _).log" &
done
wait
for t in "${serial[@]}"; do # end-to-end tests have the machine to themselves
	run_one "$t" "$logs/$(echo "${t#*tests/}" | tr / _).log"
done
passed=0 failed=0 skipped=0 broken=()
for t in "${list[@]}"; do
	log=$logs/$(echo "${t#*tests/}" | tr / _).log
	rc=$(cat "$log.rc")
	p=0 f=0 s=0
	case $t in
	*.sh) case $rc in 0) p=1 ;; 77) s=1 ;; *) f=1 ;; esac ;;
	*/fuzz/*) [ "$rc" = 0 ] && p=1 || f=1 ;;
	*)
		p=$(count "$log" PASSED) f=$(count "$log" FAILED) s=$(count "$log" SKIPPED)
		[ "$rc" = 0 ] || [ "$f" -gt 0 ] || f=1
		;;
	esac
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	word=ok; [ "$s" -gt 0 ] && word="ok, skipped $s"; [ "$f" -gt 0 ] && word=FAILED
	printf '%-70s %s\n' "${t#*tests/}" "$word ($p)"
	[ "$s" -gt 0 ] && grep -ahE '^(skip|SKIP|skipped):' "$log" | sort -u | sed 's/^/    /'
	if [ "$f" -gt 0 ]; then
		sed 's/^/    | /' "$log" | tail -n "${TAIL:-60}"
		broken+=("$t: $(grep -aE 'FAILED|ERROR|error:' "$log" | head -n 1)")
	fi
done
# Once more at the end: who sees only the last lines of a log wants to know what it was.
for t in "${broken[@]}"; do echo "failed: ${t#*tests/}"; done
[ "$skipped" = 0 ] || echo "$skipped skipped: what they need is not here (named above)"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
