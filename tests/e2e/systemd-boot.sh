#!/bin/bash
# Helper of test_systemd.sh, run as the first process of fresh namespaces: systemd-boot.sh SCRATCH STAGE.
# Makes an overlay over the root file system whose upper side is memory, so that nothing the booted systemd or the test does
# reaches the machine, puts the staged files in, and becomes systemd. Exit 77: this cannot be done here.
set -eu
D=$1 stage=$2
cannot() { echo "skip: $*"; exit 77; }
mount --make-rprivate / || cannot "no private mounts"
mount -t tmpfs -o mode=755 tmpfs "$D" || cannot "no tmpfs"
mkdir "$D/up" "$D/work" "$D/root"
mount -t overlay -o "lowerdir=/,upperdir=$D/up,workdir=$D/work" overlay "$D/root" || cannot "no overlay file system"
groups=$(awk '$3 == "cgroup" || $3 == "cgroup2" {print $3, $2, $4}' /proc/mounts)
R=$D/root

# ---- kernel file systems, of our namespaces; a /dev of our own, so that nobody makes nodes in the machine's ----
mount -t proc proc "$R/proc"
mount -t sysfs sysfs "$R/sys" || cannot "no sysfs"
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
	mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup" || cannot "no cgroup2"
else
	mount -t tmpfs -o mode=755 tmpfs "$R/sys/fs/cgroup"
	echo "$groups" | while read -r type at opts; do
		mkdir -p "$R$at"
		only=$(echo "$opts" | tr , '\n' | grep -vE '^(rw|ro|relatime|nosuid|nodev|noexec)$' | paste -sd, || true)
		mount -t "$type" ${only:+-o "$only"} "$type" "$R$at" || cannot "no $type at $at"
	done
fi
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
for n in null zero full random urandom tty; do
	touch "$R/dev/$n" && mount --bind "/dev/$n" "$R/dev/$n"
done
mkdir "$R/dev/pts" "$R/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$R/dev/pts"
ln -s pts/ptmx "$R/dev/ptmx"
ln -s /proc/self/fd "$R/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$R/dev/shm"
for t in run tmp var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$R/$t"; done
chmod 755 "$R/run"
mkdir "$R/run/lock" "$R/.old"

# ---- what must not happen: mounts of real disks, settings of the running kernel, services of this machine ----
: >"$R/etc/fstab"
rm -rf "$R"/etc/systemd/system/*.wants "$R"/etc/systemd/system/*.requires
mkdir -p "$R/etc/systemd/system"
for u in systemd-sysctl.service systemd-modules-load.service systemd-binfmt.service systemd-remount-fs.service \
	systemd-tmpfiles-setup-dev.service systemd-update-utmp.service systemd-udevd.service systemd-udev-trigger.service \
	systemd-random-seed.service systemd-pstore.service systemd-hwdb-update.service systemd-timesyncd.service \
	systemd-machine-id-commit.service kmod-static-nodes.service modprobe@.service ldconfig.service timers.target \
	systemd-udevd-control.socket systemd-udevd-kernel.socket proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount \
	dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
	sys-fs-fuse-connections.mount; do
	ln -sfn /dev/null "$R/etc/systemd/system/$u"
done
cp -a "$stage/." "$R/"

cd "$R"
pivot_root . .old || cannot "no pivot_root"
cd /
umount -l /.old
exec env -i container=modelmapd-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=basic.target \
	--show-status=no --log-target=journal
