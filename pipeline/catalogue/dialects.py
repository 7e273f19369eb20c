"""Statements that differ between SQLite and PostgreSQL. Each is built for the database in use only.

SQLAlchemy's PostgreSQL dialect imports all its drivers, which takes 23 ms in every worker process.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from sqlalchemy import Executable, Table


class PerDialect(dict[str, Executable]):
    """A statement by the name of its dialect, built at first use."""

    def __init__(self, build: Callable[[str], Executable]) -> None:
        super().__init__()
        self._build = build

    def __missing__(self, dialect: str) -> Executable:
        # setdefault: two threads that build it at the same time get the same statement.
        return self.setdefault(dialect, self._build(dialect))


def insert(dialect: str, table: Table) -> Any:
    """An INSERT that supports ON CONFLICT."""
    return importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
