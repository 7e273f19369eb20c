"""Runs statements on one connection, within a limited waiting time."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.pool import PoolProxiedConnection

from pipeline.catalogue.engines import BEGIN_WITH
from pipeline.catalogue.sqlite_pool import SqliteConnection

Parameters = Mapping[str, Any]
Compile = Callable[[Executable], tuple[str, Parameters]]

UPDATE_TIMEOUT_MS = 50  # the timeout of a connection is set anew once it differs by more than this


class WaitBudget:
    """The time that a transaction may still spend waiting, in total."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        return max(0.0, self._until - time.monotonic())

    @property
    def left_ms(self) -> int:
        """At least 1, because PostgreSQL takes 0 for no limit."""
        return max(1, int(self.left_s * 1000))


class Session(ABC):
    """Runs statements on one connection, inside or outside of a transaction."""

    def __init__(self, driver: Any, compiled: Compile, budget: WaitBudget) -> None:
        self._driver = driver
        self._compiled = compiled
        self._budget = budget
        self.committing = False

    @property
    def pooled(self) -> bool:
        """Whether a pooler such as PgBouncer is between this process and the server."""
        return False

    def rows(self, statement: Executable, **parameters: Any) -> list[Sequence[Any]]:
        rows: list[Sequence[Any]] = self._run(statement, parameters).fetchall()
        return rows

    def row(self, statement: Executable, **parameters: Any) -> Sequence[Any] | None:
        row: Sequence[Any] | None = self._run(statement, parameters).fetchone()
        return row

    def execute(self, statement: Executable, **parameters: Any) -> int:
        """Runs a statement that returns no rows. Returns the number of rows that it changed."""
        changed: int = self._run(statement, parameters).rowcount
        return changed

    @abstractmethod
    def begin(self) -> None:
        """Begins a transaction that writes."""

    def commit(self) -> None:
        self.committing = True
        self._driver.commit()

    def _run(self, statement: Executable, parameters: Parameters) -> Any:
        text, fixed = self._compiled(statement)
        return self._driver.execute(text, {**fixed, **parameters} if fixed else parameters)


class SqliteSession(Session):
    """A session on a SQLite file. It sets the busy timeout, because the last user of the connection set its own."""

    def __init__(self, connection: SqliteConnection, compiled: Compile, budget: WaitBudget) -> None:
        super().__init__(connection.driver, compiled, budget)
        left_ms = budget.left_ms
        if abs(left_ms - connection.busy_ms) > UPDATE_TIMEOUT_MS:
            self._driver.execute(f"PRAGMA busy_timeout = {left_ms}")
            connection.busy_ms = left_ms

    def begin(self) -> None:
        """Begins a transaction as the only writer of the file: no later statement of it has to wait."""
        self._driver.execute("BEGIN IMMEDIATE")


class PostgresqlSession(Session):
    """A session on a server. Its statements share the budget, although the server counts each lock anew."""

    def __init__(self, connection: PoolProxiedConnection, compiled: Compile, budget: WaitBudget) -> None:
        super().__init__(connection.driver_connection, compiled, budget)
        self._connection = connection
        self._lock_timeout_ms = 0

    @property
    def pooled(self) -> bool:
        return BEGIN_WITH in self._connection.info

    def begin(self) -> None:
        self._lock_timeout_ms = self._budget.left_ms
        begin = f"BEGIN; SET LOCAL lock_timeout = {self._lock_timeout_ms}{self._connection.info.get(BEGIN_WITH, '')}"
        self._driver.execute(begin, prepare=False)  # all in one round trip

    def _run(self, statement: Executable, parameters: Parameters) -> Any:
        if self._lock_timeout_ms and self._lock_timeout_ms - self._budget.left_ms > UPDATE_TIMEOUT_MS:
            self._lock_timeout_ms = self._budget.left_ms
            self._driver.execute(f"SET LOCAL lock_timeout = {self._lock_timeout_ms}")
        return super()._run(statement, parameters)
