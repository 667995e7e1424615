# shellcheck shell=bash
# systemd.sh - what the tests of the service share: a machine of its own in namespaces, booted by systemd-boot.sh.
#
#   machine_needs           skips where that cannot be done
#   machine_begin           $tmp; the machine and the directory are gone at the end
#   machine_boot STAGE      boots it with the files of STAGE put over a copy of this machine's root
#   in_ns COMMAND...        runs there; mm ARGS... the client, show PROPERTY of the service, journal_has TEXT
#   until_true SECONDS TEXT COMMAND... | idle | scored N | active | fail TEXT
skip() { echo "skip: $*"; exit 77; }

machine_needs() {
	[ "$(id -u)" = 0 ] || skip "namespaces and systemd need root"
	for t in unshare nsenter pivot_root systemd-analyze; do
		command -v $t >/dev/null || skip "no $t here"
	done
	[ -x /lib/systemd/systemd ] || skip "no systemd here"
}

boot="" init=""
machine_begin() {
	tmp=$(mktemp -d "${TMPDIR:-/tmp}/mm-systemd.XXXXXX") || exit 1
	before=$(find /sys/fs/cgroup -type d 2>/dev/null | sort)
	trap machine_end EXIT
	trap 'exit 130' INT TERM
}

machine_end() {
	local rc=$?
	[ -z "$init" ] || kill -KILL "$init" 2>/dev/null # all of its namespace goes with it
	[ -z "$boot" ] || wait "$boot" 2>/dev/null
	# systemd's groups stay behind in the machine's cgroup tree: ours are empty now.
	comm -13 <(echo "$before") <(find /sys/fs/cgroup -type d 2>/dev/null | sort) | sort -r |
		grep -E '/(init\.scope|[^/]*\.(slice|service|mount|socket|scope))(/|$)' | while read -r g; do rmdir "$g" 2>/dev/null; done
	rm -rf "$tmp"
	exit $rc
}

in_ns() { (cd / && exec nsenter --all --target "$init" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 "$@"); }
fail() {
	echo "FAIL: $*"
	[ -z "$init" ] || in_ns journalctl -q -o short-monotonic --no-pager -u modelmapd 2>/dev/null | tail -n 40
	exit 1
}
until_true() { # seconds, what, command...: waits for it
	local n=$(($1 * 5)) what=$2
	shift 2
	while ! "$@" >/dev/null 2>&1; do
		[ $((n -= 1)) -gt 0 ] || fail "waited in vain: $what"
		sleep 0.2
	done
}

mm() { in_ns modelmap "$@"; }
show() { in_ns systemctl show -P "$1" modelmapd; }
journal_has() { in_ns journalctl -q --no-pager -u modelmapd | grep -qF -- "$1"; }
idle() { mm watch --until-idle --timeout 300 >/dev/null || fail "not idle after 300 s"; }
scored() { [ "$(mm --json models | grep -o '"state": *"scored"' | wc -l)" = "$1" ]; }
active() { [ "$(show ActiveState)" = active ]; }

machine_boot() { # STAGE
	mkdir -p "$tmp/scratch"
	setsid unshare --pid --fork --mount --uts --ipc --cgroup --mount-proc --kill-child=KILL \
		"$PWD/tests/e2e/systemd-boot.sh" "$tmp/scratch" "$1" </dev/null >"$tmp/boot.log" 2>&1 &
	boot=$!
	for _ in $(seq 150); do
		if ! kill -0 $boot 2>/dev/null; then
			wait $boot
			rc=$?
			boot=""
			[ $rc != 77 ] || skip "$(sed -n 's/^skip: //p' "$tmp/boot.log" | tail -n 1)"
			# unshare itself refused: no such namespace for us here
			grep -qE '^unshare: ' "$tmp/boot.log" && skip "$(tail -n 1 "$tmp/boot.log")"
			cat "$tmp/boot.log"
			exit 1
		fi
		init=$(pgrep -P $boot 2>/dev/null | head -n 1)
		if [ -n "$init" ]; then
			[ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ] && in_ns systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded' && break
		fi
		init=""
		sleep 0.2
	done
	[ -n "$init" ] || { cat "$tmp/boot.log"; fail "systemd did not come up"; }
	echo "systemd is $(in_ns systemctl is-system-running), version $(in_ns systemctl --version | head -n 1)"
}
