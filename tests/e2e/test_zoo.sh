#!/bin/bash
# All models of the zoo through the daemon: vectors, nearest neighbours, copies and alerts against the zoo's own truth.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
zoo=$shared/zoo/dev
[ -d "$zoo/models" ] || { echo "skip: ../shared/zoo not here"; exit 77; }
e2e_begin zoo
texts=$zoo/texts.jsonl
give_up=5s probes=256
e2e_config
e2e_start
(cd "$zoo/models" && cp -rL . "$models")
chmod -R u+w "$models"
n_all=$(wc -l <"$zoo/models.txt")

done_all() {
	e2e_alive || fail "the daemon died"
	q "d['models']==38 and d['queue']['waiting']+d['queue']['queued']+d['queue']['running']==0" status
}
until_true "${LIMIT:-850}" "all models are scored" done_all

mm export --vectors "$work/v.npy" --names "$work/v.txt" >/dev/null 2>&1 || fail "export"
python3 "$tool" vectors "$work/v.npy" "$work/v.txt" "$zoo/loglik.npy" "$zoo/models.txt" 0.01 || fail "vectors"
python3 "$tool" vectors "$work/v.npy" "$work/v.txt" "$zoo/loglik_anomaly.npy" "$zoo/models_anomaly.txt" 0.01 ||
	fail "vectors of the anomalous models"
[ "$(sort "$work/v.txt" | uniq -d | wc -l)" = 0 ] || fail "a model is there twice"
q "len([m for m in d['models'] if m['state']=='scored' and m['on_map']])==$n_all+1" models || fail "not all are on the map"

echo '{' >"$work/near.json"
sep=
while read -r name; do
	printf '%s"%s": %s\n' "$sep" "$name" "$(mm --json near "$name" -k 40 |
		python3 -c 'import json,sys; print(json.dumps([n["name"] for n in json.load(sys.stdin)["neighbours"]]))')"
	sep=,
done <"$zoo/models.txt" >>"$work/near.json"
echo '}' >>"$work/near.json"
python3 "$tool" near "$zoo/loglik.npy" "$zoo/models.txt" "$work/near.json" || fail "nearest neighbours"

# Alerts: one each, of the right kind; the reason names what is wrong.
alert() { # MODEL KIND TEXT
	q "[a['kind'] for a in d['alerts'] if a['model']=='$1' and a['kind']!='isolated']==['$2']" alerts ||
		fail "alerts of $1: $(mm alerts)"
	q "any('$3' in a['message'] for a in d['alerts'] if a['model']=='$1')" alerts || fail "the alert of $1 lacks: $3"
}
alert llama-a-truncated never_ready model.safetensors
alert qwen2-a-missing failed model.
alert mistral-a-nan not_finite finite
# Statistical alerts may come on models that are leaked or damaged, and on no other.
q "sorted(a['kind'] for a in d['alerts'] if a['kind'] in ('duplicate','failed','never_ready','not_finite'))==['duplicate','failed','never_ready','not_finite']" \
	alerts || fail "other alerts: $(mm alerts)"
odd=$(python3 -c 'import json,sys; print([k for k,m in json.load(open(sys.argv[1])).items() if m["kind"] in ("leaked","anomaly")])' "$zoo/truth.json")
q "{a['model'] for a in d['alerts'] if a['kind'] not in ('duplicate','failed','never_ready','not_finite')} <= set($odd)" alerts ||
	fail "a healthy model is blamed: $(mm alerts)"
# With all relatives there: each leaked model and its texts, each damaged one; healthy ones never were in the list.
tested() {
	q "d['tests']['due'] is False" show llama-a
}
until_true 120 "the tests are done" tested
mm --json alerts --all | python3 "$tool" leaks "$zoo/truth.json" || fail "leaks: $(mm alerts --all)"
q "[a['kind'] for a in d['alerts'] if a['model']=='neox-a-layer1-noise']==['damaged']" alerts || fail "damage: $(mm alerts)"
# Every healthy model's tests are kept, from every side, whatever they say; an alert's evidence has its picture.
sides="{'contrast_relatives','contrast_strangers','memorised','memorised_pp','memorised_compressed'}"
for m in llama-a qwen2-a-run/checkpoint-100 gpt2-a-docs qwen2-a-plus; do
	q "{t['name'] for t in d['tests']['tests']}==$sides and all(t['null'] and 0<=t['p']<=1 and t['statistic']>=0 and 'effect' in t for t in d['tests']['tests'])" \
		show "$m" || fail "tests of $m: $(mm --json show "$m")"
done
q "all(set(x)=={'index','posterior'} for a in d['alerts'] for x in a['evidence']['suspect_texts']) and all(sum(x['suspect'] for x in a['evidence']['domains'])>0 for a in d['alerts'])" \
	alerts --kind leak || fail "evidence: $(mm --json alerts --kind leak)"
id=$(mm --json alerts --kind leak | python3 -c 'import json,sys; print(json.load(sys.stdin)["alerts"][0]["id"])')
mm alert show "$id" | grep -q 'memorised_pp' || fail "alert show"
mm alert show "$id" --svg "$work/leak.svg" 2>/dev/null || fail "alert show --svg"
python3 -c 'import sys, xml.etree.ElementTree as e; assert e.parse(sys.argv[1]).getroot().tag.endswith("svg")' "$work/leak.svg" ||
	fail "the picture is no SVG"
q "[a for a in d['alerts'] if a['kind']=='duplicate' and 'bard-mini' in a['message'] and 'neox-a-shakespeare' in a['message']]" \
	alerts || fail "the duplicate"
# Scored once: one of the two holds the vector.
q "[m['same_as'] for m in d['models'] if m['name'] in ('bard-mini','neox-a-shakespeare')].count(None)==1" models ||
	fail "the copy was scored too"
q "[m for m in d['models'] if m['name']=='llama-a-run/checkpoint-400' and m['run']=='llama-a-run' and m['step']==400]" models ||
	fail "run and step"
e2e_stop
# Another life finds the same and scores nothing.
e2e_start
until_true 60 "idle after a restart" done_all
grep -c 'scoring, process' "$work/log" >"$work/count"
[ "$(cat "$work/count")" -le 38 ] || fail "$(cat "$work/count") runs for 38 models"
mm export --vectors "$work/v2.npy" --names "$work/v2.txt" >/dev/null 2>&1 || fail "export"
cmp "$work/v.npy" "$work/v2.npy" || fail "other vectors after a restart"
# Metrics of next-byte distributions: axioms on all triples, same weights, bases; and how far they agree with kl.
for metric in fisher hellinger jeffreys js wasserstein; do
	while read -r name; do
		printf '%s\t%s\n' "$metric" "$(mm --json near "$name" -k 40 --metric "$metric")"
	done <"$zoo/models.txt"
done >"$work/metrics" || fail "near --metric"
python3 "$tool" metrics "$zoo/truth.json" <"$work/metrics" || fail "metrics"
# They see other things of a model, but not other models: 0.7 measured, half of that is a mistake somewhere.
q "[r['spearman']>0.5 for r in d['correlations'] if r['a']=='kl']==[True]*5 and d['models']==$((n_all + 1))" metrics compare ||
	fail "metrics compare: $(mm metrics compare)"
for share in 025 050 075; do
	q "d['on_line'] and abs(d['along']-float('$share')/100)<0.05 and 0.02<d['off_line']<0.09" \
		merge-check llama-a llama-a-code "llama-a-mix-code-$share" || fail "merge-check: $(mm merge-check llama-a llama-a-code "llama-a-mix-code-$share")"
done
q "d['on_line'] is False" merge-check llama-a llama-a-code llama-a-docs || fail "merge-check: a fine-tune is no merge"
q "[c['along'] for c in d['checkpoints']]==sorted(c['along'] for c in d['checkpoints'])" trajectory llama-a-run --metric fisher ||
	fail "trajectory: $(mm trajectory llama-a-run --metric fisher)"
# A transformer, a Mamba and an RWKV with tokenizers of their own on one map.
if [ -d "$shared/conformance/dev/rwkv" ]; then
	cp -rL "$shared/conformance/dev/mamba" "$models/a-mamba" && cp -rL "$shared/conformance/dev/rwkv" "$models/an-rwkv"
	chmod -R u+w "$models"
	until_true 120 "mamba and rwkv are on the map" q "len([m for m in d['models'] if m['on_map']])==$n_all+3" models
	q "{'llama-a','a-mamba','an-rwkv'} <= {p['name'] for p in d['points']} and 'without_features' not in d" map --metric fisher ||
		fail "they are not on one map"
	q "d['low']<=d['distance']<=d['high'] and d['distance']>0" dist a-mamba an-rwkv --metric fisher || fail "mamba and rwkv"
fi
e2e_stop
