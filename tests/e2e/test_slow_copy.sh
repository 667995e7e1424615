#!/bin/bash
# Checkpoints that arrive slowly, in every order that writers have: none is scored before it is whole, all are scored once
# and right afterwards.
#
# The scorer is wrapped: the wrapper notes each run, and whether the model was whole by then (this script makes the mark
# $work/whole/NAME when it has written the last byte). That the test can fail is part of it: at the end the same is done
# with a probe that believes everything, and then a model must be noted as scored too early.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
e2e_begin slow
mkdir "$work/whole" "$work/src"
program=$work/scorer
cat >"$program" <<EOF
#!/bin/bash
for last; do :; done
name=\${last#"$models"/}
case " \$* " in
*" --stream "*)
	[ -e "$work/whole/\${name//\\//_}" ] && echo "whole \$name" >>"$work/runs" || echo "early \$name" >>"$work/runs"
	while [ -e "$work/hold" ]; do read -rt 0.05 <> <(:) || :; done
	;;
*" --probe "*)
	for a; do [ "\${before:-}" = --probe ] && echo "\${a#"$models"/}" >>"$work/probes"; before=\$a; done
	if [ -e "$work/believe" ]; then "$bin/modelmap-score" "\$@" | python3 "$tool" believe; exit 0; fi
	;;
esac
exec "$bin/modelmap-score" "\$@"
EOF
chmod +x "$program"
: >"$work/runs"
: >"$work/probes"
e2e_texts "$work/texts.jsonl" 6
e2e_config
sed -i 's/settle: 300ms/settle: 1s/' "$work/c.yaml"
e2e_start

n_src=0
source_of() { # NAME FIXTURE: another model of that shape in $work/src/NAME
	n_src=$((n_src + 1))
	mkdir -p "$(dirname "$work/src/$1")"
	cp -rL "$fixtures/$2" "$work/src/$1"
	chmod -R u+w "$work/src/$1"
	python3 "$tool" weights "$work/src/$1" $n_src
	src=$work/src/$1
	dst=$models/$1
	mkdir -p "$dst"
}
probes() { grep -cxF -- "$1" "$work/probes"; }
looked_at() { [ "$(probes "$1")" -gt "$2" ]; }
# The daemon has looked at what lies there now, and waits.
pause() { # NAME
	local n
	n=$(probes "$1")
	touch "$models/$1"
	until_true 60 "a look at $1" looked_at "$1" "$n"
	until_true 60 "$1 waits" detail_is "$1" waiting
	never_early
}
never_early() { ! grep '^early' "$work/runs" || fail "scored before it was whole"; }
small() { # all but weights
	local f
	for f in "$src"/*; do case $f in *.safetensors*) ;; *) cp "$f" "$dst/" ;; esac; done
}
whole() { # NAME: right after the last byte
	: >"$work/whole/${1//\//_}"
}
all=""
scored() { # NAME
	until_true 120 "$1 is scored" is "$1" scored
	never_early
	[ "$(grep -cx "whole $1" "$work/runs")" = 1 ] || fail "$1 was scored $(grep -cx "whole $1" "$work/runs") times"
	all="$all $1"
	echo "ok $1"
}

source_of growing qwen2-a
small
python3 "$tool" piece "$src/model.safetensors" "$dst/model.safetensors" 0 0
pause growing
python3 "$tool" piece "$src/model.safetensors" "$dst/model.safetensors" 0 30
pause growing
until_true 60 "the reason" code_is growing truncated
q "[m for m in d['models'] if m['name']=='growing' and m['reason_file']=='model.safetensors' and m['missing_bytes']>100000]" models ||
	fail "file and missing bytes are not named"
python3 "$tool" piece "$src/model.safetensors" "$dst/model.safetensors" 30 99
pause growing
python3 "$tool" piece "$src/model.safetensors" "$dst/model.safetensors" 99 100
whole growing
scored growing

source_of shards neox-a
python3 "$tool" shard "$src" 3
cp "$src/model.safetensors.index.json" "$dst/"
pause shards
small
pause shards
for i in 3 1; do
	cp "$src/model-0000$i-of-00003.safetensors" "$dst/"
	pause shards
done
cp "$src/model-00002-of-00003.safetensors" "$dst/"
whole shards
scored shards

source_of length-first qwen2-a-perl
small
truncate -s "$(stat -c %s "$src/model.safetensors")" "$dst/model.safetensors"
pause length-first
for p in 0:20 20:50 50:90; do
	python3 "$tool" piece "$src/model.safetensors" "$dst/model.safetensors" ${p/:/ }
	pause length-first
done
python3 "$tool" piece "$src/model.safetensors" "$dst/model.safetensors" 90 100
whole length-first
scored length-first

source_of tail-first qwen2-a-shakespeare
small
fallocate -l "$(stat -c %s "$src/model.safetensors")" "$dst/model.safetensors"
for p in 80:100 0:40; do
	python3 "$tool" piece "$src/model.safetensors" "$dst/model.safetensors" ${p/:/ }
	pause tail-first
done
python3 "$tool" piece "$src/model.safetensors" "$dst/model.safetensors" 40 80
whole tail-first
scored tail-first

# Through a mapping: no event tells of its writes, but it has the file open.
source_of mapped neox-a-shakespeare
small
python3 "$tool" mapped "$src/model.safetensors" "$dst/model.safetensors" "$work/go" &
until_true 60 "the writer is seen" code_is mapped writing
never_early
: >"$work/go"
wait $! || fail "the mapping"
whole mapped
scored mapped

source_of tokenizer-last qwen2-a
cp "$src"/config.json "$src"/model.safetensors "$dst/"
pause tokenizer-last
until_true 60 "the reason" code_is tokenizer-last no_tokenizer
cp "$src"/tokenizer* "$src"/special* "$dst/"
whole tokenizer-last
scored tokenizer-last

source_of run/checkpoint-5 neox-a
cp "$src"/config.json "$src"/model.safetensors "$dst/"
pause run/checkpoint-5
cp "$src"/tokenizer* "$models/run/"
whole run/checkpoint-5
scored run/checkpoint-5

source_of config-last qwen2-a
for f in "$src"/*; do case $f in */config.json) ;; *) cp "$f" "$dst/" ;; esac; done
pause config-last
cp "$src/config.json" "$dst/"
whole config-last
scored config-last

# Temporary names: directory renamed, file renamed, as rsync and trainers do.
source_of renamed qwen2-a-mix-shakespeare-050
rmdir "$dst"
cp -r "$src" "$models/tmp-checkpoint-renamed"
mv "$models/tmp-checkpoint-renamed" "$dst"
whole renamed
scored renamed
source_of file-renamed qwen2-a
small
cp "$src/model.safetensors" "$dst/.model.safetensors.Xy12"
pause file-renamed
mv "$dst/.model.safetensors.Xy12" "$dst/model.safetensors"
whole file-renamed
scored file-renamed

# Other content while it is scored: thrown away; the vector is that of what lies there in the end.
source_of rewritten neox-a
: >"$work/hold"
cp "$src"/* "$dst/"
whole rewritten
until_true 60 "it is being scored" detail_is rewritten running
python3 "$tool" weights "$src" 77
cp "$src/model.safetensors" "$dst/model.safetensors"
rm "$work/hold"
twice() { [ "$(grep -cx 'whole rewritten' "$work/runs")" -ge 2 ]; }
until_true 60 "scored again" twice
until_true 60 "scored" is rewritten scored
all="$all rewritten"

# shellcheck disable=SC2086
vectors_right $all
n=$(echo "$all" | wc -w)
q "d['models']==$n" status || fail "not $n models: $(mm models)"
q "not d['alerts'] or set(a['kind'] for a in d['alerts'])=={'isolated'}" alerts || fail "alerts: $(mm alerts)"

# Without the proof of readiness this test must fail.
: >"$work/believe"
source_of too-early qwen2-a
small
python3 "$tool" piece "$src/model.safetensors" "$dst/model.safetensors" 0 50
early() { grep -qx "early too-early" "$work/runs"; }
until_true 60 "the test sees what is scored too early" early
e2e_stop
