"""What an operator has paused: the record that outlives Redis and every process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from sqlalchemy import Executable, bindparam, delete, select

from pipeline.catalogue.database import Database
from pipeline.catalogue.dialects import PerDialect, insert
from pipeline.catalogue.tables import pauses

PauseKind = Literal["stage", "session"]


class Pause(NamedTuple):
    """What is paused, and since when in Unix ms."""

    kind: str
    name: str
    since: int


def _adding(dialect: str) -> Executable:
    values: dict[str, Any] = {name: bindparam(name) for name in Pause._fields}
    return insert(dialect, pauses).values(values).on_conflict_do_nothing(index_elements=["kind", "name"])  # type: ignore[no-any-return]


ADD = PerDialect(_adding)
REMOVE = delete(pauses).where(pauses.c.kind == bindparam("kind"), pauses.c.name == bindparam("name"))
ALL = select(*(pauses.c[name] for name in Pause._fields)).order_by(pauses.c.kind.desc(), pauses.c.name)


class Pauses:
    """The table `pauses`. `now` gives Unix ms. Every method raises what those of `Catalogue` do."""

    def __init__(self, database: Database, *, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    def add(self, kind: PauseKind, name: str) -> bool:
        """Notes a pause; False if it was there, and it keeps its time."""
        row = {"kind": kind, "name": name, "since": self._now()}
        return self._database.write(lambda session: session.change(ADD[self._database.dialect], **row)) == 1

    def remove(self, kind: PauseKind, name: str) -> bool:
        """Ends a pause; False if there was none."""
        return self._database.write(lambda session: session.change(REMOVE, kind=kind, name=name)) == 1

    def all(self) -> list[Pause]:
        """Every pause: stages, then sessions, by name."""
        return [Pause(*row) for row in self._database.read(lambda session: session.rows(ALL))]
