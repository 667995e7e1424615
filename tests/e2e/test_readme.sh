#!/bin/bash
# What the README says is generated or checkable: the table of families, the programs it names, the options it shows.
set -eu
cd "$(dirname "$0")/../.."
export BIN=${BIN:-${OUT:-build/release}}
bin=$BIN
scripts/families.sh --check
for option in --texts --tokens --families --progress; do
	"$bin/modelmap-score" --help | grep -q -- "$option" || { echo "modelmap-score has no $option"; exit 1; }
done
for command in status models near dist map watch queue alerts texts; do
	"$bin/modelmap" --help | grep -q "^  $command" || { echo "modelmap has no $command"; exit 1; }
done
"$bin/modelmapd" --check-config config/modelmapd.yaml >/dev/null 2>&1 || "$bin/modelmapd" --dump-defaults | diff - config/modelmapd.yaml
