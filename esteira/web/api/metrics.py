"""`GET /metrics` for Prometheus."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from actors.hook import hook
from actors.maintenance.heartbeat import SILENCE_S
from actors.observability.exposition import CONTENT_TYPE
from actors.observability.metrics_page import metrics_page
from actors.observability.metrics_store import FLUSH_INTERVAL_S, flush
from esteira.web.auth.access import Authenticator
from esteira.web.intake.ignored_counts import IgnoredCounter
from pipeline.errors import PipelineError

KEPT_S = 1.0  # several scrapers cost as much as one


class Metrics:
    """The figures of every process, for who shows the METRICS_TOKEN or the API_TOKEN."""

    def __init__(
        self, authenticator: Authenticator, tally: IgnoredCounter, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._authenticator = authenticator
        self._tally = tally
        self._clock = clock
        self._page: tuple[float, str] | None = None
        self._making = threading.Lock()

    def add_routes(self, app: FastAPI) -> None:
        app.get("/metrics")(self.answer)

    async def answer(self, request: Request) -> Response:
        """The page, at most a second old. It is there while Redis or the catalogue is away, and says so."""
        self._authenticator.require_metrics_token(request)
        page = await run_in_threadpool(self._current)
        return Response(page, media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    async def keep_flushing(self) -> None:
        """Brings this process's figures to Redis every few seconds until it is cancelled."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            await run_in_threadpool(self.flush)

    def flush(self) -> None:
        """Brings this process's figures to Redis; what cannot go now goes later."""
        with suppress(PipelineError):
            own = hook()
            if not own.breaker.is_open:
                flush(own.queue)

    def _current(self) -> str:
        with self._making:
            if self._page is None or self._clock() - self._page[0] >= KEPT_S:
                self._tally.flush()
                self.flush()
                self._page = (self._clock(), _page())
            return self._page[1]


def _page() -> str:
    own = hook()
    return metrics_page(own.services, own.queue, circuit_open=own.breaker.is_open, worker_timeout_s=SILENCE_S)
