"""Files and directories that only their owner can read: databases and files with media keys, signed URLs and media.

The processes of Esteira set their umask. A listener that calls `process_media()` keeps its own, so everything that
may be created there has an explicit mode.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

PRIVATE_UMASK = 0o077
PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700


def set_private_umask() -> None:
    """Makes this process and its children create files with mode 0600 and directories with mode 0700 at most."""
    os.umask(PRIVATE_UMASK)


def make_private_dir(folder: Path) -> None:
    """Creates a directory and its missing parents with mode 0700. Existing directories are not changed.

    Raises:
        OSError: it cannot be created, or is a file.
    """
    if folder.is_dir():
        return
    make_private_dir(folder.parent)  # mkdir(parents=True) would give the parents the default mode
    folder.mkdir(mode=PRIVATE_DIR, exist_ok=True)


def private_opener(path: str, flags: int) -> int:
    """The `opener` of `open` that creates a file with mode 0600."""
    return os.open(path, flags | os.O_CLOEXEC, PRIVATE_FILE)


def make_private_file(path: str | os.PathLike[str]) -> None:
    """Creates an empty file with mode 0600. An existing one is not changed, and errors are left to its next user."""
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))


def tighten(path: Path) -> bool:
    """Removes the permissions of others from an existing file. Returns whether it had any.

    A group that may write keeps its permissions, because the file is shared with it on purpose. One that may only read
    has them from a default umask.

    Raises:
        OSError: it does not exist, or this process does not own it.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    private = mode & ~(0o007 if mode & stat.S_IWGRP else 0o077)
    if private != mode:
        path.chmod(private)
    return private != mode
