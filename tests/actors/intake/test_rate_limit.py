"""How much a sender may hand over in a minute, on a real Valkey."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from actors.intake.circuit_breaker import CircuitBreaker
from actors.intake.rate_limit import IntakeRateLimit
from actors.redis_queue.queue import RedisQueue, connect
from tests.support.valkey import ValkeyServer, free_port


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def process(url: str, *, per_minute: int, clock: Clock | None = None) -> IntakeRateLimit:
    """The counts of one process. `Clock` is what it reads; Redis has a clock of its own."""
    belt = RedisQueue(connect(url, timeout_s=1), queues=["fetch"])
    return IntakeRateLimit(belt, CircuitBreaker(belt.client.ping), per_minute=per_minute, clock=clock or Clock())


def granted(rates: IntakeRateLimit, sender: str, *, most: int = 10_000) -> int:
    """How many times one place is given."""
    return next(count for count in range(most) if rates.take({sender: 1}))


def test_two_processes_together_give_a_minutes_places_and_no_more(valkey: ValkeyServer) -> None:
    first, second = (process(valkey.url, per_minute=50) for _ in range(2))
    given = sum(not rates.take({"s": 1}) for _ in range(40) for rates in (first, second))
    assert given == 50
    assert 0 < first.take({"s": 1}) <= 60


def test_a_large_limit_is_shared_but_for_what_others_have_left(valkey: ValkeyServer) -> None:
    first, second = (process(valkey.url, per_minute=1000) for _ in range(2))
    assert not first.take({"s": 1})
    assert granted(second, "s") == 990
    assert granted(first, "s") == 9


def test_most_requests_ask_nobody(valkey: ValkeyServer) -> None:
    rates = process(valkey.url, per_minute=6000)
    assert not rates.take({"s": 1})
    before = scripts_run(valkey)
    for _ in range(599):
        assert not rates.take({"s": 1})
    assert scripts_run(valkey) - before == 9


def scripts_run(valkey: ValkeyServer) -> int:
    return int(valkey.client().info("commandstats")["cmdstat_evalsha"]["calls"])


def test_threads_of_one_process_give_no_place_twice(valkey: ValkeyServer) -> None:
    rates = process(valkey.url, per_minute=300)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: rates.take({"s": 1}), range(600)))
    assert answers.count(0) == 300


def test_senders_do_not_share_their_places(valkey: ValkeyServer) -> None:
    rates = process(valkey.url, per_minute=3)
    assert [granted(rates, sender) for sender in ("a\0s", "b\0s", "a\0t\r\nDEL *")] == [3, 3, 3]


def test_a_payload_of_several_senders_takes_of_all_or_of_none(valkey: ValkeyServer) -> None:
    rates = process(valkey.url, per_minute=10)
    assert not rates.take({"full": 10})
    assert rates.take({"full": 1, "free": 4})
    assert rates.take({"free": 6, "full": 1})
    assert granted(rates, "free") == 10


@pytest.mark.parametrize("away", [False, True])
def test_more_at_once_than_a_minute_allows_passes_while_any_place_is_left(valkey: ValkeyServer, away: bool) -> None:
    """Beside the few that always come first in a minute, a batch that fits into none would wait for ever."""
    rates = process(f"redis://127.0.0.1:{free_port()}/0" if away else valkey.url, per_minute=10)
    assert not rates.take({"s": 25})
    assert rates.take({"s": 1})
    assert not rates.take({"other": 5})
    assert rates.take({"other": 6})
    assert not rates.take({"other": 25})
    assert rates.take({"other": 1})
    assert rates.take({"other": 25})


def test_the_places_come_back_when_the_minute_is_over(valkey: ValkeyServer) -> None:
    clock = Clock()
    rates = process(valkey.url, per_minute=5, clock=clock)
    assert granted(rates, "s") == 5
    [key] = valkey.client().keys("{esteira}:rate:*")
    assert 50_000 < valkey.client().pttl(key) <= 60_000
    valkey.client().delete(key)  # as its expiry does
    clock.now += 61
    assert granted(rates, "s") == 5


def test_reserved_places_end_with_their_minute(valkey: ValkeyServer) -> None:
    clock = Clock()
    rates = process(valkey.url, per_minute=1000, clock=clock)
    assert not rates.take({"s": 1})
    clock.now += 61
    assert granted(rates, "s") == 990


@pytest.mark.parametrize("limit", [5, 1000])
def test_while_redis_is_away_each_process_counts_alone(limit: int) -> None:
    clock = Clock()
    away = f"redis://127.0.0.1:{free_port()}/0"
    first, second = (process(away, per_minute=limit, clock=clock) for _ in range(2))
    assert granted(first, "s") == limit
    assert granted(second, "s") == limit
    assert first.take({"s": 1, "t": 1}) == pytest.approx(60)
    assert granted(first, "t") == limit
    clock.now += 61
    assert granted(first, "s") == limit


def test_what_was_reserved_of_redis_does_not_count_when_redis_is_gone(own_valkey: ValkeyServer) -> None:
    rates = process(own_valkey.url, per_minute=1000)
    for _ in range(10):
        assert not rates.take({"s": 1})
    own_valkey.stop()
    assert not rates.take({"s": 1})


def test_nought_is_no_limit() -> None:
    rates = process(f"redis://127.0.0.1:{free_port()}/0", per_minute=0)
    assert not any(rates.take({"s": 1000}) for _ in range(1000))
    assert threading.active_count() < 50
