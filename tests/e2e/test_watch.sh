#!/bin/bash
# What users do with directories and jobs: renames, removals, copies, rewrites, polling, cancel, retry, rescore, several
# watched directories, a directory that is not there yet.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
e2e_begin watch
e2e_texts "$work/texts.jsonl" 6
id_of() { mm --json models | python3 -c "import json,sys; print([m['model_id'] for m in json.load(sys.stdin)['models'] if m['name']=='$1'][0])"; }

both() { # MODE
	mode=$1
	e2e_config
	sed -i "s|dirs: .*\], settle|dirs: [$models, $work/later], settle|" "$work/c.yaml"
	e2e_start
	q "d['watch']['mode']==('poll' if '$1'=='poll' else 'inotify')" status || fail "mode"
	copy "$fixtures/qwen2-a" a
	copy "$fixtures/neox-a" run/checkpoint-100
	until_true 120 "both are scored" q "len([m for m in d['models'] if m['state']=='scored'])==2" models
	local id
	id=$(id_of a)
	# Renamed: the same record, nothing scored.
	mv "$models/a" "$models/b"
	until_true 60 "renamed" is b scored
	[ "$(id_of b)" = "$id" ] || fail "a rename made a new record"
	mv "$models/run" "$models/done"
	until_true 60 "a renamed run" is done/checkpoint-100 scored
	q "[m for m in d['models'] if m['name']=='done/checkpoint-100' and m['run']=='done' and m['step']==100]" models ||
		fail "run and step"
	# Copied: not scored, reported once.
	copy "$models/b" c
	until_true 60 "copied" is c scored
	q "[m for m in d['models'] if m['name']=='c' and m['same_as']=='b']" models || fail "a copy"
	q "[a['kind'] for a in d['alerts']]==['duplicate']" alerts || fail "alerts: $(mm alerts)"
	q "d['kl_bits_per_byte']==0" dist b c || fail "the distance of copies"
	# Removed: history.
	rm -r "$models/c" "$models/done"
	until_true 60 "gone" is c gone
	until_true 60 "gone" is done/checkpoint-100 gone
	[ "$(grep -c 'scoring, process' "$work/log")" = 2 ] || fail "scored more than twice"
	# Rewritten in place: a new model, the old vector is history.
	cp "$fixtures/qwen2-a-perl/model.safetensors" "$models/b/"
	until_true 120 "the new content is scored" q \
		"[m for m in d['models'] if m['name']=='b' and m['state']=='scored' and m['model_id']!=$id]" models
	q "[m for m in d['models'] if m['name'].startswith('b@') and m['state']=='gone' and m['model_id']==$id]" models ||
		fail "no history: $(mm models)"
	vectors_right b
	# A second watched directory that comes later, with the same relative name.
	mkdir "$work/later"
	cp -rL "$fixtures/neox-a-shakespeare" "$work/later/b"
	until_true 120 "the other directory" is later/b scored
	# Rescore: the same vector, the same record.
	id=$(id_of b)
	mm rescore b >/dev/null || fail "rescore"
	until_true 120 "scored again" q "[j for j in d['jobs'] if j['model']=='b' and j['state']=='done'][1:]" call queue all=true
	[ "$(id_of b)" = "$id" ] || fail "rescore made a new record"
	vectors_right b
	mm retry b 2>"$work/err" && fail "retry of a scored model"
	grep -q rescore "$work/err" || fail "the refusal does not say what to do"
	e2e_stop
	rm -rf "$models" "$work/later" "$work/state" "$work/log"
	mkdir "$models" "$work/state"
}
both inotify
both poll

# Jobs in the hands of users: a scorer that hangs is cancelled, and retried when it no longer does.
mode=auto
program=$work/scorer
cat >"$program" <<EOF
#!/bin/bash
case " \$* " in *" --stream "*) while [ -e "$work/hold" ]; do read -rt 0.05 <> <(:) || :; done ;; esac
exec "$bin/modelmap-score" "\$@"
EOF
chmod +x "$program"
: >"$work/hold"
e2e_config
e2e_start
copy "$fixtures/qwen2-a" a
copy "$fixtures/neox-a" b
until_true 60 "one runs" q "[j['state'] for j in d['jobs']].count('running')==1" queue
until_true 60 "one is queued" q "[j['state'] for j in d['jobs']].count('queued')==1" queue
run=$(mm --json queue | python3 -c 'import json,sys; print([j["model"] for j in json.load(sys.stdin)["jobs"] if j["state"]=="running"][0])')
mm cancel "$run" >/dev/null || fail "cancel"
q "[m['detail'] for m in d['models'] if m['name']=='$run']==['cancelled']" models || fail "not cancelled"
until_true 60 "the other one runs" q "[j['model'] for j in d['jobs'] if j['state']=='running'][:1] not in ([],['$run'])" queue
# A clean stop takes at most 10 seconds and puts the running job back.
begin=$SECONDS
e2e_stop
[ $((SECONDS - begin)) -le 10 ] || fail "the stop took $((SECONDS - begin)) s"
! pgrep -f -- "--stream 1 --texts $work" >/dev/null || fail "a scorer is left"
rm "$work/hold"
e2e_start
until_true 60 "the other one is scored" q "d['scored']==1" status
q "[m['detail'] for m in d['models'] if m['name']=='$run']==['cancelled']" models || fail "cancelled does not last"
mm retry "$run" >/dev/null || fail "retry"
until_true 60 "both are scored" q "d['scored']==2" status
vectors_right a b
mm cancel nobody 2>"$work/err" && fail "cancel of nobody"
mm show B >/dev/null || fail "names complete with any part, whatever the case"
e2e_stop
