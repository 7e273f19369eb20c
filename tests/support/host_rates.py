"""The contract of host rate limiters."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from pipeline.http_client import HostRateLimiter, Requester
from pipeline.http_client.host_rate import horizon_s

MakeLimiter = Callable[[dict[str, float]], HostRateLimiter]


def wait_times(pace: HostRateLimiter, count: int, *, host: str = "media.example", session: str = "s") -> list[float]:
    """The waits of so many requesters that ask at the same time."""
    return [pace.acquire(host, Requester(f"{session}-{number}", session)) for number in range(count)]


class HostRateLimiterContract:
    """Subclass it and define the fixture `make`."""

    def test_simultaneous_requesters_wait_one_interval_after_another(self, make: MakeLimiter) -> None:
        told = wait_times(make({"media.example": 10}), 20)
        assert told[0] == 0
        assert told == sorted(told)
        assert 1 < told[-1] <= 1.9

    def test_requester_that_returns_at_its_time_may_send_once(self, make: MakeLimiter) -> None:
        pace = make({"media.example": 20})
        first, second, third = (Requester(name, "s") for name in ("a", "b", "c"))
        assert pace.acquire("media.example", first) == 0
        wait = pace.acquire("media.example", second)
        assert 0 < wait <= 0.05
        assert 0 < pace.acquire("media.example", second) <= wait  # too early: its turn stays where it was
        assert pace.acquire("media.example", third) > wait
        time.sleep(wait)
        assert pace.acquire("media.example", second) == 0
        assert pace.acquire("media.example", second) > 0  # another file of it is another turn

    def test_no_time_is_reserved_beyond_the_horizon(self, make: MakeLimiter) -> None:
        told = wait_times(make({"media.example": 10}), 60)
        near, far = told[:20], told[22:]
        assert max(near) <= horizon_s(0.1)
        assert far == sorted(far)
        again_at_the_pace = (len(far) - 1) * 0.1
        assert far[-1] - far[0] == pytest.approx(again_at_the_pace, abs=0.4)

    def test_sessions_share_the_rate_beyond_the_horizon(self, make: MakeLimiter) -> None:
        pace = make({"media.example": 10})
        wait_times(pace, 200, session="busy")
        [quiet] = wait_times(pace, 1, session="quiet")
        assert quiet <= horizon_s(0.1)
        assert wait_times(pace, 10, session="quiet")[-1] < 5

    def test_each_host_has_its_own_rate_and_others_none(self, make: MakeLimiter) -> None:
        pace = make({"media.example": 1, "*.cdn.example": 2, "*": 4})
        assert wait_times(pace, 2)[1] > 0.9
        assert wait_times(pace, 1, host="MEDIA.example.", session="x")[0] > 1.5  # the same host
        for host in ("a.cdn.example", "b.cdn.example"):
            assert 0.4 < wait_times(pace, 2, host=host)[1] <= 0.5
        assert 0.2 < wait_times(pace, 2, host="cdn.example")[1] <= 0.25
        assert wait_times(make({"media.example": 1}), 3, host="other.example") == [0, 0, 0]
