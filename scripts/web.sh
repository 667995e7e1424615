#!/bin/bash
# Builds the page for a browser: web.sh TARGET (a directory). Needs node and npm and, the first time, the packages of
# client/web/package-lock.json from npm. Where that cannot be had it says so in one line and ends with 77: everything else works
# without the page. WEB=0: not wanted.
set -eu
cd "$(dirname "$0")/.."
target=$1
case $target in /*) ;; *) target=$PWD/$target ;; esac
skip() { echo "skip: no page for a browser: $*"; exit 77; }
[ "${WEB:-1}" != 0 ] || skip "WEB=0"
command -v node >/dev/null && command -v npm >/dev/null || skip "node and npm are not here"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] || skip "node $(node --version) is older than 18"
cd client/web
if [ -f "$target/one-file.tmpl" ] && [ -z "$(find src index.html package-lock.json vite.config.js tsconfig.json -newer "$target/index.html" -print -quit)" ]; then exit 0; fi
if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	timeout 600 npm ci --ignore-scripts --fetch-retries=1 --fetch-timeout=30000 >/tmp/modelmap-npm.$$ 2>&1 || {
		said=$(grep -m1 'npm error' /tmp/modelmap-npm.$$ || true)
		rm -f /tmp/modelmap-npm.$$
		skip "npm ci fails (no network?): $said"
	}
	rm -f /tmp/modelmap-npm.$$
	touch node_modules/.package-lock.json
fi
node_modules/.bin/tsc --noEmit
node_modules/.bin/vite build --logLevel warn --outDir "$target" --emptyOutDir
