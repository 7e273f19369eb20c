"""Turns at media hosts (FETCH_RATE), counted in Redis for all processes and hosts together."""

from __future__ import annotations

from importlib import resources

import redis

from actors.redis_queue.queue import RedisQueue
from pipeline.config.settings import Settings
from pipeline.http_client import HostRateLimiter, HostRates, LocalRateLimiter, Requester
from pipeline.http_client.host_rate import EARLY_S, GRACE_S, LATE_S, LONGEST_WAIT_S, horizon_s, normal
from pipeline.services import share_of_rate


class SharedHostRateLimiter:
    """Asks Redis, and only for hosts that have a rate; while it is away, `alone` counts this process's share."""

    def __init__(self, belt: RedisQueue, rates: HostRates, *, alone: HostRateLimiter) -> None:
        self._rates = rates
        self._alone = alone
        self._keys = belt.keys
        self._script = belt.client.register_script(
            (resources.files("actors.redis_queue") / "lua" / "pace.lua").read_text()
        )

    def wait_s(self, host: str, comer: Requester) -> float:
        rate = self._rates.of(host)
        if rate is None:
            return 0.0
        interval_s = 1 / rate
        seconds = (interval_s, horizon_s(interval_s), GRACE_S, LATE_S, EARLY_S, LONGEST_WAIT_S)
        try:
            waits = self._script(self._keys.host_rate(normal(host)), [*comer, *(each * 1000 for each in seconds)])
        except redis.RedisError:
            return self._alone.wait_s(host, comer)
        return float(waits) / 1000


def shared_host_rate_limiter(belt: RedisQueue, settings: Settings) -> HostRateLimiter:
    """The pace of a worker."""
    alone = LocalRateLimiter(settings.fetch_rate, share=share_of_rate(settings))
    return SharedHostRateLimiter(belt, HostRates(settings.fetch_rate), alone=alone)
