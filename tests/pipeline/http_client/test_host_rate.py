"""Request rates per host, limited within one process."""

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


class TestLocalRateLimiter(HostRateLimiterContract):
    @pytest.fixture
    def make(self) -> MakeLimiter:
        return LocalRateLimiter


def test_local_limiter_uses_only_its_share_of_the_rate() -> None:
    assert wait_times(LocalRateLimiter({"*": 10}, share=0.5, clock=Clock()), 3) == pytest.approx([0, 0.2, 0.4])


def test_unused_slots_expire() -> None:
    clock = Clock()
    rate_limiter = LocalRateLimiter({"*": 1}, clock=clock)
    assert wait_times(rate_limiter, 3) == pytest.approx([0, 1, 2])
    clock.now += 2 + SLOT_GRACE_S
    assert wait_times(rate_limiter, 3) == pytest.approx([0, 1, 2])  # the expired slots are free again


def test_thousand_requesters_that_wait_as_asked_keep_the_rate() -> None:
    """Simulated: all requesters return on time, the rate is kept, and each requester calls acquire() few times."""
    clock = Clock(0)
    rate_limiter = LocalRateLimiter({"*": 20}, clock=clock)
    due = [(0.0, f"{session}-{number}") for session in ("a", "b") for number in range(500)]
    served: list[tuple[float, str]] = []
    calls = 0
    while due:
        due.sort(key=lambda entry: entry[0])
        clock.now, name = due.pop(0)
        calls += 1
        wait = rate_limiter.acquire("h", Requester(name, name[0]))
        if wait:
            due.append((clock.now + wait, name))
        else:
            served.append((clock.now, name))
    times = [at for at, _ in served]
    assert all(later - earlier > 0.044 for earlier, later in pairwise(times))
    assert 49.9 < times[-1] < 60
    assert calls <= 4 * 1000
    first_half = [name[0] for _, name in served[:500]]
    assert 150 < first_half.count("a") < 350


def test_wait_times_are_limited() -> None:
    assert max(wait_times(LocalRateLimiter({"*": 1 / 3600}, clock=Clock()), 10)[3:]) <= MAX_SLOT_WAIT_S


def test_exceeded_rate_is_a_busy_error_with_the_wait_time() -> None:
    rate_limiter = LocalRateLimiter({"*": 1}, clock=Clock())
    check_rate(rate_limiter, "h", Requester("first", "s"))
    with pytest.raises(BusyError) as refused:
        check_rate(rate_limiter, "h", REQUESTER)
    assert (refused.value.code, refused.value.retry_after) == (Code.FETCH_BUSY, pytest.approx(1))


def test_most_specific_host_pattern_sets_the_rate() -> None:
    rates = HostRates({"*": 1, "*.example.com": 2, "*.a.example.com": 3, "b.example.com": 4})
    hosts = {"x.org": 1, "example.com": 1, "c.example.com": 2, "z.a.example.com": 3, "B.example.com.": 4}
    assert {host: rates.of(host) for host in hosts} == hosts
    assert HostRates({"*.example.com": 2}).of("badexample.com") is None


def test_fetch_rate_is_read_per_second_minute_or_hour() -> None:
    value = "mmg.whatsapp.net=20/s, *.Example.com=6/m,10.0.0.1=0.5/s,*=3600/h"
    assert load_settings(_env_file=None, fetch_rate=value).fetch_rate == {
        "mmg.whatsapp.net": 20, "*.example.com": 0.1, "10.0.0.1": 0.5, "*": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        *("20/s", "a=20", "a=0/s", "a=-1/s", "a=20/d", "a=/s", "a=b=1/s", "http://a=1/s", "a:80=1/s", "a*=1/s"),
        *("*.*.a=1/s", "a=1/s,a=2/s", "a=nan/s", "a b=1/s"),
    ],
)
def test_invalid_fetch_rate_is_named(value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(_env_file=None, fetch_rate=value)
    assert "FETCH_RATE" in refused.value.message
