"""Counts ignored messages in memory and writes the sum once a second: most webhook messages carry no media."""

from __future__ import annotations

import asyncio
import threading

from starlette.concurrency import run_in_threadpool

from pipeline.errors import PipelineError
from pipeline.services import services

FLUSH_INTERVAL_S = 1.0


class IgnoredCounter:
    """Ignored messages since the last flush. A killed process loses at most a second of this count."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._count += count

    def flush(self) -> None:
        """Adds the count to the totals in the catalogue. If that fails, the next flush tries again."""
        with self._lock:
            count, self._count = self._count, 0
        if not count:
            return
        try:
            services().catalogue.increment("ignored", count)
        except PipelineError:
            self.add(count)

    async def flush_periodically(self) -> None:
        """Flushes every second until the task is cancelled."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            if self._count:
                await run_in_threadpool(self.flush)
