#!/bin/sh
# Runs a command as process 1 of a container, as a runtime would: read-only root, /tmp in memory, a volume at /data, the
# user of the image, no capabilities, no new privileges. The network is the machine's. MEMORY_MAX is what the container
# sees as its limit; nothing enforces it.
# container.sh ROOT NAME VOLUME ro|rw USER DIRECTORY [VARIABLE=VALUE…] COMMAND…
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --mount --propagation private --pid --uts --fork -- "$0" inside "$@"
fi
shift
root=$1 name=$2 volume=$3 mode=$4 user=$5 directory=$6
shift 6
hostname "$name"
mount --bind "$root" "$root"
mount -o "remount,bind,ro,nosuid,nodev" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,mode=755 tmpfs "$root/dev"
for device in null zero full random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
mount -t tmpfs -o nosuid,nodev,noexec tmpfs "$root/dev/shm"
mount -t tmpfs -o nosuid,nodev,noexec tmpfs "$root/tmp"
mount -t tmpfs -o nosuid,nodev,noexec tmpfs "$root/sys"
mkdir -p "$root/sys/fs/cgroup"
echo "${MEMORY_MAX:-max}" >"$root/sys/fs/cgroup/memory.max"
mount --bind "$volume" "$root/data"
mount -o "remount,bind,$mode,nosuid,nodev" "$root/data"
cd /
exec chroot "$root" setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all -- env --ignore-environment --chdir="$directory" "$@"
