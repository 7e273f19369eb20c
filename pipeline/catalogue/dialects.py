"""The statements that SQLite and PostgreSQL word differently: each is built for the database that is there.

SQLAlchemy's PostgreSQL brings all its drivers along: 23 ms for every process that works on a file.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from sqlalchemy import Executable, Table


class PerDialect(dict[str, Executable]):
    """A statement by the name of its dialect, built when it is first asked for."""

    def __init__(self, build: Callable[[str], Executable]) -> None:
        super().__init__()
        self._build = build

    def __missing__(self, dialect: str) -> Executable:
        # As if it had been there before: two threads that come at once get the same one.
        return self.setdefault(dialect, self._build(dialect))


def insert(dialect: str, table: Table) -> Any:
    """An INSERT that can say what happens to a row that is there already."""
    return importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
