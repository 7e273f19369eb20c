"""Outages of the servers that Esteira depends on: logged once at the start and once at the end, with their duration."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import structlog

MIN_PAUSE_S = 0.05
MAX_PAUSE_S = 1.0  # a worker notices within this time that the server answers again

log = structlog.get_logger()


class Outage:
    """The state of one server as this process sees it; safe to share between threads.

    `consequence` and `remedy` (what an operator can do) are added to the log line. An outage that no failed call has
    confirmed for `stale_after_s` starts anew with the next one. With `logged=False` nothing is logged, for observers of
    a server whose outage is logged elsewhere. `on_end` is called once for each outage, by the thread that has ended it.
    """

    def __init__(
        self,
        server: str,
        *,
        consequence: str | None = None,
        remedy: str | None = None,
        stale_after_s: float = math.inf,
        logged: bool = True,
        on_end: Callable[[], object] = bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server = server
        texts = {"consequence": consequence, "remedy": remedy}
        self._log_fields = {"server": server} | {name: text for name, text in texts.items() if text}
        self._stale_after_s = stale_after_s
        self._logged = logged
        self._on_end = on_end
        self._clock = clock
        self._since: float | None = None
        self._confirmed_at = 0.0
        self._lock = threading.Lock()

    @property
    def is_active(self) -> bool:
        return self._since is not None

    @property
    def duration_s(self) -> float:
        """Seconds since the outage began; 0 while the server answers."""
        since = self._since
        return self._clock() - since if since is not None else 0.0

    @property
    def pause_s(self) -> float:
        """How long to wait before the next attempt: as long as the outage has lasted, within the two limits."""
        return min(MAX_PAUSE_S, max(MIN_PAUSE_S, self.duration_s))

    def begin(self, error: Exception | str) -> bool:
        """Records that the server does not answer; True for the call that starts the outage."""
        with self._lock:
            now = self._clock()
            starts = self._since is None or now - self._confirmed_at > self._stale_after_s
            self._confirmed_at = now
            if starts:
                self._since = now
        if starts and self._logged:
            reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
            log.error("server away", error=reason, **self._log_fields)
        return starts

    def end(self) -> bool:
        """Records that the server answers; True for the call that ends an outage."""
        if not self.is_active:  # nearly always, hence without the lock
            return False
        with self._lock:
            since, self._since = self._since, None
        if since is None:
            return False
        if self._logged:
            log.info("server back", server=self.server, away_s=round(self._clock() - since, 1))
        self._on_end()
        return True
