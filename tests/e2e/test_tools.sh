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
