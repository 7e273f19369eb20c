"""The circuit breaker of the hook: after the first failure nobody waits for Redis any more until it answers a probe."""

from __future__ import annotations

import threading
from collections.abc import Callable

import redis

from actors.observability.outage import Outage
from pipeline.metrics import CIRCUIT_OPENINGS

PROBE_EVERY_S = 1.0


class CircuitBreaker:
    """Open while Redis is away. `probe` raises as long as it is; it runs in the background, never in the caller.

    So does `back`, once Redis has answered.
    """

    def __init__(self, probe: Callable[[], object], *, back: Callable[[], object] = bool) -> None:
        self._probe = probe
        self._back = back
        self._outage = Outage("redis")
        self._answered = threading.Event()
        self._answered.set()

    @property
    def is_open(self) -> bool:
        return not self._answered.is_set()

    @property
    def away_s(self) -> float:
        """For how many seconds Redis has been away; 0 while the circuit is closed."""
        return self._outage.lasts_s

    def trip(self, error: Exception) -> bool:
        """Opens the circuit; True for the first caller, who tells of it."""
        if not self._outage.begin(error):
            return False
        CIRCUIT_OPENINGS.add()
        self._answered.clear()
        try:
            threading.Thread(target=self._watch, name="redis probe", daemon=True).start()
        except RuntimeError:  # the machine has no more threads, and nobody would close it again
            self._close()
        return True

    def _watch(self) -> None:
        while not self._answered.wait(PROBE_EVERY_S):
            try:
                self._probe()
            except (redis.RedisError, OSError):
                continue
            self._close()
            self._back()

    def _close(self) -> None:
        self._answered.set()  # first: who fails from here on may open it anew, with a watch of its own
        self._outage.end()
