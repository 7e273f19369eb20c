"""The pauses as all open pages share them: read at most every two seconds, and at once after a change."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable

import structlog

from actors.operations.pause import pauses
from esteira.web.auth.session_control import owns_session
from pipeline.catalogue import Pause
from pipeline.models import Record
from pipeline.security.callers import Caller

MAX_AGE_S = 2.0

log = structlog.get_logger(__name__)

Watcher = Callable[[], Awaitable[object]]


class PauseFeed:
    """The pauses of the catalogue. `current` and `visible_to` block; the others belong to the event loop."""

    def __init__(self, read: Callable[[], list[Pause]] = pauses, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._pauses: tuple[Pause, ...] = ()
        self._watchers: set[Watcher] = set()

    def current(self) -> tuple[Pause, ...]:
        """All pauses.

        Raises:
            RetryableError: `catalogue`.
        """
        with self._lock:
            if self._read_at is None or self._clock() - self._read_at >= MAX_AGE_S:
                self._pauses = tuple(self._read())
                self._read_at = self._clock()
            return self._pauses

    def visible_to(self, caller: Caller) -> tuple[Pause, ...]:
        """The paused stages, and the paused sessions that this caller may see. Raises as `current` does."""
        return tuple(pause for pause in self.current() if pause.kind == "stage" or owns_session(caller, pause.name))

    def watch(self, watcher: Watcher) -> None:
        """Calls the watcher after every change that was made on a page."""
        self._watchers.add(watcher)

    def leave(self, watcher: Watcher) -> None:
        """Removes a watcher."""
        self._watchers.discard(watcher)

    async def changed(self) -> None:
        """Reads the pauses anew at the next use, and calls the watchers."""
        self._read_at = None
        for watcher in list(self._watchers):
            try:
                await watcher()
            except Exception as error:  # noqa: BLE001  (one broken page must not keep the change from the others)
                log.warning("dashboard page could not be updated", error=type(error).__name__)


def pause_of(record: Record, pauses: tuple[Pause, ...]) -> Pause | None:
    """The pause that an unfinished attachment waits for: that of its stage, else that of its session."""
    if record.finished_at is not None or record.deleted_at is not None:
        return None
    held = {("stage", str(record.stage)), ("session", record.session)}
    return next((pause for pause in pauses if (pause.kind, pause.name) in held), None)


PAUSE_FEED = PauseFeed()
