#!/bin/bash
# make install and uninstall: every file in its place, paths put into the unit, an edited configuration survives, a moved
# tree still finds its own parts.
set -eu
cd "$(dirname "$0")/../.."
OUT=${OUT:-build/release}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/mm-install.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
fail() { echo "FAIL: $*"; exit 1; }
export OUT
inst() { DESTDIR=$1 PREFIX=$2 SYSCONFDIR=${3:-/etc} scripts/install.sh "${4:-install}"; }

# ---- a package's way: DESTDIR and /usr ----
inst "$tmp/pkg" /usr >/dev/null
for f in usr/bin/modelmapd usr/bin/modelmap-score usr/bin/modelmap usr/lib/systemd/system/modelmapd.service \
	usr/lib/sysusers.d/modelmapd.conf usr/lib/tmpfiles.d/modelmapd.conf usr/share/man/man8/modelmapd.8 \
	usr/share/man/man5/modelmapd.yaml.5 usr/share/bash-completion/completions/modelmap \
	usr/share/zsh/vendor-completions/_modelmap \
	usr/share/doc/modelmapd/README.md etc/modelmapd/modelmapd.yaml \
	usr/lib/python3/dist-packages/modelmap/client.py usr/share/doc/modelmapd/examples/map_and_ridge.py; do
	[ -s "$tmp/pkg/$f" ] || fail "$f is missing"
done
for m in man/*.[1-8]; do [ -s "$tmp/pkg/usr/share/man/man${m##*.}/${m#man/}" ] || fail "$m is not installed"; done
# Every option that a program's help names stands in its page, every page that a page names is there, and nothing in them makes a
# formatter complain.
for m in 8:modelmapd 1:modelmap 1:modelmap-score; do
	page=man/${m#*:}.${m%%:*}
	"$tmp/pkg/usr/bin/${m#*:}" --help | grep -oE -- '--[a-z][a-z-]+' | sort -u | while IFS= read -r o; do
		sed 's/\\-/-/g' "$page" | grep -qE -- "$o([^a-z-]|\$)" || fail "$page does not name $o"
	done || exit 1
done
sed 's/\\-/-/g' man/*.[1-8] | grep -oE '(modelmap|modelmapd|modelmap-score|modelmapd\.yaml|modelmap[a-z.-]*) ?\([1-8]\)' | sort -u | tr -d ' ()' | while IFS= read -r ref; do
	[ -s "man/${ref%?}.${ref#"${ref%?}"}" ] || fail "the pages refer to ${ref%?}(${ref#"${ref%?}"}), which does not exist"
done || exit 1
if command -v mandoc >/dev/null; then mandoc -T lint -W warning man/*.[1-8] || fail "mandoc"; else echo "note: no mandoc here, the pages are not checked by it"; fi
if command -v groff >/dev/null; then for m in man/*.[1-8]; do said=$(groff -man -ww -z -K utf8 -T utf8 "$m" 2>&1) && [ -z "$said" ] || fail "groff: $m: $said"; done; fi
! grep -rn "/usr/local\|$tmp" "$tmp/pkg/usr/lib" || fail "another path in the unit"
grep -q '^ExecStart=/usr/bin/modelmapd --config /etc/modelmapd/modelmapd.yaml' "$tmp/pkg/usr/lib/systemd/system/modelmapd.service" ||
	fail "ExecStart"
[ "$(stat -c %a "$tmp/pkg/usr/bin/modelmapd")" = 755 ] || fail "mode of modelmapd"
"$tmp/pkg/usr/bin/modelmapd" --version | grep -q '^modelmapd [0-9]' || fail "the installed program does not run"
"$tmp/pkg/usr/bin/modelmapd" --check-config "$tmp/pkg/etc/modelmapd/modelmapd.yaml" >/dev/null 2>&1 || fail "the installed settings"
cmp -s "$tmp/pkg/etc/modelmapd/modelmapd.yaml" <("$tmp/pkg/usr/bin/modelmapd" --dump-defaults) || fail "settings are not the defaults"

# ---- again over an edited configuration ----
echo "# mine" >>"$tmp/pkg/etc/modelmapd/modelmapd.yaml"
inst "$tmp/pkg" /usr | grep -q '^kept: /etc/modelmapd/modelmapd.yaml' || fail "does not say that it kept the settings"
grep -q '^# mine' "$tmp/pkg/etc/modelmapd/modelmapd.yaml" || fail "the edited settings are gone"
inst "$tmp/pkg" /usr /etc uninstall | grep -q '^left: /etc/modelmapd/modelmapd.yaml' || fail "uninstall does not say what it left"
left=$(find "$tmp/pkg" -type f -o -type l)
[ "$left" = "$tmp/pkg/etc/modelmapd/modelmapd.yaml" ] || fail "uninstall left: $left"

# ---- into a prefix of one's own, where the unit can be verified as a whole ----
inst "" "$tmp/own" "$tmp/own/etc" >/dev/null
if command -v systemd-analyze >/dev/null; then
	# ExecReload's kill and the man pages belong to the system; what it says of our unit must be nothing.
	said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$tmp/own/lib/systemd/system/modelmapd.service" 2>&1 | grep modelmapd || true)
	[ -z "$said" ] || fail "systemd-analyze verify: $said"
else
	echo "note: no systemd-analyze here, the unit is not verified"
fi
find "$tmp/own/lib" -path '*/dist-packages/modelmap/py.typed' | grep -q . || fail "the Python package"
mkdir -p "$tmp/page/assets"
echo page >"$tmp/page/index.html"
echo page >"$tmp/page/one-file.tmpl"
echo script >"$tmp/page/assets/a.js"
echo template >"$tmp/page/one-file.tmpl"
mkdir -p "$tmp/web/usr/share/modelmapd/web/assets"
echo old >"$tmp/web/usr/share/modelmapd/web/assets/old.js"
WEBOUT=$tmp/page inst "$tmp/web" /usr >/dev/null
[ "$(cd "$tmp/web/usr/share/modelmapd/web" && find . -type f | sort | tr '\n' ' ')" = "./assets/a.js ./index.html ./one-file.tmpl " ] || fail "the page"
PYTHONDIR="" inst "$tmp/nopy" /usr >/dev/null
[ ! -e "$tmp/nopy/usr/lib/python3" ] || fail "PYTHONDIR= installs the Python package"
mv "$tmp/own" "$tmp/moved"
cat >"$tmp/c.yaml" <<END
watch: { dirs: [m] }
state_dir: s
control: ipc://c
events: ipc://e
END
mkdir "$tmp/m"
if [ -f "$tmp/moved/share/modelmapd/texts.jsonl" ]; then
	"$tmp/moved/bin/modelmapd" --config "$tmp/c.yaml" 2>"$tmp/log" &
	pid=$!
	for _ in $(seq 100); do
		"$tmp/moved/bin/modelmap" --socket "ipc://$tmp/c" status >"$tmp/status" 2>/dev/null && break
		kill -0 $pid 2>/dev/null || break
		sleep 0.1
	done
	kill $pid && wait $pid || fail "the installed daemon: $(cat "$tmp/log")"
	grep -q "$tmp/moved/share/modelmapd/texts.jsonl" "$tmp/log" || fail "it did not take its own text set: $(cat "$tmp/log")"
	grep -q '^daemon' "$tmp/status" || fail "no answer"
else
	echo "note: no bundled text set in this tree, the installed daemon is not started"
fi
rc=0; PREFIX=relative scripts/install.sh >/dev/null 2>&1 || rc=$?
[ $rc = 2 ] || fail "a relative PREFIX is accepted"
echo "ok"
