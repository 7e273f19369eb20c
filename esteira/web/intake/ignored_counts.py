"""Counts of what was ignored, written down together: most of what gateways send carries no media."""

from __future__ import annotations

import asyncio
import threading

from starlette.concurrency import run_in_threadpool

from pipeline.errors import PipelineError
from pipeline.services import services

FLUSH_EVERY_S = 1.0


class IgnoredCounter:
    """What was ignored since the last flush. A process that is killed loses a second of it, and no attachment."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._count += count

    def flush(self) -> None:
        """Writes it into the catalogue's totals; what cannot be written now is kept for the next time."""
        with self._lock:
            count, self._count = self._count, 0
        if not count:
            return
        try:
            services().catalogue.increment("ignored", count)
        except PipelineError:
            self.add(count)

    async def flush_periodically(self) -> None:
        """Flushes every second until it is cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            if self._count:
                await run_in_threadpool(self.flush)
