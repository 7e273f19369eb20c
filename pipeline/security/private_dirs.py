"""Files and directories that only their owner can read: databases and files with media keys, signed URLs and media.

The processes of Esteira set their umask. A listener that calls `process_media()` keeps its own, so everything that
may be created there has an explicit mode.

A directory is shared if its group may write and new entries get its group (mode 2770): an operator has prepared it for
processes of several users. Files and directories that are created in it are for that group too, whatever the umask.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

PRIVATE_UMASK = 0o077
PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700
SHARED_FILE = 0o660
SHARED_DIR = 0o2770
SHARED_BITS = stat.S_ISGID | stat.S_IWGRP


def set_private_umask() -> None:
    """Makes this process and its children create files with mode 0600 and directories with mode 0700 at most."""
    os.umask(PRIVATE_UMASK)


def is_shared(folder: str | os.PathLike[str]) -> bool:
    """Whether this is a directory that its group may write and whose group new entries get."""
    try:
        mode = os.stat(folder).st_mode  # noqa: PTH116  for each file that is created; a Path costs more
    except OSError:
        return False
    return stat.S_ISDIR(mode) and mode & SHARED_BITS == SHARED_BITS


def make_private_dir(folder: Path) -> None:
    """Creates a directory and its missing parents with mode 0700, in a shared directory with 2770.

    Existing directories are not changed.

    Raises:
        OSError: it cannot be created, or is a file.
    """
    if folder.is_dir():
        return
    make_private_dir(folder.parent)  # mkdir(parents=True) would give the parents the default mode
    create_dir(folder)


def create_dir(folder: Path) -> None:
    """Creates one directory as `make_private_dir` does. Its parent exists; another process may create it too.

    Raises:
        OSError: it cannot be created, or is a file.
    """
    try:
        folder.mkdir(mode=PRIVATE_DIR)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    if is_shared(folder.parent):
        folder.chmod(SHARED_DIR)


def private_opener(path: str, flags: int) -> int:
    """The `opener` of `open` that creates a file with mode 0600, in a shared directory with 0660.

    Raises:
        OSError: as `os.open`.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC, PRIVATE_FILE)
    if is_shared(os.path.dirname(path) or "."):  # noqa: PTH120  see is_shared
        with suppress(PermissionError):  # an existing file of another user
            os.fchmod(descriptor, SHARED_FILE)
    return descriptor


def make_private_file(path: str | os.PathLike[str]) -> None:
    """Creates an empty file as `private_opener` does, or leaves it as it is. Errors are left to its next user."""
    with suppress(OSError):
        os.close(private_opener(os.fspath(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL))


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
