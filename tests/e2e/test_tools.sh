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
until_true 60 "all is well" mm doctor >"$work/out" 2>&1

# ---- exports: every format is read back by a parser of its own, with the name that hurts ----
name=$(mm --json models | python3 -c 'import json,sys; print(next(m["name"] for m in json.load(sys.stdin)["models"] if m["name"].startswith("evil")))')
mm export --csv "$work/m.csv" --tensorboard "$work/tb" --vectors "$work/v.npy" --names "$work/n.txt" 2>/dev/null || fail "export"
mm tree --graphml "$work/t.graphml" --newick -o "$work/t.nwk" --svg "$work/t.svg" >/dev/null 2>&1 || fail "tree to files"
mm near qwen2-a --svg "$work/near.svg" --title 'a<b>&"' >/dev/null 2>&1 || fail "near --svg"
mm map --svg "$work/map.svg" >/dev/null 2>&1 || fail "map --svg"
mm cluster --svg "$work/c.svg" >/dev/null 2>&1 || fail "cluster --svg"
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
