"""How long a request may take."""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_WAIT_S = 366 * 24 * 3600.0  # beyond it, a socket's timeout overflows

Allowance = float | Callable[[int | None], float]


class Deadline:
    """The time that a whole request may take: seconds, or a function from the bytes received so far to seconds.

    With a function, a server must keep its pace all the time: announcing a large file buys a slow one nothing.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._start = time.monotonic()

    def left(self, received: int = 0) -> float:
        """The seconds that are left after so many bytes; not more than 0 when it is over."""
        seconds = self._allowance(received) if callable(self._allowance) else self._allowance
        return self._start + min(seconds, MAX_WAIT_S) - time.monotonic()
