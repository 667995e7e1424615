#!/bin/bash
# What the compiler does not check: formatting, the arrows between layers, fenced third-party headers, headers that compile
# alone, file length, leftovers, shell scripts. Prints file:line: message; exit 1 when there is any.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
complain() { echo "$1"; bad=1; }
mapfile -t files < <(git ls-files -co --exclude-standard 'lib/*.[ch]' 'daemon/*.[ch]' 'client/*.[ch]' 'tests/*.[ch]' | while read -r f; do [ -f "$f" ] && echo "$f"; done)

# ---- formatting ----
if command -v clang-format >/dev/null; then
	for f in "${files[@]}"; do
		clang-format --dry-run -Werror "$f" >/dev/null 2>&1 || complain "$f: not formatted; run: make format"
	done
fi

# ---- arrows: layer -> what it may include besides itself and base ----
# score_*.c in daemon/ are the scorer's program: the only place where model and wire meet.
declare -A may=([base]="" [tensor]="" [model]="tensor" [stat]="tensor" [store]="" [wire]="" [client]="wire"
	[daemon]="stat store wire tensor" [score]="model tensor wire daemon")
for f in "${files[@]}"; do
	case $f in
	lib/*) layer=${f#lib/}; layer=${layer%%/*} ;;
	daemon/score_*) layer=score ;;
	daemon/*) layer=daemon ;;
	client/*) layer=client ;;
	*) continue ;;
	esac
	while IFS=: read -r line to; do
		case " $layer base ${may[$layer]} " in
		*" $to "*) ;;
		*) complain "$f:$line: $layer must not include $to (arrows: HACKING.md)" ;;
		esac
	done < <(sed -nE 's|^#include "([a-z]+)/.*|\1|p;t;s|.*||p' "$f" | awk 'length($0){print NR":"$0}')
done

# ---- fences: a third-party header stands only where its wrapper is ----
fence() { # header, allowed path pattern
	git grep -nE "#include [<\"]$1" -- 'lib/*' 'daemon/*' 'client/*' 2>/dev/null | while IFS=: read -r f line _; do
		[[ $f =~ ^($2)$ ]] || echo "$f:$line: $1 is fenced to $2"
	done
}
out=$(
	fence 'cblas\.h' 'lib/tensor/(blas|lapack)[a-z_]*\.c'
	fence 'lapacke\.h' 'lib/tensor/(blas|lapack)[a-z_]*\.c'
	fence '(oneapi/)?dnnl' 'lib/tensor/(blas|dnnl)[a-z_]*\.[ch]'
	fence 'lmdb\.h' 'lib/store/.*'
	fence 'zmq\.h' 'daemon/(ctl|events|zap)[a-z_]*\.[ch]|client/conn\.c'
	fence 'pcre2\.h' 'lib/model/tok_?[a-z_]*\.[ch]'
	fence 'utf8proc\.h' 'lib/model/tok_?[a-z_]*\.[ch]'
	fence 'xxhash\.h' 'lib/base/hash\.c'
	fence 'microhttpd\.h' 'daemon/http[a-z_]*\.[ch]'
	fence 'yaml\.h' 'daemon/config[a-z_]*\.[ch]'
)
[ -z "$out" ] || complain "$out"

# ---- every header compiles alone ----
for f in "${files[@]}"; do
	case $f in tests/*) continue ;; *.h) ;; *) continue ;; esac
	echo "#include \"${f#lib/}\"" | gcc -std=c11 -D_GNU_SOURCE -Ilib -I. -fsyntax-only -x c - 2>/dev/null ||
		complain "$f: does not compile alone"
done

# ---- length and leftovers ----
for f in "${files[@]}"; do
	n=$(wc -l <"$f")
	limit=500
	case $f in *.h|tests/*) limit=600 ;; esac # headers are tables of contents; cases of a test are often tables too
	[ "$n" -le $limit ] || complain "$f: $n lines, at most $limit: split by idea"
done
out=$(git grep -nE '\b(TODO|FIXME|XXX|HACK)\b|[[:space:]]+$' -- '*.c' '*.h' '*.sh' Makefile ':!scripts/lint.sh' 2>/dev/null | grep -vE '^tests/.*seeds/' | head -20)
[ -z "$out" ] || complain "$out"

# ---- shell ----
if command -v shellcheck >/dev/null; then
	mapfile -t scripts < <(git ls-files -co --exclude-standard 'scripts/*.sh' 'tests/*.sh' '.ci/run')
	[ ${#scripts[@]} -eq 0 ] || shellcheck -x -S warning "${scripts[@]}" || bad=1
fi
if [ $bad = 0 ]; then echo "lint: clean"; fi
exit $bad
