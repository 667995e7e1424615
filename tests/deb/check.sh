#!/bin/bash
# The Debian packages of a directory, installed under a real systemd (tests/e2e/systemd.sh), used, installed over themselves,
# removed, installed again and purged: what must start, what must stay, what must be gone. check.sh DIRECTORY; `make check-deb`.
set -u
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/systemd.sh
. tests/e2e/systemd.sh
debs=$(readlink -f "${1:-build/deb}")
machine_needs
command -v dpkg >/dev/null || skip "no dpkg here"
mapfile -t files < <(cd "$debs" && find . -maxdepth 1 -name '*.deb' -printf '/root/debs/%f\n')
packages="modelmapd modelmap python3-modelmap"
machine_begin

stage=$tmp/stage
mkdir -p "$stage/root/debs" "$stage/srv/zoo" "$stage/usr/sbin"
for p in $packages; do cp "$debs/$p"_[0-9]*.deb "$stage/root/debs/" || { echo "FAIL: no package $p in $debs"; exit 1; }; done
for m in qwen2-a neox-a; do cp -rL "tests/fixtures/zoo/$m" "$stage/srv/zoo/$m"; done
# Images of containers forbid packages to start services.
printf '#!/bin/sh\nexit 0\n' >"$stage/usr/sbin/policy-rc.d"
chmod 755 "$stage/usr/sbin/policy-rc.d" "$stage" "$stage/usr" "$stage/usr/sbin" "$stage/srv"
chmod 700 "$stage/root"
chmod -R a+rX "$stage/srv"
machine_boot "$stage"

dpkg_do() { # what it says is shown when it fails
	in_ns env DEBIAN_FRONTEND=noninteractive dpkg "$@" >"$tmp/dpkg.log" 2>&1 </dev/null || { cat "$tmp/dpkg.log"; fail "dpkg $*"; }
	! grep -iE 'warning|error|failed|cannot' "$tmp/dpkg.log" | grep -vE 'not empty so not removed' || fail "dpkg $* complains"
}
install_all() { dpkg_do -i "${files[@]}"; }
files_now() { in_ns find /etc /usr /lib /var /srv /opt -xdev ! -type s | sort; }
has() { in_ns test -e "$1" || fail "$1 is not there: $2"; }
gone() { ! in_ns test -e "$1" || fail "$1 is still there: $2"; }

# ---- onto a machine that has never seen it ----
gone /usr/bin/modelmapd "the machine has modelmapd already"
files_now >"$tmp/before"
install_all
active || fail "the service does not run after the installation"
[ "$(in_ns systemctl is-enabled modelmapd)" = enabled ] || fail "the service is not enabled"
[ "$(in_ns ps -o user= -p "$(show MainPID)" | tr -d ' ')" = modelmapd ] || fail "runs as another user"
[ "$(in_ns stat -c '%U %a' /var/lib/modelmapd)" = "modelmapd 750" ] || fail "state directory"
has /srv/models "the directory of the default settings"
figure=$(in_ns systemd-analyze security modelmapd | sed -n 's/.*Overall exposure level for modelmapd.service: \([0-9.]*\).*/\1/p')
awk -v f="$figure" 'BEGIN { exit !(f != "" && f <= 1.5) }' || fail "exposure $figure is above 1.5"
in_ns systemd-analyze verify --man=no modelmapd.service || fail "the unit"
for m in 8:modelmapd 1:modelmap 1:modelmap-score 5:modelmapd.yaml 7:modelmap-protocol; do has "/usr/share/man/man${m%%:*}/${m#*:}.${m%%:*}.gz" "a manual page"; done
in_ns bash -c '. /usr/share/bash-completion/completions/modelmap && complete -p modelmap' >/dev/null || fail "completion"
has /usr/share/zsh/vendor-completions/_modelmap "completion"

# ---- used ----
in_ns cp -r /srv/zoo/qwen2-a /srv/zoo/neox-a /srv/models/ || fail "cp"
idle
scored 2 || fail "not scored: $(mm --json models)"
mm near qwen2-a | grep -q neox-a || fail "near: $(mm near qwen2-a)"
in_ns python3 -m modelmap | grep -q '^models *2$' || fail "Python: $(in_ns python3 -m modelmap)"
in_ns sed -i 's|^\( *\)listen:.*|\1listen: 127.0.0.1:0|' /etc/modelmapd/modelmapd.yaml
in_ns systemctl restart modelmapd || fail "restart with edited settings"
page=$(in_ns python3 -c 'import modelmap, urllib.request as u
with modelmap.Client() as m: print(u.urlopen(m.status()["endpoints"]["http"]).read().decode())')
if in_ns test -e /usr/share/modelmapd/web/index.html; then
	case $page in *"<script"*) ;; *) fail "not the page: $page" ;; esac
	mm map --html - | grep '<script' >/dev/null || fail "map --html"
else
	echo "note: packages without the page"
	case $page in *'"api"'*) ;; *) fail "not the list of paths: $page" ;; esac
fi

# ---- once more over itself: what was edited and what was computed stays ----
pid=$(show MainPID)
install_all
active || fail "the service does not run after an upgrade"
[ "$(show MainPID)" != "$pid" ] || fail "an upgrade leaves the old program running"
in_ns grep -q '127.0.0.1:0' /etc/modelmapd/modelmapd.yaml || fail "the edited settings are gone"
scored 2 || fail "after an upgrade: $(mm --json models)"

# ---- removed: settings and state stay; and it comes back as it was ----
dpkg_do -r modelmapd
[ "$(show ActiveState)" != active ] || fail "runs after its removal"
gone /usr/bin/modelmapd "removed"
has /etc/modelmapd/modelmapd.yaml "removed, not purged"
has /var/lib/modelmapd/store.mdb "removed, not purged"
install_all
active || fail "does not run after it came back"
scored 2 || fail "after it came back: $(mm --json models)"
[ "$(mm --json queue | grep -c '"state"')" = 0 ] || fail "scores again what it had scored: $(mm --json queue)"

# ---- purged: nothing of it is left, and nothing that is not its own is touched ----
# shellcheck disable=SC2086 # a list
dpkg_do -P $packages
gone /var/lib/modelmapd "purged"
gone /etc/modelmapd "purged"
gone /run/modelmapd "purged"
in_ns systemctl daemon-reload
[ "$(show LoadState)" = not-found ] || fail "systemd still knows the unit"
for m in qwen2-a neox-a; do
	diff -r "tests/fixtures/zoo/$m" "/proc/$init/root/srv/models/$m" >/dev/null || fail "purging touched the model $m"
done
in_ns id modelmapd >/dev/null || fail "the user is gone, whose files may lie elsewhere"
# What dpkg, apt, man-db and the journal write for themselves, and what Python caches of other packages.
files_now | comm -13 "$tmp/before" - >"$tmp/left"
left=$(grep -vE '^/var/(lib/dpkg|log|cache|lib/apt|lib/systemd|backups)/|^/srv/models(/|$)|/__pycache__(/|$)|^/etc/(passwd|group|shadow|gshadow)-?$|^/var/tmp/' "$tmp/left")
[ -z "$left" ] || fail "left behind: $(echo "$left" | head -n 20)"
! grep -E 'modelmap' "$tmp/left" | grep -vE '^/srv/models|^/var/lib/dpkg/|^/var/log/' || fail "left behind"

# ---- purged where no model ever came: the empty directory goes too ----
in_ns rm -rf /srv/models/qwen2-a /srv/models/neox-a
install_all
# shellcheck disable=SC2086
dpkg_do -P $packages
gone /srv/models "empty, and made by the package"
echo "deb: exposure $figure; installed, used, upgraded, removed, back again, purged"
