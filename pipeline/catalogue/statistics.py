"""Statistics for the dashboard, the API and /metrics. Each query reads an index only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, func, literal_column, select

from pipeline.catalogue.database import Database
from pipeline.catalogue.session import Session
from pipeline.catalogue.tables import media

MINUTE_MS = 60_000
NEWEST = 1000  # durations that `durations` considers
SAMPLE = 1000  # finished attachments of one minute whose durations are considered
NEWEST_FAILED = 10_000  # failures that are considered, because a session may have any number
NEWEST_RECEIVED = 1000

_p = bindparam
# A subquery that both databases evaluate first: otherwise they sort every finished row.
_newest_finished = (
    select(media.c.finished_at, media.c.received_at, media.c.status, media.c.run)
    .where(media.c.finished_at.is_not(None), media.c.finished_at <= _p("now"))
    .order_by(media.c.finished_at.desc())
    .limit(_p("newest"))
    .subquery()
)
DURATIONS = (
    select(_newest_finished.c.finished_at - _newest_finished.c.received_at)
    .where(_newest_finished.c.status == literal_column("'done'"), _newest_finished.c.run == literal_column("0"))
    .limit(_p("limit"))
)
FINISHED_SINCE = select(func.count()).where(media.c.finished_at > _p("since"))
# A subquery that ends at the limit: a backlog may have a million rows.
UNFINISHED_COUNT = select(func.count()).select_from(
    select(media.c.received_at).where(media.c.finished_at.is_(None)).limit(_p("limit")).subquery()
)
# Replayed attachments are left out: their time of arrival is that of the first run.
OLDEST = (
    select(media.c.received_at)
    .where(media.c.finished_at.is_(None), media.c.run == literal_column("0"))
    .order_by(media.c.received_at)
    .limit(literal_column("1"))
)

_ended_between = (media.c.finished_at >= _p("since"), media.c.finished_at < _p("until"))
_minute = (media.c.finished_at // literal_column(str(MINUTE_MS))).label("minute")
OUTCOMES = select(_minute, media.c.status, func.count()).where(*_ended_between).group_by(_minute, media.c.status)
# A subquery, because SQLite would read every row that is done otherwise.
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
    .where(media.c.status == literal_column("'failed'"), media.c.received_at >= _p("since"))
    .order_by(media.c.received_at.desc())
    .limit(literal_column(str(NEWEST_FAILED)))
    .subquery()
)
FAILED = (
    select(_newest_failed.c.session, func.count().label("failed"))
    .group_by(_newest_failed.c.session)
    .order_by(func.count().desc(), _newest_failed.c.session)
    .limit(_p("limit"))
)
_newest = (
    select(media.c.session).order_by(media.c.received_at.desc()).limit(literal_column(str(NEWEST_RECEIVED))).subquery()
)
RECENT = select(_newest.c.session).distinct().limit(_p("limit"))
LAST_RECEIVED = select(func.max(media.c.received_at)).where(media.c.session == _p("session"))


@dataclass(frozen=True)
class Minute:
    """One minute: `at` in Unix ms, the number of attachments that ended in it by status, and percentiles in ms.

    The percentiles are durations of attachments that were done in their first run, among the first 1000 of the minute.
    They are None if there are none.
    """

    at: int
    results: Mapping[str, int]
    p50_ms: int | None = None
    p95_ms: int | None = None


class Statistics:
    """Statistics on the table `media`. `now` returns Unix ms. Every method raises what those of `Catalogue` do."""

    def __init__(self, database: Database, now: Callable[[], int]) -> None:
        self._database = database
        self._now = now

    def durations(self) -> dict[str, int | None]:
        """Mean and percentiles in ms from received to finished, over the newest 1000 that were done in their first run.

        They are searched among the newest 10,000 finished attachments. All values are None if there are none. A
        replay does not count, because its duration includes the wait for the person who requested it.
        """
        values = {"now": self._now(), "newest": 10 * NEWEST, "limit": NEWEST}
        times = sorted(row[0] for row in self._database.read(lambda session: session.rows(DURATIONS, **values)))
        if not times:
            return {"mean": None, "p50": None, "p95": None, "p99": None}
        return {"mean": round(sum(times) / len(times)), **{f"p{p}": percentile(times, p) for p in (50, 95, 99)}}

    def unfinished(self, *, limit: int) -> int:
        """The number of unfinished attachments, replayed ones included, counted up to the limit."""
        row = self._database.read(lambda session: session.row(UNFINISHED_COUNT, limit=limit))
        return int(row[0]) if row else 0

    def oldest_unfinished_s(self) -> float:
        """The age in seconds of the oldest attachment that is unfinished in its first run; 0 if there is none."""
        row = self._database.read(lambda session: session.row(OLDEST))
        return max(0, self._now() - row[0]) / 1000 if row else 0.0

    def per_minute(self) -> int:
        """The number of attachments that finished within the last minute, with any status."""
        since = self._now() - MINUTE_MS
        row = self._database.read(lambda session: session.row(FINISHED_SINCE, since=since))
        return int(row[0]) if row else 0

    def minutes(self, since: int, until: int) -> list[Minute]:
        """Every minute from that of `since` to that of `until` (Unix ms), including empty ones."""
        first, last = since // MINUTE_MS, until // MINUTE_MS

        def work(session: Session) -> list[Minute]:
            outcomes: dict[int, dict[str, int]] = defaultdict(dict)
            span = {"since": first * MINUTE_MS, "until": (last + 1) * MINUTE_MS}
            for minute, status, count in session.rows(OUTCOMES, **span):
                outcomes[minute][status] = count
            return [_minute_of(session, minute, outcomes.get(minute, {})) for minute in range(first, last + 1)]

        return self._database.read(work)

    def failed_by_session(self, since: int, *, limit: int) -> dict[str, int]:
        """The number of failed attachments of each session, among the newest 10,000 received since then.

        The session with the most comes first.
        """
        rows = self._database.read(lambda session: session.rows(FAILED, since=since, limit=limit))
        return {name: int(count) for name, count in rows}

    def recent_sessions(self, *, limit: int) -> list[str]:
        """The sessions of the newest 1000 attachments, unordered."""
        return [row[0] for row in self._database.read(lambda session: session.rows(RECENT, limit=limit))]

    def last_received(self, sessions: Sequence[str]) -> dict[str, int]:
        """When the newest attachment of each session was received, in Unix ms. Sessions without any are left out."""

        def work(session: Session) -> dict[str, int]:
            newest = {name: session.row(LAST_RECEIVED, session=name) for name in sessions}
            return {name: int(row[0]) for name, row in newest.items() if row and row[0] is not None}

        return self._database.read(work)


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The percentile by the nearest-rank method."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _minute_of(session: Session, minute: int, outcomes: Mapping[str, int]) -> Minute:
    at = minute * MINUTE_MS
    if not outcomes.get("done"):
        return Minute(at, outcomes)
    times = sorted(row[0] for row in session.rows(DURATIONS_OF_MINUTE, since=at, until=at + MINUTE_MS))
    if not times:
        return Minute(at, outcomes)
    return Minute(at, outcomes, percentile(times, 50), percentile(times, 95))
