"""How fast files may be asked of one host: an even pace, and who must wait comes back when it is its turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pipeline.errors import Code, PacedError

HORIZON_S = 2.0  # how far ahead turns are given away: those who came before go first for so long at most
SLOT_GRACE_S = 5.0  # how long after its turn one may come
WAITER_TTL_S = 60.0  # how long after it was told to come back one still counts as who has waited
CLOCK_TOLERANCE_S = 0.005  # clocks and sleeps are not exact
MAX_SLOT_WAIT_S = 600.0


class Requester(NamedTuple):
    """Who asks: an attachment of a session."""

    media_id: str
    session: str


class HostRateLimiter(Protocol):
    """Turns at the hosts that have a rate."""

    def acquire(self, host: str, requester: Requester) -> float:
        """The seconds until the comer's turn at a host; 0: it is now, and is taken.

        Who comes back when it is told gets its turn, or near it; of those who come too late nothing is kept.
        """


class HostRates:
    """Files a second by host. A name counts before a pattern (`*.example.com`: every name below it), the longest
    pattern before others, `*` last; each host that a pattern fits has its own turns."""

    def __init__(self, rates: Mapping[str, float]) -> None:
        self._names = {name: rate for name, rate in rates.items() if not name.startswith("*")}
        patterns = [(name[1:], rate) for name, rate in rates.items() if name.startswith("*")]
        self._endings = sorted(patterns, key=lambda pattern: -len(pattern[0]))

    def of(self, host: str) -> float | None:
        """The rate of a host; None if it has none."""
        host = normalized_host(host)
        if host in self._names:
            return self._names[host]
        return next((rate for ending, rate in self._endings if host.endswith(ending)), None)


def normalized_host(host: str) -> str:
    """A host's name as rates name it."""
    return host.rstrip(".").lower()


def horizon_s(interval_s: float) -> float:
    """How far ahead turns are given away at this pace."""
    return max(HORIZON_S, 2 * interval_s)


@dataclass
class _Turns:
    """The turns at one host: when the next one is free, whose are given away, who waits and when to come back, and
    where each session's line ends."""

    free_at: float = 0.0
    given: dict[str, float] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)
    lines: dict[str, float] = field(default_factory=dict)

    def acquire(self, requester: Requester, interval_s: float, now: float) -> float:
        # The same stands in pace.lua.
        self._forget(now)
        turn = self.given.get(requester.media_id)
        if turn is None:
            turn = max(self.free_at, now)
            if turn - now > self._reach_s(requester, horizon_s(interval_s)):
                return self._queue(requester, interval_s, now)
            self.waiting.pop(requester.media_id, None)
            self.free_at = turn + interval_s
        if turn <= now + CLOCK_TOLERANCE_S:
            self.given.pop(requester.media_id, None)
            return 0.0
        self.given[requester.media_id] = turn
        return turn - now

    def _reach_s(self, requester: Requester, horizon: float) -> float:
        """How far ahead a comer may get a turn: who has waited halfway, who is the first of its session all the way,
        and who comes behind others of its session not at all."""
        if requester.media_id in self.waiting:
            return horizon / 2
        return -1.0 if requester.session in self.lines else horizon

    def _queue(self, requester: Requester, interval_s: float, now: float) -> float:
        # Back when most of what is given away now is over. Sessions share the pace: each one's line moves at its part.
        begin = max(self.lines.get(requester.session, 0.0), now + horizon_s(interval_s) * 3 / 4)
        self.lines[requester.session] = begin  # counted among those that wait
        end = self.lines[requester.session] = begin + interval_s * len(self.lines)
        back_at = self.waiting[requester.media_id] = min(end, now + MAX_SLOT_WAIT_S)
        return back_at - now

    def _forget(self, now: float) -> None:
        self.given = {name: turn for name, turn in self.given.items() if turn > now - SLOT_GRACE_S}
        self.waiting = {name: back_at for name, back_at in self.waiting.items() if back_at > now - WAITER_TTL_S}
        self.lines = {name: end for name, end in self.lines.items() if end > now}


class LocalRateLimiter:
    """The turns of this process alone, at its `share` of each rate."""

    def __init__(
        self, rates: Mapping[str, float], *, share: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rates = HostRates(rates)
        self._share = share
        self._clock = clock
        self._hosts: dict[str, _Turns] = {}
        self._lock = threading.Lock()

    def acquire(self, host: str, requester: Requester) -> float:
        rate = self._rates.of(host)
        if rate is None:
            return 0.0
        with self._lock:
            turns = self._hosts.setdefault(normalized_host(host), _Turns())
            return turns.acquire(requester, 1 / (rate * self._share), self._clock())


def enter(rate_limiter: HostRateLimiter, host: str, requester: Requester) -> None:
    """Returns if it is the comer's turn at a host.

    Raises:
        PacedError: it is not yet.
    """
    wait_s = rate_limiter.acquire(host, requester)
    if wait_s > 0:
        raise PacedError(Code.FETCH_BUSY, f"{host} is asked for no more files a second", retry_after=wait_s)
