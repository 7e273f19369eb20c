"""What ended badly, in groups of one code and one stage."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, bindparam, case, func, literal_column, select

from pipeline.catalogue import rows
from pipeline.catalogue.database import Database
from pipeline.catalogue.session import Session
from pipeline.catalogue.tables import RECORD, media
from pipeline.models import Model, Record, Stage, Status
from pipeline.remedies import remedy

BUSIEST = 3  # sessions that are named in a group

_p = bindparam
_BAD: list[Any] = [literal_column(f"'{status.value}'") for status in (Status.FAILED, Status.REJECTED, Status.EXPIRED)]


class FailureGroup(Model):
    """What failed, was rejected or has expired with one code at one stage. Times are when they were received, in ms."""

    code: str
    stage: Stage
    count: int
    sessions: int  # how many are concerned
    busiest: tuple[str, ...]  # their names, those with the most first, at most three
    oldest: int
    newest: int
    example: Record  # the newest one

    def to_json(self, *, language: str = "en") -> dict[str, Any]:
        """The group as JSON, with what happened and what to do in words."""
        shown = self.model_dump(mode="json", exclude={"example"})
        words = remedy(self.code, language=language)
        return {
            **shown,
            "example": self.example.model_dump(mode="json", include={"id", "session", "message_id", "error"}),
            "happened": words.happened if words else None,
            "to_do": words.to_do if words else None,
        }


class FailureGroups:
    """Groups what ended badly. Its methods raise what those of Catalogue do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, *, since: int = 0, session: str | None = None) -> list[FailureGroup]:
        """All groups of what was received since (Unix ms), of one session or of all; the largest first."""
        given: dict[str, Any] = {"since": since} | ({"session": session} if session is not None else {})
        found = self._database.read(lambda at: self._read(at, given))
        return sorted(found, key=lambda group: (-group.count, group.code, group.stage))

    @staticmethod
    def _read(at: Session, given: dict[str, Any]) -> list[FailureGroup]:
        narrowed = "session" in given
        found = []
        for row in at.rows(grouping(narrowed=narrowed), **given):
            which = {"code": row[0], "stage": row[1], "newest": row[5], **given}
            if example := at.row(showing(narrowed=narrowed), **which):  # or it goes again just now
                found.append(_group(row, example))
        return found


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
def grouping(*, narrowed: bool) -> Select[Any]:
    """Code, stage, count, sessions, oldest, newest and the busiest sessions of every group.

    First by session, in the order of the index, so that nothing as large as the table is sorted.
    """
    names = (media.c.error_code, media.c.stage, media.c.session)
    times = (func.min(media.c.received_at).label("oldest"), func.max(media.c.received_at).label("newest"))
    # SQLite has no figures of its rows. Shown the bare columns, it would rather take their indexes, and read and sort
    # every row that failed.
    wanted = [
        func.coalesce(media.c.status, literal_column("''")).in_(_BAD),
        media.c.received_at + literal_column("0") >= _p("since"),
    ]
    if narrowed:
        wanted.append(func.coalesce(media.c.session, literal_column("''")) == _p("session"))
    bad = select(*names, func.count().label("n"), *times).where(media.c.error_code.is_not(None), *wanted)
    each = bad.group_by(*names).subquery()
    place = func.row_number().over(
        partition_by=(each.c.error_code, each.c.stage), order_by=(each.c.n.desc(), each.c.session)
    )
    placed = select(each, place.label("place")).subquery()
    busiest = [
        func.max(case((placed.c.place == literal_column(str(number)), placed.c.session)))
        for number in range(1, BUSIEST + 1)
    ]
    figures = (func.sum(placed.c.n), func.count(), func.min(placed.c.oldest), func.max(placed.c.newest))
    group = (placed.c.error_code, placed.c.stage)
    return select(*group, *figures, *busiest).group_by(*group)


@functools.cache
def showing(*, narrowed: bool) -> Select[Any]:
    """One attachment of a group: code, stage, and when its newest was received."""
    one = [media.c.error_code == _p("code"), media.c.stage == _p("stage"), media.c.received_at == _p("newest")]
    if narrowed:
        one.append(media.c.session == _p("session"))
    return select(*RECORD).where(*one, media.c.status.in_(_BAD)).limit(literal_column("1"))
