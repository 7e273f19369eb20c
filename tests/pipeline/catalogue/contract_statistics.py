"""Tests of statistics that every database must pass."""

from __future__ import annotations

import pytest

from pipeline.catalogue import Catalogue
from pipeline.catalogue.statistics import MINUTE_MS
from pipeline.models import Status
from tests.support.catalogues import Clock, attachment, claimed, finished, mark_stored, stored

HOUR_MS = 60 * MINUTE_MS


class StatisticsContract:
    """Subclass it with the fixture `url` (an empty, migrated database)."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock(1_700_000_040)  # the beginning of a minute

    @pytest.fixture
    def catalogue(self, url: str, clock: Clock) -> Catalogue:
        return Catalogue(url, clock=clock)

    def test_outcomes_are_counted_by_minute(self, catalogue: Catalogue, clock: Clock) -> None:
        began = catalogue.now()
        finished(catalogue)
        finished(catalogue)
        clock.now += 59.999
        finished(catalogue, Status.FAILED)
        clock.now += 0.001
        finished(catalogue, Status.EXPIRED)
        clock.now += 120
        catalogue.accept(attachment())
        minutes = catalogue.statistics.minutes(began + 5, catalogue.now())
        assert [(one.at - began, dict(one.results)) for one in minutes] == [
            (0, {"done": 2, "failed": 1}),
            (MINUTE_MS, {"expired": 1}),
            (2 * MINUTE_MS, {}),
            (3 * MINUTE_MS, {}),
        ]

    def test_minute_durations_cover_first_runs_only(self, catalogue: Catalogue, clock: Clock) -> None:
        waiting = [claimed(catalogue, catalogue.accept(attachment()).id) for _ in range(20)]
        for claim in waiting:
            clock.now += 1
            mark_stored(catalogue, claim, stored())
            catalogue.finish(claim, announced=True)
        failed = finished(catalogue, Status.FAILED)
        clock.now += 10
        assert catalogue.reopen(failed.id)
        again = claimed(catalogue, failed.id)
        mark_stored(catalogue, again, stored())
        catalogue.finish(again, announced=True)
        [minute] = catalogue.statistics.minutes(catalogue.now(), catalogue.now())
        assert minute.results == {"done": 21}
        assert (minute.p50_ms, minute.p95_ms) == (10_000, 19_000)

    def test_minute_without_done_attachments_has_no_durations(self, catalogue: Catalogue) -> None:
        finished(catalogue, Status.REJECTED)
        [minute] = catalogue.statistics.minutes(catalogue.now(), catalogue.now())
        assert (minute.results, minute.p50_ms, minute.p95_ms) == ({"rejected": 1}, None, None)

    def test_failed_by_session_orders_by_count_since_a_time(self, catalogue: Catalogue, clock: Clock) -> None:
        finished(catalogue, Status.FAILED, of=attachment(session="old"))
        clock.now += 3600
        since = catalogue.now()
        for session in ("b", "a", "b", "c", "b", "a"):
            finished(catalogue, Status.FAILED, of=attachment(session=session))
        finished(catalogue, Status.REJECTED, of=attachment(session="c"))
        assert list(catalogue.statistics.failed_by_session(since, limit=2).items()) == [("b", 3), ("a", 2)]
        assert "old" not in catalogue.statistics.failed_by_session(since, limit=9)

    def test_last_received_is_the_newest_of_each_session(self, catalogue: Catalogue, clock: Clock) -> None:
        catalogue.accept(attachment(session="a"))
        clock.now += 5
        catalogue.accept(attachment(session="a"))
        newest = catalogue.now()
        clock.now += 5
        catalogue.accept(attachment(session="b"))
        assert sorted(catalogue.statistics.recent_sessions(limit=9)) == ["a", "b"]
        assert len(catalogue.statistics.recent_sessions(limit=1)) == 1
        assert catalogue.statistics.last_received(["a", "nobody"]) == {"a": newest}
