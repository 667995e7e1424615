#!/bin/sh
# Installs the programs and what belongs to them, or removes them again: install.sh [uninstall].
# DESTDIR, PREFIX (default /usr/local), SYSCONFDIR (default /etc), OUT (the build folder), WEBOUT (the page's, if it was
# built), PYTHONDIR (where the Python package goes; empty: nowhere). An edited configuration stays.
set -eu
cd "$(dirname "$0")/.."
DESTDIR=${DESTDIR:-} PREFIX=${PREFIX:-/usr/local} SYSCONFDIR=${SYSCONFDIR:-/etc}
case $PREFIX$SYSCONFDIR in *[!A-Za-z0-9/._+-]*) echo "install: PREFIX and SYSCONFDIR: letters, digits and / . _ + - only" >&2; exit 2 ;; esac
case $PREFIX in /*) ;; *) echo "install: PREFIX must be absolute" >&2; exit 2 ;; esac
bin=$PREFIX/bin share=$PREFIX/share units=$PREFIX/lib/systemd/system
conf=$SYSCONFDIR/modelmapd/modelmapd.yaml
programs="modelmapd modelmap-score modelmap"
# Where zsh looks for functions: of packages, of the administrator.
zsh=$share/zsh/site-functions
[ "$PREFIX" != /usr ] || zsh=$share/zsh/vendor-completions

# Where the system's Python looks below this prefix: Debian's own packages lie in one directory for all versions.
python_dir() {
	if [ "$PREFIX" = /usr ]; then echo /usr/lib/python3/dist-packages; return; fi
	for p in /usr/bin/python3 python3; do
		v=$("$p" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
		echo "$PREFIX/lib/python$v/dist-packages"
		return
	done
}
PYTHONDIR=${PYTHONDIR-$(python_dir)}
case $PYTHONDIR in *[!A-Za-z0-9/._+-]*) echo "install: PYTHONDIR: letters, digits and / . _ + - only" >&2; exit 2 ;; esac

uninstall() {
	for p in $programs; do rm -f "$DESTDIR$bin/$p"; done
	rm -f "$DESTDIR$units/modelmapd.service" "$DESTDIR$PREFIX/lib/sysusers.d/modelmapd.conf" \
		"$DESTDIR$PREFIX/lib/tmpfiles.d/modelmapd.conf" "$DESTDIR$share/bash-completion/completions/modelmap" \
		"$DESTDIR$zsh/_modelmap"
	for m in man/*.[1-8]; do rm -f "$DESTDIR$share/man/man${m##*.}/${m#man/}"; done
	rm -rf "$DESTDIR$share/modelmapd" "$DESTDIR$share/doc/modelmapd"
	[ -z "$PYTHONDIR" ] || rm -rf "$DESTDIR$PYTHONDIR/modelmap"
	if [ -f "$DESTDIR$conf" ] && cmp -s config/modelmapd.yaml "$DESTDIR$conf"; then
		rm -f "$DESTDIR$conf"
		rmdir "$DESTDIR${conf%/*}" 2>/dev/null || true
	fi
	[ ! -f "$DESTDIR$conf" ] || echo "left: $conf (edited)"
	echo "left: the state in /var/lib/modelmapd, if there is any"
	[ -n "$DESTDIR" ] || echo "if it ran as a service: systemctl disable --now modelmapd; systemctl daemon-reload"
}

put() { # mode, source, target
	install -d -m 755 "$DESTDIR${3%/*}"
	install -m "$1" "$2" "$DESTDIR$3"
}

texts() { # the text set that comes with the program
	for f in config/texts.jsonl "$OUT/texts.jsonl"; do
		if [ -f "$f" ]; then echo "$f"; return; fi
	done
}

case ${1:-install} in
install) ;;
uninstall) uninstall; exit 0 ;;
*) echo "usage: install.sh [uninstall]" >&2; exit 2 ;;
esac

OUT=${OUT:-build/release}
for p in $programs; do put 755 "$OUT/$p" "$bin/$p"; done
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
sed -e "s|/usr/local/bin/|$bin/|g" -e "s|/etc/modelmapd/|$SYSCONFDIR/modelmapd/|g" systemd/modelmapd.service >"$tmp"
put 644 "$tmp" "$units/modelmapd.service"
put 644 systemd/modelmapd.sysusers "$PREFIX/lib/sysusers.d/modelmapd.conf"
put 644 systemd/modelmapd.tmpfiles "$PREFIX/lib/tmpfiles.d/modelmapd.conf"
for m in man/*.[1-8]; do put 644 "$m" "$share/man/man${m##*.}/${m#man/}"; done
put 644 client/completion.bash "$share/bash-completion/completions/modelmap"
put 644 client/completion.zsh "$zsh/_modelmap"
for d in README.md NEWS LICENSE; do put 644 $d "$share/doc/modelmapd/$d"; done
if [ -n "$PYTHONDIR" ]; then
	for f in client/python/modelmap/*.py client/python/modelmap/py.typed; do put 644 "$f" "$PYTHONDIR/modelmap/${f##*/}"; done
	put 644 client/python/examples/map_and_ridge.py "$share/doc/modelmapd/examples/map_and_ridge.py"
else
	echo "note: no Python here, its package is not installed (PYTHONDIR=... says where)"
fi
if [ -f "${WEBOUT:-}/index.html" ]; then
	rm -rf "$DESTDIR$share/modelmapd/web" # names of older files differ
	put 644 "$WEBOUT/index.html" "$share/modelmapd/web/index.html"
	put 644 "$WEBOUT/one-file.tmpl" "$share/modelmapd/web/one-file.tmpl" # of map --html
	for f in "$WEBOUT"/assets/*; do put 644 "$f" "$share/modelmapd/web/assets/${f##*/}"; done
fi
t=$(texts)
if [ -n "$t" ]; then
	put 644 "$t" "$share/modelmapd/texts.jsonl"
else
	echo "note: no bundled text set in this tree; the configuration must name one (texts: FILE)"
fi
for f in modelmapd.yaml prometheus-alerts.yml grafana-dashboard.json; do put 644 "config/$f" "$share/doc/modelmapd/$f"; done
if [ -f "$DESTDIR$conf" ]; then
	echo "kept: $conf"
else
	put 644 config/modelmapd.yaml "$conf"
fi
if [ -z "$DESTDIR" ]; then
	cat <<END
Installed below $PREFIX. To run it as a service:
  systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload
  systemctl enable --now modelmapd      # settings: $conf
END
fi
