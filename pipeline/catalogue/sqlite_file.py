"""One SQLite file: connections to it, kept open for whoever comes next.

A pool of its own: SQLAlchemy's costs 14 µs a transaction, as much as the statement of most.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from sqlalchemy.engine import URL

WAL_KEPT_BYTES = 64 * 1024 * 1024


class Opened:
    """A connection to the file that had this identity then. It was last told to wait `patience_ms` for locks."""

    __slots__ = ("driver", "file", "generation", "patience_ms")

    def __init__(self, driver: sqlite3.Connection, generation: int, patience_ms: int) -> None:
        self.driver: Any = driver
        self.file: tuple[int, int] | None = None
        self.generation = generation
        self.patience_ms = patience_ms


class SqliteFile:
    """The connections of one process. `durable` syncs the disk at every commit; so many are `kept` open while unused.

    Every method raises sqlite3.Error as the driver does.
    """

    def __init__(self, url: URL, *, durable: bool, wait_s: float, kept: int) -> None:
        self._path = str(url.database)
        arguments, options = url.get_dialect()().create_connect_args(url)
        self._arguments: Any = arguments
        self._options: Any = options
        self._durable = durable
        self._wait_s = wait_s
        self._kept = kept
        self._generation = 0
        self._free: list[Opened] = []
        self._all: set[Opened] = set()  # also those in use, which a fork must not close

    def take(self) -> Opened:
        """The connection that was used last, for its pages are still at hand; else a new one."""
        file = self._identity()
        while opened := self._popped():
            # SQLite goes on writing to a file that was removed or replaced, where nobody will ever find it.
            if opened.file == file:
                return opened
            self._close(opened)
        return self._open()

    def give_back(self, opened: Opened) -> None:
        """Undoes what was not committed, and keeps it for the next."""
        whole = not opened.driver.in_transaction or _rolled_back(opened.driver)
        if whole and opened.generation == self._generation and len(self._free) < self._kept:
            self._free.append(opened)
        else:
            self._close(opened)

    def discard(self, opened: Opened) -> None:
        """Closes it and every other one: what it has met, they may meet."""
        self._close(opened)
        self.close()

    def close(self) -> None:
        """Closes those that nobody uses, and the others when they come back."""
        self._generation += 1
        while opened := self._popped():
            self._close(opened)

    def connect(self) -> sqlite3.Connection:
        """A new connection, which whoever asks for it closes. Its transactions are begun by hand."""
        options = {**self._options, "timeout": self._wait_s, "check_same_thread": False, "isolation_level": None}
        driver: sqlite3.Connection = sqlite3.connect(*self._arguments, **options)
        try:
            _prepare(driver, durable=self._durable)
        except BaseException:
            driver.close()
            raise
        return driver

    def _popped(self) -> Opened | None:
        try:
            return self._free.pop()
        except IndexError:  # asked for rather than looked up before: another thread may be faster
            return None

    def _open(self) -> Opened:
        opened = Opened(self.connect(), self._generation, int(self._wait_s * 1000))
        opened.file = self._identity()
        self._all.add(opened)
        return opened

    def _close(self, opened: Opened) -> None:
        self._all.discard(opened)
        opened.driver.close()

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116  asked at every use, and four times as fast as a Path
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _rolled_back(driver: sqlite3.Connection) -> bool:
    try:
        driver.rollback()
    except sqlite3.Error:
        return False
    return True


def _prepare(driver: sqlite3.Connection, *, durable: bool) -> None:
    # Only the first connection to a new file has to switch: switching takes the file alone, and may find it busy.
    if driver.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        driver.execute("PRAGMA journal_mode = WAL")
    driver.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    driver.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
