"""The intake rate limit of several processes, on a real Valkey and without one."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from actors.intake.circuit_breaker import CircuitBreaker
from actors.intake.rate_limit import IntakeRateLimit
from actors.redis_queue.queue import RedisQueue
from pipeline.redis_client import connect
from tests.support.valkey import ValkeyServer, free_port


class TimeShift:
    """Moves the clocks of this process forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        for name in ("time", "monotonic"):
            original = getattr(time, name)
            monkeypatch.setattr(time, name, lambda original=original: original() + self.seconds)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> TimeShift:
    return TimeShift(monkeypatch)


def rate_limit(url: str, *, per_minute: int) -> IntakeRateLimit:
    """The rate limit as one process has it."""
    queue = RedisQueue(connect(url, timeout_s=1), queues=["fetch"])
    return IntakeRateLimit(queue, CircuitBreaker(queue.client.ping), per_minute=per_minute)


def unreachable() -> str:
    return f"redis://127.0.0.1:{free_port()}/0"


def count_allowed(limit: IntakeRateLimit, sender: str, *, most: int = 10_000) -> int:
    """How many single attachments are allowed until one is refused."""
    return next(count for count in range(most) if limit.acquire({sender: 1}))


def scripts_run(valkey: ValkeyServer) -> int:
    return int(valkey.client().info("commandstats")["cmdstat_evalsha"]["calls"])


def test_processes_share_the_limit(valkey: ValkeyServer) -> None:
    first, second = (rate_limit(valkey.url, per_minute=50) for _ in range(2))
    allowed = sum(not limit.acquire({"s": 1}) for _ in range(40) for limit in (first, second))
    assert allowed == 50
    assert 50 < first.acquire({"s": 1}) <= 60


def test_reservations_of_other_processes_count(valkey: ValkeyServer) -> None:
    first, second = (rate_limit(valkey.url, per_minute=1000) for _ in range(2))
    assert not first.acquire({"s": 1})
    assert count_allowed(second, "s") == 990
    assert count_allowed(first, "s") == 9


def test_most_requests_need_no_round_trip(valkey: ValkeyServer) -> None:
    limit = rate_limit(valkey.url, per_minute=6000)
    assert not limit.acquire({"s": 1})
    before = scripts_run(valkey)
    for _ in range(599):
        assert not limit.acquire({"s": 1})
    assert scripts_run(valkey) - before == 9


def test_threads_never_exceed_the_limit(valkey: ValkeyServer) -> None:
    limit = rate_limit(valkey.url, per_minute=300)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: limit.acquire({"s": 1}), range(600)))
    assert answers.count(0) == 300


def test_each_sender_has_its_own_limit(valkey: ValkeyServer) -> None:
    limit = rate_limit(valkey.url, per_minute=3)
    assert [count_allowed(limit, sender) for sender in ("a\0s", "b\0s", "a\0t\r\nDEL *")] == [3, 3, 3]


def test_payload_of_several_senders_is_allowed_or_refused_as_a_whole(valkey: ValkeyServer) -> None:
    limit = rate_limit(valkey.url, per_minute=10)
    assert not limit.acquire({"full": 10})
    assert limit.acquire({"full": 1, "free": 4})
    assert limit.acquire({"free": 6, "full": 1})
    assert count_allowed(limit, "free") == 10


@pytest.mark.parametrize("away", [False, True])
def test_batch_larger_than_the_limit_is_allowed_while_any_room_is_left(valkey: ValkeyServer, away: bool) -> None:
    """Next to other requests of its sender, such a batch would never find an empty window."""
    limit = rate_limit(unreachable() if away else valkey.url, per_minute=10)
    assert not limit.acquire({"s": 25})
    assert limit.acquire({"s": 1})
    assert not limit.acquire({"other": 5})
    assert limit.acquire({"other": 6})
    assert not limit.acquire({"other": 25})
    assert limit.acquire({"other": 1})
    assert limit.acquire({"other": 25})


def test_window_moves_with_the_first_attachment(valkey: ValkeyServer, later: TimeShift) -> None:
    limit = rate_limit(valkey.url, per_minute=5)
    assert not limit.acquire({"s": 2})
    later.seconds = 40
    assert count_allowed(limit, "s") == 3
    assert limit.acquire({"s": 1}) == pytest.approx(20, abs=2)
    later.seconds = 61
    assert count_allowed(limit, "s") == 2
    [key] = valkey.client().keys("{esteira}:rate:*")
    assert 50_000 < valkey.client().pttl(key) <= 60_000


def test_reservations_expire_after_a_minute(valkey: ValkeyServer, later: TimeShift) -> None:
    limit = rate_limit(valkey.url, per_minute=1000)
    assert not limit.acquire({"s": 1})
    later.seconds = 61
    assert count_allowed(limit, "s") == 1000


@pytest.mark.parametrize("per_minute", [5, 1000])
def test_each_process_counts_alone_while_redis_is_away(per_minute: int, later: TimeShift) -> None:
    away = unreachable()
    first, second = (rate_limit(away, per_minute=per_minute) for _ in range(2))
    assert count_allowed(first, "s") == per_minute
    assert count_allowed(second, "s") == per_minute
    assert 40 < first.acquire({"s": 1, "t": 1}) <= 60
    assert count_allowed(first, "t") == per_minute
    later.seconds = 61
    assert count_allowed(first, "s") == per_minute


def test_reservation_is_used_after_redis_is_gone(own_valkey: ValkeyServer) -> None:
    limit = rate_limit(own_valkey.url, per_minute=1000)
    for _ in range(10):
        assert not limit.acquire({"s": 1})
    own_valkey.stop()
    assert not limit.acquire({"s": 1})


def test_limit_of_zero_allows_everything() -> None:
    limit = rate_limit(unreachable(), per_minute=0)
    assert not any(limit.acquire({"s": 1000}) for _ in range(1000))
    assert threading.active_count() < 50
