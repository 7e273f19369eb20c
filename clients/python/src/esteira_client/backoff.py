"""How long the sender of the spool waits, and whether the server is known to be away."""

from __future__ import annotations

import random
import time

FIRST_S, LONGEST_S = 0.25, 5.0
WRONG_OPTION_S = 60.0  # until a person has corrected the token or the URL
KNOWN_FOR_S = 2.0  # beyond the next attempt of the sender, a hand-over tries the server itself again


class Backoff:
    """The failures in a row of one client. Times are those of `time.monotonic()`."""

    def __init__(self) -> None:
        self._failures = 0
        self._next_at = float("-inf")
        self._is_away = False
        self.reason = "unreachable"

    def succeed(self) -> None:
        self._failures = 0
        self._next_at = float("-inf")

    def fail(self, reason: str, *, at_least_s: float | None = None, is_away: bool = True) -> None:
        """Notes a failure: the sender waits, longer after each one, and at least as long as the server asks.

        `is_away` is false for a server that answers: hand-overs still ask it.
        """
        self.reason = reason
        self._is_away = is_away
        wait_s = min(FIRST_S * 2**self._failures, LONGEST_S) * random.uniform(0.8, 1.2)  # noqa: S311  spreads clients
        self._failures = min(self._failures + 1, 16)
        self._next_at = time.monotonic() + max(wait_s, at_least_s or 0.0)

    @property
    def remaining_s(self) -> float:
        """The seconds until the next attempt of the sender; 0 if it may be made now."""
        return max(0.0, self._next_at - time.monotonic())

    @property
    def is_away(self) -> bool:
        """Whether the last attempt failed, and the sender of the spool will notice first when the server is back."""
        return self._is_away and time.monotonic() < self._next_at + KNOWN_FOR_S
