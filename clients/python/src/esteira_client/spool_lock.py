"""The lock of a spool folder: of all processes that use it, one sends. The protocol is that of clients/README.md."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from pathlib import Path

RENEW_S = 2.0
STALE_S = 10.0  # without a renewal: its process is dead, or hangs
DISK_IS_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class SpoolLock:
    """The file `lock`: its owner renews its modification time every RENEW_S. Methods block shortly."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._mark = ""

    def acquire(self) -> bool:
        """Takes the lock if it is free or stale; true if this process may send now."""
        if self._mark and self.renew():
            return True
        try:
            # A time in the future: the clock was set back, and the owner would have renewed the lock since.
            if abs(time.time() - self._path.stat().st_mtime) > STALE_S:
                self._take_away()
        except FileNotFoundError:
            if not self._path.parent.is_dir():
                return False
        try:
            return self._create()
        except OSError as error:
            if error.errno not in DISK_IS_FULL:
                raise
            return True  # without a lock: only sending makes room on a full disk

    def renew(self) -> bool:
        """Renews the lock; false if another process has taken it over, because this one hung."""
        try:
            if self._path.read_text() != self._mark:
                self._mark = ""
                return False
            os.utime(self._path)
        except FileNotFoundError:
            self._mark = ""
            return False
        return True

    def release(self) -> None:
        if self._mark and self.renew():
            self._path.unlink(missing_ok=True)
        self._mark = ""

    def _take_away(self) -> None:
        taken = self._path.with_name(f"lock-{secrets.token_hex(4)}.tmp")
        with contextlib.suppress(FileNotFoundError):
            self._path.rename(taken)
            taken.unlink()

    def _create(self) -> bool:
        mark = f"{os.getpid()} {secrets.token_hex(8)}\n"
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return False
        try:
            with os.fdopen(descriptor, "w") as out:
                out.write(mark)
        except OSError:
            self._path.unlink(missing_ok=True)
            raise
        self._mark = mark
        return True
