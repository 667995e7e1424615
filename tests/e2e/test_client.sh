#!/bin/bash
# The client against the real daemon: the JSON shapes that modelmap-protocol(7) promises, names, tables, pictures, files,
# alerts, events, rights, exit status.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
e2e_begin client

# ---- a text set of one's own ----
"$bin/modelmap" texts build LICENSE HACKING.md lib/base --seed 3 -n 24 -o "$work/texts.jsonl" 2>"$work/err" || fail "texts build"
grep -q '^24 texts' "$work/err" || fail "texts build does not say how many"
"$bin/modelmap" --json texts check "$work/texts.jsonl" >"$work/check.json" || fail "texts check"
python3 "$tool" q "d['n']==24 and d['duplicates']==0 and d['max_bytes']<=1024 and d['min_bytes']>256" <"$work/check.json" || fail "texts check's figures"

# ---- no daemon ----
mm status 2>"$work/err"
[ $? = 3 ] || fail "no daemon is exit 3"
grep -q 'systemctl start modelmapd' "$work/err" || fail "does not say how to start one"

e2e_config "query: ipc://$work/query"
e2e_start
copy "$fixtures/qwen2-a" qwen2-a
copy "$fixtures/qwen2-a-shakespeare" qwen2-a-shakespeare
copy "$fixtures/neox-a" neox-a
copy "$fixtures/neox-a" copy-of-neox
copy "$fixtures/mistral-a-nan" broken
copy "$fixtures/neox-a-shakespeare" $'evil\e[31m<b>&name'
mm --json watch --until-idle --models 6 --timeout 300s >"$work/heard" || fail "watch --until-idle"
mm watch --until-idle --timeout 60s >"$work/lines" || fail "watch on an idle daemon"

# ---- events: one JSON object a line, numbered without a gap ----
python3 - "$work/heard" <<'EOF' || fail "events"
import json, sys
e = [json.loads(l) for l in open(sys.argv[1])]
seq = [x["seq"] for x in e]
assert seq == list(range(seq[0], seq[0] + len(seq))), seq
assert len({x["boot"] for x in e}) == 1
types = {x["type"] for x in e}
assert types <= {"model", "job", "alert", "map", "status"}, types
assert {"model", "job", "alert", "map"} <= types, types
assert any(x["type"] == "model" and x["name"] == "qwen2-a" and x["state"] == "scored" for x in e)
assert all(0 <= x["progress"] <= 1 for x in e if x["type"] == "job" and x["progress"] is not None)
EOF

# ---- shapes ----
shape() { # EXPR CMD...
	q "$@" || { mm --json "${@:2}" >&2; fail "shape of: ${*:2}: $1"; }
}
num="lambda v: isinstance(v,(int,float)) and not isinstance(v,bool)"
shape "isinstance(d['version'],str) and ($num)(d['uptime_s']) and d['texts']['n']==24 and len(d['texts']['hash'])==32 and ($num)(d['texts']['mean_bytes']) and all(isinstance(d['queue'][k],int) for k in ('waiting','queued','running','failed')) and d['models']==6 and d['epoch']>=1" status
shape "d['texts']['hash']=='$(python3 -c "import json;print(json.load(open('$work/check.json'))['hash'])")'" status
shape "len(d['models'])==6 and all({'name','state','family','params','bytes','dtype','scored_at','mean_loglik','bits_per_byte','run','step'}<=set(m) for m in d['models'])" models
shape "all(m['state'] in ('scored','failed','waiting','gone') for m in d['models'])" models
shape "all(m['bits_per_byte']>0 and m['mean_loglik']<0 and m['params']>0 and isinstance(m['scored_at'],int) for m in d['models'] if m['state']=='scored')" models
shape "d['name']=='qwen2-a'" show qwen2-a
shape "d['model']=='neox-a' and [set(n)>={'name','kl_bits_per_byte','kl_nats_per_text'} for n in d['neighbours']]==[True]*2 and d['neighbours'][0]['kl_bits_per_byte']<=d['neighbours'][1]['kl_bits_per_byte']" near neox-a -k 2
shape "{'a','b','kl_bits_per_byte','kl_nats_per_text'}<=set(d) and d['kl_bits_per_byte']>0" dist neox-a qwen2-a
shape "isinstance(d['epoch'],int) and isinstance(d['method'],str) and len(d['points'])>=4 and all({'name','x','y','z'}<=set(p) for p in d['points'])" map
shape "all({'id','model','state','reason','progress','eta_s'}<=set(j) for j in d['jobs'])" queue --all
shape "len(d['jobs'])>=5" queue --all
shape "len(d['alerts'])>=2 and all({'id','kind','model','state','severity','message','evidence'}<=set(a) and isinstance(a['evidence'],dict) for a in d['alerts'])" alerts
shape "d['epoch']==d['epochs'][-1]['epoch']" epochs
shape "{c['name'] for c in d['commands']}>={'near','chunk','backup'}" call commands

# ---- names: any part that only one has; else what could be meant ----
q "d['model']=='qwen2-a-shakespeare'" near shakes || fail "a part of a name"
mm near neox >/dev/null 2>"$work/err"
[ $? = 1 ] || fail "a part that two have"
grep -q 'copy-of-neox' "$work/err" && grep -q 'neox-a' "$work/err" || fail "does not name the candidates: $(cat "$work/err")"
mm dist qwen2-b neox-a >/dev/null 2>"$work/err"
[ $? = 1 ] || fail "an unknown name"
grep -q 'qwen2-a' "$work/err" || fail "does not name the nearest: $(cat "$work/err")"
[ "$(wc -l <"$work/err")" = 1 ] || fail "an error is one line"

# ---- text: nothing of a name reaches the terminal as a command ----
for c in models queue alerts map "near neox-a" "show evil" "watch --until-idle"; do
	# shellcheck disable=SC2086 # words of a command
	mm --color never $c >"$work/out" 2>&1 || fail "$c"
	! grep -q $'\e' "$work/out" || fail "$c lets an escape through"
done
mm models | grep -q '^neox-a .*scored.*gpt_neox' || fail "models as a table"
COLUMNS=60 mm --ascii models >"$work/out"
[ "$(wc -L <"$work/out")" -le 60 ] || fail "the table is wider than the terminal"
NO_COLOR=1 mm models | grep -q $'\e' && fail "colour in a pipe"
mm --color always models | grep -q $'\e\[32mscored' || fail "no colour on demand"

# ---- the picture is well-formed and holds the hostile name as text ----
mm map --svg "$work/map.svg" >"$work/map.txt" || fail "map --svg"
python3 - "$work/map.svg" <<'EOF' || fail "the SVG"
import sys
import xml.etree.ElementTree as et
root = et.parse(sys.argv[1]).getroot()
assert root.tag.endswith("svg")
text = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
titles = [t.text for t in root.iter("{http://www.w3.org/2000/svg}title")]
assert "neox-a" in text, text
assert any("<b>&name" in (t or "") for t in titles), titles
EOF
grep -q 'epoch' "$work/map.txt" && grep -q 'qwen2-a' "$work/map.txt" || fail "the map in the terminal"

# ---- files ----
mm export --vectors "$work/v.npy" --names "$work/v.txt" --coords "$work/v.csv" 2>/dev/null || fail "export"
python3 - "$work" <<'EOF' || fail "what was exported"
import csv, sys
sys.path.insert(0, "tests/e2e")
import tool
w = sys.argv[1]
rows = tool.rows(w + "/v.npy", w + "/v.txt")
assert len(rows["neox-a"]) == 24 and all(x < 0 for x in rows["neox-a"])
coords = list(csv.DictReader(open(w + "/v.csv")))
assert set(coords[0]) == {"name", "x", "y", "z"}
assert "neox-a" in [c["name"] for c in coords]
[float(c[k]) for c in coords for k in "xyz"]
EOF
mm backup "$work/copy" 2>/dev/null || fail "backup"
[ "$(stat -c %a "$work/copy")" = 600 ] || fail "the backup is for its owner"
if command -v mdb_stat >/dev/null; then mdb_stat -n "$work/copy" >/dev/null || fail "the backup does not open"; fi
mm backup "$work/nowhere/copy" 2>/dev/null && fail "a backup into nowhere"

# ---- alerts ----
id=$(mm --json alerts | python3 -c "import json,sys; a=[x for x in json.load(sys.stdin)['alerts'] if x['kind']=='not_finite']; assert len(a)==1, a; print(a[0]['id'])") || fail "one alert not_finite"
mm alert ack "$id" --note "is known" >"$work/out" || fail "alert ack"
q "[(a['state'],a['note']) for a in d['alerts'] if a['id']==$id]==[('acked','is known')]" alerts || fail "it is not acked"
mm alert resolve "$id" >/dev/null || fail "alert resolve"
q "$id not in [a['id'] for a in d['alerts']]" alerts || fail "a resolved one is still listed"
q "$id in [a['id'] for a in d['alerts']]" alerts --all || fail "--all does not list it"
mm alert reopen "$id" >/dev/null || fail "alert reopen"
mm alert show "$id" | grep -q 'not_finite' || fail "alert show"
mm alert ack 999999 2>/dev/null && fail "an alert that is not there"

# ---- jobs, refit ----
mm cancel neox-a 2>/dev/null && fail "cancel of what has no job"
mm rescore qwen2-a-shakespeare >/dev/null || fail "rescore"
mm watch --until-idle --timeout 120s >/dev/null || fail "watch after rescore"
is qwen2-a-shakespeare scored || fail "it is not scored again"
until_true 60 "no refit of its own is under way" q "not d['refitting']" epochs
before=$(mm --json epochs | python3 -c "import json,sys; print(json.load(sys.stdin)['epoch'])")
mm refit >/dev/null || fail "refit"
q "d['epoch']>$before" epochs || fail "no new epoch" # more than one if the daemon had a reason of its own
q "d['epoch']==$before" map --epoch "$before" || fail "the old epoch cannot be read"

# ---- the query socket answers questions and nothing else ----
ask() { "$bin/modelmap" --timeout 60s --socket "ipc://$work/query" "$@"; }
ask --json models | python3 "$tool" q "len(d['models'])==6" || fail "query"
ask refit 2>"$work/err" && fail "a write through query"
grep -q 'only answers questions' "$work/err" || fail "the reason: $(cat "$work/err")"
[ "$(stat -c %a "$work/control"),$(stat -c %a "$work/query"),$(stat -c %a "$work/events")" = 660,666,666 ] || fail "modes of the sockets"

# ---- completion: in bash, names from the daemon ----
candidates=$(PATH=$bin:$PATH MODELMAP_SOCKET=$work/control bash -c '
	. client/completion.bash
	COMP_WORDS=(modelmap near qwen) COMP_CWORD=2
	_modelmap
	printf "%s " "${COMPREPLY[@]}"')
[ "$candidates" = "qwen2-a qwen2-a-shakespeare " ] || fail "completion: $candidates"

# ---- a second daemon does not take the sockets of the first ----
mkdir "$work/state2"
sed "s|$work/state|$work/state2|" "$work/c.yaml" >"$work/c2.yaml"
"$bin/modelmapd" --config "$work/c2.yaml" --foreground 2>"$work/err" && fail "a second daemon on the same sockets"
grep -q 'another daemon answers' "$work/err" || fail "the reason: $(cat "$work/err")"
mm status >/dev/null || fail "the first one is not reachable any more"

# ---- watch lives through a daemon that is killed and comes back ----
"$bin/modelmap" -s "$work/control" --json watch --timeout 120s >"$work/heard" 2>"$work/err" & # no function: the signal is for it
watcher=$!
until_true 30 "the watcher hears something" bash -c "'$bin/modelmap' -s '$work/control' rescore qwen2-a >/dev/null 2>&1; [ -s '$work/heard' ]"
e2e_kill
e2e_start
until_true 60 "the watcher hears the second life" bash -c "'$bin/modelmap' -s '$work/control' rescore qwen2-a >/dev/null 2>&1
	python3 -c \"import json; b={json.loads(l)['boot'] for l in open('$work/heard')}; raise SystemExit(len(b)<2)\""
kill "$watcher"
wait "$watcher" || fail "watch ended with status $?"
mm watch --until-idle --timeout 120s >/dev/null || fail "not idle in the end"
e2e_stop
[ ! -e "$work/control" ] || fail "the socket is left behind"
mm status 2>/dev/null
[ $? = 3 ] || fail "no daemon is exit 3 in the end"
echo "client: everything as the manual says"
