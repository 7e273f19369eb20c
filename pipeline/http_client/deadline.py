"""The time limit of a request."""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_SECONDS = 366 * 24 * 3600.0  # a larger timeout of a socket overflows

Allowance = float | Callable[[int], float]
"""Seconds, or a function from the bytes of the body received so far to seconds."""


class Deadline:
    """The time limit of a whole request with its redirects, which starts when the object is made.

    With a function as allowance, a server must keep its rate all the time: announcing a large file gains no time, and
    neither do heads, chunk extensions and trailers. After `at_most_s` seconds the time is over in any case.
    """

    def __init__(self, allowance: Allowance, *, at_most_s: float = MAX_SECONDS) -> None:
        self._allowance = allowance
        self._at_most_s = min(at_most_s, MAX_SECONDS)
        self._start = time.monotonic()

    def postpone(self, seconds: float) -> None:
        """Leaves out so many seconds in which the server was not asked yet."""
        self._start += seconds

    def left(self, received: int = 0) -> float:
        """The seconds that are left once so many bytes of the body are received; 0 or less after the deadline."""
        seconds = self._allowance(received) if callable(self._allowance) else self._allowance
        return self._start + min(seconds, self._at_most_s) - time.monotonic()
