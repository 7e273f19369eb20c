"""Outages: one log line at the start, one at the end, and the time between."""

from __future__ import annotations

import pytest
import structlog

from pipeline.outage import MAX_PAUSE_S, MIN_PAUSE_S, Outage
from tests.support.catalogues import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_outage_is_logged_once_and_so_is_its_end(clock: Clock) -> None:
    outage = Outage("redis", consequence="events wait", remedy="start it", clock=clock)
    with structlog.testing.capture_logs() as lines:
        assert [outage.begin(OSError("refused")), outage.begin(OSError("refused"))] == [True, False]
        clock.now += 3
        assert [outage.end(), outage.end()] == [True, False]
    assert lines == [
        {
            "event": "server away",
            "log_level": "error",
            "server": "redis",
            "error": "OSError: refused",
            "consequence": "events wait",
            "remedy": "start it",
        },
        {"event": "server back", "log_level": "info", "server": "redis", "away_s": 3.0},
    ]


def test_outage_has_a_duration_only_while_it_lasts(clock: Clock) -> None:
    outage = Outage("redis", logged=False, clock=clock)
    assert (outage.is_active, outage.duration_s) == (False, 0)
    outage.begin("no answer")
    clock.now += 5
    assert (outage.is_active, outage.duration_s) == (True, 5)
    outage.end()
    assert (outage.is_active, outage.duration_s) == (False, 0)


def test_outage_pause_grows_with_the_outage_within_its_limits(clock: Clock) -> None:
    outage = Outage("redis", logged=False, clock=clock)
    outage.begin("no answer")
    assert outage.pause_s == MIN_PAUSE_S
    clock.now += 0.4
    assert outage.pause_s == pytest.approx(0.4)
    clock.now += 60
    assert outage.pause_s == MAX_PAUSE_S


def test_outage_starts_anew_if_no_call_has_confirmed_it_for_long(clock: Clock) -> None:
    outage = Outage("clamd", stale_after_s=300, logged=False, clock=clock)
    outage.begin("refused")
    clock.now += 299
    assert not outage.begin("refused")
    clock.now += 301
    assert outage.begin("refused")
    assert outage.duration_s == 0


def test_end_of_an_outage_is_told_once(clock: Clock) -> None:
    ends: list[int] = []
    outage = Outage("redis", logged=False, clock=clock, on_end=lambda: ends.append(1))
    outage.end()
    assert not ends
    outage.begin("refused")
    outage.end()
    outage.end()
    assert ends == [1]
