"""Says why a file or folder cannot be written, and what to do about it: owner, own user, read-only or full disk."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from tempfile import TemporaryFile

from pipeline.security.private_dirs import make_private_dir

DENIED = frozenset({errno.EACCES, errno.EPERM})
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def folder_fault(folder: Path) -> str | None:
    """Why no file can be written in a folder; None if it can. A missing folder is made."""
    try:
        make_private_dir(folder)
        with TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
            probe.flush()
    except OSError as error:
        return write_fault(folder, error)
    return None


def write_fault(path: Path, error: OSError) -> str:
    """One line on a path that cannot be written: the reason, and the remedy."""
    return f"cannot write to {path}: {error.strerror}{_remedy(path, error)}"


def _remedy(path: Path, error: OSError) -> str:
    number = error.errno
    if number in DENIED:
        return _ownership(path, _nearest(path))
    if number == errno.EROFS:
        return "; its file system is read-only: mount a volume there, or choose another path"
    if number in FULL:
        return "; free space on its disk, or choose another path"
    return ""


def _ownership(path: Path, existing: Path) -> str:
    try:
        state = existing.stat()
    except OSError:
        return f"; this process runs as user {os.geteuid()}"
    owner, own = state.st_uid, os.geteuid()
    text = f"; {existing} belongs to user {owner} (mode {stat.S_IMODE(state.st_mode):04o})"
    text += f", and this process runs as user {own}, group {os.getegid()}"
    if owner == own:
        return f"{text}: chmod u+rwx {existing}"
    if existing != path:  # never a command that changes all that is in the folder above
        return f"{text}: make it as root with `install -d -o {own} -g {os.getegid()} {path}`"
    return f"{text}: run it as user {owner}, or `chown -R {own} {existing}`"


def _nearest(path: Path) -> Path:
    """The path, or the first of its parents that exists: what the permission is missing on."""
    for candidate in (path, *path.parents):
        try:
            candidate.lstat()
        except OSError:
            continue
        return candidate
    return path
