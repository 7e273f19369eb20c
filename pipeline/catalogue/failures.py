"""Failures, grouped by error code and stage."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, bindparam, case, func, literal_column, select

from pipeline.catalogue import rows
from pipeline.catalogue.database import Database
from pipeline.catalogue.scoping import ScopeShape, conditions_of, parameters_of, shape_of
from pipeline.catalogue.session import Session
from pipeline.catalogue.tables import RECORD, media
from pipeline.models import Model, Record, Stage, Status
from pipeline.remedies import remedy
from pipeline.security.scopes import ALL_SESSIONS, Scope

BUSIEST = 3  # sessions that a group names

_p = bindparam
_FAILED: list[Any] = [
    literal_column(f"'{status.value}'") for status in (Status.FAILED, Status.REJECTED, Status.EXPIRED)
]


class FailureGroup(Model):
    """The failed, rejected and expired attachments with one code at one stage. Times are `received_at` in ms."""

    code: str
    stage: Stage
    count: int
    sessions: int  # the number of sessions
    busiest: tuple[str, ...]  # the names of up to three sessions, those with the most failures first
    oldest: int
    newest: int
    example: Record  # the newest attachment

    def to_json(self, *, language: str = "en") -> dict[str, Any]:
        """The group as JSON, with texts that explain what happened and what to do."""
        fields = self.model_dump(mode="json", exclude={"example"})
        texts = remedy(self.code, language=language)
        return {
            **fields,
            "example": self.example.model_dump(mode="json", include={"id", "session", "message_id", "error"}),
            "happened": texts.happened if texts else None,
            "to_do": texts.to_do if texts else None,
        }


class FailureGroups:
    """Finds groups of failures. Its methods raise what those of `Catalogue` do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, *, since: int = 0, session: str | None = None, scope: Scope = ALL_SESSIONS) -> list[FailureGroup]:
        """All groups of attachments in the scope received since this time (Unix ms), the largest first.

        With `session` only those of the sessions with this name.
        """
        values: dict[str, Any] = {"since": since, **parameters_of(scope)}
        values |= {"session": session} if session is not None else {}
        groups = self._database.read(lambda connection: self._read(connection, values, shape_of(scope)))
        return sorted(groups, key=lambda group: (-group.count, group.code, group.stage))

    @staticmethod
    def _read(connection: Session, values: dict[str, Any], scope: ScopeShape) -> list[FailureGroup]:
        narrowed = "session" in values
        groups = []
        for row in connection.rows(grouping(narrowed=narrowed, scope=scope), **values):
            example_values = {"code": row[0], "stage": row[1], "newest": row[5], **values}
            example = connection.row(example_of_group(narrowed=narrowed, scope=scope), **example_values)
            if example:  # None if it was replayed between the two statements
                groups.append(_group(row, example))
        return groups


def _group(row: Sequence[Any], example: Sequence[Any]) -> FailureGroup:
    code, stage, count, sessions, oldest, newest, *busiest = row
    return FailureGroup(
        code=code,
        stage=stage,
        count=int(count),
        sessions=sessions,
        busiest=tuple(name for name in busiest if name is not None),
        oldest=oldest,
        newest=newest,
        example=rows.record(example),
    )


@functools.cache
def grouping(*, narrowed: bool, scope: ScopeShape = None) -> Select[Any]:
    """Selects code, stage, count, sessions, oldest, newest and the busiest sessions of every group.

    It groups by session first, in the order of the index, so that the database sorts no large result.
    """
    names = (media.c.error_code, media.c.stage, media.c.session)
    times = (func.min(media.c.received_at).label("oldest"), func.max(media.c.received_at).label("newest"))
    # SQLite has no statistics on the rows. With the bare columns it would use their own indexes, and read and sort
    # every failed row.
    conditions = [
        func.coalesce(media.c.status, literal_column("''")).in_(_FAILED),
        media.c.received_at + literal_column("0") >= _p("since"),
    ]
    if narrowed:
        conditions.append(func.coalesce(media.c.session, literal_column("''")) == _p("session"))
    conditions += conditions_of(scope, media.c)
    failed = select(*names, func.count().label("n"), *times).where(media.c.error_code.is_not(None), *conditions)
    by_session = failed.group_by(*names).subquery()
    rank = func.row_number().over(
        partition_by=(by_session.c.error_code, by_session.c.stage),
        order_by=(by_session.c.n.desc(), by_session.c.session),
    )
    ranked = select(by_session, rank.label("place")).subquery()
    busiest = [
        func.max(case((ranked.c.place == literal_column(str(number)), ranked.c.session)))
        for number in range(1, BUSIEST + 1)
    ]
    totals = (func.sum(ranked.c.n), func.count(), func.min(ranked.c.oldest), func.max(ranked.c.newest))
    group = (ranked.c.error_code, ranked.c.stage)
    return select(*group, *totals, *busiest).group_by(*group)


@functools.cache
def example_of_group(*, narrowed: bool, scope: ScopeShape = None) -> Select[Any]:
    """Selects one attachment of a group by its code, its stage, and when its newest was received."""
    conditions = [media.c.error_code == _p("code"), media.c.stage == _p("stage"), media.c.received_at == _p("newest")]
    if narrowed:
        conditions.append(media.c.session == _p("session"))
    conditions += conditions_of(scope, media.c)
    return select(*RECORD).where(*conditions, media.c.status.in_(_FAILED)).limit(literal_column("1"))
