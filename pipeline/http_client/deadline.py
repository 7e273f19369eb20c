"""The time limit of a request."""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_SECONDS = 366 * 24 * 3600.0  # a larger timeout of a socket overflows

Allowance = float | Callable[[int | None], float]
"""Seconds, or a function from the bytes received so far to seconds."""


class Deadline:
    """The time limit of a whole request, which starts when the object is made.

    With a function as allowance, a server must keep its rate all the time: announcing a large file gains no time.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._start = time.monotonic()

    def left(self, received: int = 0) -> float:
        """The seconds that are left once so many bytes are received; 0 or less after the deadline."""
        seconds = self._allowance(received) if callable(self._allowance) else self._allowance
        return self._start + min(seconds, MAX_SECONDS) - time.monotonic()
