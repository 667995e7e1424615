#!/bin/bash
# Runs bench programs and scripts one after the other; B=pattern picks.
set -u
unset OPENBLAS_CORETYPE
for b in "$@"; do
	case $b in *${B:-}*) ;; *) continue ;; esac
	echo "== $(basename "$b")"
	"$b" || echo "   (failed: exit $?)"
done
