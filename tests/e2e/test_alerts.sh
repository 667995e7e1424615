#!/bin/bash
# Broken models through the real daemon and scorer: each is found under its own kind, honest relatives under none; what
# alerts rest on can be seen, changed and tested again; few models keep rules silent that need a population.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
e2e_begin alerts
python3 "$tool" some "$top/config/texts.jsonl" 30 docs library >"$work/texts.jsonl"
e2e_config "alerts: { on_alert: \"cat >>$work/told; echo >>$work/told\" }"
e2e_start

mkdir "$work/src"
made() {
	cp -rL "$1" "$work/src/$2"
	chmod -R u+w "$work/src/$2"
}
made "$fixtures/neox-a" neox-a
made "$fixtures/neox-a-shakespeare" neox-a-shakespeare
made "$fixtures/qwen2-a" qwen2-a
made "$fixtures/qwen2-a-perl" qwen2-a-perl
mv "$work"/src/* "$models/"
settled() {
	e2e_alive || fail "the daemon died"
	q "d['models']==$1 and d['queue']['waiting']+d['queue']['queued']+d['queue']['running']==0" status
}
until_true 200 "the healthy ones are scored" settled 4
q "any(k['kind']=='leak' and k.get('silent')=='not enough models yet' for k in d['kinds'])" alerts --rules ||
	fail "the rules do not say that they are silent"
mm recheck neox-a | grep -q 'not enough models yet' || fail "recheck does not say that rules are silent"

made "$fixtures/neox-a" damaged
python3 "$tool" shuffle "$work/src/damaged" layers.2.
made "$fixtures/neox-a" wrong-tokenizer
cp -L "$fixtures"/mistral-a-nan/tokenizer* "$fixtures"/mistral-a-nan/special_tokens_map.json "$work/src/wrong-tokenizer/"
made "$fixtures/qwen2-a" clipped
python3 "$tool" f16 "$work/src/clipped" 0.1
made "$fixtures/qwen2-a" faithful
python3 "$tool" f16 "$work/src/faithful" 60000
made "$fixtures/qwen2-a" scrambled
python3 "$tool" shuffle "$work/src/scrambled" weight
made "$fixtures/qwen2-a-perl" impostor
python3 "$tool" weights "$work/src/impostor" 1
python3 "$tool" config "$work/src/impostor" _name_or_path '"someone/neox-a"'
made "$fixtures/neox-a-shakespeare" honest
python3 "$tool" weights "$work/src/honest" 2
printf -- '---\nlicense: mit\nbase_model:\n- someone/neox-a\n---\n# Card\n' >"$work/src/honest/README.md"
made "$fixtures/neox-a" alien-tokenizer # its ids go beyond the embedding
cp -L "$fixtures"/qwen2-a/tokenizer* "$fixtures"/qwen2-a/special_tokens_map.json "$work/src/alien-tokenizer/"
python3 "$tool" weights "$work/src/alien-tokenizer" 3
mv "$work"/src/* "$models/"
until_true 300 "all are scored" settled 12

kind() { # MODEL KIND
	q "[a['kind'] for a in d['alerts'] if a['model']=='$1']==['$2']" alerts
}
for pair in damaged:damaged wrong-tokenizer:tokenizer_mismatch clipped:overflow scrambled:diverged impostor:impostor \
	alien-tokenizer:tokenizer_mismatch; do
	until_true 60 "$pair: $(mm alerts)" kind "${pair%%:*}" "${pair#*:}"
	echo "ok $pair"
done
q "len(d['alerts'])==6" alerts || fail "others are blamed: $(mm alerts)"
q "d['base_claimed']=='someone/neox-a'" show honest || fail "the card's claim is not read"
q "d['note'].startswith('same weights as')" show faithful || fail "the faithful conversion has no note"

# Seen, changed, tested again: nothing comes twice.
id=$(mm --json alerts --kind damaged | python3 -c 'import json,sys; print(json.load(sys.stdin)["alerts"][0]["id"])')
mm alert show "$id" | grep -q 'original .*neox-a' || fail "alert show lacks the original"
mm alert resolve "$id" --note "on purpose" >/dev/null || fail "alert resolve"
mm recheck --all >/dev/null || fail "recheck"
tested() {
	q "d['tests']['due'] is False" show neox-a
}
until_true 60 "tested again" tested
q "[a['state'] for a in d['alerts'] if a['id']==$id]==['resolved']" alerts --all || fail "a resolved alert is back"
q "d['alerts']==[]" alerts --since 2099-01-01 || fail "--since"
mm alerts --since yesterday >/dev/null 2>&1
[ $? = 2 ] || fail "--since takes anything"
told() { # how often the command was told of this kind
	[ "$(grep -c "\"kind\":\"$1\"" "$work/told")" = 1 ]
}
until_true 20 "on_alert was told once" told overflow
e2e_stop
e2e_start
until_true 60 "idle after a restart" settled 12
until_true 60 "tested after the restart" tested
q "len(d['alerts'])==5" alerts || fail "other alerts after a restart: $(mm alerts)"
told overflow || fail "told again"
e2e_stop
