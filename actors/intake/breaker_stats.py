"""Whether attachments go their usual way, or past a Redis that is away."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache

from actors.hook import Hook, hook
from pipeline.models import Model

WINDOW_S = 300.0


class CircuitFacts(Model):
    """`open`: this process finds Redis away, for `away_s` now, and does not wait for it.

    `fallbacks` counts attachments that were worked on without the queue, in all processes since the catalogue began;
    `lately` are those of them that came within the last `lately_s` seconds, as far back as this process has looked.
    """

    open: bool
    away_s: float
    fallbacks: int
    lately: int
    lately_s: float


class Circuit:
    """The circuit of one process's hook. The catalogue counts fallbacks without a time, so this one remembers."""

    def __init__(self, hook: Hook, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._hook = hook
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()

    def facts(self) -> CircuitFacts:
        """How things stand.

        Raises:
            RetryableError: `catalogue`.
        """
        fallbacks = self._hook.services.catalogue.totals()["fallbacks"]
        now = self._clock()
        with self._lock:
            self._seen.append((now, fallbacks))
            # The youngest of those that are too old stays: from it the window is counted.
            while len(self._seen) > 1 and now - self._seen[1][0] >= WINDOW_S:
                self._seen.popleft()
            since, before = self._seen[0]
        breaker = self._hook.breaker
        return CircuitFacts(
            open=breaker.open,
            away_s=round(breaker.away_s, 1),
            fallbacks=fallbacks,
            lately=fallbacks - before,
            lately_s=round(now - since, 1),
        )


def circuit() -> CircuitFacts:
    """How things stand for this process's hook.

    Raises:
        RetryableError: `catalogue`.
    """
    return _circuit_of(os.getpid()).facts()


@lru_cache(maxsize=1)
def _circuit_of(_pid: int) -> Circuit:
    return Circuit(hook())
