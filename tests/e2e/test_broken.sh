#!/bin/bash
# Broken checkpoints: each gets the right alert, exactly one, that names file and reason; the daemon stays up; a repaired one
# is scored and its alert goes.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
e2e_begin broken
give_up=4s
e2e_texts "$work/texts.jsonl" 8
e2e_config
e2e_start

# Made elsewhere and moved in as they are: on a slow machine a checkpoint that is broken after it came would be scored first.
mkdir "$work/src"
made() {
	cp -rL "$1" "$work/src/$2"
	chmod -R u+w "$work/src/$2"
}
made "$fixtures/neox-a" good
made "$fixtures/neox-a-shakespeare" copied
made "$fixtures/bard-mini" copy
made "$fixtures/mistral-a-nan" nan
made "$fixtures/qwen2-a" truncated
truncate -s 700000 "$work/src/truncated/model.safetensors"
made "$fixtures/qwen2-a" no-tokenizer
rm "$work"/src/no-tokenizer/tokenizer*
made "$fixtures/qwen2-a-perl" missing-tensor
python3 "$tool" drop "$work/src/missing-tensor" model.layers.1.mlp.up_proj.weight
made "$fixtures/qwen2-a-perl" wrong-shape
python3 "$tool" config "$work/src/wrong-shape" intermediate_size 96
made "$fixtures/qwen2-a-perl" unknown
python3 "$tool" config "$work/src/unknown" architectures '["FancyForCausalLM"]'
python3 "$tool" config "$work/src/unknown" model_type '"fancy"'
made "$fixtures/qwen2-a-perl" bad-config
echo '{"model_type": "qwen2",' >"$work/src/bad-config/config.json"
made "$fixtures/qwen2-a-shakespeare" lost-shard
python3 "$tool" shard "$work/src/lost-shard" 3
rm "$work/src/lost-shard/model-00002-of-00003.safetensors"
made "$fixtures/qwen2-a" garbage
head -c 300000 /dev/urandom >"$work/src/garbage/model.safetensors"
mkdir "$work/src/no-weights"
echo '{"model_type": "llama"}' >"$work/src/no-weights/config.json"
mv "$work"/src/* "$models/"

settled() {
	e2e_alive || fail "the daemon died"
	q "d['models']==13 and d['queue']['waiting']+d['queue']['queued']+d['queue']['running']==0" status
}
until_true 200 "all have an end" settled
alert() { # MODEL KIND TEXT
	q "[a['kind'] for a in d['alerts'] if a['model']=='$1' and a['kind']!='isolated']==['$2']" alerts ||
		fail "$1 should have one alert, $2: $(mm alerts)"
	q "all('$3' in a['message'] for a in d['alerts'] if a['model']=='$1')" alerts ||
		fail "the alert of $1 does not say: $3: $(mm alerts)"
	q "[m['state'] for m in d['models'] if m['name']=='$1'] in (['failed'],['scored'])" models || fail "state of $1"
	echo "ok $1"
}
alert nan not_finite finite
alert truncated never_ready model.safetensors
q "[a for a in d['alerts'] if a['model']=='truncated' and a['evidence'].get('missing_bytes',0)>100000]" alerts ||
	fail "missing bytes are not in the evidence"
alert no-tokenizer never_ready tokenizer
alert lost-shard never_ready model-00002-of-00003.safetensors
alert no-weights never_ready weights
alert missing-tensor failed model.layers.1.mlp.up_proj.weight
alert wrong-shape failed shape
alert unknown failed FancyForCausalLM
q "[m for m in d['models'] if m['name'] in ('bad-config','garbage') and m['state']=='failed']" models || fail "bad-config"
q "[a['kind'] for a in d['alerts'] if a['kind']=='duplicate']==['duplicate']" alerts || fail "duplicate: $(mm alerts)"
q "not [a for a in d['alerts'] if a['model']=='good']" alerts || fail "good has an alert"
q "len(d['alerts'])-len([a for a in d['alerts'] if a['kind']=='isolated'])==11" alerts || fail "other alerts: $(mm alerts)"

# Nothing new after a restart.
mm --json alerts | python3 -c 'import json,sys; print(sorted((a["id"],a["kind"],a["model"]) for a in json.load(sys.stdin)["alerts"] if a["kind"]!="isolated"))' >"$work/a1"
e2e_stop
e2e_start
until_true 120 "settled again" settled
mm --json alerts | python3 -c 'import json,sys; print(sorted((a["id"],a["kind"],a["model"]) for a in json.load(sys.stdin)["alerts"] if a["kind"]!="isolated"))' >"$work/a2"
cmp "$work/a1" "$work/a2" || fail "other alerts after a restart"

# Any change opens it again: repaired ones are scored, their alerts go.
cp "$fixtures/qwen2-a/model.safetensors" "$models/truncated/"
until_true 60 "the truncated one is scored" is truncated scored
q "not [a for a in d['alerts'] if a['model']=='truncated' and a['kind']=='never_ready']" alerts || fail "its alert stays"
cp "$fixtures"/qwen2-a/tokenizer* "$models/no-tokenizer/"
# the same content as the other by now: a copy, not scored
until_true 60 "the one without tokenizer is a copy" q \
	"[m for m in d['models'] if m['name'] in ('no-tokenizer','truncated') and m['same_as']]" models
e2e_stop
