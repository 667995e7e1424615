#!/bin/bash
# `modelmap top` in a real terminal (tmux): what it shows, keys, sizes, and that it leaves the terminal as it found it.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
command -v tmux >/dev/null || { echo "skip: no tmux"; exit 77; }
e2e_begin top
e2e_config
e2e_start
copy "$fixtures/qwen2-a" qwen2-a
copy "$fixtures/neox-a" $'evil\e[31m\e]0;t\a<b>\xe2\x80\xaename'
copy "$fixtures/neox-a" neox-a
for i in $(seq -w 40); do
	mkdir "$models/half-$i"
	cp "$fixtures/qwen2-a/config.json" "$models/half-$i/"
done
mm watch --until-idle --models 3 --timeout 300s >/dev/null || fail "watch --until-idle"
all_wait() { q "d['queue']['waiting']==40" status; }
until_true 60 "forty wait" all_wait

# ---- one frame ----
mm --color never top --once >"$work/frame" || fail "top --once"
[ "$(wc -l <"$work/frame")" -le 24 ] || fail "the frame is higher than 24 lines"
! grep -q $'\e' "$work/frame" || fail "a frame in a file has escapes"
grep -q '43 models' "$work/frame" && grep -q '40 waiting' "$work/frame" && grep -q 'qwen2-a' "$work/frame" && grep -q 'tokens/s' "$work/frame" ||
	fail "the frame: $(cat "$work/frame")"
COLUMNS=50 LINES=12 mm --ascii --color never top --once >"$work/frame" || fail "top --once, small"
[ "$(wc -l <"$work/frame")" -le 12 ] && [ "$(wc -L <"$work/frame")" -le 50 ] || fail "the small frame: $(cat "$work/frame")"
q "len(d['jobs'])==40 and len(d['arrivals'])==3 and d['status']['models']==43 and d['alerts'][0]['kind']" top --once || fail "top --json"
mm top >/dev/null 2>"$work/err"
[ $? = 2 ] && grep -q -- --once "$work/err" || fail "top without a terminal"

# ---- live ----
tm() { tmux -S "$work/tmux" -f /dev/null "$@"; }
screen() { tm capture-pane -p -t top; }
shows() { screen | grep -q -e "$1"; }
hides() { ! screen | grep -q -e "$1"; }
over() {
	local rc=$?
	tm kill-server 2>/dev/null
	(exit $rc)
	e2e_end
}
trap over EXIT
tm new-session -d -s top -x 100 -y 30 "env -u TMUX PS1='READY> ' LC_ALL=C.UTF-8 bash --norc -i" || fail "tmux"
until_true 20 "a shell" shows 'READY>'
tm send-keys -t top "stty -g >$work/stty0; clear" Enter
# Alone on its line: of a list the shell would go on with the rest when it is stopped.
tm send-keys -t top "$bin/modelmap -s $work/control top" Enter
until_true 20 "the live view" shows '43 models'
shows 'LAST ARRIVALS' && shows 'JOBS  1 to' && shows 'q quit' && shows 'half-01' || fail "the live view: $(screen)"
! shows 'READY>' || fail "not on a screen of its own"
screen | grep 'evil' | grep -q '<b>?name' || fail "the name that hurts: $(screen)"
[ "$(tm display-message -p -t top '#{pane_title}')" != t ] || fail "a name has set the title"
for i in 1 2 3 4 5; do tm send-keys -t top Down; done
until_true 20 "scrolled down" shows 'JOBS  6 to'
hides 'half-01' || fail "scrolled, but the first is still there"
tm send-keys -t top Up
until_true 20 "scrolled up" shows 'JOBS  5 to'
tm send-keys -t top '?'
until_true 20 "help" shows 'pause, and go on'
tm send-keys -t top '?'
until_true 20 "no help" hides 'pause, and go on'
tm send-keys -t top p
until_true 20 "paused" shows PAUSED
copy "$fixtures/qwen2-a-shakespeare" newcomer
until_true 60 "the newcomer is scored" is newcomer scored
hides newcomer || fail "paused, but something new is shown"
tm send-keys -t top p
until_true 20 "the newcomer" shows 'newcomer .*qwen2'
tm resize-window -t top -x 60 -y 16
until_true 20 "a smaller screen" shows 'JOBS  '
sized() { [ "$(screen | wc -L)" -le 60 ] && [ "$(screen | grep -c 'q quit')" = 1 ] && screen | tail -n 1 | grep -q 'q quit'; }
until_true 20 "fits a smaller screen" sized
# stopped by ^Z the shell is back, and so is the view afterwards
tm send-keys -t top C-z
until_true 20 "the shell while stopped" shows 'READY>'
tm send-keys -t top 'fg' Enter
until_true 20 "the view again" shows 'q quit'
e2e_kill
until_true 30 "tells that the daemon has gone" shows 'no answer'
e2e_start
until_true 30 "the daemon is back" hides 'no answer'
tm send-keys -t top q
until_true 20 "the end" hides 'q quit'
tm send-keys -t top "echo end=\$?; stty -g >$work/stty1" Enter
until_true 20 "the status" shows 'end=0'
settled() { [ -s "$work/stty1" ]; }
until_true 20 "stty" settled
cmp "$work/stty0" "$work/stty1" || fail "the terminal is left in another mode"
[ "$(tm display-message -p -t top '#{cursor_flag} #{alternate_on}')" = "1 0" ] || fail "cursor or screen are not put back"
# by a signal too
tm send-keys -t top "clear; $bin/modelmap -s $work/control top; echo end=\$?; stty -g >$work/stty2" Enter
until_true 20 "the live view" shows 'q quit'
tm send-keys -t top C-c
until_true 20 "the end by ^C" shows 'end=0'
again() { [ -s "$work/stty2" ]; }
until_true 20 "stty" again
cmp "$work/stty0" "$work/stty2" || fail "after a signal the terminal is left in another mode"

# ---- completion: names with quotes and spaces, in bash and zsh ----
odd="it's a \"model\" (v1)"
mkdir "$models/$odd"
cp "$fixtures/qwen2-a/config.json" "$models/$odd/"
until_true 60 "the odd name is known" q "any(m['name'].startswith('it') for m in d['models'])" models
bash -c 'compopt() { :; }; . client/completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _modelmap; printf "%s\n" "${COMPREPLY[@]}"' - \
	"$bin/modelmap" -s "$work/control" show "it\\'s" >"$work/out"
[ "$(eval "printf %s $(cat "$work/out")")" = "$odd" ] || fail "bash: $(cat "$work/out")"
if command -v zsh >/dev/null; then
	mkdir -p "$work/zsh"
	cp client/completion.zsh "$work/zsh/_modelmap"
	ln -s "$bin/modelmap" "$work/zsh/modelmap"
	tm send-keys -t top "clear; env PATH=$work/zsh:\$PATH MODELMAP_SOCKET=$work/control PS1='ZSH> ' zsh -f" Enter
	until_true 20 "zsh" shows 'ZSH>'
	tm send-keys -t top "fpath=($work/zsh \$fpath); autoload -Uz compinit; compinit -u -d $work/zsh/dump; clear" Enter
	tm send-keys -t top "modelmap --json doc" Tab
	until_true 20 "zsh completes a command" shows 'modelmap --json doctor'
	tm send-keys -t top C-u "modelmap models --js" Tab
	until_true 20 "zsh completes an option" shows 'models --json'
	tm send-keys -t top C-u "modelmap --json show it" Tab "> $work/zsh/shown" Enter
	named() { [ "$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["name"])' "$work/zsh/shown" 2>/dev/null)" = "$odd" ]; }
	until_true 20 "zsh completes and quotes the name of a model: $(screen)" named
	tm send-keys -t top "modelmap texts check $work/texts.js" Tab Enter
	until_true 20 "zsh completes a file" shows 'hash'
else
	echo "note: no zsh here, its completion is not tested"
fi
