"""The connection pool for one SQLite file.

SQLAlchemy's QueuePool costs 9 µs more for each transaction, and up to 16 µs more with cold caches: as much as most
statements take.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from sqlalchemy.engine import URL

from pipeline.security.private_dirs import make_private_file

WAL_KEPT_BYTES = 64 * 1024 * 1024  # a larger write-ahead log is cut back to this size at the next checkpoint


class SqliteConnection:
    """One open connection.

    `file` identifies the file that it has open, `generation` the `close` of the pool that it must not survive,
    `busy_ms` is the busy timeout that is set on it.
    """

    __slots__ = ("busy_ms", "driver", "file", "generation")

    def __init__(self, driver: sqlite3.Connection, generation: int, busy_ms: int) -> None:
        self.driver: Any = driver
        self.file: tuple[int, int] | None = None
        self.generation = generation
        self.busy_ms = busy_ms


class SqlitePool:
    """The connections of one process. It keeps up to `kept` unused connections open.

    With `durable` every commit syncs the disk. Every method raises sqlite3.Error as the driver does.
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
        self._had_file = False
        self._unused: list[SqliteConnection] = []
        self._all: set[SqliteConnection] = set()  # also those in use, which a forked child must not close

    def acquire(self) -> SqliteConnection:
        """The connection that was used last, because its page cache is warm; otherwise a new one."""
        file = self._identity()
        while connection := self._pop_unused():
            # SQLite continues to write to a file that was removed or replaced, where the data would be lost.
            if connection.file == file:
                return connection
            self._close(connection)
        return self._open()

    def release(self, connection: SqliteConnection) -> None:
        """Rolls back what was not committed, and keeps the connection for the next caller."""
        usable = not connection.driver.in_transaction or _roll_back(connection.driver)
        if usable and connection.generation == self._generation and len(self._unused) < self._kept:
            self._unused.append(connection)
        else:
            self._close(connection)

    def discard(self, connection: SqliteConnection) -> None:
        """Closes this connection and all others: whatever broke it may have broken them."""
        self._close(connection)
        self.close()

    def close(self) -> None:
        """Closes the unused connections now, and those in use when they are released."""
        self._generation += 1
        while connection := self._pop_unused():
            self._close(connection)

    def connect(self) -> sqlite3.Connection:
        """Opens a connection outside of the pool, which the caller closes. Its transactions are begun explicitly."""
        self._refuse_removed()
        options = {**self._options, "timeout": self._wait_s, "check_same_thread": False, "isolation_level": None}
        if not self._path.startswith("file:"):  # SQLite gives its log and shared memory the mode of the database
            make_private_file(self._path)
        driver: sqlite3.Connection = sqlite3.connect(*self._arguments, **options)
        try:
            _prepare(driver, durable=self._durable)
        except BaseException:
            driver.close()
            raise
        return driver

    def _refuse_removed(self) -> None:
        """Raises sqlite3.OperationalError if the file was moved away: an empty one in its place ends its log.

        SQLite deletes the write-ahead log of an empty file, and with it the last commits of the one that returns.
        """
        if self._identity() is not None or self._path.startswith((":memory:", "file:")) or not self._path:
            return
        log = f"{self._path}-wal"
        if _has_content(log):
            raise sqlite3.OperationalError(f"the file is missing and its log {log} is there: move both, or return it")
        if self._had_file:
            raise sqlite3.OperationalError("the file is missing")

    def _pop_unused(self) -> SqliteConnection | None:
        try:
            return self._unused.pop()
        except IndexError:  # a check before the pop would race with other threads
            return None

    def _open(self) -> SqliteConnection:
        connection = SqliteConnection(self.connect(), self._generation, int(self._wait_s * 1000))
        connection.file = self._identity()
        self._had_file = self._had_file or connection.file is not None
        self._all.add(connection)
        return connection

    def _close(self, connection: SqliteConnection) -> None:
        self._all.discard(connection)
        connection.driver.close()

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._path)  # noqa: PTH116  runs for every transaction, and is four times as fast as a Path
        except OSError:
            return None
        return status.st_dev, status.st_ino


def _has_content(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0  # noqa: PTH116  as above
    except OSError:
        return False


def _roll_back(driver: sqlite3.Connection) -> bool:
    try:
        driver.rollback()
    except sqlite3.Error:
        return False
    return True


def _prepare(driver: sqlite3.Connection, *, durable: bool) -> None:
    # Only the first connection to a new file has to switch: switching locks the whole file and may find it busy.
    if driver.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        driver.execute("PRAGMA journal_mode = WAL")
    driver.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    # Overwrites what an update or a deletion frees: otherwise the media keys of done attachments stay in the pages.
    driver.execute("PRAGMA secure_delete = ON")
    driver.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
