"""The counter of ignored messages of a web process, which writes its sums once a second."""

from __future__ import annotations

import asyncio

from starlette.concurrency import run_in_threadpool

from actors.intake import ignored_counts
from pipeline.catalogue import Catalogue
from pipeline.services import services

FLUSH_INTERVAL_S = 1.0


class WebIgnoredCounter(ignored_counts.IgnoredCounter):
    """Ignored messages since the last flush."""

    def flush(self, catalogue: Catalogue | None = None) -> None:
        """Adds the counts to the totals in the catalogue of this process, or in another one."""
        if self.pending:
            super().flush(catalogue or services().catalogue)

    async def flush_periodically(self) -> None:
        """Flushes every second until the task is cancelled."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            if self.pending:
                await run_in_threadpool(self.flush)
