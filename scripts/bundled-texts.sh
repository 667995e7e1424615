#!/bin/bash
# Makes config/texts.jsonl, the text set that comes with the package: the project's own documentation and sources, cut into pieces of
# at most 512 bytes (the contexts of the bundled checkpoints hold that). It is kept in the tree, because a store belongs to one text
# set: a set that changed with every commit would orphan every store. Run it when there is a reason, not when a source changes.
set -eu
cd "$(dirname "$0")/.."
modelmap=${BIN:-$PWD/build/bin}/modelmap
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
part() { # domain, pieces, paths...
	local domain=$1 n=$2
	shift 2
	"$modelmap" texts build --domain "$domain" --bytes 512 --seed 1 -n "$n" -o "$tmp/$domain.jsonl" "$@"
}
part docs 90 README.md HACKING.md NEWS man
part library 90 lib/base lib/tensor lib/stat lib/store lib/wire
part models 60 lib/model
part daemon 60 daemon client
part tests 60 tests/unit tests/golden
part scripts 40 scripts tests/e2e Makefile systemd config/modelmapd.yaml
# Once more through the same door: one file, numbered, in random order.
"$modelmap" texts build --bytes 512 --seed 1 -o config/texts.jsonl "$tmp"/*.jsonl
"$modelmap" texts check config/texts.jsonl
