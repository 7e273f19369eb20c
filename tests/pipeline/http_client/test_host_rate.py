"""Turns at hosts, counted by one process."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pipeline.config.settings import load_settings
from pipeline.errors import BusyError, Code, SettingsError
from pipeline.http_client import HostRates, LocalRateLimiter, Requester
from pipeline.http_client.host_rate import MAX_SLOT_WAIT_S, SLOT_GRACE_S, check_rate
from tests.support.catalogues import Clock
from tests.support.host_rates import HostRateLimiterContract, MakeLimiter, wait_times

REQUESTER = Requester("a", "s")


class TestLocalPace(HostRateLimiterContract):
    @pytest.fixture
    def make(self) -> MakeLimiter:
        return LocalRateLimiter


def test_a_process_alone_keeps_to_its_share() -> None:
    assert wait_times(LocalRateLimiter({"*": 10}, share=0.5, clock=Clock()), 3) == pytest.approx([0, 0.2, 0.4])


def test_a_turn_that_nobody_came_for_is_void_after_a_while() -> None:
    clock = Clock()
    rate_limiter = LocalRateLimiter({"*": 1}, clock=clock)
    assert wait_times(rate_limiter, 3) == pytest.approx([0, 1, 2])
    clock.now += 2 + SLOT_GRACE_S
    assert wait_times(rate_limiter, 3) == pytest.approx([0, 1, 2])  # as if they had never come


def test_a_thousand_that_come_back_when_told_keep_the_pace() -> None:
    """Simulated: every requester returns on time, each second has its files, and no requester asks often."""
    clock = Clock(0)
    rate_limiter = LocalRateLimiter({"*": 20}, clock=clock)
    due = [(0.0, f"{session}-{number}") for session in ("a", "b") for number in range(500)]
    served: list[tuple[float, str]] = []
    asked = 0
    while due:
        due.sort(key=lambda one: one[0])
        clock.now, name = due.pop(0)
        asked += 1
        wait = rate_limiter.acquire("h", Requester(name, name[0]))
        if wait:
            due.append((clock.now + wait, name))
        else:
            served.append((clock.now, name))
    times = [at for at, _ in served]
    assert all(later - earlier > 0.044 for earlier, later in pairwise(times))
    assert 49.9 < times[-1] < 60
    assert asked <= 4 * 1000
    half = [name[0] for _, name in served[:500]]
    assert 150 < half.count("a") < 350


def test_nobody_is_told_to_wait_for_days() -> None:
    assert max(wait_times(LocalRateLimiter({"*": 1 / 3600}, clock=Clock()), 10)[3:]) <= MAX_SLOT_WAIT_S


def test_who_must_wait_is_told_for_how_long_and_it_is_no_attempt() -> None:
    rate_limiter = LocalRateLimiter({"*": 1}, clock=Clock())
    check_rate(rate_limiter, "h", Requester("first", "s"))
    with pytest.raises(BusyError) as refused:
        check_rate(rate_limiter, "h", REQUESTER)
    assert (refused.value.code, refused.value.retry_after) == (Code.FETCH_BUSY, pytest.approx(1))


def test_the_nearest_rate_counts() -> None:
    rates = HostRates({"*": 1, "*.example.com": 2, "*.a.example.com": 3, "b.example.com": 4})
    hosts = {"x.org": 1, "example.com": 1, "c.example.com": 2, "z.a.example.com": 3, "B.example.com.": 4}
    assert {host: rates.of(host) for host in hosts} == hosts
    assert HostRates({"*.example.com": 2}).of("badexample.com") is None


def test_rates_come_as_files_in_a_second_a_minute_or_an_hour() -> None:
    given = "mmg.whatsapp.net=20/s, *.Example.com=6/m,10.0.0.1=0.5/s,*=3600/h"
    assert load_settings(_env_file=None, fetch_rate=given).fetch_rate == {
        "mmg.whatsapp.net": 20, "*.example.com": 0.1, "10.0.0.1": 0.5, "*": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        *("20/s", "a=20", "a=0/s", "a=-1/s", "a=20/d", "a=/s", "a=b=1/s", "http://a=1/s", "a:80=1/s", "a*=1/s"),
        *("*.*.a=1/s", "a=1/s,a=2/s", "a=nan/s", "a b=1/s"),
    ],
)
def test_a_rate_that_is_none_is_named(wrong: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(_env_file=None, fetch_rate=wrong)
    assert "FETCH_RATE" in refused.value.message
