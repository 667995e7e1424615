#!/bin/bash
# Makes what tables say anew: man/modelmapd.yaml.5 and config/modelmapd.yaml from the keys, and, between the marks in them, the
# options of man/modelmap.1 and the arguments of man/modelmap-protocol.7. BIN: where the programs are.
set -eu
cd "$(dirname "$0")/.."
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
# Written in place only when it differs, so that nothing is made again that is as it was.
replace() { cmp -s "$tmp" "$1" || { cat "$tmp" >"$1"; echo "  MAN	$1"; }; }
"$BIN/modelmapd" --config-man >"$tmp"
replace man/modelmapd.yaml.5
"$BIN/modelmapd" --dump-defaults >"$tmp"
replace config/modelmapd.yaml
for page in man/modelmap.1 man/modelmap-protocol.7; do
	while IFS= read -r line; do
		case $line in
		'.\" made by make man: '*) printf '%s\n' "$line"; "$BIN/modelmap" __man "${line##* }"; skip=1 ;;
		'.\" end') skip=""; printf '%s\n' "$line" ;;
		*) [ -n "${skip:-}" ] || printf '%s\n' "$line" ;;
		esac
	done <"$page" >"$tmp"
	replace "$page"
done
