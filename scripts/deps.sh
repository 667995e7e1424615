#!/bin/sh
# Installs the Debian packages that a stage needs: deps.sh build [test] [deb]. Says what it does; silent when all is there.
set -eu
build="gcc make pkg-config libsystemd-dev liblmdb-dev libzmq3-dev libopenblas-dev liblapacke-dev libjansson-dev
 libyaml-dev libpcre2-dev libutf8proc-dev libxxhash-dev libdnnl-dev libmicrohttpd-dev"
test="libcmocka-dev clang clang-format shellcheck python3 python3-zmq
 python3-numpy python3-pytest mypy systemd dbus lmdb-utils mandoc librsvg2-bin tmux zsh"
deb="dpkg-dev debhelper dh-python lintian"
want=""
for stage in "$@"; do
	case $stage in
	build) want="$want $build" ;;
	test) want="$want $test" ;;
	deb) want="$want $deb" ;;
	*) echo "usage: deps.sh build|test|deb ..." >&2; exit 2 ;;
	esac
done
command -v dpkg-query >/dev/null 2>&1 || {
	echo "Not a Debian system: please install the equivalents of:$want" | tr -s '\n ' ' ' >&2; echo >&2
	exit 0
}
missing=""
for p in $want; do
	case $(dpkg-query -W -f='${Status}' "$p" 2>/dev/null || true) in
	"install ok installed") ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0
sudo=""
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || { echo "Missing packages; install them as root:  apt-get install$missing" >&2; exit 1; }
	sudo="sudo"
fi
echo "Installing with apt-get${sudo:+ (through sudo)}:$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # the list is meant to be split
$sudo apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 || {
	$sudo apt-get update >/dev/null && $sudo apt-get install -y --no-install-recommends $missing >/dev/null
}
