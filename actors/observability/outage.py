"""Says once when a server went away and once when it is back, however many threads notice."""

from __future__ import annotations

import threading
import time

import structlog

log = structlog.get_logger()


class Outage:
    """Whether a server is away, and since when."""

    def __init__(self, server: str) -> None:
        self.server = server
        self._since: float | None = None
        self._lock = threading.Lock()

    @property
    def lasts_s(self) -> float:
        """For how many seconds it has been away; 0 while it answers."""
        since = self._since
        return time.monotonic() - since if since is not None else 0.0

    def begin(self, error: Exception) -> bool:
        """Notes that the server does not answer; True for the first who notices."""
        with self._lock:
            if self._since is not None:
                return False
            self._since = time.monotonic()
        log.error("server away", server=self.server, error=f"{type(error).__name__}: {error}")
        return True

    def end(self) -> bool:
        """Notes that the server answers; True for the first who notices after an outage."""
        if not self.lasts_s:  # nearly always, hence without the lock
            return False
        with self._lock:
            away = self.lasts_s
            self._since = None
        if not away:
            return False
        log.info("server back", server=self.server, away_s=round(away, 1))
        return True
