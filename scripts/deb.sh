#!/bin/bash
# Makes the Debian packages: deb.sh BUILD, the build folder; what comes out lies in BUILD/deb, what belongs to an upload in
# BUILD/deb/all. The tree is copied first (what git knows or would take; without git, all but build folders), so that debian/ and the
# objects of a build of one's own stay as they are. The page for a browser comes from BUILD/web, if `make web` could make it. Ends with
# lintian, where that is installed.
set -eu
cd "$(dirname "$0")/.."
build=$(readlink -f "$1")
version=$(sed -nE '1s/^modelmapd \(([^)]*)\).*/\1/p' debian/changelog)
want=$(sed -nE 's/^#define MM_VERSION "(.*)"/\1/p' lib/base/base.h)
[ "$version" = "$want" ] || { echo "deb: debian/changelog has version $version, the sources are $want" >&2; exit 1; }
out=$build/deb src=$build/deb/modelmapd-$version
rm -rf "$out"
mkdir -p "$src"
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
	git ls-files -coz --exclude-standard | while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
		tar -c --null -T - | tar -x -C "$src"
else
	tar -c --exclude='./build*' --exclude=node_modules --exclude=__pycache__ . | tar -x -C "$src"
fi
if [ "${WEB:-1}" != 0 ] && [ -f "$build/web/index.html" ]; then
	export WEBOUT=$build/web
else
	echo "deb: without the page for a browser"
	export WEBOUT=/nonexistent WEB=0
fi
log=$out/build.log
(cd "$src" && dpkg-buildpackage -us -uc -b >"$log" 2>&1) || { tail -n 30 "$log"; echo "deb: dpkg-buildpackage fails; all of it: $log" >&2; exit 1; }
rm -rf "$src"
if command -v lintian >/dev/null; then
	lintian --fail-on error --tag-display-limit 0 --allow-root "$out"/*.changes || { echo "deb: lintian has found errors" >&2; exit 1; }
	echo "deb: lintian has no errors"
else
	echo "deb: no lintian here, the packages are not looked at"
fi
# What one installs lies alone; beside it all that belongs to an upload, symbols for a debugger too.
mkdir "$out/all"
mv "$out"/*.deb "$out"/*.changes "$out"/*.buildinfo "$out/all"
for f in "$out"/all/*.deb; do case $f in *-dbgsym_*) ;; *) ln "$f" "$out" ;; esac; done
ls -sh "$out"/*.deb
