"""Statements on one connection, and how long they may wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Executable

from pipeline.catalogue.sqlite_file import Opened

Parameters = Mapping[str, Any]

WORTH_TELLING_MS = 50  # waited in one statement, before the connection is told of it


class WaitBudget:
    """How long a transaction may still wait, for all that it waits for together."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        return max(0.0, self._until - time.monotonic())

    @property
    def left_ms(self) -> int:
        """At least 1, for 0 tells PostgreSQL to wait for ever."""
        return max(1, int(self.left_s * 1000))


class Session:
    """Runs statements on one connection, within one transaction or outside of any."""

    def __init__(
        self, driver: Any, compiled: Callable[[Executable], tuple[str, Parameters]], patience: WaitBudget
    ) -> None:
        self._driver = driver
        self._compiled = compiled
        self._patience = patience
        self.committing = False

    def rows(self, statement: Executable, **parameters: Any) -> list[Sequence[Any]]:
        found: list[Sequence[Any]] = self._run(statement, parameters).fetchall()
        return found

    def row(self, statement: Executable, **parameters: Any) -> Sequence[Any] | None:
        found: Sequence[Any] | None = self._run(statement, parameters).fetchone()
        return found

    def change(self, statement: Executable, **parameters: Any) -> int:
        """Runs a statement that returns no rows; how many it changed."""
        changed: int = self._run(statement, parameters).rowcount
        return changed

    def begin(self) -> None:
        raise NotImplementedError

    def commit(self) -> None:
        self.committing = True
        self._driver.commit()

    def _run(self, statement: Executable, parameters: Parameters) -> Any:
        text, fixed = self._compiled(statement)
        return self._driver.execute(text, {**fixed, **parameters} if fixed else parameters)


class SqliteSession(Session):
    """On a connection to a file; it is told how long it may wait, for so was the last who had it."""

    def __init__(
        self, opened: Opened, compiled: Callable[[Executable], tuple[str, Parameters]], patience: WaitBudget
    ) -> None:
        super().__init__(opened.driver, compiled, patience)
        left_ms = patience.left_ms
        if abs(left_ms - opened.patience_ms) > WORTH_TELLING_MS:
            self._driver.execute(f"PRAGMA busy_timeout = {left_ms}")
            opened.patience_ms = left_ms

    def begin(self) -> None:
        """Begins as the file's one writer: nothing is waited for after that."""
        self._driver.execute("BEGIN IMMEDIATE")


class PostgresqlSession(Session):
    """Its statements share the patience, though the server counts for each lock anew."""

    def __init__(
        self, pooled: Any, compiled: Callable[[Executable], tuple[str, Parameters]], patience: WaitBudget
    ) -> None:
        super().__init__(pooled.driver_connection, compiled, patience)
        self._told_ms = 0

    def begin(self) -> None:
        self._told_ms = self._patience.left_ms
        self._driver.execute(f"BEGIN; SET LOCAL lock_timeout = {self._told_ms}", prepare=False)  # one round trip

    def _run(self, statement: Executable, parameters: Parameters) -> Any:
        if self._told_ms and self._told_ms - self._patience.left_ms > WORTH_TELLING_MS:
            self._told_ms = self._patience.left_ms
            self._driver.execute(f"SET LOCAL lock_timeout = {self._told_ms}")
        return super()._run(statement, parameters)
