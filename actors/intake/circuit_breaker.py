"""The circuit breaker in front of Redis: after a failed call, no caller waits for Redis until it answers again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import redis

from pipeline.metrics import CIRCUIT_OPENINGS
from pipeline.outage import Outage

PROBE_EVERY_S = 1.0  # while the circuit is open; callers fall back for up to a second longer than the outage

T = TypeVar("T")


class RedisUnavailableError(Exception):
    """Raised by `CircuitBreaker.call` while the circuit is open, and by the call that fails.

    `error` is what the failed call raised, and only for the call that opened the circuit; None for all others.
    """

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("redis is unavailable")
        self.error = error


class CircuitBreaker:
    """Skips calls to Redis while it is away.

    `probe` makes a call that raises as long as Redis is away. It runs in a background thread, never in a caller's, and
    so does `on_close` once the probe has succeeded.
    """

    def __init__(self, probe: Callable[[], object], *, on_close: Callable[[], object] = bool) -> None:
        self._probe = probe
        self._on_close = on_close
        self._outage = Outage("redis")
        self._answered = threading.Event()
        self._answered.set()

    @property
    def is_open(self) -> bool:
        return not self._answered.is_set()

    def call(self, command: Callable[[], T]) -> T:
        """Runs a command on Redis, or skips it while the circuit is open.

        Raises:
            RedisUnavailableError: the command was skipped, or failed and opened the circuit.
        """
        if self.is_open:
            raise RedisUnavailableError
        try:
            return command()
        except (redis.RedisError, OSError) as error:
            raise RedisUnavailableError(error if self._open(error) else None) from error

    def _open(self, error: Exception) -> bool:
        """Opens the circuit; True for the call that opened it."""
        if not self._outage.begin(error):
            return False
        CIRCUIT_OPENINGS.add()
        self._answered.clear()
        try:
            threading.Thread(target=self._watch, name="redis probe", daemon=True).start()
        except RuntimeError:  # no thread can be started, so nothing would close the circuit again
            self._close()
        return True

    def _watch(self) -> None:
        while not self._answered.wait(PROBE_EVERY_S):
            try:
                self._probe()
            except (redis.RedisError, OSError):
                continue
            self._close()
            self._on_close()

    def _close(self) -> None:
        self._answered.set()  # before the outage ends: a call that fails from now on opens the circuit anew
        self._outage.end()
