"""Room on a disk, and what kind of filesystem it is."""

from __future__ import annotations

import os
import re
from pathlib import Path

from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.values.paths import nearest_existing

MOUNTS = Path("/proc/self/mountinfo")  # proc(5): a line for each mount
NETWORK = re.compile(r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|glusterfs|lustre|beegfs|gpfs|davfs|fuse\.(?!ext|ntfs).*")
ESCAPED = re.compile(r"\\([0-7]{3})")  # a blank within a path is \040
MEMORY = frozenset({"tmpfs", "ramfs"})
LITTLE_BYTES, NO_BYTES = 1_000_000_000, 50_000_000
LITTLE_INODES, NO_INODES = 10_000, 100


def filesystem(path: Path) -> str:
    """The type of the filesystem that holds the path, as `mount` names it; `unknown` where nobody says."""
    place = nearest_existing(path).resolve()
    try:
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return "unknown"
    nearest, kind = Path("/"), "unknown"
    for line in lines:  # what was mounted later lies on top
        mount, _, rest = line.partition(" - ")
        point = Path(ESCAPED.sub(lambda found: chr(int(found[1], 8)), mount.split()[4]))
        if place.is_relative_to(point) and point.is_relative_to(nearest):
            nearest, kind = point, rest.split()[0]
    return kind


def is_network(kind: str) -> bool:
    return NETWORK.fullmatch(kind) is not None


def check_room(name: str, path: Path, *, wanted: int = LITTLE_BYTES) -> Finding:
    """Free bytes and inodes of the disk that holds the path; `wanted` bytes are enough."""
    check = f"{name} disk"
    there = os.statvfs(nearest_existing(path))
    free = there.f_bavail * there.f_frsize
    message = f"{free / 1e9:.1f} GB free at {path}"
    remedy = "make room, or move it to a larger disk"
    inodes = there.f_favail if there.f_files else LITTLE_INODES  # some filesystems count none
    if free < NO_BYTES or inodes < NO_INODES:
        return fail(check, f"{message}, {inodes} inodes: nothing more goes in", remedy)
    if inodes < LITTLE_INODES:
        return warn(check, f"{message}, but only {inodes} inodes", remedy)
    if free < wanted:
        return warn(check, f"{message}, less than {wanted / 1e9:.1f} GB", remedy)
    return ok(check, message)
