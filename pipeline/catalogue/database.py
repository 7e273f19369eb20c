"""Connections and transactions: SQLAlchemy compiles the statements, the driver runs them.

Running the compiled text on the driver itself takes 55 µs for a transaction of two statements, against 125 µs through
SQLAlchemy's Connection (Python 3.11, SQLite): four transactions an attachment make that worth a page of code.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Executable
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pipeline.catalogue.engines import CONNECTIONS, WAIT_S, PostgresqlPool, database_url, open_postgresql, open_sqlite
from pipeline.catalogue.session import Parameters, PostgresqlSession, Session, SqliteSession, WaitBudget
from pipeline.catalogue.sqlite_file import SqliteFile
from pipeline.errors import Code, PermanentError, RetryableError

T = TypeVar("T")

REMEDY = "run `esteira start`, or the release line of the Procfile"
UNDEFINED_TABLE = "42P01"  # PostgreSQL, appendix A of its manual

_writing: dict[str, threading.Lock] = {}
_databases: weakref.WeakSet[Database] = weakref.WeakSet()


class CatalogueError(PermanentError):
    """Raised when the catalogue's tables are not those that this version needs. The message names the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.CATALOGUE, message)


class LostConnectionError(RetryableError):
    """Raised when the server is gone. `undone` tells that nothing was committed, so it may be done again at once."""

    def __init__(self, message: str, *, undone: bool) -> None:
        super().__init__(Code.CATALOGUE, message)
        self.undone = undone


class Database:
    """One SQLite file or PostgreSQL database, for all threads of a process.

    `wait_s` is how long a transaction waits for everything that others hold, its turn in this process included.
    A forked child gets connections of its own; those that it inherited are neither used nor closed.
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
        self._connections: Any
        self._session: Callable[[Any, Callable[[Executable], tuple[str, Parameters]], WaitBudget], Session]
        self._turn: threading.Lock | None = None
        if self.dialect != "sqlite":
            self.engine = open_postgresql(self._url, wait_s=self._wait_s)
            self._connections, self._session = PostgresqlPool(self.engine), PostgresqlSession
            return
        file = SqliteFile(self._url, durable=self._durable, wait_s=self._wait_s, kept=CONNECTIONS)
        self.engine = open_sqlite(self._url, file)
        self._connections, self._session = file, SqliteSession
        self._turn = _writing.setdefault(str(self._url.database), threading.Lock())

    @property
    def where(self) -> str:
        """The place for people: the file or the host, never the login."""
        return f"{self._url.host}/{self._url.database}" if self._url.host else str(self._url.database)

    def write(self, work: Callable[[Session], T], *, wait_s: float | None = None) -> T:
        """Does `work` in one transaction, alone among the writers of this process where the file has one writer.

        `wait_s` is how long it waits if not as long as others.

        Raises:
            RetryableError: `catalogue`; nothing was written, or it is unknown whether the commit arrived.
        """
        patience = WaitBudget(self._wait_s if wait_s is None else wait_s)
        if self._turn is None:
            return self._again(work, patience, writes=True)
        # One at a time in this process, for SQLite waits by sleeping. Two processes of 8 threads: 1750 attachments a
        # second instead of 1310, the longest wait 0.5 s instead of 1.25 s.
        if not self._turn.acquire(timeout=patience.left_s):
            raise RetryableError(Code.CATALOGUE, f"the catalogue {self.where} is busy")
        try:
            return self._within(work, patience, writes=True)
        finally:
            self._turn.release()

    def read(self, work: Callable[[Session], T]) -> T:
        """Does `work` outside of a transaction; each statement sees its own state."""
        return self._again(work, WaitBudget(self._wait_s), writes=False)

    def close(self) -> None:
        self._connections.close()

    def _again(self, work: Callable[[Session], T], patience: WaitBudget, *, writes: bool) -> T:
        # A restarted server is noticed by the first statement on an old connection. Asking before each use would cost
        # a round trip every time; doing it again on a new connection costs one only then, and nothing was committed.
        try:
            return self._within(work, patience, writes=writes)
        except LostConnectionError as error:
            if not error.undone:
                raise
            return self._within(work, patience, writes=writes)

    def _within(self, work: Callable[[Session], T], patience: WaitBudget, *, writes: bool) -> T:
        """Does it on a connection; whatever was not committed is rolled back when that goes back."""
        connection, session = None, None
        try:
            connection = self._connections.take()
            session = self._session(connection, self._compile, patience)
            if not writes:
                return work(session)
            session.begin()
            result = work(session)
            session.commit()
            return result
        except self._faults as error:
            lost = connection is not None and self._is_lost(error, connection)
            if lost:
                self._connections.discard(connection)
                connection = None
            raise self._translated(error, lost=lost, session=session) from None
        finally:
            if connection is not None:
                self._connections.give_back(connection)

    def _is_lost(self, error: Exception, connection: Any) -> bool:
        if self.dialect == "sqlite":
            # A damaged file, or a disk that had filled up: what is open may be of no use any more.
            return not (isinstance(error, self._refusals) or _is_busy(error))
        driver = connection.driver_connection
        return bool(driver is None or driver.closed or driver.broken)

    def _translated(self, error: Exception, *, lost: bool, session: Session | None) -> Exception:
        reason = next(iter(str(getattr(error, "orig", error)).strip().splitlines()), type(error).__name__)
        if reason.startswith("no such table") or getattr(error, "sqlstate", None) == UNDEFINED_TABLE:
            return CatalogueError(f"the catalogue {self.where} has no tables: {REMEDY}")
        if lost and self.dialect != "sqlite":
            undone = session is not None and not session.committing
            return LostConnectionError(f"the catalogue {self.where} went away: {reason}", undone=undone)
        if isinstance(error, PoolTimeoutError):
            return RetryableError(Code.CATALOGUE, f"the catalogue {self.where} has no free connection")
        if isinstance(error, self._refusals):
            # The driver's words may show the value.
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
        """Gives a forked child connections of its own. Were it to close the parent's, SQLite would drop their log."""
        self._inherited.append(self._connections)
        self._open()


def _after_fork() -> None:
    _writing.clear()
    for database in list(_databases):
        database.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _is_busy(error: Exception) -> bool:
    return "locked" in str(error) or "busy" in str(error)
