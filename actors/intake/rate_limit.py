"""How much a sender may hand over in a minute, counted in Redis for all processes together.

A process takes places a few at a time, so that most requests cost no round trip; what it has left when the minute ends
is lost. While Redis is away each process counts alone.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources

from actors.intake.circuit_breaker import CircuitBreaker, RedisUnavailableError
from actors.redis_queue.queue import RedisQueue

WINDOW_S = 60.0
SHARE = 100  # a process takes at most this part of a minute's places at once
MOST_KNOWN = 10_000  # senders that are remembered before those whose minute is over are forgotten


@dataclass
class WindowQuota:
    """What may still be taken in a sender's window, which ends at `until` of the clock."""

    left: int
    until: float


class Windows:
    """The open windows of senders."""

    def __init__(self) -> None:
        self._places: dict[str, WindowQuota] = {}

    def of(self, sender: str, now: float) -> WindowQuota | None:
        places = self._places.get(sender)
        return places if places and places.until > now else None

    def open(self, sender: str, places: WindowQuota, now: float) -> WindowQuota:
        if len(self._places) >= MOST_KNOWN:
            self._places = {name: known for name, known in self._places.items() if known.until > now}
        self._places[sender] = places
        return places


class IntakeRateLimit:
    """Counts by sender. A window begins with the first place that is taken and lasts a minute.

    What is wanted at once and is more than a minute's places is given while any of them is left, and uses up all of
    them: beside others that come in between it would never be given.
    """

    def __init__(
        self, belt: RedisQueue, breaker: CircuitBreaker, *, per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._breaker = breaker
        self._limit = per_minute
        self._clock = clock
        self._namespace = belt.keys.namespace
        self._script = belt.client.register_script(
            (resources.files("actors.redis_queue") / "lua" / "rate.lua").read_text()
        )
        self._reserved, self._alone = Windows(), Windows()
        self._lock = threading.Lock()

    def take(self, wanted: Mapping[str, int]) -> float:
        """Takes so many for each of these senders and returns 0, or takes none and returns the seconds to wait."""
        if not self._limit or self._take_reserved(wanted):
            return 0
        try:
            return self._breaker.call(partial(self._take_shared, wanted))
        except RedisUnavailableError:
            return self._take_alone(wanted)

    def _take_reserved(self, wanted: Mapping[str, int]) -> bool:
        with self._lock:
            now = self._clock()
            found = [(self._reserved.of(sender, now), size) for sender, size in wanted.items()]
            mine = [(places, size) for places, size in found if places and places.left >= size]
            if len(mine) < len(wanted):
                return False
            for places, size in mine:
                places.left -= size
            return True

    def _take_shared(self, wanted: Mapping[str, int]) -> float:
        sizes = [size for need in wanted.values() for size in (need, max(need, self._limit // SHARE))]
        wait_ms, *granted = self._script([self._key(s) for s in wanted], [self._limit, int(WINDOW_S * 1000), *sizes])
        if wait_ms:
            return float(wait_ms) / 1000
        with self._lock:
            now = self._clock()
            for (sender, need), taken, ends_ms in zip(wanted.items(), granted[::2], granted[1::2], strict=True):
                meanwhile = self._reserved.of(sender, now)  # what another thread has reserved
                left = taken - need + (meanwhile.left if meanwhile else 0)
                self._reserved.open(sender, WindowQuota(left, now + ends_ms / 1000), now)
        return 0

    def _take_alone(self, wanted: Mapping[str, int]) -> float:
        with self._lock:
            now = self._clock()
            found = {sender: self._alone.of(sender, now) for sender in wanted}
            least = {sender: need if need <= self._limit else 1 for sender, need in wanted.items()}
            waits = [places.until - now for sender, places in found.items() if places and places.left < least[sender]]
            if waits:
                return max(waits)
            for sender, places in found.items():
                fresh = WindowQuota(self._limit, now + WINDOW_S)
                (places or self._alone.open(sender, fresh, now)).left -= wanted[sender]
            return 0

    def _key(self, sender: str) -> str:
        digest = hashlib.sha256(sender.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return f"{{{self._namespace}}}:rate:{digest}"
