"""Connections and transactions. SQLAlchemy compiles the statements, the driver runs them.

Running the compiled text on the driver takes 55 µs for a transaction of two statements, against 125 µs through
SQLAlchemy's Connection (Python 3.11, SQLite). An attachment has four transactions, which justifies this module.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Executable
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pipeline.catalogue.engines import CONNECTIONS, WAIT_S, PostgresqlPool, database_url, open_postgresql, open_sqlite
from pipeline.catalogue.session import Compile, Parameters, PostgresqlSession, Session, SqliteSession, WaitBudget
from pipeline.catalogue.sqlite_pool import SqlitePool
from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.security.private_dirs import tighten

T = TypeVar("T")

REMEDY = "run `esteira migrate` once; `esteira start` does it too"
UNDEFINED_TABLE = "42P01"  # PostgreSQL manual, appendix A

log = structlog.get_logger()

_write_locks: dict[str, threading.Lock] = {}  # by path: one writer per file in this process
_databases: weakref.WeakSet[Database] = weakref.WeakSet()


class CatalogueError(PermanentError):
    """Raised when the tables are not those of this version. The message names the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.CATALOGUE, message)


class LostConnectionError(RetryableError):
    """Raised when the server is gone. `undone`: nothing was committed, so the work may be repeated at once."""

    def __init__(self, message: str, *, undone: bool) -> None:
        super().__init__(Code.CATALOGUE, message)
        self.undone = undone


class Database:
    """One SQLite file or PostgreSQL database, for all threads of a process.

    `wait_s` is how long a transaction waits in total: for its turn in this process, a connection and locks.
    A forked child opens its own connections. It neither uses nor closes those that it inherited.
    """

    def __init__(self, url: str, *, durable: bool, wait_s: float = WAIT_S) -> None:
        self._url = database_url(url)
        self._durable = durable
        self._wait_s = wait_s
        self._texts: dict[Executable, tuple[str, Parameters]] = {}
        self._inherited: list[Any] = []
        self.dialect = self._url.get_backend_name()
        self._open()
        driver = self.engine.dialect.loaded_dbapi
        self._faults = (driver.Error, SQLAlchemyError, OverflowError)
        self._refusals = (driver.DataError, driver.IntegrityError, driver.ProgrammingError, OverflowError)
        _databases.add(self)

    def _open(self) -> None:
        self._pool: Any
        self._new_session: Callable[[Any, Compile, WaitBudget], Session]
        self._write_lock: threading.Lock | None = None
        if self.dialect != "sqlite":
            self.engine = open_postgresql(self._url, wait_s=self._wait_s)
            self._pool, self._new_session = PostgresqlPool(self.engine), PostgresqlSession
            return
        pool = SqlitePool(self._url, durable=self._durable, wait_s=self._wait_s, kept=CONNECTIONS)
        self.engine = open_sqlite(self._url, pool)
        self._pool, self._new_session = pool, SqliteSession
        self._write_lock = _write_locks.setdefault(str(self._url.database), threading.Lock())

    @property
    def where(self) -> str:
        """The file, or the host and database, for messages. Never the login."""
        return f"{self._url.host}/{self._url.database}" if self._url.host else str(self._url.database)

    def make_private(self) -> None:
        """Removes the permissions of others from a SQLite file and its log, and logs what was changed."""
        path = str(self._url.database)
        for file in (path, f"{path}-wal", f"{path}-shm") if self.dialect == "sqlite" else ():
            with suppress(OSError):  # missing, or of another owner, which `esteira doctor` reports
                if tighten(Path(file)):
                    log.warning("database file was readable by others", path=file, consequence="made private")

    def write(self, work: Callable[[Session], T], *, wait_s: float | None = None) -> T:
        """Runs `work` in one transaction. SQLite runs one write at a time in this process.

        `wait_s` replaces the waiting time of this database.

        Raises:
            RetryableError: `catalogue`; nothing was written, or it is unknown whether the commit arrived.
        """
        budget = WaitBudget(self._wait_s if wait_s is None else wait_s)
        if self._write_lock is None:
            return self._run_again(work, budget, writes=True)
        # SQLite waits by sleeping, a lock does not. Two processes of 8 threads write 1750 attachments a second instead
        # of 1310, and the longest wait is 0.5 s instead of 1.25 s.
        if not self._write_lock.acquire(timeout=budget.left_s):
            raise RetryableError(Code.CATALOGUE, f"the catalogue {self.where} is busy")
        try:
            return self._run(work, budget, writes=True)
        finally:
            self._write_lock.release()

    def read(self, work: Callable[[Session], T], *, wait_s: float | None = None) -> T:
        """Runs `work` outside of a transaction. Each statement sees the newest committed state."""
        return self._run_again(work, WaitBudget(self._wait_s if wait_s is None else wait_s), writes=False)

    def close(self) -> None:
        self._pool.close()

    def _run_again(self, work: Callable[[Session], T], budget: WaitBudget, *, writes: bool) -> T:
        # The first statement on an old connection notices a restarted server. A test before each use would cost one
        # round trip every time; repeating the work on a new connection costs one only then.
        try:
            return self._run(work, budget, writes=writes)
        except LostConnectionError as error:
            if not error.undone:
                raise
            return self._run(work, budget, writes=writes)

    def _run(self, work: Callable[[Session], T], budget: WaitBudget, *, writes: bool) -> T:
        """Runs `work` on a connection. Releasing the connection rolls back what was not committed."""
        connection, session = None, None
        try:
            connection = self._pool.acquire()
            session = self._new_session(connection, self._compile, budget)
            if not writes:
                return work(session)
            session.begin()
            result = work(session)
            session.commit()
            return result
        except self._faults as error:
            lost = connection is not None and self._is_lost(error, connection)
            if lost:
                self._pool.discard(connection)
                connection = None
            raise self._translate(error, lost=lost, session=session) from None
        finally:
            if connection is not None:
                self._pool.release(connection)

    def _is_lost(self, error: Exception, connection: Any) -> bool:
        if self.dialect == "sqlite":
            # After damage to the file or a full disk, an open connection may be unusable.
            return not (isinstance(error, self._refusals) or _is_busy(error))
        driver = connection.driver_connection
        return bool(driver is None or driver.closed or driver.broken)

    def _translate(self, error: Exception, *, lost: bool, session: Session | None) -> Exception:
        reason = next(iter(str(getattr(error, "orig", error)).strip().splitlines()), type(error).__name__)
        if reason.startswith("no such table") or getattr(error, "sqlstate", None) == UNDEFINED_TABLE:
            return CatalogueError(f"the catalogue {self.where} has no tables: {REMEDY}")
        if lost and self.dialect != "sqlite":
            undone = session is not None and not session.committing
            return LostConnectionError(f"the catalogue {self.where} closed the connection: {reason}", undone=undone)
        if isinstance(error, PoolTimeoutError):
            return RetryableError(Code.CATALOGUE, f"the catalogue {self.where} has no free connection")
        if isinstance(error, self._refusals):
            # The driver's text may contain the value.
            return PermanentError(Code.CATALOGUE, f"the catalogue cannot hold this: {type(error).__name__}")
        return RetryableError(Code.CATALOGUE, f"the catalogue {self.where} cannot be used now: {reason}")

    def _compile(self, statement: Executable) -> tuple[str, Parameters]:
        known = self._texts.get(statement)
        if known is None:
            compiled = statement.compile(dialect=self.engine.dialect)  # type: ignore[attr-defined]
            fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
            known = self._texts[statement] = (compiled.string, fixed)
        return known

    def after_fork(self) -> None:
        """Opens new connections in a forked child.

        The parent's stay referenced: if the child closed them, SQLite would delete their write-ahead log.
        """
        self._inherited.append(self._pool)
        self._open()


def _after_fork() -> None:
    _write_locks.clear()
    for database in list(_databases):
        database.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _is_busy(error: Exception) -> bool:
    return "locked" in str(error) or "busy" in str(error)
