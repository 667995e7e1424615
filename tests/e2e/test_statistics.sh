#!/bin/bash
# What the map is for, through the real programs: benchmark scores in and predictions out, one domain, layouts, clusters,
# trees, a smaller text set and a model scored on it only; and what is said to bad input. No answer holds a NaN.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
e2e_begin statistics
"$bin/modelmap" texts build LICENSE HACKING.md lib/base --seed 3 -n 40 -o "$work/texts.jsonl" 2>"$work/err" || fail "texts build"
e2e_config "map: { layout: mds }"
e2e_start
for m in neox-a neox-a-shakespeare qwen2-a qwen2-a-shakespeare qwen2-a-perl qwen2-a-mix-shakespeare-050; do copy "$fixtures/$m" "$m"; done
until_true 300 "six models are on the map" q "d['on_map']==6" status
until_true 60 "nothing is left to be done" idle
mm refit >/dev/null || fail "refit"

says() { # STATUS WORDS CMD...: fails with these words on stderr
	local want=$1 words=$2
	shift 2
	mm "$@" >"$work/out" 2>"$work/err"
	local rc=$?
	[ $rc = "$want" ] || fail "modelmap $*: exit $rc, not $want: $(cat "$work/err")"
	grep -qF -- "$words" "$work/err" || fail "modelmap $*: says \"$(cat "$work/err")\", not \"$words\""
}
clean() { # CMD...: an answer without NaN or infinity
	mm --json "$@" >"$work/out" 2>"$work/err" || fail "modelmap $*: $(cat "$work/err")"
	grep -qiE '(: |:|\[)-?(nan|inf)' "$work/out" && fail "modelmap $*: NaN in the answer"
	python3 -c "import json,sys; json.load(open(sys.argv[1]), parse_constant=lambda c: sys.exit('constant '+c))" "$work/out" || fail "modelmap $*: no JSON"
}

# ---- scores ----
says 1 "modelmap scores import FILE.csv" predict
says 1 "no benchmark scores are known yet" scores drop x
printf 'model,arc,flat\nneox-a,41,25\nneox-a-shakespeare,40,25\nqwen2-a,50%%,25\n"qwen2-a-shakespeare",48,25\nqwen2-a-perl,NA,25\nstranger,1,2\n' >"$work/s.csv"
mm scores import "$work/s.csv" >"$work/out" 2>"$work/err" || fail "scores import: $(cat "$work/err")"
grep -q '9 scores of 5 models on 2 benchmarks: arc, flat' "$work/out" || fail "scores import says $(cat "$work/out")"
grep -q 'stranger' "$work/err" || fail "an unknown model is not told"
grep -q 'nothing can be learned from that: flat' "$work/err" || fail "a constant column is not told"
printf 'model,arc\nneox-a,much\n' | mm scores import - 2>"$work/err" && fail "a word is taken for a score"
grep -q 'line 2, model neox-a, column arc: "much" is no number' "$work/err" || fail "the bad cell is not named"
e2e_stop
e2e_start
q "[(b['bench'],b['models']) for b in d['benchmarks']]==[('arc',4),('flat',5)]" scores || fail "scores are not there after a restart"
clean predict
q "d['predictions'][0]['bench']=='arc' and d['predictions'][0]['interval'][0]<=d['predictions'][0]['prediction']<=d['predictions'][0]['interval'][1]" predict qwen2-a-mix || fail "prediction of a model without a score"
clean predict --bench arc
mm predict >"$work/out" || fail "predict"
grep -q '^arc ' "$work/out" || fail "predict prints no figures"
mm scores drop flat >/dev/null || fail "scores drop"
says 1 "there is no benchmark flat" predict --bench flat

# ---- domains, conditions ----
domain=$(mm --json dist neox-a qwen2-a | python3 -c "import json,sys; print(max(json.load(sys.stdin)['domains'], key=lambda d: d['texts'])['domain'])")
for c in "near neox-a" "dist neox-a qwen2-a" "map" "map --method tsne --dim 3" "map --method pca" "cluster" "tree" "predict"; do
	# shellcheck disable=SC2086 # words
	clean $c --domain "$domain"
	q "d['domain']=='$domain'" $c --domain "$domain" || fail "$c does not say of which domain"
done
says 1 "there is no domain nowhere" near neox-a --domain nowhere
says 1 "no model is of family nobody" near neox-a --family nobody
q "{n['family'] for n in d['neighbours']}=={'qwen2'}" near neox-a --family qwen2 || fail "near --family"
q "d['neighbours']==[] and d['of']==5" near neox-a --max-params 10 || fail "near --max-params"

# ---- layouts, pictures ----
q "d['method']=='mds' and d['dims']==2 and d['quality']['trustworthiness']>=0" map || fail "map.layout is not what is shown"
q "d['dims']==3 and any(p['z'] for p in d['points'])" map --method tsne --dim 3 || fail "t-SNE in space"
mm epochs | grep -q '^tsne3 ' || fail "epochs prints no quality"
mm cluster -n 2 --svg "$work/d.svg" >"$work/out" 2>/dev/null || fail "cluster --svg"
python3 -c "import sys, xml.etree.ElementTree as e; assert e.parse(sys.argv[1]).getroot().tag.endswith('svg')" "$work/d.svg" || fail "the dendrogram is no SVG"
mm cluster --newick | grep -q ';$' || fail "cluster --newick"

# ---- a smaller text set ----
says 1 "no smaller set" texts select -n 400
mm texts select -n 20 --by length -o "$work/sel.jsonl" 2>"$work/err" || fail "texts select: $(cat "$work/err")"
grep -q 'expected to be off by' "$work/err" || fail "texts select does not say how good it is"
"$bin/modelmap-score" --texts "$work/sel.jsonl" --compute f32 --format npy -o "$work/v.npy" "$fixtures/neox-a" 2>"$work/err" || fail "scoring on the selection: $(cat "$work/err")"
clean place "$work/v.npy" --texts "$work/sel.jsonl"
q "d['partial'] and d['n']==20 and d['neighbours'][0]['name']=='neox-a' and d['neighbours'][0]['kl_bits_per_byte']<1e-6" place "$work/v.npy" --texts "$work/sel.jsonl" || fail "place"
says 1 "not a file that texts select made" place "$work/v.npy" --texts "$work/texts.jsonl"
e2e_stop
echo "statistics: ok"
