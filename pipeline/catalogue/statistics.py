"""What people look at: how many ended in each minute and how long they took, and who fails. All of it from indexes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, func, literal_column, select

from pipeline.catalogue.database import Database
from pipeline.catalogue.session import Session
from pipeline.catalogue.tables import media

MINUTE_MS = 60_000
SAMPLE = 1000  # durations that are looked at for one minute
NEWEST_FAILED = 10_000  # failures that are looked at, for a session may have had any number
NEWEST_RECEIVED = 1000

_ended_between = (media.c.finished_at >= bindparam("since"), media.c.finished_at < bindparam("until"))
_minute = (media.c.finished_at // literal_column(str(MINUTE_MS))).label("minute")
ENDINGS = select(_minute, media.c.status, func.count()).where(*_ended_between).group_by(_minute, media.c.status)
# Narrowed afterwards, or SQLite would rather look at every row that is done.
_first_of_minute = (
    select(media.c.finished_at, media.c.received_at, media.c.status, media.c.run)
    .where(*_ended_between)
    .order_by(media.c.finished_at)
    .limit(literal_column(str(SAMPLE)))
    .subquery()
)
DURATIONS_OF_MINUTE = select(_first_of_minute.c.finished_at - _first_of_minute.c.received_at).where(
    _first_of_minute.c.status == literal_column("'done'"), _first_of_minute.c.run == literal_column("0")
)
_newest_failed = (
    select(media.c.session)
    .where(media.c.status == literal_column("'failed'"), media.c.received_at >= bindparam("since"))
    .order_by(media.c.received_at.desc())
    .limit(literal_column(str(NEWEST_FAILED)))
    .subquery()
)
FAILED = (
    select(_newest_failed.c.session, func.count().label("failed"))
    .group_by(_newest_failed.c.session)
    .order_by(func.count().desc(), _newest_failed.c.session)
    .limit(bindparam("limit"))
)
_newest = (
    select(media.c.session).order_by(media.c.received_at.desc()).limit(literal_column(str(NEWEST_RECEIVED))).subquery()
)
RECENT = select(_newest.c.session).distinct().limit(bindparam("limit"))
LAST_RECEIVED = select(func.max(media.c.received_at)).where(media.c.session == bindparam("session"))


@dataclass(frozen=True)
class Minute:
    """One minute: `at` in Unix ms, how many ended in it by status, and in ms how long those took that got done.

    Durations are of those among the first 1000 that were done at their first go; None if there were none.
    """

    at: int
    endings: Mapping[str, int]
    p50_ms: int | None = None
    p95_ms: int | None = None


class Statistics:
    """Questions of the dashboard to the catalogue; each raises what `Catalogue` raises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def minutes(self, since: int, until: int) -> list[Minute]:
        """Every minute from that of `since` to that of `until` (Unix ms), also those in which nothing ended."""
        first, last = since // MINUTE_MS, until // MINUTE_MS

        def work(session: Session) -> list[Minute]:
            endings: dict[int, dict[str, int]] = defaultdict(dict)
            span = {"since": first * MINUTE_MS, "until": (last + 1) * MINUTE_MS}
            for minute, status, count in session.rows(ENDINGS, **span):
                endings[minute][status] = count
            return [_minute_of(session, minute, endings.get(minute, {})) for minute in range(first, last + 1)]

        return self._database.read(work)

    def failed_by_session(self, since: int, *, limit: int) -> dict[str, int]:
        """How many of the newest 10,000 that failed and came since then each session has; the most first."""
        rows = self._database.read(lambda session: session.rows(FAILED, since=since, limit=limit))
        return {name: int(count) for name, count in rows}

    def recent_sessions(self, *, limit: int) -> list[str]:
        """The sessions of the newest 1000 attachments, in no order."""
        return [row[0] for row in self._database.read(lambda session: session.rows(RECENT, limit=limit))]

    def last_received(self, sessions: Sequence[str]) -> dict[str, int]:
        """When each of these handed over its newest attachment, in Unix ms; who never did is left out."""

        def work(session: Session) -> dict[str, int]:
            found = {name: session.row(LAST_RECEIVED, session=name) for name in sessions}
            return {name: int(row[0]) for name, row in found.items() if row and row[0] is not None}

        return self._database.read(work)


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The nearest rank."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _minute_of(session: Session, minute: int, endings: Mapping[str, int]) -> Minute:
    at = minute * MINUTE_MS
    if not endings.get("done"):
        return Minute(at, endings)
    times = sorted(row[0] for row in session.rows(DURATIONS_OF_MINUTE, since=at, until=at + MINUTE_MS))
    if not times:
        return Minute(at, endings)
    return Minute(at, endings, percentile(times, 50), percentile(times, 95))
