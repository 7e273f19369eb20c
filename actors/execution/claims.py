"""The claims that this process holds, so that those of long work can be renewed before they run out."""

from __future__ import annotations

import threading
import time


class ClaimRegistry:
    """Tokens of claims with the time of their taking."""

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
        """For how many seconds it has been held; 0 if it is not."""
        with self._lock:
            since = self._since.get(token)
        return time.monotonic() - since if since is not None else 0.0

    def held_for(self, seconds: float) -> list[str]:
        """The tokens that have been held for at least so long."""
        with self._lock:
            return [token for token, since in self._since.items() if time.monotonic() - since >= seconds]


CLAIM_REGISTRY = ClaimRegistry()
