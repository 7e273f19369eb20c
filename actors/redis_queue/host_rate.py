"""Rate limits of media hosts (FETCH_RATE) and of gateways that are asked again, counted in Redis for all processes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

import redis

from actors.redis_queue.queue import RedisQueue
from pipeline.config.settings import Settings
from pipeline.http_client import HostRateLimiter, HostRates, LocalRateLimiter, Requester
from pipeline.http_client.host_patterns import normalized_host
from pipeline.http_client.host_rate import (
    CLOCK_TOLERANCE_S,
    MAX_SLOT_WAIT_S,
    SLOT_GRACE_S,
    WAITER_TTL_S,
    horizon_s,
)
from pipeline.http_client.open import reupload_rates, share_of_rate


class SharedHostRateLimiter:
    """Asks Redis for hosts that have a rate. While Redis is away, `fallback` counts this process's share."""

    def __init__(self, queue: RedisQueue, rates: HostRates, *, fallback: HostRateLimiter) -> None:
        self._rates = rates
        self._fallback = fallback
        self._keys = queue.keys
        self._script = queue.client.register_script(
            (resources.files("actors.redis_queue") / "lua" / "host_rate.lua").read_text()
        )

    def acquire(self, host: str, requester: Requester) -> float:
        """Seconds until the requester's turn at this host; 0 if it is now."""
        rate = self._rates.of(host)
        if rate is None:
            return 0.0
        interval_s = 1 / rate
        seconds = (interval_s, horizon_s(interval_s), SLOT_GRACE_S, WAITER_TTL_S, CLOCK_TOLERANCE_S, MAX_SLOT_WAIT_S)
        try:
            wait_ms = self._script(
                self._keys.host_rate(normalized_host(host)), [*requester, *(each * 1000 for each in seconds)]
            )
        except redis.RedisError:
            return self._fallback.acquire(host, requester)
        return float(wait_ms) / 1000


def shared_host_rate_limiter(queue: RedisQueue, settings: Settings) -> HostRateLimiter:
    """The host rate limiter of a worker."""
    return _shared(queue, settings.fetch_rate, settings)


def shared_gateway_rate_limiter(queue: RedisQueue, settings: Settings) -> HostRateLimiter:
    """The rate limiter of a worker for gateways that are asked for files again (REUPLOAD_PER_MINUTE)."""
    return _shared(queue, reupload_rates(settings), settings)


def _shared(queue: RedisQueue, rates: Mapping[str, float], settings: Settings) -> HostRateLimiter:
    fallback = LocalRateLimiter(rates, share=share_of_rate(settings))
    return SharedHostRateLimiter(queue, HostRates(rates), fallback=fallback)
