"""The intake rate limit: how many attachments a sender may hand over in a minute, counted in Redis for all processes.

The window moves: at most so many in any 60 seconds, whenever they begin. A process counts a few at once in advance, so
that most requests need no round trip. While Redis is away, each process counts alone.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from actors.intake.circuit_breaker import CircuitBreaker, RedisUnavailableError
from actors.redis_queue.queue import RedisQueue

WINDOW_S = 60.0
RESERVED_SHARE = 100  # a process counts at most this part of the limit in advance; what it does not use is lost
MAX_RESERVATIONS = 10_000  # senders with a reservation; beyond, expired reservations are removed


@dataclass
class Reservation:
    """What was counted in advance for a sender; it expires at `until`, as `time.monotonic`."""

    left: int
    until: float


class Reservations:
    """The reservations of one process."""

    def __init__(self) -> None:
        self._by_sender: dict[str, Reservation] = {}
        self._lock = threading.Lock()

    def use(self, costs: Mapping[str, int]) -> bool:
        """Uses reservations for all of these senders; False if one of them has too few, and none is used."""
        now = time.monotonic()
        with self._lock:
            if any(self._left(sender, now) < cost for sender, cost in costs.items()):
                return False
            for sender, cost in costs.items():
                self._by_sender[sender].left -= cost
            return True

    def add(self, sender: str, count: int) -> None:
        if count <= 0:
            return
        now = time.monotonic()
        with self._lock:
            if len(self._by_sender) >= MAX_RESERVATIONS:
                self._by_sender = {name: known for name, known in self._by_sender.items() if known.until > now}
            # Added to what another thread has reserved meanwhile.
            self._by_sender[sender] = Reservation(self._left(sender, now) + count, now + WINDOW_S)

    def _left(self, sender: str, now: float) -> int:
        reservation = self._by_sender.get(sender)
        return reservation.left if reservation and reservation.until > now else 0


class IntakeRateLimit:
    """Counts attachments by sender. A limit of 0 allows everything.

    A batch larger than the limit is allowed while the window has any room left, and uses up all of it: next to other
    requests of the same sender it would never find an empty window.
    """

    def __init__(self, queue: RedisQueue, breaker: CircuitBreaker, *, per_minute: int) -> None:
        self._breaker = breaker
        self._limit = per_minute
        self._item = RateLimitItemPerMinute(per_minute, namespace="hook")
        prefix = f"{{{queue.keys.namespace}}}:rate"
        pool = queue.client.connection_pool
        self._shared = MovingWindowRateLimiter(RedisStorage("redis://", connection_pool=pool, key_prefix=prefix))
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._reservations = Reservations()

    def acquire(self, costs: Mapping[str, int]) -> float:
        """Counts so many attachments for each sender and returns 0, or the seconds after which to try again."""
        if not self._limit or self._reservations.use(costs):
            return 0
        try:
            return self._breaker.call(partial(self._acquire_shared, costs))
        except RedisUnavailableError:
            return self._acquire(self._local, costs)

    def _acquire_shared(self, costs: Mapping[str, int]) -> float:
        return self._acquire(self._shared, costs, reserve=self._limit // RESERVED_SHARE)

    def _acquire(self, limiter: MovingWindowRateLimiter, costs: Mapping[str, int], *, reserve: int = 0) -> float:
        # Two requests at the same moment may both pass this check; the second then counts a part of its senders only.
        if len(costs) > 1:
            for sender, cost in costs.items():
                if not limiter.test(self._item, _identifier(sender), cost=cost if cost <= self._limit else 1):
                    return self._wait_s(limiter, sender)
        for sender, cost in costs.items():
            counted = self._count(limiter, sender, cost, reserve)
            if not counted:
                return self._wait_s(limiter, sender)
            self._reservations.add(sender, counted - cost)
        return 0

    def _count(self, limiter: MovingWindowRateLimiter, sender: str, cost: int, reserve: int) -> int:
        """Counts `reserve` if it exceeds `cost` and there is room, else `cost`; returns 0 if there is no room."""
        identifier = _identifier(sender)
        if cost > self._limit:
            cost = max(1, limiter.get_window_stats(self._item, identifier).remaining)
        if reserve > cost and limiter.hit(self._item, identifier, cost=reserve):
            return reserve
        return cost if limiter.hit(self._item, identifier, cost=cost) else 0

    def _wait_s(self, limiter: MovingWindowRateLimiter, sender: str) -> float:
        """Seconds until the oldest attachments leave the window."""
        reset_at = limiter.get_window_stats(self._item, _identifier(sender)).reset_time
        return min(WINDOW_S, max(0.001, reset_at - time.time()))


def _identifier(sender: str) -> str:
    """A sender as part of a Redis key: its name may be long or have any characters."""
    return hashlib.sha256(sender.encode("utf-8", "surrogatepass")).hexdigest()[:32]
