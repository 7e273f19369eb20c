"""Limits how many files per second are requested from one host (FETCH_RATE).

A limiter gives each requester a time at which it may send its request, one interval after the one before. A requester
whose time has not come goes back to the queue, so that no thread waits, and asks again later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pipeline.errors import Code, PacedError
from pipeline.http_client.host_patterns import HostPatterns, normalized_host

HORIZON_S = 2.0  # how far ahead times are reserved: for so long at most, earlier requesters go before others
SLOT_GRACE_S = 5.0  # how late a requester may come for its reserved time before it is given to another
WAITER_TTL_S = 60.0  # how late a waiting requester may come back before it counts as a new one
CLOCK_TOLERANCE_S = 0.005  # clocks and sleeps are not exact
MAX_SLOT_WAIT_S = 600.0  # the longest wait that is returned


class Requester(NamedTuple):
    """An attachment of a session that wants to be downloaded."""

    media_id: str
    session: str


class HostRateLimiter(Protocol):
    """Gives requesters their times at the hosts that have a rate."""

    def acquire(self, host: str, requester: Requester) -> float:
        """The seconds after which the requester has to ask again; 0 if it may send its request now.

        A requester that asks again in time gets its reserved time, or one near it. Others lose their reservation.
        """


HostRates = HostPatterns[float]
"""The rate of each host, in files per second. Each host that a pattern matches has the rate for itself."""


def horizon_s(interval_s: float) -> float:
    """How many seconds ahead times are reserved, for an interval between two requests."""
    return max(HORIZON_S, 2 * interval_s)


@dataclass
class _Schedule:
    """The times at one host, as `time.monotonic` seconds.

    `free_at` is the next time that is not reserved, `reserved` are the reserved times by media id, `waiting` the times
    at which requesters ask again, `queue_ends` the end of each session's queue.
    """

    free_at: float = 0.0
    reserved: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)
    queue_ends: dict[str, float] = field(default_factory=dict)

    def acquire(self, requester: Requester, interval_s: float, now: float) -> float:
        # host_rate.lua does the same for all processes together.
        self._expire(now)
        at = self.reserved.get(requester.media_id)
        if at is None:
            at = max(self.free_at, now)
            if at - now > self._reach_s(requester, horizon_s(interval_s)):
                return self._enqueue(requester, interval_s, now)
            self.waiting.pop(requester.media_id, None)
            self.free_at = at + interval_s
        if at <= now + CLOCK_TOLERANCE_S:
            self.reserved.pop(requester.media_id, None)
            return 0.0
        self.reserved[requester.media_id] = at
        return at - now

    def _reach_s(self, requester: Requester, horizon: float) -> float:
        """How many seconds ahead a requester may reserve a time.

        Half the horizon if it has waited, all of it if it is the first of its session, else none: it goes behind the
        other requesters of its session.
        """
        if requester.media_id in self.waiting:
            return horizon / 2
        return -1.0 if requester.session in self.queue_ends else horizon

    def _enqueue(self, requester: Requester, interval_s: float, now: float) -> float:
        # It asks again when most of the reserved times are over. Sessions share the rate: each queue moves at its part.
        begin = max(self.queue_ends.get(requester.session, 0.0), now + horizon_s(interval_s) * 3 / 4)
        self.queue_ends[requester.session] = begin  # so that this session is counted in the next line
        end = self.queue_ends[requester.session] = begin + interval_s * len(self.queue_ends)
        ask_again_at = self.waiting[requester.media_id] = min(end, now + MAX_SLOT_WAIT_S)
        return ask_again_at - now

    def _expire(self, now: float) -> None:
        self.reserved = {name: at for name, at in self.reserved.items() if at > now - SLOT_GRACE_S}
        self.waiting = {name: at for name, at in self.waiting.items() if at > now - WAITER_TTL_S}
        self.queue_ends = {name: end for name, end in self.queue_ends.items() if end > now}


class LocalRateLimiter:
    """Limits the requests of this process alone, to its `share` of each rate."""

    def __init__(
        self, rates: Mapping[str, float], *, share: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rates = HostRates(rates)
        self._share = share
        self._clock = clock
        self._schedules: dict[str, _Schedule] = {}
        self._lock = threading.Lock()

    def acquire(self, host: str, requester: Requester) -> float:
        rate = self._rates.of(host)
        if rate is None:
            return 0.0
        with self._lock:
            schedule = self._schedules.setdefault(normalized_host(host), _Schedule())
            return schedule.acquire(requester, 1 / (rate * self._share), self._clock())


def check_rate(rate_limiter: HostRateLimiter, host: str, requester: Requester) -> None:
    """Returns if the requester may send its request to a host now.

    Raises:
        PacedError: it has to ask again after `retry_after` seconds.
    """
    wait_s = rate_limiter.acquire(host, requester)
    if wait_s > 0:
        raise PacedError(Code.FETCH_BUSY, f"the rate limit of {host} is reached", retry_after=wait_s)
