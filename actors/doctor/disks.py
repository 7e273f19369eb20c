"""Free disk space and filesystem types."""

from __future__ import annotations

import os
import re
from pathlib import Path

from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.values.paths import nearest_existing

MOUNTS = Path("/proc/self/mountinfo")  # proc(5): a line for each mount
NETWORK = re.compile(r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|glusterfs|lustre|beegfs|gpfs|davfs|fuse\.(?!ext|ntfs).*")
ESCAPED = re.compile(r"\\([0-7]{3})")  # mountinfo writes a space in a path as \040
UNKNOWN = "an unknown file system"
MEMORY = frozenset({"tmpfs", "ramfs"})
LOW_BYTES, MIN_BYTES = 1_000_000_000, 50_000_000  # below the first: a warning; below the second: a failure
LOW_INODES, MIN_INODES = 10_000, 100


def filesystem(path: Path) -> str:
    """The type of the filesystem that contains the path, as `mount` names it; UNKNOWN without /proc."""
    resolved = nearest_existing(path).resolve()
    try:
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return UNKNOWN
    nearest, kind = Path("/"), UNKNOWN
    for line in lines:  # in the order of mounting: a later mount on the same directory hides an earlier one
        mount, _, rest = line.partition(" - ")
        point = Path(ESCAPED.sub(lambda match: chr(int(match[1], 8)), mount.split()[4]))
        if resolved.is_relative_to(point) and point.is_relative_to(nearest):
            nearest, kind = point, rest.split()[0]
    return kind


def is_network(kind: str) -> bool:
    """Whether a filesystem of this type is on another machine."""
    return NETWORK.fullmatch(kind) is not None


def check_free_space(name: str, path: Path, *, low_bytes: int = LOW_BYTES) -> Finding:
    """Check free bytes and inodes of the path's disk; fewer than `low_bytes` free bytes give a warning."""
    check = f"{name} disk"
    disk = os.statvfs(nearest_existing(path))
    free = disk.f_bavail * disk.f_frsize
    message = f"{free / 1e9:.1f} GB free at {path}"
    remedy = "free some space, or use a larger disk"
    inodes = disk.f_favail if disk.f_files else LOW_INODES  # some filesystems have no inode limit
    if free < MIN_BYTES or inodes < MIN_INODES:
        return fail(check, f"{message}, {inodes} inodes: the disk is full", remedy)
    if inodes < LOW_INODES:
        return warn(check, f"{message}, but only {inodes} inodes", remedy)
    if free < low_bytes:
        return warn(check, f"{message}, less than {low_bytes / 1e9:.1f} GB", remedy)
    return ok(check, message)
