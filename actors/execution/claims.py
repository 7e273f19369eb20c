"""The claims that this process holds, so that a long step's claim is renewed before its lease ends."""

from __future__ import annotations

import threading
import time


class ClaimRegistry:
    """Tokens of held claims, with the time at which each was taken."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, token: str) -> None:
        with self._lock:
            self._since[token] = time.monotonic()

    def drop(self, token: str) -> None:
        with self._lock:
            self._since.pop(token, None)

    def age(self, token: str) -> float:
        """Seconds since the claim was taken; 0 if this process does not hold it."""
        with self._lock:
            since = self._since.get(token)
        return time.monotonic() - since if since is not None else 0.0

    def held_for(self, seconds: float) -> list[str]:
        """The tokens that have been held for at least so many seconds."""
        with self._lock:
            return [token for token, since in self._since.items() if time.monotonic() - since >= seconds]


CLAIM_REGISTRY = ClaimRegistry()
