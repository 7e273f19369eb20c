"""The files of the intake spool: their sizes and names, leftovers, and syncing."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from pipeline.intake_spool.usage import disk_bytes

LEFTOVER_S = 3600.0  # a file in progress that is older was left by a process that died


def size_on_disk(file: Path) -> int:
    """What a file takes of the disk in bytes; 0 if there is none."""
    try:
        return disk_bytes(file.stat().st_size)
    except FileNotFoundError:
        return 0


def listed(folder: Path) -> list[str]:
    """The names in a folder; none if it is missing."""
    try:
        return os.listdir(folder)  # noqa: PTH208  a Path for each of 100,000 entries takes half a second
    except FileNotFoundError:
        return []


def remove_leftover(file: Path) -> None:
    """Removes a file that a process has left which died, once it is old enough that none is writing it."""
    with suppress(OSError):
        if time.time() - file.stat().st_mtime > LEFTOVER_S:
            file.unlink()


def sync_folder(folder: Path) -> None:
    """Syncs the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
