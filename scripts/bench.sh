#!/bin/bash
# Runs bench programs and scripts one after the other; B=pattern picks.
set -u
# As lib/tensor/cpu.c does for the programs: OpenBLAS takes its oldest kernels for processors newer than itself.
unset OPENBLAS_CORETYPE
if grep -qw avx512bw /proc/cpuinfo; then export OPENBLAS_CORETYPE=SkylakeX; elif grep -qw avx2 /proc/cpuinfo; then export OPENBLAS_CORETYPE=Haswell; fi
for b in "$@"; do
	case $b in *${B:-}*) ;; *) continue ;; esac
	echo "== $(basename "$b")"
	"$b" || echo "   (failed: exit $?)"
done
