"""Rate limits of hosts, counted in Redis for all processes together."""

from __future__ import annotations

from typing import Any

import pytest

from actors.redis_queue.host_rate import SharedHostRateLimiter
from actors.redis_queue.queue import RedisQueue
from pipeline.http_client import HostRates, LocalRateLimiter, Requester
from pipeline.redis_client import connect
from tests.support.catalogues import Clock
from tests.support.host_rates import HostRateLimiterContract, MakeLimiter, wait_times
from tests.support.valkey import ValkeyServer, free_port


def shared(url: str, rates: dict[str, float]) -> SharedHostRateLimiter:
    queue = RedisQueue(connect(url, timeout_s=2), queues=["fetch"])
    return SharedHostRateLimiter(queue, HostRates(rates), fallback=LocalRateLimiter(rates, share=0.5, clock=Clock()))


class TestSharedHostRateLimiter(HostRateLimiterContract):
    @pytest.fixture
    def make(self, valkey: ValkeyServer) -> MakeLimiter:
        return lambda rates: shared(valkey.url, rates)


def test_processes_share_the_rate_of_a_host(valkey: ValkeyServer) -> None:
    first, second = (shared(valkey.url, {"*": 10}) for _ in range(2))
    seconds = [limiter.acquire("h", Requester(str(number), "s")) for number, limiter in enumerate([first, second] * 5)]
    assert seconds == sorted(seconds)
    assert 0.5 < seconds[-1] <= 0.9


def test_host_without_a_rate_costs_no_round_trip(valkey: ValkeyServer) -> None:
    limiter = shared(valkey.url, {"slow.example": 1})
    valkey.client().config_resetstat()
    assert wait_times(limiter, 5, host="fast.example") == [0] * 5
    calls: Any = valkey.client().info("commandstats")
    assert "cmdstat_evalsha" not in calls


def test_process_keeps_to_its_share_while_redis_is_away() -> None:
    assert wait_times(shared(f"redis://127.0.0.1:{free_port()}/0", {"*": 10}), 3) == pytest.approx([0, 0.2, 0.4])


def test_host_rate_keys_expire(valkey: ValkeyServer) -> None:
    limiter = shared(valkey.url, {"*": 5})
    wait_times(limiter, 30)
    client = valkey.client()
    names = list(client.scan_iter("*pace*"))
    assert len(names) == 4
    assert all(client.pttl(name) > 0 for name in names)
