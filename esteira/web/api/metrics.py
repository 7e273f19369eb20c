"""`GET /metrics` for Prometheus."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from fastapi import FastAPI, Request, Response, Security
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from actors.hook import hook
from actors.maintenance.heartbeat import SILENCE_S
from actors.observability import metrics_store
from actors.observability.metrics_page import CONTENT_TYPE, metrics_page
from esteira.web.auth.access import Authenticator
from esteira.web.auth.dependencies import TOKEN
from esteira.web.intake.ignored_counts import WebIgnoredCounter
from pipeline.errors import PipelineError
from pipeline.services import services_with

EXAMPLE = "# TYPE esteira_received_total counter\nesteira_received_total 5012.0\n"
CACHE_S = 1.0  # a page is reused for this long, so that several scrapers cost as much as one


class Metrics:
    """The metrics of all processes, for requests with the METRICS_TOKEN, or a token that may see all sessions."""

    def __init__(
        self,
        authenticator: Authenticator,
        ignored_counter: WebIgnoredCounter,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authenticator = authenticator
        self._ignored_counter = ignored_counter
        self._clock = clock
        self._cached: tuple[float, bytes] | None = None
        self._lock = threading.Lock()

    def add_routes(self, app: FastAPI) -> None:
        text = {"content": {"text/plain": {"schema": {"type": "string"}, "example": EXAMPLE}}}
        app.get(
            "/metrics",
            summary="Show metrics",
            tags=["system"],
            dependencies=[Security(TOKEN)],
            response_class=PlainTextResponse,
            responses={200: {**text, "description": "The metrics in Prometheus' text format"}},
        )(self.answer)

    async def answer(self, request: Request) -> Response:
        """The page, at most CACHE_S old. It is also served while Redis or the catalogue is unreachable."""
        await self._authenticator.require_metrics_token(request)
        page = await run_in_threadpool(self._page)
        return Response(page, media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    async def keep_flushing(self) -> None:
        """Flushes this process's metrics to Redis every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(metrics_store.FLUSH_INTERVAL_S)
            await run_in_threadpool(self.flush)

    def flush(self) -> None:
        """Flushes this process's metrics to Redis; what fails is kept for the next flush."""
        with suppress(PipelineError):
            listener_hook = hook()
            if not listener_hook.breaker.is_open:
                metrics_store.flush(listener_hook.queue)

    def _page(self) -> bytes:
        with self._lock:
            if self._cached is None or self._clock() - self._cached[0] >= CACHE_S:
                self._ignored_counter.flush()
                self.flush()
                self._cached = (self._clock(), _render())
            return self._cached[1]


def _render() -> bytes:
    listener_hook = hook()
    services, circuit_open = services_with(listener_hook.services), listener_hook.breaker.is_open
    return metrics_page(services, listener_hook.queue, circuit_open=circuit_open, worker_timeout_s=SILENCE_S)
