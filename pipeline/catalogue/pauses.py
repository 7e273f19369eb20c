"""Paused stages and sessions. This table is their permanent record; Redis only has a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from sqlalchemy import Executable, bindparam, delete, select

from pipeline.catalogue.database import Database
from pipeline.catalogue.dialects import PerDialect, insert
from pipeline.catalogue.tables import pauses

PauseKind = Literal["stage", "session"]


class Pause(NamedTuple):
    """A paused stage or session, since when in Unix ms, and by whom and why if that is known."""

    kind: str
    name: str
    since: int
    paused_by: str | None = None
    reason: str | None = None


def _insert(dialect: str) -> Executable:
    values: dict[str, Any] = {name: bindparam(name) for name in Pause._fields}
    return insert(dialect, pauses).values(values).on_conflict_do_nothing(index_elements=["kind", "name"])  # type: ignore[no-any-return]


ADD = PerDialect(_insert)
REMOVE = delete(pauses).where(pauses.c.kind == bindparam("kind"), pauses.c.name == bindparam("name"))
ALL = select(*(pauses.c[name] for name in Pause._fields)).order_by(pauses.c.kind.desc(), pauses.c.name)


class Pauses:
    """The table `pauses`. `now` returns Unix ms. Every method raises what those of `Catalogue` do."""

    def __init__(self, database: Database, *, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    def add(self, kind: PauseKind, name: str, *, paused_by: str | None = None, reason: str | None = None) -> bool:
        """Adds a pause. False if it exists already; it then keeps its time, its user and its reason."""
        row = {"kind": kind, "name": name, "since": self._now(), "paused_by": paused_by, "reason": reason}
        return self._database.write(lambda session: session.execute(ADD[self._database.dialect], **row)) == 1

    def remove(self, kind: PauseKind, name: str) -> bool:
        """Removes a pause. False if there was none."""
        return self._database.write(lambda session: session.execute(REMOVE, kind=kind, name=name)) == 1

    def all(self) -> list[Pause]:
        """All pauses: stages, then sessions, by name."""
        return [Pause(*row) for row in self._database.read(lambda session: session.rows(ALL))]
