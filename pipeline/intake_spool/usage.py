"""How much the intake spool holds, counted in a small file that all processes lock for each change."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.security.private_dirs import private_opener

BLOCK_BYTES = 4096  # a smaller file takes as much of the disk
_LINE = re.compile(rb"([0-9]{16,19}) ([0-9]{20}) ([0-9]{20})\n")


@dataclass
class Usage:
    """`sequence` is that of the newest entry; `entries` and `size_bytes` count what is there now."""

    sequence: int = 0
    entries: int = 0
    size_bytes: int = 0

    def add(self, size_bytes: int) -> None:
        self.entries += 1
        self.size_bytes += size_bytes

    def subtract(self, size_bytes: int) -> None:
        self.entries = max(0, self.entries - 1)
        self.size_bytes = max(0, self.size_bytes - size_bytes) if self.entries else 0


def disk_bytes(size: int) -> int:
    """What a file of this size takes of the disk: whole blocks."""
    return max(1, -(-size // BLOCK_BYTES)) * BLOCK_BYTES


@contextmanager
def lock(path: Path, *, wait: bool) -> Iterator[int | None]:
    """Locks a file against all other processes and threads; yields its descriptor, or None if another one has it.

    Raises:
        OSError: the file cannot be created.
    """
    descriptor = private_opener(os.fspath(path), os.O_RDWR | os.O_CREAT)
    try:
        if not _try_lock(descriptor, wait=wait):
            yield None
            return
        try:
            yield descriptor
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was forked meanwhile has the same lock
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked_usage(path: Path, count: Callable[[], Usage], *, trusted: bool) -> Iterator[Usage]:
    """The usage, which is written back if the block changes it.

    It is counted anew unless it is `trusted`: a process that died, or a power failure, may have left it wrong.
    """
    with lock(path, wait=True) as descriptor:
        assert descriptor is not None
        known = _parse(os.pread(descriptor, 128, 0))
        usage = known
        if usage is None or not trusted:
            usage = count()
            usage.sequence = max(usage.sequence, known.sequence if known else 0)
        before = known if trusted else None
        usage = replace(usage)
        yield usage
        if usage != before:
            os.pwrite(descriptor, b"%016d %020d %020d\n" % (usage.sequence, usage.entries, usage.size_bytes), 0)


def read_usage(path: Path) -> Usage:
    """The usage at this moment, without waiting; zero if there is none.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        return _parse(path.read_bytes()) or Usage()
    except FileNotFoundError:
        return Usage()


def _parse(content: bytes) -> Usage | None:
    match = _LINE.fullmatch(content)
    return Usage(int(match[1]), int(match[2]), int(match[3])) if match else None
