"""Counts wrong tokens and secrets by address, to answer guesses with 429.

A token is verified before its sender's failures are looked at: a valid one is never refused, whatever others have sent
from the same address. So no person can lock out another one, also behind a proxy that hides the addresses.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

WINDOW_S = 60.0
MAX_FAILURES = 100  # of one address in a window, before 429
MAX_ADDRESSES = 10_000  # the address whose window is the oldest is forgotten for a new one


class FailureCounts:
    """The failures of each address in its current window, in bounded memory."""

    def __init__(self, *, max_failures: int = MAX_FAILURES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_failures = max_failures
        self._clock = clock
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()  # address → start of its window, failures
        self._lock = threading.Lock()

    def record(self, address: str) -> float:
        """Counts a failure. Returns for how many seconds further failures are refused; 0 if they are not yet."""
        with self._lock:
            now = self._clock()
            began, failures = self._windows.get(address, (now, 0))
            if now - began >= WINDOW_S:
                began, failures = now, 0
                self._windows.pop(address, None)  # moves to the newest end
            self._windows[address] = (began, failures + 1)
            while len(self._windows) > MAX_ADDRESSES:
                self._windows.popitem(last=False)
        return began + WINDOW_S - now if failures >= self._max_failures else 0.0
