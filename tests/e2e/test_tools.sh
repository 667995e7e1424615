#!/bin/bash
# doctor, exports, imports, top and completion against the real daemon, with names that hurt whoever forgets to escape.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
e2e_begin tools
evil=$'evil\e[31m<b>&"\t\n(x);\'na,me'

# ---- doctor without a daemon: every kind of directory has its line and its cure ----
copy "$fixtures/qwen2-a" qwen2-a
copy "$fixtures/neox-a" run/checkpoint-1
mv "$models/run/checkpoint-1/model.safetensors" "$models/run/checkpoint-1/model.safetensors.part"
copy "$fixtures/neox-a" "$evil"
copy "$fixtures/neox-a" cut
truncate -s 3000 "$models/cut/model.safetensors"
copy "$fixtures/neox-a" .hidden
copy "$fixtures/neox-a" neox-a.tmp
mkdir "$models/foreign" "$models/empty" "$models/token"
echo x >"$models/foreign/weights.pt"
cp "$models/qwen2-a/tokenizer.json" "$models/token/"
ln -s "$fixtures/qwen2-a" "$models/link"
e2e_config "query: ipc://$work/query"
doctor() { # EXPR: over the answer and `at`, the line of a directory below the watched one
	mm --json doctor -c "$work/c.yaml" --all >"$work/doctor.json" 2>"$work/err"
	[ $? = 1 ] || fail "doctor finds nothing to do"
	python3 - "$work/doctor.json" "$models" "$1" <<'PY' || { cat "$work/doctor.json"; fail "doctor: $1"; }
import json, sys
d = json.load(open(sys.argv[1]))
lines = d["lines"]
assert d["ok"] + d["warn"] + d["problem"] == len(lines)
assert all(l["level"] in ("ok", "warn", "problem") and l["text"] for l in lines)
assert all(l["do"] for l in lines if l["level"] != "ok"), [l for l in lines if l["level"] != "ok" and not l["do"]]
at = lambda name: next((l["level"] + ": " + l["text"] + " | " + l["do"] for l in lines if l["check"] == "directories" and l["subject"] == sys.argv[2] + "/" + name), "")
has = lambda check, part: any(l["check"] == check and part in l["subject"] + l["text"] for l in lines)
sys.exit(0 if eval(sys.argv[3]) else 1)
PY
}
shown='evil?[31m<b>&"??(x);'"\\'na,me"
doctor "at('qwen2-a').startswith('ok: whole') and at('$shown').startswith('ok: whole')"
doctor "'finish the copy' in at('cut') and 'no weights' in at('run/checkpoint-1')"
doctor "'hidden' in at('.hidden') and 'not finished' in at('neox-a.tmp') and 'follow_symlinks' in at('link')"
doctor "'safetensors' in at('foreign') and 'tokenizer' in at('token') and 'empty' in at('empty')"
doctor "has('daemon','no daemon') and has('limits','inotify') and has('limits','open files') and has('limits','memory') and has('limits','state_dir')"
doctor "has('processor','AVX2') and has('processor','score.compute f32') and has('processor','OPENBLAS_CORETYPE') and has('texts','12 texts') and has('clock','20') and has('unit','modelmapd')"
mm --color never doctor -c "$work/c.yaml" >"$work/out" 2>/dev/null
! grep -q $'\e' "$work/out" || fail "doctor lets an escape through"
grep -q 'not looked at' "$work/out" && fail "doctor left something out"
mm doctor -c "$work/none.yaml" >"$work/out" 2>/dev/null
[ $? = 1 ] && grep -q 'problem .*none.yaml' "$work/out" || fail "doctor without settings"

# ---- with the daemon: what it says of each ----
for n in cut .hidden neox-a.tmp foreign token link; do rm -rf "${models:?}/$n"; done
copy "$fixtures/qwen2-a-shakespeare" qwen2-a-shakespeare
e2e_start
mm watch --until-idle --models 3 --timeout 300s >/dev/null || fail "watch --until-idle"
until_true 60 "the half checkpoint waits" code_is run/checkpoint-1 no_weights
doctor "'on the map as qwen2-a,' in at('qwen2-a') and 'on the map as evil' in at('$shown') and at('run/checkpoint-1').startswith('warn: waits')"
doctor "has('sockets','mode 0660') and has('daemon','modelmapd') and has('limits','of the daemon' if 0 else 'the daemon')"
rm -rf "$models/run"
# What this machine lacks is not ours to ask for.
well() { q "all(l['level']=='ok' for l in d['lines'] if l['check'] not in ('limits','processor','unit'))" doctor; }
until_true 60 "all is well" well
mm doctor >"$work/out" 2>&1
status=$?
q "(d['warn']+d['problem']>0)==$status" doctor || fail "the exit status of doctor: $status, $(cat "$work/out")"

# ---- exports: every format is read back by a parser of its own, with the name that hurts ----
name=$(mm --json models | python3 -c 'import json,sys; print(next(m["name"] for m in json.load(sys.stdin)["models"] if m["name"].startswith("evil")))')
mm export --csv "$work/m.csv" --tensorboard "$work/tb" --vectors "$work/v.npy" --names "$work/n.txt" 2>/dev/null || fail "export"
mm tree --graphml "$work/t.graphml" --newick -o "$work/t.nwk" --svg "$work/t.svg" >/dev/null 2>&1 || fail "tree to files"
mm near qwen2-a --svg "$work/near.svg" --title 'a<b>&"' >/dev/null 2>&1 || fail "near --svg"
mm map --svg "$work/map.svg" >/dev/null 2>&1 || fail "map --svg"
mm cluster --svg "$work/c.svg" >/dev/null 2>&1 || fail "cluster --svg"
mm export --vectors - 2>/dev/null | cmp - "$work/v.npy" || fail "export to the standard output"
[ "$(mm tree --newick)" = "$(cat "$work/t.nwk")" ] || fail "tree --newick on the standard output"
python3 - "$work" "$name" <<'EOF' || fail "exports"
import ast, array, csv, re, sys
import xml.etree.ElementTree as et
work, name = sys.argv[1:]
rows = list(csv.DictReader(open(work + "/m.csv", newline="")))
assert len(rows) == 4 and name in {r["name"] for r in rows}, rows
assert all(float(r["bits_per_byte"]) > 0 and r["x"] and r["open_alerts"] == "0" for r in rows if r["state"] == "scored")
raw = open(work + "/v.npy", "rb").read()
k, n = ast.literal_eval(raw[10:10 + int.from_bytes(raw[8:10], "little")].decode())["shape"]
v = array.array("f", raw[len(raw) - 4 * k * n:])
names = open(work + "/n.txt").read().split("\n")[:-1]
got = [[float(x) for x in l.split("\t")] for l in open(work + "/tb/vectors.tsv")]
assert len(got) == k and all(len(r) == n for r in got)
assert all(abs(sum(r)) < 0.01 for r in got) and all(abs(sum(c)) < 0.01 for c in zip(*got))
# Above the threshold, differences of two rows are those of the raw vectors, up to one number for the pair.
diff = sorted(v[j] - v[n + j] - got[0][j] + got[1][j] for j in range(n))
assert diff[n // 4] - diff[3 * n // 4] < 0.01 and abs(diff[n // 4] - diff[3 * n // 4]) < 0.01, diff
meta = [l.rstrip("\n").split("\t") for l in open(work + "/tb/metadata.tsv", newline="\n")]
assert len(meta) == 4 and all(len(r) == len(meta[0]) for r in meta) and meta[0][0] == "name"
unescape = lambda s: re.sub(r"\\(.)", lambda m: {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}[m[1]], s)
assert [unescape(r[0]) for r in meta[1:]] == names, (meta, names)
assert 'tensor_path: "vectors.tsv"' in open(work + "/tb/projector_config.pbtxt").read()
g = et.parse(work + "/t.graphml").getroot()
ns = "{http://graphml.graphdrawing.org/xmlns}"
keys = {k.get("id") for k in g.findall(ns + "key")}
nodes = {n.get("id"): {d.get("key"): d.text for d in n} for n in g.iter(ns + "node")}
assert {n["name"] for n in nodes.values()} == set(names), nodes
for e in g.iter(ns + "edge"):
    assert e.get("source") in nodes and e.get("target") in nodes and all(d.get("key") in keys for d in e)
text = open(work + "/t.nwk").read()
labels = [m.replace("''", "'") for m in re.findall(r"'((?:[^']|'')*)'", text)]
assert sorted(labels) == sorted(names), (labels, names)
bare = re.sub(r"'(?:[^']|'')*'", "", text)
assert bare.count("(") == bare.count(")") and re.fullmatch(r"\([(),:0-9.e+-]*\);\n", bare), bare
for f in ("t", "near", "map", "c"):
    root = et.parse(work + "/" + f + ".svg").getroot()
    titles = [x.text for x in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any(name in (t or "") for t in titles), (f, titles)
    assert not [x for x in root.iter() if x.tag.endswith("}b") or x.tag.endswith("script")], f
assert et.parse(work + "/near.svg").getroot().find("{http://www.w3.org/2000/svg}title").text == 'a<b>&"'
EOF
if command -v rsvg-convert >/dev/null; then
	for c in map tree "near qwen2-a" cluster; do
		# shellcheck disable=SC2086 # words of a command
		mm $c --png "$work/p.png" >/dev/null 2>"$work/err" || fail "$c --png: $(cat "$work/err")"
		python3 -c 'import struct,sys; d=open(sys.argv[1],"rb").read(); w,h=struct.unpack(">II",d[16:24]); assert d[1:4]==b"PNG" and w>600 and h>200' "$work/p.png" || fail "$c: no PNG"
	done
else
	echo "note: no rsvg-convert here, PNG is not tested"
fi
PATH=/nonexistent mm map --png "$work/none.png" >/dev/null 2>"$work/err"
[ $? = 1 ] && grep -q librsvg2-bin "$work/err" && [ ! -e "$work/none.png" ] || fail "without rsvg-convert"

# ---- imports: a matrix of others begins a map; a daemon with the same texts, killed in the middle ----
e2e_stop
mkdir "$work/none"
cat >"$work/make.py" <<'EOF'
import json, random, struct, sys
out, k, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def npy(name, shape, values, descr="<f4", order="False", cut=0, header=None):
    h = header or "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, order, shape)
    h += " " * (-(len(h) + 11) % 64) + "\n"
    data = struct.pack("<%d%s" % (len(values), "d" if "f8" in descr else "f"), *values)
    open(out + "/" + name + ".npy", "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(h)) + h.encode() + data[: len(data) - cut])
r = random.Random(5)
rows = [-300 - 30 * (i % 4) * ((j * 7 + i % 4) % 3) - 5 * r.random() for i in range(k) for j in range(n)]
names = ["org%d/model-%d" % (i % 4, i) for i in range(k)]
names[1] = "evil\x1b[31m\t<b>&\"'\u202e"
npy("all", (k, n), rows)
npy("double", (k, n), rows, "<f8")
npy("other", (k, n), [v - 1 for v in rows])
for bad, kw in {"short": dict(cut=1), "fortran": dict(order="True"), "half": dict(descr="<f2")}.items():
    npy("bad-" + bad, (k, n), rows, **kw)
npy("bad-flat", (k * n,), rows)
npy("bad-cube", (k, n, 1), rows)
npy("bad-columns", (k * 2, n // 2), rows)
npy("bad-rows", (k - 1, n), rows)
npy("bad-empty", (0, n), [])
npy("bad-nan", (k, n), rows[:-1] + [float("nan")])
npy("bad-inf", (k, n), rows[:-1] + [float("-inf")])
npy("bad-above", (k, n), rows[:-1] + [1.0])
npy("bad-overflow", (k, n), rows, header="{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, ), }")
npy("bad-minus", (k, n), rows, header="{'descr': '<f4', 'fortran_order': False, 'shape': (-1, %d), }" % n)
open(out + "/bad-magic.npy", "wb").write(b"PK\x03\x04" + b"\0" * 5000)
open(out + "/bad-nothing.npy", "wb").write(b"")
put = lambda name, text: open(out + "/" + name, "wb").write(text if isinstance(text, bytes) else text.encode())
put("names.txt", "\n".join(names) + "\n")
put("few.txt", "\n".join(names[:-1]) + "\n")
put("twice.txt", "\n".join(names[:-1] + names[:1]) + "\n")
put("blank.txt", "\n".join([""] + names[1:]) + "\n")
put("bytes.txt", b"\xff\xfe\n" * k)
put("texts2.jsonl", "".join(json.dumps({"text": "another text %d" % i}) + "\n" for i in range(n)))
EOF
python3 "$work/make.py" "$work" 300 12 || exit 1
sed -i -e "s|dirs: \[$models\]|dirs: [$work/none]|" -e "s|state_dir: .*|state_dir: $work/state2|" "$work/c.yaml"
echo 'map: { layouts: none }' >>"$work/c.yaml"
e2e_start
imp() { mm --json import --vectors "$work/$1.npy" --names "$work/${2:-names}.txt" --texts "${3:-$work/texts.jsonl}" "${@:4}"; }
refused() { # PART ARGS...
	imp "${@:2}" >"$work/out" 2>"$work/err"
	[ $? = 1 ] && grep -q "$1" "$work/err" && [ "$(wc -l <"$work/err")" = 1 ] || fail "import of ${*:2}: $(cat "$work/err")"
}
for f in "$work"/bad-*.npy; do
	f=${f##*/}
	refused . "${f%.npy}"
done
refused 'names' all few
refused 'two models' all twice
refused '1 to 1024 bytes' all blank
refused 'UTF-8' all bytes
refused 'another text set' all names "$work/texts2.jsonl"
hash=$(mm --json status | python3 -c 'import json,sys; print(json.load(sys.stdin)["texts"]["hash"])')
piece() { mm call import import=1 texts="$hash" name=x "$@" >"$work/out" 2>"$work/err" && fail "taken: import $*"; }
piece offset=0 data='"AAA"'
piece offset=0 data='"AAAA"'
piece offset=4 data='"AAAA"' more=true
piece offset=0 data="\"$(head -c 48 /dev/zero | tr '\0' '\377' | base64 -w0)\""
mm call import import=1 texts=00 name=x offset=0 data='""' more=true 2>"$work/err" && fail "an import for other texts"
grep -q 'another text set' "$work/err" || fail "does not say that the texts differ"
q "d['models']==0" status || fail "something was imported that should not"

# kill -9 in the middle; then again: nothing lost, nothing twice
imp all >"$work/out" 2>/dev/null &
client=$!
until_true 30 "some are imported" grep -q '64 models imported' "$work/log"
e2e_kill
wait "$client"
e2e_start
q "d['models']>=64 and d['scored']==d['models']" status || fail "imported models are gone after kill -9"
had=$(mm --json status | python3 -c 'import json,sys; print(json.load(sys.stdin)["models"])')
imp all >"$work/out" || fail "import after kill -9"
python3 "$tool" q "d['models']==300 and d['same']==$had and d['added']==300-$had and d['kept']==[] and d['epoch']>=1" <"$work/out" || fail "import again: $(cat "$work/out"), had $had"
imp double >"$work/out" && python3 "$tool" q "d['same']==300 and d['added']==0" <"$work/out" || fail "the same as float64"
epochs=$(mm --json epochs | python3 -c 'import json,sys; print(len(json.load(sys.stdin)["epochs"]))')
[ "$epochs" -le 2 ] || fail "$epochs epochs were made for two imports"
mm export --vectors "$work/v.npy" --names "$work/n.txt" 2>/dev/null || fail "export"
python3 - "$work" <<'EOF' || fail "the vectors are not those that were imported"
import sys
w = sys.argv[1]
data = lambda f: (lambda b: b[10 + int.from_bytes(b[8:10], "little"):])(open(w + "/" + f, "rb").read())
names = lambda f: open(w + "/" + f, encoding="utf-8", newline="\n").read().split("\n")[:-1]
a, b, x, y = data("all.npy"), data("v.npy"), names("names.txt"), names("n.txt")
x = ["".join(c if c >= " " else "?" for c in s) for s in x]
assert len(a) == len(b) and sorted(x) == sorted(y), (sorted(x)[:3], sorted(y)[:3])
row = lambda d, i: d[48 * i:48 * i + 48]
assert all(row(a, i) == row(b, y.index(n)) for i, n in enumerate(x))
EOF
q "all(m['imported'] and m['state']=='scored' and m['on_map'] for m in d['models']) and len(d['models'])==300" models || fail "imported models in the list"
q "[n['name'].split('/')[0] for n in d['neighbours']]==['org3']*3" near org3/model-7 -k 3 || fail "near among imported models"
q "d['kl_bits_per_byte']>0" dist org3/model-7 org2/model-6 || fail "dist"
q "len(d['points'])==300" map || fail "map"
q "d['container']=='imported' and d['path']=='import:org3/model-7'" show org3/model-7 || fail "show"
python3 -c 'print("model,b"); [print("org%d/model-%d,%g" % (i % 4, i, i % 4 + i * 0.001)) for i in range(2, 150)]' >"$work/s.csv"
q "d['models']==148" scores import "$work/s.csv" || fail "scores of imported models"
q "abs(d['predictions'][0]['prediction']-3)<1" predict org3/model-203 || fail "prediction of an imported model"
mm rescore org3/model-7 2>"$work/err" && fail "rescore of an imported model"
grep -q 'no files' "$work/err" || fail "does not say why it cannot be scored again"
refused 'other log-likelihoods' other
mm import --vectors "$work/other.npy" --names "$work/names.txt" 2>/dev/null
[ $? = 2 ] || fail "import without texts"
imp other names "$work/texts.jsonl" --force >"$work/out" && python3 "$tool" q "d['replaced']==300" <"$work/out" || fail "import --force"
mm forget org3/model-7 org2/model-6 >/dev/null || fail "forget"
q "d['on_map']==298 and d['gone']==2" status || fail "forgotten models are on the map"
mm near org3/model-7 >/dev/null 2>&1 && fail "near of a forgotten model"
e2e_stop
e2e_start
q "d['on_map']==298 and d['gone']==2" status || fail "forgotten models come back"
imp other >"$work/out" && python3 "$tool" q "d['same']==298 and d['replaced']==2" <"$work/out" || fail "what was forgotten is imported again: $(cat "$work/out")"

# what else is known of them, told later or at once
printf 'name,family,params,bytes,dtype,date,run,step\n' >"$work/meta.csv"
for i in $(seq 2 60); do echo "org$((i % 4))/model-$i,fam$((i % 4)),${i}M,$((i * 2))M,bf16,2024-05-$((i % 20 + 10)),run-$((i % 4)),$i"; done >>"$work/meta.csv"
sed 's/^org3.model-7,fam3,7M/org3\/model-7,fam3,seven/' "$work/meta.csv" >"$work/meta-bad.csv"
refused 'line 7, column 3 (params): "seven"' other names "$work/texts.jsonl" --meta "$work/meta-bad.csv"
imp other names "$work/texts.jsonl" --meta "$work/meta.csv" >"$work/out" && python3 "$tool" q "d['described']==59 and d['same']==241" <"$work/out" || fail "import --meta: $(cat "$work/out")"
imp other names "$work/texts.jsonl" --meta "$work/meta.csv" >"$work/out" && python3 "$tool" q "d['described']==0 and d['same']==300" <"$work/out" || fail "import --meta again: $(cat "$work/out")"
q "(d['family'], d['params'], d['bytes'], d['dtype'], d['run'], d['step'], d['modified'])==('fam3', 7000000, 14<<20, 'bf16', 'run-3', 7, 1715904000)" show org3/model-7 || fail "what is known of an imported model: $(mm --json show org3/model-7)"
q "d['neighbours'] and all(n['params']<7000000 and n['family'] for n in d['neighbours'])" near org3/model-7 --smaller || fail "near --smaller of an imported model"
q "len(d['neighbours'])==3 and all(n['family']=='fam3' for n in d['neighbours'])" near org3/model-7 --family fam3 -k 3 || fail "near --family of an imported model"
q "sum(p.get('family')=='fam2' for p in d['points'])==15" map || fail "families of imported models on the map"
q "len(d['legs'])==14" trajectory run-3 || fail "trajectory of an imported run"
mm --ascii trajectory run-3 >"$work/out" && grep -q 'start 3' "$work/out" && grep -q 'end 59' "$work/out" && grep -qE '^KL a step  [._~=+*#-]{14} ' "$work/out" ||
	fail "the picture of a run: $(cat "$work/out")"
mm trajectory run-3 --svg - >"$work/t.svg" && python3 -c 'import sys,xml.etree.ElementTree as t; s=" ".join(t.parse(sys.argv[1]).getroot().itertext()); assert "start 3" in s and "end 59" in s and "The way of run-3" in s' "$work/t.svg" || fail "a run as SVG"
mm call import import=2 texts="$hash" name=x offset=0 data='""' more=true step=-1 2>"$work/err" && fail "a step below 0"
e2e_stop
e2e_start
q "d['family']=='fam3' and d['step']==7" show org3/model-7 || fail "what is known of an imported model is forgotten"

# scores as they are published; the tail of a name finds the directory
echo '{"results":{"arc_challenge":{"acc,none":0.4,"acc_norm,none":0.45}},"model_name":"hub/model-11"}' >"$work/results_1.json"
q "d['models']==1 and d['benchmarks']==['arc_challenge']" scores import "$work/results_1.json" || fail "scores of the harness"
q "d['scores']['arc_challenge']==0.45" scores show org3/model-11 || fail "the score of the harness"

# what was scored here stays, and is not forgotten while its files are there
mkdir -p "$work/none/here"
cp -rL "$fixtures/qwen2-a" "$work/none/here/model"
mm watch --until-idle --models 299 --timeout 120s >/dev/null || fail "watch"
until_true 60 "the model is scored" is here/model scored
mm forget here/model 2>"$work/err" && fail "forget of what is there"
grep -q 'would only be scored again' "$work/err" || fail "does not say why: $(cat "$work/err")"
sed 's|^org3/model-3$|here/model|' "$work/names.txt" >"$work/mine.txt"
imp other mine >"$work/out" && python3 "$tool" q "d['kept']==['here/model'] and d['added']==0" <"$work/out" || fail "kept: $(cat "$work/out")"
